//! The sequential test against simulation, theory, and misuse.

use proptest::prelude::*;
use unattended_selfheal::{FalseAlarms, Outcome, Score, SequentialTest, TestError};

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same on every system.
struct Random(u64);

impl Random {
    fn fails(&mut self, rate: f64) -> Outcome {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let uniform = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        if uniform < rate {
            Outcome::Failure
        } else {
            Outcome::Success
        }
    }
}

#[expect(
    clippy::unwrap_used,
    reason = "the tests' parameters are valid; the others are in bad_parameters_are_typed"
)]
fn detector(healthy: f64, bad: f64, run_length: f64) -> SequentialTest {
    SequentialTest::new(healthy, bad, FalseAlarms::every_requests(run_length).unwrap()).unwrap()
}

fn requests_to_alarm(test: &SequentialTest, rate: f64, random: &mut Random) -> u64 {
    let mut score = Score::ZERO;
    for request in 1.. {
        score = test.steps().after(score, random.fails(rate));
        if score.alarmed() {
            return request;
        }
    }
    unreachable!()
}

#[test]
fn simulated_runs_are_as_long_as_computed() {
    // Run lengths are close to geometric, so the mean of 4,000 of them has a standard error of at most 1.6 %; the
    // tolerance is four of those. One off in the threshold changes the run length by 10 % and more.
    const RUNS: u64 = 4_000;
    let cases = [
        (0.01, 0.20, 2e3, 0.01),
        (0.01, 0.20, 2e3, 0.03),
        (0.05, 0.10, 1e3, 0.05),
        (0.2, 0.25, 300.0, 0.2),
    ];
    for (seed, (healthy, bad, wanted, actual)) in cases.into_iter().enumerate() {
        let detector = detector(healthy, bad, wanted);
        let mut random = Random(seed as u64);
        let total: u64 = (0..RUNS)
            .map(|_| requests_to_alarm(&detector, actual, &mut random))
            .sum();
        let (simulated, exact) = (
            total as f64 / RUNS as f64,
            detector.mean_requests_to_alarm(actual).unwrap(),
        );
        assert!(
            (simulated / exact - 1.0).abs() < 0.064,
            "{healthy} {bad} at {actual}: {simulated}, exact {exact}"
        );
    }
}

#[test]
fn early_false_alarms_stay_within_the_promise() {
    // Within n requests: at most n / average_run_length of fresh nodes. 20,000 nodes, n = a tenth of the run length:
    // at most 2,000, and with a standard deviation of 42 at most 2,126.
    let detector = detector(0.02, 0.2, 1e3);
    let n = 130;
    assert!(
        (0.05..0.1).contains(&(n as f64 / detector.average_run_length())),
        "{detector:?}"
    );
    let mut random = Random(7);
    let mut alarms = 0;
    for _ in 0..20_000 {
        // The alarm stays only until the score is back at zero, so it is looked for after each request.
        let mut score = Score::ZERO;
        alarms += u32::from((0..n).any(|_| {
            score = detector.steps().after(score, random.fails(0.02));
            score.alarmed()
        }));
    }
    assert!((1_000..=2_126).contains(&alarms), "{alarms}");
}

#[test]
fn threshold_is_the_smallest_that_keeps_the_promise() {
    for (healthy, bad) in [(0.001, 0.05), (0.01, 0.2), (0.1, 0.12), (0.3, 0.5), (0.5, 0.9)] {
        for wanted in [1.0, 50.0, 1e4, 1e7] {
            let found = detector(healthy, bad, wanted);
            assert!(found.average_run_length() >= wanted, "{found:?}");
            let exact = found.mean_requests_to_alarm(healthy).unwrap();
            assert!((exact / found.average_run_length() - 1.0).abs() < 1e-12);
            // Asking for a hair more than this threshold gives must raise it; asking for exactly that must not.
            let next = detector(healthy, bad, found.average_run_length() * (1.0 + 1e-9));
            assert!(next.steps().threshold() > found.steps().threshold(), "{found:?}");
            assert_eq!(
                detector(healthy, bad, found.average_run_length()).steps().threshold(),
                found.steps().threshold()
            );
        }
    }
}

#[test]
fn detection_is_about_as_fast_as_theory_allows() {
    // Lorden 1971: no test with this run length has a worst mean delay below ln(run length) / KL(p1, p0) to first
    // order. Integer steps, the overshoot and the start from zero account for the rest.
    for (healthy, bad) in [(0.001_f64, 0.05_f64), (0.01, 0.2), (0.02, 0.1), (0.2, 0.4)] {
        let found = detector(healthy, bad, 1e9);
        let information = bad * (bad / healthy).ln() + (1.0 - bad) * ((1.0 - bad) / (1.0 - healthy)).ln();
        let bound = found.average_run_length().ln() / information;
        let delay = found.mean_requests_to_alarm(bad).unwrap();
        assert!(
            (0.6..1.25).contains(&(delay / bound)),
            "{healthy} {bad}: {delay}, bound {bound}"
        );
        assert!((0.0..1.0).contains(&(found.warm_up_requests() as f64 - delay)));
        // The worse the node, the sooner; if all fail, exactly as many as the threshold takes.
        let mut last = found.average_run_length();
        for rate in [bad * 0.75, bad, (1.0 + bad) / 2.0, 1.0] {
            let mean = found.mean_requests_to_alarm(rate).unwrap();
            assert!(mean < last, "{rate}: {mean} after {last}");
            last = mean;
        }
        let straight = f64::from(found.steps().threshold().div_ceil(found.steps().failure()));
        assert!((last - straight).abs() < 1e-9, "{last}, not {straight}");
    }
}

