//! Calls that take long or never answer, and looks that cannot be had: what they take from others, and for how long.
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_upgrade::*;

use crate::attending::run;
use crate::support::{Kill, World, job, turn};

/// What is ordered at a target begins so much later; never, if that is nothing. Some instances never answer for themselves.
struct Late {
    world: Arc<World>,
    by_ms: BTreeMap<TargetId, Option<u64>>,
    silent: Option<TargetId>,
    /// At which targets an effect was ordered, when.
    ordered: Mutex<Vec<(TargetId, u64)>>,
    /// Who was asked together.
    probed: Mutex<Vec<Vec<TargetId>>>,
}

impl Late {
    fn new(able: Capabilities, by_ms: &[(&str, Option<u64>)], silent: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            world: World::new(Kill::at([]), able),
            by_ms: by_ms.iter().map(|(name, ms)| ((*name).into(), *ms)).collect(),
            silent: silent.map(TargetId::from),
            ordered: Mutex::default(),
            probed: Mutex::default(),
        })
    }

    fn driver(self: &Arc<Self>, config: DriverConfig) -> Driver {
        let (journal, clock) = (Arc::clone(&self.world.journal), Arc::clone(&self.world.clock));
        Driver::new(self.clone(), journal, clock, config).unwrap()
    }

    async fn order(&self, target: &TargetId) {
        let now = self.world.clock.now();
        self.ordered.lock().push((target.clone(), now));
        match self.by_ms.get(target) {
            Some(Some(ms)) => self.world.clock.sleep_until(now + ms).await,
            Some(None) => std::future::pending().await,
            None => {}
        }
    }

    fn orders_at(&self, target: &TargetId) -> usize {
        self.ordered.lock().iter().filter(|(at, _)| at == target).count()
    }
}

#[async_trait]
impl Platform for Late {
    fn capabilities(&self) -> Capabilities {
        self.world.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.world.observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.order(target).await;
        self.world.replace(target, version, key).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.order(target).await;
        self.world.replace_in_place(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.order(target).await;
        self.world.ingress(target, order, key).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.probed.lock().push(targets.to_vec());
        if self.silent.as_ref().is_some_and(|silent| targets.contains(silent)) {
            std::future::pending::<()>().await;
        }
        self.world.probe(targets).await
    }
}

/// One effect may be open at a time. Of a target at which one got no answer the next takes no place of the others.
#[test]
fn an_effect_that_hangs_again_holds_up_nobody_else() {
    let late = Late::new(Capabilities::none(), &[("hangs", None)], None);
    let (hangs, other) = (late.world.add("hangs"), late.world.add("other"));
    let config = DriverConfig::new().max_effects(1).call_ms(30_000).poll_ms(1_000);
    let mut driver = late.driver(config);
    driver.submit(job(&hangs, "new", Mode::Cold)).unwrap();
    run(&late.world.clock, async {
        while late.orders_at(&hangs) < 2 {
            driver.attend(None).await;
            driver.turn(&mut |_| true).await.unwrap();
        }
        let since_ms = late.world.clock.now();
        driver.submit(job(&other, "new", Mode::Cold)).unwrap();
        while late.orders_at(&other) == 0 {
            driver.turn(&mut |_| true).await.unwrap();
            driver.attend(None).await;
        }
        let waited_ms = late.ordered.lock().last().unwrap().1 - since_ms;
        assert!(waited_ms <= 2_000, "it waited {waited_ms} ms for one that hangs");
    });
}

/// A call is not given up before the driver's patience is over, however little is left of its step.
#[test]
fn an_order_of_a_step_with_next_to_nothing_left_is_waited_for() {
    let late = Late::new(
        Capabilities::none().with_ingress().with_in_place(),
        &[("slow", Some(900))],
        None,
    );
    let target = late.world.add("slow");
    let mut timing = Timing::default();
    (timing.close_ms, timing.open_ms) = (1, 1);
    let mut driver = late.driver(DriverConfig::new().patience_ms(1_000).timing(timing));
    driver.submit(job(&target, "new", Mode::Warm)).unwrap();
    let receipt = run(&late.world.clock, async {
        loop {
            let taken = driver.turn(&mut |_| true).await.unwrap();
            if let Some(receipt) = taken.finished.into_iter().next() {
                return receipt;
            }
            driver.attend(None).await;
        }
    });
    assert_eq!((receipt.terminal, receipt.retries), (Terminal::Done, 0));
    assert_eq!(late.orders_at(&target), 3, "closed, replaced and opened");
}

/// One that does not answer for itself is asked alone from then on.
#[test]
fn an_instance_that_is_silent_is_not_asked_together_with_others_again() {
    let late = Late::new(Capabilities::none().with_probe(), &[], Some("silent"));
    let (silent, other) = (late.world.add("silent"), late.world.add("other"));
    let mut timing = Timing::default();
    timing.good_looks = 20;
    let mut driver = late.driver(DriverConfig::new().call_ms(3_000).poll_ms(1_000).timing(timing));
    for target in [&silent, &other] {
        driver.submit(job(target, "new", Mode::Cold)).unwrap();
    }
    let receipts = run(&late.world.clock, async {
        let mut receipts = Vec::new();
        while driver.outstanding() > 0 && late.world.clock.now() < 6_000_000 {
            receipts.extend(driver.turn(&mut |_| true).await.unwrap().finished);
            driver.attend(None).await;
        }
        receipts
    });
    assert_eq!(receipts.len(), 2, "{receipts:?}");
    assert_eq!((&receipts[0].target, &receipts[0].terminal), (&other, &Terminal::Done));
    assert_ne!(receipts[1].terminal, Terminal::Done);
    let probed = late.probed.lock();
    let (together, alone): (Vec<_>, Vec<_>) = probed
        .iter()
        .filter(|asked| asked.contains(&silent))
        .partition(|asked| asked.len() > 1);
    assert!(together.len() == 1 && alone.len() > 3, "{probed:?}");
}

/// Patience is over after so long without a look, however many were asked for; and one that is had begins it anew.
#[test]
fn patience_with_a_blind_platform_has_an_end() {
    let mut timing = Timing::default();
    timing.blind_ms = 60_000;
    let world = World::new(Kill::at([]), World::able());
    let target = world.add("pod-1");
    let mut driver = world.driver_with(DriverConfig::new().timing(timing.clone()));
    driver.submit(job(&target, "new", Mode::Cold)).unwrap();
    let (mut seen_ms, mut receipts) = (0, Vec::new());
    while receipts.is_empty() {
        let now = world.clock.now();
        assert!(now < 200_000, "no end of patience");
        let sees = now < 10_000 || (50_000..55_000).contains(&now);
        world.state.lock().blind = !sees;
        if sees {
            seen_ms = now;
        }
        receipts = turn(&world, &mut driver).finished;
    }
    let receipt = receipts.remove(0);
    let Terminal::NeedsPerson {
        reason: Reason::Unobservable { blind_ms },
        ..
    } = receipt.terminal
    else {
        panic!("{receipt:?}");
    };
    let whole = timing.blind_ms..timing.blind_ms + 10_000;
    assert_eq!(seen_ms, 50_000);
    assert!(whole.contains(&blind_ms), "{blind_ms}");
    assert!(whole.contains(&(receipt.finished_ms - seen_ms - 5_000)), "{receipt:?}");
}
