//! How the suite gives orders, and what it knows while it does.
use std::collections::{BTreeMap, BTreeSet};

use super::bounded::Bounded;
use super::history::History;
use super::looks::runs;
use crate::conformance::Breach;
use crate::conformance::platform::{Disturb, Subject};
use crate::{
    AttemptId, Capabilities, Clock, EffectKey, EffectOutcome, FleetChange, Generation, HandoverOrder, Ingress,
    IngressOrder, InstanceId, Observation, TargetId, Version,
};

/// Attempts are numbered out of order: what is earlier and later is said by generation and ordinal alone.
const OUT_OF_ORDER: u64 = 5;

/// How often a look or an order may go unanswered.
pub(super) const PATIENT_TRIES: u32 = 200;

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
    left: Vec<Left>,
    /// The last word on newborns of the scope.
    word: Option<(Version, EffectKey)>,
    untried: Vec<&'static str>,
}

impl Memory {
    /// What the suite could not find out, since it was not given what that takes, each in a sentence that says what would:
    /// part of the verdict on a platform that passed.
    pub fn untried(&self) -> &[&'static str] {
        &self.untried
    }
}

/// What a target was left with.
#[derive(Clone, Debug)]
struct Left {
    target: TargetId,
    /// The fence was raised after the last order.
    fenced: bool,
    /// The last order that was taken.
    ask: Ask,
    key: EffectKey,
    /// As it was at rest after that.
    rest: Observation,
    /// What was started beside what runs.
    beside: Option<Version>,
    /// And it was committed.
    committed: bool,
}

/// A suite under way.
pub(super) struct Trial<'a> {
    pub(super) platform: &'a Bounded<'a>,
    pub(super) clock: &'a dyn Clock,
    pub(super) subject: &'a Subject,
    pub(super) able: Capabilities,
    /// As each target was seen last, when it was at rest.
    pub(super) rest: BTreeMap<TargetId, Observation>,
    /// Targets with an order under way that nobody has waited for yet.
    pub(super) moving: BTreeSet<TargetId>,
    pub(super) history: History,
    pub(super) generations: BTreeMap<TargetId, Generation>,
    /// Targets that were killed on purpose.
    pub(super) dead: BTreeSet<TargetId>,
    /// Those of them that were shown as gone.
    pub(super) buried: BTreeSet<TargetId>,
    pub(super) last: BTreeMap<TargetId, (Ask, EffectKey)>,
    pub(super) news: Vec<FleetChange>,
    pub(super) cursor: u64,
    /// The cursors before, with how many news came before each.
    pub(super) told_before: Vec<(u64, usize)>,
    tried: BTreeSet<super::untried::Gap>,
    /// Connections that were to move, in all hand-overs.
    pub(super) owned: u32,
    /// Of some of them somebody has said what became of them.
    pub(super) counted: bool,
    attempts: u64,
    /// The last ordinal of each target in its generation.
    ordinals: BTreeMap<TargetId, u8>,
    pub(super) looks: u64,
    /// Generations are far from one another.
    pub(super) far: bool,
    /// The last order that started something in a free slot.
    pub(super) spawn: Option<(Ask, EffectKey)>,
    /// The last word on what newborns run.
    pub(super) word: Option<(Version, EffectKey)>,
    pub(super) disturb: &'a dyn Disturb,
}

