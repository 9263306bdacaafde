//! The rows before our judge, with what it thought after each interval.

use std::collections::BTreeMap;

use unattended::health::{
    Counts, Coverage, FaultClass, FirstFailure, History, HostRows, HostSample, Interval, Judge, JudgeConfig,
    MetricSpec, PlannedSplit, Row, StratumInfo, Topology,
};
use unattended_examples_support::{Failure, nearest};

use crate::fault;
use crate::hosts::Hosts;
use crate::options::Options;
use crate::table::{Counted, Entry, Span, Table};

/// A judge that has seen all rows.
pub(crate) struct Trial<'a> {
    pub(crate) table: &'a Table,
    pub(crate) judge: Judge,
    pub(crate) hosts: Hosts,
    pub(crate) looks: Vec<Seen>,
    /// Intervals before the canary had traffic.
    pub(crate) history: usize,
}

/// The evidence after one interval.
pub(crate) struct Seen {
    pub(crate) index: u64,
    pub(crate) batch: u64,
    /// The first interval of its batch.
    pub(crate) begins: bool,
    pub(crate) ln_e: f64,
    pub(crate) ln_s: f64,
    /// ln M* of each metric.
    pub(crate) ln_m: Vec<f64>,
    /// Canary and control of each metric, over all strata.
    pub(crate) counts: Vec<(Counted, Counted)>,
}

impl<'a> Trial<'a> {
    /// Shows all rows to a judge.
    pub(crate) fn hold(options: &Options, table: &'a Table, failures: Vec<FirstFailure>) -> Result<Self, Failure> {
        let before = table.spans.iter().take_while(|span| !has_canary(span)).count();
        let (past, present) = table.spans.split_at(before);
        let mut hosts = Hosts::default();
        let of_hosts: Vec<u8> = failures.iter().map(|failure| failure.metric).collect();
        let mut rows = failures.into_iter().fold(HostRows::new(), HostRows::first_failure);
        let mut history = Past::new(table.strata.len(), table.metrics.len());
        for span in past {
            if options.per_host {
                let records = hosts.records(span, options.warm_up);
                history
                    .samples
                    .append(&mut rows.learn(&records).map_err(|error| fault::line(span.line, error))?);
            }
            history.add(span);
        }
        let judge = Judge::new(
            config(options, table, &of_hosts)?,
            topology(table),
            &history.entries(options.theta.is_some()),
        )
        .map_err(Failure::input)?;
        let mut trial = Self {
            table,
            judge,
            hosts,
            looks: Vec::new(),
            history: before,
        };
        let mut batch = None;
        let mut plans = BTreeMap::new();
        for (at, span) in present.iter().enumerate() {
            let mut interval = if options.per_host {
                let records = trial.hosts.records(span, options.warm_up);
                let mut interval = rows
                    .interval(span.index, &records)
                    .map_err(|error| fault::line(span.line, error))?;
                (interval.canary_hosts, interval.control_hosts) = trial.hosts.coverage(at, &records);
                interval
            } else {
                paired(span)
            };
            let begins = batch != Some(span.batch);
            if begins {
                batch = Some(span.batch);
                trial.step();
                plans.clear();
            }
            interval.splits = planned(span, &mut plans);
            trial
                .judge
                .observe(&interval)
                .map_err(|error| fault::line(span.line, format!("interval {}: {error}", span.index)))?;
            trial.note(span, begins);
        }
        Ok(trial)
    }

    /// A batch opens: more traffic, new hosts, so evidence of safety is gathered anew.
    fn step(&mut self) {
        self.judge.step_traffic();
        self.judge.restart_pooled_safety();
        for class in classes(self.table) {
            self.judge.restart_safety(class);
        }
    }

    fn note(&mut self, span: &Span, begins: bool) {
        let metrics = self.table.metrics.len();
        let mut counts = vec![(Counted::default(), Counted::default()); metrics];
        for (&(_, metric), entry) in &span.entries {
            let (canary, control) = &mut counts[metric];
            for (sum, one) in [(canary, entry.canary), (control, entry.control)] {
                sum.bad = sum.bad.saturating_add(one.bad);
                sum.total = sum.total.saturating_add(one.total);
            }
        }
        self.looks.push(Seen {
            index: span.index,
            batch: span.batch,
            begins,
            ln_e: self.judge.ln_e(),
            ln_s: self.ln_s(),
            ln_m: (0..metrics)
                .map(|metric| self.judge.metric_ln_m(narrow(metric)))
                .collect(),
            counts,
        });
    }

