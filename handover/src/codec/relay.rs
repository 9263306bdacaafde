//! Bytes that nobody looks into.

use super::{Codec, Rest};
use crate::Decline;

/// A relay of bytes between two sockets. It may be cut anywhere, as long as what was read is passed on or carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relay {
    /// The client has sent its end, and the server was told.
    pub client_done: bool,
    /// The server has sent its end, and the client was told.
    pub server_done: bool,
    /// Bytes passed on to the server.
    pub to_server: u64,
    /// Bytes passed on to the client.
    pub to_client: u64,
}

impl Codec for Relay {
    const NAME: &'static str = "relay/1";

    fn client_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        self.to_server += bytes.len() as u64;
        Ok(())
    }

    fn server_sent(&mut self, bytes: &[u8]) -> Result<(), Decline> {
        self.to_client += bytes.len() as u64;
        Ok(())
    }

    fn rest(&self) -> Rest {
        if self.client_done && self.server_done {
            Rest::Never(Decline::Closing)
        } else {
            Rest::Now
        }
    }

    fn export(&self, state: &mut Vec<u8>) {
        state.push(u8::from(self.client_done) | u8::from(self.server_done) << 1);
        state.extend(self.to_server.to_le_bytes());
        state.extend(self.to_client.to_le_bytes());
    }

    fn import(state: &[u8]) -> Result<Self, Decline> {
        let state: [u8; 17] = state.try_into().map_err(|_| Decline::BadState)?;
        let [flags, counts @ ..] = state;
        let (to_server, to_client) = counts.split_at(8);
        let count = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| Decline::BadState);
        if flags > 3 {
            return Err(Decline::BadState);
        }
        Ok(Self {
            client_done: flags & 1 != 0,
            server_done: flags & 2 != 0,
            to_server: count(to_server)?,
            to_client: count(to_client)?,
        })
    }
}
