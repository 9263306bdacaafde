//! A proxy's threads: those that send requests, and those that talk to the center.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use unattended::selfheal::Ending;
use unattended_examples_support::Failure;

use super::wire::{self, Kind};
use super::{Shared, rest};
use crate::proxy::Proxy;
use crate::scenes::{Effect, PERIOD_MS, SERVERS, TIME_OUT_MS};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) proxy: Arc<Mutex<Proxy>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread of a proxy needs.
#[derive(Debug, Clone)]
struct Seat {
    shared: Arc<Shared>,
    proxy: Arc<Mutex<Proxy>>,
    number: usize,
    addresses: Vec<SocketAddr>,
}

impl Client {
    pub(super) fn start(
        shared: &Arc<Shared>,
        proxy: Arc<Mutex<Proxy>>,
        rps: u32,
        token: u64,
        addresses: Vec<SocketAddr>,
        center: SocketAddr,
    ) -> Result<Self, Failure> {
        let number = proxy.lock().number;
        let seat = Seat {
            shared: Arc::clone(shared),
            proxy: Arc::clone(&proxy),
            number,
            addresses,
        };
        let mut line = TcpStream::connect(center).map_err(Failure::internal)?;
        line.set_nodelay(true).map_err(Failure::internal)?;
        wire::write(&mut line, Kind::Hello, &wire::numbers(&[token])).map_err(Failure::internal)?;
        let writer = Arc::new(Mutex::new(line.try_clone().map_err(Failure::internal)?));

        // As many as wait for a time-out at once when everything is lost.
        let workers = (u64::from(rps) * TIME_OUT_MS / 1_000 + 2).min(24);
        let mut threads: Vec<JoinHandle<()>> = (0..workers)
            .map(|worker| {
                let seat = seat.clone();
                thread::spawn(move || seat.work(worker, workers, rps))
            })
            .collect();
        let (reporting, to_center) = (seat.clone(), Arc::clone(&writer));
        threads.push(thread::spawn(move || reporting.report(&to_center)));
        threads.push(thread::spawn(move || seat.obey(line, &writer)));
        Ok(Self { proxy, threads })
    }

    pub(super) fn join(self) {
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Seat {
    /// Sends every `workers`-th request of the proxy on its beat.
    fn work(&self, worker: u64, workers: u64, rps: u32) {
        let mut beat = worker;
        // Proxies are not in step with each other.
        let phase_ms = self.number as u64 * 1_000 / u64::from(rps) / 20;
        while !self.shared.stopped() {
            let due_ms = beat * 1_000 / u64::from(rps) + phase_ms;
            let now_ms = self.shared.now_ms();
            if now_ms < due_ms {
                rest((due_ms - now_ms).min(50));
                continue;
            }
            // A beat that was missed while a request took its time is not made up for.
            beat = (beat + workers)
                .max((now_ms - phase_ms.min(now_ms)) * u64::from(rps) / 1_000 / workers * workers + worker);
            let server = self.proxy.lock().pick(now_ms);
            let (ending, latency_us) = self.call(server);
            let now_ms = self.shared.now_ms();
            let bad = self.proxy.lock().done(server, ending, latency_us, now_ms);
            self.shared
                .log
                .lock()
                .ended(now_ms, self.number, server, bad, ending != Ending::Answered);
        }
    }

    /// One request, and how it ended.
    fn call(&self, server: usize) -> (Ending, u64) {
        #[expect(clippy::disallowed_methods, reason = "real time is what this part is about")]
        let began = std::time::Instant::now();
        // Lost packets go into the hole behind the servers.
        let lost = self.shared.broken().effect(self.number, server) == Effect::Lost;
        let address = self.addresses[if lost { SERVERS } else { server }];
        let ending = match exchange(&address) {
            Ok(b'K') => Ending::Answered,
            Ok(_) => Ending::ServerError,
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                Ending::TimedOut
            }
            Err(_) => Ending::ConnectFailure,
        };
        (ending, u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn report(&self, center: &Mutex<TcpStream>) {
        let mut next_ms = PERIOD_MS * self.number as u64 / 20;
        while !self.shared.stopped() {
            let now_ms = self.shared.now_ms();
            if now_ms < next_ms {
                rest((next_ms - now_ms).min(50));
                continue;
            }
            next_ms += PERIOD_MS;
            let bytes = self.proxy.lock().period(now_ms);
            if let Ok(bytes) = bytes {
                // Without a center everything goes on.
                let _ = wire::write(&mut *center.lock(), Kind::Report, &bytes);
            }
        }
        let _ = center.lock().shutdown(std::net::Shutdown::Both);
    }

    fn obey(&self, mut center: TcpStream, writer: &Arc<Mutex<TcpStream>>) {
        let mut probes = Vec::new();
        while let Ok((kind, body)) = wire::read(&mut center) {
            match kind {
                Kind::Bulletin => {
                    // A detector that forgot its nodes would be a fault of the program; the others go on.
                    if self.proxy.lock().hear(&body, self.shared.now_ms()).is_err() {
                        break;
                    }
                }
                Kind::Probe => {
                    if let Some([order, server, calls, within_ms]) = wire::parse::<4>(&body) {
                        let (seat, writer) = (self.clone(), Arc::clone(writer));
                        probes.push(thread::spawn(move || {
                            let (good, bad) = seat.probe(server, calls, within_ms);
                            let body = wire::numbers(&[order, good, bad]);
                            let _ = wire::write(&mut *writer.lock(), Kind::Probed, &body);
                        }));
                    }
                }
                Kind::Hello | Kind::Report | Kind::Probed => break,
            }
        }
        for probe in probes {
            let _ = probe.join();
        }
    }

    /// Calls a server until enough is known or the time is over.
    fn probe(&self, server: u64, calls: u64, within_ms: u64) -> (u64, u64) {
        let Some(server) = usize::try_from(server).ok().filter(|server| *server < SERVERS) else {
            return (0, 0);
        };
        let until_ms = self.shared.now_ms() + within_ms;
        let (mut good, mut bad) = (0, 0);
        while good + bad < calls && bad < 3 && self.shared.now_ms() < until_ms {
            let (ending, latency_us) = self.call(server);
            if ending == Ending::Answered && !self.proxy.lock().is_slow(server, latency_us) {
                good += 1;
            } else {
                bad += 1;
            }
        }
        (good, bad)
    }
}

fn exchange(address: &SocketAddr) -> io::Result<u8> {
    let patience = Duration::from_millis(TIME_OUT_MS);
    let mut stream = TcpStream::connect_timeout(address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    stream.write_all(b"?")?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}
