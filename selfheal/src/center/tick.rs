//! One period: reports are taken, the matrix is explained, standings go on, and what holds is published.

use std::collections::{BTreeMap, BTreeSet};

use super::bulletin::{Bulletin, Isolation, SubHealthy, Way};
use super::edges::{Calls, Edge, HORIZONS};
use super::event::{Command, HealAction, HealOrder, Notice};
use super::finding::{Basis, Cause, Finding};
use super::fit::{self, Layout};
use super::ids::{NodeId, RouteId, ServiceId, ZoneId};
use super::members::at;
use super::report::Report;
use super::settings::Mode;
use super::standing::Stage;
use super::table::Matrix;
use super::votes::Scale;
use super::{Center, edges};

/// What forbids new isolations, from the findings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Freezes {
    /// Services that fail of a common cause.
    pub(crate) services: BTreeSet<ServiceId>,
    /// Zones whose reporters are silent.
    pub(crate) zones: BTreeSet<ZoneId>,
    /// Most reporters of all are silent.
    pub(crate) all: bool,
    /// Reporters at fault.
    pub(crate) distrusted: BTreeSet<NodeId>,
    /// Ways that are bad.
    pub(crate) ways: BTreeSet<(ZoneId, ZoneId)>,
    /// Zones that are down.
    pub(crate) down: BTreeSet<ZoneId>,
}

impl Center {
    /// Draws conclusions from all reports since the last tick. Call it once a period.
    ///
    /// `now_ms` is a monotonic clock of any origin. One that goes back is taken to stand still. After a pause longer than
    /// a lease nobody is blamed for having been silent meanwhile.
    ///
    /// The commands are in the order of nodes, and the same for every order in which the reports of the period came.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Command> {
        let pause_ms = now_ms.saturating_sub(self.now_ms);
        self.now_ms = self.now_ms.max(now_ms);
        let now_ms = self.now_ms;
        if pause_ms > self.settings.lease_ms() {
            self.hearing.excuse(now_ms);
        }
        let period = now_ms / self.settings.period_ms;
        self.edges.turn(period);
        self.routes.turn(period);
        self.rollouts.tick(now_ms);
        self.take_reports(pause_ms);
        let layout = self.layout.take().unwrap_or_else(|| self.lay_out());

        let common = self
            .findings
            .iter()
            .any(|finding| matches!(finding.cause, Cause::Common { .. }));
        // A quarter of the longest horizon: rates are learnt in half a minute.
        let turned = edges::begins(period, HORIZONS - 2);
        self.baseline.look(&self.edges, &layout, turned, common, now_ms);
        let scale = Scale::new(self.baseline.reference(), self.settings.requests_per_accusation);
        if scale != self.scale {
            self.scale = scale;
        }

