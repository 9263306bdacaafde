//! One release in one world: what a metric source would report, interval by interval.

use unattended::health::{Arm, Counts, Coverage, HostRecord};

use crate::draws::{Draws, float, whole};
use crate::family::{Family, Incidents, Loss, Noise};

/// Seconds of an interval, where seconds matter.
const INTERVAL_S: f64 = 10.0;
/// The hosts of a stage restart one after the other within so many seconds.
const RESTARTING_S: f64 = 120.0;
/// From this age on a host is judged as settled.
const WARM_S: f64 = 180.0;
/// Intervals before the change.
pub(crate) const HISTORY: usize = 60;
/// What one zone reports for one interval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) canary: Counts,
    pub(crate) fresh: Counts,
    pub(crate) control: Counts,
    /// Requests that the balancer sent to settled canary hosts.
    pub(crate) sent: u64,
    /// Every host that reports.
    pub(crate) hosts: Vec<HostRecord>,
    pub(crate) canary_coverage: Coverage,
    pub(crate) control_coverage: Coverage,
}

/// A world under way.
pub(crate) struct World<'a> {
    family: &'a Family,
    bad: bool,
    draws: Draws,
    zones: Vec<Zone>,
    /// Factor of everybody's rate.
    incidents: Vec<f64>,
    /// Factor and seconds of the errors after a restart.
    transient: (f64, f64),
}

/// Hosts of one zone; the first ones are changed first.
struct Zone {
    rate: f64,
    /// Factors of the hosts, with mean 1; empty where they are alike.
    hosts: Vec<f64>,
    sessions: Vec<Session>,
}

/// A client that fails in every interval until it gives up.
struct Session {
    host: usize,
    left: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(family: &'a Family, bad: bool, mut draws: Draws) -> Self {
        let hosts = family.hosts / family.zones;
        let zones = (0..family.zones)
            .map(|zone| Zone {
                // Zones differ: half the mean in the first, half more in the last.
                rate: if family.zones == 1 {
                    1.0
                } else {
                    0.5 + small(zone) / small(family.zones - 1)
                },
                hosts: if family.noise == Noise::Hosts {
                    factors(hosts, &mut draws)
                } else {
                    Vec::new()
                },
                sessions: Vec::new(),
            })
            .collect();
        let incidents = incidents(family, &mut draws);
        let transient = (draws.between(2.0, 10.0), draws.between(5.0, 120.0));
        Self {
            family,
            bad,
            draws,
            zones,
            incidents,
            transient,
        }
    }

    /// One interval before the change, of one zone. Call it [`HISTORY`] times for each, in time's order.
    pub(crate) fn before(&mut self, t: usize, zone: usize) -> Report {
        // A whole period of every wave, so that history shows the mean rate.
        let rate = self.family.rate(t % self.family.intervals()) * self.zones[zone].rate;
        let rate = if self.family.trend == crate::family::Trend::Falling {
            self.family.rate(0)
        } else {
            rate
        };
        self.report(zone, rate, 0, 0, None)
    }

    /// Interval `t` of the change, of one zone.
    pub(crate) fn during(&mut self, t: usize, zone: usize) -> Report {
        let family = self.family;
        let rate = (family.rate(t) * self.incidents[t] * self.zones[zone].rate).min(0.5);
        let hosts = family.hosts / family.zones;
        let changed = |share: f64| {
            usize::try_from(whole((share * small(hosts)).round()))
                .unwrap_or(0)
                .clamp(1, hosts - 1)
        };
        let (stage, _) = family.stage(t);
        let now = changed(family.share(t));
        let before = if stage == 0 {
            0
        } else {
            changed(family.stages[stage - 1].1)
        };
        self.report(zone, rate, now, before, Some(t))
    }

