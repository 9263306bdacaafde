//! The change that the examples make: a sidecar moves from one version to the next, over an inventory that is a world to
//! simulate.

use unattended::batching::{Fleet, Policy, Side, count, pct};
use unattended::upgrade::Version;
use unattended::{Actor, Handle};
use unattended_examples_support::{Failure, Inventory, State};
use unattended_simulated::{InitialState, SimTarget, Simulated};

use crate::common::spread_keys;

pub(crate) const OLD: &str = "mesh-1.9.1";
pub(crate) const NEW: &str = "mesh-1.9.2";
/// Every simulated change begins on Monday, 23 November 2026, at 08:00 UTC.
pub(crate) const START_WALL_MS: i64 = 1_795_420_800_000;

pub(crate) fn author() -> Actor {
    Actor::person("mesh-team", "example")
}

/// A birth asks the autopilot what to run.
pub(crate) fn births(simulated: &Simulated, handle: &Handle) {
    let handle = handle.clone();
    simulated.on_birth(Box::new(move |newborn| {
        let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        match handle.version_for(newborn.target.as_str(), &newborn.app, &labels) {
            Side::New => Version::from(NEW),
            Side::Old => Version::from(OLD),
        }
    }));
}

/// Doubling batches, spread over every label that can make classes; at most a quarter of each application in flight or
/// unhealthy at once, and of the whole fleet a quarter beside what was ill before: that is the matter of its own
/// application, not of the others. What is ill may be replaced even where it has used up its application's quarter: a
/// release may be the cure.
pub(crate) fn policy(fleet: &Fleet) -> Result<Policy, Failure> {
    let keys = spread_keys(fleet);
    let targets = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let ill = u32::try_from(fleet.targets().filter(|&target| !fleet.ready(target)).count()).unwrap_or(u32::MAX);
    let fleet_wide = (targets / 4).saturating_add(ill).max(1);
    Policy::new()
        .per_app(pct(25))
        .total_in_flight(count(fleet_wide))
        .fix_in_flight_per_app(pct(100))
        .spread(keys.iter().cloned())
        .first_batch_covers(keys)
        .map_err(Failure::input)
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
