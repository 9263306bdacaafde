//! Steps that people take: at L1 the autopilot carries them out at a word for each target, at L0 people do and it looks.

use unattended_batching::{Event, TargetIndex};
use unattended_upgrade::{TargetId, Version};

use crate::level::Act;
use crate::{Actor, Offer, QuestionKind};

use super::autonomy::some_of;
use super::gate::Kept;
use super::span::span;
use super::{Check, Commands, Course, Direction, Machine};

/// Targets that a person is offered at once, at the most: as many as somebody can keep in view.
pub(super) const OFFERS: usize = 64;

/// A step that a person may take, or has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    direction: Direction,
    /// Since when a person has said to do it, or to have done it.
    word_ms: Option<u64>,
}

impl Machine {
    /// It may be done now, by whoever has to do it or to say so.
    pub(super) fn offer(&mut self, target: TargetIndex, direction: Direction) {
        let offered = Offered {
            direction,
            word_ms: None,
        };
        self.autonomy.offered.insert(target, offered);
    }

    /// What is offered and nobody has taken.
    pub(super) fn open_offers(&self) -> Vec<(TargetIndex, Direction)> {
        let open = (self.autonomy.offered.iter()).filter(|(_, offer)| offer.word_ms.is_none());
        open.map(|(&target, offer)| (target, offer.direction)).collect()
    }

    /// It may not be done now after all, and is offered again when it may.
    pub(super) fn withdraw_offer(&mut self, target: TargetIndex, direction: Direction) {
        self.autonomy.offered.remove(&target);
        match (direction, self.course) {
            (Direction::Forward, _) => self.give_back(target),
            (Direction::Back, Course::Back) => self.parked.push(target),
            // Who goes back with its class is still among those that are to.
            (Direction::Back, Course::Forward | Course::Ended(_)) => {}
        }
    }

    /// The target is on its way to the new version.
    pub(super) fn note_start(&mut self, target: TargetIndex) {
        self.touch(target);
        let batch = self.frontier.lane(self.app_of(target)).open_batch;
        self.record.started(self.now_ms, batch);
        match self.autonomy.starts.back_mut() {
            Some((at, n)) if self.now_ms < *at + 60_000 => *n += 1,
            _ => self.autonomy.starts.push_back((self.now_ms, 1)),
        }
    }

    /// An attempt that was decided then was called off: it takes nothing of the budget of its day.
    pub(super) fn give_start_back(&mut self, started_ms: u64) {
        if !self.decides_by(9) {
            return;
        }
        let mut starts = self.autonomy.starts.iter_mut().rev();
        if let Some((_, n)) = starts.find(|(at, n)| *at <= started_ms && *n > 0) {
            *n -= 1;
        }
    }

    /// A person takes a step: at L1 it is done at this word, at L0 it is said to be done.
    pub(super) fn step(&mut self, actor: &Actor, name: &str) {
        if self.may(Act::Start) {
            let text = format!(
                "{name} is not a person's step: at {} targets start by themselves",
                self.level()
            );
            self.decide_text("step.refused", text, None);
            return;
        }
        let by_hand = !self.may(Act::Effect);
        let now_ms = self.now_ms;
        let target = self.index(name);
        let open = self.offers_are_open();
        let offered = target
            .filter(|_| open)
            .and_then(|target| self.autonomy.offered.get(&target).map(|&offered| (target, offered)));
        let Some((target, offered)) = offered else {
            let held = target.and_then(|target| self.held_there(target));
            let held = held.map_or_else(String::new, |held| format!(": {held}"));
            let held = match target.filter(|&target| by_hand && self.may_be_done_unasked(target)) {
                None => held,
                Some(target) => {
                    self.done_unasked(target);
                    let (from, to) = (&self.setup.change.from, &self.setup.change.to);
                    format!(
                        "{held}; it may run {to} from now on, and is among those that go back to {from} with the change"
                    )
                }
            };
            let text = format!("{name} is not among the targets that plan, rules and evidence let change now{held}");
            self.decide_text("step.refused", text, None);
            return;
        };
        if offered.word_ms.is_some() {
            return;
        }
        // What people have done with their own hands is so, whatever the rules say of it.
        if self.decides_by(6)
            && !by_hand
            && let Some(kept) = self.kept(target, offered.direction)
        {
            return self.refuse_step(target, offered.direction, kept);
        }
        if let Some(offered) = self.autonomy.offered.get_mut(&target) {
            offered.word_ms = Some(now_ms);
        }
        let forward = offered.direction == Direction::Forward;
        self.moved_ms = now_ms;
        if by_hand && forward {
            // Whatever a look will show: it may run the new version from now on.
            self.note_start(target);
        }
        let change = &self.setup.change;
        let version = if forward { &change.to } else { &change.from };
        let how = if by_hand { "by hand" } else { "at this word" };
        self.record
            .step_taken(now_ms, &format!("to {version} {how}, says {actor}"));
    }

