//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;
use unattended::Level;
use unattended::train::Cadence;
use unattended_examples_support::Failure;

/// A simulated quarter of a release train: commits, nightlies, a canary fleet, production.
///
/// Ninety nightlies, about a fifth of them bad in ways of the built-in scenario of `gauntlet`; a hotfix, a week of freeze, and a
/// controller that is killed while production changes. Every change is a real one of the autopilot on simulated fleets.
/// docs/train.md describes what is played and what is counted.
///
/// Exit codes: 0 the quarter held what the train promises; 1 it did not; 2 bad input; 3 a line stands still and waits for a
/// person; 4 a fault of this program.
#[derive(Debug, Parser)]
#[command(name = "train", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// How often a release goes to production: nightly, weekly or monthly
    #[arg(long, value_name = "CADENCE", default_value = "weekly")]
    pub(crate) cadence: Cadence,
    /// How much the train does by itself: at 4 a person chooses each release, at 5 nobody does
    #[arg(long, value_name = "LEVEL", default_value = "5", value_parser = level)]
    pub(crate) level: Level,
    /// The seed of everything that is drawn
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Write a page with the nightlies as a metro map there, and rewrite it as the quarter goes on
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Nightlies of the quarter; tests play fewer
    #[arg(skip = 90_u32)]
    pub(crate) nights: u32,
    /// Print what people are told, as it is told, on standard error
    #[arg(long)]
    pub(crate) notices: bool,
}

fn level(text: &str) -> Result<Level, String> {
    let level: Level = text.parse()?;
    if matches!(level, Level::L4 | Level::L5) {
        Ok(level)
    } else {
        Err(format!(
            "{level} needs somebody at every change, and this quarter has one person who chooses releases; use 4 or 5"
        ))
    }
}

impl Options {
    /// A page that cannot be written is said before anything is done.
    pub(crate) fn check_page(&self) -> Result<(), Failure> {
        let Some(path) = &self.html else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if path.is_dir() || !folder.unwrap_or_else(|| Path::new(".")).is_dir() {
            return Err(Failure::Input(format!(
                "{}: the page cannot be written there: name a file in a folder that exists",
                path.display()
            )));
        }
        Ok(())
    }
}
