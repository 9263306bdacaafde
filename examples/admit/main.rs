//! Ask rule packs whether a change may go now, why not, and when.
//!
//! ```text
//! cargo run --release --example admit -- --rules docs/packs --request docs/request.yaml
//! cargo run --release --example admit -- --rules docs/packs/example.yaml --timeline 14 --synthetic 300000x3000
//! cargo run --release --example admit -- --help
//! ```

mod answer;
mod chain;
mod options;
#[path = "../common/strangers.rs"]
mod strangers;
mod tests;
mod timeline;

use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use serde::Serialize;
use unattended::defense::{Guard, instant};
use unattended_examples_support::{Exit, Failure, wrap};

use crate::options::Options;

/// The version of the shape of every JSON object.
const SCHEMA: u32 = 1;

fn main() -> ExitCode {
    let options = Options::parse();
    start(&options).unwrap_or_else(|failure| failure.told()).into()
}

fn start(options: &Options) -> Result<Exit, Failure> {
    if let Some(path) = &options.audit {
        return chain::audit(options, path);
    }
    let guard = Guard::load_all(&options.rules).map_err(Failure::input)?;
    if options.test {
        return tests::run(options, &guard);
    }
    let at = moment(options.at.as_deref())?;
    match (&options.request, options.timeline) {
        (Some(path), _) => answer::answer(options, &guard, path, at),
        (None, Some(days)) => timeline::draw(options, &guard, days, at),
        (None, None) => Err(Failure::Internal("nothing was asked for".to_owned())),
    }
}

/// The moment asked about, in unix milliseconds.
fn moment(text: Option<&str>) -> Result<i64, Failure> {
    match text {
        Some(text) => instant(text).map_err(|error| Failure::Input(format!("--at: {error}"))),
        #[expect(clippy::disallowed_methods, reason = "without --at the question is about now")]
        None => Ok(Timestamp::now().as_millisecond()),
    }
}

/// `2026-11-21T00:00:00Z`, for programs.
fn stamp(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// How wide the text is at most, in columns.
const COLUMNS: usize = 80;

/// Prints the text, or the object in one line. Somebody who closed the pipe has seen enough.
fn print(options: &Options, text: impl FnOnce() -> String, object: &impl Serialize) -> Result<(), Failure> {
    use std::io::Write as _;
    let text = if options.json {
        serde_json::to_string(object).map_err(Failure::internal)?
    } else {
        wrap(&text(), COLUMNS)
    };
    Failure::of_stdout(writeln!(std::io::stdout().lock(), "{text}"))
}
