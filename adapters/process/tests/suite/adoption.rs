//! The adapter's process is killed, and another one goes on.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use unattended_process::{OpenError, ProcessPlatform, Target};
use unattended_upgrade::{EffectOutcome, Generation, Platform as _, TargetId};

use crate::programs::{PROGRAM, target};
use crate::support::{key, living, look, pause, run, runs, starts, until, until_so};

const VERSIONS: [&str; 3] = ["1", "2", "3"];

fn fleet(root: &Path, count: usize) -> Vec<Target> {
    (0..count).map(|at| target(root, &format!("t{at}"), "1")).collect()
}

/// The adapter as a process of its own: it opens, says so, and gives one order after the other, each told before and after.
pub(crate) fn adapter(root: &Path, count: usize, orders: u64, generation: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let platform = ProcessPlatform::open(root, fleet(root, count)).await.unwrap();
        say("opened");
        for order in 0..orders {
            let name = format!("t{}", order % count as u64);
            let version = VERSIONS[usize::try_from(order % 3).unwrap()];
            let key = key(generation, u8::try_from(order).unwrap());
            let outcome = platform
                .replace(&TargetId::from(name.as_str()), &version.into(), &key)
                .await;
            assert_eq!(outcome, EffectOutcome::Applied);
            say(&format!("applied {name} {} {version}", key.ordinal));
        }
        say("idle");
        std::future::pending::<()>().await;
    });
}

/// The adapter as a process of its own that counts its descriptors, before and after much work.
pub(crate) fn counter(root: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let platform = ProcessPlatform::open(root, fleet(root, 2)).await.unwrap();
        for round in 0..12_u8 {
            for name in ["t0", "t1"] {
                let version = VERSIONS[usize::from(round % 3)];
                platform.replace(&name.into(), &version.into(), &key(1, round)).await;
                until(&platform, name, "running", runs(version)).await;
            }
            // The one before has been buried when the new one runs; the requests of this look are over.
            let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
            say(&format!("descriptors {open}"));
        }
        say("idle");
    });
}

pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {line}").unwrap();
    out.flush().unwrap();
}

/// An adapter that is killed when it is dropped.
pub(crate) struct Adapter {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Adapter {
    fn start(root: &Path, count: usize, orders: u64, generation: u64) -> Self {
        Self::of(&format!("adapter {} {count} {orders} {generation}", root.display()))
    }

