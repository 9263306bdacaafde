//! Conditions out of a pack, with every fault at its place: names that nobody declared, and constants of another type.

use super::facts::{Fact, Type, Types};
use super::tree::{Condition, Test};
use crate::pack::{At, Misfit, Node, Value};
use crate::selector::looks_like_a_pattern;
use crate::suggest::nearest;
use crate::verdict::Verdict;

/// How deep a condition may be. Who reads it at three in the morning is grateful for less.
const DEEPEST: usize = 16;

const FORMS: [&str; 5] = ["all", "any", "not", "fact", "label"];

struct Builder<'t> {
    types: &'t Types,
    misfits: Vec<Misfit>,
}

/// The fields `if` and `then`.
pub(super) fn rule(parameters: &Node, types: &Types) -> Result<(Condition, Verdict), Vec<Misfit>> {
    let mut builder = Builder {
        types,
        misfits: Vec::new(),
    };
    let decoded = builder.rule(parameters);
    match decoded {
        Some(rule) if builder.misfits.is_empty() => Ok(rule),
        _ => Err(builder.misfits),
    }
}

/// The texts that a value is compared with.
fn texts_of(test: &Test) -> &[String] {
    match test {
        Test::Is(text) | Test::IsNot(text) | Test::StartsWith(text) => std::slice::from_ref(text),
        Test::In(texts) | Test::NotIn(texts) => texts,
        _ => &[],
    }
}

/// The fields of a mapping, by name.
type Fields<'n> = Vec<(&'n str, At, &'n Node)>;

