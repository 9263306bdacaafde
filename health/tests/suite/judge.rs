//! The judge as its users meet it: refusals, shuffles, snapshots, verdicts, explanations.

use crate::support::{SplitMix, config, held, interval, row, single, topology};
use unattended_health::{
    Arm, ClassTotals, Counts, Coverage, FaultClass, Finding, History, HoldReason, HostCounts, HostSample, Interval,
    Judge, JudgeConfig, JudgeError, LASTING_LEVEL, MAX_COUNT, Row, RowError, Verdict,
};

mod safety;
mod silence;

fn bytes(judge: &Judge) -> String {
    serde_json::to_string(judge).unwrap()
}

/// An interval over all strata; the canary of stack HN has this ratio of errors.
fn fleet(random: &mut SplitMix, index: u64, ratio: f64) -> Interval {
    let mut rows = Vec::new();
    for stratum in 0..8 {
        let bad = if (stratum / 2) % 2 == 0 { ratio } else { 1.0 };
        rows.push(row(
            stratum,
            0,
            random.counts(1_000, 2e-3 * bad),
            random.counts(17_000, 2e-3),
        ));
        rows.push(row(stratum, 1, random.counts(1_000, 1e-2), random.counts(17_000, 1e-2)));
        rows.push(row(stratum, 2, Counts::new(0, 5), Counts::new(random.next() % 2, 90)));
        rows.push(Row {
            fresh: true,
            ..row(stratum, 0, random.counts(200, 1e-2), random.counts(17_000, 2e-3))
        });
    }
    let mut next = interval(index, rows);
    let hosts = (0..30).map(|host| {
        let bad = random.poisson(2.0);
        HostCounts {
            host,
            level: 0,
            bad,
            total: 1_000,
            distinct: bad,
        }
    });
    next.samples.push(HostSample {
        stratum: 0,
        metric: 0,
        arm: Arm::Control,
        fresh: false,
        hosts: hosts.collect(),
    });
    next.totals.push(ClassTotals {
        class: FaultClass::Business,
        canary: Counts::new(80, 8_000),
        control: Counts::new(1_360, 136_000),
    });
    next
}

fn history() -> Vec<History> {
    let one = |stratum, metric, bad| History {
        stratum,
        metric,
        counts: Counts::new(bad, 1_000_000),
        samples: Vec::new(),
        signatures: Vec::new(),
    };
    (0..8)
        .flat_map(|stratum| [one(stratum, 0, 2_000), one(stratum, 1, 10_000)])
        .collect()
}

fn judge() -> Judge {
    Judge::new(config(), topology(), &history()).unwrap()
}

