//! Who was held, by which window, for how long.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::format::{Clock, count, duration, real, thousands};
use crate::{HoldView, Summary};

/// How many lanes are drawn; the others are counted.
const LANES: usize = 40;

/// How many windows are named; the others are counted.
const WINDOWS: usize = 24;

/// The lanes that one window held.
struct Window<'a> {
    by: &'a str,
    owner: &'a str,
    reason: &'a str,
    lanes: Vec<Lane<'a>>,
    held_ms: u64,
    /// Lanes it held and holds, those beside [`lanes`](Self::lanes) as well.
    all: u64,
    open: u64,
}

/// A lane and its holds by one window.
struct Lane<'a> {
    name: &'a str,
    holds: Vec<&'a HoldView>,
    held_ms: u64,
}

/// How long a hold has lasted so far.
fn held(hold: &HoldView, now: u64) -> u64 {
    hold.until_ms.unwrap_or(now).min(now).saturating_sub(hold.from_ms)
}

/// Whether a hold still holds.
fn is_open(hold: &HoldView, now: u64) -> bool {
    hold.until_ms.is_none_or(|until| until > now)
}

/// Groups holds by window and lane; the windows and lanes that held longest come first.
fn windows(summary: &Summary) -> Vec<Window<'_>> {
    let (holds, now) = (&summary.holds, summary.elapsed_ms);
    let counted = |by: &str, owner: &str| summary.held.iter().find(|held| held.by == by && held.owner == owner);
    type Key<'a> = (&'a str, &'a str);
    let mut groups: BTreeMap<Key<'_>, BTreeMap<&str, Vec<&HoldView>>> = BTreeMap::new();
    for hold in holds {
        groups
            .entry((&hold.by, &hold.owner))
            .or_default()
            .entry(&hold.lane)
            .or_default()
            .push(hold);
    }
    let mut out: Vec<Window<'_>> = groups
        .into_iter()
        .map(|((by, owner), lanes)| {
            let mut lanes: Vec<Lane<'_>> = lanes
                .into_iter()
                .map(|(name, holds)| Lane {
                    name,
                    held_ms: holds.iter().map(|hold| held(hold, now)).sum(),
                    holds,
                })
                .collect();
            lanes.sort_by(|a, b| b.held_ms.cmp(&a.held_ms).then_with(|| a.name.cmp(b.name)));
            let first = lanes.iter().flat_map(|lane| &lane.holds).next();
            Window {
                by,
                owner,
                reason: first.map_or("", |hold| hold.reason.as_str()),
                held_ms: lanes.iter().map(|lane| lane.held_ms).sum(),
                // A summary of an earlier version counts nothing beside what it shows.
                all: counted(by, owner).map_or(0, |held| held.lanes).max(lanes.len() as u64),
                open: counted(by, owner).map_or(0, |held| held.open).max(
                    lanes
                        .iter()
                        .filter(|lane| lane.holds.iter().any(|hold| is_open(hold, now)))
                        .count() as u64,
                ),
                lanes,
            }
        })
        .collect();
    out.sort_by(|a, b| {
        b.held_ms
            .cmp(&a.held_ms)
            .then_with(|| (a.by, a.owner).cmp(&(b.by, b.owner)))
    });
    out
}

/// Shares the drawn lanes fairly: every window gets one before any gets two.
fn shares(windows: &[Window<'_>]) -> Vec<usize> {
    let mut shares = vec![0; windows.len()];
    let mut left = LANES;
    while left > 0 {
        let before = left;
        for (share, window) in shares.iter_mut().zip(windows) {
            if left > 0 && *share < window.lanes.len() {
                *share += 1;
                left -= 1;
            }
        }
        if before == left {
            break;
        }
    }
    shares
}

pub(super) fn holds(summary: &Summary, clock: &Clock) -> Markup {
    let now = summary.elapsed_ms;
    let windows = windows(summary);
    let shown = &windows[..windows.len().min(WINDOWS)];
    let latest = summary.holds.iter().filter_map(|hold| hold.until_ms).max().unwrap_or(0);
    // A freeze that ends next year must not squeeze today into a hairline.
    let until = now.max(latest.min(now.saturating_mul(2))).max(60_000);
    html! {
        section #holds {
            h2 { "Held lanes" }
            @if windows.is_empty() {
                p.none { "No application had to wait for a window." }
            } @else {
                p.note {
                    "Each bar is an application that waited. A hatched bar still waits. "
                    "The axis runs from " (clock.at(0)) " to " (clock.at(until))
                    @if until > now { "; the upright line is now" }
                    "."
                }
                @for (window, share) in shown.iter().zip(shares(shown)) {
                    (group(window, share, now, until, clock))
                }
                @if windows.len() > shown.len() {
                    p.more { "and " (thousands_of(windows.len() - shown.len())) " more windows" }
                }
            }
        }
    }
}

fn thousands_of(n: usize) -> String {
    thousands(u64::try_from(n).unwrap_or(u64::MAX))
}

fn group(window: &Window<'_>, share: usize, now: u64, until: u64, clock: &Clock) -> Markup {
    let drawn = share.min(window.lanes.len());
    let part = |at: u64| 100.0 * real(at.min(until)) / real(until);
    html! {
        div.window {
            h3 { (window.by) }
            p.note {
                (window.reason)
                " Owner: " (if window.owner.is_empty() { "not named" } else { window.owner }) ". "
                (count(window.all, "lane", "lanes")) ", "
                @if window.open == 0 { "none waits any more" } @else { (thousands(window.open)) " still waiting" }
                "."
            }
            div.gantt {
                @for lane in window.lanes.iter().take(share) {
                    div.lane {
                        span.name title=(lane.name) { (lane.name) }
                        span.track aria-hidden="true" {
                            @if until > now { i.now style=(format!("left:{:.2}%", part(now))) {} }
                            @for hold in &lane.holds {
                                @let (from, to) = (part(hold.from_ms), part(hold.until_ms.unwrap_or(now).max(hold.from_ms)));
                                i.hold.open[is_open(hold, now)]
                                    style=(format!("left:{from:.2}%;width:{:.2}%", to - from)) {}
                            }
                        }
                        span.time { (span_text(lane, now, clock)) }
                    }
                }
            }
            @if window.all > drawn as u64 {
                p.more { "and " (thousands(window.all - drawn as u64)) " more lanes" }
            }
        }
    }
}

/// `3 h 20 min`, or until when a lane still waits.
fn span_text(lane: &Lane<'_>, now: u64, clock: &Clock) -> String {
    let last = lane
        .holds
        .iter()
        .filter(|hold| is_open(hold, now))
        .map(|hold| hold.until_ms)
        .max();
    match last {
        None => duration(lane.held_ms),
        Some(None) => format!("{} so far", duration(lane.held_ms)),
        Some(Some(until)) => format!("until {}", clock.at(until)),
    }
}
