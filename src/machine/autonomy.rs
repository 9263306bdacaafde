//! Whose word each step needs: levels, grants and budgets. Nothing here makes anything possible that plan, rules and evidence
//! do not allow; it only holds back.

use std::collections::{BTreeMap, VecDeque};

use unattended_batching::{AppIndex, TargetIndex};
use unattended_health::{HoldReason, Verdict};

use crate::level::Act;
use crate::{Actor, ActorKind, Level, QuestionKind};

use super::steps::Offered;
use super::{Commands, Machine};

/// Blocks that begin so soon after the end of one are the same.
const SAME_BLOCK_MS: u64 = 30 * 60_000;
/// For so long a check may block before a person is asked: most blocks end, or grow into a stop, which asks by itself.
const ASK_AFTER_MS: u64 = 30 * 60_000;
const DAY_MS: u64 = 24 * 3_600_000;
/// While the autopilot chooses when to begin, it asks the rules so often.
const CHOOSE_EVERY_MS: u64 = 10 * 60_000;

/// A check that has stopped the change from growing.
#[derive(Clone, Debug)]
pub(super) struct Block {
    since_ms: u64,
    text: String,
    /// A person said to go on as soon as the check lets it.
    lifted: bool,
}

/// What of the budgets a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beyond {
    Age,
    Starts,
    Exposure,
}

/// What is allowed, and what of it is spent.
#[derive(Debug)]
pub(super) struct Autonomy {
    pub(super) level: Level,
    pub(super) until_ms: u64,
    /// A grant has run out, and nobody has said anything of the level since.
    pub(super) expired: bool,
    pub(super) begun: bool,
    /// When the rules are asked next whether it is a good moment to begin.
    pub(super) choose_at_ms: u64,
    /// The highest batch that may be opened without another word, at levels where each needs one.
    pub(super) confirmed: Option<u16>,
    /// The lowest batch that some lane could open now: lanes and targets.
    pub(super) wanted: Option<(u16, u64, u64)>,
    /// The batch that a person is asked for.
    pub(super) asked: Option<u16>,
    pub(super) block: Option<Block>,
    pub(super) offered: BTreeMap<TargetIndex, Offered>,
    /// Those that a person says are done are being looked at.
    pub(super) looks: Option<super::Direction>,
    /// Starts of the last day, by minute.
    pub(super) starts: VecDeque<(u64, u64)>,
    pub(super) resumes: VecDeque<u64>,
    pub(super) unblocked_ms: Option<u64>,
    pub(super) rollbacks: VecDeque<u64>,
    pub(super) beyond: Option<Beyond>,
    /// A person let it expose more than its share.
    pub(super) exposure_lifted: bool,
    /// From when its age counts: its beginning, or a person's word.
    pub(super) young_since_ms: u64,
}

impl Autonomy {
    pub(super) const fn new(level: Level, until_ms: u64, now_ms: u64) -> Self {
        Self {
            level,
            until_ms,
            expired: false,
            begun: false,
            choose_at_ms: 0,
            confirmed: None,
            wanted: None,
            asked: None,
            block: None,
            offered: BTreeMap::new(),
            looks: None,
            starts: VecDeque::new(),
            resumes: VecDeque::new(),
            unblocked_ms: None,
            rollbacks: VecDeque::new(),
            beyond: None,
            exposure_lifted: false,
            young_since_ms: now_ms,
        }
    }

    /// The target is no more.
    pub(super) fn forget(&mut self, target: TargetIndex) {
        self.offered.remove(&target);
    }

    /// Nothing of it may be opened yet, or nobody has seen to it.
    pub(super) const fn is_blocked(&self) -> bool {
        self.block.is_some()
    }

    /// Whether a block is the one that ended a moment ago.
    fn is_same_block(&self, block: &Block) -> bool {
        self.unblocked_ms
            .is_some_and(|at| block.since_ms <= at.saturating_add(SAME_BLOCK_MS))
    }

    /// A block is over, and the change goes on: by itself, which is counted where it is not the same as before, or by a person's word.
    /// A check that comes and goes is the same for a while after the end that was counted. `each_moves`: after any end, as long ago,
    /// so that it was never counted again.
    fn goes_on(&mut self, block: &Block, each_moves: bool, now_ms: u64) {
        let again = self.is_same_block(block);
        if !again && !block.lifted {
            self.resumes.push_back(now_ms);
        }
        if !again || block.lifted || each_moves {
            self.unblocked_ms = Some(now_ms);
        }
        self.block = None;
    }

    /// What was done of late, by time.
    fn forget_days_before(&mut self, now_ms: u64) {
        while self.starts.front().is_some_and(|&(at, _)| at + DAY_MS <= now_ms) {
            self.starts.pop_front();
        }
        for log in [&mut self.resumes, &mut self.rollbacks] {
            while log.front().is_some_and(|&at| at + DAY_MS <= now_ms) {
                log.pop_front();
            }
        }
    }
}

