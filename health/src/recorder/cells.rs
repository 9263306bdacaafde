//! The hot path.

use core::array;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use parking_lot::Mutex;

use super::buckets::{BUCKETS, bucket_of};
use super::counters::{CELLS, OUTCOMES};
use super::episodes::Episodes;
use super::{Counters, Instance, SNAPSHOT_SCHEMA, Snapshot};
use crate::FaultClass;

/// Cells of an outcome in a shard: [`BUCKETS`] rounded up to a power of two, so that an index needs no multiplication and
/// its range no check.
const STRIDE: usize = BUCKETS.next_power_of_two();

/// 203 days: with a nonsensical latency now and then, the sum still does not pass 2^64 and seem to go backwards.
const MAX_LATENCY_US: u64 = 1 << 44;

/// Counters with one writer.
#[derive(Debug)]
struct Shard {
    cells: [AtomicU64; OUTCOMES * STRIDE],
    sum_us: AtomicU64,
}

/// Adds without a locked instruction. Only a [`Writer`] calls it, through `&mut`, so nobody else stores in between; readers
/// see the value before or after.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Shard {
    fn new() -> Self {
        Self {
            cells: array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }
    }

    #[inline]
    fn record(&self, outcome: usize, latency_us: u64) {
        // One cell says outcome, latency and, summed up, the total.
        let cell = (outcome * STRIDE + bucket_of(latency_us)) & (OUTCOMES * STRIDE - 1);
        add(&self.cells[cell], 1);
        add(&self.sum_us, latency_us.min(MAX_LATENCY_US));
    }

    fn add_to(&self, sums: &mut Sums) {
        for (cell, sum) in sums.cells.iter_mut().enumerate() {
            let count = self.cells[cell / BUCKETS * STRIDE + cell % BUCKETS].load(Relaxed);
            *sum = sum.wrapping_add(count);
        }
        sums.latency_us = sums.latency_us.wrapping_add(self.sum_us.load(Relaxed));
    }
}

#[derive(Clone, Debug)]
struct Sums {
    cells: [u64; CELLS],
    latency_us: u64,
}

impl Sums {
    const ZERO: Self = Self {
        cells: [0; CELLS],
        latency_us: 0,
    };
}

#[derive(Debug)]
struct State {
    live: Vec<Arc<Shard>>,
    /// What writers that are gone have counted.
    retired: Box<Sums>,
    /// Intervals that have ended.
    ended: u64,
}

struct Inner {
    instance: Instance,
    started_ms: u64,
    state: Mutex<State>,
    episodes: Episodes,
    episode_counts: [AtomicU64; FaultClass::ALL.len()],
}

/// Counts what an instance does. Cheap to clone; all clones count together.
///
/// Each thread that serves requests holds a [`Writer`] of its own. Recording takes two plain additions there, without a
/// lock or a locked instruction: one counter for outcome and latency together, one for the sum of latencies. A failed
/// request also asks a shared set whether its client has failed in this interval already.
///
/// ```
/// use unattended_health::{FaultClass, Instance, Recorder};
///
/// let instance = Instance { host: "pod-7".into(), version: "1.9.2".into(), epoch: 3 };
/// let recorder = Recorder::new(instance, 0)?;
/// let mut writer = recorder.writer(); // one per thread
/// for _ in 0..998 {
///     writer.served(1_200);
/// }
/// for _ in 0..2 {
///     writer.failed(FaultClass::Own, 350, 0xc11e_47); // the same client twice
/// }
/// let snapshot = recorder.end_interval(60_000);
/// assert_eq!(snapshot.counters.total(), 1_000);
/// assert_eq!(snapshot.counters.failed(FaultClass::Own), 2);
/// assert_eq!(snapshot.counters.episodes(FaultClass::Own), 1);
/// assert_eq!(snapshot.age_ms, 60_000);
/// # Ok::<(), unattended_health::RecorderError>(())
/// ```
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("instance", &self.inner.instance)
            .finish_non_exhaustive()
    }
}

/// Why there is no recorder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// A name cannot stand in logs and labels.
    #[error("{0}")]
    Name(String),
}

