//! What rules hold that is to go back: the whole change, or classes that are set aside.

use std::collections::BTreeSet;

use unattended_batching::{Event, TargetIndex};
use unattended_defense::{Decision, Direction, Finding};

use crate::QuestionKind;

use super::autonomy::some_of;
use super::hold::{Hold, Rule, in_words};
use super::lanes::Lane;
use super::{Commands, Course, Machine};

/// What people have said of the way back: it need not wait for these rules. What another rule comes to hold may be another team's.
#[derive(Debug, Default)]
pub(super) struct Word {
    rules: BTreeSet<Rule>,
    /// Up to the seventh version a yes was for whatever rules there are.
    all: bool,
}

impl Word {
    pub(super) fn is_given(&self) -> bool {
        self.all || !self.rules.is_empty()
    }

    /// Whether this is of a rule that it was said of.
    fn covers(&self, finding: &Finding) -> bool {
        let of = |(rule, owner): &Rule| *rule == finding.rule && *owner == finding.owner;
        self.all || self.rules.iter().any(of)
    }

    /// Whether all that stands against going back is covered.
    pub(super) fn lets(&self, decision: &Decision) -> bool {
        let mut against = decision.findings.iter().filter(|finding| !finding.verdict.may_start());
        self.all || against.all(|finding| self.covers(finding))
    }
}

impl Machine {
    /// Whether a target may be rolled back now, by the rules of its lane; keeps the record of the hold.
    pub(super) fn may_go_back(&mut self, target: TargetIndex) -> bool {
        let may = self.may_go_back_by_rules(target);
        let app = self.app_of(target);
        self.compare_rules(app.0 as usize, app, Direction::Rollback, 1, may);
        may
    }

    fn may_go_back_by_rules(&mut self, target: TargetIndex) -> bool {
        if self.setup.guard.is_empty() || self.word_back.all {
            return true;
        }
        let app = self.app_of(target);
        let lane = app.0 as usize;
        let held = self.lanes[lane].held_back();
        if held.is_some_and(|hold| !hold.is_over(self.now_ms)) {
            return false;
        }
        let mut decision = self.ask_rules(&self.setup.guard, app, Direction::Rollback, self.wave());
        // In earlier versions what held the way back took the place of what held the way forward.
        let apart = self.decides_by(4);
        let before = self.lanes[lane].hold_of_way_back(apart).take();
        let before = before.and_then(|hold| hold.record);
        // Who lets a lane have the new version lets its first target try the way back from it.
        let lets = decision.verdict.may_start()
            || self.word_back.lets(&decision)
            || self.decides_by(6) && self.is_rehearsed_on(target) && self.word_lets(lane, &decision);
        if lets {
            if let Some(at) = before {
                self.record.hold_ended(at, self.now_ms);
                self.moved_ms = self.now_ms;
            }
            return true;
        }
        if !apart {
            let until_ms = u64::MAX;
            self.frontier.on(Event::HeldUntil { app, until_ms });
        }
        // What is told is what still holds it.
        decision.findings.retain(|finding| !self.word_back.covers(finding));
        let hold = self.hold_by(app, &decision, before).of_way_back();
        *self.lanes[lane].hold_of_way_back(apart) = Some(hold);
        false
    }

    /// Some of those that wait for the rules on their way back are to be asked about again. That must not wait for metrics.
    pub(super) fn a_way_back_opens(&self) -> bool {
        let is_over = |&target: &TargetIndex| {
            let held = self.lanes[self.app_of(target).0 as usize].held_back();
            held.is_none_or(|hold| hold.is_over(self.now_ms))
        };
        self.decides_by(4) && self.parked.iter().any(is_over)
    }

    /// Those that rules keep on a version that is to be left: how many, and the first of them.
    fn kept_by_rules(&self) -> (usize, Option<TargetIndex>) {
        if self.course != Course::Forward {
            return (self.parked.len(), self.parked.first().copied());
        }
        if let Some(target) = self.kept_from_rehearsal() {
            return (1, Some(target));
        }
        let is_held = |&target: &TargetIndex| self.lanes[self.app_of(target).0 as usize].held_back().is_some();
        let mut held = self.aside.waiting().filter(is_held);
        let first = held.next();
        (usize::from(first.is_some()) + held.count(), first)
    }

