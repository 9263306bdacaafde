//! Stopping: what authorises it, what follows from it, and the way back.

use std::collections::BTreeSet;

use unattended_batching::{Event, TargetIndex};
use unattended_health::{Finding, Verdict};

use crate::{OnStop, Outcome, QuestionKind};

use super::admission::LOOK_AGAIN_MS;
use super::autonomy::some_of;
use super::blocked_back::KEPT;
use super::lanes::Lane;
use super::span::span;
use super::{Commands, Course, Machine, Target};

impl Machine {
    /// Whether a stop has been authorised and somebody has yet to act on it.
    pub(super) const fn stop_pending(&self) -> bool {
        self.stop_text.is_some() && matches!(self.course, Course::Forward)
    }

    pub(super) const fn stop_began(&self) -> bool {
        self.back_began
    }

    /// Another reason than the one that somebody may be thinking about: an answer to that is none to this.
    fn begin_stop_anew(&mut self) {
        self.questions.close(QuestionKind::RollBack);
        self.stop_text = None;
    }

    /// Stops where the evidence or the gate says so: by itself where level and budgets let it, by asking elsewhere.
    pub(super) fn check_stop(&mut self, commands: &mut Commands) {
        let Some((code, text)) = self.stop_found() else {
            return self.awaits_nobody();
        };
        if self.decides_by(9) && self.stop_code.is_some_and(|known| known != code) {
            self.begin_stop_anew();
        }
        if self.sees_to_class(code, &text) {
            return;
        }
        if self.decides_by(8) && self.stop_code != Some(code) {
            self.begin_stop_anew();
        }
        if self.stop_text.is_none() {
            let otherwise = match code {
                "stop.gate" => "starts that succeed would have let it go on".to_owned(),
                "stop.no_way_back" => "a way back that works would have let it go on".to_owned(),
                "stop.asked" => "nobody who asks for it would have let it go on".to_owned(),
                _ => {
                    let needed = 1.0 / self.setup.change.settings.alpha;
                    format!("evidence below {needed:.0} would have let it go on")
                }
            };
            self.decide_text(code, text.clone(), Some(otherwise));
            self.exposed_at_stop = Some(self.touched);
            self.stop_text = Some(text.clone());
            self.stop_code = Some(code);
            self.stop_ln_e = Some(self.judge.ln_e());
            self.stop_scope = (code == "stop.evidence").then(|| self.strongest_class()).flatten();
        }
        if self.aside.has_suspects() {
            return self.ask_about_class(&text, commands);
        }
        if self.setup.change.settings.on_stop != OnStop::RollBack {
            let (done, meanwhile) = self.stop_in_words();
            let text = format!("{text}. {done} {}", self.stop_question());
            self.ask(QuestionKind::RollBack, text, meanwhile, commands);
            return;
        }
        match self.may_roll_back() {
            Ok(()) => {
                self.spend_rollback();
                self.begin_rollback(text);
            }
            Err(beyond) => {
                let beyond = beyond.map_or_else(String::new, |why| format!(" It does not by itself, as {why}."));
                self.ask(
                    QuestionKind::RollBack,
                    format!("{text}.{beyond} Roll back?"),
                    "nothing more is started; what runs the new version keeps it".to_owned(),
                    commands,
                );
            }
        }
    }

    /// What there is to stop for: the gate first, as it is certain.
    pub(super) fn stop_found(&self) -> Option<(&'static str, String)> {
        if let Some(text) = self.gate_rejects()
            && self.start_failures.count() > 2 * self.overruled.gate_failures
        {
            return Some(("stop.gate", text));
        }
        if let Some(text) = self.rehearsal_failed() {
            return Some(("stop.no_way_back", text));
        }
        let stops = self.judge.stopped().is_some() && !self.evidence_is_overruled();
        let evidence = stops.then(|| ("stop.evidence", self.judge.explain().headline()));
        evidence.or_else(|| self.asked_back.clone().map(|text| ("stop.asked", text)))
    }

