use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{EffectKey, Generation, InstanceId, Observation, TargetId, Version};

/// What a platform can do beyond the three required methods.
///
/// A mode is offered only where the platform has what it needs: cold needs nothing more, warm needs
/// [`ingress`](Self::ingress) and [`in_place`](Self::in_place). Without [`fence`](Self::fence) there must be one controller only, and autonomy ends at
/// level L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// [`Platform::fence`] works: commands of older generations are refused.
    pub fence: bool,
    /// [`Platform::ingress`] works, and [`Observation::ingress`] tells what it did.
    pub ingress: bool,
    /// [`Platform::replace_in_place`] works: the sidecar is replaced while its application keeps running.
    pub in_place: bool,
    /// [`Platform::prefetch`] works.
    pub prefetch: bool,
    /// [`Platform::watch`] works: births, deaths and foreign restarts are told.
    pub watch: bool,
    /// [`Platform::spawn`], [`Platform::stop`] and [`Platform::reset`] work: two instances can run side by side in a
    /// target, and [`Observation::pair`] tells of both.
    pub slots: bool,
    /// [`Platform::hand_over`] works: the agents of both instances are reached, refuse old generations, and
    /// [`Observation::pair`] tells what they say.
    pub hand_over: bool,
    /// [`Platform::apply_config`] works, and [`Observation::config`] tells what was acknowledged.
    pub config: bool,
}

impl Capabilities {
    /// Nothing beyond the required methods.
    pub const fn none() -> Self {
        Self {
            fence: false,
            ingress: false,
            in_place: false,
            prefetch: false,
            watch: false,
            slots: false,
            hand_over: false,
            config: false,
        }
    }

    /// With fencing by generation.
    #[must_use]
    pub const fn with_fence(mut self) -> Self {
        self.fence = true;
        self
    }

    /// With control over ingress.
    #[must_use]
    pub const fn with_ingress(mut self) -> Self {
        self.ingress = true;
        self
    }

    /// With replacement that leaves the application running.
    #[must_use]
    pub const fn with_in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// With fetching of artefacts ahead of time.
    #[must_use]
    pub const fn with_prefetch(mut self) -> Self {
        self.prefetch = true;
        self
    }

    /// With news of births, deaths and restarts.
    #[must_use]
    pub const fn with_watch(mut self) -> Self {
        self.watch = true;
        self
    }

    /// With two slots, in which instances can be started and ended.
    #[must_use]
    pub const fn with_slots(mut self) -> Self {
        self.slots = true;
        self
    }

    /// With agents that hand connections over.
    #[must_use]
    pub const fn with_hand_over(mut self) -> Self {
        self.hand_over = true;
        self
    }

    /// With pushing of configurations.
    #[must_use]
    pub const fn with_config(mut self) -> Self {
        self.config = true;
        self
    }
}

/// What became of one commanded effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a machine must decide every case")]
pub enum EffectOutcome {
    /// The platform has taken the command and it will be carried out; whether it is finished shows in
    /// [`Platform::observe`].
    Applied,
    /// This very key had been applied before; nothing was done again.
    AlreadyApplied,
    /// A higher generation has been seen for the target. Nothing was done; the attempt has been superseded.
    Stale,
    /// Not now. Nothing was done; ask again after so many milliseconds.
    Retry {
        /// The wait, in milliseconds.
        after_ms: u64,
    },
    /// Refused for good. Nothing was done.
    Failed {
        /// Why, for people.
        reason: Arc<str>,
    },
    /// It cannot be told whether it was done. The world must be observed before anything else happens.
    Unknown {
        /// Why, for people.
        reason: Arc<str>,
    },
    /// The platform does not have this capability. Nothing was done.
    Unsupported,
}

/// Something that happened to the fleet without being asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FleetChange {
    /// A target was born. It already runs the version that the platform was told for births.
    Joined {
        /// The new target.
        target: TargetId,
        /// Its application.
        app: Arc<str>,
        /// Its labels, as (key, value).
        labels: Vec<(Arc<str>, Arc<str>)>,
        /// What it runs.
        version: Version,
    },
    /// A target died.
    Left {
        /// Which.
        target: TargetId,
    },
    /// A target stopped being able to serve, by itself.
    BecameUnhealthy {
        /// Which.
        target: TargetId,
    },
    /// It can serve again.
    BecameHealthy {
        /// Which.
        target: TargetId,
    },
}

/// News since a cursor, with the cursor to ask from next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "two fields, both needed")]
pub struct News {
    /// In the order in which they happened.
    pub changes: Vec<FleetChange>,
    /// Ask from here next time.
    pub cursor: u64,
}

/// Why the platform could not answer. It is never read as an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The platform cannot be reached or did not answer in time.
    #[error("the platform cannot be reached: {0}")]
    Unavailable(String),
    /// The platform has no such capability.
    #[error("the platform has no capability `{0}`")]
    Unsupported(&'static str),
    /// The answer makes no sense.
    #[error("the platform's answer cannot be understood: {0}")]
    Garbled(String),
}

