//! How numbers, durations and times of day are written.
//!
//! What belongs together is joined with [`GLUE`], so that neither a browser nor the text report breaks a line between a
//! number and its unit.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A no-break space: the text report prints it as a plain one.
pub(super) const GLUE: char = '\u{a0}';

/// What is written where a value is not known. Unknown is never shown as zero.
pub(super) const UNKNOWN: &str = "unknown";

/// A count as a real number; exact below 2^53, which no fleet reaches.
pub(super) const fn real(n: u64) -> f64 {
    n as f64
}

/// `23871` as `23,871`.
pub(super) fn thousands(n: u64) -> String {
    group(&n.to_string())
}

/// Puts a comma before every third digit from the right.
fn group(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `n` with its noun: `1 target`, `23,871 targets`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{}{GLUE}{}", thousands(n), if n == 1 { one } else { many })
}

/// `part` of `whole` in per cent, with two significant digits below ten.
///
/// Something is never rounded to nothing, and less than all never to 100 %. Of nothing, the share is unknown.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return UNKNOWN.to_owned();
    }
    if part == 0 {
        return format!("0{GLUE}%");
    }
    if part >= whole {
        return format!("100{GLUE}%");
    }
    let share = 100.0 * real(part) / real(whole);
    let number = if share >= 99.5 {
        format!("{:.2}", (share * 100.0).floor().min(9_999.0) / 100.0)
    } else if share >= 1.0 {
        format!("{share:.1}")
    } else if share >= 0.1 {
        format!("{share:.2}")
    } else if share >= 0.01 {
        format!("{share:.3}")
    } else if share >= 0.0001 {
        format!("{share:.4}")
    } else {
        format!("under{GLUE}0.0001")
    };
    format!("{number}{GLUE}%")
}

/// The whole of a fraction in `0..=1` in per cent, without decimals.
pub(super) fn fraction(value: f64) -> String {
    if value.is_finite() {
        format!("{:.0}{GLUE}%", 100.0 * value.clamp(0.0, 1.0))
    } else {
        UNKNOWN.to_owned()
    }
}

/// An e-value for people: `< 0.1`, `3.2`, `120`, `over a million`.
pub(super) fn weight(value: f64) -> String {
    if value.is_nan() {
        UNKNOWN.to_owned()
    } else if value > 1e6 {
        format!("over{GLUE}a{GLUE}million")
    } else if value >= 99.5 {
        group(&format!("{value:.0}"))
    } else if value >= 0.1 {
        format!("{value:.1}").trim_end_matches(".0").to_owned()
    } else {
        format!("<{GLUE}0.1")
    }
}

/// A duration in its two largest units: `320 ms`, `4.2 s`, `3 h 20 min`.
pub(super) fn duration(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    let two = |large: u64, unit: &str, small: u64, part: &str| {
        if small == 0 {
            format!("{large}{GLUE}{unit}")
        } else {
            format!("{large}{GLUE}{unit}{GLUE}{small}{GLUE}{part}")
        }
    };
    match ms {
        0 => format!("0{GLUE}s"),
        1..1_000 => format!("{ms}{GLUE}ms"),
        1_000..10_000 => format!("{}.{}{GLUE}s", seconds, ms % 1_000 / 100),
        10_000..60_000 => format!("{seconds}{GLUE}s"),
        60_000..600_000 => two(minutes, "min", seconds % 60, "s"),
        600_000..3_600_000 => format!("{minutes}{GLUE}min"),
        3_600_000..86_400_000 => two(hours, "h", minutes % 60, "min"),
        86_400_000..1_209_600_000 => two(hours / 24, "d", hours % 24, "h"),
        _ => format!("{}{GLUE}d", hours / 24),
    }
}

