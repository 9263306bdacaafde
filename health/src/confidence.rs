//! Confidence sequences for reports: bounds that hold at every look at once. No verdict reads them.

use crate::Counts;
use crate::row::to_f64;

/// Bounds of a rate of bad events, both within 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RateInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// ln B(a, b).
fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// ln of the beta-binomial mixture martingale of "the rate is `rate`" after `bad` of `total`, sharpest around `tuned_for`
/// events (Howard, Ramdas, McAuliffe and Sekhon, 2021, proposition 7, with both signs).
fn ln_mixture(rate: f64, bad: f64, total: f64, tuned_for: f64) -> f64 {
    // ln(1/α) of the level at which it is sharpest, 5 %.
    const LN_LEVEL: f64 = 2.995_732_273_553_991;
    let variance = rate * (1.0 - rate);
    let sharpest = variance * tuned_for / (2.0 * LN_LEVEL + libm::log1p(2.0 * LN_LEVEL));
    let prior = (sharpest - variance).max(1e-3 * variance);
    let (a, b) = (prior / rate, prior / (1.0 - rate));
    // With g = p and h = 1 − p the paper's terms become those of Beta(a, b) over the rate of good events and of bad ones.
    ln_beta(a + total - bad, b + bad) - ln_beta(a, b) - bad * libm::log(rate) - (total - bad) * libm::log1p(-rate)
}

/// A rate with its 1 − `alpha` confidence sequence: over all looks together it misses the true rate with probability at
/// most `alpha`. Narrowest around `tuned_for` events (at least 1). Without events everything is possible: 0 to 1.
#[must_use]
pub fn rate_interval(counts: Counts, alpha: f64, tuned_for: f64) -> RateInterval {
    let (bad, total) = (to_f64(counts.bad), to_f64(counts.total));
    let nothing = RateInterval { low: 0.0, high: 1.0 };
    if total <= 0.0 || bad > total || !(alpha > 0.0 && alpha < 1.0 && tuned_for >= 1.0) {
        return nothing;
    }
    let needed = -libm::log(alpha);
    let refuted = |rate: f64| rate <= 0.0 || rate >= 1.0 || ln_mixture(rate, bad, total, tuned_for) >= needed;
    let seen = bad / total;
    let border = |outside: f64| {
        let (mut outside, mut inside) = (outside, seen);
        for _ in 0..100 {
            let middle = f64::midpoint(outside, inside);
            if refuted(middle) {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        f64::midpoint(outside, inside)
    };
    RateInterval {
        low: if bad > 0.0 { border(0.0) } else { 0.0 },
        high: if bad < total { border(1.0) } else { 1.0 },
    }
}

/// Half the width of a band around an empirical distribution of `count` values that holds the true one at every look with
/// probability 1 − `alpha` (Howard and Ramdas, 2022, theorem 2): `0.85·√((ln ln(e·t) + 0.8·ln(1612/α))/t)`; 1 where that says
/// nothing.
#[must_use]
pub fn distribution_band(count: u64, alpha: f64) -> f64 {
    let count = to_f64(count);
    if count < 1.0 || !(alpha > 0.0 && alpha < 1.0) {
        return 1.0;
    }
    let iterated = libm::log1p(libm::log(count));
    (0.85 * libm::sqrt((iterated + 0.8 * libm::log(1612.0 / alpha)) / count)).min(1.0)
}
