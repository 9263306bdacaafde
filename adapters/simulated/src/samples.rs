//! Single hosts, from which a reader estimates how much more than chance counts scatter.

use unattended_health::{HostCounts, HostSample};

use crate::draw::{Draw, Purpose, to_f64};
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::metrics::{ERRORS, SELF_TEST, SLOW};
use crate::population::{Arm, at};
use crate::strata::Stratum;
use crate::weather::{Factors, Weather};

/// Strata that are sampled per interval.
const SAMPLED_STRATA: usize = 32;
/// Hosts per sample.
const SAMPLED_HOSTS: usize = 64;

impl Fleet {
    /// Single control hosts of some strata, which take their turns, to estimate dispersion from. Self tests do not
    /// scatter more than chance at any time; what the history has of them is enough.
    pub(crate) fn samples(&self, active: &[u32], weather: &Weather) -> Vec<HostSample> {
        let mut samples = Vec::new();
        let taken = active.len().min(SAMPLED_STRATA);
        let turn = usize::try_from(weather.index % active.len().max(1) as u64).unwrap_or(0);
        for i in 0..taken {
            let number = active[(turn * SAMPLED_STRATA + i) % active.len()];
            let stratum = &self.strata.list[at(number)];
            if weather.cut_off == Some(stratum.domain) {
                continue;
            }
            let load = self.load(stratum.app, weather);
            let factors = self.calm(stratum, weather);
            let members = self.controls(number, stratum);
            for metric in [ERRORS, SLOW] {
                let hosts = self.sample_hosts(
                    &members,
                    stratum,
                    metric,
                    weather.seconds * load,
                    factors,
                    weather.index,
                );
                if !hosts.is_empty() {
                    samples.push(HostSample {
                        stratum: number,
                        metric,
                        arm: unattended_health::Arm::Control,
                        fresh: false,
                        hosts,
                    });
                }
            }
        }
        samples
    }

    /// The control members of a stratum on the old version, warm, in order.
    fn controls(&self, number: u32, stratum: &Stratum) -> Vec<u32> {
        let is_control = |n: &u32| {
            let slot = self.slot(*n);
            slot.stratum == number && slot.arm == Arm::Control
        };
        let mut members: Vec<u32> = stratum.controls.iter().copied().filter(is_control).collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Draws single control hosts over so many seconds of mean load; bursts stay with the host they hit.
    fn sample_hosts(
        &self,
        members: &[u32],
        stratum: &Stratum,
        metric: u8,
        seconds: f64,
        factors: Factors,
        index: u64,
    ) -> Vec<HostCounts> {
        let p = match metric {
            ERRORS => self.population.apps[at(stratum.app)].error_rate * factors.errors,
            SELF_TEST => self.population.apps[at(stratum.app)].error_rate,
            _ => self.world.slow_share * factors.slow,
        };
        let episodes = Episodes::new(&self.world, seconds);
        let first = usize::try_from(index % members.len().max(1) as u64).unwrap_or(0);
        (0..members.len().min(SAMPLED_HOSTS))
            .map(|i| {
                let host = members[(first + i) % members.len()];
                let mut draw = Draw::new(
                    self.seed,
                    Purpose::Samples,
                    &[u64::from(host), index, u64::from(metric)],
                );
                if metric == SELF_TEST {
                    let total = draw.round(seconds * self.world.self_tests_per_second);
                    let bad = draw.poisson(seconds * self.world.self_tests_per_second * p).min(total);
                    return HostCounts {
                        host,
                        level: 0,
                        bad,
                        total,
                        distinct: bad,
                    };
                }
                let requests = self.slot(host).rate() * seconds;
                let total = draw.round(requests);
                let machine = self.healing.bad.get(&host).filter(|_| metric == ERRORS);
                let factor = machine.map_or(1.0, |_| self.world.bad_node_error_factor);
                let mean = requests * episodes.per_request(p * factor);
                let distinct = draw.poisson(mean).min(total);
                let bad = if distinct <= 256 {
                    (0..distinct).map(|_| draw.geometric(self.world.burst_mean)).sum()
                } else {
                    draw.round(to_f64(distinct) * self.world.burst_mean)
                };
                HostCounts {
                    host,
                    level: machine.copied().unwrap_or(0),
                    bad: bad.min(total),
                    total,
                    distinct,
                }
            })
            .collect()
    }

    /// Host counts of a calm hour before the change, for the history.
    pub(crate) fn past_hosts(&self, number: u32, stratum: &Stratum, metric: u8, index: u64) -> Vec<HostCounts> {
        let calm = Factors::NONE;
        self.sample_hosts(
            &self.controls(number, stratum),
            stratum,
            metric,
            3_600.0,
            calm,
            u64::MAX - index,
        )
    }
}
