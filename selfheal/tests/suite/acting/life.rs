//! Who is isolated, who is not, and how they come back.

use unattended_selfheal::{Detector, Node, NodeIndex, Policy, Reason, Standing, Step};

use super::cluster::{BAD, Cluster, GOOD, only};

#[test]
fn one_of_two_three_or_four_is_found() {
    for nodes in 2..=4 {
        let mut cluster = Cluster::new(nodes, Policy::default());
        cluster.run(8, 20, |_, _| GOOD).run(4, 20, only(1));
        assert!(
            matches!(cluster.standing(1), Standing::Isolated { .. }),
            "{nodes}: {:?}",
            cluster.said
        );
        assert_eq!(cluster.detector.isolated(), 1);
        assert!((0..nodes).filter(|&n| n != 1).all(|n| cluster.steps_of(n).is_empty()));
        assert_eq!(cluster.detector.unhealthy().len(), 1);
    }
    // The last one stays, dead or not.
    let mut alone = Cluster::new(1, Policy::default());
    alone.run(8, 20, |_, _| BAD);
    assert_eq!(
        (alone.detector.isolated(), alone.nodes[0].admits(alone.now_ms, 0)),
        (0, true)
    );
}

#[test]
fn half_may_be_bad_and_no_more_go() {
    let mut cluster = Cluster::new(10, Policy::default());
    cluster
        .run(20, 20, |_, _| GOOD)
        .run(4, 20, |node, _| if node < 5 { BAD } else { GOOD });
    assert_eq!(cluster.detector.isolated(), 5);
    cluster.run(8, 20, |node, _| if node < 7 { BAD } else { GOOD });
    assert_eq!(cluster.detector.isolated(), 5);
    let held = cluster.said.iter().filter(|action| action.step == Step::Hold);
    assert_eq!(
        held.map(|action| action.node.unwrap().0).collect::<Vec<_>>(),
        [5, 6],
        "once each"
    );
    // The worst go first, whatever their number.
    let mut uneven = Cluster::new(4, Policy::default());
    uneven.run(20, 20, |_, _| GOOD);
    uneven.run(1, 40, |node, call| {
        if node == 3 || (node == 0 && call % 2 == 0) {
            BAD
        } else {
            GOOD
        }
    });
    assert!(matches!(uneven.standing(3), Standing::Isolated { .. }) && uneven.detector.isolated() == 2);
    assert_eq!(uneven.said[0].node, Some(NodeIndex(3)));
}

#[test]
fn a_common_cause_freezes_and_says_so() {
    let mut cluster = Cluster::new(10, Policy::default());
    cluster
        .run(40, 20, |_, _| GOOD)
        .run(20, 20, |node, call| if node > 0 && call % 2 == 0 { BAD } else { GOOD });
    assert!(cluster.detector.frozen());
    assert_eq!(
        cluster.said.iter().map(|action| action.step).collect::<Vec<_>>(),
        [Step::Freeze]
    );
    assert_eq!(cluster.said[0].reason, Reason::CommonCause);
    // It ends, and what it did to their scores is not held against them.
    cluster.run(400, 20, |_, _| GOOD);
    assert!(!cluster.detector.frozen());
    assert_eq!(cluster.said.len(), 2, "{:?}", cluster.said);
    // Whoever goes on failing alone is found.
    cluster.run(8, 20, only(3));
    assert!(matches!(cluster.standing(3), Standing::Isolated { .. }));
}

#[test]
fn a_freeze_ends_by_itself() {
    let policy = Policy {
        max_isolation_ms: 30_000,
        ..Policy::default()
    };
    let mut cluster = Cluster::new(6, policy);
    let third = |_, call| if call % 3 == 0 { BAD } else { GOOD };
    cluster.run(40, 20, |_, _| GOOD).run(20, 20, third);
    assert!(cluster.detector.frozen());
    // A third failing is the usual now; a node that fails always stands out from it.
    cluster.run(110, 20, third);
    assert!(!cluster.detector.frozen(), "{:?}", cluster.said.last());
    cluster.run(80, 20, |node, call| if node == 2 { BAD } else { third(node, call) });
    assert!(
        matches!(cluster.standing(2), Standing::Isolated { .. }),
        "{:?}",
        cluster.said
    );
    assert_eq!(cluster.detector.isolated(), 1);
}

