//! JSON from outside: bounded, and with the place of what is wrong.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest text that is read, in bytes. What instances serve is a few kilobytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Why a text is not what was expected. Nothing of it was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Longer than 1 MiB.
    #[error("the text has {bytes} bytes, at most 1 MiB are read; is it the right document?")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Not JSON, or a field is missing, unknown or of the wrong type.
    #[error("line {line}, column {column}: {what}; correct what the instance serves")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1; 0 for a fault of a whole line.
        column: usize,
        /// What is wrong, with the field.
        what: String,
    },
    /// Readable, and not possible.
    #[error("{0}")]
    Content(String),
}

pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, WireError> {
    if text.len() > MAX_BYTES {
        return Err(WireError::TooLong { bytes: text.len() });
    }
    serde_json::from_str(text).map_err(|error| {
        let whole = error.to_string();
        let what = whole.rfind(" at line ").map_or(whole.as_str(), |at| &whole[..at]);
        WireError::Syntax {
            line: error.line(),
            column: error.column(),
            what: what.to_owned(),
        }
    })
}

pub(crate) fn write<T: Serialize>(value: &T) -> String {
    #[expect(
        clippy::expect_used,
        reason = "derived, with text keys only: JSON can hold it, and memory does not fail"
    )]
    serde_json::to_string(value).expect("a document of text, numbers and lists")
}
