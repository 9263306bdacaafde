//! The thin driver of the machine: reads the world, keeps the journal, carries commands out. It decides nothing.

mod around;
mod calls;
mod domains;
mod heal;
mod looks;
mod metrics;
mod others;
mod own;
mod telling;
mod turn;
mod way_back;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use futures::future::{Either, poll_fn, select};
use unattended_batching::TargetIndex;
use unattended_health::{History, Member, MetricSource, SourceError};
use unattended_upgrade::{
    Clock, Driver, DriverConfig, Group, Ingress, Job, Journal, Mode, Observation, Phase, Platform, Position, SelfCheck,
    Stream, TargetId, Version,
};

use crate::blueprint::Blueprint;
use crate::events::Happened;
use crate::handle::{Given, Shared};
use crate::input::{Header, Input};
use crate::machine::{Commands, Direction, Machine, Sent, Setup, Start};
use crate::notice::Outbox;
use crate::permit::refusal;
use crate::{Level, NoticeStage, Notifier, Outcome, Permit, RunError};
use around::LastLook;
pub(crate) use around::Outlook;
use calls::Calls;
pub(crate) use heal::{Hospital, NodeOf};
use metrics::Metrics;
use telling::RUN_FAILED;
pub(crate) use turn::may_come_back;

/// The parts of the outside world, as the builder collected them.
pub(crate) struct World {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) notifier: Arc<dyn Notifier>,
    pub(crate) permit: Arc<dyn Permit>,
    pub(crate) mode: Mode,
    pub(crate) outlook: Arc<Outlook>,
    pub(crate) hospital: Option<Hospital>,
    /// Above which generation it begins by its turn in a queue.
    pub(crate) turn: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
}

/// Turns whose inputs may wait for the next write while nothing follows from them.
const MAX_KEPT_BACK: u32 = 32;
/// And so many bytes of them: a store of pages may round what is larger up to two megabytes, or write it twice.
const MAX_KEPT_BYTES: usize = 7 << 17;

pub(crate) struct Run {
    /// The change's name.
    change: String,
    pub(crate) world: World,
    pub(crate) driver: Driver,
    pub(crate) shared: Arc<Shared>,
    /// What people are told, on its way.
    outbox: Outbox,
    /// What the driver has to say by itself.
    own: own::Own,
    /// When the next sign of life is due; none is before the change is driven.
    pulse_ms: u64,
    /// Records not yet handed to the driver for the next common append.
    group: Group,
    /// The platform's news were asked for at this interval last.
    watched: Option<u64>,
    ask_news: bool,
    /// When domains were looked at last.
    domains_seen_ms: Option<u64>,
    /// How often they were: each time others of them are.
    domain_looks: usize,
    /// A comparison that could not be had is made again from then on.
    look_again_ms: u64,
    looks: looks::Looks,
    last_look: LastLook,
    metrics: Metrics,
    /// Orders to heal that are under way, and the targets that they are about.
    heals: Calls<(TargetIndex, u64, heal::Answer)>,
    heals_sent: BTreeMap<TargetIndex, Sent>,
    /// How long platform, metric source, journal or notifier may take to answer.
    call_ms: u64,
    /// Turns whose inputs are not durable yet.
    kept_back: u32,
    /// Receipts came of which the machine has not been asked what follows.
    received: bool,
    /// The journal was away, and no word has been heard since: what was decided before is not sent.
    was_away: bool,
}

/// What is known of the change before the world is looked at.
pub(crate) struct Planned {
    pub(crate) setup: Setup,
    pub(crate) members: Vec<Member>,
}

