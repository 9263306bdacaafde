//! A count, or a share in whole parts per million: no floating point decides how many.

use std::fmt;

use serde::{Deserialize, Serialize};

const MILLION: u64 = 1_000_000;

/// How many of a set.
///
/// Rounding: a *cap* rounds down, yet never to 0 for a set of two or more (5 % of 6 is 1); a *ramp* rounds up
/// (1 % of 1 is that one). Shares are exact in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Amount {
    /// A share of the set, 0 to 1,000,000. More is refused by [`Plan::build`](crate::Plan::build).
    PartsPerMillion(u32),
    /// That many, or the whole set if it is smaller.
    Count(u32),
}

/// A share in percent: `pct(5)`.
#[must_use]
pub const fn pct(percent: u32) -> Amount {
    Amount::PartsPerMillion(percent.saturating_mul(10_000))
}

/// A share in thousandths: `permille(1)` is 0.1 %.
#[must_use]
pub const fn permille(thousandths: u32) -> Amount {
    Amount::PartsPerMillion(thousandths.saturating_mul(1_000))
}

/// An absolute number: `count(3)`.
#[must_use]
pub const fn count(number: u32) -> Amount {
    Amount::Count(number)
}

impl Amount {
    /// The amount of a set of `n`, rounded down; at most `n`.
    #[must_use]
    pub fn floor_of(self, n: u32) -> u32 {
        match self {
            Self::PartsPerMillion(ppm) => clip(u64::from(n) * u64::from(ppm) / MILLION, n),
            Self::Count(count) => count.min(n),
        }
    }

    /// The amount of a set of `n`, rounded up; at most `n`.
    #[must_use]
    pub fn ceil_of(self, n: u32) -> u32 {
        match self {
            Self::PartsPerMillion(ppm) => clip((u64::from(n) * u64::from(ppm)).div_ceil(MILLION), n),
            Self::Count(count) => count.min(n),
        }
    }

    /// The amount as a cap on a set of `n`: rounded down, at least 1 where `n` is 2 or more.
    ///
    /// ```
    /// use unattended_batching::pct;
    /// assert_eq!(pct(5).cap_of(6), 1);
    /// assert_eq!(pct(25).cap_of(11), 2);
    /// assert_eq!(pct(25).cap_of(1), 0); // one alone is for the last batch
    /// ```
    #[must_use]
    pub fn cap_of(self, n: u32) -> u32 {
        self.floor_of(n).max(u32::from(n >= 2))
    }

    pub(crate) const fn is_zero(self) -> bool {
        matches!(self, Self::PartsPerMillion(0) | Self::Count(0))
    }

    pub(crate) const fn above_whole(self) -> bool {
        matches!(self, Self::PartsPerMillion(ppm) if ppm > 1_000_000)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartsPerMillion(ppm) => {
                let (whole, part) = (ppm / 10_000, ppm % 10_000);
                if part == 0 {
                    write!(f, "{whole} %")
                } else {
                    let digits = format!("{part:04}");
                    write!(f, "{whole}.{} %", digits.trim_end_matches('0'))
                }
            }
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

fn clip(value: u64, n: u32) -> u32 {
    u32::try_from(value).unwrap_or(n).min(n)
}

#[cfg(test)]
mod tests {
    use super::{count, pct, permille};

    #[test]
    fn rounding() {
        // OpenKruise kruise#1812: 5 % of 6 rounded to 0 and blocked for ever.
        assert_eq!(pct(5).cap_of(6), 1);
        // OpenKruise rollouts: 1 % of one is that one.
        assert_eq!(pct(1).ceil_of(1), 1);
        assert_eq!(permille(1).ceil_of(23_871), 24);
        assert_eq!(pct(50).floor_of(3), 1);
        assert_eq!(pct(50).ceil_of(3), 2);
        assert_eq!(pct(500).floor_of(3), 3);
        assert_eq!(count(7).cap_of(3), 3);
        assert_eq!(pct(100).floor_of(u32::MAX), u32::MAX);
        assert_eq!(pct(0).ceil_of(9), 0);
    }

    #[test]
    fn reads_as_written() {
        assert_eq!(pct(5).to_string(), "5 %");
        assert_eq!(permille(1).to_string(), "0.1 %");
        assert_eq!(count(12).to_string(), "12");
    }
}
