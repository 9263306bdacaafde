//! The plan: who changes in which batch.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::apportion::{Shares, apportion};
use crate::cover::{Cover, Limits, Uncovered, cover};
use crate::fleet::{Fleet, group};
use crate::frontier::Frontier;
use crate::hash::position;
use crate::index::{AppIndex, KeyIndex, StratumIndex, TargetIndex, narrow};
use crate::policy::{Policy, PolicyError};
use crate::ramp::{MOST_BATCHES, RampError};
use crate::strata::{Cohort, Layout, Stratum, stratify};

/// Ordered disjoint batches of a whole fleet. The same fleet, policy and seed give the same plan.
///
/// Batch by batch the change grows along the ramp, spread over all strata. The last batch is the holdback: some of every
/// stratum of two or more, and every application of one target.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) layout: Arc<Layout>,
    pub(crate) start: Frontier,
    /// Targets by batch, then hash: batch `b` is `order[first[b]..first[b + 1]]`.
    pub(crate) order: Vec<TargetIndex>,
    pub(crate) first: Vec<u32>,
    pub(crate) uncovered: Vec<Uncovered>,
    pub(crate) classes: u32,
    /// Targets held back to the last batch from strata of two or more; empty applications of one are not among them.
    pub(crate) held: Vec<bool>,
    pub(crate) ready: Vec<bool>,
    singletons: u32,
}

/// One batch in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Batch {
    /// Its number, from 0.
    pub index: u16,
    /// Targets in it.
    pub size: u32,
    /// Targets in it and in all before.
    pub cumulative: u32,
}

/// With whom a batch can be compared: untouched targets of the same strata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// Every stratum the batch touches has ready targets in the holdback.
    Matched {
        /// Those targets.
        targets: Vec<TargetIndex>,
    },
    /// Some have.
    Partial {
        /// Those targets.
        targets: Vec<TargetIndex>,
        /// Strata the batch touches for which there is no control.
        strata_without: Vec<StratumIndex>,
    },
    /// No stratum has; so it always is for the last batch.
    None,
}

/// A plan in numbers; [`Display`](fmt::Display) writes them as a table for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Targets.
    pub targets: u32,
    /// Applications.
    pub apps: u32,
    /// Strata.
    pub strata: u32,
    /// Every batch.
    pub batches: Vec<Batch>,
    /// Classes of the cover keys.
    pub classes: u32,
    /// Classes the first batch does not contain, and why.
    pub uncovered: Vec<Uncovered>,
    /// Applications of one target; they change in the last batch.
    pub singletons: u32,
    /// Targets of the control cohort: held back to the last batch and ready.
    pub controls: u32,
}

/// Why there is no plan. Nothing has happened yet.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy itself cannot be meant.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A rule names a label key no target has.
    #[error("{rule}: no target has a label `{key}`; the fleet's keys are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownKey {
        /// The rule.
        rule: String,
        /// The key.
        key: String,
        /// The keys there are.
        known: Vec<String>,
    },
}

/// What one batch may take of an application of `n`: half, rounded up.
const fn half_of(n: u32) -> u32 {
    n.div_ceil(2)
}

