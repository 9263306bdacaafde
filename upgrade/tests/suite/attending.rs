//! What happens between turns to calls that no turn waits for.
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use futures::future::select;
use parking_lot::Mutex;
use unattended_upgrade::*;

use crate::support::{Kill, TestClock, World, job, turn};

/// Every look needs so many wakes, so far apart: far more than a turn waits for.
const WAKES: u64 = 20;
const APART_MS: u64 = 250;

/// Its looks come in small steps, each of which wants to be woken for.
struct Stepwise {
    world: Arc<World>,
    /// Looks come at once, and all else in small steps.
    sees_at_once: bool,
    /// How long each look took.
    took_ms: Mutex<Vec<u64>>,
    /// When barriers were asked for and answered.
    barriers: Mutex<Vec<(u64, u64)>>,
    /// When a replacement was ordered.
    replaced_ms: Mutex<Option<u64>>,
}

impl Stepwise {
    async fn steps(&self) {
        for _ in 0..WAKES {
            let at_ms = self.world.clock.now() + APART_MS;
            self.world.clock.sleep_until(at_ms).await;
        }
    }
}

#[async_trait]
impl Platform for Stepwise {
    fn capabilities(&self) -> Capabilities {
        self.world.capabilities().with_barrier()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let began_ms = self.world.clock.now();
        let seen = self.world.observe(targets).await;
        if !self.sees_at_once {
            self.steps().await;
        }
        self.took_ms.lock().push(self.world.clock.now() - began_ms);
        seen
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.steps().await;
        self.world.replace(target, version, key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.replaced_ms.lock().get_or_insert(self.world.clock.now());
        self.world.replace_in_place(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.world.ingress(target, order, key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        let asked_ms = self.world.clock.now();
        self.steps().await;
        self.barriers.lock().push((asked_ms, self.world.clock.now()));
        let told = Barrier {
            told: true,
            quiet_ms: None,
        };
        Ok(vec![told; targets.len()])
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.world.fence(target, generation).await
    }
}

/// Polls, and lets the clock go on to the next timer whenever nothing else can happen.
pub(crate) fn run<T>(clock: &TestClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        clock.set(clock.next_timer().expect("something waits for time"));
    }
}

type Driven = Driver;

fn stepwise(sees_at_once: bool, poll_ms: u64) -> (Arc<World>, Arc<Stepwise>, Driven) {
    let world = World::new(Kill::at([]), World::able());
    let platform = Arc::new(Stepwise {
        world: Arc::clone(&world),
        sees_at_once,
        took_ms: Mutex::default(),
        barriers: Mutex::default(),
        replaced_ms: Mutex::default(),
    });
    let mut timing = Timing::default();
    timing.close_ms = 60_000;
    // A look takes longer than a turn waits, and would not end in time if it went on by one step a turn.
    let config = DriverConfig::new()
        .call_ms(8_000)
        .patience_ms(1_000)
        .poll_ms(poll_ms)
        .timing(timing);
    let (journal, clock) = (Arc::clone(&world.journal), Arc::clone(&world.clock));
    let driver = Driver::new(platform.clone(), journal, clock, config).unwrap();
    (world, platform, driver)
}

/// One cold upgrade, attended for so long at a time; then the future is dropped, and made anew.
fn upgraded(dropped_after_ms: u64) -> Vec<u64> {
    let (world, platform, mut driver) = stepwise(false, 5_000);
    let target = world.add("pod-1");
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let receipts = run(&world.clock, async {
        let mut receipts = Vec::new();
        while driver.outstanding() > 0 {
            let turn = driver.turn(&mut |_| true).await.unwrap();
            assert_eq!(turn.blind, 0, "a look was given up");
            receipts.extend(turn.finished);
            while driver.outstanding() > 0 && !driver.is_due() {
                let cut_ms = world.clock.now().saturating_add(dropped_after_ms);
                select(pin!(driver.attend(None)), world.clock.sleep_until(cut_ms)).await;
            }
        }
        receipts
    });
    assert_eq!((receipts.len(), &receipts[0].terminal), (1, &Terminal::Done));
    assert_eq!(receipts[0].retries, 0, "an order was given up");
    let took_ms = platform.took_ms.lock();
    took_ms.clone()
}

#[test]
fn a_call_of_many_steps_goes_on_between_turns() {
    // Whole, and in pieces that are shorter than a step and longer.
    for dropped_after_ms in [u64::MAX, 90, 700] {
        let took_ms = upgraded(dropped_after_ms);
        assert!(took_ms.len() > 5, "{took_ms:?}");
        assert!(
            took_ms.iter().all(|ms| *ms == WAKES * APART_MS),
            "some looks stood still for a while: {took_ms:?}"
        );
    }
}

#[test]
fn attending_ends_at_the_time_given_at_an_answer_or_when_there_is_nothing() {
    let (world, _, mut driver) = stepwise(false, 5_000);
    run(&world.clock, driver.attend(None));
    run(&world.clock, driver.attend(Some(700)));
    assert_eq!(world.clock.now(), 700, "with nothing under way");

    let target = world.add("pod-1");
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let turn = run(&world.clock, driver.turn(&mut |_| true)).unwrap();
    // The turn has waited for its patience, and nothing else will be due than the answer.
    assert_eq!((world.clock.now(), turn.unanswered, turn.next_due_ms), (1_700, 1, None));
    run(&world.clock, driver.attend(Some(2_000)));
    assert_eq!(world.clock.now(), 2_000);
    assert!(!driver.is_due());
    run(&world.clock, driver.attend(Some(60_000)));
    assert_eq!(world.clock.now(), 700 + WAKES * APART_MS, "as soon as it is answered");
    assert!(driver.is_due());
    run(&world.clock, driver.attend(None));
    assert_eq!(world.clock.now(), 700 + WAKES * APART_MS, "the answer waits for a turn");
}

/// Whoever paused has no turn to take until somebody unpauses, and must not be sent round and round for one.
#[test]
fn attending_to_paused_jobs_waits_and_what_was_dropped_is_told_at_once() {
    let waits = |driver: &mut Driven| {
        let mut context = Context::from_waker(Waker::noop());
        pin!(driver.attend(None)).as_mut().poll(&mut context).is_pending()
    };
    let (world, _, mut driver) = stepwise(false, 5_000);
    let (group, target, other) = (GroupName::from("app"), world.add("pod-1"), world.add("pod-2"));
    for paused in [None, Some(&group)] {
        driver.pause(paused);
        for target in [&target, &other] {
            driver
                .submit(job(target, "new", Mode::Cold).group(group.clone()))
                .unwrap();
        }
        let turn = run(&world.clock, driver.turn(&mut |_| true)).unwrap();
        assert_eq!((turn.next_due_ms, driver.outstanding()), (None, 2));
        assert!(waits(&mut driver), "paused: {paused:?}");
        assert_eq!(world.clock.next_timer(), None, "not for time");

        driver.cancel(&other, "li");
        assert!(!waits(&mut driver), "a drop is to be told");
        let turn = run(&world.clock, driver.turn(&mut |_| true)).unwrap();
        assert_eq!((turn.dropped.len(), turn.next_due_ms), (1, None));
        assert!(waits(&mut driver));

        driver.unpause(paused);
        assert!(!waits(&mut driver), "there is one to begin");
        driver.cancel(&target, "li");
        run(&world.clock, driver.turn(&mut |_| true)).unwrap();
        assert!(!waits(&mut driver), "there is nothing");
    }

    // A record that could not be appended is for another turn, whatever is paused, and not for one after the other.
    let (world, _, mut driver) = stepwise(true, 5_000);
    let (target, other) = (world.add("pod-1"), world.add("pod-2"));
    world.change(&target, |slot| slot.running = "new".into());
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    *world.journal.refuse.lock() = true;
    run(&world.clock, driver.turn(&mut |_| true)).unwrap_err();
    driver.pause(None);
    driver.submit(job(&other, "new", Mode::Cold)).unwrap();
    assert_eq!(driver.in_flight(), 0, "it has ended, which is not durable yet");
    let again_ms = world.clock.now() + DriverConfig::new().patience_ms;
    for _ in 0..2 {
        assert!(!driver.is_due() && waits(&mut driver));
        assert_eq!(world.clock.next_timer(), Some(again_ms));
    }
    world.clock.set(again_ms);
    assert!(driver.is_due() && !waits(&mut driver));
    run(&world.clock, driver.turn(&mut |_| true)).unwrap_err();
    assert!(!driver.is_due(), "it is patient anew");
    *world.journal.refuse.lock() = false;
    let turn = run(&world.clock, driver.turn(&mut |_| true)).unwrap();
    assert_eq!(turn.finished.len(), 1);
    assert!(!driver.is_due() && waits(&mut driver), "what is paused alone is left");
}

/// A recovery begins with a fence and not with a look. Whoever takes turns when they are due would else leave the attempts
/// that it has taken over to themselves, for as long as nothing else happens.
#[test]
fn what_a_recovery_begins_with_is_due_at_once() {
    for mode in [Mode::Cold, Mode::Warm] {
        let world = World::new(Kill::at([]), World::able());
        assert!(world.capabilities().fence);
        let target = world.add("pod-1");
        let mut driver = world.driver();
        driver.submit(job(&target, "new", mode)).unwrap();
        turn(&world, &mut driver);
        assert_eq!(driver.in_flight(), 1);
        drop(driver);
        let (mut driver, _) = world.recovered();
        let now = world.clock.now();
        assert!(driver.is_due(), "{mode}");
        // Nobody has to say until when.
        run(&world.clock, driver.attend(None));
        assert_eq!(world.clock.now(), now);
        let receipts = world.run(&mut driver);
        assert_eq!((receipts.len(), receipts[0].recoveries), (1, 1));
        assert_eq!(receipts[0].terminal, Terminal::Done);
    }
}

/// Everybody may have come to know of a closing as late as the answer that says so.
#[test]
fn a_barrier_told_late_has_held_since_it_was_told() {
    let (world, platform, mut driver) = stepwise(true, 1_000);
    let target = world.add("pod-1");
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    run(&world.clock, async {
        while platform.replaced_ms.lock().is_none() {
            assert!(driver.outstanding() > 0, "it has ended without");
            driver.turn(&mut |_| true).await.unwrap();
            driver.attend(None).await;
        }
    });
    let barriers = platform.barriers.lock();
    let replaced_ms = platform.replaced_ms.lock().unwrap();
    let (_, told_ms) = barriers[0];
    let held = |(asked_ms, answered_ms): &(u64, u64)| *answered_ms <= replaced_ms && *asked_ms >= told_ms + 2_000;
    assert!(barriers.iter().any(held), "{barriers:?}, replaced at {replaced_ms}");
}
