//! gRPC's outlier detection (proposal A50).

use super::{Draws, Ejection, EjectionCause, GrpcConfig, Intervals, RateEvidence, mean_and_deviation};
use crate::delta::NodeIndex;
use crate::detector::u64_to_f64;
use crate::error::{CompatError, NodeError};
use crate::outcome::Outcome;

/// gRPC's detector for the endpoints of one channel: fed with calls and sweeps, it answers with ejections.
///
/// Where the implementations leak, it does what the proposal means: an endpoint that both detectors find in one sweep, or
/// that is out already, is not ejected once more; and the number of ejected endpoints is that of the members which are
/// ejected, so one that leaves is not counted for ever.
#[derive(Debug)]
pub struct GrpcA50 {
    config: GrpcConfig,
    endpoints: Vec<Option<Endpoint>>,
    interval: u64,
    /// When the running interval began; `None` while there is no detector.
    began_ms: Option<u64>,
    next_sweep_ms: Option<u64>,
    draws: Draws,
    unenforced: u64,
}

#[derive(Debug)]
struct Endpoint {
    ejected_ms: Option<u64>,
    multiplier: u64,
    intervals: Intervals,
}

impl GrpcA50 {
    /// A channel without endpoints. `seed` is for enforcement percentages.
    ///
    /// # Errors
    ///
    /// [`CompatError`] for what gRPC refuses.
    pub fn new(now_ms: u64, config: GrpcConfig, seed: u64) -> Result<Self, CompatError> {
        let mut new = Self {
            config: GrpcConfig::default(),
            endpoints: Vec::new(),
            interval: 0,
            began_ms: None,
            next_sweep_ms: None,
            draws: Draws::new(seed),
            unenforced: 0,
        };
        new.configure(now_ms, config)?;
        Ok(new)
    }

    /// Puts another configuration in force. The running interval keeps its beginning; without any detector everybody
    /// comes back and is forgiven, and when one is there again, counting starts from nothing.
    ///
    /// # Errors
    ///
    /// [`CompatError`], and the old configuration stays.
    pub fn configure(&mut self, now_ms: u64, config: GrpcConfig) -> Result<Vec<Ejection>, CompatError> {
        config.check()?;
        self.config = config;
        let mut ejections = Vec::new();
        if self.config.is_off() {
            (self.began_ms, self.next_sweep_ms) = (None, None);
            for place in 0..self.endpoints.len() {
                self.uneject(now_ms, place, EjectionCause::Configuration, &mut ejections);
                if let Some(endpoint) = &mut self.endpoints[place] {
                    endpoint.multiplier = 0;
                }
            }
            return Ok(ejections);
        }
        let began_ms = *self.began_ms.get_or_insert_with(|| {
            // A number that no count belongs to yet.
            self.interval += 1;
            now_ms
        });
        self.next_sweep_ms = Some(began_ms.saturating_add(self.config.interval_ms).max(now_ms));
        Ok(ejections)
    }

    /// Takes in an endpoint.
    pub fn add(&mut self) -> NodeIndex {
        self.endpoints.push(Some(Endpoint {
            ejected_ms: None,
            multiplier: 0,
            intervals: Intervals::new(),
        }));
        NodeIndex(u32::try_from(self.endpoints.len() - 1).unwrap_or(u32::MAX))
    }

    /// The endpoint is gone, ejected or not.
    ///
    /// # Errors
    ///
    /// [`NodeError::Unknown`].
    pub fn remove(&mut self, node: NodeIndex) -> Result<(), NodeError> {
        let endpoint = self.endpoints.get_mut(node.0 as usize).and_then(Option::take);
        endpoint.map(drop).ok_or(NodeError::Unknown(node.0))
    }

    /// One finished call. Not counted while there is no detector, or if the endpoint is gone.
    pub fn record(&self, node: NodeIndex, outcome: Outcome) {
        let endpoint = self.endpoints.get(node.0 as usize).and_then(Option::as_ref);
        if let Some(endpoint) = endpoint.filter(|_| self.began_ms.is_some()) {
            endpoint.intervals.record(self.interval, outcome);
        }
    }

    /// The periodic sweep. Does nothing while there is no detector: its timer does not run.
    pub fn sweep(&mut self, now_ms: u64) -> Vec<Ejection> {
        let mut ejections = Vec::new();
        if self.began_ms.is_none() {
            return ejections;
        }
        self.began_ms = Some(now_ms);
        self.next_sweep_ms = Some(now_ms.saturating_add(self.config.interval_ms));
        let over = self.interval;
        self.interval += 1;
        self.compare_success_rates(now_ms, over, &mut ejections);
        self.look_at_failures(now_ms, over, &mut ejections);
        let longest_ms = self.config.max_ejection_ms.max(self.config.base_ejection_ms);
        for place in 0..self.endpoints.len() {
            let Some(endpoint) = &mut self.endpoints[place] else {
                continue;
            };
            let Some(since_ms) = endpoint.ejected_ms else {
                endpoint.multiplier = endpoint.multiplier.saturating_sub(1);
                continue;
            };
            let length_ms = self
                .config
                .base_ejection_ms
                .saturating_mul(endpoint.multiplier)
                .min(longest_ms);
            if now_ms.saturating_sub(since_ms) > length_ms {
                self.uneject(now_ms, place, EjectionCause::Expired, &mut ejections);
            }
        }
        ejections
    }

    /// Is the endpoint out?
    #[must_use]
    pub fn is_ejected(&self, node: NodeIndex) -> bool {
        let endpoint = self.endpoints.get(node.0 as usize).and_then(Option::as_ref);
        endpoint.is_some_and(|endpoint| endpoint.ejected_ms.is_some())
    }

