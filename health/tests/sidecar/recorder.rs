//! Counting on the hot path, reading it once, and the three ways in which it is written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use unattended_health::{
    Counts, Delta, FaultClass, Instance, LatencyBound, Ledger, LedgerError, Recorder, Snapshot, Taken, WireError,
    read_log,
};

use crate::support::Random;

fn instance(epoch: u64) -> Instance {
    Instance {
        host: "pod-7".into(),
        version: "1.9.2".into(),
        epoch,
    }
}

fn recorder(epoch: u64) -> Recorder {
    Recorder::new(instance(epoch), 0).unwrap()
}

/// Random traffic, and what it must add up to.
fn traffic(recorder: &Recorder, random: &mut Random, requests: u64) -> (Vec<u64>, BTreeMap<FaultClass, u64>) {
    let mut writer = recorder.writer();
    let (mut latencies, mut failed) = (Vec::new(), BTreeMap::new());
    for _ in 0..requests {
        let latency = random.next() >> (random.next() % 64);
        latencies.push(latency);
        match FaultClass::ALL.get(usize::try_from(random.next() % 40).unwrap()) {
            None => writer.served(latency),
            Some(class) => {
                writer.failed(*class, latency, random.next() % 3);
                *failed.entry(*class).or_default() += 1;
            }
        }
    }
    (latencies, failed)
}

#[test]
fn everything_recorded_is_counted_once() {
    let recorder = recorder(1);
    let (latencies, failed) = traffic(&recorder, &mut Random(1), 20_000);
    let snapshot = recorder.end_interval(5_000);
    let counters = &snapshot.counters;
    assert_eq!(counters.total(), 20_000);
    for class in FaultClass::ALL {
        assert_eq!(
            counters.failed(class),
            failed.get(&class).copied().unwrap_or(0),
            "{class:?}"
        );
    }
    assert_eq!(counters.served(), 20_000 - failed.values().sum::<u64>());
    assert_eq!(
        counters.sum_us(),
        latencies.iter().map(|us| us.min(&(1 << 44))).sum::<u64>()
    );
    for us in [1, 9, 100, 1_000, 250_000, 60_000_000, 1 << 32] {
        let bound = LatencyBound::at_least(us).unwrap();
        assert!(bound.us() >= us && (us < 5 || bound.us() * 4 <= us * 5));
        let slow = latencies.iter().filter(|latency| **latency > bound.us()).count() as u64;
        assert_eq!(counters.slower_than(bound), slow, "slower than {us} µs");
    }
}

#[test]
fn quantiles_are_at_most_a_quarter_high_and_never_low() {
    let recorder = recorder(1);
    let mut writer = recorder.writer();
    let mut latencies: Vec<u64> = (0..10_000).map(|i| 100 + i * i % 90_007).collect();
    for latency in &latencies {
        writer.served(*latency);
    }
    latencies.sort_unstable();
    let histogram = recorder.peek(0).counters.histogram();
    for (quantile, at) in [(0.5, 4_999), (0.9, 8_999), (0.99, 9_899), (0.999, 9_989)] {
        let (exact, found) = (latencies[at], histogram.value_at_quantile(quantile));
        // Three digits of the histogram on top of the bucket.
        assert!(
            found >= exact && (found as f64) <= exact as f64 * 1.2513,
            "{quantile}: {found} for {exact}"
        );
    }
}

#[test]
fn threads_lose_nothing_and_a_client_is_one_episode_wherever_it_fails() {
    const EACH: u64 = 20_000;
    let recorder = recorder(1);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let mut writer = recorder.writer();
            scope.spawn(move || {
                for i in 0..EACH {
                    match i % 10 {
                        // 100 clients, the same in all threads.
                        0 => writer.failed(FaultClass::Own, i, 1 + i / 10 % 100),
                        1 => writer.failed(FaultClass::Client, i, thread + 1),
                        _ => writer.served(i),
                    }
                }
            });
        }
        // Looks while they write: counts only grow, and there are never more episodes than failures.
        let mut last = recorder.peek(0).counters;
        for _ in 0..50 {
            let next = recorder.peek(0).counters;
            assert!(next.total() >= last.total());
            assert!(next.episodes(FaultClass::Own) <= next.failed(FaultClass::Own));
            last = next;
        }
    });
    let counters = recorder.end_interval(0).counters;
    assert_eq!(
        counters.total(),
        4 * EACH,
        "writers that are gone have not taken their counts with them"
    );
    assert_eq!(counters.episodes(FaultClass::Own), 100);
    assert_eq!(counters.episodes(FaultClass::Client), 4);
}

