//! The laws of the verdict lattice: exhaustively over a sample of every kind, and by properties.

use proptest::prelude::*;
use unattended_defense::{UnknownReason, Verdict};

fn sample() -> Vec<Verdict> {
    let mut all = vec![Verdict::Allow, Verdict::NeedsPerson, Verdict::Deny];
    all.extend([0, 1, 2, 100, u32::MAX].map(Verdict::AllowLimited));
    all.extend(UnknownReason::ALL.map(Verdict::Unknown));
    all.extend([None, Some(i64::MIN), Some(-1), Some(0), Some(5), Some(i64::MAX)].map(|until| Verdict::Hold { until }));
    all
}

/// The order of law 3, written down a second time.
fn layer(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Allow => 0,
        Verdict::AllowLimited(_) => 1,
        Verdict::Unknown(_) => 2,
        Verdict::NeedsPerson => 3,
        Verdict::Hold { .. } => 4,
        Verdict::Deny => 5,
    }
}

#[test]
fn join_is_commutative_associative_idempotent_with_allow_at_the_bottom_and_deny_at_the_top() {
    let all = sample();
    for &a in &all {
        assert_eq!(a.join(a), a);
        assert_eq!(a.join(Verdict::Allow), a);
        assert_eq!(a.join(Verdict::Deny), Verdict::Deny);
        for &b in &all {
            let ab = a.join(b);
            assert_eq!(ab, b.join(a));
            assert!(layer(ab) == layer(a).max(layer(b)), "{a:?} {b:?} {ab:?}");
            assert!(ab >= a && ab >= b);
            // The least upper bound: nothing that is above both lies below the join.
            for &c in &all {
                assert_eq!(ab.join(c), a.join(b.join(c)));
                assert!(!(c >= a && c >= b) || c >= ab);
            }
        }
    }
}

#[test]
fn inside_a_layer_the_stricter_wins() {
    let hold = |until| Verdict::Hold { until };
    assert_eq!(hold(Some(1)).join(hold(Some(2))), hold(Some(2)));
    assert_eq!(hold(None).join(hold(Some(i64::MAX))), hold(None));
    assert_eq!(
        Verdict::AllowLimited(3).join(Verdict::AllowLimited(9)),
        Verdict::AllowLimited(3)
    );
    assert_eq!(Verdict::AllowLimited(0).join(Verdict::Allow), Verdict::AllowLimited(0));
    assert_eq!(hold(Some(0)).join(Verdict::NeedsPerson), hold(Some(0)));
}

#[test]
fn only_allow_and_a_positive_limit_let_anything_start() {
    for verdict in sample() {
        let expected = matches!(verdict, Verdict::Allow | Verdict::AllowLimited(1 | 2 | 100 | u32::MAX));
        assert_eq!(verdict.may_start(), expected, "{verdict:?}");
    }
}

#[test]
fn verdicts_survive_json_and_have_a_code_each() {
    let mut seen = Vec::new();
    for verdict in sample() {
        let json = serde_json::to_string(&verdict).expect("a verdict is plain data");
        assert_eq!(
            serde_json::from_str::<Verdict>(&json).expect("what was written can be read"),
            verdict
        );
        assert!(!verdict.why().is_empty());
        if !seen.contains(&(verdict.codes(), layer(verdict))) {
            seen.push((verdict.codes(), layer(verdict)));
        }
    }
    // Six layers, and Unknown with each of its reasons.
    assert_eq!(seen.len(), 5 + UnknownReason::ALL.len());
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Allow),
        any::<u32>().prop_map(Verdict::AllowLimited),
        prop::sample::select(UnknownReason::ALL.to_vec()).prop_map(Verdict::Unknown),
        Just(Verdict::NeedsPerson),
        any::<Option<i64>>().prop_map(|until| Verdict::Hold { until }),
        Just(Verdict::Deny),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_many_cannot_matter_and_one_more_is_never_laxer(
        mut verdicts in prop::collection::vec(any_verdict(), 0..8), one_more in any_verdict(), turn in 0_usize..8
    ) {
        let join = |all: &[Verdict]| all.iter().fold(Verdict::Allow, |a, b| a.join(*b));
        let before = join(&verdicts);
        prop_assert!(before.join(one_more) >= before);
        if !verdicts.is_empty() {
            let turn = turn % verdicts.len();
            verdicts.rotate_left(turn);
            prop_assert_eq!(join(&verdicts), before);
            verdicts.reverse();
            prop_assert_eq!(join(&verdicts), before);
        }
    }
}
