//! What attempts report.

use unattended_batching::{AppIndex, Event, Noted, TargetIndex};
use unattended_upgrade::{Ingress, Reason, Receipt, Serving, Step, TargetId, Terminal};

use super::{Check, Direction, Machine, Start};

/// Targets started at one tick, at the most: a bound on the work between two looks at the world.
const MAX_STARTS: usize = 1 << 16;
/// What comes before anything is disturbed has at least so long.
const LEAST_ESTIMATE_MS: u64 = 5 * 60_000;
/// Of so many others at the most it is asked whether anything is seen of them, where nothing is of those with attempts.
const MAX_ELSEWHERE: usize = 16;

/// Whether the platform shows anything. A target that is never seen again is one matter: it is tried again, and becomes debt.
/// Where in all that time nobody else was seen either, it is the platform's, and no target is to blame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// When something was seen last.
    seen_ms: Option<u64>,
    /// The first target to end out of sight since then.
    unseen: Option<TargetIndex>,
    /// Another one has too: for how long nothing was seen.
    pub(super) silent_ms: Option<u64>,
    /// Those with attempts may all be where nothing is seen; others were asked about before that is held against the platform.
    asked_elsewhere: bool,
}

impl Sight {
    pub(super) const fn at(now_ms: u64) -> Self {
        Self {
            seen_ms: Some(now_ms),
            unseen: None,
            silent_ms: None,
            asked_elsewhere: false,
        }
    }

    /// Whether others are still to be asked about; only once.
    pub(super) const fn asks_elsewhere(&mut self) -> bool {
        !std::mem::replace(&mut self.asked_elsewhere, true)
    }

    /// A target ended out of sight. The only one of its fleet, or the only one that anything is done to, cannot be told apart from the
    /// platform: it is not blamed.
    fn lost(&mut self, target: TargetIndex, only: bool, since_ms: u64, now_ms: u64) {
        if self.seen_ms.is_some_and(|seen_ms| seen_ms > since_ms) {
            return;
        }
        if *self.unseen.get_or_insert(target) != target || only {
            self.silent_ms = Some(now_ms.saturating_sub(since_ms));
        }
    }
}

impl Machine {
    /// Hands out what may start forward.
    pub(super) fn start_forward(&mut self, commands: &mut super::Commands) {
        self.go_on_rehearsing(commands);
        if self.is_unseen() {
            return;
        }
        if !self.decides_by(6) {
            self.start_waiting(commands);
        }
        // Who waits for a domain will be started, and has taken its room.
        let room = self.room_to_start(MAX_STARTS, commands);
        let room = self.room_beside_rehearsal(room.saturating_sub(self.domains.waiting()));
        let paced = self.room_by_belief().saturating_sub(self.domains.waiting());
        let ids = self.frontier.startable(self.now_ms, room.min(paced));
        self.tell_pace(!ids.is_empty() && ids.len() == paced);
        if !ids.is_empty() {
            self.moved_ms = self.now_ms;
        }
        for target in ids {
            self.start_given(target, commands);
        }
    }

    pub(super) fn set_in_flight(&mut self, target: TargetIndex, direction: Direction) {
        let state = &mut self.targets[target.0 as usize];
        if state.in_flight.replace(direction).is_none() {
            self.in_flight += 1;
        }
    }

    /// The target is, or from now on may be, on the new version.
    pub(super) fn touch(&mut self, target: TargetIndex) {
        let state = &mut self.targets[target.0 as usize];
        if !std::mem::replace(&mut state.touched, true) {
            self.touched += u64::from(!std::mem::replace(&mut state.ever_touched, true));
            self.redeem(target);
            let state = &self.targets[target.0 as usize];
            for &class in &self.tables.strata_classes[state.stratum as usize] {
                self.classes[class as usize].exposed += 1;
            }
        }
    }

    /// The target died, or is on the old version again.
    pub(super) fn untouch(&mut self, target: TargetIndex) {
        // What instances showed before they died, they have shown; who lives and runs the old version again leaves nothing to wait for.
        let is_left = self.targets[target.0 as usize].alive && self.decides_by(7);
        let state = &mut self.targets[target.0 as usize];
        if std::mem::replace(&mut state.touched, false) {
            for &class in &self.tables.strata_classes[state.stratum as usize] {
                let class = &mut self.classes[class as usize];
                class.exposed = class.exposed.saturating_sub(1);
                if is_left && class.exposed == 0 {
                    class.waits_anew();
                }
            }
        }
    }

