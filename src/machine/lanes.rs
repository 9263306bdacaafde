//! Lanes: each application's own way through the plan, under its own windows.

use std::collections::BTreeMap;

use unattended_batching::{AppIndex, Blocked, Event};
use unattended_defense::{Decision, Direction, Guard, Need, Verdict};

use crate::{HoldView, QuestionKind};

use super::hold::{EndsBy, Hold};
use super::tables::Slice;
use super::{Commands, Machine};

/// What the machine remembers of a lane beyond the frontier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    /// How many of its slices have been opened.
    pub(super) opened: usize,
    /// Since when all targets of its open slices are done; `None` while it works or has not begun.
    rests_since: Option<u64>,
    finished: bool,
    pub(super) hold: Option<Hold>,
    /// What was to start when the rules came to hold it counts no more against the room of its classes, and has to take that again.
    withheld: bool,
    /// What holds its way back; in changes of earlier versions that is in `hold`, too.
    back_hold: Option<Hold>,
    /// Since when unhealthy targets eat its whole allowance.
    pub(crate) blocked_since: Option<u64>,
    /// A person lifted what only a person could lift.
    allowed_by_person: bool,
    /// What the last look found ahead of it.
    ahead: Option<Ahead>,
}

/// The next slice of a lane. Most lanes rest at most times and wait for a class; each look at one would read slices and lists of
/// classes that lie far apart in memory, to find the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ahead {
    /// What it was found for: so many slices opened, of these tables.
    opened: usize,
    revision: u32,
    /// Its place, and its batch if there is one.
    next: usize,
    batch: Option<u16>,
    /// A class that did not admit it, with how many it has of that: asked first the next time.
    shut: Option<(u32, u32)>,
}

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

/// How long a hold without a known end lasts before it is looked at again.
pub(super) const LOOK_AGAIN_MS: u64 = 10 * 60_000;

impl Machine {
    /// Opens slices, holds lanes, and hands out what may start.
    pub(super) fn advance_lanes(&mut self, commands: &mut Commands) {
        if std::mem::take(&mut self.scan_due) || self.a_hold_ends() {
            for class in &mut self.classes {
                class.was_busy = std::mem::replace(&mut class.busy, false);
            }
            self.forget_wanted();
            self.take_in_again();
            let calm = self.is_calm();
            for lane in 0..self.lanes.len() {
                if !self.lanes[lane].finished {
                    self.advance_lane(lane, calm);
                }
            }
            self.ask_for_lanes(commands);
            self.check_evidence_patience(commands);
            self.ask_for_batch(commands);
        }
        self.start_forward(commands);
    }

    /// Some lane is to be asked about again. That must not wait for the next interval of metrics.
    fn a_hold_ends(&self) -> bool {
        let ends = |hold: &Hold| !hold.back && hold.is_over(self.now_ms);
        !self.is_unruled() && (self.lanes.iter()).any(|lane| !lane.finished && lane.hold.as_ref().is_some_and(ends))
    }

    /// Whether so much speaks against the release in an application alone that its lane does not grow.
    fn is_suspect(&self, app: AppIndex) -> bool {
        self.judge.app_ln_e(app.0) >= libm::log(self.setup.change.settings.caution_e)
            && !self.is_stale(|judge| judge.app_settled_ln_e(app.0))
    }

    /// The applications that are kept from growing by that, with the logarithm of the evidence, the worst first.
    pub(super) fn suspects(&self) -> Vec<(AppIndex, f64)> {
        let mut suspects: Vec<(AppIndex, f64)> = (0u32..)
            .zip(&self.lanes)
            .filter(|(app, lane)| !lane.finished && self.is_suspect(AppIndex(*app)))
            .map(|(app, _)| (AppIndex(app), self.judge.app_ln_e(app)))
            .collect();
        suspects.sort_by(|a, b| b.1.total_cmp(&a.1));
        suspects
    }

