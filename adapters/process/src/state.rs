//! What is durable of one target: the wanted state, and the evidence of processes that were started for it.
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use unattended_upgrade::{EffectKey, Moves, Version};

use crate::OpenError;
use crate::left::Left;

/// The two slots of the sidecar, and the application's seat.
pub(crate) const SEATS: usize = 3;
pub(crate) const APPLICATION: usize = 2;

/// The file of one target. It is only ever replaced whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) schema: u32,
    /// The boot in which process ids and times of this file mean anything.
    pub(crate) boot: String,
    pub(crate) fence: u64,
    /// The last key that was applied.
    pub(crate) last: Option<EffectKey>,
    pub(crate) next_instance: u64,
    pub(crate) seats: [Seat; SEATS],
    /// Instances that have left, and serve on what could not move.
    pub(crate) left: Vec<Left>,
    /// The slot that serves where both are filled and neither has committed since.
    pub(crate) home: usize,
    pub(crate) way: Way,
    pub(crate) config: Config,
    /// An order of a hand-over may still lie in these instances' queues unread.
    pub(crate) sent: Vec<u64>,
    /// What processes had counted that have ended since the last offer.
    pub(crate) kept: Moves,
    /// Listeners were offered since a slot was filled: before that, what instances have counted is of another hand-over.
    pub(crate) offered: bool,
    /// Nothing is to run, until the directory is opened anew.
    pub(crate) halted: bool,
    /// The target was taken away.
    pub(crate) gone: bool,
}

/// One place in which a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seat {
    /// What is to run here; nothing if there is none.
    pub(crate) version: Option<Version>,
    /// The first instance that was, or will be, started since it was filled.
    pub(crate) since: u64,
    /// A process of a lower round is to be replaced.
    pub(crate) round: u64,
    /// This instance was told to end, and is not followed by another one.
    pub(crate) ended: Option<u64>,
    /// It ends once the other slot's instance is ready.
    pub(crate) yields: bool,
    /// The last process that was started here.
    pub(crate) run: Option<Run>,
}

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) instance: u64,
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the pid it names one process of a boot.
    pub(crate) started: u64,
    pub(crate) version: Version,
    pub(crate) round: u64,
    pub(crate) epoch: u32,
    pub(crate) passive: bool,
}

/// The way of new traffic, as it was ordered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Open,
    Closed { reopen_by_ms: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) wanted: Option<Version>,
    /// The last one that an instance has acknowledged.
    pub(crate) good: Option<Version>,
}

/// Who has committed last, in a sidecar's own words: slot and instance.
pub(crate) type Committed = Option<(usize, u64)>;

impl State {
    /// A target at which nothing has run yet.
    pub(crate) fn new(boot: &str, version: &Version, application: bool) -> Self {
        let seat = |version: Option<Version>| Seat {
            version,
            since: 1,
            ..Seat::default()
        };
        Self {
            schema: 1,
            boot: boot.to_owned(),
            fence: 0,
            last: None,
            next_instance: 1,
            seats: [
                seat(Some(version.clone())),
                seat(None),
                seat(application.then(|| Version::from("application"))),
            ],
            left: Vec::new(),
            home: 0,
            way: Way::Open,
            config: Config::default(),
            sent: Vec::new(),
            kept: Moves::default(),
            offered: false,
            halted: false,
            gone: false,
        }
    }

    /// The slot whose instance serves, or is to.
    pub(crate) fn serving(&self, committed: Committed) -> usize {
        match (self.seats[0].version.is_some(), self.seats[1].version.is_some()) {
            (true, false) => 0,
            (false, true) => 1,
            (false, false) => self.home,
            (true, true) => match committed {
                // A file from before the slot was filled speaks of another instance.
                Some((slot, instance)) if instance >= self.seats[slot].since => slot,
                _ => self.home,
            },
        }
    }

    /// The other slot has committed since this one was filled: what ends here has left for good.
    pub(crate) fn has_lost(&self, slot: usize, committed: Committed) -> bool {
        committed.is_some_and(|(winner, instance)| {
            winner != slot
                && self.seats[winner].version.is_some()
                && instance >= self.seats[winner].since
                && instance >= self.seats[slot].since
        })
    }

    /// The slot that is to have this version.
    pub(crate) fn slot_of(&self, version: &Version) -> Option<usize> {
        (0..2).find(|slot| self.seats[*slot].version.as_ref() == Some(version))
    }

    /// Fills a slot.
    pub(crate) fn fill(&mut self, slot: usize, version: &Version) {
        let since = self.next_instance;
        let seat = &mut self.seats[slot];
        (seat.version, seat.since, seat.ended, seat.yields) = (Some(version.clone()), since, None, false);
        seat.round += 1;
        self.offered = false;
    }

    /// Empties a slot.
    pub(crate) fn empty(&mut self, slot: usize) {
        let seat = &mut self.seats[slot];
        (seat.version, seat.ended, seat.yields) = (None, None, false);
    }

