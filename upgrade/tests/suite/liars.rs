//! Platforms that lie, each in one way, and the rule by which the suite finds it out.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use parking_lot::Mutex;
use unattended_upgrade::conformance::{Breach, Disturb, Subject, platform_holds, platform_suite};
use unattended_upgrade::*;

use crate::clock::Jumping;
use crate::host::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    SaysAppliedAndDoesNothing,
    DoesNothingAtTheThirdTarget,
    DoesNothingNowAndThen,
    ForgetsKeys,
    ForgetsOldKeys,
    AnswersAppliedToAKnownKey,
    ConfusesOrdinals,
    TakesWhatWasOvertaken,
    DoesItTwiceLater,
    ReplacesAnotherTargetToo,
    ReplacesTheWrongTarget,
    KeepsTheInstance,
    PutsOffAndDoesIt,
    RefusesGoodOrders,
    TakesOrdersForNobody,
    LeavesATargetOut,
    ShowsOneTwice,
    ShowsThemInOrderOfNames,
    InventsTargets,
    ShowsACache,
    ShowsOldStateNowAndThen,
    NeverAnswers,
    SwallowsTheFence,
    FencesAndActsAnyway,
    FencesReplacementsOnly,
    FenceGoesBack,
    FencesEverybody,
    FencesItsOwnGeneration,
    NeverCloses,
    ClosesAnother,
    LetsTrafficIn,
    NeverOpens,
    HasNoWatchdog,
    OpensTooEarly,
    KeepsTheFirstDeadline,
    OpensWhileReplacing,
    RestartsForAPrefetch,
    RestartsForAConfig,
    NeverAcknowledges,
    ClaimsWhatItLacks,
    DoesWhatItDoesNotClaim,
    ChangesItsMind,
    ContradictsItself,
    LosesNews,
    ForgetsNews,
    RepeatsNews,
    InventsDeaths,
    HidesRestarts,
    ShowsTheDead,
    ForgetsFencesOverARestart,
    ForgetsKeysOverARestart,
    RestartsTheApplication,
    HidesConnections,
    TakesReadyForFit,
    KeepsIllnessToItself,
}

struct Liar {
    inner: Host<Jumping>,
    lie: Lie,
    calls: AtomicU64,
    shown: Mutex<Vec<(TargetId, Observation)>>,
    later: Mutex<Vec<(u64, TargetId, Version)>>,
    fenced: Mutex<Generation>,
    told: AtomicU64,
    done: Mutex<Vec<EffectKey>>,
}

const OWN: EffectKey = EffectKey {
    attempt: AttemptId(u64::MAX),
    generation: Generation(1),
    step: 0,
    ordinal: 0,
};

impl Host<Jumping> {
    fn alter(&self, target: &TargetId, act: impl FnOnce(&mut crate::disk::Process)) {
        if let Some(process) = self.disk.lock().processes.get_mut(target) {
            act(process);
        }
    }
}

enum Sneak<'a> {
    Replace(&'a Version),
    Ingress(IngressOrder),
}

impl Liar {
    fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    /// What the host does whatever the contract says, and without a trace.
    async fn sneak(&self, target: &TargetId, what: Sneak<'_>) {
        let mut kept = None;
        self.inner.alter(target, |process| {
            kept = Some((process.applied.take(), std::mem::take(&mut process.fenced)));
        });
        match what {
            Sneak::Replace(version) => self.inner.replace(target, version, &OWN).await,
            Sneak::Ingress(order) => self.inner.ingress(target, order, &OWN).await,
        };
        self.inner.alter(target, |process| {
            (process.applied, process.fenced) = kept.unwrap_or_default()
        });
    }

    fn key(&self, target: &TargetId, key: &EffectKey) -> EffectKey {
        match self.lie {
            Lie::ForgetsKeys => self.inner.alter(target, |process| process.applied = None),
            Lie::ConfusesOrdinals => {
                return EffectKey {
                    attempt: AttemptId(0),
                    ordinal: key.ordinal & !3,
                    ..*key
                };
            }
            Lie::FencesAndActsAnyway if key.generation < *self.fenced.lock() => {
                self.inner.alter(target, |process| process.applied = None);
            }
            _ => {}
        }
        *key
    }

    /// The answer for what was done already.
    fn said(&self, key: &EffectKey, outcome: EffectOutcome) -> EffectOutcome {
        if self.is(Lie::FencesAndActsAnyway) && key.generation < *self.fenced.lock() {
            return EffectOutcome::Stale;
        }
        outcome
    }

