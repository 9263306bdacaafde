use super::sample::{HOUR, plain, sample};
use super::{PageOptions, page, text};
use crate::{Ask, Debt, DecisionView, EvidencePoint, ExposurePoint, HeldBy, HoldView, Outcome, Summary};

fn page_of(summary: &Summary) -> String {
    plain(page(
        summary,
        &PageOptions::new()
            .freeze_command("tool freeze")
            .rollback_command("tool back"),
    ))
}

#[test]
fn a_zone_nobody_knows_is_said() {
    let html = page(&sample(), &PageOptions::new().owner_zone("Mars/<Base>"));
    assert!(
        html.contains("Mars/&lt;Base&gt;") && html.contains("is not known"),
        "the reader must learn of it"
    );
    assert!(!page(&sample(), &PageOptions::new().owner_zone("UTC")).contains("is not known"));
}

#[test]
fn the_headline_says_state_since_when_and_what_to_do() {
    let html = page_of(&sample());
    assert!(html.contains("Baking since 10:00 UTC, for 1 h. "), "state and since");
    assert!(html.contains("Nothing for you to do"), "no act");
    assert!(
        html.contains("<title>&gt; Baking: mesh-1.9.2 (5.0 % exposed)</title>"),
        "title carries the state"
    );

    let mut asked = sample();
    asked.ask = Some(Ask {
        id: 3,
        question: "Resume or roll back?".into(),
        by_ms: 11 * HOUR,
        otherwise: "it rolls back.".into(),
    });
    let html = page_of(&asked);
    assert!(
        html.contains("Resume or roll back? ") && html.contains("<title>! NEEDS YOU"),
        "question"
    );
    assert!(
        html.contains("Answer by 13:00 UTC, in 2 h (question 3); otherwise it rolls back."),
        "deadline"
    );
    asked.elapsed_ms = 11 * HOUR;
    assert!(
        page_of(&asked).contains("The answer was due at 13:00 UTC (question 3)"),
        "the moment itself is no distance"
    );
    asked.elapsed_ms = 12 * HOUR;
    assert!(
        page_of(&asked).contains("The answer was due at 13:00 UTC, 1 h ago"),
        "a missed deadline is not a future one"
    );
}

#[test]
fn every_state_has_a_sentence_of_its_own() {
    let with = |outcome: Option<Outcome>, state: &str| {
        let mut summary = sample();
        summary.outcome = outcome;
        summary.state = state.into();
        summary.debts = vec![Debt {
            target: "t".into(),
            owner: "o".into(),
            reason: "r".into(),
            expires_unix_ms: 1_795_400_000_000,
        }];
        text(&summary, 200)
    };
    let cases = [
        (None, "rolling out", "it goes on, or stops, by itself"),
        (None, "rolling back", "it goes back by itself"),
        (None, "frozen", "Nothing moves until a person resumes it"),
        (None, "waiting", "A person must decide"),
        (Some(Outcome::Waiting), "waiting", "A person must decide"),
        (
            Some(Outcome::Frozen),
            "frozen",
            "Nothing moves until a person resumes it",
        ),
        (
            Some(Outcome::Completed),
            "completed",
            "Completed Sun 22 Nov 10:00 UTC, after 8 h",
        ),
        (
            Some(Outcome::CompletedWithDebt),
            "",
            "1 target was left behind; its owner must look at it, the first by Mon 23 Nov",
        ),
        (Some(Outcome::RolledBack), "", "Every touched target runs 1.9.1 again"),
        (
            Some(Outcome::RolledBackPartially),
            "",
            "! You must look: 1,193 targets still run 1.9.2",
        ),
        (
            Some(Outcome::Aborted),
            "",
            "Somebody ended it where it stood: 1,193 targets run 1.9.2",
        ),
        (None, " ", "IN AN UNKNOWN STATE"),
    ];
    for (outcome, state, wanted) in cases {
        // Lines are wrapped; the sentence is not about where.
        let shown = with(outcome, state).replace('\n', " ");
        assert!(
            shown.contains(wanted),
            "{outcome:?} {state:?} should say {wanted:?}:\n{shown}"
        );
    }
}

#[test]
fn what_has_not_come_to_most_of_the_fleet_is_no_good_news() {
    let said = |exposed| {
        let mut summary = sample();
        summary.outcome = Some(Outcome::CompletedWithDebt);
        summary.exposure.exposed = exposed;
        plain(text(&summary, 200))
    };
    let half = sample().exposure.targets.div_ceil(2);
    let (few, most) = (said(half - 1), said(half));
    assert!(
        few.contains("[!]") && few.contains("! Most of the fleet does not run it"),
        "{few}"
    );
    assert!(most.contains("[OK+]") && most.contains("Not urgent: "), "{most}");
}

