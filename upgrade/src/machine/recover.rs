//! After a restart of the controller: what is remembered gives the direction, what is seen decides.
use super::{Command, Machine, Order, Plan, When};
use crate::{Counts, Ingress, Mode, Observation, Reason, SoFar, Step, Timing};
use std::sync::Arc;

/// What the journal knows of an attempt that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the whole of what a recovery may lean on")]
pub struct Remembered {
    /// The step of the last durable intent, if there was one.
    pub last: Option<Step>,
    /// Why it turned back, if it did.
    pub went_back: Option<Reason>,
    /// A replacement or a restoration was intended.
    pub touched: bool,
    /// A closing was intended, at this time; the drain's hard end counts from there.
    pub closed_at_ms: Option<u64>,
    /// Since when it is out of service, as far as [`counts`](Self::counts) does not have it: since the last intent at the
    /// latest.
    pub out_since_ms: Option<u64>,
    /// What was counted up to the last intent.
    pub counts: Counts,
    /// The old instance was verified before anything was touched.
    pub was_healthy: bool,
    /// Recoveries since a step was intended that had not been before, this one included.
    pub recoveries_of_step: u8,
    /// What was left of the budget of the last intent's step when it was written; `None` if that was not told.
    pub left_ms: Option<u64>,
    /// When the last intent was written.
    pub intended_ms: u64,
    /// The steps that were ever intended, a bit each at [`Step::number`]: only one that is new begins the count of recoveries anew.
    pub intended: u32,
}

/// What of it the first look decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Recalled {
    last: Option<Step>,
    recoveries_of_step: u8,
    left_ms: Option<u64>,
    intended_ms: u64,
}

impl Remembered {
    /// Of an attempt that has begun, and intended nothing yet.
    pub(crate) fn nothing(was_healthy: bool) -> Self {
        Self {
            last: None,
            went_back: None,
            touched: false,
            closed_at_ms: None,
            out_since_ms: None,
            counts: Counts::default(),
            was_healthy,
            recoveries_of_step: 0,
            left_ms: None,
            intended_ms: 0,
            intended: 0,
        }
    }

    /// A retirement of the old instance was intended: there is no way back any more.
    const fn is_retiring(&self) -> bool {
        let retiring = 1 << Step::Retiring.number() | 1 << Step::Stopping.number() | 1 << Step::Resetting.number();
        self.intended & retiring != 0
    }

    /// An intent is durable.
    pub(crate) fn intend(&mut self, step: Step, at_ms: u64, left_ms: Option<u64>, so_far: Option<SoFar>) {
        let bit = 1 << step.number();
        if self.intended & bit == 0 {
            self.intended |= bit;
            self.recoveries_of_step = 0;
        }
        self.last = Some(step);
        self.left_ms = left_ms;
        self.intended_ms = at_ms;
        if let Some(SoFar { counts, out }) = so_far {
            self.counts = counts;
            self.out_since_ms = out.then_some(at_ms);
        }
        match step {
            Step::Closing | Step::Reclosing => {
                self.closed_at_ms.get_or_insert(at_ms);
                self.out_since_ms.get_or_insert(at_ms);
            }
            Step::Replacing | Step::Restoring => {
                self.touched = true;
                self.out_since_ms.get_or_insert(at_ms);
            }
            Step::Spawning | Step::Pushing => self.touched = true,
            _ => {}
        }
    }
}

impl Machine {
    /// An attempt of a controller that is no more.
    pub fn recover(plan: Plan, timing: Arc<Timing>, remembered: Remembered) -> Self {
        let mut machine = Self::new(plan, timing);
        machine.step = Step::Recovering;
        machine.order = Order::Due;
        machine.allowance_ms = machine.budget_ms();
        machine.touched = remembered.touched;
        machine.retiring = remembered.is_retiring();
        machine.closed = remembered.closed_at_ms.is_some();
        machine.was_healthy = remembered.was_healthy;
        machine.went_back.clone_from(&remembered.went_back);
        machine.tally.out_since_ms = remembered.out_since_ms;
        machine.tally.counts = remembered.counts;
        machine.drain_until_ms = remembered.closed_at_ms.map(|at| {
            at.saturating_add(machine.timing.close_ms)
                .saturating_add(machine.timing.drain_ms)
        });
        machine.recalled = Some(Recalled {
            last: remembered.last,
            recoveries_of_step: remembered.recoveries_of_step,
            left_ms: remembered.left_ms,
            intended_ms: remembered.intended_ms,
        });
        machine
    }