#[test]
fn a_fault_of_one_stack_is_found_named_and_explained() {
    let (mut judge, mut random) = (judge(), SplitMix(5));
    judge.step_traffic();
    let mut crossed = Vec::new();
    for t in 0..20 {
        let look = judge.observe(&fleet(&mut random, t, 5.0)).unwrap();
        crossed.extend(look.crossed_now.then_some(t));
    }
    assert_eq!(crossed.len(), 1, "it crosses once");
    assert!(crossed[0] < 5);
    assert_eq!(judge.verdict(), Verdict::Rollback);
    let stop = judge.stopped().unwrap();
    assert_eq!(stop.index, Some(crossed[0]), "the evidence is that of the crossing");
    assert!(stop.ln_e >= stop.ln_needed);
    let now = judge.stop_evidence();
    assert_eq!(now.classes[0].name, "stack=HN");
    assert_eq!(now.metrics[0].name, "errors");
    assert!(
        now.class_suspects.contains(&"stack=HN".to_owned()) && !now.class_suspects.contains(&"stack=JV".to_owned())
    );
    assert_eq!(
        {
            let mut apps = now.app_suspects;
            apps.sort();
            apps
        },
        ["cart", "pay"],
        "the applications on HN"
    );
    assert!((judge.class_ln_e(2) - now.classes[0].ln_e).abs() < 1e-12);
    assert!(judge.app_ln_e(0) > 5.0 && judge.app_ln_e(1) < 2.0);
    assert!(
        judge.app_settled_ln_e(0) > judge.app_ln_e(0),
        "nothing fresh dilutes it"
    );
    let shares: f64 = now.pooled.share + now.classes.iter().chain(&now.apps).map(|part| part.share).sum::<f64>();
    assert!(
        (shares - 1.0).abs() < 1e-9,
        "pooled, classes and applications make up the whole: {shares}"
    );

    let explanation = judge.explain();
    let text = explanation.to_string();
    assert!(text.contains("strongest: class stack=HN, ratio "), "{text}");
    assert!(
        text.contains("errors on canary ") && text.contains("of 160,000 requests vs "),
        "{text}"
    );
    assert!(text.contains("of 100 needed"), "{text}");
    assert!(
        text.contains("business errors (not judged) on canary 1,600 of 160,000"),
        "{text}"
    );
    let strongest = explanation.findings.iter().find_map(|finding| match finding {
        Finding::Strongest { ratio, fleet_wide, .. } => Some((*ratio, *fleet_wide)),
        _ => None,
    });
    let (ratio, fleet_wide) = strongest.unwrap();
    assert!(
        ratio.low > 3.0 && ratio.low < 5.0 && ratio.high.unwrap() > 5.0 && ratio.high.unwrap() < 9.0,
        "{ratio:?}"
    );
    assert!(fleet_wide.is_none());
    assert_eq!(
        serde_json::from_str::<unattended_health::Explanation>(&serde_json::to_string(&explanation).unwrap())
            .unwrap()
            .to_string(),
        text
    );
}

#[test]
fn a_fault_everywhere_is_not_blamed_on_a_class() {
    let (mut judge, mut random) = (judge(), SplitMix(6));
    for t in 0..20 {
        let rows = (0..8)
            .map(|s| row(s, 0, random.counts(1_000, 1e-2), random.counts(17_000, 2e-3)))
            .collect();
        judge.observe(&interval(t, rows)).unwrap();
    }
    let text = judge.explain().to_string();
    assert!(text.contains("strongest: the fleet as a whole, ratio "), "{text}");
}

#[test]
fn a_stop_is_sticky_though_evidence_falls_again() {
    let mut judge = single();
    judge
        .observe(&interval(
            0,
            vec![row(0, 0, Counts::new(40, 1_000), Counts::new(40, 9_000))],
        ))
        .unwrap();
    assert!(judge.stopped().is_some());
    let at_crossing = judge.ln_e();
    for t in 1..40 {
        judge
            .observe(&interval(
                t,
                vec![row(0, 0, Counts::new(0, 1_000), Counts::new(40, 9_000))],
            ))
            .unwrap();
    }
    assert!(judge.ln_e() < at_crossing - 3.0);
    assert_eq!(judge.verdict(), Verdict::Rollback);
    assert!(judge.score() < 50.0 + 1e-9);
    assert!((judge.stopped().unwrap().ln_e - at_crossing).abs() < 1e-12);
}

#[test]
fn a_late_fault_is_found_sooner_with_restarts() {
    let delay = |steps: bool| {
        let (mut judge, mut random) = (single(), SplitMix(8));
        judge.step_traffic();
        (0..200_u64).find(|&t| {
            if steps && t > 0 && t % 20 == 0 {
                judge.step_traffic();
            }
            let ratio = if t < 100 { 0.7 } else { 2.0 };
            let rows = vec![row(
                0,
                0,
                random.counts(20_000, 1e-3 * ratio),
                random.counts(80_000, 1e-3),
            )];
            judge.observe(&interval(t, rows)).unwrap().stopped
        })
    };
    let (with, without) = (delay(true).unwrap(), delay(false).unwrap_or(u64::MAX));
    assert!(
        (100..110).contains(&with) && without > with + 10,
        "{with} with, {without} without restarts"
    );
}

