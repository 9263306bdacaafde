//! What the guard is asked.

mod change;
mod facts;
pub(crate) mod form;
mod read;

use serde::{Deserialize, Serialize};

pub use change::{Actor, ActorKind, Change, ChangeKind, Direction, Protocol, Versions};
pub use facts::{Act, Approval, Call, Facts, Incident, Known, Ledger, Neighbour, Reality, Running, Stage, Value};

pub(crate) use form::OneOrMany;

use crate::digest::Seal;
use crate::scope::Scope;

/// When the guard is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a step has a before and an after")]
pub enum Phase {
    /// Before a step: may it start?
    #[default]
    Pre,
    /// After a step: may the next one follow? Nothing is stronger than a hold then: whether to go back is not decided
    /// here.
    Post,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// What the phase is before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three sizes a change is made of")]
pub enum Step {
    /// The whole change.
    Order,
    /// One batch of it.
    #[default]
    Batch,
    /// One target.
    Target,
}

impl Step {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Batch => "batch",
            Self::Target => "target",
        }
    }
}

/// How much time a batch needs. Zero asks about the instant alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a pair of lengths, written as a literal by callers"
)]
pub struct Need {
    /// How long the batch takes, in milliseconds.
    #[serde(rename = "batch", default, with = "form::span")]
    pub batch_ms: u64,
    /// How long taking it back takes, right after it, in milliseconds.
    #[serde(rename = "rollback", default, with = "form::span")]
    pub rollback_ms: u64,
}

/// How many targets it is about. A rule that counts answers `Unknown` where the count it needs is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Counts {
    /// Targets that would start now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Targets of the scope altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u64>,
    /// Targets of this change that are on their way now, anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
}

/// Another change in flight, as far as rules about several changes care.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Other {
    /// Its id. The entry with the id of the request itself only says when that started.
    #[serde(deserialize_with = "form::id")]
    pub change_id: String,
    /// What kind of thing changes.
    #[serde(default)]
    pub kind: ChangeKind,
    /// Whether it goes on or back.
    #[serde(default)]
    pub direction: Direction,
    /// Whether it mends something that burns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// What it touches.
    pub scope: Scope,
    /// When it started, in unix milliseconds.
    #[serde(rename = "started", with = "form::instant")]
    pub started_ms: i64,
    /// How many of its targets are on their way now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
}

impl Other {
    /// A forward change of code in flight.
    pub fn new(change_id: impl Into<String>, scope: Scope, started_ms: i64) -> Self {
        Self {
            change_id: change_id.into(),
            kind: ChangeKind::default(),
            direction: Direction::default(),
            emergency: false,
            scope,
            started_ms,
            in_flight: None,
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

    /// It mends something that burns.
    #[must_use]
    pub fn emergency(mut self) -> Self {
        self.emergency = true;
        self
    }

    /// How many of its targets are on their way now.
    #[must_use]
    pub fn in_flight(mut self, targets: u64) -> Self {
        self.in_flight = Some(targets);
        self
    }
}

/// A question to the [`Guard`](crate::Guard).
///
/// ```
/// use unattended_defense::{Actor, Change, Need, Request, app};
/// let change = Change::new("mesh-1.9.2")
///     .author(Actor::person("li", "review 4711"))
///     .versions("1.9.1", "1.9.2");
/// let request = Request::pre(change)
///     .scope(app("pay").label("business", "payments"))
///     .need(Need { batch_ms: 600_000, rollback_ms: 300_000 });
/// # let _ = request;
/// ```
///
/// It is plain data: [`from_text`](Self::from_text) and [`load`](Self::load) read it from YAML or JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct Request {
    /// What is to change.
    pub change: Change,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Before or after.
    #[serde(default)]
    pub phase: Phase,
    /// The whole change, a batch, or a target.
    #[serde(default)]
    pub step: Step,
    /// What it touches. Empty: unknown, which meets every rule.
    #[serde(default)]
    pub scope: Scope,
    /// How many targets it is about.
    #[serde(default)]
    pub counts: Counts,
    /// The time it needs.
    #[serde(default)]
    pub need: Need,
    /// What the caller looked up.
    #[serde(default)]
    pub facts: Facts,
    /// The changes in flight; absent when nobody knows, which is not the same as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Vec<Other>>,
}

impl Request {
    /// May a batch of this change start?
    pub fn pre(change: impl Into<Change>) -> Self {
        Self {
            change: change.into(),
            ..Self::default()
        }
    }

    /// May the next batch of this change follow?
    pub fn post(change: impl Into<Change>) -> Self {
        Self {
            phase: Phase::Post,
            ..Self::pre(change)
        }
    }

    /// Who asks.
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The whole change, a batch, or a target. Default: a batch.
    pub fn step(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// What it touches. Default: unknown, which meets every rule.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// How many targets it is about.
    pub fn counts(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// What the caller looked up about the scope.
    pub fn facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }

    /// The time it needs. A forward change needs room for the batch and, after it, for its rollback, and the
    /// latter may lie in a window that grants rollbacks. A rollback needs the sum, free of windows that do not
    /// grant rollbacks.
    pub fn need(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    /// On or back. Default: [`Direction::Forward`].
    pub fn direction(mut self, direction: Direction) -> Self {
        self.change.direction = direction;
        self
    }

    /// When this change started, in unix milliseconds; of two in conflict the older goes first. Default: what its
    /// own entry among [`others`](Self::others) says; without one it has not started yet, and goes last.
    pub fn started(mut self, started_ms: i64) -> Self {
        self.change.started_ms = Some(started_ms);
        self
    }

    /// The changes in flight. The one with the id of this request is this one.
    pub fn others(mut self, others: &[Other]) -> Self {
        self.others = Some(others.to_vec());
        self
    }

    /// The others in flight, without the entry of this change itself. Nobody knows: empty.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = &Other> {
        self.others.iter().flatten().filter(|other| !self.is_own(other))
    }

    /// Whether an entry is that of this change: where it has a name at all. A stop that somebody gave the name of the change it stops is none of its own.
    fn is_own(&self, other: &Other) -> bool {
        let stops = |kind| kind == ChangeKind::Freeze;
        let named = !self.change.id.is_empty();
        named && other.change_id == self.change.id && (stops(self.change.kind) || !stops(other.kind))
    }

    /// When this change started, if anybody says.
    pub(crate) fn known_start(&self) -> Option<i64> {
        // Whoever hands everybody the same list of changes in flight need not say again when this one started.
        self.change.started_ms.or_else(|| {
            let own = |other: &&Other| self.is_own(other);
            self.others.iter().flatten().find(own).map(|own| own.started_ms)
        })
    }

    /// The digest of the question: what is asked, about which instant, of the rules that `asked` has seen.
    pub(crate) fn digest(&self, asked: &Seal, now_ms: i64) -> String {
        let asked = asked.clone().number(now_ms);
        match self.others.as_deref() {
            // The order in which the caller lists the others does not change the answer, so not the digest either.
            Some(others @ [_, _, ..]) => {
                let mut sorted = others.to_vec();
                sorted.sort_by_cached_key(json);
                asked.bytes(&json(&Self {
                    others: Some(sorted),
                    ..self.clone()
                }))
            }
            _ => asked.bytes(&json(self)),
        }
        .hex()
    }
}

/// A value as JSON. Its own serialization names every field, so none is forgotten here.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => text,
        // Nothing in a request has a map with keys that are no texts, the only thing JSON cannot say.
        Err(error) => error.to_string().into_bytes(),
    }
}
