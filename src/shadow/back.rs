//! When the other tool went back with the change, and when merely with some target.

use std::collections::BTreeMap;

use unattended_batching::TargetIndex;

use super::{End, Ending};

/// After so long without an order back, few orders before it were those of single targets.
const APART_MS: u64 = 3_600_000;
/// Few: at most one of so many that had the new version.
const FEW: u64 = 10;
/// Who is ordered to the new version so soon after it was ordered back has fallen back to it, or is tried again: an attempt takes minutes.
/// The same is the longest pause after which a way back goes on though all have fallen back.
const RELAPSE_MS: u64 = 600_000;

/// Orders back with no start after them.
///
/// A target that is put back before it is tried again, a rehearsal, a class that is set aside while others go on: all of these are
/// followed by starts, and are no way back of the change. What takes most of the new version away is one, until something starts again.
/// Whoever does not come back at the first try and is left on the new version for another one is no start.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) from: End,
    /// Why there was no reason for it; `None` where there was one.
    pub(super) objection: Option<String>,
    /// What had been said when it began: found disagreements, and time waited for nothing.
    pub(super) found: usize,
    pub(super) idle_ms: u64,
    /// Who was taken from the new version in it and does not have it again, and when.
    away: BTreeMap<TargetIndex, u64>,
    /// How often one was taken from it, also those that fell back.
    taken: u64,
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
            away: BTreeMap::new(),
            taken: 0,
            last_ms,
        }
    }

    /// Whether an order of this moment belongs to another turn: long after few, or after all have the new version again.
    pub(super) fn is_over(&self, at_ms: u64) -> bool {
        let pause = at_ms.saturating_sub(self.last_ms);
        pause > APART_MS && self.is_few(self.away()) || pause > RELAPSE_MS && self.away.is_empty()
    }

    /// This one does not have the new version any more.
    pub(super) fn goes_on(&mut self, at_ms: u64, target: TargetIndex) {
        self.away.insert(target, at_ms);
        self.taken += 1;
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// An order to the new version: whether the turn goes on all the same, since that is only somebody who did not come back.
    pub(super) fn outlasts(&mut self, at_ms: u64, target: TargetIndex) -> bool {
        let is_relapse = |&since: &u64| at_ms.saturating_sub(since) <= RELAPSE_MS;
        let relapsed = self.away.get(&target).is_some_and(is_relapse);
        self.away.remove(&target);
        self.last_ms = self.last_ms.max(at_ms);
        // A single one that is tried again was no way back at all.
        relapsed && !(self.away.is_empty() && (self.taken == 1 || self.is_few(self.taken)))
    }

    /// Whether it is the way back of the change: of most of what had the new version, or of what there was when the change ended so.
    pub(super) fn is_of_the_change(&self, ended: Option<Ending>) -> bool {
        self.away().saturating_mul(2) > self.from.exposed || ended == Some(Ending::RolledBack)
    }

    fn away(&self) -> u64 {
        self.away.len() as u64
    }

    const fn is_few(&self, targets: u64) -> bool {
        targets.saturating_mul(FEW) <= self.from.exposed
    }
}
