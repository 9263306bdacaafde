//! A platform in 150 lines: a host that runs one process per target and remembers its orders on its disk.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_upgrade::{
    Capabilities, Clock, ConfigSeen, EffectKey, EffectOutcome, Generation, Ingress, IngressOrder, InstanceId, News,
    Observation, Phase, Platform, PlatformError, SelfCheck, TargetId, Version,
};

use crate::disk::{Disk, Process};

/// The adapter. It keeps nothing itself: everything it knows is on the disk.
pub(crate) struct Host<C> {
    pub(crate) clock: Arc<C>,
    pub(crate) disk: Arc<Mutex<Disk>>,
}

impl<C: Clock> Host<C> {
    /// One order: the generation first, then the key, then the deed, all in one write.
    fn take(&self, target: &TargetId, key: &EffectKey, act: impl FnOnce(&mut Process, u64, u64)) -> EffectOutcome {
        let (now, mut disk) = (self.clock.now(), self.disk.lock());
        disk.instances += 1;
        let next_instance = disk.instances;
        let Some(process) = disk.processes.get_mut(target) else {
            let reason = format!("there is no process `{target}`").into();
            return EffectOutcome::Failed { reason };
        };
        if key.generation < process.fenced {
            return EffectOutcome::Stale;
        }
        match process.applied {
            Some(last) if last == *key => return EffectOutcome::AlreadyApplied,
            Some(last) if key.is_older_than(&last) => return EffectOutcome::Stale,
            _ => process.applied = Some(*key),
        }
        act(process, now, next_instance);
        EffectOutcome::Applied
    }
}

fn look(process: Option<&Process>, now: u64) -> Observation {
    let phase = match process {
        None => Phase::Gone,
        Some(process) if now < process.ready_at => Phase::Starting,
        Some(_) => Phase::Running,
    };
    let running = process.filter(|_| phase == Phase::Running);
    let config = |process: &Process| ConfigSeen {
        acknowledged: Some(process.config.clone()),
        refused: None,
    };
    Observation {
        phase,
        version: process.map(|process| process.version.clone()),
        instance: running.map(|process| InstanceId(process.instance)),
        ready: running.is_some(),
        self_check: running.map_or(SelfCheck::Unreported, Process::self_check),
        ingress: match process {
            None => Ingress::Unknown,
            // The watchdog lives here and not in the controller, and opens onto a ready instance only.
            Some(process)
                if process
                    .closed_until
                    .is_some_and(|until| now < until.max(process.ready_at)) =>
            {
                Ingress::Closed
            }
            Some(_) => Ingress::Open,
        },
        active: running.map(|process| process.busy),
        pair: None,
        config: running.map(|process| Box::new(config(process))),
    }
}

#[async_trait]
impl<C: Clock> Platform for Host<C> {
    fn capabilities(&self) -> Capabilities {
        let all = Capabilities::none().with_fence().with_ingress().with_in_place();
        all.with_watch().with_config().with_prefetch()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let (now, disk) = (self.clock.now(), self.disk.lock());
        Ok(targets.iter().map(|t| look(disk.processes.get(t), now)).collect())
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, key, |process, now, instance| {
            process.start(version, instance, now);
            process.application = instance;
        })
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, key, |process, now, instance| {
            process.start(version, instance, now)
        })
    }

    async fn prefetch(&self, target: &TargetId, _: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, key, |_, _, _| {})
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.take(target, key, |process, _, _| {
            process.closed_until = match order {
                IngressOrder::Open => None,
                IngressOrder::Close { reopen_by_ms } => Some(reopen_by_ms),
            };
        })
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.take(target, key, |process, _, _| process.config = version.clone())
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let mut disk = self.disk.lock();
        let Some(process) = disk.processes.get_mut(target) else {
            let reason = format!("there is no process `{target}`").into();
            return EffectOutcome::Failed { reason };
        };
        if generation < process.fenced {
            return EffectOutcome::Stale;
        }
        process.fenced = generation;
        EffectOutcome::Applied
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.recover();
        let disk = self.disk.lock();
        let from = usize::try_from(cursor).unwrap_or(usize::MAX).min(disk.news.len());
        let changes = disk.news[from..].to_vec();
        let cursor = u64::try_from(disk.news.len()).unwrap_or(cursor);
        Ok(News { changes, cursor })
    }
}
