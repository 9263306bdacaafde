//! What is measured: totals drawn per stratum, interval and arm, never per request or target.

use async_trait::async_trait;
use unattended_health::{
    ClassTotals, Counts, Coverage, FaultClass, History, Interval, Member, MetricSource, Row, SourceError,
};

use crate::draw::{Draw, Key, Purpose, Rare, floor_to_u64, to_f64};
use crate::exposure::Exposure;
use crate::fleet::{Fleet, ms};
use crate::population::{NO_STRATUM, at};
use crate::strata::Stratum;
use crate::weather::Weather;
use crate::{Simulated, World};

/// Own errors.
pub(crate) const ERRORS: u8 = 0;
/// Requests slower than their application's bound.
pub(crate) const SLOW: u8 = 1;
/// Instances that went down unasked.
pub(crate) const RESTARTS: u8 = 2;
/// Own errors among the synthetic requests that instances send through themselves.
pub(crate) const SELF_TEST: u8 = 3;
/// All metrics, by index.
const METRICS: [u8; 4] = [ERRORS, SLOW, RESTARTS, SELF_TEST];

/// Who a draw is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Side {
    #[default]
    Control,
    Canary,
    Fresh,
}

/// Numbers that follow from the world alone, and the last reading.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Logarithms of the bounds of the transient's factor.
    pub(crate) ln_transient: (f64, f64),
    /// No transient lasts longer.
    pub(crate) transient_ms: u64,
    last: Option<Interval>,
}

/// Strata that are made ready before the first of them is drawn; as many as fit the nearest cache.
const BATCH: usize = 32;

/// From so many strata on an interval is drawn by two threads: less is done before the other has begun.
const SHARED_STRATA: usize = 4_096;

/// What was drawn of some strata.
#[derive(Default)]
struct Part {
    rows: Vec<Row>,
    own: [Counts; 2],
    canary_hosts: u64,
    /// By stratum, where there are any.
    mute_hosts: Vec<f64>,
    /// By side, its arm and its terms of the means.
    means: Vec<(usize, [f64; 3])>,
}

/// One side of one stratum, about to be drawn.
#[derive(Clone, Copy, Default)]
struct Prospect {
    stratum: u32,
    side: Side,
    requests: u64,
    errors: Rare,
    slow: Rare,
    restarts: Counts,
    self_tests: u64,
    failed: Rare,
    /// What everybody's errors are multiplied with.
    calm: f64,
    /// Own errors per request.
    p: f64,
}

impl Meter {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            ln_transient: (
                libm::log(world.transient_factor_low),
                libm::log(world.transient_factor_high),
            ),
            transient_ms: ms(world.transient_s_high),
            last: None,
        }
    }
}

#[async_trait]
impl MetricSource for Simulated {
    /// Targets that do not live are passed over: they died since they were named.
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        if let Some(member) = members
            .iter()
            .find(|m| m.stratum == NO_STRATUM || m.stratum > 4_000_000)
        {
            return Err(SourceError::Malformed {
                reason: format!(
                    "member `{}` has stratum {}; strata go from 0 to 4,000,000",
                    member.target, member.stratum
                ),
            });
        }
        let mut fleet = self.present();
        for member in members {
            if let Some(number) = fleet.population.find(&member.target) {
                fleet.follow(number, member.stratum, member.control);
            }
        }
        Ok(())
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        Ok(self.present().history())
    }

    /// The interval of [`SimConfig::interval_ms`](crate::SimConfig::interval_ms) that ended at `end_ms`, for the members as they stand at the time of the call: read
    /// each interval when it ends. The last interval that was read is given again as it was.
    ///
    /// `end_ms` is virtual time, as [`SimClock`](crate::SimClock) tells it.
    ///
    /// | metric | | bad | total |
    /// |---|---|---|---|
    /// | 0 | errors | episodes of own errors | requests |
    /// | 1 | slow | episodes of requests slower than their application's bound | requests |
    /// | 2 | restarts | instances that went down unasked | instances |
    /// | 3 | self_test | own errors of synthetic requests | synthetic requests |
    ///
    /// Synthetic requests are sent at [`World::self_tests_per_second`] by each running instance through itself. They do not leave the process: no
    /// incident, daily wave or slowness touches them. They come one by one and from no client: each error is an episode.
    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let mut fleet = self.present();
        if let Some(last) = &fleet.meter.last
            && (last.index, last.end_ms) == (index, end_ms)
        {
            return Ok(last.clone());
        }
        let interval = fleet.read(index, end_ms)?;
        // The rows are many: they go into the memory of the ones before.
        let mut rows = fleet.meter.last.take().map_or_else(Vec::new, |last| last.rows);
        rows.clone_from(&interval.rows);
        fleet.meter.last = Some(Interval {
            rows,
            samples: interval.samples.clone(),
            totals: interval.totals.clone(),
            splits: Vec::new(),
            signatures: Vec::new(),
            ..interval
        });
        Ok(interval)
    }
}

