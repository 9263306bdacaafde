//! The live side of a plan.

mod births;
mod event;
mod lane;
mod report;
mod rollback;
mod start;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use event::{Blocked, Event, JoinError, LaneView, Noted, Side};

use crate::cap::Cap;
use crate::fleet::Fleet;
use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, narrow};
use crate::names::Names;
use crate::policy::Policy;
use crate::strata::Layout;
use lane::{EXPOSED, Lane, NO_SET, Phase, State, UNHEALTHY, Usage, steps_of};

/// Which targets may start now.
///
/// A state machine without a clock: [`Event`]s go in, targets come out of [`startable`](Self::startable). It owns
/// everything it needs and is serializable: a frontier restored from a snapshot goes on as the original would. The same calls in the same
/// order give the same answers.
///
/// - A target that `startable` returned is in flight until [`Event::Finished`], [`Event::Failed`] or [`Event::Left`].
/// - At every instant, for every application, capped label value and the fleet: in flight + unhealthy at rest ≤ cap before
///   each start of a healthy target. An unhealthy target may start while in flight < cap: it takes no further slot, so a fix can enter an
///   unhealthy fleet.
/// - Lanes are served in turn, one target each; within a lane in plan order. A lane whose next target has no slot leaves
///   the others alone.
/// - Targets without health events count as healthy, except those not ready in the fleet and those whose attempt failed.
///
/// An event costs O(1) amortised (a promotion: the size of the batch it opens; a rollback decision: the fleet, once), an answer O(its length);
/// parked lanes add a logarithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frontier {
    pub(crate) layout: Arc<Layout>,
    per_app: Cap,
    total_cap: Cap,
    apps: Names,
    /// Spread keys, then capped keys: their names and values, old and born.
    spread: Vec<(String, Names)>,
    capped: Vec<CappedKey>,
    app_of: Vec<u32>,
    pub(crate) stratum_of: Vec<u32>,
    pub(crate) batch_of: Vec<u16>,
    state: Vec<State>,
    /// `capped.len()` sets for each target.
    sets_of: Vec<u32>,
    lanes: Vec<Lane>,
    live: Vec<LiveStratum>,
    /// Set 0 is the fleet; the others are values of capped labels.
    sets: Vec<Usage>,
    /// Sets that somebody waits for and that may have a free slot.
    freed: Vec<u32>,
    ring: VecDeque<u32>,
    /// Ends of holds.
    timers: BTreeSet<(u64, u32)>,
    tickets: u64,
    started: u32,
    waiting: u32,
    exposed: u32,
    rolling_back: bool,
    /// Lanes with something to take back, by the newest first start.
    back: BTreeSet<(u32, u32)>,
}

/// A label key with a cap on each of its values.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CappedKey {
    name: String,
    key: KeyIndex,
    cap: Cap,
    values: Names,
    /// The set of each value.
    sets: Vec<u32>,
}

/// How many of a stratum there are, and how many of them are in open batches.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct LiveStratum {
    size: u32,
    committed: u32,
}

