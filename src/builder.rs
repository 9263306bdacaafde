use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use unattended_batching::{AppIndex, Plan, Proof, verify};
use unattended_defense::{Check, CheckedGuard, Counts, Direction, Guard, Need, Terms};
use unattended_health::{Member, MetricSource};
use unattended_selfheal::{Healer, NodeId};
use unattended_upgrade::{
    Clock, DriverConfig, Facts, Journal, LONGEST_TEXT, ModeChoice, Platform, TargetId, Wanted, choose_mode,
};

use crate::around::{Around, Heard, HeardCheck};
use crate::domains;
use crate::driver::{Hospital, NodeOf, Outlook, Planned, Run, World};
use crate::events::{Hub, Told};
use crate::handle::Shared;
use crate::input::Header;
use crate::machine::Setup;
use crate::machine::rules::Asked;
use crate::machine::tables::Tables;
use crate::permit::RecentPermit;
use crate::run_clock::{OnRunClock, RunClock};
use crate::way_back;
use crate::{
    ActorKind, AlwaysPermit, Change, ChangeFeed, DECISIONS, Grant, Handle, Level, Notifier, OnStop, Outcome, Permit,
    RunError, Settings, StartError,
};

/// A part that has not been given yet. A builder with one left has no `build`.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state")]
pub struct Missing;

/// Collects the parts of an [`Autopilot`]: a missing part is a compile error.
///
/// `Parts` is the tuple of what has been given: platform, metrics, journal, clock, rules, notifier.
#[derive(Debug)]
pub struct Builder<Parts> {
    parts: Parts,
    options: Options,
}

/// What has a default.
struct Options {
    permit: Arc<dyn Permit>,
    level: Level,
    grant: Option<Grant>,
    mode: Wanted,
    facts: Option<Box<dyn FnOnce(Facts) -> Facts + Send>>,
    driver: DriverConfig,
    feed: Option<Arc<dyn ChangeFeed>>,
    checks: Option<CheckedGuard>,
    hospital: Option<Hospital>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("level", &self.level)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Looks at attempts are aligned to this grid: short against every wait of an attempt, and shared by thousands.
const POLL_MS: u64 = 10_000;
/// All checks together have so long.
const CHECKS_MS: u64 = 10_000;

impl Default for Builder<(Missing, Missing, Missing, Missing, Missing, Missing)> {
    fn default() -> Self {
        let options = Options {
            permit: Arc::new(AlwaysPermit),
            level: Level::L3,
            grant: None,
            mode: Wanted::Auto,
            facts: None,
            // The caps of the policy bound what is in flight; the driver's own bound only has to be above them.
            driver: DriverConfig::new().max_in_flight(1 << 20).poll_ms(POLL_MS),
            feed: None,
            checks: None,
            hospital: None,
        };
        Self {
            parts: (Missing, Missing, Missing, Missing, Missing, Missing),
            options,
        }
    }
}

impl<M, J, C, R, N> Builder<(Missing, M, J, C, R, N)> {
    /// The orchestrator.
    pub fn platform<P: Platform>(self, platform: P) -> Builder<(P, M, J, C, R, N)> {
        let (_, m, j, c, r, n) = self.parts;
        Builder {
            parts: (platform, m, j, c, r, n),
            options: self.options,
        }
    }
}

impl<P, J, C, R, N> Builder<(P, Missing, J, C, R, N)> {
    /// Where metrics come from.
    pub fn metrics<M: MetricSource>(self, metrics: M) -> Builder<(P, M, J, C, R, N)> {
        let (p, _, j, c, r, n) = self.parts;
        Builder {
            parts: (p, metrics, j, c, r, n),
            options: self.options,
        }
    }
}

impl<P, M, C, R, N> Builder<(P, M, Missing, C, R, N)> {
    /// Where everything is written down. A change found in it is taken up where it stands.
    pub fn journal<J: Journal>(self, journal: J) -> Builder<(P, M, J, C, R, N)> {
        let (p, m, _, c, r, n) = self.parts;
        Builder {
            parts: (p, m, journal, c, r, n),
            options: self.options,
        }
    }
}

impl<P, M, J, R, N> Builder<(P, M, J, Missing, R, N)> {
    /// What time it is.
    pub fn clock<C: Clock>(self, clock: C) -> Builder<(P, M, J, C, R, N)> {
        let (p, m, j, _, r, n) = self.parts;
        Builder {
            parts: (p, m, j, clock, r, n),
            options: self.options,
        }
    }
}

impl<P, M, J, C, N> Builder<(P, M, J, C, Missing, N)> {
    /// Who may be touched when. [`Guard::empty`] has no rules and says so in the journal.
    pub fn rules(self, rules: Guard) -> Builder<(P, M, J, C, Guard, N)> {
        let (p, m, j, c, _, n) = self.parts;
        Builder {
            parts: (p, m, j, c, rules, n),
            options: self.options,
        }
    }
}

impl<P, M, J, C, R> Builder<(P, M, J, C, R, Missing)> {
    /// How people are told.
    pub fn notifier<N: Notifier>(self, notifier: N) -> Builder<(P, M, J, C, R, N)> {
        let (p, m, j, c, r, _) = self.parts;
        Builder {
            parts: (p, m, j, c, r, notifier),
            options: self.options,
        }
    }
}

impl<Parts> Builder<Parts> {
    /// How much it does by itself. Default [`Level::L3`]. The person who is the change's author answers for it, for as long as the change
    /// may [act by itself](crate::Budget::longest_ms); where that is to be somebody else, or to end sooner, or the author is a
    /// program, [`grant`](Self::grant) it.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.options.level = level;
        self.options.grant = None;
        self
    }

