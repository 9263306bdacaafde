//! What clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::deaths::Deaths;
use super::waits::{Waits, Window};

/// Most ends that are kept one by one; more are all counted as unforgiven.
const ENDS: usize = 1 << 20;

/// Most reasons that are kept.
const REASONS: usize = 20;

/// Counts of all clients together.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) requests: AtomicU64,
    failed: Mutex<Ends>,
    lost: Mutex<Ends>,
    /// Connections that the server asked to end, and that ended between two messages.
    pub(crate) ended: AtomicU64,
    /// Connections that clients took elsewhere, since their target said that it wants no traffic.
    pub(crate) left: AtomicU64,
    pub(crate) bytes_wrong: AtomicU64,
    deaths: Mutex<Deaths>,
    began: Instant,
    answers_us: Mutex<Histogram<u64>>,
    longest_us: Mutex<Vec<u64>>,
    waits: Waits,
    /// How many connections stood still for so long at most, in microseconds, and no less than the bound before.
    stood_us: Mutex<BTreeMap<u64, u64>>,
}

impl Tally {
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            requests: AtomicU64::default(),
            failed: Mutex::default(),
            lost: Mutex::default(),
            ended: AtomicU64::default(),
            left: AtomicU64::default(),
            bytes_wrong: AtomicU64::default(),
            deaths: Mutex::default(),
            began: crate::now(),
            answers_us: Mutex::new(Histogram::new(3).ok()?),
            longest_us: Mutex::default(),
            waits: Waits::default(),
            stood_us: Mutex::default(),
        })
    }

    /// A process of this target, which lived until `from`, dies.
    pub(crate) fn dies(&self, site: usize, from: Instant) {
        self.deaths.lock().begins(site, from);
    }

    /// Whoever was dying at this target is gone now.
    pub(crate) fn died(&self, site: usize) {
        self.deaths.lock().ended(site, crate::now());
    }

    /// A process of this target has died, between these times.
    pub(crate) fn has_died(&self, site: usize, from: Instant, gone: Instant) {
        let mut deaths = self.deaths.lock();
        deaths.begins(site, from);
        deaths.ended(site, gone);
    }

    /// A connection that was opened then was served now.
    pub(super) fn served(&self, site: usize, opened: Instant) {
        self.deaths.lock().served(site, opened, crate::now());
    }

    /// A request, begun at `since`, that got no whole answer, or one that says it failed.
    pub(crate) fn failed(&self, site: usize, since: Instant, refused: bool, reason: &str) {
        self.failed.lock().add(site, since, refused, reason);
    }

    /// A connection that ended and should not have; what was asked at `since` was answered.
    pub(crate) fn lost(&self, site: usize, since: Instant, reason: &str) {
        self.lost.lock().add(site, since, false, reason);
    }

    /// Requests that failed: those that a living process could have served, and those that went down with one that died.
    pub(crate) fn failed_counts(&self) -> (u64, u64) {
        self.failed.lock().counts(&self.deaths.lock())
    }

    /// Connections that were lost, likewise.
    pub(crate) fn lost_counts(&self) -> (u64, u64) {
        self.lost.lock().counts(&self.deaths.lock())
    }

    /// Why requests failed and connections were lost: the first few that no death explains.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let (failed, lost, deaths) = (self.failed.lock(), self.lost.lock(), self.deaths.lock());
        let unexplained = failed
            .ends
            .iter()
            .chain(&lost.ends)
            .filter(|end| !end.is_with_owner(&deaths));
        let mut all: Vec<&End> = unexplained.collect();
        all.sort_by_key(|end| end.at);
        let words = |end: &&End| {
            let seconds = end.at.duration_since(self.began).as_secs_f64();
            format!("at {seconds:.3} s, target {}: {}", end.site, end.reason)
        };
        let sites: BTreeSet<usize> = all.iter().map(|end| end.site).collect();
        let deaths = sites.into_iter().filter_map(|site| deaths.words(site, self.began));
        all.iter().take(REASONS).map(words).chain(deaths).collect()
    }

    /// An answer took so long.
    pub(crate) fn answered(&self, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.answers_us.lock().saturating_record(micros(took));
    }

    /// The longest that one connection waited for an answer in one round.
    pub(crate) fn longest(&self, took: Duration) {
        self.longest_us.lock().push(micros(took));
    }

    /// A long-lived connection at this target got an answer.
    pub(crate) fn waited(&self, connection: usize, site: usize, asked: Instant, took: Duration) {
        self.waits.add(connection, site, asked, took);
    }

    /// A round is over, in which connections moved at these targets within these times.
    pub(crate) fn moved(&self, windows: &[Window]) {
        let ordinary_us = self.answers_us.lock().value_at_quantile(0.5);
        self.waits.settle(windows, ordinary_us);
    }

    /// Connections of one target moved: (bound in microseconds, how many stood still for no longer), rising.
    pub(crate) fn stood(&self, counts: &[(u64, u64)]) {
        let mut all = self.stood_us.lock();
        let mut before = 0;
        for &(bound_us, within) in counts {
            *all.entry(bound_us).or_default() += within.saturating_sub(before);
            before = within;
        }
    }

    /// How long connections stood still, of all targets and rounds; bounds that hold.
    pub(crate) fn stood_ms(&self) -> [f64; 3] {
        let all = self.stood_us.lock();
        let connections: u64 = all.values().sum();
        [50, 99, 100].map(|percent| {
            let rank = (connections * percent).div_ceil(100);
            let mut within = 0;
            let bound_us = all.iter().find_map(|(bound_us, count)| {
                within += count;
                (within >= rank && rank > 0).then_some(*bound_us)
            });
            Duration::from_micros(bound_us.unwrap_or(0)).as_secs_f64() * 1e3
        })
    }

    /// How much longer than an ordinary one the longest answer took that a connection was waiting for while it moved, or got
    /// right afterwards; and the same, in the same time, of connections that stayed where they were.
    pub(crate) fn pauses_ms(&self) -> [[f64; 3]; 2] {
        self.waits.pauses_us().map(quantiles_ms)
    }

    /// Some connections moved.
    pub(crate) fn saw_moves(&self) -> bool {
        let [moved, _] = self.waits.pauses_us();
        !moved.is_empty()
    }

    /// The same of the longest answers of whole rounds, whatever was the reason.
    pub(crate) fn longest_ms(&self) -> [f64; 3] {
        let ordinary = self.answers_us.lock().value_at_quantile(0.5);
        let all = self.longest_us.lock();
        quantiles_ms(all.iter().map(|us| us.saturating_sub(ordinary)).collect())
    }
}

