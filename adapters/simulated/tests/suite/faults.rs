//! Each kind of bad release, and each disturbance, does to the counts what it says, and to nothing else.

#![expect(clippy::unwrap_used, reason = "in what the tests share, a failure is a failed test")]

use crate::support::{
    ERRORS, MINUTE, SELF_TEST, SLOW, config, even, fleet, follow, id, in_place, key, near, now, observe, rates, read,
    rolled_out, sim, wait,
};
use unattended_health::MetricSource;
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::{EffectOutcome, Phase, Platform, PlatformError, SelfCheck, Version};

#[test]
fn an_unready_release_runs_fails_its_check_and_takes_no_traffic() {
    let sim = rolled_out(even(), "unready@zone=zone-1", 1);
    wait(&sim, 10 * MINUTE);
    let bad = observe(&sim, "app-0-1");
    assert_eq!((bad.phase, bad.ready), (Phase::Running, false));
    let failed = SelfCheck::Failed {
        check: "start-up".into(),
    };
    assert_eq!(bad.self_check, failed);
    assert_eq!(observe(&sim, "app-0-0").self_check, SelfCheck::Passed);
    // Two of three serve; the census knows which.
    assert_eq!(sim.census().on_new_verified, 2);
    assert_eq!(sim.census().on_neither, 1);
}

#[test]
fn a_one_way_release_lets_the_old_version_crash_where_it_has_run() {
    let sim = rolled_out(even(), "one-way@zone=zone-1", 1);
    wait(&sim, 10 * MINUTE);
    for (target, attempt) in [("app-0-0", 11), ("app-0-1", 12), ("app-0-4", 13)] {
        let old = Version::from("old");
        now(&sim, sim.replace_in_place(&id(target), &old, &key(attempt, 1, 2)));
    }
    wait(&sim, 20 * MINUTE);
    assert_eq!(observe(&sim, "app-0-0").phase, Phase::Running);
    assert_eq!(observe(&sim, "app-0-1").phase, Phase::Crashing);
    // At fault, but the new version has never run there.
    assert_eq!(observe(&sim, "app-0-4").phase, Phase::Running);
    // Nor does a second try help, while the new version still starts.
    now(
        &sim,
        sim.replace_in_place(&id("app-0-1"), &Version::from("old"), &key(14, 1, 2)),
    );
    wait(&sim, 30 * MINUTE);
    assert_eq!(observe(&sim, "app-0-1").phase, Phase::Crashing);
    now(
        &sim,
        sim.replace_in_place(&id("app-0-1"), &Version::from("new"), &key(15, 1, 2)),
    );
    wait(&sim, 40 * MINUTE);
    assert_eq!(observe(&sim, "app-0-1").phase, Phase::Running);
}

#[test]
fn a_mute_release_loses_its_counts_and_the_coverage_says_so() {
    let sim = rolled_out(even(), "errors=x5+mute=75%@zone=zone-1", 20);
    let interval = read(&sim, 5);
    let of = |zone: u32, metric: u8| {
        let rows = interval
            .rows
            .iter()
            .filter(|r| r.metric == metric && r.stratum % 3 == zone && !r.fresh);
        rows.map(|r| r.canary.total).sum::<u64>()
    };
    assert_eq!((of(0, ERRORS), of(1, ERRORS)), (60_000, 15_000));
    assert_eq!((of(0, SELF_TEST), of(1, SELF_TEST)), (1_200, 300));
    // 60 hosts, of which three quarters of 20 are silent.
    assert_eq!(
        (interval.canary_hosts.reported, interval.canary_hosts.expected),
        (45, 60)
    );
    assert_eq!(
        (interval.control_hosts.reported, interval.control_hosts.expected),
        (60, 60)
    );
    let (canary, control) = rates(&sim, 6..36, ERRORS, false, |s| s % 3 == 1);
    near(canary, 5e-3, 0.06);
    near(control, 1e-3, 0.15);
}

