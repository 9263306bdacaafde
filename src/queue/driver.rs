//! The thin driver: keeps the journal, opens autopilots and runs them beside each other. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use unattended_upgrade::{Clock, Group, Journal, JournalError, Stream};

use super::{Input, Queue, Ticket};
use crate::fold::{BEGIN, FoldError, Folded, INPUT};
use crate::leaving::until_left;
use crate::notice::{Desk, Outbox};
use crate::{Actor, AlwaysPermit, Autopilot, Change, Handle, Notifier, Outcome, Permit, RunError, Telling};

mod handle;
mod telling;
mod writing;

pub use handle::QueueHandle;
use handle::Shared;
use writing::Written;

/// The records of the queue in a journal.
const STREAM: Stream = Stream(4);

/// Puts changes together when their turn has come.
#[async_trait]
pub trait Changes: Send + Sync {
    /// The autopilot of a change and the change itself. Its journal must be its own, and the same each time: a change that was
    /// under way when the process died is opened again, and goes on where that journal stands. The generations of its attempts are
    /// set by the queue.
    ///
    /// # Errors
    /// Why it cannot be, in words for people. It is not begun then, and leaves the queue; one that had begun is tried again later. So is,
    /// some times, one that had not and that was not there [in time](QueueParts::call_ms).
    async fn open(&self, ticket: &Ticket) -> Result<(Autopilot, Change), String>;
}

/// The outside world of a queue. It begins with [`new`](Self::new); every field may be set.
#[non_exhaustive]
pub struct QueueParts {
    /// Where every input is written down before anything follows from it. One that refuses is tried again, and one that hangs waited
    /// for: nothing begins meanwhile, the changes under way go on, and people are told.
    pub journal: Arc<dyn Journal>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who puts changes together.
    pub changes: Arc<dyn Changes>,
    /// How people are told.
    pub notifier: Arc<dyn Notifier>,
    /// What is asked before a change is begun, or ended for an emergency. Each change asks its own before each effect.
    pub permit: Arc<dyn Permit>,
    /// How often people are told, and when somebody else is.
    pub telling: Telling,
    /// How often the queue is looked at, in milliseconds, where nothing happens. Default one minute.
    pub poll_ms: u64,
    /// How long [`Changes::open`] and the notifier may take, in milliseconds; twice as long what is under way when the queue is
    /// [left](QueueHandle::leave). Default one minute.
    pub call_ms: u64,
}

impl fmt::Debug for QueueParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueParts")
            .field("poll_ms", &self.poll_ms)
            .finish_non_exhaustive()
    }
}

impl QueueParts {
    /// These parts, with everything permitted.
    pub fn new(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        changes: Arc<dyn Changes>,
        notifier: Arc<dyn Notifier>,
    ) -> Self {
        Self {
            journal,
            clock,
            changes,
            notifier,
            permit: Arc::new(AlwaysPermit),
            telling: Telling::default(),
            poll_ms: 60_000,
            call_ms: 60_000,
        }
    }
}

/// Why a queue stopped being driven. The journal has everything; a later run goes on from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueRunError {
    /// The journal is of another queue.
    #[error(
        "the journal belongs to another queue: {journal}; this one is {run}: name another journal, or run with the same limits"
    )]
    OtherQueue {
        /// What the journal says.
        journal: String,
        /// What this run is.
        run: String,
    },
    /// The journal cannot be read back.
    #[error("the journal cannot be used: {0}")]
    Journal(String),
    /// The journal failed, and would again.
    #[error(transparent)]
    Append(#[from] JournalError),
}

