//! What every request pays: the parts beside their floors, the whole beside circuit breakers; what a sweep
//! costs, and a fit of the center.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use failsafe::CircuitBreaker as _;
use futures::executor::block_on;
use tower::{Layer as _, Service as _};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use unattended_benches::{SplitMix64, Suite};
use unattended_selfheal::{
    Center, CenterSettings, Detector, Ending, Event, FalseAlarms, HostId, Member, Node, NodeId, Outcome, Policy,
    Report, Ring, RouteId, Score, Seen, SequentialTest, ServiceId, ZoneId,
};

const REQUESTS: u32 = 10_000;
/// Enough that starting two threads does not count.
const ROUNDS: u64 = 20;

/// One request in a hundred fails; a thousand requests per second, so that ten seconds pass the whole ring once.
fn requests() -> Vec<(u64, Outcome)> {
    let mut random = SplitMix64::new(5);
    let outcome = |failed| if failed { Outcome::Failure } else { Outcome::Success };
    (0..u64::from(REQUESTS))
        .map(|now_ms| (now_ms, outcome(random.below(100) == 0)))
        .collect()
}

fn main() {
    let mut suite = Suite::new("selfheal", 1);
    let requests = requests();
    parts(&mut suite, &requests);
    breakers(&mut suite, &requests);
    sweep(&mut suite);
    center(&mut suite);
    suite.finish();
}

fn parts(suite: &mut Suite, requests: &[(u64, Outcome)]) {
    let count = u64::from(REQUESTS);
    let ring = Ring::<8>::new(250).expect("eight slices of 250 ms");
    // Time goes on from iteration to iteration, as it does.
    let mut start_ms = 0;
    suite.measure("ring_record", count, |b| {
        b.iter(|| {
            for (now_ms, outcome) in requests {
                ring.record(black_box(start_ms + now_ms), *outcome);
            }
            start_ms += count;
        });
    });
    let counter = AtomicU64::new(0);
    suite.measure("fetch_add", count, |b| {
        b.iter(|| {
            for (now_ms, outcome) in requests {
                black_box((now_ms, outcome));
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    suite.compare(
        "ring: record",
        "request",
        "ring_record",
        "fetch_add",
        "one relaxed fetch_add, one thread",
    );

    let budget = FalseAlarms::per_node_year(1.0, 1_000.0).expect("one alarm in a year");
    let test = SequentialTest::new(0.02, 0.20, budget).expect("2 % is healthy, 20 % is bad");
    let steps = test.steps();
    let mut score = Score::ZERO;
    suite.measure("sequential_test", count, |b| {
        b.iter(|| {
            for (_, outcome) in requests {
                score = steps.after(black_box(score), *outcome);
            }
        });
    });
    let mut average = 0.0_f64;
    suite.measure("moving_average", count, |b| {
        b.iter(|| {
            for (_, outcome) in requests {
                let failed = f64::from(u8::from(*outcome == Outcome::Failure));
                let average = black_box(&mut average);
                *average += 0.01 * (failed - *average);
            }
        });
    });
    suite.compare(
        "sequential test",
        "request",
        "sequential_test",
        "moving_average",
        "an exponential moving average of failures",
    );
}

/// Asks, and records: what a proxy does for each request.
fn ours(node: &Node, start_ms: u64, requests: &[(u64, Outcome)], latency: bool) {
    for (now_ms, outcome) in requests {
        let now_ms = start_ms + now_ms;
        if black_box(node.admits(now_ms, 0)) {
            let ending = match outcome {
                Outcome::Success => Ending::Answered,
                Outcome::Failure => Ending::ServerError,
            };
            // A latency that varies over a few buckets.
            black_box(node.record(now_ms, ending, latency.then_some(400 + (now_ms & 1_023))));
        }
    }
}

/// The same work on as many threads, a thousand requests each in turn.
fn on_two_threads(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..ROUNDS).for_each(|_| work()));
        }
    });
}

fn node() -> (Detector, Node) {
    let mut detector = Detector::new(Policy::default(), 1).expect("the default policy");
    let node = detector.add(0, None).expect("the first node");
    (detector, node)
}

