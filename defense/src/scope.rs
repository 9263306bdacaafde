//! What a change touches, as labels.

/// The key under which [`Scope::app`] stores the application.
pub(crate) const APP: &str = "app";

/// Sorted, distinct `(key, value)` pairs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn insert(&mut self, key: String, value: String) {
        let pair = (key, value);
        if let Err(at) = self.0.binary_search(&pair) {
            self.0.insert(at, pair);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
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

/// What the caller looked up about the scope, beside what it addresses: today, labels.
///
/// Rules read a fact exactly like a label of the scope. Where both name a key, the scope has both values:
/// a window that selects either of them applies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Facts(Pairs);

impl Facts {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same facts with one more value of a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Facts {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        labels
            .into_iter()
            .fold(Self::new(), |facts, (key, value)| facts.label(key, value))
    }
}

/// Scope and facts as rules see them: one sorted list of distinct pairs.
#[derive(Debug)]
pub(crate) struct Labels<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Labels<'r> {
    pub(crate) fn of(scope: &'r Scope) -> Self {
        Self(scope.0.iter().collect())
    }

    pub(crate) fn with_facts(scope: &'r Scope, facts: &'r Facts) -> Self {
        let mut pairs: Vec<_> = scope.0.iter().chain(facts.0.iter()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        Self(pairs)
    }

    /// From sorted, distinct pairs.
    pub(crate) fn from_sorted(pairs: impl Iterator<Item = (&'r str, &'r str)>) -> Self {
        Self(pairs.collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'r str, &'r str)> + '_ {
        self.0.iter().copied()
    }

    /// The pairs of one key; empty when nothing is known about it.
    pub(crate) fn of_key(&self, key: &str) -> &[(&'r str, &'r str)] {
        let from = self.0.partition_point(|(k, _)| *k < key);
        let len = self.0[from..].partition_point(|(k, _)| *k == key);
        &self.0[from..from + len]
    }

    /// Whether two scopes may share a target: unless some key known of both has no value in common.
    pub(crate) fn overlaps(&self, other: &Labels<'_>) -> bool {
        self.0.chunk_by(|a, b| a.0 == b.0).all(|values| {
            let theirs = other.of_key(values[0].0);
            theirs.is_empty() || values.iter().any(|(_, v)| theirs.iter().any(|(_, t)| v == t))
        })
    }
}
