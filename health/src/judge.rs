//! The judge: rows in, evidence out.

use std::borrow::Cow;

use crate::dispersion::Dispersion;
use crate::evidence::{GridVector, Limit, ln_sum_exp, relative_safety, row_evidence};
use crate::process::{Process, Steps};
use crate::row::to_f64;
use crate::scope::Scope;
use crate::{
    Arm, ClassTotals, Coverage, History, HoldReason, Interval, JudgeConfig, JudgeError, Look, Row, RowError, Safety,
    StopEvidence, Topology, Verdict, validate,
};

/// Weight of the pooled part of the stop statistic; classes and applications share the rest.
pub(crate) const POOLED_WEIGHT: f64 = 0.5;
/// Weight of the mean over classes, and of the mean over applications.
pub(crate) const MEAN_WEIGHT: f64 = 0.25;

/// Decides from counts whether a change did harm, and whether it is known not to have.
///
/// A pure fold over intervals: the same configuration, topology, history, steps and intervals give the same bytes,
/// whatever the order of rows within an interval (they are applied sorted by stratum, metric and freshness). A judge
/// restored from its serialized form continues to the same bytes.
///
/// # Stop
///
/// Ē = ½·pooled + ¼·mean over classes + ¼·mean over applications, where each part is Σ_k v_k M*_k over the metrics:
/// an average of e-processes, so P(Ē ever ≥ 1/α) ≤ α for a change without effect, over all looks, metrics, steps,
/// classes and applications together. [`stopped`](Self::stopped) is sticky.
///
/// # Go
///
/// S per class: the mean of evidence against "rate ratio at least 1 + δ" and of evidence against "rate at least θ",
/// smallest over the required metrics; a class where the change is bad reaches 1/β with probability at most β per stage.
#[derive(Clone, Debug)]
pub struct Judge {
    pub(crate) config: JudgeConfig,
    pub(crate) topology: Topology,
    pub(crate) rules: Rules,
    pub(crate) steps: Steps,
    pub(crate) last: Option<u64>,
    pub(crate) coverage: Option<(Coverage, Coverage)>,
    /// Node × metric × (settled, fresh), see [`Judge::slot`].
    pub(crate) processes: Vec<Process>,
    /// ln Σ_k v_k M*_k per node.
    pub(crate) node_ln: Vec<f64>,
    /// One per metric.
    pub(crate) dispersions: Vec<Dispersion>,
    /// Historic rates, application × metric.
    pub(crate) historic: Vec<f64>,
    /// Absolute limits, application × metric.
    limits: Vec<Limit>,
    /// All strata first, then the classes.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) totals: Vec<ClassTotals>,
    pub(crate) ln_e: f64,
    pub(crate) stop: Option<StopEvidence>,
    /// Nodes whose processes changed in the interval at hand; empty between calls.
    dirty: Vec<bool>,
}

/// What follows from the configuration alone.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Weights of the metrics, summing to 1.
    pub(crate) weights: Vec<f64>,
    /// ln of the weight of each process of a node, in the order of [`Judge::slot`].
    ln_weights: Vec<f64>,
    /// ln(1/α).
    pub(crate) ln_needed: f64,
    /// ln(1/β).
    pub(crate) ln_safe: f64,
    ln_hold: f64,
}

impl Rules {
    fn new(config: &JudgeConfig) -> Self {
        let sum: f64 = config.metrics.iter().map(|metric| metric.weight).sum();
        let weights: Vec<f64> = config.metrics.iter().map(|metric| metric.weight / sum).collect();
        let parts = [1.0 - config.fresh_share, config.fresh_share];
        let ln_weights = weights
            .iter()
            .flat_map(|weight| parts.map(|part| libm::log(weight * part)))
            .collect();
        Self {
            weights,
            ln_weights,
            ln_needed: -libm::log(config.alpha),
            ln_safe: -libm::log(config.beta),
            ln_hold: libm::log(config.hold_at),
        }
    }
}

