//! The fewest faults that explain the matrix of who sees whom fail.
//!
//! The model is additive in the manner of a two-way table: `logit P(bad | r, t) = mu + a_r + b_t + c_(zone r, zone t) +
//! d_(service t)`, and nearly every term is 0. Each term other than 0 costs the alarm (an L0 penalty) and gains the
//! sum of its edges' capped votes at the rate that fits it best. Terms of a family share no edge, so a family is fitted
//! in one go; which family goes first decides who explains an edge that two terms could explain. Every sensible order
//! is tried, and the one that explains most at the least cost stands. L1 and coordinate descent, the usual way, divide
//! the blame among all terms that share an edge; here a node is to be named.
//!
//! A term needs more than a large sum. See [`Terms::holds`].

use super::edges::{Calls, Edges};
use super::members::{Members, Slot, at};
use super::votes::{LANES, Scale, Votes, WideVotes, best, widen};

/// Votes below this speak for health: odds of twenty to one.
const HEALTHY: f64 = -3.0;
/// Calls of an edge beyond this say nothing more about whether reporters agree: nobody is heard for being busy.
const WEIGHT: f64 = 8.0;
/// Reporters disagree if the chi-square of their rates is so many standard deviations above its mean.
const DISAGREE: f64 = 3.0;

/// The horizon that must have seen something bad for a fault to go on.
const NEWS: usize = 2;

/// What a fault may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Term {
    /// All targets of a service, by the rank of the service.
    Service(u32),
    /// The way from one zone to another, by rank.
    Block(u16, u16),
    /// A reporter.
    Row(Slot),
    /// A target.
    Column(Slot),
}

/// What speaks for a term.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Support {
    pub(crate) term: Term,
    /// Sum of the capped votes at the best lane.
    pub(crate) gain: f64,
    /// Calls of its edges, not capped.
    pub(crate) calls: Calls,
    /// Hosts whose votes speak for it, and those whose speak against it.
    pub(crate) accusing: u32,
    pub(crate) healthy: u32,
    /// Zones of the accusing hosts.
    pub(crate) zones: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Services,
    Blocks,
    Rows,
    Columns,
}

/// Broader families first, so that of equal explanations the broader stands: it isolates nobody.
const ORDERS: [[Family; 4]; 5] = {
    use Family::{Blocks, Columns, Rows, Services};
    [
        [Services, Blocks, Rows, Columns],
        [Blocks, Rows, Columns, Services],
        [Blocks, Columns, Rows, Services],
        [Rows, Columns, Blocks, Services],
        [Columns, Rows, Blocks, Services],
    ]
};

/// What the fit needs to know of members, by slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// The zone of each slot, by rank.
    pub(crate) zone: Vec<u16>,
    pub(crate) zones: usize,
    /// The host of each slot, by number.
    pub(crate) host: Vec<u32>,
    /// The rank of its service; `u32::MAX` if it serves nothing.
    pub(crate) service: Vec<u32>,
    /// In-use targets of each service.
    pub(crate) targets: Vec<Vec<Slot>>,
    /// The cap of each reporter's vote.
    pub(crate) cap: Vec<f32>,
}

impl Layout {
    /// `voices` are the reporters of each host that speak; `out` says which targets are out of use.
    pub(crate) fn new(
        members: &Members,
        scale: &Scale,
        voices: impl Fn(u32) -> u16,
        out: impl Fn(Slot) -> bool,
    ) -> Self {
        let len = members.len();
        let mut layout = Self {
            zone: members.zone_ranks().to_vec(),
            zones: members.zones().len(),
            host: vec![u32::MAX; len],
            service: vec![u32::MAX; len],
            targets: Vec::new(),
            cap: vec![0.0; len],
        };
        let mut ranks = std::collections::BTreeMap::new();
        for (slot, member) in members.iter() {
            layout.host[at(slot)] = member.host.0;
            layout.cap[at(slot)] = scale.share(voices(member.host.0));
            if let Some(service) = member.service {
                let rank = *ranks.entry(service).or_insert_with(|| {
                    layout.targets.push(Vec::new());
                    layout.targets.len() - 1
                });
                layout.service[at(slot)] = u32::try_from(rank).unwrap_or(u32::MAX);
                if !out(slot) {
                    layout.targets[rank].push(slot);
                }
            }
        }
        layout
    }
}