/// Cuts `text` at a word near `limit` characters, and squeezes words too long for a phone's line in the middle. The
/// second value says whether anything was left out.
pub(super) fn shorten(text: &str, limit: usize) -> (String, bool) {
    const WORD: usize = 44;
    let mut out = String::new();
    let mut used = 0;
    let mut cut = false;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        let word = if length > WORD {
            cut = true;
            let head: String = word.chars().take(26).collect();
            let tail: String = word.chars().skip(length - 15).collect();
            format!("{head}\u{2026}{tail}")
        } else {
            word.to_owned()
        };
        let length = word.chars().count();
        if used > 0 && used + 1 + length > limit {
            out.push('\u{2026}');
            return (out, true);
        }
        if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(&word);
        used += length;
    }
    (out, cut)
}

/// `text` with its first letter large.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `text` without a full stop or spaces at its end, so that it can stand inside a sentence.
pub(super) fn clause(text: &str) -> &str {
    text.trim().trim_end_matches(['.', ';', ' '])
}

/// Turns moments of a change into times of day, in UTC and in the zone of whoever reads it.
#[derive(Debug)]
pub(super) struct Clock {
    began_unix_ms: i64,
    now_unix_ms: i64,
    zone: Option<(TimeZone, String)>,
    unknown_zone: Option<String>,
}

impl Clock {
    /// A clock for a change that began at `began_unix_ms` and is looked at `elapsed_ms` later.
    pub(super) fn new(began_unix_ms: i64, elapsed_ms: u64, owner_zone: Option<&str>) -> Self {
        let mut clock = Self {
            began_unix_ms,
            now_unix_ms: 0,
            zone: None,
            unknown_zone: None,
        };
        clock.now_unix_ms = clock.unix_ms(elapsed_ms);
        match owner_zone.map(|name| (name, TimeZone::get(name))) {
            None => {}
            Some((_, Ok(zone))) if zone == TimeZone::UTC => {}
            Some((name, Ok(zone))) => {
                let city = name.rsplit('/').next().unwrap_or(name).replace('_', " ");
                clock.zone = Some((zone, city));
            }
            Some((name, Err(_))) => clock.unknown_zone = Some(name.to_owned()),
        }
        clock
    }

    /// The zone that was asked for and that nobody knows.
    pub(super) fn unknown_zone(&self) -> Option<&str> {
        self.unknown_zone.as_deref()
    }

    /// The city of the owner's zone, where it is another than UTC.
    pub(super) fn city(&self) -> Option<&str> {
        self.zone.as_ref().map(|(_, city)| city.as_str())
    }

    /// Unix milliseconds of a moment of the change.
    pub(super) fn unix_ms(&self, at_ms: u64) -> i64 {
        self.began_unix_ms
            .saturating_add(i64::try_from(at_ms).unwrap_or(i64::MAX))
    }

    /// `02:12 UTC (10:12 Shanghai)`, with the day where it is not that of now.
    pub(super) fn at(&self, at_ms: u64) -> String {
        self.at_unix(self.unix_ms(at_ms))
    }

    /// As [`at`](Self::at), of a Unix time.
    pub(super) fn at_unix(&self, unix_ms: i64) -> String {
        self.told(unix_ms, false)
    }

    /// As [`at`](Self::at), always with the day: of what is over, nobody knows when it is read.
    pub(super) fn with_day(&self, at_ms: u64) -> String {
        self.told(self.unix_ms(at_ms), true)
    }

    /// `02:12 UTC`, in a list that has no room for another zone; with the day where it is not that of now.
    pub(super) fn utc(&self, at_ms: u64) -> String {
        let mut told = self.at(at_ms);
        told.truncate(told.find(" (").unwrap_or(told.len()));
        told
    }

