//! How often the trend test is wrong, and how soon it finds a leak:
//! `cargo run --release -p unattended-health --example leaks -- 400` (runs of each row; 100 if not given).

#![expect(
    clippy::unwrap_used,
    reason = "the fleet is shared with the tests, its numbers are small"
)]

use std::process::ExitCode;

#[path = "../tests/sidecar/fleet.rs"]
mod fleet;
#[path = "../tests/sidecar/support.rs"]
mod support;

/// Hours of a run: the sixth look falls into them.
const HOURS: u32 = 17;

fn main() -> ExitCode {
    let runs = match std::env::args().nth(1).map(|text| text.parse::<u64>()) {
        None => 100,
        Some(Ok(runs @ 1..=100_000)) => runs,
        Some(_) => {
            eprintln!("the argument is a number of runs, 1 to 100000");
            return ExitCode::from(2);
        }
    };
    println!("{runs} runs of {HOURS} h each; readings every 2 min, heavy tails, one host in five leaks by itself\n");
    println!("| canary of all | leak per hour | at 5 % | at 1 % | mean e | median h at 1 % | 90 % of runs within h |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (canary, all) in [(5, 40), (10, 40), (20, 200)] {
        for leak in [0.0, 0.02, 0.05, 0.10, 0.30] {
            row(runs, canary, all, leak);
        }
    }
    ExitCode::SUCCESS
}

fn row(runs: u64, canary: usize, all: usize, leak: f64) {
    let mut delays = Vec::new();
    let (mut loose, mut strict, mut sum) = (0_u32, 0_u32, 0.0);
    for seed in 0..runs {
        let evidence = fleet::run(1_000 + seed, canary, all, HOURS, leak);
        let first = |alpha: f64| evidence.iter().position(|ln_e| *ln_e >= -alpha.ln());
        loose += u32::from(first(0.05).is_some());
        strict += u32::from(first(0.01).is_some());
        delays.push(first(0.01).map(|hour| hour + 1));
        sum += evidence.last().map_or(0.0, |ln_e| ln_e.exp());
    }
    // Not found is later than any hour.
    delays.sort_unstable_by_key(|delay| delay.unwrap_or(usize::MAX));
    let at = |share: usize| {
        let delay = delays[(delays.len() * share / 100).min(delays.len() - 1)];
        delay.map_or_else(|| format!("> {HOURS}"), |hours| hours.to_string())
    };
    #[expect(clippy::cast_precision_loss, reason = "at most 100,000 runs")]
    let runs = runs as f64;
    println!(
        "| {canary} of {all} | {:.0} % | {:.2} % | {:.2} % | {:.2e} | {} | {} |",
        100.0 * leak,
        100.0 * f64::from(loose) / runs,
        100.0 * f64::from(strict) / runs,
        sum / runs,
        at(50),
        at(90)
    );
}
