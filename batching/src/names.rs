//! Interned text: one string, offsets, and a table of fixed-seed hashes for look-ups.

use serde::{Deserialize, Serialize};

use crate::hash::position;
use crate::index::{NONE, narrow};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    text: String,
    ends: Vec<u32>,
    /// Open addressing, a power of two long, at most half full; `NONE` is an empty place.
    table: Vec<u32>,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        narrow(self.ends.len())
    }

    pub(crate) fn name(&self, index: u32) -> &str {
        let at = index as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    pub(crate) fn bytes_of(&self, index: u32) -> &[u8] {
        let at = index as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text.as_bytes()[start..self.ends[at] as usize]
    }

    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let found = self.table[self.place(name)];
        (found != NONE).then_some(found)
    }

    /// The index of a name, and whether it is new. `None` when the text would pass 4 GiB.
    pub(crate) fn insert(&mut self, name: &str) -> Option<(u32, bool)> {
        if (self.ends.len() + 1) * 2 > self.table.len() {
            self.grow();
        }
        let place = self.place(name);
        if self.table[place] != NONE {
            return Some((self.table[place], false));
        }
        let end = u32::try_from(self.text.len() + name.len())
            .ok()
            .filter(|&end| end != NONE)?;
        let index = u32::try_from(self.ends.len()).ok().filter(|&index| index != NONE)?;
        self.text.push_str(name);
        self.ends.push(end);
        self.table[place] = index;
        Some((index, true))
    }

    /// Bytes on the heap, as far as they are used.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + (self.ends.len() + self.table.len()) * 4
    }

    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// The place of a name, or the empty place where it belongs. The table is never full, so this ends.
    fn place(&self, name: &str) -> usize {
        let mask = self.table.len() - 1;
        let mut place = usize::try_from(position(0, name) >> 32).unwrap_or(0) & mask;
        while self.table[place] != NONE && self.name(self.table[place]) != name {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        self.table = vec![NONE; (self.table.len() * 2).max(8)];
        for index in 0..self.len() {
            let place = self.place(self.name(index));
            self.table[place] = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_found_again() {
        let mut names = Names::default();
        for n in 0..1_000_u32 {
            assert_eq!(names.insert(&format!("n{n}")), Some((n, true)));
        }
        assert_eq!(names.insert("n7"), Some((7, false)));
        assert_eq!(names.get("n999"), Some(999));
        assert_eq!(names.get("n1000"), None);
        assert_eq!(names.get(""), None);
        assert_eq!(names.name(0), "n0");
        assert_eq!(names.name(999), "n999");
    }
}
