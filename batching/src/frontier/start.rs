//! Who starts next.

use super::Frontier;
use super::gate::Gate;
use super::lane::{AGAIN, KEPT, Parked, Phase, UNHEALTHY, UNWELL};
use crate::index::TargetIndex;

impl Frontier {
    /// At most `max` targets that may start at `now_ms`; they count as in flight from here on. Empty while rolling back.
    pub fn startable(&mut self, now_ms: u64, max: usize) -> Vec<TargetIndex> {
        let mut answer = Vec::new();
        if self.rolling_back {
            return answer;
        }
        self.pass_time(now_ms);
        self.wake_parked();
        while answer.len() < max {
            let Some(app) = self.ring.pop_front() else {
                // A lane woken for one set may have parked at another: its place goes to the next in line.
                if self.wake_parked() {
                    continue;
                }
                break;
            };
            self.lanes[app as usize].queued = false;
            if let Some(target) = self.next_of(app) {
                self.start(target);
                answer.push(TargetIndex(target));
                self.wake(app);
            }
        }
        answer
    }

    /// Ends holds and pins, and forgets starts that have left the window.
    fn pass_time(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some(&(until, app)) = self.timers.first()
            && until <= self.now_ms
        {
            self.timers.pop_first();
            self.lanes[app as usize].held_until = None;
            self.wake(app);
        }
        self.unpin();
        self.forget_starts();
    }

    /// Starts that have left the window do not count any more.
    pub(super) fn forget_starts(&mut self) {
        if let Some(rate) = self.rate() {
            while let Some(&(at, starts)) = self.recent.front()
                && at.saturating_add(rate.window_ms) <= self.now_ms
            {
                self.recent.pop_front();
                self.sets[1].in_flight -= starts;
                self.look_at(1);
            }
        }
    }

    /// Puts a lane where it is looked at: it may have something to do.
    pub(super) fn wake(&mut self, app: u32) {
        if self.rolling_back {
            self.wake_back(app);
            return;
        }
        let lane = &mut self.lanes[app as usize];
        if !lane.queued && lane.waiting_open > 0 && lane.held_until.is_none() {
            lane.queued = true;
            self.ring.push_back(app);
        }
    }

    /// Wakes as many parked lanes as sets have free slots. Whether any was.
    pub(super) fn wake_parked(&mut self) -> bool {
        let mut any = false;
        for set in std::mem::take(&mut self.freed) {
            let at = set as usize;
            self.sets[at].freed = false;
            let mut more = false;
            for unwell in [true, false] {
                let free = self.free_of(set, unwell);
                for _ in 0..free {
                    let Some((_, app)) = self.sets[at].line(unwell).pop_first() else {
                        break;
                    };
                    self.lanes[app as usize].parked = None;
                    self.wake(app);
                    any = true;
                }
                more |= free > 0 && !self.sets[at].line(unwell).is_empty();
            }
            if more {
                self.look_at(set);
            }
        }
        any
    }

    /// Lists a set to be looked at by [`wake_parked`](Self::wake_parked).
    pub(super) fn look_at(&mut self, set: u32) {
        let usage = &mut self.sets[set as usize];
        if usage.waited_for() && !usage.freed {
            usage.freed = true;
            self.freed.push(set);
        }
    }

    pub(super) fn park(&mut self, app: u32, set: u32, unwell: bool) {
        let lane = &mut self.lanes[app as usize];
        if let Some(old) = lane.parked {
            if old.set == set && old.unwell == unwell {
                return;
            }
            self.sets[old.set as usize].line(old.unwell).remove(&(old.ticket, app));
        }
        self.tickets += 1;
        lane.parked = Some(Parked {
            set,
            unwell,
            ticket: self.tickets,
        });
        self.sets[set as usize].line(unwell).insert((self.tickets, app));
    }

    /// The next target of a lane, if it may start; otherwise the lane is parked, or waits for an event of its own.
    fn next_of(&mut self, app: u32) -> Option<u32> {
        let lane = &self.lanes[app as usize];
        if lane.held_until.is_some() || lane.limit.is_some_and(|n| lane.in_flight >= n) {
            return None;
        }
        loop {
            let head = self.head(app).map(|target| (target, self.gate(target)));
            if let Some((target, Gate::Open)) = head {
                return Some(target);
            }
            let Some(&target) = self.lanes[app as usize].unwell.front() else {
                if let Some((_, Gate::Set(set))) = head {
                    self.park(app, set, false);
                }
                return None;
            };
            let state = self.state[target as usize];
            let waits = state.phase == Phase::Waiting && !state.has(KEPT) && self.is_open(target);
            if waits && state.has(UNHEALTHY) {
                match self.gate(target) {
                    Gate::Open => return Some(target),
                    Gate::Set(set) => self.park(app, set, true),
                    Gate::App(_) => {}
                }
                return None;
            }
            self.lanes[app as usize].unwell.pop_front();
            self.state[target as usize].clear(UNWELL);
            if waits {
                // It recovered: it takes a slot like any other.
                self.queue_again(target);
            }
        }
    }

    /// The lane's next target in plan order, then births and recovered ones. Forgets those that no longer wait.
    pub(super) fn head(&mut self, app: u32) -> Option<u32> {
        let lane = &mut self.lanes[app as usize];
        while lane.cursor < lane.open_end {
            let target = self.layout.lane_order[lane.cursor as usize];
            let state = self.state[target as usize];
            // A pinned one comes again when its pin has ended.
            let waits = state.phase == Phase::Waiting && !state.has(KEPT);
            if waits && self.batch_of[target as usize] <= lane.open {
                return Some(target);
            }
            lane.cursor += 1;
        }
        while let Some(&target) = lane.again.front() {
            let state = &mut self.state[target as usize];
            let waits = state.phase == Phase::Waiting && !state.has(KEPT);
            if state.has(AGAIN) && waits && self.batch_of[target as usize] <= lane.open {
                return Some(target);
            }
            state.clear(AGAIN);
            lane.again.pop_front();
        }
        None
    }
}
