//! What a driver refuses with words, and its bound on all that is under way.
use crate::support::{Kill, World, job};
use futures::FutureExt;
use unattended_upgrade::*;

#[test]
fn jobs_are_refused_with_words() {
    let world = World::new(Kill::at([]), Capabilities::none());
    let target = world.add("pod-1");
    let mut driver = world.driver();
    let same = driver.submit(job(&target, "old", Mode::Cold)).unwrap_err();
    assert!(matches!(same, SubmitError::SameVersion { .. }), "{same}");
    let warm = driver.submit(job(&target, "new", Mode::Warm)).unwrap_err();
    assert!(matches!(warm, SubmitError::Mode { .. }), "{warm}");
    let name = driver
        .submit(job(&TargetId::new("x".repeat(2_000)), "new", Mode::Cold))
        .unwrap_err();
    assert_eq!(name, SubmitError::Name { bytes: 2_000 });
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let busy = driver.submit(job(&target, "new", Mode::Cold)).unwrap_err();
    assert!(matches!(busy, SubmitError::Busy { .. }), "{busy}");
    assert_eq!(driver.cancel(&target, "li"), Cancelled::Job);
    assert_eq!(driver.outstanding(), 0);
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    // Without fencing nothing is fenced, and it works all the same.
    assert_eq!(world.run(&mut driver)[0].terminal, Terminal::Done);
}

#[test]
fn no_more_are_under_way_than_allowed() {
    let world = World::new(Kill::at([]), World::able());
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(3));
    for number in 0..10 {
        let target = world.add(&format!("pod-{number}"));
        driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    }
    let mut order = Vec::new();
    while driver.outstanding() > 0 {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        assert!(driver.in_flight() <= 3);
        order.extend(turn.finished.into_iter().map(|receipt| receipt.attempt.0));
        if let Some(due) = turn.next_due_ms {
            world.clock.set(due.max(world.clock.now()));
        }
    }
    assert_eq!(order, (0..10).collect::<Vec<_>>());
}

#[test]
fn values_out_of_range_are_named() {
    let mut timing = Timing::default();
    timing.good_looks = 0;
    let error = DriverConfig::new().timing(timing).validate().unwrap_err();
    assert_eq!(error.to_string(), "`good_looks` is 0: give a value from 1 to 100");
    assert!(DriverConfig::new().poll_ms(0).validate().is_err());
    assert!(DriverConfig::new().validate().is_ok());
}
