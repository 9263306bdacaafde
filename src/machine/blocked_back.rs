//! Targets that are to leave the new version, and that only caps keep on it: others of theirs are ill, and use up what may be out of service.

use std::collections::BTreeSet;

use unattended_batching::{Stuck, TargetIndex};

use crate::Severity;
use crate::notice::Matter;

use super::Machine;
use super::span::span;

/// Why such a target is owed.
pub(super) const KEPT: &str = "others of its application are ill, and the caps let no more be out of service";

impl Machine {
    /// Whether some wait for the caps, with nobody under way who would make room. They are given the time in which the ill may get well; what
    /// is left then is owed.
    pub(super) fn caps_hold_the_way_back(&mut self) -> bool {
        if !self.decides_by(5) {
            return false;
        }
        let blocked = self.kept_by_caps().len();
        if blocked == 0 {
            self.blocked_back = None;
            return false;
        }
        let since = match self.blocked_back {
            Some((since, _)) => since,
            None => self.say_caps_hold(blocked),
        };
        self.blocked_back = Some((since, blocked));
        self.now_ms - since < self.setup.change.settings.blocked_patience_ms
    }

    /// The same of classes that are set aside, while the rest goes forward. Whoever is under way may be what takes their room.
    pub(super) fn caps_hold_those_aside(&mut self) {
        if !self.decides_by(8) {
            return;
        }
        if self.in_flight > 0 || self.stop_pending() {
            // Nobody knows it then, and who was kept before may be so still.
            return;
        }
        let kept: BTreeSet<TargetIndex> = (self.aside.waiting())
            .filter(|&target| {
                let held = self.lanes[self.app_of(target).0 as usize].held_back().is_some();
                !held && !self.is_offered(target) && !self.frontier.has_room(target)
            })
            .collect();
        let count = kept.len();
        let late_ms = self.setup.change.settings.blocked_patience_ms;
        let late = self.aside.keeps(kept, self.now_ms, late_ms);
        let since = match self.blocked_back {
            _ if count == late.len() => None,
            Some((since, _)) => Some(since),
            None => Some(self.say_caps_hold(count)),
        };
        self.blocked_back = since.map(|since| (since, count - late.len()));
        for target in late {
            self.owe(target, false, KEPT.to_owned());
        }
    }

    fn say_caps_hold(&mut self, blocked: usize) -> u64 {
        let (from, to) = (&self.setup.change.from, &self.setup.change.to);
        let text = format!(
            "{} cannot leave {to} for {from} yet: others of theirs are ill, and the caps let no more be out of service",
            self.so_many(blocked, "target"),
        );
        let otherwise = "wider caps, or ill ones that get well, would have let them go".to_owned();
        self.decide_text("rollback.blocked", text, Some(otherwise));
        self.now_ms
    }

    /// Those that only caps keep on the version that is to be left.
    pub(super) fn kept_by_caps(&self) -> BTreeSet<TargetIndex> {
        let stuck = self.frontier.stuck().into_iter();
        let blocked = stuck.filter(|(_, why)| matches!(why, Stuck::Blocked(_)));
        blocked.map(|(target, _)| target).collect()
    }

    /// A version that is to be left and cannot be is something people have to know.
    pub(super) fn matters_of_blocked_back(&self, matters: &mut Vec<Matter>) {
        let Some((since, blocked)) = self.blocked_back.filter(|_| self.ended().is_none()) else {
            return;
        };
        let patience_ms = self.setup.change.settings.blocked_patience_ms;
        let text = format!(
            "{blocked} targets must leave {} and cannot: others of theirs are ill, and the caps let no more be out of service",
            self.setup.change.to
        );
        let left_ms = (since + patience_ms).saturating_sub(self.now_ms);
        matters.push(Matter {
            otherwise: format!(
                "they wait for the ill to get well, and are owed after {}",
                span(left_ms)
            ),
            remedy: "mend the ill ones, or bring these back by hand".to_owned(),
            ..self.matter("rollback.blocked", Severity::Critical, text)
        });
    }
}
