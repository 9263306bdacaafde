//! A small server that answers each line with its own name, the line, and how many lines the connection has had: what a
//! client sees tells who owns its connection, and whether its state has come along.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use unattended_handover::wire::{Listener, ListenerKind, Secret};
use unattended_handover::{
    Agent, ConnectionId, Decline, Doorbell, Frozen, Generation, Handover, Host, InstanceId, Order, Timing,
};

const CODEC: &str = "lines/1";

#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    lines: u64,
    input: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Echo {
    listener: Option<TcpListener>,
    polls: bool,
    lines: BTreeMap<ConnectionId, Line>,
    freezing: Vec<ConnectionId>,
    /// Of every eighth connection this process says that it cannot move.
    stubborn: bool,
    /// Of every connection it says so once.
    shy: bool,
    asked: BTreeSet<ConnectionId>,
    /// It refuses every state that comes.
    blind: bool,
    /// It dies as soon as it has taken the first connections.
    mortal: bool,
    secret: Vec<u8>,
    leaves: bool,
}

impl Host for Echo {
    type Prepared = Line;

    fn poll(&mut self, on: bool) {
        self.polls = on;
    }

    fn bind(&mut self) -> Vec<Listener> {
        Vec::new()
    }

    fn listener(&self, _name: &str) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(TcpListener::as_fd)
    }

    fn claim(&mut self, listeners: Vec<(Listener, OwnedFd)>) -> Result<(), String> {
        for (listener, descriptor) in listeners {
            if listener.name != "in" {
                return Err(listener.name);
            }
            self.listener = Some(TcpListener::from(descriptor));
        }
        Ok(())
    }

    fn disclaim(&mut self) {
        self.listener = None;
    }

    fn keep(&mut self, _name: &str, secret: &Secret) {
        self.secret = secret.reveal().to_vec();
    }

    fn freeze(&mut self, id: ConnectionId) {
        self.freezing.push(id);
    }

    fn thaw(&mut self, id: ConnectionId, frozen: Option<Frozen>) {
        self.freezing.retain(|one| *one != id);
        if let Some(line) = frozen.and_then(|frozen| Line::of(frozen).ok()) {
            self.lines.insert(id, line);
        }
    }

    fn drain(&mut self, _id: ConnectionId) {}

    fn moved(&mut self, _id: ConnectionId) {}

    fn prepare(&mut self, frozen: Frozen) -> Result<Line, Decline> {
        if self.blind {
            return Err(Decline::BadState);
        }
        Line::of(frozen)
    }

    fn own(&mut self, id: ConnectionId, line: Line) {
        assert!(!self.mortal, "it dies with the connection in its hands");
        self.lines.insert(id, line);
    }

    fn leave(&mut self) {
        self.leaves = true;
    }
}

impl Line {
    fn of(frozen: Frozen) -> Result<Self, Decline> {
        let (head, rest) = frozen.state.split_first_chunk::<16>().ok_or(Decline::BadState)?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
        let cut = usize::try_from(number(8)).map_err(|_| Decline::BadState)?;
        let (input, output) = rest.split_at_checked(cut).ok_or(Decline::BadState)?;
        let stream = frozen.descriptors.into_iter().next().ok_or(Decline::BadState)?;
        Ok(Self {
            stream: TcpStream::from(stream),
            lines: number(0),
            input: input.to_vec(),
            output: output.to_vec(),
        })
    }

    fn freeze(self, id: ConnectionId) -> Frozen {
        let mut state = self.lines.to_le_bytes().to_vec();
        state.extend((self.input.len() as u64).to_le_bytes());
        state.extend(&self.input);
        state.extend(&self.output);
        Frozen {
            id,
            codec: CODEC.into(),
            state,
            descriptors: vec![self.stream.into()],
        }
    }

    /// `false`: it is over.
    fn go_on(&mut self, name: &str) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(read) => self.input.extend(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            self.lines += 1;
            let said = String::from_utf8_lossy(&line[..end]).into_owned();
            self.output.extend(format!("{name} {said} {}\n", self.lines).bytes());
        }
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        true
    }
}

