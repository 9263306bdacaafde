//! Two agents, what is between them, and every step that can be taken next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::wire::{Frame, Listener, ListenerKind, Snapshot};
use crate::{Action, Agent, BatchId, ConnectionId, Decline, Generation, InstanceId, Order, Resting, Timing};

/// Where each process's clock stands before each step.
pub(crate) const EPOCH_MS: u64 = 1_000_000;

pub(super) const OLD: usize = 0;
pub(super) const NEW: usize = 1;
const CODEC: &str = "opaque/1";

/// What holds the two together. Each can be taken away, and then something must break.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Who takes the token has the connection; without it both believe that they do.
    pub(super) token: bool,
    /// The old process keeps its copy until the word of the new one.
    pub(super) keep_copy: bool,
    /// Before it leaves, the old process reads what the other has said.
    pub(super) read_first: bool,
}

pub(super) const ALL: Rules = Rules {
    token: true,
    keep_copy: true,
    read_first: true,
};

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Message {
    Frame(Frame),
    End,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) agent: Agent,
    pub(super) alive: bool,
    pub(super) connected: bool,
    /// It had a session with the other, and has not been told of its death.
    pub(super) watches: bool,
    pub(super) polls: bool,
    /// It has polled once: it was found good.
    pub(super) proved: bool,
    /// It has left, and serves what could not move.
    pub(super) leftover: bool,
    /// Descriptors of connections, and whether each is polled.
    pub(super) copies: BTreeMap<ConnectionId, bool>,
    pub(super) freezing: BTreeSet<ConnectionId>,
    pub(super) preparing: BTreeMap<BatchId, Vec<ConnectionId>>,
    pub(super) inbox: VecDeque<Message>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) processes: [Process; 2],
    /// Tokens that nobody has taken, by giver.
    pub(super) tokens: BTreeSet<(usize, BatchId)>,
    /// Who polled a connection last.
    pub(super) owner: BTreeMap<ConnectionId, usize>,
    pub(super) cut: BTreeSet<ConnectionId>,
    pub(super) generation: u64,
    pub(super) attempts: u64,
    /// Connections may be declined on either side, and clocks may run ahead.
    pub(super) whole: bool,
    pub(super) crashes: u8,
    pub(super) reconnects: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Order(usize, Order),
    Deliver(usize),
    Tick(usize),
    Rest(usize, ConnectionId),
    Decline(usize, ConnectionId),
    Prepared(usize, BatchId, bool),
    Crash(usize),
    /// The system says that the other is dead.
    Proved(usize),
    Connect,
    NextAttempt,
}

pub(super) fn world(connections: u64, crashes: u8, reconnects: u8, attempts: u64) -> World {
    world_of(0, connections, crashes, reconnects, attempts)
}

pub(super) fn world_of(leftover_ms: u64, connections: u64, crashes: u8, reconnects: u8, attempts: u64) -> World {
    // One unit each, so that fewer times differ; clocks run apart anyhow.
    let timing = Timing {
        beat_ms: 250,
        lease_ms: 500,
        hello_ms: 250,
        freeze_ms: 250,
        adopt_ms: 250,
        linger_ms: 250,
        leftover_ms,
        tries: 1,
        again_ms: 250,
        parallel: 2,
    };
    let listener = Listener {
        name: "in".into(),
        kind: ListenerKind::Tcp,
        cookie: 7,
    };
    let process = |agent, polls| Process {
        agent,
        alive: true,
        connected: false,
        watches: false,
        polls,
        proved: polls,
        leftover: false,
        copies: BTreeMap::new(),
        freezing: BTreeSet::new(),
        preparing: BTreeMap::new(),
        inbox: VecDeque::new(),
    };
    let codecs = || vec![CODEC.to_owned()];
    let old = Agent::serving(InstanceId(1), vec![listener], codecs(), timing);
    let new = Agent::waiting(InstanceId(2), codecs(), timing);
    let mut world = World {
        processes: [process(old, true), process(new, false)],
        tokens: BTreeSet::new(),
        owner: BTreeMap::new(),
        cut: BTreeSet::new(),
        generation: 1,
        attempts,
        whole: true,
        crashes,
        reconnects: reconnects + 1,
    };
    for id in (0..connections).map(ConnectionId) {
        world.processes[OLD].copies.insert(id, true);
        world.processes[OLD].agent.opened(EPOCH_MS, id);
        world.owner.insert(id, OLD);
    }
    for side in [OLD, NEW] {
        world.processes[side].agent.ready(EPOCH_MS, true);
        world.obey(side, &ALL);
    }
    world
}

