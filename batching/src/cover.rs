//! Which targets make the first batch see every class: greedy set cover, less critical targets first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, group};
use crate::index::{KeyIndex, NONE, TargetIndex, ValueIndex, narrow};
use crate::refine::refine;
use crate::strata::Draw;

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
    pub(crate) draw: &'a Draw,
    /// Per stratum: targets outside the holdback.
    pub(crate) main: &'a [u32],
    /// Per application: targets one batch may take.
    pub(crate) half: &'a [u32],
    /// Per stratum: its most critical tier; empty where all are alike.
    pub(crate) tier: &'a [u8],
    pub(crate) spread: &'a [KeyIndex],
    /// The strata of each new class: one target of each class, no more.
    pub(crate) new_classes: &'a [Vec<u32>],
}

pub(crate) struct Cover {
    /// Seats.
    pub(crate) picks: Vec<u32>,
    pub(crate) uncovered: Vec<Uncovered>,
    /// Classes of the cover keys in the fleet.
    pub(crate) classes: u32,
}

/// Picks targets until every class of `keys` that can be seen is seen: greedy set cover, weighted by criticality.
///
/// Each step takes the combination of values and tier that shows most unseen classes for its price, where a tier that is less critical by one
/// costs half (ties: the more frequent combination, then the earlier); and of its targets the first by hash. New classes come
/// first, with one target each that is theirs.
pub(crate) fn cover(fleet: &Fleet, keys: &[KeyIndex], limits: &Limits<'_>) -> Cover {
    let mut class_first = vec![0_u32];
    for &key in keys {
        class_first.push(class_first[class_first.len() - 1] + fleet.value_count(key));
    }
    let classes = class_first[keys.len()];
    let cells = Cells::new(fleet, keys, limits);
    let mut taker = Taker::new(fleet, limits, &cells);
    let mut seen = vec![false; classes as usize];
    let classes_of = |target: TargetIndex| {
        keys.iter()
            .zip(&class_first)
            .filter_map(move |(&key, &base)| match fleet.raw_label(target.0, key) {
                NONE => None,
                value => Some((base + value) as usize),
            })
    };
    for strata in limits.new_classes {
        if let Some(pick) = taker.first_of_class(strata) {
            classes_of(limits.draw.target(pick)).for_each(|class| seen[class] = true);
        }
    }
    let gain = |seen: &[bool], combo: u32| {
        let new = cells.of_combo(combo).first().map_or(0, |&cell| {
            classes_of(cells.any_of(cell)).filter(|&class| !seen[class]).count()
        });
        (new as u64) << cells.tier_of(combo).min(32)
    };
    let mut heap: BinaryHeap<(u64, usize, Reverse<u32>)> = (0..cells.combos())
        .map(|combo| (gain(&seen, combo), cells.weight(combo), Reverse(combo)))
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
        // Room only shrinks: a combination without room now has none later.
        let Some(pick) = taker.first_of_cells(cells.of_combo(combo)) else {
            continue;
        };
        classes_of(limits.draw.target(pick)).for_each(|class| seen[class] = true);
    }
    let picks = taker.picks;
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

/// Targets alike in stratum, cover labels and tier, in hash order; and cells alike in cover labels and tier.
struct Cells<'a> {
    limits: &'a Limits<'a>,
    /// Where strata are not fine enough: the seats of each cell. Otherwise a cell is a stratum.
    finer: Option<(Vec<u32>, Vec<u32>)>,
    stratum_of: Vec<u32>,
    first: Vec<u32>,
    grouped: Vec<u32>,
    tiers: Vec<u8>,
}

impl<'a> Cells<'a> {
    fn new(fleet: &Fleet, keys: &[KeyIndex], limits: &'a Limits<'a>) -> Self {
        let draw = limits.draw;
        let fine = limits.tier.is_empty() && keys.iter().all(|key| limits.spread.contains(key));
        let (finer, stratum_of) = if fine {
            (None, (0..narrow(draw.strata.len())).collect())
        } else {
            let mut cell_of: Vec<u32> = draw.seats.iter().map(|seat| seat.stratum).collect();
            let mut cells = narrow(draw.strata.len());
            for &key in keys {
                cells = refine(&mut cell_of, cells, fleet.value_count(key), |at| {
                    fleet.raw_label(draw.seats[at].target.0, key)
                });
            }
            if !limits.tier.is_empty() {
                let tier = |at: usize| u32::from(fleet.weights(draw.seats[at].target).tier);
                cells = refine(&mut cell_of, cells, 256, tier);
            }
            let finer = group(cells, draw.members.iter().copied(), |seat| cell_of[seat as usize]);
            let stratum_of = (0..cells as usize)
                .map(|cell| draw.stratum_of(finer.1[finer.0[cell] as usize]))
                .collect();
            (Some(finer), stratum_of)
        };
        let mut cells = Self {
            limits,
            finer,
            stratum_of,
            first: Vec::new(),
            grouped: Vec::new(),
            tiers: Vec::new(),
        };
        let mut combo_of = vec![0_u32; cells.stratum_of.len()];
        let mut combos = 1;
        for &key in keys {
            let at = limits.spread.iter().position(|&spread| spread == key);
            combos = refine(&mut combo_of, combos, fleet.value_count(key), |cell| match at {
                Some(at) => draw.labels[cells.stratum_of[cell] as usize * limits.spread.len() + at],
                None => fleet.raw_label(cells.any_of(narrow(cell)).0, key),
            });
        }
        let tier = |cell| fleet.weights(cells.any_of(cell)).tier;
        if !limits.tier.is_empty() {
            combos = refine(&mut combo_of, combos, 256, |cell| u32::from(tier(narrow(cell))));
        }
        // Only what can be taken: ready targets of applications of several.
        let all_ready = fleet.all_ready();
        let useful = (0..narrow(combo_of.len())).filter(|&cell| {
            let app = draw.strata[cells.stratum_of[cell as usize] as usize].app;
            let ready = |&seat: &u32| fleet.ready(draw.target(seat));
            fleet.app_size(app) >= 2 && (all_ready || cells.members(cell).iter().any(ready))
        });
        let (first, grouped) = group(combos, useful, |cell| combo_of[cell as usize]);
        let tiers = (0..combos as usize)
            .map(|combo| grouped.get(first[combo] as usize).map_or(0, |&cell| tier(cell)))
            .collect();
        (cells.first, cells.grouped, cells.tiers) = (first, grouped, tiers);
        cells
    }

