//! One node as its callers hold it: where they record, and what they ask before a call.

use std::sync::Arc;

use crate::call::Call;
use crate::delta::NodeIndex;
use crate::outcome::{Ending, Outcome};
use crate::ring::{Counts, Ring};
use crate::sequential::{Score, Steps};
use crate::sketch::Sketch;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Slices of a node's ring.
pub(crate) const SLICES: usize = 8;

/// Answers of a slice up to which every latency is kept.
const EVERY_LATENCY: u64 = 32;

/// What all nodes of a detector share, read on every record and seldom written.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The [`Steps`] in force.
    pub(crate) steps: AtomicU64,
}

/// The memory of one node that callers write to. Fixed in size; nothing in it is ever locked.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) index: NodeIndex,
    /// What is withheld from the node: see [`Service`].
    service: AtomicU64,
    pub(crate) score: AtomicScore,
    pub(crate) ring: Ring<SLICES>,
    /// Endings other than `Answered`, since they were last taken.
    endings: [AtomicU32; Ending::ALL.len() - 1],
    repeats: AtomicU32,
    pub(crate) latency: Sketch,
    /// Answers that take longer than this are slow, in microseconds; the largest number as long as nobody knows.
    slow_above_us: AtomicU32,
    /// Slow answers since they were last taken.
    slow: AtomicU32,
    shared: Arc<Shared>,
}

/// The sequential test of a node under any number of threads.
///
/// Each outcome is one change of one word, so the test is the one whose run length was computed: outcomes count in the
/// order of the changes, none is lost.
#[derive(Debug)]
pub(crate) struct AtomicScore {
    word: AtomicU64,
    /// When the run began. Written by whoever opens it; two who open it at once may leave either's time.
    began_ms: AtomicU64,
}

