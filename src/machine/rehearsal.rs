//! The way back, tried on the first target before anybody else goes the way there: a version that cannot be left is found on one
//! target, and not when the whole change has to leave it.

use unattended_batching::{Event, TargetIndex};
use unattended_defense::Direction as RulesDirection;
use unattended_upgrade::{Receipt, Terminal};

use crate::level::Act;

use super::held_back::Word;
use super::receipts::{is_called_off, unseen_ms};
use super::{Commands, Course, Direction, Machine};

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Rehearsal {
    /// It is not wanted, or is over.
    #[default]
    Over,
    /// The first target that starts is the one.
    Wanted,
    /// The target is on its way to the new version for the first time.
    There(TargetIndex),
    /// It is to go this way next.
    Due(TargetIndex, Direction),
    /// It is on its way back.
    Back(TargetIndex),
    /// It is on its way to the new version again.
    Again(TargetIndex),
    /// It did not come back.
    Failed(TargetIndex, String),
}

impl Rehearsal {
    /// Whether others have to wait until it is over.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self, Self::Over)
    }
}

impl Machine {
    /// How many may start while the way back is tried: one, where nobody has.
    pub(super) fn room_beside_rehearsal(&self, room: usize) -> usize {
        match self.rehearsal {
            Rehearsal::Over => room,
            // Where people take the steps, they try the way back too.
            Rehearsal::Wanted if !self.may(Act::Start) => room,
            Rehearsal::Wanted if self.in_flight > 0 => 0,
            // Before, whoever waited for the turn of a region kept everybody else from it.
            Rehearsal::Wanted if self.decides_by(7) || self.domains.waiting() == 0 => room.min(1),
            _ => 0,
        }
    }

    /// A target starts.
    pub(super) fn rehearse_start(&mut self, target: TargetIndex, direction: Direction) {
        match (&self.rehearsal, direction) {
            (Rehearsal::Wanted, Direction::Forward) if self.may(Act::Start) => {
                self.rehearsal = Rehearsal::There(target)
            }
            (Rehearsal::Due(due, _), Direction::Forward) if *due == target => self.rehearsal = Rehearsal::Again(target),
            (Rehearsal::Due(due, _), Direction::Back) if *due == target => self.rehearsal = Rehearsal::Back(target),
            _ => {}
        }
    }

    /// Starts what is due of it.
    pub(super) fn go_on_rehearsing(&mut self, commands: &mut Commands) {
        let Rehearsal::Due(target, direction) = self.rehearsal else {
            return;
        };
        if !self.may(Act::Start) {
            return self.end_rehearsal();
        }
        if direction == Direction::Forward && self.is_unseen() {
            return;
        }
        if self.decides_by(6) {
            self.take_next_step(target, direction, commands);
        } else {
            self.start_as_rules_say(target, direction, commands);
        }
    }

    /// The next step, through the gate that every start passes. Nobody waits for what keeps one target alone: another one tries it then.
    fn take_next_step(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        if self.targets[target.0 as usize].owed {
            // It was left as it is.
            return self.forget_rehearsal(target);
        }
        let out_of_reach = self.is_out_of_reach(target);
        if out_of_reach && !self.domains.some_are_reached() {
            return;
        }
        if !out_of_reach && self.start_if_let(target, direction, commands) {
            return;
        }
        match direction {
            // It runs the old version, and goes the way there when that lets it, as everybody does.
            Direction::Forward => {
                self.rehearsal = Rehearsal::Wanted;
                self.untouch(target);
                self.starts_anew(target, self.now_ms);
                self.frontier.on(Event::BecameHealthy { id: target });
                if out_of_reach {
                    self.send_away(target);
                }
            }
            // It was seen to run the new version.
            Direction::Back if out_of_reach => {
                self.rehearsal = Rehearsal::Wanted;
                self.arrived(target);
            }
            // Somebody is asked whether it may go back.
            Direction::Back => {}
        }
    }

