//! What can be wrong with a table, in words: the line, the field, the fix.

use std::fmt::Display;

use unattended_examples_support::Failure;

/// `standard input:LINE: column `FIELD`: what, and the fix`.
pub(crate) fn at(line: u64, field: &str, what: impl Display) -> Failure {
    Failure::Input(format!("standard input:{line}: column `{field}`: {what}"))
}

/// Something about a whole line.
pub(crate) fn line(line: u64, what: impl Display) -> Failure {
    Failure::Input(format!("standard input:{line}: {what}"))
}

/// Something about the whole input.
pub(crate) fn whole(what: impl Display) -> Failure {
    Failure::Input(format!("standard input: {what}"))
}

/// A value as it may stand in a message.
pub(crate) fn shown(value: &str) -> String {
    let cut: String = value.chars().take(40).flat_map(char::escape_debug).collect();
    if value.chars().nth(40).is_some() {
        format!("{cut}…")
    } else {
        cut
    }
}
