//! The wire schema: what a sidecar serves and a controller reads.

use serde::{Deserialize, Serialize};

use crate::wire::{self, WireError};

/// Version of [`SelfCheckReport`] that this crate writes.
pub const SELF_CHECK_SCHEMA: u32 = 1;

/// Most results that are read.
const MAX_RESULTS: usize = 1_024;
/// Longest id of a check, in bytes.
pub(super) const MAX_ID: usize = 128;
/// Longest detail that is written, and kept when reading, in characters.
pub(super) const MAX_DETAIL: usize = 512;

/// How a self-check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckOutcome {
    /// Found what it should.
    Pass,
    /// Found something else, in each of its attempts.
    Fail,
    /// Its last attempt did not end within its time limit.
    Timeout,
    /// Was not run, since a check that it comes after did not pass.
    Skipped,
    /// A word this version does not know. Never a pass.
    #[serde(other)]
    Unknown,
}

impl CheckOutcome {
    /// The outcome as a word for people and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

/// One self-check of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// Stable name, e.g. `golden_request.http1`.
    pub id: String,
    /// The instance itself considers the check required.
    pub required: bool,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How much it counts in the gate's score. 1 unless said otherwise.
    #[serde(default = "one")]
    pub weight: u32,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// How long it took with all attempts and pauses, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// What was found, for people.
    #[serde(default)]
    pub detail: String,
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

impl CheckResult {
    /// A result of weight 1 that says nothing more.
    #[must_use]
    pub fn new(id: impl Into<String>, required: bool, outcome: CheckOutcome) -> Self {
        Self {
            id: id.into(),
            required,
            outcome,
            weight: one(),
            attempts: 0,
            took_ms: 0,
            detail: String::new(),
        }
    }
}

/// All self-checks of one instance: what a sidecar serves, from its start on, and a controller reads.
///
/// ```json
/// {"schema":1,"instance":"pod-7","version":"1.9.2","finished":true,"results":[
///   {"id":"config","required":true,"outcome":"pass","weight":1,"attempts":1,"took_ms":3,"detail":"41 routes"}]}
/// ```
///
/// In JSON `weight`, `attempts`, `took_ms` and `detail` may be left out, and so may `finished`: then it is true, and what is
/// missing is missing for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SelfCheckReport {
    /// [`SELF_CHECK_SCHEMA`] of the writer. A higher one than the reader's fails the gate.
    pub schema: u32,
    /// The instance that checked itself.
    pub instance: String,
    /// The version it runs.
    pub version: String,
    /// Every check has ended. Until then the gate waits for those that are missing.
    #[serde(default = "yes")]
    pub finished: bool,
    /// The checks in the order in which they ended.
    pub results: Vec<CheckResult>,
}

impl SelfCheckReport {
    /// A finished report in the present schema.
    #[must_use]
    pub fn new(instance: impl Into<String>, version: impl Into<String>, results: Vec<CheckResult>) -> Self {
        Self {
            schema: SELF_CHECK_SCHEMA,
            instance: instance.into(),
            version: version.into(),
            finished: true,
            results,
        }
    }

    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        wire::write(self)
    }

    /// Reads a report. One in a newer schema is read if it has these fields, and then does not pass the gate.
    ///
    /// # Errors
    ///
    /// [`WireError`] with line and column when the text is longer than 1 MiB, is not a report, has more than 1,024
    /// results, or an id of none or more than 128 bytes. An unreadable report is no pass.
    pub fn from_json(text: &str) -> Result<Self, WireError> {
        let mut report: Self = wire::read(text)?;
        if report.results.len() > MAX_RESULTS {
            let what = format!("{} results, at most {MAX_RESULTS} are read", report.results.len());
            return Err(WireError::Content(what));
        }
        for result in &mut report.results {
            if result.id.is_empty() || result.id.len() > MAX_ID {
                let what = format!(
                    "the id of a result has {} bytes; 1 to {MAX_ID} are allowed",
                    result.id.len()
                );
                return Err(WireError::Content(what));
            }
            if let Some((end, _)) = result.detail.char_indices().nth(MAX_DETAIL) {
                result.detail.truncate(end);
            }
        }
        Ok(report)
    }
}
