//! The detector against simulation, theory, and misuse.

use proptest::prelude::*;
use unattended_selfheal::{Detector, DetectorError, FalseAlarms, NodeState, Outcome, Shortage, Verdict};

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
fn detector(healthy: f64, bad: f64, run_length: f64) -> Detector {
    Detector::new(healthy, bad, FalseAlarms::every_requests(run_length).unwrap(), 60_000).unwrap()
}

fn requests_to_alarm(detector: &Detector, rate: f64, random: &mut Random) -> u64 {
    let mut node = NodeState::new();
    for request in 1.. {
        detector.record(&mut node, random.fails(rate), request);
        if matches!(detector.verdict(&node, request), Verdict::Bad { .. }) {
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
        let mut node = NodeState::new();
        (0..n).for_each(|now_ms| detector.record(&mut node, random.fails(0.02), now_ms));
        alarms += u32::from(matches!(detector.verdict(&node, n), Verdict::Bad { .. }));
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
            assert!(next.threshold() > found.threshold(), "{found:?}");
            assert_eq!(
                detector(healthy, bad, found.average_run_length()).threshold(),
                found.threshold()
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
        let straight = f64::from(found.threshold().div_ceil(found.failure_step()));
        assert!((last - straight).abs() < 1e-9, "{last}, not {straight}");
    }
}

#[test]
fn budget_per_node_year() {
    // A quarter of an isolation per year at 10 requests/s: one in four years of 31,557,600 s.
    let budget = FalseAlarms::per_node_year(0.25, 10.0).unwrap();
    assert!((budget.run_length() - 1_262_304_000.0).abs() < 1e-3);
    let found = Detector::new(0.01, 0.2, budget, 1_000).unwrap();
    assert!(found.average_run_length() >= budget.run_length());
    // A node that dies outright is found after a handful of requests all the same.
    assert!(
        (5..=12).contains(&found.threshold().div_ceil(found.failure_step())),
        "{found:?}"
    );
}

#[test]
fn verdicts_in_order_of_a_life() {
    let detector = detector(0.01, 0.2, 1e6);
    let needed = detector.warm_up_requests();
    let mut node = NodeState::new();
    assert!(matches!(
        detector.verdict(&node, 5),
        Verdict::NotEnough {
            shortage: Shortage::Requests { seen: 0, .. },
            ..
        }
    ));
    (1..needed).for_each(|now_ms| detector.record(&mut node, Outcome::Success, now_ms));
    assert!(matches!(detector.verdict(&node, needed), Verdict::NotEnough { .. }));
    detector.record(&mut node, Outcome::Success, needed);
    assert!(matches!(detector.verdict(&node, needed), Verdict::Healthy { .. }));

    // Silence: healthy up to the limit, unknown beyond, and to be earned again from the next request on.
    assert!(matches!(
        detector.verdict(&node, needed + 60_000),
        Verdict::Healthy { .. }
    ));
    let silent = detector.verdict(&node, needed + 60_001);
    let shortage = Shortage::Silence {
        last_ms: needed,
        silent_ms: 60_001,
    };
    assert!(
        matches!(silent, Verdict::NotEnough { shortage: found, .. } if found == shortage),
        "{silent}"
    );
    // A clock behind the last request is not silence.
    assert!(matches!(detector.verdict(&node, 0), Verdict::Healthy { .. }));
    let mut back = node;
    detector.record(&mut back, Outcome::Success, needed + 60_001);
    assert!(matches!(
        detector.verdict(&back, needed + 60_001),
        Verdict::NotEnough {
            shortage: Shortage::Requests { seen: 1, .. },
            ..
        }
    ));

    // All fail: suspect on the way, bad at the threshold, with times of the first and the last failure. Silence does
    // not make it better, and neither does success: only the caller's fresh state does.
    let mut verdicts = Vec::new();
    let start = needed + 100;
    for i in 0.. {
        // The clock goes back at the second failure and is taken to stand.
        detector.record(&mut node, Outcome::Failure, if i == 1 { 3 } else { start + i });
        verdicts.push(detector.verdict(&node, start + i));
        if matches!(verdicts[verdicts.len() - 1], Verdict::Bad { .. }) {
            break;
        }
    }
    let failures = detector.threshold().div_ceil(detector.failure_step());
    assert_eq!(verdicts.len(), failures as usize);
    assert!(
        matches!(verdicts[0], Verdict::Healthy { .. })
            && matches!(verdicts[verdicts.len() - 2], Verdict::Suspect { .. })
    );
    let bad = verdicts[verdicts.len() - 1];
    let Verdict::Bad { since_ms, evidence } = bad else {
        panic!("{bad}")
    };
    assert_eq!(
        (since_ms, evidence.began_ms),
        (start + u64::from(failures) - 1, Some(start))
    );
    assert_eq!((evidence.failures, evidence.successes), (failures.into(), 0));
    for now_ms in start + 10..start + 5_000 {
        detector.record(&mut node, Outcome::Success, now_ms);
    }
    assert_eq!(detector.verdict(&node, u64::MAX), bad);
    let text = bad.to_string();
    for part in [
        format!("bad since {since_ms} ms"),
        format!("{failures} of {failures} requests failed"),
    ] {
        assert!(text.contains(&part), "{text}");
    }
}

#[test]
fn bad_parameters_are_typed() {
    let budget = FalseAlarms::every_requests(1e6).unwrap();
    let error = |healthy, bad, silence| Detector::new(healthy, bad, budget, silence).unwrap_err();
    for rate in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(
            matches!(error(rate, 0.5, 1), DetectorError::Rate { which: "healthy", .. }),
            "{rate}"
        );
        assert!(
            matches!(error(0.1, rate, 1), DetectorError::Rate { which: "bad", .. }),
            "{rate}"
        );
    }
    assert_eq!(
        error(0.2, 0.2, 1),
        DetectorError::RatesNotOrdered { healthy: 0.2, bad: 0.2 }
    );
    assert_eq!(
        error(0.3, 0.2, 1),
        DetectorError::RatesNotOrdered { healthy: 0.3, bad: 0.2 }
    );
    assert_eq!(
        error(0.1, 0.1 + 1e-9, 1),
        DetectorError::TooClose {
            healthy: 0.1,
            bad: 0.1 + 1e-9
        }
    );
    assert_eq!(
        error(1e-9, 2e-9, 1),
        DetectorError::TooFine {
            healthy: 1e-9,
            bad: 2e-9,
            run_length: 1e6
        }
    );
    assert_eq!(error(0.1, 0.2, 0), DetectorError::Silence);
    for number in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            FalseAlarms::every_requests(number),
            Err(DetectorError::RunLength { .. })
        ));
        assert!(matches!(
            FalseAlarms::per_node_year(number, 1.0),
            Err(DetectorError::Isolations { .. })
        ));
        assert!(matches!(
            FalseAlarms::per_node_year(1.0, number),
            Err(DetectorError::RequestRate { .. })
        ));
        let found = detector(0.01, 0.2, 1e3);
        assert!(matches!(
            found.mean_requests_to_alarm(number),
            Err(DetectorError::Rate { .. })
        ));
    }
    assert!(matches!(
        FalseAlarms::every_requests(1.1e15),
        Err(DetectorError::RunLength { .. })
    ));
    assert!(matches!(
        FalseAlarms::per_node_year(1e9, 1.0),
        Err(DetectorError::RunLength { .. })
    ));
}

