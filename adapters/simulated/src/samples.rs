//! Single hosts, from which a reader estimates how much more than chance counts scatter.

use unattended_health::{HostCounts, HostSample};

use crate::draw::{Draw, Purpose, to_f64};
use crate::fleet::Fleet;
use crate::metrics::{ERRORS, Factors, SLOW, Weather};
use crate::population::{Arm, at};
use crate::strata::Stratum;

/// Strata that are sampled per interval.
const SAMPLED_STRATA: usize = 32;
/// Hosts per sample.
const SAMPLED_HOSTS: usize = 64;

impl Fleet {
    /// Single control hosts of some strata, which take their turns, to estimate dispersion from.
    pub(crate) fn samples(&self, active: &[u32], weather: &Weather, daily: &[f64]) -> Vec<HostSample> {
        let mut samples = Vec::new();
        let taken = active.len().min(SAMPLED_STRATA);
        let turn = usize::try_from(weather.index % active.len().max(1) as u64).unwrap_or(0);
        for i in 0..taken {
            let number = active[(turn * SAMPLED_STRATA + i) % active.len()];
            let stratum = &self.strata.list[at(number)];
            let load = daily[at(stratum.app)];
            for metric in [ERRORS, SLOW] {
                let factors = self.incident_factors(stratum, weather);
                let hosts = self.sample_hosts(number, stratum, metric, weather.seconds * load, factors, weather.index);
                if !hosts.is_empty() {
                    samples.push(HostSample {
                        stratum: number,
                        metric,
                        arm: unattended_health::Arm::Control,
                        hosts,
                    });
                }
            }
        }
        samples
    }

    /// Draws single control hosts over so many seconds of mean load; bursts stay with the host they hit.
    fn sample_hosts(
        &self,
        number: u32,
        stratum: &Stratum,
        metric: u8,
        seconds: f64,
        factors: Factors,
        index: u64,
    ) -> Vec<HostCounts> {
        let mut members: Vec<u32> = stratum
            .controls
            .iter()
            .copied()
            .filter(|n| {
                let slot = self.slot(*n);
                slot.stratum == number && slot.arm == Arm::Control
            })
            .collect();
        members.sort_unstable();
        members.dedup();
        let p = match metric {
            ERRORS => self.population.apps[at(stratum.app)].error_rate * factors.errors,
            _ => self.world.slow_share * factors.slow,
        };
        let first = usize::try_from(index % members.len().max(1) as u64).unwrap_or(0);
        (0..members.len().min(SAMPLED_HOSTS))
            .map(|i| {
                let host = members[(first + i) % members.len()];
                let mut draw = Draw::new(
                    self.seed,
                    Purpose::Samples,
                    &[u64::from(host), index, u64::from(metric)],
                );
                let requests = self.slot(host).rate() * seconds;
                let total = draw.round(requests);
                let mean = self.episodes(requests * p.min(1.0), requests, seconds);
                let distinct = draw.poisson(mean).min(total);
                let bad = if distinct <= 256 {
                    (0..distinct).map(|_| draw.geometric(self.world.burst_mean)).sum()
                } else {
                    draw.round(to_f64(distinct) * self.world.burst_mean)
                };
                HostCounts {
                    bad: bad.min(total),
                    total,
                    distinct,
                }
            })
            .collect()
    }

    /// Host counts of a calm hour before the change, for the history.
    pub(crate) fn past_hosts(&self, number: u32, stratum: &Stratum, metric: u8, index: u64) -> Vec<HostCounts> {
        let calm = Factors { errors: 1.0, slow: 1.0 };
        self.sample_hosts(number, stratum, metric, 3_600.0, calm, u64::MAX - index)
    }
}
