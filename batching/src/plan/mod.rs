//! The plan: who changes in which batch.

mod build;
mod check;
mod error;
mod repair;
mod summary;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cover::Uncovered;
use crate::frontier::Frontier;
use crate::index::{AppIndex, NONE, StratumIndex, TargetIndex, ValueIndex, narrow};
use crate::layout::Layout;
use crate::strata::Stratum;

pub use error::PlanError;
pub use repair::{Previous, PreviousError};
pub use summary::Summary;

/// Ordered disjoint batches of a whole fleet. The same fleet, policy and seed give the same plan.
///
/// Batch by batch the change grows along the ramp, spread over all strata. The last batch is the holdback: some of every
/// stratum of two or more, and every application of one target.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) layout: Arc<Layout>,
    pub(crate) start: Box<Frontier>,
    /// Targets by batch, then application, then hash: batch `b` is `order[first[b]..first[b + 1]]`.
    pub(crate) order: Vec<TargetIndex>,
    pub(crate) first: Vec<u32>,
    pub(crate) uncovered: Vec<Uncovered>,
    pub(crate) classes: u32,
    /// Targets held back to the last batch from strata of two or more; empty applications of one are not among them.
    pub(crate) held: Vec<bool>,
    pub(crate) ready: Vec<bool>,
    /// Of a repaired plan: the targets that keep the batch they had. Empty for a new one.
    pub(crate) kept: Vec<bool>,
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

impl Plan {
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

    /// The targets of a batch, by application and then hash.
    #[must_use]
    pub fn targets(&self, batch: u16) -> &[TargetIndex] {
        let at = usize::from(batch);
        &self.order[self.first[at] as usize..self.first[at + 1] as usize]
    }

    /// Whether the plan was repaired: some targets have the batch an earlier plan gave them.
    #[must_use]
    pub fn is_repaired(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Whether a target has its batch from an earlier plan.
    #[must_use]
    pub fn is_kept(&self, target: TargetIndex) -> bool {
        self.kept.get(target.at()).copied().unwrap_or(false)
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

    /// A stratum's values of the spread keys, in the order of [`spread_keys`](Self::spread_keys); `None` where its targets have no such label.
    pub fn labels_of(&self, stratum: StratumIndex) -> impl ExactSizeIterator<Item = Option<ValueIndex>> {
        let keys = self.spread_keys().len();
        let labels = &self.layout.labels[stratum.at() * keys..(stratum.at() + 1) * keys];
        labels.iter().map(|&value| (value != NONE).then_some(ValueIndex(value)))
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

    /// The keys whose values make strata, together with the application. [`labels_of`](Self::labels_of) follows their order.
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
        Frontier::clone(&self.start)
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
