//! Watch a release of a sidecar roll over a fleet with nobody touching it.
//!
//! ```text
//! cargo run --release --example rollout
//! cargo run --release --example rollout -- --release errors=x5@stack=java
//! cargo run --release --example rollout -- --help
//! ```

#[path = "../common/fleet.rs"]
mod common;
#[path = "../common/sidecar.rs"]
mod fleet;

mod budget;
mod earned;
mod journal;
mod kept;
mod operator;
mod options;
mod output;
mod places;
#[path = "../common/policy.rs"]
mod policy;
mod post;
mod progress;
#[path = "../common/record.rs"]
mod record;
#[path = "../common/strangers.rs"]
mod strangers;
mod stream;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use futures::FutureExt;
use unattended::defense::Guard;
use unattended::upgrade::{Clock, Version};
use unattended::{Actor, Autopilot, Change, Ending, FilePermit, Grant, Outcome, Settings};
use unattended_examples_support::{Failure, load};
use unattended_redb::Redb;
use unattended_simulated::{ReleaseSpec, SimConfig, Simulated, World};

use crate::fleet::{NEW, OLD, START_WALL_MS, author, births};
use crate::journal::Mortal;
use crate::kept::{Kept, world_log};
use crate::operator::Desk;
use crate::options::{Chooser, Operator, Options, Stop};
use crate::output::Ended;
use crate::post::Post;
use crate::progress::Progress;
use crate::record::Recorder;
use crate::stream::Stream;

fn main() -> ExitCode {
    let options = Options::parse();
    let code = start(&options).unwrap_or_else(|failure| failure.told().code());
    ExitCode::from(code)
}

