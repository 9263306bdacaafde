//! The engine: all packs, and the questions one can ask of them.

mod calendar;
mod charter;
mod decide;
mod open;
pub(crate) mod rules;
mod trial;

pub use open::{Closed, OpenTime, Queue, STARVED_MS, Waiting};
pub use trial::TestRun;

use std::path::Path;
use std::sync::Arc;

use crate::digest::Seal;
use crate::pack::{self, Decoded, PackErrors};
use crate::scope::Labels;
use crate::selector::{Index, Match};
use crate::time::DAY_MS;
use crate::window::{Bound, Room};

/// How far ahead the engine looks for a start, in milliseconds: 366 days.
pub const HORIZON_MS: i64 = 366 * DAY_MS;

/// The admission engine: an immutable set of packs. Cloning is cheap and shares them.
///
/// Every answer is a function of packs, question and `now`; nothing is remembered between two questions.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    decoded: Decoded,
    by_pack_scope: Index,
    by_window: Index,
    by_rule: Index,
    digest: String,
}

impl Guard {
    /// A guard without any rule: it allows whatever does not conflict, and each decision says that no pack speaks.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Decoded::default())
    }

    /// Reads one pack, or every `.yaml`, `.yml` and `.json` file of a directory (not of its subdirectories).
    ///
    /// # Errors
    /// All faults of all files, and nothing is loaded; also when there is no pack at all, or when the directory
    /// holds something that is neither a pack, a `.md` page nor hidden, since a misnamed pack must not vanish.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PackErrors> {
        Self::load_all([path])
    }

    /// As [`load`](Self::load), from several files and directories together.
    ///
    /// # Errors
    /// As there, over all of them.
    pub fn load_all<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PackErrors> {
        let mut packs = Vec::new();
        for path in paths {
            packs.extend(pack::read(path.as_ref())?);
        }
        Self::from_packs(packs)
    }

    /// Reads one pack from its text. `name` stands for the file in errors.
    ///
    /// # Errors
    /// All faults of the text.
    pub fn from_yaml(name: impl Into<String>, text: impl Into<String>) -> Result<Self, PackErrors> {
        Self::from_packs([(name.into(), text.into())])
    }

    /// Reads packs from pairs of file name and text. Their order does not matter.
    ///
    /// # Errors
    /// All faults of all texts, and nothing is loaded.
    pub fn from_packs<N: Into<String>, T: Into<String>>(
        packs: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PackErrors> {
        let sources = packs.into_iter().map(|(name, text)| (name.into(), text.into()));
        let guard = Self::of(pack::decode_all(sources)?);
        guard.check_least_open()?;
        Ok(guard)
    }

    fn of(decoded: Decoded) -> Self {
        let mut digest = Seal::new("packs/1");
        for pack in &decoded.packs {
            digest = digest.text(&pack.name).text(&pack.version);
        }
        if let Some(charter) = &decoded.charter {
            digest = digest.text("charter").text(&charter.version);
        }
        Self(Arc::new(Rules {
            by_pack_scope: Index::new(decoded.packs.iter().map(|pack| &pack.scope)),
            by_window: Index::new(decoded.windows.iter().map(|window| &window.selector)),
            by_rule: Index::new(decoded.rules.iter().map(|rule| &rule.selector)),
            digest: digest.hex(),
            decoded,
        }))
    }

    /// Whether it has no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.decoded.windows.is_empty() && self.0.decoded.rules.is_empty()
    }

    /// The digest of the packs in force, as it enters every decision.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The label keys that packs select on, sorted: what a scope should name.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.0
            .decoded
            .keys
            .iter()
            .map(|used| used.key.as_str())
            .filter(move |key| last.replace(*key) != Some(*key))
    }

    /// Refuses packs that select on a label no target of the fleet has: such a window would never be known to
    /// apply. `app` is always known.
    ///
    /// # Errors
    /// One error for each file and unknown key, where it is first used, with the nearest known key.
    pub fn check_keys<K: AsRef<str>>(&self, known: &[K]) -> Result<(), PackErrors> {
        pack::check_keys(&self.0.decoded.keys, known)
    }

    fn bounds(&self, labels: &Labels<'_>, room: Room) -> Vec<Bound<'_>> {
        let candidates = self.0.by_window.candidates(labels);
        Bound::collect(candidates.iter().map(|id| &self.0.decoded.windows[*id]), labels, room)
    }

    fn speaking(&self, labels: &Labels<'_>) -> usize {
        self.0
            .by_pack_scope
            .candidates(labels)
            .iter()
            .filter(|id| self.0.decoded.packs[**id].scope.matches(labels) != Match::No)
            .count()
    }
}

const RANGE_RULE: &str = "time.range";
const RANGE_REASON: &str = "no calendar is trusted outside 1970 to 2199";