/// Of 120 targets, all with the same traffic, a sixth runs the new version in each of three zones: adoption is a half.
fn half_new(release: &str, both_ends: bool) -> std::sync::Arc<Simulated> {
    half_new_in(SimConfig {
        both_ends,
        ..config(fleet(20, 6), even(), release)
    })
}

fn half_new_in(config: SimConfig) -> std::sync::Arc<Simulated> {
    let apps = config.targets.len() / 6;
    let sim = Simulated::new(config).unwrap();
    let members = (0..apps * 6).map(|i| {
        let stratum = u32::try_from(i / 6 * 3 + i % 3).unwrap();
        (format!("app-{}-{}", i / 6, i % 6), stratum, i % 6 >= 3)
    });
    follow(&sim, members);
    for i in (0..apps * 6).filter(|i| i % 6 < 3) {
        in_place(&sim, &format!("app-{}-{}", i / 6, i % 6), i as u64);
    }
    sim
}

#[test]
fn errors_that_old_peers_see_count_for_the_new_version_only_where_both_ends_are_counted() {
    // Half of all calls to a new instance come from old ones, and half of all calls of an old one go to new ones.
    let (canary, control) = rates(&half_new("old-peers=x9", true), 5..25, ERRORS, false, |_| true);
    near(canary, 5e-3, 0.05);
    near(control, 1e-3, 0.08);
    let (canary, control) = rates(&half_new("old-peers=x9", false), 5..25, ERRORS, false, |_| true);
    near(canary, 1e-3, 0.08);
    near(control, 5e-3, 0.05);
    // A self test has no peer.
    let (canary, _) = rates(&half_new("old-peers=x9", true), 5..65, SELF_TEST, false, |_| true);
    near(canary, 1e-3, 0.3);
}

#[test]
fn errors_between_new_instances_grow_with_adoption() {
    let (canary, control) = rates(&half_new("new-pairs=x9", true), 5..25, ERRORS, false, |_| true);
    near(canary, 5e-3, 0.05);
    near(control, 1e-3, 0.08);
    // At fault in a third: a sixth of the traffic is, and only there anything shows.
    let narrow = half_new("new-pairs=x9@zone=zone-1", true);
    let (canary, _) = rates(&narrow, 5..25, ERRORS, false, |s| s % 3 == 1);
    near(canary, 1e-3 * (1.0 + 8.0 / 6.0), 0.08);
    let (elsewhere, _) = rates(&narrow, 25..45, ERRORS, false, |s| s % 3 != 1);
    near(elsewhere, 1e-3, 0.08);
}

#[test]
fn a_dependency_suffers_for_everybody() {
    let sim = half_new("dependency=x9", true);
    let (canary, control) = rates(&sim, 5..25, ERRORS, false, |_| true);
    near(canary, 5e-3, 0.05);
    near(control, 5e-3, 0.05);
    let (slow, _) = rates(&sim, 25..45, SLOW, false, |_| true);
    near(slow, 1e-3, 0.08);
}

#[test]
fn harm_is_what_there_is_more_whoever_counts_it() {
    // Per minute 120 targets, 3,000 requests each, of which 1e-3 err; half run the new version.
    let per_minute = 120.0 * 3_000.0 * 1e-3;
    for (release, share) in [
        ("errors=x5", 0.5 * 4.0),
        ("errors=x5+mute=100%", 0.5 * 4.0),
        ("old-peers=x9", 0.5 * 8.0 * 0.5),
        ("new-pairs=x9", 0.5 * 8.0 * 0.5),
        ("dependency=x9", 4.0),
        // From 0.001 to 0.01308; see the test of latency.
        ("latency=x2", 0.5 * 12.08),
        ("good", 0.0),
        ("late=1h:errors=x5", 0.0),
        ("mute=100%", 0.0),
    ] {
        for both_ends in [true, false] {
            let sim = half_new(release, both_ends);
            read(&sim, 4);
            let before = sim.harm();
            read(&sim, 5);
            read(&sim, 6);
            let harm = sim.harm() - before;
            assert!(
                (harm - 2.0 * per_minute * share).abs() <= 0.002 * harm,
                "{release}: {harm}"
            );
        }
    }
}

