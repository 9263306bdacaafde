//! Every invariant in every mode, over the shipped machine; and that each rule that protects them is needed.
use std::path::Path;
use std::sync::OnceLock;

use unattended_upgrade::Mode;
use unattended_upgrade::explore::{Ablation, Explored, FAULTS, ablate, explore, tables};

/// Each mode is explored once, whichever test wants it first.
fn explored(mode: Mode) -> &'static Explored {
    static ALL: [OnceLock<Explored>; 4] = [const { OnceLock::new() }; 4];
    ALL[usize::from(mode.number())].get_or_init(|| explore(mode, FAULTS))
}

fn holds(mode: Mode, least_states: usize) {
    let explored = explored(mode);
    assert_eq!(explored.counterexample, None, "{mode}");
    assert!(explored.states > least_states, "{mode}: {} states", explored.states);
    for end in ["done", "rolled_back", "rejected", "needs_person", "gone", "superseded"] {
        assert!(
            explored.ends.contains_key(end),
            "{mode} never ends {end}: {:?}",
            explored.ends
        );
    }
}

#[test]
fn cold_keeps_every_invariant() {
    holds(Mode::Cold, 10_000);
}

#[test]
fn warm_keeps_every_invariant() {
    holds(Mode::Warm, 50_000);
}

#[test]
fn hot_keeps_every_invariant() {
    holds(Mode::Hot, 100_000);
    // What nobody starts by himself is started by order, after the old one has left.
    let table = explored(Mode::Hot).table.markdown();
    assert!(table.contains("\n| `replacing` |"), "{table}");
}

#[test]
fn config_keeps_every_invariant() {
    holds(Mode::Config, 10_000);
}

#[test]
fn each_rule_is_needed() {
    let expected = [
        (Ablation::Lease, "S2"),
        (Ablation::KeepUntilAdopted, "S5"),
        (Ablation::ReProbe, "L2"),
        (Ablation::Fencing, "L6"),
        (Ablation::IntentBeforeEffect, "S6"),
    ];
    for (rule, invariant) in expected {
        let (mode, example) = ablate(rule).unwrap_or_else(|| panic!("nothing is wrong without {}", rule.name()));
        assert_eq!(
            example.invariant,
            invariant,
            "without {}: {mode}, {example:#?}",
            rule.name()
        );
    }
}

#[test]
fn the_guide_shows_the_tables_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/upgrade-tables.md");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(
        page == tables(&Mode::ALL.map(|mode| explored(mode).clone())),
        "docs/upgrade-tables.md is old: cargo run --release -p unattended-upgrade --example explore -- --markdown > \
         docs/upgrade-tables.md"
    );
}
