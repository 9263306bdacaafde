//! Parts of the world outside that do not answer the autopilot, at the start and under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, OLD, Pager, Watched, person};
use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot, Wanted};
use unattended::{Level, Notice, Notifier, Outcome, RunError};
use unattended_simulated::Simulated;

/// Metrics of which one kind of question is not answered while a switch is on.
struct Mute {
    sim: Arc<Simulated>,
    call: &'static str,
    on: Arc<AtomicBool>,
    hung: Arc<AtomicU32>,
}

impl Mute {
    fn new(sim: &Arc<Simulated>, call: &'static str, on: bool) -> Self {
        Self {
            sim: Arc::clone(sim),
            call,
            on: Arc::new(AtomicBool::new(on)),
            hung: Arc::default(),
        }
    }

    async fn may_hang(&self, call: &str) {
        if self.call == call && self.on.load(Ordering::Relaxed) {
            self.hung.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl MetricSource for Mute {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.may_hang("follow").await;
        self.sim.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.may_hang("history").await;
        self.sim.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        self.may_hang("read").await;
        self.sim.read(index, end_ms).await
    }
}

#[test]
fn metrics_that_do_not_answer_at_the_start_are_named() {
    for call in ["follow", "history"] {
        let case = Case::calm(2, 4);
        let sim = case.simulated();
        let mute = Mute::new(&sim, call, true);
        let mut stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), mute, |pager| pager);
        let error = stage.run_to_death().expect("it is waited for no longer").unwrap_err();
        assert!(
            matches!(error, RunError::Source(SourceError::Unavailable { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains(call), "{error}");
        assert_eq!(stage.platform.effects(), []);
    }
}

#[test]
fn attempts_go_on_while_the_metrics_are_waited_for() {
    let mut case = Case::calm(4, 10);
    case.mode = Wanted::Warm;
    let sim = case.simulated();
    let clock = sim.clock();
    let mute = Mute::new(&sim, "read", false);
    let (on, hung) = (Arc::clone(&mute.on), Arc::clone(&mute.hung));
    let stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), mute, |pager| pager);
    // Silent for two hours from the first closing on.
    let switch = Arc::clone(&on);
    stage.platform.before_each(move |effect| {
        if effect.act == Act::Close {
            switch.store(true, Ordering::Relaxed);
        }
    });
    let platform = Arc::clone(&stage.platform);
    let quiet = async move {
        clock.sleep_until(clock.now() + 2 * HOUR_MS).await;
        platform.before_each(|_| {});
        on.store(false, Ordering::Relaxed);
    };
    let ended = stage.run_beside(quiet);
    assert!(hung.load(Ordering::Relaxed) > 10, "they were asked again and again");
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    // The ways that were closed when the silence began opened as soon as any other.
    let out_ms = |target: &str| {
        let of = |act| {
            ended
                .effects
                .iter()
                .find(|effect| effect.act == act && effect.target == target)
        };
        of(Act::Open).unwrap().at_ms - of(Act::Close).unwrap().at_ms
    };
    let first_ms = ended
        .effects
        .iter()
        .find(|effect| effect.act == Act::Close)
        .unwrap()
        .at_ms;
    let closings = ended.effects.iter().filter(|effect| effect.act == Act::Close);
    let (early, late): (Vec<_>, Vec<_>) = closings.partition(|effect| effect.at_ms < first_ms + HOUR_MS);
    let longest =
        |closed: &[&crate::support::Effect]| closed.iter().map(|effect| out_ms(&effect.target)).max().unwrap();
    let (in_silence, after) = (longest(&early), longest(&late));
    assert!(in_silence <= after + 10_000, "{in_silence} ms and {after} ms");
}

#[test]
fn a_word_is_heard_while_the_metrics_are_waited_for() {
    let case = Case::calm(4, 20);
    let sim = case.simulated();
    let mute = Mute::new(&sim, "read", false);
    let (on, hung) = (Arc::clone(&mute.on), Arc::clone(&mute.hung));
    let mut stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), mute, |pager| pager);
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    let left = stage.drive(async move {
        clock.sleep_until(20 * MINUTE_MS).await;
        on.store(true, Ordering::Relaxed);
        while hung.load(Ordering::Relaxed) == 0 {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        handle.roll_back(person(), "take it back").unwrap();
        clock.sleep_until(clock.now() + 2_000).await;
        assert!(handle.progress().unwrap().goes_back, "it waits for an answer");
    });
    assert!(left.unwrap().is_none());
}

