//! Ramps that cannot be meant.

use crate::amount::Amount;

/// Why a ramp is none, or none for this fleet. Nothing has been planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RampError {
    /// A ramp that does not grow, or is not a number.
    #[error("growth {growth} is not between 1.001 and 1000000; 2 doubles from batch to batch")]
    Growth {
        /// What was given.
        growth: f64,
    },
    /// A size of nothing.
    #[error("{field}: {amount} is nobody; give at least 1")]
    Zero {
        /// `first`, `step`, or which of the steps.
        field: String,
        /// What was given.
        amount: Amount,
    },
    /// A share above the whole.
    #[error("{field}: {amount} is above 100 %; give 100 % or less, or a count")]
    AboveWhole {
        /// `first`, `step`, or which of the steps.
        field: String,
        /// What was given.
        amount: Amount,
    },
    /// An empty list of steps.
    #[error("there is no step; give at least one cumulative size, such as 1 %")]
    NoSteps,
    /// A step below the one before.
    #[error("step {later} ({after}) is less than step {earlier} ({before}){}; steps are cumulative and never decrease", among(*.fleet))]
    StepsDecrease {
        /// The earlier step, counted from 1.
        earlier: usize,
        /// As written.
        before: Amount,
        /// The later step.
        later: usize,
        /// As written.
        after: Amount,
        /// The fleet in which it is less, if it takes one to see.
        fleet: Option<u32>,
    },
    /// No level of evidence.
    #[error("there is no required exposure; give one for the first batch at least")]
    NoLevels,
    /// A power analysis that cannot be meant.
    #[error("{field} {value} is not {range}")]
    Exposure {
        /// Which number.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What it must be.
        range: &'static str,
    },
    /// A batch that half of the fleet is too small for.
    #[error(
        "batch {batch} needs {needed} targets to show what it must, and half of the fleet is {half}; bake {times:.1} times as long, or look for a larger effect"
    )]
    Undetectable {
        /// The batch.
        batch: usize,
        /// Targets it needs.
        needed: u32,
        /// Half of the fleet.
        half: u32,
        /// How much longer a bake would have to be.
        times: f64,
    },
    /// A cost of nothing: then the best growth is the slowest, or the fastest.
    #[error("{field} is 0; the best ramp is a balance of time and exposure, so give each a cost of 1 or more")]
    Cost {
        /// `batch_cost` or `target_cost`.
        field: &'static str,
    },
    /// A share of faults that is none.
    #[error("prevalence {prevalence} is not above 0 and below 1; 0.005 is one target in two hundred")]
    Prevalence {
        /// What was given.
        prevalence: f64,
    },
    /// A ramp too slow for this fleet.
    #[error("more than {most} batches; begin larger or grow faster")]
    TooManyBatches {
        /// The greatest number there may be.
        most: u32,
    },
}

impl RampError {
    pub(super) fn check_amount(field: &str, amount: Amount) -> Result<(), Self> {
        let field = || field.to_owned();
        if amount.is_zero() {
            return Err(Self::Zero { field: field(), amount });
        }
        if amount.above_whole() {
            return Err(Self::AboveWhole { field: field(), amount });
        }
        Ok(())
    }
}

fn among(fleet: Option<u32>) -> String {
    fleet.map_or_else(String::new, |n| format!(" in a fleet of {n}"))
}
