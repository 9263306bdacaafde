//! What a center tells all reporters, every period: everything that holds, so that a lost message costs nothing.

use serde::{Deserialize, Serialize};

use super::ids::{NodeId, ServiceId, ZoneId};
use super::slots::Slots;

/// The number of a bulletin. It only grows, over restarts of the center as well: `term` is the embedder's, and grows
/// with each center that takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "two numbers that are compared in this order")]
pub struct Epoch {
    /// Of the center.
    pub term: u64,
    /// Within the term, from 1.
    pub number: u64,
}

/// For whom an isolation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "whoever obeys must decide for each")]
pub enum Scope {
    /// All reporters.
    Everywhere,
    /// Reporters of this zone: from others the node answers.
    From(ZoneId),
}

/// A node that is out of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Isolation {
    /// Which.
    pub node: NodeId,
    /// For whom.
    pub scope: Scope,
    /// It is coming back, and these may use it.
    pub slots: Option<Slots>,
}

/// A node that is in use and is to get less than its share of the calls: it answers late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a node and its share")]
pub struct SubHealthy {
    /// Which.
    pub node: NodeId,
    /// Thousandths of its usual share, below 1,000.
    pub weight_permille: u16,
}

/// From one zone, another is not to be used as long as others are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Way {
    /// Zone of the callers.
    pub from: ZoneId,
    /// Zone to avoid.
    pub to: ZoneId,
}

/// All that holds now, for `lease_ms` from its receipt and not longer. [`Follower`](super::Follower) obeys it.
///
/// Times are spans, never moments: the clocks of center and reporters need not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bulletin {
    /// Larger than that of every bulletin before.
    pub epoch: Epoch,
    /// How long it holds.
    pub lease_ms: u64,
    /// Nodes out of use, by number.
    pub isolations: Vec<Isolation>,
    /// Nodes in use that are to get less, by number; none of them is among the isolations.
    pub sub_healthy: Vec<SubHealthy>,
    /// Reporters whose view of the world is wrong, by number: they lift their own isolations.
    pub distrusted: Vec<NodeId>,
    /// Services that fail of a common cause, by number: nobody isolates their nodes.
    pub frozen: Vec<ServiceId>,
    /// Ways to avoid, in order.
    pub avoid: Vec<Way>,
}

/// Why bytes are no bulletin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BulletinError {
    /// More bytes than a bulletin may have.
    #[error("a bulletin of {bytes} bytes; at most {limit} are read")]
    Oversized {
        /// How many there are.
        bytes: usize,
        /// [`Bulletin::MAX_BYTES`].
        limit: usize,
    },
    /// Another version.
    #[error("a bulletin of version {version}; this reporter reads version {known}: update whichever is older")]
    Version {
        /// The first byte.
        version: u8,
        /// [`Bulletin::VERSION`].
        known: u8,
    },
    /// The bytes break off, go on after the end, or are none of ours.
    #[error("the bytes are no bulletin of version {known}")]
    Malformed {
        /// [`Bulletin::VERSION`].
        known: u8,
    },
}

impl Bulletin {
    /// The version that [`encode`](Self::encode) writes: the first byte.
    pub const VERSION: u8 = 1;
    /// Bytes of one bulletin.
    pub const MAX_BYTES: usize = 4 << 20;

    /// The bytes: a version, then `postcard`.
    ///
    /// # Errors
    ///
    /// [`BulletinError::Oversized`] beyond [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn encode(&self) -> Result<Vec<u8>, BulletinError> {
        let malformed = BulletinError::Malformed { known: Self::VERSION };
        let bytes = postcard::to_extend(self, vec![Self::VERSION]).map_err(|_| malformed)?;
        fits(bytes.len()).map(|()| bytes)
    }

    /// The bulletin in these bytes.
    ///
    /// # Errors
    ///
    /// [`BulletinError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BulletinError> {
        fits(bytes.len())?;
        let malformed = BulletinError::Malformed { known: Self::VERSION };
        let (version, rest) = bytes.split_first().ok_or(malformed)?;
        if *version != Self::VERSION {
            return Err(BulletinError::Version {
                version: *version,
                known: Self::VERSION,
            });
        }
        match postcard::take_from_bytes(rest) {
            Ok((bulletin, [])) => Ok(bulletin),
            _ => Err(malformed),
        }
    }
}

const fn fits(bytes: usize) -> Result<(), BulletinError> {
    if bytes > Bulletin::MAX_BYTES {
        return Err(BulletinError::Oversized {
            bytes,
            limit: Bulletin::MAX_BYTES,
        });
    }
    Ok(())
}
