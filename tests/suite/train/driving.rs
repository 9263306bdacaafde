//! The driver: what is durable before what, and a kill at every call it makes.

mod faults;

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{Either, select};
use parking_lot::Mutex;
use unattended::train::{
    Artefact, Artefacts, BuildOrder, ChangeEnd, ChangeKey, ChangeOrder, CiStatus, Command, Commit, Fleets,
    IncidentNews, Input, LineId, News, NoAnswer, Order, ReleaseFacts, TrainHandle, TrainParts, TrainRunError,
    TrainSummary, drive,
};
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot, Stream};
use unattended::{Actor, Level, Notice, NoticeStage, Notifier, Outcome, Permit, PermitError, Pulse};

use super::{HOUR_MS, START_MS, train};

/// Lets so many calls pass; the next one never answers, having done what it was asked or not.
#[derive(Default)]
struct Fuse {
    calls: AtomicU32,
    at: Option<(u32, bool)>,
}

impl Fuse {
    async fn pass<T>(&self, act: impl FnOnce() -> T) -> T {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.at {
            Some((at, done)) if call == at => {
                if done {
                    act();
                }
                pending().await
            }
            _ => act(),
        }
    }
}

/// A world of one good nightly and a hotfix, in which every change takes six hours.
#[derive(Default)]
struct World {
    now_ms: AtomicU64,
    artefacts: Mutex<Vec<Artefact>>,
    changes: Mutex<BTreeMap<ChangeKey, (ChangeOrder, i64)>>,
    /// How often each change was really begun.
    begun: Mutex<BTreeMap<ChangeKey, u32>>,
    notices: Mutex<Vec<String>>,
    journal: MemoryJournal,
    /// Until when starts get no answer, in hours.
    deaf_until_hours: i64,
    /// What somebody says, at which hour.
    script: Mutex<Vec<(i64, Order)>>,
    /// What was asked of the fleets, in order.
    asked: Mutex<Vec<String>>,
    /// Keys that were taken back before they began, with the time.
    bound: Mutex<BTreeMap<ChangeKey, i64>>,
    /// Within these hours CI does not answer.
    ci_hangs: std::ops::Range<i64>,
    /// From this hour on the journal takes nothing.
    full_at_hours: Mutex<Option<i64>>,
    /// People are never told.
    pager_hangs: bool,
    /// What comes up takes longer to be sent than what is over.
    pager_is_slow: bool,
    /// Every change is rolled back.
    bad: bool,
    /// From this hour on somebody stops the line as soon as something is built.
    stops_at_build_from: Option<i64>,
    /// And wants back what runs.
    wants_back: bool,
    /// The hours at which changes were taken back.
    taken_back: Mutex<Vec<i64>>,
    /// States and deadlines of the signs of life.
    pulses: Mutex<Vec<(String, u64)>>,
}

/// The world as one controller sees it, until it dies.
struct Seen {
    world: Arc<World>,
    fuse: Fuse,
    handle: Mutex<Option<TrainHandle>>,
}

/// The records of a train: its stream, and the kind of an input.
const STREAM: Stream = Stream(3);
const INPUT: u8 = 2;
/// When the play is over.
const HOURS: i64 = 60;

impl World {
    fn wall(&self) -> i64 {
        START_MS + i64::try_from(self.now_ms.load(Ordering::SeqCst)).unwrap()
    }

    /// What the journal has of the train.
    fn inputs(&self) -> Vec<Input> {
        let groups = self.journal.read(0, usize::MAX).now_or_never();
        let groups = groups.unwrap_or_else(|| unreachable!("it is in memory")).unwrap();
        let records = groups.iter().flat_map(|(_, group)| group.records());
        let inputs = records.filter(|record| (record.stream, record.kind) == (STREAM, INPUT));
        inputs
            .map(|record| postcard::from_bytes(record.bytes).unwrap())
            .collect()
    }

    fn hours(&self) -> i64 {
        (self.wall() - START_MS) / HOUR_MS
    }
}

impl Seen {
    /// What the journal has is enough to want this done, or to want it said again: intent before effect.
    fn intended(&self, is: impl Fn(&Command) -> bool) {
        let mut train = train(Level::L5);
        for input in self.world.inputs() {
            let _ = train.apply(&input);
        }
        let again = train.said_again();
        let mut wanted = train.due().map(|(_, command)| command).chain(&again);
        assert!(
            wanted.any(is),
            "nothing in the journal wants {:?}",
            self.world.asked.lock().last()
        );
    }
}

#[async_trait]
impl Clock for Seen {
    fn now(&self) -> u64 {
        self.world.now_ms.load(Ordering::SeqCst)
    }

