use std::fmt::Display;
use std::io::{Error, ErrorKind, Write};

use crate::Exit;

/// Why an example ends without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "either the user can mend it or we must")]
pub enum Failure {
    /// The user can mend it: [`Exit::BadInput`].
    Input(String),
    /// We must: [`Exit::Internal`].
    Internal(String),
}

impl Failure {
    /// A fault of what was given.
    pub fn input(error: impl Display) -> Self {
        Self::Input(error.to_string())
    }

    /// A fault of ours.
    pub fn internal(error: impl Display) -> Self {
        Self::Internal(error.to_string())
    }

    /// What cannot be written, why, and what to do about it. `what` names the file and what goes there.
    pub fn unwritten(what: impl Display, error: &Error) -> Self {
        let fix = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there, or name another place",
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "let this user write there, or name another place"
            }
            ErrorKind::NotFound | ErrorKind::NotADirectory => "name a file in a folder that is there",
            _ => "name another place",
        };
        Self::Input(format!("{what} cannot be written: {error}; {fix}"))
    }

    /// What became of text on its way to standard output. Somebody who closed the pipe has seen enough.
    ///
    /// # Errors
    /// Where it cannot be written: that is no fault of the program.
    pub fn of_stdout(written: std::io::Result<()>) -> Result<(), Self> {
        match written.and_then(|()| std::io::stdout().flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Self::unwritten("standard output", &error)),
            _ => Ok(()),
        }
    }

    /// Says it on standard error, and how the program ends.
    #[must_use]
    pub fn told(&self) -> Exit {
        match self {
            Self::Input(text) => {
                eprintln!("error: {text}");
                Exit::BadInput
            }
            Self::Internal(text) => {
                eprintln!("internal fault: {text}");
                Exit::Internal
            }
        }
    }
}
