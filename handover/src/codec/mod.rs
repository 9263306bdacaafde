//! How a connection's protocol is cut and carried over.
//!
//! What the kernel holds of a connection moves along with its descriptor. What a program has read and not passed on, and
//! what it must know to read on, does not: a codec writes that down.

mod framed;
mod http1;
mod relay;

pub use framed::{Framed, LengthField};
pub use http1::Http1;
pub use relay::Relay;

use crate::Decline;

/// Whether a connection may be cut now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every program must decide each case")]
pub enum Rest {
    /// It may: no message is under way.
    Now,
    /// Not here; ask again when bytes have passed.
    Wait,
    /// It never may.
    Never(Decline),
}

/// Bytes that were read from a socket and not yet passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by every program")]
pub struct Unread {
    /// Of the client's socket.
    pub from_client: Vec<u8>,
    /// Of the server's socket.
    pub from_server: Vec<u8>,
}

/// Follows one connection's protocol by the bytes that were passed on.
pub trait Codec: Sized {
    /// What reads the state, with its version: `http1/1`. Never given to anything else.
    const NAME: &'static str;

    /// Bytes of the client were passed on to the server.
    ///
    /// # Errors
    ///
    /// They are not this protocol; the connection goes on and never moves.
    fn client_sent(&mut self, bytes: &[u8]) -> Result<(), Decline>;

    /// Bytes of the server were passed on to the client.
    ///
    /// # Errors
    ///
    /// As for [`client_sent`](Self::client_sent).
    fn server_sent(&mut self, bytes: &[u8]) -> Result<(), Decline>;

    /// Whether it may be cut now.
    fn rest(&self) -> Rest;

    /// Appends what must be known to read on. Called only at rest.
    fn export(&self, state: &mut Vec<u8>);

    /// The protocol where it was cut.
    ///
    /// # Errors
    ///
    /// [`Decline::BadState`] for what [`export`](Self::export) cannot have written.
    fn import(state: &[u8]) -> Result<Self, Decline>;
}

/// What most codecs have to say of a connection takes no more, in bytes.
const OWN_BYTES: usize = 32;

/// A connection at rest as bytes, for [`Frozen::state`](crate::Frozen::state).
///
/// # Errors
///
/// [`Decline::Busy`] if it is not at rest, or why it never is.
pub fn freeze<C: Codec>(codec: &C, unread: &Unread) -> Result<Vec<u8>, Decline> {
    match codec.rest() {
        Rest::Now => {}
        Rest::Wait => return Err(Decline::Busy),
        Rest::Never(decline) => return Err(decline),
    }
    let unread = [&unread.from_client, &unread.from_server];
    let mut state = Vec::with_capacity(OWN_BYTES + 8 * 4 + unread.iter().map(|part| part.len()).sum::<usize>());
    state.extend([0; 8]);
    codec.export(&mut state);
    let own = (state.len() - 8) as u64;
    state[..8].copy_from_slice(&own.to_le_bytes());
    for part in unread {
        state.extend((part.len() as u64).to_le_bytes());
        state.extend(part);
    }
    state.extend(digest(C::NAME, &state).to_le_bytes());
    Ok(state)
}

/// The connection that [`freeze`] wrote down.
///
/// # Errors
///
/// [`Decline::BadState`] if it is not exactly that.
pub fn thaw<C: Codec>(state: &[u8]) -> Result<(C, Unread), Decline> {
    let (body, seal) = state.split_last_chunk::<8>().ok_or(Decline::BadState)?;
    if digest(C::NAME, body) != u64::from_le_bytes(*seal) {
        return Err(Decline::BadState);
    }
    let mut rest = body;
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some(part)
    };
    let (Some(own), Some(from_client), Some(from_server)) = (part(), part(), part()) else {
        return Err(Decline::BadState);
    };
    let unread = Unread {
        from_client: from_client.to_vec(),
        from_server: from_server.to_vec(),
    };
    if !rest.is_empty() {
        return Err(Decline::BadState);
    }
    Ok((C::import(own)?, unread))
}

/// Tells a state that was garbled or belongs to another codec: a folded multiplication for each eight bytes, as in
/// wyhash (Wang Yi). It is no protection against an enemy, who would need this user's rights to send one at all.
fn digest(name: &str, bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: u64| {
        let wide = u128::from(hash ^ word) * u128::from(ODD);
        // The low half loses what the high bits say, and the other way round: together they keep all.
        let folded = (wide ^ wide >> 64) & u128::from(u64::MAX);
        u64::try_from(folded).unwrap_or_default()
    };
    let mut hash = ODD ^ bytes.len() as u64;
    for part in [name.as_bytes(), bytes] {
        let (words, rest) = part.as_chunks::<8>();
        hash = words
            .iter()
            .fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = step(hash, u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
    }
    hash
}
