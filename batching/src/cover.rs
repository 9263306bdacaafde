//! Which targets make the first batch see every class: greedy set cover.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, group};
use crate::index::{KeyIndex, NONE, ValueIndex};
use crate::strata::refine;

/// A class the first batch does not contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Uncovered {
    /// The label key.
    pub key: String,
    /// The value nobody in the first batch has.
    pub value: String,
    /// Why.
    pub why: UncoveredReason,
}

/// Why a class is not in the first batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum UncoveredReason {
    /// All its targets are alone in their application, so they wait for the last batch.
    OnlySingletons,
    /// None of the targets it could be seen on was ready.
    NoneReady,
    /// Other classes already took as much of its applications as one batch may.
    NoRoom,
}

/// What the cover may take.
pub(crate) struct Limits<'a> {
    pub(crate) hashes: &'a [u64],
    pub(crate) stratum_of: &'a [u32],
    /// Per stratum: targets outside the holdback.
    pub(crate) main: &'a [u32],
    /// Per application: targets one batch may take.
    pub(crate) half: &'a [u32],
}

pub(crate) struct Cover {
    pub(crate) picks: Vec<u32>,
    pub(crate) uncovered: Vec<Uncovered>,
    /// Classes of the cover keys in the fleet.
    pub(crate) classes: u32,
}

/// Picks targets until every class of `keys` that can be seen is seen. Each step takes the combination of values that
/// shows most unseen classes (ties: the more frequent combination, then the earlier), and of its targets the first by hash.
pub(crate) fn cover(fleet: &Fleet, keys: &[KeyIndex], limits: &Limits<'_>) -> Cover {
    let eligible = |target: u32| {
        let target = crate::TargetIndex(target);
        fleet.ready(target) && fleet.app_size(fleet.app_of(target)) >= 2
    };
    let mut class_first = vec![0_u32];
    for &key in keys {
        class_first.push(class_first[class_first.len() - 1] + fleet.value_count(key));
    }
    let classes = class_first[keys.len()];
    let mut combo_of = vec![0_u32; fleet.len()];
    let mut combos = 1;
    for &key in keys {
        combos = refine(&mut combo_of, |target| fleet.raw_label(target, key));
    }
    let candidates = (0..crate::index::narrow(fleet.len())).filter(|&target| eligible(target));
    let (first, members) = group(combos, candidates, |target| combo_of[target as usize]);
    let classes_of = |target: u32| {
        keys.iter()
            .zip(&class_first)
            .filter_map(move |(&key, &base)| match fleet.raw_label(target, key) {
                NONE => None,
                value => Some((base + value) as usize),
            })
    };
    let of_combo = |combo: u32| &members[first[combo as usize] as usize..first[combo as usize + 1] as usize];

    let mut seen = vec![false; classes as usize];
    let mut stratum_used = vec![0_u32; limits.main.len()];
    let mut app_used = vec![0_u32; limits.half.len()];
    let mut picks = Vec::new();
    let gain = |seen: &[bool], combo: u32| {
        of_combo(combo)
            .first()
            .map_or(0, |&any| classes_of(any).filter(|&class| !seen[class]).count())
    };
    let mut heap: BinaryHeap<(usize, usize, Reverse<u32>)> = (0..combos)
        .map(|combo| (gain(&seen, combo), of_combo(combo).len(), Reverse(combo)))
        .collect();
    while let Some((promised, size, Reverse(combo))) = heap.pop() {
        if promised == 0 {
            break;
        }
        let now = gain(&seen, combo);
        if now < promised {
            // Gains only fall, so re-filing with the true one keeps the greatest on top.
            heap.push((now, size, Reverse(combo)));
            continue;
        }
        let free = |&target: &u32| {
            let (stratum, app) = (
                limits.stratum_of[target as usize] as usize,
                fleet.app_of(crate::TargetIndex(target)).at(),
            );
            stratum_used[stratum] < limits.main[stratum] && app_used[app] < limits.half[app]
        };
        let best = of_combo(combo)
            .iter()
            .copied()
            .filter(free)
            .min_by_key(|&target| (limits.hashes[target as usize], target));
        // Room only shrinks: a combination without room now has none later.
        let Some(pick) = best else { continue };
        stratum_used[limits.stratum_of[pick as usize] as usize] += 1;
        app_used[fleet.app_of(crate::TargetIndex(pick)).at()] += 1;
        for class in classes_of(pick) {
            seen[class] = true;
        }
        picks.push(pick);
    }
    let uncovered = if seen.contains(&false) {
        explain(fleet, keys, &class_first, &seen)
    } else {
        Vec::new()
    };
    Cover {
        picks,
        uncovered,
        classes,
    }
}

fn explain(fleet: &Fleet, keys: &[KeyIndex], class_first: &[u32], seen: &[bool]) -> Vec<Uncovered> {
    let mut uncovered = Vec::new();
    for (&key, &base) in keys.iter().zip(class_first) {
        // Per value: any target in an application of several, and any such that is ready.
        let mut several = vec![(false, false); fleet.value_count(key) as usize];
        for target in fleet.targets() {
            if let Some(value) = fleet.label(target, key)
                && fleet.app_size(fleet.app_of(target)) >= 2
            {
                let entry = &mut several[value.at()];
                *entry = (true, entry.1 | fleet.ready(target));
            }
        }
        for (value, &(any, ready)) in (0..).zip(&several) {
            if seen[(base + value) as usize] {
                continue;
            }
            let why = match (any, ready) {
                (false, _) => UncoveredReason::OnlySingletons,
                (true, false) => UncoveredReason::NoneReady,
                (true, true) => UncoveredReason::NoRoom,
            };
            let value = fleet.value_name(key, ValueIndex(value)).to_owned();
            uncovered.push(Uncovered {
                key: fleet.keys()[key.at()].clone(),
                value,
                why,
            });
        }
    }
    uncovered
}
