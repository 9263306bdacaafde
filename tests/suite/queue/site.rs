//! Changes over simulated worlds that share one clock: each change lives in a world of its own, or several in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::queue::{Changes, Limits, Queue, QueueHandle, QueueParts, QueueRunError, Ticket, drive};
use unattended::upgrade::{
    Capabilities, Clock, EffectKey, EffectOutcome, Generation, IngressOrder, Journal, MemoryJournal, News, Observation,
    Platform, PlatformError, TargetId, Version,
};
use unattended::{Autopilot, Change, Handle};
use unattended_simulated::{SimClock, Simulated, Stalled};

use crate::support::{Case, MINUTE_MS, NEW, OLD, Pager};

/// One change of the site: its world, its journal, and what it is.
struct Place {
    case: Case,
    sim: Arc<Simulated>,
    journal: Arc<MemoryJournal>,
    /// From which version to which.
    versions: (&'static str, &'static str),
}

/// An order that took a target out of service: when, by which change, whom, and under which generation.
pub(crate) type Disturbed = (u64, String, String, u64);

pub(crate) struct Site {
    pub(crate) clock: SimClock,
    executor: unattended_simulated::Executor,
    _master: Arc<Simulated>,
    places: Mutex<BTreeMap<String, Place>>,
    pub(crate) disturbed: Arc<Mutex<Vec<Disturbed>>>,
    pub(crate) pager: Arc<Pager>,
    /// How long the opening of a change takes, once for each number, in milliseconds.
    pub(crate) slow: Mutex<BTreeMap<String, Vec<u64>>>,
    /// How often each change was opened.
    pub(crate) opened: Mutex<BTreeMap<String, u32>>,
}

impl Site {
    pub(crate) fn new() -> Arc<Self> {
        let master = Case::calm(1, 2).simulated();
        Arc::new(Self {
            clock: master.clock(),
            executor: master.executor(),
            _master: master,
            places: Mutex::default(),
            disturbed: Arc::default(),
            pager: Arc::default(),
            slow: Mutex::default(),
            opened: Mutex::default(),
        })
    }

    /// A change in a world of its own.
    pub(crate) fn add(&self, id: &str, case: Case) -> Ticket {
        let sim = case.simulated();
        self.add_in(id, case, sim, (OLD, NEW))
    }

    /// A change of the targets of another one.
    pub(crate) fn add_beside(&self, id: &str, other: &str) -> Ticket {
        self.add_between(id, other, (OLD, NEW))
    }

    /// The same from another version, or to another.
    pub(crate) fn add_between(&self, id: &str, other: &str, versions: (&'static str, &'static str)) -> Ticket {
        let (case, sim) = {
            let places = self.places.lock();
            let place = &places[other];
            (place.case.clone(), Arc::clone(&place.sim))
        };
        self.add_in(id, case, sim, versions)
    }

    fn add_in(&self, id: &str, case: Case, sim: Arc<Simulated>, versions: (&'static str, &'static str)) -> Ticket {
        let place = Place {
            case,
            sim,
            journal: Arc::new(MemoryJournal::new()),
            versions,
        };
        let ticket = Ticket::of(&change(id, &place)).unwrap();
        self.places.lock().insert(id.to_owned(), place);
        ticket
    }

    /// Has a change find the journal of another one where its own should be.
    pub(crate) fn takes_journal_of(&self, id: &str, other: &str) {
        let mut places = self.places.lock();
        let journal = Arc::clone(&places[other].journal);
        places.get_mut(id).unwrap().journal = journal;
    }

    /// Does something to a change's case after it was submitted.
    pub(crate) fn alter(&self, id: &str, alter: impl FnOnce(&mut Case)) {
        alter(&mut self.places.lock().get_mut(id).unwrap().case);
    }

    /// A world as it is: how many run the old version, the new one, and how many there are.
    pub(crate) fn census(&self, id: &str) -> (u64, u64, u64) {
        let sim = Arc::clone(&self.places.lock()[id].sim);
        sim.clock().advance_to(self.clock.now());
        let census = sim.census();
        (census.on_old_verified, census.on_new_verified, census.targets)
    }

