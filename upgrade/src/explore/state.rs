//! One state of everything: the shipped machine, its journal, messages under way, the world; and what can happen next.
use std::sync::Arc;

use super::check::{Broken, at_end, at_order, everywhere, is_kept};
use super::world::{Key, Kind, NEW, OLD, Progress, World, kind};
use super::{Ablation, Label, Rules};
use crate::machine::{Command, Event, Machine, Plan, Remembered};
use crate::{Effect, EffectOutcome, Mode, Observation, Reason, Step, Terminal, Timing, Which};

/// A look in time lets nothing run out; a later one a quiet time and a lost session; a late one every deadline. Between
/// looks the machine's times are set back (`Machine::settle`), so that time may pass as slowly or quickly as it likes.
pub(super) const QUIET_MS: u64 = 500;
pub(super) const LATE_MS: u64 = 5_000;
const NOW_MS: u64 = 10_000;

pub(super) fn timing() -> Timing {
    let mut timing = Timing::default();
    for budget in [
        &mut timing.preflight_ms,
        &mut timing.close_ms,
        &mut timing.drain_ms,
        &mut timing.replace_ms,
        &mut timing.recreate_ms,
        &mut timing.verify_ms,
        &mut timing.open_ms,
        &mut timing.spawn_ms,
        &mut timing.offer_ms,
        &mut timing.join_ms,
        &mut timing.prove_ms,
        &mut timing.quiesce_ms,
        &mut timing.migrate_ms,
        &mut timing.commit_ms,
        &mut timing.retire_ms,
        &mut timing.reset_ms,
        &mut timing.return_ms,
        &mut timing.push_ms,
    ] {
        *budget = 1_000;
    }
    for quiet in [
        &mut timing.cold_probation_ms,
        &mut timing.warm_probation_ms,
        &mut timing.config_probation_ms,
        &mut timing.session_ms,
    ] {
        *quiet = 400;
    }
    timing.probation_looks = 1;
    timing.good_looks = 2;
    timing.max_tries = 1;
    timing.max_recoveries = 1;
    timing
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// Of whatever kind.
    pub(super) in_all: u8,
    /// The controller falls.
    pub(super) controller: u8,
    /// The old process exits.
    pub(super) old: u8,
    /// The new process exits.
    pub(super) new: u8,
    /// A command or its answer is lost, delayed, duplicated, refused, put off, or beyond the platform.
    pub(super) network: u8,
    /// One of two processes that live misses its lease on the other.
    pub(super) lease: u8,
    /// Somebody wants the attempt to turn back.
    pub(super) abort: u8,
    /// The target cannot be looked at any more, or half of it for once.
    pub(super) sight: u8,
    /// The target dies.
    pub(super) gone: u8,
    /// Somebody else changes what it runs.
    pub(super) foreign: u8,
    /// Deadlines of the way back run out too; this costs nothing.
    pub(super) late_back: bool,
}

/// What the controller would find in its journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    pub(super) begun: bool,
    pub(super) generation: u8,
    /// The key of the last intent.
    pub(super) intended: Option<Key>,
    pub(super) remembered: Remembered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Done,
    RolledBack,
    Rejected,
    NeedsPerson,
    Superseded,
    Gone,
    /// The controller fell before anything of the attempt was durable, so nothing had been done.
    Forgotten,
}

impl End {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Rejected => "rejected",
            Self::NeedsPerson => "needs_person",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Forgotten => "forgotten",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) world: World,
    /// `None`: the controller is down, or the attempt has ended.
    pub(super) machine: Option<Box<Machine>>,
    /// The effect whose intent is durable and which is sent next.
    pub(super) sending: Option<(Effect, Key)>,
    pub(super) journal: Journal,
    /// Commands that have been sent and have not arrived.
    pub(super) mail: Vec<(Effect, Key)>,
    pub(super) left: Faults,
    pub(super) ended: Option<End>,
    /// Without re-probing: what was seen last.
    memory: Option<Box<Observation>>,
    /// Without intent before effect: what the journal would not know yet.
    before: Option<Box<Journal>>,
}