#[test]
fn state_is_small_plain_data() {
    fn plain<T: Copy + serde::Serialize + serde::de::DeserializeOwned>() -> usize {
        size_of::<T>()
    }
    assert_eq!(plain::<NodeState>(), 64, "the documented size");
    plain::<Verdict>();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The steps of any accepted pair of rates separate them, and the evidence adds up at every moment.
    #[test]
    fn evidence_adds_up(
        healthy in 0.001_f64..0.6,
        gap in 0.01_f64..0.9,
        outcomes in prop::collection::vec((any::<u8>(), any::<u64>()), 1..300),
        cut in any::<u8>(),
    ) {
        let bad = healthy + gap * (1.0 - healthy);
        let budget = FalseAlarms::every_requests(1e5).unwrap();
        let Ok(detector) = Detector::new(healthy, bad, budget, 1_000) else { return Ok(()) };
        let (up, down) = (f64::from(detector.failure_step()), f64::from(detector.success_step()));
        prop_assert!(up * healthy < down * (1.0 - healthy) && up * bad > down * (1.0 - bad));

        let (mut node, mut began) = (NodeState::new(), None);
        let (mut score, mut newest) = (0_u64, 0_u64);
        for (draw, now_ms) in outcomes {
            let outcome = if draw < cut { Outcome::Failure } else { Outcome::Success };
            detector.record(&mut node, outcome, now_ms);
            newest = newest.max(now_ms);
            if outcome == Outcome::Failure && score == 0 {
                began = Some(newest);
            }
            score = match outcome {
                Outcome::Failure => score + u64::from(detector.failure_step()),
                Outcome::Success => score.saturating_sub(detector.success_step().into()),
            };
            let verdict = detector.verdict(&node, now_ms);
            let evidence = verdict.evidence();
            prop_assert_eq!(u64::from(evidence.score), score);
            prop_assert_eq!(
                score + evidence.successes * u64::from(evidence.success_step),
                evidence.failures * u64::from(evidence.failure_step)
            );
            prop_assert_eq!(evidence.began_ms, if score == 0 { None } else { began });
            prop_assert!(score > 0 || (evidence.failures, evidence.successes) == (0, 0), "a run ends at zero");
            prop_assert_eq!(matches!(verdict, Verdict::Bad { .. }), score >= u64::from(evidence.threshold));
            if score >= u64::from(evidence.threshold) {
                break;
            }
        }
    }
}
