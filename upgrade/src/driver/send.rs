//! The effects: each begins behind its intent, and behind its fence.
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::calls::{Answer, within};
use super::{Attempt, Driver};
use crate::machine::Effect;
use crate::{AttemptId, EffectKey, EffectOutcome, IngressOrder, TargetId, Version};

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
    /// The last call at the target got no answer: this one takes no place of the others.
    pub(super) apart: bool,
    /// What is left of the step's budget, in milliseconds.
    pub(super) left_ms: u64,
    pub(super) key: EffectKey,
}

/// Of which attempt, in which slot, and what became of its order; none if it was not sent.
type Settled = Vec<(AttemptId, usize, Option<EffectOutcome>)>;

impl Driver {
    /// Sends every queued effect for which there is room. The platform sees them in the order of the attempts, and the
    /// machines get the answers of a turn in that order, however they come in.
    pub(super) async fn send(&mut self, may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send)) {
        let clock = Arc::clone(&self.clock);
        let until_ms = self.patient_until();
        let mut settled = Settled::new();
        self.effects.new_turn();
        loop {
            poll_fn(|context| {
                while let Some(order) = self.next_order() {
                    self.start(context, order, may_act, &mut settled);
                }
                Poll::Ready(())
            })
            .await;
            let Some((mut order, outcome)) = self.effects.next(clock.as_ref(), until_ms).await else {
                break;
            };
            if self.take_answer(&mut order, outcome, &mut settled) {
                let mut next = Some(order);
                poll_fn(|context| {
                    if let Some(order) = next.take() {
                        self.start(context, order, may_act, &mut settled);
                    }
                    Poll::Ready(())
                })
                .await;
            }
        }
        settled.sort_by_key(|(attempt, ..)| *attempt);
        let now = self.clock.now();
        for (_, slot, outcome) in settled {
            self.settle(slot, outcome.as_ref(), now);
        }
    }

    /// An order may be sent now.
    pub(super) fn has_order(&self) -> bool {
        let most = self.config.max_effects;
        let may_go = |apart, orders: &VecDeque<Order>| !orders.is_empty() && self.effects.has_room(apart, most);
        may_go(false, &self.orders) || may_go(true, &self.orders_apart)
    }

    fn next_order(&mut self) -> Option<Order> {
        let most = self.config.max_effects;
        let take = |apart: bool, orders: &mut VecDeque<Order>| {
            let room = self.effects.has_room(apart, most);
            room.then(|| orders.pop_front()).flatten()
        };
        take(false, &mut self.orders).or_else(|| take(true, &mut self.orders_apart))
    }

    /// Begins an order, with its fence where it needs one, as far as answers come at once.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        mut order: Order,
        may_act: &mut (dyn FnMut(&EffectKey) -> bool + Send),
        settled: &mut Settled,
    ) {
        loop {
            let disturbs = !order.fence_first && !matches!(order.effect, Effect::Fence | Effect::Prefetch);
            let begins = disturbs && self.slots[order.slot].as_ref().is_some_and(Attempt::is_untouched);
            // Who is called off begins no disturbance that was queued before.
            let is_off = disturbs
                && !begins
                && (self.slots[order.slot].as_ref())
                    .is_some_and(|attempt| !attempt.disturbs && attempt.machine.is_wanted_back());
            if is_off || !may_act(&order.key) || begins && self.is_outdated(order.slot) {
                settled.push((order.key.attempt, order.slot, None));
                return;
            }
            if let Some(attempt) = &mut self.slots[order.slot] {
                attempt.disturbs |= disturbs;
            }
            let mut call = self.perform(&order);
            let Poll::Ready(answer) = Pin::new(&mut call).poll(context) else {
                let apart = order.apart;
                self.effects.keep(order, call, apart);
                return;
            };
            if !self.take_answer(&mut order, answer, settled) {
                return;
            }
        }
    }

    /// Takes what an order, or the fence before it, was answered. Whether that fence stands, so that it is the order's own turn.
    fn take_answer(&mut self, order: &mut Order, answer: Option<EffectOutcome>, settled: &mut Settled) -> bool {
        if let Some(attempt) = &mut self.slots[order.slot] {
            attempt.hung = answer.is_none();
        }
        let outcome = answer.unwrap_or_else(|| EffectOutcome::Unknown {
            reason: format!("no answer within {} ms", self.for_ms(order)).into(),
        });
        let taken = matches!(outcome, EffectOutcome::Applied | EffectOutcome::AlreadyApplied);
        if taken && (order.fence_first || order.effect == Effect::Fence) {
            self.mark_fenced(order.slot);
        }
        if taken && order.fence_first {
            order.fence_first = false;
            return true;
        }
        // Where a fence was not taken the effect was not sent: this is its outcome.
        settled.push((order.key.attempt, order.slot, Some(outcome)));
        false
    }

    /// How long an order may take. A step that has next to nothing left must be tried all the same: it may be the way back.
    fn for_ms(&self, order: &Order) -> u64 {
        order.left_ms.clamp(self.config.patience_ms, self.config.call_ms)
    }

    /// The call for what comes first of an order. Without an answer in time it may have happened, and it may yet.
    fn perform(&self, order: &Order) -> Answer<Option<EffectOutcome>> {
        let (platform, clock) = (Arc::clone(&self.platform), Arc::clone(&self.clock));
        let (target, version) = (order.target.clone(), order.version.clone());
        let key = order.key;
        let effect = if order.fence_first { Effect::Fence } else { order.effect };
        let from = matches!(effect, Effect::HandOver(_)).then(|| order.from.clone());
        let for_ms = self.for_ms(order);
        Answer::new(async move {
            // Of what the pointer leads to: one box less for each call.
            let platform = platform.as_ref();
            let (target, version, key) = (&target, &version, &key);
            let call = match effect {
                Effect::Fence => platform.fence(target, key.generation),
                Effect::Prefetch => platform.prefetch(target, version, key),
                Effect::Close { reopen_by_ms } => platform.ingress(target, IngressOrder::Close { reopen_by_ms }, key),
                Effect::Open => platform.ingress(target, IngressOrder::Open, key),
                Effect::Replace(_) => platform.replace(target, version, key),
                Effect::ReplaceInPlace(_) => platform.replace_in_place(target, version, key),
                Effect::Spawn(_) => platform.spawn(target, version, key),
                Effect::HandOver(order) => {
                    let from = from.as_ref().unwrap_or(version);
                    platform.hand_over(target, order, from, version, key)
                }
                Effect::Stop(instance) => platform.stop(target, instance, key),
                Effect::Reset(_) => platform.reset(target, version, key),
                Effect::ApplyConfig(_) => platform.apply_config(target, version, key),
            };
            let until_ms = clock.now().saturating_add(for_ms);
            within(clock.as_ref(), until_ms, call).await
        })
    }
}
