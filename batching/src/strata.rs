//! Targets alike in application and spread labels, and where the cohorts of each end.

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::hash::mix;
use crate::index::{AppIndex, KeyIndex, NONE, ValueIndex, narrow};

/// Targets alike in application and spread labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stratum {
    /// The application.
    pub app: AppIndex,
    /// One value for each spread key, in the policy's order; `None` for targets without that label.
    pub labels: Box<[Option<ValueIndex>]>,
    /// Number of targets when planned.
    pub size: u32,
}

/// Splits groups of targets by one more column. Returns the number of groups; new groups are numbered in order of first sight.
pub(crate) fn refine(group_of: &mut [u32], value_of: impl Fn(u32) -> u32) -> u32 {
    let mut pairs = Pairs::default();
    // Fleets come sorted more often than not: the last answer saves most look-ups.
    let mut last = ((NONE, NONE), 0);
    for (target, group) in (0..).zip(group_of.iter_mut()) {
        let pair = (*group, value_of(target));
        if pair != last.0 || target == 0 {
            last = (pair, pairs.number(pair));
        }
        *group = last.1;
    }
    narrow(pairs.pairs.len())
}

/// Numbers pairs in order of first sight; open addressing with a fixed hash.
#[derive(Default)]
struct Pairs {
    pairs: Vec<(u32, u32)>,
    table: Vec<u32>,
}

impl Pairs {
    fn number(&mut self, pair: (u32, u32)) -> u32 {
        if (self.pairs.len() + 1) * 2 > self.table.len() {
            self.table = vec![NONE; (self.table.len() * 2).max(64)];
            for at in 0..self.pairs.len() {
                let place = self.place(self.pairs[at]);
                self.table[place] = narrow(at);
            }
        }
        let place = self.place(pair);
        if self.table[place] == NONE {
            self.table[place] = narrow(self.pairs.len());
            self.pairs.push(pair);
        }
        self.table[place]
    }

    fn place(&self, pair: (u32, u32)) -> usize {
        let mask = self.table.len() - 1;
        let mut place = slot(mix((u64::from(pair.0) << 32) | u64::from(pair.1)), mask);
        while self.table[place] != NONE && self.pairs[self.table[place] as usize] != pair {
            place = (place + 1) & mask;
        }
        place
    }
}

fn slot(hash: u64, mask: usize) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) & mask
}

/// Strata of a fleet: the stratum of each target, and the strata in order of first sight.
pub(crate) fn stratify(fleet: &Fleet, spread: &[KeyIndex]) -> (Vec<u32>, Vec<Stratum>) {
    let mut stratum_of: Vec<u32> = fleet.targets().map(|target| fleet.app_of(target).0).collect();
    for &key in spread {
        refine(&mut stratum_of, |target| fleet.raw_label(target, key));
    }
    let mut strata: Vec<Stratum> = Vec::new();
    for target in fleet.targets() {
        // Without spread keys strata are the applications, which are numbered by first sight too.
        let stratum = stratum_of[target.at()] as usize;
        if stratum == strata.len() {
            let labels = spread.iter().map(|&key| fleet.label(target, key)).collect();
            strata.push(Stratum {
                app: fleet.app_of(target),
                labels,
                size: 0,
            });
        }
        strata[stratum].size += 1;
    }
    (stratum_of, strata)
}

/// Where one stratum's cohort ends after one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cohort {
    /// Hashes below this belong to the cohort.
    pub(crate) below: u64,
    /// Targets of the stratum in this batch and all before.
    pub(crate) cumulative: u32,
    pub(crate) batch: u16,
}

/// The part of a plan that never changes, shared by the plan and its frontiers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) seed: u64,
    pub(crate) last_batch: u16,
    pub(crate) strata: Vec<Stratum>,
    /// Cohorts of stratum `s`: `cohorts[cohort_first[s]..cohort_first[s + 1]]`, by batch; only batches that take from it.
    pub(crate) cohorts: Vec<Cohort>,
    pub(crate) cohort_first: Vec<u32>,
    /// Targets by lane, then batch, then hash: lane `a` is `lane_order[lane_first[a]..lane_first[a + 1]]`.
    pub(crate) lane_order: Vec<u32>,
    pub(crate) lane_first: Vec<u32>,
    /// Open addressing over (application, labels) for births.
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

    /// Planned size of a stratum's cohort once `batch` is open.
    pub(crate) fn cohort_size(&self, stratum: u32, batch: u16) -> u32 {
        self.cohorts_of(stratum)
            .iter()
            .rev()
            .find(|cohort| cohort.batch <= batch)
            .map_or(0, |cohort| cohort.cumulative)
    }

    pub(crate) fn index_strata(&mut self) {
        let places = (self.strata.len() * 2).next_power_of_two();
        self.table = vec![NONE; places];
        for at in 0..self.strata.len() {
            let stratum = &self.strata[at];
            let mut place = slot(key(stratum.app.0, stratum.labels.iter().copied()), places - 1);
            while self.table[place] != NONE {
                place = (place + 1) & (places - 1);
            }
            self.table[place] = narrow(at);
        }
    }

    /// The stratum of an application and its spread labels; allocates nothing.
    pub(crate) fn find(&self, app: u32, labels: impl Iterator<Item = Option<ValueIndex>> + Clone) -> Option<u32> {
        let mask = self.table.len().checked_sub(1)?;
        let mut place = slot(key(app, labels.clone()), mask);
        loop {
            let found = self.table[place];
            let stratum = self.strata.get(found as usize)?;
            if stratum.app.0 == app && stratum.labels.iter().copied().eq(labels.clone()) {
                return Some(found);
            }
            place = (place + 1) & mask;
        }
    }
}

fn key(app: u32, labels: impl Iterator<Item = Option<ValueIndex>>) -> u64 {
    labels.fold(mix(u64::from(app)), |state, label| {
        mix(state ^ label.map_or(u64::MAX, |value| u64::from(value.0)))
    })
}
