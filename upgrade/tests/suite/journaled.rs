//! What a driver leaves in its journal, and what it does beside records that are not its own.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_upgrade::*;

use crate::support::{Kill, TestClock, TestJournal, World, job, turn};

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

/// How an append fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fares {
    Kept,
    /// It is done, and nobody hears of it.
    Unanswered,
    Refused,
}

/// Appends fare one after the other as they are told, and then well. Nobody is to ask for an append of nothing.
struct Fated {
    inner: MemoryJournal,
    fates: Mutex<VecDeque<Fares>>,
}

#[async_trait]
impl Journal for Fated {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        assert!(!group.is_empty(), "nothing is appended");
        let fares = self.fates.lock().pop_front().unwrap_or(Fares::Kept);
        if fares == Fares::Refused {
            return Err(JournalError::Io("read-only".to_owned()));
        }
        let done = self.inner.append(group).await;
        if fares == Fares::Unanswered {
            return Err(JournalError::Io("connection reset".to_owned()));
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

/// What one upgrade leaves in the journal. It ends within so many turns, of which each is due when the one before says.
fn left_by_an_upgrade(fates: &[Fares]) -> Vec<(Stream, u8)> {
    let journal = Arc::new(Fated {
        inner: MemoryJournal::new(),
        fates: Mutex::new(fates.iter().copied().collect()),
    });
    let clock = Arc::new(TestClock::default());
    let platform = Arc::new(Plain(Mutex::new(("old".into(), 1))));
    let config = DriverConfig::new();
    let mut driver = Driver::new(platform, journal.clone(), clock.clone(), config).unwrap();
    driver.submit(job(&"a".into(), "new", Mode::Cold)).unwrap();
    let mut ended = Vec::new();
    for _ in 0..100 {
        match driver.turn(&mut |_| true).now_or_never().unwrap() {
            Ok(turn) => ended.extend(turn.finished),
            Err(error) => assert!(matches!(error, DriverError::Journal(JournalError::Io(_))), "{error}"),
        }
        if !ended.is_empty() {
            break;
        }
        crate::attending::run(&clock, driver.attend(None));
    }
    assert_eq!(ended.len(), 1, "{fates:?}: it does not end, at {} ms", clock.now());
    assert_eq!(ended[0].terminal, Terminal::Done);
    let mut written = Vec::new();
    let read = read_journal(journal.as_ref(), |_, record| {
        written.push((record.stream, record.kind));
        Ok::<(), JournalError>(())
    });
    read.now_or_never().unwrap().unwrap();
    written
}

/// However the first appends fare, one after the other: what was refused is written, what was not answered is written once,
/// and the driver neither stands still nor turns without anything to do.
#[test]
fn however_appends_fare_each_record_is_written_once() {
    let undisturbed = left_by_an_upgrade(&[]);
    let mut scripts = vec![Vec::new()];
    for _ in 0..5 {
        let longer = |script: &Vec<Fares>| {
            [Fares::Kept, Fares::Unanswered, Fares::Refused].map(|fares| {
                let mut script = script.clone();
                script.push(fares);
                script
            })
        };
        scripts = scripts.iter().flat_map(longer).collect();
    }
    assert_eq!(scripts.len(), 243);
    for script in scripts {
        assert_eq!(left_by_an_upgrade(&script), undisturbed, "{script:?}");
    }
}

/// A journal that somebody else writes to right before each append: between the look at its end and the append.
struct Overtaken {
    inner: Arc<TestJournal>,
    other: AtomicBool,
}

impl Overtaken {
    async fn other_writes(&self) {
        if self.other.load(Ordering::SeqCst) {
            let mut group = Group::new();
            group.push(Stream(77), 1, b"another controller");
            self.inner.inner.append(&group).await.unwrap();
        }
    }
}

#[async_trait]
impl Journal for Overtaken {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.inner.append(group).await
    }

    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        self.other_writes().await;
        self.inner.append_at(expected, group).await
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
fn a_driver_that_was_overtaken_leaves_nothing_in_the_journal() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let journal = Arc::new(Overtaken {
        inner: Arc::clone(&world.journal),
        other: AtomicBool::new(false),
    });
    // Through a pointer to a pointer, as it may come.
    let shared = Arc::new(Arc::clone(&journal));
    let mut driver = Driver::new(world.clone(), shared, world.clock.clone(), DriverConfig::new()).unwrap();
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    turn(&world, &mut driver);
    let expected = journal.end().now_or_never().unwrap().unwrap();
    assert!(expected > 0, "it has written");
    journal.other.store(true, Ordering::SeqCst);
    let mut error = None;
    for _ in 0..20 {
        world.clock.set(world.clock.now() + 10_000);
        if let Err(found) = driver.turn(&mut |_| true).now_or_never().unwrap() {
            error = Some(found);
            break;
        }
    }
    let found = expected + 1;
    assert_eq!(error, Some(DriverError::OtherWriter { expected, found }));
    // Neither now nor later, when the other one is silent.
    journal.other.store(false, Ordering::SeqCst);
    let again = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap_err();
    assert_eq!(again, DriverError::OtherWriter { expected, found });
    assert_eq!(journal.end().now_or_never().unwrap(), Ok(found));
}
