//! What the charter says about a request, beside who may write which pack.

use std::collections::BTreeMap;

use super::Guard;
use crate::finding::{Code, Finding};
use crate::index::Known;
use crate::pack::TIER;
use crate::scope::Labels;
use crate::selector::Match;
use crate::verdict::{UnknownReason, Verdict};

impl Guard {
    /// The label of tiers.
    pub(crate) fn tier(&self) -> &str {
        self.0
            .decoded
            .charter
            .as_ref()
            .map_or(TIER, |charter| charter.tier.as_str())
    }

    /// A critical tier without rules of its own is not permission: a pack for everything says nothing about the one
    /// application that must not fail. A scope whose tier nobody knows may be critical.
    pub(super) fn unruled(&self, labels: &Labels<'_>, known: &Known<'_>) -> Option<Finding> {
        let charter = self.0.decoded.charter.as_ref()?;
        if charter.critical.is_empty() {
            return None;
        }
        let tiers = labels.of_key(&charter.tier);
        let critical = tiers
            .iter()
            .find(|(_, tier)| charter.critical.iter().any(|critical| critical == tier));
        if critical.is_none() && !tiers.is_empty() {
            return None;
        }
        let packs = &self.0.decoded.packs;
        let ruled =
            self.0.by_pack_scope.meeting(known).any(|(pack, matched)| {
                !packs[pack].scope.is_everything() && matches!(matched, Match::All | Match::Part)
            });
        if ruled {
            return None;
        }
        let (code, unknown, key, value) = match critical {
            Some((_, tier)) => (Code::PackMissing, None, "tier", *tier),
            None => (
                Code::LabelMissing,
                Some(UnknownReason::MissingLabel),
                "label",
                charter.tier.as_str(),
            ),
        };
        Some(Finding {
            code,
            params: BTreeMap::from([(key.to_owned(), value.to_owned())]),
            rule: format!("{}/critical", charter.name),
            version: charter.version.clone(),
            verdict: Verdict::NeedsPerson,
            until: None,
            unknown,
            reason: "a missing rule set is not permission".to_owned(),
            owner: charter.owner.clone(),
            evidence: Vec::new(),
            input: String::new(),
        })
    }
}
