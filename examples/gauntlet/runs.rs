//! Every release under every policy, on several threads.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use unattended_examples_support::{Failure, Synthetic};
use unattended_simulated::World;

use crate::ground::{Ground, check_labels};
use crate::lots::Lots;
use crate::options::{Options, Policy};
use crate::scenario::Scenario;
use crate::trial::Trial;
use crate::{baseline, ours};

/// The step of the policy with equal steps: as large as the first batch of ours.
const FIRST_STEP: f64 = 0.001;

/// The trials of each policy, in the order of the releases, whoever ran them.
pub(crate) fn all(
    options: &Options,
    numbers: Range<usize>,
    scenario: &Scenario,
    synthetic: Synthetic,
    world: &World,
) -> Result<Vec<(Policy, Vec<Trial>)>, Failure> {
    let families = scenario.assign(usize::try_from(options.releases).unwrap_or(usize::MAX));
    let policies = options.policies();
    let next = AtomicUsize::new(numbers.start);
    let done: Mutex<Vec<Option<Vec<Trial>>>> = Mutex::new(vec![None; families.len()]);
    let bar = progress(numbers.len());
    let seed_of = |number: usize| Lots::of(&[options.seed, number as u64]).bits();
    // What cannot be drawn is said before anything is simulated: labels are those of every fleet, values of some.
    check_labels(scenario, synthetic, options.seed)?;
    let mut seen = BTreeSet::new();
    for number in numbers.clone() {
        let family = families[number];
        if seen.insert(family) || scenario.names_values(family) {
            Ground::check(scenario, synthetic, family, world, seed_of(number))?;
        }
    }
    let release = |number: usize| -> Result<Vec<Trial>, Failure> {
        let seed = seed_of(number);
        let ground = Ground::new(scenario, synthetic, families[number], world, seed)?;
        let run = |policy: &Policy| {
            let record = options
                .record
                .as_ref()
                .map(|folder| folder.join(format!("{number}-{}.jsonl", policy.name())));
            match policy {
                Policy::Ours => {
                    let page = options
                        .pages
                        .as_ref()
                        .map(|folder| folder.join(format!("{number}.html")));
                    ours::run(&ground, record.as_deref(), page.as_deref())
                }
                other => baseline::run(*other, &ground, FIRST_STEP, record.as_deref()),
            }
        };
        policies.iter().map(run).collect()
    };
    let work = || -> Result<(), Failure> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return Ok(());
            }
            let trials = release(number).inspect_err(|_| next.store(numbers.end, Ordering::Relaxed))?;
            done.lock()[number] = Some(trials);
            bar.inc(1);
        }
    };
    let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads().min(numbers.len()).max(1))
            .map(|_| scope.spawn(work))
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|result| result.unwrap_or_else(|_| Err(Failure::Internal("a run panicked".to_owned()))))
            .collect()
    });
    bar.finish_and_clear();
    results.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    let trials: Vec<Vec<Trial>> = done.into_inner().into_iter().flatten().collect();
    let of = |at: usize| trials.iter().map(|trials| trials[at].clone()).collect();
    Ok(policies
        .iter()
        .enumerate()
        .map(|(at, policy)| (*policy, of(at)))
        .collect())
}

fn progress(releases: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(releases as u64);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let template = if plain {
        "{wide_bar} {pos}/{len} releases, {eta} left"
    } else {
        "{wide_bar:.cyan/blue} {pos}/{len} releases, {eta} left"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// One line for each trial.
pub(crate) fn tell(all: &[(Policy, Vec<Trial>)], numbers: Range<usize>, names: &[&str]) {
    for (policy, trials) in all {
        for (number, trial) in numbers.clone().zip(trials) {
            let line = serde_json::json!({
                "policy": policy.name(),
                "number": number,
                "family": names.get(trial.family),
                "release": trial.release,
                "detectable": trial.detectable,
                "stopped": trial.stopped,
                "by_person": trial.by_person,
                "before_onset": trial.before_onset,
                "with_debt": trial.with_debt,
                "exposed": trial.stopped.then_some(trial.exposed),
                "hours": trial.hours,
                "harm": trial.harm,
                "human_actions": trial.human_actions,
                "scope": trial.scope,
                "wrong_scope": trial.wrong_scope,
                "why": trial.why,
            });
            eprintln!("{line}");
        }
    }
}