/// Sums of votes over what is not explained yet.
#[derive(Debug, Clone, Default)]
struct Sums {
    rows: Vec<Votes>,
    columns: Vec<Votes>,
    blocks: Vec<WideVotes>,
}

impl Sums {
    fn add(&mut self, zones: usize, layout: &Layout, reporter: Slot, target: Slot, votes: &Votes, sign: f32) {
        let block = usize::from(layout.zone[at(reporter)]) * zones + usize::from(layout.zone[at(target)]);
        let (row, column, block) = (
            &mut self.rows[at(reporter)],
            &mut self.columns[at(target)],
            &mut self.blocks[block],
        );
        for lane in 0..LANES {
            row[lane] += sign * votes[lane];
            column[lane] += sign * votes[lane];
            block[lane] += f64::from(sign * votes[lane]);
        }
    }
}

/// The matrix over one horizon.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    edges: &'a Edges,
    counts: &'a [Calls],
    layout: &'a Layout,
    scale: &'a Scale,
}

impl<'a> Terms<'a> {
    pub(crate) fn new(edges: &'a Edges, horizon: usize, layout: &'a Layout, scale: &'a Scale) -> Self {
        Self {
            edges,
            counts: edges.counts(horizon),
            layout,
            scale,
        }
    }

    fn votes(&self, edge: u32) -> Votes {
        let calls = &self.counts[at(edge)];
        let cap = self.layout.cap[at(self.edges.key(edge).reporter)];
        self.scale.votes(calls.good, calls.bad, cap)
    }

    /// One pass over all edges.
    fn sums(&self) -> Sums {
        let slots = self.layout.zone.len();
        let zones = self.layout.zones;
        let mut sums = Sums {
            rows: vec![[0.0; LANES]; slots],
            columns: vec![[0.0; LANES]; slots],
            blocks: vec![[0.0; LANES]; zones * zones],
        };
        let mut blocks = vec![[0.0_f32; LANES]; zones];
        for reporter in 0..slots {
            let row = self.edges.row(Slot::try_from(reporter).unwrap_or(Slot::MAX));
            if row.is_empty() {
                continue;
            }
            let range = at(row.start)..at(row.end);
            let cap = self.layout.cap[reporter];
            let mut sum = [0.0; LANES];
            for (key, calls) in self.edges.keys()[range.clone()].iter().zip(&self.counts[range]) {
                let votes = self.scale.votes(calls.good, calls.bad, cap);
                let column = &mut sums.columns[at(key.target)];
                let block = &mut blocks[usize::from(self.layout.zone[at(key.target)])];
                for lane in 0..LANES {
                    sum[lane] += votes[lane];
                    column[lane] += votes[lane];
                    block[lane] += votes[lane];
                }
            }
            sums.rows[reporter] = sum;
            let from = usize::from(self.layout.zone[reporter]) * zones;
            for (wide, votes) in sums.blocks[from..from + zones].iter_mut().zip(&mut blocks) {
                for lane in 0..LANES {
                    wide[lane] += f64::from(votes[lane]);
                }
                *votes = [0.0; LANES];
            }
        }
        sums
    }

    /// Whether any term could reach the alarm. A service does not unless one of these does, or several columns speak.
    fn suspicious(&self, sums: &Sums) -> bool {
        let alarm = f64::from(self.scale.alarm);
        sums.rows
            .iter()
            .chain(&sums.columns)
            .any(|votes| best(&widen(votes)).1 >= alarm)
            || sums.blocks.iter().any(|votes| best(votes).1 >= alarm)
            || (0..self.layout.targets.len()).any(|service| best(&self.service(sums, service)).1 >= alarm)
    }

    fn service(&self, sums: &Sums, service: usize) -> WideVotes {
        let mut sum = [0.0; LANES];
        for target in &self.layout.targets[service] {
            for (sum, vote) in sum.iter_mut().zip(&sums.columns[at(*target)]) {
                *sum += f64::from(*vote);
            }
        }
        sum
    }

