//! Lanes: each application's own way through the plan, under its own windows.

use std::collections::BTreeMap;

use unattended_batching::{AppIndex, Blocked, Event, TargetIndex};

use super::hold::{Hold, Rule};
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
    pub(super) withheld: bool,
    /// What holds its way back; in changes of earlier versions that is in `hold`, too.
    back_hold: Option<Hold>,
    /// Since when unhealthy targets eat its whole allowance.
    pub(crate) blocked_since: Option<u64>,
    /// A person lifted what only a person could lift.
    pub(super) allowed_by_person: bool,
    /// What the last look found ahead of it.
    ahead: Option<Ahead>,
    /// Who was born into it since the change began, and may live.
    born: Vec<TargetIndex>,
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
            self.note_growth(calm);
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
                Some(batch) if !self.decides_by(7) => self.open_upto(app, batch),
                Some(batch) => self.open_for_newborns(lane, app, batch, calm),
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
        self.take_room_for_newborns(lane);
        self.record.lane_opened(self.now_ms, batch, u64::from(size));
        self.admit_opened(lane, app);
    }

    /// Opens a batch for those alone who were born into it when the lane had come to its end: they wait for what all wait for.
    fn open_for_newborns(&mut self, lane: usize, app: AppIndex, batch: u16, calm: bool) {
        let (born, admitted) = if self.decides_by(8) {
            self.classes_admit_newborns(lane, app, batch)
        } else {
            let born = u32::try_from(self.unfinished_of(app).count()).unwrap_or(u32::MAX);
            (born, self.class_admits(0, batch, born))
        };
        let goes_on = calm && (self.evidence_is_overruled() || !self.is_suspect(app));
        if goes_on && admitted && self.may_open(batch, born) {
            self.open_upto(app, batch);
            self.take_room_for_newborns(lane);
            self.admit_opened(lane, app);
        }
    }

    /// How many those are, and whether each of their classes has room for them. However early their batch is, the plan knew nothing of them.
    fn classes_admit_newborns(&self, lane: usize, app: AppIndex, batch: u16) -> (u32, bool) {
        let mut of: BTreeMap<u32, u32> = BTreeMap::new();
        let planned = self.setup.change.fleet.targets_of(app);
        for target in planned.chain(self.lanes[lane].born.iter().copied()) {
            let state = &self.targets[target.0 as usize];
            let waits = state.alive && !state.on_new && !state.owed && state.in_flight.is_none();
            if waits && !self.domains.is_away(target) {
                for &class in &self.tables.strata_classes[state.stratum as usize] {
                    *of.entry(class).or_default() += 1;
                }
            }
        }
        let admits = |(&class, &count): (&u32, &u32)| {
            self.domains.is_dark(class) || self.class_admits(class, batch, count) && self.class_has_room(class, count)
        };
        (of.get(&0).copied().unwrap_or_default(), of.iter().all(admits))
    }

    /// Those born into a lane that rules hold keep no room in its classes.
    pub(super) fn give_back_of_newborns(&mut self, lane: usize) {
        for at in 0..self.lanes[lane].born.len() {
            self.redeem(self.lanes[lane].born[at]);
        }
    }

    /// Whoever was born into a batch before it was opened is no part of the slice that was asked about.
    pub(super) fn take_room_for_newborns(&mut self, lane: usize) {
        let mut born = std::mem::take(&mut self.lanes[lane].born);
        born.retain(|target| self.targets[target.0 as usize].alive);
        for &target in &born {
            self.take_room_for_newborn(target);
        }
        self.lanes[lane].born = born;
    }

    /// Asks the rules about what has just been opened, before anything of it is given.
    fn admit_opened(&mut self, lane: usize, app: AppIndex) {
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

    /// The rule that wants a person before it goes on, and whose it is.
    pub(super) fn wants_by(&self) -> Option<Rule> {
        let hold = self.hold.as_ref().filter(|hold| hold.needs_person())?;
        Some((hold.view().by.clone(), hold.view().owner.clone()))
    }

    /// What holds its way forward.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| !hold.back)
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

    /// Somebody was born into it.
    pub(super) fn has_born(&mut self, target: TargetIndex) {
        self.born.push(target);
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

    /// What rules held of it takes no room in its classes yet.
    pub(super) const fn is_withheld(&self) -> bool {
        self.withheld
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
