//! Sizes somebody wrote down.

use serde::{Deserialize, Serialize};

use super::{RampError, Shape, Sizes};
use crate::amount::Amount;

/// Explicit cumulative sizes: counts, shares, or both. See [`Ramp::steps`](super::Ramp::steps).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Amount>")]
pub struct Steps(Vec<Amount>);

impl TryFrom<Vec<Amount>> for Steps {
    type Error = RampError;

    fn try_from(steps: Vec<Amount>) -> Result<Self, RampError> {
        Self::new(steps)
    }
}

impl Steps {
    pub(super) fn new(steps: impl IntoIterator<Item = Amount>) -> Result<Self, RampError> {
        let steps = Self(steps.into_iter().collect());
        steps.check()?;
        Ok(steps)
    }

    /// The steps as written.
    #[must_use]
    pub fn as_slice(&self) -> &[Amount] {
        &self.0
    }

    fn check(&self) -> Result<(), RampError> {
        if self.0.is_empty() {
            return Err(RampError::NoSteps);
        }
        for (at, &step) in self.0.iter().enumerate() {
            RampError::check_amount(&format!("step {}", at + 1), step)?;
        }
        // Neighbours of one kind compare in every fleet, and so do those of one kind with others between them.
        let shares = self.0.iter().map(|step| match step {
            Amount::PartsPerMillion(ppm) => Some(*ppm),
            Amount::Count(_) => None,
        });
        let counts = self.0.iter().map(|step| match step {
            Amount::Count(count) => Some(*count),
            Amount::PartsPerMillion(_) => None,
        });
        self.rises(shares, None)?;
        self.rises(counts, None)
    }

    fn rises(&self, sizes: impl Iterator<Item = Option<u32>>, fleet: Option<u32>) -> Result<(), RampError> {
        let mut before: Option<(usize, u32)> = None;
        for (at, size) in sizes.enumerate() {
            let Some(size) = size else { continue };
            if let Some((earlier, most)) = before
                && size < most
            {
                return Err(RampError::StepsDecrease {
                    earlier: earlier + 1,
                    before: self.0[earlier],
                    later: at + 1,
                    after: self.0[at],
                    fleet,
                });
            }
            before = Some((at, size));
        }
        Ok(())
    }
}

impl Shape for Steps {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        let resolved = self.0.iter().map(|step| step.ceil_of(fleet));
        self.rises(resolved.clone().map(Some), Some(fleet))?;
        let mut sizes = Sizes::new(fleet, least);
        for size in resolved {
            if fleet == 0 || !sizes.push(size)? {
                break;
            }
        }
        sizes.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ramp, RampError};
    use crate::amount::{count, pct, permille};

    #[test]
    fn counts_and_shares_in_one_list() {
        let ramp = Ramp::steps([count(1), count(10), pct(1), pct(10), pct(50)]).unwrap();
        assert_eq!(ramp.sizes(10_000, 1).unwrap(), [1, 10, 100, 1_000, 5_000, 10_000]);
        // What coverage needs comes first; equal sizes are one batch.
        assert_eq!(ramp.sizes(1_000, 15).unwrap(), [15, 100, 500, 1_000]);
        assert_eq!(Ramp::steps([pct(100)]).unwrap().sizes(7, 1).unwrap(), [7]);
        assert!(ramp.sizes(0, 1).unwrap().is_empty());
    }

    /// OpenKruise Rollouts skips the comparison of neighbours that mix numbers and percents.
    #[test]
    fn a_step_back_is_found_in_any_mixture() {
        let back = |earlier, later, fleet| move |error: &RampError| matches!(error, RampError::StepsDecrease { earlier: e, later: l, fleet: f, .. } if (*e, *l, *f) == (earlier, later, fleet));
        let error = Ramp::steps([pct(10), pct(5)]).unwrap_err();
        assert!(back(1, 2, None)(&error), "{error}");
        // Not neighbours, and yet of one kind.
        let error = Ramp::steps([pct(10), count(50), pct(5)]).unwrap_err();
        assert!(back(1, 3, None)(&error), "{error}");
        let mixed = Ramp::steps([count(100), pct(1)]).unwrap();
        assert_eq!(mixed.sizes(10_000, 1).unwrap(), [100, 10_000]);
        let error = mixed.sizes(9_000, 1).unwrap_err();
        assert!(back(1, 2, Some(9_000))(&error), "{error}");
        assert_eq!(
            error.to_string(),
            "step 2 (1 %) is less than step 1 (100) in a fleet of 9000; steps are cumulative and never decrease"
        );
    }

    #[test]
    fn steps_that_are_none() {
        assert_eq!(Ramp::steps([]).unwrap_err(), RampError::NoSteps);
        assert!(
            matches!(Ramp::steps([count(1), pct(0)]).unwrap_err(), RampError::Zero { field, .. } if field == "step 2")
        );
        assert!(matches!(
            Ramp::steps([pct(101)]).unwrap_err(),
            RampError::AboveWhole { .. }
        ));
        assert_eq!(Ramp::steps([permille(1)]).unwrap().sizes(1, 1).unwrap(), [1]);
    }
}
