//! The range of time the engine speaks about, and how instants are written for people.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

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
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

/// `2026-11-20 18:00 Asia/Shanghai`; seconds only where they are not zero.
pub(crate) fn render(ms: i64, zone_name: &str) -> String {
    let (zone, name) = zone(zone_name).map_or((TimeZone::UTC, "UTC"), |zone| (zone, zone_name));
    let local = timestamp(ms).to_zoned(zone);
    let format = if local.second() == 0 {
        "%Y-%m-%d %H:%M"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    format!("{} {name}", local.strftime(format))
}
