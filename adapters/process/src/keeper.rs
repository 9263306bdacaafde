//! One target: its durable state, its processes, and the task that makes the state true.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};
use unattended_upgrade::{FleetChange, Ingress, InstanceId, Moves, TargetId, Version};

use crate::clock::now_ms;
use crate::ending::Stop;
use crate::fill::fill;
use crate::house::House;
use crate::left::Leaving;
use crate::logs;
use crate::look::add;
use crate::process::{Gated, Process};
use crate::program::{Filled, Place, Told};
use crate::state::{APPLICATION, Committed, Run, SEATS, State, Unwritten, Way, committed};
use crate::{Target, Template, TemplateError};

/// One target.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) id: TargetId,
    pub(crate) app: Arc<str>,
    pub(crate) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) template: Template,
    pub(crate) directory: PathBuf,
    parameters: Arc<BTreeMap<String, String>>,
    pub(crate) house: Arc<House>,
    pub(crate) inner: Mutex<Inner>,
    /// Orders come one after the other, also those that wait for an agent.
    pub(crate) orders: Mutex<()>,
    pub(crate) wake: Notify,
}

/// One order of a slot: the slot, and which of its orders in turn.
type Round = (usize, u64);

/// What changes.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) lives: [Option<Live>; SEATS],
    /// Those that have left, and serve on.
    pub(crate) left: Vec<Leaving>,
    exits: [Exits; SEATS],
    /// Processes that had ended before this adapter began.
    found_dead: Vec<(usize, Run)>,
    /// When a slot has yielded for long enough, to what was ordered in the other one in this round.
    yield_at: Option<(Round, u64)>,
    /// When the logs are looked at next.
    logs_at: u64,
    /// The target was well when it was looked at last.
    pub(crate) well: bool,
    /// Since when its way is seen closed under the last order.
    pub(crate) closed_since_ms: Option<u64>,
}

/// A process that runs, as far as is known.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) run: Run,
    pub(crate) process: Arc<Process>,
    pub(crate) stop: Option<Stop>,
    since_ms: u64,
    /// The way as it has confirmed it last; `None` if it was not asked by this adapter yet.
    pub(crate) way: Option<Ingress>,
    /// It was started while the way was closed, and has not closed it yet.
    pub(crate) born_closed: bool,
    /// It has refused this configuration.
    pub(crate) refused: Option<Version>,
    pub(crate) told: Option<Told>,
    /// It has been ready, with its checks passed, at some look.
    pub(crate) was_verified: bool,
}

impl Live {
    /// It was told to end.
    pub(crate) const fn is_ending(&self) -> bool {
        self.stop.is_some()
    }
}

/// Ends of processes that nobody ordered, in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exits {
    pub(crate) in_a_row: u32,
    not_before_ms: u64,
}

/// What a pass has left to wait for.
#[derive(Debug)]
pub(crate) struct Pass {
    /// When something is due by time.
    pub(crate) due_ms: u64,
    pub(crate) processes: Vec<Arc<Process>>,
    /// The target is gone, and nothing of it runs.
    pub(crate) over: bool,
}

impl Keeper {
    /// Takes over what runs; nothing is started before its task runs.
    pub(crate) fn new(target: &Target, directory: PathBuf, house: Arc<House>, state: State) -> std::io::Result<Self> {
        let mut lives = [const { None }; SEATS];
        let mut found_dead = Vec::new();
        let left = if state.boot == house.boot {
            Leaving::find_all(&state)?
        } else {
            Vec::new()
        };
        for (at, (seat, live)) in state.seats.iter().zip(&mut lives).enumerate() {
            let Some(run) = &seat.run else { continue };
            if state.boot != house.boot {
                continue;
            }
            let Some(process) = Process::find(run.pid, run.started)? else {
                if at != APPLICATION {
                    found_dead.push((at, run.clone()));
                }
                continue;
            };
            *live = Some(Live {
                run: run.clone(),
                process: Arc::new(process),
                stop: None,
                since_ms: now_ms(),
                way: None,
                born_closed: false,
                refused: None,
                told: None,
                was_verified: false,
            });
        }
        Ok(Self {
            id: target.id.clone(),
            app: Arc::clone(&target.app),
            labels: target.labels.clone(),
            template: target.template.clone(),
            directory,
            parameters: Arc::clone(&target.parameters),
            house,
            inner: Mutex::new(Inner {
                state,
                lives,
                left,
                exits: [Exits::default(); SEATS],
                found_dead,
                yield_at: None,
                logs_at: 0,
                well: true,
                closed_since_ms: None,
            }),
            orders: Mutex::new(()),
            wake: Notify::new(),
        })
    }

