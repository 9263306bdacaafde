//! A fleet of real proxies under load is upgraded, and the clients check every byte.
//!
//! ```text
//! cargo run --release --example hot_upgrade
//! cargo run --release --example hot_upgrade -- --kill random --rounds 20 --seed 7
//! cargo run --release --example hot_upgrade -- --help
//! ```
//!
//! The program is started several times over: as the proxies, as the applications behind them, and as the controller that
//! upgrades them, so that each of these can be killed.

mod application;
mod client;
mod controller;
mod envoys;
mod exposition;
mod metrics;
mod options;
mod output;
mod round;
mod sidecars;
mod world;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use unattended::upgrade::{Platform as _, SelfCheck, TargetId};
use unattended_examples_support::Failure;
use unattended_process::ProcessPlatform;

use crate::client::{Clients, Tally};
use crate::options::Options;
use crate::output::Answer;
use crate::world::World;

/// Until the fleet serves. What has not come up by then never will, on the slowest of machines.
const UP_WITHIN: Duration = Duration::from_secs(300);

/// Requests to each target before the first upgrade: what a version was like before it is left.
const REQUESTS_BEFORE: u64 = 150;

#[expect(clippy::disallowed_methods, reason = "clients measure how long real answers take")]
fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("sidecar") => unattended_sidecar::main(std::iter::once("sidecar".to_owned()).chain(args)),
        Some("application") => application::main(args),
        Some("controller") => controller::main(args),
        _ => {
            let code = run(&Options::parse()).unwrap_or_else(|failure| failure.told().code());
            ExitCode::from(code)
        }
    }
}

fn run(options: &Options) -> Result<u8, Failure> {
    let scratch = tempfile::tempdir().map_err(Failure::internal)?;
    let mut world = World::new(options.clone(), scratch.path())?;
    // What a killed controller has started must be waited for by somebody.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Failure::internal)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::internal)?;
    runtime.block_on(async {
        let played = tokio::select! {
            played = play(&mut world) => played,
            failure = interrupted() => Err(failure),
        };
        // Whatever has happened, no process is left behind.
        let halted = halt(&world).await;
        let answer = match played.and_then(|answer| halted.map(|()| answer)) {
            Ok(answer) => answer,
            Err(failure) => {
                eprintln!("what the processes wrote is in {}", scratch.keep().display());
                return Err(failure);
            }
        };
        if answer.is_unexpected() {
            // Once the fleet is gone nothing else could say why.
            eprintln!("what the processes wrote is in {}", scratch.keep().display());
        }
        answer.print(options.json).map_err(Failure::internal)?;
        Ok(answer.exit_code())
    })
}

/// Returns when somebody wants the program to end.
async fn interrupted() -> Failure {
    let ends = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = ends else {
        // It ends without a word then, as programs do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Failure::Internal("it was told to end".to_owned())
}

async fn play(world: &mut World) -> Result<Answer, Failure> {
    world.came_up_ms = bring_up(world).await?;
    world.save()?;
    let (world, options) = (&*world, &world.options);
    let zero_ms = round::now_us() / 1_000;
    let tally = Tally::new().ok_or_else(|| Failure::Internal("no histogram".to_owned()))?;
    let clients = Clients::start(world.sites(), tally, options.connections as usize, options.seed);
    let enough = REQUESTS_BEFORE * u64::from(options.fleet);
    let began = now();
    while clients.shared.tally.requests.load(Ordering::Relaxed) < enough && began.elapsed() < UP_WITHIN {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = now();
    let mut rounds = Vec::new();
    let mut runs = 0;
    for round in 1..=options.rounds {
        clients.shared.round.store(round, Ordering::Relaxed);
        let played = round::play(world, &clients.shared, round, runs).await?;
        if played.outcome.exit_code() == 0 {
            runs = round;
        }
        rounds.push(played);
    }
    let seconds = began.elapsed().as_secs_f64();
    let shared = clients.finish().await;
    let reasons = shared.tally.reasons();
    if !reasons.is_empty() {
        eprintln!("0 s is {zero_ms} ms in the logs of the processes");
    }
    for reason in reasons {
        eprintln!("{reason}");
    }
    Ok(Answer::new(options, &shared, &rounds, seconds))
}

/// Starts the fleet and lets go of it: its processes live on. Answers how long the proxies took, in milliseconds.
async fn bring_up(world: &World) -> Result<u64, Failure> {
    let began = now();
    let platform = ProcessPlatform::open(world.fleet_directory(), world.process_targets())
        .await
        .map_err(Failure::internal)?;
    let targets: Vec<TargetId> = world.targets.iter().map(|place| place.id.as_str().into()).collect();
    loop {
        let seen = platform.observe(&targets).await.map_err(Failure::internal)?;
        if seen.iter().all(|one| one.ready && one.self_check == SelfCheck::Passed) {
            break;
        }
        if began.elapsed() > UP_WITHIN {
            return Err(Failure::Internal("the fleet does not come up".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let came_up_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    platform.close().await;
    // The applications take longer to start than their proxies.
    for site in world.sites() {
        while !client::answers(&site).await {
            if began.elapsed() > UP_WITHIN {
                return Err(Failure::Internal("the applications do not come up".to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(came_up_ms)
}

async fn halt(world: &World) -> Result<(), Failure> {
    let platform = ProcessPlatform::open(world.fleet_directory(), world.process_targets())
        .await
        .map_err(Failure::internal)?;
    let ended = platform.halt().await.map_err(Failure::internal)?;
    platform.close().await;
    if !ended {
        return Err(Failure::Internal("a process of the fleet does not end".to_owned()));
    }
    Ok(())
}