/// An orchestrator, as far as an upgrade needs it.
///
/// Three methods are required. The others are optional capabilities whose defaults answer "unsupported"; each mode
/// names what it needs (see [`Capabilities`]).
///
/// Contract for every effect (each method that is given an [`EffectKey`]): when it returns [`EffectOutcome::Applied`] the
/// command survives a crash of the controller; the same [`EffectKey`] given again is answered
/// [`EffectOutcome::AlreadyApplied`] and does nothing. Where [`Capabilities::fence`] is claimed, a key with a lower
/// generation than the highest fenced for the target, and a key that [is older](EffectKey::is_older_than) than the last one
/// applied to it, are answered [`EffectOutcome::Stale`] and do nothing: a message that was late must not undo what was
/// ordered after it.
#[async_trait]
pub trait Platform: Send + Sync {
    /// What this platform can do. Constant over its life.
    fn capabilities(&self) -> Capabilities;

    /// Looks at many targets at once. On return there is exactly one observation per target asked for, in the same
    /// order; a target that does not exist is [`Phase::Gone`].
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError>;

    /// Makes the target run `version` instead of what it runs; the application may restart with it. On return the order has been taken; that it is
    /// finished shows in [`observe`](Self::observe) as a new instance of that version.
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome;

    /// Refuses from now on every effect on `target` of a generation below `generation`. Durable on return.
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let _ = (target, generation);
        EffectOutcome::Unsupported
    }

    /// As [`replace`](Self::replace), but only the sidecar restarts: the application keeps running.
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Brings the artefact near the target. Nothing is stopped or started.
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Opens or closes the way of new traffic to the target. A closing carries the deadline at which the platform
    /// itself reopens a verified instance should the controller fall silent.
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let _ = (target, order, key);
        EffectOutcome::Unsupported
    }

    /// Starts `version` in the target's free slot, beside what runs. If a slot has that version already, that slot is
    /// meant: what runs in it is left alone, and what does not is started. The new instance does not serve: it waits for
    /// [`hand_over`](Self::hand_over), unless no other instance of the target lives, in which case it binds and serves.
    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Asks this very instance to end, and ends it after its grace. Any other instance is left alone; that this one is
    /// gone already is [`EffectOutcome::AlreadyApplied`]. The slot keeps its version: a platform that restarts whatever
    /// exits may start it again, and what it starts stays passive while another instance of the target has committed.
    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        let _ = (target, instance, key);
        EffectOutcome::Unsupported
    }

    /// Empties the slot that has `version`: what runs in it is ended, and nothing is started in it. The other slot is
    /// left alone. That no slot has the version is [`EffectOutcome::AlreadyApplied`].
    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Leads an order to the agents of the two instances: the old one is that of the version `from`, the new one that of
    /// `to`. The agents keep the highest generation they have seen and refuse lower ones.
    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        let _ = (target, order, from, to, key);
        EffectOutcome::Unsupported
    }

    /// Pushes the configuration `version` to the target. What it works by shows in [`Observation::config`].
    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Births, deaths and changes of health since `cursor` (0 = from the beginning of the watch). May be empty;
    /// repeats nothing that came before the cursor.
    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let _ = cursor;
        Err(PlatformError::Unsupported("watch"))
    }
}

/// An order for [`Platform::hand_over`]. Every one may be given twice: what holds already is done already.
///
/// Two local rules stand above all orders. The old agent, as long as it lives, polls again at once when the session to
/// the new one ends without an agreed end. The new agent that loses the session keeps what it has, and adopts nothing
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "agents must carry out every order")]
pub enum HandoverOrder {
    /// Open the session and pass the listeners. Done when the instance of the new version has claimed every one and
    /// says it is ready; it does not poll them yet.
    Offer,
    /// The new instance polls too: both accept from the same queues.
    Accept,
    /// The old instance stops polling and keeps its listeners. Refused unless the new one polls and the session stands.
    Quiesce,
    /// The old instance moves each connection it can, one by one in two phases, and asks the others to end. It keeps
    /// its copy of each until it has been adopted.
    Migrate,
    /// The new instance takes the target as its own, durably, and confirms it.
    Commit,
    /// The old instance leaves: what it still owns is cut and counted. It leaves only while its lease on a committed
    /// new one is alive.
    Retire,
    /// All back: the old instance polls, then the new one stops polling and moves its connections back as `Migrate`
    /// does. Given without a session, the old instance just polls.
    Return,
}

/// An order for [`Platform::ingress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a way is open or closed")]
pub enum IngressOrder {
    /// Lead new traffic to the target.
    Open,
    /// Lead no new traffic to it.
    Close {
        /// Reopen by yourself at this time on the driver's monotonic clock, in milliseconds, if nobody called since.
        reopen_by_ms: u64,
    },
}
