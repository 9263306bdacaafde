//! The process that upgrades the fleet: the autopilot over the process adapter. It may be killed at any moment, and goes on
//! when it is started again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;
use serde::{Deserialize, Serialize};
use unattended::batching::{Amount, Fleet, Policy, Ramp, pct};
use unattended::defense::Guard;
use unattended::upgrade::{DriverConfig, Facts, Platform as _, TargetId, Timing, Version, Wanted};
use unattended::{Actor, Autopilot, Change, Level, MovesView, Notice, Notifier, Outcome, Settings};
use unattended_examples_support::Failure;
use unattended_process::{MonotonicClock, ProcessPlatform};
use unattended_redb::Redb;

use crate::envoys::Envoys;
use crate::metrics::{FleetMetrics, Meter};
use crate::options::Way;
use crate::output::severity;
use crate::sidecars::Sidecars;
use crate::world::{COLD_START_MS, Place, World, version};

/// A fleet of eight is judged by seconds, not by hours.
const INTERVAL_MS: u64 = 250;
const WARM_UP_MS: u64 = 500;
/// After a cold upgrade clients come back when the application has started, all at once and long after its proxy.
const COLD_WARM_UP_MS: u64 = COLD_START_MS + 1_000;
const BAKE_MS: u64 = 2_000;

/// A target has fewer attempts in a round than two to the power of this.
const GENERATIONS_BITS: u32 = 16;

/// What a second copy of the sidecar takes, with a good margin.
const COPY_BYTES: u64 = 64 << 20;

/// The hand-over's protocol of every version here.
const PROTOCOL: RangeInclusive<u32> = 1..=1;

/// One upgrade of the fleet.
#[derive(Debug, Parser)]
#[command(name = "hot_upgrade controller", disable_version_flag = true)]
struct Task {
    #[arg(long)]
    world: PathBuf,
    #[arg(long)]
    round: u32,
    /// The round whose version the fleet runs.
    #[arg(long)]
    from: u32,
}

/// How a round ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) explanation: String,
    pub(crate) decisions: Vec<String>,
    pub(crate) moves: MovesView,
    pub(crate) cut: u64,
}

impl Told {
    fn add(&mut self, more: Self) {
        if severity(more.outcome) > severity(self.outcome) {
            (self.outcome, self.explanation) = (more.outcome, more.explanation);
        }
        self.decisions.extend(more.decisions);
        self.cut += more.cut;
        let (all, more) = (&mut self.moves, more.moves);
        all.moved += more.moved;
        all.declined += more.declined;
        all.lost += more.lost;
        all.bytes += more.bytes;
        all.pause_p50_us = all.pause_p50_us.max(more.pause_p50_us);
        all.pause_p99_us = all.pause_p99_us.max(more.pause_p99_us);
        all.pause_max_us = all.pause_max_us.max(more.pause_max_us);
    }
}

/// Where a round's answer is.
pub(crate) fn answer_file(world: &World, round: u32) -> PathBuf {
    world.directory.join(format!("round-{round}.json"))
}

/// Runs one round, or what is left of it.
pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let task = match Task::try_parse_from(std::iter::once("controller".to_owned()).chain(args)) {
        Ok(task) => task,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match round(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.told().code()),
    }
}

fn round(task: &Task) -> Result<(), Failure> {
    let world = World::load(&task.world)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    let told = runtime.block_on(upgrade(&world, task))?;
    put(&answer_file(&world, task.round), &told)
}

async fn upgrade(world: &World, task: &Task) -> Result<Told, Failure> {
    let platform = ProcessPlatform::open(world.fleet_directory(), world.process_targets())
        .await
        .map_err(Failure::internal)?;
    let platform = Arc::new(platform);
    let left = left_behind(world, task, &platform).await?;
    let from = version(task.from);
    let is_left = |place: &Place| left.values().any(|all| all.contains(&place.id));
    let rest = world.targets.iter().filter(|place| !is_left(place)).collect();
    let name = format!("round-{}", task.round);
    let mut told = change(world, task, &platform, &name, &from, rest).await?;
    // By then it is known what the new version is like.
    for (from, targets) in &left {
        if told.outcome.exit_code() != 0 {
            break;
        }
        let named = |place: &&Place| targets.contains(&place.id);
        let targets = world.targets.iter().filter(named).collect();
        let more = change(world, task, &platform, &format!("{name}-from-{from}"), from, targets).await?;
        told.add(more);
    }
    Ok(told)
}

