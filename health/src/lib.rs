//! Is it healthy: self-checks before traffic, evidence with error budgets after.
//!
//! It is not a metrics system (rows come through [`MetricSource`]), not a threshold alerter, and it never acts: whoever
//! drives the change asks and decides. It depends on no runtime, clock or network.
//!
//! ```
//! use unattended_health::{Counts, Coverage, Interval, Judge, JudgeConfig, Row, StratumInfo, Topology, Verdict};
//!
//! let topology = Topology {
//!     strata: vec![StratumInfo { app: 0, classes: vec![0] }],
//!     classes: vec!["stack=HN".into()],
//!     apps: vec!["pay".into()],
//! };
//! let mut judge = Judge::new(JudgeConfig::standard(), topology, &[])?;
//! judge.step_traffic(); // a batch opened
//! let all = Coverage { reported: 40, expected: 40 };
//! for index in 0..8 {
//!     let (canary, control) = (Counts::new(15, 1_060), Counts::new(30, 17_700));
//!     let rows = vec![Row { stratum: 0, metric: 0, fresh: false, level: 0, canary, control, missing: 0 }];
//!     judge.observe(&Interval { index, rows, canary_hosts: all, control_hosts: all, ..Interval::default() })?;
//! }
//! assert_eq!(judge.verdict(), Verdict::Rollback);
//! let why = judge.explain().to_string();
//! assert!(why.contains("errors on canary 120 of 8,480 requests vs 240 of 141,600 on control"), "{why}");
//! assert!(judge.explain().headline().contains("needed: errors on canary 120 of 8,480 requests vs 240 of 141,600 on control"));
//! assert!(why.contains("strongest: class stack=HN, ratio 8.3 (95 % "), "{why}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  Check, GoldenRequest ──► Startup ──► SelfCheckReport ──► Gate::evaluate      may it take traffic at all?
//!
//!  codes ──► Attribution ──► Writer ──► Snapshot ──► Ledger ──► Delta           what it counts, and whose fault
//!
//!  MetricSource ──► Interval {rows, host samples, coverage}
//!                      │                 ┌─ ln_e, stopped   evidence of harm:   over the whole change
//!                      ▼                 │
//!  history ─► Judge::observe ────────────┼─ safety(class)   evidence of safety: per class and stage
//!  step_traffic ──────┘                  │
//!                                        └─ verdict, score, explain
//! ```
//!
//! # What is compared
//!
//! A row holds, for one interval and stratum, how many of how many requests were bad on the canary and on a matched
//! control. Given how many were bad in all, and how traffic was split, how many of them fall on the canary depends
//! on the rate ratio alone: daily waves, shared incidents and changing splits cancel. A row's e-value is its likelihood
//! under ratio r divided by that under ratio 1; over rows they multiply, over r in {1.25, 1.5, 2, 3, 5, 10} they are
//! averaged, and at every traffic step a fresh product starts, so that a fault that begins late is not paid for by earlier
//! good behaviour (all restarts together cost six numbers, exactly).
//!
//! Hosts are not alike: a client that never stops or a dying disk gives a few hosts most of the errors. [`HostRows`]
//! compares hosts with their like (as many bad events behind them), and the strongest host of the canary may lead the next
//! by two events only; beyond that it is [named](Judge::host_events), to be rolled back alone, and the change goes on.
//!
//! # Guarantees
//!
//! - **Stop**: a change without effect is ever [stopped](Judge::stopped) with probability at most α = 0.01, over all
//!   looks, metrics, batches, classes and applications together.
//! - **Go**: in one stage, a class where the rate ratio is at least 1 + δ *and* the rate at least
//!   θ = max(2 × its application's history, floor) gets [enough evidence of safety](Judge::safety) with probability at
//!   most β = 0.05. Rows of one class never count for another; no rows are no evidence.
//!   θ is history's word, so at the trough of a daily wave everything is below it: while the control is visibly below its
//!   history, evidence that the rate is below θ counts only as far as the canary is shown to be below twice the control.
//! - **Hosts that differ for good**, by whatever law, do not break the first guarantee where rows come from [`HostRows`]:
//!   within a level both arms have the same rate. Enumerated in the tests, where sums of the same hosts break it.
//! - **Fresh instances** are judged against ten times the control's rate, so that reconnects and cold pools after a
//!   healthy restart stop nothing; they never count as evidence of safety.
//! - **Unknown is never a pass**: missing checks fail the gate, missing data holds, impossible data is a named error
//!   that changes nothing.
//! - **Same input, same bytes**: `ln` and `exp` come from `libm`, sums have a fixed order, the order of rows in an
//!   interval does not matter, and a judge restored from its serialized form continues to the same bytes.
//!
//! # Limits
//!
//! - Exposure must be fixed before outcomes (count original requests, not retries), and strata must catch whatever
//!   rollout order depends on.
//! - Events that come in bursts are divided by a dispersion φ estimated from control hosts. It is an estimate: for heavy
//!   tails, count bad events once per client and interval, as [`Counts::bad`] says, and make rows by [`HostRows`]. It starts
//!   from [`History`]; without any, bursts in the first intervals meet a default of 2.
//! - A canary of a single host can be named, not found guilty: a bad node and a bad release look the same on it.
//! - Evidence of safety adds levels up that hosts climb. It is divided by what hosts differ by within an interval; where they differ for
//!   good and by much, and the canary is a handful of them, it may be the quiet ones, and β is not kept: with six of sixty hosts
//!   of lognormal rates, σ = 1, a ratio of 3 was let pass in 2 of 20 runs. More hosts help, more time does not.
//! - A fault that canary and control share, e.g. through a bad common configuration, shows in no comparison.
//! - α bounds false stops, not missed faults: a regression below ratio 1.25 or without traffic is found late or never.
//! - The ratio's confidence sequence adds up rows whose traffic split differs by less than a quarter octave; it is for
//!   people, no verdict reads it.

