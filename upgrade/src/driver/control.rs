//! What callers say between turns: wait, stop, something newer, and what happened to the fleet.
use super::waiting::GroupNumber;
use super::{Driver, Place, Stage};
use crate::{AttemptId, FleetChange, GroupName, Job, Mode, Reason, Receipt, SubmitError, TargetId, Terminal};

/// Who calls off what comes too late.
pub(super) const DECIDED_LONG_AGO: &str = "decided too long ago";

/// A job that never became an attempt. Its target was not touched for it, and there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The number it had.
    pub attempt: AttemptId,
    /// At which target.
    pub target: TargetId,
    /// Why.
    pub why: DropReason,
}

/// Why a job was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It was not begun by [`Job::start_by_ms`].
    Late,
    /// It was cancelled.
    Cancelled,
    /// A newer one took its place.
    Superseded,
    /// Its target has left the fleet.
    Left,
    /// The attempt before left its target in a state that a person must look at first, or took it from us.
    NotFree,
    /// After the attempt before there is nothing left to do.
    NothingToDo,
}

/// What [`Driver::cancel`] met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancelled {
    /// The target has neither job nor attempt.
    Nothing,
    /// A job that had not begun; it is gone.
    Job,
    /// An attempt under way. It turns back where there is a way back, and its receipt tells.
    Attempt,
    /// A driver that has replayed a journal and not resumed. Nothing was done: cancel again after
    /// [`resume`](Driver::resume).
    NotResumed,
}

impl Driver {
    /// Begins nothing more, of a group or at all, until [`unpause`](Self::unpause). What is under way goes on to its end. To stop
    /// that too, say no in `may_act`.
    pub fn pause(&mut self, group: Option<&GroupName>) {
        self.waiting.pause(group, true);
    }

    /// Begins jobs again, of a group or at all.
    pub fn unpause(&mut self, group: Option<&GroupName>) {
        self.waiting.pause(group, false);
    }

    /// How many more jobs would be taken now. A caller with more than that keeps them until turns have made room.
    pub fn room(&self) -> usize {
        self.config.max_queued.saturating_sub(self.waiting.len())
    }

    /// Wants the target left alone: a job that has not begun is dropped, an attempt under way turns back. `by` says who
    /// wants it, for receipt and journal.
    ///
    /// The wish becomes durable with the turning back; a controller that falls before must be told again.
    pub fn cancel(&mut self, target: &TargetId, by: &str) -> Cancelled {
        if self.may_submit().is_err() {
            return Cancelled::NotResumed;
        }
        self.drop_successor(target, DropReason::Cancelled);
        match self.targets.get(target).map(|held| held.place) {
            Some(Place::Waiting { attempt, group }) => {
                self.drop_waiting(attempt, group, DropReason::Cancelled);
                Cancelled::Job
            }
            Some(Place::UnderWay { slot }) => {
                self.turn_back(slot, by);
                Cancelled::Attempt
            }
            Some(Place::Idle) | None => Cancelled::Nothing,
        }
    }

    /// The targets of attempts under way that have disturbed nothing yet and are not on their way back. What was decided then may be so no
    /// more, as after a time in which the journal was away: [`cancel`](Self::cancel) ends such a one at its next look as
    /// [`Terminal::Rejected`] for [`Reason::Aborted`], and whether its target is upgraded can be decided anew.
    pub fn untouched(&self) -> impl Iterator<Item = &TargetId> {
        let untouched = self.slots.iter().flatten().filter(|attempt| attempt.is_untouched());
        untouched.map(|attempt| &attempt.target)
    }

    /// An attempt that would begin to disturb its target later than so long after it was [decided](Job::decided_ms) is called off instead, as
    /// what was so then may not be so any more: it ends as [`Terminal::Rejected`] for [`Reason::Aborted`]. Of those of an earlier driver it
    /// counts from when they began. Default: none is.
    pub const fn disturb_within(&mut self, ms: Option<u64>) {
        self.disturb_within_ms = ms;
    }

    /// It was decided too long ago to begin to disturb its target now; then it turns back.
    pub(super) fn is_outdated(&mut self, slot: usize) -> bool {
        let now = self.clock.now();
        let attempt = self.slots.get(slot).and_then(Option::as_ref);
        let is_outdated = attempt.is_some_and(|attempt| self.is_too_late(attempt.decided_ms, now));
        if is_outdated {
            self.turn_back(slot, DECIDED_LONG_AGO);
        }
        is_outdated
    }

    pub(super) fn is_too_late(&self, decided_ms: u64, now: u64) -> bool {
        self.disturb_within_ms
            .is_some_and(|within| now.saturating_sub(decided_ms) > within)
    }

