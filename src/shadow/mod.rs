//! Shadow mode: what the autopilot would have done with a change that another tool drives.

mod back;
mod line;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use unattended_batching::{Plan, TargetIndex, verify};
use unattended_defense::Guard;
use unattended_health::{History, Interval};

use crate::input::Header;
use crate::machine::{Machine, Objection, Setup};
use crate::settings::LONGEST_MS;
use crate::{Change, DECISIONS, Level, RunError, StartError};

use self::back::Turn;

pub use line::{Ending, Event, RECORD_SCHEMA, RecordError, RecordedChange, RecordedTarget};
pub use report::{Disagreement, End, Saved, ShadowReport, Topic};

/// Reads what happens to a change that somebody else drives, and says what the autopilot would have done, and when.
///
/// It has no [`Platform`](crate::upgrade::Platform), and nothing that it is given can reach one. It sees what the other tool saw: each
/// start is held against rules and evidence of that moment, and the evidence is that of the targets that were really started. So it does
/// not say how the autopilot's own course, with its own first targets, would have gone; only what it would have said to this one.
///
/// ```
/// use std::sync::Arc;
/// use unattended::batching::{Fleet, Policy};
/// use unattended::{Actor, Change, Event, Shadow, defense::Guard};
///
/// let mut fleet = Fleet::builder();
/// for pod in ["pay-1", "pay-2", "pay-3"] {
///     fleet.push(pod, "pay", [("zone", "a")], true)?;
/// }
/// let change = Change::new("mesh-1.9.2", Actor::program("argo", "ci"), "1.9.1".into(), "1.9.2".into(), Arc::new(fleet.build()?));
/// let mut shadow = Shadow::new(change, Guard::empty(), &[], 0)?;
/// shadow.take(&Event::Ordered { at_ms: 1_000, target: "pay-1".into(), new: true })?;
/// assert_eq!(shadow.report().starts, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shadow {
    machine: Machine,
    /// By recorded stratum, ours.
    strata: BTreeMap<u32, u32>,
    interval_ms: u64,
    /// The other tool's batches are those of the plan.
    same_batches: bool,
    stop: Option<End>,
    theirs: Theirs,
    measured: u64,
    starts: u64,
    agreed: u64,
    found: Vec<Disagreement>,
    /// By topic, the disagreement that goes on.
    open: BTreeMap<Topic, usize>,
    idle_ms: u64,
    saved_target_ms: u64,
    last_ms: u64,
    /// When a target was last ordered to the new version.
    last_start_ms: u64,
    /// By lane, when anything of it last began or came to its end: it rests from then on.
    worked_ms: Vec<u64>,
    /// By class, when it first had one exposed, two, and so on.
    reached_ms: Vec<Vec<u64>>,
    exposure: Vec<(u64, u64)>,
}

/// What the other tool did as a whole.
#[derive(Debug)]
struct Theirs {
    /// By target.
    places: Vec<Place>,
    turn: Option<Turn>,
    ended: Option<(u64, Ending)>,
    most: u64,
}

/// Where a target is on the other tool's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Never,
    Ordered,
    PutBack,
}

impl Theirs {
    /// Their way back, as far as can be told by now.
    fn way_back(&self) -> Option<&Turn> {
        let ended = self.ended.map(|(_, how)| how);
        self.turn.as_ref().filter(|turn| turn.is_of_the_change(ended))
    }
}

impl Shadow {
    /// The other tool drew its batches with the policy and the seed of this change: less is explained by others.
    #[must_use]
    pub const fn with_same_batches(mut self) -> Self {
        self.same_batches = true;
        self
    }

