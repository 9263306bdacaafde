//! The way back: newest first, under the same caps.

use super::gate::Gate;
use super::lane::{Phase, UNHEALTHY, UNWELL};
use super::{Frontier, Noted, narrow};
use crate::index::TargetIndex;

impl Frontier {
    /// At most `max` exposed targets that may go back at `now_ms`; they count as in flight from here on. Empty before [`Event::RollBack`](crate::Event::RollBack).
    ///
    /// The newest exposure goes first over all lanes; where its application, label or fleet has no slot, the next newest lane goes.
    /// Holds and limits do not apply: whether a rollback may touch an application is decided before it is asked for.
    pub fn rollback_startable(&mut self, now_ms: u64, max: usize) -> Vec<TargetIndex> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut answer = Vec::new();
        if !self.rolling_back {
            return answer;
        }
        self.wake_parked();
        while answer.len() < max {
            let Some((_, app)) = self.back.pop_last() else {
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
        for app in 0..narrow(self.lanes.len()) {
            let lane = &mut self.lanes[app as usize];
            lane.queued = false;
            for target in std::mem::take(&mut lane.unwell) {
                self.state[target as usize].clear(UNWELL);
            }
            let unwell: Vec<u32> = self.lanes[app as usize]
                .exposed
                .iter()
                .rev()
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
        let old = std::mem::replace(&mut self.lanes[app as usize].back_at, newest);
        if old == newest {
            return;
        }
        if let Some(number) = old {
            self.back.remove(&(number, app));
        }
        if let Some(number) = newest {
            self.back.insert((number, app));
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

    fn next_back(&mut self, app: u32) -> Option<u32> {
        let (_, top) = self.newest(app)?;
        let gate = self.gate(top);
        if gate == Gate::Open {
            return Some(top);
        }
        while let Some(&target) = self.lanes[app as usize].unwell.front() {
            let state = self.state[target as usize];
            if state.can_go_back() && state.has(UNHEALTHY) {
                match self.gate(target) {
                    Gate::Open => return Some(target),
                    Gate::Set(set) => self.park(app, set, true),
                    Gate::App(_) => {}
                }
                return None;
            }
            self.lanes[app as usize].unwell.pop_front();
            self.state[target as usize].clear(UNWELL);
        }
        if let Gate::Set(set) = gate {
            self.park(app, set, false);
        }
        None
    }
}
