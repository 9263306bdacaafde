//! Real processes, real sockets, real signals.

use crate::echo;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use unattended_handover::Refusal;
use unattended_handover::wire::Frame;

/// What a process is that is started by these tests: this test alone, with a setup.
#[test]
fn process() {
    if let Ok(setup) = std::env::var("HANDOVER_SETUP") {
        echo::run(&setup);
    }
}

struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(name: &str, place: &Path, words: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "two_processes::process", "--nocapture", "--quiet"])
            .env(
                "HANDOVER_SETUP",
                format!("{name} {} {words}", socket(place, name).display()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, orders, answers };
        // The harness's own words.
        process.line(|line| line.contains("running"));
        process
    }

    /// The first line that is wanted; an empty one at the end.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).unwrap() == 0 {
                return line;
            }
            if wanted(line.trim()) && !line.trim().is_empty() {
                return line.trim().to_owned();
            }
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.orders, "{command}").unwrap();
        self.line(|_| true)
    }

    fn ordered(&mut self, order: &str) {
        assert_eq!(self.ask(&format!("order {order}")), "Applied", "{order}");
    }

    /// Asks until it is so.
    fn until(&mut self, what: &str) -> String {
        for _ in 0..2_000 {
            let seen = self.ask("look 5");
            if what.split(' ').all(|one| seen.split(' ').any(|word| word == one)) {
                return seen;
            }
        }
        panic!("never {what}: {}", self.ask("look 1"));
    }

    fn number(&mut self, of: &str) -> u64 {
        let seen = self.ask("look 1");
        let at = seen.find(&format!("{of}=")).unwrap() + of.len() + 1;
        seen[at..].split(' ').next().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        if signal == Signal::STOP {
            // It runs on until it has taken the signal.
            let stopped = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
            assert!(stopped.is_some_and(|(_, status)| status.stopped()));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(place: &Path, name: &str) -> PathBuf {
    place.join(format!("{name}.sock"))
}

/// A client that keeps its connection and counts.
struct Client {
    stream: BufReader<TcpStream>,
    said: u64,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // A line goes in two pieces, and the second shall not wait for the first to be acknowledged.
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            said: 0,
        }
    }

    /// Says a line, in two pieces, and gives the name of who answered. What was answered is checked to the byte.
    fn talk(&mut self) -> String {
        let line = self.said * 31 + 7;
        write!(self.stream.get_mut(), "{line}").unwrap();
        self.finish(line)
    }

    fn finish(&mut self, line: u64) -> String {
        self.said += 1;
        self.stream.get_mut().write_all(b"\n").unwrap();
        let mut answer = String::new();
        self.stream.read_line(&mut answer).unwrap();
        let (name, rest) = answer.split_once(' ').expect("the connection is alive");
        assert_eq!(rest, format!("{line} {}\n", self.said));
        name.to_owned()
    }
}

struct Scene {
    old: Process,
    new: Process,
    address: String,
    place: tempfile::TempDir,
}

/// Two processes with a session, `clients` connected to the old one.
fn scene(clients: usize, old: &str, new: &str) -> (Scene, Vec<Client>) {
    let place = tempfile::tempdir().unwrap();
    let mut old = Process::start("old", place.path(), &format!("listen {old}"));
    let address = old.line(|line| line.starts_with("127."));
    let mut new = Process::start("new", place.path(), &format!("wait {new}"));
    let mut all: Vec<Client> = (0..clients).map(|_| Client::connect(&address)).collect();
    for client in &mut all {
        assert_eq!(client.talk(), "old");
    }
    assert_eq!(
        new.ask(&format!("call 1 {}", socket(place.path(), "old").display())),
        "called"
    );
    old.until("peer=true");
    let scene = Scene {
        old,
        new,
        address,
        place,
    };
    (scene, all)
}

impl Scene {
    fn take_over(&mut self) {
        self.old.ordered("1 offer");
        self.new.until("holds=true secret=3");
        self.new.ordered("1 accept");
        self.old.until("peer=true");
        // The old one must have heard that the new one polls.
        for _ in 0..2_000 {
            if self.old.ask("order 1 quiesce") != "Refused(OtherDoesNotPoll)" {
                break;
            }
        }
        self.old.until("polls=false");
    }
}

/// The one to leave may not have heard yet that the other one has committed and polls.
fn retire(process: &mut Process, generation: u64) {
    for _ in 0..2_000 {
        if process.ask(&format!("order {generation} retire")) == "Applied" {
            return;
        }
    }
    panic!("it does not leave");
}

#[test]
fn connections_move_with_their_state_and_back() {
    let (mut scene, mut clients) = scene(300, "", "");
    let before = scene.old.number("open");
    // Half a line is on its way.
    for client in &mut clients {
        write!(client.stream.get_mut(), "12").unwrap();
    }
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("moved=300 owned=0");
    for client in &mut clients {
        write!(client.stream.get_mut(), "34").unwrap();
        assert_eq!(client.finish(1_234), "new");
    }
    // And back.
    scene.old.ordered("1 return");
    scene.new.until("moved=300 owned=0 polls=false");
    scene.old.until("adopted=300 owned=300 polls=true");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
    assert_eq!(scene.old.number("open"), before, "a descriptor was left behind");
    assert_eq!(Client::connect(&scene.address).talk(), "old");
}

