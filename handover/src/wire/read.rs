//! Bytes to frames. Whatever comes in, the answer is a frame or an error.

use std::sync::Arc;

use thiserror::Error;

use super::write::{kind, tag};
use super::{
    Frame, Listener, ListenerKind, MAX_CONNECTION_DESCRIPTORS, MAX_DESCRIPTORS, MAX_FRAME, Secret, Snapshot, Status,
};
use crate::{BatchId, ConnectionId, Decline, Generation, InstanceId, Refusal};

/// Longest name of a listener, codec or secret, in bytes: so that a whole part of listeners fits one message, however long their names are.
const MAX_NAME: usize = 220;

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// No kind.
    #[error("an empty message is no frame")]
    Empty,
    /// Larger than any frame.
    #[error("a frame of {bytes} bytes; at most {MAX_FRAME} fit one message")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Ends within a field.
    #[error("the frame of kind {kind} ends within a field at byte {at}")]
    Truncated {
        /// Its kind.
        kind: u8,
        /// Where the field begins.
        at: usize,
    },
    /// A field that must be there is not.
    #[error("the frame of kind {kind} has no field {tag}")]
    Missing {
        /// Its kind.
        kind: u8,
        /// The field's tag.
        tag: u8,
    },
    /// A field has a value that it cannot have.
    #[error("field {tag} of the frame of kind {kind}: {what}")]
    Field {
        /// Its kind.
        kind: u8,
        /// The field's tag.
        tag: u8,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Descriptors and what is said about them differ.
    #[error("the frame is about {said} descriptors and {came} came with it")]
    Descriptors {
        /// By the frame.
        said: usize,
        /// In the message.
        came: usize,
    },
}

impl Frame {
    /// Reads a frame from a message, with which `descriptors` came.
    ///
    /// # Errors
    ///
    /// [`WireError`] for anything that is not exactly one frame with its descriptors. Frames and fields that this version
    /// does not know are no error.
    pub fn decode(bytes: &[u8], descriptors: usize) -> Result<Self, WireError> {
        if bytes.len() > MAX_FRAME {
            return Err(WireError::TooLong { bytes: bytes.len() });
        }
        let frame = Self::decode_unchecked(bytes)?;
        let said = frame.descriptors();
        // Those of an unknown frame are closed by who received them.
        if said != descriptors && !matches!(frame, Self::Unknown(_)) || said > MAX_DESCRIPTORS {
            return Err(WireError::Descriptors {
                said,
                came: descriptors,
            });
        }
        Ok(frame)
    }

    /// As [`decode`](Self::decode), whatever came with the message.
    pub(crate) fn decode_unchecked(bytes: &[u8]) -> Result<Self, WireError> {
        let (&kind, rest) = bytes.split_first().ok_or(WireError::Empty)?;
        decode(kind, Fields { kind, rest, at: 1 })
    }
}

fn decode(kind: u8, fields: Fields<'_>) -> Result<Frame, WireError> {
    // Everything is read through once, so that what is truncated shows whatever is looked for.
    for field in fields {
        field?;
    }
    Ok(match kind {
        kind::HELLO => Frame::Hello {
            versions: {
                let [low, high] = fields.array(tag::VERSIONS)?;
                if low == 0 || low > high {
                    return Err(fields.wrong(tag::VERSIONS, "a range of versions from 1 on, the oldest first"));
                }
                (low, high)
            },
            nonce: u64::from_le_bytes(fields.array(tag::NONCE)?),
            instance: InstanceId(u128::from_le_bytes(fields.array(tag::INSTANCE)?)),
            generation: Generation(u64::from_le_bytes(fields.array(tag::GENERATION)?)),
            codecs: fields
                .all(tag::CODEC)
                .map(|bytes| fields.name(tag::CODEC, bytes))
                .collect::<Result<_, _>>()?,
        },
        kind::REFUSE => Frame::Refuse(refusal(fields.byte(tag::REASON)?)),
        kind::BEAT => Frame::Beat {
            status: status(fields.byte(tag::STATUS)?),
            turn: fields.turn()?,
        },
        kind::LISTENERS => listeners(fields)?,
        kind::CLAIMS => Frame::Claims(
            fields
                .all(tag::COOKIE)
                .map(|bytes| Ok(u64::from_le_bytes(fields.sized(tag::COOKIE, bytes)?)))
                .collect::<Result<_, _>>()?,
        ),
        kind::SECRET => Frame::Secret {
            name: fields.name(tag::NAME, fields.one(tag::NAME)?)?,
            bytes: Secret::new(fields.one(tag::BYTES)?.to_vec()),
        },
        kind::OFFER => offer(fields)?,
        kind::REJECTED => Frame::Rejected {
            batch: fields.batch()?,
            connections: fields
                .all(tag::CONNECTION)
                .map(|bytes| {
                    let one = fields.inside(bytes);
                    let id = ConnectionId(u64::from_le_bytes(one.array(tag::ID)?));
                    Ok((id, decline(one.byte(tag::REASON)?)))
                })
                .collect::<Result<_, _>>()?,
        },
        kind::ADOPTED => Frame::Adopted { batch: fields.batch()? },
        kind::WITHDRAWN => Frame::Withdrawn { batch: fields.batch()? },
        kind::RETURN => Frame::Return {
            generation: Generation(u64::from_le_bytes(fields.array(tag::GENERATION)?)),
            turn: fields.turn()?,
        },
        other => Frame::Unknown(other),
    })
}

