//! The format of a pack, version 1.

use std::collections::BTreeMap;

use super::error::PackError;
use super::fields::Reader;
use super::yaml::{At, Node, Value};
use super::{Charter, KeyUse, LeastOpen, Library, Pack, Test, scalar};
use crate::digest::Seal;
use crate::rule::Entry;
use crate::time::DAY_MS;
use crate::window::{Window, never_open};

/// One file without fault.
#[derive(Debug)]
pub(super) struct File {
    pub(super) file: String,
    /// Where the pack is named.
    pub(super) at: At,
    pub(super) pack: Pack,
    /// Sorted by id.
    pub(super) windows: Vec<Window>,
    /// Sorted by id.
    pub(super) rules: Vec<Entry>,
    pub(super) tests: Vec<Test>,
    pub(super) owner: String,
    pub(super) scope_at: At,
}

/// Decodes one pack. `None` when it has faults, which are all in `errors` then.
pub(super) fn file(
    name: &str,
    text: &str,
    root: &Node,
    library: &mut Library,
    errors: &mut Vec<PackError>,
    keys: &mut Vec<KeyUse>,
) -> Option<File> {
    let before = errors.len();
    let decoded = Reader::new(name, library, errors, keys).pack(root, text);
    if errors.len() > before { None } else { decoded }
}

/// Decodes a charter. `None` when it has faults, which are all in `errors` then.
pub(super) fn charter(
    name: &str,
    text: &str,
    root: &Node,
    library: &mut Library,
    errors: &mut Vec<PackError>,
    keys: &mut Vec<KeyUse>,
) -> Option<Charter> {
    let before = errors.len();
    let decoded = Reader::new(name, library, errors, keys).charter(root, text);
    if errors.len() > before { None } else { decoded }
}

impl Reader<'_> {
    fn pack(&mut self, root: &Node, text: &str) -> Option<File> {
        if !self.version(root) {
            return None;
        }
        let fields = self.fields(
            root,
            "a pack",
            &[
                "version",
                "pack",
                "owner",
                "scope",
                "windows",
                "freezes",
                "facts",
                "rules",
                "least_open",
                "tests",
            ],
        )?;
        self.require(&fields, "version", "1");
        let name = self.id(&fields, "pack", "payments");
        let owner = self.required_text(&fields, "owner", "team-payments");
        let scope = self.require(&fields, "scope", "all").and_then(|node| self.scope(node));
        // A faulty scope is noted above; the rules are read all the same, for their own faults.
        let scope_or_all = scope.clone().unwrap_or_default();
        let mut windows: Vec<(Window, At)> = Vec::new();
        for node in self.list(&fields, "windows") {
            windows.extend(self.window(node, owner, &scope_or_all));
        }
        for node in self.list(&fields, "freezes") {
            windows.extend(self.freeze(node, &scope_or_all));
        }
        self.declared(&fields);
        let mut rules: Vec<(Entry, At)> = Vec::new();
        for node in self.list(&fields, "rules") {
            rules.extend(self.rule(node, owner, &scope_or_all));
        }
        let tests: Vec<Test> = self
            .list(&fields, "tests")
            .iter()
            .filter_map(|node| self.test(node))
            .collect();
        let least_open = fields.get("least_open").map(|node| self.least_open(node));
        let ids = windows.iter().map(|(window, at)| (window.id.as_str(), *at));
        self.distinct(ids.chain(rules.iter().map(|(rule, at)| (rule.id.as_str(), *at))));
        let (name, at) = name?;
        let calendars = std::mem::take(&mut self.calendars_used);
        let pack = Pack {
            name: name.to_owned(),
            version: calendars
                .iter()
                .fold(Seal::new("pack/1").text(text), |digest, text| digest.text(text))
                .hex(),
            scope: scope?,
            file: self.file.to_owned(),
            least_open: match least_open {
                None => None,
                Some(least_open) => Some(least_open?),
            },
        };
        let (mut windows, places): (Vec<Window>, Vec<At>) = windows.into_iter().unzip();
        if let Some(closing) = never_open(&windows, &pack)
            && let Some(at) = windows
                .iter()
                .zip(places)
                .find(|(window, _)| window.id == closing.id)
                .map(|(_, at)| at)
        {
            self.fault(
                at,
                format!(
                    "with `{}` the windows of this pack never leave its scope open, in no week",
                    closing.id
                ),
                "shorten a protected window, or let a change window lie outside of them",
            );
        }
        windows.sort_by(|a, b| a.id.cmp(&b.id));
        let mut rules: Vec<Entry> = rules.into_iter().map(|(rule, _)| rule).collect();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        Some(File {
            file: self.file.to_owned(),
            at,
            pack,
            windows,
            rules,
            tests,
            owner: owner?.to_owned(),
            scope_at: fields.get("scope").map_or(at, |node| node.at),
        })
    }

    /// How much of 14 days must be left open.
    fn least_open(&mut self, node: &Node) -> Option<LeastOpen> {
        let text = self.text(node, "least_open")?;
        match scalar::length(text) {
            Some(ms) if (1..=14 * DAY_MS).contains(&ms) => Some(LeastOpen {
                ms,
                line: node.at.line,
                column: node.at.column,
            }),
            _ => {
                self.fault(
                    node.at,
                    format!("`least_open: {text}` is not a part of 14 days"),
                    "write a length such as 20h or 2d, above zero and at most 14d",
                );
                None
            }
        }
    }

    /// A file of another version may look quite different, so its version is read before anything else.
    pub(super) fn version(&mut self, root: &Node) -> bool {
        let Value::Map(entries) = &root.value else {
            return true;
        };
        let is_version = |(key, _): &&(Node, Node)| matches!(&key.value, Value::Text(k) if k == "version");
        match entries.iter().find(is_version) {
            Some((_, version)) if !matches!(&version.value, Value::Number(n) if n == "1") => {
                self.fault(
                    version.at,
                    "this is not version 1 of the pack format, the only one this program reads",
                    "write `version: 1`, a number without quotes, or use a newer program",
                );
                false
            }
            _ => true,
        }
    }

    /// No id may be given twice in a pack, whatever it names.
    fn distinct<'i>(&mut self, ids: impl Iterator<Item = (&'i str, At)>) {
        let mut first: BTreeMap<&str, At> = BTreeMap::new();
        for (id, at) in ids {
            if let Some(earlier) = first.get(id) {
                let line = earlier.line;
                self.fault(
                    at,
                    format!("the id `{id}` is taken already, in line {line}"),
                    "give each window, freeze and rule of the pack an id of its own",
                );
            } else {
                first.insert(id, at);
            }
        }
    }
}
