//! As many more each time.

use serde::{Deserialize, Serialize};

use super::{MOST_BATCHES, RampError, Shape, Sizes};
use crate::amount::Amount;

/// `first + k·step`; a share for `first` rounds down, but not to nothing, and one for `step` up. See [`Ramp::linear`](super::Ramp::linear).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Linear {
    first: Amount,
    step: Amount,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: Amount,
    step: Amount,
}

impl TryFrom<Written> for Linear {
    type Error = RampError;

    fn try_from(written: Written) -> Result<Self, RampError> {
        Self::new(written.first, written.step)
    }
}

impl Linear {
    pub(super) fn new(first: Amount, step: Amount) -> Result<Self, RampError> {
        RampError::check_amount("first", first)?;
        RampError::check_amount("step", step)?;
        Ok(Self { first, step })
    }

    /// The first batch.
    #[must_use]
    pub const fn first(&self) -> Amount {
        self.first
    }

    /// What each later batch adds.
    #[must_use]
    pub const fn step(&self) -> Amount {
        self.step
    }
}

impl Shape for Linear {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        let mut sizes = Sizes::new(fleet, least);
        let (mut size, step) = (self.first.at_most_of(fleet).max(sizes.least), self.step.ceil_of(fleet));
        if fleet.saturating_sub(size) / step.max(1) >= MOST_BATCHES {
            return Err(RampError::TooManyBatches { most: MOST_BATCHES });
        }
        while fleet > 0 && sizes.push(size)? {
            size = size.saturating_add(step);
        }
        sizes.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ramp, RampError};
    use crate::amount::{count, pct};

    #[test]
    fn grows_by_the_same() {
        let ramp = Ramp::linear(count(1), pct(20)).unwrap();
        assert_eq!(ramp.sizes(11, 1).unwrap(), [1, 4, 7, 10, 11]);
        assert_eq!(ramp.sizes(11, 6).unwrap(), [6, 9, 11]);
        assert_eq!(ramp.sizes(1, 1).unwrap(), [1]);
        assert!(ramp.sizes(0, 1).unwrap().is_empty());
        assert!(Ramp::linear(count(1), count(0)).is_err());
        assert!(Ramp::linear(pct(300), count(1)).is_err());
    }

    #[test]
    fn too_many_batches_are_refused_before_they_are_made() {
        let ramp = Ramp::linear(count(1), count(1)).unwrap();
        let error = ramp.sizes(u32::MAX - 1, 1).unwrap_err();
        assert_eq!(error, RampError::TooManyBatches { most: 60_000 });
        assert_eq!(ramp.sizes(60_000, 1).unwrap().len(), 60_000);
    }
}
