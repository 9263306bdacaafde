//! A small world on virtual time that can stop at any append and at any effect, and that checks what it is told.
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use crate::mouths::Mouths;
use crate::pair::{self, self_check};
use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_upgrade::*;

/// Stops whoever asks at a numbered boundary, which is every await of a turn: its future never completes, and the test drops it.
#[derive(Debug, Default)]
pub(crate) struct Kill {
    passed: AtomicU64,
    at: Mutex<BTreeSet<u64>>,
}

impl Kill {
    pub(crate) fn at(points: impl IntoIterator<Item = u64>) -> Arc<Self> {
        Arc::new(Self {
            passed: AtomicU64::new(0),
            at: Mutex::new(points.into_iter().collect()),
        })
    }

    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    async fn boundary(&self) {
        let here = self.passed.fetch_add(1, Ordering::Relaxed);
        if self.at.lock().remove(&here) {
            std::future::pending::<()>().await;
        }
    }
}

/// Stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    now: AtomicU64,
    sleepers: Mutex<BTreeMap<(u64, u64), Waker>>,
    slept: AtomicU64,
}

impl TestClock {
    pub(crate) fn set(&self, now: u64) {
        assert!(now >= self.now());
        self.now.store(now, Ordering::Relaxed);
        let later = self.sleepers.lock().split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut *self.sleepers.lock(), later);
        due.into_values().for_each(Waker::wake);
    }

    /// When the first sleeper is to wake, of those that may still wait.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.sleepers.lock().keys().next().map(|(at_ms, _)| *at_ms)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn wall(&self) -> i64 {
        0
    }

    async fn sleep_until(&self, at_ms: u64) {
        let number = self.slept.fetch_add(1, Ordering::Relaxed);
        poll_fn(|context| {
            if self.now() >= at_ms {
                return Poll::Ready(());
            }
            self.sleepers.lock().insert((at_ms, number), context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A memory journal with a boundary before and after each append, that can also refuse, or do what it is asked and not say so.
#[derive(Debug)]
pub(crate) struct TestJournal {
    pub(crate) inner: MemoryJournal,
    pub(crate) kill: Arc<Kill>,
    pub(crate) refuse: Mutex<bool>,
    pub(crate) lose_answers: Mutex<bool>,
}

impl TestJournal {
    /// Some appends fail.
    pub(crate) fn is_ill(&self) -> bool {
        *self.refuse.lock() || *self.lose_answers.lock()
    }
}

#[async_trait]
impl Journal for TestJournal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if *self.refuse.lock() {
            return Err(JournalError::Io("no space".to_owned()));
        }
        self.kill.boundary().await;
        let position = self.inner.append(group).await;
        self.kill.boundary().await;
        if *self.lose_answers.lock() {
            return Err(JournalError::Io("connection reset".to_owned()));
        }
        position
    }

    // One step, as it is where it counts: no boundary between the look and the append.
    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        let found = self.inner.end().await?;
        if found != expected {
            return Err(JournalError::NotAtEnd { expected, found });
        }
        self.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.inner.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.kill.boundary().await;
        self.inner.end().await
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) running: Version,
    pub(crate) instance: u64,
    pub(crate) closed: bool,
    /// Ordered, and when it begins: then stopped for 2 s, starting for 3 s.
    pub(crate) ordered: Option<(Version, u64)>,
    pub(crate) active: u32,
    pub(crate) ready: bool,
    pub(crate) gone: bool,
    /// Whoever can run beside it.
    pub(crate) pair: pair::Pair,
    pub(crate) config: Version,
    pub(crate) refused: Option<Version>,
}

impl Slot {
    /// What serves, and its instance.
    pub(crate) fn serving(&self) -> (Version, u64) {
        let second = self.pair.committed();
        second.map_or_else(
            || (self.running.clone(), self.instance),
            |(version, instance)| (version.clone(), instance),
        )
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) slots: BTreeMap<TargetId, Slot>,
    fenced: BTreeMap<TargetId, Generation>,
    pub(crate) applied: BTreeSet<EffectKey>,
    pub(crate) sent: Vec<(TargetId, String, EffectKey)>,
    intents: BTreeSet<(AttemptId, u8, u8)>,
    read_to: Position,
    pub(crate) blind: bool,
    /// Nothing runs there, whatever was ordered.
    pub(crate) stopped: BTreeSet<TargetId>,
    /// Leave the last observation out.
    pub(crate) short: bool,
    /// Answers to give instead of acting, by the start of the effect's name.
    pub(crate) answers: BTreeMap<&'static str, EffectOutcome>,
    pub(crate) looks: u64,
    pub(crate) mouths: Mouths,
    pub(crate) probes: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) journal: Arc<TestJournal>,
    pub(crate) kill: Arc<Kill>,
    pub(crate) state: Mutex<State>,
    pub(crate) capabilities: Capabilities,
}

