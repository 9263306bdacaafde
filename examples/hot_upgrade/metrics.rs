//! What the proxies say of themselves, as evidence for the autopilot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::health::{
    Arm, Counts, Coverage, History, HostCounts, HostSample, Interval, MAX_SAMPLE_HOSTS, Member, MetricSource, Row,
    SourceError,
};
use unattended::upgrade::{TargetId, Version};

/// Own errors of requests, in [`unattended::metrics`].
const ERRORS: u8 = 0;
/// Requests slower than the bound.
const SLOW: u8 = 1;
/// Synthetic requests that each process sends through itself.
const SELF_TEST: u8 = 3;

/// One in ten requests before the change was slower than the bound, at most; what is slower after it is compared with that.
/// Fewer would be those that a busy machine made wait, and say nothing of a version.
const ONE_SLOW_IN: u64 = 10;

/// What one process has counted since it started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) instance: u64,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    pub(crate) requests: u64,
    /// Requests that failed by its own fault.
    pub(crate) own: u64,
    /// Synthetic requests, and those of them that failed.
    pub(crate) self_tests: (u64, u64),
    /// Requests that took at most so many seconds of its own: (bound, count), rising.
    pub(crate) within: Vec<(f64, u64)>,
}

impl Reading {
    fn slower_than(&self, bound: f64) -> u64 {
        let all = self.within.last().map_or(0, |(_, count)| *count);
        let fast = self.within.iter().take_while(|(at, _)| *at <= bound).last();
        all - fast.map_or(0, |(_, count)| *count).min(all)
    }
}

/// Reads the counters of all processes of a target.
#[async_trait]
pub(crate) trait Meter: Send + Sync {
    /// One reading for each process that lives.
    async fn read(&self, target: &TargetId) -> Result<Vec<Reading>, String>;
}

/// The counters of the fleet as intervals of evidence.
pub(crate) struct FleetMetrics {
    meter: Arc<dyn Meter>,
    new: Version,
    warm_up_ms: u64,
    /// Where the bound of slowness is kept: a controller that comes later must judge by the same.
    bound_file: PathBuf,
    began: std::time::Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<String, (u32, bool)>,
    /// What each process had counted at the last reading.
    before: BTreeMap<(String, u64), Reading>,
    last: Option<Interval>,
    bound: f64,
}

/// A member with its stratum, whether it is of the control cohort, and what its processes said.
type Seen = (String, u32, bool, Result<Vec<Reading>, String>);

/// What one interval showed, under way.
#[derive(Default)]
struct Tables {
    /// New and old, by stratum, metric, and whether the new ones are fresh.
    rows: BTreeMap<(u32, u8, bool), (Counts, Counts)>,
    /// The control one by one: by how much it differs among itself on this machine is no fault of a release.
    hosts: BTreeMap<(u32, u8), Vec<HostCounts>>,
}

impl Tables {
    fn add_new(&mut self, stratum: u32, metric: u8, fresh: bool, counts: Counts) {
        add(&mut self.rows.entry((stratum, metric, fresh)).or_default().0, counts);
    }

    fn add_control(&mut self, stratum: u32, metric: u8, host: u32, counts: Counts) {
        // Both kinds of rows are compared with the same.
        for fresh in [false, true] {
            add(&mut self.rows.entry((stratum, metric, fresh)).or_default().1, counts);
        }
        let Counts { bad, total } = counts;
        let hosts = self.hosts.entry((stratum, metric)).or_default();
        // Two processes of a target are one host.
        if let Some(one) = hosts.iter_mut().find(|one| one.host == host) {
            (one.bad, one.distinct, one.total) = (one.bad + bad, one.distinct + bad, one.total + total);
        } else if hosts.len() < MAX_SAMPLE_HOSTS {
            hosts.push(HostCounts {
                host,
                level: 0,
                bad,
                total,
                distinct: bad,
            });
        }
    }

