//! Levels that are granted and end.

use unattended::defense::{Guard, Need};
use unattended::train::{Command, Input, Order, Refusal, Site, Train};
use unattended::{Actor, Level, Outcome};

use super::{
    HOUR_MS, START_MS, at, built, carried_out, ci, config, ended, facts, line, order, qualified, qualified_in, starts,
    told, train,
};

pub(super) fn says(actor: Actor, order: Order) -> Input {
    Input::Order {
        line: line(),
        order,
        actor,
        reason: "a test".to_owned(),
    }
}

pub(super) fn bot() -> Actor {
    Actor::program("bot", "cron")
}

pub(super) fn grant(level: Level, hours: i64) -> Order {
    Order::Grant {
        level,
        until_unix_ms: START_MS + hours * HOUR_MS,
    }
}

pub(super) fn in_production(train: &Train) -> bool {
    starts(train).iter().any(|key| key.contains("production"))
}

/// Why a person is asked, if one is.
pub(super) fn because(train: &Train) -> Option<String> {
    let summary = train.summary();
    summary.lines[0].question.as_ref().map(|asked| asked.because.clone())
}

pub(super) fn open(train: &Train, code: &str) -> bool {
    let summary = train.summary();
    summary.lines[0].matters.iter().any(|matter| matter.code == code)
}

/// The canary fleet has had it for five hours, and good was seen of it.
pub(super) fn qualifies(train: &mut Train, version: &str, hours: i64) {
    train
        .apply(&ended(train, Site::Canary, version, 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(hours)).unwrap();
    train.apply(&facts(train, version, Some(0.5))).unwrap();
}

#[test]
fn a_grant_that_has_run_out_lets_nothing_begin_but_what_a_person_chose() {
    let mut config = config(Level::L5);
    config.lines[0].grant.until_unix_ms = START_MS + 20 * HOUR_MS;
    let mut train = qualified_in(config);
    assert!(open(&train, "train.grant_ends"), "less than a week is left");
    for input in [at(28), ci(2, true), at(36)] {
        train.apply(&input).unwrap();
    }
    assert_eq!(train.summary().lines[0].level, Level::L2);
    assert!(open(&train, "train.grant_over") && !open(&train, "train.grant_ends"));
    assert!(!in_production(&train));
    assert!(
        because(&train).unwrap().contains("At level L2"),
        "{:?}",
        because(&train)
    );
    let builds = |train: &Train| {
        let build = |(_, command): &(u64, &Command)| matches!(command, Command::Build(order) if order.head == 2);
        train.due().filter(build).count()
    };
    assert_eq!(builds(&train), 0);
    let version = "mesh-2.1.0".to_owned();
    train.apply(&order(Order::Choose { version })).unwrap();
    assert!(in_production(&train), "a person's word is enough");
    // No program grants anything, and nobody grants what is over.
    let refused = train.apply(&says(bot(), grant(Level::L5, 1_000))).unwrap_err();
    assert!(matches!(refused, Refusal::NeedsPerson { .. }), "{refused}");
    let refused = train.apply(&order(grant(Level::L5, 36))).unwrap_err();
    assert!(matches!(refused, Refusal::NoGrant { .. }), "{refused}");
    train.apply(&order(grant(Level::L5, 1_000))).unwrap();
    assert_eq!(train.summary().lines[0].level, Level::L5);
    assert!(!open(&train, "train.grant_over"));
    train.apply(&at(60)).unwrap();
    assert_eq!(builds(&train), 1);
}

/// Not even a hotfix takes a fleet that it may not begin on.
#[test]
fn without_a_grant_no_nightly_gives_way() {
    let mut config = config(Level::L5);
    config.lines[0].grant.until_unix_ms = START_MS + 13 * HOUR_MS;
    let mut train = Train::new(config).unwrap();
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    carried_out(&mut train);
    for input in [ci(2, true), at(14)] {
        train.apply(&input).unwrap();
    }
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    let taken = |train: &Train| {
        let back = |(_, command): &(u64, &Command)| matches!(command, Command::TakeBack { .. });
        train.due().filter(back).count()
    };
    assert_eq!(taken(&train), 0);
    train.apply(&order(grant(Level::L4, 1_000))).unwrap();
    assert_eq!(taken(&train), 1);
}

#[test]
fn anybody_takes_a_level_away_and_only_a_grant_gives_one() {
    let mut train = qualified(Level::L5);
    train.apply(&says(bot(), Order::Demote { level: Level::L4 })).unwrap();
    train.apply(&at(28)).unwrap();
    assert!(!in_production(&train) && because(&train).unwrap().contains("At level L4"));
    let refused = train.apply(&order(Order::Demote { level: Level::L5 })).unwrap_err();
    assert!(matches!(refused, Refusal::NoGrant { .. }), "{refused}");
    train.apply(&order(grant(Level::L5, 1_000))).unwrap();
    assert!(
        in_production(&train) && because(&train).is_none(),
        "nobody need answer any more"
    );
    let told: Vec<String> = told(&train)
        .into_iter()
        .filter(|(code, _)| code == "train.level")
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        told,
        ["bot (cron) says L4, which was L5", "li (desk) says L5, which was L4"]
    );
}

