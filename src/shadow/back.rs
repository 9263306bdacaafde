//! When the other tool went back with the change, and when merely with some target.

use super::{End, Ending};

/// After so long without an order back, few orders before it were those of single targets.
const APART_MS: u64 = 3_600_000;
/// Few: at most one of so many that had the new version.
const FEW: u64 = 10;

/// Orders back with no start after them.
///
/// A target that is put back before it is tried again, a rehearsal, a class that is set aside while others go on: all of these are
/// followed by starts, and are no way back of the change. What takes most of the new version away is one, until something starts again.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) from: End,
    /// Why there was no reason for it; `None` where there was one.
    pub(super) objection: Option<String>,
    /// What had been said when it began: found disagreements, and time waited for nothing.
    pub(super) found: usize,
    pub(super) idle_ms: u64,
    back: u64,
    last_ms: u64,
}

impl Turn {
    pub(super) const fn new(from: End, objection: Option<String>, found: usize, idle_ms: u64) -> Self {
        let last_ms = from.at_ms;
        Self {
            from,
            objection,
            found,
            idle_ms,
            back: 0,
            last_ms,
        }
    }

    /// Whether an order of this moment belongs to another turn: long after few.
    pub(super) const fn is_over(&self, at_ms: u64) -> bool {
        at_ms.saturating_sub(self.last_ms) > APART_MS && self.back.saturating_mul(FEW) <= self.from.exposed
    }

    /// So many more do not have the new version any more.
    pub(super) fn goes_on(&mut self, at_ms: u64, targets: u64) {
        self.back += targets;
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// Whether it is the way back of the change: of most of what had the new version, or of what there was when the change ended so.
    pub(super) fn is_of_the_change(&self, ended: Option<Ending>) -> bool {
        self.back.saturating_mul(2) > self.from.exposed || ended == Some(Ending::RolledBack)
    }
}
