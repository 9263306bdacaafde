//! What a caller can get wrong, and how to put it right.

use thiserror::Error;

/// A [`Ring`](crate::Ring) that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The number of slices is zero or above [`Ring::MAX_SLICES`](crate::Ring::MAX_SLICES).
    #[error("a ring of {slices} slices: give 1 to {max}; ten is usual", max = crate::Ring::MAX_SLICES)]
    Slices {
        /// What was given.
        slices: u32,
    },
    /// A slice is to last zero milliseconds.
    #[error("slices of 0 ms hold no time: give the length of a slice in milliseconds, at least 1")]
    SliceLength,
}

/// A [`Detector`](crate::Detector) that cannot be made, or a question it cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum DetectorError {
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
    /// Every verdict would be stale at once.
    #[error("a silence limit of 0 ms makes every verdict stale: give how long an answer stays good, such as 60000")]
    Silence,
}
