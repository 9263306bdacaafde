//! Journals that lie, each in one way, and the rule by which a suite finds them out.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use unattended_upgrade::conformance::{Breach, Medium, journal_faults, journal_holds, journal_suite};
use unattended_upgrade::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    // In one process.
    BeginsAtOne,
    AnswersTheEndForThePlace,
    AnEmptyGroupTakesAPlace,
    SaysTheEndOfTheGroupBefore,
    AnswersOnePlaceToAllAtOnce,
    TurnsRecordsRound,
    DropsTheLastRecord,
    CutsLongRecords,
    CutsLargeGroups,
    SwapsGroups,
    ReadsFromTheNextGroup,
    ReadsMoreThanAsked,
    ReadsNothingAtTheEnd,
    CompactsAnywhere,
    CompactsTheRestAway,
    CompactsNothing,
    CountsAnewAfterACompaction,
    CountsAnewAfterAWholeCompaction,
    RefusesAWholeCompaction,
    KeepsTheFirstSnapshot,
    // Opened anew.
    AnswersBeforeItIsDurable,
    ForgetsTheSnapshot,
    ForgetsTheLastRecord,
    OpensInAnotherOrder,
    // On a medium that fails.
    KeepsHalfOfAGroup,
    KeepsWhatItRefused,
    AppendsThoughItFails,
    LosesTheGroupBefore,
    LeavesAHole,
    SaysItIsThere,
    CompactsByHalves,
    CannotBeOpened,
}

#[derive(Clone, Debug, Default)]
struct Held {
    groups: Vec<(Position, Group)>,
    snapshot: Option<Snapshot>,
    end: Position,
}

/// What outlives the journal, and writes that fail when they are told to.
#[derive(Debug, Default)]
struct Shelf {
    held: Mutex<Held>,
    writes: AtomicU64,
    fails_from: Mutex<Option<u64>>,
    broken: Mutex<bool>,
}

impl Shelf {
    fn write(&self) -> Result<(), JournalError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        if self.fails_from.lock().is_some_and(|from| write >= from) {
            return Err(JournalError::Io("no space".to_owned()));
        }
        Ok(())
    }
}

struct Liar {
    shelf: Arc<Shelf>,
    lie: Lie,
    /// What this process sees.
    seen: Mutex<Held>,
}

struct Tried {
    shelf: Arc<Shelf>,
    lie: Lie,
}

#[async_trait]
impl Medium for Tried {
    type Journal = Liar;

    async fn open(&self) -> Result<Liar, JournalError> {
        let mut held = self.shelf.held.lock().clone();
        match self.lie {
            Lie::ForgetsTheSnapshot => held.snapshot = None,
            Lie::ForgetsTheLastRecord => {
                if let Some((_, last)) = held.groups.last_mut() {
                    *last = without_the_last(last);
                }
            }
            Lie::OpensInAnotherOrder if held.groups.len() > 2 => {
                let (a, b) = (held.groups[0].1.clone(), held.groups[1].1.clone());
                if a.len() == b.len() {
                    (held.groups[0].1, held.groups[1].1) = (b, a);
                } else {
                    held.groups.swap(0, 1);
                }
            }
            Lie::CannotBeOpened if *self.shelf.broken.lock() => {
                return Err(JournalError::Damaged("there was a failure".to_owned()));
            }
            _ => {}
        }
        Ok(Liar {
            shelf: Arc::clone(&self.shelf),
            lie: self.lie,
            seen: Mutex::new(held),
        })
    }

    fn fail_at(&self, write: Option<u64>) {
        let now = self.shelf.writes.load(Ordering::Relaxed);
        *self.shelf.fails_from.lock() = write.map(|write| now + write);
    }
}

fn without_the_last(group: &Group) -> Group {
    let mut short = Group::new();
    let most = usize::try_from(group.len()).unwrap().saturating_sub(1);
    for record in group.records().take(most) {
        short.push(record.stream, record.kind, record.bytes);
    }
    short
}

fn altered(group: &Group, lie: Lie) -> Group {
    let mut records: Vec<_> = group.records().map(|r| (r.stream, r.kind, r.bytes.to_vec())).collect();
    match lie {
        Lie::TurnsRecordsRound => records.reverse(),
        Lie::CutsLargeGroups => {
            let mut left = 65_536usize;
            for (.., bytes) in &mut records {
                match left.checked_sub(bytes.len()) {
                    Some(rest) => left = rest,
                    None => bytes.clear(),
                }
            }
        }
        Lie::CutsLongRecords => records.iter_mut().for_each(|(.., bytes)| bytes.truncate(4_096)),
        Lie::DropsTheLastRecord if records.len() > 1 => drop(records.pop()),
        _ => {}
    }
    let mut other = Group::new();
    for (stream, kind, bytes) in records {
        other.push(stream, kind, &bytes);
    }
    other
}

