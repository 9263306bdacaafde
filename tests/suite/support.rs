//! Whole changes over small simulated fleets, with somebody who watches every order that reaches the platform.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended::batching::{Fleet, Plan, Policy, Side, pct};
use unattended::defense::{Ask, Check, CheckError, Guard, Outcome as Seen, Terms};
use unattended::health::MetricSource;
use unattended::upgrade::{
    Capabilities, Clock, DriverConfig, EffectKey, EffectOutcome, FleetChange, Generation, IngressOrder, Journal,
    MemoryJournal, News, Observation, Platform, PlatformError, TargetId, Version, Wanted, WayBack,
};
use unattended::{
    Actor, AlwaysPermit, Autopilot, Change, ChangeFeed, DumpLine, Grant, Handle, Level, Notice, NoticeStage, Notifier,
    Outcome, Permit, Pulse, RunError, Settings, Severity, StartError, Summary,
};
use unattended_simulated::{InitialState, ReleaseSpec, SimConfig, SimTarget, Simulated, Stalled, World};

mod ward;
mod watched;

pub(crate) use ward::{Can, Given, Ward};
pub(crate) use watched::{Act, Effect, Watched};

pub(crate) const OLD: &str = "mesh-1";
pub(crate) const NEW: &str = "mesh-2";
pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Monday, 23 November 2026, 08:00 UTC.
pub(crate) const START_WALL_MS: i64 = 1_795_420_800_000;
/// A change that takes longer hangs.
const LONGEST_MS: u64 = 30 * 24 * HOUR_MS;

/// Everything that one change depends on.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) targets: Vec<SimTarget>,
    pub(crate) world: World,
    pub(crate) release: &'static str,
    pub(crate) seed: u64,
    pub(crate) level: Level,
    /// Until when the level is granted by somebody else than the author; `None`: by the author.
    pub(crate) granted: Option<i64>,
    pub(crate) author: Actor,
    pub(crate) rollbacks_before: u32,
    pub(crate) fence: bool,
    pub(crate) mode: Wanted,
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    /// A rule pack, and after a `---` another; empty for none.
    pub(crate) rules: String,
    /// The world's memory on disk.
    pub(crate) log: Option<PathBuf>,
    pub(crate) permit: Arc<dyn Permit>,
    pub(crate) feed: Option<Arc<dyn ChangeFeed>>,
    pub(crate) check: Option<Arc<dyn Check>>,
    /// What whoever heals can do; `None`: nobody heals.
    pub(crate) heals: Option<Can>,
    /// Why it cannot be taken back, by its author's word.
    pub(crate) one_way: Option<&'static str>,
    /// What else it says of itself.
    pub(crate) declare: fn(Change) -> Change,
    /// The date at which the world's clock begins, in Unix milliseconds.
    pub(crate) start_wall_ms: i64,
    /// How long calls may take, and the like; `None`: as the autopilot has it.
    pub(crate) driver: Option<DriverConfig>,
}

/// A check behind a pointer.
#[derive(Debug)]
struct Asked(Arc<dyn Check>);

#[async_trait]
impl Check for Asked {
    async fn judge(&self, ask: &Ask<'_>) -> Result<Seen, CheckError> {
        self.0.judge(ask).await
    }
}

impl Case {
    /// A good release over a calm fleet of `apps` applications with `each` targets, at L4.
    pub(crate) fn calm(apps: usize, each: usize) -> Self {
        let mut settings = Settings::default();
        settings.soak_ms = 30 * MINUTE_MS;
        settings.bake_ms = 5 * MINUTE_MS;
        Self {
            targets: targets(apps, each),
            world: World {
                // Traffic enough that evidence takes minutes.
                requests_per_s_median: 50.0,
                requests_sigma: 0.2,
                quiet_app_share: 0.0,
                error_rate_low: 1e-3,
                ..World::calm()
            },
            release: "good",
            seed: 7,
            level: Level::L4,
            granted: None,
            author: Actor::person("li", "MESH-192"),
            rollbacks_before: 0,
            fence: true,
            mode: Wanted::Auto,
            settings,
            policy: Policy::new()
                .per_app(pct(25))
                .total_in_flight(pct(25))
                .fix_in_flight_per_app(pct(100))
                .spread(["zone", "stack"]),
            rules: String::new(),
            log: None,
            permit: Arc::new(AlwaysPermit),
            feed: None,
            check: None,
            heals: None,
            one_way: None,
            declare: |change| change,
            start_wall_ms: START_WALL_MS,
            driver: None,
        }
    }

