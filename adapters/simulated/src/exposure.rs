//! Traffic of a stratum in an interval, and how many of its requests go wrong on average.

use crate::World;
use crate::draw::{Draw, Purpose, floor_to_u64, to_f64};
use crate::effects::diluted;
use crate::fleet::{Fleet, ms};
use crate::population::Fate;
use crate::strata::Stratum;
use crate::weather::{Factors, Weather};

/// Traffic of one side of one stratum, before anything is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exposure {
    /// Requests.
    pub(crate) requests: f64,
    /// What everything does together to their errors and slowness, in the mean over the requests.
    pub(crate) factors: Factors,
    /// Synthetic requests.
    pub(crate) self_tests: f64,
    /// The factor on errors in the mean over these.
    pub(crate) self_test_errors: f64,
    pub(crate) hosts: u32,
    pub(crate) crashes: u64,
}

/// How errors come together into episodes: bursts are one each, and a heavy client is one per interval. Heavy clients are a share of
/// those who call, so both arms are thinned alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episodes {
    /// Per error, from others than heavy clients.
    light: f64,
    /// Per error, from heavy clients.
    heavy: f64,
    /// Episodes of one heavy client in the interval, if every request were an error.
    per_client: f64,
}

impl Episodes {
    pub(crate) fn new(world: &World, seconds: f64) -> Self {
        let heavy = world.heavy_episode_share / world.burst_mean;
        let clients = world.clients_per_request_per_s * world.heavy_client_share;
        Self {
            light: (1.0 - world.heavy_episode_share) / world.burst_mean,
            heavy,
            per_client: heavy * seconds / clients.max(1e-12),
        }
    }

    /// The mean number of episodes per request, where this share of the requests are errors.
    #[inline]
    pub(crate) fn per_request(&self, errors: f64) -> f64 {
        let errors = errors.min(1.0);
        let x = errors * self.per_client;
        // The share of heavy clients' episodes that counts is (1 - e^-x) / x, of which six terms do for the usual small x:
        // the next is below 1e-7.
        let counted = if x < 0.25 {
            let even = 1.0 + x * x * (1.0 / 6.0 + x * x * (1.0 / 120.0));
            let odd = x * (1.0 / 2.0 + x * x * (1.0 / 24.0 + x * x * (1.0 / 720.0)));
            even - odd
        } else {
            -libm::expm1(-x) / x
        };
        errors * (self.light + self.heavy * counted)
    }
}

impl Fleet {
    /// What the release does to the requests of those at fault, under this load and at this adoption, as far as it is counted
    /// there.
    pub(crate) fn fault_factors(&self, load: f64, adoption: f64) -> Factors {
        let Factors { mut errors, slow } = self.effects.under(load);
        errors *= diluted(self.effects.new_pairs, adoption);
        if self.both_ends {
            errors *= diluted(self.effects.old_peers, 1.0 - adoption);
        }
        Factors { errors, slow }
    }

    pub(crate) fn control_exposure(
        &self,
        stratum: &Stratum,
        weather: &Weather,
        load: f64,
        calm: Factors,
        downs: u64,
    ) -> Exposure {
        let requests = stratum.control.rate() * weather.seconds * load;
        let self_tests = self.self_tests(stratum.control.hosts, weather);
        let mut factors = calm;
        if !self.both_ends {
            // Whoever runs the old version counts what its calls to the new one suffer.
            factors.errors *= diluted(self.effects.old_peers, weather.adoption);
        }
        Exposure {
            requests,
            factors,
            self_tests,
            self_test_errors: 1.0,
            hosts: stratum.control.hosts,
            crashes: downs,
        }
    }

    pub(crate) fn warm_exposure(
        &self,
        stratum: &Stratum,
        weather: &Weather,
        load: f64,
        calm: Factors,
        downs: u64,
    ) -> Exposure {
        let heard = 1.0 - self.effects.mute;
        let clean = stratum.clean.rate() * weather.seconds * load;
        let faulty = stratum.faulty.rate() * weather.seconds * load * heard;
        let fault = self.fault_factors(load, weather.adoption);
        // A self test has no peer.
        let alone = self.effects.under(load).errors;
        let tests = self.self_tests(stratum.clean.hosts, weather);
        let faulty_tests = self.self_tests(stratum.faulty.hosts, weather) * heard;
        Exposure {
            requests: clean + faulty,
            factors: Factors {
                errors: mean_factor(clean, faulty, fault.errors) * calm.errors,
                slow: mean_factor(clean, faulty, fault.slow) * calm.slow,
            },
            self_tests: tests + faulty_tests,
            self_test_errors: mean_factor(tests, faulty_tests, alone),
            hosts: stratum.clean.hosts + stratum.faulty.hosts,
            crashes: downs,
        }
    }