#[test]
fn rows_before_the_first_step_count() {
    let mut judge = single();
    let look = judge
        .observe(&interval(
            0,
            vec![row(0, 0, Counts::new(50, 1_000), Counts::new(50, 9_000))],
        ))
        .unwrap();
    assert!(look.stopped, "forgetting step_traffic must not blind the judge");
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let (mut sorted, mut shuffled, mut random) = (judge(), judge(), SplitMix(9));
    for t in 0..10 {
        let mut next = fleet(&mut random, t, 2.0);
        sorted.observe(&next).unwrap();
        for i in (1..next.rows.len()).rev() {
            next.rows.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
        shuffled.observe(&next).unwrap();
    }
    assert_eq!(bytes(&sorted), bytes(&shuffled));
}

#[test]
fn a_restored_judge_continues_to_the_same_bytes() {
    let mut original = Judge::new(
        {
            let mut config = config();
            config.alpha = 0.1 + 0.2;
            config.metrics[0].weight = 1.0 / 3.0;
            config
        },
        topology(),
        &history(),
    )
    .unwrap();
    let mut random = SplitMix(10);
    let mut restored: Option<Judge> = None;
    for t in 0..30 {
        if t % 7 == 0 {
            original.step_traffic();
            restored.iter_mut().for_each(Judge::step_traffic);
        }
        if t == 12 {
            original.restart_safety(1);
            restored.iter_mut().for_each(|judge| judge.restart_safety(1));
        }
        let next = fleet(&mut random, t, 1.0 + t as f64 / 8.0);
        let look = original.observe(&next).unwrap();
        if let Some(restored) = &mut restored {
            let again = restored.observe(&next).unwrap();
            assert_eq!(look.ln_e.to_bits(), again.ln_e.to_bits());
            assert_eq!(bytes(&original), bytes(restored), "after interval {t}");
        }
        if t % 5 == 0 {
            restored = Some(serde_json::from_str(&bytes(&original)).unwrap());
            assert_eq!(bytes(&original), bytes(restored.as_ref().unwrap()));
        }
    }
    assert!(
        original.stopped().is_some(),
        "the snapshot of a stopped judge is part of the test"
    );
}

#[test]
fn evidence_that_begins_anew_knows_nothing_and_finds_the_same() {
    let mut judge = judge();
    let mut random = SplitMix(21);
    let mut now = 0;
    let mut observe = |judge: &mut Judge, ratio: f64, times: u64| {
        for _ in 0..times {
            judge.observe(&fleet(&mut random, now, ratio)).unwrap();
            now += 1;
        }
    };
    observe(&mut judge, 4.0, 30);
    assert!(judge.stopped().is_some() && judge.class_ln_e(0) > 0.0);
    let (dispersion, totals) = (judge.dispersion(0), judge.totals().to_vec());
    judge.begin_anew();
    assert_eq!((judge.ln_e(), judge.stopped()), (0.0, None));
    assert_eq!(
        (judge.class_ln_e(0), judge.app_ln_e(0), judge.pooled_ln_e()),
        (0.0, 0.0, 0.0)
    );
    assert_eq!((judge.safety(0).ln_s, judge.safety(0).requests_seen), (0.0, 0));
    assert_eq!((judge.dispersion(0), judge.totals()), (dispersion, &totals[..]));
    // It is written and read as any other, and goes on from the next interval only.
    let read: Judge = serde_json::from_str(&bytes(&judge)).unwrap();
    assert_eq!(bytes(&read), bytes(&judge));
    let last = judge.last_index().unwrap();
    assert!(judge.observe(&fleet(&mut SplitMix(21), last, 1.0)).is_err());
    observe(&mut judge, 1.0, 30);
    assert_eq!(judge.stopped(), None);
    assert!(judge.safety(0).requests_seen > 0);
    observe(&mut judge, 4.0, 60);
    assert!(judge.stopped().is_some());
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut random = SplitMix(12);
    let mut judge = judge();
    judge.observe(&fleet(&mut random, 3, 1.0)).unwrap();
    let good: serde_json::Value = serde_json::from_str(&bytes(&judge)).unwrap();
    let damages: [(&str, serde_json::Value); 8] = [
        ("/version", 2.into()),
        ("/config_bits", serde_json::json!([])),
        ("/config_bits/0", f64::NAN.to_bits().into()),
        ("/config_bits/1", 2.0_f64.to_bits().into()),
        ("/topology/strata/0/app", 99.into()),
        ("/scopes", serde_json::json!([])),
        ("/steps", 0.into()),
        ("/processes/0/0", 1_000_000.into()),
    ];
    for (place, value) in damages {
        let mut damaged = good.clone();
        *damaged.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<Judge>(damaged).is_err(), "{place}");
    }
    assert!(serde_json::from_value::<Judge>(good).is_ok());
}