    pub(crate) fn release(mut self, release: &'static str) -> Self {
        self.release = release;
        self
    }

    pub(crate) fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    pub(crate) fn fleet(&self) -> Arc<Fleet> {
        let mut builder = Fleet::builder();
        for target in &self.targets {
            let labels = target.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let healthy = target.state == InitialState::Healthy;
            builder.push(&target.id, &target.app, labels, healthy).unwrap();
        }
        Arc::new(builder.build().unwrap())
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::build(&self.fleet(), &self.policy, self.seed).unwrap()
    }

    pub(crate) fn change(&self) -> Change {
        let change = Change::new(NEW, self.author.clone(), OLD.into(), NEW.into(), self.fleet())
            .policy(self.policy.clone())
            .settings(self.settings.clone())
            .seed(self.seed)
            .rollbacks_before(self.rollbacks_before);
        let change = match self.one_way {
            Some(why) => change.one_way(why),
            None => change,
        };
        (self.declare)(change)
    }

    pub(crate) fn guard(&self) -> Guard {
        if self.rules.is_empty() {
            Guard::empty()
        } else {
            let names = ["pack.yaml", "other.yaml"];
            Guard::from_packs(names.into_iter().zip(self.rules.split("---\n"))).unwrap()
        }
    }

    pub(crate) fn simulated(&self) -> Arc<Simulated> {
        let config = SimConfig {
            world: self.world.clone(),
            targets: self.targets.clone(),
            old: OLD.into(),
            new: NEW.into(),
            release: ReleaseSpec::parse(self.release).unwrap(),
            seed: self.seed,
            start_wall_ms: self.start_wall_ms,
            log: self.log.clone(),
            warm_up_ms: self.settings.warm_up_ms,
            interval_ms: self.settings.interval_ms,
            ..SimConfig::default()
        };
        Simulated::new(config).unwrap()
    }

    /// Puts everything together over a journal of its own; nothing has happened yet.
    pub(crate) fn stage(&self) -> Stage {
        self.stage_over(Arc::new(MemoryJournal::new()))
    }

    /// The same over a journal that may hold something.
    pub(crate) fn stage_over(&self, journal: Arc<dyn Journal>) -> Stage {
        self.stage_in(self.simulated(), journal)
    }

    /// The same in a world that may have been lived in.
    pub(crate) fn stage_in(&self, sim: Arc<Simulated>, journal: Arc<dyn Journal>) -> Stage {
        let metrics = Arc::clone(&sim);
        self.stage_with(sim, journal, metrics, |pager| pager)
    }

