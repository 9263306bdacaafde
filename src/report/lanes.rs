//! The lanes over time: how many had begun and how many were through, and the way of those that are furthest behind.

use maud::{Markup, html};

use super::curves::until;
use super::format::{Clock, count, real, thousands};
use super::plot::{Plot, Size, both, px};
use crate::{HoldView, LaneView, Summary};

/// How many rows stand open; the others unfold.
const OPEN: usize = 12;
/// The scale that a lane's way is drawn in; the style sheet stretches it.
const WIDE: f64 = 1_000.0;
const HIGH: f64 = 100.0;
/// So much of a row is filled where anybody has begun.
const BEGUN: f64 = 0.1;

pub(super) fn lanes(summary: &Summary, clock: &Clock) -> Markup {
    let all = summary.exposure.applications;
    let last = summary.exposure_curve.last();
    let (begun, through) = last.map_or((0, 0), |point| (point.lanes_begun, point.lanes_through));
    // Summaries of before lanes were kept have none.
    let drawn = summary.exposure_curve.iter().any(|point| point.lanes_begun > 0);
    let others = all.saturating_sub(summary.lanes.len() as u64);
    html! {
        @if !summary.lanes.is_empty() {
            section #lanes {
                h2 { "Lanes over time" }
                p.note {
                    "Of " (count(all, "application", "applications")) ", " (thousands(begun)) " have a target on the new version, and "
                    (thousands(through)) (if through == 1 { " has" } else { " have" }) " nothing more to do."
                    @if drawn { " The line is the first number, and the filled area the second." }
                }
                @if drawn { (both(|size| drawing(summary, clock, size, begun, through))) }
                p.note {
                    "Below, those that have most left to do, then those that came through last: the fuller a row, the more of the application "
                    "runs the new version. The stripe under it is when a window held it."
                }
                @let (open, more) = summary.lanes.split_at(summary.lanes.len().min(OPEN));
                div.gantt { @for lane in open { (row(lane, summary, clock)) } }
                @if !more.is_empty() {
                    details {
                        summary { "the next " (thousands(more.len() as u64)) }
                        div.gantt { @for lane in more { (row(lane, summary, clock)) } }
                    }
                }
                @if others > 0 { p.more { "and " (count(others, "more application", "more applications")) } }
            }
        }
    }
}

fn drawing(s: &Summary, clock: &Clock, size: Size, begun: u64, through: u64) -> Markup {
    let all = s.exposure.applications.max(1);
    let height = if size == Size::Wide { 200.0 } else { 170.0 };
    let mut plot = Plot::new(size, height, until(s), 0.0, real(all), clock.city().is_some());
    plot.top = 8.0;
    let description = format!(
        "From {} to {}: of {}, now {} begun and {} through.",
        clock.at(0),
        clock.at(until(s)),
        count(all, "application", "applications"),
        thousands(begun),
        thousands(through)
    );
    // Of one or two lanes, a half is none.
    let mut marks: Vec<u64> = [0, all / 4, all / 2, all - all / 4, all].to_vec();
    marks.dedup();
    let inside = html! {
        @for mark in &marks { (plot.grid(real(*mark), &thousands(*mark))) }
        @let through = plot.line(s.exposure_curve.iter().map(|point| (point.at_ms, real(point.lanes_through))));
        @let begun = plot.line(s.exposure_curve.iter().map(|point| (point.at_ms, real(point.lanes_begun))));
        @if let (Some(first), Some(last)) = (s.exposure_curve.first(), s.exposure_curve.last()) {
            polygon.through points={
                (px(plot.x(first.at_ms))) "," (px(plot.floor())) " " (through) " "
                (px(plot.x(last.at_ms))) "," (px(plot.floor()))
            } {}
            polyline.curve points=(begun) {}
            circle.dot cx=(px(plot.x(last.at_ms))) cy=(px(plot.y(real(last.lanes_begun)))) r="4" {}
        }
    };
    plot.drawing("lanes", "Applications begun and through", &description, clock, &inside)
}

