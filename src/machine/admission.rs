//! Whether a lane may start what waits in it now: the rules are asked, with what people have said, and its classes must have room.

use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{AppIndex, Event};
use unattended_defense::{Decision, Direction, Guard, Need, Verdict};

use crate::{HoldView, QuestionKind};

use super::autonomy::some_of;
use super::hold::{EndsBy, Hold, Rule, in_words};
use super::lanes::Lane;
use super::{Commands, Machine};

/// What a person's word makes of a decision that held a lane.
enum Lifted {
    /// Nothing of it is left, as it was in earlier versions.
    Whole,
    /// This much of it stays.
    To(Verdict),
}

/// Whether a person may say otherwise: a rule wants one, or cannot tell.
const fn is_for_people(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::NeedsPerson | Verdict::Unknown(_))
}

/// A question that comes to be about more rules is asked anew after so long: lanes come to theirs one after another.
const ASK_AGAIN_MS: u64 = 30 * 60_000;
/// How long a hold without a known end lasts before it is looked at again.
pub(super) const LOOK_AGAIN_MS: u64 = 10 * 60_000;

impl Machine {
    /// Asks the guard whether the lane may start its waiting targets now; keeps the frontier told.
    pub(super) fn admit(&mut self, lane: usize, app: AppIndex, waiting: u32) -> bool {
        let may = self.admit_by_rules(lane, app, waiting);
        self.compare_rules(lane, app, Direction::Forward, waiting, may);
        may && self.take_up(lane, app)
    }

    /// A lane that rules hold keeps no room in its classes: others take it, and nobody waits for whoever was to be the first of a class.
    fn withhold(&mut self, lane: usize) {
        if !self.decides_by(6) {
            return;
        }
        self.lanes[lane].withheld = true;
        for slice in 0..self.lanes[lane].opened {
            for at in 0..self.tables.slices[lane][slice].targets.len() {
                self.redeem(self.tables.slices[lane][slice].targets[at]);
            }
        }
        if self.decides_by(8) {
            self.give_back_of_newborns(lane);
        }
    }

    /// What rules held goes on as soon as all of its classes have room for it.
    fn take_up(&mut self, lane: usize, app: AppIndex) -> bool {
        if !self.lanes[lane].withheld {
            return true;
        }
        let mut wanted: BTreeMap<u32, u32> = BTreeMap::new();
        for target in self.tables.slices[lane][..self.lanes[lane].opened]
            .iter()
            .flat_map(|slice| &slice.targets)
        {
            let state = &self.targets[target.0 as usize];
            if state.may_be_promised() && !self.domains.is_away(*target) {
                for &class in &self.tables.strata_classes[state.stratum as usize] {
                    *wanted.entry(class).or_default() += 1;
                }
            }
        }
        let has_room =
            |(&class, &count): (&u32, &u32)| self.domains.is_dark(class) || self.class_has_room(class, count);
        if !wanted.iter().all(has_room) {
            self.frontier.on(Event::HeldUntil {
                app,
                until_ms: u64::MAX,
            });
            return false;
        }
        self.lanes[lane].withheld = false;
        for slice in 0..self.lanes[lane].opened {
            self.promise_slice(lane, slice);
        }
        self.take_room_for_newborns(lane);
        true
    }

    fn admit_by_rules(&mut self, lane: usize, app: AppIndex, waiting: u32) -> bool {
        if self.is_unruled() && self.lanes[lane].hold.is_none() {
            return true;
        }
        if let Some(hold) = &self.lanes[lane].hold
            && self.now_ms < hold.until_ms
        {
            return false;
        }
        let decision = self.answer_of(&self.setup.guard, app, Direction::Forward, waiting);
        let before = self.lanes[lane].hold.take().and_then(|hold| hold.record);
        let verdict = match self.lifted_by_word(lane, &decision) {
            Some(Lifted::Whole) => {
                self.frontier.on(Event::Released { app });
                return true;
            }
            Some(Lifted::To(verdict)) => verdict,
            None => decision.verdict,
        };
        if verdict.may_start()
            && let Some(at) = before
        {
            self.record.hold_ended(at, self.now_ms);
            // What was held did not stand still.
            self.moved_ms = self.now_ms;
        }
        match verdict {
            Verdict::Allow => {
                self.frontier.on(Event::Released { app });
                self.frontier.on(Event::Limited { app, n: None });
                true
            }
            Verdict::AllowLimited(n) if n > 0 => {
                self.frontier.on(Event::Released { app });
                self.frontier.on(Event::Limited { app, n: Some(n) });
                true
            }
            _ => {
                self.hold(lane, app, &decision, before);
                false
            }
        }
    }