fn listeners(fields: Fields<'_>) -> Result<Frame, WireError> {
    let [a, b, c, d] = fields.array(tag::PART)?;
    let (part, parts) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    if part >= parts {
        return Err(fields.wrong(tag::PART, "a part below the number of parts"));
    }
    let listeners = fields
        .all(tag::LISTENER)
        .map(|bytes| {
            let one = fields.inside(bytes);
            Ok(Listener {
                name: one.name(tag::NAME, one.one(tag::NAME)?)?,
                kind: match one.byte(tag::KIND)? {
                    1 => ListenerKind::Tcp,
                    2 => ListenerKind::Unix,
                    3 => ListenerKind::Udp,
                    _ => return Err(one.wrong(tag::KIND, "no kind of listener that this version knows")),
                },
                cookie: u64::from_le_bytes(one.array(tag::COOKIE)?),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Frame::Listeners { part, parts, listeners })
}

fn offer(fields: Fields<'_>) -> Result<Frame, WireError> {
    let mut connections: Vec<Snapshot> = Vec::with_capacity(MAX_DESCRIPTORS);
    for bytes in fields.all(tag::CONNECTION) {
        let codec = connections.last().map(|before| &before.codec);
        connections.push(snapshot(fields.inside(bytes), codec)?);
    }
    if connections.is_empty() {
        return Err(WireError::Missing {
            kind: fields.kind,
            tag: tag::CONNECTION,
        });
    }
    // Most come in order, and are known to differ then.
    if !connections.is_sorted_by(|one, next| one.id < next.id) {
        let mut ids: Vec<ConnectionId> = connections.iter().map(|one| one.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(fields.wrong(tag::CONNECTION, "the same connection twice"));
        }
    }
    Ok(Frame::Offer {
        batch: fields.batch()?,
        connections,
    })
}

/// One connection of an offer, in one pass: a batch has up to 249. `before`: the codec of the one before, which is mostly
/// that of this one.
fn snapshot(fields: Fields<'_>, before: Option<&Arc<str>>) -> Result<Snapshot, WireError> {
    let (mut id, mut codec, mut descriptors, mut state) = (None, None, None, None);
    for (tag, bytes) in fields.map_while(Result::ok) {
        let found = match tag {
            tag::ID => &mut id,
            tag::CODEC => &mut codec,
            tag::DESCRIPTORS => &mut descriptors,
            tag::STATE => &mut state,
            _ => continue,
        };
        // The first of its tag, as everywhere.
        found.get_or_insert(bytes);
    }
    let missing = |tag| WireError::Missing { kind: fields.kind, tag };
    let [descriptors] = fields.sized(tag::DESCRIPTORS, descriptors.ok_or_else(|| missing(tag::DESCRIPTORS))?)?;
    if !(1..=MAX_CONNECTION_DESCRIPTORS).contains(&descriptors) {
        return Err(fields.wrong(tag::DESCRIPTORS, "a connection has 1 to 8 descriptors"));
    }
    let codec = codec.ok_or_else(|| missing(tag::CODEC))?;
    let codec = match before.filter(|before| before.as_bytes() == codec) {
        Some(same) => Arc::clone(same),
        None => fields.name(tag::CODEC, codec)?.into(),
    };
    let id = fields.sized(tag::ID, id.ok_or_else(|| missing(tag::ID))?)?;
    Ok(Snapshot {
        id: ConnectionId(u64::from_le_bytes(id)),
        codec,
        descriptors,
        state: state.ok_or_else(|| missing(tag::STATE))?.to_vec(),
    })
}

/// The fields of a frame that are left to read.
#[derive(Clone, Copy)]
struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.split();
        if field.is_none() {
            let error = WireError::Truncated {
                kind: self.kind,
                at: self.at,
            };
            self.rest = &[];
            return Some(Err(error));
        }
        field.map(Ok)
    }
}

impl<'a> Fields<'a> {
    fn split(&mut self) -> Option<(u8, &'a [u8])> {
        let ([tag, a, b, c, d], rest) = self.rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        self.at += self.rest.len() - rest.len();
        self.rest = rest;
        Some((*tag, bytes))
    }

    /// Fields within one of these.
    fn inside(self, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, ..self }
    }

    fn all(self, wanted: u8) -> impl Iterator<Item = &'a [u8]> {
        // Truncation of a frame was looked for before; within a field it ends the reading, and what must be there is
        // missing then.
        self.map_while(Result::ok)
            .filter(move |(tag, _)| *tag == wanted)
            .map(|(_, bytes)| bytes)
    }

    /// The first of its tag.
    fn one(self, wanted: u8) -> Result<&'a [u8], WireError> {
        self.all(wanted).next().ok_or(WireError::Missing {
            kind: self.kind,
            tag: wanted,
        })
    }

    const fn wrong(self, tag: u8, what: &'static str) -> WireError {
        WireError::Field {
            kind: self.kind,
            tag,
            what,
        }
    }

    fn sized<const N: usize>(self, tag: u8, bytes: &[u8]) -> Result<[u8; N], WireError> {
        bytes
            .try_into()
            .map_err(|_| self.wrong(tag, "another length than its kind of value has"))
    }

    fn array<const N: usize>(self, wanted: u8) -> Result<[u8; N], WireError> {
        self.sized(wanted, self.one(wanted)?)
    }

    fn byte(self, wanted: u8) -> Result<u8, WireError> {
        let [byte] = self.array(wanted)?;
        Ok(byte)
    }

    fn turn(self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(tag::TURN)?))
    }

    fn batch(self) -> Result<BatchId, WireError> {
        Ok(BatchId(u64::from_le_bytes(self.array(tag::BATCH)?)))
    }

    fn name(self, tag: u8, bytes: &[u8]) -> Result<String, WireError> {
        if bytes.is_empty() || bytes.len() > MAX_NAME {
            return Err(self.wrong(tag, "a name has 1 to 220 bytes"));
        }
        core::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| self.wrong(tag, "a name is UTF-8"))
    }
}

/// Bits that this version does not know say nothing to it.
const fn status(bits: u8) -> Status {
    Status {
        holds: bits & 1 != 0,
        polls: bits & 2 != 0,
        ready: bits & 4 != 0,
        committed: bits & 8 != 0,
    }
}

/// A reason that this version does not know is still a refusal.
const fn refusal(code: u8) -> Refusal {
    match code {
        1 => Refusal::NoCommonVersion,
        2 => Refusal::Stranger,
        3 => Refusal::Stale,
        4 => Refusal::Busy,
        5 => Refusal::Itself,
        6 => Refusal::Unclaimed,
        7 => Refusal::OtherQueue,
        8 => Refusal::Garbled,
        10 => Refusal::Silent,
        11 => Refusal::Leaving,
        12 => Refusal::Broken,
        _ => Refusal::Other,
    }
}

const fn decline(code: u8) -> Decline {
    match code {
        1 => Decline::NoCodec,
        2 => Decline::Tls,
        3 => Decline::TooLarge,
        4 => Decline::Busy,
        5 => Decline::BadState,
        6 => Decline::NoRoom,
        7 => Decline::Closing,
        _ => Decline::Other,
    }
}
