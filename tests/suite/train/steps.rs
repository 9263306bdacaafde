//! What follows from what, step by step.

use unattended::defense::Guard;
use unattended::train::{Command, Input, Order, Site, Stage, Train};
use unattended::{Level, NoticeStage, Outcome};

use super::{
    QUALIFICATION, at, built, ci, config, ended, facts, line, order, qualified, starts, told, train, unexposed,
};

fn asked(train: &Train) -> Vec<unattended::train::Briefing> {
    let ask = |(_, command): (u64, &Command)| match command {
        Command::Tell {
            briefing: Some(briefing),
            stage: NoticeStage::Raised,
            ..
        } => Some(briefing.clone()),
        _ => None,
    };
    train.due().filter_map(ask).collect()
}

#[test]
fn at_l5_a_qualified_nightly_goes_at_the_next_slot_and_its_commits_are_measured() {
    let mut train = qualified(Level::L5);
    assert!(starts(&train).is_empty(), "no slot yet");
    train.apply(&at(28)).unwrap();
    assert_eq!(starts(&train).last().unwrap(), "mesh/production/mesh-2.1.0/0");
    train.apply(&at(40)).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    let measures = train.summary().measures;
    assert_eq!(measures.lead_time_hours_median, Some(40.0));
    assert_eq!((measures.releases, measures.human_actions), (1, 0));
    assert_eq!(measures.unattended_share, Some(1.0));
}

#[test]
fn below_l5_the_choice_waits_for_a_person_who_gets_a_briefing() {
    let mut train = qualified(Level::L4);
    train.apply(&at(28)).unwrap();
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
    let briefing = asked(&train).pop().unwrap();
    assert_eq!(briefing.recommended, "mesh-2.1.0");
    assert_eq!(
        (briefing.candidates[0].commits, briefing.candidates[0].error_budget_left),
        (1, Some(0.5))
    );
    assert!(briefing.text().contains("soaked 6 h"), "{}", briefing.text());
    let mut sure = briefing.clone();
    sure.candidates[0].safety_evidence = Some(1e130);
    assert!(sure.text().contains("safety evidence >1e6,"), "{}", sure.text());
    train.apply(&at(29)).unwrap();
    assert_eq!(asked(&train).len(), 1, "asked once");
    let version = briefing.recommended;
    train.apply(&order(Order::Choose { version })).unwrap();
    assert_eq!(starts(&train).last().unwrap(), "mesh/production/mesh-2.1.0/0");
    assert_eq!(train.summary().measures.human_actions, 1);
}

#[test]
fn without_an_answer_nothing_is_promoted_and_the_next_slot_asks_again() {
    let mut train = qualified(Level::L4);
    train.apply(&at(28)).unwrap();
    let by = |train: &Train| train.summary().lines[0].question.as_ref().unwrap().by_unix_ms;
    let first = by(&train);
    train.apply(&at(52)).unwrap();
    assert!(told(&train).iter().any(|(code, _)| code == "train.unanswered"));
    assert_eq!(by(&train), first + 24 * 3_600_000);
    assert_eq!(asked(&train).len(), 1, "it is one matter, and escalates");
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
}

#[test]
fn what_is_not_known_does_not_pass_and_is_skipped_in_time() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(30)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.0", None)).unwrap();
    assert!(matches!(
        train.summary().lines[0].releases[0].stage,
        Stage::Soaking { .. }
    ));
    train.apply(&at(36)).unwrap();
    assert!(matches!(
        train.summary().lines[0].releases[0].stage,
        Stage::Expired { .. }
    ));
}

#[test]
fn a_bad_nightly_is_skipped_and_ci_gets_the_commits_since_the_last_good_one() {
    let mut train = qualified(Level::L5);
    for input in [
        ci(2, true),
        ci(3, false),
        ci(4, true),
        at(36),
        built("mesh-2.4.0", "b", 4, None),
    ] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.4.0", 0, Outcome::RolledBack))
        .unwrap();
    let suspects = train.due().find_map(|(_, command)| match command {
        Command::Suspects { after, commits, .. } => Some((*after, commits.clone())),
        _ => None,
    });
    let names = ["c2", "c3", "c4"].map(str::to_owned).to_vec();
    assert_eq!(suspects, Some((1, names)));
    assert!(
        starts(&train).contains(&"mesh/production/mesh-2.1.0/0".to_owned()),
        "the good one goes"
    );
}

#[test]
fn a_hotfix_overtakes_and_skips_nothing() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None), ci(2, true)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(starts(&train), ["mesh/canary/mesh-2.1.0/0"]);
    train
        .apply(&order(Order::Hotfix {
            commit: "c2".to_owned(),
        }))
        .unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    // The nightly gives way, and is not called bad for it.
    assert!(
        train
            .due()
            .any(|(_, command)| matches!(command, Command::TakeBack { .. }))
    );
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    assert!(
        !train
            .due()
            .any(|(_, command)| matches!(command, Command::Suspects { .. }))
    );
    assert_eq!(starts(&train).last().unwrap(), "mesh/canary/mesh-2.0.2/0");
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    assert!(
        !starts(&train).iter().any(|key| key.contains("production")),
        "it has not soaked"
    );
    train.apply(&at(17)).unwrap();
    assert_eq!(
        starts(&train).last().unwrap(),
        "mesh/production/mesh-2.0.2/0",
        "no slot is waited for"
    );
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    // Commit 1 alone would take the hotfix back.
    for input in [ci(3, true), at(36), built("mesh-2.3.0", "n", 3, None)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(starts(&train).last().unwrap(), "mesh/canary/mesh-2.3.0/0");
}

