//! Objectives, how fast their budgets burn, and where they are read from.

use unattended_health::{
    Burn, BurnError, BurnState, Coverage, Exit, FaultClass, HoldReason, Interval, Judge, JudgeConfig, Numerator,
    Severity, Sli, Slo, SloError, StratumInfo, Topology, Verdict, import_openslo,
};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

fn slo(objective: f64, days: u64) -> Slo {
    Slo::new("availability", Sli::Metric("errors".into()), objective, days * DAY_MS).unwrap()
}

fn burn(objective: f64) -> Burn {
    Burn::new(vec![slo(objective, 30)]).unwrap()
}

/// Limits of a line, pages first.
fn limits(state: &BurnState) -> Vec<f64> {
    let all = state.lines.iter().filter(|line| line.class.is_none());
    all.map(|line| line.limit).collect()
}

#[test]
fn limits_follow_the_window_and_never_exceed_a_total_outage() {
    for (days, expected) in [(30, [14.4, 6.0, 3.0, 1.0]), (28, [13.44, 5.6, 2.8, 0.933_333_333])] {
        let state = Burn::new(vec![slo(0.999, days)]).unwrap().state(DAY_MS);
        for (found, wanted) in limits(&state).iter().zip(expected) {
            assert!((found - wanted).abs() < 1e-8, "{days} days: {found}, not {wanted}");
        }
    }
    // 14.4 times 10 % is more than everything: such a line could never be reached.
    let mut low = burn(0.9);
    assert!((limits(&low.state(0))[0] - 10.0).abs() < 1e-9);
    for minute in 1..=60 {
        low.observe(0, minute * MINUTE_MS, 100, &[(FaultClass::Own, 100)])
            .unwrap();
    }
    assert!(
        low.state(60 * MINUTE_MS).freeze().is_some(),
        "an outage of everything freezes"
    );
}

#[test]
fn a_total_outage_is_noticed_within_a_minute() {
    // At 99.9 % the line of an hour is reached after 51.84 s of a total outage; intervals have 10 s.
    let mut burn = burn(0.999);
    let outage_ms = 6 * 3_600_000;
    for end_ms in (10_000..=outage_ms).step_by(10_000) {
        burn.observe(0, end_ms, 1_000, &[]).unwrap();
        assert_eq!(burn.state(end_ms).freeze(), None);
    }
    let first = (1..=20)
        .find(|step| {
            let end_ms = outage_ms + step * 10_000;
            burn.observe(0, end_ms, 1_000, &[(FaultClass::Infrastructure, 1_000)])
                .unwrap();
            burn.state(end_ms).freeze().is_some()
        })
        .unwrap();
    assert_eq!(first, 6, "after 60 s, the first interval beyond 51.84 s");
    let state = burn.state(outage_ms + 60_000);
    assert_eq!(state.freeze().unwrap().class, Some(FaultClass::Infrastructure));
    assert_eq!(state.usage(FaultClass::Own), Some(0.0), "it is not the component's own");
    assert_eq!(state.score(FaultClass::Own), Some(100.0));
    assert_eq!(state.score(FaultClass::Infrastructure), Some(0.0));
}

#[test]
fn both_windows_are_needed_and_a_past_burst_lets_go() {
    let mut burn = burn(0.999);
    // An hour of 3 %, then quiet: the long window still burns, the short one does not.
    for minute in 1..=60 {
        burn.observe(0, minute * MINUTE_MS, 1_000, &[(FaultClass::Own, 30)])
            .unwrap();
    }
    assert!(burn.state(60 * MINUTE_MS).freeze().is_some());
    for minute in 61..=70 {
        burn.observe(0, minute * MINUTE_MS, 1_000, &[]).unwrap();
    }
    let state = burn.state(70 * MINUTE_MS);
    let line = state
        .lines
        .iter()
        .find(|line| line.class == Some(FaultClass::Own))
        .unwrap();
    assert!(line.long.unwrap() >= line.limit && line.short.unwrap() < 1e-12 && !line.reached);
    // Half an hour's window forgets it later.
    assert_eq!(burn.state(100 * MINUTE_MS).freeze(), None);
}

