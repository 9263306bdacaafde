use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unattended_batching::{Fleet, Policy};
use unattended_defense::Protocol;
use unattended_upgrade::Version;

use crate::Settings;
use crate::declared::{self, Declared};

/// Who did or said something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Actor {
    /// The name of the person or program.
    pub id: String,
    /// Person or program.
    pub kind: ActorKind,
    /// By what authority or on what occasion: an incident, a ticket, a pipeline run.
    pub via: String,
}

/// What an [`Actor`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "somebody is a person or is not")]
pub enum ActorKind {
    /// A human being. What people do is counted.
    Person,
    /// A program.
    Program,
}

impl Actor {
    /// A human being.
    pub fn person(id: impl Into<String>, via: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ActorKind::Person,
            via: via.into(),
        }
    }

    /// A program.
    pub fn program(id: impl Into<String>, via: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ActorKind::Program,
            via: via.into(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.via)
    }
}

/// How a change ended, or where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every target runs the new version.
    Completed,
    /// Every target runs the new version but those named as debt.
    CompletedWithDebt,
    /// Every touched target runs the old version again.
    RolledBack,
    /// As [`RolledBack`](Self::RolledBack), but for targets that could not be brought back.
    RolledBackPartially,
    /// Somebody froze it.
    Frozen,
    /// It waits for a person.
    Waiting,
    /// Somebody ended it where it stood.
    Aborted,
}

impl Outcome {
    /// The exit code of a program that ran the change: 0 completed, 1 stopped safely, 3 needs a person.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Completed | Self::CompletedWithDebt => 0,
            Self::RolledBack | Self::Aborted => 1,
            Self::RolledBackPartially | Self::Frozen | Self::Waiting => 3,
        }
    }

    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithDebt => "completed_with_debt",
            Self::RolledBack => "rolled_back",
            Self::RolledBackPartially => "rolled_back_partially",
            Self::Frozen => "frozen",
            Self::Waiting => "waiting",
            Self::Aborted => "aborted",
        }
    }
}

/// A target that a completed change left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Debt {
    /// Which target.
    pub target: String,
    /// Its application, whose owner owes it.
    pub owner: String,
    /// Why it was left.
    pub reason: String,
    /// When somebody must have looked at it, in Unix milliseconds.
    pub expires_unix_ms: i64,
}

/// One artefact moving from one version to another over a fleet.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) author: Actor,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) policy: Policy,
    pub(crate) settings: Settings,
    pub(crate) seed: u64,
    pub(crate) rollbacks_before: u32,
    pub(crate) one_way: Option<String>,
    pub(crate) declared: Box<Declared>,
}

impl Change {
    /// A change named `id` that moves `fleet` from one version to another. Who `author` is matters: what a person chose begins when it
    /// is started, what a program chose begins by itself at [`Level::L5`](crate::Level::L5) alone.
    ///
    /// The name seeds the order of the targets together with [`seed`](Self::seed): the same name, seed and fleet give
    /// the same plan.
    pub fn new(id: impl Into<String>, author: Actor, from: Version, to: Version, fleet: Arc<Fleet>) -> Self {
        Self {
            id: id.into(),
            kind: "binary".to_owned(),
            author,
            from,
            to,
            fleet,
            policy: Policy::new(),
            settings: Settings::default(),
            seed: 0,
            rollbacks_before: 0,
            one_way: None,
            declared: Box::default(),
        }
    }

    /// What kind of change it is, and of what: `config`, `sidecar binary`. [Levels](crate::TrackRecord) are earned for each kind. For
    /// rules it is of the kind `config` or `data` where that is its last word, and `binary` else. Default `binary`.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self.declared.kind = declared::kind_of(&self.kind);
        self
    }

    /// What is rolled out, as a reference: `registry/mesh@sha256:…`. Rules ask whether it is pinned by a digest, and whether people have
    /// approved it. Like the rest of what a change says of itself for rules it is a part of the change: a run that takes the change up
    /// says the same. Default: nobody says, and rules about it cannot tell.
    #[must_use]
    pub fn artefact(mut self, reference: impl Into<String>) -> Self {
        self.declared.artefact = Some(reference.into());
        self
    }

    /// When it was made (built, committed), in Unix milliseconds. Rules ask how old it is. Default: nobody says.
    #[must_use]
    pub const fn made(mut self, unix_ms: i64) -> Self {
        self.declared.made_unix_ms = Some(unix_ms);
        self
    }

    /// When it must be done, in Unix milliseconds. Rules ask whether it is too late; it makes nothing faster. Default: none.
    #[must_use]
    pub const fn deadline(mut self, unix_ms: i64) -> Self {
        self.declared.deadline_unix_ms = Some(unix_ms);
        self
    }

    /// What the version before understands and sends, and what the new one does. Rules ask whether neighbours can talk to it, on the way
    /// back to the one before. Default: nobody says, and rules about it cannot tell.
    #[must_use]
    pub fn protocols(mut self, before: Protocol, after: Protocol) -> Self {
        self.declared.protocols = Some((before, after));
        self
    }

    /// It mends something that burns. By itself that opens no window and changes no batch: rules may make an exception for it. In a
    /// [queue](crate::queue) it is said of each emergency. Default: it does not.
    #[must_use]
    pub const fn emergency(mut self) -> Self {
        self.declared.emergency = true;
        self
    }

    /// How to batch it.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Bakes, budgets and patience.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The seed of everything that is drawn: the order of targets, jitter.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many rollbacks the autopilot has begun by itself in the last 24 hours, in other changes: they count against
    /// [`rollbacks_per_day`](crate::Budget::rollbacks_per_day). Default 0.
    #[must_use]
    pub const fn rollbacks_before(mut self, rollbacks: u32) -> Self {
        self.rollbacks_before = rollbacks;
        self
    }

    /// The change cannot be taken back, and why: the old version does not read what the new one leaves behind, say. Then
    /// [`Settings::on_stop`] must be another than to roll back, and people who are asked are told. A platform that knows of no way back
    /// lets a change begin only with this word. Default: it can.
    ///
    /// An attempt that fails at one target still starts the old version there: else nothing would serve.
    #[must_use]
    pub fn one_way(mut self, why: impl Into<String>) -> Self {
        self.one_way = Some(why.into());
        self
    }
}
