//! The growth that costs least.

use serde::{Deserialize, Serialize};

use super::geometric::{grow, ppm_of};
use super::{RampError, Shape, Sizes};
use crate::amount::Amount;
use crate::forecast::expected_exposure;

/// Growths below are not tried: they cost batches and spare hardly anybody.
const SLOWEST: f64 = 1.05;
/// Growths tried for each number of batches.
const PARTS: u32 = 16;

/// Geometric, with the growth for which `K·T + λ·E` is least. See [`Ramp::cost_optimal`](super::Ramp::cost_optimal).
///
/// Sixteen growths are tried for each number of batches, from a single batch on, until the batches alone cost more than the best
/// so far, or growth is below 1.05. What a finer search finds is less than 1 % cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct CostOptimal {
    first: Amount,
    batch_cost: u32,
    target_cost: u32,
    prevalence_ppb: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: Amount,
    batch_cost: u32,
    target_cost: u32,
    prevalence: f64,
}

impl TryFrom<Written> for CostOptimal {
    type Error = RampError;

    fn try_from(written: Written) -> Result<Self, RampError> {
        Self::new(
            written.first,
            written.batch_cost,
            written.target_cost,
            written.prevalence,
        )
    }
}

impl From<CostOptimal> for Written {
    fn from(shape: CostOptimal) -> Self {
        Self {
            first: shape.first,
            batch_cost: shape.batch_cost,
            target_cost: shape.target_cost,
            prevalence: shape.prevalence(),
        }
    }
}

impl CostOptimal {
    pub(super) fn new(first: Amount, batch_cost: u32, target_cost: u32, prevalence: f64) -> Result<Self, RampError> {
        RampError::check_amount("first", first)?;
        for (field, cost) in [("batch_cost", batch_cost), ("target_cost", target_cost)] {
            if cost == 0 {
                return Err(RampError::Cost { field });
            }
        }
        if !(prevalence > 0.0 && prevalence < 1.0) {
            return Err(RampError::Prevalence { prevalence });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a thousand million"
        )]
        let prevalence_ppb = libm::round(prevalence * 1e9).clamp(1.0, 999_999_999.0) as u32;
        Ok(Self {
            first,
            batch_cost,
            target_cost,
            prevalence_ppb,
        })
    }

    /// The first batch.
    #[must_use]
    pub const fn first(&self) -> Amount {
        self.first
    }

    /// The share of targets at which the fault shows, above 0 and below 1.
    #[must_use]
    pub fn prevalence(&self) -> f64 {
        f64::from(self.prevalence_ppb) / 1e9
    }

    /// What some cumulative sizes cost: `K·batch_cost + E·target_cost`.
    #[must_use]
    pub fn cost_of(&self, sizes: &[u32]) -> f64 {
        let batches = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
        let exposed = expected_exposure(sizes, self.prevalence());
        f64::from(batches) * f64::from(self.batch_cost) + exposed * f64::from(self.target_cost)
    }

    fn geometric(&self, fleet: u32, least: u32, growth_ppm: u64) -> Result<Vec<u32>, RampError> {
        let mut sizes = Sizes::new(fleet, least);
        grow(&mut sizes, self.first.at_most_of(fleet), growth_ppm)?;
        sizes.end()
    }
}

impl Shape for CostOptimal {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        if fleet == 0 {
            return Ok(Vec::new());
        }
        let begin = self.first.at_most_of(fleet).max(least).min(fleet);
        // One batch is everything at once: cheap in time, and the whole fleet is exposed.
        let mut best = vec![fleet];
        let mut cost = self.cost_of(&best);
        let ratio = libm::log(f64::from(fleet) / f64::from(begin));
        for batches in 2_u32.. {
            // Every growth tried from here on makes at least so many batches, and is slower than those before.
            let slowest = ratio / f64::from(batches - 1);
            if f64::from(batches) * f64::from(self.batch_cost) >= cost || slowest < libm::log(SLOWEST) {
                break;
            }
            let fastest = if batches == 2 {
                slowest
            } else {
                ratio / f64::from(batches - 2)
            };
            for part in 0..PARTS {
                let growth = libm::exp(slowest + (fastest - slowest) * f64::from(part) / f64::from(PARTS));
                let Ok(growth_ppm) = ppm_of(growth + 1e-6) else {
                    continue;
                };
                let sizes = self.geometric(fleet, least, growth_ppm)?;
                let found = self.cost_of(&sizes);
                if found < cost {
                    (best, cost) = (sizes, found);
                }
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ramp;
    use super::CostOptimal;
    use crate::amount::count;

    fn optimal(batch: u32, target: u32, prevalence: f64) -> CostOptimal {
        CostOptimal::new(count(1), batch, target, prevalence).unwrap()
    }

    #[test]
    fn no_growth_on_a_fine_grid_costs_less() {
        for fleet in [2, 17, 1_000, 100_000] {
            for (batch, target, prevalence) in [
                (60, 1, 0.05),
                (60, 1, 0.005),
                (1, 1, 0.5),
                (5, 100, 0.01),
                (1_000, 1, 0.2),
            ] {
                let shape = optimal(batch, target, prevalence);
                let best = shape.cost_of(&super::Shape::sizes(&shape, fleet, 1).unwrap());
                for step in 5..1_000 {
                    let growth = 1.0 + f64::from(step) * 0.01;
                    let sizes = Ramp::geometric(count(1), growth).unwrap().sizes(fleet, 1).unwrap();
                    let cost = shape.cost_of(&sizes);
                    // Between two growths tried there may be a slightly better one.
                    assert!(best <= cost * 1.01, "N = {fleet}, g = {growth}: {best} against {cost}");
                }
            }
        }
    }

    #[test]
    fn dear_time_grows_fast_and_dear_targets_slowly() {
        let batches = |batch, target| {
            let ramp = Ramp::cost_optimal(count(1), batch, target, 0.005).unwrap();
            ramp.sizes(100_000, 1).unwrap().len()
        };
        assert!(batches(1_000, 1) < batches(60, 1) && batches(60, 1) < batches(1, 1));
        // When targets cost nothing to speak of, one batch does.
        assert_eq!(batches(u32::MAX, 1), 1);
    }

    #[test]
    fn bad_costs_are_refused() {
        assert!(Ramp::cost_optimal(count(1), 0, 1, 0.1).is_err());
        assert!(Ramp::cost_optimal(count(1), 1, 0, 0.1).is_err());
        for prevalence in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(Ramp::cost_optimal(count(1), 1, 1, prevalence).is_err());
        }
        let least = Ramp::cost_optimal(count(1), 1, 1, 0.1).unwrap().sizes(40, 7).unwrap();
        assert!(least[0] >= 7 && least.ends_with(&[40]));
    }
}
