//! What a condition may speak of, and of which type it is.

use std::collections::BTreeMap;

use crate::request::{Known, Value};
use crate::rule::Ask;
use crate::rule::answer::is_future;
use crate::verdict::UnknownReason;

/// The type of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Number,
    Text,
    /// Several texts.
    List,
    /// A text that is one of these.
    OneOf(&'static [&'static str]),
}

impl Type {
    /// The words a pack declares types with.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("bool", Self::Bool),
        ("number", Self::Number),
        ("text", Self::Text),
        ("list", Self::List),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list of texts",
            Self::OneOf(_) => "one of a few words",
        }
    }
}

/// A value of a fact as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum<'r> {
    Bool(bool),
    Number(f64),
    Text(&'r str),
    List(&'r [String]),
}

impl Datum<'_> {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bool(truth) => truth.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => (*text).to_owned(),
            Self::List(texts) => format!("[{}]", texts.join(", ")),
        }
    }
}

type Looked<'r> = Result<Datum<'r>, UnknownReason>;

/// A fact that every request has, or may have.
#[derive(Debug)]
pub(super) struct OfRequest {
    pub(super) name: &'static str,
    kind: Type,
    look: for<'r> fn(&Ask<'r>) -> Looked<'r>,
}

const MISSING: UnknownReason = UnknownReason::MissingFact;

fn text<'r>(text: Option<&'r str>) -> Looked<'r> {
    text.map(Datum::Text).ok_or(MISSING)
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 targets")]
fn count<'r>(count: Option<u64>) -> Looked<'r> {
    count.map(|count| Datum::Number(count as f64)).ok_or(MISSING)
}

#[expect(clippy::cast_precision_loss, reason = "times are below 2^53 milliseconds")]
fn in_units<'r>(ms: i64, unit_ms: f64) -> Looked<'r> {
    Ok(Datum::Number(ms as f64 / unit_ms))
}

const HOUR_MS: f64 = 3_600_000.0;
const MINUTE_MS: f64 = 60_000.0;

/// Every fact of a request, sorted by name.
pub(super) const OF_REQUEST: &[OfRequest] = &[
    OfRequest {
        name: "actor.id",
        kind: Type::Text,
        look: |ask| text(ask.request.actor.as_ref().map(|actor| actor.id.as_str())),
    },
    OfRequest {
        name: "actor.kind",
        kind: Type::OneOf(&["person", "program"]),
        look: |ask| text(ask.request.actor.as_ref().map(|actor| actor.kind.name())),
    },
    OfRequest {
        name: "actor.via",
        kind: Type::Text,
        look: |ask| text(ask.request.actor.as_ref().map(|actor| actor.via.as_str())),
    },
    OfRequest {
        name: "change.age_hours",
        kind: Type::Number,
        look: |ask| match ask.request.change.made_ms {
            None => Err(MISSING),
            Some(made) if is_future(made, ask.now_ms) => Err(UnknownReason::FutureFact),
            Some(made) => in_units(ask.now_ms - made, HOUR_MS),
        },
    },
    OfRequest {
        name: "change.artefact",
        kind: Type::Text,
        look: |ask| text(ask.request.change.artefact.as_deref()),
    },
    OfRequest {
        name: "change.author",
        kind: Type::Text,
        look: |ask| text(ask.request.change.author.as_ref().map(|author| author.id.as_str())),
    },
    OfRequest {
        name: "change.direction",
        kind: Type::OneOf(&["forward", "rollback"]),
        look: |ask| text(Some(ask.request.change.direction.name())),
    },
    OfRequest {
        name: "change.emergency",
        kind: Type::Bool,
        look: |ask| Ok(Datum::Bool(ask.request.change.emergency)),
    },
    OfRequest {
        name: "change.from",
        kind: Type::Text,
        look: |ask| {
            text(
                ask.request
                    .change
                    .versions
                    .as_ref()
                    .map(|versions| versions.from.as_str()),
            )
        },
    },
    OfRequest {
        name: "change.id",
        kind: Type::Text,
        look: |ask| text(Some(&ask.request.change.id)),
    },
    OfRequest {
        name: "change.kind",
        kind: Type::OneOf(&["binary", "config", "data", "freeze"]),
        look: |ask| text(Some(ask.request.change.kind.name())),
    },
    OfRequest {
        name: "change.to",
        kind: Type::Text,
        look: |ask| {
            text(
                ask.request
                    .change
                    .versions
                    .as_ref()
                    .map(|versions| versions.to.as_str()),
            )
        },
    },
    OfRequest {
        name: "counts.batch",
        kind: Type::Number,
        look: |ask| count(ask.request.counts.batch),
    },
    OfRequest {
        name: "counts.in_flight",
        kind: Type::Number,
        look: |ask| count(ask.request.counts.in_flight),
    },
    OfRequest {
        name: "counts.scope",
        kind: Type::Number,
        look: |ask| count(ask.request.counts.scope),
    },
    OfRequest {
        name: "need.batch_minutes",
        kind: Type::Number,
        look: |ask| in_units(i64::try_from(ask.request.need.batch_ms).unwrap_or(i64::MAX), MINUTE_MS),
    },
    OfRequest {
        name: "need.rollback_minutes",
        kind: Type::Number,
        look: |ask| {
            in_units(
                i64::try_from(ask.request.need.rollback_ms).unwrap_or(i64::MAX),
                MINUTE_MS,
            )
        },
    },
    OfRequest {
        name: "phase",
        kind: Type::OneOf(&["pre", "post"]),
        look: |ask| text(Some(ask.request.phase.name())),
    },
    OfRequest {
        name: "step",
        kind: Type::OneOf(&["order", "batch", "target"]),
        look: |ask| text(Some(ask.request.step.name())),
    },
];

