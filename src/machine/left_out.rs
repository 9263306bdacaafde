//! What somebody leaves out of a change: an application, or one target.

use unattended_batching::{AppIndex, Event, TargetIndex};

use crate::Actor;

use super::Machine;

impl Machine {
    /// The targets of an application that have not been reached stay as they are, those that are born into it, too.
    pub(super) fn skip(&mut self, app: &str, actor: &Actor, reason: &str) {
        let Some(index) = self.setup.change.fleet.app_index(app) else {
            return self.decide_text("command.refused", format!("there is no application {app}"), None);
        };
        self.skipped.insert(index);
        let of_app: Vec<TargetIndex> = (0..self.targets.len())
            .filter_map(|at| u32::try_from(at).ok().map(TargetIndex))
            .filter(|&target| self.app_of(target) == index)
            .collect();
        let left = of_app
            .into_iter()
            .filter(|&target| self.leave_out(target, actor, reason))
            .count();
        let text = format!("{left} targets of {app} are left out; what is under way there comes to its end");
        self.decide_text("app.skipped", text, None);
        if let Some(lane) = self.lanes.get_mut(index.0 as usize) {
            lane.finish();
        }
        self.end_hold_of_way_forward(index.0 as usize);
    }

    /// One target stays as it is.
    pub(super) fn pin(&mut self, target: &str, actor: &Actor, reason: &str) {
        let found = self.index(target).filter(|at| self.targets[at.0 as usize].alive);
        let text = match found {
            None => format!("there is no target {target}"),
            Some(at) if self.leave_out(at, actor, reason) => {
                // Whoever comes back under the name is meant, too.
                self.pinned.insert(target.to_owned());
                return self.decide_text("target.pinned", format!("{target} stays as it is"), None);
            }
            Some(at) if self.targets[at.0 as usize].in_flight.is_some() => {
                format!("{target} is under way, and comes to its end")
            }
            Some(at) if self.targets[at.0 as usize].on_new => {
                format!("{target} runs {} already", self.setup.change.to)
            }
            Some(_) => format!("{target} is left as it is already"),
        };
        self.decide_text("command.refused", text, None);
    }

    /// Whether births of an application stay on the old version.
    pub(super) fn is_skipped(&self, app: AppIndex) -> bool {
        self.skipped.contains(&app)
    }

    /// A newborn of what is left out is left out, too.
    pub(super) fn leave_newborn(&mut self, target: TargetIndex) {
        if let Some(into) = self.why_left(target) {
            self.owe(target, true, format!("it was born into {into}"));
        }
    }

    /// What it is left out with, if whoever is born there is.
    pub(super) fn why_left(&self, target: TargetIndex) -> Option<&'static str> {
        let into = if self.is_skipped(self.app_of(target)) {
            "an application that is left out"
        } else if self.is_aside(target) {
            "a class that is set aside"
        } else if self.is_pinned(self.name(target)) {
            "a name that was left out"
        } else if self.decides_by(7) && self.rest_is_left {
            "a rest that was left"
        } else {
            return None;
        };
        Some(into)
    }

    /// Whether a target of this name is to stay as it is, in changes that keep to the name.
    pub(super) fn is_pinned(&self, name: &str) -> bool {
        self.decides_by(5) && self.pinned.contains(name)
    }

    /// Whether it had not been reached, and is left out from now on.
    fn leave_out(&mut self, target: TargetIndex, actor: &Actor, reason: &str) -> bool {
        let state = &self.targets[target.0 as usize];
        if !state.alive || state.on_new || state.owed || state.in_flight.is_some() {
            return false;
        }
        self.domains.forget(target);
        self.autonomy.forget(target);
        let why = format!("{actor} left it out: {reason}");
        if self.decides_by(5) && self.is_rehearsed_on(target) {
            self.stays_out(target, &why);
        } else {
            self.owe(target, true, why);
        }
        self.moved_ms = self.now_ms;
        true
    }

    /// One that was to try the way back next stays as it is: it came back verified, and serves.
    pub(super) fn stays_out(&mut self, target: TargetIndex, why: &str) {
        self.forget_rehearsal(target);
        self.untouch(target);
        self.owe(target, true, why.to_owned());
        self.frontier.on(Event::BecameHealthy { id: target });
    }

    /// Whether a target is to stay as it is, as its application or its name was left out.
    pub(super) fn is_left_out(&self, target: TargetIndex) -> bool {
        self.is_skipped(self.app_of(target)) || self.is_pinned(self.name(target))
    }
}
