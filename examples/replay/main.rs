//! Play a change again from its journal: is the same decided, byte for byte, and what would other rules have decided?
//!
//! ```text
//! cargo run --release --example rollout -- --journal change.redb
//! cargo run --release --example replay -- change.redb
//! cargo run --release --example replay -- change.redb --what-if rules.yaml
//! ```

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use unattended::defense::Guard;
use unattended::upgrade::JournalError;
use unattended::{DECISIONS, Replay, WhatIf, replay};
use unattended_examples_support::Failure;
use unattended_redb::Redb;

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;
/// Answers of other rules that are printed one by one.
const SHOWN: usize = 40;

/// Plays the journal of a change again, without its world: the same inputs, and whether the same is decided.
#[derive(Debug, Parser)]
#[command(name = "replay", disable_version_flag = true, max_term_width = 100)]
struct Options {
    /// The journal, as `rollout --journal` keeps it
    journal: PathBuf,
    /// Other rule packs: says which of their answers would have been others, when, and what was started meanwhile
    #[arg(long, value_name = "RULES", num_args = 1..)]
    what_if: Vec<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'r> {
    schema: u32,
    change: &'r str,
    from: &'r str,
    to: &'r str,
    level: String,
    identical: bool,
    decided_by: u16,
    digest: &'r str,
    journal_digest: &'r str,
    records: u64,
    decisions: u64,
    starts: u64,
    outcome: Option<&'static str>,
    first_difference: Option<&'r unattended::Difference>,
    what_if: Option<&'r [WhatIf]>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let code = start(&options).unwrap_or_else(|failure| failure.told().code());
    ExitCode::from(code)
}

fn start(options: &Options) -> Result<u8, Failure> {
    let path = options.journal.display();
    let rules = match options.what_if.as_slice() {
        [] => None,
        packs => Some(Guard::load_all(packs).map_err(Failure::input)?),
    };
    if options.journal.is_dir() {
        return Err(Failure::Input(format!(
            "{path}: this is a directory, and a journal is a file: name the one that was given to `rollout --journal`"
        )));
    }
    if !options.journal.is_file() {
        return Err(Failure::Input(format!("{path}: there is no such journal")));
    }
    // What is read is a copy: to open a journal for reading is to open it for writing, and somebody may need it as it is.
    let scratch = tempfile::tempdir().map_err(Failure::internal)?;
    let copy = scratch.path().join("journal");
    Redb::copy(&options.journal, &copy).map_err(|error| match error {
        JournalError::InUse(_) => Failure::Input(format!(
            "{path}: it is in use by another program, which writes to it: wait until that one has ended, or end it (a run goes on where it \
             ended); a copy that is made meanwhile would be torn"
        )),
        error => named(&path.to_string(), &error.to_string()),
    })?;
    let journal = Redb::open(&copy).map_err(|error| {
        // Its own name, not that of the copy.
        let error = error
            .to_string()
            .replace(&copy.display().to_string(), &path.to_string());
        named(&path.to_string(), &error)
    })?;
    let asked = rules.is_some();
    let played = futures::executor::block_on(replay(&journal, rules))
        .map_err(|error| Failure::Input(format!("{path}: {error}")))?;
    let identical = played.first_difference.is_none();
    let text = if options.json {
        serde_json::to_string(&json(&played, identical, asked)).map_err(Failure::internal)?
    } else {
        words(&played, asked)
    };
    Failure::of_stdout(writeln!(std::io::stdout().lock(), "{text}"))?;
    Ok(u8::from(!identical))
}

/// Names the file where the fault does not do so itself.
fn named(path: &str, error: &str) -> Failure {
    // As a word of its own: a file may be called `j`.
    if error.split([' ', ':']).any(|word| word == path) {
        Failure::Input(error.to_owned())
    } else {
        Failure::Input(format!("{path}: {error}"))
    }
}

fn json(played: &Replay, identical: bool, asked: bool) -> Json<'_> {
    let summary = &played.summary;
    Json {
        schema: SCHEMA,
        change: &summary.change,
        from: &summary.from,
        to: &summary.to,
        level: summary.level.to_string(),
        identical,
        decided_by: played.decided_by,
        digest: &played.digest,
        journal_digest: &played.journal_digest,
        records: played.records,
        decisions: played.decisions,
        starts: played.starts,
        outcome: played.outcome.map(unattended::Outcome::as_str),
        first_difference: played.first_difference.as_ref(),
        what_if: asked.then_some(&played.what_if),
    }
}

fn words(played: &Replay, asked: bool) -> String {
    let summary = &played.summary;
    let mut lines = vec![
        format!(
            "{}: {} to {}, {} targets, {}",
            summary.change,
            summary.from,
            summary.to,
            summary.exposure.targets,
            played.outcome.map_or("not ended", unattended::Outcome::as_str)
        ),
        format!(
            "{} records, {} decisions and {} starts played again",
            played.records, played.decisions, played.starts
        ),
    ];
    if played.decided_by != DECISIONS {
        lines.push(format!(
            "decided by version {} of the decisions, as it began; a change that begins with this build goes by version {DECISIONS}",
            played.decided_by
        ));
    }
    match &played.first_difference {
        None => lines.push(format!("identical; digest {}", played.digest)),
        Some(difference) => {
            let at = time(difference.at_ms);
            let seq = difference
                .seq
                .map_or_else(String::new, |seq| format!(" (record {seq})"));
            lines.push(format!("differs from {at} on{seq}"));
            lines.push(format!("  the journal has:    {}", difference.journal));
            lines.push(format!("  this program says:  {}", difference.now));
        }
    }
    if asked {
        lines.push(String::new());
        lines.extend(other_answers(&played.what_if));
    }
    lines.join("\n")
}

fn other_answers(found: &[WhatIf]) -> Vec<String> {
    if found.is_empty() {
        return vec!["with these rules every answer would have been the same".to_owned()];
    }
    let started: u64 = found.iter().map(|what| what.started).sum();
    let mut lanes: Vec<&str> = found.iter().map(|what| what.lane.as_str()).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let mut lines = vec![format!(
        "with these rules {} answers for {} lanes would have been others; {started} targets were started that would have waited",
        found.len(),
        lanes.len()
    )];
    for what in found.iter().take(SHOWN) {
        let until = what.until_ms.map_or_else(|| "the end".to_owned(), time);
        let way = if what.back { " (way back)" } else { "" };
        lines.push(format!("{} to {until}  {}{way}", time(what.from_ms), what.lane));
        lines.push(format!("    then: {}", what.then));
        lines.push(format!("    with these: {}", what.with_these));
        if what.started > 0 {
            lines.push(format!("    {} targets were started", what.started));
        }
    }
    if found.len() > SHOWN {
        lines.push(format!("and {} more; --json has all", found.len() - SHOWN));
    }
    lines
}

fn time(ms: u64) -> String {
    format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60)
}
