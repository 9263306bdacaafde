//! What can be wrong with what a judge is given. Nothing has happened when one of these is returned.

use serde::{Deserialize, Serialize};

use crate::{Arm, MAX_SAMPLE_HOSTS};

/// Configuration, topology or history that no judge can be built from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// A number of the configuration is out of range.
    #[error("{field} is {value}, it must be {range}; correct the judge's configuration")]
    Config {
        /// The field, with the metric's name where it belongs to one.
        field: String,
        /// The value given.
        value: f64,
        /// The range allowed.
        range: &'static str,
    },
    /// No metric, more than 256, or two with one name.
    #[error("{reason}; correct the list of metrics")]
    Metrics {
        /// What is wrong with the list.
        reason: String,
    },
    /// A stratum names an application or class that does not exist, or a class twice.
    #[error("stratum {stratum}: {reason}; correct the topology")]
    Topology {
        /// Index of the stratum.
        stratum: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A history entry is not possible.
    #[error("history entry {entry}: {reason}")]
    History {
        /// Index of the entry.
        entry: usize,
        /// What is wrong with it.
        reason: RowError,
    },
    /// A snapshot contradicts itself.
    #[error("the snapshot is damaged: {reason}; restore an earlier one and replay the intervals since")]
    Snapshot {
        /// What does not fit.
        reason: String,
    },
}

/// Why an interval was refused. The judge is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RowError {
    /// This interval was judged already.
    #[error("interval {index} was observed already; each interval counts once")]
    Duplicate {
        /// Its number.
        index: u64,
    },
    /// A later interval was judged already.
    #[error("interval {index} arrived after interval {last}; late intervals are not judged")]
    Late {
        /// Its number.
        index: u64,
        /// The latest interval judged.
        last: u64,
    },
    /// A row or sample of a stratum the topology does not have.
    #[error("stratum {stratum} does not exist, the topology has {strata}; follow members with strata of this topology")]
    Stratum {
        /// The stratum named.
        stratum: u32,
        /// How many there are.
        strata: usize,
    },
    /// A row or sample of a metric the configuration does not have.
    #[error("metric {metric} in stratum {stratum} does not exist, the configuration has {metrics}")]
    Metric {
        /// Where.
        stratum: u32,
        /// The metric named.
        metric: u8,
        /// How many there are.
        metrics: usize,
    },
    /// More bad events than events.
    #[error(
        "stratum {stratum}, metric {metric}, {arm:?}: {bad} bad of {total} is not possible; count original requests and each bad one once"
    )]
    BadAboveTotal {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// Which arm.
        arm: Arm,
        /// Bad events.
        bad: u64,
        /// Events.
        total: u64,
    },
    /// A count, or the sum over the hosts of an arm, above [`MAX_COUNT`](crate::MAX_COUNT).
    #[error(
        "stratum {stratum}, metric {metric}: a count of {count} in one interval, in sum over the hosts of an arm, is above 2^63; is it a difference of counters?"
    )]
    TooLarge {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// The count.
        count: u64,
    },
    /// Reported and missing requests are more than [`MAX_COUNT`](crate::MAX_COUNT) together.
    #[error(
        "stratum {stratum}, metric {metric}: {missing} missing beside {total} reported is not possible; missing is what was expected and not reported"
    )]
    Missing {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// Missing requests.
        missing: u64,
        /// Reported requests of the canary.
        total: u64,
    },
    /// One host twice in a sample.
    #[error("the host sample of stratum {stratum}, metric {metric} has host {host} twice; add its counts up")]
    DuplicateHost {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// The host.
        host: u32,
    },
    /// Two rows for one (stratum, metric, fresh, level).
    #[error(
        "stratum {stratum}, metric {metric} has two rows (fresh: {fresh}, level {level}) in one interval; add them up before"
    )]
    DuplicateRow {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// Whether the rows are of fresh instances.
        fresh: bool,
        /// Their level.
        level: u8,
    },
    /// A planned split without parts for both arms, or a second one for a stratum.
    #[error(
        "the planned split of stratum {stratum} is {canary} to {control}; give each stratum one plan, with parts above 0 for both arms"
    )]
    Split {
        /// Where.
        stratum: u32,
        /// Parts of the canary.
        canary: u32,
        /// Parts of the control.
        control: u32,
    },
    /// A signature with impossible counts, or without a name, or with one above 256 bytes.
    #[error("the counts of signature {signature:?} are not possible, or its name is empty or above 256 bytes")]
    Signature {
        /// Its name, cut.
        signature: String,
    },
    /// A sample with too many hosts.
    #[error(
        "the host sample of stratum {stratum}, metric {metric} has {hosts} hosts, at most {MAX_SAMPLE_HOSTS} are read; choose that many at random"
    )]
    SampleTooLarge {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// How many hosts.
        hosts: usize,
    },
    /// More distinct bad events than bad events on a host.
    #[error(
        "the host sample of stratum {stratum}, metric {metric} has {distinct} distinct of {bad} bad events; distinct counts each client once"
    )]
    DistinctAboveBad {
        /// Where.
        stratum: u32,
        /// Which metric.
        metric: u8,
        /// Distinct bad events.
        distinct: u64,
        /// Bad events.
        bad: u64,
    },
    /// More hosts reported than exist.
    #[error("{reported} hosts of the {arm:?} arm reported, {expected} are expected; correct the count of hosts")]
    Coverage {
        /// Which arm.
        arm: Arm,
        /// Hosts that reported.
        reported: u32,
        /// Hosts that should have.
        expected: u32,
    },
}
