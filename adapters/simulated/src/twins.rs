//! Places in which two instances run side by side, and the agents that hand over between them.
//!
//! The agents are modelled by what can be seen of them: what they hold, poll and own. An order of theirs is done at once,
//! but for connections, which take a while to move.

use unattended_upgrade::{
    EffectOutcome, HandoverOrder, InstanceId, Moves, Pair, Pauses, Phase, SelfCheck, SlotSeen, Version,
};

use crate::fleet::{Act, Fleet, Start};
use crate::platform::START_UP;
use crate::population::{Fate, NEVER, Slot, at};

/// Connections have moved so long after the order.
const MOVE_MS: u64 = 2_000;
/// Those that do not move have ended by themselves so long after the order.
const DECLINE_MS: u64 = 5_000;
/// One of so many connections does not move.
const DECLINED_OF: u32 = 20;
/// Unread input and state of one connection.
const BYTES_EACH: u64 = 700;
/// An order that nobody is there to hear is worth another try after so long.
const UNREACHED_MS: u64 = 1_000;

/// An instance, as it was drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    pub(crate) number: u32,
    pub(crate) version: u8,
    pub(crate) fate: Fate,
    pub(crate) up_at: u64,
    pub(crate) ready_at: u64,
}

impl Instance {
    pub(crate) fn of(slot: &Slot) -> Self {
        Self {
            number: slot.instance,
            version: slot.version,
            fate: slot.fate,
            up_at: slot.up_at,
            ready_at: slot.ready_at,
        }
    }

    pub(crate) fn put_into(self, slot: &mut Slot) {
        slot.instance = self.number;
        slot.version = self.version;
        slot.fate = self.fate;
        slot.up_at = self.up_at;
        slot.ready_at = self.ready_at;
    }

    fn phase(&self, now: u64) -> Phase {
        match self.fate {
            Fate::Nothing => Phase::Stopped,
            _ if now < self.up_at => Phase::Starting,
            Fate::Crashing => Phase::Crashing,
            Fate::Up | Fate::NeverReady | Fate::Unready => Phase::Running,
        }
    }

    fn runs(&self, now: u64) -> bool {
        self.phase(now) == Phase::Running
    }
}

/// What the agent of an instance holds and does.
#[derive(Clone, Copy, Debug, Default)]
struct Agent {
    listeners: bool,
    /// Since when it polls.
    polls_since: Option<u64>,
    committed: bool,
    retired: bool,
}

/// What a place has beside its own slot.
#[derive(Clone, Debug)]
pub(crate) struct Twin {
    /// The other slot: what runs beside the instance that serves; `None` if it is empty.
    other: Option<Instance>,
    /// The highest number that an instance here ever had: none is given twice.
    highest: u32,
    /// Of the instance that serves, and of the other.
    agents: [Agent; 2],
    /// Which of the two slots the serving one is in.
    flipped: bool,
    /// The old version of a session that stands.
    session: Option<u8>,
    /// Connections that were there when the hand-over began, and whose they are.
    count: u32,
    owner: u8,
    /// To whom they move, and since when.
    moving: Option<(u8, u64)>,
    done: Moves,
}

impl Twin {
    fn new(serving: &Instance) -> Self {
        Self {
            other: None,
            highest: serving.number,
            agents: [Agent::serving(), Agent::default()],
            flipped: false,
            session: None,
            count: 0,
            owner: serving.version,
            moving: None,
            done: Moves::default(),
        }
    }

    /// A number for one more instance.
    pub(crate) fn next_number(&mut self) -> u32 {
        self.highest += 1;
        self.highest
    }

    /// Connections of those that were there, at the instance of a version.
    fn connections(&self, version: u8, now: u64) -> u32 {
        let declined = self.count / DECLINED_OF;
        match self.moving {
            Some((to, since)) if now >= since + MOVE_MS => match (to == version, self.owner == version) {
                (true, _) => self.count - declined,
                (false, true) if now < since + DECLINE_MS => declined,
                _ => 0,
            },
            _ if self.owner == version => self.count,
            _ => 0,
        }
    }

