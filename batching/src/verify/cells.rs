//! Targets alike in application and spread labels, numbered without the planner's code.

use std::collections::BTreeMap;

use crate::fleet::Fleet;
use crate::hash::position;
use crate::index::{AppIndex, KeyIndex, TargetIndex, narrow};

/// What is known of one stratum while batches are read in order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) size: u32,
    /// In the first batch.
    pub(super) first: u32,
    /// In the last batch.
    pub(super) last: u32,
    /// The batch read last, its latest target in hash order, and the latest of all batches before.
    batch: u16,
    here: Option<(u64, TargetIndex)>,
    before: Option<(u64, TargetIndex)>,
}

impl Cell {
    /// Reads a target of the middle batches, which come in order; answers one of an earlier batch that should have come later.
    pub(super) fn read(&mut self, batch: u16, hash: u64, target: TargetIndex) -> Option<TargetIndex> {
        if batch > self.batch {
            self.batch = batch;
            self.before = self.before.max(self.here);
        }
        self.here = self.here.max(Some((hash, target)));
        let (latest, other) = self.before?;
        (latest > hash).then_some(other)
    }
}

/// The stratum of every target.
pub(super) struct Cells<'a> {
    fleet: &'a Fleet,
    spread: &'a [KeyIndex],
    pub(super) of: Vec<u32>,
    pub(super) cells: Vec<Cell>,
    pub(super) hashes: Vec<u64>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(fleet: &'a Fleet, spread: &'a [KeyIndex], seed: u64) -> Self {
        // One more than values: no label is a stratum too.
        let widths: Vec<u64> = spread
            .iter()
            .map(|&key| u64::from(fleet.value_count(key)) + 1)
            .collect();
        let places = widths.iter().try_fold(u64::from(fleet.app_count()), |product, width| {
            product.checked_mul(*width)
        });
        let few = (fleet.len() as u64 * 4).max(1 << 16);
        let digit = |target, at: usize| {
            fleet
                .label(target, spread[at])
                .map_or(0, |value| u64::from(value.0) + 1)
        };
        let (of, count) = match places.filter(|&places| places <= few) {
            Some(places) => {
                let number = |target| {
                    let app = u64::from(fleet.app_of(target).0);
                    (0..spread.len()).fold(app, |sum, at| sum * widths[at] + digit(target, at))
                };
                let of = fleet
                    .targets()
                    .map(|target| u32::try_from(number(target)).unwrap_or(u32::MAX));
                (of.collect::<Vec<u32>>(), usize::try_from(places).unwrap_or(0))
            }
            None => {
                let mut numbers: BTreeMap<(AppIndex, Vec<u64>), u32> = BTreeMap::new();
                let mut of = Vec::with_capacity(fleet.len());
                for target in fleet.targets() {
                    let labels = (0..spread.len()).map(|at| digit(target, at)).collect();
                    let next = narrow(numbers.len());
                    of.push(*numbers.entry((fleet.app_of(target), labels)).or_insert(next));
                }
                (of, numbers.len())
            }
        };
        let mut cells = vec![Cell::default(); count];
        for &cell in &of {
            cells[cell as usize].size += 1;
        }
        Self {
            fleet,
            spread,
            of,
            cells,
            hashes: fleet.targets().map(|target| position(seed, fleet.id(target))).collect(),
        }
    }

    pub(super) fn cell(&mut self, target: TargetIndex) -> &mut Cell {
        &mut self.cells[self.of[target.at()] as usize]
    }

    /// The application and labels of a target, for people.
    pub(super) fn name(&self, target: TargetIndex) -> String {
        let values = self.spread.iter().map(|&key| {
            let value = self.fleet.label(target, key);
            let value = value.map_or("(none)", |value| self.fleet.value_name(key, value));
            format!(" {}={value}", self.fleet.keys()[key.at()])
        });
        let app = self.fleet.app_name(self.fleet.app_of(target));
        format!("`{app}`{}", values.collect::<String>())
    }
}
