//! Exact counts of the last few slices of time, shared by any number of threads without a lock.

use crate::error::RingError;
use crate::outcome::Outcome;
use crate::sync::{AtomicU64, Ordering};

/// Bits of one count within a word.
const COUNT_BITS: u32 = 24;
/// The largest count, and the mask of one.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// Where the slice number's low bits start.
const TAG_SHIFT: u32 = 2 * COUNT_BITS;

/// Successes and failures in a window of time.
///
/// Shape: three fields; unit: outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that succeeded.
    pub successes: u64,
    /// Requests that failed.
    pub failures: u64,
    /// A slice reached the largest count it can hold (16,777,215 of a kind): the sums are lower bounds.
    pub saturated: bool,
}

/// Successes and failures of one node in the newest `SLICES` slices of time, each `slice_ms` long.
///
/// `SLICES` is 1 to 1,024 (checked when it compiles), far below the 65,536 that a word's 16 bits of slice number tell
/// apart. Takes `8 * SLICES + 16` bytes, and no memory elsewhere.
///
/// # Which outcomes are in the sum
///
/// Time is cut at the multiples of `slice_ms`: slice number `n` holds the instants from `n * slice_ms` up to but not
/// including `(n + 1) * slice_ms`. An outcome of slice `m` is in [`counts`](Self::counts) at slice `n` exactly if
/// `n - m < SLICES`. So the window reaches back at least `(SLICES - 1) * slice_ms` and less than
/// `SLICES * slice_ms`: the running slice is counted although it is not over, and the oldest one goes all at once.
///
/// # Clocks
///
/// `now_ms` may come from any clock; the ring's present is the newest slice it was ever told of by `record`. A record
/// from before it counts into that newest slice. It cannot be put where it belongs, since that slice may be gone.
///
/// # Threads
///
/// [`record`](Self::record) takes `&self`, takes no lock and waits for nobody: a thread stopped half-way holds up no
/// other. Each slice is one word, changed as a whole, so its two counts always belong together; a sum over slices is
/// not a snapshot of one instant while others write.
#[derive(Debug)]
pub struct Ring<const SLICES: usize> {
    slice_ms: u64,
    /// Number of the newest slice. Only grows.
    head: AtomicU64,
    /// Slice `n` lives in `slots[n % SLICES]`: low 16 bits of `n`, failures (24 bits), successes (24 bits).
    slots: [AtomicU64; SLICES],
}

