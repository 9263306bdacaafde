//! One proxy: chooses servers, records what comes of it, reports, and obeys. The same over sockets and on virtual time.

use unattended::selfheal::{Bulletin, Ending, Follower, Reporter, Word};
use unattended_examples_support::Failure;

use crate::local::Local;
use crate::random::Random;
use crate::scenes::{PROXIES, SERVERS, SERVICE, proxy_id, server_id, zone};

/// Who keeps a proxy from using a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nobody,
    /// Nobody, but it gets less than its share, by the proxy's own rules or the center's.
    Less,
    /// Its own test.
    Itself,
    Center,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) number: usize,
    random: Random,
    local: Local,
    reporter: Reporter,
    follower: Follower,
}

impl Proxy {
    pub(crate) fn new(number: usize, seed: u64, rps: u32) -> Result<Self, Failure> {
        let random = Random::new(seed.wrapping_mul(PROXIES as u64 + 1).wrapping_add(number as u64));
        Ok(Self {
            number,
            local: Local::new(rps, seed ^ number as u64)?,
            random,
            reporter: Reporter::new(1),
            follower: Follower::new(proxy_id(number), zone(number)),
        })
    }

    /// A server for the next request: one of the best that may be used, else any.
    pub(crate) fn pick(&mut self, now_ms: u64) -> usize {
        let usable: Vec<usize> = (0..SERVERS)
            .filter(|server| self.follower.word(server_id(*server), now_ms) != Word::Isolated)
            .collect();
        let near: Vec<usize> = usable
            .iter()
            .copied()
            .filter(|server| !self.avoids(*server, now_ms))
            .collect();
        let mut from = if near.is_empty() { usable } else { near };
        // One after the other is drawn until its own rules let one through: asking takes a probe's slot.
        while !from.is_empty() {
            let server = from.swap_remove(self.random.below(from.len()));
            let draw = u32::try_from(self.random.next() >> 32).unwrap_or(0);
            // One draw for both, so that the smaller of two weights holds and not their product.
            let admitted = match self.follower.word(server_id(server), now_ms) {
                Word::Returning => true,
                Word::SubHealthy { weight_permille }
                    if (u64::from(draw) * 1_000) >> 32 < 1_000 - u64::from(weight_permille) =>
                {
                    false
                }
                _ => self.local.admits(server, now_ms, draw),
            };
            if admitted {
                return server;
            }
        }
        self.random.below(SERVERS)
    }

    pub(crate) fn keeps(&self, server: usize, now_ms: u64) -> Keeps {
        match self.follower.word(server_id(server), now_ms) {
            Word::Isolated => Keeps::Center,
            // The center lets it in: its own old grudge does not count.
            Word::Returning => Keeps::Nobody,
            _ if self.local.isolated(server) => Keeps::Itself,
            Word::SubHealthy { .. } => Keeps::Less,
            Word::Open | Word::Lost if self.local.sub_healthy(server) => Keeps::Less,
            Word::Open | Word::Lost => Keeps::Nobody,
        }
    }

    /// Whether the center has told it to keep away from a server's zone.
    pub(crate) fn avoids(&self, server: usize, now_ms: u64) -> bool {
        self.follower.avoids(zone(server), now_ms)
    }

    /// Whether a good answer of a server was slow beside its usual ones.
    pub(crate) fn is_slow(&self, server: usize, latency_us: u64) -> bool {
        self.local.is_slow(server, latency_us)
    }

    /// Records how a request ended; whether it was a bad one.
    pub(crate) fn done(&mut self, server: usize, ending: Ending, latency_us: u64, now_ms: u64) -> bool {
        let failed = ending != Ending::Answered;
        let slow = !failed && self.is_slow(server, latency_us);
        self.local.record(server, ending, latency_us, now_ms);
        failed || slow
    }

    /// Once a period: its own rules, and the bytes of its report.
    pub(crate) fn period(&mut self, now_ms: u64) -> Result<Vec<u8>, Failure> {
        let may = self.follower.may_isolate(SERVICE, now_ms);
        let cap_percent = self.follower.local_cap_percent(50, now_ms);
        for seen in self.local.seen(now_ms) {
            self.reporter.add(seen);
        }
        self.local.period(now_ms, may, cap_percent)?;
        self.reporter.report().encode().map_err(Failure::internal)
    }

    /// Obeys a bulletin, unless it is old news.
    pub(crate) fn hear(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Failure> {
        let withheld = |follower: &Follower| -> Vec<bool> {
            let word = |server| follower.word(server_id(server), now_ms);
            (0..SERVERS)
                .map(|server| {
                    matches!(word(server), Word::Isolated | Word::SubHealthy { .. })
                        || follower.avoids(zone(server), now_ms)
                })
                .collect()
        };
        let before = withheld(&self.follower);
        if let Ok(bulletin) = Bulletin::decode(bytes) {
            // One that was overtaken changes nothing.
            let _ = self.follower.apply(bulletin, now_ms);
        }
        // Whom the center lets in again, it knows more about: what was seen before is over.
        for (server, (before, after)) in before.into_iter().zip(withheld(&self.follower)).enumerate() {
            if before && !after {
                self.local.lift(server, now_ms)?;
            }
        }
        Ok(())
    }
}
