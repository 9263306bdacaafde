//! Ways that are closed as soon as all consumers know, and have been quiet for long enough since.
use std::sync::Arc;

use crate::support::{Kill, TestDriver, World, job, turn};
use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_upgrade::*;

/// Consumers are known to know, and connections cannot be counted.
struct Barred {
    world: Arc<World>,
    /// A consumer is there that does not know.
    has_newcomer: Mutex<bool>,
}

#[async_trait]
impl Platform for Barred {
    fn capabilities(&self) -> Capabilities {
        self.world.capabilities()
    }
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.world.observe(targets).await
    }
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.world.replace(target, version, key).await
    }
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.world.replace_in_place(target, version, key).await
    }
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.world.fence(target, generation).await
    }
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.world.prefetch(target, version, key).await
    }
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.world.ingress(target, order, key).await
    }
    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        Ok(targets
            .iter()
            .map(|target| Barrier {
                told: self.world.slot(target).closed && !*self.has_newcomer.lock(),
                quiet_ms: None,
            })
            .collect())
    }
}

/// A warm upgrade of one target, looked at ten times a second.
fn closing() -> (Arc<Barred>, TestDriver, TargetId) {
    let world = World::new(Kill::at([]), World::able().with_barrier());
    let a = world.add("a");
    let (journal, clock) = (world.journal.clone(), world.clock.clone());
    let has_newcomer = Mutex::new(false);
    let barred = Arc::new(Barred { world, has_newcomer });
    let config = DriverConfig::new().poll_ms(100);
    let mut driver = Driver::new(barred.clone(), journal, clock, config).unwrap();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    (barred, driver, a)
}

#[test]
fn a_second_closing_holds_as_long_as_the_first() {
    let (barred, mut driver, a) = closing();
    let world = &barred.world;
    let mut closed_at = None;
    let mut held = Vec::new();
    let mut cancelled = false;
    let mut swaps = 0;
    for _ in 0..20_000 {
        turn(world, &mut driver);
        let now = world.clock.now();
        let slot = world.slot(&a);
        if slot.closed {
            closed_at.get_or_insert(now);
        } else {
            closed_at = None;
        }
        let sent = world
            .state
            .lock()
            .sent
            .iter()
            .filter(|(_, what, _)| what.starts_with("swap"))
            .count();
        if sent > swaps {
            swaps = sent;
            held.push(now - closed_at.unwrap());
        }
        if swaps == 1 && !slot.closed && slot.running == "new".into() && !cancelled {
            cancelled = true;
            driver.cancel(&a, "li");
        }
        if driver.outstanding() == 0 {
            break;
        }
    }
    assert_eq!(held.len(), 2);
    assert!(
        held.iter().all(|ms| *ms >= 2_000),
        "held for {held:?} ms; two quiet seconds are wanted"
    );
}

/// From when all consumers know again the way is to be quiet in full.
#[test]
fn a_consumer_that_comes_late_begins_the_quiet_anew() {
    let (barred, mut driver, a) = closing();
    let world = &barred.world;
    let turns_until = |driver: &mut TestDriver, is_so: &dyn Fn() -> bool| {
        for _ in 0..1_000 {
            if is_so() {
                return;
            }
            turn(world, driver);
        }
        panic!("it does not come to that at {} ms", world.clock.now());
    };
    turns_until(&mut driver, &|| world.slot(&a).closed);
    let closed_ms = world.clock.now();
    turns_until(&mut driver, &|| world.clock.now() >= closed_ms + 1_500);
    *barred.has_newcomer.lock() = true;
    turns_until(&mut driver, &|| world.clock.now() >= closed_ms + 1_700);
    *barred.has_newcomer.lock() = false;
    let told_ms = world.clock.now();
    turns_until(&mut driver, &|| world.slot(&a).ordered.is_some());
    let held_ms = world.clock.now() - told_ms;
    assert!((2_000..2_500).contains(&held_ms), "held for {held_ms} ms");
}
