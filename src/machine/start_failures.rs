//! Starts of the new version that its own gate refused, and when they reject the release.

use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{AppIndex, TargetIndex};

use super::Machine;

/// Starts of the new version that its own gate refused: deterministic ones reject the release.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartFailures {
    /// Targets on which the new version crashed or failed a self-check twice in a row, while the old one served.
    twice: BTreeSet<TargetIndex>,
    /// Targets on which it crashed or failed a self-check at all.
    once: BTreeSet<TargetIndex>,
    /// How often it was said to be done by hand, and did not serve.
    by_hand: BTreeMap<TargetIndex, u8>,
    /// Targets on which it could not be verified in time three times in a row.
    late: BTreeSet<TargetIndex>,
    /// Starts that succeeded: all, and those of each class and of each application.
    succeeded: u64,
    of_class: BTreeMap<u32, u64>,
    of_app: BTreeMap<AppIndex, u64>,
    last: Option<String>,
}

impl StartFailures {
    /// Targets that it failed on.
    pub(super) fn count(&self) -> usize {
        self.failed().count()
    }

    /// Those that it failed on.
    pub(super) fn failed(&self) -> impl Iterator<Item = TargetIndex> {
        self.once.union(&self.late).copied()
    }

    /// What failed is no part of the change any more.
    pub(super) fn forget(&mut self) {
        *self = Self {
            succeeded: self.succeeded,
            of_class: std::mem::take(&mut self.of_class),
            of_app: std::mem::take(&mut self.of_app),
            ..Self::default()
        };
    }

    /// One of an application and of these classes has come up.
    pub(super) fn success(&mut self, app: AppIndex, classes: &[u32]) {
        self.succeeded += 1;
        *self.of_app.entry(app).or_default() += 1;
        for &class in classes {
            *self.of_class.entry(class).or_default() += 1;
        }
    }

    /// The new version crashed, or failed a check, where the old one had served.
    pub(super) fn gate_failed(&mut self, target: TargetIndex, why: String) {
        if !self.once.insert(target) {
            self.twice.insert(target);
        }
        self.last = Some(why);
    }

    /// What was said to be done by hand does not serve where the old version did. Why is not known: it may have crashed, or be late. So it
    /// counts among the starts that failed, but only the third time as one that fails again and again.
    pub(super) fn failed_by_hand(&mut self, target: TargetIndex, why: String) {
        let tries = self.by_hand.entry(target).or_default();
        *tries = tries.saturating_add(1);
        let tries = *tries;
        self.once.insert(target);
        self.last = Some(why.clone());
        self.timed_out(target, tries, why);
    }

    /// The new version was not verified in time, for the `tries`th time on this target.
    pub(super) fn timed_out(&mut self, target: TargetIndex, tries: u8, why: String) {
        if tries >= 3 {
            self.late.insert(target);
            self.last = Some(why);
        }
    }

    /// Whether the gate rejects the release. A chance failure does not repeat: it takes the same target twice, or most of the starts there
    /// were. Nor is one odd host the release's doing: where others of all its classes come up, it takes a second one, and a share of all
    /// that no few odd hosts come to, or a second one of an application of which nobody comes up.
    fn rejects(&self, starts: &Starts<'_>) -> Option<String> {
        let failed = self.once.len() as u64;
        let many = failed >= 3 && failed > self.succeeded + starts.pending;
        let why = self.last.as_deref().unwrap_or_default();
        if self.fails_for_good(starts) || many {
            return Some(format!(
                "the new version does not start: its gate failed on {} targets, on {} of them twice; last: {why}",
                self.once.len(),
                self.twice.len()
            ));
        }
        // Late alone may be the target's fault, or the platform's: a node too small for two copies lets no new one come up
        // beside the old. So it must be more than one, if there is more than one, and many of those there were.
        let late = self.late.len() as u64;
        (late >= 2.min(starts.fleet).max(1) && late * 20 > self.succeeded + late)
            .then(|| format!("the new version does not come up: {late} targets were tried three times; last: {why}"))
    }