#[test]
fn a_life_from_isolation_to_full_service() {
    let policy = Policy {
        isolation_jitter: 0.0,
        ..Policy::default()
    };
    let mut cluster = Cluster::new(4, policy);
    cluster.run(8, 20, |_, _| GOOD).run(2, 20, only(1));
    let Standing::Isolated { until_ms } = cluster.standing(1) else {
        panic!("{:?}", cluster.said)
    };
    let began_ms = cluster.said[0].at_ms;
    assert_eq!(until_ms - began_ms, 30_000);
    // Nothing goes there until then; then one call, and one only.
    while cluster.now_ms < until_ms {
        assert!(!cluster.nodes[1].admits(cluster.now_ms, u32::MAX));
        cluster.run(1, 20, |_, _| GOOD);
    }
    cluster.run(1, 0, |_, _| GOOD);
    let (node, now_ms) = (cluster.nodes[1].clone(), cluster.now_ms);
    assert_eq!((0..50).filter(|_| node.admits(now_ms, u32::MAX)).count(), 1);
    node.record(now_ms, BAD, None);
    cluster.run(1, 20, |_, _| GOOD);
    let Standing::Isolated { until_ms } = cluster.standing(1) else {
        panic!("the probe failed")
    };
    assert_eq!(until_ms - cluster.now_ms, 60_000, "twice as long");
    // A probe that nobody comes back from is given out again.
    while cluster.now_ms <= until_ms {
        cluster.run(1, 20, |_, _| GOOD);
        if cluster.standing(1) == Standing::Probing {
            break;
        }
    }
    assert!(node.admits(cluster.now_ms, 0) && !node.admits(cluster.now_ms, 0));
    cluster.run(22, 0, |_, _| GOOD);
    assert!(node.admits(cluster.now_ms, 0), "{:?}", cluster.standing(1));
    node.record(cluster.now_ms, GOOD, None);
    // 1, 5, 25 % and full service, each stage earned.
    while !cluster.detector.unhealthy().is_empty() {
        cluster.run(1, 5, |_, _| GOOD);
    }
    let weights: Vec<_> = cluster
        .steps_of(1)
        .into_iter()
        .filter_map(|(step, _)| match step {
            Step::Weigh { weight_permille } => Some(weight_permille),
            Step::Restore => Some(1_000),
            _ => None,
        })
        .collect();
    assert_eq!(weights, [10, 50, 250, 1_000]);
    // Time alone forgives nothing, successes do.
    let two = |cluster: &Cluster| cluster.detector.multiplier(NodeIndex(1)).unwrap();
    assert_eq!(two(&cluster), 2);
    cluster.run(400, 0, |_, _| GOOD);
    assert_eq!(two(&cluster), 2);
    cluster.run(300, 2, |_, _| GOOD);
    assert!(two(&cluster) < 2);
}

#[test]
fn a_relapse_on_the_way_back_takes_half_the_failures() {
    let mut cluster = Cluster::new(4, Policy::default());
    cluster.run(8, 20, |_, _| GOOD).run(2, 20, only(1));
    let first = cluster.said[0].evidence.failures;
    while !matches!(cluster.standing(1), Standing::Returning { .. }) {
        cluster.run(1, 1, |_, _| GOOD);
    }
    cluster.said.clear();
    let threshold = cluster.detector.test().steps();
    let needed = (threshold.threshold() - threshold.threshold() / 2).div_ceil(threshold.failure());
    assert!(u64::from(needed) * 2 <= first + 1);
    cluster.run(1, u64::from(needed), only(1));
    assert!(
        matches!(cluster.steps_of(1)[..], [(Step::Isolate { .. }, Reason::Relapse)]),
        "{:?}",
        cluster.said
    );
    assert_eq!(cluster.said[0].multiplier, 2);
}