    /// `changed`: hosts on the new version; `before`: those of earlier stages.
    fn report(&mut self, zone: usize, rate: f64, changed: usize, before: usize, t: Option<usize>) -> Report {
        let family = self.family;
        let hosts = family.hosts / family.zones;
        let requests = float(family.requests) / small(family.zones);
        let bad = self.bad && t.is_some_and(|t| t >= family.onset) && family.bad_zone.is_none_or(|bad| bad == zone);
        let ratio = if bad { family.ratio } else { 1.0 };
        let per_host = requests / small(hosts);

        let (mut settled, mut fresh) = (changed, Vec::new());
        // Who waits for the restart of this stage is in neither arm.
        let old = hosts - changed;
        if let (true, Some(t)) = (family.transients, t) {
            (settled, fresh) = self.restarting(before, changed, t, per_host);
        }
        // Traffic follows the share exactly where hosts are only what events fall on.
        let share = match (t, family.transients || family.noise == Noise::Hosts) {
            (Some(t), false) => family.share(t),
            _ => small(settled) / small(hosts),
        };
        let canary_requests = if changed == 0 {
            0
        } else {
            whole((requests * share).round())
        };
        let control_requests = match (t, family.transients || family.noise == Noise::Hosts) {
            (Some(_), false) => whole(requests.round()) - canary_requests,
            _ => whole((per_host * small(old)).round()),
        };

        let mut canary = Events::new(settled, canary_requests);
        let mut control = Events::new(old, control_requests);
        let draws = &mut self.draws;
        let stratum = u32::try_from(zone).unwrap_or(u32::MAX);
        let zone = &mut self.zones[zone];
        match family.noise {
            Noise::Independent => {
                canary.singles(rate * ratio, draws);
                control.singles(rate, draws);
            }
            Noise::Bursts(mean) => {
                canary.bursts(rate * ratio, mean, draws);
                control.bursts(rate, mean, draws);
            }
            Noise::Hosts => {
                canary.each(rate * ratio, &zone.hosts[..settled], draws);
                control.each(rate, &zone.hosts[hosts - old..], draws);
            }
            Noise::Clients => {
                zone.begin_sessions(&canary, 0, rate * ratio, draws);
                zone.begin_sessions(&control, changed, rate, draws);
                zone.fail(&mut canary, &mut control, changed, draws);
            }
        }
        let mut records = Vec::with_capacity(hosts);
        canary.records(Arm::Canary, 0, &mut records);
        let mut fresh_counts = Counts::default();
        for restarted in &fresh {
            let bad = draws.binomial(restarted.requests, (rate * ratio * restarted.factor).min(0.9));
            fresh_counts.bad += bad;
            fresh_counts.total += restarted.requests;
            records.push(record(
                Arm::Canary,
                true,
                restarted.host,
                (bad, bad),
                restarted.requests,
            ));
        }
        control.records(Arm::Control, changed, &mut records);
        for record in &mut records {
            record.stratum = stratum;
        }
        let mut report = Report {
            canary: canary.counts(),
            fresh: fresh_counts,
            control: control.counts(),
            sent: canary_requests,
            hosts: records,
            canary_coverage: everybody(settled + fresh.len()),
            control_coverage: everybody(old),
        };
        if t.is_some() {
            lose(family, self.bad, &mut report, &mut self.draws);
        }
        report
    }

    /// How many hosts are settled, and the fresh ones: `before` are those of earlier stages.
    fn restarting(&self, before: usize, changed: usize, t: usize, per_host: f64) -> (usize, Vec<Fresh>) {
        let (factor, seconds) = self.transient;
        let stage = |t: usize| self.family.stage(t).0;
        let start = (0..t).rev().take_while(|earlier| stage(*earlier) == stage(t)).count();
        let ended = small(start + 1) * INTERVAL_S;
        let (mut settled, mut fresh) = (before, Vec::new());
        for host in 0..changed - before {
            let restarted = RESTARTING_S * (small(host) + 0.5) / small(changed - before);
            let age = ended - restarted;
            if age >= WARM_S {
                settled += 1;
            } else if age > 0.0 {
                let present = age.min(INTERVAL_S);
                let ill = (seconds - (age - present)).clamp(0.0, present);
                fresh.push(Fresh {
                    host: before + host,
                    requests: whole((per_host * present / INTERVAL_S).round()),
                    factor: 1.0 + (factor - 1.0) * ill / present,
                });
            }
        }
        (settled, fresh)
    }
}

/// A host that restarted not long ago.
struct Fresh {
    host: usize,
    requests: u64,
    /// Factor of the rate.
    factor: f64,
}

fn record(arm: Arm, fresh: bool, host: usize, (bad, distinct): (u64, u64), total: u64) -> HostRecord {
    HostRecord {
        stratum: 0,
        metric: 0,
        arm,
        fresh,
        host: u32::try_from(host).unwrap_or(u32::MAX),
        bad: bad.min(total),
        total,
        distinct: distinct.min(total),
    }
}

/// Bad events of one arm, with the hosts they fall on.
struct Events {
    /// Per host: each event, and each client once.
    hosts: Vec<(u64, u64)>,
    requests: u64,
}

impl Events {
    fn new(hosts: usize, requests: u64) -> Self {
        Self {
            hosts: vec![(0, 0); hosts],
            requests: if hosts == 0 { 0 } else { requests },
        }
    }

    fn add(&mut self, host: usize, bad: u64, distinct: u64) {
        if let Some(sum) = self.hosts.get_mut(host) {
            sum.0 += bad;
            sum.1 += distinct;
        }
    }

    fn singles(&mut self, rate: f64, draws: &mut Draws) {
        for _ in 0..draws.binomial(self.requests, rate.min(0.9)) {
            self.add(draws.below(self.hosts.len()), 1, 1);
        }
    }

    fn bursts(&mut self, rate: f64, mean: f64, draws: &mut Draws) {
        for _ in 0..draws.poisson(float(self.requests) * rate / mean) {
            let (host, size) = (draws.below(self.hosts.len()), draws.geometric(mean));
            self.add(host, size, size);
        }
    }

    fn each(&mut self, rate: f64, factors: &[f64], draws: &mut Draws) {
        let per_host = float(self.requests) / small(factors.len());
        for (host, factor) in factors.iter().enumerate() {
            let bad = draws.poisson(per_host * rate * factor);
            self.add(host, bad, bad);
        }
    }

