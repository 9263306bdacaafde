//! What people are told: until somebody knows, or it is over.

use unattended::defense::Guard;
use unattended::train::{Command, INCIDENTS, Input, Order, Refusal, Site, Stage, Train};
use unattended::{Actor, Level, NoticeStage, Outcome, Severity};

use super::{
    QUALIFICATION, at, built, carried_out, ci, config, ended, facts, line, order, qualified, severities, stage, train,
};

/// What is said of a matter, by the stages that have not been said yet.
fn stages(train: &Train, code: &str) -> Vec<&'static str> {
    let stage = |(_, command): (u64, &Command)| match command {
        Command::Tell { code: of, stage, .. } if of == code => Some(stage.as_str()),
        _ => None,
    };
    train.due().filter_map(stage).collect()
}

fn matter(train: &Train, code: &str) -> Option<unattended::train::MatterView> {
    let summary = train.summary();
    summary.lines[0]
        .matters
        .iter()
        .find(|matter| matter.code == code)
        .cloned()
}

fn source(name: &str, answers: bool) -> Input {
    Input::Source {
        line: line(),
        source: name.to_owned(),
        answers,
    }
}

#[test]
fn a_line_that_stands_still_is_said_again_until_somebody_knows_and_resolved_under_the_same_key() {
    let mut train = train(Level::L5);
    let said = |train: &mut Train, input: Input| {
        train.apply(&input).unwrap();
        let said = stages(train, "train.stopped");
        carried_out(train);
        said
    };
    let stop = order(Order::StopTheLine { take_back: false });
    assert_eq!(said(&mut train, stop), ["raised"]);
    assert!(said(&mut train, at(3)).is_empty());
    assert_eq!(said(&mut train, at(4)), ["reminded"]);
    let key = matter(&train, "train.stopped").unwrap().key;
    assert_eq!(key, "mesh/train.stopped");
    let hands = train.summary().measures.human_actions;
    train.apply(&order(Order::Acknowledge { key: key.clone() })).unwrap();
    assert_eq!(train.summary().measures.human_actions, hands, "to know is no deed");
    assert!(said(&mut train, at(20)).is_empty());
    assert_eq!(said(&mut train, at(28)), ["reminded"], "believed for a day");
    train.apply(&order(Order::Resume)).unwrap();
    let over = train.due().find_map(|(_, command)| match command {
        Command::Tell {
            key,
            stage: NoticeStage::Resolved,
            ..
        } => Some(key.clone()),
        _ => None,
    });
    assert_eq!(over, Some(key.clone()));
    let refused = train.apply(&order(Order::Acknowledge { key })).unwrap_err();
    assert!(matches!(refused, Refusal::NotOpen { .. }), "{refused}");
}

#[test]
fn what_nobody_could_be_told_does_not_pile_up() {
    let mut train = train(Level::L5);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    for hours in 1..100 {
        train.apply(&at(hours)).unwrap();
    }
    // The last is what is due: it escalated after a day, and was said again since.
    assert_eq!(stages(&train, "train.stopped"), ["raised", "reminded"]);
    for nth in 0..3_000 {
        let key = format!("nobody/{nth}");
        train.apply(&order(Order::Acknowledge { key })).unwrap_err();
    }
    assert_eq!(train.due().count(), 1_024);
    assert!(stages(&train, "train.refused").len() >= 1_000);
}

#[test]
fn a_question_is_a_matter_that_ends_with_its_answer() {
    let mut train = qualified(Level::L4);
    train.apply(&at(28)).unwrap();
    assert_eq!(severities(&train, "train.choose"), [Severity::Warning]);
    let asked = matter(&train, "train.choose").unwrap();
    assert!(asked.text.contains("mesh-2.1.0: 16 h old"), "{}", asked.text);
    carried_out(&mut train);
    train.apply(&at(32)).unwrap();
    let again = train.due().find_map(|(_, command)| match command {
        Command::Tell { code, briefing, .. } if code == "train.choose" => briefing.clone(),
        _ => None,
    });
    assert_eq!(again.unwrap().recommended, "mesh-2.1.0");
    carried_out(&mut train);
    let version = "mesh-2.1.0".to_owned();
    train.apply(&order(Order::Choose { version })).unwrap();
    assert_eq!(stages(&train, "train.choose"), ["resolved"]);
    let over = train.due().find_map(|(_, command)| match command {
        Command::Tell { code, text, .. } if code == "train.choose" => Some(text.clone()),
        _ => None,
    });
    let over = over.unwrap();
    assert!(over.starts_with("Which release") && over.lines().count() == 1, "{over}");
    assert_eq!(matter(&train, "train.choose"), None);
}

