//! The public interface, as its users meet it.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests: a panic is a failure, numbers are small"
)]

mod codec;
mod error_budgets;
mod headline;
mod judge;
mod sums;
mod support;
mod trust;
