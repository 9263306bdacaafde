//! Checks a repaired plan against what was said before.

use super::verify;
use crate::fleet::Fleet;
use crate::plan::{Plan, Previous};
use crate::policy::Policy;
use crate::proof::{Proof, Violation, Violations};

/// Checks that a repaired plan moves nobody and lets nobody join a frozen batch, beside what [`verify`] checks of it.
///
/// # Errors
/// Every bound that is broken, with the set and the numbers.
pub fn verify_repair(fleet: &Fleet, policy: &Policy, plan: &Plan, previous: &Previous) -> Result<Proof, Violations> {
    let (proof, mut found) = match verify(fleet, policy, plan) {
        Ok(proof) => (Some(proof), Vec::new()),
        Err(violations) => (None, violations.0),
    };
    let first_open = previous.first_open();
    for target in fleet.targets().take(plan.len()) {
        let batch = plan.batch_of(target);
        let id = || fleet.id(target).to_owned();
        match previous.batch_of(fleet.id(target)) {
            Some(was) if was != batch => found.push(Violation::Moved {
                target: id(),
                was,
                is: batch,
            }),
            None if batch < first_open && plan.is_repaired() => found.push(Violation::JoinedFrozen {
                target: id(),
                batch,
                first_open,
            }),
            _ => {}
        }
    }
    match proof {
        Some(proof) if found.is_empty() => Ok(proof),
        _ => Err(Violations(found)),
    }
}