#[test]
fn lost_targets_call_a_person_even_when_all_else_is_well() {
    for outcome in [None, Some(Outcome::Completed), Some(Outcome::RolledBack)] {
        let mut summary = sample();
        summary.outcome = outcome;
        summary.lost = 2;
        let html = page_of(&summary);
        assert!(html.contains("You must look: 2 targets serve nothing"), "{outcome:?}");
        assert!(!html.contains("Nothing for you to do"), "{outcome:?}");
        assert!(html.contains("2 lost)</title>"), "{outcome:?}");
    }
}

#[test]
fn what_should_be_zero_is_marked_with_a_sign_and_a_word_where_it_is_not() {
    let calm = page_of(&sample());
    assert!(
        !calm.contains("alarm raised") && !calm.contains("Attention"),
        "nothing to mark"
    );
    let mut summary = sample();
    summary.stuck = 4;
    let html = page_of(&summary);
    assert_eq!(html.matches("alarm raised").count(), 1);
    assert_eq!(html.matches("Attention: ").count(), 1);
    assert!(text(&summary, 80).contains("! stuck 4"));
}

#[test]
fn stale_data_is_said_while_a_change_runs_and_only_then() {
    let mut summary = sample();
    assert!(text(&summary, 80).contains("30 s old\n"));
    summary.data_until_ms = 8 * HOUR;
    assert!(text(&summary, 80).contains("! 1 h old: stale"));
    summary.outcome = Some(Outcome::Completed);
    assert!(
        text(&summary, 80).contains("data         1 h old at the end"),
        "the end cannot be stale"
    );
    let late = PageOptions::new().generated_unix_ms(sample().began_unix_ms + 10 * 3_600_000);
    assert!(
        plain(page(&sample(), &late)).contains("1 h old: stale"),
        "age counts from when the page was made"
    );
}

#[test]
fn unknown_is_never_shown_as_a_number_or_as_well() {
    let mut summary = sample();
    summary.evidence.value = f64::NAN;
    summary.evidence.score = f64::NAN;
    summary.next.budget_left = f64::NAN;
    summary.evidence.faults[0].canary_total = 0;
    let html = page_of(&summary);
    assert!(html.contains("nobody can say") && !html.contains("far from a stop"));
    assert!(html.contains("no data"), "no requests is no rate");
    assert!(html.contains("unknown left for false stops"));
    assert!(!html.contains("NaN"));
}

#[test]
fn evidence_is_written_against_its_limit_and_split_by_class() {
    let html = page_of(&sample());
    assert!(html.contains("<b>3.2</b><span> of 100 needed: far from a stop"));
    assert!(html.contains("0.0081 %"), "the rate");
    assert!(html.contains("20 needed to go on"), "axis in words");
    let mut summary = sample();
    summary.evidence.value = 120.0;
    assert!(page_of(&summary).contains("of 100 needed: enough to stop"));
}

#[test]
fn commands_fit_the_state() {
    let has = |summary: &Summary| {
        let html = page_of(summary);
        (
            html.contains("<code>tool freeze</code>"),
            html.contains("<code>tool back</code>"),
        )
    };
    let mut summary = sample();
    assert_eq!(has(&summary), (true, true));
    summary.state = "frozen".into();
    assert_eq!(has(&summary), (false, true), "what is frozen cannot be frozen");
    summary.state = "rolling back".into();
    assert_eq!(has(&summary), (true, false));
    summary.outcome = Some(Outcome::RolledBack);
    assert_eq!(has(&summary), (false, false));
    assert!(!page_of(&summary).contains("section class=\"commands\""));
    summary.outcome = Some(Outcome::Completed);
    assert_eq!(has(&summary), (false, true), "what is done can still be undone");
    let without = page(&sample(), &PageOptions::new());
    assert!(!without.contains("section class=\"commands\""), "nothing is promised");
}

