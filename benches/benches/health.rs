//! The judge beside the logarithms it cannot do without, the codec beside a copy of its bytes, and recording an event beside
//! an atomic addition.

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use criterion::BatchSize;
use unattended_benches::{SplitMix64, Suite};
use unattended_health::{
    Counts, Coverage, FaultClass, Instance, Interval, Judge, JudgeConfig, MetricSpec, Recorder, Row, StratumInfo,
    Topology,
};

const APPS: u32 = 3_000;
const STRATA: u32 = 5_000;
const ROWS: u64 = 2 * STRATA as u64;
/// Ratios of the judge's grid, for the floor.
const GRID: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

fn main() {
    let mut suite = Suite::new("health", 1);
    judge(&mut suite, "ordinary", 1e-6, 1e-3);
    judge(&mut suite, "noisy", 2e-3, 1e-2);
    every_application(&mut suite);
    one_row(&mut suite);
    codec(&mut suite);
    recording(&mut suite);
    suite.finish();
}

/// 3,000 applications in 5,000 strata, each in one of five stacks and one of five zones.
fn topology() -> Topology {
    Topology {
        strata: (0..STRATA)
            .map(|n| StratumInfo {
                app: n % APPS,
                classes: vec![n % APPS % 5, 5 + n % 7 % 5],
            })
            .collect(),
        classes: (0..10).map(|n| format!("class-{n}")).collect(),
        apps: (0..APPS).map(|n| format!("app-{n:04}")).collect(),
    }
}

/// An interval of a good release: two metrics of each stratum, rates of applications log-uniform between two bounds,
/// one row in twenty of fresh instances.
fn interval(index: u64, low: f64, high: f64) -> Interval {
    // Exposure and rate belong to the stratum, the draws to the interval.
    let (mut strata, mut random) = (SplitMix64::new(11), SplitMix64::new(1_000 + index));
    let mut rows = Vec::new();
    for stratum in 0..STRATA {
        let rate = low * libm::pow(high / low, strata.unit());
        let total = 100 + u64::from(strata.below(10_000));
        let fresh = strata.below(20) == 0;
        for metric in 0..2 {
            let (canary, control) = (
                total + u64::from(random.below(50)),
                4 * total + u64::from(random.below(200)),
            );
            rows.push(Row {
                stratum,
                metric,
                fresh,
                level: 0,
                canary: Counts::new(poisson(&mut random, rate, canary), canary),
                control: Counts::new(poisson(&mut random, rate, control), control),
                missing: 0,
            });
        }
    }
    Interval {
        rows,
        ..interval_of(index)
    }
}

/// By inversion: the mean is at most a few hundred here.
fn poisson(random: &mut SplitMix64, rate: f64, total: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "totals are far below 2^53")]
    let mean = rate * total as f64;
    let mut term = libm::exp(-mean);
    let (mut sum, mut count, drawn) = (term, 0_u64, random.unit());
    while sum < drawn && count < total {
        count += 1;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let next = mean / count as f64;
        term *= next;
        sum += term;
    }
    count
}

/// The floor: of each row with bad events the logarithms of its six rate ratios, of their base, and of the ratio that
/// counts as bad. The judge also validates, finds classes and applications, adds up, and combines 3,011 nodes.
fn judge(suite: &mut Suite, name: &str, low: f64, high: f64) {
    let looked = LazyCell::new(|| {
        let mut judge = Judge::new(JudgeConfig::standard(), topology(), &[]).expect("the topology fits");
        for index in 0..6 {
            judge.step_traffic();
            judge.observe(&interval(index, low, high)).expect("the rows fit");
        }
        judge
    });
    let next = LazyCell::new(|| interval(6, low, high));
    let (ours, floor) = (format!("observe_{name}"), format!("logarithms_{name}"));
    suite.measure(&ours, ROWS, |b| {
        b.iter_batched_ref(
            || looked.clone(),
            |judge| judge.observe(&next).expect("the rows fit"),
            BatchSize::PerIteration,
        );
    });
    suite.measure(&floor, ROWS, |b| {
        let next = LazyCell::force(&next);
        b.iter(|| next.rows.iter().map(logarithms).sum::<f64>());
    });
    suite.compare(
        &format!("observe 10000 rows, rates {low:e} to {high:e}"),
        "row",
        &ours,
        &floor,
        "8 libm::log1p for each row with bad events",
    );
}