impl<'a> Trial<'a> {
    pub(super) async fn begin(
        platform: &'a Bounded<'a>,
        clock: &'a dyn Clock,
        subject: &'a Subject,
        disturb: &'a dyn Disturb,
    ) -> Result<Self, Breach> {
        let able = platform.capabilities();
        let versions = [&subject.first, &subject.second].into_iter();
        let versions = versions.chain(&subject.bad_version).chain(&subject.unfit_version);
        let mut trial = Self {
            platform,
            clock,
            subject,
            able,
            rest: BTreeMap::new(),
            moving: BTreeSet::new(),
            history: History::new(able, versions.cloned().collect()),
            generations: subject
                .targets
                .iter()
                .map(|t| (t.clone(), subject.generation))
                .collect(),
            dead: BTreeSet::new(),
            buried: BTreeSet::new(),
            last: BTreeMap::new(),
            news: Vec::new(),
            cursor: 0,
            told_before: Vec::new(),
            tried: BTreeSet::new(),
            owned: 0,
            counted: false,
            attempts: 0,
            ordinals: BTreeMap::new(),
            looks: 0,
            far: false,
            spawn: None,
            word: None,
            disturb,
        };
        if trial.able.probe {
            trial.tried.insert(super::untried::Gap::Probes);
        }
        if let Some(words) = trial.able.contradiction() {
            return Err(Breach::new("capability.claimed", words));
        }
        if subject.targets.len() < 2 || trial.generations.len() < subject.targets.len() {
            return Err(Breach::new("subject", "give two targets or more, each once"));
        }
        let targets = subject.targets.clone();
        for target in targets.iter().filter(|_| able.fence) {
            trial.fence_at(target, subject.generation).await?;
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
    /// followed, and when to open a way that is closed; at the others the last order, which is under way.
    pub(super) async fn memory(mut self) -> Result<Memory, Breach> {
        let mut left = Vec::new();
        for (at, target) in self.subject.targets.iter().enumerate() {
            let Some((ask, key)) = self.last.get(target).cloned().filter(|_| !self.dead.contains(target)) else {
                continue;
            };
            // At the first one as far as it goes, at others only just begun.
            let committed = at == 0 && self.able.hand_over;
            let beside = if at % 2 == 0 {
                self.left_beside(target, committed).await?
            } else {
                None
            };
            let mut rest = self.rest[target].clone();
            let fenced = self.able.fence && at % 2 == 0;
            let (mut ask, mut key) = (ask, key);
            if at % 2 == 1 {
                let version = self.other_version(target);
                (ask, key) = (Ask::Replace(version.clone()), self.key(target, 4));
                self.order(target, &ask, &key).await?;
                rest.version = Some(version);
            } else if self.able.ingress {
                let reopen_by_ms = self.clock.now().saturating_add(self.subject.quiet_ms);
                (ask, key) = (Ask::Ingress(IngressOrder::Close { reopen_by_ms }), self.key(target, 2));
                self.order(target, &ask, &key).await?;
            }
            if fenced {
                self.fence_at(target, Generation(key.generation.0 + 1)).await?;
            }
            let target = target.clone();
            left.push(Left {
                target,
                fenced,
                ask,
                key,
                rest,
                committed: committed && beside.is_some(),
                beside,
            });
        }
        Ok(Memory {
            left,
            word: self.word,
            untried: super::untried::untried(&self.able, &self.tried),
        })
    }

    pub(super) async fn holds(
        platform: &'a Bounded<'a>,
        clock: &'a dyn Clock,
        subject: &'a Subject,
        memory: &Memory,
    ) -> Result<(), Breach> {
        for left in &memory.left {
            let Left {
                target,
                fenced,
                ask,
                key,
                ..
            } = left;
            still_holds(platform, clock, subject, left).await?;
            if *fenced {
                let later = EffectKey {
                    ordinal: key.ordinal.saturating_add(1),
                    ..*key
                };
                let outcome = platform.give(target, ask, &later).await;
                if outcome != EffectOutcome::Stale {
                    let told = format!("{target} is fenced above {later}, which gave {outcome:?}");
                    return Err(Breach::new("durable.fence", told));
                }
                continue;
            }
            let mut tries = 0;
            let outcome = loop {
                let outcome = platform.give(target, ask, key).await;
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
        let Some((version, key)) = &memory.word else {
            return Ok(());
        };
        let mut outcome = platform.desired(&subject.scope, version, key).await;
        for _ in 0..PATIENT_TRIES {
            if !matches!(outcome, EffectOutcome::Unknown { .. } | EffectOutcome::Retry { .. }) {
                break;
            }
            clock.sleep_until(clock.now() + subject.poll_ms).await;
            outcome = platform.desired(&subject.scope, version, key).await;
        }
        if outcome != EffectOutcome::AlreadyApplied {
            let told = format!("newborns were to run {version} by {key}, which given again gave {outcome:?}");
            return Err(Breach::new("durable.word", told));
        }
        Ok(())
    }

    pub(super) fn has_tried(&mut self, what: super::untried::Gap) {
        self.tried.insert(what);
    }

    fn next_attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId(self.attempts ^ OUT_OF_ORDER)
    }

    /// A key that is later than all that the target has had.
    pub(super) fn key(&mut self, target: &TargetId, step: u8) -> EffectKey {
        let ordinal = self.ordinals.entry(target.clone()).or_default();
        *ordinal = ordinal.saturating_add(1);
        // Where nobody fences, a key of the next generation is simply a later one.
        if !self.able.fence
            && *ordinal == u8::MAX
            && let Some(generation) = self.generations.get_mut(target)
        {
            (*ordinal, generation.0) = (1, generation.0 + 1);
        }
        let ordinal = *ordinal;
        EffectKey {
            attempt: self.next_attempt(),
            generation: self.generations[target],
            step,
            ordinal,
        }
    }

    /// The key of an order of this attempt, in the target's present generation: all else is as it was in another one.
    pub(super) fn key_like(&mut self, target: &TargetId, like: &EffectKey) -> EffectKey {
        self.ordinals.insert(target.clone(), like.ordinal);
        EffectKey {
            generation: self.generations[target],
            ..*like
        }
    }

    /// Gives an order until it is taken. What is put off must not be done.
    pub(super) async fn order(&mut self, target: &TargetId, ask: &Ask, key: &EffectKey) -> Result<(), Breach> {
        let mut unsure = false;
        self.history.expect(target);
        for _ in 0..PATIENT_TRIES {
            match self.platform.give(target, ask, key).await {
                EffectOutcome::Applied | EffectOutcome::AlreadyApplied => {
                    self.last.insert(target.clone(), (ask.clone(), *key));
                    return Ok(());
                }
                EffectOutcome::Retry { after_ms } => {
                    if !unsure {
                        let seen = self.look().await?;
                        self.is_at_rest("order.undone", target, &seen[target])?;
                    }
                    self.pass(after_ms.max(1)).await;
                    if !unsure {
                        let seen = self.look().await?;
                        self.is_at_rest("order.undone", target, &seen[target])?;
                    }
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

    /// A key of another generation, which is not to be taken.
    pub(super) fn strange_key(&mut self, generation: Generation, step: u8) -> EffectKey {
        EffectKey {
            attempt: self.next_attempt(),
            generation,
            step,
            ordinal: u8::MAX,
        }
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
    pub(super) async fn answer(
        &mut self,
        target: &TargetId,
        ask: &Ask,
        key: &EffectKey,
    ) -> Result<EffectOutcome, Breach> {
        for _ in 0..PATIENT_TRIES {
            match self.platform.give(target, ask, key).await {
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
        let mut answer = self.platform.give(target, ask, key);
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

    /// The targets that have not been killed: the first of them never is.
    pub(super) fn living(&self) -> Vec<TargetId> {
        let targets = self.subject.targets.iter();
        targets.filter(|target| !self.dead.contains(*target)).cloned().collect()
    }

    /// A target that lives.
    pub(super) fn alive(&self) -> TargetId {
        self.subject.targets[0].clone()
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

/// What was ordered still is so, or becomes so again, after the adapter was started anew.
async fn still_holds(platform: &Bounded<'_>, clock: &dyn Clock, subject: &Subject, left: &Left) -> Result<(), Breach> {
    let Left {
        target,
        rest,
        beside,
        committed,
        ..
    } = left;
    let config = |seen: &Observation| seen.config.as_ref().and_then(|config| config.acknowledged.clone());
    let until = clock.now().saturating_add(subject.patience_ms);
    loop {
        let seen = platform.observe(std::slice::from_ref(target)).await;
        let holds = |seen: &Observation| {
            seen.version == rest.version
                && (seen.ready, seen.ingress) == (rest.ready, rest.ingress)
                && config(seen) == config(rest)
        };
        let is_beside = |seen: &Observation| {
            beside.as_ref().is_none_or(|version| {
                let mut slots = seen.pair.iter().flat_map(|pair| &pair.slots);
                let slot = slots.find(|slot| slot.version.as_ref() == Some(version));
                slot.is_some_and(|slot| slot.ready && slot.committed == *committed)
            })
        };
        let one = seen.as_ref().ok().filter(|seen| seen.len() == 1).map(|seen| &seen[0]);
        let (held, beside_it) = one.map_or((false, false), |seen| (holds(seen), is_beside(seen)));
        if held && beside_it {
            return Ok(());
        }
        if clock.now() >= until {
            let told = format!("{target} was left as {rest:?} and is {seen:?}");
            let rule = match (held, committed) {
                (true, true) => "durable.commit",
                (true, false) => "durable.spawn",
                (false, _) => "durable.order",
            };
            return Err(Breach::new(rule, told));
        }
        clock.sleep_until(clock.now().saturating_add(subject.poll_ms)).await;
    }
}
