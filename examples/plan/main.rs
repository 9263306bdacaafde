//! Plan a change of a fleet: who changes when, proved, and what it costs in time and exposure.
//!
//! ```text
//! cargo run --release --example plan
//! cargo run --release --example plan -- --inventory fleet.csv --map app=app_name,id=instance_sn,stack=role --json
//! cargo run --release --example plan -- --policy docs/plan-policy.yaml --html plan.html
//! cargo run --release --example plan -- --help
//! ```

#[path = "../common/fleet.rs"]
mod common;
mod html;
mod json;
mod options;
mod places;
mod policy;
mod previous;
mod scatter;
mod table;
mod trace;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use unattended::batching::{Conditions, Fleet, Forecast, Plan, Policy, Proof, count as amount, verify};
use unattended_examples_support::{Exit, Failure, Inventory, load};

use crate::options::Options;
use crate::policy::PolicyFile;
use crate::previous::Earlier;

/// A plan that was proved, with all it was made of.
pub(crate) struct Planned {
    pub(crate) fleet: Fleet,
    pub(crate) policy: Policy,
    pub(crate) conditions: Conditions,
    pub(crate) plan: Plan,
    pub(crate) proof: Proof,
    pub(crate) forecast: Forecast,
    pub(crate) seed: u64,
    /// Targets of the earlier plan that are gone, and targets it did not have.
    pub(crate) changed: Option<(usize, usize)>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let code = start(&options).map_or_else(|failure| failure.told(), |()| Exit::Completed);
    code.into()
}

fn start(options: &Options) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the program reports how long it really took")]
    let began = std::time::Instant::now();
    let file = PolicyFile::read(options.policy.as_deref())?;
    let earlier = options.previous.as_deref().map(Earlier::read).transpose()?;
    let inventory = load(&options.source().map_err(Failure::input)?).map_err(Failure::input)?;
    for note in &inventory.notes {
        eprintln!("{note}");
    }
    let seed = options
        .seed
        .or_else(|| earlier.as_ref().map(|earlier| earlier.seed))
        .unwrap_or(1);
    if options.trace {
        return trace::run(&inventory, &file, earlier.as_ref(), seed);
    }
    let planned = plan(&inventory, &file, earlier.as_ref(), seed)?;
    if let Some(path) = &options.html {
        write(path, &html::page(&planned))?;
    }
    let text = if options.json {
        json::line(&planned, || began.elapsed().as_secs_f64())?
    } else {
        table::text(&planned, options.html.as_deref())
    };
    print(text.as_bytes())
}

fn plan(inventory: &Inventory, file: &PolicyFile, earlier: Option<&Earlier>, seed: u64) -> Result<Planned, Failure> {
    plan_of(
        common::fleet(&inventory.targets).map_err(Failure::input)?,
        file,
        earlier,
        seed,
    )
}

/// Plans, proves and forecasts.
pub(crate) fn plan_of(
    fleet: Fleet,
    file: &PolicyFile,
    earlier: Option<&Earlier>,
    seed: u64,
) -> Result<Planned, Failure> {
    let policy = file.policy().cloned().unwrap_or_else(|| default_policy(&fleet));
    let conditions = file.conditions(&fleet)?;
    let (plan, proof) = match earlier {
        None => {
            let plan = Plan::build(&fleet, &policy, seed).map_err(|error| file.refused(&error))?;
            let proof = verify(&fleet, &policy, &plan).map_err(|found| policy::unproved(&found))?;
            (plan, proof)
        }
        Some(earlier) => earlier.repair(&fleet, &policy, seed, file)?,
    };
    let forecast =
        Forecast::of(&fleet, &policy, &plan, &conditions).map_err(|error| file.refused_conditions(&error))?;
    Ok(Planned {
        changed: earlier.map(|earlier| earlier.changed(&fleet)),
        fleet,
        policy,
        conditions,
        plan,
        proof,
        forecast,
        seed,
    })
}

/// Without a file: batches double, from at most 0.1 % of the fleet, over every label that can make classes; at most a quarter of an
/// application and a tenth of the fleet at once. Where the inventory has targets that are not ready, they may be replaced one at a time in each
/// application, even where they have used up an allowance.
fn default_policy(fleet: &Fleet) -> Policy {
    let policy = Policy::new().spread(common::spread_keys(fleet));
    if fleet.targets().all(|target| fleet.ready(target)) {
        policy
    } else {
        policy.fix_in_flight_per_app(amount(1))
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::Input(format!(
            "{}: the page cannot be written: {error}; fix: name a file in a directory that exists",
            path.display()
        ))
    })
}

/// Somebody who closed the pipe has seen enough.
pub(crate) fn print(text: &[u8]) -> Result<(), Failure> {
    Failure::of_stdout(std::io::stdout().lock().write_all(text))
}
