//! The controller's side: snapshots in, each interval's counts out, once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Counters, Snapshot};

/// What one host counted since the snapshot before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delta {
    /// The host restarted since: the counts are those of the new start, and what the old one counted after its last
    /// snapshot is lost.
    pub reset: bool,
    /// How many intervals the counts cover: above 1 when snapshots were lost.
    pub intervals: u64,
    /// How long the instance had been running at the end, in milliseconds.
    pub age_ms: u64,
    /// The counts.
    pub counters: Counters,
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a first look has no difference; callers must handle both"
)]
pub enum Taken {
    /// The counts since the snapshot before.
    Delta(Delta),
    /// The host was not known and had been counting already: this is where differences begin. Not zero, but unknown.
    Baseline,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    epoch: u64,
    interval: u64,
    counters: Counters,
}

/// Remembers the last snapshot of each host, and takes each (host, epoch, interval) at most once: delivering one again, or
/// late, changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    max_hosts: usize,
    hosts: BTreeMap<String, Last>,
}

/// Why a snapshot was not taken. The ledger is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It is not a possible snapshot.
    #[error("{0}")]
    Content(String),
    /// Taken before.
    #[error("interval {interval} of epoch {epoch} of {host} was taken already; each counts once")]
    Duplicate {
        /// The host.
        host: String,
        /// Its start.
        epoch: u64,
        /// The interval.
        interval: u64,
    },
    /// A later one was taken, and contains it.
    #[error("interval {interval} of epoch {epoch} of {host} came after interval {last}, which contains it")]
    Late {
        /// The host.
        host: String,
        /// Its start.
        epoch: u64,
        /// The interval.
        interval: u64,
        /// The latest one taken.
        last: u64,
    },
    /// From before a restart.
    #[error("epoch {epoch} of {host} ended: epoch {last} reports already")]
    OldEpoch {
        /// The host.
        host: String,
        /// The start it names.
        epoch: u64,
        /// The latest one.
        last: u64,
    },
    /// A counter is lower than it was, without a restart.
    #[error(
        "counters of {host} went backwards within epoch {epoch}, between intervals {last} and {interval}; give each start of a process an epoch of its own"
    )]
    Backwards {
        /// The host.
        host: String,
        /// Its start.
        epoch: u64,
        /// The interval before.
        last: u64,
        /// The interval.
        interval: u64,
    },
    /// As many hosts as it was made for.
    #[error("{host} would be host {}; forget hosts that are gone, or allow more", max_hosts + 1)]
    Full {
        /// The host.
        host: String,
        /// The bound.
        max_hosts: usize,
    },
}

impl Ledger {
    /// A ledger of at most `max_hosts` hosts; each takes about as much memory as its snapshot.
    #[must_use]
    pub const fn new(max_hosts: usize) -> Self {
        Self {
            max_hosts,
            hosts: BTreeMap::new(),
        }
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] when it was taken already, is older than what was taken, went backwards, or is not possible. None of
    /// these is ever a zero.
    pub fn take(&mut self, snapshot: &Snapshot) -> Result<Taken, LedgerError> {
        snapshot.check().map_err(LedgerError::Content)?;
        let (host, epoch, interval) = (&snapshot.instance.host, snapshot.instance.epoch, snapshot.interval);
        let delta = |reset, intervals, counters| {
            Taken::Delta(Delta {
                reset,
                intervals,
                age_ms: snapshot.age_ms,
                counters,
            })
        };
        let named = || host.clone();
        let taken = match self.hosts.get(host) {
            None if self.hosts.len() >= self.max_hosts => {
                return Err(LedgerError::Full {
                    host: named(),
                    max_hosts: self.max_hosts,
                });
            }
            // All that it ever counted was counted in this interval.
            None if interval == 1 => delta(false, 1, snapshot.counters.clone()),
            None => Taken::Baseline,
            Some(last) if epoch < last.epoch => {
                return Err(LedgerError::OldEpoch {
                    host: named(),
                    epoch,
                    last: last.epoch,
                });
            }
            Some(last) if epoch > last.epoch => delta(true, interval, snapshot.counters.clone()),
            Some(last) if interval == last.interval => {
                return Err(LedgerError::Duplicate {
                    host: named(),
                    epoch,
                    interval,
                });
            }
            Some(last) if interval < last.interval => {
                return Err(LedgerError::Late {
                    host: named(),
                    epoch,
                    interval,
                    last: last.interval,
                });
            }
            Some(last) => match snapshot.counters.since(&last.counters) {
                Some(counters) => delta(false, interval - last.interval, counters),
                None => {
                    return Err(LedgerError::Backwards {
                        host: named(),
                        epoch,
                        last: last.interval,
                        interval,
                    });
                }
            },
        };
        let counters = snapshot.counters.clone();
        self.hosts.insert(
            host.clone(),
            Last {
                epoch,
                interval,
                counters,
            },
        );
        Ok(taken)
    }

    /// Forgets a host that is gone; whether it was known.
    pub fn forget(&mut self, host: &str) -> bool {
        self.hosts.remove(host).is_some()
    }

    /// How many hosts are known.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }
}
