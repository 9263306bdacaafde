//! The machine beside a change that another tool drives: it is told what happens, and says what it would have done.

use std::collections::BTreeSet;

use unattended_batching::{AppIndex, TargetIndex};
use unattended_defense::Direction;

use super::classes::{ClassState, Fresh};
use super::tables::Slice;
use super::{Commands, Machine};

/// Who is behind by less than one of so many that may be exposed may only have drawn other batches.
const NOISE: u64 = 10;

/// Why a start of the other tool would not have been ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// Rules hold the application.
    Rules(String),
    /// A class would be larger than what was seen of it allows: its name, and how large it may be.
    Evidence(String, u32),
    /// The whole change is blocked by a check.
    Blocked(String),
}

/// By how many more of a class other batches of the same size may have drawn, in nineteen of twenty cases: no record says which were drawn,
/// and what the autopilot would object to only with some of them is no objection of its. The fleet as a whole has as many in all of them.
fn by_chance(class: u32, room: u32) -> u32 {
    if class == 0 { 0 } else { 2 * room.isqrt().max(1) }
}

/// What a lane has come to.
#[derive(Default)]
struct Has {
    alive: u64,
    /// Ordered to the new version, at any time.
    touched: u64,
    /// Some are ordered to it and do not run it.
    under_way: bool,
}

impl Machine {
    /// Time passes: classes go on as the evidence lets them, and the first reason to stop is answered with its code.
    pub(crate) fn watch(&mut self, now_ms: u64) -> Option<(&'static str, String)> {
        self.now_ms = self.now_ms.max(now_ms);
        // Nobody is asked anything here.
        self.watch_checks(&mut Commands::default());
        self.questions.clear();
        let stop = self.stop_found();
        if stop.is_none() {
            self.judge_stages_that_are_out();
            self.advance_classes();
        }
        stop
    }

    /// A class that has had at least a third of what it has for as long as a soak has had one: a stage about doubles what there is, what is drawn
    /// may make that more, and which stage is the last below the share that needs a soak depends on it, too.
    /// `reached_ms` says by class when it first had one, two, and so on.
    pub(crate) fn note_soaks(&mut self, reached_ms: &[Vec<u64>], same_batches: bool) {
        let soak_ms = self.setup.change.settings.soak_ms;
        for (state, reached_ms) in self.classes.iter_mut().zip(reached_ms) {
            let part = if same_batches {
                state.exposed - state.exposed / 10
            } else {
                state.exposed.div_ceil(3)
            };
            let since_ms = (part as usize).checked_sub(1).and_then(|part| reached_ms.get(part));
            if !state.soaked && since_ms.is_some_and(|&since| self.now_ms.saturating_sub(since) >= soak_ms) {
                state.soaked = true;
                state.soak_assumed_ms = Some(self.now_ms);
            }
        }
    }

    /// How many targets of a class are exposed.
    pub(crate) fn exposed_of(&self, class: u32) -> usize {
        self.classes[class as usize].exposed as usize
    }

    /// The classes that a target is of.
    pub(crate) fn classes_of(&self, target: TargetIndex) -> &[u32] {
        &self.tables.strata_classes[self.targets[target.0 as usize].stratum as usize]
    }

    /// How many classes there are.
    pub(crate) const fn classes_count(&self) -> usize {
        self.classes.len()
    }

    /// A class that may grow is judged by those who come next. Where the other tool's batches have as many of it out already, nobody comes next
    /// before it may grow again, and it would wait for them for ever: they are these. Where rules hold all who would come next, it is judged
    /// by those there are, as where the autopilot itself changes the fleet.
    fn judge_stages_that_are_out(&mut self) {
        let waits = |state: &ClassState| state.fresh == Fresh::Waiting && state.exposed > 0;
        if !self.classes.iter().any(waits) {
            return;
        }
        let awaited = self.classes_of_who_may_come();
        for (at, comes) in (0u32..).zip(awaited) {
            let (state, planned) = (&self.classes[at as usize], &self.tables.classes[at as usize]);
            let room = planned.cumulative[usize::from(state.stage)].max(1);
            if waits(state) && (state.exposed >= room || !comes) {
                self.class_refreshed(at);
            }
        }
    }

    /// By class, whether somebody of it may come next: a lane that rules let go has less than the evidence lets it have.
    fn classes_of_who_may_come(&self) -> Vec<bool> {
        let mut comes = vec![false; self.classes.len()];
        for (lane, app) in (0..self.lanes.len()).zip((0u32..).map(AppIndex)) {
            let has = self.touched_of(app).touched;
            let mut before = 0;
            let mut admitted = None;
            for slice in self.tables.slices[lane].iter().take_while(|slice| self.has_come(slice)) {
                before += u64::from(slice.size());
                if before <= has {
                    continue;
                }
                if !*admitted.get_or_insert_with(|| self.is_unruled() || self.would_admit(app)) {
                    break;
                }
                for &(class, _) in &slice.classes {
                    comes[class as usize] = true;
                }
            }
        }
        comes
    }

    /// Whether it would start this target now, given all that was started already.
    pub(crate) fn objection(&self, target: TargetIndex) -> Option<Objection> {
        let app = self.app_of(target);
        if !self.setup.guard.is_empty() {
            let decision = self.ask_rules(&self.setup.guard, app, Direction::Forward, self.wave());
            if !decision.verdict.may_start() {
                return Some(Objection::Rules(decision.why()));
            }
        }
        let stratum = self.targets[target.0 as usize].stratum as usize;
        for &class in &self.tables.strata_classes[stratum] {
            let (state, planned) = (&self.classes[class as usize], &self.tables.classes[class as usize]);
            let room = planned.cumulative[usize::from(state.stage)];
            if state.exposed >= room.saturating_add(by_chance(class, room)) {
                return Some(Objection::Evidence(planned.name.clone(), room));
            }
        }
        self.blocked_by().map(Objection::Blocked)
    }