    pub(crate) fn of(setup: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "programs::process", "--nocapture", "--quiet"])
            .env(PROGRAM, setup)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Its next words; `None` when it has ended.
    fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.said.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(words) = line.strip_prefix("> ") {
                return Some(words.trim().to_owned());
            }
        }
    }

    pub(crate) fn until(&mut self, words: &str) {
        while self.next().unwrap() != words {}
    }

    /// The next words that begin so.
    pub(crate) fn until_like(&mut self, begin: &str) -> String {
        let mut words = std::iter::from_fn(|| self.next());
        words.find(|words| words.starts_with(begin)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// By SIGKILL.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let rest = std::iter::from_fn(|| self.next());
        rest.collect()
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parent(pid: i32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Every process that was started for this place, whoever knows of it.
fn of_this_place(root: &Path) -> BTreeSet<i32> {
    let setup = format!("{PROGRAM}=server {}/", root.display());
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        if variables.any(|variable| variable.starts_with(setup.as_bytes())) {
            found.insert(pid);
        }
    }
    found
}

#[test]
fn what_runs_is_adopted_and_only_one_may_hold_it() {
    run(async |root| {
        let mut first = Adapter::start(&root, 3, 0, 1);
        first.until("idle");
        // Also past the gate: what had an id and had not begun would be another one now.
        let began = || ["t0", "t1", "t2"].iter().all(|name| starts(&root, name).len() == 1);
        until_so("three processes", began).await;
        let refused = ProcessPlatform::open(&root, fleet(&root, 3)).await.unwrap_err();
        assert!(matches!(refused, OpenError::Held { .. }), "{refused}");
        let says = format!("held by another adapter (process {})", first.child.id());
        assert!(refused.to_string().contains(&says), "{refused}");
        let before: BTreeSet<_> = living(&root).into_iter().collect();
        // A program may ask the kernel to end it with its parent: the adapter is nobody's.
        let parents = before.iter().map(|(pid, _)| parent(*pid).unwrap());
        assert!(parents.clone().all(|parent| parent != first.child.id()), "{parents:?}");
        first.kill();
        let platform = ProcessPlatform::open(&root, fleet(&root, 3)).await.unwrap();
        for name in ["t0", "t1", "t2"] {
            until(&platform, name, "running", runs("1")).await;
            assert_eq!(starts(&root, name).len(), 1);
        }
        assert_eq!(living(&root).into_iter().collect::<BTreeSet<_>>(), before);
        // And what is adopted is ended and replaced like what is one's own.
        let t0 = TargetId::from("t0");
        platform.replace(&t0, &"2".into(), &key(1, 1)).await;
        until(&platform, "t0", "running 2", runs("2")).await;
        assert_eq!(of_this_place(&root).len(), 3);
        // It ends without its adapter's doing.
        let ended = look(&platform, "t1").await.instance;
        let state = std::fs::read_to_string(root.join("t/t1/state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let pid = i32::try_from(state["seats"][0]["run"]["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        until(&platform, "t1", "another instance", |seen| {
            runs("1")(seen) && seen.instance > ended
        })
        .await;
    });
}

#[test]
fn no_descriptor_is_left_behind() {
    run(async |root| {
        let mut counter = Adapter::of(&format!("counter {}", root.display()));
        let mut open = Vec::new();
        while let Some(("descriptors", count)) = counter.next().unwrap().split_once(' ') {
            open.push(count.parse::<usize>().unwrap());
        }
        assert_eq!(open.len(), 12);
        // A request of the task may be under way at one look or another, a leak would grow.
        let (before, after) = (open[..3].iter().max().unwrap(), open[9..].iter().min().unwrap());
        assert!(after <= before, "{open:?}");
    });
}

/// Killed in the middle of its work, again and again: what it had said is so, what it was at is carried out or not, nothing
/// runs twice, and nothing runs that nobody knows.
#[test]
fn a_killed_adapter_loses_nothing_and_repeats_nothing() {
    const FLEET: usize = 3;
    run(async |root| {
        let mut drawn = 0x2545_f491_4f6c_dd1d_u64;
        for round in 1..=16 {
            let mut adapter = Adapter::start(&root, FLEET, 60, round);
            // From before it has opened to the middle of its orders.
            drawn ^= drawn << 13;
            drawn ^= drawn >> 7;
            drawn ^= drawn << 17;
            let heard: Vec<String> = (0..drawn % 24).map_while(|_| adapter.next()).collect();
            for _ in 0..(drawn >> 8) % 40_000 {
                std::hint::spin_loop();
            }
            let said: Vec<String> = heard.into_iter().chain(adapter.kill()).collect();
            let mut last: BTreeMap<String, (u8, String)> = BTreeMap::new();
            for words in &said {
                if let ["applied", name, ordinal, version] = words.split(' ').collect::<Vec<_>>()[..] {
                    last.insert(name.to_owned(), (ordinal.parse().unwrap(), version.to_owned()));
                }
            }
            let platform = ProcessPlatform::open(&root, fleet(&root, FLEET)).await.unwrap();
            for (name, (ordinal, version)) in &last {
                let id = TargetId::from(name.as_str());
                let outcome = platform
                    .replace(&id, &version.as_str().into(), &key(round, *ordinal))
                    .await;
                let known = matches!(outcome, EffectOutcome::AlreadyApplied | EffectOutcome::Stale);
                assert!(
                    known,
                    "round {round}: {name} {ordinal} had been applied, and gave {outcome:?}"
                );
                if outcome == EffectOutcome::AlreadyApplied {
                    until(&platform, name, "carried out", runs(version)).await;
                }
            }
            for at in 0..FLEET {
                let name = format!("t{at}");
                until(&platform, &name, "running", |seen| {
                    VERSIONS.iter().any(|version| runs(version)(seen))
                })
                .await;
                let fence = platform.fence(&name.as_str().into(), Generation(round)).await;
                assert!(matches!(fence, EffectOutcome::Applied | EffectOutcome::AlreadyApplied));
            }
            // Shells that were at the gate leave; nothing else may be there.
            let end = std::iter::repeat_n((), 2_000);
            for () in end {
                if of_this_place(&root).len() == FLEET {
                    break;
                }
                pause().await;
            }
            let known: BTreeSet<i32> = living(&root).into_iter().map(|(pid, _)| pid).collect();
            assert_eq!(of_this_place(&root), known, "round {round}");
            platform.close().await;
        }
        for at in 0..FLEET {
            let began = starts(&root, &format!("t{at}"));
            let twice: Vec<_> = began.iter().filter(|name| name.contains("twice")).collect();
            assert!(twice.is_empty(), "beside another one: {twice:?}");
            let instances: BTreeSet<&str> = began.iter().map(|name| name.split('-').next().unwrap()).collect();
            assert_eq!(instances.len(), began.len(), "{began:?}");
            assert!(began.len() > 3, "{began:?}");
        }
    });
}
