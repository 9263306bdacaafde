//! What is measured follows from what was done, and from nothing else.

use crate::support::{
    ERRORS, MINUTE, RESTARTS, SELF_TEST, SLOW, close, config, even, fleet, follow, in_place, near, now, open, rates,
    read, rolled_out, rolled_out_in, sim, sums, wait,
};
use unattended_health::{Arm, FaultClass, MetricSource, Row, SourceError};
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::{Platform, Version};

#[test]
fn a_good_release_errs_like_the_old_version() {
    let sim = rolled_out(even(), "good", 20);
    // 60 targets × 3,000 requests × 20 intervals × 1e-3 = 3,600 episodes: 2 % standard error.
    let (canary, control) = rates(&sim, 5..25, ERRORS, false, |_| true);
    near(canary, 1e-3, 0.08);
    near(control, 1e-3, 0.08);
    let (canary, control) = rates(&sim, 25..45, SLOW, false, |_| true);
    near(canary, 1e-3, 0.08);
    near(control, 1e-3, 0.08);
}

#[test]
fn a_bad_release_errs_as_much_more_as_it_says_where_it_says() {
    let sim = rolled_out(even(), "errors=x5@zone=zone-1", 20);
    let (canary, control) = rates(&sim, 5..25, ERRORS, false, |s| s % 3 == 1);
    near(canary, 5e-3, 0.06);
    near(control, 1e-3, 0.15);
    let (elsewhere, _) = rates(&sim, 25..45, ERRORS, false, |s| s % 3 != 1);
    near(elsewhere, 1e-3, 0.1);
    let (slow, _) = rates(&sim, 45..65, SLOW, false, |_| true);
    near(slow, 1e-3, 0.08);
}

#[test]
fn exposure_is_rate_times_time() {
    let sim = rolled_out(even(), "good", 4);
    let (canary, control) = sums(&read(&sim, 5), ERRORS, false, |_| true);
    // 12 targets each at 50 per second for a minute.
    assert_eq!((canary.total, control.total), (36_000, 36_000));
    let (canary, control) = sums(&read(&sim, 6), RESTARTS, false, |_| true);
    assert_eq!((canary.total, control.total, canary.bad), (12, 12, 0));
}

#[test]
fn sparse_rows_are_all_but_those_of_restarts_without_any() {
    let world = World {
        restarts_per_target_day: 24.0,
        ..even()
    };
    let [whole, sparse] = [false, true].map(|sparse| {
        rolled_out_in(SimConfig {
            sparse,
            ..config(fleet(4, 6), world.clone(), "good")
        })
    });
    let (mut told, mut left_out) = (0, 0);
    for index in 5..65 {
        let (mut whole, sparse) = (read(&whole, index), read(&sparse, index));
        let rows = whole.rows.len();
        let says_something = |row: &Row| row.metric != RESTARTS || row.canary.bad + row.control.bad > 0;
        whole.rows.retain(says_something);
        assert_eq!(whole, sparse);
        left_out += rows - sparse.rows.len();
        told += sparse.rows.iter().filter(|row| row.metric == RESTARTS).count();
    }
    // 24 targets go down once in an hour each.
    assert!(told > 5 && left_out > 500, "{told} {left_out}");
}

#[test]
fn latency_moves_the_share_of_slow_requests() {
    let sim = rolled_out(even(), "latency=x2", 20);
    let (canary, control) = rates(&sim, 5..25, SLOW, false, |_| true);
    // P(Z > 3.0902 - ln 2 / 0.8) = P(Z > 2.2238) = 0.01308.
    near(canary, 0.013_08, 0.03);
    near(control, 1e-3, 0.08);
}

#[test]
fn bursts_and_heavy_clients_thin_both_arms_alike() {
    let world = World {
        burst_mean: 3.0,
        heavy_episode_share: 0.5,
        clients_per_request_per_s: 1.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 20);
    let (canary, control) = rates(&sim, 5..65, ERRORS, false, |_| true);
    // Per target and interval: 1 episode, half of it from half a heavy client, who counts once: 0.5 (1 - e^-1) = 0.316.
    let expected = 1e-3 / 3.0 * (0.5 + 0.5 * (1.0 - f64::exp(-1.0)));
    near(canary, expected, 0.06);
    near(control, expected, 0.06);
}

