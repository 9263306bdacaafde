//! The pictures over time: how much was exposed, and what the evidence said.

use maud::{Markup, html};

use super::PageOptions;
use super::format::{Clock, count, fraction, percent, real, thousands, weight};
use super::plot::{Plot, Size, both, px};
use super::{lists, words};
use crate::{EvidencePoint, Summary};

/// A fleet whose first exposure is at least this share is drawn on a linear scale.
const LINEAR_FROM: f64 = 0.02;

/// The end of the time axis.
pub(super) fn until(summary: &Summary) -> u64 {
    let curve = summary.exposure_curve.last().map_or(0, |point| point.at_ms);
    let evidence = summary.evidence_curve.last().map_or(0, |point| point.at_ms);
    summary.elapsed_ms.max(curve).max(evidence)
}

/// When the stop statistic first reached its limit.
fn crossing(summary: &Summary) -> Option<u64> {
    let limit = summary.evidence.needed.ln();
    summary
        .evidence_curve
        .iter()
        .find(|point| point.ln_stop >= limit)
        .map(|point| point.at_ms)
}

/// A vertical mark at the moment the limit was reached.
fn crossing_mark(plot: &Plot, at: Option<u64>) -> Markup {
    html! {
        @if let Some(at) = at {
            @let x = plot.x(at);
            @let left = x > plot.width * 0.6;
            path.crossing d={"M" (px(x)) " " (px(plot.top)) "V" (px(plot.floor()))} {}
            text.crossing x=(px(if left { x - 6.0 } else { x + 6.0 })) y=(px(plot.top + 14.0))
                text-anchor=(if left { "end" } else { "start" }) { "limit reached" }
        }
    }
}

/// Exposure over time with its batches, and the table of batches.
pub(super) fn exposure(summary: &Summary, clock: &Clock) -> Markup {
    let fleet = summary.exposure.targets.max(1);
    let least = summary
        .exposure_curve
        .iter()
        .map(|point| point.exposed)
        .filter(|n| *n > 0)
        .min();
    let linear = least.is_none_or(|least| real(least) / real(fleet) >= LINEAR_FROM);
    let most = summary
        .exposure_curve
        .iter()
        .map(|point| point.exposed)
        .max()
        .unwrap_or(0);
    let description = format!(
        "From {} to {}: at most {} of {} exposed, {}; now {}.",
        clock.at(0),
        clock.at(until(summary)),
        count(most, "target", "targets"),
        thousands(summary.exposure.targets),
        percent(most, summary.exposure.targets),
        thousands(summary.exposure.exposed)
    );
    html! {
        section #exposure {
            h2 { "Exposure over time" }
            p.note {
                "Targets on the new version, "
                @if linear { "linear scale" } @else { "logarithmic scale: each step up is ten times more" }
                "; dashed with attempts under way. Batches are shaded in turn, hatched while they start targets, plain while they bake."
            }
            @if summary.exposure_curve.is_empty() {
                p.none { "No exposure has been recorded yet." }
            } @else {
                (both(|size| exposure_drawing(summary, clock, size, linear, least.unwrap_or(1), &description)))
            }
            (lists::batches(summary, clock))
        }
    }
}

fn exposure_drawing(s: &Summary, clock: &Clock, size: Size, linear: bool, least: u64, description: &str) -> Markup {
    let fleet = real(s.exposure.targets.max(1));
    // On the logarithmic scale one mark below the least exposure stands for nothing at all.
    let floor = (real(least) / fleet).log10().floor().max(-9.0) - if real(least) / fleet < 1e-8 { 0.0 } else { 0.3 };
    let scale = |n: f64| {
        if linear {
            n / fleet
        } else {
            (n / fleet).max(1e-12).log10().max(floor)
        }
    };
    let (low, high) = if linear { (0.0, 1.0) } else { (floor, 0.0) };
    let height = if size == Size::Wide { 340.0 } else { 270.0 };
    let plot = Plot::new(size, height, until(s), low, high, clock.city().is_some());
    let shares: Vec<f64> = if linear {
        vec![0.0, 0.25, 0.5, 0.75, 1.0]
    } else {
        std::iter::successors(Some(1.0_f64), |share| Some(share / 10.0))
            .take_while(|share| share.log10() >= floor)
            .collect()
    };
    let inside = html! {
        (batch_shades(s, &plot))
        @for share in &shares {
            @let value = if linear { *share } else { share.log10() };
            (plot.grid(value, &axis_share(*share)))
            @if size == Size::Wide {
                @let targets = format!("{:.0}", share * fleet).parse().unwrap_or(0);
                @if targets > 0 { text x=(px(plot.end() + 8.0)) y=(px(plot.y(value))) dy="4" { (thousands(targets)) } }
            }
        }
        @let exposed = plot.line(s.exposure_curve.iter().map(|p| (p.at_ms, scale(real(p.exposed)))));
        @let flying = plot.line(s.exposure_curve.iter().map(|p| (p.at_ms, scale(real(p.exposed.saturating_add(p.in_flight))))));
        @if let (Some(first), Some(last)) = (s.exposure_curve.first(), s.exposure_curve.last()) {
            polygon.area points={
                (px(plot.x(first.at_ms))) "," (px(plot.floor())) " " (exposed) " "
                (px(plot.x(last.at_ms))) "," (px(plot.floor()))
            } {}
            polyline.flying points=(flying) {}
            polyline.curve points=(exposed) {}
            circle.dot cx=(px(plot.x(last.at_ms))) cy=(px(plot.y(scale(real(last.exposed))))) r="4" {}
        }
        (crossing_mark(&plot, crossing(s)))
    };
    plot.drawing("exposure", "Exposure over time", description, clock, &inside)
}