    /// The same with metrics of its own, and a notifier before the pager.
    pub(crate) fn stage_with<N: Notifier + 'static>(
        &self,
        sim: Arc<Simulated>,
        journal: Arc<dyn Journal>,
        metrics: impl MetricSource + 'static,
        notifier: impl FnOnce(Arc<Pager>) -> N,
    ) -> Stage {
        let platform = Arc::new(Watched::new(Arc::clone(&sim), self.fence));
        let pager = Arc::new(Pager::default());
        let permit = Arc::clone(&self.permit);
        let builder = Autopilot::builder()
            .platform(Arc::clone(&platform))
            .metrics(metrics)
            .journal(Arc::clone(&journal))
            .clock(sim.clock())
            .rules(self.guard())
            .notifier(notifier(Arc::clone(&pager)))
            .permit(Shared(permit))
            .level(self.level)
            .mode(self.mode);
        let builder = match &self.driver {
            Some(driver) => builder.driver(driver.clone()),
            None => builder,
        };
        let builder = match self.granted {
            Some(until) => builder.grant(Grant::new(self.level, Actor::person("wang", "rota"), until).unwrap()),
            None => builder,
        };
        let builder = match &self.feed {
            Some(feed) => builder.feed(Arc::clone(feed)),
            None => builder,
        };
        let builder = match &self.check {
            Some(check) => {
                let terms = Terms::new("capacity", "1", "team-capacity", "a rollback must find room");
                builder.check(terms, 5_000, Asked(Arc::clone(check)))
            }
            None => builder,
        };
        let ward = Ward::new(Arc::clone(&sim), self.heals.unwrap_or(Can::NOTHING));
        let builder = match self.heals {
            Some(_) => {
                let numbers = Arc::clone(&ward);
                builder.healer(Arc::clone(&ward), move |target| numbers.node(target))
            }
            None => builder,
        };
        let (handle, run) = builder.build().unwrap().start(self.change()).unwrap();
        let hook = handle.clone();
        sim.on_birth(Box::new(move |newborn| {
            let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
            match hook.version_for(newborn.target.as_str(), &newborn.app, &labels) {
                Side::New => Version::from(NEW),
                Side::Old => Version::from(OLD),
            }
        }));
        Stage {
            sim,
            platform,
            pager,
            ward,
            journal,
            handle,
            run: Box::pin(run),
        }
    }

    /// Whether it could be started.
    pub(crate) fn try_start(&self) -> Result<(), StartError> {
        let sim = self.simulated();
        let pilot = Autopilot::builder()
            .platform(Watched::new(Arc::clone(&sim), self.fence))
            .metrics(Arc::clone(&sim))
            .journal(MemoryJournal::new())
            .clock(sim.clock())
            .rules(self.guard())
            .notifier(Arc::new(Pager::default()))
            .level(self.level);
        let pilot = match self.heals {
            Some(_) => pilot.healer(Arc::clone(&sim), |_| None),
            None => pilot,
        };
        let pilot = pilot.build()?;
        pilot.start(self.change()).map(drop)
    }

    /// The whole change, undisturbed.
    pub(crate) fn run(&self) -> Ended {
        self.stage().run()
    }
}

/// `apps` applications of `each` targets over three zones and two stacks, all healthy.
pub(crate) fn targets(apps: usize, each: usize) -> Vec<SimTarget> {
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

pub(crate) fn person() -> Actor {
    Actor::person("li", "INC-42")
}

/// A permit behind a pointer.
struct Shared(Arc<dyn Permit>);

impl Permit for Shared {
    fn may_act(&self) -> Result<bool, unattended::PermitError> {
        self.0.may_act()
    }
}

/// A change that is ready to run.
pub(crate) struct Stage {
    pub(crate) sim: Arc<Simulated>,
    pub(crate) platform: Arc<Watched>,
    pub(crate) pager: Arc<Pager>,
    pub(crate) ward: Arc<Ward>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) handle: Handle,
    pub(crate) run: Pin<Box<dyn Future<Output = Result<Outcome, RunError>> + Send>>,
}

impl Stage {
    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.run_beside(std::future::pending())
    }

    /// Runs it to its end beside somebody who does something.
    #[track_caller]
    pub(crate) fn run_beside(mut self, other: impl Future<Output = ()>) -> Ended {
        let other = async {
            other.await;
            std::future::pending().await
        };
        match self.drive(other).unwrap() {
            Some(Ok(outcome)) => self.ended(outcome),
            Some(Err(error)) => panic!("the run failed: {error}"),
            None => unreachable!("the other never ends"),
        }
    }

    /// Runs it until it ends, or until `other` does: then it is left lying, as a process that has been stopped.
    pub(crate) fn drive(
        &mut self,
        other: impl Future<Output = ()>,
    ) -> Result<Option<Result<Outcome, RunError>>, Stalled> {
        let clock = self.sim.clock();
        self.sim.executor().run(async {
            let mut other = Box::pin(other.fuse());
            let mut limit = Box::pin(clock.sleep_until(clock.now() + LONGEST_MS).fuse());
            let mut run = (&mut self.run).fuse();
            futures::select_biased! {
                outcome = run => Some(outcome),
                () = other => None,
                () = limit => panic!("the change does not end; it stands at {:?}", self.handle.progress()),
            }
        })
    }

    /// Runs it until it ends, or until it waits for something that nobody will do: `None`.
    pub(crate) fn run_to_death(&mut self) -> Option<Result<Outcome, RunError>> {
        self.sim.executor().run(&mut self.run).ok()
    }

    pub(crate) fn ended(self, outcome: Outcome) -> Ended {
        Ended {
            outcome,
            summary: self.handle.summary().unwrap(),
            sim: self.sim,
            effects: self.platform.effects(),
            notices: self.pager.notices(),
            pager: self.pager,
            healed: self.ward.given(),
            journal: self.journal,
            handle: self.handle,
        }
    }
}