impl Machine {
    /// The level in force.
    pub(super) const fn level(&self) -> Level {
        self.autonomy.level
    }

    pub(super) fn may(&self, act: Act) -> bool {
        self.autonomy.level.may(act)
    }

    /// Time passes: grants run out, and days end.
    pub(super) fn pass_levels(&mut self) {
        self.autonomy.looks = None;
        self.autonomy.forget_days_before(self.now_ms);
        if self.autonomy.level > Level::UNGRANTED && self.now_ms >= self.autonomy.until_ms {
            let text = format!(
                "the grant of level {} has run out: the change goes on at {}, where a person confirms each batch",
                self.autonomy.level,
                Level::UNGRANTED
            );
            let otherwise = "a longer grant would have kept the level".to_owned();
            self.decide_text("level.expired", text, Some(otherwise));
            self.autonomy.expired = true;
            self.set_level(Level::UNGRANTED);
        }
    }

    fn set_level(&mut self, level: Level) {
        let before = std::mem::replace(&mut self.autonomy.level, level);
        if before < level {
            // What a higher level needs no word for is not asked about any more; it is decided again.
            for kind in [
                QuestionKind::Steps,
                QuestionKind::NextBatch,
                QuestionKind::Blocked,
                QuestionKind::Begin,
            ] {
                self.questions.close(kind);
            }
        }
        self.scan_due = true;
    }

    /// Somebody gives or takes a level.
    pub(super) fn change_level(&mut self, actor: &Actor, level: Level, until_unix_ms: Option<i64>) {
        if let Some(why) = self.level_refusal(actor, level, until_unix_ms) {
            self.decide_text("level.refused", format!("{level} is not granted: {why}"), None);
            return;
        }
        self.autonomy.expired = false;
        if let Some(until) = until_unix_ms {
            self.autonomy.until_ms = self.run_ms(until);
        }
        self.decide_text(
            "level.changed",
            format!("the level is {level}, and was {}", self.autonomy.level),
            None,
        );
        self.set_level(level);
    }

    /// Whether the change has begun; where a program chose it, below L5 a person is asked.
    pub(super) fn has_begun(&mut self, commands: &mut Commands) -> bool {
        // Births touch, and begin nothing.
        if self.autonomy.begun || self.touched > 0 && !self.decides_by(5) {
            return true;
        }
        let author = &self.setup.change.author;
        if self.may(Act::Begin) {
            if self.now_ms < self.autonomy.choose_at_ms {
                return false;
            }
            self.autonomy.choose_at_ms = self.now_ms + CHOOSE_EVERY_MS;
            let waited = self.now_ms - self.setup.header.began_ms;
            let closed = self.first_classes_closed();
            if !closed.is_empty() && waited < self.setup.change.settings.patience_ms {
                if waited == 0 {
                    let text = format!(
                        "it does not begin yet: the rules would keep {} out of the first batch",
                        some_of(&closed)
                    );
                    let otherwise = "an open lane of each class would have let it begin".to_owned();
                    self.decide_text("change.waits", text, Some(otherwise));
                }
                // To wait for a better moment is no stall.
                self.moved_ms = self.now_ms;
                return false;
            }
            let why = if closed.is_empty() {
                "the first batch can show every class".to_owned()
            } else {
                format!("it has waited long enough for {}", some_of(&closed))
            };
            self.decide_text("change.began", format!("it begins now: {why}"), None);
        } else if author.kind == ActorKind::Program {
            let text = format!(
                "{author} chose {} to go from {} to {} over {} targets, and at {} a person decides what begins: begin?",
                self.setup.change.id,
                self.setup.change.from,
                self.setup.change.to,
                self.alive,
                self.level(),
            );
            self.ask(QuestionKind::Begin, text, "nothing is touched".to_owned(), commands);
            return false;
        }
        self.autonomy.begun = true;
        true
    }

    /// A person said to begin.
    pub(super) const fn begin_by_person(&mut self) {
        self.autonomy.begun = true;
    }

    /// The classes of the first batch of which no lane may start now.
    fn first_classes_closed(&self) -> Vec<String> {
        let mut open = vec![None; self.tables.classes.len()];
        for (lane, slices) in self.tables.slices.iter().enumerate() {
            let Some(slice) = slices.first().filter(|slice| slice.batch == 0) else {
                continue;
            };
            let app = AppIndex(u32::try_from(lane).unwrap_or(u32::MAX));
            if slice
                .classes
                .iter()
                .all(|&(class, _)| open[class as usize] == Some(true))
            {
                continue;
            }
            let may = self.is_unruled() || self.would_admit(app);
            for &(class, _) in &slice.classes {
                let known = open[class as usize].get_or_insert(false);
                *known |= may;
            }
        }
        let closed = self.tables.classes.iter().zip(open);
        closed
            .filter(|(_, open)| *open == Some(false))
            .map(|(class, _)| class.name.clone())
            .collect()
    }

