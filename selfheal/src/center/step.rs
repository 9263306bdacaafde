//! From the accusation of a node to its return: one step of every standing.

use std::collections::BTreeSet;

use super::Center;
use super::budget::Strength;
use super::bulletin::Scope;
use super::edges::{Calls, HORIZONS};
use super::event::{Command, HealAction, Notice};
use super::finding::{Cause, Finding};
use super::fit::Terms;
use super::ids::{NodeId, ZoneId};
use super::members::at;
use super::mix;
use super::probe::{self, Prober, Round, Said};
use super::settings::Mode;
use super::slots::{STAGES, Slots};
use super::standing::{Isolated, Replacing, Returning, Stage, Standing, Verifying};
use super::tick::Freezes;

/// Rounds of probes that get no answer before nobody is asked for a while.
const ATTEMPTS: u32 = 3;
/// An isolation so young is taken back when a common cause is found.
const REGRET_MS: u64 = 30_000;
/// Good answers, and spans of the first isolation, after which a relapse is forgotten.
const CLEAN_CALLS: f32 = 100.0;
const CLEAN_SPANS: u64 = 12;

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

    fn accusation(&self, node: NodeId) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.cause.accused() == Some(node))
    }

    fn frozen(&self, node: NodeId, freezes: &Freezes) -> bool {
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
                }),
            };
            self.standings.insert(node, standing);
        }
    }

    /// Asks two reporters about a node: such as are heard, are not at fault, and are not cut off from it.
    fn ask(
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
                return Some(self.isolate(node, standing, Scope::Everywhere, commands));
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
                return Some(self.isolate(node, standing, Scope::Everywhere, commands));
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

    /// Isolates a node, if the budgets allow it and the center acts.
    fn isolate(&mut self, node: NodeId, standing: Standing, scope: Scope, commands: &mut Vec<Command>) -> Standing {
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
            began_ms: self.now_ms,
            until_ms: self.now_ms.saturating_add(for_ms),
            asked: 0,
            round: None,
            restarted: false,
            replacing: Replacing::No,
        };
        if quarantined {
            self.replace(node, &mut isolated, commands);
        }
        standing.at(Stage::Isolated(isolated))
    }

    /// An isolation in discovery outlasts the round of probes that decides on the next one.
    const fn heal_lease_ms(&self, for_ms: u64) -> u64 {
        for_ms
            .saturating_add(self.settings.probe_ms)
            .saturating_add(self.settings.lease_ms())
    }

    fn heal(&mut self, action: HealAction, commands: &mut Vec<Command>) {
        let order = self.order(action);
        commands.push(Command::Heal(order));
    }

    fn replace(&mut self, node: NodeId, isolated: &mut Isolated, commands: &mut Vec<Command>) {
        if self.ledger.replace(&self.settings.budgets, self.now_ms) {
            let order = self.order(HealAction::Replace { node });
            isolated.replacing = Replacing::Ordered(order.id);
            commands.push(Command::Heal(order));
        }
    }

    /// The capped votes about a node since it was last forgotten, at the lane that fits best.
    fn suspicion(&self, node: NodeId) -> f64 {
        let parts = self.layout.as_ref().zip(self.members.slot(node));
        parts.map_or(0.0, |(layout, slot)| {
            Terms::new(&self.edges, HORIZONS - 1, layout, &self.scale).suspicion(slot)
        })
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

    /// What the node's service can spare.
    fn strength(&self, node: NodeId) -> Option<Strength> {
        let service = self.members.of(node)?.service?;
        let (mut nodes, mut out, mut capacity, mut one) = (0, 0, Some(0.0), 0.0);
        for (_, member) in self
            .members
            .iter()
            .filter(|(_, member)| member.service == Some(service))
        {
            nodes += 1;
            let is_out = self.standings.get(&member.node).is_some_and(Standing::out);
            out += u32::from(is_out);
            let own = member.capacity_per_second.map(f64::from);
            capacity = capacity.zip(own).map(|(sum, own)| if is_out { sum } else { sum + own });
            if member.node == node {
                one = own.unwrap_or(0.0);
            }
        }
        Some(Strength {
            nodes,
            out,
            capacity: capacity.map(|all| (all, one)),
            load: self.load.get(&service).copied().unwrap_or(0.0),
        })
    }

    fn isolated(
        &mut self,
        node: NodeId,
        standing: Standing,
        mut isolated: Isolated,
        freezes: &Freezes,
        commands: &mut Vec<Command>,
    ) -> Standing {
        let service = self.members.of(node).and_then(|member| member.service);
        let common = service.is_some_and(|service| freezes.services.contains(&service));
        if common && self.now_ms.saturating_sub(isolated.began_ms) <= REGRET_MS {
            // It was the first to show what all of them have.
            return self.restore(node, standing, isolated.scope, commands);
        }
        self.mend(node, &standing, &mut isolated, commands);
        // After too many relapses only another node in its place, or a person, brings it back.
        let barred = standing.relapses >= self.settings.quarantine_relapses && isolated.replacing != Replacing::Done;
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

    /// Restart, then replacement, of a node that stays ill by its own fault.
    fn mend(&mut self, node: NodeId, standing: &Standing, isolated: &mut Isolated, commands: &mut Vec<Command>) {
        let own_fault = matches!(standing.finding.cause, Cause::Target { .. });
        if !own_fault || isolated.scope != Scope::Everywhere {
            return;
        }
        let ill_ms = self.now_ms.saturating_sub(isolated.began_ms);
        if ill_ms >= self.settings.restart_after_ms
            && !isolated.restarted
            && self.ledger.restart(&self.settings.budgets, self.now_ms)
        {
            isolated.restarted = true;
            self.heal(HealAction::Restart { node }, commands);
            isolated.until_ms = self.now_ms.saturating_add(self.settings.isolation_ms);
            isolated.asked = 0;
            self.renew(node, isolated, commands);
        }
        if ill_ms >= self.settings.replace_after_ms && isolated.replacing == Replacing::No {
            self.replace(node, isolated, commands);
        }
    }

    /// Opens a stage of the return. In one `round` every stage has the reporters of the one before and more; a new round
    /// has others.
    fn come_back(
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

    fn returning(
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
    fn restore(&mut self, node: NodeId, standing: Standing, scope: Scope, commands: &mut Vec<Command>) -> Standing {
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
    fn watched(&self, mut standing: Standing, since_ms: u64, good: f32) -> Option<Standing> {
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
}

impl Standing {
    fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }
}

/// How a node fails that is accused of this: the lane nearest to its rate of bad calls.
fn lane_of(finding: &Finding) -> usize {
    let (bad, calls) = (finding.evidence.bad, finding.evidence.calls.max(1));
    match bad * 100 / calls {
        0..18 => 0,
        18..38 => 1,
        38..72 => 2,
        _ => 3,
    }
}
