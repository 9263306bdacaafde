//! Two slots, and what the agents in them agree on: there, beside, back, and away.
use super::trial::{Ask, Trial, runs};
use crate::conformance::Breach;
use crate::{Clock, HandoverOrder, InstanceId, Pair, Platform, SlotSeen, TargetId, Version};

/// The slot that has a version.
fn slot<'a>(pair: Option<&'a Pair>, version: &Version) -> Option<&'a SlotSeen> {
    pair?.slots.iter().find(|slot| slot.version.as_ref() == Some(version))
}

impl<P, C> Trial<'_, P, C>
where
    P: Platform + ?Sized,
    C: Clock + ?Sized,
{
    pub(super) async fn slots(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.slots {
            return Ok(());
        }
        let Some(old) = self.rest[target].version.clone() else {
            return Ok(());
        };
        let new = self.other_version(target);
        self.spawned(target, &old, &new).await?;

        // Another instance than the one that is named is left alone.
        let strange = Ask::Stop(InstanceId(u64::MAX - 7));
        let key = self.key(target, 14);
        self.no_stop(target, &strange, &key).await?;

        self.emptied(target, &old, &new).await?;
        if !self.able.hand_over {
            return Ok(());
        }
        // There and back again, then there for good; each time somebody accepts all the while.
        self.spawned(target, &old, &new).await?;
        self.handed_over(target, &old, &new).await?;
        self.hand(target, HandoverOrder::Return, &old, &new, |old, new| {
            old.accepting && !new.accepting && new.connections == Some(0)
        })
        .await?;
        self.emptied(target, &old, &new).await?;
        self.spawned(target, &old, &new).await?;
        self.handed_over(target, &old, &new).await?;
        self.hand(target, HandoverOrder::Commit, &old, &new, |_, new| {
            new.committed && new.accepting
        })
        .await?;
        self.hand(target, HandoverOrder::Retire, &old, &new, |old, new| {
            !old.accepting && new.accepting && (old.retired || old.instance.is_none())
        })
        .await?;
        self.emptied(target, &new, &old).await?;
        if !runs(&self.rest[target], &new) {
            let told = format!("{new} was committed at {target}, and it shows {:?}", self.rest[target]);
            return Err(Breach::new("handover.done", told));
        }
        Ok(())
    }

    /// Starts a version in the free slot: it runs there, once, and disturbs nothing.
    async fn spawned(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        let before = slot(self.rest[target].pair.as_deref(), old).and_then(|slot| slot.instance);
        let ask = Ask::Spawn(new.clone());
        let key = self.key(target, 15);
        self.order(target, &ask, &key).await?;
        self.until("spawn.not-done", target, |seen| {
            slot(seen.pair.as_deref(), new).is_some_and(|slot| slot.ready && slot.instance.is_some())
        })
        .await?;
        self.again(target, &ask, &key).await?;
        let seen = &self.rest[target];
        let pair = seen.pair.as_deref();
        let serves = slot(pair, old).is_some_and(|slot| slot.accepting && slot.instance == before);
        let waits = slot(pair, new).is_some_and(|slot| !slot.accepting);
        if !serves || !waits {
            let told = format!("{new} was started beside {old} at {target}, which shows {seen:?}");
            return Err(Breach::new("spawn.disturbs", told));
        }
        self.nothing_happens("spawn.twice", target).await
    }

    async fn no_stop(&mut self, target: &TargetId, ask: &Ask, key: &crate::EffectKey) -> Result<(), Breach> {
        self.order(target, ask, key).await?;
        self.nothing_happens("stop.wrong", target).await
    }

    /// Empties the slot of a version; the other one stays as it is.
    async fn emptied(&mut self, target: &TargetId, stays: &Version, goes: &Version) -> Result<(), Breach> {
        let before = slot(self.rest[target].pair.as_deref(), stays).and_then(|slot| slot.instance);
        let ask = Ask::Reset(goes.clone());
        let key = self.key(target, 16);
        self.order(target, &ask, &key).await?;
        self.until("reset.not-done", target, |seen| {
            let pair = seen.pair.as_deref();
            slot(pair, goes).is_none() && pair.is_some_and(|pair| pair.slots.iter().any(SlotSeen::is_empty))
        })
        .await?;
        let seen = &self.rest[target];
        let left = slot(seen.pair.as_deref(), stays);
        if left.is_none_or(|left| !left.accepting || left.instance != before) {
            let told = format!("the slot of {goes} at {target} was emptied, and {stays} shows {seen:?}");
            return Err(Breach::new("reset.disturbs", told));
        }
        self.nothing_happens("reset.disturbs", target).await
    }

    /// Up to where all connections are at the new instance, and the way back is open.
    async fn handed_over(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        self.hand(target, HandoverOrder::Offer, old, new, |_, new| {
            new.listeners && !new.accepting
        })
        .await?;
        self.hand(target, HandoverOrder::Accept, old, new, |old, new| {
            old.accepting && new.accepting
        })
        .await?;
        self.hand(target, HandoverOrder::Quiesce, old, new, |old, new| {
            !old.accepting && new.accepting
        })
        .await?;
        self.hand(target, HandoverOrder::Migrate, old, new, |old, _| {
            old.connections == Some(0)
        })
        .await
    }

    /// Gives one order to the agents and looks on until it shows. In the meantime somebody accepts, always.
    async fn hand(
        &mut self,
        target: &TargetId,
        order: HandoverOrder,
        old: &Version,
        new: &Version,
        wanted: impl Fn(&SlotSeen, &SlotSeen) -> bool + Send + Sync,
    ) -> Result<(), Breach> {
        let ask = Ask::HandOver(order, old.clone(), new.clone());
        let key = self.key(target, 17);
        self.order(target, &ask, &key).await?;
        self.again(target, &ask, &key).await?;
        let served = std::sync::atomic::AtomicBool::new(true);
        let shown = self
            .until("handover.not-done", target, |seen| {
                let Some(pair) = seen.pair.as_deref() else { return false };
                if !pair.slots.iter().any(|slot| slot.accepting) {
                    served.store(false, std::sync::atomic::Ordering::Relaxed);
                }
                let sides = (slot(Some(pair), old), slot(Some(pair), new));
                matches!(sides, (Some(old), Some(new)) if wanted(old, new))
            })
            .await;
        if !served.into_inner() {
            let told = format!("after {order:?} at {target} nobody accepted connections");
            return Err(Breach::new("handover.nobody", told));
        }
        shown.map_err(|breach| Breach {
            told: format!("{order:?}: {}", breach.told),
            ..breach
        })
    }
}