    fn advance_lane(&mut self, lane: usize, calm: bool) {
        let app = AppIndex(u32::try_from(lane).unwrap_or(u32::MAX));
        let (waiting, in_flight) = self.frontier.at_work(app);
        if waiting == 0 {
            self.rest_from_rules(lane);
        }
        if waiting > 0 && self.lanes[lane].opened > 0 {
            let blocked = self.frontier.lane(app).blocked;
            self.lanes[lane].rests_since = None;
            let admitted = self.admit(lane, app, waiting);
            // A pin ends by itself, and its owner knows of it.
            let blocked = blocked.is_some_and(|why| !matches!(why, Blocked::Pinned { .. }));
            self.watch_blockade(lane, app, blocked && in_flight == 0);
            if admitted {
                self.mark_busy(lane);
            }
            return;
        }
        if in_flight > 0 {
            self.lanes[lane].rests_since = None;
            self.mark_busy(lane);
            return;
        }
        let rests_since = *self.lanes[lane].rests_since.get_or_insert(self.now_ms);
        let opened = self.lanes[lane].opened;
        let ahead = self.ahead(lane);
        let next = ahead.next;
        let Some(batch) = ahead.batch else {
            self.opens(lane, app, next);
            // Those born into batches that this lane never opened, as it came to its end before, are still to do.
            match self.frontier.lane(app).next_nonempty_batch {
                Some(batch) => self.open_upto(app, batch),
                None => self.lanes[lane].finished = true,
            }
            return;
        };
        let settings = &self.setup.change.settings;
        let rested =
            opened == 0 || self.seen_until_ms().saturating_sub(rests_since) >= settings.warm_up_ms + settings.bake_ms;
        if !self.classes_admit(lane, ahead, batch) {
            return;
        }
        let goes_on = rested && calm && (self.evidence_is_overruled() || !self.is_suspect(app));
        let size = self.tables.slices[lane][next].size();
        let may_open = goes_on && self.may_open(batch, size);
        // Whoever waits for a person's word is not at work: marked as such, it would shut its own classes until the next look, and the
        // question would come and go.
        if !goes_on || may_open || !self.decides_by(5) {
            self.mark_busy(lane);
        }
        if !may_open || self.decides_by(2) && self.has_begun_to_interfere() {
            return;
        }
        self.opens(lane, app, next + 1);
        self.lanes[lane].rests_since = None;
        self.promise_slice(lane, next);
        self.lanes[lane].allowed_by_person = false;
        self.moved_ms = self.now_ms;
        self.open_upto(app, batch);
        self.record.lane_opened(self.now_ms, batch, u64::from(size));
        let waiting = self.frontier.lane(app).waiting_in_open;
        if waiting > 0 {
            self.admit(lane, app, waiting);
        }
    }

    /// The lane's next slice that anything of is left in; their number where there is none.
    pub(super) fn next_slice(&self, lane: usize) -> usize {
        let slices = &self.tables.slices[lane];
        let opened = self.lanes[lane].opened;
        let left = slices.iter().skip(opened).position(|slice| !slice.targets.is_empty());
        left.map_or(slices.len(), |next| opened + next)
    }

    /// The lane's next slice, found once for as long as it stays the next.
    fn ahead(&mut self, lane: usize) -> Ahead {
        let (opened, revision) = (self.lanes[lane].opened, self.tables.revision);
        if let Some(ahead) = self.lanes[lane].ahead
            && (ahead.opened, ahead.revision) == (opened, revision)
        {
            return ahead;
        }
        let next = self.next_slice(lane);
        let batch = self.tables.slices[lane].get(next).map(|slice| slice.batch);
        let ahead = Ahead {
            opened,
            revision,
            next,
            batch,
            shut: None,
        };
        self.lanes[lane].ahead = Some(ahead);
        ahead
    }

    /// Whether every class that the slice ahead enlarges admits it. Which of them is asked first makes no difference.
    fn classes_admit(&mut self, lane: usize, ahead: Ahead, batch: u16) -> bool {
        let admits =
            |&(class, count): &(u32, u32)| self.domains.is_dark(class) || self.class_admits(class, batch, count);
        if ahead.shut.is_some_and(|shut| !admits(&shut)) {
            return false;
        }
        let slice = &self.tables.slices[lane][ahead.next];
        let shut = slice.classes.iter().copied().find(|of| !admits(of));
        self.lanes[lane].ahead = Some(Ahead { shut, ..ahead });
        shut.is_none()
    }

    /// So many of the lane's slices are open.
    fn opens(&mut self, lane: usize, app: AppIndex, slices: usize) {
        if std::mem::replace(&mut self.lanes[lane].opened, slices) == 0 {
            self.frontier.on(Event::Released { app });
        }
    }

    /// Opens a lane up to a batch. A singleton's turn may come after the plan's last.
    fn open_upto(&mut self, app: AppIndex, batch: u16) {
        while self.frontier.lane(app).open_batch < batch {
            let before = self.frontier.lane(app).open_batch;
            self.frontier.on(Event::Promoted { app, at: self.now_ms });
            if self.frontier.lane(app).open_batch == before {
                break;
            }
        }
    }

