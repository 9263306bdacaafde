//! Readings of one host, thinned out with age, and their slope.

/// Most readings kept of a host. At each look its last quarter holds 16 to 32 of them.
const MAX_READINGS: usize = 128;
/// Fewer readings in a window have no slope.
const MIN_READINGS: usize = 8;

const HOUR_MS: f64 = 3_600_000.0;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    /// Rising in time.
    pub(super) readings: Vec<(u64, f64)>,
    /// A reading closer to the one before is not kept.
    pub(super) spacing_ms: u64,
}

impl Series {
    /// As it was saved; `None` for more readings than are ever kept.
    pub(super) fn restored(readings: Vec<(u64, f64)>, spacing_ms: u64) -> Option<Self> {
        (readings.len() < MAX_READINGS).then_some(Self { readings, spacing_ms })
    }

    pub(super) fn first_ms(&self) -> Option<u64> {
        self.readings.first().map(|(at_ms, _)| *at_ms)
    }

    pub(super) fn add(&mut self, at_ms: u64, value: f64) {
        if let Some((last, _)) = self.readings.last()
            && at_ms < last.saturating_add(self.spacing_ms)
        {
            return;
        }
        self.readings.push((at_ms, value));
        if self.readings.len() == MAX_READINGS {
            let mut place = 0;
            self.readings.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            let span = at_ms - self.readings[0].0;
            // What is kept from now on is as far apart as what was kept so far; a reading that comes a little early is no
            // reason to lose it.
            self.spacing_ms = span / (MAX_READINGS as u64 / 2) * 9 / 10;
        }
    }

    /// Growth since `from_ms`, per hour, as a share of the level: the median of the slopes of all pairs of readings (Theil
    /// 1950, Sen 1968), divided by the median reading or 1, whichever is larger. Nearly a third of the readings may be
    /// anything. `None` with too few.
    pub(super) fn growth(&self, from_ms: u64) -> Option<f64> {
        let from = self.readings.partition_point(|(at_ms, _)| *at_ms < from_ms);
        let recent = &self.readings[from..];
        if recent.len() < MIN_READINGS {
            return None;
        }
        let mut slopes = Vec::with_capacity(recent.len() * (recent.len() - 1) / 2);
        for (place, (early_ms, early)) in recent.iter().enumerate() {
            for (late_ms, late) in &recent[place + 1..] {
                let hours = crate::row::to_f64(late_ms - early_ms) / HOUR_MS;
                if hours > 0.0 {
                    slopes.push((late - early) / hours);
                }
            }
        }
        let level = median(recent.iter().map(|(_, value)| *value).collect())?;
        Some(median(slopes)? / level.max(1.0))
    }
}

/// The lower median of an even number.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_line_whatever_a_quarter_of_the_readings_says() {
        let mut series = Series::default();
        for minute in 0..1_000_u64 {
            let line = 1e9 * (1.0 + 0.02 * minute as f64 / 60.0);
            // Scattered, so that thinning out does not happen to remove them.
            let wrong = minute.wrapping_mul(2_654_435_761) >> 16 & 3 == 1;
            series.add(minute * 60_000, if wrong { 1e12 } else { line });
        }
        assert!(series.readings.len() < MAX_READINGS);
        // The level is the median reading's, so the share is a little below 2 % of the beginning.
        let growth = series.growth(0).unwrap();
        assert!((0.014..0.02).contains(&growth), "{growth}");
        let late = series.growth(750 * 60_000).unwrap();
        assert!((0.014..0.018).contains(&late), "{late}");
        assert_eq!(series.growth(999 * 60_000), None);
    }

    #[test]
    fn readings_are_thinned_evenly() {
        let mut series = Series::default();
        for second in 0..100_000_u64 {
            series.add(second * 1_000, 1.0);
            let (first, last) = (series.readings[0].0, series.readings[series.readings.len() - 1].0);
            let quarter = last - (last - first) / 4;
            let in_quarter = series.readings.iter().filter(|(at, _)| *at >= quarter).count();
            assert!(second < 64 || in_quarter >= 12, "{second}: {in_quarter}");
            assert!(second * 1_000 - last <= second * 1_000 / 30 + 1_000);
        }
        assert_eq!(series.growth(0), Some(0.0));
    }
}
