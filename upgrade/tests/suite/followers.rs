//! Jobs that follow an attempt: their numbers are older than those of jobs that came while they waited for it.
use std::sync::Arc;

use crate::support::{Kill, TestDriver, World, job};
use futures::FutureExt;
use unattended_upgrade::*;

fn world() -> Arc<World> {
    World::new(Kill::at([]), World::able())
}

fn turn(world: &World, driver: &mut TestDriver) -> Turn {
    let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
    if let Some(due) = turn.next_due_ms {
        world.clock.set(due.max(world.clock.now()));
    }
    turn
}

#[test]
fn a_cancelled_successor_is_gone() {
    let world = world();
    let [a, b, c] = ["a", "b", "c"].map(|name| world.add(name));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    driver.supersede(job(&a, "newer", Mode::Cold), "li").unwrap();
    driver.submit(job(&b, "new", Mode::Cold)).unwrap();
    driver.submit(job(&c, "new", Mode::Cold)).unwrap();
    let mut finished = Vec::new();
    while finished.is_empty() {
        finished.extend(turn(&world, &mut driver).finished);
    }
    assert_eq!(driver.cancel(&a, "li"), Cancelled::Job);
    assert_eq!(driver.outstanding(), 2);
    let rest = world.run(&mut driver);
    assert!(rest.iter().all(|receipt| receipt.target != a), "{rest:?}");
}

#[test]
fn a_late_successor_is_dropped_and_nothing_spins() {
    let world = world();
    let [a, b, c, d, e, f] = ["a", "b", "c", "d", "e", "f"].map(|name| world.add(name));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    driver
        .supersede(job(&a, "newer", Mode::Cold).start_by(20_000), "li")
        .unwrap();
    driver.submit(job(&b, "new", Mode::Cold)).unwrap();
    for other in [&c, &d, &e, &f] {
        driver.submit(job(other, "new", Mode::Cold)).unwrap();
    }
    let mut turns = 0;
    let mut stood = 0;
    while driver.outstanding() > 0 {
        let before = world.clock.now();
        turn(&world, &mut driver);
        turns += 1;
        stood = if world.clock.now() == before { stood + 1 } else { 0 };
        assert!(
            stood < 500,
            "at {before} the driver is due at once for ever: {driver:?}"
        );
        assert!(turns < 5_000);
    }
}

#[test]
fn a_waiting_successor_can_be_superseded() {
    let world = world();
    let [a, b, c] = ["a", "b", "c"].map(|name| world.add(name));
    let mut driver = world.driver_with(DriverConfig::new().max_in_flight(1));
    driver.submit(job(&a, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    driver.supersede(job(&a, "newer", Mode::Cold), "li").unwrap();
    driver.submit(job(&b, "new", Mode::Cold)).unwrap();
    driver.submit(job(&c, "new", Mode::Cold)).unwrap();
    let mut finished = Vec::new();
    while finished.is_empty() {
        finished.extend(turn(&world, &mut driver).finished);
    }
    driver.supersede(job(&a, "newest", Mode::Cold), "li").unwrap();
}
