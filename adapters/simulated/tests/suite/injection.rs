//! A controller that falls at every await of its driver, in every mode, in fair weather and foul, whatever the platform can be
//! asked.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{config, fleet, id};
use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::*;

/// How the controller falls at a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fall {
    /// Before it is done.
    Before,
    /// After it was done, before that was heard.
    Unreported,
    /// As before; and it is delivered once more, late, when the next controller is at work.
    Duplicated,
}

/// What else is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Orders get lost, are not answered, come late, come twice.
    Lossy,
    /// The new version crashes.
    Crashing,
    /// Nothing new ever gets ready.
    NeverReady,
    /// Looks are not answered now and then, and processes restart by themselves, though rarely.
    Restless,
}

#[derive(Clone, Debug)]
enum Sent {
    Fence(Generation),
    Replace(Version, EffectKey),
    InPlace(Version, EffectKey),
    Prefetch(Version, EffectKey),
    Ingress(IngressOrder, EffectKey),
    Spawn(Version, EffectKey),
    Stop(InstanceId, EffectKey),
    Reset(Version, EffectKey),
    HandOver(HandoverOrder, Version, Version, EffectKey),
    Config(Version, EffectKey),
}

#[derive(Debug, Default)]
struct State {
    passed: usize,
    barriers: usize,
    probes: usize,
    fall: Option<(usize, Fall)>,
    /// On its way since the fall.
    late: Option<(usize, Sent)>,
    applied: BTreeSet<EffectKey>,
}

/// The simulated world with a boundary at every append and every effect.
struct Boundary {
    sim: Arc<Simulated>,
    journal: MemoryJournal,
    target: TargetId,
    state: Mutex<State>,
}

impl Boundary {
    async fn perform(&self, sent: &Sent) -> EffectOutcome {
        let (sim, target) = (&self.sim, &self.target);
        match sent {
            Sent::Fence(generation) => sim.fence(target, *generation).await,
            Sent::Replace(version, key) => sim.replace(target, version, key).await,
            Sent::InPlace(version, key) => sim.replace_in_place(target, version, key).await,
            Sent::Prefetch(version, key) => sim.prefetch(target, version, key).await,
            Sent::Ingress(order, key) => sim.ingress(target, *order, key).await,
            Sent::Spawn(version, key) => sim.spawn(target, version, key).await,
            Sent::Stop(instance, key) => sim.stop(target, *instance, key).await,
            Sent::Reset(version, key) => sim.reset(target, version, key).await,
            Sent::HandOver(order, from, to, key) => sim.hand_over(target, *order, from, to, key).await,
            Sent::Config(version, key) => sim.apply_config(target, version, key).await,
        }
    }

    /// The number of this boundary, and whether and how the controller falls here.
    fn boundary(&self) -> (usize, Option<Fall>) {
        let mut state = self.state.lock();
        let here = state.passed;
        state.passed += 1;
        let falls = state.fall.take_if(|(at, _)| *at == here);
        (here, falls.map(|(_, fall)| fall))
    }

    /// A look or another question: the controller falls while it waits for the answer, or it does not.
    async fn question(&self) {
        if self.boundary().1.is_some() {
            std::future::pending::<()>().await;
        }
    }

    async fn send(&self, sent: Sent, key: Option<&EffectKey>) -> EffectOutcome {
        let (here, falls) = self.boundary();
        // Behind the fence of the next controller.
        let fenced = !matches!(sent, Sent::Fence(_));
        let late = self.state.lock().late.take_if(|(from, _)| fenced && here > *from);
        if let Some((_, late)) = late {
            let outcome = self.perform(&late).await;
            assert!(
                !matches!(outcome, EffectOutcome::Applied) || matches!(late, Sent::Fence(_)),
                "{late:?} was obeyed after its controller had been fenced"
            );
        }
        if falls == Some(Fall::Before) {
            return std::future::pending().await;
        }
        let outcome = self.perform(&sent).await;
        if let (Some(key), EffectOutcome::Applied) = (key, &outcome) {
            assert!(self.state.lock().applied.insert(*key), "{key} was applied twice");
        }
        match falls {
            Some(Fall::Duplicated)
                if !matches!(outcome, EffectOutcome::Retry { .. } | EffectOutcome::Failed { .. }) =>
            {
                self.state.lock().late = Some((here, sent));
                std::future::pending().await
            }
            Some(_) => std::future::pending().await,
            None => outcome,
        }
    }
}

#[async_trait]
impl Platform for Boundary {
    fn capabilities(&self) -> Capabilities {
        self.sim.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.question().await;
        self.sim.observe(targets).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.question().await;
        self.state.lock().barriers += 1;
        self.sim.ingress_barrier(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.question().await;
        self.state.lock().probes += 1;
        self.sim.probe(targets).await
    }

    async fn fence(&self, _: &TargetId, generation: Generation) -> EffectOutcome {
        self.send(Sent::Fence(generation), None).await
    }

    async fn replace(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Replace(version.clone(), *key), Some(key)).await
    }

