//! What is done about bad nodes: cap, isolation, return, leases, freezes. Properties under any order of things.

#![expect(clippy::unwrap_used, reason = "the policies and nodes of these tests are valid")]

use proptest::prelude::*;
use unattended_selfheal::{
    Action, Detector, Ending, Node, NodeError, NodeId, NodeIndex, Policy, PolicyError, Reason, Record, RecordEvent,
    RouteId, Standing, Step, difference, replay,
};

const BAD: Ending = Ending::ServerError;
const GOOD: Ending = Ending::Answered;

struct Cluster {
    detector: Detector,
    nodes: Vec<Node>,
    now_ms: u64,
    said: Vec<Action>,
}

impl Cluster {
    fn new(nodes: usize, policy: Policy) -> Self {
        let mut detector = Detector::new(policy, 5).unwrap();
        let nodes = (0..nodes).map(|_| detector.add(0, None).unwrap()).collect();
        Self {
            detector,
            nodes,
            now_ms: 0,
            said: Vec::new(),
        }
    }

    /// Slices of traffic: each node gets `calls`, ending as `ending` says, if it admits them.
    fn run(&mut self, slices: u64, calls: u64, ending: impl Fn(usize, u64) -> Ending) -> &mut Self {
        for _ in 0..slices {
            for (place, node) in self.nodes.iter().enumerate() {
                for call in 0..calls {
                    // A draw that no weight but zero refuses: what little goes to a node does go there.
                    if node.admits(self.now_ms, u32::MAX) {
                        node.record(self.now_ms, ending(place, call), Some(10_000));
                    }
                }
            }
            self.now_ms += 250;
            self.said.extend(self.detector.sweep(self.now_ms));
        }
        self
    }

    fn steps_of(&self, node: usize) -> Vec<(Step, Reason)> {
        let of = |action: &&Action| action.node == Some(self.nodes[node].index());
        self.said
            .iter()
            .filter(of)
            .map(|action| (action.step, action.reason))
            .collect()
    }

    fn standing(&self, node: usize) -> Standing {
        self.detector.standing(self.nodes[node].index()).unwrap()
    }
}

fn only(bad: usize) -> impl Fn(usize, u64) -> Ending {
    move |node, _| if node == bad { BAD } else { GOOD }
}

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
fn slow_nodes_weigh_less_and_come_back() {
    let latency = |cluster: &mut Cluster, slices: u64, slow_us: u64, time_outs: bool| {
        for _ in 0..slices {
            for (place, node) in cluster.nodes.iter().enumerate() {
                for call in 0..40_u64 {
                    let us = if place == 2 { slow_us } else { 10_000 } + call * 200;
                    node.record(cluster.now_ms, GOOD, Some(us));
                }
                if time_outs && place == 2 {
                    node.record(cluster.now_ms, Ending::TimedOut, None);
                }
            }
            cluster.now_ms += 250;
            cluster.said.extend(cluster.detector.sweep(cluster.now_ms));
        }
    };
    let mut cluster = Cluster::new(5, Policy::default());
    latency(&mut cluster, 60, 10_000, false);
    assert!(cluster.said.is_empty());
    latency(&mut cluster, 30, 40_000, false);
    assert!(
        matches!(
            cluster.standing(2),
            Standing::SubHealthy {
                weight_permille: 250..=500
            }
        ),
        "{:?}",
        cluster.said
    );
    assert!(
        cluster
            .said
            .iter()
            .all(|action| action.reason == Reason::Slow && action.node == Some(NodeIndex(2)))
    );
    assert!(cluster.nodes[2].admits(cluster.now_ms, u32::MAX) && !cluster.nodes[2].admits(cluster.now_ms, 0));
    assert_eq!(cluster.detector.unhealthy().len(), 1);
    latency(&mut cluster, 60, 10_000, false);
    assert_eq!(cluster.steps_of(2).last(), Some(&(Step::Restore, Reason::Recovered)));
    assert_eq!(cluster.nodes[2].weight_permille(cluster.now_ms), 1_000);
    // Slow for everybody is nobody's fault.
    let all = |cluster: &mut Cluster, us: u64| {
        for _ in 0..40 {
            for node in &cluster.nodes {
                (0..40).for_each(|_| {
                    node.record(cluster.now_ms, GOOD, Some(us));
                });
            }
            cluster.now_ms += 250;
            cluster.said.extend(cluster.detector.sweep(cluster.now_ms));
        }
    };
    cluster.said.clear();
    all(&mut cluster, 60_000);
    assert!(cluster.said.is_empty(), "{:?}", cluster.said);
    all(&mut cluster, 10_000);
    // Five times as slow, and calls time out as well.
    latency(&mut cluster, 30, 80_000, true);
    let isolated = cluster
        .said
        .iter()
        .find(|action| matches!(action.step, Step::Isolate { .. }))
        .unwrap();
    assert_eq!(
        (isolated.node, isolated.reason),
        (Some(NodeIndex(2)), Reason::SlowAndTimingOut)
    );
}

