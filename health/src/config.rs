//! What is judged, how strictly, and over which parts of the fleet.

use serde::{Deserialize, Serialize};

use crate::FaultClass;

/// One metric: a kind of bad event with its exposure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricSpec {
    /// Name for people, e.g. `errors`.
    pub name: String,
    /// Whose fault the events are.
    pub class: FaultClass,
    /// What the exposure counts, for people: `requests` or `hosts`.
    #[serde(default = "requests")]
    pub unit: String,
    /// Share of the stop statistic, above 0. Weights are divided by their sum; they never multiply counts.
    pub weight: f64,
    /// Promotion needs evidence of safety in this metric.
    pub required: bool,
    /// Smallest rate of bad events worth stopping for: lower bound of the absolute limit θ. Above 0, at most 0.5.
    pub floor: f64,
}

impl MetricSpec {
    /// A metric of requests that promotion requires, with the floor 1e-5.
    #[must_use]
    pub fn new(name: impl Into<String>, class: FaultClass, weight: f64) -> Self {
        Self {
            name: name.into(),
            class,
            unit: requests(),
            weight,
            required: true,
            floor: 1e-5,
        }
    }

    /// The same metric, for stopping only: promotion does not wait for it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// The same metric, with hosts at risk as its exposure.
    #[must_use]
    pub fn of_hosts(mut self) -> Self {
        HOSTS.clone_into(&mut self.unit);
        self
    }

    /// The same metric with another floor of its absolute limit.
    #[must_use]
    pub const fn floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }
}

/// The unit of exposures that are hosts at risk.
pub(crate) const HOSTS: &str = "hosts";

fn requests() -> String {
    "requests".to_owned()
}

/// What configurations of before there was a number of hosts go by.
const fn one() -> u32 {
    1
}

/// Error budgets and metrics of a judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JudgeConfig {
    /// Probability that a healthy change is ever rolled back, over all looks, metrics, batches and applications.
    pub alpha: f64,
    /// Probability that a class passes a stage although the change is bad there.
    pub beta: f64,
    /// A rate ratio of 1 + δ counts as bad when deciding to go on.
    pub delta: f64,
    /// The metrics, at most 256; [`Row::metric`](crate::Row::metric) is the index.
    pub metrics: Vec<MetricSpec>,
    /// Rate ratio against warm control that a freshly restarted, healthy instance may reach. At least 1.
    pub fresh_ratio_limit: f64,
    /// Part of each metric's weight that watches fresh instances, 0 to 1 (1 excluded).
    pub fresh_share: f64,
    /// Hold while the evidence against the change is at or above this e-value, though below 1/α. Above 1.
    pub hold_at: f64,
    /// Hold while less than this share of an arm's hosts reports, 0 to 1.
    pub min_coverage: f64,
    /// An arm is silent from so many missing hosts on, or where nobody reports: of seven, one is less than a share of 0.9 leaves, and says
    /// little. Default 2; at least 1, which goes by the share alone.
    #[serde(default = "one")]
    pub min_silent_hosts: u32,
    /// Dispersion assumed until [`dispersion_after`](Self::dispersion_after) host-intervals were seen. At least 1.
    pub dispersion_default: f64,
    /// Host-intervals (one host seen in one interval in which its sample had bad events) before the estimate is used.
    pub dispersion_after: u64,
    /// Intervals a stage is observed at least before [`Verdict::Promote`](crate::Verdict::Promote).
    pub bake: u64,
    /// Intervals after which a hold that has not ended by itself is a matter for a person.
    pub hold_patience: u64,
    /// Intervals a stage may go without enough evidence of safety before the judge holds and says how much is missing.
    pub patience: u64,
}

impl JudgeConfig {
    /// The budgets α = 0.01, β = 0.05, δ = 0.5 and the given metrics; patience for intervals of ten seconds: five minutes
    /// for a hold, three days for evidence of safety.
    #[must_use]
    pub fn new(metrics: Vec<MetricSpec>) -> Self {
        Self {
            alpha: 0.01,
            beta: 0.05,
            delta: 0.5,
            metrics,
            fresh_ratio_limit: 10.0,
            fresh_share: 0.1,
            hold_at: 10.0,
            min_coverage: 0.9,
            min_silent_hosts: 2,
            dispersion_default: 2.0,
            dispersion_after: 20,
            bake: 0,
            hold_patience: 30,
            patience: 25_920,
        }
    }

    /// Own errors (0), own slow requests (1) and restarts (2, exposure: hosts at risk; not required, since hosts restart
    /// too rarely to prove anything by not doing so).
    #[must_use]
    pub fn standard() -> Self {
        Self::new(vec![
            MetricSpec::new("errors", FaultClass::Own, 0.50),
            MetricSpec::new("slow", FaultClass::Own, 0.25),
            MetricSpec::new("restarts", FaultClass::Own, 0.25).optional().of_hosts(),
        ])
    }
}

/// Targets alike in application and spread labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally by whoever builds the topology"
)]
pub struct StratumInfo {
    /// Index into [`Topology::apps`].
    pub app: u32,
    /// Indices into [`Topology::classes`], each at most once.
    pub classes: Vec<u32>,
}

/// How the fleet divides into strata, classes and applications.
///
/// It is fixed for the change: the stop statistic averages over *all* classes and applications named here, those
/// without rows counting 1, so that nobody can pick the denominator after having seen the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally by whoever builds the topology"
)]
pub struct Topology {
    /// [`Row::stratum`](crate::Row::stratum) is the index.
    pub strata: Vec<StratumInfo>,
    /// Names of the classes, e.g. `zone=zone-1`.
    pub classes: Vec<String>,
    /// Names of the applications.
    pub apps: Vec<String>,
}
