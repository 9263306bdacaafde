//! The journal of the example: redb, behind the world's own memory, and a wrapper that kills the process on purpose.

use std::sync::Arc;

use async_trait::async_trait;
use futures::channel::oneshot::{Receiver, Sender, channel};
use parking_lot::Mutex;
use unattended::upgrade::{Group, Journal, JournalError, Position, Snapshot};
use unattended_examples_support::Failure;
use unattended_redb::Redb;
use unattended_simulated::Simulated;

use crate::options::Options;

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

/// Why a journal cannot be opened, and where it is for want of room or rights, what to do about it.
pub(crate) fn unopened(options: &Options, error: &JournalError) -> Failure {
    let fix = match (error, &options.journal) {
        (JournalError::Io(_), Some(_)) => {
            "; make room there and let this user write, or name another file by --journal"
        }
        (JournalError::Io(_), None) => {
            "; make room there and let this user write, or name a file elsewhere by --journal"
        }
        _ => "",
    };
    Failure::Input(format!("the journal: {error}{fix}"))
}

/// Says that the journal cannot be written any more, and how the change goes on.
pub(crate) fn told(options: &Options, error: &JournalError) {
    let path = options.journal.clone().unwrap_or_else(std::env::temp_dir);
    let (path, mut said) = (path.display().to_string(), error.to_string());
    // As a word of its own: a file may be called `j`.
    if !said.split([' ', ':']).any(|word| word == path) {
        said = format!("{path}: {said}");
    }
    let fix = if options.journal.is_some() {
        "make room there, run this again with the same --journal, and it goes on"
    } else {
        "it had a temporary journal, and cannot go on: make room there, or name a file elsewhere by --journal"
    };
    eprintln!("error: {said}; the change stands as it is: {fix}");
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
