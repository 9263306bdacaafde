//! Connections that a process of the target could not give away before it left: it says where it is called, and whoever
//! serves calls until they have come along or ended.

use std::io::ErrorKind;
use std::time::Duration;

use super::Conductor;
use crate::{clock, files};

/// Before one who serves looks (again) for what was left behind.
pub(super) const COLLECT: Duration = Duration::from_secs(2);

impl Conductor {
    /// This process serves the target, and nobody is at its session.
    pub(super) fn may_collect(&self) -> bool {
        let agent = self.handover.agent();
        let status = agent.status();
        status.committed && status.polls && agent.would_take_call().is_ok()
    }

    /// Calls one that has left something behind, each in its turn.
    pub(super) fn collect(&mut self) {
        let dir = &self.sidecar.options.dir;
        let all = files::left_behind(dir);
        let after = self.called_last.map_or(0, |last| last + 1);
        let Some((instance, doorbell)) = all.range(after..).next().or_else(|| all.first_key_value()) else {
            return;
        };
        self.called_last = Some(*instance);
        let generation = self.handover.agent().generation();
        let called = self
            .handover
            .call(clock::now_ms(), generation, doorbell, clock::now_ns());
        match called {
            Ok(()) => {}
            Err(error) if [ErrorKind::ConnectionRefused, ErrorKind::NotFound].contains(&error.kind()) => {
                // It has died, and they with it.
                files::forget_leftover(dir, *instance);
            }
            Err(error) => {
                let place = doorbell.display();
                self.sidecar.log.say(format_args!(
                    "what instance {instance} has left behind waits: {place}: {error}"
                ));
            }
        }
    }

    /// Says where this process is called, once it has left and still serves somebody.
    pub(super) fn leave_behind(&mut self) {
        if self.told_of_leftovers || !self.handover.agent().has_left() || self.handover.host().leaves {
            return;
        }
        self.told_of_leftovers = true;
        let options = &self.sidecar.options;
        let (instance, slot) = (options.instance, options.slot.as_str());
        let left = self.handover.agent().owned();
        self.sidecar.log.say(format_args!(
            "has left; {left} connections that could not move are served on"
        ));
        if let Err(error) = files::leave_behind(&options.dir, instance, slot, &options.doorbell()) {
            self.sidecar.log.say(format_args!("nobody is told of them: {error}"));
        }
    }
}
