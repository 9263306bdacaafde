//! A node that is sub-healthy: in use, with less than its share of the calls.

use super::Center;
use super::edges::{Calls, HORIZONS};
use super::event::{Command, Notice};
use super::finding::Cause;
use super::fit::Terms;
use super::ids::NodeId;
use super::probe;
use super::settings::Mode;
use super::standing::{Mending, Replacing, Stage, Standing, Verifying, Weighed};
use super::step::lane_of;
use super::tick::Freezes;
use super::votes::{best, widen};

/// The whole share, in thousandths.
pub(crate) const WHOLE: u16 = 1_000;

impl Center {
    /// Whether the others of its service could do without it altogether, those that are sub-healthy already left out.
    fn spares_weight(&self, node: NodeId) -> bool {
        self.strength(node).is_some_and(|mut strength| {
            strength.out = strength.out.saturating_add(strength.weighed);
            strength.spares_one(&self.settings.budgets)
        })
    }

    /// Gives a node that answers late fewer calls, if the others can take them and the center acts.
    pub(crate) fn weigh(&mut self, node: NodeId, standing: Standing, commands: &mut Vec<Command>) -> Standing {
        let act = self.settings.mode == Mode::Act;
        let spared = Stage::Spared {
            until_ms: self.now_ms.saturating_add(standing.span_ms(&self.settings, node, 0)),
        };
        if !self.spares_weight(node) {
            commands.push(Command::Notice(Notice::OverBudget { node }));
            return standing.at(spared);
        }
        commands.push(Command::Notice(Notice::SubHealthy {
            node,
            weight_permille: self.settings.sub_healthy_permille,
            finding: standing.finding.clone(),
            advised: !act,
        }));
        if !act {
            return standing.at(spared);
        }
        let mut mending = Mending::since(self.now_ms);
        if standing.relapses >= self.settings.quarantine_relapses {
            self.replace(node, &mut mending, commands);
        }
        let weight_permille = self.settings.sub_healthy_permille;
        standing.at(Stage::Weighed(Weighed {
            weight_permille,
            calls: Calls::default(),
            well: false,
            mending,
        }))
    }

    pub(crate) fn weighed(
        &mut self,
        node: NodeId,
        mut standing: Standing,
        mut weighed: Weighed,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Standing {
        let service = self.members.of(node).and_then(|member| member.service);
        if service.is_some_and(|service| freezes.services.contains(&service)) {
            // All of them are slow: it is no worse than the others.
            return self.unweigh(node, standing, commands);
        }
        if let Some(finding) = self.accusation(node).filter(|_| !self.frozen(node, freezes)) {
            standing.finding = finding.clone();
            let slow = matches!(finding.cause, Cause::Target { slow: true, .. });
            let calls = probe::calls(lane_of(finding));
            // It fails by now. That is for probes to say, and then it goes.
            if !slow && let Some((round, orders)) = self.ask((node, calls, true), 1, freezes) {
                commands.extend(orders);
                standing.calls = calls;
                return standing.at(Stage::Verifying(Verifying {
                    round,
                    attempt: 1,
                    ill: 0,
                    well: 0,
                    eased: Some(weighed),
                }));
            }
        }
        self.mend(node, &standing, &mut weighed.mending, commands);
        let barred =
            standing.relapses >= self.settings.quarantine_relapses && weighed.mending.replacing != Replacing::Done;
        #[expect(clippy::cast_precision_loss, reason = "at most a million")]
        if weighed.calls.total() >= self.settings.stage_successes as f32 {
            let calls = std::mem::take(&mut weighed.calls);
            let votes = self.scale.votes(calls.good, calls.bad, f32::MAX);
            let well = best(&widen(&votes)).1 < 0.0;
            // Seen well twice in a row, and the second time by host, so that no single reporter can speak it well.
            if well && weighed.well && !barred && self.suspicion(node) < 0.0 {
                return self.unweigh(node, standing, commands);
            }
            // What was seen before it got well is held against it no longer.
            if well && !weighed.well {
                self.forget(node);
            }
            weighed.well = well;
        }
        standing.at(Stage::Weighed(weighed))
    }

    /// Its whole share again, and it is watched.
    fn unweigh(&mut self, node: NodeId, standing: Standing, commands: &mut Vec<Command>) -> Standing {
        self.forget(node);
        commands.push(Command::Notice(Notice::Restored { node }));
        standing.at(Stage::Watched {
            since_ms: self.now_ms,
            good: 0.0,
        })
    }

    /// The capped votes about a node since it was last forgotten, at the lane that fits best.
    pub(crate) fn suspicion(&self, node: NodeId) -> f64 {
        let parts = self.layout.as_ref().zip(self.members.slot(node));
        parts.map_or(0.0, |(layout, slot)| {
            Terms::new(&self.edges, HORIZONS - 1, layout, &self.scale).suspicion(slot)
        })
    }
}