#[test]
fn a_client_counts_again_in_the_next_interval() {
    let recorder = recorder(1);
    let mut writer = recorder.writer();
    for interval in 1..=3 {
        for _ in 0..5 {
            writer.failed(FaultClass::Own, 10, 42);
        }
        let snapshot = recorder.end_interval(interval * 1_000);
        assert_eq!((snapshot.interval, snapshot.age_ms), (interval, interval * 1_000));
        assert_eq!(
            snapshot.counters.counts(FaultClass::Own),
            Counts::new(interval, 5 * interval)
        );
    }
    assert_eq!(recorder.peek(9_000).interval, 4, "the one that is running");
    assert_eq!(recorder.end_interval(9_000).interval, 4);
}

#[test]
fn each_interval_is_taken_once_and_restarts_are_seen() {
    let delta = |taken: Taken| match taken {
        Taken::Delta(Delta {
            reset,
            intervals,
            counters,
            ..
        }) => (reset, intervals, counters.total()),
        Taken::Baseline => panic!("a difference is expected"),
    };
    let mut ledger = Ledger::new(2);
    let first = recorder(10);
    let mut writer = first.writer();
    let mut next = |requests: u64| {
        (0..requests).for_each(|_| writer.served(5));
        first.end_interval(0)
    };
    let (one, two, three, four) = (next(5), next(7), next(0), next(2));
    assert_eq!(delta(ledger.take(&one).unwrap()), (false, 1, 5));
    assert!(matches!(
        ledger.take(&one),
        Err(LedgerError::Duplicate { interval: 1, .. })
    ));
    assert_eq!(
        delta(ledger.take(&three).unwrap()),
        (false, 2, 7),
        "a lost one is made up for"
    );
    let before = ledger.clone();
    assert!(matches!(
        ledger.take(&two),
        Err(LedgerError::Late {
            interval: 2,
            last: 3,
            ..
        })
    ));
    assert_eq!(ledger, before, "nothing has happened");
    assert_eq!(delta(ledger.take(&four).unwrap()), (false, 1, 2));

    // The host restarts: everything the new start counted is new, however low it is.
    let second = recorder(11);
    second.writer().served(5);
    assert_eq!(delta(ledger.take(&second.end_interval(0)).unwrap()), (true, 1, 1));
    assert!(matches!(
        ledger.take(&four),
        Err(LedgerError::OldEpoch {
            epoch: 10,
            last: 11,
            ..
        })
    ));

    // Backwards within a start: not a difference, and not zero.
    let impostor = recorder(11);
    let _ = impostor.end_interval(0);
    assert!(matches!(
        ledger.take(&impostor.end_interval(0)),
        Err(LedgerError::Backwards { interval: 2, .. })
    ));

    // Known late: where it begins is unknown.
    let mut other = four.clone();
    other.instance.host = "pod-8".into();
    assert_eq!(ledger.take(&other).unwrap(), Taken::Baseline);
    other.instance.host = "pod-9".into();
    assert!(matches!(
        ledger.take(&other),
        Err(LedgerError::Full { max_hosts: 2, .. })
    ));
    assert!(ledger.forget("pod-8") && !ledger.forget("pod-8"));
    assert_eq!(ledger.hosts(), 1);
    let restored: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(restored, ledger);
}