/// Targets that earlier rounds have left behind, by what they run: no change of the others is theirs, and so each version has
/// one of its own. Written down before anything is changed: whoever goes on with the round must find the same.
async fn left_behind(
    world: &World,
    task: &Task,
    platform: &ProcessPlatform,
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let file = world.directory.join(format!("round-{}.left", task.round));
    if let Ok(text) = std::fs::read(&file) {
        return serde_json::from_slice(&text).map_err(Failure::internal);
    }
    let ids: Vec<TargetId> = world.targets.iter().map(|place| place.id.as_str().into()).collect();
    let seen = platform.observe(&ids).await.map_err(Failure::internal)?;
    let (old, new) = (version(task.from), version(task.round));
    let mut left: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (place, seen) in world.targets.iter().zip(seen) {
        if let Some(runs) = seen.version
            && ![&old, &new].contains(&&runs.as_str().to_owned())
        {
            left.entry(runs.as_str().to_owned()).or_default().push(place.id.clone());
        }
    }
    put(&file, &left)?;
    Ok(left)
}

/// Writes a file whole or not at all: whoever waits for it may look at any moment.
pub(crate) fn put(file: &Path, what: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(what).map_err(Failure::internal)?;
    let part = file.with_extension("part");
    std::fs::write(&part, text).map_err(Failure::internal)?;
    std::fs::rename(&part, file).map_err(Failure::internal)
}

