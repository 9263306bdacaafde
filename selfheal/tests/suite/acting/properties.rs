//! Laws that hold whatever joins, leaves, fails and is said.

use proptest::prelude::*;
use unattended_selfheal::{Detector, Node, Policy, Reason, Standing, Step};

use super::cluster::{BAD, GOOD};

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
