//! What checking a plan yields.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A plan that was checked, and how much was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// Targets found in exactly one batch.
    pub targets: u32,
    /// Batches within the ramp.
    pub batches: u32,
    /// Pairs of batch and application that take at most half.
    pub halves: u32,
    /// Applications of one target, all in the last batch.
    pub singletons: u32,
    /// Strata that keep their holdback.
    pub holdbacks: u32,
    /// Classes the first batch contains.
    pub classes_covered: u32,
    /// Classes it cannot contain, all reported with the right reason.
    pub classes_excused: u32,
    /// Neighbours in hash order whose batches do not fall.
    pub neighbours: u32,
    /// Controls that are ready and held back.
    pub controls: u32,
}

impl Proof {
    /// Number of single checks made.
    #[must_use]
    pub fn checks(&self) -> u64 {
        [
            self.targets,
            self.batches,
            self.halves,
            self.singletons,
            self.holdbacks,
            self.classes_covered,
            self.classes_excused,
            self.neighbours,
            self.controls,
        ]
        .into_iter()
        .map(u64::from)
        .sum()
    }
}

/// One bound a plan breaks: which, over which set, and the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The plan is for another fleet.
    #[error("the plan has {plan} targets, the fleet {fleet}")]
    Fleet {
        /// Targets of the plan.
        plan: u32,
        /// Targets of the fleet.
        fleet: u32,
    },
    /// The policy cannot be meant, or names a key the fleet does not have.
    #[error("policy: {message}")]
    Policy {
        /// What is wrong.
        message: String,
    },
    /// A target not in exactly one batch, or listed in another than its own.
    #[error("target `{target}` stands in {listed} batches; its own is {batch}")]
    Partition {
        /// The target.
        target: String,
        /// Number of batches that list it, its own only if it is the only one.
        listed: u32,
        /// The batch it says it is in.
        batch: u16,
    },
    /// A batch larger than the ramp allows.
    #[error("batch {batch}: {cumulative} targets so far, the ramp allows {allowed}")]
    Ramp {
        /// The batch.
        batch: u16,
        /// Targets up to and including it.
        cumulative: u32,
        /// The most there may be.
        allowed: u32,
    },
    /// A batch that takes more than half of an application.
    #[error("batch {batch} takes {taken} of {size} targets of application `{app}`; half, rounded up, is {allowed}")]
    Half {
        /// The batch.
        batch: u16,
        /// The application.
        app: String,
        /// Targets taken.
        taken: u32,
        /// Targets it has.
        size: u32,
        /// The most that may be taken.
        allowed: u32,
    },
    /// An application of one target before the last batch.
    #[error("application `{app}` has one target and stands in batch {batch}; singletons wait for the last, {last}")]
    Singleton {
        /// The application.
        app: String,
        /// Where it stands.
        batch: u16,
        /// The last batch.
        last: u16,
    },
    /// A stratum without its holdback.
    #[error("stratum {stratum}: {held} of {size} targets in the last batch; at least {wanted} are held back")]
    Holdback {
        /// The application and its spread labels.
        stratum: String,
        /// Targets in the last batch.
        held: u32,
        /// Targets it has.
        size: u32,
        /// The least that must be held.
        wanted: u32,
    },
    /// A class that the first batch could contain and does not.
    #[error("the first batch has no target with {key}={value}, though {available} could be taken")]
    Coverage {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Targets that could show it.
        available: u32,
    },
    /// A class reported uncovered that is covered, or not reported although it is not, or with another reason.
    #[error("class {key}={value}: what the plan reports about its coverage is not so")]
    CoverageReport {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Two targets of one stratum changed against their hash order.
    #[error(
        "stratum {stratum}: `{earlier}` comes before `{later}` by hash, but stands in batch {earlier_batch} after {later_batch}"
    )]
    Order {
        /// The application and its spread labels.
        stratum: String,
        /// The target with the lower hash.
        earlier: String,
        /// Its batch.
        earlier_batch: u16,
        /// The target with the higher hash.
        later: String,
        /// Its batch.
        later_batch: u16,
    },
    /// A class nobody has met that does not begin with one target, or grows faster than the ramp.
    #[error(
        "new class {key}={value}: {taken} targets up to batch {batch}; growing from one as the ramp does it has at most {allowed}"
    )]
    NewClass {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The batch.
        batch: u16,
        /// Its targets up to and including the batch.
        taken: u32,
        /// The most there may be.
        allowed: u32,
    },
    /// A target that an earlier plan had in another batch.
    #[error("target `{target}` was in batch {was} and is now in batch {is}; a repaired plan moves nobody")]
    Moved {
        /// The target.
        target: String,
        /// Where it was.
        was: u16,
        /// Where it is.
        is: u16,
    },
    /// A target that joined a frozen batch.
    #[error("target `{target}` joined batch {batch}, which is frozen; {first_open} is the first that is not")]
    JoinedFrozen {
        /// The target.
        target: String,
        /// The batch.
        batch: u16,
        /// The first open batch.
        first_open: u16,
    },
    /// A start, or a birth, that a cap forbids.
    #[error("step {step}: {rule}: `{target}` in {set} makes {amount}, at most {cap}")]
    Cap {
        /// The step of the trace, from 0.
        step: u64,
        /// The cap, by the policy's name for it.
        rule: String,
        /// The application, label value, window or fleet.
        set: String,
        /// The target.
        target: String,
        /// What the start makes of it.
        amount: u64,
        /// The most there may be.
        cap: u64,
    },
    /// A start, or a birth, that is out of turn.
    #[error("step {step}: `{target}`: {why}")]
    Turn {
        /// The step of the trace, from 0.
        step: u64,
        /// The target.
        target: String,
        /// What is wrong.
        why: String,
    },
    /// A control that is not comparable: touched before the last batch, or not ready.
    #[error("target `{target}` is a control but stands in batch {batch} of {last}, or was not ready")]
    Control {
        /// The target.
        target: String,
        /// Its batch.
        batch: u16,
        /// The last batch.
        last: u16,
    },
}

/// All bounds a plan breaks, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations(pub(crate) Vec<Violation>);

impl Violations {
    /// They, in the order found.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        write!(
            f,
            "{} bound{} broken",
            self.0.len(),
            if self.0.len() == 1 { "" } else { "s" }
        )?;
        for violation in self.0.iter().take(SHOWN) {
            write!(f, "; {violation}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "; and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
