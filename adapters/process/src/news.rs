//! What happened to the fleet without an order, in a file of lines, so that every cursor stays good.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use parking_lot::Mutex;
use unattended_upgrade::{FleetChange, News, TargetId};

use crate::OpenError;

/// What one call tells at most.
const MOST_TOLD: usize = 4_096;

#[derive(Debug)]
pub(crate) struct NewsFile {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    changes: Vec<FleetChange>,
    /// The last word on each that was told of: whether it lives, and whether it is well.
    last: BTreeMap<TargetId, (bool, bool)>,
}

impl NewsFile {
    /// Reads what was told before. A last line that was torn by a crash was told to nobody and is cut off.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let path = root.join("news.jsonl");
        let unusable = |error: io::Error| OpenError::Directory {
            directory: root.to_owned(),
            error,
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(error)),
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut changes = Vec::new();
        for (line, text) in (1u32..).zip(text[..whole].split(|byte| *byte == b'\n')) {
            if !text.is_empty() {
                changes.push(read(&path, line, text)?);
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(unusable)?;
        file.set_len(whole as u64).map_err(unusable)?;
        let mut last = BTreeMap::new();
        for change in &changes {
            note(&mut last, change);
        }
        let inner = Mutex::new(Inner { file, changes, last });
        Ok(Self { inner })
    }

    /// Whether the last word on a target is that it lives.
    pub(crate) fn lives(&self, target: &TargetId) -> bool {
        self.inner.lock().last.get(target).is_some_and(|(lives, _)| *lives)
    }

    /// Adds a change, unless it says nothing new. Blocks until it is on disk; what is not there is not told.
    pub(crate) fn tell(&self, change: FleetChange) {
        let mut inner = self.inner.lock();
        let mut last = inner.last.clone();
        if !note(&mut last, &change) {
            return;
        }
        let Ok(mut line) = serde_json::to_vec(&change) else {
            return;
        };
        line.push(b'\n');
        let length = inner.file.metadata().map(|metadata| metadata.len());
        let written = inner.file.write_all(&line).and_then(|()| inner.file.sync_data());
        if written.is_err() {
            // Half a line must not stand before the next one.
            let _ = length.and_then(|length| inner.file.set_len(length));
            return;
        }
        inner.changes.push(change);
        inner.last = last;
    }

    pub(crate) fn since(&self, cursor: u64) -> News {
        let inner = self.inner.lock();
        let from = usize::try_from(cursor).unwrap_or(usize::MAX).min(inner.changes.len());
        let upto = inner.changes.len().min(from + MOST_TOLD);
        News {
            changes: inner.changes[from..upto].to_vec(),
            cursor: cursor.max(upto as u64),
        }
    }
}

fn read(path: &Path, line: u32, text: &[u8]) -> Result<FleetChange, OpenError> {
    serde_json::from_slice(text).map_err(|error| OpenError::State {
        file: path.to_owned(),
        problem: format!("line {line}: {error}"),
    })
}

/// Takes a change in; `false` if it was known.
fn note(last: &mut BTreeMap<TargetId, (bool, bool)>, change: &FleetChange) -> bool {
    let (target, word) = match change {
        FleetChange::Joined { target, .. } => (target, (true, true)),
        FleetChange::Left { target } => (target, (false, true)),
        FleetChange::BecameUnhealthy { target } => (target, (true, false)),
        FleetChange::BecameHealthy { target } => (target, (true, true)),
        // Nothing else is ever told here.
        _ => return false,
    };
    last.insert(target.clone(), word) != Some(word)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use unattended_upgrade::FleetChange;

    use super::NewsFile;

    fn joined(name: &str) -> FleetChange {
        FleetChange::Joined {
            target: name.into(),
            app: "pay".into(),
            labels: vec![("zone".into(), "a".into())],
            version: "1".into(),
        }
    }

    #[test]
    fn cursors_stay_good_and_nothing_is_told_twice() {
        let place = tempfile::tempdir().unwrap();
        let news = NewsFile::open(place.path()).unwrap();
        let ill = |name: &str| FleetChange::BecameUnhealthy { target: name.into() };
        let left = |name: &str| FleetChange::Left { target: name.into() };
        for change in [
            joined("a"),
            joined("a"),
            joined("b"),
            ill("a"),
            ill("a"),
            left("b"),
            left("b"),
        ] {
            news.tell(change);
        }
        let all = vec![joined("a"), joined("b"), ill("a"), left("b")];
        assert_eq!((news.since(0).changes, news.since(0).cursor), (all.clone(), 4));
        assert_eq!(news.since(3).changes, all[3..]);
        assert_eq!((news.since(4).changes.len(), news.since(4).cursor), (0, 4));
        assert!(news.lives(&"a".into()) && !news.lives(&"b".into()) && !news.lives(&"c".into()));
        drop(news);

        // A line that a crash has torn.
        let file = place.path().join("news.jsonl");
        let mut torn = OpenOptions::new().append(true).open(&file).unwrap();
        torn.write_all(b"{\"left\":{\"tar").unwrap();
        let news = NewsFile::open(place.path()).unwrap();
        assert_eq!(news.since(0).changes, all);
        news.tell(left("a"));
        assert_eq!(NewsFile::open(place.path()).unwrap().since(4).changes, [left("a")]);

        std::fs::write(&file, "{\"left\":{\"target\":\"a\"}}\nrubbish\n").unwrap();
        let told = NewsFile::open(place.path()).unwrap_err().to_string();
        assert!(told.contains("news.jsonl: line 2"), "{told}");
    }
}
