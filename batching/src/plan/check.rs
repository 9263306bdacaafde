//! What is refused before anything is planned.

use super::PlanError;
use crate::amount::Amount;
use crate::fleet::Fleet;
use crate::index::{AppIndex, KeyIndex, ValueIndex};
use crate::policy::Policy;

/// The keys of a policy as the fleet numbers them.
pub(super) struct Keys {
    pub(super) spread: Vec<KeyIndex>,
    pub(super) covers: Vec<KeyIndex>,
    pub(super) one_value: Vec<KeyIndex>,
}

pub(super) fn check(fleet: &Fleet, policy: &Policy) -> Result<Keys, PlanError> {
    policy.check()?;
    let keys = Keys {
        spread: resolve(fleet, "spread", policy.spread.iter())?,
        covers: resolve(fleet, "first_batch_covers", policy.cover_keys().iter())?,
        one_value: resolve(fleet, "one_value_per_app", policy.one_value_per_app.iter())?,
    };
    resolve(fleet, "one_first_exposure", policy.one_first_exposure.iter())?;
    let capped = resolve(fleet, "per_label", policy.per_label.keys())?;
    for pin in &policy.pins {
        resolve(fleet, "pins", pin.scope.labels.keys())?;
    }
    if policy.fix_in_flight_per_app.is_zero() {
        overdrawn(fleet, policy, &capped)?;
    }
    if let Some(headroom) = policy.ready_capacity_headroom {
        spare_capacity(fleet, headroom)?;
    }
    Ok(keys)
}

fn resolve<'a>(fleet: &Fleet, rule: &str, keys: impl Iterator<Item = &'a String>) -> Result<Vec<KeyIndex>, PlanError> {
    keys.map(|key| {
        fleet.key_index(key).ok_or_else(|| PlanError::UnknownKey {
            rule: rule.to_owned(),
            key: key.clone(),
            known: fleet.keys().to_vec(),
        })
    })
    .collect()
}

/// Without the exception for fixes, unhealthy targets beyond a cap keep everybody out, themselves included.
fn overdrawn(fleet: &Fleet, policy: &Policy, capped: &[KeyIndex]) -> Result<(), PlanError> {
    let refuse = |rule: String, set: String, (unhealthy, size): (u32, u32), cap: u32| {
        if unhealthy <= cap {
            return Ok(());
        }
        Err(PlanError::Overdrawn {
            rule,
            set,
            unhealthy,
            size,
            cap,
        })
    };
    let mut apps = vec![(0, 0); fleet.app_count() as usize];
    let mut all = (0, 0);
    let mut values: Vec<Vec<(u32, u32)>> = capped
        .iter()
        .map(|&key| vec![(0, 0); fleet.value_count(key) as usize])
        .collect();
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
    for (app, &(unhealthy, size)) in (0..).map(AppIndex).zip(&apps) {
        let cap = if size == 1 { 1 } else { policy.per_app.of(size) };
        let set = || format!("application `{}`", fleet.app_name(app));
        refuse("per_app".to_owned(), set(), (unhealthy, size), cap)?;
    }
    for (&key, values) in capped.iter().zip(&values) {
        let name = &fleet.keys()[key.at()];
        for (value, &numbers) in (0..).map(ValueIndex).zip(values) {
            let cap = policy.per_label[name].of(numbers.1).max(1);
            let set = format!("{name}={}", fleet.value_name(key, value));
            refuse(format!("per_label `{name}`"), set, numbers, cap)?;
        }
    }
    let cap = policy.total_in_flight.of(all.1).max(1);
    refuse("total_in_flight".to_owned(), "the fleet".to_owned(), all, cap)
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
