//! Checks an execution against the caps without the frontier's code: every count is kept anew, from what the trace says alone.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Violations;
use crate::cap::Cap;
use crate::fleet::Fleet;
use crate::frontier::{Event, Side};
use crate::hash::position;
use crate::index::{AppIndex, TargetIndex};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::Violation;

/// One thing that happened in an execution, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "whoever writes a trace lists all of it")]
pub enum TraceStep {
    /// A target was started at this moment, in milliseconds.
    Started {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// A target was started on its way back.
    StartedBack {
        /// The target.
        id: TargetIndex,
        /// When.
        at: u64,
    },
    /// A target was born; it takes the next number.
    Joined {
        /// Its name.
        id: String,
        /// Its application.
        app: String,
        /// Its labels, as (key, value).
        labels: Vec<(String, String)>,
        /// The version it was given.
        side: Side,
        /// When.
        at: u64,
    },
    /// The frontier was told.
    Told(Event),
}

/// How much of a trace was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TraceProof {
    /// Starts, ways back included.
    pub starts: u64,
    /// Births.
    pub births: u64,
    /// Comparisons of a count with its cap.
    pub comparisons: u64,
    /// The most that was in flight at once.
    pub most_in_flight: u32,
}

/// Checks that at every step of an execution every cap of the policy held: per application, label value and fleet, with the unhealthy counted and fixes
/// within their exception; one value per application; one first exposure; the rate; ready capacity; singletons last; batches
/// opened, holds, limits and pins obeyed; and births consistent with cohorts, pins and first exposures.
///
/// # Errors
/// Every cap that was broken, with the step, the set and the numbers.
pub fn verify_trace(
    fleet: &Fleet,
    policy: &Policy,
    plan: &Plan,
    trace: &[TraceStep],
) -> Result<TraceProof, Violations> {
    let mut world = World::new(fleet, policy, plan);
    for (number, step) in (0..).zip(trace) {
        world.number = number;
        world.step(step);
    }
    if world.found.is_empty() {
        Ok(world.proof)
    } else {
        Err(Violations(world.found))
    }
}

/// A target as the trace tells it.
struct Seen {
    app: u32,
    /// A group for every key that some rule speaks of, `None` without the label.
    groups: Vec<Option<usize>>,
    batch: Option<u16>,
    known: bool,
    capacity: u64,
    pinned_until: u64,
    there: bool,
    flying: bool,
    back: bool,
    ill: bool,
    exposed: bool,
    /// Nothing more is done with it: it came through, or was given up.
    settled: bool,
    done: bool,
}

/// Counts of an application, a label value, or the fleet.
#[derive(Clone, Default)]
struct Group {
    name: String,
    size: u32,
    flying: u32,
    /// Unhealthy and at rest.
    ill: u32,
    /// Ill since the change touched them.
    damaged: u32,
    finished: bool,
    settled: bool,
}

#[derive(Clone, Default)]
struct App {
    group: Group,
    open: u16,
    held_until: Option<u64>,
    limit: Option<u32>,
    ready_capacity: u64,
    needed: u64,
    usual: u64,
    /// In flight of strata nobody knew, and whether one has come through.
    strangers: u32,
    strangers_known: bool,
}

struct Key {
    name: String,
    cap: Option<Cap>,
    one_value: bool,
    one_first: bool,
    values: BTreeMap<String, usize>,
    /// The group in its first exposure.
    exposing: Option<usize>,
}

struct World<'a> {
    fleet: &'a Fleet,
    policy: &'a Policy,
    plan: &'a Plan,
    seen: Vec<Seen>,
    born: Vec<String>,
    apps: Vec<App>,
    app_names: BTreeMap<String, u32>,
    keys: Vec<Key>,
    groups: Vec<Group>,
    all: Group,
    starts: VecDeque<u64>,
    /// Damage of the change in each application: in flight, or ill since touched, by key and group.
    engaged: BTreeMap<(u32, usize, usize), (u32, u32)>,
    rolling_back: bool,
    number: u64,
    found: Vec<Violation>,
    proof: TraceProof,
}

