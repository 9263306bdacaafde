//! Time zones as sorted tables, so that finding an instant is a binary search and integer arithmetic.
//!
//! The tables come from jiff's bundled data once, when packs are loaded. A calendar that is asked three times a second
//! for each of thousands of applications cannot afford to interpret a rule of daylight saving time each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZoneDatabase;

use crate::time::{self, DAY_MS, END_MS, FIRST_MS};

/// One zone from before 1970 to after 2200, in milliseconds. Between two changes of the clock, the offset is constant:
/// such a span is a *segment*.
#[derive(Debug)]
pub(crate) struct Zone {
    name: String,
    /// When each segment begins, in unix milliseconds; the first holds since ever.
    starts: Vec<i64>,
    /// What is added to unix time within the segment.
    offsets: Vec<i64>,
    /// What the clock shows where the segment ends, as milliseconds since 1970 on that clock. Ascending.
    local_ends: Vec<i64>,
}

impl Zone {
    /// A zone by its IANA name, the same on every machine.
    fn new(name: &str) -> Option<Self> {
        let zone = time::zone(name)?;
        let first = time::timestamp(FIRST_MS - 300 * DAY_MS);
        let offset_ms = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * 1_000;
        let mut starts = vec![i64::MIN / 4];
        let mut offsets = vec![offset_ms(zone.to_offset(first))];
        for change in zone.following(first) {
            let at = change.timestamp().as_millisecond();
            if at > END_MS + 800 * DAY_MS {
                break;
            }
            // Some changes are of the zone's abbreviation alone.
            if offsets.last() != Some(&offset_ms(change.offset())) {
                starts.push(at);
                offsets.push(offset_ms(change.offset()));
            }
        }
        let ends = starts[1..].iter().copied().chain([i64::MAX / 4]);
        let local_ends = ends.zip(&offsets).map(|(end, offset)| end + offset).collect();
        Some(Self {
            name: name.to_owned(),
            starts,
            offsets,
            local_ends,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The segment an instant lies in.
    pub(crate) fn segment(&self, ms: i64) -> usize {
        self.starts.partition_point(|start| *start <= ms).saturating_sub(1)
    }

    pub(crate) fn segments(&self) -> usize {
        self.starts.len()
    }

    /// What the clock shows at the beginning of a segment and at its end, in milliseconds since 1970 on that clock.
    pub(crate) fn local_span(&self, segment: usize) -> (i64, i64) {
        (self.starts[segment] + self.offsets[segment], self.local_ends[segment])
    }

    pub(crate) fn offset(&self, segment: usize) -> i64 {
        self.offsets[segment]
    }

    /// The first instant at or after a wall-clock time: the time itself; its first pass where clocks go back over
    /// it; the first instant after the gap where clocks jump over it.
    pub(crate) fn first_instant(&self, local: i64) -> i64 {
        // The first segment that still has this time, or a later one, before it.
        let segment = self
            .local_ends
            .partition_point(|end| *end <= local)
            .min(self.starts.len() - 1);
        (local - self.offsets[segment]).max(self.starts[segment])
    }

    /// Like [`first_instant`](Self::first_instant), but the second pass where a time happens twice: the careful end
    /// of a closed span.
    pub(crate) fn last_instant(&self, local: i64) -> i64 {
        let mut segment = self
            .local_ends
            .partition_point(|end| *end <= local)
            .min(self.starts.len() - 1);
        // At most one more, since two folds never meet.
        while segment + 1 < self.starts.len() && self.local_span(segment + 1).0 <= local {
            segment += 1;
        }
        (local - self.offsets[segment]).max(self.starts[segment])
    }

    /// The latest wall-clock time whose [`first_instant`](Self::first_instant) is not after an instant.
    pub(crate) fn latest_local(&self, ms: i64) -> i64 {
        let segment = self.segment(ms);
        let shown = ms + self.offsets[segment];
        match segment.checked_sub(1) {
            // In the second pass of a fold every time of the first one has been.
            Some(before) => shown.max(self.local_ends[before] - 1),
            None => shown,
        }
    }
}

/// The zones in use, each once.
#[derive(Debug, Default)]
pub(crate) struct Zones(BTreeMap<String, Arc<Zone>>);

impl Zones {
    /// A zone by its IANA name; `None` if there is none.
    pub(crate) fn get(&mut self, name: &str) -> Option<Arc<Zone>> {
        if let Some(zone) = self.0.get(name) {
            return Some(zone.clone());
        }
        let zone = Arc::new(Zone::new(name)?);
        self.0.insert(name.to_owned(), zone.clone());
        Some(zone)
    }

    /// Every name there is.
    pub(crate) fn names() -> Vec<String> {
        TimeZoneDatabase::bundled()
            .available()
            .map(|zone| zone.to_string())
            .collect()
    }
}
