//! Window packs: from files to rules, or to every fault in them.

mod de;
mod decode;
mod error;
mod fields;
mod rules;
mod scalar;
mod select;
mod windows;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) use de::Misfit;
pub use error::{PackError, PackErrors};
pub(crate) use yaml::Node;

use crate::rule::Entry;
use crate::scope::APP;
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::window::Window;

/// One file of rules, without them.
#[derive(Debug, Clone)]
pub(crate) struct Pack {
    pub(crate) name: String,
    /// The digest of the file's text: which version of the rules spoke.
    pub(crate) version: String,
    pub(crate) scope: Selector,
}

/// The first use of a label key in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyUse {
    pub(crate) key: String,
    file: String,
    line: u64,
    column: u64,
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
                    if matches!(extension, "yaml" | "yml") && entry.is_file() {
                        files.push(entry);
                    } else {
                        fault(
                            &entry,
                            "neither a pack (.yaml, .yml) nor a page (.md) nor hidden".to_owned(),
                            "rename it to .yaml, or move it out of the directory of packs",
                        );
                    }
                }
                if files.is_empty() {
                    fault(
                        path,
                        "no pack in this directory, and no rules are not permission".to_owned(),
                        "add a .yaml file, or say Guard::empty() where no rules are wanted",
                    );
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
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        match std::fs::read_to_string(&file) {
            Ok(text) => texts.push((file.display().to_string(), text)),
            Err(error) => fault(
                &file,
                format!("cannot read the pack: {error}"),
                "check path, permissions and encoding (UTF-8)",
            ),
        }
    }
    PackErrors::check(errors)?;
    Ok(texts)
}

/// Every pack that was read.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Sorted by name.
    pub(crate) packs: Vec<Pack>,
    /// Ascending by pack, within a pack by id.
    pub(crate) windows: Vec<Window>,
    /// Ascending by pack, within a pack by id.
    pub(crate) rules: Vec<Entry>,
    /// The label keys that packs use, sorted.
    pub(crate) keys: Vec<KeyUse>,
}

/// Decodes all texts; one fault anywhere and nothing is decoded.
pub(crate) fn decode_all(sources: impl Iterator<Item = (String, String)>) -> Result<Decoded, PackErrors> {
    let mut errors = Vec::new();
    let mut keys = Vec::new();
    let mut by_name: BTreeMap<String, decode::File> = BTreeMap::new();
    for (name, text) in sources {
        let Some(file) = decode::file(&name, &text, &mut errors, &mut keys) else {
            continue;
        };
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
    PackErrors::check(errors)?;
    keys.sort();
    keys.dedup_by(|later, first| later.key == first.key && later.file == first.file);
    let mut decoded = Decoded {
        keys,
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