/// Quantiles 0.5, 0.99 and 1, in milliseconds.
fn quantiles_ms(mut all_us: Vec<u64>) -> [f64; 3] {
    all_us.sort_unstable();
    [50, 99, 100].map(|percent| {
        let rank = (all_us.len() * percent).div_ceil(100).saturating_sub(1);
        let us = all_us.get(rank).copied().unwrap_or(0);
        Duration::from_micros(us).as_secs_f64() * 1e3
    })
}

/// Ends of one kind.
#[derive(Debug, Default)]
struct Ends {
    ends: Vec<End>,
    more: u64,
}

/// Something ended that should not have.
#[derive(Debug)]
struct End {
    site: usize,
    /// Between these times.
    since: Instant,
    at: Instant,
    /// The kernel refused it: no process of the target had the listener open, so none that lived could have served it.
    refused: bool,
    reason: Box<str>,
}

impl Ends {
    fn add(&mut self, site: usize, since: Instant, refused: bool, reason: &str) {
        if self.ends.len() >= ENDS {
            self.more += 1;
            return;
        }
        self.ends.push(End {
            site,
            since,
            at: crate::now(),
            refused,
            reason: reason.into(),
        });
    }

    fn counts(&self, deaths: &Deaths) -> (u64, u64) {
        let with_owner = self.ends.iter().filter(|end| end.is_with_owner(deaths)).count() as u64;
        (self.ends.len() as u64 + self.more - with_owner, with_owner)
    }
}

impl End {
    fn is_with_owner(&self, deaths: &Deaths) -> bool {
        deaths.explain(self.site, [self.since, self.at], self.refused)
    }
}

pub(crate) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
