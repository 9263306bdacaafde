//! How often judges are wrong: false alarms, bad promotions and delays over simulated releases.
//!
//! ```text
//! cargo run --release --example calibrate -- --runs 4000
//! cargo run --release --example calibrate -- --runs 4000 --family heavy-clients --json
//! cargo run --release --example calibrate -- --help
//! ```

mod contest;
mod draws;
mod family;
mod options;
mod ours;
#[path = "../common/proportion.rs"]
mod proportion;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod world;

use std::process::ExitCode;

use clap::Parser;
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    start(&options).unwrap_or_else(|failure| failure.told()).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long it took is shown, and decides nothing"
)]
fn start(options: &Options) -> Result<Exit, Failure> {
    let began = std::time::Instant::now();
    let families = options.families()?;
    if !options.json {
        table::print(&table::head(options.runs, options.seed))?;
    }
    let mut standings = Vec::new();
    for (number, family) in families {
        let side = |bad| contest::releases(family, number, bad, options.runs, options.seed, options.threads());
        let standing = tally::standing(family, &side(false)?, &side(true)?);
        if !options.json {
            table::print(&table::part(&standing))?;
        }
        standings.push(standing);
    }
    let holds = standings.iter().all(|standing| standing.holds);
    let seconds = began.elapsed().as_secs_f64();
    table::print(&if options.json {
        table::json(options, &standings, seconds)?
    } else {
        table::foot(&standings, seconds)
    })?;
    Ok(if holds { Exit::Completed } else { Exit::Stopped })
}