/// One thing that can happen, and what it leads to.
pub(super) struct Next {
    pub(super) label: Label,
    pub(super) to: Result<State, Broken>,
    /// It is not a fault: where nothing else happens, it does.
    pub(super) fair: bool,
    /// The machine took a step of its table.
    pub(super) table: Option<(Step, Result<Step, End>)>,
}

impl State {
    pub(super) fn start(mode: Mode, (kind, restarts): (Kind, bool), faults: Faults, timing: &Arc<Timing>) -> Self {
        let plan = plan(mode);
        let mut machine = Machine::new(plan, Arc::clone(timing));
        machine.begin(NOW_MS);
        machine.settle(NOW_MS);
        Self {
            world: World::new(mode, kind, restarts),
            machine: Some(Box::new(machine)),
            sending: None,
            journal: Journal {
                begun: false,
                generation: 1,
                intended: None,
                remembered: Remembered::nothing(false),
            },
            mail: Vec::new(),
            left: faults,
            ended: None,
            memory: None,
            before: None,
        }
    }

    /// Everything that can happen next.
    pub(super) fn nexts(&self, rules: &Rules, timing: &Arc<Timing>) -> Vec<Next> {
        let mut all = Vec::new();
        let mut add = |label: Label, fair: bool, to: Result<Self, Broken>| {
            all.push(Next {
                label,
                to,
                fair,
                table: None,
            });
        };
        let silent = self.machine.is_none() && self.ended.is_none();
        for progress in self.world.progress(silent, rules) {
            let mut to = self.clone();
            to.world.go_on(progress);
            // At this instant, not a moment before.
            let leaves_nobody = progress == Progress::Leave && !(self.world.session && self.world.is_good(Which::New));
            let keeps = progress == Progress::Leave && is_kept(&self.world, Which::Old);
            add(
                Label::Progress(progress),
                progress != Progress::Reopen,
                if keeps && rules.lease {
                    Err(Broken::new(
                        "L7",
                        "the old one leaves with a connection that it was not asked for".to_owned(),
                    ))
                } else if leaves_nobody {
                    Err(Broken::new(
                        "S3",
                        "the old one leaves without a live lease on a good new one".to_owned(),
                    ))
                } else {
                    Ok(to)
                },
            );
        }
        for (at, (effect, key)) in self.mail.iter().enumerate() {
            let mut to = self.clone();
            to.mail.remove(at);
            let before = to.world.clone();
            to.world.apply(*effect, *key, rules);
            // By the journal, not by what the world was told: a controller that does not fence is at fault, too.
            let recovered = self
                .machine
                .as_ref()
                .is_some_and(|machine| machine.step() != Step::Recovering);
            let of_another = recovered && *effect != Effect::Fence && key.generation < self.journal.generation;
            let is_stale = of_another || before.last.is_some_and(|(last, _)| *key < last);
            let is_done = before.last.is_some_and(|(last, _)| *key == last);
            let broken = match (rules.without, to.world == before) {
                (None, false) if is_stale => Some("S7"),
                (None, false) if is_done => Some("S6"),
                _ => None,
            };
            add(
                Label::Late(*effect),
                false,
                match broken {
                    Some(invariant) => Err(Broken::new(
                        invariant,
                        format!("{effect:?} of {key:?} was obeyed after {:?}", before.last),
                    )),
                    None => Ok(to),
                },
            );
        }
        if self.ended.is_some() {
            return all;
        }
        for (which, left) in [(Which::Old, self.left.old), (Which::New, self.left.new)] {
            let has_process = self.world.slot(which).is_some_and(|slot| slot.instance.is_some());
            if left.min(self.left.in_all) > 0 && has_process && self.world.runs(which) {
                let mut to = self.clone();
                to.left.in_all -= 1;
                match which {
                    Which::Old => to.left.old -= 1,
                    Which::New => to.left.new -= 1,
                }
                to.world.crash(which, rules);
                add(Label::Dies(which), false, Ok(to));
            }
        }
        if rules.lease && self.left.lease.min(self.left.in_all) > 0 && self.world.session {
            for which in [Which::Old, Which::New] {
                let mut to = self.clone();
                to.left.in_all -= 1;
                to.left.lease -= 1;
                to.world.miss(which);
                add(Label::Misses(which), false, Ok(to));
            }
        }
        if self.left.gone.min(self.left.in_all) > 0 && !self.world.gone {
            let mut to = self.clone();
            // Whatever else happens then, the next look ends it.
            to.left.in_all = 0;
            to.world.vanish();
            add(Label::Vanishes, false, Ok(to));
        }
        if self.left.foreign.min(self.left.in_all) > 0 && !self.world.gone {
            let mut to = self.clone();
            // The next look of whichever controller ends it.
            to.left.in_all = (to.left.in_all - 1).min(1);
            to.left.foreign -= 1;
            to.world.intrude();
            add(Label::Intruder, false, Ok(to));
        }
        let Some(machine) = &self.machine else {
            add(Label::Recover, true, Ok(self.recover(timing, rules)));
            return all;
        };
        if self.left.controller.min(self.left.in_all) > 0 {
            let mut to = self.clone();
            to.left.in_all -= 1;
            to.left.controller -= 1;
            to.fall();
            add(Label::Falls, false, Ok(to));
        }
        if self.left.abort.min(self.left.in_all) > 0 {
            let mut to = self.clone();
            to.left.in_all -= 1;
            to.left.abort -= 1;
            if let Some(machine) = &mut to.machine {
                machine.turn_back(Reason::Aborted { by: "somebody".into() });
            }
            add(Label::Abort, false, Ok(to));
        }
        match self.sending {
            Some((effect, key)) => self.send(effect, key, rules, &mut all),
            None => {
                if self.left.sight.min(self.left.in_all) > 0 {
                    all.push(self.lose_sight(machine, timing.blind_ms, rules));
                    if matches!(self.world.mode, Mode::Hot | Mode::Config) {
                        let mut half = self.clone();
                        half.left.in_all -= 1;
                        half.left.sight -= 1;
                        let seen = Observation {
                            pair: None,
                            config: None,
                            ..self.world.observe()
                        };
                        for wait_ms in [0, LATE_MS] {
                            let look = (wait_ms, Label::SeesHalf(wait_ms));
                            let next = half.look(machine, &seen, look, rules);
                            all.push(Next { fair: false, ..next });
                        }
                    }
                }
                let in_time = !self.left.late_back && machine.went_back().is_some();
                for wait_ms in [0, QUIET_MS, LATE_MS] {
                    if in_time && wait_ms == LATE_MS {
                        continue;
                    }
                    let seen = self.world.observe();
                    all.push(self.look(machine, &seen, (wait_ms, Label::Looks(wait_ms)), rules));
                    if wait_ms > 0 {
                        all.push(self.look(machine, &seen, (wait_ms, Label::Hears(wait_ms)), rules));
                    }
                    if rules.without == Some(Ablation::ReProbe)
                        && let Some(memory) = &self.memory
                    {
                        all.push(self.look(machine, memory, (wait_ms, Label::Remembers(wait_ms)), rules));
                    }
                }
            }
        }
        all
    }

