//! How often healthy nodes are accused and how soon bad ones are found: a small count of what the example `detection`
//! does at length.

#[path = "../../examples/detection/finagle.rs"]
mod finagle;
#[path = "../../examples/detection/mosn.rs"]
mod mosn;
#[path = "../../examples/detection/world.rs"]
mod world;

use unattended_selfheal::{Detector, Policy, Step};
use world::{AsEnvoy, AsGrpc, Native, Rules, World};

const HEALTHY: World = World {
    nodes: 10,
    rate: 10.0,
    error: 0.001,
    bad_error: 0.001,
    slowdown: 1.0,
    bad_at_ms: u64::MAX,
    until_ms: 0,
    seed: 3,
};

#[test]
fn healthy_nodes_are_isolated_no_more_often_than_stated() {
    // One per node-hour is the budget, and 15 cells of 4 node-hours are played. That as many as that happen by chance is
    // one in two if every test used up its share; they do not, so fewer must.
    let (mut wrong, mut node_hours) = (0, 0.0);
    for nodes in [2_u32, 4, 10, 100, 1_000] {
        for (seed, error) in [0.001, 0.01, 0.05].into_iter().enumerate() {
            let policy = Policy {
                false_isolations_per_node_year: 8_766.0,
                peak_requests_per_second: 2.0,
                ..Policy::default()
            };
            let world = World {
                nodes,
                rate: 2.0,
                error,
                bad_error: error,
                until_ms: 4 * 3_600_000 / u64::from(nodes),
                seed: seed as u64,
                ..HEALTHY
            };
            wrong += world.play(&mut Native::new(policy, nodes)).wrong;
            node_hours += 4.0;
        }
    }
    assert!((wrong as f64) < node_hours, "{wrong} in {node_hours} node-hours");
}

#[test]
fn bad_nodes_are_found_soon_and_nobody_else() {
    // (share of failures, slowdown, calls per second, seconds within which it is found in every run)
    for (bad_error, slowdown, rate, within) in [
        (1.0, 1.0, 1.0, 25.0),
        (1.0, 1.0, 10.0, 2.0),
        (0.5, 1.0, 10.0, 5.0),
        (0.2, 1.0, 10.0, 15.0),
        (0.05, 1.0, 100.0, 20.0),
        (0.001, 5.0, 10.0, 8.0),
        (0.001, 2.0, 100.0, 8.0),
    ] {
        for seed in 0..4 {
            let world = World {
                rate,
                bad_error,
                slowdown,
                bad_at_ms: 30_000,
                until_ms: 90_000,
                seed,
                ..HEALTHY
            };
            let found = world.play(&mut Native::new(Policy::default(), world.nodes));
            let case = format!("{bad_error} failing, {slowdown} times as slow at {rate}/s, seed {seed}: {found:?}");
            assert_eq!(found.wrong, 0, "{case}");
            assert!(
                (found.after_ms.unwrap_or(u64::MAX) as f64) <= within * 1_000.0,
                "{case}"
            );
        }
    }
}

#[test]
fn a_node_that_stays_slow_stays_sub_healthy() {
    // Time alone is no evidence of health: five minutes at three times its latency do not make it usual.
    let mut found = 0;
    for nodes in [3_usize, 5, 10] {
        for seed in 0..8 {
            let mut random = world::Random(seed);
            let mut detector = Detector::new(Policy::default(), 1).unwrap();
            let cluster: Vec<_> = (0..nodes).map(|_| detector.add(0, None).unwrap()).collect();
            let mut said = Vec::new();
            for slice in 0..1_200_u64 {
                for (place, node) in cluster.iter().enumerate() {
                    for _ in 0..12 {
                        let normal = (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
                        let slowdown = if place == 0 && slice >= 60 { 3.0 } else { 1.0 };
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency")]
                        let latency_us = (10_000.0 * (0.3 * normal).exp() * slowdown) as u64;
                        node.record(slice * 250, unattended_selfheal::Ending::Answered, Some(latency_us));
                    }
                }
                said.extend(detector.sweep((slice + 1) * 250));
            }
            let slow = cluster[0].index();
            let case = format!("{nodes} nodes, seed {seed}: {said:?}");
            assert!(said.iter().all(|action| action.node == Some(slow)), "{case}");
            let restored = said.iter().filter(|action| action.step == Step::Restore).count();
            // The scatter of two peers hides it now and then.
            assert!(restored <= usize::from(nodes == 3), "{case}");
            found += u32::from(cluster[0].weight_permille(300_000) < 500);
        }
    }
    assert!(found >= 23, "{found} of 24");
}

#[test]
fn the_others_do_what_is_said_of_them() {
    // A quiet cluster with a few failures. Envoy's and gRPC's rule knows no size of effect and ejects healthy hosts; the
    // native rules do not.
    let world = World {
        rate: 100.0,
        until_ms: 120_000,
        ..HEALTHY
    };
    let wrong = |rules: &mut dyn Rules| world.play(rules).wrong;
    assert!(wrong(&mut AsEnvoy::new(10)) > 0);
    assert!(wrong(&mut AsGrpc::new(10)) > 0);
    assert_eq!(wrong(&mut Native::new(Policy::default(), 10)), 0);
    // Four hosts, one dead: MOSN's multiple of the average is four and never five. Finagle sees five in a row.
    let world = World {
        nodes: 4,
        error: 0.0,
        bad_error: 1.0,
        bad_at_ms: 20_000,
        until_ms: 60_000,
        ..HEALTHY
    };
    assert!(world.play(&mut mosn::Mosn::new(4)).after_ms.is_none());
    assert!(world.play(&mut finagle::Finagle::new(4)).after_ms.unwrap() < 2_000);
    assert!(world.play(&mut Native::new(Policy::default(), 4)).after_ms.unwrap() < 2_000);
}

#[test]
fn real_hosts_that_are_uneven_are_not_called_slow() {
    // 132 containers of a service with response times from one to a hundred seconds, over 23 hours.
    let Ok(text) = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/latency-genai-2026.csv"
    )) else {
        return;
    };
    let mut rows: Vec<(u64, u64, &str)> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut cells = line.split(',');
            let seconds: f64 = cells.next()?.parse().ok()?;
            let ms: f64 = cells.next()?.parse().ok()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "times and latencies"
            )]
            let row = ((seconds * 1_000.0) as u64, (ms * 1_000.0) as u64, cells.next()?);
            Some(row)
        })
        .collect();
    rows.sort_unstable();
    assert!(rows.len() > 30_000);
    // Readings of ten calls and of many more: the shorter the slice, the nearer they follow each other.
    for slice_ms in [10_000, 60_000, 300_000, 1_800_000] {
        let policy = Policy {
            slice_ms,
            latency_floor_us: 65_536,
            ..Policy::default()
        };
        let mut detector = Detector::new(policy, 1).unwrap();
        let mut nodes = std::collections::BTreeMap::new();
        let (mut slice, mut slow) = (0, Vec::new());
        for &(at_ms, latency_us, host) in &rows {
            let now_ms = at_ms - rows[0].0;
            while now_ms / slice_ms > slice {
                slice += 1;
                slow.extend(detector.sweep(slice * slice_ms));
            }
            let node = nodes.entry(host).or_insert_with(|| detector.add(now_ms, None).unwrap());
            node.record(now_ms, unattended_selfheal::Ending::Answered, Some(latency_us));
        }
        assert_eq!(nodes.len(), 132);
        assert!(slow.is_empty(), "{}, slices of {slice_ms} ms: {}", slow.len(), slow[0]);
    }
}
