//! Twenty proxies, twelve servers and a center: what breaks is found, isolated, and laid at the right door.
//!
//! ```text
//! cargo run --release --example heal
//! cargo run --release --example heal -- --virtual --rps 1 --seed 7
//! cargo run --release --example heal -- --help
//! ```

mod desk;
mod html;
mod live;
mod local;
mod options;
mod proxy;
mod random;
mod scenes;
mod score;
mod simulated;

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use unattended_examples_support::{Exit, Failure};

use crate::desk::Desk;
use crate::options::Options;
use crate::scenes::{PROXIES, SERVERS};
use crate::score::{COUNTED, Log, Outcome};

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;

/// The last line of standard output with `--json`.
#[derive(Debug, Serialize)]
struct Answer {
    schema: u32,
    mode: &'static str,
    seed: u64,
    rps: u32,
    proxies: usize,
    servers: usize,
    /// Of the server that died, in milliseconds: when half of the proxies, and the last, had stopped using it.
    dead_isolated_ms_median: Option<u64>,
    dead_isolated_ms_worst: Option<u64>,
    /// Bad calls of the whole fleet until the center named it.
    dead_failures_to_verdict: Option<usize>,
    /// Over all scenes, and before the first.
    wrong_isolations: u64,
    /// The same of servers that were given less.
    wrong_weights: u64,
    requests: u64,
    lost: u64,
    /// Every fault was laid at the right door.
    right: bool,
    reports_taken: u64,
    reports_refused: u64,
    scenes: Vec<Outcome>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    start(&options).unwrap_or_else(|failure| failure.told()).into()
}

fn start(options: &Options) -> Result<Exit, Failure> {
    if let Some(path) = &options.html {
        // Before anything runs, so that nobody waits a minute for a typing error.
        std::fs::write(path, "").map_err(|error| Failure::Input(format!("--html {}: {error}", path.display())))?;
    }
    let (log, desk) = if options.on_virtual_time {
        simulated::run(options.rps, options.seed)?
    } else {
        live::run(options.rps, options.seed)?
    };
    let answer = answer(options, &log, &desk);
    if let Some(path) = &options.html {
        std::fs::write(path, html::page(&log, &answer.scenes, options)).map_err(Failure::internal)?;
    }
    print(options, &answer)?;
    Ok(if answer.right && answer.wrong_isolations == 0 {
        Exit::Completed
    } else {
        Exit::Stopped
    })
}

fn answer(options: &Options, log: &Log, desk: &Desk) -> Answer {
    let scenes = log.results(&desk.notices);
    let dead = scenes.iter().find(|scene| scene.name == "dead");
    let (reports_taken, reports_refused) = desk.reports();
    Answer {
        schema: SCHEMA,
        mode: if options.on_virtual_time { "virtual" } else { "live" },
        seed: options.seed,
        rps: options.rps,
        proxies: PROXIES,
        servers: SERVERS,
        dead_isolated_ms_median: dead.and_then(|scene| scene.isolated_ms_median),
        dead_isolated_ms_worst: dead.and_then(|scene| scene.isolated_ms_worst),
        dead_failures_to_verdict: dead.filter(|scene| scene.right).map(|scene| scene.failures_to_verdict),
        wrong_isolations: log.wrong_before + scenes.iter().map(|scene| scene.wrong_isolations).sum::<u64>(),
        wrong_weights: log.wrong_weights_before + scenes.iter().map(|scene| scene.wrong_weights).sum::<u64>(),
        requests: scenes.iter().map(|scene| scene.requests).sum(),
        lost: scenes.iter().map(|scene| scene.lost).sum(),
        right: scenes.iter().all(|scene| scene.right),
        reports_taken,
        reports_refused,
        scenes,
    }
}

fn print(options: &Options, answer: &Answer) -> Result<(), Failure> {
    use std::io::Write as _;
    let text = if options.json {
        serde_json::to_string(answer).map_err(Failure::internal)?
    } else {
        told(answer)
    };
    Failure::of_stdout(writeln!(std::io::stdout().lock(), "{text}"))
}

fn told(answer: &Answer) -> String {
    let mut lines = vec![format!(
        "{PROXIES} proxies, {SERVERS} servers in three zones, {} requests a second of each proxy, {}",
        answer.rps,
        if answer.mode == "live" {
            "over sockets on loopback"
        } else {
            "on virtual time"
        }
    )];
    let ms = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    for scene in &answer.scenes {
        lines.push(format!("\n{}", scene.what));
        if scene.right {
            let count = scene.failures_to_verdict;
            let more = if count == COUNTED {
                "64 and more"
            } else {
                &count.to_string()
            };
            lines.push(format!(
                "  {} after {}, {more} bad calls of the whole fleet",
                scene.expected,
                ms(scene.found_ms)
            ));
        } else {
            lines.push(format!("  NOT FOUND: {} was to be", scene.expected));
        }
        if scene.eased_ms_worst != scene.isolated_ms_worst {
            let (median, worst) = (ms(scene.eased_ms_median), ms(scene.eased_ms_worst));
            lines.push(format!(
                "  half of the proxies gave it less than its share after {median}, the last after {worst}"
            ));
        }
        if scene.isolated_ms_median.is_some() {
            let (median, worst) = (ms(scene.isolated_ms_median), ms(scene.isolated_ms_worst));
            lines.push(format!(
                "  half of the proxies had stopped using it after {median}, the last after {worst}"
            ));
        }
        lines.push(format!(
            "  {} of {} requests lost, {} wrong isolations, {} wrong weights",
            scene.lost, scene.requests, scene.wrong_isolations, scene.wrong_weights
        ));
        lines.extend(scene.others.iter().map(|other| format!("  also said: {other}")));
    }
    lines.join("\n")
}
