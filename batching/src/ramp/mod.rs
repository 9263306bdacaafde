//! How fast a change grows: cumulative sizes before anyone is chosen.

mod cost;
mod error;
mod evidence;
mod geometric;
mod linear;
mod steps;

use serde::{Deserialize, Serialize};

pub use cost::CostOptimal;
pub use error::RampError;
pub use evidence::{Evidence, Exposure};
pub use geometric::Geometric;
pub use linear::Linear;
pub use steps::Steps;

use crate::amount::Amount;

/// Batches are numbered with 16 bits, and the last one must fit as well.
pub(crate) const MOST_BATCHES: u32 = 60_000;

/// A way to grow. All of this crate's are in [`Ramp`]; an own one becomes a ramp with [`Ramp::from_shape`].
pub trait Shape {
    /// Cumulative sizes of the batches of a fleet of `fleet` targets: strictly increasing, the first at least `least`
    /// (what coverage needs), the last `fleet`. Empty for an empty fleet.
    ///
    /// # Errors
    /// [`RampError`] where this fleet cannot be planned in this way.
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError>;
}

/// How a change grows from batch to batch.
///
/// | ramp | cumulative size of batch *k* |
/// | --- | --- |
/// | [`steps`](Self::steps) | as written; the rest is a last step |
/// | [`linear`](Self::linear) | `first + k·step` |
/// | [`geometric`](Self::geometric), [`doubling`](Self::doubling) | `ceil(first·growth^k)` |
/// | [`evidence`](Self::evidence) | the fewest targets that show what batch *k* must show; then geometric |
/// | [`cost_optimal`](Self::cost_optimal) | geometric, with the growth that costs least in time and exposure |
///
/// Where coverage needs a larger first batch, all of them begin there.
///
/// Written as a map with one entry: `{"geometric": {"first": "0.1 %", "growth": 2}}`, `{"linear": {"first": 1, "step": "5 %"}}`,
/// `{"steps": [1, "1 %", "10 %"]}`, `{"evidence": {"levels": [{"sighting": {"prevalence": 0.01, "confidence": 0.95}}], "growth": 2}}`,
/// `{"cost_optimal": {"first": 1, "batch_cost": 60, "target_cost": 1, "prevalence": 0.005}}`. What is read is checked like what is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ramp {
    /// Explicit sizes.
    Steps(Steps),
    /// As many more in each batch.
    Linear(Linear),
    /// As many times more in each batch.
    Geometric(Geometric),
    /// As many as must be seen.
    Evidence(Evidence),
    /// The growth that costs least.
    CostOptimal(CostOptimal),
}

impl Ramp {
    /// Begins with 0.1 % of the fleet, rounded down but at least one target, and doubles.
    #[must_use]
    pub const fn doubling() -> Self {
        Self::Geometric(Geometric::DOUBLING)
    }

    /// Begins with `first` and grows by `growth` from batch to batch, kept to six decimals.
    ///
    /// # Errors
    /// [`RampError::Growth`] unless `1.001 <= growth <= 1,000,000`; [`RampError::Zero`] and [`RampError::AboveWhole`] for `first`.
    pub fn geometric(first: Amount, growth: f64) -> Result<Self, RampError> {
        Ok(Self::Geometric(Geometric::new(first, growth)?))
    }

    /// Begins with `first` and adds `step` in each batch.
    ///
    /// # Errors
    /// [`RampError::Zero`], [`RampError::AboveWhole`].
    pub fn linear(first: Amount, step: Amount) -> Result<Self, RampError> {
        Ok(Self::Linear(Linear::new(first, step)?))
    }

    /// Cumulative sizes as written. Shares round up. What the last step leaves is one more batch.
    ///
    /// Counts and shares may stand side by side; each pair is compared once the fleet is known, so no mixture hides a step back.
    ///
    /// # Errors
    /// [`RampError::NoSteps`], [`RampError::Zero`], [`RampError::AboveWhole`], and [`RampError::StepsDecrease`] where it shows
    /// without a fleet.
    pub fn steps(steps: impl IntoIterator<Item = Amount>) -> Result<Self, RampError> {
        Ok(Self::Steps(Steps::new(steps)?))
    }

    /// As few targets as can show what each batch must show, and from there on `growth` times as many.
    ///
    /// # Errors
    /// [`RampError::NoLevels`], [`RampError::Growth`].
    pub fn evidence(levels: impl IntoIterator<Item = Exposure>, growth: f64) -> Result<Self, RampError> {
        Ok(Self::Evidence(Evidence::new(levels, growth)?))
    }

