//! Looks that see whether a domain can be reached: what is no region must not be taken for one, and a region must be found.

use std::collections::BTreeSet;

use unattended::upgrade::{DriverConfig, TargetId};

use crate::domains::{case, region_of};
use crate::support::Ended;

/// Runs it while no look is answered that one of these has a part in.
fn ended_without(hangs: fn(&str) -> bool, driver: Option<DriverConfig>) -> Ended {
    let mut case = case();
    case.driver = driver;
    let stage = case.stage();
    let has_part = move |targets: &[TargetId]| targets.iter().any(|target| hangs(target.as_str()));
    stage.platform.silent_where(has_part);
    stage.run()
}

/// The domains that were called silent.
fn silent(ended: &Ended) -> Vec<&str> {
    let said = ended.summary.decisions.iter();
    let said = said.filter(|decision| decision.code == "domain.silent");
    said.map(|decision| decision.text.as_str()).collect()
}

#[test]
fn a_region_that_hangs_is_found_however_short_calls_are() {
    let asia = |target: &str| region_of(target) == "asia";
    for call_ms in [30_000, 5_000, 3_000] {
        let ended = ended_without(asia, Some(DriverConfig::default().call_ms(call_ms)));
        let silent = silent(&ended);
        assert_eq!(silent.len(), 1, "calls of {call_ms} ms: {silent:?}");
        assert!(silent[0].contains("region=asia"), "calls of {call_ms} ms: {silent:?}");
        let owed: BTreeSet<&str> = (ended.summary.debts.iter())
            .map(|debt| region_of(&debt.target))
            .collect();
        assert_eq!(owed, BTreeSet::from(["asia"]), "calls of {call_ms} ms");
    }
}

/// Without domains a target that hangs is owed alone, and so it is with them.
#[test]
fn targets_that_hang_are_not_their_region() {
    for hangs in [
        // The first of asia that is looked at.
        (|target| target == "app-0-2") as fn(&str) -> bool,
        // As many as are looked at first.
        |target| ["app-0-2", "app-0-5"].contains(&target),
        // An application's all.
        |target| target.starts_with("app-0-"),
    ] {
        let ended = ended_without(hangs, None);
        assert_eq!(silent(&ended), [""; 0]);
        let debts = ended.summary.debts.iter();
        let debts: Vec<_> = debts.filter(|debt| !hangs(&debt.target)).collect();
        assert!(debts.is_empty(), "{debts:?}");
    }
}
