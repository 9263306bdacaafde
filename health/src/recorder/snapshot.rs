//! What an instance serves: its counters since it started, with who it is and which interval this is.

use serde::{Deserialize, Serialize};

use super::Counters;
use crate::wire::{self, WireError};

/// Version of [`Snapshot`] that this crate writes and reads.
pub const SNAPSHOT_SCHEMA: u32 = 1;

/// Longest host or version name, in bytes.
const MAX_NAME: usize = 253;

/// Who counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "written literally by sidecars")]
pub struct Instance {
    /// The name that the controller knows the host by: 1 to 253 printable ASCII characters without spaces.
    pub host: String,
    /// The version that runs; likewise.
    pub version: String,
    /// Number of this start of the host: higher at each restart, e.g. Unix milliseconds when it began.
    pub epoch: u64,
}

/// Counters since the start, at the end of an interval. A lost snapshot loses nothing: the next one contains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Snapshot {
    /// [`SNAPSHOT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Who.
    pub instance: Instance,
    /// How many intervals have ended since the start, this one included. (host, epoch, interval) is counted once.
    pub interval: u64,
    /// For how long the instance has been running, in milliseconds: whether it is fresh.
    pub age_ms: u64,
    /// Since the start.
    pub counters: Counters,
}

/// Printable ASCII without spaces: stands in logs, labels and keys as it is.
pub(super) fn name(what: &'static str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!(
            "{what} has {} characters; 1 to {MAX_NAME} are allowed",
            name.len()
        ));
    }
    match name.chars().find(|c| !c.is_ascii_graphic()) {
        None => Ok(()),
        Some(c) => Err(format!(
            "{what} contains {c:?}; only printable ASCII without spaces is allowed"
        )),
    }
}

impl Instance {
    pub(super) fn check(&self) -> Result<(), String> {
        name("host", &self.host)?;
        name("version", &self.version)
    }
}

impl Snapshot {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.schema != SNAPSHOT_SCHEMA {
            return Err(format!(
                "schema {} is unknown, this program reads {SNAPSHOT_SCHEMA}; update the older of the two",
                self.schema
            ));
        }
        if self.interval == 0 {
            return Err("interval 0 does not exist; the first one is 1".to_owned());
        }
        self.instance.check()
    }

    /// As one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        wire::write(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// [`WireError`] with line and column when the text is longer than 1 MiB, is not a snapshot, is of another schema, or
    /// contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, WireError> {
        let snapshot: Self = wire::read(text)?;
        snapshot.check().map_err(WireError::Content)?;
        Ok(snapshot)
    }
}
