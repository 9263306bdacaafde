//! Platforms that lie about what they are seldom asked: news, births, calls that hang, and what one kind of order does to
//! another.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use unattended_upgrade::conformance::{Breach, Disturb, Memory, Subject, Undisturbed, platform_suite};
use unattended_upgrade::*;

use crate::attending::run;
use crate::clock::Jumping;
use crate::host::Host;
use crate::support::TestClock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    BirthsAreLeftOut,
    BirthsComeWithAnotherVersion,
    NewbornsRunWhatTheyLike,
    OneWordForAllScopes,
    IllForEver,
    NewsGoRoundInCircles,
    NewsAreToldOnce,
    /// A closing whose time is over closes for good.
    KeepsClosedWhatCameTooLate,
    PrefetchOpensTheWay,
    PrefetchForgetsTheDeadline,
    ConfigurationOpensTheWay,
    ConfigurationForgetsTheDeadline,
    FenceStopsWhatWasTaken,
    /// They take the way that clients take.
    ProbesThroughTheBalancer,
    /// The last key of replacements, and the last key of all else.
    KeepsKeysByKind,
    ConfigurationsGoToEverybody,
    /// One timer opens what is closed, at the time set last.
    OneTimerForAllWays,
    OneFenceForAll,
    /// Every look shows what the one before it should have shown.
    OneLookBehind,
    RevivesTheDead,
    WordsFade,
    StaleOrdersTakeTheKey,
    FencesThatStandForgetKeys,
    TimersOutliveOpenings,
    RestartsForgetTheTime,
}

struct Late<C> {
    inner: Host<C>,
    lie: Lie,
    /// What newborns of a scope run, and by which key.
    words: Mutex<BTreeMap<String, (Version, EffectKey)>>,
    born: AtomicU64,
    /// The last keys of orders that replace nothing.
    others: Mutex<BTreeMap<TargetId, EffectKey>>,
    read: AtomicU64,
    /// What a fence stops: what each ran before its last order.
    before: Mutex<BTreeMap<TargetId, (Version, u64)>>,
    /// When who died.
    dead: Mutex<Option<(TargetId, u64)>>,
    looked: Mutex<BTreeMap<TargetId, Observation>>,
    word_ms: AtomicU64,
    /// The time of the last closing.
    timers: Mutex<BTreeMap<TargetId, u64>>,
}

impl<C: Clock> Late<C> {
    fn new(lie: Lie, clock: Arc<C>) -> Self {
        let inner = Host {
            clock,
            disk: Arc::default(),
        };
        for target in subject().targets {
            inner.add(&target, &"old".into());
        }
        Self {
            inner,
            lie,
            words: Mutex::default(),
            born: AtomicU64::new(0),
            others: Mutex::default(),
            read: AtomicU64::new(0),
            before: Mutex::default(),
            dead: Mutex::default(),
            looked: Mutex::default(),
            word_ms: AtomicU64::new(0),
            timers: Mutex::default(),
        }
    }

    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    fn alter(&self, target: &TargetId, act: impl FnOnce(&mut crate::disk::Process)) {
        if let Some(process) = self.inner.disk.lock().processes.get_mut(target) {
            act(process);
        }
    }

    fn tell(&self, change: FleetChange) {
        self.inner.disk.lock().news.push(change);
    }

    /// Keys of one kind know nothing of those of the other.
    async fn by_kind(&self, target: &TargetId, call: impl Future<Output = EffectOutcome> + Send) -> EffectOutcome {
        if !self.is(Lie::KeepsKeysByKind) {
            return call.await;
        }
        let mut mine = self.others.lock().get(target).copied();
        self.alter(target, |process| std::mem::swap(&mut process.applied, &mut mine));
        let outcome = call.await;
        self.alter(target, |process| std::mem::swap(&mut process.applied, &mut mine));
        if let Some(key) = mine {
            self.others.lock().insert(target.clone(), key);
        }
        outcome
    }
}

#[async_trait]
impl<C: Clock> Disturb for Late<C> {
    async fn restart(&self, target: &TargetId) -> bool {
        let done = Host::restart(&self.inner, target);
        self.alter(target, |process| match self.lie {
            Lie::IllForEver => process.is_ill = false,
            Lie::RestartsForgetTheTime => process.closed_until = process.closed_until.map(|_| u64::MAX),
            _ => {}
        });
        done
    }