    /// Beside a change that began at `began_unix_ms`. Of its author and the budgets in its settings nothing is asked.
    ///
    /// # Errors
    /// As [`Autopilot::start`](crate::Autopilot::start); [`StartError::Settings`] too where the history does not fit the plan.
    pub fn new(mut change: Change, rules: Guard, history: &[History], began_unix_ms: i64) -> Result<Self, StartError> {
        change.settings.check().map_err(StartError::Settings)?;
        // Where it is spent a person is asked, and here nobody is.
        change.settings.budget.resumes_per_day = u32::MAX;
        if change.from == change.to {
            return Err(StartError::SameVersion(change.from.to_string()));
        }
        rules.check_keys(change.fleet.keys())?;
        let plan = Plan::build(&change.fleet, &change.policy, change.seed)?;
        let proof = verify(&change.fleet, &change.policy, &plan)?;
        let header = Header {
            decisions: DECISIONS,
            declared: change.declared.clone(),
            change: change.id.clone(),
            author: change.author.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            seed: change.seed,
            level: Level::L4,
            granted_by: String::new(),
            granted_until_unix_ms: None,
            fenced: true,
            mode: String::new(),
            targets: change.fleet.len() as u64,
            plan: String::new(),
            rules: rules.digest().to_owned(),
            settings: change.settings.of_the_change(),
            person_patience_ms: 0,
            began_ms: 0,
            began_unix_ms,
        };
        let interval_ms = change.settings.interval_ms;
        let theirs = Theirs {
            places: vec![Place::Never; change.fleet.len()],
            turn: None,
            ended: None,
            most: 0,
        };
        let setup = Setup {
            change,
            plan,
            proof,
            guard: Arc::new(rules),
            header,
        };
        let machine = Machine::new(setup, history).map_err(|error| StartError::Settings(error.to_string()))?;
        let worked_ms = vec![0; machine.lanes_count()];
        let reached_ms = vec![Vec::new(); machine.classes_count()];
        Ok(Self {
            machine,
            strata: BTreeMap::new(),
            interval_ms,
            same_batches: false,
            stop: None,
            theirs,
            measured: 0,
            starts: 0,
            agreed: 0,
            found: Vec::new(),
            open: BTreeMap::new(),
            idle_ms: 0,
            saved_target_ms: 0,
            last_ms: 0,
            last_start_ms: 0,
            worked_ms,
            reached_ms,
            exposure: Vec::new(),
        })
    }

    /// The next thing that happened.
    ///
    /// # Errors
    /// [`RunError::Metrics`] where an interval cannot be: its rows name strata that are not there, say; or where a time is more than a
    /// hundred years after the beginning, or, of anything but an interval, before that of what was taken last. Events about targets that the fleet does not have are passed over: they were born later.
    pub fn take(&mut self, event: &Event) -> Result<(), RunError> {
        if event.at_ms() > LONGEST_MS {
            return Err(RunError::Metrics(format!(
                "the time is {} ms after the beginning: give at most {LONGEST_MS}, a hundred years",
                event.at_ms()
            )));
        }
        // Metrics come late. All else is held against what was known at its time, and that has passed.
        if event.at_ms() < self.last_ms && !matches!(event, Event::Interval(_)) {
            return Err(RunError::Metrics(format!(
                "the time goes back from {} to {} ms after the beginning: put what happened in the order of its times",
                self.last_ms,
                event.at_ms()
            )));
        }
        match event {
            Event::Interval(interval) => return self.interval(interval),
            Event::Ordered { at_ms, target, new } => {
                self.pass(*at_ms);
                if let Some(target) = self.machine.find(target) {
                    if *new {
                        self.ordered(*at_ms, target)
                    } else {
                        self.ordered_back(*at_ms, target)
                    }
                }
            }
            Event::Ready { at_ms, target, new } => {
                self.pass(*at_ms);
                if let (Some(target), true) = (self.machine.find(target), *new) {
                    self.worked(*at_ms, target);
                    self.machine.told_ready(target);
                }
            }
            Event::Failed { at_ms, target, why } => {
                self.pass(*at_ms);
                if let Some(at) = self.machine.find(target) {
                    self.worked(*at_ms, at);
                    self.machine.told_failed(at, format!("{target}: {why}"));
                }
                self.look(*at_ms);
            }
            Event::Ended { at_ms, how } => {
                self.pass(*at_ms);
                self.theirs.ended.get_or_insert((*at_ms, *how));
                self.take_back_waiting();
            }
        }
        Ok(())
    }

