//! Values that rule packs select by and nobody of the fleet has.

use std::collections::{BTreeMap, BTreeSet};

use unattended::defense::Guard;
use unattended_examples_support::Inventory;

/// A pack of a whole company names many that one fleet does not have: so many are said one by one.
const SHOWN: usize = 20;

/// Says on standard error what selects nobody: a freeze for `app-O001` holds nothing, and nobody would see it before the day it was for.
pub(crate) fn note(guard: &Guard, inventory: &Inventory) {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for target in &inventory.targets {
        known.entry("app").or_default().insert(&target.app);
        for (key, value) in target.labels.iter() {
            known.entry(key).or_default().insert(value);
        }
    }
    let found = guard.strange_values(&known);
    for one in found.iter().take(SHOWN) {
        eprintln!("note: {one}");
    }
    if found.len() > SHOWN {
        eprintln!("note: and {} more such values", found.len() - SHOWN);
    }
}
