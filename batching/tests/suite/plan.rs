//! Laws of plans.

use std::collections::BTreeMap;

use crate::common::cases::cases;
use crate::common::{fleet, policies, rows};
use proptest::prelude::*;
use unattended_batching::{
    Amount, Cap, Control, Fleet, Pin, PinScope, Plan, PlanError, Policy, PolicyError, Ramp, UncoveredReason, count,
    pct, position, verify,
};

fn simple(targets: u32) -> Fleet {
    let mut builder = Fleet::builder();
    for n in 0..targets {
        builder.push(&format!("t{n}"), "app", [], true).unwrap();
    }
    builder.build().unwrap()
}

fn sizes(plan: &Plan) -> Vec<u32> {
    plan.batches().map(|batch| batch.size).collect()
}

#[test]
fn tiny_fleets() {
    let policy = Policy::new();
    for (targets, expected) in [
        (1, vec![1]),
        (2, vec![1, 1]),
        (3, vec![1, 1, 1]),
        (4, vec![1, 1, 1, 1]),
        (28, vec![1, 1, 2, 4, 8, 11, 1]),
        (47, vec![1, 1, 2, 4, 8, 16, 13, 2]),
    ] {
        let fleet = simple(targets);
        let plan = Plan::build(&fleet, &policy, 5).unwrap();
        verify(&fleet, &policy, &plan).unwrap();
        assert_eq!(sizes(&plan), expected, "{targets} targets");
        assert_eq!(plan.batch(plan.batch_count() - 1).cumulative, targets);
    }
}

proptest! {
    #![proptest_config(cases(400))]
    /// New classes of any size, under ramps that grow fast, slowly or hardly at all: planned, and found right by the verifier.
    #[test]
    fn new_classes_grow_by_themselves_under_any_ramp(
        rows in rows(6, 300), first in 1_u32..6, step in 1_u32..60, growth in 1.1_f64..8.0, linear: bool,
        detection in 0_u32..40, new in prop::sample::subsequence(vec![("stack", "go"), ("stack", "java"), ("zone", "z1")], 1..=3),
        cover in prop::option::of(prop::sample::subsequence(vec!["stack", "zone"], 0..=2)), seed: u64,
    ) {
        let fleet = fleet(&rows);
        let ramp = if linear { Ramp::linear(count(first), count(step)) } else { Ramp::geometric(count(first), growth) };
        let mut policy = Policy::new().ramp(ramp.unwrap()).spread(["stack", "zone"]).detection_targets(detection);
        policy = policy.fix_in_flight_per_app(count(1));
        for &(key, value) in &new {
            policy = policy.new_class(key, value);
        }
        if let Some(keys) = cover {
            policy = policy.first_batch_covers(keys).unwrap();
        }
        match Plan::build(&fleet, &policy, seed) {
            // Nobody of the few drawn has the value.
            Err(PlanError::Nobody { .. }) => {}
            plan => {
                let plan = plan.unwrap();
                prop_assert!(verify(&fleet, &policy, &plan).is_ok(), "{} {:?}", verify(&fleet, &policy, &plan).unwrap_err(), sizes(&plan));
            }
        }
    }
}

/// The shape of a production fleet: 23,871 targets of 156 applications on two stacks.
#[test]
fn the_first_batch_of_a_real_shape_is_small_and_sees_both_stacks() {
    let mut builder = Fleet::builder();
    let mut left = 23_871_u32;
    for app in 0..156_u32 {
        let size = if app == 155 {
            left
        } else {
            (left / (156 - app) * 2 * (app % 7 + 1) / 8).clamp(3, 2_551)
        };
        for n in 0..size {
            let stack = if n % 10 < 3 { "HN" } else { "CN" };
            builder
                .push(&format!("i{app}-{n}"), &format!("app{app}"), [("stack", stack)], true)
                .unwrap();
        }
        left -= size;
    }
    let fleet = builder.build().unwrap();
    assert_eq!(fleet.len(), 23_871);
    let policy = Policy::new().spread(["stack"]);
    let plan = Plan::build(&fleet, &policy, 2).unwrap();
    let proof = verify(&fleet, &policy, &plan).unwrap();
    assert_eq!(proof.classes_covered, 2);
    // 0.1 % is not exceeded: 23.87 is 23.
    assert_eq!(plan.batch(0).size, 23);
    assert!(plan.batch(3).cumulative <= 23_871 / 20, "{:?}", sizes(&plan));
    assert!(plan.uncovered().is_empty());
    assert!(
        plan.summary()
            .to_string()
            .contains("23871 targets of 156 applications in 312 strata")
    );
    assert!(matches!(plan.control_cohort(0), Control::Matched { .. }));
    assert_eq!(plan.control_cohort(plan.batch_count() - 1), Control::None);
}

