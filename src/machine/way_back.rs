//! What is known of the way back when the change begins.

use crate::way_back::Known;

use super::Machine;
use super::rehearsal::Rehearsal;

impl Machine {
    /// It is said once, before anything starts.
    pub(super) fn know_way_back(&mut self, known: &Known) {
        let (code, text, otherwise) = known.decision(&self.setup);
        self.decide_text(code, text, otherwise);
        self.one_way.clone_from(&known.one_way);
        self.knows_way_back = true;
        if known.is_to_be_proved(self.setup.header.decisions) && self.touched == 0 && self.rehearsal == Rehearsal::Over
        {
            self.rehearsal = Rehearsal::Wanted;
        }
    }

    /// Whether that has been asked.
    pub(crate) const fn knows_way_back(&self) -> bool {
        self.knows_way_back
    }

    /// What a person is asked at a stop.
    pub(super) fn stop_question(&self) -> String {
        match &self.one_way {
            Some(why) => format!("There is no way back: {why}. Roll back all the same?"),
            None => "Roll back?".to_owned(),
        }
    }
}
