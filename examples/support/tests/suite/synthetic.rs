//! Made-up fleets: exact sizes, the promised shape, the same bytes for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use unattended_examples_support::{Inventory, MAX_TARGETS, Source, Synthetic, bundled, load};

fn refused(text: &str) -> String {
    Synthetic::parse(text).expect_err(text).to_string()
}

/// Sizes of the applications in the order of their ranks.
fn sizes(fleet: &Inventory) -> Vec<usize> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for target in &fleet.targets {
        *sizes.entry(&target.app).or_default() += 1;
    }
    sizes.into_values().collect()
}

#[test]
fn sizes_are_exact_for_any_shape() {
    for (pods, apps) in [
        (1, 1),
        (7, 7),
        (8, 7),
        (100, 1),
        (5_000, 120),
        (20_000, 3_000),
        (20_000, 19_999),
    ] {
        let fleet = Synthetic::new(pods, apps).expect("a good shape").inventory(1);
        let sizes = sizes(&fleet);
        assert_eq!(
            (fleet.targets.len(), sizes.len()),
            (pods as usize, apps as usize),
            "{pods}x{apps}"
        );
        let ids: BTreeSet<&str> = fleet.targets.iter().map(|target| &*target.id).collect();
        assert_eq!(ids.len(), pods as usize, "{pods}x{apps}");
    }
}

#[test]
fn few_applications_have_most_pods() {
    let mut sizes = sizes(&Synthetic::parse("30000x3000").expect("good").inventory(1));
    assert!(
        sizes.is_sorted_by(|a, b| a + 1 >= *b),
        "the rank is the number, off by a rounding at most"
    );
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    // 27,000 pods beyond one each, in proportion to 1 / (rank + 1): the harmonic sum from 2 to 3,001 is 7.5840.
    assert_eq!(sizes[0], 1 + 1_780);
    let top: usize = sizes[..300].iter().sum();
    assert!(
        (0.6..0.8).contains(&(top as f64 / 30_000.0)),
        "the largest tenth has {top}"
    );
    assert!(sizes[2_999] >= 1 && sizes[1_500] <= 4);
}

#[test]
fn labels_hang_together_as_promised() {
    let fleet = Synthetic::parse("20000x400").expect("good").inventory(3);
    assert_eq!(fleet.keys, ["business", "region", "stack", "tier", "zone"]);
    let mut of_app: BTreeMap<&str, BTreeSet<[&str; 3]>> = BTreeMap::new();
    let mut zones: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for target in &fleet.targets {
        let label = |key| target.label(key).expect("every key");
        assert!(target.labels.is_sorted(), "labels are looked up by binary search");
        of_app
            .entry(&target.app)
            .or_default()
            .insert([label("stack"), label("business"), label("tier")]);
        *zones.entry((&target.app, label("zone"))).or_default() += 1;
        for (key, value) in target.labels.iter() {
            values.entry(key).or_default().insert(value);
        }
        let expected = if matches!(label("zone"), "zone-4" | "zone-5") {
            "region-2"
        } else {
            "region-1"
        };
        assert_eq!(label("region"), expected);
    }
    assert!(
        of_app.values().all(|kinds| kinds.len() == 1),
        "an application has one stack, business and tier"
    );
    let counts: Vec<usize> = values.values().map(BTreeSet::len).collect();
    assert_eq!(counts, [8, 2, 5, 3, 5]);
    assert!(values.values().flatten().all(|value| !value.is_empty()));
    for app in ["app-0001", "app-0200"] {
        let here: Vec<usize> = zones
            .iter()
            .filter(|((name, _), _)| *name == app)
            .map(|(_, pods)| *pods)
            .collect();
        let most = here.iter().max().copied().unwrap_or_default();
        assert!(
            here.len() == 5 && here.iter().all(|pods| pods + 1 >= most),
            "{app} {here:?}"
        );
    }
}

#[test]
fn the_seed_is_all_that_matters() {
    let shape = Synthetic::parse("2000x50").expect("good");
    assert_eq!(shape.inventory(9), shape.inventory(9));
    assert_ne!(shape.inventory(9).targets, shape.inventory(10).targets);
    assert_eq!(
        load(&Source::Synthetic { fleet: shape, seed: 9 }).expect("good"),
        shape.inventory(9)
    );
    // Pinned: published figures and journals refer to these ids.
    let first = shape.targets(9).next().expect("a target");
    let labels: Vec<String> = first
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        format!("{} {}", first.id, labels.join(" ")),
        "app-0001-e10e50-0001 business=ads region=region-1 stack=java tier=bronze zone=zone-2"
    );
}

#[test]
fn a_large_fleet_is_lazy_and_shares_its_texts() {
    let mut largest = Synthetic::new(MAX_TARGETS, 10_000)
        .expect("the limit itself")
        .targets(1);
    assert_eq!(largest.len(), MAX_TARGETS as usize);
    let (a, b) = (largest.next().expect("a target"), largest.nth(4).expect("a target"));
    assert_eq!(largest.len(), MAX_TARGETS as usize - 6);
    assert_eq!(
        a.label("zone"),
        b.label("zone"),
        "five pods later it is the same zone again"
    );
    assert!(Arc::ptr_eq(&a.labels, &b.labels) && Arc::ptr_eq(&a.app, &b.app));
}

#[test]
fn the_bundled_fleet_is_always_the_same() {
    let fleet = load(&Source::Bundled).expect("always there");
    assert_eq!(fleet, bundled());
    assert_eq!(
        (fleet.targets.len(), fleet.applications(), fleet.keys.len()),
        (5_000, 120, 5)
    );
    let stacks: BTreeSet<&str> = fleet
        .targets
        .iter()
        .filter_map(|target| target.label("stack"))
        .collect();
    assert_eq!(stacks.len(), 5);
    assert_eq!(&*fleet.targets[4_999].id, "app-0120-7df1fd-0011");
}

#[test]
fn shapes_that_cannot_be_are_refused_with_the_fix() {
    assert_eq!(
        refused("300000*3000"),
        "--synthetic 300000*3000: there is no `x` between two numbers: write 300000x3000"
    );
    assert!(refused("300000").ends_with("write PODSxAPPS, such as 300000x3000"));
    assert!(refused("").ends_with("write PODSxAPPS, such as 300000x3000"));
    assert_eq!(
        refused("0x0"),
        "--synthetic 0x0: a fleet of 0 pods has nothing to change: write at least 1x1"
    );
    assert!(refused("5x0").contains("0 applications"));
    assert_eq!(
        refused("3x5"),
        "--synthetic 3x5: 5 applications cannot share 3 pods: give every application a pod, such as 5x5, or swap the \
         two: 5x3"
    );
    assert!(refused("20000001x3").ends_with("20000001 pods are too many: at most 20000000 pods can be made"));
    assert!(refused("99999999999x3").contains("99999999999 pods are too many"));
    for garbage in ["x", "1x", "x1", "-1x1", "1x1x1", "1.5x1", "+1x1", " 1x1", "٣x1"] {
        assert!(refused(garbage).contains("is no number of"), "{garbage}");
    }
    assert_eq!(Synthetic::parse("1x1").map(|s| (s.pods(), s.apps())), Ok((1, 1)));
    assert_eq!(Synthetic::parse("20000000x1").map(Synthetic::pods), Ok(MAX_TARGETS));
}