    pub(crate) fn queue(self: &Arc<Self>, journal: Arc<dyn Journal>) -> Driven {
        self.limited(journal, Limits::for_fleet(1_000))
    }

    pub(crate) fn limited(self: &Arc<Self>, journal: Arc<dyn Journal>, limits: Limits) -> Driven {
        let queue = Queue::new(limits).unwrap();
        let changes: Arc<dyn Changes> = Arc::clone(self) as Arc<dyn Changes>;
        let clock = Arc::new(self.clock.clone());
        let notifier = Arc::clone(&self.pager);
        let (handle, run) = drive(queue, QueueParts::new(journal, clock, changes, notifier));
        Driven {
            site: Arc::clone(self),
            handle,
            run,
        }
    }

    /// When a change touched its first target, and its last.
    pub(crate) fn span(&self, id: &str) -> (u64, u64) {
        let disturbed = self.disturbed.lock();
        let mut times = disturbed
            .iter()
            .filter(|(_, change, ..)| change == id)
            .map(|(at, ..)| *at);
        let first = times.next().unwrap();
        (first, times.next_back().unwrap_or(first))
    }
}

fn change(id: &str, place: &Place) -> Change {
    let (from, to) = place.versions;
    Change::new(id, super::li(), from.into(), to.into(), place.case.fleet())
        .policy(place.case.policy.clone())
        .settings(place.case.settings.clone())
        .seed(place.case.seed)
}

#[async_trait]
impl Changes for Site {
    async fn open(&self, ticket: &Ticket) -> Result<(Autopilot, Change), String> {
        *self.opened.lock().entry(ticket.change.clone()).or_default() += 1;
        let slow_ms = self.slow.lock().get_mut(&ticket.change).and_then(Vec::pop);
        if let Some(slow_ms) = slow_ms {
            self.clock.sleep_until(self.clock.now() + slow_ms).await;
        }
        let places = self.places.lock();
        let place = places.get(&ticket.change).ok_or("nobody knows it")?;
        let seen = || Seen {
            sim: Arc::clone(&place.sim),
            master: self.clock.clone(),
            change: ticket.change.clone(),
            disturbed: Arc::clone(&self.disturbed),
        };
        let pilot = Autopilot::builder()
            .platform(seen())
            .metrics(seen())
            .journal(Arc::clone(&place.journal) as Arc<dyn Journal>)
            .clock(self.clock.clone())
            .rules(place.case.guard())
            .notifier(Arc::clone(&self.pager))
            .level(place.case.level)
            .build()
            .map_err(|error| error.to_string())?;
        Ok((pilot, change(&ticket.change, place)))
    }
}

/// A queue that is driven.
pub(crate) struct Driven {
    site: Arc<Site>,
    pub(crate) handle: QueueHandle,
    run: futures::future::BoxFuture<'static, Result<(), QueueRunError>>,
}

impl Driven {
    /// Runs it beside somebody who does something, until that is done. Then it is left.
    pub(crate) fn beside(mut self, other: impl Future<Output = ()>) -> Result<(), QueueRunError> {
        let handle = self.handle.clone();
        let run = async {
            let other = async {
                other.await;
                handle.leave();
            };
            futures::join!(&mut self.run, other).0
        };
        match self.site.executor.run(run) {
            Ok(ended) => ended,
            Err(Stalled { .. }) => panic!("it stands still: {:?}", self.handle.summary()),
        }
    }

    /// Runs it until nothing is left in the queue.
    pub(crate) fn finish(self) {
        let (handle, site) = (self.handle.clone(), Arc::clone(&self.site));
        let ended = self.beside(async move {
            until_empty(&site, &handle, |_| ()).await;
        });
        ended.unwrap();
    }