impl Liar {
    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    /// What an append that failed leaves behind.
    fn fails(&self, seen: &mut Held, group: &Group) {
        *self.shelf.broken.lock() = true;
        let mut held = self.shelf.held.lock();
        match self.lie {
            Lie::KeepsHalfOfAGroup => {
                let half = without_the_last(group);
                let end = held.end;
                held.end += Position::from(half.len());
                held.groups.push((end, half));
            }
            // This process has not seen it, and writes it again behind it.
            Lie::KeepsWhatItRefused => {
                let end = held.end;
                held.end += Position::from(group.len());
                held.groups.push((end, group.clone()));
            }
            Lie::LosesTheGroupBefore => {
                if let Some((start, _)) = held.groups.pop() {
                    held.end = start;
                }
            }
            Lie::LeavesAHole => seen.end += Position::from(group.len()),
            Lie::SaysItIsThere => seen.end += 1,
            _ => {}
        }
    }
}

#[async_trait]
impl Journal for Liar {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if self.is(Lie::AnswersOnePlaceToAllAtOnce) {
            let place = self.seen.lock().end;
            let mut waited = false;
            futures::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut waited, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
            let mut seen = self.seen.lock();
            if !group.is_empty() {
                let end = seen.end;
                seen.end += Position::from(group.len());
                seen.groups.push((end, group.clone()));
            }
            return Ok(place);
        }
        let mut seen = self.seen.lock();
        let place = seen.end;
        if group.is_empty() {
            seen.end += u64::from(self.is(Lie::AnEmptyGroupTakesAPlace));
            return Ok(place);
        }
        let written = self.shelf.write().and_then(|()| self.shelf.write());
        if let Err(error) = written
            && !self.is(Lie::AppendsThoughItFails)
        {
            self.fails(&mut seen, group);
            return Err(error);
        }
        let group = altered(group, self.lie);
        seen.end += Position::from(group.len());
        seen.groups.push((place, group.clone()));
        let count = seen.groups.len();
        if self.is(Lie::SwapsGroups) && count == 9 {
            let (a, b) = (seen.groups[7].1.clone(), seen.groups[8].1.clone());
            (seen.groups[7].1, seen.groups[8].1) = (b, a);
        }
        let lost = self.is(Lie::AppendsThoughItFails) && self.shelf.fails_from.lock().is_some();
        let kept_back = self.is(Lie::AnswersBeforeItIsDurable) && count.is_multiple_of(4);
        if !(lost || kept_back) {
            let mut held = self.shelf.held.lock();
            if self.is(Lie::KeepsWhatItRefused) || self.is(Lie::KeepsHalfOfAGroup) || self.is(Lie::LosesTheGroupBefore)
            {
                let end = held.end;
                held.end += Position::from(group.len());
                held.groups.push((end, group));
            } else {
                *held = seen.clone();
            }
        }
        Ok(match self.lie {
            Lie::BeginsAtOne => place + 1,
            Lie::AnswersTheEndForThePlace => seen.end,
            _ => place,
        })
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        let seen = self.seen.lock();
        let after = |start: Position, group: &Group| match self.lie {
            Lie::ReadsFromTheNextGroup => start < from,
            _ => start + Position::from(group.len()) <= from,
        };
        let first = seen.groups.partition_point(|(start, group)| after(*start, group));
        let most = match self.lie {
            Lie::ReadsMoreThanAsked => max_groups + 1,
            Lie::ReadsNothingAtTheEnd if first + 1 == seen.groups.len() => 0,
            _ => max_groups,
        };
        Ok(seen.groups.iter().skip(first).take(most).cloned().collect())
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        let mut seen = self.seen.lock();
        let least = seen.snapshot.as_ref().map_or(0, |snapshot| snapshot.before);
        let kept = seen.groups.partition_point(|(start, _)| *start < before);
        let between = seen.groups.get(kept).map_or(seen.end, |(start, _)| *start) == before;
        let is_whole = before == seen.end;
        let refused = is_whole && self.is(Lie::RefusesAWholeCompaction);
        if (before < least || !between || refused) && !self.is(Lie::CompactsAnywhere) {
            let most = seen.end;
            return Err(JournalError::Boundary { before, least, most });
        }
        self.shelf.write()?;
        if self.is(Lie::CompactsByHalves) && self.shelf.fails_from.lock().is_some() {
            let mut held = self.shelf.held.lock();
            held.groups.drain(..kept);
        }
        self.shelf.write()?;
        if self.is(Lie::CompactsNothing) {
            return Ok(());
        }
        if self.is(Lie::CompactsTheRestAway) {
            seen.groups.clear();
        } else {
            seen.groups.drain(..kept);
        }
        if is_whole && self.is(Lie::CountsAnewAfterAWholeCompaction) {
            seen.end = 0;
        }
        if self.is(Lie::CountsAnewAfterACompaction) {
            seen.groups.iter_mut().for_each(|(start, _)| *start -= before - least);
        }
        if !(self.is(Lie::KeepsTheFirstSnapshot) && seen.snapshot.is_some()) {
            let group = snapshot.clone();
            seen.snapshot = Some(Snapshot { before, group });
        }
        *self.shelf.held.lock() = seen.clone();
        Ok(())
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        Ok(self.seen.lock().snapshot.clone())
    }

    async fn end(&self) -> Result<Position, JournalError> {
        let seen = self.seen.lock();
        Ok(match (self.lie, seen.groups.last()) {
            (Lie::SaysTheEndOfTheGroupBefore, Some((start, _))) if seen.groups.len() > 6 => *start,
            _ => seen.end,
        })
    }
}

