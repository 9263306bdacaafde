//! How many calls at once: a limit that follows what the other side can do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::detector::u64_to_f64;
use crate::error::PolicyError;
use crate::outcome::{Ending, Outcome};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Priorities of calls: 0 matters most.
pub const PRIORITIES: usize = 128;
/// Windows whose throughput is held against their concurrency.
const WINDOWS: usize = 50;
/// As few of them say nothing.
const FEWEST_WINDOWS: usize = 10;
/// Calls without which a window says nothing.
const FEWEST_CALLS: u64 = 10;
/// Share of calls that may be lost before the limit gives way.
const LOST_SHARE: f64 = 0.02;

/// Bounds of a [`Limiter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "users write it with `..LimiterSettings::default()`"
)]
pub struct LimiterSettings {
    /// The limit at the start. Default 20.
    pub initial: u32,
    /// Never below this. Default 1.
    pub lowest: u32,
    /// Never above this. Default 1,000.
    pub highest: u32,
}

impl Default for LimiterSettings {
    fn default() -> Self {
        Self {
            initial: 20,
            lowest: 1,
            highest: 1_000,
        }
    }
}

/// Limits the calls that are under way at once, for one class of requests that cost about the same.
///
/// Latency alone cannot tell a queue from a slow dependency, so a window of calls is asked three things, in this order:
/// were calls lost; did throughput fall while concurrency rose; and how many of the calls under way only wait, which is
/// `limit * (1 - base / latency)`, where latencies are means and the base is that of windows in which less than half of
/// the limit was in use. Traffic is never held back to measure. A limit that is not reached does not move.
///
/// Callers hold a [`Gate`]; the owner calls [`close_window`](Self::close_window), every 100 ms to a second. Eject bad nodes
/// first: to a limiter one bad node among ten looks like a tenth of everybody's calls being slow.
#[derive(Debug)]
pub struct Limiter {
    gate: Arc<Shared>,
    settings: LimiterSettings,
    limit: f64,
    closed_ms: Option<u64>,
    /// Mean latency without a queue, in microseconds.
    base_us: Option<f64>,
    /// Concurrency and throughput of the last windows that reached the limit, the oldest overwritten.
    history: [(f32, f32); WINDOWS],
    windows: usize,
}

#[derive(Debug)]
struct Shared {
    in_flight: AtomicU32,
    limit: AtomicU32,
    /// Lowest priority that is admitted.
    level: AtomicU32,
    /// Of the window.
    peak: AtomicU32,
    answered: AtomicU32,
    lost: AtomicU32,
    rejected: AtomicU32,
    latency_sum_us: AtomicU64,
    arrived: [AtomicU32; PRIORITIES],
}

/// Where calls ask whether they may go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

/// A call that may go. One that is dropped counts as the client's going away: it frees its place and says nothing.
#[derive(Debug)]
pub struct Pass {
    shared: Arc<Shared>,
}

/// What closing a window came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitChange {
    /// Calls at once, from now on.
    pub limit: u32,
    /// Calls of this priority and of all that matter more are admitted; tell callers, so that they need not ask.
    pub level: u8,
    /// Why.
    pub reason: LimitReason,
    /// Answers in the window.
    pub answered: u64,
    /// Time-outs, failures and refusals.
    pub lost: u64,
    /// Calls under way that only waited, by estimate.
    pub queue: f64,
}

/// Why a limit moved, or did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitReason {
    /// Too few calls to say anything: unchanged.
    TooFewCalls,
    /// Less than half of it was in use: unchanged.
    NotReached,
    /// Calls were lost: down by a tenth.
    Lost,
    /// More at once has meant less done: down by a twentieth.
    ThroughputFell,
    /// Too many only waited: down by a twentieth.
    Queue,
    /// Hardly any waited: up.
    Room,
    /// Some waited, as they should: unchanged.
    Balanced,
}

