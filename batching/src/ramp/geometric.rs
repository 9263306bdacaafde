//! As many times more each time.

use serde::{Deserialize, Serialize};

use super::{RampError, Shape, Sizes};
use crate::amount::{Amount, permille};

const MILLION: u128 = 1_000_000;
/// Fractional bits of the running size: products are exact for growths such as 2, 1.5 and 3, and off by less than 2⁻³² otherwise.
const FRACTION: u32 = 32;

/// Cumulative sizes `C_k = min(N, ceil(C_0 · g^k))`; a share for `C_0` rounds down, but not to nothing. See [`Ramp::geometric`](super::Ramp::geometric).
///
/// Growth `g` costs `1 + ceil(log_g(N / C_0))` batches. Faster growth means fewer batches and more exposure
/// to a rare fault; doubling is the cautious end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Geometric {
    first: Amount,
    growth_ppm: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: Amount,
    growth: f64,
}

impl TryFrom<Written> for Geometric {
    type Error = RampError;

    fn try_from(written: Written) -> Result<Self, RampError> {
        Self::new(written.first, written.growth)
    }
}

impl From<Geometric> for Written {
    fn from(shape: Geometric) -> Self {
        Self {
            first: shape.first,
            growth: growth_of(shape.growth_ppm),
        }
    }
}

impl Geometric {
    pub(super) const DOUBLING: Self = Self {
        first: permille(1),
        growth_ppm: 2_000_000,
    };

    pub(super) fn new(first: Amount, growth: f64) -> Result<Self, RampError> {
        RampError::check_amount("first", first)?;
        Ok(Self {
            first,
            growth_ppm: ppm_of(growth)?,
        })
    }

    /// The first batch.
    #[must_use]
    pub const fn first(&self) -> Amount {
        self.first
    }

    /// Growth from batch to batch in parts per million: 2,000,000 doubles.
    #[must_use]
    pub const fn growth_ppm(&self) -> u64 {
        self.growth_ppm
    }
}

impl Shape for Geometric {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        let mut sizes = Sizes::new(fleet, least);
        if fleet > 0 {
            grow(&mut sizes, self.first.at_most_of(fleet), self.growth_ppm)?;
        }
        sizes.end()
    }
}

/// The growth as people write it.
#[expect(clippy::cast_precision_loss, reason = "at most 10^12, exact in a double")]
pub(super) fn growth_of(ppm: u64) -> f64 {
    ppm as f64 / 1e6
}

pub(super) fn ppm_of(growth: f64) -> Result<u64, RampError> {
    if !(1.001..=1e6).contains(&growth) {
        return Err(RampError::Growth { growth });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1.001e6 and 1e12, checked above"
    )]
    let ppm = libm::round(growth * 1e6) as u64;
    Ok(ppm)
}

/// Adds `from`, and `growth_ppm` times as many each time, until the fleet is reached.
pub(super) fn grow(sizes: &mut Sizes, from: u32, growth_ppm: u64) -> Result<(), RampError> {
    let mut size = u128::from(from.max(sizes.least)) << FRACTION;
    loop {
        let whole = u32::try_from((size + (1 << FRACTION) - 1) >> FRACTION).unwrap_or(u32::MAX);
        if !sizes.push(whole)? {
            return Ok(());
        }
        // Below 2^32 · 2^32 · 10^12 < 2^128 as long as the fleet is not reached.
        size = size * u128::from(growth_ppm) / MILLION;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ramp;
    use crate::amount::{count, pct};

    #[test]
    fn doubling_of_small_fleets() {
        let sizes = |fleet, least| Ramp::doubling().sizes(fleet, least).unwrap();
        assert_eq!(sizes(28, 1), [1, 2, 4, 8, 16, 28]);
        assert_eq!(sizes(47, 1), [1, 2, 4, 8, 16, 32, 47]);
        assert_eq!(sizes(1, 1), [1]);
        assert!(sizes(0, 1).is_empty());
        assert_eq!(sizes(4, 9), [4]);
        assert_eq!(sizes(10_000, 1)[..4], [10, 20, 40, 80]);
        assert_eq!(sizes(10_000, 13)[..4], [13, 26, 52, 104]);
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
            assert_eq!(ramp.sizes(n, 1).unwrap().len(), batches, "N = {n}, g = {growth}");
        }
    }

    #[test]
    fn slow_growth_skips_sizes_that_do_not_grow() {
        let ramp = Ramp::geometric(count(1), 1.5).unwrap();
        assert_eq!(ramp.sizes(10, 1).unwrap(), [1, 2, 3, 4, 6, 8, 10]);
    }

    #[test]
    fn the_largest_fleet_at_the_slowest_and_the_fastest() {
        let slow = Ramp::geometric(count(1), 1.001)
            .unwrap()
            .sizes(u32::MAX - 1, 1)
            .unwrap();
        assert!(slow.len() < 60_000 && slow.is_sorted() && slow.ends_with(&[u32::MAX - 1]));
        let fast = Ramp::geometric(count(u32::MAX - 2), 1e6).unwrap();
        assert_eq!(fast.sizes(u32::MAX - 1, 1).unwrap(), [u32::MAX - 2, u32::MAX - 1]);
    }

    #[test]
    fn bad_growth_is_refused() {
        for growth in [0.0, 1.0, -2.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Ramp::geometric(count(1), growth).is_err(), "{growth}");
        }
        assert!(Ramp::geometric(count(0), 2.0).is_err());
        assert!(Ramp::geometric(pct(101), 2.0).is_err());
    }

    /// A ramp that was read from somewhere is checked like one that was built.
    #[test]
    fn a_ramp_read_with_no_growth_is_refused() {
        let text = serde_json::to_string(&Ramp::doubling()).unwrap();
        assert_eq!(text, r#"{"geometric":{"first":"0.1 %","growth":2.0}}"#);
        let error = serde_json::from_str::<Ramp>(&text.replace("2.0", "0")).unwrap_err();
        assert!(error.to_string().starts_with("growth 0 is not between"), "{error}");
    }
}
