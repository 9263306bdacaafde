//! Replanning under churn, and refusals before anything is planned.

use std::collections::BTreeMap;

use crate::common::cases::cases;
use crate::common::{fleet, policies, rows};
use proptest::prelude::*;
use unattended_batching::{
    AppIndex, Event, Fleet, Noted, Pin, PinScope, Plan, PlanError, Policy, Previous, PreviousError, Side, Target,
    TraceStep, Violation, count, pct, verify, verify_repair, verify_trace,
};

/// Targets `t{n}` of the rows; those in `gone` are left out, and `born` more join.
fn changed(rows: &[crate::common::Row], gone: &[bool], born: &[crate::common::Row]) -> Vec<Target> {
    let before = fleet(rows);
    let kept = before.targets().filter(|t| !gone.get(t.at()).copied().unwrap_or(false));
    let mut targets: Vec<Target> = kept.map(|t| before.target(t)).collect();
    let after = fleet(born);
    for target in after.targets().skip(1) {
        let mut target = after.target(target);
        target.id = format!("new-{}", target.id);
        targets.push(target);
    }
    targets
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn repairing_moves_nobody_and_keeps_frozen_batches(
        rows in rows(8, 100), gone in prop::collection::vec(prop::bool::weighted(0.3), 100), born in rows_of_born(),
        policy in policies(), frozen in 0_u16..8, seed: u64,
    ) {
        let before = fleet(&rows);
        let plan = Plan::build(&before, &policy, seed).unwrap();
        let previous = Previous::of(&plan, &before).unwrap().frozen_before(frozen);
        let Ok(after) = Fleet::from_targets(changed(&rows, &gone, &born)) else { return Ok(()) };
        // Even where a key is gone with its last target.
        let repaired = match Plan::repair(&after, &policy, seed, &previous) {
            Err(PlanError::UnknownKey { .. }) if after.targets().all(|t| previous.batch_of(after.id(t)).is_none()) => return Ok(()),
            repaired => repaired.unwrap(),
        };
        let proof = verify_repair(&after, &policy, &repaired, &previous);
        prop_assert!(proof.is_ok(), "{}", proof.unwrap_err());
        if !repaired.is_repaired() {
            return Ok(());
        }
        prop_assert_eq!(repaired.batch_count(), plan.batch_count());
        // Frozen batches are the old ones without those who left, in the same order.
        for batch in 0..previous.first_open() {
            let was: Vec<&str> = plan.targets(batch).iter().map(|&t| before.id(t)).filter(|id| after.index_of(id).is_some()).collect();
            let is: Vec<&str> = repaired.targets(batch).iter().map(|&t| after.id(t)).collect();
            let sorted = |mut ids: Vec<&str>| { ids.sort_unstable(); ids.join(" ") };
            prop_assert_eq!(sorted(was), sorted(is));
        }
        // Nobody left and nobody joined: the same plan.
        let same = Plan::repair(&before, &policy, seed, &previous).unwrap();
        prop_assert_eq!(same.digest(), plan.digest());
        // And it can be carried out.
        let mut live = repaired.frontier();
        for _ in 0..repaired.batch_count() {
            for app in 0..after.app_count() {
                let app = AppIndex(app);
                live.on(Event::Promoted { app, at: 0 });
            }
        }
        prop_assert_eq!(live.lanes().map(|lane| lane.waiting_in_open).sum::<u32>() as usize, after.len());
    }
}

fn rows_of_born() -> impl Strategy<Value = Vec<crate::common::Row>> {
    rows(11, 40)
}

