//! What is measured: totals drawn per stratum, interval and arm, never per request or target.

use async_trait::async_trait;
use unattended_health::{
    ClassTotals, Counts, Coverage, FaultClass, History, Interval, Member, MetricSource, Row, SourceError,
};

use crate::draw::{Draw, Purpose, floor_to_u64, to_f64, upper_tail};
use crate::fleet::{Fleet, ms};
use crate::population::{Fate, NO_STRATUM, at, count};
use crate::strata::Stratum;
use crate::{Fault, Simulated, World};

/// Own errors.
pub(crate) const ERRORS: u8 = 0;
/// Requests slower than their application's bound.
pub(crate) const SLOW: u8 = 1;
/// Instances that went down unasked.
pub(crate) const RESTARTS: u8 = 2;

const DAY_MS: f64 = 86_400_000.0;
/// Who a draw is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Side {
    Control,
    Canary,
    Fresh,
}

/// Numbers that follow from the world alone, and the last reading.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Where the bound for slow requests lies, in standard deviations of log latency.
    slow_bound: f64,
    last: Option<Interval>,
}

/// The interval that is read, and what the world is like in it.
pub(crate) struct Weather {
    pub(crate) index: u64,
    start_ms: u64,
    end_ms: u64,
    pub(crate) seconds: f64,
    /// Middle of the interval in days since the epoch.
    day: f64,
    /// Per zone, the share of the interval in which an incident runs.
    zones: Vec<f64>,
}

/// Mean factors on errors and slow requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) errors: f64,
    pub(crate) slow: f64,
}

/// Traffic of one side of one stratum, before anything is drawn.
#[derive(Clone, Copy, Debug, Default)]
struct Exposure {
    /// Requests.
    requests: f64,
    /// Requests, each weighted with its factor on errors.
    errors: f64,
    /// The same for slow ones.
    slow: f64,
    hosts: u32,
    crashes: u64,
}

/// Drawn counts of one side.
#[derive(Clone, Copy, Debug, Default)]
struct Drawn {
    requests: u64,
    errors: u64,
    slow: u64,
    restarts: Counts,
}

impl Meter {
    pub(crate) fn new(world: &World) -> Self {
        // The bound is where the tail holds the slow share: bisection, since the tail falls steadily.
        let (mut low, mut high) = (0.0_f64, 10.0_f64);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if upper_tail(middle) > world.slow_share {
                low = middle
            } else {
                high = middle
            }
        }
        Self {
            slow_bound: 0.5 * (low + high),
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
    /// `end_ms` is unix time; a time before the world's start is taken as virtual time (which is what a driver has that counts intervals on its
    /// [`Clock::now`](unattended_upgrade::Clock::now)). The interval carries back what was given.
    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let mut fleet = self.present();
        if let Some(last) = &fleet.meter.last
            && (last.index, last.end_ms) == (index, end_ms)
        {
            return Ok(last.clone());
        }
        let interval = fleet.read(index, end_ms)?;
        fleet.meter.last = Some(interval.clone());
        Ok(interval)
    }
}

impl Fleet {
    fn follow(&mut self, number: u32, stratum: u32, control: bool) {
        let population = &mut self.population;
        let kind = &population.kinds[at(population.slots[at(number)].kind)];
        let (app, zone) = (kind.app_index, kind.zone);
        let slot = &mut population.slots[at(number)];
        if (slot.stratum, slot.control) != (stratum, control) {
            self.strata.leave(number, slot);
            self.strata.join(number, slot, stratum, control, app, zone);
        }
        self.place(number);
    }

    fn read(&mut self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let end = i64::try_from(end_ms)
            .ok()
            .and_then(|wall| u64::try_from(wall.saturating_sub(self.start_wall_ms)).ok())
            // Before the world began on the wall clock: it is meant on the world's own.
            .unwrap_or(end_ms);
        if end > self.now {
            return Err(SourceError::NotReady {
                index,
                reason: format!("it ends in {} ms", end - self.now),
            });
        }
        let weather = self.weather(index, end);
        let keep = 10 * self.interval_ms;
        while self.strata.crashes.front().is_some_and(|c| c.at_ms + keep < end) {
            self.strata.crashes.pop_front();
        }
        Ok(self.draw_interval(&weather, end_ms))
    }

