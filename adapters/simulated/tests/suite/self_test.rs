//! Synthetic requests see what their own instance does, and nothing else.

use crate::support::{ERRORS, SELF_TEST, even, near, rates, read, rolled_out, sums};
use unattended_simulated::World;

#[test]
fn self_tests_are_hosts_times_seconds_by_day_and_by_night() {
    let world = World {
        daily_amplitude: 0.6,
        requests_per_s_median: 0.01,
        ..even()
    };
    let sim = rolled_out(world, "good", 20);
    for index in [5, 200, 900] {
        let interval = read(&sim, index);
        let (canary, control) = sums(&interval, SELF_TEST, false, |_| true);
        assert_eq!((canary.total, control.total), (60 * 60, 60 * 60));
        assert_eq!(interval.rows.iter().filter(|r| r.metric == SELF_TEST).count(), 60);
    }
    // 60 instances × 60 a minute × 100 minutes × 1e-3 = 360 errors a side: 5 % standard error.
    let (canary, control) = rates(&sim, 901..1_001, SELF_TEST, false, |_| true);
    near(canary, 1e-3, 0.2);
    near(control, 1e-3, 0.2);
}

#[test]
fn self_tests_see_errors_and_neither_slowness_bursts_nor_incidents() {
    let world = World {
        incidents_per_day: 24.0,
        incident_min_low: 60.0,
        incident_min_high: 60.0,
        error_rate_low: 1e-2,
        error_rate_high: 1e-2,
        burst_mean: 10.0,
        self_tests_per_second: 5.0,
        ..even()
    };
    // 120,000 self tests a side in 20 minutes with one error in a hundred: 3 % standard error.
    let bad = rolled_out(world.clone(), "errors=x5@zone=zone-1", 20);
    let (errors, control) = rates(&bad, 5..25, ERRORS, false, |_| true);
    assert!(errors > 2e-3 && control > 2e-3, "an incident runs: {errors} {control}");
    let (canary, control) = rates(&bad, 25..45, SELF_TEST, false, |s| s % 3 == 1);
    near(canary, 5e-2, 0.05);
    near(control, 1e-2, 0.1);
    let (elsewhere, _) = rates(&bad, 45..65, SELF_TEST, false, |s| s % 3 != 1);
    near(elsewhere, 1e-2, 0.1);
    let slow = rolled_out(world, "latency=x3", 20);
    let (canary, control) = rates(&slow, 5..25, SELF_TEST, false, |_| true);
    near(canary, 1e-2, 0.1);
    near(control, 1e-2, 0.1);
}

#[test]
fn fresh_self_tests_begin_with_the_process_and_show_its_transient() {
    let world = World {
        transient_factor_low: 10.0,
        transient_factor_high: 10.0,
        transient_s_low: 30.0,
        transient_s_high: 30.0,
        in_place_sigma: 0.0,
        prefetch_s_low: 3.0,
        prefetch_s_high: 3.0,
        in_place_tail_factor: 1.0,
        self_tests_per_second: 10.0,
        ..even()
    };
    let sim = rolled_out(world, "errors=x2", 100);
    // Ready after 9 s: 51 s of the first minute, of which 30 at ten times the rate, on top of twice.
    let first = read(&sim, 0);
    let (fresh, control) = sums(&first, SELF_TEST, true, |_| true);
    assert_eq!((fresh.total, control.total), (300 * 510, 300 * 600));
    near(fresh.rate().unwrap(), 2e-3 * (30.0 * 10.0 + 21.0) / 51.0, 0.15);
    near(control.rate().unwrap(), 1e-3, 0.25);
    assert_eq!(sums(&first, SELF_TEST, false, |_| true).0.total, 0);
}

#[test]
fn a_late_fault_shows_in_self_tests_too() {
    let world = World {
        self_tests_per_second: 50.0,
        ..even()
    };
    let sim = rolled_out(world, "late=30m:errors=x5", 10);
    let (before, _) = rates(&sim, 5..29, SELF_TEST, false, |_| true);
    near(before, 1e-3, 0.15);
    let (after, _) = rates(&sim, 32..50, SELF_TEST, false, |_| true);
    near(after, 5e-3, 0.06);
}