#[test]
fn an_unknown_stratum_begins_with_one_and_grows() {
    let app = |name: &str, n: usize| {
        (0..n)
            .map(|k| Target::new(format!("{name}{k}"), name))
            .collect::<Vec<_>>()
    };
    let before = Fleet::from_targets(app("a", 400)).unwrap();
    let plan = Plan::build(&before, &Policy::new(), 3).unwrap();
    let previous = Previous::of(&plan, &before).unwrap().frozen_before(3);
    let after = Fleet::from_targets(app("a", 400).into_iter().chain(app("b", 100)).chain(app("s", 1))).unwrap();
    let repaired = Plan::repair(&after, &Policy::new(), 3, &previous).unwrap();
    let mut sizes: BTreeMap<u16, u32> = BTreeMap::new();
    for target in after.targets_of(after.app_index("b").unwrap()) {
        *sizes.entry(repaired.batch_of(target)).or_default() += 1;
    }
    let last = plan.batch_count() - 1;
    assert_eq!(sizes.first_key_value(), Some((&3, &1)), "{sizes:?}");
    assert!(sizes.values().all(|&size| size <= 50) && sizes[&last] >= 5, "{sizes:?}");
    assert!(sizes.len() > 4, "{sizes:?}");
    let single = after.index_of("s0").unwrap();
    assert_eq!(repaired.batch_of(single), last);
}

/// Who is born into a repaired plan runs the new version only where the first of its like after it in hash order is in an open batch.
#[test]
fn births_into_a_repaired_plan_keep_to_its_cohorts() {
    let app = |from: usize, to: usize| {
        (from..to)
            .map(|k| Target::new(format!("a{k}"), "a"))
            .collect::<Vec<_>>()
    };
    let policy = Policy::new();
    let before = Fleet::from_targets(app(0, 60)).unwrap();
    let plan = Plan::build(&before, &policy, 3).unwrap();
    let previous = Previous::of(&plan, &before).unwrap();
    let after = Fleet::from_targets(app(20, 70)).unwrap();
    let repaired = Plan::repair(&after, &policy, 3, &previous).unwrap();
    let mut live = repaired.frontier();
    let (mut steps, mut new) = (Vec::new(), 0);
    for n in 0..400 {
        if n % 60 == 59 {
            let promoted = Event::Promoted {
                app: AppIndex(0),
                at: 0,
            };
            assert_eq!(live.on(promoted), Noted::Applied);
            steps.push(TraceStep::Told(promoted));
        }
        let (id, at) = (format!("b{n}"), 0);
        let side = live.version_for(&id, "a", &[]);
        live.join(&id, "a", &[], side, at).unwrap();
        new += u32::from(side == Side::New);
        let (app, labels) = ("a".to_owned(), Vec::new());
        steps.push(TraceStep::Joined {
            id,
            app,
            labels,
            side,
            at,
        });
    }
    assert!(new > 0, "nobody was born new");
    if let Err(found) = verify_trace(&after, &policy, &repaired, &steps) {
        panic!("{found}");
    }
}

/// 300 applications come at once: they do not all begin in the first open batch, which was meant to be small.
#[test]
fn many_unknown_strata_begin_one_after_the_other() {
    let app = |name: &str, n: usize| {
        (0..n)
            .map(|k| Target::new(format!("{name}-{k}"), name))
            .collect::<Vec<_>>()
    };
    let before = Fleet::from_targets(app("a", 1_000)).unwrap();
    let plan = Plan::build(&before, &Policy::new(), 3).unwrap();
    let previous = Previous::of(&plan, &before).unwrap();
    let born = (0..300).flat_map(|n| app(&format!("b{n}"), 2));
    let after = Fleet::from_targets(app("a", 1_000).into_iter().chain(born)).unwrap();
    let repaired = Plan::repair(&after, &Policy::new(), 3, &previous).unwrap();
    verify_repair(&after, &Policy::new(), &repaired, &previous).unwrap();
    let last = plan.batch_count() - 1;
    for batch in 0..last - 1 {
        let (was, is) = (plan.batch(batch).cumulative, repaired.batch(batch).cumulative);
        assert!(
            is - was <= (was * 300 / 1_000).max(1),
            "batch {batch}: {is} after {was}"
        );
    }
    // Every application has one before the last batch and one in it.
    assert_eq!(repaired.batch(last).size - plan.batch(last).size, 300);
}

