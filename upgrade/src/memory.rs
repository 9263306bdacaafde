use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Group, Journal, JournalError, Position};

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
        inner.groups.iter().map(|(_, group)| group.as_bytes().len()).sum()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let mut inner = self.inner.lock();
        let first = inner.end;
        if !group.is_empty() {
            inner.groups.push((first, group.clone()));
            inner.end += Position::from(group.len());
        }
        Ok(first)
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        let inner = self.inner.lock();
        let first = inner
            .groups
            .partition_point(|(start, group)| start + Position::from(group.len()) <= from);
        Ok(inner.groups.iter().skip(first).take(max_groups).cloned().collect())
    }

    async fn end(&self) -> Result<Position, JournalError> {
        Ok(self.inner.lock().end)
    }
}
