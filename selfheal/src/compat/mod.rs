//! The outlier detection of Envoy and of gRPC (A50), decision for decision, over the same ring as the native detector.
//!
//! They are for migration and comparison: run what you have beside the native rules and look at the difference. The two
//! families differ in five places, and each is coded where it applies:
//!
//! | | Envoy | gRPC A50 |
//! | --- | --- | --- |
//! | cap | checked for the share *after* the ejection | for the share *before* it, so one more may go |
//! | failure percentage | `>=` threshold | `>` threshold |
//! | expired isolations end | before the sweep's detection | after it |
//! | time multiplier falls | in sweeps a whole interval after the return | in every sweep in which it is not ejected |
//! | an isolation of length `d` ends | at `d` | after `d` |

mod config;
mod envoy;
mod grpc;

use serde::{Deserialize, Serialize};

use crate::delta::NodeIndex;
use crate::ring::{Counts, Ring};

pub use config::{EnvoyConfig, FailurePercentageEjection, GrpcConfig, SuccessRateEjection};
pub use envoy::{Envoy, EnvoyResult};
pub use grpc::GrpcA50;

/// A decision in a compatibility mode.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ejection {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The host.
    pub node: NodeIndex,
    /// Out (`true`), or back in.
    pub ejected: bool,
    /// Why.
    pub cause: EjectionCause,
    /// By how much the base time is multiplied, this ejection included.
    pub multiplier: u64,
    /// `false`: detected, and not acted on, since the enforcement percentage said so.
    pub enforced: bool,
    /// For rates: the host's, and the threshold that it missed, both in per cent.
    pub rate: Option<RateEvidence>,
}

/// What a rate was compared with. All in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the three numbers that both systems report")]
pub struct RateEvidence {
    /// Of this host: successes for the success rate, failures for the failure percentage.
    pub host: f64,
    /// Mean over the hosts compared; the same as `host` for a failure percentage, which compares with none.
    pub mean: f64,
    /// What it was compared with.
    pub threshold: f64,
}

/// Which detector, or what ended an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EjectionCause {
    /// Server errors in a row.
    #[serde(rename = "consecutive_5xx")]
    Consecutive5xx,
    /// 502, 503 and 504 in a row.
    ConsecutiveGatewayFailure,
    /// Connection failures and local time-outs in a row.
    ConsecutiveLocalOriginFailure,
    /// Success rate far below the mean.
    SuccessRate,
    /// The same of local-origin events.
    SuccessRateLocalOrigin,
    /// Too large a share failed.
    FailurePercentage,
    /// The same of local-origin events.
    FailurePercentageLocalOrigin,
    /// Its time is over.
    Expired,
    /// An active health check passed.
    ActiveCheckPassed,
    /// The configuration has no detector any more.
    Configuration,
}

/// Successes and failures per interval between two sweeps: the ring, whose slices are numbered by sweeps.
#[derive(Debug)]
struct Intervals {
    ring: Ring<2>,
}

impl Intervals {
    fn new() -> Self {
        let Ok(ring) = Ring::new(1) else {
            unreachable!("a slice of one has a length")
        };
        Self { ring }
    }

    fn record(&self, interval: u64, outcome: crate::Outcome) {
        self.ring.record(interval, outcome);
    }

    /// Counts of an interval that is over.
    fn of(&self, interval: u64) -> Counts {
        self.ring.slice(interval)
    }
}

/// Mean and population standard deviation, as both systems compute them: divided by the number of values.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = crate::detector::u64_to_f64(values.len() as u64);
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Decides whether a detection is enforced: `percent` of a hundred draws.
#[derive(Debug)]
struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    const fn next(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        crate::statistics::mix(self.seed, self.drawn)
    }

    const fn enforce(&mut self, percent: u32) -> bool {
        self.next() % 100 < percent as u64
    }
}

#[cfg(test)]
mod tests {
    use super::mean_and_deviation;

    #[test]
    fn deviation_is_that_of_the_population() {
        // grpc-java's test mathChecksOut.
        let (mean, deviation) = mean_and_deviation(&[600.0, 470.0, 170.0, 430.0, 300.0]);
        assert!((mean - 394.0).abs() < 1e-12 && (deviation - 147.322_774_885_623_18).abs() < 1e-12);
        // Envoy's test SRThreshold: mean 90, deviation 20, hence 52 at a factor of 1.9.
        let (mean, deviation) = mean_and_deviation(&[50.0, 100.0, 100.0, 100.0, 100.0]);
        assert!((mean - 90.0).abs() < 1e-12 && (mean - 1.9 * deviation - 52.0).abs() < 1e-12);
    }
}
