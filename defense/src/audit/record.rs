//! One record, and its line of JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hash::Hash;

/// One record of a chain.
///
/// Its body is JSON kept to the byte: what was hashed is what stands in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its number; the first record of a chain is 0.
    pub seq: u64,
    /// When it was written, in unix milliseconds of the writer.
    pub at_ms: i64,
    /// What it is: `begin`, `rules`, `decision`, `command`, `effect`, or a kind of a later version.
    pub kind: String,
    /// What it says, as JSON in one line.
    pub body: String,
    /// The hash of the record before; zeros in the first.
    pub prev: Hash,
    /// The hash of all of the above.
    pub hash: Hash,
}

/// The fields of a line, in their order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    seq: u64,
    at_ms: i64,
    kind: String,
    #[serde(borrow)]
    body: &'l RawValue,
    prev: Hash,
    hash: Hash,
}

impl Record {
    pub(super) fn new(seq: u64, at_ms: i64, kind: &str, body: String, prev: Hash) -> Self {
        Self {
            hash: Hash::of_record(seq, at_ms, kind, &body, prev),
            seq,
            at_ms,
            kind: kind.to_owned(),
            body,
            prev,
        }
    }

    /// The record as one line of JSON, without the line break. Its fields have one order and one spelling.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            seq,
            at_ms,
            kind,
            body,
            prev,
            hash,
        } = self;
        // A kind is a bare word, see `parse`, so it needs no escapes.
        format!(r#"{{"seq":{seq},"at_ms":{at_ms},"kind":"{kind}","body":{body},"prev":"{prev}","hash":"{hash}"}}"#)
    }

    /// Reads one line. Whether its hash holds is [`intact`](Self::intact)'s to say.
    ///
    /// # Errors
    /// What is wrong with the line; also when it says the same in another spelling than [`line`](Self::line) writes,
    /// since somebody else wrote it then.
    pub fn parse(line: &str) -> Result<Self, String> {
        let Line {
            seq,
            at_ms,
            kind,
            body,
            prev,
            hash,
        } = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.') {
            return Err(format!("the kind {kind:?} is not a word of a-z, `_` and `.`"));
        }
        let record = Self {
            seq,
            at_ms,
            kind,
            body: body.get().to_owned(),
            prev,
            hash,
        };
        if record.line() != line {
            return Err("blanks, escapes or the order of fields are not those of the writer".to_owned());
        }
        Ok(record)
    }

    /// Whether the record's own hash is that of its content.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.hash == Hash::of_record(self.seq, self.at_ms, &self.kind, &self.body, self.prev)
    }
}