    async fn replace_in_place(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::InPlace(version.clone(), *key), Some(key)).await
    }

    async fn prefetch(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Prefetch(version.clone(), *key), Some(key)).await
    }

    async fn ingress(&self, _: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Ingress(order, *key), Some(key)).await
    }

    async fn spawn(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Spawn(version.clone(), *key), Some(key)).await
    }

    async fn stop(&self, _: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Stop(instance, *key), Some(key)).await
    }

    async fn reset(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Reset(version.clone(), *key), Some(key)).await
    }

    async fn hand_over(
        &self,
        _: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        self.send(Sent::HandOver(order, from.clone(), to.clone(), *key), Some(key))
            .await
    }

    async fn apply_config(&self, _: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.send(Sent::Config(version.clone(), *key), Some(key)).await
    }
}

#[async_trait]
impl Journal for Boundary {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let (_, falls) = self.boundary();
        if falls == Some(Fall::Before) {
            return std::future::pending().await;
        }
        let position = self.journal.append(group).await;
        match falls {
            Some(_) => std::future::pending().await,
            None => position,
        }
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.journal.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.journal.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.journal.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.question().await;
        self.journal.end().await
    }
}

fn world(weather: Weather) -> World {
    let calm = World {
        never_ready_share: 0.0,
        fault_observe: 0.0,
        restarts_per_target_day: 0.0,
        deaths_per_target_day: 0.0,
        in_place_tail_factor: 1.0,
        cold_tail_factor: 1.0,
        ..World::calm()
    };
    match weather {
        Weather::Fair | Weather::Crashing => calm,
        Weather::Lossy => World {
            fault_lost: 0.15,
            fault_unreported: 0.15,
            fault_twice: 0.1,
            fault_late: 0.1,
            ..calm
        },
        Weather::NeverReady => World {
            never_ready_share: 1.0,
            ..calm
        },
        Weather::Restless => World {
            fault_observe: 0.2,
            restarts_per_target_day: 24.0,
            ..calm
        },
    }
}

/// One upgrade to its end, with a fall on the way; gives the receipt and how many boundaries there were. Where the platform
/// can be asked for barriers and by probes, it is.
fn run(mode: Mode, weather: Weather, asked: bool, fall: Option<(usize, Fall)>) -> (Receipt, usize) {
    let what = format!("{mode} in {weather:?} weather (asked: {asked}), falling at {fall:?}");
    let release = if weather == Weather::Crashing { "crash" } else { "good" };
    let capabilities = SimConfig::default().capabilities;
    let capabilities = capabilities.with_slots().with_hand_over().with_config();
    let sim = Simulated::new(SimConfig {
        capabilities: if asked {
            capabilities.with_barrier().with_probe()
        } else {
            capabilities
        },
        ..config(fleet(1, 1), world(weather), release)
    })
    .unwrap();
    let (clock, target) = (sim.clock(), id("app-0-0"));
    let world = Arc::new(Boundary {
        sim: Arc::clone(&sim),
        journal: MemoryJournal::new(),
        target: target.clone(),
        state: Mutex::new(State {
            fall,
            ..State::default()
        }),
    });
    let driver = || {
        let clock = Arc::new(clock.clone());
        Driver::new(world.clone(), world.clone(), clock, DriverConfig::new()).unwrap()
    };
    let job = || Job::new(target.clone(), "old", "new", mode);
    let mut controller = driver();
    controller.submit(job()).unwrap();
    let mut receipts: Vec<Receipt> = Vec::new();
    for round in 0.. {
        assert!(round < 3_000, "{what}: it does not end");
        let Some(turn) = controller.turn(&mut |_| true).now_or_never() else {
            controller = driver();
            let ended = controller.recover().now_or_never().unwrap().unwrap();
            assert!(receipts.is_empty() || ended == receipts, "{what}: {ended:?}");
            receipts = ended;
            if receipts.is_empty() && controller.outstanding() == 0 {
                // Nothing of it was durable: its caller submits it anew.
                controller.submit(job()).unwrap();
            }
            continue;
        };
        let turn = turn.unwrap();
        receipts.extend(turn.finished);
        if controller.outstanding() == 0 {
            break;
        }
        // Nothing wakes anybody here: what gets no answer is asked for from time to time.
        let due = turn.next_due_ms.unwrap_or_else(|| clock.now() + 5_000);
        clock.advance_to(due.max(clock.now()));
    }
    assert_eq!(receipts.len(), 1, "{what}: {receipts:?}");
    let receipt = receipts.remove(0);
    let look = || sim.observe(std::slice::from_ref(&target)).now_or_never().unwrap();
    if let Terminal::NeedsPerson {
        reason,
        serving,
        ingress,
    } = &receipt.terminal
    {
        let seen = (0..1_000).find_map(|_| look().ok()).unwrap().remove(0);
        person_is_told_the_truth(reason, (*serving, *ingress), &seen, &what);
    }
    // What still is under way comes to rest, and everything is as the receipt says.
    clock.advance_to(clock.now() + 600_000);
    let mut seen = Err(PlatformError::Garbled(String::new()));
    for _ in 0..50 {
        seen = look();
        clock.advance_to(clock.now() + 1_000);
        if seen
            .as_ref()
            .is_ok_and(|seen| seen[0].ready || weather == Weather::NeverReady)
        {
            break;
        }
    }
    let seen = seen.unwrap().remove(0);
    let acknowledged = seen.config.as_ref().and_then(|config| config.acknowledged.clone());
    let runs = if mode == Mode::Config {
        acknowledged
    } else {
        seen.version.clone()
    };
    let is = |wanted: &str| runs.as_ref().is_some_and(|version| version.as_str() == wanted);
    match &receipt.terminal {
        Terminal::Done => assert!(is("new") && seen.ready, "{what}: {receipt:?} {seen:?}"),
        Terminal::RolledBack { .. } => assert!(is("old") && seen.ready, "{what}: {receipt:?} {seen:?}"),
        Terminal::NeedsPerson { .. } => return (receipt, world.state.lock().passed),
        Terminal::Rejected { .. } => assert!(is("old") || mode == Mode::Config, "{what}: {receipt:?} {seen:?}"),
        Terminal::Gone | Terminal::Superseded => assert_eq!(None, Some(&receipt), "{what}"),
    }
    assert_eq!(seen.ingress, Ingress::Open, "{what}: {receipt:?}");
    if receipt.terminal == Terminal::Done {
        let state = world.state.lock();
        let found = (state.barriers > 0, state.probes > 0);
        assert_eq!(found, (asked && mode == Mode::Warm, asked), "{what}: barriers, probes");
    }
    let pair = seen.pair.unwrap();
    let empty = pair.slots.iter().filter(|slot| slot.is_empty()).count();
    assert_eq!(empty, 1, "{what}: one slot is live and one is empty: {pair:?}");
    assert!(pair.slots.iter().any(|slot| slot.accepting), "{what}: {pair:?}");
    (receipt, world.state.lock().passed)
}

