//! A platform in front of the simulated one, with a fence and a memory of keys of its own, that lies in one way.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_simulated::Simulated;
use unattended_upgrade::conformance::Disturb;
use unattended_upgrade::*;

use super::Lie;

/// An order, as it was given.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Replace(Version),
    InPlace(Version),
    Prefetch(Version),
    Ingress(IngressOrder),
    Config(Version),
    Spawn(Version),
    Stop(InstanceId),
    Reset(Version),
    HandOver(HandoverOrder, Version, Version),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is given to the world has a key of its own, later than all before.
    pub(crate) given: u64,
    pub(crate) fenced: BTreeMap<TargetId, (Generation, u64)>,
    pub(crate) last: BTreeMap<TargetId, (EffectKey, u64)>,
    pub(crate) anybody: Option<(TargetId, EffectKey)>,
    /// Not done yet, though answered; and when it is at last.
    pub(crate) held: BTreeMap<TargetId, (Order, u64)>,
    /// To be done once more.
    pub(crate) later: Vec<(u64, TargetId, Order)>,
    /// Behind a closed way since.
    pub(crate) closed: BTreeMap<TargetId, (u64, u64)>,
    pub(crate) shown: BTreeMap<TargetId, (u64, Observation)>,
    pub(crate) probed: BTreeMap<TargetId, Probe>,
    /// Slots that no longer accept, whatever the world says.
    pub(crate) mute: Vec<(TargetId, Version)>,
    /// Slots that have left, whatever the world says.
    pub(crate) left: Vec<(TargetId, Version)>,
    pub(crate) config_lost: Vec<TargetId>,
    pub(crate) asked: u64,
    pub(crate) words: Option<EffectKey>,
    pub(crate) endpoints: BTreeMap<(TargetId, Version), Arc<str>>,
    pub(crate) migrated: bool,
    /// What was ended by an order.
    pub(crate) fell: Vec<(TargetId, Version)>,
    /// Refused for want of room, and kept.
    pub(crate) queued: BTreeMap<TargetId, Order>,
}

pub(crate) struct Liar {
    pub(crate) sim: Arc<Simulated>,
    pub(crate) lie: Lie,
    /// Its adapter was started anew.
    pub(crate) restarted: bool,
    pub(crate) state: Mutex<State>,
}

