//! Moving connections from one process to the next, beside a bare loop that passes the same descriptors: what the machines,
//! the codec, the wire and the token cost on top of the kernel.

use std::hint::black_box;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use unattended_benches::Suite;
use unattended_handover::codec::{Codec as _, Relay, Unread, freeze, thaw};
use unattended_handover::wire::{Listener, ListenerKind, Secret};
use unattended_handover::{
    Agent, Channel, ConnectionId, Decline, Frozen, Generation, Handover, Host, InstanceId, Order, Timing,
};

const CONNECTIONS: u64 = 5_000;
/// Descriptors a message, as the hand-over sends them, its token among them.
const BATCH: usize = 250;

/// A program that relays bytes: all it knows of a connection is its socket and its codec.
#[derive(Default)]
struct Program {
    listener: Option<OwnedFd>,
    connections: Vec<(ConnectionId, OwnedFd)>,
    wanted: Vec<ConnectionId>,
}

impl Host for Program {
    type Prepared = OwnedFd;

    fn poll(&mut self, _on: bool) {}

    fn bind(&mut self) -> Vec<Listener> {
        Vec::new()
    }

    fn listener(&self, _name: &str) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(OwnedFd::as_fd)
    }

    fn claim(&mut self, listeners: Vec<(Listener, OwnedFd)>) -> Result<(), String> {
        self.listener = listeners.into_iter().next().map(|(_, descriptor)| descriptor);
        Ok(())
    }

    fn disclaim(&mut self) {}

    fn keep(&mut self, _name: &str, _secret: &Secret) {}

    fn freeze(&mut self, id: ConnectionId) {
        self.wanted.push(id);
    }

    fn thaw(&mut self, _id: ConnectionId, _frozen: Option<Frozen>) {}

    fn drain(&mut self, _id: ConnectionId) {}

    fn moved(&mut self, _id: ConnectionId) {}

    fn prepare(&mut self, frozen: Frozen) -> Result<OwnedFd, Decline> {
        let (_, _) = thaw::<Relay>(&frozen.state)?;
        frozen.descriptors.into_iter().next().ok_or(Decline::BadState)
    }

    fn own(&mut self, id: ConnectionId, prepared: OwnedFd) {
        self.connections.push((id, prepared));
    }

    fn leave(&mut self) {}
}

/// Two programs of which the one has all connections, and the order to move them was given.
fn about_to_move(sockets: &[UnixStream]) -> [Handover<Program>; 2] {
    let timing = Timing::default();
    let codecs = || vec!["relay/1".to_owned()];
    let (listener, _) = UnixStream::pair().expect("a pair of sockets");
    let cookie = rustix::net::sockopt::socket_cookie(&listener).expect("a cookie");
    let described = Listener {
        name: "in".into(),
        kind: ListenerKind::Unix,
        cookie,
    };
    let connections = (0..)
        .map(ConnectionId)
        .zip(sockets)
        .map(|(id, socket)| (id, rustix::io::dup(socket).expect("a descriptor")))
        .collect();
    let old = Program {
        listener: Some(listener.into()),
        connections,
        wanted: Vec::new(),
    };
    let mut both = [
        Handover::new(
            Agent::serving(InstanceId(1), vec![described], codecs(), timing),
            old,
            None,
        ),
        Handover::new(
            Agent::waiting(InstanceId(2), codecs(), timing),
            Program::default(),
            None,
        ),
    ];
    for id in (0..CONNECTIONS).map(ConnectionId) {
        both[0].opened(0, id);
    }
    let (one, other) = Channel::pair().expect("a pair of sockets");
    both[0].begin(0, one, false, 0);
    both[1].begin(0, other, true, 1);
    both[1].ready(0, true);
    turn(&mut both);
    both[0].order(0, Generation(1), Order::Offer);
    turn(&mut both);
    both[1].order(0, Generation(1), Order::Accept);
    turn(&mut both);
    both[0].order(0, Generation(1), Order::Migrate);
    assert_eq!(both[0].host().wanted.len(), timing.parallel as usize);
    both
}

fn turn(both: &mut [Handover<Program>; 2]) {
    for _ in 0..4 {
        both[0].turn(0);
        both[1].turn(0);
    }
}

/// From the connections polled by the one to the connections polled by the other. As many stand still at once as may by
/// default.
fn hand_over(both: &mut [Handover<Program>; 2]) {
    let codec: Arc<str> = Relay::NAME.into();
    let mut all = std::mem::take(&mut both[0].host_mut().connections).into_iter();
    while both[1].host().connections.len() as u64 != CONNECTIONS || both[0].agent().owned() > 0 {
        let wanted = std::mem::take(&mut both[0].host_mut().wanted);
        if !wanted.is_empty() {
            // They are asked for in the order of their ids.
            let frozen = wanted.into_iter().zip(&mut all).map(|(wanted, (id, socket))| {
                assert_eq!(wanted, id);
                Frozen {
                    id,
                    codec: Arc::clone(&codec),
                    state: freeze(&Relay::default(), &Unread::default()).expect("a relay is at rest"),
                    descriptors: vec![socket],
                }
            });
            both[0].frozen(0, frozen.collect());
        }
        both[1].turn(0);
        both[0].turn(0);
    }
}

/// The same descriptors through a bare socket: no frame, no state, nobody who knows which is which.
fn bare(descriptors: Vec<OwnedFd>, from: &OwnedFd, to: &OwnedFd) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut got = Vec::with_capacity(descriptors.len());
    for part in descriptors.chunks(BATCH - 1) {
        let borrowed: Vec<_> = part.iter().map(OwnedFd::as_fd).collect();
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)));
        sendmsg(from, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty()).expect("there is room");
        let (mut byte, mut ancillary) = ([0], RecvAncillaryBuffer::new(&mut space));
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(to, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags).expect("a message");
        got.extend(
            ancillary
                .drain()
                .filter_map(|one| match one {
                    RecvAncillaryMessage::ScmRights(rights) => Some(rights),
                    _ => None,
                })
                .flatten(),
        );
    }
    drop(descriptors);
    got
}

fn main() {
    // Each connection is open three times: here, in the one process, and in the other.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).expect("a process may use what it is allowed");
    let mut suite = Suite::new("handover", 1);
    let sockets: Vec<UnixStream> = (0..CONNECTIONS)
        .map(|_| UnixStream::pair().expect("a pair of sockets").0)
        .collect();
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (from, to) = socketpair(kind.0, kind.1, kind.2, None).expect("a pair of sockets");
    suite.measure("move_5000", CONNECTIONS, |b| {
        b.iter_batched_ref(
            || about_to_move(&sockets),
            hand_over,
            criterion::BatchSize::PerIteration,
        );
    });
    suite.measure("bare_5000", CONNECTIONS, |b| {
        b.iter_batched(
            || {
                sockets
                    .iter()
                    .map(|one| rustix::io::dup(one).expect("a descriptor"))
                    .collect::<Vec<_>>()
            },
            |all| black_box(bare(all, &from, &to)),
            criterion::BatchSize::PerIteration,
        );
    });
    suite.compare(
        "moving 5,000 relayed connections",
        "connection",
        "move_5000",
        "bare_5000",
        "sendmsg and recvmsg",
    );
    suite.finish();
}
