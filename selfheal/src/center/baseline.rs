//! The rate at which healthy nodes of this fleet fail.

use super::edges::{Edges, HORIZONS};
use super::fit::Layout;
use super::members::at;

/// Calls from which on a node's rate is one.
const ENOUGH_CALLS: f32 = 30.0;
/// Nodes from which on their median is one.
const ENOUGH_NODES: usize = 3;
/// Healthy nodes differ. What is half as much again as the median is not called ill for it.
const MARGIN: f64 = 1.5;

/// The reference before anything was learnt.
const UNKNOWN: f64 = 0.05;

/// The reference rate, learnt slowly and frozen while something common is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Baseline {
    tolerated: f64,
    learnt: Option<f64>,
    /// Since when learning is frozen.
    frozen_ms: Option<u64>,
}

/// A common cause that stays for half an hour is how things are.
const NEW_NORMAL_MS: u64 = 1_800_000;

impl Baseline {
    pub(crate) const fn new(tolerated: f64) -> Self {
        Self {
            tolerated,
            learnt: None,
            frozen_ms: None,
        }
    }

    /// What a healthy node is taken to fail at. As long as nothing is known, only what is far from healthy is seen.
    pub(crate) fn reference(&self) -> f64 {
        self.learnt.unwrap_or(UNKNOWN).max(self.tolerated)
    }

    /// Looks at the last windows; `turned` says that a new one has begun. Without history the first medians are
    /// believed at once: a fleet of which a twentieth of all calls fails at the start of its center is not on fire.
    pub(crate) fn look(&mut self, edges: &Edges, layout: &Layout, turned: bool, common: bool, now_ms: u64) {
        if common {
            let since_ms = *self.frozen_ms.get_or_insert(now_ms);
            if now_ms.saturating_sub(since_ms) < NEW_NORMAL_MS {
                return;
            }
        } else {
            self.frozen_ms = None;
        }
        match self.learnt {
            None => {
                self.learnt = (1..HORIZONS)
                    .find_map(|horizon| median(edges, layout, horizon))
                    .map(|rate| rate * MARGIN)
            }
            Some(learnt) if turned => {
                if let Some(rate) = median(edges, layout, 2) {
                    self.learnt = Some(learnt + (rate * MARGIN - learnt) / 4.0);
                }
            }
            Some(_) => {}
        }
    }
}

/// The smaller of the medians over targets and over reporters: fewer than half of either, however loud, cannot lift it.
fn median(edges: &Edges, layout: &Layout, horizon: usize) -> Option<f64> {
    let slots = layout.zone.len();
    let (mut columns, mut rows) = (vec![(0.0_f64, 0.0_f64); slots], vec![(0.0_f64, 0.0_f64); slots]);
    for (key, calls) in edges.keys().iter().zip(edges.counts(horizon)) {
        for sum in [&mut columns[at(key.target)], &mut rows[at(key.reporter)]] {
            sum.0 += f64::from(calls.bad);
            sum.1 += f64::from(calls.total());
        }
    }
    let middle = |sums: &[(f64, f64)], least: usize| {
        let mut rates: Vec<f64> = sums
            .iter()
            .filter(|(_, total)| *total >= f64::from(ENOUGH_CALLS))
            .map(|(bad, total)| bad / total)
            .collect();
        rates.sort_by(f64::total_cmp);
        (rates.len() >= least).then(|| rates[(rates.len() - 1) / 2])
    };
    let targets = middle(&columns, ENOUGH_NODES)?;
    Some(middle(&rows, ENOUGH_NODES).map_or(targets, |reporters| targets.min(reporters)))
}
