//! An adapter that falls as in a crash, and is there again behind the same face.
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{RwLock, RwLockReadGuard};
use unattended_process::{ProcessPlatform, Target};
use unattended_upgrade::{
    Barrier, Capabilities, EffectKey, EffectOutcome, Generation, HandoverOrder, IngressOrder, InstanceId, News,
    Observation, Platform, PlatformError, Probe, TargetId, Version,
};

/// The adapter that lives now.
pub(crate) struct Mortal {
    pub(crate) root: PathBuf,
    /// Who is there.
    fleet: Mutex<Vec<Target>>,
    /// Nobody between its fall and its coming again.
    now: RwLock<Option<ProcessPlatform>>,
}

impl Mortal {
    pub(crate) async fn open(root: PathBuf, fleet: Vec<Target>) -> Self {
        let first = ProcessPlatform::open(&root, fleet.clone()).await.unwrap();
        Self {
            root,
            fleet: Mutex::new(fleet),
            now: RwLock::new(Some(first)),
        }
    }

    pub(crate) async fn join(&self, target: Target) {
        self.now().await.join(target.clone()).await.unwrap();
        self.fleet.lock().push(target);
    }

    pub(crate) async fn leave(&self, target: &TargetId) -> bool {
        self.fleet.lock().retain(|one| one.id() != target);
        self.now().await.leave(target).await.unwrap()
    }

    pub(crate) async fn now(&self) -> RwLockReadGuard<'_, ProcessPlatform> {
        RwLockReadGuard::map(self.now.read().await, |now| now.as_ref().unwrap())
    }

    /// It ends wherever its tasks are, and another one adopts what runs.
    pub(crate) async fn fall(&self) {
        let mut now = self.now.write().await;
        drop(now.take());
        let fleet = self.fleet.lock().clone();
        *now = Some(ProcessPlatform::open(&self.root, fleet).await.unwrap());
    }

    pub(crate) async fn close(self) {
        self.now.into_inner().unwrap().close().await;
    }
}

#[async_trait]
impl Platform for Mortal {
    fn capabilities(&self) -> Capabilities {
        // Between two of them nobody asks.
        self.now.try_read().unwrap().as_ref().unwrap().capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.now().await.observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.replace(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.now().await.fence(target, generation).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.replace_in_place(target, version, key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.now().await.ingress(target, order, key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.now().await.ingress_barrier(targets).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.now().await.probe(targets).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.spawn(target, version, key).await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.now().await.stop(target, instance, key).await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.reset(target, version, key).await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        self.now().await.hand_over(target, order, from, to, key).await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        self.now().await.control_endpoint(target, version).await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.apply_config(target, version, key).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().await.desired(scope, version, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.now().await.watch(cursor).await
    }
}
