//! Plans, proofs and the frontier, beside sorting as many pairs and beside queues and look-ups without rules.

use std::cell::LazyCell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use criterion::BatchSize;
use unattended_batching::{Event, Fleet, Frontier, Plan, Policy, Ramp, Side, TargetIndex, pct, verify};
use unattended_benches::{Pod, SplitMix64, Suite, pods};

const SEED: u64 = 7;
/// Targets in flight while the frontier is driven.
const FLYING: usize = 4_000;
/// Targets asked for in one answer.
const ANSWER: usize = 500;

fn main() {
    let mut suite = Suite::new("batching", 1);
    let policy = policy();
    // As many targets per application in each: what grows is the fleet alone.
    plans(&mut suite, &policy, "10k", 10_000, 100);
    plans(&mut suite, &policy, "100k", 100_000, 1_000);
    plans(&mut suite, &policy, "1m", 1_000_000, 10_000);
    // Few and many targets per application: what an application, and each of its strata, costs beside its targets shows here.
    plans(&mut suite, &policy, "100k_10000", 100_000, 10_000);
    plans(&mut suite, &policy, "10m", 10_000_000, 10_000);
    frontier(&mut suite, &policy);
    suite.finish();
}

/// Everything a policy can ask for, so that nothing is left out of the time.
fn policy() -> Policy {
    Policy::new()
        .ramp(Ramp::doubling())
        .spread(["stack", "zone"])
        .per_app(pct(5))
        .per_label("zone", pct(10))
        .total_in_flight(pct(10))
}

fn fleet(targets: u32, apps: u32) -> Fleet {
    let mut builder = Fleet::builder();
    for pod in pods(targets, apps, SEED) {
        builder
            .push(&pod.id, &pod.app, pod.labels(), true)
            .expect("ids are unique");
    }
    builder.build().expect("the fleet is not empty")
}

fn plan(fleet: &Fleet, policy: &Policy) -> Plan {
    Plan::build(fleet, policy, SEED).expect("the fleet has the policy's keys")
}

/// Who plans must at least put the targets in an order: the floor sorts as many (hash, target) pairs.
fn plans(suite: &mut Suite, policy: &Policy, name: &str, targets: u32, apps: u32) {
    let fleet = LazyCell::new(|| fleet(targets, apps));
    let (plan_name, verify_name, sort_name) =
        (format!("plan_{name}"), format!("verify_{name}"), format!("sort_{name}"));
    suite.measure(&plan_name, targets.into(), |b| {
        let fleet = LazyCell::force(&fleet);
        b.iter_with_large_drop(|| plan(fleet, policy));
    });
    let planned = LazyCell::new(|| plan(&fleet, policy));
    suite.measure(&verify_name, targets.into(), |b| {
        let (fleet, planned) = (LazyCell::force(&fleet), LazyCell::force(&planned));
        b.iter_with_large_drop(|| verify(fleet, policy, planned).expect("the planner keeps its bounds"));
    });
    let pairs = LazyCell::new(|| {
        let mut random = SplitMix64::new(SEED);
        (0..targets).map(|n| (random.next_u64(), n)).collect::<Vec<_>>()
    });
    suite.measure(&sort_name, targets.into(), |b| {
        b.iter_batched_ref(|| pairs.clone(), |pairs| pairs.sort_unstable(), BatchSize::PerIteration);
    });
    let doing = "sort_unstable of as many (u64, u32)";
    suite.compare(
        &format!("plan {targets} targets, {apps} apps"),
        "target",
        &plan_name,
        &sort_name,
        doing,
    );
    suite.compare(
        &format!("verify that plan of {targets}"),
        "target",
        &verify_name,
        &plan_name,
        "making that plan",
    );
}

/// What a caller did between two answers, so that a replay pays for the frontier alone.
enum Call {
    Ask,
    Tell(Event),
}

