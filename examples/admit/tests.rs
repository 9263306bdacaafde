//! The tests inside the packs.

use serde::Serialize;
use unattended::defense::{Guard, TestRun};
use unattended_examples_support::{Exit, Failure};

use crate::options::Options;
use crate::{SCHEMA, print};

#[derive(Serialize)]
struct Json<'t> {
    schema: u32,
    passed: usize,
    failed: Vec<Failed<'t>>,
}

#[derive(Serialize)]
struct Failed<'t> {
    pack: &'t str,
    test: &'t str,
    file: &'t str,
    line: u64,
    failures: &'t [String],
}

/// Runs them; packs without a test are refused, since nothing would have been tried.
pub(crate) fn run(options: &Options, guard: &Guard) -> Result<Exit, Failure> {
    let runs = guard.test();
    if runs.is_empty() {
        return Err(Failure::Input(
            "--test: these packs have no `tests`, so nothing was tried".to_owned(),
        ));
    }
    let failed: Vec<Failed<'_>> = runs
        .iter()
        .filter(|run| !run.passed())
        .map(|run| Failed {
            pack: &run.pack,
            test: &run.name,
            file: &run.file,
            line: run.line,
            failures: &run.failures,
        })
        .collect();
    let json = Json {
        schema: SCHEMA,
        passed: runs.len() - failed.len(),
        failed,
    };
    print(options, || text(&runs), &json)?;
    Ok(if json.failed.is_empty() {
        Exit::Completed
    } else {
        Exit::Stopped
    })
}

fn text(runs: &[TestRun]) -> String {
    let mut text = String::new();
    for run in runs {
        let word = if run.passed() { "ok" } else { "FAILED" };
        text.push_str(&format!(
            "{}:{}: {}: {word}: {}\n",
            run.file, run.line, run.pack, run.name
        ));
        for failure in &run.failures {
            text.push_str(&format!("    {}\n", failure.replace('\n', "\n    ")));
        }
    }
    let passed = runs.iter().filter(|run| run.passed()).count();
    text.push_str(&format!("{passed} passed, {} failed", runs.len() - passed));
    text
}
