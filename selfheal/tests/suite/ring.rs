//! The ring against a list of everything that ever happened.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use unattended_selfheal::{Outcome, Ring, RingError};

/// Keeps every outcome with its slice number, in u128 so that nothing wraps, and counts by walking the list.
struct Oracle {
    slices: u128,
    slice_ms: u128,
    newest: u128,
    all: Vec<(u128, Outcome)>,
}

impl Oracle {
    fn record(&mut self, now_ms: u64, outcome: Outcome) {
        self.newest = self.newest.max(self.number(now_ms));
        self.all.push((self.newest, outcome));
    }

    /// Numbers end at 2^48, and time with them.
    fn number(&self, now_ms: u64) -> u128 {
        (u128::from(now_ms) / self.slice_ms).min((1 << 48) - 1)
    }

    fn count(&self, now_ms: u64, wanted: Outcome) -> u64 {
        let newest = self.newest.max(self.number(now_ms));
        let inside = self
            .all
            .iter()
            .filter(|(slice, outcome)| newest - slice < self.slices && *outcome == wanted);
        inside.count() as u64
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time goes on by so much, as a rule within a few slices.
    Forward(u64),
    Back(u64),
    /// The clock stands somewhere else altogether.
    Jump(u64),
    /// A pause of whole laps of the 16-bit slice number, give or take: the case in which old slots look new.
    Laps(u64, i64),
    Record(Outcome, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![Just(Outcome::Success), Just(Outcome::Failure)];
    prop_oneof![
        4 => (0_u64..40).prop_map(Step::Forward),
        1 => (40_u64..4_000).prop_map(Step::Forward),
        2 => (0_u64..200).prop_map(Step::Back),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0_u64..100_000].prop_map(Step::Jump),
        2 => (1_u64..40, -1_i64..2).prop_map(|(laps, off)| Step::Laps(laps, off)),
        8 => (outcome, 1_u8..5).prop_map(|(outcome, times)| Step::Record(outcome, times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ring_equals_the_naive_count(
        slice_ms in 1_u64..30,
        start in prop_oneof![Just(0_u64), 0_u64..2_000_000, any::<u64>()],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        against_the_oracle::<1>(slice_ms, start, &steps)?;
        against_the_oracle::<2>(slice_ms, start, &steps)?;
        against_the_oracle::<8>(slice_ms, start, &steps)?;
        against_the_oracle::<16>(slice_ms, start, &steps)?;
    }
}

#[expect(clippy::unwrap_used, reason = "a slice of a positive length is accepted")]
fn against_the_oracle<const SLICES: usize>(slice_ms: u64, start: u64, steps: &[Step]) -> Result<(), TestCaseError> {
    let ring = Ring::<SLICES>::new(slice_ms).unwrap();
    let mut oracle = Oracle {
        slices: SLICES as u128,
        slice_ms: slice_ms.into(),
        newest: 0,
        all: Vec::new(),
    };
    let mut now_ms = start;
    for step in steps.iter().cloned() {
        match step {
            Step::Forward(ms) => now_ms = now_ms.saturating_add(ms),
            Step::Back(ms) => now_ms = now_ms.saturating_sub(ms),
            Step::Jump(to_ms) => now_ms = to_ms,
            Step::Laps(laps, off) => {
                now_ms = now_ms.saturating_add((laps * 65_536).saturating_add_signed(off) * slice_ms);
            }
            Step::Record(outcome, times) => {
                for _ in 0..times {
                    ring.record(now_ms, outcome);
                    oracle.record(now_ms, outcome);
                }
            }
        }
        // Asked now, in the past and in the future; asking must not change the answer of the next question.
        for at_ms in [
            now_ms,
            now_ms.saturating_sub(50),
            now_ms.saturating_add(50),
            u64::MAX,
            now_ms,
        ] {
            let counts = ring.counts(at_ms);
            prop_assert_eq!(counts.successes, oracle.count(at_ms, Outcome::Success));
            prop_assert_eq!(counts.failures, oracle.count(at_ms, Outcome::Failure));
            prop_assert!(!counts.saturated);
        }
        // Slice by slice it is the same, and nothing is counted in two of them.
        let newest = ring.newest_slice();
        let single: u64 = (newest.saturating_sub(SLICES as u64 - 1)..=newest)
            .map(|n| ring.slice(n).failures)
            .sum();
        prop_assert_eq!(single, ring.counts(0).failures);
        prop_assert_eq!(ring.slice(newest.wrapping_add(1)).failures, 0);
        let late = newest.saturating_sub(1);
        let since: u64 = (late.max(newest.saturating_sub(SLICES as u64 - 1))..=newest)
            .map(|n| ring.slice(n).successes)
            .sum();
        prop_assert_eq!(ring.counts_since(late, 0).successes, since);
    }
    Ok(())
}

#[test]
fn edges_of_the_window() {
    let ring = Ring::<4>::new(10).unwrap();
    ring.record(0, Outcome::Failure);
    ring.record(9, Outcome::Failure);
    ring.record(10, Outcome::Success);
    assert_eq!(ring.counts(39).failures, 2, "slice 0 is the oldest of four at 39 ms");
    assert_eq!(ring.counts(40).failures, 0, "and gone at 40 ms");
    assert_eq!(ring.counts(49).successes, 1);
    assert_eq!(ring.counts(50).successes, 0);
    // The clock goes back behind the window: counted, into slice 1.
    ring.record(3, Outcome::Failure);
    assert_eq!(ring.counts(49).failures, 1);
    assert_eq!(ring.counts(50).failures, 0);
}

#[test]
fn bad_parameters_are_typed() {
    assert_eq!(Ring::<4>::new(0).unwrap_err(), RingError::SliceLength);
    assert!(Ring::<1024>::new(1).is_ok());
}

/// Two threads, one per outcome, which spin for each other before every round so that they truly meet in it. After
/// the round both check the ring while nobody writes.
fn meet(rounds: u64, write: impl Fn(u64, Outcome) + Sync, check: impl Fn(u64) + Sync) {
    let (ready, done) = (AtomicU64::new(0), Barrier::new(2));
    std::thread::scope(|scope| {
        for outcome in [Outcome::Success, Outcome::Failure] {
            let (ready, done, write, check) = (&ready, &done, &write, &check);
            scope.spawn(move || {
                for round in 0..rounds {
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < 2 * (round + 1) {
                        std::thread::yield_now();
                    }
                    write(round, outcome);
                    done.wait();
                    check(round);
                    done.wait();
                }
            });
        }
    });
}

#[test]
fn threads_lose_nothing_while_slices_turn() {
    // Rounds longer than a scheduler's slice, so that the two do run at once even on a busy machine.
    const EACH: u64 = 1_500_000;
    let ring = Ring::<8>::new(100).unwrap();
    meet(
        6,
        |round, outcome| {
            let skew = if outcome == Outcome::Success { 0 } else { 37 };
            // 700 ms in all, so everything stays in the window; the clocks of the two differ.
            (0..EACH).for_each(|i| ring.record(round * 100_000 + i * 700 / EACH + skew, outcome));
        },
        |round| {
            let counts = ring.counts(0);
            assert_eq!(
                (counts.successes, counts.failures, counts.saturated),
                (EACH, EACH, false),
                "round {round}"
            );
        },
    );
}

#[test]
fn threads_lose_nothing_at_the_first_record_after_a_pause() {
    // Every round starts with slots full of old counts and a leap over the whole ring; every third leap is a whole
    // number of laps of the 16-bit slice number.
    let ring = Ring::<16>::new(1).unwrap();
    let at = |round: u64| round / 3 * 16 * 65_536 + [0, 1_000, 4 * 65_536][(round % 3) as usize];
    meet(
        20_000,
        // Also backwards: one thread may be about to enter a slice that the other has left.
        |round, outcome| {
            [0, 9, 3, 12]
                .into_iter()
                .for_each(|ms| ring.record(at(round) + ms, outcome))
        },
        |round| {
            let counts = ring.counts(at(round) + 15);
            assert_eq!((counts.successes, counts.failures), (4, 4), "round {round}");
        },
    );
}
