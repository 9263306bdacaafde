//! A platform of one's own: tried against the contract, then upgraded through.
//!
//! `cargo run -p unattended-upgrade --example own_platform`

mod clock;
mod disk;
mod host;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use futures::executor::block_on;
use unattended_upgrade::conformance::{Disturb, Subject, platform_holds, platform_suite};
use unattended_upgrade::{Clock, Driver, DriverConfig, InstanceId, Job, MemoryJournal, Mode, TargetId, Version};

use clock::Jumping;
use host::Host;

#[async_trait]
impl<C: Clock> Disturb for Host<C> {
    async fn restart(&self, target: &TargetId) -> bool {
        Self::restart(self, target)
    }

    async fn kill(&self, target: &TargetId) -> bool {
        self.remove(target)
    }

    async fn occupy(&self, target: &TargetId, so_many: u32) -> Option<u32> {
        self.disk.lock().processes.get_mut(target)?.busy = so_many;
        Some(so_many)
    }

    async fn application(&self, target: &TargetId) -> Option<InstanceId> {
        let disk = self.disk.lock();
        disk.processes
            .get(target)
            .map(|process| InstanceId(process.application))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(Jumping::default());
    let (old, new) = (Version::from("1.9.1"), Version::from("1.9.2"));
    let start = || Host {
        clock: Arc::clone(&clock),
        disk: Arc::default(),
    };

    let host = start();
    let subject = Subject::new(["a", "b", "c"].map(TargetId::from), old.clone(), new.clone());
    let subject = subject.unfit_version(Version::from(disk::UNFIT));
    subject.targets.iter().for_each(|target| host.add(target, &old));
    let memory = block_on(platform_suite(&host, clock.as_ref(), &subject, &host))?;
    let anew = Host {
        clock: Arc::clone(&clock),
        disk: host.disk,
    };
    block_on(platform_holds(&anew, clock.as_ref(), &subject, &memory))?;
    println!("the platform keeps the contract, as far as it was tried");
    for left in memory.untried() {
        println!("  {left}");
    }

    let host = Arc::new(start());
    let journal = Arc::new(MemoryJournal::new());
    let mut driver = Driver::new(host.clone(), journal, clock.clone(), DriverConfig::new())?;
    for n in 0..100 {
        let target = TargetId::from(format!("process-{n}").as_str());
        host.add(&target, &old);
        driver.submit(Job::new(target, old.clone(), new.clone(), Mode::Warm))?;
    }
    let mut ended = Vec::new();
    block_on(async {
        while driver.outstanding() > 0 {
            ended.extend(driver.turn(&mut |_key| true).await?.finished);
            driver.attend(None).await;
        }
        Ok::<(), unattended_upgrade::DriverError>(())
    })?;
    let outage_ms = ended.iter().map(|receipt| receipt.outage_ms).max();
    println!("{} upgrades; the longest outage: {outage_ms:?} ms", ended.len());
    Ok(())
}