impl Builder<'_> {
    fn wrong<T>(&mut self, at: At, what: impl Into<String>, fix: impl Into<String>) -> Option<T> {
        self.misfits.push(Misfit::new(at, what, fix));
        None
    }

    fn fields<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            return self.wrong(
                node.at,
                format!("{what} is {}, not a mapping", node.value.kind()),
                "write `{fact: risk, above: 0.5}`, or `all`, `any` or `not` over such",
            );
        };
        let mut fields = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::Text(name) = &key.value else {
                return self.wrong(
                    key.at,
                    format!("a key is {}, not a word", key.value.kind()),
                    "write a word",
                );
            };
            fields.push((name.as_str(), key.at, value));
        }
        Some(fields)
    }

    fn rule(&mut self, node: &Node) -> Option<(Condition, Verdict)> {
        let fields = self.fields(node, "a rule")?;
        let find = |wanted: &str| fields.iter().find(|(name, ..)| *name == wanted).map(|(.., node)| *node);
        for (name, at, _) in &fields {
            if !matches!(*name, "if" | "then") {
                let fix = match nearest(name, ["if", "then"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "use `if` and `then`".to_owned(),
                };
                self.wrong::<()>(*at, format!("`{name}` is not a field of this kind"), fix);
            }
        }
        let condition = match find("if") {
            Some(node) => self.condition(node, 0),
            None => self.wrong(node.at, "`if` is missing", "add `if: {fact: risk, above: 0.5}`"),
        };
        let then = match find("then") {
            Some(node) => self.then(node),
            None => self.wrong(node.at, "`then` is missing", "add `then: needs_person`"),
        };
        Some((condition?, then?))
    }

    fn then(&mut self, node: &Node) -> Option<Verdict> {
        const FIX: &str = "write needs_person, hold, deny or {allow_limited: 10}";
        if let Value::Map(entries) = &node.value
            && let [(key, value)] = entries.as_slice()
            && let (Value::Text(key), Value::Number(number)) = (&key.value, &value.value)
            && key == "allow_limited"
        {
            return match number.parse() {
                Ok(limit) => Some(Verdict::AllowLimited(limit)),
                Err(_) => self.wrong(
                    value.at,
                    format!("{number} is not a number of targets"),
                    "write a whole number",
                ),
            };
        }
        match &node.value {
            Value::Text(word) if word == "needs_person" => Some(Verdict::NeedsPerson),
            Value::Text(word) if word == "hold" => Some(Verdict::Hold { until: None }),
            Value::Text(word) if word == "deny" => Some(Verdict::Deny),
            Value::Text(word) => self.wrong(node.at, format!("`then: {word}` is not an answer of a rule"), FIX),
            other => self.wrong(node.at, format!("`then` is {}", other.kind()), FIX),
        }
    }

    fn condition(&mut self, node: &Node, depth: usize) -> Option<Condition> {
        if depth >= DEEPEST {
            return self.wrong(
                node.at,
                format!("the condition is deeper than {DEEPEST}"),
                "make several rules of it; each has its own say",
            );
        }
        let fields = self.fields(node, "a condition")?;
        let form = fields.iter().find(|(name, ..)| FORMS.contains(name) || *name == "cel");
        let Some((form, at, value)) = form.copied() else {
            let near = fields.iter().find_map(|(name, ..)| nearest(name, FORMS));
            let at = fields.first().map_or(node.at, |(_, at, _)| *at);
            return self.wrong(
                at,
                "a condition says not what it looks at",
                near.map_or_else(
                    || format!("use one of: {}", FORMS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        };
        let rest: Fields<'_> = fields.into_iter().filter(|(name, ..)| *name != form).collect();
        if !matches!(form, "fact" | "label")
            && let Some((name, at, _)) = rest.first()
        {
            return self.wrong(
                *at,
                format!("`{form}` and `{name}` stand beside each other"),
                "put both into a list below `all` or `any`",
            );
        }
        match form {
            "all" => self.parts(value, depth).map(Condition::All),
            "any" => self.parts(value, depth).map(Condition::Any),
            "not" => self
                .condition(value, depth + 1)
                .map(|part| Condition::Not(Box::new(part))),
            "label" => self.label(value, at, &rest),
            "fact" => self.fact(value, at, &rest),
            _ => self.cel(value),
        }
    }

    fn parts(&mut self, node: &Node, depth: usize) -> Option<Vec<Condition>> {
        let Value::List(nodes) = &node.value else {
            return self.wrong(
                node.at,
                format!("this is {}, not a list", node.value.kind()),
                "write a list of conditions",
            );
        };
        if nodes.is_empty() {
            return self.wrong(node.at, "the list is empty, and means nothing", "name a condition");
        }
        let parts: Vec<_> = nodes.iter().map(|node| self.condition(node, depth + 1)).collect();
        parts.into_iter().collect()
    }

    fn fact(&mut self, node: &Node, at: At, rest: &Fields<'_>) -> Option<Condition> {
        let Value::Text(name) = &node.value else {
            return self.wrong(
                node.at,
                format!("`fact` is {}, not a name", node.value.kind()),
                "write its name",
            );
        };
        let Some((fact, kind)) = self.types.find(name) else {
            return self.wrong(
                node.at,
                format!("nobody declares a fact `{name}`"),
                nearest(name, self.types.names()).map_or_else(
                    || format!("declare it: `facts: {{{name}: number}}`, or bool, text, list"),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        };
        let test = self.test(name, kind, at, rest)?;
        // What a pack declares may hold any text.
        if matches!(fact, Fact::OfRequest(_))
            && let Some(pattern) = texts_of(&test).iter().find(|text| looks_like_a_pattern(text))
        {
            return self.pattern(pattern, at);
        }
        Some(Condition::Fact(fact, test))
    }

    fn label(&mut self, node: &Node, at: At, rest: &Fields<'_>) -> Option<Condition> {
        let Value::Text(key) = &node.value else {
            return self.wrong(
                node.at,
                format!("`label` is {}, not a key", node.value.kind()),
                "write its key",
            );
        };
        let test = self.test(key, Type::Text, at, rest)?;
        let texts = texts_of(&test);
        if let Some(pattern) = texts.iter().find(|text| looks_like_a_pattern(text)) {
            return self.pattern(pattern, at);
        }
        if let Some(padded) = texts.iter().find(|text| text.trim() != text.as_str()) {
            return self.wrong(
                at,
                format!("`{padded}` has spaces around it, and values are compared as they stand"),
                "remove the spaces",
            );
        }
        Some(Condition::Label(key.clone(), test))
    }

    fn pattern<T>(&mut self, pattern: &str, at: At) -> Option<T> {
        self.wrong(
            at,
            format!("`{pattern}` looks like a pattern, and values are compared as they stand"),
            "name each value, or use `starts_with`, `is_not` or `not_in`",
        )
    }

    /// Exactly one comparison, of a constant of the right type.
    fn test(&mut self, name: &str, kind: Type, at: At, rest: &Fields<'_>) -> Option<Test> {
        let known: &[&str] = match kind {
            Type::Bool => &["is"],
            Type::Number => &["is", "is_not", "above", "at_least", "below", "at_most"],
            Type::Text => &["is", "is_not", "in", "not_in", "starts_with"],
            Type::OneOf(_) => &["is", "is_not", "in", "not_in"],
            Type::List => &["contains"],
        };
        let (word, word_at, constant) = match rest.as_slice() {
            [one] => *one,
            [] => {
                return self.wrong(
                    at,
                    format!("`{name}` is compared with nothing"),
                    format!("add one of: {}", known.join(", ")),
                );
            }
            [_, (second, at, _), ..] => {
                return self.wrong(
                    *at,
                    format!("`{name}` is compared twice, also by `{second}`"),
                    "put both comparisons into a list below `all` or `any`",
                );
            }
        };
        if !known.contains(&word) {
            return self.wrong(
                word_at,
                format!("`{name}` is {}, and knows no `{word}`", kind.name()),
                nearest(word, known.iter().copied()).map_or_else(
                    || format!("use one of: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        Some(match (kind, word) {
            (Type::Bool, _) => Test::IsBool(self.truth(name, constant)?),
            (Type::Number, "is") => Test::Equals(self.number(name, constant)?),
            (Type::Number, "is_not") => Test::Differs(self.number(name, constant)?),
            (Type::Number, "above") => Test::Above(self.number(name, constant)?),
            (Type::Number, "at_least") => Test::AtLeast(self.number(name, constant)?),
            (Type::Number, "below") => Test::Below(self.number(name, constant)?),
            (Type::Number, _) => Test::AtMost(self.number(name, constant)?),
            (Type::List, _) => Test::Contains(self.text(name, kind, constant)?),
            (_, "is") => Test::Is(self.text(name, kind, constant)?),
            (_, "is_not") => Test::IsNot(self.text(name, kind, constant)?),
            (_, "starts_with") => Test::StartsWith(self.text(name, kind, constant)?),
            (_, "in") => Test::In(self.texts(name, kind, constant)?),
            (_, _) => Test::NotIn(self.texts(name, kind, constant)?),
        })
    }

    fn truth(&mut self, name: &str, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Bool(truth) => Some(*truth),
            other => self.wrong(
                node.at,
                format!("`{name}` is a boolean, and this is {}", other.kind()),
                "write true or false, without quotes",
            ),
        }
    }

    fn number(&mut self, name: &str, node: &Node) -> Option<f64> {
        let parsed = match &node.value {
            Value::Number(number) => number.parse::<f64>().ok().filter(|number| number.is_finite()),
            _ => None,
        };
        match parsed {
            Some(number) => Some(number),
            None => self.wrong(
                node.at,
                format!("`{name}` is a number, and this is {}", node.value.kind()),
                "write a finite number, without quotes",
            ),
        }
    }

    fn text(&mut self, name: &str, kind: Type, node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else {
            return self.wrong(
                node.at,
                format!("`{name}` is compared with texts, and this is {}", node.value.kind()),
                "write a text, in quotes where it looks like something else",
            );
        };
        if let Type::OneOf(words) = kind
            && !words.contains(&text.as_str())
        {
            return self.wrong(
                node.at,
                format!("`{name}` is never `{text}`"),
                nearest(text, words.iter().copied()).map_or_else(
                    || format!("use one of: {}", words.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        Some(text.clone())
    }

    fn texts(&mut self, name: &str, kind: Type, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::List(nodes) if !nodes.is_empty() => {
                let texts: Vec<_> = nodes.iter().map(|node| self.text(name, kind, node)).collect();
                texts.into_iter().collect()
            }
            other => self.wrong(
                node.at,
                format!("`{name}` is looked for in {}", other.kind()),
                "write a list of at least one text",
            ),
        }
    }

    #[cfg(feature = "cel")]
    fn cel(&mut self, node: &Node) -> Option<Condition> {
        let Value::Text(source) = &node.value else {
            return self.wrong(
                node.at,
                format!("`cel` is {}, not a text", node.value.kind()),
                "write it in quotes",
            );
        };
        match super::cel::Expression::new(source, self.types) {
            Ok(expression) => Some(Condition::Cel(expression)),
            Err((what, fix)) => self.wrong(node.at, what, fix),
        }
    }

    #[cfg(not(feature = "cel"))]
    fn cel(&mut self, node: &Node) -> Option<Condition> {
        self.wrong(
            node.at,
            "this program was built without CEL",
            "build it with the feature `cel`, or write the condition with `all`, `any`, `not`, `fact` and `label`",
        )
    }
}
