//! A target as a record, for iterators and serde.

use std::collections::BTreeMap;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Fleet, FleetBuilder, Weights};
use crate::index::TargetIndex;

/// One target with everything a [`Fleet`] keeps of it. See [`Weights`] for the last three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written by users as a literal; further facts about a target are labels"
)]
pub struct Target {
    /// Its unique name.
    pub id: String,
    /// Its application.
    pub app: String,
    /// Its labels, by key.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it serves now; true unless said otherwise.
    #[serde(default = "yes")]
    pub ready: bool,
    /// What it can carry; 1 unless said otherwise.
    #[serde(default = "one")]
    pub capacity: u32,
    /// What it carries; 0 unless said otherwise.
    #[serde(default)]
    pub load: u32,
    /// Its criticality; 0, the most critical, unless said otherwise.
    #[serde(default)]
    pub tier: u8,
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    Weights::new().capacity
}

impl Target {
    /// A ready target without labels, of ordinary weights.
    pub fn new(id: impl Into<String>, app: impl Into<String>) -> Self {
        let Weights { capacity, load, tier } = Weights::new();
        Self {
            id: id.into(),
            app: app.into(),
            labels: BTreeMap::new(),
            ready: true,
            capacity,
            load,
            tier,
        }
    }
}

impl Fleet {
    /// A target as a record.
    #[must_use]
    pub fn target(&self, target: TargetIndex) -> Target {
        let Weights { capacity, load, tier } = self.weights(target);
        let labels = self.keys().iter().filter_map(|key| {
            let text = self.label_text(target, key)?;
            Some((key.clone(), text.to_owned()))
        });
        Target {
            id: self.id(target).to_owned(),
            app: self.app_name(self.app_of(target)).to_owned(),
            labels: labels.collect(),
            ready: self.ready(target),
            capacity,
            load,
            tier,
        }
    }
}

/// A list of [`Target`]s, in order.
impl Serialize for Fleet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.targets().map(|target| self.target(target)))
    }
}

impl<'de> Deserialize<'de> for Fleet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Rows)
    }
}

struct Rows;

impl<'de> Visitor<'de> for Rows {
    type Value = Fleet;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of targets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Fleet, A::Error> {
        let mut builder = FleetBuilder::default();
        while let Some(target) = rows.next_element::<Target>()? {
            builder.add(&target).map_err(A::Error::custom)?;
        }
        builder.build().map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fleet, Target, Weights};

    #[test]
    fn a_fleet_is_read_as_written() {
        let mut first = Target::new("a", "pay");
        first.labels.insert("region".into(), "eu".into());
        first.labels.insert("version".into(), "1.9".into());
        (first.capacity, first.load, first.tier, first.ready) = (70_000, 300, 2, false);
        let fleet = Fleet::from_targets([first.clone(), Target::new("b", "cart")]).unwrap();
        let a = fleet.index_of("a").unwrap();
        assert_eq!((fleet.region(a), fleet.version(a)), (Some("eu"), Some("1.9")));
        assert_eq!(fleet.weights(a), Weights::new().capacity(70_000).load(300).tier(2));
        let text = serde_json::to_string(&fleet).unwrap();
        let again: Fleet = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        assert_eq!(again.target(again.index_of("a").unwrap()), first);
        assert_eq!(again.target(again.index_of("b").unwrap()), Target::new("b", "cart"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let read = |text: &str| serde_json::from_str::<Fleet>(text).unwrap_err().to_string();
        assert!(read("[]").contains("no targets"));
        assert!(read(r#"[{"id":"a","app":"x"},{"id":"a","app":"x"}]"#).contains("`a` is pushed twice"));
        assert!(read(r#"[{"id":"a","app":"x","zone":"z"}]"#).contains("unknown field `zone`"));
        assert!(read(r#"[{"id":"a","app":"x","tier":-1}]"#).contains("-1"));
    }

    /// The budget of a million targets with twenty keys, in the mix that inventories have: a few wide keys, many narrow.
    #[test]
    fn targets_are_small() {
        let mut builder = Fleet::builder();
        for n in 0..100_000_u32 {
            let values: Vec<(String, String)> = (0..20)
                .map(|key| {
                    (
                        format!("key{key}"),
                        format!("v{}", n % if key < 10 { 20_000 } else { 200 }),
                    )
                })
                .collect();
            let labels = values.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let weights = Weights::new().capacity(n % 9_000).load(n % 700).tier((n % 4) as u8);
            builder
                .push_weighted(&format!("t{n}"), &format!("app{}", n % 1_000), labels, true, weights)
                .unwrap();
        }
        let fleet = builder.build().unwrap();
        // Interned values weigh ten times more here than in a fleet of a million.
        let values = 10 * 20_000 * (6 + 4 + 16);
        assert!(
            fleet.column_bytes() <= 64 * fleet.len() + values,
            "{}",
            fleet.column_bytes()
        );
    }
}