    fn told(&self, unix_ms: i64, with_day: bool) -> String {
        let (Ok(at), Ok(now)) = (
            Timestamp::from_millisecond(unix_ms),
            Timestamp::from_millisecond(self.now_unix_ms),
        ) else {
            return format!("at an {UNKNOWN} time");
        };
        let (utc, today) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
        let pattern = if utc.date() == today.date() && !with_day {
            "%H:%M"
        } else if utc.year() == today.year() {
            "%a %-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        let mut out = format!("{} UTC", utc.strftime(pattern)).replace(' ', "\u{a0}");
        if let Some((zone, city)) = &self.zone {
            let local = at.to_zoned(zone.clone());
            let pattern = if local.date() == utc.date() {
                "%H:%M"
            } else {
                "%a %H:%M"
            };
            out.push_str(" (");
            out.push_str(&format!("{} {city}", local.strftime(pattern)).replace(' ', "\u{a0}"));
            out.push(')');
        }
        out
    }

    /// The moment for machines, as in RFC 3339.
    pub(super) fn machine(&self, at_ms: u64) -> String {
        Timestamp::from_millisecond(self.unix_ms(at_ms)).map_or_else(|_| String::new(), |at| at.to_string())
    }

    /// The labels of an axis at this moment: the time in UTC, and in the owner's zone. A whole day says its date.
    pub(super) fn tick(&self, at_ms: u64, whole_days: bool) -> (String, Option<String>) {
        let Ok(at) = Timestamp::from_millisecond(self.unix_ms(at_ms)) else {
            return (String::new(), None);
        };
        let label = |zone: TimeZone| {
            let local = at.to_zoned(zone);
            let midnight = local.hour() == 0 && local.minute() == 0;
            local
                .strftime(if midnight || whole_days { "%-d %b" } else { "%H:%M" })
                .to_string()
        };
        let local = self
            .zone
            .as_ref()
            .filter(|_| !whole_days)
            .map(|(zone, _)| label(zone.clone()));
        (label(TimeZone::UTC), local)
    }

    /// Where the marks of a time axis go between `from_ms` and `to_ms`: at most `most`, at round times of day in UTC.
    /// The second value says whether they are whole days apart.
    pub(super) fn ticks(&self, from_ms: u64, to_ms: u64, most: u64) -> (Vec<u64>, bool) {
        const MIN: u64 = 60_000;
        const HOUR: u64 = 60 * MIN;
        const DAY: u64 = 24 * HOUR;
        const STEPS: [u64; 17] = [
            MIN,
            2 * MIN,
            5 * MIN,
            10 * MIN,
            15 * MIN,
            30 * MIN,
            HOUR,
            2 * HOUR,
            3 * HOUR,
            6 * HOUR,
            12 * HOUR,
            DAY,
            2 * DAY,
            4 * DAY,
            7 * DAY,
            14 * DAY,
            28 * DAY,
        ];
        let span = to_ms.saturating_sub(from_ms);
        let most = most.max(1);
        let step = STEPS
            .into_iter()
            .find(|step| span / step < most)
            .unwrap_or_else(|| (span / most / DAY + 1).saturating_mul(DAY));
        let past = u64::try_from(self.began_unix_ms.rem_euclid(i64::try_from(step).unwrap_or(i64::MAX))).unwrap_or(0);
        // A span beyond all dates ends the marks early instead of repeating the last.
        let first = past
            .checked_add(from_ms)
            .map(|at| at.div_ceil(step))
            .and_then(|n| n.checked_mul(step))
            .map(|at| at - past);
        let marks = std::iter::successors(first, |at| at.checked_add(step))
            .take_while(|at| *at <= to_ms)
            .take(64)
            .collect();
        (marks, step >= DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{HOUR, MIN, plain, sample};
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(23_871), "23,871");
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(weight(3.24), "3.2");
        assert_eq!(weight(3.0), "3");
        assert_eq!(weight(120.4), "120");
        assert_eq!(weight(99.97), "100");
        assert_eq!(weight(1_636.0), "1,636");
        assert_eq!(plain(weight(0.02)), "< 0.1");
        assert_eq!(plain(weight(f64::INFINITY)), "over a million");
        assert_eq!(weight(f64::NAN), "unknown");
        assert_eq!(plain(fraction(0.974)), "97 %");
        assert_eq!(fraction(f64::NAN), "unknown");
    }

    #[test]
    fn a_share_never_rounds_something_to_nothing_or_less_than_all_to_all() {
        let percent = |part, whole| plain(percent(part, whole));
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(10, 10), "100 %");
        assert_eq!(percent(299_999, 300_000), "99.99 %");
        assert_eq!(percent(1_194, 23_871), "5.0 %");
        assert_eq!(percent(24, 23_871), "0.10 %");
        assert_eq!(percent(98, 1_204_311), "0.0081 %");
        assert_eq!(percent(1, u64::MAX), "under 0.0001 %");
        assert_eq!(percent(0, 0), "unknown");
    }

