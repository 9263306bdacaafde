//! What an attempt did to its target, for the receipt.
use super::{Machine, When};
use crate::{Moves, Observation, Serving};

/// What goes into the receipt and decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    pub(crate) out_since_ms: Option<u64>,
    pub(crate) outage_ms: u64,
    /// Connections open when the drain began.
    pub(crate) draining: u32,
    pub(crate) drained: u32,
    pub(crate) cut: u32,
    pub(crate) retries: u32,
    /// As the agents told them last.
    pub(crate) moves: Moves,
}

impl Tally {
    /// Agents that died tell less than they did before.
    pub(super) fn saw(&mut self, told: &Moves) {
        let mine = &mut self.moves;
        mine.moved = mine.moved.max(told.moved);
        mine.declined = mine.declined.max(told.declined);
        mine.cut = mine.cut.max(told.cut);
        mine.lost = mine.lost.max(told.lost);
        mine.bytes = mine.bytes.max(told.bytes);
        if told.moved > 0 {
            mine.pauses = told.pauses;
        }
    }
}

impl Machine {
    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The outage, with one that has not ended counted up to now.
    pub(crate) const fn outage_ms(&self, now_ms: u64) -> u64 {
        match self.tally.out_since_ms {
            Some(since) => self.tally.outage_ms + now_ms.saturating_sub(since),
            None => self.tally.outage_ms,
        }
    }

    pub(super) const fn out(&mut self, now: u64) {
        if self.tally.out_since_ms.is_none() {
            self.tally.out_since_ms = Some(now);
        }
    }

    pub(super) fn count_outage(&mut self, now: When, seen: &Observation) {
        match self.serving(seen) {
            Serving::Yes => {
                if let Some(since) = self.tally.out_since_ms.take() {
                    self.tally.outage_ms += now.answered_ms.saturating_sub(since);
                }
            }
            Serving::No => self.out(now.asked_ms),
            Serving::Unknown => {}
        }
    }
}
