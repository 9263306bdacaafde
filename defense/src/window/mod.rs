//! A window or freeze as the engine holds it.

mod bound;
mod weekly;

pub(crate) use bound::{Block, Bound, Room, earliest_of_all, never_open};
pub(crate) use weekly::{Occurrence, Weekly, first_instant, last_instant};

use serde::{Deserialize, Serialize};

use crate::selector::Selector;

/// What kind of rule closes a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowKind {
    /// A span each week in which the scope may not be touched.
    Protected,
    /// The spans each week in which the scope may be touched; the rest of the week is closed.
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

/// When a rule speaks.
#[derive(Debug, Clone)]
pub(crate) enum When {
    Weekly(Weekly),
    Once(Occurrence),
}

impl When {
    /// The earliest occurrence that ends after `ms`.
    pub(crate) fn first_ending_after(&self, ms: i64) -> Option<Occurrence> {
        match self {
            Self::Weekly(weekly) => weekly.first_ending_after(ms),
            Self::Once(once) => (once.until > ms).then_some(*once),
        }
    }
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
    pub(crate) rollback: Rollback,
    pub(crate) owner: String,
    pub(crate) reason: String,
}
