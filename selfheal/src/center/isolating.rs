//! A node that is out of use: for how long, what is done about it, and whether its service can spare it.

use super::Center;
use super::budget::Strength;
use super::bulletin::Scope;
use super::event::{Command, HealAction, Notice};
use super::finding::Cause;
use super::ids::NodeId;
use super::mix;
use super::probe::Said;
use super::settings::Mode;
use super::standing::{Isolated, Mending, Replacing, Stage, Standing};
use super::tick::Freezes;
use super::weighing::WHOLE;

/// An isolation so young is taken back when a common cause is found.
const REGRET_MS: u64 = 30_000;

impl Center {
    /// Isolates a node, if the budgets allow it and the center acts.
    pub(crate) fn isolate(
        &mut self,
        node: NodeId,
        standing: Standing,
        scope: Scope,
        commands: &mut Vec<Command>,
    ) -> Standing {
        let for_ms = standing.span_ms(&self.settings, node, 0);
        let spared = Stage::Spared {
            until_ms: self.now_ms.saturating_add(for_ms),
        };
        let act = self.settings.mode == Mode::Act;
        let budgets = self.settings.budgets;
        let spares = self
            .strength(node)
            .is_some_and(|strength| strength.spares_one(&budgets));
        if !spares || (act && !self.ledger.isolation(&budgets, self.now_ms)) {
            commands.push(Command::Notice(Notice::OverBudget { node }));
            return standing.at(spared);
        }
        commands.push(Command::Notice(Notice::Isolated {
            node,
            scope,
            finding: standing.finding.clone(),
            relapses: standing.relapses,
            for_ms,
            advised: !act,
        }));
        if !act {
            return standing.at(spared);
        }
        self.forget(node);
        // What its callers did while it was in use is not theirs.
        let victims = self.findings.iter().filter_map(|finding| match finding.cause {
            Cause::Victim { node: victim, of } if of == node => Some(victim),
            _ => None,
        });
        for victim in victims.collect::<Vec<_>>() {
            self.forget(victim);
        }
        if scope == Scope::Everywhere {
            self.heal(
                HealAction::Isolate {
                    node,
                    lease_ms: self.heal_lease_ms(for_ms),
                },
                commands,
            );
        }
        let quarantined = standing.relapses >= self.settings.quarantine_relapses;
        let mut isolated = Isolated {
            scope,
            until_ms: self.now_ms.saturating_add(for_ms),
            asked: 0,
            round: None,
            mending: Mending::since(self.now_ms),
        };
        if quarantined {
            self.replace(node, &mut isolated.mending, commands);
        }
        standing.at(Stage::Isolated(isolated))
    }

    /// An isolation in discovery outlasts the round of probes that decides on the next one.
    const fn heal_lease_ms(&self, for_ms: u64) -> u64 {
        for_ms
            .saturating_add(self.settings.probe_ms)
            .saturating_add(self.settings.lease_ms())
    }

    pub(crate) fn heal(&mut self, action: HealAction, commands: &mut Vec<Command>) {
        let order = self.order(action);
        commands.push(Command::Heal(order));
    }

    pub(crate) fn replace(&mut self, node: NodeId, mending: &mut Mending, commands: &mut Vec<Command>) {
        if self.ledger.replace(&self.settings.budgets, self.now_ms) {
            let order = self.order(HealAction::Replace { node });
            mending.replacing = Replacing::Ordered(order.id);
            commands.push(Command::Heal(order));
        }
    }

    /// What the node's service can spare.
    pub(crate) fn strength(&self, node: NodeId) -> Option<Strength> {
        let service = self.members.of(node)?.service?;
        let (mut nodes, mut out, mut weighed, mut capacity, mut one) = (0, 0, 0, Some(0.0), 0.0);
        for (_, member) in self
            .members
            .iter()
            .filter(|(_, member)| member.service == Some(service))
        {
            nodes += 1;
            let standing = self.standings.get(&member.node);
            let is_out = standing.is_some_and(Standing::out);
            let weight = standing.map_or(WHOLE, Standing::weight_permille);
            out += u32::from(is_out);
            weighed += u32::from(!is_out && weight < WHOLE);
            let own = member
                .capacity_per_second
                .map(|own| f64::from(own) * f64::from(weight) / f64::from(WHOLE));
            capacity = capacity.zip(own).map(|(sum, own)| if is_out { sum } else { sum + own });
            if member.node == node {
                one = own.unwrap_or(0.0);
            }
        }
        Some(Strength {
            nodes,
            out,
            weighed,
            capacity: capacity.map(|all| (all, one)),
            load: self.load.get(&service).copied().unwrap_or(0.0),
        })
    }

