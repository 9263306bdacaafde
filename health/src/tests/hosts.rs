//! Expectation at most 1 for hosts that differ for good, enumerated over every history of a few hosts; and what it costs.

use super::row_evidence;
use crate::evidence::{GRID, GridVector};
use crate::influence::{Influence, KEPT, Strong};
use crate::process::Process;
use crate::row::to_f64;
use crate::{Arm, Counts, HostRecord, HostRows, LASTING_LEVEL, MAX_COUNT, Row, RowError, lasting_level};

const HOSTS: u32 = 4;
const INTERVALS: usize = 3;

/// Expectation of the e-value at each ratio after three intervals of four hosts with a request each, the first of them the
/// canary. Each host is healthy or, with probability `sick`, has the other rate, for good; requests of the canary fail
/// `worse` times as often.
fn expectations(levels: bool, sick: f64, [healthy, ill]: [f64; 2], worse: f64) -> GridVector {
    let histories = 1_u32 << INTERVALS;
    let likely = |canary: bool, history: u32| {
        let with = |rate: f64| {
            let rate = if canary { rate * worse } else { rate };
            (0..INTERVALS)
                .map(|t| if history >> t & 1 == 1 { rate } else { 1.0 - rate })
                .product::<f64>()
        };
        (1.0 - sick) * with(healthy) + sick * with(ill)
    };
    let mut sums = [0.0; 6];
    for all in 0..histories.pow(HOSTS) {
        let history = |host: u32| all / histories.pow(host) % histories;
        let mass: f64 = (0..HOSTS).map(|host| likely(host == 0, history(host))).product();
        let (mut hosts, mut ln) = (HostRows::new(), [0.0; 6]);
        for t in 0..INTERVALS {
            let record = |host: u32| HostRecord {
                stratum: 0,
                metric: 0,
                arm: if host == 0 { Arm::Canary } else { Arm::Control },
                fresh: false,
                host,
                bad: u64::from(history(host) >> t & 1),
                total: 1,
                distinct: u64::from(history(host) >> t & 1),
            };
            let records: Vec<HostRecord> = (0..HOSTS).map(record).collect();
            let mut rows: Vec<Row> = hosts.interval(t as u64, &records).unwrap().rows;
            if !levels {
                for row in rows.split_off(1) {
                    rows[0].canary.add(row.canary);
                    rows[0].control.add(row.control);
                }
            }
            for row in rows {
                for (sum, ln) in ln.iter_mut().zip(row_evidence(row.canary, row.control, 1.0)) {
                    *sum += ln;
                }
            }
        }
        for (sum, ln) in sums.iter_mut().zip(ln) {
            *sum += mass * libm::exp(ln);
        }
    }
    sums
}

#[test]
fn hosts_compared_with_their_like_keep_the_expectation_that_sums_break() {
    let (sick, rates) = (0.15, [0.02, 0.95]);
    let levelled = expectations(true, sick, rates, 1.0);
    for (e, ratio) in levelled.iter().zip(GRID) {
        assert!(*e <= 1.0 + 1e-12, "{e} at ratio {ratio}");
    }
    let summed = expectations(false, sick, rates, 1.0);
    assert!(summed.iter().all(|e| *e > 1.01) && summed[5] > 2.7, "{summed:?}");
    let found = expectations(true, 0.2, [0.05, 0.18], 5.0);
    assert!(
        found.iter().all(|e| *e > 1.05) && found[5] > 1.8,
        "and it is evidence: {found:?}"
    );
}

#[test]
fn a_host_may_count_up_to_the_limit_and_so_may_an_arm() {
    let record = |host, arm, total| HostRecord {
        stratum: 0,
        metric: 0,
        arm,
        fresh: false,
        host,
        bad: 1,
        total,
        distinct: 1,
    };
    let mut full = vec![record(0, Arm::Canary, MAX_COUNT), record(1, Arm::Control, MAX_COUNT)];
    let interval = HostRows::new().interval(0, &full).unwrap();
    assert_eq!(interval.rows[0].canary, Counts::new(1, MAX_COUNT));
    assert_eq!(interval.rows[0].control, Counts::new(1, MAX_COUNT));
    full.push(record(2, Arm::Control, 1));
    let (stratum, metric, count) = (0, 0, MAX_COUNT + 1);
    let refused = HostRows::new().interval(0, &full);
    assert_eq!(refused, Err(RowError::TooLarge { stratum, metric, count }));
}

#[test]
fn an_application_and_metric_take_at_most_a_kilobyte() {
    // Settled and fresh, each with its strongest hosts; the limits and rates of the application; its own e-value.
    let process = size_of::<Process>() + size_of::<Influence>() + KEPT * size_of::<Strong>();
    let all = 2 * process + size_of::<crate::limit::Limit>() + size_of::<f64>() + size_of::<crate::value::EValue>();
    assert!(all <= 1_024, "{all} bytes");
    assert_eq!(size_of::<Counts>(), 16);
}

#[test]
fn a_lasting_level_is_no_chance_and_one_more_for_each_doubling() {
    for expected in [0.0, 0.01, 0.3, 2.0, 40.0] {
        let level = |bad| lasting_level(bad, expected);
        let first = (0..10_000).find(|bad| level(*bad) > 0).unwrap();
        // The chance of so many or more of a Poisson count, exactly; and one less would not have been called chance for long.
        let tail = |from: u64| {
            let mean = f64::max(expected, 1e-9);
            let mass = |count: u64| {
                let ln: f64 = (1..=count).map(|k| libm::log(mean / to_f64(k))).sum();
                libm::exp(ln - mean)
            };
            (from..from + 200).map(mass).sum::<f64>()
        };
        assert!(tail(first) <= 1e-6, "{first} of {expected}: {}", tail(first));
        if expected >= 0.01 {
            assert!(tail(first - 2) > 1e-8, "{first} of {expected}: {}", tail(first - 2));
        }
        assert!((first..10_000).all(|bad| level(bad) >= LASTING_LEVEL && level(bad) <= level(bad + 1)));
    }
    assert_eq!(lasting_level(2_100, 40.0), LASTING_LEVEL + 5);
    assert_eq!(lasting_level(5_300, 40.0), LASTING_LEVEL + 7);
    assert_eq!(lasting_level(u64::MAX, 0.0), u8::MAX);
    assert_eq!(lasting_level(0, f64::NAN), 0);
    assert!(lasting_level(9, f64::NAN) > 0 && lasting_level(9, -1.0) > 0);
    assert_eq!(lasting_level(u64::MAX, f64::INFINITY), 0);
}