    fn draw_interval(&self, weather: &Weather, end_ms: u64) -> Interval {
        let crashes = self.crashes_in(weather);
        let mut next_crash = 0;
        let mut daily: Vec<f64> = vec![f64::NAN; self.population.apps.len()];
        let mut interval = Interval {
            index: weather.index,
            end_ms,
            ..Interval::default()
        };
        let mut own = [Counts::default(); 2];
        let mut means = [[0.0_f64; 3]; 2];
        let mut hosts = [0_u64; 2];
        let mut active: Vec<u32> = Vec::new();
        for (number, stratum) in self.strata.list.iter().enumerate() {
            let number = count(number);
            hosts[1] += u64::from(stratum.control.hosts);
            if !stratum.has_canary() {
                continue;
            }
            active.push(number);
            hosts[0] += u64::from(stratum.clean.hosts + stratum.faulty.hosts) + stratum.fresh.len() as u64;
            let load = &mut daily[at(stratum.app)];
            if load.is_nan() {
                *load = self.load(stratum.app, weather);
            }
            let load = *load;
            let downs = downs_of(&crashes, &mut next_crash, number);
            let calm = self.incident_factors(stratum, weather);
            let draw = |side, exposure| self.draw_side(weather, number, stratum, load, side, exposure);
            let control = draw(
                Side::Control,
                self.control_exposure(stratum, weather, load, calm, downs[0]),
            );
            let warm = stratum.clean.hosts + stratum.faulty.hosts > 0 || downs[1] > 0;
            let warm = warm.then(|| draw(Side::Canary, self.warm_exposure(stratum, weather, load, calm, downs[1])));
            let fresh = (!stratum.fresh.is_empty())
                .then(|| draw(Side::Fresh, self.fresh_exposure(stratum, weather, load, calm, downs[2])));
            for metric in [ERRORS, SLOW, RESTARTS] {
                for (side, is_fresh) in [(&warm, false), (&fresh, true)] {
                    let Some(side) = side else { continue };
                    let canary = side.counts(metric);
                    if canary.total > 0 {
                        interval.rows.push(Row {
                            stratum: number,
                            metric,
                            fresh: is_fresh,
                            canary,
                            control: control.counts(metric),
                        });
                    }
                }
            }
            let p = self.population.apps[at(stratum.app)].error_rate;
            for (arm, sides) in [(0, [warm, fresh]), (1, [Some(control), None])] {
                for side in sides.into_iter().flatten() {
                    own[arm].bad += side.errors;
                    own[arm].total += side.requests;
                    let n = to_f64(side.requests);
                    means[arm][0] += n;
                    means[arm][1] += n * calm.errors;
                    means[arm][2] += n * p;
                }
            }
        }
        interval.samples = self.samples(&active, weather, &daily);
        interval.totals = self.class_totals(weather, own, means);
        let coverage = |expected: u64| {
            let reported = floor_to_u64(to_f64(expected) * (1.0 - self.world.telemetry_loss) + 0.5);
            Coverage {
                reported: u32::try_from(reported).unwrap_or(u32::MAX),
                expected: u32::try_from(expected).unwrap_or(u32::MAX),
            }
        };
        interval.canary_hosts = coverage(hosts[0]);
        interval.control_hosts = coverage(hosts[1]);
        interval
    }

    /// Load of an application in the interval, as a multiple of its mean.
    pub(crate) fn load(&self, app: u32, weather: &Weather) -> f64 {
        let phase = self.population.apps[at(app)].phase;
        1.0 + self.world.daily_amplitude * libm::sin(std::f64::consts::TAU * (weather.day + phase))
    }

    /// The interval of the usual length that ends at virtual `end`.
    pub(crate) fn weather(&self, index: u64, end: u64) -> Weather {
        let start = end.saturating_sub(self.interval_ms);
        let length = to_f64(end - start);
        let wall = self.start_wall_ms.rem_euclid(86_400_000);
        let wall = to_f64(u64::try_from(wall).unwrap_or(0));
        let zones = (0..self.population.zones)
            .map(|zone| {
                if length > 0.0 {
                    self.incident_ms(zone, to_f64(start), to_f64(end)) / length
                } else {
                    0.0
                }
            })
            .collect();
        Weather {
            index,
            start_ms: start,
            end_ms: end,
            seconds: length / 1_000.0,
            day: (wall + to_f64(start) + 0.5 * length) / DAY_MS,
            zones,
        }
    }