impl World {
    pub(super) fn events(&self, rules: &Rules) -> Vec<Event> {
        let mut all = Vec::new();
        let both = |side: usize| self.processes[side].alive && self.processes[side].connected;
        for order in [
            Order::Offer,
            Order::Quiesce,
            Order::Migrate,
            Order::Retire,
            Order::Return,
        ] {
            all.push(Event::Order(OLD, order));
        }
        for order in [Order::Accept, Order::Commit] {
            all.push(Event::Order(NEW, order));
        }
        for (side, process) in self.processes.iter().enumerate().filter(|(_, process)| process.alive) {
            if !process.inbox.is_empty() {
                all.push(Event::Deliver(side));
            }
            if self.whole && process.agent.deadline().is_some() && (process.inbox.is_empty() || !rules.read_first) {
                all.push(Event::Tick(side));
            }
            for id in &process.freezing {
                all.push(Event::Rest(side, *id));
                all.extend(self.whole.then_some(Event::Decline(side, *id)));
            }
            for batch in process.preparing.keys() {
                all.push(Event::Prepared(side, *batch, true));
                all.extend(self.whole.then_some(Event::Prepared(side, *batch, false)));
            }
            if self.crashes > 0 {
                all.push(Event::Crash(side));
            }
            let unread = process.connected || !process.inbox.is_empty();
            if process.watches && !unread && !self.processes[1 - side].alive {
                all.push(Event::Proved(side));
            }
        }
        let apart = self
            .processes
            .iter()
            .all(|process| process.alive && process.agent.would_take_call().is_ok())
            && !both(OLD)
            && !both(NEW)
            && self.processes.iter().all(|process| process.inbox.is_empty());
        if apart && self.reconnects > 0 {
            all.push(Event::Connect);
        }
        if self.generation < self.attempts {
            all.push(Event::NextAttempt);
        }
        all
    }

    pub(super) fn step(&mut self, event: &Event, rules: &Rules) {
        match event {
            Event::Order(side, order) => {
                // A controller that turns back or begins to move again and again leads to nothing new.
                let settled = match order {
                    Order::Return => u64::from(self.processes[*side].agent.turn()) < self.attempts,
                    Order::Migrate => self.processes[*side].agent.batches() < 2,
                    _ => true,
                };
                if self.processes[*side].alive && settled {
                    let generation = Generation(self.generation);
                    self.processes[*side].agent.order(EPOCH_MS, generation, *order);
                    self.obey(*side, rules);
                }
            }
            Event::Deliver(side) => {
                match self.processes[*side].inbox.pop_front() {
                    Some(Message::Frame(frame)) => {
                        if let Frame::Offer { connections, .. } = &frame {
                            for one in connections {
                                self.processes[*side].copies.entry(one.id).or_insert(false);
                            }
                        }
                        self.processes[*side].agent.heard(EPOCH_MS, frame);
                    }
                    Some(Message::End) => {
                        self.processes[*side].connected = false;
                        self.processes[*side].agent.hung_up(EPOCH_MS);
                    }
                    None => {}
                }
                self.obey(*side, rules);
            }
            Event::Tick(side) => {
                let agent = &mut self.processes[*side].agent;
                let now_ms = agent.deadline().map_or(EPOCH_MS, |at_ms| at_ms.max(EPOCH_MS));
                agent.tick(now_ms);
                self.obey_at(*side, now_ms, rules);
                self.processes[*side].agent.rebase(now_ms - EPOCH_MS);
            }
            Event::Rest(side, id) => {
                let process = &mut self.processes[*side];
                process.freezing.remove(id);
                process.copies.insert(*id, false);
                let resting = Resting {
                    id: *id,
                    codec: CODEC,
                    descriptors: 1,
                    state_len: 0,
                };
                process.agent.frozen(EPOCH_MS, &[resting]);
                self.obey(*side, rules);
            }
            Event::Decline(side, id) => {
                let process = &mut self.processes[*side];
                process.freezing.remove(id);
                process.agent.declined(EPOCH_MS, *id, Decline::Tls);
                self.obey(*side, rules);
            }
            Event::Prepared(side, batch, good) => {
                let process = &mut self.processes[*side];
                let ids = process.preparing.remove(batch).unwrap_or_default();
                // The first of an offer is the one that may be bad.
                let bad = ids.iter().take(usize::from(!*good));
                let rejected: BTreeMap<_, _> = bad.map(|id| (*id, Decline::BadState)).collect();
                for id in rejected.keys() {
                    // One of a later offer is another descriptor.
                    if !process.agent.owns(*id) {
                        process.copies.remove(id);
                    }
                }
                let left: Vec<_> = ids.into_iter().filter(|id| !rejected.contains_key(id)).collect();
                process.preparing.insert(*batch, left);
                process.agent.prepared(*batch, &rejected);
                self.obey(*side, rules);
                self.processes[*side].preparing.remove(batch);
            }
            Event::Crash(side) => {
                self.crashes -= 1;
                self.die(*side);
            }
            Event::Proved(side) => {
                self.processes[*side].watches = false;
                self.processes[*side].agent.other_died(EPOCH_MS);
                self.obey(*side, rules);
            }
            Event::Connect => {
                self.reconnects -= 1;
                for one in &mut self.processes {
                    (one.connected, one.watches) = (true, true);
                }
                for side in [NEW, OLD] {
                    self.processes[side].agent.connected(EPOCH_MS, side == NEW, 5);
                    self.obey(side, rules);
                }
            }
            Event::NextAttempt => self.generation += 1,
        }
    }

