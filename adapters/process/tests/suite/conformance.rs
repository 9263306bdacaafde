//! The public suite for platforms, on real processes.
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unattended_process::{MonotonicClock, ProcessPlatform, Target};
use unattended_upgrade::conformance::{Disturb, Memory, Subject, platform_holds, platform_suite};
use unattended_upgrade::{InstanceId, Platform as _, TargetId};

use crate::mortal::Mortal;
use crate::programs::target;
use crate::sidecar;
use crate::support::{run, runs, start_time, until};

/// Few of either: here time is real.
const ROUNDS: u32 = 1;
const DEEDS: u32 = 10;

/// What is ordered shows within the first; nothing happens for the second, within which a busy machine gets some orders given;
/// and a process gets its configuration within the third.
const TIMES_MS: (u64, u64, u64) = (5_000, 240, 40);

/// Clients that hold a connection at each target, where it speaks HTTP.
const CLIENTS: usize = 5;

/// Restarts, deaths and births that nobody ordered; an adapter that falls; clients that stay.
struct Disturbed<'a> {
    platform: &'a Mortal,
    newborn: fn(&Path, &str) -> Target,
    /// Where a target speaks HTTP, if it does.
    http: fn(&Path, &str) -> Option<u16>,
    born: AtomicU32,
    held: Mutex<BTreeMap<TargetId, Held>>,
}

/// What clients hold at one target.
#[derive(Default)]
struct Held {
    connections: Vec<TcpStream>,
    /// Who served when they were asked last.
    instances: Vec<InstanceId>,
}

/// Asks something over a connection that stands.
pub(crate) fn works(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    if connection
        .write_all(b"GET /identity HTTP/1.1\r\nhost: a\r\n\r\n")
        .is_err()
    {
        return false;
    }
    let (mut answer, mut some) = (Vec::new(), [0; 1_024]);
    loop {
        match connection.read(&mut some) {
            Ok(read @ 1..) => answer.extend(&some[..read]),
            _ => return false,
        }
        // One JSON object, in which no other one is.
        if answer.ends_with(b"}") {
            return answer.starts_with(b"HTTP/1.1 200");
        }
    }
}

#[async_trait]
impl Disturb for Disturbed<'_> {
    async fn restart(&self, target: &TargetId) -> bool {
        let state = std::fs::read(self.platform.root.join(format!("t/{target}/state.json"))).unwrap();
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
        self.platform.leave(target).await
    }

    async fn bear(&self, scope: &str) -> Option<TargetId> {
        let born = self.born.fetch_add(1, Ordering::Relaxed);
        let (key, value) = scope.split_once('=').unwrap();
        let newborn = (self.newborn)(&self.platform.root, &format!("born-{born}")).label(key, value);
        let id = newborn.id().clone();
        self.platform.join(newborn).await;
        Some(id)
    }

    async fn held(&self, target: &TargetId) -> Option<u32> {
        let port = (self.http)(&self.platform.root, target.as_str())?;
        let seen = self
            .platform
            .observe(std::slice::from_ref(target))
            .await
            .unwrap()
            .remove(0);
        let slots = seen.pair.map(|pair| pair.slots).into_iter().flatten();
        let instances: Vec<InstanceId> = slots.filter_map(|slot| slot.instance).collect();
        let mut held = self.held.lock().remove(target).unwrap_or_default();
        let held = tokio::task::spawn_blocking(move || {
            held.connections.retain_mut(works);
            // Whoever was there before, or came beside it, has had the chance to keep them.
            let is_new = instances.len() == 1 && !held.instances.contains(&instances[0]);
            if is_new && held.connections.is_empty() {
                let come = || TcpStream::connect(("127.0.0.1", port)).ok();
                held.connections = (0..CLIENTS).filter_map(|_| come()).collect();
                held.connections.retain_mut(works);
            }
            held.instances = instances;
            held
        });
        let held = held.await.unwrap();
        let count = u32::try_from(held.connections.len()).unwrap();
        self.held.lock().insert(target.clone(), held);
        Some(count)
    }

    async fn reopen(&self) -> bool {
        self.platform.fall().await;
        true
    }
}

async fn try_out(
    root: PathBuf,
    subject: Subject,
    fleet: fn(&Path) -> Vec<Target>,
    newborn: fn(&Path, &str) -> Target,
    http: fn(&Path, &str) -> Option<u16>,
) -> Memory {
    let platform = Mortal::open(root.clone(), fleet(&root)).await;
    for target in &subject.targets {
        until(
            &*platform.now().await,
            target.as_str(),
            "at rest",
            runs(subject.first.as_str()),
        )
        .await;
    }
    let disturbed = Disturbed {
        platform: &platform,
        newborn,
        http,
        born: 0.into(),
        held: Mutex::default(),
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
        let fleet = |root: &Path| ["a", "b"].map(|name| sidecar::target_heard_late(root, name)).into();
        sidecar::lay_out(&root);
        let newborn = sidecar::target_heard_late;
        let memory = try_out(root, subject, fleet, newborn, |root, name| {
            Some(sidecar::http(root, name))
        })
        .await;
        let untried = memory.untried();
        assert!(
            !untried
                .iter()
                .any(|gap| gap.contains("`Disturb::held`") || gap.contains("`Disturb::reopen`")),
            "{untried:?}"
        );
    });
}

#[test]
fn a_fleet_of_foreign_programs_keeps_the_contract() {
    run(async |root| {
        let fleet = |root: &Path| vec![target(root, "a", "1"), target(root, "b", "1")];
        let subject = Subject::new(["a", "b"].map(TargetId::from), "1".into(), "2".into())
            .bad_version("unready".into())
            .scope("zone=z9")
            .times(TIMES_MS.0, TIMES_MS.1, TIMES_MS.2)
            .rounds(ROUNDS)
            .drawn(DEEDS, 7);
        try_out(root, subject, fleet, |root, name| target(root, name, "1"), |_, _| None).await;
    });
}
