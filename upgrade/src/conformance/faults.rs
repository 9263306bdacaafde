//! Journals on a medium that fails, and that is opened anew.
use async_trait::async_trait;

use super::Breach;
use crate::{Group, Journal, JournalError, Position, Snapshot, Stream};

/// What a journal is kept on, in the hands of a test.
#[async_trait]
pub trait Medium: Send + Sync {
    /// The journal that is tried.
    type Journal: Journal;

    /// Opens what is on the medium, as after a loss of power: whatever was written and not yet made durable is gone. The
    /// first time there is nothing.
    async fn open(&self) -> Result<Self::Journal, JournalError>;

    /// Lets every write fail from this one on, counted from 0 and from now; `None` mends the medium.
    fn fail_at(&self, write: Option<u64>);
}

/// Appends to a journal, and compacts it, on a medium that fails at each of their writes in turn; retries on the mended
/// medium, and opens anew.
///
/// A journal may refuse everything after a failure, until it is opened anew. Whether an append that failed is there shows
/// in [`Journal::end`] as long as the journal is open; nobody has acted on it.
///
/// | rule | what it says |
/// | --- | --- |
/// | `fault.open` | what is on a mended medium can be opened |
/// | `fault.lost` | what was appended is there |
/// | `fault.half` | of an append that failed all is there or nothing, and nothing of it in front of what came before |
/// | `fault.twice` | nothing is there twice, also where an append that failed is given again |
/// | `fault.place` | an append after one that failed gets the place that [`Journal::end`] names |
/// | `fault.end` | the end is behind the last group that is there |
/// | `fault.compact` | of a compaction that failed all is done or nothing |
pub async fn journal_faults<M: Medium>(medium: &M) -> Result<(), Breach> {
    let mut model = Model {
        may_be: vec![State::default()],
        number: 0,
    };
    let mut journal = open(medium).await?;
    for compacting in [false, true] {
        let mut undisturbed = 0;
        for write in 0..MOST_WRITES {
            model.append(&journal, &model.next_group()).await?;
            medium.fail_at(Some(write));
            let failed = if compacting {
                model.compact(&journal).await
            } else {
                model.append_twice(&journal, medium).await?
            };
            medium.fail_at(None);
            drop(journal);
            journal = open(medium).await?;
            model.is_there(&journal).await?;
            undisturbed += u32::from(!failed);
            // Every write has failed once; a few more rounds find what shows late.
            if undisturbed > 2 {
                break;
            }
        }
    }
    Ok(())
}

/// No append of a few records takes so many writes.
const MOST_WRITES: u64 = 500;

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    snapshot: Option<Snapshot>,
    groups: Vec<(Position, Group)>,
}

impl State {
    fn end(&self) -> Position {
        let before = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.before);
        let last = self.groups.last();
        last.map_or(before, |(start, group)| start + Position::from(group.len()))
    }

    fn push(&mut self, group: &Group) {
        self.groups.push((self.end(), group.clone()));
    }
}

struct Model {
    /// Each failure leaves two possibilities, until something tells.
    may_be: Vec<State>,
    number: u64,
}

async fn open<M: Medium>(medium: &M) -> Result<M::Journal, Breach> {
    medium.open().await.map_err(Breach::by("fault.open"))
}

impl Model {
    /// A group that no other one is like.
    fn next_group(&self) -> Group {
        let mut group = Group::new();
        for record in 0..2 + self.number % 2 {
            let length = usize::try_from(self.number % 5 * 40 + record).unwrap_or(0);
            let mut bytes = self.number.to_le_bytes().to_vec();
            bytes.resize(8 + length, 0xa5);
            group.push(Stream(7), u8::try_from(record).unwrap_or(0), &bytes);
        }
        group
    }

    /// Whether it failed.
    async fn append<J: Journal>(&mut self, journal: &J, group: &Group) -> Result<bool, Breach> {
        self.number += 1;
        let Ok(place) = journal.append(group).await else {
            let mut with = self.may_be.clone();
            with.iter_mut().for_each(|state| state.push(group));
            self.may_be.extend(with);
            return Ok(true);
        };
        self.ends_at("fault.place", place)?;
        self.may_be.iter_mut().for_each(|state| state.push(group));
        Ok(false)
    }

