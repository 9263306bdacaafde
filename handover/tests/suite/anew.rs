//! Two processes that lose each other and live: who has called calls again. The sockets are real, the clock is not.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tempfile::TempDir;
use unattended_handover::wire::{Listener, ListenerKind, Secret};
use unattended_handover::{
    Agent, Answer, ConnectionId, Decline, Doorbell, Frozen, Generation, Handover, Host, InstanceId, NotNow, Order,
    Timing,
};

/// As much of a program as a relayed connection needs.
#[derive(Debug, Default)]
struct Program {
    listener: Option<OwnedFd>,
    freezing: Vec<ConnectionId>,
    owned: Vec<ConnectionId>,
}

impl Host for Program {
    type Prepared = Vec<OwnedFd>;

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
        self.freezing.push(id);
    }

    fn thaw(&mut self, _id: ConnectionId, _frozen: Option<Frozen>) {}

    fn drain(&mut self, _id: ConnectionId) {}

    fn moved(&mut self, _id: ConnectionId) {}

    fn prepare(&mut self, frozen: Frozen) -> Result<Self::Prepared, Decline> {
        Ok(frozen.descriptors)
    }

    fn own(&mut self, id: ConnectionId, _prepared: Self::Prepared) {
        self.owned.push(id);
    }

    fn leave(&mut self) {}
}

const OLD: usize = 0;
const NEW: usize = 1;
const CODEC: &str = "relay/1";

/// An old process and a new one that polls beside it and has a connection of its own.
struct Pair {
    both: [Handover<Program>; 2],
    now_ms: u64,
    bell: PathBuf,
    _place: TempDir,
}

impl Pair {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let bell = place.path().join("old");
        let listener: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
        let described = Listener {
            name: "in".into(),
            kind: ListenerKind::Tcp,
            cookie: rustix::net::sockopt::socket_cookie(&listener).unwrap(),
        };
        let serves = Program {
            listener: Some(listener),
            ..Program::default()
        };
        let codecs = || vec![CODEC.to_owned()];
        let old = Agent::serving(InstanceId(1), vec![described], codecs(), Timing::default());
        let new = Agent::waiting(InstanceId(2), codecs(), Timing::default());
        let mut pair = Self {
            both: [
                Handover::new(old, serves, Some(Doorbell::open(&bell).unwrap())),
                Handover::new(new, Program::default(), None),
            ],
            now_ms: 0,
            bell,
            _place: place,
        };
        for process in &mut pair.both {
            process.ready(0, true);
        }
        pair.both[NEW].call(0, Generation(1), &pair.bell, 1).unwrap();
        pair.settle();
        assert_eq!(pair.order(OLD, Order::Offer), Answer::Applied);
        assert_eq!(pair.order(NEW, Order::Accept), Answer::Applied);
        pair.both[NEW].opened(0, ConnectionId(7));
        pair
    }

    fn settle(&mut self) {
        for _ in 0..4 {
            self.both.iter_mut().for_each(|process| process.turn(self.now_ms));
        }
    }

    fn order(&mut self, to: usize, order: Order) -> Answer {
        self.settle();
        let answer = self.both[to].order(self.now_ms, Generation(1), order);
        self.settle();
        answer
    }

    /// Time passes in which only this one has turns, each when it asks for one.
    fn only(&mut self, which: usize, until_ms: u64) {
        while let Some(at_ms) = self.both[which].deadline().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = at_ms.max(self.now_ms + 1);
            self.both[which].turn(self.now_ms);
        }
        self.now_ms = until_ms;
    }

    fn together(&self) -> bool {
        self.both.iter().all(|process| process.agent().peer().is_some())
    }
}

/// The old process stands still for so long that the new one gives the session up; then it goes on.
fn apart(pair: &mut Pair) {
    pair.only(NEW, Timing::default().hello_ms + 1);
    assert!(pair.both[NEW].agent().peer().is_none());
    // It hears of the end, and has no session; nor has anybody called by then.
    pair.both[OLD].turn(pair.now_ms);
    assert!(!pair.together());
    let answer = pair.both[OLD].order(pair.now_ms, Generation(1), Order::Quiesce);
    assert_eq!(answer, Answer::Refused(NotNow::NoSession));
}