#[test]
fn impossible_input_is_refused_by_name_and_changes_nothing() {
    let (mut judge, mut random) = (judge(), SplitMix(13));
    judge.observe(&fleet(&mut random, 5, 1.0)).unwrap();
    let before = bytes(&judge);
    let good = row(0, 0, Counts::new(1, 100), Counts::new(1, 1_000));
    let with = |change: &dyn Fn(&mut Interval)| {
        let mut next = interval(6, vec![good]);
        change(&mut next);
        next
    };
    let host = HostCounts {
        host: 0,
        level: 0,
        bad: 1,
        total: 10,
        distinct: 1,
    };
    let sample = |hosts| HostSample {
        stratum: 0,
        metric: 0,
        arm: Arm::Canary,
        fresh: false,
        hosts,
    };
    let cases: [(Interval, RowError); 11] = [
        (with(&|i| i.index = 5), RowError::Duplicate { index: 5 }),
        (with(&|i| i.index = 4), RowError::Late { index: 4, last: 5 }),
        (
            with(&|i| i.rows[0].stratum = 8),
            RowError::Stratum { stratum: 8, strata: 8 },
        ),
        (
            with(&|i| i.rows[0].metric = 3),
            RowError::Metric {
                stratum: 0,
                metric: 3,
                metrics: 3,
            },
        ),
        (
            with(&|i| i.rows[0].control.bad = 1_001),
            RowError::BadAboveTotal {
                stratum: 0,
                metric: 0,
                arm: Arm::Control,
                bad: 1_001,
                total: 1_000,
            },
        ),
        (
            with(&|i| i.rows[0].canary.total = MAX_COUNT + 1),
            RowError::TooLarge {
                stratum: 0,
                metric: 0,
                count: MAX_COUNT + 1,
            },
        ),
        (
            with(&|i| i.rows.push(good)),
            RowError::DuplicateRow {
                stratum: 0,
                metric: 0,
                fresh: false,
                level: 0,
            },
        ),
        (
            with(&|i| i.samples.push(sample(vec![host; 65]))),
            RowError::SampleTooLarge {
                stratum: 0,
                metric: 0,
                hosts: 65,
            },
        ),
        (
            with(&|i| i.samples.push(sample(vec![HostCounts { distinct: 2, ..host }]))),
            RowError::DistinctAboveBad {
                stratum: 0,
                metric: 0,
                distinct: 2,
                bad: 1,
            },
        ),
        (
            with(&|i| {
                i.samples.push(HostSample {
                    stratum: 9,
                    ..sample(vec![])
                })
            }),
            RowError::Stratum { stratum: 9, strata: 8 },
        ),
        (
            with(&|i| {
                i.canary_hosts = Coverage {
                    reported: 3,
                    expected: 2,
                }
            }),
            RowError::Coverage {
                arm: Arm::Canary,
                reported: 3,
                expected: 2,
            },
        ),
    ];
    for (next, expected) in cases {
        assert_eq!(judge.check(&next), Err(expected.clone()));
        assert_eq!(judge.observe(&next), Err(expected));
        assert_eq!(bytes(&judge), before);
    }
    let next = interval(60, vec![good]);
    assert_eq!(judge.check(&next), Ok(()));
    assert_eq!(bytes(&judge), before, "nothing is learnt by looking");
    assert!(judge.observe(&next).is_ok(), "a gap is allowed");
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    let attempt = |change: &dyn Fn(&mut JudgeConfig)| {
        let mut config = config();
        change(&mut config);
        Judge::new(config, topology(), &[]).map(|_| ()).unwrap_err().to_string()
    };
    assert!(attempt(&|c| c.alpha = 0.0).contains("alpha"));
    assert!(attempt(&|c| c.beta = f64::NAN).contains("beta"));
    assert!(attempt(&|c| c.delta = -0.5).contains("delta"));
    assert!(attempt(&|c| c.fresh_ratio_limit = 0.5).contains("fresh_ratio_limit"));
    assert!(attempt(&|c| c.metrics[1].weight = f64::INFINITY).contains("weight of slow"));
    assert!(attempt(&|c| c.metrics[1].floor = 0.0).contains("floor of slow"));
    assert!(attempt(&|c| c.metrics.clear()).contains("metrics"));
    assert!(attempt(&|c| c.metrics[1].name = "errors".into()).contains("two metrics are called errors"));
    assert!(attempt(&|c| c.metrics.iter_mut().for_each(|m| m.required = false)).contains("required"));
    let mut bad = topology();
    bad.strata[3].classes = vec![1, 1];
    assert!(matches!(
        Judge::new(config(), bad, &[]),
        Err(JudgeError::Topology { stratum: 3, .. })
    ));
    let mut past = history();
    past[4].counts.bad = u64::MAX;
    assert!(matches!(
        Judge::new(config(), topology(), &past),
        Err(JudgeError::History { entry: 4, .. })
    ));
}

