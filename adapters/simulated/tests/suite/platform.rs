//! The fleet as a controller sees it.

use std::sync::Arc;

use crate::support::{MINUTE, close, fleet, id, in_place, key, new, now, observe, open, sim, wait};
use parking_lot::Mutex;
use unattended_simulated::{InitialState, SimConfig, SimError, SimTarget, Simulated, World};
use unattended_upgrade::{
    Capabilities, EffectOutcome, FleetChange, Generation, Ingress, IngressOrder, Phase, Platform, PlatformError,
    SelfCheck, Version,
};

#[test]
fn a_replacement_in_place_starts_runs_and_passes() {
    let sim = sim(fleet(1, 2), World::calm(), "good");
    let before = observe(&sim, "app-0-0");
    assert_eq!(
        (before.phase, before.ready, before.self_check.clone()),
        (Phase::Running, true, SelfCheck::Passed)
    );
    assert_eq!(in_place(&sim, "app-0-0", 1), EffectOutcome::Applied);
    let during = observe(&sim, "app-0-0");
    assert_eq!(
        (during.phase, during.version, during.instance),
        (Phase::Starting, Some(new()), None)
    );
    assert!(!during.ready && during.self_check == SelfCheck::Unreported);
    wait(&sim, 2 * MINUTE);
    let after = observe(&sim, "app-0-0");
    assert_eq!(
        (after.phase, after.version.clone(), after.ready),
        (Phase::Running, Some(new()), true)
    );
    assert_ne!(after.instance, before.instance);
    assert_eq!(observe(&sim, "app-0-1").version, Some(Version::from("old")));
    let census = sim.census();
    assert_eq!(
        (
            census.targets,
            census.on_new_verified,
            census.on_old_verified,
            census.on_neither
        ),
        (2, 1, 1, 0)
    );
}

#[test]
fn a_key_has_one_effect_and_a_fenced_generation_none() {
    let sim = sim(fleet(1, 1), World::calm(), "good");
    assert_eq!(in_place(&sim, "app-0-0", 1), EffectOutcome::Applied);
    wait(&sim, 2 * MINUTE);
    let instance = observe(&sim, "app-0-0").instance;
    assert_eq!(in_place(&sim, "app-0-0", 1), EffectOutcome::AlreadyApplied);
    assert_eq!(observe(&sim, "app-0-0").instance, instance);
    // Keys that are older than the last are late messages, applied before or not.
    let replace = |k| now(&sim, sim.replace(&id("app-0-0"), &new(), &k));
    assert_eq!(replace(key(2, 2, 200)), EffectOutcome::Applied);
    assert_eq!(replace(key(3, 3, 0)), EffectOutcome::Applied);
    assert_eq!(replace(key(3, 3, 0)), EffectOutcome::AlreadyApplied);
    assert_eq!(replace(key(2, 2, 200)), EffectOutcome::Stale);
    assert_eq!(in_place(&sim, "app-0-0", 1), EffectOutcome::Stale);
    let fence = |g| now(&sim, sim.fence(&id("app-0-0"), Generation(g)));
    assert_eq!(fence(5), EffectOutcome::Applied);
    assert_eq!(
        [fence(5), fence(4)],
        [EffectOutcome::AlreadyApplied, EffectOutcome::Stale]
    );
    let digest = sim.digest();
    assert_eq!(replace(key(9, 4, 0)), EffectOutcome::Stale);
    assert_eq!(sim.digest(), digest, "a refused effect left a trace");
    assert_eq!(replace(key(9, 5, 0)), EffectOutcome::Applied);
}

