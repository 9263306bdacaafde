//! What programs are told of a change: all of it, in order, no sooner than it is durable, in a shape that does not change.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::{Case, Ended, MINUTE_MS, Stage};
use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};
use unattended::{ChangeEvent, CloudEvent, Happened, Outcome};

const GOLDEN: &str = include_str!("data/events.v1.jsonl");
const CLOUD: &str = include_str!("data/event.cloudevents.json");

/// The fields of each type of event, as programs out there know them.
fn shapes() -> BTreeMap<String, BTreeSet<String>> {
    let mut shapes = BTreeMap::new();
    for line in GOLDEN.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        shapes.insert(event["type"].as_str().unwrap().to_owned(), fields(&event));
    }
    shapes
}

fn fields(event: &Value) -> BTreeSet<String> {
    event.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_shape_is_the_documented_one() {
    for line in GOLDEN.lines() {
        let event: ChangeEvent = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        assert_eq!(
            serde_json::from_str::<Value>(line).unwrap()["type"],
            event.what.as_str(),
            "the word and the type are one"
        );
    }
    assert_eq!(shapes().len(), GOLDEN.lines().count(), "each type once");
    let effect: ChangeEvent = serde_json::from_str(GOLDEN.lines().nth(3).unwrap()).unwrap();
    let cloud = effect.into_cloud_event("/unattended/eu-1");
    assert_eq!(
        serde_json::to_value(&cloud).unwrap(),
        serde_json::from_str::<Value>(CLOUD).unwrap()
    );
    assert_eq!(serde_json::from_str::<CloudEvent>(CLOUD).unwrap(), cloud);
    // What is about no target or lane is about the change.
    let ended: ChangeEvent = serde_json::from_str(GOLDEN.lines().nth(8).unwrap()).unwrap();
    assert_eq!(ended.into_cloud_event("x").subject, "mesh-2");
}

/// Runs it beside somebody who listens from the beginning.
fn heard(stage: Stage) -> (Ended, Vec<ChangeEvent>) {
    let events = stage.handle.events();
    let all: Arc<Mutex<Vec<ChangeEvent>>> = Arc::default();
    let kept = Arc::clone(&all);
    let ended = stage.run_beside(async move {
        let mut events = events;
        while let Some(event) = events.next().await {
            kept.lock().push(event);
        }
        // What comes last is read when the run is over.
        std::future::pending().await
    });
    let all = all.lock().clone();
    (ended, all)
}

/// A release that is late to show itself, and a window that holds the way back: everything happens in it.
fn eventful() -> Case {
    let mut case = Case::calm(6, 20).release("late=3h:errors=x20");
    case.rules = "version: 1
pack: shop
owner: shop
scope: all
windows:
  - {id: lunch, kind: protected, weekly: {days: [mon], from: \"10:30\", for: 20h}, zone: UTC, owner: shop-desk, reason: people eat}
"
    .to_owned();
    case
}

#[test]
fn everything_that_happens_is_told_in_order() {
    let stage = eventful().stage();
    let mut rest = stage.handle.events();
    let (ended, _) = heard(stage);
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let events: Vec<ChangeEvent> = std::iter::from_fn(|| rest.try_next()).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<u64>>());
    assert!(events.windows(2).all(|pair| pair[0].run == 0 && pair[1].run == 0));
    let outcome = Outcome::RolledBack;
    assert_eq!(
        events.last().map(|event| &event.what),
        Some(&Happened::Ended { outcome })
    );

    // Their shapes are those of the golden file, and all types occur but the one that tells of a slow subscriber.
    let shapes = shapes();
    let mut seen = BTreeSet::new();
    for event in &events {
        let json = serde_json::to_value(event).unwrap();
        let kind = json["type"].as_str().unwrap().to_owned();
        assert_eq!(Some(&fields(&json)), shapes.get(&kind), "{json}");
        assert_eq!(serde_json::from_value::<ChangeEvent>(json).unwrap(), *event);
        seen.insert(kind);
    }
    let mut all: BTreeSet<String> = shapes.into_keys().collect();
    all.remove("missed");
    assert_eq!(seen, all);

    // Every order that reached the platform, and no other, in the order in which it did.
    let sent: Vec<(String, Option<String>, Option<String>)> = events
        .iter()
        .filter_map(|event| match &event.what {
            Happened::Effect {
                target, version, key, ..
            } => Some((target.clone(), version.clone(), key.clone())),
            _ => None,
        })
        .collect();
    let reached: Vec<_> = (ended.effects.iter())
        .map(|effect| (effect.target.clone(), effect.version.clone(), effect.key.clone()))
        .collect();
    assert_eq!(sent, reached);
    let answered = events.iter().filter(|event| event.what.as_str() == "effect_answered");
    assert_eq!(answered.count(), sent.len());

    // Every decision.
    let told: Vec<(&str, &str)> = events
        .iter()
        .filter_map(|event| match &event.what {
            Happened::Decision { code, text, .. } => Some((code.as_str(), text.as_str())),
            _ => None,
        })
        .collect();
    let made: Vec<(&str, &str)> = (ended.summary.decisions.iter())
        .map(|decision| (decision.code.as_str(), decision.text.as_str()))
        .collect();
    assert_eq!(told, made);

    // Every notice, every end of an attempt, and every hold with its end.
    let noticed = events.iter().filter(|event| event.what.as_str() == "notice").count();
    assert_eq!(noticed, ended.pager.all().len());
    let attempts = events.iter().filter(|event| event.what.as_str() == "attempt_ended");
    assert_eq!(attempts.count() as u64, ended.summary.receipt.attempts);
    let mut held: BTreeMap<&str, bool> = BTreeMap::new();
    for event in &events {
        match &event.what {
            Happened::Hold { lane, owner, by, .. } => {
                assert_eq!((owner.as_str(), by.as_str()), ("shop-desk", "shop/lunch"));
                held.insert(lane, true);
            }
            Happened::HoldEnded { lane, .. } => {
                assert_eq!(held.insert(lane, false), Some(true), "{lane} was not held");
            }
            _ => {}
        }
    }
    // A lane that was to go forward is held to the end; those that had to go back were let go.
    assert!(held.values().any(|&held| !held), "{held:?}");
}

/// Whether somebody listens changes nothing.
#[test]
fn the_same_is_decided_whoever_listens() {
    let alone = eventful().run();
    let (ended, events) = heard(eventful().stage());
    assert!(events.len() > 100);
    assert_eq!(ended.bytes(), alone.bytes());
}

#[test]
fn a_run_that_takes_over_counts_its_events_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case::calm(4, 10);
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(15_000)).unwrap().is_none());
    let mut events = first.handle.events();
    drop(first);
    assert_eq!(
        futures::executor::block_on(events.next()),
        None,
        "a run that is dropped is over"
    );

    let second = case.stage_over(journal);
    let mut rest = second.handle.events();
    assert_eq!(second.run().outcome, Outcome::Completed);
    let first = rest.try_next().unwrap();
    assert_eq!((first.run, first.number), (1, 0));
    assert!(std::iter::from_fn(|| rest.try_next()).all(|event| event.run == 1));
}