impl Plan {
    /// Plans a fleet.
    ///
    /// # Errors
    /// [`PlanError`], before anything is planned.
    pub fn build(fleet: &Fleet, policy: &Policy, seed: u64) -> Result<Self, PlanError> {
        policy.check()?;
        let spread = resolve(fleet, "spread", policy.spread.iter())?;
        let covers = resolve(fleet, "first_batch_covers", policy.cover_keys().iter())?;
        let capped = resolve(fleet, "per_label", policy.per_label.keys())?;
        let len = narrow(fleet.len());

        let (stratum_of, strata) = stratify(fleet, &spread);
        let hashes: Vec<u64> = fleet.targets().map(|target| position(seed, fleet.id(target))).collect();
        let mut by_hash: Vec<(u64, u32)> = hashes.iter().copied().zip(0..len).collect();
        by_hash.sort_unstable();

        let sizes: Vec<u32> = (0..fleet.app_count())
            .map(|app| fleet.app_size(AppIndex(app)))
            .collect();
        let half: Vec<u32> = sizes.iter().map(|&n| half_of(n)).collect();
        let main: Vec<u32> = strata
            .iter()
            .map(|s| s.size - held_of(policy, s.size, sizes[s.app.at()]))
            .collect();
        let Cover {
            picks,
            mut uncovered,
            classes,
        } = cover(
            fleet,
            &covers,
            &Limits {
                hashes: &hashes,
                stratum_of: &stratum_of,
                main: &main,
                half: &half,
            },
        );

        // Members of each stratum in the order they change: chosen for coverage, by hash, held back.
        let (member_first, mut members) = group(narrow(strata.len()), by_hash.iter().map(|&(_, t)| t), |t| {
            stratum_of[t as usize]
        });
        let mut picked = vec![false; fleet.len()];
        let mut taken = vec![0_u32; strata.len()];
        for &pick in &picks {
            picked[pick as usize] = true;
            taken[stratum_of[pick as usize] as usize] += 1;
        }
        let mut held = vec![false; fleet.len()];
        let mut scratch = Vec::new();
        for (stratum, &main) in main.iter().enumerate() {
            let slice = &mut members[member_first[stratum] as usize..member_first[stratum + 1] as usize];
            hold_back(slice, slice.len() - main as usize, fleet, &picked, &mut held);
            if slice.len() > 1 {
                scratch.clear();
                scratch.extend_from_slice(slice);
                scratch.sort_by_key(|&t| (held[t as usize], !picked[t as usize]));
                slice.copy_from_slice(&scratch);
            }
        }

        let pool = main.iter().sum();
        let least = narrow(picks.len()).max(policy.detection_targets.min(pool));
        let mut ramp = policy.ramp.sizes(len, least).map_err(PolicyError::from)?;
        // What is held back is a batch of its own, after the ramp.
        ramp.retain(|&size| size < pool);
        ramp.extend((pool > 0).then_some(pool));
        let apps: Vec<u32> = strata.iter().map(|s| s.app.0).collect();
        let mut batch_of = vec![0_u16; fleet.len()];
        let mut cohorts: Vec<(u32, Cohort)> = Vec::new();
        let shares = Shares {
            main: &main,
            app_of: &apps,
            half: &half,
            taken: taken.clone(),
            sizes: &ramp,
            seed,
        };
        let ramped = apportion(shares, MOST_BATCHES, |batch, stratum, from, to| {
            let begin = member_first[stratum as usize];
            let slice = &members[begin as usize..begin as usize + main[stratum as usize] as usize];
            for &target in &slice[from as usize..to as usize] {
                batch_of[target as usize] = batch;
            }
            let below = end_of(slice, to as usize, taken[stratum as usize] as usize, &hashes);
            cohorts.push((
                stratum,
                Cohort {
                    below,
                    cumulative: to,
                    batch,
                },
            ));
        })
        .ok_or(PolicyError::Ramp(RampError::TooManyBatches { most: MOST_BATCHES }))?;
        // Everything may already be in the ramp: then its last batch is the last of all.
        let last_batch = if pool == len { ramped - 1 } else { ramped };
        if pool < len {
            for (stratum, &main) in main.iter().enumerate() {
                let begin = member_first[stratum] as usize + main as usize;
                for &target in &members[begin..member_first[stratum + 1] as usize] {
                    batch_of[target as usize] = last_batch;
                }
            }
        }
        for (target, flag) in held.iter_mut().enumerate() {
            *flag = *flag && strata[stratum_of[target] as usize].size >= 2;
        }

        let (first, order) = group(u32::from(last_batch) + 1, by_hash.iter().map(|&(_, t)| t), |t| {
            u32::from(batch_of[t as usize])
        });
        let (lane_first, lane_order) = group(fleet.app_count(), order.iter().copied(), |t| {
            fleet.app_of(TargetIndex(t)).0
        });
        let (cohort_first, cohort_order) = group(narrow(strata.len()), 0..narrow(cohorts.len()), |at| {
            cohorts[at as usize].0
        });
        let cohorts = cohort_order.iter().map(|&at| cohorts[at as usize].1).collect();
        // Filling up the first batch may have brought in what the cover could not take.
        let first_batch = &order[..first[1] as usize];
        uncovered.retain(|gap| {
            !first_batch
                .iter()
                .any(|&t| shows(fleet, TargetIndex(t), &gap.key, &gap.value))
        });
        let mut layout = Layout {
            seed,
            last_batch,
            strata,
            cohorts,
            cohort_first,
            lane_order,
            lane_first,
            ..Layout::default()
        };
        layout.index_strata();
        let layout = Arc::new(layout);
        let start = Frontier::new(
            fleet,
            policy,
            Arc::clone(&layout),
            batch_of,
            stratum_of,
            &spread,
            &capped,
        );
        Ok(Self {
            layout,
            start,
            order: order.into_iter().map(TargetIndex).collect(),
            first,
            uncovered,
            classes,
            held,
            ready: fleet.targets().map(|target| fleet.ready(target)).collect(),
            singletons: narrow(sizes.iter().filter(|&&n| n == 1).count()),
        })
    }

