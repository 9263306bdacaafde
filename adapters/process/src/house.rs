//! What all targets of a directory share: the settings, the lock, the news.
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use unattended_upgrade::FleetChange;

use crate::OpenError;
use crate::news::NewsFile;
use crate::process::boot_id;

/// How often, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How often what is settled is looked at, in milliseconds: how soon illness is told, and logs are cut. Default 1 s.
    pub look_ms: u64,
    /// The wait before what has exited is started again, in milliseconds; it doubles with each exit in a row. Default 100.
    pub backoff_ms: u64,
    /// The longest such wait, in milliseconds. Default 30 s.
    pub longest_backoff_ms: u64,
    /// What has run for so long, in milliseconds, begins a new row when it exits. Default 10 s.
    pub stable_ms: u64,
    /// So many exits in a row are shown as [`Phase::Crashing`](unattended_upgrade::Phase::Crashing). Default 3.
    pub crashing_after: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            look_ms: 1_000,
            backoff_ms: 100,
            longest_backoff_ms: 30_000,
            stable_ms: 10_000,
            crashing_after: 3,
        }
    }
}

/// The longest time a setting may be: a day.
const LONGEST_MS: u64 = 86_400_000;

impl Settings {
    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        let Self {
            look_ms,
            backoff_ms,
            longest_backoff_ms,
            stable_ms,
            crashing_after,
        } = *self;
        for (field, found, most) in [
            ("look_ms", look_ms, LONGEST_MS),
            ("backoff_ms", backoff_ms, LONGEST_MS),
            ("longest_backoff_ms", longest_backoff_ms, LONGEST_MS),
            ("stable_ms", stable_ms, LONGEST_MS),
            ("crashing_after", crashing_after.into(), 1_000),
        ] {
            if found == 0 || found > most {
                return Err(OpenError::Setting {
                    field,
                    found,
                    least: 1,
                    most,
                });
            }
        }
        Ok(())
    }
}

/// A directory that this adapter holds.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) root: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) boot: String,
    pub(crate) news: NewsFile,
    /// Locked for as long as anything of the adapter is at work, a thread that writes or forks included. What it forks holds
    /// the lock too, until it has become the shell at the gate: whoever gets the lock after a crash finds nobody underway.
    _lock: File,
}

impl House {
    /// Takes the directory, or says who holds it.
    pub(crate) fn open(root: &Path, settings: Settings) -> Result<Self, OpenError> {
        let unusable = |error: io::Error| OpenError::Directory {
            directory: root.to_owned(),
            error,
        };
        std::fs::create_dir_all(root.join("t")).map_err(unusable)?;
        // Sockets and states are nobody else's.
        std::fs::set_permissions(root, Permissions::from_mode(0o700)).map_err(unusable)?;
        let lock = root.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock);
        let mut lock = lock.map_err(unusable)?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(unusable(error.into()));
            }
            let mut holder = String::new();
            // Whoever holds it may not have written its name yet.
            let _ = Read::by_ref(&mut lock).take(200).read_to_string(&mut holder);
            let holder = if holder.is_empty() { "unknown" } else { holder.trim() };
            return Err(OpenError::Held {
                directory: root.to_owned(),
                holder: holder.to_owned(),
            });
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(unusable)?;
        writeln!(lock, "process {}", std::process::id()).map_err(unusable)?;
        Ok(Self {
            root: root.to_owned(),
            settings,
            boot: boot_id().map_err(unusable)?,
            news: NewsFile::open(root)?,
            _lock: lock,
        })
    }

    /// Tells the news. Rare, and short: it blocks the thread until a line is on disk.
    pub(crate) fn tell(&self, change: FleetChange) {
        self.news.tell(change);
    }
}