#[test]
fn classes_of_singletons_and_unready_ones_are_reported() {
    let mut builder = Fleet::builder();
    for n in 0..20 {
        builder.push(&format!("a{n}"), "a", [("zone", "z1")], true).unwrap();
    }
    builder.push("lone", "lone", [("zone", "far")], true).unwrap();
    for n in 0..3 {
        builder.push(&format!("b{n}"), "b", [("zone", "down")], false).unwrap();
    }
    builder.push("a-none", "a", [], true).unwrap();
    let fleet = builder.build().unwrap();
    let policy = Policy::new().spread(["zone"]).fix_in_flight_per_app(count(1));
    let plan = Plan::build(&fleet, &policy, 1).unwrap();
    verify(&fleet, &policy, &plan).unwrap();
    let found: Vec<_> = plan
        .uncovered()
        .iter()
        .map(|gap| (gap.value.as_str(), gap.why))
        .collect();
    assert_eq!(
        found,
        [
            ("far", UncoveredReason::OnlySingletons),
            ("down", UncoveredReason::NoneReady)
        ]
    );
    let zone = fleet.key_index("zone").unwrap();
    assert_eq!(plan.summary().classes, fleet.value_count(zone));
    // A stratum of one inside a larger application is not held back, so it has no control.
    // The second stratum of the first application.
    assert_eq!(plan.stratum_of(fleet.index_of("a-none").unwrap()).0, 1);
    assert!(plan.batch_of(fleet.index_of("a-none").unwrap()) < plan.batch_count() - 1);
    assert_eq!(plan.batch_of(fleet.index_of("lone").unwrap()), plan.batch_count() - 1);
    assert!(!plan.is_control(fleet.index_of("lone").unwrap()));
    assert!((0..3).all(|n| !plan.is_control(fleet.index_of(&format!("b{n}")).unwrap())));
}

#[test]
fn bad_policies_are_errors_before_anything_is_planned() {
    let fleet = simple(9);
    let build = |policy: Policy| Plan::build(&fleet, &policy, 0).unwrap_err();
    let unknown = build(Policy::new().spread(["zone"]));
    assert_eq!(
        unknown.to_string(),
        "spread: no target has a label `zone`; the fleet's keys are: none"
    );
    assert!(matches!(
        build(Policy::new().per_label("zone", pct(5))),
        PlanError::UnknownKey { .. }
    ));
    assert!(matches!(
        build(Policy::new().per_app(pct(101))),
        PlanError::Policy(PolicyError::AboveWhole { .. })
    ));
    assert!(matches!(
        build(Policy::new().total_in_flight(count(0))),
        PlanError::Policy(PolicyError::Zero { .. })
    ));
    assert!(matches!(
        build(Policy::new().holdback(pct(51))),
        PlanError::Policy(PolicyError::Holdback { .. })
    ));
    assert!(matches!(
        build(Policy::new().spread(["a", "a"])),
        PlanError::Policy(PolicyError::RepeatedKey { .. })
    ));
    assert!(Policy::new().first_batch_covers(["a", "a"]).is_err());
    assert!(Policy::new().first_batch_covers([""]).is_err());
}

#[test]
fn too_slow_a_ramp_is_an_error() {
    let fleet = simple(70_000);
    let policy = Policy::new().ramp(Ramp::geometric(count(40_000), 1.001).unwrap());
    assert!(Plan::build(&fleet, &policy, 0).is_ok());
    let policy = Policy::new()
        .ramp(Ramp::geometric(count(1), 1.001).unwrap())
        .holdback(count(1));
    // 1, 2, 3, ...: one more each batch until 0.1 % is more than one.
    let plan = Plan::build(&fleet, &policy, 0).unwrap();
    assert!(plan.batch_count() > 1_000);
}

