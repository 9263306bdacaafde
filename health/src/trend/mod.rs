//! Slow leaks: whether a resource grows on canary hosts where it does not on control hosts.

mod permutation;
mod series;
mod snapshot;
mod watch;

pub use watch::{Resource, Trend, TrendConfig, TrendError, TrendReading, TrendReport};
