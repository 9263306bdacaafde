//! Dispersion: how much more host counts vary than independent events would.

use crate::row::to_f64;
use crate::{HostCounts, HostSample, LASTING_LEVEL};

/// Bounds of the estimate.
const RANGE: (f64, f64) = (1.0, 50.0);

/// φ of one metric, from control hosts of past intervals only, so that it is known before the row it tempers.
///
/// Per sample and level, Σ_h (x_h − μ_h)² over hosts with exposure n_h, μ_h = n_h Σx/Σn, has expectation
/// Σ μ_h (1 − n_h/Σn) for independent events; φ is the sum of the former over the sum of the latter. Of one sample of hosts
/// with equal exposure that is χ²/(H − 1). A batch of mean size B in place of each event gives 2B − 1. Rows compare hosts of
/// one level, so what hosts of different levels differ by is no dispersion.
///
/// Both sums go over all samples before one is divided by the other, so each sample weighs as much as it has events, which
/// is what it adds to the evidence. A mean of χ² would divide each sample by itself: of one burst of size s it says s, on
/// average too little by half; and one event on a host with little exposure says Σn/n_h, however independent it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dispersion {
    pub(crate) host_intervals: u64,
    /// Σ (x_h − μ_h)².
    pub(crate) variation: f64,
    /// Σ μ_h (1 − n_h/Σn).
    pub(crate) expected: f64,
    /// Bad events behind it.
    pub(crate) events: f64,
}

impl Dispersion {
    /// Learns from control hosts of one sample, those of a level beside each other. Hosts of a level without any bad event,
    /// or alone at theirs, tell nothing.
    fn learn(&mut self, hosts: &[&HostCounts], alike: impl Fn(&HostCounts, &HostCounts) -> bool) {
        for peers in hosts.chunk_by(|a, b| alike(a, b)) {
            let bad: f64 = peers.iter().map(|host| to_f64(host.distinct)).sum();
            let total: f64 = peers.iter().map(|host| to_f64(host.total)).sum();
            if peers.len() < 2 || bad <= 0.0 {
                continue;
            }
            for host in peers {
                let share = to_f64(host.total) / total;
                let expected = bad * share;
                let excess = to_f64(host.distinct) - expected;
                self.variation += excess * excess;
                self.expected += expected * (1.0 - share);
            }
            let count = u64::try_from(peers.len()).unwrap_or(u64::MAX);
            self.host_intervals = self.host_intervals.saturating_add(count);
            self.events += bad;
        }
    }

    /// Σ (x − μ)² over what independent events would give.
    pub(crate) fn ratio(&self) -> f64 {
        self.variation / self.expected
    }

    /// The estimate, clipped to 1..=50; `default` until `after` host-intervals were seen.
    pub(crate) fn estimate(&self, default: f64, after: u64) -> f64 {
        if !self.is_known(after) {
            return default;
        }
        self.ratio().clamp(RANGE.0, RANGE.1)
    }

    /// What rows are divided by: the estimate with a standard error on top, φ(1 + √(φ/x)) after x bad events, since an
    /// estimate that is too low is paid with false stops and one that is too high with patience. In bursts of mean 3,
    /// without history, 2.8 % of healthy changes were stopped at α = 1 % with the bare estimate, most of them early.
    pub(crate) fn temper(&self, default: f64, after: u64) -> f64 {
        let phi = self.estimate(default, after);
        if self.is_known(after) {
            (phi * (1.0 + libm::sqrt(phi / self.events))).min(RANGE.1)
        } else {
            phi
        }
    }

    fn is_known(&self, after: u64) -> bool {
        self.expected > 0.0 && self.host_intervals >= after
    }
}

/// φ of one metric, by what a row compares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dispersions {
    /// Of rows of one level: evidence of harm.
    pub(crate) by_level: Dispersion,
    /// Of hosts of all levels that are climbed together: whatever adds levels up, as evidence of safety does, has what hosts
    /// differ by in it.
    pub(crate) whole: Dispersion,
}

/// Whether evidence of safety adds two levels up: those that a host may pass through while the change lasts.
pub(crate) const fn together(a: u8, b: u8) -> bool {
    a == b || (a < LASTING_LEVEL && b < LASTING_LEVEL)
}

