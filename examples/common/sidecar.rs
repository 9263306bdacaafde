//! The change that the examples make: a sidecar moves from one version to the next, over an inventory that is a world to
//! simulate.

use unattended::batching::Side;
use unattended::upgrade::Version;
use unattended::{Actor, Handle};
use unattended_examples_support::{Inventory, State};
use unattended_simulated::{InitialState, SimTarget, Simulated};

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
