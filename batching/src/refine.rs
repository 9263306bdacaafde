//! Splitting things into groups, one column after the other.

use crate::hash::mix;
use crate::index::{NONE, narrow};

/// As many entries as a table of all pairs may have before pairs are looked up by hash: it stays in the caches.
const DENSE: u64 = 1 << 18;

/// Splits groups of items by one more column whose values are below `values` (or `NONE`). Groups before are numbered below `groups`;
/// the result is their number now. New groups are numbered in order of first sight.
pub(crate) fn refine(group_of: &mut [u32], groups: u32, values: u32, value_of: impl Fn(usize) -> u32) -> u32 {
    let width = u64::from(values) + 1;
    if u64::from(groups) * width <= DENSE {
        let mut number = vec![NONE; groups as usize * (values as usize + 1)];
        let mut next = 0;
        for (item, group) in group_of.iter_mut().enumerate() {
            // No value becomes the last column.
            let value = value_of(item).min(values);
            let place = &mut number[*group as usize * (values as usize + 1) + value as usize];
            if *place == NONE {
                *place = next;
                next += 1;
            }
            *group = *place;
        }
        return next;
    }
    let mut pairs = Pairs::default();
    // Fleets come sorted more often than not: the last answer saves most look-ups.
    let mut last = ((NONE, NONE), 0);
    for (item, group) in group_of.iter_mut().enumerate() {
        let pair = (*group, value_of(item));
        if pair != last.0 || item == 0 {
            last = (pair, pairs.number(pair));
        }
        *group = last.1;
    }
    narrow(pairs.pairs.len())
}

/// Numbers pairs in order of first sight; open addressing with a fixed hash.
#[derive(Default)]
struct Pairs {
    pairs: Vec<(u32, u32)>,
    table: Vec<u32>,
}

impl Pairs {
    fn number(&mut self, pair: (u32, u32)) -> u32 {
        if (self.pairs.len() + 1) * 2 > self.table.len() {
            self.table = vec![NONE; (self.table.len() * 2).max(64)];
            for at in 0..self.pairs.len() {
                let place = self.place(self.pairs[at]);
                self.table[place] = narrow(at);
            }
        }
        let place = self.place(pair);
        if self.table[place] == NONE {
            self.table[place] = narrow(self.pairs.len());
            self.pairs.push(pair);
        }
        self.table[place]
    }

    fn place(&self, pair: (u32, u32)) -> usize {
        let mask = self.table.len() - 1;
        let mut place = slot(mix((u64::from(pair.0) << 32) | u64::from(pair.1)), mask);
        while self.table[place] != NONE && self.pairs[self.table[place] as usize] != pair {
            place = (place + 1) & mask;
        }
        place
    }
}

pub(crate) fn slot(hash: u64, mask: usize) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) & mask
}

#[cfg(test)]
mod tests {
    use super::refine;
    use crate::index::NONE;

    /// Both ways give the same numbers.
    #[test]
    fn groups_are_numbered_by_first_sight() {
        let value = |item: usize| [3, NONE, 0, 3, 1][item % 5];
        for values in [4, 1 << 20] {
            let mut group_of: Vec<u32> = (0..30).map(|item| item % 2).collect();
            assert_eq!(refine(&mut group_of, 2, values, value), 8);
            assert_eq!(
                group_of[..10],
                [0, 1, 2, 3, 4, 3, 5, 6, 0, 7].map(|n| n),
                "{group_of:?}"
            );
        }
    }
}
