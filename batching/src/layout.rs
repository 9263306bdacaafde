//! The part of a plan that never changes, shared by the plan and its frontiers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::hash::{fingerprint, mix};
use crate::index::{KeyIndex, NONE, ValueIndex};
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
    /// For each stratum the values of the spread keys, `NONE` for none.
    pub(crate) labels: Vec<u32>,
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

    /// Takes in cohorts that stand by stratum, then batch.
    pub(crate) fn set_cohorts(&mut self, cohorts: Vec<Cohort>) {
        self.cohort_first = vec![0; self.strata.len() + 1];
        for (at, cohort) in (1..).zip(&cohorts) {
            self.cohort_first[cohort.stratum as usize + 1] = at;
        }
        for at in 1..self.cohort_first.len() {
            // A stratum without any ends where the one before does.
            self.cohort_first[at] = self.cohort_first[at].max(self.cohort_first[at - 1]);
        }
        self.opening = Vec::with_capacity(cohorts.len());
        let mut sorted: Vec<(u16, u32)> = Vec::new();
        for edges in self.app_first.windows(2) {
            let (begin, end) = (
                self.cohort_first[edges[0] as usize],
                self.cohort_first[edges[1] as usize],
            );
            sorted.clear();
            sorted.extend((begin..end).map(|at| (cohorts[at as usize].batch, at)));
            sorted.sort_unstable();
            self.opening.extend(sorted.iter().map(|&(_, at)| at));
        }
        self.cohorts = cohorts;
    }

    pub(crate) fn index_strata(&mut self, fleet: &Fleet, spread: &[KeyIndex]) {
        let places = (self.strata.len() * 2).next_power_of_two();
        self.table = vec![NONE; places];
        self.prints = Vec::with_capacity(self.strata.len());
        // Strata stand by application, and have few different labels.
        let mut app = (NONE, 0);
        let mut of_labels: BTreeMap<&[u32], u64> = BTreeMap::new();
        for (at, stratum) in (0..).zip(&self.strata) {
            if app.0 != stratum.app.0 {
                app = (stratum.app.0, print_of_app(fleet.app_name(stratum.app)));
            }
            let begin = at as usize * spread.len();
            let labels = &self.labels[begin..begin + spread.len()];
            let text =
                |(&key, &value): (&KeyIndex, &u32)| (value != NONE).then(|| fleet.value_name(key, ValueIndex(value)));
            let labels = *of_labels
                .entry(labels)
                .or_insert_with(|| print_of_labels(spread.iter().zip(labels).map(text)));
            let print = print_of(app.1, labels);
            self.prints.push(print);
            let mut place = slot(print, places - 1);
            while self.table[place] != NONE {
                place = (place + 1) & (places - 1);
            }
            self.table[place] = at;
        }
    }
}

/// The fingerprint of a stratum, of those of its application and of its spread labels. Two strata with one print would be taken for one by
/// births: among 100,000 that happens once in 10⁹ fleets.
pub(crate) const fn print_of(app: u64, labels: u64) -> u64 {
    mix(app ^ labels)
}

pub(crate) fn print_of_app(app: &str) -> u64 {
    fingerprint(1, app)
}

pub(crate) fn print_of_labels<'a>(labels: impl Iterator<Item = Option<&'a str>>) -> u64 {
    labels.fold(2, |state, label| match label {
        Some(text) => fingerprint(state, text),
        None => mix(state),
    })
}
