//! Connections that live as long as they may.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{Http, NoAnswer, connect};
use super::{Draw, PATIENCE, Shared, wrong_bytes};

/// After a failure, before the next try.
const BREATH: Duration = Duration::from_millis(50);

/// How long the answers of one connection took, by rounds.
struct Waits<'a> {
    shared: &'a Shared,
    connection: usize,
    round: u32,
    longest: Duration,
}

impl<'a> Waits<'a> {
    fn new(shared: &'a Shared, connection: usize) -> Self {
        Self {
            shared,
            connection,
            round: shared.round.load(Ordering::Relaxed),
            longest: Duration::ZERO,
        }
    }

    fn answered(&mut self, site: usize, asked: Instant) {
        let took = asked.elapsed();
        self.shared.tally.answered(took);
        self.shared.tally.waited(self.connection, site, asked, took);
        let round = self.shared.round.load(Ordering::Relaxed);
        if round != self.round {
            self.tell();
            self.round = round;
        }
        self.longest = self.longest.max(took);
    }

    fn tell(&mut self) {
        if self.longest > Duration::ZERO {
            self.shared.tally.longest(std::mem::take(&mut self.longest));
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Requests over one HTTP connection for as long as it stands.
pub(super) async fn http(shared: Arc<Shared>, connection: usize, home: usize, mut draw: Draw) {
    let mut waits = Waits::new(&shared, connection);
    while !shared.stopped() {
        let at = shared.balance(home, &mut draw);
        let began = crate::now();
        match Http::open(shared.sites[at].http).await {
            Ok(open) => http_requests(&shared, home, at, (open, began), &mut draw, &mut waits).await,
            Err(error) => shared.tally.failed(at, began, error.refused, &error.reason),
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn http_requests(
    shared: &Shared,
    home: usize,
    at: usize,
    (mut connection, mut well): (Http, Instant),
    draw: &mut Draw,
    waits: &mut Waits<'_>,
) {
    let tally = &shared.tally;
    let mut served = false;
    while !shared.stopped() {
        if shared.balance(home, draw) != at {
            tally.left.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if connection.is_closed() {
            ended_between(shared, at, well, served, "an HTTP connection");
            return;
        }
        let length = 64 + usize::try_from(draw.below(4_000)).unwrap_or(0);
        let message = Bytes::from(draw.message(length));
        let asked = crate::now();
        match connection.ask(Method::POST, "/echo", message.clone()).await {
            Ok(answer) => {
                (well, served) = (asked, true);
                waits.answered(at, asked);
                if answer.status == 200 {
                    tally
                        .bytes_wrong
                        .fetch_add(wrong_bytes(&message, &answer.body), Ordering::Relaxed);
                } else {
                    tally.failed(
                        at,
                        asked,
                        false,
                        &format!("an HTTP request was answered with {}", answer.status),
                    );
                }
                if answer.last {
                    tally.ended.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            Err(error) => {
                tally.failed(at, well, error.refused, &error.reason);
                if served {
                    tally.lost(at, well, "an HTTP connection ended within a request");
                }
                return;
            }
        }
        let pause = draw.pause();
        tokio::time::sleep(pause).await;
    }
}

/// Messages over one TCP connection for as long as it stands; `framed`: with their length before them.
pub(super) async fn bytes(shared: Arc<Shared>, connection: usize, home: usize, mut draw: Draw, framed: bool) {
    let mut waits = Waits::new(&shared, connection);
    while !shared.stopped() {
        let at = shared.balance(home, &mut draw);
        let site = &shared.sites[at];
        let (address, framed) = match site.framed {
            Some(address) if framed => (address, true),
            _ => (site.tcp, false),
        };
        let began = crate::now();
        match connect(address).await {
            Ok(stream) => messages(&shared, home, at, (stream, began), framed, &mut draw, &mut waits).await,
            Err(error) => shared.tally.failed(at, began, error.refused, &error.reason),
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn messages(
    shared: &Shared,
    home: usize,
    at: usize,
    (mut stream, mut well): (TcpStream, Instant),
    framed: bool,
    draw: &mut Draw,
    waits: &mut Waits<'_>,
) {
    let tally = &shared.tally;
    let mut served = false;
    while !shared.stopped() {
        if shared.balance(home, draw) != at {
            tally.left.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if ended(&stream) {
            ended_between(shared, at, well, served, "a TCP connection");
            return;
        }
        let length = 64 + usize::try_from(draw.below(4_000)).unwrap_or(0);
        let mut message = Vec::with_capacity(length + 4);
        if framed {
            message.extend(u32::try_from(length).unwrap_or(0).to_be_bytes());
        }
        message.extend(draw.message(length));
        let asked = crate::now();
        match exchange(&mut stream, &message).await {
            Ok(answer) => {
                (well, served) = (asked, true);
                waits.answered(at, asked);
                tally
                    .bytes_wrong
                    .fetch_add(wrong_bytes(&message, &answer), Ordering::Relaxed);
            }
            Err(error) => {
                tally.failed(at, well, error.refused, &error.reason);
                if served {
                    tally.lost(at, well, "a TCP connection ended within a message");
                }
                return;
            }
        }
        let pause = draw.pause();
        tokio::time::sleep(pause).await;
    }
    drop(stream.shutdown().await);
}

/// A connection that was never served is none that could be kept: what failed is the request that it was opened for.
fn ended_between(shared: &Shared, at: usize, well: Instant, served: bool, what: &str) {
    let tally = &shared.tally;
    if served {
        tally.lost(at, well, &format!("{what} ended between two messages"));
    } else {
        tally.failed(at, well, false, &format!("{what} ended before its first answer"));
    }
}

/// Says a message and hears it back.
pub(super) async fn exchange(stream: &mut TcpStream, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let mut answer = vec![0; message.len()];
    let (mut reader, mut writer) = stream.split();
    let both = async { tokio::try_join!(writer.write_all(message), reader.read_exact(&mut answer)) };
    match timeout(PATIENCE, both).await {
        Ok(Ok(_)) => Ok(answer),
        Ok(Err(error)) => Err(NoAnswer::of_io("message", &error)),
        Err(_) => Err(NoAnswer::late("message")),
    }
}

/// Whether the server has ended it; it has said everything that was asked for, so there is nothing else to read.
fn ended(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0]) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}
