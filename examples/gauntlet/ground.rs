//! One release's fleet and world, and the truth about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use unattended::batching::Fleet;
use unattended::upgrade::Version;
use unattended_examples_support::{Failure, Inventory, Synthetic, Target};
use unattended_simulated::{SimConfig, SimTarget, Simulated, World};

use crate::common;
use crate::fleet::{NEW, OLD, START_WALL_MS, simulated};
use crate::record::{Recorder, recorded};
use crate::scenario::{Lot, Scenario};
use crate::truth::{detectable, labelled};

/// What one release is rolled out over.
pub(crate) struct Ground {
    /// As the policies know it.
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) targets: Vec<SimTarget>,
    pub(crate) lot: Lot,
    pub(crate) seed: u64,
    pub(crate) bad: bool,
    pub(crate) detectable: bool,
}

/// Draws the release of a seed for its fleet.
fn draw(scenario: &Scenario, family: usize, base: &World, seed: u64, all: &[Target]) -> Result<Lot, Failure> {
    let mut seen = BTreeSet::new();
    let mut kinds: Vec<BTreeMap<&str, &str>> = Vec::new();
    for target in all {
        if seen.insert((
            Arc::as_ptr(&target.app).cast::<u8>(),
            Arc::as_ptr(&target.labels).cast::<u8>(),
        )) {
            let labels = target.labels.iter().map(|(key, value)| (&**key, &**value));
            kinds.push(labels.chain([("app", &*target.app)]).collect());
        }
    }
    scenario.draw(family, seed, base, &kinds)
}

/// Whether the labels that a scenario adds are none that fleets have.
pub(crate) fn check_labels(scenario: &Scenario, synthetic: Synthetic, seed: u64) -> Result<(), Failure> {
    let one = synthetic.targets(seed).next();
    let labels = one.iter().flat_map(|target| target.labels.iter());
    scenario.check_labels(&labels.map(|(key, _)| &**key).collect())
}

impl Ground {
    /// Whether the release that belongs to a seed can be drawn for its fleet.
    pub(crate) fn check(
        scenario: &Scenario,
        synthetic: Synthetic,
        family: usize,
        base: &World,
        seed: u64,
    ) -> Result<(), Failure> {
        let plain: Vec<Target> = synthetic.targets(seed).collect();
        let all = labelled(&plain, scenario, seed, |_| true);
        draw(scenario, family, base, seed, &all).map(drop)
    }

    /// The fleet and the release that belong to a seed.
    pub(crate) fn new(
        scenario: &Scenario,
        synthetic: Synthetic,
        family: usize,
        base: &World,
        seed: u64,
    ) -> Result<Self, Failure> {
        let plain: Vec<Target> = synthetic.targets(seed).collect();
        let all = labelled(&plain, scenario, seed, |_| true);
        let known = labelled(&plain, scenario, seed, |label| !label.hidden);
        let fleet = Arc::new(common::fleet(&known).map_err(Failure::internal)?);
        let lot = draw(scenario, family, base, seed, &all)?;
        let targets = simulated(Inventory {
            targets: all,
            notes: Vec::new(),
            keys: Vec::new(),
        });
        let mut ground = Self {
            fleet,
            targets,
            lot,
            seed,
            bad: false,
            detectable: false,
        };
        ground.bad = !ground.lot.release.faults().is_empty();
        if ground.bad {
            ground.detectable = detectable(&*ground.simulated(60_000, 180_000, true)?);
        }
        Ok(ground)
    }

    /// The world, at its beginning.
    pub(crate) fn simulated(
        &self,
        interval_ms: u64,
        warm_up_ms: u64,
        both_ends: bool,
    ) -> Result<Arc<Simulated>, Failure> {
        let config = SimConfig {
            world: self.lot.world.clone(),
            targets: self.targets.clone(),
            old: Version::from(OLD),
            new: Version::from(NEW),
            release: self.lot.release.clone(),
            seed: self.seed,
            start_wall_ms: START_WALL_MS,
            warm_up_ms,
            interval_ms,
            both_ends,
            ..SimConfig::default()
        };
        Simulated::new(config).map_err(Failure::input)
    }

    /// The world in which it is rolled out, with somebody who takes notes where they are wanted.
    pub(crate) fn recorded(
        &self,
        simulated: &Arc<Simulated>,
        tool: &str,
        path: Option<&Path>,
    ) -> Result<Arc<Recorder>, Failure> {
        let world = Arc::clone(simulated);
        let recorder = match path {
            None => Recorder::idle(world, Version::from(NEW)),
            Some(path) => {
                // Others draw no batches.
                let seed = (tool == "unattended").then_some(self.seed);
                let change = recorded([NEW, tool], [OLD, NEW], START_WALL_MS, seed);
                Recorder::new(world, path, &self.targets, &change)?
            }
        };
        Ok(Arc::new(recorder))
    }

    /// Whether a class, such as `zone=zone-1`, is named without being where the fault is: some of it are not at fault, and the share
    /// that is lies below twice the fleet's.
    pub(crate) fn is_wrong_scope(&self, class: &str) -> bool {
        let Some((key, value)) = class.split_once('=') else {
            return false;
        };
        let has = |target: &SimTarget, key: &str, value: &str| {
            (key == "app" && target.app == value) || target.labels.iter().any(|(k, v)| k == key && v == value)
        };
        let filters = self.lot.release.filters();
        let at_fault = |target: &&SimTarget| filters.iter().all(|(key, value)| has(target, key, value));
        let class: Vec<&SimTarget> = self.targets.iter().filter(|target| has(target, key, value)).collect();
        let of_class = class.iter().copied().filter(|target| at_fault(target)).count();
        let of_fleet = self.targets.iter().filter(at_fault).count();
        // Shares compared without dividing: of_class / class against 2 * of_fleet / fleet.
        of_class == 0 || of_class < class.len() && of_class * self.targets.len() < 2 * of_fleet * class.len()
    }
}

#[cfg(test)]
mod tests {
    use unattended_simulated::World;

    use super::*;
    use crate::tests::SMALL;

    #[test]
    fn a_class_is_named_rightly_where_the_fault_is_and_not_where_it_is_as_elsewhere() {
        let scenario = Scenario::parse(SMALL, "own.json", &World::default()).unwrap();
        let fleet = Synthetic::parse("3000x20").unwrap();
        let ground = Ground::new(&scenario, fleet, 1, &World::default(), 5).unwrap();
        let (_, zone) = ground.lot.release.filters()[0].clone();
        let class = |of: &str| format!("zone={of}");
        let other = ground.targets.iter().flat_map(|target| &target.labels);
        let other = other
            .filter(|(key, value)| key == "zone" && *value != zone)
            .map(|(_, value)| value);
        assert!(!ground.is_wrong_scope(&class(&zone)));
        assert!(ground.is_wrong_scope(&class(other.clone().next().unwrap())));
        // Some of each application are at fault, as many as of the fleet.
        let app = &ground.targets[0].app;
        assert!(ground.is_wrong_scope(&format!("app={app}")));
        // Where all are, every class is right.
        let text = SMALL.replacen("@zone={any}", "", 1);
        let scenario = Scenario::parse(&text, "own.json", &World::default()).unwrap();
        let ground = Ground::new(&scenario, fleet, 1, &World::default(), 5).unwrap();
        assert!(!ground.is_wrong_scope(&format!("app={}", ground.targets[0].app)));
        assert!(ground.is_wrong_scope("app=of-nobody"));
    }
}
