//! How a plan is made.

use std::sync::Arc;

use super::check::{Keys, Origin, check};
use super::{Plan, PlanError};
use crate::apportion::{Cut, Shares, apportion};
use crate::cover::{Cover, Limits, Uncovered, cover};
use crate::fleet::{Fleet, group};
use crate::frontier::Frontier;
use crate::index::{AppIndex, TargetIndex, narrow};
use crate::layout::{Cohort, Layout, Segment};
use crate::policy::{Policy, PolicyError};
use crate::ramp::{MOST_BATCHES, RampError};
use crate::refine::refine;
use crate::strata::Draw;

impl Plan {
    /// Plans a fleet.
    ///
    /// # Errors
    /// [`PlanError`], before anything is planned.
    pub fn build(fleet: &Fleet, policy: &Policy, seed: u64) -> Result<Self, PlanError> {
        let keys = check(fleet, policy, Origin::New)?;
        let mut draw = Draw::new(fleet, &keys.spread, seed);
        let len = narrow(fleet.len());
        let half: Vec<u32> = (0..fleet.app_count())
            .map(|app| fleet.app_size(AppIndex(app)).div_ceil(2))
            .collect();
        let main: Vec<u32> = draw
            .strata
            .iter()
            .map(|s| s.size - held_of(policy, s.size, fleet.app_size(s.app)))
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
            taken[draw.stratum_of(pick) as usize] += 1;
        }
        order_members(fleet, &mut draw, &main, &taken, &picked);

