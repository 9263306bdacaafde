//! What the caller looked up, and when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::{Actor, ChangeKind, Direction, Protocol};
use super::form;
use crate::scope::{Labels, Pairs, Scope};

/// Something the caller knows, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Known<T> {
    /// When it was seen to be so, in unix milliseconds. A rule that knows how old it may be refuses older ones, and
    /// ones from the future.
    #[serde(rename = "at", with = "form::instant")]
    pub at_ms: i64,
    /// What was seen.
    pub value: T,
}

impl<T> Known<T> {
    /// A value, and when it was seen, in unix milliseconds.
    pub const fn at(at_ms: i64, value: T) -> Self {
        Self { at_ms, value }
    }
}

/// The value of a named fact. Floats are finite: a request with another one is refused when read, and a rule that meets
/// one answers `Unknown`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a boolean, a number, a text or a list of texts")]
#[expect(clippy::exhaustive_enums, reason = "the types that conditions are written over")]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

macro_rules! value_from {
    ($($from:ty => $to:ident),*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$to(value.into())
            }
        })*
    };
}
value_from!(bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, &str => Text, String => Text, Vec<String> => List);

/// An incident that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// What it concerns.
    pub scope: Scope,
    /// How bad it is: 1 is worst.
    pub severity: u8,
}

/// Somebody agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Approval {
    /// Who.
    pub by: Actor,
    /// With what authority: a larger one includes the smaller ones.
    pub level: u8,
    /// When, in unix milliseconds.
    #[serde(rename = "at", with = "form::instant")]
    pub at_ms: i64,
    /// To which artefact, by its reference. An approval is for what was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artefact: Option<String>,
}

/// An earlier stage of the same change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// How many targets it has.
    pub targets: u64,
    /// How many of them run the new version, healthy.
    pub done: u64,
    /// Since when it has been done, in unix milliseconds; absent while it is not.
    #[serde(
        default,
        rename = "since",
        with = "form::instant_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub since_ms: Option<i64>,
    /// The label values its targets have: what it has tried the version on.
    #[serde(default)]
    pub covers: Scope,
}

/// Targets alike in what they say they run and what they really run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Running {
    /// How many.
    pub count: u64,
    /// The version that runs, as the process itself says. Absent: nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that metadata (a label, a specification) says. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// Whether they serve.
    pub ready: bool,
    /// Some of them, by name, for the person who looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<String>,
}

/// What the targets of the scope run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Reality {
    /// How many targets should run the new version by now.
    pub expected: u64,
    /// What was seen, each target once.
    pub running: Vec<Running>,
    /// Targets of the scope that no stage of the change names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<String>,
}

/// Another application that talks to the changed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Neighbour {
    /// The application.
    pub app: String,
    /// The version of the changed component that it runs.
    pub version: String,
    /// What that version understands and sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// A call from one application to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Call {
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
}

/// A batch that somebody started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Act {
    /// The change it belongs to.
    #[serde(deserialize_with = "form::id")]
    pub change: String,
    /// What kind of thing changed.
    #[serde(default)]
    pub kind: ChangeKind,
    /// On or back.
    #[serde(default)]
    pub direction: Direction,
    /// Whether it was an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// What it touched.
    pub scope: Scope,
    /// How many targets.
    pub targets: u64,
    /// When it started, in unix milliseconds.
    #[serde(rename = "at", with = "form::instant")]
    pub at_ms: i64,
}

/// What was done lately, by whomever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Ledger {
    /// Since when the list is complete, in unix milliseconds. A rule that must look further back cannot tell.
    #[serde(rename = "since", with = "form::instant")]
    pub since_ms: i64,
    /// The batches, in any order.
    pub acts: Vec<Act>,
}

/// What the caller looked up about the scope, beside what it addresses.
///
/// Labels are read exactly like those of the scope; where both name a key, the scope has both values. Everything else
/// says when it was seen. What is absent is not known, and a rule that needs it answers `Unknown`: an empty list is
/// something else than none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Facts {
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub(crate) labels: Pairs,
    /// Facts by name, for conditions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Known<Value>>,
    /// Incidents that are open, anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incidents: Option<Known<Vec<Incident>>>,
    /// Approvals of this change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Known<Vec<Approval>>>,
    /// The earlier stages of this change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Known<Vec<Stage>>>,
    /// What the targets of the scope really run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reality: Option<Known<Reality>>,
    /// Who talks to the changed application, and what it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Known<Vec<Neighbour>>>,
    /// Who calls whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Known<Vec<Call>>>,
    /// What was done lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Known<Ledger>>,
}

impl Facts {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same facts with one more value of a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The same facts with a named one, seen at an instant in unix milliseconds.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, at_ms: i64, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), Known::at(at_ms, value.into()));
        self
    }

    /// All labels, sorted by key and value.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Facts {
    /// Facts of labels alone.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        labels
            .into_iter()
            .fold(Self::new(), |facts, (key, value)| facts.label(key, value))
    }
}

impl<'r> Labels<'r> {
    pub(crate) fn with_facts(scope: &'r Scope, facts: &'r Facts) -> Self {
        Self::joined(scope.labels().chain(facts.labels.iter()))
    }
}
