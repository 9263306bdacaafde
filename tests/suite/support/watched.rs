//! A platform before the simulated one that keeps every order, and is deaf or silent where a test says so.

use super::*;

/// What was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Fence,
    Prefetch,
    Close,
    Open,
    Replace,
}

/// One order that reached the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) at_ms: u64,
    pub(crate) target: String,
    pub(crate) act: Act,
    pub(crate) version: Option<String>,
    pub(crate) key: Option<String>,
}

impl Effect {
    /// It takes the target out of service.
    pub(crate) fn disturbs(&self) -> bool {
        matches!(self.act, Act::Close | Act::Replace)
    }
}

type Hook = Box<dyn FnMut(&Effect) + Send>;
type Silence = Box<dyn Fn(&[TargetId]) -> bool + Send>;
type NeverReady = Box<dyn Fn(&TargetId) -> bool + Send>;

/// The simulated platform, with somebody at the door who sees each order before it is carried out.
pub(crate) struct Watched {
    sim: Arc<Simulated>,
    fence: bool,
    effects: Mutex<Vec<Effect>>,
    before: Mutex<Option<Hook>>,
    silence: Mutex<Option<Silence>>,
    emptiness: Mutex<Option<Silence>>,
    never_ready: Mutex<Option<NeverReady>>,
    old_not_ready: Mutex<Option<NeverReady>>,
    before_the_news: Mutex<Vec<FleetChange>>,
    /// What is done before each answer to a question for news.
    news_after: Mutex<Option<NewsAfter>>,
    way_back: Mutex<Option<Result<WayBack, PlatformError>>>,
    /// The next order to replace is on its way until this is done, and what it was answered then.
    underway: Mutex<Option<Underway>>,
    arrived: Mutex<Option<(TargetId, EffectOutcome)>>,
}

type Underway = Pin<Box<dyn Future<Output = ()> + Send>>;
type NewsAfter = Box<dyn FnMut() -> Underway + Send>;

impl Watched {
    pub(crate) fn new(sim: Arc<Simulated>, fence: bool) -> Self {
        Self {
            sim,
            fence,
            effects: Mutex::default(),
            before: Mutex::new(None),
            silence: Mutex::new(None),
            emptiness: Mutex::new(None),
            never_ready: Mutex::new(None),
            old_not_ready: Mutex::new(None),
            before_the_news: Mutex::default(),
            news_after: Mutex::new(None),
            way_back: Mutex::default(),
            underway: Mutex::default(),
            arrived: Mutex::default(),
        }
    }

    /// What it says of the way back.
    pub(crate) fn says_of_the_way_back(&self, answer: Result<WayBack, PlatformError>) {
        *self.way_back.lock() = Some(answer);
    }

    /// The next order to replace arrives when this is done, and no sooner.
    pub(crate) fn next_arrives_after(&self, underway: impl Future<Output = ()> + Send + 'static) {
        *self.underway.lock() = Some(Box::pin(underway));
    }

    /// The order that arrived late, and its answer.
    pub(crate) fn arrived(&self) -> Option<(TargetId, EffectOutcome)> {
        self.arrived.lock().clone()
    }

    async fn arrive(&self, target: &TargetId, order: impl Future<Output = EffectOutcome>) -> EffectOutcome {
        let underway = self.underway.lock().take();
        let Some(underway) = underway else { return order.await };
        underway.await;
        let answer = order.await;
        *self.arrived.lock() = Some((target.clone(), answer.clone()));
        answer
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.effects.lock().clone()
    }

    /// Calls `before` at each order, before it is carried out.
    pub(crate) fn before_each(&self, before: impl FnMut(&Effect) + Send + 'static) {
        *self.before.lock() = Some(Box::new(before));
    }

    /// Looks for which `silence` says so are never answered.
    pub(crate) fn silent_where(&self, silence: impl Fn(&[TargetId]) -> bool + Send + 'static) {
        *self.silence.lock() = Some(Box::new(silence));
    }

