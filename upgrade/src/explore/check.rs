//! The invariants: of every state, of every order, of every end.
use super::Rules;
use super::state::{End, Faults, State};
use super::world::{Conn, World, is_backward, opposite};
use crate::machine::Machine;
use crate::{Effect, HandoverOrder, Ingress, Mode, Reason, Serving, Step, Terminal, Which};

/// An invariant that does not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) invariant: &'static str,
    pub(super) says: String,
}

impl Broken {
    pub(super) const fn new(invariant: &'static str, says: String) -> Self {
        Self { invariant, says }
    }
}

fn unless(holds: bool, invariant: &'static str, says: &str) -> Option<Broken> {
    (!holds).then(|| Broken::new(invariant, says.to_owned()))
}

/// What must hold in every state.
pub(super) fn everywhere(state: &State, faults: &Faults, rules: &Rules) -> Option<Broken> {
    let world = &state.world;
    if world.conn == Conn::Lost {
        return Some(Broken::new(
            "S5",
            "the connection was lost while the process that owned it lived".to_owned(),
        ));
    }
    let moving_on = !world.progress(false, rules).is_empty();
    if world.mode == Mode::Hot && !world.gone && !world.is_foreign() {
        let no_process_died = state.left.old == faults.old && state.left.new == faults.new;
        if no_process_died && !world.is_served() {
            return Some(Broken::new("S1", "nobody accepts, and no process has died".to_owned()));
        }
        let somebody_runs = world.runs(Which::Old) || world.runs(Which::New);
        if world.restarts && somebody_runs && !moving_on && !world.is_served() {
            return Some(Broken::new(
                "S2",
                "a process lives, nobody accepts, and without the controller nothing changes that".to_owned(),
            ));
        }
    }
    if state.ended == Some(End::Forgotten) && (world.last.is_some() || !state.mail.is_empty()) {
        return Some(Broken::new(
            "S6",
            "something was done that no journal knows of".to_owned(),
        ));
    }
    let is_ours = !world.gone && !world.is_foreign();
    if !moving_on && state.mail.is_empty() && world.mode == Mode::Hot && is_ours {
        let slots = world.slots.iter().filter(|slot| slot.version.is_some()).count();
        if matches!(state.ended, Some(End::Done | End::RolledBack)) && slots != 1 {
            return Some(Broken::new("L6", format!("{slots} slots are in use after the end")));
        }
    }
    None
}

/// What must hold when an order is given: after a look at the world as it is, or else without one.
pub(super) fn at_order(state: &State, machine: &Machine, effect: Effect, looked: bool) -> Option<Broken> {
    let world = &state.world;
    let step = machine.step();
    let back = machine.went_back().is_some();
    if state.ended.is_some() {
        return Some(Broken::new("S8", format!("{effect:?} after the end")));
    }
    let first_time = state.machine.as_ref().is_none_or(|before| before.step() != step);
    let decided = looked || first_time;
    let old_lives = world.runs(Which::Old) && world.slot(Which::Old).is_some_and(|slot| !slot.retired);
    let salvage = world.mode == Mode::Hot && !old_lives;
    if back && !is_backward(step) && !salvage {
        return Some(Broken::new("S9", format!("{step} after turning back")));
    }
    match effect {
        Effect::Open if decided => {
            let which = if back { Which::Old } else { Which::New };
            let there = world.slot(which).is_some() && world.is_good(which);
            unless(there, "S10", "ingress is opened onto an instance that is not verified")
        }
        Effect::ReplaceInPlace(_) if decided && !back => {
            unless(!world.open, "S10", "the sidecar is replaced under open ingress")
        }
        Effect::HandOver(HandoverOrder::Commit) if looked => unless(
            world.is_good(Which::New) && world.accepts(Which::New),
            "S10",
            "the target is given for good to an instance that does not serve",
        ),
        // One that refuses to leave is ended by force; the old one alone.
        Effect::Reset(Which::New) if looked && first_time => unless(
            !is_kept(world, Which::New),
            "L7",
            "the new one is ended with a connection that it was not asked for",
        ),
        Effect::Reset(Which::Old) | Effect::Stop(_) if first_time => unless(
            world.accepts(Which::New),
            "S3",
            "the old one is ended while the new one does not accept",
        ),
        _ => None,
    }
}

/// An instance serves a connection, could give it away, and does not.
pub(super) fn is_kept(world: &World, which: Which) -> bool {
    let other = opposite(which);
    let asked = world.moving_to == Some(other);
    world.conn == Conn::At(which) && world.session && world.runs(other) && !asked
}

/// What must hold at an end.
pub(super) fn at_end(state: &State, machine: &Machine, terminal: &Terminal) -> Option<Broken> {
    let world = &state.world;
    let closed = world.mode == Mode::Warm && !world.open;
    let serves = |which: Which| {
        let accepts = world.mode != Mode::Hot || world.accepts(which);
        let configured = world.mode != Mode::Config || world.config == Some(which);
        let slot = if world.mode == Mode::Config { Which::Old } else { which };
        world.slot(slot).is_some() && world.is_good(slot) && accepts && configured && !closed
    };
    match terminal {
        Terminal::Done => unless(
            serves(Which::New) && (world.mode != Mode::Hot || world.slot(Which::Old).is_none()),
            "S11",
            "done, and the new one does not serve alone",
        ),
        Terminal::RolledBack { .. } => unless(
            serves(Which::Old) && (world.mode != Mode::Hot || world.slot(Which::New).is_none()),
            "L3",
            "rolled back, and the old one does not serve alone",
        ),
        Terminal::Rejected { .. } if world.gone => None,
        Terminal::Rejected { .. } if world.is_foreign() => unless(!closed, "L2", "rejected, and ingress is closed"),
        Terminal::Rejected { .. } => {
            let one_slot = world.slots.iter().filter(|slot| slot.version.is_some()).count() == 1;
            let old = world.slot(Which::Old).is_some();
            let config = world.mode != Mode::Config || world.config == Some(Which::Old) && world.pushed.is_none();
            unless(
                old && one_slot && !closed && config,
                "L2",
                "rejected, and something was touched",
            )
        }
        Terminal::NeedsPerson {
            reason: Reason::Unobservable { .. },
            serving,
            ingress,
        } => unless(
            (*serving, *ingress) == (Serving::Unknown, Ingress::Unknown),
            "L2",
            "a person is told of what nobody saw",
        ),
        Terminal::NeedsPerson { ingress, .. } => unless(
            !closed || *ingress == Ingress::Closed,
            "L2",
            "ingress is closed and the person is not told so",
        ),
        Terminal::Gone => unless(world.gone, "L2", "said to be gone, and it is there"),
        Terminal::Superseded => unless(
            machine.step() == Step::Recovering || !closed,
            "L2",
            "ingress is left closed and nobody is told",
        ),
    }
}
