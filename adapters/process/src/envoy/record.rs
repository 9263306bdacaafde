//! What is durable of a target of Envoys beside the adapter's own state: the way of new traffic, and what became of the
//! connections of a hand-over, which no Envoy tells.
use std::path::Path;

use serde::{Deserialize, Serialize};
use unattended_upgrade::Moves;

use crate::state::{Unwritten, replace_file};

const FILE: &str = "envoy.json";

/// The file of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The highest generation that was heard of.
    pub(super) generation: u64,
    /// New traffic is not to come.
    pub(super) closed: bool,
    pub(super) handover: Option<Handover>,
}

/// One hand-over, from the moment at which the new instance is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handover {
    pub(super) old: u64,
    pub(super) new: u64,
    /// Connections that the old one had then.
    pub(super) had: u32,
    /// Connections that it had when it was looked at last.
    pub(super) left: u32,
    /// It was ended by the adapter, and `left` were cut by that.
    pub(super) ended: bool,
}

impl Record {
    /// A file that cannot be read says nothing; what it would have said is ordered again.
    pub(super) fn load(directory: &Path) -> Self {
        let text = std::fs::read(directory.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn store(&self, directory: &Path) -> Result<(), String> {
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        replace_file(directory, FILE, &text).map_err(|(Unwritten::Not(error) | Unwritten::Unsure(error))| {
            format!("{}: {error}", directory.join(FILE).display())
        })
    }
}

impl Handover {
    /// As an Envoy moves no connection, each one ends by itself, or is cut when its owner is ended, or lost when that died.
    pub(super) const fn moves(&self, old_lives: bool) -> Moves {
        let declined = self.had.saturating_sub(self.left);
        let (cut, lost) = match (self.ended, old_lives) {
            (true, _) => (self.left, 0),
            (false, true) => (0, 0),
            (false, false) => (0, self.left),
        };
        Moves {
            moved: 0,
            declined,
            cut,
            lost,
            bytes: 0,
            pauses: unattended_upgrade::Pauses {
                p50_us: 0,
                p99_us: 0,
                max_us: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Handover, Record};

    #[test]
    fn each_connection_is_counted_once_and_none_as_moved() {
        let handover = Handover {
            old: 1,
            new: 2,
            had: 10,
            left: 4,
            ended: false,
        };
        let told = |handover: Handover, lives| {
            let moves = handover.moves(lives);
            (moves.moved, moves.declined, moves.cut, moves.lost)
        };
        assert_eq!(told(handover, true), (0, 6, 0, 0));
        assert_eq!(
            told(
                Handover {
                    ended: true,
                    ..handover
                },
                true
            ),
            (0, 6, 4, 0)
        );
        assert_eq!(
            told(
                Handover {
                    ended: true,
                    ..handover
                },
                false
            ),
            (0, 6, 4, 0)
        );
        assert_eq!(told(handover, false), (0, 6, 0, 4));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_a_broken_one_says_nothing() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(place.path()), Record::default());
        let record = Record {
            generation: 4,
            closed: true,
            handover: None,
        };
        record.store(place.path()).unwrap();
        assert_eq!(Record::load(place.path()), record);
        std::fs::write(place.path().join("envoy.json"), b"{\"generation\": ").unwrap();
        assert_eq!(Record::load(place.path()), Record::default());
    }
}
