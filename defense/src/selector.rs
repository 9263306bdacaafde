//! Label selectors, and how they meet a scope.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::scope::{APP, Labels};

/// All terms must hold; a term holds when the label has one of the values. No terms: everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Selector(BTreeMap<String, BTreeSet<String>>);

/// How a selector meets a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match<'s> {
    /// It selects nothing of the scope.
    No,
    /// It selects all of the scope.
    All,
    /// It selects some values of the scope, not all.
    Part,
    /// Nobody said what the scope has under this key, so it may.
    Maybe(&'s str),
}

impl Selector {
    pub(crate) fn new(terms: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self(terms)
    }

    pub(crate) fn values(&self, key: &str) -> Option<&BTreeSet<String>> {
        self.0.get(key)
    }

    /// Both selectors at once.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut terms = self.0.clone();
        for (key, values) in &other.0 {
            terms
                .entry(key.clone())
                .and_modify(|mine| mine.retain(|value| values.contains(value)))
                .or_insert_with(|| values.clone());
        }
        Self(terms)
    }

    pub(crate) fn matches(&self, labels: &Labels<'_>) -> Match<'_> {
        meets(self.0.iter().map(|(key, wanted)| {
            let known = labels.of_key(key);
            let hits = known.iter().filter(|(_, value)| wanted.contains(*value));
            (key.as_str(), known.len(), hits.count())
        }))
    }

    /// The labels it asks for, by key.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.iter().map(|(key, values)| (key.as_str(), values))
    }

    /// Whether everything this selector selects is selected by `wider` too.
    pub(crate) fn within(&self, wider: &Self) -> bool {
        wider
            .0
            .iter()
            .all(|(key, values)| self.0.get(key).is_some_and(|mine| mine.is_subset(values)))
    }

    /// Whether it selects everything there is.
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it selects nothing, as two selectors together may.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().any(BTreeSet::is_empty)
    }

    /// Everything it may select, as the labels of one scope.
    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels::from_sorted(
            self.0
                .iter()
                .flat_map(|(key, values)| values.iter().map(|value| (key.as_str(), value.as_str()))),
        )
    }

    /// The key to find it by: the application where it names one, else the one with the fewest values.
    pub(crate) fn anchor(&self) -> Option<&str> {
        let fewest = || self.0.iter().min_by_key(|(_, values)| values.len());
        self.0.get_key_value(APP).or_else(fewest).map(|(key, _)| key.as_str())
    }
}

/// Whether somebody may have meant more than one value by a text: none of a label is written like that.
pub(crate) fn looks_like_a_pattern(text: &str) -> bool {
    text.contains('*') || text.starts_with('!')
}

/// How terms meet a scope, given for each its key, how many values the scope has under it, and how many of them are wanted.
pub(crate) fn meets<'k>(terms: impl Iterator<Item = (&'k str, usize, usize)>) -> Match<'k> {
    let mut answer = Match::All;
    for (key, known, hits) in terms {
        if known == 0 {
            if !matches!(answer, Match::Maybe(_)) {
                answer = Match::Maybe(key);
            }
        } else if hits == 0 {
            return Match::No;
        } else if hits < known && answer == Match::All {
            answer = Match::Part;
        }
    }
    answer
}

/// As a pack writes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_everything() {
            return f.write_str("`all`");
        }
        f.write_str("`{")?;
        for (place, (key, values)) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            match values.as_slice() {
                [value] => write!(f, "{between}{key}: {value}")?,
                values => write!(f, "{between}{key}: [{}]", values.join(", "))?,
            }
        }
        f.write_str("}`")
    }
}
