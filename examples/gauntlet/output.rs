//! What the program says at the end.

use std::io::Write;

use serde_json::{Map, Value, json};
use unattended_examples_support::Failure;

use crate::bars::{Bar, Unit, bars, dominates, equal_steps_hours};
use crate::measures::{Measures, Rate};
use crate::options::{Options, Policy};
use crate::trial::Trial;

/// The version of the shape of the JSON object.
pub(crate) const SCHEMA: u32 = 1;

/// One policy's results.
pub(crate) struct Standing {
    pub(crate) policy: Policy,
    pub(crate) measures: Measures,
    pub(crate) bars: Vec<Bar>,
    pub(crate) dominates: bool,
}

/// All policies' results, in the order in which they were asked for.
pub(crate) fn standings(all: &[(Policy, Vec<Trial>)], names: &[&str]) -> Vec<Standing> {
    let mut standings: Vec<Standing> = all
        .iter()
        .map(|(policy, trials)| {
            let measures = Measures::of(trials, names);
            Standing {
                policy: *policy,
                bars: bars(&measures, Measures::first_share(trials)),
                measures,
                dominates: false,
            }
        })
        .collect();
    let ours = standings
        .iter()
        .find(|s| s.policy == Policy::Ours)
        .map(|s| s.measures.clone());
    if let Some(ours) = ours {
        for standing in standings.iter_mut().filter(|s| s.policy != Policy::Ours) {
            standing.dominates = dominates(&standing.measures, &ours);
        }
    }
    standings
}

/// Ours misses no bar by more than chance explains, and nobody is as good.
pub(crate) fn holds(standings: &[Standing]) -> bool {
    standings.iter().all(|standing| {
        !standing.dominates && (standing.policy != Policy::Ours || !standing.bars.iter().any(|bar| bar.missed))
    })
}

/// How long equal steps would take, were they as small as it takes to expose as few as ours.
pub(crate) fn at_equal_exposure(standings: &[Standing]) -> Option<f64> {
    let ours = standings.iter().find(|standing| standing.policy == Policy::Ours)?;
    ours.measures.exposed_median_share.map(equal_steps_hours)
}

/// How many releases every policy rolled out: with `--only` fewer than the options say.
pub(crate) fn releases(standings: &[Standing]) -> u32 {
    standings.first().map_or(0, |standing| standing.measures.releases)
}

fn object(standing: &Standing) -> Map<String, Value> {
    let m = &standing.measures;
    let value = json!({
        "recall": m.recall.value(),
        "recall_interval": m.recall.interval(),
        "recall_by_person": m.by_person.count,
        "stopped_before_onset": m.before_onset,
        "precision": m.precision.value(),
        "precision_interval": m.precision.interval(),
        "false_stop_rate": m.false_stops.value(),
        "false_stop_interval": m.false_stops.interval(),
        "exposed_median": m.exposed_median,
        "exposed_median_share": m.exposed_median_share,
        "exposed_p95_share": m.exposed_p95_share,
        "first_step": m.first_step,
        "unattended_share": m.unattended.value(),
        "unattended_interval": m.unattended.interval(),
        "good_with_debt_share": m.with_debt.value(),
        "good_hours_median": m.good_hours_median,
        "human_actions": m.human_actions,
        "wrong_scope_rate": m.wrong_scope.value(),
        "wrong_scope_interval": m.wrong_scope.interval(),
        "harm": m.harm,
        "harm_median": m.harm_median,
        "undetectable": m.undetectable,
        "releases": m.releases,
        "bars": standing.bars,
        "by_family": m.by_family,
    });
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The last line of standard output with `--json`.
pub(crate) fn json(
    options: &Options,
    scenario: &str,
    standings: &[Standing],
    wall_seconds: f64,
) -> Result<String, Failure> {
    let head = json!({
        "schema": SCHEMA,
        "scenario": scenario,
        "seed": options.seed,
        "synthetic": options.synthetic,
        "wall_seconds": wall_seconds,
        "holds": holds(standings),
    });
    let Value::Object(mut whole) = head else {
        return Err(Failure::Internal("an object is no object".to_owned()));
    };
    if let [standing] = standings {
        whole.insert("policy".to_owned(), standing.policy.name().into());
        whole.extend(object(standing));
    } else {
        let policies = standings.iter().map(|standing| {
            let mut fields = object(standing);
            fields.insert("as_good_as_ours".to_owned(), standing.dominates.into());
            fields.insert("schema".to_owned(), SCHEMA.into());
            (standing.policy.name().to_owned(), Value::Object(fields))
        });
        whole.insert("releases".to_owned(), releases(standings).into());
        whole.insert(
            "fixed_hours_at_equal_exposure".to_owned(),
            at_equal_exposure(standings).into(),
        );
        whole.insert("policies".to_owned(), Value::Object(policies.collect()));
    }
    let mut line = serde_json::to_string(&Value::Object(whole)).map_err(Failure::internal)?;
    line.push('\n');
    Ok(line)
}

/// `99.8 %`, or a dash.
pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| match value * 100.0 {
            value if value >= 10.0 => format!("{value:.1} %"),
            value if value >= 0.1 => format!("{value:.2} %"),
            value => format!("{value:.3} %"),
        },
    )
}

