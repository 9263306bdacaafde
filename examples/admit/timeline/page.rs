//! The page: for a browser, without scripts, with nothing to load.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use unattended::defense::Guard;

use super::bars::{self, Detail, SEEN, length};
use super::fleet::{App, Fleet, open};
use super::rows::{Picture, Range, Row};
use super::sheet;

/// So many names stand in a row before the rest is a number.
const NAMES: usize = 400;

/// Of a group the rows that are drawn, and those that are only named.
type Rows<'r> = (Vec<(&'r Row, Detail)>, Vec<&'r Row>);

pub(crate) fn page(
    guard: &Guard,
    apps: &[App],
    picture: &Picture,
    fleet: &Fleet,
    range: &Range,
    group: Option<&str>,
) -> String {
    let details = bars::details(picture, range);
    let mut groups: BTreeMap<&str, Rows<'_>> = BTreeMap::new();
    for (row, detail) in picture.rows.iter().zip(&details) {
        let (bars, named) = groups.entry(&row.group).or_default();
        match detail {
            Detail::Name => named.push(row),
            Detail::Spans | Detail::Days => bars.push((row, *detail)),
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // The group that waits longest comes first, as the rows do.
    groups.sort_by_key(|(name, (bars, named))| {
        let rows = || bars.iter().map(|(row, _)| row).chain(named);
        let apps: usize = rows().map(|row| row.apps.len()).sum();
        let closed: i128 = rows()
            .map(|row| i128::from(row.closed_ms) * row.apps.len() as i128)
            .sum();
        (std::cmp::Reverse(closed / apps.max(1) as i128), *name)
    });
    let several = groups.len() > 1;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { "Who may be touched when: " (fleet.apps) " applications" }
                link rel="icon" href="data:,";
                style { (PreEscaped(sheet::SHEET)) }
            }
            body {
                (PreEscaped(bars::days(range)))
                main {
                    h1 { "Who may be touched when" }
                    p.sub {
                        (fleet.apps) " applications, " (range.shown(range.from)) " to "
                        (range.shown(range.until)) " (" (zone(range)) ")"
                    }
                    (facts(picture, fleet, range))
                    (legend(&details))
                    div.chart {
                        (axis(range))
                        div.row.fleet {
                            div.label { b { "all " (fleet.apps) } " open at once: " (common(fleet)) }
                            (PreEscaped(bars::strip(&fleet.open, fleet.apps, range)))
                        }
                        @for (name, (bars, named)) in &groups {
                            @let rows: Vec<&Row> = bars.iter().map(|(row, _)| row).chain(named).copied().collect();
                            @let count: usize = rows.iter().map(|row| row.apps.len()).sum();
                            details.group open {
                                summary {
                                    div.row.head {
                                        div.label {
                                            b { (title(group, name)) } " · " (count) " applications"
                                            @if rows.len() > 1 { ", " (rows.len()) " rows" }
                                        }
                                        @if several {
                                            (PreEscaped(bars::strip(
                                                &open(rows.iter().map(|row| (&row.segments[..], row.apps.len())), range),
                                                count, range)))
                                        }
                                    }
                                }
                                @let (seen, folded) = bars.split_at(bars.len().min(SEEN));
                                @for (row, detail) in seen { (line(row, *detail, picture, apps, range, group)) }
                                @if !folded.is_empty() {
                                    details.more {
                                        summary { (folded.len()) " more rows, closed less" }
                                        @for (row, detail) in folded { (line(row, *detail, picture, apps, range, group)) }
                                    }
                                }
                                @if !named.is_empty() { (rest(named, apps, range)) }
                            }
                        }
                    }
                }
                footer {
                    p {
                        "Open means that a change may be under way at that moment; to start, a batch and its rollback must "
                        "fit before the next closed span. Packs " code { (guard.digest()) } "."
                    }
                }
            }
        }
    }
    .into_string()
}

fn zone(range: &Range) -> &str {
    range.zone.iana_name().unwrap_or("UTC")
}

fn title(group: Option<&str>, value: &str) -> String {
    match (group, value) {
        (None, _) => "all".to_owned(),
        (Some(key), "") => format!("no {key}"),
        (Some(key), value) => format!("{key} {value}"),
    }
}

fn common(fleet: &Fleet) -> String {
    let total: i64 = fleet.common.iter().map(|(from, until)| until - from).sum();
    if total == 0 { "never".to_owned() } else { length(total) }
}

fn facts(picture: &Picture, fleet: &Fleet, range: &Range) -> Markup {
    let when = |share| {
        fleet.reached(share).map_or_else(
            || "not in this range".to_owned(),
            |at| {
                if at == range.from {
                    "now".to_owned()
                } else {
                    range.shown(at)
                }
            },
        )
    };
    html! {
        dl.facts {
            div { dt { "open now" } dd { b { (fleet.open_now) } " of " (fleet.apps) } }
            div { dt { "half have been open by" } dd { b { (when(0.5)) } } }
            div { dt { "nine of ten by" } dd { b { (when(0.9)) } } }
            div { dt { "every one by" } dd { b { (when(1.0)) } } }
            div { dt { "open of all time" } dd { b { (format!("{:.0} %", fleet.open_share * 100.0)) } } }
            @if fleet.never_open > 0 {
                div.bad { dt { "never open here" } dd { b { (fleet.never_open) } } }
            }
            @if let Some((from, until)) = fleet.common.iter().max_by_key(|(from, until)| until - from) {
                div { dt { "longest slot for all" } dd { b { (length(until - from)) } " from " (range.shown(*from)) } }
            } @else {
                div { dt { "a slot for all" } dd { b { "none" } } }
            }
        }
        @if !fleet.most.is_empty() {
            details.most {
                summary { "Which rules close most" }
                ol {
                    @for most in fleet.most.iter().take(10) {
                        li {
                            (picture.reasons[most.reason].line()) " · " (most.apps) " applications, "
                            (length(most.closed_ms / i64::try_from(most.apps.max(1)).unwrap_or(1))) " each"
                        }
                    }
                }
            }
        }
    }
}

