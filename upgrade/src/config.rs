use serde::{Deserialize, Serialize};

use crate::timing::within;
use crate::{ConfigError, GroupName, Mode, TargetId, Timing, Version};

/// How a [`Driver`](crate::Driver) works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DriverConfig {
    /// Attempts under way at once. Default 1,000.
    pub max_in_flight: usize,
    /// Attempts of one group under way at once. Default 1,000; jobs without a group know no such bound.
    pub max_per_group: usize,
    /// Jobs that may be submitted and wait for their turn; those that follow an attempt come on top. Default 1,048,576.
    pub max_queued: usize,
    /// Effects that may be open at the platform at once, looks, and as many of each again at targets at which the last call
    /// got no answer: those take no place of the others. Default 256.
    pub max_effects: usize,
    /// How long one call of the platform or of the journal may take, in milliseconds; an effect no longer than what is
    /// left of its step. Default 30,000.
    pub call_ms: u64,
    /// How long a turn waits for answers before it goes on without them, in milliseconds; at most
    /// [`call_ms`](Self::call_ms). Default 1,000.
    pub patience_ms: u64,
    /// Looks happen at multiples of this, in milliseconds, so that many attempts share one. Default 5,000.
    pub poll_ms: u64,
    /// The budgets of the steps.
    pub timing: Timing,
    /// Seeds the jitter of backoffs.
    pub seed: u64,
    /// The generation of the first attempt at a target of which the journal knows nothing; at least 1, the default. Targets
    /// remember the highest one they were fenced with, whoever's it was: a journal that follows another one at the same
    /// targets begins above all that the other has used, or its attempts are stale before they have begun. Each attempt at a
    /// target takes one, and so does each run that takes an attempt up. The unix time at which the change begins, in 1,024ths of a
    /// millisecond, will do: in milliseconds alone, the third try of one change would have the generation of another that begins
    /// 2 ms later. At most 2⁶⁰; up to the year 2248 such a number also fits into 53 bits, as programs keep it that know no integers.
    pub first_generation: u64,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 1_000,
            max_per_group: 1_000,
            max_queued: 1 << 20,
            max_effects: 256,
            call_ms: 30_000,
            patience_ms: 1_000,
            poll_ms: 5_000,
            timing: Timing::default(),
            seed: 0,
            first_generation: 1,
        }
    }
}

impl DriverConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`first_generation`](Self::first_generation).
    #[must_use]
    pub const fn first_generation(mut self, generation: u64) -> Self {
        self.first_generation = generation;
        self
    }

    /// Sets [`max_in_flight`](Self::max_in_flight).
    #[must_use]
    pub const fn max_in_flight(mut self, attempts: usize) -> Self {
        self.max_in_flight = attempts;
        self
    }

    /// Sets [`max_per_group`](Self::max_per_group).
    #[must_use]
    pub const fn max_per_group(mut self, attempts: usize) -> Self {
        self.max_per_group = attempts;
        self
    }

    /// Sets [`max_queued`](Self::max_queued).
    #[must_use]
    pub const fn max_queued(mut self, jobs: usize) -> Self {
        self.max_queued = jobs;
        self
    }

    /// Sets [`max_effects`](Self::max_effects).
    #[must_use]
    pub const fn max_effects(mut self, effects: usize) -> Self {
        self.max_effects = effects;
        self
    }

    /// Sets [`call_ms`](Self::call_ms).
    #[must_use]
    pub const fn call_ms(mut self, ms: u64) -> Self {
        self.call_ms = ms;
        self
    }

    /// Sets [`patience_ms`](Self::patience_ms).
    #[must_use]
    pub const fn patience_ms(mut self, ms: u64) -> Self {
        self.patience_ms = ms;
        self
    }

    /// Sets [`poll_ms`](Self::poll_ms).
    #[must_use]
    pub const fn poll_ms(mut self, ms: u64) -> Self {
        self.poll_ms = ms;
        self
    }

    /// Sets [`timing`](Self::timing).
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks that every value is in its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        within("max_in_flight", size(self.max_in_flight), 1, 1 << 24)?;
        within("max_per_group", size(self.max_per_group), 1, 1 << 24)?;
        within("max_queued", size(self.max_queued), 1, 1 << 28)?;
        within("max_effects", size(self.max_effects), 1, 1 << 20)?;
        within("call_ms", self.call_ms, 1, 3_600_000)?;
        within("patience_ms", self.patience_ms, 1, self.call_ms)?;
        within("poll_ms", self.poll_ms, 1, 3_600_000)?;
        within("first_generation", self.first_generation, 1, 1 << 60)?;
        self.timing.validate()
    }
}

