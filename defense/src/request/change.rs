//! What is to change, and who wants it.

use serde::{Deserialize, Serialize};

use super::form;

/// Whether the change goes on or goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a change goes forward or back, there is no third way"
)]
pub enum Direction {
    /// Back to the version before. It passes windows that grant rollbacks, and goes before forward changes.
    Rollback,
    /// Forward to the new version.
    #[default]
    Forward,
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Forward => "forward",
        }
    }
}

/// What kind of thing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// Code: an image, a package, a sidecar.
    #[default]
    Binary,
    /// Configuration, feature switches, policies: what code reads while it runs.
    Config,
    /// Data or its schema.
    Data,
    /// Nothing moves: somebody has stopped a scope, and holds it. A stop is a change, too.
    Freeze,
}

impl ChangeKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Config => "config",
            Self::Data => "data",
            Self::Freeze => "freeze",
        }
    }
}

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it is somebody or something")]
pub enum ActorKind {
    /// Somebody who can be asked.
    Person,
    /// Something that acts by itself.
    Program,
}

impl ActorKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Program => "program",
        }
    }
}

/// Who did or wants something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Actor {
    /// The name it is known by. Two actors with one id are one, whatever kind each says it is.
    #[serde(deserialize_with = "form::id")]
    pub id: String,
    /// Person or program.
    pub kind: ActorKind,
    /// Through what it acts: a ticket, a pipeline, a console. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub via: String,
}

impl Actor {
    /// A person, and through what they act.
    #[must_use]
    pub fn person(id: impl Into<String>, via: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ActorKind::Person,
            via: via.into(),
        }
    }

    /// A program, and through what it acts.
    #[must_use]
    pub fn program(id: impl Into<String>, via: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: ActorKind::Program,
            via: via.into(),
        }
    }
}

/// From which version to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Versions {
    /// What runs before the change. In a rollback, the version that is left.
    pub from: String,
    /// What runs after it.
    pub to: String,
}

/// Which formats a version understands and which it sends, by name. Two versions work together when each understands
/// what the other sends; that is what a change in two phases (first read both, then write the new) keeps true.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Protocol {
    /// The formats it understands.
    pub reads: Vec<String>,
    /// The formats it sends.
    pub writes: Vec<String>,
}

/// One artefact or configuration on its way from one version to another.
///
/// Only the id is required. A rule that needs what is not said answers `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Change {
    /// Its id: the same for every batch, and for its rollback. Not empty.
    #[serde(deserialize_with = "form::id")]
    pub id: String,
    /// What kind of thing changes. Default: a binary.
    #[serde(default)]
    pub kind: ChangeKind,
    /// On or back. Default: on.
    #[serde(default)]
    pub direction: Direction,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Actor>,
    /// What is rolled out, as a reference: `registry/mesh@sha256:…`. A tag can be moved, a digest cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artefact: Option<String>,
    /// From which version to which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// What the new version understands and sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Why it is made, in its author's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When it must be done, in unix milliseconds.
    #[serde(
        default,
        rename = "deadline",
        with = "form::instant_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub deadline_ms: Option<i64>,
    /// Whether it mends something that burns. It opens no window by itself: rules may ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// When it was made (built, committed), in unix milliseconds.
    #[serde(
        default,
        rename = "made",
        with = "form::instant_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub made_ms: Option<i64>,
    /// When its first batch started, in unix milliseconds.
    #[serde(
        default,
        rename = "started",
        with = "form::instant_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_ms: Option<i64>,
}

impl Change {
    /// A change of which only the id is known.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..Self::default()
        }
    }

    /// What kind of thing changes.
    #[must_use]
    pub fn kind(mut self, kind: ChangeKind) -> Self {
        self.kind = kind;
        self
    }

    /// On or back.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Who made it.
    #[must_use]
    pub fn author(mut self, author: Actor) -> Self {
        self.author = Some(author);
        self
    }

    /// What is rolled out: `registry/mesh@sha256:…`.
    #[must_use]
    pub fn artefact(mut self, reference: impl Into<String>) -> Self {
        self.artefact = Some(reference.into());
        self
    }

    /// From which version to which.
    #[must_use]
    pub fn versions(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.versions = Some(Versions {
            from: from.into(),
            to: to.into(),
        });
        self
    }

    /// What the new version understands and sends.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Why it is made.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// When it must be done, in unix milliseconds.
    #[must_use]
    pub fn deadline(mut self, deadline_ms: i64) -> Self {
        self.deadline_ms = Some(deadline_ms);
        self
    }

    /// It mends something that burns.
    #[must_use]
    pub fn emergency(mut self) -> Self {
        self.emergency = true;
        self
    }

    /// When it was made, in unix milliseconds.
    #[must_use]
    pub fn made(mut self, made_ms: i64) -> Self {
        self.made_ms = Some(made_ms);
        self
    }

    /// When its first batch started, in unix milliseconds.
    #[must_use]
    pub fn started(mut self, started_ms: i64) -> Self {
        self.started_ms = Some(started_ms);
        self
    }
}

impl From<&str> for Change {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for Change {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}
