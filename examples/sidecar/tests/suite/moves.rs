//! Connections change owner, and their clients notice nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use std::{io, thread};

use parking_lot::Mutex;
use rustix::net::sockopt;
use rustix::process::Signal;

use super::clients::{Client, Kind, connect, datagram, read_message};
use super::support::{NEVER, Place, Seed, Sidecar, move_all, take_over, until};

/// Ends the load whatever happens: a test that fails shall say so.
struct Load<'a>(&'a AtomicBool);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn clients(sidecar: &Sidecar, each: u64) -> Vec<Client> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let address = sidecar.address(kind.name());
        all.extend((0..each).map(|n| Client::connect(address, kind, n * 3 + kind as u64).unwrap()));
    }
    for client in &mut all {
        client.talk(50).unwrap();
    }
    all
}

#[test]
fn queued_clients_are_all_served() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("tcp");
    take_over(&old, &new, 1);
    // Nobody accepts now, and the old one is not there to.
    new.signal(Signal::STOP);
    old.signal(Signal::STOP);
    let mut queued: Vec<Client> = (0..200)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    new.signal(Signal::CONT);
    let served = queued.iter_mut().filter_map(|client| client.talk(100).ok()).count();
    assert_eq!(served, 200);
    old.signal(Signal::CONT);
}

#[test]
fn there_and_back_under_load() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let all = clients(&old, 25);
    let stop = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut groups: Vec<Vec<Client>> = (0..5).map(|_| Vec::new()).collect();
        for (at, client) in all.into_iter().enumerate() {
            groups[at % 5].push(client);
        }
        for (at, mut group) in groups.into_iter().enumerate() {
            let stop = &stop;
            threads.push(scope.spawn(move || -> io::Result<(u64, Vec<u64>)> {
                let (mut seed, mut talks, mut seen) = (Seed(at as u64), 0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    for client in &mut group {
                        // Some are larger than any buffer on the way.
                        let length = if seed.below(50) == 0 {
                            100_000
                        } else {
                            seed.below(2_000)
                        };
                        let talk = client.talk(usize::try_from(length).unwrap())?;
                        assert!(!talk.last, "nobody is asked to end");
                        talks += 1;
                        if talk.instance != 0 && !seen.contains(&talk.instance) {
                            seen.push(talk.instance);
                        }
                    }
                }
                group.into_iter().try_for_each(Client::end)?;
                Ok((talks, seen))
            }));
        }
        let load = Load(&stop);
        let served = |sidecar: &Sidecar| {
            let (_, text) = sidecar.try_ask("GET", "/metrics", "").unwrap();
            let series = "sidecar_requests_total{protocol=\"http\",class=\"good\"} ";
            text.lines()
                .find_map(|line| line.strip_prefix(series))
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        for round in 1..=3 {
            let generation = round;
            if round == 1 {
                take_over(&old, &new, generation);
            } else {
                new.ordered(generation, "accept");
                old.ordered(generation, "quiesce");
            }
            old.ordered(generation, "migrate");
            old.until("all have moved", |status| status["connections"] == 0);
            let before = served(&new);
            until("traffic at the new one", || (served(&new) > before + 50).then_some(()));
            old.ordered(generation, "return");
            old.until("all are back", |status| {
                status["connections"] == 75 && status["accepting"] == true
            });
            let before = served(&old);
            until("traffic at the old one", || (served(&old) > before + 50).then_some(()));
        }
        drop(load);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().unwrap())
            .collect::<Vec<_>>()
    });
    for (talks, seen) in seen {
        assert!(talks > 100);
        assert_eq!(seen.len(), 2, "served by both");
    }
    for sidecar in [&old, &new] {
        let moves = &sidecar.status()["moves"];
        for lost in ["declined", "cut", "lost"] {
            assert_eq!(moves[lost], 0, "{lost}: {moves}");
        }
    }
}