    /// The explanation of what `known` leaves unexplained. Empty if nothing reaches the alarm.
    pub(crate) fn explain(&self, known: &[Term]) -> Vec<Support> {
        let mut sums = self.sums();
        if !self.suspicious(&sums) {
            return Vec::new();
        }
        let mut explained = vec![false; self.edges.len()];
        for term in known {
            self.explained_by(*term, &mut sums, &mut explained);
        }
        let mut chosen = (0.0, Vec::new());
        for order in ORDERS {
            let path = self.path(&order, sums.clone(), explained.clone());
            let worth: f64 = path
                .iter()
                .map(|support| support.gain - f64::from(self.scale.alarm))
                .sum();
            // A path that explains what another explains, at a gain that is larger by rounding only, is not better.
            if worth > chosen.0 + 1.0 / 512.0 || (chosen.1.is_empty() && !path.is_empty()) {
                chosen = (worth, path);
            }
        }
        chosen.1.sort_by_key(|a| a.term);
        chosen.1
    }

    fn path(&self, order: &[Family], mut sums: Sums, mut explained: Vec<bool>) -> Vec<Support> {
        let alarm = f64::from(self.scale.alarm);
        let mut path = Vec::new();
        for family in order {
            let mut terms: Vec<(Term, usize, f64)> = Vec::new();
            let mut offer = |term: Term, votes: &WideVotes| {
                let (lane, gain) = best(votes);
                if gain >= alarm {
                    terms.push((term, lane, gain));
                }
            };
            match family {
                Family::Services => {
                    for service in 0..self.layout.targets.len() {
                        offer(Term::Service(rank(service)), &self.service(&sums, service));
                    }
                }
                Family::Blocks => {
                    for (block, votes) in sums.blocks.iter().enumerate() {
                        let zones = self.layout.zones;
                        offer(Term::Block(zone(block / zones), zone(block % zones)), votes);
                    }
                }
                Family::Rows => {
                    for (slot, votes) in sums.rows.iter().enumerate() {
                        offer(Term::Row(rank(slot)), &widen(votes));
                    }
                }
                Family::Columns => {
                    for (slot, votes) in sums.columns.iter().enumerate() {
                        offer(Term::Column(rank(slot)), &widen(votes));
                    }
                }
            }
            for (term, lane, gain) in terms {
                if let Some(support) = self.holds(term, lane, gain, &sums, &explained) {
                    path.push(support);
                    self.explained_by(term, &mut sums, &mut explained);
                }
            }
        }
        path
    }

    /// The edges of a term.
    pub(crate) fn edges_of(&self, term: Term, mut each: impl FnMut(u32)) {
        match term {
            Term::Row(reporter) => self.edges.row(reporter).for_each(each),
            Term::Column(target) => self.edges.column(target).iter().for_each(|edge| each(*edge)),
            Term::Service(service) => {
                for target in &self.layout.targets[at(service)] {
                    self.edges.column(*target).iter().for_each(|edge| each(*edge));
                }
            }
            Term::Block(from, to) => {
                for (edge, key) in self.edges.keys().iter().enumerate() {
                    if self.layout.zone[at(key.reporter)] == from && self.layout.zone[at(key.target)] == to {
                        each(rank(edge));
                    }
                }
            }
        }
    }

    fn explained_by(&self, term: Term, sums: &mut Sums, explained: &mut [bool]) {
        self.edges_of(term, |edge| {
            if !std::mem::replace(&mut explained[at(edge)], true) {
                let key = self.edges.key(edge);
                sums.add(
                    self.layout.zones,
                    self.layout,
                    key.reporter,
                    key.target,
                    &self.votes(edge),
                    -1.0,
                );
            }
        });
    }