fn breakers(suite: &mut Suite, requests: &[(u64, Outcome)]) {
    let count = u64::from(REQUESTS);
    let result = |outcome: &Outcome| match outcome {
        Outcome::Success => Ok(()),
        Outcome::Failure => Err(()),
    };

    let (_detector, whole) = node();
    let mut start_ms = 0;
    suite.measure("record_and_check", count, |b| {
        b.iter(|| {
            ours(&whole, start_ms, requests, true);
            start_ms += count;
        });
    });
    let (_detector, without) = node();
    let mut start_ms = 0;
    suite.measure("record_and_check_no_latency", count, |b| {
        b.iter(|| {
            ours(&without, start_ms, requests, false);
            start_ms += count;
        });
    });

    let recloser = recloser::Recloser::default();
    let by_recloser = || {
        for (_, outcome) in requests {
            let _ = black_box(recloser.call(|| result(black_box(outcome))));
        }
    };
    suite.measure("recloser", count, |b| b.iter(by_recloser));

    let failsafe = failsafe::Config::new().build();
    let by_failsafe = || {
        for (_, outcome) in requests {
            let _ = black_box(failsafe.call(|| result(black_box(outcome))));
        }
    };
    suite.measure("failsafe", count, |b| b.iter(by_failsafe));

    let layer = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .build()
        .expect("a valid configuration");
    let breaker = layer.layer(tower::service_fn(move |outcome: Outcome| {
        std::future::ready(result(&outcome))
    }));
    let by_tower = || {
        let mut breaker = breaker.clone();
        block_on(async {
            for (_, outcome) in requests {
                let _ = std::future::poll_fn(|context| breaker.poll_ready(context)).await;
                let _ = black_box(breaker.call(*black_box(outcome)).await);
            }
        });
    };
    suite.measure("tower_resilience", count, |b| b.iter(by_tower));

    suite.compare(
        "record and check, all of it",
        "request",
        "record_and_check",
        "recloser",
        "recloser's call",
    );
    suite.compare(
        "record and check, no latency",
        "request",
        "record_and_check_no_latency",
        "recloser",
        "recloser's call",
    );
    suite.compare(
        "record and check",
        "request",
        "record_and_check",
        "failsafe",
        "failsafe's call",
    );
    suite.compare(
        "record and check",
        "request",
        "record_and_check",
        "tower_resilience",
        "tower-resilience's breaker, ready and call",
    );

    let both = 2 * ROUNDS * count;
    let (_detector, shared) = node();
    let clock = AtomicU64::new(0);
    suite.measure("two_threads", both, |b| {
        b.iter(|| {
            on_two_threads(|| ours(&shared, clock.fetch_add(count / 2, Ordering::Relaxed), requests, true));
        });
    });
    suite.measure("two_threads_recloser", both, |b| b.iter(|| on_two_threads(by_recloser)));
    suite.measure("two_threads_failsafe", both, |b| b.iter(|| on_two_threads(by_failsafe)));
    suite.measure("two_threads_tower", both, |b| b.iter(|| on_two_threads(by_tower)));
    for (yardstick, doing) in [
        ("two_threads_recloser", "recloser's call"),
        ("two_threads_failsafe", "failsafe's call"),
        ("two_threads_tower", "tower-resilience's breaker"),
    ] {
        suite.compare("one node, two threads", "request", "two_threads", yardstick, doing);
    }
}

