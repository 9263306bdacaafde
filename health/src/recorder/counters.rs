//! Counts by outcome and latency, stored sparsely: a controller holds those of every host.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::buckets::{BUCKETS, LatencyBound, bound_of};
use crate::{Counts, FaultClass, HostCounts};

/// Served, and one for each fault class.
pub(super) const OUTCOMES: usize = 1 + FaultClass::ALL.len();
/// All cells: outcome · [`BUCKETS`] + bucket.
pub(super) const CELLS: usize = OUTCOMES * BUCKETS;
/// Counters stay below this: sums of many of them are then exact.
const MAX_COUNTER: u64 = 1 << 63;

/// How many requests ended how, and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Counters {
    /// Cells that are not 0, in rising order.
    pub(super) cells: Vec<(u16, u64)>,
    /// Failed requests counted once per client and interval, by class.
    pub(super) episodes: [u64; FaultClass::ALL.len()],
    pub(super) sum_us: u64,
}

/// The cells of one outcome.
const fn outcome_of(class: FaultClass) -> usize {
    1 + class.index()
}

impl Counters {
    fn of_outcome(&self, outcome: usize) -> impl Iterator<Item = (usize, u64)> {
        let cells = self.cells.iter().map(|&(cell, count)| (usize::from(cell), count));
        cells
            .filter(move |(cell, _)| cell / BUCKETS == outcome)
            .map(|(cell, count)| (cell % BUCKETS, count))
    }

    /// Non-empty buckets of `served`, or of a class.
    pub(super) fn cells_of(&self, class: Option<FaultClass>) -> Vec<(u8, u64)> {
        let cells = self.of_outcome(class.map_or(0, outcome_of));
        cells
            .map(|(bucket, count)| (u8::try_from(bucket).unwrap_or(u8::MAX), count))
            .collect()
    }

    pub(super) fn by_bucket(&self) -> [u64; BUCKETS] {
        let mut buckets = [0_u64; BUCKETS];
        for &(cell, count) in &self.cells {
            let bucket = &mut buckets[usize::from(cell) % BUCKETS];
            *bucket = bucket.saturating_add(count);
        }
        buckets
    }

    /// All requests, intended refusals included: the exposure.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Requests that were served.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.of_outcome(0).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Requests that failed by this class, each one counted.
    #[must_use]
    pub fn failed(&self, class: FaultClass) -> u64 {
        self.of_outcome(outcome_of(class))
            .fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Failures of this class counted once per client and interval.
    #[must_use]
    pub fn episodes(&self, class: FaultClass) -> u64 {
        self.episodes[class.index()]
    }

    /// Sum of all latencies in microseconds.
    #[must_use]
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Requests of any outcome that took longer than the bound.
    #[must_use]
    pub fn slower_than(&self, bound: LatencyBound) -> u64 {
        let slow = self
            .cells
            .iter()
            .filter(|(cell, _)| usize::from(*cell) % BUCKETS > bound.bucket);
        slow.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Episodes and exposure of one class, as a [`Row`](crate::Row) takes them.
    #[must_use]
    pub fn counts(&self, class: FaultClass) -> Counts {
        Counts::new(self.episodes(class), self.total())
    }

    /// The same for one host of a [`HostSample`](crate::HostSample), by the number and level that it has there.
    #[must_use]
    pub fn host_counts(&self, class: FaultClass, host: u32, level: u8) -> HostCounts {
        HostCounts {
            host,
            level,
            bad: self.failed(class),
            total: self.total(),
            distinct: self.episodes(class),
        }
    }

    /// Latencies of all outcomes, for quantiles in a report: each request at its bucket's upper bound, so a quantile is at
    /// most a quarter too high and never too low. Slower than 2^32 µs counts as twice that.
    #[must_use]
    pub fn histogram(&self) -> Histogram<u64> {
        const TOP_US: u64 = 1 << 33;
        #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
        let mut histogram = Histogram::new_with_bounds(1, TOP_US, 3).expect("1 µs to 2^33 µs at 3 digits");
        for (bucket, count) in self.by_bucket().into_iter().enumerate().filter(|(_, count)| *count > 0) {
            histogram.saturating_record_n(bound_of(bucket).unwrap_or(TOP_US), count);
        }
        histogram
    }

    /// Adds the counts of another host or interval.
    pub fn merge(&mut self, other: &Self) {
        self.cells = combined(&self.cells, &other.cells, |one, two| Some(one.saturating_add(two))).unwrap_or_default();
        for (mine, theirs) in self.episodes.iter_mut().zip(other.episodes) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was added since `earlier`; `None` when any counter is lower than it was.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let mut episodes = [0; FaultClass::ALL.len()];
        for (out, (now, then)) in episodes.iter_mut().zip(self.episodes.iter().zip(earlier.episodes)) {
            *out = now.checked_sub(then)?;
        }
        Some(Self {
            cells: combined(&self.cells, &earlier.cells, u64::checked_sub)?,
            episodes,
            sum_us: self.sum_us.checked_sub(earlier.sum_us)?,
        })
    }
}

/// Two rising lists as one, an absent cell being 0; zeros are left out. `None` as soon as `with` answers it.
fn combined(one: &[(u16, u64)], two: &[(u16, u64)], with: impl Fn(u64, u64) -> Option<u64>) -> Option<Vec<(u16, u64)>> {
    let mut out = Vec::with_capacity(one.len().max(two.len()));
    let (mut left, mut right) = (one.iter().peekable(), two.iter().peekable());
    loop {
        let cell = match (left.peek(), right.peek()) {
            (None, None) => return Some(out),
            (Some((cell, _)), None) | (None, Some((cell, _))) => *cell,
            (Some((one, _)), Some((two, _))) => *one.min(two),
        };
        let a = left.next_if(|(at, _)| *at == cell).map_or(0, |(_, count)| *count);
        let b = right.next_if(|(at, _)| *at == cell).map_or(0, |(_, count)| *count);
        let count = with(a, b)?;
        if count > 0 {
            out.push((cell, count));
        }
    }
}

/// As it is written: latencies as pairs of bucket and count.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    sum_us: u64,
    served: Vec<(u8, u64)>,
    failed: Vec<WireClass>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireClass {
    class: FaultClass,
    episodes: u64,
    latency: Vec<(u8, u64)>,
}

impl From<Counters> for Wire {
    fn from(counters: Counters) -> Self {
        Self {
            sum_us: counters.sum_us,
            served: counters.cells_of(None),
            failed: FaultClass::ALL
                .into_iter()
                .map(|class| WireClass {
                    class,
                    episodes: counters.episodes(class),
                    latency: counters.cells_of(Some(class)),
                })
                .filter(|class| !class.latency.is_empty())
                .collect(),
        }
    }
}

impl TryFrom<Wire> for Counters {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let mut parts = CounterParts::default();
        parts.outcome(None, &wire.served)?;
        for class in &wire.failed {
            parts.outcome(Some(class.class), &class.latency)?;
            parts.episodes(class.class, class.episodes)?;
        }
        parts.sum_us = wire.sum_us;
        parts.build()
    }
}

/// Counters as they come from outside, checked piece by piece.
#[derive(Debug, Default)]
pub(super) struct CounterParts {
    outcomes: [Option<Vec<(u16, u64)>>; OUTCOMES],
    episodes: [Option<u64>; FaultClass::ALL.len()],
    pub(super) sum_us: u64,
}

/// A name for messages: `served`, or the class.
fn named(class: Option<FaultClass>) -> &'static str {
    class.map_or("served", FaultClass::as_str)
}

