//! The driver: `mod` has its state and what callers do between turns, `turn` one turn, `look` the looks and `asking` what
//! they ask, `send` the effects, `calls` the deadlines of both, `reader` those of the journal, `attend` what happens between turns.
mod asking;
mod attend;
mod calls;
mod control;
mod look;
mod reader;
mod send;
mod turn;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::hash::Fixed;
use crate::history::{History, Latest, Open};
use crate::machine::{Command, Machine, Plan};
use crate::mode::missing_for;
use crate::record::Told;
use crate::wire::{LONGEST_TEXT, MOST};
use crate::{
    AttemptId, Capabilities, Clock, ConfigError, DriverConfig, EffectOutcome, Generation, Group, Job, Journal,
    JournalError, Platform, Position, Receipt, Record, RecordError, Step, SubmitError, TargetId, Terminal, Timing,
    UpgradeRecord, Version,
};
use asking::Sight;
use calls::{Answer, Calls};
pub use control::{Cancelled, DropReason, Dropped};
use look::{Blind, Look};
pub use reader::JournalReader;
use send::Order;
pub use turn::Turn;
use waiting::{GroupNumber, Waiting};

/// Why a turn could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The journal refused, or has not answered. No effect was sent; take another turn when it works again.
    #[error("nothing is done without a journal: {0}")]
    Journal(#[from] JournalError),
    /// A record of the journal does not fit. Nothing is done with a history that is not understood.
    #[error("the journal cannot be replayed: {0}")]
    Record(#[from] RecordError),
    /// The future of a turn was dropped half-way, so what was sent is not known here.
    #[error("a turn was dropped before its end: make a new driver, replay the journal and resume")]
    Interrupted,
    /// A record could not be replayed. Nothing is done, and nothing more is taken, beside a history that is not understood.
    #[error("a record of the journal did not fit: see to the journal, then make a new driver and replay it whole")]
    NotUnderstood,
    /// Records were replayed and not resumed from.
    #[error("the driver has replayed a journal: call `resume` first")]
    NotResumed,
    /// The journal has records that this driver was not given. Nothing is done beside them.
    #[error(
        "the journal has {found} records that the driver was not given: call `recover`, or `replay` all and `resume`"
    )]
    NotReplayed {
        /// Where the journal ends.
        found: Position,
    },
    /// Another program writes to the journal. Nothing is done beside it.
    #[error(
        "the journal ends at {found} where this driver left it at {expected}: another controller writes to it; end all \
         but one, then start anew"
    )]
    OtherWriter {
        /// Where this driver's last append ended.
        expected: Position,
        /// Where the journal ends.
        found: Position,
    },
    /// Replaying is for the beginning.
    #[error("records can only be replayed into a driver that has done nothing yet")]
    NotFresh,
}