    /// What a person's word for this slice makes of a decision of the rules. It satisfies a rule that wants a person, or that cannot
    /// tell; it lifts no denial, no window, and no limit of how many.
    fn lifted_by_word(&self, lane: usize, decision: &Decision) -> Option<Lifted> {
        if !self.lanes[lane].allowed_by_person {
            return None;
        }
        if self.decides_by(4) {
            let stays = decision.findings.iter().map(|finding| finding.verdict);
            let stays = stays.filter(|verdict| matches!(verdict, Verdict::AllowLimited(_)));
            return is_for_people(decision.verdict).then(|| Lifted::To(stays.fold(Verdict::Allow, Verdict::join)));
        }
        // It went further before: a hold without a known end was lifted, and a limit.
        let held = matches!(decision.verdict, Verdict::Deny | Verdict::Hold { until: Some(_) });
        (decision.next_feasible.is_none() && !held).then_some(Lifted::Whole)
    }

    /// What these rules say of a lane of which so many wait.
    pub(super) fn answer_of(&self, guard: &Guard, app: AppIndex, direction: Direction, waiting: u32) -> Decision {
        if direction == Direction::Forward {
            let whole = self.ask_rules_of(guard, app, direction, self.need(app, waiting), waiting);
            if whole.verdict.may_start() || whole.next_feasible.is_some() {
                return whole;
            }
        }
        // A batch too long for every window goes in pieces that fit: one wave at a time.
        let at_once = self.setup.plan.app_cap(app).max(1).min(waiting);
        self.ask_rules_of(guard, app, direction, self.wave(), at_once)
    }

    /// What is left of a decision of rules with a person's word for this slice, if there is one.
    pub(super) fn verdict_with_word(&self, lane: usize, decision: &Decision) -> Verdict {
        match self.lifted_by_word(lane, decision) {
            Some(Lifted::Whole) => Verdict::Allow,
            Some(Lifted::To(verdict)) => verdict,
            None => decision.verdict,
        }
    }

    /// Whether a person's word for this slice lets start what the rules say this of.
    pub(super) fn word_lets(&self, lane: usize, decision: &Decision) -> bool {
        matches!(self.lifted_by_word(lane, decision), Some(Lifted::To(verdict)) if verdict.may_start())
    }

    /// Holds the lane. `before` is the record of the hold it comes out of, if it does.
    fn hold(&mut self, lane: usize, app: AppIndex, decision: &Decision, before: Option<u64>) {
        // The end of a hold is the rules' to say, not the clock's: who is asked again may hold it longer.
        let until_ms = u64::MAX;
        self.frontier.on(Event::HeldUntil { app, until_ms });
        self.withhold(lane);
        self.lanes[lane].hold = Some(self.hold_by(app, decision, before));
    }

    /// The hold of a lane that a decision of the rules makes, and its record.
    pub(super) fn hold_by(&mut self, app: AppIndex, decision: &Decision, before: Option<u64>) -> Hold {
        let ends = match decision.verdict {
            Verdict::Hold { until: Some(_) } if self.never_opens(app, decision) => None,
            Verdict::Hold { until } => decision.next_feasible.or(until).map(|until| self.run_ms(until)),
            _ => None,
        };
        let until_ms = ends
            .filter(|&end| end > self.now_ms)
            .unwrap_or(self.now_ms + LOOK_AGAIN_MS);
        let finding = decision.findings.first();
        let against = decision.findings.iter().filter(|finding| !finding.verdict.may_start());
        let rules = against
            .map(|finding| (finding.rule.clone(), finding.owner.clone()))
            .collect();
        let hold = HoldView {
            lane: self.setup.change.fleet.app_name(app).to_owned(),
            by: finding.map_or_else(|| decision.verdict.why(), |finding| finding.rule.clone()),
            reason: finding.map_or_else(|| decision.why(), |finding| finding.reason.clone()),
            owner: finding.map_or_else(String::new, |finding| finding.owner.clone()),
            from_ms: self.now_ms,
            until_ms: ends,
        };
        let (record, view) = self.record.hold(hold, before, self.decides_by(5));
        let ends_by = match ends {
            Some(_) => EndsBy::Time,
            // What is asked must be what the answer can change. Earlier versions asked of all that has no end.
            None if !self.decides_by(4) => EndsBy::Word,
            // Where the word was given, it is something else that holds.
            None if is_for_people(decision.verdict) && !self.lanes[app.0 as usize].allowed_by_person => EndsBy::Word,
            None => EndsBy::Rules,
        };
        Hold {
            until_ms,
            ends_by,
            back: false,
            view: Box::new(view),
            rules,
            record,
        }
    }

    /// Whether the rules would let the lane start something now.
    pub(super) fn would_admit(&self, app: AppIndex) -> bool {
        self.decide_lane(app, self.wave()).verdict.may_start()
    }

    fn decide_lane(&self, app: AppIndex, need: Need) -> Decision {
        self.ask_rules(&self.setup.guard, app, Direction::Forward, need)
    }

    /// What holds a lane, in a few words.
    pub(super) fn held_by(&self, lane: usize, direction: Direction) -> String {
        self.hold_of(lane, direction).map(Hold::view).map_or_else(
            || "held".to_owned(),
            |hold| format!("held by {}: {}", hold.by, hold.reason),
        )
    }