    /// The next step where the rules themselves let it, as it was in earlier versions: no word of a person was heard.
    fn start_as_rules_say(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        let rules = match direction {
            Direction::Forward => RulesDirection::Forward,
            Direction::Back => RulesDirection::Rollback,
        };
        let app = self.app_of(target);
        // What the rules do not let go now goes when they do.
        let may = self.is_unruled() || (self.ask_rules(&self.setup.guard, app, rules, self.wave()).verdict).may_start();
        if may {
            self.start_as_before(target, direction, commands);
        }
    }

    /// An attempt of the rehearsal has ended. Whether nothing else is to be made of it.
    pub(super) fn rehearsed(&mut self, target: TargetIndex, receipt: &Receipt) -> bool {
        let done = receipt.terminal == Terminal::Done;
        let name = receipt.target.to_string();
        if self.decides_by(6) && self.course == Course::Forward && self.is_aside(target) && self.rehearses(target) {
            // Its class has been set aside meanwhile: it goes back for that.
            self.rehearsal = Rehearsal::Wanted;
            return false;
        }
        let is_left_out = self.decides_by(7) && self.is_left_out(target);
        match &self.rehearsal {
            // It comes to the end of what was under way, and another one tries the way back.
            Rehearsal::There(first) if *first == target && is_left_out => {
                self.rehearsal = Rehearsal::Wanted;
                false
            }
            Rehearsal::There(first) if *first == target => {
                if done && self.course == Course::Forward {
                    self.set_on_new(target, true);
                    self.targets[target.0 as usize].tries = 0;
                    self.rehearsal = Rehearsal::Due(target, Direction::Back);
                    return true;
                }
                // Another one may be the first.
                self.rehearsal = Rehearsal::Wanted;
                false
            }
            Rehearsal::Again(again)
                if *again == target
                    && self.decides_by(9)
                    && is_called_off(receipt)
                    && self.course == Course::Forward
                    && !is_left_out =>
            {
                // It has not begun; whether it may is asked anew.
                self.rehearsal = Rehearsal::Due(target, Direction::Forward);
                true
            }
            Rehearsal::Again(again) if *again == target => {
                self.rehearsal = Rehearsal::Over;
                let again = if done || !self.decides_by(8) {
                    "went there, back, and there again"
                } else {
                    "went there and back; its next attempt failed"
                };
                let text = format!("the way back works: {name} {again}");
                self.decide_text("rehearsal.passed", text, None);
                false
            }
            Rehearsal::Back(back) if *back == target => {
                self.came_back(target, receipt, done);
                receipt.terminal != Terminal::Gone
            }
            _ => false,
        }
    }

    fn came_back(&mut self, target: TargetIndex, receipt: &Receipt, done: bool) {
        if self.decides_by(6) && self.course == Course::Forward && unseen_ms(&receipt.terminal).is_some() {
            // What was not seen proves nothing, once. Where one after the other is lost to sight on its way back, and others are seen,
            // nobody else is sent there to be lost as well.
            self.unseen_ways_back = self.unseen_ways_back.saturating_add(1);
            let lost = self.unseen_ways_back;
            if lost >= self.setup.change.settings.tries {
                let (name, from) = (receipt.target.to_string(), &self.setup.change.from);
                let text = format!(
                    "there is no way back that can be seen: {lost} times in a row nothing was seen of a target after it was sent back to {from}, last of {name}"
                );
                self.rehearsal = Rehearsal::Failed(target, text);
                return;
            }
            // What it runs is not known, as of any whose way there ends so: it is tried again as they are.
            self.rehearsal = Rehearsal::Wanted;
            self.set_on_new(target, false);
            return self.forward_ended(target, receipt);
        }
        if done {
            self.unseen_ways_back = 0;
            self.forget_word_on_rehearsal();
            self.set_on_new(target, false);
            self.targets[target.0 as usize].tries = 0;
            self.rehearsal = Rehearsal::Due(target, Direction::Forward);
            if self.decides_by(7) && self.course == Course::Forward && self.is_left_out(target) {
                self.stays_out(target, "its application was left out while it tried the way back");
            }
        } else if receipt.terminal == Terminal::Gone {
            self.rehearsal = Rehearsal::Wanted;
        } else {
            let is_try = !(self.decides_by(9) && is_called_off(receipt));
            let state = &mut self.targets[target.0 as usize];
            state.tries = state.tries.saturating_add(u8::from(is_try));
            if !is_try || state.tries < self.setup.change.settings.tries {
                self.rehearsal = Rehearsal::Due(target, Direction::Back);
            } else {
                let tries = state.tries;
                let text = format!(
                    "there is no way back: {} runs {} and could not be brought back to {} in {tries} tries; last: {}",
                    receipt.target,
                    self.setup.change.to,
                    self.setup.change.from,
                    self.why(receipt)
                );
                self.rehearsal = Rehearsal::Failed(target, text);
            }
        }
        if self.course == Course::Back {
            // The change is taken back meanwhile: whatever it runs now, it is brought back as everybody is.
            self.end_rehearsal();
        }
    }

