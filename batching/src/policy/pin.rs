//! Scopes that stay where they are for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::Fleet;
use crate::index::TargetIndex;

/// Whom a pin holds: everything that matches all of what is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct PinScope {
    /// The application; `None` for every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Labels, by key; none for every target.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A scope that stays on the version it has. Until `until_ms` no target of it starts, and one born into it runs the old
/// version. Every pin expires: there is no way to write one that does not.
///
/// A pinned target keeps its batch: the plan is the same with a pin and without. The [`Frontier`](crate::Frontier) holds it there, its lane
/// waits for it as it waits for a held one and graduates afterwards, and [`verify_trace`](crate::verify_trace) checks both. Planned into the last
/// batch instead, a pinned application would change at once, without graduation, as soon as its pin ends. The planner refuses a pin that
/// holds nobody of the fleet: it would be a misspelt one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "written by users as a literal")]
pub struct Pin {
    /// Whom it holds.
    pub scope: PinScope,
    /// The version it stays on, for people to read.
    pub version: String,
    /// The first moment at which it no longer holds, in milliseconds on the caller's clock.
    pub until_ms: u64,
    /// Who asked for it.
    pub owner: String,
    /// Why.
    pub reason: String,
}

impl PinScope {
    /// Whether a planned target is in the scope.
    pub(crate) fn holds(&self, fleet: &Fleet, target: TargetIndex) -> bool {
        let app = self.app.as_deref();
        app.is_none_or(|app| fleet.app_name(fleet.app_of(target)) == app)
            && self.labels.iter().all(|(key, wanted)| {
                let key = fleet.key_index(key);
                let label = key.and_then(|key| Some(fleet.value_name(key, fleet.label(target, key)?)));
                label == Some(wanted)
            })
    }
}

impl Pin {
    pub(super) fn missing(&self) -> Option<&'static str> {
        let scope = &self.scope;
        if scope.app.is_none() && scope.labels.is_empty() {
            Some("the scope is empty; name an app, or labels, or both (a whole fleet is frozen elsewhere)")
        } else if scope.app.as_deref() == Some("") || scope.labels.keys().any(String::is_empty) {
            Some("the scope has an empty name; give the application's or the key's")
        } else if self.version.is_empty() {
            Some("the version is empty; write the version the scope stays on")
        } else if self.owner.is_empty() {
            Some("the owner is empty; write who answers for it")
        } else if self.reason.is_empty() {
            Some("the reason is empty; write why")
        } else {
            None
        }
    }
}