    /// Rows are counted by strata of the record; these are the same targets as ours of that number.
    pub(crate) fn alike(&mut self, recorded: u32, ours: u32) {
        self.strata.insert(recorded, ours);
    }

    pub(crate) const fn machine(&self) -> &Machine {
        &self.machine
    }

    fn interval(&mut self, interval: &Interval) -> Result<(), RunError> {
        let mut interval = interval.clone();
        let strata = &self.strata;
        let mut unknown = None;
        let mut ours = |stratum: &mut u32| match strata.get(stratum) {
            Some(&known) => *stratum = known,
            // Without a record they are ours already. With one it is nobody's of its fleet, whatever has that number here.
            None if strata.is_empty() => {}
            None => unknown = Some(*stratum),
        };
        interval.rows.iter_mut().for_each(|row| ours(&mut row.stratum));
        interval.samples.iter_mut().for_each(|sample| ours(&mut sample.stratum));
        interval.splits.iter_mut().for_each(|split| ours(&mut split.stratum));
        if let Some(stratum) = unknown {
            return Err(RunError::Metrics(format!(
                "stratum {stratum} has no target: leave out rows that are not about this fleet"
            )));
        }
        self.pass(interval.end_ms);
        // An interval of which nothing arrived tells nothing about the change.
        self.measured += u64::from(!interval.rows.is_empty() || !interval.samples.is_empty());
        self.machine
            .interval(&interval)
            .map_err(|error| RunError::Metrics(error.to_string()))?;
        self.look(interval.end_ms);
        self.wait(interval.end_ms);
        let exposed = self.machine.exposed_now();
        if self.exposure.last().is_none_or(|&(_, last)| last != exposed) {
            self.exposure.push((interval.end_ms, exposed));
        }
        Ok(())
    }

    /// Time passes with as many targets exposed as there are.
    fn pass(&mut self, at_ms: u64) {
        let passed = at_ms.saturating_sub(self.last_ms);
        if self.stop.is_some() && self.theirs.ended.is_none() {
            let exposed = self.machine.exposed_now();
            self.saved_target_ms = self.saved_target_ms.saturating_add(exposed.saturating_mul(passed));
        }
        self.last_ms = self.last_ms.max(at_ms);
        self.machine.comes_to(at_ms);
    }

    fn worked(&mut self, at_ms: u64, target: TargetIndex) {
        if let Some(worked_ms) = self.worked_ms.get_mut(self.machine.lane_of(target)) {
            *worked_ms = (*worked_ms).max(at_ms);
        }
    }

    /// Whether there is a reason to stop, for the first time.
    fn look(&mut self, at_ms: u64) {
        self.machine.note_soaks(&self.reached_ms, self.same_batches);
        let stop = self.machine.watch(at_ms);
        if let (Some((code, text)), None) = (stop, &self.stop) {
            self.stop = Some(End {
                what: code.to_owned(),
                at_ms,
                exposed: self.machine.exposed_now(),
                why: text,
            });
        }
    }

    /// Whether the other tool waits for nothing.
    fn wait(&mut self, at_ms: u64) {
        let over = self.stop.is_some() || self.theirs.way_back().is_some() || self.theirs.ended.is_some();
        // Why a change has not begun, a person's word or a turn among others, is in no record; and who starts something does not wait.
        let at_work = self.starts == 0 || at_ms.saturating_sub(self.last_start_ms) < self.interval_ms;
        if !over && !at_work && self.machine.would_go_on(at_ms, &self.worked_ms) {
            self.idle_ms += self.interval_ms;
            let what = "it waits, and rules and evidence would let it go on".to_owned();
            self.disagree(Topic::Waits, at_ms, what, 0);
        } else {
            self.agree(Topic::Waits, at_ms);
        }
    }

