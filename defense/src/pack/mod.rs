//! Window packs: from files to rules, or to every fault in them.

mod calendar;
mod charter;
mod de;
mod decode;
mod error;
mod fields;
mod plain;
mod rules;
mod scalar;
mod schedule;
mod select;
mod tiers;
mod trial;
mod windows;
mod yaml;
mod yearly;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use charter::{Charter, TIER};
pub(crate) use de::Misfit;
pub use error::{PackError, PackErrors};
pub(crate) use plain::{plain, text_of};
pub(crate) use scalar::length;
pub(crate) use trial::Test;
pub(crate) use yaml::{At, Node, Value};

use crate::rule::Entry;
use crate::scope::APP;
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::window::Window;
use crate::zone::Zones;

/// One file of rules, without them.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pub(crate) name: String,
    /// The digest of the file's text: which version of the rules spoke.
    pub(crate) version: String,
    pub(crate) scope: Selector,
    pub(crate) file: String,
    /// The open time it asks for in 14 days.
    pub(crate) least_open: Option<LeastOpen>,
}

/// How much time must be left open, and where a pack says so.
#[derive(Debug, Clone)]
pub(crate) struct LeastOpen {
    pub(crate) ms: i64,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// What files may refer to, and what they share.
#[derive(Debug, Default)]
pub(crate) struct Library {
    zones: Zones,
    /// The texts of calendars by the path of their files.
    calendars: BTreeMap<String, Arc<str>>,
    charter: Option<Arc<Charter>>,
    /// The tiers that packs name.
    tiers: Vec<tiers::TierUse>,
}

/// The first use of a label key in a file, and all values that are selected under it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyUse {
    pub(crate) key: String,
    file: String,
    line: u64,
    column: u64,
    values: Vec<(String, At)>,
}

/// The texts of the packs at a path, with the names of their files.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, String)>, PackErrors> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    let mut fault = |path: &Path, what: String, fix: &str| {
        errors.push(PackError {
            file: path.display().to_string(),
            line: 0,
            column: 0,
            what,
            fix: fix.to_owned(),
        });
    };
    if path.is_dir() {
        let mut packs = false;
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match entries {
            Ok(entries) => {
                for entry in entries.into_iter().map(|entry| entry.path()) {
                    let extension = entry.extension().and_then(|e| e.to_str()).unwrap_or("");
                    let hidden = entry
                        .file_name()
                        .is_some_and(|name| name.to_string_lossy().starts_with('.'));
                    if hidden || extension == "md" {
                        continue;
                    }
                    if matches!(extension, "yaml" | "yml" | "json") && entry.is_file() {
                        packs = true;
                        files.push(entry);
                    } else if extension == "ics" && entry.is_file() {
                        files.push(entry);
                    } else {
                        fault(
                            &entry,
                            "neither a pack (.yaml, .yml, .json) nor a calendar (.ics) nor a page (.md) nor hidden"
                                .to_owned(),
                            "rename it to .yaml, or move it out of the directory of packs",
                        );
                    }
                }
                if !packs {
                    fault(path, NONE.to_owned(), ADD);
                }
            }
            Err(error) => fault(
                path,
                format!("cannot list the directory: {error}"),
                "check path and permissions",
            ),
        }
    } else {
        files.push(path.to_owned());
        files.extend(calendars_beside(path));
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let is_calendar = file.extension().is_some_and(|extension| extension == "ics");
        let bytes = std::fs::read(&file).map(|bytes| {
            if is_calendar {
                calendar::fold_between(&bytes)
            } else {
                bytes
            }
        });
        match bytes.and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other)) {
            Ok(text) => texts.push((file.display().to_string(), text)),
            Err(error) => fault(
                &file,
                format!(
                    "cannot read the {}: {error}",
                    if is_calendar { "calendar" } else { "pack" }
                ),
                "check path, permissions and encoding (UTF-8)",
            ),
        }
    }
    PackErrors::check(errors)?;
    Ok(texts)
}

const NONE: &str = "there is no pack here, and no rules are not permission";
const ADD: &str =
    "add a pack (.yaml); where no rules are wanted, name no place of packs (in a program, `Guard::empty()`)";

/// There is no pack where some were looked for.
pub(crate) fn none(file: String) -> PackErrors {
    PackErrors::one(PackError {
        file,
        line: 0,
        column: 0,
        what: NONE.to_owned(),
        fix: ADD.to_owned(),
    })
}

/// The calendars in the directory of a pack, which it may name. If they cannot be listed the pack says what it lacks.
fn calendars_beside(pack: &Path) -> Vec<PathBuf> {
    let parent = pack.parent().unwrap_or_else(|| Path::new(""));
    let listed = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let Ok(entries) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(parent.join(entry.ok()?.file_name())))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ics"))
        .collect()
}

/// Every pack that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decoded {
    /// Sorted by name.
    pub(crate) packs: Vec<Pack>,
    /// Ascending by pack, within a pack by id.
    pub(crate) windows: Vec<Window>,
    /// Ascending by pack, within a pack by id.
    pub(crate) rules: Vec<Entry>,
    /// The label keys that packs use, sorted.
    pub(crate) keys: Vec<KeyUse>,
    /// Ascending by pack, within a pack as written.
    pub(crate) tests: Vec<Test>,
    pub(crate) charter: Option<Arc<Charter>>,
}