    /// Whether what somebody says to have done by hand, and was not to, can be so: nothing is known of it yet.
    fn may_be_done_unasked(&self, target: TargetIndex) -> bool {
        let state = self.targets[target.0 as usize];
        let is_known = match self.course {
            Course::Forward => state.touched,
            Course::Back | Course::Ended(_) => state.ever_touched,
        };
        self.decides_by(7) && state.alive && state.in_flight.is_none() && !is_known
    }

    /// What hands have done is so, whoever refuses the word for it: a step that was offered a moment ago, and not any more.
    fn done_unasked(&mut self, target: TargetIndex) {
        self.touch(target);
        if self.course == Course::Back {
            self.goes_back_unplanned(target);
        } else {
            self.done_by_hand.push(target);
        }
    }

    /// The way back has begun: it is theirs, too.
    pub(super) fn take_back_what_was_done_unasked(&mut self) {
        for target in std::mem::take(&mut self.done_by_hand) {
            let state = self.targets[target.0 as usize];
            if state.alive && state.touched && !state.on_new && state.in_flight.is_none() {
                self.goes_back_unplanned(target);
            }
        }
    }

    fn goes_back_unplanned(&mut self, target: TargetIndex) {
        self.set_on_new(target, true);
        self.again.push(target);
    }

    /// Carries out what people said of single targets: starts them, or has those looked at that are said to be done.
    pub(super) fn take_steps(&mut self, commands: &mut Commands) {
        self.withdraw_held_offers();
        if self.autonomy.offered.is_empty() {
            self.questions.close(QuestionKind::Steps);
            return;
        }
        if self.may(Act::Effect) {
            self.start_offered(commands);
        } else {
            let said = |offer: &Offered| offer.word_ms.is_some();
            if let Some(direction) = self.first_way(said) {
                let hides = self.hides();
                let targets: Vec<TargetId> = (self.autonomy.offered.iter())
                    .filter(|(target, offer)| said(offer) && offer.direction == direction && hides(**target).is_none())
                    .map(|(&target, _)| TargetId::from(self.name(target)))
                    .collect();
                drop(hides);
                if !targets.is_empty() {
                    self.autonomy.looks = Some(direction);
                    commands.check = Some(Check {
                        targets,
                        version: self.version_of(direction).clone(),
                        any: false,
                    });
                }
            }
        }
        self.ask_for_steps(commands);
    }

