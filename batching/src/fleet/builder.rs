//! How a fleet is put together.

use super::column::Column;
use super::{Fleet, Target, Weights, group};
use crate::index::{NONE, TargetIndex, narrow};
use crate::names::Names;

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
    capacity: Vec<u32>,
    load: Vec<u32>,
    tier: Vec<u32>,
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

impl FleetBuilder {
    /// Adds a target of ordinary [`Weights`]; `ready` says whether it serves now.
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
        self.push_weighted(id, app, labels, ready, Weights::new())
    }

    /// Adds a target as a whole.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn add(&mut self, target: &Target) -> Result<TargetIndex, FleetError> {
        let labels = target.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let weights = Weights {
            capacity: target.capacity,
            load: target.load,
            tier: target.tier,
        };
        self.push_weighted(&target.id, &target.app, labels, target.ready, weights)
    }

    /// Adds a target and what it weighs.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_weighted<'a>(
        &mut self,
        id: &str,
        app: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        ready: bool,
        weights: Weights,
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
        self.capacity.push(weights.capacity);
        self.load.push(weights.load);
        self.tier.push(u32::from(weights.tier));
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
            .map(|(mut wide, values)| {
                wide.resize(len, NONE);
                Column::of_labels(wide, values.len())
            })
            .collect();
        self.ids.shrink();
        self.ready.shrink_to_fit();
        Ok(Fleet {
            ids: self.ids,
            apps: self.apps,
            app_of: Column::of_numbers(self.app_of),
            capacity: Column::of_numbers(self.capacity),
            load: Column::of_numbers(self.load),
            tier: Column::of_numbers(self.tier),
            ready: self.ready,
            keys: self.keys,
            values: self.values,
            columns,
            members: members.into_iter().map(TargetIndex).collect(),
            first,
        })
    }
}
