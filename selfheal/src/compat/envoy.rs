//! Envoy's outlier detection.

use super::{Draws, Ejection, EjectionCause, EnvoyConfig, Intervals, RateEvidence, mean_and_deviation};
use crate::delta::NodeIndex;
use crate::detector::u64_to_f64;
use crate::error::{CompatError, NodeError};
use crate::outcome::Outcome;

/// What a connection pool or a router tells Envoy's detector about a host. Codes are HTTP status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Envoy's own list")]
pub enum EnvoyResult {
    /// An answer.
    Http(u16),
    /// No connection.
    ConnectFailure(Option<u16>),
    /// A connection, whose request is still to come.
    ConnectSuccess(Option<u16>),
    /// Envoy's own time-out.
    LocalTimeout(Option<u16>),
    /// A request of another protocol than HTTP failed.
    RequestFailure(Option<u16>),
    /// A request of another protocol than HTTP succeeded.
    RequestSuccess(Option<u16>),
}

/// Envoy's detector for one cluster: fed with results and sweeps, it answers with ejections.
///
/// Two things are not Envoy's: hosts are looked at in the order in which they were added, where Envoy's hash map has
/// none; and a host that both rates speak against in one sweep is ejected once, where Envoy counts it twice.
#[derive(Debug)]
pub struct Envoy {
    config: EnvoyConfig,
    hosts: Vec<Option<Host>>,
    /// Sweeps so far: the number of the interval that is running.
    interval: u64,
    next_sweep_ms: u64,
    draws: Draws,
    overflows: u64,
    /// The last sweep's mean and threshold for both origins, in per cent.
    thresholds: [Option<(f64, f64)>; 2],
}

#[derive(Debug)]
struct Host {
    ejected_ms: Option<u64>,
    returned_ms: Option<u64>,
    /// Envoy's back-off counter.
    multiplier: u64,
    jitter_ms: u64,
    run_5xx: u32,
    run_gateway: u32,
    run_local: u32,
    /// By origin: external, local.
    intervals: [Intervals; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    External = 0,
    Local = 1,
}

impl Envoy {
    /// A cluster without hosts, its first sweep due one interval after `now_ms`. `seed` is for enforcement percentages
    /// and jitter.
    ///
    /// # Errors
    ///
    /// [`CompatError`] for what Envoy refuses.
    pub fn new(now_ms: u64, config: EnvoyConfig, seed: u64) -> Result<Self, CompatError> {
        config.check()?;
        Ok(Self {
            hosts: Vec::new(),
            interval: 0,
            next_sweep_ms: now_ms.saturating_add(config.interval_ms),
            draws: Draws::new(seed),
            overflows: 0,
            thresholds: [None; 2],
            config,
        })
    }

    /// Puts other values in force, as Envoy's runtime does: hosts keep their state.
    ///
    /// # Errors
    ///
    /// [`CompatError`], and the old configuration stays.
    pub fn configure(&mut self, config: EnvoyConfig) -> Result<(), CompatError> {
        config.check()?;
        self.config = config;
        Ok(())
    }

    /// Takes in a host.
    pub fn add(&mut self) -> NodeIndex {
        self.hosts.push(Some(Host {
            ejected_ms: None,
            returned_ms: None,
            multiplier: 0,
            jitter_ms: 0,
            run_5xx: 0,
            run_gateway: 0,
            run_local: 0,
            intervals: [Intervals::new(), Intervals::new()],
        }));
        NodeIndex(u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX))
    }

