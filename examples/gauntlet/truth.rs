//! What a scenario adds to a fleet, and its own word on which bad releases can be found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unattended::health::Design;
use unattended_examples_support::{Labels, Target};
use unattended_simulated::Simulated;

use crate::scenario::{Label, Scenario};

/// How many times what the power formula asks for makes a release detectable.
const MARGIN: f64 = 2.0;
/// Who does worse only later is not detectable.
const LATEST_ONSET_MS: u64 = 6 * 3_600_000;

/// The targets with the labels that the scenario adds.
pub(crate) fn labelled(
    plain: &[Target],
    scenario: &Scenario,
    seed: u64,
    wanted: impl Fn(&Label) -> bool,
) -> Vec<Target> {
    let added: Vec<_> = scenario.labels.iter().filter(|label| wanted(label)).collect();
    let apps: BTreeSet<&str> = plain.iter().map(|target| &*target.app).collect();
    let values: Vec<BTreeMap<&str, &str>> = added.iter().map(|label| scenario.values(label, &apps, seed)).collect();
    let mut known: BTreeMap<(*const u8, *const u8), Labels> = BTreeMap::new();
    let with = |target: &Target| -> Labels {
        let new = added.iter().zip(&values).map(|(label, of)| {
            let value = of.get(&*target.app).copied().unwrap_or_default();
            (Arc::from(label.key.as_str()), Arc::from(value))
        });
        let old = target
            .labels
            .iter()
            .filter(|(key, _)| !added.iter().any(|label| *label.key == **key));
        let mut all: Vec<(Arc<str>, Arc<str>)> = old.cloned().chain(new).collect();
        all.sort_unstable();
        all.into()
    };
    plain
        .iter()
        .map(|target| {
            let alike = (
                Arc::as_ptr(&target.app).cast::<u8>(),
                Arc::as_ptr(&target.labels).cast::<u8>(),
            );
            let labels = known.entry(alike).or_insert_with(|| with(target));
            Target {
                labels: Arc::clone(labels),
                ..target.clone()
            }
        })
        .collect()
}

/// The scenario's own word on whether the release can be found: a full rollout, in which adoption grows evenly from none to
/// all within a day, has at least twice the excess of bad events that a comparison of its halves needs by the power formula
/// (α = 1 %, power 90 %), summed over the kinds of events, and the first of them come within six hours.
pub(crate) fn detectable(simulated: &Simulated) -> bool {
    let full = simulated.full_rollout();
    if full.onset_ms.is_none_or(|onset| onset > LATEST_ONSET_MS) {
        return false;
    }
    let shifts = [full.errors, full.slow, full.restarts, full.starts];
    let met: f64 = shifts.iter().map(|shift| met(shift.base, shift.excess)).sum();
    met >= MARGIN
}

/// The part that an excess has of what is needed to find it.
pub(crate) fn met(base: f64, excess: f64) -> f64 {
    if excess <= 0.0 {
        return 0.0;
    }
    // Where there would have been nothing at all, the ratio has no end.
    let ratio = (1.0 + excess / base.max(1e-12)).min(1e6);
    // What is needed is a number of events, whatever their rate; of these, so many are excess.
    let Ok(demand) = Design::default().detection(1e-3, ratio, 0.5) else {
        return 0.0;
    };
    excess / (demand.events * (ratio - 1.0) / (ratio + 1.0))
}
