//! Jobs that follow an attempt: their numbers are older than those of jobs that came while they waited for it.
use std::sync::Arc;

use crate::support::{Kill, TestDriver, World, job, turn};
use unattended_upgrade::*;

/// One at a time: the first has ended, another job follows it there, and five that were submitted meanwhile wait beside it.
fn followed(follower: impl FnOnce(Job) -> Job) -> (Arc<World>, TestDriver, TargetId) {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("first");
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    driver
        .supersede(follower(job(&target, "newer", Mode::Cold)), "li")
        .unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        driver.submit(job(&world.add(name), "new", Mode::Cold)).unwrap();
    }
    while turn(&world, &mut driver).finished.is_empty() {}
    (world, driver, target)
}

#[test]
fn it_can_be_cancelled() {
    let (world, mut driver, target) = followed(|job| job);
    assert_eq!(driver.cancel(&target, "li"), Cancelled::Job);
    let rest = world.run(&mut driver);
    assert_eq!(rest.len(), 5, "{rest:?}");
    assert!(rest.iter().all(|receipt| receipt.target != target), "{rest:?}");
}

#[test]
fn it_can_be_superseded() {
    let (world, mut driver, target) = followed(|job| job);
    driver.supersede(job(&target, "newest", Mode::Cold), "li").unwrap();
    assert_eq!(world.run(&mut driver).len(), 6);
    assert_eq!(world.slot(&target).running, "newest".into());
}

/// It is dropped, and the driver is not due at once for ever.
#[test]
fn it_can_be_late() {
    let (world, mut driver, target) = followed(|job| job.start_by(1));
    let dropped = turn(&world, &mut driver).dropped;
    let why: Vec<_> = dropped.iter().map(|job| (&job.target, job.why)).collect();
    assert_eq!(why, [(&target, DropReason::Late)]);
    assert_eq!(world.run(&mut driver).len(), 5);
}