/// One fire at a time; but what mends it is held up by nobody for it, be it the hotfix or the nightly that has it, too.
#[test]
fn a_nightly_that_has_the_hotfix_is_not_held_back_by_what_it_mends() {
    let burning = QUALIFICATION.replace("drills_passed: bool}", "drills_passed: bool, open_incidents: number}")
        + "  - {id: burning, kind: condition, if: {fact: open_incidents, above: 0}, then: hold, reason: one fire at a time}\n";
    let goes = |ordered: bool, bad: bool| {
        let mut config = config(Level::L5);
        config.qualification = Guard::from_yaml("qualification.yaml", &burning).unwrap();
        let mut train = Train::new(config).unwrap();
        train.apply(&ci(1, true)).unwrap();
        let incident = Input::Incident {
            line: line(),
            id: "fire".to_owned(),
            at_unix_ms: train.now_unix_ms(),
        };
        train.apply(&incident).unwrap();
        if ordered {
            let commit = "c1".to_owned();
            train.apply(&order(Order::Hotfix { commit })).unwrap();
            train.apply(&built("mesh-2.0.1", "h", 1, Some(0))).unwrap();
            let end = if bad {
                ended(&train, Site::Canary, "mesh-2.0.1", 0, Outcome::RolledBack)
            } else {
                // It does not get through, for no fault of its own.
                unexposed(ended(&train, Site::Canary, "mesh-2.0.1", 0, Outcome::Aborted))
            };
            train.apply(&end).unwrap();
        }
        for input in [at(12), built("mesh-2.1.0", "a", 1, None)] {
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
        train.apply(&at(28)).unwrap();
        starts(&train).iter().any(|key| key.contains("production/mesh-2.1.0"))
    };
    assert!(goes(true, false) && !goes(false, false));
    assert!(!goes(true, true), "what was bad mends nothing");
}

#[test]
fn nothing_goes_that_would_take_a_hotfix_back() {
    let mut train = qualified(Level::L5);
    train.apply(&ci(2, true)).unwrap();
    train
        .apply(&order(Order::Hotfix {
            commit: "c2".to_owned(),
        }))
        .unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(23)).unwrap();
    train.apply(&facts(&train, "mesh-2.0.2", Some(0.5))).unwrap();
    train
        .apply(&ended(&train, Site::Production, "mesh-2.0.2", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(48)).unwrap();
    assert!(!starts(&train).iter().any(|key| key.contains("production/mesh-2.1.0")));
    assert!(matches!(
        train.summary().lines[0].releases[1].stage,
        Stage::Superseded { .. }
    ));
}

#[test]
fn a_freeze_holds_the_slot_and_says_until_when() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-24, until: 2026-11-28, zone: UTC, owner: cto, select: {lane: nightly}, reason: quiet days}]
";
    let mut config = config(Level::L5);
    config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
    let mut train = super::qualified_in(config);
    train.apply(&at(28)).unwrap();
    let held = train.summary().lines[0].held.clone().unwrap();
    assert!(
        held.contains("possible from 2026-11-28 00:00 UTC") && held.contains("quiet days"),
        "{held}"
    );
    assert!(!starts(&train).iter().any(|key| key.contains("production")));
    train.apply(&at(5 * 24 - 8)).unwrap();
    assert_eq!(starts(&train).last().unwrap(), "mesh/production/mesh-2.1.0/0");
}

#[test]
fn what_does_not_end_is_taken_back_and_then_somebody_is_named() {
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    train.apply(&at(28 + 96)).unwrap();
    let taken = |train: &Train| {
        train
            .due()
            .filter(|(_, command)| matches!(command, Command::TakeBack { .. }))
            .count()
    };
    assert_eq!(taken(&train), 1);
    train.apply(&at(28 + 96 + 48)).unwrap();
    assert!(
        told(&train)
            .iter()
            .any(|(code, text)| code == "train.stuck" && text.contains("mesh/"))
    );
    assert_eq!(taken(&train), 1);
}

#[test]
fn an_old_release_is_not_promoted() {
    let mut config = config(Level::L4);
    config.lines[0].limits.max_age_ms = 30 * 3_600_000;
    let mut train = super::qualified_in(config);
    train.apply(&at(28)).unwrap();
    train.apply(&at(43)).unwrap();
    assert!(matches!(
        train.summary().lines[0].releases[0].stage,
        Stage::Expired { .. }
    ));
    let version = "mesh-2.1.0".to_owned();
    assert!(train.apply(&order(Order::Choose { version })).is_err());
}

#[test]
fn a_stopped_line_begins_nothing_and_lines_do_not_stop_each_other() {
    let mut config = config(Level::L5);
    let mut other = config.lines[0].clone();
    other.id = "edge".into();
    config.lines.push(other);
    let mut train = Train::new(config).unwrap();
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    for id in ["mesh", "edge"] {
        let Input::Ci { commit, green, .. } = ci(1, true) else {
            unreachable!()
        };
        train
            .apply(&Input::Ci {
                line: id.into(),
                commit,
                green,
            })
            .unwrap();
    }
    train.apply(&at(12)).unwrap();
    let builds: Vec<String> = train
        .due()
        .filter_map(|(_, command)| match command {
            Command::Build(order) => Some(order.line.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(builds, ["edge"]);
    assert_eq!(line().to_string(), "mesh");
}