impl Limiter {
    /// A limiter with its gate open to `settings.initial` calls.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if a bound is 0 or the three are not in order.
    pub fn new(settings: LimiterSettings) -> Result<Self, PolicyError> {
        for (field, value) in [("lowest", settings.lowest), ("highest", settings.highest)] {
            if value == 0 {
                return Err(PolicyError::Positive { field, value: 0.0 });
            }
        }
        let bounds = [
            ("initial", settings.initial, "lowest", settings.lowest),
            ("highest", settings.highest, "initial", settings.initial),
        ];
        for (field, value, above, limit) in bounds {
            if value < limit {
                return Err(PolicyError::Order {
                    field,
                    value: f64::from(value),
                    above,
                    limit: f64::from(limit),
                });
            }
        }
        Ok(Self {
            gate: Arc::new(Shared {
                in_flight: AtomicU32::new(0),
                limit: AtomicU32::new(settings.initial),
                level: AtomicU32::new(u32::from(LEAST)),
                peak: AtomicU32::new(0),
                answered: AtomicU32::new(0),
                lost: AtomicU32::new(0),
                rejected: AtomicU32::new(0),
                latency_sum_us: AtomicU64::new(0),
                arrived: std::array::from_fn(|_| AtomicU32::new(0)),
            }),
            limit: f64::from(settings.initial),
            settings,
            closed_ms: None,
            base_us: None,
            history: [(0.0, 0.0); WINDOWS],
            windows: 0,
        })
    }