    /// Runs it for so long, and leaves it lying there; how it ended, if it did before.
    pub(crate) fn run_for(mut self, ms: u64) -> Option<Result<(), QueueRunError>> {
        let mut late = self.site.clock.sleep_until(self.site.clock.now() + ms).fuse();
        let mut run = (&mut self.run).fuse();
        let run = async {
            futures::select_biased! {
                ended = run => Some(ended),
                () = late => None,
            }
        };
        self.site.executor.run(run).unwrap()
    }

    /// Runs it until it is empty, or hangs.
    pub(crate) fn finish_or_hang(mut self) {
        let (handle, site) = (self.handle.clone(), Arc::clone(&self.site));
        let run = async {
            let mut empty = Box::pin(empty(&site, &handle, |_| ()).fuse());
            let mut run = (&mut self.run).fuse();
            futures::select_biased! {
                ended = run => ended.unwrap(),
                _ = empty => {}
            }
        };
        self.site.executor.run(run).unwrap();
    }
}

/// Waits until everything in the queue has ended, or for so long that somebody is dead. Whether it has.
async fn empty(site: &Site, handle: &QueueHandle, mut meanwhile: impl FnMut(&QueueHandle)) -> bool {
    for _ in 0..24 * 60 {
        site.clock.sleep_until(site.clock.now() + MINUTE_MS).await;
        if handle.summary().is_some_and(|summary| summary.changes.is_empty()) {
            return true;
        }
        meanwhile(handle);
    }
    false
}

/// Waits until everything in the queue has ended.
pub(crate) async fn until_empty(site: &Site, handle: &QueueHandle, meanwhile: impl FnMut(&QueueHandle)) {
    let is_empty = empty(site, handle, meanwhile).await;
    assert!(is_empty, "it does not end: {:#?}", handle.summary());
}

/// Waits until `so` of a change's handle.
pub(crate) async fn until(site: &Site, handle: &QueueHandle, id: &str, so: impl Fn(&Handle) -> bool) {
    loop {
        if handle.change(id).is_some_and(|handle| so(&handle)) {
            return;
        }
        site.clock.sleep_until(site.clock.now() + 30_000).await;
    }
}

/// A world as one change sees it, on the clock of all.
struct Seen {
    sim: Arc<Simulated>,
    master: SimClock,
    change: String,
    disturbed: Arc<Mutex<Vec<Disturbed>>>,
}

impl Seen {
    fn now(&self) -> &Simulated {
        self.sim.clock().advance_to(self.master.now());
        &self.sim
    }

    fn note(&self, target: &TargetId, key: &EffectKey) {
        // Written as `attempt/generation/step/ordinal`.
        let generation = key.to_string().split('/').nth(1).unwrap().parse().unwrap();
        self.disturbed
            .lock()
            .push((self.master.now(), self.change.clone(), target.to_string(), generation));
    }
}

#[async_trait]
impl Platform for Seen {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.sim.capabilities();
        capabilities.watch = false;
        capabilities
    }

    async fn observe(&self, targets: &[TargetId]) -> Result<Vec<Observation>, PlatformError> {
        self.now().observe(targets).await
    }

    async fn replace(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.note(target, key);
        self.now().replace(target, version, key).await
    }

    async fn fence(&self, target: &TargetId, generation: Generation) -> EffectOutcome {
        self.now().fence(target, generation).await
    }

    async fn replace_in_place(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.note(target, key);
        self.now().replace_in_place(target, version, key).await
    }

    async fn prefetch(&self, target: &TargetId, version: &Version, key: &EffectKey) -> EffectOutcome {
        self.now().prefetch(target, version, key).await
    }

    async fn ingress(&self, target: &TargetId, order: IngressOrder, key: &EffectKey) -> EffectOutcome {
        self.now().ingress(target, order, key).await
    }

    async fn watch(&self, cursor: u64) -> Result<News, PlatformError> {
        self.now().watch(cursor).await
    }
}

#[async_trait]
impl MetricSource for Seen {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.now().follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.now().history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        self.now().read(index, end_ms).await
    }
}