    fn next(&self, target: &TargetId) -> TargetId {
        TargetId::from(if target.as_str() == "a" { "b" } else { "a" })
    }
}

#[async_trait]
impl Disturb for Liar {
    async fn restart(&self, target: &TargetId) -> bool {
        if !self.is(Lie::HidesRestarts) {
            Host::restart(&self.inner, target);
        }
        true
    }

    async fn kill(&self, target: &TargetId) -> bool {
        self.inner.remove(target)
    }

    async fn occupy(&self, target: &TargetId, so_many: u32) -> Option<u32> {
        self.inner.alter(target, |process| process.busy = so_many);
        Some(so_many)
    }

    async fn application(&self, target: &TargetId) -> Option<InstanceId> {
        let disk = self.inner.disk.lock();
        disk.processes
            .get(target)
            .map(|process| InstanceId(process.application))
    }
}

#[async_trait]
impl Platform for Liar {
    fn capabilities(&self) -> Capabilities {
        let all = self.inner.capabilities();
        match self.lie {
            Lie::ClaimsWhatItLacks => all.with_probe(),
            Lie::ContradictsItself => all.with_hand_over(),
            Lie::DoesWhatItDoesNotClaim => Capabilities::none().with_fence().with_ingress().with_watch(),
            Lie::ChangesItsMind if self.calls.fetch_add(1, Ordering::Relaxed) > 0 => Capabilities::none(),
            _ => all,
        }
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let now = self.inner.clock.now();
        let due: Vec<_> = {
            let mut later = self.later.lock();
            let (due, rest) = later.drain(..).partition(|(at, ..)| *at <= now);
            *later = rest;
            due
        };
        for (_, target, version) in due {
            self.sneak(&target, Sneak::Replace(&version)).await;
        }
        let mut seen = self.inner.observe(targets).await?;
        match self.lie {
            Lie::NeverAnswers => return Err(PlatformError::Unavailable("later".into())),
            Lie::LeavesATargetOut if targets.len() > 2 => drop(seen.pop()),
            Lie::ShowsOneTwice if targets.len() > 2 => seen[1] = seen[0].clone(),
            Lie::ShowsThemInOrderOfNames => {
                let mut named: Vec<_> = targets.iter().cloned().zip(seen).collect();
                named.sort_by(|a, b| a.0.cmp(&b.0));
                seen = named.into_iter().map(|(_, seen)| seen).collect();
            }
            Lie::InventsTargets => {
                let other = seen.iter().find(|seen| seen.phase != Phase::Gone).cloned();
                for seen in &mut seen {
                    if let (Phase::Gone, Some(other)) = (seen.phase, &other) {
                        *seen = other.clone();
                    }
                }
            }
            Lie::ShowsTheDead => {
                let shown = self.shown.lock().clone();
                for (target, seen) in targets.iter().zip(&mut seen) {
                    if let Some((_, old)) = shown
                        .iter()
                        .find(|(name, _)| name == target && seen.phase == Phase::Gone)
                    {
                        *seen = old.clone();
                    }
                }
            }
            Lie::ShowsACache => {
                let mut shown = self.shown.lock();
                for (target, seen) in targets.iter().zip(&mut seen) {
                    match shown.iter().find(|(name, _)| name == target) {
                        Some((_, old)) => *seen = old.clone(),
                        None => shown.push((target.clone(), seen.clone())),
                    }
                }
            }
            Lie::ShowsOldStateNowAndThen if self.calls.fetch_add(1, Ordering::Relaxed) % 7 == 6 => {
                let shown = self.shown.lock().clone();
                for (target, seen) in targets.iter().zip(&mut seen) {
                    if let Some((_, old)) = shown.iter().find(|(name, _)| name == target) {
                        *seen = old.clone();
                    }
                }
            }
            Lie::LetsTrafficIn => {
                for seen in &mut seen {
                    let more = u32::try_from(now / 1_000 % 9).unwrap();
                    seen.active = seen.active.map(|active| active + more);
                }
            }
            Lie::HidesConnections => seen.iter_mut().for_each(|seen| seen.active = seen.active.map(|_| 0)),
            Lie::TakesReadyForFit => {
                for seen in seen.iter_mut().filter(|seen| seen.ready) {
                    seen.self_check = SelfCheck::Passed;
                }
            }
            Lie::NeverCloses => seen.iter_mut().for_each(|seen| seen.ingress = Ingress::Open),
            Lie::NeverAcknowledges => {
                for config in seen.iter_mut().filter_map(|seen| seen.config.as_mut()) {
                    config.acknowledged = None;
                }
            }
            _ => {}
        }
        if matches!(self.lie, Lie::ShowsOldStateNowAndThen | Lie::ShowsTheDead) {
            let mut shown = self.shown.lock();
            if self.is(Lie::ShowsTheDead) {
                shown.retain(|(name, _)| !targets.contains(name));
            }
            for (target, seen) in targets.iter().zip(&seen) {
                if seen.phase != Phase::Gone && shown.iter().all(|(name, _)| name != target) {
                    shown.push((target.clone(), seen.clone()));
                }
            }
        }
        Ok(seen)
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let version = version.clone();
        match self.lie {
            Lie::SaysAppliedAndDoesNothing => return EffectOutcome::Applied,
            Lie::DoesNothingAtTheThirdTarget if target.as_str() == "c" => return EffectOutcome::Applied,
            Lie::DoesNothingNowAndThen if call % 11 == 10 => return EffectOutcome::Applied,
            Lie::RefusesGoodOrders if call == 0 => {
                return EffectOutcome::Failed {
                    reason: "not today".into(),
                };
            }
            Lie::TakesOrdersForNobody if target.as_str().starts_with("conformance") => return EffectOutcome::Applied,
            Lie::PutsOffAndDoesIt if call.is_multiple_of(2) => {
                self.sneak(target, Sneak::Replace(&version)).await;
                return EffectOutcome::Retry { after_ms: 10_000 };
            }
            Lie::ReplacesTheWrongTarget => return self.inner.replace(&self.next(target), &version, key).await,
            Lie::ForgetsOldKeys => {
                let outcome = self.inner.replace(target, &version, key).await;
                if outcome == EffectOutcome::Applied {
                    self.done.lock().push(*key);
                }
                if self.done.lock().contains(key) && outcome == EffectOutcome::Stale {
                    self.sneak(target, Sneak::Replace(&version)).await;
                    return EffectOutcome::Applied;
                }
                return outcome;
            }
            _ => {}
        }
        let was = self
            .inner
            .disk
            .lock()
            .processes
            .get(target)
            .map_or(0, |process| process.instance);
        let outcome = self.inner.replace(target, &version, &self.key(target, key)).await;
        if outcome == EffectOutcome::Applied {
            self.done.lock().push(*key);
        }
        match (self.lie, &outcome) {
            (Lie::ReplacesAnotherTargetToo, EffectOutcome::Applied) => {
                self.sneak(&self.next(target), Sneak::Replace(&version)).await;
            }
            (Lie::DoesItTwiceLater, EffectOutcome::AlreadyApplied) => {
                let at = self.inner.clock.now() + 30_000;
                self.later.lock().push((at, target.clone(), version));
            }
            (Lie::TakesWhatWasOvertaken, EffectOutcome::Stale) => {
                let mut fenced = Generation(0);
                self.inner.alter(target, |process| fenced = process.fenced);
                if key.generation >= fenced && !self.done.lock().contains(key) {
                    self.sneak(target, Sneak::Replace(&version)).await;
                    return EffectOutcome::Applied;
                }
            }
            (Lie::AnswersAppliedToAKnownKey, EffectOutcome::AlreadyApplied) => return EffectOutcome::Applied,
            (Lie::KeepsTheInstance, EffectOutcome::Applied) => {
                self.inner.alter(target, |process| process.instance = was)
            }
            _ => {}
        }
        self.said(key, outcome)
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self
            .inner
            .replace_in_place(target, version, &self.key(target, key))
            .await;
        if self.is(Lie::OpensWhileReplacing) && outcome == EffectOutcome::Applied {
            self.sneak(target, Sneak::Ingress(IngressOrder::Open)).await;
        }
        if self.is(Lie::RestartsTheApplication) && outcome == EffectOutcome::Applied {
            self.inner.alter(target, |process| process.application += 1);
        }
        self.said(key, outcome)
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.inner.prefetch(target, version, &self.key(target, key)).await;
        if self.is(Lie::RestartsForAPrefetch) {
            Host::restart(&self.inner, target);
        }
        self.said(key, outcome)
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let order = match (self.lie, order) {
            (Lie::HasNoWatchdog, IngressOrder::Close { .. }) => IngressOrder::Close { reopen_by_ms: u64::MAX },
            (Lie::OpensTooEarly, IngressOrder::Close { reopen_by_ms }) => IngressOrder::Close {
                reopen_by_ms: reopen_by_ms.min(self.inner.clock.now() + 50_000),
            },
            (Lie::KeepsTheFirstDeadline, IngressOrder::Close { .. }) => {
                let mut kept = None;
                self.inner.alter(target, |process| kept = process.closed_until);
                match kept.filter(|until| *until > self.inner.clock.now()) {
                    Some(reopen_by_ms) => IngressOrder::Close { reopen_by_ms },
                    None => order,
                }
            }
            (Lie::NeverOpens, IngressOrder::Open) => return EffectOutcome::Applied,
            (_, order) => order,
        };
        if self.is(Lie::ClosesAnother) && order != IngressOrder::Open {
            self.sneak(&self.next(target), Sneak::Ingress(order)).await;
        }
        let mut fenced = Generation(0);
        self.inner.alter(target, |process| fenced = process.fenced);
        if self.is(Lie::FencesReplacementsOnly) && key.generation < fenced {
            self.sneak(target, Sneak::Ingress(order)).await;
            return EffectOutcome::Applied;
        }
        let used = self.key(target, key);
        let outcome = self.inner.ingress(target, order, &used).await;
        self.said(key, outcome)
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.inner.apply_config(target, version, &self.key(target, key)).await;
        if self.is(Lie::RestartsForAConfig) && outcome == EffectOutcome::Applied {
            Host::restart(&self.inner, target);
        }
        self.said(key, outcome)
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        match self.lie {
            Lie::SwallowsTheFence => return EffectOutcome::Applied,
            Lie::FenceGoesBack => {
                self.inner.alter(target, |process| process.fenced = Generation(0));
                return self.inner.fence(target, generation).await;
            }
            Lie::FencesEverybody => {
                for name in ["a", "b", "c"] {
                    if target.as_str() != name {
                        self.inner.fence(&name.into(), generation).await;
                    }
                }
            }
            Lie::FencesItsOwnGeneration => {
                return match self.inner.fence(target, generation).await {
                    EffectOutcome::Applied if generation.0 > 1 => {
                        self.inner.fence(target, Generation(generation.0 + 1)).await
                    }
                    outcome => outcome,
                };
            }
            Lie::FencesAndActsAnyway => {
                let mut fenced = self.fenced.lock();
                if generation < *fenced {
                    return EffectOutcome::Stale;
                }
                *fenced = generation;
                return EffectOutcome::Applied;
            }
            _ => {}
        }
        self.inner.fence(target, generation).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let mut news = self.inner.watch(cursor).await?;
        match self.lie {
            Lie::LosesNews => news.changes.clear(),
            Lie::KeepsIllnessToItself => news
                .changes
                .retain(|change| !matches!(change, FleetChange::BecameUnhealthy { .. })),
            Lie::ForgetsNews
                if cursor == 0 && !news.changes.is_empty() && self.told.fetch_add(1, Ordering::Relaxed) > 0 =>
            {
                news.changes.remove(0);
            }
            Lie::RepeatsNews if cursor > 0 => news.changes = self.inner.watch(0).await?.changes,
            Lie::InventsDeaths => {
                news = self.inner.watch(cursor.saturating_sub(1)).await?;
                if cursor == 0 {
                    news.changes.insert(0, FleetChange::Left { target: "a".into() });
                }
                news.cursor += 1;
            }
            _ => {}
        }
        Ok(news)
    }
}