    /// Whether those on which it fails again and again are the release's doing.
    fn fails_for_good(&self, starts: &Starts<'_>) -> bool {
        let Some(of) = starts.of else {
            // As earlier versions had it.
            return !self.twice.is_empty();
        };
        let many = self.twice.len() as u64;
        let mut apps: BTreeMap<AppIndex, u64> = BTreeMap::new();
        let mut of_class: BTreeMap<u32, u64> = BTreeMap::new();
        let is_first = |&target: &TargetIndex| {
            let (app, classes) = of(target);
            let of_app = apps.entry(app).or_default();
            *of_app += 1;
            let mut nobody_of_class = false;
            for class in classes {
                let failed = of_class.entry(*class).or_default();
                *failed += 1;
                // The first of each class come together: where there is another of it, one odd host among them is not the class.
                nobody_of_class |= !self.of_class.contains_key(class) && *failed >= (starts.needed)(*class);
            }
            nobody_of_class || *of_app >= 2 && !self.of_app.contains_key(&app)
        };
        many >= 2 && many * ODD_HOSTS_ONE_IN >= self.succeeded + many || self.twice.iter().any(is_first)
    }
}

/// No more hosts than one in so many are taken to be odd ones, on which what runs elsewhere does not start.
const ODD_HOSTS_ONE_IN: u64 = 200;

/// The application of a target, and its classes.
type Of<'a> = &'a dyn Fn(TargetIndex) -> (AppIndex, &'a [u32]);

/// Beside which starts failures are looked at.
struct Starts<'a> {
    /// How many live.
    fleet: u64,
    /// Those under way that have not failed: they may come up.
    pending: u64,
    /// `None`: whose they are was not looked at in earlier versions.
    of: Option<Of<'a>>,
    /// How many of a class of which nobody comes up make that the release's doing.
    needed: &'a dyn Fn(u32) -> u64,
}

impl Machine {
    /// Whether the gate rejects the release, and why.
    pub(super) fn gate_rejects(&self) -> Option<String> {
        let failures = &self.start_failures;
        let of = |target: TargetIndex| {
            let stratum = self.targets[target.0 as usize].stratum as usize;
            (self.app_of(target), &self.tables.strata_classes[stratum])
        };
        let since_7 = self.decides_by(7);
        let again = || {
            failures
                .once
                .iter()
                .filter(|target| self.targets[target.0 as usize].in_flight.is_some())
        };
        failures.rejects(&Starts {
            fleet: self.alive,
            pending: if since_7 {
                self.in_flight.saturating_sub(again().count() as u64)
            } else {
                0
            },
            of: since_7.then_some(&of),
            needed: &|class| {
                if self.decides_by(8) {
                    2.min(self.living_of(class)).max(1)
                } else {
                    1
                }
            },
        })
    }

    /// How many live in a class.
    fn living_of(&self, class: u32) -> u64 {
        let is_of = |target: &&super::Target| {
            target.alive && self.tables.strata_classes[target.stratum as usize].contains(&class)
        };
        self.targets.iter().filter(is_of).take(2).count() as u64
    }