    /// Starts what a person gave the word for; where none is needed any more, whatever was offered.
    fn start_offered(&mut self, commands: &mut Commands) {
        let all = self.may(Act::Start);
        let offered = std::mem::take(&mut self.autonomy.offered);
        if !self.decides_by(6) {
            for (target, offer) in offered {
                if all || offer.word_ms.is_some() {
                    self.start_as_before(target, offer.direction, commands);
                } else {
                    self.autonomy.offered.insert(target, offer);
                }
            }
            return;
        }
        for (target, offer) in offered {
            let direction = offer.direction;
            if offer.word_ms.is_some() {
                match self.start_at_word(target, direction, commands) {
                    Ok(()) => {}
                    // It waits for the end of that: the word was for this step, whenever it may be.
                    Err(Kept::Halt) => {
                        self.autonomy.offered.insert(target, offer);
                    }
                    Err(kept) => self.refuse_step(target, direction, kept),
                }
            } else if all {
                // It starts as everything does that needs no word.
                self.withdraw_offer(target, direction);
            } else {
                self.autonomy.offered.insert(target, offer);
            }
        }
    }

    /// What rules hold a target by that is not offered, if they do.
    fn held_there(&self, target: TargetIndex) -> Option<String> {
        let lane = self.app_of(target).0 as usize;
        let is_held = self.decides_by(6) && self.lanes.get(lane)?.is_held(self.now_ms);
        is_held.then(|| self.held_by(lane, unattended_defense::Direction::Forward))
    }

    /// A person's word does not let it go: something has changed since it was offered.
    fn refuse_step(&mut self, target: TargetIndex, direction: Direction, kept: Kept) {
        let why = match kept {
            Kept::Halt => "what goes forward has been stopped".to_owned(),
            Kept::Domain => "its domain has no turn, or cannot be reached".to_owned(),
            Kept::Rules => {
                let rules = match direction {
                    Direction::Forward => unattended_defense::Direction::Forward,
                    Direction::Back => unattended_defense::Direction::Rollback,
                };
                self.held_by(self.app_of(target).0 as usize, rules)
            }
        };
        let text = format!(
            "{} was offered, and may not be changed now: {why}; it is offered again when it may",
            self.name(target)
        );
        self.decide_text("step.refused", text, None);
        self.withdraw_offer(target, direction);
    }

    /// The way of those offers that are so: a class may go back while others go forward, and what goes back comes first.
    fn first_way(&self, so: impl Fn(&Offered) -> bool) -> Option<Direction> {
        let ways = || self.autonomy.offered.values().filter(|offer| so(offer));
        let back = ways().any(|offer| offer.direction == Direction::Back);
        match back {
            true => Some(Direction::Back),
            false => ways().next().map(|offer| offer.direction),
        }
    }

    const fn version_of(&self, direction: Direction) -> &Version {
        match direction {
            Direction::Forward => &self.setup.change.to,
            Direction::Back => &self.setup.change.from,
        }
    }

    /// Whether somebody has been offered it, and it is not done.
    pub(super) fn is_offered(&self, target: TargetIndex) -> bool {
        self.autonomy.offered.contains_key(&target)
    }

    fn ask_for_steps(&mut self, commands: &mut Commands) {
        let way = self.first_way(|offer| offer.word_ms.is_none());
        let open: Vec<&str> = self
            .autonomy
            .offered
            .iter()
            .filter(|(_, offer)| offer.word_ms.is_none() && Some(offer.direction) == way)
            .map(|(&target, _)| self.name(target))
            .collect();
        if !self.offers_are_open() {
            return;
        }
        let asked = self.questions.has(QuestionKind::Steps);
        if open.is_empty() || asked {
            if open.is_empty() {
                self.questions.close(QuestionKind::Steps);
            }
            return;
        }
        let version = self.version_of(way.unwrap_or(Direction::Forward));
        let how = if self.may(Act::Effect) {
            "upgraded at your word for each"
        } else {
            "upgraded by hand"
        };
        let text = format!(
            "{} may be {how} to {version} now, {}: which?",
            self.so_many(open.len(), "target"),
            some_of(&open)
        );
        self.ask(QuestionKind::Steps, text, "nothing more changes".to_owned(), commands);
    }

