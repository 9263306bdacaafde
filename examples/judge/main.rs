//! Judge a change by counts of a canary and a control.
//!
//! ```text
//! cargo run --release --example judge -- --json <rows.csv
//! cargo run --release --example judge -- --per-host --html evidence.html <hosts.csv
//! cargo run --release --example judge -- --baseline kayenta <rows.csv
//! cargo run --release --example judge -- --power p0=1e-3,r=2,rho=0.05
//! cargo run --release --example judge -- --help
//! ```

mod answer;
mod baseline;
mod cells;
mod fault;
mod first;
#[cfg(test)]
mod fuzzed;
mod hosts;
mod options;
mod page;
mod power;
mod table;
#[cfg(test)]
mod tests;
mod trial;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;
use crate::trial::Trial;

/// The version of the shape of every JSON object.
const SCHEMA: u32 = 1;

fn main() -> ExitCode {
    let options = Options::parse();
    start(&options).unwrap_or_else(|failure| failure.told()).into()
}

fn start(options: &Options) -> Result<Exit, Failure> {
    if let Some(asked) = &options.power {
        let answer = power::answer(options, asked)?;
        print(options, || power::text(&answer), &answer)?;
        return Ok(Exit::Completed);
    }
    let mut table = table::read(std::io::stdin().lock(), options.per_host)?;
    if let Some(name) = options.baseline {
        let answer = baseline::answer(options, name, &table);
        print(options, || baseline::text(&answer), &answer)?;
        return Ok(answer.exit());
    }
    let failures = first::add(options, &mut table)?;
    let trial = Trial::hold(options, &table, failures)?;
    let answer = answer::answer(&trial);
    if let Some(path) = &options.html {
        std::fs::write(path, page::page(&trial, &answer))
            .map_err(|error| Failure::Input(format!("{}: cannot be written: {error}", path.display())))?;
    }
    print(options, || answer::text(&trial, &answer), &answer)?;
    Ok(answer.exit())
}

/// Prints the text, or the object in one line. Somebody who closed the pipe has seen enough.
fn print(options: &Options, text: impl FnOnce() -> String, object: &impl Serialize) -> Result<(), Failure> {
    let text = if options.json {
        serde_json::to_string(object).map_err(Failure::internal)?
    } else {
        text()
    };
    Failure::of_stdout(writeln!(std::io::stdout().lock(), "{}", text.trim_end()))
}