/// A value of a bar or its limit, in the bar's unit: `99.8 %`, `40.6 h`, or a dash.
pub(crate) fn measured(unit: Unit, value: Option<f64>) -> String {
    match (unit, value) {
        (Unit::Hours, Some(hours)) => format!("{} h", number(Some(hours))),
        (Unit::Share, _) | (_, None) => percent(value),
    }
}

/// `98.7 % (96.2 % to 99.7 %)`.
pub(crate) fn rate(rate: Rate) -> String {
    let [low, high] = rate.interval();
    format!(
        "{} ({} to {})",
        percent(rate.value()),
        percent(Some(low)),
        percent(Some(high))
    )
}

pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".to_owned(),
        |value| match value {
            value if value >= 1e6 => format!("{:.1} M", value / 1e6),
            value if value >= 1e3 => format!("{:.1} k", value / 1e3),
            value => format!("{value:.1}"),
        },
    )
}

/// For people.
pub(crate) fn text(options: &Options, scenario: &str, standings: &[Standing], wall_seconds: f64) -> String {
    let mut out = format!(
        "{} releases of {}, scenario `{scenario}`, seed {}\n\n",
        releases(standings),
        options.synthetic,
        options.seed
    );
    let header = [
        "policy",
        "recall (95 %)",
        "by a person",
        "precision",
        "false stops (95 %)",
        "exposed, median",
        "p95",
        "good, hours",
        "no hands",
        "harm in 14 days",
    ];
    let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    for Standing {
        policy, measures: m, ..
    } in standings
    {
        rows.push(vec![
            policy.name().to_owned(),
            rate(m.recall),
            format!("{} of {}", m.by_person.count, m.by_person.of),
            percent(m.precision.value()),
            rate(m.false_stops),
            percent(m.exposed_median_share),
            percent(m.exposed_p95_share),
            number(m.good_hours_median),
            percent(m.unattended.value()),
            number(Some(m.harm)),
        ]);
    }
    out.push_str(&aligned(&rows));
    if let Some(hours) = at_equal_exposure(standings) {
        out.push_str(&format!(
            "\nfixed steps, as small as ours at the stop: {} hours\n",
            number(Some(hours))
        ));
    }
    for standing in standings {
        let m = &standing.measures;
        out.push_str(&format!(
            "\n{}: {} of {} bad releases are undetectable by the scenario; {} catches by a person, {} before anything had gone wrong; wrong scope named: {}; {} human actions\n",
            standing.policy.name(),
            m.undetectable,
            m.recall.of + m.undetectable,
            m.by_person.count,
            m.before_onset,
            rate(m.wrong_scope),
            m.human_actions,
        ));
        if m.with_debt.count > 0 {
            out.push_str(&format!(
                "  good releases that left targets behind for their owners to look at: {}\n",
                rate(m.with_debt)
            ));
        }
        let mut rows: Vec<Vec<String>> = vec![
            [
                "family",
                "releases",
                "detectable",
                "caught",
                "stopped",
                "exposed, median",
                "most",
                "hours",
                "hands",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for (name, part) in &m.by_family {
            rows.push(vec![
                name.clone(),
                part.releases.to_string(),
                part.detectable.to_string(),
                part.caught.to_string(),
                part.stopped.to_string(),
                percent(part.exposed_median_share),
                percent(part.exposed_max_share),
                number(part.hours_median),
                part.human_actions.to_string(),
            ]);
        }
        out.push_str(&aligned(&rows));
        if standing.policy == Policy::Ours {
            for bar in &standing.bars {
                let word = match (bar.met, bar.missed) {
                    (true, _) => "met",
                    (false, true) => "MISSED",
                    (false, false) => "below, within chance",
                };
                out.push_str(&format!(
                    "  {}: {} (bar {}): {word}\n",
                    bar.name,
                    measured(bar.unit, bar.value),
                    measured(bar.unit, Some(bar.limit))
                ));
            }
        }
        if standing.dominates {
            out.push_str("  at least as good as ours on recall, false stops and median exposure\n");
        }
    }
    out.push_str(&format!("\n{wall_seconds:.1} s\n"));
    out
}

/// Columns as wide as they must be; the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padded = if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
            out.push_str(&padded);
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// Somebody who closed the pipe has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    Failure::of_stdout(std::io::stdout().lock().write_all(text.as_bytes()))
}
