//! When numbers are believed: hosts, splits, interference, what is missing, and what a verdict needs.

use crate::support::{SplitMix, config, held, interval, row, single, topology};
use proptest::prelude::*;
use unattended_health::{
    Arm, CheckOutcome, CheckResult, Counts, Exit, FirstFailure, Gate, History, HoldReason, HostRecord, HostRows,
    Interval, Judge, Origin, PlannedSplit, Row, RowError, SelfCheckReport, SignatureCounts, StratumInfo, Topology,
    Verdict,
};

fn record(host: u32, canary: bool, bad: u64) -> HostRecord {
    HostRecord {
        stratum: 0,
        metric: 0,
        arm: if canary { Arm::Canary } else { Arm::Control },
        fresh: false,
        host,
        bad,
        total: 1_000,
        distinct: bad,
    }
}

/// What forty hosts count, the first eight of them canaries with this mean of errors.
fn forty(random: &mut SplitMix, canary: f64) -> Vec<HostRecord> {
    (0..40)
        .map(|host| {
            let mean = if host < 8 { canary } else { 0.2 };
            record(host, host < 8, random.poisson(mean))
        })
        .collect()
}

#[test]
fn a_bad_node_is_named_and_does_not_stop_the_change() {
    let run = |hosts_told_apart: bool, from_begin: bool| {
        let (mut judge, mut hosts, mut random) = (single(), HostRows::new(), SplitMix(3));
        judge.step_traffic();
        for t in 0..40 {
            let mut records = forty(&mut random, 0.2);
            if from_begin || t >= 15 {
                records[3] = record(3, true, 6 + random.poisson(4.0));
            }
            let mut next = hosts.interval(t, &records).unwrap();
            if !hosts_told_apart {
                next.samples.clear();
                for row in next.rows.split_off(1) {
                    next.rows[0].canary.bad += row.canary.bad;
                    next.rows[0].canary.total += row.canary.total;
                    next.rows[0].control.bad += row.control.bad;
                    next.rows[0].control.total += row.control.total;
                }
            }
            judge.observe(&next).unwrap();
        }
        judge
    };
    for from_begin in [true, false] {
        let judge = run(true, from_begin);
        assert!(judge.stopped().is_none(), "{}", judge.explain());
        assert_ne!(judge.verdict(), Verdict::Rollback);
        let named: Vec<u32> = judge.host_events().iter().map(|event| event.host).collect();
        assert_eq!(named, [3]);
        assert!(
            judge
                .explain()
                .to_string()
                .contains("host 3 of stratum 0 alone has at least")
        );
        assert!(
            run(false, from_begin).stopped().is_some(),
            "sums alone blame the release"
        );
    }
}

/// Whoever did something about a host learns that it did not help.
#[test]
fn a_host_that_goes_on_is_named_again() {
    let run = |until: u64| {
        let (mut judge, mut hosts, mut random) = (single(), HostRows::new(), SplitMix(3));
        judge.step_traffic();
        let mut times = Vec::new();
        for t in 0..80 {
            let mut records = forty(&mut random, 0.2);
            if t < until {
                records[3] = record(3, true, 6 + random.poisson(4.0));
            }
            judge.observe(&hosts.interval(t, &records).unwrap()).unwrap();
            let [event] = judge.host_events() else { continue };
            if times.last() != Some(&event.index) {
                times.push(event.index);
            }
        }
        assert!(judge.stopped().is_none() && judge.host_events().len() == 1);
        times
    };
    let (goes_on, ends) = (run(80), run(10));
    assert!(goes_on.len() > 2 && goes_on.is_sorted(), "{goes_on:?}");
    assert!(!ends.is_empty() && ends.iter().all(|at| *at < 15), "{ends:?}");
}

#[test]
fn a_fault_of_every_canary_host_is_found_all_the_same() {
    let (mut judge, mut hosts, mut random) = (single(), HostRows::new(), SplitMix(4));
    judge.step_traffic();
    let found = (0..40).find(|t| {
        let next = hosts.interval(*t, &forty(&mut random, 0.8)).unwrap();
        judge.observe(&next).unwrap().stopped
    });
    assert!(found.is_some_and(|t| t < 15), "{found:?}");
    assert!(judge.host_events().is_empty());
}

