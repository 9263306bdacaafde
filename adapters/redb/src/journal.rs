use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition, TableError,
};
use unattended_upgrade::{Group, Journal, JournalError, Position, Snapshot};

use crate::torn::mended_copy;

/// One value per group, under the position of its first record.
const GROUPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("groups");
/// What the file is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";
/// A journal that was never compacted. Programs that know nothing of snapshots read it.
const PLAIN: u8 = 1;
/// One that may have a snapshot, which a program that reads the groups alone would miss.
const WITH_SNAPSHOT: u8 = 2;
/// At most one value: what stands for the groups before the position that is its key.
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");
/// How each redb file begins.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";
const CACHE_BYTES: usize = 32 << 20;

/// Groups of a scratch journal between two waits for the disk: redb reuses space only after one.
const SCRATCH_GROUPS: u64 = 256;
/// What to do about damage.
const REMEDY: &str = "put a backup in its place, or start with a new file";

#[derive(Debug)]
struct End {
    position: Position,
    /// Where the snapshot ends; 0 without one.
    begin: Position,
    /// Groups appended since the opening.
    appended: u64,
}

/// A [`Journal`] in one file.
#[derive(Debug)]
pub struct Redb {
    database: Database,
    path: PathBuf,
    /// The end, known without reading; the lock also keeps appends in one order.
    end: Mutex<End>,
    /// Every so many groups are made durable together.
    groups_per_sync: u64,
}

impl Redb {
    /// Opens the journal at `path`, or makes one where there is no file (or an empty one). Its directory must exist.
    ///
    /// A journal left by a killed process is repaired on the way, and so is one whose end is torn, as far as every page in
    /// use is still there; groups at the end may be lost with it. An error leaves whatever is there as it was.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::open_as(path.as_ref(), 1)
    }

    /// As [`open`](Self::open), for a journal that need not outlive the process: only every 256th group waits for the
    /// disk. A kill may lose the groups since then, always from the end; a normal end (a drop) loses nothing.
    pub fn scratch(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Self::open_as(path.as_ref(), SCRATCH_GROUPS)
    }

    /// A journal on a storage of one's own, or the one that is there. What a torn end is, and what else the storage may
    /// hold, is its owner's affair: what has no mark of ours and some table is refused, all else that is whole is opened.
    pub fn on(storage: impl StorageBackend) -> Result<Self, JournalError> {
        let path = Path::new("the storage");
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        Self::adopt(builder.create_with_backend(storage), path, true, 1)
    }

    /// Copies the journal at `from` to the file `to`, byte for byte, to be read there while the original stays as it is.
    ///
    /// [`JournalError::InUse`] while a program has it open: a copy of what is being written contradicts itself. Whoever would open it
    /// during the copying is refused as well. Where the file system has no locks, nothing is known of other programs.
    pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), JournalError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let io = |path: &Path, error: std::io::Error| JournalError::Io(format!("{}: {error}", path.display()));
        let mut file = File::open(from).map_err(|error| io(from, error))?;
        let lock = file.try_clone().map_err(|error| io(from, error))?;
        // redb's own locks: each way to open it takes some part of the whole range.
        let lock = FileBackend::new(lock).map_err(|error| open_error(from, error))?;
        if let Ok(false) = lock.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded) {
            return Err(JournalError::InUse(from.display().to_string()));
        }
        let mut copy = File::create(to).map_err(|error| io(to, error))?;
        std::io::copy(&mut file, &mut copy).map_err(|error| io(to, error))?;
        Ok(())
    }

    /// Opens the file; one with a torn end is mended first, if what it then holds is whole.
    fn open_as(path: &Path, groups_per_sync: u64) -> Result<Self, JournalError> {
        let torn = match Self::open_whole(path, groups_per_sync) {
            Err(error @ (JournalError::Damaged(_) | JournalError::Io(_))) => error,
            opened => return opened,
        };
        let Ok(Some(copy)) = mended_copy(path) else {
            return Err(torn);
        };
        // The copy is tried, not the file: what cannot be mended stays as it was.
        let mended = Self::open_whole(&copy, groups_per_sync).map(drop);
        if mended.is_err() || std::fs::rename(&copy, path).is_err() {
            // A copy that stays behind is in nobody's way; the next attempt writes over it.
            let _ = std::fs::remove_file(&copy);
            return Err(torn);
        }
        Self::open_whole(path, groups_per_sync)
    }

    fn open_whole(path: &Path, groups_per_sync: u64) -> Result<Self, JournalError> {
        let known = look_at_head(path)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(known);
        let opened = if known {
            builder.open(path)
        } else {
            builder.create(path)
        };
        Self::adopt(opened, path, known, groups_per_sync)
    }

    /// Makes an opened database a journal, if it is none and may become one.
    fn adopt(
        opened: Result<Database, DatabaseError>,
        path: &Path,
        known: bool,
        groups_per_sync: u64,
    ) -> Result<Self, JournalError> {
        let database = opened.map_err(|error| open_error(path, error))?;
        let name = path.display();
        if is_blank(&database).map_err(|error| damaged(path, &error))? {
            if known && !is_ours_to_fill(&database).map_err(|error| damaged(path, &error))? {
                return Err(JournalError::NotAJournal(name.to_string()));
            }
            mark(&database).map_err(|error| JournalError::Io(format!("{name}: {error}")))?;
        }
        let (begin, end) = check(&database, path)?;
        Ok(Self {
            database,
            path: path.to_owned(),
            end: Mutex::new(End {
                position: end,
                begin,
                appended: 0,
            }),
            groups_per_sync,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, first: Position, group: &Group, durability: Durability) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        transaction.open_table(GROUPS)?.insert(first, group.as_bytes())?;
        transaction.commit()?;
        Ok(())
    }

    /// One transaction: the groups go and the snapshot comes together. `None` where `before` is within a group.
    fn replace_beginning(&self, before: Position, end: Position, snapshot: &Group) -> Result<Option<()>, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        // Also of a scratch journal: what is removed was perhaps not yet on the disk.
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut groups = transaction.open_table(GROUPS)?;
            if before != end && groups.get(before)?.is_none() {
                return Ok(None);
            }
            groups.retain_in(..before, |_, _| false)?;
            let mut snapshots = transaction.open_table(SNAPSHOT)?;
            snapshots.retain(|_, _| false)?;
            snapshots.insert(before, snapshot.as_bytes())?;
            let mut about = transaction.open_table(ABOUT)?;
            about.insert(FORMAT_KEY, u64::from(WITH_SNAPSHOT))?;
        }
        transaction.commit()?;
        Ok(Some(()))
    }

    fn read_snapshot(&self) -> Result<Option<(Position, Vec<u8>)>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(SNAPSHOT) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let last = table.last()?;
        Ok(last.map(|(before, bytes)| (before.value(), bytes.value().to_vec())))
    }

    fn append_to(&self, end: &mut End, group: &Group) -> Result<Position, JournalError> {
        let first = end.position;
        if !group.is_empty() {
            let behind = end_of(first, group, &self.path)?;
            let appended = end.appended + 1;
            let durability = if appended.is_multiple_of(self.groups_per_sync) {
                Durability::Immediate
            } else {
                Durability::None
            };
            self.write(first, group, durability)
                .map_err(|error| JournalError::Io(format!("{}: {error}", self.path.display())))?;
            end.appended = appended;
            end.position = behind;
        }
        Ok(first)
    }

    fn read_groups(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Vec<u8>)>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(GROUPS)?;
        // The group that holds `from` began at or before it.
        let first = match table.range(..=from)?.next_back() {
            Some(entry) => entry?.0.value(),
            None => from,
        };
        let mut groups = Vec::new();
        for entry in table.range(first..)?.take(max_groups) {
            let (position, bytes) = entry?;
            groups.push((position.value(), bytes.value().to_vec()));
        }
        Ok(groups)
    }
}

