//! Weekly windows against a slow implementation that walks through every minute of a year.
//!
//! The oracle only ever asks "what does the wall clock show at this instant", never the other way round, and knows
//! nothing of gaps and folds.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};
use unattended_defense::{Guard, Request, Verdict, app};

const MINUTE: i64 = 60_000;

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

struct Window {
    days: &'static [usize],
    from: (i8, i8),
    minutes: i64,
}

impl Window {
    fn yaml(&self, zone: &str) -> String {
        let days: Vec<&str> = self.days.iter().map(|day| NAMES[*day]).collect();
        format!(
            "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n- id: w\n  kind: protected\n  weekly: {{days: [{}], from: \"{:02}:{:02}\", for: {}m}}\n  zone: {zone}\n  reason: r\n",
            days.join(", "),
            self.from.0,
            self.from.1,
            self.minutes
        )
    }
}

fn tz(zone: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(zone).expect("a zone of the test")
}

/// For each minute from `start` on whether it is closed: a window begins on its day in the first minute in which the
/// clock shows `from` or later, or, if that day never shows it, when the next day begins.
fn oracle(window: &Window, tz: &TimeZone, start: i64, minutes: i64) -> Vec<bool> {
    let lead = 10 * 24 * 60;
    let wanted = civil::Time::constant(window.from.0, window.from.1, 0, 0);
    let mut closed = vec![false; usize::try_from(minutes).expect("fits")];
    // The day that has not shown `from` yet, of those that want to begin.
    let mut pending: Option<civil::Date> = None;
    let mut newest: Option<civil::Date> = None;
    for minute in -lead..minutes {
        let instant = Timestamp::from_millisecond(start + minute * MINUTE).expect("in range");
        let local = tz.to_datetime(instant);
        let mut begins = false;
        if newest.is_none_or(|newest| local.date() > newest) {
            // Days that were skipped whole begin here, too; and a day that never reached `from`.
            let mut day = newest.map_or_else(|| local.date(), |newest| newest.tomorrow().expect("in range"));
            begins = pending.take().is_some();
            while day < local.date() {
                begins |= window.days.contains(&weekday(day));
                day = day.tomorrow().expect("in range");
            }
            newest = Some(local.date());
            pending = window.days.contains(&weekday(local.date())).then_some(local.date());
        }
        if pending == Some(local.date()) && local.time() >= wanted {
            pending = None;
            begins = true;
        }
        if begins {
            for covered in minute.max(0)..(minute + window.minutes).min(minutes) {
                closed[usize::try_from(covered).expect("not negative")] = true;
            }
        }
    }
    closed
}

fn weekday(date: civil::Date) -> usize {
    usize::try_from(date.weekday().to_monday_zero_offset()).expect("0 to 6")
}

fn check(zone: &str, year: i16, windows: &[Window]) {
    let tz = tz(zone);
    let start = civil::date(year, 1, 1)
        .to_datetime(civil::Time::midnight())
        .to_zoned(TimeZone::UTC)
        .expect("in range")
        .timestamp()
        .as_millisecond();
    let minutes = 366 * 24 * 60;
    for window in windows {
        let expected = oracle(window, &tz, start, minutes);
        let guard = Guard::from_yaml("w.yaml", window.yaml(zone)).expect("a sound pack");
        let mut found = vec![false; expected.len()];
        for span in guard.spans(&app("a"), start, start + minutes * MINUTE) {
            assert_eq!((span.from % MINUTE, span.until % MINUTE), (0, 0));
            for minute in (span.from - start) / MINUTE..(span.until - start) / MINUTE {
                found[usize::try_from(minute).expect("in range")] = true;
            }
        }
        let wrong = (0..expected.len()).find(|at| expected[*at] != found[*at]).map(|at| {
            let instant = start + i64::try_from(at).expect("fits") * MINUTE;
            (
                Timestamp::from_millisecond(instant).expect("in range").to_string(),
                expected[at],
            )
        });
        assert_eq!(
            wrong,
            None,
            "first wrong instant, and what it should be: {}",
            window.yaml(zone)
        );
        // A decision at each hour and at both sides of each boundary says the same.
        let ask = |ms: i64| guard.decide(&Request::pre("c").scope(app("a")), ms).verdict;
        for (at, closed) in expected.iter().enumerate() {
            let boundary = at > 0 && expected[at - 1] != *closed;
            if at % 60 == 0 || boundary {
                let ms = start + i64::try_from(at).expect("fits") * MINUTE;
                assert_eq!(ask(ms) != Verdict::Allow, *closed, "{zone} {ms}");
                if boundary {
                    assert_eq!(ask(ms - 1) != Verdict::Allow, !*closed, "{zone} {ms}: half-open");
                }
            }
        }
    }
}

