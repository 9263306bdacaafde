//! The result for people, and for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use unattended_examples_support::Failure;

use crate::options::Options;
use crate::tally::{Line, Proportion, Standing};

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;

pub(crate) fn head(runs: u32, seed: u64) -> String {
    format!(
        "{runs} healthy and {runs} bad releases per family, seed {seed}. In brackets: exact 95 % intervals.\n\
         false alarms: healthy releases rolled back. bad promotions: bad releases let pass; ours in the worst stage.\n\
         delay: intervals from the first bad one to the rollback, median and 90 %. good through: healthy ones that pass every stage.\n\
         flagger and argo have the limit that turned out best for each family (in hindsight).\n"
    )
}

pub(crate) fn part(standing: &Standing) -> String {
    let mut out = format!(
        "\n{} · {} · α {} %\n",
        standing.family,
        standing.about,
        standing.alpha * 100.0
    );
    let _ = writeln!(
        out,
        "  {:<16} {:>24} {:>24} {:>9} {:>11} {:>13}",
        "judge", "false alarms %", "bad promotions %", "found %", "delay", "good through %"
    );
    for line in &standing.judges {
        let _ = writeln!(
            out,
            "  {:<16} {:>24} {:>24} {:>9} {:>11} {:>13}",
            name(line),
            bounded(line.false_alarms),
            bounded(line.bad_promotions),
            percent(line.detected.rate),
            format!("{} / {}", delay(line.delay_median), delay(line.delay_p90)),
            percent(line.promoted.rate)
        );
    }
    if !standing.holds {
        let _ = writeln!(
            out,
            "  ours breaks a bound here: α {} %, β {} %",
            standing.alpha * 100.0,
            standing.beta * 100.0
        );
    }
    out
}

pub(crate) fn foot(standings: &[Standing], seconds: f64) -> String {
    let broken: Vec<&str> = standings
        .iter()
        .filter(|one| !one.holds)
        .map(|one| one.family)
        .collect();
    let verdict = if broken.is_empty() {
        "our bounds hold in every family".to_owned()
    } else {
        format!("our bounds are broken in {}", broken.join(", "))
    };
    format!("\n{verdict}; {seconds:.0} s\n")
}

pub(crate) fn json(options: &Options, standings: &[Standing], seconds: f64) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Object<'a> {
        schema: u32,
        runs: u32,
        seed: u64,
        holds: bool,
        families: &'a [Standing],
        wall_seconds: f64,
    }
    let object = Object {
        schema: SCHEMA,
        runs: options.runs,
        seed: options.seed,
        holds: standings.iter().all(|standing| standing.holds),
        families: standings,
        wall_seconds: seconds,
    };
    let mut text = serde_json::to_string(&object).map_err(Failure::internal)?;
    text.push('\n');
    Ok(text)
}

/// Somebody who closed the pipe has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    Failure::of_stdout(std::io::stdout().lock().write_all(text.as_bytes()))
}

fn name(line: &Line) -> String {
    match line.limit {
        Some(limit) => format!("{} {:.3} %", line.judge, limit * 100.0),
        None => line.judge.to_owned(),
    }
}

fn bounded(one: Proportion) -> String {
    format!("{} [{}, {}]", percent(one.rate), percent(one.low), percent(one.high))
}

fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

fn delay(intervals: Option<u16>) -> String {
    intervals.map_or_else(|| "–".to_owned(), |intervals| intervals.to_string())
}
