//! Whether those who still run the old version do worse than history too. Then it is not the release that history speaks against: an
//! incident, or another team's change, is the same to both versions, and only to compare them says anything.

use unattended_health::{Counts, History, JudgeConfig};

use super::classes::gain_per_request;

/// The metrics that promotion needs, by number.
pub(super) const REQUIRED: usize = 2;

/// By so much the control must exceed its history. A release that is as good as the old version shows no more evidence against the limit
/// of twice the history from about here on.
const RISEN: f64 = 1.5;
/// ln of how many times likelier what the control had must be at its own rate than at that of history.
const LN_SURE: f64 = 5.0;

/// Bad events per request in the past, by stratum; 0 where nobody knows.
#[derive(Clone, Debug)]
pub(super) struct Past(Vec<[f64; REQUIRED]>);

impl Past {
    pub(super) fn new(strata: usize, history: &[History]) -> Self {
        let mut rates = vec![[0.0; REQUIRED]; strata];
        for row in history {
            let slot = rates
                .get_mut(row.stratum as usize)
                .and_then(|rates| rates.get_mut(usize::from(row.metric)));
            if let (Some(slot), Some(rate)) = (slot, row.counts.rate()) {
                *slot = rate;
            }
        }
        Self(rates)
    }

    /// By stratum and metric, what one request adds to ln S of a good release.
    pub(super) fn gains(&self, config: &JudgeConfig) -> Vec<[f64; REQUIRED]> {
        let gain = |metric: usize, rate: f64| gain_per_request(rate, config.metrics[metric].floor);
        let of_stratum = |rates: &[f64; REQUIRED]| std::array::from_fn(|metric| gain(metric, rates[metric]));
        self.0.iter().map(of_stratum).collect()
    }

    /// What the control of a stratum had, and what it would have had by history.
    pub(super) fn tide(&self, stratum: u32, metric: u8, control: Counts) -> Tide {
        #[expect(clippy::cast_precision_loss, reason = "counts of an interval are far below 2^53")]
        let (bad, total) = (control.bad as f64, control.total as f64);
        let rate = self
            .0
            .get(stratum as usize)
            .and_then(|rates| rates.get(usize::from(metric)));
        match rate {
            Some(rate) if *rate > 0.0 => Tide {
                seen: bad,
                expected: total * rate,
            },
            // Without a history there is nothing to exceed.
            _ => Tide::default(),
        }
    }
}

/// The control of a class, since its stage is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tide {
    seen: f64,
    expected: f64,
}

impl Tide {
    pub(super) fn add(&mut self, more: Self) {
        self.seen += more.seen;
        self.expected += more.expected;
    }

    /// The control is above its history by more than chance explains.
    pub(super) fn is_high(self) -> bool {
        if self.expected <= 0.0 || self.seen < RISEN * self.expected {
            return false;
        }
        // Of Poisson counts: x ln(x/m) − x + m.
        self.seen * libm::log(self.seen / self.expected) - self.seen + self.expected >= LN_SURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tide_is_high_where_the_control_exceeds_its_history_and_chance_does_not_explain_it() {
        let high = |seen, expected| Tide { seen, expected }.is_high();
        assert!(!high(0.0, 0.0) && !high(5.0, 0.0) && !high(0.0, 10.0));
        assert!(!high(140.0, 100.0) && high(160.0, 100.0));
        assert!(!high(4.0, 1.0) && high(8.0, 1.0));
        let history = [History {
            stratum: 1,
            metric: 0,
            counts: Counts::new(10, 1_000),
            samples: Vec::new(),
            signatures: Vec::new(),
        }];
        let past = Past::new(2, &history);
        let mut tide = Tide::default();
        // Whoever has no history, and metrics that promotion does not need, say nothing.
        for (stratum, metric) in [(0, 0), (1, 1), (1, 3), (7, 0)] {
            tide.add(past.tide(stratum, metric, Counts::new(500, 1_000)));
        }
        assert!(!tide.is_high());
        tide.add(past.tide(1, 0, Counts::new(20, 1_000)));
        assert!(!tide.is_high(), "twice as many of ten may be chance");
        (0..4).for_each(|_| tide.add(past.tide(1, 0, Counts::new(20, 1_000))));
        assert!(tide.is_high());
    }
}
