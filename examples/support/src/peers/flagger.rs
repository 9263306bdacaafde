//! Flagger's counter of failed checks.

use super::{Opinion, Pair, Peer};

/// Every interval each metric of the new version is compared with a fixed limit; a miss, or no value, is a failed check. The
/// counter never goes down.
#[derive(Clone, Debug, PartialEq)]
pub struct Flagger {
    /// Largest share of bad requests, 0 to 1. The documents' sample wants 99 % successes, and 99 % faster than a bound.
    pub limit: f64,
    /// Failed checks that take the change back; the documents' sample has 10.
    pub threshold: u32,
    failed: u32,
}

impl Flagger {
    /// With this limit and the sample's threshold.
    #[must_use]
    pub const fn new(limit: f64) -> Self {
        Self {
            limit,
            threshold: 10,
            failed: 0,
        }
    }

    /// The sample of the documents.
    #[must_use]
    pub const fn sample() -> Self {
        Self::new(0.01)
    }

    /// Checks that failed so far.
    #[must_use]
    pub const fn failed_checks(&self) -> u32 {
        self.failed
    }
}

impl Peer for Flagger {
    fn observe(&mut self, metrics: &[Pair]) -> Opinion {
        // One analysis run is one check, whichever of its metrics misses.
        if metrics
            .iter()
            .any(|pair| pair.canary.rate().is_none_or(|rate| rate > self.limit))
        {
            self.failed = self.failed.saturating_add(1);
        }
        if self.failed >= self.threshold {
            Opinion::Rollback
        } else {
            Opinion::Continue
        }
    }

    fn step(&mut self) {}

    fn finish(&self) -> Opinion {
        if self.failed >= self.threshold {
            Opinion::Rollback
        } else {
            Opinion::Promote
        }
    }
}
