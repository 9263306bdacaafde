//! Checks a plan without the planner's code: only the fleet, the policy, the plan's answers and the definition of the order are used.

use std::collections::{BTreeMap, BTreeSet};

use crate::cover::UncoveredReason;
use crate::fleet::Fleet;
use crate::hash::position;
use crate::index::{KeyIndex, TargetIndex, ValueIndex, narrow};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::{Proof, Violation, Violations};

/// Checks that a plan keeps what the policy asks: every target in exactly one batch, sizes within the ramp, at most half of an application per batch,
/// singletons last, the holdback whole, the first batch covering, hash order within strata, controls comparable.
///
/// The caps on what is in flight are the [`Frontier`](crate::Frontier)'s to obey.
///
/// # Errors
/// Every bound that is broken, with the set and the numbers.
pub fn verify(fleet: &Fleet, policy: &Policy, plan: &Plan) -> Result<Proof, Violations> {
    let mut check = Check {
        fleet,
        policy,
        plan,
        last: plan.batch_count() - 1,
        found: Vec::new(),
        proof: EMPTY,
    };
    check.run();
    if check.found.is_empty() {
        Ok(check.proof)
    } else {
        Err(Violations(check.found))
    }
}

const EMPTY: Proof = Proof {
    targets: 0,
    batches: 0,
    halves: 0,
    singletons: 0,
    holdbacks: 0,
    classes_covered: 0,
    classes_excused: 0,
    neighbours: 0,
    controls: 0,
};

struct Check<'a> {
    fleet: &'a Fleet,
    policy: &'a Policy,
    plan: &'a Plan,
    last: u16,
    found: Vec<Violation>,
    proof: Proof,
}

