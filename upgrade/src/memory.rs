use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Group, Journal, JournalError, Position, Snapshot};

/// A journal in memory, for tests and simulations: it dies with the process.
///
/// It is the yardstick of the contract: other journals must answer as it does.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In order; no group is empty.
    groups: Vec<(Position, Group)>,
    snapshot: Option<Snapshot>,
    end: Position,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes that the records take, framing included.
    pub fn len_bytes(&self) -> usize {
        let inner = self.inner.lock();
        let snapshot = inner.snapshot.as_ref().map_or(0, |s| s.group.as_bytes().len());
        let groups: usize = inner.groups.iter().map(|(_, group)| group.as_bytes().len()).sum();
        snapshot + groups
    }
}

impl Inner {
    fn push(&mut self, group: &Group) -> Position {
        let first = self.end;
        if !group.is_empty() {
            self.groups.push((first, group.clone()));
            self.end += Position::from(group.len());
        }
        first
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        Ok(self.inner.lock().push(group))
    }

    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        let mut inner = self.inner.lock();
        if inner.end != expected {
            let found = inner.end;
            return Err(JournalError::NotAtEnd { expected, found });
        }
        Ok(inner.push(group))
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        let inner = self.inner.lock();
        let first = inner
            .groups
            .partition_point(|(start, group)| start + Position::from(group.len()) <= from);
        Ok(inner.groups.iter().skip(first).take(max_groups).cloned().collect())
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        let mut inner = self.inner.lock();
        let least = inner.snapshot.as_ref().map_or(0, |snapshot| snapshot.before);
        let kept = inner.groups.partition_point(|(start, _)| *start < before);
        let between = inner.groups.get(kept).map_or(inner.end, |(start, _)| *start) == before;
        if before < least || !between {
            let most = inner.end;
            return Err(JournalError::Boundary { before, least, most });
        }
        inner.groups.drain(..kept);
        inner.snapshot = Some(Snapshot {
            before,
            group: snapshot.clone(),
        });
        Ok(())
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        Ok(self.inner.lock().snapshot.clone())
    }

    async fn end(&self) -> Result<Position, JournalError> {
        Ok(self.inner.lock().end)
    }
}
