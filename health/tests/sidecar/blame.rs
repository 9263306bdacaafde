//! Who is to blame among changes that came to the same nodes.

use proptest::prelude::*;
use unattended_health::{Blame, BlameConfig, BlameError, BlameVerdict, temporal_correlation};

const HOUR_MS: u64 = 3_600_000;

fn node(number: u64) -> String {
    format!("node-{number:03}")
}

fn blame() -> Blame {
    Blame::new(BlameConfig::default()).unwrap()
}

#[test]
fn the_temporal_correlation_is_the_reference_value() {
    let found = temporal_correlation([12, 40, 55, 60], 3, [0.4, 0.3, 0.2, 0.1]);
    assert!((found - 1.826_118).abs() < 5e-7, "{found}");
    assert!(
        temporal_correlation([3, 3, 3, 3], 3, [0.4, 0.3, 0.2, 0.1]).abs() < 1e-12,
        "as many vetoes as votes"
    );
    // Windows in which vetoes prevail are left out, not subtracted.
    assert!(temporal_correlation([5, 5, 5, 5], 3, [0.25; 4]).abs() < 1e-12);
    let two = temporal_correlation([0, 2, 9, 9], 2, [0.4, 0.3, 0.2, 0.1]);
    assert!((two - 0.3 * (8.0_f64 / 3.0).ln()).abs() < 1e-12);
    assert!(temporal_correlation([u64::MAX; 4], 0, [0.25; 4]).is_finite());
}

#[test]
fn what_was_there_before_is_nobody_s() {
    let mut blame = blame();
    for n in 0..20 {
        blame.fault("timeout", &node(n), HOUR_MS).unwrap();
        blame.deployed("mesh", &node(n), 10 * HOUR_MS).unwrap();
        blame.fault("timeout", &node(n), 10 * HOUR_MS + 60_000).unwrap();
    }
    let report = blame.report("timeout", 11 * HOUR_MS);
    assert_eq!(report.verdict, BlameVerdict::Nobody);
    let suspect = &report.suspects[0];
    assert_eq!((suspect.votes, suspect.vetoes), ([20; 4], 20));
    assert_eq!((suspect.for_it.len(), suspect.against_it.len()), (20, 20));
    assert_eq!(suspect.against_it[0].fault_ms, HOUR_MS);
    // A fault of four days before is no veto any more.
    let mut late = self::blame();
    for n in 0..20 {
        late.fault("timeout", &node(n), HOUR_MS).unwrap();
        late.deployed("mesh", &node(n), 97 * HOUR_MS).unwrap();
        late.fault("timeout", &node(n), 97 * HOUR_MS + 1).unwrap();
    }
    assert_eq!(
        late.report("timeout", 98 * HOUR_MS).verdict,
        BlameVerdict::Change("mesh".into())
    );
}

#[test]
fn a_change_that_most_faulty_nodes_never_had_is_not_considered() {
    let mut blame = blame();
    for n in 0..30 {
        if n < 30 {
            blame.deployed("kernel", &node(n), HOUR_MS).unwrap();
        }
        if n < 10 {
            // Sooner before the fault, and on a third of the faulty nodes alone.
            blame.deployed("mesh", &node(n), 5 * HOUR_MS).unwrap();
        }
        blame.fault("oops", &node(n), 5 * HOUR_MS + 120_000).unwrap();
    }
    let report = blame.report("oops", 6 * HOUR_MS);
    assert_eq!(report.nodes, 30);
    assert_eq!(report.verdict, BlameVerdict::Change("kernel".into()));
    let mesh = report.suspects.iter().find(|suspect| suspect.change == "mesh").unwrap();
    assert!(!mesh.considered && (mesh.spatial - 1.0 / 3.0).abs() < 1e-12 && mesh.temporal > 0.0);
    let kernel = &report.suspects[0];
    // The kernel's fourth window ended where the mesh came.
    assert_eq!(kernel.votes, [0, 30, 30, 20]);
}

#[test]
fn changes_that_came_together_are_ambiguous_and_age_tells_them_apart() {
    let both = |apart_ms: u64| {
        let mut blame = blame();
        for n in 0..20 {
            blame.deployed("agent", &node(n), 100 * HOUR_MS - apart_ms).unwrap();
            blame.deployed("mesh", &node(n), 100 * HOUR_MS).unwrap();
            blame.fault("oops", &node(n), 100 * HOUR_MS + 300_000).unwrap();
        }
        blame.report("oops", 101 * HOUR_MS).verdict
    };
    assert_eq!(
        both(60_000),
        BlameVerdict::Ambiguous(vec!["mesh".into(), "agent".into()])
    );
    assert_eq!(both(30 * HOUR_MS), BlameVerdict::Change("mesh".into()));
}

#[test]
fn one_node_alone_blames_nobody_and_unknown_signatures_have_no_nodes() {
    let mut blame = blame();
    blame.deployed("mesh", "a", 0).unwrap();
    blame.fault("oops", "a", 1_000).unwrap();
    assert_eq!(blame.report("oops", 2_000).verdict, BlameVerdict::Nobody);
    let nothing = blame.report("never seen", 2_000);
    assert_eq!(
        (nothing.nodes, nothing.suspects.len(), nothing.verdict),
        (0, 0, BlameVerdict::Nobody)
    );
    assert_eq!(blame.signatures().into_iter().collect::<Vec<_>>(), ["oops"]);
}

