//! The thin driver: reads the sources, keeps the journal, carries commands out. It decides nothing.

mod sources;
mod telling;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::future::{Either, join_all, select};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use unattended_upgrade::{Clock, Group, Journal, JournalError, Stream};

use super::{Artefacts, CiStatus, Command, Fleets, Input, LineId, NoAnswer, Order, Train, TrainSummary};
use crate::fold::{BEGIN, FoldError, Folded, INPUT};
use crate::leaving::until_left;
use crate::notice::Outbox;
use crate::{Actor, AlwaysPermit, CommandError, NoticeStage, Notifier, Permit};

/// The records of the train in a journal.
const STREAM: Stream = Stream(3);
/// Ticks from which nothing followed are kept back until there are so many.
const MAX_KEPT_BACK: u32 = 64;
/// The orders that may lie unread.
const MAX_ORDERS: usize = 1_000;

/// The outside world of a train. It begins with [`new`](Self::new); every field may be set.
#[non_exhaustive]
pub struct TrainParts<J, C> {
    /// Where every input is written down before anything follows from it.
    pub journal: Arc<J>,
    /// What time it is.
    pub clock: Arc<C>,
    /// What CI says.
    pub ci: Arc<dyn CiStatus>,
    /// Where artefacts come from.
    pub artefacts: Arc<dyn Artefacts>,
    /// What is changed.
    pub fleets: Arc<dyn Fleets>,
    /// How people are told.
    pub notifier: Arc<dyn Notifier>,
    /// What is asked before each build, start and taking back.
    pub permit: Arc<dyn Permit>,
    /// Is called when something has happened, with the state after it: for a page that is rewritten as it goes.
    pub observer: Arc<dyn Fn(&TrainSummary) + Send + Sync>,
    /// How often the sources are asked, in milliseconds.
    pub poll_ms: u64,
    /// How long a source may take to answer, in milliseconds.
    pub call_ms: u64,
}

impl<J, C> fmt::Debug for TrainParts<J, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainParts")
            .field("poll_ms", &self.poll_ms)
            .finish_non_exhaustive()
    }
}

impl<J, C> TrainParts<J, C> {
    /// These parts, with everything permitted and nobody watching; the sources are asked each minute and may take one.
    pub fn new(
        journal: Arc<J>,
        clock: Arc<C>,
        ci: Arc<dyn CiStatus>,
        artefacts: Arc<dyn Artefacts>,
        fleets: Arc<dyn Fleets>,
        notifier: Arc<dyn Notifier>,
    ) -> Self {
        Self {
            journal,
            clock,
            ci,
            artefacts,
            fleets,
            notifier,
            permit: Arc::new(AlwaysPermit),
            observer: Arc::new(|_| {}),
            poll_ms: 60_000,
            call_ms: 60_000,
        }
    }
}

/// Why a train stopped being driven. The journal has everything; a later run goes on from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainRunError {
    /// The journal is of another train.
    #[error(
        "the journal belongs to another train: {journal}; this one is {run}: name another journal, or run with the same settings"
    )]
    OtherTrain {
        /// What the journal says.
        journal: String,
        /// What this run is.
        run: String,
    },
    /// The journal cannot be read back.
    #[error("the journal cannot be used: {0}")]
    Journal(String),
    /// The journal failed.
    #[error(transparent)]
    Append(#[from] JournalError),
}

struct Shared {
    machine: Mutex<Option<Train>>,
    orders: Mutex<VecDeque<Input>>,
    left: Mutex<bool>,
    waker: AtomicWaker,
}

/// Speaks to a train that is driven, from any thread. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct TrainHandle(Arc<Shared>);

impl fmt::Debug for TrainHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainHandle").finish_non_exhaustive()
    }
}

impl TrainHandle {
    /// Gives an order. It is read before the next effect; what becomes of it is in the notices.
    ///
    /// # Errors
    /// [`CommandError::Ended`] where nobody drives the train any more, [`CommandError::TooMany`] where nobody reads.
    pub fn order(
        &self,
        line: impl Into<LineId>,
        order: Order,
        actor: Actor,
        reason: impl Into<String>,
    ) -> Result<(), CommandError> {
        if *self.0.left.lock() {
            return Err(CommandError::Ended);
        }
        let mut orders = self.0.orders.lock();
        if orders.len() >= MAX_ORDERS {
            return Err(CommandError::TooMany);
        }
        orders.push_back(Input::Order {
            line: line.into(),
            order,
            actor,
            reason: reason.into(),
        });
        drop(orders);
        self.0.waker.wake();
        Ok(())
    }

    /// Ends the driving after this turn, or after twice the [time of a call](TrainParts::call_ms) where that waits for longer, as for a
    /// journal that hangs; changes that run go on by themselves, and a later run takes them up.
    pub fn leave(&self) {
        *self.0.left.lock() = true;
        self.0.waker.wake();
    }

    /// Where the train stands; `None` before its journal was read.
    pub fn summary(&self) -> Option<TrainSummary> {
        self.0.machine.lock().as_ref().map(Train::summary)
    }
}

