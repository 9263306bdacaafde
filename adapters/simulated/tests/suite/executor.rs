//! Virtual time: order, jumps, and the stall that is an error.

use std::sync::Arc;

use crate::support::{fleet, sim, wait};
use parking_lot::Mutex;
use unattended_simulated::World;
use unattended_upgrade::Clock;

#[test]
fn timers_wake_in_order_of_time_then_of_registration() {
    let sim = sim(fleet(1, 1), World::calm(), "good");
    let clock = sim.clock();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sleeper = |name: &'static str, at_ms: u64| {
        let (clock, seen) = (clock.clone(), Arc::clone(&seen));
        async move {
            clock.sleep_until(at_ms).await;
            seen.lock().push((name, clock.now()));
        }
    };
    let all = futures::future::join5(
        sleeper("late", 9_000),
        sleeper("first of two", 500),
        sleeper("second of two", 500),
        sleeper("past", 0),
        sleeper("next", 501),
    );
    sim.executor().run(all).unwrap();
    let expected = [
        ("past", 0),
        ("first of two", 500),
        ("second of two", 500),
        ("next", 501),
        ("late", 9_000),
    ];
    assert_eq!(*seen.lock(), expected);
}

#[test]
fn time_stands_still_while_somebody_is_busy() {
    let sim = sim(fleet(1, 1), World::calm(), "good");
    let clock = sim.clock();
    let busy = async {
        for _ in 0..1_000 {
            let mut yielded = false;
            futures::future::poll_fn(|cx| {
                if std::mem::replace(&mut yielded, true) {
                    return std::task::Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
        }
        clock.now()
    };
    let (at_end, ()) = sim
        .executor()
        .run(futures::future::join(busy, clock.sleep_until(10)))
        .unwrap();
    assert_eq!(at_end, 0);
    assert_eq!(clock.now(), 10);
}

#[test]
fn waiting_for_nobody_is_an_error_and_not_a_hang() {
    let sim = sim(fleet(1, 1), World::calm(), "good");
    wait(&sim, 77);
    let stalled = sim.executor().run(futures::future::pending::<()>()).unwrap_err();
    assert_eq!(stalled.at_ms, 77);
    assert!(stalled.to_string().contains("no timer is set"));
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let sim = sim(fleet(1, 1), World::calm(), "good");
    let clock = sim.clock();
    let raced = async {
        let race = futures::future::select(clock.sleep_until(5), clock.sleep_until(1_000_000));
        drop(race.await);
        std::future::pending::<()>().await;
    };
    let stalled = sim.executor().run(raced).unwrap_err();
    assert_eq!(stalled.at_ms, 5, "the loser's timer was still set");
}

#[test]
fn wall_time_starts_where_it_is_told_and_time_never_goes_back() {
    let config = unattended_simulated::SimConfig {
        start_wall_ms: 1_700_000_000_000,
        ..crate::support::config(fleet(1, 1), World::calm(), "good")
    };
    let sim = unattended_simulated::Simulated::new(config).unwrap();
    wait(&sim, 1_234);
    assert_eq!(sim.clock().wall(), 1_700_000_001_234);
    sim.clock().advance_to(5);
    assert_eq!(sim.clock().now(), 1_234);
}