fn legend(details: &[Detail]) -> Markup {
    let hint = match (details.contains(&Detail::Spans), details.contains(&Detail::Days)) {
        (_, false) => "rest the pointer on a bar, or open a row, for the reason",
        (true, true) => {
            "rest the pointer on a bar, or open a row, for the reason; of folded rows one mark a day or more, the darker the longer closed"
        }
        (false, true) => "one mark a day or more, the darker the longer closed; the reason is under the pointer",
    };
    html! {
        p.legend {
            span { i.o {} "open" }
            span { i.p {} "protected" }
            span { i.c {} "outside change windows" }
            span { i.f {} "freeze" }
            span.hint { (hint) }
        }
    }
}

fn axis(range: &Range) -> Markup {
    // About so many labels fit; on a phone every second is hidden.
    let every = range.days.len().div_ceil(15).max(1);
    let span = (range.until - range.from).max(1);
    html! {
        div.row.axis aria-hidden="true" {
            div.label { span { (zone(range)) } span { "closed" } }
            div.ticks {
                @for (number, day) in range.days.iter().step_by(every).enumerate() {
                    @let left = (day - range.from) * 10_000 / span;
                    span.odd[number % 2 == 1] style=(format!("left:{}.{:02}%", left / 100, left % 100)) {
                        (short(*day, range, every))
                    }
                }
            }
        }
    }
}

fn short(ms: i64, range: &Range, every: usize) -> String {
    let form = if every > 6 { "%-d %b" } else { "%a %-d" };
    jiff::Timestamp::from_millisecond(ms).map_or_else(
        |_| String::new(),
        |at| at.to_zoned(range.zone.clone()).strftime(form).to_string(),
    )
}

/// What the applications of a row have in common, so that a row of hundreds has a name.
fn shared(row: &Row, apps: &[App], group: Option<&str>) -> String {
    let first = &apps[row.apps[0]];
    let parts: Vec<String> = first
        .labels
        .iter()
        .filter(|(key, values)| {
            Some(key.as_str()) != group
                && values.len() == 1
                && row.apps.iter().all(|app| apps[*app].labels.get(*key) == Some(*values))
        })
        .map(|(key, values)| format!("{key} {}", values.iter().next().map_or("", String::as_str)))
        .take(3)
        .collect();
    parts.join(", ")
}

fn line(row: &Row, detail: Detail, picture: &Picture, apps: &[App], range: &Range, group: Option<&str>) -> Markup {
    let targets: usize = row.apps.iter().map(|app| apps[*app].targets).sum();
    let whole = range.until - range.from;
    html! {
        div.row {
            details.label {
                summary {
                    span.name {
                        @if let [only] = row.apps[..] {
                            (apps[only].name)
                        } @else {
                            b { (row.apps.len()) } " apps"
                            @let common = shared(row, apps, group);
                            @if !common.is_empty() { " · " (common) }
                        }
                    }
                    span.share { (row.closed_ms * 100 / whole.max(1)) " %" }
                }
                p { (targets) " targets, closed " (length(row.closed_ms)) " of " (length(whole)) }
                ul {
                    @for (reason, ms) in row.closed_by() {
                        li { (picture.reasons[reason].line()) " · " (length(ms)) }
                    }
                }
                @if row.apps.len() > 1 { p.names { (names(&row.apps, apps)) } }
            }
            (PreEscaped(bars::row(row, detail, picture, range)))
        }
    }
}

fn names(of: &[usize], apps: &[App]) -> String {
    let mut text = of
        .iter()
        .take(NAMES)
        .map(|app| apps[*app].name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    if of.len() > NAMES {
        text.push_str(&format!(" and {} more", of.len() - NAMES));
    }
    text
}

/// Rows for which there was no room: a page of all of them would be slow.
fn rest(rows: &[&Row], apps: &[App], range: &Range) -> Markup {
    let count: usize = rows.iter().map(|row| row.apps.len()).sum();
    html! {
        details.more {
            summary {
                (count) " applications are only named, closed at most "
                (length(rows.first().map_or(0, |row| row.closed_ms))) " of " (length(range.until - range.from))
                "; fewer days or a part of the inventory draw them"
            }
            ul { @for row in rows { li { (names(&row.apps, apps)) ": closed " (length(row.closed_ms)) } } }
        }
    }
}

/// The page in a few lines of text.
pub(crate) fn summary(picture: &Picture, fleet: &Fleet, range: &Range, apps: &[App]) -> String {
    let by = |share| {
        fleet
            .reached(share)
            .map_or_else(|| "not in this range".to_owned(), |at| range.shown(at))
    };
    let mut text = format!(
        "{} applications, {} to {} ({})\nopen now: {}; half have been by: {}; nine of ten by: {}; all by: {}\n\
         all open at once: {}; open of all time: {:.0} %",
        apps.len(),
        range.shown(range.from),
        range.shown(range.until),
        zone(range),
        fleet.open_now,
        by(0.5),
        by(0.9),
        by(1.0),
        common(fleet),
        fleet.open_share * 100.0
    );
    if fleet.never_open > 0 {
        text.push_str(&format!("\nnever open here: {}", fleet.never_open));
    }
    for most in fleet.most.iter().take(3) {
        text.push_str(&format!(
            "\ncloses most: {} ({} applications, {} each)",
            picture.reasons[most.reason].line(),
            most.apps,
            length(most.closed_ms / i64::try_from(most.apps.max(1)).unwrap_or(1))
        ));
    }
    text
}