/// A notifier that never comes back, and may do something first.
struct Stuck(Arc<Pager>, Box<dyn Fn() + Send + Sync>);

#[async_trait]
impl Notifier for Stuck {
    async fn notify(&self, notice: &Notice) {
        self.0.notify(notice).await;
        (self.1)();
        std::future::pending::<()>().await;
    }
}

#[test]
fn a_notifier_that_never_comes_back_holds_up_nothing() {
    let mut case = Case::calm(4, 20).release("errors=x10").level(Level::L3);
    case.settings.person_patience_ms = HOUR_MS;
    let calm = case.run();
    let sim = case.simulated();
    let metrics = Arc::clone(&sim);
    let stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), metrics, |pager| {
        Stuck(pager, Box::new(|| {}))
    });
    let ended = stage.run();
    assert!(!ended.notices.is_empty());
    assert_eq!((calm.outcome, ended.outcome), (Outcome::Waiting, Outcome::Waiting));
    let codes = |notices: &[Notice]| notices.iter().map(|notice| notice.code.clone()).collect::<Vec<_>>();
    assert_eq!(codes(&ended.notices), codes(&calm.notices));
    let late_ms = ended.summary.elapsed_ms.saturating_sub(calm.summary.elapsed_ms);
    assert!(late_ms < 10 * MINUTE_MS, "late by {late_ms} ms");
}

/// The change has ended, and people are being told: what can be done again now is not done any more.
#[test]
fn nothing_is_done_while_the_end_is_told() {
    let case = Case::calm(2, 4);
    let sim = case.simulated();
    let platform: Arc<Mutex<Option<Arc<Watched>>>> = Arc::default();
    let told = Arc::clone(&platform);
    let metrics = Arc::clone(&sim);
    let stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), metrics, |pager| {
        let wake = move || told.lock().iter().for_each(|platform| platform.silent_where(|_| false));
        Stuck(pager, Box::new(wake))
    });
    stage.platform.silent_where(|_| true);
    *platform.lock() = Some(Arc::clone(&stage.platform));
    let ended = stage.run();
    assert_eq!((ended.outcome, ended.notices.len()), (Outcome::Waiting, 1));
    assert_eq!(ended.effects, []);
}

/// A journal that cannot be read from some call on.
struct Unread {
    inner: MemoryJournal,
    call: &'static str,
}

