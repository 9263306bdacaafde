//! What the charter says about a request, beside who may write which pack.

use std::collections::BTreeMap;

use super::Guard;
use crate::finding::{Code, Finding};
use crate::index::Known;
use crate::pack::TIER;
use crate::request::Phase;
use crate::scope::Labels;
use crate::selector::Match;
use crate::suggest::nearest;
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
    /// application that must not fail. A scope whose tier nobody knows may be critical. One whose tier the charter does not
    /// know may be misspelt, so that no rule for its true tier finds it, whatever else speaks for it.
    pub(super) fn unruled(&self, labels: &Labels<'_>, known: &Known<'_>, phase: Phase) -> Option<Finding> {
        let charter = self.0.decoded.charter.as_ref()?;
        let tiers = labels.of_key(&charter.tier);
        let named = |tiers: &[String], tier: &str| tiers.iter().any(|named| named == tier);
        let critical = tiers.iter().find(|(_, tier)| named(&charter.critical, tier));
        let strange = tiers
            .iter()
            .find(|(_, tier)| !tier.is_empty() && !charter.tiers.is_empty() && !named(&charter.tiers, tier));
        let may_be_critical = critical.is_some() || tiers.is_empty() && !charter.critical.is_empty();
        if strange.is_none() && (!may_be_critical || self.ruled(known, phase) || self.ruled_in_parts(labels, phase)) {
            return None;
        }
        let (code, unknown, key, value) = match (strange, critical) {
            (Some((label, tier)), _) => (
                Code::FactUnreadable,
                Some(UnknownReason::Unreadable),
                "what",
                match nearest(tier, charter.tiers.iter().map(String::as_str)) {
                    Some(near) => {
                        format!("the {label} `{tier}`, which is none of the charter's (did you mean `{near}`?)")
                    }
                    None => format!("the {label} `{tier}`, which is none of the charter's"),
                },
            ),
            (None, Some((_, tier))) => (Code::PackMissing, None, "tier", (*tier).to_owned()),
            (None, None) => (
                Code::LabelMissing,
                Some(UnknownReason::MissingLabel),
                "label",
                charter.tier.clone(),
            ),
        };
        Some(Finding {
            code,
            params: BTreeMap::from([(key.to_owned(), value)]),
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

    /// Whether something that counts, of a pack that does not speak for everything, speaks for all of a scope. A pack without
    /// rules is no rule set, and neither is one whose rules are for others or on trial, or, before a step, only asked after
    /// it.
    fn ruled(&self, known: &Known<'_>, phase: Phase) -> bool {
        let decoded = &self.0.decoded;
        let own = |pack: usize| !decoded.packs[pack].scope.is_everything();
        let windows = self.0.by_window.meeting(known);
        let mut windows = windows.map(|(id, matched)| (matched, decoded.windows[id].pack));
        let rules = self.0.by_rule.meeting(known);
        let late = |asked: Option<Phase>| phase == Phase::Pre && asked == Some(Phase::Post);
        let rules = rules.filter(|(id, _)| !decoded.rules[*id].shadow && !late(decoded.rules[*id].phase));
        let mut rules = rules.map(|(id, matched)| (matched, decoded.rules[id].pack));
        let speaks = |(matched, pack): (Match<'_>, usize)| matched == Match::All && own(pack);
        windows.any(speaks) || rules.any(speaks)
    }

    /// Whether each part of a scope has such a rule, divided by the values of one key. One that speaks for some of the
    /// scope says nothing about the rest.
    fn ruled_in_parts(&self, labels: &Labels<'_>, phase: Phase) -> bool {
        labels
            .divisions()
            .any(|mut parts| parts.all(|part| self.ruled(&self.0.vocabulary.look_up(&part), phase)))
    }
}
