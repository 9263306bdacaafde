//! From what each host counted to rows that no single host can dominate.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::row::{floor_to_u64, to_f64};
use crate::{Arm, Counts, HostCounts, HostSample, Interval, LASTING_LEVEL, MAX_COUNT, MAX_SAMPLE_HOSTS, Row, RowError};

/// What one host counted of one metric in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct HostRecord {
    /// Index into [`Topology::strata`](crate::Topology::strata).
    pub stratum: u32,
    /// Index into [`JudgeConfig::metrics`](crate::JudgeConfig::metrics).
    pub metric: u8,
    /// Which side.
    pub arm: Arm,
    /// Not warmed up yet. Records of control hosts that are not are left out.
    pub fresh: bool,
    /// Which host: any number that stays the same for as long as the host does.
    pub host: u32,
    /// Bad events, each one counted.
    pub bad: u64,
    /// Original requests.
    pub total: u64,
    /// Episodes: bad events counted once per client and signature; where clients are not told apart, `bad`.
    pub distinct: u64,
}

/// A metric of hosts: each host counts once, when it first enters a bad state.
///
/// Its rows are a log-rank test: of the hosts still at risk in either arm, which fail first? A host that fails for good is
/// one event, however many errors it returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by every metric source")]
pub struct FirstFailure {
    /// The metric whose records are looked at.
    pub of: u8,
    /// The metric that the rows are of; its exposure is hosts at risk.
    pub metric: u8,
    /// A host has failed where more than this share of its requests is bad, 0 to 1.
    pub share: f64,
    /// And at least so many.
    pub least: u64,
}

/// Makes intervals of what hosts count, one after the other.
///
/// A few hosts, through a client that never stops or a disk that dies, have most of the errors of any fleet. Which arm they
/// are in is chance, and a comparison of sums takes that chance for evidence: on hosts whose rates differ like a lognormal
/// with σ = 1, a test of sums stops 18 % to 31 % of healthy changes at α = 1 %. So rows compare like with like: a host's
/// **level** is how many bad events it has had so far, in steps of two, and each level is a row of its own. Where hosts
/// differ for good, by whatever law, a host's past count is all that its future depends on (a mixed Poisson process is a
/// pure birth process), so within a level both arms have the same rate, and the evidence keeps its guarantee.
///
/// Trouble also lasts: a client that fails now fails again, on the same host, until it gives up, and one long session adds up
/// to more than many short ones. So the level also says how many bad events the host had in its last interval (0, 1, 2, 3 or
/// more): a host in a session is compared with hosts in sessions, and what is new speaks where nothing was. With sessions
/// whose length has a Pareto tail (exponent 1.5, up to an hour), that takes false stops from 28 % to below 1 % at α = 1 %.
///
/// The level is fixed before the interval it is used in. Counting since before the change (feed the days before with
/// [`learn`](Self::learn)) makes levels sharp from the first row on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostRows {
    first_failures: Vec<FirstFailure>,
    /// Bad events so far, by stratum, metric and host.
    past: BTreeMap<(u32, u8, u32), u64>,
    /// Of these, the bad events of the host's last interval; hosts without any then are left out.
    recent: BTreeMap<(u32, u8, u32), u64>,
    /// Hosts that have failed, by stratum, metric (of the rows) and host.
    failed: BTreeSet<(u32, u8, u32)>,
}

/// What a host had in its last interval (0, 1, 2, 3 or more), and before that so far: 0, 1, 2, 3 for themselves, then 4 to 7,
/// 8 to 15, and so on.
fn level_of(past: u64, recent: u64) -> u8 {
    /// Levels of the past, the last of which is at least 2^58.
    const PASTS: u8 = 61;
    let past = match past {
        0..4 => past.to_le_bytes()[0],
        _ => (past.ilog2().to_le_bytes()[0] + 2).min(PASTS - 1),
    };
    past + PASTS * recent.min(3).to_le_bytes()[0]
}

