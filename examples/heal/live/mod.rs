//! The same over sockets: every server, proxy and the center with threads of its own.

mod client;
mod hall;
mod office;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use unattended_examples_support::Failure;

use self::client::Client;
use self::hall::Hall;
use self::office::Office;
use crate::desk::Desk;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::scenes::{Broken, PROXIES, SERVERS, Timing};
use crate::score::Log;

/// More than this, and the ports of loopback run out.
const MAX_RPS: u32 = 200;

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    began: Instant,
    stop: AtomicBool,
    pub(super) timing: Timing,
    pub(super) log: Mutex<Log>,
}

impl Shared {
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What is broken now.
    pub(super) fn broken(&self) -> Broken {
        self.timing.at(self.now_ms()).0
    }
}

#[expect(clippy::disallowed_methods, reason = "real time is what this part is about")]
pub(super) fn rest(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

pub(crate) fn run(rps: u32, seed: u64) -> Result<(Log, Desk), Failure> {
    if rps > MAX_RPS {
        return Err(Failure::Input(format!(
            "--rps {rps}: over sockets at most {MAX_RPS}; with --virtual up to 1000"
        )));
    }
    let timing = Timing::of(rps, 3);
    #[expect(clippy::disallowed_methods, reason = "real time is what this part is about")]
    let began = Instant::now();
    let shared = Arc::new(Shared {
        began,
        stop: AtomicBool::new(false),
        timing,
        log: Mutex::new(Log::new(timing)),
    });
    let mut hall = Hall::open(&shared)?;
    let mut random = Random::new(seed);
    // Who may speak in which proxy's name: what a certificate would say.
    let tokens: Vec<u64> = (0..PROXIES).map(|_| random.next()).collect();
    let office = Office::open(&shared, seed, tokens.clone())?;
    let mut clients = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        let proxy = Arc::new(Mutex::new(Proxy::new(number, seed, rps)?));
        clients.push(Client::start(
            &shared,
            proxy,
            rps,
            *token,
            hall.addresses(),
            office.address(),
        )?);
    }
    let mut broken = Broken::Nothing;
    while shared.now_ms() < timing.total_ms() {
        rest(10);
        let now = shared.broken();
        if now != broken {
            hall.change(broken, now)?;
            broken = now;
        }
        look(&shared, &clients);
    }
    shared.stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(Client::join);
    hall.close();
    let desk = office.close()?;
    let log = Arc::into_inner(shared)
        .ok_or_else(|| Failure::Internal("a thread is left".to_owned()))?
        .log
        .into_inner();
    Ok((log, desk))
}

fn look(shared: &Shared, clients: &[Client]) {
    for (number, client) in clients.iter().enumerate() {
        let now_ms = shared.now_ms();
        let views: Vec<_> = {
            let proxy = client.proxy.lock();
            (0..SERVERS)
                .map(|server| (proxy.keeps(server, now_ms), proxy.avoids(server, now_ms)))
                .collect()
        };
        let mut log = shared.log.lock();
        for (server, (keeps, avoids)) in views.into_iter().enumerate() {
            log.look(now_ms, number, server, keeps, avoids);
        }
    }
}
