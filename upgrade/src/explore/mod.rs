//! Every way an attempt can go, with everything that can go wrong: a breadth-first search over the very [`Machine`](crate::Machine) that
//! drivers run, its journal, messages under way, and a small world with two slots, their agents and one live connection.
//!
//! What may happen at any instant: the controller falls and recovers; the old and the new process exit and are started
//! again, as a kubelet does (in a hot upgrade also: are not); one of two that live misses its lease on the other; a command or its answer is lost, delayed beyond the controller's
//! life, duplicated, refused, put off or beyond the platform; somebody aborts; a look comes in time, later, too late, or never
//! any more, or without the slots or the configuration; the target dies; somebody else changes what it runs. The new version
//! is healthy, fails a check, crashes, or stays silent.
//!
//! | | holds |
//! | --- | --- |
//! | S1 | hot: somebody accepts in every state that is reached without the death of a process |
//! | S2 | hot: after the death of a process somebody accepts again without the controller's help, where the platform starts what exits |
//! | S3 | hot: the old instance is ended only while the new one accepts |
//! | S5 | a connection ends only with the process that owns it |
//! | S6 | no effect without its durable intent; none done twice for one key, and no key for two effects |
//! | S7 | no late command, of this generation or an older one, changes anything |
//! | S8 | nothing is ordered after the end of an attempt, and no answer comes to nobody |
//! | S9 | turning back is for good, unless the old instance is dead and the new one serves |
//! | S10 | ingress is opened onto good instances alone, a target is given for good to a new instance that serves, and on the way forward nothing is replaced in place under open ingress, as far as the last look shows |
//! | S11 | `Done`: the new version serves, verified; the old one is gone and its slot empty |
//! | L1 | every attempt ends: without further faults there is no way round in circles, and no standstill |
//! | L2 | closed ingress is reopened, or a person is told that it is closed, or that nobody knows |
//! | L3 | `RolledBack`: the old version serves, verified; the new one is gone and its slot empty |
//! | L5 | no drain goes on after its deadline |
//! | L6 | at the end one slot is live and one is empty |
//! | L7 | hot: no new instance is ended, and no old one leaves, that serves a connection which it was not asked for since the two last lost each other |
//!
//! S6 and S8 bind the driver more than the machine, and here the driver is modelled: that the shipped one keeps them, its own
//! tests show, whose world asks the journal for the intent of each effect that arrives.
//!
//! Time is abstract: deadlines run out or not, as the search likes. Liveness is decided on the graph of what is not a
//! fault: it has no circles, and nothing but ends is without a way on. One connection stands for all of them, and the loss
//! of a session is noticed before the next step of anybody else only where it matters to nobody. A session that is lost
//! though both live comes back once, and no lease is missed meanwhile. That a target has one attempt
//! at a time is the driver's to keep, and its tests'.

mod agents;
mod canonical;
mod check;
mod sight;
mod state;
mod table;
mod world;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;

use crate::hash::Fixed;
use crate::machine::Effect;
use crate::{Mode, Step, Which};
pub use agents::{AgentSeen, Agents, AgentsSeen, Owner};
use check::Broken;
use state::{End, Faults, LATE_MS, QUIET_MS, State};
pub use table::{Table, tables};
use world::{Kind, Progress};

/// A rule to take away, to see what it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "the table of ablations has a line for each")]
pub enum Ablation {
    /// The old agent neither polls again when the session ends, nor stays until its lease is sure.
    Lease,
    /// The old agent gives its copy of a connection away before it has been adopted.
    KeepUntilAdopted,
    /// The controller may decide on what it saw last instead of looking.
    ReProbe,
    /// Platform and agents obey old generations and late messages.
    Fencing,
    /// The intent of an effect becomes durable after the effect.
    IntentBeforeEffect,
}

impl Ablation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Lease,
        Self::KeepUntilAdopted,
        Self::ReProbe,
        Self::Fencing,
        Self::IntentBeforeEffect,
    ];

    /// The name, as it is serialized.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::KeepUntilAdopted => "keep-until-adopted",
            Self::ReProbe => "re-probe",
            Self::Fencing => "fencing",
            Self::IntentBeforeEffect => "intent-before-effect",
        }
    }
}

/// The rules of agents, platform and driver in force.
#[derive(Clone, Copy, Debug)]
struct Rules {
    lease: bool,
    keep_until_adopted: bool,
    fencing: bool,
    /// A controller that takes an attempt over fences first.
    fences: bool,
    without: Option<Ablation>,
}

