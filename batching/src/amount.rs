//! A count, or a share in whole parts per million: no floating point decides how many.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MILLION: u64 = 1_000_000;

/// How many of a set.
///
/// Shares are exact in parts per million, up to 4,294 % where more than the whole can be meant. The first batch of a ramp that grows never
/// exceeds its share, but has one; steps round up, as elsewhere; how a [`Cap`](crate::Cap) rounds is part of the cap.
///
/// As text (and so in JSON and YAML) a share is `"5 %"` or `"0.1%"`, with at most four decimals; a count is a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amount {
    /// A share of the set, 0 to 1,000,000. More is refused by [`Plan::build`](crate::Plan::build).
    PartsPerMillion(u32),
    /// That many, or the whole set if it is smaller.
    Count(u32),
}

/// Text that is neither a share nor a count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a share such as `5 %` or `0.1 %` (at most four decimals) nor a count such as `12`")]
pub struct AmountError {
    text: String,
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

    /// The amount of a set of `n`, rounded down, but at least one: 0.1 % of 23,871 is 23, and 1 % of one is that one.
    #[must_use]
    pub fn at_most_of(self, n: u32) -> u32 {
        self.floor_of(n).max(1).min(n)
    }

    /// A load and so much more, rounded up.
    pub(crate) fn on_top_of(self, load: u64) -> u64 {
        let more = match self {
            Self::PartsPerMillion(ppm) => (u128::from(load) * u128::from(ppm)).div_ceil(u128::from(MILLION)),
            Self::Count(count) => u128::from(count),
        };
        load.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
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

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        parse(text.trim()).ok_or_else(|| AmountError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Amount> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(share) = text.strip_suffix('%').map(str::trim_end) else {
        return digits(text).then(|| text.parse().ok().map(Amount::Count))?;
    };
    let (whole, part) = share.split_once('.').unwrap_or((share, "0"));
    if !(digits(whole) && digits(part)) || part.is_empty() || part.len() > 4 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    Some(Amount::PartsPerMillion(whole.checked_mul(10_000)?.checked_add(part)?))
}

/// What binary formats see: they cannot tell text from numbers.
#[derive(Serialize, Deserialize)]
enum Bare {
    PartsPerMillion(u32),
    Count(u32),
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Count(count) if serializer.is_human_readable() => serializer.serialize_u32(count),
            Self::PartsPerMillion(_) if serializer.is_human_readable() => serializer.collect_str(self),
            Self::Count(count) => Bare::Count(count).serialize(serializer),
            Self::PartsPerMillion(ppm) => Bare::PartsPerMillion(ppm).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(TextOrNumber::<Self>::new("a share such as `5 %`, or a count"));
        }
        Ok(match Bare::deserialize(deserializer)? {
            Bare::PartsPerMillion(ppm) => Self::PartsPerMillion(ppm),
            Bare::Count(count) => Self::Count(count),
        })
    }
}

/// Reads what is written either as text or as a plain number.
pub(crate) struct TextOrNumber<T> {
    expected: &'static str,
    what: std::marker::PhantomData<T>,
}

impl<T> TextOrNumber<T> {
    pub(crate) const fn new(expected: &'static str) -> Self {
        Self {
            expected,
            what: std::marker::PhantomData,
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for TextOrNumber<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

fn clip(value: u64, n: u32) -> u32 {
    u32::try_from(value).unwrap_or(n).min(n)
}

#[cfg(test)]
mod tests {
    use super::{Amount, count, pct, permille};

    #[test]
    fn rounding() {
        // OpenKruise rollouts: 1 % of one is that one.
        assert_eq!(pct(1).ceil_of(1), 1);
        assert_eq!(permille(1).ceil_of(23_871), 24);
        assert_eq!(permille(1).at_most_of(23_871), 23);
        assert_eq!(
            [pct(1).at_most_of(1), pct(1).at_most_of(0), pct(100).at_most_of(7)],
            [1, 0, 7]
        );
        assert_eq!(pct(50).floor_of(3), 1);
        assert_eq!(pct(50).ceil_of(3), 2);
        assert_eq!(pct(500).floor_of(3), 3);
        assert_eq!(count(7).floor_of(3), 3);
        assert_eq!(pct(100).floor_of(u32::MAX), u32::MAX);
        assert_eq!(pct(0).ceil_of(9), 0);
    }

    #[test]
    fn reads_as_written() {
        for (amount, text) in [
            (pct(5), "5 %"),
            (permille(1), "0.1 %"),
            (count(12), "12"),
            (Amount::PartsPerMillion(1), "0.0001 %"),
        ] {
            assert_eq!(amount.to_string(), text);
            assert_eq!(text.parse(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount, "{json}");
        }
        assert_eq!("12.5%".parse(), Ok(Amount::PartsPerMillion(125_000)));
        for text in [
            "",
            "%",
            "-1",
            "5.%",
            "1.00001 %",
            "a",
            "5 % 5",
            "99999999999",
            "429497 %",
            "+3",
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Amount>("-3").is_err());
        assert!(serde_json::from_str::<Amount>("1.5").is_err());
    }
}
