//! Every way to say when, against a slow implementation, over ten zones and ten years.
//!
//! The oracle walks through the decade in quarters of an hour and only ever asks what the clock on the wall shows. It
//! knows nothing of offsets, gaps and folds, and of cron, calendars and years only what is written beside each window.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};
use unattended_defense::{Guard, Request, Verdict, app};

const QUARTER: i64 = 15 * 60_000;
const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/Sao_Paulo",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    "Africa/Casablanca",
    "Pacific/Apia",
];

/// A window: how a pack says it, and when it begins, said once more.
struct Window {
    yaml: &'static str,
    /// The quarters of an hour of a day at which it begins, if it begins on it.
    begins: fn(Date) -> Vec<(i8, i8)>,
    /// Whether each showing of such a time counts; else the first one, or, if there is none, what comes after it.
    every_showing: bool,
    length: Length,
}

enum Length {
    Quarters(i64),
    /// Until the clock last shows midnight of a later day.
    Days(i64),
}

fn last_of_month(date: Date) -> bool {
    date.tomorrow().is_ok_and(|next| next.day() == 1)
}

fn on(fits: bool, times: &[(i8, i8)]) -> Vec<(i8, i8)> {
    if fits { times.to_vec() } else { Vec::new() }
}

fn weekday(date: Date) -> i8 {
    date.weekday().to_monday_one_offset()
}

fn windows() -> Vec<Window> {
    use Length::{Days, Quarters};
    let window = |yaml, begins, every_showing, length| Window {
        yaml,
        begins,
        every_showing,
        length,
    };
    vec![
        window(
            "weekly: {days: [fri, sat], from: \"18:00\", for: 14h}",
            |date| on(matches!(weekday(date), 5 | 6), &[(18, 0)]),
            false,
            Quarters(56),
        ),
        window(
            "weekly: {days: sun, from: \"02:15\", for: 90m}",
            |date| on(weekday(date) == 7, &[(2, 15)]),
            false,
            Quarters(6),
        ),
        window(
            "cron: {at: \"30 1,2 * * *\", for: 45m}",
            |_| vec![(1, 30), (2, 30)],
            false,
            Quarters(3),
        ),
        window(
            "cron: {at: \"15 */2 * * *\", for: 30m}",
            |_| (0..24).step_by(2).map(|hour| (hour, 15)).collect(),
            true,
            Quarters(2),
        ),
        window(
            "cron: {at: \"0 22 L * *\", for: 2d}",
            |date| on(last_of_month(date), &[(22, 0)]),
            false,
            Quarters(192),
        ),
        window(
            "cron: {at: \"0 0 * 3,10,11 sun#1,sunL\", for: 4h}",
            |date| {
                let edge = date.day() <= 7 || date.day() + 7 > date.days_in_month();
                on(
                    weekday(date) == 7 && edge && matches!(date.month(), 3 | 10 | 11),
                    &[(0, 0)],
                )
            },
            false,
            Quarters(16),
        ),
        window(
            "yearly: {on: [\"02-29\", \"11-11\", \"12-31\"], from: \"23:30\", for: 3h}",
            |date| {
                on(
                    [(2, 29), (11, 11), (12, 31)].contains(&(date.month(), date.day())),
                    &[(23, 30)],
                )
            },
            false,
            Quarters(12),
        ),
        window(
            "yearly: {on: [\"03-29\", \"10-25\", \"11-04\"]}",
            |date| {
                on(
                    [(3, 29), (10, 25), (11, 4)].contains(&(date.month(), date.day())),
                    &[(0, 0)],
                )
            },
            false,
            Days(1),
        ),
        window(
            "dated: [{from: 2018-11-03, until: 2018-11-05}, {from: 2012-02-27, until: 2012-02-29}]",
            |date| {
                on(
                    date == civil::date(2018, 11, 3) || date == civil::date(2012, 2, 27),
                    &[(0, 0)],
                )
            },
            false,
            Days(2),
        ),
        window(
            "holidays: {calendar: h.ics}",
            |date| {
                on(
                    (date.month(), date.day()) == (10, 24)
                        || (date.month() == 11 && weekday(date) == 4 && (22..29).contains(&date.day())),
                    &[(0, 0)],
                )
            },
            false,
            Days(2),
        ),
    ]
}

const CALENDAR: &str = "BEGIN:VCALENDAR\r
BEGIN:VEVENT\r
SUMMARY:Two days of\r
  October\r
DTSTART;VALUE=DATE:19711024\r
DTEND;VALUE=DATE:19711026\r
RRULE:FREQ=YEARLY\r
END:VEVENT\r
BEGIN:VEVENT\r
SUMMARY:Thanksgiving\\, and the day after\r
DTSTART;VALUE=DATE:19711125\r
DURATION:P2D\r
RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH\r
END:VEVENT\r
END:VCALENDAR\r
";

