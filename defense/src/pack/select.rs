//! Scopes and selections out of the tree.

use std::collections::{BTreeMap, BTreeSet};

use super::KeyUse;
use super::fields::{Fields, Reader};
use super::yaml::{At, Node, Value};
use crate::selector::{Selector, looks_like_a_pattern};

impl Reader<'_> {
    pub(super) fn scope(&mut self, node: &Node) -> Option<Selector> {
        if let Value::Text(text) = &node.value {
            if text == "all" {
                return Some(Selector::default());
            }
            self.fault(
                node.at,
                format!("`scope: {text}` is not a scope"),
                "write labels, `{business: payments}`, or `all` for a pack that speaks for everything",
            );
            return None;
        }
        self.selector(node, "scope").map(|(selector, _)| selector)
    }

    /// The selection of a rule, narrowed to the scope of its pack.
    pub(super) fn select(&mut self, fields: &Fields<'_>, scope: &Selector) -> Option<Selector> {
        let Some(node) = fields.get("select") else {
            return Some(scope.clone());
        };
        let (selector, places) = self.selector(node, "select")?;
        let mut sound = true;
        for (key, at) in places {
            if let (Some(mine), Some(granted)) = (selector.values(key), scope.values(key))
                && let Some(beyond) = mine.difference(granted).next()
            {
                sound = false;
                self.fault(
                    at,
                    format!("`{key}: {beyond}` lies outside the scope of the pack"),
                    "a pack speaks only for its scope: widen `scope`, or narrow `select`",
                );
            }
        }
        sound.then(|| scope.and(&selector))
    }

    /// Refuses what only looks as if it selected more than it says: a freeze for `pay-*` would freeze nothing.
    fn names_a_value(&mut self, text: &str, at: At) -> bool {
        let pattern = looks_like_a_pattern(text);
        let padded = text.trim() != text;
        if pattern {
            self.fault(
                at,
                format!("`{text}` looks like a pattern, and values are compared as they stand"),
                "name each value, or remove the label to select all",
            );
        } else if padded {
            self.fault(
                at,
                format!("`{text}` has spaces around it, and values are compared as they stand"),
                "remove the spaces",
            );
        }
        !pattern && !padded
    }

    fn selector<'n>(&mut self, node: &'n Node, what: &str) -> Option<(Selector, Vec<(&'n str, At)>)> {
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.at,
                format!("`{what}` is {}, not a mapping", node.value.kind()),
                "write labels with a value or a list of values, `{tier: [gold]}`",
            );
            return None;
        };
        if entries.is_empty() {
            self.fault(
                node.at,
                format!("`{what}` is empty"),
                "name a label, or remove it (a scope may be `all`)",
            );
            return None;
        }
        let mut terms = BTreeMap::new();
        let mut places = Vec::new();
        let mut sound = true;
        for (key, value) in entries {
            let key_text = self.text(key, "label");
            let nodes = if let Value::List(nodes) = &value.value {
                nodes
            } else {
                std::slice::from_ref(value)
            };
            if nodes.is_empty() {
                self.fault(
                    value.at,
                    "a label without a value selects nothing",
                    "name a value, or remove the label",
                );
                sound = false;
            }
            let mut values = BTreeSet::new();
            let mut used = Vec::new();
            for node in nodes {
                match self.text(node, key_text.unwrap_or("label")) {
                    Some(text) => {
                        sound &= self.names_a_value(text, node.at);
                        if key_text == Some(self.tier_label()) {
                            self.names_tier(text, node.at, true);
                        }
                        used.push((text.to_owned(), node.at));
                        values.insert(text.to_owned());
                    }
                    None => sound = false,
                }
            }
            let Some(key_text) = key_text else {
                sound = false;
                continue;
            };
            self.keys.push(KeyUse {
                key: key_text.to_owned(),
                file: self.file.to_owned(),
                line: key.at.line,
                column: key.at.column,
                values: used,
            });
            places.push((key_text, value.at));
            terms.insert(key_text.to_owned(), values);
        }
        sound.then(|| (Selector::new(terms), places))
    }
}
