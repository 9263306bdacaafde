//! A class that is set aside: it alone explains what was found, goes back, and stays behind while the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use unattended_batching::{Event, TargetIndex};
use unattended_health::Interval;
use unattended_upgrade::{Receipt, Terminal};

use crate::{AsideView, OnClassFault, QuestionKind};

use super::receipts::is_called_off;
use super::{Commands, Course, Direction, Machine};

/// What is set aside, and what of it is still to go back.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    classes: BTreeSet<u32>,
    /// By stratum, whether it is of one of them.
    strata: Vec<bool>,
    /// Targets on the new version that are to go back and have not begun to.
    back: Vec<TargetIndex>,
    /// Nothing starts until those under way have shown whose fault it is.
    waits: bool,
    /// Since when traffic would stop the change and has not shown yet whose fault it is.
    unclear_since: Option<u64>,
    /// Classes that are alone at fault, and that people are asked about.
    suspects: Vec<u32>,
    /// The interval behind which that was looked at last.
    looked: u64,
    /// Since when only caps keep those on the new version.
    kept: BTreeMap<TargetIndex, u64>,
    /// What has been set aside, as people are told.
    told: Vec<AsideView>,
}

impl Aside {
    pub(super) fn has_class(&self, class: u32) -> bool {
        self.classes.contains(&class)
    }

    fn has_stratum(&self, stratum: u32) -> bool {
        self.strata.get(stratum as usize).copied().unwrap_or(false)
    }

    /// Whether nothing may start, since those under way have yet to show whose fault it is.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Those on the new version that are to go back and have not begun to.
    pub(super) fn waiting(&self) -> impl Iterator<Item = TargetIndex> {
        self.back.iter().copied()
    }

    /// Only caps keep these now. Those of them of whom that has been so for too long, who do not go back.
    pub(super) fn keeps(&mut self, kept: BTreeSet<TargetIndex>, now_ms: u64, late_ms: u64) -> BTreeSet<TargetIndex> {
        self.kept.retain(|target, _| kept.contains(target));
        for target in kept {
            self.kept.entry(target).or_insert(now_ms);
        }
        let is_late = |since_ms: u64| now_ms.saturating_sub(since_ms) >= late_ms;
        let late = self.kept.iter().filter(|&(_, &since_ms)| is_late(since_ms));
        let late: BTreeSet<TargetIndex> = late.map(|(&target, _)| target).collect();
        self.kept.retain(|target, _| !late.contains(target));
        self.back.retain(|target| !late.contains(target));
        late
    }

    /// Nothing could go back for a while.
    pub(super) fn forget_kept(&mut self) {
        self.kept.clear();
    }

    /// Nobody is left that must go back.
    pub(super) const fn is_back(&self) -> bool {
        self.back.is_empty()
    }

    pub(super) const fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn forget_suspects(&mut self) {
        self.suspects.clear();
    }

    /// The rows of an interval that still say something of the change: what is set aside is known to be worse.
    pub(super) fn without(&self, interval: &Interval) -> Option<Interval> {
        if self.classes.is_empty() {
            return None;
        }
        let mut rest = interval.clone();
        rest.rows.retain(|row| !self.has_stratum(row.stratum));
        rest.samples.retain(|sample| !self.has_stratum(sample.stratum));
        rest.splits.retain(|split| !self.has_stratum(split.stratum));
        Some(rest)
    }
}

/// Of two classes the one with a hundred times as much evidence explains what was found better than the other.
const LN_RIVAL: f64 = 4.605_170_185_988_092;

/// The values of one key are the classes whose names differ behind the same `key=`.
fn key_of(class: &str) -> Option<&str> {
    class.split_once('=').map(|(key, _)| key)
}

impl Machine {
    /// Whether a target is of a class that is set aside.
    pub(super) fn is_aside(&self, target: TargetIndex) -> bool {
        self.aside.has_stratum(self.targets[target.0 as usize].stratum)
    }

    /// Whether a target with these labels would be.
    pub(super) fn labels_are_aside(&self, labels: &[(&str, &str)]) -> bool {
        self.aside.classes.iter().any(|&class| {
            let name = &self.tables.classes[class as usize].name;
            let value = name.split_once('=');
            value.is_some_and(|(key, value)| labels.contains(&(key, value)))
        })
    }

