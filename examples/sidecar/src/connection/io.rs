//! A client's socket as hyper sees it: bytes that were read elsewhere come first, and it is known when all is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is under way on one HTTP connection.
///
/// hyper flushes its socket only when it has written everything it had, and drops both bodies of an exchange when it is done
/// with them. So a connection on which no exchange is under way, and which was flushed after the last one, is between two
/// messages: what hyper still holds is what it has read of the next one, and that can be carried over.
#[derive(Debug, Default)]
pub(super) struct AtRest {
    exchanges: AtomicUsize,
    unsent: AtomicBool,
    answered: AtomicUsize,
    /// The next answer says that it is the last one.
    pub(super) closing: AtomicBool,
}

impl AtRest {
    pub(super) fn now(&self) -> bool {
        self.exchanges.load(Ordering::Relaxed) == 0 && !self.unsent.load(Ordering::Relaxed)
    }

    /// How many exchanges have ended.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

/// One request and its answer, from head to head and through both bodies. Each holds a copy.
#[derive(Clone, Debug)]
pub(super) struct Exchange(#[expect(dead_code, reason = "held for its end")] Arc<Held>);

#[derive(Debug)]
struct Held(Arc<AtRest>);

impl Exchange {
    pub(super) fn new(rest: &Arc<AtRest>) -> Self {
        rest.exchanges.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Held(Arc::clone(rest))))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.unsent.store(true, Ordering::Relaxed);
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
    taken: usize,
    rest: Arc<AtRest>,
}

impl ClientSocket {
    pub(super) const fn new(stream: TcpStream, unread: Vec<u8>, rest: Arc<AtRest>) -> Self {
        Self {
            stream,
            unread,
            taken: 0,
            rest,
        }
    }

    /// The socket, and what of the bytes read elsewhere was not taken yet.
    pub(super) fn into_parts(mut self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unread.split_off(self.taken))
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let unread = this.unread.get(this.taken..).unwrap_or_default();
        if unread.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, room);
        }
        let now = unread.len().min(room.remaining());
        room.put_slice(unread.get(..now).unwrap_or_default());
        this.taken += now;
        if this.taken == this.unread.len() {
            (this.unread, this.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            this.rest.unsent.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