    /// With this state, which is durable.
    pub(crate) fn with(mut self, state: State) -> Self {
        self.inner.get_mut().state = state;
        self
    }

    /// Whoever answers where the target's traffic comes in.
    pub(crate) async fn probe(&self) -> unattended_upgrade::Probe {
        let serving = self.inner.lock().await.state.serving(self.committed());
        // Two may poll one port: any instance of the target will do to find it.
        let place = match self.place_of(serving).await {
            Some(place) => Some(place),
            None => self.place_of(1 - serving).await,
        };
        match place {
            Some(place) => self.template.program.probe(&place).await,
            None => crate::program::nobody(),
        }
    }

    /// Where the agent of the instance that runs this version is called.
    pub(crate) async fn doorbell(&self, version: &Version) -> Option<Arc<str>> {
        let inner = self.inner.lock().await;
        let slot = inner.lives[..APPLICATION].iter().position(|live| {
            live.as_ref()
                .is_some_and(|live| live.run.version == *version && !live.process.has_ended())
        })?;
        let place = self.place(slot, &inner.lives[slot].as_ref()?.run);
        Some(place.doorbell().display().to_string().into())
    }

    /// The place of a process that was started.
    pub(crate) fn place(&self, slot: usize, run: &Run) -> Place {
        Place {
            target: self.id.clone(),
            version: run.version.clone(),
            instance: InstanceId(run.instance),
            slot,
            epoch: run.epoch,
            directory: self.directory.clone(),
            passive: run.passive,
            parameters: Arc::clone(&self.parameters),
            pid: (run.pid > 0).then_some(run.pid),
        }
    }

    /// Who has committed last. A small file, read at once.
    pub(crate) fn committed(&self) -> Committed {
        committed(&self.directory)
    }

    /// Whether this version can be started here at all; nothing is touched.
    pub(crate) fn can_start(&self, version: &Version) -> Result<(), TemplateError> {
        let place = self.place(0, &unborn(version));
        self.template.program.command(&place).map(drop)
    }

    /// Makes a new state durable and takes it; while it is written, the caller holds the lock. What could not be written
    /// is not taken.
    pub(crate) async fn write(&self, inner: &mut Inner, state: State) -> Result<(), Unwritten> {
        let directory = self.directory.clone();
        let house = Arc::clone(&self.house);
        // On a thread of its own, with the lock of the house held until it is done.
        let written = tokio::task::spawn_blocking(move || {
            let written = state.store(&directory);
            drop(house);
            (state, written)
        });
        let (state, written) = written
            .await
            .map_err(|error| Unwritten::Unsure(std::io::Error::other(error)))?;
        if !matches!(written, Err(Unwritten::Not(_))) {
            inner.state = state;
        }
        written
    }

    /// One pass: buries what has ended, ends what is to end, starts what is to run.
    pub(crate) async fn pass(&self) -> Pass {
        let mut inner = self.inner.lock().await;
        let now = now_ms();
        let committed = self.committed();
        let mut due_ms = now + self.house.settings.look_ms;
        for (seat, run) in std::mem::take(&mut inner.found_dead) {
            self.template.program.ended(&self.place(seat, &run));
        }
        for seat in 0..SEATS {
            self.bury(&mut inner, seat, committed, now).await;
        }
        self.yields(&mut inner, now).await;
        for seat in 0..SEATS {
            self.let_go(&mut inner, seat, now).await;
            self.end(&mut inner, seat, now, &mut due_ms);
        }
        self.end_left(&mut inner, now, &mut due_ms).await;
        for seat in [APPLICATION, 0, 1] {
            if !inner.wants_start(seat, committed) || !self.has_room(&inner, seat) {
                continue;
            }
            let not_before_ms = inner.exits[seat].not_before_ms;
            if now < not_before_ms {
                due_ms = due_ms.min(not_before_ms);
                continue;
            }
            if let Err(words) = self.start(&mut inner, seat, committed).await {
                self.note(seat, &words);
                inner.exits[seat].count(now, &self.house.settings);
                due_ms = due_ms.min(inner.exits[seat].not_before_ms);
            }
        }
        self.cut_logs(&mut inner, now).await;
        let processes = inner.processes();
        Pass {
            due_ms,
            over: inner.state.gone && processes.is_empty(),
            processes,
        }
    }