    /// Whether nothing starts until it is seen whose fault it is. What crashes at its start crashes before others have come up, which
    /// alone can show that it is not everywhere. And the traffic of a class says that it is bad before that of the others says that they
    /// are well.
    pub(super) fn awaits_others(&mut self, code: &str) -> bool {
        let by_class = self.may_be_about_class();
        self.aside.waits = by_class
            && match code {
                "stop.gate" => self.in_flight > 0,
                "stop.evidence" => self.decides_by(2) && self.is_unclear(),
                _ => false,
            };
        if !self.aside.waits {
            self.aside.unclear_since = None;
        }
        self.aside.waits
    }

    pub(super) const fn awaits_nobody(&mut self) {
        self.aside.waits = false;
        self.aside.unclear_since = None;
    }

    /// Whether traffic may still show within a bake that one class alone is at fault: no other value of the key of the one that looks worst
    /// looks bad, too.
    fn is_unclear(&mut self) -> bool {
        let settings = &self.setup.change.settings;
        let (caution, longest_ms) = (libm::log(settings.caution_e), settings.warm_up_ms + settings.bake_ms);
        let since = *self.aside.unclear_since.get_or_insert(self.now_ms);
        if self.now_ms - since >= longest_ms || !self.classes_of_evidence().is_empty() {
            return false;
        }
        let against = |class: u32| self.judge.class_ln_e(class);
        let classes =
            (1..u32::try_from(self.classes.len()).unwrap_or(u32::MAX)).filter(|&class| !self.aside.has_class(class));
        let worst = classes.max_by(|&a, &b| against(a).total_cmp(&against(b)));
        worst.is_some_and(|class| {
            let siblings = self.exposed_siblings(class);
            !siblings.is_empty() && siblings.into_iter().all(|sibling| against(sibling) < caution)
        })
    }

    /// A fault of one class may be met by taking that class back: by itself, or by a person's word where that is asked for.
    fn may_be_about_class(&self) -> bool {
        self.setup.change.settings.on_class_fault == OnClassFault::Class
            && (self.decides_by(5) || self.may_roll_back().is_ok())
    }

    /// Sees to a stop that may be about one class: waits until it is seen, or sets the class aside that alone explains it. Whether that is all
    /// there is to do; where it may not set it aside by itself, the class is among the suspects, for as long as it alone explains it.
    pub(super) fn sees_to_class(&mut self, code: &str, text: &str) -> bool {
        let is_new = self.stop_text.is_none();
        if !is_new && !self.aside.has_suspects() {
            return false;
        }
        if is_new && self.awaits_others(code) {
            return true;
        }
        if !self.may_be_about_class() {
            return false;
        }
        let leaves_it_to_people = self.may_roll_back().is_err();
        if !is_new && leaves_it_to_people && self.aside.looked == self.next_interval {
            // Traffic says nothing new of it.
            return false;
        }
        self.aside.looked = self.next_interval;
        let (classes, members) = self.alone_at_fault(code);
        if classes != self.aside.suspects {
            // An answer is about those that were named.
            self.questions.close(QuestionKind::SetClassAside);
        }
        if classes.is_empty() || leaves_it_to_people {
            self.aside.suspects = classes;
            return false;
        }
        self.spend_rollback();
        if !is_new {
            self.forget_stop();
        }
        self.set_aside(&classes, &members, text);
        true
    }

    /// The classes that alone explain what the change stops for, and their targets; none of either where it is nobody's fault in particular,
    /// or of more than half.
    fn alone_at_fault(&mut self, code: &str) -> (Vec<u32>, Vec<TargetIndex>) {
        let classes = match code {
            "stop.evidence" => self.classes_of_evidence(),
            "stop.gate" => self.classes_of_gate(),
            _ => Vec::new(),
        };
        let members = self.members(&classes);
        let aside = |target: &&super::Target| target.alive && self.aside.has_stratum(target.stratum);
        let before = self.targets.iter().filter(aside).count();
        // What is left would be the exception.
        let too_many = (before + members.len()) as u64 * 2 > self.alive;
        if !members.is_empty() && !too_many {
            return (classes, members);
        }
        if self.decides_by(4) && matches!(code, "stop.evidence" | "stop.gate") {
            let why = if too_many {
                "more than half of the targets would be left behind"
            } else {
                "what was found does not tell one value of a label from the others of its key"
            };
            self.decide_text("class.not_alone", format!("no class is set aside: {why}"), None);
        }
        (Vec::new(), Vec::new())
    }

