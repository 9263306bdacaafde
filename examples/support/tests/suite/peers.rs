//! The peers on reference values and on the cases in which they are known to differ.

use unattended_examples_support::peers::{Argo, Flagger, Kayenta, Label, Opinion, Pair, Peer, Share, ZTest, classify};

const KAYENTA: &str = include_str!("../data/peers/kayenta.csv");

fn pair(canary: (u64, u64), control: (u64, u64)) -> Pair {
    let share = |(bad, total)| Share { bad, total };
    Pair {
        canary: share(canary),
        control: share(control),
    }
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn kayenta_gives_its_published_labels_and_intervals() {
    let mut cases = 0;
    for line in KAYENTA.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let result = classify(&numbers(cells[1]), &numbers(cells[2]));
        assert_eq!(format!("{:?}", result.label), cells[3], "{}", cells[0]);
        let shift = result.shift.unwrap();
        for (value, text) in [shift.low, shift.high, shift.estimate].into_iter().zip(&cells[4..]) {
            let expected: f64 = text.parse().unwrap();
            // One in the last printed digit, of which some were cut off and not rounded; the search's own tolerance where a
            // whole number is printed.
            let allowed = match text.split_once('.') {
                None | Some((_, "0")) => 1e-4,
                Some((_, decimals)) if decimals.ends_with("e-05") => 1e-11,
                Some(_) => 1e-6,
            };
            assert!(
                (value - expected).abs() <= allowed,
                "{}: {value} is not {text}",
                cells[0]
            );
        }
        cases += 1;
    }
    assert_eq!(cases, 5);
}

#[test]
fn kayenta_needs_no_test_where_nothing_differs() {
    let label = |x: &[f64], y: &[f64]| classify(x, y).label;
    assert_eq!(label(&[], &[1.0]), Label::Nodata);
    assert_eq!(label(&[f64::NAN], &[1.0]), Label::Nodata);
    assert_eq!(label(&[1.0, 2.0], &[2.0, 1.0]), Label::Pass);
    assert_eq!(label(&[0.0; 5], &[0.0; 9]), Label::Pass);
    // Each side constant: the noise that Kayenta adds decides by the sign of the difference.
    assert_eq!(label(&[2.0; 5], &[1.0; 5]), Label::High);
    assert_eq!(label(&[1.0; 5], &[2.0; 5]), Label::Low);
}

/// Three points a side that do not overlap are "High", whatever they are: the smallest p-value such samples can have is 5 %
/// one-sided, and the confidence is 99 %.
#[test]
fn kayenta_flags_any_disjoint_samples_of_three() {
    assert_eq!(classify(&[2.0, 2.1, 2.2], &[1.0, 1.1, 1.2]).label, Label::High);
    assert_eq!(classify(&[2.0, 2.1, 1.15], &[1.0, 1.1, 1.2]).label, Label::Pass);
}

#[test]
fn kayenta_scores_groups() {
    let mut judge = Kayenta::every(100);
    let worse = |i: u64| pair((50 + i, 1_000), (10 + i % 3, 1_000));
    let same = |i: u64| pair((10 + i % 3, 1_000), (10 + (i + 1) % 3, 1_000));
    let silent = |_| pair((0, 0), (1, 10));
    for i in 0..12 {
        assert_eq!(judge.observe(&[worse(i), same(i), silent(i)]), Opinion::Continue);
    }
    assert_eq!(judge.labels(), [Label::High, Label::Pass, Label::Nodata]);
    // The group without data counts as passed.
    assert!((judge.score() - 66.67).abs() < 1e-9);
    assert_eq!(judge.finish(), Opinion::Hold);
    judge.weights = vec![60.0, 20.0, 20.0];
    assert!((judge.score() - 40.0).abs() < 1e-9);
    assert_eq!(judge.finish(), Opinion::Rollback);
    let mut silent_half = Kayenta::every(100);
    silent_half.observe(&[same(0), silent(0)]);
    assert!(silent_half.score().abs() < 1e-12, "half of the metrics have no data");
    // A failed look stands, though the window starts anew.
    let mut looking = Kayenta::every(4);
    let opinions: Vec<Opinion> = (0..8).map(|i| looking.observe(&[worse(i)])).collect();
    assert_eq!(opinions[2..4], [Opinion::Continue, Opinion::Rollback]);
    looking.step();
    assert_eq!(looking.finish(), Opinion::Rollback);
}

#[test]
fn flagger_counts_failed_checks_and_never_down() {
    let mut judge = Flagger::sample();
    let (good, bad, none) = (pair((1, 100), (0, 1)), pair((2, 100), (0, 1)), pair((0, 0), (0, 1)));
    for round in 0..9 {
        let check = if round % 2 == 0 { bad } else { none };
        assert_eq!(judge.observe(&[good, check]), Opinion::Continue);
        assert_eq!(judge.observe(&[good, good]), Opinion::Continue);
    }
    assert_eq!(judge.finish(), Opinion::Promote);
    assert_eq!(judge.observe(&[bad, bad]), Opinion::Rollback);
    assert_eq!((judge.failed_checks(), judge.finish()), (10, Opinion::Rollback));
}

#[test]
fn argo_lets_some_measurements_fail_and_succeeds_without_any() {
    assert_eq!(Argo::sample().finish(), Opinion::Promote);
    let mut judge = Argo::sample();
    let (good, bad, none) = (pair((5, 100), (0, 1)), pair((6, 100), (0, 1)), pair((0, 0), (0, 1)));
    for metrics in [
        [bad, good],
        [good, bad],
        [none, good],
        [good, none],
        [bad, bad],
        [good, good],
    ] {
        assert_eq!(judge.observe(&metrics), Opinion::Continue);
    }
    assert_eq!(judge.failures(), [3, 3]);
    assert_eq!(judge.observe(&[good, none]), Opinion::Rollback);
}

#[test]
fn z_is_the_pooled_two_proportion_statistic() {
    let mut judge = ZTest::new(1.644_854);
    // p̂ = .02 and .01, pooled .015: (.01)/√(.015·.985·(2/1000)) = 1.839591
    assert_eq!(judge.observe(&[pair((10, 500), (5, 500))]), Opinion::Continue);
    assert!((judge.statistic() - 1.300_787).abs() < 1e-5, "{}", judge.statistic());
    assert_eq!(judge.observe(&[pair((10, 500), (5, 500))]), Opinion::Rollback);
    assert!((judge.statistic() - 1.839_591).abs() < 1e-5, "{}", judge.statistic());
    // It looks again and again, and remembers.
    assert_eq!(judge.observe(&[pair((0, 100_000), (0, 100_000))]), Opinion::Rollback);
    assert!(ZTest::new(0.0).statistic().abs() < 1e-12);
}