#[test]
fn evidence_is_listed_latest_first_and_bounded() {
    let mut blame = blame();
    for n in 0..100 {
        blame.deployed("mesh", &node(n), n * 1_000).unwrap();
        // A storm is one episode.
        for second in 0..50 {
            blame.fault("oops", &node(n), HOUR_MS + second * 1_000).unwrap();
        }
    }
    let report = blame.report("oops", 2 * HOUR_MS);
    let suspect = &report.suspects[0];
    assert_eq!((suspect.votes[0], suspect.for_it.len()), (100, 32));
    assert_eq!(
        (&*suspect.for_it[0].node, suspect.for_it[0].deployed_ms),
        ("node-099", 99_000)
    );
    let again: unattended_health::BlameReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again.verdict, report.verdict);
}

#[test]
fn old_news_is_forgotten_and_what_still_runs_is_not() {
    let mut blame = blame();
    blame.deployed("old", "a", 0).unwrap();
    blame.deployed("new", "a", 10 * HOUR_MS).unwrap();
    blame.fault("oops", "a", 5 * HOUR_MS).unwrap();
    blame.fault("oops", "a", 90 * HOUR_MS).unwrap();
    blame.deployed("gone", "b", 0).unwrap();
    blame.forget_before(80 * HOUR_MS);
    let report = blame.report("oops", 91 * HOUR_MS);
    let names: Vec<_> = report.suspects.iter().map(|suspect| &*suspect.change).collect();
    assert_eq!(names, ["new"]);
    assert_eq!(report.suspects[0].vetoes, 0);
    // Forgotten, so that an earlier time is no contradiction.
    assert!(blame.deployed("gone", "b", 0).is_ok());
}

proptest! {
    /// More votes never make a change less suspect, more vetoes never more.
    #[test]
    fn votes_and_vetoes_work_in_one_direction(hour in 0_u64..50, more in [0_u64..50, 0..50, 0..50], vetoes in 0_u64..60, window in 0_usize..4) {
        let weights = [0.4, 0.3, 0.2, 0.1];
        let votes = [hour, hour + more[0], hour + more[0] + more[1], hour + more[2]];
        let one = temporal_correlation(votes, vetoes, weights);
        prop_assert!(one >= 0.0);
        prop_assert!(temporal_correlation(votes, vetoes + 1, weights) <= one);
        let mut raised = votes;
        raised[window] += 10_000;
        prop_assert!(temporal_correlation(raised, vetoes, weights) >= one);
    }

    /// The order in which nodes report is nobody's business.
    #[test]
    fn the_order_of_nodes_decides_nothing(seed: u64, nodes in 2_u64..12) {
        let events = |order: &[u64]| {
            let mut blame = blame();
            for &n in order {
                let mut random = crate::support::Random(seed ^ n);
                blame.deployed(if random.next().is_multiple_of(2) { "a" } else { "b" }, &node(n), random.next() % (50 * HOUR_MS)).unwrap();
                blame.fault("oops", &node(n), random.next() % (90 * HOUR_MS)).unwrap();
            }
            blame.report("oops", 90 * HOUR_MS)
        };
        let forward: Vec<u64> = (0..nodes).collect();
        let backward: Vec<u64> = (0..nodes).rev().collect();
        prop_assert_eq!(events(&forward), events(&backward));
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let mut blame = blame();
    blame.deployed("mesh", "a", 10).unwrap();
    blame.fault("oops", "a", 10).unwrap();
    assert!(matches!(
        blame.deployed("agent", "a", 9),
        Err(BlameError::Late {
            at_ms: 9,
            last_ms: 10,
            ..
        })
    ));
    assert!(matches!(blame.fault("oops", "a", 9), Err(BlameError::Late { .. })));
    let refused = |change: fn(&mut BlameConfig)| {
        let mut config = BlameConfig::default();
        change(&mut config);
        matches!(Blame::new(config), Err(BlameError::Config { .. }))
    };
    assert!(refused(|config| config.windows_ms = [2, 1, 3]));
    assert!(refused(|config| config.weights[2] = -1.0));
    assert!(refused(|config| config.least_spatial = 1.1));
    assert!(refused(|config| config.half_life_ms = 0));
    assert!(refused(|config| config.least_score = 0.0));
    assert!(refused(|config| config.distinct = f64::NAN));
}

#[test]
fn a_restored_history_reports_the_same_and_a_damaged_one_is_refused() {
    let mut whole = blame();
    for n in 0..20 {
        whole.deployed("mesh", &node(n), 10 * HOUR_MS).unwrap();
        whole.fault("timeout", &node(n), 10 * HOUR_MS + n * 60_000).unwrap();
        whole.fault("timeout", &node(n), 12 * HOUR_MS).unwrap();
        whole.deployed("agent", &node(n), 12 * HOUR_MS).unwrap();
    }
    let text = serde_json::to_string(&whole).unwrap();
    let restored: Blame = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, whole);
    assert_eq!(
        restored.report("timeout", 13 * HOUR_MS),
        whole.report("timeout", 13 * HOUR_MS)
    );
    let good: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (place, value) in [
        ("/version", serde_json::json!(2)),
        ("/half_life_ms", serde_json::json!(0)),
        ("/weights/0", serde_json::json!(f64::NAN.to_bits())),
        ("/nodes/node-000/deployments/0/0", serde_json::json!(u64::MAX)),
        ("/nodes/node-000/faults/timeout/0", serde_json::json!(u64::MAX)),
    ] {
        let mut damaged = good.clone();
        *damaged.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<Blame>(damaged).is_err(), "{place}");
    }
}