    /// The seed of the order.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.layout.seed
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never true: there is no empty fleet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of batches, at least 1.
    #[must_use]
    pub fn batch_count(&self) -> u16 {
        self.layout.last_batch + 1
    }

    /// The batch of a target. Like every look-up by index here, it panics for a target of another fleet, as a slice does.
    #[must_use]
    pub fn batch_of(&self, target: TargetIndex) -> u16 {
        self.start.batch_of[target.at()]
    }

    /// One batch in numbers.
    #[must_use]
    pub fn batch(&self, index: u16) -> Batch {
        let at = usize::from(index);
        Batch {
            index,
            size: self.first[at + 1] - self.first[at],
            cumulative: self.first[at + 1],
        }
    }

    /// All batches in numbers.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = Batch> {
        (0..self.batch_count()).map(|index| self.batch(index))
    }

    /// The targets of a batch, in hash order.
    #[must_use]
    pub fn targets(&self, batch: u16) -> &[TargetIndex] {
        let at = usize::from(batch);
        &self.order[self.first[at] as usize..self.first[at + 1] as usize]
    }

    /// The stratum of a target.
    #[must_use]
    pub fn stratum_of(&self, target: TargetIndex) -> StratumIndex {
        StratumIndex(self.start.stratum_of[target.at()])
    }

    /// All strata.
    #[must_use]
    pub fn strata(&self) -> &[Stratum] {
        &self.layout.strata
    }

    /// Classes that the first batch should contain and does not, each with the reason.
    #[must_use]
    pub fn uncovered(&self) -> &[Uncovered] {
        &self.uncovered
    }

    /// Whether a target is a control: held back to the last batch from a stratum of two or more, and ready when planned.
    #[must_use]
    pub fn is_control(&self, target: TargetIndex) -> bool {
        self.held[target.at()] && self.ready[target.at()]
    }

    /// The untouched targets of the strata that a batch touches. Time: the sizes of this and the last batch.
    #[must_use]
    pub fn control_cohort(&self, batch: u16) -> Control {
        if batch >= self.layout.last_batch {
            return Control::None;
        }
        let mut touched = vec![false; self.layout.strata.len()];
        for &target in self.targets(batch) {
            touched[self.stratum_of(target).at()] = true;
        }
        let mut matched = vec![false; touched.len()];
        let mut targets = Vec::new();
        for &target in self.targets(self.layout.last_batch) {
            let stratum = self.stratum_of(target).at();
            if touched[stratum] && self.is_control(target) {
                matched[stratum] = true;
                targets.push(target);
            }
        }
        let strata_without: Vec<StratumIndex> = (0..)
            .map(StratumIndex)
            .zip(touched.iter().zip(&matched))
            .filter(|(_, (t, m))| **t && !**m)
            .map(|(s, _)| s)
            .collect();
        match (targets.is_empty(), strata_without.is_empty()) {
            (true, _) => Control::None,
            (false, true) => Control::Matched { targets },
            (false, false) => Control::Partial {
                targets,
                strata_without,
            },
        }
    }

    /// The keys whose values make strata, together with the application. [`Stratum::labels`] follows their order.
    pub fn spread_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.start.spread_keys()
    }

    /// The cap on targets of an application that may be in flight or unhealthy at once.
    #[must_use]
    pub fn app_cap(&self, app: AppIndex) -> u32 {
        self.start.lane(app).cap
    }

    /// Sixteen hexadecimal digits over every target's id order and batch: equal plans have equal digests. Not
    /// cryptographic.
    #[must_use]
    pub fn digest(&self) -> String {
        // FNV-1a over the order and the batch bounds, both of which determine the plan for a given fleet.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let numbers = self
            .order
            .iter()
            .map(|target| target.0)
            .chain(self.first.iter().copied());
        for byte in numbers.flat_map(u32::to_le_bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("{hash:016x}")
    }

    /// The live side: nothing started, the first batch open for every lane.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        self.start.clone()
    }

    /// The plan in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            targets: narrow(self.len()),
            apps: narrow(self.layout.lane_first.len() - 1),
            strata: narrow(self.layout.strata.len()),
            batches: self.batches().collect(),
            classes: self.classes,
            uncovered: self.uncovered.clone(),
            singletons: self.singletons,
            controls: narrow(
                self.held
                    .iter()
                    .zip(&self.ready)
                    .filter(|(held, ready)| **held && **ready)
                    .count(),
            ),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} targets of {} applications in {} strata, {} batches",
            self.targets,
            self.apps,
            self.strata,
            self.batches.len()
        )?;
        writeln!(f, "{:>6} {:>10} {:>10} {:>8}", "batch", "targets", "so far", "share")?;
        for batch in &self.batches {
            let share = f64::from(batch.cumulative) * 100.0 / f64::from(self.targets.max(1));
            writeln!(
                f,
                "{:>6} {:>10} {:>10} {share:>6.2} %",
                batch.index, batch.size, batch.cumulative
            )?;
        }
        let covered = self.classes - narrow(self.uncovered.len()).min(self.classes);
        writeln!(f, "the first batch contains {covered} of {} classes", self.classes)?;
        for gap in &self.uncovered {
            writeln!(f, "  not {}={}: {:?}", gap.key, gap.value, gap.why)?;
        }
        write!(
            f,
            "{} targets are held back for comparison; {} applications of one target wait for the last batch",
            self.controls, self.singletons
        )
    }
}