#[test]
fn every_kind_of_delivery_happens_and_none_doubles_an_effect() {
    let world = World {
        fault_lost: 0.2,
        fault_unreported: 0.2,
        fault_twice: 0.2,
        fault_late: 0.2,
        ..World::calm()
    };
    let sim = sim(fleet(1, 400), world, "good");
    let (mut lost, mut unreported, mut retry, mut applied) = (0, 0, 0, 0);
    for i in 0..400 {
        let name = format!("app-0-{i}");
        let outcome = in_place(&sim, &name, i);
        let done = observe(&sim, &name).version == Some(new());
        match outcome {
            EffectOutcome::Unknown { .. } if done => unreported += 1,
            EffectOutcome::Unknown { .. } => lost += 1,
            EffectOutcome::Retry { after_ms } => {
                assert!(!done && after_ms > 0);
                retry += 1;
            }
            EffectOutcome::Applied => {
                assert!(done);
                applied += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    // A fifth of 400 each, within four standard deviations of 8; what was delivered twice was applied.
    for share in [lost, unreported, retry] {
        assert!((48..=112).contains(&share), "{lost} {unreported} {retry}");
    }
    assert!((120..=200).contains(&applied), "{applied}");
    wait(&sim, 2 * MINUTE);
    for i in 0..400 {
        let seen = observe(&sim, &format!("app-0-{i}"));
        let starts = seen.instance.unwrap().0 & 0xffff_ffff;
        assert_eq!(
            starts,
            u64::from(seen.version == Some(new())),
            "target {i} was started {starts} times"
        );
    }
    // A lost order gets through in the end.
    for attempt in 0..50 {
        for i in 0..400 {
            in_place(&sim, &format!("app-0-{i}"), i);
        }
        wait(&sim, (3 + attempt) * MINUTE);
    }
    assert_eq!(sim.census().on_new_verified, 400);
}

#[test]
fn closing_drains_and_the_platform_reopens_what_is_forgotten() {
    let sim = sim(fleet(1, 3), World::calm(), "good");
    assert!(observe(&sim, "app-0-0").active.unwrap() > 0);
    assert_eq!(close(&sim, "app-0-0", 1, 10 * MINUTE), EffectOutcome::Applied);
    assert_eq!(observe(&sim, "app-0-0").ingress, Ingress::Open, "an order takes time");
    wait(&sim, 2_100);
    let draining = observe(&sim, "app-0-0");
    assert_eq!(draining.ingress, Ingress::Closed);
    assert!(draining.active.unwrap() > 0);
    wait(&sim, 30_000);
    assert_eq!(observe(&sim, "app-0-0").active, Some(0));
    wait(&sim, 10 * MINUTE - 1);
    assert_eq!(observe(&sim, "app-0-0").ingress, Ingress::Closed);
    wait(&sim, 10 * MINUTE);
    assert_eq!(observe(&sim, "app-0-0").ingress, Ingress::Open);
    // Opened in time: the deadline means nothing any more.
    close(&sim, "app-0-1", 2, 20 * MINUTE);
    wait(&sim, 11 * MINUTE);
    open(&sim, "app-0-1", 2);
    wait(&sim, 12 * MINUTE);
    assert_eq!(observe(&sim, "app-0-1").ingress, Ingress::Open);
    // Closed again with a later deadline: the earlier one means nothing any more.
    close(&sim, "app-0-1", 4, 14 * MINUTE);
    close(&sim, "app-0-1", 5, 30 * MINUTE);
    wait(&sim, 15 * MINUTE);
    assert_eq!(observe(&sim, "app-0-1").ingress, Ingress::Closed);
    // Turned round before it took hold: nothing was ever seen.
    close(&sim, "app-0-2", 3, 90 * MINUTE);
    open(&sim, "app-0-2", 3);
    assert_eq!(observe(&sim, "app-0-2").ingress, Ingress::Open);
    wait(&sim, 16 * MINUTE);
    assert_eq!(observe(&sim, "app-0-2").ingress, Ingress::Open);
}

#[test]
fn an_unverified_instance_is_not_reopened() {
    let sim = sim(fleet(1, 1), World::calm(), "crash");
    close(&sim, "app-0-0", 1, 10 * MINUTE);
    in_place(&sim, "app-0-0", 1);
    wait(&sim, 11 * MINUTE);
    let seen = observe(&sim, "app-0-0");
    assert_eq!(
        (seen.phase, seen.ready, seen.ingress),
        (Phase::Crashing, false, Ingress::Closed)
    );
    assert_eq!(seen.self_check, SelfCheck::Unreported);
}

#[test]
fn initial_states_stay_what_they_are() {
    let mut targets = fleet(1, 4);
    targets[1].state = InitialState::AppUnready;
    targets[2].state = InitialState::SidecarCrashing;
    targets[3].state = InitialState::Pending;
    let sim = sim(targets, World::calm(), "good");
    let phases = |sim: &Arc<Simulated>| {
        (0..4)
            .map(|i| observe(sim, &format!("app-0-{i}")).phase)
            .collect::<Vec<_>>()
    };
    let expected = [Phase::Running, Phase::Running, Phase::Crashing, Phase::Stopped];
    assert_eq!(phases(&sim), expected);
    assert_eq!(sim.census().on_old_verified, 2);
    for i in 0..4 {
        in_place(&sim, &format!("app-0-{i}"), i);
    }
    wait(&sim, 5 * MINUTE);
    assert_eq!(phases(&sim), expected);
    assert!(observe(&sim, "app-0-1").ready, "readiness is about the sidecar");
    let census = sim.census();
    assert_eq!((census.on_new_verified, census.on_neither), (2, 2));
}

#[test]
fn some_replacements_never_come_up_and_another_attempt_may() {
    let world = World {
        never_ready_share: 0.5,
        ..World::calm()
    };
    let sim = sim(fleet(1, 200), world, "good");
    for i in 0..200 {
        in_place(&sim, &format!("app-0-{i}"), i);
    }
    wait(&sim, 5 * MINUTE);
    let up = sim.census().on_new_verified;
    assert!((70..=130).contains(&up), "{up}");
    for i in 0..200 {
        if !observe(&sim, &format!("app-0-{i}")).ready {
            in_place(&sim, &format!("app-0-{i}"), 1_000 + i);
        }
    }
    wait(&sim, 10 * MINUTE);
    assert!(sim.census().on_new_verified > up + 20);
}

#[test]
fn the_dead_are_followed_by_the_born_and_the_hook_says_what_they_run() {
    let world = World {
        deaths_per_target_day: 10.0,
        ..World::calm()
    };
    let sim = sim(fleet(2, 50), world, "good");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    sim.on_birth(Box::new(move |newborn| {
        seen.lock().push(newborn.target.clone());
        Version::from(if &*newborn.app == "app-1" { "new" } else { "old" })
    }));
    wait(&sim, 180 * MINUTE);
    assert!(!asked.lock().is_empty(), "births waited for somebody to look");
    let news = now(&sim, sim.watch(0)).unwrap();
    let mut joined = Vec::new();
    let mut left = 0;
    for change in &news.changes {
        match change {
            FleetChange::Joined {
                target,
                app,
                labels,
                version,
            } => {
                assert_eq!(version.as_str(), if &**app == "app-1" { "new" } else { "old" });
                assert!(target.as_str().starts_with(&format!("{app}-b")));
                assert_eq!(labels.len(), 2);
                joined.push(target.clone());
            }
            FleetChange::Left { target } => {
                left += 1;
                assert_eq!(
                    now(&sim, sim.observe(std::slice::from_ref(target))).unwrap()[0].phase,
                    Phase::Gone
                );
                let outcome = in_place(&sim, target.as_str(), 1);
                assert!(matches!(outcome, EffectOutcome::Failed { .. }), "{outcome:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    // 100 targets, 10 a day each, an eighth of a day: 125 with a standard deviation of 11.
    assert!((80..=170).contains(&left), "{left}");
    assert_eq!((left, sim.census().targets), (joined.len(), 100));
    assert_eq!(*asked.lock(), joined);
    assert_eq!(now(&sim, sim.watch(news.cursor)).unwrap().changes, []);
}

#[test]
fn only_long_outages_are_news_and_they_end() {
    let world = World {
        restarts_per_target_day: 24.0,
        in_place_s_median: 20.0,
        ..World::calm()
    };
    let sim = sim(fleet(1, 100), world, "good");
    wait(&sim, 600 * MINUTE);
    let news = now(&sim, sim.watch(0)).unwrap().changes;
    let down = news
        .iter()
        .filter(|n| matches!(n, FleetChange::BecameUnhealthy { .. }))
        .count();
    let up = news
        .iter()
        .filter(|n| matches!(n, FleetChange::BecameHealthy { .. }))
        .count();
    // 1,000 restarts; an outage of median 20 s and sigma 0.5 is longer than 30 s in a fifth of them.
    assert!((130..=300).contains(&down), "{down}");
    assert!(down - up <= 3, "{down} outages, {up} ends");
}

#[test]
fn a_leak_kills_again_and_again() {
    let sim = sim(fleet(1, 1), World::calm(), "leak=50%/h");
    in_place(&sim, "app-0-0", 1);
    wait(&sim, 59 * MINUTE);
    let first = observe(&sim, "app-0-0").instance;
    wait(&sim, 63 * MINUTE);
    let second = observe(&sim, "app-0-0").instance;
    wait(&sim, 123 * MINUTE);
    let third = observe(&sim, "app-0-0").instance;
    assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
}

#[test]
fn what_is_switched_off_is_unsupported() {
    let sim = Simulated::new(SimConfig {
        capabilities: Capabilities::none(),
        ..crate::support::config(fleet(1, 1), World::calm(), "good")
    })
    .unwrap();
    assert_eq!(in_place(&sim, "app-0-0", 1), EffectOutcome::Unsupported);
    assert_eq!(open(&sim, "app-0-0", 1), EffectOutcome::Unsupported);
    assert_eq!(
        now(&sim, sim.fence(&id("app-0-0"), Generation(1))),
        EffectOutcome::Unsupported
    );
    assert_eq!(
        now(&sim, sim.prefetch(&id("app-0-0"), &new(), &key(1, 1, 0))),
        EffectOutcome::Unsupported
    );
    assert_eq!(now(&sim, sim.watch(0)), Err(PlatformError::Unsupported("watch")));
    assert_eq!(
        now(&sim, sim.replace(&id("app-0-0"), &new(), &key(1, 1, 0))),
        EffectOutcome::Applied
    );
}

#[test]
fn an_artefact_at_hand_makes_the_replacement_shorter() {
    let world = World {
        prefetch_s_low: 20.0,
        in_place_sigma: 0.0,
        in_place_tail_factor: 1.0,
        ..World::calm()
    };
    let sim = sim(fleet(1, 2), world, "good");
    now(&sim, sim.prefetch(&id("app-0-0"), &new(), &key(1, 1, 0)));
    wait(&sim, 21_000);
    in_place(&sim, "app-0-0", 1);
    in_place(&sim, "app-0-1", 2);
    wait(&sim, 28_000);
    assert!(observe(&sim, "app-0-0").ready && !observe(&sim, "app-0-1").ready);
    wait(&sim, 48_000);
    assert!(observe(&sim, "app-0-1").ready);
}

#[test]
fn observing_may_fail_and_is_never_an_answer() {
    let world = World {
        fault_observe: 1.0,
        ..World::calm()
    };
    let sim = sim(fleet(1, 1), world, "good");
    assert!(matches!(
        now(&sim, sim.observe(&[id("app-0-0")])),
        Err(PlatformError::Unavailable(_))
    ));
}

#[test]
fn the_same_calls_give_the_same_world() {
    let live = |seed| {
        let world = World {
            deaths_per_target_day: 5.0,
            restarts_per_target_day: 5.0,
            fault_lost: 0.1,
            ..World::default()
        };
        let sim = Simulated::new(SimConfig {
            seed,
            ..crate::support::config(fleet(3, 20), world, "leak=50%/h")
        })
        .unwrap();
        for i in 0..30 {
            let order = IngressOrder::Close {
                reopen_by_ms: (i + 3) * MINUTE,
            };
            let target = id(&format!("app-{}-{}", i % 3, i / 3));
            drop(now(&sim, sim.ingress(&target, order, &key(i, 1, 0))));
            in_place(&sim, target.as_str(), i);
            wait(&sim, (i + 1) * MINUTE);
        }
        sim.digest()
    };
    assert_eq!(live(1), live(1));
    assert_ne!(live(1), live(2));
}

#[test]
fn looking_often_changes_nothing() {
    let world = World {
        deaths_per_target_day: 20.0,
        restarts_per_target_day: 20.0,
        ..World::default()
    };
    let end = |step: u64| {
        let sim = sim(fleet(2, 30), world.clone(), "good");
        let mut at = 0;
        while at < 120 * MINUTE {
            at += step;
            wait(&sim, at);
            observe(&sim, "app-0-0");
        }
        sim.digest()
    };
    assert_eq!(end(120 * MINUTE), end(5_000));
}

#[test]
fn what_is_not_possible_is_refused_with_words() {
    let refused = |config: SimConfig| Simulated::new(config).unwrap_err().to_string();
    let ok = || crate::support::config(fleet(2, 3), World::calm(), "good");
    assert!(
        refused(SimConfig {
            targets: vec![],
            ..ok()
        })
        .contains("0 targets")
    );
    assert!(
        refused(SimConfig {
            new: Version::from("old"),
            ..ok()
        })
        .contains("both `old`")
    );
    assert!(refused(SimConfig { interval_ms: 0, ..ok() }).contains("interval_ms"));
    let twice = [fleet(1, 1), fleet(1, 1)].concat();
    assert!(refused(SimConfig { targets: twice, ..ok() }).contains("two targets `app-0-0`"));
    let nameless = SimTarget {
        app: String::new(),
        ..fleet(1, 1).remove(0)
    };
    assert!(
        refused(SimConfig {
            targets: vec![nameless],
            ..ok()
        })
        .contains("target 0")
    );
    let release = |text: &str| crate::support::config(fleet(2, 3), World::calm(), text);
    assert!(refused(release("crash@zone=zone-7")).contains("did you mean `zone-0`"));
    assert!(refused(release("crash@app=app-0@stack=stack-1")).contains("matches all of its filters together"));
    let mut world = World::calm();
    world.burst_mean = f64::NAN;
    assert!(matches!(
        Simulated::new(SimConfig { world, ..ok() }),
        Err(SimError::World(_))
    ));
}