    fn ordered(&mut self, at_ms: u64, target: TargetIndex) {
        let Some(place) = self.theirs.places.get_mut(target.0 as usize) else {
            return;
        };
        let before = std::mem::replace(place, Place::Ordered);
        if before == Place::Ordered {
            // The same order again exposes nobody else.
            return;
        }
        self.last_start_ms = at_ms;
        self.worked(at_ms, target);
        let turn = self.theirs.turn.take();
        self.theirs.turn = turn.and_then(|mut turn| turn.outlasts(at_ms, target).then_some(turn));
        if self.theirs.turn.is_some() {
            // It did not come back: that is no step of theirs, and nothing to agree with.
            self.started(at_ms, target);
            return;
        }
        let new = u64::from(before == Place::Never);
        self.starts += new;
        let objection = if let Some(stop) = &self.stop {
            Some((Topic::Stopped, format!("it would have been stopped: {}", stop.why)))
        } else {
            self.machine.objection(target).map(|objection| match objection {
                Objection::Rules(why) => (Topic::Rules, format!("rules hold the application: {why}")),
                Objection::Evidence(class, room) => (
                    Topic::Evidence,
                    format!("class {class} may have {room} targets by what was seen of it"),
                ),
                Objection::Blocked(why) => (Topic::Blocked, format!("a check blocks the change: {why}")),
            })
        };
        match objection {
            None => {
                self.agreed += new;
                for topic in Topic::OF_STARTS {
                    self.agree(topic, at_ms);
                }
            }
            Some((topic, why)) => self.disagree(topic, at_ms, why, new),
        }
        self.started(at_ms, target);
        self.theirs.most = self.theirs.most.max(self.machine.exposed_now());
    }

    fn started(&mut self, at_ms: u64, target: TargetIndex) {
        self.machine.told_started(target);
        for &class in self.machine.classes_of(target) {
            let reached_ms = &mut self.reached_ms[class as usize];
            if reached_ms.len() < self.machine.exposed_of(class) {
                reached_ms.push(at_ms);
            }
        }
    }

    fn ordered_back(&mut self, at_ms: u64, target: TargetIndex) {
        if let Some(place @ Place::Ordered) = self.theirs.places.get_mut(target.0 as usize) {
            *place = Place::PutBack;
        }
        let exposed = self.machine.exposed_now();
        let mut turn = match self.theirs.turn.take() {
            Some(turn) if !turn.is_over(at_ms) => turn,
            _ => self.turn(at_ms, exposed),
        };
        self.machine.told_back(target);
        if self.machine.exposed_now() < exposed {
            turn.goes_on(at_ms, target);
        }
        self.theirs.turn = Some(turn);
        self.take_back_waiting();
    }

    fn turn(&self, at_ms: u64, exposed: u64) -> Turn {
        let from = End {
            what: "rollback".to_owned(),
            at_ms,
            exposed,
            why: String::new(),
        };
        let objection = self.stop.is_none().then(|| match self.measured {
            0 => "it goes back, and nothing was measured that could be a reason".to_owned(),
            _ => format!(
                "it goes back, and evidence against the release is {:.1}",
                self.machine.evidence_now()
            ),
        });
        Turn::new(from, objection, self.found.len(), self.idle_ms)
    }

    /// Whoever goes back does not wait: what was said so before that could be told is withdrawn.
    fn take_back_waiting(&mut self) {
        let Some(turn) = self.theirs.way_back() else { return };
        let (from_ms, found, idle_ms) = (turn.from.at_ms, turn.found, turn.idle_ms);
        self.idle_ms = idle_ms;
        // Nothing starts during a turn, so what was found since then is waiting.
        self.found.truncate(found);
        self.open.retain(|_, at| *at < found);
        if let Some(open) = self.open.remove(&Topic::Waits) {
            self.found[open].until_ms = self.found[open].until_ms.min(from_ms);
        }
    }

    fn agree(&mut self, topic: Topic, at_ms: u64) {
        if let Some(open) = self.open.remove(&topic) {
            self.found[open].until_ms = at_ms;
        }
    }

    fn disagree(&mut self, topic: Topic, at_ms: u64, why: String, starts: u64) {
        if let Some(&open) = self.open.get(&topic) {
            let known = &mut self.found[open];
            known.until_ms = at_ms;
            known.starts += starts;
            return;
        }
        self.open.insert(topic, self.found.len());
        self.found.push(Disagreement {
            topic,
            from_ms: at_ms,
            until_ms: at_ms,
            starts,
            why,
        });
    }
}
