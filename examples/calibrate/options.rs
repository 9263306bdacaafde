//! The command line.

use clap::Parser;
use unattended_examples_support::{Failure, nearest};

use crate::family::{FAMILIES, Family};

/// How often judges are wrong: healthy releases rolled back, bad ones let pass, and how long it takes.
///
/// Each family is a world with healthy and bad releases; ours and four judges of others see the same rows. docs/judge.md
/// describes the families.
///
/// Exit codes: 0 our bounds hold; 1 one of them is broken beyond what chance explains; 2 bad input; 4 a fault of this program.
#[derive(Debug, Parser)]
#[command(name = "calibrate", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// Healthy releases per family, and as many bad ones
    #[arg(long, value_name = "N", default_value = "400", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) runs: u32,
    /// Only this family [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Option<String>,
    /// The seed of everything random
    #[arg(long, value_name = "N", default_value = "20261122")]
    pub(crate) seed: u64,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) threads: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// The families asked for, each with its number.
    pub(crate) fn families(&self) -> Result<Vec<(u64, &'static Family)>, Failure> {
        let all = || (0_u64..).zip(FAMILIES);
        let Some(name) = &self.family else {
            return Ok(all().collect());
        };
        let chosen: Vec<_> = all().filter(|(_, family)| family.name == name).collect();
        if chosen.is_empty() {
            let names = || FAMILIES.iter().map(|family| family.name);
            let fix = nearest(name, names()).map_or_else(
                || format!("choose one of {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::Input(format!("--family {name}: is not known: {fix}")));
        }
        Ok(chosen)
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        )
    }
}
