//! What everything passes that starts, whichever way it goes and whoever gave the word for it: its domain, the rules, and what people have
//! stopped. Nothing outside this file can start an attempt without.

use std::collections::BTreeMap;

use unattended_batching::{AppIndex, Event, TargetIndex};

use crate::level::Act;

use super::{Commands, Course, Direction, Machine, Start};

/// What keeps a target where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Its domain cannot be reached, or its region has yet to have its turn.
    Domain,
    /// The rules of its lane.
    Rules,
    /// Somebody has stopped what goes forward, or is asked whether to go back.
    Halt,
}

impl Machine {
    /// Starts, or offers, one that the frontier gave on the way there: it gives none of a lane that the rules hold.
    pub(super) fn start_given(&mut self, target: TargetIndex, commands: &mut Commands) {
        self.start_in_domain(target, Direction::Forward, commands);
    }

    /// Starts one whose turn it is, or offers it, if nothing keeps it. Whether it has gone.
    pub(super) fn start_if_let(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) -> bool {
        let may = self.kept(target, direction).is_none();
        if may {
            self.start_or_offer(target, direction, commands);
        }
        may
    }

    /// Starts one at a person's word for it, if nothing else keeps it.
    pub(super) fn start_at_word(
        &mut self,
        target: TargetIndex,
        direction: Direction,
        commands: &mut Commands,
    ) -> Result<(), Kept> {
        match self.kept(target, direction) {
            Some(kept) => Err(kept),
            None => {
                self.start(target, direction, commands);
                Ok(())
            }
        }
    }

    /// Starts one that is to go back, or offers it, or has it wait for its domain or for the rules.
    pub(super) fn start_back(&mut self, target: TargetIndex, commands: &mut Commands) {
        if self.may_go_back(target) {
            self.start_in_domain(target, Direction::Back, commands);
        } else {
            self.parked.push(target);
        }
    }

    /// Starts one without a question to the rules, as changes of earlier versions did where it had been let go once.
    pub(super) fn start_as_before(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        debug_assert!(!self.decides_by(6), "nothing starts unasked");
        self.start(target, direction, commands);
    }

    /// The same, or offers it.
    pub(super) fn offer_as_before(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        debug_assert!(!self.decides_by(6), "nothing starts unasked");
        self.start_or_offer(target, direction, commands);
    }

    /// What keeps a target from going this way now. The rules are asked with a person's word for its lane.
    pub(super) fn kept(&mut self, target: TargetIndex, direction: Direction) -> Option<Kept> {
        if direction == Direction::Forward && (self.is_halted() || self.stop_pending()) {
            return Some(Kept::Halt);
        }
        if !self.domain_lets(target, direction) {
            return Some(Kept::Domain);
        }
        if !self.decides_by(7) {
            // A region had its turn before, whatever the rules said.
            self.begin_region(target, direction);
        }
        if !self.rules_let(target, direction) {
            return Some(Kept::Rules);
        }
        self.begin_region(target, direction);
        None
    }

    /// Whether the rules of its lane let a target go this way now; what they hold is kept and told as any hold is.
    fn rules_let(&mut self, target: TargetIndex, direction: Direction) -> bool {
        let app = self.app_of(target);
        match direction {
            Direction::Forward => self.admit(app.0 as usize, app, 1),
            Direction::Back => self.may_go_back(target),
        }
    }

    /// Starts a target, or has it wait for its domain.
    fn start_in_domain(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        if self.enters_domain(target, direction) {
            self.start_or_offer(target, direction, commands);
        }
    }

    /// Starts it, or offers it to whoever has to do it or to say so.
    fn start_or_offer(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        if self.may(Act::Start) {
            self.start(target, direction, commands);
        } else {
            self.offer(target, direction);
        }
    }

    fn start(&mut self, target: TargetIndex, direction: Direction, commands: &mut Commands) {
        self.rehearse_start(target, direction);
        self.leaves_service(target, direction);
        self.set_in_flight(target, direction);
        if direction == Direction::Forward {
            self.note_start(target);
        }
        let rules = match direction {
            Direction::Forward => unattended_defense::Direction::Forward,
            Direction::Back => unattended_defense::Direction::Rollback,
        };
        self.started_under(self.app_of(target), rules);
        commands.starts.push(Start { target, direction });
    }

    /// The frontier has it again, as one that was given and not begun: it is given anew when its lane, the caps and the limits let it.
    pub(super) fn give_back(&mut self, id: TargetIndex) {
        self.frontier.on(Event::OutOfReach { id });
        self.frontier.on(Event::WithinReach { id });
        // Its lane is asked before anything of it is given.
        self.scan_due = true;
    }

    /// Those of a region that has its turn now begin as all others do: by then the rules may say something else than when they were given.
    pub(super) fn give_back_those_of_regions(&mut self) {
        if self.course != Course::Forward || !self.decides_by(6) {
            return;
        }
        for target in self.domains.waiting_forward() {
            if self.domain_may_expose(target) {
                self.domains.forget(target);
                self.give_back(target);
            }
        }
    }

    /// What rules hold by now is offered to nobody: an offer says what may be done now. The rules are asked once for each lane and way.
    pub(super) fn withdraw_held_offers(&mut self) {
        if !self.decides_by(6) {
            return;
        }
        let mut asked: BTreeMap<(AppIndex, bool), bool> = BTreeMap::new();
        for (target, direction) in self.open_offers() {
            let app = self.app_of(target);
            let way = (app, direction == Direction::Forward);
            let let_go = match asked.get(&way) {
                Some(&known) => known,
                None => {
                    let may = self.rules_let(target, direction);
                    asked.insert(way, may);
                    may
                }
            };
            if !let_go || direction == Direction::Forward && self.is_beyond_limit(app) {
                self.withdraw_offer(target, direction);
            }
        }
    }

    /// Whether more of a lane have been given than its rules let go at once by now.
    fn is_beyond_limit(&self, app: AppIndex) -> bool {
        !self.is_unruled() && {
            let lane = self.frontier.lane(app);
            lane.limit.is_some_and(|most| lane.in_flight > most)
        }
    }
}