#[test]
fn what_is_not_the_nodes_doing_is_not_charged() {
    let mut cluster = Cluster::new(3, Policy::default());
    let spared = [
        Ending::ClientAbort,
        Ending::OwnCancel,
        Ending::LimiterRejected,
        Ending::InjectedFault,
        Ending::DeadlineSpent,
    ];
    cluster.run(20, 50, |node, call| {
        if node == 0 {
            spared[usize::try_from(call % 5).unwrap()]
        } else {
            GOOD
        }
    });
    assert!(cluster.said.is_empty());
    let deltas = cluster.detector.deltas(cluster.now_ms);
    assert_eq!((deltas[0].counts.total(), deltas[0].counts.uncharged), (0, 1_000));
    assert_eq!((deltas[1].counts.successes, deltas[1].counts.failures), (1_000, 0));
    assert_eq!(deltas[1].slow, 0);
    // Told once.
    assert!(cluster.detector.deltas(cluster.now_ms).is_empty());
    // Callers' time-outs and refused connections are.
    for ending in [Ending::TimedOut, Ending::ConnectFailure] {
        let mut cluster = Cluster::new(3, Policy::default());
        cluster.run(4, 20, |node, _| if node == 0 { ending } else { GOOD });
        assert!(matches!(cluster.standing(0), Standing::Isolated { .. }), "{ending:?}");
        let counts = cluster.detector.deltas(cluster.now_ms)[0].counts;
        assert_eq!(counts.failures, counts.connect_failures + counts.time_outs);
    }
    // An attempt that repeats one at the same node is seen, not charged.
    let cluster = Cluster::new(1, Policy::default());
    let node = &cluster.nodes[0];
    (0..50).for_each(|_| {
        node.call(|| 0).repeat().end(BAD);
    });
    assert_eq!((node.counts(0).failures, node.repeats()), (0, 50));
}

#[test]
fn what_is_told_goes_up_to_the_moment_and_is_told_once() {
    let mut cluster = Cluster::new(2, Policy::default());
    let mut told = (0, 0, 0);
    // Asked at odd times: in the middle of slices, twice in one, and before and after the sweep that collects it.
    for ms in 0..3_000_u64 {
        let node = &cluster.nodes[0];
        node.record(ms, if ms % 10 == 3 { BAD } else { GOOD }, Some(10_000));
        if ms % 250 == 249 {
            cluster.detector.sweep(ms + 1);
        }
        if ms % 70 == 5 || ms % 250 == 248 {
            for delta in cluster.detector.deltas(ms) {
                assert_eq!(delta.node, NodeIndex(0));
                let seen = delta.seen(NodeId(77), RouteId::ANY);
                assert_eq!((seen.target, seen.slow), (NodeId(77), 0));
                told = (told.0 + seen.total, told.1 + seen.failed, ms + 1);
            }
            assert_eq!(u64::from(told.0), told.2, "at {ms}");
        }
    }
    assert_eq!(u64::from(told.1), (0..told.2).filter(|ms| ms % 10 == 3).count() as u64);
}

