//! What was promised to users.

use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// Where one number of an indicator comes from, as its OpenSLO document says; whoever reads metrics understands it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the fields of OpenSLO's metricSource")]
pub struct Query {
    /// Kind of source, e.g. `Prometheus`.
    pub source: Option<String>,
    /// Name of a data source described elsewhere.
    pub source_ref: Option<String>,
    /// Whatever the source wants to know, e.g. `{"query": "sum(rate(…))"}`.
    pub spec: serde_json::Value,
}

/// What is counted besides the total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "good and bad add up to the total")]
pub enum Numerator {
    /// Requests that were as promised; the rest is bad.
    Good(Query),
    /// Requests that were not.
    Bad(Query),
}

/// What is measured: a service level indicator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sli {
    /// A metric of the judge, by its [name](crate::MetricSpec::name).
    Metric(String),
    /// Counts that somebody else keeps.
    Ratio {
        /// Name of the indicator.
        name: String,
        /// What is counted.
        numerator: Numerator,
        /// Of how many.
        total: Query,
    },
}

/// A promise: a share of requests, at least, that is good over a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Slo {
    /// For people.
    pub name: String,
    /// What is measured.
    pub sli: Sli,
    /// Share that is to be good, 0 to 1 (1 excluded).
    pub objective: f64,
    /// Over which rolling window, in milliseconds: 3 to 366 days.
    pub window_ms: u64,
}

/// Why an objective is not one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SloError {
    /// Without a budget nothing may ever fail, and a burn rate is a division by zero.
    #[error("objective {objective} is outside 0 to 1, 1 excluded; a share such as 0.999 leaves a budget")]
    Objective {
        /// What was given.
        objective: f64,
    },
    /// Shorter than the longest window that burn rates look at, or beyond a year.
    #[error("a window of {window_ms} ms is outside 3 to 366 days; usual ones have 28 or 30 days")]
    Window {
        /// What was given.
        window_ms: u64,
    },
}

impl Slo {
    /// An objective, e.g. 0.999 over 30 days.
    ///
    /// # Errors
    ///
    /// [`SloError`] when objective or window is out of range.
    pub fn new(name: impl Into<String>, sli: Sli, objective: f64, window_ms: u64) -> Result<Self, SloError> {
        let slo = Self {
            name: name.into(),
            sli,
            objective,
            window_ms,
        };
        slo.check()?;
        Ok(slo)
    }

    pub(super) fn check(&self) -> Result<(), SloError> {
        let Self {
            objective, window_ms, ..
        } = *self;
        if !(0.0..1.0).contains(&objective) {
            return Err(SloError::Objective { objective });
        }
        if !(3 * DAY_MS..=366 * DAY_MS).contains(&window_ms) {
            return Err(SloError::Window { window_ms });
        }
        Ok(())
    }

    /// Share that may be bad.
    pub(super) const fn budget(&self) -> f64 {
        1.0 - self.objective
    }
}
