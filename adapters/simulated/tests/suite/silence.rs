//! Platforms whose calls never return: each kind of call in turn, at some targets, while others are under way.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use crate::support::{config, fleet};
use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::*;

pub(crate) const MODES: [Mode; 4] = [Mode::Warm, Mode::Cold, Mode::Hot, Mode::Config];
const TARGETS: usize = 36;
pub(crate) const CALL_MS: u64 = 30_000;
const POLL_MS: u64 = 5_000;

/// What becomes of an order that gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Done,
    /// It is done long after the caller has given it up.
    DoneLate,
}

type Effect = Box<dyn FnOnce() -> EffectOutcome + Send>;

struct Silent {
    sim: Arc<Simulated>,
    /// Which call hangs.
    call: &'static str,
    fate: Fate,
    /// No look is answered from then on.
    dark_from_ms: u64,
    late: Mutex<Vec<(u64, EffectKey, Effect)>>,
    looks: Mutex<usize>,
    /// How often each order was carried out.
    done: Mutex<BTreeMap<EffectKey, u32>>,
}

pub(crate) fn name(at: usize) -> TargetId {
    TargetId::from(format!("app-{}-{}", at / 6, at % 6).as_str())
}

/// The first targets are those at which calls hang: one of each mode.
fn hangs(target: &TargetId) -> bool {
    (0..MODES.len()).any(|at| name(at) == *target)
}

impl Silent {
    fn new(sim: &Arc<Simulated>, call: &'static str, fate: Fate) -> Self {
        Self {
            sim: Arc::clone(sim),
            call,
            fate,
            dark_from_ms: u64::MAX,
            late: Mutex::default(),
            looks: Mutex::default(),
            done: Mutex::default(),
        }
    }

    async fn order(&self, call: &str, target: &TargetId, key: EffectKey, effect: Effect) -> EffectOutcome {
        if call != self.call || !hangs(target) {
            return self.carry_out(key, effect);
        }
        match self.fate {
            Fate::Lost => {}
            Fate::Done => drop(self.carry_out(key, effect)),
            Fate::DoneLate => {
                let at_ms = self.sim.clock().now() + CALL_MS + 3 * POLL_MS;
                self.late.lock().push((at_ms, key, effect));
            }
        }
        pending().await
    }

    fn carry_out(&self, key: EffectKey, effect: Effect) -> EffectOutcome {
        let outcome = effect();
        if outcome == EffectOutcome::Applied {
            *self.done.lock().entry(key).or_default() += 1;
        }
        outcome
    }

    fn carry_out_late(&self) {
        let now = self.sim.clock().now();
        let (due, rest) = self.late.lock().drain(..).partition(|(at_ms, ..)| *at_ms <= now);
        *self.late.lock() = rest;
        let due: Vec<_> = due;
        for (_, key, effect) in due {
            self.carry_out(key, effect);
        }
    }

    async fn ask(&self, call: &str, targets: &[TargetId]) {
        self.carry_out_late();
        if call == self.call && targets.iter().any(hangs) {
            pending::<()>().await;
        }
    }
}

/// The simulated world answers at once.
fn effect(call: impl Future<Output = EffectOutcome> + Send + 'static) -> Effect {
    Box::new(move || call.now_or_never().unwrap())
}

macro_rules! owned {
    ($($name:ident),*) => { $(let $name = $name.to_owned();)* };
}