/// What is to be done to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// Which target.
    pub target: TargetId,
    /// What it is believed to run. The way back leads there.
    pub from: Version,
    /// What it shall run.
    pub to: Version,
    /// How.
    pub mode: Mode,
    /// Whose bound it shares, beside that of all.
    pub group: Option<GroupName>,
    /// It is dropped if it has not begun by then, on the driver's monotonic clock in milliseconds.
    pub start_by_ms: Option<u64>,
    /// When it was decided, on the same clock: [`Driver::disturb_within`](crate::Driver::disturb_within) counts from then. `None`: when it
    /// is submitted.
    pub decided_ms: Option<u64>,
}

impl Job {
    /// A job of no group, that may begin whenever there is room.
    pub fn new(target: impl Into<TargetId>, from: impl Into<Version>, to: impl Into<Version>, mode: Mode) -> Self {
        Self {
            target: target.into(),
            from: from.into(),
            to: to.into(),
            mode,
            group: None,
            start_by_ms: None,
            decided_ms: None,
        }
    }

    /// Sets [`from`](Self::from).
    #[must_use]
    pub fn from(mut self, from: impl Into<Version>) -> Self {
        self.from = from.into();
        self
    }

    /// Sets [`group`](Self::group).
    #[must_use]
    pub fn group(mut self, group: impl Into<GroupName>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets [`decided_ms`](Self::decided_ms).
    #[must_use]
    pub const fn decided(mut self, at_ms: u64) -> Self {
        self.decided_ms = Some(at_ms);
        self
    }

    /// Sets [`start_by_ms`](Self::start_by_ms).
    #[must_use]
    pub const fn start_by(mut self, at_ms: u64) -> Self {
        self.start_by_ms = Some(at_ms);
        self
    }
}

/// Why a job was not taken. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// There is nothing to do.
    #[error("{target}: `from` and `to` are both {version}; leave the target out")]
    SameVersion {
        /// Which target.
        target: TargetId,
        /// Both versions.
        version: Version,
    },
    /// The target has an attempt already.
    #[error("{target} has an attempt that has not ended; submit again after its receipt")]
    Busy {
        /// Which target.
        target: TargetId,
    },
    /// The platform cannot do the mode.
    #[error("{target} cannot be upgraded {mode}: {missing}; see `choose_mode`")]
    Mode {
        /// Which target.
        target: TargetId,
        /// The mode wanted.
        mode: Mode,
        /// What the platform lacks.
        missing: &'static str,
    },
    /// Too many wait already.
    #[error("{queued} jobs wait already; take turns first (see `Driver::room`), or raise `max_queued`")]
    QueueFull {
        /// How many wait.
        queued: usize,
    },
    /// A name cannot be journaled.
    #[error("a name of {bytes} bytes: targets, versions and groups are named with 1 to 1024 bytes")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// Records were replayed and not resumed from.
    #[error("the driver has replayed a journal: call `resume` before submitting")]
    NotResumed,
    /// Attempts, or the generations of the target, are numbered to their end.
    #[error("{target}: the journal has come to the end of its numbers; go on with a new one")]
    Spent {
        /// Which target.
        target: TargetId,
    },
}