impl Judge {
    /// A judge that has seen nothing but `history`: rates and host samples from before the change.
    ///
    /// Entries of the same stratum and metric are added up. An application with little history borrows the rate of
    /// the fleet, as if it had seen one fleet-average bad event more.
    ///
    /// # Errors
    ///
    /// [`JudgeError`] when configuration, topology or history are out of range or contradict each other.
    pub fn new(config: JudgeConfig, topology: Topology, history: &[History]) -> Result<Self, JudgeError> {
        validate::config(&config)?;
        validate::topology(&topology)?;
        let (strata, metrics, apps) = (topology.strata.len(), config.metrics.len(), topology.apps.len());
        for (entry, past) in history.iter().enumerate() {
            let named = |reason| JudgeError::History { entry, reason };
            validate::place(past.stratum, past.metric, strata, metrics).map_err(named)?;
            validate::counts(past.stratum, past.metric, Arm::Control, past.counts).map_err(named)?;
            past.samples
                .iter()
                .try_for_each(|sample| validate::sample(sample, strata, metrics))
                .map_err(named)?;
        }

        let mut dispersions = vec![Dispersion::default(); metrics];
        let mut fleet = vec![(0.0, 0.0); metrics];
        let mut own = vec![(0.0, 0.0); apps * metrics];
        for past in history {
            let metric = usize::from(past.metric);
            let (bad, total) = (to_f64(past.counts.bad), to_f64(past.counts.total));
            for sums in [
                &mut fleet[metric],
                &mut own[index(topology.strata[index(past.stratum)].app) * metrics + metric],
            ] {
                sums.0 += bad;
                sums.1 += total;
            }
            for sample in past.samples.iter().filter(|sample| sample.arm == Arm::Control) {
                dispersions[usize::from(sample.metric)].learn(sample);
            }
        }
        let historic = own
            .iter()
            .enumerate()
            .map(|(i, &(bad, total))| match fleet[i % metrics] {
                (fleet_bad, fleet_total) if fleet_bad > 0.0 => (bad + 1.0) / (total + fleet_total / fleet_bad),
                _ => 0.0,
            })
            .collect();
        Ok(Self::assembled(config, topology, dispersions, historic))
    }

    /// The state before the first interval; the arguments fit each other.
    pub(crate) fn assembled(
        config: JudgeConfig,
        topology: Topology,
        dispersions: Vec<Dispersion>,
        historic: Vec<f64>,
    ) -> Self {
        let metrics = config.metrics.len();
        let nodes = 1 + topology.classes.len() + topology.apps.len();
        let limit = |(i, rate): (usize, &f64)| Limit::new(*rate, config.metrics[i % metrics].floor);
        Self {
            rules: Rules::new(&config),
            steps: Steps::default(),
            last: None,
            coverage: None,
            processes: vec![Process::UNTOUCHED; nodes * metrics * 2],
            node_ln: vec![0.0; nodes],
            dispersions,
            limits: historic.iter().enumerate().map(limit).collect(),
            historic,
            scopes: vec![Scope::new(metrics); 1 + topology.classes.len()],
            totals: Vec::new(),
            ln_e: 0.0,
            stop: None,
            dirty: vec![false; nodes],
            config,
            topology,
        }
    }

    /// A batch opened: traffic on the new version grows, and a regression may begin now. Starts one more restart of
    /// every process, with weight 1/(b(b + 1)). The first canary traffic starts the first one by itself.
    pub fn step_traffic(&mut self) {
        self.steps.0 = self.steps.0.saturating_add(1);
        for process in &mut self.processes {
            process.step(self.steps);
        }
        self.sum_up_nodes(|_| true);
        self.ln_e = self.stop_statistic(&self.node_ln);
    }

