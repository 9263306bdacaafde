//! Checks a plan without the planner's code: only the fleet, the policy, the plan's answers and the definition of the order are used.

mod cells;
mod coverage;
mod new_classes;
mod order;
mod ramp;
mod repair;
mod trace;

use crate::fleet::Fleet;
use crate::index::{KeyIndex, NO_KEY, TargetIndex, narrow};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::{Proof, Violation, Violations};
use cells::Cells;

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
        self.partition();
        let cells = Cells::new(self.fleet, &spread, self.plan);
        self.batches(&cells);
        self.controls();
        if !self.plan.is_repaired() {
            self.holdbacks(&cells);
            let classes = self.coverage(&cells, &covers);
            let allowed = self.ramp(classes);
            new_classes::check(self.fleet, self.policy, self.plan, &allowed, &mut self.found);
        }
    }

    fn keys(&mut self, names: &[String]) -> Option<Vec<KeyIndex>> {
        let mut keys = Vec::new();
        for name in names {
            match self.fleet.key_index(name) {
                Some(key) => keys.push(key),
                // Whoever had it is gone.
                None if self.plan.is_repaired() => keys.push(NO_KEY),
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

    /// Every target is listed once, in the batch it says it is in.
    fn partition(&mut self) {
        let mut listed = vec![0_u64; self.fleet.len().div_ceil(64)];
        let mut right = 0;
        for batch in 0..=self.last {
            for &target in self.plan.targets(batch) {
                let (word, bit) = (&mut listed[target.at() / 64], 1_u64 << (target.at() % 64));
                right += u32::from(*word & bit == 0 && self.plan.batch_of(target) == batch);
                *word |= bit;
            }
        }
        self.proof.targets = right;
        if right == narrow(self.fleet.len()) {
            return;
        }
        let mut listed = vec![(0_u16, 0_u32); self.fleet.len()];
        for batch in 0..=self.last {
            for &target in self.plan.targets(batch) {
                let place = &mut listed[target.at()];
                *place = (batch, place.1 + 1);
            }
        }
        for (target, (batch, listed)) in self.fleet.targets().zip(listed) {
            let own = self.plan.batch_of(target);
            if listed != 1 || batch != own {
                self.found.push(Violation::Partition {
                    target: self.fleet.id(target).to_owned(),
                    listed,
                    batch: own,
                });
            }
        }
    }

    /// Who is there for comparison can be compared.
    fn controls(&mut self) {
        for target in self.fleet.targets().filter(|&target| self.plan.is_control(target)) {
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

    /// The cumulative size of batch `k` is at most the `k`-th size of the ramp, worked out afresh. Returns these sizes.
    fn ramp(&mut self, classes: u32) -> Vec<u32> {
        let fleet = narrow(self.fleet.len());
        // Coverage may need more than the ramp's first size, at most one target for each class; and each new class has one of its own.
        let classes = classes.saturating_add(narrow(self.policy.new_classes.len()));
        let first = self.plan.batch(0).size;
        let wanted = ramp::first(&self.policy.ramp, fleet).max(self.policy.detection_targets.min(fleet));
        let begin = if first > wanted { first.min(classes) } else { wanted };
        let sizes = ramp::allowed(&self.policy.ramp, fleet, begin);
        let sizes: Vec<u32> = sizes.chain(std::iter::repeat(fleet)).take(self.last.into()).collect();
        for (batch, &allowed) in (0..).zip(&sizes) {
            let found = self.plan.batch(batch);
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
        sizes
    }
}

#[cfg(test)]
mod broken;
