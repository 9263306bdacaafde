//! One task owns the hand-over: it hears connections, orders and the other process, one after the other.

mod host;
mod leftovers;
mod readiness;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use unattended_handover::{Agent, Answer, Doorbell, Frozen, Generation, Handover, InstanceId, NotNow, Order, Timing};

use host::Program;
use leftovers::COLLECT;
use readiness::Readiness;

use crate::clock;
use crate::connection::CODECS;
use crate::files::{self, Committed};
use crate::listeners::Listeners;
use crate::state::{Asked, Event, Moves, Reply, SelfCheck, Sidecar};

/// A process that stops lets requests finish for so long.
const GRACE: Duration = Duration::from_secs(5);

/// What is told to end has so long for it.
const LAST: Duration = Duration::from_secs(1);

/// Before listeners that could not be bound are tried again, and before a descriptor is looked at again on which nothing
/// could be done.
const AGAIN: Duration = Duration::from_millis(100);

/// Turns one after the other before others have theirs.
const TURNS: usize = 4;

/// Most connections that stand still at once: they go in one message with a socket or two each, and one that stands still
/// waits for all that go with it.
const PARALLEL: u32 = 64;

/// Events that are heard before the hand-over has its turn.
const EVENTS: usize = 4_096;

/// What a refused order may be tried again after, in milliseconds.
const RETRY_MS: u64 = 20;

/// The conductor once the hand-over stands.
struct Conductor {
    sidecar: Arc<Sidecar>,
    handover: Handover<Program>,
    committed: Option<u64>,
    /// Who called the other process waits for its greeting.
    calling: Option<oneshot::Sender<Reply>>,
    /// Counts stood so when this hand-over began.
    before: Moves,
    /// It is said where this process, which has left, is called for what it still serves.
    told_of_leftovers: bool,
    /// Whom this process has called last for what it had left behind.
    called_last: Option<u64>,
}

/// How it ends.
enum End {
    /// The process was told to stop.
    Stop,
    /// The other process has taken its place.
    Left,
}

/// Conducts the hand-over to the end of the process.
///
/// # Errors
///
/// Why the process cannot serve, in words.
pub(crate) async fn conduct(
    sidecar: Arc<Sidecar>,
    doorbell: Doorbell,
    mut events: UnboundedReceiver<Event>,
) -> Result<(), String> {
    let committed = Committed::read(&sidecar.options.dir).map_err(|error| error.to_string())?;
    let generation = committed.map_or(0, |committed| committed.generation);
    sidecar.view.lock().generation = generation;
    let mut conductor = if sidecar.options.passive {
        Conductor::waiting(&sidecar, doorbell, generation)
    } else {
        // No traffic before the self-check has passed.
        if !check(&sidecar, &mut events).await {
            return Ok(());
        }
        Conductor::serving(&sidecar, doorbell, generation)?
    };
    let end = conductor.run(&mut events).await?;
    conductor.finish(&mut events, &end).await;
    Ok(())
}

/// Waits for the self-check. `false`: the process was told to stop.
async fn check(sidecar: &Sidecar, events: &mut UnboundedReceiver<Event>) -> bool {
    while let Some(event) = events.recv().await {
        match event {
            Event::Checked(result) => {
                sidecar.view.lock().self_check = result.clone();
                match result {
                    SelfCheck::Passed => return true,
                    SelfCheck::Failed(name) => {
                        sidecar
                            .log
                            .say(format_args!("the self-check `{name}` failed: nothing is served"));
                    }
                    SelfCheck::Unreported => {}
                }
            }
            Event::Asked(_, reply) => {
                let answer = match &sidecar.view.lock().self_check {
                    SelfCheck::Failed(name) => Reply::Failed(format!("the self-check `{name}` failed")),
                    _ => retry("the self-check is not over"),
                };
                // Whoever asked may have gone.
                let _ = reply.send(answer);
            }
            Event::Stop => return false,
            // There are no connections yet.
            _ => {}
        }
    }
    false
}

fn retry(reason: impl ToString) -> Reply {
    Reply::Retry {
        after_ms: RETRY_MS,
        reason: reason.to_string(),
    }
}

impl Conductor {
    fn new(
        sidecar: &Arc<Sidecar>,
        mut agent: Agent,
        listeners: Listeners,
        doorbell: Doorbell,
        generation: u64,
    ) -> Self {
        agent.fence(Generation(generation));
        Self {
            sidecar: Arc::clone(sidecar),
            handover: Handover::new(agent, Program::new(Arc::clone(sidecar), listeners), Some(doorbell)),
            committed: None,
            calling: None,
            before: Moves::default(),
            told_of_leftovers: false,
            called_last: None,
        }
    }