/// Days that differ in load and have incidents, another team's changes, restarts and deaths.
fn uneven() -> World {
    World {
        daily_amplitude: 0.6,
        incidents_per_day: 3.0,
        incident_min_low: 30.0,
        incident_min_high: 120.0,
        incident_error_factor: 3.0,
        other_change_share: 0.5,
        other_change_after_min: 200.0,
        other_change_min: 600.0,
        other_change_error_factor: 2.0,
        restarts_per_target_day: 0.5,
        ..even()
    }
}

#[test]
fn what_lies_ahead_is_what_then_comes() {
    let day = 1_440;
    for release in [
        "errors=x5",
        "errors=x5@zone=zone-1",
        "late=3h:errors=x5",
        "load=80%:errors=x5",
        "latency=x2",
        "old-peers=x9",
        "new-pairs=x9@zone=zone-1",
        "dependency=x9",
        "late=3h:errors=x2+new-pairs=x9",
        "late=3h:errors=x2+dependency=x9",
    ] {
        let config = SimConfig {
            interval_ms: 10 * MINUTE,
            ..config(fleet(20, 6), uneven(), release)
        };
        let sim = half_new_in(config);
        wait(&sim, 10 * MINUTE);
        now(&sim, sim.read(0, 10 * MINUTE)).unwrap();
        let before = sim.harm();
        near(sim.harm_by(10 * MINUTE) + 1.0, before + 1.0, 1e-9);
        let ahead = sim.harm_by((10 + day) * MINUTE) - before;
        for index in 1..=day / 10 {
            let end = (index + 1) * 10 * MINUTE;
            wait(&sim, end);
            now(&sim, sim.read(index, end)).unwrap();
        }
        let came = sim.harm() - before;
        assert!(
            came > 0.0 && (ahead / came - 1.0).abs() < 0.03,
            "{release}: {ahead} {came}"
        );
        // What was read is told as it was, whatever lies behind it.
        let until = sim.harm_by((10 + day / 2) * MINUTE);
        assert!(until > before && until < sim.harm(), "{release}: {until}");
    }
}

#[test]
fn what_was_taken_back_does_no_harm_any_more() {
    let horizon = 14 * 1_440 * MINUTE;
    let sim = half_new("late=3h:errors=x50", true);
    read(&sim, 4);
    assert_eq!(sim.first_harm_ms(), None);
    let let_through = sim.harm_by(horizon);
    let per_minute = 120.0 * 3_000.0 * 1e-3 * 0.5 * 49.0;
    near(let_through, per_minute * (14.0 * 1_440.0 - 180.0), 0.01);
    for i in (0..120).filter(|i| i % 6 < 3) {
        let (name, old) = (format!("app-{}-{}", i / 6, i % 6), Version::from("old"));
        // Four are not brought back.
        if i > 6 {
            now(&sim, sim.replace_in_place(&id(&name), &old, &key(1_000 + i, 1, 2)));
        }
    }
    // Of the four of sixty that are left it goes on.
    near(sim.harm_by(horizon), let_through * 4.0 / 60.0, 1e-9);
    for i in [0, 1, 2, 6] {
        let (name, old) = (format!("app-{}-{}", i / 6, i % 6), Version::from("old"));
        now(&sim, sim.replace_in_place(&id(&name), &old, &key(2_000 + i, 1, 2)));
    }
    assert!(sim.harm_by(horizon).abs() < 1e-9);
}