/// A whole good change: ask for some, let the oldest finish when enough fly, promote each lane that is through.
fn rollout(mut live: Frontier) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut flying = VecDeque::new();
    loop {
        calls.push(Call::Ask);
        let started = live.startable(0, ANSWER);
        let none = started.is_empty();
        flying.extend(started);
        let mut events = Vec::new();
        if none && flying.is_empty() {
            let through = live
                .lanes()
                .filter(|lane| lane.waiting_in_open == 0 && lane.next_batch.is_some());
            events.extend(through.map(|lane| Event::Promoted { app: lane.app, at: 0 }));
        } else if none || flying.len() > FLYING {
            let oldest = flying.drain(..flying.len().min(ANSWER));
            events.extend(oldest.map(|id| Event::Finished { id, at: 0 }));
        } else {
            continue;
        }
        if events.is_empty() {
            assert!(live.is_done(), "all of a healthy fleet gets through");
            return calls;
        }
        for event in events {
            live.on(event);
            calls.push(Call::Tell(event));
        }
    }
}

fn replay(live: &mut Frontier, calls: &[Call]) {
    for call in calls {
        match call {
            Call::Ask => drop(black_box(live.startable(0, ANSWER))),
            Call::Tell(event) => drop(black_box(live.on(*event))),
        }
    }
}

fn frontier(suite: &mut Suite, policy: &Policy) {
    const TARGETS: u32 = 1_000_000;
    let planned = LazyCell::new(|| plan(&fleet(TARGETS, 10_000), policy));
    let calls = LazyCell::new(|| rollout(planned.frontier()));
    suite.measure("frontier", TARGETS.into(), |b| {
        b.iter_batched_ref(
            || planned.frontier(),
            |live| replay(live, &calls),
            BatchSize::PerIteration,
        );
    });
    // The same order without lanes, caps and batches: each target leaves a queue, flies, and is marked at its end.
    suite.measure("queue", TARGETS.into(), |b| {
        b.iter_batched_ref(
            || {
                let order: VecDeque<TargetIndex> = (0..planned.batch_count())
                    .flat_map(|batch| planned.targets(batch))
                    .copied()
                    .collect();
                (vec![0_u8; order.len()], order, VecDeque::with_capacity(FLYING))
            },
            |(state, order, flying)| {
                while let Some(target) = order.pop_front() {
                    state[target.at()] = 1;
                    if flying.len() == FLYING
                        && let Some(oldest) = flying.pop_front()
                    {
                        let oldest: TargetIndex = oldest;
                        state[oldest.at()] = 2;
                    }
                    flying.push_back(target);
                }
                black_box(state);
            },
            BatchSize::PerIteration,
        );
    });
    suite.compare(
        "frontier: start and finish 1000000",
        "target",
        "frontier",
        "queue",
        "VecDeque and a byte of state, no rules",
    );

    // Births in the middle of the change: half of the lanes' places are open.
    let live = LazyCell::new(|| {
        let mut live = planned.frontier();
        replay(&mut live, &calls[..calls.len() / 2]);
        live
    });
    let born: Vec<Pod> = pods(TARGETS + 4_096, 10_000, SEED + 1).skip(TARGETS as usize).collect();
    suite.measure("version_for", born.len() as u64, |b| {
        let live = LazyCell::force(&live);
        b.iter(|| {
            let new = |pod: &&Pod| live.version_for(&pod.id, &pod.app, &pod.labels()) == Side::New;
            born.iter().filter(new).count()
        });
    });
    let apps: HashMap<String, u32, BuildHasherDefault<DefaultHasher>> = pods(10_000, 10_000, SEED)
        .zip(0..)
        .map(|(pod, n)| (pod.app, n))
        .collect();
    suite.measure("look_up", born.len() as u64, |b| {
        b.iter(|| {
            born.iter()
                .filter_map(|pod| apps.get(&pod.app))
                .map(|n| u64::from(*n))
                .sum::<u64>()
        });
    });
    suite.compare(
        "version_for a newborn",
        "birth",
        "version_for",
        "look_up",
        "one std HashMap look-up of its application",
    );
}
