//! What goes into a machine and comes out of it.
use crate::{EffectOutcome, HandoverOrder, InstanceId, Mode, Observation, Step, Terminal, Version};

/// What one attempt is about: everything a [`Machine`](crate::Machine) is given at its birth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a machine's whole input; a new field must be thought about"
)]
pub struct Plan {
    /// How.
    pub mode: Mode,
    /// What the target is believed to run.
    pub from: Version,
    /// What it shall run.
    pub to: Version,
    /// The platform can fence.
    pub fence: bool,
    /// The platform can prefetch.
    pub prefetch: bool,
    /// Seeds the jitter of backoffs.
    pub salt: u64,
}

/// An input of a [`Machine`](crate::Machine).
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a machine must decide every case")]
pub enum Event<'a> {
    /// The target was looked at.
    Observed {
        /// When the look was asked for, on the driver's monotonic clock: what was seen held then or later.
        asked_ms: u64,
        /// When it was answered: what was seen held then or before.
        now_ms: u64,
        /// What was seen.
        seen: &'a Observation,
    },
    /// The target could not be looked at.
    Unseen {
        /// When that was known, on the driver's monotonic clock.
        now_ms: u64,
        /// When the first look was asked for since which none could be had.
        since_ms: u64,
    },
    /// The last commanded effect was sent, and this is the answer.
    Outcome {
        /// When it came.
        now_ms: u64,
        /// The answer.
        outcome: &'a EffectOutcome,
    },
    /// The last commanded effect was not sent: acting is not permitted now.
    Withheld {
        /// When that was decided.
        now_ms: u64,
    },
}

/// Which of an attempt's two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "an attempt has two versions")]
pub enum Which {
    /// [`Plan::from`].
    Old,
    /// [`Plan::to`].
    New,
}

/// What a [`Machine`](crate::Machine) wants done at the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a driver must carry out every effect")]
pub enum Effect {
    /// [`Platform::fence`](crate::Platform::fence) with the attempt's generation.
    Fence,
    /// [`Platform::prefetch`](crate::Platform::prefetch) of the new version.
    Prefetch,
    /// [`Platform::ingress`](crate::Platform::ingress): close.
    Close {
        /// When the platform shall reopen by itself.
        reopen_by_ms: u64,
    },
    /// [`Platform::ingress`](crate::Platform::ingress): open.
    Open,
    /// [`Platform::replace`](crate::Platform::replace).
    Replace(Which),
    /// [`Platform::replace_in_place`](crate::Platform::replace_in_place).
    ReplaceInPlace(Which),
    /// [`Platform::spawn`](crate::Platform::spawn).
    Spawn(Which),
    /// [`Platform::hand_over`](crate::Platform::hand_over), from the old version to the new one.
    HandOver(HandoverOrder),
    /// [`Platform::stop`](crate::Platform::stop).
    Stop(InstanceId),
    /// [`Platform::reset`](crate::Platform::reset).
    Reset(Which),
    /// [`Platform::apply_config`](crate::Platform::apply_config).
    ApplyConfig(Which),
}

/// An output of a [`Machine`](crate::Machine).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver must carry out every command")]
pub enum Command {
    /// Look at the target at this time or later, and say what was seen, or that it could not be.
    Look {
        /// On the driver's monotonic clock, in milliseconds.
        at_ms: u64,
    },
    /// Make the intent durable, then ask the permit, then send the effect, then say what became of it.
    Effect {
        /// What to do.
        effect: Effect,
        /// For the key.
        step: Step,
        /// For the key.
        ordinal: u8,
        /// What is left of the step's budget, in milliseconds, for the intent: a recovery of the step gets no more.
        left_ms: u64,
    },
    /// The attempt has ended. Nothing follows.
    Finish(Terminal),
}
