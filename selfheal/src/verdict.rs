//! What is said about a node, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the [`Detector`](crate::Detector) says about one node.
///
/// The order of precedence is `Bad`, `Suspect`, `NotEnough`, `Healthy`: a lack of data only ever takes the place of
/// `Healthy`, never of an accusation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever acts on a verdict must decide what to do for each of them"
)]
pub enum Verdict {
    /// The test has had time to speak and has not: the score is below half the threshold.
    Healthy {
        /// What it rests on.
        evidence: Evidence,
    },
    /// The score is at half the threshold or above, but has not reached it. Not proof of anything: the promise on
    /// false alarms does not cover this verdict. Watch it; do not isolate for it.
    Suspect {
        /// What it rests on.
        evidence: Evidence,
    },
    /// The score reached the threshold. Stays until the caller gives the node a fresh
    /// [`NodeState`](crate::NodeState).
    Bad {
        /// When the threshold was reached, on the caller's clock in milliseconds.
        since_ms: u64,
        /// What it rests on, as it was at that moment.
        evidence: Evidence,
    },
    /// Nothing speaks against the node, and there is too little to speak for it. Not a pass.
    NotEnough {
        /// What is lacking.
        shortage: Shortage,
        /// What there is.
        evidence: Evidence,
    },
}

impl Verdict {
    /// What the verdict rests on.
    #[must_use]
    pub const fn evidence(&self) -> &Evidence {
        match self {
            Self::Healthy { evidence }
            | Self::Suspect { evidence }
            | Self::Bad { evidence, .. }
            | Self::NotEnough { evidence, .. } => evidence,
        }
    }
}

/// Why there is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Shortage {
    /// Fewer requests, since the start or since the last long silence, than a bad node needs on average to be found.
    Requests {
        /// Requests seen.
        seen: u64,
        /// Requests wanted: [`Detector::warm_up_requests`](crate::Detector::warm_up_requests).
        needed: u64,
    },
    /// No request for longer than the silence limit: what was known is too old to be called healthy.
    Silence {
        /// Time of the last request, in milliseconds.
        last_ms: u64,
        /// How long ago that is, in milliseconds.
        silent_ms: u64,
    },
}

/// The counts and limits behind a verdict.
///
/// The counts are those of the current *run*: everything since the score was last zero. They add up by hand:
/// `score = failure_step * failures - success_step * successes`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Failures in the run.
    pub failures: u64,
    /// Successes in the run.
    pub successes: u64,
    /// Time of the failure that opened the run, in milliseconds: the best single guess of when the trouble began.
    /// `None` while the score is zero.
    pub began_ms: Option<u64>,
    /// The score, in lattice steps.
    pub score: u32,
    /// The score at which the node is called bad.
    pub threshold: u32,
    /// What a failure adds to the score.
    pub failure_step: u32,
    /// What a success takes from it.
    pub success_step: u32,
    /// The failure rate that counts as healthy, a fraction.
    pub healthy_rate: f64,
    /// The failure rate the test is tuned to find, a fraction.
    pub bad_rate: f64,
    /// Mean number of requests between false alarms at the healthy rate.
    pub average_run_length: f64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy { evidence } => write!(f, "healthy: {evidence}"),
            Self::Suspect { evidence } => write!(f, "suspect: {evidence}"),
            Self::Bad { since_ms, evidence } => write!(f, "bad since {since_ms} ms: {evidence}"),
            Self::NotEnough { shortage, evidence } => write!(f, "not enough to say ({shortage}): {evidence}"),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests { seen, needed } => write!(f, "{seen} requests seen, {needed} needed"),
            Self::Silence { last_ms, silent_ms } => write!(f, "silent for {silent_ms} ms since {last_ms} ms"),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.began_ms {
            Some(began_ms) => write!(
                f,
                "{} of {} requests failed from {began_ms} ms on",
                self.failures,
                self.failures.saturating_add(self.successes)
            )?,
            None => write!(f, "no run of failures")?,
        }
        write!(
            f,
            "; score {} of {} (failure +{}, success -{}); {} % failures are healthy, {} % bad; \
             a healthy node reaches {} once in {:.3e} requests on average",
            self.score,
            self.threshold,
            self.failure_step,
            self.success_step,
            percent(self.healthy_rate),
            percent(self.bad_rate),
            self.threshold,
            self.average_run_length
        )
    }
}

/// A fraction in per cent, without the digits that binary fractions drag along (0.07 * 100 is 7.000000000000001).
fn percent(fraction: f64) -> f64 {
    (fraction * 1e8).round() / 1e6
}
