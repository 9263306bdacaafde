//! Occurrences of a weekly rule, found around an instant without expanding a calendar.

use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::{DAY_MS, timestamp};

/// One occurrence, half-open, in unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// "On these days, from this wall-clock time, for so long" in one zone.
///
/// The length is elapsed time: a window of 14 hours is 14 hours long in the night the clocks change, too.
/// A start inside a gap is the first instant after the gap; a start that happens twice is the earlier one.
#[derive(Debug, Clone)]
pub(crate) struct Weekly {
    /// Bit 0 is Monday.
    pub(crate) days: u8,
    pub(crate) at: Time,
    pub(crate) duration_ms: i64,
    pub(crate) zone: TimeZone,
}

impl Weekly {
    /// The earliest occurrence that ends after `ms`. `None` only beyond the range of the calendar.
    pub(crate) fn first_ending_after(&self, ms: i64) -> Option<Occurrence> {
        let mut date = self.zone.to_datetime(timestamp(ms)).date();
        // An occurrence that still runs began at most its length ago; two days more cover any jump of the
        // clock, even of a country that changes sides of the date line.
        let back = (self.duration_ms + DAY_MS - 1) / DAY_MS + 2;
        for _ in 0..back {
            date = date.yesterday().ok()?;
        }
        let mut weekday = date.weekday().to_monday_zero_offset();
        for _ in 0..back + 10 {
            if self.days >> weekday & 1 == 1 {
                let from = first_instant(&self.zone, date.to_datetime(self.at))?;
                if from + self.duration_ms > ms {
                    return Some(Occurrence {
                        from,
                        until: from + self.duration_ms,
                    });
                }
            }
            date = date.tomorrow().ok()?;
            weekday = (weekday + 1) % 7;
        }
        None
    }
}

/// The first instant at or after a wall-clock time: the time itself; its first pass where clocks go back over
/// it; the first instant after the gap where clocks jump over it.
pub(crate) fn first_instant(zone: &TimeZone, civil: DateTime) -> Option<i64> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => at_offset(offset, civil),
        AmbiguousOffset::Fold { before, .. } => at_offset(before, civil),
        AmbiguousOffset::Gap { before, after } => {
            // Read with the offset after the jump the time lies before it, and the other way round:
            // the jump is between the two.
            let mut low = at_offset(after, civil)?;
            let mut high = at_offset(before, civil)?;
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if zone.to_offset(timestamp(middle)) == before {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            Some(high)
        }
    }
}

/// Like [`first_instant`], but the second pass where a time happens twice: the careful end of a closed span.
pub(crate) fn last_instant(zone: &TimeZone, civil: DateTime) -> Option<i64> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Fold { after, .. } => at_offset(after, civil),
        _ => first_instant(zone, civil),
    }
}

fn at_offset(offset: Offset, civil: DateTime) -> Option<i64> {
    offset.to_timestamp(civil).ok().map(jiff::Timestamp::as_millisecond)
}