    pub(super) fn begin_rollback(&mut self, text: String) {
        if self.course != Course::Forward {
            return;
        }
        self.exposed_at_stop.get_or_insert(self.touched);
        self.stop_text.get_or_insert(text);
        self.course = Course::Back;
        self.blocked_back = None;
        self.paused = None;
        self.end_rehearsal();
        self.forget_aside();
        self.forget_word_on_way_back();
        self.end_holds_of_way_forward();
        self.rest_from_all_rules(unattended_defense::Direction::Forward);
        self.back_began = true;
        self.questions.clear();
        self.forget_looks();
        for target in &mut self.targets {
            target.tries = 0;
        }
        self.frontier.on(Event::RollBack { at: self.now_ms });
        self.withdraw_offers();
        for id in self.domains.withdraw() {
            let at = self.now_ms;
            self.frontier.on(Event::Failed { id, at, retry: false });
        }
        self.take_back_what_was_done_unasked();
        for at in self.setup.change.fleet.len()..self.targets.len() {
            self.doubt_birth(TargetIndex(u32::try_from(at).unwrap_or(u32::MAX)));
        }
        let touched = self.exposed_at_stop.unwrap_or_default();
        self.decide_text(
            "rollback.began",
            format!(
                "{touched} touched targets go back to {}, newest first, under the same caps",
                self.setup.change.from
            ),
            None,
        );
    }

    /// Starts what may go back now, and ends the change when nobody is left.
    pub(super) fn advance_rollback(&mut self, commands: &mut Commands) {
        self.start_waiting(commands);
        let mut targets = std::mem::take(&mut self.again);
        targets.extend(self.frontier.rollback_startable(self.now_ms, self.room_to_go_back()));
        let again = self.a_way_back_opens();
        if std::mem::take(&mut self.scan_due) || again {
            targets.append(&mut self.parked);
        }
        for target in targets {
            if self.targets[target.0 as usize].in_flight.is_some() {
                // It was on its way back with its class before, and comes to that end.
                continue;
            }
            if !self.targets[target.0 as usize].ever_touched || self.is_back_already(target) {
                // It was offered to a person, and nobody took the step; or its class was set aside before.
                self.frontier.on(Event::RolledBack { id: target });
            } else {
                self.start_back(target, commands);
            }
        }
        self.ask_for_the_way_back(commands);
        let waits = !self.parked.is_empty() || self.domains.waiting() > 0;
        if self.in_flight > 0 {
            // Whoever is blocked next waits anew.
            self.blocked_back = None;
            return;
        }
        if waits || !self.nothing_is_offered() {
            return;
        }
        if self.caps_hold_the_way_back() {
            return;
        }
        if self.healing.isolates() {
            // Nobody is out of traffic by it when it calls itself done; leases end also where nobody can be let in.
            self.cut.end();
            self.readmit_where(|_, _| true, commands);
            return;
        }
        let left = |target: &Target| target.alive && (target.on_new || target.lost);
        if self.targets.iter().any(left) {
            let lasting: Vec<TargetIndex> = (0u32..)
                .zip(&self.targets)
                .filter(|(_, target)| left(target))
                .map(|(at, _)| TargetIndex(at))
                .collect();
            let kept = if self.decides_by(5) {
                self.kept_by_caps()
            } else {
                BTreeSet::new()
            };
            for target in lasting {
                let why = if kept.contains(&target) {
                    KEPT
                } else {
                    "it could not be brought back"
                };
                self.owe(target, false, why.to_owned());
            }
            self.end(Outcome::RolledBackPartially, commands);
        } else {
            self.compare(commands);
        }
    }

    /// Ends the change when every lane is through and has rested.
    pub(super) fn check_done(&mut self, commands: &mut Commands) {
        if self.in_flight > 0 || !self.all_lanes_finished() || !self.frontier.is_done() || !self.aside.is_back() {
            self.done_since = None;
            self.forget_looks();
            return;
        }
        let since = *self.done_since.get_or_insert(self.now_ms);
        let settings = &self.setup.change.settings;
        if self.seen_until_ms().saturating_sub(since) < settings.warm_up_ms + settings.bake_ms {
            return;
        }
        if !self.is_judged() || self.healing.isolates() {
            return;
        }
        if self.too_many_are_left() {
            let left = self.debts.len();
            // Some of them could be by now, as where a region is back.
            let how = if self.decides_by(7) {
                "have not been"
            } else {
                "cannot be"
            };
            let text = format!(
                "{left} targets of {} {how} brought to {}: leave them?",
                self.alive, self.setup.change.to
            );
            if self.decides_by(8) && left > self.questions.about.owed.saturating_mul(2) {
                // So many more than were named are asked about by their number.
                self.questions.close(QuestionKind::LeaveDebt);
            }
            let otherwise = "the change stays open".to_owned();
            if self.ask(QuestionKind::LeaveDebt, text, otherwise, commands) {
                self.questions.about.owed = left;
            }
            return;
        }
        self.compare(commands);
    }

