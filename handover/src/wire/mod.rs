//! What the two processes say to each other: one frame a message, on a socket that keeps messages apart and in order.
//!
//! ```text
//!  frame   = kind:u8  field*
//!  field   = tag:u8  length:u32le  bytes[length]
//! ```
//!
//! Numbers are little endian. A receiver passes over tags that it does not know, and over frames whose kind it does not
//! know: that is how a later version may say more. What it must understand is agreed upon in the first frames by a range
//! of versions; without a common one the hand-over is refused and nothing has happened.

mod read;
mod write;

pub(crate) use write::{Lent, OFFER_HEAD, offer, snapshot_len};

pub use read::WireError;

use std::sync::Arc;

use crate::{BatchId, ConnectionId, Decline, Generation, InstanceId, Refusal};

/// The oldest and the newest version of the wire that this crate speaks.
pub const VERSIONS: (u8, u8) = (1, 1);

/// A frame is at most so long, in bytes: it must fit the buffer of a socket as the kernel makes it.
pub const MAX_FRAME: usize = 64 * 1024;

/// Most descriptors in one message. The kernel takes 253; one of them is a batch's token.
pub const MAX_DESCRIPTORS: usize = 250;

/// Most descriptors of one connection.
pub const MAX_CONNECTION_DESCRIPTORS: u8 = 8;

/// How the process on the other side stands, as it says itself with each beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "each side tells all of it")]
pub struct Status {
    /// It holds the listeners.
    pub holds: bool,
    /// It polls them.
    pub polls: bool,
    /// Its self-checks passed.
    pub ready: bool,
    /// It is the one that serves the target from now on.
    pub committed: bool,
}

/// What kind of queue a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ListenerKind {
    /// Accepts TCP connections.
    Tcp,
    /// Accepts connections on a path.
    Unix,
    /// Receives datagrams.
    Udp,
}

/// One listener, in the order of the descriptors that come with the frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "written and read as a whole")]
pub struct Listener {
    /// What the program calls it: 1 to 220 bytes, unique.
    pub name: String,
    /// What it is.
    pub kind: ListenerKind,
    /// The kernel's number of the open socket, the same in both processes only if the queue is the same.
    pub cookie: u64,
}

/// A connection that stands still, as its codec wrote it down. Prints without its state, in which is what clients have said.
#[derive(Clone, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "written and read as a whole")]
pub struct Snapshot {
    /// Which connection.
    pub id: ConnectionId,
    /// The codec that wrote it, with the version of what it wrote: `http1/1`.
    pub codec: Arc<str>,
    /// Descriptors that belong to it, 1 to 8: the client's side first.
    pub descriptors: u8,
    /// The codec's state, unread bytes included.
    pub state: Vec<u8>,
}

impl core::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            id,
            codec,
            descriptors,
            state,
        } = self;
        write!(
            f,
            "Snapshot({id}, {codec}, {descriptors} descriptors, {} bytes)",
            state.len()
        )
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Frame {
    /// The first one, from both sides.
    Hello {
        /// Oldest and newest version that the sender speaks.
        versions: (u8, u8),
        /// Names the session; the one who was called repeats it.
        nonce: u64,
        /// Who speaks.
        instance: InstanceId,
        /// The attempt it belongs to.
        generation: Generation,
        /// Codecs that the sender can read.
        codecs: Vec<String>,
    },
    /// The sender wants nothing to do with the other, and closes.
    Refuse(Refusal),
    /// Still here; the lease of the other goes on.
    Beat {
        /// How the sender stands.
        status: Status,
        /// Of the sender's [`Return`](Self::Return)s the last one, or of those that it was sent: what it says of itself is of
        /// after that.
        turn: u32,
    },
    /// Listeners, each with its descriptor, in parts of at most [`MAX_DESCRIPTORS`].
    Listeners {
        /// 0 to `parts` - 1, in order.
        part: u16,
        /// At least 1.
        parts: u16,
        /// In the order of the descriptors.
        listeners: Vec<Listener>,
    },
    /// The listeners that the sender took as its own, by cookie.
    Claims(Vec<u64>),
    /// Keys and the like that later connections need: a name, and bytes that nobody prints.
    Secret {
        /// What they are for, 1 to 220 bytes.
        name: String,
        /// The bytes.
        bytes: Secret,
    },
    /// Connections that stand still, with a token first among the descriptors: who takes the token owns them.
    Offer {
        /// Names the offer.
        batch: BatchId,
        /// In the order of the descriptors.
        connections: Vec<Snapshot>,
    },
    /// Connections of an offer that the sender will not take. Said before it takes the token.
    Rejected {
        /// Of which offer.
        batch: BatchId,
        /// Which, and why.
        connections: Vec<(ConnectionId, Decline)>,
    },
    /// The sender took the token: what it has not rejected is its own.
    Adopted {
        /// Of which offer.
        batch: BatchId,
    },
    /// The sender took the token of its own offer back: nothing of it is the other's.
    Withdrawn {
        /// Of which offer.
        batch: BatchId,
    },
    /// Stop polling, and give all connections back.
    Return {
        /// Of the attempt that turns back.
        generation: Generation,
        /// How many there were in this session, this one included.
        turn: u32,
    },
    /// A kind that this version does not know.
    Unknown(u8),
}

/// Bytes that are not for anybody's eyes: they print as their number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes in.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Not a promise against an optimiser, which the language cannot give without unsafe code; `black_box` is the nearest to it.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    core::hint::black_box(bytes);
}

impl Frame {
    /// How many descriptors must come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Listeners { listeners, .. } => listeners.len(),
            Self::Offer { connections, .. } => {
                1 + connections
                    .iter()
                    .map(|one| usize::from(one.descriptors))
                    .sum::<usize>()
            }
            _ => 0,
        }
    }
}