    /// Rules keep targets on a version that is to be left: somebody must know at once, and may say otherwise.
    pub(super) fn ask_for_the_way_back(&mut self, commands: &mut Commands) {
        let (count, Some(first)) = self.kept_by_rules() else {
            if self.questions.has(QuestionKind::RollBackNow) {
                self.questions.close(QuestionKind::RollBackNow);
                self.end_holds_of_way_back(|_| true);
            }
            return;
        };
        let rules = self.rules_of_way_back(first);
        if self.decides_by(8) && self.questions.about.back.is_disjoint(&rules) {
            // Nothing of what was asked about holds them any more.
            self.questions.close(QuestionKind::RollBackNow);
        }
        if self.questions.has(QuestionKind::RollBackNow) || !self.decides_by(4) && !self.questions.is_empty() {
            return;
        }
        let held = self.lanes[self.app_of(first).0 as usize].held_back();
        // In earlier versions nobody was asked about what was not in the record.
        let Some(hold) = held.filter(|hold| hold.record.is_some()).map(Hold::view) else {
            return;
        };
        let what = match self.course {
            Course::Forward => "go back now with what is set aside",
            Course::Back | Course::Ended(_) => "roll back now",
        };
        let (to, by, lane, reason) = (&self.setup.change.to, &hold.by, &hold.lane, &hold.reason);
        let others: Vec<String> = if self.decides_by(9) {
            // A yes is for all of them, so all are named, each with whose it is.
            let others = rules.iter().filter(|(rule, owner)| (rule, owner) != (by, &hold.owner));
            others.map(in_words).collect()
        } else {
            let others = rules.iter().map(|(rule, _)| rule).filter(|rule| *rule != by);
            others.cloned().collect()
        };
        let so_do = match others.as_slice() {
            [] => String::new(),
            others if self.decides_by(9) => format!(", and so do {}", others.join(", ")),
            others if self.decides_by(8) => format!(", and so do {}", some_of(others)),
            _ => String::new(),
        };
        let text = match self.kept_from_rehearsal() {
            None => {
                let (them, are) = (self.so_many(count, "target"), self.is_or_are(count));
                format!(
                    "{them} {are} to leave {to} and must wait, as {by} of {lane} forbids rollbacks ({reason}){so_do}: {what}?"
                )
            }
            Some(first) => {
                let so_do = if self.decides_by(9) { so_do.as_str() } else { "" };
                format!(
                    "{} is to try the way back from {to} before others get it, and must wait, as {by} of {lane} forbids rollbacks \
                     ({reason}){so_do}: bring it back now?",
                    self.name(first)
                )
            }
        };
        let otherwise = match hold.until_ms {
            Some(until) => format!(
                "they go back when the rules let them, the first in {} min",
                until.saturating_sub(self.now_ms).div_ceil(60_000)
            ),
            None => "they go back when the rules let them, and no end of that is known".to_owned(),
        };
        if self.ask(QuestionKind::RollBackNow, text, otherwise, commands) {
            self.questions.about.back = rules;
        }
    }

    /// The rules that hold what is to go back; amid a rehearsal, those that hold its target.
    fn rules_of_way_back(&self, first: TargetIndex) -> BTreeSet<Rule> {
        if self.kept_from_rehearsal().is_some() {
            let held = self.lanes[self.app_of(first).0 as usize].held_back();
            return held.into_iter().flat_map(|hold| hold.rules.iter().cloned()).collect();
        }
        let held = self.lanes.iter().filter_map(Lane::held_back);
        held.flat_map(|hold| hold.rules.iter().cloned()).collect()
    }

    /// A person said that what is to go back need not wait for the rules that were named.
    pub(super) fn go_back_by_person(&mut self) {
        self.scan_due = true;
        if self.decides_by(8) {
            let named = std::mem::take(&mut self.questions.about.back);
            let of_those = |hold: &Hold| hold.rules.iter().all(|rule| named.contains(rule));
            self.end_holds_of_way_back(of_those);
            self.word_back.rules.extend(named);
        } else {
            self.word_back.all = true;
            self.end_holds_of_way_back(|_| true);
        }
    }

    /// The word of a person was about what was to go back then, and not about more.
    pub(super) fn forget_word_on_way_back(&mut self) {
        if self.decides_by(4) {
            self.word_back = Word::default();
        }
    }

    /// Nothing waits to go forward any more.
    pub(super) fn end_holds_of_way_forward(&mut self) {
        for lane in 0..self.lanes.len() {
            self.end_hold_of_way_forward(lane);
        }
    }

    /// Nothing of this lane waits to go forward any more.
    pub(super) fn end_hold_of_way_forward(&mut self, lane: usize) {
        // In earlier versions it was not over before the change was.
        let is_over = self.decides_by(4);
        let lane = self.lanes.get_mut(lane).filter(|_| is_over);
        let hold = lane.and_then(|lane| lane.hold.take());
        self.end_hold(hold);
    }

    fn end_holds_of_way_back(&mut self, is_meant: impl Fn(&Hold) -> bool) {
        if !self.decides_by(4) {
            return;
        }
        for lane in 0..self.lanes.len() {
            let hold = self.lanes[lane].hold_of_way_back(true).take_if(|hold| is_meant(hold));
            self.end_hold(hold);
        }
    }

    fn end_hold(&mut self, hold: Option<Hold>) {
        if let Some(at) = hold.and_then(|hold| hold.record) {
            self.record.hold_ended(at, self.now_ms);
        }
    }
}