#[test]
fn growth_by_ten_never_takes_more_than_half() {
    let fleet = simple(1_000);
    let policy = Policy::new().ramp(Ramp::geometric(count(1), 10.0).unwrap());
    let plan = Plan::build(&fleet, &policy, 0).unwrap();
    assert_eq!(sizes(&plan), [1, 9, 90, 500, 350, 50]);
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn every_plan_is_proved_and_repeatable(rows in rows(12, 150), policy in policies(), seed: u64) {
        let fleet = fleet(&rows);
        let plan = Plan::build(&fleet, &policy, seed).unwrap();
        let proof = verify(&fleet, &policy, &plan);
        prop_assert!(proof.is_ok(), "{}", proof.unwrap_err());
        let again = Plan::build(&fleet, &policy, seed).unwrap();
        for batch in 0..plan.batch_count() {
            prop_assert_eq!(plan.targets(batch), again.targets(batch));
            prop_assert!(plan.batch(batch).size > 0);
            let order = plan.targets(batch).iter().map(|&t| (fleet.app_of(t), position(seed, fleet.id(t))));
            prop_assert!(order.is_sorted(), "batch {}", batch);
        }
    }

    /// Without coverage and unready targets: removing targets keeps the order of the remaining ones in each stratum, and so a target's
    /// cohort is decided by its hash alone.
    #[test]
    fn scaling_never_reorders_a_stratum(rows in rows(6, 120), gone in prop::collection::vec(any::<bool>(), 120), seed: u64) {
        let rows: Vec<_> = rows.into_iter().map(|row| (row.0, row.1, row.2, true)).collect();
        let policy = Policy::new().spread(["stack"]).first_batch_covers(Vec::<String>::new()).unwrap();
        let whole = fleet(&rows);
        let plan = Plan::build(&whole, &policy, seed).unwrap();
        let mut builder = Fleet::builder();
        for target in whole.targets().filter(|t| !gone.get(t.at()).copied().unwrap_or(false)) {
            let keys = whole.keys().iter().map(|key| (key.as_str(), whole.key_index(key).unwrap()));
            let labels: Vec<_> = keys.filter_map(|(name, key)| Some((name, whole.value_name(key, whole.label(target, key)?)))).collect();
            builder.push(whole.id(target), whole.app_name(whole.app_of(target)), labels, true).unwrap();
        }
        let Ok(part) = builder.build() else { return Ok(()) };
        if part.key_index("stack").is_none() { return Ok(()) }
        let less = Plan::build(&part, &policy, seed).unwrap();
        // In both plans: sorted by (stratum, batch), hash order within a stratum never falls.
        let mut strata: BTreeMap<u32, Vec<(u16, u64, u16)>> = BTreeMap::new();
        for target in part.targets() {
            let before = whole.index_of(part.id(target)).unwrap();
            let entry = (less.batch_of(target), position(seed, part.id(target)), plan.batch_of(before));
            strata.entry(less.stratum_of(target).0).or_default().push(entry);
        }
        for cohort in strata.values_mut() {
            cohort.sort_unstable();
            prop_assert!(cohort.is_sorted_by_key(|&(_, hash, _)| hash));
            prop_assert!(cohort.is_sorted_by_key(|&(_, _, before)| before));
        }
    }
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    let text = r#"{
        "spread": ["stack"], "detection_targets": 299, "new_classes": [{"key": "stack", "value": "node"}],
        "per_app": "25 % rounded up", "per_label": {"zone": "10 %", "rack": 3}, "total_in_flight": "0.5%",
        "one_value_per_app": ["zone"], "one_first_exposure": ["region"], "rate": {"targets": 500, "window_ms": 3600000},
        "ready_capacity_headroom": "20 %", "fix_in_flight_per_app": 1,
        "pins": [{"scope": {"app": "pay", "labels": {"zone": "z1"}}, "version": "1.8", "until_ms": 9000, "owner": "li", "reason": "INC-42"}]
    }"#;
    let read: Policy = serde_json::from_str(text).unwrap();
    let pin = Pin {
        scope: PinScope {
            app: Some("pay".into()),
            labels: [("zone".to_owned(), "z1".to_owned())].into(),
        },
        version: "1.8".into(),
        until_ms: 9_000,
        owner: "li".into(),
        reason: "INC-42".into(),
    };
    let built = Policy::new()
        .spread(["stack"])
        .detection_targets(299)
        .new_class("stack", "node")
        .per_app(Cap::rounded_up(pct(25)))
        .per_label("zone", pct(10))
        .per_label("rack", count(3))
        .total_in_flight(Amount::PartsPerMillion(5_000))
        .one_value_per_app("zone")
        .one_first_exposure("region")
        .rate(500, 3_600_000)
        .ready_capacity_headroom(pct(20))
        .fix_in_flight_per_app(count(1))
        .pin(pin);
    assert_eq!(read, built);
    assert_eq!(
        serde_json::from_str::<Policy>(&serde_json::to_string(&built).unwrap()).unwrap(),
        built
    );
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::new());
    let wrong = serde_json::from_str::<Policy>(r#"{"per_ap": "5 %"}"#)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("unknown field `per_ap`") && wrong.contains("`per_app`"),
        "{wrong}"
    );
}
