//! Connections: each is a task, which can give its connection away when it is at rest.
//!
//! ```text
//!  accept ──► begin ──► task ◄── Wish: freeze, drain, end
//!                         │
//!                         ├── Opened, Closed ──────────► conductor
//!                         └── Frozen (and it ends) ────► conductor ──► the other process, or back: adopt ──► task
//! ```

mod envelope;
mod http;
mod io;
mod link;
mod proxy;
mod relay;

use std::net::TcpStream as StdStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{Shutdown, sockopt};
use tokio::sync::watch;
use tokio::time::timeout;
use unattended_handover::{ConnectionId, Decline, Frozen};

use envelope::Envelope;
pub(crate) use envelope::{CODECS, Parts};
pub(crate) use proxy::Client;

use crate::clock;
use crate::options::{Protocol, Route};
use crate::state::{Event, Sidecar};

/// How long the self-check's own listener waits for a request and for its end.
const LOOPBACK: Duration = Duration::from_secs(5);

/// What the conductor wants of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Come to rest, and be given away.
    pub(crate) freeze: bool,
    /// It cannot move: let its client end it.
    pub(crate) drain: bool,
    /// The process stops: end as soon as nothing is under way.
    pub(crate) stop: bool,
    /// End now.
    pub(crate) end: bool,
}

/// How a connection's task ended.
enum Ended {
    /// The connection is over.
    Over,
    /// It goes to somebody else, who does not touch its sockets' ends.
    AtRest(Box<Parts>),
}

/// A connection was accepted: serves it to its end.
pub(crate) fn begin(sidecar: &Arc<Sidecar>, route: Route, stream: StdStream) {
    let id = sidecar.next_id();
    let (wish, wishes) = watch::channel(Wish::default());
    sidecar.tell(Event::Opened(id, wish));
    prepare(sidecar, &stream);
    let sidecar = Arc::clone(sidecar);
    tokio::spawn(async move {
        let ended = match route.protocol {
            Protocol::Http => http::serve(&sidecar, id, route, stream, Vec::new(), wishes).await,
            Protocol::Tcp | Protocol::Framed => relay::begin(&sidecar, id, route, stream, wishes).await,
            Protocol::Udp => Ended::Over,
        };
        finish(&sidecar, id, ended);
    });
}

/// Goes on with a connection that came to rest, here or in the other process. What the conductor wishes of it comes by what
/// is returned.
///
/// # Errors
///
/// What the system says; the connection is lost.
pub(crate) fn adopt(sidecar: &Arc<Sidecar>, parts: Parts) -> std::io::Result<watch::Sender<Wish>> {
    let (wish, wishes) = watch::channel(Wish::default());
    let id = parts.id;
    let task = Arc::clone(sidecar);
    match parts.route.protocol {
        Protocol::Http => {
            let (route, stream, unread) = parts.into_http()?;
            tokio::spawn(async move {
                let ended = http::serve(&task, id, route, stream, unread, wishes).await;
                finish(&task, id, ended);
            });
        }
        Protocol::Tcp | Protocol::Framed => {
            let (route, link) = parts.into_link()?;
            tokio::spawn(async move {
                let ended = relay::go_on(&task, id, route, link, wishes).await;
                finish(&task, id, ended);
            });
        }
        Protocol::Udp => {}
    }
    Ok(wish)
}

/// Makes a connection of what came to rest, without touching its sockets.
///
/// # Errors
///
/// Why it cannot be read.
pub(crate) fn open(sidecar: &Sidecar, frozen: Frozen) -> Result<Parts, Decline> {
    Envelope::open(&sidecar.routes, frozen)
}

/// Whether what is written of a connection at rest can be read, for each listener.
///
/// # Errors
///
/// The first that cannot.
pub(crate) fn try_codecs(routes: &[Route]) -> Result<(), Decline> {
    routes
        .iter()
        .filter(|route| route.protocol != Protocol::Udp)
        .try_for_each(|route| Envelope::try_out(routes, *route))
}

/// Serves HTTP on a listener that nobody else knows, for requests to this process itself.
pub(crate) fn serve_loopback(sidecar: &Arc<Sidecar>, listener: tokio::net::TcpListener) {
    let route = Route {
        protocol: Protocol::Http,
        listen: ([127, 0, 0, 1], 0).into(),
        upstream: ([127, 0, 0, 1], 0).into(),
    };
    let sidecar = Arc::clone(sidecar);
    tokio::spawn(async move {
        // As many as the check's attempts, and it ends with them.
        while let Ok(Ok((stream, _))) = timeout(LOOPBACK, listener.accept()).await {
            let Ok(stream) = stream.into_std() else { continue };
            let (_wish, wishes) = watch::channel(Wish::default());
            let served = http::serve(&sidecar, ConnectionId(0), route, stream, Vec::new(), wishes);
            // A request that is late has failed the check.
            let _ = timeout(LOOPBACK, served).await;
        }
    });
}

fn finish(sidecar: &Sidecar, id: ConnectionId, ended: Ended) {
    match ended {
        Ended::Over => sidecar.tell(Event::Closed(id)),
        Ended::AtRest(parts) => match Envelope::seal(*parts, clock::now_us()) {
            Ok(frozen) => sidecar.tell(Event::Frozen(frozen)),
            // It was at rest a moment ago, so there is nothing that could be refused.
            Err(_) => sidecar.tell(Event::Closed(id)),
        },
    }
}

/// What is wished of a new connection's socket; without it the connection is slower or larger, and no more.
fn prepare(sidecar: &Sidecar, socket: impl AsFd) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    if let Some(bytes) = sidecar.options.socket_buffer {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let _ = sockopt::set_socket_send_buffer_size(&socket, bytes);
        let _ = sockopt::set_socket_recv_buffer_size(&socket, bytes);
    }
}

/// Ends a socket for everybody who has a descriptor of it: the other process may.
fn hang_up(socket: impl AsFd) {
    // It may be over already.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}
