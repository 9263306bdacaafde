//! The ports through an [`Arc`]: what is shared with a driver can be kept at hand by whoever made it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Barrier, Capabilities, Clock, EffectKey, EffectOutcome, Generation, Group, HandoverOrder, IngressOrder, InstanceId,
    Journal, JournalError, News, Observation, Platform, PlatformError, Position, Probe, Snapshot, TargetId, Version,
    WayBack,
};

#[async_trait]
impl<P: Platform + ?Sized> Platform for Arc<P> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        (**self).observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).replace(target, version, key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).replace_in_place(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        (**self).fence(target, generation).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        (**self).ingress(target, order, key).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).spawn(target, version, key).await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        (**self).stop(target, instance, key).await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).reset(target, version, key).await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        (**self).hand_over(target, order, from, to, key).await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).apply_config(target, version, key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        (**self).ingress_barrier(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        (**self).probe(targets).await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        (**self).control_endpoint(target, version).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        (**self).desired(scope, version, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        (**self).watch(cursor).await
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        (**self).way_back(from, to).await
    }
}

#[async_trait]
impl<J: Journal + ?Sized> Journal for Arc<J> {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        (**self).append(group).await
    }

    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        (**self).append_at(expected, group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        (**self).read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        (**self).compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        (**self).snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        (**self).end().await
    }
}

#[async_trait]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> u64 {
        (**self).now()
    }

    fn wall(&self) -> i64 {
        (**self).wall()
    }

    async fn sleep_until(&self, at_ms: u64) {
        (**self).sleep_until(at_ms).await;
    }
}
