//! Whether an instance may take traffic.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CheckOutcome, SELF_CHECK_SCHEMA, SelfCheckReport};

/// What a controller insists on, whatever the instance says about it.
///
/// ```
/// use unattended_health::{CheckOutcome, CheckResult, Gate, GateVerdict, SelfCheckReport};
///
/// let gate = Gate::new(["config", "golden_request.http1"]).of_version("1.9.2");
/// let pass = |id| CheckResult::new(id, true, CheckOutcome::Pass);
/// let good = SelfCheckReport::new("pod-7", "1.9.2", vec![pass("config"), pass("golden_request.http1")]);
/// assert_eq!(gate.evaluate(&good), GateVerdict::Pass { score: 1.0 });
///
/// let half = SelfCheckReport::new("pod-7", "1.9.2", vec![pass("config")]);
/// let GateVerdict::Fail { reasons } = gate.evaluate(&half) else { panic!() };
/// assert_eq!(reasons[0].to_string(), "required check `golden_request.http1` is not in the report");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    required: BTreeSet<String>,
    version: Option<String>,
}

/// Whether an instance may take traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "an instance may take traffic, not yet, or not; callers must decide all three"
)]
pub enum GateVerdict {
    /// All required checks passed, and nothing is outstanding.
    Pass {
        /// Weight of the checks that passed, of all weights: 0 to 1. For display and ranking.
        score: f64,
    },
    /// Nothing required has failed so far, and the instance is still checking. Not a pass: the caller has a deadline,
    /// [`Startup::longest_ms`](crate::Startup::longest_ms) at least, after which it is a failure.
    Pending {
        /// Required checks that have not ended; empty when only others are outstanding.
        waiting: Vec<String>,
    },
    /// No traffic.
    Fail {
        /// Everything that speaks against it, in a fixed order. Never empty.
        reasons: Vec<GateFailure>,
    },
}

/// One thing that speaks against an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GateFailure {
    /// The report's schema is newer than this crate: nothing in it is believed.
    NewerSchema {
        /// The report's.
        found: u32,
    },
    /// Somebody else's report, or one from before the change.
    OtherVersion {
        /// What should run.
        expected: String,
        /// What the report says.
        found: String,
    },
    /// Neither the controller nor the instance requires a check: there is nothing to believe.
    NothingRequired,
    /// A required check is not in a finished report.
    Missing {
        /// Its id.
        id: String,
    },
    /// A required check ended in anything but a pass.
    NotPassed {
        /// Its id.
        id: String,
        /// How it ended.
        outcome: CheckOutcome,
        /// What was found.
        detail: String,
    },
    /// A required check is reported more than once, with different outcomes.
    Contradiction {
        /// Its id.
        id: String,
    },
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerSchema { found } => {
                write!(
                    f,
                    "schema {found} of the report is newer than {SELF_CHECK_SCHEMA}, which this program reads"
                )
            }
            Self::OtherVersion { expected, found } => {
                write!(f, "the report is of version `{found}`, not of `{expected}`")
            }
            Self::NothingRequired => f.write_str("no check is required, so nothing is known"),
            Self::Missing { id } => write!(f, "required check `{id}` is not in the report"),
            Self::NotPassed { id, outcome, detail } => {
                write!(f, "required check `{id}`: {}", outcome.as_str())?;
                if detail.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({detail})")
                }
            }
            Self::Contradiction { id } => write!(f, "required check `{id}` is reported twice, differently"),
        }
    }
}

impl GateFailure {
    /// The check it is about, if it is about one.
    #[must_use]
    pub fn check(&self) -> Option<&str> {
        match self {
            Self::Missing { id } | Self::NotPassed { id, .. } | Self::Contradiction { id } => Some(id),
            Self::NewerSchema { .. } | Self::OtherVersion { .. } | Self::NothingRequired => None,
        }
    }
}

impl GateVerdict {
    /// The instance may take traffic.
    #[must_use]
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }
}

impl Gate {
    /// Insists on the checks with these ids.
    #[must_use]
    pub fn new<I: Into<String>>(required: impl IntoIterator<Item = I>) -> Self {
        Self {
            required: required.into_iter().map(Into::into).collect(),
            version: None,
        }
    }

    /// Insists as well on a report of this version: one from before the change is no report.
    #[must_use]
    pub fn of_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Judges a report against what the controller requires and what the instance calls required itself. Missing, skipped,
    /// timed-out, failed, contradictory and unknown required checks do not pass.
    #[must_use]
    pub fn evaluate(&self, report: &SelfCheckReport) -> GateVerdict {
        let fail = |reason| GateVerdict::Fail { reasons: vec![reason] };
        if report.schema > SELF_CHECK_SCHEMA {
            return fail(GateFailure::NewerSchema { found: report.schema });
        }
        if let Some(expected) = self.version.as_ref().filter(|expected| **expected != report.version) {
            return fail(GateFailure::OtherVersion {
                expected: expected.clone(),
                found: report.version.clone(),
            });
        }
        let own = report.results.iter().filter(|result| result.required);
        let demanded: BTreeSet<&str> = self
            .required
            .iter()
            .map(String::as_str)
            .chain(own.map(|result| result.id.as_str()))
            .collect();
        let (mut waiting, mut reasons) = (Vec::new(), Vec::new());
        for id in &demanded {
            let mut reports = report.results.iter().filter(|result| result.id == *id);
            let id = (*id).to_owned();
            match reports.next() {
                None if report.finished => reasons.push(GateFailure::Missing { id }),
                None => waiting.push(id),
                Some(first) if reports.any(|next| next.outcome != first.outcome) => {
                    reasons.push(GateFailure::Contradiction { id });
                }
                Some(first) if first.outcome == CheckOutcome::Pass => {}
                Some(first) => reasons.push(GateFailure::NotPassed {
                    id,
                    outcome: first.outcome,
                    detail: first.detail.clone(),
                }),
            }
        }
        if demanded.is_empty() && report.finished {
            reasons.push(GateFailure::NothingRequired);
        }
        if !reasons.is_empty() {
            return GateVerdict::Fail { reasons };
        }
        if !report.finished {
            return GateVerdict::Pending { waiting };
        }
        let weight = |passed: bool| {
            let counted = report
                .results
                .iter()
                .filter(|result| !passed || result.outcome == CheckOutcome::Pass);
            counted.map(|result| f64::from(result.weight)).sum::<f64>()
        };
        let all = weight(false);
        GateVerdict::Pass {
            score: if all > 0.0 { weight(true) / all } else { 1.0 },
        }
    }
}
