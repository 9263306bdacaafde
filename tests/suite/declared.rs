//! What rules are told of a change: who made it, of what, and what for.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use unattended::defense::{self, Approval, Guard, Known, Protocol};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Around, Change, ChangeFeed, FeedError, Outcome, RunError, WhatIf, replay};

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS};

const ARTEFACT: &str = "registry/mesh@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const HEAD: &str = "version: 1\npack: house\nowner: sre\nscope: all\nrules:\n";

/// Denies all, for good, where one of these is not so or nobody can tell.
fn only_if(conditions: &[String]) -> String {
    let mut pack = HEAD.to_owned();
    for (number, condition) in conditions.iter().enumerate() {
        writeln!(
            pack,
            "  - {{id: r{number}, kind: condition, if: {{not: {{{condition}}}}}, then: deny, unknown: deny, reason: not so}}"
        )
        .unwrap();
    }
    pack
}

fn is(fact: &str, value: &str) -> String {
    format!("fact: {fact}, is: {value}")
}

fn case(rules: String, declare: fn(Change) -> Change) -> Case {
    let mut case = Case::calm(3, 20);
    (case.declare, case.rules) = (declare, rules);
    case
}

#[test]
fn rules_are_told_what_the_change_is() {
    let told = [
        is("change.author", "li"),
        is("change.from", OLD),
        is("change.to", NEW),
        is("change.kind", "config"),
        is("change.emergency", "true"),
        is("change.artefact", &format!("\"{ARTEFACT}\"")),
        "fact: change.age_hours, above: 40".to_owned(),
        is("actor.kind", "program"),
        is("actor.id", "unattended"),
    ];
    let ended = case(only_if(&told), |change| {
        let change = change.kind("mesh config").artefact(ARTEFACT).emergency();
        change.made(START_WALL_MS - 48 * 3_600_000)
    })
    .run();
    assert_eq!(ended.outcome, Outcome::Completed, "{:?}", ended.summary.holds);
    ended.all_on_new();
    // Another kind and another author: nobody starts, and it is said by which rule.
    let mut other = case(only_if(&told[..4]), |change| change);
    other.settings.budget.longest_ms = HOUR_MS;
    let stage = other.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let mut stage = stage;
    assert!(stage.drive(clock.sleep_until(30 * MINUTE_MS)).unwrap().is_none());
    let holds = handle.summary().unwrap().holds;
    assert!(
        !holds.is_empty() && holds.iter().all(|hold| hold.by == "house/r3"),
        "{holds:?}"
    );
    assert_eq!(stage.platform.effects(), []);
}

/// On the way back it leaves the new version.
#[test]
fn on_the_way_back_the_versions_are_the_other_way_round() {
    let back = "  - {id: back, kind: condition, if: {all: [{fact: change.direction, is: rollback}, {fact: change.to, is_not: mesh-1}]}, \
                then: deny, unknown: deny, reason: not there}\n  \
                - {id: talk, kind: versions, mutable_tags: allowed, downgrade: allow, compatible: true, max_age: 30d, reason: all can talk}\n";
    let speaks = |reads: &str, writes: &str| Protocol {
        reads: vec![reads.to_owned()],
        writes: vec![writes.to_owned()],
    };
    // What the version before writes this neighbour does not read; on the way forward that is nobody's concern.
    let mut case = case(format!("{HEAD}{back}"), |change| change).release("errors=x20");
    case.declare = |change| {
        let speaks = |format: &str| Protocol {
            reads: vec!["v1".to_owned(), "v2".to_owned()],
            writes: vec![format.to_owned()],
        };
        change.protocols(speaks("v1"), speaks("v2"))
    };
    case.feed = Some(Arc::new(Feed {
        neighbour: Some(speaks("v2", "v2")),
        ..Feed::default()
    }));
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    assert!(stage.drive(clock.sleep_until(12 * HOUR_MS)).unwrap().is_none());
    let holds = handle.summary().unwrap().holds;
    assert!(
        handle.progress().unwrap().goes_back,
        "{holds:?} {:?}",
        handle.progress()
    );
    assert!(
        holds
            .iter()
            .any(|hold| hold.by == "house/talk" && hold.until_ms.is_none()),
        "{holds:?}"
    );
    assert!(holds.iter().all(|hold| hold.by != "house/back"), "{holds:?}");
    // A neighbour that reads both lets it through.
    case.feed = Some(Arc::new(Feed {
        neighbour: Some(Protocol {
            reads: vec!["v1".to_owned(), "v2".to_owned()],
            writes: vec!["v2".to_owned()],
        }),
        ..Feed::default()
    }));
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

/// Knows who has approved, and who talks to the fleet.
#[derive(Clone, Debug, Default)]
struct Feed {
    approved: Vec<Approval>,
    neighbour: Option<Protocol>,
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn around(&self) -> Result<Around, FeedError> {
        let mut around = Around::default();
        around.facts.approvals = Some(Known::at(START_WALL_MS, self.approved.clone()));
        around.facts.neighbours = self.neighbour.clone().map(|protocol| {
            let edge = defense::Neighbour {
                app: "edge".to_owned(),
                version: "edge-7".to_owned(),
                protocol: Some(protocol),
            };
            Known::at(START_WALL_MS, vec![edge])
        });
        Ok(around)
    }
}

#[test]
fn what_people_approved_is_this_artefact_and_not_the_authors_own_work() {
    let eyes = format!("{HEAD}  - {{id: eyes, kind: approvals, level: 1, reason: four eyes}}\n");
    let approval = |who: &str, artefact: &str| Approval {
        by: defense::Actor::person(who, "review"),
        level: 2,
        at_ms: START_WALL_MS - 3_600_000,
        artefact: Some(artefact.to_owned()),
    };
    let begins = |approved: Vec<Approval>| {
        let mut case = case(eyes.clone(), |change| change.artefact(ARTEFACT));
        case.feed = Some(Arc::new(Feed {
            approved,
            ..Feed::default()
        }));
        let mut stage = case.stage();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(30 * MINUTE_MS)).unwrap().is_none());
        let effects = stage.platform.effects();
        effects.iter().any(|effect| effect.act == Act::Replace)
    };
    assert!(begins(vec![approval("wang", ARTEFACT)]));
    assert!(!begins(vec![approval("li", ARTEFACT)]), "li is the author");
    assert!(
        !begins(vec![approval("wang", "registry/mesh@sha256:beef")]),
        "another artefact"
    );
    assert!(!begins(Vec::new()));
}