    /// The level, or a budget, leaves the way back to people: theirs is the word about the class, too.
    pub(super) fn ask_about_class(&mut self, text: &str, commands: &mut Commands) {
        let beyond = self.may_roll_back().err().flatten();
        let beyond = beyond.map_or_else(String::new, |why| format!(" It does not by itself, as {why}."));
        let (names, count) = (
            self.names(&self.aside.suspects),
            self.members(&self.aside.suspects).len(),
        );
        let from = &self.setup.change.from;
        self.ask(
            QuestionKind::SetClassAside,
            format!(
                "{text}.{beyond} {names} alone explains it: leave its {count} targets on {from}, take back those that are beyond, and go on \
                 with the rest?"
            ),
            format!(
                "nothing more is started; what runs {} keeps it, and `roll_back` takes everything back",
                self.setup.change.to
            ),
            commands,
        );
    }

    /// A person said to take back the class that they were asked about.
    pub(super) fn set_aside_by_person(&mut self) {
        let classes = std::mem::take(&mut self.aside.suspects);
        if classes.is_empty() {
            return;
        }
        let members = self.members(&classes);
        let text = self.stop_text.clone().unwrap_or_default();
        self.forget_stop();
        self.set_aside(&classes, &members, &text);
    }

    /// What they are called: `stack=HN or zone=zone-1`.
    fn names(&self, classes: &[u32]) -> String {
        let names: Vec<&str> = classes
            .iter()
            .map(|&class| self.tables.classes[class as usize].name.as_str())
            .collect();
        names.join(" or ")
    }

    /// The living targets of classes that are not set aside yet.
    fn members(&self, classes: &[u32]) -> Vec<TargetIndex> {
        let of = |stratum: u32| {
            let mut of = self.tables.strata_classes[stratum as usize].iter();
            !self.aside.has_stratum(stratum) && of.any(|class| classes.contains(class))
        };
        let members = (0u32..).zip(&self.targets);
        members
            .filter(|(_, target)| target.alive && of(target.stratum))
            .map(|(at, _)| TargetIndex(at))
            .collect()
    }

    /// The other values of a class's key that are still part of the change and run the new version somewhere.
    fn exposed_siblings(&self, class: u32) -> Vec<u32> {
        let key = key_of(&self.tables.classes[class as usize].name);
        let classes = (0u32..).zip(self.tables.classes.iter().zip(&self.classes));
        classes
            .filter(|(at, (other, state))| {
                let sibling = key.is_some() && key_of(&other.name) == key && *at != class;
                sibling && state.exposed > 0 && !self.aside.has_class(*at)
            })
            .map(|(at, _)| at)
            .collect()
    }

    /// The classes to set aside for what traffic shows. Those whose own evidence would stop the change, and explains it best, must be
    /// alone at fault among the values of their key; else the fault is nobody's in particular. With them goes whoever is alone, too, and
    /// looks at fault at all: classes of two keys share targets, and the one with less evidence may be where the fault is.
    fn classes_of_evidence(&self) -> Vec<u32> {
        let settings = &self.setup.change.settings;
        let needed = -libm::log(settings.alpha);
        let caution = libm::log(settings.caution_e);
        let against = |class: u32| self.judge.class_ln_e(class);
        let safety = |class: u32| self.judge.safety(class).ln_s;
        let well = |&class: &u32| against(class) < caution && safety(class) > against(class);
        let alone = |class: u32| {
            let siblings = self.exposed_siblings(class);
            !siblings.is_empty() && siblings.iter().all(well)
        };
        let classes = 1..u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let classes: Vec<u32> = classes.filter(|&class| !self.aside.has_class(class)).collect();
        let most = (classes.iter())
            .map(|&class| against(class))
            .fold(f64::NEG_INFINITY, f64::max);
        let explains = |class: u32| against(class) >= needed && against(class) >= most - LN_RIVAL;
        if !classes.iter().all(|&class| !explains(class) || alone(class)) || most < needed {
            return Vec::new();
        }
        let looks_at_fault = |class: u32| against(class) >= caution || safety(class) <= -caution;
        let at_fault = |&class: &u32| (explains(class) || looks_at_fault(class)) && alone(class);
        classes.into_iter().filter(at_fault).collect()
    }