    async fn kill(&self, target: &TargetId) -> bool {
        *self.dead.lock() = Some((target.clone(), self.inner.clock.now()));
        self.inner.remove(target)
    }

    async fn bear(&self, scope: &str) -> Option<TargetId> {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        let target = TargetId::from(format!("born-{number}").as_str());
        let words = self.words.lock();
        let word = if self.is(Lie::OneWordForAllScopes) {
            words.values().max_by_key(|(_, key)| (key.generation, key.ordinal))
        } else {
            words.get(scope)
        };
        let (version, _) = word?.clone();
        drop(words);
        let runs = if self.is(Lie::NewbornsRunWhatTheyLike) {
            "old".into()
        } else {
            version
        };
        self.inner.add(&target, &runs);
        let version = match (self.lie, runs.as_str()) {
            (Lie::BirthsComeWithAnotherVersion, "old") => "new".into(),
            (Lie::BirthsComeWithAnotherVersion, _) => "old".into(),
            _ => runs,
        };
        if !self.is(Lie::BirthsAreLeftOut) {
            self.tell(FleetChange::Joined {
                target: target.clone(),
                app: "app".into(),
                labels: Vec::new(),
                version,
            });
        }
        Some(target)
    }
}

#[async_trait]
impl<C: Clock> Platform for Late<C> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_probe().with_desired()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let now = self.inner.clock.now();
        if self.is(Lie::RevivesTheDead)
            && let Some((target, _)) = self.dead.lock().take_if(|(_, at_ms)| now > *at_ms + 20_000)
        {
            self.inner.add(&target, &"old".into());
        }
        let mut seen = self.inner.observe(targets).await?;
        if self.is(Lie::OneLookBehind) {
            let mut looked = self.looked.lock();
            let now: Vec<_> = targets.iter().cloned().zip(seen.clone()).collect();
            for (target, seen) in targets.iter().zip(&mut seen) {
                *seen = looked.get(target).unwrap_or(seen).clone();
            }
            looked.extend(now);
        }
        Ok(seen)
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let seen = self.inner.observe(targets).await?;
        let through = |seen: Observation| {
            let reached = !self.is(Lie::ProbesThroughTheBalancer) || seen.ingress == Ingress::Open;
            Probe {
                instance: seen.instance.filter(|_| reached),
                version: seen.version.filter(|_| reached),
                self_check: if reached {
                    seen.self_check
                } else {
                    SelfCheck::Unreported
                },
            }
        };
        Ok(seen.into_iter().map(through).collect())
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let mut was = None;
        self.alter(target, |process| {
            was = Some((process.version.clone(), process.instance))
        });
        let outcome = self.inner.replace(target, version, key).await;
        if self.is(Lie::StaleOrdersTakeTheKey) {
            let takes = |process: &mut crate::disk::Process| {
                if key.generation < process.fenced {
                    process.applied = Some(*key);
                }
            };
            self.alter(target, takes);
        }
        if let (EffectOutcome::Applied, Some(was)) = (&outcome, was) {
            self.before.lock().insert(target.clone(), was);
        }
        outcome
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.inner.replace_in_place(target, version, key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.by_kind(target, self.inner.prefetch(target, version, key)).await;
        if outcome == EffectOutcome::Applied {
            self.alter(target, |process| match self.lie {
                Lie::PrefetchOpensTheWay => process.closed_until = None,
                Lie::PrefetchForgetsTheDeadline => process.closed_until = process.closed_until.map(|_| u64::MAX),
                _ => {}
            });
        }
        outcome
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let order = match order {
            IngressOrder::Close { reopen_by_ms }
                if self.is(Lie::KeepsClosedWhatCameTooLate) && reopen_by_ms <= self.inner.clock.now() =>
            {
                IngressOrder::Close { reopen_by_ms: u64::MAX }
            }
            order => order,
        };
        let mut was_open = false;
        self.alter(target, |process| was_open = process.closed_until.is_none());
        let outcome = self.by_kind(target, self.inner.ingress(target, order, key)).await;
        if let (Lie::TimersOutliveOpenings, IngressOrder::Close { reopen_by_ms }, EffectOutcome::Applied) =
            (self.lie, order, &outcome)
        {
            let now = self.inner.clock.now();
            let before = self.timers.lock().insert(target.clone(), reopen_by_ms);
            if let Some(before) = before.filter(|before| was_open && *before > now) {
                self.alter(target, |process| process.closed_until = Some(before.min(reopen_by_ms)));
            }
        }
        if let (Lie::OneTimerForAllWays, IngressOrder::Close { reopen_by_ms }, EffectOutcome::Applied) =
            (self.lie, order, &outcome)
        {
            let mut disk = self.inner.disk.lock();
            let closed = disk
                .processes
                .values_mut()
                .filter_map(|process| process.closed_until.as_mut());
            closed.for_each(|until| *until = reopen_by_ms);
        }
        outcome
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self
            .by_kind(target, self.inner.apply_config(target, version, key))
            .await;
        if outcome == EffectOutcome::Applied {
            if self.is(Lie::ConfigurationsGoToEverybody) {
                let mut disk = self.inner.disk.lock();
                disk.processes
                    .values_mut()
                    .for_each(|process| process.config = version.clone());
            }
            self.alter(target, |process| match self.lie {
                Lie::ConfigurationOpensTheWay => process.closed_until = None,
                Lie::ConfigurationForgetsTheDeadline => process.closed_until = process.closed_until.map(|_| u64::MAX),
                _ => {}
            });
        }
        outcome
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let now = self.inner.clock.now();
        let mut higher = false;
        self.alter(target, |process| higher = generation > process.fenced);
        let outcome = self.inner.fence(target, generation).await;
        if self.is(Lie::FencesThatStandForgetKeys) && !higher {
            self.alter(target, |process| process.applied = None);
        }
        if self.is(Lie::OneFenceForAll) && outcome == EffectOutcome::Applied {
            let mut disk = self.inner.disk.lock();
            let others = disk.processes.iter_mut().filter(|(name, _)| *name != target);
            others.for_each(|(_, process)| process.fenced = Generation(0));
        }
        if higher && self.is(Lie::FenceStopsWhatWasTaken) {
            let before = self.before.lock().remove(target);
            self.alter(target, |process| {
                if let Some((version, _)) = before.filter(|_| now < process.ready_at) {
                    process.version = version;
                }
            });
        }
        outcome
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let mut words = self.words.lock();
        let now = self.inner.clock.now();
        if self.is(Lie::WordsFade) && now > self.word_ms.swap(now, Ordering::Relaxed) + 300_000 {
            words.clear();
        }
        match words.get(scope) {
            Some((_, last)) if last == key => return EffectOutcome::AlreadyApplied,
            Some((_, last)) if key.is_older_than(last) => return EffectOutcome::Stale,
            _ => {}
        }
        words.insert(scope.to_owned(), (version.clone(), *key));
        EffectOutcome::Applied
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let mut news = self.inner.watch(cursor).await?;
        match self.lie {
            Lie::NewsGoRoundInCircles if !news.changes.is_empty() || cursor > 0 => {
                news = self.inner.watch(0).await?;
                news.cursor = if cursor == 7 { 8 } else { 7 };
            }
            Lie::NewsAreToldOnce => {
                let before = self.read.fetch_max(news.cursor, Ordering::Relaxed);
                if cursor > 0 && cursor < before {
                    news.changes.clear();
                }
            }
            _ => {}
        }
        Ok(news)
    }
}