    fn fall(&mut self) {
        self.machine = None;
        self.sending = None;
        if let Some(before) = self.before.take() {
            self.journal = *before;
        }
        if !self.journal.begun {
            self.ended = Some(End::Forgotten);
        }
    }

    /// As the driver takes an attempt over.
    fn recover(&self, timing: &Arc<Timing>, rules: &Rules) -> Self {
        let mut to = self.clone();
        to.journal.generation += 1;
        let remembered = &mut to.journal.remembered;
        remembered.recoveries_of_step = remembered.recoveries_of_step.saturating_add(1);
        let plan = Plan {
            fence: rules.fences,
            ..plan(self.world.mode)
        };
        let mut machine = Machine::recover(plan, Arc::clone(timing), remembered.clone());
        let command = machine.begin(NOW_MS);
        if let Command::Effect { effect, ordinal, .. } = command {
            let key = Key {
                generation: to.journal.generation,
                ordinal,
            };
            to.sending = Some((effect, key));
        }
        machine.settle(NOW_MS);
        to.machine = Some(Box::new(machine));
        to
    }

    fn look(&self, machine: &Machine, seen: &Observation, (wait_ms, label): (u64, Label), rules: &Rules) -> Next {
        let mut to = self.clone();
        to.before = None;
        let mut machine = Box::new(machine.clone());
        let before = machine.step();
        let now_ms = NOW_MS + wait_ms;
        let command = machine.next(Event::Observed {
            asked_ms: if matches!(label, Label::Hears(_)) {
                NOW_MS
            } else {
                now_ms
            },
            now_ms,
            seen,
        });
        if rules.without == Some(Ablation::ReProbe) && !matches!(label, Label::Remembers(_)) {
            to.memory = Some(Box::new(seen.clone()));
        }
        to.obey(label, before, machine, command, now_ms, rules)
    }

