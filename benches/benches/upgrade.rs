//! The driver beside as many asynchronous calls to nobody.

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use criterion::BatchSize;
use futures::executor::block_on;
use unattended_benches::{Suite, pods};
use unattended_simulated::{InitialState, SimConfig, SimTarget, Simulated, World};
use unattended_upgrade::{
    Capabilities, Command, Driver, DriverConfig, Effect, EffectKey, EffectOutcome, Event, Generation, Group,
    HandoverOrder, Ingress, IngressOrder, InstanceId, Job, Journal, JournalError, Machine, MemoryJournal, Mode, Moves,
    Observation, Pair, Phase, Plan as MachinePlan, Platform, PlatformError, Position, SelfCheck, SlotSeen, Snapshot,
    TargetId, Terminal, Timing, Version,
};

const UPGRADES: u32 = 300_000;

fn main() {
    let mut suite = Suite::new("upgrade", 1);
    transitions(&mut suite);
    driver(&mut suite);
    suite.finish();
}

/// What a machine is told on its way from its first look to `Done`: once recorded, many times told.
struct Way {
    mode: Mode,
    timing: Arc<Timing>,
    told: Vec<(u64, Option<Observation>)>,
}

impl Way {
    fn machine(&self) -> Machine {
        let plan = MachinePlan {
            mode: self.mode,
            from: "old".into(),
            to: "new".into(),
            fence: true,
            prefetch: true,
            salt: 7,
        };
        let mut machine = Machine::new(plan, Arc::clone(&self.timing));
        machine.begin(0);
        machine
    }

    fn tell(machine: &mut Machine, (now_ms, seen): &(u64, Option<Observation>)) -> Command {
        machine.next(match seen {
            Some(seen) => Event::Observed {
                asked_ms: *now_ms,
                now_ms: *now_ms,
                seen,
            },
            None => Event::Outcome {
                now_ms: *now_ms,
                outcome: &EffectOutcome::Applied,
            },
        })
    }

    /// Lets every order come true at once.
    fn record(mode: Mode) -> Self {
        let mut way = Self {
            mode,
            timing: Arc::new(Timing::default()),
            told: Vec::new(),
        };
        let mut machine = way.machine();
        let mut seen = at_rest();
        let mut at_ms = 0;
        loop {
            way.told.push((at_ms, Some(seen.clone())));
            let mut command = Self::tell(&mut machine, &way.told[way.told.len() - 1]);
            if let Command::Effect { effect, .. } = command {
                come_true(&mut seen, effect);
                way.told.push((at_ms, None));
                command = Self::tell(&mut machine, &(at_ms, None));
            }
            match command {
                Command::Look { at_ms: next } => at_ms = next,
                Command::Finish(terminal) => {
                    assert_eq!(terminal, Terminal::Done);
                    return way;
                }
                Command::Effect { .. } => unreachable!("an answer is never answered with an order"),
            }
        }
    }
}

fn at_rest() -> Observation {
    let old = SlotSeen {
        version: Some("old".into()),
        phase: Phase::Running,
        instance: Some(InstanceId(1)),
        ready: true,
        self_check: SelfCheck::Passed,
        listeners: true,
        accepting: true,
        connections: Some(3),
        ..SlotSeen::empty()
    };
    Observation {
        phase: Phase::Running,
        version: Some("old".into()),
        instance: Some(InstanceId(1)),
        ready: true,
        self_check: SelfCheck::Passed,
        ingress: Ingress::Open,
        active: Some(0),
        pair: Some(Box::new(Pair {
            slots: [old, SlotSeen::empty()],
            session: false,
            moves: Moves::default(),
        })),
        config: None,
    }
}

fn come_true(seen: &mut Observation, effect: Effect) {
    let pair = seen.pair.as_mut().expect("it has two slots");
    let [old, new] = &mut pair.slots;
    match effect {
        Effect::Close { .. } => seen.ingress = Ingress::Closed,
        Effect::Open => seen.ingress = Ingress::Open,
        Effect::Replace(_) | Effect::ReplaceInPlace(_) => {
            seen.version = Some("new".into());
            seen.instance = Some(InstanceId(2));
        }
        Effect::Spawn(_) => {
            *new = SlotSeen {
                version: Some("new".into()),
                instance: Some(InstanceId(2)),
                accepting: false,
                listeners: false,
                accepted: Some(1),
                connections: Some(0),
                ..old.clone()
            };
        }
        Effect::HandOver(order) => match order {
            HandoverOrder::Offer => {
                pair.session = true;
                new.listeners = true;
            }
            HandoverOrder::Accept => new.accepting = true,
            HandoverOrder::Quiesce => old.accepting = false,
            HandoverOrder::Migrate => old.connections = Some(0),
            HandoverOrder::Commit => new.committed = true,
            HandoverOrder::Retire => old.retired = true,
            HandoverOrder::Return => unreachable!("nothing goes wrong"),
        },
        Effect::Reset(_) => *old = SlotSeen::empty(),
        Effect::Fence | Effect::Prefetch | Effect::Stop(_) | Effect::ApplyConfig(_) => {}
    }
}

