//! Other rules, asked beside those in force: what they would have answered, and from when to when that differs. They change nothing.

use std::sync::Arc;

use unattended_batching::AppIndex;
use unattended_defense::{Decision, Direction, Finding, Guard, Verdict};

use crate::WhatIf;

use super::Machine;
use super::admission::LOOK_AGAIN_MS;
use super::hold::Rule;

/// What rules let a lane do, with what people have said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Held,
    /// So many at once, if they say how many.
    May(Option<u32>),
}

impl Answer {
    const fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::May(None),
            Verdict::AllowLimited(n) if n > 0 => Self::May(Some(n)),
            _ => Self::Held,
        }
    }

    /// In words; `held` says by what.
    fn told(self, held: impl FnOnce() -> String) -> String {
        match self {
            Self::Held => held(),
            Self::May(None) => "may start".to_owned(),
            Self::May(Some(n)) => format!("may start {n} at once"),
        }
    }
}

/// What the other rules said of one lane and direction last.
#[derive(Clone, Debug)]
struct Said {
    /// Asked again from then on.
    until_ms: u64,
    /// A person's word was counted in.
    word: bool,
    answer: Answer,
    why: String,
    /// Which rules spoke for that.
    rules: Vec<Rule>,
    /// The difference that has begun and not ended.
    open: Option<Open>,
}

/// A difference that has begun and not ended.
#[derive(Clone, Debug)]
struct Open {
    /// Its place among those found.
    at: usize,
    /// What both have answered since, and by which rules: where others take over it is another one, of other people.
    answers: [(Answer, Vec<Rule>); 2],
}

impl Default for Said {
    fn default() -> Self {
        Self {
            until_ms: 0,
            word: false,
            answer: Answer::May(None),
            why: String::new(),
            rules: Vec::new(),
            open: None,
        }
    }
}

/// The other rules.
#[derive(Debug)]
pub(super) struct OtherRules {
    guard: Arc<Guard>,
    /// By lane, forward and back.
    said: Vec<[Said; 2]>,
    found: Vec<WhatIf>,
}

const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Forward => 0,
        Direction::Rollback => 1,
    }
}

impl Machine {
    /// Asks these rules, too, wherever those in force are asked.
    pub(crate) fn ask_also(&mut self, guard: Guard) {
        self.other_rules = Some(Box::new(OtherRules {
            guard: Arc::new(guard),
            said: vec![<[Said; 2]>::default(); self.lanes.len()],
            found: Vec::new(),
        }));
    }

    /// What the other rules would have decided otherwise.
    pub(crate) fn what_if(&self) -> Vec<WhatIf> {
        self.other_rules
            .as_ref()
            .map_or_else(Vec::new, |other| other.found.clone())
    }

    /// The rules in force have answered for a lane, of which so many wait; so do the others.
    pub(super) fn compare_rules(&mut self, lane: usize, app: AppIndex, direction: Direction, waiting: u32, may: bool) {
        let Some(mut other) = self.other_rules.take() else {
            return;
        };
        let word = match direction {
            Direction::Forward => self.lanes[lane].is_allowed_by_person(),
            Direction::Rollback => self.word_back.is_given(),
        };
        let ours = match (may, direction) {
            (false, _) => Answer::Held,
            (true, Direction::Forward) => Answer::May(self.frontier.lane(app).limit),
            (true, Direction::Rollback) => Answer::May(None),
        };
        let said = &mut other.said[lane][side(direction)];
        // Where those in force have let it go they may have been asked sooner than they said, as when the fleet around has changed.
        if self.now_ms >= said.until_ms || said.word != word || may {
            let decision = self.answer_of(&other.guard, app, direction, waiting);
            said.word = word;
            said.answer = match direction {
                Direction::Forward => Answer::of(self.verdict_with_word(lane, &decision)),
                Direction::Rollback if decision.verdict.may_start() || self.word_back.lets(&decision) => {
                    Answer::May(None)
                }
                Direction::Rollback => Answer::Held,
            };
            // Whoever may start, by the rules or by a person's word, is asked again at each start, as those in force are: a window may be near.
            said.until_ms = match said.answer {
                Answer::May(_) => self.now_ms,
                Answer::Held => self.holds_until(&decision),
            };
            said.why = decision.why();
            let of = |finding: &Finding| (finding.rule.clone(), finding.owner.clone());
            said.rules = decision.findings.iter().map(of).collect();
        }
        let elapsed_ms = self.now_ms - self.setup.header.began_ms;
        let answers = [
            (ours, Vec::from_iter(self.holder(lane, direction))),
            (said.answer, said.rules.clone()),
        ];
        if said.open.as_ref().is_some_and(|open| open.answers != answers) {
            other.end(lane, direction, elapsed_ms);
        }
        let said = &mut other.said[lane][side(direction)];
        if ours != said.answer && said.open.is_none() {
            other.found.push(WhatIf {
                lane: self.setup.change.fleet.app_name(app).to_owned(),
                back: direction == Direction::Rollback,
                from_ms: elapsed_ms,
                until_ms: None,
                then: ours.told(|| self.held_by(lane, direction)),
                with_these: said.answer.told(|| said.why.clone()),
                started: 0,
            });
            said.open = Some(Open {
                at: other.found.len() - 1,
                answers,
            });
        }
        self.other_rules = Some(other);
    }

    /// The change has ended, or goes back: nothing differs any longer.
    pub(super) fn rest_from_all_rules(&mut self, direction: Direction) {
        let elapsed = self.now_ms - self.setup.header.began_ms;
        if let Some(other) = &mut self.other_rules {
            for lane in 0..other.said.len() {
                other.end(lane, direction, elapsed);
            }
        }
    }

    /// A lane wants nothing of the rules any more.
    pub(super) fn rest_from_rules(&mut self, lane: usize) {
        let elapsed = self.now_ms - self.setup.header.began_ms;
        if let Some(other) = &mut self.other_rules {
            other.end(lane, Direction::Forward, elapsed);
        }
    }

    /// A target of the lane was started.
    pub(super) fn started_under(&mut self, app: AppIndex, direction: Direction) {
        if let Some(other) = &mut self.other_rules
            && let Some(open) = &other.said[app.0 as usize][side(direction)].open
        {
            other.found[open.at].started += 1;
        }
    }

    fn holds_until(&self, decision: &Decision) -> u64 {
        let until = match decision.verdict {
            Verdict::Hold { until } => decision.next_feasible.or(until).map(|until| self.run_ms(until)),
            _ => None,
        };
        until
            .filter(|&end| end > self.now_ms)
            .unwrap_or(self.now_ms + LOOK_AGAIN_MS)
    }
}

impl OtherRules {
    fn end(&mut self, lane: usize, direction: Direction, elapsed_ms: u64) {
        if let Some(open) = self.said[lane][side(direction)].open.take() {
            self.found[open.at].until_ms = Some(elapsed_ms);
        }
    }
}
