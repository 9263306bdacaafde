//! What every request pays: the ring beside one atomic addition, the detector beside a moving average.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use unattended_benches::{SplitMix64, Suite};
use unattended_selfheal::{
    Center, CenterSettings, Event, FalseAlarms, HostId, Member, NodeId, Outcome, Report, Ring, RouteId, Score, Seen,
    SequentialTest, ServiceId, ZoneId,
};

const REQUESTS: u32 = 10_000;

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
    let count = u64::from(REQUESTS);

    let ring = Ring::<10>::new(1_000).expect("ten slices of a second");
    // Time goes on from iteration to iteration, as it does.
    let mut start_ms = 0;
    suite.measure("ring_record", count, |b| {
        b.iter(|| {
            for (now_ms, outcome) in &requests {
                ring.record(black_box(start_ms + now_ms), *outcome);
            }
            start_ms += count;
        });
    });
    let counter = AtomicU64::new(0);
    suite.measure("fetch_add", count, |b| {
        b.iter(|| {
            for (now_ms, outcome) in &requests {
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
    let detector = SequentialTest::new(0.02, 0.20, budget).expect("2 % is healthy, 20 % is bad");
    let steps = detector.steps();
    let mut score = Score::ZERO;
    suite.measure("detector_record", count, |b| {
        b.iter(|| {
            for (_, outcome) in &requests {
                score = steps.after(black_box(score), *outcome);
            }
        });
    });
    let mut average = 0.0_f64;
    suite.measure("moving_average", count, |b| {
        b.iter(|| {
            for (_, outcome) in &requests {
                let failed = f64::from(u8::from(*outcome == Outcome::Failure));
                let average = black_box(&mut average);
                *average += 0.01 * (failed - *average);
            }
        });
    });
    suite.compare(
        "detector: record",
        "request",
        "detector_record",
        "moving_average",
        "an exponential moving average of failures",
    );
    center(&mut suite);
    suite.finish();
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
