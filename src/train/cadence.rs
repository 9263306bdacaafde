//! When nightlies are built and when a release is chosen: times of day in a zone, free of clocks.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// How often a release is chosen for production.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three rhythms that the train knows")]
pub enum Cadence {
    /// Every day.
    Nightly,
    /// On one day of the week.
    Weekly,
    /// On the first such day of the month.
    Monthly,
}

impl Cadence {
    /// The longest time between two slots, in milliseconds: the first Tuesdays of two months are at most 35 days apart.
    pub const fn longest_ms(self) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        match self {
            Self::Nightly => DAY_MS,
            Self::Weekly => 7 * DAY_MS,
            Self::Monthly => 35 * DAY_MS,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Cadence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Nightly, Self::Weekly, Self::Monthly]
            .into_iter()
            .find(|cadence| cadence.as_str() == text)
            .ok_or_else(|| format!("there is no cadence `{text}`: use nightly, weekly or monthly"))
    }
}

/// The times of day of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written literally, with `..Timetable::default()`"
)]
pub struct Timetable {
    /// The IANA name of the zone in which the times of day are meant.
    pub zone: String,
    /// When the day's nightly is built, in minutes after midnight.
    pub nightly_at_min: u16,
    /// When a release is chosen, in minutes after midnight.
    pub release_at_min: u16,
    /// On which day of the week, where the cadence is weekly or monthly: 1 is Monday, 7 is Sunday.
    pub release_weekday: u8,
    /// How often.
    pub cadence: Cadence,
}

impl Default for Timetable {
    /// A nightly at 20:00 UTC, and a release on Tuesdays at 09:00 UTC.
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            nightly_at_min: 20 * 60,
            release_at_min: 9 * 60,
            release_weekday: 2,
            cadence: Cadence::Weekly,
        }
    }
}

/// A [`Timetable`] that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    zone: TimeZone,
    nightly: Time,
    release: Time,
    weekday: Weekday,
    cadence: Cadence,
}

impl Times {
    pub(crate) fn new(table: &Timetable) -> Result<Self, String> {
        let zone = TimeZone::get(&table.zone).map_err(|_| {
            format!(
                "zone: `{}` is not known; write an IANA name such as Asia/Shanghai",
                table.zone
            )
        })?;
        let time = |field: &str, minutes: u16| {
            let hour = i8::try_from(minutes / 60).unwrap_or(i8::MAX);
            let minute = i8::try_from(minutes % 60).unwrap_or(0);
            Time::new(hour, minute, 0, 0)
                .map_err(|_| format!("{field}: {minutes} is past midnight; write 0 to 1439 minutes"))
        };
        let weekday = i8::try_from(table.release_weekday)
            .ok()
            .and_then(|day| Weekday::from_monday_one_offset(day).ok())
            .ok_or_else(|| {
                format!(
                    "release_weekday: {} is no day of the week; write 1 (Monday) to 7 (Sunday)",
                    table.release_weekday
                )
            })?;
        Ok(Self {
            zone,
            nightly: time("nightly_at_min", table.nightly_at_min)?,
            release: time("release_at_min", table.release_at_min)?,
            weekday,
            cadence: table.cadence,
        })
    }

    /// The first time at which a nightly is built after an instant.
    pub(crate) fn next_nightly(&self, after_ms: i64) -> Option<i64> {
        self.next(after_ms, self.nightly, Cadence::Nightly)
    }

    /// The first slot for a release after an instant.
    pub(crate) fn next_slot(&self, after_ms: i64) -> Option<i64> {
        self.next(after_ms, self.release, self.cadence)
    }

    fn next(&self, after_ms: i64, time: Time, cadence: Cadence) -> Option<i64> {
        let mut date = Timestamp::from_millisecond(after_ms)
            .ok()?
            .to_zoned(self.zone.clone())
            .date();
        // A slot is at most 35 days away, and one day of them may lie before the instant.
        for _ in 0..=36 {
            let fits = match cadence {
                Cadence::Nightly => true,
                Cadence::Weekly => date.weekday() == self.weekday,
                Cadence::Monthly => date.weekday() == self.weekday && date.day() <= 7,
            };
            if fits {
                let at = date.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
                let at_ms = at.timestamp().as_millisecond();
                if at_ms > after_ms {
                    return Some(at_ms);
                }
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }
}

/// An instant for people: `2026-11-24 09:00 UTC`.
pub(crate) fn instant(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(
        |_| format!("{ms} ms"),
        |at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn slots_are_times_of_day_in_their_zone() {
        let table = Timetable {
            zone: "Europe/Berlin".to_owned(),
            ..Timetable::default()
        };
        let times = Times::new(&table).unwrap();
        // Summer time ends on 25 October 2026: nine o'clock is an hour later in UTC.
        assert_eq!(
            times.next_slot(at("2026-10-20T07:00:00Z")),
            Some(at("2026-10-27T08:00:00Z"))
        );
        assert_eq!(
            times.next_slot(at("2026-10-20T06:59:00Z")),
            Some(at("2026-10-20T07:00:00Z"))
        );
        let monthly = Timetable {
            cadence: Cadence::Monthly,
            ..table
        };
        let times = Times::new(&monthly).unwrap();
        assert_eq!(
            times.next_slot(at("2026-11-03T08:00:00Z")),
            Some(at("2026-12-01T08:00:00Z"))
        );
        assert_eq!(
            times.next_nightly(at("2026-11-03T18:59:59Z")),
            Some(at("2026-11-03T19:00:00Z"))
        );
    }

    #[test]
    fn a_timetable_that_cannot_be_is_refused_with_its_field() {
        let wrong = |table: Timetable| Times::new(&table).unwrap_err();
        let good = Timetable::default;
        assert!(
            wrong(Timetable {
                zone: "Mars/Base".to_owned(),
                ..good()
            })
            .contains("zone: `Mars/Base`")
        );
        assert!(
            wrong(Timetable {
                release_at_min: 1440,
                ..good()
            })
            .contains("release_at_min: 1440")
        );
        assert!(
            wrong(Timetable {
                release_weekday: 8,
                ..good()
            })
            .contains("release_weekday: 8")
        );
    }
}
