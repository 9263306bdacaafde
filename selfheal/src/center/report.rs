//! What one observer saw since its last report, and how it travels.

use serde::{Deserialize, Serialize};

use super::ids::{NodeId, RouteId};

/// What one reporter saw of one target on one route since its last report.
///
/// Unit: calls. `failed` and `slow` are disjoint, and both at most `total` together; the rest was answered well and in
/// time. Calls that say nothing about the target (the client went away, a limiter refused) are not among them:
/// [`Ending::charge`](crate::Ending::charge) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a wire format: both sides name every field")]
pub struct Seen {
    /// The node that was called.
    pub target: NodeId,
    /// What for; [`RouteId::ANY`] if requests are not told apart.
    pub route: RouteId,
    /// Calls that ended.
    pub total: u32,
    /// Of these, failed.
    pub failed: u32,
    /// Of these, answered much later than the reporter's other targets answer.
    pub slow: u32,
}

/// A report: sums since the last one, never totals, so that a lost one costs its own counts and nothing else.
///
/// Who sends it is not in it. The transport knows (from the peer's certificate, say) and tells
/// [`Center::receive`](super::Center::receive), so nobody can speak for somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a wire format: both sides name every field")]
pub struct Report {
    /// The reporter's life: grows with each restart (unix seconds of its start will do).
    pub epoch: u64,
    /// The number of the report in this life, from 1.
    pub sequence: u64,
    /// What was seen, by target and route, strictly ascending. May be empty: a sign of life.
    pub seen: Vec<Seen>,
}

/// Why bytes are no report. The sender is at fault, and nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// More bytes than a report may have.
    #[error("a report of {bytes} bytes; at most {limit} are read: split it")]
    Oversized {
        /// How many there are.
        bytes: usize,
        /// [`Report::MAX_BYTES`].
        limit: usize,
    },
    /// More lines than a report may have.
    #[error("a report of {lines} lines; at most {limit} are read: split it")]
    TooManyLines {
        /// How many there are.
        lines: usize,
        /// [`Report::MAX_LINES`].
        limit: usize,
    },
    /// A version this center does not read.
    #[error("a report of version {version}; this center reads version {known}: update whichever is older")]
    Version {
        /// The first byte.
        version: u8,
        /// [`Report::VERSION`].
        known: u8,
    },
    /// The bytes break off, go on after the end, or are none of ours.
    #[error("the bytes are no report of version {known}")]
    Malformed {
        /// [`Report::VERSION`].
        known: u8,
    },
    /// Reports are numbered from 1.
    #[error("a report without a number: `sequence` begins with 1")]
    Unnumbered,
    /// Lines out of order or twice.
    #[error("line {line} does not come after the one before it: sort by target and route, each once")]
    Unsorted {
        /// From 0.
        line: usize,
    },
    /// More failed and slow calls than calls.
    #[error("line {line} has more failed and slow calls than calls")]
    Counts {
        /// From 0.
        line: usize,
    },
}

impl Report {
    /// The version that [`encode`](Self::encode) writes and [`decode`](Self::decode) reads: the first byte.
    pub const VERSION: u8 = 1;
    /// Lines in one report.
    pub const MAX_LINES: usize = 4_096;
    /// Bytes of one report: a line takes 25 at most.
    pub const MAX_BYTES: usize = 32 + Self::MAX_LINES * 25;

    /// The bytes: a version, then `postcard`.
    ///
    /// # Errors
    ///
    /// [`ReportError`] for what [`decode`](Self::decode) would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, ReportError> {
        self.check()?;
        // Writing into a vector fails for types that serde cannot express only; these are plain numbers.
        postcard::to_extend(self, vec![Self::VERSION]).map_err(|_| ReportError::Malformed { known: Self::VERSION })
    }

    /// The report in these bytes.
    ///
    /// # Errors
    ///
    /// [`ReportError`], before anything of that size is allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(ReportError::Oversized {
                bytes: bytes.len(),
                limit: Self::MAX_BYTES,
            });
        }
        let malformed = ReportError::Malformed { known: Self::VERSION };
        let (version, rest) = bytes.split_first().ok_or(malformed)?;
        if *version != Self::VERSION {
            return Err(ReportError::Version {
                version: *version,
                known: Self::VERSION,
            });
        }
        let (report, after): (Self, _) = postcard::take_from_bytes(rest).map_err(|_| malformed)?;
        if !after.is_empty() {
            return Err(malformed);
        }
        report.check()?;
        Ok(report)
    }

    /// Whether the contents make sense, however they came here.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        if self.seen.len() > Self::MAX_LINES {
            return Err(ReportError::TooManyLines {
                lines: self.seen.len(),
                limit: Self::MAX_LINES,
            });
        }
        if self.sequence == 0 {
            return Err(ReportError::Unnumbered);
        }
        let mut before = None;
        for (line, seen) in self.seen.iter().enumerate() {
            let key = Some((seen.target, seen.route));
            if key <= before {
                return Err(ReportError::Unsorted { line });
            }
            if u64::from(seen.failed) + u64::from(seen.slow) > u64::from(seen.total) {
                return Err(ReportError::Counts { line });
            }
            before = key;
        }
        Ok(())
    }
}