#[async_trait]
impl Platform for Silent {
    fn capabilities(&self) -> Capabilities {
        self.sim.capabilities()
    }
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        *self.looks.lock() += 1;
        self.ask("observe", targets).await;
        if self.sim.clock().now() >= self.dark_from_ms {
            return Err(PlatformError::Unavailable("no light".to_owned()));
        }
        self.sim.observe(targets).await
    }
    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.ask("ingress_barrier", targets).await;
        self.sim.ingress_barrier(targets).await
    }
    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.ask("probe", targets).await;
        self.sim.probe(targets).await
    }
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        if self.call == "fence" && hangs(target) {
            return pending().await;
        }
        self.sim.fence(target, generation).await
    }
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (
            target.clone(),
            async move { sim.replace(&target, &version, &given).await },
        );
        self.order("replace", &at, *key, effect(call)).await
    }
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (target.clone(), async move {
            sim.replace_in_place(&target, &version, &given).await
        });
        self.order("replace_in_place", &at, *key, effect(call)).await
    }
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (
            target.clone(),
            async move { sim.prefetch(&target, &version, &given).await },
        );
        self.order("prefetch", &at, *key, effect(call)).await
    }
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target);
        let (at, call) = (target.clone(), async move { sim.ingress(&target, order, &given).await });
        let name = if order == IngressOrder::Open { "open" } else { "close" };
        self.order(name, &at, *key, effect(call)).await
    }
    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (
            target.clone(),
            async move { sim.spawn(&target, &version, &given).await },
        );
        self.order("spawn", &at, *key, effect(call)).await
    }
    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target);
        let (at, call) = (target.clone(), async move { sim.stop(&target, instance, &given).await });
        self.order("stop", &at, *key, effect(call)).await
    }
    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (
            target.clone(),
            async move { sim.reset(&target, &version, &given).await },
        );
        self.order("reset", &at, *key, effect(call)).await
    }
    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, from, to);
        let at = target.clone();
        let call = async move { sim.hand_over(&target, order, &from, &to, &given).await };
        self.order("hand_over", &at, *key, effect(call)).await
    }
    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let (sim, given) = (Arc::clone(&self.sim), *key);
        owned!(target, version);
        let (at, call) = (target.clone(), async move {
            sim.apply_config(&target, &version, &given).await
        });
        self.order("apply_config", &at, *key, effect(call)).await
    }
}

pub(crate) fn world() -> Arc<Simulated> {
    let world = World {
        never_ready_share: 0.0,
        in_place_tail_factor: 1.0,
        cold_tail_factor: 1.0,
        ..World::calm()
    };
    let able = SimConfig::default().capabilities.with_slots().with_hand_over();
    let able = able.with_config().with_barrier().with_probe();
    Simulated::new(SimConfig {
        capabilities: able,
        ..config(fleet(6, 6), world, "good")
    })
    .unwrap()
}

pub(crate) fn settings() -> DriverConfig {
    DriverConfig::new().call_ms(CALL_MS).poll_ms(POLL_MS)
}

fn run(call: &'static str, fate: Fate) -> (Arc<Silent>, BTreeMap<TargetId, Receipt>) {
    run_with(settings(), call, fate)
}

/// All that ended, which is every attempt.
fn run_with(settings: DriverConfig, call: &'static str, fate: Fate) -> (Arc<Silent>, BTreeMap<TargetId, Receipt>) {
    let sim = world();
    let clock = sim.clock();
    let silent = Arc::new(Silent::new(&sim, call, fate));
    let journal = Arc::new(MemoryJournal::new());
    let mut driver = Driver::new(silent.clone(), journal, Arc::new(clock.clone()), settings).unwrap();
    for (at, mode) in (0..TARGETS).zip(MODES.into_iter().cycle()) {
        driver.submit(Job::new(name(at), "old", "new", mode)).unwrap();
    }
    let mut receipts = BTreeMap::new();
    let ended = sim.executor().run(async {
        loop {
            let turn = driver.turn(&mut |_| true).await.unwrap();
            for receipt in &turn.finished {
                let before = receipts.insert(receipt.target.clone(), receipt.clone());
                assert_eq!(before, None, "{call} {fate:?}: a second receipt");
            }
            assert_eq!(turn.blind > 0, turn.blind_since_ms.is_some());
            if driver.outstanding() == 0 {
                return;
            }
            assert!(
                clock.now() < 6 * 3_600_000,
                "{call} {fate:?}: it does not end: {driver:?}"
            );
            driver.attend(None).await;
        }
    });
    ended.unwrap();
    assert_eq!(receipts.len(), TARGETS, "{call} {fate:?}");
    (silent, receipts)
}

const ORDERS: [&str; 9] = [
    "replace",
    "replace_in_place",
    "prefetch",
    "close",
    "open",
    "spawn",
    "reset",
    "hand_over",
    "apply_config",
];

