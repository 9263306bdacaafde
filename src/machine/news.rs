//! What happens to the fleet by itself.

use unattended_batching::{AppIndex, Event, Fleet, Side, TargetIndex};
use unattended_health::{Interval, Member, RowError};
use unattended_upgrade::FleetChange;

use crate::Outcome;
use crate::beside::both;

use super::classes::Expectations;
use super::lanes::Lane;
use super::{Act, Course, Machine, Target};

impl Machine {
    /// Whether the judge would take an interval.
    pub(crate) fn check(&self, interval: &Interval) -> Result<(), RowError> {
        let rest = self.aside.without(interval);
        self.judge.check(rest.as_ref().unwrap_or(interval))
    }

    /// An interval of metrics is in, of which [`check`](Self::check) has found nothing to say.
    pub(crate) fn interval(&mut self, interval: &Interval) -> Result<(), RowError> {
        let rest = self.aside.without(interval);
        let judged = rest.as_ref().unwrap_or(interval);
        let out_of_reach = self.hosts_out_of_reach();
        // A run ends with an interval that the judge refuses after all: nobody goes on from what has been made of it meanwhile.
        self.surroundings.at(self.exposed, self.alive);
        let mut expectations = Expectations {
            past: &self.past,
            gain: &self.gain,
            tables: &self.tables,
            classes: &mut self.classes,
            surroundings: &mut self.surroundings,
            traffic: &mut self.traffic,
        };
        let (look, ()) = both(
            judged.rows.len(),
            || self.judge.observe_within_reach(judged, out_of_reach),
            || expectations.add(&judged.rows),
        );
        let look = look?;
        self.next_interval = interval.index + 1;
        self.now_ms = self.now_ms.max(interval.end_ms);
        self.read_ms = self.now_ms;
        self.scan_due = true;
        let weakest = (0u32..)
            .zip(&self.classes)
            .filter(|(class, state)| {
                !self.aside.has_class(*class)
                    && matches!(state.fresh, super::classes::Fresh::Counting(_))
                    && self.tables.classes[*class as usize].next_stage(state.stage).is_some()
            })
            .map(|(class, _)| self.judge.safety(class).ln_s)
            .min_by(f64::total_cmp);
        self.record.evidence(interval, look.ln_e, weakest);
        Ok(())
    }

