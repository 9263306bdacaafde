//! A durable journal in one redb file.
//!
//! Not a store for anything else: it appends groups of records and reads them back, as
//! [`Journal`] wants it.
//!
//! ```
//! use unattended_redb::Redb;
//! use unattended_upgrade::{Group, Journal, Stream};
//!
//! # futures::executor::block_on(async {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("journal.redb");
//! let journal = Redb::open(&path)?;
//! let mut group = Group::new();
//! group.push(Stream(9), 1, b"first");
//! group.push(Stream(9), 1, b"second");
//! assert_eq!(journal.append(&group).await?, 0); // durable from here on
//! drop(journal);
//!
//! let journal = Redb::open(&path)?;
//! assert_eq!(journal.end().await?, 2);
//! assert_eq!(journal.read(1, 10).await?, [(0, group)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  Driver ── Group ──► append ──► one transaction, one fsync ──► groups: first position -> packed group
//!                                                                 about:  "format" -> 1
//!  a new process ◄── read ◄── Redb::open (checks, repairs) ◄──────┘
//! ```
//!
//! # Guarantees
//!
//! - When [`append`](Journal::append) returns, the whole group survives a kill and a loss of power (as far as the
//!   disk keeps its word on fsync). A process killed inside of it leaves the group whole or not at all.
//! - A file is opened by one process at a time; a second one is told [`JournalError::InUse`].
//! - A file that is something else is never changed ([`JournalError::NotAJournal`]).
//! - A file whose end is torn, cut short or with something behind it, is mended on a copy and replaced by it where
//!   every page in use is still there; one that was altered, or cut further, is [`JournalError::Damaged`] and stays as
//!   it was. Every page's checksum is verified.
//!
//! # Limits
//!
//! - `append` and `read` do their file work inside the call: they block the thread that polls them, typically for
//!   one fsync.
//! - Opening reads the whole file once.
//! - After a failed write the journal takes nothing more until it is opened anew.
//! - The page cache is held to 32 MiB.
//! - A compaction frees what it stands for, to be written over: the file does not grow then, and does not shrink.

mod journal;
mod torn;

pub use journal::Redb;
#[cfg(doc)]
use unattended_upgrade::{Journal, JournalError};