    pub(super) fn set_on_new(&mut self, target: TargetIndex, on_new: bool) {
        let state = &mut self.targets[target.0 as usize];
        if state.on_new != on_new {
            state.on_new = on_new;
            self.note_track(self.app_of(target), on_new);
            if on_new {
                self.exposed += 1;
                self.note_arrival(target);
            } else {
                self.exposed -= 1;
            }
        }
    }

    /// The living targets of an application that are not on the new version and not on their way.
    pub(super) fn unfinished_of(&self, app: AppIndex) -> impl Iterator<Item = TargetIndex> {
        let planned = self.setup.change.fleet.targets_of(app);
        let born = self
            .births_by_name
            .values()
            .copied()
            .filter(move |&target| self.app_of(target) == app);
        planned.chain(born).filter(|target| {
            let state = &self.targets[target.0 as usize];
            state.alive && !state.on_new && !state.owed && state.in_flight.is_none()
        })
    }

    /// An attempt ended.
    pub(crate) fn receipt(&mut self, receipt: &Receipt) {
        let Some(target) = self.index(receipt.target.as_str()) else {
            return;
        };
        let Some(direction) = self.targets[target.0 as usize].in_flight.take() else {
            return;
        };
        self.now_ms = self.now_ms.max(receipt.finished_ms);
        self.in_flight -= 1;
        self.pace.last_ms = self.now_ms;
        let called_off = is_called_off(receipt);
        if !called_off {
            self.record.receipt(receipt);
        }
        self.moved_ms = self.now_ms;
        self.scan_due = true;
        self.note_taken_over(target, receipt);
        let unseen_ms = unseen_ms(&receipt.terminal);
        match unseen_ms {
            Some(blind_ms) => {
                let since_ms = receipt.finished_ms.saturating_sub(blind_ms);
                let only = self.alive == 1 || self.decides_by(6) && self.rehearses(target);
                self.sight.lost(target, only, since_ms, self.now_ms);
            }
            None => self.sight = Sight::at(self.now_ms),
        }
        let lost = matches!(
            receipt.terminal,
            Terminal::NeedsPerson {
                serving: Serving::No | Serving::Unknown,
                ..
            }
        );
        let is_others = receipt.terminal == Terminal::Superseded && self.decides_by(7);
        let state = &mut self.targets[target.0 as usize];
        // After its own failed attempt a target is ill by that, not by itself; of one that was never seen nobody knows, nor of one that
        // somebody else was at.
        let known = unseen_ms.is_none() && !called_off && !is_others;
        state.ill_before |= known && direction == Direction::Forward && state.tries == 0 && !receipt.was_healthy;
        let lost = lost && !state.ill_before;
        self.set_lost(target, lost);
        self.targets[target.0 as usize].closed = matches!(
            receipt.terminal,
            Terminal::NeedsPerson {
                ingress: Ingress::Closed | Ingress::Unknown,
                ..
            }
        );
        if self.rehearsed(target, receipt) || self.ended_aside(target, direction, receipt) {
            return;
        }
        match direction {
            Direction::Forward => self.forward_ended(target, receipt),
            Direction::Back => self.back_ended(target, receipt),
        }
        if receipt.terminal == Terminal::Gone {
            self.bury(target);
        }
    }

    fn set_lost(&mut self, target: TargetIndex, lost: bool) {
        let state = &mut self.targets[target.0 as usize];
        match (state.lost, lost) {
            (false, true) => self.lost += 1,
            (true, false) => self.lost -= 1,
            _ => {}
        }
        state.lost = lost;
    }

    /// The target runs the new version, and that was verified.
    pub(super) fn arrived(&mut self, target: TargetIndex) {
        let at = self.now_ms;
        self.moved_ms = at;
        self.scan_due = true;
        self.set_on_new(target, true);
        self.note_success(target);
        self.targets[target.0 as usize].tries = 0;
        self.frontier.on(Event::Finished { id: target, at });
        let batch = self.frontier.lane(self.app_of(target)).open_batch;
        self.record.finished(at, batch);
        for i in 0..self.tables.strata_classes[self.targets[target.0 as usize].stratum as usize].len() {
            let class = self.tables.strata_classes[self.targets[target.0 as usize].stratum as usize][i];
            self.class_refreshed(class);
        }
    }

    /// The target runs the old version again, and that was verified.
    pub(super) fn is_back(&mut self, target: TargetIndex) {
        self.moved_ms = self.now_ms;
        self.scan_due = true;
        self.set_on_new(target, false);
        self.untouch(target);
        if self.decides_by(8) {
            self.forget_debt(target);
            self.targets[target.0 as usize].owed = false;
        }
        let in_use = self.note_health(target, false);
        if self.frontier.on(Event::RolledBack { id: target }) == Noted::Stale && in_use {
            // Its way back had begun with its class, before that of the change.
            self.frontier.on(Event::BecameHealthy { id: target });
        }
    }