/// Carries many attempts at once through a platform, journal first.
///
/// The caller takes [`turn`](Self::turn)s and [`attend`](Self::attend)s between them. It owns no runtime and spawns
/// nothing; to drop the future of a turn equals a kill, after which a new driver [`replay`](Self::replay)s the journal and
/// [`resume`](Self::resume)s.
///
/// Memory: each target ever attempted keeps its generation (its name and about 32 bytes), each attempt under way
/// takes some 400 bytes.
pub struct Driver {
    platform: Arc<dyn Platform>,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    config: DriverConfig,
    timing: Arc<Timing>,
    capabilities: Capabilities,
    stage: Stage,
    next_attempt: u64,
    waiting: Waiting,
    /// What follows the attempt under way at a target.
    successors: BTreeMap<TargetId, (AttemptId, Job)>,
    /// Jobs that will never begin, not yet told.
    dropped: Vec<Dropped>,
    /// Never iterated.
    targets: HashMap<TargetId, Held, Fixed>,
    slots: Vec<Option<Attempt>>,
    /// See [`disturb_within`](Self::disturb_within).
    disturb_within_ms: Option<u64>,
    free: Vec<usize>,
    in_flight: usize,
    /// Slots by the time of their next look.
    looks: BTreeMap<u64, Vec<usize>>,
    versions: BTreeMap<Version, u32>,
    history: History,
    /// Records not yet appended, in order.
    outbox: Group,
    /// The end of the journal as it must be: nobody else writes to it.
    appended_to: Position,
    /// What the driver knows of the journal: nothing, where it was read to, or where it wrote to itself.
    end_is: EndIs,
    /// Records at the beginning of the outbox whose append failed: whether they are there is not known.
    in_doubt: u32,
    /// When a failed append is due to be made again. Until it is made nothing else can be.
    append_again_ms: Option<u64>,
    /// The append that is under way; it is never made twice.
    appending: Option<Answer<(Group, Result<Position, JournalError>)>>,
    /// Effects whose intent is in the outbox or before it.
    orders: VecDeque<Order>,
    /// The same, at targets at which the last call got no answer.
    orders_apart: VecDeque<Order>,
    effects: Calls<Order, Option<EffectOutcome>>,
    looks_open: Calls<Look, Option<Sight>>,
    /// Attempts whose last look could not be had, by when the first such was asked for.
    blind: BTreeSet<(u64, usize)>,
    /// Receipts whose record is in the outbox.
    receipts: Vec<Receipt>,
    /// Reused for each record.
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Replaying,
    /// A record was not understood: nothing is gone on from there.
    Unreadable,
    Ready,
    /// Also for good, where the future of a turn was dropped.
    InTurn,
}

/// How the end of the journal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndIs {
    /// Not at all: nothing was read, so nothing must be there.
    Unread,
    /// It was read up to there, and somebody may have written since.
    Read,
    /// This driver has looked, or written, since.
    Seen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    generation: Generation,
    place: Place,
}

/// What a target has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing that has not ended.
    #[default]
    Idle,
    /// A job.
    Waiting { attempt: AttemptId, group: GroupNumber },
    /// An attempt.
    UnderWay { slot: usize },
}

/// An attempt under way.
#[derive(Debug)]
struct Attempt {
    id: AttemptId,
    generation: Generation,
    target: TargetId,
    group: GroupNumber,
    /// When its next look is; other entries of it in `looks` are void.
    look_ms: Option<u64>,
    /// Since when all consumers are known to know of its closed ingress. Few wait for that at a time.
    barred_since: Option<Box<u64>>,
    /// The last look could not be had. Few are so.
    blind: Option<Box<Blind>>,
    machine: Machine,
    started_ms: u64,
    /// When it was decided.
    decided_ms: u64,
    recoveries: u32,
    /// Its begin is in the outbox or the journal.
    begun: bool,
    turned_back: bool,
    fenced: bool,
    /// The platform was called for what disturbs its target, or may have been.
    disturbs: bool,
    /// The last effect got no answer.
    hung: bool,
    /// Nor did the last question to its consumers or its instance, asked for it alone.
    silent: bool,
    /// The outcome of its last effect, for its next record.
    told: Told,
    /// The last intent written, so that an order given again under one key is not written again.
    intended: Option<(Step, u8)>,
    /// An end that an outcome brought; its record is due. Few have one, and not for long.
    ended: Option<Box<Terminal>>,
}

