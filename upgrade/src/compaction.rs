//! Reading a journal whole, and making its beginning small.
use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::history::{History, Told};
use crate::{AttemptId, DriverError, Group, Journal, JournalError, Position, Record, Snapshot, Stream, UpgradeRecord};

/// Groups that are read in one call.
const READ_GROUPS: usize = 256;

/// Reads a journal from its beginning to its end: first the records of its snapshot, which have no position any more,
/// then all others with theirs. Stops at the first error of `each`. Gives the position behind the last record.
///
/// # Errors
/// A journal that cannot be read, or contradicts itself ([`JournalError::Damaged`]): a group that does not begin where the
/// snapshot or the group before it ends is not given to `each`, nor is anything behind it. So a hole is never read over, and
/// a reading ends.
pub async fn read_journal<J, E>(
    journal: &J,
    each: impl FnMut(Option<Position>, &Record<'_>) -> Result<(), E> + Send,
) -> Result<Position, E>
where
    J: Journal + ?Sized,
    E: From<JournalError>,
{
    read_from(&Whole(journal), each).await
}

/// Where a journal is read from.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError>;
    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError>;
}

struct Whole<'a, J: ?Sized>(&'a J);

#[async_trait]
impl<J: Journal + ?Sized> Source for Whole<'_, J> {
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.0.snapshot().await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.0.read(from, max_groups).await
    }
}

pub(crate) async fn read_from<S: Source, E: From<JournalError>>(
    journal: &S,
    mut each: impl FnMut(Option<Position>, &Record<'_>) -> Result<(), E> + Send,
) -> Result<Position, E> {
    let mut next = 0;
    if let Some(snapshot) = journal.snapshot().await? {
        for record in snapshot.group.records() {
            each(None, &record)?;
        }
        next = snapshot.before;
    }
    loop {
        let groups = journal.read(next, READ_GROUPS).await?;
        if groups.is_empty() {
            return Ok(next);
        }
        for (first, group) in groups {
            next = end_of(&group, first, next)?;
            for (record, position) in group.records().zip(first..) {
                each(Some(position), &record)?;
            }
        }
    }
}

/// Where a group ends, if it begins where it must and has anything.
fn end_of(group: &Group, first: Position, must_begin: Position) -> Result<Position, JournalError> {
    let records = group.len();
    match first.checked_add(records.into()) {
        Some(end) if first == must_begin && end > first => Ok(end),
        _ => Err(JournalError::Damaged(format!(
            "where record {must_begin} must be there is a group of {records} that begins with record {first}; put a backup \
             in its place"
        ))),
    }
}

/// What [`compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compaction {
    /// Records that were read, those of a snapshot before included.
    pub records_before: u64,
    /// Records that the snapshot has now.
    pub records_after: u64,
}

/// Lets a snapshot stand for everything in the journal up to its present end: of attempts that have ended only the
/// generation of their target stays; the records of open attempts, and those of other streams, stay as they are.
///
/// The receipts of ended attempts are gone afterwards: take them first, and out of the journal itself. A driver whose last append got no
/// answer has not told what is in it yet, and if it falls before it does, that receipt was in the journal alone. A driver goes on as if nothing had happened, and
/// a driver made later recovers the same, whether this was killed or not. The time it takes grows with the journal, and
/// the memory with the number of targets: about a hundred bytes each.
pub async fn compact<J: Journal + ?Sized>(journal: &J) -> Result<Compaction, DriverError> {
    let mut small = Compactor::default();
    let mut read = 0u64;
    let end = read_journal(journal, |_, record| {
        read += 1;
        small.take(record)
    })
    .await?;
    let snapshot = small.finish();
    journal.compact(end, &snapshot).await?;
    Ok(Compaction {
        records_before: read,
        records_after: snapshot.len().into(),
    })
}

#[derive(Default)]
struct Compactor {
    history: History,
    /// Records of other streams, as they were.
    others: Group,
    /// The records of each open attempt, as they were.
    open: BTreeMap<AttemptId, Group>,
}

impl Compactor {
    fn take(&mut self, record: &Record<'_>) -> Result<(), DriverError> {
        let Some(Told { record: told, .. }) = self.history.take(record)? else {
            self.others.push(record.stream, record.kind, record.bytes);
            return Ok(());
        };
        if let Some(attempt) = told.attempt() {
            if matches!(told, UpgradeRecord::Finished { .. }) {
                self.open.remove(&attempt);
            } else {
                let records = self.open.entry(attempt).or_default();
                records.push(record.stream, record.kind, record.bytes);
            }
        }
        Ok(())
    }

    fn finish(self) -> Group {
        let mut snapshot = self.others;
        let mut scratch = Vec::new();
        let mut write = |record: UpgradeRecord| {
            scratch.clear();
            record.encode(&mut scratch);
            snapshot.push(Stream::UPGRADE, record.kind(), &scratch);
        };
        for (index, version) in (0u32..).zip(self.history.versions) {
            write(UpgradeRecord::Version { index, version });
        }
        write(UpgradeRecord::Numbered {
            next_attempt: AttemptId(self.history.next_attempt),
        });
        // An open attempt has the highest generation of its target, and its records stay. In order of their names: equal
        // journals make equal snapshots.
        let ended = self.history.targets.into_iter();
        let mut ended: Vec<_> = ended.filter(|(_, latest)| latest.open.is_none()).collect();
        ended.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (target, latest) in ended {
            write(UpgradeRecord::Target {
                target,
                generation: latest.generation,
            });
        }
        for records in self.open.values() {
            snapshot.extend(records);
        }
        snapshot
    }
}
