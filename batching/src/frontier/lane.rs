//! One application's queue.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::index::NONE;
use crate::layout::Segment;

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Waiting,
    InFlight,
    Done,
    Debt,
    Left,
    GoingBack,
    Back,
    BackFailed,
}

/// A target's phase and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) phase: Phase,
    flags: u8,
}

/// Does not serve, or nobody knows.
pub(super) const UNHEALTHY: u8 = 1;
/// Has run the new version, or an attempt at it.
pub(super) const EXPOSED: u8 = 2;
/// Stands in `Lane::again`.
pub(super) const AGAIN: u8 = 4;
/// Stands in `Lane::unwell`.
pub(super) const UNWELL: u8 = 8;
/// A pin holds it.
pub(super) const PINNED: u8 = 16;
/// Out of reach while it waits: it is no part of what waits in open batches.
pub(super) const AWAY: u8 = 32;
/// Either keeps a target from starting.
pub(super) const KEPT: u8 = PINNED | AWAY;

/// What a target draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draws {
    pub(super) in_flight: bool,
    /// Unhealthy and at rest.
    pub(super) idle: bool,
    /// Unhealthy at rest since the change touched it.
    pub(super) ill: bool,
    /// Adds to the ready capacity.
    pub(super) ready: bool,
}

impl State {
    pub(super) const fn new(phase: Phase) -> Self {
        Self { phase, flags: 0 }
    }

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sets a flag; whether it was not set before.
    pub(super) const fn set(&mut self, flag: u8) -> bool {
        let new = self.flags & flag == 0;
        self.flags |= flag;
        new
    }

    /// Clears a flag; whether it was set before.
    pub(super) const fn clear(&mut self, flag: u8) -> bool {
        let old = self.flags & flag != 0;
        self.flags &= !flag;
        old
    }

    pub(super) const fn draws(self) -> Draws {
        let there = !matches!(self.phase, Phase::Left);
        let in_flight = self.in_flight();
        let idle = there && !in_flight && self.has(UNHEALTHY);
        Draws {
            in_flight,
            idle,
            ill: idle && self.has(EXPOSED),
            ready: there && !in_flight && !self.has(UNHEALTHY),
        }
    }

    pub(super) const fn in_flight(self) -> bool {
        matches!(self.phase, Phase::InFlight | Phase::GoingBack)
    }

    /// Exposed, still there, and at rest: what a rollback may take next.
    pub(super) const fn can_go_back(self) -> bool {
        self.has(EXPOSED) && matches!(self.phase, Phase::Done | Phase::Debt | Phase::Waiting)
    }
}

/// One batch's part of a lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) batch: u16,
    /// Where the planned targets of this batch end in the lane order.
    pub(super) end: u32,
    /// Targets that wait for it to open.
    pub(super) waiting: u32,
    /// Targets that came to it after planning.
    pub(super) born: Vec<u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lane {
    pub(super) size: u32,
    pub(super) in_flight: u32,
    pub(super) unhealthy: u32,
    pub(super) done: u32,
    pub(super) failed: u32,
    pub(super) rolled_back: u32,
    pub(super) waiting_open: u32,
    pub(super) open: u16,
    /// Planned targets before this have been handed out or are gone.
    pub(super) cursor: u32,
    /// Planned targets before this belong to open batches.
    pub(super) open_end: u32,
    pub(super) steps: Vec<Step>,
    /// First step that is not open.
    pub(super) step: u32,
    /// Open targets outside the planned order: births, and targets that recovered while they waited for a retry.
    pub(super) again: VecDeque<u32>,
    /// Unhealthy targets that may start (or go back) without taking a further slot.
    pub(super) unwell: VecDeque<u32>,
    /// Exposed targets with the number of their first start: the top goes back first.
    pub(super) exposed: Vec<(u32, u32)>,
    /// First of the lane's cohorts that is not open.
    pub(super) opening: u32,
    /// Targets of strata the plan does not know that are in flight, and whether one has come through.
    pub(super) strangers: u32,
    pub(super) strangers_known: bool,
    /// Capacity of healthy targets at rest, and what must be left of it; both only where ready capacity is capped.
    pub(super) ready_capacity: u64,
    pub(super) needed_capacity: u64,
    /// Capacity of one born later.
    pub(super) usual_capacity: u32,
    /// Where values exclude each other: sets with targets in flight, or ill since they were touched.
    pub(super) engaged: Vec<Engaged>,
    /// The last of its pins ends here.
    pub(super) pinned_until: u64,
    pub(super) held_until: Option<u64>,
    pub(super) limit: Option<u32>,
    /// In the ring of lanes with something to start.
    pub(super) queued: bool,
    /// Under what it stands among the lanes with something to take back, if it does.
    pub(super) back_at: Option<(bool, u32)>,
    /// Stands in a set's line.
    pub(super) parked: Option<Parked>,
}

