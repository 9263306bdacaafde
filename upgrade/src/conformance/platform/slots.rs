//! Two slots, and what the agents in them agree on: there, beside, back, and away.
use super::looks::runs;
use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{
    EffectKey, EffectOutcome, Generation, HandoverOrder, InstanceId, Pair, SelfCheck, SlotSeen, TargetId, Version,
};

/// So many connections do not all end by themselves at the moment at which they are to move.
const MOST_UNCOUNTED: u32 = 20;

/// The slot that has a version.
fn slot<'a>(pair: Option<&'a Pair>, version: &Version) -> Option<&'a SlotSeen> {
    pair?.slots.iter().find(|slot| slot.version.as_ref() == Some(version))
}

/// A hand-over up to where all connections are at the new instance.
struct HandedOver {
    /// An order that came before its time, and was refused.
    early: (Ask, EffectKey),
    /// How many connections clients held before.
    held: Option<u32>,
}

impl Trial<'_> {
    /// Leaves a target with the other version beside its own: just ordered there, or, where agents hand over, committed.
    pub(super) async fn left_beside(&mut self, target: &TargetId, commit: bool) -> Result<Option<Version>, Breach> {
        let Some(old) = self.rest[target].version.clone().filter(|_| self.able.slots) else {
            return Ok(None);
        };
        let new = self.other_version(target);
        if commit && self.able.hand_over {
            self.spawned(target, &old, &new).await?;
            self.handed_over(target, &old, &new).await?;
            self.hand(target, HandoverOrder::Commit, &old, &new, |_, new| new.committed)
                .await?;
        } else {
            let key = self.key(target, 15);
            self.order(target, &Ask::Spawn(new.clone()), &key).await?;
            self.history.count_anew(target);
            self.moving.insert(target.clone());
        }
        Ok(Some(new))
    }

    pub(super) async fn slots(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.slots {
            return Ok(());
        }
        let Some(old) = self.rest[target].version.clone() else {
            return Ok(());
        };
        let new = self.other_version(target);
        self.spawned(target, &old, &new).await?;
        self.endpoints().await?;
        self.left_alone(target, &old, &new).await?;
        self.stopped(target, &old, &new, "stop.not-done").await?;
        self.emptied(target, &old, &new).await?;
        if !self.able.hand_over {
            return Ok(());
        }
        // There and back again, then as far, where the new one dies, and then there for good; each time somebody accepts all
        // the while.
        self.spawned(target, &old, &new).await?;
        let there = self.handed_over(target, &old, &new).await?;
        self.hand(target, HandoverOrder::Return, &old, &new, |old, new| {
            old.accepting && !new.accepting && new.connections.unwrap_or(0) == 0
        })
        .await?;
        self.still_held(target, there.held).await?;
        // What was refused on the way comes late.
        let (ask, key) = there.early;
        self.late(target, &ask, &key, false).await?;
        self.nothing_happens("key.late", target).await?;
        self.emptied(target, &old, &new).await?;
        self.nobody_to_return_from(target, &old, &new).await?;
        self.another_attempt(target).await?;
        self.spawned(target, &old, &new).await?;
        self.handed_over(target, &old, &new).await?;
        self.stopped(target, &old, &new, "handover.lease").await?;
        self.emptied(target, &old, &new).await?;
        self.another_attempt(target).await?;
        self.spawned(target, &old, &new).await?;
        let there = self.handed_over(target, &old, &new).await?;
        self.hand(target, HandoverOrder::Commit, &old, &new, |_, new| {
            new.committed && new.accepting
        })
        .await?;
        if self.far {
            self.hand(target, HandoverOrder::Retire, &old, &new, |old, new| {
                !old.accepting && new.accepting && (old.retired || old.instance.is_none())
            })
            .await?;
        } else {
            self.old_ends(target, &old, &new).await?;
        }
        self.still_held(target, there.held).await?;
        self.emptied(target, &new, &old).await?;
        if !runs(&self.rest[target], &new) {
            let told = format!("{new} was committed at {target}, and it shows {:?}", self.rest[target]);
            return Err(Breach::new("handover.done", told));
        }
        Ok(())
    }

    /// What follows belongs to a later attempt: agents may refuse to lead forward in a generation in which they went back.
    async fn another_attempt(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.fence {
            return Ok(());
        }
        let next = Generation(self.generations[target].0 + 1);
        self.fence_at(target, next).await
    }

    /// Orders that name what is there already, or what is not there.
    async fn left_alone(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        for version in [old, new] {
            let ask = Ask::Spawn(version.clone());
            let key = self.key(target, 15);
            self.order(target, &ask, &key).await?;
            self.nothing_happens("spawn.twice", target).await?;
        }
        // Another instance than the one that is named is left alone.
        let strange = Ask::Stop(InstanceId(u64::MAX - 7));
        let key = self.key(target, 14);
        self.order(target, &strange, &key).await?;
        self.nothing_happens("stop.wrong", target).await?;
        self.of_another_target(target).await?;
        let nothing = Ask::Reset(self.subject.nobody_version());
        let key = self.key(target, 16);
        self.order(target, &nothing, &key).await?;
        self.nothing_happens("reset.disturbs", target).await?;
        // A third version has no room: whatever is answered but that it was taken, it never comes.
        let third = Ask::Spawn(self.subject.nobody_version());
        let key = self.key(target, 15);
        let outcome = self.platform.give(target, &third, &key).await;
        if matches!(outcome, EffectOutcome::Applied | EffectOutcome::AlreadyApplied) {
            let told = format!("no slot of {target} is free, and {third:?} gave {outcome:?}");
            return Err(Breach::new("spawn.crowded", told));
        }
        self.nothing_happens("spawn.disturbs", target).await
    }

    /// An instance of another target is none of this one's, and is not ended by an order for this one.
    async fn of_another_target(&mut self, target: &TargetId) -> Result<(), Breach> {
        let here = self.rest[target].pair.iter().flat_map(|pair| &pair.slots);
        let here: Vec<InstanceId> = here.filter_map(|slot| slot.instance).collect();
        let others = self.living().into_iter().filter(|other| other != target);
        let mut instances = others.filter_map(|other| self.rest[&other].instance);
        // Where instances are numbered by target, the same number may be one of this one.
        let Some(strange) = instances.find(|instance| !here.contains(instance)) else {
            return Ok(());
        };
        let key = self.key(target, 14);
        self.order(target, &Ask::Stop(strange), &key).await?;
        self.nothing_happens("stop.wrong", target).await
    }

    /// Ends the new instance, and no other: the old one accepts, or does so again.
    async fn stopped(
        &mut self,
        target: &TargetId,
        old: &Version,
        new: &Version,
        rule: &'static str,
    ) -> Result<(), Breach> {
        let pair = self.rest[target].pair.clone();
        let of = |version| slot(pair.as_deref(), version).and_then(|slot| slot.instance);
        let (stays, Some(ends)) = (of(old), of(new)) else {
            return Ok(());
        };
        let ask = Ask::Stop(ends);
        let key = self.key(target, 14);
        self.order(target, &ask, &key).await?;
        let shown = self.until(rule, target, |seen| {
            let Some(pair) = seen.pair.as_deref() else { return false };
            let ended = pair.slots.iter().all(|slot| slot.instance != Some(ends));
            let accepts = slot(Some(pair), old).is_some_and(|old| old.accepting);
            ended && accepts && !pair.session
        });
        shown.await?;
        if slot(self.rest[target].pair.as_deref(), old).and_then(|slot| slot.instance) != stays {
            let told = format!("{new} was ended at {target}, which shows {:?}", self.rest[target]);
            return Err(Breach::new("stop.disturbs", told));
        }
        // What runs in its slot may be started again, and then it stays passive.
        let later = self.until("stop.restarts", target, |seen| {
            let new = slot(seen.pair.as_deref(), new);
            new.is_none_or(|new| !new.accepting && (new.instance.is_none() || new.ready))
        });
        later.await?;
        self.again(target, &ask, &key).await?;
        // The instance that is named is over: whatever runs now is another one.
        let key = self.key(target, 14);
        self.order(target, &ask, &key).await?;
        self.goes_on(target, old, "stop.wrong").await
    }

    /// The old instance ends although the new one has committed, instead of leaving as it is told: the new one goes on, and
    /// what may be started in the old one's slot stays passive.
    async fn old_ends(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        let pair = self.rest[target].pair.clone();
        let Some(ends) = slot(pair.as_deref(), old).and_then(|slot| slot.instance) else {
            return Ok(());
        };
        let key = self.key(target, 14);
        self.order(target, &Ask::Stop(ends), &key).await?;
        let ended = self.until("stop.not-done", target, |seen| {
            let slots = seen.pair.iter().flat_map(|pair| &pair.slots);
            slots.into_iter().all(|slot| slot.instance != Some(ends))
        });
        ended.await?;
        self.goes_on(target, new, "stop.restarts").await
    }

    /// Looks on for a while: this version serves, in the same instance, and no other one does.
    async fn goes_on(&mut self, target: &TargetId, version: &Version, rule: &'static str) -> Result<(), Breach> {
        let until = self.clock.now().saturating_add(self.subject.quiet_ms);
        let serving = slot(self.rest[target].pair.as_deref(), version).and_then(|slot| slot.instance);
        loop {
            let mut all = self.look().await?;
            let Some(seen) = all.remove(target) else { return Ok(()) };
            let slots = || seen.pair.iter().flat_map(|pair| &pair.slots);
            let mut accepting = slots().filter(|slot| slot.accepting);
            let alone = |slot: &SlotSeen| slot.version.as_ref() == Some(version) && slot.instance == serving;
            if !accepting.next().is_some_and(alone) || accepting.next().is_some() {
                let told = format!("{version} at {target} was to go on alone, and it shows {seen:?}");
                return Err(Breach::new(rule, told));
            }
            self.rest.insert(target.clone(), seen);
            if self.clock.now() >= until {
                return Ok(());
            }
            self.pass(self.subject.poll_ms.max(self.subject.quiet_ms / 8)).await;
        }
    }

    /// Without a session, the old instance just polls.
    async fn nobody_to_return_from(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        let ask = Ask::HandOver(HandoverOrder::Return, old.clone(), new.clone());
        let key = self.key(target, 17);
        self.order(target, &ask, &key).await?;
        self.nothing_happens("handover.disturbs", target).await
    }

    /// Starts a version in the free slot: it runs there, once, and disturbs nothing.
    async fn spawned(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<(), Breach> {
        let before = slot(self.rest[target].pair.as_deref(), old).and_then(|slot| slot.instance);
        let ask = Ask::Spawn(new.clone());
        let key = self.key(target, 15);
        self.order(target, &ask, &key).await?;
        self.history.count_anew(target);
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
        self.spawn = Some((ask, key));
        self.nothing_happens("spawn.twice", target).await
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
        self.nothing_happens("reset.disturbs", target).await?;
        // A spawn that was late must not fill the slot after it.
        if let Some((ask, key)) = self.spawn.take() {
            self.late(target, &ask, &key, true).await?;
            self.nothing_happens("reset.filled", target).await?;
        }
        Ok(())
    }

    /// How many connections clients hold, if any do.
    async fn held(&mut self, target: &TargetId) -> Option<u32> {
        let held = self.disturb.held(target).await;
        if held.is_some() {
            self.has_tried(Gap::Connections);
        }
        held
    }

    /// Connections that clients held before work, but for as many as are said to have ended since the offer.
    async fn still_held(&mut self, target: &TargetId, before: Option<u32>) -> Result<(), Breach> {
        let Some(before) = before else { return Ok(()) };
        let until = self.clock.now().saturating_add(self.subject.patience_ms);
        loop {
            let Some(held) = self.held(target).await else {
                return Ok(());
            };
            let seen = self.look_alone(target).await?;
            let moves = seen.pair.map_or_else(Default::default, |pair| pair.moves);
            let ended = [moves.declined, moves.cut, moves.lost];
            let ended = ended.into_iter().fold(0, u32::saturating_add);
            if held.saturating_add(ended) >= before {
                return Ok(());
            }
            if self.clock.now() >= until {
                let told = format!("of {before} connections that clients held at {target} {held} work, by {moves:?}");
                return Err(Breach::new("handover.vanished", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    /// Up to where all connections are at the new instance, and the way back is open. Orders that come before their time, or
    /// name what is not there, are not obeyed.
    async fn handed_over(&mut self, target: &TargetId, old: &Version, new: &Version) -> Result<HandedOver, Breach> {
        let held = self.held(target).await;
        self.hand(target, HandoverOrder::Offer, old, new, |_, new| {
            new.listeners && !new.accepting
        })
        .await?;
        self.until("handover.not-done", target, |seen| {
            seen.pair.as_deref().is_some_and(|pair| pair.session)
        })
        .await?;
        // The new one does not poll yet.
        self.not_obeyed(target, HandoverOrder::Quiesce, old, new, "handover.unguarded")
            .await?;
        self.hand(target, HandoverOrder::Accept, old, new, |old, new| {
            old.accepting && new.accepting
        })
        .await?;
        // Nothing has that version.
        let nobody = self.subject.nobody_version();
        self.not_obeyed(target, HandoverOrder::Quiesce, &nobody, new, "handover.named")
            .await?;
        self.hand(target, HandoverOrder::Quiesce, old, new, |old, new| {
            !old.accepting && new.accepting
        })
        .await?;
        self.answers_alone(target, new).await?;
        let owned = slot(self.rest[target].pair.as_deref(), old).and_then(|old| old.connections);
        self.hand(target, HandoverOrder::Migrate, old, new, |old, _| {
            old.connections.unwrap_or(0) == 0
        })
        .await?;
        let pair = self.rest[target].pair.as_deref();
        let (lost, cut) = pair.map_or((0, 0), |pair| (pair.moves.lost, pair.moves.cut));
        let (moved, declined) = pair.map_or((0, 0), |pair| (pair.moves.moved, pair.moves.declined));
        let has = slot(pair, new).and_then(|new| new.connections);
        self.owned = self.owned.saturating_add(owned.unwrap_or(0));
        self.counted |= moved > 0 || declined > 0 || has.is_some_and(|has| has > 0);
        // Some may have ended by themselves just then, but not all of them each time.
        if self.owned >= MOST_UNCOUNTED && !self.counted {
            let told = format!(
                "{} connections were to move, at {target} and before, of which nobody has any nor says what became of them",
                self.owned
            );
            return Err(Breach::new("handover.vanished", told));
        }
        if lost > 0 || cut > 0 {
            let told = format!("nothing has ended at {target}; {lost} connections were lost and {cut} cut");
            return Err(Breach::new("handover.lost", told));
        }
        if slot(pair, new).is_some_and(|new| new.committed) {
            let told = format!("{new} was not told to commit at {target}, and shows that it has");
            return Err(Breach::new("handover.unguarded", told));
        }
        self.still_held(target, held).await?;
        // The new one has not committed yet.
        let early = self.not_obeyed(target, HandoverOrder::Retire, old, new, "handover.unguarded");
        let early = early.await?;
        Ok(HandedOver { early, held })
    }

    /// Where one alone accepts, that one answers.
    async fn answers_alone(&mut self, target: &TargetId, version: &Version) -> Result<(), Breach> {
        let Some(slot) = slot(self.rest[target].pair.as_deref(), version).filter(|_| self.able.probe) else {
            return Ok(());
        };
        let (instance, until) = (slot.instance, self.clock.now().saturating_add(self.subject.patience_ms));
        loop {
            let answer = self.probes(std::slice::from_ref(target)).await?.remove(0);
            let same = answer.instance == instance && answer.version.as_ref() == Some(version);
            if same && answer.self_check == SelfCheck::Passed {
                return Ok(());
            }
            if self.clock.now() >= until {
                let told = format!("{version} alone accepts at {target}, in {instance:?}, and a probe gave {answer:?}");
                return Err(Breach::new("probe.other", told));
            }
            self.pass(self.subject.poll_ms).await;
        }
    }

    /// An order before its time, or for nobody: whatever it is answered, everything stays as it is.
    async fn not_obeyed(
        &mut self,
        target: &TargetId,
        order: HandoverOrder,
        old: &Version,
        new: &Version,
        rule: &'static str,
    ) -> Result<(Ask, EffectKey), Breach> {
        let ask = Ask::HandOver(order, old.clone(), new.clone());
        let key = self.key(target, 17);
        let _ = self.platform.give(target, &ask, &key).await;
        self.nothing_happens(rule, target).await?;
        Ok((ask, key))
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
        if order == HandoverOrder::Offer {
            self.history.count_anew(target);
        }
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
        })?;
        Ok(())
    }
}
