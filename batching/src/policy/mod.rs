//! The rules a person states once.

mod error;
mod pin;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use error::PolicyError;
pub use pin::{Pin, PinScope};

use crate::amount::{Amount, pct};
use crate::cap::Cap;
use crate::ramp::Ramp;

/// The rules of a plan: how fast, spread over what, at most how many at once, what stays behind.
///
/// Defaults: doubling from 0.1 %, at most 25 % of an application and 10 % of the fleet at once, 5 % held back, spread over
/// applications only, nothing to cover, no other cap, and no exception for fixes (see
/// [`fix_in_flight_per_app`](Self::fix_in_flight_per_app)).
///
/// Written as a map, every field may be left out; a field that does not exist is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    pub(crate) ramp: Ramp,
    pub(crate) spread: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_batch_covers: Option<Vec<String>>,
    pub(crate) detection_targets: u32,
    pub(crate) new_classes: Vec<Class>,
    pub(crate) holdback: Amount,
    pub(crate) per_app: Cap,
    pub(crate) per_label: BTreeMap<String, Cap>,
    pub(crate) total_in_flight: Cap,
    pub(crate) one_value_per_app: Vec<String>,
    pub(crate) one_first_exposure: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready_capacity_headroom: Option<Amount>,
    pub(crate) fix_in_flight_per_app: Amount,
    #[serde(skip_serializing_if = "RollbackPace::is_default")]
    pub(crate) rollback: RollbackPace,
    pub(crate) pins: Vec<Pin>,
}

/// All targets with one value of a label key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct Class {
    /// The label key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// At most so many starts in any span of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct Rate {
    /// Starts in one window, at least 1.
    pub targets: u32,
    /// Length of the window in milliseconds, at least 1. It rolls: every span of this length counts, not only aligned ones.
    pub window_ms: u64,
}

