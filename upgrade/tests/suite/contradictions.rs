//! Journals that contradict themselves: nothing is gone on from what is read of them, and a reading ends.
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use unattended_upgrade::*;

use crate::support::{Kill, World, job};

#[derive(Clone, Copy, Debug)]
enum Odd {
    /// The group at this place is not there any more.
    Hole(Position),
    /// It reads from its beginning, wherever it is asked to begin.
    Circle,
    /// Or a group early.
    Again,
    /// It never ends, and nothing is in it.
    Endless,
    /// Positions come to their end within it.
    Far,
}

struct Contradicts {
    inner: MemoryJournal,
    how: Odd,
    reads: AtomicU32,
}

fn one_record() -> Group {
    let mut group = Group::new();
    group.push(Stream(9), 1, b"of somebody else");
    group
}

#[async_trait]
impl Journal for Contradicts {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.inner.append(group).await
    }

    async fn read(&self, from: Position, _: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        assert!(self.reads.fetch_add(1, Ordering::Relaxed) < 1_000, "it reads for ever");
        Ok(match self.how {
            Odd::Hole(at) => {
                let mut groups = self.inner.read(from, usize::MAX).await?;
                groups.retain(|(first, _)| *first != at);
                groups
            }
            Odd::Circle => self.inner.read(0, 1).await?,
            Odd::Again => self.inner.read(from.saturating_sub(1), 1).await?,
            Odd::Endless => vec![(from, Group::new())],
            Odd::Far => vec![(from, one_record())],
        })
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        let far = Snapshot {
            before: Position::MAX,
            group: Group::new(),
        };
        Ok(matches!(self.how, Odd::Far).then_some(far))
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

/// A driver at a journal with these groups.
fn driver_at(how: Odd, groups: &[(Position, Group)]) -> Driver {
    let journal = Arc::new(Contradicts {
        inner: MemoryJournal::new(),
        how,
        reads: AtomicU32::new(0),
    });
    for (_, group) in groups {
        journal.append(group).now_or_never().unwrap().unwrap();
    }
    let world = World::new(Kill::at([]), World::able());
    world.add("a");
    Driver::new(world.clone(), journal, world.clock.clone(), DriverConfig::new()).unwrap()
}

/// The groups of one upgrade, from its begin to its end.
fn of_an_upgrade() -> Vec<(Position, Group)> {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    world.run(&mut driver);
    world.groups()
}

#[test]
fn a_hole_is_not_read_over() {
    let groups = of_an_upgrade();
    let (last, before_it) = groups.split_last().unwrap();
    assert!(before_it.len() >= 4, "{} groups", groups.len());
    for (at, _) in before_it {
        let mut driver = driver_at(Odd::Hole(*at), &groups);
        let error = driver.recover().now_or_never().unwrap().unwrap_err();
        let is_named = matches!(&error, DriverError::Journal(JournalError::Damaged(says))
            if says.contains(&format!("where record {at} must be")));
        assert!(is_named, "a hole at {at}: {error}");
    }
    // What is missing from the end shows at the first append.
    let mut driver = driver_at(Odd::Hole(last.0), &groups);
    driver.recover().now_or_never().unwrap().unwrap();
    let turn = driver.turn(&mut |_| true).now_or_never().unwrap();
    let found = last.0 + Position::from(last.1.len());
    let expected = last.0;
    assert_eq!(turn, Err(DriverError::OtherWriter { expected, found }));
}

#[test]
fn what_goes_round_or_nowhere_is_not_read_for_ever() {
    let groups = of_an_upgrade();
    for how in [Odd::Circle, Odd::Again, Odd::Endless, Odd::Far] {
        let mut driver = driver_at(how, &groups);
        let error = driver.recover().now_or_never().unwrap().unwrap_err();
        let is_damaged = matches!(error, DriverError::Journal(JournalError::Damaged(_)));
        assert!(is_damaged, "{how:?}: {error}");
    }
}

/// Whoever goes on all the same is told why nothing is done.
#[test]
fn after_a_record_that_does_not_fit_nothing_is_done() {
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("a");
    let mut driver = world.driver();
    let unfit = Record {
        stream: Stream::UPGRADE,
        kind: 250,
        bytes: b"of another program",
    };
    assert!(matches!(driver.replay(&unfit), Err(DriverError::Record(_))));
    let not_understood = DriverError::NotUnderstood;
    assert_eq!(driver.replay(&unfit), Err(not_understood.clone()));
    assert_eq!(driver.resume(0), Err(not_understood.clone()));
    assert_eq!(
        driver.submit(job(&target, "new", Mode::Cold)),
        Err(SubmitError::NotResumed)
    );
    assert_eq!(driver.cancel(&target, "li"), Cancelled::NotResumed);
    assert_eq!(driver.turn(&mut |_| true).now_or_never().unwrap(), Err(not_understood));
    assert_eq!(world.end(), 0);
}