    /// How many milliseconds between two virtual times (which may be negative: before the change) incidents run in a zone.
    /// Each day draws its own; they depend on the seed alone.
    pub(crate) fn incident_ms(&self, zone: u32, from: f64, to: f64) -> f64 {
        let mut sum = 0.0;
        // One day back: an incident may run over midnight.
        let mut day = libm::floor(from / DAY_MS) - 1.0;
        while day * DAY_MS < to {
            let mut draw = Draw::new(self.seed, Purpose::Incident, &[day.to_bits()]);
            for _ in 0..draw.round(self.world.incidents_per_day) {
                let hit = count(draw.below(at(self.population.zones)));
                let begin = (day + draw.unit()) * DAY_MS;
                let minutes = draw.log_between(self.world.incident_min_low, self.world.incident_min_high);
                let end = begin + minutes * 60_000.0;
                if hit == zone {
                    sum += (end.min(to) - begin.max(from)).max(0.0);
                }
            }
            day += 1.0;
        }
        sum.min(to - from)
    }

    pub(crate) fn incident_factors(&self, stratum: &Stratum, weather: &Weather) -> Factors {
        let share = weather.zones[at(stratum.zone)];
        Factors {
            errors: 1.0 + (self.world.incident_error_factor - 1.0) * share,
            slow: 1.0 + (self.world.incident_slow_factor - 1.0) * share,
        }
    }

    /// What the release's fault does to those at fault, under this load.
    fn fault_factors(&self, load: f64) -> Factors {
        let none = Factors { errors: 1.0, slow: 1.0 };
        match self.fault {
            Fault::Errors { factor } | Fault::Late { factor, .. } => Factors { errors: factor, ..none },
            Fault::Load { share, factor } if load >= share * (1.0 + self.world.daily_amplitude) => {
                Factors { errors: factor, ..none }
            }
            Fault::Latency { factor } => {
                let moved = self.meter.slow_bound - libm::log(factor) / self.world.latency_sigma;
                Factors {
                    slow: upper_tail(moved) / self.world.slow_share,
                    ..none
                }
            }
            _ => none,
        }
    }

    fn control_exposure(&self, stratum: &Stratum, weather: &Weather, load: f64, calm: Factors, downs: u64) -> Exposure {
        let requests = stratum.control.rate() * weather.seconds * load;
        Exposure {
            requests,
            errors: requests * calm.errors,
            slow: requests * calm.slow,
            hosts: stratum.control.hosts,
            crashes: downs,
        }
    }

    fn warm_exposure(&self, stratum: &Stratum, weather: &Weather, load: f64, calm: Factors, downs: u64) -> Exposure {
        let clean = stratum.clean.rate() * weather.seconds * load;
        let faulty = stratum.faulty.rate() * weather.seconds * load;
        let fault = self.fault_factors(load);
        Exposure {
            requests: clean + faulty,
            errors: (clean + faulty * fault.errors) * calm.errors,
            slow: (clean + faulty * fault.slow) * calm.slow,
            hosts: stratum.clean.hosts + stratum.faulty.hosts,
            crashes: downs,
        }
    }

    /// Fresh members are few, and each has its own transient: they are added up one by one, in whole numbers.
    fn fresh_exposure(&self, stratum: &Stratum, weather: &Weather, load: f64, calm: Factors, downs: u64) -> Exposure {
        // Millionths of requests per second times milliseconds (times hundredths), [clean, at fault].
        let (mut plain, mut weighted) = ([0_u128; 2], [0_u128; 2]);
        let mut hosts = 0;
        let mut crashes = downs;
        for &number in &stratum.fresh {
            let slot = self.slot(number);
            if slot.up_at >= weather.end_ms {
                continue;
            }
            hosts += 1;
            if slot.fate == Fate::Crashing {
                crashes += 1;
            }
            if slot.fate != Fate::Up {
                continue;
            }
            let serves_from = slot.ready_at.max(slot.ingress_at);
            let from = serves_from.max(weather.start_ms);
            let length = weather.end_ms.saturating_sub(from);
            let (until, hundredths) = self.transient(number, slot.instance, slot.ready_at);
            let rough = until.min(weather.end_ms).saturating_sub(from);
            let at_fault = match self.fault {
                Fault::Late { after_ms, .. } => weather.end_ms >= slot.ready_at.saturating_add(after_ms),
                Fault::None | Fault::Crash | Fault::Leak { .. } => false,
                _ => true,
            };
            let side = usize::from(at_fault && self.population.kind_of(slot).at_fault);
            let rate = u128::from(slot.rate_micro);
            plain[side] += rate * u128::from(length);
            weighted[side] += rate * (u128::from(length - rough) * 100 + u128::from(rough) * u128::from(hundredths));
        }
        let fault = self.fault_factors(load);
        let requests = plain.map(|x| wide(x) * 1e-9 * load);
        let rough = weighted.map(|x| wide(x) * 1e-11 * load);
        Exposure {
            requests: requests[0] + requests[1],
            errors: (rough[0] + rough[1] * fault.errors) * calm.errors,
            slow: (rough[0] + rough[1] * fault.slow) * calm.slow,
            hosts,
            crashes,
        }
    }

