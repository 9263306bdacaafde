//! The public suite for platforms, on real processes.
use std::path::PathBuf;

use async_trait::async_trait;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unattended_process::{MonotonicClock, ProcessPlatform, Target};
use unattended_upgrade::conformance::{Disturb, Memory, Subject, platform_holds, platform_suite};
use unattended_upgrade::{Platform as _, TargetId};

use crate::programs::target;
use crate::sidecar;
use crate::support::{run, runs, start_time, until};

/// Few of either: here time is real.
const ROUNDS: u32 = 1;
const DEEDS: u32 = 10;

/// What is ordered shows within the first; nothing happens for the second, within which a busy machine gets some orders given;
/// and a process gets its configuration within the third.
const TIMES_MS: (u64, u64, u64) = (5_000, 240, 40);

/// Restarts, deaths and births that nobody ordered.
struct Disturbed<'a> {
    platform: &'a ProcessPlatform,
    root: PathBuf,
    newborn: fn(&std::path::Path, &str) -> Target,
    born: std::sync::atomic::AtomicU32,
}

#[async_trait]
impl Disturb for Disturbed<'_> {
    async fn restart(&self, target: &TargetId) -> bool {
        let state = std::fs::read(self.root.join(format!("t/{target}/state.json"))).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let instance = self.platform.observe(std::slice::from_ref(target)).await.unwrap()[0]
            .instance
            .unwrap();
        let mut runs = state["seats"].as_array().unwrap().iter().map(|seat| &seat["run"]);
        let run = runs.find(|run| run["instance"].as_u64() == Some(instance.0)).unwrap();
        let pid = i32::try_from(run["pid"].as_i64().unwrap()).unwrap();
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(pidfd, Signal::KILL).unwrap();
        crate::support::until_so("its end", || start_time(pid) != run["started"].as_u64()).await;
        true
    }

    async fn kill(&self, target: &TargetId) -> bool {
        self.platform.leave(target).await.unwrap()
    }

    async fn bear(&self, scope: &str) -> Option<TargetId> {
        let born = self.born.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (key, value) = scope.split_once('=').unwrap();
        let newborn = (self.newborn)(&self.root, &format!("born-{born}")).label(key, value);
        let id = newborn.id().clone();
        self.platform.join(newborn).await.unwrap();
        Some(id)
    }
}

async fn try_out(
    root: PathBuf,
    subject: Subject,
    fleet: fn(&std::path::Path) -> Vec<Target>,
    newborn: fn(&std::path::Path, &str) -> Target,
) -> Memory {
    let platform = ProcessPlatform::open(&root, fleet(&root)).await.unwrap();
    for target in &subject.targets {
        until(&platform, target.as_str(), "at rest", runs(subject.first.as_str())).await;
    }
    let disturbed = Disturbed {
        platform: &platform,
        root: root.clone(),
        newborn,
        born: 0.into(),
    };
    let memory = platform_suite(&platform, &MonotonicClock, &subject, &disturbed)
        .await
        .unwrap();
    platform.close().await;
    let platform = ProcessPlatform::open(&root, fleet(&root)).await.unwrap();
    platform_holds(&platform, &MonotonicClock, &subject, &memory)
        .await
        .unwrap();
    memory
}

/// All that there is: slots, hand-overs, configurations, probes, endpoints.
#[test]
fn a_fleet_of_sidecars_keeps_the_contract() {
    run(async |root| {
        let subject = Subject::new(["a", "b"].map(TargetId::from), "1".into(), "2".into())
            .bad_version("unchecked".into())
            .bad_config("bad".into())
            .configs(["c1".into(), "c2".into()])
            .scope("app=pay")
            .times(TIMES_MS.0, TIMES_MS.1, TIMES_MS.2)
            .rounds(ROUNDS)
            .drawn(DEEDS, 7);
        let fleet = |root: &std::path::Path| vec![sidecar::target(root, "a", "1"), sidecar::target(root, "b", "1")];
        sidecar::lay_out(&root);
        try_out(root, subject, fleet, |root, name| sidecar::target(root, name, "1")).await;
    });
}

#[test]
fn a_fleet_of_foreign_programs_keeps_the_contract() {
    run(async |root| {
        let fleet = |root: &std::path::Path| vec![target(root, "a", "1"), target(root, "b", "1")];
        let subject = Subject::new(["a", "b"].map(TargetId::from), "1".into(), "2".into())
            .bad_version("unready".into())
            .scope("zone=z9")
            .times(TIMES_MS.0, TIMES_MS.1, TIMES_MS.2)
            .rounds(ROUNDS)
            .drawn(DEEDS, 7);
        try_out(root, subject, fleet, |root, name| target(root, name, "1")).await;
    });
}
