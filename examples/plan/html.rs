//! The plan as a page that stands alone.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use unattended::batching::Tradeoff;
use unattended_examples_support::count;

use crate::Planned;
use crate::json::control;
use crate::scatter::{Scale, hours, name, short};
use crate::table::{self, Classes, after, counted, moment, several, share};

const SHEET: &str = "
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6577; --line: #d5dae3; --paper: #fff; --card: #f6f7fa;
  --main: #2458c5; --held: #a9b8d6; --good: #1c7c4a; --bad: #b3361c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #363e4c; --paper: #12161d;
  --card: #1a202a; --main: #7fa6ff; --held: #47567a; --good: #62c78f; --bad: #f08a70; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 36px 0 8px }
p { margin: 4px 0 } .soft, figcaption { color: var(--soft) }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 }
.facts div { background: var(--card); border-radius: 8px; padding: 10px 16px; min-width: 150px }
.facts b { display: block; font-size: 20px }
.ok { color: var(--good) } .late { color: var(--bad) }
figure { margin: 0 } .scroll { overflow-x: auto }
svg { display: block; width: 100%; height: auto; min-width: 560px; font: 13px system-ui, sans-serif }
svg text { fill: var(--ink) } svg .soft { fill: var(--soft) } svg .rule { stroke: var(--line) }
svg .bar { fill: var(--main) } svg .last { fill: var(--held) }
svg .front { fill: none; stroke: var(--main); stroke-width: 1.5; stroke-dasharray: 5 4 }
svg .best { fill: var(--main) } svg .beaten { fill: var(--paper); stroke: var(--soft); stroke-width: 2 }
svg .own { fill: none; stroke: var(--ink); stroke-width: 2 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500 } th small { display: block; font-weight: 400 }
ul { margin: 4px 0; padding-left: 20px }
";

const WIDTH: f64 = 1080.0;

pub(crate) fn page(planned: &Planned) -> String {
    let Planned {
        fleet,
        plan,
        forecast,
        proof,
        seed,
        ..
    } = planned;
    let done = forecast
        .finish
        .map_or_else(|| "never".to_owned(), |finish| after(finish.p50_ms - forecast.start_ms));
    let exposed = forecast.exposure.first();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Plan for " (counted(fleet.len(), "target")) }
                style { (PreEscaped(SHEET)) }
            }
            body {
                main {
                    h1 { (several(usize::from(plan.batch_count()), "batch", "batches")) " for " (counted(fleet.len(), "target")) }
                    p class="soft" {
                        (counted(fleet.app_count() as usize, "application")) ", seed " (seed) ", digest " code { (plan.digest()) }
                    }
                    @if let Some((gone, new)) = planned.changed {
                        p { "Every target of the previous plan that is still there keeps its batch; " (count(gone)) " gone, " (count(new)) " new." }
                    }
                    div class="facts" {
                        div { "Proof" b class="ok" { "holds" } span class="soft" { (count(usize::try_from(proof.checks()).unwrap_or(usize::MAX))) " checks" } }
                        div { "First batch" b { (counted(plan.batch(0).size as usize, "target")) } span class="soft" { (percent(plan.batch(0).size, fleet.len())) } }
                        div { "Done after" b { (done) } span class="soft" { "from " (moment(forecast.start_ms)) } }
                        @if let Some(exposed) = exposed {
                            div {
                                "A fault of " (share(exposed.prevalence)) " reaches"
                                b { (short(exposed.targets)) " targets" }
                                span class="soft" { "expected" }
                            }
                        }
                        @if forecast.deadline_ms.is_some() || !forecast.late.is_empty() {
                            div { "Late" b class=[(!forecast.late.is_empty()).then_some("late")] { (counted(forecast.late.len(), "application")) }
                                @if let Some(deadline) = forecast.deadline_ms { span class="soft" { "after " (moment(deadline)) } } }
                        }
                    }
                    h2 { "Batches" }
                    figure { div class="scroll" { (bars(planned)) } figcaption { "Targets of each batch, on a logarithmic scale. The last batch is the holdback, untouched until then." } }
                    div class="scroll" { (batches(planned)) }
                    h2 { "Time against exposure" }
                    figure {
                        div class="scroll" { (pareto(&forecast.tradeoffs)) }
                        figcaption {
                            "Growth from batch to batch: faster is to the left and reaches more targets before a fault that shows at "
                            (share(table::first_prevalence(planned))) " of targets is seen. On the dashed line nothing is better in both."
                        }
                    }
                    h2 { "Proof" }
                    ul { @for line in table::proved(planned) { li { (line.trim()) } } }
                    h2 { "Forecast" }
                    ul { @for line in table::expected(planned) { li { (line) } } }
                }
            }
        }
    }
    .into_string()
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn bars(planned: &Planned) -> Markup {
    let batches: Vec<_> = planned.plan.batches().collect();
    let top = batches.iter().map(|batch| batch.size).max().unwrap_or(1);
    let scale = libm::log(f64::from(top) + 1.0);
    let (height, floor) = (220.0, 190.0);
    let step = WIDTH / batches.len() as f64;
    let bar = (step * 0.72).min(64.0);
    // Beyond some fifty batches numbers would run into each other.
    let every = (batches.len() * 34).div_ceil(1_080).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="Targets of each batch" {
            line class="rule" x1="0" x2=(WIDTH) y1=(floor) y2=(floor) {}
            @for (at, batch) in batches.iter().enumerate() {
                @let tall = (libm::log(f64::from(batch.size) + 1.0) / scale * 160.0).max(1.0);
                @let middle = step * (at as f64 + 0.5);
                rect class=(if at + 1 == batches.len() { "last" } else { "bar" }) x=(px(middle - bar / 2.0)) y=(px(floor - tall)) width=(px(bar)) height=(px(tall)) rx="2" {
                    title { "batch " (batch.index) ": " (counted(batch.size as usize, "target")) }
                }
                @if at % every == 0 {
                    text x=(px(middle)) y=(px(floor - tall - 6.0)) text-anchor="middle" { (count(batch.size as usize)) }
                    text class="soft" x=(px(middle)) y=(px(floor + 18.0)) text-anchor="middle" { (batch.index) }
                }
            }
        }
    }
}

