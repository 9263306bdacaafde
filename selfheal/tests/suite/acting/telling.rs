//! What is charged, what is slow, and what the center is told of it.

use unattended_selfheal::{Ending, NodeId, NodeIndex, Policy, Reason, RouteId, Standing, Step};

use super::cluster::{BAD, Cluster, GOOD};

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
