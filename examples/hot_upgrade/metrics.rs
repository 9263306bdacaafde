//! What the proxies say of themselves, as evidence for the autopilot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use unattended::health::{
    Arm, Counts, Coverage, History, HostCounts, HostSample, Interval, MAX_SAMPLE_HOSTS, Member, MetricSource, Row,
    SourceError,
};
use unattended::upgrade::{Clock as _, TargetId, Version};
use unattended_process::MonotonicClock;

use crate::controller::put;

/// Own errors of requests, in [`unattended::metrics`].
const ERRORS: u8 = 0;
/// Intervals in which a process was slow.
const SLOW: u8 = 1;
/// Synthetic requests that each process sends through itself.
const SELF_TEST: u8 = 3;

/// Up to one interval in ten is slow by nobody's fault, on a machine that has other things to do.
const ONE_SLOW_IN: u64 = 10;

/// A process whose median is so much longer than what is usual at that moment is slow.
const MUCH_LONGER: f64 = 1.5;

/// How often all are asked before the first change for what they did before it.
const ASKED: u32 = 5;

/// With fewer requests nothing is said of how long they took.
const FEW: u64 = 5;

/// With fewer requests of the control group what is usual now is what was usual before the change.
const FEW_TO_COMPARE: u64 = 20;

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

/// How long requests took that were worked at: (bound in seconds, requests that took no longer), rising. What took no longer
/// than the first bound was passed on as it came, half of all or more: it says nothing, and is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durations(BTreeMap<u64, u64>);

impl Durations {
    /// Adds what was counted between two readings of one process.
    fn add(&mut self, now: &[(f64, u64)], before: &[(f64, u64)]) {
        let since = |at: usize| {
            let counted = |all: &[(f64, u64)]| all.get(at).map_or(0, |(_, count)| *count);
            counted(now).saturating_sub(counted(before))
        };
        for (at, (bound, _)) in now.iter().enumerate() {
            // Positive numbers are in the order of their bits.
            *self.0.entry(bound.to_bits()).or_default() += since(at).saturating_sub(since(0));
        }
    }

    fn merge(&mut self, more: &Self) {
        for (bound, count) in &more.0 {
            *self.0.entry(*bound).or_default() += count;
        }
    }

    fn requests(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// The time within which so many of a hundred were served, with those between two bounds spread evenly. `None` where
    /// nothing was served, or no times are told.
    fn quantile(&self, percent: u32) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "far fewer requests than 2^53")]
        let (all, exact) = (self.requests(), |count: u64| count as f64);
        let rank = exact(all) * f64::from(percent) / 100.0;
        let (mut low, mut below) = (0.0, 0);
        for (bits, count) in &self.0 {
            let bound = f64::from_bits(*bits);
            if *count > below && exact(*count) >= rank {
                // Beyond the last bound nothing is known but that.
                let share = (rank - exact(below)) / exact(count - below);
                return Some(if bound.is_finite() {
                    low + (bound - low) * share
                } else {
                    low
                })
                .filter(|time| *time > 0.0);
            }
            (low, below) = (bound, *count);
        }
        None
    }
}

/// What is usual: the median, and what three in four requests were served within, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Usual {
    median: f64,
    upper: f64,
}

impl Usual {
    fn of(durations: &Durations) -> Option<Self> {
        let (median, upper) = (durations.quantile(50)?, durations.quantile(75)?);
        Some(Self { median, upper })
    }