    fn die(&mut self, side: usize) {
        let process = &mut self.processes[side];
        process.alive = false;
        process.polls = false;
        process.copies.clear();
        process.freezing.clear();
        process.preparing.clear();
        process.inbox.clear();
        if core::mem::take(&mut process.connected) {
            self.send(1 - side, Message::End);
        }
    }

    fn send(&mut self, to: usize, message: Message) {
        let inbox = &mut self.processes[to].inbox;
        // A second word of the same kind tells nothing that the first does not.
        let beat = matches!(message, Message::Frame(Frame::Beat { .. }));
        if !(beat && inbox.back() == Some(&message)) {
            inbox.push_back(message);
        }
    }

    fn say(&mut self, side: usize, frame: Frame) {
        if self.processes.iter().all(|one| one.connected) {
            self.send(1 - side, Message::Frame(frame));
        }
    }

    fn obey(&mut self, side: usize, rules: &Rules) {
        self.obey_at(side, EPOCH_MS, rules);
    }

    fn obey_at(&mut self, side: usize, now_ms: u64, rules: &Rules) {
        while let Some(action) = self.processes[side].agent.next() {
            self.carry_out(side, now_ms, action, rules);
        }
    }

    fn carry_out(&mut self, side: usize, now_ms: u64, action: Action, rules: &Rules) {
        let other = 1 - side;
        match action {
            Action::Send(frame) => self.say(side, frame),
            Action::Offer { batch, connections } => {
                self.tokens.insert((side, batch));
                for id in &connections {
                    let polled = self.processes[side].copies.get(id);
                    assert_eq!(polled, Some(&false), "offered while it is polled");
                    if !rules.keep_copy {
                        self.processes[side].copies.remove(id);
                    }
                }
                let connections = connections
                    .into_iter()
                    .map(|id| Snapshot {
                        id,
                        codec: CODEC.into(),
                        descriptors: 1,
                        state: Vec::new(),
                    })
                    .collect();
                self.say(side, Frame::Offer { batch, connections });
            }
            Action::Bind => {
                let listener = Listener {
                    name: "in".into(),
                    kind: ListenerKind::Tcp,
                    cookie: 8,
                };
                self.processes[side].polls = true;
                self.processes[side].proved = true;
                self.processes[side].agent.bound(now_ms, vec![listener]);
            }
            Action::Poll => {
                self.processes[side].polls = true;
                self.processes[side].proved = true;
            }
            Action::Pause => self.processes[side].polls = false,
            Action::Claim(listeners) => {
                let cookies: Vec<u64> = listeners.iter().map(|one| one.cookie).collect();
                self.processes[side].agent.claimed(now_ms, &cookies);
            }
            Action::Freeze(id) => {
                self.processes[side].freezing.insert(id);
            }
            Action::Thaw(id) => {
                let process = &mut self.processes[side];
                process.freezing.remove(&id);
                if let Some(polled) = process.copies.get_mut(&id) {
                    *polled = true;
                    self.owner.insert(id, side);
                }
            }
            Action::Release { connections, .. } => {
                for id in connections {
                    self.processes[side].copies.remove(&id);
                }
            }
            Action::Prepare { batch, connections } => {
                let ids = connections.iter().map(|one| one.id).collect();
                self.processes[side].preparing.insert(batch, ids);
            }
            Action::TakeToken { batch, own } => {
                let giver = if own { side } else { other };
                let taken = self.tokens.remove(&(giver, batch)) || !rules.token;
                self.processes[side].agent.token(now_ms, batch, own, taken);
            }
            Action::Own { connections, .. } => {
                for id in connections {
                    self.processes[side].copies.insert(id, true);
                    self.owner.insert(id, side);
                }
            }
            Action::Drop { batch } => {
                let process = &mut self.processes[side];
                process.preparing.remove(&batch);
                let known = &process.agent;
                process.copies.retain(|id, polled| *polled || known.owns(*id));
            }
            Action::Hang => {
                self.processes[side].connected = false;
                for message in core::mem::take(&mut self.processes[side].inbox) {
                    if let Message::Frame(frame) = message {
                        self.processes[side].agent.heard(now_ms, frame);
                    }
                }
                self.processes[side].agent.hung_up(now_ms);
                if self.processes[other].connected {
                    self.send(other, Message::End);
                }
            }
            Action::Leave => {
                if !self.processes[side].leftover {
                    self.may_leave(side);
                }
                self.cut.extend(self.processes[side].copies.keys());
                self.die(side);
            }
            Action::Disclaim => {
                if self.processes[side].agent.has_left() {
                    self.may_leave(side);
                    self.processes[side].leftover = true;
                }
                self.processes[side].polls = false;
            }
            Action::Discard | Action::Keep { .. } | Action::Drain(_) | Action::Settled { .. } => {}
        }
    }

    fn may_leave(&self, side: usize) {
        let peer = &self.processes[1 - side];
        assert!(peer.alive && peer.polls, "S3: it leaves and nobody is there to serve");
    }
}
