//! Slow leaks: never more false alarms than promised, and found while hosts still have memory.

use unattended_health::{
    Arm, Coverage, Exit, HoldReason, Interval, Judge, JudgeConfig, Resource, Topology, Trend, TrendConfig, TrendError,
    TrendReading, Verdict,
};

use crate::fleet::run;

#[test]
fn healthy_releases_alarm_less_often_than_promised_although_hosts_leak() {
    // At 10 % of 60 runs, 6 are allowed on average; a test that multiplied looks would alarm in most.
    let last: Vec<f64> = (0..60).map(|seed| run(seed, 10, 40, 9, 0.0)[8]).collect();
    let alarms = |alpha: f64| last.iter().filter(|ln| **ln >= -alpha.ln()).count();
    assert!(
        alarms(0.1) <= 6 && alarms(0.01) <= 1,
        "{} at 10 %, {} at 1 %",
        alarms(0.1),
        alarms(0.01)
    );
    let mean = last.iter().map(|ln| ln.exp()).sum::<f64>() / 60.0;
    assert!(
        (0.5..1.5).contains(&mean),
        "expectation at most 1, and at least the ½ it begins with: {mean}"
    );
}

#[test]
fn leaks_are_found_the_sooner_the_faster_they_are() {
    let found = |leak: f64| {
        let mut hours: Vec<usize> = (100..109)
            .map(|seed| {
                run(seed, 10, 40, 17, leak)
                    .iter()
                    .position(|ln| *ln >= 100_f64.ln())
                    .map_or(99, |at| at + 1)
            })
            .collect();
        hours.sort_unstable();
        hours[4]
    };
    let (slow, fast) = (found(0.05), found(0.30));
    assert!(fast <= 5, "30 % an hour: {fast} h");
    assert!(fast <= slow && slow <= 17, "5 % an hour: {slow} h");
}

#[test]
fn restarts_begin_anew_and_young_hosts_wait() {
    let mut trend = Trend::new(Resource::Descriptors, TrendConfig::default()).unwrap();
    let reading = |host, epoch, minute: u64, value| TrendReading {
        group: 0,
        arm: if host < 10 { Arm::Canary } else { Arm::Control },
        host,
        epoch,
        at_ms: minute * 60_000,
        value,
    };
    for minute in 0..=240_u64 {
        for host in 0..40 {
            // Canary hosts are restarted just before each look is due, and grow as long as they live.
            let due = [30, 60, 120, 240].into_iter().find(|due| minute <= *due).unwrap();
            let born = due - 10;
            let (epoch, value) = match host {
                0..10 if minute >= born => (born, 100.0 + (minute - born) as f64),
                0..10 => (due / 2, 100.0),
                _ => (0, 100.0 + f64::from(host)),
            };
            trend.observe(reading(host, epoch, minute, value)).unwrap();
        }
        trend.look(minute * 60_000);
        if [30, 60, 120, 240].contains(&minute) {
            assert_eq!(
                (trend.report().canary_hosts, trend.report().control_hosts),
                (0, 30),
                "too young at {minute}"
            );
        }
    }
    assert_eq!(trend.report().looks, 4);
    // Nobody to compare with is evidence of nothing: ½, and 1 for each look.
    let nothing = 0.5 + (1..=4).map(|k| 0.5 / f64::from(k * (k + 1))).sum::<f64>();
    assert!((trend.ln_e() - nothing.ln()).abs() < 1e-12);
}

#[test]
fn a_missed_look_is_made_up_for_once() {
    let mut trend = Trend::new(Resource::Threads, TrendConfig::default()).unwrap();
    assert!(!trend.look(9_000_000), "nothing was read");
    let first = TrendReading {
        group: 0,
        arm: Arm::Control,
        host: 1,
        epoch: 0,
        at_ms: 5_000,
        value: 7.0,
    };
    trend.observe(first).unwrap();
    assert!(!trend.look(5_000 + 1_799_999));
    assert!(trend.look(5_000 + 1_800_000) && !trend.look(5_000 + 1_800_000));
    assert!(!trend.look(5_000 + 3_599_999));
    // The looks at one, two and four hours fall into one.
    assert!(trend.look(5_000 + 5 * 3_600_000) && !trend.look(5_000 + 7 * 3_600_000));
    assert!(trend.look(5_000 + 8 * 3_600_000));
    assert_eq!(trend.report().looks, 3);
    assert!(!trend.look(0), "a clock that goes back is not due");
}

