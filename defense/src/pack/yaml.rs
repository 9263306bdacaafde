//! YAML as a tree in which every value knows its line and column.
//!
//! Packs are decoded from this tree and not by a derived deserializer, so that one reading finds all faults of a
//! file and each of them has a place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Spanned};

use super::error::PackError;

/// Where a value begins; both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Where the value of a field is; where the mapping begins if there is no such field.
    pub(crate) fn place_of(&self, field: &str) -> At {
        let named = |(key, _): &&(Self, Self)| matches!(&key.value, Value::Text(name) if name == field);
        match &self.value {
            Value::Map(entries) => entries.iter().find(named).map_or(self.at, |(_, value)| value.at),
            _ => self.at,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let at = At {
            line: spanned.referenced.line(),
            column: spanned.referenced.column(),
        };
        Ok(Self {
            at,
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

/// Parses one document.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, PackError> {
    // A long text may have many nodes: thousands of rules, or the calls of a whole company. What aliases repeat has a limit of
    // its own.
    let nodes = text.len().max(250_000);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: nodes,
            max_events: nodes.saturating_mul(4),
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error: Error| {
        let place = error.location();
        let at = At {
            line: place.map_or(0, |place| place.line()),
            column: place.map_or(0, |place| place.column()),
        };
        let (what, fix) = unreadable(error.without_snippet(), text, at);
        PackError {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            what,
            fix: fix.to_owned(),
        }
    })
}

/// What is wrong with a text that is no document, in words for whoever wrote it, and what to do.
fn unreadable(error: &Error, text: &str, at: At) -> (String, &'static str) {
    match error {
        Error::DuplicateMappingKey { key, .. } => (
            match key {
                Some(key) => format!("`{key}` is given a second time in one mapping"),
                None => "a key is given a second time in one mapping".to_owned(),
            },
            "keep one of them: which of two values was meant, nobody can tell",
        ),
        Error::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "one file holds one document: remove this `---`, or put what follows into a file of its own",
        ),
        Error::NonFiniteFloat { value, .. } => (
            match field_before(text, at) {
                Some(field) => format!("`{field}: {value}` is no number that can be compared"),
                None => format!("`{value}` is no number that can be compared"),
            },
            "write a finite number",
        ),
        Error::UnknownAnchor { .. } => (
            "`*` stands for a value that no `&` names".to_owned(),
            "write the value itself; a text that begins with `*` is put in quotes",
        ),
        Error::Budget { .. } => (
            "the document is larger than any that people write".to_owned(),
            "make several files of it",
        ),
        // What it said of the place is where the alias stands.
        Error::AliasError { error, .. } if matches!(**error, Error::Budget { .. }) => (
            "what its aliases (`*`) repeat is larger than any document that people write".to_owned(),
            "write out what is meant, with fewer aliases of aliases",
        ),
        other => {
            let said = other.to_string();
            // The place is said before.
            let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            (
                format!("not a readable YAML document: {said}"),
                "correct the syntax at this place",
            )
        }
    }
}

/// The key right before a place, on the same line.
fn field_before(text: &str, at: At) -> Option<String> {
    let line = text.lines().nth(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
    let before: String = line
        .chars()
        .take(usize::try_from(at.column).ok()?.saturating_sub(1))
        .collect();
    let key = before.trim_end().strip_suffix(':')?.trim_end();
    let begin = key
        .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .map_or(0, |at| at + 1);
    let key = key.get(begin..)?;
    (!key.is_empty()).then(|| key.to_owned())
}