fn medium(lie: Lie) -> Tried {
    let shelf = Arc::default();
    Tried { shelf, lie }
}

/// In one process, then opened anew, then on a medium that fails.
fn tried(lie: Lie) -> Result<(), Breach> {
    block_on(async {
        let whole = medium(lie);
        journal_suite(&whole.open().await.unwrap()).await?;
        journal_holds(&whole.open().await.unwrap()).await?;
        journal_faults(&medium(lie)).await
    })
}

#[test]
fn an_honest_journal_passes() {
    assert_eq!(tried(Lie::None), Ok(()));
}

#[test]
fn every_liar_is_found_out_by_name() {
    let liars = [
        (Lie::BeginsAtOne, "append.position"),
        (Lie::AnswersTheEndForThePlace, "append.position"),
        (Lie::AnEmptyGroupTakesAPlace, "append.end"),
        (Lie::SaysTheEndOfTheGroupBefore, "append.end"),
        (Lie::AnswersOnePlaceToAllAtOnce, "append.at-once"),
        (Lie::TurnsRecordsRound, "read.same"),
        (Lie::DropsTheLastRecord, "append.end"),
        (Lie::CutsLongRecords, "read.same"),
        (Lie::CutsLargeGroups, "read.large"),
        (Lie::SwapsGroups, "read.same"),
        (Lie::ReadsFromTheNextGroup, "read.from"),
        (Lie::ReadsMoreThanAsked, "read.some"),
        (Lie::ReadsNothingAtTheEnd, "read.some"),
        (Lie::CompactsAnywhere, "compact.boundary"),
        (Lie::CompactsTheRestAway, "compact.rest"),
        (Lie::CompactsNothing, "compact.snapshot"),
        (Lie::CountsAnewAfterACompaction, "compact.rest"),
        (Lie::CountsAnewAfterAWholeCompaction, "compact.rest"),
        (Lie::RefusesAWholeCompaction, "compact.end"),
        (Lie::KeepsTheFirstSnapshot, "compact.snapshot"),
        (Lie::AnswersBeforeItIsDurable, "compact.rest"),
        (Lie::ForgetsTheSnapshot, "compact.snapshot"),
        (Lie::ForgetsTheLastRecord, "compact.rest"),
        (Lie::OpensInAnotherOrder, "compact.rest"),
        (Lie::KeepsHalfOfAGroup, "fault.half"),
        (Lie::KeepsWhatItRefused, "fault.half"),
        (Lie::AppendsThoughItFails, "fault.lost"),
        (Lie::LosesTheGroupBefore, "fault.lost"),
        (Lie::LeavesAHole, "fault.lost"),
        (Lie::SaysItIsThere, "fault.lost"),
        (Lie::CompactsByHalves, "fault.compact"),
        (Lie::CannotBeOpened, "fault.open"),
    ];
    let mut wrong = Vec::new();
    for (lie, rule) in liars {
        match tried(lie) {
            Err(breach) if breach.rule == rule => {}
            other => wrong.push(format!("{lie:?}, wanted {rule}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
