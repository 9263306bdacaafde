//! A whole driver in a process of its own, over a journal on disk and a world whose log survives, killed by SIGKILL at drawn
//! points and started again until it is done: nothing is lost, and nothing done twice.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{config, fleet, id};
use async_trait::async_trait;
use futures::FutureExt;
use unattended_redb::Redb;
use unattended_simulated::{SimConfig, Simulated, World};
use unattended_upgrade::*;

const APPS: usize = 6;
const EACH: usize = 6;
const MODES: [Mode; 4] = [Mode::Warm, Mode::Cold, Mode::Hot, Mode::Config];

/// How a controller of the test comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    /// It runs on to the end.
    Never,
    /// It stands still at this boundary and is killed there.
    At(u64),
    /// It is killed while it goes on after this many turns.
    AfterTurns(usize),
}

fn world_config(dir: &Path, seed: u64) -> SimConfig {
    let world = World {
        never_ready_share: 0.0,
        in_place_tail_factor: 1.0,
        cold_tail_factor: 1.0,
        ..World::calm()
    };
    let capabilities = SimConfig::default()
        .capabilities
        .with_slots()
        .with_hand_over()
        .with_config();
    SimConfig {
        seed,
        log: Some(dir.join("world")),
        capabilities: capabilities.with_barrier().with_probe(),
        ..config(fleet(APPS, EACH), world, "good")
    }
}

fn jobs() -> Vec<Job> {
    let names = (0..APPS * EACH).map(|at| format!("app-{}-{}", at / EACH, at % EACH));
    let modes = MODES.into_iter().cycle();
    names
        .zip(modes)
        .map(|(name, mode)| Job::new(name.as_str(), "old", "new", mode))
        .collect()
}

/// The driver's two sides, with a boundary before and after each effect and each append.
struct Boundary {
    sim: Arc<Simulated>,
    journal: Redb,
    passed: AtomicU64,
    stop_at: Option<u64>,
}

impl Boundary {
    /// Stands still for ever if this is the place.
    fn pass(&self) {
        let here = self.passed.fetch_add(1, Ordering::Relaxed);
        if self.stop_at == Some(here) {
            say("here");
            // Nobody writes to it, and it ends with this process.
            let _ = std::io::stdin().read(&mut [0]);
            std::process::abort();
        }
    }

    async fn around(&self, answer: impl Future<Output = EffectOutcome> + Send) -> EffectOutcome {
        self.pass();
        let outcome = answer.await;
        self.pass();
        outcome
    }
}

fn say(words: &str) {
    // The harness may have left its own line open.
    println!("\n{words}");
    std::io::stdout().flush().unwrap();
}

#[async_trait]
impl Platform for Boundary {
    fn capabilities(&self) -> Capabilities {
        self.sim.capabilities()
    }
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.sim.observe(targets).await
    }
    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.sim.ingress_barrier(targets).await
    }
    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.sim.probe(targets).await
    }
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.around(self.sim.fence(target, generation)).await
    }
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.replace(target, version, key)).await
    }
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.replace_in_place(target, version, key)).await
    }
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.prefetch(target, version, key)).await
    }
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.ingress(target, order, key)).await
    }
    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.spawn(target, version, key)).await
    }
    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.stop(target, instance, key)).await
    }
    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.reset(target, version, key)).await
    }
    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        self.around(self.sim.hand_over(target, order, from, to, key)).await
    }
    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.around(self.sim.apply_config(target, version, key)).await
    }
}

#[async_trait]
impl Journal for Boundary {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.pass();
        let position = self.journal.append(group).await;
        self.pass();
        position
    }
    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.journal.read(from, max_groups).await
    }
    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.journal.compact(before, snapshot).await
    }
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.journal.snapshot().await
    }
    async fn end(&self) -> Result<Position, JournalError> {
        self.journal.end().await
    }
}

