use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone; compares and orders by its text.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes the name from its text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The smallest unit that is changed: the sidecar of one pod, one process. The text is the platform's own
    /// name for it, unique within the platform.
    TargetId
}
name! {
    /// One immutable version of the artefact: a digest, or a tag that never moves.
    Version
}

name! {
    /// Jobs that share a bound: of one rack, of one application. The text is the caller's own.
    GroupName
}

/// Counts the attempts at one target. It only grows; an agent refuses a command of a lower generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct Generation(pub u64);

/// Identifies one running copy. A restart, by whomever, makes a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct InstanceId(pub u64);

/// Numbers the attempts of one driver over its whole life, in the order they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a number with a name")]
pub struct AttemptId(pub u64);

/// The idempotency key of one effect. Two commands with one key are one command: a platform that has applied the
/// first answers the second with [`AlreadyApplied`](crate::EffectOutcome::AlreadyApplied).
///
/// Keys are in order: an attempt gives its orders one after the other, and each has a higher
/// ([`generation`](Self::generation), [`ordinal`](Self::ordinal)) than the one before. So it is enough that a platform
/// keeps the last key it has applied to a target: the same key is done already, an older one is a late message.
///
/// Printed as `attempt/generation/step/ordinal`. Its [`Ord`] is for sorted collections; which of two keys was given first
/// [`is_older_than`](Self::is_older_than) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the key is part of the contract with platforms"
)]
pub struct EffectKey {
    /// The attempt that wants the effect.
    pub attempt: AttemptId,
    /// Its generation; a platform that fences refuses lower ones than it has seen for the target.
    pub generation: Generation,
    /// The position of the effect within the attempt's path, from 0.
    pub step: u8,
    /// Rises with each order of a generation; an order that is asked for again keeps its own.
    pub ordinal: u8,
}

impl EffectKey {
    /// Whether it was given before that one, at the same target.
    pub const fn is_older_than(&self, that: &Self) -> bool {
        self.generation.0 < that.generation.0 || self.generation.0 == that.generation.0 && self.ordinal < that.ordinal
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.attempt.0, self.generation.0, self.step, self.ordinal
        )
    }
}