/// 3,000 applications with ten metrics over one stratum each, for one interval: bad events in nearly every row, the dearest
/// case.
fn every_application(suite: &mut Suite) {
    const METRICS: u8 = 10;
    let metrics = (0..METRICS)
        .map(|n| MetricSpec::new(format!("metric-{n}"), FaultClass::Own, 1.0))
        .collect();
    let topology = Topology {
        strata: (0..APPS)
            .map(|app| StratumInfo {
                app,
                classes: vec![app % 5, 5 + app % 7 % 5],
            })
            .collect(),
        ..topology()
    };
    let next = |index: u64| {
        let mut random = SplitMix64::new(2_000 + index);
        let rows = (0..APPS)
            .flat_map(|stratum| (0..METRICS).map(move |metric| (stratum, metric)))
            .map(|(stratum, metric)| Row {
                stratum,
                metric,
                fresh: false,
                level: 0,
                canary: Counts::new(poisson(&mut random, 1e-2, 500), 500),
                control: Counts::new(poisson(&mut random, 1e-2, 4_500), 4_500),
                missing: 0,
            })
            .collect();
        Interval {
            rows,
            ..interval_of(index)
        }
    };
    let looked = LazyCell::new(|| {
        let mut judge = Judge::new(JudgeConfig::new(metrics), topology, &[]).expect("the topology fits");
        for index in 0..4 {
            judge.step_traffic();
            judge.observe(&next(index)).expect("the rows fit");
        }
        judge
    });
    let rows = LazyCell::new(|| next(4));
    let count = u64::from(APPS) * u64::from(METRICS);
    suite.measure("observe_applications", count, |b| {
        b.iter_batched_ref(
            || looked.clone(),
            |judge| judge.observe(&rows).expect("the rows fit"),
            BatchSize::PerIteration,
        );
    });
    suite.measure("logarithms_applications", count, |b| {
        let rows = LazyCell::force(&rows);
        b.iter(|| rows.rows.iter().map(logarithms).sum::<f64>());
    });
    suite.compare(
        "observe 3000 applications x 10 metrics",
        "row",
        "observe_applications",
        "logarithms_applications",
        "8 libm::log1p for each row with bad events",
    );
}

/// One row into a judge of one stratum after three restarts: the row's evidence, and M* of its application, its class and
/// the fleet.
fn one_row(suite: &mut Suite) {
    let topology = Topology {
        strata: vec![StratumInfo {
            app: 0,
            classes: vec![0],
        }],
        classes: vec!["class".to_owned()],
        apps: vec!["app".to_owned()],
    };
    let config = JudgeConfig::new(vec![MetricSpec::new("errors", FaultClass::Own, 1.0)]);
    let mut judge = Judge::new(config, topology, &[]).expect("the topology fits");
    (0..3).for_each(|_| judge.step_traffic());
    let mut next = Interval {
        rows: vec![Row {
            stratum: 0,
            metric: 0,
            fresh: false,
            level: 0,
            canary: Counts::new(1, 1_000),
            control: Counts::new(9, 9_000),
            missing: 0,
        }],
        ..interval_of(0)
    };
    let row = next.rows[0];
    suite.measure("observe_one_row", 1, |b| {
        b.iter(|| {
            next.index += 1;
            judge.observe(&next).expect("the row fits")
        });
    });
    suite.measure("logarithms_one_row", 1, |b| b.iter(|| logarithms(black_box(&row))));
    suite.compare(
        "observe one row, 3 nodes, 3 restarts",
        "row",
        "observe_one_row",
        "logarithms_one_row",
        "8 libm::log1p",
    );
}

/// An interval in which everybody reports, without rows.
fn interval_of(index: u64) -> Interval {
    let all = Coverage {
        reported: 20_000,
        expected: 20_000,
    };
    Interval {
        index,
        canary_hosts: all,
        control_hosts: all,
        ..Interval::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "totals are far below 2^53")]
fn logarithms(row: &Row) -> f64 {
    if row.canary.bad + row.control.bad == 0 {
        return 0.0;
    }
    let share = row.canary.total as f64 / (row.canary.total + row.control.total) as f64;
    let null = if row.fresh { 10.0 } else { 1.0 };
    let own = libm::log1p(share * (null - 1.0)) + libm::log1p(share * 0.5);
    own + GRID
        .iter()
        .map(|ratio| libm::log1p(share * (null * ratio - 1.0)))
        .sum::<f64>()
}

/// Both directions beside copying the encoded bytes, which is all that a journal without a format would do.
fn codec(suite: &mut Suite) {
    let rows = LazyCell::new(|| interval(6, 1e-6, 1e-3));
    let bytes = LazyCell::new(|| {
        let mut bytes = Vec::new();
        rows.encode(&mut bytes);
        bytes
    });
    suite.measure("encode", ROWS, |b| {
        let rows = LazyCell::force(&rows);
        let mut out = Vec::with_capacity(2 * bytes.len());
        b.iter(|| {
            out.clear();
            black_box(rows).encode(&mut out);
            black_box(&out).len()
        });
    });
    suite.measure("decode", ROWS, |b| {
        let bytes = LazyCell::force(&bytes);
        b.iter(|| Interval::decode(black_box(bytes)).expect("they were encoded above"));
    });
    suite.measure("copy", ROWS, |b| {
        let bytes = LazyCell::force(&bytes);
        let mut out = Vec::with_capacity(2 * bytes.len());
        b.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(bytes));
            black_box(&out).len()
        });
    });
    let doing = "memcpy of the encoded bytes";
    suite.compare("encode 10000 rows", "row", "encode", "copy", doing);
    suite.compare("decode 10000 rows", "row", "decode", "copy", doing);
}

