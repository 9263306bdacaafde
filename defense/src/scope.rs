//! What a change touches, as labels.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::request::OneOrMany;

/// The key under which [`Scope::app`] stores the application.
pub(crate) const APP: &str = "app";

/// Sorted, distinct `(key, value)` pairs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub(crate) fn insert(&mut self, key: String, value: String) {
        let pair = (key, value);
        if let Err(at) = self.0.binary_search(&pair) {
            self.0.insert(at, pair);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As a mapping from each key to its value, or to the list of its values.
impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = || self.0.chunk_by(|a, b| a.0 == b.0);
        let mut map = serializer.serialize_map(Some(keys().count()))?;
        for pairs in keys() {
            if let [(key, value)] = pairs {
                map.serialize_entry(key, value)?;
            } else {
                let values: Vec<&str> = pairs.iter().map(|(_, value)| value.as_str()).collect();
                map.serialize_entry(&pairs[0].0, &values)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut pairs = Self::default();
        for (key, OneOrMany(values)) in BTreeMap::<String, OneOrMany>::deserialize(deserializer)? {
            for value in values {
                pairs.insert(key.clone(), value);
            }
        }
        Ok(pairs)
    }
}

/// What a change touches: usually one application, with the labels of its targets.
///
/// A key may have several values when the targets differ. A label the application is *known not to have* is
/// given as the empty string: no selector matches it. A key that is not named at all is *unknown*, and a rule in
/// force that selects on it answers [`Unknown`](crate::Verdict::Unknown), since it might well apply.
/// [`Guard::keys`](crate::Guard::keys) lists the keys worth naming.
///
/// ```
/// use unattended_defense::Scope;
/// let scope = Scope::app("pay").label("business", "payments").label("zone", "a").label("zone", "b");
/// assert_eq!(scope.values("zone").collect::<Vec<_>>(), ["a", "b"]);
/// ```
///
/// In files it is a mapping: `{app: pay, zone: [a, b]}`. A value that looks like a pattern (`*`, `!pay`) or has spaces
/// around it is refused there, as it is in packs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Pairs);

impl Scope {
    /// A scope about which nothing is known yet; it may be anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The scope of one application: the label `app`.
    #[must_use]
    pub fn app(name: impl Into<String>) -> Self {
        Self::new().label(APP, name)
    }

    /// The same scope with one more value of a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// All labels, sorted by key and value.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// The values of one label, sorted; empty when the label is unknown.
    pub fn values<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.labels().filter(move |(k, _)| *k == key).map(|(_, value)| value)
    }
}

/// Short for [`Scope::app`].
#[must_use]
pub fn app(name: impl Into<String>) -> Scope {
    Scope::app(name)
}

/// Scope and facts as rules see them: one sorted list of distinct pairs.
#[derive(Debug)]
pub(crate) struct Labels<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Labels<'r> {
    pub(crate) fn of(scope: &'r Scope) -> Self {
        Self(scope.0.iter().collect())
    }

    /// From pairs in any order.
    pub(crate) fn joined(pairs: impl Iterator<Item = (&'r str, &'r str)>) -> Self {
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        pairs.dedup();
        Self(pairs)
    }

    /// From sorted, distinct pairs.
    pub(crate) fn from_sorted(pairs: impl Iterator<Item = (&'r str, &'r str)>) -> Self {
        Self(pairs.collect())
    }

    /// The pairs of one key; empty when nothing is known about it.
    pub(crate) fn of_key(&self, key: &str) -> &[(&'r str, &'r str)] {
        let from = self.0.partition_point(|(k, _)| *k < key);
        let len = self.0[from..].partition_point(|(k, _)| *k == key);
        &self.0[from..from + len]
    }

    /// The same labels, with one value alone of one key.
    fn narrowed(&self, key: &str, value: &str) -> Self {
        Self::from_sorted(self.0.iter().copied().filter(|(k, v)| *k != key || *v == value))
    }

    /// For each key with several values, the parts of the scope with one of them each.
    pub(crate) fn divisions(&self) -> impl Iterator<Item = impl Iterator<Item = Self>> {
        let several = self.0.chunk_by(|a, b| a.0 == b.0).filter(|pairs| pairs.len() > 1);
        several.map(|pairs| pairs.iter().map(|(key, value)| self.narrowed(key, value)))
    }

    /// Whether two scopes may share a target: unless some key known of both has no value in common.
    pub(crate) fn overlaps(&self, other: &Labels<'_>) -> bool {
        self.0.chunk_by(|a, b| a.0 == b.0).all(|values| {
            let theirs = other.of_key(values[0].0);
            theirs.is_empty() || values.iter().any(|(_, v)| theirs.iter().any(|(_, t)| v == t))
        })
    }
}