/// Gives a handle and the future that drives the train until it is [left](TrainHandle::leave), from wherever its journal stands.
///
/// The future spawns nothing and owns no runtime; dropping it at any await is as good, or as bad, as a kill.
pub fn drive<J: Journal, C: Clock>(
    train: Train,
    parts: TrainParts<J, C>,
) -> (
    TrainHandle,
    impl Future<Output = Result<(), TrainRunError>> + Send + 'static,
) {
    let shared = Arc::new(Shared {
        machine: Mutex::new(None),
        orders: Mutex::default(),
        left: Mutex::new(false),
        waker: AtomicWaker::new(),
    });
    let handle = TrainHandle(Arc::clone(&shared));
    let clock: Arc<dyn Clock> = Arc::<C>::clone(&parts.clock);
    let outbox = Outbox::new(Arc::clone(&parts.notifier), clock, parts.call_ms);
    let mut run = Run {
        parts,
        shared,
        group: Group::new(),
        kept_back: 0,
        said_again: Vec::new(),
        outbox: Mutex::new(outbox),
        pulse_ms: 0,
        owner: train.owner().to_string(),
    };
    (handle, async move {
        let name = train.name();
        let (shared, clock) = (Arc::clone(&run.shared), Arc::clone(&run.parts.clock));
        // What it waits for, and what is begun behind that.
        let for_ms = run.parts.call_ms.saturating_mul(2);
        let driving = run.run(train);
        let ended = until_left(driving, &shared.left, &shared.waker, clock.as_ref(), for_ms).await;
        let ended = ended.unwrap_or(Ok(()));
        *run.shared.left.lock() = true;
        match &ended {
            Ok(()) => run.pulse(true),
            Err(error) => {
                let text =
                    format!("the train is driven no more, and nothing is done until another run takes it up: {error}");
                run.tell_of_failure(name, NoticeStage::Raised, text);
            }
        }
        run.tell_the_rest().await;
        ended
    })
}

struct Run<J, C> {
    parts: TrainParts<J, C>,
    shared: Arc<Shared>,
    /// Inputs that are applied and not durable yet: nothing has followed from them outside.
    group: Group,
    kept_back: u32,
    /// What the run before this one has had carried out, and whoever did it is gone with it.
    said_again: Vec<Command>,
    /// Signs of life, and what is said of the driving itself. Behind a lock only because futures that are being sent are not
    /// `Sync`.
    outbox: Mutex<Outbox>,
    /// When the next sign of life is due.
    pulse_ms: u64,
    owner: String,
}

impl<J: Journal, C: Clock> Run<J, C> {
    async fn run(&mut self, train: Train) -> Result<(), TrainRunError> {
        let train = self.recover(train).await?;
        self.said_again = train.said_again();
        *self.shared.machine.lock() = Some(train);
        loop {
            let news = self.read().await;
            self.take(news).await?;
            // What somebody has said meanwhile is done before anything is waited for.
            while self.carry_out().await? {}
            self.pulse(false);
            if *self.shared.left.lock() {
                self.write().await?;
                return Ok(());
            }
            self.wait().await;
        }
    }

    /// Folds the journal, or begins it.
    async fn recover(&mut self, mut train: Train) -> Result<Train, TrainRunError> {
        let identity = train.identity();
        let folded = Folded {
            stream: STREAM,
            identity: &identity,
            what: "train",
        };
        let apply = |input: Input| {
            // A refusal is no less an input: it was refused then, too.
            let _ = train.apply(&input);
            Ok(())
        };
        let begun = folded.read(&*self.parts.journal, apply).await;
        let begun = begun.map_err(|error| match error {
            FoldError::OtherIs(journal) => TrainRunError::OtherTrain {
                journal,
                run: identity.clone(),
            },
            FoldError::Journal(why) => TrainRunError::Journal(why),
            FoldError::Read(error) => TrainRunError::Append(error),
        })?;
        if begun {
            let text = "another run has taken the train up".to_owned();
            self.tell_of_failure(train.name(), NoticeStage::Resolved, text);
        } else {
            self.group.push(STREAM, BEGIN, identity.as_bytes());
        }
        Ok(train)
    }

    /// Takes inputs, people's words before news, and makes them durable where anything but time came in. Whether anybody had
    /// said anything.
    async fn take(&mut self, news: Vec<Input>) -> Result<bool, TrainRunError> {
        let orders: Vec<Input> = self.shared.orders.lock().drain(..).collect();
        // What was done was done before anybody said the next word.
        let (done, news): (Vec<Input>, Vec<Input>) =
            news.into_iter().partition(|input| matches!(input, Input::Done(_)));
        // And whatever is said now is said at this time, however long nobody drove.
        let (ticks, news): (Vec<Input>, Vec<Input>) =
            news.into_iter().partition(|input| matches!(input, Input::Tick(_)));
        let heard = !orders.is_empty();
        let mut quiet = true;
        let mut happened = false;
        for input in done.into_iter().chain(ticks).chain(orders).chain(news) {
            let tick = matches!(input, Input::Tick(_));
            quiet &= tick;
            let bytes = postcard::to_stdvec(&input).map_err(|error| TrainRunError::Journal(error.to_string()))?;
            self.group.push(STREAM, INPUT, &bytes);
            if let Some(train) = &mut *self.shared.machine.lock() {
                let before = train.due().count();
                // What is refused is told by a command that is due now.
                let refused = train.apply(&input).is_err();
                happened |= !tick || refused || train.due().count() != before;
            }
        }
        self.kept_back += 1;
        if !quiet || self.kept_back >= MAX_KEPT_BACK {
            self.write().await?;
        }
        if happened {
            let summary = self.shared.machine.lock().as_ref().map(Train::summary);
            summary.iter().for_each(|summary| (self.parts.observer)(summary));
        }
        Ok(heard)
    }

