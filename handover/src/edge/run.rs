//! Carries out what the machine wants: the only place where frames, descriptors and tokens meet.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::net::sockopt;
use rustix::process::Uid;

use super::anew::Called;
use super::channel::is_dead;
use super::{Call, Channel, Doorbell, Received, Token, call};
use crate::wire::{Frame, Lent, Listener, Secret, Snapshot, WireError, offer};
use crate::{Action, Agent, Answer, BatchId, ConnectionId, Decline, Generation, Order, Refusal, Resting};

/// Most messages that are heard before the program has its turn again.
const MESSAGES_A_TURN: usize = 1_024;

/// Most calls likewise.
const CALLS_A_TURN: usize = 16;

/// A connection at rest, as the process gives it away or gets it back. Prints without its state, in which is what clients
/// have said.
#[expect(clippy::exhaustive_structs, reason = "made by every program")]
pub struct Frozen {
    /// Which.
    pub id: ConnectionId,
    /// What reads `state`: `http1/1`.
    pub codec: Arc<str>,
    /// Where the protocol stands, bytes that were read and not worked off included.
    pub state: Vec<u8>,
    /// The connection's sockets, the client's side first; 1 to 8. Their flags must not be changed: they are shared.
    pub descriptors: Vec<OwnedFd>,
}

impl core::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            id,
            codec,
            state,
            descriptors,
        } = self;
        write!(f, "Frozen({id}, {codec}, {descriptors:?}, {} bytes)", state.len())
    }
}

/// The program around the hand-over. Calls come one at a time and must not block.
pub trait Host {
    /// A connection that was made of a snapshot and is not polled yet. Dropped, it closes its sockets without a word.
    type Prepared;

    /// Poll the listeners from now on, or do not.
    fn poll(&mut self, on: bool);

    /// Bind the listeners and poll them: the process that had them is gone. What was bound.
    fn bind(&mut self) -> Vec<Listener>;

    /// The listener of this name.
    fn listener(&self, name: &str) -> Option<BorrowedFd<'_>>;

    /// These listeners are shared from now on. Do not poll them yet.
    ///
    /// # Errors
    ///
    /// The first that this program has no use for: the hand-over fails, and the other process goes on serving.
    fn claim(&mut self, listeners: Vec<(Listener, OwnedFd)>) -> Result<(), String>;

    /// Close all listeners that were claimed: the hand-over has failed.
    fn disclaim(&mut self);

    /// A secret of the other process.
    fn keep(&mut self, name: &str, secret: &Secret);

    /// Bring the connection to a point where its protocol may be cut, take it out of the poller, and give it to
    /// [`Handover::frozen`]; or say [`Handover::declined`].
    fn freeze(&mut self, id: ConnectionId);

    /// It stays. `None`: it had not come to rest yet, and shall go on.
    ///
    /// Who ends a connection that came to rest once calls `shutdown(2)`: the other process may have a copy of the descriptor,
    /// and a client does not see the end of one that is only closed.
    fn thaw(&mut self, id: ConnectionId, frozen: Option<Frozen>);

    /// It cannot move: ask its client to end it.
    fn drain(&mut self, id: ConnectionId);

    /// It is the other process's.
    fn moved(&mut self, id: ConnectionId);

    /// Makes a connection of what came.
    ///
    /// # Errors
    ///
    /// Why it cannot. It stays where it is.
    fn prepare(&mut self, frozen: Frozen) -> Result<Self::Prepared, Decline>;

    /// The connection is this process's own: poll it.
    fn own(&mut self, id: ConnectionId, prepared: Self::Prepared);

    /// A process of another user has called, past the mode of the doorbell's file, and was refused: say so where people
    /// read it. Does nothing by itself.
    fn stranger(&mut self, uid: Uid) {
        let _ = uid;
    }

    /// End what is left, and exit.
    fn leave(&mut self);
}

