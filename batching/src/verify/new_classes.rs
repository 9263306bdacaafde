//! Whether new classes grow by themselves.

use crate::fleet::Fleet;
use crate::index::ValueIndex;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::Violation;

/// A new class has one target in the first batch, and by each batch at most as many times more as the ramp allows the whole: `ceil(C_b / C_0)`,
/// where `ramp` gives the sizes `C_b` of the ramp (not of the plan, which may stay below it). Where that is no limit, it may double: in a batch for
/// nobody but new classes, and once the ramp has had room for everybody who is not held back.
pub(super) fn check(fleet: &Fleet, policy: &Policy, plan: &Plan, ramp: &[u32], found: &mut Vec<Violation>) {
    let batches = usize::from(plan.batch_count());
    let mut classes: Vec<Vec<u32>> = Vec::new();
    let mut others: Vec<u32> = (0..plan.batch_count()).map(|batch| plan.batch(batch).size).collect();
    let labels: Vec<_> = policy
        .new_classes
        .iter()
        .map(|class| {
            let key = fleet.key_index(&class.key)?;
            let named = |&value: &ValueIndex| fleet.value_name(key, value) == class.value;
            let value = (0..fleet.value_count(key)).map(ValueIndex).find(named)?;
            classes.push(vec![0; batches]);
            Some((key, value, classes.len() - 1, class))
        })
        .collect();
    if classes.is_empty() {
        return;
    }
    for target in fleet.targets() {
        let batch = usize::from(plan.batch_of(target));
        let mut new = false;
        for &(key, value, class, _) in labels.iter().flatten() {
            if fleet.label(target, key) == Some(value) {
                classes[class][batch] += 1;
                new = true;
            }
        }
        others[batch] -= u32::from(new);
    }
    let first = u64::from(ramp.first().copied().unwrap_or(1).max(1));
    // Everybody who is not held back.
    let whole = plan
        .batch_count()
        .checked_sub(2)
        .map_or(0, |batch| plan.batch(batch).cumulative);
    for &(_, _, at, class) in labels.iter().flatten() {
        let (mut taken, mut allowed) = (0_u64, 1_u64);
        for (batch, &size) in (0_u16..).zip(&classes[at][..batches - 1]) {
            let before = usize::from(batch).checked_sub(1).and_then(|before| ramp.get(before));
            allowed = allowed.max(u64::from(ramp.get(usize::from(batch)).copied().unwrap_or(whole)).div_ceil(first));
            if before.is_some_and(|&before| before >= whole) || batch > 0 && others[usize::from(batch)] == 0 {
                allowed = allowed.saturating_mul(2);
            }
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