/// Every slice a sweep looks at all nodes. The floor reads one word of each.
fn sweep(suite: &mut Suite) {
    const NODES: u64 = 1_000;
    let mut detector = Detector::new(Policy::default(), 1).expect("the default policy");
    let nodes: Vec<Node> = (0..NODES).map(|_| detector.add(0, None).expect("a place")).collect();
    let mut random = SplitMix64::new(9);
    let mut now_ms = 0;
    suite.measure("sweep_1000", 1, |b| {
        b.iter_custom(|times| {
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..times {
                for node in &nodes {
                    for _ in 0..3 {
                        let ending = if random.below(200) == 0 {
                            Ending::ServerError
                        } else {
                            Ending::Answered
                        };
                        node.record(now_ms, ending, Some(500 + u64::from(random.below(2_000))));
                    }
                }
                now_ms += 250;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "what is measured is the sweep, not the calls before it"
                )]
                let began = std::time::Instant::now();
                black_box(detector.sweep(now_ms));
                spent += began.elapsed();
            }
            spent
        });
    });
    suite.measure("read_1000", 1, |b| {
        b.iter(|| {
            nodes
                .iter()
                .map(|node| node.counts(black_box(now_ms)).failures)
                .sum::<u64>()
        });
    });
    suite.compare(
        "a sweep of 1,000 nodes",
        "sweep",
        "sweep_1000",
        "read_1000",
        "the sum of every node's window, and no decision",
    );
}

const REPORTERS: u32 = 200;
const TARGETS: u32 = 1_000;
/// Targets that each reporter calls: 20,000 edges.
const CALLED: u32 = 100;

/// A center that has heard every reporter once. With `faults`, one target is dead, one half dead, and one reporter sees
/// everything fail.
fn heard(faults: bool) -> (Center, Vec<(u32, u32, u32, u32)>) {
    let mut center = Center::new(CenterSettings::default(), 1).expect("the defaults");
    let mut join = |node: u32, service| {
        let member = Member {
            node: NodeId(node),
            host: HostId(node),
            zone: ZoneId(node % 3),
            service,
            capacity_per_second: None,
        };
        center.on(Event::Member(member)).expect("there is room");
    };
    (0..REPORTERS).for_each(|node| join(node, None));
    (0..TARGETS).for_each(|node| join(1_000 + node, Some(ServiceId(node % 20))));
    let mut edges = Vec::new();
    for reporter in 0..REPORTERS {
        let mut seen: Vec<Seen> = (0..CALLED)
            .map(|n| {
                let target = 1_000 + (reporter * 7 + n * 10) % TARGETS;
                let failed = match target {
                    _ if !faults => 0,
                    1_000 => 8,
                    1_350 => 4,
                    _ if reporter == 5 => 8,
                    _ => u32::from((reporter * 31 + n) % 97 == 0),
                };
                edges.push((reporter, target - 1_000, failed, 8));
                Seen {
                    target: NodeId(target),
                    route: RouteId::ANY,
                    total: 8,
                    failed,
                    slow: 0,
                }
            })
            .collect();
        seen.sort_unstable();
        let report = Report {
            epoch: 1,
            sequence: 1,
            seen,
        };
        center
            .on(Event::Report {
                sender: NodeId(reporter),
                report,
            })
            .expect("a sound report");
    }
    center.tick(250);
    assert_eq!(center.edges(), (REPORTERS * CALLED) as usize);
    assert_eq!(center.findings().len() >= 3, faults, "{:?}", center.findings());
    (center, edges)
}

/// A tick of the center: the fit over four horizons, the decision table, the bulletin.
fn center(suite: &mut Suite) {
    let (_, edges) = heard(false);
    let mut sums = vec![(0_u32, 0_u32); (REPORTERS + TARGETS) as usize];
    suite.measure("sums_of_20000_edges", 1, |b| {
        b.iter(|| {
            for (reporter, target, failed, total) in black_box(&edges) {
                for place in [*reporter, REPORTERS + target] {
                    let sum = &mut sums[place as usize];
                    sum.0 = sum.0.wrapping_add(*failed);
                    sum.1 = sum.1.wrapping_add(*total);
                }
            }
            black_box(&sums);
        });
    });
    for (name, what, faults) in [
        ("fit_healthy", "center: tick, all well", false),
        ("fit_faulty", "center: tick, three faults", true),
    ] {
        let (mut center, _) = heard(faults);
        suite.measure(name, 1, |b| b.iter(|| black_box(center.tick(black_box(250)))));
        suite.compare(
            what,
            "fit",
            name,
            "sums_of_20000_edges",
            "adding up 20,000 edges by row and column, once",
        );
    }
}