    #[test]
    fn durations_say_their_two_largest_units() {
        let written = [
            0,
            320,
            4_250,
            45_000,
            252_000,
            28 * MIN,
            3 * HOUR,
            200 * MIN,
            52 * HOUR,
            24 * 30 * HOUR,
        ]
        .map(|ms| plain(duration(ms)));
        let wanted = [
            "0 s",
            "320 ms",
            "4.2 s",
            "45 s",
            "4 min 12 s",
            "28 min",
            "3 h",
            "3 h 20 min",
            "2 d 4 h",
            "30 d",
        ];
        assert_eq!(written, wanted);
    }

    #[test]
    fn long_texts_are_cut_at_words_and_long_words_in_the_middle() {
        assert_eq!(shorten("a short one", 20), ("a short one".to_owned(), false));
        assert_eq!(shorten("one two three", 8), ("one two\u{2026}".to_owned(), true));
        let (word, cut) = shorten(&format!("{}{}", "a".repeat(100), "z".repeat(100)), 60);
        assert!(cut);
        assert_eq!(word.chars().count(), 42);
        assert!(word.starts_with("aaaa") && word.ends_with("zzzz"), "{word}");
    }

    #[test]
    fn times_are_in_utc_and_in_the_owners_zone_with_the_day_where_it_differs() {
        let clock = Clock::new(sample().began_unix_ms, 9 * HOUR, Some("Asia/Shanghai"));
        assert_eq!(plain(clock.at(8 * HOUR)), "10:00 UTC (18:00 Shanghai)");
        assert_eq!(plain(clock.at(15 * HOUR)), "17:00 UTC (Mon 01:00 Shanghai)");
        assert_eq!(plain(clock.at(31 * HOUR)), "Mon 23 Nov 09:00 UTC (17:00 Shanghai)");
        assert_eq!(
            plain(clock.at(24 * 30 * HOUR)),
            "Tue 22 Dec 02:00 UTC (10:00 Shanghai)",
            "another month's day 22"
        );
        assert_eq!(
            plain(clock.at(24 * 60 * HOUR)),
            "21 Jan 2027 02:00 UTC (10:00 Shanghai)"
        );
        let berlin = Clock::new(1_792_886_400_000, 9 * HOUR, Some("Europe/Berlin"));
        assert_eq!(plain(berlin.at(0)), "00:00 UTC (02:00 Berlin)", "still summer time");
        assert_eq!(
            plain(berlin.at(2 * HOUR)),
            "02:00 UTC (03:00 Berlin)",
            "summer time is over"
        );
        assert_eq!(plain(Clock::new(i64::MAX, u64::MAX, None).at(0)), "at an unknown time");
    }

    #[test]
    fn axis_marks_are_at_round_times_and_never_too_many() {
        let clock = Clock::new(sample().began_unix_ms + 7 * 60_000, 9 * HOUR, None);
        for span in [
            MIN,
            HOUR,
            9 * HOUR,
            76 * HOUR,
            24 * 30 * HOUR,
            24 * 4_000 * HOUR,
            u64::MAX,
        ] {
            for most in [1, 5, 12] {
                let (marks, _) = clock.ticks(0, span, most);
                assert!(
                    marks.len() <= usize::try_from(most).unwrap() + 1,
                    "{span} {most}: {}",
                    marks.len()
                );
            }
        }
        let (marks, whole_days) = clock.ticks(0, 9 * HOUR, 5);
        assert_eq!(
            (marks, whole_days),
            (vec![113 * MIN, 233 * MIN, 353 * MIN, 473 * MIN], false),
            "04:00, 06:00, 08:00, 10:00"
        );
    }
}
