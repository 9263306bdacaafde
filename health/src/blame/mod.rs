//! Which of several concurrent changes a fault comes from.

mod history;
mod score;
mod snapshot;

pub use history::{Blame, BlameConfig, BlameError};
pub use score::{BlameReport, BlameVerdict, Suspect, Vote, temporal_correlation};
