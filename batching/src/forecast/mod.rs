//! What a plan costs in time and exposure.

mod conditions;
mod exposure;
mod front;
mod normal;
mod trial;
mod walk;

use serde::{Deserialize, Serialize};

pub use conditions::{Conditions, ConditionsError, Duration, Interval};
pub use exposure::expected_exposure;
pub use front::Tradeoff;

use crate::fleet::Fleet;
use crate::index::AppIndex;
use crate::plan::Plan;
use crate::policy::Policy;
use trial::Trials;

/// What a plan costs in time and exposure, under stated [`Conditions`].
///
/// Time comes from trials with seeded draws, 40 to 400 of them, fewer for larger plans. In a trial a batch of an application takes its turns, as many as its
/// caps make of it: as many targets as may be in flight at once, one after the other at the mean, and the last ones until the slowest is done.
/// A turn starts only where a window leaves room for the 95th percentile of an upgrade and for a rollback; a bake may run on outside. An
/// application opens its next batch when its own last one has baked and the batch before has been judged, which is when everybody in it whose window was open
/// has baked: who is held delays nobody else, and where all are held the next batch takes their place. Nothing fails and nobody is born.
///
/// The same plan and conditions give the same forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forecast {
    /// When the change begins.
    pub start_ms: u64,
    /// When everything is done; `None` if some application never is.
    pub finish: Option<Finish>,
    /// Number of trials behind the times.
    pub trials: u32,
    /// When each batch has been judged, as far as it ever is.
    pub batches: Vec<Option<Finish>>,
    /// Every application, in the order of the fleet.
    pub lanes: Vec<LaneForecast>,
    /// When everything should be done.
    pub deadline_ms: Option<u64>,
    /// Applications that never finish, or of which more than 5 % of the trials end after the deadline.
    pub late: Vec<Late>,
    /// What a fault is expected to reach.
    pub exposure: Vec<Exposed>,
    /// This plan first, then the growths that were compared.
    pub tradeoffs: Vec<Tradeoff>,
}

/// Two percentiles of a moment, on the caller's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finish {
    /// Half of the trials have ended by then.
    pub p50_ms: u64,
    /// 95 % of the trials have ended by then.
    pub p95_ms: u64,
}

/// One application's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneForecast {
    /// The application.
    pub app: AppIndex,
    /// Batches it has targets in.
    pub batches: u32,
    /// When it is done; `None` if it never is.
    pub finish: Option<Finish>,
    /// Where the time goes, on average over the trials.
    pub spent: Spent,
}

/// Where an application's time goes, in milliseconds. They add up to its whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spent {
    /// Upgrades, one turn after the other.
    pub upgrades_ms: u64,
    /// Watching.
    pub bakes_ms: u64,
    /// Closed windows.
    pub windows_ms: u64,
    /// Pins.
    pub pins_ms: u64,
    /// Batches of others that have to be judged first.
    pub others_ms: u64,
}

/// An application that misses the deadline, or never finishes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Late {
    /// The application.
    pub app: AppIndex,
    /// The share of trials in which it is in time.
    pub in_time: f64,
    /// What costs it most.
    pub because: Blocker,
}

/// What makes an application late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blocker {
    /// No window that is left has room for an upgrade and its rollback, or for as many as there are.
    NoWindow {
        /// The room one needs.
        needed_ms: u64,
        /// The longest window after the start; 0 if there is none.
        longest_ms: u64,
    },
    /// Closed windows.
    Windows {
        /// How long they hold it.
        ms: u64,
        /// The closed span that holds it longest.
        gap: Interval,
    },
    /// Pins.
    Pins {
        /// How long they hold it.
        ms: u64,
    },
    /// Upgrades, because so few may be in flight at once.
    Upgrades {
        /// How long they take.
        ms: u64,
        /// Its own cap.
        at_once: u32,
    },
    /// Watching.
    Bakes {
        /// How long.
        ms: u64,
        /// How often.
        batches: u32,
    },
    /// Batches of others that have to be judged first; with 0 ms, one that never is.
    Others {
        /// How long.
        ms: u64,
    },
}

/// What a fault is expected to reach before it shows: [`expected_exposure`] of the plan's batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exposed {
    /// The share of targets at which it shows within a bake.
    pub prevalence: f64,
    /// Targets.
    pub targets: f64,
}

impl Forecast {
    /// Forecasts a plan that was built from this fleet and policy.
    ///
    /// # Errors
    /// [`ConditionsError`].
    pub fn of(fleet: &Fleet, policy: &Policy, plan: &Plan, conditions: &Conditions) -> Result<Self, ConditionsError> {
        let conditions = conditions.settled()?;
        let trials = Trials::run(fleet, policy, plan, &conditions);
        let sizes: Vec<u32> = plan.batches().map(|batch| batch.cumulative).collect();
        let lanes = trials.lanes();
        let late = trials.late(&lanes);
        let exposure = conditions.prevalences.iter().map(|&prevalence| Exposed {
            prevalence,
            targets: expected_exposure(&sizes, prevalence),
        });
        Ok(Self {
            start_ms: conditions.start_ms,
            finish: trials.finish(),
            trials: trials.count(),
            batches: trials.batches(),
            lanes,
            deadline_ms: conditions.deadline_ms,
            late,
            exposure: exposure.collect(),
            tradeoffs: front::tradeoffs(&sizes, policy, &conditions),
        })
    }
}
