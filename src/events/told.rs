//! The platform, with every effect told as it is sent and answered.

use std::sync::Arc;

use async_trait::async_trait;
use unattended_upgrade::{
    Barrier, Capabilities, EffectKey, EffectOutcome, Generation, HandoverOrder, IngressOrder, InstanceId, News,
    Observation, Platform, PlatformError, Probe, TargetId, Version, WayBack,
};

use crate::handle::Shared;

use super::Happened;

pub(crate) struct Told {
    platform: Arc<dyn Platform>,
    shared: Arc<Shared>,
}

impl Told {
    pub(crate) const fn new(platform: Arc<dyn Platform>, shared: Arc<Shared>) -> Self {
        Self { platform, shared }
    }

    async fn tell(
        &self,
        target: &TargetId,
        act: &str,
        version: Option<&Version>,
        key: Option<&EffectKey>,
        call: impl Future<Output = EffectOutcome> + Send,
    ) -> EffectOutcome {
        let events = &self.shared.events;
        let key = || key.map(ToString::to_string);
        // Its intent is in the journal, and with it whatever it follows from.
        events.flush();
        events.tell(|| Happened::Effect {
            target: target.to_string(),
            act: act.to_owned(),
            version: version.map(ToString::to_string),
            key: key(),
        });
        let outcome = call.await;
        events.tell(|| Happened::EffectAnswered {
            target: target.to_string(),
            act: act.to_owned(),
            key: key(),
            outcome: outcome.clone(),
        });
        outcome
    }
}

const fn hand_over_word(order: HandoverOrder) -> &'static str {
    match order {
        HandoverOrder::Offer => "hand_over_offer",
        HandoverOrder::Accept => "hand_over_accept",
        HandoverOrder::Quiesce => "hand_over_quiesce",
        HandoverOrder::Migrate => "hand_over_migrate",
        HandoverOrder::Commit => "hand_over_commit",
        HandoverOrder::Retire => "hand_over_retire",
        HandoverOrder::Return => "hand_over_return",
    }
}

#[async_trait]
impl Platform for Told {
    fn capabilities(&self) -> Capabilities {
        self.platform.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.platform.observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.replace(target, version, key);
        self.tell(target, "replace", Some(version), Some(key), call).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.replace_in_place(target, version, key);
        self.tell(target, "replace_in_place", Some(version), Some(key), call)
            .await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let call = self.platform.fence(target, generation);
        self.tell(target, "fence", None, None, call).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.prefetch(target, version, key);
        self.tell(target, "prefetch", Some(version), Some(key), call).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let act = match order {
            IngressOrder::Open => "ingress_open",
            IngressOrder::Close { .. } => "ingress_close",
        };
        // The platform's deadlines are on its own clock.
        let order = match order {
            IngressOrder::Open => IngressOrder::Open,
            IngressOrder::Close { reopen_by_ms } => IngressOrder::Close {
                reopen_by_ms: self.shared.clock.outside(reopen_by_ms),
            },
        };
        let call = self.platform.ingress(target, order, key);
        self.tell(target, act, None, Some(key), call).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.spawn(target, version, key);
        self.tell(target, "spawn", Some(version), Some(key), call).await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.stop(target, instance, key);
        self.tell(target, "stop", None, Some(key), call).await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.reset(target, version, key);
        self.tell(target, "reset", Some(version), Some(key), call).await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        let call = self.platform.hand_over(target, order, from, to, key);
        self.tell(target, hand_over_word(order), Some(to), Some(key), call)
            .await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let call = self.platform.apply_config(target, version, key);
        self.tell(target, "apply_config", Some(version), Some(key), call).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.platform.ingress_barrier(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.platform.probe(targets).await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        self.platform.control_endpoint(target, version).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.platform.desired(scope, version, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.platform.watch(cursor).await
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        self.platform.way_back(from, to).await
    }
}
