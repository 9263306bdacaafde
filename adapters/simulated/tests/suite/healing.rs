//! Bad machines, and what is done about them.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{ERRORS, MINUTE, config, fleet, id, key};
use futures::FutureExt;
use unattended_health::{Arm, Interval, Member, MetricSource};
use unattended_selfheal::{HealAction, HealError, HealOrder, Healer, NodeId};
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::{Clock, Platform};

/// Traffic enough, and a bad machine under every tenth target or so.
fn world() -> World {
    World {
        requests_per_s_median: 50.0,
        requests_sigma: 0.0,
        quiet_app_share: 0.0,
        daily_amplitude: 0.0,
        error_rate_low: 1e-3,
        error_rate_high: 1e-3,
        bad_node_share: 0.1,
        ..World::calm()
    }
}

fn make(world: World) -> Arc<Simulated> {
    Simulated::new(config(fleet(1, 20), world, "good")).unwrap()
}

fn order(term: u64, number: u64, node: NodeId) -> HealOrder {
    HealOrder::new(number, term, HealAction::Readmit { node })
}

/// An order is answered at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

/// Half of them run the new version; the others are the control.
async fn upgraded(sim: &Simulated) {
    let new = SimConfig::default().new;
    let members: Vec<Member> = fleet(1, 20)
        .iter()
        .enumerate()
        .map(|(at, target)| Member {
            target: target.id.clone(),
            stratum: 0,
            control: at % 2 == 1,
        })
        .collect();
    sim.follow(&members).await.unwrap();
    for at in (0..20).step_by(2) {
        Platform::replace(sim, &id(&format!("app-0-{at}")), &new, &key(1, 1, 0)).await;
    }
    sim.clock().sleep_until(20 * MINUTE).await;
}

async fn read(sim: &Simulated, minute: u64) -> Interval {
    sim.clock().sleep_until(minute * MINUTE).await;
    sim.read(minute - 1, minute * MINUTE).await.unwrap()
}

/// Bad events and exposure of the new version, whatever the level of the hosts.
fn canary(interval: &Interval) -> (u64, u64) {
    let rows = interval.rows.iter().filter(|row| row.metric == ERRORS && !row.fresh);
    rows.fold((0, 0), |(bad, total), row| {
        (bad + row.canary.bad, total + row.canary.total)
    })
}

/// A bad machine among those that run the new version.
fn bad_canary(sim: &Simulated) -> NodeId {
    let bad = sim.bad_nodes();
    let number = |target: &unattended_upgrade::TargetId| sim.node(target).unwrap();
    bad.iter().map(number).find(|node| node.0 % 2 == 0).unwrap()
}

#[test]
fn a_bad_machine_is_counted_and_says_whose_errors_they_are() {
    let sim = make(world());
    let clean = make(World {
        bad_node_share: 0.0,
        ..world()
    });
    let run = |sim: &Arc<Simulated>| {
        let inner = Arc::clone(sim);
        sim.executor()
            .run(async move {
                upgraded(&inner).await;
                read(&inner, 21).await
            })
            .unwrap()
    };
    let (with, without) = (run(&sim), run(&clean));
    assert!(clean.bad_nodes().is_empty());
    assert!(without.samples.iter().all(|sample| sample.arm == Arm::Control));
    let bad = bad_canary(&sim);
    let sample = with.samples.iter().find(|sample| sample.arm == Arm::Canary).unwrap();
    assert!(
        sample.hosts[0].host == bad.0 && sample.hosts[0].distinct > 10,
        "{sample:?}"
    );
    assert!(canary(&with).0 > canary(&without).0 + 10);
    // Whose they are adds up to what the row has.
    let named: u64 = sample.hosts.iter().map(|host| host.distinct).sum();
    assert!(
        named <= canary(&with).0 && named + 2 >= canary(&with).0,
        "{named} {with:?}"
    );
}

#[test]
fn an_isolated_target_gets_no_traffic_until_its_lease_ends_or_it_is_readmitted() {
    let sim = make(world());
    let inner = Arc::clone(&sim);
    sim.executor()
        .run(async move {
            let sim = inner;
            upgraded(&sim).await;
            let before = canary(&read(&sim, 21).await);
            let bad = bad_canary(&sim);
            sim.isolate(&order(1, 1, bad), bad, 5 * MINUTE).await.unwrap();
            assert_eq!(sim.isolated().len(), 1);
            let out = canary(&read(&sim, 22).await);
            // One of ten is out, and with it nearly all the errors.
            assert!(out.1 * 10 < before.1 * 10 - before.1 / 2, "{out:?} {before:?}");
            assert!(out.0 * 2 < before.0, "{out:?} {before:?}");
            let back = canary(&read(&sim, 27).await);
            assert!(back.1 > out.1 && sim.isolated().is_empty(), "the lease has ended");
            sim.isolate(&order(1, 2, bad), bad, 5 * MINUTE).await.unwrap();
            sim.readmit(&order(1, 3, bad), bad).await.unwrap();
            assert!(canary(&read(&sim, 28).await).1 > out.1 && sim.isolated().is_empty());
        })
        .unwrap();
}

