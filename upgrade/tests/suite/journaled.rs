//! What a driver leaves in its journal, and what it does beside records that are not its own.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_upgrade::*;

use crate::support::{Kill, TestClock, World, job, turn};

#[test]
fn a_driver_that_was_not_given_the_journal_leaves_it_alone() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    world.run(&mut driver);
    let found = world.journal.inner.end().now_or_never().unwrap().unwrap();
    for resumes in [false, true] {
        let mut forgetful = world.driver();
        if resumes {
            // Of a journal that it takes for an empty one.
            assert_eq!(forgetful.resume(0), Ok(Vec::new()));
        }
        forgetful.submit(job(&target, "newer", Mode::Cold).from("new")).unwrap();
        let error = forgetful.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
        let other = DriverError::OtherWriter { expected: 0, found };
        assert_eq!(
            error,
            if resumes {
                other
            } else {
                DriverError::NotReplayed { found }
            }
        );
        assert_eq!(world.slot(&target).running, "new".into(), "nothing has happened");
    }
    assert_eq!(world.journal.inner.end().now_or_never().unwrap(), Ok(found));
    assert!(world.driver().recover().now_or_never().unwrap().is_ok());
}

/// Tells what it counted before the fall, and what came after it.
#[test]
fn a_receipt_counts_over_a_fall_of_the_controller() {
    let counted = |falls: bool| {
        let world = World::new(Kill::at([]), World::able());
        let target = world.add("a");
        world.change(&target, |slot| slot.active = 3);
        let mut driver = world.driver();
        driver.submit(job(&target, "new", Mode::Warm)).unwrap();
        while world.slot(&target).running != "new".into() {
            turn(&world, &mut driver);
        }
        if falls {
            driver = world.recovered().0;
        }
        let receipt = world.run(&mut driver).remove(0);
        assert_eq!(
            (receipt.terminal, receipt.recoveries),
            (Terminal::Done, u32::from(falls))
        );
        ((receipt.cut, receipt.drained, receipt.retries), receipt.outage_ms)
    };
    let ((without, out_ms), (with, out_and_taken_over_ms)) = (counted(false), counted(true));
    assert!(without.0 > 0 && out_ms > 30_000, "{without:?}, out for {out_ms} ms");
    assert_eq!(with, without);
    // It is taken over with a fence and a look more.
    assert_eq!(out_and_taken_over_ms, out_ms + DriverConfig::new().poll_ms);
}

/// Somebody else writes as many records as the driver was about to, and the driver's own append fails.
struct Beside {
    inner: MemoryJournal,
    strikes: AtomicBool,
}

#[async_trait]
impl Journal for Beside {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if !self.strikes.swap(false, Ordering::Relaxed) {
            return self.inner.append(group).await;
        }
        let mut other = Group::new();
        for _ in 0..group.len() {
            other.push(Stream(9), 1, b"of another program");
        }
        self.inner.append(&other).await?;
        Err(JournalError::Io("no space".to_owned()))
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.inner.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

#[test]
fn as_many_records_of_another_program_are_not_taken_for_its_own() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let journal = Arc::new(Beside {
        inner: MemoryJournal::new(),
        strikes: AtomicBool::new(true),
    });
    let config = DriverConfig::new();
    let mut driver = Driver::new(world.clone(), journal.clone(), world.clock.clone(), config).unwrap();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let first = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
    assert!(matches!(first, DriverError::Journal(JournalError::Io(_))), "{first}");
    let found = journal.inner.end().now_or_never().unwrap().unwrap();
    for _ in 0..2 {
        let error = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
        assert_eq!(error, DriverError::OtherWriter { expected: 0, found });
    }
    assert_eq!(world.slot(&target).running, "old".into());
}

/// Each takes the attempt over before the other one has written.
#[test]
fn of_two_controllers_that_read_the_same_journal_one_goes_on() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut first = world.driver();
    first.submit(job(&target, "new", Mode::Cold)).unwrap();
    turn(&world, &mut first);
    drop(first);
    let (mut one, mut two) = (world.recovered().0, world.recovered().0);
    let expected = world.end();
    turn(&world, &mut one);
    let found = world.end();
    for _ in 0..2 {
        let error = two.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
        assert_eq!(error, DriverError::OtherWriter { expected, found });
    }
    assert_eq!(world.run(&mut one)[0].terminal, Terminal::Done);
    assert!(world.driver().recover().now_or_never().unwrap().is_ok());
}

/// The answer to an append gets lost.
struct Lossy {
    inner: MemoryJournal,
    appends: AtomicU64,
}

#[async_trait]
impl Journal for Lossy {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let done = self.inner.append(group).await;
        if self.appends.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(JournalError::Io("lost".to_owned()));
        }
        done
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.inner.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

/// Does at once what it is told, and remembers nothing.
struct Plain(Mutex<(Version, u64)>);

#[async_trait]
impl Platform for Plain {
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let (version, instance) = self.0.lock().clone();
        let seen = Observation {
            phase: Phase::Running,
            version: Some(version),
            instance: Some(InstanceId(instance)),
            ready: true,
            self_check: SelfCheck::Passed,
            ingress: Ingress::Open,
            active: None,
            pair: None,
            config: None,
        };
        Ok(vec![seen; targets.len()])
    }

    async fn replace(&self, _: &TargetId, version: &Version, _: &EffectKey) -> EffectOutcome {
        let mut slot = self.0.lock();
        *slot = (version.clone(), slot.1 + 1);
        EffectOutcome::Applied
    }

    async fn fence(&self, _: &TargetId, _: Generation) -> EffectOutcome {
        EffectOutcome::Unsupported
    }
}

#[test]
fn records_whose_append_was_not_answered_are_written_once() {
    let records = |journal: Arc<dyn Journal>| {
        let clock = Arc::new(TestClock::default());
        let platform = Arc::new(Plain(Mutex::new(("old".into(), 1))));
        let config = DriverConfig::new();
        let mut driver = Driver::new(platform, journal.clone(), clock.clone(), config).unwrap();
        driver.submit(job(&"a".into(), "new", Mode::Cold)).unwrap();
        let mut ended = Vec::new();
        while ended.is_empty() {
            match driver.turn(&mut |_| true).now_or_never().unwrap() {
                Ok(turn) => {
                    ended.extend(turn.finished);
                    clock.set(turn.next_due_ms.unwrap_or(0).max(clock.now()));
                }
                Err(error) => {
                    assert!(matches!(error, DriverError::Journal(JournalError::Io(_))), "{error}");
                    clock.set(clock.now() + 1_000);
                }
            }
        }
        assert_eq!(ended[0].terminal, Terminal::Done);
        let mut written = Vec::new();
        let read = read_journal(journal.as_ref(), |_, record| {
            written.push((record.stream, record.kind));
            Ok::<(), JournalError>(())
        });
        read.now_or_never().unwrap().unwrap();
        written
    };
    let lossy = Lossy {
        inner: MemoryJournal::new(),
        appends: AtomicU64::new(0),
    };
    assert_eq!(records(Arc::new(lossy)), records(Arc::new(MemoryJournal::new())));
}