/// A process's hand-over: the machine, its socket, and the program.
#[derive(Debug)]
pub struct Handover<H: Host> {
    pub(super) agent: Agent,
    host: H,
    doorbell: Option<Doorbell>,
    channel: Option<Channel>,
    /// The process at the other end of the session, or of the last one, until it is known to be dead.
    other: Option<OwnedFd>,
    /// Whom this process has called last, as long as it may have to call again.
    pub(super) called: Option<Called>,
    /// Listeners that came and are not claimed yet.
    came: Vec<OwnedFd>,
    /// Connections that have come to rest just now.
    resting: VecDeque<Frozen>,
    /// Those that are offered, in the order of the offer.
    offered: BTreeMap<BatchId, VecDeque<Frozen>>,
    tokens: BTreeMap<BatchId, Token>,
    /// The offer that is being looked at.
    arriving: Option<(Token, Vec<OwnedFd>)>,
    prepared: BTreeMap<BatchId, Prepared<H::Prepared>>,
}

/// An offer of which connections were made. Who takes the token polls them.
#[derive(Debug)]
struct Prepared<P> {
    token: Token,
    /// In the order in which they were offered.
    connections: Vec<(ConnectionId, P)>,
}

impl<H: Host> Handover<H> {
    /// Puts the three together. `doorbell`: where the other process can call this one.
    pub const fn new(agent: Agent, host: H, doorbell: Option<Doorbell>) -> Self {
        Self {
            agent,
            host,
            doorbell,
            channel: None,
            other: None,
            called: None,
            came: Vec::new(),
            resting: VecDeque::new(),
            offered: BTreeMap::new(),
            tokens: BTreeMap::new(),
            arriving: None,
            prepared: BTreeMap::new(),
        }
    }