    /// ln S of all strata together or of the stratum in which it is smallest, of those with canary traffic.
    pub(crate) fn ln_s(&self) -> f64 {
        let classes = classes(self.table).map(|class| self.judge.safety(class));
        classes
            .filter(|safety| safety.requests_seen > 0)
            .map(|safety| safety.ln_s)
            .fold(self.judge.pooled_safety().ln_s, f64::min)
    }
}

fn classes(table: &Table) -> impl Iterator<Item = u32> + use<> {
    0..u32::try_from(table.strata.len()).unwrap_or(u32::MAX)
}

/// The number of a metric, of which there are at most 256.
pub(crate) fn narrow(metric: usize) -> u8 {
    u8::try_from(metric).unwrap_or(u8::MAX)
}

fn has_canary(span: &Span) -> bool {
    let has = |entry: &Entry| entry.canary.total > 0 || entry.expected.is_some_and(|expected| expected > 0);
    span.entries.values().any(has)
}

/// Each stratum is a class of its own, all together are one application.
fn topology(table: &Table) -> Topology {
    let strata = classes(table).map(|class| StratumInfo {
        app: 0,
        classes: vec![class],
    });
    Topology {
        strata: strata.collect(),
        classes: table.strata.clone(),
        apps: vec!["all".to_owned()],
    }
}

/// `of_hosts`: metrics that count hosts.
fn config(options: &Options, table: &Table, of_hosts: &[u8]) -> Result<JudgeConfig, Failure> {
    let names = || table.metrics.iter().map(|(name, _)| name.as_str());
    let mut weights: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, weight) in &options.weights {
        if !names().any(|known| known == name) {
            let fix = nearest(name, names()).map_or_else(
                || format!("the rows have {}", names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::Input(format!(
                "--weights: no row is of the metric `{name}`: {fix}"
            )));
        }
        if weights.insert(name, *weight).is_some() {
            return Err(Failure::Input(format!(
                "--weights: `{name}` is given twice: leave one out"
            )));
        }
    }
    if let Some(name) = names().find(|name| !weights.is_empty() && !weights.contains_key(name)) {
        return Err(Failure::Input(format!(
            "--weights: `{name}` has none: give every metric of the rows a weight, or none"
        )));
    }
    let own = table.metrics.iter().any(|(_, class)| *class == FaultClass::Own);
    let metrics = table.metrics.iter().enumerate().map(|(at, (name, class))| {
        let hosts = of_hosts.contains(&narrow(at));
        let usual = || if hosts { HOSTS_WEIGHT } else { usual_weight(*class) };
        let weight = weights.get(name.as_str()).copied().unwrap_or_else(usual);
        let metric = MetricSpec::new(name.clone(), *class, weight);
        let metric = metric.floor(options.theta.unwrap_or(LEAST_THETA));
        // Others' faults may hide behind their own causes: going on waits for the change's own metrics only.
        // So may hosts, which fail too rarely to show anything by not failing.
        if hosts {
            metric.of_hosts().optional()
        } else if own && *class != FaultClass::Own {
            metric.optional()
        } else {
            metric
        }
    });
    let mut config = JudgeConfig::new(metrics.collect());
    (config.alpha, config.beta, config.delta) = (options.alpha, options.beta, options.delta);
    if let Some(phi) = options.phi {
        (config.dispersion_default, config.dispersion_after) = (phi, u64::MAX);
    }
    let ages = table
        .spans
        .iter()
        .flat_map(|span| span.entries.values())
        .flat_map(|entry| &entry.hosts);
    if !ages.clone().any(|host| host.age_s.is_some()) {
        // Nothing tells fresh hosts apart, so nothing is put aside for them.
        config.fresh_share = 0.0;
    }
    Ok(config)
}

/// θ where neither history nor the command line gives one.
const LEAST_THETA: f64 = 1e-5;

/// Share of a metric of hosts.
const HOSTS_WEIGHT: f64 = 0.15;

const fn usual_weight(class: FaultClass) -> f64 {
    match class {
        FaultClass::Own => 0.35,
        FaultClass::Ambiguous => 0.10,
        // Meant to be: shown, and next to nothing in the statistic.
        FaultClass::Policy => 1e-6,
        _ => 0.05,
    }
}