    /// Reads a target's file; `None` if there is none.
    pub(crate) fn load(directory: &Path) -> Result<Option<Self>, OpenError> {
        let file = directory.join(FILE);
        let bad = |problem: String| OpenError::State {
            file: file.clone(),
            problem,
        };
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        let state: Self = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if state.schema != 1 {
            return Err(bad(format!("`schema` is {}, and 1 is understood", state.schema)));
        }
        if state.home > 1 {
            return Err(bad(format!("`home` is {}: give 0 or 1", state.home)));
        }
        Ok(Some(state))
    }

    /// Makes it durable, whole or not at all.
    pub(crate) fn store(&self, directory: &Path) -> Result<(), Unwritten> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Unwritten::Not(error.into()))?;
        replace_file(directory, FILE, &text)
    }
}

const FILE: &str = "state.json";

/// A file was not replaced.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The old one is there.
    Not(io::Error),
    /// The new one is there; whether it outlives a power cut is not known.
    Unsure(io::Error),
}

/// Replaces a file durably: another file, its bytes on disk, renamed, the directory on disk.
pub(crate) fn replace_file(directory: &Path, name: &str, text: &[u8]) -> Result<(), Unwritten> {
    let new = directory.join(format!("{name}.new"));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written.map_err(Unwritten::Not)?;
    std::fs::rename(&new, directory.join(name)).map_err(Unwritten::Not)?;
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Unwritten::Unsure)
}

/// Who has committed last at a target. A file of a few bytes, written by its sidecars by renaming.
pub(crate) fn committed(directory: &Path) -> Committed {
    let text = std::fs::read_to_string(directory.join("committed")).ok()?;
    let mut words = text.split_whitespace();
    let slot = match words.next()? {
        "a" => 0,
        "b" => 1,
        _ => return None,
    };
    let instance = words.nth(1)?.parse().ok()?;
    Some((slot, instance))
}

/// The directory of a target: its name, in which every byte that is not harmless is written as `%XX`.
pub(crate) fn directory_of(root: &Path, target: &str) -> PathBuf {
    let mut name = String::with_capacity(target.len());
    for (at, byte) in target.bytes().enumerate() {
        let harmless = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || byte == b'.' && at > 0;
        if harmless {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    root.join("t").join(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use unattended_upgrade::Version;

    use super::{State, committed, directory_of};

    fn state() -> State {
        State::new("boot", &"1".into(), false)
    }

    #[test]
    fn the_slot_that_serves_is_the_one_that_committed_since_it_was_filled() {
        let mut state = state();
        assert_eq!(state.serving(None), 0);
        // Of an earlier pair of slots.
        assert_eq!(state.serving(Some((1, 7))), 0);
        state.next_instance = 9;
        state.fill(1, &"2".into());
        assert_eq!(state.serving(None), 0);
        assert_eq!(
            state.serving(Some((1, 7))),
            0,
            "an instance from before the slot was filled"
        );
        assert_eq!(state.serving(Some((1, 9))), 1);
        assert!(state.has_lost(0, Some((1, 9))));
        assert!(!state.has_lost(1, Some((1, 9))));
        state.empty(0);
        assert_eq!(state.serving(None), 1);
        state.next_instance = 12;
        state.fill(0, &"3".into());
        state.home = 1;
        // The winner of before still serves, and the newcomer has not lost to it.
        assert_eq!(state.serving(Some((1, 9))), 1);
        assert!(!state.has_lost(0, Some((1, 9))));
        assert!(state.has_lost(1, Some((0, 12))));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_not_otherwise() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(State::load(place.path()).unwrap(), None);
        let mut state = state();
        state.fill(1, &Version::from("2"));
        state.store(place.path()).unwrap();
        assert_eq!(State::load(place.path()).unwrap(), Some(state.clone()));
        let file = place.path().join("state.json");
        let text = std::fs::read_to_string(&file).unwrap();
        for (wrong, says) in [
            (text[..text.len() / 2].to_owned(), "EOF"),
            (text.replace("\"fence\": 0", "\"fense\": 0"), "fense"),
            (text.replace("\"schema\": 1", "\"schema\": 2"), "`schema` is 2"),
            (text.replace("\"home\": 0", "\"home\": 4"), "`home` is 4"),
        ] {
            std::fs::write(&file, &wrong).unwrap();
            let told = State::load(place.path()).unwrap_err().to_string();
            assert!(told.contains(says) && told.contains("state.json"), "{told}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), wrong, "it was touched");
        }
    }

    #[test]
    fn a_committed_file_is_understood_or_ignored() {
        let place = tempfile::tempdir().unwrap();
        for (text, wanted) in [
            ("b 17 9\n", Some((1, 9))),
            ("a 1 2", Some((0, 2))),
            ("c 1 2", None),
            ("a 1", None),
            ("", None),
            ("a 1 x", None),
        ] {
            std::fs::write(place.path().join("committed"), text).unwrap();
            assert_eq!(committed(place.path()), wanted, "{text}");
        }
    }

    #[test]
    fn names_of_directories_cannot_leave_the_root_nor_collide() {
        let of = |name| directory_of(Path::new("/r"), name).display().to_string();
        assert_eq!(of("pod-1.a"), "/r/t/pod-1.a");
        assert_eq!(of(".."), "/r/t/%2E.");
        assert_eq!(of("a/b"), "/r/t/a%2Fb");
        assert_eq!(of("a%2Fb"), "/r/t/a%252Fb");
    }
}
