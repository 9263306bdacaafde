//! How fast a change grows: cumulative sizes before anyone is chosen.

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, permille};
use crate::policy::PolicyError;

const MILLION: u128 = 1_000_000;
/// Fractional bits of the running size: products are exact for growths such as 2, 1.5 and 3, and off by less than 2⁻³² otherwise.
const FRACTION: u32 = 32;

/// Cumulative batch sizes `C_k = min(N, ceil(C_0 · g^k))`.
///
/// Growth `g` costs `1 + ceil(log_g(N / C_0))` batches. Faster growth means fewer batches and more exposure
/// to a rare fault; doubling is the cautious end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    first: Amount,
    growth_ppm: u64,
}

impl Ramp {
    /// Begins with 0.1 % of the fleet and doubles.
    #[must_use]
    pub const fn doubling() -> Self {
        Self {
            first: permille(1),
            growth_ppm: 2_000_000,
        }
    }

    /// Begins with `first` and grows by `growth` from batch to batch, kept to six decimals.
    ///
    /// # Errors
    /// [`PolicyError::Growth`] unless `1.001 <= growth <= 1,000,000`; [`PolicyError::Zero`] for a first batch of nothing;
    /// [`PolicyError::AboveWhole`] above 100 %.
    pub fn geometric(first: Amount, growth: f64) -> Result<Self, PolicyError> {
        if !(1.001..=1e6).contains(&growth) {
            return Err(PolicyError::Growth { growth });
        }
        PolicyError::check_amount("ramp", first)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1.001e6 and 1e12, checked above"
        )]
        let growth_ppm = (growth * 1e6).round() as u64;
        Ok(Self { first, growth_ppm })
    }

    /// The first batch's share of the fleet, rounded up.
    #[must_use]
    pub const fn first(&self) -> Amount {
        self.first
    }

    /// Growth from batch to batch in parts per million: 2,000,000 doubles.
    #[must_use]
    pub const fn growth_ppm(&self) -> u64 {
        self.growth_ppm
    }

    /// Strictly increasing cumulative sizes from `first` to `end`. Empty if `end` is 0.
    pub(crate) fn cumulative(&self, first: u32, end: u32) -> Vec<u32> {
        let mut sizes: Vec<u32> = Vec::new();
        if end == 0 {
            return sizes;
        }
        let mut size = u128::from(first.max(1)) << FRACTION;
        loop {
            let whole = u32::try_from((size + (1 << FRACTION) - 1) >> FRACTION)
                .unwrap_or(end)
                .min(end);
            if sizes.last().is_none_or(|&last| whole > last) {
                sizes.push(whole);
            }
            if whole == end {
                return sizes;
            }
            // Below 2^32 · 2^32 · 10^12 < 2^128 as long as `whole < end`.
            size = size * u128::from(self.growth_ppm) / MILLION;
        }
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self::doubling()
    }
}

#[cfg(test)]
mod tests {
    use super::Ramp;
    use crate::amount::{count, pct};

    #[test]
    fn doubling_of_small_fleets() {
        assert_eq!(Ramp::doubling().cumulative(1, 28), [1, 2, 4, 8, 16, 28]);
        assert_eq!(Ramp::doubling().cumulative(1, 47), [1, 2, 4, 8, 16, 32, 47]);
        assert_eq!(Ramp::doubling().cumulative(1, 1), [1]);
        assert!(Ramp::doubling().cumulative(1, 0).is_empty());
        assert_eq!(Ramp::doubling().cumulative(9, 4), [4]);
    }

    /// K = 1 + ceil(log_g(N / c0)).
    #[test]
    fn batch_counts_of_the_formula() {
        for (n, growth, batches) in [
            (100_000, 2.0, 18),
            (100_000, 3.0, 12),
            (300_000, 2.0, 20),
            (100_000, 5.0, 9),
            (100_000, 10.0, 6),
        ] {
            let ramp = Ramp::geometric(count(1), growth).unwrap();
            assert_eq!(ramp.cumulative(1, n).len(), batches, "N = {n}, g = {growth}");
        }
    }

    #[test]
    fn slow_growth_skips_sizes_that_do_not_grow() {
        let ramp = Ramp::geometric(count(1), 1.5).unwrap();
        assert_eq!(ramp.cumulative(1, 10), [1, 2, 3, 4, 6, 8, 10]);
    }

    #[test]
    fn bad_growth_is_refused() {
        for growth in [0.0, 1.0, -2.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Ramp::geometric(count(1), growth).is_err(), "{growth}");
        }
        assert!(Ramp::geometric(count(0), 2.0).is_err());
        assert!(Ramp::geometric(pct(101), 2.0).is_err());
    }
}
