//! One change of the autopilot on one simulated fleet, and what is seen of the release afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{Either, select};
use parking_lot::Mutex;
use unattended::batching::Side;
use unattended::defense::Guard;
use unattended::health::{History, Interval, Member, MetricSource, Sli, Slo, SourceError};
use unattended::train::{ChangeEnd, ChangeOrder, Lane, ReleaseFacts, Site as Where};
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, MemoryJournal, Phase, Platform, TargetId, Version};
use unattended::{Actor, Autopilot, Change, Grant, Handle, Level, Notice, Notifier, Outcome, RunError, Settings};
use unattended_examples_support::Failure;
use unattended_simulated::Simulated;

use crate::charge::{Charge, real};
use crate::policy::policy;
use crate::tree::HOUR_MS;
use crate::world::{Ground, Grounds, INTERVAL_MS, Truth, WARM_UP_MS};

const MINUTE_MS: u64 = 60_000;
/// A share of the canary fleet below which a peak is no peak.
const PEAK_SHARE: f64 = 0.2;
/// An objective grants half as many errors again as there were before: what safety is shown against, too.
const GRANTED: f64 = 1.5;
const MONTH_MS: u64 = 30 * 86_400_000;
/// The first orders of a drill are above all that the autopilot gave, which go by the date.
const DRILL: u64 = 1 << 59;

type Running = Pin<Box<dyn Future<Output = Result<Outcome, RunError>> + Send>>;

/// A change, from its start to the end of what is seen of its release.
pub(crate) struct Site {
    pub(crate) order: ChangeOrder,
    pub(crate) end: Option<ChangeEnd>,
    lane: Lane,
    level: Level,
    seed: u64,
    began_ms: i64,
    simulated: Arc<Simulated>,
    meter: Arc<Meter>,
    journal: Arc<MemoryJournal>,
    run: Option<Running>,
    handle: Option<Handle>,
    drilled: Option<bool>,
    told_ms: i64,
}

/// Reads on where the autopilot reads, and keeps sums.
struct Meter {
    simulated: Arc<Simulated>,
    sums: Mutex<Sums>,
}

#[derive(Clone, Default)]
struct Sums {
    last: Option<(u64, u64)>,
    /// Requests per instance in the busiest interval since the change began, and in the busiest that the release took part in.
    busiest: f64,
    carried: f64,
    targets: u64,
    /// Own errors and slow requests of the release past its warm-up.
    charged: [Charge; 2],
    /// The same before it came, bad ones of all.
    before: [(u64, u64); 2],
}

#[async_trait]
impl MetricSource for Meter {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.simulated.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        let history = self.simulated.history().await?;
        let mut before = [(0, 0); 2];
        for past in &history {
            if let Some((bad, total)) = before.get_mut(usize::from(past.metric)) {
                *bad += past.counts.bad;
                *total += past.counts.total;
            }
        }
        self.sums.lock().before = before;
        Ok(history)
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let interval = self.simulated.read(index, end_ms).await?;
        self.sums.lock().add(&interval);
        Ok(interval)
    }
}

impl Sums {
    fn add(&mut self, interval: &Interval) {
        if self.last.is_some_and(|(index, _)| index >= interval.index) {
            return;
        }
        self.last = Some((interval.index, interval.end_ms));
        self.charged.iter_mut().for_each(Charge::begin);
        let (mut requests, mut on_new, mut on_old) = (0, 0, 0);
        for row in &interval.rows {
            // The rows of fresh instances have the same control beside them as those of the others.
            let control = if row.fresh { 0 } else { row.control.total };
            match row.metric {
                0 => requests += row.canary.total + control,
                2 => {
                    on_new += row.canary.total;
                    on_old += control;
                }
                _ => {}
            }
            if let Some(charge) = self.charged.get_mut(usize::from(row.metric)).filter(|_| !row.fresh) {
                charge.add(row.stratum, row.canary, row.control);
            }
        }
        // Of few instances, the load is that of their applications.
        if 2 * (on_new + on_old) < self.targets {
            return;
        }
        let load = real(requests) / real(on_new + on_old);
        self.busiest = self.busiest.max(load);
        if real(on_new) >= PEAK_SHARE * real(on_new + on_old) {
            self.carried = self.carried.max(load);
        }
    }
}

