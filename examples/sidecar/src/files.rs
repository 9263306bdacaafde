//! What outlives the process: who is committed, whether the way in is open, and what it works by.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::options::Slot;

/// Longest of the files of one line that is read, in bytes.
pub(crate) const MAX_LEN: u64 = 1_024;

/// What the file of a process begins with that has left connections behind; its instance follows.
const LEFTOVER: &str = "leftover.";

/// Whether traffic is led here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    Open,
    /// Until then at most, in milliseconds since the machine started.
    Closed {
        reopen_by_ms: u64,
    },
}

/// Whose the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) slot: Slot,
    pub(crate) generation: u64,
    pub(crate) instance: u64,
}

impl Ingress {
    /// What the file in `dir` says; open if there is none.
    ///
    /// # Errors
    ///
    /// What the system says, or that the file says nothing that can be understood.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let path = dir.join("ingress");
        let Some(text) = read(&path, MAX_LEN)? else {
            return Ok(Self::Open);
        };
        match text.trim().split(' ').collect::<Vec<_>>().as_slice() {
            ["open"] => Ok(Self::Open),
            ["closed", at_ms] if at_ms.parse::<u64>().is_ok() => Ok(Self::Closed {
                reopen_by_ms: at_ms.parse().unwrap_or_default(),
            }),
            _ => Err(garbled(&path, "`open` or `closed REOPEN_BY_MS`")),
        }
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    ///
    /// What the system says; the file is as it was.
    pub(crate) fn write(self, dir: &Path, by: &str) -> io::Result<()> {
        let line = match self {
            Self::Open => "open\n".to_owned(),
            Self::Closed { reopen_by_ms } => format!("closed {reopen_by_ms}\n"),
        };
        write(dir, "ingress", by, &line)
    }
}

impl Committed {
    /// What the file in `dir` says, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`Ingress::read`].
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join("committed");
        let Some(text) = read(&path, MAX_LEN)? else {
            return Ok(None);
        };
        let words: Vec<&str> = text.trim().split(' ').collect();
        let parsed = (|| {
            let [slot, generation, instance] = words.as_slice() else {
                return None;
            };
            let slot = match *slot {
                "a" => Slot::A,
                "b" => Slot::B,
                _ => return None,
            };
            Some(Self {
                slot,
                generation: generation.parse().ok()?,
                instance: instance.parse().ok()?,
            })
        })();
        parsed
            .map(Some)
            .ok_or_else(|| garbled(&path, "`SLOT GENERATION INSTANCE`"))
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    ///
    /// As for [`Ingress::write`].
    pub(crate) fn write(self, dir: &Path) -> io::Result<()> {
        let Self {
            slot,
            generation,
            instance,
        } = self;
        let line = format!("{} {generation} {instance}\n", slot.as_str());
        write(dir, "committed", slot.as_str(), &line)
    }
}

/// Says in `dir` that a process which has left still serves connections, and where it is called for them.
///
/// # Errors
///
/// What the system says; nobody will call.
pub(crate) fn leave_behind(dir: &Path, instance: u64, by: &str, doorbell: &Path) -> io::Result<()> {
    write(dir, &leftover(instance), by, &format!("{}\n", doorbell.display()))
}

/// There is nothing left, or nobody who would answer.
pub(crate) fn forget_leftover(dir: &Path, instance: u64) {
    // Where there is none, that is well.
    let _ = fs::remove_file(dir.join(leftover(instance)));
}

/// Who has left something behind in `dir`, and where each is called, by instance. What cannot be read now may be later.
pub(crate) fn left_behind(dir: &Path) -> BTreeMap<u64, PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let instance = entry.file_name().to_str()?.strip_prefix(LEFTOVER)?.parse().ok()?;
        let text = read(&entry.path(), MAX_LEN).ok()??;
        Some((instance, PathBuf::from(text.trim_end())))
    });
    found.collect()
}

fn leftover(instance: u64) -> String {
    format!("{LEFTOVER}{instance}")
}

/// Whether durable files can be written in `dir`.
///
/// # Errors
///
/// What the system says.
pub(crate) fn try_write(dir: &Path, by: &str) -> io::Result<()> {
    write(dir, &format!("probe.{by}"), by, "")?;
    fs::remove_file(dir.join(format!("probe.{by}")))
}

pub(crate) fn garbled(path: &Path, wanted: &str) -> io::Error {
    let words = format!("{}:1: it does not say {wanted}; remove it or mend it", path.display());
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// What a file says; `None` if there is none.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) if file.len() > most => Err(garbled(path, "one line")),
        Ok(_) => fs::read_to_string(path).map(Some),
    }
}

/// All of it is there afterwards, even if the machine stops at the next instant, or what was there before. Each of the two
/// processes has a temporary file of its own.
pub(crate) fn write(dir: &Path, name: &str, by: &str, text: &str) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.{by}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{Committed, Ingress};
    use crate::options::Slot;

    #[test]
    fn what_was_written_is_read_and_what_nobody_wrote_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Ingress::read(dir.path()).unwrap(), Ingress::Open);
        assert_eq!(Committed::read(dir.path()).unwrap(), None);
        let closed = Ingress::Closed { reopen_by_ms: 77 };
        closed.write(dir.path(), "a").unwrap();
        assert_eq!(Ingress::read(dir.path()).unwrap(), closed);
        let committed = Committed {
            slot: Slot::B,
            generation: 4,
            instance: 9,
        };
        committed.write(dir.path()).unwrap();
        assert_eq!(Committed::read(dir.path()).unwrap(), Some(committed));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("committed")).unwrap(),
            "b 4 9\n"
        );
        for wrong in ["", "close", "closed", "closed x", "open 1"] {
            std::fs::write(dir.path().join("ingress"), wrong).unwrap();
            assert!(Ingress::read(dir.path()).is_err(), "{wrong}");
        }
        let doorbell = dir.path().join("a.sock.handover");
        super::leave_behind(dir.path(), 7, "a", &doorbell).unwrap();
        std::fs::write(dir.path().join("leftover.x"), "").unwrap();
        assert_eq!(super::left_behind(dir.path()), [(7, doorbell)].into());
        super::forget_leftover(dir.path(), 7);
        assert!(super::left_behind(dir.path()).is_empty());
        for wrong in ["c 1 2", "a 1", "a 1 2 3", "a -1 2"] {
            std::fs::write(dir.path().join("committed"), wrong).unwrap();
            let error = Committed::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("committed:1: "), "{error}");
        }
    }
}
