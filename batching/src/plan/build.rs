//! How a plan is made.

use std::sync::Arc;

use super::check::{Keys, check};
use super::{Plan, PlanError};
use crate::apportion::{Shares, apportion};
use crate::cover::{Cover, Limits, Uncovered, cover};
use crate::fleet::Fleet;
use crate::frontier::Frontier;
use crate::index::{AppIndex, TargetIndex, narrow};
use crate::layout::{Cohort, Layout, Segment};
use crate::policy::{Policy, PolicyError};
use crate::ramp::{MOST_BATCHES, RampError};
use crate::refine::refine;
use crate::strata::{Draw, Row};

impl Plan {
    /// Plans a fleet.
    ///
    /// # Errors
    /// [`PlanError`], before anything is planned.
    pub fn build(fleet: &Fleet, policy: &Policy, seed: u64) -> Result<Self, PlanError> {
        let keys = check(fleet, policy)?;
        let mut draw = Draw::new(fleet, &keys.spread, seed);
        let len = narrow(fleet.len());
        let sizes: Vec<u32> = (0..fleet.app_count())
            .map(|app| fleet.app_size(AppIndex(app)))
            .collect();
        let half: Vec<u32> = sizes.iter().map(|&n| n.div_ceil(2)).collect();
        let main: Vec<u32> = draw
            .strata
            .iter()
            .map(|s| s.size - held_of(policy, s.size, sizes[s.app.at()]))
            .collect();
        let new_classes = new_classes(fleet, policy, &keys, &draw);
        let tier = tiers(fleet, &draw);
        let limits = Limits {
            draw: &draw,
            main: &main,
            half: &half,
            tier: &tier,
            spread: &keys.spread,
            new_classes: &new_classes,
        };
        let Cover {
            picks,
            uncovered,
            classes,
        } = cover(fleet, &keys.covers, &limits);

        let mut taken = vec![0_u32; draw.strata.len()];
        let mut picked = vec![false; if picks.is_empty() { 0 } else { fleet.len() }];
        for &pick in &picks {
            picked[pick as usize] = true;
            taken[draw.stratum_of[pick as usize] as usize] += 1;
        }
        let mut held = vec![false; fleet.len()];
        order_members(fleet, &mut draw, &main, &taken, &picked, &mut held);

        let pool = main.iter().sum();
        let least = narrow(picks.len()).max(policy.detection_targets.min(pool));
        let mut ramp = policy.ramp.sizes(len, least).map_err(PolicyError::from)?;
        // What is held back is a batch of its own, after the ramp.
        ramp.retain(|&size| size < pool);
        ramp.extend((pool > 0).then_some(pool));
        let apps: Vec<u32> = draw.strata.iter().map(|s| s.app.0).collect();
        let mut batch_of = vec![0_u16; fleet.len()];
        let mut cohorts: Vec<Cohort> = Vec::new();
        let shares = Shares {
            main: &main,
            app_of: &apps,
            half: &half,
            tier: &tier,
            new_classes: &new_classes,
            taken: taken.clone(),
            sizes: &ramp,
            seed,
        };
        let ramped = apportion(shares, MOST_BATCHES, |batch, stratum, from, to| {
            let slice = &draw.members_of(stratum)[..main[stratum as usize] as usize];
            for &target in &slice[from as usize..to as usize] {
                batch_of[target as usize] = batch;
            }
            cohorts.push(Cohort {
                below: end_of(slice, to as usize, taken[stratum as usize] as usize, &draw.hashes),
                stratum,
                cumulative: to,
                batch,
            });
        })
        .ok_or(PolicyError::Ramp(RampError::TooManyBatches { most: MOST_BATCHES }))?;
        // Everything may already be in the ramp: then its last batch is the last of all.
        let last_batch = if pool == len { ramped - 1 } else { ramped };
        if pool < len {
            for (stratum, &main) in (0..).zip(&main) {
                for &target in &draw.members_of(stratum)[main as usize..] {
                    batch_of[target as usize] = last_batch;
                }
            }
        }
        Ok(Self::assemble(
            fleet,
            policy,
            &keys,
            seed,
            Drawn {
                draw,
                batch_of,
                last_batch,
                cohorts,
                held,
                uncovered,
                classes,
                kept: Vec::new(),
            },
        ))
    }

