//! The machine that each of the two processes runs.

mod connections;
mod giving;
mod order;
mod session;
mod taking;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use giving::Resting;
pub use order::{Answer, NotNow, Order};
pub use session::Peer;

use connections::Connections;
use giving::Offer;
use session::Session;
use taking::Incoming;

use crate::wire::{Frame, Listener, Secret, Snapshot, Status, WireError};
use crate::{BatchId, ConnectionId, Decline, Generation, InstanceId, Refusal};

/// How long things may take. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timing {
    /// Between two beats; 250.
    pub beat_ms: u64,
    /// Without a word for so long the other is not counted on any more; 750, three beats.
    pub lease_ms: u64,
    /// From the call to the greeting; 10,000.
    pub hello_ms: u64,
    /// From the order to freeze to a connection at rest; 200.
    pub freeze_ms: u64,
    /// From the offer of a connection to its new owner's word; 1,000.
    pub adopt_ms: u64,
    /// From the order to retire to leaving; 2,000.
    pub linger_ms: u64,
    /// How long a process that has left goes on serving what could not move; 0. It holds no listeners then, exits with the
    /// last connection, and gives what is left to the process that calls it, which may be a later one than it has left for.
    pub leftover_ms: u64,
    /// How often a connection is tried before it is declined; 3.
    pub tries: u8,
    /// Before it is tried again; 50.
    pub again_ms: u64,
    /// Most connections that stand still at once; 500, which is two messages. More of them only stand still for longer.
    pub parallel: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat_ms: 250,
            lease_ms: 750,
            hello_ms: 10_000,
            freeze_ms: 200,
            adopt_ms: 1_000,
            linger_ms: 2_000,
            leftover_ms: 0,
            tries: 3,
            again_ms: 50,
            parallel: 500,
        }
    }
}

/// What the process around the machine has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Send a frame; its descriptors are those of the listeners that it names.
    Send(Frame),
    /// Send a [`Frame::Offer`] of these connections with a new token. What came to rest is kept until it is thawed or
    /// released.
    Offer {
        /// Names the offer.
        batch: BatchId,
        /// Its connections, in the order in which their descriptors go.
        connections: Vec<ConnectionId>,
    },
    /// Poll the listeners from now on.
    Poll,
    /// Do not poll them any more, and keep them open.
    Pause,
    /// Bind the listeners, since none were handed over, and answer with [`Agent::bound`].
    Bind,
    /// Look at the descriptors that came with these, in this order, and answer with [`Agent::claimed`].
    Claim(Vec<Listener>),
    /// Close the listeners that came and were not claimed yet.
    Discard,
    /// Close the listeners: the hand-over has failed, or this process has left and only serves what could not move.
    Disclaim,
    /// A secret has come.
    Keep {
        /// What it is for.
        name: String,
        /// What it is.
        bytes: Secret,
    },
    /// Bring the connection to rest at a point where it may be cut, take it out of the poller, and answer with
    /// [`Agent::frozen`] or [`Agent::declined`].
    Freeze(ConnectionId),
    /// The connection stays: poll it (again). May come for one that is polled.
    Thaw(ConnectionId),
    /// Ask the connection to end: it cannot move.
    Drain(ConnectionId),
    /// The connections belong to the other process now. Close the own copies, without a word to clients.
    Release {
        /// The offer.
        batch: BatchId,
        /// Its connections, without those that were rejected.
        connections: Vec<ConnectionId>,
    },
    /// Make connections of these, without polling them, and answer with [`Agent::prepared`].
    Prepare {
        /// The offer.
        batch: BatchId,
        /// Its connections.
        connections: Vec<Snapshot>,
    },
    /// Try to take the batch's token, and answer with [`Agent::token`] before anything else.
    TakeToken {
        /// The offer.
        batch: BatchId,
        /// Whose it is: an own offer, or one of the other process.
        own: bool,
    },
    /// The connections are this process's own now: poll them.
    Own {
        /// The offer.
        batch: BatchId,
        /// Its connections, without those that were rejected.
        connections: Vec<ConnectionId>,
    },
    /// Close what came with an offer of the other process, without a word to clients.
    Drop {
        /// The offer.
        batch: BatchId,
    },
    /// The own offer is settled: its token is of no more use.
    Settled {
        /// The offer.
        batch: BatchId,
    },
    /// Read what is left in the session's socket and give it to [`Agent::heard`], close it, and call [`Agent::hung_up`].
    Hang,
    /// Leave: end the connections that are left, close everything, exit. Nothing follows.
    Leave,
}