#[test]
fn bytes_under_way_in_both_directions_arrive_once_and_in_order() {
    let place = Place::new();
    let (old, new) = (
        place.serving("a", "--socket-buffer 4096"),
        place.waiting("b", "--socket-buffer 4096"),
    );
    let address = old.address("tcp");
    let (stop, gate) = (AtomicBool::new(false), Mutex::new(()));
    thread::scope(|scope| {
        let nobody_reads = gate.lock();
        let streams: Vec<_> = (0..4_u64)
            .map(|n| {
                let stream = connect(address).unwrap();
                // Buffers as small as the kernel makes them: bytes are always under way.
                sockopt::set_socket_recv_buffer_size(&stream, 4_096).unwrap();
                sockopt::set_socket_send_buffer_size(&stream, 4_096).unwrap();
                let writer = stream.try_clone().unwrap();
                let (stop, gate, (more, room)) = (&stop, &gate, mpsc::sync_channel(UNDER_WAY));
                let sent = scope.spawn(move || send(writer, n, &room, stop));
                let came = scope.spawn(move || receive(stream, n, gate, &more));
                (sent, came)
            })
            .collect();
        let load = Load(&stop);
        take_over(&old, &new, 1);
        let mut generation = 0;
        let mut there_and_back = || {
            generation += 1;
            new.ordered(generation, "accept");
            old.ordered(generation, "migrate");
            old.until("all have moved", |status| status["connections"] == 0);
            old.ordered(generation, "return");
            old.until("all are back", |status| status["connections"] == 4);
        };
        // As long as nobody reads, every buffer on the way fills, this process's own ones too.
        until("bytes that go along", || {
            there_and_back();
            (old.status()["moves"]["bytes"].as_u64() > Some(100_000)).then_some(())
        });
        drop(nobody_reads);
        for _ in 0..5 {
            there_and_back();
        }
        drop(load);
        for (sent, came) in streams {
            assert_eq!(sent.join().unwrap().unwrap(), came.join().unwrap().unwrap());
        }
    });
    let moves = &old.status()["moves"];
    assert_eq!((&moves["lost"], &moves["declined"]), (&0.into(), &0.into()), "{moves}");
}

/// Blocks that are on their way at most: more than the buffers hold.
const UNDER_WAY: usize = 1_024;

/// Sends bytes that tell their place until nothing moves any more; how many.
fn send(mut stream: TcpStream, seed: u64, room: &Receiver<()>, stop: &AtomicBool) -> io::Result<usize> {
    let mut numbers = Seed(seed);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if sent >= UNDER_WAY * BLOCK {
            room.recv().map_err(io::Error::other)?;
        }
        stream.write_all(&block(&mut numbers))?;
        sent += BLOCK;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(sent)
}

/// Bytes that are sent at once.
const BLOCK: usize = 4_096;

fn block(numbers: &mut Seed) -> Vec<u8> {
    (0..BLOCK / 8).flat_map(|_| numbers.next().to_le_bytes()).collect()
}

/// How many bytes came until the end, each of them the right one.
fn receive(mut stream: TcpStream, seed: u64, gate: &Mutex<()>, more: &SyncSender<()>) -> io::Result<usize> {
    let mut numbers = Seed(seed);
    let (mut came, mut bytes) = (0, vec![0; BLOCK]);
    loop {
        drop(gate.lock());
        let mut filled = 0;
        while filled < bytes.len() {
            let read = stream.read(&mut bytes[filled..])?;
            if read == 0 {
                assert_eq!(filled, 0, "it ended between two blocks");
                return Ok(came);
            }
            filled += read;
        }
        assert!(bytes == block(&mut numbers), "other bytes after {came}");
        came += filled;
        // The sender may have ended.
        let _ = more.try_send(());
    }
}

#[test]
fn what_was_read_of_the_next_request_goes_along() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("http");
    let request = b"GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\nx-end: 1\r\n\r\n";
    // Cut in the second head; where the first one is answered, the rest was read.
    let mut all: Vec<_> = (0..20)
        .map(|n| {
            let (mut stream, cut) = (connect(address).unwrap(), 36 + 2 * n);
            stream.write_all(&request[..cut]).unwrap();
            let (head, body) = read_message(&mut stream, &mut Vec::new()).unwrap().unwrap();
            assert!(
                head.contains(&format!("x-sidecar-instance: {}", old.instance)),
                "{head}"
            );
            assert_eq!(body, b"/first");
            (stream, cut)
        })
        .collect();
    move_all(&old, &new, 1);
    for (stream, cut) in &mut all {
        stream.write_all(&request[*cut..]).unwrap();
        let (head, body) = read_message(stream, &mut Vec::new()).unwrap().unwrap();
        assert!(
            head.contains(&format!("x-sidecar-instance: {}", new.instance)),
            "{head}"
        );
        assert_eq!(body, b"/second");
    }
    assert_eq!(old.status()["moves"]["declined"], 0);
}