/// A fact that a pack declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) kind: Type,
    /// How old it may be, in milliseconds; `None` where its age does not matter.
    pub(crate) max_age_ms: Option<i64>,
}

/// Every fact the conditions of one pack may name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types(pub(crate) BTreeMap<String, Declared>);

impl Types {
    /// The names there are, for suggestions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.0.keys().map(String::as_str);
        own.chain(OF_REQUEST.iter().map(|fact| fact.name))
    }

    /// The fact of a name, and its type.
    pub(super) fn find(&self, name: &str) -> Option<(Fact, Type)> {
        if let Some(declared) = self.0.get(name) {
            return Some((Fact::Declared(name.to_owned(), *declared), declared.kind));
        }
        let at = OF_REQUEST.binary_search_by_key(&name, |fact| fact.name).ok()?;
        Some((Fact::OfRequest(&OF_REQUEST[at]), OF_REQUEST[at].kind))
    }
}

/// A fact a condition looks at.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    OfRequest(&'static OfRequest),
    Declared(String, Declared),
}

impl Fact {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::OfRequest(fact) => fact.name,
            Self::Declared(name, _) => name,
        }
    }

    /// What the caller supplied under a declared name.
    pub(super) fn supplied<'r>(&self, ask: &Ask<'r>) -> Option<&'r Known<Value>> {
        match self {
            Self::OfRequest(_) => None,
            Self::Declared(name, _) => ask.request.facts.values.get(name),
        }
    }

    /// Its value, or why there is none that counts.
    pub(super) fn look<'r>(&self, ask: &Ask<'r>) -> Looked<'r> {
        let declared = match self {
            Self::OfRequest(fact) => return (fact.look)(ask),
            Self::Declared(_, declared) => declared,
        };
        let known = self.supplied(ask).ok_or(MISSING)?;
        if is_future(known.at_ms, ask.now_ms) {
            return Err(UnknownReason::FutureFact);
        }
        let age_ms = ask.now_ms.saturating_sub(known.at_ms);
        if declared.max_age_ms.is_some_and(|max_age_ms| age_ms > max_age_ms) {
            return Err(UnknownReason::StaleFact);
        }
        let datum = datum(&known.value);
        let fits = matches!(
            (&datum, declared.kind),
            (Datum::Bool(_), Type::Bool) | (Datum::Text(_), Type::Text) | (Datum::List(_), Type::List)
        ) || matches!((&datum, declared.kind), (Datum::Number(number), Type::Number) if number.is_finite());
        if fits {
            Ok(datum)
        } else {
            Err(UnknownReason::Unreadable)
        }
    }
}

fn datum(value: &Value) -> Datum<'_> {
    match value {
        Value::Bool(truth) => Datum::Bool(*truth),
        #[expect(
            clippy::cast_precision_loss,
            reason = "conditions compare numbers, they do not count with them"
        )]
        Value::Int(number) => Datum::Number(*number as f64),
        Value::Float(number) => Datum::Number(*number),
        Value::Text(text) => Datum::Text(text),
        Value::List(texts) => Datum::List(texts),
    }
}