        let findings = self.conclude(&layout);
        self.layout = Some(layout);
        let mut commands = self.notices(&findings);
        // What a reporter saw while it was at fault proves nothing once it is not.
        for command in &commands {
            if let Command::Notice(Notice::Over(Finding {
                cause: Cause::Reporter { node },
                ..
            })) = command
                && let Some(slot) = self.members.slot(*node)
            {
                self.edges.forget_reporter(slot);
                self.routes.forget_reporter(slot);
            }
        }
        let freezes = self.freezes(&findings);
        self.findings = findings;
        self.step(&freezes, &mut commands);
        self.drain(&freezes, &mut commands);
        commands.push(Command::Publish(self.publish(&freezes)));
        commands
    }

    fn lay_out(&self) -> Layout {
        let mut voices: BTreeMap<u32, u16> = BTreeMap::new();
        for reporter in self.hearing.reporters() {
            if let Some(member) = self.members.of(reporter) {
                let voices = voices.entry(member.host.0).or_default();
                *voices = voices.saturating_add(1);
            }
        }
        let out: BTreeSet<u32> = self
            .standings
            .iter()
            .filter(|(_, s)| s.out())
            .filter_map(|(node, _)| self.members.slot(*node))
            .collect();
        let voice = |host: u32| voices.get(&host).copied().unwrap_or(1);
        Layout::new(&self.members, &self.scale, voice, |slot| out.contains(&slot))
    }

    /// Takes the reports of the period, in the order of reporters and numbers.
    fn take_reports(&mut self, pause_ms: u64) {
        let mut seen: BTreeMap<Edge, Calls> = BTreeMap::new();
        let mut by_route: BTreeMap<Edge, Calls> = BTreeMap::new();
        let mut calls: BTreeMap<ServiceId, u64> = BTreeMap::new();
        for (sender, report) in self.inbox.take() {
            let Some(reporter) = self.members.slot(sender) else {
                continue;
            };
            if self.hearing.heard(sender, self.now_ms) {
                // Another voice on its host.
                self.layout = None;
            }
            self.take_report(sender, reporter, &report, &mut seen, &mut by_route, &mut calls);
        }
        let mut no_room = 0;
        for (edges, seen) in [(&mut self.edges, seen), (&mut self.routes, by_route)] {
            let seen: Vec<(Edge, Calls)> = seen.into_iter().collect();
            no_room += edges.add(&seen);
        }
        let counts = &mut self.inbox.counts;
        counts.no_room = counts.no_room.saturating_add(no_room as u64);
        let seconds = pause_ms.clamp(1, 60_000);
        for member in self.members.iter().filter_map(|(_, member)| member.service) {
            self.load.entry(member).or_insert(0.0);
        }
        for (service, load) in &mut self.load {
            #[expect(
                clippy::cast_precision_loss,
                reason = "calls of a period, and milliseconds of a minute"
            )]
            let rate = calls.get(service).copied().unwrap_or(0) as f64 * 1e3 / seconds as f64;
            *load += (rate - *load) / 8.0;
        }
    }

    fn take_report(
        &mut self,
        sender: NodeId,
        reporter: u32,
        report: &Report,
        seen: &mut BTreeMap<Edge, Calls>,
        by_route: &mut BTreeMap<Edge, Calls>,
        load: &mut BTreeMap<ServiceId, u64>,
    ) {
        for line in &report.seen {
            let counts = &mut self.inbox.counts;
            if line.target == sender {
                counts.own_praise = counts.own_praise.saturating_add(1);
                continue;
            }
            let target = self.members.slot(line.target);
            let service = self.members.of(line.target).and_then(|member| member.service);
            let (Some(target), Some(service)) = (target, service) else {
                counts.unknown_targets = counts.unknown_targets.saturating_add(1);
                continue;
            };
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 2^24 calls in a period a vote is at its cap"
            )]
            let calls = Calls {
                good: (line.total - line.failed - line.slow) as f32,
                bad: (u64::from(line.failed) + u64::from(line.slow)) as f32,
                slow: line.slow as f32,
            };
            let load = load.entry(service).or_insert(0);
            *load = load.saturating_add(u64::from(line.total));
            let edge = |route| Edge {
                reporter,
                target,
                route,
            };
            seen.entry(edge(RouteId::ANY)).or_default().add(&calls);
            if line.route != RouteId::ANY {
                by_route.entry(edge(line.route)).or_default().add(&calls);
            }
            if let Some(standing) = self.standings.get_mut(&line.target) {
                match &mut standing.stage {
                    Stage::Returning(returning) => returning.calls.add(&calls),
                    Stage::Weighed(weighed) => weighed.calls.add(&calls),
                    Stage::Watched { good, .. } => *good = (*good + calls.good).min(1e6),
                    _ => {}
                }
            }
        }
    }

    fn conclude(&self, layout: &Layout) -> Vec<Finding> {
        let terms = fit::explain(&self.edges, layout, &self.scale);
        let matrix = Matrix {
            members: &self.members,
            edges: &self.edges,
            routes: &self.routes,
            layout,
            scale: &self.scale,
            rollouts: &self.rollouts,
            out: self
                .standings
                .iter()
                .filter(|(_, standing)| standing.out())
                .filter_map(|(node, _)| self.members.slot(*node))
                .collect(),
            horizons_ms: std::array::from_fn(|horizon| edges::periods(horizon) * self.settings.period_ms),
        };
        let mut findings = if terms.is_empty() {
            Vec::new()
        } else {
            matrix.read(&terms)
        };
        for zone in self.silence().0 {
            findings.push(Finding {
                cause: Cause::Silence { zone },
                evidence: Basis::default(),
            });
        }
        findings
    }

    fn silence(&self) -> (BTreeSet<ZoneId>, bool) {
        let zone_of = |node| self.members.of(node).map(|member| member.zone);
        self.hearing.silent(zone_of, self.now_ms, self.settings.lease_ms())
    }

    fn notices(&self, findings: &[Finding]) -> Vec<Command> {
        let without =
            |finding: &&Finding, others: &[Finding]| !others.iter().any(|other| other.cause.is(&finding.cause));
        let found = findings
            .iter()
            .filter(|finding| without(finding, &self.findings))
            .cloned()
            .map(Notice::Found);
        let over = self
            .findings
            .iter()
            .filter(|finding| without(finding, findings))
            .cloned()
            .map(Notice::Over);
        found.chain(over).map(Command::Notice).collect()
    }

    fn freezes(&self, findings: &[Finding]) -> Freezes {
        let mut freezes = Freezes {
            all: self.silence().1,
            ..Freezes::default()
        };
        for finding in findings {
            match finding.cause {
                Cause::Common { service, .. } => {
                    freezes.services.insert(service);
                }
                Cause::Silence { zone } => {
                    freezes.zones.insert(zone);
                }
                Cause::Reporter { node } => {
                    freezes.distrusted.insert(node);
                }
                Cause::Partition { from, to } => {
                    freezes.ways.insert((from, to));
                }
                Cause::ZoneDown { zone } => {
                    freezes.down.insert(zone);
                    let others = self.members.zones().iter().filter(|other| **other != zone);
                    freezes.ways.extend(others.map(|other| (*other, zone)));
                }
                _ => {}
            }
        }
        freezes
    }

    /// Zones that stay down are drained, if nothing else is.
    fn drain(&mut self, freezes: &Freezes, commands: &mut Vec<Command>) {
        self.down_ms.retain(|zone, _| freezes.down.contains(zone));
        for zone in &freezes.down {
            let (since_ms, asked) = *self.down_ms.entry(*zone).or_insert((self.now_ms, false));
            let due = self.now_ms.saturating_sub(since_ms) >= self.settings.drain_after_ms;
            if due
                && !asked
                && self.settings.mode == Mode::Act
                && self.ledger.drain(&self.settings.budgets, self.now_ms)
            {
                self.down_ms.insert(*zone, (since_ms, true));
                let order = self.order(HealAction::DrainZone { zone: *zone });
                commands.push(Command::Heal(order));
            }
        }
    }

    pub(crate) const fn order(&mut self, action: HealAction) -> HealOrder {
        let id = self.next_order;
        self.next_order += 1;
        HealOrder {
            id,
            term: self.epoch.term,
            action,
        }
    }

    fn publish(&mut self, freezes: &Freezes) -> Bulletin {
        self.epoch.number += 1;
        let act = self.settings.mode == Mode::Act;
        let standings = || self.standings.iter().filter(|_| act);
        let isolations: Vec<Isolation> = standings()
            .filter_map(|(node, standing)| standing.isolation(*node))
            .collect();
        let sub_healthy: Vec<SubHealthy> = standings()
            .filter_map(|(node, standing)| standing.sub_healthy(*node))
            .collect();
        Bulletin {
            epoch: self.epoch,
            lease_ms: self.settings.lease_ms(),
            isolations,
            sub_healthy,
            distrusted: freezes.distrusted.iter().filter(|_| act).copied().collect(),
            frozen: freezes.services.iter().filter(|_| act).copied().collect(),
            avoid: freezes
                .ways
                .iter()
                .filter(|_| act)
                .map(|(from, to)| Way { from: *from, to: *to })
                .collect(),
        }
    }

    /// Forgets what was seen of a node: it gets another chance.
    pub(crate) fn forget(&mut self, node: NodeId) {
        if let Some(slot) = self.members.slot(node) {
            debug_assert!(at(slot) < self.members.len());
            self.edges.forget_target(slot);
            self.routes.forget_target(slot);
        }
    }
}
