//! The sequential test of one node.

use serde::{Deserialize, Serialize};

use crate::error::DetectorError;
use crate::outcome::Outcome;
use crate::run_length::{Walk, ln};
use crate::verdict::{Evidence, Shortage, Verdict};

/// Seconds of a Julian year, 365.25 days.
const SECONDS_PER_YEAR: f64 = 31_557_600.0;
/// Largest step a success may take. With this, the ratio of the steps can be met for any rates of practical interest.
const MAX_SUCCESS_STEP: u32 = 32;
/// How far the ratio of the integer steps may be from the ideal one, as a fraction of it. The loss of speed is of
/// second order in this, so three per cent cannot be seen.
const STEP_TOLERANCE: f64 = 1.0 / 32.0;

/// How seldom a healthy node may be called bad.
///
/// Held as the average run length: the mean number of requests from a fresh start to a false alarm.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct FalseAlarms {
    run_length: f64,
}

impl FalseAlarms {
    /// The longest run that may be asked for: 10^15 requests, a false alarm in 32,000 years at 1,000 requests/s.
    pub const MAX_RUN_LENGTH: f64 = 1e15;

    /// One false alarm in `requests` requests to a node, on average.
    ///
    /// # Errors
    ///
    /// [`DetectorError::RunLength`] outside 1 to [`MAX_RUN_LENGTH`](Self::MAX_RUN_LENGTH).
    pub fn every_requests(requests: f64) -> Result<Self, DetectorError> {
        if (1.0..=Self::MAX_RUN_LENGTH).contains(&requests) {
            Ok(Self { run_length: requests })
        } else {
            Err(DetectorError::RunLength { run_length: requests })
        }
    }

    /// At most `isolations` false alarms per node and year, if a node serves `requests_per_second`.
    ///
    /// The run length is `requests_per_second * 31,557,600 / isolations`. The test counts requests, not time: at twice
    /// the traffic there are twice as many false alarms, so state the rate of the busiest node.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if a number is not positive and finite, or the run length is outside 1 to
    /// [`MAX_RUN_LENGTH`](Self::MAX_RUN_LENGTH).
    pub fn per_node_year(isolations: f64, requests_per_second: f64) -> Result<Self, DetectorError> {
        if !(isolations.is_finite() && isolations > 0.0) {
            return Err(DetectorError::Isolations { isolations });
        }
        if !(requests_per_second.is_finite() && requests_per_second > 0.0) {
            return Err(DetectorError::RequestRate {
                per_second: requests_per_second,
            });
        }
        Self::every_requests(requests_per_second * SECONDS_PER_YEAR / isolations)
    }

    /// The wanted average run length, in requests.
    #[must_use]
    pub const fn run_length(self) -> f64 {
        self.run_length
    }
}

/// The rules of the test: a cumulative sum (CUSUM) of Bernoulli outcomes, the same for all nodes that share them.
///
/// Each failure adds `failure_step` to a node's score, each success takes `success_step`, the score never falls below
/// zero, and at the threshold the node is bad. With steps in the ratio
/// `ln(p1/p0) : ln((1-p0)/(1-p1))` this is Page's test (1954), the fastest there is for the change from `p0` to `p1`
/// at a given average run length (Moustakides 1986). The steps here are the smallest integers within 3 % of that
/// ratio, and the threshold is the smallest whose exact run length is at least the wanted one.
///
/// # What the run length promises
///
/// Starting afresh after each alarm, a healthy node raises at most `n / average_run_length` alarms in expectation
/// within *any* `n` requests, not only in the long run: the score starts at its lowest value, so a started run is
/// never better than a new one, and for such renewals the bound holds at all times (Barlow and Proschan 1975). By
/// Markov's inequality this also bounds the probability of any alarm within `n` requests. A lower failure rate than
/// `p0` only makes alarms rarer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detector {
    healthy_rate: f64,
    bad_rate: f64,
    failure_step: u32,
    success_step: u32,
    threshold: u32,
    average_run_length: f64,
    warm_up_requests: u64,
    max_silence_ms: u64,
}

