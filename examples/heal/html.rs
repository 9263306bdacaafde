//! The matrix over time, as a page that stands alone.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::options::Options;
use crate::scenes::{PERIOD_MS, PROXIES, SCENES, SERVERS};
use crate::score::{Cell, Frame, Log, Outcome};

const SHEET: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d5dae3; --paper: #fff; --card: #f6f7fa;
  --well: #c9e4d4; --none: #eceff4; --bad: #c2410c; --center: #1d3f99; --own: #7c5cc4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #363e4c; --paper: #12161d;
  --card: #1a202a; --well: #24503a; --none: #222935; --bad: #f0743d; --center: #8fb0ff; --own: #b79cff; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 34px 0 4px }
p { margin: 4px 0 } .soft, figcaption { color: var(--soft) } .wrong { color: var(--bad) }
.frames { display: flex; flex-wrap: wrap; gap: 16px; margin: 10px 0 } figure { margin: 0 }
svg { display: block; font: 11px system-ui, sans-serif } svg text { fill: var(--soft) }
.key { display: flex; flex-wrap: wrap; gap: 18px; margin: 12px 0 } .key svg { display: inline-block; vertical-align: -2px }
.well { fill: var(--well) } .none { fill: var(--none) } .bad { fill: var(--bad) }
.center { fill: none; stroke: var(--center); stroke-width: 2 } .own { fill: none; stroke: var(--own); stroke-width: 2 }
.less { fill: none; stroke: var(--own); stroke-width: 1.4; stroke-dasharray: 2 2 }
.avoid { stroke: var(--center); stroke-width: 1.2 }
";

const SIZE: usize = 10;

pub(crate) fn page(log: &Log, outcomes: &[Outcome], options: &Options) -> String {
    let title = "Who sees whom fail, and what is done about it";
    let mode = if options.on_virtual_time {
        "on virtual time"
    } else {
        "over sockets"
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(SHEET)) }
            }
            body {
                main {
                    h1 { (title) }
                    p class="soft" {
                        (PROXIES) " proxies (rows) call " (SERVERS) " servers (columns), both in three zones by their number; "
                        (options.rps) " requests a second of each proxy, " (mode) ", seed " (options.seed) "."
                    }
                    (key())
                    @for (number, outcome) in outcomes.iter().enumerate() { (scene(log, number, outcome)) }
                }
            }
        }
    }
    .into_string()
}

fn key() -> Markup {
    let sample = |cell: Cell| html! { svg width="14" height="14" { (square(&cell, 0, 0)) } };
    let well = Cell {
        total: 1,
        ..Cell::default()
    };
    html! {
        div class="key" {
            span { (sample(well)) " all calls good" }
            span { (sample(Cell { total: 2, bad: 1, ..Cell::default() })) " half of them bad" }
            span { (sample(Cell { total: 1, bad: 1, ..Cell::default() })) " all bad" }
            span { (sample(Cell::default())) " no calls" }
            span { (sample(Cell { less: true, ..Cell::default() })) " less than its share" }
            span { (sample(Cell { by_itself: true, ..Cell::default() })) " isolated by the proxy itself" }
            span { (sample(Cell { by_center: true, ..Cell::default() })) " isolated by the center" }
            span { (sample(Cell { avoids: true, ..Cell::default() })) " other zones preferred" }
        }
    }
}

fn scene(log: &Log, number: usize, outcome: &Outcome) -> Markup {
    let begin = log.timing.begin_ms(number) / PERIOD_MS;
    let broken = log.timing.broken_ms / PERIOD_MS;
    let after = log.timing.after_ms / PERIOD_MS;
    // Before, while it is found, at the end, and when it is well again.
    let shown = [-1, 0, 1, 2, 4, 8].map(|step: i64| begin.saturating_add_signed(step * stretch(broken)));
    let shown = shown
        .into_iter()
        .chain([begin + broken - 1, begin + broken + after - 1]);
    let ms = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    html! {
        h2 { (SCENES[number].what) }
        @if outcome.right {
            p { "The center said " b { (outcome.expected) } " after " (ms(outcome.found_ms)) "." }
        } @else {
            p class="wrong" { "The center did not say " (outcome.expected) "." }
        }
        p class="soft" {
            @if outcome.eased_ms_worst != outcome.isolated_ms_worst {
                "Half of the proxies gave it less than its share after " (ms(outcome.eased_ms_median)) ", the last after "
                (ms(outcome.eased_ms_worst)) ". "
            }
            @if outcome.isolated_ms_median.is_some() {
                "Half of the proxies had stopped using it after " (ms(outcome.isolated_ms_median)) ", the last after "
                (ms(outcome.isolated_ms_worst)) ". "
            }
            (outcome.lost) " of " (outcome.requests) " requests lost, " (outcome.wrong_isolations) " wrong isolations, "
            (outcome.wrong_weights) " wrong weights."
        }
        div class="frames" {
            @for period in shown {
                @if let Some(frame) = usize::try_from(period).ok().and_then(|period| log.frames.get(period)) {
                    figure {
                        (matrix(frame))
                        figcaption { (caption(period, begin)) }
                    }
                }
            }
        }
    }
}

/// Where scenes are longer, so are the steps between pictures.
fn stretch(broken: u64) -> i64 {
    i64::try_from(broken / 20).unwrap_or(1).max(1)
}

fn caption(period: u64, begin: u64) -> String {
    let (sign, periods) = if period < begin {
        ("-", begin - period)
    } else {
        ("+", period - begin)
    };
    format!(
        "{sign}{:.2} s",
        std::time::Duration::from_millis(periods * PERIOD_MS).as_secs_f64()
    )
}

fn matrix(frame: &Frame) -> Markup {
    html! {
        svg width=(SERVERS * SIZE) height=(PROXIES * SIZE) role="img" aria-label="Proxies by servers" {
            @for (row, cells) in frame.iter().enumerate() {
                @for (column, cell) in cells.iter().enumerate() { (square(cell, column * SIZE, row * SIZE)) }
            }
        }
    }
}

fn square(cell: &Cell, x: usize, y: usize) -> Markup {
    let class = if cell.total == 0 { "none" } else { "well" };
    let share = f64::from(cell.bad) / f64::from(cell.total.max(1));
    html! {
        rect class=(class) x=(x) y=(y) width=(SIZE - 1) height=(SIZE - 1) {}
        @if share > 0.0 {
            rect class="bad" x=(x) y=(y) width=(SIZE - 1) height=(SIZE - 1) opacity=(format!("{share:.2}")) {}
        }
        @if cell.avoids {
            line class="avoid" x1=(x) y1=(y + SIZE - 1) x2=(x + SIZE - 1) y2=(y) {}
        }
        @if cell.less && !cell.by_center && !cell.by_itself {
            rect class="less" x=(x + 1) y=(y + 1) width=(SIZE - 3) height=(SIZE - 3) {}
        }
        @if cell.by_center || cell.by_itself {
            rect class=(if cell.by_center { "center" } else { "own" }) x=(x + 1) y=(y + 1) width=(SIZE - 3) height=(SIZE - 3) {}
        }
    }
}
