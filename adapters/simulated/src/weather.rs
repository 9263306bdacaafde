//! What the world is like in one interval: the time of day, and incidents.

use crate::draw::{Draw, Purpose, to_f64};
use crate::effects::diluted;
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::population::{at, count};
use crate::strata::Stratum;

const DAY_MS: f64 = 86_400_000.0;

/// The interval that is read, and what the world is like in it.
pub(crate) struct Weather {
    pub(crate) index: u64,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) seconds: f64,
    pub(crate) episodes: Episodes,
    /// The time of day in the middle of the interval, as sine and cosine of the angle.
    day: (f64, f64),
    /// What incidents do in each zone, over the interval.
    zones: Vec<Factors>,
    /// The domain of which nothing is heard.
    pub(crate) cut_off: Option<u32>,
    /// The share of the fleet's requests that instances at fault serve, where it matters.
    pub(crate) adoption: f64,
}

/// Mean factors on errors and slow requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) errors: f64,
    pub(crate) slow: f64,
}

impl Factors {
    pub(crate) const NONE: Self = Self { errors: 1.0, slow: 1.0 };
}

impl Fleet {
    /// Load of an application in the interval, as a multiple of its mean: 1 + amplitude · sin(time of day + phase).
    pub(crate) fn load(&self, app: u32, weather: &Weather) -> f64 {
        1.0 + self.world.daily_amplitude * sine_of_sum(weather.day, self.population.apps[at(app)].phase)
    }

    /// The same at virtual `ms`.
    pub(crate) fn load_at(&self, app: u32, ms: f64) -> f64 {
        1.0 + self.world.daily_amplitude * sine_of_sum(self.time_of_day(ms), self.population.apps[at(app)].phase)
    }

    /// The time of day at virtual `ms`, as sine and cosine of the angle.
    fn time_of_day(&self, ms: f64) -> (f64, f64) {
        let wall = self.start_wall_ms.rem_euclid(86_400_000);
        let day = (to_f64(u64::try_from(wall).unwrap_or(0)) + ms) / DAY_MS;
        libm::sincos(std::f64::consts::TAU * (day - libm::floor(day)))
    }

    /// What befalls both versions of a stratum in the interval: incidents, other teams, a dependency that all share.
    pub(crate) fn calm(&self, stratum: &Stratum, weather: &Weather) -> Factors {
        let Factors { errors, slow } = self.of_others(stratum, weather);
        let errors = errors * diluted(self.effects.dependency, weather.adoption);
        Factors { errors, slow }
    }

    /// The same without what the release does to all: what there would be without it.
    pub(crate) fn of_others(&self, stratum: &Stratum, weather: &Weather) -> Factors {
        let Factors { mut errors, mut slow } = weather.zones[at(stratum.zone)];
        if self.population.apps[at(stratum.app)].other_change_at < weather.end_ms {
            errors *= self.world.other_change_error_factor;
            slow *= self.world.other_change_slow_factor;
        }
        Factors { errors, slow }
    }

    /// The domain that is cut off from the controller at present.
    pub(crate) fn cut_off(&self) -> Option<u32> {
        self.cut_off_within(self.now, self.now)
    }

    /// The domain that is cut off at some time from `from_ms` to `to_ms`.
    fn cut_off_within(&self, from_ms: u64, to_ms: u64) -> Option<u32> {
        let begin = self.world.cut_after_min * 60_000.0;
        let end = begin + self.world.cut_min * 60_000.0;
        if self.world.cut_min <= 0.0 || to_f64(to_ms) < begin || to_f64(from_ms) >= end {
            return None;
        }
        let domains = at(self.population.domains);
        Some(count(Draw::new(self.seed, Purpose::Cut, &[]).below(domains)))
    }

