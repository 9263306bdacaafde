//! Each bound broken in turn in a copy of a plan: the verifier must say so.

use super::verify;
use crate::index::{TargetIndex, narrow};
use crate::{Fleet, Plan, Policy, UncoveredReason, Violation, pct};

/// 90 targets: applications of 40, 30, 12, 4, 3 and one of 1; two stacks, three zones. One target in eleven is not ready.
fn fleet() -> Fleet {
    let mut builder = Fleet::builder();
    let mut n = 0;
    for (app, size) in [("a", 40), ("b", 30), ("c", 12), ("d", 4), ("e", 3), ("f", 1)] {
        for k in 0..size {
            let labels = [("stack", ["java", "go"][k % 2]), ("zone", ["z1", "z2", "z3"][k % 3])];
            builder.push(&format!("{app}-{k}"), app, labels, n % 11 != 5).unwrap();
            n += 1;
        }
    }
    builder.build().unwrap()
}

fn policy() -> Policy {
    Policy::new()
        .spread(["stack"])
        .first_batch_covers(["stack", "zone"])
        .unwrap()
        .holdback(pct(10))
}

/// Puts every target of the plan where `batch_of` says, consistently.
fn rebuild(fleet: &Fleet, plan: &mut Plan) {
    let last = plan.batch_count() - 1;
    plan.order.clear();
    plan.first = vec![0];
    for batch in 0..=last {
        for target in fleet.targets().filter(|&t| plan.start.batch_of[t.at()] == batch) {
            plan.order.push(target);
        }
        plan.first.push(narrow(plan.order.len()));
    }
}

fn found(fleet: &Fleet, plan: &Plan) -> Vec<Violation> {
    verify(fleet, &policy(), plan)
        .expect_err("the plan is broken")
        .into_iter()
        .collect()
}

fn put(fleet: &Fleet, plan: &mut Plan, id: &str, batch: u16) {
    plan.start.batch_of[fleet.index_of(id).unwrap().at()] = batch;
}

fn good() -> (Fleet, Plan) {
    let fleet = fleet();
    let plan = Plan::build(&fleet, &policy(), 11).unwrap();
    let proof = verify(&fleet, &policy(), &plan).unwrap();
    assert_eq!((proof.targets, proof.singletons, proof.classes_covered), (90, 1, 5));
    assert!(
        proof.halves > 10 && proof.holdbacks == 9 && proof.controls > 5 && proof.neighbours > 40,
        "{proof:?}"
    );
    (fleet, plan)
}

#[test]
fn another_fleet() {
    let (_, plan) = good();
    let mut builder = Fleet::builder();
    builder.push("x", "y", [], true).unwrap();
    let other = builder.build().unwrap();
    assert_eq!(found(&other, &plan), [Violation::Fleet { plan: 90, fleet: 1 }]);
}

#[test]
fn a_target_twice_and_one_never() {
    let (fleet, mut plan) = good();
    let (twice, never) = (plan.order[3], plan.order[0]);
    plan.order[0] = twice;
    let partition: Vec<_> = found(&fleet, &plan)
        .into_iter()
        .filter_map(|v| {
            if let Violation::Partition { target, listed, .. } = v {
                Some((target, listed))
            } else {
                None
            }
        })
        .collect();
    assert!(
        partition.contains(&(fleet.id(twice).to_owned(), 2)) && partition.contains(&(fleet.id(never).to_owned(), 0)),
        "{partition:?}"
    );
}

#[test]
fn a_target_listed_in_another_batch_than_its_own() {
    let (fleet, mut plan) = good();
    let target = plan.order[0];
    plan.start.batch_of[target.at()] = 1;
    assert!(found(&fleet, &plan).iter().any(|v| matches!(
        v,
        Violation::Partition {
            listed: 1,
            batch: 1,
            ..
        }
    )));
}

#[test]
fn a_batch_larger_than_the_ramp() {
    let (fleet, mut plan) = good();
    assert_eq!((plan.batch(0).cumulative, plan.batch(1).cumulative), (3, 6));
    let late = plan
        .targets(3)
        .iter()
        .copied()
        .find(|&t| fleet.app_size(fleet.app_of(t)) >= 30)
        .unwrap();
    plan.start.batch_of[late.at()] = 1;
    rebuild(&fleet, &mut plan);
    assert!(found(&fleet, &plan).contains(&Violation::Ramp {
        batch: 1,
        cumulative: 7,
        allowed: 6
    }));
}

