//! The machine beside a change that another tool drives: it is told what happens, and says what it would have done.

use unattended_batching::TargetIndex;
use unattended_defense::Direction;

use super::{Commands, Machine};

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

impl Machine {
    /// Time passes: classes go on as the evidence lets them, and the first reason to stop is answered with its code.
    pub(crate) fn watch(&mut self, now_ms: u64) -> Option<(&'static str, String)> {
        self.now_ms = self.now_ms.max(now_ms);
        // Nobody is asked anything here.
        self.watch_checks(&mut Commands::default());
        self.questions.clear();
        let stop = self.stop_found();
        if stop.is_none() {
            self.advance_classes();
        }
        stop
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
            if state.exposed >= room {
                return Some(Objection::Evidence(planned.name.clone(), room));
            }
        }
        self.blocked_by().map(Objection::Blocked)
    }

    /// Whether some lane that is not through may be touched now, and every class has room: whoever does nothing then waits for
    /// nothing.
    pub(crate) fn would_go_on(&self) -> bool {
        if !self.is_calm() {
            return false;
        }
        let (fleet, planned) = (&self.classes[0], &self.tables.classes[0]);
        if fleet.exposed >= planned.cumulative[usize::from(fleet.stage)] {
            return false;
        }
        let mut seen = vec![false; self.lanes.len()];
        (0u32..).zip(&self.targets).any(|(at, state)| {
            let target = TargetIndex(at);
            let lane = self.app_of(target).0;
            if !state.alive || state.touched || std::mem::replace(&mut seen[lane as usize], true) {
                return false;
            }
            self.objection(target).is_none()
        })
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

    /// The stratum of a target.
    pub(crate) fn stratum_of_target(&self, name: &str) -> Option<u32> {
        self.index(name).map(|target| self.targets[target.0 as usize].stratum)
    }

    pub(crate) fn find(&self, name: &str) -> Option<TargetIndex> {
        self.index(name)
    }
}
