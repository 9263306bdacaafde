//! Replica splits and stalls of other projects: as numbers in `data/splits.csv`, and as situations here, each named by its origin.

use unattended_batching::{
    Amount, Cap, Event, Fleet, Frontier, Plan, PlanError, Policy, PolicyError, Previous, Ramp, count, pct, verify,
    verify_repair,
};

#[test]
fn amounts_are_what_the_table_says() {
    let mut rows = 0;
    for line in include_str!("../data/splits.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
    {
        let cells: Vec<&str> = line.splitn(8, ';').collect();
        let &[origin, case, what, n, amount, theirs, ours, why] = cells.as_slice() else {
            panic!("{line}")
        };
        let (n, amount): (u32, Amount) = (n.parse().unwrap(), amount.parse().unwrap());
        let found = match what {
            "ramp" => amount.ceil_of(n),
            "cap" => Cap::rounded_down(amount).of(n),
            "cap up" => Cap::rounded_up(amount).of(n),
            _ => panic!("{line}"),
        };
        assert_eq!(found, ours.parse::<u32>().unwrap(), "{origin}: {case}");
        assert_eq!(
            theirs == ours,
            why.is_empty(),
            "{origin}: {case}: a difference needs a reason"
        );
        rows += 1;
    }
    assert!(rows >= 26);
}

fn fleet(apps: &[(&str, u32)], ready: impl Fn(u32) -> bool) -> Fleet {
    let mut builder = Fleet::builder();
    for (app, size) in apps {
        for n in 0..*size {
            builder.push(&format!("{app}-{n}"), app, [], ready(n)).unwrap();
        }
    }
    builder.build().unwrap()
}

fn open_all(live: &mut Frontier) {
    let apps: Vec<_> = live.lanes().map(|lane| lane.app).collect();
    for app in apps {
        while live.lane(app).next_batch.is_some() {
            live.on(Event::Promoted { app, at: 0 });
        }
    }
}

/// Runs a change to its end, batch by batch.
fn finish(live: &mut Frontier) {
    for _ in 0..10_000 {
        let starts = live.startable(0, usize::MAX);
        if starts.is_empty() {
            if live.is_done() {
                return;
            }
            open_all(live);
        }
        for id in starts {
            live.on(Event::Finished { id, at: 0 });
        }
    }
    unreachable!("it never ends");
}

/// Kruise 1812: with 5 % of 6 the rollout stood still for ever.
#[test]
fn five_percent_of_six_comes_to_its_end() {
    let fleet = fleet(&[("a", 6)], |_| true);
    let plan = Plan::build(&fleet, &Policy::new().per_app(pct(5)).total_in_flight(pct(5)), 1).unwrap();
    let mut live = plan.frontier();
    open_all(&mut live);
    assert_eq!(live.startable(0, usize::MAX).len(), 1);
    let mut live = plan.frontier();
    finish(&mut live);
}

/// OpenKruise Rollouts: 1 % of one pod is that pod. Here it waits for the last batch, and then it goes.
#[test]
fn one_percent_of_one_is_that_one() {
    let fleet = fleet(&[("a", 1)], |_| true);
    let policy = Policy::new()
        .ramp(Ramp::geometric(pct(1), 2.0).unwrap())
        .per_app(pct(1));
    let plan = Plan::build(&fleet, &policy, 1).unwrap();
    assert_eq!((plan.batch_count(), plan.batch(0).size), (1, 1));
    finish(&mut plan.frontier());
}

/// Kruise SidecarSet counts only ready pods against maxUnavailable: when half of the fleet is down, all of it may go at once.
#[test]
fn a_limit_does_not_vanish_when_half_the_fleet_is_unready() {
    let fleet = fleet(&[("a", 40)], |n| n % 2 == 0);
    let policy = Policy::new().per_app(pct(25)).total_in_flight(pct(100));
    let refused = Plan::build(&fleet, &policy, 1).unwrap_err();
    assert!(
        matches!(
            refused,
            PlanError::Overdrawn {
                unhealthy: 20,
                size: 40,
                cap: 10,
                ..
            }
        ),
        "{refused}"
    );
    let plan = Plan::build(&fleet, &policy.fix_in_flight_per_app(pct(100)), 1).unwrap();
    let mut live = plan.frontier();
    open_all(&mut live);
    // Twenty of forty are ill, ten is the cap: no healthy one may go, and of the ill ones, with the exception, at most ten at a time.
    let starts = live.startable(0, usize::MAX);
    assert!(starts.iter().all(|&t| !fleet.ready(t)), "a healthy one was taken");
    assert_eq!(starts.len(), 10);
    assert_eq!(live.startable(0, usize::MAX), []);
}

/// Argo 1377: a fix could not be deployed while stable itself was unhealthy.
#[test]
fn a_fix_enters_a_fleet_of_which_nobody_is_well() {
    let fleet = fleet(&[("a", 12)], |_| false);
    let fixes = Policy::new().fix_in_flight_per_app(count(1));
    let plan = Plan::build(&fleet, &fixes.total_in_flight(pct(100)), 1).unwrap();
    finish(&mut plan.frontier());
}

/// KubeFleet 610: an empty stage still waited. Kubefleet 638: a cluster nobody had listed blocked the run.
#[test]
fn an_empty_or_unlisted_stratum_blocks_nobody() {
    let fleet = fleet(&[("a", 9), ("b", 3)], |_| true);
    let plan = Plan::build(&fleet, &Policy::new(), 1).unwrap();
    let mut live = plan.frontier();
    // All of `b` is gone before anything began; somebody of an application nobody listed is there.
    let b = fleet.app_index("b").unwrap();
    for id in fleet.targets_of(b) {
        live.on(Event::Left { id });
    }
    let side = live.version_for("stranger", "unlisted", &[]);
    live.join("stranger", "unlisted", &[], side, 0).unwrap();
    finish(&mut live);
    assert_eq!(live.lane(b).size, 0);
}

/// KubeFleet 733: a cluster that joined or left aborted the run.
#[test]
fn who_joins_or_leaves_aborts_nothing() {
    let before = fleet(&[("a", 30), ("b", 5)], |_| true);
    let policy = Policy::new();
    let plan = Plan::build(&before, &policy, 1).unwrap();
    let previous = Previous::of(&plan, &before).unwrap().frozen_before(2);
    let after = fleet(&[("a", 33), ("c", 4)], |n| n != 7);
    let repaired = Plan::repair(&after, &policy, 1, &previous).unwrap();
    verify_repair(&after, &policy, &repaired, &previous).unwrap();
    verify(&after, &policy, &repaired).unwrap();
    for target in after.targets() {
        if let Some(was) = before.index_of(after.id(target)) {
            assert_eq!(repaired.batch_of(target), plan.batch_of(was));
        }
    }
    finish(&mut repaired.frontier());
}

/// Flagger: with a list of steps that was edited while it ran, the next step was all the remaining traffic.
#[test]
fn another_ramp_halfway_is_no_jump_to_the_end() {
    let fleet = fleet(&[("a", 400)], |_| true);
    let steps = |steps: &[u32]| Policy::new().ramp(Ramp::steps(steps.iter().map(|&n| pct(n))).unwrap());
    let plan = Plan::build(&fleet, &steps(&[5, 10, 50]), 1).unwrap();
    // The step that was reached (10 %) is not in the new list.
    let previous = Previous::of(&plan, &fleet).unwrap().frozen_before(2);
    let edited = Plan::repair(&fleet, &steps(&[5, 20, 50]), 1, &previous).unwrap();
    let sizes = |plan: &Plan| plan.batches().map(|batch| batch.cumulative).collect::<Vec<_>>();
    assert_eq!(
        sizes(&edited),
        sizes(&plan),
        "nobody is moved, and nothing grows faster than was said"
    );
}

/// Argo: limits of nothing were mended in silence (to 1); OpenKruise: steps were not compared where kinds were mixed.
#[test]
fn what_cannot_be_meant_is_said() {
    let fleet = fleet(&[("a", 10)], |_| true);
    let refused = |policy: Policy| Plan::build(&fleet, &policy, 0).unwrap_err().to_string();
    let none = refused(Policy::new().per_app(pct(0)));
    let expected = PolicyError::Zero {
        rule: "per_app".to_owned(),
        amount: pct(0),
    };
    assert_eq!(none, expected.to_string());
    let mixed = Ramp::steps([count(5), pct(20)]).unwrap();
    assert!(refused(Policy::new().ramp(mixed)).contains("step 2 (20 %) is less than step 1 (5)"));
}
