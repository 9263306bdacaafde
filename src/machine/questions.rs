//! What people are asked, and what follows from their answers.

use crate::{Outcome, Question, QuestionKind};

use super::lanes::Lane;
use super::span::span;
use super::{Commands, Machine};

impl Machine {
    /// A person takes up what a check has stopped: over the evidence too, if that is what stopped it.
    pub(super) fn resume(&mut self) {
        match self.question.take() {
            Some(question) if question.kind == QuestionKind::RollBack => self.overrule(),
            Some(question) => self.grant(question),
            None => self.lift_block(),
        }
    }

    /// The answer to a question was "yes".
    pub(super) fn grant(&mut self, question: Question) {
        self.moved_ms = self.now_ms;
        match question.kind {
            QuestionKind::RollBack => {
                let text = self.stop_text.clone().unwrap_or(question.text);
                self.begin_rollback(text);
            }
            QuestionKind::GoOnWithoutEvidence => self.go_on_without_evidence(),
            QuestionKind::RuleWantsPerson => self.allow_by_person(),
            QuestionKind::LeaveDebt => self.granted.push(QuestionKind::LeaveDebt),
            QuestionKind::Stalled => self.leave_the_rest(),
            QuestionKind::Begin => self.begin_by_person(),
            QuestionKind::NextBatch => self.confirm_batch(),
            QuestionKind::Blocked => self.lift_block(),
            QuestionKind::BeyondBudget => self.lift_budget(),
            // One word does not stand for many: each target is named.
            QuestionKind::Steps => self.question = Some(question),
            QuestionKind::RollBackNow => {
                self.back_by_person = true;
                self.scan_due = true;
            }
        }
    }

    /// Asks a person, one question at a time: one that weighs more takes the place of one that weighs less, which is
    /// asked again when there is room.
    pub(super) fn ask(&mut self, kind: QuestionKind, text: String, otherwise: String, commands: &mut Commands) {
        if self
            .question
            .as_ref()
            .is_some_and(|open| open.kind.weight() >= kind.weight())
        {
            return;
        }
        let patience_ms = self.person_patience_ms;
        let by_ms = self.now_ms.saturating_add(patience_ms);
        let otherwise = format!(
            "{otherwise}; after {} without an answer the run ends as waiting, and a later one goes on from there",
            span(patience_ms)
        );
        self.asked += 1;
        let question = Question {
            id: self.asked,
            kind,
            text: text.clone(),
            otherwise,
            asked_ms: self.now_ms,
            by_ms,
        };
        self.decide_text("person.asked", text, None);
        self.question = Some(question);
        self.tell_people(commands);
    }

    /// Nobody has touched anything, and nobody will without the answer.
    fn waits_to_be_begun(&self, kind: QuestionKind) -> bool {
        self.touched == 0
            && matches!(
                kind,
                QuestionKind::Begin | QuestionKind::NextBatch | QuestionKind::Steps
            )
    }

    /// The open question waits for its person too long: the run ends, and a later one resumes.
    pub(super) fn check_patience(&mut self, commands: &mut Commands) {
        if let Some(question) = &self.question
            && self.now_ms >= question.by_ms
            && (question.kind == QuestionKind::RollBack || self.waits_to_be_begun(question.kind) || self.stands_still())
            && !(question.kind == QuestionKind::RollBackNow && self.lanes.iter().any(Lane::waits_for_a_window))
        {
            self.end(Outcome::Waiting, commands);
        }
        if let Some(since) = self.frozen.or(self.paused)
            && self.now_ms >= since.saturating_add(self.person_patience_ms)
        {
            self.end(Outcome::Frozen, commands);
        }
    }
}
