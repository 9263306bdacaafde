//! Platforms that keep the contract order by order and break it between orders: what one order, one fence or one fall does to
//! what was agreed by another.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use unattended_upgrade::conformance::{Breach, Disturb, Subject, platform_holds, platform_suite};
use unattended_upgrade::*;

use crate::clock::Jumping;
use crate::disk::Process;
use crate::host::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// No lie: instances answer for themselves before looks show them as ready, and now and then nobody is reached.
    AnswersBeforeItIsShown,
    /// Whoever is asked is well.
    ProbePassesTheBadOne,
    /// A call that was cut off is on its way still, and asks no fence when it arrives.
    CutOffCallsPassTheFence,
    InPlaceOfTheSameDoesNothing,
    ShowsVeryManyFromACache,
    TellsKeysApartByAttemptAlone,
    FenceForgetsTheDeadline,
    FenceOpensTheWay,
    InPlaceForgetsTheDeadline,
    KeepsTheLatestDeadline,
    RestartOpensTheWay,
    RestartForgetsTheConfiguration,
    RestartRunsTheFirstVersion,
    /// It runs, so it must be good.
    ReadyOnceItRuns,
    /// The instance of before is shown until the next one is ready.
    ShowsTheLastThatWasReady,
    /// A replacement waits until the one before it is ready.
    WaitsForTheBadOne,
    AcknowledgesWhatWasPushed,
    RefusesAndKeepsIt,
    WaitsForTheBadConfiguration,
    PutsOffAndDoesItMeanwhile,
    ForgetsDeadlinesOverARestart,
    ForgetsOrdersUnderWayOverARestart,
}

/// A version that never gets ready, and a configuration that is refused.
const BAD: &str = "bad";

struct Sly {
    inner: Host<Jumping>,
    lie: Lie,
    probes: AtomicU64,
    /// Calls on their way: due, target, version, key.
    under_way: Mutex<Vec<(u64, TargetId, Version, EffectKey)>>,
    before: Mutex<Vec<(TargetId, Observation)>>,
    put_off: Mutex<Vec<EffectKey>>,
    /// Who refused a configuration, and has not had another one since.
    refused: Mutex<Vec<TargetId>>,
}

impl Sly {
    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    fn alter(&self, target: &TargetId, act: impl FnOnce(&mut Process)) {
        if let Some(process) = self.inner.disk.lock().processes.get_mut(target) {
            act(process);
        }
    }

    /// The instance that runs, and has not been seen as ready yet.
    fn unready(&self, target: &TargetId) -> Option<InstanceId> {
        let (now, mut instance) = (self.inner.clock.now(), None);
        self.alter(target, |process| {
            let runs = now >= process.ready_at.saturating_sub(3_000) && now < process.ready_at;
            instance = runs.then_some(InstanceId(process.instance));
        });
        instance
    }

    fn arrive(&self, target: &TargetId, version: &Version, key: &EffectKey) {
        let now = self.inner.clock.now();
        let mut disk = self.inner.disk.lock();
        disk.instances += 1;
        let next = disk.instances;
        let Some(process) = disk.processes.get_mut(target) else {
            return;
        };
        let overtaken = |last: EffectKey| last == *key || last.generation == key.generation && key.is_older_than(&last);
        if !process.applied.is_some_and(overtaken) {
            process.version = version.clone();
            (process.instance, process.ready_at) = (next, now + 5_000);
        }
    }

    fn catch_up(&self) {
        let now = self.inner.clock.now();
        let due: Vec<_> = self.under_way.lock().extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, target, version, key) in due {
            self.arrive(&target, &version, &key);
        }
    }
}

#[async_trait]
impl Disturb for Sly {
    async fn restart(&self, target: &TargetId) -> bool {
        self.alter(target, |process| match self.lie {
            Lie::RestartOpensTheWay => process.closed_until = None,
            Lie::RestartForgetsTheConfiguration => process.config = "config-1".into(),
            Lie::RestartRunsTheFirstVersion => process.version = "old".into(),
            _ => {}
        });
        Host::restart(&self.inner, target)
    }

    async fn kill(&self, target: &TargetId) -> bool {
        self.inner.remove(target)
    }
}

