//! Tests of what the first screen says while somebody has stopped the change, or is asked more than one thing.

use super::sample::{HOUR, plain, sample};
use super::{PageOptions, page, text};
use crate::{Actor, Ask, Outcome, Outlook, Summary};

/// Lines are wrapped; the sentences are not about where.
fn said(summary: &Summary) -> [String; 2] {
    let shown = text(summary, 100).split_whitespace().collect::<Vec<_>>().join(" ");
    [shown, plain(page(summary, &PageOptions::new()))]
}

#[test]
fn a_freeze_and_a_pause_say_when_the_run_ends_by_them() {
    let mut summary = sample();
    summary.freeze_ends_ms = Some(80 * HOUR);
    for (state, wanted) in [
        (
            "paused",
            "Nothing goes forward until a person resumes it; otherwise the run ends as frozen at Wed 25 Nov",
        ),
        (
            "frozen",
            "Nothing moves until a person resumes it; otherwise the run ends as frozen at Wed 25 Nov",
        ),
    ] {
        summary.state = state.into();
        for shown in said(&summary) {
            assert!(shown.contains(wanted), "{state}:\n{shown}");
            assert!(!shown.contains("no deadline"), "{state}");
        }
    }
    summary.freeze_ends_ms = None;
    assert!(
        said(&summary)[0].contains("Nothing moves until a person resumes it."),
        "of an earlier version"
    );
    summary.outcome = Some(Outcome::Frozen);
    let shown = &said(&summary)[0];
    assert!(
        shown.contains("in a run that is started again; there is no deadline"),
        "{shown}"
    );
}

#[test]
fn who_ended_it_is_said() {
    let mut summary = sample();
    summary.outcome = Some(Outcome::Aborted);
    for (who, wanted) in [
        (None, "Somebody ended it where it stood"),
        (Some(Actor::person("li", "phone")), "li (phone) ended it where it stood"),
        (
            Some(Actor::program("queue", "fix")),
            "The program queue (fix) ended it where it stood",
        ),
    ] {
        summary.ended_by = who;
        for shown in said(&summary) {
            assert!(shown.contains(wanted), "{wanted}:\n{shown}");
        }
    }
    summary.ended_by = Some(Actor::person("<b>", "x"));
    assert!(!said(&summary)[1].contains("<b> (x)"), "a name became an element");
}

#[test]
fn all_open_questions_are_there_with_their_numbers() {
    let ask = |id, question: &str, by_ms| Ask {
        id,
        question: question.into(),
        by_ms,
        otherwise: "it waits".into(),
    };
    let mut summary = sample();
    let long = format!("the rules want it of {}: let them go on?", "pay, cart, ".repeat(30));
    summary.asks = vec![
        ask(7, "Open batch 2?", 11 * HOUR),
        ask(3, &long, 12 * HOUR),
        ask(4, "Bring it back <now>?", 8 * HOUR),
    ];
    summary.ask = summary.asks.first().cloned();
    let [shown, html] = said(&summary);
    for wanted in [
        "Answer by 13:00 UTC, in 2 h (question 7)",
        "also asked (question 3, by 14:00 UTC): the rules want it of pay, cart, ",
        "cart, : let them go on?",
        "also asked (question 4, due at 10:00 UTC): Bring it back <now>?",
    ] {
        assert!(shown.contains(wanted), "{wanted:?}:\n{shown}");
    }
    for wanted in [
        "Also asked (question 3): the rules want it of pay, ",
        "\u{2026} let them go on?</li>",
        "Also asked (question 4, due at 10:00 UTC): Bring it back &lt;now&gt;?</li>",
        "<dt>Also asked</dt>",
    ] {
        assert!(html.contains(wanted), "{wanted:?}");
    }
    assert_eq!(html.matches("Open batch 2?").count(), 1, "the first is not said twice");
    summary.asks.truncate(1);
    let [shown, html] = said(&summary);
    assert!(
        !shown.contains("also asked") && !html.contains("Also asked"),
        "nothing else is"
    );
}

#[test]
fn the_outlook_tells_an_answer_from_a_word() {
    for (waits_for, wanted) in [
        ("open batch 2?", "It waits for an answer: open batch 2?"),
        (
            "somebody's word to go on after li (phone), who paused it",
            "It waits for somebody's word to go on after li (phone), who paused it.",
        ),
    ] {
        let outlook = Outlook {
            at_unix_ms: sample().began_unix_ms,
            deadline_unix_ms: None,
            eta_unix_ms: None,
            waits_for: Some(waits_for.into()),
            late: 0,
            late_by: Vec::new(),
            late_lanes: Vec::new(),
            most_in_flight: None,
            traffic: None,
            paces: Vec::new(),
        };
        let html = page(&sample(), &PageOptions::new().outlook(Some(outlook)));
        assert!(html.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_summary_of_an_earlier_version_is_read() {
    let mut value = serde_json::to_value(sample()).expect("a summary is JSON");
    let fields = value.as_object_mut().expect("an object");
    for new in ["asks", "freeze_ends_ms", "ended_by"] {
        assert!(fields.remove(new).is_some(), "{new}");
    }
    let read: Summary = serde_json::from_value(value).expect("the new ones are left out");
    assert_eq!(read, sample());
}
