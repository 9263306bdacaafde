//! Messages that begin with their length: most remote procedure calls.

use super::{Codec, Rest};
use crate::Decline;

/// Where a message says how long it is. Big endian, as in nearly all such protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "written by every program")]
pub struct LengthField {
    /// Bytes before the length.
    pub offset: u8,
    /// Bytes of the length: 1, 2, 4 or 8.
    pub width: u8,
    /// Bytes that follow the length beside those that it counts: a fixed rest of the head.
    pub more: u8,
    /// The longest message that is one, head included, in bytes.
    pub max: u32,
}

/// Calls in messages with a [`LengthField`], each with one answer. It may be cut where every call was answered: an answer
/// that is still to come would come to a process that has no way to the client any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    field: LengthField,
    client: Half,
    server: Half,
    calls: u64,
    broken: bool,
}

/// Where one direction is within a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Half {
    head: Vec<u8>,
    left: u64,
}

impl Framed {
    /// Between two messages, nothing called.
    #[must_use]
    pub const fn new(field: LengthField) -> Self {
        Self {
            field,
            client: Half {
                head: Vec::new(),
                left: 0,
            },
            server: Half {
                head: Vec::new(),
                left: 0,
            },
            calls: 0,
            broken: false,
        }
    }

    /// How many of these bytes, the client's next ones, still belong to the call that it has begun to send; 0 between two
    /// calls. Who passes no more of them brings the connection to rest however many calls the client sends ahead.
    #[must_use]
    pub fn under_way(&self, bytes: &[u8]) -> usize {
        let mut half = self.client.clone();
        let mut step = bytes.chunks(1);
        let mut count = 0;
        while !half.between() {
            let Some(byte) = step.next() else { break };
            if half.pass(self.field, byte).is_err() {
                return bytes.len();
            }
            count += 1;
        }
        count
    }

    /// Calls without an answer.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.calls
    }
}

impl Half {
    const fn between(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }

    /// Goes over `bytes`; how many messages ended in them.
    fn pass(&mut self, field: LengthField, mut bytes: &[u8]) -> Result<u64, Decline> {
        let head_len = usize::from(field.offset) + usize::from(field.width);
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let step = self.left.min(bytes.len() as u64);
                self.left -= step;
                bytes = bytes
                    .get(usize::try_from(step).unwrap_or(usize::MAX)..)
                    .unwrap_or_default();
                ended += u64::from(self.left == 0);
                continue;
            }
            let take = (head_len - self.head.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            self.head.extend(now);
            bytes = rest;
            if self.head.len() == head_len {
                let length = self.head[usize::from(field.offset)..]
                    .iter()
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                let whole = (head_len as u64 + u64::from(field.more)).saturating_add(length);
                if whole > u64::from(field.max) {
                    return Err(Decline::BadState);
                }
                self.left = length + u64::from(field.more);
                self.head.clear();
                ended += u64::from(self.left == 0);
            }
        }
        Ok(ended)
    }
}

impl Codec for Framed {
    const NAME: &'static str = "framed/1";

    fn client_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        // A call that has begun to pass is under way already: the other half is not at a message's end.
        let passed = self.client.pass(self.field, bytes);
        self.broken |= passed.is_err();
        self.calls = self.calls.saturating_add(passed?);
        Ok(())
    }

    fn server_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        let passed = self.server.pass(self.field, bytes);
        self.broken |= passed.is_err();
        let answers = passed?;
        // More answers than calls: the protocol is another one.
        self.broken |= answers > self.calls;
        self.calls = self.calls.checked_sub(answers).ok_or(Decline::BadState)?;
        Ok(())
    }

    fn rest(&self) -> Rest {
        if self.broken {
            Rest::Never(Decline::BadState)
        } else if self.calls == 0 && self.client.between() && self.server.between() {
            Rest::Now
        } else {
            Rest::Wait
        }
    }

    fn export(&self, state: &mut Vec<u8>) {
        let LengthField {
            offset,
            width,
            more,
            max,
        } = self.field;
        state.extend([offset, width, more]);
        state.extend(max.to_le_bytes());
    }

    fn import(state: &[u8]) -> Result<Self, Decline> {
        let &[offset, width, more, a, b, c, d] = state else {
            return Err(Decline::BadState);
        };
        if ![1, 2, 4, 8].contains(&width) {
            return Err(Decline::BadState);
        }
        Ok(Self::new(LengthField {
            offset,
            width,
            more,
            max: u32::from_le_bytes([a, b, c, d]),
        }))
    }
}
