//! What targets run that are born from now on: the last word on each scope, in one file.
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use unattended_upgrade::{EffectKey, EffectOutcome, Version};

use crate::state::{Unwritten, replace_file};
use crate::{OpenError, Target};

const FILE: &str = "births.json";

/// The words, by scope: `all`, `app=NAME`, or a label as `KEY=VALUE`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Births(BTreeMap<String, Word>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    version: Version,
    key: EffectKey,
}

impl Births {
    pub(crate) fn load(root: &Path) -> Result<Self, OpenError> {
        let file = root.join(FILE);
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let directory = root.to_owned();
                return Err(OpenError::Directory { directory, error });
            }
        };
        serde_json::from_slice(&text).map_err(|error| OpenError::State {
            file,
            problem: error.to_string(),
        })
    }

    /// Takes a word in, durably. Blocks until it is on disk.
    pub(crate) fn say(&mut self, root: &Path, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let named = scope
            .split_once('=')
            .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
        if scope != "all" && !named {
            let reason = format!("`{scope}` is no scope: write `all`, `app=NAME`, or a label as `KEY=VALUE`").into();
            return EffectOutcome::Failed { reason };
        }
        if let Some(last) = self.0.get(scope) {
            if last.key == *key {
                return EffectOutcome::AlreadyApplied;
            }
            if key.is_older_than(&last.key) {
                return EffectOutcome::Stale;
            }
        }
        let mut new = self.clone();
        let word = Word {
            version: version.clone(),
            key: *key,
        };
        new.0.insert(scope.to_owned(), word);
        let text = match serde_json::to_vec_pretty(&new) {
            Ok(text) => text,
            Err(error) => {
                return EffectOutcome::Failed {
                    reason: error.to_string().into(),
                };
            }
        };
        match replace_file(root, FILE, &text) {
            Ok(()) => {
                *self = new;
                EffectOutcome::Applied
            }
            Err(Unwritten::Not(_)) => EffectOutcome::Retry { after_ms: 1_000 },
            Err(Unwritten::Unsure(error)) => {
                *self = new;
                EffectOutcome::Unknown {
                    reason: error.to_string().into(),
                }
            }
        }
    }

    /// What a newborn runs: by its labels in their order, then by its application, then as all do; its own version
    /// where nobody has said anything.
    pub(crate) fn version_of(&self, target: &Target) -> Version {
        let labels = target.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let scopes = labels.chain([format!("app={}", target.app), "all".to_owned()]);
        let word = scopes.into_iter().find_map(|scope| self.0.get(&scope));
        word.map_or_else(|| target.version.clone(), |word| word.version.clone())
    }
}