#[async_trait]
impl Journal for Redb {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.append_to(&mut self.end.lock(), group)
    }

    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        let mut end = self.end.lock();
        if end.position != expected {
            let found = end.position;
            return Err(JournalError::NotAtEnd { expected, found });
        }
        self.append_to(&mut end, group)
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        if max_groups == 0 || from >= self.end.lock().position {
            return Ok(Vec::new());
        }
        self.read_groups(from, max_groups)
            .map_err(|error| damaged(&self.path, &error))?
            .into_iter()
            .map(|(position, bytes)| Ok((position, Group::from_bytes(bytes)?)))
            .collect()
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        // No append comes in between.
        let mut end = self.end.lock();
        let refused = JournalError::Boundary {
            before,
            least: end.begin,
            most: end.position,
        };
        if before < end.begin || before > end.position {
            return Err(refused);
        }
        self.replace_beginning(before, end.position, snapshot)
            .map_err(|error| JournalError::Io(format!("{}: {error}", self.path.display())))?
            .ok_or(refused)?;
        end.begin = before;
        Ok(())
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        let found = self.read_snapshot().map_err(|error| damaged(&self.path, &error))?;
        let Some((before, bytes)) = found else { return Ok(None) };
        let group = Group::from_bytes(bytes)?;
        Ok(Some(Snapshot { before, group }))
    }

    async fn end(&self) -> Result<Position, JournalError> {
        Ok(self.end.lock().position)
    }
}

