//! What an instance counts about itself on its hot path, and how a controller reads it.

mod buckets;
mod cells;
mod counters;
mod episodes;
mod ledger;
mod log;
mod prometheus;
mod snapshot;

pub use buckets::LatencyBound;
pub use cells::{Recorder, RecorderError, Writer};
pub use counters::Counters;
pub use ledger::{Delta, Ledger, LedgerError, Taken};
pub use log::{LOG_MARKER, LogError, read_log};
pub use snapshot::{Instance, SNAPSHOT_SCHEMA, Snapshot};
