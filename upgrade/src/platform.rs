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
    /// [`Platform::ingress_barrier`] works: it can be told when the last consumer has heard of a closing.
    pub barrier: bool,
    /// [`Platform::probe`] works: instances are asked themselves.
    pub probe: bool,
    /// [`Platform::control_endpoint`] works: agents can be reached by others than the platform.
    pub endpoint: bool,
    /// [`Platform::desired`] works: what newborns run can be told.
    pub desired: bool,
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
            barrier: false,
            probe: false,
            endpoint: false,
            desired: false,
        }
    }

    /// With a barrier at the consumers of ingress.
    #[must_use]
    pub const fn with_barrier(mut self) -> Self {
        self.barrier = true;
        self
    }

    /// With probes of instances.
    #[must_use]
    pub const fn with_probe(mut self) -> Self {
        self.probe = true;
        self
    }

    /// With addresses of agents.
    #[must_use]
    pub const fn with_endpoint(mut self) -> Self {
        self.endpoint = true;
        self
    }

    /// With a say in what newborns run.
    #[must_use]
    pub const fn with_desired(mut self) -> Self {
        self.desired = true;
        self
    }

    /// What contradicts itself in this combination, in words; `None` if nothing does.
    ///
    /// ```
    /// use unattended_upgrade::Capabilities;
    ///
    /// let odd = Capabilities::none().with_barrier();
    /// assert!(odd.contradiction().is_some_and(|words| words.contains("ingress")));
    /// assert_eq!(Capabilities::none().with_barrier().with_ingress().contradiction(), None);
    /// ```
    pub const fn contradiction(&self) -> Option<&'static str> {
        if self.barrier && !self.ingress {
            return Some("it claims a barrier and no control over ingress: claim both, or neither");
        }
        if self.hand_over && !self.slots {
            return Some("it claims to hand connections over and has no second slot: claim slots too, or neither");
        }
        None
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
        /// The wait, in milliseconds. A driver waits a minute at most, and no longer than its step may take.
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

/// How far a closing of ingress has come at those who send the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "two facts, both needed")]
pub struct Barrier {
    /// Everybody who picks targets for traffic has been seen to have taken this one out.
    pub told: bool,
    /// How long no new connection has come, in milliseconds; `None` where that cannot be told.
    pub quiet_ms: Option<u64>,
}

impl Barrier {
    /// Everybody knows, and what came of those who knew late has come: two quiet seconds, or as long since everybody
    /// knows (`known_ms`) where connections cannot be counted.
    pub const fn is_reached(&self, known_ms: u64) -> bool {
        let quiet_ms = match self.quiet_ms {
            Some(quiet_ms) => quiet_ms,
            None => known_ms,
        };
        self.told && quiet_ms >= Self::HOLD_MS
    }

    /// How long it must be quiet.
    const HOLD_MS: u64 = 2_000;
}

/// What an instance said when it was asked itself, at the port that takes its traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "adapters fill every field")]
pub struct Probe {
    /// Who answered; `None` if nobody did.
    pub instance: Option<InstanceId>,
    /// The version that it says it is.
    pub version: Option<Version>,
    /// Its own word on itself.
    pub self_check: crate::SelfCheck,
}

