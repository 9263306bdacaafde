//! What a person has seen and went on over: it stops nothing twice. What is twice as much is something else: a gate that refuses more
//! than twice as many targets, and evidence from then on where twice as many targets show it.

use std::collections::BTreeSet;

use crate::QuestionKind;

use super::Machine;

#[derive(Clone, Debug, Default)]
pub(super) struct Overruled {
    /// Evidence was, while fewer targets than these are reached; up to the third version of decisions for good.
    evidence_below: u64,
    /// What was no stop, and a question all the same: a class that cannot be compared, or what all share. Growth says nothing new of it. Up
    /// to the fourth version that was so of all of it at once.
    doubts: bool,
    /// The classes whose own traffic spoke against the release.
    classes: BTreeSet<u32>,
    /// What all share seemed to suffer.
    interference: bool,
    /// Targets that the gate had refused then; 0 where it was not the gate.
    pub(super) gate_failures: usize,
}

impl Machine {
    /// A person goes on over what stopped the change, or what speaks against it.
    pub(super) fn overrule(&mut self) {
        match self.stop_found() {
            Some(("stop.gate", _)) => self.overruled.gate_failures = self.start_failures.count(),
            Some(("stop.no_way_back", _)) => self.end_rehearsal(),
            Some(("stop.asked", _)) => {}
            Some(_) => self.overrule_evidence(),
            None => self.overrule_doubts(),
        }
        self.asked_back = None;
        self.forget_stop();
    }

    /// What stopped the change does no longer, and what will is a stop of its own.
    pub(super) fn forget_stop(&mut self) {
        self.aside.forget_suspects();
        self.questions.close(QuestionKind::SetClassAside);
        self.stop_text = None;
        self.stop_ln_e = None;
        self.stop_scope = None;
        self.exposed_at_stop = None;
    }

    /// Evidence begins anew, and stops nothing until twice as many targets could show it.
    fn overrule_evidence(&mut self) {
        self.let_evidence_pass();
        if !self.decides_by(4) {
            return;
        }
        self.judge.begin_anew();
        for (class, state) in self.tables.classes.iter().zip(&mut self.classes) {
            state.begin_anew(class, self.now_ms);
        }
    }

    /// A class need not show any more what it could not, or what all share is asked about no more; whatever else is found still is, and evidence
    /// that would stop the change does.
    fn overrule_doubts(&mut self) {
        if !self.decides_by(5) {
            self.let_evidence_pass();
            self.overruled.doubts = self.decides_by(4);
            return;
        }
        if self.interferes() {
            self.overruled.interference = true;
            return;
        }
        let doubtful = self.doubtful_classes();
        self.overruled.classes.extend(doubtful);
    }

    fn let_evidence_pass(&mut self) {
        // Late in a change there are not twice as many: half of those that are left.
        let left = self.alive.saturating_sub(self.touched);
        let more = self.touched.max(1).min(left.div_ceil(2).max(1));
        self.overruled.evidence_below = if self.decides_by(4) {
            self.touched.saturating_add(more)
        } else {
            u64::MAX
        };
    }

    /// A person knows of what the class cannot show.
    pub(super) fn class_is_overruled(&self, class: u32) -> bool {
        self.overruled.doubts || self.evidence_is_overruled() || self.overruled.classes.contains(&class)
    }

    /// A person knows of what all share.
    pub(super) const fn interference_is_overruled(&self) -> bool {
        self.overruled.doubts || self.evidence_is_overruled() || self.overruled.interference
    }

    /// A person knows of all that could be asked about.
    pub(super) const fn all_is_overruled(&self) -> bool {
        self.overruled.doubts || self.evidence_is_overruled()
    }

    /// A person went on over the evidence, and hardly more has been seen since.
    pub(super) const fn evidence_is_overruled(&self) -> bool {
        self.touched < self.overruled.evidence_below
    }
}