    /// Synthetic requests of so many instances.
    fn self_tests(&self, hosts: u32, weather: &Weather) -> f64 {
        f64::from(hosts) * weather.seconds * self.world.self_tests_per_second
    }

    /// Fresh members are few, and each has its own transient: they are added up one by one, in whole numbers.
    pub(crate) fn fresh_exposure(
        &self,
        stratum: &Stratum,
        weather: &Weather,
        load: f64,
        calm: Factors,
        downs: u64,
    ) -> Exposure {
        // Millionths of requests per second times milliseconds (times hundredths), [clean, at fault].
        let (mut plain, mut weighted) = ([0_u128; 2], [0_u128; 2]);
        // Milliseconds of running instances (times hundredths), the same way.
        let (mut running, mut running_weighted) = ([0_u64; 2], [0_u64; 2]);
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
            // What has been up for longer than any transient needs no draw.
            let (until, hundredths) = if slot.ready_at.saturating_add(self.meter.transient_ms) <= weather.start_ms {
                (0, 100)
            } else {
                self.transient(number, slot.instance, slot.ready_at)
            };
            let weigh = |from: u64| {
                let from = from.max(weather.start_ms);
                let length = weather.end_ms.saturating_sub(from);
                let rough = until.min(weather.end_ms).saturating_sub(from);
                (length, (length - rough) * 100 + rough * hundredths)
            };
            let onset = slot.ready_at.saturating_add(self.effects.after_ms);
            let at_fault = self.effects.shows() && weather.end_ms >= onset;
            let side = usize::from(at_fault && self.population.kind_of(slot).at_fault);
            let rate = u128::from(slot.rate_micro);
            let (length, weight) = weigh(slot.ready_at.max(slot.ingress_at));
            plain[side] += rate * u128::from(length);
            weighted[side] += rate * u128::from(weight);
            // A self test needs no way in.
            let (length, weight) = weigh(slot.ready_at);
            running[side] += length;
            running_weighted[side] += weight;
        }
        let fault = self.fault_factors(load, weather.adoption);
        let alone = self.effects.under(load).errors;
        let heard = |[clean, faulty]: [f64; 2]| [clean, faulty * (1.0 - self.effects.mute)];
        let requests = heard(plain.map(|x| wide(x) * 1e-9 * load));
        let rough = heard(weighted.map(|x| wide(x) * 1e-11 * load));
        let tests = heard(running.map(|x| to_f64(x) * 1e-3 * self.world.self_tests_per_second));
        let rough_tests = heard(running_weighted.map(|x| to_f64(x) * 1e-5 * self.world.self_tests_per_second));
        let all = requests[0] + requests[1];
        let all_tests = tests[0] + tests[1];
        // Without requests nothing is drawn from the factor.
        let mean = |weighted: [f64; 2], factor: f64, all: f64| (weighted[0] + weighted[1] * factor) / all.max(1e-12);
        Exposure {
            requests: all,
            factors: Factors {
                errors: mean(rough, fault.errors, all) * calm.errors,
                slow: mean(rough, fault.slow, all) * calm.slow,
            },
            self_tests: all_tests,
            self_test_errors: mean(rough_tests, alone, all_tests),
            hosts,
            crashes,
        }
    }

    /// The transient after a start: until when, and its factor in hundredths. The same for a good release, a bad one and a
    /// restart nobody asked for.
    fn transient(&self, number: u32, instance: u32, ready_at: u64) -> (u64, u64) {
        let keys = [u64::from(number), u64::from(instance), 1];
        let mut draw = Draw::new(self.seed, Purpose::Instance, &keys);
        let lasts = ms(draw.between(self.world.transient_s_low, self.world.transient_s_high));
        let (low, high) = self.meter.ln_transient;
        let factor = libm::exp(draw.between(low, high));
        (ready_at.saturating_add(lasts), floor_to_u64(factor * 100.0))
    }
}

/// The mean of a factor over these requests: 1 on the `rest`, `factor` on `some`.
fn mean_factor(rest: f64, some: f64, factor: f64) -> f64 {
    // Mostly nobody or everybody is at fault, and a division takes long.
    if some <= 0.0 {
        1.0
    } else if rest <= 0.0 {
        factor
    } else {
        (rest + some * factor) / (rest + some)
    }
}

fn wide(x: u128) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a mean of random counts needs no more than 53 bits"
    )]
    let y = x as f64;
    y
}
