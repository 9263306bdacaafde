//! The limiter against servers whose capacity is known.

#![expect(clippy::unwrap_used, reason = "the settings of these tests are valid")]

use unattended_selfheal::{Ending, LimitChange, LimitReason, Limiter, LimiterSettings, Pass, PolicyError};

/// A server of so many workers: beyond them calls wait. Fluid: in a window of 100 ms at constant concurrency, each call
/// takes `service_us` times how many share a worker.
fn window(
    limiter: &mut Limiter,
    now_ms: &mut u64,
    offered: u32,
    workers: f64,
    service_us: f64,
    decay: f64,
) -> LimitChange {
    let gate = limiter.gate();
    let passes: Vec<Pass> = (0..offered)
        .filter_map(|call| gate.enter(u8::try_from(call % 128).unwrap()))
        .collect();
    let under_way = passes.len() as f64;
    // Beyond its capacity a server that trashes does less the more it has to do.
    let speed = workers.min(under_way) * (1.0 - decay * (under_way - workers).max(0.0) / workers).max(0.05);
    let latency_us = service_us * (under_way / speed).max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, seconds"
    )]
    let (latency, rounds) = (latency_us as u64, (100_000.0 / latency_us).ceil() as u64);
    drop(passes);
    for _ in 0..rounds {
        // Each place is taken again as soon as it is free.
        let round: Vec<Pass> = (0..offered)
            .filter_map(|call| gate.enter(u8::try_from(call % 128).unwrap()))
            .collect();
        round.into_iter().for_each(|pass| pass.end(Ending::Answered, latency));
    }
    *now_ms += 100;
    limiter.close_window(*now_ms)
}

fn limiter() -> (Limiter, u64) {
    let mut limiter = Limiter::new(LimiterSettings::default()).unwrap();
    limiter.close_window(0);
    (limiter, 0)
}

#[test]
fn settles_near_the_capacity_and_stays() {
    for workers in [4.0, 16.0, 100.0] {
        let (mut limiter, mut now_ms) = limiter();
        let mut last = 0;
        for step in 0..600 {
            // A quiet moment now and then, as there is.
            let offered = if step % 50 == 0 { 2 } else { 2 * limiter.limit() + 20 };
            last = window(&mut limiter, &mut now_ms, offered, workers, 10_000.0, 0.0).limit;
        }
        let root = workers.sqrt();
        let range = (workers - root)..(workers + 4.0 * root + 3.0);
        assert!(range.contains(&f64::from(last)), "{workers} workers: {last}");
    }
}

#[test]
fn a_limit_that_is_not_reached_does_not_move() {
    let (mut limiter, mut now_ms) = limiter();
    for _ in 0..100 {
        let change = window(&mut limiter, &mut now_ms, 5, 100.0, 10_000.0, 0.0);
        assert_eq!((change.limit, change.reason), (20, LimitReason::NotReached));
    }
}

#[test]
fn lost_calls_bring_it_down_whatever_the_latency() {
    // Netflix/concurrency-limits 137: a constant time-out looks like no gradient at all, and the limit climbs.
    let (mut limiter, _) = limiter();
    for step in 1..60 {
        let gate = limiter.gate();
        let passes: Vec<Pass> = (0..1_000).filter_map(|_| gate.enter(0)).collect();
        passes
            .into_iter()
            .for_each(|pass| pass.end(Ending::TimedOut, 1_000_000));
        limiter.close_window(step * 100);
    }
    assert!(limiter.limit() <= 10, "{}", limiter.limit());
    assert_eq!(limiter.gate().in_flight(), 0);
}

#[test]
fn a_server_that_trashes_is_spared() {
    let (mut limiter, mut now_ms) = limiter();
    let limits: Vec<u32> = (0..600)
        .map(|step| {
            let offered = if step % 50 == 0 { 2 } else { 2 * limiter.limit() + 20 };
            window(&mut limiter, &mut now_ms, offered, 30.0, 5_000.0, 0.5).limit
        })
        .collect();
    assert!(limits[200..].iter().all(|&limit| limit < 60), "{limits:?}");
    assert!(limits[200..].iter().all(|&limit| limit > 15), "{limits:?}");
}

#[test]
fn the_important_go_first() {
    let (mut limiter, mut now_ms) = limiter();
    let mut level = 127;
    for _ in 0..200 {
        level = window(&mut limiter, &mut now_ms, 400, 20.0, 10_000.0, 0.0).level;
    }
    assert!(level < 40, "{level}");
    let gate = limiter.gate();
    assert!(gate.enter(127).is_none() && gate.enter(0).is_some());
    // With the load gone everybody is admitted again.
    for _ in 0..200 {
        level = window(&mut limiter, &mut now_ms, 12, 20.0, 10_000.0, 0.0).level;
    }
    assert!(level == 127, "{level}");
}

#[test]
fn few_calls_and_a_clock_that_stands_change_nothing() {
    let (mut limiter, _) = limiter();
    let gate = limiter.gate();
    (0..9).for_each(|_| gate.enter(0).unwrap().end(Ending::TimedOut, 1));
    assert_eq!(limiter.close_window(100).reason, LimitReason::TooFewCalls);
    drop(gate.enter(0));
    (0..50).for_each(|_| gate.enter(0).unwrap().end(Ending::ClientAbort, 1));
    assert_eq!((limiter.close_window(200).limit, gate.in_flight()), (20, 0));
    (0..50).for_each(|_| gate.enter(0).unwrap().end(Ending::Answered, 1));
    assert_eq!(limiter.close_window(0).reason, LimitReason::TooFewCalls);
}

#[test]
fn bad_settings_are_typed() {
    let with = |initial, lowest, highest| {
        Limiter::new(LimiterSettings {
            initial,
            lowest,
            highest,
        })
    };
    assert!(matches!(
        with(5, 0, 9),
        Err(PolicyError::Positive { field: "lowest", .. })
    ));
    assert!(matches!(
        with(5, 6, 9),
        Err(PolicyError::Order { field: "initial", .. })
    ));
    assert!(matches!(
        with(5, 1, 4),
        Err(PolicyError::Order { field: "highest", .. })
    ));
}