    /// Whether whoever does nothing now waits for nothing: the lanes that rules let go, and that have rested, are behind what the evidence
    /// lets them have.
    ///
    /// Which targets are in which batch is drawn anew here, and how many a lane has in one is so, too: lanes are behind and ahead by turns, and
    /// only their sum tells. It counts where it is more than a tenth of all that may be exposed; so a target that was given up is no waiting.
    pub(crate) fn would_go_on(&self, now_ms: u64, worked_ms: &[u64]) -> bool {
        if !self.is_calm() {
            return false;
        }
        let settings = &self.setup.change.settings;
        let rest_ms = settings.warm_up_ms + settings.bake_ms;
        let suspects: BTreeSet<AppIndex> = self.suspects().into_iter().map(|(app, _)| app).collect();
        let (mut allowed, mut behind, mut ahead) = (0u64, 0u64, 0u64);
        for (lane, app) in (0..self.lanes.len()).zip((0u32..).map(AppIndex)) {
            let has = self.touched_of(app);
            let may = self.may_have(lane).min(has.alive);
            allowed += may;
            ahead += has.touched.saturating_sub(may);
            let rest_ms = rest_ms + if has.under_way { settings.attempt_estimate_ms } else { 0 };
            let rests = now_ms.saturating_sub(worked_ms.get(lane).copied().unwrap_or(0)) < rest_ms;
            let wants = may.saturating_sub(has.touched);
            if wants > 0 && self.may_soak_still(lane) {
                continue;
            }
            if wants > 0 && !rests && !suspects.contains(&app) && (self.is_unruled() || self.would_admit(app)) {
                behind += wants;
            }
        }
        behind > ahead && (behind - ahead).saturating_mul(NOISE) > allowed && self.blocked_by().is_none()
    }

    /// Whether a class of the lane was only taken to have soaked, and may be at it there.
    fn may_soak_still(&self, lane: usize) -> bool {
        let soak_ms = self.setup.change.settings.soak_ms;
        let at_it = |&(class, _): &(u32, u32)| {
            let assumed_ms = self.classes[class as usize].soak_assumed_ms;
            assumed_ms.is_some_and(|at| self.now_ms < at.saturating_add(soak_ms))
        };
        self.tables.slices[lane]
            .iter()
            .any(|slice| slice.classes.iter().any(at_it))
    }

    /// How many of its targets a lane may have by its own slices, all of whose classes have come to their batch.
    fn may_have(&self, lane: usize) -> u64 {
        let slices = self.tables.slices[lane].iter().take_while(|slice| self.has_come(slice));
        slices.map(|slice| u64::from(slice.size())).sum()
    }

    /// All classes of a slice have come to its batch.
    fn has_come(&self, slice: &Slice) -> bool {
        let stage = |&(class, _): &(u32, u32)| self.classes[class as usize].stage;
        slice.classes.iter().all(|class| slice.batch <= stage(class))
    }

    fn touched_of(&self, app: AppIndex) -> Has {
        let mut has = Has::default();
        for target in self.setup.change.fleet.targets_of(app) {
            let state = &self.targets[target.0 as usize];
            has.alive += u64::from(state.alive);
            has.touched += u64::from(state.ever_touched);
            has.under_way |= state.touched && !state.on_new;
        }
        has
    }

    /// The other tool has ordered a target to the new version.
    pub(crate) fn told_started(&mut self, target: TargetIndex) {
        self.touch(target);
    }

    /// A target runs the new version and is ready.
    pub(crate) fn told_ready(&mut self, target: TargetIndex) {
        self.touch(target);
        self.set_on_new(target, true);
        self.note_success(target);
        let stratum = self.targets[target.0 as usize].stratum as usize;
        for at in 0..self.tables.strata_classes[stratum].len() {
            let class = self.tables.strata_classes[stratum][at];
            self.class_refreshed(class);
        }
    }

    /// The new version did not start there.
    pub(crate) fn told_failed(&mut self, target: TargetIndex, why: String) {
        let well = self.setup.change.fleet.len() <= target.0 as usize || self.setup.change.fleet.ready(target);
        if well {
            self.start_failures.gate_failed(target, why);
        }
    }

    /// A target is ordered back.
    pub(crate) fn told_back(&mut self, target: TargetIndex) {
        self.set_on_new(target, false);
        self.untouch(target);
    }

    /// Targets that run, or may run, the new version.
    pub(crate) fn exposed_now(&self) -> u64 {
        u64::from(self.classes[0].exposed)
    }

    /// The evidence against the release, an e-value.
    pub(crate) fn evidence_now(&self) -> f64 {
        libm::exp(self.judge.ln_e().min(700.0))
    }

    /// The lane that a target is of.
    pub(crate) fn lane_of(&self, target: TargetIndex) -> usize {
        self.app_of(target).0 as usize
    }

    /// How many lanes there are.
    pub(crate) const fn lanes_count(&self) -> usize {
        self.lanes.len()
    }

    /// The stratum of a target.
    pub(crate) fn stratum_of_target(&self, name: &str) -> Option<u32> {
        self.index(name).map(|target| self.targets[target.0 as usize].stratum)
    }

    pub(crate) fn find(&self, name: &str) -> Option<TargetIndex> {
        self.index(name)
    }
}