    /// Puts together what is known once everyone has a batch.
    pub(super) fn assemble(fleet: &Fleet, policy: &Policy, keys: &Keys, seed: u64, drawn: Drawn) -> Self {
        let Drawn {
            draw,
            batch_of,
            last_batch,
            cohorts,
            held,
            mut uncovered,
            classes,
            kept,
        } = drawn;
        let Lanes {
            first: lane_first,
            order: lane_order,
            segments,
        } = lanes(fleet, keys, &draw.rows, &batch_of, last_batch);
        let (first, order) = by_batch(&lane_order, &segments, last_batch);
        // Filling up the first batch may have brought in what the cover could not take.
        let first_batch = &order[..first[1] as usize];
        uncovered.retain(|gap| !first_batch.iter().any(|&t| shows(fleet, t, &gap.key, &gap.value)));
        let mut layout = Layout {
            seed,
            last_batch,
            strata: draw.strata,
            app_first: draw.app_first,
            lane_order,
            lane_first,
            ..Layout::default()
        };
        layout.set_cohorts(&cohorts);
        layout.index_strata(fleet, &keys.spread);
        let layout = Arc::new(layout);
        let apps = (0..fleet.app_count()).map(AppIndex);
        Self {
            start: Box::new(Frontier::new(
                fleet,
                policy,
                Arc::clone(&layout),
                &segments,
                batch_of,
                draw.stratum_of,
            )),
            layout,
            order,
            first,
            uncovered,
            classes,
            held,
            ready: fleet.readiness().to_vec(),
            kept,
            singletons: narrow(apps.filter(|&app| fleet.app_size(app) == 1).count()),
        }
    }
}

/// Everyone's batch, and what led to it.
pub(super) struct Drawn {
    pub(super) draw: Draw,
    pub(super) batch_of: Vec<u16>,
    pub(super) last_batch: u16,
    pub(super) cohorts: Vec<Cohort>,
    pub(super) held: Vec<bool>,
    pub(super) uncovered: Vec<Uncovered>,
    pub(super) classes: u32,
    pub(super) kept: Vec<bool>,
}

/// How many of a stratum wait for the last batch.
pub(super) fn held_of(policy: &Policy, stratum: u32, app: u32) -> u32 {
    match (app, stratum) {
        (1, _) => 1,
        // One of a kind inside a larger application: held back it could never be compared with anything.
        (_, 1) => 0,
        (_, n) => policy.holdback.floor_of(n).clamp(1, n / 2),
    }
}

/// The most critical tier of each stratum; empty where all are alike.
fn tiers(fleet: &Fleet, draw: &Draw) -> Vec<u8> {
    if fleet.one_tier() {
        return Vec::new();
    }
    let mut tier = vec![u8::MAX; draw.strata.len()];
    for target in fleet.targets() {
        let place = &mut tier[draw.stratum_of[target.at()] as usize];
        *place = (*place).min(fleet.weights(target).tier);
    }
    tier
}

/// For each new class, its strata.
fn new_classes(fleet: &Fleet, policy: &Policy, keys: &Keys, draw: &Draw) -> Vec<Vec<u32>> {
    let classes = policy.new_classes.iter().filter_map(|class| {
        let at = policy.spread.iter().position(|key| *key == class.key)?;
        let value = fleet.values_of(keys.spread[at]).get(&class.value)?;
        let has = |&stratum: &u32| draw.strata[stratum as usize].labels[at].map(|label| label.0) == Some(value);
        Some((0..narrow(draw.strata.len())).filter(has).collect())
    });
    classes.collect()
}

/// Brings each stratum into the order in which it changes: chosen for coverage, by hash, held back.
fn order_members(fleet: &Fleet, draw: &mut Draw, main: &[u32], taken: &[u32], picked: &[bool], held: &mut [bool]) {
    let all_ready = fleet.all_ready();
    let mut scratch = Vec::new();
    for (stratum, (&main, &taken)) in main.iter().zip(taken).enumerate() {
        let (begin, end) = (draw.first[stratum] as usize, draw.first[stratum + 1] as usize);
        let slice = &mut draw.members[begin..end];
        // One alone is held for another reason: it is no control.
        let several = slice.len() >= 2;
        if taken == 0 && (all_ready || slice.iter().all(|&t| fleet.ready(TargetIndex(t)))) {
            for &target in &slice[main as usize..] {
                held[target as usize] = several;
            }
            continue;
        }
        let is_picked = |target: u32| picked.get(target as usize).copied().unwrap_or(false);
        hold_back(slice, slice.len() - main as usize, fleet, is_picked, held);
        scratch.clear();
        scratch.extend_from_slice(slice);
        scratch.sort_by_key(|&t| (held[t as usize], !is_picked(t)));
        slice.copy_from_slice(&scratch);
        if !several {
            held[slice[0] as usize] = false;
        }
    }
}

