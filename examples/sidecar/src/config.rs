//! The configuration: pushed as a file, taken or refused with words, and visible in what clients get.
//!
//! What was taken is kept in the target's directory, whole: a process that is started anew, or beside this one, works by it
//! from its first request on, and does not have to be told.

use std::io;
use std::path::Path;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::files;

/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What a release says that takes no configuration.
pub(crate) const REFUSES: &str = "a fault that was asked for: it takes no configuration";

/// The file in the target's directory.
const KEPT: &str = "configuration";

/// What the process works by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The version that was taken last.
    pub(crate) acknowledged: Option<String>,
    /// The version that was refused last, and why; gone when another one is taken.
    pub(crate) refused: Option<(String, String)>,
    /// The target works by another configuration, which this version does not take: it is not ready until it has taken one.
    pub(crate) owed: bool,
    /// Added to each response that is passed on.
    pub(crate) response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// What a file says.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    whole: Value,
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
    understand(&place.to_string(), value)
}

/// Understands what stands in `place`.
fn understand(place: &str, whole: Value) -> Result<Read, String> {
    let object = whole
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
        whole,
        version,
        response_headers,
    })
}

impl Read {
    /// Keeps it as what the target works by, durably. `by`: the slot of the process that has taken it.
    ///
    /// # Errors
    ///
    /// What the system says; what was kept before is still there.
    pub(crate) fn keep(&self, dir: &Path, by: &str, version: &str) -> io::Result<()> {
        let line = json!({ "version": version, "configuration": self.whole });
        files::write(dir, KEPT, by, &format!("{line}\n"))
    }
}

impl Config {
    /// The configuration to start with, under the version that it says it is.
    pub(crate) fn start(read: Read) -> Self {
        Self {
            acknowledged: read.version,
            refused: None,
            owed: false,
            response_headers: read.response_headers,
        }
    }

    /// What the target works by, if anything was ever taken. Where this version `takes` none, or not this one, it is owed.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none of those that are kept.
    pub(crate) fn kept(dir: &Path, takes: bool) -> io::Result<Option<Self>> {
        let path = dir.join(KEPT);
        let Some(text) = files::read(&path, MAX_LEN + files::MAX_LEN)? else {
            return Ok(None);
        };
        let whole: Option<Value> = serde_json::from_str(&text).ok();
        let parts = whole.as_ref().and_then(|whole| {
            let version = whole.get("version")?.as_str()?;
            Some((version.to_owned(), whole.get("configuration")?.clone()))
        });
        let Some((version, whole)) = parts else {
            return Err(files::garbled(&path, "`{\"version\": …, \"configuration\": …}`"));
        };
        let understood = if takes {
            understand(&path.display().to_string(), whole)
        } else {
            Err(REFUSES.to_owned())
        };
        let mut config = Self::default();
        match understood {
            Ok(read) => config.take(version, read),
            Err(why) => {
                config.refuse(version, why);
                config.owed = true;
            }
        }
        Ok(Some(config))
    }

    /// Takes what was pushed as `version`.
    pub(crate) fn take(&mut self, version: String, read: Read) {
        self.acknowledged = Some(version);
        self.refused = None;
        self.owed = false;
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

    #[test]
    fn what_was_taken_is_there_for_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Config::kept(dir.path(), true).unwrap().is_none());
        let path = dir.path().join("c.json");
        std::fs::write(&path, "{\"response_headers\": {\"x-a\": \"b\"}}").unwrap();
        read(&path).unwrap().keep(dir.path(), "a", "c7").unwrap();
        std::fs::remove_file(&path).unwrap();
        let kept = Config::kept(dir.path(), true).unwrap().unwrap();
        let headers = kept.response_headers.len();
        assert_eq!(
            (kept.acknowledged.as_deref(), headers, kept.owed),
            (Some("c7"), 1, false)
        );
        let refuses = Config::kept(dir.path(), false).unwrap().unwrap();
        assert_eq!((refuses.acknowledged, refuses.owed), (None, true));
        assert_eq!(refuses.refused.unwrap().0, "c7");
        std::fs::write(dir.path().join("configuration"), "{}").unwrap();
        let error = Config::kept(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("configuration:1: "), "{error}");
    }
}