#[test]
fn classes_together_reach_what_none_reaches_alone() {
    let mut burn = burn(0.999);
    for minute in 1..=60 {
        let bad = [
            (FaultClass::Own, 4),
            (FaultClass::Business, 4),
            (FaultClass::Client, 100),
            (FaultClass::Policy, 300),
        ];
        burn.observe(0, minute * MINUTE_MS, 1_000, &bad).unwrap();
    }
    let state = burn.state(60 * MINUTE_MS);
    let freeze = state.freeze().unwrap();
    assert_eq!((freeze.class, freeze.slo), (None, 0));
    assert!(
        (freeze.limit - 6.0).abs() < 1e-9 && (freeze.burn - 8.0).abs() < 1e-9,
        "{freeze:?}"
    );
    assert!((state.usage(FaultClass::Own).unwrap() - 4.0 / 6.0).abs() < 1e-9);
    assert_eq!(state.usage(FaultClass::Client), None, "clients and policy burn nothing");
    let reached = |severity| {
        let mut all = state.lines.iter().filter(|line| line.class.is_none());
        all.any(|line| line.severity == severity && line.reached)
    };
    assert!(reached(Severity::Page) && reached(Severity::Ticket));
}

#[test]
fn a_single_error_at_night_pages_nobody_and_no_traffic_is_unknown() {
    let mut burn = burn(0.999);
    assert_eq!(burn.state(DAY_MS).unknown(), [0]);
    assert_eq!(burn.state(DAY_MS).score(FaultClass::Own), None);
    for minute in 1..=60 {
        burn.observe(0, minute * MINUTE_MS, 1, &[(FaultClass::Own, u64::from(minute > 51))])
            .unwrap();
    }
    let state = burn.state(60 * MINUTE_MS);
    let line = state
        .lines
        .iter()
        .find(|line| line.class == Some(FaultClass::Own))
        .unwrap();
    assert!(
        line.long.unwrap() > 100.0 && line.events == 9 && !line.reached,
        "9 events are too few"
    );
    burn.observe(0, 61 * MINUTE_MS, 1, &[(FaultClass::Own, 1)]).unwrap();
    assert!(burn.state(61 * MINUTE_MS).freeze().is_some(), "the tenth is not");
    assert!(burn.state(61 * MINUTE_MS).unknown().is_empty());
    // An hour later nobody calls any more: unknown, not fine.
    assert_eq!(burn.state(130 * MINUTE_MS).unknown(), [0]);
    assert_eq!(burn.state(130 * MINUTE_MS).freeze(), None);
}

#[test]
fn sums_over_windows_are_those_of_a_plain_list() {
    let mut burn = burn(0.99);
    let mut list = Vec::new();
    let mut random = crate::support::Random(9);
    let mut end_ms = 0;
    for _ in 0..4_000 {
        end_ms += 5_000 + random.next() % 110_000;
        let (total, bad) = (random.next() % 1_000, random.next() % 100);
        let bad = bad.min(total);
        burn.observe(0, end_ms, total, &[(FaultClass::Own, bad)]).unwrap();
        list.push((end_ms, total, bad));
    }
    let state = burn.state(end_ms);
    for line in state.lines.iter().filter(|line| line.class == Some(FaultClass::Own)) {
        // A window is up to one slot longer: an eighth at most for the short ones, less for the others.
        for (window_ms, found) in [(line.long_ms, line.long), (line.short_ms, line.short)] {
            let rate = |reach_ms: u64| {
                let recent = list.iter().filter(|(at, ..)| at + reach_ms > end_ms);
                let (total, bad) = recent.fold((0, 0), |(total, bad), (_, t, b)| (total + t, bad + b));
                bad as f64 / total as f64 / 0.01
            };
            let width = [15_000, 60_000, 300_000, 3_600_000]
                .into_iter()
                .zip([30, 120, 360, 4_320]);
            let width = width
                .clone()
                .find(|(_, reach)| window_ms <= reach * MINUTE_MS)
                .unwrap()
                .0;
            let candidates: Vec<f64> = (0..=width).step_by(1_000).map(|more| rate(window_ms + more)).collect();
            let found = found.unwrap();
            assert!(
                candidates.iter().any(|rate| (rate - found).abs() < 1e-9),
                "{window_ms}: {found} is in none of {} windows",
                candidates.len()
            );
        }
    }
    let restored: Burn = serde_json::from_str(&serde_json::to_string(&burn).unwrap()).unwrap();
    assert_eq!(restored.state(end_ms), state);
}