/// Marks the last `count` of a stratum, ready ones first: an unready target compares with nothing.
fn hold_back(slice: &[u32], count: usize, fleet: &Fleet, picked: impl Fn(u32) -> bool, held: &mut [bool]) {
    let free = |&&t: &&u32| !picked(t);
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

/// Targets by lane, then batch, then hash.
struct Lanes {
    first: Vec<u32>,
    order: Vec<u32>,
    segments: Vec<Segment>,
}

/// Where values exclude each other within an application, targets of one value stand together in a batch, so that a lane need not wait at
/// every other target.
fn lanes(fleet: &Fleet, keys: &Keys, rows: &[Row], batch_of: &[u16], last_batch: u16) -> Lanes {
    let mut value_of = Vec::new();
    if !keys.one_value.is_empty() {
        value_of = vec![0_u32; fleet.len()];
        let mut combos = 1;
        for &key in &keys.one_value {
            combos = refine(&mut value_of, combos, fleet.value_count(key), |at| {
                fleet.raw_label(narrow(at), key)
            });
        }
    }
    let mut lanes = Lanes {
        first: Vec::with_capacity(fleet.app_count() as usize + 1),
        order: vec![0; rows.len()],
        segments: Vec::new(),
    };
    let mut sorted: Vec<u64> = Vec::new();
    let mut batches: Vec<u16> = Vec::new();
    let mut ends: Vec<u32> = Vec::new();
    let mut begin = 0;
    for app in (0..fleet.app_count()).map(AppIndex) {
        lanes.first.push(narrow(begin));
        let end = begin + fleet.app_size(app) as usize;
        let (lane, order) = (&rows[begin..end], &mut lanes.order[begin..end]);
        batches.clear();
        batches.extend(lane.iter().map(|row| batch_of[row.target.at()]));
        if value_of.is_empty() && lane.len() >= 64 && usize::from(last_batch) <= lane.len() {
            ends.clear();
            ends.resize(usize::from(last_batch) + 2, 0);
            for &batch in &batches {
                ends[usize::from(batch) + 1] += 1;
            }
            for at in 1..ends.len() {
                ends[at] += ends[at - 1];
                if ends[at] > ends[at - 1] {
                    lanes.segments.push(Segment {
                        end: narrow(begin) + ends[at],
                        batch: u16::try_from(at - 1).unwrap_or(last_batch),
                    });
                }
            }
            for (row, &batch) in lane.iter().zip(&batches) {
                let place = &mut ends[usize::from(batch)];
                order[*place as usize] = row.target.0;
                *place += 1;
            }
        } else {
            sorted.clear();
            sorted.extend((0_u64..).zip(&batches).map(|(at, &batch)| u64::from(batch) << 32 | at));
            let place = |entry: u64| usize::try_from(entry & u64::from(u32::MAX)).unwrap_or(0);
            if value_of.is_empty() {
                sorted.sort_unstable();
            } else {
                sorted.sort_unstable_by_key(|&entry| (entry >> 32, value_of[lane[place(entry)].target.at()], entry));
            }
            for (at, &entry) in sorted.iter().enumerate() {
                order[at] = lane[place(entry)].target.0;
                let batch = u16::try_from(entry >> 32).unwrap_or(last_batch);
                let end = narrow(begin + at) + 1;
                match lanes.segments.last_mut() {
                    Some(last) if at > 0 && last.batch == batch => last.end = end,
                    _ => lanes.segments.push(Segment { end, batch }),
                }
            }
        }
        begin = end;
    }
    lanes.first.push(narrow(begin));
    lanes
}

/// The same by batch, then lane.
fn by_batch(lane_order: &[u32], segments: &[Segment], last_batch: u16) -> (Vec<u32>, Vec<TargetIndex>) {
    let mut first = vec![0_u32; usize::from(last_batch) + 2];
    let mut before = 0;
    for segment in segments {
        first[usize::from(segment.batch) + 1] += segment.end - std::mem::replace(&mut before, segment.end);
    }
    for at in 1..first.len() {
        first[at] += first[at - 1];
    }
    let mut next = first.clone();
    let mut order = vec![TargetIndex(0); lane_order.len()];
    let mut before = 0;
    for segment in segments {
        let targets = &lane_order[std::mem::replace(&mut before, segment.end) as usize..segment.end as usize];
        let place = &mut next[usize::from(segment.batch)];
        for (to, &target) in order[*place as usize..].iter_mut().zip(targets) {
            *to = TargetIndex(target);
        }
        *place += narrow(targets.len());
    }
    (first, order)
}

/// Whether a ready target has a label value.
fn shows(fleet: &Fleet, target: TargetIndex, key: &str, value: &str) -> bool {
    let label = fleet
        .key_index(key)
        .and_then(|key| Some(fleet.value_name(key, fleet.label(target, key)?)));
    fleet.ready(target) && label == Some(value)
}
