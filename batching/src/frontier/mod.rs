//! The live side of a plan.

mod away;
mod begin;
mod births;
mod event;
mod gate;
mod lane;
mod pins;
mod report;
mod rollback;
mod start;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use event::{Blocked, Event, JoinError, LaneView, Noted, Side, Stuck};

use crate::amount::Amount;
use crate::cap::Cap;
use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, narrow};
use crate::layout::Layout;
use crate::names::Names;
use crate::policy::{Pin, Rate, RollbackPace};
use lane::{AWAY, EXPOSED, KEPT, Lane, NO_SET, Phase, State, UNHEALTHY, Usage};

/// Which targets may start now.
///
/// A state machine without a clock: [`Event`]s go in, targets come out of [`startable`](Self::startable). It owns
/// everything it needs and is serializable: a frontier restored from a snapshot goes on as the original would. The same calls in the same
/// order give the same answers.
///
/// - A target that `startable` returned is in flight until [`Event::Finished`], [`Event::Failed`] or [`Event::Left`].
/// - After each start, for every application, capped label value and the fleet: in flight + unhealthy at rest ≤ cap. An unhealthy target
///   starts in its own place: it takes no further slot. Only with [`fix_in_flight_per_app`](crate::Policy::fix_in_flight_per_app) may it
///   start where the unhealthy are beyond a cap, so that a fix can enter an unhealthy fleet; in flight ≤ cap even then.
/// - Lanes are served in turn, one target each; within a lane in plan order. A lane whose next target has no slot leaves
///   the others alone.
/// - Targets without health events count as healthy, except those not ready in the fleet and those whose attempt failed.
///
/// An event costs O(1) amortised (a promotion: the size of the batch it opens; a rollback decision: the fleet, once), an answer O(its length);
/// parked lanes add a logarithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frontier {
    pub(crate) layout: Arc<Layout>,
    /// The finalised seed.
    mixed_seed: u64,
    rules: Arc<Rules>,
    apps: Names,
    spread: Vec<String>,
    tracked: Vec<TrackedKey>,
    app_of: Vec<u32>,
    pub(crate) stratum_of: Vec<u32>,
    pub(crate) batch_of: Vec<u16>,
    state: Vec<State>,
    /// `tracked.len()` sets for each target.
    sets_of: Vec<u32>,
    /// What each target can carry; empty unless ready capacity is capped.
    capacity: Vec<u32>,
    lanes: Vec<Lane>,
    live: Vec<LiveStratum>,
    /// Set 0 is the fleet, set 1 the starts of the last window; the others belong to tracked keys.
    sets: Vec<Usage>,
    /// Sets that somebody waits for and that may have a free slot.
    freed: Vec<u32>,
    ring: VecDeque<u32>,
    /// Ends of holds.
    timers: BTreeSet<(u64, u32)>,
    /// Ends of pins, by target.
    pin_ends: BTreeSet<(u64, u32)>,
    /// Starts of the last window, as (moment, how many).
    recent: VecDeque<(u64, u32)>,
    /// The latest moment anybody spoke of.
    now_ms: u64,
    tickets: u64,
    started: u32,
    waiting: u32,
    exposed: u32,
    rolling_back: bool,
    /// Lanes with something to take back: whether somebody of them is ill, the number of the newest first start, the lane.
    back: BTreeSet<(bool, u32, u32)>,
}

/// What of the policy holds at every instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rules {
    per_app: Cap,
    total: Cap,
    rate: Option<Rate>,
    back: RollbackPace,
    headroom: Option<Amount>,
    fix: Amount,
    pins: Vec<Pin>,
    /// Some tracked key has exclusive values within an application.
    one_value: bool,
    /// Some tracked key has exclusive first exposures.
    one_first: bool,
}

/// A label key of which some rule speaks.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TrackedKey {
    name: String,
    key: KeyIndex,
    cap: Option<Cap>,
    /// Values exclude each other within an application.
    one_value: bool,
    /// Values exclude each other in their first exposure: the line of those who wait for the end of one.
    first_line: Option<u32>,
    /// The set in its first exposure.
    exposing: Option<u32>,
    values: Names,
    /// The set of each value.
    sets: Vec<u32>,
}

/// A stratum now: how many there are, how many of them are in open batches, and what the open cohort is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct LiveStratum {
    /// The fingerprint by which births find it.
    print: u64,
    /// Hashes below belong to the open cohort.
    below: u64,
    size: u32,
    committed: u32,
    /// Planned targets of the open cohort, of `planned`; once the last batch is open, 1 of 0.
    cohort: u32,
    planned: u32,
}

