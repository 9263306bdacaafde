//! Strangers, garbage, and releases that are no good.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with};
use serde_json::{Value, json};

use super::clients::{Client, Kind, read_message};
use super::support::{NEVER, Place, Sidecar, move_all, take_over, until};

#[test]
fn garbage_on_the_admin_socket_is_answered_with_words_or_not_at_all() {
    let place = Place::new();
    let sidecar = place.serving("a", "");
    let many = "x".repeat(70_000);
    for (method, path, body, wanted, word) in [
        ("GET", "/nothing", "", 404, "GET /status"),
        ("DELETE", "/status", "", 405, "only GET and POST"),
        ("POST", "/handover", "", 400, "the body"),
        ("POST", "/handover", "{\"order\":\"offer\"}", 400, "generation"),
        (
            "POST",
            "/handover",
            "{\"order\":\"destroy\",\"generation\":1}",
            400,
            "unknown variant",
        ),
        (
            "POST",
            "/handover",
            "{\"order\":\"offer\",\"generation\":-1}",
            400,
            "the body",
        ),
        ("POST", "/fence", "{\"generation\":1,\"more\":2}", 400, "unknown field"),
        ("POST", "/ingress", "{\"order\":\"close\"}", 400, "reopen_by_ms"),
        (
            "POST",
            "/call",
            "{\"generation\":0,\"peer\":\"/no/such/socket\"}",
            503,
            "/no/such/socket",
        ),
        (
            "POST",
            "/config",
            "{\"version\":\"c\",\"path\":\"/no/such/file\"}",
            422,
            "/no/such/file",
        ),
        ("POST", "/fence", many.as_str(), 400, "length limit exceeded"),
    ] {
        let (status, answer) = sidecar.try_ask(method, path, body).unwrap();
        assert_eq!(status, wanted, "{path} {answer}");
        assert!(answer.contains(word), "{path}: {answer}");
    }
    for bytes in [&b"\0\0\0\0"[..], b"GET / HTTP/9.9\r\n\r\n", b"nonsense\r\n\r\n", b""] {
        let mut stream = UnixStream::connect(&sidecar.admin).unwrap();
        stream.set_read_timeout(Some(NEVER)).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    let status = sidecar.status();
    assert_eq!(
        (&status["generation"], &status["ingress"]),
        (&json!(0), &json!("open")),
        "nothing has happened"
    );
}

/// Calls a doorbell and says this.
fn ring(path: &Path, bytes: &[u8]) {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    let _ = send(&socket, bytes, SendFlags::NOSIGNAL);
}

#[test]
fn garbage_on_the_doorbell_disturbs_nobody() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let mut client = Client::connect(old.address("tcp"), Kind::Tcp, 1).unwrap();
    client.talk(100).unwrap();
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[7; 60_000],
        &[1, 1, 255, 255, 255, 255],
        b"",
    ];
    for bytes in garbage {
        ring(&old.doorbell(), bytes);
    }
    take_over(&old, &new, 1);
    // And in the middle of one.
    for bytes in garbage {
        ring(&old.doorbell(), bytes);
        ring(&new.doorbell(), bytes);
    }
    assert_eq!(old.status()["session"], true);
    old.ordered(1, "migrate");
    new.until("the connection", |status| status["connections"] == 1);
    client.talk(100).unwrap();
}

#[test]
fn a_second_upgrade_waits_for_the_first() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    take_over(&old, &new, 1);
    let third = place.waiting("b", "");
    let (status, answer) = third.call(2, &old);
    assert_eq!(status, 503);
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("a hand-over is under way already"), "{reason}");
    assert_eq!(third.status()["session"], false);
    assert_eq!(old.status()["session"], true, "the first goes on");
    move_all(&old, &new, 1);
    // When it is over, the second may come.
    new.ordered(1, "commit");
    old.ordered(1, "return");
    drop(new);
    old.until("no session", |status| status["session"] == false);
    move_all(&old, &third, 2);
}