    /// The share of all requests that instances at fault serve now.
    fn adoption(&self) -> f64 {
        if !self.effects.spreads() {
            return 0.0;
        }
        let (mut some, mut all) = (0, 0);
        for stratum in &self.strata.list {
            some += stratum.faulty.rate_micro;
            all += stratum.members.rate_micro;
            some += self.fresh_at_fault(stratum);
        }
        to_f64(some) / to_f64(all.max(1))
    }

    /// Requests per second, in millionths, of the fresh instances of a stratum that serve and are at fault.
    pub(crate) fn fresh_at_fault(&self, stratum: &Stratum) -> u64 {
        let serves = |number: &&u32| {
            let slot = self.slot(**number);
            let at_fault = self.population.kind_of(slot).at_fault && self.effects.shows();
            at_fault && slot.is_ready(self.now.saturating_sub(self.effects.after_ms))
        };
        let fresh = stratum.fresh.iter().filter(serves);
        fresh.map(|number| u64::from(self.slot(*number).rate_micro)).sum()
    }

    /// The interval of the usual length that ends at virtual `end_ms`.
    pub(crate) fn weather(&self, index: u64, end_ms: u64) -> Weather {
        self.weather_between(index, end_ms.saturating_sub(self.interval_ms), end_ms)
    }

    /// From one virtual time to another, with the adoption of the present.
    pub(crate) fn weather_between(&self, index: u64, start_ms: u64, end_ms: u64) -> Weather {
        let (start, end) = (to_f64(start_ms), to_f64(end_ms));
        let length = end - start;
        let zones = self.incident_ms(start, end).into_iter().map(|ms| {
            let share = if length > 0.0 { ms / length } else { 0.0 };
            Factors {
                errors: 1.0 + (self.world.incident_error_factor - 1.0) * share,
                slow: 1.0 + (self.world.incident_slow_factor - 1.0) * share,
            }
        });
        Weather {
            index,
            start_ms,
            end_ms,
            seconds: length / 1_000.0,
            episodes: Episodes::new(&self.world, length / 1_000.0),
            day: self.time_of_day(start + 0.5 * length),
            zones: zones.collect(),
            cut_off: self.cut_off_within(start_ms, end_ms),
            adoption: self.adoption(),
        }
    }

    /// How many milliseconds between two virtual times (which may be negative: before the change) incidents run, by zone.
    /// Each day draws its own; they depend on the seed alone.
    pub(crate) fn incident_ms(&self, from: f64, to: f64) -> Vec<f64> {
        let mut zones = vec![0.0; at(self.population.zones)];
        // One day back: an incident may run over midnight.
        let mut day = libm::floor(from / DAY_MS) - 1.0;
        while day * DAY_MS < to {
            let mut draw = Draw::new(self.seed, Purpose::Incident, &[day.to_bits()]);
            for _ in 0..draw.round(self.world.incidents_per_day) {
                let hit = draw.below(zones.len());
                let begin = (day + draw.unit()) * DAY_MS;
                let minutes = draw.log_between(self.world.incident_min_low, self.world.incident_min_high);
                let end = begin + minutes * 60_000.0;
                zones[hit] += (end.min(to) - begin.max(from)).max(0.0);
            }
            day += 1.0;
        }
        zones.iter().map(|ms: &f64| ms.min(to - from)).collect()
    }
}

/// sin(a + b), of which sine and cosine are known, by the theorem of addition: there are many applications.
fn sine_of_sum((sin_a, cos_a): (f64, f64), (sin_b, cos_b): (f64, f64)) -> f64 {
    sin_a * cos_b + cos_a * sin_b
}

#[cfg(test)]
mod tests {
    use super::sine_of_sum;

    #[test]
    fn the_sine_of_a_sum_is_that_of_the_sum() {
        for i in 0..50 {
            let (a, b) = (f64::from(i) * 0.37, 6.0 - f64::from(i) * 0.11);
            let found = sine_of_sum(libm::sincos(a), libm::sincos(b));
            assert!((found - libm::sin(a + b)).abs() < 1e-14, "{a} {b}");
        }
    }
}