/// A change that has ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) summary: Summary,
    pub(crate) sim: Arc<Simulated>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) pager: Arc<Pager>,
    /// Orders to heal, as they came.
    pub(crate) healed: Vec<Given>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) handle: Handle,
}

impl Ended {
    /// Everybody verifiably runs the new version: a look at the world, not a belief.
    #[track_caller]
    pub(crate) fn all_on_new(&self) {
        let census = self.sim.census();
        assert_eq!(census.on_new_verified, census.targets, "{census:?}");
    }

    /// Everybody verifiably runs the old version.
    #[track_caller]
    pub(crate) fn all_on_old(&self) {
        let census = self.sim.census();
        assert_eq!(census.on_old_verified, census.targets, "{census:?}");
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes(&*self.journal)
    }

    pub(crate) fn dump(&self) -> Vec<DumpLine> {
        dump(&*self.journal)
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.summary
            .decisions
            .iter()
            .map(|decision| decision.code.as_str())
            .collect()
    }
}

/// All bytes of a journal, group after group.
pub(crate) fn bytes(journal: &dyn Journal) -> Vec<u8> {
    let groups = futures::executor::block_on(journal.read(0, usize::MAX)).unwrap();
    let mut bytes = Vec::new();
    for (position, group) in groups {
        bytes.extend_from_slice(&position.to_le_bytes());
        bytes.extend_from_slice(group.as_bytes());
    }
    bytes
}

pub(crate) fn dump(journal: &dyn Journal) -> Vec<DumpLine> {
    let mut lines = Vec::new();
    futures::executor::block_on(unattended::dump(journal, |line| lines.push(line))).unwrap();
    lines
}

/// Keeps what people were told.
#[derive(Default)]
pub(crate) struct Pager {
    notices: Mutex<Vec<(Notice, usize)>>,
    pulses: Mutex<Vec<Pulse>>,
    /// Counts the orders at the platform, to know what came before the notice.
    platform: Mutex<Option<Arc<Watched>>>,
}

impl Pager {
    /// Everything that was said.
    pub(crate) fn all(&self) -> Vec<Notice> {
        self.notices.lock().iter().map(|(notice, _)| notice.clone()).collect()
    }

    /// What came up and wants somebody, each matter once.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let mut open = BTreeSet::new();
        let mut first = self.all();
        first.retain(|notice| {
            if notice.stage == NoticeStage::Resolved {
                open.remove(&notice.dedup_key);
                return false;
            }
            let new = open.insert(notice.dedup_key.clone()) || notice.stage == NoticeStage::Raised;
            new && notice.severity > Severity::Info && notice.code != "rollback.began"
        });
        first
    }

    pub(crate) fn pulses(&self) -> Vec<Pulse> {
        self.pulses.lock().clone()
    }

    pub(crate) fn watch(&self, platform: &Arc<Watched>) {
        *self.platform.lock() = Some(Arc::clone(platform));
    }

    /// How many orders had reached the platform at the first notice.
    pub(crate) fn effects_at_first(&self) -> Option<usize> {
        self.notices.lock().first().map(|(_, effects)| *effects)
    }
}

#[async_trait]
impl Notifier for Pager {
    async fn notify(&self, notice: &Notice) {
        let effects = self
            .platform
            .lock()
            .as_ref()
            .map_or(0, |platform| platform.effects().len());
        self.notices.lock().push((notice.clone(), effects));
    }

    async fn pulse(&self, pulse: &Pulse) {
        self.pulses.lock().push(pulse.clone());
    }
}

/// The application of a target, by its name.
pub(crate) fn app_of(target: &str) -> &str {
    target.rsplit_once('-').map_or(target, |(app, _)| app)
}

/// How many targets of each application.
pub(crate) fn app_sizes(targets: &[SimTarget]) -> BTreeMap<String, u32> {
    let mut sizes = BTreeMap::new();
    for target in targets {
        *sizes.entry(target.app.clone()).or_insert(0) += 1;
    }
    sizes
}