    /// A target has come up on the new version.
    pub(super) fn note_success(&mut self, target: TargetIndex) {
        let app = self.app_of(target);
        let stratum = self.targets[target.0 as usize].stratum as usize;
        self.start_failures.success(app, &self.tables.strata_classes[stratum]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As earlier versions looked at it, and as all do at what is late.
    fn beside(fleet: u64) -> Starts<'static> {
        Starts {
            fleet,
            pending: 0,
            of: None,
            needed: &|_| 1,
        }
    }

    fn starts(succeeded: u64, failed: u32, late: u32) -> StartFailures {
        let mut starts = StartFailures::default();
        (0..succeeded).for_each(|_| starts.success(AppIndex(0), &[0]));
        (0..failed).for_each(|at| starts.gate_failed(TargetIndex(at), "it crashed".to_owned()));
        (0..late).for_each(|at| starts.timed_out(TargetIndex(1_000 + at), 3, "it is late".to_owned()));
        starts
    }

    #[test]
    fn chance_failures_of_many_starts_reject_nothing() {
        // As many targets as may fail once beside those that did not, and one more.
        for (succeeded, failed, rejects) in [
            (0, 2, false),
            (0, 3, true),
            (3, 3, false),
            (2, 3, true),
            (100, 30, false),
        ] {
            let starts = starts(succeeded, failed, 0);
            assert_eq!(
                starts.rejects(&beside(1_000)).is_some(),
                rejects,
                "{failed} beside {succeeded}"
            );
        }
        let mut twice = starts(1_000, 1, 0);
        twice.gate_failed(TargetIndex(0), "again".to_owned());
        assert!(twice.rejects(&beside(10_000)).is_some(), "the same target twice");
    }

    #[test]
    fn by_hand_the_same_target_twice_is_chance_and_many_thrice_are_not() {
        let by_hand = |succeeded: u64, targets: u32, times: u8| {
            let mut starts = starts(succeeded, 0, 0);
            for at in 0..targets {
                (0..times).for_each(|_| starts.failed_by_hand(TargetIndex(at), "it does not serve".to_owned()));
            }
            starts
        };
        for (succeeded, targets, times, rejects) in [
            (1_000, 10, 2, false),
            (1_000, 10, 3, false),
            (37, 2, 3, true),
            (2, 3, 1, true),
            (3, 3, 1, false),
        ] {
            let starts = by_hand(succeeded, targets, times);
            assert_eq!(
                starts.rejects(&beside(10_000)).is_some(),
                rejects,
                "{targets} {times} times beside {succeeded}"
            );
            assert_eq!(starts.count(), targets as usize);
        }
    }

    #[test]
    fn late_ones_reject_where_they_are_many_and_more_than_one_of_more_than_one() {
        for (succeeded, late, fleet, rejects) in [
            (0, 1, 1, true),
            (0, 1, 2, false),
            (0, 2, 2, true),
            (38, 2, 100, false),
            (37, 2, 100, true),
        ] {
            let starts = starts(succeeded, 0, late);
            assert_eq!(
                starts.rejects(&beside(fleet)).is_some(),
                rejects,
                "{late} late beside {succeeded} of {fleet}"
            );
        }
        let mut twice = StartFailures::default();
        twice.timed_out(TargetIndex(0), 2, "it is late".to_owned());
        assert_eq!(twice.count(), 0, "twice is not three times");
    }

    /// Whether it is rejected where so many of application 0 came up, and these fail twice: each in an application and a class, of which it
    /// takes so many.
    fn rejected_of(succeeded: u64, odd: &[(u32, u32)], needed: u64) -> bool {
        let mut starts = starts(succeeded, 0, 0);
        let named: Vec<(AppIndex, [u32; 2])> = odd.iter().map(|&(app, class)| (AppIndex(app), [0, class])).collect();
        for at in 0..u32::try_from(odd.len()).unwrap() {
            (0..2).for_each(|_| starts.gate_failed(TargetIndex(at), "it crashed".to_owned()));
        }
        let of = |target: TargetIndex| {
            let (app, classes) = &named[target.0 as usize];
            (*app, classes.as_slice())
        };
        starts
            .rejects(&Starts {
                fleet: 100_000,
                pending: 0,
                of: Some(&of),
                needed: &|_| needed,
            })
            .is_some()
    }

    fn rejected(succeeded: u64, odd: &[(u32, u32)]) -> bool {
        rejected_of(succeeded, odd, 1)
    }

    #[test]
    fn one_odd_host_is_no_fault_of_the_release() {
        // Others of its class come up, which is the fleet here.
        assert!(!rejected(29, &[(0, 0)]) && !rejected(100_000, &[(0, 0)]));
        // Nobody has come up at all, or nobody of its class.
        assert!(rejected(0, &[(0, 0)]) && rejected(29, &[(0, 7)]));
        // A second one, and one in two hundred.
        assert!(rejected(398, &[(0, 0), (0, 0)]) && !rejected(399, &[(0, 0), (0, 0)]));
        // Two of an application of which nobody comes up, however late; of two applications it is two odd hosts.
        assert!(rejected(100_000, &[(5, 0), (5, 0)]) && !rejected(100_000, &[(5, 0), (6, 0)]));
    }

    #[test]
    fn the_first_of_a_class_is_one_host_where_there_is_another() {
        assert!(!rejected_of(29, &[(0, 7)], 2) && rejected_of(29, &[(0, 7), (1, 7)], 2));
        assert!(!rejected_of(0, &[(0, 7)], 2) && rejected_of(0, &[(0, 7), (1, 8)], 2));
        // Of different classes they are two odd hosts, where more than two hundred came up.
        assert!(!rejected_of(500, &[(0, 7), (1, 8)], 2));
    }

    #[test]
    fn who_may_still_come_up_is_no_failure() {
        let starts = starts(0, 4, 0);
        let of = |_: TargetIndex| (AppIndex(0), [0].as_slice());
        let beside = |pending| Starts {
            fleet: 100,
            pending,
            of: Some(&of),
            needed: &|_| 1,
        };
        assert!(starts.rejects(&beside(3)).is_some() && starts.rejects(&beside(4)).is_none());
    }
}
