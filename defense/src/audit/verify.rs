//! Whether a chain is whole, and if not, the first record where it is not, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

use super::anchor::Head;
use super::entry::{BEGIN, Begin};
use super::hash::Hash;
use super::record::Record;

/// The longest line that is read, in bytes. A longer one is not a record.
const LINE_LIMIT: usize = 16 << 20;

/// What was done to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tamper {
    /// The record does not say what it said when it was written.
    Changed,
    /// Records are missing before one that is there.
    Removed,
    /// A line stands where none was written.
    Inserted,
    /// The record is there, but in another place.
    Reordered,
    /// The chain ends before a head that is known of it, or has not even a first record.
    Truncated,
    /// The last line is only half there, as when the writer was killed. [`Chain::resume`](super::Chain::resume) mends it.
    Torn,
    /// The chain is consistent, and is not the one that was anchored: somebody computed it anew.
    Rewritten,
    /// The chain has another name than the anchor.
    OtherChain,
}

impl Tamper {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Torn => "torn",
            Self::Rewritten => "rewritten",
            Self::OtherChain => "other_chain",
        }
    }
}

impl fmt::Display for Tamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first record at which a chain is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("record {seq} (line {line}): {how}: {detail}")]
#[non_exhaustive]
pub struct Broken {
    /// The number of the record: the one changed, missing, or displaced; for a line too many, the one expected there.
    pub seq: u64,
    /// The line where it shows, from 1.
    pub line: u64,
    /// What was done.
    pub how: Tamper,
    /// The same in a sentence.
    pub detail: String,
}

/// Why a chain could not be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It could not be read to its end, so nothing is known of it.
    #[error("cannot read the chain: {0}")]
    Unreadable(#[from] io::Error),
}

/// A chain that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verified {
    /// Its end. Keep it elsewhere: the next verification can hold the chain against it.
    pub head: Head,
    /// How many records it has.
    pub records: u64,
    /// How many of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// The number of the last record that an anchor vouches for. What follows it is consistent in itself, which
    /// somebody who can write the file can make it; `None` when there was no anchor.
    pub anchored: Option<u64>,
}

/// Reads a chain of JSON lines and holds it against the heads that are known of it.
///
/// A whole chain is read once and never held in memory. A broken one is read to its end, to tell what was done.
///
/// # Errors
/// The first broken record and how, or that the reader failed.
pub fn verify(chain: impl BufRead, anchors: &[Head]) -> Result<Verified, VerifyError> {
    let mut walk = Walk::new(anchors);
    let mut lines = Lines::new(chain);
    while let Some(line) = lines.next()? {
        let record = match read(&line) {
            Ok(record) if line.ended && walk.follows(&record) => record,
            found => return Err(walk.blame_from(&line, found, &mut lines)?.into()),
        };
        walk.step(&record, line.number)?;
    }
    Ok(walk.end()?)
}

/// A line of the file, without its line break.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether a line break ends it.
    pub(super) ended: bool,
}

/// The lines of a reader, bounded in length.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(LINE_LIMIT + 1).unwrap_or(u64::MAX);
        if (&mut self.reader).take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut ended = bytes.last() == Some(&b'\n');
        if ended {
            bytes.pop();
        }
        if bytes.len() > LINE_LIMIT {
            // What follows belongs to the same line; none of it can be a record, torn or not.
            self.reader.skip_until(b'\n')?;
            bytes.truncate(80);
            ended = true;
        }
        Ok(Some(Line {
            number: self.number,
            bytes,
            ended,
        }))
    }
}

/// The record of a line, if it is one and says what it said when it was written.
pub(super) fn read(line: &Line) -> Result<Record, Unread> {
    let text = std::str::from_utf8(&line.bytes).map_err(|_| Unread::NoRecord("it is not UTF-8".to_owned()))?;
    let record = Record::parse(text).map_err(Unread::NoRecord)?;
    if record.intact() {
        Ok(record)
    } else {
        Err(Unread::NotIntact)
    }
}

