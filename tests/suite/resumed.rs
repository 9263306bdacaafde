//! A run that takes a change up, with whatever level it is started.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::path::Path;
use std::sync::Arc;

use unattended::upgrade::{Clock, MemoryJournal, Wanted};
use unattended::{Level, Outcome, QuestionKind};

use crate::support::{Case, HOUR_MS, MINUTE_MS, START_WALL_MS, Stage};

/// A bad release whose run is killed while attempts of the rollback are under way.
fn killed_in_the_rollback(case: &Case) -> Arc<MemoryJournal> {
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let (handle, clock) = (first.handle.clone(), first.sim.clock());
    let left = first.drive(async {
        while handle.progress().is_none_or(|now| !now.goes_back || now.in_flight == 0) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        clock.sleep_until(clock.now() + 2_000).await;
    });
    assert!(left.unwrap().is_none());
    assert!(handle.progress().unwrap().in_flight > 0);
    journal
}

fn bad(world: &Path) -> Case {
    let mut case = Case::calm(4, 20).release("errors=x20");
    case.mode = Wanted::Warm;
    case.log = Some(world.to_owned());
    case
}

/// What an earned grant says depends on the moment at which it is asked for.
#[test]
fn a_grant_of_another_moment_takes_the_change_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut case = bad(&dir.path().join("world"));
    let week_ms = 7 * 24 * 3_600_000;
    case.granted = Some(START_WALL_MS + week_ms);
    let journal = killed_in_the_rollback(&case);
    case.granted = Some(START_WALL_MS + week_ms + 600_000);
    let ended = case.stage_over(journal).run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

/// A good release that is left and taken up at another level.
fn taken_up_at(first: Level, second: Level, world: &Path) -> Stage {
    let mut case = Case::calm(4, 20).level(first);
    case.log = Some(world.to_owned());
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = case.stage_over(journal.clone());
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(2 * MINUTE_MS)).unwrap().is_none());
    drop(stage);
    let mut stage = case.level(second).stage_over(journal);
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(12 * HOUR_MS)).unwrap().is_none());
    stage
}

fn levels(stage: &Stage) -> Vec<String> {
    let decisions = stage.handle.summary().unwrap().decisions.into_iter();
    decisions
        .filter(|decision| decision.code.starts_with("level."))
        .map(|decision| decision.text)
        .collect()
}

#[test]
fn taking_a_change_up_may_lower_its_level_and_never_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    let lowered = taken_up_at(Level::L4, Level::L2, &dir.path().join("lowered"));
    assert_eq!(levels(&lowered), ["the level is L2, and was L4"]);
    assert_eq!(lowered.handle.question().unwrap().kind, QuestionKind::NextBatch);
    let raised = taken_up_at(Level::L2, Level::L4, &dir.path().join("raised"));
    assert_eq!(levels(&raised), [""; 0]);
    assert_eq!(raised.handle.question().unwrap().kind, QuestionKind::NextBatch);
}
