//! All targets, in columns.

use crate::index::{AppIndex, KeyIndex, NONE, TargetIndex, ValueIndex, narrow};
use crate::names::Names;

/// All targets with their application, labels and readiness, in columns of interned names.
///
/// Built once with [`Fleet::builder`] and never changed: targets that come and go during a change are the
/// [`Frontier`](crate::Frontier)'s.
#[derive(Clone, Debug)]
pub struct Fleet {
    ids: Names,
    apps: Names,
    app_of: Vec<u32>,
    ready: Vec<bool>,
    keys: Vec<String>,
    values: Vec<Names>,
    columns: Vec<Column>,
    /// Targets grouped by application: `members[first[a]..first[a + 1]]`.
    members: Vec<TargetIndex>,
    first: Vec<u32>,
}

/// Collects targets for a [`Fleet`].
#[derive(Clone, Debug, Default)]
pub struct FleetBuilder {
    ids: Names,
    apps: Names,
    app_of: Vec<u32>,
    ready: Vec<bool>,
    key_names: Names,
    keys: Vec<String>,
    values: Vec<Names>,
    columns: Vec<Vec<u32>>,
    scratch: Vec<(u32, u32)>,
}

/// A fleet that cannot be: the target that was being added has not been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// No targets.
    #[error("the fleet has no targets; push at least one")]
    Empty,
    /// An id without letters.
    #[error("target {position}: the id is empty; give every target a name of its own")]
    EmptyId {
        /// Position in the order of pushing, from 0.
        position: u32,
    },
    /// An application without a name.
    #[error("target `{id}`: the application is empty; give its name")]
    EmptyApp {
        /// The target.
        id: String,
    },
    /// One id for two targets.
    #[error("target `{id}` is pushed twice (first at position {first}); ids name one target each")]
    DuplicateId {
        /// The id.
        id: String,
        /// Position of the first, from 0.
        first: u32,
    },
    /// One label key twice on one target.
    #[error("target `{id}`: label `{key}` is given twice; keep one value")]
    RepeatedLabel {
        /// The target.
        id: String,
        /// The key.
        key: String,
    },
    /// More names than 32-bit offsets can address.
    #[error("target `{id}`: the names pass 4 GiB or 4 billion; split the fleet")]
    TooLarge {
        /// The target.
        id: String,
    },
}

/// One label key's value for every target, at the narrowest width; the width's greatest number means "no such label".
#[derive(Clone, Debug)]
enum Column {
    Bytes(Vec<u8>),
    Shorts(Vec<u16>),
    Words(Vec<u32>),
}

impl Column {
    fn new(mut wide: Vec<u32>, len: usize, values: u32) -> Self {
        wide.resize(len, NONE);
        if values < u32::from(u8::MAX) {
            Self::Bytes(wide.into_iter().map(|v| u8::try_from(v).unwrap_or(u8::MAX)).collect())
        } else if values < u32::from(u16::MAX) {
            Self::Shorts(wide.into_iter().map(|v| u16::try_from(v).unwrap_or(u16::MAX)).collect())
        } else {
            Self::Words(wide)
        }
    }

    fn get(&self, at: usize) -> u32 {
        match self {
            Self::Bytes(column) => match column[at] {
                u8::MAX => NONE,
                value => u32::from(value),
            },
            Self::Shorts(column) => match column[at] {
                u16::MAX => NONE,
                value => u32::from(value),
            },
            Self::Words(column) => column[at],
        }
    }
}

impl Fleet {
    /// Begins an empty fleet.
    #[must_use]
    pub fn builder() -> FleetBuilder {
        FleetBuilder::default()
    }

    /// Number of targets; at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.app_of.len()
    }

    /// Never true: an empty fleet is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.app_of.is_empty()
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
        AppIndex(self.app_of[target.at()])
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

    /// A target's value of a key; `None` where it has no such label (no class is invented for it).
    #[must_use]
    pub fn label(&self, target: TargetIndex, key: KeyIndex) -> Option<ValueIndex> {
        match self.columns[key.at()].get(target.at()) {
            NONE => None,
            value => Some(ValueIndex(value)),
        }
    }

    /// The text of a value.
    #[must_use]
    pub fn value_name(&self, key: KeyIndex, value: ValueIndex) -> &str {
        self.values[key.at()].name(value.0)
    }

    /// Number of different values of a key.
    #[must_use]
    pub fn value_count(&self, key: KeyIndex) -> u32 {
        self.values[key.at()].len()
    }

    /// Whether a target was ready when the fleet was read. One that was not consumes allowances from the start.
    #[must_use]
    pub fn ready(&self, target: TargetIndex) -> bool {
        self.ready[target.at()]
    }

    pub(crate) const fn app_names(&self) -> &Names {
        &self.apps
    }

    pub(crate) fn values_of(&self, key: KeyIndex) -> &Names {
        &self.values[key.at()]
    }

    /// As [`label`](Self::label), with `NONE` for no label.
    pub(crate) fn raw_label(&self, target: u32, key: KeyIndex) -> u32 {
        self.columns[key.at()].get(target as usize)
    }
}

