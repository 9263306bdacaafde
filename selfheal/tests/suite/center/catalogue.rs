//! What is broken, and what must be said of it: a table of faults, each with several seeds.

use std::collections::BTreeSet;

use serde::Deserialize;
use unattended_selfheal::{CenterSettings, Event, NodeId};

use super::world::{BEGIN_MS, Fault, World};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "fifty")]
    calls_per_second: f64,
    faults: Vec<Fault>,
    /// What must be found.
    codes: BTreeSet<String>,
    /// What may be found as well, while it is early.
    #[serde(default)]
    may: BTreeSet<String>,
    /// Who must be isolated, and nobody else.
    #[serde(default)]
    isolated: BTreeSet<u32>,
    /// Who must get less than its share, and nobody else.
    #[serde(default)]
    weighed: BTreeSet<u32>,
    /// ... so long after the fault began.
    #[serde(default)]
    within_ms: u64,
    /// Nodes that a rollout changes just before.
    #[serde(default)]
    changed: Vec<u32>,
}

fn fifty() -> f64 {
    50.0
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(dead_code, reason = "for people")]
    origin: String,
    cases: Vec<Case>,
}

/// Enough to see a rule that only holds by luck; more were run by hand.
const SEEDS: u64 = 2;

#[test]
fn every_fault_is_laid_at_the_right_door() {
    let table: Table = serde_json::from_str(include_str!("../../data/center-faults.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &table.cases {
        for seed in 1..=SEEDS {
            let mut world = World::new(
                CenterSettings {
                    seed,
                    ..CenterSettings::default()
                },
                seed * 7_919,
            );
            world.calls_per_second = case.calls_per_second;
            world.faults.clone_from(&case.faults);
            world.run_until(BEGIN_MS - 1_000);
            if !case.changed.is_empty() {
                let nodes = case.changed.iter().map(|node| NodeId(*node)).collect();
                world.center.on(Event::Changed { release: 7, nodes }).unwrap();
            }
            world.run_until(BEGIN_MS + 20_000);

            let found: BTreeSet<String> = world.codes.iter().map(ToString::to_string).collect();
            let isolated: BTreeSet<u32> = world.isolated.keys().copied().collect();
            let weighed: BTreeSet<u32> = world.weighed.keys().copied().collect();
            let begin_ms = case
                .faults
                .iter()
                .map(|f| f.from_ms.unwrap_or(BEGIN_MS))
                .min()
                .unwrap_or(0);
            let slowest = world
                .isolated
                .values()
                .chain(world.weighed.values())
                .map(|at_ms| at_ms.saturating_sub(begin_ms))
                .max()
                .unwrap_or(0);
            if !case.codes.is_subset(&found)
                || found
                    .iter()
                    .any(|code| !case.codes.contains(code) && !case.may.contains(code))
                || isolated != case.isolated
                || weighed != case.weighed
                || slowest > case.within_ms
            {
                wrong.push(format!(
                    "{}, seed {seed}: found {found:?}, isolated {:?}, weighed {:?}",
                    case.name, world.isolated, world.weighed
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.cases.len() * SEEDS as usize,
        wrong.join("\n")
    );
}
