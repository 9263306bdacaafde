//! Replacing and prefetching: done, once, here, and shown.
use super::looks::runs;
use super::trial::{Ask, Trial};
use super::untried::Gap;
use crate::conformance::Breach;
use crate::{
    Capabilities, EffectKey, EffectOutcome, Generation, HandoverOrder, IngressOrder, InstanceId, Observation, TargetId,
    Version,
};

impl Trial<'_> {
    pub(super) async fn orders(&mut self, target: &TargetId) -> Result<(), Breach> {
        if self.able.prefetch {
            let ask = Ask::Prefetch(self.other_version(target));
            let key = self.key(target, 1);
            self.order(target, &ask, &key).await?;
            self.nothing_happens("prefetch.touched", target).await?;
            self.again(target, &ask, &key).await?;
        }
        let there = Ask::Replace(self.other_version(target));
        let first = self.key(target, 4);
        self.order(target, &there, &first).await?;
        // Twice in a row, as a network may deliver it.
        self.again(target, &there, &first).await?;
        self.replaced(target).await?;
        self.again(target, &there, &first).await?;
        self.nothing_happens("key.twice", target).await?;

        // The answer gets lost, and the order is given again by the same key.
        let back = Ask::Replace(self.other_version(target));
        let second = self.key(target, 4);
        self.lose(target, &back, &second).await;
        self.moving.insert(target.clone());
        self.order(target, &back, &second).await?;
        self.replaced(target).await?;
        self.again(target, &back, &second).await?;
        self.nothing_happens("key.lost-answer", target).await?;

        // What was sent first arrives once more, after what was sent later.
        self.late(target, &there, &first, true).await?;
        self.nothing_happens("key.late", target).await?;

        // The same again on purpose: the key is another one each time. And one is overtaken on its way.
        let overtaken = self.key(target, 4);
        for step in [4, 10] {
            let ask = Ask::Replace(self.other_version(target));
            let key = EffectKey {
                attempt: overtaken.attempt,
                ..self.key(target, step)
            };
            self.order(target, &ask, &key).await?;
            self.replaced(target).await.map_err(|breach| confused(breach, &key))?;
        }
        let ask = Ask::Replace(self.other_version(target));
        self.late(target, &ask, &overtaken, false).await?;
        self.late(target, &there, &first, true).await?;
        self.nothing_happens("key.overtaken", target).await
    }

    /// A replacement that leaves the application running, behind a closed way where there is one.
    pub(super) async fn in_place(&mut self, target: &TargetId) -> Result<(), Breach> {
        if !self.able.in_place {
            return Ok(());
        }
        if self.able.ingress {
            self.close_for_long(target).await?;
        }
        let ask = Ask::InPlace(self.other_version(target));
        let key = self.key(target, 4);
        self.order(target, &ask, &key).await?;
        self.replaced(target).await?;
        self.again(target, &ask, &key).await?;
        self.nothing_happens("key.twice", target).await?;
        // The same version again is a new instance too.
        let (version, before) = (self.rest[target].version.clone(), self.rest[target].instance);
        let Some(version) = version else { return Ok(()) };
        let key = self.key(target, 4);
        self.order(target, &Ask::InPlace(version.clone()), &key).await?;
        self.until("order.not-done", target, |seen| {
            runs(seen, &version) && seen.instance != before
        })
        .await?;
        if self.able.ingress {
            self.open(target).await?;
            self.left_closed(target).await?;
        }
        Ok(())
    }

    /// The application beside the target, if anybody looks at it.
    pub(super) async fn application(&mut self, target: &TargetId) -> Option<InstanceId> {
        let found = self.disturb.application(target).await;
        if found.is_some() {
            self.has_tried(Gap::Applications);
        }
        found
    }

    /// Nothing of what has been ordered since restarts it.
    pub(super) async fn same_application(
        &mut self,
        target: &TargetId,
        before: Option<InstanceId>,
    ) -> Result<(), Breach> {
        let now = self.application(target).await;
        if before.is_some() && now != before {
            let told = format!(
                "the application beside {target} was {before:?} and is {now:?}; only its sidecar was to change"
            );
            return Err(Breach::new("application.restarted", told));
        }
        Ok(())
    }

    /// The replacement shows: the other version, in another instance, and everything else as before.
    pub(super) async fn replaced(&mut self, target: &TargetId) -> Result<(), Breach> {
        let before = self.rest[target].clone();
        let wanted = self.other_version(target);
        self.until("order.not-done", target, |seen| runs(seen, &wanted)).await?;
        let now = &self.rest[target];
        if now.instance == before.instance {
            let told = format!("{target} runs {wanted} in the instance that ran another version: {now:?}");
            return Err(Breach::new("replace.instance", told));
        }
        let born = self.history.born(target);
        if born > 1 {
            let told = format!("one order for {target} made {born} instances one after the other");
            return Err(Breach::new("key.twice", told));
        }
        let now = now.clone();
        self.says_so_itself(target, &now).await?;
        if self.able.ingress && now.ingress != before.ingress {
            let rule = match before.ingress {
                crate::Ingress::Closed => "in_place.opened",
                _ => "order.other",
            };
            let told = format!("the way to {target} was {:?} and is {:?}", before.ingress, now.ingress);
            return Err(Breach::new(rule, told));
        }
        let acknowledged = |seen: &Observation| seen.config.as_ref().and_then(|config| config.acknowledged.clone());
        if self.able.config && acknowledged(&now) != acknowledged(&before) {
            let kept = acknowledged(&before);
            self.until("config.lost", target, |seen| acknowledged(seen) == kept)
                .await?;
        }
        Ok(())
    }

    /// Orders for a target that does not exist.
    pub(super) async fn orders_for_nobody(&mut self) -> Result<(), Breach> {
        let nobody = self.subject.nobody.clone();
        for ask in self.every_ask(&nobody, &self.subject.second.clone()) {
            let key = self.strange_key(Generation(u64::MAX >> 1), 4);
            for target in std::iter::once(&nobody).chain(&self.dead.clone()) {
                let outcome = self.answer(target, &ask, &key).await?;
                if !matches!(outcome, EffectOutcome::Failed { .. }) {
                    let told = format!("{ask:?} of {target}, which does not exist, gave {outcome:?}");
                    return Err(Breach::new("order.nobody", told));
                }
            }
        }
        let first = self.subject.targets[0].clone();
        self.nothing_happens("order.other", &first).await
    }

    /// What is not claimed is not there.
    pub(super) async fn unclaimed(&mut self) -> Result<(), Breach> {
        let target = self.alive();
        if self.platform.capabilities() != self.able {
            let told = format!("they were {:?} and are {:?}", self.able, self.platform.capabilities());
            return Err(Breach::new("capability.constant", told));
        }
        let version = self.other_version(&target);
        let Capabilities {
            fence,
            ingress,
            in_place,
            prefetch,
            config,
            slots,
            hand_over,
            ..
        } = self.able;
        if !self.able.barrier {
            match self.platform.ingress_barrier(std::slice::from_ref(&target)).await {
                Err(crate::PlatformError::Unsupported(_)) => {}
                other => return Err(Breach::new("capability.unclaimed", format!("a barrier gave {other:?}"))),
            }
        }
        let reopen_by_ms = self.clock.now().saturating_add(self.subject.patience_ms);
        let asks = [
            (in_place, Ask::InPlace(version.clone())),
            (prefetch, Ask::Prefetch(version.clone())),
            (slots, Ask::Spawn(version.clone())),
            (slots, Ask::Stop(InstanceId(u64::MAX - 7))),
            (slots, Ask::Reset(version.clone())),
            (
                hand_over,
                Ask::HandOver(HandoverOrder::Return, version.clone(), self.subject.nobody_version()),
            ),
            (config, Ask::Config(self.subject.configs[1].clone())),
            (ingress, Ask::Ingress(IngressOrder::Close { reopen_by_ms })),
        ];
        for (claimed, ask) in asks {
            if claimed {
                continue;
            }
            let key = self.key(&target, 2);
            let outcome = self.platform.give(&target, &ask, &key).await;
            if outcome != EffectOutcome::Unsupported {
                let told = format!("{ask:?} is not claimed and gave {outcome:?}");
                return Err(Breach::new("capability.unclaimed", told));
            }
        }
        if !fence {
            let outcome = self.platform.fence(&target, self.generations[&target]).await;
            if outcome != EffectOutcome::Unsupported {
                let told = format!("fencing is not claimed and gave {outcome:?}");
                return Err(Breach::new("capability.unclaimed", told));
            }
        }
        self.nothing_happens("capability.unclaimed", &target).await
    }

    /// One order of each kind that the platform claims.
    pub(super) fn every_ask(&self, target: &TargetId, version: &Version) -> Vec<Ask> {
        let mut asks = vec![Ask::Replace(version.clone())];
        if self.able.in_place {
            asks.push(Ask::InPlace(version.clone()));
        }
        if self.able.prefetch {
            asks.push(Ask::Prefetch(version.clone()));
        }
        if self.able.slots {
            let rest = self.rest.get(target);
            asks.push(Ask::Spawn(version.clone()));
            asks.extend(rest.and_then(|rest| rest.instance).map(Ask::Stop));
            asks.extend(rest.and_then(|rest| rest.version.clone()).map(Ask::Reset));
            asks.push(Ask::Reset(version.clone()));
        }
        if self.able.hand_over {
            let runs = self.rest.get(target).and_then(|rest| rest.version.clone());
            let from = runs.unwrap_or_else(|| self.subject.first.clone());
            asks.extend(EVERY_HAND_OVER.map(|order| Ask::HandOver(order, from.clone(), version.clone())));
        }
        if self.able.config {
            asks.push(Ask::Config(self.subject.configs[1].clone()));
        }
        if self.able.ingress {
            let reopen_by_ms = self.clock.now().saturating_add(self.subject.patience_ms);
            asks.push(Ask::Ingress(IngressOrder::Close { reopen_by_ms }));
            asks.push(Ask::Ingress(IngressOrder::Open));
        }
        asks
    }
}

const EVERY_HAND_OVER: [HandoverOrder; 7] = [
    HandoverOrder::Offer,
    HandoverOrder::Accept,
    HandoverOrder::Quiesce,
    HandoverOrder::Migrate,
    HandoverOrder::Commit,
    HandoverOrder::Retire,
    HandoverOrder::Return,
];

pub(super) fn confused(breach: Breach, key: &EffectKey) -> Breach {
    match breach.rule {
        "order.not-done" => Breach::new("key.confused", format!("{key} is another order: {}", breach.told)),
        _ => breach,
    }
}
