//! The inventory as a fleet to plan for, and what to spread a change over where nobody says.

use unattended::batching::{Fleet, FleetError, Weights};
use unattended_examples_support::{State, Target};

/// A label makes classes if it has so many values: below there is nothing to compare, above the classes are too small to
/// show anything.
const CLASS_VALUES: std::ops::RangeInclusive<u32> = 2..=16;
/// Labels that make classes at the most.
const MAX_KEYS: usize = 6;
/// The words that have meant something to a release before; they come first.
const KNOWN_KEYS: [&str; 5] = ["zone", "region", "stack", "tier", "business"];

/// Whole numbers called `capacity`, `load` and `criticality` (0 to 255, 0 being the most critical) are weights, and no labels.
pub(crate) fn fleet<'t>(targets: impl IntoIterator<Item = &'t Target>) -> Result<Fleet, FleetError> {
    let mut builder = Fleet::builder();
    for target in targets {
        let mut weights = Weights::new();
        let labels = target.labels.iter().map(|(key, value)| (&**key, &**value));
        let labels = labels.filter(|&(key, value)| !weighs(&mut weights, key, value));
        let labels: Vec<_> = labels.collect();
        builder.push_weighted(&target.id, &target.app, labels, target.state == State::Healthy, weights)?;
    }
    builder.build()
}

fn weighs(weights: &mut Weights, key: &str, value: &str) -> bool {
    match (key, value.parse::<u32>()) {
        ("capacity", Ok(capacity)) => weights.capacity = capacity,
        ("load", Ok(load)) => weights.load = load,
        ("criticality", Ok(tier)) if tier <= 255 => weights.tier = u8::try_from(tier).unwrap_or(u8::MAX),
        _ => return false,
    }
    true
}

/// The label keys that make classes.
pub(crate) fn spread_keys(fleet: &Fleet) -> Vec<String> {
    let mut keys: Vec<&String> = fleet
        .keys()
        .iter()
        .filter(|key| {
            fleet.key_index(key).is_some_and(|index| {
                let values = fleet.value_count(index);
                let labelled = fleet
                    .targets()
                    .filter(|&target| fleet.label(target, index).is_some())
                    .count();
                // A label that only some have, or that may be another name of the application, makes no classes; a stack is one, however few
                // applications there are.
                let own = KNOWN_KEYS.contains(&key.as_str()) || values < fleet.app_count().max(3);
                CLASS_VALUES.contains(&values) && own && labelled * 10 >= fleet.len() * 9
            })
        })
        .collect();
    keys.sort_by_key(|key| {
        KNOWN_KEYS
            .iter()
            .position(|known| known == key)
            .unwrap_or(KNOWN_KEYS.len())
    });
    keys.into_iter().take(MAX_KEYS).cloned().collect()
}
