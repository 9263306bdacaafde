//! All targets, in columns.

mod builder;
mod column;
mod group;
mod record;

use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, ValueIndex, narrow};
use crate::names::Names;
use column::Column;

pub use builder::{FleetBuilder, FleetError};
pub(crate) use group::group;
pub use record::Target;

/// All targets with their application, labels, readiness and weights, in columns of the narrowest width.
///
/// Built once, with [`Fleet::builder`], [`Fleet::from_targets`] or serde (a list of [`Target`]s), and never changed: targets
/// that come and go during a change are the [`Frontier`](crate::Frontier)'s.
///
/// Two label keys have a meaning of their own: [`Fleet::VERSION`], what a target runs now, and [`Fleet::REGION`], where it
/// runs. They are labels like others for spread, coverage and caps.
///
/// A million targets with 20 label keys take at most 64 bytes each beside their ids, as long as those keys have fewer than
/// 65,535 values ([`column_bytes`](Self::column_bytes) says how many).
#[derive(Clone, Debug)]
pub struct Fleet {
    ids: Names,
    apps: Names,
    app_of: Column,
    ready: Vec<bool>,
    keys: Vec<String>,
    values: Vec<Names>,
    columns: Vec<Column>,
    capacity: Column,
    load: Column,
    tier: Column,
    /// Targets grouped by application: `members[first[a]..first[a + 1]]`.
    members: Vec<TargetIndex>,
    first: Vec<u32>,
}

/// What a target can carry, what it carries, and how much depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Weights {
    /// What it can carry at most, in any unit (requests a second, say); 1 unless said otherwise.
    pub capacity: u32,
    /// Its share of the application's load, in the same unit; 0 unless said otherwise. The load stays with the application
    /// when the target is away.
    pub load: u32,
    /// Criticality: 0 is the most critical, and what a target has of which nothing is known. Less critical targets change
    /// earlier where there is a choice.
    pub tier: u8,
}

impl Weights {
    /// Capacity 1, no load, the most critical tier.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            capacity: 1,
            load: 0,
            tier: 0,
        }
    }

    /// What it can carry.
    #[must_use]
    pub const fn capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    /// What it carries.
    #[must_use]
    pub const fn load(mut self, load: u32) -> Self {
        self.load = load;
        self
    }

    /// Its criticality.
    #[must_use]
    pub const fn tier(mut self, tier: u8) -> Self {
        self.tier = tier;
        self
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}

impl Fleet {
    /// The label key of the version a target runs now.
    pub const VERSION: &str = "version";
    /// The label key of the region a target runs in.
    pub const REGION: &str = "region";

    /// Begins an empty fleet.
    #[must_use]
    pub fn builder() -> FleetBuilder {
        FleetBuilder::default()
    }

    /// The fleet of these targets.
    ///
    /// # Errors
    /// [`FleetError`] of the first target that cannot be.
    pub fn from_targets(targets: impl IntoIterator<Item = Target>) -> Result<Self, FleetError> {
        let mut builder = Self::builder();
        for target in targets {
            builder.add(&target)?;
        }
        builder.build()
    }

