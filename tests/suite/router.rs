//! Many platforms as one.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::upgrade::conformance::{Subject, Undisturbed, platform_holds, platform_suite};
use unattended::upgrade::{
    AttemptId, Barrier, Capabilities, Clock, EffectKey, EffectOutcome, FleetChange, Generation, HandoverOrder,
    IngressOrder, InstanceId, News, Observation, Phase, Platform, PlatformError, Probe, TargetId, Version, WayBack,
};
use unattended::{Router, RouterError};
use unattended_simulated::{ReleaseSpec, SimConfig, Simulated, World};

use crate::support::targets;

/// The part of a simulated fleet that has the applications of odd, or even, number.
#[derive(Clone)]
struct Part {
    sim: Arc<Simulated>,
    odd: bool,
    cut: Arc<Mutex<Cut>>,
    orders: Arc<Mutex<Vec<TargetId>>>,
    way_back: Arc<Mutex<Option<WayBack>>>,
}

/// How it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Not,
    Refuses,
    Hangs,
}

impl Part {
    fn new(sim: &Arc<Simulated>, odd: bool) -> Self {
        Self {
            sim: Arc::clone(sim),
            odd,
            cut: Arc::new(Mutex::new(Cut::Not)),
            orders: Arc::default(),
            way_back: Arc::default(),
        }
    }

    fn has(&self, target: &TargetId) -> bool {
        let app = target
            .as_str()
            .split('-')
            .nth(1)
            .and_then(|number| number.parse::<u32>().ok());
        app.is_some_and(|number| (number % 2 == 1) == self.odd)
    }

    /// Whoever is not here goes by a name that nobody has.
    fn named(&self, target: &TargetId) -> TargetId {
        if self.has(target) {
            target.clone()
        } else {
            TargetId::from(format!("not-here-{target}").as_str())
        }
    }

    fn all(&self, targets: &[TargetId]) -> Vec<TargetId> {
        targets.iter().map(|target| self.named(target)).collect()
    }

    async fn answers(&self) -> Result<(), PlatformError> {
        let cut = *self.cut.lock();
        match cut {
            Cut::Not => Ok(()),
            Cut::Refuses => Err(PlatformError::Unavailable("cut off".to_owned())),
            Cut::Hangs => std::future::pending().await,
        }
    }

    fn order(&self, target: &TargetId) -> TargetId {
        self.orders.lock().push(target.clone());
        self.named(target)
    }
}

