//! Many platforms as one: a region, or a cluster, each.

mod news;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::future::{BoxFuture, Either, join_all, select};
use parking_lot::RwLock;
use unattended_upgrade::{
    Barrier, Capabilities, Clock, EffectKey, EffectOutcome, Generation, HandoverOrder, IngressOrder, InstanceId, News,
    Observation, Phase, Platform, PlatformError, Probe, TargetId, Version, WayBack,
};

use self::news::Merged;

/// A domain has so long to answer a question, unless [`Router::answer_ms`] says otherwise.
const ANSWER_MS: u64 = 5_000;
/// For so long no question waits for a domain that has let one go by: what asks many domains at once must not be held up by one.
const DEAF_MS: u64 = 15_000;
const NOWHERE: &str = "no domain has the target";
/// An order for a target that may be where nothing is seen is given again after so long.
const AGAIN_MS: u64 = 5_000;

/// One [`Platform`] over many domains, each a platform of its own: regions, clusters, whatever can be cut off as one.
///
/// Nobody says which target lives where: a target that is not known yet is looked for in every domain, and is from then on led to the
/// one that knows it. Names must differ over all of them.
///
/// ```
/// # use unattended::{Router, upgrade::*};
/// # struct Cluster(&'static str); struct MyClock;
/// # #[async_trait::async_trait]
/// # impl Platform for Cluster {
/// #     fn capabilities(&self) -> Capabilities { Capabilities::none().with_fence() }
/// #     async fn observe(&self, _: &[TargetId]) -> Result<Vec<Observation>, PlatformError> { Ok(Vec::new()) }
/// #     async fn replace(&self, _: &TargetId, _: &Version, _: &EffectKey) -> EffectOutcome { EffectOutcome::Applied }
/// # }
/// # #[async_trait::async_trait]
/// # impl Clock for MyClock {
/// #     fn now(&self) -> u64 { 0 }
/// #     fn wall(&self) -> i64 { 0 }
/// #     async fn sleep_until(&self, _: u64) {}
/// # }
/// let platform = Router::new(MyClock).domain("eu/eu-1", Cluster("eu-1"))?.domain("us/us-1", Cluster("us-1"))?;
/// assert!(platform.capabilities().fence);
/// # Ok::<(), unattended::RouterError>(())
/// ```
///
/// ```text
///                    ┌─► eu/eu-1     a question to many is asked everywhere at once, each answers in its time
///  autopilot ─► Router ─► eu/eu-2     an order goes to the one domain that has the target
///                    └─► us/us-1     news are put one behind the other, and keep their order
/// ```
///
/// # Guarantees
///
/// - It can do what all of its domains can.
/// - No order goes to a domain that has not shown the target. Where it may be in one that cannot be reached, the order has to wait
///   ([`EffectOutcome::Retry`]), and nothing was done. A name that two domains have is refused.
/// - A target is gone where its domain says so; one that was never seen, only where all domains say so.
/// - A domain that is silent costs others [`answer_ms`](Self::answer_ms) once, then nothing for a quarter of a minute.
///
/// # Limits
///
/// - It keeps the name of each target that it has seen, some sixty bytes.
/// - News are read again from their domains where an old cursor asks for them. Cursors of another router begin anew, and so do those
///   behind which domains have told something more than 65,536 times.
/// - [`Platform::desired`] is told one domain at a time: a scope is `DOMAIN:SCOPE`.
///
/// Which targets are held while their domain is silent is the change's matter: see
/// [`Settings::domains`](crate::Settings::domains).
pub struct Router<C> {
    clock: C,
    domains: Vec<Domain>,
    /// Where targets have been seen.
    homes: RwLock<BTreeMap<TargetId, usize>>,
    merged: futures::lock::Mutex<Merged>,
    answer_ms: u64,
}

struct Domain {
    name: String,
    platform: Arc<dyn Platform>,
    /// No question is put to it before this time.
    deaf_until_ms: AtomicU64,
}

/// Why a domain was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// Two have one name.
    #[error("there are two domains `{0}`: name each once")]
    Twice(String),
    /// It has no name, or one that a scope could not be told from.
    #[error("a domain is named `{0}`: give a name without `:`")]
    Name(String),
}