/// The whole program: orders come as lines, answers go as lines.
///
/// `setup`: name, path of the doorbell, `listen` or `wait`, words that make it odd.
#[expect(clippy::disallowed_methods, reason = "a program has a clock")]
pub(crate) fn run(setup: &str) {
    let mut words = setup.split(' ');
    let name = words.next().unwrap().to_owned();
    let path = PathBuf::from(words.next().unwrap());
    let serves = words.next() == Some("listen");
    let odd: Vec<&str> = words.collect();
    let start = std::time::Instant::now();
    let now = || u64::try_from(start.elapsed().as_millis()).unwrap() + 1;
    let mut echo = Echo {
        stubborn: odd.contains(&"stubborn"),
        shy: odd.contains(&"shy"),
        blind: odd.contains(&"blind"),
        mortal: odd.contains(&"mortal"),
        polls: serves,
        ..Echo::default()
    };
    let instance = InstanceId(u128::from(std::process::id()));
    let mut timing = Timing::default();
    if odd.contains(&"stays") {
        timing.leftover_ms = 600_000;
    }
    let codecs = vec![CODEC.to_owned()];
    let agent = if serves {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        println!("{}", listener.local_addr().unwrap());
        let cookie = sockopt::socket_cookie(&listener).unwrap();
        echo.listener = Some(listener);
        let listener = Listener {
            name: "in".to_owned(),
            kind: ListenerKind::Tcp,
            cookie,
        };
        Agent::serving(instance, vec![listener], codecs, timing)
    } else {
        Agent::waiting(instance, codecs, timing)
    };
    let mut handover = Handover::new(agent, echo, Some(Doorbell::open(path).unwrap()));
    if serves {
        handover
            .share(now(), "tickets".to_owned(), Secret::new(vec![1, 2, 3]))
            .unwrap();
    }
    handover.ready(now(), true);
    if odd.contains(&"poor") {
        let open = u64::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap();
        let limit = rustix::process::Rlimit {
            current: Some(open + 16),
            maximum: Some(open + 16),
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    let mut next_id = u64::from(std::process::id()) << 32;
    let mut commands = Vec::new();
    let mut asked_until = None;
    loop {
        wait(&handover, asked_until.is_some(), now());
        for command in read_commands(&mut commands) {
            obey(&mut handover, &command, now(), &mut asked_until);
        }
        handover.turn(now());
        serve(&mut handover, &mut next_id, &name, now());
        if asked_until.is_some_and(|until| until <= now()) {
            asked_until = None;
            println!("{}", report(&handover));
        }
        if handover.host().leaves {
            println!("left");
            return;
        }
    }
}

fn wait(handover: &Handover<Echo>, soon: bool, now_ms: u64) {
    let host = handover.host();
    let input = std::io::stdin();
    let mut all = vec![PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
    all.extend(handover.descriptors().map(|(descriptor, full)| {
        let flags = if full {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        PollFd::from_borrowed_fd(descriptor, flags)
    }));
    if host.polls {
        all.extend(host.listener.iter().map(|one| PollFd::new(one, PollFlags::IN)));
    }
    all.extend(host.lines.values().map(|line| PollFd::new(&line.stream, PollFlags::IN)));
    let due_ms = handover.deadline().map_or(1_000, |at_ms| at_ms.saturating_sub(now_ms));
    let limit_ms = if soon { 1 } else { 1_000 };
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::try_from(due_ms.min(limit_ms).min(900) * 1_000_000).unwrap(),
    };
    let _ = poll(&mut all, Some(&timeout));
}

fn read_commands(rest: &mut Vec<u8>) -> Vec<String> {
    let input = std::io::stdin();
    let mut ready = [PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut ready, Some(&now)).unwrap_or(0) > 0 {
        let mut bytes = [0; 1024];
        let read = rustix::io::read(input.as_fd(), &mut bytes).unwrap_or(0);
        if read == 0 {
            // Whoever started it is gone.
            std::process::exit(0);
        }
        rest.extend(&bytes[..read]);
    }
    let mut lines = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = rest.drain(..=end).collect();
        lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
    }
    lines
}

fn obey(handover: &mut Handover<Echo>, command: &str, now_ms: u64, asked_until: &mut Option<u64>) {
    let words: Vec<&str> = command.split(' ').collect();
    match words.as_slice() {
        ["call", generation, path] => {
            match handover.call(now_ms, Generation(generation.parse().unwrap()), path.as_ref(), now_ms) {
                Ok(()) => println!("called"),
                Err(error) => println!("{error}"),
            }
        }
        ["look", ms] => *asked_until = Some(now_ms + ms.parse::<u64>().unwrap()),
        ["order", generation, order] => {
            let order = match *order {
                "offer" => Order::Offer,
                "accept" => Order::Accept,
                "quiesce" => Order::Quiesce,
                "migrate" => Order::Migrate,
                "commit" => Order::Commit,
                "retire" => Order::Retire,
                "return" => Order::Return,
                other => panic!("{other}"),
            };
            let generation = Generation(generation.parse().unwrap());
            println!("{:?}", handover.order(now_ms, generation, order));
        }
        other => panic!("{other:?}"),
    }
}

fn serve(handover: &mut Handover<Echo>, next_id: &mut u64, name: &str, now_ms: u64) {
    let host = handover.host_mut();
    let mut opened = Vec::new();
    if host.polls
        && let Some(listener) = &host.listener
    {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let id = ConnectionId(*next_id);
            *next_id += 1;
            opened.push(id);
            let line = Line {
                stream,
                lines: 0,
                input: Vec::new(),
                output: Vec::new(),
            };
            host.lines.insert(id, line);
        }
    }
    let mut closed = Vec::new();
    for (id, line) in &mut host.lines {
        if !line.go_on(name) {
            closed.push(*id);
        }
    }
    for id in &closed {
        host.lines.remove(id);
    }
    let (stubborn, mut frozen, mut declined) = (host.stubborn, Vec::new(), Vec::new());
    for id in std::mem::take(&mut host.freezing) {
        if stubborn && id.0 % 8 == 0 || host.shy && host.asked.insert(id) {
            declined.push(id);
        } else if let Some(line) = host.lines.remove(&id) {
            frozen.push(line.freeze(id));
        }
    }
    for id in opened {
        handover.opened(now_ms, id);
    }
    for id in closed {
        handover.closed(now_ms, id);
    }
    for id in declined {
        handover.declined(now_ms, id, Decline::Tls);
    }
    if !frozen.is_empty() {
        handover.frozen(now_ms, frozen);
    }
}

fn report(handover: &Handover<Echo>) -> String {
    let agent = handover.agent();
    let (status, tally) = (agent.status(), agent.tally());
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    format!(
        "holds={} polls={} committed={} free={} peer={} owned={} moved={} adopted={} declined={} secret={} open={open}",
        status.holds,
        status.polls,
        status.committed,
        agent.would_take_call().is_ok(),
        agent.peer().is_some(),
        agent.owned(),
        tally.moved,
        tally.adopted,
        tally.declined.values().sum::<u64>(),
        handover.host().secret.len(),
    )
}