        let pool = main.iter().sum();
        let least = narrow(picks.len()).max(policy.detection_targets.min(pool));
        let mut ramp = policy.ramp.sizes(len, least).map_err(PolicyError::from)?;
        // What is held back is a batch of its own, after the ramp.
        ramp.retain(|&size| size < pool);
        ramp.extend((pool > 0).then_some(pool));
        let shares = Shares {
            strata: &draw.strata,
            main: &main,
            half: &half,
            tier: &tier,
            new_classes: &new_classes,
            taken: &taken,
            sizes: &ramp,
            seed,
        };
        let (cuts, ramped) = apportion(&shares, MOST_BATCHES)
            .ok_or(PolicyError::Ramp(RampError::TooManyBatches { most: MOST_BATCHES }))?;
        // Everything may already be in the ramp: then its last batch is the last of all.
        let last_batch = if pool == len { ramped - 1 } else { ramped };
        let (batches, cohorts) = carry_out(&draw, &main, &taken, &cuts, last_batch);
        Ok(Self::assemble(
            fleet,
            policy,
            &keys,
            seed,
            Drawn {
                draw,
                batches,
                last_batch,
                cohorts,
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
            batches,
            last_batch,
            cohorts,
            mut uncovered,
            classes,
            kept,
        } = drawn;
        let Lanes {
            order: lane_order,
            segments,
            batch_of,
            stratum_of,
            held,
        } = lanes(fleet, keys, &draw, &batches, last_batch);
        let (first, order) = by_batch(&lane_order, &segments, last_batch);
        // Filling up the first batch may have brought in what the cover could not take.
        let first_batch = &order[..first[1] as usize];
        uncovered.retain(|gap| !first_batch.iter().any(|&t| shows(fleet, t, &gap.key, &gap.value)));
        let mut layout = Layout {
            seed,
            last_batch,
            strata: draw.strata,
            labels: draw.labels,
            app_first: draw.app_first,
            lane_order,
            lane_first: fleet.app_starts().to_vec(),
            ..Layout::default()
        };
        layout.set_cohorts(cohorts);
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
                stratum_of,
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
    /// By seat.
    pub(super) batches: Vec<u16>,
    pub(super) last_batch: u16,
    /// By stratum, then batch.
    pub(super) cohorts: Vec<Cohort>,
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
    for seat in &draw.seats {
        let place = &mut tier[seat.stratum as usize];
        *place = (*place).min(fleet.weights(seat.target).tier);
    }
    tier
}

/// For each new class, its strata.
fn new_classes(fleet: &Fleet, policy: &Policy, keys: &Keys, draw: &Draw) -> Vec<Vec<u32>> {
    let classes = policy.new_classes.iter().filter_map(|class| {
        let at = policy.spread.iter().position(|key| *key == class.key)?;
        let value = fleet.values_of(keys.spread[at]).get(&class.value)?;
        let has = |&stratum: &u32| draw.labels[stratum as usize * keys.spread.len() + at] == value;
        Some((0..narrow(draw.strata.len())).filter(has).collect())
    });
    classes.collect()
}

/// Brings each stratum into the order in which it changes: chosen for coverage, by hash, held back.
fn order_members(fleet: &Fleet, draw: &mut Draw, main: &[u32], taken: &[u32], picked: &[bool]) {
    let all_ready = fleet.all_ready();
    let Draw {
        seats, members, first, ..
    } = draw;
    let ready = |seat: u32| fleet.ready(seats[seat as usize].target);
    let mut ordered = Vec::new();
    for (stratum, (&main, &taken)) in main.iter().zip(taken).enumerate() {
        let slice = &mut members[first[stratum] as usize..first[stratum + 1] as usize];
        if taken == 0 && (all_ready || slice.iter().all(|&seat| ready(seat))) {
            continue;
        }
        let is_picked = |seat: u32| picked.get(seat as usize).copied().unwrap_or(false);
        let held = held_back(slice, slice.len() - main as usize, ready, is_picked);
        ordered.clear();
        ordered.extend(
            slice
                .iter()
                .zip(held)
                .map(|(&seat, held)| (held, !is_picked(seat), seat)),
        );
        ordered.sort_by_key(|&(held, late, _)| (held, late));
        for (place, &(_, _, seat)) in slice.iter_mut().zip(&ordered) {
            *place = seat;
        }
    }
}

/// Which of a stratum are held back: the last `count`, ready ones first, since an unready target compares with nothing.
fn held_back(slice: &[u32], count: usize, ready: impl Fn(u32) -> bool, picked: impl Fn(u32) -> bool) -> Vec<bool> {
    let mut held = vec![false; slice.len()];
    let mut missing = count;
    for wanted in [true, false] {
        for (&seat, held) in slice.iter().zip(&mut held).rev() {
            if missing > 0 && ready(seat) == wanted && !picked(seat) {
                *held = true;
                missing -= 1;
            }
        }
    }
    held
}

/// The batch of every seat, and the cohorts of every stratum.
fn carry_out(draw: &Draw, main: &[u32], taken: &[u32], cuts: &[Cut], last_batch: u16) -> (Vec<u16>, Vec<Cohort>) {
    let mut batches = vec![last_batch; draw.seats.len()];
    let mut cohorts = Vec::with_capacity(cuts.len());
    let (first, by_stratum) = group(narrow(main.len()), 0..narrow(cuts.len()), |at| {
        cuts[at as usize].stratum
    });
    for (stratum, (&main, &taken)) in (0..).zip(main.iter().zip(taken)) {
        let slice = &draw.members_of(stratum)[..main as usize];
        let mut from = 0;
        for &at in &by_stratum[first[stratum as usize] as usize..first[stratum as usize + 1] as usize] {
            let Cut { batch, cumulative, .. } = cuts[at as usize];
            let to = cumulative as usize;
            for &seat in &slice[from..to] {
                batches[seat as usize] = batch;
            }
            cohorts.push(Cohort {
                below: end_of(draw, slice, to, taken as usize),
                stratum,
                cumulative,
                batch,
            });
            from = to;
        }
    }
    (batches, cohorts)
}

/// Hashes below the result belong to the first `to` of a stratum, whose first `picked` were chosen for coverage: a chosen one that stands far
/// back in hash order must not pull births with it.
fn end_of(draw: &Draw, main: &[u32], to: usize, picked: usize) -> u64 {
    if to > picked {
        return draw.hash(main[to - 1]).saturating_add(1);
    }
    let next = main.get(picked).map_or(u64::MAX, |&seat| draw.hash(seat));
    main[..to]
        .iter()
        .map(|&seat| draw.hash(seat))
        .filter(|&chosen| chosen < next)
        .max()
        .map_or(0, |chosen| chosen.saturating_add(1))
}

/// Targets by lane, then batch, then hash; and what is known of each target, by target.
struct Lanes {
    order: Vec<u32>,
    segments: Vec<Segment>,
    batch_of: Vec<u16>,
    stratum_of: Vec<u32>,
    /// Of a stratum of two or more, and in the last batch.
    held: Vec<bool>,
}

/// Where values exclude each other within an application, targets of one value stand together in a batch, so that a lane need not wait at
/// every other target.
fn lanes(fleet: &Fleet, keys: &Keys, draw: &Draw, batches: &[u16], last_batch: u16) -> Lanes {
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
    let len = fleet.len();
    let mut lanes = Lanes {
        order: vec![0; len],
        segments: Vec::with_capacity(draw.strata.len()),
        batch_of: vec![0; len],
        stratum_of: vec![0; len],
        held: vec![false; len],
    };
    for (seat, &batch) in draw.seats.iter().zip(batches) {
        let at = seat.target.at();
        lanes.batch_of[at] = batch;
        lanes.stratum_of[at] = seat.stratum;
        if batch == last_batch && draw.strata[seat.stratum as usize].size >= 2 {
            lanes.held[at] = true;
        }
    }
    let mut sorted: Vec<u64> = Vec::new();
    let mut ends: Vec<u32> = Vec::new();
    for edges in fleet.app_starts().windows(2) {
        let (begin, end) = (edges[0] as usize, edges[1] as usize);
        let (lane, batches, order) = (
            &draw.seats[begin..end],
            &batches[begin..end],
            &mut lanes.order[begin..end],
        );
        if value_of.is_empty() && usize::from(last_batch) <= lane.len().max(16) {
            ends.clear();
            ends.resize(usize::from(last_batch) + 2, 0);
            for &batch in batches {
                ends[usize::from(batch) + 1] += 1;
            }
            for at in 1..ends.len() {
                ends[at] += ends[at - 1];
                if ends[at] > ends[at - 1] {
                    lanes.segments.push(Segment {
                        end: edges[0] + ends[at],
                        batch: u16::try_from(at - 1).unwrap_or(last_batch),
                    });
                }
            }
            for (seat, &batch) in lane.iter().zip(batches) {
                let place = &mut ends[usize::from(batch)];
                order[*place as usize] = seat.target.0;
                *place += 1;
            }
        } else {
            sorted.clear();
            sorted.extend((0_u64..).zip(batches).map(|(at, &batch)| u64::from(batch) << 32 | at));
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
    }
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
