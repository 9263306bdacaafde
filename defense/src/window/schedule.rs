//! When a window begins and how long it lasts, found around an instant without expanding a calendar.

use std::sync::Arc;

use croner::{Cron, Weekday};

use crate::time::DAY_MS;
use crate::zone::Zone;

/// One occurrence, half-open, in unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Occurrence {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// How far back a schedule is searched for the occurrence before an instant.
const BACK_DAYS: i64 = 400;
/// How far ahead it is searched for the next: a 29 February may be eight years away, and 2100 has none.
const AHEAD_DAYS: i64 = 8 * 366 + 1;

/// The days on which a recurring window begins.
#[derive(Debug, Clone)]
pub(crate) enum Days {
    /// Days of the week; bit 0 is Monday.
    Week(u8),
    /// The months, days and weekdays of a cron pattern.
    Cron(Box<Cron>),
}

impl Days {
    /// The first matching day at or after one, by number since 1970-01-01.
    fn next(&self, day: i64) -> Option<i64> {
        match self {
            Self::Week(days) => (day..day + 7).find(|day| days >> weekday(*day) & 1 == 1),
            Self::Cron(cron) => {
                let last = day + AHEAD_DAYS;
                let mut day = day;
                while day < last {
                    let (year, month, of_month) = civil(day);
                    if !cron.pattern.month_match(month).unwrap_or(false) {
                        // No day of this month; on to the first of the next.
                        day += i64::from(32 - of_month.min(28));
                        let (_, _, overshoot) = civil(day);
                        day -= i64::from(overshoot) - 1;
                        continue;
                    }
                    if matches_day(cron, year, month, of_month, day) {
                        return Some(day);
                    }
                    day += 1;
                }
                None
            }
        }
    }

    /// The last matching day at or before one.
    fn previous(&self, day: i64) -> Option<i64> {
        (day - BACK_DAYS..=day).rev().find(|day| match self {
            Self::Week(days) => days >> weekday(*day) & 1 == 1,
            Self::Cron(cron) => {
                let (year, month, of_month) = civil(*day);
                cron.pattern.month_match(month).unwrap_or(false) && matches_day(cron, year, month, of_month, *day)
            }
        })
    }
}

fn matches_day(cron: &Cron, year: i32, month: u32, of_month: u32, day: i64) -> bool {
    const WEEK: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let weekday = WEEK[usize::from(weekday(day))];
    cron.pattern.day_match(year, month, of_month, weekday).unwrap_or(false)
}

/// 0 is Monday; 1970-01-01 was a Thursday.
fn weekday(day: i64) -> u8 {
    u8::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

/// Year, month and day of the month of a day since 1970-01-01, by counting in years that begin in March, whose leap day
/// comes last.
fn civil(day: i64) -> (i32, u32, u32) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        u32::try_from(month).unwrap_or(1),
        u32::try_from(of_month).unwrap_or(1),
    )
}

/// "On these days, at these wall-clock times, for so long" in one zone.
///
/// The length is elapsed time: a window of 14 hours is 14 hours long in the night the clocks change, too.
#[derive(Debug, Clone)]
pub(crate) struct Recurring {
    pub(crate) days: Days,
    /// Milliseconds since midnight on the clock, ascending, at least one.
    pub(crate) times: Vec<i64>,
    /// Every so many hours rather than at times of day: then a start inside a gap does not happen, and one that
    /// happens twice counts twice. Otherwise a start inside a gap is the first instant after it, and one that happens
    /// twice is the earlier.
    pub(crate) hourly: bool,
    pub(crate) duration_ms: i64,
    pub(crate) zone: Arc<Zone>,
}

impl Recurring {
    /// The first wall-clock time of the schedule at or after one.
    fn next_local(&self, local: i64) -> Option<i64> {
        let day = local.div_euclid(DAY_MS);
        let of_day = local.rem_euclid(DAY_MS);
        let later = self.times.partition_point(|time| *time < of_day);
        let next = self.days.next(day)?;
        if next > day {
            return Some(next * DAY_MS + self.times[0]);
        }
        match self.times.get(later) {
            Some(time) => Some(day * DAY_MS + time),
            None => Some(self.days.next(day + 1)? * DAY_MS + self.times[0]),
        }
    }

