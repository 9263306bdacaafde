//! Latency as counts: how many requests were slower than each of some bounds.

use crate::{Counts, MetricSpec};

/// From a histogram over fixed bounds to what is slower than each of them: for `buckets` of requests up to the first bound,
/// between it and the second, …, and above the last, one count per bound. `None` where the sum is above 2^64.
///
/// Each bound is a metric of its own, the same arithmetic as errors: no raw samples, no quantiles to estimate.
#[must_use]
pub fn slower_than(buckets: &[u64]) -> Option<Vec<Counts>> {
    let total = buckets.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count))?;
    let mut slower = total;
    let (_, bounded) = buckets.split_last()?;
    Some(
        bounded
            .iter()
            .map(|count| {
                slower -= count;
                Counts::new(slower, total)
            })
            .collect(),
    )
}

impl MetricSpec {
    /// This metric once per bound, the weight shared alike, so that the part in the stop statistic is the mean over the
    /// bounds; `name` becomes `name>bound`.
    #[must_use]
    pub fn over_bounds(&self, bounds: &[String]) -> Vec<Self> {
        let share = self.weight / crate::judge::count(bounds.len().max(1));
        bounds
            .iter()
            .map(|bound| Self {
                name: format!("{}>{bound}", self.name),
                weight: share,
                ..self.clone()
            })
            .collect()
    }
}
