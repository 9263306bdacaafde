//! An upstream, and clients that ask all the while and check what they get.
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers requests until the test's process ends: `/500` with 500, `/close` by closing the connection, all else with 200 and
/// its path.
pub(crate) fn http_upstream() -> u16 {
    serve(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(path) = request(&mut reader) {
            let status = match path.as_str() {
                "/close" => return,
                "/500" => "500 Internal Server Error",
                _ => "200 OK",
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Gives back what it gets.
pub(crate) fn echo_upstream() -> u16 {
    serve(|mut stream| {
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..read]).is_err() {
                return;
            }
        }
    })
}

fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// The path of the next request; none if the connection ends.
fn request(reader: &mut impl io::BufRead) -> Option<String> {
    let mut path = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return path;
        }
        path = path.or_else(|| Some(line.split(' ').nth(1)?.to_owned()));
    }
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// Which Envoy says that it answered.
    pub(crate) instance: Option<u64>,
    pub(crate) closes: bool,
    pub(crate) body: String,
}

/// A connection to a proxy.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Got> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut got = Got {
            status: 0,
            instance: None,
            closes: false,
            body: String::new(),
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                got.status = rest[..3].parse().unwrap();
            } else if let Some(value) = line.strip_prefix("x-unattended-instance: ") {
                got.instance = Some(value.parse().unwrap());
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
            got.closes |= line == "connection: close";
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        got.body = String::from_utf8(body).unwrap();
        Ok(got)
    }
}

/// One request on a connection of its own.
pub(crate) fn get(port: u16, path: &str) -> io::Result<Got> {
    Client::connect(port)?.get(path)
}

/// What all clients of a load have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) by_instance: BTreeMap<u64, u64>,
}

/// Clients that ask until they are stopped: one with a connection for each request, one that keeps its connection for as long
/// as it may.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// At whichever of these ports `/healthz` says yes; with one port, at that one.
    pub(crate) fn start(ports: &[u16]) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let threads = [false, true].map(|keeps| {
            let (stop, seen, ports) = (Arc::clone(&stop), Arc::clone(&seen), ports.to_vec());
            std::thread::spawn(move || ask(&stop, &seen, &ports, keeps))
        });
        Self {
            stop,
            seen,
            threads: threads.into(),
        }
    }

    pub(crate) fn so_far(&self) -> Seen {
        self.seen.lock().clone()
    }

    pub(crate) fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn ask(stop: &AtomicBool, seen: &Mutex<Seen>, ports: &[u16], keeps: bool) {
    let mut kept: Option<(u16, Client)> = None;
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        // Two hundred requests a second are a load; more would only fill the kernel's table of sockets.
        std::thread::park_timeout(Duration::from_millis(5));
        // A balancer knows what the health endpoints have said last.
        let healthy: Vec<u16> = match ports {
            [only] => vec![*only],
            many => {
                let healthy = |port: &u16| get(*port, "/healthz").is_ok_and(|got| got.status == 200);
                many.iter().copied().filter(healthy).collect()
            }
        };
        let Some(port) = healthy
            .get(usize::try_from(number).unwrap() % healthy.len().max(1))
            .copied()
        else {
            seen.lock().failed.push("nobody is healthy".to_owned());
            continue;
        };
        let path = format!("/r/{number}");
        let mut client = kept.take().filter(|(of, _)| *of == port).map(|(_, client)| client);
        let got = match &mut client {
            Some(client) => client.get(&path),
            None => Client::connect(port).and_then(|mut new| {
                let got = new.get(&path);
                client = Some(new);
                got
            }),
        };
        let mut seen = seen.lock();
        seen.requests += 1;
        match got {
            Ok(got) if got.status == 200 && got.body == path => {
                *seen.by_instance.entry(got.instance.unwrap_or(0)).or_default() += 1;
                kept = client.filter(|_| keeps && !got.closes).map(|client| (port, client));
            }
            other => seen.failed.push(format!("request {number}, kept {keeps}: {other:?}")),
        }
    }
}
