//! How large the first batch and how long a bake must be for a fault to show: the power analysis, asked by a plan.

use serde::Serialize;
use unattended_batching::{Plan, PlanError};
use unattended_health::{Design, FaultClass, PowerError, Traffic};

use crate::machine::metrics;
use crate::{Change, Settings};

/// The share of the stop statistic that all evidence pooled has; the rest is for classes and applications.
const POOLED: f64 = 0.5;

/// What a fault has to show itself by: the traffic of a change, as it is known before it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "written literally by planners")]
pub struct Expected {
    /// Requests per second and target, on average, above 0.
    pub requests_per_s: f64,
    /// Own errors per request of the old version, above 0 and below 1.
    pub error_rate: f64,
    /// φ of these errors, at least 1; 1 where they come one by one.
    pub dispersion: f64,
}

/// What a batch can show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Shows {
    /// From 0.
    pub batch: u16,
    /// Targets on the new version up to and with it.
    pub targets: u64,
    /// Errors so many times as frequent are found within one bake, nine times of ten. `None`: not even a thousand times.
    pub smallest_ratio: Option<f64>,
    /// So long it takes until a good release has shown its safety, nine times of ten, in milliseconds. Where that is longer than
    /// [`bake_ms`](Settings::bake_ms), the batch waits for so long: volume ends a bake, not minutes alone.
    pub safe_after_ms: u64,
}

/// Why a change cannot be sized.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SizingError {
    /// The traffic is too thin for what is asked, or a number is out of range.
    #[error("{0}")]
    Power(#[from] PowerError),
    /// It cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is nobody to compare with.
    #[error("{0} targets: a canary and a control take two at least")]
    Few(u64),
}

impl Change {
    /// Has the first batch be large enough, and each bake long enough, that errors `ratio` times as frequent are found within one
    /// bake, and a good release can show its safety in it, nine times of ten each. Neither becomes less than it was; the longest
    /// bake is `longest_bake_ms`, and the longer it may be the smaller the first batch.
    ///
    /// # Errors
    /// [`SizingError`] says what could be found at this traffic.
    pub fn sized(mut self, expected: &Expected, ratio: f64, longest_bake_ms: u64) -> Result<Self, SizingError> {
        let hosts = self.fleet.len() as u64;
        if hosts < 2 {
            return Err(SizingError::Few(hosts));
        }
        let traffic = Traffic {
            hosts,
            requests_per_s: expected.requests_per_s,
            base_rates: &[expected.error_rate],
        };
        let canary = design(&self.settings, expected).smallest_canary(&traffic, ratio, seconds(longest_bake_ms))?;
        let targets = u32::try_from(canary.hosts).unwrap_or(u32::MAX);
        self.policy = self.policy.detection_targets(targets);
        let needed_ms = milliseconds(canary.detection_s.max(canary.promotion_s));
        self.settings.bake_ms = self.settings.bake_ms.max(needed_ms.min(longest_bake_ms));
        Ok(self)
    }

    /// What each batch of its plan can show within one bake, at this traffic, where all others are its control; the last batch has
    /// none. The plan is made for it: ask before the change is started.
    ///
    /// # Errors
    /// [`SizingError::Power`] for numbers out of range, [`SizingError::Plan`] where there is no plan.
    pub fn shows(&self, expected: &Expected) -> Result<Vec<Shows>, SizingError> {
        let plan = Plan::build(&self.fleet, &self.policy, self.seed)?;
        let design = design(&self.settings, expected);
        let all = plan.len() as u64;
        let mut shown = Vec::new();
        for (batch, size) in (0..).zip(plan.batches()) {
            let targets = u64::from(size.cumulative);
            if targets >= all {
                break;
            }
            #[expect(clippy::cast_precision_loss, reason = "a share of a fleet")]
            let (share, per_s) = (targets as f64 / all as f64, expected.requests_per_s * all as f64);
            let requests = per_s * seconds(self.settings.bake_ms).max(1.0);
            shown.push(Shows {
                batch,
                targets,
                smallest_ratio: design.smallest_ratio(expected.error_rate, share, requests)?,
                safe_after_ms: milliseconds(design.promotion(expected.error_rate, share)?.requests / per_s),
            });
        }
        Ok(shown)
    }
}

/// The smallest ratio that is found from so many requests of both arms; `None` where it is above a thousand, or traffic shows nothing.
pub(crate) fn smallest_ratio(settings: &Settings, expected: &Expected, share: f64, requests: f64) -> Option<f64> {
    let design = design(settings, expected);
    design
        .smallest_ratio(expected.error_rate, share, requests)
        .ok()
        .flatten()
}

fn design(settings: &Settings, expected: &Expected) -> Design {
    // Own errors of requests have to do it alone.
    let errors = metrics().into_iter().find(|metric| metric.class == FaultClass::Own);
    Design {
        alpha: settings.alpha,
        beta: settings.beta,
        delta: settings.delta,
        weight: POOLED * errors.map_or(1.0, |metric| metric.weight),
        dispersion: expected.dispersion,
        ..Design::default()
    }
}

fn seconds(ms: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "spans are far below 2^53 ms")]
    let ms = ms as f64;
    ms / 1_000.0
}