#[async_trait]
impl Journal for Unread {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.inner.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        if self.call == "read" || (self.call == "replay" && max_groups > 1) {
            std::future::pending::<()>().await;
        }
        self.inner.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        if self.call == "snapshot" {
            std::future::pending::<()>().await;
        }
        self.inner.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

#[test]
fn a_journal_that_does_not_answer_at_the_start_is_named() {
    for call in ["snapshot", "read", "replay"] {
        let case = Case::calm(2, 4);
        let inner = MemoryJournal::new();
        let ended = case.run();
        for (_, group) in futures::executor::block_on(ended.journal.read(0, usize::MAX)).unwrap() {
            futures::executor::block_on(inner.append(&group)).unwrap();
        }
        let mut stage = case.stage_over(Arc::new(Unread { inner, call }));
        let error = stage.run_to_death().expect("it is waited for no longer").unwrap_err();
        assert!(
            matches!(error, RunError::Append(JournalError::Silent { .. })),
            "{call}: {error:?}"
        );
        assert_eq!(stage.platform.effects(), []);
    }
}

#[test]
fn progress_tells_how_many_are_out_of_sight() {
    let stage = Case::calm(2, 4).stage();
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    stage.platform.silent_where(|_| true);
    let mut most = (0, 0);
    let watch = async {
        for _ in 0..600 {
            clock.sleep_until(clock.now() + 5_000).await;
            let progress = handle.progress().unwrap();
            most = most.max((progress.blind, progress.in_flight));
        }
    };
    let mut stage = stage;
    stage.drive(watch).unwrap();
    assert!(most.0 > 0 && most.0 <= most.1, "{most:?}");
    // Whoever is seen is out of sight no more.
    stage.platform.silent_where(|_| false);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    assert_eq!(ended.handle.progress().unwrap().blind, 0);
}

/// Nobody else can be looked at: what is not seen is the platform's matter, and the target is not given up.
#[test]
fn the_only_target_of_a_fleet_is_not_blamed_for_a_silent_platform() {
    let case = Case::calm(1, 1);
    let mut stage = case.stage();
    stage.platform.silent_where(|_| true);
    let outcome = stage.run_to_death().unwrap().unwrap();
    assert_eq!(outcome, Outcome::Waiting);
    let summary = stage.handle.summary().unwrap();
    assert!(summary.debts.is_empty(), "{:?}", summary.debts);
    assert_eq!(stage.pager.notices().last().unwrap().code, "attempts.unseen");
}

/// What waits for a window on its way back is asked about again when the window says, and not when the next metrics come.
#[test]
fn a_rollback_that_waits_for_a_window_goes_when_it_opens_though_metrics_are_silent() {
    let mut case = Case::calm(6, 20).release("late=3h:errors=x20");
    case.rules = "version: 1
pack: shop
owner: shop
scope: all
windows:
  - {id: lunch, kind: protected, weekly: {days: [mon], from: \"10:30\", for: 20h}, zone: UTC, owner: shop-desk, reason: people eat}
"
    .to_owned();
    let sim = case.simulated();
    let mute = Mute::new(&sim, "read", false);
    let off = Arc::clone(&mute.on);
    let mut stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), mute, |pager| pager);
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let left = stage.drive(async {
        while handle.progress().is_none_or(|p| !p.goes_back) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
    });
    assert!(left.unwrap().is_none());
    off.store(true, Ordering::Relaxed);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    // The window closes at 06:30 on Tuesday.
    let back = ended
        .effects
        .iter()
        .find(|effect| effect.version.as_deref() == Some(OLD));
    let window_ms = 22 * HOUR_MS + 30 * MINUTE_MS;
    assert!(
        (window_ms..window_ms + 5 * MINUTE_MS).contains(&back.unwrap().at_ms),
        "{back:?}"
    );
    assert_eq!(ended.summary.human_actions, 0);
}

/// Each takes as long as a call may: asked for at each turn, they would leave little time for anything else.
#[test]
fn a_comparison_that_cannot_be_had_is_asked_for_once_an_interval() {
    let case = Case::calm(2, 12);
    let mut stage = case.stage();
    let silent = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicU64::new(0));
    let (switch, counted) = (Arc::clone(&silent), Arc::clone(&looks));
    stage.platform.silent_where(move |targets| {
        let silent = switch.load(Ordering::Relaxed);
        // Each comparison asks about each once, in however many calls.
        let compares = silent && targets.iter().any(|target| target.as_str() == "app-0-0");
        counted.fetch_add(u64::from(compares), Ordering::Relaxed);
        silent
    });
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let hour = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 24) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        silent.store(true, Ordering::Relaxed);
        while looks.load(Ordering::Relaxed) == 0 {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        // Each word brings a turn.
        for _ in 0..360 {
            clock.sleep_until(clock.now() + 10_000).await;
            handle.step(person(), "app-0-0", "it is no step").unwrap();
        }
    });
    assert!(hour.unwrap().is_none());
    let asked = looks.load(Ordering::Relaxed);
    assert!((30..=61).contains(&asked), "{asked} looks within an hour");
    silent.store(false, Ordering::Relaxed);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
}