/// Events of one iteration.
const EVENTS: u64 = 1_024;

/// An event has an outcome and a latency, goes into a bucket and into the sum. The yardstick knows nothing of that: one
/// relaxed addition to a counter that nobody else touches.
fn recording(suite: &mut Suite) {
    let mut random = SplitMix64::new(3);
    // From 16 µs to a minute: buckets are as scattered as they get.
    let latencies: Vec<u64> = (0..EVENTS).map(|_| 16 << random.below(22)).collect();
    let instance = || Instance {
        host: "pod-7".into(),
        version: "1.9.2".into(),
        epoch: 1,
    };
    let recorder = || Recorder::new(instance(), 0).expect("the names are plain");

    let counter = AtomicU64::new(0);
    suite.measure("atomic_add", EVENTS, |b| {
        b.iter(|| {
            for latency in &latencies {
                black_box(&counter).fetch_add(black_box(*latency), Relaxed);
            }
        });
    });
    let mut writer = recorder().writer();
    suite.measure("record_served", EVENTS, |b| {
        b.iter(|| {
            for latency in &latencies {
                black_box(&mut writer).served(black_box(*latency));
            }
        });
    });
    suite.measure("record_failed", EVENTS, |b| {
        b.iter(|| {
            for latency in &latencies {
                // 64 clients retry.
                black_box(&mut writer).failed(FaultClass::Own, black_box(*latency), 1 + *latency % 64);
            }
        });
    });
    suite.measure("atomic_add_2_threads", 2 * EVENTS, |b| {
        let counters = [AtomicU64::new(0), AtomicU64::new(0)];
        b.iter_custom(|rounds| {
            let shared = &counters[0];
            let add = || {
                latencies.iter().for_each(|latency| {
                    black_box(shared).fetch_add(black_box(*latency), Relaxed);
                })
            };
            two_threads(rounds, [add, add])
        });
    });
    suite.measure("atomic_add_2_threads_apart", 2 * EVENTS, |b| {
        b.iter_custom(|rounds| {
            let adder = || {
                let counter = Box::new([const { AtomicU64::new(0) }; 32]);
                let latencies = &latencies;
                move || {
                    latencies.iter().for_each(|latency| {
                        black_box(&counter[16]).fetch_add(black_box(*latency), Relaxed);
                    })
                }
            };
            two_threads(rounds, [adder(), adder()])
        });
    });
    suite.measure("record_2_threads", 2 * EVENTS, |b| {
        let recorder = recorder();
        b.iter_custom(|rounds| {
            let events = || {
                let mut writer = recorder.writer();
                let latencies = &latencies;
                move || {
                    latencies
                        .iter()
                        .for_each(|latency| black_box(&mut writer).served(black_box(*latency)))
                }
            };
            two_threads(rounds, [events(), events()])
        });
    });
    suite.compare(
        "record a request, 1 thread",
        "event",
        "record_served",
        "atomic_add",
        "one relaxed fetch_add",
    );
    suite.compare(
        "record a failure, 1 thread",
        "event",
        "record_failed",
        "atomic_add",
        "one relaxed fetch_add",
    );
    let shared = "one relaxed fetch_add to the same counter, 2 threads";
    suite.compare(
        "record a request, 2 threads",
        "event",
        "record_2_threads",
        "atomic_add_2_threads",
        shared,
    );
    let apart = "one relaxed fetch_add to an own counter, 2 threads";
    suite.compare(
        "record a request, 2 threads",
        "event",
        "record_2_threads",
        "atomic_add_2_threads_apart",
        apart,
    );
}

/// So many rounds of both at once; the time until the slower one has done them.
fn two_threads(rounds: u64, each: [impl FnMut() + Send; 2]) -> Duration {
    let barrier = Barrier::new(2);
    let run = |mut round: Box<dyn FnMut() + Send + '_>| {
        barrier.wait();
        let began = now();
        (0..rounds).for_each(|_| round());
        began.elapsed()
    };
    let [one, two] = each.map(|round| -> Box<dyn FnMut() + Send + '_> { Box::new(round) });
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(two));
        let mine = run(one);
        mine.max(other.join().expect("adding does not panic"))
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