    /// Beside a process that serves.
    fn waiting(sidecar: &Arc<Sidecar>, doorbell: Doorbell, generation: u64) -> Self {
        let agent = Agent::waiting(instance(sidecar), codecs(), timing(sidecar));
        Self::new(sidecar, agent, Listeners::none(), doorbell, generation)
    }

    /// The only process of the target.
    fn serving(sidecar: &Arc<Sidecar>, doorbell: Doorbell, generation: u64) -> Result<Self, String> {
        let mut listeners = Listeners::none();
        listeners.bind(&sidecar.routes).map_err(|error| error.to_string())?;
        let agent = Agent::serving(instance(sidecar), listeners.describe(), codecs(), timing(sidecar));
        let committed = Committed {
            slot: sidecar.options.slot,
            generation,
            instance: sidecar.options.instance,
        };
        committed
            .write(&sidecar.options.dir)
            .map_err(|error| format!("committed: {error}"))?;
        let mut conductor = Self::new(sidecar, agent, listeners, doorbell, generation);
        conductor.committed = Some(generation);
        conductor.checked(SelfCheck::Passed);
        conductor.handover.host_mut().poll_all();
        Ok(conductor)
    }

    fn checked(&mut self, result: SelfCheck) {
        let owed = self.sidecar.config.lock().owed;
        let ready = result == SelfCheck::Passed && !self.sidecar.faults.unready && !owed;
        self.sidecar.view.lock().self_check = result;
        self.handover.ready(clock::now_ms(), ready);
    }

    async fn run(&mut self, events: &mut UnboundedReceiver<Event>) -> Result<End, String> {
        let readiness = Readiness::new().map_err(|error| format!("no poller: {error}"))?;
        loop {
            self.publish();
            readiness.arm(self.handover.descriptors());
            let due_ms = self
                .handover
                .deadline()
                .map(|at_ms| at_ms.saturating_sub(clock::now_ms()));
            let again = self.handover.host().is_short();
            let collects = self.may_collect();
            let event = tokio::select! {
                biased;
                event = events.recv() => event,
                () = readiness.ready() => None,
                () = sleep(Duration::from_millis(due_ms.unwrap_or_default())), if due_ms.is_some() => None,
                () = sleep(AGAIN), if again => {
                    self.handover.host_mut().try_again();
                    None
                }
                () = sleep(COLLECT), if collects => {
                    self.collect();
                    None
                }
            };
            let more = std::iter::from_fn(|| events.try_recv().ok()).take(EVENTS);
            let all: Vec<Event> = event.into_iter().chain(more).collect();
            if self.hear(all).await {
                return Ok(End::Stop);
            }
            for turn in 0.. {
                self.handover.turn(clock::now_ms());
                if self.sidecar.faults.dies_mid_handover && self.handover.host().has_adopted {
                    self.sidecar.log.say("dies, as was asked for");
                    // It cannot fail, and nothing comes after it.
                    let _ = kill_process(getpid(), Signal::KILL);
                }
                if !readiness.is_ready() {
                    break;
                }
                if turn < TURNS {
                    tokio::task::yield_now().await;
                } else {
                    // There is something that nothing can be done about now, such as a call while descriptors are short.
                    sleep(Duration::from_millis(1)).await;
                    break;
                }
            }
            self.greet();
            self.leave_behind();
            if self.handover.host().leaves {
                return Ok(End::Left);
            }
        }
    }

    /// `true`: the process shall stop.
    async fn hear(&mut self, events: Vec<Event>) -> bool {
        // Connections that come to rest together go in one message.
        let mut frozen: Vec<Frozen> = Vec::new();
        for event in events {
            let now_ms = clock::now_ms();
            match event {
                Event::Frozen(one) => {
                    self.handover.host_mut().tasks.remove(&one.id);
                    frozen.push(one);
                    continue;
                }
                Event::Opened(id, task) => {
                    self.handover.host_mut().tasks.insert(id, task);
                    self.handover.opened(now_ms, id);
                }
                Event::Closed(id) => {
                    self.handover.host_mut().tasks.remove(&id);
                    self.handover.closed(now_ms, id);
                }
                Event::Declined(id, decline) => self.handover.declined(now_ms, id, decline),
                Event::Checked(result) => self.checked(result),
                Event::Asked(asked, reply) => {
                    self.handover.frozen(now_ms, std::mem::take(&mut frozen));
                    self.ask(asked, reply).await;
                }
                Event::Stop => return true,
            }
        }
        if !frozen.is_empty() {
            self.handover.frozen(clock::now_ms(), frozen);
        }
        false
    }

