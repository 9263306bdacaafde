//! The rules a person states once.

use serde::{Deserialize, Serialize};

use crate::amount::{Amount, pct};
use crate::ramp::Ramp;

/// The rules of a plan: how fast, spread over what, at most how many at once, what stays behind.
///
/// Defaults: doubling from 0.1 %, at most 25 % of an application and 10 % of the fleet at once, 5 % held back, spread over
/// applications only, nothing to cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub(crate) ramp: Ramp,
    pub(crate) per_app: Amount,
    pub(crate) spread: Vec<String>,
    pub(crate) per_label: Vec<(String, Amount)>,
    pub(crate) total_in_flight: Amount,
    pub(crate) covers: Option<Vec<String>>,
    pub(crate) holdback: Amount,
}

/// A rule that cannot be meant. Nothing has been planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A ramp that does not grow, or is not a number.
    #[error("ramp: growth {growth} is not between 1.001 and 1000000; 2 doubles from batch to batch")]
    Growth {
        /// What was given.
        growth: f64,
    },
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

    fn check_keys<'a>(rule: &str, keys: impl Iterator<Item = &'a String> + Clone) -> Result<(), Self> {
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

impl Policy {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ramp: Ramp::doubling(),
            per_app: pct(25),
            spread: Vec::new(),
            per_label: Vec::new(),
            total_in_flight: pct(10),
            covers: None,
            holdback: pct(5),
        }
    }

    /// How fast the change grows.
    #[must_use]
    pub const fn ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = ramp;
        self
    }

    /// At most so many of one application unavailable at once: in flight or unhealthy.
    #[must_use]
    pub const fn per_app(mut self, amount: Amount) -> Self {
        self.per_app = amount;
        self
    }

    /// Label keys that make strata together with the application: every batch is spread over their values.
    /// A key that the fleet does not have is an error of [`Plan::build`](crate::Plan::build).
    #[must_use]
    pub fn spread<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.spread = keys.into_iter().map(Into::into).collect();
        self
    }

    /// At most so many of one value of `key` unavailable at once, for each value. A value of one target has a cap of 1.
    #[must_use]
    pub fn per_label(mut self, key: impl Into<String>, amount: Amount) -> Self {
        self.per_label.push((key.into(), amount));
        self
    }

    /// At most so many of the whole fleet unavailable at once.
    #[must_use]
    pub const fn total_in_flight(mut self, amount: Amount) -> Self {
        self.total_in_flight = amount;
        self
    }

    /// The first batch contains every value of these keys. Without this call: of the [`spread`](Self::spread) keys.
    ///
    /// # Errors
    /// [`PolicyError::RepeatedKey`], [`PolicyError::EmptyKey`].
    pub fn first_batch_covers<K: Into<String>>(
        mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Self, PolicyError> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        PolicyError::check_keys("first_batch_covers", keys.iter())?;
        self.covers = Some(keys);
        Ok(self)
    }

    /// The share of every stratum that stays untouched until the last batch; rounded down, at least 1 of a stratum of two or more.
    #[must_use]
    pub const fn holdback(mut self, amount: Amount) -> Self {
        self.holdback = amount;
        self
    }

    /// The keys whose every value the first batch contains.
    pub(crate) fn cover_keys(&self) -> &[String] {
        self.covers.as_deref().unwrap_or(&self.spread)
    }

    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        PolicyError::check_amount("ramp", self.ramp.first())?;
        PolicyError::check_amount("per_app", self.per_app)?;
        PolicyError::check_amount("total_in_flight", self.total_in_flight)?;
        for (key, amount) in &self.per_label {
            PolicyError::check_amount(&format!("per_label `{key}`"), *amount)?;
        }
        if matches!(self.holdback, Amount::PartsPerMillion(ppm) if ppm > 500_000) {
            return Err(PolicyError::Holdback { amount: self.holdback });
        }
        PolicyError::check_keys("spread", self.spread.iter())?;
        PolicyError::check_keys("per_label", self.per_label.iter().map(|(key, _)| key))?;
        PolicyError::check_keys("first_batch_covers", self.cover_keys().iter())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
