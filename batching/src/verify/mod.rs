//! Checks a plan without the planner's code: only the fleet, the policy, the plan's answers and the definition of the order are used.

mod cells;
mod coverage;
mod new_classes;
mod ramp;
mod repair;
mod trace;

use crate::fleet::Fleet;
use crate::index::{AppIndex, KeyIndex, TargetIndex, narrow};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::{Proof, Violation, Violations};
use cells::Cells;
use new_classes::NewClasses;

pub use repair::verify_repair;
pub use trace::{TraceProof, TraceStep, verify_trace};

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
        let mut cells = Cells::new(self.fleet, &spread, self.plan.seed());
        self.partition();
        self.batches(&mut cells);
        let repaired = self.plan.is_repaired();
        if !repaired {
            self.holdbacks(&cells);
            let classes = self.coverage(&cells, &covers);
            self.ramp(classes);
        }
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
        let mut listed = vec![(0_u16, 0_u8); self.fleet.len()];
        for batch in 0..=self.last {
            for &target in self.plan.targets(batch) {
                let place = &mut listed[target.at()];
                *place = (batch, place.1.saturating_add(1));
            }
        }
        for (target, (batch, times)) in self.fleet.targets().zip(listed) {
            let own = self.plan.batch_of(target);
            if times == 1 && batch == own {
                self.proof.targets += 1;
            } else {
                self.found.push(Violation::Partition {
                    target: self.fleet.id(target).to_owned(),
                    listed: u32::from(times),
                    batch: own,
                });
            }
        }
    }

    /// Reads all batches in order: at most half of an application in each, singletons in the last only, hash order within strata. In a repaired
    /// plan what was kept is not judged again, only what joined it.
    fn batches(&mut self, cells: &mut Cells<'_>) {
        let mut taken = vec![(0_u32, 0_u32); self.fleet.app_count() as usize];
        let mut touched: Vec<AppIndex> = Vec::new();
        let repaired = self.plan.is_repaired();
        let mut classes = NewClasses::new(self.fleet, self.policy, self.plan);
        for batch in 0..=self.last {
            for &target in self.plan.targets(batch) {
                let app = self.fleet.app_of(target);
                let joined = !repaired || !self.plan.is_kept(target);
                let count = &mut taken[app.at()];
                if count.0 == 0 {
                    touched.push(app);
                }
                *count = (count.0 + 1, count.1 + u32::from(joined));
                let hash = cells.hashes[target.at()];
                let cell = cells.cell(target);
                cell.first += u32::from(batch == 0);
                cell.last += u32::from(batch == self.last);
                if batch > 0 && batch < self.last && !repaired {
                    if let Some(earlier) = cell.read(batch, hash, target) {
                        self.found.push(Violation::Order {
                            stratum: cells.name(target),
                            earlier: self.fleet.id(target).to_owned(),
                            earlier_batch: batch,
                            later: self.fleet.id(earlier).to_owned(),
                            later_batch: self.plan.batch_of(earlier),
                        });
                    } else {
                        self.proof.neighbours += 1;
                    }
                }
                if !repaired && batch < self.last {
                    classes.read(batch, target, &mut self.found);
                }
            }
            for app in touched.drain(..) {
                let count = std::mem::take(&mut taken[app.at()]);
                self.half(app, batch, count);
            }
        }
    }

    fn half(&mut self, app: AppIndex, batch: u16, (taken, joined): (u32, u32)) {
        let size = self.fleet.app_size(app);
        let allowed = size / 2 + size % 2;
        let name = || self.fleet.app_name(app).to_owned();
        let judged = joined > 0 && !(self.plan.is_repaired() && batch == self.last);
        if size == 1 {
            if batch == self.last {
                self.proof.singletons += 1;
            } else if judged {
                let violation = Violation::Singleton {
                    app: name(),
                    batch,
                    last: self.last,
                };
                self.found.push(violation);
            }
        } else if judged && taken > allowed {
            let violation = Violation::Half {
                batch,
                app: name(),
                taken,
                size,
                allowed,
            };
            self.found.push(violation);
        } else {
            self.proof.halves += 1;
        }
    }

    /// The least that a stratum keeps for the last batch.
    fn holdback(&self, size: u32) -> u32 {
        if size < 2 {
            return 0;
        }
        self.policy.holdback.floor_of(size).max(1).min(size / 2)
    }

    fn holdbacks(&mut self, cells: &Cells<'_>) {
        for (number, cell) in (0..).zip(&cells.cells) {
            let wanted = self.holdback(cell.size);
            if cell.last >= wanted {
                self.proof.holdbacks += u32::from(wanted > 0);
                continue;
            }
            let any = cells.of.iter().position(|&cell| cell == number).map_or(0, narrow);
            self.found.push(Violation::Holdback {
                stratum: cells.name(TargetIndex(any)),
                held: cell.last,
                size: cell.size,
                wanted,
            });
        }
    }

    /// The first new class a target belongs to.
    fn new_class_of(&self, target: TargetIndex) -> Option<usize> {
        self.policy.new_classes.iter().position(|class| {
            let label = self.fleet.key_index(&class.key).and_then(|key| {
                let value = self.fleet.label(target, key)?;
                Some(self.fleet.value_name(key, value))
            });
            label == Some(class.value.as_str())
        })
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