fn batches(planned: &Planned) -> Markup {
    let Planned {
        fleet, plan, forecast, ..
    } = planned;
    let classes = Classes::of(planned);
    html! {
        table {
            thead {
                tr {
                    th { "batch" } th { "targets" } th { "so far" } th { "share" }
                    @for (key, value) in &classes.columns { th { (value) small { (key) } } }
                    th { "control" } th { "judged after" }
                }
            }
            tbody {
                @for (batch, counts) in plan.batches().zip(&classes.counts) {
                    tr {
                        td { (batch.index) } td { (count(batch.size as usize)) } td { (count(batch.cumulative as usize)) }
                        td { (percent(batch.cumulative, fleet.len())) }
                        @for &n in counts { td { (count(n as usize)) } }
                        td { (control(plan, batch.index)) }
                        td {
                            @match forecast.batches[usize::from(batch.index)] {
                                Some(finish) => (after(finish.p50_ms - forecast.start_ms)),
                                None => "never",
                            }
                        }
                    }
                }
            }
        }
        @if classes.left_out > 0 {
            p class="soft" { (several(classes.left_out, "further class is", "further classes are")) " not shown." }
        }
    }
}

fn pareto(points: &[Tradeoff]) -> Markup {
    let (height, left, floor) = (360.0, 70.0, 310.0);
    let (times, exposures) = (
        Scale::of(points.iter().map(hours), 1),
        Scale::of(points.iter().map(|point| point.exposed), 1),
    );
    let x = |point: &Tradeoff| left + 30.0 + times.share(hours(point)) * (WIDTH - left - 210.0);
    let y = |point: &Tradeoff| floor - 40.0 - exposures.share(point.exposed) * (floor - 90.0);
    let mut front: Vec<&Tradeoff> = points.iter().filter(|point| point.best).collect();
    front.sort_by_key(|point| point.time_ms);
    let line: Vec<String> = front
        .iter()
        .map(|point| format!("{},{}", px(x(point)), px(y(point))))
        .collect();
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="Time against exposure for several growths" {
            line class="rule" x1=(left) x2=(WIDTH) y1=(floor) y2=(floor) {}
            line class="rule" x1=(left) x2=(left) y1="10" y2=(floor) {}
            text class="soft" x=(left + 8.0) y="20" { "targets reached" }
            text class="soft" x=(WIDTH) y=(floor + 40.0) text-anchor="end" { "hours, all windows open" }
            @for point in [points.iter().min_by(|a, b| a.exposed.total_cmp(&b.exposed)), points.iter().max_by(|a, b| a.exposed.total_cmp(&b.exposed))].into_iter().flatten() {
                text class="soft" x=(left - 8.0) y=(px(y(point) + 4.0)) text-anchor="end" { (short(point.exposed)) }
            }
            @for point in [points.iter().min_by_key(|point| point.time_ms), points.iter().max_by_key(|point| point.time_ms)].into_iter().flatten() {
                text class="soft" x=(px(x(point))) y=(floor + 20.0) text-anchor="middle" { (short(hours(point))) }
            }
            polyline class="front" points=(line.join(" ")) {}
            @for point in points.iter().rev() {
                @let own = point.growth.is_none();
                circle class=(if own { "own" } else if point.best { "best" } else { "beaten" }) cx=(px(x(point))) cy=(px(y(point))) r=(if own { "11" } else { "6" }) {
                    title { (name(point)) ": " (several(point.batches as usize, "batch", "batches")) ", " (short(hours(point))) " h, " (short(point.exposed)) " targets" }
                }
                @if own {
                    text x=(px(x(point))) y=(px(y(point) + 28.0)) text-anchor="middle" { "this plan" }
                } @else {
                    text x=(px(x(point) + 14.0)) y=(px(y(point) - 8.0)) { (name(point)) ": " (short(hours(point))) " h, " (short(point.exposed)) }
                }
            }
        }
    }
}

/// A coordinate that is always a number.
fn px(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1}")
    } else {
        "0".to_owned()
    }
}

fn percent(part: u32, whole: usize) -> String {
    format!(
        "{:.2} %",
        f64::from(part) * 100.0 / f64::from(u32::try_from(whole).unwrap_or(u32::MAX).max(1))
    )
}
