//! Two sockets and what is on its way between them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use unattended_handover::codec::{Codec as _, Framed, LengthField, Relay, Rest, Unread};
use unattended_handover::{ConnectionId, Decline};

use super::envelope::Parts;
use crate::options::{Protocol, Route};

/// Most bytes that are under way in one direction: two of them fit an offer.
const BUFFER: usize = 16 * 1024;

/// What is known of the protocol.
#[derive(Debug)]
pub(super) enum Protocols {
    Http,
    Relay(Relay),
    Framed(Framed),
}

/// Calls on a framed listener: four bytes say how long the rest is.
const CALL: LengthField = LengthField {
    offset: 0,
    width: 4,
    more: 0,
    max: 16 * 1024 * 1024,
};

impl Protocols {
    /// Of a connection over which nothing has gone yet.
    pub(super) fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http | Protocol::Udp => Self::Http,
            Protocol::Tcp => Self::Relay(Relay::default()),
            Protocol::Framed => Self::Framed(Framed::new(CALL)),
        }
    }
}

/// A relayed connection.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    to_server: Half,
    to_client: Half,
    protocols: Protocols,
    /// Calls that were answered and not yet counted.
    answered: u64,
}

/// One direction.
#[derive(Debug)]
struct Half {
    bytes: Vec<u8>,
    sent: usize,
    /// The sender has ended.
    ended: bool,
    /// The receiver was told.
    told: bool,
}

impl Half {
    fn with(unread: Vec<u8>) -> Self {
        Self {
            bytes: unread,
            sent: 0,
            ended: false,
            told: false,
        }
    }

    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Moves bytes until there are none or there is no room. `Ready`: this direction is over.
    ///
    /// `most` says how many of the bytes may go now; `passed` hears of those that went.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        mut most: impl FnMut(&[u8]) -> usize,
        mut passed: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.told {
                return Poll::Ready(Ok(()));
            }
            if self.sent < self.bytes.len() {
                let unsent = self.bytes.get(self.sent..).unwrap_or_default();
                let now = most(unsent).min(unsent.len());
                let Some(now) = unsent.get(..now).filter(|now| !now.is_empty()) else {
                    // It waits for the connection to be given away, or for the wish to end.
                    return Poll::Pending;
                };
                let count = ready!(Pin::new(&mut *to).poll_write(cx, now))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                passed(now.get(..count).unwrap_or_default());
                self.sent += count;
                continue;
            }
            if self.ended {
                // A half that was told before, by another process, is told again without harm.
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.told = true;
                continue;
            }
            // A connection on which nothing happens holds no memory.
            (self.bytes, self.sent) = (Vec::new(), 0);
            ready!(from.poll_read_ready(cx))?;
            let mut bytes = vec![0; BUFFER];
            let mut room = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut room))?;
            let filled = room.filled().len();
            bytes.truncate(filled);
            self.bytes = bytes;
            self.ended = self.bytes.is_empty();
        }
    }
}

impl Link {
    /// Between two sockets over which nothing has gone yet.
    pub(super) fn new(client: TcpStream, server: TcpStream, protocol: Protocol) -> Self {
        Self::with(client, server, Protocols::of(protocol), Unread::default())
    }

    /// With bytes that were read and not passed on.
    pub(super) fn with(client: TcpStream, server: TcpStream, protocols: Protocols, unread: Unread) -> Self {
        Self {
            client,
            server,
            to_server: Half::with(unread.from_client),
            to_client: Half::with(unread.from_server),
            protocols,
            answered: 0,
        }
    }

    /// Passes bytes on. `Ready`: both sides have ended, or one is broken.
    ///
    /// `freezing`: no new call begins, so that the connection comes to rest.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, freezing: bool) -> Poll<io::Result<()>> {
        let Self {
            client,
            server,
            to_server,
            to_client,
            protocols,
            answered,
        } = self;
        // A client's call may let the server answer, and the server's end says nothing about the client's.
        let protocol = std::cell::RefCell::new(protocols);
        let up = to_server.poll(
            cx,
            client,
            server,
            |bytes| match &**protocol.borrow() {
                Protocols::Framed(framed) if freezing => framed.under_way(bytes),
                _ => bytes.len(),
            },
            |bytes| match &mut **protocol.borrow_mut() {
                Protocols::Http => {}
                // What is no call goes on as bytes, and never moves.
                Protocols::Framed(framed) => drop(framed.client_sent(bytes)),
                Protocols::Relay(relay) => drop(relay.client_sent(bytes)),
            },
        );
        let down = to_client.poll(
            cx,
            server,
            client,
            |bytes| bytes.len(),
            |bytes| match &mut **protocol.borrow_mut() {
                Protocols::Http => {}
                Protocols::Framed(framed) => {
                    let before = framed.in_flight();
                    if framed.server_sent(bytes).is_ok() {
                        *answered += before - framed.in_flight();
                    }
                }
                Protocols::Relay(relay) => drop(relay.server_sent(bytes)),
            },
        );
        if let Protocols::Relay(relay) = protocol.into_inner() {
            relay.client_done = self.to_server.told;
            relay.server_done = self.to_client.told;
        }
        match (up, down) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Calls that were answered since this was asked last.
    pub(super) const fn take_answered(&mut self) -> u64 {
        std::mem::replace(&mut self.answered, 0)
    }

    /// Whether it may be given away now.
    pub(super) fn rest(&self) -> Rest {
        match &self.protocols {
            Protocols::Http => Rest::Never(Decline::Other),
            Protocols::Relay(relay) => relay.rest(),
            Protocols::Framed(framed) => framed.rest(),
        }
    }

    /// Takes it apart. Nothing polls its sockets afterwards.
    pub(super) fn into_parts(self, id: ConnectionId, route: Route) -> io::Result<Parts> {
        let unread = Unread {
            from_client: self.to_server.unsent().to_vec(),
            from_server: self.to_client.unsent().to_vec(),
        };
        let sockets = vec![self.client.into_std()?.into(), self.server.into_std()?.into()];
        Ok(Parts {
            id,
            route,
            at_us: 0,
            protocols: self.protocols,
            unread,
            sockets,
        })
    }

    /// Ends both sockets.
    pub(super) fn hang_up(&self) {
        super::hang_up(&self.client);
        super::hang_up(&self.server);
    }
}
