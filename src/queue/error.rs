use unattended_batching::PlanError;

use crate::CommandError;

/// Why the queue did not take something. Nothing has happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A limit that nothing could keep.
    #[error("limits: `{field}` is {value}: give {fix}")]
    Limits {
        /// The field.
        field: &'static str,
        /// What it has.
        value: u64,
        /// What it may be.
        fix: &'static str,
    },
    /// The change cannot be planned.
    #[error("change {change}: {error}")]
    Plan {
        /// Which.
        change: String,
        /// Why not.
        error: PlanError,
    },
    /// A name that is taken, in the queue or of late.
    #[error("there is, or was of late, a change {0} in the queue: give this one another name")]
    Known(String),
    /// A name that nobody has.
    #[error("there is no change {0} in the queue")]
    Unknown(String),
    /// It is not in a state for that.
    #[error("change {change} {is}: {fix}")]
    State {
        /// Which.
        change: String,
        /// What it is.
        is: String,
        /// What can be done.
        fix: &'static str,
    },
    /// Whoever says it may not.
    #[error("{0}")]
    Command(CommandError),
    /// Too many wait.
    #[error("{0} changes are in the queue, as many as may be: withdraw some, or submit it when some have ended")]
    Full(usize),
    /// It is no emergency as they have to be.
    #[error("emergency {change}: {why}")]
    Emergency {
        /// Which.
        change: String,
        /// What it lacks, and what to do.
        why: String,
    },
    /// The change that was opened is not the one that the ticket is of.
    #[error("change {change} is not what was submitted: {why}")]
    Other {
        /// Which.
        change: String,
        /// What differs.
        why: String,
    },
}
