//! What the world's log is told, and how a world lives through it again.
use std::path::Path;

use unattended_upgrade::{EffectKey, IngressOrder, Version};

use crate::births::Scope;
use crate::fleet::{Act, Fleet};
use crate::healing::{Heal, OrderId};
use crate::log::{Entry, EntryKind, LogError, parse_key};

impl Fleet {
    pub(crate) fn entry(&self, number: u32, act: Act, key: Option<&EffectKey>) -> Entry {
        let text = |version: u8| Some(self.versions[usize::from(version)].to_string());
        let mut entry = Entry {
            key: key.map(ToString::to_string),
            ..Entry::new(self.now, self.population.name(number), EntryKind::Fence)
        };
        (entry.effect, entry.version) = match act {
            Act::Replace(version) => (EntryKind::Replace, text(version)),
            Act::ReplaceInPlace(version) => (EntryKind::ReplaceInPlace, text(version)),
            Act::Prefetch(version) => (EntryKind::Prefetch, text(version)),
            Act::Config(version) => (EntryKind::Config, text(version)),
            Act::Spawn(version) => (EntryKind::Spawn, text(version)),
            Act::Reset(version) => (EntryKind::Reset, text(version)),
            Act::Ingress(IngressOrder::Open) => (EntryKind::Open, None),
            Act::Ingress(IngressOrder::Close { reopen_by_ms }) => {
                entry.reopen_by_ms = Some(reopen_by_ms);
                (EntryKind::Close, None)
            }
            Act::Stop(instance) => {
                entry.instance = Some(instance);
                (EntryKind::Stop, None)
            }
            Act::HandOver(order, from, to) => {
                (entry.order, entry.from) = (Some(order), text(from));
                (EntryKind::HandOver, text(to))
            }
            Act::Fence(generation) => {
                entry.generation = Some(generation);
                (EntryKind::Fence, None)
            }
        };
        entry
    }

    pub(crate) fn write(&mut self, entry: &Entry) {
        if let (Some(log), None) = (&mut self.log, &self.log_failure)
            && let Err(e) = log.append(entry)
        {
            self.log_failure = Some(format!("the world's log cannot be written: {e}"));
        }
    }

    /// Hands over what the log keeps back.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        if let (Some(log), None) = (&mut self.log, &self.log_failure)
            && let Err(e) = log.flush()
        {
            self.log_failure = Some(format!("the world's log cannot be written: {e}"));
        }
        self.log_failure.clone().map_or(Ok(()), Err)
    }

    /// Lives through what the log tells.
    pub(crate) fn replay(&mut self, path: &Path, entries: Vec<Entry>) -> Result<(), LogError> {
        for entry in &entries {
            if let (EntryKind::Born, Some(version)) = (entry.effect, &entry.version)
                && let Some(number) = self.intern(&Version::from(version.as_str()))
            {
                self.told.insert(entry.target.clone(), number);
            }
        }
        for (i, entry) in entries.iter().enumerate() {
            self.settle(entry.t);
            self.replay_one(entry).map_err(|reason| LogError::Line {
                path: path.to_owned(),
                // After the header, and lines count from 1.
                line: i + 2,
                reason,
            })?;
        }
        self.told.clear();
        Ok(())
    }

    fn replay_one(&mut self, entry: &Entry) -> Result<(), String> {
        if matches!(entry.effect, EntryKind::Born | EntryKind::Died) {
            return Ok(());
        }
        if entry.effect == EntryKind::Desired {
            return self.replay_births(entry);
        }
        let number = self
            .population
            .find(&entry.target)
            .ok_or("no such target lives at that time")?;
        if let Some(act) = heal_of(entry)? {
            let (act, order) = act;
            return self.heal(number, order, act);
        }
        let numbered = |fleet: &mut Self, text: Option<&str>| -> Result<u8, String> {
            let text = text.ok_or("it has no version")?;
            fleet
                .intern(&Version::from(text))
                .ok_or_else(|| "there are too many versions".to_owned())
        };
        let version = |fleet: &mut Self| numbered(fleet, entry.version.as_deref());
        let act = match entry.effect {
            EntryKind::Replace => Act::Replace(version(self)?),
            EntryKind::ReplaceInPlace => Act::ReplaceInPlace(version(self)?),
            EntryKind::Prefetch => Act::Prefetch(version(self)?),
            EntryKind::Config => Act::Config(version(self)?),
            EntryKind::Spawn => Act::Spawn(version(self)?),
            EntryKind::Reset => Act::Reset(version(self)?),
            EntryKind::Stop => Act::Stop(entry.instance.ok_or("it has no instance")?),
            EntryKind::HandOver => {
                let order = entry.order.ok_or("it has no order")?;
                Act::HandOver(order, numbered(self, entry.from.as_deref())?, version(self)?)
            }
            EntryKind::Open => Act::Ingress(IngressOrder::Open),
            EntryKind::Close => Act::Ingress(IngressOrder::Close {
                reopen_by_ms: entry.reopen_by_ms.ok_or("it has no reopen_by_ms")?,
            }),
            EntryKind::Fence => Act::Fence(entry.generation.ok_or("it has no generation")?),
            EntryKind::Desired
            | EntryKind::Isolate
            | EntryKind::Readmit
            | EntryKind::Restart
            | EntryKind::Renew
            | EntryKind::Born
            | EntryKind::Died => return Ok(()),
        };
        let key = key_of(entry)?;
        if let (Some(key), Some(last)) = (key, self.last_key(number))
            && (key == last || key.is_older_than(&last))
        {
            return Err("its key, or a later one, was applied before".to_owned());
        }
        self.apply(number, act, key.as_ref())
    }

    fn replay_births(&mut self, entry: &Entry) -> Result<(), String> {
        let scope = Scope::parse(&entry.target).ok_or("its scope is not *, app=NAME or KEY=VALUE")?;
        let version = entry.version.as_deref().ok_or("it has no version")?;
        let version = self
            .intern(&Version::from(version))
            .ok_or("there are too many versions")?;
        let key = key_of(entry)?.ok_or("it has no key")?;
        if let Some(last) = self.word_on(&scope).map(|word| word.key)
            && (key == last || key.is_older_than(&last))
        {
            return Err("its key, or a later one, was applied before".to_owned());
        }
        self.order_births(&entry.target, scope, version, key)
    }
}

/// The order to heal that an entry tells of, if it does.
fn heal_of(entry: &Entry) -> Result<Option<(Heal, OrderId)>, String> {
    let heal = match entry.effect {
        EntryKind::Isolate => Heal::Isolate {
            lease_ms: entry.lease_ms.ok_or("it has no lease_ms")?,
        },
        EntryKind::Readmit => Heal::Readmit,
        EntryKind::Restart => Heal::Restart,
        EntryKind::Renew => Heal::Renew,
        _ => return Ok(None),
    };
    let order = entry.heal.as_deref().and_then(OrderId::parse);
    Ok(Some((heal, order.ok_or("its order is not term/id")?)))
}

fn key_of(entry: &Entry) -> Result<Option<EffectKey>, String> {
    let Some(text) = &entry.key else { return Ok(None) };
    let key = parse_key(text).ok_or("its key is not attempt/generation/step/ordinal")?;
    Ok(Some(key))
}