#[async_trait]
impl Platform for Sly {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_probe()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.catch_up();
        let mut seen = self.inner.observe(targets).await?;
        if self.is(Lie::ShowsVeryManyFromACache) && targets.len() > 100 {
            let mut before = self.before.lock();
            for (target, seen) in targets.iter().zip(&mut seen) {
                match before.iter().find(|(name, _)| name == target) {
                    Some((_, old)) => *seen = old.clone(),
                    None => before.push((target.clone(), seen.clone())),
                }
            }
        }
        for (target, seen) in targets.iter().zip(&mut seen) {
            if self.is(Lie::AnswersBeforeItIsShown)
                && let Some(instance) = self.unready(target)
            {
                (seen.phase, seen.instance) = (Phase::Running, Some(instance));
            }
            if let Some(config) = &mut seen.config
                && self.refused.lock().contains(target)
            {
                config.refused = Some((BAD.into(), "no".into()));
            }
            if self.is(Lie::ShowsTheLastThatWasReady) && seen.phase != Phase::Gone {
                let mut before = self.before.lock();
                match before.iter_mut().find(|(name, _)| name == target) {
                    Some((_, ready)) if seen.ready => *ready = seen.clone(),
                    Some((_, ready)) if seen.version == Some(BAD.into()) => *seen = ready.clone(),
                    Some(_) => {}
                    None => before.push((target.clone(), seen.clone())),
                }
            }
        }
        Ok(seen)
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let lost =
            self.is(Lie::AnswersBeforeItIsShown) && self.probes.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        let seen = self.inner.observe(targets).await?;
        let answers = targets.iter().zip(seen).map(|(target, seen)| {
            let unready = self.unready(target).filter(|_| self.is(Lie::AnswersBeforeItIsShown));
            let passes = self.is(Lie::ProbePassesTheBadOne) && seen.version == Some(BAD.into());
            let instance = seen.instance.or(unready).filter(|_| !lost);
            let said = passes || instance.is_some();
            Probe {
                version: seen.version.filter(|_| said),
                self_check: if said { SelfCheck::Passed } else { SelfCheck::Unreported },
                instance,
            }
        });
        Ok(answers.collect())
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.catch_up();
        match self.lie {
            Lie::CutOffCallsPassTheFence => {
                let at = self.inner.clock.now() + 20_000;
                self.under_way.lock().push((at, target.clone(), version.clone(), *key));
                let mut polled = false;
                futures::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut polled, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
                self.under_way.lock().retain(|(due, _, _, of)| (*due, of) != (at, key));
            }
            Lie::TellsKeysApartByAttemptAlone => {
                let mut same = false;
                self.alter(target, |process| {
                    let alike = |last: EffectKey| {
                        (last.attempt, last.step, last.ordinal) == (key.attempt, key.step, key.ordinal)
                    };
                    same = key.generation >= process.fenced && process.applied.is_some_and(alike);
                });
                if same {
                    return EffectOutcome::AlreadyApplied;
                }
            }
            Lie::PutsOffAndDoesItMeanwhile if !self.put_off.lock().contains(key) => {
                let outcome = self.inner.replace(target, version, key).await;
                if outcome != EffectOutcome::Applied {
                    return outcome;
                }
                // It shows a little later.
                self.put_off.lock().push(*key);
                return EffectOutcome::Retry { after_ms: 10_000 };
            }
            _ => {}
        }
        let mut was_bad = false;
        self.alter(target, |process| was_bad = process.version.as_str() == BAD);
        let outcome = self.inner.replace(target, version, key).await;
        let waits = was_bad && self.is(Lie::WaitsForTheBadOne);
        if outcome == EffectOutcome::Applied && (waits || version.as_str() == BAD) {
            self.alter(target, |process| {
                process.version = BAD.into();
                if !self.is(Lie::ReadyOnceItRuns) {
                    process.ready_at = u64::MAX;
                }
            });
        }
        outcome
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.catch_up();
        let mut was = None;
        self.alter(target, |process| {
            was = Some((process.version.clone(), process.instance, process.ready_at))
        });
        let outcome = self.inner.replace_in_place(target, version, key).await;
        if outcome == EffectOutcome::Applied {
            self.alter(target, |process| match (self.lie, was) {
                (Lie::InPlaceOfTheSameDoesNothing, Some((of, instance, ready_at))) if of == *version => {
                    (process.instance, process.ready_at) = (instance, ready_at);
                }
                (Lie::InPlaceForgetsTheDeadline, _) => {
                    process.closed_until = process.closed_until.map(|_| u64::MAX);
                }
                _ => {}
            });
        }
        outcome
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.inner.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.catch_up();
        let mut kept = None;
        self.alter(target, |process| kept = process.closed_until);
        let order = match order {
            IngressOrder::Close { reopen_by_ms } if self.is(Lie::KeepsTheLatestDeadline) => IngressOrder::Close {
                reopen_by_ms: reopen_by_ms.max(kept.unwrap_or(0)),
            },
            order => order,
        };
        self.inner.ingress(target, order, key).await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let bad = version.as_str() == BAD;
        let mut had = None;
        self.alter(target, |process| had = Some(process.config.clone()));
        let outcome = self.inner.apply_config(target, version, key).await;
        if outcome == EffectOutcome::Applied && !self.is(Lie::AcknowledgesWhatWasPushed) {
            let mut refused = self.refused.lock();
            let stuck = refused.contains(target) && self.is(Lie::WaitsForTheBadConfiguration);
            refused.retain(|name| name != target || stuck);
            if bad {
                refused.push(target.clone());
            }
            if bad && !self.is(Lie::RefusesAndKeepsIt) {
                self.alter(target, |process| {
                    process.config = had.unwrap_or_else(|| version.clone())
                });
            }
        }
        outcome
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let outcome = self.inner.fence(target, generation).await;
        if outcome == EffectOutcome::Applied {
            self.alter(target, |process| match self.lie {
                Lie::FenceForgetsTheDeadline => process.closed_until = process.closed_until.map(|_| u64::MAX),
                Lie::FenceOpensTheWay => process.closed_until = None,
                _ => {}
            });
        }
        outcome
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.inner.watch(cursor).await
    }
}