/// What became of connections, counted since the machine began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tally {
    /// The other process took them.
    pub moved: u64,
    /// They came from the other process.
    pub adopted: u64,
    /// They could not move, by reason.
    pub declined: BTreeMap<Decline, u64>,
    /// They were left when the process left.
    pub cut: u64,
    /// They came to rest and did not move after all.
    pub thawed: u64,
    /// Bytes of state that moved along.
    pub bytes: u64,
    /// Frames of a kind that this version does not know.
    pub unknown_frames: u64,
}

/// One process's part in handing over. Pure: time and what happens go in, [`Action`]s come out of [`next`](Self::next).
///
/// # Contract
///
/// - Times are milliseconds of one clock that never goes back.
/// - After each call, carry out every action that [`next`](Self::next) gives, in order, before the next call; except that
///   [`Action::TakeToken`] is answered at once.
/// - Call [`tick`](Self::tick) when [`deadline`](Self::deadline) has come, after everything the socket has was read: what is
///   decided then rests on the other's last word.
/// - Call [`hung_up`](Self::hung_up) only when the socket was read to its end. A socket may say "reset" while messages are
///   still in it.
/// - Call [`other_died`](Self::other_died) after that, and only when the system says so: the end of a socket proves no death.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent {
    instance: InstanceId,
    codecs: Vec<String>,
    timing: Timing,
    fence: Generation,
    status: Status,
    /// The process polled and was told to stop: where the other fails, it goes on.
    paused: bool,
    /// The other process is dead, and nobody has called since.
    alone: bool,
    leaving_ms: Option<u64>,
    /// Forward orders of this attempt are over: it turned back.
    turned_back: Option<Generation>,
    /// How often in this session this process asked for everything back, or was asked.
    turn: u32,
    left: bool,
    /// It has left, and serves what could not move until then.
    leftover_until_ms: Option<u64>,
    listeners: Vec<Listener>,
    secrets: Vec<(String, Secret)>,
    session: Option<Session>,
    /// Parts of the other's list so far.
    parts: Vec<Listener>,
    giving: bool,
    connections: Connections,
    offers: BTreeMap<BatchId, Offer>,
    next_batch: u64,
    incoming: BTreeMap<BatchId, Incoming>,
    tally: Tally,
    refusal: Option<Refusal>,
    actions: VecDeque<Action>,
}

impl Agent {
    /// A process that serves: it holds and polls `listeners`.
    #[must_use]
    pub fn serving(instance: InstanceId, listeners: Vec<Listener>, codecs: Vec<String>, timing: Timing) -> Self {
        let mut agent = Self::waiting(instance, codecs, timing);
        agent.listeners = listeners;
        agent.status = Status {
            holds: true,
            polls: true,
            ready: false,
            committed: true,
        };
        agent
    }

    /// A process that was started beside one that serves. It holds nothing and waits.
    #[must_use]
    pub fn waiting(instance: InstanceId, codecs: Vec<String>, timing: Timing) -> Self {
        Self {
            instance,
            codecs,
            timing,
            fence: Generation::default(),
            status: Status::default(),
            paused: false,
            alone: false,
            leaving_ms: None,
            turned_back: None,
            turn: 0,
            left: false,
            leftover_until_ms: None,
            listeners: Vec::new(),
            secrets: Vec::new(),
            session: None,
            parts: Vec::new(),
            giving: false,
            connections: Connections::default(),
            offers: BTreeMap::new(),
            next_batch: 0,
            incoming: BTreeMap::new(),
            tally: Tally::default(),
            refusal: None,
            actions: VecDeque::new(),
        }
    }

    /// What to do next. `None`: nothing until something happens.
    #[expect(clippy::should_implement_trait, reason = "more actions come after a `None`")]
    pub fn next(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How this process stands.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The latest attempt that was heard of: orders of earlier ones are stale.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.fence
    }