/// An orchestrator, as far as an upgrade needs it.
///
/// Three methods are required. The others are optional capabilities whose defaults answer "unsupported"; each mode
/// names what it needs (see [`Capabilities`]). `examples/own_platform` is one of 150 lines, and
/// [`conformance::platform_suite`](crate::conformance::platform_suite) tries one against all that is said here.
///
/// # Every call
///
/// A call is polled when it wakes: by a turn that waits for it, up to
/// [`DriverConfig::patience_ms`](crate::DriverConfig::patience_ms), and after that by whoever
/// [`attend`](crate::Driver::attend)s to the driver. After [`DriverConfig::call_ms`](crate::DriverConfig::call_ms) it is
/// given up.
///
/// # Every effect
///
/// `replace`, `replace_in_place`, `prefetch`, `ingress`, `spawn`, `stop`, `reset`, `hand_over`, `apply_config` and
/// `desired` are effects. On return of
///
/// - [`Applied`](EffectOutcome::Applied): the order and its key are durable together, as one write; the order will be
///   carried out even if controller and adapter fall, and shows in [`observe`](Self::observe) when it is finished;
/// - [`AlreadyApplied`](EffectOutcome::AlreadyApplied): this very key was applied before, and nothing was done now;
/// - [`Stale`](EffectOutcome::Stale): a higher generation is fenced for the target, or a key that was given later
///   ([`EffectKey::is_older_than`]) has been applied to it; nothing was done. A message that was late must not undo what was
///   ordered after it. Who keeps only the last key applied to each target may answer so for every older one, whether it had
///   been applied or not;
/// - [`Retry`](EffectOutcome::Retry), [`Failed`](EffectOutcome::Failed),
///   [`Unsupported`](EffectOutcome::Unsupported): nothing was done, and nothing will be done of it later;
/// - [`Unknown`](EffectOutcome::Unknown): anything may be true; the same key may be given again.
///
/// The fence is checked before the key. Two deliveries of one key at once are one order. An order for a target that
/// does not exist is `Failed`. Nothing ever happens to another target than the one that is named. A future that is
/// dropped may have had its effect or not, as with `Unknown`.
///
/// Where [`Capabilities::fence`] is not claimed, two controllers are not kept apart: run one, at level L2 at most.
#[async_trait]
pub trait Platform: Send + Sync + 'static {
    /// What this platform can do. On return: the same as ever over the life of the platform.
    fn capabilities(&self) -> Capabilities;

    /// Looks at many targets at once. On return there is exactly one observation per target asked for, in the same
    /// order, of the world as it was at some time between call and return, never of what was ordered; a target that does not
    /// exist is [`Phase::Gone`](crate::Phase::Gone). An error means that nothing is known of any of them.
    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError>;

    /// Makes the target run `version` instead of what it runs; the application may restart with it. On return the order
    /// has been taken. That it is finished shows in [`observe`](Self::observe) as a new instance of that version, also
    /// where the target ran that version already.
    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome;

    /// Refuses from now on every effect on `target` of a generation below `generation`, in whatever hands they are. On
    /// return of [`EffectOutcome::Applied`] or [`EffectOutcome::AlreadyApplied`] this is durable, and effects of lower
    /// generations that were sent before are either done or will never be. A generation below the one that is fenced is
    /// [`EffectOutcome::Stale`] and changes nothing. Nothing but the fence changes by it: a closed way stays closed, and still
    /// opens by itself at its time.
    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let _ = (target, generation);
        EffectOutcome::Unsupported
    }

    /// As [`replace`](Self::replace), but only the sidecar restarts: the application keeps running, and ingress stays
    /// as it is.
    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Brings the artefact near the target. On return it has been asked for; nothing is stopped or started, now or later.
    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Opens or closes the way of new traffic to the target. On return the switch is set, durably; that it is seen by the
    /// platform shows in [`Observation::ingress`]. A closing carries the time at which the platform itself reopens a
    /// verified instance should the controller fall silent; a later order replaces that time. Neither the switch nor the time
    /// is lost with a restart of the instance, a replacement in place, or a restart of the adapter.
    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let _ = (target, order, key);
        EffectOutcome::Unsupported
    }

    /// Says of many targets whose ingress is closed how far that has come at those who send traffic. On return there is one
    /// answer per target asked for, in the same order. A target whose ingress is open is never
    /// [`told`](Barrier::told). The driver takes a closing for done only when the barrier is reached.
    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        let _ = targets;
        Err(PlatformError::Unsupported("barrier"))
    }

    /// Asks the instances of many targets themselves, where traffic reaches them. On return there is one answer per
    /// target asked for, in the same order, each by the instance it names and given after the call began. The driver
    /// believes in an instance only if it is the one that answers; where two instances take turns at one queue of new
    /// connections either may. It must work while the way of new traffic is closed, since an
    /// instance is verified before its way is opened: ask the port of the instance that takes traffic, not the balancer.
    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let _ = targets;
        Err(PlatformError::Unsupported("probe"))
    }

    /// Starts `version` in the target's free slot, beside what runs. On return of `Applied` the slot is to have that
    /// version, durably. If a slot has that version already, that slot is meant: what runs in it is left alone, and what does
    /// not is started. The new instance does not serve: it waits for [`hand_over`](Self::hand_over). A platform that
    /// restarts whatever exits keeps to the same: what it starts serves if its slot is the one that has committed last (at
    /// first, the old one's), and stays passive otherwise.
    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Asks this very instance to end, and ends it after its grace. Any other instance is left alone; where this one is
    /// gone there is nothing to do, and the key counts as applied all the same. The slot keeps its version: a platform that restarts whatever
    /// exits may start it again, and what it starts stays passive while another instance of the target has committed.
    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        let _ = (target, instance, key);
        EffectOutcome::Unsupported
    }

    /// Empties the slot that has `version`: what runs in it is ended, and nothing is started in it. The other slot is
    /// left alone. Where no slot has the version there is nothing to do, and the key counts as applied all the same: a late
    /// [`spawn`](Self::spawn) must not fill the slot after it.
    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Leads an order to the agents of the two instances: the old one is that of the version `from`, the new one that of
    /// `to`. On return of `Applied` the agents have it; what they did shows in [`Observation::pair`]. The agents keep the
    /// highest generation they have seen and refuse lower ones.
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

    /// Where the agent in the slot of `version` listens for its control session, in the platform's own notation: for
    /// whoever carries [`hand_over`](Self::hand_over) out. On return it is the address of the instance that runs in that
    /// slot now; the two slots of a target never share one.
    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        let _ = (target, version);
        Err(PlatformError::Unsupported("endpoint"))
    }

    /// Pushes the configuration `version` to the target. On return of `Applied` it is on its way, durably. What the target
    /// works by shows in [`Observation::config`]; no instance restarts for it.
    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (target, version, key);
        EffectOutcome::Unsupported
    }

    /// Says what a target runs that is born within `scope` from now on, in the platform's own notation of scopes (a
    /// namespace, a label). On return of `Applied` every birth that follows obeys. No living target is touched. Scopes are
    /// not fenced: the highest generation of a scope's keys counts, and a lower one is [`EffectOutcome::Stale`].
    ///
    /// The driver does not call it: who decides about births does.
    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let _ = (scope, version, key);
        EffectOutcome::Unsupported
    }

    /// Births, deaths and changes of health since `cursor` (0 = from the beginning of the watch). On return: what happened
    /// after the cursor, in order, nothing left out, nothing that came before it; the same cursor gives the same beginning
    /// each time. May be empty, and then the cursor stays.
    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let _ = cursor;
        Err(PlatformError::Unsupported("watch"))
    }

    /// Whether targets that run `to` can be brought back to `from`. Asked once, before a change from the one to the other
    /// begins, and of no target: look whether what starts `from` is still there (its image, its package, its configuration) and
    /// whether it reads whatever `to` leaves behind. What cannot be looked up is not claimed: [`WayBack::Startable`] says that
    /// it starts and no more, and an error that nothing is known.
    ///
    /// The driver does not call it: who decides whether a change begins does.
    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        let _ = (from, to);
        Err(PlatformError::Unsupported("way back"))
    }
}

/// What a platform knows of the way back from one version to the one before it: see [`Platform::way_back`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "whoever begins a change must look at each")]
pub enum WayBack {
    /// The old version can be started again, and reads whatever the new one leaves behind: data, caches, configuration.
    Open,
    /// The old version can be started again. Whether it reads what the new one leaves behind nobody says.
    Startable,
    /// There is none: why, in words that say what would have to be mended.
    Closed(String),
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
    /// The new instance takes the target as its own, durably, and confirms it; from then on it polls, binding the listeners
    /// itself should it have been started anew without them.
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