    /// Asks a person where nothing has moved for the whole patience and no window explains it.
    pub(super) fn check_stall(&mut self, commands: &mut Commands) {
        let settings = &self.setup.change.settings;
        // A class that waits for evidence begins to wait when its first instance is warm; its question, which says what is
        // missing, comes before this one.
        let patience = settings.patience_ms.max(settings.soak_ms) + settings.warm_up_ms + settings.bake_ms;
        let is_late = |since_ms: u64| self.now_ms - since_ms >= patience;
        let stands = is_late(self.moved_ms);
        // Where nothing may grow, the few that are born meanwhile and have their attempts are no progress.
        if self.ended().is_some() || self.is_halted() {
            return;
        }
        if !stands && !self.shut_since.is_some_and(is_late) {
            if self.decides_by(7) {
                // It moves again: an answer of now would leave behind what goes on.
                self.questions.close(QuestionKind::Stalled);
            }
            return;
        }
        let waited = span(patience);
        let finished = self.all_lanes_finished() && self.frontier.is_done();
        if finished && !(stands && self.questions.is_empty()) {
            return;
        }
        let compares_back = self.decides_by(6) && self.waits_for_the_last_look_back();
        if !stands {
            // Attempts come to their ends.
        } else if self.in_flight > 0 || finished || compares_back {
            // No word lets go what the platform or the metrics do not answer for.
            let (code, text) = match self.judge.verdict() {
                _ if compares_back => (
                    "attempts.unseen",
                    format!(
                        "everything has gone back, and nothing has been seen of the platform for {waited} that shows it"
                    ),
                ),
                _ if self.in_flight == 0 && self.is_unseen() => (
                    "change.unjudged",
                    format!("everything is upgraded and cannot be judged for {waited}: no metrics come"),
                ),
                Verdict::Hold(hold) if self.in_flight == 0 => (
                    "change.unjudged",
                    format!("everything is upgraded and cannot be judged for {waited}: {hold}"),
                ),
                _ if self.in_flight == 0 && self.decides_by(7) => (
                    "change.unjudged",
                    format!("nobody is left to be changed, and the change has not come to its end for {waited}"),
                ),
                _ => (
                    "attempts.unseen",
                    format!(
                        "nothing has been seen of the platform for {waited}, with {} attempts under way",
                        self.in_flight
                    ),
                ),
            };
            self.wait_for(code, text, commands);
            return;
        }
        // Whoever is not held waits for nobody who is.
        let explained = self.lanes.iter().any(Lane::waits_for_a_window)
            && !(self.decides_by(6) && self.lanes.iter().any(Lane::waits_unheld));
        if self.course == Course::Back || explained {
            return;
        }
        // Steps that are offered for newborns are not why the rest waits.
        let denied = self.denied.is_some_and(|(_, denied)| denied) && self.shut_since.is_some_and(is_late);
        if self.waits_for_person() && !denied {
            // That is why.
            return;
        }
        let why = match self.judge.verdict() {
            Verdict::Hold(hold) => format!(" ({hold})"),
            _ => match (
                self.blocked_by().filter(|_| self.decides_by(8)),
                self.denials_in_words(),
            ) {
                (Some(text), _) => format!(" (a check blocks it: {text})"),
                (None, Some(text)) => text,
                (None, None) => self.suspects_in_words(),
            },
        };
        let how = if stands { "moved" } else { "grown" };
        let text = format!("nothing has {how} for {waited}{why}: leave the rest as it is?");
        self.ask(
            QuestionKind::Stalled,
            text,
            "the change stays open and goes on looking".to_owned(),
            commands,
        );
    }

    /// Notes since when the evidence, or its absence, lets nothing grow. What checks and others' changes hold is asked about by itself.
    pub(super) fn note_growth(&mut self, calm: bool) {
        // A check that blocks is asked about where the level or the day's budget leaves that to people; else it goes on by itself when that is
        // over, and that may be never.
        let blocked = self.autonomy.is_blocked() && (!self.decides_by(8) || self.questions.has(QuestionKind::Blocked));
        let shut = self.decides_by(7) && (!calm && !blocked && !self.interferes() || self.rest_is_denied());
        self.shut_since = shut.then(|| self.shut_since.unwrap_or(self.now_ms));
    }