impl Fleet {
    fn follow(&mut self, number: u32, stratum: u32, control: bool) {
        let population = &mut self.population;
        let kind = &population.kinds[at(population.slots[at(number)].kind)];
        let slot = &mut population.slots[at(number)];
        if (slot.stratum, slot.control) != (stratum, control) {
            self.strata.leave(number, slot);
            self.strata.join(number, slot, stratum, control, kind);
        }
        self.place(number);
    }

    fn read(&mut self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        if end_ms > self.now {
            return Err(SourceError::NotReady {
                index,
                reason: format!("it ends in {} ms", end_ms - self.now),
            });
        }
        let weather = self.weather(index, end_ms);
        let keep = 10 * self.interval_ms;
        while self.strata.crashes.front().is_some_and(|c| c.at_ms + keep < end_ms) {
            self.strata.crashes.pop_front();
        }
        if self.effects.any {
            let requests = self.harm_in(&weather);
            self.harm.add(end_ms, requests);
        }
        Ok(self.draw_interval(&weather))
    }

    fn draw_interval(&self, weather: &Weather) -> Interval {
        let crashes = self.crashes_in(weather);
        let mut interval = Interval {
            index: weather.index,
            end_ms: weather.end_ms,
            ..Interval::default()
        };
        let active: Vec<u32> = self.strata.active().collect();
        let room = self.meter.last.as_ref().map_or(0, |last| last.rows.len()) * 9 / 8;
        let mut own = [Counts::default(); 2];
        let mut means = [[0.0_f64; 3]; 2];
        // Expected, and of these silent by the release's fault or behind a cut.
        let (mut canary_hosts, mut mute_hosts) = (0_u64, 0.0);
        for part in self.draw_parts(weather, &active, &crashes, room) {
            // The first part has room for all of them.
            if interval.rows.is_empty() {
                interval.rows = part.rows;
            } else {
                interval.rows.extend_from_slice(&part.rows);
            }
            for (own, more) in own.iter_mut().zip(part.own) {
                own.bad += more.bad;
                own.total += more.total;
            }
            canary_hosts += part.canary_hosts;
            // One by one, in the order of the strata: a sum of floats of parts would be another one.
            for hosts in part.mute_hosts {
                mute_hosts += hosts;
            }
            for (arm, terms) in part.means {
                for (mean, term) in means[arm].iter_mut().zip(terms) {
                    *mean += term;
                }
            }
        }
        interval.samples = self.samples(&active, weather);
        let bad = self.count_bad_nodes(weather, &mut interval);
        for (own, bad) in own.iter_mut().zip(bad) {
            own.bad += bad;
        }
        interval.totals = self.class_totals(weather, own, means);
        let coverage = |expected: u64, mute: f64| {
            let left = (to_f64(expected) - mute).max(0.0);
            let reported = floor_to_u64(left * (1.0 - self.world.telemetry_loss) + 0.5);
            Coverage {
                reported: u32::try_from(reported).unwrap_or(u32::MAX),
                expected: u32::try_from(expected).unwrap_or(u32::MAX),
            }
        };
        interval.canary_hosts = coverage(canary_hosts, mute_hosts);
        interval.control_hosts = coverage(self.strata.control_hosts, to_f64(self.control_cut_off(weather)));
        interval
    }

    /// Draws the strata, in parts that follow one another. A large fleet is drawn by two threads; since each draw has a key of its own,
    /// no number depends on that.
    fn draw_parts(&self, weather: &Weather, active: &[u32], crashes: &[(u32, Side)], room: usize) -> Vec<Part> {
        if active.len() < SHARED_STRATA {
            return vec![self.draw_part(weather, active, crashes, room)];
        }
        let (first, second) = active.split_at(active.len() / 2);
        let begin = second.first().copied().unwrap_or(u32::MAX);
        let (before, after) = crashes.split_at(crashes.partition_point(|(stratum, _)| *stratum < begin));
        std::thread::scope(|scope| {
            let other =
                std::thread::Builder::new().spawn_scoped(scope, || self.draw_part(weather, second, after, room / 2));
            let first = self.draw_part(weather, first, before, room);
            // Where there is no thread to be had, or none that came to its end, this one does it.
            let other = other.ok().and_then(|other| other.join().ok());
            let second = other.unwrap_or_else(|| self.draw_part(weather, second, after, room / 2));
            vec![first, second]
        })
    }