impl Liar {
    pub(crate) fn is(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    pub(crate) fn now(&self) -> u64 {
        self.sim.clock().now()
    }

    /// Does it in the world.
    async fn perform(&self, target: &TargetId, order: &Order) -> EffectOutcome {
        let key = {
            let mut state = self.state.lock();
            state.given += 1;
            EffectKey {
                attempt: AttemptId(state.given),
                generation: Generation(state.given),
                step: 0,
                ordinal: 0,
            }
        };
        let sim = &self.sim;
        match order {
            Order::Replace(version) => sim.replace(target, version, &key).await,
            Order::InPlace(version) => sim.replace_in_place(target, version, &key).await,
            Order::Prefetch(version) => sim.prefetch(target, version, &key).await,
            Order::Ingress(order) => sim.ingress(target, *order, &key).await,
            Order::Config(version) => sim.apply_config(target, version, &key).await,
            Order::Spawn(version) => sim.spawn(target, version, &key).await,
            Order::Stop(instance) => sim.stop(target, *instance, &key).await,
            Order::Reset(version) => sim.reset(target, version, &key).await,
            Order::HandOver(order, from, to) => sim.hand_over(target, *order, from, to, &key).await,
        }
    }

    /// The contract's own checks, and where they are not made.
    fn refusal(&self, target: &TargetId, order: &Order, key: &EffectKey) -> Option<EffectOutcome> {
        let now = self.now();
        let state = self.state.lock();
        let fenced = state.fenced.get(target).copied();
        let fenced = fenced.filter(|(_, at)| !(self.is(Lie::ForgetsFencesWithTime) && now > at + 1_800_000));
        let below = |fenced: Generation| match self.lie {
            Lie::KeepsHalfOfAGeneration => key.generation.0 & 0xffff_ffff < fenced.0 & 0xffff_ffff,
            _ => key.generation < fenced,
        };
        let exempt = match order {
            Order::Stop(_) => self.is(Lie::StopsForAnyGeneration),
            Order::HandOver(HandoverOrder::Retire, ..) => self.is(Lie::RetiresForAnyGeneration),
            _ => false,
        };
        if fenced.is_some_and(|(fenced, _)| below(fenced)) && !exempt {
            return Some(EffectOutcome::Stale);
        }
        let last = match self.lie {
            Lie::RemembersOneKeyOfAll => state
                .anybody
                .as_ref()
                .filter(|(name, _)| name == target)
                .map(|(_, key)| *key),
            Lie::ForgetsKeysWithTime => {
                let young = state.last.get(target).filter(|(_, at)| now < at + 1_800_000);
                young.map(|(key, _)| *key)
            }
            _ => state.last.get(target).map(|(key, _)| *key),
        };
        let last = last?;
        if last == *key {
            return Some(EffectOutcome::AlreadyApplied);
        }
        let older = match self.lie {
            Lie::OrdersByOrdinalsAlone => key.ordinal < last.ordinal,
            Lie::OrdersByAttempts => key.attempt < last.attempt,
            Lie::TakesOlderOnes => false,
            // Generations are the fence's business alone.
            Lie::StopsForAnyGeneration
            | Lie::RetiresForAnyGeneration
            | Lie::ForgetsFencesWithTime
            | Lie::ForgetsFencesWithAReplacement
            | Lie::KeepsHalfOfAGeneration => key.generation == last.generation && key.ordinal < last.ordinal,
            _ => key.is_older_than(&last),
        };
        older.then_some(EffectOutcome::Stale)
    }

    async fn take(&self, target: &TargetId, order: Order, key: &EffectKey) -> EffectOutcome {
        self.catch_up().await;
        if let Some(refusal) = self.refusal(target, &order, key) {
            return refusal;
        }
        if self.is(Lie::ChecksBeforeItWaits) {
            // Another delivery gets in between.
            let mut waited = false;
            futures::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut waited, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
        }
        let outcome = self.bent(target, &order).await;
        if outcome == EffectOutcome::Applied || (outcome == EffectOutcome::AlreadyApplied && is_idle(&order)) {
            let now = self.now();
            let mut state = self.state.lock();
            state.last.insert(target.clone(), (*key, now));
            state.anybody = Some((target.clone(), *key));
            if self.is(Lie::ForgetsFencesWithAReplacement) && matches!(order, Order::Replace(_)) {
                state.fenced.remove(target);
            }
        }
        outcome
    }

    /// Whether this instance runs there.
    async fn has(&self, target: &TargetId, instance: InstanceId) -> bool {
        let seen = self.sim.observe(std::slice::from_ref(target)).await;
        let pair = seen.ok().and_then(|mut seen| seen.remove(0).pair);
        let mut slots = pair.iter().flat_map(|pair| &pair.slots);
        slots.any(|slot| slot.instance == Some(instance))
    }

    /// Does it, or something like it.
    async fn bent(&self, target: &TargetId, order: &Order) -> EffectOutcome {
        let now = self.now();
        let ends = match order {
            Order::Stop(instance) => self.has(target, *instance).await,
            _ => false,
        };
        match (self.lie, order) {
            (Lie::SwapsOrders, Order::Replace(_) | Order::Ingress(_)) => {
                let before = self.state.lock().held.remove(target);
                let Some((before, _)) = before else {
                    self.state
                        .lock()
                        .held
                        .insert(target.clone(), (order.clone(), now + 20_000));
                    return EffectOutcome::Applied;
                };
                self.perform(target, order).await;
                return self.perform(target, &before).await;
            }
            (Lie::DoesItAgainMuchLater, Order::Replace(_)) => {
                self.state
                    .lock()
                    .later
                    .push((now + 2_400_000, target.clone(), order.clone()));
            }
            (Lie::SpawnLeadsTrafficThere, Order::Spawn(version)) => {
                let outcome = self.perform(target, order).await;
                let old = other(version);
                for step in [HandoverOrder::Offer, HandoverOrder::Accept, HandoverOrder::Commit] {
                    self.state.lock().later.push((
                        now + 120_000,
                        target.clone(),
                        Order::HandOver(step, old.clone(), version.clone()),
                    ));
                }
                return outcome;
            }
            (Lie::SpawnRestartsTheOldOne, Order::Spawn(version)) => {
                self.perform(target, order).await;
                return self.perform(target, &Order::InPlace(other(version))).await;
            }
            (Lie::SpawnDoesNothing, Order::Spawn(_))
            | (Lie::StopDoesNothing, Order::Stop(_))
            | (Lie::ResetDoesNothing, Order::Reset(_)) => return EffectOutcome::Applied,
            (Lie::StopEndsWhateverIsNew, Order::Stop(_)) => {
                let seen = self.sim.observe(std::slice::from_ref(target)).await;
                let pair = seen.ok().and_then(|mut seen| seen.remove(0).pair);
                let new = pair.and_then(|pair| {
                    pair.slots
                        .iter()
                        .find(|slot| !slot.accepting)
                        .and_then(|slot| slot.instance)
                });
                return match new {
                    Some(new) => self.perform(target, &Order::Stop(new)).await,
                    None => self.perform(target, order).await,
                };
            }
            (Lie::StopAsksForNoTarget, Order::Stop(instance)) => {
                for owner in ["app-0-0", "app-0-1", "app-1-0"].map(TargetId::from) {
                    if self.has(&owner, *instance).await {
                        return self.perform(&owner, order).await;
                    }
                }
            }
            (Lie::OldServesAgainAfterTheCommit, Order::Stop(instance)) => {
                let seen = self.sim.observe(std::slice::from_ref(target)).await;
                let pair = seen.ok().and_then(|mut seen| seen.remove(0).pair);
                let slots = pair.iter().flat_map(|pair| &pair.slots);
                let ended = slots
                    .filter(|slot| slot.instance == Some(*instance))
                    .filter_map(|slot| slot.version.clone());
                self.state
                    .lock()
                    .fell
                    .extend(ended.map(|version| (target.clone(), version)));
            }
            (Lie::OldServesAgainAfterTheCommit, Order::Spawn(_)) => {
                self.state.lock().fell.retain(|(name, _)| name != target);
            }
            (Lie::SpawnWaitsForRoom, Order::Spawn(_)) => {
                let outcome = self.perform(target, order).await;
                if matches!(outcome, EffectOutcome::Failed { .. }) {
                    self.state.lock().queued.insert(target.clone(), order.clone());
                }
                return outcome;
            }
            (Lie::SpawnWaitsForRoom, Order::Reset(_)) => {
                let outcome = self.perform(target, order).await;
                let waits = self.state.lock().queued.remove(target);
                if let Some(waits) = waits {
                    self.perform(target, &waits).await;
                }
                return outcome;
            }
            (Lie::AgentsAreNotAskedWhoTheyAre, Order::HandOver(order, _, to)) => {
                return self
                    .perform(target, &Order::HandOver(*order, other(to), to.clone()))
                    .await;
            }
            (Lie::StopRestartsTheOther, Order::Stop(_)) if ends => {
                let outcome = self.perform(target, order).await;
                let seen = self.sim.observe(std::slice::from_ref(target)).await;
                if let Some(version) = seen.ok().and_then(|mut seen| seen.remove(0).version) {
                    self.perform(target, &Order::InPlace(version)).await;
                }
                return outcome;
            }
            (Lie::StopEndsBoth, Order::Stop(_)) if ends => {
                self.perform(target, &Order::Replace("old".into())).await;
            }
            (Lie::ResetIsUndoneByALateSpawn, Order::Reset(version)) => {
                let outcome = self.perform(target, order).await;
                self.state
                    .lock()
                    .later
                    .push((now + 100_000, target.clone(), Order::Spawn(version.clone())));
                return outcome;
            }
            (Lie::OldLeavesBeforeTheCommit, Order::HandOver(HandoverOrder::Retire, from, _)) => {
                let outcome = self.perform(target, order).await;
                self.state.lock().left.push((target.clone(), from.clone()));
                return outcome;
            }
            (Lie::OldStopsBeforeTheNewAccepts, Order::HandOver(HandoverOrder::Quiesce, from, _)) => {
                let outcome = self.perform(target, order).await;
                self.state.lock().mute.push((target.clone(), from.clone()));
                return outcome;
            }
            (Lie::NobodyResumesWhenTheNewOneDies, Order::HandOver(HandoverOrder::Migrate, ..)) => {
                self.state.lock().migrated = true;
            }
            (Lie::NobodyResumesWhenTheNewOneDies, Order::Stop(_)) if self.state.lock().migrated => {
                let outcome = self.perform(target, order).await;
                self.state.lock().mute.push((target.clone(), "old".into()));
                self.state.lock().mute.push((target.clone(), "new".into()));
                return outcome;
            }
            (Lie::ReturnKeepsTheNewOne, Order::HandOver(HandoverOrder::Return, ..))
            | (Lie::OfferDoesNothing, Order::HandOver(HandoverOrder::Offer, ..))
            | (Lie::MigrateDoesNothing, Order::HandOver(HandoverOrder::Migrate, ..))
            | (Lie::CommitDoesNothing, Order::HandOver(HandoverOrder::Commit, ..)) => return EffectOutcome::Applied,
            (Lie::NobodyAcceptsForAWhile, Order::HandOver(HandoverOrder::Accept, from, to)) => {
                let mut state = self.state.lock();
                state.mute.push((target.clone(), from.clone()));
                state.mute.push((target.clone(), to.clone()));
            }
            (Lie::LosesTheConfiguration, Order::Replace(_)) => self.state.lock().config_lost.push(target.clone()),
            (Lie::LosesTheConfiguration, Order::Config(_)) => {
                self.state.lock().config_lost.retain(|name| name != target);
            }
            (_, Order::Ingress(IngressOrder::Close { reopen_by_ms })) => {
                let mut state = self.state.lock();
                let entry = state.closed.entry(target.clone()).or_insert((now, 0));
                entry.1 = *reopen_by_ms;
            }
            (_, Order::Ingress(IngressOrder::Open)) => drop(self.state.lock().closed.remove(target)),
            _ => {}
        }
        self.perform(target, order).await
    }

    /// What was put off is done in its time.
    async fn catch_up(&self) {
        let now = self.now();
        let due: Vec<(TargetId, Order)> = {
            let mut state = self.state.lock();
            let (held, rest) = std::mem::take(&mut state.held)
                .into_iter()
                .partition(|(_, (_, at))| *at <= now);
            state.held = rest;
            let held: BTreeMap<TargetId, (Order, u64)> = held;
            let later: Vec<_> = state.later.extract_if(.., |(at, ..)| *at <= now).collect();
            let held = held.into_iter().map(|(target, (order, _))| (target, order));
            held.chain(later.into_iter().map(|(_, target, order)| (target, order)))
                .collect()
        };
        for (target, order) in due {
            self.perform(&target, &order).await;
        }
    }
}

fn is_idle(order: &Order) -> bool {
    matches!(order, Order::Stop(_) | Order::Reset(_))
}

fn other(version: &Version) -> Version {
    Version::from(if version.as_str() == "old" { "new" } else { "old" })
}

#[async_trait]
impl Disturb for Liar {
    async fn restart(&self, _: &TargetId) -> bool {
        false
    }

