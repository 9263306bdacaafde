//! Either process is killed or stands still, at points that a seed draws. What a live process could serve is served.

use rustix::process::Signal;

use super::clients::{Client, Kind};
use super::support::{Place, Seed, Sidecar, until};

/// Clients of each kind.
const EACH: u64 = 8;

/// How far the script goes before something happens.
const STEPS: u64 = 9;

/// One round of the script up to a point that is drawn; who is the victim then, and who the survivor.
fn round(seed: &mut Seed) {
    let place = Place::new();
    let (old, new) = (place.serving("a", ""), place.waiting("b", ""));
    let mut clients = Vec::new();
    for kind in Kind::ALL {
        let address = old.address(kind.name());
        clients.extend((0..EACH).map(|n| Client::connect(address, kind, n).unwrap()));
    }
    for client in &mut clients {
        client.talk(50).unwrap();
    }
    let address = old.address("tcp");
    let (steps, victim_is_old, stops) = (seed.below(STEPS), seed.below(2) == 0, seed.below(2) == 0);
    let (victim, survivor) = if victim_is_old { (&old, &new) } else { (&new, &old) };
    let words = format!(
        "{} after {steps} steps: {}",
        if victim_is_old { "old" } else { "new" },
        if stops { "STOP" } else { "KILL" }
    );
    for step in 0..steps {
        go(&old, &new, step, seed);
    }
    victim.signal(if stops { Signal::STOP } else { Signal::KILL });

    // The survivor notices by itself, and serves if it holds the listeners. A new one that was given none cannot.
    let status = survivor.until("it is alone", |status| status["session"] == false);
    if status["listeners"] == false {
        assert!(victim_is_old && steps < 2, "{words}: {status}");
        return;
    }
    // Who has not been let in yet serves once the other is dead: that it stands still is another matter.
    if !victim_is_old || steps >= 3 || !stops {
        survivor.until(&words, |status| status["accepting"] == true);
        for n in 0..5 {
            Client::connect(address, Kind::Tcp, n).unwrap().talk(100).unwrap();
        }
    }
    if stops {
        // Nobody has died: when it goes on, everybody is served by whoever has them.
        victim.signal(Signal::CONT);
        for client in &mut clients {
            client
                .talk(50)
                .unwrap_or_else(|error| panic!("{words}: {client:?}: {error}\n{}{}", old.said(), new.said()));
        }
    } else {
        // What the survivor owns, and what has come to it since, is served; what the victim owned has died with it.
        let served = clients.iter_mut().filter_map(|client| client.talk(50).ok()).count() as u64;
        until(
            &format!(
                "{words}: {served} are served, it has {}",
                survivor.number("connections")
            ),
            || (survivor.number("connections") == served).then_some(()),
        );
        if !victim_is_old && steps < 5 || victim_is_old && steps == STEPS {
            assert_eq!(served, 3 * EACH, "{words}: nothing had moved, or everything");
        }
    }
}

fn go(old: &Sidecar, new: &Sidecar, step: u64, seed: &mut Seed) {
    match step {
        0 => new.called(1, old),
        1 => {
            old.ordered(1, "offer");
            new.until("the listeners", |status| status["listeners"] == true);
        }
        2 => new.ordered(1, "accept"),
        3 => old.ordered(1, "quiesce"),
        4 => {
            old.ordered(1, "migrate");
            // Some have moved, or none, or all.
            for _ in 0..seed.below(3) {
                old.status();
            }
        }
        5 => drop(old.until("all have moved", |status| status["connections"] == 0)),
        6 => new.ordered(1, "commit"),
        7 => {
            old.ordered(1, "return");
            for _ in 0..seed.below(3) {
                old.status();
            }
        }
        _ => drop(old.until("all are back", |status| status["connections"] == 3 * EACH)),
    }
}

fn rounds(seed: u64) {
    let mut seed = Seed(seed);
    for _ in 0..5 {
        round(&mut seed);
    }
}

#[test]
fn rounds_one_to_five() {
    rounds(1);
}

#[test]
fn rounds_six_to_ten() {
    rounds(2);
}

#[test]
fn rounds_eleven_to_fifteen() {
    rounds(3);
}

#[test]
fn rounds_sixteen_to_twenty() {
    rounds(4);
}