fn start(options: &Options) -> Result<u8, Failure> {
    if options.dump {
        return output::dump(options.journal.as_deref().unwrap_or_else(|| Path::new("")));
    }
    #[expect(clippy::disallowed_methods, reason = "the program reports how long it really took")]
    let began = std::time::Instant::now();
    let release = ReleaseSpec::parse(&options.release).map_err(Failure::input)?;
    let world = world(options.world.as_deref())?;
    let rules = rules(&options.rules)?;
    let inventory = load(&options.source().map_err(Failure::input)?).map_err(Failure::input)?;
    for note in &inventory.notes {
        eprintln!("{note}");
    }
    let labels = || {
        inventory.targets.iter().flat_map(|target| {
            let own = target.labels.iter().map(|(key, value)| (&**key, &**value));
            own.chain(std::iter::once(("app", &*target.app)))
        })
    };
    release.check(labels()).map_err(Failure::input)?;
    strangers::note(&rules, &inventory);
    let fleet = Arc::new(common::fleet(&inventory.targets).map_err(Failure::input)?);
    let policy = policy::policy(&fleet, |_| true).map_err(Failure::input)?;
    let settings = settings(options);
    let change = Change::new(
        NEW,
        match options.chosen_by {
            Chooser::Person => author(),
            Chooser::Program => Actor::program("train", "example"),
        },
        Version::from(OLD),
        Version::from(NEW),
        Arc::clone(&fleet),
    )
    .kind(earned::KIND)
    .policy(policy)
    .settings(settings.clone())
    .seed(options.seed);
    let change = match &options.one_way {
        Some(why) => change.one_way(why),
        None => change,
    };
    let change = match &options.artefact {
        Some(reference) => change.artefact(reference.as_str()),
        None => change,
    };
    let change = match options.made {
        Some(unix_ms) => change.made(unix_ms),
        None => change,
    };
    let expected = traffic::expected(&world);
    let change = match options.detect {
        Some(ratio) => change
            .sized(&expected, ratio, traffic::LONGEST_BAKE_MS)
            .map_err(|error| Failure::Input(format!("--detect x{ratio}: {error}")))?,
        None => change,
    };
    let simulated_targets = fleet::simulated(inventory);
    // Whoever takes notes names the targets; the names of a large fleet are much to copy for nobody.
    let noted = options.record.is_some() && !options.dry_run;
    let noted = if noted { simulated_targets.clone() } else { Vec::new() };
    let config = SimConfig {
        world,
        targets: simulated_targets,
        old: Version::from(OLD),
        new: Version::from(NEW),
        release,
        seed: options.seed,
        start_wall_ms: START_WALL_MS,
        log: options.journal.as_deref().filter(|_| !options.dry_run).map(world_log),
        log_in_groups: true,
        // Only a judge reads them.
        sparse: true,
        warm_up_ms: settings.warm_up_ms,
        interval_ms: settings.interval_ms,
        ..SimConfig::default()
    };
    places::check(options)?;
    let post = Post::of(options)?;
    let journal_path = options.journal.as_deref().filter(|_| !options.dry_run);
    let scratch = tempfile::tempdir().map_err(Failure::internal)?;
    // Whichever is there already may refuse before the other is touched; a journal that is there, before its world is.
    let mut made = Made::before(
        journal_path
            .into_iter()
            .flat_map(|path| [path.to_owned(), world_log(path)]),
    );
    if let Some(path) = journal_path {
        check_is_no_empty_file(path)?;
    }
    let kept = journal_path.map_or(Kept::Nothing, Kept::of);
    let world_first = kept == Kept::World && !journal_path.is_some_and(Path::exists);
    let (early, config) = if world_first {
        (Some(Simulated::new(config).map_err(Failure::input)?), None)
    } else {
        (None, Some(config))
    };
    let journal = match journal_path {
        Some(path) => Redb::open(path),
        None => Redb::scratch(scratch.path().join("journal.redb")),
    }
    .map_err(|error| journal::unopened(options, &error))?;
    if let Some(path) = journal_path {
        kept.check(path, &journal)?;
    }
    let simulated = match (early, config) {
        (Some(simulated), _) => simulated,
        (None, config) => Simulated::new(config.unwrap_or_default()).map_err(Failure::input)?,
    };

    let recorder = Arc::new(match &options.record {
        Some(path) if !options.dry_run => {
            let change = record::recorded([NEW, "unattended"], [OLD, NEW], START_WALL_MS, Some(options.seed));
            Recorder::new(Arc::clone(&simulated), path, &noted, &change)?
        }
        _ => Recorder::idle(Arc::clone(&simulated), Version::from(NEW)),
    });
    let desk = Arc::new(Desk::new(options.operator, post));
    let progress = Progress::new(fleet.len(), !options.json);
    let live = output::LivePage::of(options);
    let clock = simulated.clock();
    let granted_ms = options.granted_for.unwrap_or(options.budget.longest_ms);
    let until = START_WALL_MS.saturating_add(i64::try_from(granted_ms).unwrap_or(i64::MAX));
    let mut grant = Grant::new(options.level, author(), until).map_err(Failure::input)?;
    if let Some(path) = &options.earned {
        let (earned, note) = earned::grant(path, author(), START_WALL_MS)?;
        eprintln!("{note}");
        // Never above what was asked for, nor for longer.
        if earned.level <= grant.level {
            grant = earned;
            grant.until_unix_ms = grant.until_unix_ms.min(until);
        }
    }
    let (journal, unwritten) = Mortal::new(journal, Arc::clone(&simulated), options.kill_after);
    let pilot = Autopilot::builder()
        .platform(Arc::clone(&recorder))
        .metrics(Arc::clone(&recorder))
        .journal(journal)
        .clock(clock.clone())
        .rules(rules)
        .notifier(Arc::clone(&desk))
        .grant(grant)
        .mode(options.mode.into());
    let pilot = match &options.permit {
        Some(path) => pilot.permit(FilePermit::new(path)),
        None => pilot,
    };
    let pilot = if options.heal || options.on_stop == Stop::CutTraffic {
        let numbers = Arc::clone(&simulated);
        pilot.healer(Arc::clone(&simulated), move |target| numbers.node(target))
    } else {
        pilot
    };
    let pilot = pilot.build().map_err(Failure::input)?;
    if options.dry_run {
        let shows = change.shows(&expected).map_err(Failure::input)?;
        let seen = pilot.preview(change, START_WALL_MS).map_err(Failure::input)?;
        return output::dry_run(options, &seen, &shows);
    }
    let mode = pilot.mode().clone();
    let (handle, run) = pilot.start(change).map_err(Failure::input)?;
    made.stay();
    let mut stream = Stream::of(options, kept == Kept::World)?;
    let mut events = stream.listen(&handle);
    desk.connect(&handle, &simulated);
    births(&simulated, &handle);
    let executor = simulated.executor();
    let outcome = executor.run(async {
        let mut run = Box::pin(run).fuse();
        let mut desk = Box::pin(desk.work(&clock)).fuse();
        let mut told = Box::pin(stream.follow(&mut events)).fuse();
        let mut unwritten = Box::pin(async {
            match unwritten.await {
                Ok(error) => error,
                // The journal is gone with the run that had it.
                Err(_) => std::future::pending().await,
            }
        })
        .fuse();
        let mut bars = Box::pin(progress.watch(&handle, &clock)).fuse();
        let mut pages = Box::pin(live.write(&handle, &clock)).fuse();
        futures::select_biased! {
            outcome = run => Ok(outcome),
            error = unwritten => Err(error),
            () = told => unreachable!("events are written, or not, as long as the run lasts"),
            () = desk => unreachable!("the operator works as long as the run lasts"),
            () = bars => unreachable!("the bars live as long as the run lasts"),
            () = pages => unreachable!("the page is written as long as the run lasts"),
        }
    });
    progress.finish();
    if let Some(events) = &mut events {
        stream.drain(events);
    }
    let outcome = match outcome.map_err(Failure::internal)? {
        Ok(outcome) => outcome,
        Err(error) => {
            // The change stands as it is, and the journal is what it goes by.
            journal::told(options, &error);
            return Ok(Outcome::Waiting.exit_code());
        }
    };
    if let Err(error) = simulated.flush() {
        let world = world_log(options.journal.as_deref().unwrap_or_else(|| Path::new("the journal")));
        eprintln!(
            "error: {}: the world cannot be written: {error}; make room there",
            world.display()
        );
    }
    let outcome: Outcome = match outcome {
        Ok(outcome) => outcome,
        Err(
            error @ (unattended::RunError::OtherChange { .. }
            | unattended::RunError::LaterDecisions { .. }
            | unattended::RunError::OtherController { .. }
            | unattended::RunError::TakenOver { .. }
            | unattended::RunError::NoWayBack { .. }
            | unattended::RunError::Journal(_)
            | unattended::RunError::Driver(unattended::upgrade::DriverError::Record(_))),
        ) => {
            let path = options.journal.as_deref().unwrap_or_else(|| Path::new("the journal"));
            return Err(Failure::Input(format!("{}: {error}", path.display())));
        }
        Err(error) => return Err(Failure::internal(error)),
    };
    // Who only watches the change does not hide how it ended.
    let recorded = recorder.ended(match outcome {
        Outcome::Completed | Outcome::CompletedWithDebt => Ending::Completed,
        Outcome::RolledBack | Outcome::RolledBackPartially => Ending::RolledBack,
        Outcome::Waiting | Outcome::Frozen => Ending::Waiting,
        _ => Ending::Aborted,
    });
    if let Err(failure) = recorded {
        let _ = failure.told();
    }
    let Some(summary) = handle.summary() else {
        return Err(Failure::Internal("the run left no summary".to_owned()));
    };
    // Who takes up what has ended waits for no clock.
    let now_ms = handle.progress().map_or(0, |progress| progress.now_ms).max(clock.now());
    let ended = Ended {
        options,
        outcome,
        summary,
        census: simulated.census(),
        proof: *handle.proof(),
        mode,
        virtual_seconds: now_ms / 1_000,
        wall_seconds: began.elapsed().as_secs_f64(),
    };
    if let Err(failure) = output::print(&ended) {
        let _ = failure.told();
    }
    Ok(outcome.exit_code())
}