/// For each window and each quarter of an hour whether it is closed.
fn oracle(windows: &[Window], zone: &TimeZone, start: i64, quarters: i64) -> Vec<Vec<bool>> {
    let lead = 12 * 96;
    let mut closed = vec![vec![false; usize::try_from(quarters).expect("fits")]; windows.len()];
    let shown: Vec<DateTime> = (-lead..quarters + lead)
        .map(|at| zone.to_datetime(Timestamp::from_millisecond(start + at * QUARTER).expect("in range")))
        .collect();
    let first_day = shown[0].date();
    for (window, closed) in windows.iter().zip(&mut closed) {
        let mut close = |from: i64, until: i64| {
            for at in from.max(0)..until.min(quarters) {
                closed[usize::try_from(at).expect("not negative")] = true;
            }
        };
        // What this day still waits to see; the next day has come to an end before it is looked at.
        let mut waiting: Vec<DateTime> = Vec::new();
        let mut newest = first_day;
        let mut today = (window.begins)(first_day);
        for (at, shown_now) in (-lead..).zip(&shown) {
            let day = shown_now.date();
            while newest < day {
                newest = newest.tomorrow().expect("in range");
                today = (window.begins)(newest);
                waiting.extend(today.iter().map(|(h, m)| newest.at(*h, *m, 0, 0)));
            }
            let begins = if window.every_showing {
                today.contains(&(shown_now.hour(), shown_now.minute())).then_some(day)
            } else {
                let due = waiting
                    .iter()
                    .filter(|due| *due <= shown_now)
                    .map(|due| due.date())
                    .max();
                waiting.retain(|due| due > shown_now);
                due
            };
            let Some(begun) = begins else { continue };
            match window.length {
                Length::Quarters(length) => close(at, at + length),
                Length::Days(days) => {
                    let end = begun.checked_add(jiff::Span::new().days(days)).expect("in range");
                    let end = end.to_datetime(Time::midnight());
                    // The last instant that still shows a time before the end.
                    let from = usize::try_from(at + lead).expect("not negative");
                    let horizon = (from + 96 * (usize::try_from(days).expect("small") + 2)).min(shown.len());
                    let last = (from..horizon)
                        .rev()
                        .find(|at| shown[*at] < end)
                        .expect("begins before it ends");
                    close(at, i64::try_from(last).expect("fits") + 1 - lead);
                }
            }
        }
    }
    closed
}

fn guard(windows: &[Window], zone: &str) -> Guard {
    let mut text = "version: 1\npack: p\nowner: o\nscope: all\nwindows:\n".to_owned();
    for (n, window) in windows.iter().enumerate() {
        text.push_str(&format!(
            "- {{id: w{n}, kind: protected, {}, zone: {zone}, select: {{app: a{n}}}, reason: r}}\n",
            window.yaml
        ));
    }
    Guard::from_packs([("p.yaml", text.as_str()), ("h.ics", CALENDAR)]).expect("a sound pack")
}

fn check(zone: &str, first: i16) {
    let tz = TimeZoneDatabase::bundled().get(zone).expect("a zone of the test");
    let begin = civil::date(first, 1, 1).to_datetime(Time::midnight());
    let start = begin
        .to_zoned(TimeZone::UTC)
        .expect("in range")
        .timestamp()
        .as_millisecond();
    let quarters = 10 * 365 * 96;
    let windows = windows();
    let guard = guard(&windows, zone);
    let expected = oracle(&windows, &tz, start, quarters);
    for (n, expected) in expected.iter().enumerate() {
        let scope = app(format!("a{n}"));
        let yaml = windows[n].yaml;
        let mut found = vec![false; expected.len()];
        for span in guard.spans(&scope, start, start + quarters * QUARTER) {
            assert_eq!((span.from % QUARTER, span.until % QUARTER), (0, 0));
            for at in (span.from - start) / QUARTER..(span.until - start) / QUARTER {
                found[usize::try_from(at).expect("in range")] = true;
            }
        }
        let instant = |at: usize| start + i64::try_from(at).expect("fits") * QUARTER;
        let wrong = (0..expected.len()).find(|at| expected[*at] != found[*at]);
        let wrong = wrong.map(|at| {
            (
                Timestamp::from_millisecond(instant(at)).expect("in range"),
                expected[at],
            )
        });
        assert_eq!(
            wrong, None,
            "{zone}: {yaml}: the first wrong instant, and whether it should be closed"
        );
        // A decision at both sides of each boundary, and hour by hour, says the same.
        let open = |ms: i64| guard.decide(&Request::pre("c").scope(scope.clone()), ms).verdict == Verdict::Allow;
        for at in 1..expected.len() {
            // The picture above has every boundary; of the window with a dozen a day a fifth is asked about once more.
            let boundary = expected[at - 1] != expected[at] && (!windows[n].every_showing || at % 5 == 0);
            // The hours are shared out among the windows; each has its turn at every hour of the day.
            if boundary || at % (4 * windows.len() + 4) == 4 * n {
                assert_eq!(open(instant(at)), !expected[at], "{zone}: {yaml}: {}", instant(at));
            }
            if boundary {
                assert_eq!(
                    open(instant(at) - 1),
                    expected[at],
                    "{zone}: {yaml}: half-open, {}",
                    instant(at)
                );
            }
        }
    }
}

macro_rules! decades {
    ($($name:ident: $zone:literal from $first:literal;)*) => {
        $(#[test]
        fn $name() {
            assert!(ZONES.contains(&$zone));
            check($zone, $first);
        })*
    };
}

// Each decade has changes of the clock that its neighbours have not; all have leap years.
decades! {
    utc: "UTC" from 2026;
    berlin: "Europe/Berlin" from 2024;
    dublin: "Europe/Dublin" from 1975;
    sao_paulo: "America/Sao_Paulo" from 2010;
    new_york: "America/New_York" from 2003;
    st_johns: "America/St_Johns" from 2005;
    lord_howe: "Australia/Lord_Howe" from 2027;
    shanghai: "Asia/Shanghai" from 1985;
    casablanca: "Africa/Casablanca" from 2015;
    apia: "Pacific/Apia" from 2008;
}