    /// The lane is at work, or will be without waiting for anybody: its classes' stages are not idle.
    fn mark_busy(&mut self, lane: usize) {
        let present = self.lanes[lane].opened.checked_sub(1);
        let next = self.ahead(lane).next;
        let slices = &self.tables.slices[lane];
        // The slice being worked on, and the next.
        for slice in present.into_iter().chain([next]).filter_map(|at| slices.get(at)) {
            for &(class, _) in &slice.classes {
                self.classes[class as usize].busy = true;
            }
        }
    }

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
            let whole = self.ask_rules(guard, app, direction, self.need(app, waiting));
            if whole.verdict.may_start() || whole.next_feasible.is_some() {
                return whole;
            }
        }
        // A batch too long for every window goes in pieces that fit: one wave at a time.
        self.ask_rules(guard, app, direction, self.wave())
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
            Verdict::Hold { until } => decision.next_feasible.or(until).map(|until| self.run_ms(until)),
            _ => None,
        };
        let until_ms = ends
            .filter(|&end| end > self.now_ms)
            .unwrap_or(self.now_ms + LOOK_AGAIN_MS);
        let finding = decision.findings.first();
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
        let lane = &self.lanes[lane];
        let hold = match direction {
            Direction::Forward => lane.hold.as_ref(),
            Direction::Rollback => lane.held_back(),
        };
        hold.map(Hold::view).map_or_else(
            || "held".to_owned(),
            |hold| format!("held by {}: {}", hold.by, hold.reason),
        )
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

    /// A lane whose whole allowance is eaten by unhealthy targets is given time, then its rest becomes debt.
    fn watch_blockade(&mut self, lane: usize, app: AppIndex, blocked: bool) {
        if !blocked {
            self.lanes[lane].blocked_since = None;
            return;
        }
        let since = *self.lanes[lane].blocked_since.get_or_insert(self.now_ms);
        if self.now_ms - since < self.setup.change.settings.blocked_patience_ms {
            return;
        }
        let left: Vec<_> = self.unfinished_of(app).collect();
        let reason = "unhealthy targets of its application use up the whole allowance of unavailable ones".to_owned();
        for target in left {
            self.owe(target, true, reason.clone());
        }
        self.lanes[lane].opened = self.tables.slices[lane].len();
        self.lanes[lane].blocked_since = None;
    }

    /// Asks a person for the lanes that only a person can let go.
    fn ask_for_lanes(&mut self, commands: &mut Commands) {
        let waiting = self.lanes.iter().filter(|lane| lane.needs_person()).count();
        if waiting == 0 {
            if self.decides_by(4) {
                self.questions.close(QuestionKind::RuleWantsPerson);
            }
            return;
        }
        let first = self.lanes.iter().position(Lane::needs_person);
        let name = first.map_or("", |lane| {
            self.setup
                .change
                .fleet
                .app_name(AppIndex(u32::try_from(lane).unwrap_or(u32::MAX)))
        });
        let text = format!("{waiting} lanes need a person's word by the rules, {name} among them: let them go on?");
        self.ask(
            QuestionKind::RuleWantsPerson,
            text,
            "these lanes stay where they are, the others go on".to_owned(),
            commands,
        );
    }

    /// A person let the lanes go that needed one, as far as that is for a person to say: the rules are asked again before they start.
    pub(super) fn allow_by_person(&mut self) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].needs_person() {
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

    /// Whether every lane has gone its whole way.
    pub(super) fn all_lanes_finished(&self) -> bool {
        self.lanes.iter().all(|lane| lane.finished) && !self.domains.has_away()
    }
}

impl Lane {
    /// Nothing of it has been opened yet.
    pub(super) const fn is_untouched(&self) -> bool {
        self.opened == 0
    }

    /// A lane at the beginning. Batch 0 is open for everybody.
    pub(super) fn new(slices: &[Slice]) -> Self {
        let opened = usize::from(slices.first().is_some_and(|slice| slice.batch == 0));
        Self {
            opened,
            ..Self::default()
        }
    }

    /// Only a person's word lets it go on.
    pub(super) fn needs_person(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::needs_person)
    }

    /// What holds it, either way.
    pub(super) fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.hold.iter().chain(&self.back_hold)
    }

    /// What holds its way back.
    pub(super) fn held_back(&self) -> Option<&Hold> {
        self.holds().find(|hold| hold.back)
    }

    /// Where that is kept: apart from what holds the way forward, or in its place.
    pub(super) const fn hold_of_way_back(&mut self, apart: bool) -> &mut Option<Hold> {
        if apart { &mut self.back_hold } else { &mut self.hold }
    }

    /// It is not done, and no rule holds it.
    pub(super) fn waits_unheld(&self) -> bool {
        !self.finished && self.holds().next().is_none()
    }

    /// It is held, and it is known until when.
    pub(super) fn waits_for_a_window(&self) -> bool {
        self.holds().any(|hold| !hold.is_endless())
    }

    /// What it is held by may have changed: its rules are asked again.
    pub(super) fn ask_again(&mut self, now_ms: u64) {
        for hold in self.hold.iter_mut().chain(&mut self.back_hold) {
            hold.until_ms = hold.until_ms.min(now_ms);
        }
    }

    /// Who rests does so from now on.
    pub(super) fn rest_anew(&mut self, now_ms: u64) {
        self.rests_since = self.rests_since.map(|_| now_ms);
    }

    /// Somebody was born into it who has to be upgraded.
    pub(super) const fn wake(&mut self) {
        self.finished = false;
    }

    /// Its rules let nothing of it start now, as was found at the last look.
    pub(super) fn is_held(&self, now_ms: u64) -> bool {
        self.hold
            .as_ref()
            .is_some_and(|hold| !hold.back && !hold.is_over(now_ms))
    }

    /// A person let go what wanted a person.
    pub(super) const fn is_allowed_by_person(&self) -> bool {
        self.allowed_by_person
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Nothing more of it is started.
    pub(super) const fn finish(&mut self) {
        self.finished = true;
    }

    /// Time alone does not cure it.
    pub(super) fn is_stuck(&self) -> bool {
        self.blocked_since.is_some() || self.holds().any(Hold::is_endless)
    }
}
