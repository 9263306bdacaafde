//! What must hold at a start, a way back, or a birth.

use super::world::{Group, World};
use crate::frontier::Side;
use crate::hash::position;
use crate::index::{AppIndex, TargetIndex};
use crate::proof::Violation;

impl World<'_> {
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

    pub(super) fn started(&mut self, id: TargetIndex, now: u64) {
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

    pub(super) fn started_back(&mut self, id: TargetIndex, now: u64) {
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
        self.window(at, now);
        self.put(at, |seen| (seen.flying, seen.back) = (true, true));
    }

    /// At most so many starts in the window that ends now.
    fn window(&mut self, at: usize, now: u64) {
        let (rule, rate) = if self.rolling_back {
            ("rollback.rate", self.policy.rollback.rate)
        } else {
            ("rate", self.policy.rate)
        };
        let Some(rate) = rate else { return };
        while self.starts.front().is_some_and(|&then| now - then >= rate.window_ms) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        let set = format!("the last {} ms", rate.window_ms);
        self.cap(at, rule, set, self.starts.len() as u64, u64::from(rate.targets));
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
        let mut total = self.policy.total_in_flight;
        if self.rolling_back {
            total = self.policy.rollback.total_in_flight.unwrap_or(total);
        }
        let cap = total.of(all.size).max(1);
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

    pub(super) fn joined(&mut self, id: &str, app_name: &str, labels: &[(String, String)], side: Side, now: u64) {
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
}
