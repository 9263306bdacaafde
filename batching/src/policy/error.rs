//! Rules that cannot be meant.

use crate::amount::Amount;
use crate::ramp::RampError;

/// A rule that cannot be meant. Nothing has been planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A ramp that cannot be meant, or not for this fleet.
    #[error("ramp: {0}")]
    Ramp(#[from] RampError),
    /// A share above the whole.
    #[error("{rule}: {amount} is above 100 %; give 100 % or less, or a count")]
    AboveWhole {
        /// The rule.
        rule: String,
        /// What was given.
        amount: Amount,
    },
    /// A cap under which nothing would ever start.
    #[error("{rule}: {amount} lets nothing start; give at least 1")]
    Zero {
        /// The rule.
        rule: String,
        /// What was given.
        amount: Amount,
    },
    /// A window of no length, or one in which nothing may start.
    #[error(
        "{rule}: {targets} targets in {window_ms} ms lets nothing start, or is no limit; give at least 1 target and 1 ms"
    )]
    Rate {
        /// The rule.
        rule: &'static str,
        /// Targets in a window.
        targets: u32,
        /// Length of the window in milliseconds.
        window_ms: u64,
    },
    /// A holdback above half would leave batches nothing to take.
    #[error("holdback: {amount} is more than half; the last batch may hold at most 50 % of each stratum")]
    Holdback {
        /// What was given.
        amount: Amount,
    },
    /// A key twice in one list.
    #[error("{rule}: key `{key}` stands twice; name it once")]
    RepeatedKey {
        /// The rule.
        rule: String,
        /// The key.
        key: String,
    },
    /// A key without a name.
    #[error("{rule}: a key is empty; name a label key")]
    EmptyKey {
        /// The rule.
        rule: String,
    },
    /// A class whose key does not make strata.
    #[error(
        "new_classes: `{key}` is not among the spread keys; add it to `spread`, so that the class can grow by itself"
    )]
    NotSpread {
        /// The key.
        key: String,
    },
    /// A pin that says nothing about whom, by whom or why.
    #[error("pins[{position}]: {what}")]
    Pin {
        /// Its position, from 0.
        position: u32,
        /// What is missing, and what to write.
        what: &'static str,
    },
}

impl PolicyError {
    pub(crate) fn check_amount(rule: &str, amount: Amount) -> Result<(), Self> {
        if amount.is_zero() {
            return Err(Self::Zero {
                rule: rule.to_owned(),
                amount,
            });
        }
        if amount.above_whole() {
            return Err(Self::AboveWhole {
                rule: rule.to_owned(),
                amount,
            });
        }
        Ok(())
    }

    pub(super) fn check_keys<'a>(rule: &str, keys: impl Iterator<Item = &'a String> + Clone) -> Result<(), Self> {
        for (at, key) in keys.clone().enumerate() {
            if key.is_empty() {
                return Err(Self::EmptyKey { rule: rule.to_owned() });
            }
            if keys.clone().take(at).any(|earlier| earlier == key) {
                return Err(Self::RepeatedKey {
                    rule: rule.to_owned(),
                    key: key.clone(),
                });
            }
        }
        Ok(())
    }
}
