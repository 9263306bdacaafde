//! Rules that an embedder writes in code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{OnUnknown, Rule};
use crate::scope::Scope;
use crate::selector::Selector;
use crate::verdict::Verdict;

/// What an `Unknown` becomes. Nothing laxer can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "what stands above Unknown in the lattice")]
pub enum Becomes {
    /// A person decides.
    #[default]
    NeedsPerson,
    /// It waits, without a known end.
    Hold,
    /// It does not happen.
    Deny,
}

impl From<Becomes> for Verdict {
    fn from(becomes: Becomes) -> Self {
        match becomes {
            Becomes::NeedsPerson => Self::NeedsPerson,
            Becomes::Hold => Self::Hold { until: None },
            Becomes::Deny => Self::Deny,
        }
    }
}

/// Who imposes a rule or check, on what, and why.
#[derive(Debug, Clone)]
#[must_use]
pub struct Terms {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) owner: String,
    pub(crate) reason: String,
    pub(crate) selector: Selector,
    pub(crate) unknown: OnUnknown,
    pub(crate) shadow: bool,
}

impl Terms {
    /// Terms for every scope, of which an `Unknown` needs a person. `id` and `version` name the rule in findings, `owner`
    /// is who may change it, `reason` why it exists.
    pub fn new(
        id: impl Into<String>,
        version: impl Into<String>,
        owner: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            version: version.into(),
            owner: owner.into(),
            reason: reason.into(),
            selector: Selector::default(),
            unknown: OnUnknown::default(),
            shadow: false,
        }
    }

    /// For scopes with these labels alone: all keys, and of each key one of its values.
    pub fn select(mut self, labels: &Scope) -> Self {
        let mut terms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in labels.labels() {
            terms.entry(key.to_owned()).or_default().insert(value.to_owned());
        }
        self.selector = Selector::new(terms);
        self
    }

    /// What an `Unknown` becomes where no tier says otherwise.
    pub fn unknown(mut self, becomes: Becomes) -> Self {
        self.unknown.otherwise = becomes.into();
        self
    }

    /// What an `Unknown` becomes for one value of the label `tier`.
    pub fn unknown_for(mut self, tier: impl Into<String>, becomes: Becomes) -> Self {
        self.unknown.by_tier.insert(tier.into(), becomes.into());
        self
    }

    /// It speaks, and does not count: a rule on trial.
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// A rule under these terms.
    pub fn rule(self, rule: impl Rule + 'static) -> Imposed {
        Imposed {
            terms: self,
            rule: Arc::new(rule),
        }
    }
}

/// A rule, and the terms under which it is imposed.
#[derive(Debug, Clone)]
#[must_use]
pub struct Imposed {
    pub(crate) terms: Terms,
    pub(crate) rule: Arc<dyn Rule>,
}
