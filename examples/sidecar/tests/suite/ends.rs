//! Who has the target in the end, and what the files say.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::clients::{Client, Kind};
use super::support::{Place, move_all, take_over, until};

#[test]
fn the_new_one_commits_and_the_old_one_leaves() {
    let place = Place::new();
    let (mut old, new) = (place.serving("a", ""), place.waiting("b", ""));
    assert_eq!(fs::read_to_string(place.path("committed")).unwrap(), "a 0 1\n");
    let address = old.address("tcp");
    let mut clients: Vec<Client> = (0..20)
        .map(|n| Client::connect(address, Kind::Tcp, n).unwrap())
        .collect();
    move_all(&old, &new, 3);
    assert_eq!(fs::read_to_string(place.path("committed")).unwrap(), "a 0 1\n");
    assert_eq!(new.status()["committed_generation"], json!(null));
    new.ordered(3, "commit");
    assert_eq!(fs::read_to_string(place.path("committed")).unwrap(), "b 3 2\n");
    assert_eq!(new.status()["committed_generation"], 3);
    // Both say they have committed until the old one gives it up.
    assert_eq!(old.status()["committed_generation"], 0);
    old.ordered(3, "retire");
    assert_eq!(old.ended().code(), Some(0));
    for client in &mut clients {
        client.talk(100).unwrap();
    }
    Client::connect(address, Kind::Tcp, 99).unwrap().talk(10).unwrap();
    // And the next upgrade takes over from the new one.
    let third = place.waiting("a", "");
    assert_eq!(third.status()["generation"], 3);
    let (status, answer) = third.call(2, &new);
    assert_eq!(
        (status, &answer["answer"]),
        (409, &json!("stale")),
        "an attempt that is over"
    );
    move_all(&new, &third, 4);
    for client in &mut clients {
        client.talk(100).unwrap();
    }
}

#[test]
fn who_has_quiesced_accepts_nobody_and_keeps_whom_it_has() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("http");
    let mut early = Client::connect(address, Kind::Http, 1).unwrap();
    assert_eq!(early.talk(10).unwrap().instance, old.instance);
    take_over(&old, &new, 1);
    for n in 0..50 {
        let mut late = Client::connect(address, Kind::Http, n).unwrap();
        assert_eq!(late.talk(10).unwrap().instance, new.instance);
    }
    assert_eq!(early.talk(10).unwrap().instance, old.instance);
    assert_eq!((old.number("accepted"), new.number("accepted")), (1, 50));
}

#[test]
fn who_asks_for_everything_back_is_committed_again() {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    move_all(&old, &new, 1);
    new.ordered(1, "commit");
    old.ordered(1, "return");
    assert_eq!(fs::read_to_string(place.path("committed")).unwrap(), "a 1 1\n");
    assert_eq!(old.status()["committed_generation"], 1);
    new.until("no commit", |status| {
        status["committed_generation"] == json!(null) && status["accepting"] == false
    });
    let (status, answer) = new.order(1, "accept");
    assert_eq!(status, 409, "nothing leads forward again in this attempt: {answer}");
    let (status, answer) = new.post("/fence", &json!({ "generation": 0 }));
    assert_eq!((status, &answer["generation"]), (409, &json!(1)));
}

