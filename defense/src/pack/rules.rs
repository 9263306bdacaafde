//! Rules out of the tree: the fields all kinds share, and the parameters of the kind.

use std::collections::BTreeMap;

use super::fields::{Fields, Reader};
use super::yaml::{At, Node, Value};
use crate::rule::{Entry, KINDS, Kind, OnUnknown};
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::verdict::Verdict;

/// The fields that every rule may have.
const SHARED: [&str; 6] = ["id", "kind", "select", "owner", "reason", "unknown"];

const UNKNOWNS: [(&str, Verdict); 3] = [
    ("needs_person", Verdict::NeedsPerson),
    ("hold", Verdict::Hold { until: None }),
    ("deny", Verdict::Deny),
];

impl Reader<'_> {
    pub(super) fn rule(&mut self, node: &Node, owner: Option<&str>, scope: &Selector) -> Option<(Entry, At)> {
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.at,
                format!("a rule is {}, not a mapping", node.value.kind()),
                format!("write fields: {}, and those of its kind", SHARED.join(", ")),
            );
            return None;
        };
        let is_shared = |(key, _): &&(Node, Node)| matches!(&key.value, Value::Text(k) if SHARED.contains(&k.as_str()));
        let (shared, own): (Vec<_>, Vec<_>) = entries.iter().partition(is_shared);
        let pick = |entries: Vec<&(Node, Node)>| Node {
            at: node.at,
            value: Value::Map(entries.into_iter().cloned().collect()),
        };
        let (shared, own) = (pick(shared), pick(own));
        let fields = self.fields(&shared, "a rule", &SHARED)?;
        let id = self.id(&fields, "id", "needs-approval");
        let rule = self
            .require(&fields, "kind", KINDS[0].name)
            .and_then(|node| self.kind(node))
            .and_then(|kind| match kind.decode(&own) {
                Ok(rule) => Some(rule),
                Err(misfit) => {
                    let at = misfit.place(&own);
                    self.fault(at, format!("`kind: {}`: {}", kind.name, misfit.what), misfit.fix);
                    None
                }
            });
        let selector = self.select(&fields, scope);
        let owner_of_rule = fields.get("owner").map(|node| self.text(node, "owner"));
        let reason = self.required_text(&fields, "reason", "why it exists");
        let unknown = self.on_unknown(&fields);
        let (id, at) = id?;
        let entry = Entry {
            pack: 0,
            id: id.to_owned(),
            selector: selector?,
            owner: owner_of_rule.unwrap_or(owner)?.to_owned(),
            reason: reason?.to_owned(),
            unknown: unknown?,
            rule: rule?,
        };
        Some((entry, at))
    }

    fn kind(&mut self, node: &Node) -> Option<&'static Kind> {
        let name = self.text(node, "kind")?;
        let found = Kind::named(name);
        if found.is_none() {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            let fix = nearest(name, names.iter().copied()).map_or_else(
                || match name {
                    "protected" | "change" => "windows stand in the list `windows`".to_owned(),
                    _ => format!("use one of: {}", names.join(", ")),
                },
                |near| format!("did you mean `{near}`?"),
            );
            self.fault(node.at, format!("there is no rule of `kind: {name}`"), fix);
        }
        found
    }

    /// `unknown: deny`, or by tier: `unknown: {gold: deny, otherwise: needs_person}`.
    fn on_unknown(&mut self, fields: &Fields<'_>) -> Option<OnUnknown> {
        let Some(node) = fields.get("unknown") else {
            return Some(OnUnknown::default());
        };
        let Value::Map(entries) = &node.value else {
            return Some(OnUnknown {
                otherwise: self.word(node, "unknown", &UNKNOWNS)?,
                by_tier: BTreeMap::new(),
            });
        };
        let mut unknown = OnUnknown::default();
        let mut sound = true;
        for (key, value) in entries {
            match (self.text(key, "tier"), self.word(value, "unknown", &UNKNOWNS)) {
                (Some("otherwise"), Some(verdict)) => unknown.otherwise = verdict,
                (Some(tier), Some(verdict)) => {
                    unknown.by_tier.insert(tier.to_owned(), verdict);
                }
                _ => sound = false,
            }
        }
        sound.then_some(unknown)
    }
}