impl Dispersions {
    /// Learns from a sample of control hosts, whatever their order.
    pub(crate) fn learn(&mut self, sample: &HostSample) {
        let mut hosts: Vec<&HostCounts> = sample.hosts.iter().filter(|host| host.total > 0).collect();
        hosts.sort_unstable_by_key(|host| (host.level, host.host));
        self.by_level.learn(&hosts, |a, b| a.level == b.level);
        self.whole.learn(&hosts, |a, b| together(a.level, b.level));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;

    impl Dispersion {
        fn learn_one(&mut self, sample: &HostSample) {
            let hosts: Vec<&HostCounts> = sample.hosts.iter().collect();
            self.learn(&hosts, |_, _| true);
        }
    }

    #[test]
    fn what_hosts_of_different_levels_differ_by_is_in_whole_rows_alone() {
        let mut both = Dispersions::default();
        let mut one = sample(&[(1, 100), (1, 100), (9, 100), (9, 100)]);
        for host in &mut one.hosts[2..] {
            host.level = 4;
        }
        both.learn(&one);
        assert!(both.by_level.ratio() < 1e-12);
        // Deviations of 4 each from 5, of 20 events: 64/15.
        assert!((both.whole.ratio() - 64.0 / 15.0).abs() < 1e-12);
        // Hosts that were as bad before the change differ from the others for both.
        let mut lasting = Dispersions::default();
        for host in &mut one.hosts[2..] {
            host.level = LASTING_LEVEL;
        }
        lasting.learn(&one);
        assert!(lasting.by_level.ratio() < 1e-12 && lasting.whole.ratio() < 1e-12);
        assert_eq!(lasting.whole.host_intervals, 4);
    }

    fn sample(hosts: &[(u64, u64)]) -> HostSample {
        let hosts = (0..)
            .zip(hosts)
            .map(|(host, &(distinct, total))| HostCounts {
                host,
                level: 0,
                bad: distinct,
                total,
                distinct,
            })
            .collect();
        HostSample {
            stratum: 0,
            metric: 0,
            arm: Arm::Control,
            fresh: false,
            hosts,
        }
    }

    #[test]
    fn unequal_exposure_is_not_dispersion() {
        let mut dispersion = Dispersion::default();
        dispersion.learn_one(&sample(&[(1, 100), (10, 1_000), (100, 10_000)]));
        assert!(
            dispersion.expected > 1.0 && dispersion.ratio() < 1e-12,
            "counts in proportion to exposure fit perfectly"
        );
    }

    #[test]
    fn an_event_where_exposure_is_small_is_not_a_burst() {
        // A client's failures in an interval are one event, so hosts with few requests have more events than their share:
        // five of a hundred where half a one would be. Divided sample by sample, χ²/(H − 1) is 5.5.
        let mut dispersion = Dispersion::default();
        for number in 0..100 {
            let (small, one) = (u64::from(number < 5), u64::from(number % 2 == 0));
            dispersion.learn_one(&sample(&[
                (small, 1),
                ((1 - small) * one, 100),
                ((1 - small) * (1 - one), 100),
            ]));
        }
        assert!((dispersion.ratio() - 1.087).abs() < 1e-3, "{}", dispersion.ratio());
    }

    #[test]
    fn rare_bursts_are_not_divided_by_themselves() {
        // One burst of 1 or of 3 in each sample of four: E[s²]/E[s] = 10/4, and not E[s] = 2.
        let mut dispersion = Dispersion::default();
        for size in [1, 3, 1, 3, 1, 3] {
            dispersion.learn_one(&sample(&[(size, 100), (0, 100), (0, 100), (0, 100)]));
        }
        assert!((dispersion.estimate(9.0, 20) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn rows_are_divided_by_the_upper_end_and_by_a_given_factor_as_it_is() {
        let mut dispersion = Dispersion::default();
        dispersion.learn_one(&sample(&[(2, 100), (6, 100), (0, 100), (0, 100)]));
        // Deviations 0, 4, 2, 2 from eight events of four hosts alike: 24/6.
        assert!((dispersion.estimate(2.0, 1) - 4.0).abs() < 1e-12);
        assert!((dispersion.temper(2.0, 1) - 4.0 * (1.0 + libm::sqrt(0.5))).abs() < 1e-12);
        assert!((dispersion.temper(7.0, u64::MAX) - 7.0).abs() < 1e-12);
        for _ in 0..10_000 {
            dispersion.learn_one(&sample(&[(2, 100), (6, 100), (0, 100), (0, 100)]));
        }
        assert!((dispersion.temper(2.0, 1) - 4.0).abs() < 0.06);
    }

    #[test]
    fn little_data_keeps_the_default_and_extremes_are_clipped() {
        let mut dispersion = Dispersion::default();
        dispersion.learn_one(&sample(&[(0, 10); 40]));
        assert!(
            (dispersion.estimate(2.0, 20) - 2.0).abs() < 1e-12,
            "no bad events tell nothing"
        );
        dispersion.learn_one(&sample(&[(5, 10); 19]));
        assert!(
            (dispersion.estimate(2.0, 20) - 2.0).abs() < 1e-12,
            "19 host-intervals are too few"
        );
        dispersion.learn_one(&sample(&[(5, 10); 2]));
        assert!((dispersion.estimate(2.0, 20) - 1.0).abs() < 1e-12, "never below 1");
        let mut burst = vec![(0, 1_000); 63];
        burst.push((1_000, 1_000));
        dispersion.learn_one(&sample(&burst));
        assert!((dispersion.estimate(2.0, 20) - 50.0).abs() < 1e-12, "never above 50");
    }
}
