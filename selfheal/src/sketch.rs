//! Latencies in a fixed number of logarithmic buckets.

use crate::sync::{AtomicU32, Ordering};

/// Buckets of a sketch.
pub(crate) const LATENCY_BUCKETS: usize = 32;

/// Latencies of one node, counted in 32 buckets whose bounds are √2 apart: 128 bytes, one addition a record.
///
/// Bucket `i` holds what took `floor * √2^i` up to `floor * √2^(i + 1)`; the first also what was faster, the last what
/// was slower. So it spans a factor of 65,536, and a quantile is known to half a bucket, 19 %. One reader takes the
/// counts away.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// Half octaves from one microsecond to the floor.
    floor_halves: u32,
    buckets: [AtomicU32; LATENCY_BUCKETS],
}

/// Counts taken from a sketch.
pub(crate) type Histogram = [u32; LATENCY_BUCKETS];

impl Sketch {
    /// The floor is rounded down to a power of two, which saves a division.
    pub(crate) fn new(floor_us: u32) -> Self {
        Self {
            floor_halves: 2 * (floor_us | 1).ilog2(),
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// The logarithm of the floor in microseconds, which [`log_quantile`] is measured from.
    pub(crate) fn log_floor(&self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "at most 62")]
        let halves = self.floor_halves as f32;
        halves * (0.5 * std::f32::consts::LN_2)
    }

    #[inline]
    pub(crate) fn record(&self, latency_us: u64) {
        self.buckets[bucket(latency_us, self.floor_halves)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed))
    }

    /// Takes away what was read, so that what came meanwhile is read next time.
    pub(crate) fn subtract(&self, read: &Histogram) {
        for (bucket, &count) in self.buckets.iter().zip(read) {
            // Most are empty, and a subtraction costs as much as a record.
            if count > 0 {
                bucket.fetch_sub(count, Ordering::Relaxed);
            }
        }
    }
}

/// The bucket of a latency: twice its binary logarithm over that of the floor, rounded down. Whole numbers only.
#[inline]
fn bucket(latency_us: u64, floor_halves: u32) -> usize {
    // Half octaves above one microsecond: the mantissa, scaled to 32 bits, beside √2.
    let octave = (latency_us | 1).ilog2();
    let mantissa = (latency_us << (63 - octave)) >> 31;
    let halves = 2 * octave + u32::from(mantissa >= 6_074_001_000);
    (halves.saturating_sub(floor_halves) as usize).min(LATENCY_BUCKETS - 1)
}

/// Calls in the histogram.
pub(crate) fn total(histogram: &Histogram) -> u64 {
    histogram.iter().map(|&count| u64::from(count)).sum()
}

/// The natural logarithm of a quantile over the floor, placed within its bucket as if that were filled evenly. `None`
/// without a count.
pub(crate) fn log_quantile(histogram: &Histogram, quantile: f32) -> Option<f32> {
    let total = total(histogram);
    if total == 0 {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rank among counts: the last digits do not matter"
    )]
    let wanted = quantile * total as f32;
    let mut below = 0.0_f32;
    for (i, &count) in histogram.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let (count, place) = (count as f32, i as f32);
        if count > 0.0 && below + count >= wanted {
            return Some((place + (wanted - below) / count) * (0.5 * std::f32::consts::LN_2));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "bounds of buckets, in microseconds")]
    fn buckets_are_half_octaves() {
        for floor in [1_u32, 64, 256, 16_384] {
            for i in 0..LATENCY_BUCKETS {
                let low = f64::from(floor) * 2_f64.powf(i as f64 / 2.0);
                let (inside, below) = ((low * 1.01).ceil() as u64, (low * 0.99).floor() as u64);
                if inside < (low * 1.4) as u64 {
                    assert_eq!(bucket(inside, 2 * floor.ilog2()), i, "{inside} us over {floor}");
                    assert_eq!(
                        bucket(below, 2 * floor.ilog2()),
                        i.saturating_sub(1),
                        "{below} us over {floor}"
                    );
                }
            }
            assert_eq!(
                (bucket(0, 2 * floor.ilog2()), bucket(u64::MAX, 2 * floor.ilog2())),
                (0, 31)
            );
        }
        assert_eq!(Sketch::new(300).floor_halves, 16, "a floor is a power of two");
    }

    #[test]
    fn quantiles_are_within_half_a_bucket() {
        let sketch = Sketch::new(1_024);
        (1..=1_000_u64).for_each(|ms| sketch.record(ms * 1_000));
        let histogram = sketch.read();
        for (quantile, want_ms) in [(0.05, 50.0), (0.5, 500.0), (0.95, 950.0)] {
            let ms = log_quantile(&histogram, quantile).unwrap().exp() * 1.024;
            assert!((ms / want_ms).ln().abs() < 0.175, "{quantile}: {ms}");
        }
        assert_eq!(log_quantile(&[0; LATENCY_BUCKETS], 0.5), None);
    }
}