impl Run {
    /// Runs the change to its end, from wherever the journal says it is.
    pub(crate) async fn run(
        world: World,
        plan: Planned,
        config: DriverConfig,
        shared: Arc<Shared>,
    ) -> Result<Outcome, RunError> {
        let call_ms = config.call_ms;
        let driver = Driver::new(
            Arc::clone(&world.platform),
            Arc::clone(&world.journal),
            Arc::clone(&world.clock),
            config,
        )?;
        let ask_news = world.platform.capabilities().watch;
        let outbox = Outbox::new(Arc::clone(&world.notifier), Arc::clone(&world.clock), call_ms);
        let telling = plan.setup.change.settings.telling.clone();
        let mut run = Self {
            change: plan.setup.change.id.clone(),
            world,
            driver,
            shared,
            outbox,
            own: own::Own::new(telling),
            pulse_ms: u64::MAX,
            group: Group::new(),
            watched: None,
            ask_news,
            domains_seen_ms: None,
            domain_looks: 0,
            look_again_ms: 0,
            looks: looks::Looks::default(),
            last_look: LastLook::default(),
            metrics: Metrics::new(),
            heals: Calls::new(),
            heals_sent: BTreeMap::new(),
            call_ms,
            kept_back: 0,
            received: false,
            was_away: false,
        };
        if let Some(outcome) = Box::pin(run.begin(plan)).await? {
            run.shared.ended.store(true, Ordering::Release);
            return Ok(outcome);
        }
        let outcome = run.drive().await;
        if outcome.is_ok() {
            run.shared.ended.store(true, Ordering::Release);
        }
        run.shared.leave();
        // Where another controller goes on it tells of it: a matter raised here nobody would resolve.
        if let Err(error) = outcome.as_ref()
            && !matches!(error, RunError::OtherController { .. })
        {
            let text = format!("the run has ended for a fault, and nothing is done until another takes it up: {error}");
            run.tell_own(RUN_FAILED, NoticeStage::Raised, text);
        }
        run.tell_the_rest().await;
        outcome
    }

    /// Takes up what the journal holds, or begins. Answers the outcome if the journal already has one.
    async fn begin(&mut self, plan: Planned) -> Result<Option<Outcome>, RunError> {
        let Planned { setup, members } = plan;
        let wanted = setup.header.level;
        let past = self.past(&setup.header).await?;
        let (machine, end) = match past {
            Some((header, history)) => {
                self.begin_above_others(&header)?;
                let setup = Setup { header, ..setup };
                let machine = Machine::new(setup, &history)?;
                let taken_up = self.replay(machine, wanted).await?;
                // What is under way comes to its end, and what goes back goes back, whether there are metrics or not.
                self.metrics.follow(members);
                taken_up
            }
            None => {
                self.follow(&members).await?;
                let metrics = Arc::clone(&self.world.metrics);
                let history = self.within(metrics.history()).await?;
                let history = history.ok_or_else(|| self.silent("history"))??;
                let began_ms = self.world.clock.now();
                let header = Header {
                    began_ms,
                    began_unix_ms: self.world.clock.wall(),
                    ..setup.header.clone()
                };
                self.begin_above_others(&header)?;
                let known = self.look_back(&setup).await?;
                if let Some(why) = known.refuses() {
                    let (from, why) = (setup.change.from.to_string(), why.to_owned());
                    return Err(RunError::NoWayBack { from, why });
                }
                self.input(&Input::Begin(header.clone(), history.clone()))?;
                let setup = Setup { header, ..setup };
                self.made(&setup)?;
                let mut machine = Machine::new(setup, &history)?;
                self.know_way_back(&mut machine, known)?;
                self.begin_to_heal(&mut machine)?;
                (machine, 0)
            }
        };
        let ended = machine.ended();
        let now_ms = machine.now_ms();
        let restarts = machine.restarts(|name| self.driver.is_busy(&TargetId::from(name)));
        self.shared.set_frozen(machine.is_frozen());
        let newborns = machine.newborns();
        self.driver.disturb_within(machine.disturbs_within_ms());
        self.shared.events.begin(machine.runs());
        let is_taken_up = machine.runs() > 0;
        *self.shared.machine.lock() = Some(machine);
        if is_taken_up {
            self.resolve_own();
        }
        if ended.is_some() {
            self.tell_the_end_again().await?;
            return Ok(ended);
        }
        // A clock that is behind, and its date too, as a simulated one is, first catches up with what the journal has seen.
        self.catch_up(now_ms).await;
        self.metrics.follow(newborns);
        self.driver.resume(end)?;
        // They were decided before the run that had decided them came to its end.
        self.submit(&restarts, now_ms)?;
        Ok(None)
    }