fn tried(lie: Lie) -> Result<(), Breach> {
    let inner = Host {
        clock: Arc::new(Jumping::default()),
        disk: Arc::default(),
    };
    let subject = Subject::new(["a", "b", "c"].map(TargetId::from), "old".into(), "new".into())
        .unfit_version(crate::disk::UNFIT.into());
    for target in &subject.targets {
        inner.add(target, &"old".into());
    }
    let clock = Arc::clone(&inner.clock);
    let liar = Liar {
        inner,
        lie,
        calls: AtomicU64::new(0),
        shown: Mutex::default(),
        later: Mutex::default(),
        fenced: Mutex::default(),
        told: AtomicU64::new(0),
        done: Mutex::default(),
    };
    let memory = block_on(platform_suite(&liar, clock.as_ref(), &subject, &liar))?;
    for target in &subject.targets {
        if *target == subject.targets[2] {
            // It was killed at the end.
            continue;
        }
        match lie {
            Lie::ForgetsFencesOverARestart => liar.inner.alter(target, |process| process.fenced = Generation(0)),
            Lie::ForgetsKeysOverARestart => liar.inner.alter(target, |process| process.applied = None),
            _ => {}
        }
    }
    block_on(platform_holds(&liar, clock.as_ref(), &subject, &memory))
}