    /// Number of targets; at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Never true: an empty fleet is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// All targets in order.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = TargetIndex> + use<> {
        (0..narrow(self.len())).map(TargetIndex)
    }

    /// A target's id. Like every look-up by index here, it panics for an index of another fleet, as a slice does.
    #[must_use]
    pub fn id(&self, target: TargetIndex) -> &str {
        self.ids.name(target.0)
    }

    /// The target of an id.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<TargetIndex> {
        self.ids.get(id).map(TargetIndex)
    }

    /// A target's application.
    #[must_use]
    pub fn app_of(&self, target: TargetIndex) -> AppIndex {
        AppIndex(self.app_of.get(target.at()))
    }

    /// An application's name.
    #[must_use]
    pub fn app_name(&self, app: AppIndex) -> &str {
        self.apps.name(app.0)
    }

    /// Number of applications.
    #[must_use]
    pub fn app_count(&self) -> u32 {
        self.apps.len()
    }

    /// The application of a name.
    #[must_use]
    pub fn app_index(&self, name: &str) -> Option<AppIndex> {
        self.apps.get(name).map(AppIndex)
    }

    /// Number of targets of an application.
    #[must_use]
    pub fn app_size(&self, app: AppIndex) -> u32 {
        self.first[app.at() + 1] - self.first[app.at()]
    }

    /// The targets of an application, in fleet order.
    pub fn targets_of(&self, app: AppIndex) -> impl ExactSizeIterator<Item = TargetIndex> {
        self.members[self.first[app.at()] as usize..self.first[app.at() + 1] as usize]
            .iter()
            .copied()
    }

    /// All label keys, in order of first sight.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The index of a label key.
    #[must_use]
    pub fn key_index(&self, key: &str) -> Option<KeyIndex> {
        self.keys
            .iter()
            .position(|name| name == key)
            .map(|at| KeyIndex(narrow(at)))
    }

    /// A target's value of a key; `None` where it has no such label (no class is invented for it), and for a key of another fleet.
    #[must_use]
    pub fn label(&self, target: TargetIndex, key: KeyIndex) -> Option<ValueIndex> {
        match self.raw_label(target.0, key) {
            NONE => None,
            value => Some(ValueIndex(value)),
        }
    }

    /// The text of a value.
    #[must_use]
    pub fn value_name(&self, key: KeyIndex, value: ValueIndex) -> &str {
        self.values[key.at()].name(value.0)
    }

    /// Number of different values of a key; 0 for a key of another fleet.
    #[must_use]
    pub fn value_count(&self, key: KeyIndex) -> u32 {
        self.values.get(key.at()).map_or(0, Names::len)
    }

    /// Whether a target was ready when the fleet was read. One that was not consumes allowances from the start.
    #[must_use]
    pub fn ready(&self, target: TargetIndex) -> bool {
        self.ready[target.at()]
    }

    /// What a target can carry, what it carries, and how critical it is.
    #[must_use]
    pub fn weights(&self, target: TargetIndex) -> Weights {
        let at = target.at();
        Weights {
            capacity: self.capacity.get(at),
            load: self.load.get(at),
            tier: u8::try_from(self.tier.get(at)).unwrap_or(u8::MAX),
        }
    }

    /// The version a target runs now, if its labels say so.
    #[must_use]
    pub fn version(&self, target: TargetIndex) -> Option<&str> {
        self.label_text(target, Self::VERSION)
    }

    /// The region a target runs in, if its labels say so.
    #[must_use]
    pub fn region(&self, target: TargetIndex) -> Option<&str> {
        self.label_text(target, Self::REGION)
    }

    fn label_text(&self, target: TargetIndex, key: &str) -> Option<&str> {
        let key = self.key_index(key)?;
        Some(self.value_name(key, self.label(target, key)?))
    }

    /// Bytes of all columns, groups and interned values; ids are not counted.
    #[must_use]
    pub fn column_bytes(&self) -> usize {
        let columns = self
            .columns
            .iter()
            .chain([&self.app_of, &self.capacity, &self.load, &self.tier]);
        columns.map(Column::bytes).sum::<usize>()
            + self.values.iter().map(Names::bytes).sum::<usize>()
            + self.apps.bytes()
            + self.ready.len()
            + (self.members.len() + self.first.len()) * 4
    }

    /// Where each application's targets would begin if all stood by application.
    pub(crate) fn app_starts(&self) -> &[u32] {
        &self.first
    }

    /// As [`id`](Self::id), without asking whether it is text.
    pub(crate) fn id_bytes(&self, target: TargetIndex) -> &[u8] {
        self.ids.bytes_of(target.0)
    }

    /// Of all targets in order.
    pub(crate) fn readiness(&self) -> &[bool] {
        &self.ready
    }

    /// Whether every target is ready.
    pub(crate) fn all_ready(&self) -> bool {
        !self.ready.contains(&false)
    }

    /// Whether all targets are of one tier.
    pub(crate) const fn one_tier(&self) -> bool {
        matches!(self.tier, Column::Same(_))
    }

    pub(crate) const fn app_names(&self) -> &Names {
        &self.apps
    }

    pub(crate) fn values_of(&self, key: KeyIndex) -> &Names {
        &self.values[key.at()]
    }

    /// As [`label`](Self::label), with `NONE` for no label.
    #[inline]
    pub(crate) fn raw_label(&self, target: u32, key: KeyIndex) -> u32 {
        let column = self.columns.get(key.at());
        column.map_or(NONE, |column| column.get(target as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fleet, FleetError};
    use crate::index::{AppIndex, TargetIndex};

    #[test]
    fn columns_give_back_what_was_pushed() {
        let mut builder = Fleet::builder();
        for n in 0..600_u32 {
            let host = format!("h{n}");
            let zone = ["a", "b"][n as usize % 2];
            let labels = if n == 5 {
                vec![]
            } else {
                vec![("zone", zone), ("host", host.as_str())]
            };
            builder
                .push(&format!("t{n}"), ["x", "y", "z"][n as usize % 3], labels, n != 7)
                .unwrap();
        }
        let fleet = builder.build().unwrap();
        assert_eq!(fleet.len(), 600);
        assert_eq!(fleet.keys(), ["zone", "host"]);
        let (zone, host) = (fleet.key_index("zone").unwrap(), fleet.key_index("host").unwrap());
        assert_eq!(fleet.key_index("rack"), None);
        assert_eq!(fleet.value_count(host), 599);
        for n in 0..600_u32 {
            let target = TargetIndex(n);
            assert_eq!(fleet.index_of(&format!("t{n}")), Some(target));
            assert_eq!(fleet.id(target), format!("t{n}"));
            assert_eq!(fleet.ready(target), n != 7);
            if n == 5 {
                assert_eq!(fleet.label(target, zone), None);
                assert_eq!(fleet.label(target, host), None);
            } else {
                let value = fleet.label(target, host).unwrap();
                assert_eq!(fleet.value_name(host, value), format!("h{n}"));
            }
        }
        assert_eq!(fleet.app_count(), 3);
        assert_eq!(fleet.app_index("y"), Some(AppIndex(1)));
        assert_eq!(fleet.app_size(AppIndex(1)), 200);
        assert!(fleet.targets_of(AppIndex(1)).all(|t| t.0 % 3 == 1));
        assert_eq!(fleet.targets_of(AppIndex(2)).len(), 200);
    }

    #[test]
    fn bad_targets_are_refused_and_leave_nothing() {
        let mut builder = Fleet::builder();
        builder.push("a", "x", [], true).unwrap();
        assert_eq!(
            builder.push("a", "y", [], true),
            Err(FleetError::DuplicateId {
                id: "a".into(),
                first: 0
            })
        );
        assert_eq!(
            builder.push("", "y", [], true),
            Err(FleetError::EmptyId { position: 1 })
        );
        assert_eq!(
            builder.push("b", "", [], true),
            Err(FleetError::EmptyApp { id: "b".into() })
        );
        assert_eq!(
            builder.push("b", "x", [("k", "1"), ("k", "2")], true),
            Err(FleetError::RepeatedLabel {
                id: "b".into(),
                key: "k".into()
            })
        );
        assert_eq!(builder.push("b", "x", [("k", "1")], true), Ok(TargetIndex(1)));
        let fleet = builder.build().unwrap();
        assert_eq!((fleet.len(), fleet.app_count()), (2, 1));
        assert_eq!(Fleet::builder().build().unwrap_err(), FleetError::Empty);
    }
}