    /// Whether a term that reaches the alarm is one, judged by how widely its edges agree. All must hold of edges that
    /// nothing explains yet:
    ///
    /// - a target: three hosts accuse it, more than twice as many as speak for it, and if hosts of several zones have
    ///   an opinion, those that accuse are of two. Else a few liars, or one cut wire, would be believed. Who speaks for
    ///   it: hosts that called it so often without failure that a node as bad as this one is unlikely; and where
    ///   reporters differ by more than chance, all that see it fail less than half as often as the average does;
    /// - a reporter: three targets, and more than half of those it knows;
    /// - a way between zones: two reporters, two targets, and more than half of the edges;
    /// - a service: two hosts, and more than half of its targets that are in use.
    fn holds(&self, term: Term, lane: usize, gain: f64, sums: &Sums, explained: &[bool]) -> Option<Support> {
        let mut calls = Calls::default();
        let (mut accusing_edges, mut edges) = (0_u32, 0_u32);
        let (mut accusing, mut healthy, mut opinions) = (Vec::new(), Vec::new(), Vec::new());
        let mut targets = Vec::new();
        let mut rates = Vec::new();
        self.edges_of(term, |edge| {
            let seen = &self.counts[at(edge)];
            if explained[at(edge)] || seen.total() <= 0.0 {
                return;
            }
            calls.add(seen);
            edges += 1;
            let key = self.edges.key(edge);
            let host = (self.layout.host[at(key.reporter)], self.layout.zone[at(key.reporter)]);
            rates.push((host, f64::from(seen.bad), f64::from(seen.total())));
            let vote = f64::from(self.votes(edge)[lane]);
            if vote > 0.0 {
                accusing_edges += 1;
                accusing.push(host);
                targets.push(key.target);
                opinions.push(host.1);
            } else if vote <= HEALTHY {
                healthy.push(host);
                opinions.push(host.1);
            }
        });
        if matches!(term, Term::Column(_))
            && let Some(average) = disagreement(&rates)
        {
            let (accuse, speak_for) = rates.iter().partition(|(_, bad, total)| 2.0 * bad > average * total);
            let hosts = |rates: Vec<&((u32, u16), f64, f64)>| rates.iter().map(|(host, ..)| *host).collect();
            (accusing, healthy) = (hosts(accuse), hosts(speak_for));
            opinions = rates.iter().map(|(host, ..)| host.1).collect();
        }
        for hosts in [&mut accusing, &mut healthy] {
            hosts.sort_unstable();
            hosts.dedup();
        }
        let zones_of = |zones: &mut Vec<u16>| {
            zones.sort_unstable();
            zones.dedup();
            zones.len()
        };
        let zones = zones_of(&mut accusing.iter().map(|host| host.1).collect());
        let zones_with_opinion = zones_of(&mut opinions);
        targets.sort_unstable();
        targets.dedup();
        let majority = 2 * accusing_edges > edges;
        let holds = match term {
            Term::Column(_) => {
                accusing.len() >= 3 && accusing.len() > 2 * healthy.len() && (zones >= 2 || zones_with_opinion < 2)
            }
            Term::Row(_) => targets.len() >= 3 && majority,
            Term::Block(..) => accusing.len() >= 2 && targets.len() >= 2 && majority,
            Term::Service(service) => {
                let in_use = &self.layout.targets[at(service)];
                let speak = |target: &&Slot| best(&widen(&sums.columns[at(**target)])).1 > 0.0;
                accusing.len() >= 2 && 2 * in_use.iter().filter(speak).count() > in_use.len()
            }
        };
        holds.then_some(Support {
            term,
            gain,
            calls,
            accusing: rank(accusing.len()),
            healthy: rank(healthy.len()),
            zones: rank(zones),
        })
    }

    /// Whether the edges of a term speak for its health over this horizon, those apart that other terms explain.
    fn well(&self, term: Term, known: &[Term]) -> bool {
        let mut sum = [0.0; LANES];
        self.edges_of(term, |edge| {
            let others = known.iter().any(|other| *other != term && self.covers(*other, edge));
            if !others {
                for (sum, vote) in sum.iter_mut().zip(self.votes(edge)) {
                    *sum += f64::from(vote);
                }
            }
        });
        best(&sum).1 <= HEALTHY
    }