#[test]
fn a_transient_ends_before_the_instance_is_warm() {
    let world = World {
        transient_factor_low: 10.0,
        transient_factor_high: 10.0,
        transient_s_low: 30.0,
        transient_s_high: 30.0,
        in_place_sigma: 0.0,
        prefetch_s_low: 3.0,
        prefetch_s_high: 3.0,
        in_place_tail_factor: 1.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 100);
    // Ready after 9 s; in the first three minutes 30 s at ten times the rate and 141 s at the usual one.
    let (fresh, control) = rates(&sim, 0..3, ERRORS, true, |_| true);
    near(fresh, 1e-3 * (30.0 * 10.0 + 141.0) / 171.0, 0.06);
    near(control, 1e-3, 0.06);
}

#[test]
fn the_transient_after_a_restart_shows_in_fresh_rows_only() {
    let world = World {
        transient_factor_low: 10.0,
        transient_factor_high: 10.0,
        transient_s_low: 120.0,
        transient_s_high: 120.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 40);
    let first = read(&sim, 0);
    assert!(first.rows.iter().all(|r| r.fresh), "nobody is warm after one minute");
    let (fresh, control) = rates(&sim, 1..2, ERRORS, true, |_| true);
    near(fresh, 1e-2, 0.1);
    near(control, 1e-3, 0.25);
    // Between 120 s and 180 s instances are calm again, and still fresh.
    let last = read(&sim, 2);
    assert!(last.rows.iter().any(|r| r.fresh));
    let (warm, control) = rates(&sim, 5..15, ERRORS, false, |_| true);
    near(warm, 1e-3, 0.1);
    near(control, 1e-3, 0.1);
    assert!(read(&sim, 15).rows.iter().all(|r| !r.fresh));
}

#[test]
fn an_incident_hits_both_arms_of_one_zone() {
    let world = World {
        incidents_per_day: 1.0,
        incident_min_low: 30.0,
        incident_min_high: 60.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 10);
    let mut hit = [0; 3];
    for index in 5..1_440 {
        let interval = read(&sim, index);
        for zone in 0..3 {
            let (canary, control) = sums(&interval, ERRORS, false, |s| s % 3 == zone);
            // 30,000 requests a side: 30 errors calm, 600 in an incident.
            if canary.bad > 250 && control.bad > 250 {
                hit[zone as usize] += 1;
            }
            assert_eq!(
                canary.bad > 400,
                control.bad > 400 || (canary.bad > 400 && control.bad > 300),
                "one arm alone"
            );
        }
    }
    let zones = hit.iter().filter(|n| **n > 0).count();
    let minutes: i32 = hit.iter().sum();
    assert!(zones == 1 && (25..=61).contains(&minutes), "{hit:?}");
}

#[test]
fn a_late_fault_begins_with_age() {
    let sim = rolled_out(even(), "late=30m:errors=x5", 10);
    let (before, _) = rates(&sim, 5..29, ERRORS, false, |_| true);
    near(before, 1e-3, 0.15);
    let (after, _) = rates(&sim, 32..50, ERRORS, false, |_| true);
    near(after, 5e-3, 0.06);
}

#[test]
fn a_load_fault_shows_at_the_peak_only() {
    let world = World {
        daily_amplitude: 0.6,
        ..even()
    };
    let sim = rolled_out(world, "load=90%:errors=x10", 3);
    let (mut bad_hours, mut good_hours) = (0, 0);
    for hour in 1..24 {
        let interval = read(&sim, hour * 60);
        for stratum in 0..9 {
            let (canary, control) = sums(&interval, ERRORS, false, |s| s == stratum);
            // The mean is 3,000 requests; the peak 4,800, of which 90 % is 4,320.
            let clearly_bad = canary.bad >= 20;
            if canary.total < 4_300 {
                assert!(!clearly_bad, "hour {hour}: {canary:?}");
                good_hours += 1;
            } else if canary.total > 4_330 {
                assert!(clearly_bad, "hour {hour}: {canary:?}");
                bad_hours += 1;
            }
            assert!(control.bad < 20);
        }
    }
    assert!(bad_hours > 10 && good_hours > 100, "{bad_hours} {good_hours}");
}