/// What the receipt says of traffic is so at that instant.
fn person_is_told_the_truth(reason: &Reason, told: (Serving, Ingress), seen: &Observation, what: &str) {
    let (serving, ingress) = told;
    if matches!(reason, Reason::Unobservable { .. }) {
        assert_eq!(told, (Serving::Unknown, Ingress::Unknown), "{what}");
        return;
    }
    let slots = seen.pair.as_ref().unwrap().slots.iter();
    let ready = slots.filter(|slot| slot.ready && slot.accepting).count() > 0;
    let what = format!("{what}: {reason:?} {told:?} {seen:?}");
    assert!(ingress == seen.ingress || ingress == Ingress::Unknown, "{what}");
    match serving {
        Serving::Yes => assert!(ready && seen.ingress == Ingress::Open, "{what}"),
        Serving::No => assert!(!ready || seen.ingress == Ingress::Closed, "{what}"),
        Serving::Unknown => assert_eq!(ingress, Ingress::Unknown, "{what}"),
    }
}

fn every_fall(mode: Mode) {
    for weather in [
        Weather::Fair,
        Weather::Lossy,
        Weather::Crashing,
        Weather::NeverReady,
        Weather::Restless,
    ] {
        for asked in [false, true] {
            every_fall_in(mode, weather, asked);
        }
    }
}

fn every_fall_in(mode: Mode, weather: Weather, asked: bool) {
    let (undisturbed, boundaries) = run(mode, weather, asked, None);
    match weather {
        Weather::Fair => assert_eq!(undisturbed.terminal, Terminal::Done, "{undisturbed:?}"),
        Weather::Crashing if mode != Mode::Config => assert!(
            matches!(undisturbed.terminal, Terminal::RolledBack { .. }),
            "{undisturbed:?}"
        ),
        _ => {}
    }
    // Only where nothing comes up again, not even what was there before.
    let asks = weather == Weather::NeverReady && matches!(mode, Mode::Cold | Mode::Warm);
    for at in 0..boundaries {
        for fall in [Fall::Before, Fall::Unreported, Fall::Duplicated] {
            let (receipt, _) = run(mode, weather, asked, Some((at, fall)));
            let asked = matches!(receipt.terminal, Terminal::NeedsPerson { .. });
            assert_eq!(
                asked, asks,
                "{mode} in {weather:?} weather, {fall:?} at {at}: {receipt:?}"
            );
            if weather == Weather::Fair {
                // A fall alone is nobody's fault and stops nothing.
                let what = format!("{mode}, {fall:?} at {at}: {receipt:?}");
                assert_eq!(receipt.terminal, Terminal::Done, "{what}");
            }
            if weather == Weather::Crashing && mode != Mode::Config {
                assert!(
                    matches!(receipt.terminal, Terminal::RolledBack { .. }),
                    "{mode}, {fall:?} at {at}: {receipt:?}"
                );
            }
        }
    }
}

#[test]
fn cold() {
    every_fall(Mode::Cold);
}

#[test]
fn warm() {
    every_fall(Mode::Warm);
}

#[test]
fn hot() {
    every_fall(Mode::Hot);
}

#[test]
fn configurations() {
    every_fall(Mode::Config);
}