    /// The first record of the journal, if there is one and it is of this change.
    async fn past(&mut self, wanted: &Header) -> Result<Option<(Header, Vec<History>)>, RunError> {
        let Some(group) = self.driver.journal_reader().first().await? else {
            return Ok(None);
        };
        let begin = group.records().find(|record| record.stream == Stream::AUTOPILOT);
        match begin.map(|record| Input::decode(&record)) {
            Some(Ok(Input::Begin(header, history))) => {
                header.check_decisions()?;
                match header.difference(wanted) {
                    None => Ok(Some((header, history))),
                    Some((field, journal, run)) => Err(RunError::OtherChange { field, journal, run }),
                }
            }
            Some(Err(error)) => Err(RunError::Journal(error)),
            _ => Err(RunError::Journal(
                "it does not begin with a change: it belongs to another program".to_owned(),
            )),
        }
    }

    /// Writes down what the change was made from.
    fn made(&mut self, setup: &Setup) -> Result<(), RunError> {
        let blueprint = Blueprint::of(setup).map_err(|error| RunError::Journal(error.to_string()))?;
        self.input(&Input::Made(blueprint))
    }

    /// Folds the journal into the machine and the driver. Also where it ends.
    async fn replay(&mut self, mut machine: Machine, wanted: Level) -> Result<(Machine, Position), RunError> {
        let mut made = false;
        let journal = self.driver.journal_reader();
        let read = journal.read_whole(|_, record| {
            if let Some(receipt) = self.driver.replay(record)? {
                machine.receipt(&receipt);
            }
            if record.stream == Stream::AUTOPILOT {
                let input = Input::decode(record).map_err(RunError::Journal)?;
                made |= matches!(input, Input::Made(_));
                machine.take(&input)?;
            }
            Ok::<(), RunError>(())
        });
        let end = read.await?;
        if !made {
            // The run before was killed between the two.
            self.made(machine.setup())?;
        }
        let resumed = self.resumed(&machine);
        self.input(&resumed)?;
        machine.take(&resumed)?;
        if let Some(order) = machine.lowers_to(wanted) {
            let lower = Input::Order(order);
            self.input(&lower)?;
            machine.take(&lower)?;
        }
        if machine.ended().is_none() && !machine.knows_way_back() {
            // It was begun by a version that did not ask, and goes on whatever the answer is.
            let known = self.look_back(machine.setup()).await?;
            self.know_way_back(&mut machine, known)?;
        }
        self.begin_to_heal(&mut machine)?;
        Ok((machine, end))
    }