#[test]
fn a_crashing_release_shows_as_restarts_and_takes_no_traffic() {
    let sim = rolled_out(even(), "crash", 4);
    let interval = read(&sim, 3);
    let (canary, control) = sums(&interval, RESTARTS, true, |_| true);
    assert_eq!((canary.bad, canary.total), (12, 12));
    assert_eq!((control.bad, control.total), (0, 12));
    assert_eq!(sums(&interval, ERRORS, true, |_| true).0.total, 0);
    assert_eq!(sums(&interval, SELF_TEST, true, |_| true).0.total, 0);
    assert_eq!(sim.census().on_new_verified, 0);
}

#[test]
fn a_leak_shows_as_restarts_of_warm_instances() {
    let sim = rolled_out(even(), "leak=50%/h", 4);
    let mut kills = 0;
    for index in 3..70 {
        let (canary, control) = sums(&read(&sim, index), RESTARTS, false, |_| true);
        assert!(canary.bad <= canary.total && control.bad == 0);
        kills += canary.bad;
    }
    assert_eq!(kills, 12, "each of twelve once in the first seventy minutes");
}

#[test]
fn natural_restarts_count_in_both_arms() {
    let world = World {
        restarts_per_target_day: 5.0,
        ..even()
    };
    let sim = rolled_out(world, "good", 40);
    let (mut canary_bad, mut control_bad) = (0, 0);
    for index in 5..300 {
        let (canary, control) = sums(&read(&sim, index), RESTARTS, false, |_| true);
        canary_bad += canary.bad;
        control_bad += control.bad;
    }
    // 120 hosts × 5 a day × 295 minutes: 123 a side.
    assert!(
        (80..=170).contains(&canary_bad) && (80..=170).contains(&control_bad),
        "{canary_bad} {control_bad}"
    );
}

#[test]
fn a_closed_way_in_takes_no_requests() {
    let sim = sim(fleet(1, 2), even(), "good");
    follow(
        &sim,
        [("app-0-0".to_owned(), 0, false), ("app-0-1".to_owned(), 0, true)],
    );
    close(&sim, "app-0-0", 1, 500 * MINUTE);
    wait(&sim, 40_000);
    in_place(&sim, "app-0-0", 1);
    assert_eq!(sums(&read(&sim, 5), ERRORS, false, |_| true).0.total, 0);
    open(&sim, "app-0-0", 1);
    let interval = read(&sim, 6);
    let (canary, control) = sums(&interval, ERRORS, false, |_| true);
    assert_eq!((canary.total, control.total), (3_000, 3_000));
    assert_eq!(
        (interval.canary_hosts.expected, interval.control_hosts.expected),
        (1, 1)
    );
    close(&sim, "app-0-1", 2, 500 * MINUTE);
    let interval = read(&sim, 7);
    let (canary, control) = sums(&interval, ERRORS, false, |_| true);
    assert_eq!((canary.total, control.total), (3_000, 0));
    assert_eq!(
        (interval.canary_hosts.expected, interval.control_hosts.expected),
        (1, 0)
    );
}

#[test]
fn going_back_takes_the_canary_out_of_the_rows() {
    let sim = rolled_out(even(), "errors=x5", 2);
    assert!(!read(&sim, 4).rows.is_empty());
    for app in 0..2 {
        for n in 0..3 {
            let target = crate::support::id(&format!("app-{app}-{n}"));
            let key = crate::support::key(100 + n, 2, 0);
            drop(now(&sim, sim.replace_in_place(&target, &Version::from("old"), &key)));
        }
    }
    let after = read(&sim, 5);
    assert_eq!((after.rows.len(), after.canary_hosts.expected), (0, 0));
    assert_eq!(after.control_hosts.expected, 6);
}

#[test]
fn an_interval_is_given_again_as_it_was_and_never_too_early() {
    let sim = rolled_out(World::default(), "errors=x3", 5);
    let first = read(&sim, 4);
    in_place(&sim, "app-0-3", 77);
    assert_eq!(now(&sim, sim.read(4, 5 * MINUTE)).unwrap(), first);
    let early = now(&sim, sim.read(5, 6 * MINUTE)).unwrap_err();
    assert!(matches!(early, SourceError::NotReady { index: 5, .. }), "{early}");
}