    /// The endpoint's time multiplier.
    #[must_use]
    pub fn multiplier(&self, node: NodeIndex) -> u64 {
        let endpoint = self.endpoints.get(node.0 as usize).and_then(Option::as_ref);
        endpoint.map_or(0, |endpoint| endpoint.multiplier)
    }

    /// How many members are ejected.
    #[must_use]
    pub fn active(&self) -> u64 {
        let ejected = self
            .endpoints
            .iter()
            .flatten()
            .filter(|endpoint| endpoint.ejected_ms.is_some());
        ejected.count() as u64
    }

    /// Detections without effect: by the cap, or by the enforcement percentage.
    #[must_use]
    pub const fn unenforced(&self) -> u64 {
        self.unenforced
    }

    /// When the next sweep is due; `None` while there is no detector.
    #[must_use]
    pub const fn next_sweep_ms(&self) -> Option<u64> {
        self.next_sweep_ms
    }

    /// Successes and failures of each endpoint with enough calls in an interval that is over.
    fn with_volume(&self, interval: u64, volume: u32) -> Vec<(usize, f64, f64)> {
        let with_counts = self.endpoints.iter().enumerate().filter_map(|(place, endpoint)| {
            let counts = endpoint.as_ref()?.intervals.of(interval);
            let total = counts.successes + counts.failures;
            // A volume of zero asks for none; what has no calls has no rate all the same.
            (total >= u64::from(volume) && total > 0).then(|| {
                let total = u64_to_f64(total);
                (
                    place,
                    u64_to_f64(counts.successes) / total,
                    u64_to_f64(counts.failures) / total,
                )
            })
        });
        with_counts.collect()
    }

    fn compare_success_rates(&mut self, now_ms: u64, interval: u64, ejections: &mut Vec<Ejection>) {
        let Some(rules) = self.config.success_rate_ejection.clone() else {
            return;
        };
        let with_volume = self.with_volume(interval, rules.request_volume);
        if with_volume.is_empty() || (with_volume.len() as u64) < u64::from(rules.minimum_hosts) {
            return;
        }
        let rates: Vec<f64> = with_volume.iter().map(|(_, success, _)| *success).collect();
        let (mean, deviation) = mean_and_deviation(&rates);
        let required = mean - deviation * (f64::from(rules.stdev_factor) / 1_000.0);
        for (place, success, _) in with_volume {
            if success < required {
                let evidence = RateEvidence {
                    host: success * 100.0,
                    mean: mean * 100.0,
                    threshold: required * 100.0,
                };
                let percent = rules.enforcement_percentage;
                self.eject(now_ms, place, EjectionCause::SuccessRate, percent, evidence, ejections);
            }
        }
    }

    fn look_at_failures(&mut self, now_ms: u64, interval: u64, ejections: &mut Vec<Ejection>) {
        let Some(rules) = self.config.failure_percentage_ejection.clone() else {
            return;
        };
        let with_volume = self.with_volume(interval, rules.request_volume);
        if (with_volume.len() as u64) < u64::from(rules.minimum_hosts) {
            return;
        }
        let threshold = f64::from(rules.threshold);
        for (place, _, failure) in with_volume {
            let host = failure * 100.0;
            if host > threshold {
                let evidence = RateEvidence {
                    host,
                    mean: host,
                    threshold,
                };
                let percent = rules.enforcement_percentage;
                self.eject(
                    now_ms,
                    place,
                    EjectionCause::FailurePercentage,
                    percent,
                    evidence,
                    ejections,
                );
            }
        }
    }

    /// First the cap, of what is ejected so far, then the draw.
    fn eject(
        &mut self,
        now_ms: u64,
        place: usize,
        cause: EjectionCause,
        percent: u32,
        rate: RateEvidence,
        ejections: &mut Vec<Ejection>,
    ) {
        let members = self.endpoints.iter().flatten().count() as u64;
        let out = self.endpoints[place]
            .as_ref()
            .is_none_or(|endpoint| endpoint.ejected_ms.is_some());
        if out {
            return;
        }
        let share = u64_to_f64(self.active()) / u64_to_f64(members) * 100.0;
        if share >= f64::from(self.config.max_ejection_percent) {
            self.unenforced = self.unenforced.saturating_add(1);
            return;
        }
        let enforced = self.draws.enforce(percent);
        let Some(endpoint) = self.endpoints[place].as_mut() else {
            return;
        };
        if enforced {
            endpoint.ejected_ms = Some(now_ms);
            endpoint.multiplier = endpoint.multiplier.saturating_add(1);
        } else {
            self.unenforced = self.unenforced.saturating_add(1);
        }
        ejections.push(Ejection {
            at_ms: now_ms,
            node: NodeIndex(u32::try_from(place).unwrap_or(u32::MAX)),
            ejected: true,
            cause,
            multiplier: endpoint.multiplier,
            enforced,
            rate: Some(rate),
        });
    }

    fn uneject(&mut self, now_ms: u64, place: usize, cause: EjectionCause, ejections: &mut Vec<Ejection>) {
        let Some(endpoint) = self.endpoints[place].as_mut() else {
            return;
        };
        if endpoint.ejected_ms.take().is_none() {
            return;
        }
        ejections.push(Ejection {
            at_ms: now_ms,
            node: NodeIndex(u32::try_from(place).unwrap_or(u32::MAX)),
            ejected: false,
            cause,
            multiplier: endpoint.multiplier,
            enforced: true,
            rate: None,
        });
    }
}