    /// At which level it acts, by whose leave, and until when; from then on at [`Level::UNGRANTED`].
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.options.level = grant.level;
        self.options.grant = Some(grant);
        self
    }

    /// How targets are upgraded. Default: the gentlest that the platform and the [`facts`](Self::facts) allow.
    #[must_use]
    pub fn mode(mut self, mode: Wanted) -> Self {
        self.options.mode = mode;
        self
    }

    /// What is known of the fleet's targets beside the platform's capabilities, as it holds for every one: memory for two
    /// copies and a common protocol, without which no target is upgraded hot; images and configurations that stand against a
    /// way back.
    #[must_use]
    pub fn facts(mut self, tell: impl FnOnce(Facts) -> Facts + Send + 'static) -> Self {
        self.options.facts = Some(Box::new(tell));
        self
    }

    /// What is asked before each effect. Default: [`AlwaysPermit`].
    #[must_use]
    pub fn permit(mut self, permit: impl Permit + 'static) -> Self {
        self.options.permit = Arc::new(permit);
        self
    }

    /// What else goes on: other teams' deploys, flags, incidents, as rules speak of them. Default: nobody tells, and rules that need
    /// it cannot tell either.
    #[must_use]
    pub fn feed(mut self, feed: impl ChangeFeed + 'static) -> Self {
        self.options.feed = Some(Arc::new(feed));
        self
    }

    /// A condition that must ask somebody, on these terms, and how many milliseconds it has: asked once an interval about the whole
    /// change. While it stands against going, or does not answer, nothing goes forward that its terms speak of; what goes back goes
    /// back.
    #[must_use]
    pub fn check(mut self, terms: Terms, budget_ms: u64, check: impl Check + 'static) -> Self {
        let checks = self.options.checks.take();
        let checks = checks.unwrap_or_else(|| Guard::empty().with_checks(CHECKS_MS));
        self.options.checks = Some(checks.check(terms, budget_ms, check));
        self
    }

    /// Who can take a target out of traffic, restart it or put another in its place: from [level](Self::level) L4 on a single bad node is
    /// healed alone, inside [`heals_per_day`](crate::Budget::heals_per_day), and a stop may [cut traffic](OnStop::CutTraffic). Default: nobody, and
    /// a bad node stays where it is.
    ///
    /// A healer knows targets by numbers, and so do the samples of the metric source
    /// ([`HostCounts::host`](unattended_health::HostCounts::host)); `node` says the number of a target, and it must be the same for both. `None`: it
    /// has no number, and is left alone. It is asked for the targets of a stratum when the judge names one of their hosts, and before each
    /// order; what it answered is in the journal by name, so numbers may change from run to run.
    ///
    /// Orders of a run have one [term](unattended_selfheal::HealOrder::term), the Unix time in milliseconds at which it began, so terms
    /// grow; an order that may not have been heard is given again as it was, also by the next run. A healer that serves several changes at
    /// once refuses old terms by node, as platforms do with generations.
    ///
    /// ```
    /// # use unattended::{Autopilot, selfheal::{HealError, HealOrder, Healer, NodeId}};
    /// struct Mesh; // a client of your discovery service
    ///
    /// #[async_trait::async_trait]
    /// impl Healer for Mesh {
    ///     async fn isolate(&self, order: &HealOrder, node: NodeId, lease_ms: u64) -> Result<(), HealError> {
    ///         // PUT /drained/{node} with the lease, and order.term and order.id to be refused by
    /// #       let _ = (order, node, lease_ms);
    ///         Ok(())
    ///     }
    ///     // It cannot restart or replace: after the isolation, people are told.
    /// }
    ///
    /// // Targets are called `pay-17`, and are number 17 to discovery and metrics.
    /// let pilot = Autopilot::builder().healer(Mesh, |target| {
    ///     let (_, number) = target.as_str().rsplit_once('-')?;
    ///     number.parse().ok().map(NodeId)
    /// });
    /// ```
    #[must_use]
    pub fn healer(
        mut self,
        healer: impl Healer + 'static,
        node: impl Fn(&TargetId) -> Option<NodeId> + Send + Sync + 'static,
    ) -> Self {
        let (healer, node): (Arc<dyn Healer>, Arc<NodeOf>) = (Arc::new(healer), Arc::new(node));
        self.options.hospital = Some(Hospital { healer, node });
        self
    }

    /// Bounds and timing of the attempts.
    #[must_use]
    pub fn driver(mut self, driver: DriverConfig) -> Self {
        self.options.driver = driver;
        self
    }
}

