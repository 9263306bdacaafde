//! An e-value that may be larger than a float.

use crate::evidence::ln_sum_exp;

/// Up to e^600 an e-value is kept as it is: a sum of fewer than e^100 of them stays finite.
pub(crate) const LN_PLAIN: f64 = 600.0;

/// An e-value as it is while it is at most about e^600, else by its logarithm. Which of the two depends on nothing but
/// the numbers it is computed from, so that a restored judge has the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum EValue {
    /// The value.
    Plain(f64),
    /// ln of the value.
    Ln(f64),
}

impl EValue {
    pub(crate) const ONE: Self = Self::Plain(1.0);

    pub(crate) fn ln(self) -> f64 {
        match self {
            Self::Plain(value) => libm::log(value),
            Self::Ln(ln) => ln,
        }
    }

    /// Σ wᵢ eᵢ in the order given.
    pub(crate) fn weighted(parts: impl Iterator<Item = (f64, Self)> + Clone) -> Self {
        let mut sum = 0.0;
        for (weight, value) in parts.clone() {
            match value {
                Self::Plain(value) => sum += weight * value,
                Self::Ln(_) => {
                    let terms: Vec<f64> = parts.map(|(weight, value)| libm::log(weight) + value.ln()).collect();
                    return Self::Ln(ln_sum_exp(&terms));
                }
            }
        }
        Self::Plain(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_agree_on_both_sides_of_the_border() {
        let parts = [(0.5, 3.0), (0.3, 599.0), (0.2, 590.0)];
        let plain = EValue::weighted(parts.iter().map(|&(w, ln)| (w, EValue::Plain(libm::exp(ln)))));
        let by_ln = EValue::weighted(parts.iter().map(|&(w, ln)| (w, EValue::Ln(ln))));
        assert!(matches!((plain, by_ln), (EValue::Plain(_), EValue::Ln(_))));
        assert!((plain.ln() - by_ln.ln()).abs() < 1e-9, "{plain:?} {by_ln:?}");
        // One part that is too large for a float does not hide the others, and a weight of 0 hides it.
        let mixed = |weight| EValue::weighted([(1.0 - weight, EValue::ONE), (weight, EValue::Ln(5_000.0))].into_iter());
        assert!((mixed(0.5).ln() - (5_000.0 - core::f64::consts::LN_2)).abs() < 1e-9);
        assert!(mixed(0.0).ln().abs() < 1e-12);
    }
}