fn subject() -> Subject {
    Subject::new(["a", "b", "c"].map(TargetId::from), "old".into(), "new".into())
}

fn tried(lie: Lie) -> Result<Memory, Breach> {
    let clock = Arc::new(Jumping::default());
    let late = Late::new(lie, Arc::clone(&clock));
    block_on(platform_suite(&late, clock.as_ref(), &subject(), &late))
}

#[test]
fn an_honest_platform_passes_and_what_was_not_tried_is_said() {
    let memory = tried(Lie::None).unwrap();
    let told = memory.untried().join("\n");
    for what in ["bad_version", "bad_config", "Disturb::reaches", "Disturb::reopen"] {
        assert!(told.contains(what), "{told}");
    }
    for what in ["Disturb::bear", "Disturb::kill", "Disturb::restart", "does not probe"] {
        assert!(!told.contains(what), "{told}");
    }
    let clock = Arc::new(Jumping::default());
    let late = Late::new(Lie::None, Arc::clone(&clock));
    let memory = block_on(platform_suite(&late, clock.as_ref(), &subject(), &Undisturbed)).unwrap();
    assert_eq!(memory.untried().len(), 10, "{:?}", memory.untried());
}

#[test]
fn every_late_liar_is_found_out_by_name() {
    let liars = [
        (Lie::BirthsAreLeftOut, "watch.lost"),
        (Lie::BirthsComeWithAnotherVersion, "watch.lies"),
        (Lie::NewbornsRunWhatTheyLike, "desired.obeyed"),
        (Lie::OneWordForAllScopes, "desired.wide"),
        (Lie::IllForEver, "watch.lies"),
        (Lie::NewsGoRoundInCircles, "watch.cursor"),
        (Lie::NewsAreToldOnce, "watch.forgets"),
        (Lie::KeepsClosedWhatCameTooLate, "ingress.watchdog"),
        (Lie::PrefetchOpensTheWay, "prefetch.touched"),
        (Lie::PrefetchForgetsTheDeadline, "ingress.watchdog"),
        (Lie::ConfigurationOpensTheWay, "config.disturbs"),
        (Lie::ConfigurationForgetsTheDeadline, "ingress.watchdog"),
        (Lie::FenceStopsWhatWasTaken, "fence.undoes"),
        (Lie::ProbesThroughTheBalancer, "probe.closed"),
        (Lie::KeepsKeysByKind, "key.overtaken"),
        (Lie::ConfigurationsGoToEverybody, "order.other"),
        (Lie::OneTimerForAllWays, "order.other"),
        (Lie::OneFenceForAll, "fence.forgets"),
        (Lie::OneLookBehind, "probe.early"),
        (Lie::StaleOrdersTakeTheKey, "key.answer"),
        (Lie::FencesThatStandForgetKeys, "key.answer"),
        (Lie::TimersOutliveOpenings, "ingress.deadline"),
        (Lie::RestartsForgetTheTime, "restart.forgets"),
        (Lie::RevivesTheDead, "observe.gone"),
        (Lie::WordsFade, "desired.forgotten"),
    ];
    let mut wrong = Vec::new();
    for (lie, rule) in liars {
        match tried(lie) {
            Err(breach) if breach.rule == rule => {}
            other => wrong.push(format!("{lie:?}, wanted {rule}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which call never comes back, and after how many that did.
struct Hangs {
    inner: Late<TestClock>,
    call: &'static str,
    after: u64,
    calls: AtomicU64,
}

impl Hangs {
    async fn may_hang(&self, call: &str) {
        if call == self.call && self.calls.fetch_add(1, Ordering::Relaxed) >= self.after {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Platform for Hangs {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.may_hang("observe").await;
        self.inner.observe(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.may_hang("probe").await;
        self.inner.probe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.may_hang("replace").await;
        self.inner.replace(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.may_hang("fence").await;
        self.inner.fence(target, generation).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.inner.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.inner.ingress(target, order, key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.inner.replace_in_place(target, version, key).await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.inner.apply_config(target, version, key).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.may_hang("desired").await;
        self.inner.desired(scope, version, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.may_hang("watch").await;
        self.inner.watch(cursor).await
    }
}

#[test]
fn a_call_that_never_comes_back_is_named_and_hangs_no_suite() {
    let calls = ["observe", "probe", "replace", "fence", "desired", "watch"];
    for (call, after) in calls.into_iter().flat_map(|call| [(call, 0), (call, 5)]) {
        let clock = Arc::new(TestClock::default());
        let hangs = Hangs {
            inner: Late::new(Lie::None, Arc::clone(&clock)),
            call,
            after,
            calls: AtomicU64::new(0),
        };
        let found = run(&clock, platform_suite(&hangs, clock.as_ref(), &subject(), &Undisturbed));
        let breach = found.unwrap_err();
        assert_eq!(breach.rule, "call.unanswered", "{call}: {breach}");
    }
}
