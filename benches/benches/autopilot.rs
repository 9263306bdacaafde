//! The machine of a whole change, fed from its journal, beside reading the journal; and the memory that its state takes.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::executor::block_on;
use unattended::batching::{Fleet, Policy, Side, pct};
use unattended::defense::Guard;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::{Actor, Autopilot, Change, Grant, Handle, Level, Notice, Notifier, Outcome, Settings, replay};
use unattended_benches::{Pod, Suite, pods};
use unattended_redb::Redb;
use unattended_simulated::{InitialState, SimConfig, SimTarget, Simulated, World};
use unattended_upgrade::{Group, Journal, MemoryJournal, Stream, Version};

/// The time of a single event does not depend on how large the fleet is; that of a tick does.
const SMALL: (u32, u32) = (30_000, 300);
const LARGE: (u32, u32) = (300_000, 3_000);
const START_WALL_MS: i64 = 1_795_420_800_000;

fn main() {
    if let Some(path) = std::env::var_os(TAKEN_UP) {
        return take_up(Path::new(&path), LARGE);
    }
    let mut suite = Suite::new("autopilot", 1);
    events(&mut suite);
    suite.finish();
    // A run that only tests, or asks for something else, measures nothing.
    if std::env::args().any(|argument| argument == "--bench") && !std::env::args().any(|argument| argument == "events")
    {
        state(LARGE);
    }
}

struct Nobody;

#[async_trait::async_trait]
impl Notifier for Nobody {
    async fn notify(&self, _: &Notice) {}
}

/// Counts the rows that are handed out.
struct Counted {
    world: Arc<Simulated>,
    rows: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl MetricSource for Counted {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.world.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.world.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let interval = self.world.read(index, end_ms).await?;
        self.rows.fetch_add(interval.rows.len() as u64, Ordering::Relaxed);
        Ok(interval)
    }
}

fn world(fleet: &[Pod]) -> Arc<Simulated> {
    let targets = fleet.iter().map(|pod| SimTarget {
        labels: pod
            .labels()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        id: pod.id.clone(),
        app: pod.app.clone(),
        state: InitialState::Healthy,
    });
    let config = SimConfig {
        world: World::calm(),
        targets: targets.collect(),
        old: Version::from("old"),
        new: Version::from("new"),
        start_wall_ms: START_WALL_MS,
        ..SimConfig::default()
    };
    Simulated::new(config).expect("the fleet is valid")
}

fn change(fleet: &[Pod]) -> Change {
    let mut builder = Fleet::builder();
    for pod in fleet {
        builder
            .push(&pod.id, &pod.app, pod.labels(), true)
            .expect("names differ");
    }
    let fleet = Arc::new(builder.build().expect("it has targets"));
    Change::new("bench", Actor::person("li", "bench"), "old".into(), "new".into(), fleet)
        .policy(
            Policy::new()
                .per_app(pct(25))
                .total_in_flight(pct(25))
                .spread(["zone", "stack"]),
        )
        .settings(Settings::default())
}

/// Runs the change, or what the journal says is left of it; counts the rows of metrics.
fn run(world: &Arc<Simulated>, change: Change, journal: impl Journal, rows: &Arc<AtomicU64>) -> (Handle, Outcome) {
    let grant = Grant::new(Level::L4, Actor::person("li", "bench"), i64::MAX).expect("it does not end");
    let pilot = Autopilot::builder()
        .platform(Arc::clone(world))
        .metrics(Counted {
            world: Arc::clone(world),
            rows: Arc::clone(rows),
        })
        .journal(journal)
        .clock(world.clock())
        .rules(Guard::empty())
        .notifier(Nobody)
        .grant(grant)
        .build()
        .expect("nothing is missing");
    let (handle, run) = pilot.start(change).expect("the change fits the fleet");
    let born = handle.clone();
    world.on_birth(Box::new(move |newborn| {
        let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        match born.version_for(newborn.target.as_str(), &newborn.app, &labels) {
            Side::New => "new".into(),
            Side::Old => "old".into(),
        }
    }));
    let ended = world
        .executor()
        .run(run)
        .expect("a timer is set while anything is to be done");
    (handle, ended.expect("journal and metrics work"))
}

