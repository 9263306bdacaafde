//! Texts with placeholders: `{name}` stands for a value, `{{` and `}}` for braces.
use std::collections::BTreeMap;

use crate::TemplateError;

/// What placeholders stand for at one process.
pub(crate) type Values = BTreeMap<String, String>;

/// Puts the values in. A name that has none is an error which says which names there are.
pub(crate) fn fill(field: &str, text: &str, values: &Values) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = after;
            continue;
        }
        let end = rest.find('}').filter(|_| brace == "{");
        let Some(end) = end else {
            let problem = format!("a single `{brace}` in `{text}`");
            return Err(TemplateError::new(field, problem, "write `{{` or `}}` for a brace"));
        };
        let name = &rest[..end];
        let Some(value) = values.get(name) else {
            let known: Vec<&str> = values.keys().map(String::as_str).collect();
            let fix = format!("use one of {}, or give the target that parameter", known.join(", "));
            return Err(TemplateError::new(
                field,
                format!("unknown placeholder `{{{name}}}`"),
                fix,
            ));
        };
        filled.push_str(value);
        rest = &rest[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::{Values, fill};

    fn values() -> Values {
        [("port", "80"), ("dir", "/d")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn placeholders_stand_for_values_and_doubled_braces_for_braces() {
        let filled = |text| fill("arguments[0]", text, &values());
        assert_eq!(filled("a:{port}/{dir}{port}").as_deref(), Ok("a:80//d80"));
        assert_eq!(filled("{{\"p\": {port}}}").as_deref(), Ok("{\"p\": 80}"));
        assert_eq!(filled("").as_deref(), Ok(""));
    }

    #[test]
    fn what_cannot_be_filled_names_field_and_fix() {
        for (text, says) in [
            (
                "{prot}",
                "`arguments[0]`: unknown placeholder `{prot}`; use one of dir, port,",
            ),
            ("{}", "unknown placeholder `{}`"),
            ("a{port", "a single `{` in `a{port`"),
            ("a}", "a single `}` in `a}`"),
            ("{{port}", "a single `}`"),
        ] {
            let told = fill("arguments[0]", text, &values()).map_err(|error| error.to_string());
            assert!(told.as_ref().is_err_and(|told| told.contains(says)), "{text}: {told:?}");
        }
    }
}