const fn counts(counted: Counted) -> Counts {
    Counts::new(counted.bad, counted.total)
}

/// Rows that are counted over hosts already.
fn paired(span: &Span) -> Interval {
    let mut interval = Interval {
        index: span.index,
        ..Interval::default()
    };
    let (mut canary, mut expected, mut control) = (0_u64, 0_u64, 0_u64);
    for (&(stratum, metric), entry) in &span.entries {
        // More than was sent is no matter of what is missing: the split tells.
        let sent = entry.expected.unwrap_or(0).max(entry.canary.total);
        canary = canary.saturating_add(entry.canary.total);
        expected = expected.saturating_add(sent);
        control = control.saturating_add(entry.control.total);
        interval.rows.push(Row {
            stratum: u32::try_from(stratum).unwrap_or(u32::MAX),
            metric: narrow(metric),
            fresh: false,
            level: 0,
            canary: counts(entry.canary),
            control: counts(entry.control),
            missing: sent - entry.canary.total,
        });
    }
    interval.canary_hosts = reported(canary, expected);
    interval.control_hosts = reported(control, control);
    interval
}

/// How the balancer has divided the traffic of each stratum since its batch began, where it says so: the sums grow with what
/// the judge compares them with. Of several metrics the first with a number counts.
fn planned(span: &Span, sums: &mut BTreeMap<usize, (u128, u128)>) -> Vec<PlannedSplit> {
    let mut splits: Vec<PlannedSplit> = Vec::new();
    for (&(stratum, _), entry) in &span.entries {
        let number = u32::try_from(stratum).unwrap_or(u32::MAX);
        let Some(expected) = entry.expected else { continue };
        if splits.last().is_some_and(|split| split.stratum == number) {
            continue;
        }
        let (canary, control) = sums.entry(stratum).or_default();
        *canary += u128::from(expected);
        *control += u128::from(entry.control.total);
        let (canary, control) = parts(*canary, *control);
        if canary > 0 && control > 0 {
            splits.push(PlannedSplit {
                stratum: number,
                canary,
                control,
            });
        }
    }
    splits
}

/// Two sums as parts of a split, to nine digits.
fn parts(canary: u128, control: u128) -> (u32, u32) {
    const WHOLE: u128 = 1 << 31;
    let part = |sum: u128| u32::try_from(sum * WHOLE / (canary + control).max(1)).unwrap_or(u32::MAX);
    (part(canary), part(control))
}

/// Requests as coverage, in thousandths; an arm without any is silent.
fn reported(requests: u64, expected: u64) -> Coverage {
    const WHOLE: u32 = 1_000;
    let share = u128::from(requests) * u128::from(WHOLE) / u128::from(expected.max(1));
    Coverage {
        reported: u32::try_from(share).unwrap_or(WHOLE).min(WHOLE),
        expected: WHOLE,
    }
}

/// What was before the canary had traffic.
struct Past {
    metrics: usize,
    /// Per stratum and metric.
    counts: Vec<Counts>,
    samples: Vec<HostSample>,
}

impl Past {
    fn new(strata: usize, metrics: usize) -> Self {
        Self {
            metrics,
            counts: vec![Counts::default(); strata * metrics],
            samples: Vec::new(),
        }
    }

    fn add(&mut self, span: &Span) {
        for (&(stratum, metric), entry) in &span.entries {
            let sum = &mut self.counts[stratum * self.metrics + metric];
            sum.bad = sum.bad.saturating_add(entry.control.bad);
            sum.total = sum.total.saturating_add(entry.control.total);
        }
    }

    /// With a given θ the rates of the past are of no use, the spread of its hosts is.
    fn entries(self, without_rates: bool) -> Vec<History> {
        let metrics = self.metrics;
        let mut entries: Vec<History> = self
            .counts
            .into_iter()
            .enumerate()
            .map(|(at, counts)| History {
                stratum: u32::try_from(at / metrics).unwrap_or(u32::MAX),
                metric: narrow(at % metrics),
                counts: if without_rates { Counts::default() } else { counts },
                samples: Vec::new(),
                signatures: Vec::new(),
            })
            .collect();
        for sample in self.samples {
            let at = usize::try_from(sample.stratum).unwrap_or(0) * metrics + usize::from(sample.metric);
            entries[at].samples.push(sample);
        }
        entries
    }
}