    /// Draws some strata; `crashes` are those of no stratum before them.
    fn draw_part(&self, weather: &Weather, active: &[u32], crashes: &[(u32, Side)], room: usize) -> Part {
        let mut part = Part {
            rows: Vec::with_capacity(room),
            ..Part::default()
        };
        let mut next_crash = 0;
        let mut control = [Counts::default(); METRICS.len()];
        let mut stratum_from = 0;
        let of = Draw::new(self.seed, Purpose::Rows, &[weather.index]).bits();
        // Written over and over in place: a prospect is too large to be passed around.
        let mut batch = [Prospect::default(); 3 * BATCH];
        for numbers in active.chunks(BATCH) {
            let mut ready = 0;
            for &number in numbers {
                let stratum = &self.strata.list[at(number)];
                if weather.cut_off == Some(stratum.domain) {
                    let hosts = stratum.new_hosts();
                    part.canary_hosts += hosts;
                    part.mute_hosts.push(to_f64(hosts));
                    continue;
                }
                let mute = self.mute_hosts(stratum);
                if mute > 0.0 {
                    part.mute_hosts.push(mute);
                }
                let downs = downs_of(crashes, &mut next_crash, number);
                let (sides, hosts) = self.make_ready(weather, of, number, downs, &mut batch[ready..]);
                ready += sides;
                part.canary_hosts += hosts;
            }
            for prospect in &batch[..ready] {
                let drawn = prospect.draw();
                let arm = usize::from(prospect.side == Side::Control);
                part.own[arm].bad += drawn[usize::from(ERRORS)].bad;
                part.own[arm].total += prospect.requests;
                let n = to_f64(prospect.requests);
                part.means.push((arm, [n, n * prospect.calm, n * prospect.p]));
                if prospect.side == Side::Control {
                    control = drawn;
                    stratum_from = part.rows.len();
                    continue;
                }
                for ((metric, canary), control) in METRICS.into_iter().zip(drawn).zip(control) {
                    let told = !self.sparse || metric != RESTARTS || canary.bad > 0 || control.bad > 0;
                    if canary.total > 0 && told {
                        part.rows.push(Row {
                            stratum: prospect.stratum,
                            metric,
                            fresh: prospect.side == Side::Fresh,
                            level: 0,
                            canary,
                            control,
                            missing: 0,
                        });
                    }
                }
                if prospect.side == Side::Fresh {
                    // In the order that the judge wants, or it would sort the rows of all strata.
                    part.rows[stratum_from..].sort_unstable_by_key(|row| (row.metric, row.fresh));
                }
            }
        }
        part
    }

    /// Hosts at fault whose counts the release loses.
    fn mute_hosts(&self, stratum: &Stratum) -> f64 {
        if self.effects.mute <= 0.0 {
            return 0.0;
        }
        let at_fault = |number: &&u32| self.population.kind_of(self.slot(**number)).at_fault;
        let fresh = stratum.fresh.iter().filter(at_fault).count();
        self.effects.mute * to_f64(u64::from(stratum.faulty.hosts) + fresh as u64)
    }

    /// Control members of which nothing is heard.
    fn control_cut_off(&self, weather: &Weather) -> u64 {
        if weather.cut_off.is_none() {
            return 0;
        }
        let silent = self.strata.list.iter().filter(|s| weather.cut_off == Some(s.domain));
        silent.map(|stratum| u64::from(stratum.control.hosts)).sum()
    }

    /// Makes the sides of a stratum ready, control first; says how many sides there are, and how many hosts on the new version.
    fn make_ready(
        &self,
        weather: &Weather,
        of: u64,
        number: u32,
        downs: [u64; 3],
        batch: &mut [Prospect],
    ) -> (usize, u64) {
        let stratum = &self.strata.list[at(number)];
        let load = self.load(stratum.app, weather);
        let calm = self.calm(stratum, weather);
        let warm = stratum.clean.hosts + stratum.faulty.hosts;
        let mut sides = 0;
        let mut push = |side, exposure: &Exposure| {
            let prospect = &mut batch[sides];
            prospect.stratum = number;
            prospect.side = side;
            prospect.calm = calm.errors;
            prospect.p = self.population.apps[at(stratum.app)].error_rate;
            self.foresee(weather, of, exposure, prospect);
            sides += 1;
        };
        push(
            Side::Control,
            &self.control_exposure(stratum, weather, load, calm, downs[0]),
        );
        if warm > 0 || downs[1] > 0 {
            push(
                Side::Canary,
                &self.warm_exposure(stratum, weather, load, calm, downs[1]),
            );
        }
        if !stratum.fresh.is_empty() {
            push(
                Side::Fresh,
                &self.fresh_exposure(stratum, weather, load, calm, downs[2]),
            );
        }
        (sides, stratum.new_hosts())
    }