    async fn ask(&mut self, asked: Asked, reply: oneshot::Sender<Reply>) {
        let answer = match asked {
            Asked::Fence(generation) => {
                let answer = self.handover.fence(Generation(generation));
                self.reply(answer)
            }
            Asked::Call(generation, peer) => match self.call(generation, &peer) {
                Some(answer) => answer,
                None => {
                    self.calling = Some(reply);
                    return;
                }
            },
            Asked::Order(generation, order) => self.order(generation, order).await,
        };
        // What is answered is seen by who looks next.
        self.publish();
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// `None`: the other process is called, and will greet or not.
    fn call(&mut self, generation: u64, peer: &Path) -> Option<Reply> {
        if self.handover.agent().peer().is_some() {
            return Some(Reply::AlreadyApplied);
        }
        let (before, now_ms) = (self.moves_in_all(), clock::now_ms());
        match self
            .handover
            .call(now_ms, Generation(generation), peer, clock::now_ns())
        {
            Ok(()) => {
                self.begin_counting(before);
                None
            }
            Err(_) if generation < self.handover.agent().generation().0 => Some(self.reply(Answer::Stale)),
            Err(error) => Some(retry(format!("{}: {error}", peer.display()))),
        }
    }

    /// Tells who called how the other process has taken it.
    fn greet(&mut self) {
        let agent = self.handover.agent();
        let answer = match agent.peer() {
            Some(_) => Reply::Applied,
            // The session has not begun, or it has ended.
            None if agent.would_take_call().is_ok() => {
                let words = agent.refusal().map(|refusal| refusal.to_string());
                retry(words.unwrap_or_else(|| "the other process has hung up".to_owned()))
            }
            None => return,
        };
        if let Some(reply) = self.calling.take() {
            self.publish();
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }

    async fn order(&mut self, generation: u64, order: Order) -> Reply {
        let before = self.moves_in_all();
        let answer = self.handover.order(clock::now_ms(), Generation(generation), order);
        self.sidecar
            .log
            .say(format_args!("{order:?} of attempt {generation}: {answer:?}"));
        match (order, answer) {
            (Order::Offer, Answer::Applied) => self.begin_counting(before),
            (Order::Commit | Order::Return, Answer::Applied | Answer::AlreadyApplied) => {
                if let Err(error) = self.write_committed(generation).await {
                    return retry(format!("committed: {error}"));
                }
            }
            _ => {}
        }
        match answer {
            // They are on their way.
            Answer::Refused(why @ NotNow::NoListeners) if order == Order::Accept => retry(why),
            answer => self.reply(answer),
        }
    }

    /// Says durably whose the target is, before anybody is told.
    async fn write_committed(&mut self, generation: u64) -> std::io::Result<()> {
        if self.committed == Some(generation) {
            return Ok(());
        }
        let options = &self.sidecar.options;
        let (dir, committed) = (
            options.dir.clone(),
            Committed {
                slot: options.slot,
                generation,
                instance: options.instance,
            },
        );
        tokio::task::spawn_blocking(move || committed.write(&dir))
            .await
            .map_err(std::io::Error::other)??;
        self.committed = Some(generation);
        Ok(())
    }

    fn reply(&self, answer: Answer) -> Reply {
        match answer {
            Answer::Applied => Reply::Applied,
            Answer::AlreadyApplied => Reply::AlreadyApplied,
            Answer::Stale => Reply::Stale {
                generation: self.handover.agent().generation().0,
            },
            Answer::Refused(why @ (NotNow::NoListeners | NotNow::Left)) => Reply::Failed(why.to_string()),
            Answer::Refused(why) => retry(why),
            // A later version of the machine.
            _ => Reply::Failed("an answer that this version does not know".to_owned()),
        }
    }

    fn moves_in_all(&self) -> Moves {
        let tally = self.handover.agent().tally();
        Moves {
            moved: tally.moved,
            adopted: tally.adopted,
            declined: tally.declined.values().sum(),
            cut: tally.cut,
            lost: self.handover.host().lost,
            bytes: tally.bytes,
        }
    }

    /// A hand-over begins.
    fn begin_counting(&mut self, before: Moves) {
        self.before = before;
        self.sidecar.meters.forget_pauses();
    }

    fn publish(&self) {
        let (agent, program) = (self.handover.agent(), self.handover.host());
        let (status, peer) = (agent.status(), agent.peer());
        let (all, before) = (self.moves_in_all(), self.before);
        let mut view = self.sidecar.view.lock();
        view.ready = status.ready;
        view.generation = agent.generation().0;
        view.listeners = status.holds && !program.listeners.is_empty();
        view.accepting = status.polls && view.listeners;
        view.served = view.accepting || peer.is_some_and(|peer| peer.status.polls);
        view.connections = agent.owned();
        view.committed = self.committed.filter(|_| status.committed);
        view.retired = agent.has_left();
        if view.session != peer.is_some() {
            let word = if view.session { "is not heard of" } else { "is heard of" };
            self.sidecar.log.say(format_args!("the other process {word}"));
        }
        view.session = peer.is_some();
        view.moves = Moves {
            moved: all.moved - before.moved,
            adopted: all.adopted - before.adopted,
            declined: all.declined - before.declined,
            cut: all.cut - before.cut,
            lost: all.lost - before.lost,
            bytes: all.bytes - before.bytes,
        };
        if view.addresses.is_empty() || !view.listeners {
            view.addresses = program.listeners.addresses().collect();
        }
    }

    /// Ends what there is to end.
    async fn finish(self, events: &mut UnboundedReceiver<Event>, end: &End) {
        let Self {
            sidecar, mut handover, ..
        } = self;
        let status = handover.agent().status();
        let alone = handover.agent().peer().is_none_or(|peer| !peer.status.polls);
        handover.host_mut().stops = true;
        let mut program = handover.part(clock::now_ms());
        if matches!(end, End::Stop) && status.polls && alone {
            // Nobody else would serve who waits in the queues.
            program.listeners.close_after_all();
        } else {
            program.listeners.close();
        }
        if matches!(end, End::Stop) {
            sidecar.log.say("drains");
            program.wish_all(|wish| wish.stop = true);
            // Late is no error here.
            let _ = timeout(GRACE, settle(&mut program, events)).await;
        }
        if !program.tasks.is_empty() {
            let left = program.tasks.len();
            sidecar.log.say(format_args!("{left} connections are ended"));
        }
        program.wish_all(|wish| wish.end = true);
        let _ = timeout(LAST, settle(&mut program, events)).await;
        files::forget_leftover(&sidecar.options.dir, sidecar.options.instance);
        sidecar.log.say("ends");
    }
}

/// Until all connections have ended.
async fn settle(program: &mut Program, events: &mut UnboundedReceiver<Event>) {
    // Those that were accepted at the last moment say so in the next turn.
    tokio::task::yield_now().await;
    loop {
        while let Ok(event) = events.try_recv() {
            hear_at_the_end(program, event);
        }
        if program.tasks.is_empty() {
            return;
        }
        match events.recv().await {
            Some(event) => hear_at_the_end(program, event),
            None => return,
        }
    }
}

fn hear_at_the_end(program: &mut Program, event: Event) {
    match event {
        Event::Opened(id, task) => {
            task.send_modify(|wish| wish.stop = true);
            program.tasks.insert(id, task);
        }
        Event::Closed(id) => drop(program.tasks.remove(&id)),
        // It was asked to come to rest before.
        Event::Frozen(frozen) => {
            program.tasks.remove(&frozen.id);
            program.go_on_stopping(frozen);
        }
        Event::Asked(_, reply) => drop(reply.send(Reply::Failed("this process is about to end".to_owned()))),
        Event::Declined(..) | Event::Checked(_) | Event::Stop => {}
    }
}

const fn instance(sidecar: &Sidecar) -> InstanceId {
    InstanceId(sidecar.options.instance as u128)
}

fn timing(sidecar: &Sidecar) -> Timing {
    let mut timing = Timing::default();
    // A lease and a beat: a new one that dies just after it has committed is missed in that time.
    timing.linger_ms = timing.lease_ms + timing.beat_ms;
    timing.parallel = PARALLEL;
    timing.leftover_ms = sidecar.options.leftover_ms;
    timing
}

fn codecs() -> Vec<String> {
    CODECS.map(str::to_owned).to_vec()
}
