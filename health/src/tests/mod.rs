//! Tests of the arithmetic itself.

mod boundaries;
mod expectation;
mod hosts;
mod reference;

use crate::Counts;
pub(crate) use expectation::binomial;

use crate::evidence::{self, BadRatio, GridVector, compares};

/// Zeros where nothing is compared.
fn row_evidence(canary: Counts, control: Counts, null_ratio: f64) -> GridVector {
    if compares(canary, control) {
        evidence::row_evidence(canary, control, null_ratio).row
    } else {
        [0.0; 6]
    }
}

fn relative_safety(canary: Counts, control: Counts, bad_ratio: f64) -> f64 {
    evidence::relative_safety(canary, control, BadRatio::new(bad_ratio)).bad
}

/// Against twice the control's rate.
fn double_safety(canary: Counts, control: Counts) -> f64 {
    evidence::relative_safety(canary, control, BadRatio::new(1.5)).double
}
