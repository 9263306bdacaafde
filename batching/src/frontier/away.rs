//! Targets out of reach: nobody can start them now, and they keep nobody else back.

use super::lane::{AWAY, Phase, UNHEALTHY};
use super::{Frontier, Noted};
use crate::index::TargetIndex;

impl Frontier {
    /// Takes a target that waits out of its lane's queue, and one that was given and not begun back into waiting: its slots are free.
    pub(super) fn out_of_reach(&mut self, target: u32) -> Noted {
        let state = self.state[target as usize];
        if state.has(AWAY) || self.rolling_back {
            return Noted::Stale;
        }
        match state.phase {
            Phase::Waiting if self.is_open(target) => self.lane_of(target).waiting_open -= 1,
            Phase::Waiting => {}
            Phase::InFlight => {
                self.end_flight(target);
                self.state[target as usize].phase = Phase::Waiting;
                self.waiting += 1;
                if !self.is_open(target) {
                    let batch = self.batch_of[target as usize];
                    self.lane_of(target).closed_step(batch).waiting += 1;
                }
            }
            _ => return Noted::Stale,
        }
        self.state[target as usize].set(AWAY);
        Noted::Applied
    }

    /// Gives a target its place in the queue again.
    pub(super) fn within_reach(&mut self, target: u32) -> Noted {
        if !self.state[target as usize].clear(AWAY) {
            return Noted::Stale;
        }
        let state = self.state[target as usize];
        if state.phase == Phase::Waiting && self.is_open(target) {
            self.lane_of(target).waiting_open += 1;
            if self.rolling_back {
                return Noted::Applied;
            }
            if state.has(UNHEALTHY) {
                self.queue_unwell(target);
            } else {
                self.queue_again(target);
            }
            self.spare_the_last(self.app_of[target as usize]);
        }
        Noted::Applied
    }

    /// The batch of a target, and whether it is open for its lane. `None` for one it never had.
    #[must_use]
    pub fn batch_of(&self, id: TargetIndex) -> Option<(u16, bool)> {
        let batch = *self.batch_of.get(id.at())?;
        Some((batch, self.is_open(id.0)))
    }
}
