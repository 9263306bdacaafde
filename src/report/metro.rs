//! The nightlies of a line as a metro map: time along the map, stages across it.

use maud::{Markup, html};

use super::format::{Clock, real};
use super::plot::{Size, px};
use crate::train::{Lane, LineView, ReleaseView, Stage};

/// The colours of the lines, by class, and what they mean.
pub(super) const LEGEND: [(&str, &str); 6] = [
    ("arrived", "reached production"),
    ("live", "on its way"),
    ("barred", "stopped"),
    ("expired", "not qualified in time"),
    ("passed", "superseded"),
    ("urgent", "a hotfix, whatever became of it"),
];

/// What the sheet of the reports has not.
pub(super) const SHEET: &str = r"
.metro { --width: 2.2; }
.metro .way { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.metro .trunk { stroke: var(--line); stroke-width: 9; stroke-linecap: round; fill: none; }
.metro .stop { fill: var(--paper); stroke-width: 1.8; }
.metro .bar { stroke-width: 3.4; stroke-linecap: round; fill: none; }
.metro text.stage { fill: var(--ink); font-weight: 620; }
.arrived { --way: var(--good); } .live { --way: var(--calm); } .barred { --way: var(--bad); }
.expired { --way: var(--warn); } .passed { --way: var(--soft); }
.metro g { stroke: var(--way); } .metro g.passed .way { opacity: .55; stroke-width: 1.4; }
.metro g.urgent .way { stroke-dasharray: 1 4; stroke-width: 3.4; }
.metro .end.arrived, .metro g.arrived .end { fill: var(--way); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--soft); margin-top: 6px; }
.legend .key { display: inline-block; width: 16px; height: 4px; border-radius: 2px; background: var(--way); margin-right: 6px; vertical-align: middle; }
.legend .key.urgent { background: none; height: 0; border-radius: 0; border-top: 4px dotted var(--ink); }
";

const STAGES: [&str; 4] = ["built", "canary fleet", "qualified", "production"];

/// Where things are on the map: wide maps run to the right, narrow ones down.
struct Paper {
    size: Size,
    until_ms: f64,
}

impl Paper {
    fn extent(&self) -> (f64, f64) {
        match self.size {
            Size::Wide => (1120.0, 300.0),
            Size::Narrow => (358.0, 1_000.0),
        }
    }

    /// The place of a moment at a stage, from 0.
    fn at(&self, ms: i64, stage: f64) -> (f64, f64) {
        let part = (real(u64::try_from(ms).unwrap_or(0)) / self.until_ms).clamp(0.0, 1.0);
        let (width, height) = self.extent();
        match self.size {
            Size::Wide => (100.0 + part * (width - 124.0), 24.0 + stage * (height - 70.0) / 3.0),
            Size::Narrow => (64.0 + stage * (width - 104.0) / 3.0, 44.0 + part * (height - 66.0)),
        }
    }

    fn point(&self, ms: i64, stage: f64) -> String {
        let (x, y) = self.at(ms, stage);
        format!("{} {}", px(x), px(y))
    }

    /// A short bar along the stages' direction across a line's end.
    fn bar(&self, ms: i64, stage: f64) -> String {
        let (x, y) = self.at(ms, stage);
        match self.size {
            Size::Wide => format!("M{} {}h8", px(x - 4.0), px(y)),
            Size::Narrow => format!("M{} {}v8", px(x), px(y - 4.0)),
        }
    }
}

/// The class of a release's line.
fn class(release: &ReleaseView) -> &'static str {
    match release.stage {
        Stage::Barred { .. } => "barred",
        Stage::InProduction | Stage::Replaced => "arrived",
        Stage::Expired { .. } => "expired",
        Stage::Superseded { .. } => "passed",
        _ => "live",
    }
}