    /// The growth for which `K·batch_cost + E·target_cost` is least: `K` batches, `E` targets expected to be exposed to a fault that shows in a share
    /// `prevalence` of the targets that have it. Both costs are in the same unit, minutes say.
    ///
    /// # Errors
    /// [`RampError::Cost`] if either cost is 0; [`RampError::Prevalence`] unless `0 < prevalence < 1`; [`RampError::Zero`] and
    /// [`RampError::AboveWhole`] for `first`.
    pub fn cost_optimal(first: Amount, batch_cost: u32, target_cost: u32, prevalence: f64) -> Result<Self, RampError> {
        Ok(Self::CostOptimal(CostOptimal::new(
            first,
            batch_cost,
            target_cost,
            prevalence,
        )?))
    }

    /// An own shape's sizes for a fleet of `fleet` targets, kept as steps.
    ///
    /// ```
    /// use unattended_batching::{Ramp, RampError, Shape};
    ///
    /// struct Squares;
    /// impl Shape for Squares {
    ///     fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
    ///         let squares = (1..).map(|n: u32| n * n).skip_while(|&size| size < least);
    ///         Ok(squares.take_while(|&size| size < fleet).chain([fleet]).collect())
    ///     }
    /// }
    /// let ramp = Ramp::from_shape(&Squares, 20)?;
    /// assert_eq!(ramp.sizes(20, 3)?, [3, 4, 9, 16, 20]);
    /// # Ok::<(), RampError>(())
    /// ```
    ///
    /// # Errors
    /// What the shape answers, and [`RampError::NoSteps`], [`RampError::Zero`], [`RampError::StepsDecrease`] for sizes that are none.
    pub fn from_shape(shape: &impl Shape, fleet: u32) -> Result<Self, RampError> {
        Self::steps(shape.sizes(fleet, 1)?.into_iter().map(Amount::Count))
    }

    /// [`Shape::sizes`] without the trait.
    ///
    /// # Errors
    /// [`RampError`] where this fleet cannot be planned in this way.
    pub fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        Shape::sizes(self, fleet, least)
    }

    /// The size of the first batch of a fleet, unless coverage needs more.
    ///
    /// # Errors
    /// As [`sizes`](Self::sizes).
    pub fn first_of(&self, fleet: u32) -> Result<u32, RampError> {
        match self {
            Self::Geometric(shape) => Ok(shape.first().at_most_of(fleet)),
            Self::CostOptimal(shape) => Ok(shape.first().at_most_of(fleet)),
            Self::Linear(shape) => Ok(shape.first().at_most_of(fleet)),
            Self::Steps(_) | Self::Evidence(_) => Ok(self.sizes(fleet, 1)?.first().copied().unwrap_or(0)),
        }
    }
}

impl Shape for Ramp {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        match self {
            Self::Steps(shape) => shape.sizes(fleet, least),
            Self::Linear(shape) => shape.sizes(fleet, least),
            Self::Geometric(shape) => shape.sizes(fleet, least),
            Self::Evidence(shape) => shape.sizes(fleet, least),
            Self::CostOptimal(shape) => shape.sizes(fleet, least),
        }
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self::doubling()
    }
}

/// Cumulative sizes as they are collected: grows or is left alone, ends with the fleet.
struct Sizes {
    sizes: Vec<u32>,
    least: u32,
    fleet: u32,
}

impl Sizes {
    fn new(fleet: u32, least: u32) -> Self {
        Self {
            sizes: Vec::new(),
            least: least.clamp(1, fleet.max(1)),
            fleet,
        }
    }

    /// Adds a size if it grows; `false` when the whole fleet is reached.
    fn push(&mut self, size: u32) -> Result<bool, RampError> {
        let size = size.max(self.least).min(self.fleet);
        if size > self.last() {
            if self.sizes.len() >= MOST_BATCHES as usize {
                return Err(RampError::TooManyBatches { most: MOST_BATCHES });
            }
            self.sizes.push(size);
        }
        Ok(size < self.fleet)
    }

    fn last(&self) -> u32 {
        self.sizes.last().copied().unwrap_or(0)
    }

    fn end(mut self) -> Result<Vec<u32>, RampError> {
        if self.fleet > 0 {
            self.push(self.fleet)?;
        }
        Ok(self.sizes)
    }
}