/// A set one of whose targets of this lane keeps other values out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Engaged {
    pub(super) set: u32,
    pub(super) in_flight: u32,
    pub(super) ill: u32,
}

/// A place in a set's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parked {
    pub(super) set: u32,
    pub(super) unwell: bool,
    pub(super) ticket: u64,
}

impl Lane {
    /// The closed step of a batch, made if there is none.
    pub(super) fn closed_step(&mut self, batch: u16) -> &mut Step {
        let at = match self.steps.binary_search_by_key(&batch, |step| step.batch) {
            Ok(at) => at,
            Err(at) => {
                let end = if at == 0 { self.open_end } else { self.steps[at - 1].end };
                self.steps.insert(
                    at,
                    Step {
                        batch,
                        end,
                        waiting: 0,
                        born: Vec::new(),
                    },
                );
                at
            }
        };
        &mut self.steps[at]
    }

    pub(super) fn next_step(&self) -> Option<&Step> {
        self.steps[self.step as usize..].iter().find(|step| step.waiting > 0)
    }
}

/// What limits a set of targets: the fleet, the starts of a window, one value of a tracked label, or a line to wait in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Usage {
    /// The tracked key it belongs to; `NONE` for the first two.
    pub(super) key: u32,
    pub(super) size: u32,
    /// Unhealthy targets at rest that the change has touched; kept only where first exposures are capped.
    pub(super) ill: u32,
    /// One of them finished, and then none was in flight: the first exposure is over.
    pub(super) settled: bool,
    pub(super) finished: bool,
    pub(super) in_flight: u32,
    pub(super) unhealthy: u32,
    /// Lanes whose next target is healthy and waits for a slot, in order of arrival.
    pub(super) waiters: BTreeSet<(u64, u32)>,
    /// Lanes with an unhealthy target that waits until fewer are in flight.
    pub(super) unwell_waiters: BTreeSet<(u64, u32)>,
    /// Listed among the sets to look at, since something may have become free.
    pub(super) freed: bool,
}

impl Usage {
    pub(super) const fn used(&self) -> u32 {
        self.in_flight + self.unhealthy
    }

    pub(super) fn waited_for(&self) -> bool {
        !self.waiters.is_empty() || !self.unwell_waiters.is_empty()
    }

    pub(super) const fn line(&mut self, unwell: bool) -> &mut BTreeSet<(u64, u32)> {
        if unwell {
            &mut self.unwell_waiters
        } else {
            &mut self.waiters
        }
    }
}

/// The planned steps of one lane, from its segments.
pub(super) fn steps_of(segments: &[Segment], begin: u32) -> Vec<Step> {
    let mut before = begin;
    let step = |segment: &Segment| Step {
        batch: segment.batch,
        end: segment.end,
        waiting: segment.end - std::mem::replace(&mut before, segment.end),
        born: Vec::new(),
    };
    segments.iter().map(step).collect()
}

/// No set.
pub(super) const NO_SET: u32 = NONE;