impl Rules {
    fn new(without: Option<Ablation>) -> Self {
        Self {
            lease: without != Some(Ablation::Lease),
            keep_until_adopted: without != Some(Ablation::KeepUntilAdopted),
            fencing: without != Some(Ablation::Fencing),
            fences: true,
            without,
        }
    }
}

/// What happened, in a counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Begins(Kind, bool),
    Looks(u64),
    /// Asked before, answered so much later.
    Hears(u64),
    Remembers(u64),
    Arrives(Effect),
    Unanswered(Effect),
    Duplicated(Effect),
    Delayed(Effect),
    Refused(Effect),
    PutOff(Effect),
    Unsupported(Effect),
    Late(Effect),
    Progress(Progress),
    Dies(Which),
    Misses(Which),
    Falls,
    Recover,
    Abort,
    OutOfSight,
    /// Without slots, or without the configuration.
    SeesHalf(u64),
    Vanishes,
    Intruder,
}

impl Label {
    fn words(self) -> String {
        let waited = |ms: u64| match ms {
            LATE_MS => ", after the deadline",
            QUIET_MS => ", after a while",
            _ => "",
        };
        match self {
            Self::Begins(kind, restarts) => {
                let started = if restarts { "" } else { ", and nobody starts what exits" };
                format!("begins; the new version is {kind:?}{started}").to_lowercase()
            }
            Self::Looks(ms) => format!("controller looks{}", waited(ms)),
            Self::Hears(ms) => format!("controller hears how it was when it looked{}", waited(ms)),
            Self::Remembers(ms) => format!("controller decides on what it saw before{}", waited(ms)),
            Self::Arrives(effect) => format!("{effect:?} arrives and is answered"),
            Self::Unanswered(effect) => format!("{effect:?} arrives, its answer is lost"),
            Self::Duplicated(effect) => format!("{effect:?} arrives, and a copy stays under way"),
            Self::Delayed(effect) => format!("{effect:?} is delayed"),
            Self::Refused(effect) => format!("{effect:?} is refused"),
            Self::PutOff(effect) => format!("{effect:?} is put off"),
            Self::Unsupported(effect) => format!("{effect:?} is not supported"),
            Self::Late(effect) => format!("{effect:?} arrives late"),
            Self::Progress(progress) => format!("by itself: {progress:?}").to_lowercase(),
            Self::Dies(which) => format!("{which:?} process exits").to_lowercase(),
            Self::Misses(which) => format!("{which:?} agent misses its lease on the other").to_lowercase(),
            Self::Falls => "controller falls".to_owned(),
            Self::Recover => "controller recovers, with a new generation".to_owned(),
            Self::Abort => "somebody aborts".to_owned(),
            Self::OutOfSight => "controller cannot look, until its patience is over".to_owned(),
            Self::SeesHalf(ms) => format!("controller looks and is shown but half{}", waited(ms)),
            Self::Vanishes => "the target dies".to_owned(),
            Self::Intruder => "somebody else changes what the target runs".to_owned(),
        }
    }
}

/// How an invariant was broken: the shortest way there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counterexample {
    /// Which, as in this module's table.
    pub invariant: &'static str,
    /// What is wrong at its end.
    pub says: String,
    /// What happened, in order.
    pub trace: Vec<String>,
}

/// What an exploration found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explored {
    /// The mode that was explored.
    pub mode: Mode,
    /// Distinct states.
    pub states: usize,
    /// Transitions between them.
    pub transitions: usize,
    /// How often each end was reached.
    pub ends: BTreeMap<&'static str, usize>,
    /// The first broken invariant; where there is one the rest was not explored.
    pub counterexample: Option<Counterexample>,
    /// The steps of the mode, as they were taken.
    #[serde(skip)]
    pub table: Table,
}

/// How many things may go wrong on one way, whichever they are, unless a caller says otherwise.
pub const FAULTS: u8 = 3;

/// The most of each kind of fault on one way.
const fn faults(in_all: u8) -> Faults {
    Faults {
        in_all,
        controller: 2,
        old: 1,
        new: 1,
        network: 2,
        lease: 1,
        abort: 1,
        sight: 1,
        gone: 1,
        foreign: 1,
        late_back: true,
    }
}

