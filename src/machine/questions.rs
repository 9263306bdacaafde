//! What people are asked, and what follows from their answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Outcome, Question, QuestionKind};

use super::hold::Rule;
use super::lanes::Lane;
use super::span::span;
use super::{Commands, Course, Machine};

/// The questions that are open, at most one of each kind: the one that weighs most first, and among equals the oldest.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    /// Questions asked so far.
    asked: u64,
    /// What those that are open are about: an answer is to what was asked, and not to what has come to be so since.
    pub(super) about: About,
}

/// What open questions are about, by kind.
#[derive(Debug, Default)]
pub(super) struct About {
    /// Rules that want a person, each with whose it is.
    pub(super) rules: BTreeSet<Rule>,
    /// Classes that wait for evidence, each with its stage.
    pub(super) classes: BTreeMap<u32, u16>,
    /// Rules that hold what is to go back, each with whose it is.
    pub(super) back: BTreeSet<Rule>,
    /// The classes whose own traffic speaks against the release; none: what all share does.
    pub(super) doubts: Vec<u32>,
    /// How many are owed.
    pub(super) owed: usize,
}

impl Questions {
    /// The one that weighs most.
    pub(super) fn first(&self) -> Option<&Question> {
        self.open.first()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Question> {
        self.open.iter()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether one of this kind is open.
    pub(super) fn has(&self, kind: QuestionKind) -> bool {
        self.open.iter().any(|open| open.kind == kind)
    }

    /// When the one of this kind that is open was asked.
    pub(super) fn asked_ms(&self, kind: QuestionKind) -> Option<u64> {
        let mut open = self.open.iter().filter(|open| open.kind == kind);
        open.next().map(|open| open.asked_ms)
    }

    /// Whether the one of this number is open.
    pub(super) fn is_open(&self, id: u64) -> bool {
        self.open.iter().any(|open| open.id == id)
    }

    /// It has been answered, or is asked no more.
    pub(super) fn close(&mut self, kind: QuestionKind) {
        self.open.retain(|open| open.kind != kind);
    }

    /// None of them is asked any more.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    fn insert(&mut self, question: Question) {
        let weight = question.kind.weight();
        let at = self.open.iter().position(|open| open.kind.weight() < weight);
        self.open.insert(at.unwrap_or(self.open.len()), question);
    }

    /// Takes the first that is meant.
    fn take(&mut self, is_meant: impl Fn(&Question) -> bool) -> Option<Question> {
        let at = self.open.iter().position(is_meant)?;
        Some(self.open.remove(at))
    }
}

impl Machine {
    /// A person takes up what a check has stopped: over the evidence too, if that is what stopped it. Where they name no question, that is
    /// no answer to one that a rule asks: to go on is not to let go what the rule holds.
    pub(super) fn resume(&mut self, named: Option<u64>) {
        let question = if self.decides_by(4) && named.is_none() {
            let meant = self.meant_by_resume().map(|open| open.id);
            meant.and_then(|id| self.questions.take(|open| open.id == id))
        } else {
            self.take_question(named)
        };
        match question {
            // To go on is not to leave somebody behind.
            Some(question) if question.kind == QuestionKind::Stalled && self.decides_by(6) => {
                self.moved_ms = self.now_ms
            }
            Some(question) if question.kind == QuestionKind::LeaveDebt && self.decides_by(6) => {
                self.questions.insert(question);
            }
            Some(question) if question.kind.is_of_stop() => self.overrule(),
            Some(question) => self.grant(question),
            None => self.lift_block(),
        }
    }

    /// The question that a resume without a number answers.
    pub(super) fn meant_by_resume(&self) -> Option<&Question> {
        let leaves = |kind: QuestionKind| kind == QuestionKind::LeaveDebt && self.decides_by(6);
        self.questions
            .iter()
            .find(|open| !open.kind.is_of_rules() && !leaves(open.kind))
    }

    /// The question that an answer is to: the one that it names, or else the one that weighs most.
    pub(super) fn take_question(&mut self, named: Option<u64>) -> Option<Question> {
        // In earlier versions one was open at a time, and in the first its number was not looked at.
        let named = named.filter(|_| self.decides_by(4));
        self.questions.take(|open| named.is_none_or(|id| open.id == id))
    }

    /// The answer to a question was "yes".
    pub(super) fn grant(&mut self, question: Question) {
        self.moved_ms = self.now_ms;
        self.shut_since = None;
        match question.kind {
            QuestionKind::RollBack => {
                let text = self.stop_text.clone().unwrap_or(question.text);
                self.begin_rollback(text);
            }
            QuestionKind::SetClassAside => self.set_aside_by_person(),
            QuestionKind::GoOnWithoutEvidence => self.go_on_without_evidence(),
            QuestionKind::RuleWantsPerson => self.allow_by_person(),
            QuestionKind::LeaveDebt if self.decides_by(8) => self.debts_left = Some(self.questions.about.owed),
            QuestionKind::LeaveDebt => self.debts_left = Some(self.debts.len()),
            QuestionKind::Stalled => self.leave_the_rest(),
            QuestionKind::Begin => self.begin_by_person(),
            QuestionKind::NextBatch => self.confirm_batch(),
            QuestionKind::Blocked => self.lift_block(),
            QuestionKind::BeyondBudget => self.lift_budget(),
            // One word does not stand for many: each target is named.
            QuestionKind::Steps => self.questions.insert(question),
            QuestionKind::RollBackNow => self.go_back_by_person(),
        }
    }

