//! From the accusation of a node to its return: one step of every standing.

use std::collections::BTreeSet;

use super::Center;
use super::bulletin::Scope;
use super::event::{Command, Notice};
use super::finding::{Cause, Finding};
use super::fit::Terms;
use super::ids::{NodeId, ZoneId};
use super::members::at;
use super::mix;
use super::probe::{self, Prober, Round, Said};
use super::standing::{Stage, Standing, Verifying, Weighed};
use super::tick::Freezes;

/// Rounds of probes that get no answer before nobody is asked for a while.
const ATTEMPTS: u32 = 3;

impl Center {
    /// One step of every node that is accused or was.
    pub(crate) fn step(&mut self, freezes: &Freezes, commands: &mut Vec<Command>) {
        self.accuse(freezes, commands);
        let nodes: Vec<NodeId> = self.standings.keys().copied().collect();
        let mut moved = false;
        for node in nodes {
            let Some(standing) = self.standings.remove(&node) else {
                continue;
            };
            let was_out = standing.out();
            let next = self.next(node, standing, freezes, commands);
            moved |= was_out != next.as_ref().is_some_and(Standing::out);
            if let Some(standing) = next {
                self.standings.insert(node, standing);
            }
        }
        if moved {
            self.layout = None;
        }
    }

    pub(crate) fn accusation(&self, node: NodeId) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.cause.accused() == Some(node))
    }

    pub(crate) fn frozen(&self, node: NodeId, freezes: &Freezes) -> bool {
        let Some(member) = self.members.of(node) else {
            return true;
        };
        freezes.all
            || freezes.zones.contains(&member.zone)
            || freezes.down.contains(&member.zone)
            || member.service.is_none_or(|service| freezes.services.contains(&service))
    }

    /// New accusations, worst first.
    fn accuse(&mut self, freezes: &Freezes, commands: &mut Vec<Command>) {
        let mut accused: Vec<(NodeId, Finding)> = self
            .findings
            .iter()
            .filter_map(|f| Some((f.cause.accused()?, f.clone())))
            .collect();
        accused.sort_by_key(|(node, finding)| (std::cmp::Reverse(finding.evidence.score_milli), *node));
        for (node, finding) in accused {
            let relapses = match self
                .standings
                .get(&node)
                .map(|standing| (&standing.stage, standing.relapses))
            {
                None => 0,
                // Whoever falls ill again after it came back has relapsed.
                Some((Stage::Watched { .. }, relapses)) => relapses.saturating_add(1),
                Some((Stage::Spared { until_ms }, relapses)) if *until_ms <= self.now_ms => relapses,
                Some(_) => continue,
            };
            if self.frozen(node, freezes) {
                continue;
            }
            let calls = probe::calls(lane_of(&finding));
            let Some((round, orders)) = self.ask((node, calls, true), 0, freezes) else {
                continue;
            };
            commands.extend(orders);
            let standing = Standing {
                finding,
                calls,
                relapses,
                stage: Stage::Verifying(Verifying {
                    round,
                    attempt: 1,
                    ill: 0,
                    well: 0,
                    eased: None,
                }),
            };
            self.standings.insert(node, standing);
        }
    }

    /// Asks two reporters about a node: such as are heard, are not at fault, and are not cut off from it.
    pub(crate) fn ask(
        &mut self,
        (node, calls, doubt): (NodeId, u32, bool),
        salt: u64,
        freezes: &Freezes,
    ) -> Option<(Round, Vec<Command>)> {
        let zone = self.members.of(node)?.zone;
        let slot = self.members.slot(node)?;
        // Who has seen it fail within the second horizon.
        let counts = self.edges.counts(1);
        let accusers: BTreeSet<u32> = self
            .edges
            .column(slot)
            .iter()
            .filter(|edge| counts[at(**edge)].bad > 0.0)
            .map(|edge| self.edges.key(*edge).reporter)
            .collect();
        let lease_ms = self.settings.lease_ms();
        let probers: Vec<Prober> = self
            .hearing
            .reporters()
            .filter(|reporter| self.hearing.hears(*reporter, self.now_ms, lease_ms))
            .filter(|reporter| !freezes.distrusted.contains(reporter))
            .filter(|reporter| !self.standings.get(reporter).is_some_and(Standing::out))
            .filter_map(|reporter| self.members.of(reporter))
            .filter(|member| !freezes.ways.contains(&(member.zone, zone)))
            .map(|member| Prober {
                node: member.node,
                host: member.host,
                zone: member.zone,
                accuses: self
                    .members
                    .slot(member.node)
                    .is_some_and(|slot| accusers.contains(&slot)),
            })
            .collect();
        let salt = (self.settings.seed, mix::word(self.now_ms, salt, 0));
        let when = (self.now_ms, self.settings.probe_ms);
        let (round, orders) = Round::ask(
            probers.into_iter(),
            (node, calls, doubt),
            salt,
            when,
            &mut self.next_order,
        )?;
        Some((round, orders.into_iter().map(Command::Probe).collect()))
    }

    fn next(
        &mut self,
        node: NodeId,
        standing: Standing,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Option<Standing> {
        match standing.stage.clone() {
            Stage::Verifying(verifying) => self.verifying(node, standing, verifying, freezes, commands),
            Stage::Weighed(weighed) => Some(self.weighed(node, standing, weighed, freezes, commands)),
            Stage::Isolated(isolated) => Some(self.isolated(node, standing, isolated, freezes, commands)),
            Stage::Returning(returning) => Some(self.returning(node, standing, returning, freezes, commands)),
            Stage::Watched { since_ms, good } => self.watched(standing, since_ms, good),
            Stage::Spared { until_ms } => {
                // Somebody who never was isolated is forgotten; relapses are not.
                let now_ms = self.now_ms;
                match (until_ms > now_ms, standing.relapses) {
                    (true, _) => Some(standing),
                    (false, 0) => None,
                    (false, _) => Some(standing.at(Stage::Watched {
                        since_ms: now_ms,
                        good: 0.0,
                    })),
                }
            }
        }
    }

    fn verifying(
        &mut self,
        node: NodeId,
        mut standing: Standing,
        mut verifying: Verifying,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Option<Standing> {
        // What was taken for its fault has turned out to be another's.
        match self.accusation(node) {
            Some(finding) if !self.frozen(node, freezes) => standing.finding = finding.clone(),
            _ if verifying.eased.is_some() => return verifying.eased.map(|eased| standing.at(Stage::Weighed(eased))),
            _ if standing.relapses == 0 => return None,
            _ => {
                return Some(standing.at(Stage::Watched {
                    since_ms: self.now_ms,
                    good: 0.0,
                }));
            }
        }
        let said = verifying.round.said(&self.scale, self.now_ms);
        if said == Said::Pending {
            return Some(standing.at(Stage::Verifying(verifying)));
        }
        let (ill, well) = verifying.round.tally(&self.scale);
        verifying.ill += ill;
        verifying.well += well;
        match said {
            Said::Ill if verifying.attempt == 1 => {
                return Some(self.convict(node, standing, verifying.eased, commands));
            }
            Said::Well if verifying.attempt == 1 => {}
            // They disagree, or do not answer: others are asked.
            _ if verifying.attempt < ATTEMPTS => {
                if let Some((round, orders)) =
                    self.ask((node, standing.calls, false), u64::from(verifying.attempt), freezes)
                {
                    commands.extend(orders);
                    verifying.round = round;
                    verifying.attempt += 1;
                    return Some(standing.at(Stage::Verifying(verifying)));
                }
            }
            // Two of three, of four answers or more.
            _ if verifying.ill >= 2 * verifying.well && verifying.ill + verifying.well >= 4 => {
                return Some(self.convict(node, standing, verifying.eased, commands));
            }
            Said::IllFrom(zone) if self.zone_agrees(node, zone) => {
                return Some(self.isolate(node, standing, Scope::From(zone), commands));
            }
            _ => {}
        }
        if verifying.well > 0 {
            self.forget(node);
            commands.push(Command::Notice(Notice::Acquitted { node }));
        }
        Some(standing.at(Stage::Spared {
            until_ms: self.now_ms.saturating_add(self.settings.isolation_ms),
        }))
    }

    /// What becomes of a node that probes found ill. One that answers late still answers: it gets fewer calls.
    fn convict(
        &mut self,
        node: NodeId,
        standing: Standing,
        eased: Option<Weighed>,
        commands: &mut Vec<Command>,
    ) -> Standing {
        match (&standing.finding.cause, eased) {
            (Cause::Target { slow: true, .. }, Some(eased)) => standing.at(Stage::Weighed(eased)),
            (Cause::Target { slow: true, .. }, None) => self.weigh(node, standing, commands),
            _ => self.isolate(node, standing, Scope::Everywhere, commands),
        }
    }

    /// Whether the reporters of a zone agree that a node fails, so that it can be isolated for them.
    fn zone_agrees(&self, node: NodeId, zone: ZoneId) -> bool {
        let rank = self
            .members
            .zones()
            .iter()
            .position(|other| *other == zone)
            .and_then(|rank| u16::try_from(rank).ok());
        let parts = self.layout.as_ref().zip(self.members.slot(node)).zip(rank);
        parts.is_some_and(|((layout, slot), rank)| {
            Terms::new(&self.edges, 0, layout, &self.scale).zone_agrees(slot, rank)
        })
    }
}

impl Standing {
    pub(crate) fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }
}

/// How a node fails that is accused of this: the lane nearest to its rate of bad calls.
pub(crate) fn lane_of(finding: &Finding) -> usize {
    let (bad, calls) = (finding.evidence.bad, finding.evidence.calls.max(1));
    match bad * 100 / calls {
        0..18 => 0,
        18..38 => 1,
        38..72 => 2,
        _ => 3,
    }
}
