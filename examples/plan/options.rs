//! The command line.

use std::path::PathBuf;

use clap::Parser;
use unattended_examples_support::{InputError, Mapping, Source};

/// Plan a change of a fleet: who changes when, proved, and what it costs in time and exposure.
///
/// The batches, the proof and the forecast are for people; with --json for programs. Nothing is touched.
#[derive(Debug, Parser)]
#[command(name = "plan", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// The fleet: a CSV file with a header, JSON lines, or what `kubectl get pods -A -o json` prints; `-` reads
    /// standard input [default: a made-up one]
    #[arg(long, value_name = "FILE")]
    pub(crate) inventory: Option<PathBuf>,
    /// Which columns say what, as in `app=app_name,id=instance_sn,stack=role`
    #[arg(long, value_name = "ROLE=COLUMN,…", requires = "inventory")]
    pub(crate) map: Option<String>,
    /// The sidecar's container in a list of pods, as a regular expression for its whole name
    #[arg(long, value_name = "REGEX", requires = "inventory")]
    pub(crate) container: Option<String>,
    /// How to grow, what to spread over, what to cap, and when who may be touched; docs/plan-policy.yaml has every field
    #[arg(long, value_name = "FILE.yaml")]
    pub(crate) policy: Option<PathBuf>,
    /// What --json printed before: every target that is still there keeps its batch
    #[arg(long, value_name = "PLAN.json")]
    pub(crate) previous: Option<PathBuf>,
    /// The seed of the order [default: the previous plan's, or 1]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "trace")]
    pub(crate) json: bool,
    /// Write a page with pictures
    #[arg(long, value_name = "FILE", conflicts_with = "trace")]
    pub(crate) html: Option<PathBuf>,
    /// Print a simulated execution as JSON lines, with the births and deaths that the inventory knows
    #[arg(long)]
    pub(crate) trace: bool,
}

impl Options {
    /// Where the fleet comes from.
    pub(crate) fn source(&self) -> Result<Source, InputError> {
        let Some(path) = &self.inventory else {
            return Ok(Source::Bundled);
        };
        Ok(Source::File {
            path: path.clone(),
            map: self.map.as_deref().map(Mapping::parse).transpose()?,
            container: self.container.clone(),
        })
    }
}