impl FleetBuilder {
    /// Adds a target; `ready` says whether it serves now.
    ///
    /// # Errors
    /// [`FleetError::EmptyId`], [`FleetError::EmptyApp`], [`FleetError::DuplicateId`], [`FleetError::RepeatedLabel`],
    /// [`FleetError::TooLarge`]. The target is then not part of the fleet, and more can be pushed.
    pub fn push<'a>(
        &mut self,
        id: &str,
        app: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        ready: bool,
    ) -> Result<TargetIndex, FleetError> {
        let row = self.app_of.len();
        if id.is_empty() {
            return Err(FleetError::EmptyId { position: narrow(row) });
        }
        if app.is_empty() {
            return Err(FleetError::EmptyApp { id: id.to_owned() });
        }
        if let Some(first) = self.ids.get(id) {
            return Err(FleetError::DuplicateId {
                id: id.to_owned(),
                first,
            });
        }
        let too_large = || FleetError::TooLarge { id: id.to_owned() };
        self.scratch.clear();
        for (key, value) in labels {
            let (key_index, new) = self.key_names.insert(key).ok_or_else(too_large)?;
            if new {
                self.keys.push(key.to_owned());
                self.values.push(Names::default());
                self.columns.push(Vec::new());
            }
            if self.scratch.iter().any(|&(earlier, _)| earlier == key_index) {
                return Err(FleetError::RepeatedLabel {
                    id: id.to_owned(),
                    key: key.to_owned(),
                });
            }
            let (value_index, _) = self.values[key_index as usize].insert(value).ok_or_else(too_large)?;
            self.scratch.push((key_index, value_index));
        }
        let (app_index, _) = self.apps.insert(app).ok_or_else(too_large)?;
        let (index, _) = self.ids.insert(id).ok_or_else(too_large)?;
        for &(key, value) in &self.scratch {
            let column = &mut self.columns[key as usize];
            column.resize(row, NONE);
            column.push(value);
        }
        self.app_of.push(app_index);
        self.ready.push(ready);
        Ok(TargetIndex(index))
    }

    /// Number of targets pushed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.app_of.len()
    }

    /// Whether nothing has been pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.app_of.is_empty()
    }

    /// The fleet.
    ///
    /// # Errors
    /// [`FleetError::Empty`].
    pub fn build(mut self) -> Result<Fleet, FleetError> {
        if self.is_empty() {
            return Err(FleetError::Empty);
        }
        let len = self.app_of.len();
        let (first, members) = group(self.apps.len(), 0..narrow(len), |target| self.app_of[target as usize]);
        let columns = self
            .columns
            .into_iter()
            .zip(&self.values)
            .map(|(wide, values)| Column::new(wide, len, values.len()))
            .collect();
        self.ids.shrink();
        self.app_of.shrink_to_fit();
        self.ready.shrink_to_fit();
        Ok(Fleet {
            ids: self.ids,
            apps: self.apps,
            app_of: self.app_of,
            ready: self.ready,
            keys: self.keys,
            values: self.values,
            columns,
            members: members.into_iter().map(TargetIndex).collect(),
            first,
        })
    }
}

/// Stable counting sort: items grouped by `key_of`, and where each of the `keys` groups begins (one more at the end).
pub(crate) fn group(
    keys: u32,
    items: impl Iterator<Item = u32> + Clone,
    key_of: impl Fn(u32) -> u32,
) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0_u32; keys as usize + 1];
    let mut total = 0_usize;
    for item in items.clone() {
        first[key_of(item) as usize + 1] += 1;
        total += 1;
    }
    for at in 1..first.len() {
        first[at] += first[at - 1];
    }
    let mut next = first.clone();
    let mut grouped = vec![0_u32; total];
    for item in items {
        let place = &mut next[key_of(item) as usize];
        grouped[*place as usize] = item;
        *place += 1;
    }
    (first, grouped)
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
