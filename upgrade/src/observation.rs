//! What a look at a target shows.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, Version};

/// Where the life of the slot's process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a machine must decide every case")]
pub enum Phase {
    /// The platform does not know the target any more: it died.
    Gone,
    /// The target exists and nothing runs in it.
    Stopped,
    /// Something is being started.
    Starting,
    /// An instance runs.
    Running,
    /// The instance exits again and again.
    Crashing,
}

/// Whether new traffic is led to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a machine must decide every case")]
pub enum Ingress {
    /// It is.
    Open,
    /// It is not.
    Closed,
    /// The platform cannot tell.
    Unknown,
}

/// The running instance's word on itself, before it gets traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a machine must decide every case")]
pub enum SelfCheck {
    /// It has not said anything yet. Never read as a pass.
    Unreported,
    /// Every required check passed.
    Passed,
    /// A required check failed or is missing.
    Failed {
        /// The first such check.
        check: Arc<str>,
    },
}

/// What is seen of one of a target's two slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters fill every field, and a new one must be thought about"
)]
pub struct SlotSeen {
    /// The version the slot is to run, whether or not something runs right now; `None` if the slot is empty.
    pub version: Option<Version>,
    /// Where its process stands. An empty slot is [`Phase::Stopped`].
    pub phase: Phase,
    /// The instance that runs; a restart, by whomever, makes a new one.
    pub instance: Option<InstanceId>,
    /// It says it can serve (once it is let).
    pub ready: bool,
    /// Its self-checks.
    pub self_check: SelfCheck,
    /// It holds the listeners of the target: the very same queues, proved by their cookies, each one claimed.
    pub listeners: bool,
    /// It polls them: new connections may end up here.
    pub accepting: bool,
    /// Connections it has accepted since it began to poll; `None` where it cannot be told.
    pub accepted: Option<u64>,
    /// Established connections it owns; `None` where it cannot be told.
    pub connections: Option<u32>,
    /// It has confirmed the commit of this attempt's generation or a later one: it is the one that serves.
    pub committed: bool,
    /// It has left for good: it neither polls nor owns anything, and will not by itself do so again.
    pub retired: bool,
}

impl SlotSeen {
    /// A slot in which nothing is to run.
    pub const fn empty() -> Self {
        Self {
            version: None,
            phase: Phase::Stopped,
            instance: None,
            ready: false,
            self_check: SelfCheck::Unreported,
            listeners: false,
            accepting: false,
            accepted: None,
            connections: None,
            committed: false,
            retired: false,
        }
    }

    /// Nothing runs in it and nothing is to.
    pub fn is_empty(&self) -> bool {
        self.version.is_none() && self.instance.is_none()
    }
}

/// How long connections stood still while they moved, over all that moved, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "three quantiles")]
pub struct Pauses {
    /// Half of them at most so long.
    pub p50_us: u32,
    /// All but one of a hundred at most so long.
    pub p99_us: u32,
    /// The longest.
    pub max_us: u32,
}

/// What became of the connections of a hand-over, counted by the agents since its [`HandoverOrder::Offer`](crate::HandoverOrder::Offer). Each
/// connection that the old instance owned then is counted at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "adapters fill every field")]
pub struct Moves {
    /// Adopted by the other instance, its state included. One that moved there and back counts twice.
    pub moved: u32,
    /// Not movable; asked to end, and ended by itself.
    pub declined: u32,
    /// Cut at a deadline.
    pub cut: u32,
    /// Ended because their owner died.
    pub lost: u32,
    /// Bytes of unread input and state that moved along.
    pub bytes: u64,
    /// How long those that moved stood still.
    pub pauses: Pauses,
}

/// What is seen of a target in which two instances can run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters fill every field, and a new one must be thought about"
)]
pub struct Pair {
    /// Both slots, always in the same order. No two slots have the same version.
    pub slots: [SlotSeen; 2],
    /// The control session between the two agents stands: each holds a lease on the other.
    pub session: bool,
    /// What became of connections so far.
    pub moves: Moves,
}

/// What is seen of a target's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters fill every field, and a new one must be thought about"
)]
pub struct ConfigSeen {
    /// The version that the running instance has acknowledged and works by; `None` if it works by none, or cannot be
    /// asked.
    pub acknowledged: Option<Version>,
    /// The version that it refused last, with its words; cleared when another one is pushed.
    pub refused: Option<(Version, Arc<str>)>,
}

/// What the world looks like at one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "adapters fill every field, and a new one must be thought about"
)]
pub struct Observation {
    /// Where the process stands.
    pub phase: Phase,
    /// The version the running (or starting) instance was made from; `None` where nothing runs or it cannot be told.
    pub version: Option<Version>,
    /// The running instance.
    pub instance: Option<InstanceId>,
    /// The instance says it can serve.
    pub ready: bool,
    /// Its self-checks.
    pub self_check: SelfCheck,
    /// Whether new traffic comes in.
    pub ingress: Ingress,
    /// Connections or requests still being served; `None` where it cannot be told.
    pub active: Option<u32>,
    /// Both slots; `None` where there is but one. The fields above tell of the slot that serves.
    pub pair: Option<Box<Pair>>,
    /// The configuration; `None` where the platform does not push any.
    pub config: Option<Box<ConfigSeen>>,
}