#[test]
fn budget_per_node_year() {
    // A quarter of an isolation per year at 10 requests/s: one in four years of 31,557,600 s.
    let budget = FalseAlarms::per_node_year(0.25, 10.0).unwrap();
    assert!((budget.run_length() - 1_262_304_000.0).abs() < 1e-3);
    let found = SequentialTest::new(0.01, 0.2, budget).unwrap();
    assert!(found.average_run_length() >= budget.run_length());
    // A node that dies outright is found after a handful of requests all the same.
    assert!(
        (5..=12).contains(&found.steps().threshold().div_ceil(found.steps().failure())),
        "{found:?}"
    );
}

#[test]
fn a_score_in_order_of_a_life() {
    let steps = detector(0.01, 0.2, 1e6).steps();
    let straight = steps.threshold().div_ceil(steps.failure());
    let mut score = Score::ZERO;
    score = steps.after(score, Outcome::Success);
    assert_eq!(score, Score::ZERO);
    for failures in 1..straight {
        score = steps.after(score, Outcome::Failure);
        assert_eq!(
            (score.value(), score.failures(), score.alarmed()),
            (failures * steps.failure(), failures, false)
        );
    }
    score = steps.after(score, Outcome::Failure);
    assert!(score.alarmed());
    // The score does not pass the threshold, the counts of the alarm stay as they were, and so does the alarm as long as
    // the score has not come down all the way.
    score = steps.after(score, Outcome::Failure);
    assert_eq!(
        (score.value(), score.failures(), score.successes()),
        (steps.threshold(), straight, 0)
    );
    let down = (0..).take_while(|_| {
        score = steps.after(score, Outcome::Success);
        score.alarmed()
    });
    assert_eq!(down.count() + 1, steps.threshold().div_ceil(steps.success()) as usize);
    assert_eq!(score, Score::ZERO);
}

#[test]
fn bad_parameters_are_typed() {
    let budget = FalseAlarms::every_requests(1e6).unwrap();
    let error = |healthy, bad| SequentialTest::new(healthy, bad, budget).unwrap_err();
    for rate in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(
            matches!(error(rate, 0.5), TestError::Rate { which: "healthy", .. }),
            "{rate}"
        );
        assert!(
            matches!(error(0.1, rate), TestError::Rate { which: "bad", .. }),
            "{rate}"
        );
    }
    assert_eq!(error(0.2, 0.2), TestError::RatesNotOrdered { healthy: 0.2, bad: 0.2 });
    assert_eq!(error(0.3, 0.2), TestError::RatesNotOrdered { healthy: 0.3, bad: 0.2 });
    assert_eq!(
        error(0.1, 0.1 + 1e-9),
        TestError::TooClose {
            healthy: 0.1,
            bad: 0.1 + 1e-9
        }
    );
    assert_eq!(
        error(1e-9, 2e-9),
        TestError::TooFine {
            healthy: 1e-9,
            bad: 2e-9,
            run_length: 1e6
        }
    );
    for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            FalseAlarms::every_requests(number),
            Err(TestError::RunLength { .. })
        ));
        assert!(matches!(
            FalseAlarms::per_node_year(number, 1.0),
            Err(TestError::Isolations { .. })
        ));
        assert!(matches!(
            FalseAlarms::per_node_year(1.0, number),
            Err(TestError::RequestRate { .. })
        ));
        let found = detector(0.01, 0.2, 1e3);
        assert!(matches!(
            found.mean_requests_to_alarm(number),
            Err(TestError::Rate { .. })
        ));
    }
    assert!(matches!(
        FalseAlarms::every_requests(1.1e15),
        Err(TestError::RunLength { .. })
    ));
    assert!(matches!(
        FalseAlarms::per_node_year(1e9, 1.0),
        Err(TestError::RunLength { .. })
    ));
}

#[test]
fn a_score_is_one_word_of_plain_data() {
    fn plain<T: Copy + serde::Serialize + serde::de::DeserializeOwned>() -> usize {
        size_of::<T>()
    }
    assert_eq!(plain::<Score>(), 8, "the documented size");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The steps of any accepted pair of rates separate them, and the counts add up to the value at every moment.
    #[test]
    fn counts_add_up(
        healthy in 0.001_f64..0.6,
        gap in 0.01_f64..0.9,
        outcomes in prop::collection::vec(any::<u8>(), 1..300),
        cut in any::<u8>(),
    ) {
        let bad = healthy + gap * (1.0 - healthy);
        let budget = FalseAlarms::every_requests(1e5).unwrap();
        let Ok(test) = SequentialTest::new(healthy, bad, budget) else { return Ok(()) };
        let steps = test.steps();
        let (up, down) = (f64::from(steps.failure()), f64::from(steps.success()));
        prop_assert!(up * healthy < down * (1.0 - healthy) && up * bad > down * (1.0 - bad));

        let (mut score, mut value) = (Score::ZERO, 0_u64);
        for draw in outcomes {
            let outcome = if draw < cut { Outcome::Failure } else { Outcome::Success };
            score = steps.after(score, outcome);
            value = match outcome {
                Outcome::Failure => value + u64::from(steps.failure()),
                Outcome::Success => value.saturating_sub(steps.success().into()),
            };
            prop_assert_eq!(score.alarmed(), value >= u64::from(steps.threshold()));
            if score.alarmed() {
                prop_assert_eq!(score.value(), steps.threshold());
                break;
            }
            prop_assert_eq!(u64::from(score.value()), value);
            prop_assert_eq!(
                value + u64::from(score.successes()) * u64::from(steps.success()),
                u64::from(score.failures()) * u64::from(steps.failure())
            );
            prop_assert!(value > 0 || score == Score::ZERO, "a run ends at zero");
        }
    }
}
