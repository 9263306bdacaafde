//! Checks an execution against the caps without the frontier's code: every count is kept anew, from what the trace says alone.

mod checks;
mod world;

use serde::{Deserialize, Serialize};

use super::Violations;
use crate::fleet::Fleet;
use crate::frontier::{Event, Side};
use crate::index::TargetIndex;
use crate::plan::Plan;
use crate::policy::Policy;
use world::World;

/// One thing that happened in an execution, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "whoever writes a trace lists all of it")]
pub enum TraceStep {
    /// A target was started at this moment, in milliseconds.
    Started {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// A target was started on its way back.
    StartedBack {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// A target was born; it takes the next number.
    Joined {
        /// Its name.
        id: String,
        /// Its application.
        app: String,
        /// Its labels, as (key, value).
        labels: Vec<(String, String)>,
        /// The version it was given.
        side: Side,
        /// When.
        at: u64,
    },
    /// The frontier was told.
    Told(Event),
}

/// How much of a trace was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceProof {
    /// Starts, ways back included.
    pub starts: u64,
    /// Births.
    pub births: u64,
    /// Comparisons of a count with its cap.
    pub comparisons: u64,
    /// The most that was in flight at once.
    pub most_in_flight: u32,
}

/// Checks that at every step of an execution every cap of the policy held: per application, label value and fleet, with the unhealthy counted and fixes
/// within their exception; one value per application; one first exposure; the rate; ready capacity; singletons last; batches
/// opened, holds, limits and pins obeyed; and births consistent with cohorts, pins and first exposures.
///
/// # Errors
/// Every cap that was broken, with the step, the set and the numbers.
pub fn verify_trace(
    fleet: &Fleet,
    policy: &Policy,
    plan: &Plan,
    trace: &[TraceStep],
) -> Result<TraceProof, Violations> {
    let mut world = World::new(fleet, policy, plan);
    for (number, step) in (0..).zip(trace) {
        world.number = number;
        world.step(step);
    }
    if world.found.is_empty() {
        Ok(world.proof)
    } else {
        Err(Violations(world.found))
    }
}
