//! Every ramp makes plans that the verifier, which works sizes out by itself, accepts; and expected exposure has its known values.

use crate::common::cases::cases;
use crate::common::{fleet, policies, rows};
use proptest::prelude::*;
use unattended_batching::{
    Exposure, Plan, PlanError, Policy, PolicyError, Ramp, RampError, Violation, count, expected_exposure, pct,
    permille, verify,
};

fn ramps() -> impl Strategy<Value = Ramp> {
    let small = || 1_u32..60;
    prop_oneof![
        (1_u32..30, 1.05_f64..12.0).prop_map(|(first, growth)| Ramp::geometric(count(first), growth).unwrap()),
        (small(), small()).prop_map(|(first, step)| Ramp::linear(pct(first), count(step)).unwrap()),
        prop::collection::vec(1_u32..100, 1..6).prop_map(|mut steps| {
            steps.sort_unstable();
            Ramp::steps(steps.into_iter().map(pct)).unwrap()
        }),
        prop::collection::vec(1_u32..150, 1..6).prop_map(|mut steps| {
            steps.sort_unstable();
            Ramp::steps(steps.into_iter().map(count)).unwrap()
        }),
        (prop::collection::vec(1_u32..20, 1..4), 1.1_f64..5.0).prop_map(|(levels, growth)| {
            Ramp::evidence(levels.into_iter().map(Exposure::targets), growth).unwrap()
        }),
        (1_u32..200, 1_u32..20, 0.001_f64..0.9).prop_map(|(batch, target, p)| Ramp::cost_optimal(
            count(1),
            batch,
            target,
            p
        )
        .unwrap()),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn sizes_rise_from_what_coverage_needs_to_the_whole(ramp in ramps(), fleet in 1_u32..5_000, least in 0_u32..50) {
        if let Ok(sizes) = ramp.sizes(fleet, least) {
            prop_assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
            prop_assert!(sizes[0] >= least.min(fleet) && sizes.ends_with(&[fleet]));
        }
    }

    #[test]
    fn every_ramp_makes_plans_that_are_proved(rows in rows(12, 120), policy in policies(), ramp in ramps(), seed: u64) {
        let fleet = fleet(&rows);
        let policy = policy.ramp(ramp);
        match Plan::build(&fleet, &policy, seed) {
            Ok(plan) => {
                let proof = verify(&fleet, &policy, &plan);
                prop_assert!(proof.is_ok(), "{}", proof.unwrap_err());
            }
            Err(PlanError::Policy(PolicyError::Ramp(RampError::Undetectable { needed, half, .. }))) => prop_assert!(needed > half),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

/// A plan made for a faster ramp is no plan for a slower one, whatever the kind.
#[test]
fn a_plan_ahead_of_its_ramp_is_found() {
    let rows: Vec<_> = (0..200_u8).map(|n| (n % 5, n % 2, 3, true)).collect();
    let fleet = fleet(&rows);
    let plan_of = |ramp: &Ramp| Plan::build(&fleet, &Policy::new().ramp(ramp.clone()), 7).unwrap();
    let pairs = [
        (
            Ramp::steps([count(2), pct(30)]).unwrap(),
            Ramp::steps([count(2), pct(29)]).unwrap(),
        ),
        (
            Ramp::linear(count(2), count(20)).unwrap(),
            Ramp::linear(count(2), count(19)).unwrap(),
        ),
        (
            Ramp::geometric(count(2), 4.0).unwrap(),
            Ramp::geometric(count(2), 3.5).unwrap(),
        ),
        (
            Ramp::evidence([2, 30].map(Exposure::targets), 2.0).unwrap(),
            Ramp::evidence([2, 29].map(Exposure::targets), 2.0).unwrap(),
        ),
        (
            Ramp::cost_optimal(count(2), 900, 1, 0.1).unwrap(),
            Ramp::cost_optimal(count(2), 1, 1, 0.1).unwrap(),
        ),
    ];
    for (fast, slow) in pairs {
        let plan = plan_of(&fast);
        verify(&fleet, &Policy::new().ramp(fast), &plan).unwrap();
        let found = verify(&fleet, &Policy::new().ramp(slow.clone()), &plan).unwrap_err();
        let ahead = found
            .as_slice()
            .iter()
            .any(|v| matches!(v, Violation::Ramp { batch: 1.., .. }));
        assert!(ahead, "{slow:?}: {found}");
    }
}

#[test]
fn a_ramp_that_does_not_suit_the_fleet_is_refused_before_anything_is_planned() {
    let fleet = fleet(&[(0, 0, 3, true); 19]);
    let build = |ramp| {
        Plan::build(&fleet, &Policy::new().ramp(ramp), 0)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        build(Ramp::steps([count(3), pct(5)]).unwrap()),
        "ramp: step 2 (5 %) is less than step 1 (3) in a fleet of 20; steps are cumulative and never decrease"
    );
    let sighting = Exposure::sighting(0.01, 0.95).unwrap();
    assert!(build(Ramp::evidence([sighting], 2.0).unwrap()).contains("bake 29.9 times as long"));
}

/// `data/exposure.csv`; the file says where it comes from.
#[test]
fn exposure_has_its_reference_values() {
    let mut rows = 0;
    for line in include_str!("../data/exposure.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
    {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        let whole = |at: usize| cells[at].parse::<u32>().unwrap();
        let ramp = Ramp::geometric(count(whole(1)), number(2)).unwrap();
        let sizes = ramp.sizes(whole(0), 1).unwrap();
        assert_eq!(u32::try_from(sizes.len()).unwrap(), whole(4), "{line}");
        let found = expected_exposure(&sizes, number(3));
        assert!((found - number(5)).abs() < 0.5, "{line}: {found}");
        rows += 1;
    }
    assert_eq!(rows, 8);
}

/// By hand: sizes 1 and 3, a fault that shows half of the time. ½·1 + ½·(1 − ¼)·3 + ½·¼·3 = 2.
#[test]
fn exposure_by_hand() {
    assert!((expected_exposure(&[1, 3], 0.5) - 2.0).abs() < 1e-12);
    assert!((expected_exposure(&[4], 0.3) - 4.0).abs() < 1e-12);
    assert!(expected_exposure(&[], 0.3).abs() < 1e-12);
    let doubling = Ramp::geometric(permille(1), 2.0).unwrap().sizes(1_000_000, 1).unwrap();
    assert!(expected_exposure(&doubling, 0.01) < 1_050.0);
}

proptest! {
    /// Written and read again, a ramp is the same ramp.
    #[test]
    fn ramps_are_read_as_written(ramp in ramps()) {
        let text = serde_json::to_string(&ramp).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ramp>(&text).unwrap(), ramp, "{}", text);
    }
}

#[test]
fn a_ramp_that_is_read_is_checked_like_one_that_is_built() {
    for (text, complaint) in [
        (r#"{"geometric":{"first":1,"growth":1}}"#, "growth 1 is not between"),
        (
            r#"{"geometric":{"first":"200 %","growth":2}}"#,
            "first: 200 % is above 100 %",
        ),
        (
            r#"{"geometric":{"first":1,"growth":2,"speed":3}}"#,
            "unknown field `speed`",
        ),
        (r#"{"linear":{"first":1,"step":0}}"#, "step: 0 is nobody"),
        (r#"{"steps":[]}"#, "there is no step"),
        (r#"{"steps":["10 %","5 %"]}"#, "step 2 (5 %) is less than step 1 (10 %)"),
        (r#"{"evidence":{"levels":[],"growth":2}}"#, "no required exposure"),
        (
            r#"{"evidence":{"levels":[{"sighting":{"prevalence":2,"confidence":0.9}}],"growth":2}}"#,
            "prevalence 2 is not",
        ),
        (
            r#"{"cost_optimal":{"first":1,"batch_cost":0,"target_cost":1,"prevalence":0.1}}"#,
            "batch_cost is 0",
        ),
        (r#"{"exponential":{}}"#, "unknown variant `exponential`"),
    ] {
        let error = serde_json::from_str::<Ramp>(text).unwrap_err().to_string();
        assert!(error.contains(complaint), "{text}: {error}");
    }
    let text =
        r#"{"evidence":{"levels":[{"targets":3},{"events":{"needed":36476,"per_second":1,"bake_s":600}}],"growth":2}}"#;
    let ramp: Ramp = serde_json::from_str(text).unwrap();
    assert_eq!(ramp, Ramp::evidence([3, 61].map(Exposure::targets), 2.0).unwrap());
}