    /// Two groups while the medium fails, and then the first once more. Whether anything failed.
    async fn append_twice<M: Medium>(&mut self, journal: &M::Journal, medium: &M) -> Result<bool, Breach> {
        let first = self.next_group();
        let mut failed = self.append(journal, &first).await?;
        failed |= self.append(journal, &self.next_group()).await?;
        medium.fail_at(None);
        if failed {
            if let Ok(end) = journal.end().await {
                self.ends_at("fault.half", end)?;
            }
            self.append(journal, &self.next_group()).await?;
        }
        Ok(failed)
    }

    /// Only what ends there is possible.
    fn ends_at(&mut self, rule: &'static str, end: Position) -> Result<(), Breach> {
        let possible: Vec<Position> = self.may_be.iter().map(State::end).collect();
        self.may_be.retain(|state| state.end() == end);
        if self.may_be.is_empty() {
            let told = format!("the journal says that it ends at {end}; it must end at one of {possible:?}");
            return Err(Breach::new(rule, told));
        }
        Ok(())
    }

    /// Lets a snapshot stand for all but the last group. Whether it failed.
    async fn compact<J: Journal>(&mut self, journal: &J) -> bool {
        let group = self.next_group();
        self.number += 1;
        let Some((before, _)) = self.may_be.first().and_then(|state| state.groups.last()).cloned() else {
            return false;
        };
        let mut compacted = self.may_be.clone();
        for state in &mut compacted {
            state.groups.retain(|(start, _)| *start >= before);
            let group = group.clone();
            state.snapshot = Some(Snapshot { before, group });
        }
        if journal.compact(before, &group).await.is_ok() {
            self.may_be = compacted;
            return false;
        }
        self.may_be.extend(compacted);
        true
    }

    /// The journal, opened anew, holds one of the possible.
    async fn is_there<J: Journal>(&mut self, journal: &J) -> Result<(), Breach> {
        let snapshot = journal.snapshot().await.map_err(Breach::by("fault.compact"))?;
        let mut found = State {
            snapshot,
            groups: Vec::new(),
        };
        loop {
            let some = journal.read(found.end(), 7).await.map_err(Breach::by("fault.lost"))?;
            if some.is_empty() {
                break;
            }
            found.groups.extend(some);
        }
        let end = journal.end().await.map_err(Breach::by("fault.end"))?;
        if self.may_be.contains(&found) && found.end() == end {
            self.may_be = vec![found];
            return Ok(());
        }
        let (rule, why) = self.what_is_wrong(&found, end);
        let told = format!(
            "{why}: {} groups from {:?} to {end}",
            found.groups.len(),
            found.groups.first().map(|g| g.0)
        );
        Err(Breach::new(rule, told))
    }

    fn what_is_wrong(&self, found: &State, end: Position) -> (&'static str, &'static str) {
        if self.may_be.iter().all(|state| state.snapshot != found.snapshot) {
            return ("fault.compact", "the snapshot is none of those that may be there");
        }
        if self
            .may_be
            .iter()
            .any(|state| state.groups == found.groups && state.snapshot != found.snapshot)
        {
            return (
                "fault.compact",
                "groups are gone, and the snapshot does not stand for them",
            );
        }
        let groups = |state: &State| -> Vec<Group> { state.groups.iter().map(|(_, group)| group.clone()).collect() };
        let there = groups(found);
        if (1..there.len()).any(|at| there[..at].contains(&there[at])) {
            return ("fault.twice", "a group is there twice");
        }
        let whole = |state: &State| groups(state).iter().all(|group| there.contains(group));
        if !self.may_be.iter().any(whole) {
            return ("fault.lost", "a group that was appended is missing, or another one");
        }
        if self.may_be.contains(found) && found.end() != end {
            return ("fault.end", "the end is not behind the last group");
        }
        ("fault.half", "something is there that was never appended so")
    }
}
