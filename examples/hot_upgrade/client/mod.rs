//! Clients that check every byte: long-lived connections and short ones, led by a balancer that heeds `/healthz`.

mod deaths;
pub(crate) mod http;
mod long;
mod short;
mod tally;
mod waits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

pub(crate) use self::tally::{Tally, micros};
pub(crate) use self::waits::Window;

/// Longer than any wait for an answer may be.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the balancer asks each target.
const HEALTH_EVERY: Duration = Duration::from_millis(50);

/// After so long it has heard of a way that was closed, also on a busy machine.
pub(crate) const HEARD_MS: u64 = 1_000;

/// One target as clients see it.
#[derive(Debug)]
pub(crate) struct Site {
    /// Targets of one application stand in for each other.
    pub(crate) app: usize,
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    /// `None` where the proxy does not speak it. Such a proxy moves no connections either, and can ask nobody but clients of
    /// HTTP to end theirs: long-lived ones are of HTTP there.
    pub(crate) framed: Option<SocketAddr>,
    /// What the path of its health is.
    pub(crate) health: &'static str,
    /// As it said last.
    pub(crate) takes_traffic: AtomicBool,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sites: Vec<Site>,
    pub(crate) tally: Tally,
    /// Which round runs: longest answers are told for each.
    pub(crate) round: AtomicU32,
    stop: AtomicBool,
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Clients {
    /// Begins the traffic: `connections` long-lived ones over the fleet, and two short ones at a time at each target.
    pub(crate) fn start(sites: Vec<Site>, tally: Tally, connections: usize, seed: u64) -> Self {
        let count = sites.len();
        let shared = Arc::new(Shared {
            sites,
            tally,
            round: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for site in 0..count {
            tasks.spawn(watch_health(Arc::clone(&shared), site));
            tasks.spawn(short::http(
                Arc::clone(&shared),
                site,
                Draw::new(seed, 1 << 32 | site as u64),
            ));
            tasks.spawn(short::tcp(
                Arc::clone(&shared),
                site,
                Draw::new(seed, 2 << 32 | site as u64),
            ));
        }
        for connection in 0..connections {
            let site = connection % count;
            let draw = Draw::new(seed, connection as u64);
            let kind = match shared.sites[site].framed {
                Some(_) => connection / count % 3,
                None => 0,
            };
            match kind {
                0 => tasks.spawn(long::http(Arc::clone(&shared), connection, site, draw)),
                1 => tasks.spawn(long::bytes(Arc::clone(&shared), connection, site, draw, false)),
                _ => tasks.spawn(long::bytes(Arc::clone(&shared), connection, site, draw, true)),
            };
        }
        Self { shared, tasks }
    }

    /// Ends the traffic: every request under way gets its answer.
    pub(crate) async fn finish(mut self) -> Arc<Shared> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.shared
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Where a client of this target's application should go: there, as long as it takes traffic.
    fn balance(&self, home: usize, draw: &mut Draw) -> usize {
        let takes = |site: &Site| site.takes_traffic.load(Ordering::Relaxed);
        if takes(&self.sites[home]) {
            return home;
        }
        let app = self.sites[home].app;
        let others: Vec<usize> = (0..self.sites.len())
            .filter(|&other| self.sites[other].app == app && takes(&self.sites[other]))
            .collect();
        // Where nobody wants any, it is as good as elsewhere.
        let at = draw.below(others.len().max(1) as u64);
        usize::try_from(at)
            .ok()
            .and_then(|at| others.get(at))
            .copied()
            .unwrap_or(home)
    }
}

/// Whether the application behind a target answers.
pub(crate) async fn answers(site: &Site) -> bool {
    http::get(site.http, "/").await.is_ok_and(|status| status == 200)
}

async fn watch_health(shared: Arc<Shared>, at: usize) {
    let site = &shared.sites[at];
    while !shared.stopped() {
        let healthy = http::get(site.http, site.health)
            .await
            .is_ok_and(|status| status == 200);
        site.takes_traffic.store(healthy, Ordering::Relaxed);
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed, the same clients.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut draw = Self(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        draw.next();
        draw
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `bound`, which must not be 0; the bias of the remainder does not matter here.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A message that nobody else sends.
    fn message(&mut self, length: usize) -> Vec<u8> {
        let words = (0..length.div_ceil(8)).map(|_| self.next().to_le_bytes());
        let mut bytes: Vec<u8> = words.flatten().collect();
        bytes.truncate(length);
        bytes
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(40 + self.below(120))
    }
}

/// Bytes of the answer that are not those of the question; what is missing or too much is wrong as well.
fn wrong_bytes(sent: &[u8], got: &[u8]) -> u64 {
    let differing = sent.iter().zip(got).filter(|(a, b)| a != b).count();
    (differing + sent.len().abs_diff(got.len())) as u64
}
