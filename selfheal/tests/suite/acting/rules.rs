//! Dry runs, replays, capacities, and rules that do not hold together.

use unattended_selfheal::{
    Detector, Node, NodeError, NodeIndex, Policy, PolicyError, Record, RecordEvent, Standing, Step, difference, replay,
};

use super::cluster::{BAD, Cluster, GOOD, only};

#[test]
fn a_dry_run_decides_the_same_and_withholds_nothing() {
    let traffic = |nodes: u32| {
        let mut trace: Vec<Record> = (0..nodes)
            .map(|n| Record::new(0, NodeIndex(n), RecordEvent::Join { capacity: None }))
            .collect();
        for slice in 0..80_u64 {
            for n in 0..nodes {
                let ending = if n == 1 && slice > 20 { BAD } else { GOOD };
                let event = RecordEvent::Calls { ending, calls: 10 };
                trace.push(Record::new(slice * 250, NodeIndex(n), event));
            }
        }
        trace
    };
    let trace = traffic(4);
    let real = replay(&Policy::default(), 3, &trace).unwrap();
    let dry = Policy {
        dry_run: true,
        ..Policy::default()
    };
    let dry = replay(&dry, 3, &trace).unwrap();
    assert!(real.iter().all(|action| action.enforced) && dry.iter().all(|action| !action.enforced));
    assert!(!real.is_empty() && difference(&real, &dry).is_empty());
    // The same again to the byte; other rules differ, and it is said where.
    assert_eq!(
        serde_json::to_string(&real).unwrap(),
        serde_json::to_string(&replay(&Policy::default(), 3, &trace).unwrap()).unwrap()
    );
    let lax = Policy {
        healthy_rate: 0.2,
        bad_rate: 0.9,
        ..Policy::default()
    };
    let lax = replay(&lax, 3, &trace).unwrap();
    let differences = difference(&real, &lax);
    assert!(
        differences.iter().all(|d| d.node == Some(NodeIndex(1))),
        "{differences:?}"
    );
    let (before, after) = (differences[0].before.unwrap(), differences[0].after.unwrap());
    assert!(before.at_ms < after.at_ms, "{differences:?}");
    // A record of somebody who never joined.
    let stranger = [Record::new(
        0,
        NodeIndex(9),
        RecordEvent::Calls { ending: GOOD, calls: 1 },
    )];
    assert!(
        replay(&Policy::default(), 3, &stranger)
            .unwrap_err()
            .to_string()
            .contains("node 9")
    );

    let policy = Policy {
        dry_run: true,
        ..Policy::default()
    };
    let mut cluster = Cluster::new(4, policy);
    cluster.run(8, 20, |_, _| GOOD).run(4, 20, only(1));
    assert_eq!(cluster.said.len(), 1);
    assert!(cluster.nodes[1].admits(cluster.now_ms, 0));
}

#[test]
fn capacity_says_how_many_may_go() {
    // Six nodes of 200 calls/s carry 80 each. Without one: 5 * 160 >= 480. Without three: 3 * 160 >= 480. Without four:
    // 320, too little.
    let mut detector = Detector::new(Policy::default(), 5).unwrap();
    let nodes: Vec<Node> = (0..6).map(|_| detector.add(0, Some(200.0)).unwrap()).collect();
    let mut said = Vec::new();
    let mut now_ms = 0;
    for slice in 0..120 {
        for (place, node) in nodes.iter().enumerate() {
            let bad = place >= 2 && slice > 100;
            (0..20).for_each(|_| {
                node.record(now_ms, if bad && slice % 5 >= place - 2 { BAD } else { GOOD }, None);
            });
        }
        now_ms += 250;
        said.extend(detector.sweep(now_ms));
    }
    let isolated = said
        .iter()
        .filter(|action| matches!(action.step, Step::Isolate { .. }))
        .count();
    assert!((1..=3).contains(&isolated) && detector.isolated() <= 3, "{said:?}");
}