    fn moves(&self, now: u64) -> Moves {
        let mut moves = self.done;
        let declined = self.count / DECLINED_OF;
        if let Some((_, since)) = self.moving.filter(|(_, since)| now >= since + MOVE_MS) {
            let moved = self.count - declined;
            moves.moved += moved;
            moves.bytes += u64::from(moved) * BYTES_EACH;
            if now >= since + DECLINE_MS {
                moves.declined += declined;
            }
            moves.pauses = Pauses {
                p50_us: 300,
                p99_us: 2_000,
                max_us: 9_000,
            };
        }
        moves
    }

    /// Counts what has moved, and lets the rest be where it is.
    fn stop_moving(&mut self, now: u64) {
        if let Some((to, since)) = self.moving.take_if(|(_, since)| now >= *since + MOVE_MS) {
            self.moving = Some((to, since));
            self.done = self.moves(now);
            if now < since + DECLINE_MS {
                // They are asked to end, and will have.
                self.done.declined += self.count / DECLINED_OF;
            }
            self.count -= self.count / DECLINED_OF;
            self.owner = to;
        }
        self.moving = None;
    }

    /// An instance ends: its connections end with it, and the other side goes on by itself.
    fn ends(&mut self, version: u8, cut: bool, now: u64) {
        self.stop_moving(now);
        if self.owner == version {
            let ended = std::mem::take(&mut self.count);
            if cut {
                self.done.cut += ended;
            } else {
                self.done.lost += ended;
            }
        }
        self.session = None;
    }
}

impl Agent {
    const fn serving() -> Self {
        Self {
            listeners: true,
            polls_since: Some(0),
            committed: false,
            retired: false,
        }
    }
}

