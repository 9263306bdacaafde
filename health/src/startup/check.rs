//! What is checked, in which order, and for how long at most.

use super::report::MAX_ID;

/// An hour: no self-check keeps an instance out of traffic for longer in one attempt.
const MAX_MS: u64 = 3_600_000;
const MAX_CHECKS: usize = 256;
const MAX_ATTEMPTS: u32 = 100;

/// One self-check, as it is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub(super) id: String,
    pub(super) required: bool,
    pub(super) weight: u32,
    pub(super) after: Vec<String>,
    pub(super) limit_ms: u64,
    pub(super) attempts: u32,
    pub(super) pause_ms: u64,
}

impl Check {
    /// A check that is not required, of weight 1, with one attempt of at most five seconds.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            required: false,
            weight: 1,
            after: Vec::new(),
            limit_ms: 5_000,
            attempts: 1,
            pause_ms: 0,
        }
    }

    /// Without a pass of this check the instance takes no traffic. Leave checks of *others* (a database, a peer) optional: a
    /// fault of theirs would otherwise block the release that helps against it.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// How much it counts in the gate's score.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Is skipped unless the earlier check `id` passed. May be called for several.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after.push(id.into());
        self
    }

    /// Each attempt may take so long, 1 ms to an hour.
    #[must_use]
    pub const fn limit_ms(mut self, limit_ms: u64) -> Self {
        self.limit_ms = limit_ms;
        self
    }

    /// Is tried so often before it has failed, 1 to 100, `pause_ms` after the end of the attempt before.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32, pause_ms: u64) -> Self {
        self.attempts = attempts;
        self.pause_ms = pause_ms;
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The longest it can take, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        u64::from(self.attempts) * self.limit_ms + u64::from(self.attempts - 1) * self.pause_ms
    }
}

/// Why a list of checks cannot be run. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartupError {
    /// None, or too many.
    #[error("{count} self-checks; 1 to {MAX_CHECKS} can be run, and without any there is nothing to believe")]
    Count {
        /// How many.
        count: usize,
    },
    /// A name that cannot be told apart in logs.
    #[error("self-check {place} is named `{id}`; use 1 to {MAX_ID} printable ASCII characters without spaces")]
    Id {
        /// From 1.
        place: usize,
        /// The name.
        id: String,
    },
    /// Two of one name.
    #[error("two self-checks are named `{id}`; name them apart")]
    Duplicate {
        /// The name.
        id: String,
    },
    /// It comes after one that is not there, or not before it.
    #[error(
        "self-check `{id}` is to run after `{after}`, which does not stand before it in the list; move or correct it"
    )]
    Order {
        /// The check.
        id: String,
        /// What it comes after.
        after: String,
    },
    /// A number is outside its range.
    #[error("self-check `{id}`: {field} is {found}; {allowed}")]
    Range {
        /// The check.
        id: String,
        /// Which number.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it may be.
        allowed: &'static str,
    },
}

pub(super) fn validate(checks: &[Check]) -> Result<(), StartupError> {
    if checks.is_empty() || checks.len() > MAX_CHECKS {
        return Err(StartupError::Count { count: checks.len() });
    }
    for (place, check) in checks.iter().enumerate() {
        let id = || check.id.clone();
        if check.id.is_empty() || check.id.len() > MAX_ID || !check.id.chars().all(|c| c.is_ascii_graphic()) {
            return Err(StartupError::Id {
                place: place + 1,
                id: id(),
            });
        }
        let before = &checks[..place];
        if before.iter().any(|other| other.id == check.id) {
            return Err(StartupError::Duplicate { id: id() });
        }
        if let Some(after) = check
            .after
            .iter()
            .find(|after| before.iter().all(|other| other.id != **after))
        {
            return Err(StartupError::Order {
                id: id(),
                after: after.clone(),
            });
        }
        let out_of_range = |field, found, allowed| StartupError::Range {
            id: id(),
            field,
            found,
            allowed,
        };
        if !(1..=MAX_MS).contains(&check.limit_ms) {
            return Err(out_of_range("limit_ms", check.limit_ms, "allow 1 ms to an hour"));
        }
        if !(1..=MAX_ATTEMPTS).contains(&check.attempts) {
            return Err(out_of_range("attempts", check.attempts.into(), "allow 1 to 100"));
        }
        if check.pause_ms > MAX_MS {
            return Err(out_of_range("pause_ms", check.pause_ms, "allow at most an hour"));
        }
    }
    Ok(())
}
