//! Explores every mode, then takes one rule after the other away and shows what goes wrong without it.
//!
//! ```text
//! cargo run --release -p unattended-upgrade --example explore              # for people
//! cargo run --release -p unattended-upgrade --example explore -- --json    # for programs
//! cargo run --release -p unattended-upgrade --example explore -- --dot     # the transition tables, for Graphviz
//! cargo run --release -p unattended-upgrade --example explore -- --markdown   # the same, as docs/upgrade-tables.md has them
//! ```
//!
//! Exit code 0: every invariant holds in every mode, and every ablation has a counterexample; 1: not so; 2: bad options;
//! 4: the output could not be written. A reader that has read enough is no fault.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use unattended_upgrade::Mode;
use unattended_upgrade::explore::{Ablation, Counterexample, Explored, FAULTS, ablate, explore, tables};

const SCHEMA: u32 = 1;

const USAGE: &str = "\
Usage: explore [--json | --dot | --markdown]

Explores every way an upgrade can go, in each mode, with up to three faults on one way, and each rule taken away.

  --json      for programs: states, transitions, invariants, and the lengths of counterexamples
  --dot       the transitions of each mode as graphs
  --markdown  the same as tables

Exit codes: 0 all hold and each rule is needed, 1 not so, 2 usage, 4 the output could not be written.
";

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    let (text, code) = match options.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => people(),
        ["--json"] => programs(),
        ["--dot"] => {
            let dots = Mode::ALL.map(|mode| explore(mode, FAULTS).table.dot());
            (dots.concat(), ExitCode::SUCCESS)
        }
        ["--markdown"] => {
            let explored = Mode::ALL.map(|mode| explore(mode, FAULTS));
            (tables(&explored), ExitCode::SUCCESS)
        }
        ["--help" | "-h"] => (USAGE.to_owned(), ExitCode::SUCCESS),
        _ => {
            eprintln!("error: give one of --json, --dot, --markdown, or nothing; found {options:?}");
            return ExitCode::from(2);
        }
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: the output cannot be written: {error}");
            ExitCode::from(4)
        }
        _ => code,
    }
}

type Ablated = (Ablation, Option<(Mode, Counterexample)>);

fn all() -> (Vec<Explored>, Vec<Ablated>, ExitCode) {
    let modes: Vec<Explored> = Mode::ALL.into_iter().map(|mode| explore(mode, FAULTS)).collect();
    let ablations: Vec<Ablated> = Ablation::ALL.into_iter().map(|rule| (rule, ablate(rule))).collect();
    let hold = modes.iter().all(|explored| explored.counterexample.is_none());
    let needed = ablations.iter().all(|(_, found)| found.is_some());
    let code = if hold && needed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    };
    (modes, ablations, code)
}

fn programs() -> (String, ExitCode) {
    let (explored, ablated, code) = all();
    let mut modes = Map::new();
    for explored in &explored {
        modes.insert(
            explored.mode.to_string(),
            json!({
                "states": explored.states,
                "transitions": explored.transitions,
                "ends": explored.ends,
                "invariants_held": explored.counterexample.is_none(),
                "counterexample": explored.counterexample,
            }),
        );
    }
    let mut ablations = Map::new();
    for (rule, found) in &ablated {
        let value = found.as_ref().map_or(Value::Null, |(mode, example)| {
            json!({
                "counterexample_length": example.trace.len(),
                "mode": mode,
                "invariant": example.invariant,
                "says": example.says,
                "trace": example.trace,
            })
        });
        ablations.insert(rule.name().to_owned(), value);
    }
    let all = json!({ "schema": SCHEMA, "modes": modes, "ablations": ablations });
    (format!("{all:#}\n"), code)
}

fn people() -> (String, ExitCode) {
    let (explored, ablated, code) = all();
    let mut lines = Vec::new();
    for explored in &explored {
        lines.push(format!(
            "{:7} {:>8} states {:>9} transitions  {}",
            explored.mode.to_string(),
            explored.states,
            explored.transitions,
            match &explored.counterexample {
                None => "every invariant holds".to_owned(),
                Some(example) => format!("{} IS BROKEN: {}", example.invariant, example.says),
            }
        ));
        lines.extend(explored.counterexample.iter().flat_map(trace));
    }
    for (rule, found) in &ablated {
        lines.push(String::new());
        match found {
            Some((mode, example)) => {
                lines.push(format!(
                    "without {}: {} is broken in {} steps ({mode}): {}",
                    rule.name(),
                    example.invariant,
                    example.trace.len(),
                    example.says
                ));
                lines.extend(trace(example));
            }
            None => lines.push(format!(
                "without {}: nothing is broken, so it is not needed",
                rule.name()
            )),
        }
    }
    lines.push(String::new());
    (lines.join("\n"), code)
}

fn trace(example: &Counterexample) -> impl Iterator<Item = String> {
    (1..)
        .zip(&example.trace)
        .map(|(number, what)| format!("  {number:>3}  {what}"))
}
