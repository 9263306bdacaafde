//! A window or freeze as the engine holds it.

mod bound;
mod schedule;

pub(crate) use bound::{Block, Bound, Room, earliest_of_all, never_open};
pub(crate) use schedule::{Days, Occurrence, Recurring, When};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rule::OnUnknown;
use crate::selector::Selector;

/// What kind of rule closes a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowKind {
    /// Spans in which the scope may not be touched.
    Protected,
    /// The spans in which the scope may be touched; all other time is closed.
    Change,
    /// A dated span in which the scope may not be touched.
    Freeze,
}

/// Whether a rollback may run where the rule closes the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "granted or not granted")]
pub enum Rollback {
    /// The rule grants rollbacks.
    Allowed,
    /// The rule does not. The default of every rule: crossing a closed span needs to be written down.
    Forbidden,
}

/// One window or freeze.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The position of its pack in the guard.
    pub(crate) pack: usize,
    pub(crate) id: String,
    pub(crate) kind: WindowKind,
    /// The scope of the pack and the selection of the rule, together.
    pub(crate) selector: Selector,
    pub(crate) zone: String,
    pub(crate) when: When,
    /// The spans that have a name of their own, ascending.
    pub(crate) events: Arc<[(Occurrence, String)]>,
    pub(crate) rollback: Rollback,
    /// What it becomes when nobody can tell whether it applies.
    pub(crate) unknown: OnUnknown,
    pub(crate) owner: String,
    pub(crate) reason: String,
}

impl Window {
    /// Why it exists, and the name of what it keeps clear of at an instant.
    pub(crate) fn reason_at(&self, ms: i64) -> String {
        let begun = self.events.partition_point(|(span, _)| span.from <= ms);
        self.events[..begun]
            .iter()
            .rev()
            .find(|(span, name)| span.until > ms && !name.is_empty())
            .map_or_else(|| self.reason.clone(), |(_, name)| format!("{}: {name}", self.reason))
    }
}
