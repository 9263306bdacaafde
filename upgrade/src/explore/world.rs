//! The world that attempts are explored in: two slots, their agents, the way of traffic, and one live connection.
use super::Rules;
use crate::{Effect, EffectOutcome, HandoverOrder, InstanceId, Mode, Step, Version, Which};

pub(super) const OLD: &str = "old";
pub(super) const NEW: &str = "new";
/// Somebody else's.
pub(super) const OTHER: &str = "other";

/// How the new version behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Healthy,
    /// A self-check of it fails.
    Failing,
    /// It exits again and again.
    Crashing,
    /// It never says that it is ready. As a configuration: it is never acknowledged.
    Silent,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Healthy, Self::Failing, Self::Crashing, Self::Silent];
}

/// The key of an effect, as far as one target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) generation: u8,
    pub(super) ordinal: u8,
}

/// Where the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Conn {
    At(Which),
    /// Offered to that side, and not yet adopted.
    Offered(Which),
    /// Ended together with the process that owned it, or cut when its owner was ended.
    Ended,
    /// Gone although the process that owned it lives.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Slot {
    pub(super) version: Option<Which>,
    /// A process runs in it.
    pub(super) instance: Option<u8>,
    pub(super) listeners: bool,
    pub(super) accepting: bool,
    pub(super) retired: bool,
    /// It was told to leave, and stays as long as its lease is in doubt.
    pub(super) lingering: bool,
    /// The new one: the old one, which has passed it the listeners, is dead.
    pub(super) alone: bool,
    /// The new one: it polled, and was told to give everything back.
    pub(super) paused: bool,
    /// It exited, and nobody starts it by himself.
    pub(super) idle: bool,
    /// Somebody else has put something else there.
    pub(super) foreign: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) mode: Mode,
    pub(super) kind: Kind,
    pub(super) fence: u8,
    /// The last key that was obeyed, and by which effect.
    pub(super) last: Option<(Key, Effect)>,
    pub(super) slots: [Slot; 2],
    pub(super) session: bool,
    /// One of the two has missed its lease on the other, and both live: the session comes back by itself.
    pub(super) lapsed: bool,
    /// Whose slot is the live one: durable at the target, read by every process that starts there.
    pub(super) live: Which,
    pub(super) moving_to: Option<Which>,
    pub(super) conn: Conn,
    pub(super) open: bool,
    pub(super) config: Option<Which>,
    pub(super) pushed: Option<Which>,
    pub(super) refused: Option<Which>,
    /// The platform starts whatever exits.
    pub(super) restarts: bool,
    /// Somebody else's configuration is at work.
    pub(super) other_config: bool,
    /// The target has died.
    pub(super) gone: bool,
}

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A process starts in the slot that has this version.
    Start(Which),
    /// The old agent misses its lease and polls again.
    Resume,
    /// The new agent has the listeners of one that is dead, and polls them though nobody has ordered it.
    TakeOver,
    /// The old instance leaves.
    Leave,
    /// The two hear of each other again.
    Reunite,
    /// The connection is offered to the other side, or adopted there, or thawed.
    Move,
    /// The pushed configuration is looked at.
    Configure,
    /// The connection behind a closed way ends by itself.
    Drain,
    /// The platform reopens what a silent controller left closed.
    Reopen,
}

impl World {
    pub(super) fn new(mode: Mode, kind: Kind, restarts: bool) -> Self {
        let serving = Slot {
            version: Some(Which::Old),
            instance: Some(1),
            listeners: true,
            accepting: true,
            ..Slot::default()
        };
        Self {
            mode,
            kind,
            fence: 1,
            last: None,
            slots: [serving, Slot::default()],
            session: false,
            lapsed: false,
            live: Which::Old,
            moving_to: None,
            conn: Conn::At(Which::Old),
            open: true,
            config: Some(Which::Old),
            pushed: None,
            refused: None,
            restarts,
            other_config: false,
            gone: false,
        }
    }

    /// Somebody else's version or configuration is there.
    pub(super) fn is_foreign(&self) -> bool {
        self.other_config || self.slots.iter().any(|slot| slot.foreign)
    }

    /// The target dies, and all that was there with it.
    pub(super) fn vanish(&mut self) {
        *self = Self {
            slots: [Slot::default(); 2],
            conn: Conn::Ended,
            gone: true,
            last: self.last,
            ..Self::new(self.mode, self.kind, self.restarts)
        };
    }