    /// Learns from one interval.
    ///
    /// # Errors
    ///
    /// [`RowError`] when the interval was seen before, is late, or contains anything impossible; the judge is as it was.
    pub fn observe(&mut self, interval: &Interval) -> Result<Look, RowError> {
        validate::interval(
            interval,
            self.last,
            self.topology.strata.len(),
            self.config.metrics.len(),
        )?;
        let mut rows = Cow::Borrowed(interval.rows.as_slice());
        if !rows.is_sorted_by_key(validate::key) {
            rows.to_mut().sort_unstable_by_key(validate::key);
        }
        validate::no_duplicates(&rows)?;

        if self.steps.0 == 0 && rows.iter().any(|row| row.canary.total > 0) {
            self.step_traffic();
        }
        let dispersions: Vec<f64> = (0..self.config.metrics.len())
            .map(|metric| self.dispersion_of(metric))
            .collect();
        for row in rows.iter() {
            self.learn(row, dispersions[usize::from(row.metric)]);
        }
        let mut dirty = core::mem::take(&mut self.dirty);
        self.sum_up_nodes(|node| dirty[node]);
        dirty.fill(false);
        self.dirty = dirty;
        for scope in &mut self.scopes {
            scope.look(&self.config, self.rules.ln_safe);
        }
        self.ln_e = self.stop_statistic(&self.node_ln);

        // What this interval says about dispersion tempers the next one: the factor of a row is fixed before the row.
        for sample in interval.samples.iter().filter(|sample| sample.arm == Arm::Control) {
            self.dispersions[usize::from(sample.metric)].learn(sample);
        }
        for total in &interval.totals {
            let position = self
                .totals
                .iter()
                .position(|known| known.class >= total.class)
                .unwrap_or(self.totals.len());
            match self.totals.get_mut(position) {
                Some(known) if known.class == total.class => {
                    known.canary.add(total.canary);
                    known.control.add(total.control);
                }
                _ => self.totals.insert(position, *total),
            }
        }
        self.coverage = Some((interval.canary_hosts, interval.control_hosts));
        self.last = Some(interval.index);

        let crossed_now = self.stop.is_none() && self.ln_e >= self.rules.ln_needed;
        if crossed_now {
            self.stop = Some(self.stop_evidence());
        }
        Ok(Look {
            index: interval.index,
            ln_e: self.ln_e,
            ln_needed: self.rules.ln_needed,
            stopped: self.stop.is_some(),
            crossed_now,
        })
    }

    /// Applies one valid row.
    fn learn(&mut self, row: &Row, dispersion: f64) {
        let metric = usize::from(row.metric);
        let stratum = index(row.stratum);
        let app = index(self.topology.strata[stratum].app);
        let app_node = 1 + self.topology.classes.len() + app;
        let events = row.canary.bad > 0 || row.control.bad > 0;
        let compared = events && row.canary.total > 0 && row.control.total > 0;
        let null_ratio = if row.fresh { self.config.fresh_ratio_limit } else { 1.0 };
        let tempered = |evidence: GridVector| evidence.map(|ln| ln / dispersion);
        let evidence = compared.then(|| tempered(row_evidence(row.canary, row.control, null_ratio)));
        let (mut relative, mut absolute) = (0.0, 0.0);
        if !row.fresh && row.canary.total > 0 {
            absolute = self.limits[app * self.config.metrics.len() + metric].evidence(row.canary) / dispersion;
            if compared {
                relative = relative_safety(row.canary, row.control, 1.0 + self.config.delta) / dispersion;
            }
        }

        let classes = self.topology.strata[stratum].classes.len();
        for part in 0..=classes {
            // Scope and node of all strata are 0, those of class c are c + 1.
            let scope = if part == 0 {
                0
            } else {
                1 + index(self.topology.strata[stratum].classes[part - 1])
            };
            let Scope { safety, tallies, .. } = &mut self.scopes[scope];
            let tally = &mut tallies[metric];
            if row.fresh {
                tally.fresh.add(row.canary);
            } else {
                tally.canary.add(row.canary);
                tally.control.add(row.control);
                if compared {
                    tally.splits.add(row.canary, row.control);
                }
                let safety = &mut safety[metric];
                safety.ln_relative += relative;
                safety.ln_absolute += absolute;
                safety.exposure = safety.exposure.saturating_add(row.canary.total);
            }
            if let Some(evidence) = &evidence {
                self.add_to(scope, metric, row.fresh, evidence);
            }
        }
        if let Some(evidence) = &evidence {
            self.add_to(app_node, metric, row.fresh, evidence);
        }
    }

