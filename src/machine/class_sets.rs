//! Which classes a stratum belongs to.

use std::collections::BTreeMap;
use std::ops::Index;

/// By stratum, its classes, ascending; always begins with 0.
///
/// Strata are many and the sets of classes that they belong to are few: each set is kept once, so that those of every row of an
/// interval lie in the nearest cache. A list of its own for each stratum was a wait for memory with each row.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassSets {
    of: Vec<u32>,
    sets: Vec<Vec<u32>>,
    numbers: BTreeMap<Vec<u32>, u32>,
}

impl ClassSets {
    pub(super) fn with_capacity(strata: usize) -> Self {
        Self {
            of: Vec::with_capacity(strata),
            ..Self::default()
        }
    }

    /// The next stratum belongs to these.
    pub(super) fn push(&mut self, classes: Vec<u32>) {
        let next = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(classes).or_insert_with_key(|classes| {
            self.sets.push(classes.clone());
            next
        });
        self.of.push(number);
    }

    /// The classes of every stratum.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.of.len()).map(|stratum| &self[stratum])
    }
}

impl Index<usize> for ClassSets {
    type Output = [u32];

    fn index(&self, stratum: usize) -> &[u32] {
        &self.sets[self.of[stratum] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stratum_has_its_classes_and_each_set_is_kept_once() {
        let lists = [vec![0, 1], vec![0, 2], vec![0, 1], vec![0], vec![0, 2]];
        let mut sets = ClassSets::with_capacity(lists.len());
        lists.iter().for_each(|classes| sets.push(classes.clone()));
        assert!(sets.iter().eq(lists.iter().map(Vec::as_slice)));
        assert_eq!((&sets[2], sets.sets.len()), (&lists[0][..], 3));
    }
}