impl<P, M, J, C, N> Builder<(P, M, J, C, Guard, N)>
where
    P: Platform + 'static,
    M: MetricSource + 'static,
    J: Journal + 'static,
    C: Clock + 'static,
    N: Notifier + 'static,
{
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`StartError::NoFence`] where the platform cannot refuse an old controller and the level is above L2;
    /// [`StartError::Mode`] where the platform cannot do the wanted mode.
    pub fn build(self) -> Result<Autopilot, StartError> {
        let (platform, metrics, journal, clock, rules, notifier) = self.parts;
        let Options {
            permit,
            level,
            grant,
            mode,
            facts,
            driver,
            feed,
            mut checks,
            hospital,
        } = self.options;
        let capabilities = platform.capabilities();
        if !capabilities.fence && level > Level::UNGRANTED {
            return Err(StartError::NoFence { level });
        }
        let known = Facts::new(capabilities);
        let known = match facts {
            Some(tell) => tell(known),
            None => known,
        };
        let choice = choose_mode(&known, mode)?;
        let feed = feed.map(|feed| {
            let heard = Arc::new(Heard::default());
            let guard = checks.take().unwrap_or_else(|| Guard::empty().with_checks(CHECKS_MS));
            checks = Some(guard.check(Heard::terms(), CHECKS_MS, HeardCheck(Arc::clone(&heard))));
            (feed, heard)
        });
        let world = World {
            platform: Arc::new(platform),
            journal: Arc::new(journal),
            clock: Arc::new(clock),
            metrics: Arc::new(metrics),
            notifier: Arc::new(notifier),
            permit,
            mode: choice.mode,
            outlook: Arc::new(Outlook { feed, checks }),
            hospital,
            turn: None,
        };
        Ok(Autopilot {
            world,
            rules: Arc::new(rules),
            level,
            grant,
            fenced: capabilities.fence,
            choice,
            driver,
        })
    }
}

/// Whoever listens to a run, or asks for births, learns that it is over, however it ends: its future may be dropped.
struct Listeners(Arc<Shared>);