impl Frontier {
    pub(crate) fn new(
        fleet: &Fleet,
        policy: &Policy,
        layout: Arc<Layout>,
        batch_of: Vec<u16>,
        stratum_of: Vec<u32>,
        spread: &[KeyIndex],
        capped: &[KeyIndex],
    ) -> Self {
        let len = fleet.len();
        let mut sets = vec![Usage {
            size: narrow(len),
            ..Usage::default()
        }];
        let capped: Vec<CappedKey> = capped
            .iter()
            .zip(&policy.per_label)
            .zip(0..)
            .map(|((&key, (name, &cap)), at)| {
                let first = narrow(sets.len());
                let count = fleet.value_count(key);
                sets.resize(
                    sets.len() + count as usize,
                    Usage {
                        key: at,
                        ..Usage::default()
                    },
                );
                CappedKey {
                    name: name.clone(),
                    key,
                    cap,
                    values: fleet.values_of(key).clone(),
                    sets: (first..first + count).collect(),
                }
            })
            .collect();
        let mut sets_of = Vec::with_capacity(len * capped.len());
        for target in fleet.targets() {
            for key in &capped {
                let set = fleet
                    .label(target, key.key)
                    .map_or(NO_SET, |value| key.sets[value.at()]);
                if set != NO_SET {
                    sets[set as usize].size += 1;
                }
                sets_of.push(set);
            }
        }
        let lanes = (0..fleet.app_count())
            .map(|app| {
                let (begin, end) = (layout.lane_first[app as usize], layout.lane_first[app as usize + 1]);
                let order = &layout.lane_order[begin as usize..end as usize];
                Lane {
                    size: end - begin,
                    cursor: begin,
                    open_end: begin,
                    steps: steps_of(order, begin, &batch_of),
                    ..Lane::default()
                }
            })
            .collect();
        let live = layout
            .strata
            .iter()
            .map(|stratum| LiveStratum {
                size: stratum.size,
                committed: 0,
            })
            .collect();
        let mut frontier = Self {
            per_app: policy.per_app,
            total_cap: policy.total_in_flight,
            apps: fleet.app_names().clone(),
            spread: policy
                .spread
                .iter()
                .cloned()
                .zip(spread.iter().map(|&key| fleet.values_of(key).clone()))
                .collect(),
            capped,
            app_of: fleet.targets().map(|target| fleet.app_of(target).0).collect(),
            stratum_of,
            batch_of,
            state: vec![State::new(Phase::Waiting); len],
            sets_of,
            lanes,
            live,
            sets,
            freed: Vec::new(),
            ring: VecDeque::new(),
            timers: BTreeSet::new(),
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
        for app in 0..narrow(frontier.lanes.len()) {
            frontier.open_steps(app);
            frontier.wake(app);
        }
        frontier
    }

    /// Takes note of something that happened.
    pub fn on(&mut self, event: Event) -> Noted {
        match event {
            Event::Finished { id, .. } => self.with_target(id, Self::finished),
            Event::Failed { id, retry, .. } => self.with_target(id, |this, target| this.failed(target, retry)),
            Event::BecameUnhealthy { id } => self.with_target(id, Self::became_unhealthy),
            Event::BecameHealthy { id } => self.with_target(id, Self::became_healthy),
            Event::Left { id } => self.with_target(id, Self::left),
            Event::RolledBack { id } => self.with_target(id, |this, target| this.went_back(target, true)),
            Event::RollbackFailed { id } => self.with_target(id, |this, target| this.went_back(target, false)),
            Event::Promoted { app, .. } => self.with_lane(app, Self::promoted),
            Event::HeldUntil { app, until_ms } => self.with_lane(app, |this, app| this.held(app, Some(until_ms))),
            Event::Released { app } => self.with_lane(app, |this, app| this.held(app, None)),
            Event::Limited { app, n } => self.with_lane(app, |this, app| {
                let old = std::mem::replace(&mut this.lanes[app as usize].limit, n);
                this.wake(app);
                if old == n { Noted::Stale } else { Noted::Applied }
            }),
            Event::RollBack { .. } => self.roll_back(),
        }
    }

    fn with_target(&mut self, id: TargetIndex, apply: impl FnOnce(&mut Self, u32) -> Noted) -> Noted {
        if id.at() >= self.state.len() {
            return Noted::Unknown;
        }
        let noted = apply(self, id.0);
        self.wake(self.app_of[id.at()]);
        noted
    }

    fn with_lane(&mut self, app: AppIndex, apply: impl FnOnce(&mut Self, u32) -> Noted) -> Noted {
        if app.at() >= self.lanes.len() {
            return Noted::Unknown;
        }
        apply(self, app.0)
    }

    fn finished(&mut self, target: u32) -> Noted {
        let state = self.state[target as usize];
        match state.phase {
            Phase::InFlight => self.end_flight(target),
            // Someone else changed it: the world is right.
            Phase::Waiting => self.stop_waiting(target),
            Phase::Debt => self.lane_of(target).failed -= 1,
            Phase::Done | Phase::Left | Phase::GoingBack | Phase::Back | Phase::BackFailed => return Noted::Stale,
        }
        self.state[target as usize].phase = Phase::Done;
        self.lane_of(target).done += 1;
        self.set_healthy(target);
        self.expose(target);
        self.offer_back(target);
        Noted::Applied
    }

    fn failed(&mut self, target: u32, retry: bool) -> Noted {
        match self.state[target as usize].phase {
            Phase::InFlight => {
                self.end_flight(target);
                self.set_unhealthy(target);
            }
            // Given up before it was touched: its health is what it was.
            Phase::Waiting if !retry => self.stop_waiting(target),
            _ => return Noted::Stale,
        }
        if retry && !self.rolling_back {
            self.state[target as usize].phase = Phase::Waiting;
            self.waiting += 1;
            self.lane_of(target).waiting_open += 1;
            self.queue_unwell(target);
            self.spare_the_last(self.app_of[target as usize]);
        } else {
            self.state[target as usize].phase = Phase::Debt;
            self.lane_of(target).failed += 1;
            self.offer_back(target);
        }
        Noted::Applied
    }

    fn became_unhealthy(&mut self, target: u32) -> Noted {
        if self.state[target as usize].phase == Phase::Left || !self.set_unhealthy(target) {
            return Noted::Stale;
        }
        let state = self.state[target as usize];
        let may_go = if self.rolling_back {
            state.can_go_back()
        } else {
            state.phase == Phase::Waiting && self.is_open(target)
        };
        if may_go {
            self.queue_unwell(target);
        }
        Noted::Applied
    }

    fn became_healthy(&mut self, target: u32) -> Noted {
        if self.set_healthy(target) {
            Noted::Applied
        } else {
            Noted::Stale
        }
    }

    fn left(&mut self, target: u32) -> Noted {
        let state = self.state[target as usize];
        match state.phase {
            Phase::Left => return Noted::Stale,
            Phase::Waiting => self.stop_waiting(target),
            Phase::InFlight | Phase::GoingBack => self.end_flight(target),
            Phase::Done => self.lane_of(target).done -= 1,
            Phase::Debt | Phase::BackFailed => self.lane_of(target).failed -= 1,
            Phase::Back => self.lane_of(target).rolled_back -= 1,
        }
        self.set_healthy(target);
        if state.has(EXPOSED) && !matches!(state.phase, Phase::Back | Phase::BackFailed) {
            self.exposed -= 1;
        }
        self.state[target as usize].phase = Phase::Left;
        self.for_each_set(target, |set| set.size -= 1);
        let lane = self.lane_of(target);
        lane.size -= 1;
        let stratum = self.stratum_of[target as usize];
        if stratum != NONE {
            let open = self.is_open(target);
            let live = &mut self.live[stratum as usize];
            live.size -= 1;
            live.committed -= u32::from(open);
        }
        self.spare_the_last(self.app_of[target as usize]);
        Noted::Applied
    }

    fn promoted(&mut self, app: u32) -> Noted {
        if self.rolling_back || self.lanes[app as usize].open >= self.layout.last_batch {
            return Noted::Stale;
        }
        self.lanes[app as usize].open += 1;
        self.open_steps(app);
        self.spare_the_last(app);
        self.wake(app);
        Noted::Applied
    }

    fn held(&mut self, app: u32, until: Option<u64>) -> Noted {
        let old = std::mem::replace(&mut self.lanes[app as usize].held_until, until);
        if let Some(old) = old {
            self.timers.remove(&(old, app));
        }
        if let Some(until) = until {
            self.timers.insert((until, app));
        }
        self.wake(app);
        if old == until { Noted::Stale } else { Noted::Applied }
    }

    /// Lets the targets of all batches up to the open one wait in the open queue.
    fn open_steps(&mut self, app: u32) {
        loop {
            let lane = &mut self.lanes[app as usize];
            let at = lane.step as usize;
            if lane.steps.get(at).is_none_or(|step| step.batch > lane.open) {
                return;
            }
            lane.step += 1;
            let (begin, end) = (lane.open_end, lane.steps[at].end);
            lane.open_end = end;
            lane.steps[at].waiting = 0;
            let (batch, born) = (lane.steps[at].batch, std::mem::take(&mut lane.steps[at].born));
            for place in begin..end {
                self.opened(self.layout.lane_order[place as usize], batch);
            }
            for target in born {
                self.opened(target, batch);
                self.queue_again(target);
            }
        }
    }

    fn opened(&mut self, target: u32, batch: u16) {
        let at = target as usize;
        // One that was moved to a later batch is no longer part of this one; it is met again there.
        if self.batch_of[at] != batch {
            return;
        }
        let state = self.state[at];
        if state.phase != Phase::Left && self.stratum_of[at] != NONE {
            self.live[self.stratum_of[at] as usize].committed += 1;
        }
        if state.phase == Phase::Waiting {
            self.lane_of(target).waiting_open += 1;
            if state.has(UNHEALTHY) {
                self.queue_unwell(target);
            }
        }
    }

    /// An application that has shrunk to one target changes it in the last batch only.
    fn spare_the_last(&mut self, app: u32) {
        let last = self.layout.last_batch;
        let lane = &self.lanes[app as usize];
        if lane.size != 1 || lane.open >= last || lane.waiting_open == 0 || self.rolling_back {
            return;
        }
        let target = self.head(app).or_else(|| {
            let unwell = &self.lanes[app as usize].unwell;
            unwell
                .iter()
                .copied()
                .find(|&t| self.state[t as usize].phase == Phase::Waiting)
        });
        let Some(target) = target else { return };
        let at = target as usize;
        self.batch_of[at] = last;
        if self.stratum_of[at] != NONE {
            self.live[self.stratum_of[at] as usize].committed -= 1;
        }
        self.state[at].clear(lane::AGAIN);
        let lane = &mut self.lanes[app as usize];
        lane.waiting_open -= 1;
        let step = lane.closed_step(last);
        step.waiting += 1;
        step.born.push(target);
    }

    fn lane_of(&mut self, target: u32) -> &mut Lane {
        &mut self.lanes[self.app_of[target as usize] as usize]
    }

    /// Whether the target's batch is open for its lane.
    fn is_open(&self, target: u32) -> bool {
        self.batch_of[target as usize] <= self.lanes[self.app_of[target as usize] as usize].open
    }

    fn for_each_set(&mut self, target: u32, mut apply: impl FnMut(&mut Usage)) {
        apply(&mut self.sets[0]);
        self.look_at(0);
        let keys = self.capped.len();
        let begin = target as usize * keys;
        for at in begin..begin + keys {
            let set = self.sets_of[at];
            if set != NO_SET {
                apply(&mut self.sets[set as usize]);
                self.look_at(set);
            }
        }
    }

    /// Marks a target unhealthy; whether it was healthy.
    fn set_unhealthy(&mut self, target: u32) -> bool {
        if !self.state[target as usize].set(UNHEALTHY) {
            return false;
        }
        if !self.state[target as usize].in_flight() {
            self.lane_of(target).unhealthy += 1;
            self.for_each_set(target, |set| set.unhealthy += 1);
        }
        true
    }

    /// Marks a target healthy; whether it was unhealthy.
    fn set_healthy(&mut self, target: u32) -> bool {
        if !self.state[target as usize].clear(UNHEALTHY) {
            return false;
        }
        if !self.state[target as usize].in_flight() {
            self.lane_of(target).unhealthy -= 1;
            self.for_each_set(target, |set| set.unhealthy -= 1);
        }
        true
    }

    fn begin_flight(&mut self, target: u32, phase: Phase) {
        let unhealthy = u32::from(self.state[target as usize].has(UNHEALTHY));
        self.state[target as usize].phase = phase;
        let lane = self.lane_of(target);
        lane.in_flight += 1;
        lane.unhealthy -= unhealthy;
        self.for_each_set(target, |set| {
            set.in_flight += 1;
            set.unhealthy -= unhealthy;
        });
    }

    /// Takes a target out of flight; the caller sets the phase.
    fn end_flight(&mut self, target: u32) {
        let unhealthy = u32::from(self.state[target as usize].has(UNHEALTHY));
        let lane = self.lane_of(target);
        lane.in_flight -= 1;
        lane.unhealthy += unhealthy;
        self.for_each_set(target, |set| {
            set.in_flight -= 1;
            set.unhealthy += unhealthy;
        });
        // Flags are counted by the phase from here on.
        self.state[target as usize].phase = Phase::Done;
    }

    fn stop_waiting(&mut self, target: u32) {
        self.waiting -= 1;
        let (open, batch) = (self.is_open(target), self.batch_of[target as usize]);
        let lane = self.lane_of(target);
        if open {
            lane.waiting_open -= 1;
        } else {
            lane.closed_step(batch).waiting -= 1;
        }
    }

    fn queue_unwell(&mut self, target: u32) {
        if self.state[target as usize].set(lane::UNWELL) {
            self.lane_of(target).unwell.push_back(target);
        }
    }

    fn queue_again(&mut self, target: u32) {
        if self.state[target as usize].set(lane::AGAIN) {
            self.lane_of(target).again.push_back(target);
        }
    }

    /// Counts the first time a target meets the new version.
    fn expose(&mut self, target: u32) {
        if self.state[target as usize].set(EXPOSED) {
            let number = self.started;
            self.started = self.started.saturating_add(1);
            self.exposed += 1;
            self.lane_of(target).exposed.push((number, target));
        }
    }
}
