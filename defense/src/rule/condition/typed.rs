//! The types of a CEL expression, read off its tree. CEL compares values of different types without complaint, and says that
//! they differ: a rule that compares a number with a text would be silent for ever. So every operator is held against the
//! types of what it is given, also those that no sample reaches.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::facts::Type;

/// What an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// A whole number, which only literals, `int` and `size` are.
    Whole,
    /// Every other number.
    Double,
    Text,
    /// A fact that is one of a few words.
    OneOf(&'static [&'static str]),
    List,
    /// Known when it is evaluated.
    Open,
}

impl Kind {
    const fn of(kind: Type) -> Self {
        match kind {
            Type::Bool => Self::Bool,
            Type::Number => Self::Double,
            Type::Text => Self::Text,
            Type::OneOf(words) => Self::OneOf(words),
            Type::List => Self::List,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Whole => "a whole number",
            Self::Double => "a number",
            Self::Text | Self::OneOf(_) => "a text",
            Self::List => "a list",
            Self::Open => "something",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Whole | Self::Double | Self::Open)
    }

    const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::OneOf(_) | Self::Open)
    }

    const fn is_bool(self) -> bool {
        matches!(self, Self::Bool | Self::Open)
    }

    const fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Open)
    }

    /// Whether values of both can be the same one.
    const fn meets(self, other: Self) -> bool {
        self.is_bool() && other.is_bool()
            || self.is_number() && other.is_number()
            || self.is_text() && other.is_text()
            || self.is_list() && other.is_list()
    }
}

/// What is wrong with an expression, given the types of its variables; labels are texts.
pub(super) fn check(expression: &IdedExpr, of: &dyn Fn(&str) -> Option<Type>) -> Result<(), String> {
    match kind(expression, of)? {
        Kind::Bool | Kind::Open => Ok(()),
        _ => Err("the expression is not true or false".to_owned()),
    }
}

fn kind(expression: &IdedExpr, of: &dyn Fn(&str) -> Option<Type>) -> Result<Kind, String> {
    Ok(match &expression.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Kind::Bool,
            LiteralValue::Double(_) => Kind::Double,
            LiteralValue::Int(_) | LiteralValue::UInt(_) => Kind::Whole,
            LiteralValue::String(_) => Kind::Text,
            LiteralValue::Null => return Err("nothing here is ever `null`".to_owned()),
            LiteralValue::Bytes(_) => return Err("nothing here is ever bytes".to_owned()),
        },
        Expr::Ident(name) => of(name).map_or(Kind::Open, Kind::of),
        Expr::List(list) => {
            for element in &list.elements {
                let element = kind(element, of)?;
                if !element.is_text() {
                    return Err(format!("a list has texts, and this one has {}", element.name()));
                }
            }
            Kind::List
        }
        Expr::Call(call) => called(call, of)?,
        _ => Kind::Open,
    })
}

fn called(call: &CallExpr, of: &dyn Fn(&str) -> Option<Type>) -> Result<Kind, String> {
    let mut kinds = Vec::with_capacity(call.args.len() + 1);
    for given in call.target.as_deref().into_iter().chain(&call.args) {
        kinds.push(kind(given, of)?);
    }
    let name = call.func_name.as_str();
    let all = |fits: fn(Kind) -> bool, wanted: &str| match kinds.iter().find(|kind| !fits(**kind)) {
        None => Ok(()),
        Some(other) => Err(format!("`{}` takes {wanted}, and this is {}", sign(name), other.name())),
    };
    let both = |a: Kind, b: Kind| {
        if a.meets(b) {
            return Ok(());
        }
        Err(format!(
            "`{}` compares {} with {}, which are never the same",
            sign(name),
            a.name(),
            b.name()
        ))
    };
    Ok(match (name, kinds.as_slice()) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => {
            all(Kind::is_bool, "what is true or false")?;
            Kind::Bool
        }
        (operators::EQUALS | operators::NOT_EQUALS, [a, b]) => {
            both(*a, *b)?;
            word(*a, call.args.get(1))?;
            word(*b, call.args.first())?;
            Kind::Bool
        }
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [a, b]) => {
            both(*a, *b)?;
            all(|kind| kind.is_number() || kind.is_text(), "numbers or texts")?;
            Kind::Bool
        }
        (operators::IN, [wanted, list]) => {
            if !wanted.is_text() || !list.is_list() {
                return Err(format!(
                    "`in` looks for a text in a list, and this is {} in {}",
                    wanted.name(),
                    list.name()
                ));
            }
            if let Some(Expr::List(list)) = call.args.get(1).map(|list| &list.expr) {
                for element in &list.elements {
                    word(*wanted, Some(element))?;
                }
            }
            Kind::Bool
        }
        (operators::CONDITIONAL, [condition, a, b]) => {
            if !condition.is_bool() {
                return Err(format!(
                    "`?` asks what is true or false, and this is {}",
                    condition.name()
                ));
            }
            both(*a, *b)?;
            if *a == Kind::Open { *b } else { *a }
        }
        (operators::ADD, [a, b]) if a.is_text() && b.is_text() => Kind::Text,
        (operators::ADD, [Kind::List, Kind::List]) => Kind::List,
        (
            operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
            [a, b],
        ) => {
            all(Kind::is_number, "numbers")?;
            if matches!((a, b), (Kind::Whole, Kind::Double) | (Kind::Double, Kind::Whole)) {
                return Err(format!(
                    "`{}` mixes a whole number with another; write 1.0 for 1",
                    sign(name)
                ));
            }
            if *a == Kind::Open { *b } else { *a }
        }
        (operators::NEGATE, [a]) => {
            all(Kind::is_number, "numbers")?;
            *a
        }
        ("contains" | "startsWith" | "endsWith", _) => {
            all(Kind::is_text, "texts")?;
            Kind::Bool
        }
        ("size" | "int", _) => Kind::Whole,
        ("double", _) => Kind::Double,
        ("string", _) => Kind::Text,
        (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, _) => Kind::Open,
        _ => return Err(format!("there is no function `{name}` here")),
    })
}

/// Whether a text that stands there is one of the words of a fact that has a few.
fn word(kind: Kind, written: Option<&IdedExpr>) -> Result<(), String> {
    if let (Kind::OneOf(words), Some(Expr::Literal(LiteralValue::String(text)))) = (kind, written.map(|w| &w.expr))
        && !words.contains(&text.inner())
    {
        return Err(format!(
            "it is never `{}`, but one of: {}",
            text.inner(),
            words.join(", ")
        ));
    }
    Ok(())
}

/// An operator as it is written.
fn sign(name: &str) -> &str {
    name.trim_matches(['_', '@'])
}