/// How fast the way back is, where it differs from the way there. Caps of applications, labels and capacity are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct RollbackPace {
    /// At most so many of the fleet unavailable at once; `None`: as on the way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_in_flight: Option<Cap>,
    /// At most so many starts in any such span; `None`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl RollbackPace {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Policy {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ramp: Ramp::doubling(),
            spread: Vec::new(),
            first_batch_covers: None,
            detection_targets: 0,
            new_classes: Vec::new(),
            holdback: pct(5),
            per_app: Cap::rounded_down(pct(25)),
            per_label: BTreeMap::new(),
            total_in_flight: Cap::rounded_down(pct(10)),
            one_value_per_app: Vec::new(),
            one_first_exposure: Vec::new(),
            rate: None,
            ready_capacity_headroom: None,
            fix_in_flight_per_app: Amount::Count(0),
            rollback: RollbackPace {
                total_in_flight: None,
                rate: None,
            },
            pins: Vec::new(),
        }
    }

    /// How fast the change grows.
    #[must_use]
    pub fn ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = ramp;
        self
    }

    /// Label keys that make strata together with the application: every batch is spread over their values.
    /// A key that the fleet does not have is an error of [`Plan::build`](crate::Plan::build).
    #[must_use]
    pub fn spread<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.spread = keys.into_iter().map(Into::into).collect();
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
        self.first_batch_covers = Some(keys);
        Ok(self)
    }

    /// The first batch has at least so many targets, whatever the ramp begins with: as many as a power analysis says are
    /// needed to see the smallest fault that matters (299 for a fault of 1 % at 95 %). As far as the fleet has them.
    #[must_use]
    pub const fn detection_targets(mut self, targets: u32) -> Self {
        self.detection_targets = targets;
        self
    }

    /// A class no change has met before: it begins with one target of its own, and grows as the ramp does from there,
    /// however large it is. Its key must be a [`spread`](Self::spread) key.
    #[must_use]
    pub fn new_class(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.new_classes.push(Class {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// The share of every stratum that stays untouched until the last batch; rounded down, at least 1 of a stratum of two or more.
    #[must_use]
    pub const fn holdback(mut self, amount: Amount) -> Self {
        self.holdback = amount;
        self
    }

    /// At most so many of one application unavailable at once: in flight or unhealthy.
    #[must_use]
    pub fn per_app(mut self, cap: impl Into<Cap>) -> Self {
        self.per_app = cap.into();
        self
    }

    /// At most so many of one value of `key` unavailable at once, for each value; a later cap on the same key replaces an
    /// earlier. A value of one target has a cap of 1.
    #[must_use]
    pub fn per_label(mut self, key: impl Into<String>, cap: impl Into<Cap>) -> Self {
        self.per_label.insert(key.into(), cap.into());
        self
    }

    /// At most so many of the whole fleet unavailable at once.
    #[must_use]
    pub fn total_in_flight(mut self, cap: impl Into<Cap>) -> Self {
        self.total_in_flight = cap.into();
        self
    }

    /// Never two values of this key in one application at once (two zones, say): while a target of one value is in flight,
    /// or unhealthy since the change touched it, none of another starts. Targets without the label are not concerned.
    #[must_use]
    pub fn one_value_per_app(mut self, key: impl Into<String>) -> Self {
        self.one_value_per_app.push(key.into());
        self
    }

    /// Never two values of this key in their first exposure at once (two regions, say). A value's first exposure lasts from
    /// its first start until none of its targets is in flight and one has finished. If all that were touched failed, it lasts
    /// until none of them is unhealthy, and the next start is a first exposure again.
    #[must_use]
    pub fn one_first_exposure(mut self, key: impl Into<String>) -> Self {
        self.one_first_exposure.push(key.into());
        self
    }

    /// At most `targets` starts in any span of `window_ms` milliseconds. Births are no starts: they disturb nobody.
    #[must_use]
    pub const fn rate(mut self, targets: u32, window_ms: u64) -> Self {
        self.rate = Some(Rate { targets, window_ms });
        self
    }

    /// What is left of an application while a target changes carries its load with this much to spare: the capacity of its
    /// healthy targets at rest is at least load · (1 + headroom). Needs the fleet's capacities and loads.
    #[must_use]
    pub const fn ready_capacity_headroom(mut self, headroom: Amount) -> Self {
        self.ready_capacity_headroom = Some(headroom);
        self
    }

    /// The exception by which a fix enters an unhealthy fleet, which is there only if it is asked for. Unhealthy targets use up
    /// allowances: one of them may start in its own place, but where there are more of them than a cap allows, nobody of that application,
    /// label value or fleet starts. With the exception an unhealthy target may start all the same, as long as at most so many of its application
    /// are in flight and what is in flight alone keeps within every cap. Rounded down, but at least 1; zero, as it is without this
    /// call, is no exception.
    #[must_use]
    pub const fn fix_in_flight_per_app(mut self, amount: Amount) -> Self {
        self.fix_in_flight_per_app = amount;
        self
    }

    /// How fast the way back is. Without this call as many may be unavailable at once as on the way there, and starts are not counted in time:
    /// whoever goes back is in a hurry.
    #[must_use]
    pub const fn rollback(mut self, pace: RollbackPace) -> Self {
        self.rollback = pace;
        self
    }

    /// Keeps a scope where it is for a while.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pins.push(pin);
        self
    }

    /// The keys whose every value the first batch contains.
    pub(crate) fn cover_keys(&self) -> &[String] {
        self.first_batch_covers.as_deref().unwrap_or(&self.spread)
    }

    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        PolicyError::check_amount("per_app", self.per_app.at_most)?;
        PolicyError::check_amount("total_in_flight", self.total_in_flight.at_most)?;
        for (key, cap) in &self.per_label {
            PolicyError::check_amount(&format!("per_label `{key}`"), cap.at_most)?;
        }
        if matches!(self.holdback, Amount::PartsPerMillion(ppm) if ppm > 500_000) {
            return Err(PolicyError::Holdback { amount: self.holdback });
        }
        for (rule, rate) in [("rate", self.rate), ("rollback.rate", self.rollback.rate)] {
            if let Some(Rate { targets, window_ms }) = rate
                && (targets == 0 || window_ms == 0)
            {
                return Err(PolicyError::Rate {
                    rule,
                    targets,
                    window_ms,
                });
            }
        }
        if let Some(cap) = self.rollback.total_in_flight {
            PolicyError::check_amount("rollback.total_in_flight", cap.at_most)?;
        }
        for (rule, amount) in [
            ("ready_capacity_headroom", self.ready_capacity_headroom),
            ("fix_in_flight_per_app", Some(self.fix_in_flight_per_app)),
        ] {
            if let Some(amount) = amount.filter(|amount| amount.above_whole()) {
                let rule = rule.to_owned();
                return Err(PolicyError::AboveWhole { rule, amount });
            }
        }
        PolicyError::check_keys("spread", self.spread.iter())?;
        PolicyError::check_keys("per_label", self.per_label.keys())?;
        PolicyError::check_keys("first_batch_covers", self.cover_keys().iter())?;
        PolicyError::check_keys("one_value_per_app", self.one_value_per_app.iter())?;
        PolicyError::check_keys("one_first_exposure", self.one_first_exposure.iter())?;
        for class in &self.new_classes {
            if !self.spread.contains(&class.key) {
                return Err(PolicyError::NotSpread { key: class.key.clone() });
            }
        }
        for (pin, position) in self.pins.iter().zip(0..) {
            if let Some(what) = pin.missing() {
                return Err(PolicyError::Pin { position, what });
            }
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}