#[test]
fn the_old_one_leaves_and_nobody_notices() {
    let (mut scene, mut clients) = scene(40, "", "");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("owned=0");
    scene.new.ordered("1 commit");
    retire(&mut scene.old, 1);
    assert_eq!(scene.old.line(|line| line == "left"), "left");
    for client in &mut clients {
        assert_eq!(client.talk(), "new");
    }
    assert_eq!(Client::connect(&scene.address).talk(), "new");
}

#[test]
fn clients_that_wait_to_be_accepted_are_served() {
    let (mut scene, _) = scene(0, "", "");
    scene.take_over();
    // Nobody polls while the new one is stopped: they queue.
    scene.new.signal(Signal::STOP);
    let clients: Vec<_> = (0..100).map(|_| Client::connect(&scene.address)).collect();
    scene.new.signal(Signal::CONT);
    for mut client in clients {
        let name = client.talk();
        assert!(name == "new" || name == "old", "{name}");
    }
}

/// Clients wait in a queue that only the new one still has, and nobody has let it in. The end of the old one's session alone
/// is no reason to: it may only be slow.
#[test]
fn who_is_not_let_in_yet_serves_when_the_old_one_is_dead() {
    let (mut scene, _) = scene(0, "", "");
    scene.old.ordered("1 offer");
    scene.new.until("holds=true polls=false");
    scene.old.signal(Signal::STOP);
    let clients: Vec<_> = (0..20).map(|_| Client::connect(&scene.address)).collect();
    scene.new.until("peer=false");
    assert!(scene.new.ask("look 5").contains("polls=false"), "nobody has died");
    scene.old.signal(Signal::KILL);
    scene.new.until("polls=true");
    for mut client in clients {
        assert_eq!(client.talk(), "new");
    }
    assert_eq!(scene.new.ask("order 1 commit"), "Applied");
}

#[test]
fn what_cannot_move_stays_and_is_counted() {
    let (mut scene, mut clients) = scene(64, "stubborn", "");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("moved=56 declined=8 owned=8");
    let names: Vec<String> = clients.iter_mut().map(Client::talk).collect();
    assert_eq!(names.iter().filter(|name| *name == "old").count(), 8);
}

#[test]
fn a_new_one_that_understands_nothing_gets_nothing() {
    let (mut scene, mut clients) = scene(64, "", "blind");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("moved=0 declined=64 owned=64");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
}

#[test]
fn a_new_one_without_room_for_descriptors_gets_nothing() {
    let (mut scene, mut clients) = scene(64, "", "poor");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("polls=true peer=false owned=64 moved=0");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
}

/// What came back. A socket that was closed with something unread in it says so first.
fn said(socket: &OwnedFd) -> Frame {
    let mut answer = [0; 64];
    let mut read = recv(socket, &mut answer[..], RecvFlags::empty());
    if read == Err(Errno::CONNRESET) {
        read = recv(socket, &mut answer[..], RecvFlags::empty());
    }
    Frame::decode(&answer[..read.unwrap().0], 0).unwrap()
}

#[test]
fn strangers_and_garbage_are_turned_away() {
    let (mut scene, mut clients) = scene(4, "", "");
    let path = scene.place.path().join("old.sock");
    let flags = SocketFlags::CLOEXEC;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[],
        &[7; 60_000],
        &[1, 1, 255, 255, 255, 255],
    ] {
        // The old one has a session already: it refuses whoever calls, whatever is said.
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        let _ = send(&socket, bytes, SendFlags::NOSIGNAL);
        assert_eq!(said(&socket), Frame::Refuse(Refusal::Busy));
    }
    // Without a session, too: the new one dies, and somebody else calls in its place.
    scene.new.signal(Signal::KILL);
    scene.old.until("peer=false");
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[7; 60_000],
        &[1, 1, 255, 255, 255, 255],
    ] {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        send(&socket, bytes, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(said(&socket), Frame::Refuse(Refusal::Garbled));
    }
    scene.old.until("polls=true");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
}

#[test]
fn a_second_upgrade_waits_for_the_first() {
    let (mut scene, _clients) = scene(4, "", "");
    let mut third = Process::start("third", scene.place.path(), "wait");
    let path = scene.place.path().join("old.sock");
    assert_eq!(third.ask(&format!("call 1 {}", path.display())), "called");
    third.until("peer=false holds=false");
    scene.old.ordered("1 offer");
    scene.new.until("holds=true");
    // And orders of an attempt before this one count for nothing.
    assert_eq!(scene.old.ask("order 0 return"), "Stale");
}

