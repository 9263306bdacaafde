//! Exact counts of the last few slices of time, shared by any number of threads without a lock.

use crate::error::RingError;
use crate::outcome::Outcome;
use crate::sync::{AtomicU64, Ordering};

/// Bits of one count within a word.
const COUNT_BITS: u32 = 24;
/// The largest count, and the mask of one.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// Where the place's low bits start.
const TAG_SHIFT: u32 = 2 * COUNT_BITS;
/// Bits of the place within the head.
const PLACE_BITS: u32 = 16;
/// The last slice that has a number: at 1 ms a slice, 8,900 years after the start.
const LAST_SLICE: u64 = u64::MAX >> PLACE_BITS;

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
/// `SLICES` is a power of two up to 1,024 (checked when it compiles). Takes `8 * SLICES + 16` bytes, and no memory
/// elsewhere.
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
///
/// # Places
///
/// Slices get consecutive *places* as the ring turns, a leap over the whole ring included: it takes `SLICES` places
/// however long it was. A word carries the low 16 bits of its place, so a word is mistaken for another only by a thread
/// that sleeps in the middle of a record while the ring turns an exact multiple of 65,536 times. With slice numbers in
/// their stead an idle night of just that many slices would have been enough.
#[derive(Debug)]
pub struct Ring<const SLICES: usize> {
    slice_ms: u64,
    /// The newest slice: its number (48 bits, only grows) and its place (16 bits).
    head: AtomicU64,
    /// The slice at place `p` lives in `slots[p % SLICES]`: its place (16 bits), failures (24), successes (24).
    slots: [AtomicU64; SLICES],
}

/// The newest slice, as the head's word has it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head(u64);

impl Head {
    const fn new(number: u64, place: u64) -> Self {
        Self(number << PLACE_BITS | (place & PLACE_MASK))
    }

    const fn number(self) -> u64 {
        self.0 >> PLACE_BITS
    }

    const fn place(self) -> u64 {
        self.0 & PLACE_MASK
    }

    /// The place of a slice that is `back` slices older.
    const fn place_of_older(self, back: u64) -> u64 {
        self.0.wrapping_sub(back) & PLACE_MASK
    }
}

const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