    /// What callers ask.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate {
            shared: Arc::clone(&self.gate),
        }
    }

    /// Calls at once, just now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.gate.limit.load(Ordering::Relaxed)
    }

    /// Draws the conclusion from the calls that ended since the last time. A clock that stands or goes back closes nothing.
    pub fn close_window(&mut self, now_ms: u64) -> LimitChange {
        let elapsed_ms = now_ms.saturating_sub(*self.closed_ms.get_or_insert(now_ms));
        let answered = u64::from(self.gate.answered.load(Ordering::Relaxed));
        let lost = u64::from(self.gate.lost.load(Ordering::Relaxed));
        let mut change = LimitChange {
            limit: self.limit(),
            level: self.level(),
            reason: LimitReason::TooFewCalls,
            answered,
            lost,
            queue: 0.0,
        };
        if elapsed_ms == 0 || answered + lost < FEWEST_CALLS {
            return change;
        }
        self.closed_ms = Some(now_ms);
        let take = |counter: &AtomicU32| counter.swap(0, Ordering::Relaxed);
        take(&self.gate.answered);
        take(&self.gate.lost);
        let rejected = take(&self.gate.rejected);
        let peak = self
            .gate
            .peak
            .swap(self.gate.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
        let latency_sum_us = self.gate.latency_sum_us.swap(0, Ordering::Relaxed);
        let reached = f64::from(peak) * 2.0 >= self.limit;
        if answered > 0 {
            change.queue = self.queue(u64_to_f64(latency_sum_us) / u64_to_f64(answered), reached);
        }
        change.reason = self.reason(&change, reached, latency_sum_us, elapsed_ms);
        let root = self.limit.sqrt();
        self.limit = match change.reason {
            LimitReason::Lost => self.limit * 0.9,
            LimitReason::ThroughputFell | LimitReason::Queue => self.limit * 0.95,
            LimitReason::Room => self.limit + (root / 4.0).max(1.0),
            LimitReason::TooFewCalls | LimitReason::NotReached | LimitReason::Balanced => self.limit,
        }
        .clamp(f64::from(self.settings.lowest), f64::from(self.settings.highest));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two u32")]
        let limit = self.limit.round() as u32;
        self.gate.limit.store(limit, Ordering::Relaxed);
        change.limit = limit;
        change.level = self.choose_level(rejected);
        change
    }

    fn level(&self) -> u8 {
        u8::try_from(self.gate.level.load(Ordering::Relaxed)).map_or(LEAST, |level| level.min(LEAST))
    }

    /// How many of those under way only wait.
    fn queue(&mut self, mean_us: f64, reached: bool) -> f64 {
        let base_us = match self.base_us {
            None => mean_us,
            // Faster is always true. Slower is believed where there was no queue to make it so, and slowly.
            Some(base_us) if mean_us < base_us => mean_us,
            Some(base_us) if !reached => base_us + 0.1 * (mean_us - base_us),
            Some(base_us) => base_us,
        };
        self.base_us = Some(base_us);
        self.limit * (1.0 - base_us / mean_us.max(1.0)).max(0.0)
    }

    fn reason(&mut self, change: &LimitChange, reached: bool, latency_sum_us: u64, elapsed_ms: u64) -> LimitReason {
        if !reached {
            return LimitReason::NotReached;
        }
        let (answered, lost) = (u64_to_f64(change.answered), u64_to_f64(change.lost));
        if lost > LOST_SHARE * (answered + lost) {
            return LimitReason::Lost;
        }
        let elapsed_us = u64_to_f64(elapsed_ms) * 1_000.0;
        // Little's law: calls under way on average are the sum of their latencies over the time.
        #[expect(clippy::cast_possible_truncation, reason = "averages")]
        let window = (
            (u64_to_f64(latency_sum_us) / elapsed_us) as f32,
            (answered / elapsed_us) as f32,
        );
        self.history[self.windows % WINDOWS] = window;
        self.windows += 1;
        let root = self.limit.sqrt();
        if self.correlation().is_some_and(|correlation| correlation < -0.5) {
            // Judged anew from here on: the windows that said so are from above.
            self.windows = 0;
            LimitReason::ThroughputFell
        } else if change.queue > 1.5 * root {
            LimitReason::Queue
        } else if change.queue < 0.5 * root {
            LimitReason::Room
        } else {
            LimitReason::Balanced
        }
    }

    /// Of concurrency and throughput. `None` of too few windows, or if one of them did not vary.
    fn correlation(&self) -> Option<f32> {
        let windows = &self.history[..self.windows.min(WINDOWS)];
        if windows.len() < FEWEST_WINDOWS {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "50 at most")]
        let count = windows.len() as f32;
        let mean = |pick: fn(&(f32, f32)) -> f32| windows.iter().map(pick).sum::<f32>() / count;
        let (x_mean, y_mean) = (mean(|w| w.0), mean(|w| w.1));
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for &(x, y) in windows {
            let (x, y) = (x / x_mean.max(1e-9) - 1.0, y / y_mean.max(1e-9) - 1.0);
            xx += x * x;
            yy += y * y;
            xy += x * y;
        }
        // A hundredth of variation in either is noise.
        (xx > 1e-4 * count && yy > 1e-4 * count).then(|| xy / (xx * yy).sqrt())
    }

    /// The lowest priority that is admitted. Where the limit has refused many: down to what would have fitted, less a
    /// twentieth (the step of WeChat's DAGOR). Where it has refused none: one more. A few refusals are the limit's work.
    fn choose_level(&self, rejected: u32) -> u8 {
        let old = self.level();
        let arrived: [u64; PRIORITIES] =
            std::array::from_fn(|i| u64::from(self.gate.arrived[i].swap(0, Ordering::Relaxed)));
        let admitted = arrived[..=usize::from(old)].iter().sum::<u64>();
        let rejected = u64::from(rejected);
        let level = if rejected == 0 {
            old.saturating_add(1).min(LEAST)
        } else if rejected * 20 <= admitted {
            old
        } else {
            let fits = admitted.saturating_sub(rejected) * 95 / 100;
            let mut sum = arrived[0];
            // The most important are the limit's business alone.
            let more = (1..=old).take_while(|&priority| {
                sum += arrived[usize::from(priority)];
                sum <= fits
            });
            more.last().unwrap_or(0)
        };
        self.gate.level.store(u32::from(level), Ordering::Relaxed);
        level
    }
}

/// The priority that matters least.
const LEAST: u8 = 127;

impl Gate {
    /// May one more call of this priority go? 0 matters most; what is above 127 counts as 127. `None` if not: record it as
    /// [`Ending::LimiterRejected`], nobody is to blame.
    #[must_use]
    pub fn enter(&self, priority: u8) -> Option<Pass> {
        let shared = &*self.shared;
        let priority = priority.min(LEAST);
        shared.arrived[usize::from(priority)].fetch_add(1, Ordering::Relaxed);
        if u32::from(priority) > shared.level.load(Ordering::Relaxed) {
            return None;
        }
        let under_way = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        if under_way > shared.limit.load(Ordering::Relaxed) {
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
            shared.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        shared.peak.fetch_max(under_way, Ordering::Relaxed);
        Some(Pass {
            shared: Arc::clone(&self.shared),
        })
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }
}

impl Pass {
    /// The call is over: how, and after how long. Endings that are not the other side's doing count neither way.
    pub fn end(self, ending: Ending, latency_us: u64) {
        let shared = &*self.shared;
        match ending.charge() {
            Some(Outcome::Success) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                shared.latency_sum_us.fetch_add(latency_us, Ordering::Relaxed);
            }
            Some(Outcome::Failure) => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