    /// The transient after a start: until when, and its factor in hundredths. The same for a good release, a bad one and a
    /// restart nobody asked for.
    fn transient(&self, number: u32, instance: u32, ready_at: u64) -> (u64, u64) {
        let keys = [u64::from(number), u64::from(instance), 1];
        let mut draw = Draw::new(self.seed, Purpose::Instance, &keys);
        let world = &self.world;
        let lasts = ms(draw.between(world.transient_s_low, world.transient_s_high));
        let factor = draw.log_between(world.transient_factor_low, world.transient_factor_high);
        (ready_at.saturating_add(lasts), floor_to_u64(factor * 100.0))
    }

    /// Mean number of episodes: bursts are one each, and a heavy client is one per interval. Heavy clients are a share of those who call,
    /// so both arms are thinned alike.
    pub(crate) fn episodes(&self, bad: f64, requests: f64, seconds: f64) -> f64 {
        let world = &self.world;
        let all = bad / world.burst_mean;
        let heavy = all * world.heavy_episode_share;
        if seconds <= 0.0 || heavy <= 0.0 {
            return all;
        }
        let clients = requests / seconds * world.clients_per_request_per_s * world.heavy_client_share;
        // 1 - e^-x, of which the first terms do for the usual small x: the next is below 1e-7 of it.
        let x = heavy / clients.max(1e-12);
        let counted = if x < 0.05 {
            heavy * (1.0 - x * (0.5 - x * (1.0 / 6.0 - x / 24.0)))
        } else {
            -clients * libm::expm1(-x)
        };
        all - heavy + counted
    }

    fn draw_side(
        &self,
        weather: &Weather,
        number: u32,
        stratum: &Stratum,
        load: f64,
        side: Side,
        exposure: Exposure,
    ) -> Drawn {
        debug_assert!(load > 0.0, "the daily wave stays above 0");
        let heard = 1.0 - self.world.telemetry_loss;
        let key = |metric: u8| [u64::from(number), weather.index, u64::from(metric), side as u64];
        let requests = Draw::new(self.seed, Purpose::Requests, &key(0)).round(exposure.requests * heard);
        let p = self.population.apps[at(stratum.app)].error_rate;
        let bad = |metric: u8, mean: f64| {
            let mean = self.episodes(
                mean.min(exposure.requests) * heard,
                exposure.requests * heard,
                weather.seconds,
            );
            Draw::new(self.seed, Purpose::Rows, &key(metric))
                .poisson(mean)
                .min(requests)
        };
        // What crashed has left the sums; it was at risk all the same.
        let at_risk = match side {
            Side::Fresh => u64::from(exposure.hosts).max(exposure.crashes),
            Side::Control | Side::Canary => u64::from(exposure.hosts) + exposure.crashes,
        };
        Drawn {
            requests,
            errors: bad(ERRORS, exposure.errors * p),
            slow: bad(SLOW, exposure.slow * self.world.slow_share),
            restarts: Counts::new(exposure.crashes, at_risk),
        }
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

impl Drawn {
    fn counts(&self, metric: u8) -> Counts {
        match metric {
            ERRORS => Counts::new(self.errors, self.requests),
            SLOW => Counts::new(self.slow, self.requests),
            _ => self.restarts,
        }
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

fn wide(x: u128) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean of random counts needs no more than 53 bits"
    )]
    let y = x as f64;
    y
}