/// Whether a healthy change is stopped over forty hosts whose rates differ like a lognormal with σ = 1, eight of them
/// canaries by chance.
fn heavy(random: &mut SplitMix, told_apart: bool) -> bool {
    let normal = |random: &mut SplitMix| (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let rates: Vec<f64> = (0..40).map(|_| 0.2 * (normal(random) - 0.5).exp()).collect();
    let (mut judge, mut hosts) = (single(), HostRows::new());
    judge.step_traffic();
    (0..100).any(|t| {
        let records: Vec<HostRecord> = (0..)
            .zip(&rates)
            .map(|(host, rate)| record(host, host < 8, random.poisson(*rate)))
            .collect();
        let next = if told_apart {
            hosts.interval(t, &records).unwrap()
        } else {
            let sum = |canary: bool| {
                let arm = records.iter().filter(|one| (one.arm == Arm::Canary) == canary);
                arm.fold(Counts::default(), |sum, one| {
                    Counts::new(sum.bad + one.bad, sum.total + one.total)
                })
            };
            interval(t, vec![row(0, 0, sum(true), sum(false))])
        };
        judge.observe(&next).unwrap().stopped
    })
}

#[test]
fn hosts_that_differ_for_good_stop_no_healthy_change() {
    let mut random = SplitMix(17);
    let stopped = (0..150).filter(|_| heavy(&mut random, true)).count();
    assert!(stopped <= 5, "{stopped} of 150 at α = 1 %");
    let naive = (0..40).filter(|_| heavy(&mut random, false)).count();
    assert!(naive >= 6, "{naive} of 40 by sums: the heavy tail is what is tested");
}

#[test]
fn host_records_are_checked_and_a_failed_host_counts_once() {
    let failure = FirstFailure {
        of: 0,
        metric: 1,
        share: 0.05,
        least: 2,
    };
    let mut hosts = HostRows::new().first_failure(failure);
    let before = hosts.clone();
    let wrong = |record: HostRecord| hosts.clone().interval(0, &[record]).unwrap_err();
    assert!(matches!(
        wrong(HostRecord {
            bad: 1_001,
            distinct: 1,
            ..record(1, true, 0)
        }),
        RowError::BadAboveTotal { bad: 1_001, .. }
    ));
    assert!(matches!(
        wrong(HostRecord {
            distinct: 2,
            ..record(1, true, 1)
        }),
        RowError::DistinctAboveBad { .. }
    ));
    let twice = [record(1, true, 0), record(1, true, 3)];
    assert!(matches!(
        hosts.interval(0, &twice),
        Err(RowError::DuplicateHost { host: 1, .. })
    ));
    assert_eq!(hosts, before);

    let of_hosts = |next: &Interval| -> Vec<(Counts, Counts)> {
        let rows = next.rows.iter().filter(|row| row.metric == 1);
        rows.map(|row| (row.canary, row.control)).collect()
    };
    let records = [
        record(1, true, 100),
        record(2, true, 1),
        record(3, false, 60),
        record(4, false, 0),
    ];
    let first = hosts.interval(0, &records).unwrap();
    assert_eq!(of_hosts(&first), [(Counts::new(1, 2), Counts::new(1, 2))]);
    let again = hosts.interval(1, &records).unwrap();
    assert_eq!(
        of_hosts(&again),
        [(Counts::new(0, 1), Counts::new(0, 1))],
        "they are not at risk any more"
    );
    let levels: Vec<u8> = again
        .rows
        .iter()
        .filter(|row| row.metric == 0)
        .map(|row| row.level)
        .collect();
    assert_eq!(
        levels,
        [0, 1 + 61, 7 + 3 * 61, 8 + 3 * 61],
        "0, 1, 60 and 100 events so far, all of them in the last interval"
    );
    assert_eq!((first.canary_hosts.reported, first.control_hosts.expected), (2, 2));
}

#[test]
fn traffic_that_is_not_divided_as_planned_says_nothing_until_it_is() {
    let mut judge = single();
    judge.step_traffic();
    let plan = PlannedSplit {
        stratum: 0,
        canary: 5,
        control: 95,
    };
    let with = |t: u64, canary: u64| Interval {
        splits: vec![plan],
        ..interval(
            t,
            vec![row(0, 0, Counts::new(canary / 50, canary), Counts::new(19, 95_000 / 5))],
        )
    };
    for t in 0..5 {
        judge.observe(&with(t, 200)).unwrap();
        assert!(matches!(
            held(judge.verdict()),
            Some(HoldReason::SampleRatio { stratum: 0, .. })
        ));
        assert!(judge.ln_e().abs() < 1e-12 && judge.pooled_safety().requests_seen == 0);
    }
    for t in 5..20 {
        judge.observe(&with(t, 1_000)).unwrap();
    }
    assert_eq!(
        judge.verdict(),
        Verdict::Rollback,
        "the hold ends by itself, and twenty times the rate is seen"
    );
    let wrong = Interval {
        splits: vec![PlannedSplit { control: 0, ..plan }],
        ..interval(20, Vec::new())
    };
    assert!(matches!(judge.observe(&wrong), Err(RowError::Split { .. })));
}

#[test]
fn missing_reports_hold_unless_even_the_worst_of_them_would_be_safe() {
    let run = |bad: u64, reported: u64, intervals: u64| {
        let mut judge = single();
        judge.step_traffic();
        for t in 0..intervals {
            let mut rows = vec![row(0, 0, Counts::new(bad, reported), Counts::new(19 * bad, 95_000))];
            rows[0].missing = 5_000 - reported;
            let plan = PlannedSplit {
                stratum: 0,
                canary: 5,
                control: 95,
            };
            let next = Interval {
                splits: vec![plan],
                ..interval(t, rows)
            };
            judge.observe(&next).unwrap();
        }
        judge
    };
    // Five bad and 250 missing of 5,000: nobody knows.
    let unknown = run(5, 4_750, 30);
    assert!(matches!(
        held(unknown.verdict()),
        Some(HoldReason::SampleRatio { stratum: 0, ln_bayes }) if ln_bayes > 6.9
    ));
    assert_eq!(
        unknown.pooled_safety().requests_seen,
        30 * 4_750,
        "its rows still speak"
    );
    // A tenth is bad, and of a fiftieth nothing is known: that cannot make it worse by half.
    let safe = run(500, 4_900, 30);
    assert_eq!(safe.verdict(), Verdict::Promote);
    // A bad release does not hide behind what is missing.
    let mut bad = single();
    bad.step_traffic();
    for t in 0..30 {
        let mut rows = vec![row(0, 0, Counts::new(20, 4_750), Counts::new(95, 95_000))];
        rows[0].missing = 250;
        let splits = vec![PlannedSplit {
            stratum: 0,
            canary: 5,
            control: 95,
        }];
        bad.observe(&Interval {
            splits,
            ..interval(t, rows)
        })
        .unwrap();
    }
    assert_eq!(bad.verdict(), Verdict::Rollback);
    let restored: Judge = serde_json::from_str(&serde_json::to_string(&unknown).unwrap()).unwrap();
    assert_eq!(restored.verdict(), unknown.verdict());
}

/// Two applications, the first with a canary; their control hosts have these rates.
fn beside(near: f64, far: f64) -> Judge {
    let topology = Topology {
        strata: (0..2).map(|app| StratumInfo { app, classes: vec![] }).collect(),
        classes: Vec::new(),
        apps: vec!["pay".to_owned(), "mail".to_owned()],
    };
    let past = |stratum| History {
        stratum,
        metric: 0,
        counts: Counts::new(10_000, 10_000_000),
        samples: Vec::new(),
        signatures: Vec::new(),
    };
    let mut judge = Judge::new(single().config().clone(), topology, &[past(0), past(1)]).unwrap();
    let mut random = SplitMix(8);
    judge.step_traffic();
    for t in 0..10 {
        let rows = vec![
            row(0, 0, random.counts(2_000, near), random.counts(18_000, near)),
            row(1, 0, Counts::default(), random.counts(20_000, far)),
        ];
        judge.observe(&interval(t, rows)).unwrap();
    }
    judge
}

#[test]
fn a_control_that_suffers_from_the_canary_holds() {
    let judge = beside(5e-3, 1e-3);
    assert!(
        matches!(held(judge.verdict()), Some(HoldReason::Interference { metric: 0, .. })),
        "{:?}",
        judge.verdict()
    );
    assert!(judge.explain().to_string().contains("(metric errors)"));
    assert!(
        held(beside(5e-3, 5e-3).verdict()).is_none(),
        "an incident of everybody is none"
    );
    assert!(held(beside(1e-3, 1e-3).verdict()).is_none());
}

#[test]
fn what_is_missing_is_neither_harm_nor_safety() {
    let run = |missing: u64| {
        let mut judge = single();
        judge.step_traffic();
        for t in 0..40 {
            let reported = Row {
                missing,
                ..row(0, 0, Counts::new(2, 2_000), Counts::new(20, 20_000))
            };
            judge.observe(&interval(t, vec![reported])).unwrap();
        }
        judge
    };
    assert_eq!(run(0).verdict(), Verdict::Promote);
    let silent = run(100);
    assert_eq!(silent.verdict(), Verdict::Continue);
    assert!(silent.pooled_safety().ln_s < 0.0 && silent.ln_e() <= run(0).ln_e());
}

#[test]
fn promotion_needs_traffic_evidence_and_a_bake() {
    let mut config = config();
    config.bake = 30;
    config.patience = 100;
    let run = |intervals: u64, canary: bool| {
        let mut judge = Judge::new(config.clone(), topology(), &[]).unwrap();
        for t in 0..intervals {
            let rows = (0..8)
                .flat_map(|s| [0, 1].map(|metric| (s, metric)))
                .map(|(s, metric)| {
                    let on_canary = if canary {
                        Counts::new(4, 4_000)
                    } else {
                        Counts::default()
                    };
                    row(s, metric, on_canary, Counts::new(36, 36_000))
                })
                .collect();
            judge.observe(&interval(t, rows)).unwrap();
        }
        judge
    };
    assert_eq!(
        run(29, true).verdict(),
        Verdict::Continue,
        "enough evidence, too short a bake"
    );
    assert!(run(29, true).pooled_safety().satisfied);
    assert_eq!(run(30, true).verdict(), Verdict::Promote);
    assert_eq!(
        run(100, false).verdict(),
        Verdict::Continue,
        "no canary traffic is no health"
    );
    let waiting = run(140, false);
    assert!(matches!(held(waiting.verdict()), Some(HoldReason::Insufficient { .. })));
    let Verdict::Hold(hold) = waiting.verdict() else {
        panic!("it holds")
    };
    assert_eq!(
        hold.deadline,
        100 + config.hold_patience,
        "since the interval after the patience"
    );
    assert!(matches!(hold.exit, Exit::Requests(more) if more > 1_000));
}

#[test]
fn requests_still_needed_are_about_those_that_are_needed() {
    let (mut judge, mut random) = (single(), SplitMix(6));
    judge.step_traffic();
    let mut forecast = None;
    for t in 0..200 {
        let rows = vec![row(0, 0, random.counts(1_000, 1e-3), random.counts(19_000, 1e-3))];
        judge.observe(&interval(t, rows)).unwrap();
        if t == 3 {
            forecast = judge.needed_requests();
        }
        if judge.pooled_safety().satisfied {
            break;
        }
    }
    let (taken, forecast) = (judge.pooled_safety().requests_seen, forecast.unwrap());
    assert!(
        judge.pooled_safety().satisfied && (taken / 3..taken * 3).contains(&forecast),
        "{forecast}, then {taken}"
    );
}

#[test]
fn a_failed_self_check_rejects_for_good() {
    let check = |outcome| {
        let result = CheckResult::new("golden", true, outcome);
        let report = SelfCheckReport::new("pod-1", "2", vec![result]);
        Gate::new(["golden"]).evaluate(&report)
    };
    let mut judge = single();
    judge
        .observe(&interval(
            0,
            vec![row(0, 0, Counts::new(0, 9_000), Counts::new(9, 90_000))],
        ))
        .unwrap();
    judge.observe_gate(&check(CheckOutcome::Pass));
    assert!(judge.verdict() == Verdict::Continue && judge.score() > 50.0);
    judge.observe_gate(&check(CheckOutcome::Timeout));
    judge.observe_gate(&check(CheckOutcome::Pass));
    assert!(judge.verdict() == Verdict::Reject && judge.score() < 1e-9);
}

#[test]
fn signatures_that_were_there_before_are_told_from_new_ones() {
    let past = History {
        stratum: 0,
        metric: 0,
        counts: Counts::new(10, 10_000),
        samples: Vec::new(),
        signatures: vec!["timeout".to_owned()],
    };
    let mut judge = Judge::new(single().config().clone(), single().topology().clone(), &[past]).unwrap();
    let mut next = interval(0, Vec::new());
    let one = |name: &str, canary, control| SignatureCounts {
        signature: name.to_owned(),
        canary: Counts::new(canary, 1_000),
        control: Counts::new(control, 10_000),
    };
    next.signatures = vec![
        one("panic", 3, 0),
        one("timeout", 1, 0),
        one("reset", 2, 20),
        one("codec", 30, 20),
    ];
    judge.observe(&next).unwrap();
    let origins: Vec<(String, Origin)> = judge
        .signatures()
        .into_iter()
        .map(|one| (one.name, one.origin))
        .collect();
    let expected = [
        ("panic", Origin::New),
        ("codec", Origin::Worse),
        ("timeout", Origin::PreExisting),
        ("reset", Origin::PreExisting),
    ];
    assert_eq!(origins, expected.map(|(name, origin)| (name.to_owned(), origin)));
    next.index = 1;
    next.signatures = vec![one("", 1, 1)];
    assert!(matches!(judge.observe(&next), Err(RowError::Signature { .. })));
}

fn small() -> impl Strategy<Value = (u64, u64, u64, u64)> {
    (1..5_000_u64, 1..50_000_u64).prop_flat_map(|(n_c, n_b)| (0..=n_c.min(40), 0..=n_b.min(60), Just(n_c), Just(n_b)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn evidence_is_monotone_in_what_speaks_for_it((x_c, x_b, n_c, n_b) in small(), missing in 0..50_u64) {
        let look = |bad: u64, missing: u64| {
            let mut judge = single();
            let one = Row { missing, ..row(0, 0, Counts::new(bad, n_c), Counts::new(x_b, n_b)) };
            let ln_e = judge.observe(&interval(0, vec![one])).unwrap().ln_e;
            (ln_e, judge.pooled_safety().ln_s)
        };
        let (ln_e, ln_s) = look(x_c, 0);
        if x_c < n_c {
            let (more, less) = look(x_c + 1, 0);
            prop_assert!(more >= ln_e - 1e-9 && less <= ln_s + 1e-9);
        }
        let (with, safe) = look(x_c, missing);
        prop_assert!(with <= ln_e + 1e-9 && safe <= ln_s + 1e-9, "{} {} {} {}", with, ln_e, safe, ln_s);
    }

    #[test]
    fn rows_of_one_split_may_be_added_up((x_c, x_b, n_c, n_b) in small(), more in 0..20_u64) {
        let of = |rows: &[(u64, u64, u64, u64)]| {
            let mut judge = single();
            for (t, (a, b, c, d)) in (0..).zip(rows) {
                judge.observe(&interval(t, vec![row(0, 0, Counts::new(*a, *c), Counts::new(*b, *d))])).unwrap();
            }
            judge.ln_e()
        };
        let more = more.min(n_b);
        let apart = of(&[(x_c, x_b, n_c, n_b), (0, more, n_c, n_b)]);
        let together = of(&[(x_c, x_b + more, 2 * n_c, 2 * n_b)]);
        prop_assert!((apart - together).abs() < 1e-9 * (1.0 + apart.abs()), "{} {}", apart, together);
    }

    #[test]
    fn knowing_the_hosts_never_adds_evidence(bad in prop::collection::vec(0..8_u64, 12)) {
        let records: Vec<HostRecord> = (0..).zip(&bad).map(|(host, bad)| record(host, host < 4, *bad)).collect();
        let next = HostRows::new().interval(0, &records).unwrap();
        let (mut with, mut without) = (single(), single());
        let bounded = with.observe(&next).unwrap().ln_e;
        let free = without.observe(&Interval { samples: Vec::new(), ..next }).unwrap().ln_e;
        prop_assert!(bounded <= free + 1e-12);
    }
}
