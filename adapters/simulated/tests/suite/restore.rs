//! The world survives a kill of the process.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{MINUTE, config, fleet, id, key, new, now, wait};
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::{Clock, EffectKey, EffectOutcome, FleetChange, Generation, IngressOrder, Platform, Version};

fn log_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.world"))
}

/// The path of a log that is not there yet.
fn path(name: &str) -> PathBuf {
    let path = log_path(name);
    drop(fs::remove_file(&path));
    path
}

fn lively(path: &Path) -> SimConfig {
    let world = World {
        deaths_per_target_day: 8.0,
        restarts_per_target_day: 8.0,
        never_ready_share: 0.1,
        fault_lost: 0.05,
        fault_unreported: 0.05,
        fault_twice: 0.05,
        fault_late: 0.05,
        ..World::default()
    };
    SimConfig {
        log: Some(path.to_owned()),
        ..config(fleet(3, 20), world, "leak=60%/h")
    }
}

/// Births alternate, so that a replay cannot guess them.
fn hooked(sim: &std::sync::Arc<Simulated>) {
    sim.on_birth(Box::new(|newborn| {
        Version::from(if newborn.at_ms % 2 == 0 { "old" } else { "new" })
    }));
}

/// Steps `steps` of a fixed program: one effect of each kind on one target every half minute.
fn steps(sim: &std::sync::Arc<Simulated>, steps: std::ops::Range<u64>) {
    for step in steps {
        wait(sim, step * 30_000);
        let target = id(&format!("app-{}-{}", step % 3, step / 3 % 20));
        let at = sim.clock().now();
        let by = IngressOrder::Close {
            reopen_by_ms: at + 10 * MINUTE,
        };
        now(sim, async {
            sim.fence(&target, Generation(step)).await;
            sim.prefetch(&target, &new(), &key(step, step, 0)).await;
            sim.ingress(&target, by, &key(step, step, 1)).await;
            sim.replace_in_place(&target, &new(), &key(step, step, 2)).await;
            sim.ingress(&target, IngressOrder::Open, &key(step, step, 99)).await;
        });
    }
}

#[test]
fn a_restored_world_is_the_uninterrupted_one() {
    let whole = path("whole");
    let uninterrupted = Simulated::new(lively(&whole)).unwrap();
    hooked(&uninterrupted);
    let mut digests = Vec::new();
    for step in 0..120 {
        steps(&uninterrupted, step..step + 1);
        digests.push(uninterrupted.digest());
    }
    let news = now(&uninterrupted, uninterrupted.watch(0)).unwrap();
    assert!(
        news.changes
            .iter()
            .filter(|n| matches!(n, FleetChange::Joined { .. }))
            .count()
            > 10,
        "too calm a test"
    );
    for kill_at in [1, 17, 50, 90, 119] {
        let log = path("killed");
        let first = Simulated::new(lively(&log)).unwrap();
        hooked(&first);
        steps(&first, 0..kill_at);
        drop(first);
        let second = Simulated::new(lively(&log)).unwrap();
        hooked(&second);
        second.clock().advance_to((kill_at - 1) * 30_000);
        assert_eq!(
            second.digest(),
            digests[usize::try_from(kill_at).unwrap() - 1],
            "killed after step {kill_at}"
        );
        steps(&second, kill_at..120);
        assert_eq!(second.digest(), digests[119], "went on after step {kill_at}");
        assert_eq!(now(&second, second.watch(0)).unwrap(), news);
    }
    // The log that was continued is the log of a world that never stopped.
    assert_eq!(
        fs::read(log_path("killed")).unwrap(),
        fs::read(log_path("whole")).unwrap()
    );
}

/// Whoever has lines kept back loses those that it never handed over, and none else: the world goes on from the last flush.
#[test]
fn what_is_kept_back_is_lost_from_the_last_flush_on() {
    let (at_once, grouped) = (path("at-once"), path("grouped"));
    let first = Simulated::new(lively(&at_once)).unwrap();
    hooked(&first);
    let config = || SimConfig {
        log_in_groups: true,
        ..lively(&grouped)
    };
    let second = Simulated::new(config()).unwrap();
    hooked(&second);
    let begun = fs::read(&grouped).unwrap();
    for sim in [&first, &second] {
        steps(sim, 0..40);
    }
    let flushed = fs::read(&at_once).unwrap();
    assert_eq!(
        fs::read(&grouped).unwrap(),
        begun,
        "nothing but the head was handed over"
    );
    second.flush().unwrap();
    assert_eq!(fs::read(&grouped).unwrap(), flushed);
    let digest = second.digest();
    steps(&second, 40..60);
    // As a kill leaves it: nobody closes the log.
    std::mem::forget(second);
    assert_eq!(fs::read(&grouped).unwrap(), flushed);
    let third = Simulated::new(config()).unwrap();
    hooked(&third);
    third.clock().advance_to(39 * 30_000);
    assert_eq!(third.digest(), digest);
    steps(&third, 40..60);
    steps(&first, 40..60);
    assert_eq!(third.digest(), first.digest());
    drop(third);
    assert_eq!(
        fs::read(&grouped).unwrap(),
        fs::read(&at_once).unwrap(),
        "an end hands over what is left"
    );
}

