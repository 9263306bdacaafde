//! The journal of the example: redb, behind the world's own memory, and a wrapper that kills the process on purpose.

use std::sync::Arc;

use async_trait::async_trait;
use futures::channel::oneshot::{Receiver, Sender, channel};
use parking_lot::Mutex;
use unattended::upgrade::{Group, Journal, JournalError, Position, Snapshot};
use unattended_redb::Redb;
use unattended_simulated::Simulated;

/// Aborts the process as soon as the journal has so many records.
pub(crate) struct Mortal {
    inner: Redb,
    world: Arc<Simulated>,
    kill_after: Option<u64>,
    failed: Mutex<Option<Sender<JournalError>>>,
}

impl Mortal {
    /// And the first error of an append. A run tries again until the disk is mended; virtual time would not wait for that.
    pub(crate) fn new(inner: Redb, world: Arc<Simulated>, kill_after: Option<u64>) -> (Self, Receiver<JournalError>) {
        let (sender, failed) = channel();
        let journal = Self {
            inner,
            world,
            kill_after,
            failed: Mutex::new(Some(sender)),
        };
        (journal, failed)
    }

    async fn try_to_append(&self, group: &Group) -> Result<Position, JournalError> {
        // What the journal says was done, the world must have kept.
        self.world.flush().map_err(JournalError::Io)?;
        let Some(limit) = self.kill_after else {
            return self.inner.append(group).await;
        };
        let end = self.inner.end().await?;
        if end + u64::from(group.len()) < limit {
            return self.inner.append(group).await;
        }
        // The group is cut at the record, which no real crash does: the harder case.
        let mut cut = Group::new();
        let room = usize::try_from(limit.saturating_sub(end)).unwrap_or(usize::MAX);
        for record in group.records().take(room) {
            cut.push(record.stream, record.kind, record.bytes);
        }
        if !cut.is_empty() {
            self.inner.append(&cut).await?;
        }
        std::process::abort()
    }
}

#[async_trait]
impl Journal for Mortal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let appended = self.try_to_append(group).await;
        if let Err(error) = &appended {
            let sender = self.failed.lock().take();
            if let Some(sender) = sender {
                let _ = sender.send(error.clone());
            }
        }
        appended
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