impl Drop for Listeners {
    fn drop(&mut self) {
        self.0.leave();
        self.0.events.end();
    }
}

/// What [`Autopilot::preview`] saw.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preview {
    /// The batches.
    pub plan: unattended_batching::Summary,
    /// How many of the whole fleet may run the new version at each stage of evidence, one after the other. These are the batches, but where
    /// a batch is too large for one step, as where applications of one target wait for the last one: that is cut.
    pub stages: Vec<u32>,
    /// What the independent verifier checked.
    pub proof: Proof,
    /// Lanes that could not start, each with its reason.
    pub held: Vec<(String, String)>,
}

/// Everything that is needed to run a change, put together and not yet started.
pub struct Autopilot {
    world: World,
    rules: Arc<Guard>,
    level: Level,
    grant: Option<Grant>,
    fenced: bool,
    choice: ModeChoice,
    driver: DriverConfig,
}

impl fmt::Debug for Autopilot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Autopilot")
            .field("level", &self.level)
            .field("mode", &self.choice.mode)
            .finish_non_exhaustive()
    }
}

impl Autopilot {
    /// Begins to collect the parts.
    pub fn builder() -> Builder<(Missing, Missing, Missing, Missing, Missing, Missing)> {
        Builder::default()
    }
}

impl Autopilot {
    /// The mode chosen for this platform, and why the others were not.
    pub const fn mode(&self) -> &ModeChoice {
        &self.choice
    }

    /// Attempts begin above what the queue gives, which is asked when the change begins, and not above the date; those of a change that
    /// goes by decisions of before 7 above what its turn alone gave.
    pub(crate) fn generation(mut self, by_turn: u64, generation: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.driver = self.driver.first_generation(by_turn);
        self.world.turn = Some(Box::new(generation));
        self
    }

    /// Plans the change, has the plan verified, and gives a handle and the future that runs it.
    ///
    /// Nothing has happened yet when this returns. The future spawns nothing and owns no runtime; dropping it at any
    /// await is as good, or as bad, as a kill: the journal takes the change up again.
    ///
    /// # Errors
    /// Settings, policy or rules that contradict the fleet: each says what and how to mend it.
    pub fn start(self, change: Change) -> Result<(Handle, BoxFuture<'static, Result<Outcome, RunError>>), StartError> {
        let planned = self.plan(change)?;
        let clock = Arc::clone(&self.world.clock);
        let shared = Arc::new(Shared {
            machine: Mutex::new(None),
            orders: Mutex::default(),
            frozen: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            unwritten: AtomicBool::new(false),
            permit: RecentPermit::new(Arc::clone(&self.world.permit), Arc::clone(&self.world.clock)),
            clock: Arc::new(RunClock::new(Arc::clone(&self.world.clock))),
            blind: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
            events: Hub::new(&planned.setup.change.id, move || clock.wall()),
            own: Mutex::default(),
        });
        let listeners = Listeners(Arc::clone(&shared));
        let handle = Handle {
            shared: Arc::clone(&shared),
            proof: planned.setup.proof,
            answers: None,
        };
        let World {
            platform,
            journal,
            clock: _,
            metrics,
            notifier,
            permit,
            mode,
            outlook,
            hospital,
            turn,
        } = self.world;
        let world = World {
            platform: Arc::new(Told::new(platform, Arc::clone(&shared))),
            journal,
            clock: Arc::<RunClock>::clone(&shared.clock),
            metrics: Arc::new(OnRunClock {
                metrics,
                clock: Arc::clone(&shared.clock),
            }),
            notifier,
            permit,
            mode,
            outlook,
            hospital,
            turn,
        };
        let run = Run::run(world, planned, self.driver, shared);
        // Boxed: it is large, and would be compiled anew for every program that awaits it.
        let run = Box::pin(async move {
            let _listeners = listeners;
            run.await
        });
        Ok((handle, run))
    }