    /// Until patience is over; less changes nothing.
    fn lose_sight(&self, machine: &Machine, blind_ms: u64, rules: &Rules) -> Next {
        let mut to = self.clone();
        to.before = None;
        to.left.in_all -= 1;
        to.left.sight -= 1;
        let mut machine = Box::new(machine.clone());
        let before = machine.step();
        let now_ms = NOW_MS + blind_ms;
        let command = machine.next(Event::Unseen {
            now_ms,
            since_ms: NOW_MS,
        });
        Next {
            fair: false,
            ..to.obey(Label::OutOfSight, before, machine, command, now_ms, rules)
        }
    }

    /// Journals what the machine commands, as the driver does, and checks it.
    fn obey(
        mut self,
        label: Label,
        before: Step,
        mut machine: Box<Machine>,
        command: Command,
        now_ms: u64,
        rules: &Rules,
    ) -> Next {
        let mut broken = None;
        let after = match command {
            Command::Look { .. } => {
                let drains = matches!(
                    before,
                    Step::Draining | Step::Redraining | Step::Migrating | Step::Returning
                );
                if drains && machine.step() == before && label == Label::Looks(LATE_MS) {
                    broken = Some(Broken::new("L5", format!("{before} goes on after its deadline")));
                }
                Ok(machine.step())
            }
            Command::Finish(terminal) => {
                let end = end_of(&terminal);
                broken = at_end(&self, &machine, &terminal);
                self.ended = Some(end);
                Err(end)
            }
            Command::Effect {
                effect,
                step,
                ordinal,
                left_ms: _,
            } => {
                let key = Key {
                    generation: self.journal.generation,
                    ordinal,
                };
                let looked = matches!(label, Label::Looks(_) | Label::Hears(_));
                broken = at_order(&self, &machine, effect, looked);
                let journal = self.journal.clone();
                self.journal.note(&machine, step, key);
                if rules.without == Some(Ablation::IntentBeforeEffect) && self.journal != journal {
                    self.before = Some(Box::new(journal));
                }
                self.sending = Some((effect, key));
                Ok(step)
            }
        };
        if self.ended.is_some() {
            self.machine = None;
            self.memory = None;
        } else {
            machine.settle(now_ms);
            self.machine = Some(machine);
        }
        Next {
            label,
            fair: true,
            table: Some((before, after)),
            to: match broken {
                Some(broken) => Err(broken),
                None => Ok(self),
            },
        }
    }

