//! What the metrics say about the week before the change.

use std::collections::BTreeMap;

use unattended_health::{Arm, Counts, History, HostSample};

use crate::draw::{Draw, Purpose, floor_to_u64, to_f64};
use crate::exposure::Episodes;
use crate::fleet::Fleet;
use crate::metrics::{ERRORS, RESTARTS, SELF_TEST, SLOW};
use crate::population::{at, count};

const DAYS: f64 = 7.0;
pub(crate) const SECONDS: f64 = DAYS * 86_400.0;
/// Strata that come with samples of their hosts; a few serve the whole metric.
const SAMPLED_STRATA: usize = 64;
/// Samples per such stratum.
const SAMPLES: u64 = 2;

impl Fleet {
    /// Counts of all members of each stratum over the seven days before virtual time 0, incidents included, and bad machines as far as
    /// they are not told from others; no daily wave, which is even over whole days. Self tests know none of them.
    pub(crate) fn history(&self) -> Vec<History> {
        let used: Vec<u32> = (0..count(self.strata.list.len()))
            .filter(|n| self.strata.list[at(*n)].members.hosts > 0)
            .collect();
        let from = -DAYS * 86_400_000.0;
        let zones: Vec<f64> = self.incident_ms(from, 0.0).iter().map(|ms| ms / -from).collect();
        // What the bad machines of a stratum serve, in requests per second: those that are known to be bad, and the others.
        let mut bad: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
        for (&number, &level) in &self.healing.bad {
            bad.entry(self.slot(number).stratum).or_default()[usize::from(level == 0)] += self.slot(number).rate();
        }
        let stride = used.len().div_ceil(SAMPLED_STRATA).max(1);
        let mut all = Vec::with_capacity(used.len() * 4);
        for (i, &number) in used.iter().enumerate() {
            let stratum = &self.strata.list[at(number)];
            let share = zones[at(stratum.zone)];
            let app = &self.population.apps[at(stratum.app)];
            let requests = stratum.members.rate() * SECONDS;
            let key = |metric: u8| [u64::from(number), u64::from(metric)];
            let total = Draw::new(self.seed, Purpose::Requests, &[u64::from(number), u64::MAX]).round(requests);
            let samples = |metric: u8| -> Vec<HostSample> {
                if i % stride != 0 {
                    return Vec::new();
                }
                (0..SAMPLES)
                    .map(|index| self.past_hosts(number, stratum, metric, index))
                    .filter(|hosts| !hosts.is_empty())
                    .map(|hosts| HostSample {
                        stratum: number,
                        metric,
                        arm: Arm::Control,
                        fresh: false,
                        hosts,
                    })
                    .collect()
            };
            for metric in [ERRORS, SLOW] {
                let (p, incident) = match metric {
                    ERRORS => (app.error_rate, self.world.incident_error_factor),
                    _ => (self.world.slow_share, self.world.incident_slow_factor),
                };
                let p = (p * (1.0 + (incident - 1.0) * share)).min(1.0);
                // Heavy clients count once per interval, not once per week.
                let seconds = to_f64(self.interval_ms) / 1_000.0;
                let of = Episodes::new(&self.world, seconds);
                let (mut mean, mut total) = (requests * of.per_request(p), total);
                if let Some([known, others]) = bad.get(&number).filter(|_| metric == ERRORS) {
                    let worse = of.per_request(p * self.world.bad_node_error_factor) - of.per_request(p);
                    mean =
                        (requests - known * SECONDS).max(0.0) * of.per_request(p) + others * SECONDS * worse.max(0.0);
                    total = total.saturating_sub(floor_to_u64(known * SECONDS));
                }
                let bad = Draw::new(self.seed, Purpose::History, &key(metric))
                    .poisson(mean)
                    .min(total);
                all.push(History {
                    stratum: number,
                    metric,
                    counts: Counts::new(bad, total),
                    samples: samples(metric),
                    signatures: Vec::new(),
                });
            }
            // Exposure of restarts is hosts times intervals.
            let intervals = floor_to_u64(SECONDS * 1_000.0 / to_f64(self.interval_ms)).max(1);
            let total = u64::from(stratum.members.hosts) * intervals;
            let mean = f64::from(stratum.members.hosts) * self.world.restarts_per_target_day * DAYS;
            let bad = Draw::new(self.seed, Purpose::History, &key(RESTARTS))
                .poisson(mean)
                .min(total);
            all.push(History {
                stratum: number,
                metric: RESTARTS,
                counts: Counts::new(bad, total),
                samples: Vec::new(),
                signatures: Vec::new(),
            });
            let sent = f64::from(stratum.members.hosts) * SECONDS * self.world.self_tests_per_second;
            let total = floor_to_u64(sent);
            let bad = Draw::new(self.seed, Purpose::History, &key(SELF_TEST))
                .poisson(sent * app.error_rate)
                .min(total);
            all.push(History {
                stratum: number,
                metric: SELF_TEST,
                counts: Counts::new(bad, total),
                samples: samples(SELF_TEST),
                signatures: Vec::new(),
            });
        }
        all
    }
}