/// Explores a mode under all rules, with so many faults on one way: at most two falls of the controller, two messages that
/// fare badly, one death of each process and one of the target, one lease that is missed, one abort, one loss of sight, and
/// one change by somebody else. Eleven are all of them.
pub fn explore(mode: Mode, faults_in_all: u8) -> Explored {
    Search::new(mode, None, faults(faults_in_all), usize::MAX).run()
}

/// The ablation of one rule over the modes: the shortest counterexample, and the mode it is of.
pub fn ablate(rule: Ablation) -> Option<(Mode, Counterexample)> {
    // The lease and the copies are rules of agents, which only a hot upgrade has.
    let modes: &[Mode] = match rule {
        Ablation::Lease | Ablation::KeepUntilAdopted => &[Mode::Hot],
        Ablation::ReProbe | Ablation::Fencing | Ablation::IntentBeforeEffect => &Mode::ALL,
    };
    let mut best: Option<(Mode, Counterexample)> = None;
    for mode in modes {
        // What is not shorter than what there is need not be looked for.
        let most = best.as_ref().map_or(usize::MAX, |(_, example)| example.trace.len() - 1);
        if let Some(example) = Search::new(*mode, Some(rule), faults(FAULTS), most)
            .run()
            .counterexample
        {
            best = Some((*mode, example));
        }
    }
    best
}

struct Search {
    mode: Mode,
    /// Longest way that is looked at.
    most: usize,
    rules: Rules,
    faults: Faults,
    /// Fingerprints of 128 bits stand for states, which are large and many.
    ids: HashMap<u128, u32, Fixed>,
    parents: Vec<(u32, Label)>,
    /// What is not a fault, and leads elsewhere.
    fair: Vec<(u32, u32)>,
    /// Has a fair way on.
    goes_on: Vec<bool>,
    transitions: usize,
    ends: BTreeMap<&'static str, usize>,
    edges: BTreeSet<(Step, Result<Step, &'static str>)>,
}

impl Search {
    fn new(mode: Mode, without: Option<Ablation>, faults: Faults, most: usize) -> Self {
        Self {
            mode,
            most,
            rules: Rules::new(without),
            faults,
            ids: HashMap::default(),
            parents: Vec::new(),
            fair: Vec::new(),
            goes_on: Vec::new(),
            transitions: 0,
            ends: BTreeMap::new(),
            edges: BTreeSet::new(),
        }
    }

    /// The state's number, and whether it is new.
    fn number(&mut self, state: &State, from: u32, label: Label) -> (u32, bool) {
        let fresh = u32::try_from(self.parents.len()).unwrap_or(u32::MAX);
        let id = *self.ids.entry(fingerprint(state)).or_insert(fresh);
        if id == fresh {
            self.parents.push((from, label));
            self.goes_on.push(state.ended.is_some());
        }
        (id, id == fresh)
    }

    fn run(mut self) -> Explored {
        let timing = Arc::new(state::timing());
        let mut todo = VecDeque::new();
        // Hot alone has an order that starts what has exited and is there already: what is bad is bad without it.
        let not_started = (self.mode == Mode::Hot).then_some((Kind::Healthy, false));
        for (kind, restarts) in Kind::ALL.map(|kind| (kind, true)).into_iter().chain(not_started) {
            let state = State::start(self.mode, (kind, restarts), self.faults, &timing).canonical();
            let (id, _) = self.number(&state, u32::MAX, Label::Begins(kind, restarts));
            todo.push_back((id, 1, state));
        }
        while let Some((id, length, state)) = todo.pop_front() {
            if let Some(broken) = state.check(&self.faults, &self.rules) {
                return self.broken(&broken, id, None);
            }
            if length >= self.most {
                continue;
            }
            for next in state.nexts(&self.rules, &timing) {
                self.transitions += 1;
                if let Some((from, to)) = next.table {
                    self.edges.insert((from, to.map_err(End::name)));
                }
                let to = match next.to {
                    Ok(to) => to.canonical(),
                    Err(broken) => return self.broken(&broken, id, Some(next.label)),
                };
                if let Some(end) = to.ended.filter(|_| state.ended.is_none()) {
                    *self.ends.entry(end.name()).or_insert(0) += 1;
                }
                let (to_id, fresh) = self.number(&to, id, next.label);
                if next.fair && to_id != id {
                    self.fair.push((id, to_id));
                    if let Some(goes_on) = usize::try_from(id).ok().and_then(|at| self.goes_on.get_mut(at)) {
                        *goes_on = true;
                    }
                }
                if fresh {
                    todo.push_back((to_id, length + 1, to));
                }
            }
        }
        if self.most == usize::MAX
            && let Some((id, says)) = self.not_live()
        {
            return self.broken(&Broken::new("L1", says.to_owned()), id, None);
        }
        self.report(None)
    }

