//! What stands in the way of one target.

use super::Frontier;
use super::lane::{Engaged, NO_SET, UNHEALTHY, Usage};
use crate::cap::Cap;
use crate::index::{NONE, TargetIndex};

/// What stands in the way of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Its own application: an event of its lane may change that.
    App(Own),
    /// A set: its lane waits in the set's line.
    Set(u32),
}

/// What of an application stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Cap,
    Capacity,
    /// Another value, this set's, is engaged.
    Value(u32),
    Stranger,
}

impl Frontier {
    /// Whether the caps let a target start (or go back) now.
    ///
    /// A healthy target takes a slot of each of its sets: what is in flight or unhealthy must stay within the cap. An unhealthy one has its slot
    /// already. Where the unhealthy alone are beyond a cap it goes by the exception for fixes, if the policy has it: few of its application
    /// are in flight, and what is in flight keeps within the cap.
    pub(super) fn gate(&self, target: u32) -> Gate {
        match self.caps(target) {
            Gate::Open => {}
            shut => return shut,
        }
        match self.rate() {
            Some(rate) if self.sets[1].in_flight >= rate.targets => Gate::Set(1),
            _ => Gate::Open,
        }
    }

    /// The gate without the rate of starts.
    fn caps(&self, target: u32) -> Gate {
        let app = self.app_of[target as usize];
        let unhealthy = self.state[target as usize].has(UNHEALTHY);
        let lane = &self.lanes[app as usize];
        let fix = lane.in_flight < self.fix_cap(lane.size);
        let full = |in_flight: u32, idle: u32, cap: u32| {
            if !unhealthy {
                in_flight + idle >= cap
            } else {
                in_flight >= cap || in_flight + idle > cap && !fix
            }
        };
        if full(lane.in_flight, lane.unhealthy, self.app_cap(app)) {
            return Gate::App(Own::Cap);
        }
        if self.rules.headroom.is_some() && !unhealthy && !self.may_empty(app) {
            let capacity = u64::from(self.capacity[target as usize]);
            if lane.ready_capacity < lane.needed_capacity.saturating_add(capacity) {
                return Gate::App(Own::Capacity);
            }
        }
        if self.stratum_of[target as usize] == NONE && lane.strangers > 0 && !lane.strangers_known && !self.rolling_back
        {
            return Gate::App(Own::Stranger);
        }
        let keys = self.tracked.len();
        let begin = target as usize * keys;
        for (key, &set) in self.tracked.iter().zip(&self.sets_of[begin..begin + keys]) {
            if set == NO_SET {
                continue;
            }
            let usage = &self.sets[set as usize];
            if key.one_value
                && let Some(other) = self.other_value(app, set, unhealthy)
            {
                return Gate::App(Own::Value(other));
            }
            if let Some(cap) = key.cap
                && full(usage.in_flight, usage.unhealthy, cap.of(usage.size).max(1))
            {
                return self.set_gate(set, unhealthy, fix);
            }
            if let (Some(line), Some(exposing)) = (key.first_line, key.exposing)
                && exposing != set
                && !usage.settled
                && !self.rolling_back
            {
                return Gate::Set(line);
            }
        }
        let fleet = &self.sets[0];
        if full(fleet.in_flight, fleet.unhealthy, self.total_cap().of(fleet.size).max(1)) {
            return self.set_gate(0, unhealthy, fix);
        }
        Gate::Open
    }

    /// Whether the caps let one more target be out of service where this one is, for any other cause than a start: an isolation, a
    /// restart. The rate of starts does not apply. Whoever takes it out tells the frontier that it
    /// [became unhealthy](crate::Event::BecameUnhealthy), and so it counts against every cap until it is healthy again. `false` for a
    /// target it never had. Time: O(capped keys).
    #[must_use]
    pub fn may_leave(&self, id: TargetIndex) -> bool {
        id.at() < self.state.len() && self.caps(id.0) == Gate::Open
    }

    /// Whether the caps let one more target be out of service where this one is: for a way back that the frontier does not plan
    /// itself. Whoever takes it tells the frontier that the target [became unhealthy](crate::Event::BecameUnhealthy) while it lasts.
    /// `false` for a target it never had. Time: O(capped keys).
    #[must_use]
    pub fn has_room(&self, id: TargetIndex) -> bool {
        id.at() < self.state.len() && self.gate(id.0) == Gate::Open
    }

    /// An unhealthy target that lacks only its application's exception waits for its own lane.
    fn set_gate(&self, set: u32, unhealthy: bool, fix: bool) -> Gate {
        let usage = &self.sets[set as usize];
        if unhealthy && !fix && !self.rules.fix.is_zero() && usage.in_flight < self.set_cap(set) {
            Gate::App(Own::Cap)
        } else {
            Gate::Set(set)
        }
    }

    /// How many of an application of `n` may be in flight by the exception for fixes.
    fn fix_cap(&self, n: u32) -> u32 {
        if self.rules.fix.is_zero() {
            0
        } else {
            Cap::rounded_down(self.rules.fix).of(n).max(1)
        }
    }

    /// The cap on the fleet, on the way there or back.
    fn total_cap(&self) -> Cap {
        let back = self.rules.back.total_in_flight.filter(|_| self.rolling_back);
        back.unwrap_or(self.rules.total)
    }