    /// Births, deaths, changes of health. Answers whom the metric source must watch in addition.
    pub(crate) fn news(&mut self, changes: &[FleetChange], cursor: u64) -> Vec<Member> {
        let mut members = Vec::new();
        for change in changes {
            match change {
                FleetChange::Joined {
                    target,
                    app,
                    labels,
                    version,
                } => {
                    // News from the beginning of a watch tell of the births of those who were planned for, too.
                    if self
                        .index(target.as_str())
                        .is_some_and(|known| self.targets[known.0 as usize].alive)
                    {
                        continue;
                    }
                    let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (&**key, &**value)).collect();
                    let side = if *version == self.setup.change.to {
                        Side::New
                    } else {
                        Side::Old
                    };
                    members.extend(self.born(target.as_str(), app, &labels, side));
                }
                FleetChange::Left { target } => {
                    if let Some(target) = self.index(target.as_str())
                        && self.targets[target.0 as usize].in_flight.is_none()
                    {
                        // A target with an attempt under way is buried by its receipt.
                        self.bury(target);
                    }
                }
                FleetChange::BecameUnhealthy { target } => {
                    if let Some(id) = self.index(target.as_str()).filter(|&id| self.note_health(id, true)) {
                        self.frontier.on(Event::BecameUnhealthy { id });
                    }
                }
                FleetChange::BecameHealthy { target } => {
                    if let Some(id) = self.index(target.as_str()).filter(|&id| self.note_health(id, false)) {
                        self.frontier.on(Event::BecameHealthy { id });
                    }
                }
                _ => {}
            }
        }
        self.cursor = cursor;
        self.scan_due |= !changes.is_empty();
        members
    }

    fn born(&mut self, name: &str, app: &str, labels: &[(&str, &str)], side: Side) -> Option<Member> {
        let app_index = self.setup.change.fleet.app_index(app)?;
        let stratum = self.stratum_of_birth(app_index, labels)?;
        let target = self.frontier.join(name, app, labels, side, self.now_ms).ok()?;
        debug_assert_eq!(target.0 as usize, self.targets.len(), "births take the next numbers");
        let reborn = self.decides_by(5) && side == Side::Old && self.was_touched(name);
        self.targets.push(Target {
            reborn,
            ..Target::new(stratum)
        });
        self.births.push(name.to_owned());
        self.births_by_name.insert(name.to_owned(), target);
        if let Some(lane) = self.lanes.get_mut(app_index.0 as usize) {
            lane.has_born(target);
        }
        self.domains.born(target, labels, &self.tables);
        self.alive += 1;
        let stays = self.decides_by(7) && self.why_left(target).is_some();
        if side == Side::Old
            && !stays
            && let Some(lane) = self.lanes.get_mut(app_index.0 as usize)
        {
            lane.wake();
        }
        if side == Side::New {
            // It is as fresh as one that was upgraded.
            self.pace.last_ms = self.now_ms;
            self.touch(target);
            self.set_on_new(target, true);
            if self.is_aside(target) {
                // It shows nothing of any class.
                self.untouch(target);
                self.goes_back(target);
            }
        } else {
            self.leave_newborn(target);
            self.take_room_for_newborn(target);
            if self.course == Course::Back {
                self.doubt_birth(target);
            } else if self.is_aside(target) && self.doubt_birth(target) {
                self.untouch(target);
                self.goes_back(target);
            }
        }
        Some(Member {
            target: name.to_owned(),
            stratum,
            control: false,
        })
    }

    fn stratum_of_birth(&self, app: AppIndex, labels: &[(&str, &str)]) -> Option<u32> {
        let label = |key: &str| {
            labels
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, value)| (*value).to_owned())
        };
        // Labels nobody had when the change was planned: it is counted with its application's first stratum.
        let like = || {
            self.tables
                .strata_apps
                .iter()
                .position(|&known| known == app.0)
                .and_then(|at| u32::try_from(at).ok())
        };
        self.tables.stratum_of(app, label).or_else(like)
    }

    /// Whether each of its classes may have one target more: an application may grow by many while a class that it belongs to has
    /// shown next to nothing.
    fn has_room_for_birth(&self, app: AppIndex, labels: &[(&str, &str)]) -> bool {
        let stratum = self.stratum_of_birth(app, labels);
        stratum.is_none_or(|stratum| self.stratum_has_room(stratum))
    }

    pub(super) fn stratum_has_room(&self, stratum: u32) -> bool {
        let mut classes = self.tables.strata_classes[stratum as usize].iter();
        classes.all(|&class| self.domains.is_dark(class) || self.class_has_room(class, 1))
    }

    /// Who is born into a batch that is open takes room in its classes, or waits apart until there is some.
    pub(super) fn take_room_for_newborn(&mut self, target: TargetIndex) {
        let state = self.targets[target.0 as usize];
        let waits = !state.on_new && !state.owed && state.in_flight.is_none() && !state.promised;
        let is_open = || self.frontier.batch_of(target).is_some_and(|(_, is_open)| is_open);
        let apart = self.domains.is_away(target) || self.is_offered(target) || !self.domains.waits_not(target);
        if !self.decides_by(8) || self.course != Course::Forward || apart || !waits || !is_open() {
            return;
        }
        // Whoever waits in a lane that rules hold takes room when that goes on.
        if (self.lanes.get(self.app_of(target).0 as usize)).is_some_and(Lane::is_withheld) {
            return;
        }
        if self.stratum_has_room(state.stratum) {
            self.promise(target);
        } else {
            self.send_away(target);
        }
    }

    /// Whether the one that had this name last was touched, or had its name from one that was.
    fn was_touched(&self, name: &str) -> bool {
        let last = self.index(name).map(|last| self.targets[last.0 as usize]);
        last.is_some_and(|last| last.ever_touched || last.reborn)
    }

    /// News that are told again, as by a router of a later run, tell of a birth on the old version that was before its upgrade. So who
    /// has the name of one that was touched is taken to run the new one where that goes back: an attempt looks, and touches
    /// nobody who runs the old one. Whether it is.
    pub(super) fn doubt_birth(&mut self, target: TargetIndex) -> bool {
        let state = self.targets[target.0 as usize];
        let doubted = state.reborn && state.alive && !state.on_new && state.in_flight.is_none();
        if doubted {
            self.touch(target);
            self.set_on_new(target, true);
            let at = self.now_ms;
            self.frontier.on(Event::Finished { id: target, at });
        }
        doubted
    }

    /// On which version a target that is born now begins.
    pub(crate) fn version_for(&self, id: &str, app: &str, labels: &[(&str, &str)]) -> Side {
        let index = self.setup.change.fleet.app_index(app);
        if index.is_some_and(|app| self.is_skipped(app)) || self.labels_are_aside(labels) || self.is_pinned(id) {
            return Side::Old;
        }
        match self.course {
            Course::Forward if self.lets_births_in() => {
                let early = self.rehearsal.is_open() || !self.domains.may_be_born_new(labels);
                let lane = index.and_then(|app| self.lanes.get(app.0 as usize));
                if early || lane.is_some_and(Lane::is_untouched) || index.is_some_and(|app| self.rules_hold_births(app))
                {
                    return Side::Old;
                }
                if self.decides_by(8) && index.is_some_and(|app| !self.has_room_for_birth(app, labels)) {
                    return Side::Old;
                }
                self.frontier.version_for(id, app, labels)
            }
            Course::Ended(Outcome::Completed | Outcome::CompletedWithDebt) => Side::New,
            Course::Forward | Course::Back | Course::Ended(_) => Side::Old,
        }
    }

    /// Where the change would begin nothing by itself, none is born to it either: a birth needs no effect of ours, and nothing else
    /// would keep the release from growing by births alone.
    fn lets_births_in(&self) -> bool {
        self.may(Act::Start)
            && self.autonomy.begun
            && (!self.confirms_batches() || self.autonomy.confirmed.is_some())
            && !self.is_halted()
            && !self.is_withheld()
            && !self.stop_pending()
            && self.is_calm()
            && !self.is_spent()
    }

    /// Whether the rules would not let anything of an application start now, and not all of it is through: by births alone the release would grow
    /// in its protected hours.
    fn rules_hold_births(&self, app: AppIndex) -> bool {
        let is_through = |lane: &Lane| {
            lane.is_finished() && !(self.decides_by(8) && self.domains.keeps_away(|of| self.app_of(of) == app))
        };
        let Some(lane) = self.lanes.get(app.0 as usize).filter(|lane| !is_through(lane)) else {
            return false;
        };
        lane.is_held(self.now_ms) || !lane.is_allowed_by_person() && !self.is_unruled() && !self.would_admit(app)
    }

    /// Whom the metric source must watch besides the planned: the living newborns.
    pub(crate) fn newborns(&self) -> Vec<Member> {
        let planned = self.setup.change.fleet.len();
        (self.births.iter().zip(&self.targets[planned..]))
            .filter(|(_, target)| target.alive)
            .map(|(name, target)| Member {
                target: name.clone(),
                stratum: target.stratum,
                control: false,
            })
            .collect()
    }

    /// The target is no more.
    pub(super) fn bury(&mut self, target: TargetIndex) {
        let state = &mut self.targets[target.0 as usize];
        if !std::mem::replace(&mut state.alive, false) {
            return;
        }
        self.alive -= 1;
        self.autonomy.forget(target);
        self.domains.died(target, &self.targets);
        self.forget_rehearsal(target);
        self.forget_healing(target);
        self.set_on_new(target, false);
        self.untouch(target);
        self.redeem(target);
        self.forget_debt(target);
        if std::mem::take(&mut self.targets[target.0 as usize].lost) {
            self.lost -= 1;
        }
        self.frontier.on(Event::Left { id: target });
    }
}

/// What a target is called, of the fleet or born since.
pub(super) fn name_of<'n>(fleet: &'n Fleet, births: &'n [String], target: TargetIndex) -> &'n str {
    match (target.0 as usize).checked_sub(fleet.len()) {
        None => fleet.id(target),
        Some(born) => births.get(born).map_or("", String::as_str),
    }
}
