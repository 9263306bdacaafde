//! What every request pays: the ring beside one atomic addition, the detector beside a moving average.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use unattended_benches::{SplitMix64, Suite};
use unattended_selfheal::{FalseAlarms, Outcome, Ring, Score, SequentialTest};

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
    suite.finish();
}