#[test]
fn it_is_known_when_a_release_first_does_harm() {
    let first = |release: &str, minutes: u64| {
        let sim = half_new(release, true);
        for index in 0..minutes {
            read(&sim, index);
        }
        sim.first_harm_ms()
    };
    for release in ["good", "one-way", "mute=90%", "late=15m:errors=x5", "leak=100%/h"] {
        assert_eq!(first(release, 10), None, "{release}");
    }
    let late = first("late=15m:errors=x5", 25).unwrap();
    assert!((15 * MINUTE..18 * MINUTE).contains(&late), "{late}");
    let leak = first("leak=100%/h", 40).unwrap();
    assert!((30 * MINUTE..33 * MINUTE).contains(&leak), "{leak}");
    for release in ["errors=x5", "dependency=x5", "crash", "unready@zone=zone-1"] {
        assert!(first(release, 5).is_some_and(|ms| ms < 5 * MINUTE), "{release}");
    }
}

#[test]
fn a_full_rollout_takes_a_day_in_which_adoption_grows_evenly() {
    // 120 targets with 50 requests per second over half a day in the mean, of which 1e-3 err.
    let base = 120.0 * 50.0 * 43_200.0 * 1e-3;
    let hour = 3_600_000;
    for (release, onset_ms, base, excess) in [
        ("errors=x5", Some(0), base, 4.0 * base),
        ("errors=x5@zone=zone-1", Some(0), base / 3.0, 4.0 / 3.0 * base),
        ("late=2h:errors=x5", Some(2 * hour), base, 4.0 * base),
        // The mean of a², of a (1 - a), and of a, where that of a is a half.
        ("new-pairs=x10", Some(0), base, 9.0 * base * 2.0 / 3.0),
        ("old-peers=x10", Some(0), base, 9.0 * base / 3.0),
        ("dependency=x10", Some(0), 2.0 * base, 9.0 * base),
        ("mute=90%", None, base, 0.0),
        ("one-way", None, base, 0.0),
    ] {
        let full = sim(fleet(20, 6), even(), release).full_rollout();
        assert_eq!(full.onset_ms, onset_ms, "{release}");
        near(full.errors.base, base, 1e-3);
        assert!(
            (full.errors.excess - excess).abs() <= 2e-3 * excess,
            "{release}: {full:?}"
        );
        assert!(full.slow.excess.abs() < 1e-6 && full.restarts.excess.abs() < 1e-6);
    }
    let leak = sim(fleet(20, 6), even(), "leak=25%/h").full_rollout();
    // Killed every two hours; who runs it for h hours is killed h/2 times, rounded down: 0 to 11, in the mean 5.5.
    assert_eq!(leak.onset_ms, Some(2 * hour));
    near(leak.restarts.excess, 120.0 * 5.5, 1e-9);
    let crash = sim(
        fleet(20, 6),
        World {
            never_ready_share: 0.005,
            ..even()
        },
        "unready@zone=zone-1",
    )
    .full_rollout();
    near(crash.starts.base, 40.0 * 0.005, 1e-9);
    near(crash.starts.excess, 40.0 * 0.995, 1e-9);
    let world = World {
        daily_amplitude: 0.6,
        ..even()
    };
    let load = sim(fleet(20, 6), world, "load=90%:errors=x5").full_rollout();
    // Load is at 90 % of its peak, 1.44, while sin > 0.7333: for 23.8 % of the day, with 36.4 % of its requests.
    near(load.errors.excess, 4.0 * base * 0.363_8, 0.02);
    assert!(load.onset_ms.is_some_and(|ms| ms < 24 * hour));
    assert_eq!(sim(fleet(20, 6), even(), "good").full_rollout().onset_ms, None);
}

