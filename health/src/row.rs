//! What a look at the fleet consists of: counts per stratum, metric and arm of one interval.

use serde::{Deserialize, Serialize};

/// Most hosts a [`HostSample`] may carry. More would not make the dispersion better, only the journal larger.
pub const MAX_SAMPLE_HOSTS: usize = 64;

/// Largest count a row may carry: 2^63. Counts are added as integers; in the arithmetic of evidence one is exact up to
/// 2^53 and within one part in 2^53 above.
pub const MAX_COUNT: u64 = 1 << 63;

/// Bad events among an exposure, of one arm in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally by every metric source; a third count would be another concept"
)]
pub struct Counts {
    /// Episodes: bad events counted at most once per client (or host), signature and interval, so that one
    /// client's retry storm is one event. Never above `total`.
    pub bad: u64,
    /// Exposure: original requests without retries, or hosts at risk.
    pub total: u64,
}

impl Counts {
    /// `bad` among `total`.
    #[must_use]
    pub const fn new(bad: u64, total: u64) -> Self {
        Self { bad, total }
    }

    /// Share of bad events, 0 to 1; `None` without exposure.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.total > 0).then(|| to_f64(self.bad) / to_f64(self.total))
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.bad = self.bad.saturating_add(other.bad);
        self.total = self.total.saturating_add(other.total);
    }
}

/// A count as a float: exact up to 2^53, rounded to nearest above.
#[expect(
    clippy::cast_precision_loss,
    reason = "one part in 2^53 of a count is far below its own spread"
)]
pub(crate) const fn to_f64(count: u64) -> f64 {
    count as f64
}

/// The integer part of a float within 0 and 2^53, where every integer is one; `None` of others.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within 0 and 2^53 nothing but the fraction is lost"
)]
pub(crate) fn floor_to_u64(value: f64) -> Option<u64> {
    (0.0..=9_007_199_254_740_992.0).contains(&value).then_some(value as u64)
}

/// The first of the levels that a host keeps for as long as the change lasts, since they are of what it had before.
///
/// Rows of every level are evidence of harm, each by itself. What a level says of safety differs. Below this one hosts climb:
/// where the change makes each of them worse they do so sooner, and look like the control beside those that are as high, so
/// evidence of safety adds these levels up. A host does not come to a lasting level by anything the change does, so hosts of
/// one are compared with one another for safety too: machines that were bad before say nothing about the release by standing
/// on the one side or the other. Absolute limits, and the history that they follow, are of hosts below it. [`lasting_level`](crate::lasting_level) tells them; [`HostRows`](crate::HostRows) makes none.
pub const LASTING_LEVEL: u8 = 244;

/// One metric in one stratum during one interval: the canary beside its matched control.
///
/// A row of a metric that promotion does not [require](crate::MetricSpec::required) and in which no event was bad on
/// either arm may be left out: neither the stop statistic nor the verdict, the score, or whether evidence of safety
/// suffices, would change by a bit. It only adds to the exposure that explanations show, and to that metric's own
/// [`MetricSafety`](crate::MetricSafety): who reads that gives every row. Rows of a required metric are never left out, since
/// requests without errors are the evidence of safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the unit of exchange with metric sources, written literally"
)]
pub struct Row {
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Index into [`JudgeConfig::metrics`](crate::JudgeConfig::metrics).
    pub metric: u8,
    /// The canary members of this row are not warmed up yet: reconnects and cold pools are expected, so the row
    /// is judged against a far higher ratio and never counts as evidence of safety.
    pub fresh: bool,
    /// The row has only hosts with about this much trouble behind them; see [`HostRows`](crate::HostRows). 0 where hosts
    /// are not told apart. From [`LASTING_LEVEL`] on, a level is of what hosts had before the change.
    pub level: u8,
    /// Members on the new version.
    pub canary: Counts,
    /// Members of the control cohort on the old version, past their warm-up.
    pub control: Counts,
    /// Original requests sent to the canary that nobody reported: expected minus reported, 0 where nothing is expected.
    /// What is not known counts against what one would like to conclude: as good where harm is to be shown, as bad where
    /// safety is.
    pub missing: u64,
}

/// Which side of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a comparison has two sides")]
pub enum Arm {
    /// On the new version.
    Canary,
    /// On the old version, untouched until judged.
    Control,
}

/// Counts of one host during one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct HostCounts {
    /// Which host: any number that stays the same for as long as the host does.
    pub host: u32,
    /// [`Row::level`] of the row that counts the host.
    pub level: u8,
    /// Bad events, each one counted.
    pub bad: u64,
    /// Original requests.
    pub total: u64,
    /// Episodes: bad events counted once per client. Never above `bad`. The dispersion is estimated on these,
    /// since the rows count these.
    pub distinct: u64,
}

