//! Frames to bytes.

use super::{Frame, ListenerKind, MAX_DESCRIPTORS, MAX_FRAME, Status, WireError};
use crate::{BatchId, ConnectionId, Decline, Refusal};

/// Kinds of frames. Never used for anything else again once given.
pub(super) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const REFUSE: u8 = 2;
    pub(crate) const BEAT: u8 = 3;
    pub(crate) const LISTENERS: u8 = 4;
    pub(crate) const CLAIMS: u8 = 5;
    pub(crate) const SECRET: u8 = 6;
    pub(crate) const OFFER: u8 = 7;
    pub(crate) const REJECTED: u8 = 8;
    pub(crate) const ADOPTED: u8 = 9;
    pub(crate) const WITHDRAWN: u8 = 10;
    pub(crate) const RETURN: u8 = 11;
}

/// Tags of fields, for all frames.
pub(super) mod tag {
    pub(crate) const VERSIONS: u8 = 1;
    pub(crate) const NONCE: u8 = 2;
    pub(crate) const INSTANCE: u8 = 3;
    pub(crate) const GENERATION: u8 = 4;
    pub(crate) const CODEC: u8 = 5;
    pub(crate) const REASON: u8 = 6;
    pub(crate) const STATUS: u8 = 7;
    pub(crate) const PART: u8 = 8;
    /// Holds fields itself.
    pub(crate) const LISTENER: u8 = 9;
    pub(crate) const NAME: u8 = 10;
    pub(crate) const KIND: u8 = 11;
    pub(crate) const COOKIE: u8 = 12;
    pub(crate) const BYTES: u8 = 13;
    pub(crate) const BATCH: u8 = 14;
    /// Holds fields itself.
    pub(crate) const CONNECTION: u8 = 15;
    pub(crate) const ID: u8 = 16;
    pub(crate) const DESCRIPTORS: u8 = 17;
    pub(crate) const STATE: u8 = 18;
    pub(crate) const TURN: u8 = 19;
}

/// Bytes of a field beside its content.
const FIELD: usize = 5;

impl Frame {
    /// The frame as bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] and [`WireError::Descriptors`] for frames that no message can carry.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut out = Vec::with_capacity(128);
        match self {
            Self::Hello {
                versions,
                nonce,
                instance,
                generation,
                codecs,
            } => {
                out.push(kind::HELLO);
                field(&mut out, tag::VERSIONS, &[versions.0, versions.1]);
                field(&mut out, tag::NONCE, &nonce.to_le_bytes());
                field(&mut out, tag::INSTANCE, &instance.0.to_le_bytes());
                field(&mut out, tag::GENERATION, &generation.0.to_le_bytes());
                for codec in codecs {
                    field(&mut out, tag::CODEC, codec.as_bytes());
                }
            }
            Self::Refuse(refusal) => {
                out.push(kind::REFUSE);
                field(&mut out, tag::REASON, &[refusal_code(*refusal)]);
            }
            Self::Beat { status, turn } => {
                out.push(kind::BEAT);
                field(&mut out, tag::TURN, &turn.to_le_bytes());
                field(&mut out, tag::STATUS, &[status_bits(*status)]);
            }
            Self::Listeners { part, parts, listeners } => {
                out.push(kind::LISTENERS);
                let [a, b] = part.to_le_bytes();
                let [c, d] = parts.to_le_bytes();
                field(&mut out, tag::PART, &[a, b, c, d]);
                for listener in listeners {
                    nested(&mut out, tag::LISTENER, |out| {
                        field(out, tag::NAME, listener.name.as_bytes());
                        field(out, tag::KIND, &[listener_code(listener.kind)]);
                        field(out, tag::COOKIE, &listener.cookie.to_le_bytes());
                    });
                }
            }
            Self::Claims(cookies) => {
                out.push(kind::CLAIMS);
                for cookie in cookies {
                    field(&mut out, tag::COOKIE, &cookie.to_le_bytes());
                }
            }
            Self::Secret { name, bytes } => {
                out.push(kind::SECRET);
                field(&mut out, tag::NAME, name.as_bytes());
                field(&mut out, tag::BYTES, bytes.reveal());
            }
            Self::Offer { batch, connections } => {
                return offer(
                    *batch,
                    connections.iter().map(|one| Lent {
                        id: one.id,
                        codec: &one.codec,
                        descriptors: one.descriptors,
                        state: &one.state,
                    }),
                );
            }
            Self::Rejected { batch, connections } => {
                out.push(kind::REJECTED);
                field(&mut out, tag::BATCH, &batch.0.to_le_bytes());
                for (id, decline) in connections {
                    nested(&mut out, tag::CONNECTION, |out| {
                        field(out, tag::ID, &id.0.to_le_bytes());
                        field(out, tag::REASON, &[decline_code(*decline)]);
                    });
                }
            }
            Self::Adopted { batch } => {
                out.push(kind::ADOPTED);
                field(&mut out, tag::BATCH, &batch.0.to_le_bytes());
            }
            Self::Withdrawn { batch } => {
                out.push(kind::WITHDRAWN);
                field(&mut out, tag::BATCH, &batch.0.to_le_bytes());
            }
            Self::Return { generation, turn } => {
                out.push(kind::RETURN);
                field(&mut out, tag::TURN, &turn.to_le_bytes());
                field(&mut out, tag::GENERATION, &generation.0.to_le_bytes());
            }
            Self::Unknown(kind) => out.push(*kind),
        }
        bounded(out, self.descriptors())
    }
}