#[test]
fn an_order_without_an_answer_holds_up_nobody_and_is_done_once() {
    let (_, calm) = run("", Fate::Lost);
    assert!(calm.values().all(|receipt| receipt.terminal == Terminal::Done));
    let orders = ORDERS.into_iter().flat_map(|call| {
        let fates = [Fate::Lost, Fate::Done, Fate::DoneLate];
        fates.map(|fate| (call, fate))
    });
    for (call, fate) in orders.chain([("fence", Fate::Lost)]) {
        let (silent, receipts) = run(call, fate);
        let mut met = 0;
        for (target, receipt) in &receipts {
            let seen = silent.sim.observe(std::slice::from_ref(target)).now_or_never().unwrap();
            let closed = seen.unwrap()[0].ingress == Ingress::Closed;
            let told = matches!(receipt.terminal, Terminal::NeedsPerson { .. });
            assert!(told || !closed, "{call} {fate:?}: closed in silence: {receipt:?}");
            if hangs(target) {
                met += u32::from(*receipt != calm[target]);
                continue;
            }
            assert_eq!(receipt.terminal, Terminal::Done, "{call} {fate:?}: {target}");
            // A turn goes on without an answer when others are due.
            let late_ms = receipt.finished_ms - calm[target].finished_ms;
            assert!(
                late_ms <= POLL_MS,
                "{call} {fate:?}: {target} was held up for {late_ms} ms"
            );
        }
        assert!(met > 0, "{call} {fate:?}: nothing hung");
        let twice: Vec<_> = silent
            .done
            .lock()
            .clone()
            .into_iter()
            .filter(|(_, times)| *times > 1)
            .collect();
        assert_eq!(twice, [], "{call} {fate:?}");
    }
}

#[test]
fn a_look_without_an_answer_blinds_nobody_else_for_long() {
    let (_, calm) = run("", Fate::Lost);
    for call in ["observe", "ingress_barrier", "probe"] {
        let (_, receipts) = run(call, Fate::Lost);
        for (target, calm) in calm.iter().filter(|(target, _)| !hangs(target)) {
            let receipt = &receipts[target];
            assert_eq!(receipt.terminal, Terminal::Done, "{call}: {target}");
            // The looks of the four modes ask at four times: each finds out one target that hangs, by a look that many share,
            // and a part of that once more where it is a neighbour's.
            let late_ms = receipt.finished_ms - calm.finished_ms;
            assert!(
                late_ms < 5 * (CALL_MS + POLL_MS),
                "{call}: {target} was late by {late_ms} ms"
            );
        }
        if call != "observe" {
            // A closing that nobody confirms and an instance that does not answer are put back.
            continue;
        }
        for receipt in receipts.values().filter(|receipt| hangs(&receipt.target)) {
            let Terminal::NeedsPerson {
                reason: Reason::Unobservable { blind_ms },
                serving: Serving::Unknown,
                ingress: Ingress::Unknown,
            } = receipt.terminal
            else {
                panic!("{receipt:?}");
            };
            let patience_ms = Timing::default().blind_ms;
            assert_eq!(blind_ms, receipt.finished_ms - receipt.started_ms);
            assert!((patience_ms..patience_ms + CALL_MS + POLL_MS).contains(&blind_ms));
        }
    }
}

/// Nothing else is answered while the part with those at which calls hang goes on: everybody else has ended.
#[test]
fn a_part_is_divided_though_nobody_else_is_left() {
    // Four at which looks hang, or one, among these and their healthy neighbours.
    for first in [0, 3] {
        let sim = world();
        let clock = sim.clock();
        let silent = Arc::new(Silent::new(&sim, "observe", Fate::Lost));
        let journal = Arc::new(MemoryJournal::new());
        let mut driver = Driver::new(silent, journal, Arc::new(clock.clone()), settings()).unwrap();
        for at in first..TARGETS {
            // They run it already.
            driver.submit(Job::new(name(at), "new", "old", Mode::Cold)).unwrap();
        }
        let mut receipts = Vec::new();
        sim.executor()
            .run(async {
                while driver.outstanding() > 0 {
                    let turn = driver.turn(&mut |_| true).await.unwrap();
                    receipts.extend(turn.finished);
                    driver.attend(None).await;
                }
            })
            .unwrap();
        assert_eq!(receipts.len(), TARGETS - first);
        for receipt in receipts {
            let unseen = receipt.terminal != Terminal::Done;
            assert_eq!(unseen, hangs(&receipt.target), "{receipt:?}");
            assert!(unseen || receipt.finished_ms < 3 * (CALL_MS + POLL_MS), "{receipt:?}");
        }
    }
}

