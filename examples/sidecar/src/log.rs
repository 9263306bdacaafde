//! Lines about what happens, for people and for readers of the error-metrics log.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::clock;

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct Log {
    /// Standard error if `None`.
    file: Option<File>,
    who: String,
}

impl Log {
    /// Lines are added to the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of opening it.
    pub(crate) fn open(path: Option<&Path>, who: String) -> io::Result<Self> {
        let file = path
            .map(|path| {
                let file = OpenOptions::new().create(true).append(true).open(path);
                file.map_err(|error| io::Error::new(error.kind(), format!("--log {}: {error}", path.display())))
            })
            .transpose()?;
        Ok(Self { file, who })
    }

    /// Something has happened.
    pub(crate) fn say(&self, what: impl Display) {
        self.line(&format!("{} {} {what}", clock::now_ms(), self.who));
    }

    /// A line as it is.
    pub(crate) fn line(&self, line: &str) {
        let whole = format!("{line}\n");
        // A log that cannot be written must not stop traffic.
        let _ = match &self.file {
            Some(file) => (&*file).write_all(whole.as_bytes()),
            None => io::stderr().write_all(whole.as_bytes()),
        };
    }
}