/// Evening over midnight, one inside the hours that clocks skip or repeat, midnight itself, and overlapping days.
fn windows() -> [Window; 4] {
    [
        Window {
            days: &[4, 5],
            from: (18, 0),
            minutes: 14 * 60,
        },
        Window {
            days: &[6],
            from: (2, 15),
            minutes: 90,
        },
        Window {
            days: &[0, 3, 6],
            from: (0, 0),
            minutes: 60,
        },
        Window {
            days: &[1, 2, 6],
            from: (23, 40),
            minutes: 30 * 60,
        },
    ]
}

#[test]
fn berlin_skips_and_repeats_an_hour_at_two() {
    check("Europe/Berlin", 2026, &windows());
}

#[test]
fn sao_paulo_skipped_and_repeated_midnight() {
    check("America/Sao_Paulo", 2018, &windows());
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    check("Australia/Lord_Howe", 2027, &windows());
}

#[test]
fn shanghai_keeps_its_clock_through_a_leap_year() {
    check("Asia/Shanghai", 2028, &windows());
}

#[test]
fn apia_skipped_a_whole_friday() {
    check("Pacific/Apia", 2011, &windows());
}

/// A few instants worked out by hand, so that oracle and engine cannot be wrong together.
#[test]
fn known_nights() {
    let first = |zone: &str, day: usize, from: (i8, i8), near: &str| {
        let days: &'static [usize] = match day {
            5 => &[5],
            _ => &[6],
        };
        let window = Window {
            days,
            from,
            minutes: 60,
        };
        let guard = Guard::from_yaml("w.yaml", window.yaml(zone)).expect("a sound pack");
        let near: Timestamp = near.parse().expect("an instant");
        let near = near.as_millisecond();
        let span = guard.spans(&app("a"), near, near + 2 * 86_400_000).remove(0);
        assert_eq!(span.until - span.from, 3_600_000, "lengths are elapsed time");
        Timestamp::from_millisecond(span.from).expect("in range").to_string()
    };
    // 02:30 does not exist: the first instant after the gap is 03:00 summer time, 01:00 UTC.
    assert_eq!(
        first("Europe/Berlin", 6, (2, 30), "2026-03-28T12:00:00Z"),
        "2026-03-29T01:00:00Z"
    );
    // 02:30 happens twice: the first is still summer time.
    assert_eq!(
        first("Europe/Berlin", 6, (2, 30), "2026-10-24T12:00:00Z"),
        "2026-10-25T00:30:00Z"
    );
    // Midnight does not exist: the day begins at 01:00, 03:00 UTC.
    assert_eq!(
        first("America/Sao_Paulo", 6, (0, 0), "2018-11-03T12:00:00Z"),
        "2018-11-04T03:00:00Z"
    );
    // Clocks go from 02:00 to 02:30, at 15:30 UTC on the day before.
    assert_eq!(
        first("Australia/Lord_Howe", 6, (2, 10), "2026-10-03T00:00:00Z"),
        "2026-10-03T15:30:00Z"
    );
    // And back from 02:00 to 01:30: the first 01:45 is at 14:45 UTC.
    assert_eq!(
        first("Australia/Lord_Howe", 6, (1, 45), "2026-04-04T00:00:00Z"),
        "2026-04-04T14:45:00Z"
    );
    // No change of the clock.
    assert_eq!(
        first("Asia/Shanghai", 5, (8, 0), "2026-11-20T12:00:00Z"),
        "2026-11-21T00:00:00Z"
    );
}
