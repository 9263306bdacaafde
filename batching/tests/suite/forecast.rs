//! What a plan costs: by hand where durations are fixed, and its laws where they are not.

use unattended_batching::{
    Blocker, Conditions, ConditionsError, Duration, Fleet, Forecast, Interval, Pin, PinScope, Plan, Policy, Ramp,
    count, expected_exposure, pct,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

const fn fixed(ms: u64) -> Duration {
    Duration { p50_ms: ms, p95_ms: ms }
}

fn fleet(apps: &[(&str, u32)]) -> Fleet {
    let mut builder = Fleet::builder();
    for (app, size) in apps {
        for n in 0..*size {
            let zone = if n % 2 == 0 { "a" } else { "b" };
            builder
                .push(&format!("{app}-{n}"), app, [("zone", zone)], true)
                .unwrap();
        }
    }
    builder.build().unwrap()
}

/// One target a minute, a bake of an hour, no room asked for a rollback.
fn hourly() -> Conditions {
    Conditions::new(1_000_000)
        .upgrade(fixed(MINUTE))
        .bake(fixed(HOUR))
        .rollback_ms(0)
}

fn policy() -> Policy {
    Policy::new()
        .ramp(Ramp::geometric(count(1), 2.0).unwrap())
        .per_app(count(2))
        .total_in_flight(pct(100))
}

fn forecast(fleet: &Fleet, policy: &Policy, conditions: &Conditions) -> (Plan, Forecast) {
    let plan = Plan::build(fleet, policy, 3).unwrap();
    let forecast = Forecast::of(fleet, policy, &plan, conditions).unwrap();
    (plan, forecast)
}

#[test]
fn by_hand() {
    let fleet = fleet(&[("a", 20)]);
    let (plan, found) = forecast(&fleet, &policy(), &hourly());
    let sizes: Vec<u32> = plan.batches().map(|batch| batch.size).collect();
    assert_eq!(sizes, [1, 1, 2, 4, 8, 3, 1]);
    // Two at once: 1 + 1 + 1 + 2 + 4 + 2 + 1 turns of a minute, and seven bakes.
    let end = 1_000_000 + 12 * MINUTE + 7 * HOUR;
    let finish = found.finish.unwrap();
    assert_eq!((finish.p50_ms, finish.p95_ms), (end, end));
    assert_eq!(found.lanes[0].finish, found.finish);
    assert_eq!(found.batches[0].unwrap().p50_ms, 1_000_000 + MINUTE + HOUR);
    let spent = found.lanes[0].spent;
    assert_eq!(
        (spent.upgrades_ms, spent.bakes_ms, spent.windows_ms),
        (12 * MINUTE, 7 * HOUR, 0)
    );
    // The whole allowance is the fleet's here, so the plan itself needs 7 bakes and one turn each.
    assert_eq!(found.tradeoffs[0].time_ms, 7 * (HOUR + MINUTE));
    assert!(found.late.is_empty());
    let sizes: Vec<u32> = plan.batches().map(|batch| batch.cumulative).collect();
    for exposed in &found.exposure {
        assert!((exposed.targets - expected_exposure(&sizes, exposed.prevalence)).abs() < 1e-9);
    }
}

/// An application whose window is closed delays itself, and nobody else.
#[test]
fn a_closed_window_delays_its_own_lane_only() {
    let fleet = fleet(&[("a", 20), ("b", 20)]);
    let (_, open) = forecast(&fleet, &policy(), &hourly());
    let b = fleet.app_index("b").unwrap();
    let sunday = Interval {
        from_ms: 1_000_000 + 100 * HOUR,
        until_ms: 1_000_000 + 200 * HOUR,
    };
    let conditions = hourly().windows(b, [sunday]).deadline_ms(1_000_000 + 50 * HOUR);
    let (_, held) = forecast(&fleet, &policy(), &conditions);
    // Batches of `b` alone are not waited for, so `a` may even be done sooner.
    let of_a = |forecast: &Forecast| forecast.lanes[0].finish.unwrap().p50_ms;
    assert!(of_a(&held) <= of_a(&open) && of_a(&held) >= of_a(&open) - 3 * HOUR);
    let lane = held.lanes[b.at()];
    assert!(lane.finish.unwrap().p50_ms > 1_000_000 + 100 * HOUR);
    // It waits from the first batch it stands in, not from the start.
    assert!(
        (90 * HOUR..=100 * HOUR).contains(&(lane.spent.windows_ms + lane.spent.others_ms)),
        "{lane:?}"
    );
    let [late] = held.late.as_slice() else {
        panic!("{:?}", held.late)
    };
    assert_eq!((late.app, late.in_time), (b, 0.0));
    assert!(
        matches!(late.because, Blocker::Windows { gap, .. } if gap.until_ms == sunday.from_ms),
        "{late:?}"
    );
    // Its time is accounted for to the millisecond.
    let spent = lane.spent;
    let sum = spent.upgrades_ms + spent.bakes_ms + spent.windows_ms + spent.pins_ms + spent.others_ms;
    assert_eq!(sum, lane.finish.unwrap().p50_ms - 1_000_000);
}

#[test]
fn a_window_too_short_for_an_upgrade_and_its_rollback_is_named() {
    let fleet = fleet(&[("a", 8), ("b", 8)]);
    let b = fleet.app_index("b").unwrap();
    let nightly = (0..50).map(|night| Interval {
        from_ms: 1_000_000 + night * 24 * HOUR,
        until_ms: 1_000_000 + night * 24 * HOUR + 10 * MINUTE,
    });
    let conditions = hourly().rollback_ms(9 * MINUTE).windows(b, nightly.clone());
    let (_, fits) = forecast(&fleet, &policy(), &conditions);
    assert!(fits.finish.is_some());
    let (_, shut) = forecast(&fleet, &policy(), &conditions.rollback_ms(9 * MINUTE + 1));
    assert_eq!(shut.finish, None);
    assert!(shut.lanes[0].finish.is_some() && shut.lanes[b.at()].finish.is_none());
    let because = Blocker::NoWindow {
        needed_ms: 10 * MINUTE + 1,
        longest_ms: 10 * MINUTE,
    };
    assert_eq!(
        shut.late
            .iter()
            .map(|late| (late.app, late.because))
            .collect::<Vec<_>>(),
        [(b, because)]
    );
    // Overlapping windows are one.
    let halves = nightly.flat_map(|Interval { from_ms, until_ms }| {
        let middle = from_ms + 5 * MINUTE;
        [
            Interval {
                from_ms: middle,
                until_ms,
            },
            Interval {
                from_ms,
                until_ms: middle + 1,
            },
        ]
    });
    let (_, merged) = forecast(&fleet, &policy(), &hourly().rollback_ms(9 * MINUTE).windows(b, halves));
    assert_eq!(merged.finish, fits.finish);
}

#[test]
fn caps_rates_pins_and_bakes_are_told_apart() {
    let fleet = fleet(&[("a", 400)]);
    let because = |policy: Policy, conditions: Conditions| {
        let (_, found) = forecast(&fleet, &policy, &conditions.deadline_ms(1_000_000 + 1));
        found.late[0].because
    };
    let slow = policy().per_app(count(1));
    assert!(
        matches!(because(slow, hourly().bake(fixed(MINUTE))), Blocker::Upgrades { at_once: 1, ms } if ms == 400 * MINUTE)
    );
    assert!(matches!(
        because(policy(), hourly().bake(fixed(9 * HOUR))),
        Blocker::Bakes { batches: 11, .. }
    ));
    let rate = policy().per_app(pct(100)).rate(1, HOUR);
    assert!(matches!(because(rate, hourly()), Blocker::Upgrades { ms, .. } if (389 * HOUR..=400 * HOUR).contains(&ms)));
    let pin = Pin {
        scope: PinScope {
            app: Some("a".to_owned()),
            labels: [("zone".to_owned(), "b".to_owned())].into(),
        },
        version: "1".to_owned(),
        until_ms: 1_000_000 + 999 * HOUR,
        owner: "o".to_owned(),
        reason: "r".to_owned(),
    };
    assert!(matches!(because(policy().pin(pin), hourly()), Blocker::Pins { ms } if ms > 900 * HOUR));
}

#[test]
fn percentiles_are_in_order_and_repeatable() {
    let fleet = fleet(&[("a", 60), ("b", 7), ("c", 1)]);
    let (_, found) = forecast(&fleet, &policy(), &Conditions::new(0));
    for finish in found
        .lanes
        .iter()
        .map(|lane| lane.finish)
        .chain(found.batches.iter().copied())
        .chain([found.finish])
    {
        let finish = finish.unwrap();
        assert!(0 < finish.p50_ms && finish.p50_ms < finish.p95_ms, "{finish:?}");
    }
    assert!(
        found
            .batches
            .windows(2)
            .all(|pair| pair[0].unwrap().p50_ms < pair[1].unwrap().p50_ms)
    );
    let latest = found
        .lanes
        .iter()
        .map(|lane| lane.finish.unwrap().p95_ms)
        .max()
        .unwrap();
    assert!(found.finish.unwrap().p95_ms >= latest);
    let (_, again) = forecast(&fleet, &policy(), &Conditions::new(0));
    assert_eq!(
        serde_json::to_string(&found).unwrap(),
        serde_json::to_string(&again).unwrap()
    );
    // Slower upgrades, a later end.
    let slower = Conditions::new(0).upgrade(Duration {
        p50_ms: 600_000,
        p95_ms: 900_000,
    });
    assert!(forecast(&fleet, &policy(), &slower).1.finish.unwrap().p50_ms > found.finish.unwrap().p50_ms);
}

#[test]
fn the_front_trades_time_for_exposure() {
    let fleet = fleet(&[("a", 3_000), ("b", 2_000)]);
    let (_, found) = forecast(
        &fleet,
        &policy(),
        &hourly().prevalences([0.05]).growths([2.0, 0.5, 3.0, 10.0, 1.2]),
    );
    let growths: Vec<_> = found.tradeoffs.iter().map(|point| point.growth).collect();
    assert_eq!(
        growths,
        [None, Some(2.0), Some(3.0), Some(10.0), Some(1.2)],
        "0.5 does not grow"
    );
    let (own, two, ten) = (found.tradeoffs[0], found.tradeoffs[1], found.tradeoffs[3]);
    assert_eq!((own.batches, own.time_ms), (two.batches, two.time_ms));
    assert!((own.exposed - two.exposed).abs() < 1e-9);
    assert!(ten.time_ms < two.time_ms && ten.exposed > two.exposed);
    for point in &found.tradeoffs {
        let beaten = found.tradeoffs.iter().any(|other| {
            (other.time_ms < point.time_ms && other.exposed <= point.exposed)
                || (other.time_ms <= point.time_ms && other.exposed < point.exposed)
        });
        assert_eq!(point.best, !beaten);
    }
    assert!(found.tradeoffs.iter().filter(|point| point.best).count() >= 3);
}

#[test]
fn conditions_that_cannot_be_meant() {
    let fleet = fleet(&[("a", 3)]);
    let plan = Plan::build(&fleet, &policy(), 0).unwrap();
    let refused = |conditions: Conditions| Forecast::of(&fleet, &policy(), &plan, &conditions).unwrap_err();
    let a = fleet.app_index("a").unwrap();
    let span = |from_ms, until_ms| Interval { from_ms, until_ms };
    assert!(matches!(
        refused(hourly().upgrade(fixed(0))),
        ConditionsError::Duration { field: "upgrade", .. }
    ));
    assert!(matches!(
        refused(hourly().bake(Duration { p50_ms: 2, p95_ms: 1 })),
        ConditionsError::Duration { field: "bake", .. }
    ));
    assert!(matches!(
        refused(hourly().bake(fixed(u64::MAX))),
        ConditionsError::Duration { .. }
    ));
    assert!(matches!(
        refused(hourly().windows(a, [span(5, 5)])),
        ConditionsError::Interval { .. }
    ));
    assert!(matches!(
        refused(hourly().windows(a, [span(u64::MAX - 1, u64::MAX)])),
        ConditionsError::Time { .. }
    ));
    assert!(matches!(
        refused(Conditions::new(u64::MAX)),
        ConditionsError::Time { .. }
    ));
    assert!(matches!(
        refused(hourly().prevalences([f64::NAN])),
        ConditionsError::Prevalence { .. }
    ));
    // The extremes that are not refused are worked out.
    let ever = hourly().windows(a, [span(0, u64::MAX)]).deadline_ms(0);
    assert!(Forecast::of(&fleet, &policy(), &plan, &ever).unwrap().finish.is_some());
    let rate = policy().rate(1, u64::MAX);
    assert!(Forecast::of(&fleet, &rate, &plan, &hourly()).is_ok());
}