    fn wall(&self) -> i64 {
        self.world.wall()
    }

    /// Deadlines of calls are longer than an hour, and never come here.
    async fn sleep_until(&self, at_ms: u64) {
        if at_ms > self.now() + 3_600_000 {
            pending::<()>().await;
        }
        self.world.now_ms.fetch_max(at_ms, Ordering::SeqCst);
        let Some(handle) = self.handle.lock().clone() else {
            return;
        };
        let hours = self.world.hours();
        let due = |(at, _): &mut (i64, Order)| *at <= hours;
        for (_, order) in self.world.script.lock().extract_if(.., due) {
            let who = Actor::person("li", "desk");
            handle.order("mesh", order, who, "looks odd").unwrap();
        }
        // Whoever ordered it says it again until it is built: a kill may come before the order is durable.
        let built = self
            .world
            .artefacts
            .lock()
            .iter()
            .any(|artefact| artefact.base.is_some());
        if (2..12).contains(&hours) && !built {
            let order = Order::Hotfix {
                commit: "c2".to_owned(),
            };
            handle
                .order("mesh", order, Actor::program("desk", "INC-1"), "it burns")
                .unwrap();
        }
        if hours >= HOURS {
            handle.leave();
        }
    }
}

#[async_trait]
impl Journal for Seen {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        // A journal in memory answers at once.
        if self
            .world
            .full_at_hours
            .lock()
            .is_some_and(|full| self.world.hours() >= full)
        {
            return Err(JournalError::Io("no space is left".to_owned()));
        }
        let append = || self.world.journal.append(group).now_or_never();
        self.fuse
            .pass(append)
            .await
            .unwrap_or_else(|| unreachable!("it is in memory"))
    }

    async fn read(&self, from: Position, most: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.world.journal.read(from, most).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.world.journal.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.world.journal.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.world.journal.end().await
    }
}

#[async_trait]
impl CiStatus for Seen {
    async fn tried(&self, _: &LineId, cursor: u64) -> Result<News<(Commit, bool)>, NoAnswer> {
        if self.world.ci_hangs.contains(&self.world.hours()) {
            pending::<()>().await;
        }
        let commit = |number: u64| {
            let id = format!("c{number}");
            let at_unix_ms = START_MS;
            (Commit { id, number, at_unix_ms }, true)
        };
        let items = if cursor == 0 {
            vec![commit(1), commit(2)]
        } else {
            Vec::new()
        };
        Ok(News { items, cursor: 1 })
    }

    async fn suspects(&self, _: &LineId, version: &str, commits: &[String], _: &str) -> Result<(), NoAnswer> {
        let told = format!("suspects of {version}: {}", commits.join(", "));
        self.world.asked.lock().push(told);
        Ok(())
    }
}

#[async_trait]
impl Artefacts for Seen {
    async fn build(&self, order: &BuildOrder) -> Result<(), NoAnswer> {
        self.intended(|command| matches!(command, Command::Build(wanted) if wanted == order));
        self.world.asked.lock().push(format!("build {}", order.head));
        if self
            .world
            .stops_at_build_from
            .is_some_and(|from| self.world.hours() >= from)
        {
            let stop = Order::StopTheLine {
                take_back: self.world.wants_back,
            };
            let who = Actor::person("li", "desk");
            let handle = self.handle.lock().clone();
            handle.unwrap().order("mesh", stop, who, "looks odd").unwrap();
        }
        let artefact = Artefact {
            version: order
                .base
                .map_or_else(|| format!("mesh-2.{}.0", order.head), |base| format!("mesh-2.{base}.9")),
            digest: "d".to_owned(),
            head: order.head,
            base: order.base,
            picks: order.picks.clone(),
        };
        let build = || {
            let mut artefacts = self.world.artefacts.lock();
            if !artefacts.contains(&artefact) {
                artefacts.push(artefact.clone());
            }
        };
        self.fuse.pass(build).await;
        Ok(())
    }

    async fn built(&self, _: &LineId, cursor: u64) -> Result<News<Artefact>, NoAnswer> {
        let artefacts = self.world.artefacts.lock();
        let items = artefacts
            .iter()
            .skip(usize::try_from(cursor).unwrap())
            .cloned()
            .collect();
        let cursor = artefacts.len() as u64;
        Ok(News { items, cursor })
    }
}

