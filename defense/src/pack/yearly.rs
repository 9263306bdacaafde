//! `RRULE:FREQ=YEARLY` of an iCalendar file: on which dates an event comes again, and until when.

use jiff::civil::{Date, DateTime, Weekday};

use super::calendar::{Fault, fault, read_date, read_time};
use crate::time::local_ms;
use crate::zone::Zone;

/// `FREQ=YEARLY`.
#[derive(Default)]
pub(super) struct Yearly {
    interval: i16,
    count: Option<usize>,
    pub(super) until: Option<Until>,
    months: Vec<i8>,
    days: Vec<i8>,
    /// The first, second, ..., or from the end the last (-1), of a weekday in its month.
    weekdays: Vec<(i8, Weekday)>,
}

/// The last moment at which an event may begin, as written.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Day(Date),
    /// On the clock of the event's zone.
    Local(DateTime),
    Utc(DateTime),
}

impl Until {
    fn read(text: &str) -> Option<Self> {
        let Some((date, time)) = text.split_once('T') else {
            return read_date(text).map(Self::Day);
        };
        let date = read_date(date)?;
        match time.strip_suffix('Z') {
            Some(time) => read_time(time).map(|time| Self::Utc(date.to_datetime(time))),
            None => read_time(time).map(|time| Self::Local(date.to_datetime(time))),
        }
    }

    /// Whether an event may still begin at an instant, which is on a date there. Where a date is bounded by a time of another
    /// zone, two readings exist, and the careful one is taken: the later for spans that close, the earlier for those that
    /// open.
    pub(super) fn allows(self, begins: &Begins, zone: &Zone, open: bool) -> bool {
        let (day, instant) = match self {
            Self::Day(last) => (last, None),
            Self::Local(last) => (last.date(), local_ms(last).map(|local| zone.last_instant(local))),
            Self::Utc(last) => (last.date(), local_ms(last)),
        };
        match instant {
            Some(last) if begins.whole_day => {
                let there = begins.from <= last;
                let written = begins.date <= day;
                if open { there && written } else { there || written }
            }
            Some(last) => begins.from <= last,
            None => begins.date <= day,
        }
    }
}

/// One beginning of an event.
pub(super) struct Begins {
    pub(super) date: Date,
    pub(super) from: i64,
    pub(super) whole_day: bool,
}

impl Yearly {
    pub(super) fn read(line: u64, value: &str) -> Result<Self, Fault> {
        let wrong = |part: &str| {
            fault(
                line,
                format!("`RRULE` with `{part}` is not read here"),
                "write FREQ=YEARLY, with INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY or BYDAY=4TH if needed, or each \
                 date as an event of its own",
            )
        };
        let mut yearly = Self {
            interval: 1,
            ..Self::default()
        };
        let mut frequency = false;
        for part in value.trim().split(';').filter(|part| !part.is_empty()) {
            let Some((key, text)) = part.split_once('=') else {
                return wrong(part);
            };
            let read = match key.to_ascii_uppercase().as_str() {
                "FREQ" => {
                    frequency = text.eq_ignore_ascii_case("YEARLY");
                    frequency.then_some(())
                }
                "INTERVAL" => in_bounds(text, 1, 100).map(|interval| yearly.interval = interval),
                "COUNT" => in_bounds(text, 1, 1_000).map(|count| yearly.count = usize::try_from(count).ok()),
                "UNTIL" => Until::read(text).map(|until| yearly.until = Some(until)),
                "BYMONTH" => list(text, |month| in_bounds(month, 1, 12)).map(|months| {
                    yearly.months = months
                        .into_iter()
                        .filter_map(|month| i8::try_from(month).ok())
                        .collect();
                }),
                "BYMONTHDAY" => list(text, |day| in_bounds(day, 1, 31)).map(|days| {
                    yearly.days = days.into_iter().filter_map(|day| i8::try_from(day).ok()).collect();
                }),
                "BYDAY" => list(text, weekday_of_month).map(|weekdays| yearly.weekdays = weekdays),
                "WKST" => Some(()),
                _ => None,
            };
            if read.is_none() {
                return wrong(part);
            }
        }
        // A weekday of the year, and a weekday that is also a day of the month, are other rules.
        // Nor does a rule end twice.
        if yearly.count.is_some() && yearly.until.is_some() {
            return wrong("COUNT and UNTIL");
        }
        if !frequency || (!yearly.weekdays.is_empty() && (yearly.months.is_empty() || !yearly.days.is_empty())) {
            return wrong(value);
        }
        Ok(yearly)
    }

    /// The dates from the first one on, as long as anybody asks.
    pub(super) fn dates(&self, first: Date) -> Vec<Date> {
        let months = if self.months.is_empty() {
            vec![first.month()]
        } else {
            self.months.clone()
        };
        let days = if self.days.is_empty() {
            vec![first.day()]
        } else {
            self.days.clone()
        };
        let mut dates = Vec::new();
        let mut year = first.year();
        while year < 2_200 {
            for month in &months {
                if self.weekdays.is_empty() {
                    // What no calendar has, such as 29 February in most years, does not happen.
                    dates.extend(days.iter().filter_map(|day| Date::new(year, *month, *day).ok()));
                } else if let Ok(of_month) = Date::new(year, *month, 1) {
                    let nth = |(nth, weekday): &(i8, Weekday)| of_month.nth_weekday_of_month(*nth, *weekday).ok();
                    dates.extend(self.weekdays.iter().filter_map(nth));
                }
            }
            year += self.interval;
        }
        dates.sort_unstable();
        dates.dedup();
        dates.retain(|date| *date >= first);
        // The start counts as the first, also where the rule does not name it.
        if dates.first() != Some(&first) {
            dates.insert(0, first);
        }
        dates.truncate(self.count.unwrap_or(usize::MAX));
        dates
    }
}

fn in_bounds(text: &str, least: i16, most: i16) -> Option<i16> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(read).collect()
}

/// `4TH`, `-1MO`.
fn weekday_of_month(text: &str) -> Option<(i8, Weekday)> {
    let letters = text.len().checked_sub(2)?;
    let weekday = match text.get(letters..)?.to_ascii_uppercase().as_str() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let nth: i8 = text.get(..letters)?.parse().ok()?;
    (nth != 0 && (-5..=5).contains(&nth)).then_some((nth, weekday))
}
