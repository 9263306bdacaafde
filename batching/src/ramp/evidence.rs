//! As many as must be seen.

use serde::{Deserialize, Serialize};

use super::geometric::{grow, growth_of, ppm_of};
use super::{RampError, Shape, Sizes};

/// How many targets it takes to see something: the answer of a power analysis, in targets.
///
/// Written as `{"targets": 3}`, `{"events": {"needed": 36476, "per_second": 50, "bake_s": 600}}` or
/// `{"sighting": {"prevalence": 0.01, "confidence": 0.95}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenExposure", into = "WrittenExposure")]
pub struct Exposure {
    targets: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WrittenExposure {
    Targets(u32),
    Events { needed: f64, per_second: f64, bake_s: f64 },
    Sighting { prevalence: f64, confidence: f64 },
}

impl TryFrom<WrittenExposure> for Exposure {
    type Error = RampError;

    fn try_from(written: WrittenExposure) -> Result<Self, RampError> {
        match written {
            WrittenExposure::Targets(targets) => Ok(Self::targets(targets)),
            WrittenExposure::Events {
                needed,
                per_second,
                bake_s,
            } => Self::events(needed, per_second, bake_s),
            WrittenExposure::Sighting { prevalence, confidence } => Self::sighting(prevalence, confidence),
        }
    }
}

impl From<Exposure> for WrittenExposure {
    fn from(exposure: Exposure) -> Self {
        Self::Targets(exposure.targets)
    }
}

impl Exposure {
    /// That many targets.
    #[must_use]
    pub const fn targets(targets: u32) -> Self {
        Self { targets }
    }

    /// Targets that together see `needed` of something (requests, connections) within a bake of `bake_s` seconds, when each sees
    /// `per_second`: `ceil(needed / (per_second·bake_s))`.
    ///
    /// # Errors
    /// [`RampError::Exposure`] for a number that is not positive and finite.
    ///
    /// ```
    /// use unattended_batching::Exposure;
    /// // 36,476 requests in ten minutes, 50 a second on each of 200 hosts: 2 hosts.
    /// assert_eq!(Exposure::events(36_476.0, 50.0, 600.0)?.count(), 2);
    /// # Ok::<(), unattended_batching::RampError>(())
    /// ```
    pub fn events(needed: f64, per_second: f64, bake_s: f64) -> Result<Self, RampError> {
        for (field, value) in [("needed", needed), ("per_second", per_second), ("bake_s", bake_s)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(RampError::Exposure {
                    field,
                    value,
                    range: "a positive number",
                });
            }
        }
        Ok(Self::ceil(needed / per_second / bake_s))
    }

    /// Targets among which a fault that a share `prevalence` of them has shows at least once with probability `confidence`:
    /// `ceil(ln(1 − confidence) / ln(1 − prevalence))`.
    ///
    /// # Errors
    /// [`RampError::Exposure`] unless both are above 0 and below 1.
    ///
    /// ```
    /// use unattended_batching::Exposure;
    /// assert_eq!(Exposure::sighting(0.01, 0.95)?.count(), 299);
    /// assert_eq!(Exposure::sighting(0.001, 0.95)?.count(), 2_995);
    /// # Ok::<(), unattended_batching::RampError>(())
    /// ```
    pub fn sighting(prevalence: f64, confidence: f64) -> Result<Self, RampError> {
        for (field, value) in [("prevalence", prevalence), ("confidence", confidence)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(RampError::Exposure {
                    field,
                    value,
                    range: "above 0 and below 1",
                });
            }
        }
        Ok(Self::ceil(libm::log1p(-confidence) / libm::log1p(-prevalence)))
    }

    /// Enough for both: several metrics, or detection and promotion.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            targets: self.targets.max(other.targets),
        }
    }

    /// The number of targets.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.targets
    }

    fn ceil(targets: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of u32 first"
        )]
        let targets = libm::ceil(targets).clamp(1.0, f64::from(u32::MAX)) as u32;
        Self { targets }
    }
}