    /// What would happen: the plan, its proof, and which lanes the rules would hold at `unix_ms`. Touches nothing.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn preview(&self, change: Change, unix_ms: i64) -> Result<Preview, StartError> {
        let need = Need {
            batch_ms: change.settings.attempt_estimate_ms,
            rollback_ms: change.settings.attempt_estimate_ms,
        };
        let Planned { setup, .. } = self.plan(change)?;
        let tables = Tables::new(&setup.change.fleet, &setup.plan);
        let held = (0..setup.change.fleet.app_count()).map(AppIndex).filter_map(|app| {
            let asked = Asked {
                direction: Direction::Forward,
                need,
                counts: Counts {
                    batch: Some(1),
                    scope: Some(u64::from(setup.change.fleet.app_size(app))),
                    in_flight: None,
                },
                around: &Around::default(),
                unix_ms,
            };
            let decision = asked.of(&setup, &tables, &setup.guard, app);
            (!decision.verdict.may_start()).then(|| (setup.change.fleet.app_name(app).to_owned(), decision.why()))
        });
        let stages = tables.classes.first().map_or(&[][..], |fleet| &fleet.cumulative);
        let mut stages = stages.to_vec();
        stages.dedup();
        Ok(Preview {
            held: held.collect(),
            stages,
            plan: setup.plan.summary(),
            proof: setup.proof,
        })
    }

    fn check_healer(&self, settings: &Settings) -> Result<(), StartError> {
        match &self.world.hospital {
            None if settings.on_stop == OnStop::CutTraffic => Err(StartError::NoHealer),
            Some(_) if settings.isolation_ms < settings.interval_ms.saturating_mul(3) => {
                Err(StartError::Settings(format!(
                    "settings: `isolation_ms` is {}: give at least three intervals, {}",
                    settings.isolation_ms,
                    settings.interval_ms.saturating_mul(3)
                )))
            }
            _ => Ok(()),
        }
    }

    fn plan(&self, change: Change) -> Result<Planned, StartError> {
        change.settings.check().map_err(StartError::Settings)?;
        if self.level > Level::UNGRANTED && self.grant.is_none() && change.author.kind != ActorKind::Person {
            return Err(StartError::NotGranted {
                level: self.level,
                author: change.author.to_string(),
            });
        }
        self.check_healer(&change.settings)?;
        way_back::check(change.one_way.as_ref(), &change.settings)?;
        if change.from == change.to {
            return Err(StartError::SameVersion(change.from.to_string()));
        }
        let fleet = Arc::clone(&change.fleet);
        let versions = [change.from.as_str(), change.to.as_str()];
        for name in versions
            .into_iter()
            .chain(fleet.targets().map(|target| fleet.id(target)))
        {
            if name.is_empty() || name.len() > LONGEST_TEXT {
                return Err(StartError::Name {
                    begins: name.chars().take(24).collect(),
                    bytes: name.len(),
                });
            }
        }
        self.rules.check_keys(fleet.keys())?;
        let plan = Plan::build(&fleet, &change.policy, change.seed)?;
        let proof: Proof = verify(&fleet, &change.policy, &plan)?;
        domains::check(&change, &plan).map_err(StartError::Settings)?;
        let member = |target| Member {
            target: fleet.id(target).to_owned(),
            stratum: plan.stratum_of(target).0,
            control: plan.is_control(target),
        };
        let members = fleet.targets().map(member).collect();
        let header = Header {
            decisions: DECISIONS,
            declared: change.declared.clone(),
            change: change.id.clone(),
            author: change.author.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            seed: change.seed,
            level: self.level,
            granted_by: self
                .grant
                .as_ref()
                .map_or(&change.author, |grant| &grant.by)
                .to_string(),
            granted_until_unix_ms: self.grant.as_ref().map(|grant| grant.until_unix_ms),
            fenced: self.fenced,
            mode: self.choice.mode.to_string(),
            targets: fleet.len() as u64,
            plan: Header::plan_of(&plan, &change.policy),
            rules: self.rules.digest().to_owned(),
            settings: change.settings.of_the_change(),
            person_patience_ms: change.settings.person_patience_ms,
            began_ms: 0,
            began_unix_ms: 0,
        };
        let setup = Setup {
            change,
            plan,
            proof,
            guard: Arc::clone(&self.rules),
            header,
        };
        Ok(Planned { setup, members })
    }
}
