//! From names to places.

use crate::draw::hash_text;
use crate::population::{Slot, at, name_of};

const EMPTY: u64 = u64::MAX;
const REMOVED: u64 = u64::MAX - 1;

/// From a name to its place: open addressing with the upper half of the hash beside the place, so that a miss costs
/// one cache line.
#[derive(Debug)]
pub(crate) struct Index {
    cells: Vec<u64>,
    used: usize,
}

impl Index {
    pub(crate) fn for_entries(entries: usize) -> Self {
        Self {
            cells: vec![EMPTY; (entries * 2).next_power_of_two().max(16)],
            used: 0,
        }
    }

    fn start(&self, hash: u64) -> usize {
        usize::try_from(hash & (self.cells.len() as u64 - 1)).unwrap_or(0)
    }

    fn cell(hash: u64, slot: u32) -> u64 {
        (hash & 0xffff_ffff_0000_0000) | u64::from(slot)
    }

    fn slot(cell: u64) -> u32 {
        u32::try_from(cell & 0xffff_ffff).unwrap_or(0)
    }

    /// The first place whose half of the hash is the same; nearly always the right one. None where the name is unknown.
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        let mut i = self.start(hash);
        loop {
            let cell = self.cells[i];
            if cell == EMPTY {
                return None;
            }
            if cell != REMOVED && (cell ^ hash) >> 32 == 0 {
                return Some(Self::slot(cell));
            }
            i = (i + 1) & (self.cells.len() - 1);
        }
    }

    fn position(&self, name: &str, slots: &[Slot], names: &str) -> Option<usize> {
        let hash = hash_text(name);
        let mut i = self.start(hash);
        loop {
            let cell = self.cells[i];
            if cell == EMPTY {
                return None;
            }
            if cell != REMOVED && (cell ^ hash) >> 32 == 0 && name_of(&slots[at(Self::slot(cell))], names) == name {
                return Some(i);
            }
            i = (i + 1) & (self.cells.len() - 1);
        }
    }

    pub(crate) fn find(&self, name: &str, slots: &[Slot], names: &str) -> Option<u32> {
        self.position(name, slots, names).map(|i| Self::slot(self.cells[i]))
    }

    /// False where the name is taken.
    pub(crate) fn insert(&mut self, name: &str, slot: u32, slots: &[Slot], names: &str) -> bool {
        if self.position(name, slots, names).is_some() {
            return false;
        }
        if (self.used + 1) * 4 > self.cells.len() * 3 {
            self.rebuild(slots, names);
        }
        self.place(hash_text(name), slot);
        true
    }

    fn place(&mut self, hash: u64, slot: u32) {
        let mut i = self.start(hash);
        while self.cells[i] != EMPTY {
            i = (i + 1) & (self.cells.len() - 1);
        }
        self.cells[i] = Self::cell(hash, slot);
        self.used += 1;
    }

    pub(crate) fn remove(&mut self, name: &str, slots: &[Slot], names: &str) {
        if let Some(i) = self.position(name, slots, names) {
            self.cells[i] = REMOVED;
        }
    }

    /// Throws the removed cells out, and grows where it is full without them.
    fn rebuild(&mut self, slots: &[Slot], names: &str) {
        let live: Vec<u32> = self
            .cells
            .iter()
            .filter(|c| **c < REMOVED)
            .map(|c| Self::slot(*c))
            .collect();
        let size = (live.len() * 2 + 2).next_power_of_two().max(self.cells.len());
        self.cells.clear();
        self.cells.resize(size, EMPTY);
        self.used = 0;
        for slot in live {
            self.place(hash_text(name_of(&slots[at(slot)], names)), slot);
        }
    }
}