#[test]
fn a_stage_does_not_pass_while_something_speaks_against_the_node() {
    let mut cluster = Cluster::new(4, Policy::default());
    cluster.run(40, 20, |_, _| GOOD).run(4, 20, only(1));
    cluster.detector.lift(cluster.now_ms, NodeIndex(1)).unwrap();
    let first = Standing::Returning { weight_permille: 10 };
    assert_eq!(cluster.standing(1), first);
    // One failure on top of the head start, and too few successes to make up for it.
    let node = cluster.nodes[1].clone();
    node.record(cluster.now_ms, BAD, None);
    for _ in 0..6 {
        node.record(cluster.now_ms, GOOD, None);
    }
    for _ in 0..12 {
        cluster.now_ms += 250;
        cluster.detector.sweep(cluster.now_ms);
    }
    assert_eq!(
        cluster.standing(1),
        first,
        "the time of the stage is over, and it is not calm"
    );
    for _ in 0..30 {
        node.record(cluster.now_ms, GOOD, None);
    }
    cluster.now_ms += 250;
    cluster.detector.sweep(cluster.now_ms);
    assert_eq!(cluster.standing(1), Standing::Returning { weight_permille: 50 });
}

#[test]
fn the_last_one_stays_whoever_says_otherwise() {
    for nodes in 1..5 {
        for capacity in [None, Some(1_000_000.0)] {
            let policy = Policy {
                max_isolated_share: 1.0,
                ..Policy::default()
            };
            let mut detector = Detector::new(policy, 1).unwrap();
            let all: Vec<Node> = (0..nodes).map(|_| detector.add(0, capacity).unwrap()).collect();
            for node in &all {
                detector.impose(0, node.index(), 60_000).unwrap();
            }
            assert_eq!(detector.isolated(), nodes - 1);
            assert!(all.last().unwrap().admits(1, 0), "{nodes}, {capacity:?}");
        }
    }
}

#[test]
fn one_that_alone_has_calls_is_no_measure_for_itself() {
    let traffic = |one_in: u64, slices: u64| {
        let mut cluster = Cluster::new(2, Policy::default());
        let mut call = 0;
        for _ in 0..slices {
            for _ in 0..10 {
                call += 1;
                let ending = if call % one_in == 0 { BAD } else { GOOD };
                cluster.nodes[0].record(cluster.now_ms, ending, None);
            }
            cluster.now_ms += 250;
            cluster.said.extend(cluster.detector.sweep(cluster.now_ms));
        }
        matches!(cluster.standing(0), Standing::Isolated { .. })
    };
    assert!(traffic(1, 2), "dead from the start: the other may be better");
    assert!(!traffic(20, 800), "one call in twenty fails, as always");
}

#[test]
fn what_speaks_against_a_node_is_over_when_somebody_vouches_for_it() {
    let alarmed = |vouched: bool| {
        let mut cluster = Cluster::new(4, Policy::default());
        cluster.run(40, 20, |_, _| GOOD);
        let node = cluster.nodes[1].clone();
        let mut failures = 0;
        while cluster.detector.score(node.index()).unwrap().value() * 4
            < cluster.detector.test().steps().threshold() * 3
        {
            node.record(cluster.now_ms, BAD, None);
            failures += 1;
        }
        assert!(failures >= 3);
        if vouched {
            cluster.detector.lift(cluster.now_ms, node.index()).unwrap();
        }
        node.record(cluster.now_ms, BAD, None);
        node.record(cluster.now_ms, BAD, None);
        cluster.run(2, 0, |_, _| GOOD);
        matches!(cluster.standing(1), Standing::Isolated { .. })
    };
    assert_eq!([alarmed(false), alarmed(true)], [true, false]);
}

#[test]
fn leases_run_out_without_sweeps() {
    let mut cluster = Cluster::new(4, Policy::default());
    cluster.run(8, 20, |_, _| GOOD).run(4, 20, only(1));
    let node = &cluster.nodes[1];
    assert!(!node.admits(cluster.now_ms + 4_999, u32::MAX));
    assert!(node.admits(cluster.now_ms + 5_000, 0) && node.weight_permille(cluster.now_ms + 5_000) == 1_000);
}