fn row(lane: &LaneView, summary: &Summary, clock: &Clock) -> Markup {
    let until = until(summary).max(60_000);
    let held = |hold: &&HoldView| hold.lane == lane.lane && hold.from_ms < until;
    let part = |at: u64| 100.0 * real(at.min(until)) / real(until);
    html! {
        div.lane {
            span.name title=(lane.lane) { (lane.lane) }
            span.track.way aria-hidden="true" {
                svg viewBox=(format!("0 0 {WIDE} {HIGH}")) preserveAspectRatio="none" { polygon points=(way(lane, until)) {} }
                @for hold in summary.holds.iter().filter(held) {
                    @let (from, to) = (part(hold.from_ms), part(hold.until_ms.unwrap_or(until).max(hold.from_ms)));
                    i.hold style=(format!("left:{from:.2}%;width:{:.2}%", to - from)) {}
                }
            }
            span.time { (state(lane, clock)) }
        }
    }
}

/// The outline of a lane's way: each number holds until the next.
fn way(lane: &LaneView, until: u64) -> String {
    // Whoever has died since was there.
    let most = lane.course.iter().map(|point| point.exposed).max().unwrap_or(0);
    let whole = real(lane.targets.max(most).max(1));
    let x = |at: u64| px(WIDE * real(at.min(until)) / real(until));
    // The first target of hundreds must be seen to have begun.
    let part = |exposed: u64| {
        if exposed == 0 {
            0.0
        } else {
            BEGUN + (1.0 - BEGUN) * real(exposed) / whole
        }
    };
    let y = |exposed: u64| px(HIGH * (1.0 - part(exposed)));
    let mut points = format!("0,{}", px(HIGH));
    let mut level = y(0);
    for point in &lane.course {
        let (at, next) = (x(point.at_ms), y(point.exposed));
        points.push_str(&format!(" {at},{level} {at},{next}"));
        level = next;
    }
    points.push_str(&format!(" {},{level} {},{}", px(WIDE), px(WIDE), px(HIGH)));
    points
}

/// How far a lane is, in words.
fn state(lane: &LaneView, clock: &Clock) -> String {
    let part = format!("{} of {}", thousands(lane.exposed), thousands(lane.targets));
    match lane.through_ms {
        Some(at) => format!("{part}, through since {}", clock.utc(at)),
        None if lane.exposed == 0 => format!("none of {}", thousands(lane.targets)),
        None => part,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{HOUR, MIN, plain, sample};
    use super::super::{PageOptions, page};
    use super::*;
    use crate::LanePoint;

    fn section(html: &str) -> &str {
        let start = html.split("id=\"lanes\"").nth(1).unwrap();
        start.split("</section>").next().unwrap()
    }

    #[test]
    fn lanes_are_drawn_with_their_way_and_what_held_them() {
        let html = plain(page(&sample(), &PageOptions::new()));
        let text = section(&html);
        for wanted in [
            "Of 412 applications, 38 have a target on the new version, and 11 have nothing more to do.",
            "none of 300",
            "40 of 90",
            "12 of 12, through since",
            "and 409 more applications",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        // Held from the first hour on, of nine.
        assert_eq!(text.matches("class=\"hold\"").count(), 1);
        assert!(text.contains("left:11.11%;width:88.89%"), "{text}");
        // What was kept before lanes were says nothing of them.
        let mut early = sample();
        early.lanes.clear();
        assert!(!page(&early, &PageOptions::new()).contains("id=\"lanes\""));
    }

    #[test]
    fn a_way_is_a_step_at_each_point_and_never_higher_than_its_row() {
        let mut lane = sample().lanes[1].clone();
        assert_eq!((lane.targets, lane.course.len()), (90, 2));
        assert_eq!(
            way(&lane, 9 * HOUR),
            "0,100 111.1,100 111.1,81 444.4,81 444.4,50 1000,50 1000,100"
        );
        // Half of them died, and one point lies beyond the picture.
        lane.targets = 20;
        lane.course.push(LanePoint {
            at_ms: 9 * HOUR + MIN,
            exposed: 20,
        });
        assert_eq!(
            way(&lane, 9 * HOUR),
            "0,100 111.1,100 111.1,69.8 444.4,69.8 444.4,0 1000,0 1000,45 1000,45 1000,100"
        );
    }
}