    /// Whether rules keep all of the plan that is left from the release, without an end that is known and whatever people say: whoever is born
    /// elsewhere meanwhile is no progress.
    fn rest_is_denied(&mut self) -> bool {
        let is_denied = |lane: &Lane| {
            lane.hold()
                .is_some_and(|hold| hold.is_endless() && !hold.needs_person())
        };
        if !self.decides_by(8) || !self.lanes.iter().any(|lane| !lane.is_finished() && is_denied(lane)) {
            self.denied = None;
            return false;
        }
        if let Some((looked_ms, denied)) = self.denied
            && self.now_ms < looked_ms + LOOK_AGAIN_MS
        {
            return denied;
        }
        let planned = self.setup.change.fleet.len();
        let lane_of = |target: &Target| &self.lanes[self.tables.strata_apps[target.stratum as usize] as usize];
        let left = |target: &&Target| target.alive && !target.on_new && !target.owed && !lane_of(target).is_finished();
        let mut left = self.targets[..planned].iter().filter(left);
        let denied = left.all(|target| target.in_flight.is_none() && is_denied(lane_of(target)));
        self.denied = Some((self.now_ms, denied));
        denied
    }

    /// The rules that deny lanes the release, for the question what is to become of these.
    fn denials_in_words(&self) -> Option<String> {
        let denied = self.denied.filter(|(_, denied)| *denied && self.decides_by(8));
        denied?;
        let holds = self
            .lanes
            .iter()
            .filter_map(Lane::hold)
            .filter(|hold| hold.is_endless());
        let lanes: Vec<&str> = holds.clone().map(|hold| hold.view().lane.as_str()).collect();
        let by = holds.map(|hold| hold.view().by.as_str()).next()?;
        Some(format!(
            " ({by} lets it not come to {}, and no end of that is known)",
            some_of(&lanes)
        ))
    }

    /// Whether nothing keeps a change that goes back from its end but a look that shows it.
    fn waits_for_the_last_look_back(&self) -> bool {
        let waits = !self.parked.is_empty() || self.domains.waiting() > 0 || self.blocked_back.is_some();
        self.course == Course::Back && self.in_flight == 0 && self.nothing_is_offered() && !waits
    }

    /// Who waits since the release looks bad in its own instances, for the question what is to become of them.
    fn suspects_in_words(&self) -> String {
        let suspects = self.suspects();
        let Some((app, against)) = suspects.first().filter(|_| self.decides_by(4)) else {
            return String::new();
        };
        let others = match suspects.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} others wait likewise"),
        };
        format!(
            " ({} alone speaks against the release by {:.0} to one and does not grow{others})",
            self.setup.change.fleet.app_name(*app),
            libm::exp(against.min(60.0)),
        )
    }

    /// Ends the run, since the platform shows nothing.
    pub(super) fn wait_for_sight(&mut self, commands: &mut Commands) {
        let minutes = self.sight.silent_ms.unwrap_or(0) / 60_000;
        let text = format!(
            "nothing has been seen of the platform for {minutes} minutes, with {} attempts under way",
            self.in_flight
        );
        self.wait_for("attempts.unseen", text, commands);
    }

    /// Ends the run as waiting for what no person's word can bring, and says so.
    pub(super) fn wait_for(&mut self, code: &'static str, text: String, commands: &mut Commands) {
        self.decide_text(code, text.clone(), None);
        self.waits_for = Some((code, text));
        self.end(Outcome::Waiting, commands);
    }

    /// Nothing has moved for longer than any rest takes.
    pub(super) fn stands_still(&self) -> bool {
        let settings = &self.setup.change.settings;
        self.now_ms - self.moved_ms > settings.soak_ms + settings.warm_up_ms + settings.bake_ms
    }

    /// The class that a stop names: the one its explanation calls the strongest, unless all strata together say more. Where the text speaks
    /// of the whole fleet, no class is at fault.
    fn strongest_class(&self) -> Option<String> {
        self.judge
            .explain()
            .findings
            .into_iter()
            .find_map(|finding| match finding {
                Finding::Strongest {
                    class,
                    fleet_wide: None,
                    ..
                } if class != self.tables.classes[0].name => Some(class),
                _ => None,
            })
    }

    /// A person said to leave what has not been reached.
    pub(super) fn leave_the_rest(&mut self) {
        let rest: Vec<TargetIndex> = (0u32..)
            .zip(&self.targets)
            .filter(|(_, target)| target.alive && !target.on_new && !target.owed && target.in_flight.is_none())
            .map(|(at, _)| TargetIndex(at))
            .collect();
        for target in rest {
            self.owe(target, true, "a person said to leave it".to_owned());
        }
        for lane in &mut self.lanes {
            lane.finish();
        }
        self.rest_is_left = true;
        self.end_holds_of_way_forward();
    }
}