#[test]
fn a_question_of_a_lower_level_is_asked_anew_for_what_still_stands_against_it() {
    let mut config = config(Level::L4);
    config.lines[0].budget.most_commits = 0;
    let mut train = qualified_in(config);
    train.apply(&at(28)).unwrap();
    assert_eq!(because(&train).unwrap(), "At level L4 a person chooses.");
    train.apply(&order(grant(Level::L5, 1_000))).unwrap();
    assert!(
        because(&train).unwrap().contains("most_commits"),
        "{:?}",
        because(&train)
    );
}

#[test]
fn what_a_program_chose_does_not_outlive_the_level() {
    let mut train = qualified(Level::L5);
    let version = || "mesh-2.1.0".to_owned();
    train.apply(&order(Order::StopTheLine { take_back: false })).unwrap();
    train.apply(&says(bot(), Order::Choose { version: version() })).unwrap();
    train.apply(&order(Order::Demote { level: Level::L4 })).unwrap();
    train.apply(&order(Order::Resume)).unwrap();
    train.apply(&at(28)).unwrap();
    assert!(!in_production(&train));
    assert_eq!(
        train.summary().lines[0].question.clone().unwrap().recommended,
        version()
    );
}

#[test]
fn why_a_start_was_taken_back_is_what_people_hear() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train.apply(&says(bot(), Order::Demote { level: Level::L2 })).unwrap();
    // It had begun after all.
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::RolledBack))
        .unwrap();
    let skipped = told(&train)
        .into_iter()
        .find(|(code, _)| code == "train.skipped")
        .unwrap()
        .1;
    assert!(skipped.contains("the line is at L2"), "{skipped}");
}

#[test]
fn a_level_in_force_is_that_of_its_own_line() {
    let mut config = config(Level::L5);
    let mut other = config.lines[0].clone();
    other.id = "edge".into();
    config.lines.push(other);
    let mut train = Train::new(config).unwrap();
    train.apply(&order(Order::Demote { level: Level::L0 })).unwrap();
    let levels: Vec<(String, Level)> = train
        .summary()
        .lines
        .into_iter()
        .map(|line| (line.id, line.level))
        .collect();
    assert_eq!(levels, [("edge".to_owned(), Level::L5), ("mesh".to_owned(), Level::L0)]);
}

fn taken_back(train: &Train) -> Vec<String> {
    let back = |(_, command): (u64, &Command)| match command {
        Command::TakeBack { change, .. } => Some(change.0.clone()),
        _ => None,
    };
    train.due().filter_map(back).collect()
}

/// A start that was ordered and is not known to have been carried out is no beginning yet.
#[test]
fn what_has_not_surely_begun_does_not_begin_where_it_may_not_any_more() {
    let demoted = |level| says(bot(), Order::Demote { level });
    let mut ends = config(Level::L5);
    ends.lines[0].grant.until_unix_ms = START_MS + 30 * HOUR_MS;
    for (config, then, goes) in [
        (config(Level::L5), demoted(Level::L4), false),
        (config(Level::L5), demoted(Level::L0), false),
        (ends, at(30), false),
        (config(Level::L5), at(30), true),
        // Two hours back.
        (config(Level::L5), at(26), false),
    ] {
        let mut train = qualified_in(config);
        carried_out(&mut train);
        train.apply(&at(28)).unwrap();
        assert!(in_production(&train));
        train.apply(&then).unwrap();
        assert_eq!(in_production(&train), goes, "{then:?}");
        assert_eq!(taken_back(&train).is_empty(), goes, "{then:?}");
    }
    // What a person chose goes at any level, and what is known to have begun goes on.
    let mut train = qualified(Level::L4);
    carried_out(&mut train);
    let version = "mesh-2.1.0".to_owned();
    train.apply(&order(Order::Choose { version })).unwrap();
    train.apply(&demoted(Level::L0)).unwrap();
    assert!(in_production(&train) && taken_back(&train).is_empty());
    let mut train = qualified(Level::L5);
    train.apply(&at(28)).unwrap();
    carried_out(&mut train);
    train.apply(&demoted(Level::L0)).unwrap();
    assert!(taken_back(&train).is_empty());
}

