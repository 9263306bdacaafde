//! Writing a chain.

use std::io::{self, Write};

use serde::Serialize;

use super::anchor::Head;
use super::entry::{BEGIN, Begin, Entry};
use super::hash::Hash;
use super::record::Record;
use super::verify::{Lines, VerifyError, Walk, read, torn};

/// The writing end of a chain: it makes records, and leaves it to the caller where they are kept.
///
/// One chain has one writer. Two that go on from the same head make two chains, of which one will not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    log: String,
    next: u64,
    last: Hash,
}

/// What is recorded when a torn end was cut off.
#[derive(Serialize)]
struct Recovered<'c> {
    cut: &'c str,
}

/// A chain to go on with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// Its writing end.
    pub chain: Chain,
    /// How many bytes of what was read are whole records. What stands behind them is the beginning of a record that
    /// nobody was ever told of: cut the file to this length before going on.
    pub keep: u64,
    /// What stands behind them, shortened; empty when nothing does.
    pub torn: String,
}

impl Chain {
    /// Begins a chain under a name of its own, such as that of the deploy bot that writes it. Its first record is to be
    /// kept as the others.
    #[must_use]
    pub fn begin(log: impl Into<String>, at_ms: i64) -> (Self, Record) {
        let log = log.into();
        let mut chain = Self {
            log: log.clone(),
            next: 0,
            last: Hash::START,
        };
        let record = chain.link(at_ms, BEGIN, &Begin { log });
        (chain, record)
    }

    /// Goes on with a chain that was written before. It is verified on the way; a last line that is only half there, as
    /// after a kill, is not an error.
    ///
    /// # Errors
    /// The first broken record and how, or that the reader failed.
    pub fn resume(written: impl io::BufRead) -> Result<Resumed, VerifyError> {
        let mut walk = Walk::new(&[]);
        let mut lines = Lines::new(written);
        let mut keep = 0;
        let mut torn_end = String::new();
        while let Some(line) = lines.next()? {
            match read(&line) {
                Ok(record) if line.ended && walk.follows(&record) => {
                    walk.step(&record, line.number)?;
                    keep += line.bytes.len() as u64 + 1;
                }
                _ if !line.ended => torn_end = torn(&line),
                found => return Err(walk.blame_from(&line, found, &mut lines)?.into()),
            }
        }
        let head = walk.end()?.head;
        Ok(Resumed {
            chain: Self {
                log: head.log,
                next: head.seq + 1,
                last: head.hash,
            },
            keep,
            torn: torn_end,
        })
    }

    /// The next record.
    ///
    /// It is part of the chain from here on: if it cannot be kept, go back to a clone from before, or
    /// [`resume`](Self::resume) from what was kept. [`Log`] does so.
    #[must_use = "a record that is not kept breaks the chain"]
    pub fn append(&mut self, at_ms: i64, entry: &Entry<'_>) -> Record {
        self.link(at_ms, entry.kind(), entry)
    }

    /// Records that the torn end of a resumed chain was cut off.
    #[must_use = "a record that is not kept breaks the chain"]
    pub fn recovered(&mut self, at_ms: i64, torn: &str) -> Record {
        self.link(at_ms, "recovered", &Recovered { cut: torn })
    }

    fn link(&mut self, at_ms: i64, kind: &str, body: &impl Serialize) -> Record {
        // Nothing that is recorded has a map with keys that are no texts, the only thing JSON cannot say.
        let body =
            serde_json::to_string(body).unwrap_or_else(|error| format!("{{\"unwritable\":{:?}}}", error.to_string()));
        let record = Record::new(self.next, at_ms, kind, body, self.last);
        self.next += 1;
        self.last = record.hash;
        record
    }

    /// The end of the chain, to be kept elsewhere.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            log: self.log.clone(),
            seq: self.next - 1,
            hash: self.last,
        }
    }
}

/// A chain in a file, or whatever takes bytes. Each record is written and flushed before its head is told.
///
/// Whether flushed bytes outlive a power cut is the writer's matter: hand in one that syncs where that is needed.
#[derive(Debug)]
pub struct Log<W> {
    chain: Chain,
    to: W,
    failed: bool,
}

impl<W: Write> Log<W> {
    /// Begins a chain in an empty writer.
    ///
    /// # Errors
    /// That of the writer.
    pub fn begin(to: W, log: impl Into<String>, at_ms: i64) -> io::Result<Self> {
        let (chain, record) = Chain::begin(log, at_ms);
        let mut log = Self::go_on(chain, to);
        log.keep(&record)?;
        Ok(log)
    }

    /// Goes on behind what a chain has written, see [`Chain::resume`].
    pub const fn go_on(chain: Chain, to: W) -> Self {
        Self {
            chain,
            to,
            failed: false,
        }
    }

    /// Records one thing.
    ///
    /// # Errors
    /// That of the writer. It is not known then how much of the record was written, so nothing more is taken: resume.
    pub fn append(&mut self, at_ms: i64, entry: &Entry<'_>) -> io::Result<Record> {
        let mut chain = self.chain.clone();
        let record = chain.append(at_ms, entry);
        self.keep(&record)?;
        self.chain = chain;
        Ok(record)
    }

    /// Records that the torn end of a resumed chain was cut off.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn recovered(&mut self, at_ms: i64, torn: &str) -> io::Result<Record> {
        let mut chain = self.chain.clone();
        let record = chain.recovered(at_ms, torn);
        self.keep(&record)?;
        self.chain = chain;
        Ok(record)
    }

    fn keep(&mut self, record: &Record) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(
                "an earlier record could not be written; resume the chain first",
            ));
        }
        let mut line = record.line();
        line.push('\n');
        let kept = self.to.write_all(line.as_bytes()).and_then(|()| self.to.flush());
        self.failed = kept.is_err();
        kept
    }

    /// The end of the chain, to be kept elsewhere.
    #[must_use]
    pub fn head(&self) -> Head {
        self.chain.head()
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.to
    }
}
