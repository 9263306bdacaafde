//! What the change leaves undone, and who owes it.

use std::collections::BTreeMap;

use unattended_batching::{Event, TargetIndex};

use crate::Debt;

use super::Machine;

/// The debts, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Debts {
    list: BTreeMap<u64, Debt>,
    /// The place of each target's: in a fleet that dies away no death looks through all of them.
    of: BTreeMap<TargetIndex, u64>,
    next: u64,
}

impl Debts {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn all(&self) -> Vec<Debt> {
        self.list.values().cloned().collect()
    }

    fn add(&mut self, target: TargetIndex, debt: Debt) {
        self.list.insert(self.next, debt);
        self.of.insert(target, self.next);
        self.next += 1;
    }

    /// Whether there was one.
    fn cancel(&mut self, target: TargetIndex) -> bool {
        let place = self.of.remove(&target);
        place.is_some_and(|place| self.list.remove(&place).is_some())
    }
}

impl Machine {
    /// Whether more is left behind than may be without a person's word. However well excused: a change that reached less than half has not
    /// been done.
    pub(super) fn too_many_are_left(&self) -> bool {
        let limit = (self.alive * u64::from(self.setup.change.settings.debt_limit_ppm)).div_ceil(1_000_000);
        let left = self.debts.len() as u64;
        // A word for a few is none for many: whoever comes to them meanwhile, as the newborns of what was left, may double them.
        let may = |granted: usize| !self.decides_by(7) || self.debts.len() <= granted.saturating_mul(2);
        (self.faulted > limit || left * 2 > self.alive) && !self.debts_left.is_some_and(may)
    }

    /// A target was lost to the plan; its application owes it. `excused` where it had not been healthy before, or where
    /// others' health keeps it from being touched.
    pub(super) fn owe(&mut self, target: TargetIndex, excused: bool, reason: String) {
        let state = self.targets[target.0 as usize];
        if state.owed {
            return;
        }
        self.faulted += u64::from(!excused);
        self.targets[target.0 as usize].faulted = !excused;
        self.redeem(target);
        self.domains.no_longer_away(target);
        let app = self.app_of(target);
        let debt = Debt {
            target: self.name(target).to_owned(),
            owner: self.setup.change.fleet.app_name(app).to_owned(),
            reason,
            expires_unix_ms: self.unix_ms(self.now_ms.saturating_add(self.setup.change.settings.debt_expiry_ms)),
        };
        self.debts.add(target, debt);
        self.targets[target.0 as usize].owed = true;
        self.frontier.on(Event::Failed {
            id: target,
            at: self.now_ms,
            retry: false,
        });
    }

    /// The target is no more, and nobody owes it.
    pub(super) fn forget_debt(&mut self, target: TargetIndex) {
        if self.debts.cancel(target) {
            self.faulted -= u64::from(std::mem::take(&mut self.targets[target.0 as usize].faulted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_keep_their_order_whoever_of_them_dies() {
        let debt = |name: &str| Debt {
            target: name.to_owned(),
            owner: "shop".to_owned(),
            reason: "tried 3 times".to_owned(),
            expires_unix_ms: 0,
        };
        let mut debts = Debts::default();
        for (at, name) in [(7, "a"), (3, "b"), (5, "c")] {
            debts.add(TargetIndex(at), debt(name));
        }
        assert!(debts.cancel(TargetIndex(3)) && !debts.cancel(TargetIndex(3)));
        // The name may come back, and be owed again.
        debts.add(TargetIndex(9), debt("b"));
        let names: Vec<String> = debts.all().into_iter().map(|debt| debt.target).collect();
        assert_eq!(names, ["a", "c", "b"]);
        assert!(debts.cancel(TargetIndex(9)) && debts.len() == 2 && !debts.is_empty());
    }
}