    /// The machine.
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The program.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// The program.
    pub const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// What to wait for: call [`turn`](Self::turn) when one of them can be read, or, if `true` stands beside it, written.
    pub fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let doorbell = self.doorbell.as_ref().map(|bell| (bell.as_fd(), false));
        let channel = self
            .channel
            .as_ref()
            .map(|channel| (channel.as_fd(), channel.wants_room()));
        // Before a session has ended its end is of no interest: what was said is read first.
        let other = self.other.as_ref().filter(|_| self.channel.is_none());
        let other = other.map(|process| (process.as_fd(), false));
        doorbell.into_iter().chain(channel).chain(other)
    }

    /// When to call [`turn`](Self::turn) whatever happens, in milliseconds of the caller's clock.
    pub fn deadline(&self) -> Option<u64> {
        // A session that has just ended is looked at once more before anything is waited for.
        let called = self.called.as_ref().filter(|_| self.channel.is_none());
        let called = called.map(|called| called.due_ms().unwrap_or_default());
        self.agent.deadline().into_iter().chain(called).min()
    }

    /// Calls the process at `path` on behalf of an attempt. `nonce` must never have been used before, nor may those that
    /// follow it: where a session ends because one of the two was not heard in time, and both live, the process is called
    /// again with the next one, every [`Timing::lease_ms`](crate::Timing::lease_ms), until a later attempt is heard of.
    ///
    /// # Errors
    ///
    /// What the call said, or that a later attempt was heard of; no session has begun.
    pub fn call(&mut self, now_ms: u64, generation: Generation, path: &Path, nonce: u64) -> io::Result<()> {
        if self.agent.fence(generation) == Answer::Stale {
            return Err(io::Error::other(Refusal::Stale));
        }
        if let Err(refusal) = self.agent.would_take_call() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, refusal));
        }
        let channel = call(path)?;
        self.called = Some(Called::new(generation, path.to_owned(), nonce));
        self.begin(now_ms, channel, true, nonce);
        Ok(())
    }

    /// Begins a session over a channel that stands already.
    ///
    /// Dropped without a word if there is a session already.
    pub fn begin(&mut self, now_ms: u64, channel: Channel, called: bool, nonce: u64) {
        if self.agent.would_take_call().is_err() {
            return;
        }
        self.other = channel.other();
        self.channel = Some(channel);
        self.agent.connected(now_ms, called, nonce);
        self.obey(now_ms);
    }

    /// Does what there is to do now.
    pub fn turn(&mut self, now_ms: u64) {
        self.flush(now_ms);
        let all_read = self.read(now_ms);
        self.watch_other(now_ms);
        self.take_calls(now_ms);
        if all_read && self.agent.deadline().is_some_and(|at_ms| at_ms <= now_ms) {
            self.agent.tick(now_ms);
            self.obey(now_ms);
        }
        self.call_anew(now_ms);
    }

    /// Takes an order of the controller.
    pub fn order(&mut self, now_ms: u64, generation: Generation, order: Order) -> Answer {
        // What the other has said counts before anything is decided about it.
        self.read(now_ms);
        let answer = self.agent.order(now_ms, generation, order);
        self.obey(now_ms);
        answer
    }

    /// See [`Agent::fence`].
    pub fn fence(&mut self, generation: Generation) -> Answer {
        self.agent.fence(generation)
    }

    /// See [`Agent::ready`].
    pub fn ready(&mut self, now_ms: u64, ready: bool) {
        self.agent.ready(now_ms, ready);
        self.obey(now_ms);
    }

    /// See [`Agent::share`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn share(&mut self, now_ms: u64, name: String, secret: Secret) -> Result<(), WireError> {
        self.agent.share(name, secret)?;
        self.obey(now_ms);
        Ok(())
    }

    /// See [`Agent::opened`].
    pub fn opened(&mut self, now_ms: u64, id: ConnectionId) {
        self.agent.opened(now_ms, id);
        self.obey(now_ms);
    }

    /// See [`Agent::closed`].
    pub fn closed(&mut self, now_ms: u64, id: ConnectionId) {
        self.agent.closed(now_ms, id);
        self.obey(now_ms);
    }

    /// Connections have come to rest. Many at once go in one message.
    pub fn frozen(&mut self, now_ms: u64, frozen: Vec<Frozen>) {
        let resting: Vec<Resting<'_>> = frozen
            .iter()
            .map(|one| Resting {
                id: one.id,
                codec: &one.codec,
                descriptors: u8::try_from(one.descriptors.len()).unwrap_or(u8::MAX),
                state_len: one.state.len(),
            })
            .collect();
        self.agent.frozen(now_ms, &resting);
        self.resting = frozen.into();
        self.obey(now_ms);
        // What the machine has no word on goes on where it is.
        for one in core::mem::take(&mut self.resting) {
            self.host.thaw(one.id, Some(one));
        }
    }

    /// See [`Agent::declined`].
    pub fn declined(&mut self, now_ms: u64, id: ConnectionId, decline: Decline) {
        self.agent.declined(now_ms, id, decline);
        self.obey(now_ms);
    }

    /// Ends the hand-over's part in this process, and gives the program back: it is about to exit. The session ends, and
    /// what is offered and was not taken is thawed first.
    pub fn part(mut self, now_ms: u64) -> H {
        self.read(now_ms);
        self.agent.give_up(now_ms, Refusal::Leaving);
        self.obey(now_ms);
        self.host
    }

    /// The end of a session proves nothing; the end of a process does.
    fn watch_other(&mut self, now_ms: u64) {
        if self.channel.is_none() && self.other.take_if(|process| is_dead(process)).is_some() {
            self.agent.other_died(now_ms);
            self.obey(now_ms);
        }
    }

    fn take_calls(&mut self, now_ms: u64) {
        for _ in 0..CALLS_A_TURN {
            let Some(Ok(call)) = self.doorbell.as_ref().map(Doorbell::answer) else {
                return;
            };
            match call {
                Call::Nobody => return,
                Call::Stranger { uid } => self.host.stranger(uid),
                Call::Taken(mut channel, _) => match self.agent.would_take_call() {
                    Ok(()) => {
                        // Whoever calls from now on is the other one.
                        self.called = None;
                        self.begin(now_ms, channel, false, 0);
                    }
                    Err(refusal) => {
                        // Nobody waits for what cannot be sent.
                        let _ = channel.send(&Frame::Refuse(refusal), &[]);
                    }
                },
            }
        }
    }

    fn flush(&mut self, now_ms: u64) {
        let broken = self.channel.as_mut().is_some_and(|channel| channel.flush().is_err());
        // A socket that is closed says so when it is read; one that takes a message neither now nor later is of no use.
        if broken && self.read(now_ms) && self.channel.is_some() {
            self.agent.give_up(now_ms, Refusal::Broken);
            self.obey(now_ms);
        }
    }

    /// Hears what the other has said. `false`: there is more.
    fn read(&mut self, now_ms: u64) -> bool {
        for _ in 0..MESSAGES_A_TURN {
            let Some(received) = self.channel.as_mut().map(Channel::receive) else {
                return true;
            };
            match received {
                Received::Nothing => return true,
                Received::Frame(frame, descriptors) => self.heard(now_ms, frame, descriptors),
                Received::Garbled(_) => self.agent.give_up(now_ms, Refusal::Garbled),
                Received::End => {
                    self.channel = None;
                    self.agent.hung_up(now_ms);
                }
            }
            self.obey(now_ms);
        }
        false
    }

    /// Ends the session by the own will: what the other has said about offers counts, and nothing else.
    fn hang(&mut self, now_ms: u64) {
        let Some(mut channel) = self.channel.take() else { return };
        // What the other may have said is bounded by the socket's buffer, unless it goes on.
        for _ in 0..MESSAGES_A_TURN {
            match channel.receive() {
                Received::Frame(frame, _) => self.agent.heard(now_ms, frame),
                Received::Garbled(_) => {}
                Received::Nothing | Received::End => break,
            }
        }
        drop(channel);
        self.agent.hung_up(now_ms);
    }

    fn heard(&mut self, now_ms: u64, frame: Frame, mut descriptors: Vec<OwnedFd>) {
        match &frame {
            Frame::Listeners { .. } => self.came.append(&mut descriptors),
            Frame::Offer { .. } => {
                // The frame was checked: it comes with a token at least.
                let connections = descriptors.split_off(1.min(descriptors.len()));
                self.arriving = descriptors.pop().map(|token| (Token::received(token), connections));
            }
            _ => {}
        }
        self.agent.heard(now_ms, frame);
        self.obey(now_ms);
        self.arriving = None;
    }

    fn obey(&mut self, now_ms: u64) {
        while let Some(action) = self.agent.next() {
            self.carry_out(now_ms, action);
        }
    }

    fn carry_out(&mut self, now_ms: u64, action: Action) {
        match action {
            Action::Send(frame) => self.send(now_ms, &frame),
            Action::Offer { batch, connections } => {
                if !self.offer(batch, &connections) {
                    // The other has no token to take, so nobody but this process has the connections.
                    self.tokens.remove(&batch);
                    self.agent.token(now_ms, batch, true, true);
                }
            }
            Action::Poll => self.host.poll(true),
            Action::Pause => self.host.poll(false),
            Action::Bind => {
                let listeners = self.host.bind();
                self.agent.bound(now_ms, listeners);
            }
            Action::Claim(listeners) => self.claim(now_ms, listeners),
            Action::Discard => self.came.clear(),
            Action::Disclaim => self.host.disclaim(),
            Action::Keep { name, bytes } => self.host.keep(&name, &bytes),
            Action::Freeze(id) => self.host.freeze(id),
            Action::Thaw(id) => {
                let frozen = self.take_held(id);
                self.host.thaw(id, frozen);
            }
            Action::Drain(id) => self.host.drain(id),
            Action::Release { batch, connections } => {
                self.offered.remove(&batch);
                for id in connections {
                    self.host.moved(id);
                }
            }
            Action::Prepare { batch, connections } => self.prepare(batch, connections),
            Action::TakeToken { batch, own } => {
                let taken = if own {
                    self.tokens.get(&batch).is_some_and(Token::take)
                } else {
                    // Not while the word on what is rejected waits for room: it must be out before.
                    let said = self.channel.as_ref().is_none_or(|channel| !channel.is_waiting());
                    said && self.prepared.get(&batch).is_some_and(|one| one.token.take())
                };
                self.agent.token(now_ms, batch, own, taken);
            }
            Action::Own { batch, connections } => {
                let Some(prepared) = self.prepared.remove(&batch) else {
                    return;
                };
                let mut wanted = connections.into_iter().peekable();
                for (id, one) in prepared.connections {
                    if wanted.next_if_eq(&id).is_some() {
                        self.host.own(id, one);
                    }
                }
            }
            Action::Drop { batch } => {
                self.arriving = None;
                self.prepared.remove(&batch);
            }
            Action::Settled { batch } => {
                self.tokens.remove(&batch);
            }
            Action::Hang => self.hang(now_ms),
            Action::Leave => self.host.leave(),
        }
    }

    fn send(&mut self, now_ms: u64, frame: &Frame) {
        let Some(channel) = self.channel.as_mut() else { return };
        let Frame::Listeners { listeners, .. } = frame else {
            // One beat that waits is enough; if the socket is broken, reading it tells.
            if !(channel.is_waiting() && matches!(frame, Frame::Beat { .. })) {
                let _ = channel.send(frame, &[]);
            }
            return;
        };
        let descriptors: Option<Vec<_>> = listeners.iter().map(|one| self.host.listener(&one.name)).collect();
        if descriptors.is_none_or(|all| channel.send(frame, &all).is_err()) {
            // A listener that the program has lost: better no hand-over than a smaller one.
            self.agent.give_up(now_ms, Refusal::Unclaimed);
        }
    }

    /// `false`: it was not sent, and will not be.
    fn offer(&mut self, batch: BatchId, ids: &[ConnectionId]) -> bool {
        let held = take_resting(&mut self.resting, ids);
        let held = self.offered.entry(batch).or_insert(held);
        let lent = held.iter().map(|one| Lent {
            id: one.id,
            codec: &one.codec,
            descriptors: u8::try_from(one.descriptors.len()).unwrap_or(u8::MAX),
            state: &one.state,
        });
        let (Some(channel), Ok(token), Ok(bytes)) = (self.channel.as_mut(), Token::new(), offer(batch, lent)) else {
            return false;
        };
        let sockets = held.iter().flat_map(|one| &one.descriptors).map(AsFd::as_fd);
        let descriptors: Vec<_> = core::iter::once(token.as_fd()).chain(sockets).collect();
        let sent = channel.send_encoded(bytes, &descriptors).is_ok();
        self.tokens.insert(batch, token);
        sent
    }

    /// The connection that is at rest here, if it is.
    fn take_held(&mut self, id: ConnectionId) -> Option<Frozen> {
        let found = |all: &mut VecDeque<Frozen>| {
            let at = all.iter().position(|one| one.id == id)?;
            all.remove(at)
        };
        let offered = || self.offered.values_mut().find_map(found);
        let one = found(&mut self.resting).or_else(offered)?;
        self.offered.retain(|_, all| !all.is_empty());
        Some(one)
    }

    fn claim(&mut self, now_ms: u64, listeners: Vec<Listener>) {
        let came = core::mem::take(&mut self.came);
        let cookies: Vec<u64> = came
            .iter()
            .map_while(|descriptor| sockopt::socket_cookie(descriptor).ok())
            .collect();
        let pairs: Vec<_> = listeners.into_iter().zip(came).collect();
        let cookies = match self.host.claim(pairs) {
            Ok(()) => cookies,
            Err(_) => Vec::new(),
        };
        self.agent.claimed(now_ms, &cookies);
    }

    fn prepare(&mut self, batch: BatchId, connections: Vec<Snapshot>) {
        let Some((token, sockets)) = self.arriving.take() else {
            return;
        };
        let mut sockets = sockets.into_iter();
        let mut good = Vec::with_capacity(connections.len());
        let mut rejected = BTreeMap::new();
        for snapshot in connections {
            let id = snapshot.id;
            let frozen = Frozen {
                id,
                codec: snapshot.codec,
                state: snapshot.state,
                descriptors: sockets.by_ref().take(usize::from(snapshot.descriptors)).collect(),
            };
            match self.host.prepare(frozen) {
                Ok(prepared) => good.push((id, prepared)),
                Err(decline) => {
                    rejected.insert(id, decline);
                }
            }
        }
        let connections = good;
        self.prepared.insert(batch, Prepared { token, connections });
        self.agent.prepared(batch, &rejected);
    }
}

/// Takes these out of what has come to rest; they mostly are the first of it.
fn take_resting(resting: &mut VecDeque<Frozen>, ids: &[ConnectionId]) -> VecDeque<Frozen> {
    if resting.iter().take(ids.len()).map(|one| one.id).eq(ids.iter().copied()) {
        return resting.drain(..ids.len()).collect();
    }
    let mut taken = VecDeque::with_capacity(ids.len());
    for id in ids {
        let at = resting.iter().position(|one| one.id == *id);
        taken.extend(at.and_then(|at| resting.remove(at)));
    }
    taken
}
