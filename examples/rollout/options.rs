//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use unattended::defense::instant;
use unattended::upgrade::Wanted;
use unattended::{Budget, Level, OnClassFault, OnStop};
use unattended_examples_support::{InputError, Source};

use crate::{budget, traffic};

/// Watch a release of a sidecar roll over a fleet with nobody touching it.
///
/// The fleet comes from a file, or is made up; the world it lives in is simulated on virtual time from one seed, with
/// traffic, failures, restarts, births and deaths. Planner, rules, judge, upgrades and journal are the real ones.
#[derive(Debug, Parser)]
#[command(name = "rollout", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Options {
    /// The fleet: a CSV file with a header, JSON lines, or what `kubectl get pods -A -o json` prints; `-` reads
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with = "synthetic")]
    pub(crate) inventory: Option<String>,
    /// Which columns say what, as in `app=app_name,id=instance_sn,stack=role`
    #[arg(long, value_name = "ROLE=COLUMN,…", requires = "inventory")]
    pub(crate) map: Option<String>,
    /// The sidecar's container in a list of pods, as a regular expression for its whole name
    #[arg(long, value_name = "REGEX", requires = "inventory")]
    pub(crate) container: Option<String>,
    /// A made-up fleet, as in `300000x3000`
    #[arg(long, value_name = "PODSxAPPS")]
    pub(crate) synthetic: Option<String>,
    /// Rule packs: YAML files or directories of them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) rules: Vec<PathBuf>,
    /// What the release is like: good, same, crash, unready, errors=xN, latency=xN, late=DUR[:errors=xN],
    /// load=SHARE:errors=xN, leak=N%/h, one-way, mute=SHARE, old-peers=xN, new-pairs=xN, dependency=xN; several with
    /// `+`, narrowed by @label=value
    #[arg(long, value_name = "SPEC", default_value = "good")]
    pub(crate) release: String,
    /// How much the autopilot does by itself: 0 (nothing: every step by hand), 1 (a word for each target), 2 (a word for each
    /// batch), 3 (a person resumes), 4 (also rolls back), 5 (also begins what a program chose, and chooses when)
    #[arg(long, value_name = "N", default_value = "4", value_parser = level)]
    pub(crate) level: Level,
    /// For how long the level is granted, as in `36h`; then it is 2 at most [default: as long as the budget's `longest`]
    #[arg(long, value_name = "DUR", value_parser = budget::duration_ms)]
    pub(crate) granted_for: Option<u64>,
    /// Labels of past changes, one JSON object a line: the level is what they have earned, and `--level` at most
    #[arg(long, value_name = "FILE")]
    pub(crate) earned: Option<PathBuf>,
    /// How much it does by itself at any level, as in `starts-per-day=500,longest=7d`. Also: resumes-per-day,
    /// rollbacks-per-day, heals-per-day, rollback-share, exposure-share (`25%`)
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = budget::budget, default_value = "")]
    pub(crate) budget: Budget,
    /// Try the way back first: one target goes to the new version, back, and there again, before anybody else
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// What goes back where one value of a label alone explains what the release would be stopped for: the whole change, or this
    /// class, while the rest goes on
    #[arg(long, value_enum, default_value_t = ClassFault::Change)]
    pub(crate) on_class_fault: ClassFault,
    /// What is done where the release is stopped: it is rolled back; what runs it gets no traffic, newest first, as far as the caps let it,
    /// until a person says; or it is left as it stands until then
    #[arg(long, value_enum, default_value_t = Stop::RollBack)]
    pub(crate) on_stop: Stop,
    /// The release cannot be taken back, and why: then a stop must do something else, by `--on-stop`
    #[arg(
        long,
        value_name = "WHY",
        conflicts_with = "rehearse",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub(crate) one_way: Option<String>,
    /// What is rolled out, as a reference, for rules that ask whether it is pinned by a digest, as in `registry/mesh@sha256:…`
    #[arg(long, value_name = "REF", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) artefact: Option<String>,
    /// When the release was made, for rules that ask how old it is, as in `2026-11-22T10:00Z`
    #[arg(long, value_name = "INSTANT", value_parser = made)]
    pub(crate) made: Option<i64>,
    /// The platform isolates, restarts and replaces single bad nodes, of which a world has some with `bad_node_share`
    #[arg(long)]
    pub(crate) heal: bool,
    /// Labels that name what can be cut off as one, the largest first, as in `region,zone`: the values of the first are exposed
    /// one after the other, and one that cannot be reached holds its own targets only
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub(crate) domains: Vec<String>,
    /// Errors so many times as frequent are to be found within one bake, nine times of ten, as in `x3`: the first batch and the
    /// bakes are made as large as that takes at the world's traffic
    #[arg(long, value_name = "xN", value_parser = traffic::ratio)]
    pub(crate) detect: Option<f64>,
    /// How long it may take, as in `48h`: the page says which lanes miss it and why, as it stands, while the change runs
    #[arg(long, value_name = "DUR", value_parser = budget::duration_ms)]
    pub(crate) deadline: Option<u64>,
    /// Who chose this release: below level 5 a person decides what begins
    #[arg(long, value_enum, default_value_t = Chooser::Person)]
    pub(crate) chosen_by: Chooser,
    /// Who answers questions
    #[arg(long, value_enum, default_value_t = Operator::Simulated)]
    pub(crate) operator: Operator,
    /// A file that says `go`; anything else in it, or its absence, lets no effect pass
    #[arg(long, value_name = "FILE")]
    pub(crate) permit: Option<PathBuf>,
    /// Post what people are told there, as JSON
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Post signs of life there, as JSON
    #[arg(long, value_name = "URL", requires = "webhook")]
    pub(crate) heartbeat: Option<String>,
    /// How a target is upgraded
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    pub(crate) mode: Mode,
    /// The seed of the world and of the plan
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// A world other than the default one, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) world: Option<PathBuf>,
    /// Where the journal is kept; a second run with the same file resumes
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Write down what happens, for the example `shadow`; a change that is taken up again is recorded from there only, so not with
    /// a journal
    #[arg(long, value_name = "FILE", conflicts_with = "journal")]
    pub(crate) record: Option<PathBuf>,
    /// Write each event there as it happens, one JSON line each; a run that takes a journal up goes on in the file
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Put each event into an envelope of CloudEvents 1.0
    #[arg(long, requires = "events")]
    pub(crate) cloud_events: bool,
    /// Abort the process as soon as the journal has this many records
    #[arg(long, value_name = "N", requires = "journal")]
    pub(crate) kill_after: Option<u64>,
    /// Print the journal as JSON lines and do nothing else
    #[arg(long, requires = "journal")]
    pub(crate) dump: bool,
    /// Where the report page goes [default: report.html, or nowhere with --json]
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Plan, prove, say what the rules say now, and touch nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operator {
    /// Says yes after ten virtual minutes, and takes the steps of levels 0 and 1 as they are offered
    Simulated,
    /// You, at this terminal
    Prompt,
    /// Nobody: the run ends as waiting
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Chooser {
    Person,
    Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClassFault {
    Change,
    Class,
}

impl From<ClassFault> for OnClassFault {
    fn from(wanted: ClassFault) -> Self {
        match wanted {
            ClassFault::Change => Self::Change,
            ClassFault::Class => Self::Class,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stop {
    RollBack,
    CutTraffic,
    Freeze,
}

impl From<Stop> for OnStop {
    fn from(wanted: Stop) -> Self {
        match wanted {
            Stop::RollBack => Self::RollBack,
            Stop::CutTraffic => Self::CutTraffic,
            Stop::Freeze => Self::FreezeInPlace,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Auto,
    Cold,
    Warm,
}

impl From<Mode> for Wanted {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::Cold => Self::Cold,
            Mode::Warm => Self::Warm,
        }
    }
}

fn level(text: &str) -> Result<Level, String> {
    text.parse()
}

fn made(text: &str) -> Result<i64, String> {
    instant(text).map_err(|error| error.to_string())
}

impl Options {
    /// Where the fleet comes from.
    pub(crate) fn source(&self) -> Result<Source, InputError> {
        Source::named(
            self.inventory.as_deref(),
            self.map.as_deref(),
            self.container.as_deref(),
            self.synthetic.as_deref(),
            self.seed,
        )
    }
}
