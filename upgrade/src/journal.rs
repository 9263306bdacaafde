use async_trait::async_trait;

/// The place of a record in the one total order of its journal, from 0 without holes.
pub type Position = u64;

/// Whose records these are. A reader skips streams it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct Stream(pub u8);

impl Stream {
    /// The records of this crate's driver.
    pub const UPGRADE: Self = Self(1);
    /// The inputs of the autopilot.
    pub const AUTOPILOT: Self = Self(2);
}

/// One record as it is read back: `bytes` are opaque to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a record is exactly this")]
pub struct Record<'a> {
    /// Whose it is.
    pub stream: Stream,
    /// What it is, in that stream's own numbering.
    pub kind: u8,
    /// Its content, in that stream's own format, which carries its own version.
    pub bytes: &'a [u8],
}

/// Records that are appended together: all of them become durable, or none.
///
/// They lie in one buffer, so that a hundred thousand records cost a handful of allocations. The packed form
/// ([`as_bytes`](Self::as_bytes)) is what a journal stores, one value per group:
/// a format byte, then for each record its stream, kind, LEB128 length and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    packed: Vec<u8>,
    count: u32,
}

/// The version of the packed form.
const GROUP_FORMAT: u8 = 1;

impl Default for Group {
    fn default() -> Self {
        Self::new()
    }
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self {
            packed: vec![GROUP_FORMAT],
            count: 0,
        }
    }

    /// Adds a record at the end.
    pub fn push(&mut self, stream: Stream, kind: u8, bytes: &[u8]) {
        self.packed.push(stream.0);
        self.packed.push(kind);
        let mut rest = bytes.len();
        while rest >= 0x80 {
            // The low seven bits: no truncation of a value below 256.
            self.packed.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        self.packed.push(u8::try_from(rest).unwrap_or(0));
        self.packed.extend_from_slice(bytes);
        self.count += 1;
    }

    /// Adds all records of another group at the end.
    pub fn extend(&mut self, other: &Self) {
        self.packed.extend_from_slice(&other.packed[1..]);
        self.count += other.count;
    }

    /// The records from this one on, counted from 0, as a group of their own.
    #[must_use]
    pub fn from_record(&self, first: u32) -> Self {
        let mut rest = Self::new();
        for record in self.records().skip(usize::try_from(first).unwrap_or(usize::MAX)) {
            rest.push(record.stream, record.kind, record.bytes);
        }
        rest
    }

    /// The records before this one, counted from 0, as a group of their own.
    #[must_use]
    pub(crate) fn up_to_record(&self, end: u32) -> Self {
        let mut first = Self::new();
        for record in self.records().take(usize::try_from(end).unwrap_or(usize::MAX)) {
            first.push(record.stream, record.kind, record.bytes);
        }
        first
    }

    /// The number of records.
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all records and keeps the buffer.
    pub fn clear(&mut self) {
        self.packed.truncate(1);
        self.count = 0;
    }

    /// The packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.packed
    }

    /// Reads a packed form back, whole or not at all.
    pub fn from_bytes(packed: Vec<u8>) -> Result<Self, JournalError> {
        let count = {
            let mut records = Records {
                rest: packed.get(1..).unwrap_or_default(),
            };
            if packed.first() != Some(&GROUP_FORMAT) {
                return Err(JournalError::Format {
                    found: packed.first().copied(),
                });
            }
            let mut count = 0u32;
            while !records.rest.is_empty() {
                if records.next().is_none() {
                    return Err(JournalError::Damaged(format!("record {count} of a group is cut short")));
                }
                count += 1;
            }
            count
        };
        Ok(Self { packed, count })
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        Records {
            rest: &self.packed[1..],
        }
    }
}

struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (&stream, rest) = self.rest.split_first()?;
        let (&kind, mut rest) = rest.split_first()?;
        let mut len = 0usize;
        for shift in [0u32, 7, 14, 21, 28] {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let bytes = rest.get(..len)?;
                self.rest = &rest[len..];
                return Some(Record {
                    stream: Stream(stream),
                    kind,
                    bytes,
                });
            }
        }
        None
    }
}