/// What is known about one node: 64 bytes, to be copied, stored and restored at will.
///
/// Belongs to the [`Detector`] that filled it; another one's steps make no sense of its score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    score: u32,
    failures: u64,
    successes: u64,
    began_ms: u64,
    /// Requests since the start or the last long silence.
    seen: u64,
    last_ms: u64,
    bad_since_ms: Option<u64>,
}

impl NodeState {
    /// A node nothing is known about. Also the way to give a bad node another chance.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            score: 0,
            failures: 0,
            successes: 0,
            began_ms: 0,
            seen: 0,
            last_ms: 0,
            bad_since_ms: None,
        }
    }
}

impl Detector {
    /// A test of `healthy_rate` (p0) against `bad_rate` (p1), both fractions of requests that fail.
    ///
    /// `max_silence_ms` is how long after its last request a node may still be called healthy.
    /// Computes the threshold exactly; microseconds for rates of a per cent, about a second for the finest accepted
    /// (0.01 % against 0.1 % takes a quarter of one). Build it once and share it.
    ///
    /// # Errors
    ///
    /// [`DetectorError`] if a rate is not between 0 and 1, `bad_rate` is not above `healthy_rate`, the two are too
    /// close together or too small for the exact computation, or `max_silence_ms` is 0.
    pub fn new(
        healthy_rate: f64,
        bad_rate: f64,
        false_alarms: FalseAlarms,
        max_silence_ms: u64,
    ) -> Result<Self, DetectorError> {
        let (healthy, bad) = (healthy_rate, bad_rate);
        for (which, rate) in [("healthy", healthy), ("bad", bad)] {
            // Written so that NaN fails.
            if !(rate > 0.0 && rate < 1.0) {
                return Err(DetectorError::Rate { which, rate });
            }
        }
        if healthy >= bad {
            return Err(DetectorError::RatesNotOrdered { healthy, bad });
        }
        if max_silence_ms == 0 {
            return Err(DetectorError::Silence);
        }
        let (failure_step, success_step) = steps(healthy, bad).ok_or(DetectorError::TooClose { healthy, bad })?;
        let walk = |failure_rate| Walk {
            up: failure_step,
            down: success_step,
            failure_rate,
        };
        let wanted = false_alarms.run_length();
        let too_fine = DetectorError::TooFine {
            healthy,
            bad,
            run_length: wanted,
        };
        let (threshold, average_run_length) = walk(healthy)
            .mean_until_alarm(|_, mean| mean >= wanted)
            .ok_or(too_fine)?;
        let (_, delay) = walk(bad).mean_until_alarm(|h, _| h == threshold).ok_or(too_fine)?;
        Ok(Self {
            healthy_rate,
            bad_rate,
            failure_step,
            success_step,
            threshold,
            average_run_length,
            warm_up_requests: whole(delay.ceil()),
            max_silence_ms,
        })
    }

    /// Adds one outcome to what is known about a node.
    ///
    /// Outcomes count in the order of the calls. `now_ms` only dates them; a clock that goes back is taken to stand
    /// still. After the alarm the state no longer changes, so that the evidence stays what it was.
    pub fn record(&self, node: &mut NodeState, outcome: Outcome, now_ms: u64) {
        if node.bad_since_ms.is_some() {
            return;
        }
        let now_ms = now_ms.max(node.last_ms);
        // After a long silence "healthy" must be earned again. The score stays: silence excuses nothing.
        if now_ms - node.last_ms > self.max_silence_ms {
            node.seen = 0;
        }
        node.seen = node.seen.saturating_add(1);
        node.last_ms = now_ms;
        match outcome {
            Outcome::Failure => {
                if node.score == 0 {
                    node.began_ms = now_ms;
                }
                node.failures = node.failures.saturating_add(1);
                node.score = node.score.saturating_add(self.failure_step);
                if node.score >= self.threshold {
                    node.bad_since_ms = Some(now_ms);
                }
            }
            // At the floor the run is over and its counts with it; what is cut off below zero is forgotten.
            Outcome::Success if node.score <= self.success_step => {
                node.score = 0;
                node.failures = 0;
                node.successes = 0;
            }
            Outcome::Success => {
                node.score -= self.success_step;
                node.successes = node.successes.saturating_add(1);
            }
        }
    }

