//! How a frontier begins.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::lane::{Lane, NO_SET, Phase, State, Usage, steps_of};
use super::{Frontier, LiveStratum, Rules, TrackedKey};
use crate::fleet::Fleet;
use crate::hash::mix;
use crate::index::{AppIndex, NO_KEY, NONE, narrow};
use crate::layout::{Layout, Segment};
use crate::names::Names;
use crate::policy::Policy;

impl Frontier {
    pub(crate) fn new(
        fleet: &Fleet,
        policy: &Policy,
        layout: Arc<Layout>,
        segments: &[Segment],
        batch_of: Vec<u16>,
        stratum_of: Vec<u32>,
    ) -> Self {
        let len = fleet.len();
        let usage = |key, size| Usage {
            key,
            size,
            ..Usage::default()
        };
        let mut sets = vec![usage(NONE, narrow(len)), usage(NONE, 0)];
        let tracked = tracked_keys(fleet, policy, &mut sets);
        let sets_of = sets_of(fleet, &tracked, &mut sets);
        let lanes = lanes(fleet, policy, &layout, segments);
        let live = layout
            .strata
            .iter()
            .zip(&layout.prints)
            .map(|(stratum, &print)| LiveStratum {
                print,
                size: stratum.size,
                planned: stratum.size,
                ..LiveStratum::default()
            })
            .collect();
        let headroom = policy.ready_capacity_headroom;
        let mut frontier = Self {
            mixed_seed: mix(layout.seed),
            rules: Arc::new(Rules {
                per_app: policy.per_app,
                total: policy.total_in_flight,
                rate: policy.rate,
                back: policy.rollback,
                headroom,
                fix: policy.fix_in_flight_per_app,
                pins: policy.pins.clone(),
                one_value: !policy.one_value_per_app.is_empty(),
                one_first: !policy.one_first_exposure.is_empty(),
            }),
            apps: fleet.app_names().clone(),
            spread: policy.spread.clone(),
            tracked,
            app_of: fleet.targets().map(|target| fleet.app_of(target).0).collect(),
            stratum_of,
            batch_of,
            state: vec![State::new(Phase::Waiting); len],
            sets_of,
            capacity: match headroom {
                Some(_) => fleet.targets().map(|target| fleet.weights(target).capacity).collect(),
                None => Vec::new(),
            },
            lanes,
            live,
            sets,
            freed: Vec::new(),
            ring: VecDeque::new(),
            timers: BTreeSet::new(),
            pin_ends: BTreeSet::new(),
            recent: VecDeque::new(),
            now_ms: 0,
            tickets: 0,
            started: 0,
            waiting: narrow(len),
            exposed: 0,
            rolling_back: false,
            back: BTreeSet::new(),
            layout,
        };
        for target in fleet.targets().filter(|&target| !fleet.ready(target)) {
            frontier.set_unhealthy(target.0);
        }
        frontier.pin_planned(fleet);
        for app in 0..narrow(frontier.lanes.len()) {
            frontier.open_steps(app);
            frontier.open_cohorts(app);
        }
        for app in by_criticality(fleet) {
            frontier.wake(app);
        }
        frontier
    }
}

/// Lanes in the order in which they are served first: less critical ones before more critical ones.
fn by_criticality(fleet: &Fleet) -> Vec<u32> {
    if fleet.one_tier() {
        return (0..fleet.app_count()).collect();
    }
    let mut tier = vec![u8::MAX; fleet.app_count() as usize];
    for target in fleet.targets() {
        let app = &mut tier[fleet.app_of(target).at()];
        *app = (*app).min(fleet.weights(target).tier);
    }
    let mut apps: Vec<u32> = (0..fleet.app_count()).collect();
    apps.sort_by_key(|&app| u8::MAX - tier[app as usize]);
    apps
}

/// Every key some rule speaks of, once, with a set for each of its values.
fn tracked_keys(fleet: &Fleet, policy: &Policy, sets: &mut Vec<Usage>) -> Vec<TrackedKey> {
    let mut names: Vec<&String> = policy.per_label.keys().collect();
    names.extend(policy.one_value_per_app.iter().chain(&policy.one_first_exposure));
    names.sort_unstable();
    names.dedup();
    let mut tracked = Vec::new();
    for (at, name) in (0..).zip(names) {
        // Of a repaired plan nobody may be left who has it; some may be born.
        let key = fleet.key_index(name).unwrap_or(NO_KEY);
        let of_key = || Usage {
            key: at,
            ..Usage::default()
        };
        let first_line = policy.one_first_exposure.contains(name).then(|| narrow(sets.len()));
        if first_line.is_some() {
            sets.push(of_key());
        }
        let first = narrow(sets.len());
        let count = fleet.value_count(key);
        sets.extend((0..count).map(|_| of_key()));
        tracked.push(TrackedKey {
            name: name.clone(),
            key,
            cap: policy.per_label.get(name).copied(),
            one_value: policy.one_value_per_app.contains(name),
            first_line,
            exposing: None,
            values: if key == NO_KEY {
                Names::default()
            } else {
                fleet.values_of(key).clone()
            },
            sets: (first..first + count).collect(),
        });
    }
    tracked
}

fn sets_of(fleet: &Fleet, tracked: &[TrackedKey], sets: &mut [Usage]) -> Vec<u32> {
    let mut sets_of = Vec::with_capacity(fleet.len() * tracked.len());
    if tracked.is_empty() {
        return sets_of;
    }
    for target in fleet.targets() {
        for key in tracked {
            let value = fleet.raw_label(target.0, key.key);
            let set = key.sets.get(value as usize).copied().unwrap_or(NO_SET);
            if set != NO_SET {
                sets[set as usize].size += 1;
            }
            sets_of.push(set);
        }
    }
    sets_of
}

fn lanes(fleet: &Fleet, policy: &Policy, layout: &Layout, mut segments: &[Segment]) -> Vec<Lane> {
    (0..fleet.app_count())
        .map(|app| {
            let (begin, end) = (layout.lane_first[app as usize], layout.lane_first[app as usize + 1]);
            let batches = segments.iter().take_while(|segment| segment.end <= end).count();
            let (own, rest) = segments.split_at(batches);
            segments = rest;
            let mut lane = Lane {
                size: end - begin,
                cursor: begin,
                open_end: begin,
                steps: steps_of(own, begin),
                ..Lane::default()
            };
            if let Some(headroom) = policy.ready_capacity_headroom {
                let (mut capacity, mut load) = (0, 0);
                for target in fleet.targets_of(AppIndex(app)) {
                    let weights = fleet.weights(target);
                    capacity += u64::from(weights.capacity);
                    load += u64::from(weights.load);
                }
                lane.ready_capacity = capacity;
                lane.needed_capacity = headroom.on_top_of(load);
                lane.usual_capacity = u32::try_from(capacity / u64::from(end - begin).max(1)).unwrap_or(u32::MAX);
            }
            lane
        })
        .collect()
}
