//! Which labels of a pod spread a change, and under which key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::app::{NAME_LABEL, TEMPLATE_HASHES};
use crate::builder::Names;

/// Keys with a meaning of their own; for the first two the labels that give the value, the current one first.
const ZONE: (&str, [&str; 3]) = (
    "zone",
    [
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/zone",
        "zone",
    ],
);
const REGION: (&str, [&str; 3]) = (
    "region",
    [
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
        "region",
    ],
);
const NAMESPACE: &str = "namespace";

/// Labels that controllers set: they differ from pod to pod or from version to version, or name the application.
const LEFT_OUT: [&str; 7] = [
    NAME_LABEL,
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-uid",
    "job-name",
];

/// Which labels were met and not taken.
#[derive(Debug, Default)]
pub(crate) struct LeftOut(BTreeSet<String>);

impl LeftOut {
    pub(crate) fn add(&mut self, key: &str) {
        if !self.0.contains(key) {
            self.0.insert(key.to_owned());
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The labels of one pod under their whole keys, with `zone`, `region` and `namespace` settled.
pub(crate) fn whole(
    labels: Option<&BTreeMap<String, String>>,
    namespace: &str,
    names: &mut Names,
    left_out: &mut LeftOut,
    pairs: &mut Vec<(Arc<str>, Arc<str>)>,
) {
    let value = |key: &str| {
        labels
            .and_then(|labels| labels.get(key))
            .filter(|value| !value.is_empty())
    };
    for (key, sources) in [ZONE, REGION] {
        if let Some(value) = sources.iter().find_map(|source| value(source)) {
            pairs.push((names.text(key), names.text(value)));
        }
    }
    pairs.push((names.text(NAMESPACE), names.text(namespace)));
    for (key, value) in labels.into_iter().flatten() {
        if is_left_out(key) {
            left_out.add(key);
        } else if !is_settled(key) && !value.is_empty() {
            pairs.push((names.text(key), names.text(value)));
        }
    }
}

fn is_left_out(key: &str) -> bool {
    TEMPLATE_HASHES.contains(&key) || LEFT_OUT.contains(&key) || key.starts_with("batch.kubernetes.io/")
}

/// The meaning of the key does not hang on who wrote the label.
pub(crate) fn is_settled(key: &str) -> bool {
    ZONE.1.contains(&key) || REGION.1.contains(&key) || key == NAMESPACE
}

/// Each whole key with the short one: the part after the last `/` where no other key ends alike.
pub(crate) fn short(whole: &[String]) -> BTreeMap<&str, &str> {
    let tail = |key: &'_ str| key.rfind('/').map_or(0, |at| at + 1);
    let mut alike: BTreeMap<&str, usize> = BTreeMap::new();
    for key in whole {
        *alike.entry(&key[tail(key)..]).or_default() += 1;
    }
    whole
        .iter()
        .map(|key| {
            let short = &key[tail(key)..];
            let unique = alike.get(short) == Some(&1) && !short.is_empty();
            (key.as_str(), if unique { short } else { key.as_str() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{LeftOut, short, whole};
    use crate::builder::Names;
    use std::collections::BTreeMap;

    fn of(labels: &[(&str, &str)]) -> (String, Vec<String>) {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let (mut names, mut left_out, mut pairs) = (Names::default(), LeftOut::default(), Vec::new());
        whole(Some(&labels), "shop", &mut names, &mut left_out, &mut pairs);
        pairs.sort_unstable();
        let taken: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        (taken.join(" "), left_out.keys().map(str::to_owned).collect())
    }

    #[test]
    fn the_current_topology_label_wins_over_older_ones() {
        let old = ("failure-domain.beta.kubernetes.io/zone", "old");
        assert_eq!(
            of(&[old, ("zone", "own"), ("topology.kubernetes.io/zone", "z1")]).0,
            "namespace=shop zone=z1"
        );
        assert_eq!(of(&[old, ("zone", "own")]).0, "namespace=shop zone=old");
        assert_eq!(
            of(&[("zone", "own"), ("region", "r")]).0,
            "namespace=shop region=r zone=own"
        );
        assert_eq!(of(&[("namespace", "lie")]).0, "namespace=shop");
    }

    #[test]
    fn labels_of_controllers_are_left_out_and_named() {
        let (taken, left_out) = of(&[
            ("app.kubernetes.io/name", "web"),
            ("app.kubernetes.io/part-of", "shop"),
            ("pod-template-hash", "5d9c"),
            ("batch.kubernetes.io/job-name", "j"),
            ("statefulset.kubernetes.io/pod-name", "db-0"),
            ("tier", "gold"),
            ("empty", ""),
        ]);
        assert_eq!(taken, "app.kubernetes.io/part-of=shop namespace=shop tier=gold");
        assert_eq!(
            left_out,
            [
                "app.kubernetes.io/name",
                "batch.kubernetes.io/job-name",
                "pod-template-hash",
                "statefulset.kubernetes.io/pod-name"
            ]
        );
    }

    #[test]
    fn keys_are_short_where_that_is_clear() {
        let keys = [
            "acme.io/tier",
            "acme.io/zone",
            "b.io/tier",
            "odd/",
            "stack",
            "x.io/team",
            "zone",
        ]
        .map(str::to_owned);
        let short = short(&keys);
        let expected = [
            "acme.io/tier",
            "acme.io/zone",
            "b.io/tier",
            "odd/",
            "stack",
            "team",
            "zone",
        ];
        assert_eq!(keys.iter().map(|key| short[key.as_str()]).collect::<Vec<_>>(), expected);
    }
}