    /// Looks for which `emptiness` says so are answered with nobody.
    pub(crate) fn empty_where(&self, emptiness: impl Fn(&[TargetId]) -> bool + Send + 'static) {
        *self.emptiness.lock() = Some(Box::new(emptiness));
    }

    /// The new version runs and never gets ready at those for which `never_ready` says so; the old one does.
    pub(crate) fn never_ready_where(&self, never_ready: impl Fn(&TargetId) -> bool + Send + 'static) {
        *self.never_ready.lock() = Some(Box::new(never_ready));
    }

    /// The old version runs and is not ready at those for which `not_ready` says so.
    pub(crate) fn old_not_ready_where(&self, not_ready: impl Fn(&TargetId) -> bool + Send + 'static) {
        *self.old_not_ready.lock() = Some(Box::new(not_ready));
    }

    /// Tells these before all other news.
    pub(crate) fn tell_first(&self, changes: impl IntoIterator<Item = FleetChange>) {
        self.before_the_news.lock().extend(changes);
    }

    /// News come when this is done, each time.
    pub(crate) fn news_come_after<F>(&self, mut wait: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *self.news_after.lock() = Some(Box::new(move || Box::pin(wait())));
    }

    fn see(&self, target: &TargetId, act: Act, version: Option<&Version>, key: Option<&EffectKey>) {
        let effect = Effect {
            at_ms: self.sim.clock().now(),
            target: target.to_string(),
            act,
            version: version.map(ToString::to_string),
            key: key.map(ToString::to_string),
        };
        if let Some(before) = &mut *self.before.lock() {
            before(&effect);
        }
        self.effects.lock().push(effect);
    }
}

#[async_trait]
impl Platform for Watched {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.sim.capabilities();
        capabilities.fence = self.fence;
        capabilities
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let silent = self.silence.lock().as_ref().is_some_and(|silence| silence(targets));
        if silent {
            std::future::pending::<()>().await;
        }
        if self
            .emptiness
            .lock()
            .as_ref()
            .is_some_and(|emptiness| emptiness(targets))
        {
            return Ok(Vec::new());
        }
        let mut seen = self.sim.observe(targets).await?;
        for (not_ready, of) in [(&self.never_ready, NEW), (&self.old_not_ready, OLD)] {
            let not_ready = not_ready.lock();
            let Some(not_ready) = &*not_ready else { continue };
            for (target, seen) in targets.iter().zip(&mut seen) {
                let is_of = seen.version.as_ref().is_some_and(|version| version.as_str() == of);
                seen.ready &= !(is_of && not_ready(target));
            }
        }
        Ok(seen)
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.see(target, Act::Replace, Some(version), Some(key));
        self.arrive(target, self.sim.replace(target, version, key)).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.see(target, Act::Fence, None, None);
        self.sim.fence(target, generation).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.see(target, Act::Replace, Some(version), Some(key));
        self.arrive(target, self.sim.replace_in_place(target, version, key))
            .await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.see(target, Act::Prefetch, Some(version), Some(key));
        self.sim.prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        let act = match order {
            IngressOrder::Open => Act::Open,
            IngressOrder::Close { .. } => Act::Close,
        };
        self.see(target, act, None, Some(key));
        self.sim.ingress(target, order, key).await
    }

    async fn way_back(&self, from: &Version, to: &Version) -> Result<WayBack, PlatformError> {
        let answer = self.way_back.lock().clone();
        match answer {
            Some(answer) => answer,
            None => self.sim.way_back(from, to).await,
        }
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let wait = self.news_after.lock().as_mut().map(|wait| wait());
        if let Some(wait) = wait {
            wait.await;
        }
        let mut news = self.sim.watch(cursor).await?;
        let first = std::mem::take(&mut *self.before_the_news.lock());
        news.changes.splice(..0, first);
        Ok(news)
    }
}
