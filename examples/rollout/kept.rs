//! Whether a journal and the memory of a world beside it belong together.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use unattended::upgrade::{Journal, Position};
use unattended_examples_support::Failure;
use unattended_redb::Redb;

/// What there is of a world before anybody opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    /// Not even a first line: killed while it was made, or cut since.
    Beginning,
    World,
}

impl Kept {
    pub(crate) fn of(journal: &Path) -> Self {
        let path = world_log(journal);
        match std::fs::read(&path) {
            Ok(bytes) if bytes.contains(&b'\n') => Self::World,
            Ok(_) => Self::Beginning,
            // Whoever opens it says why it cannot be read.
            Err(_) if path.exists() => Self::World,
            Err(_) => Self::Nothing,
        }
    }

    /// A journal that has begun belongs to a world, and a world that was changed to a journal: neither goes with a new one of the other.
    pub(crate) fn check(self, path: &Path, journal: &Redb) -> Result<(), Failure> {
        let end = futures::executor::block_on(journal.end()).map_err(Failure::input)?;
        let (begun, world) = (end != Position::default(), world_log(path));
        let (name, world_name) = (path.display(), world.display());
        let has_lost = |what: &str| {
            Err(Failure::Input(format!(
                "{world_name}: the world is damaged: {what}; restore that file, or name another journal than {name}"
            )))
        };
        match self {
            Self::Nothing if begun => Err(Failure::Input(format!(
                "{name}: this journal has begun, and {world_name}, the world that it changed, is not there: restore that file, or name another \
                 journal"
            ))),
            Self::Beginning if begun => has_lost("it has no first line, and the journal beside it has begun"),
            Self::World if begun => match missing(journal, &lines(&world)?)? {
                Some(key) => has_lost(&format!(
                    "the journal says that effect {key} was applied, and it does not know of it"
                )),
                None => Ok(()),
            },
            // Behind its first line stands what was done to it.
            Self::World if lines(&world)?.lines().nth(1).is_some() => Err(Failure::Input(format!(
                "{name}: this journal is new, and {world_name} is a world that a run with another one has changed: restore that journal, remove \
                 the world, or name another journal"
            ))),
            _ => Ok(()),
        }
    }
}

fn lines(world: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(world).map_err(|error| Failure::Input(format!("{}: {error}", world.display())))
}

/// A line of the world's, as far as it matters here.
#[derive(Deserialize)]
struct Done<'l> {
    #[serde(borrow)]
    key: Option<Cow<'l, str>>,
}

/// An effect of which the journal says that it was applied, and the world nothing.
///
/// The world is handed to the system before the journal says what became of an effect, so a kill at any moment leaves the world ahead.
fn missing(journal: &Redb, world: &str) -> Result<Option<String>, Failure> {
    let done: HashSet<Cow<'_, str>> = world
        .lines()
        .filter_map(|line| serde_json::from_str::<Done<'_>>(line).ok()?.key)
        .collect();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut missing = None;
    let read = futures::executor::block_on(unattended::dump(journal, |line| {
        let (Some(target), Some(key)) = (line.target, line.key) else {
            return;
        };
        let before = last.insert(target, key.clone());
        // The next intent of an attempt tells what became of the one before. A later generation had none of its own before its first.
        if let Some(before) = before
            && line.result.as_deref() == Some("applied")
            && attempt(&before) == attempt(&key)
            && !done.contains(before.as_str())
        {
            missing.get_or_insert(before);
        }
    }));
    read.map_err(Failure::input)?;
    Ok(missing)
}

/// `attempt/generation` of `attempt/generation/step/ordinal`.
fn attempt(key: &str) -> Option<&str> {
    key.rsplitn(3, '/').nth(2)
}

/// Where the world keeps what was done to it.
pub(crate) fn world_log(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".world");
    PathBuf::from(name)
}