mod attribution;
mod blame;
mod codec;
mod confidence;
mod config;
mod decide;
mod dispersion;
mod error;
mod evidence;
mod exact;
mod explanation;
mod guards;
mod hosts;
mod influence;
mod judge;
mod latency;
mod limit;
mod numbers;
mod observe;
mod power;
mod process;
mod ratio;
mod recorder;
mod row;
mod scope;
mod score;
mod settled;
mod signatures;
mod slo;
mod snapshot;
mod source;
mod startup;
mod stop;
mod sums;
#[cfg(test)]
mod tests;
mod trend;
mod validate;
mod value;
mod verdict;
mod wire;

pub use attribution::{
    Attributed, Attribution, AttributionBuilder, AttributionError, Edge, EdgeReport, EdgeTally, End, Meaning,
    RequestFaults, Side,
};
pub use blame::{Blame, BlameConfig, BlameError, BlameReport, BlameVerdict, Suspect, Vote, temporal_correlation};
pub use codec::DecodeError;
pub use confidence::{RateInterval, distribution_band, rate_interval};
pub use config::{JudgeConfig, MetricSpec, StratumInfo, Topology};
pub use error::{JudgeError, RowError};
pub use explanation::{Explanation, Finding};
pub use hosts::{FirstFailure, HostRecord, HostRows, lasting_level};
pub use judge::Judge;
pub use latency::slower_than;
pub use power::{Canary, Demand, Design, PowerError, Traffic, baseline_events};
pub use ratio::Ratio;
pub use recorder::{
    Counters, Delta, Instance, LOG_MARKER, LatencyBound, Ledger, LedgerError, LogError, Recorder, RecorderError,
    SNAPSHOT_SCHEMA, Snapshot, Taken, Writer, read_log,
};
pub use row::{
    Arm, ClassTotals, Counts, Coverage, FaultClass, HostCounts, HostSample, Interval, LASTING_LEVEL, MAX_COUNT,
    MAX_SAMPLE_HOSTS, OutOfReach, PlannedSplit, Row, SignatureCounts,
};
pub use score::{Score, ScoreTerm};
pub use signatures::{Origin, Signature};
pub use slo::{
    Burn, BurnError, BurnFreeze, BurnLine, BurnState, ImportError, ImportErrors, Numerator, Query, Severity, Sli, Slo,
    SloError, import_openslo,
};
pub use source::{History, Member, MetricSource, SourceError};
pub use startup::{
    Attempt, Check, CheckAnswer, CheckOutcome, CheckResult, Exchange, Gate, GateFailure, GateVerdict, GoldenError,
    GoldenRequest, GoldenResponse, SELF_CHECK_SCHEMA, SelfCheckReport, Startup, StartupError, Step,
};
pub use trend::{Resource, Trend, TrendConfig, TrendError, TrendReading, TrendReport};
pub use verdict::{Contributor, Exit, Hold, HoldReason, HostEvent, Look, MetricSafety, Safety, StopEvidence, Verdict};
pub use wire::WireError;

/// The snippets of the guide's page for sidecars compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/sidecar.md")]
struct SidecarDoctests;
