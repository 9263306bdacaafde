//! What a caller can get wrong, and how to put it right.

use thiserror::Error;

/// A [`Ring`](crate::Ring) that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingError {
    /// A slice is to last zero milliseconds.
    #[error("slices of 0 ms hold no time: give the length of a slice in milliseconds, at least 1")]
    SliceLength,
}

/// A [`SequentialTest`](crate::SequentialTest) that cannot be made, or a question it cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum TestError {
    /// A failure rate is not a number, or outside the open interval from 0 to 1.
    #[error("{which} failure rate {rate}: give a fraction above 0 and below 1 (one per cent is 0.01)")]
    Rate {
        /// Which of the rates.
        which: &'static str,
        /// What was given.
        rate: f64,
    },
    /// The bad rate does not exceed the healthy rate.
    #[error("bad failure rate {bad} must be above the healthy one {healthy}: raise the first or lower the second")]
    RatesNotOrdered {
        /// The healthy rate.
        healthy: f64,
        /// The bad rate.
        bad: f64,
    },
    /// The rates are so close together, or both so near one, that no pair of small integer steps tells them apart.
    #[error("failure rates {healthy} and {bad} need steps finer than this test has: move them further apart")]
    TooClose {
        /// The healthy rate.
        healthy: f64,
        /// The bad rate.
        bad: f64,
    },
    /// Finding the threshold would need more states than the exact computation is given.
    #[error(
        "failure rates {healthy} and {bad} with {run_length} requests between false alarms need too large a table: \
         raise the bad rate, or accept a shorter run"
    )]
    TooFine {
        /// The healthy rate.
        healthy: f64,
        /// The bad rate.
        bad: f64,
        /// The wanted average run length, in requests.
        run_length: f64,
    },
    /// The wanted average run length is not a number from 1 to
    /// [`FalseAlarms::MAX_RUN_LENGTH`](crate::FalseAlarms::MAX_RUN_LENGTH).
    #[error("{run_length} requests between false alarms: give 1 to {max}", max = crate::FalseAlarms::MAX_RUN_LENGTH)]
    RunLength {
        /// What was given, or what followed from the isolations and the request rate.
        run_length: f64,
    },
    /// The number of false isolations per node and year is not a positive number.
    #[error("{isolations} false isolations per node and year: give a number above 0, such as 1.0 or 0.1")]
    Isolations {
        /// What was given.
        isolations: f64,
    },
    /// The request rate is not a positive number.
    #[error("{per_second} requests per second: give the usual rate at one node, above 0")]
    RequestRate {
        /// What was given.
        per_second: f64,
    },
}

/// A [`Policy`](crate::Policy) that contradicts itself or leaves its ranges.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A fraction outside the open interval from 0 to 1.
    #[error("{field} = {value}: give a fraction above 0 and below 1 (one per cent is 0.01)")]
    Fraction {
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
    },
    /// A share outside 0 to 1.
    #[error("{field} = {value}: give a fraction from 0 to 1")]
    Share {
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
    },
    /// A number that must be positive and is not.
    #[error("{field} = {value}: give a number above 0")]
    Positive {
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
    },
    /// A length of time of zero, or beyond 100 years.
    #[error("{field} = {value}: give a whole number from 1 to 100 years")]
    Time {
        /// The field.
        field: &'static str,
        /// What was given.
        value: u64,
    },
    /// A number that must be above another one.
    #[error("{field} = {value} must be above {above} ({limit}): raise it")]
    Order {
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What it must be above.
        above: &'static str,
        /// The value of that.
        limit: f64,
    },
    /// The longest isolation is shorter than the first.
    #[error("max_isolation_ms = {max_ms} is below base_isolation_ms = {base_ms}: raise it")]
    Longest {
        /// The first isolation.
        base_ms: u64,
        /// The longest.
        max_ms: u64,
    },
    /// The fast test cannot be made of these rates and budgets.
    #[error("healthy_rate, bad_rate, false_isolations_per_node_year and peak_requests_per_second: {0}")]
    Test(TestError),
}

/// A request about a node that cannot be met.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No node has this number, or has it any more.
    #[error("node {0} is not known: add it first, and use the number that this returned")]
    Unknown(u32),
    /// The table is full.
    #[error("more than {0} nodes: use a detector per cluster")]
    TooMany(u32),
    /// A capacity that is not a positive number.
    #[error("a capacity of {0} calls per second: give a number above 0, or none if it is not known")]
    Capacity(f64),
}

/// A configuration that the system it belongs to refuses as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompatError {
    /// More than all.
    #[error("{field}: {percent} per cent: give 0 to 100")]
    Percent {
        /// The field.
        field: &'static str,
        /// What was given.
        percent: u32,
    },
    /// A time of zero.
    #[error("{field}: 0 seconds: give a time above 0, such as \"10s\"")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// The longest ejection is shorter than the first.
    #[error("max_ejection_time: {max_ms} ms is below base_ejection_time of {base_ms} ms: raise it, or leave it out")]
    Longest {
        /// The longest.
        max_ms: u64,
        /// The first.
        base_ms: u64,
    },
}
