//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use unattended_examples_support::{Failure, Synthetic};
use unattended_simulated::World;

/// Simulated releases, good and bad in many ways, against the policies that people use today.
///
/// A scenario says which releases there are; each is rolled out in a world of its own by every policy, with the same seed.
/// docs/gauntlet.md describes scenarios, policies and measures.
///
/// Exit codes: 0 done, and ours meets its bars; 1 ours misses one by more than chance explains; 2 bad input; 4 a fault of
/// this program.
#[derive(Debug, Parser)]
#[command(name = "gauntlet", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// Releases
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) releases: u32,
    /// The seed of everything that is drawn
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Who rolls out
    #[arg(long, value_name = "POLICY", value_enum, default_value = "ours")]
    pub(crate) policy: Choice,
    /// The size of each fleet
    #[arg(long, value_name = "PODSxAPPS", default_value = "30000x100")]
    pub(crate) synthetic: String,
    /// A world other than the default, as JSON (docs/world.md); families may change it further
    #[arg(long, value_name = "FILE")]
    pub(crate) world: Option<PathBuf>,
    /// Another scenario than the built-in one, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with the comparison there
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print one line of JSON for each release and policy as well, on standard error
    #[arg(long)]
    pub(crate) trials: bool,
    /// Write down what happens to each release, as FOLDER/NUMBER-POLICY.jsonl: what the example `shadow` reads
    #[arg(long, value_name = "FOLDER")]
    pub(crate) record: Option<PathBuf>,
    /// Write the report page of each release that ours rolls out, as FOLDER/NUMBER.html
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pages: Option<PathBuf>,
    /// Roll out nothing but the release of this number, as --trials names it: the first is 0
    #[arg(long, value_name = "NUMBER")]
    pub(crate) only: Option<u32>,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) threads: Option<u16>,
}

/// A policy, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// This project's autopilot at level L4
    Ours,
    /// Argo Rollouts
    Argo,
    /// Flagger
    Flagger,
    /// Spinnaker with Kayenta
    Kayenta,
    /// A z-test that somebody wrote
    Zscore,
    /// A fixed number of targets at fixed intervals, and alarms
    Fixed,
    /// All of these
    All,
}

/// Who rolls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    Ours,
    Argo,
    Flagger,
    Kayenta,
    Zscore,
    Fixed,
}

impl Policy {
    const ALL: [Self; 6] = [
        Self::Ours,
        Self::Argo,
        Self::Flagger,
        Self::Kayenta,
        Self::Zscore,
        Self::Fixed,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Argo => "argo",
            Self::Flagger => "flagger",
            Self::Kayenta => "kayenta",
            Self::Zscore => "zscore",
            Self::Fixed => "fixed",
        }
    }
}

impl Options {
    pub(crate) fn policies(&self) -> Vec<Policy> {
        match self.policy {
            Choice::Ours => vec![Policy::Ours],
            Choice::Argo => vec![Policy::Argo],
            Choice::Flagger => vec![Policy::Flagger],
            Choice::Kayenta => vec![Policy::Kayenta],
            Choice::Zscore => vec![Policy::Zscore],
            Choice::Fixed => vec![Policy::Fixed],
            Choice::All => Policy::ALL.to_vec(),
        }
    }

    pub(crate) fn synthetic(&self) -> Result<Synthetic, Failure> {
        Synthetic::parse(&self.synthetic).map_err(Failure::input)
    }

    pub(crate) fn world(&self) -> Result<World, Failure> {
        let file = self.world.as_deref();
        file.map_or_else(
            || Ok(World::default()),
            |file| World::from_file(file).map_err(Failure::input),
        )
    }

    /// A page that cannot be written is said before anything is done.
    pub(crate) fn check_page(&self) -> Result<(), Failure> {
        let Some(path) = &self.html else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let inputs = [&self.world, &self.scenario];
        if path.is_dir() || !folder.unwrap_or_else(|| Path::new(".")).is_dir() {
            let fix = "name a file in a folder that exists";
            return Err(Failure::Input(format!(
                "{}: the page cannot be written there: {fix}",
                path.display()
            )));
        }
        if inputs.into_iter().flatten().any(|input| input == path) {
            let fix = "name another file for it";
            return Err(Failure::Input(format!(
                "{}: the page would be written over an input: {fix}",
                path.display()
            )));
        }
        Ok(())
    }

    /// Records and pages go into folders that are there, and pages are those of ours.
    pub(crate) fn check_folders(&self) -> Result<(), Failure> {
        if self.pages.is_some() && !self.policies().contains(&Policy::Ours) {
            return Err(Failure::Input(
                "--pages: only releases that `ours` rolls out have a report page: choose --policy ours or --policy all"
                    .to_owned(),
            ));
        }
        for folder in [&self.record, &self.pages].into_iter().flatten() {
            if !folder.is_dir() {
                return Err(Failure::Input(format!(
                    "{}: records and pages go into folders: name one that exists",
                    folder.display()
                )));
            }
            // Said now, and not after the first release.
            tempfile::tempfile_in(folder).map_err(|error| {
                let what = format!("{}: a file in this folder", folder.display());
                Failure::unwritten(what, &error)
            })?;
        }
        Ok(())
    }

    /// The numbers of the releases that are rolled out.
    pub(crate) fn numbers(&self) -> Result<std::ops::Range<usize>, Failure> {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        match self.only {
            None => Ok(0..index(self.releases)),
            Some(number) if number < self.releases => Ok(index(number)..index(number) + 1),
            Some(number) => Err(Failure::Input(format!(
                "--only {number}: the numbers of {} releases go from 0 to {}",
                self.releases,
                self.releases - 1
            ))),
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        )
    }
}
