//! Explores every mode, then takes one rule after the other away and shows what goes wrong without it.
//!
//! ```text
//! cargo run --release -p unattended-upgrade --example explore              # for people
//! cargo run --release -p unattended-upgrade --example explore -- --json    # for programs
//! cargo run --release -p unattended-upgrade --example explore -- --dot     # the transition tables, for Graphviz
//! cargo run --release -p unattended-upgrade --example explore -- --markdown   # the same, as docs/upgrade-tables.md has them
//! ```
//!
//! Exit code 0: every invariant holds in every mode, and every ablation has a counterexample; 1: not so; 2: bad options.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use unattended_upgrade::Mode;
use unattended_upgrade::explore::{Ablation, Counterexample, Explored, FAULTS, ablate, explore, tables};

const SCHEMA: u32 = 1;

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    match options.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => people(),
        ["--json"] => programs(),
        ["--dot"] => {
            for mode in Mode::ALL {
                print!("{}", explore(mode, FAULTS).table.dot());
            }
            ExitCode::SUCCESS
        }
        ["--markdown"] => {
            let explored = Mode::ALL.map(|mode| explore(mode, FAULTS));
            print!("{}", tables(&explored));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("error: give one of --json, --dot, --markdown, or nothing; found {options:?}");
            ExitCode::from(2)
        }
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

fn programs() -> ExitCode {
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
    println!(
        "{:#}",
        json!({ "schema": SCHEMA, "modes": modes, "ablations": ablations })
    );
    code
}

fn people() -> ExitCode {
    let (explored, ablated, code) = all();
    for explored in &explored {
        println!(
            "{:7} {:>8} states {:>9} transitions  {}",
            explored.mode.to_string(),
            explored.states,
            explored.transitions,
            match &explored.counterexample {
                None => "every invariant holds".to_owned(),
                Some(example) => format!("{} IS BROKEN: {}", example.invariant, example.says),
            }
        );
        if let Some(example) = &explored.counterexample {
            print_trace(example);
        }
    }
    for (rule, found) in &ablated {
        match found {
            Some((mode, example)) => {
                println!(
                    "\nwithout {}: {} is broken in {} steps ({mode}): {}",
                    rule.name(),
                    example.invariant,
                    example.trace.len(),
                    example.says
                );
                print_trace(example);
            }
            None => println!("\nwithout {}: nothing is broken, so it is not needed", rule.name()),
        }
    }
    code
}

fn print_trace(example: &Counterexample) {
    for (number, what) in (1..).zip(&example.trace) {
        println!("  {number:>3}  {what}");
    }
}
