//! Evidence against its limits over time, as a page that stands alone.

use std::fmt::Write as _;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::answer::Answer;
use crate::trial::{Seen, Trial};

const SHEET: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d5dae3; --paper: #fff; --card: #f6f7fa;
  --main: #2458c5; --good: #1c7c4a; --bad: #b3361c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #363e4c; --paper: #12161d;
  --card: #1a202a; --main: #7fa6ff; --good: #62c78f; --bad: #f08a70; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 36px 0 4px }
p { margin: 4px 0 } .soft, figcaption { color: var(--soft) } pre { white-space: pre-wrap; font: inherit }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 }
.facts div { background: var(--card); border-radius: 8px; padding: 10px 16px; min-width: 150px }
.facts b { display: block; font-size: 20px }
.good { color: var(--good) } .bad { color: var(--bad) }
figure { margin: 0 } .scroll { overflow-x: auto }
svg { display: block; width: 100%; height: auto; min-width: 560px; font: 13px system-ui, sans-serif }
svg text { fill: var(--ink) } svg .soft { fill: var(--soft) } svg .rule { stroke: var(--line) }
svg .batch { stroke: var(--line); stroke-dasharray: 2 4 }
svg path { fill: none; stroke-width: 2; stroke-linejoin: round }
svg .harm { stroke: var(--bad) } svg .safe { stroke: var(--good) } svg .one { stroke: var(--main); stroke-width: 1.2; opacity: .7 }
svg .control { stroke: var(--soft) } svg .limit { stroke-dasharray: 7 4; stroke-width: 1.5 }
svg circle { fill: var(--main) } svg circle.safe { fill: var(--good); stroke: none } svg circle.harm { fill: var(--bad); stroke: none }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500 } th:first-child, td:first-child { text-align: left }
";

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 16.0;
/// More points than this are not told apart on the page.
const MOST_POINTS: usize = 2_000;

pub(crate) fn page(trial: &Trial<'_>, answer: &Answer) -> String {
    let config = trial.judge.config();
    let tone = match answer.verdict {
        "Rollback" | "Reject" => "bad",
        "Promote" => "good",
        _ => "soft",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (answer.verdict) ": evidence over " (trial.looks.len()) " intervals" }
                style { (PreEscaped(SHEET)) }
            }
            body {
                main {
                    h1 class=(tone) { (answer.verdict) }
                    p { (answer.reason) }
                    div class="facts" {
                        div { "Score" b { (format!("{:.0}", answer.score)) } span class="soft" { "0 bad, 50 unknown, 100 good" } }
                        div { "Harm, ln Ē" b { (format!("{:.2}", answer.ln_e)) } span class="soft" { (format!("stops at {:.2}", -config.alpha.ln())) } }
                        div { "Safety, ln S" b { (format!("{:.2}", answer.ln_s)) } span class="soft" { (format!("goes on at {:.2}", -config.beta.ln())) } }
                        div { "Intervals" b { (trial.looks.len()) } span class="soft" { (trial.history) " before the canary" } }
                        @if let Some(needed) = answer.needed_requests.filter(|needed| *needed > 0) {
                            div { "Still needed" b { (needed) } span class="soft" { "canary requests, if it is good" } }
                        }
                    }
                    @if trial.looks.is_empty() {
                        p { "No row has canary traffic, so there is no evidence to show." }
                    } @else {
                        (evidence(trial))
                        (rates(trial))
                    }
                    (metrics(answer))
                    @if !answer.hosts.is_empty() {
                        h2 { "Bad nodes" }
                        p { "To be rolled back alone: " (answer.hosts.join(", ")) }
                    }
                    @if !trial.looks.is_empty() {
                        h2 { "Why" }
                        pre { (trial.judge.explain().to_string()) }
                    }
                }
            }
        }
    }
    .into_string()
}

fn metrics(answer: &Answer) -> Markup {
    html! {
        h2 { "Metrics" }
        div class="scroll" {
            table {
                tr { th { "metric" } th { "class" } th { "ln M*" } th { "ln S" } th { "φ" } }
                @for metric in &answer.metrics {
                    tr {
                        td { (metric.name) } td { (metric.class) }
                        td { (format!("{:.3}", metric.ln_m)) } td { (format!("{:.3}", metric.ln_s)) } td { (format!("{:.3}", metric.phi)) }
                    }
                }
            }
        }
    }
}

/// A line of a chart: its points are one per look, `None` where there is nothing.
struct Line<'a> {
    class: &'a str,
    label: String,
    values: Vec<Option<f64>>,
}

fn evidence(trial: &Trial<'_>) -> Markup {
    let config = trial.judge.config();
    let of = |value: &dyn Fn(&Seen) -> f64| trial.looks.iter().map(|look| Some(value(look))).collect::<Vec<_>>();
    let constant = |value: f64| vec![Some(value); trial.looks.len()];
    let mut lines: Vec<Line<'_>> = Vec::new();
    if trial.table.metrics.len() > 1 {
        for (at, (name, _)) in trial.table.metrics.iter().enumerate().take(12) {
            let values = of(&|look| look.ln_m[at]);
            lines.push(Line {
                class: "one",
                label: name.clone(),
                values,
            });
        }
    }
    let mut add = |class, label: &str, values| {
        lines.push(Line {
            class,
            label: label.to_owned(),
            values,
        });
    };
    add("harm limit", "stops: ln 1/α", constant(-config.alpha.ln()));
    add("safe limit", "goes on: ln 1/β", constant(-config.beta.ln()));
    add("safe", "safety, ln S", of(&|look| look.ln_s));
    add("harm", "harm, ln Ē", of(&|look| look.ln_e));
    // Far below zero nothing is to be seen: the limits and what comes near them are.
    let (floor, ceiling) = (-6.0, 3.0 - config.alpha.ln());
    html! {
        h2 { "Evidence" }
        p class="soft" { "One unit is a factor of e. Red above its dashed line, ever: the change goes back. Green above its own: the next batch may start. Evidence of safety begins anew with every batch." }
        (chart(trial, &lines, floor, ceiling.max(most(&lines).min(60.0)), 340.0, |value| format!("{value:.0}")))
    }
}

