//! From the terms that explain the matrix to whose fault it is.

use std::collections::{BTreeMap, BTreeSet};

use super::edges::Edges;
use super::finding::{Basis, Cause, Finding};
use super::fit::{Layout, Support, Term, Terms};
use super::ids::{NodeId, RouteId, ServiceId, ZoneId};
use super::members::{Members, Slot, at};
use super::rollouts::Rollouts;
use super::votes::Scale;
use libm::log as ln;

/// Bad calls of one reporter, target and route that count for the question which routes fail.
const ROUTE_WEIGHT: f64 = 4.0;
/// The part of the bad calls that some routes must have for the others to be called well.
const NEARLY_ALL: f64 = 0.95;
/// Odds, as a logarithm, against bad calls being of these routes by chance: a thousand to one.
const ROUTE_ODDS: f64 = 6.9;

/// Whether a fault is of some routes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ByRoute {
    /// All, or routes are not told apart.
    No,
    /// These and no others.
    Only(Vec<RouteId>),
    /// So it looks, after too few calls.
    Unclear,
}

/// What the table is read from.
#[derive(Debug)]
pub(crate) struct Matrix<'a> {
    pub(crate) members: &'a Members,
    pub(crate) edges: &'a Edges,
    /// The same by route.
    pub(crate) routes: &'a Edges,
    pub(crate) layout: &'a Layout,
    pub(crate) scale: &'a Scale,
    pub(crate) rollouts: &'a Rollouts,
    /// Nodes that carry no full load: they were bad.
    pub(crate) out: BTreeSet<Slot>,
    pub(crate) horizons_ms: [u64; super::edges::HORIZONS],
}

