//! What a single process does for its clients and its controller.

use std::fs;
use std::io::Write as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::clients::{Client, Kind, connect, read_message};
use super::support::{Place, Sidecar, until};

/// Status and head of the answer to a request on the HTTP listener.
fn get(sidecar: &Sidecar, path: &str) -> (u16, String, Vec<u8>) {
    let mut stream = connect(sidecar.address("http")).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let (head, body) = read_message(&mut stream, &mut Vec::new()).unwrap().unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, body)
}

/// How many requests of a class there were.
fn count(sidecar: &Sidecar, protocol: &str, class: &str) -> u64 {
    let (_, text) = sidecar.try_ask("GET", "/metrics", "").unwrap();
    let series = format!("sidecar_requests_total{{protocol=\"{protocol}\",class=\"{class}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series)).unwrap();
    line.parse().unwrap()
}

#[test]
fn faults_have_an_owner() {
    let place = Place::new();
    let sidecar = place.serving("a", "");
    assert_eq!(get(&sidecar, "/fine").0, 200);
    let (status, head, _) = get(&sidecar, "/broken");
    assert_eq!(status, 500);
    assert!(
        !head.contains("x-sidecar-fault"),
        "the application's own error is passed on: {head}"
    );
    let (status, head, _) = get(&sidecar, "/gone");
    assert_eq!(status, 503);
    assert!(head.contains("x-sidecar-fault: infrastructure"), "{head}");
    assert_eq!(count(&sidecar, "http", "good"), 1);
    assert_eq!(count(&sidecar, "http", "business"), 1);
    assert_eq!(count(&sidecar, "http", "infrastructure"), 1);
    assert_eq!(count(&sidecar, "http", "own"), 0);
}

#[test]
fn a_broken_release_is_seen_to_be_one() {
    let place = Place::new();
    let errors = place.serving("a", "--fault errors=0.5");
    let own = (0..40).filter(|_| get(&errors, "/x").0 == 500).count() as u64;
    assert!(own > 0 && own < 40, "{own}");
    assert_eq!(count(&errors, "http", "own"), own);
    assert_eq!(count(&errors, "http", "good"), 40 - own);
    let (_, head, _) = (0..100)
        .map(|_| get(&errors, "/x"))
        .find(|(status, ..)| *status == 500)
        .unwrap();
    assert!(head.contains("x-sidecar-fault: own"), "{head}");

    let place = Place::new();
    let leaks = place.serving("a", "--fault leak");
    let before = leaks.number("open_descriptors");
    for _ in 0..50 {
        assert_eq!(get(&leaks, "/x").0, 200);
    }
    assert!(leaks.number("open_descriptors") >= before + 50);

    let place = Place::new();
    let mut crashes = place.spawn("a", "--fault crash");
    assert_eq!(crashes.ended().code(), Some(1));

    let place = Place::new();
    let unready = place.serving("a", "--fault unready");
    assert_eq!(unready.status()["ready"], false);
    assert_eq!(get(&unready, "/healthz").0, 503);
    assert_eq!(get(&unready, "/identity").0, 200);

    let place = Place::new();
    let fails = place.spawn("a", "--fault self-check");
    let status = fails.until("a failed check", |status| status["self_check"]["failed"] == "build");
    assert_eq!(
        (&status["ready"], &status["accepting"], &status["listeners"]),
        (&json!(false), &json!(false), &json!(false))
    );
    let (_, report) = fails.ask("GET", "/self-check", &Value::Null);
    assert_eq!(report["results"][0]["outcome"], "fail");
    let (status, answer) = fails.order(1, "offer");
    assert_eq!(status, 422, "{answer}");
}

#[test]
fn orders_during_the_self_check_do_no_harm() {
    let place = Place::new();
    let sidecar = place.spawn("b", "--passive");
    let mut generation = 0;
    let status = loop {
        // From its first moment on.
        let fence = format!("{{\"generation\":{generation}}}");
        if sidecar.try_ask("POST", "/fence", &fence).is_ok() {
            generation += 1;
            let close = json!({ "order": "close", "reopen_by_ms": u64::MAX - generation });
            assert_eq!(sidecar.post("/ingress", &close).0, 200);
        }
        if generation > 0 {
            let status = sidecar.status();
            if status["self_check"] != "unreported" {
                break status;
            }
        }
    };
    assert_eq!(status["self_check"], "passed");
    assert_eq!(status["generation"].as_u64(), Some(generation - 1));
}

#[test]
fn a_configuration_is_seen_to_be_in_force() {
    let place = Place::new();
    let (good, bad) = (place.path("good.json"), place.path("bad.json"));
    fs::write(&good, "{\"response_headers\": {\"x-config\": \"c1\"}}").unwrap();
    fs::write(&bad, "{\"valid\": false}").unwrap();
    let sidecar = place.serving("a", "");
    assert_eq!(sidecar.status()["config"], Value::Null);
    let push = |version: &str, path| sidecar.post("/config", &json!({ "version": version, "path": path }));
    assert_eq!(push("c1", &good), (200, json!({ "answer": "applied" })));
    assert_eq!(push("c1", &good), (200, json!({ "answer": "already_applied" })));
    assert!(get(&sidecar, "/x").1.contains("x-config: c1"));
    let (status, answer) = push("c2", &bad);
    assert_eq!(status, 422);
    assert!(
        answer["reason"].as_str().unwrap().contains("bad.json: valid"),
        "{answer}"
    );
    let config = &sidecar.status()["config"];
    assert_eq!(config["acknowledged"], "c1");
    assert_eq!(config["refused"][0], "c2");
    assert!(
        get(&sidecar, "/x").1.contains("x-config: c1"),
        "the last good one stays in force"
    );
    let refuses = place.serving("b", "--fault config");
    assert_eq!(
        refuses.post("/config", &json!({ "version": "c1", "path": good })).0,
        422
    );
}

/// Its time passed while it was down: it leads traffic to itself when it works by what the target works by, and not before.
#[test]
fn one_that_comes_again_has_its_configuration_before_its_way_opens() {
    let place = Place::new();
    let mut sidecar = place.serving("a", "");
    let path = place.path("c.json");
    fs::write(&path, "{\"response_headers\": {\"x-config\": \"c1\"}}").unwrap();
    let push = json!({ "version": "c1", "path": path });
    assert_eq!(sidecar.post("/config", &push).0, 200);
    sidecar.signal(Signal::KILL);
    sidecar.ended();
    fs::remove_file(&path).unwrap();
    fs::write(place.path("ingress"), "closed 1\n").unwrap();
    let refuses = place.serving("b", "--fault config");
    for _ in 0..50 {
        let status = refuses.status();
        assert_eq!(
            (&status["ready"], &status["ingress"]),
            (&json!(false), &json!("closed"))
        );
    }
    assert_eq!(refuses.status()["config"]["refused"][0], "c1");
    drop(refuses);
    let again = place.spawn("a", "");
    let status = again.until("an open way", |status| {
        let known = status["config"]["acknowledged"] == "c1";
        assert!(known, "nobody had to tell it: {status}");
        status["ingress"] == "open"
    });
    assert_eq!(status["ready"], true);
    assert!(get(&again, "/x").1.contains("x-config: c1"));
}

#[test]
fn a_closed_way_survives_a_restart_and_opens_by_itself() {
    let place = Place::new();
    let mut sidecar = place.serving("a", "");
    assert_eq!(get(&sidecar, "/healthz").0, 200);
    let never = json!({ "order": "close", "reopen_by_ms": u64::MAX });
    assert_eq!(sidecar.post("/ingress", &never), (200, json!({ "answer": "applied" })));
    assert_eq!(
        sidecar.post("/ingress", &never),
        (200, json!({ "answer": "already_applied" }))
    );
    assert_eq!(get(&sidecar, "/healthz").0, 503);
    assert_eq!(get(&sidecar, "/late").0, 200, "a late client is served");
    sidecar.signal(Signal::KILL);
    sidecar.ended();
    // It comes again, and knows.
    let sidecar = place.serving("a", "");
    assert_eq!(sidecar.status()["ingress"], "closed");
    assert_eq!(get(&sidecar, "/healthz").0, 503);
    // Nobody calls any more, and its time has passed.
    assert_eq!(
        sidecar
            .post("/ingress", &json!({ "order": "close", "reopen_by_ms": 1 }))
            .0,
        200
    );
    let status = sidecar.until("an open way", |status| status["ingress"] == "open");
    assert_eq!(status["reopened"], 1);
    assert_eq!(fs::read_to_string(place.path("ingress")).unwrap(), "open\n");
    assert_eq!(get(&sidecar, "/healthz").0, 200);
}

#[test]
fn a_way_opens_by_itself_only_onto_what_was_verified() {
    let place = Place::new();
    fs::write(place.path("ingress"), "closed 1\n").unwrap();
    let broken = place.spawn("a", "--fault self-check");
    broken.until("a failed check", |status| status["self_check"]["failed"] == "build");
    let unready = place.serving("b", "--fault unready");
    // Both have had many looks at a time that passed long ago.
    for _ in 0..100 {
        assert_eq!(broken.status()["ingress"], "closed");
        assert_eq!(unready.status()["ingress"], "closed");
    }
    drop((broken, unready));
    let good = place.serving("a", "");
    good.until("an open way", |status| status["ingress"] == "open");
}

#[test]
fn a_process_that_stops_finishes_what_is_under_way() {
    let place = Place::new();
    let mut sidecar = place.serving("a", "");
    let address = sidecar.address("http");
    let mut clients: Vec<Client> = (0..20)
        .map(|n| Client::connect(address, Kind::Http, n).unwrap())
        .collect();
    for client in &mut clients {
        client.talk(100).unwrap();
        client.begin(100).unwrap();
    }
    until("requests under way", || {
        (sidecar.number("connections") == 20).then_some(())
    });
    sidecar.signal(Signal::TERM);
    until("drains", || sidecar.said().contains("drains").then_some(()));
    for client in &mut clients {
        let talk = client.finish(100).unwrap();
        assert!(talk.last, "the client is told that this answer is the last one");
    }
    assert_eq!(sidecar.ended().code(), Some(0));
    assert!(
        sidecar.said().contains("unattended-errors schema=1 host=pod-7"),
        "{}",
        sidecar.said()
    );
    assert!(!sidecar.admin.exists(), "its socket is gone with it");
}

#[test]
fn who_waits_to_be_accepted_when_a_process_stops_is_served() {
    let place = Place::new();
    let mut sidecar = place.serving("a", "");
    let address = sidecar.address("http");
    // They queue while it stands still, and it finds them and its signal at the same time.
    sidecar.signal(Signal::STOP);
    let mut clients: Vec<Client> = (0..30)
        .map(|n| Client::connect(address, Kind::Http, n).unwrap())
        .collect();
    for client in &mut clients {
        client.begin(100).unwrap();
    }
    sidecar.signal(Signal::TERM);
    sidecar.signal(Signal::CONT);
    for client in &mut clients {
        assert!(client.finish(100).unwrap().last);
    }
    assert_eq!(sidecar.ended().code(), Some(0));
}
