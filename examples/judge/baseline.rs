//! The judges of others on the same rows.

use std::fmt::Write as _;

use serde::Serialize;
use unattended_examples_support::Exit;
use unattended_examples_support::peers::{Argo, Flagger, Kayenta, Opinion, Pair, Peer, Share, ZTest, classify};

use crate::SCHEMA;
use crate::options::{Baseline, Options};
use crate::table::{Counted, Span, Table};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// `Rollback`, `Hold`, `Promote`.
    pub(crate) verdict: &'static str,
    pub(crate) reason: String,
    /// Kayenta's own; others have none.
    pub(crate) score: Option<f64>,
    /// Interval in which it would have rolled back.
    pub(crate) stopped_at: Option<u64>,
    pub(crate) baseline: &'static str,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) schema: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) class: &'static str,
    /// What Kayenta calls it.
    pub(crate) classification: Option<String>,
    /// Kayenta's interval for the shift, in bad requests of a million.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    pub(crate) estimate: Option<f64>,
}

impl Answer {
    pub(crate) fn exit(&self) -> Exit {
        if self.verdict == "Rollback" {
            Exit::Stopped
        } else {
            Exit::Completed
        }
    }
}

pub(crate) fn answer(options: &Options, name: Baseline, table: &Table) -> Answer {
    let intervals: Vec<Vec<Pair>> = table
        .spans
        .iter()
        .map(|span| pairs(span, table.metrics.len()))
        .collect();
    match name {
        // One judgement over everything: what an analysis of the whole time says.
        Baseline::Kayenta => {
            let mut judge = Kayenta::every(usize::MAX);
            let sum: f64 = options.weights.iter().map(|(_, weight)| weight).sum();
            let weight = |name: &String| options.weights.iter().find(|(known, _)| known == name);
            if sum > 0.0 {
                let weights = table.metrics.iter().map(|(name, _)| weight(name));
                judge.weights = weights
                    .map(|found| found.map_or(0.0, |(_, weight)| 100.0 * weight / sum))
                    .collect();
            }
            let (opinion, stopped_at) = run(&mut judge, &intervals, table, false);
            let metrics = table.metrics.iter().zip(judge.series.iter().zip(judge.labels()));
            let metrics = metrics.map(|((name, class), (series, label))| {
                let shift = classify(&series.experiment, &series.control).shift;
                Metric {
                    low: shift.map(|shift| shift.low),
                    high: shift.map(|shift| shift.high),
                    estimate: shift.map(|shift| shift.estimate),
                    classification: Some(format!("{label:?}")),
                    ..plain(name, class.as_str())
                }
            });
            let metrics: Vec<Metric> = metrics.collect();
            let score = judge.score();
            let reason = format!("score {score}: {} passes, {} is marginal", judge.pass, judge.marginal);
            shaped("kayenta", opinion, reason, Some(score), stopped_at, metrics)
        }
        Baseline::Flagger => {
            let mut judge = Flagger::sample();
            let (opinion, stopped_at) = run(&mut judge, &intervals, table, true);
            let reason = format!(
                "{} checks failed, {} roll back; a check wants at most {} % bad of every metric",
                judge.failed_checks(),
                judge.threshold,
                judge.limit * 100.0
            );
            shaped("flagger", opinion, reason, None, stopped_at, plain_all(table))
        }
        Baseline::Argo => {
            let mut judge = Argo::sample();
            let (opinion, stopped_at) = run(&mut judge, &intervals, table, true);
            let reason = format!(
                "at most {} measurements of one metric failed, more than {} roll back; one wants at most {} % bad",
                judge.failures().iter().max().unwrap_or(&0),
                judge.failure_limit,
                judge.limit * 100.0
            );
            shaped("argo", opinion, reason, None, stopped_at, plain_all(table))
        }
        Baseline::Z => {
            let quantile = quantile(1.0 - options.alpha);
            let mut judge = ZTest::new(quantile);
            let (opinion, stopped_at) = run(&mut judge, &intervals, table, true);
            let reason = format!(
                "z is {:.3} in the end, one look above {quantile:.3} rolls back",
                judge.statistic()
            );
            shaped("z", opinion, reason, None, stopped_at, plain_all(table))
        }
    }
}

/// Shows it everything; `stages` tells it of batches.
fn run(judge: &mut dyn Peer, intervals: &[Vec<Pair>], table: &Table, stages: bool) -> (Opinion, Option<u64>) {
    let mut batch = None;
    for (pairs, span) in intervals.iter().zip(&table.spans) {
        if stages && batch.replace(span.batch).is_some_and(|before| before != span.batch) {
            judge.step();
        }
        if judge.observe(pairs) == Opinion::Rollback {
            return (Opinion::Rollback, Some(span.index));
        }
    }
    let opinion = judge.finish();
    let last = table.spans.last().map(|span| span.index);
    (opinion, last.filter(|_| opinion == Opinion::Rollback))
}

fn pairs(span: &Span, metrics: usize) -> Vec<Pair> {
    let mut pairs = vec![Pair::default(); metrics];
    let add = |share: &mut Share, counted: Counted| {
        share.bad = share.bad.saturating_add(counted.bad);
        share.total = share.total.saturating_add(counted.total);
    };
    for (&(_, metric), entry) in &span.entries {
        add(&mut pairs[metric].canary, entry.canary);
        add(&mut pairs[metric].control, entry.control);
    }
    pairs
}

fn plain(name: &str, class: &'static str) -> Metric {
    Metric {
        name: name.to_owned(),
        class,
        classification: None,
        low: None,
        high: None,
        estimate: None,
    }
}

fn plain_all(table: &Table) -> Vec<Metric> {
    table
        .metrics
        .iter()
        .map(|(name, class)| plain(name, class.as_str()))
        .collect()
}

fn shaped(
    baseline: &'static str,
    opinion: Opinion,
    reason: String,
    score: Option<f64>,
    stopped_at: Option<u64>,
    metrics: Vec<Metric>,
) -> Answer {
    Answer {
        verdict: match opinion {
            Opinion::Continue => "Continue",
            Opinion::Hold => "Hold",
            Opinion::Rollback => "Rollback",
            Opinion::Promote => "Promote",
        },
        reason,
        score,
        stopped_at,
        baseline,
        metrics,
        schema: SCHEMA,
    }
}

/// Φ⁻¹ by bisection.
fn quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-40.0_f64, 40.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if 0.5 * libm::erfc(-middle / core::f64::consts::SQRT_2) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

pub(crate) fn text(answer: &Answer) -> String {
    let mut out = format!("{} says {}\n{}\n", answer.baseline, answer.verdict, answer.reason);
    if let Some(index) = answer.stopped_at {
        let _ = writeln!(out, "it rolls back in interval {index}");
    }
    for metric in &answer.metrics {
        if let Some(label) = &metric.classification {
            let shift = match (metric.low, metric.high, metric.estimate) {
                (Some(low), Some(high), Some(estimate)) => {
                    format!(", shift {estimate:.3} [{low:.3}, {high:.3}] in a million")
                }
                _ => String::new(),
            };
            let _ = writeln!(out, "{}: {label}{shift}", metric.name);
        }
    }
    out
}