#[test]
fn a_path_that_a_dead_process_left_is_taken_and_a_living_one_is_not() {
    let place = Place::new();
    let (admin, log) = (place.path("admin.sock"), place.path("log"));
    for path in [admin.clone(), place.path("admin.sock.handover")] {
        // Nobody listens there any more.
        drop(UnixListener::bind(&path));
        assert!(path.exists());
    }
    let start = |words: &str| place.spawn_at(&admin, &log, "a", 1, words);
    // The doorbell's file is of another kind of socket, which is nobody's either.
    let first = start("");
    first.until("it serves", |status| status["accepting"] == true);
    let log_of_second = place.path("second.log");
    let mut second = place.spawn_at(&admin, &log_of_second, "b", 2, "--passive");
    assert_eq!(second.ended().code(), Some(2));
    assert!(
        second.said().contains("a living process is called there"),
        "{}",
        second.said()
    );
    assert_eq!(first.status()["instance"], 1, "the first one is still there");
    drop(first);
    fs::remove_file(&admin).unwrap();
    fs::write(&admin, "not a socket").unwrap();
    let mut third = start("");
    assert_eq!(third.ended().code(), Some(2));
    assert!(third.said().contains("a file that is no socket"), "{}", third.said());
    drop(UnixDatagram::bind(place.path("other")).unwrap());
}

#[test]
fn bad_input_is_refused_before_anything_happens() {
    let place = Place::new();
    fs::write(place.path("bad.json"), "{").unwrap();
    let bad = place.path("bad.json");
    for (words, said) in [
        ("--fault explode", "is no fault"),
        ("--http 127.0.0.1:0=127.0.0.1:1", "is given twice"),
        (&*format!("--config {}", bad.display()), "bad.json"),
        ("--log /no/such/directory/log", "--log /no/such/directory/log"),
        ("--nonsense", "--nonsense"),
    ] {
        let mut sidecar = place.spawn("a", words);
        assert_eq!(sidecar.ended().code(), Some(2), "{words}");
        assert!(sidecar.said().contains(said), "{words}: {}", sidecar.said());
        assert!(!sidecar.admin.exists(), "{words}");
    }
    fs::write(place.path("ingress"), "ajar\n").unwrap();
    let mut sidecar = place.spawn("a", "");
    assert_eq!(sidecar.ended().code(), Some(2));
    assert!(sidecar.said().contains("ingress:1: "), "{}", sidecar.said());
}

fn serves(old: &Sidecar, clients: &mut [Client]) {
    old.until("it serves", |status| status["accepting"] == true);
    for client in clients {
        client.talk(100).unwrap();
    }
    let mut one = Client::connect(old.address("tcp"), Kind::Tcp, 77).unwrap();
    one.talk(100).unwrap();
}