#[test]
fn more_than_half_of_an_application() {
    let (fleet, mut plan) = good();
    let last = plan.batch_count() - 1;
    for k in 0..3 {
        put(&fleet, &mut plan, &format!("d-{k}"), last);
    }
    put(&fleet, &mut plan, "d-3", 1);
    rebuild(&fleet, &mut plan);
    let expected = Violation::Half {
        batch: last,
        app: "d".into(),
        taken: 3,
        size: 4,
        allowed: 2,
    };
    assert!(found(&fleet, &plan).contains(&expected));
}

#[test]
fn a_singleton_before_the_last_batch() {
    let (fleet, mut plan) = good();
    put(&fleet, &mut plan, "f-0", 2);
    rebuild(&fleet, &mut plan);
    let last = plan.batch_count() - 1;
    assert!(found(&fleet, &plan).contains(&Violation::Singleton {
        app: "f".into(),
        batch: 2,
        last
    }));
}

#[test]
fn a_holdback_given_away() {
    let (fleet, mut plan) = good();
    let last = plan.batch_count() - 1;
    for k in (0..40).step_by(2) {
        let target = fleet.index_of(&format!("a-{k}")).unwrap();
        if plan.batch_of(target) == last {
            plan.start.batch_of[target.at()] = last - 1;
        }
    }
    rebuild(&fleet, &mut plan);
    let found = found(&fleet, &plan);
    assert!(
        found.contains(&Violation::Holdback {
            stratum: "`a` stack=java".into(),
            held: 0,
            size: 20,
            wanted: 2
        }),
        "{found:?}"
    );
    assert!(found.iter().any(|v| matches!(v, Violation::Control { .. })));
}

#[test]
fn a_class_uncovered() {
    let (fleet, mut plan) = good();
    let zone = fleet.key_index("zone").unwrap();
    let first = plan.targets(0).to_vec();
    let gone = first
        .iter()
        .copied()
        .find(|&t| fleet.value_name(zone, fleet.label(t, zone).unwrap()) == "z3")
        .unwrap();
    plan.start.batch_of[gone.at()] = 1;
    rebuild(&fleet, &mut plan);
    let found = found(&fleet, &plan);
    assert!(found.iter().any(|v| matches!(v, Violation::Coverage { key, value, available } if key == "zone" && value == "z3" && *available > 20)));
}

#[test]
fn a_false_report_about_coverage() {
    let (fleet, mut plan) = good();
    plan.uncovered.push(crate::Uncovered {
        key: "zone".into(),
        value: "z1".into(),
        why: UncoveredReason::OnlySingletons,
    });
    assert_eq!(
        found(&fleet, &plan),
        [Violation::CoverageReport {
            key: "zone".into(),
            value: "z1".into()
        }]
    );
}

#[test]
fn against_hash_order() {
    let (fleet, mut plan) = good();
    let last = plan.batch_count() - 1;
    let stratum = plan.stratum_of(TargetIndex(0));
    let of = |plan: &Plan, batch: u16| {
        plan.targets(batch)
            .iter()
            .copied()
            .find(|&t| plan.stratum_of(t) == stratum)
            .unwrap()
    };
    let (early, late) = (of(&plan, 3), of(&plan, last - 1));
    plan.start.batch_of.swap(early.at(), late.at());
    rebuild(&fleet, &mut plan);
    assert!(
        found(&fleet, &plan)
            .iter()
            .any(|v| matches!(v, Violation::Order { .. }))
    );
}

#[test]
fn a_control_that_is_not_comparable() {
    let (fleet, mut plan) = good();
    let touched = plan.targets(0)[0];
    plan.held[touched.at()] = true;
    let last = plan.batch_count() - 1;
    assert_eq!(
        found(&fleet, &plan),
        [Violation::Control {
            target: fleet.id(touched).into(),
            batch: 0,
            last
        }]
    );
}

#[test]
fn a_policy_that_cannot_be_meant() {
    let (fleet, plan) = good();
    for policy in [
        policy().per_app(pct(101)),
        policy().spread(["rack"]),
        policy().holdback(pct(51)),
    ] {
        let found = verify(&fleet, &policy, &plan).unwrap_err();
        assert!(matches!(found.as_slice(), [Violation::Policy { .. }]), "{found}");
    }
}
