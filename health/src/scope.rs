//! Safety evidence and tallies of a scope: one class, or all strata together.

use crate::evidence::ln_sum_exp;
use crate::limit::Tide;
use crate::ratio::Splits;
use crate::row::to_f64;
use crate::{Counts, JudgeConfig, MetricSafety, Safety};

/// The two safety processes of one metric since the stage began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SafetyProcess {
    /// Against a ratio of 1 + δ.
    pub(crate) ln_relative: f64,
    /// Against θ.
    pub(crate) ln_historic: f64,
    /// Against a ratio of 2; where θ is a floor, or there is no control, against θ.
    pub(crate) ln_double: f64,
    pub(crate) tide: Tide,
    /// Canary exposure since the stage began.
    pub(crate) exposure: u64,
}

impl SafetyProcess {
    /// θ is twice the historic rate. At the trough of a daily wave everybody is below it, a release that doubles the rate
    /// too: where the control itself is below its history, the release must show as well that it is not twice the control.
    /// Never more than the evidence against θ, so a release at or above θ passes with probability β at most, as before.
    pub(crate) fn ln_absolute(&self) -> f64 {
        if self.tide.is_out() {
            self.ln_historic.min(self.ln_double)
        } else {
            self.ln_historic
        }
    }

    /// ln of the mean of two e-processes, which is one too.
    pub(crate) fn ln_s(&self) -> f64 {
        ln_sum_exp(&[self.ln_relative, self.ln_absolute()]) - core::f64::consts::LN_2
    }
}

/// Everything seen of one metric, since the change began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) canary: Counts,
    pub(crate) control: Counts,
    pub(crate) fresh: Counts,
    /// As they were when the judge was restored; `Judge::splits` adds what came since.
    pub(crate) splits: Splits,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    /// One per metric.
    pub(crate) safety: Vec<SafetyProcess>,
    /// One per metric.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) satisfied: bool,
    /// Intervals since the stage began.
    pub(crate) looks: u64,
}

impl Scope {
    pub(crate) fn new(metrics: usize) -> Self {
        Self {
            safety: vec![SafetyProcess::default(); metrics],
            tallies: vec![Tally::default(); metrics],
            satisfied: false,
            looks: 0,
        }
    }

    /// Whether the canary had traffic since the stage began.
    pub(crate) fn was_exposed(&self, config: &JudgeConfig) -> bool {
        let mut required = self
            .safety
            .iter()
            .zip(&config.metrics)
            .filter(|(_, spec)| spec.required);
        required.any(|(process, _)| process.exposure > 0)
    }

    pub(crate) fn restart(&mut self) {
        self.safety.fill(SafetyProcess::default());
        self.satisfied = false;
        self.looks = 0;
    }

    /// Smallest ln S over the metrics that promotion needs.
    pub(crate) fn ln_s(&self, config: &JudgeConfig) -> f64 {
        let required = self
            .safety
            .iter()
            .zip(&config.metrics)
            .filter(|(_, spec)| spec.required);
        required
            .map(|(process, _)| process.ln_s())
            .fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn look(&mut self, config: &JudgeConfig, needed: f64) {
        self.looks = self.looks.saturating_add(1);
        self.satisfied |= self.ln_s(config) >= needed;
    }

    pub(crate) fn report(&self, config: &JudgeConfig, needed: f64) -> Safety {
        let per_metric = self.safety.iter().zip(&config.metrics);
        Safety {
            ln_s: self.ln_s(config),
            needed,
            requests_seen: per_metric
                .clone()
                .filter(|(_, spec)| spec.required)
                .map(|(process, _)| process.exposure)
                .min()
                .unwrap_or(0),
            per_metric: per_metric
                .map(|(process, spec)| MetricSafety {
                    name: spec.name.clone(),
                    required: spec.required,
                    ln_s: process.ln_s(),
                    ln_relative: process.ln_relative,
                    ln_absolute: process.ln_absolute(),
                })
                .collect(),
            satisfied: self.satisfied,
        }
    }

    /// Share of a metric's canary events that were bad, for display.
    pub(crate) fn has_events(&self, metric: usize) -> bool {
        let tally = &self.tallies[metric];
        to_f64(tally.canary.bad) + to_f64(tally.control.bad) + to_f64(tally.fresh.bad) > 0.0
    }
}
