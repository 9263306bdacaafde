use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use crate::conformance::Breach;
use crate::conformance::platform::Subject;
use crate::{
    AttemptId, Capabilities, Clock, EffectKey, EffectOutcome, FleetChange, Generation, HandoverOrder, Ingress,
    IngressOrder, InstanceId, Moves, Observation, Phase, Platform, SelfCheck, TargetId, Version,
};

/// How often a look or an order may go unanswered.
const PATIENT_TRIES: u32 = 200;

/// An order that the suite gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
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

/// What a platform must still know when its adapter is started anew.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// For each target its generation, and the last replacement.
    left: Vec<Left>,
}

#[derive(Clone, Debug)]
struct Left {
    target: TargetId,
    fenced: bool,
    ask: Ask,
    key: EffectKey,
}

/// A suite under way.
pub(super) struct Trial<'a, P: ?Sized, C: ?Sized> {
    pub(super) platform: &'a P,
    pub(super) clock: &'a C,
    pub(super) subject: &'a Subject,
    pub(super) able: Capabilities,
    /// As each target was seen last, when it was at rest.
    pub(super) rest: BTreeMap<TargetId, Observation>,
    /// Instances that were seen replaced.
    over: BTreeSet<(TargetId, InstanceId)>,
    pub(super) generations: BTreeMap<TargetId, Generation>,
    /// Targets that were killed on purpose.
    pub(super) dead: BTreeSet<TargetId>,
    pub(super) last: BTreeMap<TargetId, (Ask, EffectKey)>,
    pub(super) news: Vec<FleetChange>,
    pub(super) cursor: u64,
    attempts: u64,
    /// The last ordinal of each target in its generation.
    ordinals: BTreeMap<TargetId, u8>,
    looks: u64,
}

