//! The most of a set that may be unavailable at once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, AmountError, TextOrNumber};

/// Which way a share becomes a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there are two ways")]
pub enum Rounding {
    /// Down, but never to nothing where there are two or more: 5 % of 6 is 1.
    #[default]
    Down,
    /// Up: 25 % of 11 is 3.
    Up,
}

/// The most of a set that may be unavailable at once: an amount and how it rounds.
///
/// As text (and so in JSON and YAML): `12`, `"5 %"`, `"5 % rounded up"`.
///
/// ```
/// use unattended_batching::{Cap, pct};
/// assert_eq!(Cap::from(pct(5)).of(6), 1);
/// assert_eq!(Cap::from(pct(25)).of(11), 2);
/// assert_eq!(Cap::rounded_up(pct(25)).of(11), 3);
/// assert_eq!(Cap::from(pct(25)).of(1), 0); // one alone is for the last batch
/// assert_eq!("25 % rounded up".parse(), Ok(Cap::rounded_up(pct(25))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cap {
    /// The amount.
    pub at_most: Amount,
    /// Which way a share is rounded.
    pub rounding: Rounding,
}

impl Cap {
    /// At most this amount, rounded down, though never to nothing where there are two or more.
    #[must_use]
    pub const fn rounded_down(at_most: Amount) -> Self {
        Self {
            at_most,
            rounding: Rounding::Down,
        }
    }

    /// At most this amount, rounded up.
    #[must_use]
    pub const fn rounded_up(at_most: Amount) -> Self {
        Self {
            at_most,
            rounding: Rounding::Up,
        }
    }

    /// How many of a set of `n`. At most `n`; at least 1 where `n` is 2 or more; of a single one, rounded down, a share
    /// below the whole is 0.
    #[must_use]
    pub fn of(self, n: u32) -> u32 {
        match self.rounding {
            Rounding::Down => self.at_most.floor_of(n).max(u32::from(n >= 2)),
            Rounding::Up => self.at_most.ceil_of(n),
        }
    }
}

impl From<Amount> for Cap {
    fn from(at_most: Amount) -> Self {
        Self::rounded_down(at_most)
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rounding {
            Rounding::Down => self.at_most.fmt(f),
            Rounding::Up => write!(f, "{} rounded up", self.at_most),
        }
    }
}

impl FromStr for Cap {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let rounded = |way: &str| text.trim_end().strip_suffix(way)?.trim_end().strip_suffix("rounded");
        match (rounded("up"), rounded("down")) {
            (Some(amount), _) => amount.parse().map(Self::rounded_up),
            (_, Some(amount)) => amount.parse().map(Self::rounded_down),
            _ => text.parse().map(Self::rounded_down),
        }
    }
}

impl Serialize for Cap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.rounding {
            _ if !serializer.is_human_readable() => (self.at_most, self.rounding).serialize(serializer),
            Rounding::Down => self.at_most.serialize(serializer),
            Rounding::Up => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let expected = "a count, a share such as `5 %`, or `5 % rounded up`";
            return deserializer.deserialize_any(TextOrNumber::<Self>::new(expected));
        }
        let (at_most, rounding) = Deserialize::deserialize(deserializer)?;
        Ok(Self { at_most, rounding })
    }
}

#[cfg(test)]
mod tests {
    use super::Cap;
    use crate::amount::{count, pct};

    #[test]
    fn never_nothing_of_two() {
        // OpenKruise kruise#1812: 5 % of 6 rounded to 0 and blocked for ever.
        assert_eq!(Cap::from(pct(5)).of(6), 1);
        assert_eq!(Cap::from(count(7)).of(3), 3);
        assert_eq!(Cap::rounded_up(pct(1)).of(1), 1);
        assert_eq!(Cap::rounded_up(pct(100)).of(7), 7);
        assert_eq!(Cap::from(pct(100)).of(1), 1);
    }

    #[test]
    fn reads_as_written() {
        for cap in [
            Cap::from(pct(5)),
            Cap::rounded_up(pct(25)),
            Cap::from(count(3)),
            Cap::rounded_up(count(3)),
        ] {
            assert_eq!(cap.to_string().parse(), Ok(cap));
            let json = serde_json::to_string(&cap).unwrap();
            assert_eq!(serde_json::from_str::<Cap>(&json).unwrap(), cap, "{json}");
        }
        assert_eq!("5% rounded down".parse(), Ok(Cap::from(pct(5))));
        assert!("rounded up".parse::<Cap>().is_err());
        assert!("5 % up".parse::<Cap>().is_err());
    }
}
