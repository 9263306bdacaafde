//! Who is born when somebody dies, and what it runs.
use std::fmt;

use unattended_upgrade::{EffectKey, FleetChange, TargetId, Version};

use crate::Newborn;
use crate::fleet::{Fleet, Start};
use crate::log::{Entry, EntryKind};
use crate::population::{LastKey, NEVER, OLD, at};

type BirthHook = Box<dyn Fn(&Newborn) -> Version + Send + Sync>;

/// Says what a newborn runs.
#[derive(Default)]
pub(crate) struct Hook(Option<BirthHook>);

impl Hook {
    pub(crate) fn set(&mut self, hook: BirthHook) {
        self.0 = Some(hook);
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hook(set)" } else { "Hook(none)" })
    }
}

/// Which newborns a word of a controller is about: `*` all, `app=NAME` those of an application, `KEY=VALUE` those with a
/// label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    App(String),
    Label(String, String),
}

impl Scope {
    /// `None` if it is not in this world's notation.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        match text.split_once('=')? {
            ("", _) | (_, "") => None,
            ("app", name) => Some(Self::App(name.to_owned())),
            (key, value) => Some(Self::Label(key.to_owned(), value.to_owned())),
        }
    }

    fn holds(&self, newborn: &Newborn) -> bool {
        match self {
            Self::All => true,
            Self::App(name) => *name == *newborn.app,
            Self::Label(key, value) => newborn.labels.iter().any(|(k, v)| **k == **key && **v == **value),
        }
    }
}

/// What newborns of a scope are to run; the latest word on a newborn counts.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) scope: Scope,
    pub(crate) version: u8,
    /// The last that was applied to the scope.
    pub(crate) key: EffectKey,
}

impl Fleet {
    /// The last word on a scope.
    pub(crate) fn word_on(&self, scope: &Scope) -> Option<&Word> {
        self.words.iter().find(|word| word.scope == *scope)
    }

    /// Takes a word on a scope; the log has it first.
    pub(crate) fn order_births(&mut self, text: &str, scope: Scope, version: u8, key: EffectKey) -> Result<(), String> {
        self.write(&Entry {
            version: Some(self.versions[usize::from(version)].to_string()),
            key: Some(key.to_string()),
            ..Entry::new(self.now, text, EntryKind::Desired)
        });
        if let Some(reason) = &self.log_failure {
            return Err(reason.clone());
        }
        self.words.retain(|word| word.scope != scope);
        self.words.push(Word { scope, version, key });
        Ok(())
    }

    /// The occupant dies and another is born in its place.
    pub(crate) fn bear(&mut self, number: u32) {
        let dead = self.population.name(number).to_owned();
        let slot = &mut self.population.slots[at(number)];
        self.strata.leave(number, slot);
        self.strata.part(slot);
        slot.open = true;
        slot.ingress_at = self.now;
        slot.reopen_at = NEVER;
        slot.prefetched = OLD;
        slot.prefetched_at = 0;
        slot.generation = 0;
        slot.last_key = LastKey::default();
        slot.config = OLD;
        slot.marked = false;
        self.twins.remove(&number);
        self.healing.forget(number);
        let name = self.population.rename(number);
        let kind = self.population.kind_of(&self.population.slots[at(number)]);
        let newborn = Newborn {
            target: TargetId::new(std::sync::Arc::clone(&name)),
            app: std::sync::Arc::clone(&kind.app),
            labels: kind.labels.clone(),
            at_ms: self.now,
        };
        let version = match self.told.get(&*name) {
            Some(version) => *version,
            None => {
                let wanted = self.hook.0.as_ref().map(|hook| hook(&newborn));
                let ordered = || self.words.iter().rev().find(|word| word.scope.holds(&newborn));
                match wanted {
                    Some(version) => self.intern(&version).unwrap_or(OLD),
                    None => ordered().map_or(OLD, |word| word.version),
                }
            }
        };
        let entry = |effect, target: &str, version| Entry {
            version,
            ..Entry::new(newborn.at_ms, target, effect)
        };
        self.write(&entry(EntryKind::Died, &dead, None));
        let text = self.versions[usize::from(version)].to_string();
        self.write(&entry(EntryKind::Born, &name, Some(text)));
        self.news.push(FleetChange::Left {
            target: TargetId::new(dead),
        });
        self.news.push(FleetChange::Joined {
            target: newborn.target,
            app: newborn.app,
            labels: newborn.labels,
            version: self.versions[usize::from(version)].clone(),
        });
        self.start(number, version, Start::Birth);
    }
}
