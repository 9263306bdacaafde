//! What ours has to reach, and whether it does.

use serde::Serialize;

use crate::course::FIXED_STEP_MIN;
use crate::measures::{Measures, Rate};

/// What a bar is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Share,
    Hours,
}

/// One bar.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) value: Option<f64>,
    pub(crate) limit: f64,
    /// The value is on the right side of the limit.
    pub(crate) met: bool,
    /// It is not, and chance does not explain it.
    pub(crate) missed: bool,
}

fn at_least(name: &'static str, rate: Rate, limit: f64) -> Bar {
    Bar {
        name,
        unit: Unit::Share,
        value: rate.value(),
        limit,
        met: rate.value().is_some_and(|value| value >= limit),
        missed: rate.interval()[1] < limit,
    }
}

fn at_most(name: &'static str, unit: Unit, value: Option<f64>, limit: f64, missed: bool) -> Bar {
    Bar {
        name,
        unit,
        value,
        limit,
        met: value.is_some_and(|value| value <= limit),
        missed: value.is_some_and(|value| value > limit) && missed,
    }
}

/// How long equal steps of a share of the fleet take, in hours, where nothing holds them up: nobody is waited for, and no alarm is false.
pub(crate) fn equal_steps_hours(share: f64) -> f64 {
    let steps = (1.0 / share.clamp(1e-9, 1.0)).ceil();
    steps * f64::from(FIXED_STEP_MIN) / 60.0
}

/// The bars of one policy; `first` is the share that its first step may expose.
pub(crate) fn bars(measures: &Measures, first: f64) -> Vec<Bar> {
    let too_many = |limit: f64, allowed: f64| Rate::above(&measures.exposed, limit).interval()[0] > allowed;
    let false_stops = measures.false_stops;
    let equal_steps = equal_steps_hours(measures.exposed_median_share.unwrap_or(first));
    let slower = Rate::above(&measures.good_hours, equal_steps);
    vec![
        at_least("recall", measures.recall, 0.998),
        at_least("precision", measures.precision, 0.99),
        at_most(
            "false_stop_rate",
            Unit::Share,
            false_stops.value(),
            0.01,
            false_stops.interval()[0] > 0.01,
        ),
        at_most(
            "exposed_median_share",
            Unit::Share,
            measures.exposed_median_share,
            first,
            too_many(first, 0.5),
        ),
        at_most(
            "exposed_p95_share",
            Unit::Share,
            measures.exposed_p95_share,
            0.02,
            too_many(0.02, 0.05),
        ),
        at_least("unattended_share", measures.unattended, 0.99),
        at_most(
            "good_hours_median",
            Unit::Hours,
            measures.good_hours_median,
            equal_steps,
            slower.interval()[0] > 0.5,
        ),
    ]
}

/// Whether a policy is at least as good as ours on recall, false stops and median exposure at once.
pub(crate) fn dominates(other: &Measures, ours: &Measures) -> bool {
    let less = |a: Option<f64>, b: Option<f64>| a.unwrap_or(0.0) <= b.unwrap_or(0.0);
    less(ours.recall.value(), other.recall.value())
        && less(other.false_stops.value(), ours.false_stops.value())
        && other.exposed_median_share.is_some()
        && less(other.exposed_median_share, ours.exposed_median_share)
}
