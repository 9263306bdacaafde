//! What a frontier says about itself.

use super::event::{Blocked, LaneView};
use super::gate::{Gate, Own};
use super::lane::{KEPT, Phase, UNHEALTHY};
use super::{Frontier, narrow};
use crate::index::{AppIndex, KeyIndex, TargetIndex, ValueIndex};

impl Frontier {
    /// One application's way, now. For an application it never had: an empty view that says so in [`LaneView::blocked`].
    #[must_use]
    pub fn lane(&self, app: AppIndex) -> LaneView {
        let Some(lane) = self.lanes.get(app.at()) else {
            return LaneView {
                app,
                size: 0,
                open_batch: 0,
                in_flight: 0,
                unhealthy: 0,
                cap: 0,
                done: 0,
                failed: 0,
                rolled_back: 0,
                waiting_in_open: 0,
                next_batch: None,
                next_batch_size: 0,
                next_nonempty_batch: None,
                held_until: None,
                limit: None,
                blocked: Some(Blocked::UnknownApplication),
            };
        };
        let next_batch = (lane.open < self.layout.last_batch).then(|| lane.open + 1);
        let next = lane.next_step();
        LaneView {
            app,
            size: lane.size,
            open_batch: lane.open,
            in_flight: lane.in_flight,
            unhealthy: lane.unhealthy,
            cap: self.app_cap(app.0),
            done: lane.done,
            failed: lane.failed,
            rolled_back: lane.rolled_back,
            waiting_in_open: lane.waiting_open,
            next_batch,
            next_batch_size: next
                .filter(|step| Some(step.batch) == next_batch)
                .map_or(0, |step| step.waiting),
            next_nonempty_batch: next.map(|step| step.batch),
            held_until: lane.held_until,
            limit: lane.limit,
            blocked: self.blocked(app.0),
        }
    }

    /// Of an application's [`lane`](Self::lane) what is known without looking further: how many targets wait in open batches, and
    /// how many are in flight. Time: O(1). 0 and 0 for an application it never had.
    #[must_use]
    #[inline]
    pub fn at_work(&self, app: AppIndex) -> (u32, u32) {
        let lane = self.lanes.get(app.at());
        lane.map_or((0, 0), |lane| (lane.waiting_open, lane.in_flight))
    }

