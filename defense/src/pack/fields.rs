//! Reading fields out of the tree, collecting every fault on the way.

use std::sync::Arc;

use super::error::PackError;
use super::yaml::{At, Node, Value};
use super::{KeyUse, Library};
use crate::rule::Types;
use crate::suggest::nearest;

/// The faults found so far in one file.
#[derive(Debug)]
pub(super) struct Reader<'f> {
    pub(super) file: &'f str,
    pub(super) errors: &'f mut Vec<PackError>,
    pub(super) keys: &'f mut Vec<KeyUse>,
    pub(super) library: &'f mut Library,
    /// The facts that the pack declares.
    pub(super) types: Types,
    /// The texts of the calendars that the file refers to: what they say is part of what it says.
    pub(super) calendars_used: Vec<Arc<str>>,
}

/// A mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    at: At,
    what: &'static str,
    entries: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Where the mapping begins.
    pub(super) fn place(&self) -> At {
        self.at
    }

    /// A field, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(k, _)| *k == key).map(|(_, node)| *node)
    }
}

impl<'f> Reader<'f> {
    pub(super) fn new(
        file: &'f str,
        library: &'f mut Library,
        errors: &'f mut Vec<PackError>,
        keys: &'f mut Vec<KeyUse>,
    ) -> Self {
        Self {
            file,
            errors,
            keys,
            library,
            types: Types::default(),
            calendars_used: Vec::new(),
        }
    }
}

impl Reader<'_> {
    /// Notes a fault.
    pub(super) fn fault(&mut self, at: At, what: impl Into<String>, fix: impl Into<String>) {
        self.fault_in(self.file, at, what, fix);
    }

    /// Notes a fault of a file that this one refers to.
    pub(super) fn fault_in(&mut self, file: &str, at: At, what: impl Into<String>, fix: impl Into<String>) {
        self.errors.push(PackError {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            what: what.into(),
            fix: fix.into(),
        });
    }

    /// A mapping with known keys; unknown ones are faults, never skipped.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &'static str, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.at,
                format!("{what} is {}, not a mapping", node.value.kind()),
                format!("write fields: {}", known.join(", ")),
            );
            return None;
        };
        let mut fields = Fields {
            at: node.at,
            what,
            entries: Vec::with_capacity(entries.len()),
        };
        for (key, value) in entries {
            match &key.value {
                Value::Text(name) if known.contains(&name.as_str()) => fields.entries.push((name, value)),
                Value::Text(name) => self.fault(
                    key.at,
                    format!("`{name}` is not a field of {what}"),
                    nearest(name, known.iter().copied()).map_or_else(
                        || format!("remove it; this version knows: {}", known.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    ),
                ),
                other => self.fault(
                    key.at,
                    format!("a key of {what} is {}, not a text", other.kind()),
                    format!("use one of: {}", known.join(", ")),
                ),
            }
        }
        Some(fields)
    }

    /// A field that must be there.
    pub(super) fn require<'n>(&mut self, fields: &Fields<'n>, key: &str, example: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() {
            self.fault(
                fields.at,
                format!("{} lacks `{key}`", fields.what),
                format!("add `{key}: {example}`"),
            );
        }
        found
    }

    /// A text that says something.
    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text),
            Value::Text(_) | Value::Null => {
                self.fault(node.at, format!("`{what}` is empty"), "write a text");
                None
            }
            Value::Number(_) => {
                self.fault(
                    node.at,
                    format!("`{what}` is a number, not a text"),
                    "put it in quotes, as written",
                );
                None
            }
            other => {
                self.fault(
                    node.at,
                    format!("`{what}` is {}, not a text", other.kind()),
                    "write a text; put it in quotes if it looks like something else",
                );
                None
            }
        }
    }

    /// A required text.
    pub(super) fn required_text<'n>(&mut self, fields: &Fields<'n>, key: &str, example: &str) -> Option<&'n str> {
        let node = self.require(fields, key, example)?;
        self.text(node, key)
    }

    /// A required id: letters, digits, `-`, `_`, `.`; at most 100 of them.
    pub(super) fn id<'n>(&mut self, fields: &Fields<'n>, key: &str, example: &str) -> Option<(&'n str, At)> {
        let node = self.require(fields, key, example)?;
        let text = self.text(node, key)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.len() > 100 || !text.chars().all(fits) {
            self.fault(
                node.at,
                format!("`{key}: {text}` is not an id"),
                "use at most 100 letters, digits, `-`, `_` and `.`",
            );
            return None;
        }
        Some((text, node.at))
    }

    /// One of several words. `None` is a fault already noted.
    pub(super) fn word<T: Copy>(&mut self, node: &Node, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, key)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(
                node.at,
                format!("`{key}: {text}` is not known"),
                nearest(text, known.iter().copied()).map_or_else(
                    || format!("use one of: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        found
    }

    /// The elements of a list that may be absent.
    pub(super) fn list<'n>(&mut self, fields: &Fields<'n>, key: &str) -> &'n [Node] {
        match fields.get(key) {
            None => &[],
            Some(Node {
                value: Value::List(nodes),
                ..
            }) => nodes,
            Some(node) => {
                self.fault(
                    node.at,
                    format!("`{key}` is {}, not a list", node.value.kind()),
                    format!("write a list (`- ...`), or remove `{key}`"),
                );
                &[]
            }
        }
    }
}