#[test]
fn an_old_one_whose_successor_dies_while_it_lingers_stays() {
    let place = Place::new();
    let (mut old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("tcp");
    move_all(&old, &new, 1);
    new.ordered(1, "commit");
    old.ordered(1, "retire");
    assert_eq!(old.status()["accepting"], false);
    new.signal(Signal::KILL);
    old.until("it serves again", |status| {
        status["accepting"] == true && status["session"] == false
    });
    Client::connect(address, Kind::Tcp, 1).unwrap().talk(100).unwrap();
    assert!(old.lives());
}

#[test]
fn a_new_one_that_holds_nothing_binds_when_the_old_one_is_gone() {
    let place = Place::new();
    let (mut old, new) = (place.serving("a", ""), place.waiting("b", ""));
    new.called(1, &old);
    old.signal(Signal::KILL);
    old.ended();
    new.until("no session", |status| status["session"] == false);
    assert_eq!(new.status()["listeners"], false);
    new.ordered(1, "commit");
    new.until("the listeners", |status| {
        status["accepting"] == true && status["listeners"] == true
    });
    Client::connect(new.address("tcp"), Kind::Tcp, 1)
        .unwrap()
        .talk(100)
        .unwrap();
    assert_eq!(fs::read_to_string(place.path("committed")).unwrap(), "b 1 2\n");
}

#[test]
fn a_new_one_that_is_stopped_gives_way() {
    let place = Place::new();
    let (old, mut new) = (place.serving("a", ""), place.waiting("b", ""));
    let address = old.address("http");
    take_over(&old, &new, 1);
    // Told to stop while it is the one that polls: the old one goes on, and nobody is refused.
    let stopped = new.post("/stop", &json!({}));
    assert_eq!(stopped.0, 200);
    old.until("it serves again", |status| status["accepting"] == true);
    for n in 0..20 {
        Client::connect(address, Kind::Http, n).unwrap().talk(100).unwrap();
    }
    assert_eq!(new.ended().code(), Some(0));
}

/// A request that takes its time is with the first process when that leaves; the third takes the connection when it can.
#[test]
fn what_the_first_has_left_behind_ends_up_with_the_third() {
    let place = Place::new();
    let mut first = place.serving("a", "--leftover-ms 600000");
    let mut late = Client::connect(first.address("framed"), Kind::Framed, 1).unwrap();
    late.talk(100).unwrap();
    late.begin(100).unwrap();
    until("a call under way", || (first.number("connections") == 1).then_some(()));
    let second = place.waiting("b", "--leftover-ms 600000");
    take_over(&first, &second, 1);
    first.ordered(1, "migrate");
    first.until("declined", |status| status["moves"]["declined"] == 1);
    second.ordered(1, "commit");
    first.ordered(1, "retire");
    let status = first.until("it has left", |status| {
        status["retired"] == true && status["session"] == false
    });
    assert_eq!(
        (&status["connections"], &status["listeners"]),
        (&json!(1), &json!(false))
    );

    let mut second = second;
    let third = place.waiting("a", "--leftover-ms 600000");
    // The second one may be asking the first just now.
    move_all(&second, &third, 2);
    third.ordered(2, "commit");
    second.ordered(2, "retire");
    assert_eq!(second.ended().code(), Some(0));
    assert_eq!(first.number("connections"), 1, "it is where it was");
    late.finish(100).unwrap();
    // Now it can move, and nobody has to say so.
    third.until("the connection", |status| status["connections"] == 1);
    assert_eq!(first.ended().code(), Some(0));
    late.talk(100).unwrap();
    assert!(!place.path("leftover.1").exists());
    late.end().unwrap();
}

/// It comes to its time with nobody having called, and the client sees an end.
#[test]
fn what_nobody_calls_for_ends_at_its_time() {
    let place = Place::new();
    let mut first = place.serving("a", "--leftover-ms 300");
    let mut late = Client::connect(first.address("framed"), Kind::Framed, 1).unwrap();
    late.begin(100).unwrap();
    until("a call under way", || (first.number("connections") == 1).then_some(()));
    let second = place.waiting("b", "");
    take_over(&first, &second, 1);
    first.ordered(1, "migrate");
    first.until("declined", |status| status["moves"]["declined"] == 1);
    second.ordered(1, "commit");
    first.ordered(1, "retire");
    assert_eq!(first.ended().code(), Some(0));
    assert!(
        first.said().contains("1 connections that could not move"),
        "{}",
        first.said()
    );
    assert!(late.finish(100).is_err());
}