/// The level of a host by what it had before the change: 0 where that can be chance, and from [`LASTING_LEVEL`] on where it
/// cannot, one level more for each doubling of what its peers would have had on its traffic.
///
/// `bad` are its bad events, counted as [`HostRecord::distinct`] counts, over days if there are any; `expected` are those
/// that its traffic would have had at its peers' rate, at least 0 (anything else is taken for 0). Of a host like its peers,
/// so many or more happen with a chance of at most exp(−(b ln(b/e) − b + e)) (Chernoff's bound for a Poisson count); below one
/// in a million it is not like them. A host that counts anew, since another took its place, is at 0 until there is as much of it.
#[must_use]
pub fn lasting_level(bad: u64, expected: f64) -> u8 {
    /// One in a million.
    const LN_CHANCE: f64 = 13.815_510_557_964_274;
    /// Less than one event in a lifetime tells no doublings apart.
    const LEAST: f64 = 1e-3;
    let (count, expected) = (to_f64(bad), if expected > LEAST { expected } else { LEAST });
    if count <= expected || count * libm::log(count / expected) - count + expected < LN_CHANCE {
        return 0;
    }
    let doublings = floor_to_u64(libm::log2(count / expected)).unwrap_or(0);
    let most = u64::from(u8::MAX - LASTING_LEVEL);
    LASTING_LEVEL + u8::try_from(doublings.min(most)).unwrap_or(0)
}

/// A stratum and metric of one interval.
#[derive(Default)]
struct Group<'a> {
    canary: Vec<&'a HostRecord>,
    fresh: Vec<&'a HostRecord>,
    control: Vec<&'a HostRecord>,
}

impl HostRows {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes rows of a metric of hosts as well.
    #[must_use]
    pub fn first_failure(mut self, metric: FirstFailure) -> Self {
        self.first_failures.push(metric);
        self
    }

    /// Counts an interval from before the change, for the levels; the samples of its hosts, for the dispersion.
    ///
    /// # Errors
    ///
    /// As [`interval`](Self::interval).
    pub fn learn(&mut self, records: &[HostRecord]) -> Result<Vec<HostSample>, RowError> {
        Ok(self.interval(0, records)?.samples)
    }

    /// An interval of what hosts counted, with rows, samples and coverage: hosts that have records report. Whoever knows of
    /// more hosts corrects [`Coverage::expected`](crate::Coverage::expected).
    ///
    /// # Errors
    ///
    /// [`RowError`] for counts that are not possible and for two records of one host and metric; nothing was counted.
    pub fn interval(&mut self, index: u64, records: &[HostRecord]) -> Result<Interval, RowError> {
        let mut sorted: Vec<&HostRecord> = records.iter().collect();
        sorted.sort_unstable_by_key(|one| (one.stratum, one.metric, one.host));
        check(&sorted)?;
        let mut interval = Interval {
            index,
            ..Interval::default()
        };
        for records in sorted.chunk_by(|a, b| (a.stratum, a.metric) == (b.stratum, b.metric)) {
            let mut group = Group::default();
            for record in records {
                match (record.arm, record.fresh) {
                    (Arm::Canary, false) => group.canary.push(record),
                    (Arm::Canary, true) => group.fresh.push(record),
                    (Arm::Control, false) => group.control.push(record),
                    (Arm::Control, true) => {}
                }
            }
            self.add(&group, &mut interval);
        }
        for (arm, coverage) in [
            (Arm::Canary, &mut interval.canary_hosts),
            (Arm::Control, &mut interval.control_hosts),
        ] {
            let hosts: BTreeSet<(u32, u32)> = records
                .iter()
                .filter(|one| one.arm == arm)
                .map(|one| (one.stratum, one.host))
                .collect();
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            (coverage.reported, coverage.expected) = (count, count);
        }
        Ok(interval)
    }

