//! Conditions in CEL, the language of Kubernetes admission policies. The same three steps as for any other: read it,
//! resolve every name in it, check its types and try it on samples of them, all before it is in force.
//!
//! Facts are variables with `_` for `.` (`change_kind`, `counts_batch`, `risk`), labels are `label_tier`. Functions are
//! those of [`FUNCTIONS`]; there are no macros over lists, so an expression takes as long as it is.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::{Context, Env, Program, Value};

use super::facts::{Datum, Fact, Type, Types};
use super::tree::Truth;
use super::typed;
use crate::rule::Ask;
use crate::suggest::nearest;
use crate::verdict::UnknownReason;

/// The longest expression, in bytes.
const LONGEST: usize = 2_000;
/// The deepest nesting of parentheses and brackets: the parser recurses.
const DEEPEST: usize = 32;
/// The most boolean facts whose every combination is tried.
const MOST_TRIED: usize = 8;

/// What may be called beside operators.
const FUNCTIONS: [&str; 7] = ["contains", "double", "endsWith", "int", "size", "startsWith", "string"];

/// Where the value of a variable comes from.
#[derive(Debug)]
enum Source {
    Fact(Fact, Type),
    Label(String),
}

/// A CEL expression whose names are resolved.
pub(super) struct Expression {
    source: String,
    program: Program,
    variables: Vec<(String, Source)>,
    facts: Vec<Fact>,
    env: Arc<Env>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// What is wrong, and what to do.
type Fault = (String, String);

fn fault<T>(what: impl Into<String>, fix: impl Into<String>) -> Result<T, Fault> {
    Err((what.into(), fix.into()))
}

impl Expression {
    pub(super) fn new(source: &str, types: &Types) -> Result<Self, Fault> {
        if source.len() > LONGEST || deepest(source) > DEEPEST {
            return fault(
                format!("the expression is longer than {LONGEST} bytes or deeper than {DEEPEST}"),
                "make several rules of it; each has its own say",
            );
        }
        // Its parser is generated code of another project: whatever it does with a text, it stays a fault of the text.
        let program = match catch_unwind(|| Program::compile(source)) {
            Ok(Ok(program)) => program,
            Ok(Err(errors)) => {
                let said = errors.to_string();
                let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                return fault(
                    format!("not a CEL expression: {}", said.join(" ")),
                    "correct the expression",
                );
            }
            Err(_) => return fault("not a CEL expression", "correct the expression"),
        };
        let references = program.references();
        let mut functions = references.functions();
        functions.sort_unstable();
        let named = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric());
        if let Some(unknown) = functions
            .iter()
            .filter(|name| named(name))
            .find(|name| !FUNCTIONS.contains(name))
        {
            return fault(
                format!("there is no function `{unknown}` here"),
                nearest(unknown, FUNCTIONS).map_or_else(
                    || format!("use one of: {}", FUNCTIONS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        let mut names = references.variables();
        names.sort_unstable();
        let mut variables = Vec::with_capacity(names.len());
        for name in names {
            variables.push((name.to_owned(), resolve(name, types)?));
        }
        let facts = variables
            .iter()
            .filter_map(|(_, source)| match source {
                Source::Fact(fact, _) => Some(fact.clone()),
                Source::Label(_) => None,
            })
            .collect();
        let expression = Self {
            source: source.to_owned(),
            program,
            variables,
            facts,
            env: Arc::new(Env::stdlib()),
        };
        let kind = |name: &str| {
            let (_, source) = expression.variables.iter().find(|(known, _)| known == name)?;
            Some(match source {
                Source::Fact(_, kind) => *kind,
                Source::Label(_) => Type::Text,
            })
        };
        if let Err(what) = typed::check(expression.program.expression(), &kind) {
            return fault(
                what,
                "correct the types: facts are of the type declared, labels are texts",
            );
        }
        expression.try_on_samples()?;
        Ok(expression)
    }

    /// Both answers of every boolean, in every combination while there are few, and two values of everything else.
    fn try_on_samples(&self) -> Result<(), Fault> {
        let truths = self
            .variables
            .iter()
            .filter(|(_, source)| matches!(source, Source::Fact(_, Type::Bool)));
        let truths = truths.count();
        let masks: Vec<u32> = if truths <= MOST_TRIED {
            (0..1 << truths).collect()
        } else {
            vec![0, u32::MAX]
        };
        for mask in masks {
            for second in [false, true] {
                let mut context = Context::with_env(self.env.clone());
                let mut bit = 0;
                for (name, source) in &self.variables {
                    let value = match source {
                        Source::Fact(_, Type::Bool) => {
                            bit += 1;
                            Value::Bool(mask >> ((bit - 1) % 32) & 1 == 1)
                        }
                        Source::Fact(_, Type::Number) => Value::Float(if second { 1e9 } else { 0.0 }),
                        Source::Fact(_, Type::List) => {
                            Value::from(if second { vec!["sample".to_owned()] } else { Vec::new() })
                        }
                        Source::Fact(_, Type::OneOf(words)) => Value::from(words[usize::from(second)]),
                        Source::Fact(_, Type::Text) | Source::Label(_) => {
                            Value::from(if second { "sample" } else { "" })
                        }
                    };
                    context.add_variable_from_value(name.as_str(), value);
                }
                match catch_unwind(AssertUnwindSafe(|| self.program.execute(&context))) {
                    Ok(Ok(Value::Bool(_))) => {}
                    Ok(Ok(_)) => {
                        return fault(
                            "the expression is not true or false",
                            "compare its value with something",
                        );
                    }
                    Ok(Err(error)) => {
                        return fault(
                            format!("on a sample of the declared types the expression fails: {error}"),
                            "correct the types; numbers are doubles, labels are texts",
                        );
                    }
                    Err(_) => return fault("the expression cannot be evaluated", "write it otherwise"),
                }
            }
        }
        Ok(())
    }

    pub(super) fn judge(&self, ask: &Ask<'_>) -> Truth {
        let mut context = Context::with_env(self.env.clone());
        let mut unknown: Option<UnknownReason> = None;
        for (name, source) in &self.variables {
            match value(source, ask) {
                Ok(value) => context.add_variable_from_value(name.as_str(), value),
                // Left out: what does not depend on it is still decided, what does is an error below.
                Err(reason) => unknown = unknown.max(Some(reason)),
            }
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(truth)) => truth.into(),
            _ => Truth::Unknown(unknown.unwrap_or(UnknownReason::Unreadable)),
        }
    }

    pub(super) fn explain(&self) -> String {
        format!("`{}`", self.source)
    }

    pub(super) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    pub(super) fn label_keys(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().filter_map(|(_, source)| match source {
            Source::Label(key) => Some(key.as_str()),
            Source::Fact(..) => None,
        })
    }
}

fn resolve(name: &str, types: &Types) -> Result<Source, Fault> {
    if let Some(key) = name.strip_prefix("label_") {
        return Ok(Source::Label(key.to_owned()));
    }
    let flat = |dotted: &str| dotted.replace('.', "_");
    // A declared name wins over one of the request that only looks like it without its dots.
    let own = types.0.keys().find(|own| own.as_str() == name).map(String::as_str);
    let Some(dotted) = own.or_else(|| types.names().find(|dotted| flat(dotted) == name)) else {
        let names: Vec<String> = types.names().map(flat).collect();
        return fault(
            format!("nobody declares `{name}`"),
            nearest(name, names.iter().map(String::as_str)).map_or_else(
                || format!("declare it below `facts`, or use one of: {}", names.join(", ")),
                |near| format!("did you mean `{near}`?"),
            ),
        );
    };
    match types.find(dotted) {
        Some((fact, kind)) => Ok(Source::Fact(fact, kind)),
        None => fault(format!("nobody declares `{name}`"), "declare it below `facts`"),
    }
}

fn value(source: &Source, ask: &Ask<'_>) -> Result<Value, UnknownReason> {
    match source {
        Source::Fact(fact, _) => Ok(match fact.look(ask)? {
            Datum::Bool(truth) => Value::Bool(truth),
            Datum::Number(number) => Value::Float(number),
            Datum::Text(text) => Value::from(text),
            Datum::List(texts) => Value::from(texts.to_vec()),
        }),
        Source::Label(key) => match ask.labels.of_key(key) {
            [] => Err(UnknownReason::MissingLabel),
            [(_, value)] => Ok(Value::from(*value)),
            _ => Err(UnknownReason::MixedLabels),
        },
    }
}

/// How deep brackets nest, those inside of texts among them: an over-estimate is safe.
fn deepest(source: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for c in source.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    // Prefixes and choices nest without brackets.
    deepest.max(source.matches(['!', '?', '-']).count() / 2)
}
