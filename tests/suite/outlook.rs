//! When a change will be through, who is late, and who could do something about it.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use unattended::Outlook;
use unattended::upgrade::Clock;

use crate::support::{Case, HOUR_MS, MINUTE_MS, START_WALL_MS, person};

fn unix(at_ms: u64) -> i64 {
    START_WALL_MS + i64::try_from(at_ms).unwrap()
}

/// What is seen of a case at a time, and when the case was through.
fn seen(case: &Case, at_ms: u64, deadline_ms: Option<u64>) -> (Outlook, u64) {
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let kept = std::sync::Arc::clone(&seen);
    let ended = stage.run_beside(async move {
        clock.sleep_until(at_ms).await;
        *kept.lock() = handle.outlook(deadline_ms.map(unix));
    });
    assert_eq!(ended.handle.outlook(None), None, "it has ended");
    let outlook = seen.lock().take().unwrap();
    (outlook, ended.summary.elapsed_ms)
}

#[test]
fn the_end_comes_near_to_what_comes() {
    let case = Case::calm(4, 24);
    for at_ms in [MINUTE_MS, HOUR_MS, 2 * HOUR_MS] {
        let (outlook, ended_ms) = seen(&case, at_ms, None);
        // Attempts are estimated, and evidence may take longer than the least rest.
        let eta = outlook.eta_unix_ms.unwrap() - unix(at_ms);
        let left = unix(ended_ms) - unix(at_ms);
        let within = left / 3 + 10 * i64::try_from(MINUTE_MS).unwrap();
        assert!((eta - left).abs() <= within, "at {at_ms}: {eta} and {left}");
        assert_eq!((outlook.late, outlook.waits_for), (0, None));
    }
}

/// Traffic so thin that evidence takes most of the time: what was seen of it says how long the rest takes.
#[test]
fn what_live_traffic_takes_to_show_is_foreseen() {
    let mut case = Case::calm(4, 24);
    case.world.requests_per_s_median = 2.0;
    let (early, _) = seen(&case, MINUTE_MS, None);
    assert_eq!(early.traffic, None, "nothing was seen yet");
    let foreseen = |at_ms: u64| {
        let (outlook, ended_ms) = seen(&case, at_ms, None);
        let foreseen = outlook.eta_unix_ms.unwrap() - unix(at_ms);
        let left = unix(ended_ms) - unix(at_ms);
        // How long chance lets each class wait for its evidence nobody knows.
        assert!(
            (left / 2..left * 2).contains(&foreseen),
            "at {at_ms}: {foreseen}, {left}"
        );
        outlook
    };
    foreseen(20 * HOUR_MS);
    let outlook = foreseen(HOUR_MS + HOUR_MS / 2);
    let traffic = outlook.traffic.unwrap();
    assert!((1.0..4.0).contains(&traffic.requests_per_s), "{traffic:?}");
    assert!((5e-4..2e-3).contains(&traffic.error_rate), "{traffic:?}");
    assert!(traffic.smallest_ratio.is_some_and(|ratio| ratio > 1.5), "{traffic:?}");
    assert!(traffic.safe_after_ms > 10 * MINUTE_MS, "{traffic:?}");
}

const WINDOWS: &str = "
version: 1
pack: calendar
owner: pay-team
scope: {app: app-1}
freezes:
  - {id: sale, from: 2026-11-23, until: 2026-11-26, zone: UTC, owner: pay-team, reason: a sale}
";

#[test]
fn a_lane_that_a_freeze_makes_late_names_the_freeze_and_its_owner() {
    let mut case = Case::calm(4, 24);
    WINDOWS.clone_into(&mut case.rules);
    // The freeze ends after 64 hours.
    let (outlook, ended_ms) = seen(&case, HOUR_MS, Some(24 * HOUR_MS));
    assert_eq!(outlook.late, 1, "{outlook:?}");
    let late = &outlook.late_lanes[0];
    assert_eq!(late.lane, "app-1");
    assert_eq!(
        (late.blocked_by.as_str(), late.owner.as_str()),
        ("calendar/sale (a sale)", "pay-team")
    );
    assert!(late.left >= 23, "{late:?}");
    assert!(late.costs_ms.unwrap() >= 62 * HOUR_MS, "{late:?}");
    let eta = late.eta_unix_ms.unwrap();
    assert!((unix(64 * HOUR_MS)..unix(ended_ms + HOUR_MS)).contains(&eta), "{eta}");
    assert_eq!(outlook.eta_unix_ms, Some(eta));
    // In time, it is nobody's matter.
    let (outlook, _) = seen(&case, HOUR_MS, Some(90 * HOUR_MS));
    assert_eq!((outlook.late, outlook.late_lanes.len()), (0, 0));
}

#[test]
fn a_lane_that_never_opens_has_no_end() {
    let mut case = Case::calm(2, 12);
    case.rules = WINDOWS.replace("until: 2026-11-26", "until: 2030-01-01");
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    let outlook = stage.handle.outlook(None).unwrap();
    assert_eq!((outlook.late, outlook.eta_unix_ms), (1, None));
    assert_eq!(
        (outlook.late_lanes[0].eta_unix_ms, outlook.late_lanes[0].costs_ms),
        (None, None)
    );
    assert!(outlook.late_lanes[0].blocked_by.starts_with("calendar/sale"));
}

#[test]
fn larger_steps_take_less_time_and_expose_more() {
    let (outlook, _) = seen(&Case::calm(10, 200), 10 * MINUTE_MS, None);
    let paces = outlook.paces;
    assert_eq!(paces.iter().map(|pace| pace.at_once).collect::<Vec<u32>>(), [1, 2, 4]);
    for pair in paces.windows(2) {
        assert!(pair[1].steps < pair[0].steps, "{paces:?}");
        assert!(pair[1].time_ms < pair[0].time_ms, "{paces:?}");
        assert!(pair[1].exposed > pair[0].exposed, "{paces:?}");
    }
}

#[test]
fn nobody_can_say_when_an_answer_comes() {
    let mut stage = Case::calm(4, 24).level(unattended::Level::L2).stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    let outlook = stage.handle.outlook(None).unwrap();
    assert_eq!(outlook.eta_unix_ms, None);
    assert!(outlook.waits_for.is_some());
}

#[test]
fn what_goes_back_has_none() {
    let mut stage = Case::calm(4, 24).stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    stage.handle.roll_back(person(), "enough").unwrap();
    assert!(stage.drive(clock.sleep_until(HOUR_MS + 20_000)).unwrap().is_none());
    assert_eq!(stage.handle.outlook(None), None, "it goes back");
}