    /// The keys whose values make strata.
    pub(crate) fn spread_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.spread.iter().map(String::as_str)
    }

    /// All lanes, by application.
    pub fn lanes(&self) -> impl ExactSizeIterator<Item = LaneView> {
        (0..narrow(self.lanes.len())).map(|app| self.lane(AppIndex(app)))
    }

    /// Targets started (or going back) and not yet finished or failed.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.sets[0].in_flight
    }

    /// Targets not yet at an end: waiting or in flight; while rolling back, exposed and not yet back.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        if self.rolling_back {
            self.exposed
        } else {
            self.waiting + self.in_flight()
        }
    }

    /// Whether nothing remains: every target is done, given up, back, or gone.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.remaining() == 0
    }

    /// Whether the change is being taken back.
    #[must_use]
    pub const fn is_rolling_back(&self) -> bool {
        self.rolling_back
    }

    /// Number of targets ever seen: planned and born. Indices below it are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.len()
    }

    /// Never true: there is no plan without targets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_empty()
    }

    /// Whether a target counts as unhealthy. `false` for one it never had.
    #[must_use]
    pub fn is_unhealthy(&self, target: TargetIndex) -> bool {
        self.state.get(target.at()).is_some_and(|state| state.has(UNHEALTHY))
    }

    /// The application of a planned or born target.
    #[must_use]
    pub fn app_of(&self, target: TargetIndex) -> Option<AppIndex> {
        self.app_of.get(target.at()).copied().map(AppIndex)
    }

    /// The name of an application.
    #[must_use]
    pub fn app_name(&self, app: AppIndex) -> Option<&str> {
        (app.at() < self.lanes.len()).then(|| self.apps.name(app.0))
    }

    /// The application of a name.
    #[must_use]
    pub fn app_index(&self, name: &str) -> Option<AppIndex> {
        self.apps.get(name).map(AppIndex)
    }

    pub(super) fn lane_is_done(&self, app: u32) -> bool {
        let lane = &self.lanes[app as usize];
        lane.open >= self.layout.last_batch && lane.waiting_open == 0 && lane.in_flight == 0
    }

    fn blocked(&self, app: u32) -> Option<Blocked> {
        let lane = &self.lanes[app as usize];
        if lane.waiting_open == 0
            || lane.in_flight > 0
            || lane.held_until.is_some()
            || lane.limit == Some(0)
            || self.rolling_back
        {
            return None;
        }
        let waits = |&target: &u32| {
            let state = self.state[target as usize];
            state.phase == Phase::Waiting && !state.has(KEPT) && self.is_open(target)
        };
        let planned = self
            .layout
            .lane_order
            .get(lane.cursor as usize..lane.open_end as usize)
            .unwrap_or(&[]);
        let head = planned.iter().chain(&lane.again).copied().find(waits);
        let unwell = lane
            .unwell
            .iter()
            .copied()
            .find(|t| waits(t) && self.state[*t as usize].has(UNHEALTHY));
        if unwell.is_some_and(|target| self.gate(target) == Gate::Open) {
            return None;
        }
        let Some(head) = head.or(unwell) else {
            return (lane.pinned_until > self.now_ms).then_some(Blocked::Pinned {
                until_ms: lane.pinned_until,
            });
        };
        self.barrier(app, head)
    }

    /// What that stays keeps a target of a lane from going, if anything does.
    pub(super) fn barrier(&self, app: u32, target: u32) -> Option<Blocked> {
        let lane = &self.lanes[app as usize];
        match self.gate(target) {
            Gate::Open => None,
            Gate::App(Own::Cap) => Some(Blocked::UnhealthyConsumeAllowance {
                unhealthy: lane.unhealthy,
                cap: self.app_cap(app),
            }),
            Gate::App(Own::Capacity) => Some(Blocked::ReadyCapacity {
                ready: lane.ready_capacity,
                needed: lane.needed_capacity,
            }),
            Gate::App(Own::Value(set)) => {
                let (key, value) = self.class_of(set)?;
                Some(Blocked::OneValuePerApp { key, value })
            }
            Gate::App(Own::Stranger) => Some(Blocked::Stranger),
            Gate::Set(set) => self.blocked_by_set(set),
        }
    }

    fn blocked_by_set(&self, set: u32) -> Option<Blocked> {
        let usage = &self.sets[set as usize];
        let cap = self.set_cap(set);
        if let Some(tracked) = self.tracked.get(usage.key as usize)
            && tracked.first_line == Some(set)
        {
            let exposing = tracked.exposing?;
            let (key, value) = self.class_of(exposing)?;
            let stuck = self.sets[exposing as usize].in_flight == 0;
            return stuck.then_some(Blocked::FirstExposure { key, value });
        }
        // Somebody else's flights will end, and so does a window; unhealthy targets may stay.
        if usage.unhealthy < cap {
            return None;
        }
        let unhealthy = usage.unhealthy;
        Some(match self.class_of(set) {
            None => Blocked::UnhealthyConsumeTotal { unhealthy, cap },
            Some((key, value)) => Blocked::UnhealthyConsumeLabel {
                key,
                value,
                unhealthy,
                cap,
            },
        })
    }

    /// The label a set stands for.
    fn class_of(&self, set: u32) -> Option<(KeyIndex, ValueIndex)> {
        let tracked = self.tracked.get(self.sets[set as usize].key as usize)?;
        let value = tracked.sets.iter().position(|&s| s == set)?;
        Some((tracked.key, ValueIndex(narrow(value))))
    }
}