    /// Never more bad requests than requests.
    fn counts(&self) -> Counts {
        let distinct: u64 = self.hosts.iter().map(|host| host.1).sum();
        Counts::new(distinct.min(self.requests), self.requests)
    }

    /// One record a host, requests spread evenly; the first host has the number `first`.
    fn records(&self, arm: Arm, first: usize, records: &mut Vec<HostRecord>) {
        let hosts = u64::try_from(self.hosts.len().max(1)).unwrap_or(1);
        let (each, more) = (self.requests / hosts, self.requests % hosts);
        for ((number, bad), at) in (first..).zip(&self.hosts).zip(0_u64..) {
            records.push(record(arm, false, number, *bad, each + u64::from(at < more)));
        }
    }
}

impl Zone {
    /// Clients that begin to fail on the hosts of one arm.
    fn begin_sessions(&mut self, arm: &Events, first: usize, rate: f64, draws: &mut Draws) {
        if arm.hosts.is_empty() {
            return;
        }
        for _ in 0..draws.poisson(float(arm.requests) * rate / MEAN_SESSION) {
            self.sessions.push(Session {
                host: first + draws.below(arm.hosts.len()),
                left: whole(draws.pareto(SESSION_TAIL)).min(LONGEST_SESSION),
            });
        }
    }

    /// Everybody in a session fails, some of them often.
    fn fail(&mut self, canary: &mut Events, control: &mut Events, changed: usize, draws: &mut Draws) {
        for session in &mut self.sessions {
            let bad = whole(draws.pareto(1.2)).min(500);
            if session.host < changed {
                canary.add(session.host, bad, 1);
            } else {
                control.add(session.host - changed, bad, 1);
            }
            session.left -= 1;
        }
        self.sessions.retain(|session| session.left > 0);
    }
}

/// A session lasts for at least x intervals with probability x^−1.5, and for an hour at most.
const SESSION_TAIL: f64 = 1.5;
const LONGEST_SESSION: u64 = 60;
/// Σ x^−1.5 for x = 1..60.
const MEAN_SESSION: f64 = 2.355_247_8;

fn everybody(hosts: usize) -> Coverage {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    Coverage {
        reported: hosts,
        expected: hosts,
    }
}

/// Factors with mean 1, of which few are large: Pareto with exponent 1.5, at most 30 times the least.
fn factors(hosts: usize, draws: &mut Draws) -> Vec<f64> {
    let raw: Vec<f64> = (0..hosts).map(|_| draws.pareto(1.5).min(30.0)).collect();
    let mean = raw.iter().sum::<f64>() / small(hosts);
    raw.into_iter().map(|factor| factor / mean).collect()
}

fn incidents(family: &Family, draws: &mut Draws) -> Vec<f64> {
    let mut factors = vec![1.0; family.intervals()];
    match family.incidents {
        Incidents::None => {}
        Incidents::Fixed => factors[40..45].fill(20.0),
        Incidents::Random => {
            for _ in 0..3 {
                let (start, length) = (draws.below(factors.len()), 2 + draws.below(11));
                let factor = draws.between(5_f64.ln(), 50_f64.ln()).exp();
                factors
                    .iter_mut()
                    .skip(start)
                    .take(length)
                    .for_each(|one| *one *= factor);
            }
        }
    }
    factors
}

/// Takes away what does not arrive.
fn lose(family: &Family, bad: bool, report: &mut Report, draws: &mut Draws) {
    let silent = match family.loss {
        Loss::None => return,
        Loss::Canary if draws.chance(1.0 / 3.0) => draws.between(0.2, 0.9),
        Loss::Both if draws.chance(0.05) => 1.0,
        Loss::Both if draws.chance(0.2) => draws.between(0.2, 0.9),
        Loss::Canary | Loss::Both => return,
    };
    let kept = 1.0 - silent;
    // Of a bad release those hosts fall silent that have errors.
    let kept_bad = if bad && family.loss == Loss::Canary {
        kept * kept
    } else {
        kept
    };
    let mut thin = |counts: Counts, kept_bad: f64| {
        let bad = draws.binomial(counts.bad, kept_bad);
        let good = draws.binomial(counts.total - counts.bad, kept);
        Counts::new(bad, bad + good)
    };
    let reported = |coverage: Coverage| Coverage {
        reported: u32::try_from(whole((f64::from(coverage.expected) * kept).floor())).unwrap_or(0),
        expected: coverage.expected,
    };
    report.canary = thin(report.canary, kept_bad);
    report.canary_coverage = reported(report.canary_coverage);
    // Who is silent says nothing about itself either.
    let both = family.loss == Loss::Both;
    report.hosts.retain(|host| host.arm == Arm::Control && !both);
    if both {
        report.control = thin(report.control, kept);
        report.control_coverage = reported(report.control_coverage);
    }
}

/// A small number as a float.
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of hosts, zones and intervals are small"
)]
pub(crate) const fn small(number: usize) -> f64 {
    number as f64
}
