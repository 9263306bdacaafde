//! How much worse the canary is: the rate ratio for people, with an interval that holds at every look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Counts;
use crate::evidence::{GRID, compares, ln_mixture};
use crate::row::to_f64;

/// A rate ratio, canary to control.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ratio {
    /// Mantel–Haenszel estimate over strata and splits: Σ x_c n_b/n over Σ x_b n_c/n; `None` without bad events on
    /// the control.
    pub estimate: Option<f64>,
    /// Lower end of the 95 % confidence sequence; 0 when nothing bounds it.
    pub low: f64,
    /// Upper end; `None` when nothing bounds it.
    pub high: Option<f64>,
}

impl Ratio {
    /// Some event stands behind it.
    pub(crate) const fn says_something(&self) -> bool {
        self.estimate.is_some() || self.low > 0.0 || self.high.is_some()
    }
}

/// Counts with bad events of a scope and metric, by the odds of their split in steps of a quarter octave: rows of one split
/// may be added up, rows of different ones may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Splits(BTreeMap<u16, (Counts, Counts)>);

impl Splits {
    pub(crate) fn add(&mut self, canary: Counts, control: Counts) {
        if !compares(canary, control) {
            return;
        }
        // Exponent and two bits of the mantissa: twelve bits and never a sign.
        let odds = (to_f64(canary.total) / to_f64(control.total)).to_bits() >> 50;
        let sums = self.0.entry(u16::try_from(odds).unwrap_or(u16::MAX)).or_default();
        sums.0.add(canary);
        sums.1.add(control);
    }

    /// Adds those of other strata.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (odds, (canary, control)) in &other.0 {
            let sums = self.0.entry(*odds).or_default();
            sums.0.add(*canary);
            sums.1.add(*control);
        }
    }

    /// The ratio, with evidence divided by the dispersion.
    pub(crate) fn ratio(&self, dispersion: f64) -> Ratio {
        let (mut above, mut below) = (0.0, 0.0);
        for (canary, control) in self.0.values() {
            let (n_c, n_b) = (to_f64(canary.total), to_f64(control.total));
            above += to_f64(canary.bad) * (n_b / (n_c + n_b));
            below += to_f64(control.bad) * (n_c / (n_c + n_b));
        }
        // Two sides share 5 %.
        let needed = libm::log(2.0 / 0.05);
        let refutes_upwards = |ln_ratio: f64| self.ln_evidence(ln_ratio, 1.0, dispersion) >= needed;
        let refutes_downwards = |ln_ratio: f64| self.ln_evidence(ln_ratio, -1.0, dispersion) >= needed;
        let (least, most) = (libm::log(1e-4), libm::log(1e4));
        let low = if refutes_upwards(least) {
            libm::exp(border(least, most, refutes_upwards))
        } else {
            0.0
        };
        let high = refutes_downwards(most).then(|| libm::exp(border(most, least, refutes_downwards)));
        Ratio {
            estimate: (below > 0.0).then(|| above / below),
            low,
            high,
        }
    }

    /// ln of the mean e-value over the grid for "the ratio is r₀·R" (`side` 1) or "r₀/R" (−1) against r₀.
    fn ln_evidence(&self, ln_null: f64, side: f64, dispersion: f64) -> f64 {
        let null = libm::exp(ln_null);
        ln_mixture(&GRID.map(|factor| {
            let ln_factor = side * libm::log(factor);
            let ratio = null * libm::exp(ln_factor);
            let sum: f64 = self
                .0
                .values()
                .map(|(canary, control)| {
                    let rho = to_f64(canary.total) / (to_f64(canary.total) + to_f64(control.total));
                    let events = to_f64(canary.bad) + to_f64(control.bad);
                    let growth = libm::log1p(rho * (ratio - 1.0)) - libm::log1p(rho * (null - 1.0));
                    to_f64(canary.bad) * ln_factor - events * growth
                })
                .sum();
            sum / dispersion
        }))
    }
}

/// Where a condition that holds at `inside` and changes once on the way to `outside` changes.
fn border(mut inside: f64, mut outside: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..50 {
        let middle = f64::midpoint(inside, outside);
        if holds(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    f64::midpoint(inside, outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confounded_ratio_is_taken_apart() {
        // A zone with ten times the rate gets most of the canary: pooled, the ratio would look like 7.
        let mut splits = Splits::default();
        splits.add(Counts::new(900, 90_000), Counts::new(100, 10_000));
        splits.add(Counts::new(10, 10_000), Counts::new(90, 90_000));
        let ratio = splits.ratio(1.0);
        assert!((ratio.estimate.unwrap() - 1.0).abs() < 1e-9);
        assert!(ratio.low < 1.0 && ratio.high.unwrap() > 1.0);
    }

    #[test]
    fn the_interval_narrows_and_widens_with_dispersion() {
        let mut splits = Splits::default();
        splits.add(Counts::new(120, 8_500), Counts::new(400, 141_500));
        let sharp = splits.ratio(1.0);
        let blunt = splits.ratio(4.0);
        let estimate = sharp.estimate.unwrap();
        assert!((estimate - (120.0 / 8_500.0) / (400.0 / 141_500.0)).abs() < 1e-9);
        assert!(sharp.low > 3.0 && sharp.low < estimate && sharp.high.unwrap() > estimate && sharp.high.unwrap() < 8.0);
        assert!(blunt.low < sharp.low && blunt.high.unwrap() > sharp.high.unwrap());
    }

    #[test]
    fn nothing_bounds_nothing() {
        let nothing = Splits::default().ratio(1.0);
        assert_eq!(
            nothing,
            Ratio {
                estimate: None,
                low: 0.0,
                high: None
            }
        );
        let mut only_canary = Splits::default();
        only_canary.add(Counts::new(50, 1_000), Counts::new(0, 100_000));
        let ratio = only_canary.ratio(1.0);
        assert!(ratio.estimate.is_none() && ratio.low > 10.0 && ratio.high.is_none());
    }
}
