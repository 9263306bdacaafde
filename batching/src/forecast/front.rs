//! Time against exposure.

use serde::{Deserialize, Serialize};

use super::conditions::LATEST_MS;
use super::normal::LogNormal;
use super::{Conditions, expected_exposure};
use crate::amount::count;
use crate::policy::Policy;
use crate::ramp::Ramp;

/// What one way to grow costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tradeoff {
    /// Growth from batch to batch; `None` for the plan itself.
    pub growth: Option<f64>,
    /// Batches, the last one included.
    pub batches: u32,
    /// How long they take with every window open, at the medians.
    pub time_ms: u64,
    /// Targets that a fault of the first prevalence is expected to reach.
    pub exposed: f64,
    /// No other one here is at least as good in both and better in one: it is on the Pareto front.
    pub best: bool,
}

/// The plan's sizes, then the growths, all from the plan's first batch and with its last.
pub(super) fn tradeoffs(sizes: &[u32], policy: &Policy, conditions: &Conditions) -> Vec<Tradeoff> {
    let fleet = sizes.last().copied().unwrap_or(0);
    let first = sizes.first().copied().unwrap_or(0);
    let pool = sizes.iter().rev().nth(1).copied().unwrap_or(fleet);
    let prevalence = conditions.prevalences.first().copied().unwrap_or(0.005);
    let tradeoff = |growth: Option<f64>, sizes: &[u32]| Tradeoff {
        growth,
        batches: u32::try_from(sizes.len()).unwrap_or(u32::MAX),
        time_ms: time_of(sizes, policy, conditions),
        exposed: expected_exposure(sizes, prevalence),
        best: false,
    };
    let mut all = vec![tradeoff(None, sizes)];
    for &growth in &conditions.growths {
        // A growth that is none has no place in the picture.
        let ramp = Ramp::geometric(count(first.max(1)), growth).and_then(|ramp| ramp.sizes(fleet, first));
        if let Ok(mut sizes) = ramp {
            sizes.retain(|&size| size < pool);
            sizes.extend([pool, fleet]);
            sizes.dedup();
            all.push(tradeoff(Some(growth), &sizes));
        }
    }
    for at in 0..all.len() {
        let this = all[at];
        let beaten = all.iter().any(|other| {
            other.time_ms <= this.time_ms
                && other.exposed <= this.exposed
                && (other.time_ms < this.time_ms || other.exposed < this.exposed)
        });
        all[at].best = !beaten;
    }
    all
}

fn time_of(sizes: &[u32], policy: &Policy, conditions: &Conditions) -> u64 {
    let fleet = sizes.last().copied().unwrap_or(0);
    let (upgrade, at_once) = (
        LogNormal::new(conditions.upgrade),
        policy.total_in_flight.of(fleet).max(1),
    );
    let mut before = 0;
    let mut total = 0.0;
    for &size in sizes {
        let n = size - before;
        before = size;
        let turns = turns(n, at_once, policy, upgrade.mean());
        #[expect(clippy::cast_precision_loss, reason = "turns are few")]
        let early = (turns - 1) as f64 * upgrade.mean();
        total += early + upgrade.longest_of(n.min(at_once), 0.5) + LogNormal::new(conditions.bake).longest_of(1, 0.5);
    }
    whole_ms(total)
}

/// How often as many as may be in flight start one after the other, the rate included; at least 1.
pub(super) fn turns(n: u32, at_once: u32, policy: &Policy, each_ms: f64) -> u64 {
    let by_cap = u64::from(n.div_ceil(at_once.max(1)).max(1));
    let Some(rate) = policy.rate else { return by_cap };
    // The last start comes so many whole windows after the first.
    let windows = u64::from(n.saturating_sub(1) / rate.targets.max(1));
    let span = windows.saturating_mul(rate.window_ms).min(LATEST_MS);
    by_cap.max(span.div_ceil(whole_ms(each_ms).max(1)) + 1)
}

/// A time of a trial as whole milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; what is longer than u64 is cut"
)]
pub(super) fn whole_ms(ms: f64) -> u64 {
    libm::round(ms.clamp(0.0, 1e15)) as u64
}