#[test]
fn a_repair_that_moves_somebody_is_found() {
    let app = |n: usize| (0..n).map(|k| Target::new(format!("a{k}"), "a")).collect::<Vec<_>>();
    let before = Fleet::from_targets(app(60)).unwrap();
    let plan = Plan::build(&before, &Policy::new(), 3).unwrap();
    let previous = Previous::of(&plan, &before).unwrap().frozen_before(2);
    // Planned anew with another seed instead of repaired.
    let anew = Plan::build(&before, &Policy::new(), 4).unwrap();
    let found = verify_repair(&before, &Policy::new(), &anew, &previous).unwrap_err();
    assert!(
        found
            .as_slice()
            .iter()
            .any(|v| matches!(v, Violation::Moved { was: 0, .. })),
        "{found}"
    );
    let twice = Previous::from_batches([(0, "a"), (3, "a")]).unwrap_err();
    assert_eq!(
        twice,
        PreviousError::Twice {
            id: "a".into(),
            first: 0,
            second: 3
        }
    );
    assert!(Previous::from_batches([(60_000, "a")]).is_err());
}

fn weighed(sizes: &[(u32, u32)]) -> Fleet {
    let target = |(n, &(capacity, load)): (usize, &(u32, u32))| {
        let mut target = Target::new(format!("t{n}"), "a");
        (target.capacity, target.load) = (capacity, load);
        target
    };
    Fleet::from_targets(sizes.iter().enumerate().map(target)).unwrap()
}

#[test]
fn what_can_never_progress_is_refused_with_the_smallest_change() {
    let refused = |fleet: &Fleet, policy: &Policy| Plan::build(fleet, policy, 0).unwrap_err().to_string();
    let spare = Policy::new().ready_capacity_headroom(pct(50));
    // 30 of load need 45; without the largest 35 are left: 16 % is what they allow.
    let fleet = weighed(&[(20, 10), (20, 10), (15, 10)]);
    let said = refused(&fleet, &spare);
    assert!(
        said.contains("application `a` needs 45") && said.contains("(20) only 35 is left"),
        "{said}"
    );
    assert!(said.contains("16.6666 % is the most"), "{said}");
    assert!(Plan::build(&fleet, &Policy::new().ready_capacity_headroom(pct(16)), 0).is_ok());
    assert!(refused(&weighed(&[(10, 10), (10, 10)]), &spare).contains("it lacks 10"));
    assert!(refused(&weighed(&[(10, 0), (10, 0)]), &spare).contains("no target of the fleet has a load"));

    let ill = |ill: usize| {
        let targets = (0..8).map(|n| {
            let mut target = Target::new(format!("t{n}"), "a");
            target.ready = n >= ill;
            target.labels = [("zone".to_owned(), format!("z{}", n % 2))].into();
            target
        });
        Fleet::from_targets(targets).unwrap()
    };
    let strict = Policy::new().fix_in_flight_per_app(count(0)).total_in_flight(pct(100));
    let said = refused(&ill(3), &strict.clone().per_app(count(2)));
    assert!(
        said.contains("per_app: 3 of 8 targets of application `a` are unhealthy, and at most 2"),
        "{said}"
    );
    assert!(Plan::build(&ill(3), &strict.clone().per_app(count(3)), 0).is_ok());
    // One zone beyond its cap keeps the other from nothing; both keep everybody from all.
    let zoned = strict.clone().per_app(count(4)).per_label("zone", count(1));
    assert!(Plan::build(&ill(3), &zoned, 0).is_ok());
    let said = refused(&ill(4), &zoned);
    assert!(said.contains("per_label `zone`: 2 of 4 targets of zone=z0"), "{said}");
    assert!(
        said.contains("allow 2, or let fixes in with fix_in_flight_per_app: 1"),
        "{said}"
    );
    assert!(Plan::build(&ill(4), &zoned.fix_in_flight_per_app(count(1)), 0).is_ok());
    let said = refused(&ill(3), &strict.per_app(count(3)).total_in_flight(count(2)));
    assert!(said.contains("total_in_flight: 3 of 8 targets of the fleet"), "{said}");
    // A rule for nobody is a misspelt one, and is refused; not so in a repaired plan, whose people may be gone.
    let pinned = |app: Option<&str>, zone: &str| {
        let labels = [("zone".to_owned(), zone.to_owned())].into();
        Policy::new().pin(Pin {
            scope: PinScope {
                app: app.map(Into::into),
                labels,
            },
            version: "1".into(),
            until_ms: 9,
            owner: "li".into(),
            reason: "audit".into(),
        })
    };
    assert!(Plan::build(&ill(0), &pinned(Some("a"), "z1"), 0).is_ok());
    let earlier = Plan::build(&ill(0), &Policy::new(), 0).unwrap();
    let earlier = Previous::of(&earlier, &ill(0)).unwrap();
    for nobody in [
        pinned(Some("pay"), "z1"),
        pinned(None, "z7"),
        Policy::new().spread(["zone"]).new_class("zone", "z7"),
    ] {
        let said = refused(&ill(0), &nobody);
        assert!(said.contains("no target of the fleet is of"), "{said}");
        assert!(Plan::repair(&ill(0), &nobody, 0, &earlier).is_ok());
    }
    for policy in [
        Policy::new().one_value_per_app("rack"),
        Policy::new().one_first_exposure("rack"),
        Policy::new().per_label("rack", count(1)),
    ] {
        assert!(matches!(
            Plan::build(&ill(0), &policy, 0),
            Err(PlanError::UnknownKey { .. })
        ));
    }
    assert!(Plan::build(&ill(0), &Policy::new().rate(0, 5), 0).is_err());
    assert!(
        Plan::build(&ill(0), &Policy::new().new_class("zone", "z1"), 0).is_err(),
        "zone is no spread key"
    );
}

