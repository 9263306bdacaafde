//! The release train.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod adversity;
mod again;
mod autonomy;
mod budgets;
mod driving;
mod edges;
mod exploration;
mod figures;
mod page;
mod refusing;
mod steps;
mod telling;
mod urgent;

use unattended::defense::{Guard, Scope};
use unattended::train::{
    Artefact, Cadence, ChangeEnd, ChangeKey, Command, Commit, Input, Limits, LineConfig, LineId, Order, ReleaseFacts,
    Site, Stage, Timetable, Train, TrainBudget, TrainConfig,
};
use unattended::{Actor, Grant, Level, NoticeStage, Outcome, Severity, Telling};

pub(crate) const HOUR_MS: i64 = 3_600_000;
/// Monday, 23 November 2026, 08:00 UTC.
pub(crate) const START_MS: i64 = 1_795_420_800_000;

pub(crate) const QUALIFICATION: &str = "
version: 1
pack: qualification
owner: mesh-team
scope: {fleet: mesh}
facts: {soak_hours: number, error_budget_left: number, drills_passed: bool}
rules:
  - {id: soaked, kind: condition, if: {fact: soak_hours, below: 4}, then: hold, reason: it has not been seen}
  - {id: budget, kind: condition, if: {fact: error_budget_left, below: 0}, then: deny, reason: it fails too much}
  - {id: drills, kind: condition, if: {fact: drills_passed, is: false}, then: deny, reason: the way back must be open}
";

pub(crate) fn line() -> LineId {
    LineId::from("mesh")
}

/// A line of nightlies at 20:00 with a slot at 07:30 each morning, no calendar.
pub(crate) fn config(level: Level) -> TrainConfig {
    let hour = 3_600_000;
    TrainConfig {
        owner: Actor::person("li", "desk"),
        lines: vec![LineConfig {
            id: line(),
            scope: Scope::new().label("fleet", "mesh"),
            timetable: Timetable {
                cadence: Cadence::Nightly,
                release_at_min: 7 * 60 + 30,
                ..Timetable::default()
            },
            limits: Limits {
                canary_ms: 20 * hour,
                soak_ms: 24 * hour,
                production_ms: 96 * hour,
                ..Limits::default()
            },
            grant: Grant::new(level, Actor::person("li", "desk"), START_MS + 1_000 * 24 * HOUR_MS).unwrap(),
            budget: TrainBudget::default(),
            version: "mesh-2.0.0".to_owned(),
            head: 0,
        }],
        calendar: Guard::empty(),
        qualification: Guard::from_yaml("qualification.yaml", QUALIFICATION).unwrap(),
        telling: Telling::default(),
        began_unix_ms: START_MS,
    }
}

pub(crate) fn train(level: Level) -> Train {
    Train::new(config(level)).unwrap()
}

pub(crate) fn at(hours: i64) -> Input {
    Input::Tick(START_MS + hours * HOUR_MS)
}

pub(crate) fn ci(number: u64, green: bool) -> Input {
    Input::Ci {
        line: line(),
        commit: Commit {
            id: format!("c{number}"),
            number,
            at_unix_ms: START_MS,
        },
        green,
    }
}

pub(crate) fn built(version: &str, digest: &str, head: u64, base: Option<u64>) -> Input {
    Input::Built {
        line: line(),
        artefact: Artefact {
            version: version.to_owned(),
            digest: digest.to_owned(),
            head,
            base,
            picks: Vec::new(),
        },
    }
}

pub(crate) fn ended(train: &Train, site: Site, version: &str, nth: u32, outcome: Outcome) -> Input {
    Input::Ended {
        change: ChangeKey::new(&line(), site, version, nth),
        end: ChangeEnd {
            outcome,
            at_unix_ms: train.now_unix_ms(),
            exposed: 10,
            human_actions: 0,
            why: "seen".to_owned(),
        },
    }
}

/// The same of a change that has touched nothing.
pub(crate) fn unexposed(mut end: Input) -> Input {
    if let Input::Ended { end, .. } = &mut end {
        end.exposed = 0;
    }
    end
}

pub(crate) fn facts(train: &Train, version: &str, budget: Option<f64>) -> Input {
    Input::Facts {
        line: line(),
        version: version.to_owned(),
        facts: ReleaseFacts {
            at_unix_ms: train.now_unix_ms(),
            error_budget_left: budget,
            drills_passed: Some(true),
            ..ReleaseFacts::default()
        },
    }
}

pub(crate) fn order(order: Order) -> Input {
    Input::Order {
        line: line(),
        order,
        actor: Actor::person("li", "desk"),
        reason: "a test".to_owned(),
    }
}

/// Keys of the changes that were ever wanted and are not reported as done.
pub(crate) fn starts(train: &Train) -> Vec<String> {
    let start = |(_, command): (u64, &Command)| match command {
        Command::Start(order) => Some(order.change.0.clone()),
        _ => None,
    };
    train.due().filter_map(start).collect()
}

/// Codes and texts of what has come up and people are to be told.
pub(crate) fn told(train: &Train) -> Vec<(String, String)> {
    let tell = |(_, command): (u64, &Command)| match command {
        Command::Tell {
            code,
            text,
            stage: NoticeStage::Raised,
            ..
        } => Some((code.clone(), text.clone())),
        _ => None,
    };
    train.due().filter_map(tell).collect()
}

/// How soon somebody has to look at what came up under a code.
pub(crate) fn severities(train: &Train, wanted: &str) -> Vec<Severity> {
    let severity = |(_, command): (u64, &Command)| match command {
        Command::Tell {
            code,
            severity,
            stage: NoticeStage::Raised,
            ..
        } if code == wanted => Some(*severity),
        _ => None,
    };
    train.due().filter_map(severity).collect()
}

/// Everything due was carried out.
pub(crate) fn carried_out(train: &mut Train) {
    let numbers: Vec<u64> = train.due().map(|(number, _)| number).collect();
    for number in numbers {
        train.apply(&Input::Done(number)).unwrap();
    }
}

/// A nightly of commit 1 that qualified, at 02:00 of the next day.
pub(crate) fn qualified(level: Level) -> Train {
    qualified_in(config(level))
}

/// The same under other rules.
pub(crate) fn qualified_in(config: TrainConfig) -> Train {
    let mut train = Train::new(config).unwrap();
    for input in [ci(1, true), at(12), built("mesh-2.1.0", "a", 1, None)] {
        train.apply(&input).unwrap();
    }
    train
        .apply(&ended(&train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed))
        .unwrap();
    train.apply(&at(18)).unwrap();
    train.apply(&facts(&train, "mesh-2.1.0", Some(0.5))).unwrap();
    train
}

/// Where a release stands.
pub(crate) fn stage(train: &Train, version: &str) -> Stage {
    let line = &train.summary().lines[0];
    let release = line.releases.iter().find(|release| release.version == version);
    release.unwrap().stage.clone()
}
