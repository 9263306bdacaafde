//! The judgement, for programs and for people.

use std::fmt::Write as _;

use serde::Serialize;
use unattended::health::Verdict;
use unattended_examples_support::Exit;

use crate::SCHEMA;
use crate::trial::{Trial, narrow};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// `Reject`, `Rollback`, `Hold`, `Promote` or `Continue`.
    pub(crate) verdict: &'static str,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// 0 (bad) to 100 (good).
    pub(crate) score: f64,
    /// ln M* of the largest metric.
    pub(crate) ln_m: f64,
    /// ln Ē, the stop statistic.
    pub(crate) ln_e: f64,
    /// ln S of the metric and stratum in which it is smallest.
    pub(crate) ln_s: f64,
    /// Dispersion of the largest metric.
    pub(crate) phi: f64,
    /// Canary requests still needed to show safety; `null` where nobody can tell.
    pub(crate) needed_requests: Option<u64>,
    pub(crate) metrics: Vec<Metric>,
    /// Hosts to be rolled back alone: bad nodes, not a bad release.
    pub(crate) hosts: Vec<String>,
    pub(crate) schema: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) class: &'static str,
    pub(crate) ln_m: f64,
    pub(crate) ln_s: f64,
    pub(crate) phi: f64,
}

impl Answer {
    pub(crate) fn exit(&self) -> Exit {
        match self.verdict {
            "Rollback" | "Reject" => Exit::Stopped,
            _ => Exit::Completed,
        }
    }
}

pub(crate) fn answer(trial: &Trial<'_>) -> Answer {
    let judge = &trial.judge;
    let verdict = match judge.verdict() {
        Verdict::Reject => "Reject",
        Verdict::Rollback => "Rollback",
        Verdict::Hold(_) => "Hold",
        Verdict::Promote => "Promote",
        Verdict::Continue => "Continue",
    };
    let safety = judge.pooled_safety();
    let metrics: Vec<Metric> = trial
        .table
        .metrics
        .iter()
        .zip(&safety.per_metric)
        .enumerate()
        .map(|(at, ((name, class), safety))| Metric {
            name: name.clone(),
            class: class.as_str(),
            ln_m: judge.metric_ln_m(narrow(at)),
            ln_s: safety.ln_s,
            phi: judge.dispersion(narrow(at)).unwrap_or(1.0),
        })
        .collect();
    let largest = metrics.iter().max_by(|a, b| a.ln_m.total_cmp(&b.ln_m));
    Answer {
        verdict,
        reason: if trial.looks.is_empty() {
            "no row has canary traffic, so there is nothing to judge".to_owned()
        } else {
            judge.explain().headline()
        },
        score: judge.score(),
        ln_m: largest.map_or(0.0, |metric| metric.ln_m),
        ln_e: judge.ln_e(),
        ln_s: trial.ln_s(),
        phi: largest.map_or(1.0, |metric| metric.phi),
        needed_requests: judge.needed_requests(),
        hosts: judge
            .host_events()
            .iter()
            .map(|event| trial.hosts.name(event.host).to_owned())
            .collect(),
        metrics,
        schema: SCHEMA,
    }
}

pub(crate) fn text(trial: &Trial<'_>, answer: &Answer) -> String {
    let mut out = format!("{} · score {:.0}\n{}\n\n", answer.verdict, answer.score, answer.reason);
    if !trial.looks.is_empty() {
        let _ = writeln!(out, "{}\n", trial.judge.explain());
    }
    let _ = writeln!(
        out,
        "{:<20} {:>14} {:>9} {:>9} {:>7}",
        "metric", "class", "ln M*", "ln S", "φ"
    );
    for metric in &answer.metrics {
        let _ = writeln!(
            out,
            "{:<20} {:>14} {:>9.3} {:>9.3} {:>7.3}",
            metric.name, metric.class, metric.ln_m, metric.ln_s, metric.phi
        );
    }
    let config = trial.judge.config();
    let _ = writeln!(
        out,
        "\nln Ē {:.3} of ln(1/α) = {:.3} to stop · ln S {:.3} of ln(1/β) = {:.3} to go on",
        answer.ln_e,
        -config.alpha.ln(),
        answer.ln_s,
        -config.beta.ln()
    );
    if let Some(needed) = answer.needed_requests.filter(|needed| *needed > 0) {
        let _ = writeln!(
            out,
            "about {needed} more canary requests would show a good release to be safe"
        );
    }
    for host in &answer.hosts {
        let _ = writeln!(out, "host {host} is to be rolled back alone");
    }
    out
}
