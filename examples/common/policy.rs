//! How the examples batch a change of a sidecar.

use unattended::batching::{Fleet, Policy, PolicyError, count, pct};

use crate::common::spread_keys;

/// Doubling batches, spread over every label that can make classes and is `wanted`; at most a quarter of each application in flight or
/// unhealthy at once, and of the whole fleet a quarter beside what was ill before: that is the matter of its own
/// application, not of the others. What is ill may be replaced even where it has used up its application's quarter: a
/// release may be the cure.
pub(crate) fn policy(fleet: &Fleet, wanted: impl Fn(&str) -> bool) -> Result<Policy, PolicyError> {
    let mut keys = spread_keys(fleet);
    keys.retain(|key| wanted(key));
    let targets = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let ill = u32::try_from(fleet.targets().filter(|&target| !fleet.ready(target)).count()).unwrap_or(u32::MAX);
    let fleet_wide = (targets / 4).saturating_add(ill).max(1);
    Policy::new()
        .per_app(pct(25))
        .total_in_flight(count(fleet_wide))
        .fix_in_flight_per_app(pct(100))
        .spread(keys.iter().cloned())
        .first_batch_covers(keys)
}
