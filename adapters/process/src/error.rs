use std::io;
use std::path::PathBuf;

use unattended_upgrade::TargetId;

/// A template, or what a target gives to it, is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}; {fix}")]
#[non_exhaustive]
pub struct TemplateError {
    /// The field of the template or target, as `program` or `arguments[2]`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl TemplateError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}

/// Why a platform was not opened. Nothing has been started, stopped or written but empty directories.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A target's template cannot be carried out.
    #[error("target {target}: {error}")]
    Template {
        /// Which target.
        target: TargetId,
        /// What is wrong with its template.
        #[source]
        error: TemplateError,
    },
    /// Another adapter holds the directory.
    #[error("directory {}: held by another adapter ({holder}); end that one, or give a directory of its own to each", .directory.display())]
    Held {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, as far as it says.
        holder: String,
    },
    /// The directory cannot be used.
    #[error("directory {}: {error}; give one that this user may write to", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file of the directory cannot be understood. It is not overwritten.
    #[error("{}: {problem}; it is left as it is: repair it, or move it away to begin anew", .file.display())]
    State {
        /// The file.
        file: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
    /// One target is given twice.
    #[error("target {target}: given twice; give each target a name of its own")]
    Twice {
        /// Which.
        target: TargetId,
    },
    /// A setting is out of its range.
    #[error("`{field}` is {found}: give a value from {least} to {most}")]
    Setting {
        /// Which.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
}