/// Gives a handle and the future that drives the queue, and all changes in it, until it is [left](QueueHandle::leave), from
/// wherever its journal stands.
///
/// The future spawns nothing and owns no runtime; dropping it at any await is as good, or as bad, as a kill.
pub fn drive(queue: Queue, parts: QueueParts) -> (QueueHandle, BoxFuture<'static, Result<(), QueueRunError>>) {
    let shared = Arc::new(Shared {
        machine: Mutex::new(None),
        orders: Mutex::default(),
        known: Mutex::default(),
        handles: Mutex::default(),
        left: Mutex::new(false),
        failed: AtomicBool::new(false),
        waker: AtomicWaker::new(),
        clock: Arc::clone(&parts.clock),
    });
    let handle = QueueHandle(Arc::clone(&shared));
    let outbox = Outbox::new(Arc::clone(&parts.notifier), Arc::clone(&parts.clock), parts.call_ms);
    let mut run = Run {
        parts,
        shared,
        outbox,
        desk: Desk::default(),
        group: Group::new(),
        runs: FuturesUnordered::new(),
        ended: Vec::new(),
        refused: BTreeMap::new(),
        fresh: BTreeSet::new(),
        written: Written::default(),
    };
    let driven = async move {
        let (shared, clock) = (Arc::clone(&run.shared), Arc::clone(&run.parts.clock));
        // What it waits for, and what is begun behind that.
        let for_ms = run.parts.call_ms.saturating_mul(2);
        let driving = async {
            let ended = run.run(queue).await;
            if let Err(error) = &ended {
                run.end_in_order(error).await;
            }
            ended
        };
        let ended = until_left(driving, &shared.left, &shared.waker, clock.as_ref(), for_ms).await;
        let ended = ended.unwrap_or(Ok(()));
        *run.shared.left.lock() = true;
        run.shared.handles.lock().clear();
        ended
    };
    (handle, Box::pin(driven))
}

/// Something that was not taken, or could not be begun.
struct Refusal {
    /// On the run's clock.
    since_ms: u64,
    owner: String,
    why: String,
}

/// Why a change was not put together.
enum Unopened {
    /// There was no answer in time: there may be one later.
    Late(String),
    /// The answer was no.
    Refused(String),
}

impl Unopened {
    fn into_why(self) -> String {
        match self {
            Self::Late(why) | Self::Refused(why) => why,
        }
    }
}

type Ended = (String, Result<Outcome, RunError>);

struct Run {
    parts: QueueParts,
    shared: Arc<Shared>,
    outbox: Outbox,
    desk: Desk,
    /// Inputs that are applied and not durable yet: nothing has followed from them outside.
    group: Group,
    /// The changes under way.
    runs: FuturesUnordered<BoxFuture<'static, Ended>>,
    ended: Vec<Ended>,
    /// By change: people are told for a while.
    refused: BTreeMap<String, Refusal>,
    /// The changes of which this run of the queue knows that they have done nothing yet, or did not when they were begun.
    fresh: BTreeSet<String>,
    /// How it stands with the journal.
    written: Written,
}

impl Run {
    async fn run(&mut self, queue: Queue) -> Result<(), QueueRunError> {
        let queue = self.recover(queue).await?;
        let taken_up: Vec<Ticket> = queue.under_way().cloned().collect();
        *self.shared.machine.lock() = Some(queue);
        for ticket in taken_up {
            self.take_up(&ticket).await?;
        }
        loop {
            self.take_orders();
            self.take_ends();
            self.watch_ways_back();
            self.write().await?;
            self.begin_what_may().await?;
            self.end_what_is_in_the_way();
            self.tell();
            if *self.shared.left.lock() {
                return Ok(());
            }
            self.wait().await;
        }
    }

    /// Folds the journal, or begins it.
    async fn recover(&mut self, mut queue: Queue) -> Result<Queue, QueueRunError> {
        let identity = queue.identity();
        let folded = Folded {
            stream: STREAM,
            identity: &identity,
            what: "queue",
        };
        // Before it is read: what another one appends meanwhile is found at the first write.
        self.written.end = self.parts.journal.end().await?;
        // What was taken then is taken again, whoever might say it now.
        let apply = |(at_ms, input): (i64, Input)| queue.apply_again(at_ms, &input).map_err(|error| error.to_string());
        let begun = folded.read(&*self.parts.journal, apply).await;
        let begun = begun.map_err(|error| match error {
            FoldError::OtherIs(journal) => QueueRunError::OtherQueue {
                journal,
                run: identity.clone(),
            },
            FoldError::Journal(why) => QueueRunError::Journal(why),
            FoldError::Read(error) => QueueRunError::Append(error),
        })?;
        if !begun {
            self.group.push(STREAM, BEGIN, identity.as_bytes());
        }
        Ok(queue)
    }