    /// Whether an edge is one of a term's.
    fn covers(&self, term: Term, edge: u32) -> bool {
        let key = self.edges.key(edge);
        match term {
            Term::Row(reporter) => key.reporter == reporter,
            Term::Column(target) => key.target == target,
            Term::Service(service) => self.layout.service[at(key.target)] == service,
            Term::Block(from, to) => {
                (self.layout.zone[at(key.reporter)], self.layout.zone[at(key.target)]) == (from, to)
            }
        }
    }

    /// Whether anything bad was seen on the edges of a term over this horizon.
    pub(crate) fn fails(&self, term: Term) -> bool {
        let mut fails = false;
        self.edges_of(term, |edge| fails |= self.counts[at(edge)].bad > 0.0);
        fails
    }

    /// Whether the hosts of a zone, by rank, agree that a target fails: more than twice as many see it as do not.
    pub(crate) fn zone_agrees(&self, target: Slot, zone: u16) -> bool {
        let (mut accusing, mut others) = (0, 0);
        self.edges_of(Term::Column(target), |edge| {
            let reporter = self.edges.key(edge).reporter;
            if self.layout.zone[at(reporter)] == zone && self.counts[at(edge)].total() > 0.0 {
                let count = if self.accuses(edge) { &mut accusing } else { &mut others };
                *count += 1;
            }
        });
        accusing > 2 * others
    }

    /// The sum of the votes about a target at its best lane.
    pub(crate) fn suspicion(&self, target: Slot) -> f64 {
        let mut sum = [0.0; LANES];
        self.edges_of(Term::Column(target), |edge| {
            for (sum, vote) in sum.iter_mut().zip(self.votes(edge)) {
                *sum += f64::from(vote);
            }
        });
        best(&sum).1
    }

    /// Whether a reporter accuses a target at some rate.
    pub(crate) fn accuses(&self, edge: u32) -> bool {
        best(&widen(&self.votes(edge))).1 > 0.0
    }
}

/// The average rate, if reporters see a target fail at rates that differ by more than chance: some reach it and others
/// do not, or some lie.
fn disagreement(rates: &[((u32, u16), f64, f64)]) -> Option<f64> {
    // Equal weights would do if everybody called equally often; so the busy are brought down.
    let weighed = || {
        rates
            .iter()
            .map(|(_, bad, total)| (bad * (WEIGHT / total).min(1.0), total.min(WEIGHT)))
    };
    let (bad, total) = weighed().fold((0.0, 0.0), |sum, (bad, total)| (sum.0 + bad, sum.1 + total));
    let average = bad / total;
    #[expect(clippy::cast_precision_loss, reason = "hosts are few")]
    let freedom = rates.len().saturating_sub(1) as f64;
    if freedom < 3.0 || !(average > 0.0 && average < 1.0) {
        return None;
    }
    let square: f64 = weighed()
        .map(|(bad, total)| (bad - average * total) * (bad - average * total) / (average * (1.0 - average) * total))
        .sum();
    (square - freedom > DISAGREE * (2.0 * freedom).sqrt()).then_some(average)
}

fn rank(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn zone(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// The explanation over all horizons, the shortest first: what a shorter one has explained, a longer one need not, and
/// what a shorter one shows to be well again is over.
pub(crate) fn explain(edges: &Edges, layout: &Layout, scale: &Scale) -> Vec<(usize, Support)> {
    let mut found: Vec<(usize, Support)> = Vec::new();
    let mut known = Vec::new();
    for horizon in 0..super::edges::HORIZONS {
        for support in Terms::new(edges, horizon, layout, scale).explain(&known) {
            let shorter = (0..horizon).map(|shorter| Terms::new(edges, shorter, layout, scale));
            // A way that everybody avoids shows nothing any more: after half a minute without news it is tried again.
            let old = !Terms::new(edges, horizon.min(NEWS), layout, scale).fails(support.term);
            let over = old || shorter.into_iter().any(|shorter| shorter.well(support.term, &known));
            known.push(support.term);
            if !over {
                found.push((horizon, support));
            }
        }
    }
    found.sort_by_key(|(_, a)| a.term);
    found
}