    /// The classes in which every target is that the new version did not start on, and none that it did, while it started on more
    /// of the other values of their key.
    fn classes_of_gate(&self) -> Vec<u32> {
        let failed: Vec<TargetIndex> = self.start_failures.failed().collect();
        let classes_of =
            |target: TargetIndex| &self.tables.strata_classes[self.targets[target.0 as usize].stratum as usize];
        let mut common: Vec<u32> = failed
            .first()
            .map(|&first| classes_of(first).to_vec())
            .unwrap_or_default();
        for &target in &failed {
            common.retain(|class| classes_of(target).contains(class));
        }
        let started = |class: u32| {
            let of_class = |target: &&super::Target| {
                target.alive && target.on_new && self.tables.strata_classes[target.stratum as usize].contains(&class)
            };
            self.targets.iter().filter(of_class).count()
        };
        common
            .into_iter()
            .filter(|&class| class != 0 && !self.aside.has_class(class) && started(class) == 0)
            .filter(|&class| {
                let others: usize = self.exposed_siblings(class).into_iter().map(started).sum();
                others > failed.len()
            })
            .collect()
    }

    fn set_aside(&mut self, classes: &[u32], members: &[TargetIndex], text: &str) {
        let names = self.names(classes);
        self.aside.classes.extend(classes);
        let aside = |classes: &[u32]| classes.iter().any(|class| self.aside.classes.contains(class));
        self.aside.strata = self.tables.strata_classes.iter().map(aside).collect();
        let exposed = members
            .iter()
            .filter(|target| self.targets[target.0 as usize].touched)
            .count();
        self.aside.told.push(AsideView {
            classes: names.clone(),
            at_ms: self.now_ms,
            exposed: exposed as u64,
            why: text.to_owned(),
        });
        let mut left = 0;
        for &target in members {
            self.doubt_birth(target);
            // It shows nothing of any class any more, wherever it is on its way.
            self.untouch(target);
            let state = &mut self.targets[target.0 as usize];
            state.tries = 0;
            if state.in_flight.is_some() {
                // It comes to its end, and is seen to then.
            } else if state.on_new {
                self.aside.back.push(target);
            } else {
                self.domains.forget(target);
                self.autonomy.forget(target);
                left += u64::from(!self.targets[target.0 as usize].owed);
                self.owe_aside(target);
            }
        }
        self.end_rehearsal();
        self.forget_word_on_way_back();
        if self.decides_by(8) {
            self.overruled.forget_classes();
        }
        // The judge has seen the class in everything: what is left is judged by what it shows from here on.
        self.judge.begin_anew();
        self.start_failures.forget();
        let of = |target: TargetIndex| self.targets[target.0 as usize].stratum;
        self.tables.leave_out(|stratum| self.aside.has_stratum(stratum), of);
        for (class, state) in self.tables.classes.iter().zip(&mut self.classes) {
            state.begin_anew(class, self.now_ms);
        }
        self.moved_ms = self.now_ms;
        self.scan_due = true;
        let back = self.aside.back.len();
        self.decide_text(
            "class.aside",
            format!(
                "{names} alone explains it, and is set aside: {text}; {back} of its targets go back to {}, {left} stay there, and the rest goes on",
                self.setup.change.from
            ),
            Some("the same in the other values of its key would have taken the whole change back".to_owned()),
        );
    }

    fn owe_aside(&mut self, target: TargetIndex) {
        let why = "its class is set aside: the new version does harm there";
        self.owe(target, true, why.to_owned());
    }

    /// A target of a class that is set aside runs the new version after all.
    pub(super) fn goes_back(&mut self, target: TargetIndex) {
        self.aside.back.push(target);
        self.scan_due = true;
    }

    /// Starts what may go back now, within the caps of the plan: who is on its way back is out of service as everybody is
    /// who is upgraded.
    pub(super) fn advance_aside(&mut self, commands: &mut Commands) {
        for target in std::mem::take(&mut self.aside.back) {
            let state = self.targets[target.0 as usize];
            if !state.alive || !state.on_new || state.in_flight.is_some() {
                continue;
            }
            let lets = !self.is_offered(target) && self.frontier.has_room(target);
            if lets {
                self.start_if_let(target, Direction::Back, commands);
            }
            if self.targets[target.0 as usize].in_flight.is_none() {
                self.aside.back.push(target);
            }
        }
        if self.decides_by(4) {
            self.ask_for_the_way_back(commands);
        }
        self.caps_hold_those_aside();
    }