    /// Asks a person, one question of each kind at a time, so that none waits behind one of a few lanes. What is to become of a stop is
    /// asked alone: it takes the place of what is asked about going on, which is asked again when that is decided.
    /// Whether it is asked now.
    pub(super) fn ask(&mut self, kind: QuestionKind, text: String, otherwise: String, commands: &mut Commands) -> bool {
        if !self.makes_room_for(kind) {
            return false;
        }
        let patience_ms = self.person_patience_ms;
        let by_ms = self.now_ms.saturating_add(patience_ms);
        let ends = if patience_ms == 0 {
            "nobody is waited for: as soon as nothing moves, the run ends as waiting".to_owned()
        } else {
            let patience = span(patience_ms);
            format!("after {patience} without an answer, as soon as nothing moves, the run ends as waiting")
        };
        let otherwise = format!("{otherwise}; {ends}, and a later one goes on from there");
        self.questions.asked += 1;
        let question = Question {
            id: self.questions.asked,
            kind,
            text: text.clone(),
            otherwise,
            asked_ms: self.now_ms,
            by_ms,
        };
        self.decide_text("person.asked", text, None);
        self.questions.insert(question);
        self.tell_people(commands);
        true
    }

    /// Whether a question of this kind may be asked now; those that it takes the place of are closed.
    fn makes_room_for(&mut self, kind: QuestionKind) -> bool {
        if !self.decides_by(4) {
            // One question was open at a time, whomever it concerned.
            let severity = kind.severity();
            let may = self.questions.iter().all(|open| open.kind.severity() < severity);
            if may {
                self.questions.clear();
            }
            return may;
        }
        let of_stop = kind.is_of_stop();
        let of_the_way_back = of_stop || kind == QuestionKind::RollBackNow;
        let stopped = self.questions.iter().any(|open| open.kind.is_of_stop());
        if self.questions.has(kind) || stopped && !of_the_way_back {
            return false;
        }
        if of_stop {
            let open = &mut self.questions.open;
            open.retain(|open| open.kind == QuestionKind::RollBackNow);
        }
        true
    }

    /// Somebody is asked, and nothing goes on without the answer. What a rule asks of some lanes, or of what of a class goes back, holds
    /// up nobody else.
    pub(super) fn waits_for_person(&self) -> bool {
        let forward = self.course == Course::Forward;
        let of_a_part = |kind: QuestionKind| forward && kind.is_of_rules();
        self.questions.iter().any(|open| !of_a_part(open.kind))
            || !self.questions.is_empty()
                && self.in_flight == 0
                && (self.kept_from_rehearsal().is_some()
                    || self.lanes.iter().all(|lane| lane.is_finished() || lane.needs_person()))
    }

    /// Nobody has touched anything, and nobody will without the answer.
    fn waits_to_be_begun(&self, kind: QuestionKind) -> bool {
        self.touched == 0
            && matches!(
                kind,
                QuestionKind::Begin | QuestionKind::NextBatch | QuestionKind::Steps
            )
    }

    /// The open questions wait for their person too long: the run ends, and a later one resumes.
    pub(super) fn check_patience(&mut self, commands: &mut Commands) {
        // Who is half-way is not left so; attempts that may not act have no end. Nor is who is to be isolated until somebody says: it is told
        // that they get no traffic.
        let is_ordered = self.decides_by(9) && self.healing.has_orders();
        let wait_ms = match self.in_flight {
            0 if !is_ordered => 0,
            _ if !self.decides_by(6) => 0,
            _ => self.setup.change.settings.attempt_estimate_ms.saturating_mul(3),
        };
        let is_late = |open: &&Question| self.now_ms >= open.by_ms.saturating_add(wait_ms);
        let is_urgent = |open: &Question| open.kind.is_of_stop() || self.waits_to_be_begun(open.kind);
        let window =
            || self.questions.has(QuestionKind::RollBackNow) && self.lanes.iter().any(Lane::waits_for_a_window);
        if self.questions.iter().filter(is_late).any(is_urgent)
            || !self.questions.is_empty()
                && self.questions.iter().all(|open| is_late(&open))
                && self.stands_still()
                && !window()
        {
            self.end(Outcome::Waiting, commands);
        }
        if self.decides_by(5)
            && self.ended().is_none()
            && let Some(why) = self.withheld.as_ref()
        {
            let since = *self.withheld_ms.get_or_insert(self.now_ms);
            let waited_ms = self.now_ms.saturating_sub(since);
            if waited_ms >= self.person_patience_ms {
                // Attempts that may send nothing have no end, and births and deaths are no progress.
                let text = format!("nothing has been let out for {}: {why}", span(waited_ms));
                return self.wait_for("permit.withheld", text, commands);
            }
        }
        if let Some(since) = self.frozen.or(self.paused)
            && self.now_ms >= since.saturating_add(self.person_patience_ms)
        {
            self.end(Outcome::Frozen, commands);
        }
    }
}
