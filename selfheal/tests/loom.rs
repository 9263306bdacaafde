//! Every interleaving of two threads on the hand-made atomics, by the model checker loom. Runs with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p unattended-selfheal --test loom`.

#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use unattended_selfheal::{Detector, Ending, Outcome, Policy, Ring, Step};

/// Up to three switches between threads at places where none had to be: enough for every known fault of such rings.
fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

/// Two threads, one per kind, at these times; then what the ring counts at `at_ms`.
fn ring(times: [u64; 2], before: &'static [u64], at_ms: u64, wanted: (u64, u64)) {
    model(move || {
        let ring = Arc::new(Ring::<2>::new(1).unwrap());
        before.iter().for_each(|&now_ms| ring.record(now_ms, Outcome::Failure));
        let other = Arc::clone(&ring);
        let thread = thread::spawn(move || other.record(times[1], Outcome::Failure));
        ring.record(times[0], Outcome::Success);
        thread.join().unwrap();
        let counts = ring.counts(at_ms);
        assert_eq!((counts.successes, counts.failures), wanted);
    });
}

#[test]
fn in_one_slice_nothing_is_lost() {
    ring([1, 1], &[], 1, (1, 1));
}

#[test]
fn in_neighbouring_slices_nothing_is_lost() {
    ring([1, 2], &[], 2, (1, 1));
}

#[test]
fn while_the_ring_turns_old_counts_go_and_new_ones_stay() {
    // Slices 1 and 2 hold a failure each; both threads enter slice 4, whose slot is that of 2.
    ring([4, 4], &[1, 2], 4, (1, 1));
    // One is still in 3 while the other enters 4: 3 stays in the window, and so does its count.
    ring([3, 4], &[1, 2], 4, (1, 1));
}

#[test]
fn a_leap_over_the_whole_ring_empties_it() {
    ring([9, 9], &[1, 2], 9, (1, 1));
}

#[test]
fn the_score_takes_in_every_outcome() {
    model(|| {
        let mut detector = Detector::new(Policy::default(), 1).unwrap();
        let node = detector.add(0, None).unwrap();
        let other = node.clone();
        let thread = thread::spawn(move || other.record(0, Ending::ServerError, None));
        node.record(0, Ending::TimedOut, None);
        thread.join().unwrap();
        assert_eq!(node.counts(0).failures, 2);
        let deltas = {
            detector.sweep(250);
            detector.deltas(250)
        };
        assert_eq!((deltas[0].counts.failures, deltas[0].counts.time_outs), (2, 1));
        let two = 2 * detector.test().steps().failure();
        assert_eq!(detector.score(node.index()).unwrap().value(), two);
    });
}

#[test]
fn a_probe_is_given_out_once() {
    model(|| {
        let mut detector = Detector::new(
            Policy {
                isolation_jitter: 0.0,
                ..Policy::default()
            },
            1,
        )
        .unwrap();
        let node = detector.add(0, None).unwrap();
        detector.add(0, None).unwrap();
        detector.impose(0, node.index(), 1_000).unwrap();
        assert!(detector.sweep(1_000).iter().any(|action| action.step == Step::Probe));
        let other = node.clone();
        let thread = thread::spawn(move || other.admits(1_100, 0));
        // The lease is renewed meanwhile, and the probe stays taken.
        let mine = node.admits(1_100, 0);
        detector.sweep(1_200);
        let theirs = thread.join().unwrap();
        let third = node.admits(1_300, 0);
        assert_eq!(u32::from(mine) + u32::from(theirs) + u32::from(third), 1);
    });
}
