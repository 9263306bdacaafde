//! Plain data from YAML or JSON, with errors for people.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{PackError, PackErrors};
use super::yaml::{self, At, Node, Value};

/// The text of a file.
pub(crate) fn text_of(path: &Path) -> Result<String, PackErrors> {
    std::fs::read_to_string(path).map_err(|error| {
        PackErrors::one(PackError {
            file: path.display().to_string(),
            line: 0,
            column: 0,
            what: format!("cannot read the file: {error}"),
            fix: "check path, permissions and encoding (UTF-8)".to_owned(),
        })
    })
}

/// A value of a type that says itself which fields it has. The error names the first that does not fit.
pub(crate) fn plain<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, PackErrors> {
    let root = yaml::parse(file, text).map_err(PackErrors::one)?;
    T::deserialize(&root).map_err(|misfit| {
        let at = misfit.place(&root);
        let field = path_to(&root, at).map_or_else(String::new, |field| format!("`{field}`: "));
        PackErrors::one(PackError {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            what: format!("{field}{}", misfit.what),
            fix: misfit.fix,
        })
    })
}

/// The path of fields to a place: `change.author.kind`, `others[2].scope`.
fn path_to(node: &Node, at: At) -> Option<String> {
    // A mapping begins where its first key does; what is wrong there names the key itself.
    if node.at == at {
        return None;
    }
    let (name, rest) = match &node.value {
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            let Value::Text(name) = &key.value else {
                return None;
            };
            let inner = path_to(value, at);
            (key.at == at || value.at == at || inner.is_some()).then(|| (name.clone(), inner))
        })?,
        Value::List(nodes) => nodes.iter().enumerate().find_map(|(place, node)| {
            let inner = path_to(node, at);
            (node.at == at || inner.is_some()).then(|| (format!("[{place}]"), inner))
        })?,
        _ => return None,
    };
    Some(match rest {
        Some(rest) if rest.starts_with('[') => name + &rest,
        Some(rest) => format!("{name}.{rest}"),
        None => name,
    })
}
