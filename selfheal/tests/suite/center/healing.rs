//! The driver of heal orders.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use unattended_selfheal::{
    Center, CenterSettings, Command, HealAction, HealError, HealOrder, HealOutcome, Healer, NodeId, carry_out,
};

use super::world::{Fault, World};

/// Restarts, cannot do more, and refuses old terms.
#[derive(Default)]
struct Restarts {
    last_term: AtomicU64,
    done: AtomicU64,
}

#[async_trait]
impl Healer for Restarts {
    async fn restart(&self, order: &HealOrder, _: NodeId) -> Result<(), HealError> {
        if order.term < self.last_term.fetch_max(order.term, Ordering::SeqCst) {
            return Err(HealError::Fenced);
        }
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn each_order_goes_to_its_method_and_what_is_missing_is_unsupported() {
    let settings = CenterSettings {
        restart_after_ms: 5_000,
        replace_after_ms: 8_000,
        ..CenterSettings::default()
    };
    let mut world = World::new(settings, 5);
    world.center = Center::new(settings, 8).unwrap();
    for node in (0..20).chain(100..112) {
        world
            .center
            .on(super::world::member(node, (node >= 100).then_some(1)))
            .unwrap();
    }
    world.faults.push(Fault {
        targets: vec![104],
        rate: 1.0,
        ..Fault::default()
    });
    let healer = Restarts::default();
    let mut outcomes = Vec::new();
    let mut restart = None;
    while world.now_ms < 30_000 {
        world.step();
        for command in &world.last {
            if let Command::Heal(order) = command {
                outcomes.push((order.action, block_on(carry_out(&healer, order))));
                if matches!(order.action, HealAction::Restart { .. }) {
                    restart = Some(*order);
                }
            }
        }
    }
    for (action, outcome) in outcomes {
        let can = matches!(action, HealAction::Restart { .. });
        assert_eq!(
            outcome,
            if can {
                HealOutcome::Done
            } else {
                HealOutcome::Unsupported
            },
            "{action:?}"
        );
    }
    assert_eq!(healer.done.load(Ordering::SeqCst), 1);
    let order = restart.unwrap();
    assert_eq!(order.term, 8);
    healer.last_term.store(9, Ordering::SeqCst);
    assert_eq!(block_on(carry_out(&healer, &order)), HealOutcome::Failed, "fenced");
}
