//! The way back into use, stage by stage, and the memory of relapses after it.

use std::collections::BTreeSet;

use super::Center;
use super::bulletin::Scope;
use super::edges::Calls;
use super::event::{Command, HealAction, Notice};
use super::ids::NodeId;
use super::probe::Said;
use super::slots::{STAGES, Slots};
use super::standing::{Returning, Stage, Standing};
use super::tick::Freezes;

/// Good answers, and spans of the first isolation, after which a relapse is forgotten.
const CLEAN_CALLS: f32 = 100.0;
const CLEAN_SPANS: u64 = 12;

impl Center {
    /// Opens a stage of the return. In one `round` every stage has the reporters of the one before and more; a new round
    /// has others.
    pub(crate) fn come_back(
        &mut self,
        node: NodeId,
        standing: Standing,
        (scope, step, round): (Scope, usize, u64),
        commands: &mut Vec<Command>,
    ) -> Standing {
        let percent = STAGES[step.min(STAGES.len() - 1)];
        self.forget(node);
        let lease_ms = self.settings.lease_ms();
        // A slot is for somebody who calls: else nobody would see how the node does.
        let callers = self.callers(node);
        let heard = self.hearing.reporters().filter(|reporter| {
            let calls = callers.is_empty() || callers.contains(reporter);
            calls && self.hearing.hears(*reporter, self.now_ms, lease_ms)
        });
        let in_scope = heard.filter(|reporter| match scope {
            Scope::Everywhere => true,
            Scope::From(zone) => self.members.of(*reporter).is_some_and(|member| member.zone == zone),
        });
        let slots = Slots::new(round, in_scope, percent);
        commands.push(Command::Notice(Notice::Returning { node, percent }));
        standing.at(Stage::Returning(Returning {
            scope,
            step,
            since_ms: self.now_ms,
            calls: Calls::default(),
            slots,
            round: None,
        }))
    }

    pub(crate) fn returning(
        &mut self,
        node: NodeId,
        mut standing: Standing,
        mut returning: Returning,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Standing {
        let accused = self.accusation(node).is_some() && !self.frozen(node, freezes);
        let calls = returning.calls;
        // Capped by host: one reporter that lies, or is ill itself, is no news.
        let score = self.suspicion(node);
        let bad_news = accused || score >= f64::from(self.scale.alarm) / 2.0;
        let no_news = self.now_ms.saturating_sub(returning.since_ms) >= self.settings.stage_patience_ms;
        match returning
            .round
            .as_ref()
            .map(|round| round.said(&self.scale, self.now_ms))
        {
            Some(Said::Pending) => {}
            // Probes call a node that has little to do. Under load three hosts may see more than they.
            Some(said) if said == Said::Ill || accused => {
                standing.relapses = standing.relapses.saturating_add(1);
                return self.isolate(node, standing, returning.scope, commands);
            }
            Some(Said::Well) if !bad_news => return self.advance(node, standing, &returning, commands),
            // They disagree: one failure in thirty calls happens to the healthy as well. The stage goes on.
            Some(_) => {
                self.forget(node);
                returning.round = None;
                returning.calls = Calls::default();
                returning.since_ms = self.now_ms;
            }
            #[expect(clippy::cast_precision_loss, reason = "at most a million")]
            None if !bad_news && score < 0.0 && calls.good >= self.settings.stage_successes as f32 => {
                return self.advance(node, standing, &returning, commands);
            }
            None if bad_news || no_news => {
                if let Some((round, orders)) = self.ask((node, standing.calls, false), 7, freezes) {
                    commands.extend(orders);
                    returning.round = Some(round);
                }
            }
            None => {}
        }
        standing.at(Stage::Returning(returning))
    }

    fn advance(
        &mut self,
        node: NodeId,
        standing: Standing,
        returning: &Returning,
        commands: &mut Vec<Command>,
    ) -> Standing {
        if returning.step + 1 < STAGES.len() {
            let next = (returning.scope, returning.step + 1, returning.slots.round);
            self.come_back(node, standing, next, commands)
        } else {
            self.restore(node, standing, returning.scope, commands)
        }
    }

    /// Back in use, and watched.
    pub(crate) fn restore(
        &mut self,
        node: NodeId,
        standing: Standing,
        scope: Scope,
        commands: &mut Vec<Command>,
    ) -> Standing {
        self.forget(node);
        commands.push(Command::Notice(Notice::Restored { node }));
        if scope == Scope::Everywhere {
            self.heal(HealAction::Readmit { node }, commands);
        }
        standing.at(Stage::Watched {
            since_ms: self.now_ms,
            good: 0.0,
        })
    }

    /// Time alone cures nothing: a relapse is forgotten after a clean while in which it has answered.
    pub(crate) fn watched(&self, mut standing: Standing, since_ms: u64, good: f32) -> Option<Standing> {
        let clean_ms = self.settings.isolation_ms.saturating_mul(CLEAN_SPANS);
        if self.now_ms.saturating_sub(since_ms) < clean_ms || good < CLEAN_CALLS {
            return Some(standing);
        }
        if standing.relapses == 0 {
            return None;
        }
        standing.relapses -= 1;
        Some(standing.at(Stage::Watched {
            since_ms: self.now_ms,
            good: 0.0,
        }))
    }

    /// Reporters that have called a node of the same service lately.
    fn callers(&self, node: NodeId) -> BTreeSet<NodeId> {
        let service_of = |slot| self.members.get(slot).and_then(|member| member.service);
        let service = self.members.of(node).and_then(|member| member.service);
        let edges = self
            .edges
            .keys()
            .iter()
            .filter(|edge| service_of(edge.target) == service);
        edges
            .filter_map(|edge| self.members.get(edge.reporter))
            .map(|member| member.node)
            .collect()
    }
}