    /// Whether an application is alone and may be emptied now: in the last batch, or on the way back.
    fn may_empty(&self, app: u32) -> bool {
        let lane = &self.lanes[app as usize];
        lane.size == 1 && (lane.open >= self.layout.last_batch || self.rolling_back)
    }

    pub(super) fn app_cap(&self, app: u32) -> u32 {
        match self.lanes[app as usize].size {
            // Alone: the last batch is the one that may empty an application, and a rollback must reach it too.
            1 => u32::from(self.may_empty(app)),
            n => self.rules.per_app.of(n),
        }
    }

    /// The most of a set that may be in flight or unhealthy; of a line to wait in, everybody.
    pub(super) fn set_cap(&self, set: u32) -> u32 {
        let Usage { key, size, .. } = self.sets[set as usize];
        match (set, self.tracked.get(key as usize)) {
            (0, _) => self.total_cap().of(size).max(1),
            (1, _) => self.rate().map_or(u32::MAX, |rate| rate.targets),
            (_, Some(tracked)) if tracked.first_line != Some(set) => {
                tracked.cap.map_or(u32::MAX, |cap| cap.of(size).max(1))
            }
            _ => u32::MAX,
        }
    }

    /// How many lanes of one of a set's lines may go on.
    pub(super) fn free_of(&self, set: u32, unwell: bool) -> u32 {
        let (usage, cap) = (&self.sets[set as usize], self.set_cap(set));
        if !unwell {
            cap.saturating_sub(usage.used())
        } else if self.rules.fix.is_zero() && usage.used() > cap {
            0
        } else {
            cap.saturating_sub(usage.in_flight)
        }
    }

    /// A value of the same key as `set`'s that keeps it out of the application now. For an unhealthy target only what is in flight counts,
    /// where fixes have their exception.
    fn other_value(&self, app: u32, set: u32, unhealthy: bool) -> Option<u32> {
        let key = self.sets[set as usize].key;
        let fix = unhealthy && !self.rules.fix.is_zero();
        let engaged = &self.lanes[app as usize].engaged;
        let keeps_out = |e: &&Engaged| {
            e.set != set && self.sets[e.set as usize].key == key && (e.in_flight > 0 || e.ill > 0 && !fix)
        };
        engaged.iter().find(keeps_out).map(|e| e.set)
    }

    /// Counts a target among those that keep other values out.
    pub(super) fn engage(&mut self, target: u32, flight: i32, ill: i32) {
        if flight == 0 && ill == 0 {
            return;
        }
        let keys = self.tracked.len();
        let begin = target as usize * keys;
        for at in 0..keys {
            let set = self.sets_of[begin + at];
            if set == NO_SET || !self.tracked[at].one_value {
                continue;
            }
            let engaged = &mut self.lanes[self.app_of[target as usize] as usize].engaged;
            let place = engaged.iter().position(|e| e.set == set).unwrap_or_else(|| {
                engaged.push(Engaged {
                    set,
                    in_flight: 0,
                    ill: 0,
                });
                engaged.len() - 1
            });
            let entry = &mut engaged[place];
            entry.in_flight = entry.in_flight.wrapping_add_signed(flight);
            entry.ill = entry.ill.wrapping_add_signed(ill);
            if entry.in_flight == 0 && entry.ill == 0 {
                engaged.swap_remove(place);
            }
        }
    }

    /// The sets of a target whose key has exclusive first exposures, with the key's position.
    fn first_sets(&self, target: u32) -> Vec<(usize, u32)> {
        let keys = self.tracked.len();
        let begin = target as usize * keys;
        let sets = self.sets_of[begin..begin + keys].iter().copied().enumerate();
        sets.filter(|&(at, set)| set != NO_SET && self.tracked[at].first_line.is_some())
            .collect()
    }

    pub(super) fn begin_exposure(&mut self, target: u32) {
        for (at, set) in self.first_sets(target) {
            if !self.sets[set as usize].settled && self.tracked[at].exposing.is_none() {
                self.tracked[at].exposing = Some(set);
            }
        }
    }

    /// A target has come through: what nobody knew is known, and first exposures may be over.
    pub(super) fn seen_well(&mut self, target: u32) {
        if self.stratum_of[target as usize] == NONE {
            self.lane_of(target).strangers_known = true;
        }
        if self.rules.one_first {
            for (_, set) in self.first_sets(target) {
                self.sets[set as usize].finished = true;
            }
            self.end_exposures(target);
        }
    }

    /// Ends the first exposures of a target's values that are over: none is in flight, and one has finished, or none of the touched is ill any more
    /// (those are given up, gone or well; the next start is a first exposure again).
    pub(super) fn end_exposures(&mut self, target: u32) {
        for (at, set) in self.first_sets(target) {
            let usage = &mut self.sets[set as usize];
            if usage.in_flight > 0 {
                continue;
            }
            usage.settled |= usage.finished;
            let over = usage.settled || usage.ill == 0;
            if over && self.tracked[at].exposing == Some(set) {
                self.tracked[at].exposing = None;
                if let Some(line) = self.tracked[at].first_line {
                    self.look_at(line);
                }
            }
        }
    }
}