#[test]
fn what_it_says_of_itself_is_a_part_of_the_change() {
    let journal = Arc::new(MemoryJournal::new());
    let first = case(String::new(), |change| change.artefact(ARTEFACT));
    let mut stage = first.stage_over(journal.clone());
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(MINUTE_MS)).unwrap().is_none());
    drop(stage);
    let mut other = first.clone();
    other.declare = |change| change.artefact("registry/mesh:latest");
    let mut stage = other.stage_over(journal.clone());
    let refused = stage.drive(std::future::pending()).unwrap().unwrap().unwrap_err();
    assert!(
        matches!(&refused, RunError::OtherChange { field, .. } if field == "artefact"),
        "{refused}"
    );
    assert!(refused.to_string().contains("registry/mesh:latest"), "{refused}");
    assert_eq!(stage.platform.effects(), []);
    // The same goes on, and a machine that is made of the journal alone knows it too.
    let ended = first.stage_over(journal.clone()).run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let wants = is("change.artefact", "registry/mesh:latest");
    let wants = Guard::from_yaml("other.yaml", only_if(&[wants])).unwrap();
    let played = futures::executor::block_on(replay(&*journal, Some(wants))).unwrap();
    assert_eq!(played.first_difference, None);
    assert!(!played.what_if.is_empty());
    let wants = is("change.artefact", &format!("\"{ARTEFACT}\""));
    let wants = Guard::from_yaml("other.yaml", only_if(&[wants])).unwrap();
    let played = futures::executor::block_on(replay(&*journal, Some(wants))).unwrap();
    assert_eq!(played.what_if, []);
}

/// Who holds a lane in the morning is not who holds it at noon.
#[test]
fn where_another_rule_takes_over_another_difference_begins() {
    let late = "windows:\n  - {id: late, kind: protected, weekly: {days: daily, from: \"11:00\", for: 3h}, zone: UTC, reason: bank}\n";
    let young =
        "  - {id: young, kind: condition, if: {fact: change.age_hours, below: 4}, then: deny, reason: bakery}\n";
    let pack = HEAD.replace("rules:", &format!("{late}rules:"));
    let ended = case(format!("{pack}{young}"), |change| change.made(START_WALL_MS)).run();
    let played = futures::executor::block_on(replay(&*ended.journal, Some(Guard::empty()))).unwrap();
    let lane: Vec<&WhatIf> = (played.what_if.iter()).filter(|what| what.lane == "app-1").collect();
    // It is eight o'clock at the beginning.
    let [early, late, ..] = lane.as_slice() else {
        panic!("{:?}", played.what_if)
    };
    assert!(early.then.contains("bakery") && late.then.contains("bank"), "{lane:?}");
    assert_eq!(early.until_ms, Some(late.from_ms), "nothing lies between");
    assert!((4 * HOUR_MS..5 * HOUR_MS).contains(&late.from_ms), "{lane:?}");
    assert!(late.until_ms.is_some_and(|until| until <= 7 * HOUR_MS), "{lane:?}");
}