impl<'a> World<'a> {
    fn new(fleet: &'a Fleet, policy: &'a Policy, plan: &'a Plan) -> Self {
        let mut names: Vec<&String> = policy.per_label.keys().collect();
        names.extend(policy.one_value_per_app.iter().chain(&policy.one_first_exposure));
        names.sort_unstable();
        names.dedup();
        let keys = names.into_iter().map(|name| Key {
            name: name.clone(),
            cap: policy.per_label.get(name).copied(),
            one_value: policy.one_value_per_app.contains(name),
            one_first: policy.one_first_exposure.contains(name),
            values: BTreeMap::new(),
            exposing: None,
        });
        let mut world = Self {
            fleet,
            policy,
            plan,
            seen: Vec::with_capacity(fleet.len()),
            born: Vec::new(),
            apps: Vec::new(),
            app_names: BTreeMap::new(),
            keys: keys.collect(),
            groups: Vec::new(),
            all: Group {
                name: "the fleet".to_owned(),
                ..Group::default()
            },
            starts: VecDeque::new(),
            engaged: BTreeMap::new(),
            rolling_back: false,
            number: 0,
            found: Vec::new(),
            proof: TraceProof::default(),
        };
        for app in (0..fleet.app_count()).map(AppIndex) {
            world.app(fleet.app_name(app));
        }
        for target in fleet.targets() {
            let labels: Vec<(String, String)> = world.labels_of(target);
            let weights = fleet.weights(target);
            let app = fleet.app_of(target).0;
            world.add(
                fleet.app_name(fleet.app_of(target)),
                &labels,
                u64::from(weights.capacity),
                0,
            );
            let seen = &mut world.seen[target.at()];
            seen.batch = Some(plan.batch_of(target));
            seen.known = true;
            if !fleet.ready(target) {
                world.put(target.at(), |seen| seen.ill = true);
            }
            // The load for now; the headroom comes on top below.
            world.apps[app as usize].needed += u64::from(weights.load);
        }
        for app in &mut world.apps {
            app.needed = policy
                .ready_capacity_headroom
                .map_or(0, |headroom| headroom.on_top_of(app.needed));
        }
        let mut capacity = vec![0_u64; world.apps.len()];
        for seen in &world.seen {
            capacity[seen.app as usize] += seen.capacity;
        }
        for (app, capacity) in world.apps.iter_mut().zip(capacity) {
            app.usual = capacity / u64::from(app.group.size.max(1));
        }
        world
    }

    fn labels_of(&self, target: TargetIndex) -> Vec<(String, String)> {
        let keys = self.fleet.keys().iter().filter_map(|key| {
            let index = self.fleet.key_index(key)?;
            let value = self.fleet.label(target, index)?;
            Some((key.clone(), self.fleet.value_name(index, value).to_owned()))
        });
        keys.collect()
    }

    fn app(&mut self, name: &str) -> u32 {
        if let Some(&app) = self.app_names.get(name) {
            return app;
        }
        let app = u32::try_from(self.apps.len()).unwrap_or(u32::MAX);
        self.app_names.insert(name.to_owned(), app);
        self.apps.push(App {
            group: Group {
                name: format!("application `{name}`"),
                ..Group::default()
            },
            ..App::default()
        });
        app
    }

    fn add(&mut self, app_name: &str, labels: &[(String, String)], capacity: u64, now: u64) {
        let app = self.app(app_name);
        let mut groups = Vec::with_capacity(self.keys.len());
        for key in &mut self.keys {
            let value = labels.iter().find(|(name, _)| *name == key.name);
            groups.push(value.map(|(name, value)| {
                *key.values.entry(value.clone()).or_insert_with(|| {
                    self.groups.push(Group {
                        name: format!("{name}={value}"),
                        ..Group::default()
                    });
                    self.groups.len() - 1
                })
            }));
        }
        let pins = self.policy.pins.iter().filter(|pin| {
            pin.until_ms > now
                && pin.scope.app.as_deref().is_none_or(|wanted| wanted == app_name)
                && pin
                    .scope
                    .labels
                    .iter()
                    .all(|(key, value)| labels.iter().any(|label| label.0 == *key && label.1 == *value))
        });
        let pinned_until = pins.map(|pin| pin.until_ms).max().unwrap_or(0);
        let lane = &mut self.apps[app as usize];
        lane.ready_capacity += capacity;
        lane.group.size += 1;
        self.all.size += 1;
        for &group in groups.iter().flatten() {
            self.groups[group].size += 1;
        }
        self.seen.push(Seen {
            app,
            groups,
            batch: None,
            known: false,
            capacity,
            pinned_until,
            there: true,
            flying: false,
            back: false,
            ill: false,
            exposed: false,
            settled: false,
            done: false,
        });
    }