/// The label of a share on the axis, without needless digits: `0.1 %`, `100 %`.
fn axis_share(share: f64) -> String {
    let digits = format!("{:.9}", share * 100.0);
    format!("{} %", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// The span of each batch: from its start to that of the next, hatched while targets are being started.
fn batch_shades(summary: &Summary, plot: &Plot) -> Markup {
    let mut begun: Vec<(u16, u64, Option<u64>)> = summary
        .batches
        .iter()
        .filter_map(|b| b.began_ms.map(|began| (b.index, began, b.ended_ms)))
        .collect();
    begun.sort_by_key(|(index, _, _)| *index);
    // Lanes open their batches each in their own time: one may begin a later batch before another begins an earlier one.
    // The picture shows the front, which only moves on.
    let mut front = 0;
    for (_, began, _) in &mut begun {
        front = front.max(*began);
        *began = front;
    }
    let mut shades = Vec::with_capacity(begun.len());
    let mut free = f64::MIN;
    for (i, (index, began, ended)) in begun.iter().enumerate() {
        let close = begun.get(i + 1).map_or(plot.until_ms, |(_, next, _)| *next).max(*began);
        let (x, end) = (plot.x(*began), plot.x(close));
        let busy = plot.x(ended.unwrap_or(close).clamp(*began, close));
        let label = batch_label(*index, end - x, plot.size);
        // A label that would touch the one before it, or the edge, is left out: the table below names every batch.
        let label_end = x + 4.0 + real(label.len() as u64) * plot.size.letter();
        let label = (x >= free && label_end <= plot.width).then_some(label);
        if label.is_some() {
            free = label_end + 4.0;
        }
        shades.push((x, busy, end, if i % 2 == 0 { "batch even" } else { "batch odd" }, label));
    }
    let (top, height) = (px(plot.top), px(plot.floor() - plot.top));
    html! {
        @for (x, busy, end, class, label) in &shades {
            rect class=(class) x=(px(*x)) y=(top) width=(px(end - x)) height=(height) {}
            rect x=(px(*x)) y=(top) width=(px(busy - x)) height=(height) fill=(plot.hatch("exposure")) {}
            path.start d={"M" (px(*x)) " " (px(plot.top - 6.0)) "V" (px(plot.floor()))} {}
            @if let Some(label) = label { text.batch x=(px(x + 4.0)) y=(px(plot.top - 8.0)) { (label) } }
        }
    }
}

/// `batch 3`, or `3` where there is no room.
fn batch_label(index: u16, room: f64, size: Size) -> String {
    let long = format!("batch {}", lists::ordinal(index));
    if room >= real(long.len() as u64) * size.letter() + 8.0 {
        long
    } else {
        lists::ordinal(index)
    }
}

/// Both statistics over time, each against its own limit.
pub(super) fn evidence(summary: &Summary, options: &PageOptions, clock: &Clock) -> Markup {
    let stop = Panel {
        id: "stop",
        title: "Against the release",
        limit: summary.evidence.needed,
        verdict: "stop",
        hatched: true,
        of: |point| point.ln_stop,
    };
    let go = Panel {
        id: "go",
        title: "For the release, in the class that has least",
        limit: options.safety_needed,
        verdict: "go on",
        hatched: false,
        of: |point| point.ln_safety,
    };
    let score = summary.evidence.score;
    html! {
        section #evidence {
            h2 { "Evidence" }
            p.note {
                "The weight of what was counted (e-values): 1 says nothing, each step up is ten times more. The first "
                "stops the release at its limit; the second must reach its own before a batch may follow."
            }
            @for panel in [stop, go] {
                h3 { (panel.title) ": " (panel.now(summary)) }
                @if panel.finite(summary) {
                    (both(|size| panel.drawing(summary, clock, size)))
                } @else {
                    p.none { "Nothing has been measured yet, or its limit is not known." }
                }
            }
            dl.pairs {
                dt { "strongest" } dd { (words::strongest(summary)) }
                @if !summary.evidence.detail.is_empty() { dt { "in full" } dd { (summary.evidence.detail) } }
                @if let Some(scope) = &summary.evidence.scope { dt { "explained by" } dd { (scope) } }
                dt { "score" } dd {
                    @if score.is_finite() { (format!("{score:.0}")) " of 100, where 50 knows nothing" } @else { "unknown" }
                }
                dt { "budget left" } dd { (fraction(summary.next.budget_left)) " of the budget for false stops" }
                @if !summary.evidence.borrowed.is_empty() {
                    dt { "borrowed" } dd { (summary.evidence.borrowed.join("; ")) }
                }
            }
        }
    }
}

/// One statistic and its limit.
struct Panel {
    id: &'static str,
    title: &'static str,
    limit: f64,
    verdict: &'static str,
    hatched: bool,
    of: fn(&EvidencePoint) -> f64,
}

impl Panel {
    /// Whether there is anything to draw.
    fn finite(&self, summary: &Summary) -> bool {
        self.limit > 0.0
            && self.limit.is_finite()
            && summary.evidence_curve.iter().any(|point| !(self.of)(point).is_nan())
    }

    fn now(&self, summary: &Summary) -> String {
        summary.evidence_curve.last().map_or_else(
            || "no data".to_owned(),
            |last| {
                format!(
                    "{} of {} needed to {}",
                    weight((self.of)(last).exp()),
                    weight(self.limit),
                    self.verdict
                )
            },
        )
    }

    fn drawing(&self, summary: &Summary, clock: &Clock, size: Size) -> Markup {
        let limit = self.limit.ln();
        let values = || {
            summary
                .evidence_curve
                .iter()
                .map(self.of)
                .filter(|value| value.is_finite())
        };
        let least = values().fold(0.0_f64, f64::min).max(-4.7);
        let most = values().fold(limit, f64::max).min(limit.max(1.0) * 4.0);
        let (low, high) = (least - 0.4, most + 0.15 * (most - least).max(1.0));
        let height = if size == Size::Wide { 230.0 } else { 210.0 };
        let mut plot = Plot::new(size, height, until(summary), low, high, clock.city().is_some());
        plot.top = 8.0;
        let ceiling = plot.y(limit) - plot.top;
        let decades = (high - low) / std::f64::consts::LN_10;
        let step = (decades / if size == Size::Wide { 6.0 } else { 4.0 }).ceil().max(1.0);
        let first = (low / std::f64::consts::LN_10 / step).ceil() * step;
        let marks = std::iter::successors(Some(first), |mark| Some(mark + step))
            .map(|mark| mark * std::f64::consts::LN_10)
            .take_while(|value| *value <= high)
            .filter(|value| (plot.y(*value) - plot.y(limit)).abs() > 15.0)
            .take(16);
        let label = format!("{} needed to {}", weight(self.limit), self.verdict);
        let description = format!(
            "{}: {}. The limit is {}; the highest so far {}.",
            self.title,
            self.now(summary),
            weight(self.limit),
            weight(values().fold(f64::NEG_INFINITY, f64::max).exp())
        );
        let inside = html! {
            rect class={"beyond " (self.id)} x=(px(plot.left)) y=(px(plot.top)) width=(px(plot.end() - plot.left))
                height=(px(ceiling.max(0.0))) {}
            @if self.hatched {
                rect x=(px(plot.left)) y=(px(plot.top)) width=(px(plot.end() - plot.left)) height=(px(ceiling.max(0.0)))
                    fill=(plot.hatch(self.id)) {}
            }
            @for mark in marks { (plot.grid(mark, &Self::mark(mark))) }
            path class={"bound " (self.id)} d={"M" (px(plot.left)) " " (px(plot.y(limit))) "H" (px(plot.end()))} {}
            text.bound x=(px(plot.left - 8.0)) y=(px(plot.y(limit))) dy="4" text-anchor="end" { (Self::mark(limit)) }
            text.bound x=(px(plot.left + 6.0)) y=(px(plot.y(limit) - 6.0)) { (label) }
            polyline.curve points=(plot.line(summary.evidence_curve.iter().map(|point| (point.at_ms, (self.of)(point))))) {}
            @if let Some(last) = summary.evidence_curve.iter().rev().find(|point| !(self.of)(point).is_nan()) {
                circle.dot cx=(px(plot.x(last.at_ms))) cy=(px(plot.y((self.of)(last)))) r="4" {}
            }
            @if self.hatched { (crossing_mark(&plot, crossing(summary))) }
        };
        plot.drawing(self.id, self.title, &description, clock, &inside)
    }

    /// The label of the vertical axis.
    fn mark(ln: f64) -> String {
        let value = ln.exp();
        if value < 0.99 {
            format!("{value:.2}").trim_end_matches('0').to_owned()
        } else if value > 999_999.5 {
            // The words for it would not fit beside the axis.
            let power = (ln / std::f64::consts::LN_10).round();
            format!("1e{power:.0}")
        } else {
            weight(value)
        }
    }
}