    fn combos(&self) -> u32 {
        narrow(self.first.len() - 1)
    }

    fn of_combo(&self, combo: u32) -> &[u32] {
        &self.grouped[self.first[combo as usize] as usize..self.first[combo as usize + 1] as usize]
    }

    fn tier_of(&self, combo: u32) -> u8 {
        self.tiers[combo as usize]
    }

    /// Number of targets of a combination.
    fn weight(&self, combo: u32) -> usize {
        self.of_combo(combo).iter().map(|&cell| self.members(cell).len()).sum()
    }

    fn members(&self, cell: u32) -> &[u32] {
        let at = cell as usize;
        match &self.finer {
            Some((first, members)) => &members[first[at] as usize..first[at + 1] as usize],
            None => self.limits.draw.members_of(cell),
        }
    }

    fn any_of(&self, cell: u32) -> TargetIndex {
        self.limits.draw.target(self.members(cell)[0])
    }
}

/// Takes targets as long as strata and applications have room.
struct Taker<'a> {
    fleet: &'a Fleet,
    limits: &'a Limits<'a>,
    cells: &'a Cells<'a>,
    stratum_used: Vec<u32>,
    app_used: Vec<u32>,
    /// Strata of new classes that have had their one target.
    closed: Vec<bool>,
    picks: Vec<u32>,
}

impl<'a> Taker<'a> {
    fn new(fleet: &'a Fleet, limits: &'a Limits<'a>, cells: &'a Cells<'a>) -> Self {
        let mut closed = vec![false; limits.main.len()];
        for &stratum in limits.new_classes.iter().flatten() {
            closed[stratum as usize] = true;
        }
        Self {
            fleet,
            limits,
            cells,
            stratum_used: vec![0; limits.main.len()],
            app_used: vec![0; limits.half.len()],
            closed,
            picks: Vec::new(),
        }
    }

    /// The one target of a new class, if it has none yet: of its least critical strata the first by hash.
    fn first_of_class(&mut self, strata: &[u32]) -> Option<u32> {
        if strata.iter().any(|&stratum| self.stratum_used[stratum as usize] > 0) {
            return None;
        }
        // Another new class that has its one already would get a second.
        let taken = |stratum: &u32| {
            let of = self.limits.new_classes.iter().filter(|class| class.contains(stratum));
            of.flatten().any(|&other| self.stratum_used[other as usize] > 0)
        };
        let draw = self.limits.draw;
        let candidates = strata.iter().copied().filter(|stratum| !taken(stratum));
        let pick = candidates
            .filter(|&stratum| self.has_room(stratum))
            .filter_map(|stratum| {
                let ready = |&&seat: &&u32| self.fleet.ready(draw.target(seat));
                let seat = *draw.members_of(stratum).iter().find(ready)?;
                let tier = self.limits.tier.get(stratum as usize).copied().unwrap_or(0);
                Some((Reverse(tier), draw.hash(seat), seat))
            })
            .min()?;
        Some(self.take(pick.2))
    }

    fn first_of_cells(&mut self, cells: &[u32]) -> Option<u32> {
        let draw = self.limits.draw;
        let mut best: Option<(u64, u32)> = None;
        for &cell in cells {
            let stratum = self.cells.stratum_of[cell as usize];
            if self.closed[stratum as usize] || !self.has_room(stratum) {
                continue;
            }
            let free = |&&seat: &&u32| self.fleet.ready(draw.target(seat)) && !self.is_taken(seat, stratum);
            if let Some(&seat) = self.cells.members(cell).iter().find(free) {
                let entry = (draw.hash(seat), seat);
                if best.is_none_or(|best| entry < best) {
                    best = Some(entry);
                }
            }
        }
        let (_, seat) = best?;
        Some(self.take(seat))
    }

    /// Whether one batch may take one more of a stratum.
    fn has_room(&self, stratum: u32) -> bool {
        let app = self.limits.draw.strata[stratum as usize].app;
        self.fleet.app_size(app) >= 2
            && self.stratum_used[stratum as usize] < self.limits.main[stratum as usize]
            && self.app_used[app.at()] < self.limits.half[app.at()]
    }

    fn is_taken(&self, seat: u32, stratum: u32) -> bool {
        self.stratum_used[stratum as usize] > 0 && self.picks.contains(&seat)
    }

    fn take(&mut self, seat: u32) -> u32 {
        let stratum = self.limits.draw.stratum_of(seat) as usize;
        self.stratum_used[stratum] += 1;
        self.app_used[self.limits.draw.strata[stratum].app.at()] += 1;
        self.picks.push(seat);
        seat
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
