//! The way back: worst health first, then newest, under the caps and at its own pace.

use super::gate::Gate;
use super::lane::{Phase, UNHEALTHY, UNWELL};
use super::{Frontier, Noted, Stuck, narrow};
use crate::index::TargetIndex;

impl Frontier {
    /// At most `max` exposed targets that may go back at `now_ms`; they count as in flight from here on. Empty before [`Event::RollBack`](crate::Event::RollBack).
    ///
    /// Lanes with somebody ill go first: the ill serve nobody, going back costs them nothing and helps most. Then the newest exposure goes
    /// first over all lanes; where its application, label or fleet has no slot, or what is left could not carry the load, the next
    /// lane goes. The pace is the policy's [`RollbackPace`](crate::RollbackPace). Holds, limits and pins do not
    /// apply: whether a rollback may touch an application is decided before it is asked for. [`stuck`](Self::stuck) says why
    /// nothing more goes.
    pub fn rollback_startable(&mut self, now_ms: u64, max: usize) -> Vec<TargetIndex> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut answer = Vec::new();
        if !self.rolling_back {
            return answer;
        }
        self.forget_starts();
        self.wake_parked();
        while answer.len() < max {
            let Some((_, _, app)) = self.back.pop_last() else {
                if self.wake_parked() {
                    continue;
                }
                break;
            };
            self.lanes[app as usize].back_at = None;
            if let Some(target) = self.next_back(app) {
                match self.state[target as usize].phase {
                    Phase::Done => self.lane_of(target).done -= 1,
                    Phase::Debt => self.lane_of(target).failed -= 1,
                    _ => self.stop_waiting(target),
                }
                self.begin_flight(target, Phase::GoingBack);
                self.count_start();
                answer.push(TargetIndex(target));
                self.wake(app);
            }
        }
        answer
    }

    pub(super) fn roll_back(&mut self) -> Noted {
        if self.rolling_back {
            return Noted::Stale;
        }
        self.rolling_back = true;
        self.ring.clear();
        // The way back has a pace of its own.
        self.recent.clear();
        self.sets[1].in_flight = 0;
        // Whoever waited for a slot on the way there waits for nothing any more.
        for set in &mut self.sets {
            set.waiters.clear();
            set.unwell_waiters.clear();
        }
        for app in 0..narrow(self.lanes.len()) {
            let lane = &mut self.lanes[app as usize];
            lane.queued = false;
            lane.parked = None;
            for target in std::mem::take(&mut lane.unwell) {
                self.state[target as usize].clear(UNWELL);
            }
            let unwell: Vec<u32> = self.lanes[app as usize]
                .exposed
                .iter()
                .map(|&(_, target)| target)
                .filter(|&t| self.state[t as usize].can_go_back() && self.state[t as usize].has(UNHEALTHY))
                .collect();
            for target in unwell {
                self.queue_unwell(target);
            }
            self.wake_back(app);
        }
        Noted::Applied
    }

    /// A target that came to rest during a rollback goes back too.
    pub(super) fn offer_back(&mut self, target: u32) {
        let state = self.state[target as usize];
        if !self.rolling_back || !state.can_go_back() {
            return;
        }
        if state.has(UNHEALTHY) {
            self.queue_unwell(target);
        }
        // It may have been passed over while it was in flight.
        let number = self.started;
        self.started = self.started.saturating_add(1);
        self.lane_of(target).exposed.push((number, target));
    }

    pub(super) fn went_back(&mut self, target: u32, well: bool) -> Noted {
        if self.state[target as usize].phase != Phase::GoingBack {
            return Noted::Stale;
        }
        self.end_flight(target);
        self.exposed -= 1;
        if well {
            self.set_healthy(target);
            self.state[target as usize].phase = Phase::Back;
            self.lane_of(target).rolled_back += 1;
        } else {
            self.set_unhealthy(target);
            self.state[target as usize].phase = Phase::BackFailed;
            self.lane_of(target).failed += 1;
        }
        Noted::Applied
    }

    pub(super) fn wake_back(&mut self, app: u32) {
        let newest = self.newest(app).map(|(number, _)| number);
        let place = newest.map(|number| (self.first_ill(app).is_some(), number));
        let old = std::mem::replace(&mut self.lanes[app as usize].back_at, place);
        if old == place {
            return;
        }
        if let Some((ill, number)) = old {
            self.back.remove(&(ill, number, app));
        }
        if let Some((ill, number)) = place {
            self.back.insert((ill, number, app));
        }
    }

    /// The lane's newest exposed target at rest. Forgets those that are in flight (they are offered again), back or gone.
    fn newest(&mut self, app: u32) -> Option<(u32, u32)> {
        let lane = &mut self.lanes[app as usize];
        while let Some(&(number, target)) = lane.exposed.last() {
            if self.state[target as usize].can_go_back() {
                return Some((number, target));
            }
            lane.exposed.pop();
        }
        None
    }

    /// The lane's newest exposed target at rest that is ill. Forgets those that recovered or went.
    fn first_ill(&mut self, app: u32) -> Option<u32> {
        while let Some(&target) = self.lanes[app as usize].unwell.front() {
            let state = self.state[target as usize];
            if state.can_go_back() && state.has(UNHEALTHY) {
                return Some(target);
            }
            self.lanes[app as usize].unwell.pop_front();
            self.state[target as usize].clear(UNWELL);
        }
        None
    }

    fn next_back(&mut self, app: u32) -> Option<u32> {
        let (_, newest) = self.newest(app)?;
        let ill = self.first_ill(app).map(|target| (target, self.gate(target)));
        if let Some((target, Gate::Open)) = ill {
            return Some(target);
        }
        match (ill, self.gate(newest)) {
            (_, Gate::Open) => return Some(newest),
            (Some((_, Gate::Set(set))), _) => self.park(app, set, true),
            (_, Gate::Set(set)) => self.park(app, set, self.state[newest as usize].has(UNHEALTHY)),
            (_, Gate::App(_)) => {}
        }
        None
    }

    /// Exposed targets of a change that is taken back that do not go, with the reason. Targets that only wait for others in flight, or
    /// for the pace, are not among them. Time: all targets.
    #[must_use]
    pub fn stuck(&self) -> Vec<(TargetIndex, Stuck)> {
        let mut stuck = Vec::new();
        if !self.rolling_back {
            return stuck;
        }
        for (target, state) in (0_u32..).zip(&self.state) {
            let app = self.app_of[target as usize];
            if state.phase == Phase::BackFailed {
                stuck.push((TargetIndex(target), Stuck::Failed));
            } else if state.can_go_back()
                && self.lanes[app as usize].in_flight == 0
                && let Some(why) = self.barrier(app, target)
            {
                stuck.push((TargetIndex(target), Stuck::Blocked(why)));
            }
        }
        stuck
    }
}
