//! The judge: rows in, evidence out.

use crate::dispersion::{Dispersion, Dispersions};
use crate::evidence::BadRatio;
use crate::guards::Guards;
use crate::limit::Limit;
use crate::process::{Process, Steps};
use crate::ratio::Splits;
use crate::row::to_f64;
use crate::scope::Scope;
use crate::signatures::Signatures;
use crate::sums::{ClassSets, Sums};
use crate::value::EValue;
use crate::{
    Arm, BurnFreeze, BurnState, ClassTotals, Coverage, FaultClass, GateVerdict, History, HostEvent, JudgeConfig,
    JudgeError, Resource, Safety, Signature, StopEvidence, Topology, Trend, validate,
};

/// Weight of the pooled part of the stop statistic; classes and applications share the rest.
pub(crate) const POOLED_WEIGHT: f64 = 0.5;
/// Weight of the mean over classes, and of the mean over applications.
pub(crate) const MEAN_WEIGHT: f64 = 0.25;

/// Decides from counts whether a change did harm, and whether it is known not to have.
///
/// A pure fold over intervals: the same configuration, topology, history, steps and intervals give the same bytes,
/// whatever the order of rows within an interval. A judge restored from its serialized form continues to the same bytes.
///
/// Sums of floats have one order: the rows of an interval, sorted by stratum, metric and freshness, go one by one into
/// the evidence of their application, and into a sum of all strata with the same list of classes. These sums then go
/// into the fleet and into each of the classes, in the order in which the lists got their first row with events (of the
/// metric at hand; for the absolute limit: their first row).
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
    /// All strata with hosts of every level together, metric × (settled, fresh): names hosts, stops nothing. Empty until a
    /// sample of the canary's hosts was seen.
    pub(crate) plain: Vec<Process>,
    /// Σ_k v_k M*_k per node.
    pub(crate) nodes: Vec<EValue>,
    /// One per metric.
    pub(crate) dispersions: Vec<Dispersions>,
    /// Historic rates, application × metric.
    pub(crate) historic: Vec<f64>,
    /// Absolute limits, application × metric.
    pub(crate) limits: Vec<Limit>,
    /// All strata first, then the classes.
    pub(crate) scopes: Vec<Scope>,
    pub(crate) totals: Vec<ClassTotals>,
    pub(crate) ln_e: f64,
    pub(crate) stop: Option<StopEvidence>,
    pub(crate) guards: Guards,
    pub(crate) signatures: Signatures,
    /// Hosts to be rolled back alone.
    pub(crate) hosts: Vec<HostEvent>,
    /// A required self-check did not pass.
    pub(crate) rejected: bool,
    /// Share of self-checks that passed.
    pub(crate) gate: f64,
    /// What the component's own errors burn, as a share of a page line.
    pub(crate) burn: f64,
    /// The page line that is reached.
    pub(crate) freeze: Option<BurnFreeze>,
    /// The resource that leaks most surely, with ln of the evidence.
    pub(crate) leak: Option<(Resource, f64)>,
    /// The kind of hold there is, and since which interval.
    pub(crate) hold: Option<(u8, u64)>,
    /// Nodes whose processes changed in the interval at hand; empty between calls.
    pub(crate) dirty: Vec<bool>,
    /// Follows from the topology.
    pub(crate) sets: ClassSets,
    pub(crate) sums: Sums,
}

/// What follows from the configuration alone.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Weights of the metrics, summing to 1.
    pub(crate) weights: Vec<f64>,
    /// The weight of each process of a node, in the order of [`Judge::slot`].
    pub(crate) shares: Vec<f64>,
    /// ln(1/α).
    pub(crate) ln_needed: f64,
    /// ln(1/β).
    pub(crate) ln_safe: f64,
    /// 1 + δ.
    pub(crate) bad_ratio: BadRatio,
    pub(crate) ln_hold: f64,
}

