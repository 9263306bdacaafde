//! The page of a release train: where it stands, the nightlies as a metro map, what was stopped and why, and the figures.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::format::{Clock, count};
use super::words::Tone;
use super::{metro, plot, style};
use crate::Level;
use crate::train::{LineView, Measures, ReleaseView, Stage, TrainSummary};

/// The page of a train as one HTML file in UTF-8, without scripts and without anything to load: the same summary gives the same
/// bytes.
pub fn train_page(summary: &TrainSummary) -> String {
    let elapsed_ms = u64::try_from(summary.now_unix_ms - summary.began_unix_ms).unwrap_or(0);
    let clock = Clock::new(summary.began_unix_ms, elapsed_ms, None);
    let stopped = summary.lines.iter().any(|line| line.stopped.is_some());
    let asks = summary.lines.iter().any(|line| line.question.is_some());
    let (tone, word) = match (stopped, asks) {
        (true, _) => (Tone::Broken, "stopped"),
        (_, true) => (Tone::Asking, "needs you"),
        _ => (Tone::Running, "on its way"),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { "Release train " (word) }
                link rel="icon" href=(style::icon(tone));
                style { (PreEscaped(style::SHEET)) (PreEscaped(metro::SHEET)) }
            }
            body class=(tone.class()) {
                main {
                    header.top {
                        p.kicker { span.pill { (word) } span.change { "Release train, " (levels(summary)) } }
                        @for line in &summary.lines { h1.long { (headline(line, &clock)) } }
                    }
                    (figures(&summary.measures))
                    @for line in &summary.lines {
                        (standing(line, &clock))
                        (map(line, &clock, elapsed_ms))
                        (stops(line, &clock))
                        (arrivals(line, &clock))
                    }
                }
                footer {
                    p {
                        (summary.owner) " answers for it. Began " (clock.at(0)) ", page of " (clock.at(elapsed_ms)) ", shape "
                        (summary.schema) "."
                    }
                }
            }
        }
    }
    .into_string()
}

/// The levels of its lines, each once.
fn levels(summary: &TrainSummary) -> String {
    let mut levels: Vec<String> = summary.lines.iter().map(|line| line.level.to_string()).collect();
    levels.sort_unstable();
    levels.dedup();
    format!("level {}", levels.join(" and "))
}

fn headline(line: &LineView, clock: &Clock) -> String {
    let act = if let Some(stop) = &line.stopped {
        format!("It stands still: {stop}.")
    } else if let Some(asked) = &line.question {
        format!(
            "Choose a release by {}; recommended: {}.",
            clock.at_unix(asked.by_unix_ms),
            asked.recommended
        )
    } else if line.level < Level::L4 {
        format!(
            "At {} nothing begins but what a person chooses, until one grants a level.",
            line.level
        )
    } else if let Some(held) = &line.held {
        format!("Waiting: {}.", held.trim_end_matches('.'))
    } else {
        format!(
            "Nobody has to do anything. Next slot: {}.",
            clock.at_unix(line.next_slot_unix_ms)
        )
    };
    format!("Line {}: production runs {}. {act}", line.id, line.production)
}

/// Who lets the line act, until when; and what people are told as long as it is so.
fn standing(line: &LineView, clock: &Clock) -> Markup {
    html! {
        section {
            h2 { "Line " (line.id) " now" }
            p {
                "Level " (line.level) ", granted by " (line.granted_by) " until " (clock.at_unix(line.granted_until_unix_ms)) "."
            }
            @if !line.matters.is_empty() {
                ul {
                    @for matter in &line.matters {
                        li {
                            b { (matter.severity) ", " (matter.code) } " since " (clock.at_unix(matter.since_unix_ms)) ": "
                            (matter.text)
                        }
                    }
                }
            }
        }
    }
}

fn figures(measures: &Measures) -> Markup {
    let known = |value: Option<f64>, unit: &str| {
        value.map_or_else(
            || super::format::UNKNOWN.to_owned(),
            |value| format!("{value:.1}{}{unit}", super::format::GLUE),
        )
    };
    let share = |value: Option<f64>| known(value.map(|value| value * 100.0), "%");
    let rows = [
        (
            "Lead time, commit to all of production, median",
            known(measures.lead_time_hours_median, "h"),
        ),
        ("Deployments", known(measures.deployment_frequency_per_week, "a week")),
        ("Change failure rate", share(measures.change_failure_rate)),
        (
            "Time to restore, median",
            known(measures.time_to_restore_hours_median, "h"),
        ),
        ("Releases without a hand", share(measures.unattended_share)),
        ("Human actions", measures.human_actions.to_string()),
    ];
    html! {
        section {
            h2 { "Figures" }
            dl.pairs {
                @for (name, value) in rows { dt { (name) } dd { b { (value) } } }
            }
        }
    }
}

fn map(line: &LineView, clock: &Clock, elapsed_ms: u64) -> Markup {
    html! {
        section {
            h2 { "Nightlies of line " (line.id) }
            p.note {
                "Each release travels from its build over the canary fleet and qualification to production. A bar across its end says \
                 that it was stopped, a ring that a newer one took its place or its time was over."
            }
            (plot::both(|size| metro::map(line, size, clock, elapsed_ms)))
            p.legend {
                @for (class, word) in metro::LEGEND { span { i class={"key " (class)} {} (word) } " " }
            }
        }
    }
}

fn stops(line: &LineView, clock: &Clock) -> Markup {
    let stopped: Vec<&ReleaseView> = line
        .releases
        .iter()
        .rev()
        .filter(|release| matches!(release.stage, Stage::Barred { .. }))
        .collect();
    html! {
        section {
            h2 { "Stopped: " (count(stopped.len() as u64, "release", "releases")) }
            @if stopped.is_empty() { p.none { "None so far." } }
            ol.decisions {
                @for release in stopped {
                    li {
                        details {
                            summary {
                                time { (release.left_unix_ms.map_or_else(String::new, |at_ms| clock.at_unix(at_ms))) }
                                span.said {
                                    (release.version) " was stopped "
                                    @if release.tried_production { "in production" }
                                    @else if release.tried_canary { "on the canary fleet" }
                                    @else { "before it began" }
                                }
                            }
                            p { (release.stage.why().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}

fn arrivals(line: &LineView, clock: &Clock) -> Markup {
    let arrived: Vec<(&ReleaseView, i64)> = line
        .releases
        .iter()
        .rev()
        .filter_map(|release| Some((release, release.production_unix_ms?)))
        .collect();
    html! {
        section {
            h2 { "Brought to production: " (count(arrived.len() as u64, "release", "releases")) }
            @if arrived.is_empty() { p.none { "None so far." } }
            @else {
                div.scroll.stack {
                    table {
                        thead { tr { th { "Release" } th { "Lane" } th { "Built" } th { "In production" } th { "Hands" } } }
                        tbody {
                            @for (release, at_ms) in arrived {
                                tr {
                                    td data-label="Release" { (release.version) }
                                    td data-label="Lane" { (release.lane.as_str()) }
                                    td.when data-label="Built" { (clock.at_unix(release.built_unix_ms)) }
                                    td.when data-label="Arrived" { (clock.at_unix(at_ms)) }
                                    td data-label="Hands" { (release.human_actions) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