/// Some hosts of one stratum, one by one: of the control, what the dispersion of a metric is estimated from; of the canary,
/// what bounds the influence of each host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct HostSample {
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Index into [`JudgeConfig::metrics`](crate::JudgeConfig::metrics).
    pub metric: u8,
    /// Which side.
    pub arm: Arm,
    /// The hosts are not warmed up yet; see [`Row::fresh`].
    pub fresh: bool,
    /// At most [`MAX_SAMPLE_HOSTS`]. Of the control, chosen without looking at their counts. Of the canary, those with
    /// most [`distinct`](HostCounts::distinct) bad events; hosts without any may be left out.
    pub hosts: Vec<HostCounts>,
}

/// Whose fault an error is: a closed list, one class for each request that failed.
///
/// Every class but [`Policy`](Self::Policy) may be judged; [`Own`](Self::Own) is by default. Classes are separate
/// metrics: a class that matters less has a lower weight in the stop statistic, never fractional counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a closed list: whoever counts by class counts all of them"
)]
pub enum FaultClass {
    /// The changed component's own: crashes, resets it caused, codec errors. What nobody knows is counted here too.
    Own,
    /// Network, hosts, name service, reachability of others: shared by everybody.
    Infrastructure,
    /// The application behind the component, or its peer, answered with an error that was passed on.
    Business,
    /// The caller: it went away, or sent what nobody can serve.
    Client,
    /// Routes, clusters, certificates: what the control plane gave the component.
    Config,
    /// Intended: rate limits, denied access, injected faults. Counted, and not an error.
    Policy,
    /// Own queueing or a slow peer, own codec or a broken one: only the comparison of the arms tells.
    Ambiguous,
}

impl FaultClass {
    /// Every class, in the order of [`index`](Self::index).
    pub const ALL: [Self; 7] = [
        Self::Own,
        Self::Infrastructure,
        Self::Business,
        Self::Client,
        Self::Config,
        Self::Policy,
        Self::Ambiguous,
    ];

    /// Place in [`ALL`](Self::ALL); also the number on the wire.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class as a word for people and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Infrastructure => "infrastructure",
            Self::Business => "business",
            Self::Client => "client",
            Self::Config => "config",
            Self::Policy => "policy",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// The class of a word, as [`as_str`](Self::as_str) writes it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// Errors of the whole fleet by fault class: for display, never for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct ClassTotals {
    /// Whose fault.
    pub class: FaultClass,
    /// On the new version.
    pub canary: Counts,
    /// In the control cohort.
    pub control: Counts,
}

/// How many hosts of an arm reported, of how many that should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct Coverage {
    /// Hosts whose counts are in the interval.
    pub reported: u32,
    /// Hosts that should have reported.
    pub expected: u32,
}

impl Coverage {
    /// Share that reported, 0 to 1. An arm nobody expects anything of has nothing missing: 1.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.expected == 0 {
            1.0
        } else {
            (f64::from(self.reported) / f64::from(self.expected)).min(1.0)
        }
    }

    /// The same, where so many hosts cannot report: as many of those that did not are not expected.
    pub(crate) fn without(self, out_of_reach: u32) -> Self {
        let missing = self.expected.saturating_sub(self.reported);
        Self {
            expected: self.expected - missing.min(out_of_reach),
            ..self
        }
    }
}

/// Hosts of each arm of which it is known that they cannot be reached, as those of a region that is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a comparison has two sides")]
pub struct OutOfReach {
    /// Of those on the new version.
    pub canary: u32,
    /// Of the control cohort.
    pub control: u32,
}

/// How exposure should divide between the arms of one stratum, as whoever routes the traffic set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct PlannedSplit {
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Parts for the canary, warm and fresh.
    pub canary: u32,
    /// Parts for the control. A split of 5 % is 5 to 95.
    pub control: u32,
}

/// Bad events of one signature (an error code, a panic message) over the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct SignatureCounts {
    /// What it is called.
    pub signature: String,
    /// On the new version.
    pub canary: Counts,
    /// In the control cohort.
    pub control: Counts,
}

/// Everything a judge learns from one interval. Rows may come in any order; the verdict does not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct Interval {
    /// Number of the interval; each one is judged at most once, in rising order. Gaps are allowed.
    pub index: u64,
    /// When it ended, in milliseconds on the clock of the run: the monotonic clock its driver reads, not time since
    /// 1970. For the record; no verdict reads it.
    pub end_ms: u64,
    /// At most one row per (stratum, metric, fresh, level).
    pub rows: Vec<Row>,
    /// Host samples for the dispersion; few are enough.
    pub samples: Vec<HostSample>,
    /// Errors of the fleet by fault class.
    pub totals: Vec<ClassTotals>,
    /// Strata whose split between the arms is controlled, and how: what the sample-ratio check compares exposures with.
    /// Only where routing fixes it; where hosts take what they get, shares of hosts are no plan for shares of requests.
    pub splits: Vec<PlannedSplit>,
    /// Bad events by signature; the most frequent are enough.
    pub signatures: Vec<SignatureCounts>,
    /// Reporting hosts on the new version.
    pub canary_hosts: Coverage,
    /// Reporting hosts of the control cohort.
    pub control_hosts: Coverage,
}
