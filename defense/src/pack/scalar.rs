//! The small languages inside texts: lengths, times of day, dated times.

use jiff::civil::{DateTime, Time};

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// A length such as `90m`, `14h`, `1h30m`, `2d`, `1w` or `30s` (a day is 24 hours of elapsed time), in milliseconds.
pub(crate) fn length(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    let mut last_unit = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b'w' => 7 * DAY_MS,
            b'd' => DAY_MS,
            b'h' => HOUR_MS,
            b'm' => MINUTE_MS,
            b's' => 1_000,
            _ => return None,
        };
        if unit >= last_unit {
            return None;
        }
        last_unit = unit;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(total)
}

/// Whether a text has the shape of a pattern in which `0` stands for any digit.
fn shaped(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(t, p)| if p == b'0' { t.is_ascii_digit() } else { t == p })
}

/// A wall-clock time `HH:MM`, or `H:MM` before ten.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    if !shaped(text, "00:00") && !shaped(text, "0:00") {
        return None;
    }
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// A day of each year, `MM-DD`; 29 February is one.
pub(super) fn month_and_day(text: &str) -> Option<(i8, i8)> {
    if !shaped(text, "00-00") {
        return None;
    }
    let date = jiff::civil::Date::new(2000, text[..2].parse().ok()?, text[3..].parse().ok()?).ok()?;
    Some((date.month(), date.day()))
}

/// A wall-clock time on a date: `2026-11-10`, `2026-11-10T08:00` or `2026-11-10T08:00:30`, also with a blank for the `T`. No
/// offset, no `Z`: the zone is a field of its own.
pub(super) fn dated(text: &str) -> Option<DateTime> {
    let shapes = [
        "0000-00-00",
        "0000-00-00T00:00",
        "0000-00-00T00:00:00",
        "0000-00-00 00:00",
        "0000-00-00 00:00:00",
    ];
    shapes
        .iter()
        .any(|shape| shaped(text, shape))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(length("14h"), Some(14 * HOUR_MS));
        assert_eq!(length("1h30m"), Some(90 * MINUTE_MS));
        assert_eq!(length("1d2h"), Some(26 * HOUR_MS));
        assert_eq!(length("2w"), Some(14 * DAY_MS));
        assert_eq!(length("1m30s"), Some(90_000));
        assert_eq!(length("0h"), Some(0));
        for wrong in [
            "",
            "14",
            "h",
            "-1h",
            "1.5h",
            "30m1h",
            "1h1h",
            "1 h",
            "9223372036854775807d",
            "1y",
            "1µ",
        ] {
            assert_eq!(length(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time_of_day("18:05"), Time::new(18, 5, 0, 0).ok());
        assert_eq!(time_of_day("8:05"), Time::new(8, 5, 0, 0).ok());
        for wrong in ["24:00", ":00", "18:60", "18:00:00", "1800", "éé:0"] {
            assert_eq!(time_of_day(wrong), None, "{wrong}");
        }
        assert_eq!(dated("2026-11-10"), dated("2026-11-10T00:00"));
        assert_eq!(dated("2026-11-10 08:00"), dated("2026-11-10T08:00"));
        assert_eq!(dated("2028-02-29T08:00:30").map(DateTime::second), Some(30));
        for wrong in [
            "2026-02-29",
            "2026-11-10T00:00Z",
            "2026-11-10T00:00+08:00",
            "2026-11-10  00:00",
            "11.11",
        ] {
            assert_eq!(dated(wrong), None, "{wrong}");
        }
    }
}
