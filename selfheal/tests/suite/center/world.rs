//! A small fleet on virtual time: proxies that call servers, report to a center, and obey it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use unattended_selfheal::{
    Center, CenterSettings, Command, Event, Follower, HealOrder, HealOutcome, HostId, Member, NodeId, Notice, Reporter,
    RouteId, Seen, ServiceId, Word, ZoneId,
};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What is broken. Holds for every call that fits all that is stated.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fault {
    pub(crate) from_ms: Option<u64>,
    pub(crate) until_ms: Option<u64>,
    pub(crate) reporters: Vec<u32>,
    pub(crate) reporter_zone: Option<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) target_zone: Option<u32>,
    pub(crate) route: Option<u32>,
    /// Share of the calls that fail.
    pub(crate) rate: f64,
    /// They are slow instead.
    pub(crate) slow: bool,
    /// The calls are good; they are reported otherwise. Probes are lied about as well.
    pub(crate) lie: bool,
    /// Whatever the calls are, they are reported as good.
    pub(crate) praise: bool,
    /// It is over once this node is isolated.
    pub(crate) until_isolated: Option<u32>,
    /// The reporters do not reach the center.
    pub(crate) silent: bool,
}

/// When faults begin that do not say.
pub(crate) const BEGIN_MS: u64 = 10_000;
pub(crate) const PERIOD_MS: u64 = 250;

impl Fault {
    fn holds(&self, now_ms: u64) -> bool {
        (self.from_ms.unwrap_or(BEGIN_MS)..self.until_ms.unwrap_or(u64::MAX)).contains(&now_ms)
    }

    fn hits(&self, reporter: u32, target: u32, route: u32, now_ms: u64) -> bool {
        self.holds(now_ms)
            && !self.silent
            && (self.reporters.is_empty() || self.reporters.contains(&reporter))
            && (self.targets.is_empty() || self.targets.contains(&target))
            && self.reporter_zone.is_none_or(|zone| zone == reporter % 3)
            && self.target_zone.is_none_or(|zone| zone == target % 3)
            && self.route.is_none_or(|of| of == route)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Good,
    Failed,
    Slow,
}

pub(crate) struct World {
    pub(crate) center: Center,
    pub(crate) faults: Vec<Fault>,
    pub(crate) random: Random,
    pub(crate) now_ms: u64,
    /// Calls a second of each proxy.
    pub(crate) calls_per_second: f64,
    pub(crate) reporters: BTreeMap<u32, (Reporter, Follower, f64)>,
    pub(crate) servers: Vec<u32>,
    /// What the servers call.
    pub(crate) backends: Vec<u32>,
    probes: Vec<(NodeId, u64, u32, u32)>,
    /// When each node got less than its share first, by its own conviction.
    pub(crate) weighed: BTreeMap<u32, u64>,
    /// When each node was isolated first.
    pub(crate) isolated: BTreeMap<u32, u64>,
    pub(crate) codes: BTreeSet<&'static str>,
    pub(crate) notices: Vec<(u64, Notice)>,
    pub(crate) orders: Vec<(u64, HealOrder)>,
    /// Calls that failed since the faults began, by server.
    pub(crate) lost: BTreeMap<u32, u64>,
    /// Whether the center lives.
    pub(crate) center_up: bool,
    /// Whether reports of a period arrive in another order.
    pub(crate) shuffle: bool,
    pub(crate) last: Vec<Command>,
}

pub(crate) fn member(node: u32, service: Option<u32>) -> Event {
    Event::Member(Member {
        node: NodeId(node),
        host: HostId(node),
        zone: ZoneId(node % 3),
        service: service.map(ServiceId),
        capacity_per_second: None,
    })
}

impl World {
    /// Twenty proxies, twelve servers, and four backends that every server calls.
    pub(crate) fn new(settings: CenterSettings, seed: u64) -> Self {
        Self::sized(settings, seed, 20, 12)
    }

    pub(crate) fn sized(settings: CenterSettings, seed: u64, proxies: u32, servers: u32) -> Self {
        let mut world = Self {
            center: Center::new(settings, 1).unwrap(),
            faults: Vec::new(),
            random: Random(seed),
            now_ms: 0,
            calls_per_second: 50.0,
            reporters: BTreeMap::new(),
            servers: Vec::new(),
            backends: vec![],
            probes: Vec::new(),
            weighed: BTreeMap::new(),
            isolated: BTreeMap::new(),
            codes: BTreeSet::new(),
            notices: Vec::new(),
            orders: Vec::new(),
            lost: BTreeMap::new(),
            center_up: true,
            shuffle: false,
            last: Vec::new(),
        };
        for node in 0..proxies {
            // Servers are 100 and on, backends 200 and on.
            world.join(if node < 100 { node } else { 900 + node }, None);
        }
        for node in 0..servers {
            world.serve(100 + node, 1);
        }
        for node in 200..204 {
            world.center.on(member(node, Some(2))).unwrap();
            world.backends.push(node);
        }
        world
    }

    pub(crate) fn join(&mut self, node: u32, service: Option<u32>) {
        self.center.on(member(node, service)).unwrap();
        let parts = (Reporter::new(1), Follower::new(NodeId(node), ZoneId(node % 3)), 0.0);
        self.reporters.insert(node, parts);
    }

    /// A server, which also reports on the backends that it calls.
    pub(crate) fn serve(&mut self, node: u32, service: u32) {
        self.join(node, Some(service));
        self.servers.push(node);
    }

