//! The pace: how many are on their way at once goes by the belief that the next attempt fails, and nothing stops by it.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use parking_lot::Mutex;
use unattended::Outcome;
use unattended::batching::pct;
use unattended::upgrade::Clock;

use crate::support::{Case, Ended};

/// Eight hundred targets whose caps would let two hundred start at once.
fn case(never_ready_share: f64) -> Case {
    let mut case = Case::calm(20, 40);
    case.world.never_ready_share = never_ready_share;
    case.policy = case.policy.per_app(pct(50)).total_in_flight(pct(50));
    case
}

/// Runs it and looks every two seconds: how many were under way at the most, and by which pace at the least and at the most.
fn watched(case: &Case) -> (Ended, u64, u64, u64) {
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let seen = Arc::new(Mutex::new((0, u64::MAX, 0)));
    let kept = Arc::clone(&seen);
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + 2_000).await;
            let Some(outlook) = handle.outlook(None) else { continue };
            let (in_flight, at_once) = (handle.progress().unwrap().in_flight, outlook.most_in_flight.unwrap());
            let mut seen = kept.lock();
            *seen = (seen.0.max(in_flight), seen.1.min(at_once), seen.2.max(at_once));
        }
    });
    let (most, slowest, fastest) = *seen.lock();
    (ended, most, slowest, fastest)
}

#[test]
fn success_makes_it_faster() {
    let (ended, most, slowest, fastest) = watched(&case(0.0));
    assert_eq!(ended.outcome, Outcome::Completed);
    assert_eq!(
        slowest, 60,
        "one of twenty is believed to fail before anything is known, and three may"
    );
    assert!(fastest > 200, "{fastest}");
    assert!(most > 100, "{most} at once");
    assert!(!ended.codes().contains(&"pace.slower"), "{:?}", ended.codes());
}

#[test]
fn failures_make_it_slower_and_stop_nothing() {
    let (ended, most, slowest, fastest) = watched(&case(0.1));
    assert_eq!(ended.outcome, Outcome::Completed);
    let (_, good, ..) = watched(&case(0.0));
    assert!(most * 3 < good, "{most} at once in place of {good}");
    assert!((3..=60).contains(&slowest) && fastest < 120, "{slowest} to {fastest}");
    let slower = ended.codes().iter().filter(|&&code| code == "pace.slower").count();
    assert!(slower >= 1, "{:?}", ended.codes());
}
