//! Targets alike in application and spread labels, numbered without the planner's code.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::fleet::Fleet;
use crate::hash::mix;
use crate::index::{KeyIndex, NO_KEY, TargetIndex, narrow};
use crate::plan::Plan;

/// What is known of one stratum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) size: u32,
    /// In the first batch.
    pub(super) first: u32,
    /// In the last batch.
    pub(super) last: u32,
}

/// The stratum of every target.
pub(super) struct Cells<'a> {
    fleet: &'a Fleet,
    spread: &'a [KeyIndex],
    /// By target.
    pub(super) of: Vec<u32>,
    pub(super) cells: Vec<Cell>,
}

impl<'a> Cells<'a> {
    pub(super) fn new(fleet: &'a Fleet, spread: &'a [KeyIndex], plan: &Plan) -> Self {
        let few = (fleet.len() as u64 * 4).max(1 << 16);
        let widths: Vec<u64> = spread.iter().map(|&key| width(fleet, key)).collect();
        let places = widths
            .iter()
            .fold(u64::from(fleet.app_count()), |all, width| all.saturating_mul(*width));
        let of = if places <= few {
            placed(fleet, spread, &widths, usize::try_from(places).unwrap_or(0))
        } else {
            listed(fleet, spread)
        };
        let mut cells: Vec<Cell> = Vec::new();
        for (target, &cell) in fleet.targets().zip(&of) {
            // Numbers come in the order of first sight.
            if cell as usize == cells.len() {
                cells.push(Cell::default());
            }
            let (cell, batch) = (&mut cells[cell as usize], plan.batch_of(target));
            cell.size += 1;
            cell.first += u32::from(batch == 0);
            cell.last += u32::from(batch + 1 == plan.batch_count());
        }
        Self {
            fleet,
            spread,
            of,
            cells,
        }
    }

    /// The application and labels of a target, for people.
    pub(super) fn name(&self, target: TargetIndex) -> String {
        let values = self.spread.iter().filter(|&&key| key != NO_KEY).map(|&key| {
            let value = self.fleet.label(target, key);
            let value = value.map_or("(none)", |value| self.fleet.value_name(key, value));
            format!(" {}={value}", self.fleet.keys()[key.at()])
        });
        let app = self.fleet.app_name(self.fleet.app_of(target));
        format!("`{app}`{}", values.collect::<String>())
    }
}

/// One more than values: no label is a stratum too.
fn width(fleet: &Fleet, key: KeyIndex) -> u64 {
    u64::from(fleet.value_count(key)) + 1
}

fn digit(fleet: &Fleet, target: TargetIndex, key: KeyIndex) -> u64 {
    fleet.label(target, key).map_or(0, |value| u64::from(value.0) + 1)
}

/// Numbers the strata by their places among all that there could be: application and labels are the digits.
fn placed(fleet: &Fleet, spread: &[KeyIndex], widths: &[u64], places: usize) -> Vec<u32> {
    // One more than the number of the stratum at each place.
    let mut numbers = vec![0_u32; places];
    let mut count = 0;
    let number = |target| {
        let app = u64::from(fleet.app_of(target).0);
        let digits = spread.iter().zip(widths);
        let place = digits.fold(app, |sum, (&key, width)| sum * width + digit(fleet, target, key));
        let number = &mut numbers[usize::try_from(place).unwrap_or(usize::MAX)];
        if *number == 0 {
            count += 1;
            *number = count;
        }
        *number - 1
    };
    fleet.targets().map(number).collect()
}

/// Numbers the strata key by key: those alike so far, and alike in the next key as well.
fn listed(fleet: &Fleet, spread: &[KeyIndex]) -> Vec<u32> {
    let mut of: Vec<u32> = fleet.targets().map(|target| fleet.app_of(target).0).collect();
    for &key in spread {
        let mut numbers: HashMap<u64, u32, BuildHasherDefault<Mixed>> = HashMap::default();
        for (target, number) in fleet.targets().zip(&mut of) {
            let next = narrow(numbers.len());
            let pair = u64::from(*number) << 32 | digit(fleet, target, key);
            *number = *numbers.entry(pair).or_insert(next);
        }
    }
    of
}

/// Hashes one number.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }
}