#[async_trait]
impl Fleets for Seen {
    async fn start(&self, order: &ChangeOrder) -> Result<(), NoAnswer> {
        self.world.asked.lock().push(format!("start {}", order.change));
        self.intended(|command| matches!(command, Command::Start(wanted) if wanted == order));
        if self.world.hours() < self.world.deaf_until_hours {
            return Err(NoAnswer("nobody is there".to_owned()));
        }
        if self.world.bound.lock().contains_key(&order.change) {
            return Ok(());
        }
        let begin = || {
            let now_ms = self.world.wall();
            self.world
                .changes
                .lock()
                .entry(order.change.clone())
                .or_insert_with(|| {
                    *self.world.begun.lock().entry(order.change.clone()).or_default() += 1;
                    (order.clone(), now_ms)
                });
        };
        self.fuse.pass(begin).await;
        Ok(())
    }

    async fn take_back(&self, change: &ChangeKey, _: &str) -> Result<(), NoAnswer> {
        self.world.asked.lock().push(format!("take back {change}"));
        self.world.taken_back.lock().push(self.world.hours());
        self.intended(|command| matches!(command, Command::TakeBack { change: wanted, .. } if wanted == change));
        if !self.world.changes.lock().contains_key(change) {
            let now_ms = self.world.wall();
            self.world.bound.lock().entry(change.clone()).or_insert(now_ms);
        }
        Ok(())
    }

    async fn end(&self, change: &ChangeKey) -> Result<Option<ChangeEnd>, NoAnswer> {
        if let Some(at_unix_ms) = self.world.bound.lock().get(change).copied() {
            return Ok(Some(ChangeEnd {
                outcome: Outcome::RolledBack,
                at_unix_ms,
                exposed: 0,
                human_actions: 0,
                why: "it did not begin".to_owned(),
            }));
        }
        let changes = self.world.changes.lock();
        let ended = changes.get(change).map(|(_, began_ms)| began_ms + 6 * HOUR_MS);
        Ok(ended
            .filter(|at_ms| self.world.wall() >= *at_ms)
            .map(|at_unix_ms| ChangeEnd {
                outcome: if self.world.bad {
                    Outcome::RolledBack
                } else {
                    Outcome::Completed
                },
                at_unix_ms,
                exposed: 10,
                human_actions: 0,
                why: "seen".to_owned(),
            }))
    }

    async fn facts(&self, _: &LineId, _: &str) -> Result<Option<ReleaseFacts>, NoAnswer> {
        Ok(Some(ReleaseFacts {
            at_unix_ms: self.world.wall(),
            error_budget_left: Some(0.5),
            drills_passed: Some(true),
            ..ReleaseFacts::default()
        }))
    }

    async fn incidents(&self, _: &LineId, cursor: u64) -> Result<News<IncidentNews>, NoAnswer> {
        Ok(News {
            items: Vec::new(),
            cursor,
        })
    }
}

