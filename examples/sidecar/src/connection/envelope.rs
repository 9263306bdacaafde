//! What goes along with a connection beside its sockets.
//!
//! ```text
//!  state = at:u64le  name_length:u16le  name  what the codec froze
//! ```
//!
//! `at` is when it came to rest, in microseconds of the machine's clock: who takes it over knows how long it stood still.

use std::io;
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;

use tokio::net::TcpStream;
use unattended_handover::codec::{Framed, Http1, Relay, Unread, freeze, thaw};
use unattended_handover::{ConnectionId, Decline, Frozen};

use super::link::{Link, Protocols};
use crate::options::{Protocol, Route};

/// What this sidecar writes and reads.
pub(crate) const CODECS: [&str; 3] = ["sidecar-http/1", "sidecar-tcp/1", "sidecar-framed/1"];

/// A connection at rest, taken apart.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) id: ConnectionId,
    pub(crate) route: Route,
    /// When it came to rest; 0 in what has just been taken apart.
    pub(crate) at_us: u64,
    pub(super) protocols: Protocols,
    pub(super) unread: Unread,
    pub(crate) sockets: Vec<OwnedFd>,
}

/// Parts as the other process gets them.
pub(super) struct Envelope;

const fn codec(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http | Protocol::Udp => CODECS[0],
        Protocol::Tcp => CODECS[1],
        Protocol::Framed => CODECS[2],
    }
}

impl Envelope {
    /// Writes down what must be known to go on.
    pub(super) fn seal(parts: Parts, at_us: u64) -> Result<Frozen, Decline> {
        let name = parts.route.to_string();
        let inner = match &parts.protocols {
            Protocols::Http => freeze(&Http1::default(), &parts.unread)?,
            Protocols::Relay(relay) => freeze(relay, &parts.unread)?,
            Protocols::Framed(framed) => freeze(framed, &parts.unread)?,
        };
        let mut state = Vec::with_capacity(10 + name.len() + inner.len());
        state.extend(at_us.to_le_bytes());
        state.extend(u16::try_from(name.len()).map_err(|_| Decline::TooLarge)?.to_le_bytes());
        state.extend(name.as_bytes());
        state.extend(inner);
        Ok(Frozen {
            id: parts.id,
            codec: codec(parts.route.protocol).into(),
            state,
            descriptors: parts.sockets,
        })
    }

    /// Seals and opens a connection of this listener without its sockets.
    pub(super) fn try_out(routes: &[Route], route: Route) -> Result<(), Decline> {
        let parts = Parts {
            id: ConnectionId(0),
            route,
            at_us: 0,
            protocols: Protocols::of(route.protocol),
            unread: Unread {
                from_client: b"unread".to_vec(),
                ..Unread::default()
            },
            sockets: Vec::new(),
        };
        let state = Self::seal(parts, 1)?.state;
        let (found, at_us, _, unread) = Self::read(routes, codec(route.protocol), &state)?;
        if (found, at_us, unread.from_client.as_slice()) == (route, 1, b"unread") {
            Ok(())
        } else {
            Err(Decline::BadState)
        }
    }

    /// Reads it; nothing has been done to the sockets.
    pub(super) fn open(routes: &[Route], frozen: Frozen) -> Result<Parts, Decline> {
        let (route, at_us, protocols, unread) = Self::read(routes, &frozen.codec, &frozen.state)?;
        let wanted = if route.protocol == Protocol::Http { 1 } else { 2 };
        if frozen.descriptors.len() != wanted {
            return Err(Decline::BadState);
        }
        Ok(Parts {
            id: frozen.id,
            route,
            at_us,
            protocols,
            unread,
            sockets: frozen.descriptors,
        })
    }

    fn read(routes: &[Route], name_of_codec: &str, state: &[u8]) -> Result<(Route, u64, Protocols, Unread), Decline> {
        let (at, rest) = state.split_first_chunk::<8>().ok_or(Decline::BadState)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(Decline::BadState)?;
        let (name, inner) = rest
            .split_at_checked(usize::from(u16::from_le_bytes(*length)))
            .ok_or(Decline::BadState)?;
        let route = routes
            .iter()
            .copied()
            .find(|route| route.to_string().as_bytes() == name)
            .ok_or(Decline::BadState)?;
        if name_of_codec != codec(route.protocol) {
            return Err(Decline::NoCodec);
        }
        let (protocols, unread) = match route.protocol {
            Protocol::Http => thaw::<Http1>(inner).map(|(_, unread)| (Protocols::Http, unread))?,
            Protocol::Tcp => thaw::<Relay>(inner).map(|(relay, unread)| (Protocols::Relay(relay), unread))?,
            Protocol::Framed => thaw::<Framed>(inner).map(|(framed, unread)| (Protocols::Framed(framed), unread))?,
            Protocol::Udp => return Err(Decline::NoCodec),
        };
        Ok((route, u64::from_le_bytes(*at), protocols, unread))
    }
}

impl Parts {
    pub(super) fn into_http(self) -> io::Result<(Route, StdStream, Vec<u8>)> {
        let socket = self.sockets.into_iter().next().ok_or(io::ErrorKind::NotFound)?;
        Ok((self.route, StdStream::from(socket), self.unread.from_client))
    }

    pub(super) fn into_link(self) -> io::Result<(Route, Link)> {
        let mut sockets = self.sockets.into_iter();
        let (Some(client), Some(server)) = (sockets.next(), sockets.next()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let stream = |socket| TcpStream::from_std(StdStream::from(socket));
        let link = Link::with(stream(client)?, stream(server)?, self.protocols, self.unread);
        Ok((self.route, link))
    }
}
