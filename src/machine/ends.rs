//! How a run ends, and is taken up again where it waited.

use unattended_defense::Direction;

use crate::Outcome;

use super::{Commands, Course, Machine};

impl Machine {
    pub(super) fn end(&mut self, outcome: Outcome, commands: &mut Commands) {
        if outcome != Outcome::Waiting {
            self.questions.clear();
        }
        self.course = Course::Ended(outcome);
        self.rest_from_all_rules(Direction::Forward);
        self.rest_from_all_rules(Direction::Rollback);
        self.decide_text("change.ended", format!("the change ended: {}", outcome.as_str()), None);
        let last = self.exposure_point();
        self.record.finish(last);
        commands.ended = Some(outcome);
        self.tell_the_end(outcome, commands);
    }

    /// The journal says how a run ended. A run that resumes may be more patient than the one before, and still ended so.
    pub(crate) fn ended_as(&mut self, outcome: Outcome) {
        if self.ended().is_none() {
            self.end(outcome, &mut Commands::default());
        }
    }

    /// A waiting run is taken up again.
    pub(super) fn reopen(&mut self) {
        if matches!(self.course, Course::Ended(Outcome::Waiting | Outcome::Frozen)) {
            self.frozen = self.frozen.map(|_| self.now_ms);
            self.paused = self.paused.map(|_| self.now_ms);
            self.withheld_ms = None;
            self.course = if self.stop_began() {
                Course::Back
            } else {
                Course::Forward
            };
            if self.decides_by(7) && self.course == Course::Forward {
                // What stopped it is looked for anew: where it has passed meanwhile, nobody is left to be asked.
                self.forget_stop();
            }
            self.questions.clear();
            self.waits_for = None;
            self.moved_ms = self.now_ms;
            self.shut_since = None;
            self.sight = super::receipts::Sight::default();
        }
    }
}
