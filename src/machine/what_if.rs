//! Other rules, asked beside those in force: what they would have answered, and from when to when that differs. They change nothing.

use std::sync::Arc;

use unattended_batching::AppIndex;
use unattended_defense::{Decision, Direction, Guard, Verdict};

use crate::WhatIf;

use super::Machine;
use super::lanes::LOOK_AGAIN_MS;

/// What the other rules said of one lane and direction last.
#[derive(Clone, Debug, Default)]
struct Said {
    /// Asked again from then on.
    until_ms: u64,
    holds: Option<String>,
    /// The difference that has begun and not ended.
    open: Option<usize>,
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

    /// The rules in force have answered for a lane; so do the others.
    pub(super) fn compare_rules(
        &mut self,
        lane: usize,
        app: AppIndex,
        direction: Direction,
        need: unattended_defense::Need,
        may: bool,
    ) {
        let Some(mut other) = self.other_rules.take() else {
            return;
        };
        let said = &mut other.said[lane][side(direction)];
        if self.now_ms >= said.until_ms {
            let decision = self.ask_rules(&other.guard, app, direction, need);
            said.until_ms = self.holds_until(&decision);
            said.holds = (!decision.verdict.may_start()).then(|| decision.why());
        }
        let differs = may == said.holds.is_some();
        match (differs, said.open) {
            (true, None) => {
                let then = if may {
                    "may start".to_owned()
                } else {
                    self.held_by(lane, direction)
                };
                other.found.push(WhatIf {
                    lane: self.setup.change.fleet.app_name(app).to_owned(),
                    back: direction == Direction::Rollback,
                    from_ms: self.now_ms - self.setup.header.began_ms,
                    until_ms: None,
                    then,
                    with_these: said.holds.clone().unwrap_or_else(|| "may start".to_owned()),
                    started: 0,
                });
                said.open = Some(other.found.len() - 1);
            }
            (false, Some(_)) => other.end(lane, direction, self.now_ms - self.setup.header.began_ms),
            _ => {}
        }
        self.other_rules = Some(other);
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
            && let Some(open) = other.said[app.0 as usize][side(direction)].open
        {
            other.found[open].started += 1;
        }
    }

    fn holds_until(&self, decision: &Decision) -> u64 {
        let until = match decision.verdict {
            Verdict::Hold { until } => decision.next_feasible.or(until).map(|until| self.run_ms(until)),
            verdict if verdict.may_start() => return self.now_ms,
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
            self.found[open].until_ms = Some(elapsed_ms);
        }
    }
}