impl CounterParts {
    /// Cells of one outcome: buckets rise, counts are at least 1.
    pub(super) fn outcome(&mut self, class: Option<FaultClass>, latency: &[(u8, u64)]) -> Result<(), String> {
        let outcome = class.map_or(0, outcome_of);
        let mut cells = Vec::with_capacity(latency.len());
        for &(bucket, count) in latency {
            let name = named(class);
            if usize::from(bucket) >= BUCKETS {
                return Err(format!(
                    "{name}: bucket {bucket} does not exist, the last is {}",
                    BUCKETS - 1
                ));
            }
            let cell = u16::try_from(outcome * BUCKETS).unwrap_or(u16::MAX) + u16::from(bucket);
            if cells.last().is_some_and(|(last, _)| *last >= cell) {
                return Err(format!(
                    "{name}: bucket {bucket} comes twice or after a higher one; buckets rise"
                ));
            }
            if count == 0 || count >= MAX_COUNTER {
                return Err(format!(
                    "{name}: a count of {count} is outside 1 to 2^63; leave empty buckets out"
                ));
            }
            cells.push((cell, count));
        }
        if self.outcomes[outcome].replace(cells).is_some() {
            return Err(format!("{} comes twice", named(class)));
        }
        Ok(())
    }

    pub(super) fn episodes(&mut self, class: FaultClass, episodes: u64) -> Result<(), String> {
        match self.episodes[class.index()].replace(episodes) {
            None => Ok(()),
            Some(_) => Err(format!("the episodes of {} come twice", class.as_str())),
        }
    }

    pub(super) fn build(self) -> Result<Counters, String> {
        let counters = Counters {
            cells: self.outcomes.into_iter().flatten().flatten().collect(),
            episodes: self.episodes.map(Option::unwrap_or_default),
            sum_us: self.sum_us,
        };
        let sum = counters
            .cells
            .iter()
            .try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        if sum.is_none_or(|sum| sum >= MAX_COUNTER) {
            return Err("all counts together are above 2^63; these are not counters of one process".to_owned());
        }
        for class in FaultClass::ALL {
            let (episodes, failed) = (counters.episodes(class), counters.failed(class));
            if episodes > failed {
                let class = class.as_str();
                return Err(format!(
                    "{class}: {episodes} episodes of {failed} failures are not possible; an episode is a failure counted once per client"
                ));
            }
        }
        Ok(counters)
    }
}
