//! The inventory as a fleet to plan for, and as a world to simulate.

use std::sync::Arc;

use unattended::batching::{Fleet, Policy, count, pct};
use unattended_examples_support::{Inventory, State};
use unattended_simulated::{InitialState, SimTarget};

use crate::Failure;

/// A label makes classes if it has so many values: below there is nothing to compare, above the classes are too small to
/// show anything.
const CLASS_VALUES: std::ops::RangeInclusive<u32> = 2..=16;
/// Labels that make classes at the most.
const MAX_KEYS: usize = 6;
/// The words that have meant something to a release before; they come first.
const KNOWN_KEYS: [&str; 5] = ["zone", "region", "stack", "tier", "business"];

pub(crate) fn fleet(inventory: &Inventory) -> Result<Arc<Fleet>, Failure> {
    let mut builder = Fleet::builder();
    for target in &inventory.targets {
        let labels = target.labels.iter().map(|(key, value)| (&**key, &**value));
        builder
            .push(&target.id, &target.app, labels, target.state == State::Healthy)
            .map_err(Failure::input)?;
    }
    Ok(Arc::new(builder.build().map_err(Failure::input)?))
}

/// Doubling batches, spread over every label that can make classes; at most a quarter of each application in flight or
/// unhealthy at once, and of the whole fleet a quarter beside what was ill before: that is the matter of its own
/// application, not of the others.
pub(crate) fn policy(fleet: &Fleet) -> Result<Policy, Failure> {
    let keys = spread_keys(fleet);
    let targets = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let ill = u32::try_from(fleet.targets().filter(|&target| !fleet.ready(target)).count()).unwrap_or(u32::MAX);
    let fleet_wide = (targets / 4).saturating_add(ill).max(1);
    Policy::new()
        .per_app(pct(25))
        .total_in_flight(count(fleet_wide))
        .spread(keys.iter().cloned())
        .first_batch_covers(keys)
        .map_err(Failure::input)
}

fn spread_keys(fleet: &Fleet) -> Vec<String> {
    let mut keys: Vec<&String> = fleet
        .keys()
        .iter()
        .filter(|key| {
            fleet.key_index(key).is_some_and(|index| {
                let values = fleet.value_count(index);
                let labelled = fleet
                    .targets()
                    .filter(|&target| fleet.label(target, index).is_some())
                    .count();
                // A label that only some have, or that is another name of the application, makes no classes.
                CLASS_VALUES.contains(&values) && values < fleet.app_count().max(3) && labelled * 10 >= fleet.len() * 9
            })
        })
        .collect();
    keys.sort_by_key(|key| {
        KNOWN_KEYS
            .iter()
            .position(|known| known == key)
            .unwrap_or(KNOWN_KEYS.len())
    });
    keys.into_iter().take(MAX_KEYS).cloned().collect()
}

pub(crate) fn simulated(inventory: Inventory) -> Vec<SimTarget> {
    let state = |state| match state {
        State::Healthy => InitialState::Healthy,
        State::AppUnready => InitialState::AppUnready,
        State::SidecarCrashing => InitialState::SidecarCrashing,
        State::Pending => InitialState::Pending,
    };
    inventory
        .targets
        .into_iter()
        .map(|target| SimTarget {
            id: target.id.to_string(),
            app: target.app.to_string(),
            labels: target
                .labels
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            state: state(target.state),
        })
        .collect()
}