impl Attempt {
    /// It has disturbed nothing, and goes on to do so.
    const fn is_untouched(&self) -> bool {
        !self.disturbs && self.machine.is_untouched()
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("stage", &self.stage)
            .field("in_flight", &self.in_flight)
            .field("queued", &self.waiting.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver that knows nothing yet. Give it the journal's records first ([`replay`](Self::replay)), if there
    /// are any.
    pub fn new(
        platform: Arc<dyn Platform>,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        config: DriverConfig,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            capabilities: platform.capabilities(),
            platform,
            journal,
            clock,
            timing: Arc::new(config.timing.clone()),
            waiting: Waiting::new(config.max_per_group),
            config,
            stage: Stage::Fresh,
            next_attempt: 0,
            successors: BTreeMap::new(),
            dropped: Vec::new(),
            targets: HashMap::default(),
            slots: Vec::new(),
            disturb_within_ms: None,
            free: Vec::new(),
            in_flight: 0,
            looks: BTreeMap::new(),
            versions: BTreeMap::new(),
            history: History::default(),
            outbox: Group::new(),
            appended_to: 0,
            end_is: EndIs::Unread,
            in_doubt: 0,
            append_again_ms: None,
            appending: None,
            orders: VecDeque::new(),
            orders_apart: VecDeque::new(),
            effects: Calls::new(),
            looks_open: Calls::new(),
            blind: BTreeSet::new(),
            receipts: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Takes the journal's next record, from the very first on and in order; records of other streams are skipped.
    /// Gives the receipt where the record is the end of an attempt.
    ///
    /// Call [`resume`](Self::resume) after the last. After an error the driver must be dropped. A driver that was given
    /// nothing of a journal that has records does nothing ([`DriverError::NotReplayed`]).
    pub fn replay(&mut self, record: &Record<'_>) -> Result<Option<Receipt>, DriverError> {
        self.may_replay()?;
        self.stage = Stage::Unreadable;
        let told = self.history.take(record)?;
        self.stage = Stage::Replaying;
        Ok(told.and_then(|told| told.receipt))
    }

    const fn may_replay(&self) -> Result<(), DriverError> {
        match self.stage {
            Stage::Fresh | Stage::Replaying => Ok(()),
            Stage::Unreadable => Err(DriverError::NotUnderstood),
            Stage::Ready | Stage::InTurn => Err(DriverError::NotFresh),
        }
    }

    /// Reads the whole journal, gives the receipts of attempts that have ended (a snapshot has none of those it stands
    /// for), and [`resume`](Self::resume)s.
    ///
    /// # Errors
    /// A journal that cannot be read or understood, or does not answer: nothing has been done, and the driver must be
    /// dropped.
    pub fn recover(&mut self) -> BoxFuture<'_, Result<Vec<Receipt>, DriverError>> {
        Box::pin(async move {
            let mut receipts = Vec::new();
            let journal = self.journal_reader();
            let end = journal.read_whole(|_, record| {
                receipts.extend(self.replay(record)?);
                Ok::<(), DriverError>(())
            });
            let end = end.await?;
            self.resume(end)?;
            Ok(receipts)
        })
    }

    /// Raises [`DriverConfig::first_generation`] where it is lower, for who knows more of it than when the driver was made: from what a
    /// journal says of its beginning, as it must be the same however often that journal is taken up. Attempts that have begun keep
    /// theirs.
    ///
    /// # Errors
    /// A generation that the configuration would not take either.
    pub fn begin_above(&mut self, generation: u64) -> Result<(), ConfigError> {
        let raised = self.config.first_generation.max(generation);
        let config = self.config.clone().first_generation(raised);
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Takes over every attempt that the replayed records leave open: under a new generation, and nothing else before
    /// the next [`turn`](Self::turn). Gives their targets, in the order the attempts began. `end` is the position behind the
    /// last record, as whoever read them has it ([`read_journal`](crate::read_journal) gives it): if the journal ends
    /// elsewhere when the driver first writes, it does nothing.
    pub fn resume(&mut self, end: Position) -> Result<Vec<TargetId>, DriverError> {
        self.may_replay()?;
        if self.history.open.values().any(|open| open.generation.0 >= MOST) {
            return Err(RecordError::Number.into());
        }
        self.stage = Stage::Ready;
        (self.appended_to, self.end_is) = (end, EndIs::Read);
        let history = std::mem::take(&mut self.history);
        self.next_attempt = history.next_attempt;
        self.versions = history.numbers;
        let held = |latest: Latest| Held {
            generation: latest.generation,
            place: Place::Idle,
        };
        let known = history.targets.into_iter();
        self.targets = known.map(|(target, latest)| (target, held(latest))).collect();
        let now = self.clock.now();
        let mut targets = Vec::with_capacity(history.open.len());
        for (id, open) in history.open {
            targets.push(open.target.clone());
            self.take_over(id, open, now);
        }
        Ok(targets)
    }

    fn take_over(&mut self, id: AttemptId, open: Open, now: u64) {
        let held = self.targets.entry(open.target.clone()).or_default();
        held.generation = Generation(held.generation.0 + 1);
        let generation = held.generation;
        self.write(&UpgradeRecord::Recovered {
            attempt: id,
            generation,
            at_ms: now,
        });
        let mut remembered = open.remembered;
        remembered.recoveries_of_step = remembered.recoveries_of_step.saturating_add(1);
        let plan = self.plan(id, open.mode, open.from, open.to);
        let turned_back = remembered.went_back.is_some();
        let mut machine = Machine::recover(plan, Arc::clone(&self.timing), remembered);
        let disturbs = !machine.is_untouched();
        let command = machine.begin(now);
        let group = self.waiting.number_of(open.group.as_ref());
        self.waiting.began(group);
        let slot = self.put(Attempt {
            id,
            generation,
            target: open.target,
            group,
            look_ms: None,
            barred_since: None,
            blind: None,
            machine,
            started_ms: open.started_ms,
            decided_ms: open.started_ms,
            recoveries: open.recoveries.saturating_add(1),
            begun: true,
            turned_back,
            fenced: false,
            disturbs,
            hung: false,
            silent: false,
            told: Told::Nothing,
            intended: None,
            ended: None,
        });
        self.obey(slot, command, now);
    }

    /// Queues a job. Nothing is journaled or touched before a turn begins it. Jobs begin in the order in which they are
    /// submitted, but that nobody waits for a group that is full.
    ///
    /// The number is that of the attempt for good once it has begun, and until then only as long as this driver lives: a job
    /// that has not begun is not in the journal, and a driver made later gives its number to another one.
    pub fn submit(&mut self, job: Job) -> Result<AttemptId, SubmitError> {
        self.check(&job)?;
        if self.is_busy(&job.target) {
            return Err(SubmitError::Busy { target: job.target });
        }
        if self.room() == 0 {
            return Err(SubmitError::QueueFull {
                queued: self.waiting.len(),
            });
        }
        let id = self.number();
        self.wait(id, job);
        Ok(id)
    }

    /// What can be told before anything is known of its target.
    fn check(&self, job: &Job) -> Result<(), SubmitError> {
        self.may_submit()?;
        let Job {
            target, from, to, mode, ..
        } = job;
        if from == to {
            return Err(SubmitError::SameVersion {
                target: target.clone(),
                version: to.clone(),
            });
        }
        let able = &self.capabilities;
        if let Some(missing) = able.contradiction().or_else(|| missing_for(able, *mode)) {
            return Err(SubmitError::Mode {
                target: target.clone(),
                mode: *mode,
                missing,
            });
        }
        let generation = self.targets.get(target).map_or(0, |held| held.generation.0);
        if self.next_attempt >= MOST || generation >= MOST {
            return Err(SubmitError::Spent { target: target.clone() });
        }
        let group = job.group.as_ref().map_or("-", |group| group.as_str());
        for text in [target.as_str(), from.as_str(), to.as_str(), group] {
            if text.is_empty() || text.len() > LONGEST_TEXT {
                return Err(SubmitError::Name { bytes: text.len() });
            }
        }
        Ok(())
    }

    fn number(&mut self) -> AttemptId {
        let id = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        id
    }

    fn wait(&mut self, attempt: AttemptId, mut job: Job) {
        if job.decided_ms.is_none() {
            job.decided_ms = Some(self.clock.now());
        }
        self.stage = if self.stage == Stage::Fresh {
            Stage::Ready
        } else {
            self.stage
        };
        let target = job.target.clone();
        let group = self.waiting.push(attempt, job);
        self.targets.entry(target).or_default().place = Place::Waiting { attempt, group };
    }

    /// Adds records of the caller to what the next turn appends: they become durable in one group with the intents of
    /// that turn, and stand before them.
    pub fn attach(&mut self, group: &Group) {
        self.outbox.extend(group);
    }

    /// Jobs and attempts that have no receipt yet.
    pub fn outstanding(&self) -> usize {
        self.in_flight + self.waiting.len() + self.successors.len()
    }

    /// Attempts under way.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether this target has a job, or an attempt that has not ended (its receipt may wait for the journal then).
    pub fn is_busy(&self, target: &TargetId) -> bool {
        self.targets.get(target).is_some_and(|held| held.place != Place::Idle) || self.history.is_open(target)
    }

    /// What the platform said it can do when the driver was made.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn plan(&self, id: AttemptId, mode: crate::Mode, from: Version, to: Version) -> Plan {
        // One text for all attempts: each look compares with both, and a text of its own is far away.
        let shared = |version: Version| match self.versions.get_key_value(&version) {
            Some((known, _)) => known.clone(),
            None => version,
        };
        Plan {
            mode,
            from: shared(from),
            to: shared(to),
            fence: self.capabilities.fence,
            prefetch: self.capabilities.prefetch,
            salt: self.config.seed ^ id.0.rotate_left(32),
        }
    }

    fn put(&mut self, attempt: Attempt) -> usize {
        self.in_flight += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if let Some(held) = self.targets.get_mut(&attempt.target) {
            held.place = Place::UnderWay { slot };
        }
        if slot == self.slots.len() {
            self.slots.push(Some(attempt));
        } else {
            self.slots[slot] = Some(attempt);
        }
        slot
    }

    fn write(&mut self, record: &UpgradeRecord) {
        self.scratch.clear();
        record.encode(&mut self.scratch);
        self.outbox.push(crate::Stream::UPGRADE, record.kind(), &self.scratch);
    }

    /// The number of a version, written down at its first use.
    fn number_of(&mut self, version: &Version) -> u32 {
        if let Some(index) = self.versions.get(version) {
            return *index;
        }
        // Distinct versions are bounded by memory long before this saturates.
        let index = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        self.versions.insert(version.clone(), index);
        self.write(&UpgradeRecord::Version {
            index,
            version: version.clone(),
        });
        index
    }

    /// Carries out what a machine commands, up to the point where the journal must come first.
    fn obey(&mut self, slot: usize, command: Command, now: u64) {
        match command {
            Command::Look { at_ms } => self.look_at(slot, at_ms, now),
            Command::Effect {
                effect,
                step,
                ordinal,
                left_ms,
            } => self.intend(slot, effect, (step, ordinal), left_ms, now),
            Command::Finish(terminal) => self.finish(slot, terminal, now),
        }
    }

    const fn on_grid(&self, at_ms: u64) -> u64 {
        at_ms.div_ceil(self.config.poll_ms).saturating_mul(self.config.poll_ms)
    }

    /// Looks happen on the grid, so that many share one turn; what is due now is due now.
    fn look_at(&mut self, slot: usize, at_ms: u64, now: u64) {
        let at = if at_ms <= now { now } else { self.on_grid(at_ms) };
        if let Some(attempt) = &mut self.slots[slot] {
            attempt.look_ms = Some(at);
            self.looks.entry(at).or_default().push(slot);
        }
    }

    /// Brings the next look forward, of an attempt that waits for one.
    fn look_soon(&mut self, slot: usize, now: u64) {
        let waits = self
            .slots
            .get(slot)
            .and_then(Option::as_ref)
            .and_then(|attempt| attempt.look_ms);
        if waits.is_some_and(|at| at > now) {
            self.look_at(slot, now, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Attempt;

    /// Its place in the table and its next look. Names are the fleet's, and shared.
    #[test]
    fn a_live_attempt_takes_at_most_512_bytes() {
        let look = size_of::<usize>();
        let all = size_of::<Option<Attempt>>() + look;
        assert!(all <= 512, "{all} bytes");
    }
}