impl Recorder {
    /// A recorder of an instance that started at `started_ms`, on whatever clock later calls use.
    ///
    /// # Errors
    ///
    /// When host or version is empty, longer than 253 characters, or not printable ASCII without spaces.
    pub fn new(instance: Instance, started_ms: u64) -> Result<Self, RecorderError> {
        instance.check().map_err(RecorderError::Name)?;
        Ok(Self {
            inner: Arc::new(Inner {
                instance,
                started_ms,
                state: Mutex::new(State {
                    live: Vec::new(),
                    retired: Box::new(Sums::ZERO),
                    ended: 0,
                }),
                episodes: Episodes::new(),
                episode_counts: array::from_fn(|_| AtomicU64::new(0)),
            }),
        })
    }

    /// Counters for one thread: 8 KiB, kept until it is dropped. What it counted stays.
    #[must_use]
    pub fn writer(&self) -> Writer {
        let shard = Arc::new(Shard::new());
        self.inner.state.lock().live.push(Arc::clone(&shard));
        Writer {
            shard,
            inner: Arc::clone(&self.inner),
        }
    }

    /// Ends an interval: clients that failed may count again, and the snapshot has the next number. Whoever serves it to a
    /// controller calls this, once per interval.
    #[must_use]
    pub fn end_interval(&self, now_ms: u64) -> Snapshot {
        let mut state = self.inner.state.lock();
        state.ended += 1;
        let snapshot = self.collect(&mut state, now_ms);
        self.inner.episodes.forget();
        snapshot
    }

    /// The counters so far, in the interval that is running: for scrapes that come when they like.
    #[must_use]
    pub fn peek(&self, now_ms: u64) -> Snapshot {
        let mut state = self.inner.state.lock();
        state.ended += 1;
        let snapshot = self.collect(&mut state, now_ms);
        state.ended -= 1;
        snapshot
    }

    fn collect(&self, state: &mut State, now_ms: u64) -> Snapshot {
        // Episodes first: each has a failure that was counted before it, so there are never more episodes than failures.
        let episodes =
            array::from_fn(|class| self.inner.episode_counts[class].load(core::sync::atomic::Ordering::Acquire));
        for shard in core::mem::take(&mut state.live) {
            // Of a writer that is gone nothing more will come.
            match Arc::try_unwrap(shard) {
                Ok(shard) => shard.add_to(&mut state.retired),
                Err(shard) => state.live.push(shard),
            }
        }
        let mut sums = state.retired.clone();
        for shard in &state.live {
            shard.add_to(&mut sums);
        }
        let cells = sums.cells.iter().enumerate().filter(|(_, count)| **count > 0);
        Snapshot {
            schema: SNAPSHOT_SCHEMA,
            instance: self.inner.instance.clone(),
            interval: state.ended,
            age_ms: now_ms.saturating_sub(self.inner.started_ms),
            counters: Counters {
                cells: cells
                    .map(|(cell, count)| (u16::try_from(cell).unwrap_or(u16::MAX), *count))
                    .collect(),
                episodes,
                sum_us: sums.latency_us,
            },
        }
    }
}

/// One thread's counters of a [`Recorder`].
pub struct Writer {
    shard: Arc<Shard>,
    inner: Arc<Inner>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("instance", &self.inner.instance)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// A request was served within `latency_us` microseconds.
    #[inline]
    pub fn served(&mut self, latency_us: u64) {
        self.shard.record(0, latency_us);
    }

    /// A request failed after `latency_us` microseconds. `client` is a hash of who had asked (and, to tell signatures of
    /// errors apart, of the signature): failures of one class, client and interval are one episode. 0 is nobody known:
    /// such failures are an episode each. At most some 4,000 clients are told apart in an interval; those beyond count as
    /// an episode each, too.
    #[inline]
    pub fn failed(&mut self, class: FaultClass, latency_us: u64, client: u64) {
        self.shard.record(1 + class.index(), latency_us);
        if self.inner.episodes.is_first(class, client) {
            // Releases the failure above to whoever reads this count.
            self.inner.episode_counts[class.index()].fetch_add(1, core::sync::atomic::Ordering::Release);
        }
    }
}