    async fn write(&mut self) -> Result<(), TrainRunError> {
        self.kept_back = 0;
        if !self.group.is_empty() {
            self.parts.journal.append(&self.group).await?;
            self.group.clear();
        }
        Ok(())
    }

    /// Does what is due, and reports each thing as done when it is. Inputs are durable before. Whether anybody has said anything
    /// meanwhile.
    async fn carry_out(&mut self) -> Result<bool, TrainRunError> {
        let due: Vec<(u64, Command)> = self.shared.machine.lock().as_ref().map_or_else(Vec::new, |train| {
            train.due().map(|(number, command)| (number, command.clone())).collect()
        });
        if due.is_empty() && self.said_again.is_empty() {
            return Ok(false);
        }
        self.write().await?;
        // A pager that hangs keeps nothing from being taken back.
        let mut due = due;
        due.sort_by_key(|(number, command)| (rank(command), *number));
        let mut left = Vec::new();
        for command in std::mem::take(&mut self.said_again) {
            if self.is_said_again(&command) && self.carry(&command).await.is_err() {
                left.push(command);
            }
        }
        self.said_again = left;
        let words = due.split_off(due.partition_point(|(_, command)| rank(command) < WORDS));
        let mut done = Vec::new();
        for (number, command) in due {
            // Somebody's word goes before whatever has not been done yet.
            if !self.shared.orders.lock().is_empty() {
                break;
            }
            if self.carry(&command).await.is_ok() {
                done.push(Input::Done(number));
            }
        }
        done.extend(self.say(words).await);
        if done.is_empty() && self.shared.orders.lock().is_empty() {
            Ok(false)
        } else {
            self.take(done).await
        }
    }

    /// Whether it is still what is wanted: somebody may have said otherwise since.
    fn is_said_again(&self, command: &Command) -> bool {
        self.shared
            .machine
            .lock()
            .as_ref()
            .is_some_and(|train| train.said_again().contains(command))
    }

    fn may_act(&self) -> bool {
        self.parts.permit.may_act() == Ok(true)
    }

    async fn carry(&self, command: &Command) -> Result<(), NoAnswer> {
        let effect = matches!(
            command,
            Command::Build(_) | Command::Start(_) | Command::TakeBack { .. }
        );
        if effect && !self.may_act() {
            return Err(NoAnswer("it is not permitted now".to_owned()));
        }
        match command {
            Command::Build(order) => self.within(self.parts.artefacts.build(order)).await,
            Command::Start(order) => self.within(self.parts.fleets.start(order)).await,
            Command::TakeBack { change, why } => self.within(self.parts.fleets.take_back(change, why)).await,
            Command::Suspects {
                line,
                version,
                commits,
                why,
                ..
            } => self.within(self.parts.ci.suspects(line, version, commits, why)).await,
            Command::Tell { .. } => {
                let notices = self.notice(command);
                let sent = async {
                    join_all(notices.iter().map(|notice| self.parts.notifier.notify(notice))).await;
                    Ok(())
                };
                self.within(sent).await
            }
        }
    }

    /// An answer, or none where it takes too long.
    async fn within<T>(&self, call: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, NoAnswer> {
        let until_ms = self.parts.clock.now().saturating_add(self.parts.call_ms);
        match select(pin!(call), pin!(self.parts.clock.sleep_until(until_ms))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(NoAnswer(format!("nothing within {} ms", self.parts.call_ms))),
        }
    }

    async fn wait(&self) {
        let (shared, outbox) = (&self.shared, &self.outbox);
        let word = poll_fn(|context| {
            // It is never in the way of anything.
            let _ = outbox.lock().drive(context);
            shared.waker.register(context.waker());
            if shared.orders.lock().is_empty() && !*shared.left.lock() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        let until_ms = self.parts.clock.now().saturating_add(self.parts.poll_ms);
        select(word, pin!(self.parts.clock.sleep_until(until_ms))).await;
    }
}

/// The [`rank`] of words.
const WORDS: u8 = 2;

/// What is carried out before what: what must not go on, then what is to begin, then words.
const fn rank(command: &Command) -> u8 {
    match command {
        Command::TakeBack { .. } => 0,
        Command::Build(_) | Command::Start(_) => 1,
        Command::Suspects { .. } | Command::Tell { .. } => WORDS,
    }
}