impl<const SLICES: usize> Ring<SLICES> {
    /// An empty ring of slices that are `slice_ms` milliseconds long.
    ///
    /// # Errors
    ///
    /// [`RingError`] for slices of no length.
    pub fn new(slice_ms: u64) -> Result<Self, RingError> {
        const { assert!(SLICES >= 1 && SLICES <= 1024, "a ring has 1 to 1,024 slices") };
        if slice_ms == 0 {
            return Err(RingError::SliceLength);
        }
        // Zero is slice 0 without counts. For the other slots that is a wrong number, but a word without counts is
        // worth nothing under any number.
        Ok(Self {
            slice_ms,
            head: AtomicU64::new(0),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Counts one outcome at `now_ms`.
    pub fn record(&self, now_ms: u64, outcome: Outcome) {
        loop {
            let head = self.head.load(Ordering::Acquire);
            // Not `now_ms / slice_ms > head`: a division costs more than all the rest, and is needed once a slice.
            if now_ms - now_ms.min(head.saturating_mul(self.slice_ms)) >= self.slice_ms {
                self.advance(head, now_ms / self.slice_ms);
            } else if self.count_into(head, outcome) {
                // Into `head`, whatever `told` was: the clock may have gone back.
                return;
            }
        }
    }

    /// The sums over the window that ends at `now_ms`, or at the ring's own present if that is later.
    ///
    /// Changes nothing: asking about the future does not move the ring there.
    #[must_use]
    pub fn counts(&self, now_ms: u64) -> Counts {
        self.counts_since(0, now_ms)
    }

    /// As [`counts`](Self::counts), but of the slices from number `first` on only.
    #[must_use]
    pub fn counts_since(&self, first: u64, now_ms: u64) -> Counts {
        let head = self.head.load(Ordering::Acquire);
        let newest = (now_ms / self.slice_ms).max(head);
        // In the first lap of the clock the window would start before slice 0.
        let oldest = newest.saturating_sub(SLICES as u64 - 1).max(first);
        let mut sum = Counts::default();
        // Empty if the whole window lies after the last record.
        for number in oldest..=head {
            let slice = self.read(number);
            // At most 1,024 slices of 24 bits: no overflow.
            sum.successes += slice.successes;
            sum.failures += slice.failures;
            sum.saturated |= slice.saturated;
        }
        sum
    }

    /// The counts of slice `number` alone; nothing if it has left the window or is still to come.
    #[must_use]
    pub fn slice(&self, number: u64) -> Counts {
        let head = self.head.load(Ordering::Acquire);
        if number <= head && head - number < SLICES as u64 {
            self.read(number)
        } else {
            Counts::default()
        }
    }

    /// The number of the newest slice that anything was recorded in.
    #[must_use]
    pub fn newest_slice(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// The length of a slice, in milliseconds.
    #[must_use]
    pub const fn slice_ms(&self) -> u64 {
        self.slice_ms
    }

    /// Counts one outcome in slice `head`, which was the newest a moment ago. `false`, and nothing done, if its slot
    /// has gone to a later slice since.
    fn count_into(&self, head: u64, outcome: Outcome) -> bool {
        let slot = self.slot(head);
        let mut word = slot.load(Ordering::Acquire);
        loop {
            let base = if tag(word) == tag(empty(head)) {
                word
            } else if self.head.load(Ordering::Acquire) == head {
                // Loaded after the word. Still the newest slice, so nothing in its slot can be newer and count: it is
                // what a thread left that wrote to an outgoing slice while another moved on.
                empty(head)
            } else {
                return false;
            };
            match slot.compare_exchange_weak(word, plus_one(base, outcome), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
    }

    /// Tries to make `to` the newest slice in place of `from`. Fails if another thread moved the head first.
    ///
    /// Every slot on the way is emptied *before* the head moves, also those of slices in which nothing happened. That
    /// is why 16 bits of slice number suffice: without it, a slot untouched for exactly 65,536 slices (or a multiple)
    /// would pass for the present, after a pause of days.
    fn advance(&self, from: u64, to: u64) {
        // A leap longer than the ring empties each slot once.
        let first = (from + 1).max(to.saturating_sub(SLICES as u64 - 1));
        for number in first..=to {
            let (slot, emptied) = (self.slot(number), empty(number));
            let mut word = slot.load(Ordering::Acquire);
            // Compared as a whole: as long as the head is `from`, nobody has counted into `number`, so a word with the
            // right low bits *and* counts is an old one whose low bits happen to be the same.
            while word != emptied {
                // Loaded after the word. If the head is still `from`, the word is at most as new as `from`, hence
                // leaves the window at `to`. If not, the word may be live: hands off.
                if self.head.load(Ordering::Acquire) != from {
                    return;
                }
                // Fails if the word was counted into since. What it would take to miss that: this thread stops right
                // here while the ring goes on by an exact multiple of 65,536 slices and the slot reaches the same two
                // counts again.
                match slot.compare_exchange(word, emptied, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    Err(seen) => word = seen,
                }
            }
        }
        // Losing this race is fine: the caller looks at the head again.
        let _ = self
            .head
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What is counted in a slice of the window.
    fn read(&self, number: u64) -> Counts {
        let word = self.slot(number).load(Ordering::Acquire);
        // Another number: the slice has just left the window under our eyes. It is gone, not zero of the new one.
        if tag(word) != tag(empty(number)) {
            return Counts::default();
        }
        let (successes, failures) = (word & COUNT_MAX, (word >> COUNT_BITS) & COUNT_MAX);
        Counts {
            successes,
            failures,
            saturated: successes == COUNT_MAX || failures == COUNT_MAX,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a remainder of the length, which is a usize"
    )]
    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.slots[(number % SLICES as u64) as usize]
    }
}

/// The word of slice `number` before anything is counted.
const fn empty(number: u64) -> u64 {
    // Shifts the high bits out.
    number << TAG_SHIFT
}

const fn tag(word: u64) -> u64 {
    word >> TAG_SHIFT
}

/// The word with one more outcome. A full count stays full and does not spill into its neighbour.
const fn plus_one(word: u64, outcome: Outcome) -> u64 {
    let shift = match outcome {
        Outcome::Success => 0,
        Outcome::Failure => COUNT_BITS,
    };
    if (word >> shift) & COUNT_MAX == COUNT_MAX {
        word
    } else {
        word + (1 << shift)
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Ordering, Outcome, Ring, empty};

    #[test]
    fn full_counts_stay_full_and_apart() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(5, Outcome::Success);
        ring.slot(5).store(empty(5) | (COUNT_MAX - 1), Ordering::Relaxed);
        ring.record(5, Outcome::Success);
        ring.record(5, Outcome::Success);
        ring.record(5, Outcome::Failure);
        let counts = ring.counts(5);
        assert_eq!(
            (counts.successes, counts.failures, counts.saturated),
            (COUNT_MAX, 1, true)
        );

        ring.slot(5).store(empty(5) | (COUNT_MAX << 24), Ordering::Relaxed);
        ring.record(5, Outcome::Failure);
        ring.record(5, Outcome::Success);
        let counts = ring.counts(5);
        assert_eq!(
            (counts.successes, counts.failures, counts.saturated),
            (1, COUNT_MAX, true)
        );
    }

    // Interleavings of two threads, played by hand: a thread that slept after it had looked at the head.

    #[test]
    fn a_late_count_does_not_overwrite_the_slice_that_took_its_slot() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(5, Outcome::Success);
        ring.record(9, Outcome::Failure);
        assert!(!ring.count_into(5, Outcome::Success), "slot 1 is slice 9's by now");
        assert_eq!((ring.counts(9).successes, ring.counts(9).failures), (0, 1));
        // Slice 8 is not the newest any more but has its slot still: that is where the count belongs.
        assert!(ring.count_into(8, Outcome::Success));
        assert_eq!((ring.counts(9).successes, ring.counts(9).failures), (1, 1));
        assert_eq!(ring.counts(12).successes, 0);
    }

    #[test]
    fn a_late_advance_leaves_the_ring_alone() {
        let ring = Ring::<4>::new(1).unwrap();
        for now_ms in [5, 6, 7, 8, 9] {
            ring.record(now_ms, Outcome::Failure);
        }
        for (from, to) in [(0, 5), (5, 9), (8, 9), (5, 30)] {
            ring.advance(from, to);
            assert_eq!(
                (ring.counts(9).failures, ring.head.load(Ordering::Relaxed)),
                (4, 9),
                "{from} to {to}"
            );
        }
        ring.advance(9, 11);
        assert_eq!((ring.counts(9).failures, ring.head.load(Ordering::Relaxed)), (2, 11));
    }

    #[test]
    fn what_an_overtaken_thread_left_behind_is_replaced() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(9, Outcome::Success);
        // A late write to slice 5, whose slot now belongs to slice 9.
        ring.slot(9).store(empty(5) | 77, Ordering::Relaxed);
        assert_eq!(ring.counts(9).successes, 0);
        ring.record(9, Outcome::Success);
        assert_eq!(ring.counts(9).successes, 1);
    }
}
