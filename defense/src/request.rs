//! What the guard is asked.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::scope::{Facts, Labels, Scope};

/// Whether the change goes on or goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a change goes forward or back, there is no third way"
)]
pub enum ChangeKind {
    /// Back to the version before. It passes windows that grant rollbacks, and goes before forward changes.
    Rollback,
    /// Forward to the new version.
    #[default]
    Forward,
}

/// When the guard is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a batch has a before and an after")]
pub enum Phase {
    /// Before a batch: may it start?
    Pre,
    /// After a batch: may the next one follow? It is asked the same rules, and can only hold.
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

/// How much time a batch needs. Zero asks about the instant alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a pair of lengths, written as a literal by callers"
)]
pub struct Need {
    /// How long the batch takes, in milliseconds.
    pub batch_ms: u64,
    /// How long taking it back takes, right after it, in milliseconds.
    pub rollback_ms: u64,
}

/// Another change in flight, as far as conflicts care.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Other {
    /// Its id. The entry with the id of the request itself only says when that started.
    pub change_id: String,
    /// What it touches.
    pub scope: Scope,
    /// Whether it goes on or back.
    pub kind: ChangeKind,
    /// When it started, in unix milliseconds.
    pub started_ms: i64,
}

/// A question to the [`Guard`](crate::Guard).
///
/// ```
/// use unattended_defense::{Need, Request, app};
/// let request = Request::pre("mesh-1.9.2")
///     .scope(app("pay").label("business", "payments"))
///     .need(Need { batch_ms: 600_000, rollback_ms: 300_000 });
/// # let _ = request;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    pub(crate) change_id: String,
    pub(crate) phase: Phase,
    pub(crate) scope: Scope,
    pub(crate) facts: Facts,
    pub(crate) need: Need,
    pub(crate) kind: ChangeKind,
    pub(crate) started_ms: Option<i64>,
    pub(crate) others: Vec<Other>,
}

impl Request {
    fn new(change_id: impl Into<String>, phase: Phase) -> Self {
        Self {
            change_id: change_id.into(),
            phase,
            scope: Scope::new(),
            facts: Facts::new(),
            need: Need::default(),
            kind: ChangeKind::default(),
            started_ms: None,
            others: Vec::new(),
        }
    }

    /// May a batch of this change start?
    pub fn pre(change_id: impl Into<String>) -> Self {
        Self::new(change_id, Phase::Pre)
    }

    /// May the next batch of this change follow?
    pub fn post(change_id: impl Into<String>) -> Self {
        Self::new(change_id, Phase::Post)
    }

    /// What it touches. Default: unknown, which meets every rule.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
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

    /// On or back. Default: [`ChangeKind::Forward`].
    pub fn kind(mut self, kind: ChangeKind) -> Self {
        self.kind = kind;
        self
    }

    /// When this change started, in unix milliseconds; of two in conflict the older goes first. Default: what its
    /// own entry among [`others`](Self::others) says; without one it has not started yet, and goes last.
    pub fn started(mut self, started_ms: i64) -> Self {
        self.started_ms = Some(started_ms);
        self
    }

    /// The changes in flight. The one with the id of this request is this one.
    pub fn others(mut self, others: &[Other]) -> Self {
        self.others = others.to_vec();
        self
    }

    /// The digest of the question: what was asked, of which rules, about which instant.
    pub(crate) fn digest(&self, rules: &str, labels: &Labels<'_>, now_ms: i64) -> String {
        let kind = |kind| match kind {
            ChangeKind::Forward => "forward",
            ChangeKind::Rollback => "rollback",
        };
        let mut digest = Digest::new("decision/1")
            .text(rules)
            .text(&self.change_id)
            .text(self.phase.name())
            .text(kind(self.kind))
            .count(self.need.batch_ms)
            .count(self.need.rollback_ms)
            .number(self.started_ms.unwrap_or(now_ms))
            .number(now_ms)
            .count(labels.iter().count() as u64);
        for (key, value) in labels.iter() {
            digest = digest.text(key).text(value);
        }
        // The order in which the caller lists the others does not change the answer, so not the digest either.
        let mut others: Vec<&Other> = self.others.iter().collect();
        others.sort_by(|a, b| (&a.change_id, a.started_ms).cmp(&(&b.change_id, b.started_ms)));
        for other in others {
            digest = digest
                .text(&other.change_id)
                .text(kind(other.kind))
                .number(other.started_ms)
                .count(other.scope.labels().count() as u64);
            for (key, value) in other.scope.labels() {
                digest = digest.text(key).text(value);
            }
        }
        digest.hex()
    }
}