#[test]
fn releases_that_are_no_good_get_nothing() {
    let place = Place::new();
    let old = place.serving("a", "");
    let address = old.address("tcp");
    let mut clients: Vec<Client> = (0..20)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    serves(&old, &mut clients);

    let mut crashes = place.spawn("b", "--passive --fault crash");
    assert_eq!(crashes.ended().code(), Some(1));
    serves(&old, &mut clients);

    // It holds the listeners by now, and is not let to poll them.
    for (generation, fault) in [(1, "self-check"), (2, "unready")] {
        let bad = place.waiting("b", &format!("--fault {fault}"));
        bad.called(generation, &old);
        old.ordered(generation, "offer");
        bad.until("the listeners", |status| status["listeners"] == true);
        let (status, answer) = bad.order(generation, "accept");
        assert_eq!(status, 503, "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains("self-checks"), "{answer}");
        assert_eq!(old.order(generation, "quiesce").0, 503, "the old one goes on polling");
        assert_eq!(old.order(generation, "migrate").0, 503);
        old.ordered(generation, "return");
        drop(bad);
        old.until("no session", |status| status["session"] == false);
        serves(&old, &mut clients);
    }

    // One that has no such listener as the old one has: it is not claimed, and nothing is passed.
    let other = place.waiting("b", "--tcp 127.0.0.2:0=127.0.0.1:1");
    other.called(3, &old);
    old.ordered(3, "offer");
    other.until("no session", |status| {
        status["session"] == false && status["listeners"] == false
    });
    assert!(
        other.said().contains("127.0.0.2:0: it was not passed"),
        "{}",
        other.said()
    );
    drop(other);
    serves(&old, &mut clients);
}

#[test]
fn one_that_dies_with_connections_in_its_hands_takes_only_those() {
    let place = Place::new();
    let old = place.serving("a", "");
    let mut mortal = place.waiting("b", "--fault dies-mid-handover");
    let address = old.address("tcp");
    // More than one message can carry.
    let mut clients: Vec<Client> = (0..300)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    take_over(&old, &mortal, 1);
    old.ordered(1, "migrate");
    assert_eq!(mortal.ended().code(), None, "killed by a signal");
    let status = old.until("it serves", |status| {
        status["accepting"] == true && status["session"] == false
    });
    let owned = status["connections"].as_u64().unwrap();
    assert!(owned < 300, "it had taken some: {status}");
    let served = clients.iter_mut().filter_map(|client| client.talk(10).ok()).count() as u64;
    assert_eq!(served, owned, "what a living process owns is served");
    until("the others' end", || (old.number("connections") == owned).then_some(()));
}

#[test]
fn one_without_descriptors_gets_what_it_can_hold() {
    let place = Place::new();
    let old = place.serving("a", "");
    let address = old.address("tcp");
    let mut clients: Vec<Client> = (0..300)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    // Too few to serve at all: its own check says so.
    let poor = place.poor("b", 200);
    assert_eq!(poor.status()["self_check"]["failed"], "descriptors");
    drop(poor);
    // Enough to serve, and not for all that are moved.
    let poor = place.poor("b", 320);
    assert_eq!(poor.status()["self_check"], "passed");
    take_over(&old, &poor, 1);
    old.ordered(1, "migrate");
    old.until("what does not fit stays", |status| {
        status["session"] == false && status["accepting"] == true
    });
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    let owned = (old.number("connections"), poor.number("connections"));
    assert!(owned.0 > 0 && owned.0 + owned.1 == 300, "{owned:?}");
}

/// The old one may open nothing any more when it is to give its connections away: it keeps them and serves on, polls again
/// as soon as it can when the new one dies, and gives all to the next one.
#[test]
fn an_old_one_that_runs_out_of_descriptors_serves_on() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("tcp");
    let mut clients: Vec<Client> = (0..60)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    take_over(&old, &new, 1);
    // A call that stands: nobody new could call.
    let mut call = UnixStream::connect(&old.admin).unwrap();
    let mut known = Vec::new();
    let mut say = |method: &str, path: &str, body: &str| {
        let length = body.len();
        write!(
            call,
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let (head, body) = read_message(&mut call, &mut known).unwrap().unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    say("GET", "/status", "");
    let before = old.limit_descriptors(3);
    say("POST", "/handover", "{\"order\":\"migrate\",\"generation\":1}");
    let status = until("all declined", || {
        let status = say("GET", "/status", "");
        (status["moves"]["declined"] == 60).then_some(status)
    });
    assert_eq!(
        (&status["connections"], &status["moves"]["moved"]),
        (&json!(60), &json!(0))
    );
    assert_eq!(status["open_descriptors"], Value::Null, "there are none to look with");
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    // It is alone again, and cannot poll all at once.
    drop(new);
    until("it knows", || old.said().contains("it cannot be polled").then_some(()));
    old.limit_descriptors(before);
    serves(&old, &mut clients);
    let third = place.waiting("b", "");
    move_all(&old, &third, 2);
    for client in &mut clients {
        client.talk(10).unwrap();
    }
    assert_eq!(third.number("connections"), 60);
}
