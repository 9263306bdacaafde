//! Ways that are closed as soon as all consumers know, and have been quiet for long enough since.
use std::sync::Arc;

use crate::support::{Kill, World, job, turn};
use async_trait::async_trait;
use unattended_upgrade::*;

/// Consumers are known to know, and connections cannot be counted.
struct Barred(Arc<World>);

#[async_trait]
impl Platform for Barred {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.0.observe(targets).await
    }
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.0.replace(target, version, key).await
    }
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.0.replace_in_place(target, version, key).await
    }
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.0.fence(target, generation).await
    }
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.0.prefetch(target, version, key).await
    }
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.0.ingress(target, order, key).await
    }
    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        Ok(targets
            .iter()
            .map(|target| Barrier {
                told: self.0.slot(target).closed,
                quiet_ms: None,
            })
            .collect())
    }
}

#[test]
fn a_second_closing_holds_as_long_as_the_first() {
    let world = World::new(Kill::at([]), World::able().with_barrier());
    let a = world.add("a");
    let config = DriverConfig::new().poll_ms(100);
    let mut driver = Driver::new(
        Arc::new(Barred(world.clone())),
        world.journal.clone(),
        world.clock.clone(),
        config,
    )
    .unwrap();
    driver.submit(job(&a, "new", Mode::Warm)).unwrap();
    let mut closed_at = None;
    let mut held = Vec::new();
    let mut cancelled = false;
    let mut swaps = 0;
    for _ in 0..20_000 {
        turn(&world, &mut driver);
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
