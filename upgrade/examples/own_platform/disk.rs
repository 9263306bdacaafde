//! What the platform of this example runs on: the part that an orchestrator would be.

use std::collections::BTreeMap;

use unattended_upgrade::{Clock, EffectKey, FleetChange, Generation, SelfCheck, TargetId, Version};

use crate::host::Host;

/// What takes time here takes five seconds.
pub(crate) const START_MS: u64 = 5_000;

/// A version that gets ready and cannot do its work.
pub(crate) const UNFIT: &str = "unfit";

/// One process, with all that must survive a crash of the adapter.
pub(crate) struct Process {
    pub(crate) version: Version,
    pub(crate) instance: u64,
    pub(crate) ready_at: u64,
    /// Closed until then, unless it is opened before.
    pub(crate) closed_until: Option<u64>,
    pub(crate) config: Version,
    pub(crate) fenced: Generation,
    /// Requests in service.
    pub(crate) busy: u32,
    /// The news said so last.
    pub(crate) is_ill: bool,
    /// The application beside it, which nothing but a cold replacement restarts.
    pub(crate) application: u64,
    /// The last order that was taken.
    pub(crate) applied: Option<EffectKey>,
}

impl Process {
    pub(crate) fn start(&mut self, version: &Version, instance: u64, now: u64) {
        (self.version, self.instance, self.ready_at) = (version.clone(), instance, now + START_MS);
    }

    /// Its own word on itself.
    pub(crate) fn self_check(&self) -> SelfCheck {
        if self.version.as_str() == UNFIT {
            let check = "upstream".into();
            return SelfCheck::Failed { check };
        }
        SelfCheck::Passed
    }
}

/// What a real adapter keeps in its orchestrator: here it is memory that outlives the adapter.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) processes: BTreeMap<TargetId, Process>,
    pub(crate) news: Vec<FleetChange>,
    pub(crate) instances: u64,
}

/// What happens to processes without the adapter.
impl<C: Clock> Host<C> {
    /// Starts a process, ready at once.
    pub(crate) fn add(&self, target: &TargetId, version: &Version) {
        let mut disk = self.disk.lock();
        disk.instances += 1;
        let process = Process {
            version: version.clone(),
            instance: disk.instances,
            ready_at: 0,
            closed_until: None,
            config: Version::from("config-1"),
            fenced: Generation(0),
            busy: 0,
            is_ill: false,
            application: disk.instances,
            applied: None,
        };
        disk.processes.insert(target.clone(), process);
    }

    /// A process falls, and is started again as it was.
    pub(crate) fn restart(&self, target: &TargetId) -> bool {
        let (now, mut disk) = (self.clock.now(), self.disk.lock());
        disk.instances += 1;
        let instance = disk.instances;
        let Some(process) = disk.processes.get_mut(target) else {
            return false;
        };
        (process.instance, process.ready_at, process.is_ill) = (instance, now + START_MS, true);
        disk.news.push(FleetChange::BecameUnhealthy { target: target.clone() });
        true
    }

    /// Whoever has been ill and is ready again is told as well.
    pub(crate) fn recover(&self) {
        let (now, mut disk) = (self.clock.now(), self.disk.lock());
        let Disk { processes, news, .. } = &mut *disk;
        for (target, process) in processes {
            if process.is_ill && now >= process.ready_at {
                process.is_ill = false;
                news.push(FleetChange::BecameHealthy { target: target.clone() });
            }
        }
    }

    /// A target leaves for good.
    pub(crate) fn remove(&self, target: &TargetId) -> bool {
        let mut disk = self.disk.lock();
        disk.news.push(FleetChange::Left { target: target.clone() });
        disk.processes.remove(target).is_some()
    }
}