    /// As [`submit`](Self::submit), for a change that is newer than whatever the target has: a job that has not begun is
    /// dropped for it; an attempt under way turns back first, as with [`cancel`](Self::cancel), and the new job begins from
    /// the version that it leaves. If it leaves the target to a person, or to somebody else, the new job is dropped, and
    /// [`Turn::dropped`](crate::Turn::dropped) says so.
    pub fn supersede(&mut self, job: Job, by: &str) -> Result<AttemptId, SubmitError> {
        self.check(&job)?;
        match self.targets.get(&job.target).map(|held| held.place) {
            Some(Place::Waiting { attempt, group }) => {
                // In the place of the other one: however full the queue is.
                self.drop_waiting(attempt, group, DropReason::Superseded);
                let id = self.number();
                self.wait(id, job);
                Ok(id)
            }
            Some(Place::UnderWay { slot }) => {
                self.drop_successor(&job.target, DropReason::Superseded);
                let id = self.number();
                self.turn_back(slot, by);
                self.successors.insert(job.target.clone(), (id, job));
                Ok(id)
            }
            Some(Place::Idle) | None => self.submit(job),
        }
    }

    /// Takes news from [`Platform::watch`](crate::Platform::watch): jobs of targets that left are dropped; attempts at
    /// targets to which something happened look at once instead of at their next look. News of targets without job or attempt are nobody's here.
    pub fn news(&mut self, changes: &[FleetChange]) {
        let now = self.clock.now();
        for change in changes {
            let (target, left) = match change {
                FleetChange::Left { target } => (target, true),
                FleetChange::Joined { target, .. }
                | FleetChange::BecameUnhealthy { target }
                | FleetChange::BecameHealthy { target } => (target, false),
            };
            match self.targets.get(target).map(|held| held.place) {
                Some(Place::Waiting { attempt, group }) if left => {
                    self.drop_waiting(attempt, group, DropReason::Left);
                }
                Some(Place::UnderWay { slot }) => self.look_soon(slot, now),
                _ => {}
            }
        }
    }

    fn turn_back(&mut self, slot: usize, by: &str) {
        let now = self.clock.now();
        if let Some(attempt) = &mut self.slots[slot] {
            attempt.machine.turn_back(Reason::Aborted { by: by.into() });
            self.look_soon(slot, now);
        }
    }

    fn drop_waiting(&mut self, attempt: AttemptId, group: GroupNumber, why: DropReason) {
        if let Some(job) = self.waiting.take(attempt, group) {
            self.drop_job(attempt, job.target, why);
        }
    }

    pub(super) fn drop_job(&mut self, attempt: AttemptId, target: TargetId, why: DropReason) {
        if let Some(held) = self.targets.get_mut(&target)
            && matches!(held.place, Place::Waiting { attempt: waits, .. } if waits == attempt)
        {
            held.place = Place::Idle;
        }
        self.dropped.push(Dropped { attempt, target, why });
    }

    fn drop_successor(&mut self, target: &TargetId, why: DropReason) {
        if let Some((attempt, job)) = self.successors.remove(target) {
            self.drop_job(attempt, job.target, why);
        }
    }

    /// Drops the jobs whose time to begin is over.
    pub(super) fn drop_late(&mut self, now: u64) {
        while let Some((attempt, job)) = self.waiting.take_late(now) {
            self.drop_job(attempt, job.target, DropReason::Late);
        }
    }

    /// The attempt has ended: what was to follow it may.
    pub(super) fn succeed(&mut self, receipt: &Receipt) {
        let Some((attempt, mut job)) = self.successors.remove(&receipt.target) else {
            return;
        };
        let runs = match &receipt.terminal {
            Terminal::Done => Some(&receipt.to),
            Terminal::RolledBack { .. } => Some(&receipt.from),
            // Nothing was touched, and it may run neither version of that attempt: what the newer job says of it holds.
            Terminal::Rejected { .. } => None,
            Terminal::Gone => return self.drop_job(attempt, job.target, DropReason::Left),
            Terminal::NeedsPerson { .. } | Terminal::Superseded => {
                return self.drop_job(attempt, job.target, DropReason::NotFree);
            }
        };
        // Versions of configurations and of artefacts are not versions of one another.
        if let Some(runs) = runs
            && (job.mode == Mode::Config) == (receipt.mode == Mode::Config)
        {
            job.from = runs.clone();
        }
        if job.from == job.to {
            return self.drop_job(attempt, job.target, DropReason::NothingToDo);
        }
        self.wait(attempt, job);
    }

    /// Jobs of a driver that may take any.
    pub(super) const fn may_submit(&self) -> Result<(), SubmitError> {
        match self.stage {
            Stage::Replaying | Stage::Unreadable => Err(SubmitError::NotResumed),
            Stage::Fresh | Stage::Ready | Stage::InTurn => Ok(()),
        }
    }
}
