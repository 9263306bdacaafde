//! A region that is cut off takes its telemetry with it: that says nothing of the others, and holds none of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Act, Case, HOUR_MS, NEW, app_of};
use unattended::Outcome;

/// Applications that live in one region each: more than a tenth of all hosts are in any of these.
fn apart() -> Case {
    let mut case = Case::calm(8, 30);
    for target in &mut case.targets {
        let region = match app_of(&target.id) {
            "app-0" | "app-1" => "asia",
            "app-2" | "app-3" | "app-4" => "us",
            _ => "eu",
        };
        target.labels.push(("region".to_owned(), region.to_owned()));
    }
    case.policy = case.policy.spread(["region", "stack"]);
    case.settings.domains = vec!["region".to_owned()];
    case
}

#[test]
fn a_region_whose_telemetry_is_cut_off_with_it_holds_nobody_else() {
    let case = apart();
    let undisturbed_ms = case.run().summary.elapsed_ms;
    for seed in 1..4 {
        let mut case = apart();
        case.seed = seed;
        case.world.cut_after_min = 30.0;
        case.world.cut_min = 10.0 * 24.0 * 60.0;
        let ended = case.run();
        let silent = ended
            .summary
            .decisions
            .iter()
            .find(|decision| decision.code == "domain.silent");
        let silent = silent.unwrap().text.split(' ').next().unwrap();
        assert_eq!(
            ended.outcome,
            Outcome::CompletedWithDebt,
            "seed {seed}: {silent} is away for longer than the patience"
        );
        let regions: BTreeMap<&str, &str> = (case.targets.iter())
            .map(|target| (target.id.as_str(), target.labels.last().unwrap().1.as_str()))
            .collect();
        let dark = |id: &str| silent.ends_with(regions[id]);
        let new = ended
            .effects
            .iter()
            .filter(|effect| effect.act == Act::Replace && effect.version.as_deref() == Some(NEW));
        let new: BTreeMap<&str, u64> = new.map(|effect| (effect.target.as_str(), effect.at_ms)).collect();
        let late_ms = undisturbed_ms + 12 * HOUR_MS;
        let left: BTreeSet<&str> = (regions.keys().copied())
            .filter(|id| !dark(id) && new.get(id).is_none_or(|at| *at > late_ms))
            .collect();
        assert_eq!(left, BTreeSet::new(), "seed {seed}: {silent} is cut off");
        assert!(
            ended.summary.debts.iter().all(|debt| dark(&debt.target)),
            "{:?}",
            ended.summary.debts
        );
    }
}
