//! Who would be taken out of use, when, why and for how long: plays a scenario through Envoy's rules, gRPC's, or the
//! native ones.
//!
//! ```text
//! cargo run --release --example outliers -- docs/outliers.json
//! cargo run --release --example outliers -- - < scenario.json
//! ```
//!
//! Actions go to standard output, one JSON object a line, and a last line with the state of every host. The format is in
//! `docs/outliers.md`.

mod json;
mod play;
mod scenario;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use unattended_examples_support::{Exit, Failure};

use crate::scenario::Scenario;

/// Plays a scenario of outcomes and prints who is ejected, when, and why.
#[derive(Debug, Parser)]
struct Options {
    /// The scenario: a file of JSON, or `-` for standard input.
    #[arg(value_name = "FILE|-")]
    scenario: String,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => Exit::Completed.into(),
        Err(failure) => failure.told().into(),
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let (name, text) = if options.scenario == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        ("standard input", read.map(|_| text))
    } else {
        (options.scenario.as_str(), std::fs::read_to_string(&options.scenario))
    };
    let text = text.map_err(|error| Failure::Input(format!("{name}: {error}; fix: name a readable file, or `-`")))?;
    let value = json::read(&text)
        .map_err(|error| Failure::Input(format!("{name}: {error}; fix: give one JSON object, each field once")))?;
    let fault = |error: String| Failure::Input(format!("{name}:{}: {error}", json::line_of(&text, &error)));
    let scenario = Scenario::parse(value).map_err(fault)?;
    let (lines, state) = play::play(&scenario).map_err(fault)?;
    let mut out = std::io::stdout().lock();
    let mut print = || -> std::io::Result<()> {
        for line in &lines {
            writeln!(out, "{}", serde_json::to_string(line)?)?;
        }
        writeln!(out, "{}", serde_json::to_string(&state)?)
    };
    Failure::of_stdout(print())?;
    for note in &state.notes {
        eprintln!("{note}");
    }
    Ok(())
}
