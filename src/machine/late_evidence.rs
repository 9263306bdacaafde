//! What people are asked about classes: where traffic speaks against the release and nothing can be compared, and where evidence does not come.

use crate::QuestionKind;

use super::classes::{Fresh, SUSPECT_MS, is_compared};
use super::span::span;
use super::{Commands, Machine};

/// After so long the next time counts as the first again.
const FORGIVEN_MS: u64 = 24 * 3_600_000;

impl Machine {
    /// Asks a person where a class's own traffic speaks against the release and there is no control to stop on, and
    /// where evidence is missing for too long.
    pub(super) fn check_evidence_patience(&mut self, commands: &mut Commands) {
        if self.all_is_overruled() {
            return;
        }
        if self.ask_about_interference(commands) {
            return;
        }
        let patience = self.setup.change.settings.patience_ms;
        // What lost telemetry holds no answer lets go.
        let calm = self.is_calm();
        let mut late_ones = Vec::new();
        for class in 0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX) {
            let state = &self.classes[class as usize];
            let Fresh::Counting(since) = state.fresh else { continue };
            let has_next = self.tables.classes[class as usize].next_stage(state.stage).is_some();
            if self.aside.has_class(class) || self.class_is_overruled(class) {
                continue;
            }
            // All others wait for the region in its first exposure, though it has no stage to come.
            let is_awaited = class == 0 && self.is_one_stage() || self.decides_by(8) && self.domains.is_exposing(class);
            if state.granted || !(has_next || is_awaited) {
                continue;
            }
            let late = calm && self.now_ms - since >= patience && self.is_shown_or_last(class);
            let safety = self.judge.safety(class);
            let Some(metric) = self.contradiction(class, &safety) else {
                if late && !self.decides_by(6) {
                    self.ask_to_go_on(&[class], commands);
                    return;
                }
                // What speaks against the release in another class is asked about first.
                late_ones.extend(late.then_some(class));
                continue;
            };
            if !late {
                if is_compared(&safety) {
                    continue;
                }
                let suspected = &mut self.classes[class as usize].suspected;
                *suspected = suspected.filter(|at| self.now_ms - at < FORGIVEN_MS);
                let since = *suspected.get_or_insert(self.now_ms);
                if self.now_ms - since < SUSPECT_MS {
                    self.judge.restart_safety(class);
                    continue;
                }
            }
            let name = &self.tables.classes[class as usize].name;
            let why = if is_compared(&safety) && self.decides_by(8) {
                format!("has waited {} for evidence of safety", span(patience))
            } else {
                "cannot be stopped on evidence".to_owned()
            };
            let mut doubts = vec![class];
            let mut likewise = String::new();
            if self.decides_by(8) {
                doubts.extend(self.doubtful_classes().into_iter().filter(|&other| other != class));
                if let more @ 1.. = doubts.len() - 1 {
                    likewise = format!(", as {more} other classes do that it may share them with");
                }
            }
            let text = format!(
                "class {name} {why}, and after {} requests its metric {metric} speaks against the release by {:.0} to one{likewise}: \
                 roll back?",
                safety.requests_seen,
                1.0 / self.setup.change.settings.alpha,
            );
            let otherwise = "the change keeps its size".to_owned();
            if self.ask(QuestionKind::RollBack, text, otherwise, commands) {
                self.questions.about.doubts = doubts;
            }
            return;
        }
        if calm && self.decides_by(7) {
            self.close_what_has_passed(&late_ones);
        }
        if !late_ones.is_empty() {
            self.ask_to_go_on(&late_ones, commands);
        }
    }

    /// What was asked and is so no more is asked no more: evidence has come meanwhile, or what spoke against the release does not any more.
    fn close_what_has_passed(&mut self, late_ones: &[u32]) {
        let stage = |class: u32| self.classes[class as usize].stage;
        let mut asked = self.questions.about.classes.iter();
        if !asked.any(|(class, &at)| late_ones.contains(class) && stage(*class) == at) {
            self.questions.close(QuestionKind::GoOnWithoutEvidence);
        }
        // Without a class it was about what all share, which is asked about as long as it is found, and before this.
        let doubts = &self.questions.about.doubts;
        let speaks = |&class: &u32| self.contradiction(class, &self.judge.safety(class)).is_some();
        let about_classes = !doubts.is_empty();
        if !self.stop_pending() && !doubts.iter().any(speaks) && (about_classes || self.decides_by(8)) {
            self.questions.about.doubts.clear();
            self.questions.close(QuestionKind::RollBack);
        }
    }

    /// Whether somebody of the class runs the new version, or nobody is left to: no word makes a class grow that nobody shows.
    fn is_shown_or_last(&self, class: u32) -> bool {
        let state = &self.classes[class as usize];
        let has_next = self.tables.classes[class as usize].next_stage(state.stage).is_some();
        !self.decides_by(7) || state.exposed > 0 || !has_next
    }

    /// The classes whose own traffic speaks against the release, and that people could be asked about.
    pub(super) fn doubtful_classes(&self) -> Vec<u32> {
        let classes = 0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX);
        let is_doubtful = |&class: &u32| {
            let counts = matches!(self.classes[class as usize].fresh, Fresh::Counting(_));
            counts && !self.aside.has_class(class) && self.contradiction(class, &self.judge.safety(class)).is_some()
        };
        classes.filter(is_doubtful).collect()
    }

    fn ask_to_go_on(&mut self, classes: &[u32], commands: &mut Commands) {
        let Some(&class) = classes.first() else { return };
        let safety = self.judge.safety(class);
        let others = match classes.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} other classes wait likewise"),
        };
        let text = format!(
            "class {} has waited {} for evidence of safety and has {:.1} of {:.0} needed after {} requests{others}: go on without it?",
            self.tables.classes[class as usize].name,
            span(self.setup.change.settings.patience_ms),
            libm::exp(safety.ln_s),
            libm::exp(safety.needed),
            safety.requests_seen,
        );
        let otherwise = "the change keeps its size and goes on waiting".to_owned();
        if self.ask(QuestionKind::GoOnWithoutEvidence, text, otherwise, commands) {
            let stage = |&class: &u32| (class, self.classes[class as usize].stage);
            self.questions.about.classes = classes.iter().map(stage).collect();
        }
    }

    /// A person lets every class pass that they were asked about, still waits, and of which nothing speaks against the release.
    pub(super) fn go_on_without_evidence(&mut self) {
        let meant = std::mem::take(&mut self.questions.about.classes);
        let patience = self.setup.change.settings.patience_ms;
        for class in 0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX) {
            let Fresh::Counting(since) = self.classes[class as usize].fresh else {
                continue;
            };
            let is_meant = !self.decides_by(7) || meant.get(&class) == Some(&self.classes[class as usize].stage);
            let late = is_meant && self.now_ms - since >= patience && self.is_shown_or_last(class);
            let doubtful = || self.contradiction(class, &self.judge.safety(class)).is_some();
            if late && !(self.decides_by(6) && doubtful()) {
                self.classes[class as usize].granted = true;
            }
        }
    }
}
