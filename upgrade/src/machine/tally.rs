//! What an attempt did to its target, for the receipt.
use super::{Machine, When};
use crate::{Counts, Moves, Observation, Serving, SoFar};

/// What goes into the receipt and decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    pub(crate) out_since_ms: Option<u64>,
    /// Connections open when the drain began.
    pub(crate) draining: u32,
    /// The outage without the one that has not ended, the moves as the agents told them last.
    pub(crate) counts: Counts,
}

impl Tally {
    /// Agents that died tell less than they did before.
    pub(super) fn saw(&mut self, told: &Moves) {
        let mine = &mut self.counts.moves;
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
    /// What was counted, with an outage that has not ended up to now.
    pub(crate) const fn so_far(&self, now_ms: u64) -> SoFar {
        let mut counts = self.tally.counts;
        if let Some(since) = self.tally.out_since_ms {
            counts.outage_ms = counts.outage_ms.saturating_add(now_ms.saturating_sub(since));
        }
        SoFar {
            counts,
            out: self.tally.out_since_ms.is_some(),
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
                    let outage_ms = &mut self.tally.counts.outage_ms;
                    *outage_ms = outage_ms.saturating_add(now.answered_ms.saturating_sub(since));
                }
            }
            Serving::No => self.out(now.asked_ms),
            Serving::Unknown => {}
        }
    }
}