    fn rows(&self) -> Vec<Row> {
        let told = |((stratum, metric, fresh), (canary, control)): (&(u32, u8, bool), &(Counts, Counts))| Row {
            stratum: *stratum,
            metric: *metric,
            fresh: *fresh,
            level: 0,
            canary: *canary,
            control: *control,
            missing: 0,
        };
        let all = self.rows.iter().map(told);
        all.filter(|row| !row.fresh || row.canary.total > 0).collect()
    }

    fn samples(self) -> Vec<HostSample> {
        let sample = |((stratum, metric), hosts)| HostSample {
            stratum,
            metric,
            arm: Arm::Control,
            fresh: false,
            hosts,
        };
        self.hosts.into_iter().map(sample).collect()
    }
}

impl FleetMetrics {
    pub(crate) fn new(meter: Arc<dyn Meter>, new: Version, warm_up_ms: u64, directory: &Path) -> Self {
        Self {
            meter,
            new,
            warm_up_ms,
            bound_file: directory.join("slow-bound"),
            began: crate::now(),
            state: Mutex::default(),
        }
    }

    async fn readings(&self) -> Vec<Seen> {
        let members = self.state.lock().members.clone();
        let all = members.into_iter().map(|(target, (stratum, control))| async move {
            let reading = self.meter.read(&TargetId::from(target.as_str())).await;
            (target, stratum, control, reading)
        });
        futures::future::join_all(all).await
    }

    /// The bound of slowness: kept from before, or drawn from what was before the change.
    fn settle_bound(&self, all: &[Seen]) -> Result<f64, SourceError> {
        let unavailable = |reason: String| SourceError::Unavailable { reason };
        if let Ok(text) = std::fs::read_to_string(&self.bound_file) {
            let told = text.trim().parse().map_err(|error| SourceError::Malformed {
                reason: format!("{}: {error}", self.bound_file.display()),
            });
            return told;
        }
        let mut whole: BTreeMap<u64, u64> = BTreeMap::new();
        for reading in all.iter().filter_map(|(.., reading)| reading.as_ref().ok()).flatten() {
            for (bound, count) in &reading.within {
                *whole.entry(bound.to_bits()).or_default() += count;
            }
        }
        // Positive numbers are in the order of their bits.
        let requests = whole.values().next_back().copied().unwrap_or(0);
        let bound = whole
            .iter()
            .find(|(_, within)| (requests - **within) * ONE_SLOW_IN <= requests)
            .map(|(bits, _)| f64::from_bits(*bits))
            .filter(|_| requests > 0)
            .ok_or_else(|| unavailable("no request was measured yet".to_owned()))?;
        std::fs::write(&self.bound_file, bound.to_string()).map_err(|error| unavailable(error.to_string()))?;
        Ok(bound)
    }
}

