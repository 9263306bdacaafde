//! Faults of pack files.

use std::fmt;
use std::ops::Deref;

use thiserror::Error;

/// One fault of a pack file: where it is, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PackError {
    /// The file, as it was named to the guard.
    pub file: String,
    /// The line, from 1; 0 when the fault is not at a place in the file.
    pub line: u64,
    /// The column in characters, from 1; 0 with line 0.
    pub column: u64,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}; fix: {}", self.what, self.fix)
    }
}

impl std::error::Error for PackError {}

/// Every fault of every file, sorted by file and place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PackErrors(Vec<PackError>);

impl PackErrors {
    /// A single fault.
    pub(crate) fn one(error: PackError) -> Self {
        Self(vec![error])
    }

    /// `Ok` when there is no fault.
    pub(crate) fn check(mut errors: Vec<PackError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort();
        Err(Self(errors))
    }
}

impl Deref for PackErrors {
    type Target = [PackError];

    fn deref(&self) -> &[PackError] {
        &self.0
    }
}

impl IntoIterator for PackErrors {
    type Item = PackError;
    type IntoIter = std::vec::IntoIter<PackError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'e> IntoIterator for &'e PackErrors {
    type Item = &'e PackError;
    type IntoIter = std::slice::Iter<'e, PackError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
