//! What the user decides: rates, budgets, times and shares.

use serde::{Deserialize, Serialize};

use crate::error::PolicyError;

/// The rules of a [`Detector`](crate::Detector). Fields that are left out take their defaults.
///
/// ```
/// let policy: unattended_selfheal::Policy =
///     serde_json::from_str(r#"{"false_isolations_per_node_year": 0.1, "slice_ms": 500}"#)?;
/// policy.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "users write it with `..Policy::default()`")]
pub struct Policy {
    /// Isolations of a healthy node that are acceptable per node and year, all tests together. Default 1.
    pub false_isolations_per_node_year: f64,
    /// Calls per second to the busiest node, from this observer: turns years into calls. Default 100.
    pub peak_requests_per_second: f64,
    /// Share of calls that may fail at a healthy node, a fraction. Peers may show more, never less. Default 0.01.
    pub healthy_rate: f64,
    /// Share of failing calls that the fast test is tuned to find, a fraction. Default 0.2.
    pub bad_rate: f64,
    /// How much worse than its peers a node must be to matter, a fraction of calls. Default 0.01.
    pub minimum_effect: f64,
    /// Length of a time slice, in milliseconds: how often peers are compared. Default 250.
    pub slice_ms: u64,
    /// The first isolation, in milliseconds; each relapse doubles it. Default 30,000.
    pub base_isolation_ms: u64,
    /// The longest isolation, before jitter, in milliseconds. Default 300,000.
    pub max_isolation_ms: u64,
    /// An isolation is longer by up to this share of itself, drawn from the seed. Default 0.25.
    pub isolation_jitter: f64,
    /// How long callers obey a word of the detector that it does not renew, in milliseconds. Default 5,000.
    pub lease_ms: u64,
    /// Share of nodes that may be isolated where capacities are not known, a fraction. Default 0.5.
    pub max_isolated_share: f64,
    /// Share of their capacity up to which the remaining nodes may be loaded, a fraction. Default 0.8.
    pub max_load_share: f64,
    /// A stage of the return lasts at least this long, in milliseconds. Default 2,000.
    pub stage_ms: u64,
    /// A stage without enough traffic to say anything ends after this, in milliseconds. Default 60,000.
    pub max_stage_ms: u64,
    /// Successes in full service after which one relapse is forgiven. Default 100.
    pub forgiving_successes: u32,
    /// Lowest weight of a node that is sub-healthy but not isolated, a fraction. Default 0.25.
    pub minimum_weight: f64,
    /// Latency at equal load, as a multiple of the usual, from which a node is slow. Default 1.5.
    pub slow_ratio: f64,
    /// The multiple from which a node that also lets calls time out is isolated. Default 3.
    pub very_slow_ratio: f64,
    /// The fastest latency that is told from faster ones, in microseconds, rounded down to a power of two; 65,536 times
    /// as much is the slowest. Default 256.
    pub latency_floor_us: u32,
    /// Decide and explain, but withhold nothing. Default false.
    pub dry_run: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            false_isolations_per_node_year: 1.0,
            peak_requests_per_second: 100.0,
            healthy_rate: 0.01,
            bad_rate: 0.2,
            minimum_effect: 0.01,
            slice_ms: 250,
            base_isolation_ms: 30_000,
            max_isolation_ms: 300_000,
            isolation_jitter: 0.25,
            lease_ms: 5_000,
            max_isolated_share: 0.5,
            max_load_share: 0.8,
            stage_ms: 2_000,
            max_stage_ms: 60_000,
            forgiving_successes: 100,
            minimum_weight: 0.25,
            slow_ratio: 1.5,
            very_slow_ratio: 3.0,
            latency_floor_us: 256,
            dry_run: false,
        }
    }
}

impl Policy {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] names the field, its value, and what it may be.
    pub fn check(&self) -> Result<(), PolicyError> {
        let fraction = |field, value: f64| {
            (value > 0.0 && value < 1.0)
                .then_some(())
                .ok_or(PolicyError::Fraction { field, value })
        };
        let share = |field, value: f64| {
            (0.0..=1.0)
                .contains(&value)
                .then_some(())
                .ok_or(PolicyError::Share { field, value })
        };
        let positive = |field, value: f64| {
            (value.is_finite() && value > 0.0)
                .then_some(())
                .ok_or(PolicyError::Positive { field, value })
        };
        let time = |field, value: u64| {
            // 100 years: sums of a few stay far from the end of u64 and of a lease's 53 bits.
            (1..=3_155_760_000_000)
                .contains(&value)
                .then_some(())
                .ok_or(PolicyError::Time { field, value })
        };
        positive("false_isolations_per_node_year", self.false_isolations_per_node_year)?;
        positive("peak_requests_per_second", self.peak_requests_per_second)?;
        fraction("healthy_rate", self.healthy_rate)?;
        fraction("bad_rate", self.bad_rate)?;
        fraction("minimum_effect", self.minimum_effect)?;
        share("isolation_jitter", self.isolation_jitter)?;
        share("max_isolated_share", self.max_isolated_share)?;
        fraction("minimum_weight", self.minimum_weight)?;
        time("slice_ms", self.slice_ms)?;
        time("base_isolation_ms", self.base_isolation_ms)?;
        time("max_isolation_ms", self.max_isolation_ms)?;
        time("lease_ms", self.lease_ms)?;
        time("stage_ms", self.stage_ms)?;
        time("max_stage_ms", self.max_stage_ms)?;
        if !(self.max_load_share > 0.0 && self.max_load_share <= 1.0) {
            return Err(PolicyError::Share {
                field: "max_load_share",
                value: self.max_load_share,
            });
        }
        if self.latency_floor_us == 0 {
            return Err(PolicyError::Time {
                field: "latency_floor_us",
                value: 0,
            });
        }
        for (field, value, above, limit) in [
            ("bad_rate", self.bad_rate, "healthy_rate", self.healthy_rate),
            ("slow_ratio", self.slow_ratio, "1", 1.0),
            ("very_slow_ratio", self.very_slow_ratio, "slow_ratio", self.slow_ratio),
        ] {
            if !(value > limit && value.is_finite()) {
                return Err(PolicyError::Order {
                    field,
                    value,
                    above,
                    limit,
                });
            }
        }
        if self.max_isolation_ms < self.base_isolation_ms {
            return Err(PolicyError::Longest {
                base_ms: self.base_isolation_ms,
                max_ms: self.max_isolation_ms,
            });
        }
        Ok(())
    }
}
