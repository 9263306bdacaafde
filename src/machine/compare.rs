//! The last comparison: before a change calls itself done, what it believes is compared with what is.

use std::collections::BTreeSet;

use unattended_batching::TargetIndex;
use unattended_upgrade::TargetId;

use crate::notice::Matter;
use crate::{Outcome, Severity};

use super::autonomy::some_of;
use super::span::span;
use super::{Check, Commands, Course, Machine, Target};

/// Who could not be looked at for so long is told of: a node that starts anew takes minutes.
const UNSEEN_MS: u64 = 900_000;

impl Machine {
    /// Has the world looked at before the change calls itself done: belief is not enough.
    pub(super) fn compare(&self, commands: &mut Commands) {
        if self.now_ms < self.check_at {
            return;
        }
        let hides = self.hides();
        let seen = self.compared_ones().filter(|&target| hides(target).is_none());
        let targets = seen.map(|target| TargetId::from(self.name(target))).collect();
        let change = &self.setup.change;
        let back = self.course == Course::Back;
        let version = if back { &change.from } else { &change.to };
        commands.check = Some(Check {
            targets,
            version: version.clone(),
            any: false,
        });
    }

    /// Whom the comparison is about.
    fn compared_ones(&self) -> impl Iterator<Item = TargetIndex> {
        let back = self.course == Course::Back;
        let chosen = move |target: &Target| target.alive && !target.owed && (target.ever_touched || !back);
        let targets = (0u32..).zip(&self.targets);
        targets
            .filter(move |(_, target)| chosen(target))
            .map(|(at, _)| TargetIndex(at))
    }

    /// The world was looked at: these do not run what they should, and those could not be looked at while others could. They are given time:
    /// some just restart.
    pub(crate) fn seen(&mut self, wrong: &[(String, String)], unseen: &[String]) -> Commands {
        let before = std::mem::take(&mut self.unseen);
        let since = |name: &String| before.get(name).copied().unwrap_or(self.now_ms);
        self.unseen = unseen.iter().map(|name| (name.clone(), since(name))).collect();
        let mut commands = self.compared(wrong, unseen);
        self.tell_people(&mut commands);
        commands
    }

    fn compared(&mut self, wrong: &[(String, String)], unseen: &[String]) -> Commands {
        let mut commands = Commands::default();
        if self.seen_by_hand(wrong) {
            return commands;
        }
        if self.sight.silent_ms.is_some() {
            // Others are seen: those that are not are a part that is cut off, and wait for it.
            self.sight = super::receipts::Sight::at(self.now_ms);
            return commands;
        }
        let settings = &self.setup.change.settings;
        self.check_at = self.now_ms + settings.interval_ms;
        self.sight = super::receipts::Sight::at(self.now_ms);
        let patience = settings.blocked_patience_ms;
        let hidden = self.hidden();
        let mut names: BTreeSet<String> = wrong.iter().map(|(name, _)| name.clone()).collect();
        // Nobody has seen that they are as they should be.
        names.extend(hidden.iter().map(|(target, ..)| self.name(*target).to_owned()));
        names.extend(unseen.iter().cloned());
        let first = self.wrong_since.is_none();
        let since = *self.wrong_since.get_or_insert(self.now_ms);
        if first {
            self.always_wrong = names;
        } else {
            self.always_wrong.retain(|name| names.contains(name));
        }
        let waits = hidden.iter().any(|(_, silent_ms, _)| *silent_ms < patience);
        if waits || !(wrong.is_empty() && unseen.is_empty()) && self.now_ms - since < patience {
            return commands;
        }
        // In a large fleet somebody always restarts: those who were right once are.
        let lasting: Vec<&(String, String)> = wrong
            .iter()
            .filter(|(name, _)| self.always_wrong.contains(name))
            .collect();
        for (name, why) in &lasting {
            if let Some(target) = self.index(name) {
                self.owe(
                    target,
                    true,
                    format!("its attempt succeeded, and it is not as it should be: {why}"),
                );
            }
        }
        let out_of_sight: Vec<&String> = unseen.iter().filter(|name| self.always_wrong.contains(*name)).collect();
        for name in &out_of_sight {
            if let Some(target) = self.index(name) {
                self.owe(target, true, self.unseen_in_words(name));
            }
        }
        let all_seen = lasting.is_empty() && hidden.is_empty() && out_of_sight.is_empty();
        let forward = self.course == Course::Forward;
        for (target, silent_ms, domain) in hidden {
            self.owe(
                target,
                true,
                format!("{domain} could not be reached for {}", span(silent_ms)),
            );
        }
        if forward && self.decides_by(5) && self.too_many_are_left() {
            // Somebody is asked about so many first.
            return commands;
        }
        let outcome = match (self.course, self.debts.is_empty()) {
            (Course::Back, _) if all_seen => Outcome::RolledBack,
            (Course::Back, _) => Outcome::RolledBackPartially,
            (_, true) => Outcome::Completed,
            (_, false) => Outcome::CompletedWithDebt,
        };
        self.end(outcome, &mut commands);
        commands
    }

    /// Those that the comparison is about and no look shows, for how long, and where they live.
    fn hidden(&self) -> Vec<(TargetIndex, u64, String)> {
        let hides = self.hides();
        let hidden = self.compared_ones().filter_map(|target| {
            let (domain, since_ms) = hides(target)?;
            Some((target, self.now_ms.saturating_sub(since_ms), domain.to_owned()))
        });
        hidden.collect()
    }

    /// For how long no look has shown it.
    fn unseen_in_words(&self, name: &str) -> String {
        let since_ms = self.unseen.get(name).copied().unwrap_or(self.now_ms);
        format!(
            "no look at it has been answered for {}",
            span(self.now_ms.saturating_sub(since_ms))
        )
    }

    /// Single targets at which looks hang keep the change from its end for a while: people are told before they are owed.
    pub(super) fn matters_of_unseen(&self, matters: &mut Vec<Matter>) {
        let long = self
            .unseen
            .iter()
            .filter(|(_, since_ms)| self.now_ms.saturating_sub(**since_ms) >= UNSEEN_MS);
        let long: Vec<&str> = long.map(|(name, _)| name.as_str()).collect();
        if long.is_empty() || self.ended().is_some() {
            return;
        }
        let text = format!(
            "{} targets cannot be looked at while others can, {}",
            long.len(),
            some_of(&long)
        );
        let patience = span(self.setup.change.settings.blocked_patience_ms);
        matters.push(Matter {
            otherwise: format!(
                "they are owed when they have not been seen for {patience}, and nothing is called done before"
            ),
            remedy: "see to them, or to whoever answers for them".to_owned(),
            ..self.matter("targets.unseen", Severity::Warning, text)
        });
    }

    /// What the world showed at earlier looks says nothing of what is done since.
    pub(super) fn forget_looks(&mut self) {
        self.wrong_since = None;
        self.always_wrong.clear();
        self.unseen.clear();
    }
}
