//! The bars of the page, as SVG written by hand: thousands of them, and each byte counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use unattended::defense::WindowKind;

use super::rows::{Picture, Range, Reason, Row, Segment};

/// So many rows of a group are seen at once; the rest are folded.
pub(crate) const SEEN: usize = 25;
/// So many marks stay quick in a browser. Above, days are drawn of folded rows, and rows that do not fit even so are listed.
const MARKS: usize = 60_000;
/// The height of a row in its own units.
const HEIGHT: u32 = 10;
/// The finest step of a strip that counts applications.
const STEPS: i64 = 400;

/// Text for the inside of an element.
fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            // What a page must not contain at all.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => into.push('\u{fffd}'),
            other => into.push(other),
        }
    }
}

/// A length in words: `14 h`, `1 h 30 min`, `2 d 4 h`.
pub(crate) fn length(ms: i64) -> String {
    let minutes = (ms + 30_000) / 60_000;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let parts: Vec<String> = [(days, "d"), (hours, "h"), (minutes, "min")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .take(2)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    if parts.is_empty() {
        "less than a minute".to_owned()
    } else {
        parts.join(" ")
    }
}

/// Where an instant lies, in the units of every bar: 1/10,000 of the range.
fn x(ms: i64, range: &Range) -> i64 {
    let span = (range.until - range.from).max(1);
    ((ms.clamp(range.from, range.until) - range.from) * 10_000 + span / 2) / span
}

fn begin(into: &mut String, label: &str) {
    let _ = write!(
        into,
        r#"<svg viewBox="0 0 10000 {HEIGHT}" preserveAspectRatio="none" role="img" aria-label=""#
    );
    escape(&label.replace('"', "'"), into);
    into.push_str("\">");
}

fn end(into: &mut String) {
    into.push_str(r##"<use href="#days"/></svg>"##);
}

/// The lines between days, once for the whole page.
pub(crate) fn days(range: &Range) -> String {
    let mut path = String::new();
    // Beyond some weeks lines of days would be all there is.
    let every = range.days.len().div_ceil(62).max(1);
    for day in range.days.iter().step_by(every) {
        let _ = write!(path, "M{} 0v{HEIGHT}", x(*day, range));
    }
    format!(r#"<svg class="defs" aria-hidden="true"><path id="days" class="day" d="{path}"/></svg>"#)
}

/// How strict a row looks where several rules close it.
fn class(why: &[usize], reasons: &[Reason]) -> &'static str {
    let kinds = || why.iter().map(|reason| reasons[*reason].kind);
    if kinds().any(|kind| kind == WindowKind::Freeze) {
        "f"
    } else if kinds().any(|kind| kind == WindowKind::Change) && kinds().all(|kind| kind == WindowKind::Change) {
        "c"
    } else {
        "p"
    }
}

fn mark(into: &mut String, class: &str, from: i64, until: i64, range: &Range, title: &str) {
    let (left, right) = (x(from, range), x(until, range));
    // What is shorter than a unit is still there.
    let width = (right - left).max(1);
    let _ = write!(
        into,
        r#"<path class="{class}" d="M{left} 0h{width}v{HEIGHT}H{left}z"><title>"#
    );
    escape(title, into);
    into.push_str("</title></path>");
}

fn why(reasons: &[usize], picture: &Picture) -> String {
    reasons
        .iter()
        .map(|reason| format!("\n{}", picture.reasons[*reason].line()))
        .collect()
}

/// A row, span by span.
fn spans(row: &Row, picture: &Picture, range: &Range, into: &mut String) {
    for Segment {
        from,
        until,
        why: reasons,
    } in &row.segments
    {
        let title = format!(
            "closed {} to {} ({}){}",
            range.shown(*from),
            range.shown(*until),
            length(until - from),
            why(reasons, picture)
        );
        mark(into, class(reasons, &picture.reasons), *from, *until, range, &title);
    }
}

/// A row of days that are closed for so long for those reasons; days alike in a run are one mark.
struct Days {
    marks: Vec<(i64, i64, i64, Vec<usize>)>,
}

impl Days {
    fn of(row: &Row, range: &Range) -> Self {
        let mut marks: Vec<(i64, i64, i64, Vec<usize>)> = Vec::new();
        let mut segments = row.segments.iter().peekable();
        let starts = std::iter::once(range.from).chain(range.days.iter().copied());
        let ends = range.days.iter().copied().chain([range.until]);
        for (from, until) in starts.zip(ends) {
            let mut closed = 0;
            let mut why: Vec<usize> = Vec::new();
            while let Some(segment) = segments.peek()
                && segment.from < until
            {
                closed += segment.until.min(until) - segment.from.max(from);
                why.extend(&segment.why);
                if segment.until > until {
                    break;
                }
                segments.next();
            }
            why.sort_unstable();
            why.dedup();
            match marks.last_mut() {
                Some((_, end, before, reasons)) if *end == from && *before == closed && *reasons == why => *end = until,
                _ if closed > 0 => marks.push((from, until, closed, why)),
                _ => {}
            }
        }
        Self { marks }
    }

    fn draw(&self, picture: &Picture, range: &Range, into: &mut String) {
        for (from, until, closed, reasons) in &self.marks {
            let title = format!(
                "{} to {}: closed {} a day{}",
                range.shown(*from),
                range.shown(*until),
                length(*closed),
                why(reasons, picture)
            );
            let depth = match closed * 4 / 86_400_000 {
                0 => " d0",
                1 => " d1",
                2 => " d2",
                _ => "",
            };
            let class = format!("{}{depth}", class(reasons, &picture.reasons));
            mark(into, &class, *from, *until, range, &title);
        }
    }
}

/// What is drawn of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Every span.
    Spans,
    /// Days.
    Days,
    /// Nothing; it is named.
    Name,
}

/// How fine each row is drawn: all span by span if that fits; else those of each group that are seen at once, and of the
/// others days, as far as they fit.
pub(crate) fn details(picture: &Picture, range: &Range) -> Vec<Detail> {
    let spans: usize = picture.rows.iter().map(|row| row.segments.len()).sum();
    // Spans of less than two pixels of a large screen show nothing that days do not.
    let fine = range.days.len() <= 70;
    if fine && spans <= MARKS {
        return vec![Detail::Spans; picture.rows.len()];
    }
    let mut marks = 0;
    let mut fits = |more: usize| {
        let fits = marks + more <= MARKS;
        marks += if fits { more } else { 0 };
        fits
    };
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    let mut details = vec![Detail::Name; picture.rows.len()];
    for (row, detail) in picture.rows.iter().zip(&mut details) {
        let place = groups.entry(&row.group).or_default();
        *place += 1;
        if fine && *place <= SEEN && fits(row.segments.len()) {
            *detail = Detail::Spans;
        }
    }
    for (row, detail) in picture.rows.iter().zip(&mut details) {
        if *detail == Detail::Name && fits(Days::of(row, range).marks.len()) {
            *detail = Detail::Days;
        }
    }
    details
}

/// The bar of one row.
pub(crate) fn row(row: &Row, detail: Detail, picture: &Picture, range: &Range) -> String {
    let mut svg = String::new();
    let share = row.closed_ms.max(0) * 100 / (range.until - range.from).max(1);
    begin(&mut svg, &format!("closed {share} % of the time"));
    match detail {
        Detail::Spans => spans(row, picture, range, &mut svg),
        Detail::Days => Days::of(row, range).draw(picture, range, &mut svg),
        Detail::Name => {}
    }
    end(&mut svg);
    svg
}

/// A strip that counts: the higher, the more applications are open.
pub(crate) fn strip(open: &[(i64, usize)], all: usize, range: &Range) -> String {
    let mut svg = String::new();
    begin(&mut svg, "how many applications are open");
    for (from, until, least) in coarse(open, range) {
        let share = least as u64 * 1_000 / (all.max(1) as u64);
        let (left, right) = (x(from, range), x(until, range));
        let (whole, part) = (share / 100, share % 100);
        let class = if least == all { "all" } else { "some" };
        let _ = write!(
            svg,
            r#"<g class="{class}"><path class="hit" d="M{left} 0H{right}v{HEIGHT}H{left}z"/><path d="M{left} {HEIGHT}V{}.{:02}H{right}V{HEIGHT}z"/><title>"#,
            if part == 0 { 10 - whole } else { 9 - whole },
            if part == 0 { 0 } else { 100 - part },
        );
        let title = format!("{} to {}: {least} of {all} open", range.shown(from), range.shown(until));
        escape(&title, &mut svg);
        svg.push_str("</title></g>");
    }
    end(&mut svg);
    svg
}

/// Steps as they are if there are few, else the least of each of so many equal parts.
fn coarse(open: &[(i64, usize)], range: &Range) -> Vec<(i64, i64, usize)> {
    let end = |at: usize| open.get(at + 1).map_or(range.until, |next| next.0);
    let steps = open
        .iter()
        .enumerate()
        .map(|(at, (from, count))| (*from, end(at), *count));
    if open.len() <= usize::try_from(STEPS).unwrap_or(0) {
        return steps.collect();
    }
    let edge = |n: i64| range.from + (range.until - range.from) / STEPS * n;
    let mut parts: Vec<(i64, i64, usize)> = Vec::new();
    let mut at = 0;
    for n in 0..STEPS {
        let (from, until) = (edge(n), if n + 1 == STEPS { range.until } else { edge(n + 1) });
        while end(at) <= from && at + 1 < open.len() {
            at += 1;
        }
        let least = open[at..]
            .iter()
            .take_while(|(begin, _)| *begin < until)
            .map(|(_, count)| *count)
            .min()
            .unwrap_or(0);
        match parts.last_mut() {
            Some(last) if last.2 == least => last.1 = until,
            _ => parts.push((from, until, least)),
        }
    }
    parts
}