    /// It has left, and never comes back. It may still serve what could not move: see [`Timing::leftover_ms`].
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// The other process, if the session stands and it was heard of in time.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.session.as_ref().and_then(Session::peer)
    }

    /// Why the last session was refused or given up, by whomever; `None` if it stands, or ended without a word.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// How long things may take.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        self.timing
    }

    /// What became of connections.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Established connections that this process owns, those at rest included.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.connections.len()
    }

    /// Its self-checks passed, or do not pass any more.
    pub fn ready(&mut self, now_ms: u64, ready: bool) {
        if self.status.ready != ready {
            self.status.ready = ready;
            self.beat(now_ms);
            self.poll_if_alone(now_ms);
        }
    }

    /// The process at the other end of the last session is dead, and that is proved. If this one holds listeners, nobody else
    /// can serve who waits in their queues: it polls them once its self-checks have passed, also where nobody has ordered that
    /// yet. Ignored while a session stands.
    pub fn other_died(&mut self, now_ms: u64) {
        self.alone = self.session.is_none();
        self.poll_if_alone(now_ms);
    }

    /// A secret that the other process will need, such as session ticket keys. It goes with the listeners, or
    /// at once if they have gone already in this session.
    ///
    /// # Errors
    ///
    /// [`WireError`] if it fits no message or its name is none of 1 to 220 bytes; it is not shared.
    pub fn share(&mut self, name: String, bytes: Secret) -> Result<(), WireError> {
        let frame = Frame::Secret {
            name: name.clone(),
            bytes: bytes.clone(),
        };
        Frame::decode(&frame.encode()?, 0)?;
        self.secrets.retain(|(known, _)| *known != name);
        self.secrets.push((name, bytes));
        // Keys that are made anew after the listeners went must not be missing on the other side.
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.offered && !session.hanging)
        {
            self.act(Action::Send(frame));
        }
        Ok(())
    }

    /// A connection was accepted.
    pub fn opened(&mut self, now_ms: u64, id: ConnectionId) {
        self.connections.come(id);
        self.pump(now_ms);
    }

    /// A connection ended by itself.
    pub fn closed(&mut self, now_ms: u64, id: ConnectionId) {
        self.connections.remove(id);
        self.pump(now_ms);
        self.watch_leftovers(now_ms);
    }

    /// When [`tick`](Self::tick) is due, in milliseconds of the caller's clock. `None`: nothing is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let session = self.session.as_ref().and_then(|session| session.deadline(&self.timing));
        let offers = self.offers.values().filter_map(Offer::deadline);
        let places = self.connections.deadline(self.room());
        session
            .into_iter()
            .chain(self.leaving_ms)
            .chain(self.leftover_until_ms)
            .chain(offers)
            .chain(places)
            .min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        if self.left && self.leftover_until_ms.is_none() {
            return;
        }
        self.watch_session(now_ms);
        self.watch_connections(now_ms);
        if let Some(at_ms) = self.leaving_ms.filter(|at_ms| *at_ms <= now_ms) {
            if now_ms - at_ms > self.timing.lease_ms {
                // This process was stopped: what it has read since may be old, too.
                self.leaving_ms = Some(now_ms.saturating_add(self.timing.lease_ms));
            } else {
                self.leave_or_stay(now_ms);
            }
        }
        self.pump(now_ms);
        self.watch_leftovers(now_ms);
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Polls, if it may and does not.
    fn poll(&mut self, now_ms: u64) {
        self.paused = false;
        if self.status.holds && !self.status.polls && !self.left {
            self.status.polls = true;
            self.act(Action::Poll);
            self.beat(now_ms);
        }
    }

    fn poll_if_alone(&mut self, now_ms: u64) {
        if self.alone && self.status.ready {
            self.poll(now_ms);
        }
    }

    fn pause(&mut self, now_ms: u64) {
        if self.status.polls {
            self.status.polls = false;
            self.paused = true;
            self.act(Action::Pause);
            self.beat(now_ms);
        }
    }

    /// The other is not to be counted on. Whoever may accept accepts: twice does no harm, nobody does.
    fn stand_alone(&mut self, now_ms: u64) {
        self.giving = false;
        self.leaving_ms = None;
        if self.paused {
            self.poll(now_ms);
        }
        self.take_back(now_ms);
    }

    fn leave_or_stay(&mut self, now_ms: u64) {
        self.leaving_ms = None;
        let safe = self
            .peer()
            .is_some_and(|peer| peer.status.committed && peer.status.polls && peer.status.ready);
        if !safe {
            // The other is not what it was: this process stays, and the controller decides anew.
            self.poll(now_ms);
            return;
        }
        if !self.offers.is_empty() || self.giving && !self.connections.are_settled() {
            // Something is between the two, or may still go there, and is soon with one of them: it is not tried for ever.
            self.leaving_ms = Some(now_ms.saturating_add(self.timing.beat_ms));
            return;
        }
        self.left = true;
        self.paused = false;
        self.status = Status::default();
        for batch in core::mem::take(&mut self.incoming).into_keys() {
            self.act(Action::Drop { batch });
        }
        if self.connections.len() == 0 || self.timing.leftover_ms == 0 {
            self.leave();
            return;
        }
        self.leftover_until_ms = Some(now_ms.saturating_add(self.timing.leftover_ms));
        self.act(Action::Disclaim);
        // The other one is free for its own successor.
        self.hang(now_ms);
    }

    fn leave(&mut self) {
        self.leftover_until_ms = None;
        self.tally.cut += core::mem::take(&mut self.connections).len() as u64;
        self.act(Action::Leave);
    }

    /// One that has left gives what it can to whoever calls it and accepts, hangs up when there is nothing more to give, and
    /// goes with its last connection, or at its time.
    fn watch_leftovers(&mut self, now_ms: u64) {
        let Some(until_ms) = self.leftover_until_ms else {
            return;
        };
        if !self.offers.is_empty() {
            // What is between the two is soon with one of them.
            self.leftover_until_ms = Some(until_ms.max(now_ms.saturating_add(self.timing.beat_ms)));
            return;
        }
        if self.connections.len() == 0 || until_ms <= now_ms {
            self.leave();
            return;
        }
        if !self.peer().is_some_and(|peer| peer.status.polls) {
            return;
        }
        if self.giving {
            if self.connections.are_settled() {
                self.hang(now_ms);
            }
        } else {
            self.start_giving(now_ms);
        }
    }

    /// Ends the session by the own will: what came is no frame, or the program cannot go on with this hand-over. What is
    /// offered is taken back.
    pub fn give_up(&mut self, now_ms: u64, refusal: Refusal) {
        if self.session.as_ref().is_none_or(|session| session.hanging) {
            return;
        }
        self.refusal = Some(refusal);
        self.act(Action::Send(Frame::Refuse(refusal)));
        self.hang(now_ms);
    }

    /// Nothing is said any more. What the other has said about offers is still to be read.
    fn hang(&mut self, now_ms: u64) {
        let Some(session) = self.session.as_mut().filter(|session| !session.hanging) else {
            return;
        };
        session.hanging = true;
        self.act(Action::Hang);
        self.stand_alone(now_ms);
    }

    /// Cookies of the own listeners.
    fn cookies(&self) -> BTreeSet<u64> {
        self.listeners.iter().map(|listener| listener.cookie).collect()
    }
}

#[cfg(test)]
impl Agent {
    pub(crate) const fn batches(&self) -> u64 {
        self.next_batch
    }

    pub(crate) const fn turn(&self) -> u32 {
        self.turn
    }

    pub(crate) fn owns(&self, id: ConnectionId) -> bool {
        self.connections.get(id).is_some()
    }

    /// Nothing is on its way between the two.
    pub(crate) fn rests(&self) -> bool {
        self.offers.is_empty()
            && self.incoming.is_empty()
            && self.leaving_ms.is_none()
            && self.leftover_until_ms.is_none()
            && self.connections.moving() == 0
    }

    /// Sets its clock back by `by_ms`, so that states reached at different times compare equal.
    pub(crate) fn rebase(&mut self, by_ms: u64) {
        self.leaving_ms.iter_mut().for_each(|time| *time -= by_ms);
        self.leftover_until_ms.iter_mut().for_each(|time| *time -= by_ms);
        self.offers.values_mut().for_each(|offer| offer.rebase(by_ms));
        self.connections.rebase(by_ms);
        if let Some(session) = &mut self.session {
            session.rebase(by_ms, &self.timing);
        }
        self.tally = Tally::default();
        self.refusal = None;
    }
}