/// Decodes all texts; one fault anywhere and nothing is decoded.
pub(crate) fn decode_all(sources: impl Iterator<Item = (String, String)>) -> Result<Decoded, PackErrors> {
    let mut errors = Vec::new();
    let mut keys = Vec::new();
    let mut by_name: BTreeMap<String, decode::File> = BTreeMap::new();
    let mut library = Library::default();
    let (calendars, files): (Vec<_>, Vec<_>) = sources.partition(|(name, _)| name.ends_with(".ics"));
    for (name, text) in calendars {
        library.calendars.insert(name, text.into());
    }
    let mut roots = Vec::new();
    for (name, text) in files {
        match yaml::parse(&name, &text) {
            Ok(root) => roots.push((name, text, root)),
            Err(error) => errors.push(error),
        }
    }
    let (charters, roots): (Vec<_>, Vec<_>) = roots.into_iter().partition(|(.., root)| charter::is_one(root));
    let mut charter: Option<Arc<Charter>> = None;
    for (name, text, root) in charters {
        let read = decode::charter(&name, &text, &root, &mut library, &mut errors, &mut keys);
        match (read, &charter) {
            (Some(second), Some(first)) => errors.push(PackError {
                file: name,
                line: second.at.line,
                column: second.at.column,
                what: format!("there is a charter already, in {}", first.file),
                fix: "one house has one charter: merge the two files".to_owned(),
            }),
            (read, _) => charter = charter.or_else(|| read.map(Arc::new)),
        }
    }
    library.charter.clone_from(&charter);
    // What the charter itself selects was read before it said which label has the tiers.
    library.tiers.clear();
    for (name, text, root) in roots {
        let Some(file) = decode::file(&name, &text, &root, &mut library, &mut errors, &mut keys) else {
            continue;
        };
        if let Some(charter) = &charter
            && let Some((what, fix)) = charter.refusal(&file.pack, &file.owner)
        {
            errors.push(PackError {
                file: name,
                line: file.scope_at.line,
                column: file.scope_at.column,
                what,
                fix,
            });
            continue;
        }
        if let Some(first) = by_name.get(&file.pack.name) {
            errors.push(PackError {
                file: name,
                line: file.at.line,
                column: file.at.column,
                what: format!("the pack `{}` exists already, in {}", file.pack.name, first.file),
                fix: "give each pack a name of its own, or merge the two files".to_owned(),
            });
            continue;
        }
        by_name.insert(file.pack.name.clone(), file);
    }
    errors.extend(tiers::faults(&library.tiers, charter.as_deref()));
    PackErrors::check(errors)?;
    keys.sort();
    keys.dedup_by(|later, first| {
        let same = later.key == first.key && later.file == first.file;
        if same {
            first.values.append(&mut later.values);
        }
        same
    });
    let mut decoded = Decoded {
        keys,
        charter,
        ..Decoded::default()
    };
    for (pack, file) in by_name.into_values().enumerate() {
        decoded.packs.push(file.pack);
        decoded
            .windows
            .extend(file.windows.into_iter().map(|window| Window { pack, ..window }));
        decoded
            .rules
            .extend(file.rules.into_iter().map(|rule| Entry { pack, ..rule }));
        decoded
            .tests
            .extend(file.tests.into_iter().map(|test| Test { pack, ..test }));
    }
    Ok(decoded)
}

/// One error for each use of a key that is not known.
pub(crate) fn check_keys<K: AsRef<str>>(uses: &[KeyUse], known: &[K]) -> Result<(), PackErrors> {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let unknown = |used: &&KeyUse| used.key != APP && !known.contains(&used.key.as_str());
    PackErrors::check(
        uses.iter()
            .filter(unknown)
            .map(|used| PackError {
                file: used.file.clone(),
                line: used.line,
                column: used.column,
                what: format!("selects on the label `{}`, which no target of the fleet has", used.key),
                fix: nearest(&used.key, known.iter().copied()).map_or_else(
                    || format!("use one of the fleet's labels: {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                ),
            })
            .collect(),
    )
}

/// One remark for each file and value that a pack selects and nobody has, where it is first selected. Keys that are not known have none.
pub(crate) fn strangers(uses: &[KeyUse], known: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<PackError> {
    let mut found = Vec::new();
    for used in uses {
        let Some(there) = known.get(used.key.as_str()) else {
            continue;
        };
        let mut said = BTreeSet::new();
        for (value, at) in &used.values {
            if there.contains(value.as_str()) || !said.insert(value) {
                continue;
            }
            found.push(PackError {
                file: used.file.clone(),
                line: at.line,
                column: at.column,
                what: format!("selects `{}: {value}`, which no target of the fleet has", used.key),
                fix: nearest(value, there.iter().copied()).map_or_else(
                    || {
                        "see whether it is spelled as the fleet spells it; until somebody has it, this selects nobody"
                            .to_owned()
                    },
                    |near| format!("did you mean `{near}`?"),
                ),
            });
        }
    }
    found.sort();
    found
}
