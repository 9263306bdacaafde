//! Places, ends and waits.
use std::future::Future;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use unattended_process::{MonotonicClock, ProcessPlatform};
use unattended_upgrade::{
    AttemptId, Clock as _, EffectKey, Generation, Observation, Phase, Platform as _, SelfCheck, TargetId,
};

/// The longest that anything here may take.
const PATIENCE_MS: u64 = 30_000;

/// Runs a test in a directory of its own, and ends every process that its states name, however it ends.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let place = tempfile::tempdir().unwrap();
    let ends = Ends(place.path().to_owned());
    {
        // Dropped before the processes are ended: nothing starts them anew then.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(place.path().to_owned()));
    }
    drop(ends);
}

/// Ends what runs.
pub(crate) struct Ends(pub(crate) PathBuf);

impl Drop for Ends {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tell_logs(&self.0);
        }
        for _ in 0..200 {
            let live = living(&self.0);
            if live.is_empty() {
                return clear_memory(&self.0);
            }
            for (pid, started) in live {
                let pidfd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                if let Some(pidfd) = pidfd.filter(|_| start_time(pid) == Some(started)) {
                    let _ = pidfd_send_signal(pidfd, Signal::KILL);
                }
            }
            let _ = rustix::thread::nanosleep(&rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 5_000_000,
            });
        }
    }
}

/// What Envoys that were killed have left outside their directory.
fn clear_memory(root: &Path) {
    let targets = std::fs::read_dir(root.join("t")).into_iter().flatten().flatten();
    let instances = targets.flat_map(|target| std::fs::read_dir(target.path().join("envoy")).into_iter().flatten());
    for instance in instances.flatten() {
        let link = std::fs::read(instance.path().join("link.json")).unwrap_or_default();
        let link: serde_json::Value = serde_json::from_slice(&link).unwrap_or_default();
        if let Some(base_id) = link["base_id"].as_u64() {
            let _ = std::fs::remove_file(format!("/dev/shm/envoy_shared_memory_{base_id}0"));
        }
    }
}

/// The last words of everybody, for whoever reads why a test has failed.
fn tell_logs(root: &Path) {
    for target in std::fs::read_dir(root.join("t")).into_iter().flatten().flatten() {
        for name in ["state.json", "a.log", "b.log"] {
            let path = target.path().join(name);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(if name == "state.json" { 200 } else { 25 });
            println!("--- {}\n{}", path.display(), lines[from..].join("\n"));
        }
    }
}

/// Every process that a state names and that lives, as pid and start time.
pub(crate) fn living(root: &Path) -> Vec<(i32, u64)> {
    let mut live = Vec::new();
    for target in std::fs::read_dir(root.join("t")).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read(target.path().join("state.json")) else {
            continue;
        };
        let Ok(state) = serde_json::from_slice::<serde_json::Value>(&text) else {
            continue;
        };
        for seat in state["seats"].as_array().into_iter().flatten() {
            let run = &seat["run"];
            if let (Some(pid), Some(started)) = (run["pid"].as_i64(), run["started"].as_u64()) {
                let pid = i32::try_from(pid).unwrap();
                if start_time(pid) == Some(started) {
                    live.push((pid, started));
                }
            }
        }
    }
    live
}

/// As the kernel says it; `None` for one that has ended.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then(|| fields.nth(18)?.parse().ok())?
}

/// Looks until it is so.
pub(crate) async fn until(
    platform: &ProcessPlatform,
    target: &str,
    what: &str,
    wanted: impl Fn(&Observation) -> bool,
) -> Observation {
    let end = MonotonicClock.now() + PATIENCE_MS;
    loop {
        let seen = look(platform, target).await;
        if wanted(&seen) {
            return seen;
        }
        assert!(MonotonicClock.now() < end, "{target} was to be {what}, and is {seen:?}");
        pause().await;
    }
}

pub(crate) async fn look(platform: &ProcessPlatform, target: &str) -> Observation {
    platform.observe(&[TargetId::from(target)]).await.unwrap().remove(0)
}

/// Waits until something else is so.
pub(crate) async fn until_so(what: &str, mut wanted: impl FnMut() -> bool) {
    let end = MonotonicClock.now() + PATIENCE_MS;
    while !wanted() {
        assert!(MonotonicClock.now() < end, "{what} never came to be");
        pause().await;
    }
}

pub(crate) async fn pause() {
    MonotonicClock.sleep_until(MonotonicClock.now() + 5).await;
}

/// It runs this version, and is good.
pub(crate) fn runs(version: &str) -> impl Fn(&Observation) -> bool {
    move |seen| {
        seen.phase == Phase::Running
            && seen.version.as_ref().is_some_and(|seen| seen.as_str() == version)
            && seen.ready
            && seen.self_check == SelfCheck::Passed
    }
}

/// The key of an order, by generation and ordinal.
pub(crate) const fn key(generation: u64, ordinal: u8) -> EffectKey {
    EffectKey {
        attempt: AttemptId(generation),
        generation: Generation(generation),
        step: 4,
        ordinal,
    }
}

/// How often a target's program was started.
pub(crate) fn starts(root: &Path, target: &str) -> Vec<String> {
    let names = std::fs::read_dir(root.join("starts").join(target))
        .into_iter()
        .flatten()
        .flatten();
    names.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