impl Matrix<'_> {
    /// The findings that follow from the terms, by cause.
    pub(crate) fn read(&self, terms: &[(usize, Support)]) -> Vec<Finding> {
        let bad: BTreeSet<Slot> = terms.iter().filter_map(|(_, s)| column(s)).collect();
        let down = self.zones_down(terms);
        // More than half of a service's targets bad, one by one, is a common cause as well.
        let common = self.mostly_bad(&bad);
        let mut findings = Vec::new();
        let mut told = BTreeSet::new();
        for (horizon, support) in terms {
            let basis = self.basis(*horizon, support);
            let cause = match support.term {
                Term::Row(slot) => self.node(slot).map(|node| Cause::Reporter { node }),
                Term::Block(from, to) => {
                    let (from, to) = (self.zone(from), self.zone(to));
                    Some(if down.contains(&to) {
                        Cause::ZoneDown { zone: to }
                    } else {
                        Cause::Partition { from, to }
                    })
                }
                Term::Service(rank) => self.common(*horizon, rank),
                Term::Column(slot) => match self.service(slot) {
                    Some(rank) if common.contains(&rank) => self.common(*horizon, rank),
                    _ => self.target(*horizon, slot, support, &bad),
                },
            };
            if let Some(cause) = cause
                && told.insert(cause.clone())
            {
                findings.push(Finding { cause, evidence: basis });
            }
        }
        findings.sort_by(|a, b| a.cause.cmp(&b.cause));
        findings
    }

    fn node(&self, slot: Slot) -> Option<NodeId> {
        self.members.get(slot).map(|member| member.node)
    }

    fn zone(&self, rank: u16) -> ZoneId {
        self.members
            .zones()
            .get(usize::from(rank))
            .copied()
            .unwrap_or(ZoneId(0))
    }

    fn service(&self, slot: Slot) -> Option<u32> {
        self.layout
            .service
            .get(at(slot))
            .copied()
            .filter(|rank| *rank != u32::MAX)
    }

    fn service_id(&self, rank: u32) -> Option<ServiceId> {
        let first = self.layout.targets.get(at(rank))?.first()?;
        self.members.get(*first)?.service
    }

    /// Zones to which every way that anybody of two zones or more can judge is bad, that from inside among them.
    fn zones_down(&self, terms: &[(usize, Support)]) -> BTreeSet<ZoneId> {
        let blocks: BTreeSet<(u16, u16)> = terms
            .iter()
            .filter_map(|(_, support)| match support.term {
                Term::Block(from, to) => Some((from, to)),
                _ => None,
            })
            .collect();
        // Ways that were used within the longest horizon.
        let ways: BTreeSet<(u16, u16)> = self
            .edges
            .keys()
            .iter()
            .map(|key| (self.layout.zone[at(key.reporter)], self.layout.zone[at(key.target)]))
            .collect();
        blocks
            .iter()
            .map(|(_, to)| *to)
            .filter(|to| {
                let into = || ways.iter().filter(|(_, target)| target == to);
                blocks.contains(&(*to, *to)) && into().count() >= 2 && into().all(|way| blocks.contains(way))
            })
            .map(|to| self.zone(to))
            .collect()
    }

    fn mostly_bad(&self, bad: &BTreeSet<Slot>) -> BTreeSet<u32> {
        let targets = self.layout.targets.iter().enumerate();
        targets
            .filter(|(_, targets)| {
                targets.len() >= 2 && 2 * targets.iter().filter(|t| bad.contains(t)).count() > targets.len()
            })
            .map(|(rank, _)| u32::try_from(rank).unwrap_or(u32::MAX))
            .collect()
    }

    /// A service of which most is bad: perhaps on some routes only, perhaps since what it calls is.
    fn common(&self, horizon: usize, rank: u32) -> Option<Cause> {
        let service = self.service_id(rank)?;
        let targets = &self.layout.targets[at(rank)];
        if let ByRoute::Only(routes) = self.by_route(horizon, targets) {
            return Some(Cause::Routes {
                node: None,
                service: Some(service),
                routes,
            });
        }
        let matrix = Terms::new(self.edges, horizon, self.layout, self.scale);
        // What more than half of the service's nodes that call anything accuse, each at least once.
        let mut callers = 0_usize;
        let mut accused: Vec<ServiceId> = Vec::new();
        for target in targets {
            let row = self.edges.row(*target);
            callers += usize::from(!row.is_empty());
            let mut seen: Vec<ServiceId> = row
                .filter(|edge| matrix.accuses(*edge))
                .filter_map(|edge| self.members.get(self.edges.key(edge).target)?.service)
                .collect();
            seen.sort_unstable();
            seen.dedup();
            accused.extend(seen);
        }
        accused.sort_unstable();
        let dependency = accused
            .chunk_by(|a, b| a == b)
            .filter(|same| 2 * same.len() > callers)
            .max_by_key(|same| same.len())
            .and_then(|same| same.first().copied())
            .filter(|dependency| *dependency != service);
        Some(Cause::Common { service, dependency })
    }

    fn target(&self, horizon: usize, slot: Slot, support: &Support, bad: &BTreeSet<Slot>) -> Option<Cause> {
        let node = self.node(slot)?;
        match self.by_route(horizon, &[slot]) {
            ByRoute::No => {}
            ByRoute::Only(routes) => {
                return Some(Cause::Routes {
                    node: Some(node),
                    service: None,
                    routes,
                });
            }
            // A few calls more will tell.
            ByRoute::Unclear => return None,
        }
        if let Some(of) = self.deepest(horizon, slot, bad) {
            return Some(Cause::Victim { node, of });
        }
        if let Some((release, table)) = self.release(slot, bad) {
            return Some(Cause::Release { node, release, table });
        }
        Some(Cause::Target {
            node,
            slow: 2.0 * support.calls.slow > support.calls.bad,
        })
    }

    /// The deepest bad node that a bad node calls and sees fail; `None` if there is none, or if the calls go in a ring.
    /// To be suspected by two hosts is enough: its callers are called more often than it, and show first.
    fn deepest(&self, horizon: usize, slot: Slot, bad: &BTreeSet<Slot>) -> Option<NodeId> {
        let matrix = Terms::new(self.edges, horizon, self.layout, self.scale);
        let suspected = |target: &Slot| bad.contains(target) || matrix.suspicion(*target) > f64::from(self.scale.cap);
        let (mut here, mut been) = (slot, BTreeSet::from([slot]));
        loop {
            let next = self
                .edges
                .row(here)
                .filter(|edge| matrix.accuses(*edge))
                .map(|edge| self.edges.key(edge).target)
                .find(suspected);
            match next {
                // A ring has no deepest node.
                Some(target) if !been.insert(target) => return None,
                Some(target) => here = target,
                None => return self.node(here).filter(|_| here != slot),
            }
        }
    }

    /// The rollout that has changed this node, if what it has changed is bad more often than what it has not.
    fn release(&self, slot: Slot, bad: &BTreeSet<Slot>) -> Option<(u64, [u32; 4])> {
        let release = self.rollouts.of(self.node(slot)?)?;
        let mut table = [0_u32; 4];
        let service = self.members.get(slot)?.service;
        for (target, member) in self.members.iter().filter(|(_, member)| member.service == service) {
            let changed = self.rollouts.of(member.node) == Some(release);
            let column = if changed { 0 } else { 2 };
            table[column] += u32::from(bad.contains(&target) || self.out.contains(&target));
            table[column + 1] += 1;
        }
        let [bad_changed, changed, bad_others, others] = table.map(u64::from);
        (bad_changed * others > bad_others * changed || others == 0).then_some((release, table))
    }

    /// Whether these targets fail on some of their routes only.
    ///
    /// The fewest routes that have nearly all bad calls are looked at. If calls failed whatever their route, all bad ones
    /// would be of these routes with the probability `share^bad`, where `share` is what part of all calls they are. That
    /// holds whenever the fault began: what was well before it is well on all routes alike.
    fn by_route(&self, horizon: usize, targets: &[Slot]) -> ByRoute {
        let mut sums: BTreeMap<RouteId, (f64, f64)> = BTreeMap::new();
        let counts = self.routes.counts(horizon);
        for target in targets {
            for edge in self.routes.column(*target) {
                let calls = &counts[at(*edge)];
                let (bad, total) = sums.entry(self.routes.key(*edge).route).or_default();
                // No reporter is heard more than the others.
                *bad += f64::from(calls.bad).min(ROUTE_WEIGHT);
                *total += f64::from(calls.total());
            }
        }
        let all = sums
            .values()
            .fold((0.0, 0.0), |sum, (bad, total)| (sum.0 + bad, sum.1 + total));
        let mut by_bad: Vec<(RouteId, (f64, f64))> = sums.into_iter().collect();
        by_bad.sort_by(|(a, (x, _)), (b, (y, _))| y.total_cmp(x).then(a.cmp(b)));
        let (mut failing, mut sum) = (Vec::new(), (0.0, 0.0));
        for (route, (bad, total)) in by_bad {
            if sum.0 >= NEARLY_ALL * all.0 {
                break;
            }
            failing.push(route);
            sum = (sum.0 + bad, sum.1 + total);
        }
        let share = sum.1 / all.1;
        if !(share > 0.0 && share <= 0.5) {
            return ByRoute::No;
        }
        if sum.0 * -ln(share) < ROUTE_ODDS {
            return ByRoute::Unclear;
        }
        failing.sort_unstable();
        ByRoute::Only(failing)
    }

    fn basis(&self, horizon: usize, support: &Support) -> Basis {
        Basis {
            calls: whole(support.calls.total()),
            bad: whole(support.calls.bad),
            slow: whole(support.calls.slow),
            accusing: support.accusing,
            healthy: support.healthy,
            zones: support.zones,
            score_milli: whole64(support.gain * 1e3),
            alarm_milli: whole64(f64::from(self.scale.alarm) * 1e3),
            reference_ppm: u32::try_from(whole64(self.scale.reference * 1e6)).unwrap_or(u32::MAX),
            horizon_ms: self.horizons_ms[horizon],
        }
    }
}

const fn column(support: &Support) -> Option<Slot> {
    match support.term {
        Term::Column(slot) => Some(slot),
        _ => None,
    }
}

fn whole(value: f32) -> u64 {
    whole64(f64::from(value))
}

/// The nearest whole number of a value that is not negative.
fn whole64(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "floats saturate, and NaN becomes 0"
    )]
    {
        value.round() as u64
    }
}