#[test]
fn no_canary_traffic_is_neither_good_nor_bad() {
    let mut judge = judge();
    assert_eq!(held(judge.verdict()), Some(HoldReason::NoData));
    assert!(judge.score() <= 50.0);
    for t in 0..50 {
        let rows = (0..8)
            .map(|s| row(s, 0, Counts::new(0, 0), Counts::new(10, 10_000)))
            .collect();
        judge.observe(&interval(t, rows)).unwrap();
    }
    assert_eq!(judge.verdict(), Verdict::Continue);
    assert!(judge.ln_e().abs() < 1e-12);
    for class in 0..4 {
        let safety = judge.safety(class);
        assert!(!safety.satisfied && safety.ln_s.abs() < 1e-12 && safety.requests_seen == 0);
    }
    assert!(!judge.safety(99).satisfied && judge.class_ln_e(99).abs() < 1e-12 && judge.app_ln_e(99).abs() < 1e-12);
    assert!(judge.app_settled_ln_e(99).abs() < 1e-12 && judge.app_settled_ln_e(u32::MAX).abs() < 1e-12);
}

#[test]
fn what_fresh_instances_showed_stands_still_and_is_no_settled_evidence() {
    let mut judge = Judge::new(config(), topology(), &[]).unwrap();
    judge.step_traffic();
    let fresh = |index| {
        let bad = Row {
            fresh: true,
            ..row(0, 0, Counts::new(300, 2_000), Counts::new(20, 20_000))
        };
        interval(
            index,
            vec![bad, row(0, 0, Counts::new(2, 2_000), Counts::new(20, 20_000))],
        )
    };
    (0..3).for_each(|index| {
        judge.observe(&fresh(index)).unwrap();
    });
    let before = (judge.app_ln_e(0), judge.app_settled_ln_e(0));
    assert!(
        judge.ln_e() > 2.0
            && judge.settled_ln_e() < 0.5
            && judge.class_ln_e(0) > 3.0
            && judge.class_settled_ln_e(0) < 0.5
    );
    assert!(before.0 > 3.0 && before.1 < 0.5, "{before:?}");
    // Alone, the warm ones go on saying that they are well; the sum of both hardly hears it.
    for index in 3..60 {
        let warm = row(0, 0, Counts::new(2, 2_000), Counts::new(20, 20_000));
        judge.observe(&interval(index, vec![warm])).unwrap();
    }
    assert!(
        judge.app_ln_e(0) > before.0 - 1.0 && judge.app_settled_ln_e(0) < before.1.min(0.0),
        "{before:?}"
    );
}