#[test]
fn a_domain_that_is_cut_off_answers_nothing_obeys_nothing_and_serves_on() {
    let world = World {
        cut_after_min: 10.0,
        cut_min: 20.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 4);
    let zone_of = |n: usize| n % 3;
    wait(&sim, 11 * MINUTE);
    let seen: Vec<bool> = (0..6)
        .map(|n| now(&sim, sim.observe(&[id(&format!("app-0-{n}"))])).is_ok())
        .collect();
    let cut: Vec<usize> = (0..3).filter(|n| !seen[*n]).collect();
    assert_eq!(cut.len(), 1, "one zone of three: {seen:?}");
    let cut = cut[0];
    assert!((0..6).all(|n| seen[n] == (zone_of(n) != cut)));
    // One target that cannot be seen is no answer to the whole question.
    let both = [id("app-1-0"), id("app-1-1"), id("app-1-2")];
    assert!(matches!(
        now(&sim, sim.observe(&both)),
        Err(PlatformError::Unavailable(_))
    ));
    let name = format!("app-0-{}", cut + 3);
    assert!(matches!(in_place(&sim, &name, 99), EffectOutcome::Unknown { .. }));
    assert!(matches!(
        now(&sim, sim.fence(&id(&name), unattended_upgrade::Generation(2))),
        EffectOutcome::Unknown { .. }
    ));
    let interval = read(&sim, 15);
    assert!(
        interval
            .rows
            .iter()
            .all(|r| usize::try_from(r.stratum % 3).unwrap() != cut)
    );
    let rest: Vec<u32> = interval
        .rows
        .iter()
        .filter(|r| r.metric == ERRORS)
        .map(|r| r.stratum)
        .collect();
    assert_eq!(rest.len(), 8);
    assert_eq!(
        (interval.canary_hosts.reported, interval.canary_hosts.expected),
        (8, 12)
    );
    assert_eq!(
        (interval.control_hosts.reported, interval.control_hosts.expected),
        (8, 12)
    );
    wait(&sim, 31 * MINUTE);
    // The order was lost, and the same one is good again.
    let seen = observe(&sim, &name);
    assert_eq!(seen.version, Some(Version::from("old")));
    assert!(seen.ready);
    assert_eq!(in_place(&sim, &name, 99), EffectOutcome::Applied);
    let after = read(&sim, 40).canary_hosts;
    assert_eq!((after.reported, after.expected), (13, 13));
}

#[test]
fn another_teams_change_hits_both_versions_of_the_applications_that_it_reaches() {
    let world = World {
        other_change_share: 1.0,
        other_change_after_min: 30.0,
        other_change_min: 30.0,
        other_change_error_factor: 5.0,
        other_change_slow_factor: 3.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 20);
    let (canary, control) = rates(&sim, 5..25, ERRORS, false, |_| true);
    near(canary, 1e-3, 0.08);
    near(control, 1e-3, 0.08);
    // Half-way through, about half of the applications: 5 and 1 in the mean.
    let (between, _) = rates(&sim, 44..45, ERRORS, false, |_| true);
    assert!((1.5e-3..4.5e-3).contains(&between), "{between}");
    let (canary, control) = rates(&sim, 61..81, ERRORS, false, |_| true);
    near(canary, 5e-3, 0.05);
    near(control, 5e-3, 0.05);
    let (slow, _) = rates(&sim, 81..101, SLOW, false, |_| true);
    near(slow, 3e-3, 0.06);
    let some = World {
        other_change_share: 0.5,
        other_change_min: 0.0,
        ..World {
            other_change_error_factor: 9.0,
            ..even()
        }
    };
    let sim = rolled_out(some, "good", 20);
    let interval = read(&sim, 5);
    let hit = |app: u32| {
        let rows = interval
            .rows
            .iter()
            .filter(|r| r.metric == ERRORS && !r.fresh && r.stratum / 3 == app);
        // 9 in 9,000 requests without, 81 with.
        rows.map(|r| r.control.bad).sum::<u64>() > 40
    };
    let hits = (0..20).filter(|app| hit(*app)).count();
    assert!((5..=15).contains(&hits), "{hits}");
}

#[test]
fn what_was_read_is_given_again_while_a_domain_is_cut_off() {
    let world = World {
        cut_min: 60.0,
        ..even()
    };
    let sim = rolled_out(world, "errors=x5", 4);
    let first = read(&sim, 5);
    assert_eq!(first, now(&sim, sim.read(5, 6 * MINUTE)).unwrap());
}
