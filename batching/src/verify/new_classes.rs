//! Whether new classes grow by themselves.

use crate::fleet::Fleet;
use crate::index::ValueIndex;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::Violation;

/// A new class has one target in the first batch, and grows from there at most as the whole does, or doubles where the whole does not.
pub(super) fn check(fleet: &Fleet, policy: &Policy, plan: &Plan, found: &mut Vec<Violation>) {
    let before_last = 0..plan.batch_count() - 1;
    for class in &policy.new_classes {
        let Some(key) = fleet.key_index(&class.key) else {
            continue;
        };
        let named = |&value: &ValueIndex| fleet.value_name(key, value) == class.value;
        let value = (0..fleet.value_count(key)).map(ValueIndex).find(named);
        let mut sizes = vec![0_u32; usize::from(plan.batch_count())];
        for target in fleet
            .targets()
            .filter(|&t| value.is_some() && fleet.label(t, key) == value)
        {
            sizes[usize::from(plan.batch_of(target))] += 1;
        }
        let first = u64::from(plan.batch(0).cumulative.max(1));
        let (mut taken, mut allowed) = (0_u64, 0_u64);
        for (batch, size) in before_last.clone().zip(sizes) {
            let grown = u64::from(plan.batch(batch).cumulative).div_ceil(first);
            allowed = grown.max(allowed.saturating_mul(2));
            taken += u64::from(size);
            if taken > allowed {
                found.push(Violation::NewClass {
                    key: class.key.clone(),
                    value: class.value.clone(),
                    batch,
                    taken: u32::try_from(taken).unwrap_or(u32::MAX),
                    allowed: u32::try_from(allowed).unwrap_or(u32::MAX),
                });
                break;
            }
        }
    }
}