    /// What a check says against going on: a finding, not data that are missing.
    fn finding(&self) -> Option<String> {
        match self.judge.verdict() {
            Verdict::Hold(hold) => match hold.reason {
                HoldReason::Suspicion { .. }
                    if self.evidence_is_overruled() || self.is_stale(|judge| judge.settled_ln_e()) =>
                {
                    None
                }
                HoldReason::SampleRatio { .. }
                | HoldReason::Interference { .. }
                | HoldReason::Burn(_)
                | HoldReason::Leak { .. }
                | HoldReason::Suspicion { .. } => Some(hold.reason.to_string()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Blocks where a check finds something, and says who lets it go on: a person, or from L4 on the end of what was found.
    pub(super) fn watch_checks(&mut self, commands: &mut Commands) {
        let found = self.finding();
        match (&mut self.autonomy.block, found) {
            (None, Some(text)) => {
                self.decide_text("check.blocked", text.clone(), None);
                self.autonomy.block = Some(Block {
                    since_ms: self.now_ms,
                    text,
                    lifted: false,
                });
            }
            (Some(block), Some(text)) => block.text = text,
            (None, None) => return,
            (Some(_), None) => {}
        }
        let over = self.finding().is_none();
        let Some(block) = self.autonomy.block.clone() else {
            return;
        };
        let again = self.autonomy.is_same_block(&block);
        let spent = self.autonomy.resumes.len() >= self.setup.change.settings.budget.resumes_per_day as usize;
        let alone = self.may(Act::Resume) && (again || !spent);
        if over && (alone || block.lifted) {
            let each_moves = !self.decides_by(4);
            self.autonomy.goes_on(&block, each_moves, self.now_ms);
            self.moved_ms = self.now_ms;
            self.questions.close(QuestionKind::Blocked);
            self.decide_text(
                "check.passed",
                "what had blocked the change is over, and it goes on".to_owned(),
                None,
            );
            return;
        }
        if alone || block.lifted || !over && self.now_ms - block.since_ms < ASK_AFTER_MS {
            return;
        }
        let minutes = (self.now_ms - block.since_ms) / 60_000;
        let state = if over { "is over" } else { "still is so" };
        let why = if self.may(Act::Resume) {
            let most = self.setup.change.settings.budget.resumes_per_day;
            format!("it has gone on by itself {most} times within a day, as often as it may")
        } else {
            format!("at {} a person says whether it goes on", self.level())
        };
        let text = format!(
            "a check blocked the change {minutes} min ago ({}), which {state}, and {why}: go on?",
            block.text
        );
        self.ask(
            QuestionKind::Blocked,
            text,
            "the change keeps its size".to_owned(),
            commands,
        );
    }

    /// What blocks the change, if a check does.
    pub(super) fn blocked_by(&self) -> Option<String> {
        self.autonomy.block.as_ref().map(|block| block.text.clone())
    }

    /// A person said to go on where a check had blocked the change; it does as soon as the check lets it.
    pub(super) fn lift_block(&mut self) {
        if let Some(block) = &mut self.autonomy.block {
            block.lifted = true;
        }
    }
}

/// The first few names, and how many there are besides.
pub(super) fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    let first: Vec<&str> = names.iter().take(3).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    /// How often a change has gone on by itself within a day while a check blocks for five minutes at each of these distances.
    fn counted(every_ms: u64, each_moves: bool) -> usize {
        let mut autonomy = Autonomy::new(Level::L4, u64::MAX, 0);
        for since_ms in (0..DAY_MS).step_by(usize::try_from(every_ms).unwrap()) {
            let block = Block {
                since_ms,
                text: String::new(),
                lifted: false,
            };
            autonomy.goes_on(&block, each_moves, since_ms + 5 * MINUTE_MS);
        }
        autonomy.resumes.len()
    }

    #[test]
    fn a_check_that_comes_and_goes_is_counted_again_and_again() {
        assert_eq!(counted(25 * MINUTE_MS, false), 29, "every second one");
        assert_eq!(counted(10 * MINUTE_MS, false), 36, "every fourth");
        assert_eq!(counted(60 * MINUTE_MS, false), 24, "each");
        // As changes decided that began before.
        assert_eq!(counted(25 * MINUTE_MS, true), 1);
        assert_eq!(counted(60 * MINUTE_MS, true), 24);
    }

    #[test]
    fn a_persons_word_begins_anew_and_is_not_counted() {
        let mut autonomy = Autonomy::new(Level::L4, u64::MAX, 0);
        let mut goes_on = |since_ms, lifted, now_ms| {
            let text = String::new();
            autonomy.goes_on(&Block { since_ms, text, lifted }, false, now_ms);
            (autonomy.resumes.len(), autonomy.unblocked_ms)
        };
        assert_eq!(goes_on(0, true, 5), (0, Some(5)));
        assert_eq!(goes_on(10, false, 20), (0, Some(5)));
        let later = SAME_BLOCK_MS + 6;
        assert_eq!(goes_on(later, false, later), (1, Some(later)));
    }
}
