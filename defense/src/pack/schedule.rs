//! When a window speaks, out of the tree: weekly, by cron pattern, on dates, each year, on the holidays of a calendar.

use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, Time};

use super::fields::{Fields, Reader};
use super::yaml::{At, Node, Value};
use super::{calendar, scalar};
use crate::suggest::nearest;
use crate::time::{DAY_MS, MINUTE_MS, in_range, local_ms};
use crate::window::{Days, Occurrence, Recurring, When, WindowKind};
use crate::zone::Zone;

/// The longest window that recurs: a week.
const LONGEST_MS: i64 = 7 * DAY_MS;
/// How often a window may begin on a day. Who needs more needs a longer window.
const MOST_STARTS: usize = 48;
/// The years a yearly window is laid out over: all that are answered for.
const YEARS: std::ops::Range<i16> = 1970..2200;

const DAYS: [(&str, u8); 7] = [
    ("mon", 1),
    ("tue", 2),
    ("wed", 4),
    ("thu", 8),
    ("fri", 16),
    ("sat", 32),
    ("sun", 64),
];

const SCHEDULES: [&str; 5] = ["weekly", "cron", "dated", "yearly", "holidays"];

/// The spans of a window, and the names of those that have one.
pub(super) struct Schedule {
    pub(super) when: When,
    pub(super) events: Arc<[(Occurrence, String)]>,
}

impl From<When> for Schedule {
    fn from(when: When) -> Self {
        Self {
            when,
            events: Arc::default(),
        }
    }
}

fn of_day_ms(time: Time) -> i64 {
    (i64::from(time.hour()) * 60 + i64::from(time.minute())) * MINUTE_MS
}