#[test]
fn who_has_called_calls_again_and_everything_comes_back() {
    let mut pair = Pair::new();
    apart(&mut pair);
    // Ordered while they are apart, it polls, and nobody gives anything back.
    assert_eq!(pair.order(OLD, Order::Return), Answer::Applied);
    assert!(pair.both[NEW].agent().status().polls);

    pair.now_ms += Timing::default().lease_ms;
    pair.settle();
    assert!(pair.together(), "nobody called again");
    assert_eq!(pair.order(OLD, Order::Return), Answer::Applied);
    let asked = std::mem::take(&mut pair.both[NEW].host_mut().freezing);
    assert_eq!(asked, [ConnectionId(7)]);
    let (_client, socket) = UnixStream::pair().unwrap();
    let frozen = Frozen {
        id: ConnectionId(7),
        codec: CODEC.into(),
        state: Vec::new(),
        descriptors: vec![socket.into()],
    };
    pair.both[NEW].frozen(pair.now_ms, vec![frozen]);
    pair.settle();
    assert_eq!(pair.both[OLD].host().owned, [ConnectionId(7)]);
    assert!(!pair.both[NEW].agent().status().polls);
    assert_eq!(pair.both[NEW].agent().owned(), 0);
}

#[test]
fn it_calls_for_as_long_as_the_other_stands_still() {
    let mut pair = Pair::new();
    pair.only(NEW, 60_000);
    assert!(!pair.together());
    pair.settle();
    // The first of the calls that wait is one that was given up since; the last one of them stands.
    pair.now_ms += 2 * Timing::default().lease_ms;
    pair.settle();
    assert!(pair.together());
}

#[test]
fn nobody_is_called_again_for_an_attempt_that_is_over() {
    let mut pair = Pair::new();
    pair.only(NEW, Timing::default().hello_ms + 1);
    assert_eq!(pair.both[NEW].fence(Generation(2)), Answer::Applied);
    pair.now_ms += 10 * Timing::default().lease_ms;
    pair.settle();
    assert!(!pair.together());
    assert_eq!(pair.both[NEW].deadline(), None, "it waits for something");
}

#[test]
fn nobody_is_called_again_who_has_hung_up_with_a_word_or_is_gone() {
    let lease_ms = Timing::default().lease_ms;
    let later = |new: &mut Handover<Program>, now_ms: u64| {
        for beats in 0..20 {
            new.turn(now_ms + beats * lease_ms);
        }
        assert!(new.agent().peer().is_none());
        assert_eq!(new.deadline(), None, "it waits for something");
    };
    // It exits, and says so.
    let pair = Pair::new();
    let (both, bell) = (pair.both, pair.bell);
    let [old, mut new] = both;
    drop(old.part(1));
    let _another = Doorbell::open(&bell).unwrap();
    later(&mut new, 1);

    // It stood still, and is dead by the time it is called.
    let mut pair = Pair::new();
    pair.only(NEW, Timing::default().hello_ms + 1);
    let now_ms = pair.now_ms;
    let [old, mut new] = pair.both;
    drop(old);
    later(&mut new, now_ms);
}

/// Who was called and is called by another one is in that one's hands.
#[test]
fn who_is_called_does_not_call_back() {
    let mut pair = Pair::new();
    apart(&mut pair);
    assert_eq!(pair.both[OLD].deadline(), None);
}

/// Whoever asked for the call is told, and asks again or does not.
#[test]
fn who_has_never_greeted_is_not_called_again() {
    let place = tempfile::tempdir().unwrap();
    let _mute = Doorbell::open(place.path().join("mute")).unwrap();
    let agent = Agent::waiting(InstanceId(2), Vec::new(), Timing::default());
    let mut caller = Handover::new(agent, Program::default(), None);
    caller.call(0, Generation(1), &place.path().join("mute"), 1).unwrap();
    let mut now_ms = 0;
    while let Some(at_ms) = caller.deadline() {
        now_ms = at_ms.max(now_ms + 1);
        assert!(now_ms < 60_000, "it calls and calls");
        caller.turn(now_ms);
    }
    assert!(now_ms >= Timing::default().hello_ms);
}
