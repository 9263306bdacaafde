//! The tree of a condition: three-valued, so that what is not known can neither pass nor object by accident.

use std::fmt;

use super::facts::{Datum, Fact};
use crate::finding::Evidence;
use crate::rule::Ask;
use crate::verdict::UnknownReason;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    False,
    True,
    Unknown(UnknownReason),
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// A comparison, with a constant of the type of what it compares.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    IsBool(bool),
    Is(String),
    IsNot(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    StartsWith(String),
    Contains(String),
    Equals(f64),
    Differs(f64),
    Above(f64),
    AtLeast(f64),
    Below(f64),
    AtMost(f64),
}

impl Test {
    fn of_text(&self, text: &str) -> Option<bool> {
        Some(match self {
            Self::Is(wanted) => text == wanted,
            Self::IsNot(other) => text != other,
            Self::In(wanted) => wanted.iter().any(|wanted| wanted == text),
            Self::NotIn(others) => others.iter().all(|other| other != text),
            Self::StartsWith(beginning) => text.starts_with(beginning.as_str()),
            _ => return None,
        })
    }

    /// `None` where the types do not fit, which loading has excluded.
    #[expect(clippy::float_cmp, reason = "`is` means exactly that, and says so in the pack")]
    fn of(&self, datum: &Datum<'_>) -> Option<bool> {
        Some(match (self, datum) {
            (Self::IsBool(wanted), Datum::Bool(truth)) => wanted == truth,
            (Self::Equals(wanted), Datum::Number(number)) => number == wanted,
            (Self::Differs(other), Datum::Number(number)) => number != other,
            (Self::Above(limit), Datum::Number(number)) => number > limit,
            (Self::AtLeast(limit), Datum::Number(number)) => number >= limit,
            (Self::Below(limit), Datum::Number(number)) => number < limit,
            (Self::AtMost(limit), Datum::Number(number)) => number <= limit,
            (Self::Contains(wanted), Datum::List(texts)) => texts.contains(wanted),
            (test, Datum::Text(text)) => return test.of_text(text),
            _ => return None,
        })
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsBool(truth) => write!(f, "is {truth}"),
            Self::Is(text) => write!(f, "is {text}"),
            Self::IsNot(text) => write!(f, "is not {text}"),
            Self::In(texts) => write!(f, "in [{}]", texts.join(", ")),
            Self::NotIn(texts) => write!(f, "not in [{}]", texts.join(", ")),
            Self::StartsWith(text) => write!(f, "starts with {text}"),
            Self::Contains(text) => write!(f, "contains {text}"),
            Self::Equals(number) => write!(f, "is {number}"),
            Self::Differs(number) => write!(f, "is not {number}"),
            Self::Above(number) => write!(f, "above {number}"),
            Self::AtLeast(number) => write!(f, "at least {number}"),
            Self::Below(number) => write!(f, "below {number}"),
            Self::AtMost(number) => write!(f, "at most {number}"),
        }
    }
}

/// A condition.
#[derive(Debug)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Fact(Fact, Test),
    Label(String, Test),
    #[cfg(feature = "cel")]
    Cel(super::cel::Expression),
}

impl Condition {
    /// Kleene's logic: `all` is false as soon as one is, whatever nobody knows; `any` is true as soon as one is.
    pub(super) fn judge(&self, ask: &Ask<'_>) -> Truth {
        match self {
            Self::All(parts) => combine(parts.iter().map(|part| part.judge(ask)), Truth::False, Truth::True),
            Self::Any(parts) => combine(parts.iter().map(|part| part.judge(ask)), Truth::True, Truth::False),
            Self::Not(part) => match part.judge(ask) {
                Truth::False => Truth::True,
                Truth::True => Truth::False,
                unknown => unknown,
            },
            Self::Fact(fact, test) => match fact.look(ask) {
                Ok(datum) => test
                    .of(&datum)
                    .map_or(Truth::Unknown(UnknownReason::Unreadable), Truth::from),
                Err(reason) => Truth::Unknown(reason),
            },
            Self::Label(key, test) => {
                let mut values = ask.labels.of_key(key).iter().map(|(_, value)| test.of_text(value));
                let Some(first) = values.next() else {
                    return Truth::Unknown(UnknownReason::MissingLabel);
                };
                // The targets differ in it: neither answer is that of all of them.
                if values.any(|other| other != first) {
                    return Truth::Unknown(UnknownReason::MixedLabels);
                }
                first.map_or(Truth::Unknown(UnknownReason::Unreadable), Truth::from)
            }
            #[cfg(feature = "cel")]
            Self::Cel(expression) => expression.judge(ask),
        }
    }

