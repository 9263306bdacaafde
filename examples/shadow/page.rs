//! What was seen, as a page that stands alone: for a browser, without scripts, with nothing to load.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use unattended::{RecordedChange, ShadowReport};

use crate::words::{ours, saved, theirs, time, topic};

const SHEET: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d5dae3; --paper: #fff; --card: #f6f7fa;
  --bad: #c2410c; --bar: #1d3f99 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #363e4c; --paper: #12161d;
  --card: #1a202a; --bad: #f0743d; --bar: #8fb0ff } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1000px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 34px 0 6px }
.soft { color: var(--soft) } .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px }
.card { background: var(--card); border-radius: 8px; padding: 12px 14px; overflow-wrap: anywhere } .card b { display: block }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 6px 12px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
td.n { text-align: right; white-space: nowrap } td:first-child { white-space: nowrap } tr:last-child td { border-bottom: 0 }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif } svg text { fill: var(--soft) }
.curve { fill: none; stroke: var(--bar); stroke-width: 2 } .stop { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 5 4 }
.grid { stroke: var(--line) } svg text.stopped { fill: var(--bad) } figure { margin: 10px 0 } figcaption { color: var(--soft) }
svg.narrow { display: none }
@media (max-width: 640px) {
  svg.narrow { display: block } svg.broad { display: none }
  th, td { padding: 5px 6px }
  .differ tr { display: grid; grid-template-columns: 4.6em 4.6em 1fr 4.6em; border-bottom: 1px solid var(--line) }
  .differ th, .differ td { border-bottom: 0 } .differ th.why { display: none } .differ td.why { grid-column: 1 / -1; padding-top: 0 }
}
";

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const FOOT: f64 = 26.0;
/// A curve is drawn twice, and the style sheet shows the one that fits: text in a drawing that shrinks cannot be read on a phone.
const SIZES: [(&str, f64); 2] = [("broad", 960.0), ("narrow", 350.0)];

pub(crate) fn page(change: &RecordedChange, report: &ShadowReport) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { "In the shadow of " (change.tool) ": " (change.change) }
                link rel="icon" href="data:,";
                style { (PreEscaped(SHEET)) }
            }
            body {
                main {
                    h1 { (change.change) " in the hands of " (change.tool) }
                    p class="soft" {
                        (change.from) " to " (change.to) ". What the autopilot would have said to each step of the other tool, by the "
                        "evidence and the rules of that moment. It touched nothing."
                    }
                    div class="cards" {
                        div class="card" { b { (change.tool) } (theirs(report)) }
                        div class="card" { b { "The autopilot beside it" } (ours(report)) }
                        div class="card" {
                            b { "Together" }
                            (report.agreed) " of " (report.starts) " starts agreed. " (saved(report))
                        }
                    }
                    h2 { "Exposure" }
                    figure {
                        @for (class, width) in SIZES { (curve(report, class, width)) }
                        figcaption { "Targets on the new version, as the other tool had them." }
                    }
                    h2 { "Where the two differ" }
                    @if report.disagreements.is_empty() { p { "Nowhere." } } @else { (table(report)) }
                    h2 { "What would have been decided" }
                    div class="wide" { table {
                        tr { th { "when" } th { "decision" } }
                        @for decision in &report.decisions {
                            tr { td { (time(decision.at_ms)) } td { (decision.text) br; span class="soft" { (decision.code) } } }
                        }
                    } }
                }
            }
        }
    }
    .into_string()
}

fn table(report: &ShadowReport) -> Markup {
    html! {
        div class="wide" { table class="differ" {
            tr { th { "from" } th { "until" } th { "what" } th { "started" } th class="why" { "why" } }
            @for found in &report.disagreements {
                tr {
                    td { (time(found.from_ms)) } td { (time(found.until_ms)) } td { (topic(found.topic)) }
                    td class="n" { (found.starts) } td class="why" { (found.why) }
                }
            }
        } }
    }
}

/// Targets exposed over time, as steps, and where it would have ended.
fn curve(report: &ShadowReport, class: &str, width: f64) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let (end, most) = (report.ended_ms.max(1) as f64, report.most_exposed.max(1) as f64);
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let x = |ms: u64| LEFT + (width - LEFT) * (ms as f64 / end).min(1.0);
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let y = |targets: u64| (HEIGHT - FOOT) * (1.0 - 0.94 * (targets as f64 / most).min(1.0));
    let mut path = format!("M{LEFT:.1} {:.1}", y(0));
    for &(at_ms, exposed) in &report.exposure {
        path.push_str(&format!("H{:.1}V{:.1}", x(at_ms), y(exposed)));
    }
    path.push_str(&format!("H{:.1}", x(report.ended_ms)));
    html! {
        svg class=(class) viewBox=(format!("0 0 {width} {HEIGHT}")) role="img" aria-label="targets exposed over time" {
            line class="grid" x1=(LEFT) x2=(width) y1=(y(0)) y2=(y(0)) {}
            text x=(LEFT - 8.0) y=(y(0)) text-anchor="end" { "0" }
            text x=(LEFT - 8.0) y=(y(report.most_exposed) + 4.0) text-anchor="end" { (report.most_exposed) }
            text x=(LEFT) y=(HEIGHT - 6.0) { "0h" }
            text x=(width) y=(HEIGHT - 6.0) text-anchor="end" { (time(report.ended_ms)) }
            path class="curve" d=(path) {}
            @if let Some(stop) = &report.stop {
                @let at = x(stop.at_ms);
                // On the side of the line where there is room.
                @let (label, anchor) = if at > width * 0.6 { (at - 6.0, "end") } else { (at + 6.0, "start") };
                line class="stop" x1=(at) x2=(at) y1="0" y2=(y(0)) {}
                text class="stopped" x=(label) y="14" text-anchor=(anchor) { "stopped here: " (stop.exposed) }
            }
        }
    }
}
