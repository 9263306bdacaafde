//! What is wrong with a scenario file, where, and what to write instead.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use unattended_examples_support::{Failure, nearest};

/// All fields of a scenario file, wherever they stand.
const FIELDS: [&str; 12] = [
    "schema",
    "name",
    "bad_share",
    "labels",
    "good",
    "bad",
    "key",
    "values",
    "weight",
    "release",
    "world",
    "hidden",
];
const FORM: &str = r#"{"schema": 1, "name": "my own", "good": [...], "bad": [...]}"#;

/// The line on which a text stands in quotes for the nth time, from 1.
pub(crate) fn line_of(text: &str, quoted: &str, nth: usize) -> usize {
    let quoted = serde_json::to_string(quoted).unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(&quoted));
    lines.map(|(at, _)| at + 1).nth(nth).unwrap_or(1)
}

/// Refuses what is no object where there must be one: a list of the right length would be taken for one.
pub(crate) fn check_form(text: &str, file: &str) -> Result<(), Failure> {
    let whole: Value = serde_json::from_str(text).map_err(|error| failure(text, file, &error))?;
    let Value::Object(fields) = &whole else {
        let found = kind_of(&whole);
        let line = 1 + text
            .chars()
            .take_while(|c| c.is_whitespace())
            .filter(|c| *c == '\n')
            .count();
        return Err(Failure::Input(format!(
            "{file}:{line}: a scenario is an object, and this is {found}; write {FORM}"
        )));
    };
    for (field, what, form) in [
        (
            "labels",
            "label",
            r#"{"key": "config", "values": {"plain": 80, "edge": 20}}"#,
        ),
        ("good", "family", r#"{"name": "good", "release": "good"}"#),
        ("bad", "family", r#"{"name": "errors", "release": "errors=x{2..50}"}"#),
    ] {
        let Some(all) = fields.get(field).and_then(Value::as_array) else {
            continue;
        };
        if let Some((at, one)) = all.iter().enumerate().find(|(_, one)| !one.is_object()) {
            let found = kind_of(one);
            return Err(Failure::Input(format!(
                "{file}:{}: {field}: each {what} is an object, and number {} is {found}; write {form}",
                line_of(text, field, 0),
                at + 1
            )));
        }
    }
    Ok(())
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads an object in which no name stands twice.
pub(crate) fn unique<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some(name) = access.next_key::<String>()? {
                if all.contains_key(&name) {
                    return Err(A::Error::custom(format!("duplicate field `{name}`")));
                }
                let value = access.next_value()?;
                all.insert(name, value);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

/// What the parser found: file, line, column, field, what is wrong, and what to write.
pub(crate) fn failure(text: &str, file: &str, error: &serde_json::Error) -> Failure {
    let (line, column) = (error.line(), error.column());
    let whole = error.to_string();
    let what = whole.split(" at line ").next().unwrap_or(&whole);
    let told = match error.classify() {
        _ if text.trim().is_empty() => format!("the file is empty; write {FORM}"),
        Category::Eof => "the file ends before it is complete; close every \", ] and }".to_owned(),
        Category::Syntax => format!("this is no JSON: {}", of_syntax(what)),
        Category::Data | Category::Io => of_data(&text[..offset(text, line, column)], what),
    };
    Failure::Input(format!("{file}:{line}:{column}: {told}"))
}

fn of_syntax(what: &str) -> String {
    let fix = match what {
        "trailing comma" => "remove the comma before the bracket",
        "key must be a string" => "put names in double quotes",
        "trailing characters" => "remove what stands after the last }",
        "expected value" => "texts stand in double quotes, numbers are written as 0.5, and there are no comments",
        _ => "correct it there",
    };
    format!("{what}; {fix}")
}

fn of_data(before: &str, what: &str) -> String {
    let quoted = |start: &str| what.strip_prefix(start).and_then(|rest| rest.split('`').next());
    if let Some(field) = quoted("unknown field `") {
        let hint = nearest(field, FIELDS).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        return format!("{what}{hint}; remove it or correct its name");
    }
    if let Some(field) = quoted("missing field `") {
        return format!("{what}; add \"{field}\" to what ends here");
    }
    if let Some(field) = quoted("duplicate field `") {
        return format!("`{field}` stands twice; remove one of them");
    }
    let name = field_before(before).unwrap_or_default();
    let field = if name.is_empty() || what.starts_with(&name) {
        String::new()
    } else {
        format!("{name}: ")
    };
    let Some((found, expected)) = what
        .strip_prefix("invalid type: ")
        .or_else(|| what.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected "))
    else {
        return format!("{field}{what}");
    };
    let found = match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "boolean", value)) => value.trim_matches('`').to_owned(),
        Some(("floating", rest)) => rest.trim_start_matches("point ").trim_matches('`').to_owned(),
        _ if found == "map" => "an object".to_owned(),
        _ if found == "sequence" => "a list".to_owned(),
        _ => found.to_owned(),
    };
    let wanted = match expected {
        "f64" => "a number, such as 0.5",
        "u32" => "a whole number, such as 1",
        "a string" => "a text in double quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list, as in [...]",
        "a map" => r#"an object, as in {"name": value}"#,
        other => other,
    };
    format!("{field}this is {found}; give {wanted}")
}

/// Where a place of the parser's lies in the text: column `column` is behind so many bytes of the line.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let mut at = (before + column).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The name of the field whose value a text ends in.
fn field_before(text: &str) -> Option<String> {
    // Names and texts in turn; an escaped quote is part of one.
    let (mut last, mut name, mut inside, mut escaped) = (None, String::new(), false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                escaped = false;
                name.push(c);
            }
            '\\' if inside => escaped = true,
            '"' if inside => {
                inside = false;
                if text[at + 1..].trim_start().starts_with(':') {
                    last = Some(std::mem::take(&mut name));
                }
                name.clear();
            }
            '"' => inside = true,
            _ if inside => name.push(c),
            _ => {}
        }
    }
    last
}
