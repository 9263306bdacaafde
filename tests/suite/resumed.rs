//! A run that takes a change up: whatever is down, with whatever level it is started, and where there is nothing left to do.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot, Stream, Wanted};
use unattended::{Level, NoticeStage, Outcome, QuestionKind};
use unattended_simulated::Simulated;

use crate::support::{Case, HOUR_MS, MINUTE_MS, OLD, START_WALL_MS, Stage};

/// Metrics that are down while a switch is on: they fail, or hang.
struct Down {
    sim: Arc<Simulated>,
    on: Arc<AtomicBool>,
    hangs: bool,
}

impl Down {
    async fn works(&self) -> Result<(), SourceError> {
        if !self.on.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let reason = "the database is away".to_owned();
        Err(SourceError::Unavailable { reason })
    }
}

#[async_trait]
impl MetricSource for Down {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.works().await?;
        self.sim.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.works().await?;
        self.sim.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        self.works().await?;
        self.sim.read(index, end_ms).await
    }
}

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

#[test]
fn a_rollback_goes_on_without_metrics() {
    let dir = tempfile::tempdir().unwrap();
    for hangs in [false, true] {
        let case = bad(&dir.path().join(format!("world-{hangs}")));
        let journal = killed_in_the_rollback(&case);
        let sim = case.simulated();
        let metrics = Down {
            sim: Arc::clone(&sim),
            on: Arc::new(AtomicBool::new(true)),
            hangs,
        };
        let ended = case.stage_with(sim, journal, metrics, |pager| pager).run();
        assert_eq!(ended.outcome, Outcome::RolledBack, "hangs: {hangs}");
        ended.all_on_old();
        assert!(!ended.effects.is_empty());
    }
}

/// What could not be followed at once is, as soon as it can be, and then the change is judged and goes on.
#[test]
fn a_change_that_is_taken_up_without_metrics_goes_on_with_them() {
    let dir = tempfile::tempdir().unwrap();
    for hangs in [false, true] {
        let mut case = Case::calm(4, 20);
        case.log = Some(dir.path().join(format!("world-{hangs}")));
        let journal = Arc::new(MemoryJournal::new());
        let mut first = case.stage_over(journal.clone());
        let clock = first.sim.clock();
        assert!(first.drive(clock.sleep_until(20 * MINUTE_MS)).unwrap().is_none());
        drop(first);
        let (sim, on) = (case.simulated(), Arc::new(AtomicBool::new(true)));
        let metrics = Down {
            sim: Arc::clone(&sim),
            on: Arc::clone(&on),
            hangs,
        };
        let stage = case.stage_with(sim, journal, metrics, |pager| pager);
        let clock = stage.sim.clock();
        let ended = stage.run_beside(async move {
            clock.sleep_until(2 * HOUR_MS).await;
            on.store(false, Ordering::Relaxed);
        });
        assert_eq!(ended.outcome, Outcome::Completed, "hangs: {hangs}");
        ended.all_on_new();
    }
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

/// A journal that hangs for good behind the append of the end of the change.
struct DiesAtEnd(Arc<MemoryJournal>, Arc<AtomicBool>);

/// The kind of the record of the end.
const END: u8 = 6;

#[async_trait]
impl Journal for DiesAtEnd {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let is_end = |record: unattended::upgrade::Record<'_>| record.stream == Stream::AUTOPILOT && record.kind == END;
        let at = self.0.append(group).await?;
        if group.records().any(is_end) {
            self.1.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        Ok(at)
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

#[test]
fn the_end_is_said_by_the_next_run_where_it_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let case = bad(&dir.path().join("world"));
    let (kept, died) = (Arc::new(MemoryJournal::new()), Arc::new(AtomicBool::new(false)));
    let mut first = case.stage_over(Arc::new(DiesAtEnd(kept.clone(), Arc::clone(&died))));
    let clock = first.sim.clock();
    let left = first.drive(async {
        while !died.load(Ordering::Relaxed) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
    });
    assert!(left.unwrap().is_none());
    let said = |stage: &Stage, code: &str| -> Vec<NoticeStage> {
        let all = stage.pager.all().into_iter();
        all.filter(|notice| notice.code == code)
            .map(|notice| notice.stage)
            .collect()
    };
    assert_eq!(said(&first, "rollback.began"), [NoticeStage::Raised]);
    assert_eq!(said(&first, "change.ended"), []);
    assert!(first.pager.pulses().iter().all(|pulse| pulse.next_within_ms > 0));
    drop(first);

    // A clock that begins anew is not waited for: nothing is to be done.
    let before = crate::support::bytes(&*kept);
    let mut second = case.stage_over(kept.clone());
    let began_ms = second.sim.clock().now();
    let ended = second.drive(std::future::pending()).unwrap();
    assert!(matches!(ended, Some(Ok(Outcome::RolledBack))), "{ended:?}");
    assert!(second.sim.clock().now() - began_ms < MINUTE_MS);
    assert_eq!(said(&second, "rollback.began"), [NoticeStage::Resolved]);
    assert_eq!(said(&second, "change.ended"), [NoticeStage::Raised]);
    assert_eq!(said(&second, "clock.behind"), [NoticeStage::Resolved]);
    let pulses = second.pager.pulses();
    assert_eq!(pulses.len(), 1);
    assert_eq!((pulses[0].next_within_ms, pulses[0].open), (0, 0));
    assert_eq!(pulses[0].state, "rolled_back");
    let back = |effect: &&crate::support::Effect| effect.version.as_deref() == Some(OLD);
    assert_eq!(second.platform.effects().iter().filter(back).count(), 0);
    assert!(crate::support::bytes(&*kept) == before, "the journal is as it was");
}
