use std::process::ExitCode;

/// How an example program ends, for the shell that started it.
///
/// A program that reads bad input has changed nothing yet; one that stopped has left the fleet in a state it can name.
#[expect(
    clippy::exhaustive_enums,
    reason = "scripts match on these five numbers; a sixth would be a new contract"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The change is everywhere it should be.
    Completed = 0,
    /// The change was stopped or rolled back, safely and by rule.
    Stopped = 1,
    /// The input cannot be used; nothing has happened.
    BadInput = 2,
    /// The program waits for a decision that only a person may take.
    NeedsPerson = 3,
    /// A fault of the program itself.
    Internal = 4,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Stopped => 1,
            Self::BadInput => 2,
            Self::NeedsPerson => 3,
            Self::Internal => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_codes_are_the_discriminants() {
        for exit in [
            Exit::Completed,
            Exit::Stopped,
            Exit::BadInput,
            Exit::NeedsPerson,
            Exit::Internal,
        ] {
            assert_eq!(u32::from(exit.code()), exit as u32);
        }
        assert_eq!(Exit::NeedsPerson.code(), 3);
    }
}