/// A class no change has met begins with one target, however large, and less critical targets show classes first.
#[test]
fn new_classes_begin_with_one_and_less_critical_targets_go_first() {
    let targets = (0..3_000_u32).map(|n| {
        let mut target = Target::new(format!("t{n}"), format!("app{}", n % 30));
        let stack = if n % 30 < 12 { "node" } else { "java" };
        target.labels = [("stack".to_owned(), stack.to_owned())].into();
        target.tier = u8::from(n % 30 % 3 == 0) * 2;
        target
    });
    let fleet = Fleet::from_targets(targets).unwrap();
    let stack = fleet.key_index("stack").unwrap();
    let of = |plan: &Plan, batch: u16, stack_name: &str| {
        let has = |&&t: &&unattended_batching::TargetIndex| {
            fleet.value_name(stack, fleet.label(t, stack).unwrap()) == stack_name
        };
        plan.targets(batch).iter().filter(has).count()
    };
    let plain = Policy::new().spread(["stack"]).detection_targets(299);
    let policy = plain.clone().new_class("stack", "node");
    let plan = Plan::build(&fleet, &policy, 1).unwrap();
    verify(&fleet, &policy, &plan).unwrap();
    let counts: Vec<usize> = (0..4).map(|batch| of(&plan, batch, "node")).collect();
    assert_eq!(counts, [1, 1, 2, 4]);
    assert_eq!(plan.batch(0).size, 299);
    // Planned without the rule, its check finds it.
    let without = Plan::build(&fleet, &plain, 1).unwrap();
    let found = verify(&fleet, &policy, &without).unwrap_err();
    assert!(
        found.to_string().contains(
            "new class stack=node: 120 targets up to batch 0; growing from one as the ramp does it has at most 1"
        ),
        "{found}"
    );
    // Two classes, one target each, both of the less critical tier.
    let small = Policy::new()
        .spread(["stack"])
        .ramp(unattended_batching::Ramp::geometric(count(1), 2.0).unwrap());
    let plan = Plan::build(&fleet, &small, 1).unwrap();
    assert_eq!(plan.batch(0).size, 2);
    assert!(plan.targets(0).iter().all(|&t| fleet.weights(t).tier == 2));
}