pub(super) fn map(line: &LineView, size: Size, clock: &Clock, elapsed_ms: u64) -> Markup {
    let paper = Paper {
        size,
        until_ms: real(elapsed_ms.max(60_000)),
    };
    let (width, height) = paper.extent();
    let end_ms = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
    let (most, id) = match size {
        Size::Wide => (12, "metro-wide"),
        Size::Narrow => (14, "metro-narrow"),
    };
    let (marks, whole_days) = clock.ticks(0, elapsed_ms, most);
    html! {
        svg class={"chart metro " (size.class())} viewBox={"0 0 " (px(width)) " " (px(height))} role="img"
            aria-labelledby={(id) "-" (line.id)} {
            title id={(id) "-" (line.id)} {
                "Releases of line " (line.id) " over time: which reached the canary fleet, qualified, and reached production"
            }
            @for at_ms in marks {
                @let at = i64::try_from(at_ms).unwrap_or(0);
                @let (x, y) = paper.at(at, 0.0);
                path.grid d={"M" (paper.point(at, 0.0)) "L" (paper.point(at, 3.0))} {}
                @if size == Size::Wide {
                    text x=(px(x)) y=(px(height - 14.0)) text-anchor="middle" { (clock.tick(at_ms, whole_days).0) }
                } @else {
                    text x="0" y=(px(y)) dy="4" { (clock.tick(at_ms, whole_days).0) }
                }
            }
            @for (number, name) in (0_u8..).zip(STAGES) {
                @let stage = f64::from(number);
                @let (x, y) = paper.at(0, stage);
                path.axis[number < 3].trunk[number == 3] d={"M" (paper.point(0, stage)) "L" (paper.point(end_ms, stage))} {}
                @if size == Size::Wide {
                    text.stage x="0" y=(px(y)) dy="4" { (name) }
                } @else {
                    text.stage x=(px(x)) y={(if number % 2 == 0 { "14" } else { "30" })} text-anchor="middle" { (name) }
                }
            }
            @for release in &line.releases { (way(release, &paper, clock)) }
        }
    }
}

fn way(release: &ReleaseView, paper: &Paper, clock: &Clock) -> Markup {
    let since = |unix_ms: i64| unix_ms - clock.unix_ms(0);
    let mut stations = vec![(since(release.built_unix_ms), 0.0)];
    stations.extend(release.soaking_unix_ms.map(|at| (since(at), 1.0)));
    stations.extend(release.qualified_unix_ms.map(|at| (since(at), 2.0)));
    stations.extend(release.production_unix_ms.map(|at| (since(at), 3.0)));
    let last = stations.len() - 1;
    let (reached_ms, reached) = stations[last];
    // Who was stopped on the way to the next stage ends between two.
    let under_way = match reached {
        0.0 => release.tried_canary,
        2.0 => release.tried_production,
        _ => false,
    };
    let left = release.left_unix_ms.map(since).filter(|_| reached < 3.0);
    let end = left.map(|at| {
        (
            at.max(reached_ms),
            if under_way { reached + 0.55 } else { reached + 0.2 },
        )
    });
    let mut d = format!("M{}", paper.point(reached_ms.min(stations[0].0), 0.0));
    for &(at, stage) in stations.iter().skip(1).chain(&end) {
        d.push('L');
        d.push_str(&paper.point(at, stage));
    }
    let why = release.stage.why().map_or_else(String::new, |why| format!(": {why}"));
    let circle = |(at, stage): (i64, f64), radius: &'static str, class: &'static str| {
        let (x, y) = paper.at(at, stage);
        html! { circle.stop.end[class == "end"] cx=(px(x)) cy=(px(y)) r=(radius) {} }
    };
    html! {
        g class={(class(release)) (if release.lane == Lane::Hotfix { " urgent" } else { "" })} {
            title { (release.version) " " (release.stage.as_str()) (why) }
            path.way d=(d) {}
            @for &station in &stations {
                (circle(station, if station.1 >= 3.0 { "5" } else { "2.6" }, if station.1 >= 3.0 { "end" } else { "" }))
            }
            @match (&release.stage, end) {
                (Stage::Barred { .. }, Some((at, stage))) => { path.bar d=(paper.bar(at, stage)) {} }
                (_, Some(end)) => { (circle(end, "2.6", "")) }
                _ => {}
            }
        }
    }
}