    /// A target of a class that is set aside begins its way back.
    pub(super) fn leaves_service(&mut self, target: TargetIndex, direction: Direction) {
        if direction == Direction::Back && self.course == Course::Forward && self.is_aside(target) {
            self.frontier.on(Event::BecameUnhealthy { id: target });
        }
    }

    /// An attempt on a target of a class that is set aside has ended, while the rest goes on. Whether nothing else is to
    /// be made of it.
    pub(super) fn ended_aside(&mut self, target: TargetIndex, direction: Direction, receipt: &Receipt) -> bool {
        if self.course != Course::Forward || !self.is_aside(target) || receipt.terminal == Terminal::Gone {
            return false;
        }
        let done = receipt.terminal == Terminal::Done;
        match (direction, done) {
            (Direction::Forward, true) => {
                // It is there, and shows nothing of any class.
                self.set_on_new(target, true);
                self.frontier.on(Event::Finished {
                    id: target,
                    at: self.now_ms,
                });
                self.goes_back(target);
            }
            (Direction::Forward, false) => {
                self.untouch(target);
                self.owe_aside(target);
            }
            (Direction::Back, true) => self.is_back_aside(target),
            (Direction::Back, false) if self.decides_by(9) && is_called_off(receipt) => self.goes_back(target),
            (Direction::Back, false) => {
                let state = &mut self.targets[target.0 as usize];
                state.tries = state.tries.saturating_add(1);
                if state.tries < self.setup.change.settings.tries {
                    self.goes_back(target);
                } else {
                    let why = self.why(receipt);
                    let text = format!("{} could not be brought back: {why}", receipt.target);
                    self.decide_text("rollback.failed", text, None);
                    self.owe(target, false, format!("it could not be brought back: {why}"));
                }
            }
        }
        true
    }

    /// A target of a class that is set aside runs the old version again, and that was verified.
    fn is_back_aside(&mut self, target: TargetIndex) {
        self.set_on_new(target, false);
        self.untouch(target);
        if self.note_health(target, false) {
            self.frontier.on(Event::BecameHealthy { id: target });
        }
        self.owe_aside(target);
    }

    /// A person has brought a target back.
    pub(super) fn is_back_by_hand(&mut self, target: TargetIndex) {
        if self.course == Course::Forward {
            self.is_back_aside(target);
        } else {
            self.is_back(target);
        }
    }

    /// A person could not bring a target back, as a look has shown. Whether that is given up: hands get as many tries as attempts do.
    pub(super) fn is_not_back_by_hand(&mut self, target: TargetIndex, why: &str) -> bool {
        if !self.decides_by(6) {
            return false;
        }
        let state = &mut self.targets[target.0 as usize];
        state.tries = state.tries.saturating_add(1);
        if state.tries < self.setup.change.settings.tries {
            return false;
        }
        let text = format!("{} could not be brought back by hand: {why}", self.name(target));
        self.decide_text("rollback.failed", text, None);
        if self.course == Course::Forward {
            self.owe(target, false, format!("it could not be brought back by hand: {why}"));
        } else {
            self.note_health(target, true);
            self.frontier.on(Event::RollbackFailed { id: target });
        }
        true
    }

    /// The change is taken back as a whole: this goes back with the rest.
    pub(super) fn forget_aside(&mut self) {
        self.aside.back.clear();
        self.aside.kept.clear();
        self.aside.suspects.clear();
    }

    /// Whether it was set aside and is back already.
    pub(super) fn is_back_already(&self, target: TargetIndex) -> bool {
        let state = self.targets[target.0 as usize];
        self.is_aside(target) && !state.on_new && !state.touched
    }

    /// What has been set aside, at times of the change.
    pub(super) fn aside_views(&self) -> Vec<AsideView> {
        let mut views = self.aside.told.clone();
        for view in &mut views {
            view.at_ms = view.at_ms.saturating_sub(self.setup.header.began_ms);
        }
        views
    }

    /// Their names.
    pub(super) fn classes_aside(&self) -> impl Iterator<Item = &str> {
        self.aside
            .classes
            .iter()
            .map(|&class| self.tables.classes[class as usize].name.as_str())
    }
}