impl<const SLICES: usize> Ring<SLICES> {
    /// An empty ring of slices that are `slice_ms` milliseconds long.
    ///
    /// # Errors
    ///
    /// [`RingError`] for slices of no length.
    pub fn new(slice_ms: u64) -> Result<Self, RingError> {
        // So that places go round together with their low 16 bits.
        const {
            assert!(
                SLICES.is_power_of_two() && SLICES <= 1024,
                "the slices of a ring are a power of two up to 1,024"
            );
        };
        if slice_ms == 0 {
            return Err(RingError::SliceLength);
        }
        // Zero is place 0 without counts. For the other slots that is a wrong place, but a word without counts is worth
        // nothing under any.
        Ok(Self {
            slice_ms,
            head: AtomicU64::new(0),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Counts one outcome at `now_ms`.
    #[inline]
    pub fn record(&self, now_ms: u64, outcome: Outcome) {
        self.count(now_ms, outcome);
    }

    /// As [`record`](Self::record), and says how many of that kind the slice has now: near enough, if others record.
    #[inline]
    pub(crate) fn count(&self, now_ms: u64, outcome: Outcome) -> u64 {
        // The usual case, small enough to be inlined: the slice is the newest, and nobody interferes.
        let head = self.load_head();
        // Not `now_ms / slice_ms > head`: a division costs more than all the rest, and is needed once a slice.
        if now_ms - now_ms.min(head.number().saturating_mul(self.slice_ms)) < self.slice_ms {
            let slot = self.slot(head.place());
            let word = slot.load(Ordering::Acquire);
            let shift = shift(outcome);
            let count = (word >> shift) & COUNT_MAX;
            if tag(word) == head.place()
                && count < COUNT_MAX
                && slot
                    .compare_exchange(word, word + (1 << shift), Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            {
                return count + 1;
            }
        }
        self.count_slowly(now_ms, outcome);
        1
    }

    #[cold]
    fn count_slowly(&self, now_ms: u64, outcome: Outcome) {
        let told = self.number_at(now_ms);
        loop {
            let head = self.load_head();
            if told > head.number() {
                self.advance(head, told);
            } else if self.count_into(head, outcome) {
                // Into `head`, whatever slice `now_ms` is in: the clock may have gone back.
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
        let head = self.load_head();
        let newest = self.number_at(now_ms).max(head.number());
        // In the first lap of the clock the window would start before slice 0.
        let oldest = newest.saturating_sub(SLICES as u64 - 1).max(first);
        let mut sum = Counts::default();
        // Empty if the whole window lies after the last record.
        for number in oldest..=head.number() {
            let slice = self.read(head, number);
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
        let head = self.load_head();
        if number <= head.number() && head.number() - number < SLICES as u64 {
            self.read(head, number)
        } else {
            Counts::default()
        }
    }

    /// The number of the newest slice that anything was recorded in.
    #[must_use]
    pub fn newest_slice(&self) -> u64 {
        self.load_head().number()
    }

    /// The length of a slice, in milliseconds.
    #[must_use]
    pub const fn slice_ms(&self) -> u64 {
        self.slice_ms
    }

    /// Counts one outcome in slice `head`, which was the newest a moment ago. `false`, and nothing done, if its slot
    /// has gone to a later slice since.
    fn count_into(&self, head: Head, outcome: Outcome) -> bool {
        let slot = self.slot(head.place());
        let mut word = slot.load(Ordering::Acquire);
        loop {
            let base = if tag(word) == head.place() {
                word
            } else if self.load_head() == head {
                // Loaded after the word. Still the newest slice, so nothing in its slot can be newer and count: it is
                // what a thread left that wrote to an outgoing slice while another moved on.
                empty(head.place())
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
    /// Every slot on the way is emptied *before* the head moves, also those of slices in which nothing happened.
    fn advance(&self, from: Head, to: u64) {
        // A leap longer than the ring empties each slot once.
        let places = (to - from.number()).min(SLICES as u64);
        for place in from.place() + 1..=from.place() + places {
            let (slot, emptied) = (self.slot(place), empty(place));
            let mut word = slot.load(Ordering::Acquire);
            // Compared as a whole: as long as the head is `from`, nobody has counted into this place, so a word with its
            // low bits *and* counts is 65,536 places old.
            while word != emptied {
                // Loaded after the word. If the head is still `from`, the word is at most as new as `from`, hence
                // leaves the window at `to`. If not, the word may be live: hands off.
                if self.load_head() != from {
                    return;
                }
                // Fails if the word was counted into since, or if another thread emptied it: then its place is another.
                match slot.compare_exchange(word, emptied, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    Err(seen) => word = seen,
                }
            }
        }
        // Losing this race is fine: the caller looks at the head again.
        let new = Head::new(to, from.place() + places);
        let _ = self
            .head
            .compare_exchange(from.0, new.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What is counted in a slice of the window that `head` ends.
    fn read(&self, head: Head, number: u64) -> Counts {
        let place = head.place_of_older(head.number() - number);
        let word = self.slot(place).load(Ordering::Acquire);
        // Another place: the slice has just left the window under our eyes. It is gone, not zero of the new one.
        if tag(word) != place {
            return Counts::default();
        }
        let (successes, failures) = (word & COUNT_MAX, (word >> COUNT_BITS) & COUNT_MAX);
        Counts {
            successes,
            failures,
            saturated: successes == COUNT_MAX || failures == COUNT_MAX,
        }
    }

    const fn number_at(&self, now_ms: u64) -> u64 {
        let number = now_ms / self.slice_ms;
        if number < LAST_SLICE { number } else { LAST_SLICE }
    }

    fn load_head(&self) -> Head {
        Head(self.head.load(Ordering::Acquire))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a remainder of the length, which is a usize"
    )]
    fn slot(&self, place: u64) -> &AtomicU64 {
        &self.slots[(place % SLICES as u64) as usize]
    }
}

/// The word of a place before anything is counted.
const fn empty(place: u64) -> u64 {
    // Shifts the high bits out.
    place << TAG_SHIFT
}

/// The place in a word.
const fn tag(word: u64) -> u64 {
    word >> TAG_SHIFT
}

/// Where the count of a kind is in the word.
const fn shift(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Success => 0,
        Outcome::Failure => COUNT_BITS,
    }
}

/// The word with one more outcome. A full count stays full and does not spill into its neighbour.
const fn plus_one(word: u64, outcome: Outcome) -> u64 {
    let shift = shift(outcome);
    if (word >> shift) & COUNT_MAX == COUNT_MAX {
        word
    } else {
        word + (1 << shift)
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Head, LAST_SLICE, Ordering, Outcome, Ring, empty};

    #[test]
    fn full_counts_stay_full_and_apart() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(5, Outcome::Success);
        let place = ring.load_head().place();
        ring.slot(place)
            .store(empty(place) | (COUNT_MAX - 1), Ordering::Relaxed);
        ring.record(5, Outcome::Success);
        ring.record(5, Outcome::Success);
        ring.record(5, Outcome::Failure);
        let counts = ring.counts(5);
        assert_eq!(
            (counts.successes, counts.failures, counts.saturated),
            (COUNT_MAX, 1, true)
        );

        ring.slot(place)
            .store(empty(place) | (COUNT_MAX << 24), Ordering::Relaxed);
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
        let old = ring.load_head();
        ring.record(9, Outcome::Failure);
        assert!(!ring.count_into(old, Outcome::Success), "the slot is slice 9's by now");
        assert_eq!((ring.counts(9).successes, ring.counts(9).failures), (0, 1));
        // Slice 8 is not the newest any more but has its slot still: that is where the count belongs.
        let before = Head::new(8, ring.load_head().place_of_older(1));
        assert!(ring.count_into(before, Outcome::Success));
        assert_eq!((ring.counts(9).successes, ring.counts(9).failures), (1, 1));
        assert_eq!(ring.counts(12).successes, 0);
    }

    #[test]
    fn a_late_advance_leaves_the_ring_alone() {
        let ring = Ring::<4>::new(1).unwrap();
        let mut heads = vec![ring.load_head()];
        for now_ms in [5, 6, 7, 8, 9] {
            ring.record(now_ms, Outcome::Failure);
            heads.push(ring.load_head());
        }
        for (from, to) in [(heads[0], 5), (heads[1], 9), (heads[4], 9), (heads[1], 30)] {
            ring.advance(from, to);
            assert_eq!((ring.counts(9).failures, ring.newest_slice()), (4, 9), "to {to}");
        }
        ring.advance(heads[5], 11);
        assert_eq!((ring.counts(9).failures, ring.newest_slice()), (2, 11));
    }

    #[test]
    fn a_late_emptying_after_a_leap_of_whole_laps_takes_nothing_away() {
        // A thread looked at the slot before a leap of just 65,536 slices, another made the leap and counted; the words
        // would be the same if they carried slice numbers.
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(5, Outcome::Success);
        let old = ring.slot(ring.load_head().place()).load(Ordering::Relaxed);
        ring.record(5 + 65_536, Outcome::Success);
        assert_ne!(ring.slot(ring.load_head().place()).load(Ordering::Relaxed), old);
    }

    #[test]
    fn what_an_overtaken_thread_left_behind_is_replaced() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(9, Outcome::Success);
        // A late write to a slice whose slot now belongs to slice 9.
        let place = ring.load_head().place();
        ring.slot(place)
            .store(empty(place.wrapping_sub(4)) | 77, Ordering::Relaxed);
        assert_eq!(ring.counts(9).successes, 0);
        ring.record(9, Outcome::Success);
        assert_eq!(ring.counts(9).successes, 1);
    }

    #[test]
    fn time_ends_in_a_slice_of_its_own() {
        let ring = Ring::<4>::new(1).unwrap();
        ring.record(u64::MAX - 9, Outcome::Success);
        ring.record(u64::MAX, Outcome::Failure);
        assert_eq!(ring.newest_slice(), LAST_SLICE);
        assert_eq!((ring.counts(0).successes, ring.counts(u64::MAX).failures), (1, 1));
    }
}
