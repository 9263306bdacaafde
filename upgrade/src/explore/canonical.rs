//! States that differ only in what has no meaning are one.
use super::state::{Faults, State};
use super::world::Key;
use crate::Effect;
use crate::machine::Remembered;

impl State {
    /// The same for states that differ only in names: of instances, and of keys whose order is the same.
    pub(super) fn canonical(mut self) -> Self {
        if self.ended.is_some() {
            // Nobody reads on in its journal, and nobody is there to be disturbed.
            self.journal.remembered = Remembered::nothing(false);
            self.left.controller = 0;
            self.left.network = 0;
            self.left.in_all = 0;
        }
        if self.left.in_all == 0 {
            let Faults {
                old, new, late_back, ..
            } = self.left;
            self.left = Faults {
                old,
                new,
                late_back,
                ..Faults::default()
            };
        }
        let went_back = self.journal.remembered.went_back.is_some()
            || self
                .machine
                .as_ref()
                .is_some_and(|machine| machine.went_back().is_some());
        if went_back || self.ended.is_some() {
            self.left.abort = 0;
        }
        if self.sending.is_none() {
            self.journal.intended = None;
        }
        if self.world.gone {
            // Nothing that was there is any more, and nothing that comes does anything.
            self.world.vanish();
            self.mail.clear();
        }
        let mut names = Vec::new();
        for (at, slot) in self.world.slots.iter_mut().enumerate() {
            if let Some(instance) = &mut slot.instance {
                let name = u8::try_from(at).unwrap_or(0) + 1;
                names.push((*instance, name));
                *instance = name;
            }
        }
        // One that is no more is like any other that is no more.
        let name = |old: u64| {
            let known = names.iter().find(|(instance, _)| u64::from(*instance) == old);
            known.map_or(9, |(_, name)| u64::from(*name))
        };
        let rename = |effect: &mut Effect| match effect {
            Effect::Stop(instance) => instance.0 = name(instance.0),
            Effect::Close { reopen_by_ms } => *reopen_by_ms = 0,
            _ => {}
        };
        for (effect, _) in self.sending.iter_mut().chain(&mut self.mail) {
            rename(effect);
        }
        let generation = self.journal.generation;
        let mut ordinals: Vec<Key> = self.mail.iter().chain(&self.sending).map(|(_, key)| *key).collect();
        ordinals.extend(self.world.last.map(|(key, _)| key));
        ordinals.extend(self.journal.intended);
        if let Some(machine) = &self.machine {
            ordinals.push(Key {
                generation,
                ordinal: machine.ordinal(),
            });
        }
        ordinals.sort_unstable();
        ordinals.dedup();
        let place = |key: Key| {
            let lower = ordinals
                .iter()
                .filter(|other| other.generation == key.generation && **other < key);
            Key {
                ordinal: u8::try_from(lower.count()).unwrap_or(u8::MAX),
                ..key
            }
        };
        for (_, key) in self.sending.iter_mut().chain(&mut self.mail) {
            *key = place(*key);
        }
        self.world.last = self.world.last.map(|(key, done)| (place(key), done));
        self.journal.intended = self.journal.intended.map(place);
        if let Some(machine) = &mut self.machine {
            let key = place(Key {
                generation,
                ordinal: machine.ordinal(),
            });
            machine.rename(key.ordinal, name);
        }
        self.mail.sort_unstable_by_key(|(_, key)| *key);
        self
    }
}