/// The text of a line that breaks off, shortened.
pub(super) fn torn(line: &Line) -> String {
    String::from_utf8_lossy(&line.bytes).chars().take(1_000).collect()
}

/// Why a line is no record.
pub(super) enum Unread {
    /// It cannot be read as one.
    NoRecord(String),
    /// Its hash is not that of its content.
    NotIntact,
}

/// What is kept of the lines after a break.
struct Light {
    line: u64,
    ended: bool,
    /// Number, the hash before, and the own one of an intact record; otherwise what is wrong.
    found: Result<(u64, Hash, Hash), String>,
}

impl Light {
    fn of(line: &Line, record: Result<Record, Unread>) -> Self {
        Self {
            line: line.number,
            ended: line.ended,
            found: match record {
                Ok(record) => Ok((record.seq, record.prev, record.hash)),
                Err(Unread::NotIntact) => Err("its content does not have its hash".to_owned()),
                Err(Unread::NoRecord(why)) => Err(format!("it is not a record any more: {why}")),
            },
        }
    }
}

/// The way along a chain.
pub(super) struct Walk<'a> {
    /// Heads by the number of their record.
    anchors: BTreeMap<u64, Vec<&'a Head>>,
    log: String,
    next: u64,
    last: Hash,
    /// The hash before the last.
    before_last: Hash,
    kinds: BTreeMap<String, u64>,
    anchored: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(anchors: &'a [Head]) -> Self {
        let mut by_seq: BTreeMap<u64, Vec<&Head>> = BTreeMap::new();
        for head in anchors {
            by_seq.entry(head.seq).or_default().push(head);
        }
        Self {
            anchors: by_seq,
            log: String::new(),
            next: 0,
            last: Hash::START,
            before_last: Hash::START,
            kinds: BTreeMap::new(),
            anchored: None,
        }
    }

    /// Whether this is the next record.
    pub(super) fn follows(&self, record: &Record) -> bool {
        record.seq == self.next && record.prev == self.last
    }

    /// Takes a record that follows.
    pub(super) fn step(&mut self, record: &Record, line: u64) -> Result<(), Broken> {
        let seq = record.seq;
        let broken = |seq, how, detail| Err(Broken { seq, line, how, detail });
        if seq == 0 {
            match serde_json::from_str::<Begin>(&record.body) {
                Ok(begin) if record.kind == BEGIN => self.log = begin.log,
                _ => {
                    let detail = "a chain begins with a record of the kind `begin` that names it".to_owned();
                    return broken(0, Tamper::Changed, detail);
                }
            }
            if let Some(other) = self.anchors.values().flatten().find(|head| head.log != self.log) {
                let detail = format!("this is the chain {:?}; the anchor is of {:?}", self.log, other.log);
                return broken(0, Tamper::OtherChain, detail);
            }
        }
        if let Some(heads) = self.anchors.get(&seq) {
            if heads.iter().any(|head| head.hash != record.hash) {
                let first = self.anchored.map_or(0, |good| good + 1);
                let detail = format!(
                    "the anchor knows record {seq} by another hash, so one of the records {first} to {seq} was changed \
                     and the chain computed anew from there"
                );
                return broken(first, Tamper::Rewritten, detail);
            }
            self.anchored = Some(seq);
        }
        self.next = seq + 1;
        self.before_last = record.prev;
        self.last = record.hash;
        *self.kinds.entry(record.kind.clone()).or_default() += 1;
        Ok(())
    }

    /// The end of the file.
    pub(super) fn end(self) -> Result<Verified, Broken> {
        let truncated = |detail| Broken {
            seq: self.next,
            line: self.next + 1,
            how: Tamper::Truncated,
            detail,
        };
        if let Some(known) = self.anchors.keys().next_back()
            && *known >= self.next
        {
            return Err(truncated(format!(
                "the anchor knows records up to {known}; {} are missing at the end",
                known - self.next + 1
            )));
        }
        let Some(seq) = self.next.checked_sub(1) else {
            return Err(truncated("there is not even a first record".to_owned()));
        };
        Ok(Verified {
            head: Head {
                log: self.log,
                seq,
                hash: self.last,
            },
            records: self.next,
            kinds: self.kinds,
            anchored: self.anchored,
        })
    }

    /// What was done, given the line that does not follow; reads all after it.
    pub(super) fn blame_from(
        &self,
        line: &Line,
        found: Result<Record, Unread>,
        lines: &mut Lines<impl BufRead>,
    ) -> io::Result<Broken> {
        let mut rest = vec![Light::of(line, found)];
        while let Some(line) = lines.next()? {
            let record = read(&line);
            rest.push(Light::of(&line, record));
        }
        Ok(self.blame(&rest))
    }

    fn blame(&self, rest: &[Light]) -> Broken {
        let expected = self.next;
        let here = &rest[0];
        let broken = |seq, how, detail| Broken {
            seq,
            line: here.line,
            how,
            detail,
        };
        // The record that should stand here, if it stands anywhere.
        let proper = rest
            .iter()
            .find(|light| matches!(light.found, Ok((seq, prev, _)) if seq == expected && prev == self.last));
        let (seq, prev, hash) = match (&here.found, proper) {
            (Err(_), Some(proper)) => {
                let detail = format!(
                    "this line is none of the chain's; record {expected} follows in line {}",
                    proper.line
                );
                return broken(expected, Tamper::Inserted, detail);
            }
            (Err(why), None) if rest.len() == 1 && !here.ended => {
                let detail = format!("the last line breaks off: {why}");
                return broken(expected, Tamper::Torn, detail);
            }
            (Err(why), None) => return broken(expected, Tamper::Changed, why.clone()),
            (Ok(found), _) => *found,
        };
        if seq == expected && prev == self.last {
            let detail = "no line break ends the last line, so it may not be all of it".to_owned();
            return broken(expected, Tamper::Torn, detail);
        }
        let goes_on = rest
            .get(1)
            .is_none_or(|next| matches!(next.found, Ok((_, prev, _)) if prev == hash));
        if let Some(proper) = proper {
            // A record that was moved here still knows the one before it, and is nowhere else.
            let others = || rest[1..].iter().filter_map(|light| light.found.as_ref().ok());
            let moved = seq > expected
                && others().any(|(_, _, other)| *other == prev)
                && !others().any(|(other, ..)| *other == seq);
            return if moved {
                let detail = format!(
                    "record {seq} stands here; record {expected} follows only in line {}",
                    proper.line
                );
                broken(expected, Tamper::Reordered, detail)
            } else {
                let detail = format!(
                    "a record with the number {seq} stands here, before record {expected} in line {}",
                    proper.line
                );
                broken(expected, Tamper::Inserted, detail)
            };
        }
        if seq + 1 == expected && prev == self.before_last && rest.len() > 1 && goes_on {
            return Broken {
                seq,
                line: here.line - 1,
                how: Tamper::Inserted,
                detail: format!("two records have the number {seq}, and the chain goes on from the second"),
            };
        }
        if seq < expected {
            let detail = format!("another record with the number {seq}, after record {}", expected - 1);
            return broken(expected, Tamper::Inserted, detail);
        }
        if seq > expected {
            let detail = match seq - expected {
                1 => format!("record {expected} is missing; record {seq} stands in its place"),
                missing => format!("records {expected} to {} ({missing}) are missing", seq - 1),
            };
            return broken(expected, Tamper::Removed, detail);
        }
        // The number is right and the own hash holds, but it was made after another record than the one before.
        match expected.checked_sub(1) {
            Some(before) if goes_on && self.anchored != Some(before) => Broken {
                seq: before,
                line: here.line - 1,
                how: Tamper::Changed,
                detail: format!("it was given a new hash, but record {expected} still knows the old one"),
            },
            Some(before) => broken(
                expected,
                Tamper::Changed,
                format!("it does not follow record {before}: another record was put in its place"),
            ),
            None => broken(0, Tamper::Changed, "a first record follows no other".to_owned()),
        }
    }
}