/// A connection at rest, lent for as long as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Lent<'a> {
    pub(crate) id: ConnectionId,
    pub(crate) codec: &'a str,
    pub(crate) descriptors: u8,
    pub(crate) state: &'a [u8],
}

/// [`Frame::Offer`] as one message.
pub(crate) fn offer<'a>(
    batch: BatchId,
    connections: impl Iterator<Item = Lent<'a>> + Clone,
) -> Result<Vec<u8>, WireError> {
    let each = connections
        .clone()
        .map(|one| snapshot_len(one.codec.len(), one.state.len()));
    let mut out = Vec::with_capacity(OFFER_HEAD + each.sum::<usize>());
    // The token comes first.
    let mut descriptors = 1;
    out.push(kind::OFFER);
    field(&mut out, tag::BATCH, &batch.0.to_le_bytes());
    for one in connections {
        descriptors += usize::from(one.descriptors);
        nested(&mut out, tag::CONNECTION, |out| {
            field(out, tag::ID, &one.id.0.to_le_bytes());
            field(out, tag::CODEC, one.codec.as_bytes());
            field(out, tag::DESCRIPTORS, &[one.descriptors]);
            field(out, tag::STATE, one.state);
        });
    }
    bounded(out, descriptors)
}

fn bounded(out: Vec<u8>, descriptors: usize) -> Result<Vec<u8>, WireError> {
    if out.len() > MAX_FRAME {
        return Err(WireError::TooLong { bytes: out.len() });
    }
    if descriptors > MAX_DESCRIPTORS {
        return Err(WireError::Descriptors {
            said: descriptors,
            came: MAX_DESCRIPTORS,
        });
    }
    Ok(out)
}

/// Bytes that a snapshot takes within an offer.
pub(crate) const fn snapshot_len(codec: usize, state: usize) -> usize {
    FIELD + (FIELD + 8) + (FIELD + codec) + (FIELD + 1) + FIELD.saturating_add(state)
}

/// Bytes of an offer beside its connections.
pub(crate) const OFFER_HEAD: usize = 1 + FIELD + 8;

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    // A field longer than 4 GiB makes the frame longer than MAX_FRAME, whatever its length says.
    let [a, b, c, d] = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend([tag, a, b, c, d]);
    out.extend(bytes);
}

fn nested(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    field(out, tag, &[]);
    let from = out.len();
    fill(out);
    let length = u32::try_from(out.len() - from).unwrap_or(u32::MAX).to_le_bytes();
    out[at + 1..from].copy_from_slice(&length);
}

fn status_bits(status: Status) -> u8 {
    let Status {
        holds,
        polls,
        ready,
        committed,
    } = status;
    u8::from(holds) | u8::from(polls) << 1 | u8::from(ready) << 2 | u8::from(committed) << 3
}

const fn listener_code(kind: ListenerKind) -> u8 {
    match kind {
        ListenerKind::Tcp => 1,
        ListenerKind::Unix => 2,
        ListenerKind::Udp => 3,
    }
}

const fn refusal_code(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::NoCommonVersion => 1,
        Refusal::Stranger => 2,
        Refusal::Stale => 3,
        Refusal::Busy => 4,
        Refusal::Itself => 5,
        Refusal::Unclaimed => 6,
        Refusal::OtherQueue => 7,
        Refusal::Garbled => 8,
        Refusal::Other => 9,
        Refusal::Silent => 10,
        Refusal::Leaving => 11,
        Refusal::Broken => 12,
    }
}

const fn decline_code(decline: Decline) -> u8 {
    match decline {
        Decline::NoCodec => 1,
        Decline::Tls => 2,
        Decline::TooLarge => 3,
        Decline::Busy => 4,
        Decline::BadState => 5,
        Decline::NoRoom => 6,
        Decline::Closing => 7,
        Decline::Other => 8,
    }
}
