//! Simulated releases by the hundred against the policies that people use: who stops what, how soon, and who stops what was
//! good.
//!
//! ```text
//! cargo run --release --example gauntlet -- --releases 1000
//! cargo run --release --example gauntlet -- --releases 1000 --policy all --html gauntlet.html
//! cargo run --release --example gauntlet -- --help
//! ```

mod bars;
mod baseline;
#[path = "../common/fleet.rs"]
mod common;
mod course;
#[path = "../common/sidecar.rs"]
mod fleet;
mod ground;
mod lots;
mod measures;
mod options;
mod order;
mod ours;
mod output;
mod page;
#[path = "../common/policy.rs"]
mod policy;
#[path = "../common/proportion.rs"]
mod proportion;
#[path = "../common/record.rs"]
mod record;
mod runs;
mod scenario;
mod template;
#[cfg(test)]
mod tests;
mod trial;
mod truth;

use std::process::ExitCode;

use clap::Parser;
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;
use crate::scenario::Scenario;

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
    let synthetic = options.synthetic()?;
    let world = options.world()?;
    let scenario = Scenario::load(options.scenario.as_deref(), &world)?;
    options.check_page()?;
    options.check_folders()?;
    let numbers = options.numbers()?;
    let all = runs::all(options, numbers.clone(), &scenario, synthetic, &world)?;
    let names: Vec<&str> = scenario.families().map(|family| family.name.as_str()).collect();
    if options.trials {
        runs::tell(&all, numbers, &names);
    }
    let standings = output::standings(&all, &names);
    if let Some(path) = &options.html {
        std::fs::write(path, page::page(options, &scenario.name, &standings))
            .map_err(|error| Failure::unwritten(format_args!("{}: the page", path.display()), &error))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    output::print(&if options.json {
        output::json(options, &scenario.name, &standings, seconds)?
    } else {
        output::text(options, &scenario.name, &standings, seconds)
    })?;
    Ok(if output::holds(&standings) {
        Exit::Completed
    } else {
        Exit::Stopped
    })
}