    /// Why the change stops for it.
    pub(super) fn rehearsal_failed(&self) -> Option<String> {
        match &self.rehearsal {
            Rehearsal::Failed(_, text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The word of a person for the way back was about the target that tried it.
    fn forget_word_on_rehearsal(&mut self) {
        if self.decides_by(6) {
            self.word_back = Word::default();
        }
    }

    /// It is over, however far it was: the frontier hears of the target what it would have heard without.
    pub(super) fn end_rehearsal(&mut self) {
        let rehearsal = std::mem::take(&mut self.rehearsal);
        let at = self.now_ms;
        if rehearsal != Rehearsal::Over {
            self.forget_word_on_rehearsal();
        }
        match rehearsal {
            // It runs the old version, and goes the way there as everybody does.
            Rehearsal::Due(id, Direction::Forward) if self.course == Course::Forward => {
                self.frontier.on(Event::Failed { id, at, retry: true });
                self.frontier.on(Event::BecameHealthy { id });
            }
            Rehearsal::Due(id, _) | Rehearsal::Failed(id, _) => {
                self.frontier.on(Event::Finished { id, at });
            }
            // Its attempt ends first.
            Rehearsal::Back(_) => self.rehearsal = rehearsal,
            Rehearsal::Over | Rehearsal::Wanted | Rehearsal::There(_) | Rehearsal::Again(_) => {}
        }
    }

    /// It is this target's turn, and no attempt on it is under way.
    pub(super) fn is_rehearsed_on(&self, target: TargetIndex) -> bool {
        matches!(&self.rehearsal, Rehearsal::Due(due, _) if *due == target)
    }

    /// An attempt on it is the only one under way, as others have to wait.
    pub(super) fn rehearses(&self, target: TargetIndex) -> bool {
        match &self.rehearsal {
            Rehearsal::There(at) | Rehearsal::Back(at) | Rehearsal::Again(at) => *at == target,
            Rehearsal::Over | Rehearsal::Wanted | Rehearsal::Due(..) | Rehearsal::Failed(..) => false,
        }
    }

    /// The one that is to go back now, and that rules keep from it.
    pub(super) fn kept_from_rehearsal(&self) -> Option<TargetIndex> {
        let Rehearsal::Due(target, Direction::Back) = self.rehearsal else {
            return None;
        };
        let held = self.lanes[self.app_of(target).0 as usize].held_back().is_some();
        (held && self.decides_by(6)).then_some(target)
    }

    /// The target is no more, or is left out.
    pub(super) fn forget_rehearsal(&mut self, target: TargetIndex) {
        if let Rehearsal::Due(gone, _) | Rehearsal::Failed(gone, _) = self.rehearsal
            && gone == target
        {
            self.rehearsal = Rehearsal::Wanted;
        }
    }
}