    async fn drive(&mut self) -> Result<Outcome, RunError> {
        self.pulse_ms = 0;
        loop {
            let now_ms = self.world.clock.now();
            self.take_orders()?;
            self.leave_to_others()?;
            self.tell_open(None);
            self.watch_permit(refusal(self.world.permit.as_ref()))?;
            self.read_news(now_ms).await?;
            self.look_at_domains(now_ms).await?;
            self.look_around(now_ms).await?;
            self.read_metrics(now_ms).await?;
            self.name_hosts()?;
            // The calls before took their time, and the tick may be the last: what was answered meanwhile is read before it.
            self.take_orders()?;
            self.input(&Input::Tick(now_ms))?;
            let mut commands = self.with(|machine| machine.tick(now_ms))?;
            if let Some(check) = commands.check.take() {
                commands.extend(self.look(&check).await?);
            }
            let ended = commands.ended;
            for what in self.with(Machine::happened)? {
                self.shared.events.pend(|| what);
            }
            if let Some(decided) = self.with(Machine::take_decided)? {
                self.input(&Input::Decided(decided))?;
            }
            for job in &commands.heals {
                let target = self.with(|machine| machine.name(job.target).to_owned())?;
                self.input(&Input::Heal {
                    id: job.id,
                    term: job.term,
                    target,
                    remedy: job.remedy,
                })?;
            }
            if let Some(outcome) = ended {
                self.input(&Input::End(outcome))?;
            }
            self.carry_out(commands).await?;
            if ended.is_none() {
                self.heal().await?;
            }
            if let Some(outcome) = ended {
                self.end_all_own();
                self.shared.events.tell(|| Happened::Ended { outcome });
                self.pulse(true)?;
                return Ok(outcome);
            }
            self.pulse(false)?;
            if !std::mem::take(&mut self.received) {
                self.wait().await?;
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> Result<T, RunError> {
        self.shared.with(act)
    }

    /// Adds an input to the records that become durable before anything that follows from it leaves the process.
    fn input(&mut self, input: &Input) -> Result<(), RunError> {
        input
            .push_to(&mut self.group)
            .map_err(|error| RunError::Journal(error.to_string()))
    }

    fn take_orders(&mut self) -> Result<(), RunError> {
        self.was_away = false;
        self.hear_of_own();
        let orders: Vec<Given> = self.shared.orders.lock().drain(..).collect();
        self.forget_heard();
        if !orders.is_empty() {
            // What a person said is durable at once.
            self.kept_back = MAX_KEPT_BACK;
        }
        for Given { order, refused } in orders {
            let input = match refused {
                None => Input::Order(order),
                Some(why) => Input::Refused { order, why },
            };
            self.input(&input)?;
            self.with(|machine| machine.take(&input))??;
        }
        let frozen = self.with(|machine| machine.is_frozen())?;
        self.shared.set_frozen(frozen);
        Ok(())
    }

    /// Births, deaths and health, once an interval.
    async fn read_news(&mut self, now_ms: u64) -> Result<(), RunError> {
        let (interval, end_ms) = self.with(|machine| machine.next_interval())?;
        if !self.ask_news || (self.watched == Some(interval) && now_ms < end_ms) {
            return Ok(());
        }
        self.watched = Some(interval + u64::from(now_ms >= end_ms));
        let cursor = self.with(|machine| machine.cursor())?;
        let platform = Arc::clone(&self.world.platform);
        // No news is not good news: the next question begins at the same cursor.
        let Some(Ok(news)) = self.within(platform.watch(cursor)).await? else {
            return Ok(());
        };
        if news.changes.is_empty() {
            return Ok(());
        }
        let input = Input::News {
            changes: news.changes,
            cursor: news.cursor,
        };
        self.input(&input)?;
        let Input::News { changes, cursor } = &input else {
            return Ok(());
        };
        let members = self.with(|machine| machine.news(changes, *cursor))?;
        self.metrics.follow(members);
        Ok(())
    }

    /// Has the metric source watch the first. Nothing has begun before it does.
    async fn follow(&mut self, members: &[Member]) -> Result<(), RunError> {
        if members.is_empty() {
            return Ok(());
        }
        let metrics = Arc::clone(&self.world.metrics);
        let followed = self.within(metrics.follow(members)).await?;
        Ok(followed.unwrap_or_else(|| Err(self.silent("follow")))?)
    }

    fn silent(&self, call: &str) -> SourceError {
        SourceError::Unavailable {
            reason: format!("no answer to `{call}` within {} ms", self.call_ms),
        }
    }

    /// An answer of the world outside; one that does not come in time is none. The attempts under way go on meanwhile.
    async fn within<T>(&mut self, call: impl Future<Output = T> + Unpin) -> Result<Option<T>, RunError> {
        self.within_ms(self.call_ms, call).await
    }

    /// The same for a call that has a time of its own.
    async fn within_ms<T>(
        &mut self,
        ms: u64,
        mut call: impl Future<Output = T> + Unpin,
    ) -> Result<Option<T>, RunError> {
        let until_ms = self.world.clock.now().saturating_add(ms);
        loop {
            let answer = {
                let (outbox, metrics, heals) = (&mut self.outbox, &mut self.metrics, &mut self.heals);
                let beside = poll_fn(|context| {
                    let _ = outbox.drive(context);
                    metrics.drive(context);
                    heals.drive(context);
                    Poll::<()>::Pending
                });
                let due = pin!(self.driver.attend(Some(until_ms.min(self.pulse_ms))));
                match select(&mut call, select(beside, due)).await {
                    Either::Left((answer, _)) => Some(answer),
                    Either::Right(_) => None,
                }
            };
            if answer.is_some() {
                return Ok(answer);
            }
            let now_ms = self.world.clock.now();
            if now_ms >= until_ms {
                return Ok(None);
            }
            if now_ms >= self.pulse_ms {
                self.pulse(false)?;
                continue;
            }
            self.turn().await?;
        }
    }

    /// Makes the inputs durable, then acts.
    ///
    /// Inputs from which nothing follows outside are kept back for some turns: losing them to a kill loses nothing
    /// that was acted upon, and an idle hour costs two writes to the disk instead of sixty.
    async fn carry_out(&mut self, commands: Commands) -> Result<(), RunError> {
        self.submit(&commands.starts, self.world.clock.now())?;
        let quiet = commands.is_quiet() && !self.driver.is_due();
        if quiet && self.kept_back < MAX_KEPT_BACK && self.group.as_bytes().len() < MAX_KEPT_BYTES {
            self.kept_back += 1;
            return Ok(());
        }
        self.turn().await?;
        self.send(commands.notices);
        Ok(())
    }

    fn submit(&mut self, starts: &[Start], decided_ms: u64) -> Result<(), RunError> {
        if starts.is_empty() {
            return Ok(());
        }
        let mode = self.world.mode;
        let jobs: Vec<Job> = self.with(|machine| {
            let change = &machine.setup().change;
            let job = |start: &Start| {
                let (from, to) = match start.direction {
                    Direction::Forward => (&change.from, &change.to),
                    Direction::Back => (&change.to, &change.from),
                };
                let target = TargetId::from(machine.name(start.target));
                Job::new(target, from.clone(), to.clone(), mode).decided(decided_ms)
            };
            starts.iter().map(job).collect()
        })?;
        for job in jobs {
            self.driver.submit(job)?;
        }
        Ok(())
    }

    /// Waits for the driver's next turn, the next interval's end, an answer, or a word from a handle.
    async fn wait(&mut self) -> Result<(), RunError> {
        let now_ms = self.world.clock.now();
        let end_ms = self.next_interval_ends()?;
        // An interval that is overdue is asked for again at the pace of intervals, not in a spin.
        let pace = self.with(|machine| machine.setup().change.settings.interval_ms)?;
        let interval_due = if end_ms > now_ms {
            end_ms
        } else {
            now_ms + pace.min(5_000)
        };
        let (shared, outbox) = (&self.shared, &mut self.outbox);
        let (metrics, heals) = (&mut self.metrics, &mut self.heals);
        let word = poll_fn(|context| {
            let _ = outbox.drive(context);
            // Each of them, or the other would stand still.
            let is_answered = metrics.drive(context) | heals.drive(context);
            shared.waker.register(context.waker());
            if !is_answered && shared.orders.lock().is_empty() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        let due = pin!(
            self.driver
                .attend(Some(interval_due.min(self.pulse_ms.max(now_ms + 1))))
        );
        select(word, due).await;
        Ok(())
    }
}

/// Why a target is not what it should be, if it is not.
fn fault(seen: &Observation, version: &Version) -> Option<String> {
    let runs = seen.version.as_ref().map_or("nothing known", Version::as_str);
    match (seen.phase, &seen.self_check) {
        _ if seen.version.as_ref() != Some(version) => Some(format!("it runs {runs}")),
        (Phase::Running, SelfCheck::Passed) if seen.ready && seen.ingress != Ingress::Closed => None,
        (Phase::Running, SelfCheck::Passed) if seen.ready => Some("its ingress is closed".to_owned()),
        (Phase::Running, SelfCheck::Passed) => Some("it is not ready".to_owned()),
        (Phase::Running, _) => Some("its self-checks have not passed".to_owned()),
        (phase, _) => Some(format!("its process is {phase:?}").to_lowercase()),
    }
}
