//! Rules out of the tree: the fields all kinds share, and the parameters of the kind.

use std::collections::BTreeMap;

use super::KeyUse;
use super::fields::{Fields, Reader};
use super::scalar;
use super::yaml::{At, Node, Value};
use crate::request::{Phase, Step};
use crate::rule::{CONDITION, Declared, Entry, KINDS, Kind, OnUnknown, Type, Types};
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::verdict::Verdict;

/// The fields that every rule may have.
const SHARED: [&str; 9] = [
    "id", "kind", "select", "owner", "reason", "unknown", "phase", "step", "shadow",
];

const PHASES: [(&str, Option<Phase>); 3] = [("pre", Some(Phase::Pre)), ("post", Some(Phase::Post)), ("both", None)];

const STEPS: [(&str, Option<Step>); 4] = [
    ("order", Some(Step::Order)),
    ("batch", Some(Step::Batch)),
    ("target", Some(Step::Target)),
    ("each", None),
];

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
        let kind = self
            .require(&fields, "kind", KINDS[0].name)
            .and_then(|node| self.kind(node));
        let rule = kind.and_then(|kind| {
            let decoded = kind.decode(&own, &self.types);
            decoded
                .map_err(|misfits| {
                    for misfit in misfits {
                        let at = misfit.place(&own);
                        self.fault(at, format!("`kind: {}`: {}", kind.name, misfit.what), misfit.fix);
                    }
                })
                .ok()
        });
        if rule.is_some() && kind.is_some_and(|kind| kind.name == CONDITION) {
            self.tiers_compared(&own, self.tier_label().to_owned().as_str());
        }
        for key in rule.iter().flat_map(|rule| rule.label_keys()) {
            self.keys.push(KeyUse {
                key: key.to_owned(),
                file: self.file.to_owned(),
                line: node.at.line,
                column: node.at.column,
                values: Vec::new(),
            });
        }
        let selector = self.select(&fields, scope);
        let owner_of_rule = fields.get("owner").map(|node| self.text(node, "owner"));
        let reason = self.required_text(&fields, "reason", "why it exists");
        let unknown = self.on_unknown(&fields);
        let phase = fields
            .get("phase")
            .map_or(Some(None), |node| self.word(node, "phase", &PHASES));
        if let (Some(kind), Some(node), Some(Some(asked))) = (kind, fields.get("phase"), phase)
            && kind.speaks_in.is_some_and(|speaks| speaks != asked)
        {
            self.fault(
                node.at,
                format!(
                    "`kind: {}` says nothing in this phase, so the rule could never answer",
                    kind.name
                ),
                "write `phase: post`, or remove `phase`",
            );
        }
        let step = fields
            .get("step")
            .map_or(Some(None), |node| self.word(node, "step", &STEPS));
        let shadow = fields
            .get("shadow")
            .map_or(Some(false), |node| self.truth(node, "shadow"));
        let (id, at) = id?;
        let entry = Entry {
            pack: 0,
            id: id.to_owned(),
            selector: selector?,
            owner: owner_of_rule.unwrap_or(owner)?.to_owned(),
            reason: reason?.to_owned(),
            unknown: unknown?,
            // A kind that speaks in one phase is asked in that one.
            phase: phase?.or(kind?.speaks_in),
            step: step?,
            shadow: shadow?,
            rule: rule?,
        };
        Some((entry, at))
    }

    /// Notes the tiers that a sound condition compares with: one that is misspelt would never be met.
    fn tiers_compared(&mut self, node: &Node, label: &str) {
        let entries = match &node.value {
            Value::List(nodes) => {
                for node in nodes {
                    self.tiers_compared(node, label);
                }
                return;
            }
            Value::Map(entries) => entries,
            _ => return,
        };
        let is_text = |node: &Node, text: &str| matches!(&node.value, Value::Text(t) if t == text);
        if !entries
            .iter()
            .any(|(key, value)| is_text(key, "label") && is_text(value, label))
        {
            for (_, value) in entries {
                self.tiers_compared(value, label);
            }
            return;
        }
        let whole = |key: &Node| ["is", "is_not", "in", "not_in"].iter().any(|word| is_text(key, word));
        for (_, value) in entries.iter().filter(|(key, _)| whole(key)) {
            let texts = match &value.value {
                Value::List(nodes) => nodes.as_slice(),
                _ => std::slice::from_ref(value),
            };
            for node in texts {
                // An empty text is the tier of what has none.
                if let Value::Text(tier) = &node.value
                    && !tier.is_empty()
                {
                    self.names_tier(tier, node.at, false);
                }
            }
        }
    }

    /// `facts: {risk: number, canary: {type: bool, max_age: 10m}}`: what conditions of the pack may speak of.
    pub(super) fn declared(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.get("facts") else {
            return;
        };
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.at,
                format!("`facts` is {}, not a mapping", node.value.kind()),
                "write names and types, {risk: number}",
            );
            return;
        };
        let mut types = Types::default();
        for (key, value) in entries {
            let Some(name) = self.text(key, "facts") else { continue };
            let first = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
            if !first
                || !name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            {
                self.fault(
                    key.at,
                    format!("`{name}` is not a name of a fact"),
                    "use small letters, digits and `_`, a letter first",
                );
                continue;
            }
            if let Some(declared) = self.declaration(value) {
                types.0.insert(name.to_owned(), declared);
            }
        }
        self.types = types;
    }

    fn declaration(&mut self, node: &Node) -> Option<Declared> {
        if !matches!(node.value, Value::Map(_)) {
            return Some(Declared {
                kind: self.word(node, "type", &Type::WORDS)?,
                max_age_ms: None,
            });
        }
        let fields = self.fields(node, "a fact", &["type", "max_age"])?;
        let kind = self
            .require(&fields, "type", "number")
            .and_then(|node| self.word(node, "type", &Type::WORDS));
        let max_age = fields.get("max_age").map(|node| {
            let length = self.text(node, "max_age").and_then(scalar::length);
            if length.is_none() {
                self.fault(
                    node.at,
                    "`max_age` is not a length",
                    "write a length such as 10m, 2h or 1d",
                );
            }
            length
        });
        Some(Declared {
            kind: kind?,
            max_age_ms: match max_age {
                None => None,
                Some(length) => Some(length?),
            },
        })
    }

    fn truth(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(truth) = &node.value {
            return Some(*truth);
        }
        self.fault(
            node.at,
            format!("`{what}` is {}, not a boolean", node.value.kind()),
            "write true or false",
        );
        None
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
    pub(super) fn on_unknown(&mut self, fields: &Fields<'_>) -> Option<OnUnknown> {
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
                    self.names_tier(tier, key.at, false);
                    unknown.by_tier.insert(tier.to_owned(), verdict);
                }
                _ => sound = false,
            }
        }
        sound.then_some(unknown)
    }
}
