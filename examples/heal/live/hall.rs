//! The servers, and the hole into which lost packets fall.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use unattended_examples_support::Failure;

use super::{Shared, rest};
use crate::scenes::{Broken, SERVERS, SERVICE_US};

/// Requests that a server works on at once.
const WORKERS: usize = 6;

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

/// What the servers are told of their fate.
#[derive(Debug)]
pub(super) struct Hall {
    shared: Arc<Shared>,
    servers: Vec<Server>,
    /// Accepts nothing: whoever connects waits in vain.
    hole: TcpListener,
    hole_address: SocketAddr,
}

impl Hall {
    pub(super) fn open(shared: &Arc<Shared>) -> Result<Self, Failure> {
        let hole = TcpListener::bind("127.0.0.1:0").map_err(Failure::internal)?;
        let hole_address = hole.local_addr().map_err(Failure::internal)?;
        let mut hall = Self {
            shared: Arc::clone(shared),
            servers: Vec::new(),
            hole,
            hole_address,
        };
        for number in 0..SERVERS {
            let server = hall.start(number, None)?;
            hall.servers.push(server);
        }
        Ok(hall)
    }

    fn start(&self, number: usize, address: Option<SocketAddr>) -> Result<Server, Failure> {
        let wanted = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = bind(wanted)?;
        let address = listener.local_addr().map_err(Failure::internal)?;
        let listener = Arc::new(listener);
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let workers = (0..WORKERS).map(|_| {
            let (listener, stop, served) = (Arc::clone(&listener), Arc::clone(&stop), Arc::clone(&served));
            let shared = Arc::clone(&self.shared);
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // A client that has given up is no fault of ours.
                    let _ = serve(stream, number, &shared, &served);
                }
            })
        });
        Ok(Server {
            address,
            workers: workers.collect(),
            stop,
        })
    }

    /// The servers, and behind them the hole.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers
            .iter()
            .map(|server| server.address)
            .chain([self.hole_address])
            .collect()
    }

    /// One thing is mended and another breaks. Only death changes anything here; the rest is asked for at each request.
    pub(super) fn change(&mut self, mended: Broken, broken: Broken) -> Result<(), Failure> {
        if let Broken::Dead(number) = mended {
            let revived = self.start(number, Some(self.servers[number].address))?;
            self.servers[number] = revived;
        }
        if let Broken::Dead(number) = broken {
            self.servers[number].end();
        }
        Ok(())
    }

    pub(super) fn close(mut self) {
        self.servers.iter_mut().for_each(Server::end);
        drop(self.hole);
    }
}

impl Server {
    /// Closes the socket: from now on connections are refused.
    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // Wakes one that waits for somebody to serve; which one, does not matter.
            while !worker.is_finished() {
                let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(50));
                rest(1);
            }
            let _ = worker.join();
        }
    }
}

/// The port may still be leaving.
fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(_) if tries < 50 => {
                tries += 1;
                rest(20);
            }
            Err(error) => return Err(Failure::Internal(format!("{address}: {error}"))),
        }
    }
}

fn serve(mut stream: TcpStream, number: usize, shared: &Shared, served: &AtomicU64) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut request = [0];
    stream.read_exact(&mut request)?;
    let broken = shared.broken();
    let factor = if broken == Broken::Slow(number) { 5 } else { 1 };
    rest(SERVICE_US * factor / 1_000);
    let fails = broken == Broken::Half(number) && served.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    stream.write_all(if fails { b"E" } else { b"K" })
}