    /// Applies an input and keeps it for the next write. What is not taken changes nothing, and is told.
    fn take(&mut self, input: &Input) -> bool {
        let at_ms = self.parts.clock.wall();
        let taken = {
            let mut machine = self.shared.machine.lock();
            machine.as_mut().map_or(Ok(()), |queue| queue.apply(at_ms, input))
        };
        match taken {
            Ok(()) => {
                // What was told the queue in its own types can be written.
                if let Ok(bytes) = postcard::to_stdvec(&(at_ms, input)) {
                    self.group.push(STREAM, INPUT, &bytes);
                }
                true
            }
            Err(error) => {
                self.refuse(input.change(), input.wanted_by(), error.to_string());
                false
            }
        }
    }

    fn refuse(&mut self, change: &str, owner: String, why: String) {
        let since_ms = self.parts.clock.now();
        self.refused.insert(change.to_owned(), Refusal { since_ms, owner, why });
    }

    /// Waits for something while the changes under way go on.
    async fn beside<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        poll_fn(|context| {
            while let Poll::Ready(Some(ended)) = self.runs.poll_next_unpin(context) {
                self.ended.push(ended);
            }
            let _ = self.outbox.drive(context);
            call.as_mut().poll(context)
        })
        .await
    }

    /// The same, for as long as a call may take.
    async fn within<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        let until_ms = self.parts.clock.now().saturating_add(self.parts.call_ms);
        let clock = Arc::clone(&self.parts.clock);
        let either = self.beside(async {
            match select(pin!(call), clock.sleep_until(until_ms)).await {
                Either::Left((answer, _)) => Some(answer),
                Either::Right(_) => None,
            }
        });
        either.await
    }

    fn take_orders(&mut self) {
        let orders: Vec<Input> = self.shared.orders.lock().drain(..).collect();
        for input in orders {
            let taken = self.take(&input);
            if let (Input::Submit(ticket), true) = (&input, taken) {
                self.refused.remove(&ticket.change);
            }
        }
        self.take_what_is_known();
    }

    fn take_what_is_known(&mut self) {
        let known: Vec<String> = std::mem::take(&mut *self.shared.known.lock());
        let now_ms = self.parts.clock.now();
        for key in known {
            self.desk.acknowledge(&key, now_ms, &self.parts.telling);
        }
    }

    fn take_ends(&mut self) {
        for (change, ended) in std::mem::take(&mut self.ended) {
            self.shared.handles.lock().remove(&change);
            let is_fresh = self.fresh.remove(&change);
            match ended {
                Ok(outcome) => {
                    self.take(&Input::Ended { change, outcome });
                }
                Err(error) if is_fresh && error.is_refusal() => self.gives_up(change, error.to_string()),
                Err(error) => {
                    if is_fresh && matches!(error, RunError::Source(_)) {
                        // Nothing has begun, and is tried again.
                        self.fresh.insert(change.clone());
                    }
                    let why = error.to_string();
                    self.take(&Input::Failed { change, why });
                }
            }
        }
    }

    /// It was refused before it did anything, and would be each time: it leaves its scope to others.
    fn gives_up(&mut self, change: String, why: String) {
        let author = {
            let machine = self.shared.machine.lock();
            let entry = machine.as_ref().and_then(|queue| queue.entry(&change));
            entry.map_or_else(String::new, |entry| entry.ticket.author.to_string())
        };
        let input = Input::Refused {
            change: change.clone(),
            why: why.clone(),
        };
        if self.take(&input) {
            self.refuse(&change, author, why);
        }
    }

    /// A change that is being taken back is not ended for anybody.
    fn watch_ways_back(&mut self) {
        let back: Vec<String> = {
            let (machine, handles) = (self.shared.machine.lock(), self.shared.handles.lock());
            let forward = |change: &&String| {
                let entry = machine.as_ref().and_then(|queue| queue.entry(change));
                entry.is_some_and(|entry| entry.is_under_way() && !entry.goes_back())
            };
            let goes_back = |handle: &Handle| handle.progress().is_some_and(|progress| progress.goes_back);
            (handles.iter())
                .filter(|(change, handle)| forward(change) && goes_back(handle))
                .map(|(change, _)| change.clone())
                .collect()
        };
        for change in back {
            self.take(&Input::GoesBack { change });
        }
    }

    /// A change that was under way when the run before this one ended.
    async fn take_up(&mut self, ticket: &Ticket) -> Result<(), QueueRunError> {
        let change = ticket.change.clone();
        match self.open(ticket).await {
            Ok(run) => {
                self.take_orders();
                self.lower(&change);
                self.runs.push(run);
            }
            Err(unopened) => {
                let why = unopened.into_why();
                self.take(&Input::Failed { change, why });
            }
        }
        self.write().await
    }

    /// Opens what may begin, writes down that it begins, and lets it.
    async fn begin_what_may(&mut self) -> Result<(), QueueRunError> {
        loop {
            let now_ms = self.parts.clock.wall();
            let next = {
                let machine = self.shared.machine.lock();
                let next = machine.as_ref().and_then(|queue| {
                    let change = *queue.may_begin(now_ms).first()?;
                    queue.entry(change).map(|entry| entry.ticket.clone())
                });
                drop(machine);
                next
            };
            // An unreadable permit is none.
            let Some(ticket) = next.filter(|_| self.parts.permit.may_act() == Ok(true)) else {
                return Ok(());
            };
            let change = ticket.change.clone();
            match self.open(&ticket).await {
                Ok(run) => {
                    // Somebody may have withdrawn it, or come before it, while it was opened.
                    self.take_orders();
                    let is_first = !self.has_begun(&change);
                    if self.take(&Input::Began { change: change.clone() }) {
                        if is_first {
                            self.fresh.insert(change.clone());
                        }
                        self.write().await?;
                        self.lower(&change);
                        self.runs.push(run);
                    } else {
                        self.refused.remove(&change);
                        self.shared.handles.lock().remove(&change);
                    }
                }
                Err(unopened) => {
                    self.put_off(&ticket, unopened);
                    self.write().await?;
                }
            }
        }
    }

    fn has_begun(&self, change: &str) -> bool {
        let machine = self.shared.machine.lock();
        let begun = |queue: &Queue| queue.begun().any(|ticket| ticket.change == change);
        machine.as_ref().is_some_and(begun)
    }

    /// What was not put together is tried again later, or leaves the queue.
    fn put_off(&mut self, ticket: &Ticket, unopened: Unopened) {
        let change = ticket.change.clone();
        let (input, why) = match unopened {
            Unopened::Late(why) => (
                Input::Late {
                    change,
                    why: why.clone(),
                },
                why,
            ),
            Unopened::Refused(why) => (
                Input::Refused {
                    change,
                    why: why.clone(),
                },
                why,
            ),
        };
        self.take(&input);
        let is_there = |queue: &Queue| queue.entry(&ticket.change).is_some();
        if !self.shared.machine.lock().as_ref().is_some_and(is_there) {
            self.refuse(&ticket.change, ticket.author.to_string(), why);
        }
    }

    /// A change that is opened again acts no higher than it was told to: that is the first that it hears. Where it has heard so before,
    /// and nobody has granted it more since, that changes nothing.
    fn lower(&self, change: &str) {
        let machine = self.shared.machine.lock();
        let demoted = machine.as_ref().and_then(|queue| queue.demoted(change).cloned());
        drop(machine);
        let handle = self.shared.handles.lock().get(change).cloned();
        if let (Some(demoted), Some(handle)) = (demoted, handle) {
            let _ = handle.demote(demoted.actor, demoted.level, demoted.reason);
        }
    }

    /// Puts a change together and plans it. Nothing has happened yet.
    async fn open(&mut self, ticket: &Ticket) -> Result<BoxFuture<'static, Ended>, Unopened> {
        let changes = Arc::clone(&self.parts.changes);
        let opened = self.within(async { changes.open(ticket).await }).await;
        match opened {
            None => {
                let why = format!("it was not opened within {} ms", self.parts.call_ms);
                Err(Unopened::Late(why))
            }
            Some(opened) => opened
                .and_then(|(pilot, change)| self.start(ticket, pilot, change))
                .map_err(Unopened::Refused),
        }
    }

    /// Begins a run, which does nothing before it is polled.
    fn start(&self, ticket: &Ticket, pilot: Autopilot, change: Change) -> Result<BoxFuture<'static, Ended>, String> {
        let again = Ticket::of(&change).map_err(|error| error.to_string())?;
        let by_turn = {
            let machine = self.shared.machine.lock();
            let queue = machine.as_ref().ok_or("the queue is not there")?;
            queue.check_opened(ticket, &again).map_err(|error| error.to_string())?;
            queue.generation_by_turn(&ticket.change)
        };
        let change = if ticket.emergency.is_some() {
            change.emergency()
        } else {
            change
        };
        // It is asked when the run has begun, and its turn has come.
        let (shared, change_name) = (Arc::clone(&self.shared), ticket.change.clone());
        let generation = move || {
            let machine = shared.machine.lock();
            machine.as_ref().map_or(0, |queue| queue.generation_of(&change_name))
        };
        let (handle, run) = pilot
            .generation(by_turn, generation)
            .start(change)
            .map_err(|error| error.to_string())?;
        let name = ticket.change.clone();
        self.shared.handles.lock().insert(name.clone(), handle);
        Ok(Box::pin(async move { (name, run.await) }))
    }

    /// Ends forward changes that are in the way of an emergency whose author said so. Here a program speaks: one that was stopped meanwhile,
    /// or goes back, refuses that, and its end is waited for.
    fn end_what_is_in_the_way(&mut self) {
        let now_ms = self.parts.clock.wall();
        let due: Vec<(String, String, String)> = {
            let machine = self.shared.machine.lock();
            let to_end = machine.as_ref().map(|queue| {
                let to_end = queue.to_end(now_ms).into_iter();
                let words = to_end.map(|(change, ticket)| {
                    let why = ticket.emergency.as_ref().map_or("", |emergency| emergency.why.as_str());
                    let reason = format!(
                        "the emergency {} of {} needs its scope: {why}",
                        ticket.change, ticket.author
                    );
                    (change.to_owned(), ticket.change.clone(), reason)
                });
                words.collect()
            });
            to_end.unwrap_or_default()
        };
        for (change, emergency, reason) in due {
            if self.parts.permit.may_act() != Ok(true) {
                continue;
            }
            let handle = self.shared.handles.lock().get(&change).cloned();
            if let Some(handle) = handle {
                handle.abort_if_it_may(Actor::program("queue", emergency), reason);
            }
        }
    }

    /// Waits for an order, the end of a change, or the next look.
    async fn wait(&mut self) {
        let until_ms = self.parts.clock.now().saturating_add(self.parts.poll_ms);
        let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.parts.clock));
        let mut look = clock.sleep_until(until_ms);
        poll_fn(|context| {
            while let Poll::Ready(Some(ended)) = self.runs.poll_next_unpin(context) {
                self.ended.push(ended);
            }
            let _ = self.outbox.drive(context);
            shared.waker.register(context.waker());
            let word = !shared.orders.lock().is_empty() || !shared.known.lock().is_empty() || *shared.left.lock();
            if word || !self.ended.is_empty() {
                return Poll::Ready(());
            }
            look.as_mut().poll(context)
        })
        .await;
    }
}
