//! Finds the few selectors that meet a scope without looking at the others.
//!
//! Label keys and values that packs name are numbered once, when packs are loaded. A question looks its labels up once, and
//! is then held against selectors by comparing numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;

use crate::scope::Labels;
use crate::selector::{Match, Selector, meets};

/// A hash map that is the same in every run.
type Numbers = HashMap<String, u32, BuildHasherDefault<DefaultHasher>>;

/// Every label that some selector names, with numbers for keys and for pairs of key and value.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    /// Ascending by name; the number of a key is its place.
    keys: Vec<(String, Numbers)>,
    pairs: usize,
}

/// The labels of a scope as numbers. Values that no selector names have none, and are counted all the same.
#[derive(Debug)]
pub(crate) struct Known<'v> {
    vocabulary: &'v Vocabulary,
    /// For each key of the vocabulary, how many values the scope has under it and which of `pairs` they are.
    keys: Vec<(usize, Range<usize>)>,
    pairs: Vec<u32>,
}

impl Vocabulary {
    pub(crate) fn of<'s>(selectors: impl Iterator<Item = &'s Selector>) -> Self {
        let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, values) in selectors.flat_map(Selector::terms) {
            named.entry(key).or_default().extend(values.iter().map(String::as_str));
        }
        let mut pairs = 0..;
        let keys = named
            .into_iter()
            .map(|(key, values)| {
                let values = values.into_iter().map(str::to_owned);
                (key.to_owned(), values.zip(pairs.by_ref()).collect())
            })
            .collect();
        Self {
            keys,
            pairs: pairs.start as usize,
        }
    }

    /// The labels of a scope.
    pub(crate) fn look_up(&self, labels: &Labels<'_>) -> Known<'_> {
        let mut pairs = Vec::with_capacity(self.keys.len());
        let keys = self
            .keys
            .iter()
            .map(|(key, values)| {
                let (from, known) = (pairs.len(), labels.of_key(key));
                pairs.extend(known.iter().filter_map(|(_, value)| values.get(*value).copied()));
                (known.len(), from..pairs.len())
            })
            .collect();
        Known {
            vocabulary: self,
            keys,
            pairs,
        }
    }

    fn key(&self, key: &str) -> Option<usize> {
        self.keys.binary_search_by(|(name, _)| name.as_str().cmp(key)).ok()
    }
}

/// One condition of a selector: the scope has one of these pairs.
#[derive(Debug)]
struct Term {
    key: usize,
    /// Places in [`Index::pairs`].
    pairs: Range<usize>,
}

/// Many selectors, by the labels they ask for.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The terms of all selectors, one after the other, and where those of each begin and end.
    terms: Vec<Term>,
    selectors: Vec<Range<usize>>,
    pairs: Vec<u32>,
    everything: Vec<usize>,
    /// For each pair, the selectors that are found by it, and whether they ask for nothing else.
    by_pair: Vec<Vec<(usize, bool)>>,
    /// For each key, the selectors that are found by it.
    by_key: Vec<Vec<usize>>,
}

impl Index {
    /// An index of selectors, all of whose labels are in the vocabulary.
    pub(crate) fn new<'s>(vocabulary: &Vocabulary, selectors: impl Iterator<Item = &'s Selector>) -> Self {
        let mut index = Self {
            by_pair: vec![Vec::new(); vocabulary.pairs],
            by_key: vec![Vec::new(); vocabulary.keys.len()],
            ..Self::default()
        };
        for (id, selector) in selectors.enumerate() {
            let first = index.terms.len();
            let anchor = selector.anchor();
            let alone = selector.terms().count() == 1;
            if anchor.is_none() {
                index.everything.push(id);
            }
            for (name, values) in selector.terms() {
                let Some(key) = vocabulary.key(name) else { continue };
                let numbers = &vocabulary.keys[key].1;
                let from = index.pairs.len();
                index.pairs.extend(values.iter().filter_map(|value| numbers.get(value)));
                let pairs = from..index.pairs.len();
                if anchor == Some(name) {
                    index.by_key[key].push(id);
                    for pair in &index.pairs[pairs.clone()] {
                        index.by_pair[*pair as usize].push((id, alone));
                    }
                }
                index.terms.push(Term { key, pairs });
            }
            index.selectors.push(first..index.terms.len());
        }
        index
    }

    /// Every selector that meets the scope, or may, and how; ascending.
    pub(crate) fn meeting<'i, 'v: 'i>(&'i self, known: &'i Known<'v>) -> impl Iterator<Item = (usize, Match<'v>)> + 'i {
        // Room for what an application usually has.
        let mut found: Vec<(usize, bool)> = Vec::with_capacity(self.everything.len() + 16);
        found.extend(self.everything.iter().map(|id| (*id, true)));
        for (key, (values, pairs)) in known.keys.iter().enumerate() {
            if *values == 0 {
                found.extend(self.by_key[key].iter().map(|id| (*id, false)));
            }
            for pair in &known.pairs[pairs.clone()] {
                // What asks for this value alone selects all of a scope that has no other.
                let whole = |(id, alone): &(usize, bool)| (*id, *alone && *values == 1);
                found.extend(self.by_pair[*pair as usize].iter().map(whole));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
            .into_iter()
            .map(|(id, whole)| (id, if whole { Match::All } else { self.matched(id, known) }))
            .filter(|(_, matched)| *matched != Match::No)
    }

    fn matched<'v>(&self, id: usize, known: &Known<'v>) -> Match<'v> {
        meets(self.terms[self.selectors[id].clone()].iter().map(|term| {
            let (values, pairs) = &known.keys[term.key];
            let wanted = &self.pairs[term.pairs.clone()];
            let hits = known.pairs[pairs.clone()].iter().filter(|pair| wanted.contains(pair));
            (known.vocabulary.keys[term.key].0.as_str(), *values, hits.count())
        }))
    }
}
