//! The two-proportion z-test, repeated at every look: what people write themselves.

use super::{Opinion, Pair, Peer, Share, float};

/// Pooled over everything seen so far, one-sided: stops at the first look at which the canary's rate is significantly larger.
#[derive(Clone, Debug, PartialEq)]
pub struct ZTest {
    /// The standard normal's quantile at one minus the level.
    pub quantile: f64,
    sums: Vec<Pair>,
    rejected: bool,
}

impl ZTest {
    /// Stops above this quantile: 1.644854 for 5 %, 2.326348 for 1 %.
    #[must_use]
    pub const fn new(quantile: f64) -> Self {
        Self {
            quantile,
            sums: Vec::new(),
            rejected: false,
        }
    }

    /// The largest statistic of any metric now; 0 where none can be computed.
    #[must_use]
    pub fn statistic(&self) -> f64 {
        self.sums.iter().filter_map(one).fold(0.0, f64::max)
    }
}

fn one(pair: &Pair) -> Option<f64> {
    let (canary, control) = (pair.canary.rate()?, pair.control.rate()?);
    let (n, m) = (float(pair.canary.total), float(pair.control.total));
    let pooled = (float(pair.canary.bad) + float(pair.control.bad)) / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    (variance > 0.0).then(|| (canary - control) / variance.sqrt())
}

impl Peer for ZTest {
    fn observe(&mut self, metrics: &[Pair]) -> Opinion {
        self.sums.resize(metrics.len(), Pair::default());
        let add = |sum: &mut Share, more: Share| {
            sum.bad = sum.bad.saturating_add(more.bad);
            sum.total = sum.total.saturating_add(more.total);
        };
        for (sum, pair) in self.sums.iter_mut().zip(metrics) {
            add(&mut sum.canary, pair.canary);
            add(&mut sum.control, pair.control);
        }
        self.rejected |= self.statistic() > self.quantile;
        if self.rejected {
            Opinion::Rollback
        } else {
            Opinion::Continue
        }
    }

    fn step(&mut self) {}

    fn finish(&self) -> Opinion {
        if self.rejected {
            Opinion::Rollback
        } else {
            Opinion::Promote
        }
    }
}