impl LiveStratum {
    /// Whether one more in open batches keeps the planned share: `committed + 1 <= ceil(cohort · (size + 1) / planned)`.
    fn share_allows(&self) -> bool {
        let (cohort, after) = (u64::from(self.cohort), u64::from(self.size) + 1);
        u64::from(self.committed) * u64::from(self.planned) < cohort * after
    }
}

impl Frontier {
    /// Takes note of something that happened.
    pub fn on(&mut self, event: Event) -> Noted {
        match event {
            Event::Started { id, at } => self.with_target(id, |this, target| this.told_started(target, at)),
            Event::Finished { id, .. } => self.with_target(id, Self::finished),
            Event::Failed { id, retry, .. } => self.with_target(id, |this, target| this.failed(target, retry)),
            Event::BecameUnhealthy { id } => self.with_target(id, Self::became_unhealthy),
            Event::BecameHealthy { id } => self.with_target(id, Self::became_healthy),
            Event::Left { id } => self.with_target(id, Self::left),
            Event::RolledBack { id } => self.with_target(id, |this, target| this.went_back(target, true)),
            Event::RollbackFailed { id } => self.with_target(id, |this, target| this.went_back(target, false)),
            Event::OutOfReach { id } => self.with_target(id, Self::out_of_reach),
            Event::WithinReach { id } => self.with_target(id, Self::within_reach),
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
        self.seen_well(target);
        self.offer_back(target);
        Noted::Applied
    }

    /// Somebody started it by himself, or a journal is read again: it flies, whatever the caps say.
    fn told_started(&mut self, target: u32, at: u64) -> Noted {
        if self.rolling_back || self.state[target as usize].phase != Phase::Waiting {
            return Noted::Stale;
        }
        self.now_ms = self.now_ms.max(at);
        self.start(target);
        Noted::Applied
    }

    /// Puts a waiting target in flight.
    fn start(&mut self, target: u32) {
        self.stop_waiting(target);
        self.begin_flight(target, Phase::InFlight);
        self.expose(target);
        if self.stratum_of[target as usize] == NONE {
            self.lane_of(target).strangers += 1;
        }
        self.count_start();
        if self.rules.one_first && !self.rolling_back {
            self.begin_exposure(target);
        }
    }

    /// The rate that holds now.
    fn rate(&self) -> Option<Rate> {
        if self.rolling_back {
            self.rules.back.rate
        } else {
            self.rules.rate
        }
    }

    fn count_start(&mut self) {
        if self.rate().is_some() {
            match self.recent.back_mut() {
                Some(last) if last.0 >= self.now_ms => last.1 += 1,
                _ => self.recent.push_back((self.now_ms, 1)),
            }
            self.sets[1].in_flight += 1;
        }
    }

    fn failed(&mut self, target: u32, retry: bool) -> Noted {
        match self.state[target as usize].phase {
            Phase::InFlight => {
                // In this order nobody takes it for well in between.
                self.set_unhealthy(target);
                self.end_flight(target);
            }
            // Given up before it was touched: its health is what it was.
            Phase::Waiting if !retry => self.stop_waiting(target),
            _ => return Noted::Stale,
        }
        if retry && !self.rolling_back {
            self.state[target as usize].phase = Phase::Waiting;
            self.waiting += 1;
            if self.is_open(target) {
                self.lane_of(target).waiting_open += 1;
                self.queue_unwell(target);
                self.spare_the_last(self.app_of[target as usize]);
            } else {
                // Somebody else had started it before its batch: it waits for that again.
                let batch = self.batch_of[target as usize];
                self.lane_of(target).closed_step(batch).waiting += 1;
            }
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
        let mut gone = self.state[target as usize];
        gone.phase = Phase::Left;
        self.shift(target, gone);
        self.for_each_set(target, |set| set.size -= 1);
        if self.rules.one_first {
            self.end_exposures(target);
        }
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
        self.open_cohorts(app);
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

    /// Moves the thresholds of the lane's strata to the open batch.
    fn open_cohorts(&mut self, app: u32) {
        let lane = &mut self.lanes[app as usize];
        let layout = Arc::clone(&self.layout);
        let opening = layout.opening_of(app);
        while let Some(&at) = opening.get(lane.opening as usize) {
            let cohort = &layout.cohorts[at as usize];
            if cohort.batch > lane.open {
                break;
            }
            lane.opening += 1;
            let live = &mut self.live[cohort.stratum as usize];
            live.below = cohort.below;
            live.cohort = cohort.cumulative;
        }
        if lane.open >= layout.last_batch {
            for stratum in layout.strata_of(app) {
                let live = &mut self.live[stratum as usize];
                (live.below, live.cohort, live.planned) = (u64::MAX, 1, 0);
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
        if state.phase == Phase::Waiting && !state.has(AWAY) {
            self.lane_of(target).waiting_open += 1;
            if state.has(UNHEALTHY) && !state.has(KEPT) {
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
                .find(|&t| self.state[t as usize].phase == Phase::Waiting && !self.state[t as usize].has(AWAY))
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
        let keys = self.tracked.len();
        let begin = target as usize * keys;
        for at in begin..begin + keys {
            let set = self.sets_of[at];
            if set != NO_SET {
                apply(&mut self.sets[set as usize]);
                self.look_at(set);
            }
        }
    }

    /// Gives a target a new state and its lane and sets the difference.
    fn shift(&mut self, target: u32, new: State) {
        let old = std::mem::replace(&mut self.state[target as usize], new);
        let (before, after) = (old.draws(), new.draws());
        if before == after {
            return;
        }
        let flight = i32::from(after.in_flight) - i32::from(before.in_flight);
        let idle = i32::from(after.idle) - i32::from(before.idle);
        if flight != 0 || idle != 0 {
            let lane = self.lane_of(target);
            lane.in_flight = lane.in_flight.wrapping_add_signed(flight);
            lane.unhealthy = lane.unhealthy.wrapping_add_signed(idle);
            self.for_each_set(target, |set| {
                set.in_flight = set.in_flight.wrapping_add_signed(flight);
                set.unhealthy = set.unhealthy.wrapping_add_signed(idle);
            });
        }
        if self.rules.headroom.is_some() && before.ready != after.ready {
            let capacity = u64::from(self.capacity[target as usize]);
            let lane = self.lane_of(target);
            if after.ready {
                lane.ready_capacity += capacity;
            } else {
                lane.ready_capacity -= capacity;
            }
        }
        let ill = i32::from(after.ill) - i32::from(before.ill);
        if self.rules.one_value {
            self.engage(target, flight, ill);
        }
        if self.rules.one_first {
            if ill != 0 {
                self.for_each_set(target, |set| set.ill = set.ill.wrapping_add_signed(ill));
            }
            if flight < 0 || ill < 0 {
                self.end_exposures(target);
            }
        }
    }

    /// Marks a target unhealthy; whether it was healthy.
    fn set_unhealthy(&mut self, target: u32) -> bool {
        let mut state = self.state[target as usize];
        let new = state.set(UNHEALTHY);
        self.shift(target, state);
        new
    }

    /// Marks a target healthy; whether it was unhealthy.
    fn set_healthy(&mut self, target: u32) -> bool {
        let mut state = self.state[target as usize];
        let old = state.clear(UNHEALTHY);
        self.shift(target, state);
        old
    }

    fn begin_flight(&mut self, target: u32, phase: Phase) {
        let mut state = self.state[target as usize];
        state.phase = phase;
        self.shift(target, state);
    }

    /// Takes a target out of flight; the caller sets the phase.
    fn end_flight(&mut self, target: u32) {
        let mut state = self.state[target as usize];
        if state.phase == Phase::InFlight && self.stratum_of[target as usize] == NONE {
            self.lane_of(target).strangers -= 1;
        }
        // Phases at rest draw alike.
        state.phase = Phase::Done;
        self.shift(target, state);
    }

    fn stop_waiting(&mut self, target: u32) {
        self.waiting -= 1;
        let (open, batch) = (self.is_open(target), self.batch_of[target as usize]);
        let away = self.state[target as usize].clear(AWAY);
        let lane = self.lane_of(target);
        if open {
            lane.waiting_open -= u32::from(!away);
        } else {
            lane.closed_step(batch).waiting -= 1;
        }
    }

    fn queue_unwell(&mut self, target: u32) {
        if self.state[target as usize].set(lane::UNWELL) {
            let back = self.rolling_back;
            let unwell = &mut self.lane_of(target).unwell;
            // On the way back the latest to fall ill is the newest.
            if back {
                unwell.push_front(target);
            } else {
                unwell.push_back(target);
            }
        }
    }

    fn queue_again(&mut self, target: u32) {
        if self.state[target as usize].set(lane::AGAIN) {
            self.lane_of(target).again.push_back(target);
        }
    }

    /// Counts the first time a target meets the new version.
    fn expose(&mut self, target: u32) {
        let mut state = self.state[target as usize];
        if state.set(EXPOSED) {
            self.shift(target, state);
            let number = self.started;
            self.started = self.started.saturating_add(1);
            self.exposed += 1;
            self.lane_of(target).exposed.push((number, target));
        }
    }
}
