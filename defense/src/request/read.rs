//! Reads a request from a file.

use std::path::Path;

use super::Request;
use crate::pack::{self, PackErrors};

impl Request {
    /// Reads a request from YAML or JSON. `name` stands for the file in errors.
    ///
    /// # Errors
    /// The first fault, with its line, column and field; nothing is guessed and no field is skipped.
    pub fn from_text(name: impl Into<String>, text: &str) -> Result<Self, PackErrors> {
        let request: Self = pack::plain(&name.into(), text)?;
        Ok(request)
    }

    /// As [`from_text`](Self::from_text), from a file.
    ///
    /// # Errors
    /// As there; also when the file cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PackErrors> {
        let path = path.as_ref();
        let text = pack::text_of(path)?;
        Self::from_text(path.display().to_string(), &text)
    }
}
