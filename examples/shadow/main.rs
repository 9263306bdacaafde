//! What would the autopilot have done with a change that another tool drove?
//!
//! ```text
//! cargo run --release --example gauntlet -- --releases 4 --policy argo --record runs
//! cargo run --release --example shadow -- runs/0-argo.jsonl
//! cargo run --release --example shadow -- --help
//! ```

#[expect(dead_code, reason = "a record brings a fleet of its own")]
#[path = "../common/fleet.rs"]
mod common;
mod page;
#[path = "../common/policy.rs"]
mod policy;
mod words;

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use unattended::defense::Guard;
use unattended::{RecordedChange, Settings, Shadow, ShadowReport};
use unattended_examples_support::Failure;

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;

/// Reads what happened to a change that another tool drove, and says what the autopilot would have done, when, and what that would
/// have saved. It touches nothing: it has no platform.
///
/// Exit codes: 0 read to its end; 2 bad input; 4 a fault of this program.
#[derive(Debug, Parser)]
#[command(name = "shadow", disable_version_flag = true, max_term_width = 100)]
struct Options {
    /// A recorded change, one JSON object a line (docs/shadow.md); `-` reads standard input
    record: PathBuf,
    /// Rule packs: YAML files or directories of them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
    /// Write a page there
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Serialize)]
struct Json<'r> {
    schema: u32,
    change: &'r str,
    tool: &'r str,
    from: &'r str,
    to: &'r str,
    #[serde(flatten)]
    report: &'r ShadowReport,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let code = start(&options).map_or_else(|failure| failure.told().code(), |()| 0);
    ExitCode::from(code)
}

fn start(options: &Options) -> Result<(), Failure> {
    let name = options.record.display();
    let rules = match options.rules.as_slice() {
        [] => Guard::empty(),
        packs => Guard::load_all(packs).map_err(Failure::input)?,
    };
    let bad = |error: &dyn std::fmt::Display| Failure::Input(format!("{name}: {error}"));
    let read = |lines: &mut dyn std::io::BufRead| {
        Shadow::read(lines, Settings::default(), rules, |fleet, shared| {
            policy::policy(fleet, |key| shared.contains(key)).map_err(|error| error.to_string())
        })
        .map_err(|error| {
            if error.of_rules {
                Failure::input(error)
            } else {
                bad(&error)
            }
        })
    };
    let (shadow, change) = if options.record.as_os_str() == "-" {
        read(&mut std::io::stdin().lock())?
    } else {
        let file = File::open(&options.record).map_err(|error| {
            bad(&format!(
                "{error}: give the file of a recorded change, or `-` for standard input"
            ))
        })?;
        read(&mut BufReader::new(file))?
    };
    let report = shadow.report();
    if let Some(path) = &options.html {
        std::fs::write(path, page::page(&change, &report))
            .map_err(|error| Failure::unwritten(format_args!("{}: the page", path.display()), &error))?;
    }
    let text = if options.json {
        serde_json::to_string(&json(&change, &report)).map_err(Failure::internal)?
    } else {
        words::text(&change, &report)
    };
    Failure::of_stdout(writeln!(std::io::stdout().lock(), "{text}"))
}

fn json<'r>(change: &'r RecordedChange, report: &'r ShadowReport) -> Json<'r> {
    Json {
        schema: SCHEMA,
        change: &change.change,
        tool: &change.tool,
        from: &change.from,
        to: &change.to,
        report,
    }
}