impl Reader<'_> {
    /// Exactly one way to say when.
    pub(super) fn schedule(
        &mut self,
        fields: &Fields<'_>,
        zone: Option<&Arc<Zone>>,
        kind: Option<WindowKind>,
    ) -> Option<Schedule> {
        let named: Vec<_> = SCHEDULES
            .iter()
            .filter_map(|name| fields.get(name).map(|node| (*name, node)))
            .collect();
        let (name, node) = match named.as_slice() {
            [] => {
                self.fault(
                    fields.place(),
                    "a window says not when it is",
                    "add one of: weekly, cron, dated, yearly, holidays; such as \
                     `weekly: {days: [fri], from: \"18:00\", for: 14h}`",
                );
                return None;
            }
            [one] => *one,
            [_, (second, node), ..] => {
                self.fault(
                    node.at,
                    format!("a window is either `{}` or `{second}`, not both", named[0].0),
                    "make two windows of it",
                );
                return None;
            }
        };
        let kind = kind.unwrap_or(WindowKind::Protected);
        match name {
            "weekly" => self.weekly(node, zone),
            "cron" => self.cron(node, zone),
            "dated" => self.dated(node, zone.map(Arc::as_ref), kind).map(When::dates),
            "yearly" => self.yearly(node, zone.map(Arc::as_ref), kind).map(When::dates),
            _ => return self.holidays(node, zone.map(Arc::as_ref), kind),
        }
        .map(Schedule::from)
    }

    fn weekly(&mut self, node: &Node, zone: Option<&Arc<Zone>>) -> Option<When> {
        let fields = self.fields(node, "`weekly`", &["days", "from", "for"])?;
        let days = self
            .require(&fields, "days", "[fri, sat]")
            .and_then(|node| self.days(node));
        let at = self
            .require(&fields, "from", "\"18:00\"")
            .and_then(|node| self.time_of_day(node));
        let duration_ms = self.require(&fields, "for", "14h").and_then(|node| self.length(node));
        Some(When::Recurring(Recurring {
            days: Days::Week(days?),
            times: vec![of_day_ms(at?)],
            hourly: false,
            duration_ms: duration_ms?,
            zone: zone?.clone(),
        }))
    }

    fn cron(&mut self, node: &Node, zone: Option<&Arc<Zone>>) -> Option<When> {
        let fields = self.fields(node, "`cron`", &["at", "for"])?;
        let pattern = self.require(&fields, "at", "\"0 22 * * mon-fri\"");
        let duration_ms = self.require(&fields, "for", "8h").and_then(|node| self.length(node));
        let pattern = pattern?;
        let text = self.text(pattern, "at")?;
        // Who hands the pattern to a parser that is lenient with length gets the bill.
        let cron = if text.len() > 200 {
            Err("it is longer than any pattern needs to be".to_owned())
        } else {
            CronParser::builder()
                .seconds(Seconds::Disallowed)
                .year(Year::Disallowed)
                .build()
                .parse(text)
                .map_err(|error| error.to_string())
        };
        let cron = match cron {
            Ok(cron) => cron,
            Err(error) => {
                self.fault(
                    pattern.at,
                    format!("`at: {text}` is not a cron pattern: {}", error.trim_end_matches('.')),
                    "write minute, hour, day of the month, month and weekday, such as \"0 22 * * mon-fri\"",
                );
                return None;
            }
        };
        let times = starts(&cron);
        if times.len() > MOST_STARTS {
            let count = times.len();
            self.fault(
                pattern.at,
                format!("`at: {text}` begins {count} times a day, more than {MOST_STARTS}"),
                "write fewer, longer windows",
            );
            return None;
        }
        let schedule = Recurring {
            hourly: cron.pattern.hours.from_wildcard,
            days: Days::Cron(Box::new(cron)),
            times,
            duration_ms: duration_ms?,
            zone: zone?.clone(),
        };
        let when = When::Recurring(schedule);
        if when.first_ending_after(0).is_none() {
            self.fault(
                pattern.at,
                format!("`at: {text}` never comes"),
                "check day and month: a 30 February is not in any calendar",
            );
            return None;
        }
        Some(when)
    }

    fn dated(&mut self, node: &Node, zone: Option<&Zone>, kind: WindowKind) -> Option<Vec<Occurrence>> {
        let nodes = self.some_of(
            node,
            "dated",
            "a span, {from: 2026-11-10T00:00, until: 2026-11-12T00:00}",
        )?;
        let spans: Vec<_> = nodes
            .iter()
            .map(|node| {
                let fields = self.fields(node, "`dated`", &["from", "until"])?;
                self.span(&fields, zone, kind)
            })
            .collect();
        spans.into_iter().collect()
    }

    fn yearly(&mut self, node: &Node, zone: Option<&Zone>, kind: WindowKind) -> Option<Vec<Occurrence>> {
        let fields = self.fields(node, "`yearly`", &["on", "from", "for"])?;
        let on = self.require(&fields, "on", "\"11-11\"").and_then(|node| {
            let nodes = self.some_of(node, "on", "a month and a day, \"11-11\"")?;
            let days: Vec<_> = nodes.iter().map(|node| self.month_and_day(node)).collect();
            days.into_iter().collect::<Option<Vec<_>>>()
        });
        let from = fields
            .get("from")
            .map_or(Some(Time::midnight()), |node| self.time_of_day(node));
        let length = fields.get("for").map(|node| self.length(node));
        let (on, from, zone) = (on?, from?, zone?);
        let mut spans = Vec::new();
        for year in YEARS {
            // A 29 February is a day of leap years only.
            for date in on.iter().filter_map(|(month, day)| Date::new(year, *month, *day).ok()) {
                let begin = zone.first_instant(local_ms(date.to_datetime(from))?);
                let end = match length {
                    Some(length) => begin + length?,
                    None => last(zone, kind, local_ms(date.tomorrow().ok()?.to_datetime(from))?),
                };
                spans.push(Occurrence {
                    from: begin,
                    until: end,
                });
            }
        }
        Some(spans)
    }

    fn holidays(&mut self, node: &Node, zone: Option<&Zone>, kind: WindowKind) -> Option<Schedule> {
        let fields = self.fields(node, "`holidays`", &["calendar"])?;
        let named = self.require(&fields, "calendar", "china.ics")?;
        let name = self.text(named, "calendar")?;
        let zone = zone?;
        if name.contains(['/', '\\']) {
            self.fault(
                named.at,
                format!("`calendar: {name}` names a directory"),
                "put the calendar beside the pack and write the name of its file",
            );
            return None;
        }
        let beside = self.beside(name);
        let Some(text) = self.library.calendars.get(&beside).cloned() else {
            let near = self.nearest_calendar(name);
            self.fault(
                named.at,
                format!("there is no calendar `{name}` beside the pack"),
                near.map_or_else(
                    || "put the .ics file into the directory of the pack".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
            return None;
        };
        let events = match calendar::events(&text, zone, kind == WindowKind::Change, &mut self.library.zones) {
            Ok(events) => events,
            Err(faults) => {
                for fault in faults {
                    self.fault_in(
                        &beside,
                        At {
                            line: fault.line,
                            column: 1,
                        },
                        fault.what,
                        fault.fix,
                    );
                }
                return None;
            }
        };
        if events.is_empty() {
            self.fault(
                named.at,
                format!("the calendar `{name}` has no event between 1970 and 2199"),
                "check that it is the right file",
            );
            return None;
        }
        self.calendars_used.push(text);
        Some(Schedule {
            when: When::dates(events.iter().map(|(span, _)| *span).collect()),
            events: events.into(),
        })
    }

    /// The path of a file in the directory of this one.
    fn beside(&self, name: &str) -> String {
        let directory = self.file.rfind(['/', '\\']).map_or("", |at| &self.file[..=at]);
        format!("{directory}{name}")
    }

    fn nearest_calendar(&self, name: &str) -> Option<String> {
        let directory = self.beside("");
        let beside = self
            .library
            .calendars
            .keys()
            .filter_map(|path| path.strip_prefix(&directory));
        nearest(name, beside).map(str::to_owned)
    }

    /// Two dated times with their zone, the first before the second.
    pub(super) fn span(&mut self, fields: &Fields<'_>, zone: Option<&Zone>, kind: WindowKind) -> Option<Occurrence> {
        let from = self.instant(fields, "from", "2026-11-10T00:00", zone, Zone::first_instant);
        // Where the end happens twice: a closed span ends with the second, an open one with the first.
        let end = if kind == WindowKind::Change {
            Zone::first_instant
        } else {
            Zone::last_instant
        };
        let until = self.instant(fields, "until", "2026-11-12T00:00", zone, end);
        let ((from, _), (until, at)) = (from?, until?);
        if from >= until {
            self.fault(
                at,
                "the span ends before it begins, or at once",
                "let `until` be later than `from`",
            );
            return None;
        }
        Some(Occurrence { from, until })
    }

    fn instant(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        example: &str,
        zone: Option<&Zone>,
        instant: fn(&Zone, i64) -> i64,
    ) -> Option<(i64, At)> {
        let node = self.require(fields, key, example)?;
        let text = self.text(node, key)?;
        let Some(civil) = scalar::dated(text) else {
            self.fault(
                node.at,
                format!("`{key}: {text}` is not a date with a time"),
                format!("write it like {example}, without an offset: the zone is a field of its own"),
            );
            return None;
        };
        let Some(local) = local_ms(civil).filter(|ms| in_range(*ms)) else {
            self.fault(
                node.at,
                format!("`{key}: {text}` is out of range"),
                "use a date from 1970 to 2199",
            );
            return None;
        };
        Some((instant(zone?, local), node.at))
    }

    fn time_of_day(&mut self, node: &Node) -> Option<Time> {
        let text = self.text(node, "from")?;
        let time = scalar::time_of_day(text);
        if time.is_none() {
            self.fault(
                node.at,
                format!("`from: {text}` is not a time of day"),
                "write hours and minutes in quotes, from \"00:00\" to \"23:59\"",
            );
        }
        time
    }

    fn month_and_day(&mut self, node: &Node) -> Option<(i8, i8)> {
        let text = self.text(node, "on")?;
        let found = scalar::month_and_day(text);
        if found.is_none() {
            self.fault(
                node.at,
                format!("`on: {text}` is not a day of the year"),
                "write month and day in quotes, from \"01-01\" to \"12-31\"",
            );
        }
        found
    }

    fn days(&mut self, node: &Node) -> Option<u8> {
        if let Value::Text(text) = &node.value
            && text == "daily"
        {
            return Some(0b111_1111);
        }
        let one = std::slice::from_ref(node);
        let days = if let Value::List(days) = &node.value { days } else { one };
        if days.is_empty() {
            self.fault(node.at, "the window has no day", "name days, or write `daily`");
        }
        let mut mask = 0;
        let mut sound = !days.is_empty();
        for day in days {
            if matches!(&day.value, Value::Text(text) if text == "daily") {
                self.fault(
                    day.at,
                    "`daily` is no day of a list",
                    "write `days: daily`, without brackets, for all seven days",
                );
                sound = false;
                continue;
            }
            match self.word(day, "days", &DAYS) {
                Some(bit) if mask & bit != 0 => {
                    self.fault(day.at, "this day is named twice", "name each day once");
                    sound = false;
                }
                Some(bit) => mask |= bit,
                None => sound = false,
            }
        }
        sound.then_some(mask)
    }

    fn length(&mut self, node: &Node) -> Option<i64> {
        const FIX: &str = "write a length such as 90m, 14h, 1h30m or 2d, above zero and at most 7d";
        if let Value::Number(number) = &node.value {
            self.fault(node.at, format!("`for: {number}` has no unit"), FIX);
            return None;
        }
        let text = self.text(node, "for")?;
        let what = match scalar::length(text) {
            Some(ms) if (1..=LONGEST_MS).contains(&ms) => return Some(ms),
            Some(0) => "is empty",
            Some(_) => "is longer than a week",
            None => "is not a length",
        };
        self.fault(node.at, format!("`for: {text}` {what}"), FIX);
        None
    }

    /// One value, or a list of at least one.
    fn some_of<'n>(&mut self, node: &'n Node, key: &str, example: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(nodes) if nodes.is_empty() => {
                self.fault(node.at, format!("`{key}` is empty"), format!("write {example}"));
                None
            }
            Value::List(nodes) => Some(nodes),
            _ => Some(std::slice::from_ref(node)),
        }
    }
}

/// The careful end of a span that ends at a wall-clock time: of a closed one the later, of an open one the earlier.
fn last(zone: &Zone, kind: WindowKind, local: i64) -> i64 {
    if kind == WindowKind::Change {
        zone.first_instant(local)
    } else {
        zone.last_instant(local)
    }
}

/// The times of a day at which a pattern begins, in milliseconds since midnight, ascending.
fn starts(cron: &Cron) -> Vec<i64> {
    let minutes = cron.pattern.minutes.values();
    let hours = cron.pattern.hours.values().into_iter();
    let mut times: Vec<i64> = hours
        .flat_map(|hour| {
            minutes
                .iter()
                .map(move |minute| (i64::from(hour) * 60 + i64::from(*minute)) * MINUTE_MS)
        })
        .collect();
    times.sort_unstable();
    times
}
