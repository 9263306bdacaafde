//! When each application is closed, and by what; applications alike share a row.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use unattended::defense::{Guard, Rollback, Span, WindowKind};

use super::fleet::App;

/// The time that is drawn.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) zone: TimeZone,
    /// The beginnings of days after `from`, in the zone.
    pub(crate) days: Vec<i64>,
}

impl Range {
    /// So many days from an instant on; as long as a clock on the wall says. `None` beyond the calendar.
    pub(crate) fn of(from: i64, days: u16, zone: TimeZone) -> Option<Self> {
        // Beyond, the engine itself answers for nothing.
        let calendar = 0..7_258_118_400_000;
        let begin = Timestamp::from_millisecond(from).ok()?.to_zoned(zone.clone());
        let until = begin
            .checked_add(i64::from(days).days())
            .ok()?
            .timestamp()
            .as_millisecond();
        if !calendar.contains(&from) || !calendar.contains(&until) {
            return None;
        }
        let mut starts = Vec::new();
        let mut date = begin.date();
        loop {
            date = date.tomorrow().ok()?;
            let start = date.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond();
            if start >= until {
                break;
            }
            starts.push(start);
        }
        Some(Self {
            from,
            until,
            zone,
            days: starts,
        })
    }

    /// An instant in words, in the zone of the page; with its year where the range has two, and with its offset where the
    /// time comes twice.
    pub(crate) fn shown(&self, ms: i64) -> String {
        let zoned = |ms| Timestamp::from_millisecond(ms).map(|at| at.to_zoned(self.zone.clone()));
        let (Ok(at), Ok(from), Ok(until)) = (zoned(ms), zoned(self.from), zoned(self.until)) else {
            return ms.to_string();
        };
        let form = if from.year() == until.year() {
            "%a %-d %b %H:%M"
        } else {
            "%a %-d %b %Y %H:%M"
        };
        let twice = self.zone.to_ambiguous_timestamp(at.datetime()).is_ambiguous();
        at.strftime(form).to_string()
            + &if twice {
                at.strftime("%:z").to_string()
            } else {
                String::new()
            }
    }
}

/// A rule that closes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reason {
    pack: String,
    id: String,
    pub(crate) kind: WindowKind,
    pub(crate) owner: String,
    pub(crate) text: String,
    rollback: Rollback,
}

impl Reason {
    fn of(span: Span) -> Self {
        Self {
            pack: span.pack,
            id: span.id,
            kind: span.kind,
            owner: span.owner,
            text: span.reason,
            rollback: span.rollback,
        }
    }

    pub(crate) fn rule(&self) -> String {
        format!("{}/{}", self.pack, self.id)
    }

    /// The rule in a line.
    pub(crate) fn line(&self) -> String {
        let what = match self.kind {
            WindowKind::Protected => "protected window",
            WindowKind::Change => "outside change window",
            WindowKind::Freeze => "freeze",
            _ => "closed by",
        };
        let back = match self.rollback {
            Rollback::Allowed => "; a rollback may run",
            Rollback::Forbidden => "",
        };
        format!("{what} {}: {} ({}){back}", self.rule(), self.text, self.owner)
    }
}

/// A span in which the same rules close. Segments of a row do not overlap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// Positions in [`Picture::reasons`], ascending.
    pub(crate) why: Vec<usize>,
}

/// Applications that are closed at the same times for the same reasons.
#[derive(Debug)]
pub(crate) struct Row {
    /// The value of the label that groups.
    pub(crate) group: String,
    /// Positions in the list of applications, by name.
    pub(crate) apps: Vec<usize>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) closed_ms: i64,
}

impl Row {
    pub(crate) fn first_open(&self, range: &Range) -> Option<i64> {
        let mut at = range.from;
        for segment in &self.segments {
            if segment.from > at {
                break;
            }
            at = segment.until;
        }
        (at < range.until).then_some(at)
    }

    /// For how long each reason closes the row.
    pub(crate) fn closed_by(&self) -> BTreeMap<usize, i64> {
        let mut by = BTreeMap::new();
        for segment in &self.segments {
            for reason in &segment.why {
                *by.entry(*reason).or_insert(0) += segment.until - segment.from;
            }
        }
        by
    }
}

/// All rows, those closed longest first.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) reasons: Vec<Reason>,
    pub(crate) rows: Vec<Row>,
}

impl Picture {
    pub(crate) fn of(guard: &Guard, apps: &[App], range: &Range, group: Option<&str>) -> Self {
        let mut known: BTreeMap<Reason, usize> = BTreeMap::new();
        let mut rows: BTreeMap<(String, Vec<Segment>), Vec<usize>> = BTreeMap::new();
        for (position, app) in apps.iter().enumerate() {
            let spans = guard
                .spans(&app.scope, range.from, range.until)
                .into_iter()
                .map(|span| {
                    let (from, until) = (span.from, span.until);
                    let fresh = known.len();
                    (from, until, *known.entry(Reason::of(span)).or_insert(fresh))
                })
                .collect();
            let value = group.map_or_else(String::new, |key| app.value(key));
            rows.entry((value, segments(spans))).or_default().push(position);
        }
        let mut reasons: Vec<(Reason, usize)> = known.into_iter().collect();
        reasons.sort_by_key(|(_, position)| *position);
        let mut rows: Vec<Row> = rows
            .into_iter()
            .map(|((group, segments), apps)| Row {
                group,
                closed_ms: segments.iter().map(|segment| segment.until - segment.from).sum(),
                apps,
                segments,
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.closed_ms, row.apps.len(), std::cmp::Reverse(row.apps.clone()))));
        Self {
            reasons: reasons.into_iter().map(|(reason, _)| reason).collect(),
            rows,
        }
    }
}

/// Spans that may overlap as segments that do not.
fn segments(mut spans: Vec<(i64, i64, usize)>) -> Vec<Segment> {
    spans.sort_unstable();
    let mut edges: Vec<i64> = spans.iter().flat_map(|(from, until, _)| [*from, *until]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut segments: Vec<Segment> = Vec::new();
    let mut open: Vec<(i64, usize)> = Vec::new();
    let mut spans = spans.into_iter().peekable();
    for pair in edges.windows(2) {
        let (from, until) = (pair[0], pair[1]);
        open.retain(|(end, _)| *end > from);
        while let Some((_, end, reason)) = spans.next_if(|span| span.0 <= from) {
            open.push((end, reason));
        }
        if open.is_empty() {
            continue;
        }
        let mut why: Vec<usize> = open.iter().map(|(_, reason)| *reason).collect();
        why.sort_unstable();
        why.dedup();
        match segments.last_mut() {
            Some(last) if last.until == from && last.why == why => last.until = until,
            _ => segments.push(Segment { from, until, why }),
        }
    }
    segments
}
