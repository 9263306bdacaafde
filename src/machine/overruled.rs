//! What a person has seen and went on over: it stops nothing twice. What is twice as much is something else: a gate that refuses more
//! than twice as many targets, and evidence from then on where twice as many targets show it.

use std::collections::BTreeMap;

use crate::QuestionKind;

use super::Machine;

#[derive(Clone, Debug, Default)]
pub(super) struct Overruled {
    /// Evidence was, while fewer targets than these are reached; up to the third version of decisions for good.
    evidence_below: u64,
    /// What was no stop, and a question all the same: a class that cannot be compared, or what all share. Up to the fourth version that was
    /// so of all of it at once, and for good.
    doubts: bool,
    /// The classes whose own traffic spoke against the release, each with the stage of which that was; up to the seventh version it was for
    /// good.
    classes: BTreeMap<u32, u16>,
    /// What all share seemed to suffer, by no more than this factor; 0 where nobody has gone on over it.
    interference_upto: f64,
    /// Targets that the gate had refused then; 0 where it was not the gate.
    pub(super) gate_failures: usize,
}

impl Overruled {
    /// Stages begin anew: what was said of one is no word for another of its number.
    pub(super) fn forget_classes(&mut self) {
        self.classes.clear();
    }
}

impl Machine {
    /// A person goes on over what stopped the change, or what speaks against it.
    pub(super) fn overrule(&mut self) {
        // What was asked about, and not what has been found since.
        let found = match self.decides_by(8) {
            true => self.stop_code,
            false => self.stop_found().map(|(code, _)| code),
        };
        match found {
            Some("stop.gate") => self.overruled.gate_failures = self.start_failures.count(),
            Some("stop.no_way_back") => self.end_rehearsal(),
            Some("stop.asked") => {}
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
        self.stop_code = None;
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
        if !self.decides_by(8) {
            if self.interferes() {
                self.overruled.interference_upto = f64::INFINITY;
                return;
            }
            for class in self.doubtful_classes() {
                self.overruled.classes.insert(class, self.classes[class as usize].stage);
            }
            return;
        }
        let about = std::mem::take(&mut self.questions.about.doubts);
        if about.is_empty()
            && let Some(factor) = self.forget_what_all_share()
        {
            // Of what they suffer more than before, twice as much.
            self.overruled.interference_upto = 2.0 * factor - 1.0;
        }
        for class in about {
            // One target may be all that a class has shown: a word about it is none about thousands.
            self.overruled.classes.insert(class, self.classes[class as usize].stage);
        }
    }

    fn let_evidence_pass(&mut self) {
        self.overruled.evidence_below = if self.decides_by(4) {
            self.twice_as_many()
        } else {
            u64::MAX
        };
    }

    /// Late in a change there are not twice as many: half of those that are left.
    fn twice_as_many(&self) -> u64 {
        let left = self.alive.saturating_sub(self.touched);
        let more = self.touched.max(1).min(left.div_ceil(2).max(1));
        self.touched.saturating_add(more)
    }

    /// A person knows of what the class cannot show.
    pub(super) fn class_is_overruled(&self, class: u32) -> bool {
        let stage = self.classes[class as usize].stage;
        let known = (self.overruled.classes.get(&class)).is_some_and(|&known| known == stage || !self.decides_by(8));
        known || self.overruled.doubts || self.evidence_is_overruled()
    }

    /// A person knows of what all share.
    pub(super) const fn interference_is_overruled(&self) -> bool {
        self.overruled.interference_upto == f64::INFINITY || self.overruled.doubts || self.evidence_is_overruled()
    }

    /// Up to which factor a person knows of it.
    pub(super) const fn known_interference(&self) -> f64 {
        self.overruled.interference_upto
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
