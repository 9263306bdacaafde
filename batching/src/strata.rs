//! Targets alike in application and spread labels, in the order in which they change.

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::hash::{mix, position_from};
use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, ValueIndex, narrow};
use crate::refine::refine;

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

/// A fleet split into strata, each in hash order.
pub(crate) struct Draw {
    /// By application, and within one in order of first sight.
    pub(crate) strata: Vec<Stratum>,
    pub(crate) stratum_of: Vec<u32>,
    /// Strata of application `a`: `app_first[a]..app_first[a + 1]`.
    pub(crate) app_first: Vec<u32>,
    /// Targets by stratum, then hash: stratum `s` is `members[first[s]..first[s + 1]]`.
    pub(crate) members: Vec<u32>,
    pub(crate) first: Vec<u32>,
    /// The same by application, then hash; grouped as in the fleet.
    pub(crate) rows: Vec<Row>,
    /// By target.
    pub(crate) hashes: Vec<u64>,
}

impl Draw {
    /// Works application by application, so that what is sorted and counted stays in the caches.
    pub(crate) fn new(fleet: &Fleet, spread: &[KeyIndex], seed: u64) -> Self {
        let len = fleet.len();
        let mut combo_of = vec![0_u32; len];
        let mut combos = 1;
        for &key in spread {
            combos = refine(&mut combo_of, combos, fleet.value_count(key), |at| {
                fleet.raw_label(narrow(at), key)
            });
        }
        let mut draw = Self {
            strata: Vec::new(),
            stratum_of: combo_of,
            app_first: Vec::with_capacity(fleet.app_count() as usize + 1),
            members: vec![0; len],
            first: vec![0],
            rows: Vec::new(),
            hashes: Vec::with_capacity(len),
        };
        draw.deal(fleet, seed);
        // The stratum of a combination of labels in the application at hand; those of earlier ones are below its first.
        let mut of_combo = vec![NONE; combos as usize];
        let mut spare: Vec<Row> = Vec::new();
        let mut next: Vec<u32> = Vec::new();
        let mut begin = 0;
        for app in (0..fleet.app_count()).map(AppIndex) {
            let base = narrow(draw.strata.len());
            draw.app_first.push(base);
            let end = begin + fleet.app_size(app) as usize;
            let rows = &mut draw.rows[begin..end];
            for row in &mut *rows {
                let place = &mut of_combo[row.stratum as usize];
                if *place == NONE || *place < base {
                    *place = narrow(draw.strata.len());
                    draw.strata.push(Stratum {
                        app,
                        labels: spread.iter().map(|&key| fleet.label(row.target, key)).collect(),
                        size: 0,
                    });
                }
                row.stratum = *place;
                draw.strata[row.stratum as usize].size += 1;
                draw.stratum_of[row.target.at()] = row.stratum;
            }
            sort(rows, &mut spare);
            next.clear();
            for stratum in &draw.strata[base as usize..] {
                let begin = draw.first[draw.first.len() - 1];
                next.push(begin);
                draw.first.push(begin + stratum.size);
            }
            for row in &*rows {
                let place = &mut next[(row.stratum - base) as usize];
                draw.members[*place as usize] = row.target.0;
                *place += 1;
            }
            begin = end;
        }
        draw.app_first.push(narrow(draw.strata.len()));
        draw
    }

    /// Hashes every target and deals it to its application, in fleet order, with its combination of labels for a stratum.
    fn deal(&mut self, fleet: &Fleet, seed: u64) {
        let start = mix(seed);
        let nobody = Row {
            hash: 0,
            target: TargetIndex(0),
            stratum: 0,
        };
        self.rows = vec![nobody; fleet.len()];
        let mut next = fleet.app_starts().to_vec();
        for (target, &combo) in fleet.targets().zip(&self.stratum_of) {
            let hash = position_from(start, fleet.id_bytes(target));
            self.hashes.push(hash);
            let place = &mut next[fleet.app_of(target).at()];
            self.rows[*place as usize] = Row {
                hash,
                target,
                stratum: combo,
            };
            *place += 1;
        }
    }

    pub(crate) fn members_of(&self, stratum: u32) -> &[u32] {
        let at = stratum as usize;
        &self.members[self.first[at] as usize..self.first[at + 1] as usize]
    }
}

/// A target where its application's stand.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    hash: u64,
    pub(crate) target: TargetIndex,
    stratum: u32,
}

/// Sorts by hash, then target. Hashes are spread evenly, so a first look at their high bits leaves little to compare.
fn sort(rows: &mut [Row], spare: &mut Vec<Row>) {
    const FEW: usize = 64;
    const MOST_BUCKETS: usize = 1 << 12;
    let key = |row: &Row| (row.hash, row.target);
    if rows.len() <= FEW {
        rows.sort_unstable_by_key(key);
        return;
    }
    let buckets = (rows.len() / 8).next_power_of_two().min(MOST_BUCKETS);
    let bits = buckets.trailing_zeros();
    let bucket = |row: &Row| usize::try_from(row.hash >> (64 - bits)).unwrap_or(0);
    let mut ends = vec![0_u32; buckets + 1];
    for row in &*rows {
        ends[bucket(row) + 1] += 1;
    }
    for at in 1..ends.len() {
        ends[at] += ends[at - 1];
    }
    spare.clear();
    spare.extend_from_slice(rows);
    for row in &*spare {
        let place = &mut ends[bucket(row)];
        rows[*place as usize] = *row;
        *place += 1;
    }
    let mut begin = 0;
    for &end in &ends[..buckets] {
        rows[begin..end as usize].sort_unstable_by_key(key);
        begin = end as usize;
    }
}
