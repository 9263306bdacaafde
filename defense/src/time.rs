//! The range of time the engine speaks about, and how instants are written for people.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Disambiguation, OffsetConflict, TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// The first instant answered for: 1970-01-01T00:00Z.
pub(crate) const FIRST_MS: i64 = 0;
/// The end of what is answered for: 2200-01-01T00:00Z. Calendar arithmetic near it cannot overflow.
pub(crate) const END_MS: i64 = 7_258_118_400_000;

pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Whether an instant can be answered for.
pub(crate) fn in_range(ms: i64) -> bool {
    (FIRST_MS..END_MS).contains(&ms)
}

/// A timestamp of milliseconds, clamped into a range two centuries wide.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms.clamp(FIRST_MS - 400 * DAY_MS, END_MS + 800 * DAY_MS))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A wall-clock time as milliseconds since 1970 on that clock.
pub(crate) fn local_ms(civil: DateTime) -> Option<i64> {
    let as_utc = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
    Some(as_utc.as_millisecond())
}

/// A zone by its IANA name, from the data compiled in: the same on every machine.
pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// `2026-11-20 18:00 Asia/Shanghai`; seconds only where they are not zero, and with its offset where the time comes twice.
pub(crate) fn render(ms: i64, zone_name: &str) -> String {
    let (zone, name) = zone(zone_name).map_or((TimeZone::UTC, "UTC"), |zone| (zone, zone_name));
    let local = timestamp(ms).to_zoned(zone);
    let twice = local
        .time_zone()
        .to_ambiguous_timestamp(local.datetime())
        .is_ambiguous();
    let format = match (local.second() == 0, twice) {
        (true, false) => "%Y-%m-%d %H:%M",
        (false, false) => "%Y-%m-%d %H:%M:%S",
        (true, true) => "%Y-%m-%d %H:%M%:z",
        (false, true) => "%Y-%m-%d %H:%M:%S%:z",
    };
    format!("{} {name}", local.strftime(format))
}

/// A text that names no instant, or not one alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{given}` {what}; fix: {fix}")]
#[non_exhaustive]
pub struct InstantError {
    /// The text, shortened.
    pub given: String,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

/// Reads an instant, in unix milliseconds: `2026-11-22T10:00:00+08:00`, `2026-11-22T02:00Z`, or with a zone
/// `2026-11-22T10:00[Asia/Shanghai]`. Parts of a millisecond are cut.
///
/// # Errors
/// For anything else; for a wall-clock time without a zone, since nobody knows whose it is; and for one that a zone
/// skips or has twice, unless an offset says which.
pub fn instant(text: &str) -> Result<i64, InstantError> {
    const FORM: &str = "write 2026-11-22T10:00:00+08:00, 2026-11-22T02:00:00Z or 2026-11-22T10:00[Asia/Shanghai]";
    let wrong = |what: String, fix: &str| {
        Err(InstantError {
            given: text.chars().take(60).collect(),
            what,
            fix: fix.to_owned(),
        })
    };
    let Some((wall, rest)) = text.split_once('[') else {
        return match text.parse::<Timestamp>() {
            Ok(at) => Ok(at.as_millisecond()),
            Err(_) if text.parse::<DateTime>().is_ok() => wrong(
                "is a wall-clock time, and nobody knows whose".to_owned(),
                "add an offset or a zone: Z, +08:00 or [Asia/Shanghai]",
            ),
            Err(_) => wrong("is no instant".to_owned(), FORM),
        };
    };
    let zone_name = rest.trim_end_matches(']');
    let Some(zone) = zone(zone_name) else {
        return wrong(
            format!("has the zone `{zone_name}`, which nobody knows"),
            "use an IANA name such as Asia/Shanghai or Europe/Berlin",
        );
    };
    let parser = DateTimeParser::new()
        .disambiguation(Disambiguation::Reject)
        .offset_conflict(OffsetConflict::Reject);
    if let Ok(at) = parser.parse_zoned_with(&TimeZoneDatabase::bundled(), text) {
        return Ok(at.timestamp().as_millisecond());
    }
    let Ok(local) = wall.parse::<DateTime>() else {
        return wrong("is no instant".to_owned(), FORM);
    };
    if wall.parse::<Timestamp>().is_ok() {
        return wrong(
            format!("has an offset that {zone_name} does not have then"),
            "leave out the offset or the zone",
        );
    }
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let pair = |earlier: Disambiguation| {
        ambiguous
            .disambiguate(earlier)
            .map_or_else(|_| String::new(), |at| at.to_zoned(zone.clone()).to_string())
    };
    let (before, after) = (pair(Disambiguation::Earlier), pair(Disambiguation::Later));
    let what = match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => "is skipped there",
        _ => "comes twice there",
    };
    wrong(what.to_owned(), &format!("say which: {before} or {after}"))
}
