//! Whether new classes grow by themselves.

use crate::fleet::Fleet;
use crate::index::{KeyIndex, TargetIndex, ValueIndex};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::Violation;

/// Counts the targets of each new class, batch by batch.
pub(super) struct NewClasses<'a> {
    fleet: &'a Fleet,
    plan: &'a Plan,
    classes: Vec<Class>,
}

struct Class {
    key: KeyIndex,
    value: ValueIndex,
    taken: u32,
    /// It has been found too large.
    reported: bool,
}

impl<'a> NewClasses<'a> {
    pub(super) fn new(fleet: &'a Fleet, policy: &'a Policy, plan: &'a Plan) -> Self {
        let classes = policy.new_classes.iter().filter_map(|class| {
            let key = fleet.key_index(&class.key)?;
            let named = |&value: &ValueIndex| fleet.value_name(key, value) == class.value;
            Some(Class {
                key,
                value: (0..fleet.value_count(key)).map(ValueIndex).find(named)?,
                taken: 0,
                reported: false,
            })
        });
        Self {
            fleet,
            plan,
            classes: classes.collect(),
        }
    }

    pub(super) fn read(&mut self, batch: u16, target: TargetIndex, found: &mut Vec<Violation>) {
        for class in &mut self.classes {
            if self.fleet.label(target, class.key) != Some(class.value) {
                continue;
            }
            class.taken += 1;
            let allowed = allowed(self.plan, batch);
            if class.taken > allowed && !class.reported {
                class.reported = true;
                found.push(Violation::NewClass {
                    key: self.fleet.keys()[class.key.at()].clone(),
                    value: self.fleet.value_name(class.key, class.value).to_owned(),
                    batch,
                    taken: class.taken,
                    allowed,
                });
            }
        }
    }
}

/// What one target has become by batch `k` if it grew as the whole did, or doubled from batch to batch where the whole did not.
fn allowed(plan: &Plan, batch: u16) -> u32 {
    let first = u64::from(plan.batch(0).cumulative.max(1));
    let mut allowed = 1_u64;
    for batch in 1..=batch {
        let grown = u64::from(plan.batch(batch).cumulative).div_ceil(first);
        allowed = grown.max(allowed.saturating_mul(2)).min(u64::from(u32::MAX));
    }
    u32::try_from(allowed).unwrap_or(u32::MAX)
}