    /// What is to be said about a node at `now_ms`.
    #[must_use]
    pub fn verdict(&self, node: &NodeState, now_ms: u64) -> Verdict {
        let evidence = Evidence {
            failures: node.failures,
            successes: node.successes,
            began_ms: (node.score > 0).then_some(node.began_ms),
            score: node.score,
            threshold: self.threshold,
            failure_step: self.failure_step,
            success_step: self.success_step,
            healthy_rate: self.healthy_rate,
            bad_rate: self.bad_rate,
            average_run_length: self.average_run_length,
        };
        let silent_ms = now_ms.saturating_sub(node.last_ms);
        if let Some(since_ms) = node.bad_since_ms {
            Verdict::Bad { since_ms, evidence }
        } else if node.score >= self.threshold.div_ceil(2) {
            Verdict::Suspect { evidence }
        } else if node.seen > 0 && silent_ms > self.max_silence_ms {
            Verdict::NotEnough {
                shortage: Shortage::Silence {
                    last_ms: node.last_ms,
                    silent_ms,
                },
                evidence,
            }
        } else if node.seen < self.warm_up_requests {
            let shortage = Shortage::Requests {
                seen: node.seen,
                needed: self.warm_up_requests,
            };
            Verdict::NotEnough { shortage, evidence }
        } else {
            Verdict::Healthy { evidence }
        }
    }

    /// Mean number of requests from a fresh state to the alarm, at a constant failure rate, the alarming request
    /// included: between false alarms if that rate is healthy, the delay of detection if not.
    ///
    /// Exact, from the same table as the threshold and at the same cost. Infinite if beyond the range of `f64`.
    ///
    /// # Errors
    ///
    /// [`DetectorError::Rate`] unless the rate is above 0 and at most 1.
    pub fn mean_requests_to_alarm(&self, failure_rate: f64) -> Result<f64, DetectorError> {
        let bad_input = DetectorError::Rate {
            which: "assumed",
            rate: failure_rate,
        };
        if !(failure_rate > 0.0 && failure_rate <= 1.0) {
            return Err(bad_input);
        }
        let walk = Walk {
            up: self.failure_step,
            down: self.success_step,
            failure_rate,
        };
        // A table of this size was built once already, so it is found again.
        walk.mean_until_alarm(|h, _| h == self.threshold)
            .map(|(_, mean)| mean)
            .ok_or(bad_input)
    }

    /// Mean number of requests between false alarms at the healthy rate: at least what was asked for, and usually
    /// more, since scores come in whole steps.
    #[must_use]
    pub const fn average_run_length(&self) -> f64 {
        self.average_run_length
    }

    /// Requests without which a node is not called healthy: the mean number a node at the bad rate needs to be found.
    #[must_use]
    pub const fn warm_up_requests(&self) -> u64 {
        self.warm_up_requests
    }

    /// The score at which a node is bad.
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// What a failure adds to the score.
    #[must_use]
    pub const fn failure_step(&self) -> u32 {
        self.failure_step
    }

    /// What a success takes from the score.
    #[must_use]
    pub const fn success_step(&self) -> u32 {
        self.success_step
    }
}

/// The smallest integers close enough to the ideal ratio of the steps, that of the two log likelihood ratios.
fn steps(p0: f64, p1: f64) -> Option<(u32, u32)> {
    let ratio = ln(p1 / p0) / ln((1.0 - p0) / (1.0 - p1));
    (1..=MAX_SUCCESS_STEP).find_map(|down| {
        let success = f64::from(down);
        let failure = (ratio * success).round();
        let close = (failure - ratio * success).abs() <= STEP_TOLERANCE * ratio * success;
        // The score must drift down at p0 and up at p1, or it tells nothing; for rates close together this is
        // stricter than the tolerance.
        let drifts = failure * p0 < success * (1.0 - p0) && failure * p1 > success * (1.0 - p1);
        // A step beyond u32 is refused where the table is made: too fine, not too close.
        (failure >= 1.0 && close && drifts).then(|| (u32::try_from(whole(failure)).unwrap_or(u32::MAX), down))
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and the callers' are >= 1"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}