#[test]
fn the_next_attempt_takes_the_next_process() {
    let (mut scene, mut clients) = scene(20, "", "");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("owned=0");
    scene.old.ordered("1 return");
    scene.old.until("owned=20 polls=true");
    scene.new.signal(Signal::KILL);
    scene.old.until("peer=false");
    let path = scene.place.path().join("old.sock");
    // One that still belongs to the attempt before is not talked to.
    let mut late = Process::start("late", scene.place.path(), "wait");
    assert_eq!(late.ask(&format!("call 0 {}", path.display())), "called");
    late.until("peer=false");
    drop(late);
    let mut third = Process::start("third", scene.place.path(), "wait");
    for _ in 0..2_000 {
        // The old one may not have read the end of the other's call yet.
        third.ask(&format!("call 2 {}", path.display()));
        if scene.old.ask("look 5").contains("peer=true") {
            break;
        }
    }
    scene.old.ordered("2 offer");
    third.until("holds=true");
    third.ordered("2 accept");
    for _ in 0..2_000 {
        if scene.old.ask("order 2 migrate") == "Applied" {
            break;
        }
    }
    third.until("owned=20");
    for client in &mut clients {
        assert_eq!(client.talk(), "third");
    }
}

/// Three processes: what the first could not give to the second, the third takes from it when the second has left, too.
#[test]
fn what_the_first_could_not_give_the_third_takes() {
    let (mut scene, mut clients) = scene(16, "shy stays", "");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("moved=0 declined=16 owned=16");
    scene.new.ordered("1 commit");
    retire(&mut scene.old, 1);
    scene.old.until("holds=false peer=false owned=16");
    assert_eq!(Client::connect(&scene.address).talk(), "new");

    let mut third = Process::start("third", scene.place.path(), "wait");
    let call = |third: &mut Process, whom: &str| {
        let path = socket(scene.place.path(), whom);
        assert_eq!(third.ask(&format!("call 2 {}", path.display())), "called");
    };
    scene.new.until("peer=false");
    call(&mut third, "new");
    scene.new.until("peer=true");
    scene.new.ordered("2 offer");
    third.until("holds=true");
    third.ordered("2 accept");
    third.ordered("2 commit");
    retire(&mut scene.new, 2);
    assert_eq!(scene.new.line(|line| line == "left"), "left");
    for client in &mut clients {
        assert_eq!(client.talk(), "old", "it is still with the first");
    }

    third.until("peer=false");
    call(&mut third, "old");
    assert_eq!(scene.old.line(|line| line == "left"), "left");
    third.until("owned=16 adopted=16");
    for client in &mut clients {
        assert_eq!(client.talk(), "third");
    }
    assert_eq!(Client::connect(&scene.address).talk(), "third");
}

#[test]
fn a_new_one_that_dies_leaves_the_old_one_serving() {
    let (mut scene, mut clients) = scene(64, "", "");
    scene.take_over();
    scene.new.signal(Signal::KILL);
    scene.old.until("polls=true peer=false");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
    assert_eq!(Client::connect(&scene.address).talk(), "old");
}

#[test]
fn a_new_one_that_stands_still_is_left_behind() {
    let (mut scene, mut clients) = scene(64, "", "");
    scene.take_over();
    scene.new.signal(Signal::STOP);
    // Connections are offered to somebody who does not read, and come back.
    scene.old.ordered("1 migrate");
    scene.old.until("polls=true peer=false owned=64");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
    scene.new.signal(Signal::CONT);
    // It finds offers whose tokens are gone.
    scene.new.until("owned=0 adopted=0");
    for client in &mut clients {
        assert_eq!(client.talk(), "old");
    }
}

#[test]
fn an_old_one_that_dies_takes_only_its_own() {
    let (mut scene, mut clients) = scene(64, "stubborn", "");
    scene.take_over();
    scene.old.ordered("1 migrate");
    scene.old.until("moved=56");
    scene.old.signal(Signal::KILL);
    scene.new.until("peer=false owned=56 polls=true");
    let mut served = 0;
    for client in &mut clients {
        let line = client.said;
        let _ = writeln!(client.stream.get_mut(), "{line}");
        let mut answer = [0; 1];
        served += usize::from(client.stream.read(&mut answer).is_ok_and(|read| read == 1));
    }
    assert_eq!(served, 56);
    assert_eq!(Client::connect(&scene.address).talk(), "new");
}

#[test]
fn a_new_one_that_dies_with_connections_in_its_hands_takes_at_most_one_offer() {
    let (mut scene, mut clients) = scene(8, "", "mortal");
    scene.take_over();
    // Again and again: where the machine lets one of them stand still for longer than the lease, what is offered comes back.
    while scene.new.child.try_wait().unwrap().is_none() {
        scene.old.ask("order 1 migrate");
        scene.old.ask("look 5");
    }
    // Everything that it has said was heard: before that, what it had taken still counts as the old one's.
    scene.old.until("polls=true free=true");
    // Whatever it had taken died with it; the others are served by whom they were served before.
    let owned = usize::try_from(scene.old.number("owned")).unwrap();
    let mut served = 0;
    for client in &mut clients {
        let _ = writeln!(client.stream.get_mut(), "1");
        let mut answer = [0; 1];
        served += usize::from(client.stream.read(&mut answer).is_ok_and(|read| read == 1));
    }
    assert_eq!(served, owned);
}