/// A journal that is silent from some time on.
struct Silent(Arc<MemoryJournal>, unattended_simulated::SimClock, u64);

#[async_trait]
impl Journal for Silent {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if self.1.now() >= self.2 {
            std::future::pending::<()>().await;
        }
        self.0.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.0.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.0.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.0.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.0.end().await
    }
}

/// A decision that is told is in the journal: whoever acts upon it will not find that it was never made.
#[test]
fn nothing_is_told_that_the_journal_does_not_have() {
    let mut told_something = 0;
    for minute in [1, 5, 20, 60, 200, 230, 300] {
        let case = Case::calm(4, 20).release("late=1h:errors=x20");
        let sim = case.simulated();
        let (clock, metrics) = (sim.clock(), Arc::clone(&sim));
        let kept = Arc::new(MemoryJournal::new());
        let journal = Arc::new(Silent(Arc::clone(&kept), clock, minute * MINUTE_MS));
        let mut stage = case.stage_with(sim, journal, metrics, |pager| pager);
        let mut events = stage.handle.events();
        let clock = stage.sim.clock();
        let _ = stage.drive(clock.sleep_until((minute + 60) * MINUTE_MS)).unwrap();
        drop(stage);
        let told: Vec<(String, String)> = std::iter::from_fn(|| events.try_next())
            .filter_map(|event| match event.what {
                Happened::Decision { code, text, .. } => Some((code, text)),
                _ => None,
            })
            .collect();
        let played = futures::executor::block_on(unattended::replay(&*kept, None)).unwrap();
        let journaled: Vec<(String, String)> = (played.summary.decisions.iter())
            .map(|decision| (decision.code.clone(), decision.text.clone()))
            .collect();
        assert!(
            journaled.starts_with(&told),
            "at {minute} min: {told:?} and {journaled:?}"
        );
        told_something += told.len();
    }
    assert!(told_something > 10, "{told_something}");
}
