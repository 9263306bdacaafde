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
    Capabilities, Clock, Driver, DriverConfig, EffectKey, EffectOutcome, Generation, Group, IngressOrder, Job, Journal,
    JournalError, MemoryJournal, Mode, Observation, Platform, PlatformError, Position, Snapshot, TargetId, Terminal,
    Version,
};

const UPGRADES: u32 = 300_000;

fn main() {
    let mut suite = Suite::new("upgrade", 1);
    driver(&mut suite);
    suite.finish();
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
    let mut driver = Driver::new(platform, journal, Arc::new(clock.clone()), config).expect("the configuration fits");
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
            if let Some(due_ms) = turn.next_due_ms.filter(|due_ms| *due_ms > clock.now()) {
                clock.sleep_until(due_ms).await;
            }
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