/// A summary whose every text is hostile.
fn hostile() -> Summary {
    let evil = || "<script>alert(1)</script>\"'&\u{1b}[31m</title></style>".to_owned();
    let mut s = sample();
    (s.change, s.author, s.from, s.to, s.state) = (evil(), evil(), evil(), evil(), evil());
    s.ask = Some(Ask {
        id: 1,
        question: evil(),
        by_ms: 0,
        otherwise: evil(),
    });
    s.exposure.worst_tier = Some(evil());
    (s.evidence.strongest, s.evidence.scope) = (evil(), Some(evil()));
    s.evidence.faults[0].class = evil();
    s.evidence.borrowed = vec![evil()];
    (s.next.what, s.next.blocked_by) = (evil(), Some(evil()));
    s.batches[0].control = evil();
    let hold = &mut s.holds[0];
    (hold.lane, hold.by, hold.reason, hold.owner) = (evil(), evil(), evil(), evil());
    let decision = &mut s.decisions[0];
    (decision.code, decision.text, decision.otherwise) = (evil(), evil(), Some(evil()));
    s.debts = vec![Debt {
        target: evil(),
        owner: evil(),
        reason: evil(),
        expires_unix_ms: i64::MIN,
    }];
    s.receipt.modes = vec![(evil(), 1)];
    s
}

#[test]
fn every_name_is_escaped_and_nothing_is_loaded() {
    let evil = "<script>alert(1)</script>\"'";
    let options = PageOptions::new()
        .owner_zone(evil)
        .freeze_command(evil)
        .rollback_command(evil);
    let mut summary = hostile();
    summary.decisions = vec![summary.decisions[0].clone(); 6];
    let html = page(&summary, &options);
    assert_eq!(html.matches("<script").count(), 1, "a name became an element");
    assert_eq!(
        html.matches("</title>").count(),
        1 + html.matches("<title id=").count(),
        "a name closed the title"
    );
    assert_eq!(html.matches("</style>").count(), 1, "a name closed the style sheet");
    assert!(html.matches("&lt;script&gt;").count() > 25, "the names are still shown");
    assert!(
        !html.contains("=\"<") && !html.contains("\"\"'"),
        "a name left its attribute"
    );
    for loads in [
        "src=",
        "href=\"http",
        "url(http",
        "@import",
        "<link rel=\"stylesheet",
        "<iframe",
    ] {
        assert!(!html.contains(loads), "{loads}");
    }
}

#[test]
fn a_terminal_gets_no_control_characters_and_no_line_wider_than_asked() {
    let mut long = hostile();
    long.next.blocked_by = Some("x".repeat(500));
    long.evidence.scope = Some("\u{652f}\u{4ed8}".repeat(90));
    long.evidence.strongest = "many words ".repeat(80);
    for summary in [sample(), hostile(), long] {
        for width in [60, 80, 140] {
            let shown = text(&summary, width);
            for line in shown.lines() {
                let wide = line
                    .chars()
                    .map(|c| if ('\u{4e00}'..='\u{9fff}').contains(&c) { 2 } else { 1 })
                    .sum::<usize>();
                assert!(wide <= width, "{wide} > {width}: {line}");
                assert_eq!(line, line.trim_end(), "spaces at the end");
            }
            assert!(
                shown.chars().all(|c| c == '\n' || !c.is_control()),
                "a name reached the terminal as a command"
            );
            assert!(!shown.contains('\u{a0}'), "no-break spaces are for layout only");
        }
    }
    assert!(
        text(&sample(), 0).lines().all(|line| line.chars().count() <= 32),
        "a width of nothing is the least width"
    );
}

#[test]
fn text_answers_the_same_questions_as_the_page() {
    let shown = text(&sample(), 60);
    for wanted in [
        "[>] BAKING mesh-1.9.2 1.9.1 -> 1.9.2 L4",
        "exposed now  1,193 of 23,871 targets (5.0 %)",
        "38 of 412 applications; worst tier 1; 12",
        "should be 0  closed 0, stuck 0, lost 0",
        "why          3.2 of 100 needed: far from a stop",
        "next         Batch 3 starts.",
        "when         11:28 UTC, in 28 min",
        "all done     Mon 23 Nov 09:00 UTC, in 22 h",
        "held by      quiet-hours",
        "budget       97 % left for false stops",
        "data         30 s old",
    ] {
        assert!(shown.contains(wanted), "{wanted:?} is missing in\n{shown}");
    }
}