/// Brings these targets from one version to the round's.
async fn change(
    world: &World,
    task: &Task,
    platform: &Arc<ProcessPlatform>,
    name: &str,
    old: &str,
    targets: Vec<&Place>,
) -> Result<Told, Failure> {
    let new = version(task.round);
    let journal = Redb::open(world.directory.join(format!("{name}.redb"))).map_err(Failure::internal)?;
    let envoy = world.targets.first().and_then(|place| world.envoy(place));
    let meter: Arc<dyn Meter> = match envoy {
        Some(_) => Arc::new(Envoys::new(world, &new)),
        None => Arc::new(Sidecars::new(world.fleet_directory())),
    };
    let facts = match envoy {
        Some(envoy) => {
            let (old, new) = (old.into(), new.as_str().into());
            envoy.facts(platform.capabilities(), &old, &new).await
        }
        None => Facts::new(platform.capabilities())
            .memory(COPY_BYTES, available_memory())
            .protocols(PROTOCOL, PROTOCOL),
    };
    let metrics = FleetMetrics::new(
        meter,
        Version::from(new.as_str()),
        warm_up_ms(world),
        INTERVAL_MS,
        &world.directory,
    );
    let mut fleet = Fleet::builder();
    for place in targets {
        fleet
            .push(
                &place.id,
                &place.application(),
                std::iter::empty::<(&str, &str)>(),
                true,
            )
            .map_err(Failure::internal)?;
    }
    let fleet = Arc::new(fleet.build().map_err(Failure::internal)?);
    let change = Change::new(
        name,
        Actor::person("you", "hot_upgrade"),
        old.into(),
        new.as_str().into(),
        fleet,
    )
    .policy(policy()?)
    .settings(settings(world))
    .seed(world.options.seed);
    let pilot = Autopilot::builder()
        .platform(Arc::clone(platform))
        .metrics(metrics)
        .journal(journal)
        .clock(MonotonicClock)
        .rules(Guard::empty())
        .notifier(Log)
        .level(Level::L4)
        .mode(match world.options.mode {
            Way::Cold => Wanted::Cold,
            Way::Warm => Wanted::Warm,
            Way::Hot => Wanted::Hot,
        })
        .facts(move |_| facts)
        .driver(
            DriverConfig::new()
                .max_in_flight(world.targets.len())
                .poll_ms(25)
                .timing(timing(world))
                // Each round has a journal of its own, and targets remember the generations of those before.
                .first_generation(u64::from(task.round) << GENERATIONS_BITS)
                .seed(world.options.seed),
        )
        .build()
        .map_err(Failure::internal)?;
    let (handle, run) = pilot.start(change).map_err(Failure::internal)?;
    let outcome = Box::pin(run).await.map_err(Failure::internal)?;
    let summary = handle
        .summary()
        .ok_or_else(|| Failure::Internal("the run left no summary".to_owned()))?;
    let decisions: Vec<String> = summary
        .decisions
        .iter()
        .map(|decision| format!("{:.1} s: {}", seconds(decision.at_ms), decision.text))
        .collect();
    // The last one says how it ended; why is in the one before.
    let reason = summary
        .decisions
        .iter()
        .rev()
        .find(|decision| decision.code != "change.ended");
    Ok(Told {
        outcome,
        explanation: reason.map(|decision| decision.text.clone()).unwrap_or_default(),
        decisions,
        moves: summary.receipt.moves,
        cut: summary.receipt.cut,
    })
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// One target first, then four times as many with each batch; half of an application at once, since the other half can
/// serve for it. The last batch is the other half: one target to compare with would say nothing of how much targets differ.
fn policy() -> Result<Policy, Failure> {
    let ramp = Ramp::geometric(Amount::Count(1), 4.0).map_err(Failure::internal)?;
    let half = pct(50);
    Ok(Policy::new()
        .ramp(ramp)
        .holdback(half)
        .per_app(half)
        .total_in_flight(half))
}

const fn warm_up_ms(world: &World) -> u64 {
    match world.options.mode {
        Way::Cold => COLD_WARM_UP_MS,
        Way::Warm | Way::Hot => WARM_UP_MS,
    }
}

fn settings(world: &World) -> Settings {
    let mut settings = Settings::default();
    settings.interval_ms = INTERVAL_MS;
    settings.warm_up_ms = warm_up_ms(world);
    settings.bake_ms = BAKE_MS;
    settings.soak_ms = 0;
    // A handful of proxies cannot show by the traffic of seconds that errors rarer than one in 100,000 have not doubled:
    // where it shows nothing bad they go on by their self-tests, with one wrong answer in five.
    settings.beta = 0.2;
    settings.silent_after_ms = 1_000;
    settings.patience_ms = 300_000;
    settings.blocked_patience_ms = 120_000;
    settings.attempt_estimate_ms = 5_000;
    settings.person_patience_ms = 0;
    // A day's budget is for intervals of a minute: here four are read in a second, and nobody is there to be asked.
    settings.budget.resumes_per_day = 1_000;
    settings
}

/// Most steps end when something is seen. How long it may take until then follows from how long the fleet took to come up
/// here: a machine that is slow, or busy, makes no release a bad one.
fn timing(world: &World) -> Timing {
    let ample = |least_ms: u64, times: u64| least_ms.max(world.came_up_ms.saturating_mul(times)).min(600_000);
    let mut timing = Timing::default();
    timing.preflight_ms = ample(20_000, 40);
    timing.close_ms = ample(10_000, 20);
    timing.drain_ms = 4_000;
    timing.replace_ms = ample(15_000, 30);
    timing.recreate_ms = ample(20_000, 30);
    timing.verify_ms = ample(4_000, 8);
    timing.cold_probation_ms = 500;
    timing.warm_probation_ms = 500;
    timing.spawn_ms = ample(8_000, 20);
    timing.offer_ms = ample(4_000, 8);
    timing.join_ms = ample(5_000, 10);
    timing.prove_ms = ample(3_000, 6);
    timing.quiesce_ms = ample(5_000, 10);
    // Each thousand connections takes a moment.
    timing.migrate_ms = ample(10_000 + u64::from(world.options.connections), 20);
    timing.return_ms = timing.migrate_ms;
    timing.commit_ms = ample(5_000, 10);
    timing.retire_ms = ample(12_000, 20);
    timing.reset_ms = ample(15_000, 30);
    timing.backoff_ms = 200;
    timing
}

/// Bytes that the kernel could give to new processes; none where it does not say.
fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0) << 10
}

/// Notices go to the log of the process.
struct Log;

#[async_trait]
impl Notifier for Log {
    async fn notify(&self, notice: &Notice) {
        eprintln!("{}: {}", notice.code, notice.text);
    }
}
