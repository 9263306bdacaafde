//! What the rows of one interval add up to, before it goes into the scopes.
//!
//! Strata are many, the sets of classes they belong to are few. A row is added to one sum of its class set, metric and
//! freshness; only these sums go to the fleet and to each class.

use std::collections::BTreeMap;

use crate::evidence::GridVector;
use crate::limit::Tide;
use crate::ratio::Splits;
use crate::{Counts, Topology};

/// Where the rows of a stratum go. Follows from the topology alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) app: u32,
    /// Number of its class set, in order of first appearance.
    pub(crate) set: u32,
}

/// The distinct class sets of a topology.
#[derive(Clone, Debug)]
pub(crate) struct ClassSets {
    /// One per stratum.
    pub(crate) places: Vec<Place>,
    /// Scopes of each set: 0 for all strata, c + 1 for class c.
    scopes: Vec<Vec<u32>>,
}

impl ClassSets {
    /// Two strata that name the same classes in another order belong to two sets; that costs a little time only.
    pub(crate) fn of(topology: &Topology) -> Self {
        let mut numbers: BTreeMap<&[u32], u32> = BTreeMap::new();
        let mut scopes = Vec::new();
        let places = topology
            .strata
            .iter()
            .map(|stratum| {
                let set = *numbers.entry(&stratum.classes).or_insert_with(|| {
                    scopes.push(
                        core::iter::once(0)
                            .chain(stratum.classes.iter().map(|c| c + 1))
                            .collect(),
                    );
                    u32::try_from(scopes.len() - 1).unwrap_or(u32::MAX)
                });
                Place { app: stratum.app, set }
            })
            .collect();
        Self { places, scopes }
    }

    pub(crate) const fn len(&self) -> usize {
        self.scopes.len()
    }

    pub(crate) fn scopes(&self, set: usize) -> &[u32] {
        &self.scopes[set]
    }

    /// Whether every stratum belongs to this scope.
    pub(crate) fn all_in(&self, scope: u32) -> bool {
        self.scopes.iter().all(|set| set.contains(&scope))
    }
}

/// Counts and absolute safety of the rows of one class set, metric and freshness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub(crate) canary: Counts,
    pub(crate) control: Counts,
    /// Before it is divided by the dispersion.
    pub(crate) absolute: f64,
    /// The part of it that is against a floor, or where no control can tell how history does.
    pub(crate) alone: f64,
    /// Before it is divided by the dispersion.
    pub(crate) tide: Tide,
    key: u32,
    /// Position among the compared, or [`NONE`].
    compared: u32,
}

/// Evidence of those rows among them that compare something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// Divided by the dispersion.
    pub(crate) evidence: GridVector,
    /// Divided by the dispersion.
    pub(crate) relative: f64,
    /// Likewise, of rows whose limit is made of history.
    pub(crate) double: f64,
    key: u32,
}

const NONE: u32 = u32::MAX;

/// Which class set, metric and freshness a sum belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) set: usize,
    pub(crate) metric: usize,
    pub(crate) fresh: bool,
}

/// The sums of the interval at hand; empty between calls, except for the splits.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    metrics: usize,
    /// Per set × metric × (settled, fresh): where its sum is, or [`NONE`].
    slots: Vec<u32>,
    /// In the order in which they got their first row.
    touched: Vec<Sum>,
    /// In the order in which they got their first row that compares something: rows without events cannot change it.
    compared: Vec<Compared>,
    /// Per set × metric, since the judge was made or restored: integers for display, which may be added to those of
    /// the scopes at any time.
    splits: Vec<Splits>,
}

impl Sums {
    pub(crate) fn new(sets: usize, metrics: usize) -> Self {
        Self {
            metrics,
            slots: vec![NONE; sets * metrics * 2],
            touched: Vec::new(),
            compared: Vec::new(),
            splits: vec![Splits::default(); sets * metrics],
        }
    }

    /// The sum of a key, and its position for [`compared`](Self::compared).
    #[inline]
    pub(crate) fn at(&mut self, key: Key) -> (usize, &mut Sum) {
        let at = (key.set * self.metrics + key.metric) * 2 + usize::from(key.fresh);
        let mut slot = self.slots[at];
        if slot == NONE {
            slot = self.start(at);
        }
        let slot = crate::judge::index(slot);
        (slot, &mut self.touched[slot])
    }

    #[cold]
    fn start(&mut self, at: usize) -> u32 {
        let slot = position(self.touched.len());
        self.slots[at] = slot;
        self.touched.push(Sum {
            canary: Counts::default(),
            control: Counts::default(),
            absolute: 0.0,
            alone: 0.0,
            tide: Tide::default(),
            key: position(at),
            compared: NONE,
        });
        slot
    }

    /// What is compared in the sum at this position.
    pub(crate) fn compared(&mut self, slot: usize) -> &mut Compared {
        let sum = &mut self.touched[slot];
        if sum.compared == NONE {
            sum.compared = position(self.compared.len());
            self.compared.push(Compared {
                evidence: [0.0; 6],
                relative: 0.0,
                double: 0.0,
                key: sum.key,
            });
        }
        &mut self.compared[crate::judge::index(sum.compared)]
    }

    pub(crate) fn splits(&mut self, set: usize, metric: usize) -> &mut Splits {
        &mut self.splits[set * self.metrics + metric]
    }

    /// The splits of the sets that belong to a scope.
    pub(crate) fn splits_of<'a>(
        &'a self,
        sets: &'a ClassSets,
        scope: u32,
        metric: usize,
    ) -> impl Iterator<Item = &'a Splits> {
        (0..sets.len())
            .filter(move |set| sets.scopes(*set).contains(&scope))
            .map(move |set| &self.splits[set * self.metrics + metric])
    }

    fn key(metrics: usize, key: u32) -> Key {
        let at = crate::judge::index(key);
        Key {
            set: at / (2 * metrics),
            metric: at / 2 % metrics,
            fresh: at % 2 == 1,
        }
    }

    pub(crate) fn each_touched(&self) -> impl Iterator<Item = (Key, &Sum)> {
        self.touched.iter().map(|sum| (Self::key(self.metrics, sum.key), sum))
    }

    pub(crate) fn each_compared(&self) -> impl Iterator<Item = (Key, &Compared)> {
        self.compared.iter().map(|one| (Self::key(self.metrics, one.key), one))
    }

    /// Ready for the next interval.
    pub(crate) fn clear(&mut self) {
        for sum in &self.touched {
            self.slots[crate::judge::index(sum.key)] = NONE;
        }
        self.touched.clear();
        self.compared.clear();
    }
}

/// Positions fit: there are at most 2^32 strata, and memory ends before 2^32 sums of them.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}