/// Not a test of its own: the process that the tests below start and kill.
#[test]
#[ignore = "the child of other tests"]
fn controller() {
    let Some(dir) = std::env::var_os("WORLD_TO_CONTROL") else {
        return;
    };
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let dir = Path::new(&dir);
    let sim = Simulated::new(world_config(dir, number("WORLD_SEED").unwrap())).unwrap();
    let clock = sim.clock();
    let both = Arc::new(Boundary {
        sim,
        journal: Redb::open(dir.join("journal")).unwrap(),
        passed: AtomicU64::new(0),
        stop_at: number("STOP_AT"),
    });
    // The world goes on where it was touched last; the controller has looked since then, and time does not go back.
    clock.advance_to(last_told(&both.journal).max(clock.now()));
    let config = DriverConfig::new().max_in_flight(12);
    let mut driver = Driver::new(both.clone(), both.clone(), Arc::new(clock.clone()), config).unwrap();
    let ended = driver.recover().now_or_never().unwrap().unwrap();
    let ended: BTreeSet<TargetId> = ended.into_iter().map(|receipt| receipt.target).collect();
    for job in jobs() {
        if !ended.contains(&job.target) && !driver.is_busy(&job.target) {
            driver.submit(job).unwrap();
        }
    }
    loop {
        let turn = driver.turn(&mut |_| true).now_or_never().unwrap().unwrap();
        say("turn");
        if driver.outstanding() == 0 {
            break;
        }
        let due = turn.next_due_ms.unwrap_or_else(|| clock.now() + 5_000);
        clock.advance_to(due.max(clock.now()));
    }
    say(&format!(
        "done after {} boundaries",
        both.passed.load(Ordering::Relaxed)
    ));
}

/// When the last record was written.
fn last_told(journal: &Redb) -> u64 {
    let mut begun = BTreeMap::new();
    let mut last = 0;
    read_journal(journal, |_, record| {
        let at_ms = match UpgradeRecord::decode(record.kind, record.bytes)? {
            UpgradeRecord::Begun { attempt, at_ms, .. } => *begun.entry(attempt).or_insert(at_ms),
            UpgradeRecord::Recovered { at_ms, .. } => at_ms,
            UpgradeRecord::Intent { attempt, after_ms, .. }
            | UpgradeRecord::Backward { attempt, after_ms, .. }
            | UpgradeRecord::Finished { attempt, after_ms, .. } => begun[&attempt] + after_ms,
            _ => 0,
        };
        last = last.max(at_ms);
        Ok::<(), DriverError>(())
    })
    .now_or_never()
    .unwrap()
    .unwrap();
    last
}

/// One life of a controller. How many boundaries there were, if it came to its end.
fn life(dir: &Path, seed: u64, kill: Kill) -> Option<u64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["killed::controller", "--exact", "--ignored", "--nocapture"])
        .env("WORLD_TO_CONTROL", dir)
        .env("WORLD_SEED", seed.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Kill::At(boundary) = kill {
        command.env("STOP_AT", boundary.to_string());
    }
    let mut child = command.spawn().unwrap();
    let mut turns = 0;
    let mut done = None;
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        if let Some(rest) = line.strip_prefix("done after ") {
            done = rest.split(' ').next().and_then(|count| count.parse().ok());
        }
        turns += usize::from(line == "turn");
        let due = match kill {
            Kill::Never => false,
            Kill::At(_) => line == "here",
            Kill::AfterTurns(most) => turns > most && done.is_none(),
        };
        if due {
            // SIGKILL.
            child.kill().unwrap();
            break;
        }
    }
    let status = child.wait().unwrap();
    assert!(done.is_none() || status.success(), "{kill:?}: {status}");
    assert!(
        done.is_some() || kill != Kill::Never,
        "it did not come to its end: {status}"
    );
    done
}

