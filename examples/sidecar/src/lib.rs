//! A small real sidecar: an HTTP/1.1, TCP and UDP proxy that is upgraded while its clients stay connected.
//!
//! It shows how a program puts `unattended-handover` and `unattended-health` to use, and is what the hand-over is tried on.
//! It is no mesh: no TLS, no HTTP/2, no service discovery.
//!
//! ```no_run
//! // `sidecar --help` says what there is.
//! let arguments = "sidecar --target pod-7 --instance 1 --version 1.9.2 --slot a --dir /run/pod-7 \
//!                  --admin /run/pod-7/a.sock --http 127.0.0.1:8080=127.0.0.1:80";
//! let code = unattended_sidecar::main(arguments.split_whitespace().map(str::to_owned));
//! ```
//!
//! ```text
//!  clients ──► listeners ──► connections ──► application
//!                 │   ▲          │   ▲
//!            poll │   │ claim    │   │ freeze, adopt
//!                 ▼   │          ▼   │
//!  controller ──► admin ──► conductor ═══ SEQPACKET ═══ conductor of the other slot
//!                   │
//!                   └── /status, /metrics, /self-check, ingress, configuration
//! ```
//!
//! # Guarantees
//!
//! - No traffic before the static self-check has passed, and none that nobody takes: listeners are bound after it.
//! - A connection is given away between two requests or calls, with every byte that was read of the next one; a relayed one
//!   at any moment. What cannot move is asked to end and counted.
//! - `committed`, `ingress` and `configuration` in the target's directory are durable before an order is answered.
//! - A process that is started anew works by the last configuration from its first request on; one that does not take it is
//!   not ready.
//! - The way in that was closed opens by itself when its time has passed, if this process serves and has passed its checks.
//!
//! # Limits
//!
//! - One thread. Requests under way are not moved: they finish first.
//! - Upgrades to other protocols (`CONNECT`, websockets) are not passed on.

mod admin;
mod checks;
mod clock;
mod conductor;
mod config;
mod connection;
mod fault;
mod files;
mod ingress;
mod listeners;
mod log;
mod meters;
mod options;
mod state;
mod status;
mod udp;

use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use unattended_handover::Doorbell;

use admin::Admin;
use config::Config;
use files::Ingress;
use log::Log;
use meters::Meters;
use options::Options;
use state::{Event, Setup, Sidecar};

/// An interval of the error-metrics log.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a release lives that crashes at start.
const CRASH: Duration = Duration::from_millis(50);

/// Bad input; nothing has happened.
const BAD_INPUT: u8 = 2;

/// A fault of this program, or of the machine.
const INTERNAL: u8 = 4;

/// As many descriptors as the system lets this process have: a relayed connection needs two.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What there is must do then; the self-check says if it is too little.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Runs a sidecar to its end. The first of `args` is the program's name.
///
/// Ends with 0 after a stop or when another process has taken its place, with 2 for bad input, with 4 for what the machine
/// does not give.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => {
            // Help is no error; what cannot be printed cannot be helped.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(BAD_INPUT));
        }
    };
    raise_limit();
    let (setup, admin, doorbell) = match prepare(options) {
        Ok(prepared) => prepared,
        Err(error) => return failed(&error, BAD_INPUT),
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(setup, &admin, doorbell)),
        Err(error) => failed(&error, INTERNAL),
    }
}

fn failed(why: &dyn Display, code: u8) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(code)
}

/// Everything that can be wrong with the input is found here.
fn prepare(options: Options) -> Result<(Setup, Admin, Doorbell), String> {
    options.check()?;
    let who = format!("{} {}", options.target, options.slot.as_str());
    let log = Log::open(options.log.as_deref(), who).map_err(|error| error.to_string())?;
    let given = options.config.as_deref().map(config::read).transpose()?;
    let kept = Config::kept(&options.dir, !options.faults().config).map_err(|error| error.to_string())?;
    let config = match (kept, given) {
        // What was pushed is the later word.
        (Some(kept), _) => kept,
        (None, Some(given)) => Config::start(given),
        (None, None) => Config::default(),
    };
    let ingress = Ingress::read(&options.dir).map_err(|error| error.to_string())?;
    let meters = Meters::new(&options.target, &options.version, options.instance).map_err(|error| error.to_string())?;
    let admin = Admin::open(&options.admin).map_err(|error| error.to_string())?;
    let doorbell = Doorbell::open(options.doorbell()).map_err(|error| error.to_string())?;
    let setup = Setup {
        options,
        log,
        meters,
        ingress,
        config,
    };
    Ok((setup, admin, doorbell))
}

async fn run(setup: Setup, admin: &Admin, doorbell: Doorbell) -> ExitCode {
    let (events, heard) = mpsc::unbounded_channel();
    let sidecar = Arc::new(Sidecar::new(setup, events));
    let stop = signal(SignalKind::terminate()).and_then(|mut terminate| {
        let told = Arc::clone(&sidecar);
        tokio::spawn(async move {
            while terminate.recv().await.is_some() {
                told.tell(Event::Stop);
            }
        });
        admin.serve(&sidecar)
    });
    if let Err(error) = stop {
        return failed(&error, INTERNAL);
    }
    sidecar.log.say(format_args!(
        "starts: instance {} of version {}, process {}",
        sidecar.options.instance,
        sidecar.options.version,
        std::process::id()
    ));
    if sidecar.faults.crash {
        tokio::time::sleep(CRASH).await;
        return failed(&"a fault that was asked for", 1);
    }
    tokio::spawn(checks::run(Arc::clone(&sidecar)));
    tokio::spawn(checks::test_itself(Arc::clone(&sidecar)));
    tokio::spawn(ingress::watch(Arc::clone(&sidecar)));
    tokio::spawn(write_errors(Arc::clone(&sidecar)));
    let ended = conductor::conduct(Arc::clone(&sidecar), doorbell, heard).await;
    sidecar.log.line(&sidecar.meters.end_interval().to_log_line());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, INTERNAL),
    }
}

/// The error-metrics log: a line for each interval, to the end of the process.
async fn write_errors(sidecar: Arc<Sidecar>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        sidecar.log.line(&sidecar.meters.end_interval().to_log_line());
    }
}