/// Each alone at last, but so many looks a turn at most.
#[test]
fn a_platform_that_refuses_every_look_is_not_asked_more_and_more() {
    let sim = world();
    let clock = sim.clock();
    let dark = Arc::new(Silent {
        dark_from_ms: 0,
        ..Silent::new(&sim, "", Fate::Lost)
    });
    let journal = Arc::new(MemoryJournal::new());
    let few = settings().max_effects(5);
    let mut driver = Driver::new(dark.clone(), journal, Arc::new(clock.clone()), few).unwrap();
    for at in 0..TARGETS {
        driver.submit(Job::new(name(at), "old", "new", Mode::Cold)).unwrap();
    }
    let mut receipts = Vec::new();
    let mut most = 0;
    sim.executor()
        .run(async {
            while driver.outstanding() > 0 {
                let before = *dark.looks.lock();
                let turn = driver.turn(&mut |_| true).await.unwrap();
                most = most.max(*dark.looks.lock() - before);
                receipts.extend(turn.finished);
                driver.attend(None).await;
            }
        })
        .unwrap();
    assert_eq!((receipts.len(), most), (TARGETS, 5));
}

/// With fewer places than targets at which calls hang: those take turns, and leave the others theirs.
#[test]
fn more_hanging_calls_than_places_starve_nobody() {
    let few = settings().max_effects(2);
    let (_, calm) = run_with(few.clone(), "", Fate::Lost);
    for call in ["observe", "probe", "prefetch", "fence"] {
        let (_, receipts) = run_with(few.clone(), call, Fate::Lost);
        for (target, calm) in calm.iter().filter(|(target, _)| !hangs(target)) {
            let receipt = &receipts[target];
            assert_eq!(receipt.terminal, Terminal::Done, "{call}: {target}");
            // The look that all shared hangs once, then each of the four in a part and alone, two at a time.
            let late_ms = receipt.finished_ms - calm.finished_ms;
            assert!(
                late_ms < 6 * (CALL_MS + POLL_MS),
                "{call}: {target} was late by {late_ms} ms"
            );
        }
    }
}

/// Nothing can be seen any more at some instant: every attempt ends, and says that nobody knows.
#[test]
fn blindness_at_any_time_ends_and_is_journaled() {
    let (_, calm) = run("", Fate::Lost);
    let longest = calm.values().map(|receipt| receipt.finished_ms).max().unwrap();
    for from_ms in (0..=longest).step_by(20_000) {
        let sim = world();
        let clock = sim.clock();
        let platform = Arc::new(Silent {
            dark_from_ms: from_ms,
            ..Silent::new(&sim, "", Fate::Lost)
        });
        let journal = Arc::new(MemoryJournal::new());
        let mut timing = Timing::default();
        timing.blind_ms = 600_000;
        let new = || {
            let clock = Arc::new(clock.clone());
            Driver::new(
                platform.clone(),
                journal.clone(),
                clock,
                settings().timing(timing.clone()),
            )
            .unwrap()
        };
        let mut driver = new();
        for (at, mode) in (0..8).zip(MODES.into_iter().cycle()) {
            driver.submit(Job::new(name(at), "old", "new", mode)).unwrap();
        }
        let mut receipts = Vec::new();
        sim.executor()
            .run(async {
                while driver.outstanding() > 0 {
                    let turn = driver.turn(&mut |_| true).await.unwrap();
                    receipts.extend(turn.finished);
                    driver.attend(None).await;
                }
            })
            .unwrap();
        assert_eq!(receipts.len(), 8, "dark from {from_ms} ms on");
        for receipt in &receipts {
            let unseen = matches!(
                receipt.terminal,
                Terminal::NeedsPerson {
                    reason: Reason::Unobservable { .. },
                    ..
                }
            );
            let before = receipt.finished_ms <= from_ms;
            assert_ne!(unseen, before, "dark from {from_ms} ms on: {receipt:?}");
        }
        // What has ended so is not taken up again.
        let mut next = new();
        let mut read = next.recover().now_or_never().unwrap().unwrap();
        read.sort_by_key(|receipt| receipt.attempt);
        receipts.sort_by_key(|receipt| receipt.attempt);
        assert_eq!((read, next.outstanding()), (receipts, 0));
    }
}
