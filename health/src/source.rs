//! Where rows come from: the trait an adapter implements for its metrics system.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Counts, HostSample, Interval};

/// A target whose metrics are watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by whoever drives a change")]
pub struct Member {
    /// The name the platform gives the target.
    pub target: String,
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Belongs to the control cohort: stays on the old version until judged.
    pub control: bool,
}

/// What one metric of one stratum looked like before the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct History {
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Index into [`JudgeConfig::metrics`](crate::JudgeConfig::metrics).
    pub metric: u8,
    /// Episodes and exposure over the whole look-back: gives the historic rate. Hosts that are then at a
    /// [lasting level](crate::LASTING_LEVEL) are left out, as absolute limits leave them out.
    pub counts: Counts,
    /// One sample per past interval, for the dispersion. Empty is allowed: a few strata with samples serve the
    /// whole metric.
    pub samples: Vec<HostSample>,
    /// Error signatures seen in the days before the change: whatever it does, these it did not bring.
    #[serde(default)]
    pub signatures: Vec<String>,
}

/// Why a metric source could not answer. None of these is ever read as "healthy".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The metrics system does not answer; asking again later may help.
    #[error("the metrics system does not answer: {reason}; the change holds until it does")]
    Unavailable {
        /// What was tried and what came back.
        reason: String,
    },
    /// The interval is not complete yet; ask again.
    #[error("interval {index} is not complete yet: {reason}; ask again later")]
    NotReady {
        /// The interval asked for.
        index: u64,
        /// What is missing.
        reason: String,
    },
    /// The metrics system answered something that cannot be counts. Asking again does not help.
    #[error("the metrics system's answer is not usable: {reason}; correct the query or the exporter")]
    Malformed {
        /// Which answer and what is wrong with it.
        reason: String,
    },
}

/// Answers with counts. An adapter implements it; drivers call it; the judge never does.
///
/// # Contract
///
/// - Times are milliseconds on the clock of the run: the monotonic clock its driver reads (`Clock::now` of the upgrade
///   crate), not time since 1970. An adapter to a metrics system that counts from 1970 converts.
/// - `read` is called once per interval in rising order and may be called again for the same index after an error
///   or a restart of the caller: the same index must give the same rows.
/// - Exposure is fixed before outcomes: original requests, not retries.
/// - Canary counts belong to members on the new version: past their warm-up (`fresh = false`) or before it
///   (`fresh = true`). Control counts belong to control members on the old version, past their warm-up.
/// - A row without any bad event may be left out for metrics that promotion does not require, see [`Row`](crate::Row): at
///   most intervals that is nearly every row of a rare event. Rows of required metrics are all given.
/// - Missing data is an error or a lower [`Coverage`](crate::Coverage), never a zero count.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// Says which targets are watched, in which stratum, and which are the control cohort. Called at the start, and
    /// again with the targets born since; a target named twice takes its latest description.
    ///
    /// # Errors
    ///
    /// When the metrics system refuses or cannot be reached; nothing is followed then.
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError>;

    /// Counts before the change per (stratum, metric), and host samples for the dispersion.
    ///
    /// # Errors
    ///
    /// When the metrics system cannot be reached or has no usable answer.
    async fn history(&self) -> Result<Vec<History>, SourceError>;

    /// The interval that ended at `end_ms`, in milliseconds on the clock that the run was given. The answer's
    /// [`index`](Interval::index) and [`end_ms`](Interval::end_ms) are the same numbers; one with others is refused.
    ///
    /// # Errors
    ///
    /// When the interval is not complete yet, or the metrics system fails.
    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError>;
}

#[async_trait]
impl<S: MetricSource + ?Sized> MetricSource for Arc<S> {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        (**self).follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        (**self).history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        (**self).read(index, end_ms).await
    }
}