/// Why a journal did not do what it was asked. Where it was an append, [`Journal::append`] says what may be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The medium failed: no space, no permission, no device.
    #[error("the journal cannot be written or read: {0}")]
    Io(String),
    /// It has not answered a driver. What it was asked may still happen.
    #[error("the journal has not answered within {call_ms} ms: see to its disk; nothing is done before it answers")]
    Silent {
        /// How long it was waited for.
        call_ms: u64,
    },
    /// The file is something else, or of another format version.
    #[error(
        "the journal has format {found:?}, this program reads format {GROUP_FORMAT}: use the version that wrote it, or start with a new file"
    )]
    Format {
        /// The format byte found, if any.
        found: Option<u8>,
    },
    /// Somebody else has it open.
    #[error("the journal {0} is in use by another program: stop that one first, a journal has one writer")]
    InUse(String),
    /// What is there is something else. It has not been changed.
    #[error("{0} is not a journal: name another file, this one is left as it is")]
    NotAJournal(String),
    /// The content contradicts itself.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// Somebody else has appended to it since. Nothing was appended now.
    #[error("the journal ends at {found}, and what was to follow {expected} was not appended: it has another writer")]
    NotAtEnd {
        /// Where the records were to begin.
        expected: Position,
        /// Where it ends.
        found: Position,
    },
    /// A compaction up to a place that is none.
    #[error("position {before} is not a place between two groups from {least} to {most}: compact up to one")]
    Boundary {
        /// The position given.
        before: Position,
        /// Where the present snapshot ends.
        least: Position,
        /// The end.
        most: Position,
    },
}

/// What stands for the records of a journal that were removed from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a snapshot is exactly this")]
pub struct Snapshot {
    /// The first position that it does not stand for.
    pub before: Position,
    /// The records that stand for those before; they have no positions of their own.
    pub group: Group,
}

/// A durable, totally ordered log of opaque records, whose beginning may be replaced by a [`Snapshot`].
///
/// A reader folds the snapshot first, if there is one, and then what [`read`](Self::read) gives from
/// [`Snapshot::before`] on. [`conformance::journal_suite`](crate::conformance::journal_suite) checks an implementation.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Appends the group. On return it is durable as a whole, it follows every group appended before, and the
    /// position of its first record is given. After an error all of it is there or nothing, since an answer may get lost:
    /// [`end`](Self::end) tells which, unless the journal refuses everything until it is opened anew. What it tells stays so
    /// once something was appended after it. Two appends at once are both done, one after the other. An empty group
    /// changes nothing.
    async fn append(&self, group: &Group) -> Result<Position, JournalError>;

    /// As [`append`](Self::append), but only if the journal ends at `expected`. Elsewhere it is [`JournalError::NotAtEnd`],
    /// and nothing has been appended.
    ///
    /// It is how a driver writes, so that a controller whose change another one has taken up leaves nothing in the journal of
    /// its successor. Where several programs can open one journal at once, a database say, the look and the append must be one
    /// step there. What is given here takes two, which is enough for a journal that only one program can open.
    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        let found = self.end().await?;
        if found != expected {
            return Err(JournalError::NotAtEnd { expected, found });
        }
        self.append(group).await
    }

    /// Reads up to about `max_groups` whole groups, beginning with the first group that has a record at or after
    /// `from`, each with the position of its first record; at least one if there is one and `max_groups` is not 0.
    /// Groups that a snapshot stands for are gone, and the reading begins after them.
    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError>;

    /// Lets `snapshot` stand for every group before `before`, and for the snapshot before. On return that is durable;
    /// after an error, and after a crash before the return, all is as it was or all is done. Positions of what stays do
    /// not change, nor does the end.
    ///
    /// `before` is a place between two groups, not before that of the present snapshot and not behind the end: anything
    /// else is [`JournalError::Boundary`].
    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError>;

    /// The snapshot, if there is one.
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError>;

    /// The position that the next record will get: the number of records.
    async fn end(&self) -> Result<Position, JournalError>;
}
