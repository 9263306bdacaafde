//! Domains as settings name them: labels of the fleet, the largest first.

use std::collections::BTreeMap;

use unattended_batching::{Fleet, Plan, ValueIndex};

use crate::Change;

/// Domains must be labels that the fleet has, and regions classes that evidence can be had of.
pub(crate) fn check(change: &Change, plan: &Plan) -> Result<(), String> {
    let keys = &change.settings.domains;
    for (at, key) in keys.iter().enumerate() {
        if change.fleet.key_index(key).is_none() {
            return Err(format!(
                "settings: `domains` names `{key}`, which is no label of the fleet; it has {}",
                change.fleet.keys().join(", ")
            ));
        }
        if keys[..at].contains(key) {
            return Err(format!("settings: `domains` names `{key}` twice: name each key once"));
        }
        if let Some(inner) = keys[..at].iter().find(|inner| is_part_of(&change.fleet, inner, key)) {
            return Err(format!(
                "settings: `domains` names `{inner}` before `{key}`, and each `{inner}` is part of one `{key}`: name the largest first, \
                 `{key}` before `{inner}`"
            ));
        }
    }
    match keys.first() {
        Some(region) if !plan.spread_keys().any(|key| key == region) => Err(format!(
            "settings: `domains` begins with `{region}`, which the policy does not spread over: add it to `spread`, so that each \
             value has evidence of its own"
        )),
        _ => Ok(()),
    }
}

/// Whether each value of a label is found with one value of another alone, and not the other way round: a zone in one of several regions.
/// Where the names of the inner are the same in each outer, as `blue` and `green` may be, it is not.
fn is_part_of(fleet: &Fleet, inner: &str, outer: &str) -> bool {
    let (Some(inner), Some(outer)) = (fleet.key_index(inner), fleet.key_index(outer)) else {
        return false;
    };
    let determines = |one, other| {
        let mut with: BTreeMap<ValueIndex, ValueIndex> = BTreeMap::new();
        let pairs = fleet
            .targets()
            .filter_map(|target| fleet.label(target, one).zip(fleet.label(target, other)));
        pairs
            .into_iter()
            .all(|(one, other)| *with.entry(one).or_insert(other) == other)
    };
    fleet.value_count(outer) > 1 && determines(inner, outer) && !determines(outer, inner)
}