#[test]
fn the_end_of_an_interval_is_told_by_the_clock_of_the_run() {
    let start_wall_ms = 1_700_000_000_000;
    let sim = Simulated::new(SimConfig {
        start_wall_ms,
        ..config(fleet(5, 6), World::default(), "errors=x3")
    })
    .unwrap();
    wait(&sim, 3 * MINUTE);
    let ask = |end_ms| now(&sim, sim.read(2, end_ms));
    assert_eq!(ask(3 * MINUTE).unwrap().end_ms, 3 * MINUTE);
    assert!(matches!(ask(3 * MINUTE + 1), Err(SourceError::NotReady { .. })));
    // The wall clock says the same moment; it is not what is asked for.
    let wall = u64::try_from(start_wall_ms).unwrap() + 3 * MINUTE;
    assert!(matches!(ask(wall), Err(SourceError::NotReady { .. })));
}

#[test]
fn the_same_calls_give_the_same_rows() {
    let bytes = |seed: u64| {
        let sim = Simulated::new(SimConfig {
            seed,
            ..config(fleet(5, 6), World::default(), "errors=x3")
        })
        .unwrap();
        follow(
            &sim,
            (0..30).map(|i| (format!("app-{}-{}", i / 6, i % 6), i / 6, i % 2 == 0)),
        );
        for i in 0..10_u64 {
            in_place(&sim, &format!("app-{}-{}", i / 2, 2 * (i % 2) + 1), i);
        }
        let intervals: Vec<_> = (0..20).map(|index| read(&sim, index)).collect();
        serde_json::to_string(&(intervals, now(&sim, sim.history()).unwrap())).unwrap()
    };
    assert_eq!(bytes(3), bytes(3));
    assert_ne!(bytes(3), bytes(4));
}

#[test]
fn samples_hold_single_control_hosts() {
    let sim = rolled_out(
        World {
            burst_mean: 3.0,
            ..even()
        },
        "errors=x20",
        30,
    );
    let (mut distinct, mut bad, mut total) = (0, 0, 0);
    for index in 4..24 {
        let interval = read(&sim, index);
        assert!(interval.samples.len() <= 64 && !interval.samples.is_empty());
        for sample in &interval.samples {
            assert!(sample.arm == Arm::Control && sample.hosts.len() == 1);
            for host in &sample.hosts {
                assert!(host.distinct <= host.bad && host.bad <= host.total);
                if sample.metric == ERRORS {
                    distinct += host.distinct;
                    bad += host.bad;
                    total += host.total;
                }
            }
        }
    }
    // 20 intervals × 32 hosts × 3,000 requests; 1 episode of mean 3 each.
    assert_eq!(total, 1_920_000);
    assert!((540..=740).contains(&distinct), "{distinct}");
    assert!(
        (2.5..=3.5).contains(&(f64::from(u32::try_from(bad).unwrap()) / f64::from(u32::try_from(distinct).unwrap())))
    );
}

#[test]
fn history_is_the_old_version_over_a_week() {
    let sim = rolled_out(
        World {
            restarts_per_target_day: 0.5,
            ..even()
        },
        "errors=x20",
        3,
    );
    let history = now(&sim, sim.history()).unwrap();
    assert_eq!(history.len(), 9 * 4);
    for entry in &history {
        match entry.metric {
            ERRORS | SLOW => {
                // Two targets at 50 per second for a week.
                assert_eq!(entry.counts.total, 60_480_000);
                near(entry.counts.rate().unwrap(), 1e-3, 0.02);
                assert_eq!(entry.samples.len(), 2);
            }
            SELF_TEST => {
                assert_eq!(entry.counts.total, 2 * 604_800);
                near(entry.counts.rate().unwrap(), 1e-3, 0.15);
                assert_eq!(entry.samples.len(), 2);
                let hosts = entry.samples.iter().flat_map(|s| &s.hosts);
                assert!(hosts.clone().all(|h| h.total == 3_600 && h.distinct == h.bad));
                // An hour at one in a thousand: 3.6.
                assert!(hosts.map(|h| h.bad).sum::<u64>() < 25);
            }
            _ => {
                assert_eq!(entry.counts.total, 2 * 7 * 1_440);
                assert!(entry.counts.bad <= 25, "{:?}", entry.counts);
            }
        }
    }
}