    /// Whether a process was slow in an interval: half of what it served took much longer than half of what is usual, and
    /// longer than three quarters of it. `None` where it served next to nothing.
    ///
    /// What waits for a processor waits in bursts, dozens of requests at once: those are one event and not dozens of them. So
    /// it is intervals that are counted.
    fn is_exceeded_by(self, durations: &Durations) -> Option<bool> {
        if durations.requests() < FEW {
            return None;
        }
        let median = durations.quantile(50)?;
        Some(median > self.upper && median > self.median * MUCH_LONGER)
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
    /// Where it is kept what was usual before the first change: a controller that comes later must judge by the same.
    usual_file: PathBuf,
    interval_ms: u64,
    began: std::time::Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<String, (u32, bool)>,
    /// What each process had counted at the last reading.
    before: BTreeMap<(String, u64), Before>,
    last: Option<Interval>,
    /// When the counters were asked for last: they have what was counted until then.
    asked_ms: u64,
}

/// A process at the last reading.
#[derive(Clone, Debug, Default)]
struct Before {
    reading: Reading,
    /// When it had served something for the first time. A process of a hot upgrade does so long after its start, with
    /// connections that all come at once.
    serves_since_ms: Option<u64>,
}

/// What one process has done in an interval.
struct Done {
    host: u32,
    stratum: u32,
    is_new: bool,
    fresh: bool,
    requests: u64,
    own: u64,
    tests: (u64, u64),
    durations: Durations,
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
    pub(crate) fn new(
        meter: Arc<dyn Meter>,
        new: Version,
        warm_up_ms: u64,
        interval_ms: u64,
        directory: &Path,
    ) -> Self {
        Self {
            meter,
            new,
            warm_up_ms,
            usual_file: directory.join("usual.json"),
            interval_ms,
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

    /// What is usual: kept from before, or drawn from what was before the change. `None` where no times are told.
    fn settle_usual(&self, all: &[Seen]) -> Result<Option<Usual>, SourceError> {
        let file = || self.usual_file.display();
        let malformed = |error: serde_json::Error| SourceError::Malformed {
            reason: format!("{}: {error}", file()),
        };
        if let Ok(text) = std::fs::read(&self.usual_file) {
            return serde_json::from_slice(&text).map_err(malformed);
        }
        let (mut durations, mut untold) = (Durations::default(), 0);
        for reading in all.iter().filter_map(|(.., reading)| reading.as_ref().ok()).flatten() {
            durations.add(&reading.within, &[]);
            untold += if reading.within.len() > 1 { 0 } else { reading.requests };
        }
        let unavailable = |reason: String| SourceError::Unavailable { reason };
        if durations.requests() + untold == 0 {
            return Err(unavailable("no request was measured yet".to_owned()));
        }
        let usual = Usual::of(&durations);
        put(&self.usual_file, &usual).map_err(|failure| unavailable(format!("{}: {failure:?}", file())))?;
        Ok(usual)
    }

    /// What a process has done since the last reading, if it did so as one of either group.
    fn done(&self, state: &mut State, host: u32, member: (&str, u32), reading: Reading, end_ms: u64) -> Done {
        let (target, stratum) = member;
        let lived_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let is_new = reading.version == self.new.as_str();
        let known = state.before.entry((target.to_owned(), reading.instance));
        let before = known.or_insert_with(|| {
            // It lived before anybody here looked: what it counted until then belongs to no interval.
            if reading.uptime_ms > lived_ms {
                let serves_since_ms = (reading.requests > 0).then_some(0);
                Before {
                    reading: reading.clone(),
                    serves_since_ms,
                }
            } else {
                Before::default()
            }
        });
        if reading.requests > 0 {
            before.serves_since_ms.get_or_insert(end_ms);
        }
        let serves_since_ms = before.serves_since_ms;
        let just_serves = serves_since_ms.is_some_and(|since_ms| end_ms.saturating_sub(since_ms) < self.warm_up_ms);
        let mut durations = Durations::default();
        durations.add(&reading.within, &before.reading.within);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let done = Done {
            host,
            stratum,
            is_new,
            fresh: is_new && (just_serves || reading.uptime_ms < self.warm_up_ms),
            requests: since(reading.requests, before.reading.requests),
            own: since(reading.own, before.reading.own),
            tests: (
                since(reading.self_tests.0, before.reading.self_tests.0),
                since(reading.self_tests.1, before.reading.self_tests.1),
            ),
            durations,
        };
        before.reading = reading;
        done
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
        let mut all = self.readings().await;
        // Where a busy machine lets nobody answer, they are asked again before that is a reason to begin nothing.
        for _ in 1..ASKED {
            if self.settle_usual(&all).is_ok() {
                break;
            }
            all = self.readings().await;
        }
        self.settle_usual(&all)?;
        let mut counts: BTreeMap<(u32, u8), Counts> = BTreeMap::new();
        let mut tables = Tables::default();
        for (host, (_, stratum, _, reading)) in (0..).zip(&all) {
            for reading in reading.iter().flatten() {
                let (tests, tests_failed) = reading.self_tests;
                // Nobody has looked at it interval by interval. What is ordinary is not finer than that, and a process that
                // were held to the few seconds before would wait for a machine that is as quiet again.
                let intervals = reading.uptime_ms / self.interval_ms;
                for (metric, bad, all) in [
                    (ERRORS, reading.own, reading.requests),
                    (SLOW, intervals / ONE_SLOW_IN, intervals),
                    (SELF_TEST, tests_failed, tests),
                ] {
                    let told = Counts::new(bad.min(all), all);
                    add(counts.entry((*stratum, metric)).or_default(), told);
                    // By how much targets differ before anybody has touched them.
                    if metric != SLOW && reading.version != self.new.as_str() {
                        tables.add_control(*stratum, metric, host, told);
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
        // Whoever is late has read what was counted in this interval with the one before, and asking takes its time.
        if let State {
            last: Some(last),
            asked_ms,
            ..
        } = &mut *self.state.lock()
            && end_ms <= *asked_ms
        {
            *last = Interval {
                index,
                end_ms,
                canary_hosts: last.canary_hosts,
                control_hosts: last.control_hosts,
                ..Interval::default()
            };
            return Ok(last.clone());
        }
        let asked_ms = MonotonicClock.now();
        let all = self.readings().await;
        let before_the_change = self.settle_usual(&all)?;
        let mut state = self.state.lock();
        state.asked_ms = asked_ms;
        let (mut canary_hosts, mut control_hosts) = (Coverage::default(), Coverage::default());
        let (mut tables, mut done) = (Tables::default(), Vec::new());
        for (host, (target, stratum, control, readings)) in (0..).zip(all) {
            let Ok(readings) = readings else {
                // Nobody knows which side it is on; what is missing is missing of the control, or of nobody.
                control_hosts.expected += u32::from(control);
                continue;
            };
            for reading in readings {
                let one = self.done(&mut state, host, (&target, stratum), reading, end_ms);
                let hosts = match (one.is_new, control) {
                    (true, _) => &mut canary_hosts,
                    (false, true) => &mut control_hosts,
                    (false, false) => continue,
                };
                (hosts.expected, hosts.reported) = (hosts.expected + 1, hosts.reported + 1);
                done.push(one);
            }
        }
        // What makes all of them wait at this moment is no fault of the new one.
        let mut together = Durations::default();
        for one in done.iter().filter(|one| !one.is_new) {
            together.merge(&one.durations);
        }
        let now = Usual::of(&together).filter(|_| together.requests() >= FEW_TO_COMPARE);
        let usual = now.or(before_the_change);
        for one in done {
            let slow = match usual {
                Some(usual) => usual.is_exceeded_by(&one.durations),
                // Envoys do not tell how long they took themselves.
                None => (one.requests >= FEW).then_some(false),
            };
            let measured = [
                (ERRORS, one.own, one.requests),
                (SLOW, u64::from(slow == Some(true)), u64::from(slow.is_some())),
                (SELF_TEST, one.tests.1, one.tests.0),
            ];
            for (metric, bad, all) in measured {
                let counts = Counts::new(bad.min(all), all);
                if one.is_new {
                    tables.add_new(one.stratum, metric, one.fresh, counts);
                } else {
                    tables.add_control(one.stratum, metric, one.host, counts);
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

#[cfg(test)]
mod tests {
    use super::{Durations, Usual};

    /// So many requests up to each bound, in milliseconds, beside many that are passed on as they come.
    fn durations(counts: &[(f64, u64)]) -> Durations {
        let mut durations = Durations::default();
        let mut all = 1_000;
        let mut cumulative = vec![(0.25e-3, all)];
        cumulative.extend(counts.iter().map(|(ms, count)| {
            all += count;
            (ms / 1e3, all)
        }));
        durations.add(&cumulative, &[]);
        durations
    }

    #[test]
    fn quantiles_lie_between_the_bounds_and_are_of_what_came_since() {
        let ms = |durations: &Durations, percent| durations.quantile(percent).map(|s| (s * 1e6).round() / 1e3);
        let some = durations(&[(1.0, 10), (2.0, 20), (4.0, 10)]);
        assert_eq!(
            (ms(&some, 25), ms(&some, 50), ms(&some, 75)),
            (Some(1.0), Some(1.5), Some(2.0))
        );
        assert_eq!((some.requests(), ms(&some, 100)), (40, Some(4.0)));
        let mut since = Durations::default();
        let before = [(0.001, 10), (0.002, 12), (0.003, 12)];
        since.add(&[(0.001, 30), (0.002, 36), (0.003, 40)], &before);
        assert_eq!(
            (since.requests(), ms(&since, 50), ms(&since, 75)),
            (8, Some(2.0), Some(2.5))
        );
        // All that is known of what is beyond the last bound.
        assert_eq!(ms(&durations(&[(1.0, 1), (f64::INFINITY, 9)]), 50), Some(1.0));
        let mut untold = Durations::default();
        untold.add(&[(f64::INFINITY, 9)], &[]);
        for nothing in [durations(&[]), durations(&[(1.0, 0)]), untold] {
            assert_eq!((nothing.requests(), ms(&nothing, 50)), (0, None));
        }
    }

    #[test]
    fn slow_is_who_is_slower_than_all_others_at_that_moment() {
        let usual = |counts: &[(f64, u64)]| Usual::of(&durations(counts)).unwrap();
        let quiet = usual(&[(1.0, 10), (2.0, 90), (4.0, 10)]);
        let busy = usual(&[(2.0, 40), (4.0, 40), (16.0, 30)]);
        let (good, slow) = (durations(&[(2.0, 20)]), durations(&[(2.0, 1), (4.0, 19)]));
        assert_eq!(quiet.is_exceeded_by(&good), Some(false));
        assert_eq!(quiet.is_exceeded_by(&slow), Some(true));
        assert_eq!(busy.is_exceeded_by(&slow), Some(false), "the machine makes all wait");
        // A burst of less than half of what it served.
        assert_eq!(quiet.is_exceeded_by(&durations(&[(2.0, 11), (64.0, 9)])), Some(false));
        assert_eq!(quiet.is_exceeded_by(&durations(&[(64.0, 4)])), None, "too few to say");
    }
}
