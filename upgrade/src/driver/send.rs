use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::stream::{FuturesUnordered, StreamExt};

use super::Driver;
use crate::machine::Effect;
use crate::{Clock, EffectKey, EffectOutcome, IngressOrder, Journal, Platform, TargetId, Version};

/// An effect whose intent comes first.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) slot: usize,
    pub(super) effect: Effect,
    pub(super) target: TargetId,
    /// The old version, for a hand-over.
    pub(super) from: Version,
    /// The version that the effect is about.
    pub(super) version: Version,
    pub(super) fence_first: bool,
    pub(super) key: EffectKey,
}

type Answer<'a> = Pin<Box<dyn Future<Output = EffectOutcome> + Send + 'a>>;

impl<P, J, C> Driver<P, J, C>
where
    P: Platform + ?Sized,
    J: Journal + ?Sized,
    C: Clock + ?Sized,
{
    /// Sends every queued effect. The platform sees them in the order of the attempts, and the machines get the
    /// answers in that order, however they come in.
    pub(super) async fn send(&mut self, may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send)) {
        if self.orders.is_empty() {
            return;
        }
        let mut orders = std::mem::take(&mut self.orders);
        let platform = Arc::clone(&self.platform);
        let at_once = self.config.max_effects;
        let mut answers: Vec<Option<EffectOutcome>> = Vec::new();
        answers.resize_with(orders.len(), || None);

        let fences = orders
            .iter()
            .enumerate()
            .filter(|(_, order)| order.fence_first && may_act(&order.key))
            .map(|(at, order)| (at, platform.fence(&order.target, order.key.generation)));
        let mut barred: Vec<bool> = orders.iter().map(|order| order.fence_first).collect();
        for (at, answer) in all_answers(fences, at_once).await {
            match answer {
                EffectOutcome::Applied | EffectOutcome::AlreadyApplied => {
                    barred[at] = false;
                    self.mark_fenced(orders[at].slot);
                }
                // The effect was not sent: this is its outcome.
                other => answers[at] = Some(other),
            }
        }

        let effects = orders
            .iter()
            .enumerate()
            .filter(|(at, order)| !barred[*at] && may_act(&order.key))
            .map(|(at, order)| (at, perform(platform.as_ref(), order)));
        for (at, answer) in all_answers(effects, at_once).await {
            answers[at] = Some(answer);
        }

        let now = self.clock.now();
        for (order, answer) in orders.iter().zip(&answers) {
            let taken = matches!(answer, Some(EffectOutcome::Applied | EffectOutcome::AlreadyApplied));
            if order.effect == Effect::Fence && taken {
                self.mark_fenced(order.slot);
            }
            self.settle(order.slot, answer.as_ref(), now);
        }
        // The buffer is kept, unless settling has queued something.
        if self.orders.is_empty() {
            orders.clear();
            self.orders = orders;
        }
    }
}

fn perform<'a, P: Platform + ?Sized>(platform: &'a P, order: &'a Order) -> Answer<'a> {
    let Order {
        target,
        from,
        version,
        key,
        ..
    } = order;
    match order.effect {
        Effect::Fence => platform.fence(target, key.generation),
        Effect::Prefetch => platform.prefetch(target, version, key),
        Effect::Close { reopen_by_ms } => platform.ingress(target, IngressOrder::Close { reopen_by_ms }, key),
        Effect::Open => platform.ingress(target, IngressOrder::Open, key),
        Effect::Replace(_) => platform.replace(target, version, key),
        Effect::ReplaceInPlace(_) => platform.replace_in_place(target, version, key),
        Effect::Spawn(_) => platform.spawn(target, version, key),
        Effect::HandOver(order) => platform.hand_over(target, order, from, version, key),
        Effect::Stop(instance) => platform.stop(target, instance, key),
        Effect::Reset(_) => platform.reset(target, version, key),
        Effect::ApplyConfig(_) => platform.apply_config(target, version, key),
    }
}

/// Runs futures, so many at once, started in order. Each is polled once by itself first: a platform that answers at
/// once costs no bookkeeping.
async fn all_answers<'a>(
    asked: impl Iterator<Item = (usize, Answer<'a>)> + Send,
    at_once: usize,
) -> Vec<(usize, EffectOutcome)> {
    let mut answers = Vec::new();
    let mut open = FuturesUnordered::new();
    for (at, mut answer) in asked {
        match futures::poll!(&mut answer) {
            Poll::Ready(outcome) => answers.push((at, outcome)),
            Poll::Pending => open.push(async move { (at, answer.await) }),
        }
        while open.len() >= at_once {
            answers.extend(open.next().await);
        }
    }
    while let Some(answer) = open.next().await {
        answers.push(answer);
    }
    answers
}
