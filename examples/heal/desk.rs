//! The center at work: what comes in, what goes out to whom, and what it said.

use unattended::selfheal::{Center, CenterSettings, Command, Event, NodeId, Notice};
use unattended_examples_support::Failure;

use crate::scenes::{PERIOD_MS, SERVERS, members, server_of};

/// A message to one proxy or to all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// To all.
    Bulletin(Vec<u8>),
    /// To one: call this server so often, and say how it went.
    Probe {
        order: u64,
        by: NodeId,
        server: usize,
        calls: u32,
        within_ms: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Desk {
    center: Center,
    /// What it said, with the time.
    pub(crate) notices: Vec<(u64, Notice)>,
}

impl Desk {
    pub(crate) fn new(seed: u64) -> Result<Self, Failure> {
        let settings = CenterSettings {
            period_ms: PERIOD_MS,
            seed,
            ..CenterSettings::default()
        };
        let mut center = Center::new(settings, 1).map_err(Failure::internal)?;
        for member in members() {
            center.on(Event::Member(member)).map_err(Failure::internal)?;
        }
        Ok(Self {
            center,
            notices: Vec::new(),
        })
    }

    /// What came on a proxy's connection. What the center refuses it has counted.
    pub(crate) fn report(&mut self, sender: NodeId, bytes: &[u8]) {
        let _ = self.center.receive(sender, bytes);
    }

    pub(crate) fn probed(&mut self, sender: NodeId, order: u64, good: u32, bad: u32) {
        // Too late, perhaps.
        let _ = self.center.on(Event::Probed {
            sender,
            order,
            good,
            bad,
        });
    }

    pub(crate) fn tick(&mut self, now_ms: u64) -> Result<Vec<Message>, Failure> {
        let mut messages = Vec::new();
        for command in self.center.tick(now_ms) {
            match command {
                Command::Publish(bulletin) => {
                    messages.push(Message::Bulletin(bulletin.encode().map_err(Failure::internal)?))
                }
                Command::Probe(order) => {
                    if let Some(server) = server_of(order.target).filter(|server| *server < SERVERS) {
                        messages.push(Message::Probe {
                            order: order.id,
                            by: order.by,
                            server,
                            calls: order.calls,
                            within_ms: order.within_ms,
                        });
                    }
                }
                Command::Notice(notice) => self.notices.push((now_ms, notice)),
                // There is no platform here that could restart anything.
                _ => {}
            }
        }
        Ok(messages)
    }

    /// Reports taken, and reports that were not.
    pub(crate) const fn reports(&self) -> (u64, u64) {
        let counts = self.center.report_counts();
        (
            counts.taken,
            counts.refused + counts.strangers + counts.replayed + counts.stale,
        )
    }
}
