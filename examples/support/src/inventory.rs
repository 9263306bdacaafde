use std::collections::BTreeSet;
use std::sync::Arc;

/// The most targets that any inventory may hold; more is taken for a mistake in the input.
pub const MAX_TARGETS: u32 = 20_000_000;

/// Label keys with their values, sorted by key, each key once.
///
/// Targets with equal labels share one allocation, and so do equal keys and values: a fleet of 300,000 targets has
/// some thousand distinct label sets.
pub type Labels = Arc<[(Arc<str>, Arc<str>)]>;

/// What a fleet consists of, as some source tells it.
#[expect(clippy::exhaustive_structs, reason = "plain data between a reader and an example")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Every target once, in the order of the source.
    pub targets: Vec<Target>,
    /// Sentences for a person: what was read, by which rule, and what was left out and why.
    pub notes: Vec<String>,
    /// The label keys that at least one target has, sorted.
    pub keys: Vec<String>,
}

impl Inventory {
    /// How many distinct applications the targets belong to.
    #[must_use]
    pub fn applications(&self) -> usize {
        self.targets
            .iter()
            .map(|target| &*target.app)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// The smallest unit that is changed: the sidecar of one pod, one process.
#[expect(clippy::exhaustive_structs, reason = "plain data between a reader and an example")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Unique in its inventory and never empty; `namespace/name` for a pod.
    pub id: Arc<str>,
    /// The application; never empty. With `/` in it when the source has several namespaces.
    pub app: Arc<str>,
    /// Where and what the target is, for spreading a change.
    pub labels: Labels,
    /// What the source knows about its health.
    pub state: State,
    /// When the target begins to exist, in seconds of the source's own clock; `None` if it was there before.
    pub born_s: Option<i64>,
    /// When the target ends, in seconds of the source's own clock; `None` if it outlives the source.
    pub died_s: Option<i64>,
}

impl Target {
    /// The value of one label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        self.labels.get(at).map(|(_, value)| &**value)
    }
}

/// What a source knows about the health of one target before any change.
///
/// A source that says nothing about health (a plain table, a synthetic fleet) gives [`State::Healthy`].
#[expect(
    clippy::exhaustive_enums,
    reason = "who starts a change must decide about each of these"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The sidecar runs and the pod is ready.
    #[default]
    Healthy,
    /// The pod is not ready although its sidecar is not known to crash.
    AppUnready,
    /// The sidecar itself crashes again and again.
    SidecarCrashing,
    /// The sidecar has not started yet.
    Pending,
}