impl<'a, P, C> Trial<'a, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    pub(super) async fn begin(platform: &'a P, clock: &'a C, subject: &'a Subject) -> Result<Self, Breach> {
        let mut trial = Self {
            platform,
            clock,
            subject,
            able: platform.capabilities(),
            rest: BTreeMap::new(),
            over: BTreeSet::new(),
            generations: subject
                .targets
                .iter()
                .map(|t| (t.clone(), subject.generation))
                .collect(),
            dead: BTreeSet::new(),
            last: BTreeMap::new(),
            news: Vec::new(),
            cursor: 0,
            attempts: 0,
            ordinals: BTreeMap::new(),
            looks: 0,
        };
        if let Some(words) = trial.able.contradiction() {
            return Err(Breach::new("capability.claimed", words));
        }
        if subject.targets.len() < 2 || trial.generations.len() < subject.targets.len() {
            return Err(Breach::new("subject", "give two targets or more, each once"));
        }
        let targets = subject.targets.clone();
        for target in &targets {
            trial.attempts += 1;
            if trial.able.fence {
                trial.fence_at(target, subject.generation).await?;
            }
        }
        trial.rest = trial.look().await?;
        for target in &targets {
            let seen = &trial.rest[target];
            if !runs(seen, &subject.first) || (trial.able.ingress && seen.ingress != Ingress::Open) {
                let told = format!("{target} is not at rest on {}: {seen:?}", subject.first);
                return Err(Breach::new("subject", told));
            }
        }
        // One by one they are what they are together.
        for target in &targets {
            let seen = trial.look_at(std::slice::from_ref(target)).await?;
            trial.is_at_rest("observe.order", target, &seen[0])?;
        }
        Ok(trial)
    }

    /// What must still be known when the adapter is started anew: at every other target a fence that no order has
    /// followed, at the others the last order.
    pub(super) async fn memory(mut self) -> Result<Memory, Breach> {
        let mut left = Vec::new();
        for (at, target) in self.subject.targets.iter().enumerate() {
            let Some((ask, key)) = self.last.get(target).cloned().filter(|_| !self.dead.contains(target)) else {
                continue;
            };
            let fenced = self.able.fence && at % 2 == 0;
            if fenced {
                self.fence_at(target, Generation(key.generation.0 + 1)).await?;
            }
            let target = target.clone();
            left.push(Left {
                target,
                fenced,
                ask,
                key,
            });
        }
        Ok(Memory { left })
    }

    pub(super) async fn holds(
        platform: &'a P,
        clock: &'a C,
        subject: &'a Subject,
        memory: &Memory,
    ) -> Result<(), Breach> {
        for Left {
            target,
            fenced,
            ask,
            key,
        } in &memory.left
        {
            if *fenced {
                let later = EffectKey {
                    ordinal: key.ordinal.saturating_add(1),
                    ..*key
                };
                let outcome = give(platform, target, ask, &later).await;
                if outcome != EffectOutcome::Stale {
                    let told = format!("{target} is fenced above {later}, which gave {outcome:?}");
                    return Err(Breach::new("durable.fence", told));
                }
                continue;
            }
            let mut tries = 0;
            let outcome = loop {
                let outcome = give(platform, target, ask, key).await;
                tries += 1;
                match outcome {
                    EffectOutcome::Unknown { .. } | EffectOutcome::Retry { .. } if tries < PATIENT_TRIES => {
                        clock.sleep_until(clock.now() + subject.poll_ms).await;
                    }
                    outcome => break outcome,
                }
            };
            if outcome != EffectOutcome::AlreadyApplied {
                let told = format!("{target}: {key} had been applied; given again it gave {outcome:?}");
                return Err(Breach::new("durable.key", told));
            }
        }
        Ok(())
    }

    /// A key that is later than all that the target has had.
    pub(super) fn key(&mut self, target: &TargetId, step: u8) -> EffectKey {
        self.attempts += 1;
        let ordinal = self.ordinals.entry(target.clone()).or_default();
        *ordinal = ordinal.saturating_add(1);
        EffectKey {
            attempt: AttemptId(self.attempts),
            generation: self.generations[target],
            step,
            ordinal: *ordinal,
        }
    }

    /// Looks at these, however often it takes to be answered.
    pub(super) async fn look_at(&mut self, targets: &[TargetId]) -> Result<Vec<Observation>, Breach> {
        let mut last = String::new();
        for _ in 0..PATIENT_TRIES {
            match self.platform.observe(targets).await {
                Ok(seen) if seen.len() == targets.len() => return Ok(seen),
                Ok(seen) => {
                    let told = format!("{} observations of {} targets", seen.len(), targets.len());
                    return Err(Breach::new("observe.count", told));
                }
                Err(error) => last = error.to_string(),
            }
            self.pass(self.subject.poll_ms).await;
        }
        Err(Breach::new("observe.unanswered", last))
    }

    /// Looks at everybody, in another order each time, with somebody who does not exist and somebody who is named twice.
    pub(super) async fn look(&mut self) -> Result<BTreeMap<TargetId, Observation>, Breach> {
        let mut asked = self.subject.targets.clone();
        let turn = usize::try_from(self.looks).unwrap_or(0);
        self.looks += 1;
        let by = turn % asked.len();
        asked.rotate_left(by);
        if turn % 3 == 1 {
            asked.reverse();
        }
        let stranger = turn % (asked.len() + 1);
        asked.insert(stranger, self.subject.nobody.clone());
        let twice = asked[(turn / 2) % asked.len()].clone();
        asked.push(twice);
        let seen = self.look_at(&asked).await?;
        let mut found: BTreeMap<TargetId, Observation> = BTreeMap::new();
        for (target, seen) in asked.iter().zip(seen) {
            if *target == self.subject.nobody {
                if seen.phase != Phase::Gone {
                    let told = format!("{target} does not exist and is shown as {seen:?}");
                    return Err(Breach::new("observe.invented", told));
                }
                continue;
            }
            if seen.phase == Phase::Gone && !self.dead.contains(target) {
                return Err(Breach::new("observe.order", format!("{target} is shown as gone")));
            }
            if let Some(instance) = seen.instance
                && self.over.contains(&(target.clone(), instance))
            {
                let told = format!("{target} shows instance {}, which was replaced before", instance.0);
                return Err(Breach::new("observe.old-state", told));
            }
            if let Some(other) = found.insert(target.clone(), seen.clone())
                && alike(&other) != alike(&seen)
            {
                let told = format!("{target}, named twice, is shown as {other:?} and as {seen:?}");
                return Err(Breach::new("observe.order", told));
            }
        }
        Ok(found)
    }

    pub(super) async fn pass(&self, ms: u64) {
        self.clock.sleep_until(self.clock.now().saturating_add(ms)).await;
    }

    pub(super) fn is_at_rest(&self, rule: &'static str, target: &TargetId, seen: &Observation) -> Result<(), Breach> {
        let before = &self.rest[target];
        if alike(before) == alike(seen) {
            return Ok(());
        }
        Err(Breach::new(rule, format!("{target} was {before:?} and is {seen:?}")))
    }

    /// Looks on for a while: nothing may change, at this target by `rule` and at no other one either.
    pub(super) async fn nothing_happens(&mut self, rule: &'static str, target: &TargetId) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        loop {
            let seen = self.look().await?;
            for (name, seen) in &seen {
                self.is_at_rest(if name == target { rule } else { "order.other" }, name, seen)?;
            }
            if self.clock.now() >= until {
                return Ok(());
            }
            // In larger steps as time goes on: most of what happens happens soon.
            self.pass(self.subject.poll_ms.max(self.subject.quiet_ms / 8)).await;
        }
    }

    /// Looks on until this target is as it should be, which becomes its new state of rest. No other one may change.
    pub(super) async fn until(
        &mut self,
        rule: &'static str,
        target: &TargetId,
        wanted: impl Fn(&Observation) -> bool + Send,
    ) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let mut all = self.look().await?;
            for (name, seen) in all.iter().filter(|(name, _)| *name != target) {
                self.is_at_rest("order.other", name, seen)?;
            }
            let Some(seen) = all.remove(target) else {
                return Err(Breach::new("observe.count", format!("{target} is not shown")));
            };
            if wanted(&seen) {
                self.settle(target, seen);
                return Ok(());
            }
            if self.clock.now() >= until {
                let told = format!("{target} is still {seen:?} after {} ms", self.subject.patience_ms);
                return Err(Breach::new(rule, told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    fn settle(&mut self, target: &TargetId, seen: Observation) {
        let new = seen.instance;
        let before = self.rest.insert(target.clone(), seen);
        if let Some(instance) = before
            .and_then(|before| before.instance)
            .filter(|old| Some(*old) != new)
        {
            self.over.insert((target.clone(), instance));
        }
    }

    /// Gives an order until it is taken. What is put off must not be done.
    pub(super) async fn order(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<(), Breach> {
        let mut unsure = false;
        for _ in 0..PATIENT_TRIES {
            match give(self.platform, target, ask, key).await {
                EffectOutcome::Applied | EffectOutcome::AlreadyApplied => {
                    if matches!(ask, Ask::Replace(_) | Ask::InPlace(_)) {
                        self.last.insert(target.clone(), (ask.clone(), *key));
                    }
                    return Ok(());
                }
                EffectOutcome::Retry { after_ms } => {
                    if !unsure {
                        let seen = self.look().await?;
                        self.is_at_rest("order.undone", target, &seen[target])?;
                    }
                    self.pass(after_ms.max(1)).await;
                }
                EffectOutcome::Unknown { .. } => {
                    unsure = true;
                    self.pass(self.subject.poll_ms).await;
                }
                EffectOutcome::Stale => {
                    let told = format!("{key} for {target} gave Stale; nothing higher was fenced there");
                    return Err(Breach::new("fence.wide", told));
                }
                EffectOutcome::Failed { reason } => {
                    let told = format!("{ask:?} of {target} gave Failed: {reason}");
                    return Err(Breach::new("order.refused", told));
                }
                EffectOutcome::Unsupported => {
                    return Err(Breach::new("capability.claimed", format!("{ask:?} gave Unsupported")));
                }
            }
        }
        Err(Breach::new(
            "order.never",
            format!("{ask:?} of {target} was never taken in {PATIENT_TRIES} tries"),
        ))
    }

    /// Gives the last order that was applied again: it is told so.
    pub(super) async fn again(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<(), Breach> {
        match self.answer(target, ask, key).await? {
            EffectOutcome::AlreadyApplied => Ok(()),
            other => {
                let told = format!("{ask:?} of {target} by {key}, which had been applied, gave {other:?}");
                Err(Breach::new("key.answer", told))
            }
        }
    }

    /// Gives an order after a later one was applied: if it had been applied it may be told so, and it is not taken.
    pub(super) async fn late(
        &mut self,
        target: &TargetId,
        ask: &Ask,
        key: &EffectKey,
        applied: bool,
    ) -> Result<(), Breach> {
        match self.answer(target, ask, key).await? {
            EffectOutcome::Stale => Ok(()),
            EffectOutcome::AlreadyApplied if applied => Ok(()),
            other => {
                let told = format!("{ask:?} of {target} by {key}, older than the last one applied, gave {other:?}");
                Err(Breach::new(if applied { "key.answer" } else { "key.overtaken" }, told))
            }
        }
    }

    /// An answer that says something.
    async fn answer(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<EffectOutcome, Breach> {
        for _ in 0..PATIENT_TRIES {
            match give(self.platform, target, ask, key).await {
                EffectOutcome::Unknown { .. } => self.pass(self.subject.poll_ms).await,
                EffectOutcome::Retry { after_ms } => self.pass(after_ms.max(1)).await,
                other => return Ok(other),
            }
        }
        Err(Breach::new(
            "key.answer",
            format!("{key} was never answered in {PATIENT_TRIES} tries"),
        ))
    }

    /// Sends the order, lets it go as far as it goes by itself, and never reads the answer.
    pub(super) async fn lose(&self, target: &TargetId, ask: &Ask, key: &EffectKey) {
        let mut answer = give(self.platform, target, ask, key);
        let _ = futures::poll!(&mut answer);
        drop(answer);
    }

    /// Raises the fence of a target.
    pub(super) async fn fence_at(&mut self, target: &TargetId, generation: Generation) -> Result<(), Breach> {
        for _ in 0..PATIENT_TRIES {
            match self.platform.fence(target, generation).await {
                EffectOutcome::Applied | EffectOutcome::AlreadyApplied => {
                    if self.generations.insert(target.clone(), generation) != Some(generation) {
                        self.ordinals.remove(target);
                    }
                    return Ok(());
                }
                EffectOutcome::Unknown { .. } => self.pass(self.subject.poll_ms).await,
                EffectOutcome::Retry { after_ms } => self.pass(after_ms.max(1)).await,
                other => {
                    let told = format!("a fence of {target} at {} gave {other:?}", generation.0);
                    return Err(Breach::new("fence.taken", told));
                }
            }
        }
        Err(Breach::new(
            "fence.taken",
            format!("the fence of {target} at {} was never taken", generation.0),
        ))
    }

    /// The version that the target does not run at rest.
    pub(super) fn other_version(&self, target: &TargetId) -> Version {
        if self.rest[target].version.as_ref() == Some(&self.subject.first) {
            self.subject.second.clone()
        } else {
            self.subject.first.clone()
        }
    }
}

/// Sends one order.
pub(super) fn give<'f, P: Platform + ?Sized>(
    platform: &'f P,
    target: &'f TargetId,
    ask: &'f Ask,
    key: &'f EffectKey,
) -> Pin<Box<dyn Future<Output = EffectOutcome> + Send + 'f>> {
    match ask {
        Ask::Replace(version) => platform.replace(target, version, key),
        Ask::InPlace(version) => platform.replace_in_place(target, version, key),
        Ask::Prefetch(version) => platform.prefetch(target, version, key),
        Ask::Ingress(order) => platform.ingress(target, *order, key),
        Ask::Config(version) => platform.apply_config(target, version, key),
        Ask::Spawn(version) => platform.spawn(target, version, key),
        Ask::Stop(instance) => platform.stop(target, *instance, key),
        Ask::Reset(version) => platform.reset(target, version, key),
        Ask::HandOver(order, from, to) => platform.hand_over(target, *order, from, to, key),
    }
}

/// Runs this version, is ready and says so.
pub(super) fn runs(seen: &Observation, version: &Version) -> bool {
    seen.phase == Phase::Running
        && seen.version.as_ref() == Some(version)
        && seen.instance.is_some()
        && seen.ready
        && seen.self_check == SelfCheck::Passed
}

/// What does not change by itself: everything but the connections.
pub(super) fn alike(seen: &Observation) -> Observation {
    let mut alike = Observation {
        active: None,
        ..seen.clone()
    };
    if let Some(pair) = &mut alike.pair {
        pair.moves = Moves::default();
        for slot in &mut pair.slots {
            (slot.accepted, slot.connections) = (None, None);
        }
    }
    alike
}