    fn add(&mut self, group: &Group<'_>, interval: &mut Interval) {
        let Some(&&HostRecord { stratum, metric, .. }) =
            group.canary.iter().chain(&group.fresh).chain(&group.control).next()
        else {
            return;
        };
        let level = |one: &HostRecord| {
            let of = |counts: &BTreeMap<(u32, u8, u32), u64>| counts.get(&(stratum, metric, one.host)).copied();
            level_of(of(&self.past).unwrap_or(0), of(&self.recent).unwrap_or(0))
        };
        for (canary, fresh) in [(&group.canary, false), (&group.fresh, true)] {
            let mut levels: BTreeMap<u8, (Counts, Counts)> = BTreeMap::new();
            if !canary.is_empty() || !fresh {
                for one in &group.control {
                    let sum = levels.entry(level(one)).or_default();
                    sum.1.add(Counts::new(one.distinct, one.total));
                }
            }
            for one in canary {
                let sum = levels.entry(level(one)).or_default();
                sum.0.add(Counts::new(one.distinct, one.total));
            }
            interval
                .rows
                .extend(levels.into_iter().map(|(level, (canary, control))| Row {
                    stratum,
                    metric,
                    fresh,
                    level,
                    canary,
                    control,
                    missing: 0,
                }));
        }
        let counts = |one: &&&HostRecord| HostCounts {
            host: one.host,
            level: level(one),
            bad: one.bad,
            total: one.total,
            distinct: one.distinct,
        };
        let mut samples = Vec::new();
        for (hosts, arm, fresh) in [
            (&group.canary, Arm::Canary, false),
            (&group.fresh, Arm::Canary, true),
            (&group.control, Arm::Control, false),
        ] {
            let mut hosts: Vec<HostCounts> = hosts
                .iter()
                .filter(|one| arm == Arm::Control || one.distinct > 0)
                .map(|one| counts(&one))
                .collect();
            if arm == Arm::Canary {
                hosts.sort_by_key(|one| core::cmp::Reverse(one.distinct));
            } else if hosts.len() > MAX_SAMPLE_HOSTS {
                // A choice that has nothing to do with the counts.
                hosts.sort_by_key(|one| scattered(one.host));
            }
            hosts.truncate(MAX_SAMPLE_HOSTS);
            if !hosts.is_empty() {
                samples.push(HostSample {
                    stratum,
                    metric,
                    arm,
                    fresh,
                    hosts,
                });
            }
        }
        interval.samples.append(&mut samples);
        for failure in self.first_failures.clone() {
            if failure.of == metric {
                self.fail(failure, stratum, group, interval);
            }
        }
        for one in [&group.canary, &group.fresh, &group.control].into_iter().flatten() {
            let key = (stratum, metric, one.host);
            if one.distinct > 0 {
                let past = self.past.entry(key).or_insert(0);
                *past = past.saturating_add(one.distinct);
                self.recent.insert(key, one.distinct);
            } else {
                self.recent.remove(&key);
            }
        }
    }

    /// The row of a metric of hosts. Hosts that are not warm are not judged by it.
    fn fail(&mut self, failure: FirstFailure, stratum: u32, group: &Group<'_>, interval: &mut Interval) {
        let failed = |one: &HostRecord| {
            Counts::new(one.distinct, one.total)
                .rate()
                .is_some_and(|rate| rate > failure.share)
                && one.distinct >= failure.least
        };
        let mut counts = [Counts::default(); 2];
        for (sum, hosts) in counts.iter_mut().zip([&group.canary, &group.control]) {
            for one in hosts {
                let key = (stratum, failure.metric, one.host);
                if one.total == 0 || self.failed.contains(&key) {
                    continue;
                }
                sum.total += 1;
                if failed(one) {
                    sum.bad += 1;
                    self.failed.insert(key);
                }
            }
        }
        let [canary, control] = counts;
        interval.rows.push(Row {
            stratum,
            metric: failure.metric,
            fresh: false,
            level: 0,
            canary,
            control,
            missing: 0,
        });
    }
}

/// Counts of sorted records that are possible, each host once.
fn check(sorted: &[&HostRecord]) -> Result<(), RowError> {
    for one in sorted {
        let &&HostRecord {
            stratum,
            metric,
            arm,
            bad,
            total,
            distinct,
            ..
        } = one;
        if bad > total {
            return Err(RowError::BadAboveTotal {
                stratum,
                metric,
                arm,
                bad,
                total,
            });
        }
        if distinct > bad {
            return Err(RowError::DistinctAboveBad {
                stratum,
                metric,
                distinct,
                bad,
            });
        }
    }
    // Hosts of an arm are added up, and a row carries so much.
    for hosts in sorted.chunk_by(|a, b| (a.stratum, a.metric) == (b.stratum, b.metric)) {
        for arm in [Arm::Canary, Arm::Control] {
            let of_arm = hosts.iter().filter(|one| one.arm == arm);
            let count = of_arm.fold(0_u64, |sum, one| sum.saturating_add(one.total));
            if count > MAX_COUNT {
                return Err(RowError::TooLarge {
                    stratum: hosts[0].stratum,
                    metric: hosts[0].metric,
                    count,
                });
            }
        }
    }
    match sorted
        .windows(2)
        .find(|two| (two[0].stratum, two[0].metric, two[0].host) == (two[1].stratum, two[1].metric, two[1].host))
    {
        None => Ok(()),
        Some(two) => Err(RowError::DuplicateHost {
            stratum: two[0].stratum,
            metric: two[0].metric,
            host: two[0].host,
        }),
    }
}

/// The host's number, mixed (Fibonacci hashing): neighbours are far apart.
const fn scattered(host: u32) -> u32 {
    host.wrapping_mul(0x9e37_79b9).rotate_left(16)
}
