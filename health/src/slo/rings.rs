//! Counts of the last three days in slots that get coarser with age.

use serde::{Deserialize, Serialize};

use crate::FaultClass;

/// Total, and bad by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) total: u64,
    pub(super) bad: [u64; FaultClass::ALL.len()],
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        for (mine, theirs) in self.bad.iter_mut().zip(other.bad) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

/// Width and number of slots: 30 min in quarters of a minute, 2 h in minutes, 6 h in five minutes, 3 days in hours. One more
/// each, since the present slot is not full.
const TIERS: [(u64, usize); 4] = [(15_000, 121), (60_000, 121), (300_000, 73), (3_600_000, 73)];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rings {
    /// Per tier: slots as (number since the clock's zero, counts), in rising order, those with data only.
    tiers: [Vec<(u64, Tally)>; TIERS.len()],
}

impl Rings {
    pub(super) const fn new() -> Self {
        Self {
            tiers: [const { Vec::new() }; TIERS.len()],
        }
    }

    /// Counts that ended at `end_ms`, which does not go back.
    pub(super) fn add(&mut self, end_ms: u64, tally: &Tally) {
        for (slots, (width, keep)) in self.tiers.iter_mut().zip(TIERS) {
            let number = end_ms.saturating_sub(1) / width;
            match slots.last_mut() {
                Some((last, sum)) if *last == number => sum.add(tally),
                _ => {
                    // Slots are few, and this happens once per slot.
                    slots.retain(|(old, _)| old + keep as u64 > number);
                    slots.push((number, *tally));
                }
            }
        }
    }

    /// Sum over the last `window_ms` before `now_ms`, from the finest tier that reaches so far; up to one slot more.
    pub(super) fn sum(&self, now_ms: u64, window_ms: u64) -> Tally {
        let mut sum = Tally::default();
        let tiers = self.tiers.iter().zip(TIERS);
        let Some((slots, (width, _))) = tiers
            .into_iter()
            .find(|(_, (width, keep))| window_ms <= width * (*keep as u64 - 1))
        else {
            return sum;
        };
        let now = now_ms.saturating_sub(1) / width;
        let reach = window_ms / width;
        for (_, tally) in slots
            .iter()
            .filter(|(number, _)| *number <= now && number + reach >= now)
        {
            sum.add(tally);
        }
        sum
    }
}
