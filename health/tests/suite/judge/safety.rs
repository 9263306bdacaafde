//! Evidence of safety: from whom it comes, when it starts anew, and what keeps it from being enough.

use super::*;

#[test]
fn suspicion_holds_before_it_stops() {
    let mut judge = single();
    judge.step_traffic();
    let seen: Vec<bool> = (0..40)
        .map(|t| {
            let rows = vec![row(0, 0, Counts::new(4, 2_000), Counts::new(20, 20_000))];
            judge.observe(&interval(t, rows)).unwrap();
            matches!(held(judge.verdict()), Some(HoldReason::Suspicion { ln_e, .. }) if ln_e < judge.config().alpha.ln().abs())
        })
        .collect();
    assert!(seen.contains(&true) && judge.verdict() == Verdict::Rollback);
}

#[test]
fn safety_grows_from_the_class_itself_and_starts_anew() {
    let (mut judge, hn, jv) = (judge(), 2, 3);
    judge.step_traffic();
    for t in 0..60 {
        // Only applications on stack HN have canaries.
        let rows = [0, 1, 4, 5]
            .into_iter()
            .flat_map(|s| {
                let slow = row(s, 1, Counts::new(20, 2_000), Counts::new(200, 20_000));
                [row(s, 0, Counts::new(4, 2_000), Counts::new(40, 20_000)), slow]
            })
            .collect();
        judge.observe(&interval(t, rows)).unwrap();
    }
    let safety = judge.safety(hn);
    assert!(safety.satisfied && safety.ln_s >= safety.needed);
    assert_eq!(safety.requests_seen, 60 * 4 * 2_000);
    assert!(!judge.safety(jv).satisfied && judge.safety(jv).ln_s.abs() < 1e-12);
    assert!(judge.score() > 95.0);
    judge.restart_safety(hn);
    assert!(!judge.safety(hn).satisfied && judge.safety(hn).ln_s.abs() < 1e-12);
    assert!(judge.pooled_safety().satisfied, "only that class began anew");
    judge.restart_pooled_safety();
    assert!(!judge.pooled_safety().satisfied);
}

#[test]
fn fresh_rows_never_make_a_class_safe_but_can_stop() {
    let mut judge = single_with_fresh();
    judge.step_traffic();
    for t in 0..50 {
        let fresh = Row {
            fresh: true,
            ..row(0, 0, Counts::new(0, 50_000), Counts::new(50, 50_000))
        };
        judge.observe(&interval(t, vec![fresh])).unwrap();
    }
    assert!(!judge.safety(0).satisfied && judge.safety(0).requests_seen == 0);
    for t in 50..70 {
        // Fifty times the control's rate is no reconnecting any more.
        let fresh = Row {
            fresh: true,
            ..row(0, 0, Counts::new(500, 10_000), Counts::new(50, 50_000))
        };
        judge.step_traffic();
        judge.observe(&interval(t, vec![fresh])).unwrap();
    }
    assert!(judge.stopped().is_some());
    assert!(judge.explain().to_string().contains("errors before warm-up 10,000 of "));
}

fn single_with_fresh() -> Judge {
    let mut config = single().config().clone();
    config.fresh_share = 0.1;
    Judge::new(config, single().topology().clone(), &[]).unwrap()
}

#[test]
fn a_required_metric_without_rows_blocks_promotion() {
    let mut judge = judge();
    for t in 0..100 {
        let rows = (0..8)
            .map(|s| row(s, 0, Counts::new(0, 20_000), Counts::new(40, 20_000)))
            .collect();
        judge.observe(&interval(t, rows)).unwrap();
    }
    let safety = judge.safety(0);
    assert!(
        safety.per_metric[0].ln_s > safety.needed && !safety.satisfied,
        "slow requests were never measured"
    );
}

#[test]
fn dispersion_comes_from_control_hosts_and_tempers_the_next_interval() {
    let bursts = |arm| {
        let hosts = (0..40).map(|i| if i % 10 == 0 { 40 } else { 0 });
        let hosts = hosts
            .zip(0..)
            .map(|(bad, host)| HostCounts {
                host,
                level: 0,
                bad,
                total: 1_000,
                distinct: bad,
            })
            .collect();
        HostSample {
            stratum: 0,
            metric: 0,
            arm,
            fresh: false,
            hosts,
        }
    };
    let rows = vec![row(0, 0, Counts::new(20, 1_000), Counts::new(20, 9_000))];
    let plain = {
        let mut judge = single();
        judge.observe(&interval(0, rows.clone())).unwrap().ln_e
    };
    let mut judge = single();
    let mut first = interval(0, rows.clone());
    first.samples = vec![bursts(Arm::Canary), bursts(Arm::Control)];
    let look = judge.observe(&first).unwrap();
    assert_eq!(look.ln_e.to_bits(), plain.to_bits(), "an interval never tempers itself");
    let expected = 4.0 * (36.0_f64 * 36.0) / 4.0 / 39.0 + 36.0 * 4.0 / 39.0;
    assert!(
        (judge.dispersion(0).unwrap() - expected).abs() < 1e-9,
        "the canary's sample does not count"
    );
    assert!(judge.dispersion(1).is_none());
    let grown = judge.observe(&interval(1, rows)).unwrap().ln_e - look.ln_e;
    assert!(grown > 0.0 && grown < look.ln_e / 10.0, "{grown} after {}", look.ln_e);
}