/// Everything was done, everything once, nothing without its intent, and all of it is told.
fn check(dir: &Path, seed: u64, falls: usize, what: &str) {
    let journal = Redb::open(dir.join("journal")).unwrap();
    let mut intents = BTreeSet::new();
    let mut history: BTreeMap<AttemptId, TargetId> = BTreeMap::new();
    let mut ends: BTreeMap<TargetId, Vec<Terminal>> = BTreeMap::new();
    read_journal(&journal, |_, record| {
        match UpgradeRecord::decode(record.kind, record.bytes)? {
            UpgradeRecord::Begun { attempt, target, .. } => drop(history.insert(attempt, target)),
            UpgradeRecord::Intent {
                attempt, step, ordinal, ..
            } => drop(intents.insert((attempt.0, step.number(), ordinal))),
            UpgradeRecord::Finished { attempt, terminal, .. } => {
                ends.entry(history[&attempt].clone()).or_default().push(terminal);
            }
            _ => {}
        }
        Ok::<(), DriverError>(())
    })
    .now_or_never()
    .unwrap()
    .unwrap();
    assert_eq!(ends.len(), APPS * EACH, "{what}");
    let mut asked = BTreeSet::new();
    for (target, ends) in &ends {
        match &ends[..] {
            [Terminal::Done] => {}
            // Who falls at one step again and again stops there, and says so.
            [
                Terminal::NeedsPerson {
                    reason: Reason::TooManyRecoveries { .. },
                    ..
                },
            ] if falls > 3 => {
                asked.insert(target.clone());
            }
            _ => assert_eq!(ends, &[Terminal::Done], "{what}: {target}"),
        }
    }
    assert!(asked.len() < APPS * EACH / 2, "{what}: {asked:?}");

    let log = std::fs::read_to_string(dir.join("world")).unwrap();
    let mut keys = BTreeSet::new();
    for line in log.lines().skip(1) {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(key) = entry["key"].as_str() else { continue };
        assert!(
            keys.insert((entry["target"].to_string(), key.to_owned())),
            "{what}: done twice: {line}"
        );
        let parts: Vec<u64> = key.split('/').map(|part| part.parse().unwrap()).collect();
        let intent = (
            parts[0],
            u8::try_from(parts[2]).unwrap(),
            u8::try_from(parts[3]).unwrap(),
        );
        assert!(intents.contains(&intent), "{what}: without an intent: {line}");
    }

    let sim = Simulated::new(world_config(dir, seed)).unwrap();
    let clock = sim.clock();
    clock.advance_to(clock.now() + 600_000);
    for job in jobs().into_iter().filter(|job| !asked.contains(&job.target)) {
        let seen = sim
            .observe(&[id(job.target.as_str())])
            .now_or_never()
            .unwrap()
            .unwrap()
            .remove(0);
        let config = seen.config.as_ref().and_then(|config| config.acknowledged.clone());
        let runs = if job.mode == Mode::Config {
            config
        } else {
            seen.version.clone()
        };
        assert_eq!(runs, Some(job.to.clone()), "{what}: {} {seen:?}", job.target);
        assert!(
            seen.ready && seen.ingress == Ingress::Open,
            "{what}: {} {seen:?}",
            job.target
        );
        let empty = seen
            .pair
            .iter()
            .flat_map(|pair| &pair.slots)
            .filter(|slot| slot.is_empty());
        assert_eq!(empty.count(), 1, "{what}: {} {seen:?}", job.target);
    }
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn killed_again_and_again(seed: u64, mut kill: impl FnMut(&mut Draw) -> Kill) {
    let dir = tempfile::tempdir().unwrap();
    let mut draw = Draw(seed);
    let mut kills = Vec::new();
    loop {
        assert!(kills.len() < 200, "{kills:?}: it does not end");
        // A controller that falls again and again at one step asks a person; from here on it may live.
        let next = if kills.len() < 9 { kill(&mut draw) } else { Kill::Never };
        if life(dir.path(), seed, next).is_some() {
            break;
        }
        kills.push(next);
    }
    assert!(kills.len() > 3, "{kills:?}");
    check(dir.path(), seed, kills.len(), &format!("seed {seed}, {kills:?}"));
}

#[test]
fn undisturbed() {
    let dir = tempfile::tempdir().unwrap();
    let boundaries = life(dir.path(), 1, Kill::Never).unwrap();
    assert!(boundaries > 400, "{boundaries}");
    check(dir.path(), 1, 0, "undisturbed");
}

#[test]
fn killed_where_it_stands_at_an_effect_or_an_append() {
    for seed in 1..=4 {
        killed_again_and_again(seed, |draw| Kill::At(20 + draw.below(120)));
    }
}

#[test]
fn killed_while_it_goes_on() {
    for seed in 5..=6 {
        killed_again_and_again(seed, |draw| {
            Kill::AfterTurns(usize::try_from(4 + draw.below(20)).unwrap())
        });
    }
}
