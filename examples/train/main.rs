//! A simulated quarter of a release train: ninety nightlies, some of them bad, a hotfix, a week of freeze, and a controller
//! that is killed in between.
//!
//! ```text
//! cargo run --release --example train -- --level 5
//! cargo run --release --example train -- --cadence monthly --level 4 --html train.html
//! cargo run --release --example train -- --help
//! ```

#[path = "../common/fleet.rs"]
mod common;
#[path = "../common/sidecar.rs"]
#[expect(dead_code, reason = "of the examples' change the train takes the policy")]
mod fleet;
#[path = "../gauntlet/lots.rs"]
mod lots;
#[path = "../common/policy.rs"]
mod policy;
#[path = "../gauntlet/scenario.rs"]
#[expect(dead_code, reason = "the train draws releases of the built-in scenario one by one")]
mod scenario;
#[path = "../gauntlet/template.rs"]
mod template;
#[path = "../gauntlet/truth.rs"]
mod truth;

mod charge;
mod clock;
mod fleets;
mod options;
mod output;
mod person;
mod quarter;
mod site;
#[cfg(test)]
mod tests;
mod tree;
mod world;

use std::process::ExitCode;

use clap::Parser;
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    start(&options).unwrap_or_else(|failure| failure.told()).into()
}

fn start(options: &Options) -> Result<Exit, Failure> {
    options.check_page()?;
    let quarter = quarter::run(options)?;
    output::print(&if options.json {
        output::json(&quarter)?
    } else {
        output::text(&quarter)
    })?;
    Ok(quarter.exit())
}