    pub(crate) fn isolated(
        &mut self,
        node: NodeId,
        standing: Standing,
        mut isolated: Isolated,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Standing {
        let service = self.members.of(node).and_then(|member| member.service);
        let common = service.is_some_and(|service| freezes.services.contains(&service));
        if common && self.now_ms.saturating_sub(isolated.mending.since_ms) <= REGRET_MS {
            // It was the first to show what all of them have.
            return self.restore(node, standing, isolated.scope, commands);
        }
        if isolated.scope == Scope::Everywhere && self.mend(node, &standing, &mut isolated.mending, commands) {
            isolated.until_ms = self.now_ms.saturating_add(self.settings.isolation_ms);
            isolated.asked = 0;
            self.renew(node, &isolated, commands);
        }
        // After too many relapses only another node in its place, or a person, brings it back.
        let barred =
            standing.relapses >= self.settings.quarantine_relapses && isolated.mending.replacing != Replacing::Done;
        match isolated
            .round
            .as_ref()
            .map(|round| round.said(&self.scale, self.now_ms))
        {
            None if self.now_ms < isolated.until_ms => {}
            None if barred => {
                isolated.until_ms = self.now_ms.saturating_add(self.settings.isolation_max_ms);
                self.renew(node, &isolated, commands);
            }
            None => match self.ask((node, standing.calls, false), u64::from(isolated.asked), freezes) {
                Some((round, orders)) => {
                    commands.extend(orders);
                    isolated.round = Some(round);
                }
                // Nobody is there to ask: later.
                None => {
                    isolated.until_ms = self.now_ms.saturating_add(self.settings.isolation_ms);
                    self.renew(node, &isolated, commands);
                }
            },
            Some(Said::Pending) => {}
            Some(Said::Well) => {
                let round = mix::word(self.settings.seed, u64::from(node.0), self.now_ms);
                return self.come_back(node, standing, (isolated.scope, 0, round), commands);
            }
            Some(Said::Ill | Said::IllFrom(_)) => {
                isolated.asked = isolated.asked.saturating_add(1);
                let span = standing.span_ms(&self.settings, node, isolated.asked);
                isolated.until_ms = self.now_ms.saturating_add(span);
                isolated.round = None;
                self.renew(node, &isolated, commands);
            }
            Some(Said::Unknown) => {
                isolated.until_ms = self.now_ms.saturating_add(self.settings.isolation_ms);
                isolated.round = None;
                self.renew(node, &isolated, commands);
            }
        }
        standing.at(Stage::Isolated(isolated))
    }

    fn renew(&mut self, node: NodeId, isolated: &Isolated, commands: &mut Vec<Command>) {
        if isolated.scope == Scope::Everywhere {
            let lease_ms = self.heal_lease_ms(isolated.until_ms.saturating_sub(self.now_ms));
            self.heal(HealAction::Isolate { node, lease_ms }, commands);
        }
    }

    /// Restart, then replacement, of a node that stays ill by its own fault. `true` if it was restarted just now.
    pub(crate) fn mend(
        &mut self,
        node: NodeId,
        standing: &Standing,
        mending: &mut Mending,
        commands: &mut Vec<Command>,
    ) -> bool {
        if !matches!(standing.finding.cause, Cause::Target { .. }) {
            return false;
        }
        let ill_ms = self.now_ms.saturating_sub(mending.since_ms);
        let restart = ill_ms >= self.settings.restart_after_ms
            && !mending.restarted
            && self.ledger.restart(&self.settings.budgets, self.now_ms);
        if restart {
            mending.restarted = true;
            self.heal(HealAction::Restart { node }, commands);
        }
        if ill_ms >= self.settings.replace_after_ms && mending.replacing == Replacing::No {
            self.replace(node, mending, commands);
        }
        restart
    }
}