    pub(super) fn at_recovering(&mut self, now: When, seen: &Observation) -> Command {
        match self.order {
            Order::Due => return self.give_order(now),
            Order::Unsure => return self.redo(now, seen),
            _ => {}
        }
        let Some(Recalled {
            last,
            recoveries_of_step,
            left_ms,
            intended_ms,
        }) = self.recalled.take()
        else {
            // Unreachable: only `recover` leads here, and it remembers. Nothing is known, so a person decides.
            return self.ask_person(Reason::TimedOut { step: self.step }, seen);
        };
        if seen.ingress == Ingress::Open {
            // Never closed, or reopened since: what is closed next may drain in full.
            self.drain_until_ms = None;
        }
        // It ends even where the clock has begun anew since.
        let drain_ms = self.timing.close_ms.saturating_add(self.timing.drain_ms);
        let latest = now.answered_ms.saturating_add(drain_ms);
        self.drain_until_ms = self.drain_until_ms.map(|until| until.min(latest));
        if recoveries_of_step > self.timing.max_recoveries {
            let step = last.unwrap_or(Step::Planned);
            return self.ask_person(Reason::TooManyRecoveries { step }, seen);
        }
        if self.went_back.is_some() {
            return self.recover_backward(now, seen);
        }
        if let Some(command) = self.heed_wish(now, seen) {
            return command;
        }
        // Nothing where the clock has begun anew since.
        let gone_ms = now.answered_ms.saturating_sub(intended_ms);
        self.resumed = last.zip(left_ms.map(|left_ms| left_ms.saturating_sub(gone_ms)));
        let Some(last) = last else {
            self.enter(Step::Planned, now);
            return self.observed(now, seen);
        };
        match self.plan.mode {
            Mode::Hot => return self.hot_recover(last, now, seen),
            Mode::Config => return self.config_recover(now, seen),
            Mode::Cold | Mode::Warm => {}
        }
        if self.runs_new(seen) {
            self.seen_new = true;
            self.enter(Step::Verifying, now);
            return self.at_verifying(now, seen);
        }
        if last == Step::Opening {
            // The new version had been verified; it is not there any more, and that was not us.
            self.seen_new = self.runs_old(seen);
            return self.go_back(Reason::ForeignVersion, now, seen);
        }
        if last == Step::Prefetching {
            return self.start(now);
        }
        // The old version runs, or nothing does: the intent is carried out anew, under the new generation. A closing
        // is repeated even where it shows, since its reopen-by has grown old.
        let step = self.after_prefetch();
        self.enter(step, now);
        self.give_order(now)
    }

    fn recover_backward(&mut self, now: When, seen: &Observation) -> Command {
        match (self.plan.mode, &seen.pair) {
            (Mode::Hot, Some(pair)) => {
                let sides = self.sides(pair);
                return self.go_on_back(now, seen, &sides);
            }
            (Mode::Hot, None) => return self.ask_person(Reason::TimedOut { step: self.step }, seen),
            (Mode::Config, _) => {
                self.enter(Step::Reverting, now);
                return self.give_order(now);
            }
            (Mode::Cold | Mode::Warm, _) => {}
        }
        let new = self.runs_new(seen);
        self.seen_new = new || self.runs_old(seen);
        if new && self.plan.mode == Mode::Warm && seen.ingress != Ingress::Closed {
            self.enter(Step::Reclosing, now);
            return self.give_order(now);
        }
        self.restore(now, seen)
    }
}