    fn add_to(&mut self, node: usize, metric: usize, fresh: bool, evidence: &GridVector) {
        let slot = self.slot(node, metric, fresh);
        self.processes[slot].add(evidence, self.steps);
        self.dirty[node] = true;
    }

    /// Where the process of a node, metric and kind is. Node 0 is all strata, then the classes, then the applications.
    pub(crate) const fn slot(&self, node: usize, metric: usize, fresh: bool) -> usize {
        (node * self.config.metrics.len() + metric) * 2 + fresh as usize
    }

    /// Recomputes ln Σ_k v_k M*_k of the chosen nodes.
    pub(crate) fn sum_up_nodes(&mut self, chosen: impl Fn(usize) -> bool) {
        let per_node = self.config.metrics.len() * 2;
        let ln_waiting = self.steps.ln_waiting();
        let mut terms = vec![0.0; per_node];
        for (node, processes) in self.processes.chunks_exact_mut(per_node).enumerate() {
            if !chosen(node) {
                continue;
            }
            for ((term, process), ln_weight) in terms.iter_mut().zip(processes).zip(&self.rules.ln_weights) {
                process.settle(ln_waiting);
                *term = ln_weight + process.ln_m();
            }
            self.node_ln[node] = ln_sum_exp(&terms);
        }
    }

    /// ln Ē of the given ln e-values per node, summed in the order of the nodes.
    pub(crate) fn stop_statistic(&self, node_ln: &[f64]) -> f64 {
        let classes = self.topology.classes.len();
        let shift = node_ln.iter().copied().fold(0.0, f64::max);
        let one = libm::exp(-shift);
        // Most nodes of a large fleet have seen nothing and are exactly 1: no exponential for them.
        let value = |ln: &f64| if *ln == 0.0 { one } else { libm::exp(ln - shift) };
        let mean = |nodes: &[f64]| {
            if nodes.is_empty() {
                one
            } else {
                nodes.iter().map(value).sum::<f64>() / count(nodes.len())
            }
        };
        let (pooled, rest) = node_ln.split_at(1);
        let (classes, apps) = rest.split_at(classes);
        shift + libm::log(POOLED_WEIGHT * mean(pooled) + MEAN_WEIGHT * mean(classes) + MEAN_WEIGHT * mean(apps))
    }

    /// φ of a metric as the next row will use it: at least 1, at most 50.
    pub(crate) fn dispersion_of(&self, metric: usize) -> f64 {
        self.dispersions[metric].estimate(self.config.dispersion_default, self.config.dispersion_after)
    }

    /// The factor by which the variance of a metric's counts exceeds independent events, 1 to 50, as the next interval
    /// will use it; `None` for a metric that does not exist.
    #[must_use]
    pub fn dispersion(&self, metric: u8) -> Option<f64> {
        (usize::from(metric) < self.config.metrics.len()).then(|| self.dispersion_of(usize::from(metric)))
    }

    /// ln Ē now. Only [`stopped`](Self::stopped) is sticky, this may fall again.
    #[must_use]
    pub const fn ln_e(&self) -> f64 {
        self.ln_e
    }

    /// The evidence at the first look at which Ē reached 1/α; from then on a stop is authorised for good.
    #[must_use]
    pub const fn stopped(&self) -> Option<&StopEvidence> {
        self.stop.as_ref()
    }

    /// ln e-value against the change from all strata pooled.
    #[must_use]
    pub fn pooled_ln_e(&self) -> f64 {
        self.node_ln[0]
    }

    /// ln e-value against the change from one class alone; 0 (nothing known) for a class that does not exist.
    #[must_use]
    pub fn class_ln_e(&self, class: u32) -> f64 {
        self.scope_of(class).map_or(0.0, |scope| self.node_ln[scope])
    }