#[test]
fn what_is_no_reading_is_refused() {
    let mut trend = Trend::new(Resource::CpuPerRequest, TrendConfig::default()).unwrap();
    let good = TrendReading {
        group: 3,
        arm: Arm::Canary,
        host: 1,
        epoch: 5,
        at_ms: 1_000,
        value: 80.0,
    };
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(
            trend.observe(TrendReading { value, ..good }),
            Err(TrendError::Value { group: 3, host: 1, .. })
        ));
    }
    trend.observe(good).unwrap();
    assert!(matches!(
        trend.observe(TrendReading { at_ms: 999, ..good }),
        Err(TrendError::Late { last_ms: 1_000, .. })
    ));
    assert!(matches!(
        trend.observe(TrendReading {
            arm: Arm::Control,
            ..good
        }),
        Err(TrendError::Arm { .. })
    ));
    trend
        .observe(TrendReading {
            arm: Arm::Control,
            epoch: 6,
            ..good
        })
        .unwrap();
    for (first_look_ms, tolerance_per_hour) in [(239_999, 0.1), (240_000, -0.1), (240_000, f64::NAN)] {
        let mut config = TrendConfig::default();
        (config.first_look_ms, config.tolerance_per_hour) = (first_look_ms, tolerance_per_hour);
        assert!(matches!(
            Trend::new(Resource::Memory, config),
            Err(TrendError::Config { .. })
        ));
    }
    // Beyond 256 hosts of an arm, nobody's reading chooses who is followed.
    for host in 0..1_000 {
        trend
            .observe(TrendReading {
                host,
                arm: Arm::Control,
                epoch: 6,
                ..good
            })
            .unwrap();
    }
}

/// 3 % an hour on eight canary hosts of forty, minute by minute.
fn leaking(trend: &mut Trend, minutes: std::ops::RangeInclusive<u64>) {
    for minute in minutes {
        for host in 0..40 {
            let arm = if host < 8 { Arm::Canary } else { Arm::Control };
            let leak = if arm == Arm::Canary {
                0.03 * minute as f64 / 60.0
            } else {
                0.0
            };
            let noise = (u64::from(host) * 7_919 + minute * 104_729) % 97;
            let reading = TrendReading {
                group: 0,
                arm,
                host,
                epoch: 1,
                at_ms: minute * 60_000,
                value: 4e8 * (1.0 + leak + noise as f64 / 97.0 * 0.02),
            };
            trend.observe(reading).unwrap();
        }
        trend.look(minute * 60_000);
    }
}

#[test]
fn a_restored_trend_continues_to_the_same_bytes_and_a_damaged_one_is_refused() {
    let mut whole = Trend::new(Resource::Memory, TrendConfig::default()).unwrap();
    leaking(&mut whole, 0..=77);
    let text = serde_json::to_string(&whole).unwrap();
    let mut restored: Trend = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, whole);
    leaking(&mut whole, 78..=240);
    leaking(&mut restored, 78..=240);
    assert_eq!(
        serde_json::to_string(&restored).unwrap(),
        serde_json::to_string(&whole).unwrap()
    );
    let good: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (place, value) in [
        ("/version", serde_json::json!(9)),
        ("/first_look_ms", serde_json::json!(0)),
        ("/ln_e", serde_json::json!(f64::INFINITY.to_bits())),
        ("/next_look_ms", serde_json::json!(1)),
        ("/hosts/1/host", serde_json::json!(0)),
        ("/hosts/0/last_ms", serde_json::json!(0)),
        ("/hosts/0/readings/3/0", serde_json::json!(u64::MAX)),
        ("/hosts/0/readings/3/1", serde_json::json!((-1.0_f64).to_bits())),
        ("/hosts/0/readings", serde_json::json!([])),
    ] {
        let mut damaged = good.clone();
        *damaged.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<Trend>(damaged).is_err(), "{place}");
    }
}

#[test]
fn a_leak_holds_the_change_and_is_a_matter_for_a_person() {
    let mut judge = Judge::new(JudgeConfig::standard(), Topology::default(), &[]).unwrap();
    let seen = |index| Interval {
        index,
        canary_hosts: Coverage {
            reported: 8,
            expected: 8,
        },
        control_hosts: Coverage {
            reported: 32,
            expected: 32,
        },
        ..Interval::default()
    };
    judge.observe(&seen(1)).unwrap();
    let mut trend = Trend::new(Resource::Memory, TrendConfig::default()).unwrap();
    leaking(&mut trend, 0..=45);
    judge.observe_trend(&trend);
    assert_eq!(judge.verdict(), Verdict::Continue, "{} is not enough", trend.ln_e());
    leaking(&mut trend, 46..=240);
    assert!(trend.ln_e() > 400_f64.ln());
    judge.observe_trend(&trend);
    // Another resource that does not grow takes nothing back.
    judge.observe_trend(&Trend::new(Resource::Threads, TrendConfig::default()).unwrap());
    judge.observe(&seen(2)).unwrap();
    let Verdict::Hold(hold) = judge.verdict() else {
        panic!("{:?}", judge.verdict())
    };
    assert!(matches!(
        hold.reason,
        HoldReason::Leak {
            resource: Resource::Memory,
            ..
        }
    ));
    assert_eq!(
        (hold.exit, hold.deadline),
        (Exit::Person, 2 + judge.config().hold_patience)
    );
    assert!(hold.to_string().contains("memory grows on the new version"), "{hold}");
    let restored: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
    assert_eq!(restored.verdict(), judge.verdict());
}
