//! The journal on a storage that fails, fills up, and loses its last writes: every write torn at every byte.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use redb::StorageBackend;
use unattended_redb::Redb;
use unattended_upgrade::conformance::{Medium, journal_faults};
use unattended_upgrade::{Group, Journal, JournalError, Stream};

/// Something that was done to the storage.
#[derive(Clone, Debug)]
enum Deed {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    Resize(usize),
    Sync,
    /// An append or a compaction was reported to be durable; so many had been then.
    Told(u64),
}

#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    /// What a loss of power leaves.
    synced: Vec<u8>,
    deeds: Vec<Deed>,
    /// It fails from this deed on, and then for ever.
    fails_at: Option<usize>,
    done: usize,
}

impl Disk {
    fn may(&mut self) -> Result<()> {
        self.done += 1;
        if self.fails_at.is_some_and(|at| self.done > at) {
            return Err(Error::new(ErrorKind::StorageFull, "no space left on the disk"));
        }
        Ok(())
    }
}

/// A storage in memory that writes down what is done to it.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Disk>>);

impl Memory {
    fn of(bytes: Vec<u8>) -> Self {
        let memory = Self::default();
        {
            let mut disk = memory.0.lock();
            disk.synced.clone_from(&bytes);
            disk.bytes = bytes;
        }
        memory
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let disk = self.0.lock();
        let at = usize::try_from(offset).unwrap();
        let from = disk
            .bytes
            .get(at..at + out.len())
            .ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut disk = self.0.lock();
        disk.may()?;
        let len = usize::try_from(len).unwrap();
        disk.bytes.resize(len, 0);
        disk.deeds.push(Deed::Resize(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let mut disk = self.0.lock();
        disk.may()?;
        disk.synced = disk.bytes.clone();
        disk.deeds.push(Deed::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut disk = self.0.lock();
        disk.may()?;
        let at = usize::try_from(offset).unwrap();
        disk.bytes[at..at + data.len()].copy_from_slice(data);
        let bytes = data.to_vec();
        disk.deeds.push(Deed::Write { at, bytes });
        Ok(())
    }
}

const GROUPS: u64 = 4;

fn group(number: u64) -> Group {
    let mut group = Group::new();
    group.push(Stream(1), 1, &number.to_le_bytes());
    group.push(Stream(2), 7, &[b'x'; 40]);
    group
}

/// Appends the groups, and compacts in between, telling after each; stops at the first error, which it gives.
fn fill(memory: &Memory) -> std::result::Result<(), JournalError> {
    let journal = Redb::on(memory.clone())?;
    let told = |number: u64| memory.0.lock().deeds.push(Deed::Told(number));
    for number in 0..GROUPS {
        assert_eq!(block_on(journal.append(&group(number)))?, number * 2);
        told(number + 1);
        if number == 2 {
            block_on(journal.compact(2, &group(99)))?;
        }
    }
    Ok(())
}

/// The journal on these bytes holds the groups that were told of, and no half of any, and goes on; gives how many it holds.
fn holds(bytes: Vec<u8>, told: u64, what: &str) -> u64 {
    let (journal, groups) = opens(bytes, told, what);
    assert_eq!(block_on(journal.append(&group(groups))).unwrap(), groups * 2);
    groups
}

fn opens(bytes: Vec<u8>, told: u64, what: &str) -> (Redb, u64) {
    let journal = Redb::on(Memory::of(bytes))
        .map_err(|error| format!("{what}: {error}"))
        .unwrap();
    let end = block_on(journal.end()).unwrap();
    assert!(
        end >= told * 2,
        "{what}: {told} groups were told of, and it ends at {end}"
    );
    assert!(end.is_multiple_of(2), "{what}: half a group");
    let snapshot = block_on(journal.snapshot()).unwrap();
    let from = snapshot.as_ref().map_or(0, |snapshot| snapshot.before);
    assert!(snapshot.is_none_or(|snapshot| snapshot.before == 2 && snapshot.group == group(99)));
    assert!(
        told < GROUPS || from == 2,
        "{what}: the compaction was done before the last group"
    );
    let groups = block_on(journal.read(0, 100)).unwrap();
    let numbers: Vec<u64> = groups.iter().map(|(position, _)| position / 2).collect();
    assert!(numbers.iter().copied().eq(from / 2..end / 2), "{what}: {numbers:?}");
    for (position, found) in &groups {
        assert_eq!(*found, group(position / 2), "{what}");
    }
    (journal, end / 2)
}

#[test]
fn every_write_torn_at_every_byte_loses_nothing_that_was_told() {
    let memory = Memory::default();
    fill(&memory).unwrap();
    let deeds = memory.0.lock().deeds.clone();
    let mut bytes: Vec<u8> = Vec::new();
    let (mut told, mut tears, mut begun) = (0, 0, false);
    for (number, deed) in deeds.iter().enumerate() {
        match deed {
            Deed::Resize(len) => bytes.resize(*len, 0),
            Deed::Sync => {}
            Deed::Told(groups) => told = *groups,
            Deed::Write { at, bytes: new } => {
                // A tear before a byte that is the same as it was is no other tear than the next.
                let differ: Vec<usize> = (0..new.len()).filter(|i| bytes[at + i] != new[*i]).collect();
                let tear = |cut: &usize| {
                    let mut torn = bytes.clone();
                    torn[*at..at + cut].copy_from_slice(&new[..*cut]);
                    let what = format!("deed {number} torn at byte {cut}");
                    // The head is the first page, and decides what counts. That it goes on takes the most time.
                    if *at < 4_096 || cut.is_multiple_of(17) {
                        holds(torn, told, &what);
                    } else {
                        opens(torn, told, &what);
                    }
                };
                // Before redb has put its mark there is no file of its own; the path's opening says so in words.
                if begun {
                    tears += differ.len();
                    let (one, other) = differ.split_at(differ.len() / 2);
                    std::thread::scope(|scope| {
                        scope.spawn(|| one.iter().for_each(tear));
                        other.iter().for_each(tear);
                    });
                }
                bytes[*at..at + new.len()].copy_from_slice(new);
                begun = bytes.starts_with(b"redb");
            }
        }
    }
    assert_eq!(holds(bytes, told, "whole"), GROUPS);
    assert!(tears > 1_000, "{tears}");
}

#[test]
fn any_of_the_writes_since_the_last_sync_may_be_missing() {
    let memory = Memory::default();
    fill(&memory).unwrap();
    let deeds = memory.0.lock().deeds.clone();
    let (mut synced, mut told) = (Vec::new(), 0);
    let mut since: Vec<Deed> = Vec::new();
    let mut seed = 42u64;
    let apply = |bytes: &mut Vec<u8>, deed: &Deed| match deed {
        Deed::Write { at, bytes: new } => bytes[*at..at + new.len()].copy_from_slice(new),
        Deed::Resize(len) => bytes.resize(*len, 0),
        Deed::Sync | Deed::Told(_) => {}
    };
    for deed in &deeds {
        match deed {
            Deed::Told(groups) => told = *groups,
            Deed::Sync => since.drain(..).for_each(|deed| apply(&mut synced, &deed)),
            other => since.push(other.clone()),
        }
        if !synced.starts_with(b"redb") {
            continue;
        }
        for round in 0..12 {
            // Lengths are kept in order; of the writes some are lost.
            let mut bytes = synced.clone();
            for deed in &since {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                if matches!(deed, Deed::Resize(_)) || seed >> 63 == 0 {
                    apply(&mut bytes, deed);
                }
            }
            holds(
                bytes,
                told,
                &format!("round {round} of losing writes after {told} groups"),
            );
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_deed_loses_nothing_and_says_so() {
    let memory = Memory::default();
    fill(&memory).unwrap();
    let deeds = memory.0.lock().done;
    let mut refused = 0;
    for at in 0..deeds {
        let memory = Memory::default();
        memory.0.lock().fails_at = Some(at);
        if let Err(error) = fill(&memory) {
            assert!(error.to_string().contains("no space left"), "deed {at}: {error}");
            refused += 1;
        }
        let disk = memory.0.lock();
        let told = disk.deeds.iter().filter_map(|deed| match deed {
            Deed::Told(groups) => Some(*groups),
            _ => None,
        });
        let told = told.max().unwrap_or(0);
        if disk.bytes.starts_with(b"redb") {
            // There is room again, and the journal is opened anew.
            holds(disk.bytes.clone(), told, &format!("deed {at} failed"));
        }
    }
    assert!(refused > 20, "{refused} of {deeds}");
}

/// A storage that loses what was not synced whenever the journal on it is opened anew.
struct Shelf(Mutex<Memory>);

#[async_trait]
impl Medium for Shelf {
    type Journal = Redb;

    async fn open(&self) -> std::result::Result<Redb, JournalError> {
        let mut memory = self.0.lock();
        let left = memory.0.lock().synced.clone();
        *memory = Memory::of(left);
        Redb::on(memory.clone())
    }

    fn fail_at(&self, write: Option<u64>) {
        let memory = self.0.lock();
        let mut disk = memory.0.lock();
        disk.fails_at = write.map(|write| disk.done + usize::try_from(write).unwrap());
    }
}

#[test]
fn a_disk_that_fails_and_recovers_keeps_the_contract() {
    assert_eq!(block_on(journal_faults(&Shelf(Mutex::default()))), Ok(()));
}