#[async_trait]
impl Platform for Part {
    fn capabilities(&self) -> Capabilities {
        self.sim.capabilities()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.answers().await?;
        self.sim.observe(&self.all(targets)).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.replace(&self.order(target), version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.sim.fence(&self.order(target), generation).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.replace_in_place(&self.order(target), version, key).await
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        self.answers().await?;
        let answer = self.way_back.lock().clone();
        match answer {
            Some(answer) => Ok(answer),
            None => self.sim.way_back(from, to).await,
        }
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.prefetch(&self.order(target), version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.sim.ingress(&self.order(target), order, key).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        self.answers().await?;
        self.sim.ingress_barrier(&self.all(targets)).await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        self.answers().await?;
        self.sim.probe(&self.all(targets)).await
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.spawn(&self.order(target), version, key).await
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        self.sim.stop(&self.order(target), instance, key).await
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.reset(&self.order(target), version, key).await
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        self.sim.hand_over(&self.order(target), order, from, to, key).await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        self.sim.control_endpoint(&self.named(target), version).await
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.apply_config(&self.order(target), version, key).await
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.sim.desired(scope, version, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.answers().await?;
        let mut news = self.sim.watch(cursor).await?;
        news.changes.retain(|change| match change {
            FleetChange::Joined { target, .. }
            | FleetChange::Left { target }
            | FleetChange::BecameUnhealthy { target }
            | FleetChange::BecameHealthy { target } => self.has(target),
            _ => false,
        });
        Ok(news)
    }
}

fn at_rest() -> World {
    World {
        restarts_per_target_day: 0.0,
        deaths_per_target_day: 0.0,
        never_ready_share: 0.0,
        fault_observe: 0.0,
        ..World::calm()
    }
}

/// A fleet of four applications behind a router over two parts.
fn routed(world: World, capabilities: Capabilities) -> (Arc<Simulated>, [Part; 2], Router<impl Clock + 'static>) {
    let config = SimConfig {
        world,
        targets: targets(4, 3),
        release: ReleaseSpec::parse("good").unwrap(),
        seed: 42,
        capabilities,
        ..SimConfig::default()
    };
    let sim = Simulated::new(config).unwrap();
    let parts = [Part::new(&sim, false), Part::new(&sim, true)];
    let router = Router::new(sim.clock());
    let router = router.domain("even", parts[0].clone()).unwrap();
    let router = router.domain("odd", parts[1].clone()).unwrap();
    (sim, parts, router)
}

fn everything() -> Capabilities {
    let able = SimConfig::default()
        .capabilities
        .with_config()
        .with_slots()
        .with_hand_over();
    able.with_barrier().with_probe().with_endpoint().with_desired()
}

fn id(name: &str) -> TargetId {
    TargetId::from(name)
}

fn key(attempt: u64) -> EffectKey {
    EffectKey {
        attempt: AttemptId(attempt),
        generation: Generation(1),
        step: 2,
        ordinal: 0,
    }
}

#[test]
fn a_router_over_platforms_that_keep_the_contract_keeps_it() {
    for capabilities in [SimConfig::default().capabilities, everything()] {
        let (sim, _, router) = routed(at_rest(), capabilities);
        let subject = Subject::new(["app-0-0", "app-1-1", "app-2-0"].map(id), "old".into(), "new".into());
        let subject = subject.configs(["old".into(), "config-2".into()]);
        let subject = subject.times(3_600_000, 300_000, 1_000).scope("even:app=app-0");
        let clock = sim.clock();
        let memory = sim
            .executor()
            .run(platform_suite(&router, &clock, &subject, &Undisturbed))
            .unwrap()
            .unwrap();
        // Another router, over the same domains, knows nothing and finds everything.
        let anew = Router::new(sim.clock()).domain("odd", Part::new(&sim, true)).unwrap();
        let anew = anew.domain("even", Part::new(&sim, false)).unwrap();
        sim.executor()
            .run(platform_holds(&anew, &clock, &subject, &memory))
            .unwrap()
            .unwrap();
    }
}

#[test]
fn a_way_back_is_as_good_as_that_of_the_worst_domain() {
    let (sim, parts, router) = routed(at_rest(), everything());
    let closed = WayBack::Closed("gone".to_owned());
    let cases = [
        ([WayBack::Open, WayBack::Open], Ok(WayBack::Open)),
        ([WayBack::Open, WayBack::Startable], Ok(WayBack::Startable)),
        ([WayBack::Startable, WayBack::Open], Ok(WayBack::Startable)),
        (
            [closed.clone(), WayBack::Open],
            Ok(WayBack::Closed("in even: gone".to_owned())),
        ),
        (
            [WayBack::Startable, closed.clone()],
            Ok(WayBack::Closed("in odd: gone".to_owned())),
        ),
    ];
    let ask = || {
        sim.executor()
            .run(router.way_back(&"old".into(), &"new".into()))
            .unwrap()
    };
    for (each, wanted) in cases {
        for (part, answer) in parts.iter().zip(each) {
            *part.way_back.lock() = Some(answer);
        }
        assert_eq!(ask(), wanted);
    }
    // What one does not say nobody knows, but that it is closed somewhere.
    *parts[0].cut.lock() = Cut::Refuses;
    assert_eq!(ask(), Ok(WayBack::Closed("in odd: gone".to_owned())));
    *parts[1].way_back.lock() = Some(WayBack::Open);
    assert!(matches!(ask(), Err(PlatformError::Unavailable(_))), "{:?}", ask());
}

#[test]
fn orders_go_to_the_domain_that_has_the_target() {
    let (sim, parts, router) = routed(at_rest(), everything());
    sim.executor()
        .run(async {
            let outcome = router.replace(&id("app-1-0"), &"new".into(), &key(1)).await;
            assert_eq!(outcome, EffectOutcome::Applied);
            let nobody = router.replace(&id("app-77-nobody"), &"new".into(), &key(2)).await;
            assert!(matches!(nobody, EffectOutcome::Failed { .. }), "{nobody:?}");
        })
        .unwrap();
    // Who is nowhere is nobody's.
    assert_eq!(*parts[0].orders.lock(), []);
    assert_eq!(*parts[1].orders.lock(), [id("app-1-0")]);
}

#[test]
fn a_domain_that_cannot_be_reached_hides_its_own_targets_only() {
    for cut in [Cut::Refuses, Cut::Hangs] {
        let (sim, parts, router) = routed(at_rest(), everything());
        let clock = sim.clock();
        sim.executor()
            .run(async {
                let (here, there) = (id("app-0-0"), id("app-1-0"));
                router.observe(&[here.clone(), there.clone()]).await.unwrap();
                *parts[1].cut.lock() = cut;
                let began = clock.now();
                let both = router.observe(&[here.clone(), there.clone()]).await;
                assert!(matches!(both, Err(PlatformError::Unavailable(_))), "{both:?}");
                assert!(clock.now() - began <= 5_000, "{} ms", clock.now() - began);
                // The second time it is not waited for.
                let again = clock.now();
                assert!(router.observe(std::slice::from_ref(&there)).await.is_err());
                assert_eq!(clock.now(), again);
                let seen = router.observe(&[here]).await.unwrap();
                assert_eq!(seen[0].phase, Phase::Running);
                // Who has never been seen may be there: nothing is known of them, and no order is given.
                let stranger = id("app-3-1");
                assert!(router.observe(std::slice::from_ref(&stranger)).await.is_err());
                let order = router.replace(&stranger, &"new".into(), &key(1)).await;
                assert!(matches!(order, EffectOutcome::Retry { .. }), "{order:?}");
                assert_eq!(*parts[1].orders.lock(), []);
                // It comes back, and is asked again by and by.
                *parts[1].cut.lock() = Cut::Not;
                clock.sleep_until(clock.now() + 15_000).await;
                assert_eq!(router.observe(&[there, stranger]).await.unwrap().len(), 2);
            })
            .unwrap();
    }
}

#[test]
fn a_name_in_two_domains_is_refused() {
    let (sim, parts, _) = routed(at_rest(), everything());
    let router = Router::new(sim.clock()).domain("one", parts[0].clone()).unwrap();
    let router = router.domain("two", parts[0].clone()).unwrap();
    sim.executor()
        .run(async {
            let seen = router.observe(&[id("app-0-0")]).await.unwrap_err().to_string();
            assert!(seen.contains("is in one and in two"), "{seen}");
            let order = router.replace(&id("app-0-0"), &"new".into(), &key(1)).await;
            assert!(matches!(order, EffectOutcome::Failed { .. }), "{order:?}");
        })
        .unwrap();
    assert_eq!(*parts[0].orders.lock(), []);
}

#[test]
fn news_keep_their_order_whoever_asks_from_wherever() {
    let world = World {
        deaths_per_target_day: 24.0,
        ..at_rest()
    };
    let (sim, parts, router) = routed(world, everything());
    let clock = sim.clock();
    sim.executor()
        .run(async {
            let mut told = Vec::new();
            let mut cursor = 0;
            let mut cursors = BTreeMap::new();
            for round in 0..40 {
                clock.sleep_until(clock.now() + 600_000).await;
                // Now and then one of them is cut off, and tells later.
                *parts[round % 2].cut.lock() = if round % 5 == 4 { Cut::Refuses } else { Cut::Not };
                *parts[(round + 1) % 2].cut.lock() = Cut::Not;
                let news = router.watch(cursor).await.unwrap();
                told.extend(news.changes);
                cursor = news.cursor;
                cursors.insert(told.len(), cursor);
            }
            *parts[0].cut.lock() = Cut::Not;
            *parts[1].cut.lock() = Cut::Not;
            told.extend(router.watch(cursor).await.unwrap().changes);
            assert!(
                told.len() > 20 && cursors.len() > 5,
                "{} news at {}",
                told.len(),
                cursors.len()
            );
            for (&before, &cursor) in &cursors {
                let again = router.watch(cursor).await.unwrap().changes;
                assert_eq!(again, told[before..], "from {before} on");
            }
            // Each domain's own news are all there, in its order.
            for part in &parts {
                let own = part.watch(0).await.unwrap().changes;
                let routed: Vec<_> = told.iter().filter(|change| own.contains(change)).cloned().collect();
                assert_eq!(routed, own);
            }
            // Another router's cursor means nothing to this one: everything is told anew.
            clock.sleep_until(clock.now() + 10_000).await;
            let other = Router::new(sim.clock()).domain("even", parts[0].clone()).unwrap();
            let foreign = other.watch(cursor).await.unwrap();
            assert_eq!(foreign.changes, parts[0].watch(0).await.unwrap().changes);
            // Where nobody answers nothing is known.
            *parts[0].cut.lock() = Cut::Refuses;
            assert!(other.watch(foreign.cursor).await.is_err());
        })
        .unwrap();
}

#[test]
fn domains_are_named_once_and_well() {
    let (sim, parts, router) = routed(at_rest(), everything());
    let twice = router.domain("odd", parts[0].clone()).unwrap_err();
    assert_eq!(twice, RouterError::Twice("odd".to_owned()));
    for name in ["", "eu:1"] {
        let error = Router::new(sim.clock()).domain(name, parts[0].clone()).unwrap_err();
        assert_eq!(error, RouterError::Name(name.to_owned()));
    }
    // It can do what all can.
    let (_, _, less) = routed(at_rest(), everything());
    let (_, _, more) = routed(at_rest(), SimConfig::default().capabilities);
    let mixed = Router::new(sim.clock())
        .domain("a", less)
        .unwrap()
        .domain("b", more)
        .unwrap();
    assert_eq!(mixed.capabilities(), SimConfig::default().capabilities);
    let none = Router::new(sim.clock());
    assert_eq!(none.capabilities(), Capabilities::none());
    let seen = sim.executor().run(none.observe(&[id("app-0-0")])).unwrap();
    assert!(matches!(seen, Err(PlatformError::Unavailable(_))), "{seen:?}");
}
