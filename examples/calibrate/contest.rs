//! Many releases of one family before every judge.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use unattended_examples_support::Failure;
use unattended_examples_support::peers::{Argo, Flagger, Kayenta, Opinion, Pair, Peer, Share, ZTest};

use crate::draws::Draws;
use crate::family::Family;
use crate::ours::Ours;
use crate::world::{HISTORY, Report, World};

/// Limits that are tried for the judges with a fixed limit, as multiples of the mean rate before the change.
pub(crate) const MULTIPLES: [f64; 12] = [1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 9.0, 14.0, 20.0, 30.0, 50.0];
/// Intervals between two looks of Kayenta.
const KAYENTA_LOOKS: usize = 5;

/// What one judge did to one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// When it was rolled back.
    pub(crate) rolled_back: Option<u16>,
    /// Per stage: whether it was let pass. Judges without stages let pass at the end, so theirs are all the same.
    pub(crate) passed: Vec<bool>,
}

/// Who competes; the judges with limits once per limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contender {
    Ours,
    Kayenta,
    Flagger(f64),
    Argo(f64),
    Z,
}

/// The contenders of a family, in the order of each run's outcomes.
pub(crate) fn contenders(family: &Family) -> Vec<Contender> {
    let limits = |sample: f64| MULTIPLES.iter().map(|multiple| multiple * family.base).chain([sample]);
    let mut all = vec![Contender::Ours, Contender::Kayenta];
    all.extend(limits(Flagger::sample().limit).map(Contender::Flagger));
    all.extend(limits(Argo::sample().limit).map(Contender::Argo));
    all.push(Contender::Z);
    all
}

fn peer(contender: Contender, family: &Family) -> Option<Box<dyn Peer>> {
    Some(match contender {
        Contender::Ours => return None,
        Contender::Kayenta => Box::new(Kayenta::every(KAYENTA_LOOKS)),
        Contender::Flagger(limit) => Box::new(Flagger::new(limit)),
        Contender::Argo(limit) => Box::new(Argo::new(limit)),
        Contender::Z => Box::new(ZTest::new(if family.alpha < 0.03 { 2.326_348 } else { 1.644_854 })),
    })
}

/// The outcome of every contender.
fn release(family: &Family, number: u64, bad: bool, run: u32, seed: u64) -> Result<Vec<Outcome>, String> {
    let mut world = World::new(family, bad, Draws::of(&[seed, number, u64::from(bad), u64::from(run)]));
    let mut history = vec![Vec::new(); family.zones];
    for t in 0..HISTORY {
        for (zone, reports) in history.iter_mut().enumerate() {
            reports.push(world.before(t, zone));
        }
    }
    let mut ours = Ours::new(family, &history)?;
    let mut peers: Vec<(Box<dyn Peer>, Option<usize>)> = contenders(family)
        .into_iter()
        .filter_map(|contender| Some((peer(contender, family)?, None)))
        .collect();
    let mut ended = false;
    for t in 0..family.intervals() {
        let (stage, begins) = family.stage(t);
        let zones: Vec<Report> = (0..family.zones).map(|zone| world.during(t, zone)).collect();
        let seen = [sum(&zones)];
        ended = ended
            || ours
                .observe(t, stage, begins, &zones)
                .map_err(|error| error.to_string())?;
        for (peer, rolled_back) in peers.iter_mut().filter(|(_, rolled_back)| rolled_back.is_none()) {
            if begins {
                peer.step();
            }
            if peer.observe(&seen) == Opinion::Rollback {
                *rolled_back = Some(t);
            }
        }
        if ended && peers.iter().all(|(_, rolled_back)| rolled_back.is_some()) {
            break;
        }
    }
    let short = |t: Option<usize>| t.and_then(|t| u16::try_from(t).ok());
    let (rolled_back, passed) = ours.outcome();
    let mut outcomes = vec![Outcome {
        rolled_back: short(rolled_back),
        passed,
    }];
    let last = family.intervals() - 1;
    outcomes.extend(peers.into_iter().map(|(peer, rolled_back)| {
        let end = if rolled_back.is_some() {
            Opinion::Rollback
        } else {
            peer.finish()
        };
        Outcome {
            rolled_back: short(rolled_back.or_else(|| (end == Opinion::Rollback).then_some(last))),
            passed: vec![end == Opinion::Promote; family.stages.len()],
        }
    }));
    Ok(outcomes)
}

/// What the judges of others see: sums, fresh hosts and settled ones together.
fn sum(zones: &[Report]) -> Pair {
    let mut pair = Pair::default();
    let add = |share: &mut Share, counts: unattended::health::Counts| {
        share.bad += counts.bad;
        share.total += counts.total;
    };
    for zone in zones {
        add(&mut pair.canary, zone.canary);
        add(&mut pair.canary, zone.fresh);
        add(&mut pair.control, zone.control);
    }
    pair
}

/// So many healthy (or bad) releases: one list of outcomes each, in the order of the runs, whoever did them.
pub(crate) fn releases(
    family: &Family,
    number: u64,
    bad: bool,
    runs: u32,
    seed: u64,
    threads: usize,
) -> Result<Vec<Vec<Outcome>>, Failure> {
    let next = AtomicU32::new(0);
    let all: Mutex<Vec<Option<Vec<Outcome>>>> = Mutex::new(vec![None; usize::try_from(runs).unwrap_or(usize::MAX)]);
    let work = || -> Result<(), String> {
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return Ok(());
            }
            let outcomes = release(family, number, bad, run, seed)?;
            if let Some(place) = all.lock().get_mut(usize::try_from(run).unwrap_or(usize::MAX)) {
                *place = Some(outcomes);
            }
        }
    };
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|result| result.unwrap_or_else(|_| Err("a run panicked".to_owned())))
            .collect()
    });
    for result in results {
        result.map_err(|error| Failure::Internal(format!("family {}: {error}", family.name)))?;
    }
    Ok(all.into_inner().into_iter().flatten().collect())
}
