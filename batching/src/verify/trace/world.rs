//! What a trace says of the fleet, counted.

use std::collections::{BTreeMap, VecDeque};

use super::{TraceProof, TraceStep};
use crate::cap::Cap;
use crate::fleet::Fleet;
use crate::frontier::Event;
use crate::index::{AppIndex, TargetIndex};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::proof::Violation;

/// A target as the trace tells it.
pub(super) struct Seen {
    pub(super) app: u32,
    /// A group for every key that some rule speaks of, `None` without the label.
    pub(super) groups: Vec<Option<usize>>,
    pub(super) batch: Option<u16>,
    pub(super) known: bool,
    pub(super) capacity: u64,
    pub(super) pinned_until: u64,
    pub(super) there: bool,
    pub(super) flying: bool,
    pub(super) back: bool,
    pub(super) ill: bool,
    pub(super) exposed: bool,
    /// Nothing more is done with it: it came through, or was given up.
    pub(super) settled: bool,
    pub(super) done: bool,
}

/// Counts of an application, a label value, or the fleet.
#[derive(Clone, Default)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) size: u32,
    pub(super) flying: u32,
    /// Unhealthy and at rest.
    pub(super) ill: u32,
    /// Ill since the change touched them.
    pub(super) damaged: u32,
    pub(super) finished: bool,
    pub(super) settled: bool,
}

#[derive(Clone, Default)]
pub(super) struct App {
    pub(super) group: Group,
    pub(super) open: u16,
    pub(super) held_until: Option<u64>,
    pub(super) limit: Option<u32>,
    pub(super) ready_capacity: u64,
    pub(super) needed: u64,
    pub(super) usual: u64,
    /// In flight of strata nobody knew, and whether one has come through.
    pub(super) strangers: u32,
    pub(super) strangers_known: bool,
}

pub(super) struct Key {
    pub(super) name: String,
    pub(super) cap: Option<Cap>,
    pub(super) one_value: bool,
    pub(super) one_first: bool,
    pub(super) values: BTreeMap<String, usize>,
    /// The group in its first exposure.
    pub(super) exposing: Option<usize>,
}

pub(super) struct World<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) policy: &'a Policy,
    pub(super) plan: &'a Plan,
    pub(super) seen: Vec<Seen>,
    pub(super) born: Vec<String>,
    pub(super) apps: Vec<App>,
    pub(super) app_names: BTreeMap<String, u32>,
    pub(super) keys: Vec<Key>,
    pub(super) groups: Vec<Group>,
    pub(super) all: Group,
    pub(super) starts: VecDeque<u64>,
    /// Damage of the change in each application: in flight, or ill since touched, by key and group.
    pub(super) engaged: BTreeMap<(u32, usize, usize), (u32, u32)>,
    pub(super) rolling_back: bool,
    pub(super) number: u64,
    pub(super) found: Vec<Violation>,
    pub(super) proof: TraceProof,
}

impl<'a> World<'a> {
    pub(super) fn new(fleet: &'a Fleet, policy: &'a Policy, plan: &'a Plan) -> Self {
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

    pub(super) fn app(&mut self, name: &str) -> u32 {
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

    pub(super) fn add(&mut self, app_name: &str, labels: &[(String, String)], capacity: u64, now: u64) {
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
    pub(super) fn put(&mut self, at: usize, change: impl FnOnce(&mut Seen)) {
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

    pub(super) fn step(&mut self, step: &TraceStep) {
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

    pub(super) fn id(&self, at: usize) -> String {
        if at < self.fleet.len() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            self.fleet.id(TargetIndex(at)).to_owned()
        } else {
            self.born.get(at - self.fleet.len()).cloned().unwrap_or_default()
        }
    }

    /// A target came through.
    pub(super) fn well(&mut self, at: usize) {
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
            // Given, and not begun.
            Event::OutOfReach { id } if self.is_there(id) && self.seen[id.at()].flying && !self.rolling_back => {
                self.put(id.at(), |seen| seen.flying = false);
                self.exposures(id.at());
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
            Event::RollBack { .. } => {
                if !self.rolling_back {
                    self.starts.clear();
                }
                self.rolling_back = true;
            }
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