#[test]
fn slow_answers_are_told_apart_by_what_is_usual() {
    // With readings of each node; and with so little traffic that there are none, and all are looked at together.
    for (calls, slices) in [(20_u64, 40_u64), (1, 8)] {
        let mut cluster = Cluster::new(4, Policy::default());
        assert!(!cluster.nodes[0].is_slow(u64::MAX), "nobody knows yet");
        cluster.run(slices, calls, |_, _| GOOD);
        assert!(cluster.said.is_empty(), "{:?}", cluster.said);
        assert!(
            cluster
                .detector
                .deltas(cluster.now_ms)
                .iter()
                .all(|delta| delta.slow == 0)
        );
        for node in &cluster.nodes {
            // From three times the usual on; the sketch is right to 19 %.
            assert!(node.is_slow(40_000) && !node.is_slow(20_000), "{calls}");
            for _ in 0..3 {
                node.record(cluster.now_ms, GOOD, Some(40_000));
            }
            node.record(cluster.now_ms, GOOD, Some(20_000));
            node.record_latency(50_000);
        }
        for delta in cluster.detector.deltas(cluster.now_ms) {
            assert_eq!((delta.counts.total(), delta.slow), (4, 4), "{delta:?}");
        }
    }
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

#[derive(Debug, Clone)]
enum Act {
    Add(Option<u16>),
    Remove(u8),
    Calls(u8, u8, bool),
    Pass(u32),
    Back(u32),
    Impose(u8),
    Lift(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => prop_oneof![2 => Just(None), 1 => (1_u16..500).prop_map(Some)].prop_map(Act::Add),
        2 => any::<u8>().prop_map(Act::Remove),
        8 => (any::<u8>(), 1_u8..40, prop::bool::weighted(0.7)).prop_map(|(node, n, bad)| Act::Calls(node, n, bad)),
        6 => (1_u32..400).prop_map(Act::Pass),
        1 => (400_u32..200_000).prop_map(Act::Pass),
        1 => (1_u32..5_000).prop_map(Act::Back),
        1 => any::<u8>().prop_map(Act::Impose),
        1 => any::<u8>().prop_map(Act::Lift),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cap_holds_whatever_happens(
        capacities in any::<bool>(),
        acts in prop::collection::vec(act(), 1..200),
    ) {
        let mut detector = Detector::new(Policy::default(), 11).unwrap();
        let mut nodes: Vec<Node> = Vec::new();
        let mut now_ms = 1_000_u64;
        for act in acts {
            let pick = |n: u8| (!nodes.is_empty()).then(|| nodes[usize::from(n) % nodes.len()].clone());
            let mut said = Vec::new();
            match act {
                Act::Add(capacity) => {
                    let capacity = capacity.filter(|_| capacities).map(f64::from);
                    nodes.push(detector.add(now_ms, capacity).unwrap());
                }
                Act::Remove(n) => if let Some(node) = pick(n) {
                    said = detector.remove(now_ms, node.index()).unwrap();
                    nodes.retain(|other| other.index() != node.index());
                },
                Act::Calls(n, calls, bad) => if let Some(node) = pick(n) {
                    (0..calls).for_each(|_| { node.record(now_ms, if bad { BAD } else { GOOD }, Some(1_000)); });
                },
                Act::Pass(ms) => {
                    now_ms += u64::from(ms);
                    said = detector.sweep(now_ms);
                }
                Act::Back(ms) => said = detector.sweep(now_ms.saturating_sub(u64::from(ms))),
                Act::Impose(n) => if let Some(node) = pick(n) {
                    said = detector.impose(now_ms, node.index(), now_ms + 10_000).unwrap();
                },
                Act::Lift(n) => if let Some(node) = pick(n) {
                    said = detector.lift(now_ms, node.index()).unwrap();
                },
            }
            // Those that are out by the detector's count, by its word on each, and by what callers see, are the same.
            let members = nodes.len();
            prop_assert_eq!(detector.members() as usize, members);
            let out = detector.isolated() as usize;
            let by_word = nodes.iter().filter(|node| {
                matches!(detector.standing(node.index()).unwrap(), Standing::Isolated { .. } | Standing::Probing)
            });
            prop_assert_eq!(by_word.count(), out);
            let by_list = detector.unhealthy().iter().filter(|action| matches!(action.step, Step::Isolate { .. } | Step::Probe));
            prop_assert_eq!(by_list.count(), out);
            prop_assert!(out < members.max(1), "{} of {}", out, members);
            let known = members > 0 && nodes.iter().all(|_| capacities);
            if !known {
                prop_assert!(out <= (members / 2).max(1), "{} of {}", out, members);
            }
            for action in said {
                let goes = matches!(action.step, Step::Isolate { .. }) && action.reason != Reason::ProbeFailed;
                prop_assert!(!goes || action.evidence.isolated < action.evidence.cap, "{action:?}");
                if let Some(node) = action.node {
                    prop_assert!(nodes.iter().any(|known| known.index() == node));
                }
            }
        }
        // A lease later everybody serves, if nobody says otherwise.
        let later = now_ms + detector.policy().lease_ms;
        prop_assert!(nodes.iter().all(|node| node.admits(later, 0) && node.weight_permille(later) == 1_000));
    }
}
