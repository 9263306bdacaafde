//! What goes on around the change: what rules and checks are told of it.

use std::collections::BTreeSet;

use unattended_batching::AppIndex;
use unattended_defense::{Decision, Direction};

use crate::around::Seen;

use super::Machine;

impl Machine {
    /// The world around was looked at, and is not as before: lanes that were held are asked about again, and those that were not, too.
    pub(crate) fn look_around(&mut self, seen: Seen) {
        let names = |findings: &[unattended_defense::Finding]| -> Vec<String> {
            let against = findings.iter().filter(|finding| !finding.verdict.may_start());
            against
                .map(|finding| format!("{} ({})", finding.rule, finding.reason))
                .collect()
        };
        let (before, now) = (names(&self.around.findings), names(&seen.findings));
        if before != now {
            let text = if now.is_empty() {
                "no check stands against going on any more".to_owned()
            } else {
                format!("what would go forward is held: {}", now.join("; "))
            };
            self.decide_text("checks.changed", text, None);
        }
        self.around = seen;
        for lane in &mut self.lanes {
            lane.ask_again(self.now_ms);
        }
        self.scan_due = true;
    }

    /// Whether it is as before.
    pub(crate) fn has_seen(&self, seen: &Seen) -> bool {
        self.around == *seen
    }

    /// Whether anything was seen that a run without eyes would go on believing.
    pub(crate) fn believes_in_surroundings(&self) -> bool {
        self.around != Seen::default()
    }

    /// Nobody has a word about when to go.
    pub(super) fn is_unruled(&self) -> bool {
        self.setup.guard.is_empty() && self.around.findings.is_empty()
    }

    /// Checks are about going on. What goes back is held by none of them.
    pub(super) fn with_checks(&self, decision: Decision, direction: Direction) -> Decision {
        if direction == Direction::Rollback || self.around.findings.is_empty() {
            return decision;
        }
        decision.join(self.around.findings.clone(), Vec::new())
    }

    /// The scope of the whole change: every application, and every value of their labels.
    pub(crate) fn label_values(&self) -> BTreeSet<(String, String)> {
        let fleet = &self.setup.change.fleet;
        let apps = (0..fleet.app_count()).map(|app| ("app".to_owned(), fleet.app_name(AppIndex(app)).to_owned()));
        let labels = self.tables.app_labels.iter().flatten().cloned();
        apps.chain(labels).collect()
    }
}