fn rates(trial: &Trial<'_>) -> Markup {
    html! {
        @for (at, (name, class)) in trial.table.metrics.iter().enumerate().take(12) {
            h2 { (name) " " span class="soft" { (class.as_str()) } }
            ({
                let rate = |bad: u64, total: u64| (total > 0).then(|| float(bad) / float(total) * 100.0);
                let values = |side: &dyn Fn(&Seen) -> (u64, u64)| -> Vec<Option<f64>> {
                    trial.looks.iter().map(|look| { let (bad, total) = side(look); rate(bad, total) }).collect()
                };
                let lines = [
                    Line { class: "control", label: "control".to_owned(), values: values(&|look| (look.counts[at].1.bad, look.counts[at].1.total)) },
                    Line { class: "one", label: "canary".to_owned(), values: values(&|look| (look.counts[at].0.bad, look.counts[at].0.total)) },
                ];
                let top = most(&lines).max(1e-9) * 1.08;
                chart(trial, &lines, 0.0, top, 180.0, |value| format!("{value:.3} %"))
            })
        }
    }
}

fn most(lines: &[Line<'_>]) -> f64 {
    lines
        .iter()
        .flat_map(|line| line.values.iter().flatten())
        .copied()
        .fold(0.0, f64::max)
}

fn chart(
    trial: &Trial<'_>,
    lines: &[Line<'_>],
    floor: f64,
    ceiling: f64,
    height: f64,
    tick: impl Fn(f64) -> String,
) -> Markup {
    let looks = &trial.looks;
    let bottom = height - 28.0;
    let last = float_len(looks.len().saturating_sub(1).max(1));
    let x = |at: usize| LEFT + (WIDTH - LEFT - RIGHT) * float_len(at) / last;
    let y = |value: f64| bottom - (bottom - TOP) * ((value.clamp(floor, ceiling) - floor) / (ceiling - floor));
    let every = looks.len().div_ceil(MOST_POINTS).max(1);
    let path = |values: &[Option<f64>]| {
        let (mut path, mut pen) = (String::new(), 'M');
        for (at, value) in values
            .iter()
            .enumerate()
            .filter(|(at, _)| at % every == 0 || at + 1 == looks.len())
        {
            match value {
                Some(value) => {
                    let _ = write!(path, "{pen}{:.1} {:.1}", x(at), y(*value));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        path
    };
    let labels = spread(lines, &y, bottom);
    let ticks = (0..=4_u32).map(|step| floor + (ceiling - floor) * f64::from(step) / 4.0);
    html! {
        figure class="scroll" {
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
                @for value in ticks {
                    line class="rule" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(format!("{:.1}", y(value))) y2=(format!("{:.1}", y(value))) {}
                    text class="soft" x=(LEFT - 8.0) y=(format!("{:.1}", y(value) + 4.0)) text-anchor="end" { (tick(value)) }
                }
                @for (at, look) in looks.iter().enumerate().filter(|(_, look)| look.begins).take(200) {
                    line class="batch" x1=(format!("{:.1}", x(at))) x2=(format!("{:.1}", x(at))) y1=(TOP) y2=(bottom) {}
                    @if at == 0 || looks.iter().filter(|look| look.begins).count() <= 20 {
                        text class="soft" x=(format!("{:.1}", x(at) + 4.0)) y=(bottom + 18.0) { "batch " (look.batch) }
                    }
                }
                @if let Some(look) = looks.last() {
                    text class="soft" x=(WIDTH - RIGHT) y=(bottom + 18.0) text-anchor="end" { "interval " (look.index) }
                }
                @for line in lines {
                    path class=(line.class) d=(path(&line.values)) {}
                    // One look is no line.
                    @if let ([Some(value)], false) = (line.values.as_slice(), line.class.contains("limit")) {
                        circle class=(line.class) cx=(format!("{:.1}", x(0))) cy=(format!("{:.1}", y(*value))) r="4" {}
                    }
                }
                @for (line, at) in lines.iter().zip(labels) {
                    text x=(WIDTH - RIGHT + 8.0) y=(format!("{:.1}", at + 4.0)) { (line.label) }
                }
            }
        }
    }
}

/// Where the labels of the lines go: beside their ends, and none over another.
fn spread(lines: &[Line<'_>], y: &impl Fn(f64) -> f64, bottom: f64) -> Vec<f64> {
    const APART: f64 = 15.0;
    let ends: Vec<f64> = lines
        .iter()
        .map(|line| {
            line.values
                .iter()
                .rev()
                .flatten()
                .next()
                .map_or(bottom, |value| y(*value))
        })
        .collect();
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|a, b| ends[*a].total_cmp(&ends[*b]));
    let mut places = ends;
    let mut free = TOP;
    for at in &order {
        places[*at] = places[*at].max(free);
        free = places[*at] + APART;
    }
    let mut limit = bottom;
    for at in order.iter().rev() {
        places[*at] = places[*at].min(limit);
        limit = places[*at] - APART;
    }
    places
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
const fn float_len(length: usize) -> f64 {
    length as f64
}