#[test]
fn an_honest_platform_passes() {
    assert_eq!(tried(Lie::None), Ok(()));
}

#[test]
fn every_liar_is_found_out_by_name() {
    let liars = [
        (Lie::SaysAppliedAndDoesNothing, "key.answer"),
        (Lie::DoesNothingAtTheThirdTarget, "key.answer"),
        (Lie::DoesNothingNowAndThen, "key.answer"),
        (Lie::ForgetsKeys, "key.answer"),
        (Lie::ForgetsOldKeys, "key.answer"),
        (Lie::AnswersAppliedToAKnownKey, "key.answer"),
        (Lie::ConfusesOrdinals, "order.not-done"),
        (Lie::TakesWhatWasOvertaken, "key.overtaken"),
        (Lie::DoesItTwiceLater, "key.twice"),
        (Lie::ReplacesAnotherTargetToo, "order.other"),
        (Lie::ReplacesTheWrongTarget, "order.other"),
        (Lie::KeepsTheInstance, "replace.instance"),
        (Lie::PutsOffAndDoesIt, "order.undone"),
        (Lie::RefusesGoodOrders, "order.refused"),
        (Lie::TakesOrdersForNobody, "order.nobody"),
        (Lie::LeavesATargetOut, "observe.count"),
        (Lie::ShowsOneTwice, "observe.order"),
        (Lie::ShowsThemInOrderOfNames, "observe.invented"),
        (Lie::InventsTargets, "observe.invented"),
        (Lie::ShowsACache, "order.not-done"),
        (Lie::ShowsOldStateNowAndThen, "observe.old-state"),
        (Lie::NeverAnswers, "observe.unanswered"),
        (Lie::SwallowsTheFence, "fence.stale"),
        (Lie::FencesAndActsAnyway, "fence.leaky"),
        (Lie::FencesReplacementsOnly, "fence.stale"),
        (Lie::FenceGoesBack, "fence.back"),
        (Lie::FencesEverybody, "fence.wide"),
        (Lie::FencesItsOwnGeneration, "fence.taken"),
        (Lie::NeverCloses, "ingress.closed"),
        (Lie::ClosesAnother, "order.other"),
        (Lie::LetsTrafficIn, "ingress.leaks"),
        (Lie::NeverOpens, "ingress.opened"),
        (Lie::HasNoWatchdog, "ingress.watchdog"),
        (Lie::OpensTooEarly, "ingress.closed"),
        (Lie::KeepsTheFirstDeadline, "ingress.deadline"),
        (Lie::OpensWhileReplacing, "in_place.opened"),
        (Lie::RestartsForAPrefetch, "prefetch.touched"),
        (Lie::RestartsForAConfig, "config.disturbs"),
        (Lie::NeverAcknowledges, "config.acknowledged"),
        (Lie::ClaimsWhatItLacks, "capability.claimed"),
        (Lie::ContradictsItself, "capability.claimed"),
        (Lie::DoesWhatItDoesNotClaim, "capability.unclaimed"),
        (Lie::ChangesItsMind, "capability.constant"),
        (Lie::LosesNews, "watch.lost"),
        (Lie::ForgetsNews, "watch.forgets"),
        (Lie::RepeatsNews, "watch.cursor"),
        (Lie::InventsDeaths, "watch.lies"),
        (Lie::HidesRestarts, "observe.restart"),
        (Lie::ShowsTheDead, "observe.gone"),
        (Lie::ForgetsFencesOverARestart, "durable.fence"),
        (Lie::ForgetsKeysOverARestart, "durable.key"),
        (Lie::RestartsTheApplication, "application.restarted"),
        (Lie::HidesConnections, "ingress.hides"),
        (Lie::TakesReadyForFit, "unfit.good"),
        (Lie::KeepsIllnessToItself, "watch.lost"),
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
