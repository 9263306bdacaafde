use std::fmt::Display;

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