    /// Changes what is known of a target, and every count with it.
    fn put(&mut self, at: usize, change: impl FnOnce(&mut Seen)) {
        self.count(at, false);
        change(&mut self.seen[at]);
        self.count(at, true);
        self.proof.most_in_flight = self.proof.most_in_flight.max(self.all.flying);
    }

    fn count(&mut self, at: usize, add: bool) {
        let seen = &self.seen[at];
        if !seen.there {
            return;
        }
        let step = |count: &mut u32, yes: bool| {
            if yes {
                *count = if add { *count + 1 } else { *count - 1 };
            }
        };
        let idle = seen.ill && !seen.flying;
        let each = |group: &mut Group| {
            step(&mut group.flying, seen.flying);
            step(&mut group.ill, idle);
            step(&mut group.damaged, idle && seen.exposed);
        };
        each(&mut self.all);
        let lane = &mut self.apps[seen.app as usize];
        each(&mut lane.group);
        if !seen.ill && !seen.flying {
            lane.ready_capacity = if add {
                lane.ready_capacity + seen.capacity
            } else {
                lane.ready_capacity - seen.capacity
            };
        }
        step(&mut lane.strangers, seen.flying && !seen.back && !seen.known);
        for (key, &group) in seen.groups.iter().enumerate() {
            let Some(group) = group else { continue };
            each(&mut self.groups[group]);
            if self.keys[key].one_value {
                let entry = self.engaged.entry((seen.app, key, group)).or_default();
                step(&mut entry.0, seen.flying);
                step(&mut entry.1, idle && seen.exposed);
            }
        }
    }

    fn step(&mut self, step: &TraceStep) {
        match step {
            TraceStep::Started { id, at } => self.started(*id, *at),
            TraceStep::StartedBack { id, at } => self.started_back(*id, *at),
            TraceStep::Joined {
                id,
                app,
                labels,
                side,
                at,
            } => self.joined(id, app, labels, *side, *at),
            TraceStep::Told(event) => self.told(*event),
        }
    }