#[test]
fn an_answer_that_is_not_sent_yet_is_not_cut() {
    const LENGTH: usize = 300_000;
    let place = Place::new();
    let (old, new) = (
        place.serving("a", "--socket-buffer 16384"),
        place.waiting("b", "--socket-buffer 16384"),
    );
    let address = old.address("http");
    let body: Vec<u8> = (0..LENGTH)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    let mut all: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect(address).unwrap();
            sockopt::set_socket_recv_buffer_size(&stream, 32_768).unwrap();
            write!(
                stream,
                "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n"
            )
            .unwrap();
            stream.write_all(&body).unwrap();
            stream
        })
        .collect();
    // The application has said all, and most of it waits in the process since nobody reads.
    old.until("nothing under way", |status| {
        status["connections"] == 10 && status["active"] == 0
    });
    take_over(&old, &new, 1);
    old.ordered(1, "migrate");
    old.until("they cannot move", |status| status["moves"]["declined"] == 10);
    for stream in &mut all {
        let (_, answer) = read_message(stream, &mut Vec::new()).unwrap().unwrap();
        assert!(answer.strip_prefix(b"/x") == Some(&body), "other bytes");
    }
}

#[test]
fn what_has_begun_ends_where_it_began() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let mut all = clients(&old, 10);
    // Half of a request, of a call, of a message.
    for client in &mut all {
        client.begin(3_000).unwrap();
    }
    take_over(&old, &new, 1);
    old.ordered(1, "migrate");
    // Relays move at any time. The others are tried some times, and then asked to end.
    let status = old.until("what cannot move", |status| status["moves"]["declined"] == 20);
    assert_eq!(status["moves"]["moved"], 10);
    let mut asked = 0;
    for mut client in all {
        let talk = client.finish(3_000).unwrap();
        asked += u64::from(talk.last);
        if !talk.last {
            client.talk(100).unwrap();
        }
        client.end().unwrap();
    }
    assert_eq!(asked, 10, "HTTP can say that an answer is the last one");
    old.until("no connections", |status| status["connections"] == 0);
}

#[test]
fn a_client_that_sends_ahead_comes_to_rest() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let mut stream = connect(old.address("framed")).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        let stop = &stop;
        let sent = scope.spawn(move || {
            let mut calls = 0_u32;
            while !stop.load(Ordering::Relaxed) || calls == 0 {
                let call: Vec<u8> = 4_u32.to_be_bytes().into_iter().chain(calls.to_be_bytes()).collect();
                writer.write_all(&call).unwrap();
                calls += 1;
            }
            writer.shutdown(Shutdown::Write).unwrap();
            calls
        });
        let came = scope.spawn(move || {
            let mut answer = [0; 8];
            let mut calls = 0_u32;
            while stream.read_exact(&mut answer).is_ok() {
                assert_eq!(answer[4..], calls.to_be_bytes());
                calls += 1;
            }
            calls
        });
        let load = Load(stop);
        move_all(&old, &new, 1);
        drop(load);
        assert_eq!(sent.join().unwrap(), came.join().unwrap());
    });
    let status = new.status();
    assert_eq!(status["moves"]["adopted"], 1, "{status}");
}

#[test]
fn descriptors_are_back_to_where_they_were() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let all = clients(&old, 20);
    let before = (old.number("open_descriptors"), new.number("open_descriptors"));
    for generation in 1..=3 {
        if generation == 1 {
            take_over(&old, &new, generation);
        } else {
            new.ordered(generation, "accept");
            old.ordered(generation, "quiesce");
        }
        old.ordered(generation, "migrate");
        old.until("all have moved", |status| status["connections"] == 0);
        old.ordered(generation, "return");
        old.until("all are back", |status| status["connections"] == 60);
    }
    // What is left in the new one are the listeners and its end of the session.
    new.until("its descriptors", |status| {
        status["open_descriptors"].as_u64() == Some(before.1 + 4 + 1)
    });
    old.until("its descriptors", |status| {
        status["open_descriptors"].as_u64() <= Some(before.0 + 1)
    });
    drop(all);
}

#[test]
fn datagrams_go_on() {
    let place = Place::new();
    let (mut old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(old.address("udp")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut all = 0;
    let mut some = |what: &str| {
        for n in 0..20 {
            datagram(&socket, &format!("{what} {n}")).unwrap();
            all += 1;
        }
    };
    some("old");
    take_over(&old, &new, 1);
    // Those that come while nobody reads wait in the socket.
    new.signal(Signal::STOP);
    socket.set_read_timeout(Some(NEVER)).unwrap();
    socket.send(b"waits").unwrap();
    new.signal(Signal::CONT);
    let mut answer = [0; 16];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"waits");
    some("new");
    old.ordered(1, "migrate");
    new.ordered(1, "commit");
    old.ordered(1, "retire");
    assert_eq!(old.ended().code(), Some(0));
    some("alone");
    assert_eq!(all, 60);
}