/// Whether there is a redb file; an error where there is something else.
fn look_at_head(path: &Path) -> Result<bool, JournalError> {
    let io = |error: std::io::Error| JournalError::Io(format!("{}: {error}", path.display()));
    let mut head = Vec::with_capacity(MAGIC.len());
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
        // Nine bytes at most: the size of a u64 always holds them.
        Ok(file) => file.take(9).read_to_end(&mut head).map_err(io)?,
    };
    if head.is_empty() {
        return Ok(false);
    }
    if head.iter().all(|byte| *byte == 0) {
        // redb puts its mark last: nothing was ever in here, but that is for a person to say.
        return Err(JournalError::NotAJournal(format!(
            "{} begins with zeros (if a creation was killed, remove it) and",
            path.display()
        )));
    }
    match head {
        head if head == MAGIC => Ok(true),
        head if head.len() < MAGIC.len() && MAGIC.starts_with(&head) => Err(JournalError::Damaged(format!(
            "{} is cut short to {} bytes: {REMEDY}",
            path.display(),
            head.len()
        ))),
        _ => Err(JournalError::NotAJournal(path.display().to_string())),
    }
}

/// No mark of ours is in it.
fn is_blank(database: &Database) -> Result<bool, redb::Error> {
    match database.begin_read()?.open_table(ABOUT) {
        Ok(_) => Ok(false),
        Err(TableError::TableDoesNotExist(_)) => Ok(true),
        // A table of that name and of other types: not ours, and `check` says so.
        Err(TableError::Storage(error)) => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// No table at all: a creation of ours that was killed before its first transaction.
fn is_ours_to_fill(database: &Database) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    Ok(transaction.list_tables()?.next().is_none() && transaction.list_multimap_tables()?.next().is_none())
}

/// Makes a fresh file a journal, in one transaction.
fn mark(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert(FORMAT_KEY, u64::from(PLAIN))?;
    transaction.open_table(GROUPS)?;
    transaction.commit()?;
    Ok(())
}

/// Checks the mark and gives where the snapshot and where the groups end.
fn check(database: &Database, path: &Path) -> Result<(Position, Position), JournalError> {
    let foreign = |error: TableError| match error {
        TableError::Storage(error) => damaged(path, &error.into()),
        _ => JournalError::NotAJournal(path.display().to_string()),
    };
    let read = database.begin_read().map_err(|error| damaged(path, &error.into()))?;
    let about = read.open_table(ABOUT).map_err(foreign)?;
    let format = about
        .get(FORMAT_KEY)
        .map_err(|error| damaged(path, &error.into()))?
        .map(|format| format.value());
    if ![PLAIN, WITH_SNAPSHOT]
        .map(|known| Some(u64::from(known)))
        .contains(&format)
    {
        return Err(JournalError::Format {
            // Formats are small numbers; one that is not is shown as the largest.
            found: format.map(|format| u8::try_from(format).unwrap_or(u8::MAX)),
        });
    }
    let groups = read.open_table(GROUPS).map_err(foreign)?;
    let last = groups.last().map_err(|error| damaged(path, &error.into()))?;
    let begin = match read.open_table(SNAPSHOT) {
        Ok(snapshots) => {
            let snapshot = snapshots.last().map_err(|error| damaged(path, &error.into()))?;
            snapshot.map_or(0, |(before, _)| before.value())
        }
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(foreign(error)),
    };
    match last {
        None => Ok((begin, begin)),
        Some((first, bytes)) => {
            let group = Group::from_bytes(bytes.value().to_vec())?;
            let end = end_of(first.value(), &group, path)?;
            Ok((begin, end))
        }
    }
}

/// Where a group ends; an error where there is no such position.
fn end_of(first: Position, group: &Group, path: &Path) -> Result<Position, JournalError> {
    let records = group.len();
    first.checked_add(records.into()).ok_or_else(|| {
        JournalError::Damaged(format!(
            "{}: {records} records cannot stand from {first} on, the positions end there; {REMEDY}",
            path.display()
        ))
    })
}

fn open_error(path: &Path, error: DatabaseError) -> JournalError {
    let name = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => JournalError::InUse(name.to_string()),
        DatabaseError::Storage(StorageError::Io(error)) => unread(path, &error),
        other => JournalError::Damaged(format!("{name}: {other}; {REMEDY}")),
    }
}

/// Of the content, or of the disk? A file that ends too soon can be read as far as it goes.
fn unread(path: &Path, error: &std::io::Error) -> JournalError {
    let name = path.display();
    match error.kind() {
        ErrorKind::UnexpectedEof => JournalError::Damaged(format!("{name} is cut short: {REMEDY}")),
        ErrorKind::InvalidData => JournalError::Damaged(format!("{name}: {error}; {REMEDY}")),
        _ => JournalError::Io(format!("{name}: {error}")),
    }
}

fn damaged(path: &Path, error: &redb::Error) -> JournalError {
    match error {
        redb::Error::Io(error) => unread(path, error),
        error => JournalError::Damaged(format!("{}: {error}; {REMEDY}", path.display())),
    }
}
