//! What is refused before anything is planned.

use super::PlanError;
use crate::amount::Amount;
use crate::fleet::Fleet;
use crate::index::{AppIndex, KeyIndex, NO_KEY, TargetIndex};
use crate::policy::Policy;

/// The keys of a policy as the fleet numbers them.
pub(super) struct Keys {
    pub(super) spread: Vec<KeyIndex>,
    pub(super) covers: Vec<KeyIndex>,
    pub(super) one_value: Vec<KeyIndex>,
}

/// What a plan begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// With nothing: a name that nobody has was misspelt, and a rule that holds for nobody would be silent in the night it matters.
    New,
    /// With an earlier plan, which was checked: whoever had a name may be gone meanwhile, and may come back.
    Earlier,
}

pub(super) fn check(fleet: &Fleet, policy: &Policy, origin: Origin) -> Result<Keys, PlanError> {
    policy.check()?;
    let resolve = |rule: &str, keys: &mut dyn Iterator<Item = &String>| -> Result<Vec<KeyIndex>, PlanError> {
        let known = |key: &String| match fleet.key_index(key) {
            Some(index) => Ok(index),
            None if origin == Origin::Earlier => Ok(NO_KEY),
            None => Err(PlanError::UnknownKey {
                rule: rule.to_owned(),
                key: key.clone(),
                known: fleet.keys().to_vec(),
            }),
        };
        keys.map(known).collect()
    };
    let keys = Keys {
        spread: resolve("spread", &mut policy.spread.iter())?,
        covers: resolve("first_batch_covers", &mut policy.cover_keys().iter())?,
        one_value: resolve("one_value_per_app", &mut policy.one_value_per_app.iter())?,
    };
    resolve("one_first_exposure", &mut policy.one_first_exposure.iter())?;
    let capped = resolve("per_label", &mut policy.per_label.keys())?;
    for pin in &policy.pins {
        resolve("pins", &mut pin.scope.labels.keys())?;
    }
    // A plan that is under way is repaired, whatever became of the fleet: the frontier says who stands still, and why.
    if origin == Origin::Earlier {
        return Ok(keys);
    }
    nobody(fleet, policy)?;
    if policy.fix_in_flight_per_app.is_zero() && !fleet.all_ready() {
        overdrawn(fleet, policy, &capped)?;
    }
    if let Some(headroom) = policy.ready_capacity_headroom {
        spare_capacity(fleet, headroom)?;
    }
    Ok(keys)
}

/// Pins and new classes that no target belongs to.
fn nobody(fleet: &Fleet, policy: &Policy) -> Result<(), PlanError> {
    for (at, pin) in policy.pins.iter().enumerate() {
        if !fleet.targets().any(|target| pin.scope.holds(fleet, target)) {
            return Err(PlanError::Nobody {
                rule: format!("pins[{at}]"),
                what: "its scope".to_owned(),
            });
        }
    }
    for class in &policy.new_classes {
        let values = fleet.key_index(&class.key).map(|key| fleet.values_of(key));
        if values.is_some_and(|values| values.get(&class.value).is_none()) {
            return Err(PlanError::Nobody {
                rule: "new_classes".to_owned(),
                what: format!("{}={}", class.key, class.value),
            });
        }
    }
    Ok(())
}

/// Without the exception for fixes, unhealthy targets beyond a cap keep everybody of their application, label value or fleet out, themselves
/// included. A lane that stands still for it delays no other; but where nobody at all could start, there is nothing to plan.
fn overdrawn(fleet: &Fleet, policy: &Policy, capped: &[KeyIndex]) -> Result<(), PlanError> {
    let mut apps = vec![(0, 0); fleet.app_count() as usize];
    let mut all = (0, 0);
    let values = |&key: &KeyIndex| vec![(0, 0); fleet.value_count(key) as usize];
    let mut values: Vec<Vec<(u32, u32)>> = capped.iter().map(values).collect();
    for target in fleet.targets() {
        let ill = u32::from(!fleet.ready(target));
        let add = |place: &mut (u32, u32)| *place = (place.0 + ill, place.1 + 1);
        add(&mut apps[fleet.app_of(target).at()]);
        add(&mut all);
        for (&key, values) in capped.iter().zip(&mut values) {
            if let Some(value) = fleet.label(target, key) {
                add(&mut values[value.at()]);
            }
        }
    }
    let beyond = |rule: &dyn Fn() -> String, set: &dyn Fn() -> String, (unhealthy, size): (u32, u32), cap: u32| {
        (unhealthy > cap).then(|| PlanError::Overdrawn {
            rule: rule(),
            set: set(),
            unhealthy,
            size,
            cap,
        })
    };
    let cap = policy.total_in_flight.of(all.1).max(1);
    if let Some(error) = beyond(&|| "total_in_flight".to_owned(), &|| "the fleet".to_owned(), all, cap) {
        return Err(error);
    }
    let in_the_way = |target: TargetIndex| {
        let app = fleet.app_of(target);
        let (unhealthy, size) = apps[app.at()];
        let cap = if size == 1 { 1 } else { policy.per_app.of(size) };
        let set = || format!("application `{}`", fleet.app_name(app));
        let own = beyond(&|| "per_app".to_owned(), &set, (unhealthy, size), cap);
        own.or_else(|| {
            capped.iter().zip(&values).find_map(|(&key, values)| {
                let value = fleet.label(target, key)?;
                let (name, numbers) = (&fleet.keys()[key.at()], values[value.at()]);
                let set = || format!("{name}={}", fleet.value_name(key, value));
                let cap = policy.per_label[name].of(numbers.1).max(1);
                beyond(&|| format!("per_label `{name}`"), &set, numbers, cap)
            })
        })
    };
    let mut first = None;
    for target in fleet.targets() {
        match in_the_way(target) {
            None => return Ok(()),
            Some(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), Err)
}

/// Every target must be able to go at some time: at best when all others are well.
fn spare_capacity(fleet: &Fleet, headroom: Amount) -> Result<(), PlanError> {
    let mut anything = false;
    for app in (0..fleet.app_count()).map(AppIndex) {
        let (mut load, mut capacity, mut largest) = (0_u64, 0_u64, 0_u64);
        for target in fleet.targets_of(app) {
            let weights = fleet.weights(target);
            load += u64::from(weights.load);
            capacity += u64::from(weights.capacity);
            largest = largest.max(u64::from(weights.capacity));
        }
        anything |= load > 0;
        let needed = headroom.on_top_of(load);
        let left = capacity - largest;
        if fleet.app_size(app) == 1 || left >= needed {
            continue;
        }
        let possible = (load > 0 && left >= load).then(|| u128::from(left - load) * 1_000_000 / u128::from(load));
        let change = match possible.and_then(|ppm| u32::try_from(ppm).ok()) {
            Some(ppm) => format!("a headroom of {} is the most it allows", Amount::PartsPerMillion(ppm)),
            None => format!(
                "even without headroom it lacks {}: give it that much more capacity",
                load.max(1) - left.min(load)
            ),
        };
        return Err(PlanError::NoCapacityToSpare {
            app: fleet.app_name(app).to_owned(),
            needed,
            largest,
            left,
            change,
        });
    }
    if anything { Ok(()) } else { Err(PlanError::NoLoad) }
}