    pub(super) fn forward_ended(&mut self, target: TargetIndex, receipt: &Receipt) {
        let at = self.now_ms;
        if receipt.terminal == Terminal::Done {
            self.note_pace(false);
            return self.arrived(target);
        }
        self.untouch(target);
        if receipt.terminal == Terminal::Gone {
            return;
        }
        // What was ill before fails by that, and who is out of sight has shown nothing.
        let shows = !self.targets[target.0 as usize].ill_before && unseen_ms(&receipt.terminal).is_none();
        // Who was called off has not failed.
        let shows = shows && !(self.decides_by(9) && is_called_off(receipt));
        if shows && receipt.terminal != Terminal::Superseded {
            self.note_pace(true);
        }
        let is_left_out = self.decides_by(7) && self.is_left_out(target);
        if is_called_off(receipt) {
            self.give_start_back(receipt.started_ms);
            return match is_left_out {
                false => self.starts_anew(target, at),
                true => self.never_starts(target),
            };
        }
        let state = &mut self.targets[target.0 as usize];
        state.tries = state.tries.saturating_add(1);
        let (tries, stratum, was_healthy) = (state.tries, state.stratum, !state.ill_before);
        let why = self.why(receipt);
        if was_healthy {
            let labels = self.describe_stratum(stratum);
            let why = format!("{} ({labels}): {why}", receipt.target);
            match receipt.went_back.as_ref().or_else(|| reason(&receipt.terminal)) {
                // An agent that refuses, or is not there to be asked, is the new version's.
                Some(
                    Reason::Crashed
                    | Reason::SelfCheckFailed { .. }
                    | Reason::Refused {
                        step: Step::Offering | Step::Joining | Step::Proving | Step::Committing,
                        ..
                    },
                ) => self.start_failures.gate_failed(target, why),
                // What comes before the new version runs says nothing of it.
                Some(Reason::TimedOut {
                    step:
                        Step::Replacing
                        | Step::Verifying
                        | Step::Probation
                        | Step::Offering
                        | Step::Joining
                        | Step::Proving
                        | Step::Committing,
                }) => self.start_failures.timed_out(target, tries, why),
                _ => {}
            }
        }
        // What never served before is not tried as often: it rarely begins to.
        let enough = if was_healthy {
            self.setup.change.settings.tries
        } else {
            self.setup.change.settings.tries.div_ceil(2)
        };
        let restored = matches!(
            receipt.terminal,
            Terminal::RolledBack { .. } | Terminal::Rejected { .. }
        );
        if is_left_out {
            self.owe(
                target,
                true,
                format!("its application was left out, and its attempt failed: {why}"),
            );
        } else if tries < enough {
            self.frontier.on(Event::Failed {
                id: target,
                at,
                retry: true,
            });
            self.promise(target);
        } else {
            let is_born = target.0 as usize >= self.setup.change.fleet.len();
            let healthy = if was_healthy {
                ""
            } else if is_born && self.decides_by(9) {
                "it was not healthy when it was seen first; "
            } else {
                "it was not healthy before the change; "
            };
            self.owe(target, !was_healthy, format!("{healthy}tried {tries} times: {why}"));
        }
        // It serves as before, also where it is owed: the lane goes on, and others show whose fault it was.
        if restored && was_healthy {
            self.frontier.on(Event::BecameHealthy { id: target });
        }
    }

    /// It was called off before anything was sent: that is no try, it is as well as it was, and whether it starts is decided anew.
    pub(super) fn starts_anew(&mut self, id: TargetIndex, at: u64) {
        let was_well = !self.frontier.is_unhealthy(id);
        self.frontier.on(Event::Failed { id, at, retry: true });
        if was_well {
            self.frontier.on(Event::BecameHealthy { id });
        }
        self.promise(id);
    }

    /// It was called off before anything was sent, and has been left out meanwhile.
    fn never_starts(&mut self, id: TargetIndex) {
        let was_well = !self.frontier.is_unhealthy(id);
        self.owe(id, true, "its application was left out".to_owned());
        if was_well {
            self.frontier.on(Event::BecameHealthy { id });
        }
    }

