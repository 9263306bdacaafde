//! The configuration: pushed as a file, taken or refused with words, and visible in what clients get.

use std::path::Path;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What the process works by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The version that was taken last.
    pub(crate) acknowledged: Option<String>,
    /// The version that was refused last, and why; gone when another one is taken.
    pub(crate) refused: Option<(String, String)>,
    /// Added to each response that is passed on.
    pub(crate) response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a file says.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    version: Option<String>,
    response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// Reads a configuration.
///
/// # Errors
///
/// What is wrong, with the file and the field.
pub(crate) fn read(path: &Path) -> Result<Read, String> {
    let place = path.display();
    let length = std::fs::metadata(path)
        .map_err(|error| format!("{place}: {error}"))?
        .len();
    if length > MAX_LEN {
        return Err(format!(
            "{place}: {length} bytes are more than the {MAX_LEN} that are read"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{place}: {error}"))?;
    let object = value
        .as_object()
        .ok_or_else(|| format!("{place}: it is no JSON object; write {{…}}"))?;
    if object.get("valid") == Some(&Value::Bool(false)) {
        return Err(format!("{place}: valid: it says of itself that it is not"));
    }
    let version = match object.get("version") {
        None => None,
        Some(Value::String(version)) => Some(version.clone()),
        Some(_) => return Err(format!("{place}: version: it is no text; write \"…\"")),
    };
    let mut response_headers = Vec::new();
    match object.get("response_headers") {
        None => {}
        Some(Value::Object(headers)) => {
            for (name, value) in headers {
                let field = || format!("{place}: response_headers.{name}");
                let key = name
                    .parse()
                    .map_err(|_| format!("{}: the name of a header has only letters, digits and -", field()))?;
                let value = value
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| format!("{}: the value is a text of printable characters", field()))?;
                response_headers.push((key, value));
            }
        }
        Some(_) => {
            return Err(format!(
                "{place}: response_headers: it is no object; write {{\"NAME\": \"VALUE\"}}"
            ));
        }
    }
    Ok(Read {
        version,
        response_headers,
    })
}

impl Config {
    /// The configuration to start with, under the version that it says it is.
    pub(crate) fn start(read: Read) -> Self {
        Self {
            acknowledged: read.version,
            refused: None,
            response_headers: read.response_headers,
        }
    }

    /// Takes what was pushed as `version`.
    pub(crate) fn take(&mut self, version: String, read: Read) {
        self.acknowledged = Some(version);
        self.refused = None;
        self.response_headers = read.response_headers;
    }

    /// Goes on with what there was.
    pub(crate) fn refuse(&mut self, version: String, why: String) {
        self.refused = Some((version, why));
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, read};

    #[test]
    fn a_configuration_is_taken_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        for (text, word) in [
            ("{", "EOF"),
            ("[]", "no JSON object"),
            ("{\"valid\": false}", "valid: "),
            ("{\"version\": 7}", "version: "),
            ("{\"response_headers\": []}", "response_headers: "),
            (
                "{\"response_headers\": {\"a b\": \"c\"}}",
                "response_headers.a b: the name",
            ),
            (
                "{\"response_headers\": {\"a\": \"\\n\"}}",
                "response_headers.a: the value",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains(word) && error.contains("c.json"), "{text}: {error}");
        }
        std::fs::write(&path, "{\"version\": \"c1\", \"response_headers\": {\"x-a\": \"b\"}}").unwrap();
        let mut config = Config::start(read(&path).unwrap());
        assert_eq!(config.acknowledged.as_deref(), Some("c1"));
        config.refuse("c2".to_owned(), "no".to_owned());
        assert_eq!(
            (config.acknowledged.as_deref(), config.response_headers.len()),
            (Some("c1"), 1)
        );
        config.take("c3".to_owned(), read(&path).unwrap());
        assert!(config.refused.is_none());
    }
}