    /// The clauses that made it what it is, with what they saw.
    pub(super) fn explain(&self, ask: &Ask<'_>, truth: Truth) -> String {
        let those = |parts: &[Self], between: &str| {
            let said: Vec<String> = parts
                .iter()
                .map(|part| (part, part.judge(ask)))
                .filter(|(_, own)| std::mem::discriminant(own) == std::mem::discriminant(&truth))
                .map(|(part, own)| part.explain(ask, own))
                .collect();
            said.join(between)
        };
        match self {
            Self::All(parts) => those(parts, " and "),
            Self::Any(parts) => those(parts, " and also "),
            Self::Not(part) => format!("not ({})", part.explain(ask, part.judge(ask))),
            Self::Fact(fact, test) => {
                let seen = match fact.look(ask) {
                    Ok(datum) => format!("it is {}", datum.text()),
                    Err(reason) => reason.code().to_owned(),
                };
                format!("{} {test} ({seen})", fact.name())
            }
            Self::Label(key, test) => {
                let values: Vec<&str> = ask.labels.of_key(key).iter().map(|(_, value)| *value).collect();
                match values.as_slice() {
                    [] => format!("label {key} {test} (nobody supplied it)"),
                    values => format!("label {key} {test} (it is {})", values.join(", ")),
                }
            }
            #[cfg(feature = "cel")]
            Self::Cel(expression) => expression.explain(),
        }
    }

    /// The supplied facts it speaks of.
    pub(super) fn evidence(&self, ask: &Ask<'_>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        self.collect(ask, &mut evidence);
        evidence.sort_by(|a, b| a.fact.cmp(&b.fact));
        evidence.dedup_by(|later, first| later.fact == first.fact);
        evidence
    }

    /// The label keys it reads.
    pub(super) fn label_keys(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::label_keys).collect(),
            Self::Not(part) => part.label_keys(),
            Self::Label(key, _) => vec![key],
            Self::Fact(..) => Vec::new(),
            #[cfg(feature = "cel")]
            Self::Cel(expression) => expression.label_keys().collect(),
        }
    }

    fn collect(&self, ask: &Ask<'_>, evidence: &mut Vec<Evidence>) {
        let mut note = |fact: &Fact| {
            if let Some(known) = fact.supplied(ask) {
                evidence.push(Evidence {
                    fact: format!("facts.{}", fact.name()),
                    at_ms: known.at_ms,
                    seen: fact
                        .look(ask)
                        .map_or_else(|reason| reason.code().to_owned(), |datum| datum.text()),
                });
            }
        };
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(ask, evidence)),
            Self::Not(part) => part.collect(ask, evidence),
            Self::Fact(fact, _) => note(fact),
            Self::Label(..) => {}
            #[cfg(feature = "cel")]
            Self::Cel(expression) => expression.facts().iter().for_each(note),
        }
    }
}

/// `decided` as soon as one part is; else the strongest reason not to know; else `otherwise`.
fn combine(parts: impl Iterator<Item = Truth>, decided: Truth, otherwise: Truth) -> Truth {
    let mut unknown: Option<UnknownReason> = None;
    for part in parts {
        match part {
            Truth::Unknown(reason) => unknown = unknown.max(Some(reason)),
            part if part == decided => return decided,
            _ => {}
        }
    }
    unknown.map_or(otherwise, Truth::Unknown)
}
