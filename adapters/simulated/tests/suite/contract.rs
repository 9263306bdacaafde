//! The simulated platform keeps the contract of platforms, with and without faults at its boundaries.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::{config, fleet, id, key, new, now, observe, wait};
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::conformance::{Breach, Memory, Subject, Undisturbed, platform_holds, platform_suite};
use unattended_upgrade::{Capabilities, EffectOutcome, HandoverOrder, Platform};

/// A world in which nothing happens by itself and every order ends.
fn at_rest() -> World {
    World {
        restarts_per_target_day: 0.0,
        deaths_per_target_day: 0.0,
        never_ready_share: 0.0,
        fault_observe: 0.0,
        ..World::calm()
    }
}

fn subject() -> Subject {
    let targets = ["app-0-0", "app-0-1", "app-1-0"].map(id);
    let subject = Subject::new(targets, "old".into(), "new".into());
    let subject = subject.configs(["old".into(), "config-2".into()]);
    subject.times(3_600_000, 300_000, 1_000).scope("app=app-0")
}

/// Everything it can do.
fn all() -> Capabilities {
    let watched = SimConfig::default()
        .capabilities
        .with_config()
        .with_slots()
        .with_hand_over();
    watched.with_barrier().with_probe().with_endpoint().with_desired()
}

fn tried(config: SimConfig) -> Result<Memory, Breach> {
    let sim = Simulated::new(config).unwrap();
    let clock = sim.clock();
    let subject = subject();
    let suite = platform_suite(sim.as_ref(), &clock, &subject, &Undisturbed);
    let memory = sim.executor().run(suite).unwrap()?;
    Ok(memory)
}

#[test]
fn the_simulated_platform_keeps_the_contract() {
    for capabilities in [SimConfig::default().capabilities, all()] {
        let config = SimConfig {
            capabilities,
            ..config(fleet(2, 2), at_rest(), "good")
        };
        assert_eq!(tried(config).map(drop), Ok(()), "{capabilities:?}");
    }
}

#[test]
fn faults_at_its_boundaries_break_nothing() {
    let world = World {
        fault_lost: 0.1,
        fault_unreported: 0.1,
        fault_twice: 0.1,
        fault_late: 0.1,
        fault_observe: 0.05,
        ..at_rest()
    };
    for seed in 0..3 {
        let config = SimConfig {
            seed,
            capabilities: all(),
            ..config(fleet(2, 2), world.clone(), "good")
        };
        assert_eq!(tried(config).map(drop), Ok(()), "seed {seed}");
    }
}

#[test]
fn any_of_its_capabilities_can_be_left_out() {
    let slots = SimConfig::default().capabilities.with_config().with_slots();
    let none = Capabilities::none();
    for capabilities in [
        none,
        none.with_fence().with_config(),
        none.with_ingress(),
        none.with_ingress().with_barrier(),
        none.with_slots().with_endpoint(),
        none.with_fence().with_probe().with_desired(),
        slots,
        slots.with_hand_over(),
    ] {
        let config = SimConfig {
            capabilities,
            ..config(fleet(2, 2), at_rest(), "good")
        };
        assert_eq!(tried(config).map(drop), Ok(()), "{capabilities:?}");
    }
}

#[test]
fn what_it_was_told_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = || SimConfig {
        log: Some(dir.path().join("world")),
        capabilities: all(),
        ..config(fleet(2, 2), at_rest(), "good")
    };
    let memory = tried(config()).unwrap();
    let sim = Simulated::new(config()).unwrap();
    let (clock, subject) = (sim.clock(), subject());
    let held = sim
        .executor()
        .run(platform_holds(sim.as_ref(), &clock, &subject, &memory));
    assert_eq!(held.unwrap(), Ok(()));
    assert!(sim.capabilities().fence);
}

#[test]
fn one_that_had_left_polls_again_when_it_is_asked_back() {
    let sim = Simulated::new(SimConfig {
        capabilities: all(),
        ..config(fleet(1, 1), at_rest(), "good")
    })
    .unwrap();
    let (target, old) = (id("app-0-0"), "old".into());
    now(&sim, sim.spawn(&target, &new(), &key(1, 1, 0)));
    wait(&sim, 3_600_000);
    let orders = [
        HandoverOrder::Offer,
        HandoverOrder::Accept,
        HandoverOrder::Quiesce,
        HandoverOrder::Commit,
        HandoverOrder::Retire,
        HandoverOrder::Return,
    ];
    for (generation, order) in (2..).zip(orders) {
        let taken = now(
            &sim,
            sim.hand_over(&target, order, &old, &new(), &key(1, generation, 0)),
        );
        assert_eq!(taken, EffectOutcome::Applied, "{order:?}");
        let pair = observe(&sim, "app-0-0").pair.unwrap();
        let accepts = |slot: &unattended_upgrade::SlotSeen| slot.accepting;
        assert!(
            pair.slots.iter().any(accepts),
            "after {order:?} nobody accepts: {pair:?}"
        );
    }
}