fn settings(options: &Options) -> Settings {
    let mut settings = Settings::default();
    settings.budget = options.budget.clone();
    settings.domains.clone_from(&options.domains);
    settings.rehearse_way_back = options.rehearse;
    settings.on_class_fault = options.on_class_fault.into();
    settings.on_stop = options.on_stop.into();
    if options.operator == Operator::None {
        // Nobody will come: the run ends as waiting, and a later one with somebody goes on.
        settings.person_patience_ms = 0;
    }
    settings
}

fn world(file: Option<&Path>) -> Result<World, Failure> {
    file.map_or_else(
        || Ok(World::default()),
        |file| World::from_file(file).map_err(Failure::input),
    )
}

fn rules(paths: &[PathBuf]) -> Result<Guard, Failure> {
    if paths.is_empty() {
        return Ok(Guard::empty());
    }
    Guard::load_all(paths).map_err(Failure::input)
}

/// A journal would be made of it, and whoever named it by mistake would lose the place of a file of theirs.
fn check_is_no_empty_file(path: &Path) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(there) if there.is_file() && there.len() == 0 => Err(Failure::Input(format!(
            "{}: this file is empty, and no journal: remove it, or name another",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Files that this run has made beside one another, and takes away again where nothing came of it.
struct Made(Vec<PathBuf>);

impl Made {
    /// Those of them that are not there yet.
    fn before(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(paths.into_iter().filter(|path| !path.exists()).collect())
    }

    /// Something came of it.
    fn stay(&mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in &self.0 {
            // One that was not made need not be removed.
            let _ = std::fs::remove_file(path);
        }
    }
}