    /// What a look has shown of the targets that a person said are done. Whether it was such a look.
    pub(super) fn seen_by_hand(&mut self, wrong: &[(String, String)]) -> bool {
        let Some(direction) = self.autonomy.looks.take() else {
            return false;
        };
        let patience = self.setup.change.settings.attempt_estimate_ms;
        let hides = self.hides();
        let said: Vec<(TargetIndex, Offered)> = (self.autonomy.offered.iter())
            .filter(|(_, offer)| offer.word_ms.is_some() && offer.direction == direction)
            .filter(|(target, _)| hides(**target).is_none())
            .map(|(&target, &offer)| (target, offer))
            .collect();
        drop(hides);
        let blocked_patience = self.setup.change.settings.blocked_patience_ms;
        for (target, offer) in said {
            let name = self.name(target).to_owned();
            if self.unseen.contains_key(&name) {
                // Nothing is known against the release; nor does anybody who does not answer keep the change open.
                let since_ms = offer.word_ms.unwrap_or(self.now_ms);
                if self.now_ms - since_ms >= blocked_patience {
                    self.autonomy.offered.remove(&target);
                    if offer.direction == Direction::Back {
                        self.frontier.on(Event::RollbackFailed { id: target });
                    }
                    let since = span(self.now_ms - since_ms);
                    let why = format!("it was said to be done {since} ago, and no look at it has been answered");
                    self.owe(target, true, why);
                }
                continue;
            }
            match wrong.iter().find(|(wrong, _)| *wrong == name) {
                None => {
                    self.autonomy.offered.remove(&target);
                    match offer.direction {
                        Direction::Forward => self.arrived(target),
                        Direction::Back => self.is_back_by_hand(target),
                    }
                }
                Some((_, why)) if offer.word_ms.is_some_and(|at| self.now_ms >= at + patience) => {
                    let text = format!("{name} was said to be done and is not: {why}");
                    self.decide_text("step.unverified", text, None);
                    self.hand_failed(target, offer.direction, why);
                    if offer.direction == Direction::Back && self.is_not_back_by_hand(target, why) {
                        self.autonomy.offered.remove(&target);
                    } else if let Some(offer) = self.autonomy.offered.get_mut(&target) {
                        offer.word_ms = None;
                    }
                }
                Some(_) => {}
            }
        }
        true
    }

    /// What was changed by hand does not work where the old version did: that speaks against the release as a failed attempt does.
    fn hand_failed(&mut self, target: TargetIndex, direction: Direction, why: &str) {
        let fleet = &self.setup.change.fleet;
        let was_well = (target.0 as usize) >= fleet.len() || fleet.ready(target);
        if direction == Direction::Forward && was_well {
            let why = format!("{} (by hand): {why}", self.name(target));
            self.start_failures.failed_by_hand(target, why);
        }
    }

    /// Nothing is to be done while it is frozen, or while somebody decides whether to go back.
    const fn offers_are_open(&self) -> bool {
        !self.is_halted() && !self.stop_pending()
    }

    /// What is offered to people now.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        if !self.offers_are_open() {
            return Vec::new();
        }
        let open = self
            .autonomy
            .offered
            .iter()
            .filter(|(_, offer)| offer.word_ms.is_none());
        open.map(|(&target, offer)| Offer {
            target: self.name(target).to_owned(),
            version: self.version_of(offer.direction).clone(),
            by_hand: !self.may(Act::Effect),
        })
        .collect()
    }

    /// The change is taken back: what was offered for the way forward is not any more.
    pub(super) fn withdraw_offers(&mut self) {
        for (target, _) in std::mem::take(&mut self.autonomy.offered) {
            self.frontier.on(Event::Failed {
                id: target,
                at: self.now_ms,
                retry: false,
            });
        }
    }

    /// How many more may be offered, where steps are offered.
    pub(super) fn room_to_go_back(&self) -> usize {
        if self.may(Act::Start) {
            usize::MAX
        } else {
            OFFERS.saturating_sub(self.autonomy.offered.len())
        }
    }

    pub(super) fn nothing_is_offered(&self) -> bool {
        self.autonomy.offered.is_empty()
    }
}
