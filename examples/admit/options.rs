//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use unattended_examples_support::{Failure, Source};

/// Ask rule packs whether a change may go now, why not, and when.
///
/// Exit codes: 0 allowed (a chain is whole, tests pass, a page is written); 1 held or denied (a chain is broken, a test
/// fails); 2 bad input; 3 a person must decide, or nobody can tell; 4 a fault of this program.
#[derive(Debug, Parser)]
#[command(name = "admit", disable_version_flag = true, max_term_width = 100)]
#[command(group(ArgGroup::new("what").required(true).multiple(false)
    .args(["request", "test", "timeline", "audit"])))]
pub(crate) struct Options {
    /// Rule packs: YAML files or directories of them
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "audit")]
    pub(crate) rules: Vec<PathBuf>,
    /// The question, as YAML or JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) request: Option<PathBuf>,
    /// The moment asked about, such as `2026-11-22T10:00+08:00` or `2026-11-22T10:00[Asia/Shanghai]` [default: now]
    #[arg(long, value_name = "TIMESTAMP", conflicts_with_all = ["test", "audit"])]
    pub(crate) at: Option<String>,
    /// Append question and answer to this chain; a file that is not there is begun
    #[arg(long, value_name = "FILE", requires = "request")]
    pub(crate) record: Option<PathBuf>,
    /// Run the tests inside the packs
    #[arg(long)]
    pub(crate) test: bool,
    /// Draw who may be touched when, over so many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(crate) timeline: Option<u16>,
    /// The fleet: a CSV file with a header, JSON lines, or what `kubectl get pods -A -o json` prints; `-` reads
    /// standard input [default: a made-up fleet]
    #[arg(long, value_name = "FILE", conflicts_with = "synthetic", requires = "timeline")]
    pub(crate) inventory: Option<String>,
    /// Which columns say what, as in `app=app_name,id=instance_sn,business=biz`
    #[arg(long, value_name = "ROLE=COLUMN,…", requires = "inventory")]
    pub(crate) map: Option<String>,
    /// The sidecar's container in a list of pods, as a regular expression for its whole name
    #[arg(long, value_name = "REGEX", requires = "inventory")]
    pub(crate) container: Option<String>,
    /// A made-up fleet, as in `300000x3000`
    #[arg(long, value_name = "PODSxAPPS", requires = "timeline")]
    pub(crate) synthetic: Option<String>,
    /// The label by which the page groups applications [default: the first that makes sense]
    #[arg(long, value_name = "LABEL", requires = "timeline")]
    pub(crate) group: Option<String>,
    /// The zone of the page
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "timeline")]
    pub(crate) zone: String,
    /// Where the page goes
    #[arg(
        long,
        value_name = "FILE",
        requires = "timeline",
        default_value_if("timeline", clap::builder::ArgPredicate::IsPresent, "timeline.html")
    )]
    pub(crate) html: Option<PathBuf>,
    /// Verify a chain; with --rules, ask its questions again
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Heads of the chain that were kept elsewhere, one anchor a line
    #[arg(long, value_name = "FILE", requires = "audit")]
    pub(crate) anchor: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// Where the fleet comes from.
    pub(crate) fn source(&self) -> Result<Source, Failure> {
        Source::named(
            self.inventory.as_deref(),
            self.map.as_deref(),
            self.container.as_deref(),
            self.synthetic.as_deref(),
            1,
        )
        .map_err(Failure::input)
    }
}