impl AtomicScore {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            began_ms: AtomicU64::new(0),
        }
    }

    /// A success of a node that nothing speaks against changes nothing, so nothing is written: the usual case.
    #[inline]
    fn is_clean(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    /// `true` if this outcome raised the alarm.
    fn record(&self, steps: Steps, outcome: Outcome, now_ms: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let before = Score::from_word(word);
            let after = steps.after(before, outcome);
            if before.value() == 0 && after.value() > 0 {
                self.began_ms.store(now_ms, Ordering::Relaxed);
            }
            match self
                .word
                .compare_exchange_weak(word, after.word(), Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return after.alarmed() && !before.alarmed(),
                Err(seen) => word = seen,
            }
        }
    }

    pub(crate) fn load(&self) -> Score {
        Score::from_word(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn began_ms(&self) -> u64 {
        self.began_ms.load(Ordering::Relaxed)
    }

    /// Replaces the score by what `change` makes of it, whatever is recorded meanwhile.
    pub(crate) fn change(&self, change: impl Fn(Score) -> Score) {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let after = change(Score::from_word(word)).word();
            match self
                .word
                .compare_exchange(word, after, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }
}

/// What is withheld from a node and until when, in one word: zero is full service.
///
/// Low to high: thousandths withheld (10 bits), a probe may be taken (1 bit), the lease's end in milliseconds (53 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service(u64);

const WITHHELD_MASK: u64 = (1 << 10) - 1;
const PROBE_OPEN: u64 = 1 << 10;
const LEASE_SHIFT: u32 = 11;

impl Service {
    pub(crate) const FULL: Self = Self(0);

    pub(crate) fn new(weight_permille: u16, probe_open: bool, lease_until_ms: u64) -> Self {
        let withheld = 1_000 - u64::from(weight_permille.min(1_000));
        if withheld == 0 {
            return Self::FULL;
        }
        let lease = lease_until_ms.min(u64::MAX >> LEASE_SHIFT);
        Self(withheld | if probe_open { PROBE_OPEN } else { 0 } | (lease << LEASE_SHIFT))
    }

    const fn withheld_permille(self) -> u64 {
        self.0 & WITHHELD_MASK
    }

    const fn lease_until_ms(self) -> u64 {
        self.0 >> LEASE_SHIFT
    }
}

impl Cell {
    pub(crate) fn new(index: NodeIndex, ring: Ring<SLICES>, latency_floor_us: u32, shared: Arc<Shared>) -> Self {
        Self {
            index,
            service: AtomicU64::new(Service::FULL.0),
            score: AtomicScore::new(),
            ring,
            endings: std::array::from_fn(|_| AtomicU32::new(0)),
            repeats: AtomicU32::new(0),
            latency: Sketch::new(latency_floor_us),
            slow_above_us: AtomicU32::new(u32::MAX),
            slow: AtomicU32::new(0),
            shared,
        }
    }

    /// The sequential test takes in an outcome; `true` if that raised its alarm.
    fn take_in(&self, outcome: Outcome, now_ms: u64) -> bool {
        let steps = Steps::from_word(self.shared.steps.load(Ordering::Relaxed));
        self.score.record(steps, outcome, now_ms)
    }

    pub(crate) fn publish(&self, service: Service) {
        self.service.store(service.0, Ordering::Release);
    }

    /// Extends the lease and leaves the rest to whoever changes it meanwhile: a probe that was just taken stays taken.
    pub(crate) fn renew(&self, lease_until_ms: u64) {
        let lease = lease_until_ms.min(u64::MAX >> LEASE_SHIFT) << LEASE_SHIFT;
        let mut word = self.service.load(Ordering::Acquire);
        while word != Service::FULL.0 {
            let renewed = (word & ((1 << LEASE_SHIFT) - 1)) | lease;
            match self
                .service
                .compare_exchange(word, renewed, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return,
                Err(seen) => word = seen,
            }
        }
    }

    /// The probe was given out.
    pub(crate) fn probe_taken(&self) -> bool {
        let word = self.service.load(Ordering::Acquire);
        word != Service::FULL.0 && word & PROBE_OPEN == 0
    }

    /// Takes what was counted of an ending since the last time.
    pub(crate) fn take_ending(&self, ending: Ending) -> u32 {
        let counter = ending.index().checked_sub(1).and_then(|i| self.endings.get(i));
        counter.map_or(0, take)
    }

    /// Takes what was counted of slow answers since the last time.
    pub(crate) fn take_slow(&self) -> u32 {
        take(&self.slow)
    }

    pub(crate) fn call_slow_above(&self, latency_us: u32) {
        self.slow_above_us.store(latency_us, Ordering::Relaxed);
    }

    #[inline]
    fn is_slow(&self, latency_us: u64) -> bool {
        latency_us.min(u64::from(u32::MAX)) > u64::from(self.slow_above_us.load(Ordering::Relaxed))
    }

    #[cold]
    fn count_slow(&self) {
        self.slow.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes what was counted, and leaves what comes meanwhile.
fn take(counter: &AtomicU32) -> u32 {
    let count = counter.load(Ordering::Relaxed);
    if count > 0 {
        counter.fetch_sub(count, Ordering::Relaxed);
    }
    count
}

/// A node, as its callers hold it. Cheap to clone, free to share; lives on after the detector has forgotten the node, and
/// what is then recorded goes nowhere.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) cell: Arc<Cell>,
}

impl Node {
    /// Its number in the detector.
    #[must_use]
    pub fn index(&self) -> NodeIndex {
        self.cell.index
    }

    /// Counts one call that ended at `now_ms`, and how long its answer took, if there was one and it is known.
    ///
    /// `true` if this raised the alarm of the sequential test: a reason to [`sweep`](crate::Detector::sweep) early.
    /// Waits for nobody and takes no lock. An ending that is not the node's doing is counted apart and changes no rate.
    ///
    /// Of a busy node one latency in four is kept: beyond 32 answers in a slice the others would not make a median better.
    #[inline]
    pub fn record(&self, now_ms: u64, ending: Ending, latency_us: Option<u64>) -> bool {
        let cell = &*self.cell;
        if !matches!(ending, Ending::Answered) {
            return self.record_other(now_ms, ending);
        }
        let answers = cell.ring.count(now_ms, Outcome::Success);
        if let Some(latency_us) = latency_us {
            if cell.is_slow(latency_us) {
                cell.count_slow();
            }
            if answers <= EVERY_LATENCY || answers & 3 == 0 {
                cell.latency.record(latency_us);
            }
        }
        if !cell.score.is_clean() {
            cell.take_in(Outcome::Success, now_ms);
        }
        false
    }

    #[cold]
    fn record_other(&self, now_ms: u64, ending: Ending) -> bool {
        let cell = &*self.cell;
        cell.endings[ending.index() - 1].fetch_add(1, Ordering::Relaxed);
        let Some(outcome) = ending.charge() else { return false };
        cell.ring.count(now_ms, outcome);
        cell.take_in(outcome, now_ms)
    }

    /// Notes an answer's latency alone, for callers that learn it apart from the ending.
    pub fn record_latency(&self, latency_us: u64) {
        if self.is_slow(latency_us) {
            self.cell.count_slow();
        }
        self.cell.latency.record(latency_us);
    }

    /// Whether an answer that took so long is slow for this node: [`very_slow_ratio`](crate::Policy::very_slow_ratio)
    /// times what it takes at this load and among these peers. `false` as long as that is not known. For probes; what
    /// was recorded is [reported](crate::Delta::slow) anyway.
    #[must_use]
    pub fn is_slow(&self, latency_us: u64) -> bool {
        self.cell.is_slow(latency_us)
    }

    /// May a call go to this node at `now_ms`?
    ///
    /// `draw` is the caller's own uniform random number: a node with weight 0.25 admits a quarter of them. While the
    /// node is on probation exactly one call is admitted, whatever its number. A lease that nobody renewed is over: the
    /// node is in full service again, even if the detector is gone.
    #[must_use]
    #[inline]
    pub fn admits(&self, now_ms: u64, draw: u32) -> bool {
        let word = self.cell.service.load(Ordering::Acquire);
        word == Service::FULL.0 || self.admits_some(Service(word), now_ms, draw)
    }

    #[cold]
    fn admits_some(&self, service: Service, now_ms: u64, draw: u32) -> bool {
        if now_ms >= service.lease_until_ms() {
            return true;
        }
        if service.0 & PROBE_OPEN != 0 {
            let taken = service.0 & !PROBE_OPEN;
            let swap = self
                .cell
                .service
                .compare_exchange(service.0, taken, Ordering::AcqRel, Ordering::Relaxed);
            return swap.is_ok();
        }
        (u64::from(draw) * 1_000) >> 32 >= service.withheld_permille()
    }

    /// The share of its usual calls that the node is to get at `now_ms`, in thousandths: for balancers that weigh.
    #[must_use]
    pub fn weight_permille(&self, now_ms: u64) -> u16 {
        let service = Service(self.cell.service.load(Ordering::Acquire));
        if now_ms >= service.lease_until_ms() {
            return 1_000;
        }
        u16::try_from(1_000 - service.withheld_permille().min(1_000)).unwrap_or(0)
    }

    /// Successes and failures of the last seconds.
    #[must_use]
    pub fn counts(&self, now_ms: u64) -> Counts {
        self.cell.ring.counts(now_ms)
    }

    /// Starts a call that records itself. `clock_us` tells the caller's monotonic time in microseconds; it is asked now
    /// and when the call ends.
    pub fn call<C: Fn() -> u64>(&self, clock_us: C) -> Call<'_, C> {
        Call::new(self, clock_us)
    }

    pub(crate) fn count_repeat(&self) {
        self.cell.repeats.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts that repeated an earlier attempt of the same request at this node: seen, not charged again.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.cell.repeats.load(Ordering::Relaxed)
    }
}