impl World {
    pub(crate) fn new(kill: Arc<Kill>, capabilities: Capabilities) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::default(),
            journal: Arc::new(TestJournal {
                inner: MemoryJournal::new(),
                kill: Arc::clone(&kill),
                refuse: Mutex::new(false),
                lose_answers: Mutex::new(false),
            }),
            kill,
            state: Mutex::default(),
            capabilities,
        })
    }

    pub(crate) fn able() -> Capabilities {
        Capabilities::none()
            .with_fence()
            .with_ingress()
            .with_in_place()
            .with_prefetch()
    }

    pub(crate) fn add(&self, name: &str) -> TargetId {
        let target = TargetId::from(name);
        self.state.lock().slots.insert(
            target.clone(),
            Slot {
                running: "old".into(),
                instance: 1,
                closed: false,
                ordered: None,
                active: 0,
                ready: true,
                gone: false,
                pair: pair::Pair::new(),
                config: "old".into(),
                refused: None,
            },
        );
        target
    }

    pub(crate) fn change(&self, target: &TargetId, change: impl FnOnce(&mut Slot)) {
        change(self.state.lock().slots.get_mut(target).unwrap());
    }

    pub(crate) fn slot(&self, target: &TargetId) -> Slot {
        self.state.lock().slots[target].clone()
    }

    /// Law 7: whatever arrives here was written down before.
    fn check_intent(&self, key: &EffectKey) {
        self.note_intents();
        let state = self.state.lock();
        assert!(
            state.intents.contains(&(key.attempt, key.step, key.ordinal)),
            "{key} came without an intent"
        );
    }

    /// Reads what was journaled since the last time. Before a compaction it must be called by hand.
    pub(crate) fn note_intents(&self) {
        let mut state = self.state.lock();
        let groups = self
            .journal
            .inner
            .read(state.read_to, usize::MAX)
            .now_or_never()
            .unwrap()
            .unwrap();
        for (position, group) in groups {
            state.read_to = position + Position::from(group.len());
            for record in group.records().filter(|record| record.stream == Stream::UPGRADE) {
                if let UpgradeRecord::Intent {
                    attempt, step, ordinal, ..
                } = UpgradeRecord::decode(record.kind, record.bytes).unwrap()
                {
                    state.intents.insert((attempt, step.number(), ordinal));
                }
            }
        }
    }

    async fn act(
        &self,
        target: &TargetId,
        what: String,
        key: &EffectKey,
        act: impl FnOnce(&mut Slot, u64) + Send,
    ) -> EffectOutcome {
        self.check_intent(key);
        self.kill.boundary().await;
        let outcome = {
            let mut state = self.state.lock();
            let answer = state.answers.iter().find(|(name, _)| what.starts_with(*name));
            let answer = answer.map(|(_, answer)| answer.clone());
            state.sent.push((target.clone(), what, *key));
            let fenced = state.fenced.get(target).copied().unwrap_or_default();
            assert!(
                !self.capabilities.fence || fenced >= key.generation,
                "{key} before its fence"
            );
            if key.generation < fenced {
                EffectOutcome::Stale
            } else if let Some(answer) = answer {
                answer
            } else if !state.applied.insert(*key) {
                EffectOutcome::AlreadyApplied
            } else {
                act(state.slots.get_mut(target).unwrap(), self.clock.now());
                EffectOutcome::Applied
            }
        };
        self.kill.boundary().await;
        outcome
    }

    pub(crate) fn driver(self: &Arc<Self>) -> TestDriver {
        self.driver_with(DriverConfig::new().max_in_flight(10))
    }

    pub(crate) fn driver_with(self: &Arc<Self>, config: DriverConfig) -> TestDriver {
        Driver::new(self.clone(), self.journal.clone(), self.clock.clone(), config).unwrap()
    }

    /// A new driver that has read the journal; with the receipts it found.
    pub(crate) fn recovered(self: &Arc<Self>) -> (TestDriver, Vec<Receipt>) {
        let mut driver = self.driver();
        let mut receipts = Vec::new();
        for (_, group) in self.groups() {
            for record in group.records() {
                receipts.extend(driver.replay(&record).unwrap());
            }
        }
        driver.resume(self.end()).unwrap();
        (driver, receipts)
    }

    /// How many attempts of a group are under way, by the journal.
    pub(crate) fn under_way(&self, wanted: &str) -> usize {
        let mut open = BTreeSet::new();
        read_journal(self.journal.as_ref(), |_, record| {
            match UpgradeRecord::decode(record.kind, record.bytes)? {
                UpgradeRecord::Begun { attempt, group, .. }
                    if group.as_ref().map_or("", GroupName::as_str) == wanted =>
                {
                    open.insert(attempt);
                }
                UpgradeRecord::Finished { attempt, .. } => drop(open.remove(&attempt)),
                _ => {}
            }
            Ok::<(), DriverError>(())
        })
        .now_or_never()
        .unwrap()
        .unwrap();
        open.len()
    }

    pub(crate) fn end(&self) -> Position {
        self.journal.inner.end().now_or_never().unwrap().unwrap()
    }

    pub(crate) fn groups(&self) -> Vec<(Position, Group)> {
        self.journal.inner.read(0, usize::MAX).now_or_never().unwrap().unwrap()
    }

    /// Turns until nothing is outstanding.
    pub(crate) fn run(self: &Arc<Self>, driver: &mut TestDriver) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for _ in 0..2_000 {
            let turn = driver.turn(&mut |_| true).now_or_never().expect("not killed").unwrap();
            receipts.extend(turn.finished);
            match turn.next_due_ms {
                Some(due) => self.clock.set(due.max(self.clock.now())),
                None => return receipts,
            }
        }
        panic!("it does not end: {driver:?}");
    }
}