/// Batch by batch the fewest targets that show what it must, and from there on growth. See [`Ramp::evidence`](super::Ramp::evidence).
///
/// Sizes are cumulative, because the targets of earlier batches go on giving evidence. A level that needs no more than the one before
/// adds no batch. One that needs more than half of the fleet is refused: the other half has to stay for comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Evidence {
    levels: Vec<Exposure>,
    growth_ppm: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    levels: Vec<Exposure>,
    growth: f64,
}

impl TryFrom<Written> for Evidence {
    type Error = RampError;

    fn try_from(written: Written) -> Result<Self, RampError> {
        Self::new(written.levels, written.growth)
    }
}

impl From<Evidence> for Written {
    fn from(shape: Evidence) -> Self {
        Self {
            growth: growth_of(shape.growth_ppm),
            levels: shape.levels,
        }
    }
}

impl Evidence {
    pub(super) fn new(levels: impl IntoIterator<Item = Exposure>, growth: f64) -> Result<Self, RampError> {
        let levels: Vec<Exposure> = levels.into_iter().collect();
        if levels.is_empty() {
            return Err(RampError::NoLevels);
        }
        Ok(Self {
            levels,
            growth_ppm: ppm_of(growth)?,
        })
    }

    /// What each of the first batches must show.
    #[must_use]
    pub fn levels(&self) -> &[Exposure] {
        &self.levels
    }

    /// Growth after the last level in parts per million.
    #[must_use]
    pub const fn growth_ppm(&self) -> u64 {
        self.growth_ppm
    }
}

impl Shape for Evidence {
    fn sizes(&self, fleet: u32, least: u32) -> Result<Vec<u32>, RampError> {
        let mut sizes = Sizes::new(fleet, least);
        if fleet == 0 {
            return sizes.end();
        }
        let half = fleet.div_ceil(2);
        for (batch, level) in self.levels.iter().enumerate() {
            if level.targets > half {
                return Err(RampError::Undetectable {
                    batch,
                    needed: level.targets,
                    half,
                    times: f64::from(level.targets) / f64::from(half),
                });
            }
            sizes.push(level.targets)?;
        }
        let from = sizes.last();
        grow(&mut sizes, from, self.growth_ppm)?;
        sizes.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ramp, RampError};
    use super::Exposure;

    #[test]
    fn the_smallest_batch_that_shows_it_then_growth() {
        let levels = [
            Exposure::targets(3),
            Exposure::targets(2),
            Exposure::sighting(0.1, 0.95).unwrap(),
        ];
        let ramp = Ramp::evidence(levels, 2.0).unwrap();
        assert_eq!(ramp.sizes(200, 1).unwrap(), [3, 29, 58, 116, 200]);
        assert_eq!(ramp.sizes(200, 40).unwrap(), [40, 80, 160, 200]);
        assert_eq!(ramp.sizes(57, 1).unwrap(), [3, 29, 57]);
    }

    /// health.md 5.11: 200 hosts of 50 requests a second; 3,647,568 requests in all, of which the canary sees 1 %.
    #[test]
    fn the_worked_example_of_the_power_analysis() {
        let canary = 3_647_568.124_491 * 0.01;
        assert_eq!(Exposure::events(canary, 50.0, 600.0).unwrap().count(), 2);
        let both = Exposure::targets(5).and(Exposure::targets(9));
        assert_eq!(both.count(), 9);
    }

    #[test]
    fn what_half_the_fleet_cannot_show_is_refused() {
        let ramp = Ramp::evidence([Exposure::sighting(0.01, 0.95).unwrap()], 2.0).unwrap();
        let error = ramp.sizes(299, 1).unwrap_err();
        assert!(matches!(
            error,
            RampError::Undetectable {
                batch: 0,
                needed: 299,
                half: 150,
                ..
            }
        ));
        assert!(error.to_string().contains("bake 2.0 times as long"), "{error}");
        assert!(ramp.sizes(597, 1).is_ok());
        assert!(Ramp::evidence([], 2.0).is_err());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Exposure::events(bad, 1.0, 1.0).is_err() && Exposure::events(1.0, 1.0, bad).is_err());
            assert!(Exposure::sighting(bad, 0.9).is_err() && Exposure::sighting(0.1, bad).is_err());
        }
        assert_eq!(Exposure::events(1e300, 1e-9, 1e-9).unwrap().count(), u32::MAX);
    }
}
