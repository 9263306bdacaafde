//! The engine: all packs, and the questions one can ask of them.

mod calendar;
mod charter;
mod decide;
mod open;
pub(crate) mod rules;
mod trial;

pub use open::{Closed, OpenTime, Queue, STARVED_MS, Waiting};
pub use trial::TestRun;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::digest::Seal;
use crate::index::{Index, Known, Vocabulary};
use crate::pack::{self, Decoded, PackError, PackErrors};
use crate::scope::{Labels, Scope};
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
    vocabulary: Vocabulary,
    by_pack_scope: Index,
    by_window: Index,
    by_rule: Index,
    digest: String,
    /// Names and texts.
    sources: Vec<(String, String)>,
    /// The beginning of the digest of every question.
    asked: Seal,
}

impl Guard {
    /// A guard without any rule: it allows whatever does not conflict, and each decision says that no pack speaks.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Decoded::default(), Vec::new())
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
    /// All faults of all texts, and nothing is loaded; also when there is no pack among them.
    pub fn from_packs<N: Into<String>, T: Into<String>>(
        packs: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PackErrors> {
        let sources: Vec<(String, String)> = packs
            .into_iter()
            .map(|(name, text)| (name.into(), text.into()))
            .collect();
        let decoded = pack::decode_all(sources.iter().cloned())?;
        if decoded.packs.is_empty() {
            return Err(pack::none(
                decoded.charter.map_or_else(String::new, |charter| charter.file.clone()),
            ));
        }
        let guard = Self::of(decoded, sources);
        guard.check_least_open()?;
        Ok(guard)
    }

    fn of(decoded: Decoded, sources: Vec<(String, String)>) -> Self {
        let mut digest = Seal::new("packs/1");
        for pack in &decoded.packs {
            digest = digest.text(&pack.name).text(&pack.version);
        }
        if let Some(charter) = &decoded.charter {
            digest = digest.text("charter").text(&charter.version);
        }
        let digest = digest.hex();
        let scopes = || decoded.packs.iter().map(|pack| &pack.scope);
        let of_windows = || decoded.windows.iter().map(|window| &window.selector);
        let of_rules = || decoded.rules.iter().map(|rule| &rule.selector);
        let vocabulary = Vocabulary::of(scopes().chain(of_windows()).chain(of_rules()));
        Self(Arc::new(Rules {
            by_pack_scope: Index::new(&vocabulary, scopes()),
            by_window: Index::new(&vocabulary, of_windows()),
            by_rule: Index::new(&vocabulary, of_rules()),
            vocabulary,
            asked: Seal::new("decision/3").text(&digest),
            digest,
            decoded,
            sources,
        }))
    }

    /// Whether it has no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.decoded.windows.is_empty() && self.0.decoded.rules.is_empty()
    }

    /// The packs, charters and calendars it was made from, each with its name: [`from_packs`](Self::from_packs) makes the same guard of them,
    /// but for rules in code.
    #[must_use]
    pub fn packs(&self) -> &[(String, String)] {
        &self.0.sources
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

    /// Values that packs select by and no target of the fleet has, as the letter in `app: app_O`: such a pack protects nobody. `known` has the
    /// fleet's values by key, with `app` among them; keys that it does not name are the matter of [`check_keys`](Self::check_keys).
    ///
    /// It is for people to read, and refuses nothing: one pack may be for several fleets, or for who is yet to be born.
    ///
    /// ```
    /// # use std::collections::{BTreeMap, BTreeSet};
    /// # use unattended_defense::Guard;
    /// # let pack = "version: 1\npack: pay\nowner: pay\nscope: {app: app_O}\nfreezes: []\n";
    /// let guard = Guard::from_yaml("pay.yaml", pack)?;
    /// let known = BTreeMap::from([("app", BTreeSet::from(["app_0", "app_1"]))]);
    /// let found = guard.strange_values(&known);
    /// assert_eq!((found[0].line, found[0].fix.as_str()), (4, "did you mean `app_0`?"));
    /// # Ok::<(), unattended_defense::PackErrors>(())
    /// ```
    #[must_use]
    pub fn strange_values(&self, known: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<PackError> {
        pack::strangers(&self.0.decoded.keys, known)
    }

    /// A scope in the numbers of the indexes.
    fn known(&self, scope: &Scope) -> Known<'_> {
        self.0.vocabulary.look_up(&Labels::of(scope))
    }

    fn bounds<'g>(&'g self, known: &Known<'g>, room: Room) -> Vec<Bound<'g>> {
        let meeting = self.0.by_window.meeting(known);
        Bound::collect(
            meeting.map(|(id, matched)| (&self.0.decoded.windows[id], matched)),
            room,
        )
    }
}

const RANGE_RULE: &str = "time.range";
const RANGE_REASON: &str = "no calendar is trusted outside 1970 to 2199";