#[test]
fn impossible_objectives_and_counts_are_refused() {
    for objective in [1.0, -0.1, f64::NAN, f64::INFINITY] {
        let refused = Slo::new("a", Sli::Metric("m".into()), objective, 30 * DAY_MS);
        assert!(matches!(refused, Err(SloError::Objective { .. })), "{objective}");
    }
    for window_ms in [0, 3 * DAY_MS - 1, 366 * DAY_MS + 1] {
        assert!(matches!(
            Slo::new("a", Sli::Metric("m".into()), 0.9, window_ms),
            Err(SloError::Window { .. })
        ));
    }
    let mut burn = burn(0.999);
    burn.observe(0, 1_000, 10, &[(FaultClass::Own, 10)]).unwrap();
    let before = burn.clone();
    assert!(matches!(
        burn.observe(1, 2_000, 1, &[]),
        Err(BurnError::Slo { slo: 1, slos: 1 })
    ));
    assert!(matches!(burn.observe(0, 1_000, 1, &[]), Err(BurnError::Late { .. })));
    assert!(matches!(
        burn.observe(0, 2_000, 1, &[(FaultClass::Own, 2)]),
        Err(BurnError::BadAboveTotal { .. })
    ));
    let twice = [(FaultClass::Own, 1), (FaultClass::Own, 1)];
    assert!(matches!(
        burn.observe(0, 2_000, 9, &twice),
        Err(BurnError::BadAboveTotal { .. })
    ));
    let huge = [(FaultClass::Own, u64::MAX), (FaultClass::Client, u64::MAX)];
    assert!(matches!(
        burn.observe(0, 2_000, 9, &huge),
        Err(BurnError::BadAboveTotal { .. })
    ));
    assert_eq!(burn, before);
}

const TWO: &str = include_str!("../data/openslo.yaml");

#[test]
fn openslo_documents_become_objectives() {
    let slos = import_openslo("openslo.yaml", TWO).unwrap();
    let found: Vec<_> = slos
        .iter()
        .map(|slo| (&*slo.name, slo.objective, slo.window_ms / DAY_MS))
        .collect();
    assert_eq!(
        found,
        [
            ("pay-availability", 0.999, 28),
            ("pay-latency/fast", 0.95, 30),
            ("pay-latency/bearable", 0.995, 30)
        ]
    );
    let nines = import_openslo("o.yaml", &TWO.replace("99.5", "99.9")).unwrap();
    assert_eq!(
        nines[2].objective.to_bits(),
        nines[0].objective.to_bits(),
        "99.9 % is 0.999"
    );
    let Sli::Ratio {
        name,
        numerator: Numerator::Good(good),
        total,
    } = &slos[0].sli
    else {
        panic!("{:?}", slos[0].sli)
    };
    assert_eq!((&**name, good.source.as_deref()), ("pay-answered", Some("Prometheus")));
    assert_eq!(total.spec["query"], "sum(unattended_requests_total)");
    let Sli::Ratio {
        numerator: Numerator::Bad(bad),
        ..
    } = &slos[1].sli
    else {
        panic!("{:?}", slos[1].sli)
    };
    assert_eq!(
        (bad.source_ref.as_deref(), &bad.spec["threshold"]),
        (Some("metrics"), &serde_json::json!(0.25))
    );
    assert!(Burn::new(slos).is_ok());
}