fn tried(lie: Lie) -> Result<(), Breach> {
    let inner = Host {
        clock: Arc::new(Jumping::default()),
        disk: Arc::default(),
    };
    let subject = Subject::new(["a", "b", "c"].map(TargetId::from), "old".into(), "new".into());
    let subject = subject.bad_version(BAD.into()).bad_config(BAD.into());
    for target in &subject.targets {
        inner.add(target, &"old".into());
    }
    let clock = Arc::clone(&inner.clock);
    let sly = Sly {
        inner,
        lie,
        probes: AtomicU64::new(0),
        under_way: Mutex::default(),
        before: Mutex::default(),
        put_off: Mutex::default(),
        refused: Mutex::default(),
    };
    let memory = block_on(platform_suite(&sly, clock.as_ref(), &subject, &sly))?;
    for target in &subject.targets {
        sly.alter(target, |process| match lie {
            Lie::ForgetsDeadlinesOverARestart => process.closed_until = process.closed_until.map(|_| u64::MAX),
            Lie::ForgetsOrdersUnderWayOverARestart if clock.now() < process.ready_at => {
                process.version = if process.version.as_str() == "old" {
                    "new"
                } else {
                    "old"
                }
                .into();
            }
            _ => {}
        });
    }
    block_on(platform_holds(&sly, clock.as_ref(), &subject, &memory))
}

#[test]
fn an_honest_platform_passes() {
    assert_eq!(tried(Lie::None), Ok(()));
    assert_eq!(tried(Lie::AnswersBeforeItIsShown), Ok(()));
}

#[test]
fn every_sly_one_is_found_out_by_name() {
    let liars = [
        (Lie::CutOffCallsPassTheFence, "fence.leaky"),
        (Lie::InPlaceOfTheSameDoesNothing, "order.not-done"),
        (Lie::ShowsVeryManyFromACache, "observe.order"),
        (Lie::TellsKeysApartByAttemptAlone, "key.confused"),
        (Lie::FenceForgetsTheDeadline, "ingress.watchdog"),
        (Lie::FenceOpensTheWay, "fence.leaky"),
        (Lie::InPlaceForgetsTheDeadline, "ingress.watchdog"),
        (Lie::KeepsTheLatestDeadline, "ingress.watchdog"),
        (Lie::RestartOpensTheWay, "restart.forgets"),
        (Lie::RestartForgetsTheConfiguration, "restart.forgets"),
        (Lie::RestartRunsTheFirstVersion, "observe.restart"),
        (Lie::ReadyOnceItRuns, "bad.good"),
        (Lie::ProbePassesTheBadOne, "bad.good"),
        (Lie::ShowsTheLastThatWasReady, "bad.shown"),
        (Lie::WaitsForTheBadOne, "bad.stuck"),
        (Lie::AcknowledgesWhatWasPushed, "config.refused"),
        (Lie::RefusesAndKeepsIt, "config.bad"),
        (Lie::WaitsForTheBadConfiguration, "config.stuck"),
        (Lie::PutsOffAndDoesItMeanwhile, "order.undone"),
        (Lie::ForgetsDeadlinesOverARestart, "durable.order"),
        (Lie::ForgetsOrdersUnderWayOverARestart, "durable.order"),
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