impl Rules {
    fn new(config: &JudgeConfig) -> Self {
        let sum: f64 = config.metrics.iter().map(|metric| metric.weight).sum();
        let weights: Vec<f64> = config.metrics.iter().map(|metric| metric.weight / sum).collect();
        let parts = [1.0 - config.fresh_share, config.fresh_share];
        let shares = weights
            .iter()
            .flat_map(|weight| parts.map(|part| weight * part))
            .collect();
        Self {
            weights,
            shares,
            ln_needed: -libm::log(config.alpha),
            ln_safe: -libm::log(config.beta),
            bad_ratio: BadRatio::new(1.0 + config.delta),
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

        let mut dispersions = vec![Dispersions::default(); metrics];
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
        let mut judge = Self::assembled(config, topology, dispersions, historic);
        judge.signatures = Signatures::known_before(history.iter().flat_map(|past| &past.signatures));
        Ok(judge)
    }

    /// The state before the first interval; the arguments fit each other.
    pub(crate) fn assembled(
        config: JudgeConfig,
        topology: Topology,
        dispersions: Vec<Dispersions>,
        historic: Vec<f64>,
    ) -> Self {
        let metrics = config.metrics.len();
        let nodes = 1 + topology.classes.len() + topology.apps.len();
        let sets = ClassSets::of(&topology);
        let limit = |(i, rate): (usize, &f64)| Limit::new(*rate, config.metrics[i % metrics].floor);
        Self {
            rules: Rules::new(&config),
            steps: Steps::default(),
            last: None,
            coverage: None,
            processes: vec![Process::UNTOUCHED; nodes * metrics * 2],
            plain: Vec::new(),
            nodes: vec![EValue::ONE; nodes],
            dispersions,
            limits: historic.iter().enumerate().map(limit).collect(),
            historic,
            scopes: vec![Scope::new(metrics); 1 + topology.classes.len()],
            totals: Vec::new(),
            ln_e: 0.0,
            stop: None,
            guards: Guards::new(metrics),
            signatures: Signatures::default(),
            hosts: Vec::new(),
            rejected: false,
            gate: 1.0,
            burn: 0.0,
            freeze: None,
            leak: None,
            hold: None,
            dirty: vec![false; nodes],
            sums: Sums::new(sets.len(), metrics),
            sets,
            config,
            topology,
        }
    }

    /// A batch opened: traffic on the new version grows, and a regression may begin now. Starts one more restart of
    /// every process, with weight 1/(b(b + 1)). The first canary traffic starts the first one by itself.
    pub fn step_traffic(&mut self) {
        self.steps.0 = self.steps.0.saturating_add(1);
        for process in self.processes.iter_mut().chain(&mut self.plain) {
            process.step(self.steps);
        }
        self.guards.step();
        self.sum_up_nodes(|_| true);
        self.ln_e = self.stop_statistic(&self.nodes);
    }

    /// A part of the fleet that explains what was found is taken out of the change: the evidence against the change and for its
    /// safety starts anew, from the next interval on, and a stop is authorised no more. What is known of dispersion, rates, faults,
    /// signatures, self-checks and burn stays. Whoever calls it feeds no more rows of that part.
    ///
    /// Of a change without effect the first stop is false with probability at most α, whatever follows it; of a change whose
    /// effect was in that part alone, the evidence of the rest is an e-process from here on, and stops with probability at most α.
    pub fn begin_anew(&mut self) {
        let fresh = Self::assembled(
            self.config.clone(),
            self.topology.clone(),
            std::mem::take(&mut self.dispersions),
            std::mem::take(&mut self.historic),
        );
        let signatures = std::mem::take(&mut self.signatures);
        let totals = std::mem::take(&mut self.totals);
        *self = Self {
            last: self.last,
            coverage: self.coverage,
            totals,
            signatures,
            rejected: self.rejected,
            gate: self.gate,
            burn: self.burn,
            freeze: self.freeze,
            ..fresh
        };
    }

    /// Where the process of a node, metric and kind is. Node 0 is all strata, then the classes, then the applications.
    pub(crate) const fn slot(&self, node: usize, metric: usize, fresh: bool) -> usize {
        (node * self.config.metrics.len() + metric) * 2 + fresh as usize
    }

    /// Recomputes Σ_k v_k M*_k of the chosen nodes.
    pub(crate) fn sum_up_nodes(&mut self, chosen: impl Fn(usize) -> bool) {
        let per_node = self.config.metrics.len() * 2;
        let waiting = self.steps.waiting();
        for process in &mut self.plain {
            process.settle(waiting);
        }
        for (node, processes) in self.processes.chunks_exact_mut(per_node).enumerate() {
            if !chosen(node) {
                continue;
            }
            for process in &mut *processes {
                process.settle(waiting);
            }
            if processes.iter().all(|process| process.saved().is_none()) {
                continue;
            }
            let values = processes.iter().map(Process::value);
            self.nodes[node] = EValue::weighted(self.rules.shares.iter().copied().zip(values));
        }
    }

    /// ln Ē of the given e-values per node, summed in the order of the nodes.
    pub(crate) fn stop_statistic(&self, nodes: &[EValue]) -> f64 {
        let (pooled, rest) = nodes.split_at(1);
        let (classes, apps) = rest.split_at(self.topology.classes.len());
        let parts = [
            (POOLED_WEIGHT, mean(pooled)),
            (MEAN_WEIGHT, mean(classes)),
            (MEAN_WEIGHT, mean(apps)),
        ];
        EValue::weighted(parts.into_iter()).ln()
    }

    /// Counts with events of a scope and metric by their split, since the change began.
    pub(crate) fn splits(&self, scope: usize, metric: usize) -> Splits {
        let mut all = self.scopes[scope].tallies[metric].splits.clone();
        let number = u32::try_from(scope).unwrap_or(u32::MAX);
        for splits in self.sums.splits_of(&self.sets, number, metric) {
            all.merge(splits);
        }
        all
    }

    /// What the next row of one level of a metric will be divided by: at least 1, at most 50.
    pub(crate) fn level_dispersion_of(&self, metric: usize) -> f64 {
        self.temper(&self.dispersions[metric].by_level)
    }

    /// Likewise of a row in which hosts of all levels are added up.
    pub(crate) fn whole_dispersion_of(&self, metric: usize) -> f64 {
        self.temper(&self.dispersions[metric].whole)
    }

    fn temper(&self, dispersion: &Dispersion) -> f64 {
        dispersion.temper(self.config.dispersion_default, self.config.dispersion_after)
    }

    /// φ, the factor by which the variance of a metric's counts exceeds independent events, 1 to 50, as far as it is known
    /// now; `None` for a metric that does not exist. Rows are divided by it with a standard error on top, φ(1 + √(φ/x))
    /// after x bad events on the sampled control hosts.
    #[must_use]
    pub fn dispersion(&self, metric: u8) -> Option<f64> {
        let known = self.dispersions.get(usize::from(metric))?;
        Some(
            known
                .by_level
                .estimate(self.config.dispersion_default, self.config.dispersion_after),
        )
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
        self.nodes[0].ln()
    }

    /// ln e-value against the change from one class alone; 0 (nothing known) for a class that does not exist.
    #[must_use]
    pub fn class_ln_e(&self, class: u32) -> f64 {
        self.scope_of(class).map_or(0.0, |scope| self.nodes[scope].ln())
    }

    /// ln e-value against the change from one application alone; 0 (nothing known) for one that does not exist.
    #[must_use]
    pub fn app_ln_e(&self, app: u32) -> f64 {
        self.nodes
            .get(1 + self.topology.classes.len() + index(app))
            .map_or(0.0, |value| value.ln())
    }

    pub(crate) fn scope_of(&self, class: u32) -> Option<usize> {
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

    /// What an instance's self-checks came to. One that did not pass rejects the change for good; of those that did, the
    /// lowest share of passed checks lowers the score.
    pub fn observe_gate(&mut self, gate: &GateVerdict) {
        match gate {
            GateVerdict::Pass { score } => self.gate = self.gate.min(score.clamp(0.0, 1.0)),
            // Still checking itself: it has no traffic yet, and its last word comes.
            GateVerdict::Pending { .. } => {}
            GateVerdict::Fail { .. } => (self.gate, self.rejected) = (0.0, true),
        }
    }

    /// How fast budgets burn, from now on: a page line that is reached holds the change, whoever's fault it is; it is never
    /// rolled back for it. What the component's own errors burn lowers the score; unknown lowers nothing, since missing
    /// traffic holds by itself.
    pub fn observe_burn(&mut self, state: &BurnState) {
        self.burn = state.usage(FaultClass::Own).unwrap_or(0.0);
        self.freeze = state.freeze();
    }

    /// What a trend has found so far. Growth on the canary that the control does not have holds the change from evidence 4/α on:
    /// all four resources together hold a healthy one with probability at most α. It is never rolled back for it.
    pub fn observe_trend(&mut self, trend: &Trend) {
        let (resource, ln_e) = (trend.resource(), trend.ln_e());
        let stronger = self.leak.is_none_or(|(_, known)| ln_e > known);
        if ln_e >= self.rules.ln_needed + 2.0 * core::f64::consts::LN_2 && stronger {
            self.leak = Some((resource, ln_e));
        }
    }

    /// Hosts whose trouble alone would have stopped the change, each once: it is to be seen to by itself. One that goes on as
    /// before is named again, under a later [`index`](HostEvent::index).
    #[must_use]
    pub fn host_events(&self) -> &[HostEvent] {
        &self.hosts
    }

    /// Error signatures on the canary: new ones first, then those it has more of, then those that are none of its doing.
    #[must_use]
    pub fn signatures(&self) -> Vec<Signature> {
        self.signatures.report()
    }

    /// ln M* of one metric over all strata, without fresh instances: the mean over the grid and over the restarts, before
    /// weights and before classes and applications join; 0 (nothing known) for a metric that does not exist.
    #[must_use]
    pub fn metric_ln_m(&self, metric: u8) -> f64 {
        if usize::from(metric) >= self.config.metrics.len() {
            return 0.0;
        }
        self.processes[self.slot(0, usize::from(metric), false)].value().ln()
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

/// The mean; 1 of nothing.
fn mean(values: &[EValue]) -> EValue {
    if values.is_empty() {
        return EValue::ONE;
    }
    match EValue::weighted(values.iter().map(|value| (1.0, *value))) {
        EValue::Plain(sum) => EValue::Plain(sum / count(values.len())),
        EValue::Ln(ln) => EValue::Ln(ln - libm::log(count(values.len()))),
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