/// Whether a ready target has a label value.
fn shows(fleet: &Fleet, target: TargetIndex, key: &str, value: &str) -> bool {
    let label = fleet
        .key_index(key)
        .and_then(|key| Some(fleet.value_name(key, fleet.label(target, key)?)));
    fleet.ready(target) && label == Some(value)
}

/// How many of a stratum wait for the last batch.
fn held_of(policy: &Policy, stratum: u32, app: u32) -> u32 {
    match (app, stratum) {
        (1, _) => 1,
        // One of a kind inside a larger application: held back it could never be compared with anything.
        (_, 1) => 0,
        (_, n) => policy.holdback.floor_of(n).clamp(1, n / 2),
    }
}

/// Marks the last `count` of a stratum, ready ones first: an unready target compares with nothing.
fn hold_back(slice: &[u32], count: usize, fleet: &Fleet, picked: &[bool], held: &mut [bool]) {
    let free = |&&t: &&u32| !picked[t as usize];
    let ready = |&&t: &&u32| fleet.ready(TargetIndex(t));
    let chosen = slice.iter().rev().filter(free).filter(ready).take(count);
    let mut missing = count;
    for &target in chosen {
        held[target as usize] = true;
        missing -= 1;
    }
    for &target in slice.iter().rev().filter(free).filter(|t| !ready(t)).take(missing) {
        held[target as usize] = true;
    }
}

/// Hashes below the result belong to the first `to` of a stratum, whose first `picked` were chosen for coverage: a chosen one that stands far
/// back in hash order must not pull births with it.
fn end_of(main: &[u32], to: usize, picked: usize, hashes: &[u64]) -> u64 {
    let hash = |target: u32| hashes[target as usize];
    if to > picked {
        return hash(main[to - 1]).saturating_add(1);
    }
    let next = main.get(picked).map_or(u64::MAX, |&target| hash(target));
    main[..to]
        .iter()
        .map(|&target| hash(target))
        .filter(|&chosen| chosen < next)
        .max()
        .map_or(0, |chosen| chosen.saturating_add(1))
}

fn resolve<'a>(fleet: &Fleet, rule: &str, keys: impl Iterator<Item = &'a String>) -> Result<Vec<KeyIndex>, PlanError> {
    keys.map(|key| {
        fleet.key_index(key).ok_or_else(|| PlanError::UnknownKey {
            rule: rule.to_owned(),
            key: key.clone(),
            known: fleet.keys().to_vec(),
        })
    })
    .collect()
}