    fn call(&mut self, reporter: u32, target: u32, route: u32) -> (Call, Call) {
        let (mut truth, mut told) = (Call::Good, None);
        for fault in &self.faults {
            let cured = fault
                .until_isolated
                .is_some_and(|node| self.isolated.contains_key(&node));
            if cured || !fault.hits(reporter, target, route, self.now_ms) {
                continue;
            }
            if fault.praise {
                told = Some(Call::Good);
            } else if self.random.share() < fault.rate {
                let bad = if fault.slow { Call::Slow } else { Call::Failed };
                if fault.lie {
                    told = told.or(Some(bad))
                } else {
                    truth = bad
                }
            }
        }
        // Nobody is perfect.
        if truth == Call::Good && self.random.share() < 0.001 {
            truth = Call::Failed;
        }
        (truth, told.unwrap_or(truth))
    }

    fn silent(&self, reporter: u32) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.silent && fault.holds(self.now_ms) && fault.reporters.contains(&reporter))
    }

    /// One period.
    pub(crate) fn step(&mut self) {
        let now_ms = self.now_ms;
        let nodes: Vec<u32> = self.reporters.keys().copied().collect();
        for node in &nodes {
            let proxy = !self.servers.contains(node);
            let rate = if proxy {
                self.calls_per_second
            } else {
                self.calls_per_second / 4.0
            };
            let owed = self.reporters[node].2 + rate * PERIOD_MS as f64 / 1e3;
            // Calls of a proxy are not in step with those of others.
            let calls = (owed + self.random.share() - 0.5).floor().max(0.0);
            self.reporters.get_mut(node).unwrap().2 = owed - calls;
            for _ in 0..calls as u32 {
                let follower = &self.reporters[node].1;
                let open = |target: &&u32| {
                    follower.word(NodeId(**target), now_ms) != Word::Isolated
                        && !follower.avoids(ZoneId(**target % 3), now_ms)
                };
                let all = if proxy { &self.servers } else { &self.backends };
                let usable: Vec<u32> = all.iter().filter(open).copied().collect();
                let from = if usable.is_empty() { all.clone() } else { usable };
                let mut target = from[self.random.below(from.len())];
                // Whoever weighs less is passed over so often.
                while let Word::SubHealthy { weight_permille } = self.reporters[node].1.word(NodeId(target), now_ms)
                    && self.random.below(1_000) >= usize::from(weight_permille)
                {
                    target = from[self.random.below(from.len())];
                }
                let route = 1 + self.random.below(3) as u32;
                let (truth, told) = self.call(*node, target, route);
                if truth != Call::Good {
                    *self.lost.entry(target).or_default() += u64::from(now_ms >= BEGIN_MS);
                }
                self.reporters.get_mut(node).unwrap().0.add(Seen {
                    target: NodeId(target),
                    route: RouteId(route),
                    total: 1,
                    failed: u32::from(told == Call::Failed),
                    slow: u32::from(told == Call::Slow),
                });
            }
        }
        self.now_ms += PERIOD_MS;
        let mut reports = Vec::new();
        for node in &nodes {
            let report = self.reporters.get_mut(node).unwrap().0.report();
            if !self.silent(*node) {
                reports.push((NodeId(*node), report.encode().unwrap()));
            }
        }
        if !self.center_up {
            self.last.clear();
            return;
        }
        if self.shuffle {
            let mut order = Random(self.now_ms);
            for place in (1..reports.len()).rev() {
                reports.swap(place, order.below(place + 1));
            }
        }
        for (sender, bytes) in reports {
            self.center.receive(sender, &bytes).unwrap();
        }
        for (sender, order, good, bad) in std::mem::take(&mut self.probes) {
            // Too late is no fault of the test's.
            let _ = self.center.on(Event::Probed {
                sender,
                order,
                good,
                bad,
            });
        }
        let commands = self.center.tick(self.now_ms);
        for command in &commands {
            self.obey(command);
        }
        self.codes
            .extend(self.center.findings().iter().map(|finding| finding.cause.code()));
        self.last = commands;
    }

    fn obey(&mut self, command: &Command) {
        match command {
            Command::Probe(order) => {
                if self.silent(order.by.0) {
                    return;
                }
                let (mut good, mut bad) = (0, 0);
                for _ in 0..order.calls {
                    let route = 1 + self.random.below(3) as u32;
                    match self.call(order.by.0, order.target.0, route).1 {
                        Call::Good => good += 1,
                        _ => bad += 1,
                    }
                }
                self.probes.push((order.by, order.id, good, bad));
            }
            Command::Heal(order) => {
                self.orders.push((self.now_ms, *order));
                self.center
                    .on(Event::Healed {
                        order: order.id,
                        outcome: HealOutcome::Done,
                    })
                    .unwrap();
            }
            Command::Notice(notice) => {
                if let Notice::Isolated {
                    node, advised: false, ..
                } = notice
                {
                    self.isolated.entry(node.0).or_insert(self.now_ms);
                }
                if let Notice::SubHealthy {
                    node, advised: false, ..
                } = notice
                {
                    self.weighed.entry(node.0).or_insert(self.now_ms);
                }
                self.notices.push((self.now_ms, notice.clone()));
            }
            Command::Publish(bulletin) => {
                let nodes: Vec<u32> = self
                    .reporters
                    .keys()
                    .copied()
                    .filter(|node| !self.silent(*node))
                    .collect();
                for node in nodes {
                    self.reporters
                        .get_mut(&node)
                        .unwrap()
                        .1
                        .apply(bulletin.clone(), self.now_ms)
                        .unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn run_until(&mut self, until_ms: u64) {
        while self.now_ms < until_ms {
            self.step();
        }
    }
}