    /// Somebody else puts another version where the one is that serves, or another configuration.
    pub(super) fn intrude(&mut self) {
        if self.mode == Mode::Config {
            (self.other_config, self.config) = (true, None);
            return;
        }
        let live = self.live;
        let place = self
            .slots
            .iter()
            .position(|slot| slot.version == Some(live))
            .unwrap_or(0);
        self.slots[place] = Slot {
            instance: Some(FRESH),
            listeners: true,
            accepting: true,
            foreign: true,
            ..Slot::default()
        };
        (self.session, self.lapsed) = (false, false);
        self.conn = Conn::Ended;
    }

    /// One of the two has not heard of the other for the time of its lease, and both live: it counts on itself alone, and
    /// gives nothing away any more.
    pub(super) fn miss(&mut self, which: Which) {
        (self.session, self.lapsed) = (false, true);
        if self.moving_to == Some(opposite(which)) {
            self.moving_to = None;
        }
        let Some(slot) = self.slot_mut(which) else { return };
        match which {
            Which::Old if slot.listeners && !slot.retired => (slot.accepting, slot.lingering) = (true, false),
            Which::New if slot.paused => (slot.accepting, slot.paused) = (true, false),
            Which::Old | Which::New => {}
        }
    }

    pub(super) fn slot(&self, which: Which) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.version == Some(which))
    }

    fn slot_mut(&mut self, which: Which) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.version == Some(which))
    }

    pub(super) fn runs(&self, which: Which) -> bool {
        self.slot(which).is_some_and(|slot| slot.instance.is_some()) && !self.crashes(which)
    }

    pub(super) fn crashes(&self, which: Which) -> bool {
        which == Which::New && self.kind == Kind::Crashing && self.mode != Mode::Config
    }

    /// Runs and is as it should be.
    pub(super) fn is_good(&self, which: Which) -> bool {
        let bad_version = which == Which::New && self.kind != Kind::Healthy && self.mode != Mode::Config;
        let bad_config = self.mode == Mode::Config && self.config == Some(Which::New) && self.kind == Kind::Failing;
        self.runs(which) && !bad_version && !bad_config
    }

    pub(super) fn accepts(&self, which: Which) -> bool {
        self.runs(which) && self.slot(which).is_some_and(|slot| slot.accepting)
    }

    /// Somebody takes new connections.
    pub(super) fn is_served(&self) -> bool {
        self.accepts(Which::Old) || self.accepts(Which::New)
    }

    fn ends(&mut self, which: Which, by_order: bool, rules: &Rules) {
        let (other, restarts) = (opposite(which), self.restarts);
        self.conn = match self.conn {
            Conn::At(owner) if owner == which => Conn::Ended,
            Conn::Offered(to) if to == which && rules.keep_until_adopted => Conn::At(other),
            Conn::Offered(to) if to == which => Conn::Lost,
            // The one it was offered to has a copy, and takes the end of the session for the word to go.
            Conn::Offered(_) if self.runs(other) => Conn::At(other),
            Conn::Offered(_) => Conn::Ended,
            conn => conn,
        };
        (self.session, self.lapsed) = (false, false);
        // The other counts on itself alone, and what is started in its place hears of no order that was given before.
        self.moving_to = None;
        if let (Which::Old, Some(new)) = (which, self.slot_mut(Which::New)) {
            new.alone = new.listeners;
        }
        if let Some(slot) = self.slot_mut(which) {
            *slot = Slot {
                version: if by_order { None } else { slot.version },
                idle: !by_order && !restarts,
                ..Slot::default()
            };
        }
    }

    pub(super) fn crash(&mut self, which: Which, rules: &Rules) {
        self.ends(which, false, rules);
    }

    /// Carries out one command, as the platform and the agents do.
    pub(super) fn apply(&mut self, effect: Effect, key: Key, rules: &Rules) -> EffectOutcome {
        if self.gone {
            return refused();
        }
        if effect == Effect::Fence {
            self.fence = self.fence.max(key.generation);
            return EffectOutcome::Applied;
        }
        if rules.fencing && (key.generation < self.fence || self.last.is_some_and(|(last, _)| key < last)) {
            return EffectOutcome::Stale;
        }
        if self.last.is_some_and(|(last, _)| key == last) {
            return EffectOutcome::AlreadyApplied;
        }
        let outcome = self.act(effect, rules);
        if outcome == EffectOutcome::Applied {
            self.last = Some((key, kind(effect)));
        }
        outcome
    }

    pub(super) fn act(&mut self, effect: Effect, rules: &Rules) -> EffectOutcome {
        match effect {
            Effect::Fence | Effect::Prefetch => {}
            Effect::Close { .. } => self.open = false,
            Effect::Open => {
                self.open = true;
                if self.mode == Mode::Warm {
                    self.conn = Conn::At(Which::Old);
                }
            }
            Effect::Replace(which) | Effect::ReplaceInPlace(which) => {
                self.slots[0] = Slot {
                    version: Some(which),
                    ..Slot::default()
                };
            }
            Effect::Spawn(which) => {
                if let Some(slot) = self.slot_mut(which) {
                    slot.idle = false;
                } else {
                    let is_free = |slot: &&mut Slot| slot.version.is_none() && !slot.foreign;
                    let Some(free) = self.slots.iter_mut().find(is_free) else {
                        return refused();
                    };
                    free.version = Some(which);
                }
            }
            Effect::Stop(instance) => {
                for which in [Which::Old, Which::New] {
                    let same = |slot: &Slot| slot.instance.map(|at| InstanceId(at.into())) == Some(instance);
                    if self.slot(which).is_some_and(same) {
                        self.ends(which, false, rules);
                    }
                }
            }
            Effect::Reset(which) => self.ends(which, true, rules),
            Effect::ApplyConfig(which) => {
                self.pushed = Some(which);
                self.refused = None;
            }
            Effect::HandOver(order) => return self.hand_over(order, rules),
        }
        EffectOutcome::Applied
    }

    pub(super) fn hand_over(&mut self, order: HandoverOrder, rules: &Rules) -> EffectOutcome {
        let (old_runs, new_runs, session) = (self.runs(Which::Old), self.runs(Which::New), self.session);
        let new_accepts = self.accepts(Which::New);
        let live = self.live;
        let unreachable = EffectOutcome::Retry { after_ms: 1 };
        let (Some(old), true) = (self.slot_mut(Which::Old), old_runs) else {
            // Nobody to give anything away; committing needs the new one alone.
            if order == HandoverOrder::Commit && new_runs {
                self.commit();
                return EffectOutcome::Applied;
            }
            return unreachable;
        };
        match order {
            HandoverOrder::Quiesce if session && new_accepts => old.accepting = false,
            HandoverOrder::Retire if (session || !rules.lease) && live == Which::New => {
                (old.lingering, old.accepting) = (true, false);
                self.moving_to = Some(Which::New);
            }
            HandoverOrder::Return => {
                *old = Slot {
                    listeners: true,
                    accepting: true,
                    retired: false,
                    lingering: false,
                    ..*old
                };
                self.live = Which::Old;
                if session && let Some(new) = self.slot_mut(Which::New) {
                    (new.accepting, new.paused) = (false, true);
                    self.moving_to = Some(Which::Old);
                }
            }
            HandoverOrder::Offer if new_runs => {
                (self.session, self.lapsed) = (true, false);
                if let Some(new) = self.slot_mut(Which::New) {
                    (new.listeners, new.alone) = (true, false);
                }
            }
            HandoverOrder::Accept if session => {
                if let Some(new) = self.slot_mut(Which::New) {
                    new.accepting = new.listeners;
                    new.paused &= !new.accepting;
                }
            }
            HandoverOrder::Migrate if session => self.moving_to = Some(Which::New),
            HandoverOrder::Commit if new_runs => self.commit(),
            HandoverOrder::Offer | HandoverOrder::Commit => return unreachable,
            HandoverOrder::Quiesce | HandoverOrder::Retire | HandoverOrder::Accept | HandoverOrder::Migrate => {
                return refused();
            }
        }
        EffectOutcome::Applied
    }

    /// The new one takes the target as its own. One that was started anew since it was seen has to bind.
    fn commit(&mut self) {
        self.live = Which::New;
        if let Some(new) = self.slot_mut(Which::New) {
            new.listeners = true;
            new.accepting = true;
            new.paused = false;
        }
    }

    /// Everything that may happen by itself now.
    pub(super) fn progress(&self, silent: bool, rules: &Rules) -> Vec<Progress> {
        let mut all = Vec::new();
        if self.gone {
            return all;
        }
        for which in [Which::Old, Which::New] {
            if self
                .slot(which)
                .is_some_and(|slot| slot.instance.is_none() && !slot.idle)
            {
                all.push(Progress::Start(which));
            }
        }
        if let Some(old) = self
            .slot(Which::Old)
            .filter(|_| self.mode == Mode::Hot && self.runs(Which::Old))
        {
            if rules.lease && !self.session && !old.accepting && !old.retired && old.listeners {
                all.push(Progress::Resume);
            }
            let leased = self.session && self.live == Which::New;
            if old.lingering && !old.retired && (leased || !rules.lease) {
                all.push(Progress::Leave);
            }
        }
        let stranded = |new: &Slot| new.alone && !new.accepting && !self.session;
        if self.mode == Mode::Hot && self.is_good(Which::New) && self.slot(Which::New).is_some_and(stranded) {
            all.push(Progress::TakeOver);
        }
        if self.lapsed && !self.session && self.runs(Which::Old) && self.runs(Which::New) {
            all.push(Progress::Reunite);
        }
        let moves = match (self.conn, self.moving_to) {
            (Conn::Offered(_), _) => true,
            (Conn::At(at), Some(to)) => at != to && self.session && self.runs(to),
            _ => false,
        };
        if moves {
            all.push(Progress::Move);
        }
        if self.mode == Mode::Warm && !self.open && self.conn != Conn::Ended {
            all.push(Progress::Drain);
        }
        if self.pushed.is_some() && self.runs(Which::Old) {
            all.push(Progress::Configure);
        }
        if silent && !self.open && [Which::Old, Which::New].into_iter().any(|which| self.is_good(which)) {
            all.push(Progress::Reopen);
        }
        all
    }

    pub(super) fn go_on(&mut self, progress: Progress) {
        let (hot, live) = (self.mode == Mode::Hot, self.live);
        match progress {
            Progress::Start(which) => {
                let serves = !hot || live == which;
                if let Some(slot) = self.slot_mut(which) {
                    *slot = Slot {
                        version: Some(which),
                        instance: Some(FRESH),
                        listeners: serves,
                        accepting: serves,
                        // The other slot is the live one: it stays passive.
                        retired: which == Which::Old && !serves,
                        ..Slot::default()
                    };
                }
            }
            Progress::Resume => {
                if let Some(old) = self.slot_mut(Which::Old) {
                    old.accepting = true;
                    old.lingering = false;
                }
            }
            Progress::TakeOver => {
                if let Some(new) = self.slot_mut(Which::New) {
                    (new.accepting, new.paused) = (true, false);
                }
            }
            Progress::Leave => {
                if self.conn == Conn::At(Which::Old) {
                    self.conn = Conn::Ended;
                }
                if let Some(old) = self.slot_mut(Which::Old) {
                    old.accepting = false;
                    old.listeners = false;
                    old.lingering = false;
                    old.retired = true;
                }
            }
            Progress::Reunite => (self.session, self.lapsed) = (true, false),
            Progress::Move => {
                self.conn = match (self.conn, self.moving_to) {
                    (Conn::Offered(to), _) if self.session => Conn::At(to),
                    (Conn::Offered(to), _) => Conn::At(opposite(to)),
                    (Conn::At(_), Some(to)) => Conn::Offered(to),
                    (conn, _) => conn,
                }
            }
            Progress::Configure => match self.pushed.take() {
                Some(Which::New) if self.kind == Kind::Crashing => self.refused = Some(Which::New),
                Some(Which::New) if self.kind == Kind::Silent => {}
                Some(which) => (self.config, self.other_config) = (Some(which), false),
                None => {}
            },
            Progress::Drain => self.conn = Conn::Ended,
            Progress::Reopen => {
                self.open = true;
                self.conn = Conn::At(Which::Old);
            }
        }
    }
}

/// A process that has just started. `State::canonical` gives it its number.
const FRESH: u8 = 7;

pub(super) fn version(which: Which) -> Version {
    match which {
        Which::Old => OLD.into(),
        Which::New => NEW.into(),
    }
}

pub(super) const fn opposite(which: Which) -> Which {
    match which {
        Which::Old => Which::New,
        Which::New => Which::Old,
    }
}

fn refused() -> EffectOutcome {
    EffectOutcome::Failed { reason: "no".into() }
}

/// The effect without what two of a kind may differ in.
pub(super) const fn kind(effect: Effect) -> Effect {
    match effect {
        Effect::Stop(_) => Effect::Stop(InstanceId(0)),
        Effect::Close { .. } => Effect::Close { reopen_by_ms: 0 },
        effect => effect,
    }
}

/// The steps of the way back.
pub(super) const fn is_backward(step: Step) -> bool {
    matches!(
        step,
        Step::Reclosing
            | Step::Redraining
            | Step::Restoring
            | Step::VerifyingOld
            | Step::Reopening
            | Step::Returning
            | Step::Clearing
            | Step::Reverting
            | Step::Recovering
    )
}
