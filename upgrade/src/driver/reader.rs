//! Reading the journal of a driver.
use std::sync::Arc;

use async_trait::async_trait;

use super::Driver;
use super::calls::within;
use crate::compaction::{Source, read_from};
use crate::{Clock, Group, Journal, JournalError, Position, Record, Snapshot};

/// A driver's journal, of which each answer is waited for no longer than for any other of the driver's calls
/// ([`DriverConfig::call_ms`](crate::DriverConfig::call_ms)); one that does not come is [`JournalError::Silent`].
pub struct JournalReader {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    call_ms: u64,
}

impl std::fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalReader")
            .field("call_ms", &self.call_ms)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// Reads this driver's journal.
    pub fn journal_reader(&self) -> JournalReader {
        JournalReader {
            journal: Arc::clone(&self.journal),
            clock: Arc::clone(&self.clock),
            call_ms: self.config.call_ms,
        }
    }
}

impl JournalReader {
    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, JournalError>> + Unpin + Send,
    ) -> Result<T, JournalError> {
        let call_ms = self.call_ms;
        let until_ms = self.clock.now().saturating_add(call_ms);
        let answer = within(self.clock.as_ref(), until_ms, call).await;
        answer.unwrap_or(Err(JournalError::Silent { call_ms }))
    }

    pub(super) async fn end(&self) -> Result<Position, JournalError> {
        self.answer(self.journal.end()).await
    }

    /// Whether other records than these stand from there on. Where a snapshot stands for them already, nobody can tell.
    pub(super) async fn differs_at(&self, from: Position, records: &Group) -> Result<bool, JournalError> {
        let read = self.read(from, 1).await?;
        Ok(read.first().is_some_and(|(at, group)| *at == from && group != records))
    }

    /// What the journal begins with: its snapshot, or else its first group. `None`: it is empty.
    pub async fn first(&self) -> Result<Option<Group>, JournalError> {
        if let Some(snapshot) = self.snapshot().await? {
            return Ok(Some(snapshot.group));
        }
        let first = self.read(0, 1).await?.pop();
        Ok(first.map(|(_, group)| group))
    }

    /// As [`read_journal`](crate::read_journal).
    pub async fn read_whole<E: From<JournalError>>(
        &self,
        each: impl FnMut(Option<Position>, &Record<'_>) -> Result<(), E> + Send,
    ) -> Result<Position, E> {
        read_from(self, each).await
    }
}

#[async_trait]
impl Source for JournalReader {
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.answer(self.journal.snapshot()).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.answer(self.journal.read(from, max_groups)).await
    }
}