    fn id(&self, at: usize) -> String {
        if at < self.fleet.len() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            self.fleet.id(TargetIndex(at)).to_owned()
        } else {
            self.born.get(at - self.fleet.len()).cloned().unwrap_or_default()
        }
    }

    fn turn(&mut self, at: usize, why: impl Into<String>) {
        let violation = Violation::Turn {
            step: self.number,
            target: self.id(at),
            why: why.into(),
        };
        self.found.push(violation);
    }

    fn cap(&mut self, at: usize, rule: &str, set: String, amount: u64, cap: u64) {
        self.proof.comparisons += 1;
        if amount > cap {
            let violation = Violation::Cap {
                step: self.number,
                rule: rule.to_owned(),
                set,
                target: self.id(at),
                amount,
                cap,
            };
            self.found.push(violation);
        }
    }

    fn started(&mut self, id: TargetIndex, now: u64) {
        let at = id.at();
        self.proof.starts += 1;
        let Some(seen) = self.seen.get(at) else {
            return self.turn(at, "was started and is not known");
        };
        let (there, flying, settled) = (seen.there, seen.flying, seen.settled);
        let (batch, until) = (seen.batch, seen.pinned_until);
        let lane = &self.apps[seen.app as usize];
        let (open, held, limit, in_flight) = (lane.open, lane.held_until, lane.limit, lane.group.flying);
        let last = self.plan.batch_count() - 1;
        if !there || flying || settled || self.rolling_back {
            self.turn(
                at,
                "was started though it is gone, in flight, done or the change is taken back",
            );
            return;
        }
        if let Some(batch) = batch.filter(|&batch| batch > open) {
            self.turn(
                at,
                format!("was started in batch {batch}, but its lane is open up to {open}"),
            );
        }
        if let Some(until) = held.filter(|&until| until > now) {
            self.turn(at, format!("was started at {now}, but its lane is held until {until}"));
        }
        if until > now {
            self.turn(at, format!("was started at {now}, but is pinned until {until}"));
        }
        if let Some(limit) = limit {
            let set = self.apps[self.seen[at].app as usize].group.name.clone();
            self.cap(at, "limited", set, u64::from(in_flight) + 1, u64::from(limit));
        }
        if self.apps[self.seen[at].app as usize].group.size == 1 && open < last {
            self.turn(
                at,
                format!("is alone in its application and was started before the last batch, {last}"),
            );
        }
        if !self.seen[at].known {
            let lane = &self.apps[self.seen[at].app as usize];
            if lane.strangers > 0 && !lane.strangers_known {
                self.turn(
                    at,
                    "is of a class nobody knew, and the first of them has not come through",
                );
            }
        }
        self.window(at, now);
        self.first_exposure(at);
        self.caps(at);
        self.put(at, |seen| (seen.flying, seen.exposed) = (true, true));
        for key in 0..self.keys.len() {
            let Some(group) = self.seen[at].groups[key] else {
                continue;
            };
            if self.keys[key].one_first && !self.groups[group].settled && self.keys[key].exposing.is_none() {
                self.keys[key].exposing = Some(group);
            }
        }
    }

    fn started_back(&mut self, id: TargetIndex, _now: u64) {
        let at = id.at();
        self.proof.starts += 1;
        let Some(seen) = self.seen.get(at) else {
            return self.turn(at, "was taken back and is not known");
        };
        if !seen.there || seen.flying || !seen.exposed || seen.back || !self.rolling_back {
            return self.turn(
                at,
                "was taken back though it is gone, in flight, back already, was never exposed, or nobody decided it",
            );
        }
        self.caps(at);
        self.put(at, |seen| (seen.flying, seen.back) = (true, true));
    }

    /// At most so many starts in the window that ends now.
    fn window(&mut self, at: usize, now: u64) {
        let Some(rate) = self.policy.rate else { return };
        while self.starts.front().is_some_and(|&then| now - then >= rate.window_ms) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        let set = format!("the last {} ms", rate.window_ms);
        self.cap(at, "rate", set, self.starts.len() as u64, u64::from(rate.targets));
    }

    fn first_exposure(&mut self, at: usize) {
        for key in 0..self.keys.len() {
            let (Some(group), Some(exposing)) = (self.seen[at].groups[key], self.keys[key].exposing) else {
                continue;
            };
            self.proof.comparisons += 1;
            if exposing != group && !self.groups[group].settled {
                let (mine, other) = (self.groups[group].name.clone(), self.groups[exposing].name.clone());
                self.turn(
                    at,
                    format!("one_first_exposure: {mine} is exposed first while {other} still is"),
                );
            }
        }
    }

    /// The caps on what is unavailable at once, for a start in either direction.
    fn caps(&mut self, at: usize) {
        let (app, ill, capacity) = (self.seen[at].app, self.seen[at].ill, self.seen[at].capacity);
        let lane = self.apps[app as usize].clone();
        let fix = match self.policy.fix_in_flight_per_app {
            zero if zero.floor_of(u32::MAX) == 0 => 0,
            amount => amount.floor_of(lane.group.size).max(1),
        };
        let alone = lane.group.size == 1;
        let app_cap = if alone {
            1
        } else {
            self.policy.per_app.of(lane.group.size)
        };
        self.unavailable(at, "per_app", &lane.group, app_cap, (ill, lane.group.flying < fix));
        for key in 0..self.keys.len() {
            let Some(group) = self.seen[at].groups[key] else {
                continue;
            };
            let counts = self.groups[group].clone();
            if let Some(cap) = self.keys[key].cap {
                let rule = format!("per_label `{}`", self.keys[key].name);
                let cap = cap.of(counts.size).max(1);
                self.unavailable(at, &rule, &counts, cap, (ill, lane.group.flying < fix));
            }
            if self.keys[key].one_value {
                self.other_values(at, key, group, ill && fix > 0);
            }
        }
        let all = self.all.clone();
        let cap = self.policy.total_in_flight.of(all.size).max(1);
        self.unavailable(at, "total_in_flight", &all, cap, (ill, lane.group.flying < fix));
        if self.policy.ready_capacity_headroom.is_some() && !ill && !alone {
            self.proof.comparisons += 1;
            let left = lane.ready_capacity - capacity;
            if left < lane.needed {
                self.turn(
                    at,
                    format!(
                        "ready_capacity_headroom: {} keeps a ready capacity of {left}, and needs {}",
                        lane.group.name, lane.needed
                    ),
                );
            }
        }
    }

    /// What is in flight or unhealthy after the start keeps within the cap; or an unhealthy target starts by the exception.
    fn unavailable(&mut self, at: usize, rule: &str, group: &Group, cap: u32, (ill, fix): (bool, bool)) {
        let after = if ill {
            group.flying + group.ill
        } else {
            group.flying + group.ill + 1
        };
        if ill && fix && after > cap {
            let set = format!("{} (by the exception for fixes)", group.name);
            self.cap(at, rule, set, u64::from(group.flying) + 1, u64::from(cap));
        } else {
            self.cap(at, rule, group.name.clone(), u64::from(after), u64::from(cap));
        }
    }

    fn other_values(&mut self, at: usize, key: usize, group: usize, fix: bool) {
        let app = self.seen[at].app;
        let others = self.engaged.range((app, key, 0)..=(app, key, usize::MAX));
        let other = others
            .filter(|((_, _, other), _)| *other != group)
            .find(|(_, (flying, ill))| *flying > 0 || *ill > 0 && !fix);
        self.proof.comparisons += 1;
        if let Some((&(_, _, other), _)) = other {
            let (mine, other) = (self.groups[group].name.clone(), self.groups[other].name.clone());
            let app = self.apps[app as usize].group.name.clone();
            self.turn(
                at,
                format!("one_value_per_app: {mine} of {app} is touched while {other} is"),
            );
        }
    }

    fn joined(&mut self, id: &str, app_name: &str, labels: &[(String, String)], side: Side, now: u64) {
        self.proof.births += 1;
        let app = self.app(app_name);
        let at = self.seen.len();
        self.born.push(id.to_owned());
        let capacity = self.apps[app as usize].usual;
        self.add(app_name, labels, capacity, now);
        let stratum = self.stratum_of(app, labels);
        self.seen[at].known = stratum.is_some();
        if side == Side::Old {
            return;
        }
        if self.rolling_back {
            self.turn(at, "was born new though the change is taken back");
        }
        if self.seen[at].pinned_until > now {
            self.turn(
                at,
                format!(
                    "was born new at {now}, but is pinned until {}",
                    self.seen[at].pinned_until
                ),
            );
        }
        let last = self.plan.batch_count() - 1;
        let open = self.apps[app as usize].open;
        if let Some(members) = &stratum
            && open < last
        {
            // In the cohort: somebody of an open batch stands after it.
            let seed = self.plan.seed();
            let hash = position(seed, id);
            let within = |&target: &TargetIndex| {
                self.plan.batch_of(target) <= open && position(seed, self.fleet.id(target)) >= hash
            };
            if !members.iter().any(within) {
                self.turn(at, format!("was born new beyond the cohort of batch {open}"));
            }
        }
        for key in 0..self.keys.len() {
            let Some(group) = self.seen[at].groups[key] else {
                continue;
            };
            if self.keys[key].one_first && !self.groups[group].settled && self.keys[key].exposing != Some(group) {
                let name = self.groups[group].name.clone();
                self.turn(at, format!("was born new as the first exposure of {name}"));
            }
        }
        self.put(at, |seen| (seen.exposed, seen.settled, seen.done) = (true, true, true));
        self.well(at);
    }

    /// The planned targets alike in application and spread labels.
    fn stratum_of(&self, app: u32, labels: &[(String, String)]) -> Option<Vec<TargetIndex>> {
        if app >= self.fleet.app_count() {
            return None;
        }
        let keys: Vec<_> = self
            .policy
            .spread
            .iter()
            .filter_map(|name| {
                let wanted = labels
                    .iter()
                    .find(|label| label.0 == *name)
                    .map(|label| label.1.as_str());
                Some((self.fleet.key_index(name)?, wanted))
            })
            .collect();
        let like = |&target: &TargetIndex| {
            keys.iter().all(|&(key, wanted)| {
                let label = self
                    .fleet
                    .label(target, key)
                    .map(|value| self.fleet.value_name(key, value));
                label == wanted
            })
        };
        let members: Vec<TargetIndex> = self.fleet.targets_of(AppIndex(app)).filter(like).collect();
        (!members.is_empty()).then_some(members)
    }

    /// A target came through.
    fn well(&mut self, at: usize) {
        if !self.seen[at].known {
            self.apps[self.seen[at].app as usize].strangers_known = true;
        }
        for group in self.seen[at].groups.clone().into_iter().flatten() {
            self.groups[group].finished = true;
        }
        self.exposures(at);
    }

    /// Ends first exposures: none is in flight, and one has finished or none of the touched is ill.
    fn exposures(&mut self, at: usize) {
        for key in 0..self.keys.len() {
            let Some(group) = self.seen[at].groups[key] else {
                continue;
            };
            let counts = &mut self.groups[group];
            if counts.flying > 0 {
                continue;
            }
            counts.settled |= counts.finished;
            if (counts.settled || counts.damaged == 0) && self.keys[key].exposing == Some(group) {
                self.keys[key].exposing = None;
            }
        }
    }

    fn told(&mut self, event: Event) {
        match event {
            Event::Started { id, .. } if self.waits(id) => {
                self.put(id.at(), |seen| (seen.flying, seen.exposed) = (true, true));
            }
            Event::Finished { id, .. } if self.is_there(id) && !self.seen[id.at()].back => {
                let at = id.at();
                // Told twice is told once: nothing is known of its health since.
                if self.seen[at].flying || !self.seen[at].done {
                    self.put(at, |seen| {
                        (seen.flying, seen.ill, seen.exposed) = (false, false, true);
                        (seen.settled, seen.done) = (true, true);
                    });
                    self.well(at);
                }
            }
            Event::Failed { id, retry, .. } if self.is_there(id) && !self.seen[id.at()].back => {
                let at = id.at();
                if self.seen[at].flying {
                    self.put(at, |seen| (seen.flying, seen.ill) = (false, true));
                }
                self.seen[at].settled |= !retry;
                self.exposures(at);
            }
            Event::RolledBack { id } if self.is_there(id) && self.seen[id.at()].flying => {
                self.put(id.at(), |seen| (seen.flying, seen.ill) = (false, false));
            }
            Event::RollbackFailed { id } if self.is_there(id) && self.seen[id.at()].flying => {
                self.put(id.at(), |seen| (seen.flying, seen.ill) = (false, true));
            }
            Event::BecameUnhealthy { id } if self.is_there(id) => self.put(id.at(), |seen| seen.ill = true),
            Event::BecameHealthy { id } if self.is_there(id) => {
                self.put(id.at(), |seen| seen.ill = false);
                self.exposures(id.at());
            }
            Event::Left { id } if self.is_there(id) => self.left(id.at()),
            Event::Promoted { app, .. } if !self.rolling_back => {
                let last = self.plan.batch_count() - 1;
                if let Some(app) = self.apps.get_mut(app.at()) {
                    app.open = (app.open + 1).min(last);
                }
            }
            Event::HeldUntil { app, until_ms } => self.lane(app, |lane| lane.held_until = Some(until_ms)),
            Event::Released { app } => self.lane(app, |lane| lane.held_until = None),
            Event::Limited { app, n } => self.lane(app, |lane| lane.limit = n),
            Event::RollBack { .. } => self.rolling_back = true,
            _ => {}
        }
    }

    fn is_there(&self, id: TargetIndex) -> bool {
        self.seen.get(id.at()).is_some_and(|seen| seen.there)
    }

    fn waits(&self, id: TargetIndex) -> bool {
        self.is_there(id) && !self.seen[id.at()].flying && !self.seen[id.at()].settled && !self.rolling_back
    }

    fn lane(&mut self, app: AppIndex, change: impl FnOnce(&mut App)) {
        if let Some(lane) = self.apps.get_mut(app.at()) {
            change(lane);
        }
    }

    fn left(&mut self, at: usize) {
        self.put(at, |seen| seen.there = false);
        self.all.size -= 1;
        self.apps[self.seen[at].app as usize].group.size -= 1;
        for group in self.seen[at].groups.clone().into_iter().flatten() {
            self.groups[group].size -= 1;
        }
        self.exposures(at);
    }
}
