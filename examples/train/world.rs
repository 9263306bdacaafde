//! The two fleets of the quarter, and what is wrong with the releases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unattended::batching::Fleet;
use unattended::upgrade::Version;
use unattended_examples_support::{Failure, Inventory, Synthetic, Target};
use unattended_simulated::{SimConfig, SimTarget, Simulated, World};

use crate::common;
use crate::fleet::simulated;
use crate::scenario::{Lot, Scenario};
use crate::truth::{detectable, labelled};

/// The canary fleet, and production: the same applications, and so the same classes. With half as many of either, one quiet
/// application kept the evidence of all beyond the night in one quarter of five, and too few instances had two labels at once.
const CANARY: (u32, u32) = (1_200, 40);
const PRODUCTION: (u32, u32) = (4_000, 40);
/// Metrics are read so often.
pub(crate) const INTERVAL_MS: u64 = 300_000;
pub(crate) const WARM_UP_MS: u64 = 300_000;

/// One fleet.
pub(crate) struct Ground {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) targets: Vec<SimTarget>,
    /// The label values there are.
    pub(crate) classes: BTreeSet<(String, String)>,
}

/// Everything that is there before the quarter begins.
pub(crate) struct Grounds {
    pub(crate) canary: Ground,
    pub(crate) production: Ground,
    pub(crate) scenario: Scenario,
    pub(crate) base: World,
    pub(crate) seed: u64,
}

/// A release as it is drawn, and the truth about it.
#[derive(Clone)]
pub(crate) struct Truth {
    pub(crate) lot: Lot,
    pub(crate) bad: bool,
    pub(crate) detectable: bool,
    pub(crate) family: String,
}

impl Grounds {
    pub(crate) fn new(seed: u64) -> Result<Self, Failure> {
        // A busy mesh: a few hundred instances see in hours what evidence needs.
        let base = World {
            requests_per_s_median: 50.0,
            error_rate_low: 1e-4,
            ..World::default()
        };
        let scenario = Scenario::load(None, &base)?;
        let ground = |(pods, apps)| -> Result<Ground, Failure> {
            let synthetic = Synthetic::new(pods, apps).map_err(Failure::internal)?;
            let plain: Vec<Target> = synthetic.targets(seed).collect();
            let all = labelled(&plain, &scenario, seed, |_| true);
            let known = labelled(&plain, &scenario, seed, |label| !label.hidden);
            let classes = known.iter().flat_map(|target| {
                target
                    .labels
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.to_string()))
            });
            Ok(Ground {
                classes: classes.collect(),
                fleet: Arc::new(common::fleet(&known).map_err(Failure::internal)?),
                targets: simulated(Inventory {
                    targets: all,
                    notes: Vec::new(),
                    keys: Vec::new(),
                }),
            })
        };
        let (canary, production) = (ground(CANARY)?, ground(PRODUCTION)?);
        Ok(Self {
            canary,
            production,
            scenario,
            base,
            seed,
        })
    }

    /// The share of production's classes that the canary fleet has, too.
    pub(crate) fn coverage(&self) -> f64 {
        let covered = self.production.classes.intersection(&self.canary.classes).count();
        #[expect(clippy::cast_precision_loss, reason = "a share of some dozens")]
        let share = covered as f64 / self.production.classes.len().max(1) as f64;
        share
    }

    /// Draws a release of a family. Whether it could be found is the scenario's word on the fleet that it meets first.
    pub(crate) fn draw(&self, family: usize, seed: u64) -> Result<Truth, Failure> {
        let labels = |target: &SimTarget| {
            let mut kind: Vec<(String, String)> = target.labels.clone();
            kind.push(("app".to_owned(), target.app.clone()));
            kind
        };
        let kinds: BTreeSet<Vec<(String, String)>> = self.canary.targets.iter().map(labels).collect();
        let kinds: Vec<BTreeMap<&str, &str>> = kinds
            .iter()
            .map(|kind| kind.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
            .collect();
        let lot = self.scenario.draw(family, seed, &self.base, &kinds)?;
        let bad = !lot.release.faults().is_empty();
        let name = self
            .scenario
            .families()
            .nth(family)
            .map_or_else(String::new, |family| family.name.clone());
        let mut truth = Truth {
            lot,
            bad,
            detectable: false,
            family: name,
        };
        if bad {
            let world = self
                .canary
                .world(&truth.lot, &truth.lot.world, "mesh-1", "mesh-2", seed, 0)?;
            truth.detectable = detectable(&world);
        }
        Ok(truth)
    }
}

impl Ground {
    /// A world in which one version moves over this fleet.
    pub(crate) fn world(
        &self,
        lot: &Lot,
        world: &World,
        old: &str,
        new: &str,
        seed: u64,
        start_wall_ms: i64,
    ) -> Result<Arc<Simulated>, Failure> {
        Simulated::new(SimConfig {
            world: world.clone(),
            targets: self.targets.clone(),
            old: Version::from(old),
            new: Version::from(new),
            release: lot.release.clone(),
            seed,
            start_wall_ms,
            warm_up_ms: WARM_UP_MS,
            interval_ms: INTERVAL_MS,
            ..SimConfig::default()
        })
        .map_err(Failure::internal)
    }
}