#[test]
fn a_freeze_stops_what_has_not_surely_begun() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-25, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    let mut config = config(Level::L5);
    config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
    let mut train = qualified_in(config);
    train.apply(&at(28)).unwrap();
    assert!(in_production(&train));
    train.apply(&at(39)).unwrap();
    assert!(in_production(&train), "23:00");
    train.apply(&at(40)).unwrap();
    assert!(!in_production(&train));
    let change = taken_back(&train);
    assert_eq!(change, ["mesh/production/mesh-2.1.0/0"]);
    // It was nowhere, and goes when the freeze is over.
    let mut end = ended(&train, Site::Production, "mesh-2.1.0", 0, Outcome::RolledBack);
    if let Input::Ended { end, .. } = &mut end {
        end.exposed = 0;
    }
    train.apply(&end).unwrap();
    train.apply(&at(4 * 24 + 16)).unwrap();
    assert!(starts(&train).contains(&"mesh/production/mesh-2.1.0/1".to_owned()));
}

/// The calendar must have room for a whole change.
#[test]
fn no_change_begins_that_would_run_into_a_freeze() {
    let freeze = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
freezes: [{id: quiet, from: 2026-11-25, until: 2026-11-28, zone: UTC, owner: cto, reason: quiet days}]
";
    for (hours, goes) in [(11, true), (13, false)] {
        let mut config = config(Level::L5);
        config.calendar = Guard::from_yaml("calendar.yaml", freeze).unwrap();
        config.lines[0].limits.room = Need {
            batch_ms: hours * 3_600_000,
            rollback_ms: 0,
        };
        let mut train = qualified_in(config);
        train.apply(&at(28)).unwrap();
        assert_eq!(
            in_production(&train),
            goes,
            "{hours} h before the freeze, which is 12 h ahead"
        );
    }
}

/// Rules see which release is urgent.
#[test]
fn a_hotfix_is_an_emergency_to_the_rules_and_a_nightly_is_none() {
    let only_urgent = "
version: 1
pack: calendar
owner: cto
scope: {fleet: mesh}
rules:
  - {id: quiet, kind: condition, if: {fact: change.emergency, is: false}, then: hold, reason: only what mends}
";
    let mut config = config(Level::L5);
    config.calendar = Guard::from_yaml("calendar.yaml", only_urgent).unwrap();
    let mut train = qualified_in(config);
    train.apply(&at(28)).unwrap();
    assert!(!in_production(&train));
    train.apply(&ci(2, true)).unwrap();
    let commit = "c2".to_owned();
    train.apply(&order(Order::Hotfix { commit })).unwrap();
    train.apply(&built("mesh-2.0.2", "h", 2, Some(0))).unwrap();
    qualifies(&mut train, "mesh-2.0.2", 33);
    assert!(in_production(&train), "{:?}", train.summary().lines[0].held);
}

#[test]
fn below_l4_no_nightly_is_built_and_somebody_knows_until_a_level_is_granted() {
    let mut train = train(Level::L5);
    for input in [ci(1, true), at(12)] {
        train.apply(&input).unwrap();
    }
    let builds = |train: &Train| {
        let build = |(_, command): &(u64, &Command)| matches!(command, Command::Build(_));
        train.due().filter(build).count()
    };
    assert_eq!(builds(&train), 1);
    train.apply(&says(bot(), Order::Demote { level: Level::L2 })).unwrap();
    assert_eq!(builds(&train), 0, "it was not carried out");
    assert!(open(&train, "train.below_l4"));
    let page = unattended::report::train_page(&train.summary());
    assert!(
        page.contains("At L2 nothing begins but what a person chooses"),
        "{page}"
    );
    train.apply(&order(grant(Level::L4, 1_000))).unwrap();
    assert!(!open(&train, "train.below_l4"));
    assert_eq!(builds(&train), 1);
    // A grant that ran out stays so, whatever else is taken away.
    let mut config = config(Level::L5);
    config.lines[0].grant.until_unix_ms = START_MS + HOUR_MS;
    let mut train = Train::new(config).unwrap();
    train.apply(&at(2)).unwrap();
    train.apply(&says(bot(), Order::Demote { level: Level::L1 })).unwrap();
    assert!(open(&train, "train.grant_over") && !open(&train, "train.below_l4"));
}