    async fn kill(&self, _: &TargetId) -> bool {
        false
    }

    /// Clients hold all there are, and know what they have.
    async fn held(&self, target: &TargetId) -> Option<u32> {
        let mut seen = self.sim.observe(std::slice::from_ref(target)).await.ok()?.remove(0);
        if self.is(Lie::SomeConnectionsVanish) {
            self.show(target, &mut seen, 1);
        }
        Some(seen.pair?.slots.iter().filter_map(|slot| slot.connections).sum())
    }
}

#[async_trait]
impl Platform for Liar {
    fn capabilities(&self) -> Capabilities {
        self.sim.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.catch_up().await;
        let mut seen = self.sim.observe(targets).await?;
        self.state.lock().asked += 1;
        for (target, seen) in targets.iter().zip(&mut seen) {
            if seen.phase != Phase::Gone {
                self.show(target, seen, targets.len());
            }
        }
        if self.is(Lie::AnswersOnePageAgainAndAgain) {
            let page: Vec<Observation> = seen.iter().take(500).cloned().collect();
            seen = page.into_iter().cycle().take(targets.len()).collect();
        }
        Ok(seen)
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.catch_up().await;
        let seen = self.sim.observe(std::slice::from_ref(target)).await;
        if seen.is_ok_and(|seen| seen[0].phase == Phase::Gone) {
            return EffectOutcome::Failed {
                reason: "nobody".into(),
            };
        }
        let now = self.now();
        let mut state = self.state.lock();
        match state.fenced.get(target) {
            Some((fenced, _)) if generation < *fenced => return EffectOutcome::Stale,
            Some((fenced, at)) if generation == *fenced => {
                let (next, at) = (Generation(fenced.0 + 1), *at);
                if self.is(Lie::FenceGivenAgainShuts) {
                    state.fenced.insert(target.clone(), (next, at));
                }
                return EffectOutcome::AlreadyApplied;
            }
            _ => {}
        }
        state.fenced.insert(target.clone(), (generation, now));
        EffectOutcome::Applied
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Replace(version.clone()), key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::InPlace(version.clone()), key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Prefetch(version.clone()), key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Ingress(order), key).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Spawn(version.clone()), key).await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Stop(instance), key).await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Reset(version.clone()), key).await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        self.take(target, Order::HandOver(order, from.clone(), to.clone()), key)
            .await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, Order::Config(version.clone()), key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        let mut told = self.sim.ingress_barrier(targets).await?;
        let asked = {
            let mut state = self.state.lock();
            state.asked += 1;
            state.asked
        };
        match self.lie {
            Lie::BarrierIsToldAtOnce => told.iter_mut().for_each(|barrier| barrier.told = true),
            Lie::BarrierIsNeverTold => told.iter_mut().for_each(|barrier| barrier.told = false),
            Lie::BarriersAreMixedUp => told.reverse(),
            Lie::BarrierOfOneTooFew => drop(told.pop()),
            Lie::BarrierComesAndGoes if asked % 7 == 6 => told.iter_mut().for_each(|barrier| barrier.told = false),
            Lie::QuietAtOnce => {
                let told = told.iter_mut().filter(|barrier| barrier.told);
                told.for_each(|barrier| barrier.quiet_ms = Some(asked * 60_000));
            }
            _ => {}
        }
        Ok(told)
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let mut answers = self.sim.probe(targets).await?;
        match self.lie {
            Lie::ProbesAreMixedUp => answers.reverse(),
            Lie::ProbeOfOneTooFew => drop(answers.pop()),
            Lie::ProbesSayPassedForEverybody => {
                let nobody = answers.iter_mut().filter(|answer| answer.instance.is_none());
                nobody.for_each(|answer| answer.instance = Some(InstanceId(1)));
            }
            Lie::ProbesComeFromACache => {
                let mut state = self.state.lock();
                for (target, answer) in targets.iter().zip(&mut answers) {
                    *answer = state
                        .probed
                        .entry(target.clone())
                        .or_insert_with(|| answer.clone())
                        .clone();
                }
            }
            Lie::ProbesPassWhileStarting => {
                let seen = self.sim.observe(targets).await?;
                for (seen, answer) in seen.iter().zip(&mut answers) {
                    if seen.phase == Phase::Starting {
                        answer.version.clone_from(&seen.version);
                        answer.self_check = SelfCheck::Passed;
                    }
                }
            }
            Lie::ProbesFail => answers
                .iter_mut()
                .for_each(|answer| answer.self_check = SelfCheck::Unreported),
            _ => {}
        }
        Ok(answers)
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        let address = self.sim.control_endpoint(target, version).await;
        let asked = {
            let mut state = self.state.lock();
            state.asked += 1;
            state.asked
        };
        match self.lie {
            Lie::EndpointOfTheTarget => Ok(address?.split('/').next().unwrap_or_default().into()),
            Lie::EndpointOfEverybody => Ok("simulated:1".into()),
            Lie::EndpointMoves => Ok(format!("{}#{asked}", address?).into()),
            Lie::EndpointIsKept => {
                let mut state = self.state.lock();
                let kept = (target.clone(), version.clone());
                match address {
                    Ok(address) => {
                        state.endpoints.insert(kept, Arc::clone(&address));
                        Ok(address)
                    }
                    Err(error) => state.endpoints.get(&kept).cloned().ok_or(error),
                }
            }
            Lie::EndpointOfNothing => Ok(address.unwrap_or_else(|_| format!("simulated:{target}/{version}").into())),
            _ => address,
        }
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let outcome = self.sim.desired(scope, version, key).await;
        let before = self.state.lock().words.replace(*key);
        match self.lie {
            Lie::WordsAreForgottenOverARestart if self.restarted => EffectOutcome::Applied,
            Lie::WordsAreTakenTwice if outcome == EffectOutcome::AlreadyApplied => EffectOutcome::Applied,
            Lie::OldWordsAreTaken if outcome == EffectOutcome::Stale => EffectOutcome::Applied,
            Lie::WordsTouchTheLiving if outcome == EffectOutcome::Applied && before != Some(*key) => {
                self.perform(&"app-0-0".into(), &Order::InPlace(version.clone())).await;
                outcome
            }
            _ => outcome,
        }
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.sim.watch(cursor).await
    }
}