/// Every number in the attributes of drawings, and every style that places a bar.
fn check_drawing(html: &str, what: &str) {
    let body = html.split_once("</style>").expect("a page has a style sheet").1;
    for bad in ["NaN", "inf,", "inf\"", "inf ", "-inf", "infinity"] {
        assert!(!body.contains(bad), "{what}: {bad}");
    }
    for points in body
        .split(" points=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default())
    {
        for pair in points.split_whitespace() {
            let (x, y) = pair.split_once(',').expect("a point is a pair");
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!(
                (0.0..=1_200.0).contains(&x) && (0.0..=400.0).contains(&y),
                "{what}: {x},{y} is outside"
            );
        }
    }
    assert!(
        !body.contains("width=\"-") && !body.contains("width:-"),
        "{what}: a bar of negative width"
    );
}

#[test]
fn drawings_hold_only_finite_numbers_whatever_the_data() {
    check_drawing(&page_of(&sample()), "sample");
    check_drawing(&page_of(&hostile()), "hostile");

    let mut empty = sample();
    (empty.batches, empty.exposure_curve, empty.evidence_curve) = (Vec::new(), Vec::new(), Vec::new());
    (empty.holds, empty.decisions, empty.evidence.faults) = (Vec::new(), Vec::new(), Vec::new());
    (empty.elapsed_ms, empty.state_since_ms, empty.data_until_ms) = (0, 0, 0);
    (empty.exposure.targets, empty.exposure.exposed) = (0, 0);
    let html = page_of(&empty);
    check_drawing(&html, "empty");
    assert!(html.contains("No exposure has been recorded yet.") && html.contains("Nothing has been measured yet"));
    assert!(!html.contains("<svg class=\"chart"), "nothing is drawn from nothing");

    let mut one = sample();
    one.exposure_curve.truncate(1);
    one.evidence_curve.truncate(1);
    check_drawing(&page_of(&one), "one point of zero");

    let mut odd = sample();
    for (at_ms, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 0.0]
        .into_iter()
        .enumerate()
        .map(|(i, v)| (i as u64, v))
    {
        odd.evidence_curve.push(EvidencePoint {
            at_ms: at_ms * HOUR,
            ln_stop: value,
            ln_safety: -value,
        });
    }
    odd.evidence.value = f64::INFINITY;
    odd.exposure_curve.push(ExposurePoint {
        at_ms: u64::MAX,
        exposed: u64::MAX,
        in_flight: u64::MAX,
        lanes_begun: u64::MAX,
        lanes_through: u64::MAX,
    });
    odd.holds[0].from_ms = u64::MAX;
    odd.holds.push(HoldView {
        from_ms: HOUR,
        until_ms: Some(0),
        ..odd.holds[0].clone()
    });
    odd.batches[0].ended_ms = Some(0);
    check_drawing(&page_of(&odd), "odd");
    for needed in [0.0, -1.0, f64::NAN, f64::INFINITY, 1.0] {
        let mut summary = sample();
        summary.evidence.needed = needed;
        let html = page(&summary, &PageOptions::new().safety_needed(needed));
        check_drawing(&html, "limits");
        let possible = needed > 0.0 && needed.is_finite();
        assert_eq!(
            html.contains("id=\"stop-wide-title\""),
            possible,
            "no curve against a limit of {needed}"
        );
    }

    let mut single = sample();
    (single.exposure.targets, single.exposure.exposed) = (1, 1);
    check_drawing(&page_of(&single), "a fleet of one");
}

#[test]
fn the_scale_shows_small_and_large_exposures() {
    let log = page_of(&sample());
    assert!(log.contains("logarithmic scale") && log.contains(">0.1 %<") && log.contains(">100 %<"));
    let mut tiny = sample();
    tiny.exposure.targets = 12;
    tiny.exposure_curve = vec![
        ExposurePoint {
            at_ms: 0,
            exposed: 0,
            in_flight: 0,
            lanes_begun: 0,
            lanes_through: 0,
        },
        ExposurePoint {
            at_ms: HOUR,
            exposed: 1,
            in_flight: 0,
            lanes_begun: 0,
            lanes_through: 0,
        },
        ExposurePoint {
            at_ms: 2 * HOUR,
            exposed: 12,
            in_flight: 0,
            lanes_begun: 0,
            lanes_through: 0,
        },
    ];
    let linear = page_of(&tiny);
    assert!(linear.contains("linear scale") && linear.contains(">50 %<"));
}

#[test]
fn the_limit_is_marked_where_it_was_reached() {
    assert!(!page_of(&sample()).contains("limit reached"));
    let mut summary = sample();
    summary.evidence_curve[1].ln_stop = 4.61;
    assert_eq!(
        page_of(&summary).matches("limit reached").count(),
        4,
        "both charts in both sizes"
    );
    summary.evidence_curve[1].ln_stop = 4.60;
    assert!(!page_of(&summary).contains("limit reached"), "just below is below");
}

#[test]
fn held_lanes_are_grouped_by_window_and_the_rest_is_counted() {
    let mut summary = sample();
    summary.holds = (0..3_000_u64)
        .map(|i| HoldView {
            lane: format!("lane-{i}"),
            by: if i < 2_999 { "quiet-hours" } else { "audit" }.into(),
            reason: "r".into(),
            owner: "o".into(),
            from_ms: 0,
            until_ms: Some(1_000 + i),
        })
        .collect();
    summary.lanes.clear();
    let html = page_of(&summary);
    assert_eq!(html.matches("class=\"lane\"").count(), 40);
    assert!(html.contains("and 2,960 more lanes") && html.contains("2,999 lanes, none waits any more"));
    assert!(
        html.contains(">audit</h3>") && html.contains(">lane-2999<"),
        "no window is crowded out"
    );
    assert!(
        html.contains(">lane-2998<") && !html.contains(">lane-0<"),
        "the longest are shown"
    );

    // What is shown is a part of what there is.
    summary.held = vec![HeldBy {
        by: "quiet-hours".into(),
        owner: "o".into(),
        lanes: 12_345,
        open: 11_111,
    }];
    let html = page_of(&summary);
    assert!(html.contains("12,345 lanes, 11,111 still waiting") && html.contains("and 12,306 more lanes"));

    summary.held.clear();
    summary.holds.truncate(1);
    summary.holds.push(HoldView {
        from_ms: 5_000,
        until_ms: None,
        ..summary.holds[0].clone()
    });
    let html = page_of(&summary);
    assert_eq!(
        html.matches("class=\"lane\"").count(),
        1,
        "holds of one lane share a row"
    );
    assert!(html.contains("class=\"hold open\"") && html.contains("1 still waiting"));
}

#[test]
fn lists_show_what_matters_and_fold_the_rest() {
    let mut summary = sample();
    summary.decisions = (0..40)
        .map(|i| DecisionView {
            text: format!("decision-{i}."),
            ..summary.decisions[0].clone()
        })
        .collect();
    summary.debts = (0..250)
        .map(|i| Debt {
            target: format!("target-{i}"),
            owner: "o".into(),
            reason: "r".into(),
            expires_unix_ms: 1_800_000_000_000 - i,
        })
        .collect();
    let html = page_of(&summary);
    assert!(html.contains("28 earlier decisions") && html.contains("decision-0.") && html.contains("decision-39."));
    assert!(
        html.contains("batch.promoted") && html.contains("What would have changed it: <span>Less evidence.</span>")
    );
    assert!(html.contains("and 50 more targets"));
    assert!(
        html.contains(">target-249<") && !html.contains(">target-0<"),
        "the most urgent debts first"
    );
    assert!(html.contains("p50 8.2 s, p99.9 31 s, longest 2 min 11 s"));
}

#[test]
fn what_was_shortened_is_there_in_full() {
    let mut summary = sample();
    summary.evidence.strongest = format!("{} the very end", "many words ".repeat(40));
    summary.next.blocked_by = Some(format!("app-{}", "x".repeat(120)));
    let html = page_of(&summary);
    assert!(html.contains("id=\"full\"") && html.contains("href=\"#full\""));
    assert!(html.contains(&format!("<dd>{}</dd>", summary.next.blocked_by.unwrap())));
    assert!(!page_of(&sample()).contains("id=\"full\""));
}

#[test]
fn the_same_summary_gives_the_same_bytes() {
    let options = PageOptions::new().owner_zone("Asia/Shanghai");
    assert_eq!(page(&hostile(), &options), page(&hostile(), &options));
}

#[test]
fn a_label_of_an_axis_is_short_enough_for_its_margin() {
    let mut summary = sample();
    summary.evidence_curve[1].ln_stop = 8.5 * std::f64::consts::LN_10;
    let html = page_of(&summary);
    let beside = html.split("dy=\"4\" text-anchor=\"end\">").skip(1);
    let labels: Vec<&str> = beside.filter_map(|rest| rest.split('<').next()).collect();
    assert!(labels.contains(&"1e6") && labels.contains(&"1e8"), "{labels:?}");
    // The narrower margin has room for seven letters.
    assert!(labels.iter().all(|label| label.chars().count() <= 7), "{labels:?}");
}