#[test]
fn hosts_add_up() {
    let (one, two) = (recorder(1), recorder(2));
    traffic(&one, &mut Random(3), 500);
    traffic(&two, &mut Random(4), 700);
    let (a, b) = (one.peek(0).counters, two.peek(0).counters);
    let (mut ab, mut ba) = (a.clone(), b.clone());
    ab.merge(&b);
    ba.merge(&a);
    assert_eq!(ab, ba);
    assert_eq!(ab.total(), 1_200);
    let bound = LatencyBound::at_least(1_000).unwrap();
    assert_eq!(ab.slower_than(bound), a.slower_than(bound) + b.slower_than(bound));
    for class in FaultClass::ALL {
        assert_eq!(ab.host_counts(class, 7, 0).bad, a.failed(class) + b.failed(class));
        assert_eq!(ab.episodes(class), a.episodes(class) + b.episodes(class));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(seed: u64, requests in 0_u64..400) {
        let recorder = recorder(seed);
        traffic(&recorder, &mut Random(seed), requests);
        let snapshot = recorder.end_interval(seed >> 20);
        prop_assert_eq!(&Snapshot::from_json(&snapshot.to_json()).unwrap(), &snapshot);
        let line = snapshot.to_log_line();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(&Snapshot::from_log_line("log", 1, &line).unwrap(), &snapshot);
    }
}

#[test]
fn a_log_is_read_with_the_place_of_each_fault() {
    let recorder = recorder(3);
    let mut writer = recorder.writer();
    writer.served(31);
    writer.failed(FaultClass::Own, 12, 5);
    let line = recorder.end_interval(60_000).to_log_line();
    assert_eq!(
        line,
        "unattended-errors schema=1 host=pod-7 version=1.9.2 epoch=3 interval=1 age_ms=60000 sum_us=43 served=15:1 own=9:1 own_episodes=1"
    );
    let refused = |from: &str, to: &str| {
        let log = format!("somebody else's line\n{}\n", line.replace(from, to));
        let read: Vec<_> = read_log("e.log", &log).collect();
        assert_eq!(read.len(), 1);
        read[0].as_ref().expect_err("a fault").to_string()
    };
    for (from, to, said) in [
        ("schema=1", "schema=2", "e.log:2: schema: 2 is unknown"),
        ("epoch=3 ", "", "e.log:2: epoch: is missing"),
        ("epoch=3", "epoch=3 epoch=3", "e.log:2: epoch: comes twice"),
        ("epoch=3", "epoch=-3", "e.log:2: epoch: `-3` is not a count"),
        ("own=9:1", "own=9", "e.log:2: own: `9` is not bucket:count"),
        ("own=9:1", "own=125:1", "e.log:2: own: own: bucket 125 does not exist"),
        ("own=9:1", "own=9:1,9:2", "comes twice or after a higher one"),
        ("own=9:1", "own=9:0", "outside 1 to 2^63"),
        ("own=9:1", "mine=9:1", "e.log:2: mine: is not a field"),
        (
            "own_episodes=1",
            "own_episodes=2",
            "e.log:2: counters: own: 2 episodes of 1 failures",
        ),
        ("own_episodes=1", "junk", "e.log:2: line: `junk` is not key=value"),
        ("interval=1", "interval=0", "interval 0 does not exist"),
        (
            "served=15:1",
            "served=15:9223372036854775807,16:9223372036854775807",
            "above 2^63",
        ),
    ] {
        let found = refused(from, to);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn json_that_contradicts_itself_is_refused_with_its_place() {
    let good = recorder(3).end_interval(1).to_json();
    let refused = |from: &str, to: &str| Snapshot::from_json(&good.replace(from, to)).expect_err("a fault");
    assert!(
        matches!(refused("\"epoch\":3", "\"epoch\":-3"), WireError::Syntax { line: 1, column, ref what }
        if column > 0 && what.contains("-3"))
    );
    assert!(
        refused("\"sum_us\"", "\"sums\"")
            .to_string()
            .contains("unknown field `sums`")
    );
    assert!(refused("pod-7", "pod 7").to_string().contains("host contains ' '"));
    assert!(
        refused("\"schema\":1", "\"schema\":9")
            .to_string()
            .contains("schema 9 is unknown")
    );
    assert!(matches!(
        Snapshot::from_json(&" ".repeat(1 << 21)),
        Err(WireError::TooLong { .. })
    ));
    for name in ["", "a b", "é", &"x".repeat(254)] {
        let named = Instance {
            host: name.into(),
            ..instance(1)
        };
        assert!(Recorder::new(named, 0).is_err(), "{name:?}");
    }
}

/// The text format as a scraper reads it: name, labels, value.
fn scraped(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    parsed.collect()
}

#[test]
fn prometheus_gets_cumulative_buckets_and_every_class() {
    let recorder = Recorder::new(
        Instance {
            host: "a\"b\\c".into(),
            ..instance(4)
        },
        500,
    )
    .unwrap();
    let mut writer = recorder.writer();
    for latency in [10, 16, 17, 1_000, 100_000_000, u64::from(u32::MAX) * 9] {
        writer.served(latency);
    }
    writer.failed(FaultClass::Infrastructure, 64, 1);
    writer.failed(FaultClass::Infrastructure, 65, 1);
    let text = recorder.peek(2_000).to_prometheus();
    let samples = scraped(&text);
    let of = |name: &str| samples[&format!("unattended_{name}")];
    let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
    close(of("requests_total{outcome=\"served\"}"), 6.0);
    close(of("requests_total{outcome=\"infrastructure\"}"), 2.0);
    close(of("requests_total{outcome=\"ambiguous\"}"), 0.0);
    close(of("episodes_total{class=\"infrastructure\"}"), 1.0);
    close(of("request_duration_seconds_bucket{le=\"0.000016\"}"), 2.0);
    close(of("request_duration_seconds_bucket{le=\"0.000064\"}"), 4.0);
    close(of("request_duration_seconds_bucket{le=\"0.001024\"}"), 6.0);
    close(of("request_duration_seconds_bucket{le=\"67.108864\"}"), 6.0);
    close(of("request_duration_seconds_bucket{le=\"+Inf\"}"), 8.0);
    close(of("request_duration_seconds_count"), 8.0);
    close(of("instance_age_seconds"), 1.5);
    close(
        of("instance_info{host=\"a\\\"b\\\\c\",version=\"1.9.2\",epoch=\"4\"}"),
        1.0,
    );
    // Each series is announced, each name once.
    for name in [
        "requests_total",
        "episodes_total",
        "request_duration_seconds",
        "instance_age_seconds",
        "instance_info",
    ] {
        assert_eq!(text.matches(&format!("# TYPE unattended_{name} ")).count(), 1);
    }
}