/// Nobody is there: what a change asks is answered by the train's own deadline, which takes it back.
struct Nobody;

#[async_trait]
impl Notifier for Nobody {
    async fn notify(&self, _: &Notice) {}
}

impl Site {
    pub(crate) fn new(
        grounds: &Grounds,
        order: ChangeOrder,
        truth: Truth,
        lane: Lane,
        level: Level,
        seed: u64,
        wall_ms: i64,
    ) -> Result<Self, Failure> {
        let ground = ground(grounds, order.site);
        // Production has ordinary days; the canary fleet those of its release.
        let world = match order.site {
            Where::Canary => &truth.lot.world,
            Where::Production => &grounds.base,
        };
        let simulated = ground.world(&truth.lot, world, &order.from, &order.version, seed, wall_ms)?;
        let meter = Arc::new(Meter {
            simulated: Arc::clone(&simulated),
            sums: Mutex::new(Sums {
                targets: ground.targets.len() as u64,
                ..Sums::default()
            }),
        });
        let mut site = Self {
            order,
            end: None,
            lane,
            level,
            seed,
            began_ms: wall_ms,
            simulated,
            meter,
            journal: Arc::new(MemoryJournal::new()),
            run: None,
            handle: None,
            drilled: None,
            told_ms: 0,
        };
        site.take_up(grounds)?;
        Ok(site)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.interval_ms = INTERVAL_MS;
        settings.warm_up_ms = WARM_UP_MS;
        let hours = |hours: u64| hours * 60 * MINUTE_MS;
        match (self.order.site, self.lane) {
            // Half the fleet beside the other half for some hours: so a release is judged against what runs
            // beside it, and what comes late comes then.
            (Where::Canary, Lane::Nightly) => {
                settings.soak_ms = hours(6);
                settings.soak_share_ppm = 500_000;
                settings.silent_after_ms = hours(1);
            }
            (Where::Canary, Lane::Hotfix) => {
                settings.soak_ms = hours(1);
                settings.soak_share_ppm = 500_000;
                settings.silent_after_ms = hours(1);
            }
            // It has soaked through a day on the canary fleet.
            (Where::Production, Lane::Nightly) => settings.soak_ms = hours(3),
            (Where::Production, Lane::Hotfix) => settings.soak_ms = hours(1),
        }
        settings.silent_after_ms = settings.silent_after_ms.min(hours(2));
        settings
    }

    /// Starts the autopilot, or takes its change up from the journal.
    pub(crate) fn take_up(&mut self, grounds: &Grounds) -> Result<(), Failure> {
        if self.end.is_some() || self.run.is_some() {
            return Ok(());
        }
        let ground = ground(grounds, self.order.site);
        let change = Change::new(
            self.order.change.to_string(),
            self.order.author.clone(),
            Version::from(self.order.from.as_str()),
            Version::from(self.order.version.as_str()),
            Arc::clone(&ground.fleet),
        )
        .policy(policy(&ground.fleet, |_| true).map_err(Failure::input)?)
        .settings(self.settings())
        .seed(self.seed);
        // A change of the quarter is over long before.
        let until_ms = self.began_ms + 30 * 24 * HOUR_MS;
        let grant = Grant::new(self.level, Actor::person("li", "release desk"), until_ms).map_err(Failure::internal)?;
        let pilot = Autopilot::builder()
            .platform(Arc::clone(&self.simulated))
            .metrics(Arc::clone(&self.meter))
            .journal(Arc::clone(&self.journal))
            .clock(self.simulated.clock())
            .rules(Guard::empty())
            .notifier(Nobody)
            .grant(grant)
            .build()
            .map_err(Failure::internal)?;
        let (handle, run) = pilot.start(change).map_err(Failure::internal)?;
        let births = handle.clone();
        let (from, to) = (self.order.from.clone(), self.order.version.clone());
        self.simulated.on_birth(Box::new(move |newborn| {
            let labels: Vec<(&str, &str)> = newborn.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
            match births.version_for(newborn.target.as_str(), &newborn.app, &labels) {
                Side::New => Version::from(to.as_str()),
                Side::Old => Version::from(from.as_str()),
            }
        }));
        self.handle = Some(handle);
        self.run = Some(Box::pin(run));
        Ok(())
    }