/// A change from its first record to its last, in memory: whoever plays it decides all over again. And the rows of metrics in it.
fn journal(of: (u32, u32)) -> (Arc<MemoryJournal>, u64) {
    let fleet: Vec<Pod> = pods(of.0, of.1, 7).collect();
    let journal = Arc::new(MemoryJournal::new());
    let rows = Arc::default();
    let (_, outcome) = run(&world(&fleet), change(&fleet), Arc::clone(&journal), &rows);
    assert!(
        matches!(outcome, Outcome::Completed | Outcome::CompletedWithDebt),
        "{outcome:?}"
    );
    (journal, rows.load(Ordering::Relaxed))
}

/// Everything that a change has to take in: each record, those of attempts and those of the machine, and in the record of an interval
/// each row of metrics, which is what it has to do something about; and the fleet, the plan and the judge that it begins with. The floor
/// reads the same records and adds up their bytes.
fn events(suite: &mut Suite) {
    let (journal, rows) = journal(SMALL);
    let records = block_on(journal.end()).expect("it is in memory");
    let events = records + rows;
    suite.measure("events", events, |b| {
        b.iter(|| {
            let played = block_on(replay(&*journal, None)).expect("it was written by this program");
            assert_eq!(played.first_difference, None);
            played.decisions
        });
    });
    suite.measure("reading_events", events, |b| {
        b.iter(|| {
            let groups = block_on(journal.read(0, usize::MAX)).expect("it is in memory");
            let each = groups.iter().flat_map(|(_, group): &(_, Group)| group.records());
            each.map(|record| black_box(record.bytes).iter().map(|byte| u64::from(*byte)).sum::<u64>())
                .sum::<u64>()
        });
    });
    suite.compare(
        "a whole change of 30,000 targets, played",
        "event",
        "events",
        "reading_events",
        "reading the records, adding their bytes",
    );
    let ticks = block_on(journal.read(0, usize::MAX)).expect("it is in memory");
    let ours = |stream: Stream| -> usize {
        ticks
            .iter()
            .map(|(_, group)| group.records().filter(|record| record.stream == stream).count())
            .sum()
    };
    println!(
        "autopilot: {records} records, {} of attempts and {} of the machine, and {rows} rows of metrics",
        ours(Stream::UPGRADE),
        ours(Stream::AUTOPILOT)
    );
}

/// What the system says that the process has in memory, in bytes; `None` where it does not say.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1_024)
}

/// What is held between two turns of a change: its handle is kept, and with it the machine. The fleet and its plan are part of
/// it, the world and the journal are not. The floor is the names of its targets, each once.
///
/// The change runs here, and is taken up by another process: what this one has freed would be used again, and not seen.
fn state((targets, apps): (u32, u32)) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build may write there");
    let path = directory.path().join("journal.redb");
    let fleet: Vec<Pod> = pods(targets, apps, 7).collect();
    let journal = Redb::open(&path).expect("the file is new");
    drop(run(&world(&fleet), change(&fleet), journal, &Arc::default()));
    let own = std::env::current_exe().expect("it is running");
    let ended = std::process::Command::new(own).env(TAKEN_UP, &path).status();
    assert!(ended.expect("it is the same program").success());
}

/// The journal that this process is to take up, measuring what that takes.
const TAKEN_UP: &str = "UNATTENDED_BENCH_JOURNAL";

fn take_up(path: &Path, (targets, apps): (u32, u32)) {
    let fleet: Vec<Pod> = pods(targets, apps, 7).collect();
    let names: usize = fleet.iter().map(|pod| pod.id.len() + size_of::<String>()).sum();
    let (world, journal) = (world(&fleet), Redb::open(path).expect("it was written by this program"));
    let before = resident();
    let (handle, outcome) = run(&world, change(&fleet), journal, &Arc::default());
    let after = resident();
    let exposed = handle.progress().expect("it has run").exposed;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    println!(
        "autopilot: the state of {apps} lanes with {targets} targets ({exposed} exposed, {}) takes {} MB beside {} MB of their names",
        outcome.as_str(),
        before.zip(after).map_or_else(
            || "?".to_owned(),
            |(before, after)| megabytes(after.saturating_sub(before)).to_string()
        ),
        megabytes(names as u64)
    );
}