impl Check<'_> {
    fn run(&mut self) {
        let (plan, fleet) = (self.plan.len(), self.fleet.len());
        if plan != fleet {
            self.found.push(Violation::Fleet {
                plan: narrow(plan),
                fleet: narrow(fleet),
            });
            return;
        }
        if let Err(error) = self.policy.check() {
            self.found.push(Violation::Policy {
                message: error.to_string(),
            });
            return;
        }
        let (Some(spread), Some(covers)) = (self.keys(&self.policy.spread), self.keys(self.policy.cover_keys())) else {
            return;
        };
        self.partition();
        let classes = self.coverage(&spread, &covers);
        self.ramp(classes);
        self.halves_and_singletons();
        self.strata(&spread);
        self.controls();
    }

    fn keys(&mut self, names: &[String]) -> Option<Vec<KeyIndex>> {
        let mut keys = Vec::new();
        for name in names {
            match self.fleet.key_index(name) {
                Some(key) => keys.push(key),
                None => {
                    self.found.push(Violation::Policy {
                        message: format!("the fleet has no label key `{name}`"),
                    });
                    return None;
                }
            }
        }
        Some(keys)
    }

    fn partition(&mut self) {
        let mut listed = vec![0_u32; self.fleet.len()];
        let mut elsewhere = vec![false; self.fleet.len()];
        for batch in 0..=self.last {
            for &target in self.plan.targets(batch) {
                listed[target.at()] += 1;
                elsewhere[target.at()] |= self.plan.batch_of(target) != batch;
            }
        }
        for target in self.fleet.targets() {
            if listed[target.at()] == 1 && !elsewhere[target.at()] {
                self.proof.targets += 1;
            } else {
                let id = self.fleet.id(target).to_owned();
                self.found.push(Violation::Partition {
                    target: id,
                    listed: listed[target.at()],
                    batch: self.plan.batch_of(target),
                });
            }
        }
    }

    /// The cumulative size of batch `k` is at most the `k`-th size of the ramp, worked out afresh.
    fn ramp(&mut self, classes: u32) {
        let fleet = narrow(self.fleet.len());
        // Coverage may need more than the ramp's first size, at most one target for each class.
        let first = self.plan.batch(0).size;
        let wanted = ramp::first(&self.policy.ramp, fleet).max(self.policy.detection_targets.min(fleet));
        let begin = if first > wanted { first.min(classes) } else { wanted };
        let mut sizes = ramp::allowed(&self.policy.ramp, fleet, begin);
        for batch in 0..self.last {
            let found = self.plan.batch(batch);
            let allowed = sizes.next().unwrap_or(fleet);
            if found.cumulative > allowed || found.size == 0 {
                self.found.push(Violation::Ramp {
                    batch,
                    cumulative: found.cumulative,
                    allowed,
                });
            } else {
                self.proof.batches += 1;
            }
        }
        self.proof.batches += 1;
    }

    fn halves_and_singletons(&mut self) {
        let apps = self.fleet.app_count() as usize;
        let mut sizes = vec![0_u32; apps];
        for target in self.fleet.targets() {
            sizes[self.fleet.app_of(target).at()] += 1;
        }
        for batch in 0..=self.last {
            let mut taken: BTreeMap<crate::AppIndex, u32> = BTreeMap::new();
            for &target in self.plan.targets(batch) {
                *taken.entry(self.fleet.app_of(target)).or_default() += 1;
            }
            for (app, taken) in taken {
                let size = sizes[app.at()];
                let name = || self.fleet.app_name(app).to_owned();
                if size == 1 {
                    if batch == self.last {
                        self.proof.singletons += 1;
                    } else {
                        self.found.push(Violation::Singleton {
                            app: name(),
                            batch,
                            last: self.last,
                        });
                    }
                } else if taken > size / 2 + size % 2 {
                    self.found.push(Violation::Half {
                        batch,
                        app: name(),
                        taken,
                        size,
                        allowed: size / 2 + size % 2,
                    });
                } else {
                    self.proof.halves += 1;
                }
            }
        }
    }

    /// Every stratum in hash order: its holdback, and batches that never fall except for the targets chosen for coverage (first batch) and the
    /// holdback (last).
    fn strata(&mut self, spread: &[KeyIndex]) {
        let mut groups: BTreeMap<(u32, Vec<Option<ValueIndex>>), Vec<TargetIndex>> = BTreeMap::new();
        for target in self.fleet.targets() {
            let labels = spread.iter().map(|&key| self.fleet.label(target, key)).collect();
            groups
                .entry((self.fleet.app_of(target).0, labels))
                .or_default()
                .push(target);
        }
        for ((app, labels), targets) in groups {
            let app = crate::AppIndex(app);
            let mut rows: Vec<(u64, TargetIndex, u16)> = targets
                .iter()
                .map(|&target| {
                    (
                        position(self.plan.seed(), self.fleet.id(target)),
                        target,
                        self.plan.batch_of(target),
                    )
                })
                .collect();
            rows.sort_unstable();
            let name = || {
                let values = spread.iter().zip(&labels).map(|(&key, label)| {
                    let value = label.map_or("(none)", |value| self.fleet.value_name(key, value));
                    format!(" {}={value}", self.fleet.keys()[key.at()])
                });
                format!("`{}`{}", self.fleet.app_name(app), values.collect::<String>())
            };
            let size = narrow(rows.len());
            if size >= 2 {
                let held = narrow(rows.iter().filter(|row| row.2 == self.last).count());
                let wanted = self.policy.holdback.floor_of(size).max(1).min(size / 2);
                if held < wanted {
                    self.found.push(Violation::Holdback {
                        stratum: name(),
                        held,
                        size,
                        wanted,
                    });
                } else {
                    self.proof.holdbacks += 1;
                }
            }
            let middle: Vec<_> = rows.iter().filter(|row| row.2 > 0 && row.2 < self.last).collect();
            for pair in middle.windows(2) {
                if pair[0].2 > pair[1].2 {
                    self.found.push(Violation::Order {
                        stratum: name(),
                        earlier: self.fleet.id(pair[0].1).to_owned(),
                        earlier_batch: pair[0].2,
                        later: self.fleet.id(pair[1].1).to_owned(),
                        later_batch: pair[1].2,
                    });
                } else {
                    self.proof.neighbours += 1;
                }
            }
        }
    }

    /// Returns the number of classes the first batch contains.
    fn coverage(&mut self, spread: &[KeyIndex], covers: &[KeyIndex]) -> u32 {
        let mut reported: BTreeMap<(String, String), UncoveredReason> = BTreeMap::new();
        for gap in self.plan.uncovered() {
            reported.insert((gap.key.clone(), gap.value.clone()), gap.why);
        }
        let mut covered = 0;
        for &key in covers {
            let ready = self.plan.targets(0).iter().filter(|&&target| self.fleet.ready(target));
            let seen: BTreeSet<ValueIndex> = ready.filter_map(|&target| self.fleet.label(target, key)).collect();
            let key_name = &self.fleet.keys()[key.at()];
            covered += narrow(seen.len());
            self.proof.classes_covered += narrow(seen.len());
            let values = (0..self.fleet.value_count(key)).map(ValueIndex);
            let missing: Vec<ValueIndex> = values.filter(|value| !seen.contains(value)).collect();
            for value in missing {
                let value_name = self.fleet.value_name(key, value).to_owned();
                let report = reported.remove(&(key_name.clone(), value_name.clone()));
                let having: Vec<TargetIndex> = self
                    .fleet
                    .targets()
                    .filter(|&target| self.fleet.label(target, key) == Some(value))
                    .collect();
                if having.is_empty() && report.is_none() {
                    continue;
                }
                let several: Vec<TargetIndex> = having
                    .into_iter()
                    .filter(|&target| self.fleet.app_size(self.fleet.app_of(target)) > 1)
                    .collect();
                let ready: Vec<TargetIndex> = several
                    .iter()
                    .copied()
                    .filter(|&target| self.fleet.ready(target))
                    .collect();
                let available = narrow(ready.iter().filter(|&&target| self.had_room(target, spread)).count());
                let truth = if several.is_empty() {
                    UncoveredReason::OnlySingletons
                } else if ready.is_empty() {
                    UncoveredReason::NoneReady
                } else {
                    UncoveredReason::NoRoom
                };
                let (key, value) = (key_name.clone(), value_name);
                if available > 0 {
                    self.found.push(Violation::Coverage { key, value, available });
                } else if report == Some(truth) {
                    self.proof.classes_excused += 1;
                } else {
                    self.found.push(Violation::CoverageReport { key, value });
                }
            }
        }
        for (key, value) in reported.into_keys() {
            self.found.push(Violation::CoverageReport { key, value });
        }
        covered
    }

    /// Whether the first batch could have taken one more of the target's application and stratum.
    fn had_room(&self, target: TargetIndex, spread: &[KeyIndex]) -> bool {
        let app = self.fleet.app_of(target);
        let like = |other: TargetIndex| {
            spread
                .iter()
                .all(|&key| self.fleet.label(other, key) == self.fleet.label(target, key))
        };
        let (mut taken, mut alike, mut alike_taken) = (0, 0_u32, 0);
        for other in self.fleet.targets_of(app) {
            let first = self.plan.batch_of(other) == 0;
            taken += u32::from(first);
            if like(other) {
                alike += 1;
                alike_taken += u32::from(first);
            }
        }
        let held = if alike >= 2 {
            self.policy.holdback.floor_of(alike).max(1).min(alike / 2)
        } else {
            0
        };
        taken < self.fleet.app_size(app).div_ceil(2) && alike_taken < alike - held
    }

    fn controls(&mut self) {
        for target in self.fleet.targets() {
            if !self.plan.is_control(target) {
                continue;
            }
            let batch = self.plan.batch_of(target);
            if batch == self.last && self.fleet.ready(target) && self.fleet.app_size(self.fleet.app_of(target)) > 1 {
                self.proof.controls += 1;
            } else {
                self.found.push(Violation::Control {
                    target: self.fleet.id(target).to_owned(),
                    batch,
                    last: self.last,
                });
            }
        }
    }
}

#[cfg(test)]
mod broken;
mod ramp;