    /// Works out all that is drawn of one side but the numbers themselves.
    fn foresee(&self, weather: &Weather, of: u64, exposure: &Exposure, prospect: &mut Prospect) {
        let (side, p) = (prospect.side, prospect.p);
        let key = Key::new(of, u64::from(prospect.stratum) << 2 | side as u64);
        let heard = 1.0 - self.world.telemetry_loss;
        let asked = exposure.requests * heard;
        let errors = weather.episodes.per_request(p * exposure.factors.errors);
        let slow = weather
            .episodes
            .per_request(self.world.slow_share * exposure.factors.slow);
        let self_tests = exposure.self_tests * heard;
        let failed = (p * exposure.self_test_errors).min(1.0);
        // What crashed has left the sums; it was at risk all the same.
        let at_risk = match side {
            Side::Fresh => u64::from(exposure.hosts).max(exposure.crashes),
            Side::Control | Side::Canary => u64::from(exposure.hosts) + exposure.crashes,
        };
        prospect.requests = key.count(0).round(asked);
        prospect.errors = Rare::new(key.count(1), asked * errors);
        prospect.slow = Rare::new(key.count(2), asked * slow);
        prospect.restarts = Counts::new(exposure.crashes, at_risk);
        prospect.self_tests = key.count(3).round(self_tests);
        prospect.failed = Rare::new(key.count(4), self_tests * failed);
    }

    /// Instances that went down in the interval as (stratum, side), sorted.
    fn crashes_in(&self, weather: &Weather) -> Vec<(u32, Side)> {
        let mut crashes: Vec<(u32, Side)> = self
            .strata
            .crashes
            .iter()
            .filter(|c| c.at_ms > weather.start_ms && c.at_ms <= weather.end_ms)
            .map(|c| {
                let side = match (c.canary, c.fresh) {
                    (false, _) => Side::Control,
                    (true, false) => Side::Canary,
                    (true, true) => Side::Fresh,
                };
                (c.stratum, side)
            })
            .collect();
        crashes.sort_unstable_by_key(|(stratum, side)| (*stratum, *side as u8));
        crashes
    }

    /// Errors of the fleet by whose fault they are, [canary, control]; only the own ones are ever judged.
    fn class_totals(&self, weather: &Weather, own: [Counts; 2], means: [[f64; 3]; 2]) -> Vec<ClassTotals> {
        let drawn = |class: u64, mean: [f64; 2]| {
            [0, 1].map(|arm| {
                let keys = [weather.index, class, arm as u64];
                let bad = Draw::new(self.seed, Purpose::Totals, &keys).poisson(mean[arm]);
                Counts::new(bad.min(own[arm].total), own[arm].total)
            })
        };
        let infrastructure = drawn(1, means.map(|m| m[1] * self.world.infrastructure_error_rate));
        let business = drawn(2, means.map(|m| m[2] * self.world.business_error_factor));
        [
            (FaultClass::Own, own),
            (FaultClass::Infrastructure, infrastructure),
            (FaultClass::Business, business),
        ]
        .map(|(class, [canary, control])| ClassTotals { class, canary, control })
        .to_vec()
    }
}

impl Prospect {
    /// The counts, by metric.
    #[inline]
    fn draw(&self) -> [Counts; METRICS.len()] {
        [
            Counts::new(self.errors.draw().min(self.requests), self.requests),
            Counts::new(self.slow.draw().min(self.requests), self.requests),
            self.restarts,
            Counts::new(self.failed.draw().min(self.self_tests), self.self_tests),
        ]
    }
}

/// The crashes of one stratum as [control, canary, fresh]; `crashes` is sorted and strata are asked for in order.
fn downs_of(crashes: &[(u32, Side)], next: &mut usize, stratum: u32) -> [u64; 3] {
    let mut downs = [0; 3];
    while let Some((number, side)) = crashes.get(*next) {
        if *number > stratum {
            break;
        }
        if *number == stratum {
            downs[*side as usize] += 1;
        }
        *next += 1;
    }
    downs
}