/// The floor compares each look with the one before: whoever decides by looks cannot do less with them.
fn transitions(suite: &mut Suite) {
    for mode in [Mode::Warm, Mode::Hot] {
        let way = Way::record(mode);
        let count = u64::try_from(way.told.len()).expect("a way is short");
        let (ours, floor) = (format!("transition_{mode}"), format!("comparison_{mode}"));
        suite.measure(&ours, count, |b| {
            b.iter_batched_ref(
                || way.machine(),
                |machine| {
                    for told in &way.told {
                        black_box(Way::tell(machine, told));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        suite.measure(&floor, count, |b| {
            b.iter(|| {
                way.told
                    .windows(2)
                    .filter(|two| black_box(&two[0].1) == black_box(&two[1].1))
                    .count()
            });
        });
        suite.compare(
            &format!("one transition of a {mode} upgrade"),
            "transition",
            &ours,
            &floor,
            "comparing two looks",
        );
    }
}

/// A fleet in which nothing goes wrong by itself and no replacement outlasts its budget: every upgrade takes the same way.
fn world() -> Arc<Simulated> {
    let targets = pods(UPGRADES, 10_000, 7)
        .map(|pod| SimTarget {
            labels: pod
                .labels()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
            id: pod.id,
            app: pod.app,
            state: InitialState::Healthy,
        })
        .collect();
    let world = World {
        fault_observe: 0.0,
        in_place_tail_factor: 1.0,
        ..World::calm()
    };
    Simulated::new(SimConfig {
        world,
        targets,
        ..SimConfig::default()
    })
    .expect("the fleet is valid")
}

fn jobs() -> Vec<Job> {
    let job = |target: &str| Job::new(target, "old", "new", Mode::Warm);
    pods(UPGRADES, 10_000, 7).map(|pod| job(&pod.id)).collect()
}

/// Submits all jobs and takes turns until each has its receipt; how many succeeded.
fn upgrade<P: Platform, J: Journal>(world: &Arc<Simulated>, platform: Arc<P>, journal: Arc<J>, jobs: Vec<Job>) -> u32 {
    let clock = world.clock();
    let config = DriverConfig::new().max_in_flight(10_000);
    let mut driver = Driver::new(platform, journal, Arc::new(clock), config).expect("the configuration fits");
    for job in jobs {
        driver.submit(job).expect("each target has one job");
    }
    let run = async {
        let mut done = 0;
        while driver.outstanding() > 0 {
            let turn = driver.turn(&mut |_| true).await.expect("the journal works");
            done += turn
                .finished
                .iter()
                .map(|receipt| u32::from(receipt.terminal == Terminal::Done))
                .sum::<u32>();
            driver.attend(None).await;
        }
        done
    };
    world
        .executor()
        .run(run)
        .expect("a timer is set while anything is under way")
}

/// The floor awaits as many boxed futures as the driver does, of an object that only adds. The world's own work is in
/// our time: looking up 100,000 names some twenty times, and replacing each sidecar.
fn driver(suite: &mut Suite) {
    suite.measure("driver", UPGRADES.into(), |b| {
        b.iter_batched(
            || (world(), jobs()),
            |(world, jobs)| {
                let done = upgrade(&world, Arc::clone(&world), Arc::new(MemoryJournal::new()), jobs);
                assert_eq!(done, UPGRADES);
                world
            },
            BatchSize::PerIteration,
        );
    });
    let calls = LazyCell::new(|| {
        let (world, calls) = (world(), Arc::new(AtomicU64::new(0)));
        let counting = Arc::new(Counting {
            inner: Arc::clone(&world),
            calls: Arc::clone(&calls),
        });
        let journal = Arc::new(Counting {
            inner: Arc::new(MemoryJournal::new()),
            calls: Arc::clone(&calls),
        });
        upgrade(&world, counting, journal, jobs());
        calls.load(Ordering::Relaxed)
    });
    let nobody: Box<dyn Callee> = Box::new(Nobody(AtomicU64::new(0)));
    suite.measure("calls", UPGRADES.into(), |b| {
        let calls = *LazyCell::force(&calls);
        b.iter(|| {
            block_on(async {
                for call in 0..calls {
                    black_box(&nobody).call(call).await;
                }
            });
        });
    });
    suite.compare(
        "driver: warm upgrades, simulated",
        "upgrade",
        "driver",
        "calls",
        "as many boxed async calls to nobody",
    );
}

#[async_trait]
trait Callee: Send + Sync {
    async fn call(&self, argument: u64);
}

struct Nobody(AtomicU64);

#[async_trait]
impl Callee for Nobody {
    async fn call(&self, argument: u64) {
        self.0.fetch_add(argument, Ordering::Relaxed);
    }
}

/// Counts the calls of a driver, which it hands on.
struct Counting<T> {
    inner: Arc<T>,
    calls: Arc<AtomicU64>,
}

impl<T> Counting<T> {
    fn called(&self) -> &T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

#[async_trait]
impl Platform for Counting<Simulated> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.called().observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.called().replace(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.called().fence(target, generation).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.called().replace_in_place(target, version, key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.called().prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.called().ingress(target, order, key).await
    }
}

#[async_trait]
impl Journal for Counting<MemoryJournal> {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.called().append(group).await
    }

    async fn append_at(&self, expected: Position, group: &Group) -> Result<Position, JournalError> {
        self.called().append_at(expected, group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.called().read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.called().compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.called().snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.called().end().await
    }
}
