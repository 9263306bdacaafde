//! Small fleets, and orders to them.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::future::Future;
use std::sync::Arc;

use unattended_health::{Counts, Interval, Member, MetricSource};
use unattended_simulated::{InitialState, ReleaseSpec, SimConfig, SimTarget, Simulated, World};
use unattended_upgrade::{
    AttemptId, Clock, EffectKey, EffectOutcome, Generation, IngressOrder, Observation, Platform, TargetId, Version,
};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const ERRORS: u8 = 0;
pub(crate) const SLOW: u8 = 1;
pub(crate) const RESTARTS: u8 = 2;
pub(crate) const SELF_TEST: u8 = 3;

/// `apps` applications of `each` targets, spread over three zones and two stacks.
pub(crate) fn fleet(apps: usize, each: usize) -> Vec<SimTarget> {
    let label = |key: &str, value: String| (key.to_owned(), value);
    (0..apps * each)
        .map(|i| SimTarget {
            id: format!("app-{}-{}", i / each, i % each),
            app: format!("app-{}", i / each),
            labels: vec![
                label("zone", format!("zone-{}", i % 3)),
                label("stack", format!("stack-{}", i / each % 2)),
            ],
            state: InitialState::Healthy,
        })
        .collect()
}

pub(crate) fn config(targets: Vec<SimTarget>, world: World, release: &str) -> SimConfig {
    SimConfig {
        world,
        targets,
        release: ReleaseSpec::parse(release).unwrap(),
        seed: 42,
        ..SimConfig::default()
    }
}

pub(crate) fn sim(targets: Vec<SimTarget>, world: World, release: &str) -> Arc<Simulated> {
    Simulated::new(config(targets, world, release)).unwrap()
}

pub(crate) fn key(attempt: u64, generation: u64, step: u8) -> EffectKey {
    EffectKey {
        attempt: AttemptId(attempt),
        generation: Generation(generation),
        step,
        ordinal: 0,
    }
}

pub(crate) fn id(name: &str) -> TargetId {
    TargetId::from(name)
}

pub(crate) fn new() -> Version {
    Version::from("new")
}

/// Runs what needs no waiting.
pub(crate) fn now<F: Future>(sim: &Arc<Simulated>, future: F) -> F::Output {
    sim.executor().run(future).unwrap()
}

pub(crate) fn wait(sim: &Arc<Simulated>, until_ms: u64) {
    now(sim, sim.clock().sleep_until(until_ms));
}

pub(crate) fn observe(sim: &Arc<Simulated>, name: &str) -> Observation {
    now(sim, sim.observe(&[id(name)])).unwrap().remove(0)
}

pub(crate) fn in_place(sim: &Arc<Simulated>, name: &str, attempt: u64) -> EffectOutcome {
    now(sim, sim.replace_in_place(&id(name), &new(), &key(attempt, 1, 2)))
}

pub(crate) fn close(sim: &Arc<Simulated>, name: &str, attempt: u64, reopen_by_ms: u64) -> EffectOutcome {
    now(
        sim,
        sim.ingress(&id(name), IngressOrder::Close { reopen_by_ms }, &key(attempt, 1, 1)),
    )
}

pub(crate) fn open(sim: &Arc<Simulated>, name: &str, attempt: u64) -> EffectOutcome {
    now(sim, sim.ingress(&id(name), IngressOrder::Open, &key(attempt, 1, 3)))
}

/// Follows targets: (name, stratum, control).
pub(crate) fn follow(sim: &Arc<Simulated>, members: impl IntoIterator<Item = (String, u32, bool)>) {
    let members: Vec<Member> = members
        .into_iter()
        .map(|(target, stratum, control)| Member {
            target,
            stratum,
            control,
        })
        .collect();
    now(sim, sim.follow(&members)).unwrap();
}

/// Waits for the end of the interval of that index (one minute each) and reads it.
pub(crate) fn read(sim: &Arc<Simulated>, index: u64) -> Interval {
    let end = (index + 1) * MINUTE;
    wait(sim, end);
    now(sim, sim.read(index, end)).unwrap()
}

/// Sums of (canary, control) of one metric over the rows that `wanted` lets through.
pub(crate) fn sums(interval: &Interval, metric: u8, fresh: bool, wanted: impl Fn(u32) -> bool) -> (Counts, Counts) {
    let mut sums = (Counts::default(), Counts::default());
    for row in interval
        .rows
        .iter()
        .filter(|r| r.metric == metric && r.fresh == fresh && wanted(r.stratum))
    {
        sums.0 = Counts::new(sums.0.bad + row.canary.bad, sums.0.total + row.canary.total);
        sums.1 = Counts::new(sums.1.bad + row.control.bad, sums.1.total + row.control.total);
    }
    sums
}

/// Everybody alike: 50 requests per second, one error in a thousand, no wave, each error its own episode.
pub(crate) fn even() -> World {
    World {
        requests_per_s_median: 50.0,
        requests_sigma: 0.0,
        quiet_app_share: 0.0,
        error_rate_low: 1e-3,
        error_rate_high: 1e-3,
        daily_amplitude: 0.0,
        burst_mean: 1.0,
        heavy_episode_share: 0.0,
        ..World::calm()
    }
}

/// Six targets in each of `apps` applications; targets 0, 1, 2 (one per zone) go new, 3, 4, 5 are control. One stratum per
/// application and zone.
pub(crate) fn rolled_out(world: World, release: &str, apps: usize) -> Arc<Simulated> {
    rolled_out_in(config(fleet(apps, 6), world, release))
}

pub(crate) fn rolled_out_in(config: SimConfig) -> Arc<Simulated> {
    let apps = config.targets.len() / 6;
    let sim = Simulated::new(config).unwrap();
    let members = (0..apps * 6).map(|i| {
        let (app, n) = (i / 6, i % 6);
        (
            format!("app-{app}-{n}"),
            u32::try_from(app * 3 + i % 3).unwrap(),
            n >= 3,
        )
    });
    follow(&sim, members);
    for app in 0..apps {
        for n in 0..3 {
            in_place(&sim, &format!("app-{app}-{n}"), u64::try_from(app * 3 + n).unwrap());
        }
    }
    sim
}

/// The rate of a metric over some intervals of warm (or fresh) rows, as (canary, control).
pub(crate) fn rates(
    sim: &Arc<Simulated>,
    intervals: std::ops::Range<u64>,
    metric: u8,
    fresh: bool,
    strata: impl Fn(u32) -> bool,
) -> (f64, f64) {
    let mut total = [0_u64; 4];
    for index in intervals {
        let (canary, control) = sums(&read(sim, index), metric, fresh, &strata);
        for (sum, x) in total
            .iter_mut()
            .zip([canary.bad, canary.total, control.bad, control.total])
        {
            *sum += x;
        }
    }
    let [a, b, c, d] = total.map(|x| f64::from(u32::try_from(x).unwrap()));
    assert!(b > 0.0 && d > 0.0, "no exposure");
    (a / b, c / d)
}

pub(crate) fn near(found: f64, expected: f64, share: f64) {
    assert!(
        (found / expected - 1.0).abs() < share,
        "found {found}, expected {expected}"
    );
}