    /// The controller is gone, with everything that it had in its memory.
    pub(crate) fn kill(&mut self) {
        self.run = None;
    }

    /// Taken back, which a change whose controller died has to be taken up for.
    pub(crate) fn take_back(&mut self, grounds: &Grounds, why: &str) -> Result<(), Failure> {
        self.take_up(grounds)?;
        if let Some(handle) = &self.handle {
            // One that has ended meanwhile needs it no more.
            let _ = handle.roll_back(Actor::program("train", "take back"), why);
        }
        Ok(())
    }

    /// Lives on until it is so late.
    pub(crate) fn passed(&mut self, wall_ms: i64) -> Result<(), Failure> {
        let until_ms = u64::try_from(wall_ms - self.began_ms).unwrap_or(0);
        let clock = self.simulated.clock();
        let executor = self.simulated.executor();
        if let Some(run) = &mut self.run {
            let stepped = executor.run(async {
                match select(run, std::pin::pin!(clock.sleep_until(until_ms))).await {
                    Either::Left((outcome, _)) => Some(outcome),
                    Either::Right(_) => None,
                }
            });
            if let Some(outcome) = stepped.map_err(Failure::internal)? {
                let outcome = outcome.map_err(Failure::internal)?;
                self.run = None;
                self.ended(outcome, clock.now());
            }
        }
        Ok(())
    }

    fn ended(&mut self, outcome: Outcome, at_ms: u64) {
        let summary = self.handle.as_ref().and_then(Handle::summary);
        let (exposed, human_actions, why) = summary.map_or((0, 0, String::new()), |summary| {
            let touched = summary.exposed_at_stop.unwrap_or(summary.exposure.exposed);
            (touched, summary.human_actions, summary.evidence.strongest)
        });
        self.end = Some(ChangeEnd {
            outcome,
            at_unix_ms: self.began_ms + i64::try_from(at_ms).unwrap_or(0),
            exposed,
            human_actions,
            why,
        });
    }

    /// What is seen of the release, once an hour.
    pub(crate) fn facts(&mut self, grounds: &Grounds, wall_ms: i64) -> Result<Option<ReleaseFacts>, Failure> {
        if self.told_ms > wall_ms - HOUR_MS {
            return Ok(None);
        }
        self.told_ms = wall_ms;
        self.read_on(wall_ms)?;
        let drills_passed = match self.drilled {
            Some(passed) => passed,
            None => *self.drilled.insert(self.drill(grounds)?),
        };
        let sums = self.meter.sums.lock().clone();
        let left = ["errors", "slow"]
            .into_iter()
            .zip(sums.before.iter().zip(&sums.charged))
            .map(|(name, (before, charge))| {
                let rate = real(before.0) / real(before.1.max(1));
                let objective = (1.0 - GRANTED * rate).clamp(0.0, 0.999_999_999);
                let slo = Slo::new(name, Sli::Metric(name.to_owned()), objective, MONTH_MS).ok()?;
                charge.left(&slo, rate)
            });
        let left: Option<Vec<f64>> = left.collect();
        let summary = self.handle.as_ref().and_then(Handle::summary);
        // The best that it ever was: evidence that may be looked at at any time holds from its highest moment on (Ville, 1939).
        let safety = summary.and_then(|summary| {
            summary
                .evidence_curve
                .iter()
                .map(|point| point.ln_safety)
                .reduce(f64::max)
        });
        Ok(Some(ReleaseFacts {
            at_unix_ms: wall_ms,
            load_peak: (sums.busiest > 0.0).then(|| sums.carried / sums.busiest),
            class_coverage: Some(grounds.coverage()),
            // Beyond this it is certain enough, and a number that JSON can say.
            safety_evidence: safety.map(|ln| ln.min(300.0).exp()),
            error_budget_left: left.and_then(|left| left.into_iter().reduce(f64::min)),
            drills_passed: Some(drills_passed),
            open_incidents: Some(0),
        }))
    }

