//! Absolute evidence of safety: the rate is below θ, which history gives for as long as the control agrees with it.

use crate::Counts;
use crate::row::to_f64;

/// The absolute limit of one application and metric: θ, and the rate q expected of a good release.
///
/// θ = max(2·p₀, floor) follows the application's own history p₀: with one limit for all, a service a hundred times
/// better than it could get ten times worse and still pass. q = max(p₀, θ/4): evidence grows fastest where q is the true
/// rate of a good release, and that is p₀ where history shows one; a service without errors is allowed θ/4, since with
/// q = 0 a single error would make promotion impossible for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limit {
    /// ln(q/θ), per bad event.
    per_bad: f64,
    /// ln((1 − q)/(1 − θ)), per good one.
    per_good: f64,
    /// p₀ where θ is twice that; 0 where θ is the floor, which no quiet hour lowers.
    historic: f64,
}

impl Limit {
    /// `historic` is p₀ in 0..=1. Where 2·p₀ leaves no room below 0.9 the limit gives no evidence at all.
    pub(crate) fn new(historic: f64, floor: f64) -> Self {
        let theta = (2.0 * historic).max(floor).min(0.9);
        let expected = historic.max(theta / 4.0);
        if expected >= theta {
            return Self::default();
        }
        Self {
            historic: if theta > floor { historic } else { 0.0 },
            ..Self::between(theta, expected)
        }
    }

    pub(crate) fn between(theta: f64, expected: f64) -> Self {
        Self {
            per_bad: libm::log(expected / theta),
            per_good: libm::log1p(-expected) - libm::log1p(-theta),
            ..Self::default()
        }
    }

    /// What a request of a release that has the rate q adds on average.
    pub(crate) fn gain(self) -> f64 {
        // per_bad = ln(q/θ) and per_good = ln((1 − q)/(1 − θ)) give q back: q = (1 − e^−g)/(e^−b − e^−g).
        let (bad, good) = (libm::exp(-self.per_bad), libm::exp(-self.per_good));
        if bad <= good {
            return 0.0;
        }
        let expected = (1.0 - good) / (bad - good);
        expected * self.per_bad + (1.0 - expected) * self.per_good
    }

    /// ln e-value of the canary's counts for "the rate is q" against the null "the rate is at least θ".
    pub(crate) fn evidence(self, canary: Counts) -> f64 {
        to_f64(canary.bad) * self.per_bad + to_f64(canary.total - canary.bad) * self.per_good
    }

    /// p₀ where the limit is made of it.
    pub(crate) fn historic(self) -> Option<f64> {
        (self.historic > 0.0).then_some(self.historic)
    }
}

/// What the control has, and what it would have at its historic rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tide {
    /// Bad events.
    pub(crate) seen: f64,
    /// How many there would be.
    pub(crate) expected: f64,
}

impl Tide {
    pub(crate) fn add(&mut self, control: Counts, historic: f64) {
        self.seen += to_f64(control.bad);
        self.expected += to_f64(control.total) * historic;
    }

    /// Adds what is divided by the dispersion only now.
    pub(crate) fn merge(&mut self, other: Self, temper: f64) {
        self.seen += other.seen * temper;
        self.expected += other.expected * temper;
    }

    /// Whether the control is below its history by more than chance explains: by a likelihood ratio of e, which is about 1.4
    /// standard deviations.
    pub(crate) fn is_out(self) -> bool {
        if self.seen >= self.expected {
            return false;
        }
        let ln = if self.seen > 0.0 {
            libm::log(self.seen / self.expected)
        } else {
            0.0
        };
        self.seen * ln + self.expected - self.seen > 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::binomial;

    /// Expectation of exp(ln_e) over the bad events of n requests at rate p.
    fn expectation(n: u64, p: f64, ln_e: impl Fn(Counts) -> f64) -> f64 {
        (0..)
            .zip(binomial(n, p))
            .map(|(x, mass)| mass * libm::exp(ln_e(Counts::new(x, n))))
            .sum()
    }

    #[test]
    fn the_limit_has_expectation_at_most_one_from_theta_on() {
        for (historic, floor) in [
            (0.0, 1e-5),
            (1e-3, 1e-5),
            (0.02, 1e-5),
            (0.2, 1e-5),
            (0.44, 1e-5),
            (0.0, 0.3),
        ] {
            let theta = f64::max(2.0 * historic, floor).min(0.9);
            let limit = Limit::new(historic, floor);
            for worse in [theta, f64::midpoint(theta, 1.0)] {
                let e = expectation(40, worse, |counts| limit.evidence(counts));
                assert!(e <= 1.0 + 1e-9, "{e} at {worse}, θ = {theta}");
            }
        }
        // No room between the historic rate and the limit: no evidence rather than wrong evidence.
        assert_eq!(Limit::new(0.95, 1e-5), Limit::default());
        // q follows history: with q = θ/4 a service exactly as good as ever would gather evidence far more slowly.
        let exposure = Counts::new(100, 100_000);
        assert!(Limit::new(1e-3, 1e-5).evidence(exposure) > Limit::between(2e-3, 5e-4).evidence(exposure) + 5.0);
    }

    #[test]
    fn a_floor_needs_no_history() {
        assert_eq!(Limit::new(4e-6, 1e-5).historic(), None);
        assert_eq!(Limit::new(6e-6, 1e-5).historic(), Some(6e-6));
        assert_eq!(Limit::between(1e-3, 2.5e-4).historic(), None);
    }

    #[test]
    fn the_tide_is_out_where_chance_does_not_explain_it() {
        let out = |seen, expected| Tide { seen, expected }.is_out();
        assert!(!out(0.0, 0.9) && out(0.0, 1.1));
        assert!(!out(88.0, 100.0) && out(85.0, 100.0));
        assert!(!out(100.0, 100.0) && !out(2_000.0, 100.0) && !out(0.0, 0.0));
    }
}