    /// Takes note of a process that has ended.
    async fn bury(&self, inner: &mut Inner, seat: usize, committed: Committed, now: u64) {
        let Some(live) = inner.lives[seat].take_if(|live| live.process.has_ended()) else {
            return;
        };
        live.process.reap();
        if seat != APPLICATION {
            self.template.program.ended(&self.place(seat, &live.run));
            let moves = live.told.as_ref().map_or_else(Moves::default, |told| told.moves);
            if moves != Moves::default() {
                let mut state = inner.state.clone();
                state.kept = add(state.kept, moves);
                // What it had counted; where it cannot be written, the counts of one that has ended are missing.
                let _ = self.write(inner, state).await;
            }
        }
        let asked = live.stop.is_some() || inner.is_to_end(seat, &live);
        if asked {
            inner.exits[seat] = Exits::default();
            return;
        }
        if now.saturating_sub(live.since_ms) >= self.house.settings.stable_ms {
            inner.exits[seat] = Exits::default();
        }
        inner.exits[seat].count(now, &self.house.settings);
        if seat == inner.state.serving(committed) {
            self.told_ill(inner);
        }
    }

    /// The target stopped being able to serve, and nobody had ordered it.
    pub(crate) fn told_ill(&self, inner: &mut Inner) {
        if std::mem::replace(&mut inner.well, false) {
            let target = self.id.clone();
            self.house.tell(FleetChange::BecameUnhealthy { target });
        }
    }

    /// Where both overlap, the one that yields goes when the other one has become ready, or by itself.
    async fn yields(&self, inner: &mut Inner, now: u64) {
        let Some(slot) = (0..2).find(|slot| inner.state.seats[*slot].yields) else {
            return;
        };
        // What the other slot ran before its last order says nothing of what follows now.
        let round = (1 - slot, inner.state.seats[1 - slot].round);
        inner.yield_at.take_if(|(of, _)| *of != round);
        let follows = inner.lives[1 - slot].as_ref().filter(|live| live.run.round == round.1);
        let is_ready = follows.is_some_and(|live| live.told.as_ref().is_some_and(Told::is_verified));
        let gone = inner.lives[slot].is_none();
        if is_ready {
            let program = &self.template.program;
            let linger_ms = program.overlaps().or_else(|| program.returning_ms()).unwrap_or(0);
            inner.yield_at.get_or_insert((round, now + linger_ms));
        }
        if gone || inner.yield_at.is_some_and(|(_, at)| now >= at) {
            let mut state = inner.state.clone();
            state.empty(slot);
            // What cannot be written is tried again in the next pass.
            let _ = self.write(inner, state).await;
        }
    }

    /// What runs here waits to be let in by another instance that has died.
    pub(crate) fn is_orphan(&self, inner: &Inner, seat: usize) -> bool {
        let Some(live) = inner.lives[seat].as_ref().filter(|_| seat != APPLICATION) else {
            return false;
        };
        let program = &self.template.program;
        inner.lives[1 - seat].is_none() && program.waits(&self.place(seat, &live.run), live.told.as_ref())
    }

    /// Whether what runs in the other slot leaves room for a start in this one.
    fn has_room(&self, inner: &Inner, seat: usize) -> bool {
        if seat == APPLICATION || inner.lives[seat].is_some() {
            return inner.lives[seat].is_none();
        }
        let Some(other) = &inner.lives[1 - seat] else {
            return true;
        };
        let committed = self.committed();
        if inner.is_passive(seat, committed) {
            return true;
        }
        if inner.state.seats[1 - seat].yields {
            return true;
        }
        if self.is_orphan(inner, 1 - seat) {
            return false;
        }
        // What is emptied holds the ports until it has ended; what accepts in the other slot has taken over.
        let program = &self.template.program;
        let has_ports = other.told.as_ref().is_none_or(|told| program.has_ports(told));
        inner.state.seats[1 - seat].version.is_some() && !has_ports
    }