impl<C> fmt::Debug for Router<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.domains.iter().map(|domain| domain.name.as_str()).collect();
        f.debug_struct("Router")
            .field("domains", &names)
            .finish_non_exhaustive()
    }
}

impl<C: Clock> Router<C> {
    /// Of no domains yet.
    pub fn new(clock: C) -> Self {
        let merged = Merged::new(clock.wall());
        Self {
            clock,
            domains: Vec::new(),
            homes: RwLock::default(),
            merged: futures::lock::Mutex::new(merged),
            answer_ms: ANSWER_MS,
        }
    }

    /// With one more.
    ///
    /// # Errors
    /// [`RouterError`] where the name is taken, empty, or has a `:`.
    pub fn domain(mut self, name: impl Into<String>, platform: impl Platform) -> Result<Self, RouterError> {
        let name = name.into();
        if name.is_empty() || name.contains(':') {
            return Err(RouterError::Name(name));
        }
        if self.domains.iter().any(|domain| domain.name == name) {
            return Err(RouterError::Twice(name));
        }
        self.domains.push(Domain {
            name,
            platform: Arc::new(platform),
            deaf_until_ms: AtomicU64::new(0),
        });
        Ok(self)
    }

    /// How long a domain may take to answer a question, in milliseconds. Default five seconds; less than
    /// [`call_ms`](unattended_upgrade::DriverConfig::call_ms), or the driver gives up first. Orders are not cut short.
    #[must_use]
    pub const fn answer_ms(mut self, answer_ms: u64) -> Self {
        self.answer_ms = answer_ms;
        self
    }