    /// The last wall-clock time of the schedule at or before one.
    fn previous_local(&self, local: i64) -> Option<i64> {
        let day = local.div_euclid(DAY_MS);
        let of_day = local.rem_euclid(DAY_MS);
        let upto = self.times.partition_point(|time| *time <= of_day);
        let latest = *self.times.last()?;
        let previous = self.days.previous(day)?;
        if previous < day {
            return Some(previous * DAY_MS + latest);
        }
        match upto.checked_sub(1) {
            Some(at) => Some(day * DAY_MS + self.times[at]),
            None => Some(self.days.previous(day - 1)? * DAY_MS + latest),
        }
    }

    /// The earliest start after an instant.
    fn start_after(&self, ms: i64) -> Option<i64> {
        if !self.hourly {
            let local = self.next_local(self.zone.latest_local(ms) + 1)?;
            return Some(self.zone.first_instant(local));
        }
        let mut segment = self.zone.segment(ms + 1);
        let mut local = ms + 1 + self.zone.offset(segment);
        loop {
            let next = self.next_local(local)?;
            if next < self.zone.local_span(segment).1 {
                return Some(next - self.zone.offset(segment));
            }
            segment += 1;
            if segment >= self.zone.segments() {
                return None;
            }
            local = self.zone.local_span(segment).0;
        }
    }

    /// The latest start at or before an instant.
    fn start_upto(&self, ms: i64) -> Option<i64> {
        if !self.hourly {
            let local = self.previous_local(self.zone.latest_local(ms))?;
            return Some(self.zone.first_instant(local));
        }
        let mut segment = self.zone.segment(ms);
        let mut local = ms + self.zone.offset(segment);
        loop {
            let previous = self.previous_local(local)?;
            if previous >= self.zone.local_span(segment).0 {
                return Some(previous - self.zone.offset(segment));
            }
            segment = segment.checked_sub(1)?;
            local = self.zone.local_span(segment).1 - 1;
        }
    }

    fn lasting(&self, from: i64) -> Occurrence {
        Occurrence {
            from,
            until: from + self.duration_ms,
        }
    }
}

/// When a window speaks.
#[derive(Debug, Clone)]
pub(crate) enum When {
    Recurring(Recurring),
    /// Ascending, neither meeting nor overlapping.
    Dates(Arc<[Occurrence]>),
}

impl When {
    /// A single span.
    pub(crate) fn once(from: i64, until: i64) -> Self {
        Self::Dates([Occurrence { from, until }].into())
    }

    /// Any number of spans, in any order; those that meet become one.
    pub(crate) fn dates(mut spans: Vec<Occurrence>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<Occurrence> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.from <= last.until => last.until = last.until.max(span.until),
                _ => merged.push(span),
            }
        }
        Self::Dates(merged.into())
    }

    /// The earliest occurrence that ends after `ms`.
    pub(crate) fn first_ending_after(&self, ms: i64) -> Option<Occurrence> {
        match self {
            Self::Recurring(schedule) => schedule
                .start_after(ms - schedule.duration_ms)
                .map(|from| schedule.lasting(from)),
            Self::Dates(dates) => dates.get(dates.partition_point(|date| date.until <= ms)).copied(),
        }
    }

    /// The latest occurrence that ends at or before `ms`; `None` when there was none for long.
    pub(crate) fn last_ending_by(&self, ms: i64) -> Option<Occurrence> {
        match self {
            Self::Recurring(schedule) => schedule
                .start_upto(ms - schedule.duration_ms)
                .map(|from| schedule.lasting(from)),
            Self::Dates(dates) => {
                let ended = dates.partition_point(|date| date.until <= ms);
                ended.checked_sub(1).map(|at| dates[at])
            }
        }
    }

    /// Whether it comes again and again in every year.
    pub(crate) fn recurs(&self) -> bool {
        matches!(self, Self::Recurring(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        let first = jiff::civil::date(1968, 1, 1);
        let mut date = first;
        for day in -731..84_500 {
            let found = civil(day);
            let wanted = (
                i32::from(date.year()),
                date.month().unsigned_abs().into(),
                date.day().unsigned_abs().into(),
            );
            assert_eq!(found, wanted);
            assert_eq!(
                i64::from(weekday(day)),
                i64::from(date.weekday().to_monday_zero_offset())
            );
            date = date.tomorrow().expect("in range");
        }
    }
}