    async fn start(&self, inner: &mut Inner, seat: usize, committed: Committed) -> Result<(), String> {
        let Some(version) = inner.state.seats[seat].version.clone() else {
            return Ok(());
        };
        let mut state = inner.state.clone();
        let instance = state.next_instance;
        state.next_instance += 1;
        let passive = seat != APPLICATION && inner.is_passive(seat, committed);
        let overlaps = passive || seat != APPLICATION && state.seats[1 - seat].yields;
        let beside = overlaps.then(|| inner.lives[1 - seat].as_ref()).flatten();
        let beside = beside.map(|live| self.place(1 - seat, &live.run));
        let mut run = Run {
            instance,
            pid: 0,
            started: 0,
            version,
            round: state.seats[seat].round,
            epoch: beside.as_ref().map_or(0, |place| place.epoch + 1),
            passive,
        };
        if seat != APPLICATION {
            let (program, place) = (Arc::clone(&self.template.program), self.place(seat, &run));
            let prepared = tokio::task::spawn_blocking(move || program.prepare(&place, beside.as_ref()));
            prepared.await.map_err(|error| error.to_string())??;
        }
        let filled = self.filled(seat, &run)?;
        let log = logs::log_of(&self.directory, seat);
        let (directory, house) = (self.directory.clone(), Arc::clone(&self.house));
        // Forks, writes and waits for the disk on a thread of its own, with the lock of the house held until it is done.
        let started = tokio::task::spawn_blocking(move || {
            let gated =
                Gated::start(&filled, &log).map_err(|error| format!("cannot start {}: {error}", filled.program))?;
            (run.pid, run.started) = (gated.process.pid(), gated.started);
            state.seats[seat].run = Some(run.clone());
            if let Err(Unwritten::Not(error) | Unwritten::Unsure(error)) = state.store(&directory) {
                gated.refuse();
                return Err(format!("cannot write {}: {error}", directory.display()));
            }
            let process = gated.open().map_err(|error| format!("it ended at the gate: {error}"))?;
            drop(house);
            Ok((state, run, process))
        });
        let (state, run, process) = started.await.map_err(|error| error.to_string())??;
        let closed = state.way != Way::Open;
        if seat != APPLICATION {
            // It may be open for a moment, and somebody may hear that.
            inner.closed_since_ms = None;
        }
        inner.state = state;
        inner.lives[seat] = Some(Live {
            run,
            process: Arc::new(process),
            stop: None,
            since_ms: now_ms(),
            way: Some(Ingress::Open),
            born_closed: closed,
            refused: None,
            told: None,
            was_verified: false,
        });
        Ok(())
    }

    fn filled(&self, seat: usize, run: &Run) -> Result<Filled, String> {
        let place = self.place(seat.min(1), run);
        let filled = match (&self.template.application, seat) {
            (Some(start), APPLICATION) => start.fill(&place),
            _ => self.template.program.command(&place),
        };
        filled.map_err(|error| error.to_string())
    }

    /// Checks every text of the template at a place of this target.
    pub(crate) fn check(target: &Target, directory: PathBuf, version: &Version) -> Result<Place, TemplateError> {
        let place = Place {
            target: target.id.clone(),
            version: version.clone(),
            instance: InstanceId(0),
            slot: 0,
            epoch: 0,
            directory,
            passive: false,
            parameters: Arc::clone(&target.parameters),
            pid: None,
        };
        for name in target.parameters.keys() {
            if fill("", &format!("{{{name}}}"), &place.values()).as_ref() != Ok(&target.parameters[name]) {
                let fix = "give it another name";
                return Err(TemplateError::new(
                    format!("parameter.{name}"),
                    "the name is taken or has braces",
                    fix,
                ));
            }
        }
        target.template.program.check(&place)?;
        target.template.program.command(&place)?;
        if let Some(application) = &target.template.application {
            application.fill(&place).map_err(|error| TemplateError {
                field: format!("application.{}", error.field),
                ..error
            })?;
        }
        Ok(place)
    }