/// Rounded up: a bake that is a little too short shows nothing.
fn milliseconds(seconds: f64) -> u64 {
    let ms = libm::ceil(seconds * 1_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against both ends"
    )]
    let whole = if (0.0..9e15).contains(&ms) { ms as u64 } else { u64::MAX };
    whole
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use unattended_batching::{Fleet, Policy};

    use super::*;
    use crate::Actor;

    const MINUTE_MS: u64 = 60_000;
    const BUSY: Expected = Expected {
        requests_per_s: 2.0,
        error_rate: 1e-3,
        dispersion: 1.0,
    };

    fn change(targets: u32) -> Change {
        let mut fleet = Fleet::builder();
        for at in 0..targets {
            fleet
                .push(&format!("pay-{at}"), &format!("pay-{}", at / 20), [("zone", "a")], true)
                .unwrap();
        }
        let fleet = Arc::new(fleet.build().unwrap());
        let settings = Settings {
            bake_ms: 10 * MINUTE_MS,
            ..Settings::default()
        };
        Change::new("c", Actor::person("li", ""), "1".into(), "2".into(), fleet).settings(settings)
    }

    fn plan(change: &Change) -> Plan {
        Plan::build(&change.fleet, &change.policy, change.seed).unwrap()
    }

    #[test]
    fn the_first_batch_and_the_bake_are_as_large_as_it_takes() {
        let sized = change(2_000).sized(&BUSY, 3.0, 30 * MINUTE_MS).unwrap();
        let (before, after) = (plan(&change(2_000)), plan(&sized));
        assert!(
            before.batch(0).size < after.batch(0).size,
            "{:?} {:?}",
            before.batch(0),
            after.batch(0)
        );
        let bake_ms = sized.settings.bake_ms;
        assert!((10 * MINUTE_MS..=30 * MINUTE_MS).contains(&bake_ms), "{bake_ms}");
        let first = sized.shows(&BUSY).unwrap()[0];
        assert!(first.smallest_ratio.is_some_and(|ratio| ratio <= 3.0), "{first:?}");
        assert!(first.safe_after_ms <= bake_ms, "{first:?}");
        // One target fewer, and it would not do.
        let canary = u64::from(after.batch(0).size);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let share = (canary - 1) as f64 / 2_000.0;
        let design = design(&sized.settings, &BUSY);
        let needs = design
            .promotion(1e-3, share)
            .unwrap()
            .requests
            .max(design.detection(1e-3, 3.0, share).unwrap().requests);
        assert!(needs / 4_000.0 > 30.0 * 60.0, "{needs}");
        // Four times the traffic, and fewer do.
        let busier = Expected {
            requests_per_s: 8.0,
            ..BUSY
        };
        let busier = plan(&change(2_000).sized(&busier, 3.0, 30 * MINUTE_MS).unwrap());
        assert!(busier.batch(0).size < after.batch(0).size, "{:?}", busier.batch(0));
    }

    #[test]
    fn later_batches_show_more() {
        let sized = change(2_000).sized(&BUSY, 3.0, 30 * MINUTE_MS).unwrap();
        let shown = sized.shows(&BUSY).unwrap();
        assert!(shown.len() > 3, "{shown:?}");
        for pair in shown.windows(2).take_while(|pair| pair[1].targets <= 1_000) {
            assert!(pair[1].smallest_ratio < pair[0].smallest_ratio, "{pair:?}");
            assert!(pair[1].safe_after_ms < pair[0].safe_after_ms, "{pair:?}");
        }
        // What comes in bursts says less.
        let bursts = Expected {
            dispersion: 4.0,
            ..BUSY
        };
        let less = sized.shows(&bursts).unwrap();
        assert!(
            less[0].smallest_ratio > shown[0].smallest_ratio,
            "{:?} {:?}",
            less[0],
            shown[0]
        );
    }

    #[test]
    fn what_cannot_be_found_is_said() {
        let thin = Expected {
            requests_per_s: 0.01,
            ..BUSY
        };
        let error = change(100).sized(&thin, 1.5, 10 * MINUTE_MS).unwrap_err();
        assert!(error.to_string().contains("undetectable at this traffic"), "{error}");
        // In words, whatever is found.
        for ratio in [1.0001, 1.5] {
            let text = change(100).sized(&thin, ratio, 10 * MINUTE_MS).unwrap_err().to_string();
            assert!(!text.contains("Some(") && !text.contains("None"), "{text}");
            assert!(
                text.contains("ratio of ") || text.contains("no ratio up to 1000"),
                "{text}"
            );
        }
        let alone = change(1).sized(&BUSY, 3.0, MINUTE_MS);
        assert!(matches!(alone, Err(SizingError::Few(1))), "{alone:?}");
        let wrong = Expected {
            error_rate: 0.0,
            ..BUSY
        };
        assert!(matches!(
            change(100).sized(&wrong, 3.0, MINUTE_MS),
            Err(SizingError::Power(_))
        ));
        let busy = Expected {
            requests_per_s: 50.0,
            ..BUSY
        };
        let kept = change(100)
            .policy(Policy::new().detection_targets(1))
            .sized(&busy, 900.0, 10 * MINUTE_MS);
        assert_eq!(
            kept.unwrap().settings.bake_ms,
            10 * MINUTE_MS,
            "a bake is never made shorter"
        );
    }
}
