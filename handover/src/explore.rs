//! Everything that can happen between two agents, tried: deliveries, pauses, deaths, orders, in every order.
//!
//! Each process has a clock of its own, which jumps to its next deadline whenever it likes: a process that is stopped for
//! long, and one that is merely slow, are both in this.

mod laws;
mod refinement;
mod world;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::Order;
pub(crate) use world::EPOCH_MS;
use world::{ALL, Event, Message, NEW, OLD, Process, Rules, World, world, world_of};

/// Every state that can be reached; how many there are.
fn explore(first: World, rules: &Rules) -> Result<usize, String> {
    let mut seen: HashMap<World, (), BuildHasherDefault<DefaultHasher>> = HashMap::default();
    let mut todo = VecDeque::from([(first.clone(), Vec::<Event>::new())]);
    let crashes = first.crashes;
    seen.insert(first, ());
    while let Some((world, path)) = todo.pop_front() {
        for event in world.events(rules) {
            let mut next = world.clone();
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                next.step(&event, rules);
                next.check(next.crashes == crashes);
                if !seen.contains_key(&next) {
                    next.clone().settle(rules);
                }
                next
            }));
            let mut path = path.clone();
            path.push(event);
            match tried {
                Ok(next) if !seen.contains_key(&next) => {
                    seen.insert(next.clone(), ());
                    todo.push_back((next, path));
                }
                Ok(_) => {}
                Err(panic) => {
                    let what = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    return Err(format!("{} after {path:?}", what.unwrap_or_default()));
                }
            }
        }
    }
    Ok(seen.len())
}

fn holds(first: World) {
    match explore(first, &ALL) {
        Ok(states) => {
            println!("{states} states");
            assert!(states > 5_000, "only {states} states: the world stands still");
        }
        Err(why) => panic!("{why}"),
    }
}

fn breaks(rules: Rules, what: &str) {
    let why = explore(world(1, 1, 0, 1), &rules).expect_err("a rule is missing and nothing breaks");
    assert!(why.starts_with(what), "{why}");
}

#[test]
fn nothing_is_lost_when_one_of_two_dies() {
    holds(world(1, 1, 0, 1));
}

#[test]
fn without_a_token_two_processes_read_one_connection() {
    breaks(Rules { token: false, ..ALL }, "S4");
}

#[test]
fn without_a_copy_a_connection_dies_with_the_process_that_it_was_sent_to() {
    breaks(
        Rules {
            keep_copy: false,
            ..ALL
        },
        "S5",
    );
}

#[test]
fn who_leaves_without_listening_leaves_nobody() {
    breaks(
        Rules {
            read_first: false,
            ..ALL
        },
        "S3",
    );
}

#[test]
fn a_second_attempt_goes_forward_where_the_first_turned_back() {
    holds(World {
        whole: false,
        ..world(1, 0, 0, 2)
    });
}

/// Up to where the new one has committed, and the old one may leave.
fn committed(mut world: World) -> World {
    let deliver = |world: &mut World| {
        while let Some(side) = (0..2).find(|side| !world.processes[*side].inbox.is_empty()) {
            world.step(&Event::Deliver(side), &ALL);
        }
    };
    world.step(&Event::Connect, &ALL);
    deliver(&mut world);
    for (side, order) in [
        (OLD, Order::Offer),
        (NEW, Order::Accept),
        (OLD, Order::Quiesce),
        (NEW, Order::Commit),
    ] {
        world.step(&Event::Order(side, order), &ALL);
        deliver(&mut world);
    }
    world
}

/// What could not move before the old one left is called for later, or is there until its time. Nobody turns back here: the
/// world after that is the one of other tests.
#[test]
fn what_was_left_behind_follows_or_ends() {
    holds(committed(world_of(250, 1, 0, 1, 0)));
}

#[test]
#[ignore = "minutes, and gigabytes"]
fn larger_worlds_hold() {
    holds(world(1, 0, 0, 2));
    holds(world(1, 1, 1, 1));
    holds(world(2, 1, 0, 1));
    holds(world_of(250, 1, 0, 1, 1));
    holds(committed(world_of(250, 1, 1, 1, 1)));
}