    /// What a domain answers in time.
    async fn ask<T>(
        &self,
        domain: usize,
        call: impl Future<Output = Result<T, PlatformError>> + Send,
    ) -> Result<T, PlatformError> {
        let Domain {
            name, deaf_until_ms, ..
        } = &self.domains[domain];
        let now_ms = self.clock.now();
        let silent = |text: String| PlatformError::Unavailable(format!("domain {name} {text}"));
        if now_ms < deaf_until_ms.load(Ordering::Relaxed) {
            return Err(silent("has just let a question go by".to_owned()));
        }
        let until_ms = now_ms.saturating_add(self.answer_ms);
        match select(pin!(call), pin!(self.clock.sleep_until(until_ms))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                deaf_until_ms.store(self.clock.now().saturating_add(DEAF_MS), Ordering::Relaxed);
                Err(silent(format!("has not answered within {} ms", self.answer_ms)))
            }
        }
    }

    /// The domains of targets, in their order; `None`: all domains say that it is not there.
    async fn homes(&self, targets: &[TargetId]) -> Result<Vec<Option<usize>>, PlatformError> {
        let known: Vec<Option<usize>> = {
            let homes = self.homes.read();
            targets.iter().map(|target| homes.get(target).copied()).collect()
        };
        let strangers: Vec<TargetId> = (targets.iter().zip(&known))
            .filter(|(_, home)| home.is_none())
            .map(|(target, _)| target.clone())
            .collect();
        let mut found = if strangers.is_empty() {
            Vec::new()
        } else {
            self.find(&strangers).await?
        }
        .into_iter();
        Ok(known
            .into_iter()
            .map(|home| home.or_else(|| found.next().flatten()))
            .collect())
    }

    /// Looks for targets in every domain.
    async fn find(&self, strangers: &[TargetId]) -> Result<Vec<Option<usize>>, PlatformError> {
        let looks =
            (self.domains.iter().enumerate()).map(|(at, domain)| self.ask(at, domain.platform.observe(strangers)));
        let answers = join_all(looks).await;
        let mut found: Vec<Option<usize>> = vec![None; strangers.len()];
        let mut silent = None;
        for (at, answer) in answers.into_iter().enumerate() {
            let seen = match answer.and_then(|seen| self.complete(at, seen, strangers.len())) {
                Ok(seen) => seen,
                Err(error) => {
                    silent = Some(error);
                    continue;
                }
            };
            for ((target, home), seen) in strangers.iter().zip(&mut found).zip(seen) {
                if seen.phase == Phase::Gone {
                    continue;
                }
                if let Some(other) = home.replace(at) {
                    let (one, two) = (&self.domains[other].name, &self.domains[at].name);
                    return Err(PlatformError::Garbled(format!(
                        "`{target}` is in {one} and in {two}: names must differ over all domains"
                    )));
                }
            }
        }
        {
            let mut homes = self.homes.write();
            for (target, home) in strangers.iter().zip(&found) {
                if let Some(home) = home {
                    homes.insert(target.clone(), *home);
                }
            }
        }
        match silent {
            // It may live where nothing is seen.
            Some(error) if found.contains(&None) => Err(error),
            _ => Ok(found),
        }
    }

    /// Too few or too many answers cannot be told apart from the wrong ones.
    fn complete<T>(&self, domain: usize, answers: Vec<T>, wanted: usize) -> Result<Vec<T>, PlatformError> {
        if answers.len() == wanted {
            return Ok(answers);
        }
        Err(PlatformError::Garbled(format!(
            "domain {} gave {} answers to {wanted} questions",
            self.domains[domain].name,
            answers.len()
        )))
    }

    /// Puts one question on many targets to all the domains that they live in, at once.
    async fn ask_all<T: Send>(
        &self,
        targets: &[TargetId],
        question: impl for<'a> Fn(&'a dyn Platform, &'a [TargetId]) -> BoxFuture<'a, Result<Vec<T>, PlatformError>>
        + Send
        + Sync,
    ) -> Result<Vec<T>, PlatformError> {
        if self.domains.is_empty() {
            return Err(PlatformError::Unavailable(NOWHERE.to_owned()));
        }
        let homes = self.homes(targets).await?;
        let mut parts: BTreeMap<usize, (Vec<usize>, Vec<TargetId>)> = BTreeMap::new();
        for (place, (target, home)) in targets.iter().zip(homes).enumerate() {
            // Who is nowhere is asked of the first, which says so.
            let (places, names) = parts.entry(home.unwrap_or(0)).or_default();
            places.push(place);
            names.push(target.clone());
        }
        let asked = parts
            .iter()
            .map(|(&home, (_, names))| self.ask(home, question(self.domains[home].platform.as_ref(), names)));
        let answers = join_all(asked).await;
        let mut all: Vec<Option<T>> = targets.iter().map(|_| None).collect();
        for ((&home, (places, _)), answer) in parts.iter().zip(answers) {
            for (&place, answer) in places.iter().zip(self.complete(home, answer?, places.len())?) {
                all[place] = Some(answer);
            }
        }
        Ok(all.into_iter().flatten().collect())
    }

    /// The platform that has the target; otherwise, what becomes of an order for it.
    async fn home(&self, target: &TargetId) -> Result<&dyn Platform, EffectOutcome> {
        match self.homes(std::slice::from_ref(target)).await {
            Ok(homes) => {
                let home = homes.first().copied().flatten();
                let home = home.and_then(|home| self.domains.get(home));
                home.map(|domain| domain.platform.as_ref()).ok_or_else(nowhere)
            }
            Err(PlatformError::Garbled(reason)) => Err(EffectOutcome::Failed { reason: reason.into() }),
            Err(_) => Err(EffectOutcome::Retry { after_ms: AGAIN_MS }),
        }
    }
}

fn nowhere() -> EffectOutcome {
    EffectOutcome::Failed { reason: NOWHERE.into() }
}

/// Gives an order to the one domain that has the target.
macro_rules! lead {
    ($router:expr, $target:expr, $order:ident($($argument:expr),*)) => {
        match $router.home($target).await {
            Ok(platform) => platform.$order($target, $($argument),*).await,
            Err(outcome) => outcome,
        }
    };
}

