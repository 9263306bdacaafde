//! Listening sockets: bound here or come from the other process, polled or only held.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdUdp};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::watch;
use unattended_handover::wire::{Listener, ListenerKind};

use crate::connection;
use crate::options::{Protocol, Route};
use crate::state::Sidecar;
use crate::udp;

/// Clients that wait to be accepted; the kernel may allow fewer.
const BACKLOG: u32 = 4_096;

/// After a connection could not be accepted, most likely for want of descriptors.
const AGAIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
enum Socket {
    Tcp(StdListener),
    Udp(StdUdp),
}

/// All listeners of the process.
#[derive(Debug)]
pub(crate) struct Listeners {
    held: Vec<(Route, Socket)>,
    /// How many of them, from the first on, are polled.
    polled: usize,
    /// While they are polled. Dropped: stop at once. `true`: accept who waits, then stop.
    polling: Option<watch::Sender<bool>>,
}

impl Socket {
    fn bind(route: Route) -> io::Result<Self> {
        if route.protocol == Protocol::Udp {
            let socket = StdUdp::bind(route.listen)?;
            socket.set_nonblocking(true)?;
            return Ok(Self::Udp(socket));
        }
        let socket = if route.listen.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // Connections of the process before, in their last state, do no harm. Never SO_REUSEPORT: a second queue would take
        // clients along when it is closed.
        socket.set_reuseaddr(true)?;
        socket.bind(route.listen)?;
        Ok(Self::Tcp(socket.listen(BACKLOG)?.into_std()?))
    }

    const fn kind(&self) -> ListenerKind {
        match self {
            Self::Tcp(_) => ListenerKind::Tcp,
            Self::Udp(_) => ListenerKind::Udp,
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

impl Listeners {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self {
            held: Vec::new(),
            polled: 0,
            polling: None,
        }
    }

    /// Binds all, or none.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound, with its name.
    pub(crate) fn bind(&mut self, routes: &[Route]) -> io::Result<()> {
        let mut held = Vec::with_capacity(routes.len());
        for route in routes {
            let socket = Socket::bind(*route)
                .map_err(|error| io::Error::new(error.kind(), format!("{route}: it cannot be bound: {error}")))?;
            held.push((*route, socket));
        }
        self.close();
        self.held = held;
        Ok(())
    }

    /// Takes what came from the other process: each must be known here, and all that are wanted must have come.
    ///
    /// # Errors
    ///
    /// The first that does not fit.
    pub(crate) fn claim(&mut self, routes: &[Route], came: Vec<(Listener, OwnedFd)>) -> Result<(), String> {
        let mut held = Vec::with_capacity(came.len());
        for (listener, descriptor) in came {
            let known = routes.iter().find(|route| route.to_string() == listener.name);
            let route = known.ok_or_else(|| format!("{}: this version has no such listener", listener.name))?;
            let socket = match (listener.kind, route.protocol) {
                (ListenerKind::Udp, Protocol::Udp) => Socket::Udp(StdUdp::from(descriptor)),
                (ListenerKind::Tcp, protocol) if protocol != Protocol::Udp => {
                    Socket::Tcp(StdListener::from(descriptor))
                }
                _ => return Err(format!("{}: it is of another kind", listener.name)),
            };
            held.push((*route, socket));
        }
        let missing = routes.iter().find(|route| held.iter().all(|(one, _)| one != *route));
        if let Some(route) = missing {
            return Err(format!(
                "{route}: it was not passed; a new listener needs a cold or warm upgrade"
            ));
        }
        self.close();
        self.held = held;
        Ok(())
    }

    /// Closes all.
    pub(crate) fn close(&mut self) {
        (self.polling, self.polled) = (None, 0);
        self.held.clear();
    }

    /// Who still waits in the queues is accepted, and then they are closed.
    pub(crate) fn close_after_all(&mut self) {
        if let Some(polling) = &self.polling {
            polling.send_replace(true);
        }
        self.close();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Polls them from now on, or keeps them only.
    ///
    /// # Errors
    ///
    /// The first that cannot be polled now, for want of descriptors. It is tried again when this is called again; until then
    /// its clients queue.
    pub(crate) fn poll(&mut self, sidecar: &Arc<Sidecar>, on: bool) -> Result<(), String> {
        if !on {
            (self.polling, self.polled) = (None, 0);
            return Ok(());
        }
        let polling = self.polling.get_or_insert_with(|| watch::Sender::new(false));
        for (route, socket) in self.held.iter().skip(self.polled) {
            let (route, sidecar, mut polling) = (*route, Arc::clone(sidecar), polling.subscribe());
            // A copy of the descriptor of the same queue: it leaves the poller when it is not polled any more.
            let copy = match socket {
                Socket::Tcp(listener) => listener.try_clone().and_then(TcpListener::from_std).map(|listener| {
                    tokio::spawn(accept(sidecar, route, listener, polling));
                }),
                Socket::Udp(socket) => socket.try_clone().and_then(UdpSocket::from_std).map(|socket| {
                    // Whatever comes there ends it.
                    let until = async move { drop(polling.changed().await) };
                    tokio::spawn(udp::relay(sidecar, route, socket, until));
                }),
            };
            copy.map_err(|error| format!("{route}: it cannot be polled: {error}"))?;
            self.polled += 1;
        }
        Ok(())
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<BorrowedFd<'_>> {
        let found = self.held.iter().find(|(route, _)| route.to_string() == name);
        found.map(|(_, socket)| socket.as_fd())
    }

    /// What they are, for the other process.
    pub(crate) fn describe(&self) -> Vec<Listener> {
        self.held
            .iter()
            .map(|(route, socket)| Listener {
                name: route.to_string(),
                kind: socket.kind(),
                // Without a cookie nothing can be proved, and the hand-over fails.
                cookie: sockopt::socket_cookie(socket).unwrap_or_default(),
            })
            .collect()
    }

    /// Where they are, by name.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (String, String)> {
        self.held.iter().filter_map(|(route, socket)| {
            let address = socket.address().ok()?;
            Some((route.to_string(), address.to_string()))
        })
    }
}

/// Accepts connections while the listener is polled. What was accepted is served, whatever comes.
async fn accept(sidecar: Arc<Sidecar>, route: Route, listener: TcpListener, mut polling: watch::Receiver<bool>) {
    let mut refused = false;
    loop {
        let accepted = tokio::select! {
            biased;
            changed = polling.changed() => match changed {
                Ok(()) => break,
                Err(_) => return,
            },
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                refused = false;
                serve(&sidecar, route, stream);
            }
            Err(error) => {
                // Once: it goes on for as long as descriptors are short.
                if !std::mem::replace(&mut refused, true) {
                    sidecar
                        .log
                        .say(format_args!("{route}: a connection was not accepted: {error}"));
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    if let Ok(listener) = listener.into_std() {
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                serve(&sidecar, route, stream);
            }
        }
    }
}

fn serve(sidecar: &Arc<Sidecar>, route: Route, stream: std::net::TcpStream) {
    if sidecar.faults.dies_mid_handover && !sidecar.options.passive {
        // It was not started to be handed anything, and takes over by being let to traffic. It cannot fail.
        let _ = kill_process(getpid(), Signal::KILL);
    }
    sidecar.meters.accepted.fetch_add(1, Ordering::Relaxed);
    connection::begin(sidecar, route, stream);
}
