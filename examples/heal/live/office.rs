//! The center's side of its connections.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use unattended_examples_support::Failure;

use super::wire::{self, Kind};
use super::{Shared, rest};
use crate::desk::{Desk, Message};
use crate::scenes::{PERIOD_MS, PROXIES, proxy_id};

/// By proxy, where to write to it.
type Lines = Mutex<[Option<TcpStream>; PROXIES]>;

#[derive(Debug)]
pub(super) struct Office {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
    door: JoinHandle<()>,
    clock: JoinHandle<Result<(), Failure>>,
}

impl Office {
    pub(super) fn open(shared: &Arc<Shared>, seed: u64, tokens: Vec<u64>) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::internal)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let desk = Arc::new(Mutex::new(Desk::new(seed)?));
        let lines: Arc<Lines> = Arc::new(Mutex::new(std::array::from_fn(|_| None)));
        let door = {
            let (desk, lines) = (Arc::clone(&desk), Arc::clone(&lines));
            thread::spawn(move || {
                let mut readers = Vec::new();
                // Everybody comes once.
                for _ in 0..PROXIES {
                    let Ok((stream, _)) = listener.accept() else {
                        break;
                    };
                    let (desk, lines, tokens) = (Arc::clone(&desk), Arc::clone(&lines), tokens.clone());
                    readers.push(thread::spawn(move || listen(stream, &desk, &lines, &tokens)));
                }
                for reader in readers {
                    let _ = reader.join();
                }
            })
        };
        let clock = {
            let (shared, desk) = (Arc::clone(shared), Arc::clone(&desk));
            thread::spawn(move || {
                let mut next_ms = 0;
                while !shared.stopped() {
                    let now_ms = shared.now_ms();
                    if now_ms < next_ms {
                        rest((next_ms - now_ms).min(50));
                        continue;
                    }
                    next_ms += PERIOD_MS;
                    let messages = desk.lock().tick(now_ms)?;
                    messages.iter().for_each(|message| send(message, &lines));
                }
                Ok(())
            })
        };
        Ok(Self {
            address,
            desk,
            door,
            clock,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Once all proxies have hung up.
    pub(super) fn close(self) -> Result<Desk, Failure> {
        let broken = || Failure::Internal("the center's thread broke".to_owned());
        self.clock.join().map_err(|_| broken())??;
        self.door.join().map_err(|_| broken())?;
        Arc::into_inner(self.desk).map(Mutex::into_inner).ok_or_else(broken)
    }
}

/// One proxy's connection. Who it is, its token says, once; reports hold no name.
fn listen(mut stream: TcpStream, desk: &Mutex<Desk>, lines: &Lines, tokens: &[u64]) {
    let Ok((Kind::Hello, body)) = wire::read(&mut stream) else {
        return;
    };
    let token = wire::parse::<1>(&body);
    let Some(proxy) = tokens.iter().position(|known| Some([*known]) == token) else {
        return;
    };
    // A proxy that does not read must not hold up the others.
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    lines.lock()[proxy] = stream.try_clone().ok();
    while let Ok((kind, body)) = wire::read(&mut stream) {
        match kind {
            Kind::Report => desk.lock().report(proxy_id(proxy), &body),
            Kind::Probed => {
                if let Some([order, good, bad]) = wire::parse::<3>(&body) {
                    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
                    desk.lock().probed(proxy_id(proxy), order, count(good), count(bad));
                }
            }
            Kind::Hello | Kind::Bulletin | Kind::Probe => break,
        }
    }
    lines.lock()[proxy] = None;
}

fn send(message: &Message, lines: &Lines) {
    let mut lines = lines.lock();
    match message {
        Message::Bulletin(bytes) => {
            for line in lines.iter_mut().flatten() {
                // What is lost is in the next one as well.
                let _ = wire::write(line, Kind::Bulletin, bytes);
            }
        }
        Message::Probe {
            order,
            by,
            server,
            calls,
            within_ms,
        } => {
            let line = usize::try_from(by.0)
                .ok()
                .and_then(|proxy| lines.get_mut(proxy))
                .and_then(Option::as_mut);
            if let Some(line) = line {
                let body = wire::numbers(&[*order, *server as u64, u64::from(*calls), *within_ms]);
                let _ = wire::write(line, Kind::Probe, &body);
            }
        }
    }
}