#[async_trait]
impl<C: Clock + 'static> Platform for Router<C> {
    fn capabilities(&self) -> Capabilities {
        let each = self.domains.iter().map(|domain| domain.platform.capabilities());
        each.reduce(both).unwrap_or_default()
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.ask_all(targets, |platform, names| platform.observe(names)).await
    }

    async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        if !self.capabilities().barrier {
            return Err(PlatformError::Unsupported("barrier"));
        }
        self.ask_all(targets, |platform, names| platform.ingress_barrier(names))
            .await
    }

    async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        if !self.capabilities().probe {
            return Err(PlatformError::Unsupported("probe"));
        }
        self.ask_all(targets, |platform, names| platform.probe(names)).await
    }

    async fn control_endpoint(&self, target: &TargetId, version: &Version) -> Result<Arc<str>, PlatformError> {
        if !self.capabilities().endpoint {
            return Err(PlatformError::Unsupported("endpoint"));
        }
        let homes = self.homes(std::slice::from_ref(target)).await?;
        let home = homes.first().copied().flatten();
        let Some((at, domain)) = home.and_then(|at| Some((at, self.domains.get(at)?))) else {
            return Err(PlatformError::Unavailable(NOWHERE.to_owned()));
        };
        self.ask(at, domain.platform.control_endpoint(target, version)).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        lead!(self, target, replace(version, key))
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        if !self.capabilities().fence {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, fence(generation))
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().in_place {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, replace_in_place(version, key))
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        let asked =
            (self.domains.iter().enumerate()).map(|(at, domain)| self.ask(at, domain.platform.way_back(from, to)));
        let answers = join_all(asked).await;
        // What is closed anywhere is closed, whatever the others do not know.
        let mut all = Ok(WayBack::Open);
        for (domain, answer) in self.domains.iter().zip(answers) {
            all = match (all, answer) {
                (_, Ok(WayBack::Closed(why))) => return Ok(WayBack::Closed(format!("in {}: {why}", domain.name))),
                (Err(error), _) | (_, Err(error)) => Err(error),
                (Ok(WayBack::Startable), _) | (_, Ok(WayBack::Startable)) => Ok(WayBack::Startable),
                (open, _) => open,
            };
        }
        all
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().prefetch {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, prefetch(version, key))
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().ingress {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, ingress(order, key))
    }

    async fn spawn(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().slots {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, spawn(version, key))
    }

    async fn stop(&self, target: &TargetId, instance: InstanceId, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().slots {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, stop(instance, key))
    }

    async fn reset(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().slots {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, reset(version, key))
    }

    async fn hand_over(
        &self,
        target: &TargetId,
        order: HandoverOrder,
        from: &Version,
        to: &Version,
        key: &EffectKey,
    ) -> EffectOutcome {
        if !self.capabilities().hand_over {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, hand_over(order, from, to, key))
    }

    async fn apply_config(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().config {
            return EffectOutcome::Unsupported;
        }
        lead!(self, target, apply_config(version, key))
    }

    async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        if !self.capabilities().desired {
            return EffectOutcome::Unsupported;
        }
        let named = scope.split_once(':').and_then(|(name, scope)| {
            let domain = self.domains.iter().find(|domain| domain.name == name)?;
            Some((domain, scope))
        });
        match named {
            Some((domain, scope)) => domain.platform.desired(scope, version, key).await,
            None => EffectOutcome::Failed {
                reason: format!("the scope `{scope}` names no domain: write DOMAIN:SCOPE").into(),
            },
        }
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        if !self.capabilities().watch {
            return Err(PlatformError::Unsupported("watch"));
        }
        self.merge(cursor).await
    }
}

/// What two platforms can both do.
fn both(one: Capabilities, two: Capabilities) -> Capabilities {
    let mut both = Capabilities::none();
    both.fence = one.fence && two.fence;
    both.ingress = one.ingress && two.ingress;
    both.in_place = one.in_place && two.in_place;
    both.prefetch = one.prefetch && two.prefetch;
    both.watch = one.watch && two.watch;
    both.slots = one.slots && two.slots;
    both.hand_over = one.hand_over && two.hand_over;
    both.barrier = one.barrier && two.barrier;
    both.probe = one.probe && two.probe;
    both.endpoint = one.endpoint && two.endpoint;
    both.desired = one.desired && two.desired;
    both.config = one.config && two.config;
    both
}