#[test]
fn business_errors_are_shown_beside_and_are_many_more() {
    let sim = rolled_out(even(), "errors=x5", 20);
    let interval = read(&sim, 5);
    let of = |class| interval.totals.iter().find(|t| t.class == class).unwrap();
    let (own, business) = (of(FaultClass::Own), of(FaultClass::Business));
    assert_eq!(own.canary.total, business.canary.total);
    // 180,000 requests a side: own 900 and 180, business 3,600 in both.
    assert!(
        (800..1_000).contains(&own.canary.bad) && (120..240).contains(&own.control.bad),
        "{own:?}"
    );
    assert!((3_300..3_900).contains(&business.canary.bad) && (3_300..3_900).contains(&business.control.bad));
    assert!(of(FaultClass::Infrastructure).control.bad < 60);
}

#[test]
fn lost_telemetry_shows_as_coverage_and_never_as_health() {
    let sim = rolled_out(
        World {
            telemetry_loss: 0.25,
            ..even()
        },
        "good",
        4,
    );
    let interval = read(&sim, 5);
    assert_eq!(
        (interval.canary_hosts.reported, interval.canary_hosts.expected),
        (9, 12)
    );
    assert_eq!(
        (interval.control_hosts.reported, interval.control_hosts.expected),
        (9, 12)
    );
    assert_eq!(sums(&interval, ERRORS, false, |_| true).0.total, 27_000);
}

#[test]
fn a_newborn_is_measured_once_it_is_followed() {
    let world = World {
        deaths_per_target_day: 24.0,
        ..even()
    };
    let sim = sim(fleet(1, 30), world, "good");
    sim.on_birth(Box::new(|_| Version::from("new")));
    follow(&sim, (0..30).map(|i| (format!("app-0-{i}"), 0, true)));
    wait(&sim, 59 * MINUTE);
    assert!(read(&sim, 59).rows.is_empty());
    let news = now(&sim, sim.watch(0)).unwrap().changes;
    let born: Vec<_> = news
        .iter()
        .filter_map(|n| match n {
            unattended_upgrade::FleetChange::Joined { target, .. } => Some((target.as_str().to_owned(), 0, false)),
            _ => None,
        })
        .collect();
    follow(&sim, born);
    let interval = read(&sim, 63);
    assert!(interval.canary_hosts.expected > 5, "{:?}", interval.canary_hosts);
    let on_new = sim.census().on_new_verified;
    assert!(u64::from(interval.canary_hosts.expected) <= on_new + 3);
}

#[test]
fn a_tenth_of_the_applications_is_quiet() {
    let sim = sim(fleet(40, 6), World::default(), "good");
    follow(
        &sim,
        (0..240).map(|i| (format!("app-{}-{}", i / 6, i % 6), i / 6, false)),
    );
    let history = now(&sim, sim.history()).unwrap();
    let quiet = history
        .iter()
        .filter(|h| h.metric == ERRORS && h.counts.total < 6 * 604_800 / 20)
        .count();
    assert!((4..=7).contains(&quiet), "{quiet}");
}

#[test]
fn what_is_drawn_of_a_stratum_does_not_depend_on_how_many_there_are() {
    // Beyond four thousand strata two threads draw them.
    let rows = |strata: u32| {
        let apps = usize::try_from(strata).unwrap();
        let sim = sim(fleet(apps, 2), even(), "errors=x3@stack=stack-1");
        let members = (0..strata * 2).map(|i| (format!("app-{}-{}", i / 2, i % 2), i / 2, i % 2 == 0));
        follow(&sim, members);
        for app in 0..strata {
            in_place(&sim, &format!("app-{app}-1"), u64::from(app) + 1);
        }
        // Fresh in the first, warm in the last.
        [1, 2, 9].map(|index| read(&sim, index))
    };
    let (few, many) = (rows(3_000), rows(9_000));
    for (few, many) in few.iter().zip(&many) {
        let end = many.rows.partition_point(|row| row.stratum < 3_000);
        assert!(end > 3_000 && many.rows[..end] == few.rows);
        assert!(many.rows.is_sorted_by_key(|row| (row.stratum, row.metric, row.fresh)));
        let errors = |interval: &unattended_health::Interval| sums(interval, ERRORS, false, |_| true).0.total;
        let own = many
            .totals
            .iter()
            .find(|totals| totals.class == FaultClass::Own)
            .unwrap();
        let fresh = sums(many, ERRORS, true, |_| true).0.total;
        assert_eq!(own.canary.total, errors(many) + fresh);
        assert_eq!(
            (many.canary_hosts.expected, many.control_hosts.expected),
            (9_000, 9_000)
        );
    }
}