    /// The host has left the cluster, ejected or not.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn remove(&mut self, node: NodeIndex) -> Result<(), NodeError> {
        let host = self.hosts.get_mut(node.0 as usize).and_then(Option::take);
        host.map(drop).ok_or(NodeError::Unknown(node.0))
    }

    /// One result of a call to a host, and what follows from it. Of a host that has left: nothing.
    pub fn record(&mut self, now_ms: u64, node: NodeIndex, result: EnvoyResult) -> Vec<Ejection> {
        use EnvoyResult::{ConnectFailure, ConnectSuccess, Http, LocalTimeout, RequestFailure, RequestSuccess};
        let mut ejections = Vec::new();
        if self.config.split_external_local_origin_errors {
            match result {
                Http(code) => self.external(now_ms, node, code, &mut ejections),
                ConnectSuccess(_) => self.local(now_ms, node, Outcome::Success, &mut ejections),
                ConnectFailure(_) | LocalTimeout(_) => self.local(now_ms, node, Outcome::Failure, &mut ejections),
                RequestFailure(_) => self.external(now_ms, node, 503, &mut ejections),
                RequestSuccess(_) => {
                    self.external(now_ms, node, 200, &mut ejections);
                    self.local(now_ms, node, Outcome::Success, &mut ejections);
                }
            }
            return ejections;
        }
        let code = match result {
            Http(code) => Some(code),
            // The request on that connection is still to come, and will speak for itself.
            ConnectSuccess(code) => code,
            ConnectFailure(code) => code.or(Some(503)),
            LocalTimeout(code) => code.or(Some(504)),
            RequestFailure(code) => code.or(Some(500)),
            RequestSuccess(code) => code.or(Some(200)),
        };
        if let Some(code) = code {
            self.external(now_ms, node, code, &mut ejections);
        }
        ejections
    }

    /// The periodic sweep.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Ejection> {
        let mut ejections = Vec::new();
        let over = self.interval;
        self.interval += 1;
        self.next_sweep_ms = now_ms.saturating_add(self.config.interval_ms);
        for place in 0..self.hosts.len() {
            let expired = self.hosts[place].as_ref().is_some_and(|host| {
                let length_ms = self
                    .config
                    .base_ejection_ms
                    .saturating_mul(host.multiplier)
                    .min(self.config.longest_ms())
                    .saturating_add(host.jitter_ms);
                host.ejected_ms
                    .is_some_and(|since_ms| length_ms <= now_ms.saturating_sub(since_ms))
            });
            if expired {
                self.uneject(now_ms, place, EjectionCause::Expired, &mut ejections);
            }
        }
        self.compare(now_ms, Origin::External, over, &mut ejections);
        self.compare(now_ms, Origin::Local, over, &mut ejections);
        for host in self.hosts.iter_mut().flatten() {
            let long_back = host
                .returned_ms
                .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= self.config.interval_ms);
            if host.ejected_ms.is_none() && long_back {
                host.multiplier = host.multiplier.saturating_sub(1);
            }
        }
        ejections
    }

    /// An active health check of the host passed.
    pub fn active_check_passed(&mut self, now_ms: u64, node: NodeIndex) -> Vec<Ejection> {
        let mut ejections = Vec::new();
        let place = node.0 as usize;
        if self.config.successful_active_health_check_uneject_host && self.is_ejected(node) {
            self.uneject(now_ms, place, EjectionCause::ActiveCheckPassed, &mut ejections);
        }
        ejections
    }

    /// Is the host out?
    #[must_use]
    pub fn is_ejected(&self, node: NodeIndex) -> bool {
        let host = self.hosts.get(node.0 as usize).and_then(Option::as_ref);
        host.is_some_and(|host| host.ejected_ms.is_some())
    }

    /// The host's back-off counter.
    #[must_use]
    pub fn multiplier(&self, node: NodeIndex) -> u64 {
        let host = self.hosts.get(node.0 as usize).and_then(Option::as_ref);
        host.map_or(0, |host| host.multiplier)
    }

    /// How many members are ejected.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.hosts
            .iter()
            .flatten()
            .filter(|host| host.ejected_ms.is_some())
            .count() as u64
    }

    /// Detections that the cap left without effect.
    #[must_use]
    pub const fn overflows(&self) -> u64 {
        self.overflows
    }

    /// When the next sweep is due.
    #[must_use]
    pub const fn next_sweep_ms(&self) -> u64 {
        self.next_sweep_ms
    }

    /// Mean and threshold of the last comparison of external success rates, in per cent, if there was one.
    #[must_use]
    pub const fn success_rate_threshold(&self) -> Option<(f64, f64)> {
        self.thresholds[Origin::External as usize]
    }

    /// The same of local-origin events.
    #[must_use]
    pub const fn local_success_rate_threshold(&self) -> Option<(f64, f64)> {
        self.thresholds[Origin::Local as usize]
    }

    fn external(&mut self, now_ms: u64, node: NodeIndex, code: u16, ejections: &mut Vec<Ejection>) {
        let Some(Some(host)) = self.hosts.get_mut(node.0 as usize) else {
            return;
        };
        let failed = (500..600).contains(&code);
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        host.intervals[Origin::External as usize].record(self.interval, outcome);
        if !failed {
            host.run_5xx = 0;
            host.run_gateway = 0;
            return;
        }
        // Both runs count this failure; the gateway's speaks first. A run is noticed when it equals the limit: a limit of
        // zero, or one that was passed while the host was out, is never met.
        if (502..=504).contains(&code) {
            host.run_gateway = host.run_gateway.saturating_add(1);
            if host.run_gateway == self.config.consecutive_gateway_failure {
                self.in_a_row(now_ms, node, EjectionCause::ConsecutiveGatewayFailure, ejections);
            }
        } else {
            host.run_gateway = 0;
        }
        let Some(Some(host)) = self.hosts.get_mut(node.0 as usize) else {
            return;
        };
        host.run_5xx = host.run_5xx.saturating_add(1);
        if host.run_5xx == self.config.consecutive_5xx {
            self.in_a_row(now_ms, node, EjectionCause::Consecutive5xx, ejections);
        }
    }

    fn local(&mut self, now_ms: u64, node: NodeIndex, outcome: Outcome, ejections: &mut Vec<Ejection>) {
        let Some(Some(host)) = self.hosts.get_mut(node.0 as usize) else {
            return;
        };
        host.intervals[Origin::Local as usize].record(self.interval, outcome);
        match outcome {
            Outcome::Success => host.run_local = 0,
            Outcome::Failure => {
                host.run_local = host.run_local.saturating_add(1);
                if host.run_local == self.config.consecutive_local_origin_failure {
                    self.in_a_row(now_ms, node, EjectionCause::ConsecutiveLocalOriginFailure, ejections);
                }
            }
        }
    }

    /// A run has reached its limit. Told twice of one run, or of a host that is out or gone, it does nothing.
    fn in_a_row(&mut self, now_ms: u64, node: NodeIndex, cause: EjectionCause, ejections: &mut Vec<Ejection>) {
        let place = node.0 as usize;
        let here = self.hosts.get(place).and_then(Option::as_ref);
        if here.is_none_or(|host| host.ejected_ms.is_some()) {
            return;
        }
        self.eject(now_ms, place, cause, None, ejections);
        // So that another run can be noticed without a success in between, whether this one had an effect or not.
        let Some(Some(host)) = self.hosts.get_mut(place) else {
            return;
        };
        match cause {
            EjectionCause::ConsecutiveGatewayFailure => host.run_gateway = 0,
            EjectionCause::ConsecutiveLocalOriginFailure => host.run_local = 0,
            _ => host.run_5xx = 0,
        }
    }

    /// Success rate, then failure percentage, of the interval that is over.
    fn compare(&mut self, now_ms: u64, origin: Origin, interval: u64, ejections: &mut Vec<Ejection>) {
        self.thresholds[origin as usize] = None;
        let members = self.hosts.iter().flatten().count() as u64;
        let config = &self.config;
        let (minimum_sr, minimum_fp) = (
            u64::from(config.success_rate_minimum_hosts),
            u64::from(config.failure_percentage_minimum_hosts),
        );
        if members < minimum_sr && members < minimum_fp {
            return;
        }
        let (mut for_sr, mut for_fp) = (Vec::new(), Vec::new());
        for (place, host) in self.hosts.iter().enumerate() {
            let Some(host) = host.as_ref().filter(|host| host.ejected_ms.is_none()) else {
                continue;
            };
            let counts = host.intervals[origin as usize].of(interval);
            let total = counts.successes + counts.failures;
            if total == 0 {
                continue;
            }
            let rate = u64_to_f64(counts.successes) * 100.0 / u64_to_f64(total);
            if total >= u64::from(config.success_rate_request_volume) {
                for_sr.push((place, rate));
            }
            if total >= u64::from(config.failure_percentage_request_volume) {
                for_fp.push((place, rate));
            }
        }
        if !for_sr.is_empty() && for_sr.len() as u64 >= minimum_sr {
            let rates: Vec<f64> = for_sr.iter().map(|(_, rate)| *rate).collect();
            let (mean, deviation) = mean_and_deviation(&rates);
            let threshold = mean - f64::from(self.config.success_rate_stdev_factor) / 1_000.0 * deviation;
            self.thresholds[origin as usize] = Some((mean, threshold));
            let cause = match origin {
                Origin::External => EjectionCause::SuccessRate,
                Origin::Local => EjectionCause::SuccessRateLocalOrigin,
            };
            for &(place, host) in for_sr.iter().filter(|(_, rate)| *rate < threshold) {
                let evidence = RateEvidence { host, mean, threshold };
                self.eject(now_ms, place, cause, Some(evidence), ejections);
            }
        }
        if !for_fp.is_empty() && for_fp.len() as u64 >= minimum_fp {
            let threshold = f64::from(self.config.failure_percentage_threshold);
            let cause = match origin {
                Origin::External => EjectionCause::FailurePercentage,
                Origin::Local => EjectionCause::FailurePercentageLocalOrigin,
            };
            for (place, rate) in for_fp {
                let host = 100.0 - rate;
                // Out already, by its success rate in this very sweep: once is enough.
                let out = self.hosts[place].as_ref().is_none_or(|host| host.ejected_ms.is_some());
                if host >= threshold && !out {
                    let evidence = RateEvidence {
                        host,
                        mean: host,
                        threshold,
                    };
                    self.eject(now_ms, place, cause, Some(evidence), ejections);
                }
            }
        }
    }

    const fn enforcing(&self, cause: EjectionCause) -> u32 {
        match cause {
            EjectionCause::Consecutive5xx => self.config.enforcing_consecutive_5xx,
            EjectionCause::ConsecutiveGatewayFailure => self.config.enforcing_consecutive_gateway_failure,
            EjectionCause::ConsecutiveLocalOriginFailure => self.config.enforcing_consecutive_local_origin_failure,
            EjectionCause::SuccessRate => self.config.enforcing_success_rate,
            EjectionCause::SuccessRateLocalOrigin => self.config.enforcing_local_origin_success_rate,
            EjectionCause::FailurePercentage => self.config.enforcing_failure_percentage,
            EjectionCause::FailurePercentageLocalOrigin => self.config.enforcing_failure_percentage_local_origin,
            EjectionCause::Expired | EjectionCause::ActiveCheckPassed | EjectionCause::Configuration => 100,
        }
    }

    /// First the cap, then the draw.
    fn eject(
        &mut self,
        now_ms: u64,
        place: usize,
        cause: EjectionCause,
        rate: Option<RateEvidence>,
        ejections: &mut Vec<Ejection>,
    ) {
        let members = self.hosts.iter().flatten().count() as u64;
        let active = self.active();
        let share = 100.0 * u64_to_f64(active + 1) / u64_to_f64(members);
        let one = self.config.always_eject_one_host && active == 0;
        if share > f64::from(self.config.max_ejection_percent) && !one {
            self.overflows = self.overflows.saturating_add(1);
            return;
        }
        let enforced = self.draws.enforce(self.enforcing(cause));
        let jitter_ms = if enforced {
            self.draws.next() % self.config.max_ejection_jitter_ms.saturating_add(1)
        } else {
            0
        };
        let (base_ms, longest_ms) = (self.config.base_ejection_ms, self.config.longest_ms());
        let Some(host) = self.hosts[place].as_mut() else { return };
        if enforced {
            host.ejected_ms = Some(now_ms);
            host.jitter_ms = jitter_ms;
            if host.multiplier.saturating_mul(base_ms) < longest_ms.saturating_add(base_ms) {
                host.multiplier += 1;
            }
        }
        ejections.push(Ejection {
            at_ms: now_ms,
            node: NodeIndex(u32::try_from(place).unwrap_or(u32::MAX)),
            ejected: true,
            cause,
            multiplier: host.multiplier,
            enforced,
            rate,
        });
    }

    fn uneject(&mut self, now_ms: u64, place: usize, cause: EjectionCause, ejections: &mut Vec<Ejection>) {
        let Some(Some(host)) = self.hosts.get_mut(place) else {
            return;
        };
        host.ejected_ms = None;
        host.returned_ms = Some(now_ms);
        (host.run_5xx, host.run_gateway, host.run_local) = (0, 0, 0);
        ejections.push(Ejection {
            at_ms: now_ms,
            node: NodeIndex(u32::try_from(place).unwrap_or(u32::MAX)),
            ejected: false,
            cause,
            multiplier: host.multiplier,
            enforced: true,
            rate: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(hosts: usize, config: EnvoyConfig) -> (Envoy, Vec<NodeIndex>) {
        let mut envoy = Envoy::new(0, config, 1).unwrap();
        let nodes = (0..hosts).map(|_| envoy.add()).collect();
        (envoy, nodes)
    }

    /// E24: workers post "it has failed five times in a row" to the main thread, and may post it twice.
    #[test]
    fn a_run_that_is_told_twice_ejects_once() {
        let config = EnvoyConfig {
            max_ejection_percent: 100,
            ..EnvoyConfig::default()
        };
        let (mut envoy, nodes) = cluster(1, config);
        let mut ejections = Vec::new();
        envoy.in_a_row(0, nodes[0], EjectionCause::Consecutive5xx, &mut ejections);
        envoy.in_a_row(0, nodes[0], EjectionCause::Consecutive5xx, &mut ejections);
        assert_eq!((ejections.len(), envoy.active()), (1, 1));
        // E25: told of a host that has left.
        envoy.remove(nodes[0]).unwrap();
        envoy.in_a_row(0, nodes[0], EjectionCause::Consecutive5xx, &mut ejections);
        assert_eq!((ejections.len(), envoy.active()), (1, 0));
        assert!(envoy.remove(nodes[0]).is_err());
        assert!(envoy.record(1, nodes[0], EnvoyResult::Http(500)).is_empty());
    }

    #[test]
    fn jitter_is_within_its_limit_and_fixed_at_the_ejection() {
        let config = EnvoyConfig {
            max_ejection_percent: 100,
            max_ejection_jitter_ms: 10_000,
            ..EnvoyConfig::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let mut envoy = Envoy::new(0, config.clone(), seed).unwrap();
            let node = envoy.add();
            (0..5).for_each(|_| drop(envoy.record(0, node, EnvoyResult::Http(500))));
            let back = (30_000..=40_001)
                .find(|&now_ms| !envoy.sweep(now_ms).is_empty())
                .unwrap();
            assert!((30_000..=40_000).contains(&back));
            seen.insert(back);
        }
        let endless = EnvoyConfig {
            max_ejection_jitter_ms: u64::MAX,
            ..config
        };
        let mut envoy = Envoy::new(0, endless, 1).unwrap();
        let node = envoy.add();
        (0..5).for_each(|_| drop(envoy.record(0, node, EnvoyResult::Http(500))));
        assert!(envoy.is_ejected(node));
        assert!(seen.len() > 30 && *seen.last().unwrap() > 35_000, "{seen:?}");
    }
}