#[test]
fn a_silent_source_is_told_after_its_limit_and_resolved() {
    let mut train = train(Level::L5);
    train.apply(&source("ci", false)).unwrap();
    let minutes = |minutes: i64| Input::Tick(super::START_MS + minutes * 60_000);
    for (at, open) in [(59, false), (60, true)] {
        train.apply(&minutes(at)).unwrap();
        assert_eq!(matter(&train, "train.silent").is_some(), open, "{at}");
    }
    // Said once more it is not silent since then.
    train.apply(&source("ci", false)).unwrap();
    assert!(
        matter(&train, "train.silent")
            .unwrap()
            .text
            .contains("`ci` has not answered since 2026-11-23 08:00")
    );
    train.apply(&source("ci", true)).unwrap();
    assert_eq!(matter(&train, "train.silent"), None);
}

/// Nobody has said that nothing burns.
#[test]
fn while_incidents_are_not_known_no_rule_that_asks_for_them_passes() {
    let burning = QUALIFICATION.replace("drills_passed: bool}", "drills_passed: bool, open_incidents: number}")
        + "  - {id: burning, kind: condition, if: {fact: open_incidents, above: 0}, then: hold, reason: one fire at a time}\n";
    let mut config = config(Level::L5);
    config.qualification = Guard::from_yaml("qualification.yaml", &burning).unwrap();
    let mut train = Train::new(config).unwrap();
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(18)).unwrap();
    train.apply(&source(INCIDENTS, false)).unwrap();
    let mut seen = facts(&train, "mesh-2.1.0", Some(0.5));
    if let Input::Facts { facts, .. } = &mut seen {
        facts.open_incidents = Some(0);
    }
    train.apply(&seen).unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Soaking { .. }));
    train.apply(&source(INCIDENTS, true)).unwrap();
    assert!(matches!(stage(&train, "mesh-2.1.0"), Stage::Qualified { .. }));
}

/// A hotfix that the canary fleet rolled back.
fn lost_hotfix() -> Train {
    let mut train = train(Level::L5);
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    train.apply(&at(21)).unwrap();
    // It had no time left, which is no fault of its own.
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::RolledBack))
        .unwrap();
    train
}

#[test]
fn a_hotfix_that_went_no_further_stays_somebodys_matter_until_they_decide() {
    for decision in [
        Order::Skip {
            version: "mesh-2.0.2".to_owned(),
        },
        Order::Hotfix {
            commit: "c2".to_owned(),
        },
    ] {
        let mut train = lost_hotfix();
        assert_eq!(severities(&train, "train.hotfix_failed"), [Severity::Critical]);
        train.apply(&at(200)).unwrap();
        assert!(matter(&train, "train.hotfix_failed").is_some());
        train.apply(&order(decision)).unwrap();
        assert_eq!(matter(&train, "train.hotfix_failed"), None);
    }
    // Given up, it does not begin anew.
    let mut train = lost_hotfix();
    let skip = Order::Skip {
        version: "mesh-2.0.2".to_owned(),
    };
    train.apply(&order(skip)).unwrap();
    let commit = "c2".to_owned();
    let refused = train.apply(&order(Order::Hotfix { commit })).unwrap_err();
    assert!(matches!(refused, Refusal::NoHotfix { .. }), "{refused}");
}

#[test]
fn a_hold_is_said_once_and_over_when_it_is() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-26, zone: UTC, owner: cto, reason: quiet days}]
";
    let mut config = config(Level::L5);
    config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
    let mut train = super::qualified_in(config);
    let mut said = Vec::new();
    for hours in 24..90 {
        train.apply(&at(hours)).unwrap();
        said.extend(stages(&train, "train.held").into_iter().map(|stage| (hours, stage)));
        carried_out(&mut train);
    }
    assert_eq!(said, [(24, "raised"), (64, "resolved")]);
}

#[test]
fn a_worse_reason_to_stand_still_takes_the_place_of_a_mild_one() {
    let mut train = qualified(Level::L5);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    assert_eq!(severities(&train, "train.stopped"), [Severity::Warning]);
    train.apply(&built("mesh-2.1.0", "b", 1, None)).unwrap_err();
    let stopped = matter(&train, "train.stopped").unwrap();
    assert_eq!(stopped.severity, Severity::Critical);
    assert!(
        stopped
            .text
            .contains("digest a of commit 1 and is now digest b of commit 1"),
        "{}",
        stopped.text
    );
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    assert_eq!(matter(&train, "train.stopped").unwrap().severity, Severity::Critical);
}

#[test]
fn a_program_may_know_of_a_matter_but_resume_nothing() {
    let mut train = train(Level::L5);
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    let says = |order: Order| Input::Order {
        line: line(),
        order,
        actor: Actor::program("pager", "webhook"),
        reason: "somebody pressed the button".to_owned(),
    };
    let key = "mesh/train.stopped".to_owned();
    train.apply(&says(Order::Acknowledge { key })).unwrap();
    let refused = train.apply(&says(Order::Resume)).unwrap_err();
    assert!(matches!(refused, Refusal::NeedsPerson { .. }), "{refused}");
    assert!(train.summary().lines[0].stopped.is_some());
}