/// One turn, and the clock is set to when the next is due.
pub(crate) fn turn(world: &World, driver: &mut TestDriver) -> Turn {
    let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
    if let Some(due) = turn.next_due_ms {
        world.clock.set(due.max(world.clock.now()));
    }
    turn
}

pub(crate) type TestDriver = Driver;

#[async_trait]
impl Platform for World {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.kill.boundary().await;
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.blind {
            return Err(PlatformError::Unavailable("a cable".to_owned()));
        }
        let targets = if state.short { &targets[1..] } else { targets };
        state.looks += u64::try_from(targets.len()).unwrap();
        Ok(targets
            .iter()
            .map(|target| {
                let is_stopped = state.stopped.contains(target);
                let slot = state.slots.get_mut(target).unwrap();
                let mut phase = if slot.gone { Phase::Gone } else { Phase::Running };
                if let Some((version, at)) = &slot.ordered {
                    if now >= at + 5_000 {
                        slot.running = version.clone();
                        slot.instance += 1;
                        slot.active = 0;
                        slot.ready = true;
                        slot.ordered = None;
                    } else if now >= at + 2_000 {
                        phase = Phase::Starting;
                    } else if now >= *at {
                        phase = Phase::Stopped;
                    }
                }
                if is_stopped {
                    phase = Phase::Stopped;
                }
                let running = phase == Phase::Running;
                let is_bad = |version: &Version| *version == "bad".into();
                let bad = is_bad(&slot.running);
                let first = SlotSeen {
                    version: Some(slot.running.clone()),
                    phase,
                    instance: running.then_some(InstanceId(slot.instance)),
                    ready: running && slot.ready && !bad,
                    self_check: if running {
                        self_check(bad)
                    } else {
                        SelfCheck::Unreported
                    },
                    ..SlotSeen::empty()
                };
                let (version, instance) = slot.serving();
                let is_second = slot.pair.committed().is_some();
                let bad = is_bad(&version);
                let runs = running || is_second;
                Observation {
                    phase: if is_second { Phase::Running } else { phase },
                    version: runs.then_some(version),
                    instance: runs.then_some(InstanceId(instance)),
                    ready: runs && (slot.ready || is_second) && !bad,
                    self_check: if runs { self_check(bad) } else { SelfCheck::Unreported },
                    ingress: if slot.closed { Ingress::Closed } else { Ingress::Open },
                    active: Some(if running { slot.active } else { 0 }),
                    pair: self.capabilities.slots.then(|| Box::new(slot.pair.seen(first, is_bad))),
                    config: self.capabilities.config.then(|| {
                        Box::new(ConfigSeen {
                            acknowledged: Some(slot.config.clone()),
                            refused: slot.refused.clone().map(|version| (version, "no".into())),
                        })
                    }),
                }
            })
            .collect())
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let seen = self.observe(targets).await?;
        let mut state = self.state.lock();
        state.probes += 1;
        Ok(seen.iter().map(|seen| state.mouths.say(seen, state.probes)).collect())
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.kill.boundary().await;
        let outcome = {
            let mut state = self.state.lock();
            let fenced = state.fenced.entry(target.clone()).or_default();
            if generation < *fenced {
                EffectOutcome::Stale
            } else {
                *fenced = generation;
                EffectOutcome::Applied
            }
        };
        self.kill.boundary().await;
        outcome
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let version = version.clone();
        self.act(target, format!("replace {version}"), key, |slot, now| {
            slot.ordered = Some((version, now + 1_000));
        })
        .await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let version = version.clone();
        let restoring = key.step == Step::Restoring.number();
        self.act(target, format!("swap {version}"), key, |slot, now| {
            // On the way back a way that cannot be closed is no reason to leave what is bad.
            assert!(slot.closed || restoring, "swapped under traffic");
            slot.ordered = Some((version, now + 1_000));
        })
        .await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.act(target, format!("prefetch {version}"), key, |_, _| {}).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let version = version.clone();
        self.act(target, format!("spawn {version}"), key, |slot, now| {
            slot.pair.spawn(&slot.running, &version, 1_000_000 + now);
        })
        .await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.act(target, "stop".to_owned(), key, |slot, _| {
            if slot.instance == instance.0 {
                slot.instance += 1;
                slot.pair.restart(false);
            }
        })
        .await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let version = version.clone();
        self.act(target, format!("reset {version}"), key, |slot, _| {
            if let Some((version, instance)) = slot.pair.reset(&slot.running, &version) {
                (slot.running, slot.instance) = (version, instance);
            }
        })
        .await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        let (from, to) = (from.clone(), to.clone());
        self.act(target, format!("hand over {order:?}").to_lowercase(), key, |slot, _| {
            slot.pair.hand_over(order, &slot.running, &from, &to);
        })
        .await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let version = version.clone();
        self.act(target, format!("config {version}"), key, |slot, _| {
            if version == "bad".into() {
                slot.refused = Some(version);
            } else {
                (slot.config, slot.refused) = (version, None);
            }
        })
        .await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let close = matches!(order, IngressOrder::Close { .. });
        let what = if close { "close" } else { "open" };
        self.act(target, what.to_owned(), key, |slot, _| slot.closed = close)
            .await
    }
}

pub(crate) fn job(target: &TargetId, to: &str, mode: Mode) -> Job {
    Job::new(target.clone(), "old", to, mode)
}
