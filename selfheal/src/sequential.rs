//! The sequential test of one node: exact thresholds, and a score that fits one word.

use serde::{Deserialize, Serialize};

use crate::error::TestError;
use crate::outcome::Outcome;
use crate::run_length::Walk;

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
    /// [`TestError::RunLength`] outside 1 to [`MAX_RUN_LENGTH`](Self::MAX_RUN_LENGTH).
    pub fn every_requests(requests: f64) -> Result<Self, TestError> {
        if (1.0..=Self::MAX_RUN_LENGTH).contains(&requests) {
            Ok(Self { run_length: requests })
        } else {
            Err(TestError::RunLength { run_length: requests })
        }
    }

    /// At most `isolations` false alarms per node and year, if a node serves `requests_per_second`.
    ///
    /// The run length is `requests_per_second * 31,557,600 / isolations`. The test counts requests, not time: at twice
    /// the traffic there are twice as many false alarms, so state the rate of the busiest node.
    ///
    /// # Errors
    ///
    /// [`TestError`] if a number is not positive and finite, or the run length is outside 1 to
    /// [`MAX_RUN_LENGTH`](Self::MAX_RUN_LENGTH).
    pub fn per_node_year(isolations: f64, requests_per_second: f64) -> Result<Self, TestError> {
        if !(isolations.is_finite() && isolations > 0.0) {
            return Err(TestError::Isolations { isolations });
        }
        if !(requests_per_second.is_finite() && requests_per_second > 0.0) {
            return Err(TestError::RequestRate {
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
pub struct SequentialTest {
    healthy_rate: f64,
    bad_rate: f64,
    failure_step: u32,
    success_step: u32,
    threshold: u32,
    average_run_length: f64,
    warm_up_requests: u64,
}

/// What each outcome does to a [`Score`], and where the alarm is. One word.
///
/// Low to high: threshold 20 bits, failure step 20 bits, success step 6 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps(u64);

impl Steps {
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The score at which a node is bad.
    #[must_use]
    pub const fn threshold(self) -> u32 {
        (self.0 & SCORE_MASK) as u32
    }

    /// What a failure adds to the score.
    #[must_use]
    pub const fn failure(self) -> u32 {
        ((self.0 >> 20) & SCORE_MASK) as u32
    }

    /// What a success takes from it.
    #[must_use]
    pub const fn success(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// The score after one more outcome.
    ///
    /// It stops at the threshold, and the first time it gets there raises the alarm, which stays with the counts as they
    /// were until the score is back at zero. So whoever looks seldom misses none, and a node that has recovered clears
    /// itself.
    #[must_use]
    #[inline]
    pub const fn after(self, score: Score, outcome: Outcome) -> Score {
        let value = score.0 & SCORE_MASK;
        match outcome {
            Outcome::Success => {
                let step = self.0 >> 40;
                if value <= step {
                    // At the floor the run is over and its counts with it; what is cut off below zero is forgotten.
                    return Score::ZERO;
                }
                // One success more, unless the alarm froze the counts or they are full.
                let free = !score.alarmed() && score.successes() < SUCCESSES_MAX;
                Score(score.0 - step + ((free as u64) << SUCCESSES_SHIFT))
            }
            Outcome::Failure => {
                let threshold = self.0 & SCORE_MASK;
                let raised = value + ((self.0 >> 20) & SCORE_MASK);
                let free = !score.alarmed() && score.failures() < FAILURES_MAX;
                let rest = (score.0 & !SCORE_MASK) + ((free as u64) << FAILURES_SHIFT);
                if raised >= threshold {
                    Score(rest | threshold | ALARM)
                } else {
                    Score(rest | raised)
                }
            }
        }
    }
}

const SCORE_MASK: u64 = (1 << 20) - 1;
const ALARM: u64 = 1 << 20;
const FAILURES_SHIFT: u32 = 21;
const FAILURES_MASK: u64 = (1 << 21) - 1;
const FAILURES_MAX: u32 = (1 << 21) - 1;
const SUCCESSES_SHIFT: u32 = 42;
const SUCCESSES_MAX: u32 = (1 << 22) - 1;

/// The state of the test of one node: one word, to be copied, stored and restored at will.
///
/// Belongs to the [`Steps`] that made it; other steps make no sense of its value. Low to high: value 20 bits, alarm,
/// failures 21 bits, successes 22 bits. Until the alarm, `value = failure step * failures - success step * successes`;
/// the counts are those of the *run*, everything since the value was last zero, and stop where they are full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(u64);

impl Score {
    /// A node that nothing speaks against.
    pub const ZERO: Self = Self(0);

    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The value, in lattice steps.
    #[must_use]
    pub const fn value(self) -> u32 {
        (self.0 & SCORE_MASK) as u32
    }

    /// The threshold was reached, and the value has not been zero since.
    #[must_use]
    pub const fn alarmed(self) -> bool {
        self.0 & ALARM != 0
    }

    /// Failures of the run, up to the alarm.
    #[must_use]
    pub const fn failures(self) -> u32 {
        ((self.0 >> FAILURES_SHIFT) & FAILURES_MASK) as u32
    }

    /// Successes of the run, up to the alarm.
    #[must_use]
    pub const fn successes(self) -> u32 {
        (self.0 >> SUCCESSES_SHIFT) as u32
    }

    /// The same run under other steps: what its counts are worth there.
    #[must_use]
    pub(crate) fn under(self, steps: Steps) -> Self {
        if self.0 == 0 {
            return self;
        }
        let up = u64::from(self.failures()) * u64::from(steps.failure());
        let value = up.saturating_sub(u64::from(self.successes()) * u64::from(steps.success()));
        let counts = self.0 & !(SCORE_MASK | ALARM);
        match value {
            0 => Self::ZERO,
            value if value >= u64::from(steps.threshold()) => Self(counts | u64::from(steps.threshold()) | ALARM),
            value => Self(counts | value),
        }
    }

    /// Half-way to the alarm, for a node that has been bad: it needs half the failures (the fast initial response of
    /// Lucas and Crosier, 1982).
    #[must_use]
    pub(crate) const fn head_start(steps: Steps) -> Self {
        Self((steps.threshold() / 2) as u64)
    }
}

impl SequentialTest {
    /// A test of `healthy_rate` (p0) against `bad_rate` (p1), both fractions of requests that fail.
    ///
    /// Computes the threshold exactly; microseconds for rates of a per cent, about a second for the finest accepted
    /// (0.01 % against 0.1 % takes a quarter of one). Build it once and share it.
    ///
    /// # Errors
    ///
    /// [`TestError`] if a rate is not between 0 and 1, `bad_rate` is not above `healthy_rate`, the two are too
    /// close together or too small for the exact computation.
    pub fn new(healthy_rate: f64, bad_rate: f64, false_alarms: FalseAlarms) -> Result<Self, TestError> {
        let (healthy, bad) = (healthy_rate, bad_rate);
        for (which, rate) in [("healthy", healthy), ("bad", bad)] {
            // Written so that NaN fails.
            if !(rate > 0.0 && rate < 1.0) {
                return Err(TestError::Rate { which, rate });
            }
        }
        if healthy >= bad {
            return Err(TestError::RatesNotOrdered { healthy, bad });
        }
        let (failure_step, success_step) = steps(healthy, bad).ok_or(TestError::TooClose { healthy, bad })?;
        let walk = |failure_rate| Walk {
            up: failure_step,
            down: success_step,
            failure_rate,
        };
        let wanted = false_alarms.run_length();
        let too_fine = TestError::TooFine {
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
        })
    }

    /// Mean number of requests from a fresh state to the alarm, at a constant failure rate, the alarming request
    /// included: between false alarms if that rate is healthy, the delay of detection if not.
    ///
    /// Exact, from the same table as the threshold and at the same cost. Infinite if beyond the range of `f64`.
    ///
    /// # Errors
    ///
    /// [`TestError::Rate`] unless the rate is above 0 and at most 1.
    pub fn mean_requests_to_alarm(&self, failure_rate: f64) -> Result<f64, TestError> {
        let bad_input = TestError::Rate {
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

    /// The steps and the threshold.
    #[must_use]
    pub const fn steps(&self) -> Steps {
        // Both are within 2^18 and 32: the table that was solved bounds them.
        Steps((self.threshold as u64) | ((self.failure_step as u64) << 20) | ((self.success_step as u64) << 40))
    }

    /// The failure rate that counts as healthy, a fraction.
    #[must_use]
    pub const fn healthy_rate(&self) -> f64 {
        self.healthy_rate
    }

    /// The failure rate the test is tuned to find, a fraction.
    #[must_use]
    pub const fn bad_rate(&self) -> f64 {
        self.bad_rate
    }
}

/// The smallest integers close enough to the ideal ratio of the steps, that of the two log likelihood ratios.
fn steps(p0: f64, p1: f64) -> Option<(u32, u32)> {
    // From `libm`: the platform's own differs in the last bit from system to system, which could round a step apart.
    let ratio = libm::log(p1 / p0) / libm::log((1.0 - p0) / (1.0 - p1));
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