    /// Counts go on when the autopilot has gone.
    fn read_on(&self, wall_ms: i64) -> Result<(), Failure> {
        let until_ms = u64::try_from(wall_ms - self.began_ms).unwrap_or(0);
        let clock = self.simulated.clock();
        let read = self.simulated.executor().run(async {
            loop {
                let last = self.meter.sums.lock().last;
                let Some((index, end_ms)) = last.map(|(index, end_ms)| (index + 1, end_ms + INTERVAL_MS)) else {
                    return Ok(());
                };
                if end_ms > until_ms {
                    clock.sleep_until(until_ms).await;
                    return Ok(());
                }
                clock.sleep_until(end_ms).await;
                self.meter.read(index, end_ms).await?;
            }
        });
        let read: Result<(), SourceError> = read.map_err(Failure::internal)?;
        read.map_err(Failure::internal)
    }

    /// A downgrade and an upgrade of one instance, and whether it came up each time.
    fn drill(&self, grounds: &Grounds) -> Result<bool, Failure> {
        let clock = self.simulated.clock();
        let versions = [self.order.from.as_str(), self.order.version.as_str()];
        let passed = self.simulated.executor().run(async {
            let ready = |seen: &unattended::upgrade::Observation, version: &Version| {
                seen.version.as_ref() == Some(version) && seen.phase == Phase::Running && seen.ready
            };
            let new = Version::from(versions[1]);
            let mut chosen: Option<TargetId> = None;
            let targets = &ground(grounds, self.order.site).targets;
            let ids: Vec<TargetId> = targets
                .iter()
                .map(|target| TargetId::from(target.id.as_str()))
                .collect();
            for _ in 0..10 {
                // A look that is not answered is made again.
                if let Ok(seen) = self.simulated.observe(&ids).await {
                    chosen = ids
                        .iter()
                        .zip(&seen)
                        .find(|(_, seen)| ready(seen, &new))
                        .map(|(id, _)| id.clone());
                    break;
                }
            }
            let Some(target) = chosen else { return false };
            for (step, version) in (0..).zip(versions) {
                let version = Version::from(version);
                let mut up = false;
                // A replacement may fail by bad luck, good release or not: so it is tried again, as any would be.
                for again in 0..4 {
                    let key = EffectKey {
                        attempt: AttemptId(DRILL + step * 8 + again),
                        generation: Generation(DRILL + step * 8 + again),
                        step: 0,
                        ordinal: 0,
                    };
                    let _ = self.simulated.replace(&target, &version, &key).await;
                    clock.sleep_until(clock.now() + 20 * MINUTE_MS).await;
                    let seen = self.simulated.observe(std::slice::from_ref(&target)).await;
                    up = seen.is_ok_and(|seen| seen.first().is_some_and(|seen| ready(seen, &version)));
                    if up {
                        break;
                    }
                }
                if !up {
                    return false;
                }
            }
            true
        });
        passed.map_err(Failure::internal)
    }
}

fn ground(grounds: &Grounds, site: Where) -> &Ground {
    match site {
        Where::Canary => &grounds.canary,
        Where::Production => &grounds.production,
    }
}