#[test]
fn a_question_that_nobody_answers_escalates_however_often_it_is_asked_anew() {
    let mut train = qualified(Level::L4);
    let mut said = Vec::new();
    for hours in 24..80 {
        train.apply(&at(hours)).unwrap();
        said.extend(stages(&train, "train.choose"));
        carried_out(&mut train);
    }
    assert_eq!(said.iter().filter(|stage| **stage == "raised").count(), 1, "{said:?}");
    assert_eq!(
        said.iter().filter(|stage| **stage == "escalated").count(),
        1,
        "{said:?}"
    );
}

#[test]
fn slots_that_stay_empty_become_somebodys_matter_until_a_release_goes() {
    let burning = QUALIFICATION.replace("drills_passed: bool}", "drills_passed: bool, open_incidents: number}")
        + "  - {id: burning, kind: condition, if: {fact: open_incidents, above: 0}, then: hold, reason: one fire at a time}\n";
    let mut config = config(Level::L5);
    config.qualification = Guard::from_yaml("qualification.yaml", &burning).unwrap();
    config.lines[0].limits.soak_ms = 100 * 24 * 3_600_000;
    let mut train = Train::new(config).unwrap();
    let incident = Input::Incident {
        line: line(),
        id: "fire".to_owned(),
        at_unix_ms: super::START_MS,
    };
    for input in [incident, ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(18)).unwrap();
    let mut seen = facts(&train, "mesh-2.1.0", Some(0.5));
    if let Input::Facts { facts, .. } = &mut seen {
        facts.open_incidents = Some(0);
    }
    train.apply(&seen).unwrap();
    // The first slot opened in hour 23, and was over a day later.
    for day in 1..=14 {
        train.apply(&at(day * 24)).unwrap();
        assert_eq!(matter(&train, "train.starved"), None, "day {day}");
    }
    train.apply(&at(15 * 24)).unwrap();
    assert!(
        matter(&train, "train.starved")
            .unwrap()
            .text
            .contains("in 14 slots in a row")
    );
    // Its end got lost; a person says it.
    let close = |actor: Actor| Input::Order {
        line: line(),
        order: Order::CloseIncident { id: "fire".to_owned() },
        actor,
        reason: "it is out".to_owned(),
    };
    train.apply(&close(Actor::program("bot", "cron"))).unwrap_err();
    assert_eq!(train.summary().lines[0].incidents, ["fire"]);
    let wrong = order(Order::CloseIncident { id: "fier".to_owned() });
    let refused = train.apply(&wrong).unwrap_err();
    assert!(refused.to_string().contains("fire"), "{refused}");
    train.apply(&close(Actor::person("li", "desk"))).unwrap();
    assert!(train.summary().lines[0].incidents.is_empty());
    assert_eq!(matter(&train, "train.starved"), None, "a release goes");
}

#[test]
fn a_quiet_line_starves_nobody() {
    let mut train = train(Level::L5);
    for day in 1..60 {
        train.apply(&at(day * 24)).unwrap();
        assert_eq!(matter(&train, "train.starved"), None, "day {day}");
    }
    assert!(
        severities(&train, "train.slot_empty").len() > 10,
        "each slot is still told"
    );
}

#[test]
fn a_build_that_never_comes_is_one_matter_and_escalates() {
    let mut train = train(Level::L5);
    train.apply(&ci(1, true)).unwrap();
    let mut said = Vec::new();
    for hours in 12..10 * 24 {
        train.apply(&at(hours)).unwrap();
        said.extend(stages(&train, "train.build_late"));
        carried_out(&mut train);
    }
    let times = |wanted: &str| said.iter().filter(|stage| **stage == wanted).count();
    assert_eq!(
        (times("raised"), times("escalated"), times("resolved")),
        (1, 1, 0),
        "{said:?}"
    );
}

/// Whoever knows of one question does not know of the next.
#[test]
fn another_hotfix_is_asked_about_anew() {
    let mut train = train(Level::L4);
    let hotfix = |train: &mut Train, number: u64, version: &str, hours: i64| {
        train.apply(&ci(number, true)).unwrap();
        let commit = format!("c{number}");
        train.apply(&order(Order::Hotfix { commit })).unwrap();
        train.apply(&built(version, "h", number, Some(0))).unwrap();
        train
            .apply(&ended(train, Site::Canary, version, 0, Outcome::Completed))
            .unwrap();
        train.apply(&at(hours)).unwrap();
        train.apply(&facts(train, version, Some(0.5))).unwrap();
    };
    hotfix(&mut train, 2, "mesh-2.0.2", 5);
    let key = matter(&train, "train.choose").unwrap().key;
    train.apply(&order(Order::Acknowledge { key })).unwrap();
    carried_out(&mut train);
    hotfix(&mut train, 3, "mesh-2.0.3", 10);
    assert_eq!(severities(&train, "train.choose"), [Severity::Critical]);
}