    /// The ways in which a command may fare.
    fn send(&self, effect: Effect, key: Key, rules: &Rules, all: &mut Vec<Next>) {
        let unknown = EffectOutcome::Unknown { reason: "lost".into() };
        let mut arrived = self.clone();
        arrived.sending = None;
        let outcome = arrived.world.apply(effect, key, rules);
        let other = self
            .world
            .last
            .filter(|(last, done)| *last == key && *done != kind(effect));
        let says = if self.journal.intended != Some(key) {
            Some(format!("{effect:?} is sent and its intent is not durable"))
        } else if let Some((_, done)) = other {
            Some(format!("{effect:?} is sent under the key of a {done:?}"))
        } else if self.world.last.is_some_and(|(last, _)| last == key) && arrived.world != self.world {
            Some(format!("{effect:?} is done twice under one key"))
        } else {
            None
        };
        if let Some(says) = says.filter(|_| rules.without.is_none() && effect != Effect::Fence) {
            all.push(Next {
                label: Label::Arrives(effect),
                fair: true,
                table: None,
                to: Err(Broken::new("S6", says)),
            });
            return;
        }
        all.push(arrived.answer(Label::Arrives(effect), &outcome, true, rules));
        if self.left.network.min(self.left.in_all) == 0 {
            return;
        }
        let mut arrived = arrived.clone();
        arrived.left.in_all -= 1;
        arrived.left.network -= 1;
        all.push(arrived.answer(Label::Unanswered(effect), &unknown, false, rules));
        let mut twice = arrived.clone();
        twice.mail.push((effect, key));
        all.push(twice.answer(Label::Duplicated(effect), &outcome, false, rules));
        let mut late = self.clone();
        late.sending = None;
        late.left.in_all -= 1;
        late.left.network -= 1;
        let refused = EffectOutcome::Failed { reason: "no".into() };
        all.push(late.answer(Label::Refused(effect), &refused, false, rules));
        let later = EffectOutcome::Retry { after_ms: 1 };
        all.push(late.answer(Label::PutOff(effect), &later, false, rules));
        all.push(late.answer(Label::Unsupported(effect), &EffectOutcome::Unsupported, false, rules));
        late.mail.push((effect, key));
        all.push(late.answer(Label::Delayed(effect), &unknown, false, rules));
    }

    fn answer(&self, label: Label, outcome: &EffectOutcome, fair: bool, rules: &Rules) -> Next {
        let to = self.clone();
        let Some(mut machine) = to.machine.clone() else {
            return Next {
                label,
                fair,
                table: None,
                to: Err(Broken::new("S8", "an answer for nobody".to_owned())),
            };
        };
        let before = machine.step();
        let command = machine.next(Event::Outcome {
            now_ms: NOW_MS,
            outcome,
        });
        Next {
            fair,
            ..to.obey(label, before, machine, command, NOW_MS, rules)
        }
    }

    pub(super) fn check(&self, faults: &Faults, rules: &Rules) -> Option<Broken> {
        everywhere(self, faults, rules)
    }
}

impl Journal {
    fn note(&mut self, machine: &Machine, step: Step, key: Key) {
        if !self.begun {
            self.begun = true;
            self.remembered = Remembered::nothing(machine.was_healthy());
        }
        self.remembered.went_back = machine.went_back().map(|_| Reason::Crashed);
        if step != Step::Recovering {
            // The driver's records tell times; here they would only tell states apart.
            self.remembered.intend(step, NOW_MS, None, None);
            self.intended = Some(key);
        }
    }
}

fn end_of(terminal: &Terminal) -> End {
    match terminal {
        Terminal::Done => End::Done,
        Terminal::RolledBack { .. } => End::RolledBack,
        Terminal::Rejected { .. } => End::Rejected,
        Terminal::NeedsPerson { .. } => End::NeedsPerson,
        Terminal::Superseded => End::Superseded,
        Terminal::Gone => End::Gone,
    }
}

pub(super) fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        from: OLD.into(),
        to: NEW.into(),
        fence: true,
        prefetch: true,
        salt: 7,
    }
}
