//! Processes, applications behind them, and a controller's hand.

use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, prlimit, waitpid};
use serde_json::{Value, json};

/// Nothing here takes nearly so long: what does never comes.
pub(crate) const NEVER: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);

/// How often is looked: for [`NEVER`] in all, at least.
const LOOKS: u32 = 5_000;

/// The seed's next number (SplitMix64).
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Looks until it is so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "between two looks; what is seen decides")]
        thread::sleep(LOOK);
    }
    panic!("never: {what}");
}

/// One target: its directory, the application, and two slots.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    http: SocketAddr,
    echo: SocketAddr,
    udp: SocketAddr,
    next_instance: Cell<u64>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            http: serve(answer_http),
            echo: serve(echo),
            udp: echo_datagrams(),
            next_instance: Cell::new(1),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a process in a slot. It has not done anything yet.
    pub(crate) fn spawn(&self, slot: &str, words: &str) -> Sidecar {
        let instance = self.next_instance.get();
        self.next_instance.set(instance + 1);
        let (admin, log) = (
            self.path(&format!("{slot}{instance}.sock")),
            self.path(&format!("{slot}{instance}.log")),
        );
        self.spawn_at(&admin, &log, slot, instance, words)
    }

    pub(crate) fn spawn_at(&self, admin: &Path, log: &Path, slot: &str, instance: u64, words: &str) -> Sidecar {
        let program = Command::new(env!("CARGO_BIN_EXE_sidecar"));
        self.spawn_by(program, admin, log, slot, instance, words)
    }

    /// One that waits, and may open so many descriptors.
    pub(crate) fn poor(&self, slot: &str, descriptors: u32) -> Sidecar {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_sidecar")]);
        let (admin, log) = (self.path("poor.sock"), self.path("poor.log"));
        let sidecar = self.spawn_by(shell, &admin, &log, slot, 77, "--passive");
        sidecar.until("its self-check", |status| status["self_check"] != "unreported");
        sidecar
    }

    fn spawn_by(
        &self,
        mut program: Command,
        admin: &Path,
        log: &Path,
        slot: &str,
        instance: u64,
        words: &str,
    ) -> Sidecar {
        let child = program
            .args([
                "--target",
                "pod-7",
                "--version",
                &format!("v{instance}"),
                "--slot",
                slot,
            ])
            .args(["--instance", &instance.to_string()])
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--admin")
            .arg(admin)
            .args(["--http", &format!("127.0.0.1:0={}", self.http)])
            .args(["--tcp", &format!("127.0.0.1:0={}", self.echo)])
            .args(["--framed", &format!("127.0.0.1:0={}", self.echo)])
            .args(["--udp", &format!("127.0.0.1:0={}", self.udp)])
            .args(words.split_whitespace())
            .stderr(fs::File::create(log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Sidecar {
            child,
            instance,
            admin: admin.to_owned(),
            log: log.to_owned(),
        }
    }

    /// One that serves.
    pub(crate) fn serving(&self, slot: &str, words: &str) -> Sidecar {
        let sidecar = self.spawn(slot, words);
        sidecar.until("accepting", |status| status["accepting"] == true);
        sidecar
    }

    /// One that waits beside another.
    pub(crate) fn waiting(&self, slot: &str, words: &str) -> Sidecar {
        let sidecar = self.spawn(slot, &format!("--passive {words}"));
        sidecar.until("its self-check", |status| status["self_check"] != "unreported");
        sidecar
    }
}

/// One process.
pub(crate) struct Sidecar {
    child: Child,
    pub(crate) instance: u64,
    pub(crate) admin: PathBuf,
    log: PathBuf,
}

impl Sidecar {
    pub(crate) fn doorbell(&self) -> PathBuf {
        PathBuf::from(format!("{}.handover", self.admin.display()))
    }

    /// Status and body; an error if it is not there.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.admin)?;
        stream.set_read_timeout(Some(NEVER))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body.to_owned()))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, text) = self
            .try_ask(method, path, &body)
            .unwrap_or_else(|error| panic!("{path} of {}: {error}\n{}", self.instance, self.said()));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, body)
    }

    pub(crate) fn status(&self) -> Value {
        self.ask("GET", "/status", &Value::Null).1
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.status()[field].as_u64().unwrap()
    }

    /// Looks at it until it is so.
    pub(crate) fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            if let Ok((_, text)) = self.try_ask("GET", "/status", "") {
                last = serde_json::from_str(&text).unwrap();
                if so(&last) {
                    return last;
                }
            }
            #[expect(clippy::disallowed_methods, reason = "between two looks; what is seen decides")]
            thread::sleep(LOOK);
        }
        panic!("never: {what}; instance {}: {last}\n{}", self.instance, self.said());
    }

    pub(crate) fn order(&self, generation: u64, order: &str) -> (u16, Value) {
        self.post(
            "/handover",
            &json!({ "order": order, "generation": generation, "peer": null }),
        )
    }

    /// Gives an order until it is carried out.
    pub(crate) fn ordered(&self, generation: u64, order: &str) {
        until(&format!("{order} at {}: {}", self.instance, self.said()), || {
            let (status, answer) = self.order(generation, order);
            assert!([200, 503].contains(&status), "{order}: {answer}\n{}", self.said());
            (status == 200).then_some(())
        });
    }

    pub(crate) fn called(&self, generation: u64, other: &Self) {
        until(&format!("a call to {}", other.instance), || {
            let (status, answer) = self.call(generation, other);
            assert!([200, 503].contains(&status), "{answer}");
            (status == 200).then_some(())
        });
    }

    pub(crate) fn call(&self, generation: u64, other: &Self) -> (u16, Value) {
        self.post("/call", &json!({ "generation": generation, "peer": other.doorbell() }))
    }

    /// Where one of its listeners is.
    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        let status = self.status();
        status["addresses"][format!("{protocol} 127.0.0.1:0")]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        if signal == Signal::STOP {
            // It runs on until it has taken the signal.
            let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
            assert!(stopped.is_some_and(|(_, status)| status.stopped()));
        }
    }

    /// Lets it open descriptors with numbers below this from now on, and gives what the limit was.
    pub(crate) fn limit_descriptors(&self, below: u64) -> u64 {
        let limit = Rlimit {
            current: Some(below),
            ..getrlimit(Resource::Nofile)
        };
        let before = prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
        before.current.or(limit.maximum).unwrap()
    }

    /// How it ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let (instance, said) = (self.instance, self.said());
        until(&format!("the end of {instance}: {said}"), || {
            self.child.try_wait().unwrap()
        })
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The new one polls, and the old one no more.
pub(crate) fn take_over(old: &Sidecar, new: &Sidecar, generation: u64) {
    new.called(generation, old);
    old.ordered(generation, "offer");
    new.until("the listeners", |status| status["listeners"] == true);
    new.ordered(generation, "accept");
    old.ordered(generation, "quiesce");
}

/// And all connections are its own.
pub(crate) fn move_all(old: &Sidecar, new: &Sidecar, generation: u64) {
    take_over(old, new, generation);
    old.ordered(generation, "migrate");
    old.until("no connections", |status| status["connections"] == 0);
}

fn serve(one: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            thread::spawn(move || one(stream));
        }
    });
    address
}

/// Says back what it hears, and ends when the client has ended and everything was said.
fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut bytes)?;
        if read == 0 {
            return stream.shutdown(std::net::Shutdown::Write);
        }
        stream.write_all(&bytes[..read])?;
    }
}

/// Answers each request with its path and its body; what it is to say about status stands in the path.
fn answer_http(mut stream: TcpStream) -> std::io::Result<()> {
    let mut known = Vec::new();
    loop {
        let Some((head, body)) = super::clients::read_message(&mut stream, &mut known)? else {
            return Ok(());
        };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let status = if path.starts_with("/broken") {
            "500 Broken"
        } else {
            "200 OK"
        };
        if path == "/gone" {
            return Ok(());
        }
        let length = path.len() + body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{path}")?;
        stream.write_all(&body)?;
    }
}

fn echo_datagrams() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2_048];
        while let Ok((length, client)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..length], client);
        }
    });
    address
}
