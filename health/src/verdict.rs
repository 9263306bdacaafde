//! What a judge answers.

use serde::{Deserialize, Serialize};

use crate::{BurnFreeze, Coverage, Resource};

/// The state of the evidence after one interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Look {
    /// The interval observed.
    pub index: u64,
    /// ln Ē, the stop statistic, at this look.
    pub ln_e: f64,
    /// ln(1/α): Ē at or above this at any look authorises a stop.
    pub ln_needed: f64,
    /// Ē has crossed, at this look or an earlier one.
    pub stopped: bool,
    /// Ē crossed for the first time at this look.
    pub crossed_now: bool,
}

/// What the evidence calls for. A lane is promoted by the caller, with the [`safety`](crate::Judge::safety) of its classes;
/// [`Promote`](Self::Promote) says that all of them may go on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a caller must handle every verdict")]
pub enum Verdict {
    /// A required self-check did not pass: no traffic for it at all. Sticky.
    Reject,
    /// The change made things worse; sticky.
    Rollback,
    /// Start nothing more until the reason is gone.
    Hold(Hold),
    /// There is enough evidence of safety everywhere the new version runs: the next batch may start.
    Promote,
    /// Nothing speaks against what runs, and nothing yet for running more.
    Continue,
}

/// A hold: why, what ends it, and from when on a person should be asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// Why nothing more should start.
    pub reason: HoldReason,
    /// What ends it, without anybody's doing.
    pub exit: Exit,
    /// Interval from which on a person should be asked, where it has not ended by then.
    pub deadline: u64,
}

/// What ends a hold by itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// The next interval in which at least this share of either arm's hosts report.
    HostsReport(f64),
    /// ln e-value below this.
    EvidenceBelow(f64),
    /// Traffic that is divided as planned.
    SplitAsPlanned,
    /// Budgets that no page line is reached for.
    BurnBelowBudget,
    /// About so many more requests on the canary, if it is as good as it should be.
    Requests(u64),
    /// Nothing by itself: evidence that never falls. Somebody looks, by the deadline.
    Person,
}

/// Why nothing more should start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HoldReason {
    /// No interval was observed yet.
    NoData,
    /// Hosts on the new version are silent while the control reports.
    CanarySilent(Coverage),
    /// Hosts of the control cohort are silent while the canary reports.
    ControlSilent(Coverage),
    /// Both arms are silent: the source is probably down.
    BothSilent {
        /// Of the new version.
        canary: Coverage,
        /// Of the control cohort.
        control: Coverage,
    },
    /// Traffic of a stratum is not divided as planned: its rows say nothing until it is.
    SampleRatio {
        /// The stratum.
        stratum: u32,
        /// ln of the Bayes factor against the plan.
        ln_bayes: f64,
    },
    /// Control hosts beside the canary do worse than those far from it: the change reaches them too, and comparing with
    /// them would hide it.
    Interference {
        /// Number of the metric.
        metric: u8,
        /// ln e-value.
        ln_e: f64,
    },
    /// An error budget burns faster than a page allows. That somebody is at fault is no evidence that the change is.
    Burn(BurnFreeze),
    /// A resource grows on canary hosts where it does not on control hosts: a slow leak.
    Leak {
        /// Which.
        resource: Resource,
        /// ln of the evidence.
        ln_e: f64,
    },
    /// Evidence against the change is piling up, though not enough to stop it.
    Suspicion {
        /// ln Ē now.
        ln_e: f64,
        /// ln of the e-value from which on the judge holds.
        ln_hold: f64,
    },
    /// The patience is over and there is neither evidence of harm nor enough of safety.
    Insufficient {
        /// ln S now.
        ln_s: f64,
        /// ln(1/β).
        needed: f64,
    },
}

impl HoldReason {
    /// A number per kind, so that a hold is the same one while its numbers change.
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::NoData => 0,
            Self::CanarySilent(_) => 1,
            Self::ControlSilent(_) => 2,
            Self::BothSilent { .. } => 3,
            Self::SampleRatio { .. } => 4,
            Self::Interference { .. } => 5,
            Self::Burn(_) => 6,
            Self::Suspicion { .. } => 7,
            Self::Insufficient { .. } => 8,
            Self::Leak { .. } => 9,
        }
    }
}

/// A host whose trouble alone would stop the change: a bad node, not a bad release. It is to be rolled back alone, and the
/// change goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostEvent {
    /// Interval in which it was named; where it was named again for what it has done since, the last of them.
    pub index: u64,
    /// Its stratum.
    pub stratum: u32,
    /// Its number, as the samples gave it.
    pub host: u32,
    /// Name of the metric.
    pub metric: String,
    /// Its bad events since the last traffic step, at least.
    pub bad: u64,
}

/// Evidence that one class (or all strata together) is healthy, since its present stage began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Safety {
    /// ln S now: the smallest over the required metrics; 0 without canary rows.
    pub ln_s: f64,
    /// ln(1/β).
    pub needed: f64,
    /// Each metric by itself, in the order of the configuration.
    pub per_metric: Vec<MetricSafety>,
    /// Canary exposure of the required metric that has least of it: that many requests speak.
    pub requests_seen: u64,
    /// S was at or above 1/β at some look since the stage began.
    pub satisfied: bool,
}

/// Safety evidence of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricSafety {
    /// Name of the metric.
    pub name: String,
    /// Promotion needs it.
    pub required: bool,
    /// ln S = ln of the mean of the two below.
    pub ln_s: f64,
    /// ln evidence that the ratio to control is below 1 + δ.
    pub ln_relative: f64,
    /// ln evidence that the rate is below θ, and below twice the control's where the control is below its history.
    pub ln_absolute: f64,
}

/// One part of the stop statistic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contributor {
    /// Name of the class, application or metric; `fleet` for the pooled part.
    pub name: String,
    /// ln of its own e-value. For metrics: of the part of Ē that is due to it, divided by its weight.
    pub ln_e: f64,
    /// Its share of Ē, 0 to 1.
    pub share: f64,
}

/// The stop statistic and what it is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StopEvidence {
    /// The latest interval it contains; `None` before the first.
    pub index: Option<u64>,
    /// ln Ē = ln(½·pooled + ¼·mean over classes + ¼·mean over applications).
    pub ln_e: f64,
    /// ln(1/α).
    pub ln_needed: f64,
    /// All strata together.
    pub pooled: Contributor,
    /// Classes, strongest first, at most eight; of equals, one that is the whole fleet and named `fleet` comes last.
    pub classes: Vec<Contributor>,
    /// Applications, strongest first, at most eight.
    pub apps: Vec<Contributor>,
    /// Every metric, strongest first.
    pub metrics: Vec<Contributor>,
    /// Classes that e-BH names at level α among all classes.
    pub class_suspects: Vec<String>,
    /// Applications that e-BH names at level α among all applications.
    pub app_suspects: Vec<String>,
}
