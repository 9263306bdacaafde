//! Budgets: how much is done in a day, how old and how large a change may be, without a person.

use unattended_batching::AppIndex;

use crate::QuestionKind;
use crate::level::Act;

use super::autonomy::Beyond;
use super::span::span;
use super::steps::OFFERS;
use super::{Commands, Machine};

impl Machine {
    /// Whether the change is young enough to grow by itself.
    pub(super) fn is_young(&mut self, commands: &mut Commands) -> bool {
        let Some(age) = self.too_old() else { return true };
        self.ask_beyond(
            Beyond::Age,
            age,
            "let it go on for as long again",
            "nothing more is started",
            commands,
        );
        false
    }

    fn too_old(&self) -> Option<String> {
        let longest_ms = self.setup.change.settings.budget.longest_ms;
        (self.now_ms - self.autonomy.young_since_ms >= longest_ms).then(|| {
            format!(
                "the change is older than the {} for which it may act by itself",
                span(longest_ms)
            )
        })
    }

    /// Whether it may take the change back by itself; if not, why, where that is not the level's matter.
    pub(super) fn may_roll_back(&self) -> Result<(), Option<String>> {
        if !self.may(Act::RollBack) {
            return Err(None);
        }
        if let Some(age) = self.too_old() {
            return Err(Some(age));
        }
        let budget = &self.setup.change.settings.budget;
        let own = u32::try_from(self.autonomy.rollbacks.len()).unwrap_or(u32::MAX);
        let begun = self.setup.change.rollbacks_before.saturating_add(own);
        if begun >= budget.rollbacks_per_day {
            return Err(Some(format!(
                "{begun} rollbacks were begun by machines within a day, of {} that may be",
                budget.rollbacks_per_day
            )));
        }
        let most = share(self.alive, budget.rollback_share_ppm);
        let back = self.would_go_back();
        if back > most {
            return Err(Some(format!(
                "{back} targets would go back, and {most} may by themselves"
            )));
        }
        Ok(())
    }

    /// Who is gone does not go back. The first version counted them, so that in a fleet that changes fast even all were too many.
    fn would_go_back(&self) -> u64 {
        if self.decides_by(2) {
            (self.exposed + self.in_flight).min(self.touched).min(self.alive)
        } else {
            self.touched
        }
    }

    /// It takes the change back by itself.
    pub(super) fn spend_rollback(&mut self) {
        self.autonomy.rollbacks.push_back(self.now_ms);
    }

    /// How many may be started forward now, at the most.
    pub(super) fn room_to_start(&mut self, most: usize, commands: &mut Commands) -> usize {
        if !self.may(Act::Start) {
            return OFFERS.saturating_sub(self.autonomy.offered.len());
        }
        if self.confirms_batches() && self.autonomy.confirmed.is_none() {
            return 0;
        }
        self.autonomy.confirmed.get_or_insert(0);
        let exposure = self.room_of_exposure();
        let room = [self.room_of_the_day(), exposure].into_iter().flatten().min();
        if room == Some(0) && self.waiting_for_room() > 0 {
            let (beyond, why, yes) = if exposure == Some(0) {
                let most = share(self.alive, self.setup.change.settings.budget.exposure_share_ppm);
                let why = format!("{most} targets have the new version, as many as may without a person");
                (Beyond::Exposure, why, "go on to the rest of the plan")
            } else {
                let started = self.started();
                let why = format!("{started} targets were started within 24 h, as many as may without a person");
                (Beyond::Starts, why, "let as many start once more today")
            };
            let otherwise = match beyond {
                Beyond::Exposure => "the change keeps its size",
                Beyond::Age | Beyond::Starts => "it goes on when the day has passed",
            };
            self.ask_beyond(beyond, why, yes, otherwise, commands);
        } else if self.autonomy.beyond == Some(Beyond::Starts)
            && !(self.decides_by(5) && self.waiting_for_room() > room.unwrap_or(u64::MAX))
        {
            // The few that each hour of a sliding day lets go end no question of the others.
            self.autonomy.beyond = None;
            self.questions.close(QuestionKind::BeyondBudget);
        }
        room.map_or(most, |room| most.min(usize::try_from(room).unwrap_or(usize::MAX)))
    }

    /// How many were started forward within a day.
    fn started(&self) -> u64 {
        self.autonomy.starts.iter().map(|&(_, n)| n).sum()
    }

    fn room_of_the_day(&self) -> Option<u64> {
        let most = self.setup.change.settings.budget.starts_per_day?;
        Some(most.saturating_sub(self.started()))
    }

    fn room_of_exposure(&self) -> Option<u64> {
        let ppm = self.setup.change.settings.budget.exposure_share_ppm;
        let is_capped = !self.autonomy.exposure_lifted && ppm < 1_000_000;
        is_capped.then(|| share(self.alive, ppm).saturating_sub(self.touched))
    }

    /// Whether a budget lets nothing more come to run the release without a person.
    pub(super) fn is_spent(&self) -> bool {
        self.too_old().is_some() || self.room_of_the_day() == Some(0) || self.room_of_exposure() == Some(0)
    }

    /// How many would be started if as many might be.
    fn waiting_for_room(&self) -> u64 {
        let lanes = (0u32..).zip(&self.lanes);
        let open = lanes.filter(|(_, lane)| lane.hold.is_none() && !lane.is_untouched());
        open.map(|(app, _)| u64::from(self.frontier.lane(AppIndex(app)).waiting_in_open))
            .sum()
    }

    fn ask_beyond(&mut self, beyond: Beyond, why: String, yes: &str, otherwise: &str, commands: &mut Commands) {
        let before = self.questions.has(QuestionKind::BeyondBudget);
        let text = format!(
            "{why}; {} of {} targets run {}, {} are under way, evidence against it is {:.1} of {:.0}: {yes}?",
            self.exposed,
            self.alive,
            self.setup.change.to,
            self.in_flight,
            libm::exp(self.judge.ln_e().min(700.0)),
            1.0 / self.setup.change.settings.alpha,
        );
        self.ask(QuestionKind::BeyondBudget, text, otherwise.to_owned(), commands);
        if !before && self.questions.has(QuestionKind::BeyondBudget) {
            self.autonomy.beyond = Some(beyond);
        }
    }

    /// A person let it go beyond a budget, once.
    pub(super) fn lift_budget(&mut self) {
        match self.autonomy.beyond.take() {
            Some(Beyond::Age) => self.autonomy.young_since_ms = self.now_ms,
            Some(Beyond::Starts) => self.autonomy.starts.clear(),
            Some(Beyond::Exposure) => self.autonomy.exposure_lifted = true,
            None => {}
        }
        self.scan_due = true;
    }
}

/// So many parts per million of a fleet, but one at least.
fn share(all: u64, ppm: u32) -> u64 {
    (all.saturating_mul(u64::from(ppm)) / 1_000_000).max(1)
}