#[test]
fn a_dry_run_that_ends_puts_in_force_what_it_said() {
    let dry_run = |dry_run| Policy {
        dry_run,
        ..Policy::default()
    };
    let mut cluster = Cluster::new(4, dry_run(true));
    cluster.run(8, 20, |_, _| GOOD).run(4, 20, only(1));
    assert!(matches!(cluster.standing(1), Standing::Isolated { .. }));
    let admits = |cluster: &Cluster| [0, 1].map(|n: usize| cluster.nodes[n].admits(cluster.now_ms, 0));
    assert_eq!(admits(&cluster), [true, true]);
    cluster.detector.configure(dry_run(false)).unwrap();
    assert_eq!(admits(&cluster), [true, false]);
    cluster.detector.configure(dry_run(true)).unwrap();
    assert_eq!(admits(&cluster), [true, true]);
}

#[test]
fn any_capacity_above_zero_is_known() {
    // 32 bits hold neither of these: a node is not one of unknown capacity for that.
    let mut detector = Detector::new(Policy::default(), 5).unwrap();
    for capacity in [f64::MIN_POSITIVE, f64::MAX] {
        let node = detector.add(0, Some(capacity)).unwrap();
        detector.remove(0, node.index()).unwrap();
    }
    assert_eq!(detector.members(), 0);
}

#[test]
fn what_is_imposed_is_listed_with_its_end() {
    let mut cluster = Cluster::new(4, Policy::default());
    let node = cluster.nodes[1].index();
    for until_ms in [70_000, 90_000, 80_000] {
        cluster.detector.impose(10, node, until_ms).unwrap();
        let until_ms = if until_ms == 70_000 { 70_000 } else { 90_000 };
        let listed = cluster
            .detector
            .unhealthy()
            .iter()
            .map(|action| (action.node, action.step));
        assert_eq!(listed.collect::<Vec<_>>(), [(Some(node), Step::Isolate { until_ms })]);
    }
}

#[test]
fn misuse_is_typed_and_counted() {
    let mut detector = Detector::new(Policy::default(), 5).unwrap();
    let node = detector.add(10, None).unwrap();
    assert_eq!(detector.remove(10, NodeIndex(7)).unwrap_err(), NodeError::Unknown(7));
    assert_eq!(detector.standing(NodeIndex(7)).unwrap_err(), NodeError::Unknown(7));
    assert!(detector.impose(10, NodeIndex(7), 20).is_err() && detector.lift(10, NodeIndex(7)).is_err());
    for capacity in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(detector.add(10, Some(capacity)), Err(NodeError::Capacity(_))));
    }
    detector.sweep(5_000);
    detector.sweep(0);
    detector.sweep(4_999);
    assert_eq!(detector.clock_went_back(), 2);
    detector.sweep(u64::MAX);
    detector.sweep(u64::MAX - 1);
    node.record(u64::MAX, BAD, Some(u64::MAX));
    detector.sweep(u64::MAX);
    detector.remove(0, node.index()).unwrap();
    node.record(0, BAD, None);
    assert!(node.admits(0, 0) && detector.members() == 0);

    let wrong = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        Detector::new(policy, 1).unwrap_err()
    };
    assert!(matches!(
        wrong(|p| p.healthy_rate = f64::NAN),
        PolicyError::Fraction {
            field: "healthy_rate",
            ..
        }
    ));
    assert!(matches!(
        wrong(|p| p.bad_rate = 0.01),
        PolicyError::Order { field: "bad_rate", .. }
    ));
    assert!(matches!(
        wrong(|p| p.slice_ms = 0),
        PolicyError::Time { field: "slice_ms", .. }
    ));
    assert!(matches!(
        wrong(|p| p.lease_ms = u64::MAX),
        PolicyError::Time { field: "lease_ms", .. }
    ));
    assert!(matches!(wrong(|p| p.max_isolation_ms = 1), PolicyError::Longest { .. }));
    assert!(matches!(
        wrong(|p| p.max_isolated_share = 1.5),
        PolicyError::Share { .. }
    ));
    assert!(matches!(
        wrong(|p| p.false_isolations_per_node_year = 0.0),
        PolicyError::Positive { .. }
    ));
    assert!(matches!(
        wrong(|p| p.false_isolations_per_node_year = 1e-300),
        PolicyError::Test(_)
    ));
}