    /// The rule that is told to hold a lane, and whose it is.
    pub(super) fn holder(&self, lane: usize, direction: Direction) -> Option<Rule> {
        let hold = self.hold_of(lane, direction)?.view();
        Some((hold.by.clone(), hold.owner.clone()))
    }

    fn hold_of(&self, lane: usize, direction: Direction) -> Option<&Hold> {
        let lane = &self.lanes[lane];
        match direction {
            Direction::Forward => lane.hold.as_ref(),
            Direction::Rollback => lane.held_back(),
        }
    }

    /// The room that a lane's waiting targets need: so many waves of its allowance, forward and, if need be, back.
    pub(super) fn need(&self, app: AppIndex, waiting: u32) -> Need {
        let at_once = self.setup.plan.app_cap(app).max(1);
        let waves = u64::from(waiting.div_ceil(at_once));
        let ms = waves * self.setup.change.settings.attempt_estimate_ms;
        Need {
            batch_ms: ms,
            rollback_ms: ms,
        }
    }

    /// The room for the least there is: one attempt and its rollback.
    pub(super) const fn wave(&self) -> Need {
        let ms = self.setup.change.settings.attempt_estimate_ms;
        Need {
            batch_ms: ms,
            rollback_ms: ms,
        }
    }

    /// Asks a person for the lanes that only a person can let go.
    pub(super) fn ask_for_lanes(&mut self, commands: &mut Commands) {
        let waiting = self.lanes.iter().filter(|lane| lane.needs_person()).count();
        let rules: BTreeSet<Rule> = self.lanes.iter().filter_map(Lane::wants_by).collect();
        if self.decides_by(7) && self.questions.about.rules.is_disjoint(&rules) {
            // Nothing of what was asked about waits any more.
            self.questions.close(QuestionKind::RuleWantsPerson);
        }
        let asked_ms = self.questions.asked_ms(QuestionKind::RuleWantsPerson);
        if self.decides_by(8)
            && !rules.is_subset(&self.questions.about.rules)
            && asked_ms.is_some_and(|asked_ms| self.now_ms >= asked_ms + ASK_AGAIN_MS)
        {
            // Somebody else is to be asked too, and does not wait for the answer of those who were.
            self.questions.close(QuestionKind::RuleWantsPerson);
        }
        if waiting == 0 {
            if self.decides_by(4) {
                self.questions.close(QuestionKind::RuleWantsPerson);
            }
            return;
        }
        // A yes is for all of them, so all are named.
        let by: Vec<String> = rules.iter().map(in_words).collect();
        let by = if self.decides_by(9) {
            by.join(", ")
        } else {
            some_of(&by)
        };
        let first = self.lanes.iter().position(Lane::needs_person);
        let name = first.map_or("", |lane| {
            self.setup
                .change
                .fleet
                .app_name(AppIndex(u32::try_from(lane).unwrap_or(u32::MAX)))
        });
        let (text, otherwise) = if waiting == 1 && self.decides_by(9) {
            (
                format!("{name} needs a person's word by the rules ({by}): let it go on?"),
                "it stays where it is, the others go on",
            )
        } else if waiting == 1 && self.decides_by(7) {
            (
                format!("{name} needs a person's word by the rules: let it go on?"),
                "it stays where it is, the others go on",
            )
        } else if self.decides_by(8) {
            (
                format!("{waiting} lanes need a person's word by the rules ({by}), {name} among them: let them go on?"),
                "these lanes stay where they are, the others go on",
            )
        } else {
            (
                format!("{waiting} lanes need a person's word by the rules, {name} among them: let them go on?"),
                "these lanes stay where they are, the others go on",
            )
        };
        if self.ask(QuestionKind::RuleWantsPerson, text, otherwise.to_owned(), commands) {
            self.questions.about.rules = rules;
        }
    }

    /// A person let the lanes go that wait by the rules they were asked about, as far as that is for a person to say: the rules are asked
    /// again before they start. What another rule has come to hold since may be another team's, and is asked about by itself.
    pub(super) fn allow_by_person(&mut self) {
        let meant = std::mem::take(&mut self.questions.about.rules);
        for lane in 0..self.lanes.len() {
            let is_meant = self.lanes[lane]
                .wants_by()
                .is_some_and(|by| !self.decides_by(7) || meant.contains(&by));
            if is_meant {
                let hold = self.lanes[lane].hold.take();
                if let Some(at) = hold.and_then(|hold| hold.record) {
                    self.record.hold_ended(at, self.now_ms);
                }
                self.lanes[lane].allowed_by_person = true;
                if !self.decides_by(4) {
                    let app = AppIndex(u32::try_from(lane).unwrap_or(u32::MAX));
                    self.frontier.on(Event::Released { app });
                }
                self.scan_due |= self.decides_by(4);
            }
        }
    }
}
