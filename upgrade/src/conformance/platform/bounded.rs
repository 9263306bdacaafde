//! A platform whose calls come to an end: one that hangs is a breach of the contract, not of the suite.
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;

use super::trial::Ask;
use crate::conformance::Breach;
use crate::{
    Barrier, Capabilities, Clock, EffectKey, EffectOutcome, Generation, News, Observation, Platform, PlatformError,
    Probe, TargetId, Version,
};

/// The platform under trial. Its methods are those of [`Platform`]; each gives up after so long, and all at once after the
/// first that had to.
pub(super) struct Bounded<'a> {
    platform: &'a dyn Platform,
    clock: &'a dyn Clock,
    call_ms: u64,
    silent: Mutex<Option<String>>,
}

/// What an effect is told by.
type Given<'f> = Pin<Box<dyn Future<Output = EffectOutcome> + Send + 'f>>;

impl<'a> Bounded<'a> {
    pub(super) const fn new(platform: &'a dyn Platform, clock: &'a dyn Clock, call_ms: u64) -> Self {
        Self {
            platform,
            clock,
            call_ms,
            silent: Mutex::new(None),
        }
    }

    /// What came of a trial, unless it came of a call that was never answered.
    pub(super) fn judged<T>(&self, found: Result<T, Breach>) -> Result<T, Breach> {
        match self.silent.lock().take() {
            Some(told) => Err(Breach::new("call.unanswered", told)),
            None => found,
        }
    }

    async fn answer<T>(
        &self,
        what: impl FnOnce() -> String + Send,
        call: impl Future<Output = T> + Unpin + Send,
    ) -> Option<T> {
        if self.silent.lock().is_some() {
            return None;
        }
        let answer = self.within(call).await;
        if answer.is_none() {
            *self.silent.lock() = Some(format!("{} has not answered within {} ms", what(), self.call_ms));
        }
        answer
    }

    /// A clock that lets time pass as soon as anybody waits says nothing about how long a call takes: it has no end there.
    async fn within<T>(&self, mut call: impl Future<Output = T> + Unpin + Send) -> Option<T> {
        let began_ms = self.clock.now();
        let until_ms = began_ms.saturating_add(self.call_ms);
        let mut waits: Option<Option<Pin<Box<dyn Future<Output = ()> + Send>>>> = None;
        poll_fn(|context| {
            if let Poll::Ready(answer) = Pin::new(&mut call).poll(context) {
                return Poll::Ready(Some(answer));
            }
            let end = waits.get_or_insert_with(|| {
                let mut moment = self.clock.sleep_until(began_ms.saturating_add(1));
                let passes = moment.as_mut().poll(context).is_pending();
                passes.then(|| self.clock.sleep_until(until_ms))
            });
            match end.as_mut().map(|end| end.as_mut().poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                Some(Poll::Pending) | None => Poll::Pending,
            }
        })
        .await
    }

    async fn told<T>(
        &self,
        what: impl FnOnce() -> String + Send,
        call: impl Future<Output = Result<T, PlatformError>> + Unpin + Send,
    ) -> Result<T, PlatformError> {
        let answer = self.answer(what, call).await;
        answer.unwrap_or_else(|| Err(PlatformError::Unavailable("no answer".to_owned())))
    }

    async fn done(&self, what: impl FnOnce() -> String + Send, call: Given<'_>) -> EffectOutcome {
        let answer = self.answer(what, call).await;
        answer.unwrap_or_else(|| EffectOutcome::Unknown {
            reason: "no answer".into(),
        })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        self.platform.capabilities()
    }

    pub(super) async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        let what = || format!("a look at {} targets", targets.len());
        self.told(what, self.platform.observe(targets)).await
    }

    pub(super) async fn probe(&self, targets: &[TargetId]) -> Result<Vec<Probe>, PlatformError> {
        let what = || format!("a probe of {} targets", targets.len());
        self.told(what, self.platform.probe(targets)).await
    }

    pub(super) async fn ingress_barrier(&self, targets: &[TargetId]) -> Result<Vec<Barrier>, PlatformError> {
        let what = || format!("a question for {} barriers", targets.len());
        self.told(what, self.platform.ingress_barrier(targets)).await
    }

    pub(super) async fn control_endpoint(
        &self,
        target: &TargetId,
        version: &Version,
    ) -> Result<Arc<str>, PlatformError> {
        let what = || format!("a question for the endpoint of {version} at {target}");
        self.told(what, self.platform.control_endpoint(target, version)).await
    }

    pub(super) async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        let what = || format!("a question for news from {cursor}");
        self.told(what, self.platform.watch(cursor)).await
    }

    pub(super) async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        let what = || format!("a fence of {target} at {}", generation.0);
        self.done(what, self.platform.fence(target, generation)).await
    }

    pub(super) async fn desired(&self, scope: &str, version: &Version, key: &EffectKey) -> EffectOutcome {
        let what = || format!("a word on newborns of {scope}");
        self.done(what, self.platform.desired(scope, version, key)).await
    }

    /// One order.
    pub(super) fn give<'f>(&'f self, target: &'f TargetId, ask: &'f Ask, key: &'f EffectKey) -> Given<'f> {
        let platform = self.platform;
        let call = match ask {
            Ask::Replace(version) => platform.replace(target, version, key),
            Ask::InPlace(version) => platform.replace_in_place(target, version, key),
            Ask::Prefetch(version) => platform.prefetch(target, version, key),
            Ask::Ingress(order) => platform.ingress(target, *order, key),
            Ask::Config(version) => platform.apply_config(target, version, key),
            Ask::Spawn(version) => platform.spawn(target, version, key),
            Ask::Stop(instance) => platform.stop(target, *instance, key),
            Ask::Reset(version) => platform.reset(target, version, key),
            Ask::HandOver(order, from, to) => platform.hand_over(target, *order, from, to, key),
        };
        Box::pin(self.done(move || format!("{ask:?} of {target}"), call))
    }
}
