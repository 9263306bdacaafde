//! The part of a plan that never changes, shared by the plan and its frontiers.

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, group};
use crate::hash::{fingerprint, mix};
use crate::index::{KeyIndex, NONE, narrow};
use crate::refine::slot;
use crate::strata::Stratum;

/// Where one stratum's cohort ends after one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cohort {
    /// Hashes below this belong to the cohort.
    pub(crate) below: u64,
    pub(crate) stratum: u32,
    /// Targets of the stratum in this batch and all before.
    pub(crate) cumulative: u32,
    pub(crate) batch: u16,
}

/// A lane's part of one batch: it ends here in the lane order, and begins where the one before ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) end: u32,
    pub(crate) batch: u16,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) seed: u64,
    pub(crate) last_batch: u16,
    pub(crate) strata: Vec<Stratum>,
    /// Strata of application `a`: `app_first[a]..app_first[a + 1]`.
    pub(crate) app_first: Vec<u32>,
    /// Cohorts of stratum `s`: `cohorts[cohort_first[s]..cohort_first[s + 1]]`, by batch; only batches that take from it.
    pub(crate) cohorts: Vec<Cohort>,
    pub(crate) cohort_first: Vec<u32>,
    /// The cohorts of each application by batch: the order in which its lane opens them.
    pub(crate) opening: Vec<u32>,
    /// Targets by lane, then batch: lane `a` is `lane_order[lane_first[a]..lane_first[a + 1]]`.
    pub(crate) lane_order: Vec<u32>,
    pub(crate) lane_first: Vec<u32>,
    /// The fingerprint of each stratum's application and labels, and a table of them for births.
    pub(crate) prints: Vec<u64>,
    pub(crate) table: Vec<u32>,
}

impl Layout {
    pub(crate) fn cohorts_of(&self, stratum: u32) -> &[Cohort] {
        let at = stratum as usize;
        &self.cohorts[self.cohort_first[at] as usize..self.cohort_first[at + 1] as usize]
    }

    /// The batch of a hash in a stratum.
    pub(crate) fn batch_of_hash(&self, stratum: u32, hash: u64) -> u16 {
        self.cohorts_of(stratum)
            .iter()
            .find(|cohort| hash < cohort.below)
            .map_or(self.last_batch, |cohort| cohort.batch)
    }

    /// An application's strata; none for one born later.
    pub(crate) fn strata_of(&self, app: u32) -> std::ops::Range<u32> {
        match self.app_first.get(app as usize..app as usize + 2) {
            Some(&[begin, end]) => begin..end,
            _ => 0..0,
        }
    }

    /// The positions of an application's cohorts, in the order in which they open.
    pub(crate) fn opening_of(&self, app: u32) -> &[u32] {
        let strata = self.strata_of(app);
        let (begin, end) = (
            self.cohort_first[strata.start as usize],
            self.cohort_first[strata.end as usize],
        );
        &self.opening[begin as usize..end as usize]
    }

    /// Takes in cohorts in any order of strata, each stratum's by batch.
    pub(crate) fn set_cohorts(&mut self, cohorts: &[Cohort]) {
        let (first, order) = group(narrow(self.strata.len()), 0..narrow(cohorts.len()), |at| {
            cohorts[at as usize].stratum
        });
        self.cohorts = order.iter().map(|&at| cohorts[at as usize]).collect();
        self.cohort_first = first;
        self.opening = (0..narrow(cohorts.len())).collect();
        for app in 0..self.app_first.len().saturating_sub(1) {
            let at = |edge: usize| self.cohort_first[self.app_first[edge] as usize] as usize;
            let all = &self.cohorts;
            self.opening[at(app)..at(app + 1)].sort_by_key(|&cohort| all[cohort as usize].batch);
        }
    }

    pub(crate) fn index_strata(&mut self, fleet: &Fleet, spread: &[KeyIndex]) {
        let places = (self.strata.len() * 2).next_power_of_two();
        self.table = vec![NONE; places];
        self.prints = Vec::with_capacity(self.strata.len());
        for (at, stratum) in (0..).zip(&self.strata) {
            let labels = spread.iter().zip(&stratum.labels);
            let labels = labels.map(|(&key, label)| label.map(|value| fleet.value_name(key, value)));
            let print = print_of(fleet.app_name(stratum.app), labels);
            self.prints.push(print);
            let mut place = slot(print, places - 1);
            while self.table[place] != NONE {
                place = (place + 1) & (places - 1);
            }
            self.table[place] = at;
        }
    }
}

/// The fingerprint of an application and its spread labels. Two strata with one print would be taken for one by births: among 100,000 that
/// happens once in 10⁹ fleets.
pub(crate) fn print_of<'a>(app: &str, labels: impl Iterator<Item = Option<&'a str>>) -> u64 {
    let start = fingerprint(1, app);
    mix(labels.fold(start, |state, label| match label {
        Some(text) => fingerprint(state, text),
        None => mix(state),
    }))
}