    /// Whether `version` could be started here: its program is there and can be run, and its arguments and files can be made.
    pub(crate) fn could_start(&self, version: &Version) -> Result<(), TemplateError> {
        let target = Target {
            id: self.id.clone(),
            app: Arc::clone(&self.app),
            labels: Vec::new(),
            template: self.template.clone(),
            version: version.clone(),
            parameters: Arc::clone(&self.parameters),
        };
        Self::check(&target, self.directory.clone(), version).map(drop)
    }

    /// A line of the adapter's own in a log.
    fn note(&self, seat: usize, words: &str) {
        use std::io::Write as _;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(logs::log_of(&self.directory, seat));
        if let Ok(mut log) = log {
            // Where even that fails, `Phase::Crashing` is what is left to say it.
            let _ = writeln!(log, "unattended-process: {words}");
        }
    }

    async fn cut_logs(&self, inner: &mut Inner, now: u64) {
        if now < inner.logs_at {
            return;
        }
        inner.logs_at = now + self.house.settings.look_ms;
        let (bytes, files) = (self.template.log_bytes, self.template.log_files);
        let directory = self.directory.clone();
        // A log that cannot be cut grows on, and is tried again.
        let _ = tokio::task::spawn_blocking(move || {
            for seat in 0..SEATS {
                let _ = logs::rotate(&logs::log_of(&directory, seat), bytes, files);
            }
        })
        .await;
    }
}

/// What would run if this version were started.
pub(crate) fn unborn(version: &Version) -> Run {
    Run {
        instance: 0,
        pid: 0,
        started: 0,
        version: version.clone(),
        round: 0,
        epoch: 0,
        passive: false,
    }
}

impl Inner {
    /// What runs in a seat is not what is to run there.
    pub(crate) fn is_to_end(&self, seat: usize, live: &Live) -> bool {
        let wanted = &self.state.seats[seat];
        self.state.gone
            || self.state.halted
            || wanted.version.is_none()
            || live.run.round < wanted.round
            || wanted.ended == Some(live.run.instance)
    }

    /// As [`is_to_end`](Self::is_to_end), of one that may take its time: nobody has told it to end, and the target stays.
    pub(crate) fn is_done_with(&self, seat: usize, live: &Live) -> bool {
        let State {
            gone, halted, seats, ..
        } = &self.state;
        let told = seats[seat].ended == Some(live.run.instance);
        !gone && !halted && !told && self.is_to_end(seat, live)
    }

    /// Every process of the target.
    pub(crate) fn processes(&self) -> Vec<Arc<Process>> {
        let seats = self.lives.iter().flatten().map(|live| &live.process);
        let left = self.left.iter().map(|leaving| &leaving.process);
        seats.chain(left).map(Arc::clone).collect()
    }

    /// Something is to run in a seat, now or later.
    pub(crate) fn wants_start(&self, seat: usize, committed: Committed) -> bool {
        self.lives[seat].is_none() && self.is_to_run(seat, committed)
    }

    /// Something is to run in this seat: what ends there is started again.
    pub(crate) fn is_to_run(&self, seat: usize, committed: Committed) -> bool {
        let wanted = &self.state.seats[seat];
        let ended = wanted.ended.is_some();
        let lost = seat != APPLICATION && self.state.has_lost(seat, committed) && wanted.run.is_some();
        wanted.version.is_some() && !ended && !lost && !wanted.yields && !self.state.gone && !self.state.halted
    }

    pub(crate) fn is_passive(&self, slot: usize, committed: Committed) -> bool {
        let both = self.state.seats[..2].iter().all(|seat| seat.version.is_some());
        both && !self.state.seats[1 - slot].yields && self.state.serving(committed) != slot
    }

    pub(crate) const fn exits(&self, seat: usize) -> Exits {
        self.exits[seat]
    }

    /// What is started next in a seat has another reason to be.
    pub(crate) fn forget_exits(&mut self) {
        self.exits = [Exits::default(); SEATS];
    }
}

impl Exits {
    fn count(&mut self, now: u64, settings: &crate::Settings) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let doubled = settings.backoff_ms << (self.in_a_row - 1).min(20);
        self.not_before_ms = now + doubled.min(settings.longest_backoff_ms);
    }
}
