//! What every platform and every journal must do, as suites to run against an own one.
//!
//! A suite gives `Ok` or the first [`Breach`]: the rule that is broken under a stable name, and what was seen.
mod faults;
mod journal;
mod platform;

use std::fmt;

pub use faults::{Medium, journal_faults};
pub use journal::{journal_holds, journal_suite};
pub use platform::{Disturb, Memory, Subject, Undisturbed, platform_holds, platform_suite};

/// A rule of a contract, broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {told}")]
#[non_exhaustive]
pub struct Breach {
    /// The stable name of the rule, as `append.position`.
    pub rule: &'static str,
    /// What was done and what was seen, for people.
    pub told: String,
}

impl Breach {
    fn new(rule: &'static str, told: impl Into<String>) -> Self {
        let told = told.into();
        Self { rule, told }
    }

    fn by<E: fmt::Display>(rule: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::new(rule, error.to_string())
    }
}

fn same<T: PartialEq + fmt::Debug>(rule: &'static str, what: &str, found: &T, wanted: &T) -> Result<(), Breach> {
    if found == wanted {
        return Ok(());
    }
    Err(Breach::new(rule, format!("{what} is {found:?}, wanted {wanted:?}")))
}
