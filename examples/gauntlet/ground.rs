//! One release's fleet and world, and the truth about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use unattended::batching::Fleet;
use unattended::health::Design;
use unattended::upgrade::Version;
use unattended_examples_support::{Failure, Inventory, Labels, Synthetic, Target};
use unattended_simulated::{SimConfig, SimTarget, Simulated};

use crate::common;
use crate::fleet::{NEW, OLD, START_WALL_MS, simulated};
use crate::record::{Recorder, recorded};
use crate::scenario::{Lot, Scenario};

/// How many times what the power formula asks for makes a release detectable.
const MARGIN: f64 = 2.0;
/// Who does worse only later is not detectable.
const LATEST_ONSET_MS: u64 = 6 * 3_600_000;

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

impl Ground {
    /// The fleet and the release that belong to a seed.
    pub(crate) fn new(
        scenario: &Scenario,
        synthetic: Synthetic,
        family: usize,
        base: &unattended_simulated::World,
        seed: u64,
    ) -> Result<Self, Failure> {
        let plain: Vec<Target> = synthetic.targets(seed).collect();
        let all = labelled(&plain, scenario, seed, |_| true);
        let known = labelled(&plain, scenario, seed, |label| !label.hidden);
        let fleet = Arc::new(common::fleet(&known).map_err(Failure::internal)?);
        let mut seen = BTreeSet::new();
        let mut kinds: Vec<BTreeMap<&str, &str>> = Vec::new();
        for target in &all {
            if seen.insert((
                Arc::as_ptr(&target.app).cast::<u8>(),
                Arc::as_ptr(&target.labels).cast::<u8>(),
            )) {
                let labels = target.labels.iter().map(|(key, value)| (&**key, &**value));
                kinds.push(labels.chain([("app", &*target.app)]).collect());
            }
        }
        let lot = scenario.draw(family, seed, base, &kinds)?;
        drop(kinds);
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
                let change = recorded(NEW, tool, OLD, NEW, START_WALL_MS);
                Recorder::new(world, path, &self.targets, &change)?
            }
        };
        Ok(Arc::new(recorder))
    }

    /// Whether nobody of a class, such as `zone=zone-1`, is at fault.
    pub(crate) fn is_wrong_scope(&self, class: &str) -> bool {
        let Some((key, value)) = class.split_once('=') else {
            return false;
        };
        let has = |target: &SimTarget, key: &str, value: &str| {
            (key == "app" && target.app == value) || target.labels.iter().any(|(k, v)| k == key && v == value)
        };
        let filters = self.lot.release.filters();
        let at_fault = |target: &&SimTarget| filters.iter().all(|(key, value)| has(target, key, value));
        !self
            .targets
            .iter()
            .filter(at_fault)
            .any(|target| has(target, key, value))
    }
}

/// The targets with the labels that the scenario adds.
fn labelled(
    plain: &[Target],
    scenario: &Scenario,
    seed: u64,
    wanted: impl Fn(&crate::scenario::Label) -> bool,
) -> Vec<Target> {
    let added: Vec<_> = scenario.labels.iter().filter(|label| wanted(label)).collect();
    let mut known: BTreeMap<(*const u8, *const u8), Labels> = BTreeMap::new();
    let with = |target: &Target| -> Labels {
        let new = added.iter().map(|label| {
            let value = Scenario::value(label, &target.app, seed);
            (Arc::from(label.key.as_str()), Arc::from(value))
        });
        let old = target
            .labels
            .iter()
            .filter(|(key, _)| !added.iter().any(|label| *label.key == **key));
        let mut all: Vec<(Arc<str>, Arc<str>)> = old.cloned().chain(new).collect();
        all.sort_unstable();
        all.into()
    };
    plain
        .iter()
        .map(|target| {
            let alike = (
                Arc::as_ptr(&target.app).cast::<u8>(),
                Arc::as_ptr(&target.labels).cast::<u8>(),
            );
            let labels = known.entry(alike).or_insert_with(|| with(target));
            Target {
                labels: Arc::clone(labels),
                ..target.clone()
            }
        })
        .collect()
}

/// The scenario's own word on whether the release can be found: a full rollout, in which adoption grows evenly from none to
/// all within a day, has at least twice the excess of bad events that a comparison of its halves needs by the power formula
/// (α = 1 %, power 90 %), summed over the kinds of events, and the first of them come within six hours.
fn detectable(simulated: &Simulated) -> bool {
    let full = simulated.full_rollout();
    if full.onset_ms.is_none_or(|onset| onset > LATEST_ONSET_MS) {
        return false;
    }
    let shifts = [full.errors, full.slow, full.restarts, full.starts];
    let met: f64 = shifts.iter().map(|shift| met(shift.base, shift.excess)).sum();
    met >= MARGIN
}

/// The part that an excess has of what is needed to find it.
pub(crate) fn met(base: f64, excess: f64) -> f64 {
    if excess <= 0.0 {
        return 0.0;
    }
    // Where there would have been nothing at all, the ratio has no end.
    let ratio = (1.0 + excess / base.max(1e-12)).min(1e6);
    // What is needed is a number of events, whatever their rate; of these, so many are excess.
    let Ok(demand) = Design::default().detection(1e-3, ratio, 0.5) else {
        return 0.0;
    };
    excess / (demand.events * (ratio - 1.0) / (ratio + 1.0))
}
