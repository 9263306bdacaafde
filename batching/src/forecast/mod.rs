//! What a plan costs in time and exposure.

mod exposure;

pub use exposure::expected_exposure;