#[async_trait]
impl MetricSource for FleetMetrics {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        let mut state = self.state.lock();
        for member in members {
            state
                .members
                .insert(member.target.clone(), (member.stratum, member.control));
        }
        Ok(())
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        let all = self.readings().await;
        let bound = self.settle_bound(&all)?;
        self.state.lock().bound = bound;
        let mut counts: BTreeMap<(u32, u8), Counts> = BTreeMap::new();
        let mut tables = Tables::default();
        for (host, (_, stratum, _, reading)) in (0..).zip(&all) {
            for reading in reading.iter().flatten() {
                let (tests, tests_failed) = reading.self_tests;
                // Up to that share is ordinary, by how the bound is drawn; the few seconds before the change say nothing finer,
                // and who is held to them waits for a machine that is as quiet again.
                let slow = reading.slower_than(bound);
                let ordinary = slow.max(reading.requests / ONE_SLOW_IN);
                let measured = [
                    (ERRORS, reading.own, reading.own, reading.requests),
                    (SLOW, slow, ordinary, reading.requests),
                    (SELF_TEST, tests_failed, tests_failed, tests),
                ];
                for (metric, bad, ordinary, all) in measured {
                    add(
                        counts.entry((*stratum, metric)).or_default(),
                        Counts::new(ordinary.min(all), all),
                    );
                    // What is slow comes in bursts, all that wait for a processor at once: by how much targets differ before
                    // anybody has touched them says how long such bursts are.
                    if reading.version != self.new.as_str() {
                        tables.add_control(*stratum, metric, host, Counts::new(bad.min(all), all));
                    }
                }
            }
        }
        let mut samples: BTreeMap<(u32, u8), HostSample> = tables
            .samples()
            .into_iter()
            .map(|sample| ((sample.stratum, sample.metric), sample))
            .collect();
        let history = counts.into_iter().map(|((stratum, metric), counts)| History {
            stratum,
            metric,
            counts,
            samples: samples.remove(&(stratum, metric)).into_iter().collect(),
            signatures: Vec::new(),
        });
        Ok(history.collect())
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        if let Some(last) = &self.state.lock().last
            && (last.index, last.end_ms) == (index, end_ms)
        {
            return Ok(last.clone());
        }
        let all = self.readings().await;
        if self.state.lock().bound <= 0.0 {
            let bound = self.settle_bound(&all)?;
            self.state.lock().bound = bound;
        }
        let lived_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state.lock();
        let (mut canary_hosts, mut control_hosts) = (Coverage::default(), Coverage::default());
        let mut tables = Tables::default();
        for (host, (target, stratum, control, readings)) in (0..).zip(all) {
            let Ok(readings) = readings else {
                // Nobody knows which side it is on; what is missing is missing of the control, or of nobody.
                control_hosts.expected += u32::from(control);
                continue;
            };
            for reading in readings {
                let is_new = reading.version == self.new.as_str();
                let key = (target.clone(), reading.instance);
                let before = match state.before.get(&key) {
                    Some(before) => before.clone(),
                    // It lived before anybody here looked: what it counted until then belongs to no interval.
                    None if reading.uptime_ms > lived_ms => reading.clone(),
                    None => Reading::default(),
                };
                let bound = state.bound;
                let requests = reading.requests.saturating_sub(before.requests);
                let own = reading.own.saturating_sub(before.own);
                let slow = reading.slower_than(bound).saturating_sub(before.slower_than(bound));
                let tests = reading.self_tests.0.saturating_sub(before.self_tests.0);
                let tests_failed = reading.self_tests.1.saturating_sub(before.self_tests.1);
                let fresh = is_new && reading.uptime_ms < self.warm_up_ms;
                state.before.insert(key, reading);
                if is_new {
                    canary_hosts.expected += 1;
                    canary_hosts.reported += 1;
                } else if control {
                    control_hosts.expected += 1;
                    control_hosts.reported += 1;
                } else {
                    continue;
                }
                let measured = [
                    (ERRORS, own, requests),
                    (SLOW, slow, requests),
                    (SELF_TEST, tests_failed, tests),
                ];
                for (metric, bad, all) in measured {
                    let counts = Counts::new(bad.min(all), all);
                    if is_new {
                        tables.add_new(stratum, metric, fresh, counts);
                    } else {
                        tables.add_control(stratum, metric, host, counts);
                    }
                }
            }
        }
        let interval = Interval {
            index,
            end_ms,
            rows: tables.rows(),
            samples: tables.samples(),
            canary_hosts,
            control_hosts,
            ..Interval::default()
        };
        for row in &interval.rows {
            let Row {
                metric,
                fresh,
                canary,
                control,
                ..
            } = row;
            eprintln!(
                "interval {index}: metric {metric}{}: {} of {} new, {} of {} old",
                if *fresh { " fresh" } else { "" },
                canary.bad,
                canary.total,
                control.bad,
                control.total
            );
        }
        state.last = Some(interval.clone());
        Ok(interval)
    }
}

fn add(sum: &mut Counts, more: Counts) {
    *sum = Counts::new(sum.bad + more.bad, sum.total + more.total);
}