impl Fleet {
    /// What must be answered instead of doing it.
    pub(crate) fn objection(&self, number: u32, act: Act) -> Option<EffectOutcome> {
        let failed = |reason: &str| Some(EffectOutcome::Failed { reason: reason.into() });
        let main = Instance::of(self.slot(number));
        let twin = self.twins.get(&number);
        let other = twin.and_then(|twin| twin.other);
        let of = |version: u8| [Some(main), other].into_iter().flatten().find(|i| i.version == version);
        match act {
            Act::Spawn(version) if main.version != version && other.is_some_and(|o| o.version != version) => {
                failed("both slots of the target are taken")
            }
            Act::Stop(instance) => {
                let lives = |i: Instance| i.number == instance && i.fate != Fate::Nothing;
                let known = lives(main) || other.is_some_and(lives);
                (!known).then_some(EffectOutcome::AlreadyApplied)
            }
            Act::Reset(version) => of(version).is_none().then_some(EffectOutcome::AlreadyApplied),
            Act::HandOver(order, from, to) => {
                let runs = |version: u8| of(version).is_some_and(|i| i.runs(self.now));
                let twin = twin?;
                let session = twin.session.is_some();
                let new = self.agent_of(number, to);
                let polls = new.is_some_and(|agent| agent.polls_since.is_some());
                let committed = new.is_some_and(|agent| agent.committed);
                let unreached = Some(EffectOutcome::Retry { after_ms: UNREACHED_MS });
                match order {
                    HandoverOrder::Commit => {
                        if runs(to) {
                            None
                        } else {
                            unreached
                        }
                    }
                    _ if !runs(from) => unreached,
                    HandoverOrder::Offer => {
                        if runs(to) {
                            None
                        } else {
                            unreached
                        }
                    }
                    HandoverOrder::Accept | HandoverOrder::Migrate if !session => failed("there is no session"),
                    HandoverOrder::Quiesce if !session || !polls => failed("the new instance does not accept"),
                    HandoverOrder::Retire if !session || !committed => {
                        failed("the lease on the new instance is not alive")
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn agent_of(&self, number: u32, version: u8) -> Option<Agent> {
        let twin = self.twins.get(&number)?;
        if self.slot(number).version == version {
            return Some(twin.agents[0]);
        }
        twin.other
            .filter(|other| other.version == version)
            .map(|_| twin.agents[1])
    }

    /// Does what the slots and agents are told.
    pub(crate) fn act_beside(&mut self, number: u32, act: Act) {
        let now = self.now;
        let main = Instance::of(self.slot(number));
        self.twins.entry(number).or_insert_with(|| Twin::new(&main));
        match act {
            Act::Spawn(version) => self.spawn(number, version),
            Act::Stop(instance) => {
                let version = if main.number == instance {
                    self.population.slots[at(number)].fate = Fate::Nothing;
                    Some(main.version)
                } else {
                    self.other_mut(number)
                        .filter(|other| other.number == instance)
                        .map(|other| {
                            other.fate = Fate::Nothing;
                            other.version
                        })
                };
                if let Some(version) = version {
                    self.end(number, version, true);
                }
            }
            Act::Reset(version) => {
                self.end(number, version, true);
                if main.version == version {
                    // What runs beside is all that is left.
                    self.swap(number);
                }
                if let Some(twin) = self.twins.get_mut(&number) {
                    match &twin.other {
                        Some(other) if other.version == version => twin.other = None,
                        _ => self.population.slots[at(number)].fate = Fate::Nothing,
                    }
                    twin.agents[1] = Agent::default();
                }
                self.place(number);
            }
            Act::HandOver(order, from, to) => self.hand_over(number, order, from, to, now),
            _ => {}
        }
    }

    fn other_mut(&mut self, number: u32) -> Option<&mut Instance> {
        self.twins.get_mut(&number)?.other.as_mut()
    }

    fn spawn(&mut self, number: u32, version: u8) {
        let main = Instance::of(self.slot(number));
        if main.version == version {
            if main.fate == Fate::Nothing {
                self.start(number, version, Start::InPlace);
            }
            return;
        }
        let lives = |other: &Instance| other.fate != Fate::Nothing;
        if self.other_mut(number).is_some_and(|other| lives(other)) {
            return;
        }
        let next = self.twins.get_mut(&number).map_or(main.number + 1, Twin::next_number);
        let instance = self.drawn(number, next, version, Start::InPlace);
        let alone = main.fate == Fate::Nothing;
        if let Some(twin) = self.twins.get_mut(&number) {
            twin.other = Some(instance);
            twin.agents[1] = Agent::default();
            twin.done = Moves::default();
        }
        if alone {
            self.swap(number);
            if let Some(twin) = self.twins.get_mut(&number) {
                twin.agents[0] = Agent::serving();
            }
        }
    }

    /// An instance ends; the other one, if its lease was on that one, polls again.
    fn end(&mut self, number: u32, version: u8, cut: bool) {
        let (now, serving) = (self.now, self.slot(number).version);
        let Some(twin) = self.twins.get_mut(&number) else {
            return;
        };
        let had_session = twin.session;
        twin.ends(version, cut, now);
        if had_session.is_some_and(|old| old != version) {
            let old = usize::from(had_session != Some(serving));
            resume(&mut twin.agents[old], now);
        }
    }

    fn hand_over(&mut self, number: u32, order: HandoverOrder, from: u8, to: u8, now: u64) {
        let serving = self.slot(number).version;
        let steady = crate::platform::steady_connections(self.slot(number));
        let Some(twin) = self.twins.get_mut(&number) else {
            return;
        };
        let (old, new) = if serving == from { (0, 1) } else { (1, 0) };
        match order {
            HandoverOrder::Offer => {
                if twin.session.is_none() {
                    twin.stop_moving(now);
                    (twin.count, twin.owner) = (steady, serving);
                }
                twin.session = Some(from);
                twin.agents[new].listeners = true;
            }
            HandoverOrder::Accept => {
                let _ = twin.agents[new].polls_since.get_or_insert(now);
            }
            HandoverOrder::Quiesce => twin.agents[old].polls_since = None,
            HandoverOrder::Migrate => {
                if twin.moving.is_none_or(|(towards, _)| towards != to) {
                    twin.stop_moving(now);
                    twin.moving = Some((to, now));
                }
            }
            HandoverOrder::Commit => {
                twin.agents[new].listeners = true;
                let _ = twin.agents[new].polls_since.get_or_insert(now);
                twin.agents[new].committed = true;
                if new == 1 {
                    self.swap(number);
                }
            }
            HandoverOrder::Retire => {
                twin.stop_moving(now);
                if twin.owner == from {
                    twin.done.cut += std::mem::take(&mut twin.count);
                }
                twin.agents[old] = Agent {
                    retired: true,
                    ..Agent::default()
                };
            }
            HandoverOrder::Return => {
                // One that had left is asked back, and polls before the new one stops.
                twin.agents[old].retired = false;
                resume(&mut twin.agents[old], now);
                if twin.session.is_some() {
                    twin.agents[new].polls_since = None;
                    twin.stop_moving(now);
                    if twin.owner != from {
                        twin.moving = Some((from, now));
                    }
                }
                twin.agents[new].committed = false;
                if old == 1 {
                    self.swap(number);
                }
            }
        }
    }

    /// The two change places: what served stands beside.
    fn swap(&mut self, number: u32) {
        let main = Instance::of(self.slot(number));
        let Some(twin) = self.twins.get_mut(&number) else {
            return;
        };
        let Some(other) = twin.other.replace(main) else {
            twin.other = None;
            return;
        };
        twin.agents.swap(0, 1);
        twin.flipped = !twin.flipped;
        self.strata.leave(number, &mut self.population.slots[at(number)]);
        other.put_into(&mut self.population.slots[at(number)]);
        self.mark(number);
        self.place(number);
    }

    /// The instance that serves is replaced or restarted: agreements with it end.
    pub(crate) fn serving_restarts(&mut self, number: u32, version: u8) {
        let serving = self.slot(number).version;
        self.end(number, serving, false);
        if let Some(twin) = self.twins.get_mut(&number) {
            twin.agents[0] = Agent::serving();
            if twin.other.is_some_and(|other| other.version == version) {
                twin.other = None;
            }
        }
    }

    pub(crate) fn pair(&self, number: u32, served: u32) -> Box<Pair> {
        let now = self.now;
        let main = Instance::of(self.slot(number));
        let Some(twin) = self.twins.get(&number) else {
            let serving = self.seen(number, &main, Agent::serving(), served);
            return Box::new(Pair {
                slots: [serving, SlotSeen::empty()],
                session: false,
                moves: Moves::default(),
            });
        };
        let handing = twin.session.is_some() || twin.moving.is_some();
        let count = |version: u8| if handing { twin.connections(version, now) } else { 0 };
        let at_main = if handing { count(main.version) } else { served };
        let serving = self.seen(number, &main, twin.agents[0], at_main);
        let other = twin.other.map_or_else(SlotSeen::empty, |other| {
            self.seen(number, &other, twin.agents[1], count(other.version))
        });
        Box::new(Pair {
            slots: if twin.flipped {
                [other, serving]
            } else {
                [serving, other]
            },
            session: twin.session.is_some(),
            moves: twin.moves(now),
        })
    }

    fn seen(&self, number: u32, instance: &Instance, agent: Agent, connections: u32) -> SlotSeen {
        let now = self.now;
        let phase = instance.phase(now);
        let up = matches!(phase, Phase::Running | Phase::Crashing);
        let ready = instance.fate == Fate::Up && instance.ready_at != NEVER && now >= instance.ready_at;
        let polls_since = agent.polls_since.filter(|_| phase == Phase::Running);
        let version: &Version = &self.versions[usize::from(instance.version)];
        if instance.fate == Fate::Nothing && agent.retired {
            return SlotSeen {
                version: Some(version.clone()),
                retired: true,
                ..SlotSeen::empty()
            };
        }
        SlotSeen {
            version: Some(version.clone()),
            phase,
            instance: up.then(|| InstanceId(u64::from(number) << 32 | u64::from(instance.number))),
            ready,
            self_check: match instance.fate {
                Fate::Unready if phase == Phase::Running => SelfCheck::Failed { check: START_UP.into() },
                _ if ready => SelfCheck::Passed,
                _ => SelfCheck::Unreported,
            },
            listeners: agent.listeners,
            accepting: polls_since.is_some(),
            accepted: Some(polls_since.map_or(0, |since| (now - since) / 1_000)),
            connections: Some(connections),
            committed: agent.committed,
            retired: agent.retired,
        }
    }
}

/// Polls again, as an old agent does whose lease has ended.
fn resume(agent: &mut Agent, now: u64) {
    if !agent.retired {
        agent.listeners = true;
        let _ = agent.polls_since.get_or_insert(now);
    }
}