#[async_trait]
impl Notifier for Seen {
    async fn notify(&self, notice: &Notice) {
        if self.world.pager_hangs {
            pending::<()>().await;
        }
        if self.world.pager_is_slow && notice.stage == NoticeStage::Raised {
            let mut passed = false;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut passed, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        let told = format!("{} {}", notice.code, notice.stage.as_str());
        self.fuse.pass(|| self.world.notices.lock().push(told)).await;
    }

    async fn pulse(&self, pulse: &Pulse) {
        let seen = (pulse.state.clone(), pulse.next_within_ms);
        self.world.pulses.lock().push(seen);
    }
}

fn parts(seen: &Arc<Seen>) -> TrainParts<Seen, Seen> {
    let mut parts = TrainParts::new(
        Arc::clone(seen),
        Arc::clone(seen),
        Arc::clone(seen) as Arc<dyn CiStatus>,
        Arc::clone(seen) as Arc<dyn Artefacts>,
        Arc::clone(seen) as Arc<dyn Fleets>,
        Arc::clone(seen) as Arc<dyn Notifier>,
    );
    parts.poll_ms = 3_600_000;
    parts.call_ms = 7_200_000;
    parts
}

fn seen(world: &Arc<World>, at: Option<(u32, bool)>) -> Arc<Seen> {
    Arc::new(Seen {
        world: Arc::clone(world),
        fuse: Fuse { at, ..Fuse::default() },
        handle: Mutex::new(None),
    })
}

/// Drives to the end of the play, or until the fuse burns: how it ended, how many calls there were, and where the train stood.
fn run(seen: &Arc<Seen>, parts: TrainParts<Seen, Seen>) -> (Option<Result<(), TrainRunError>>, TrainSummary) {
    let (handle, run) = drive(train(Level::L5), parts);
    *seen.handle.lock() = Some(handle.clone());
    // Everything answers at once, so a future that waits is one that was killed.
    let ended = block_on(async {
        let killed = poll_fn(|_| Poll::Ready(()));
        match select(Box::pin(run), killed).await {
            Either::Left((ended, _)) => Some(ended),
            Either::Right(_) => None,
        }
    });
    (ended, handle.summary().unwrap())
}

/// What must come of it, killed or not. Time is not among it.
fn came(summary: &TrainSummary) -> Vec<(String, String, bool, bool)> {
    let releases = summary.lines[0].releases.iter();
    releases
        .map(|release| {
            let stage = release.stage.as_str().to_owned();
            (
                release.version.clone(),
                stage,
                release.tried_canary,
                release.production_unix_ms.is_some(),
            )
        })
        .collect()
}

#[test]
fn a_kill_at_any_call_starts_nothing_twice_and_loses_nothing() {
    let world = Arc::new(World::default());
    let whole = seen(&world, None);
    let (ended, summary) = run(&whole, parts(&whole));
    ended.unwrap().unwrap();
    let wanted = came(&summary);
    let arrived: Vec<&str> = wanted
        .iter()
        .filter(|came| came.3)
        .map(|came| came.0.as_str())
        .collect();
    assert_eq!(arrived, ["mesh-2.0.9", "mesh-2.2.0"], "{wanted:?}");
    let calls = whole.fuse.calls.load(Ordering::SeqCst);
    assert!(calls > 20, "{calls}");
    for call in 0..calls {
        for done in [false, true] {
            let world = Arc::new(World::default());
            let first = seen(&world, Some((call, done)));
            let (ended, _) = run(&first, parts(&first));
            assert!(ended.is_none(), "call {call} was not reached");
            let second = seen(&world, None);
            let (ended, summary) = run(&second, parts(&second));
            ended.unwrap().unwrap();
            assert_eq!(came(&summary), wanted, "killed at call {call}, done: {done}");
            let begun = world.begun.lock();
            assert_eq!(begun.len(), 4, "killed at call {call}, done: {done}: {begun:?}");
            assert!(begun.values().all(|times| *times == 1), "{begun:?}");
        }
    }
}

/// A start that got no answer may be anywhere. After the line was stopped it is not given again, and whoever resumes gets a new one.
#[test]
fn a_start_without_an_answer_is_not_given_again_after_a_stop() {
    for take_back in [false, true] {
        let world = World {
            deaf_until_hours: 16,
            script: Mutex::new(vec![(14, Order::StopTheLine { take_back }), (20, Order::Resume)]),
            ..World::default()
        };
        let world = Arc::new(world);
        let seen = seen(&world, None);
        let (ended, summary) = run(&seen, parts(&seen));
        ended.unwrap().unwrap();
        let asked = world.asked.lock();
        let first = |what: &str| asked.iter().position(|call| call == what);
        let hotfix = "mesh/canary/mesh-2.0.9";
        let stopped = first(&format!("take back {hotfix}/0")).unwrap();
        assert!(first(&format!("start {hotfix}/0")).unwrap() < stopped, "{asked:?}");
        let rest = asked.get(stopped..).unwrap();
        assert!(!rest.contains(&format!("start {hotfix}/0")), "{asked:?}");
        let begun = world.begun.lock();
        assert!(
            begun.keys().all(|key| !world.bound.lock().contains_key(key)),
            "{begun:?}"
        );
        // As if it had never been ordered; what somebody took back on purpose does not come again.
        let again = begun.contains_key(&ChangeKey(format!("{hotfix}/1")));
        assert_eq!(again, !take_back, "{begun:?} {:?}", came(&summary));
    }
}

#[test]
fn a_journal_of_another_train_is_refused() {
    let world = Arc::new(World::default());
    let first = seen(&world, None);
    run(&first, parts(&first)).0.unwrap().unwrap();
    let (_, other) = drive(train(Level::L4), parts(&first));
    let error = block_on(other).unwrap_err();
    assert!(matches!(error, TrainRunError::OtherTrain { .. }), "{error}");
}

struct Never;

impl Permit for Never {
    fn may_act(&self) -> Result<bool, PermitError> {
        Err(PermitError("the key is gone".to_owned()))
    }
}

#[test]
fn an_unreadable_permit_means_that_nothing_is_built_and_nothing_begins() {
    let world = Arc::new(World::default());
    let seen = seen(&world, None);
    let mut parts = parts(&seen);
    parts.permit = Arc::new(Never);
    let (ended, _) = run(&seen, parts);
    ended.unwrap().unwrap();
    assert!(world.begun.lock().is_empty() && world.artefacts.lock().is_empty());
    assert!(
        world
            .notices
            .lock()
            .iter()
            .any(|told| told == "train.build_late raised"),
        "people hear of it"
    );
}
