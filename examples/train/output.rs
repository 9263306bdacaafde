//! What the program says at the end.

use std::io::Write;

use serde_json::json;
use unattended::train::{Lane, ReleaseView};
use unattended_examples_support::Failure;

use crate::quarter::{Quarter, SOAK_HOURS};

/// The version of the shape of the JSON object.
pub(crate) const SCHEMA: u32 = 1;

/// The last line of standard output with `--json`.
pub(crate) fn json(quarter: &Quarter) -> Result<String, Failure> {
    let measures = &quarter.summary.measures;
    let whole = json!({
        "schema": SCHEMA,
        "nightlies": quarter.nightlies().count(),
        "bad_nightlies": quarter.nightlies().filter(|release| quarter.truth(&release.version).0).count(),
        "bad_reached_production": quarter.bad_reached_production(),
        "releases": measures.releases,
        "lead_time_hours_median": measures.lead_time_hours_median,
        "human_actions": measures.human_actions,
        "deployment_frequency_per_week": measures.deployment_frequency_per_week,
        "change_failure_rate": measures.change_failure_rate,
    });
    let mut line = serde_json::to_string(&whole).map_err(Failure::internal)?;
    line.push('\n');
    Ok(line)
}

/// For people.
pub(crate) fn text(quarter: &Quarter) -> String {
    let measures = &quarter.summary.measures;
    let mut out = format!("seed {}, level {}\n\n", quarter.seed, quarter.level);
    let releases = quarter.summary.lines.iter().flat_map(|line| line.releases.iter());
    for release in releases {
        let family = quarter
            .truths
            .get(&release.version)
            .map_or("", |truth| truth.family.as_str());
        let word = match quarter.truth(&release.version) {
            (true, true) => "bad",
            (true, false) => "bad, undetectable",
            _ => "good",
        };
        let lane = if release.lane == Lane::Hotfix { " hotfix" } else { "" };
        let why = release.stage.why().map_or_else(String::new, |why| format!(": {why}"));
        out.push_str(&format!(
            "{}{lane} ({word}: {family}) {}{}{why}\n",
            release.version,
            release.stage.as_str(),
            hours(release)
        ));
    }
    let figure = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.2}"));
    let bad = quarter
        .nightlies()
        .filter(|release| quarter.truth(&release.version).0)
        .count();
    out.push_str(&format!(
        "\nnightlies: {}, bad: {bad}; of these reached production: {} that could be found, {} that could not\n",
        quarter.nightlies().count(),
        quarter.bad_reached_production(),
        quarter.undetectable_reached_production(),
    ));
    out.push_str(&format!(
        "lead time: {} h (promised: one cadence and one soak, {:.0} h)\nreleases: {}, {} a week\nchange failure rate: {}\n\
         time to restore: {} h\nwithout a hand: {}\nhuman actions: {}\ncontroller killed: {}\n",
        figure(measures.lead_time_hours_median),
        quarter.cadence_hours + SOAK_HOURS,
        measures.releases,
        figure(measures.deployment_frequency_per_week),
        figure(measures.change_failure_rate),
        figure(measures.time_to_restore_hours_median),
        figure(measures.unattended_share),
        measures.human_actions,
        quarter.kills,
    ));
    out.push_str(&format!("told to people: {} times\n", quarter.told.len()));
    for broken in quarter.broken() {
        out.push_str(&format!("BROKEN: {broken}\n"));
    }
    out
}

/// How long it was on its way to each place that it came to.
fn hours(release: &ReleaseView) -> String {
    let mut since = release.built_unix_ms;
    let stages = [
        ("canary fleet", release.soaking_unix_ms),
        ("qualified", release.qualified_unix_ms),
        ("production", release.production_unix_ms),
    ];
    let mut told = Vec::new();
    for (name, at_unix_ms) in stages {
        let Some(at_unix_ms) = at_unix_ms else { break };
        let minutes = (at_unix_ms - since) / 60_000;
        told.push(format!("{name} +{}:{:02}", minutes / 60, minutes % 60));
        since = at_unix_ms;
    }
    if told.is_empty() {
        String::new()
    } else {
        format!(" [{}]", told.join(", "))
    }
}

/// Somebody who closed the pipe has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    Failure::of_stdout(std::io::stdout().lock().write_all(text.as_bytes()))
}