    /// A state from which no end is reached though nothing goes wrong any more.
    fn not_live(&self) -> Option<(u32, &'static str)> {
        if let Some(at) = self.goes_on.iter().position(|goes_on| !goes_on) {
            return Some((u32::try_from(at).ok()?, "nothing leads on from here"));
        }
        let count = self.parents.len();
        let at = |id: u32| usize::try_from(id).unwrap_or(0);
        let (mut incoming, mut first) = (vec![0u32; count], vec![0u32; count + 1]);
        for (from, to) in &self.fair {
            incoming[at(*to)] += 1;
            first[at(*from) + 1] += 1;
        }
        for place in 0..count {
            first[place + 1] += first[place];
        }
        let mut outgoing = vec![0u32; self.fair.len()];
        let mut filled = first.clone();
        for (from, to) in &self.fair {
            outgoing[at(filled[at(*from)])] = *to;
            filled[at(*from)] += 1;
        }
        let mut free: Vec<usize> = (0..count).filter(|place| incoming[*place] == 0).collect();
        while let Some(place) = free.pop() {
            for to in &outgoing[at(first[place])..at(first[place + 1])] {
                incoming[at(*to)] -= 1;
                if incoming[at(*to)] == 0 {
                    free.push(at(*to));
                }
            }
        }
        let circle = incoming.iter().position(|incoming| *incoming > 0)?;
        Some((
            u32::try_from(circle).ok()?,
            "from here it can go round in circles for ever",
        ))
    }

    fn broken(self, broken: &Broken, id: u32, last: Option<Label>) -> Explored {
        let mut trace: Vec<String> = last.map(Label::words).into_iter().collect();
        let mut at = id;
        while let Some((from, label)) = usize::try_from(at).ok().and_then(|place| self.parents.get(place)) {
            trace.push(label.words());
            at = *from;
        }
        trace.reverse();
        self.report(Some(Counterexample {
            invariant: broken.invariant,
            says: broken.says.clone(),
            trace,
        }))
    }

    fn report(self, counterexample: Option<Counterexample>) -> Explored {
        Explored {
            mode: self.mode,
            states: self.parents.len(),
            transitions: self.transitions,
            ends: self.ends,
            counterexample,
            table: Table::new(self.mode, self.edges),
        }
    }
}

fn fingerprint(state: &State) -> u128 {
    let half = |salt: u64| {
        let mut hasher = Mixer(salt);
        state.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0x243f_6a88_85a3_08d3)) << 64 | u128::from(half(0x1319_8a2e_0370_7344))
}

/// Multiplies and folds, a word at a time.
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.0 = (mixed ^ mixed >> 29)
            .wrapping_mul(0xd6e8_feb8_6659_fd93)
            .rotate_left(27)
            ^ self.0 >> 5;
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            self.mix(chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        self.mix(u64::try_from(bytes.len()).unwrap_or(0));
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }
}

#[cfg(test)]
mod tests {
    use super::{FAULTS, Search, faults};
    use crate::Mode;
    use crate::explore::state::Faults;

    /// A version that is bad, or too slow, and nothing else: it is put back, and nobody has to be woken up for that.
    #[test]
    fn without_faults_nobody_is_asked() {
        for mode in Mode::ALL {
            let in_time = Faults {
                late_back: false,
                ..faults(0)
            };
            let explored = Search::new(mode, None, in_time, usize::MAX).run();
            let ends: Vec<&str> = explored.ends.keys().copied().collect();
            assert_eq!(explored.counterexample, None, "{mode}");
            let way_back = ["done", "rolled_back"].iter().all(|end| ends.contains(end));
            assert!(
                way_back && !ends.contains(&"needs_person"),
                "{mode}: {:?}",
                explored.ends
            );
        }
    }

    /// Where platforms would refuse what is old, and nobody tells them what is, late orders are obeyed.
    #[test]
    fn a_controller_that_does_not_fence_is_found() {
        for mode in Mode::ALL {
            let mut search = Search::new(mode, None, faults(FAULTS), usize::MAX);
            search.rules.fences = false;
            let found = search.run().counterexample.map(|example| example.invariant);
            assert_eq!(found, Some("S7"), "{mode}");
        }
    }
}
