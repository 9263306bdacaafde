//! The charter: which owner may speak for which scope, and which tiers may not be without rules.

use std::collections::BTreeMap;

use super::Pack;
use super::fields::Reader;
use super::yaml::{At, Node, Value};
use crate::digest::Seal;
use crate::selector::Selector;

/// The label that says how critical an application is, where no charter names another.
pub(crate) const TIER: &str = "tier";

/// What a charter says. Without one every pack is taken at its word.
#[derive(Debug)]
pub(crate) struct Charter {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) owner: String,
    /// The label of tiers.
    pub(crate) tier: String,
    /// Every tier there is.
    pub(crate) tiers: Vec<String>,
    /// Those that may not be touched unless a pack of their own speaks for them.
    pub(crate) critical: Vec<String>,
    grants: BTreeMap<String, Vec<Selector>>,
    pub(crate) file: String,
    pub(super) at: At,
}

/// Whether a file is a charter rather than a pack.
pub(super) fn is_one(root: &Node) -> bool {
    let named = |(key, _): &(Node, Node)| matches!(&key.value, Value::Text(name) if name == "charter");
    matches!(&root.value, Value::Map(entries) if entries.iter().any(named))
}

impl Charter {
    /// What is wrong with a pack of an owner, and what to do, if its scope was not granted.
    pub(super) fn refusal(&self, pack: &Pack, owner: &str) -> Option<(String, String)> {
        let Some(granted) = self.grants.get(owner) else {
            return Some((
                format!("`{owner}` may not speak for anything"),
                format!("ask {} for a grant in {}", self.owner, self.file),
            ));
        };
        if granted.iter().any(|grant| pack.scope.within(grant)) {
            return None;
        }
        let granted: Vec<String> = granted.iter().map(ToString::to_string).collect();
        Some((
            format!("`{owner}` may not speak for {}", pack.scope),
            format!(
                "narrow `scope` to {}, or ask {} for a grant",
                granted.join(" or "),
                self.owner
            ),
        ))
    }
}

impl Reader<'_> {
    pub(super) fn charter(&mut self, root: &Node, text: &str) -> Option<Charter> {
        if !self.version(root) {
            return None;
        }
        let fields = self.fields(root, "a charter", &["version", "charter", "owner", "tiers", "grants"])?;
        self.require(&fields, "version", "1");
        let name = self.id(&fields, "charter", "house");
        let owner = self.required_text(&fields, "owner", "platform");
        let tiers = match fields.get("tiers") {
            None => Some((TIER.to_owned(), Vec::new(), Vec::new())),
            Some(node) => self.tiers(node),
        };
        let mut grants: BTreeMap<String, Vec<Selector>> = BTreeMap::new();
        for node in self.list(&fields, "grants") {
            let Some(fields) = self.fields(node, "a grant", &["owner", "scope"]) else {
                continue;
            };
            let owner = self.required_text(&fields, "owner", "team-payments");
            let scope = self.require(&fields, "scope", "all").and_then(|node| self.scope(node));
            if let (Some(owner), Some(scope)) = (owner, scope) {
                grants.entry(owner.to_owned()).or_default().push(scope);
            }
        }
        let ((name, at), (tier, tiers, critical)) = (name?, tiers?);
        Some(Charter {
            name: name.to_owned(),
            version: Seal::new("charter/1").text(text).hex(),
            owner: owner?.to_owned(),
            tier,
            tiers,
            critical,
            grants,
            file: self.file.to_owned(),
            at,
        })
    }

    fn tiers(&mut self, node: &Node) -> Option<(String, Vec<String>, Vec<String>)> {
        let fields = self.fields(node, "`tiers`", &["label", "all", "critical"])?;
        let label = fields.get("label").map_or(Some(TIER), |node| self.text(node, "label"));
        let texts = |reader: &mut Self, key: &str| {
            let nodes = reader.list(&fields, key);
            let texts: Vec<_> = nodes
                .iter()
                .filter_map(|node| Some((reader.text(node, key)?.to_owned(), node.at)))
                .collect();
            texts
        };
        let all = texts(self, "all");
        let critical = texts(self, "critical");
        let all: Vec<String> = all.into_iter().map(|(tier, _)| tier).collect();
        for (tier, at) in &critical {
            if !all.contains(tier) {
                self.fault(
                    *at,
                    format!("`{tier}` is not among `all`"),
                    "name every tier there is in `all`",
                );
            }
        }
        Some((
            label?.to_owned(),
            all,
            critical.into_iter().map(|(tier, _)| tier).collect(),
        ))
    }
}