#[test]
fn a_key_is_never_applied_twice_across_a_kill() {
    let log = path("keys");
    let config = || SimConfig {
        log: Some(log.clone()),
        ..config(fleet(1, 2), World::calm(), "good")
    };
    let sim = Simulated::new(config()).unwrap();
    let target = id("app-0-0");
    let replace = |sim: &std::sync::Arc<Simulated>, k| now(sim, sim.replace(&target, &new(), &k));
    assert_eq!(replace(&sim, key(1, 1, 0)), EffectOutcome::Applied);
    let last = EffectKey {
        ordinal: 1,
        ..key(1, 1, 70)
    };
    assert_eq!(replace(&sim, last), EffectOutcome::Applied);
    assert_eq!(now(&sim, sim.fence(&target, Generation(1))), EffectOutcome::Applied);
    drop(sim);
    let sim = Simulated::new(config()).unwrap();
    assert_eq!(replace(&sim, last), EffectOutcome::AlreadyApplied);
    assert_eq!(replace(&sim, key(1, 1, 0)), EffectOutcome::Stale);
    assert_eq!(replace(&sim, key(1, 0, 1)), EffectOutcome::Stale);
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .contains(r#""effect":"replace","version":"new","key":"1/1/0/0""#),
        "{text}"
    );
}

#[test]
fn a_log_cut_anywhere_is_continued_from_its_last_whole_line() {
    let log = path("torn");
    let sim = Simulated::new(lively(&log)).unwrap();
    hooked(&sim);
    steps(&sim, 0..6);
    drop(sim);
    let bytes = fs::read(&log).unwrap();
    let cut = path("cut");
    for length in (0..bytes.len()).step_by(7) {
        fs::write(&cut, &bytes[..length]).unwrap();
        let sim = Simulated::new(lively(&cut)).unwrap();
        let whole = bytes[..length].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let kept = fs::read(&cut).unwrap();
        if whole == 0 {
            // The header was torn: the world begins anew.
            assert_eq!(kept, bytes[..kept.len()], "cut at {length}");
        } else {
            assert_eq!(kept, bytes[..whole], "cut at {length}");
        }
        now(&sim, sim.fence(&id("app-2-19"), Generation(1_000)));
    }
}

#[test]
fn the_log_of_another_world_or_no_log_at_all_is_refused_and_left_alone() {
    let log = path("other");
    drop(Simulated::new(lively(&log)).unwrap());
    let before = fs::read(&log).unwrap();
    let refused = |config: SimConfig| Simulated::new(config).unwrap_err().to_string();
    let other_seed = SimConfig {
        seed: 9,
        ..lively(&log)
    };
    assert!(refused(other_seed).contains("belongs to another simulation"));
    let other_fleet = SimConfig {
        targets: fleet(3, 19),
        ..lively(&log)
    };
    assert!(refused(other_fleet).contains("belongs to another simulation"));
    assert_eq!(fs::read(&log).unwrap(), before);
    for text in [
        "my diary\n",
        "my diary",
        "{\"log\":\"somebody-else\",\"version\":1,\"digest\":\"\"}\n",
    ] {
        fs::write(&log, text).unwrap();
        assert!(refused(lively(&log)).contains("is not a world's log"), "{text}");
        assert_eq!(fs::read_to_string(&log).unwrap(), text);
    }
    let mut broken = before.clone();
    broken.extend_from_slice(b"{\"t\":1,\"target\":\"app-0-0\",\"effect\":\"dance\"}\n");
    fs::write(&log, &broken).unwrap();
    let message = refused(lively(&log));
    assert!(message.contains("line 2") && message.contains("dance"), "{message}");
    let missing = SimConfig {
        log: Some(log.join("below/a/file")),
        ..lively(&log)
    };
    assert!(refused(missing).contains("cannot be used"));
}