    fn back_ended(&mut self, target: TargetIndex, receipt: &Receipt) {
        match &receipt.terminal {
            Terminal::Done => self.is_back(target),
            Terminal::Gone => {}
            // That is no try, and whether it goes back now is decided anew.
            _ if self.decides_by(9) && is_called_off(receipt) => self.again.push(target),
            _ => {
                let state = &mut self.targets[target.0 as usize];
                state.tries = state.tries.saturating_add(1);
                let retry = state.tries < self.setup.change.settings.tries;
                if retry {
                    self.again.push(target);
                } else {
                    self.note_health(target, true);
                    self.frontier.on(Event::RollbackFailed { id: target });
                    let text = format!("{} could not be brought back: {}", receipt.target, self.why(receipt));
                    self.decide_text("rollback.failed", text, None);
                }
            }
        }
    }

    /// Why an attempt has not ended well, in words.
    pub(super) fn why(&self, receipt: &Receipt) -> String {
        match receipt.went_back.as_ref().or_else(|| reason(&receipt.terminal)) {
            Some(reason) => reason.to_string(),
            // By which of the two it ended, no receipt tells.
            None if self.decides_by(7) => "it was taken over: it runs a version that is neither the one before nor the one wanted, or has \
                                           taken orders of a later generation. Somebody else acts on it, or the clock of a controller \
                                           is wrong"
                .to_owned(),
            None => "another change took the target over".to_owned(),
        }
    }

    /// `stack=HN, zone=zone-1`, for explanations.
    fn describe_stratum(&self, stratum: u32) -> String {
        let names: Vec<&str> = self.tables.strata_classes[stratum as usize]
            .iter()
            .filter(|&&class| class != 0)
            .map(|&class| self.tables.classes[class as usize].name.as_str())
            .collect();
        names.join(", ")
    }

    /// Some without an attempt, from all over the fleet: is anything seen of any of them?
    pub(super) fn elsewhere(&self) -> Check {
        Check {
            targets: self.some_of_all(),
            version: self.setup.change.from.clone(),
            any: true,
        }
    }

    /// See above.
    pub(crate) fn some_of_all(&self) -> Vec<TargetId> {
        let quiet: Vec<TargetIndex> = (0u32..)
            .zip(&self.targets)
            .filter(|(_, target)| target.alive && target.in_flight.is_none())
            .map(|(at, _)| TargetIndex(at))
            .collect();
        let stride = quiet.len().div_ceil(MAX_ELSEWHERE).max(1);
        let some = quiet.iter().step_by(stride);
        some.map(|&target| TargetId::from(self.name(target))).collect()
    }

    /// Whether an attempt that has disturbed nothing yet may be called off: whether the target starts is decided anew then. Earlier
    /// decisions know that of the way there alone.
    pub(crate) fn may_be_called_off(&self, name: &str) -> bool {
        let direction = self
            .index(name)
            .and_then(|target| self.targets[target.0 as usize].in_flight);
        match direction {
            Some(Direction::Forward) => true,
            Some(Direction::Back) => self.decides_by(9),
            None => false,
        }
    }

    /// As long after it was decided an attempt may begin to disturb its target: the rules were asked to leave so long for it, and for the way
    /// back as long again. What comes before, as bringing the artefact near, has its time in any case. Earlier decisions know no end of it.
    pub(crate) fn disturbs_within_ms(&self) -> Option<u64> {
        let estimate_ms = self.setup.change.settings.attempt_estimate_ms;
        self.decides_by(9).then(|| estimate_ms.max(LEAST_ESTIMATE_MS))
    }

    /// The starts that a run which resumes must hand to its driver again: begun by the machine, unknown to the driver.
    pub(crate) fn restarts(&self, is_known: impl Fn(&str) -> bool) -> Vec<Start> {
        self.under_way()
            .filter(|start| !is_known(self.name(start.target)))
            .collect()
    }
}

/// For how long the target had been out of sight, if it ended for that.
pub(super) const fn unseen_ms(terminal: &Terminal) -> Option<u64> {
    match reason(terminal) {
        Some(Reason::Unobservable { blind_ms }) => Some(*blind_ms),
        _ => None,
    }
}

const fn reason(terminal: &Terminal) -> Option<&Reason> {
    match terminal {
        Terminal::RolledBack { reason } | Terminal::Rejected { reason } | Terminal::NeedsPerson { reason, .. } => {
            Some(reason)
        }
        Terminal::Done | Terminal::Gone | Terminal::Superseded => None,
    }
}

/// Nothing was sent that disturbs the target, and nobody may have looked whether it is well.
pub(super) const fn is_called_off(receipt: &Receipt) -> bool {
    matches!(
        receipt.terminal,
        Terminal::Rejected {
            reason: Reason::Aborted { .. }
        }
    )
}
