//! Latency bounds: four to an octave, the same in every process and version, so that counts of all can be added up.

/// Buckets up to 2^32 µs (71 minutes), and one for what is slower.
pub(super) const BUCKETS: usize = 125;

/// The bucket of a latency: the first whose bound is not exceeded.
pub(super) const fn bucket_of(latency_us: u64) -> usize {
    // Bounds are inclusive: a latency equal to one belongs below it.
    let below = latency_us.saturating_sub(1);
    if below < 4 {
        #[expect(clippy::cast_possible_truncation, reason = "below 4")]
        return below as usize;
    }
    if below >= 1 << 32 {
        return BUCKETS - 1;
    }
    let octave = below.ilog2();
    // The two bits after the leading one choose among the four of an octave.
    #[expect(clippy::cast_possible_truncation, reason = "two bits")]
    let quarter = (below >> (octave - 2)) as usize & 3;
    ((octave as usize - 1) << 2) | quarter
}

/// Largest latency of a bucket in microseconds; of the last one there is none.
pub(super) const fn bound_of(bucket: usize) -> Option<u64> {
    if bucket + 1 >= BUCKETS {
        return None;
    }
    let next = bucket as u64 + 1;
    Some(if next < 4 {
        next
    } else {
        (4 + (next & 3)) << ((next >> 2) - 1)
    })
}

/// One of the fixed bounds: requests *slower* than it can be counted exactly. They are 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16,
/// 20 µs and so on, four to an octave, up to 2^32 µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyBound {
    pub(super) bucket: usize,
}

impl LatencyBound {
    /// The smallest bound that is not below `us` microseconds; `None` above the largest.
    #[must_use]
    pub fn at_least(us: u64) -> Option<Self> {
        let bucket = bucket_of(us);
        bound_of(bucket).map(|_| Self { bucket })
    }

    /// The bound in microseconds.
    #[must_use]
    pub fn us(self) -> u64 {
        bound_of(self.bucket).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_the_first_bucket_that_holds_it() {
        let mut bound_before = 0;
        for bucket in 0..BUCKETS - 1 {
            let bound = bound_of(bucket).unwrap();
            assert!(bound > bound_before, "bounds rise");
            assert!(
                bound_before < 4 || bound * 4 <= bound_before * 5,
                "at most a quarter apart"
            );
            assert_eq!(bucket_of(bound), bucket, "a bound is inclusive");
            assert_eq!(bucket_of(bound + 1), bucket + 1);
            assert_eq!(bucket_of(bound_before + 1), bucket);
            bound_before = bound;
        }
        assert_eq!(bound_before, 1 << 32);
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
        assert_eq!(bound_of(BUCKETS - 1), None);
        assert_eq!(LatencyBound::at_least(9).unwrap().us(), 10);
        assert_eq!(LatencyBound::at_least(10).unwrap().us(), 10);
        assert_eq!(LatencyBound::at_least((1 << 32) + 1), None);
    }
}