#[test]
fn every_fault_of_a_document_has_its_line_and_its_remedy() {
    let refused = |from: &str, to: &str| {
        assert!(TWO.contains(from), "{from}");
        import_openslo("o.yaml", &TWO.replacen(from, to, 1))
            .unwrap_err()
            .to_string()
    };
    for (from, to, said) in [
        (
            "target: 0.999",
            "target: 99.9",
            "o.yaml:14: spec.objectives[0].target: 99.9 is outside 0 to 1, 1 excluded; write 0.999, or targetPercent: 99.9",
        ),
        (
            "target: 0.999",
            "target: none",
            "o.yaml:14: spec.objectives[0].target: is a text, not a number",
        ),
        ("target: 0.999", "{}", "o.yaml:14:"),
        (
            "targetPercent: 99.5",
            "targetPercent: 100",
            "spec.objectives[1].targetPercent: 100 is outside 0 to 100",
        ),
        (
            "openslo/v1\n",
            "openslo/v2\n",
            "o.yaml:3: apiVersion: is not openslo/v1",
        ),
        (
            "Occurrences",
            "Timeslices",
            "spec.budgetingMethod: `Timeslices` is not supported; use `Occurrences`",
        ),
        (
            "duration: 4w",
            "duration: 4x",
            "spec.timeWindow[0].duration: `4x` is not a duration",
        ),
        ("duration: 4w", "duration: 2d", "`2d` is outside 3 to 366 days"),
        ("duration: 4w", "duration: 99999999999999999999w", "is not a duration"),
        (
            "isRolling: true",
            "isRolling: false",
            "spec.timeWindow[0]: is aligned to the calendar",
        ),
        (
            "indicatorRef: pay-answered",
            "indicatorRef: pay-answerd",
            "no SLI of this file is named `pay-answerd`",
        ),
        (
            "indicatorRef: pay-answered",
            "unknown: none",
            "spec.indicator: is missing",
        ),
        ("good:", "raw:", "spec.ratioMetric.raw: is not supported"),
        ("good:", "goods:", "needs exactly one of `good` and `bad`"),
        ("total:", "totals:", "spec.ratioMetric.total: is missing"),
        (
            "ratioMetric:",
            "thresholdMetric:",
            "spec.ratioMetric: is missing; threshold metrics have no counts",
        ),
        ("metricSource:", "source:", "metricSource: is missing"),
        ("counter: true", "counter: false", "spec.ratioMetric.counter: is false"),
        (
            "name: pay-availability",
            "nam: pay-availability",
            "metadata.name: is missing; add `name`",
        ),
        ("kind: SLO", "kind: SLOW", "kind: `SLOW` is not a kind of OpenSLO"),
        ("kind: SLO", "knd: SLO", "kind: is missing"),
        (
            "displayName: bearable",
            "displayName: fast",
            "a second objective is named `pay-latency/fast`",
        ),
    ] {
        let found = refused(from, to);
        assert!(found.contains(said), "{from} -> {to}: {found}");
        assert!(found.starts_with("o.yaml:"), "{found}");
    }
    // All faults at once, each with its place.
    let both = TWO.replace("Occurrences", "Timeslices");
    assert_eq!(import_openslo("o.yaml", &both).unwrap_err().errors().len(), 2);
    let syntax = import_openslo("o.yaml", "a: [1\nb: 2").unwrap_err();
    assert!(
        syntax.errors()[0].line > 0 && syntax.to_string().contains("document: "),
        "{syntax}"
    );
    for nothing in [
        "",
        "---\n",
        "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: a}\n",
    ] {
        assert!(
            import_openslo("o.yaml", nothing)
                .unwrap_err()
                .to_string()
                .contains("has no SLO")
        );
    }
}

#[test]
fn a_page_line_holds_the_change_and_lets_it_go() {
    let topology = Topology {
        strata: vec![StratumInfo {
            app: 0,
            classes: vec![],
        }],
        classes: vec![],
        apps: vec!["pay".into()],
    };
    let mut judge = Judge::new(JudgeConfig::standard(), topology, &[]).unwrap();
    let all = Coverage {
        reported: 9,
        expected: 9,
    };
    let interval = |index| Interval {
        index,
        canary_hosts: all,
        control_hosts: all,
        ..Interval::default()
    };
    judge.observe(&interval(0)).unwrap();
    assert_eq!(judge.verdict(), Verdict::Continue);

    let mut burn = burn(0.999);
    for minute in 1..=60 {
        burn.observe(0, minute * MINUTE_MS, 1_000, &[(FaultClass::Business, 20)])
            .unwrap();
    }
    judge.observe_burn(&burn.state(60 * MINUTE_MS));
    let Verdict::Hold(hold) = judge.verdict() else {
        panic!("{:?}", judge.verdict())
    };
    let HoldReason::Burn(freeze) = hold.reason else {
        panic!("{hold:?}")
    };
    assert_eq!(
        (freeze.slo, freeze.class, hold.exit),
        (0, Some(FaultClass::Business), Exit::BurnBelowBudget)
    );
    assert!(
        hold.to_string()
            .contains("business errors burn the budget of objective 0 20 times too fast"),
        "{hold}"
    );
    assert!(
        (judge.score_terms().burn - 100.0).abs() < 1e-9,
        "not the component's own"
    );
    let text = serde_json::to_string(&judge).unwrap();
    let restored: Judge = serde_json::from_str(&text).unwrap();
    assert_eq!(restored.verdict(), judge.verdict());
    assert_eq!(serde_json::to_string(&restored).unwrap(), text);

    judge.observe_burn(&burn.state(3 * 60 * MINUTE_MS));
    assert_eq!(judge.verdict(), Verdict::Continue, "it has ended by itself");
}