    /// ln e-value against the change from one application alone; 0 (nothing known) for one that does not exist.
    #[must_use]
    pub fn app_ln_e(&self, app: u32) -> f64 {
        self.node_ln
            .get(1 + self.topology.classes.len() + index(app))
            .copied()
            .unwrap_or(0.0)
    }

    fn scope_of(&self, class: u32) -> Option<usize> {
        (index(class) < self.topology.classes.len()).then(|| 1 + index(class))
    }

    /// Evidence that a class is healthy, from its own rows alone. One that does not exist is never satisfied.
    #[must_use]
    pub fn safety(&self, class: u32) -> Safety {
        match self.scope_of(class) {
            Some(scope) => self.scopes[scope].report(&self.config, self.rules.ln_safe),
            None => Scope::new(self.config.metrics.len()).report(&self.config, self.rules.ln_safe),
        }
    }

    /// The class goes to its next stage: its evidence of safety starts anew, from hosts that are new to it.
    pub fn restart_safety(&mut self, class: u32) {
        if let Some(scope) = self.scope_of(class) {
            self.scopes[scope].restart();
        }
    }

    /// Evidence that the change is healthy, from all strata together: for fleets without classes.
    #[must_use]
    pub fn pooled_safety(&self) -> Safety {
        self.scopes[0].report(&self.config, self.rules.ln_safe)
    }

    /// The change as a whole goes to its next stage.
    pub fn restart_pooled_safety(&mut self) {
        self.scopes[0].restart();
    }

    /// What the evidence calls for, in this order: rollback once stopped; hold while data is missing or suspicion
    /// is high; else continue.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.stop.is_some() {
            return Verdict::Rollback;
        }
        let Some((canary, control)) = self.coverage else {
            return Verdict::Hold(HoldReason::NoData);
        };
        let silent = |coverage: Coverage| coverage.share() < self.config.min_coverage;
        match (silent(canary), silent(control)) {
            (true, true) => Verdict::Hold(HoldReason::BothSilent { canary, control }),
            (true, false) => Verdict::Hold(HoldReason::CanarySilent(canary)),
            (false, true) => Verdict::Hold(HoldReason::ControlSilent(control)),
            (false, false) if self.ln_e >= self.rules.ln_hold => Verdict::Hold(HoldReason::Suspicion {
                ln_e: self.ln_e,
                ln_hold: self.rules.ln_hold,
            }),
            (false, false) => Verdict::Continue,
        }
    }

    /// 0 (known to be bad) to 100 (known to be good), 50 knows nothing: min(50·(1 + s − h), 50 + 50·coverage) with
    /// h = ln Ē/ln(1/α) and s = ln S/ln(1/β), each within 0 and 1; h stays 1 once stopped. For display and ranking.
    #[must_use]
    pub fn score(&self) -> f64 {
        let harm = if self.stop.is_some() {
            1.0
        } else {
            (self.ln_e / self.rules.ln_needed).clamp(0.0, 1.0)
        };
        let safe = (self.scopes[0].ln_s(&self.config) / self.rules.ln_safe).clamp(0.0, 1.0);
        let covered = self
            .coverage
            .map_or(0.0, |(canary, control)| canary.share().min(control.share()));
        (50.0 * (1.0 + safe - harm)).min(50.0 + 50.0 * covered)
    }

    /// The latest interval observed.
    #[must_use]
    pub const fn last_index(&self) -> Option<u64> {
        self.last
    }

    /// Errors of the fleet by fault class since the change began, as the intervals gave them.
    #[must_use]
    pub fn totals(&self) -> &[ClassTotals] {
        &self.totals
    }

    /// The configuration it judges by.
    #[must_use]
    pub const fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// The fleet it judges.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }
}

/// An index of the wire as one of memory. On a 16-bit machine an index too large would become one that no list has.
pub(crate) fn index(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The length of a list as a float.
pub(crate) fn count(length: usize) -> f64 {
    to_f64(u64::try_from(length).unwrap_or(u64::MAX))
}