#[test]
fn the_largest_counts_are_finite() {
    let mut judge = single();
    let half = MAX_COUNT / 2;
    for (t, (canary, control)) in [(half, 1), (1, half), (half, half), (MAX_COUNT, MAX_COUNT)]
        .into_iter()
        .enumerate()
    {
        let rows = vec![row(
            0,
            0,
            Counts::new(canary, MAX_COUNT),
            Counts::new(control, MAX_COUNT),
        )];
        let look = judge.observe(&interval(t as u64, rows)).unwrap();
        assert!(look.ln_e.is_finite() && judge.safety(0).ln_s.is_finite());
        assert!((0.0..=100.0).contains(&judge.score()));
        let _ = judge.explain().to_string();
    }
}

#[test]
fn safety_is_divided_by_what_hosts_of_all_levels_differ_by() {
    // The same hosts, told apart by level or not; half of them have nine times the errors of the others.
    let judged = |levels: [u8; 2]| {
        let mut judge = single();
        let hosts = (0..40)
            .map(|host| {
                let uneven = host % 2 == 1;
                HostCounts {
                    host,
                    level: levels[usize::from(uneven)],
                    bad: if uneven { 9 } else { 1 },
                    total: 1_000,
                    distinct: if uneven { 9 } else { 1 },
                }
            })
            .collect();
        let rows = vec![row(0, 0, Counts::new(4, 1_000), Counts::new(36, 9_000))];
        let mut first = interval(0, rows.clone());
        first.samples = vec![HostSample {
            stratum: 0,
            metric: 0,
            arm: Arm::Control,
            fresh: false,
            hosts,
        }];
        judge.observe(&first).unwrap();
        judge.observe(&interval(1, rows)).unwrap();
        (judge.dispersion(0).unwrap(), judge.safety(0).per_metric[0].ln_relative)
    };
    let (one_level, two_levels) = (judged([0, 0]), judged([1, 5]));
    assert!(one_level.0 > 3.0 && (two_levels.0 - 1.0).abs() < 1e-12);
    assert_eq!(one_level.1.to_bits(), two_levels.1.to_bits());
}

/// An interval of a hundred good hosts, and of machines that were bad before, on either side.
fn with_bad_machines(index: u64, canary: Option<Counts>, control: Option<Counts>) -> Interval {
    let mut rows = vec![row(0, 0, Counts::new(4, 10_000), Counts::new(36, 90_000))];
    if canary.is_some() || control.is_some() {
        rows.push(Row {
            level: LASTING_LEVEL + 5,
            ..row(0, 0, canary.unwrap_or_default(), control.unwrap_or_default())
        });
    }
    interval(index, rows)
}

#[test]
fn machines_that_were_bad_before_say_nothing_by_where_they_stand() {
    let judged = |canary: Option<Counts>, control: Option<Counts>| {
        let mut judge = single();
        judge.step_traffic();
        for index in 0..30 {
            judge.observe(&with_bad_machines(index, canary, control)).unwrap();
        }
        let safety = judge.safety(0).per_metric[0].clone();
        (judge.ln_e(), safety.ln_relative, safety.ln_absolute)
    };
    let none = judged(None, None);
    // One machine, fifty times as bad: whoever adds it up sees a rate of six times the control's.
    let one = Counts::new(20, 1_000);
    assert_eq!(judged(Some(one), None), none);
    assert_eq!(judged(None, Some(one)), none);
    // Where both sides have some they are compared with one another, and that they are alike is evidence of safety.
    let both = judged(Some(one), Some(Counts::new(180, 9_000)));
    assert!(
        both.0 < none.0.max(0.0) + 0.1 && both.1 > none.1 + 1.0,
        "{both:?} {none:?}"
    );
    assert_eq!(
        both.2.to_bits(),
        none.2.to_bits(),
        "the limit is of hosts that were good"
    );
    // A release that is bad there alone is found there, and shows no safety.
    let worse = judged(Some(Counts::new(60, 1_000)), Some(Counts::new(180, 9_000)));
    assert!(worse.0 > 100_f64.ln() && worse.1 < both.1 - 10.0, "{worse:?}");
    // Of a level that hosts climb the two are added up, as they were.
    let climbed = |level| {
        let mut judge = single();
        judge.step_traffic();
        let mut at = with_bad_machines(0, Some(one), None);
        at.rows[1].level = level;
        judge.observe(&at).unwrap();
        judge.safety(0).per_metric[0].ln_relative
    };
    assert!(climbed(LASTING_LEVEL - 1) < climbed(LASTING_LEVEL) - 1.0);
}
