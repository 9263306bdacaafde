//! What the world is like in one interval: the time of day, and incidents.

use crate::draw::{Draw, Purpose, to_f64};
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::population::at;

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
    pub(crate) zones: Vec<Factors>,
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

    /// The interval of the usual length that ends at virtual `end_ms`.
    pub(crate) fn weather(&self, index: u64, end_ms: u64) -> Weather {
        let start_ms = end_ms.saturating_sub(self.interval_ms);
        let (start, end) = (to_f64(start_ms), to_f64(end_ms));
        let length = end - start;
        let wall = self.start_wall_ms.rem_euclid(86_400_000);
        let wall = to_f64(u64::try_from(wall).unwrap_or(0));
        let day = (wall + start + 0.5 * length) / DAY_MS;
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
            day: libm::sincos(std::f64::consts::TAU * (day - libm::floor(day))),
            zones: zones.collect(),
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