#[test]
fn old_orders_are_refused_and_known_ones_do_nothing_again() {
    let sim = make(world());
    let inner = Arc::clone(&sim);
    sim.executor()
        .run(async move {
            let sim = inner;
            let (one, other) = (NodeId(3), NodeId(4));
            sim.isolate(&order(7, 1, one), one, MINUTE).await.unwrap();
            sim.clock().sleep_until(30_000).await;
            // The same again does not prolong it.
            sim.isolate(&order(7, 1, one), one, MINUTE).await.unwrap();
            sim.clock().sleep_until(MINUTE).await;
            assert!(sim.isolated().is_empty());
            sim.restart(&order(8, 2, one), one).await.unwrap();
            for old in [order(7, 1, one), order(7, 9, one), order(8, 1, one)] {
                assert_eq!(sim.isolate(&old, one, MINUTE).await, Err(HealError::Fenced));
            }
            // Terms are kept by node, and another was never told of the newer.
            sim.isolate(&order(7, 4, other), other, MINUTE).await.unwrap();
            let nobody = NodeId(99);
            assert!(matches!(
                sim.readmit(&order(9, 9, nobody), nobody).await,
                Err(HealError::Failed(_))
            ));
        })
        .unwrap();
}

#[test]
fn a_restart_may_cure_and_another_in_its_place_does() {
    for (cures, left) in [(0.0, true), (1.0, false)] {
        let sim = make(World {
            bad_node_restart_cures: cures,
            ..world()
        });
        let bad = bad_canary(&sim);
        let is_bad = |sim: &Simulated| sim.bad_nodes().iter().any(|target| sim.node(target) == Some(bad));
        let before = sim.digest();
        now(sim.restart(&order(1, 1, bad), bad)).unwrap();
        assert!(is_bad(&sim) == left && sim.digest() != before);
        now(Healer::replace(&*sim, &order(1, 2, bad), bad)).unwrap();
        assert!(!is_bad(&sim));
    }
}

#[test]
fn orders_are_lost_unreported_doubled_and_late() {
    let node = NodeId(5);
    let isolate = |world: World| {
        let sim = make(world);
        let done = now(sim.isolate(&order(1, 1, node), node, 10 * MINUTE));
        (sim, done)
    };
    let failed =
        |done: &Result<(), HealError>, word: &str| matches!(done, Err(HealError::Failed(why)) if why.contains(word));
    let (sim, done) = isolate(World {
        fault_lost: 1.0,
        ..world()
    });
    assert!(failed(&done, "lost") && sim.isolated().is_empty());
    let (sim, done) = isolate(World {
        fault_unreported: 1.0,
        ..world()
    });
    assert!(failed(&done, "carried out") && sim.isolated().len() == 1);
    let (sim, done) = isolate(World {
        fault_twice: 1.0,
        ..world()
    });
    assert!(done == Ok(()) && sim.isolated().len() == 1);
    let (sim, done) = isolate(World {
        fault_late: 1.0,
        ..world()
    });
    assert!(failed(&done, "late") && sim.isolated().is_empty());
    sim.clock().advance_to(6_000);
    assert_eq!(sim.isolated().len(), 1, "it comes after all");
    // What is late is refused where something newer has come before it.
    let (sim, _) = isolate(World {
        fault_late: 1.0,
        ..world()
    });
    now(sim.readmit(&order(2, 1, node), node)).unwrap_err();
    sim.clock().advance_to(30_000);
    assert!(
        sim.isolated().is_empty(),
        "the readmission was newer, whichever came first"
    );
}

#[test]
fn a_world_that_goes_on_from_its_log_knows_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let config = SimConfig {
        log: Some(dir.path().join("world")),
        ..config(fleet(1, 20), world(), "good")
    };
    let sim = Simulated::new(config.clone()).unwrap();
    let bad = bad_canary(&sim);
    let out = NodeId(7);
    sim.clock().advance_to(MINUTE);
    now(async {
        Healer::replace(&*sim, &order(3, 1, bad), bad).await.unwrap();
        sim.isolate(&order(3, 2, out), out, 10 * MINUTE).await.unwrap();
    });
    let digest = sim.digest();
    drop(sim);
    let again = Simulated::new(config).unwrap();
    assert_eq!(again.digest(), digest);
    assert_eq!(again.isolated().len(), 1);
    let old = now(again.readmit(&order(3, 1, out), out));
    assert_eq!(old, Err(HealError::Fenced));
    again.clock().advance_to(11 * MINUTE);
    assert!(again.isolated().is_empty());
}
