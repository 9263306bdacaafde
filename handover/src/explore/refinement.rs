//! Each step of the two real machines is one that the agents may take which the crate for upgrades explores its controller
//! with: what is proved there of a controller holds with these machines below it.
//!
//! A step here may be several there, or none: an order here is obeyed when its frame has arrived, and there at once. None of
//! those on the way may show what neither its beginning nor its end shows. Which of the states there a state here may stand
//! for is followed along each path, so hidden parts, such as a session, must fit from the first step to the last. A death
//! counts from when the other notices it: until then the dead one shows what it showed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use unattended_upgrade::Which;
use unattended_upgrade::explore::{AgentSeen, Agents, AgentsSeen, Owner};

use super::{ALL, Event, Message, NEW, OLD, World, world};
use crate::ConnectionId;
use crate::wire::Frame;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

const CONNECTION: ConnectionId = ConnectionId(0);

/// States of the agents there, by number.
#[derive(Default)]
struct Abstract {
    known: Vec<Agents>,
    numbers: Map<Agents, usize>,
    steps: BTreeMap<usize, Vec<usize>>,
}

impl Abstract {
    fn number(&mut self, agents: Agents) -> usize {
        if let Some(number) = self.numbers.get(&agents) {
            return *number;
        }
        self.known.push(agents.clone());
        self.numbers.insert(agents, self.known.len() - 1);
        self.known.len() - 1
    }

    fn steps(&mut self, from: usize) -> Vec<usize> {
        if let Some(steps) = self.steps.get(&from) {
            return steps.clone();
        }
        let next = self.known[from].steps();
        let steps: Vec<usize> = next.into_iter().map(|agents| self.number(agents)).collect();
        self.steps.insert(from, steps.clone());
        steps
    }

    /// All that show `to`, after any number of steps from one of `from` that show nothing else on the way.
    fn after(&mut self, from: &BTreeSet<usize>, to: AgentsSeen) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        for first in from {
            let begin = self.known[*first].seen();
            let mut seen = BTreeSet::from([*first]);
            let mut todo = vec![*first];
            while let Some(at) = todo.pop() {
                if self.known[at].seen() == to {
                    reached.insert(at);
                }
                for next in self.steps(at) {
                    if between(begin, self.known[next].seen(), to) && seen.insert(next) {
                        todo.push(next);
                    }
                }
            }
        }
        reached
    }

    fn deaths(&mut self, from: &BTreeSet<usize>, which: Which) -> BTreeSet<usize> {
        let all: Vec<Agents> = from.iter().flat_map(|at| self.known[*at].dies(which)).collect();
        all.into_iter().map(|agents| self.number(agents)).collect()
    }
}

fn between(from: AgentsSeen, way: AgentsSeen, to: AgentsSeen) -> bool {
    let one = |from: AgentSeen, way: AgentSeen, to: AgentSeen| {
        let flags = |seen: AgentSeen| [seen.runs, seen.listeners, seen.accepting, seen.retired];
        let (from, way, to) = (flags(from), flags(way), flags(to));
        (0..from.len()).all(|at| way[at] == from[at] || way[at] == to[at])
    };
    one(from.old, way.old, to.old)
        && one(from.new, way.new, to.new)
        && (way.connection == from.connection || way.connection == to.connection)
}

/// It has died, and the other knows.
fn is_gone(world: &World, side: usize) -> bool {
    let (this, other) = (&world.processes[side], &world.processes[1 - side]);
    let unnoticed = other.alive && other.connected;
    !(this.alive || this.agent.has_left() || unnoticed)
}

/// What shows of the two machines: one thing, or two where it is not decided yet whether what a dead one had offered is the
/// other's.
fn seen(world: &World) -> Vec<AgentsSeen> {
    let one = |side: usize| {
        let agent = &world.processes[side].agent;
        let (gone, left, status) = (is_gone(world, side), agent.has_left(), agent.status());
        AgentSeen {
            runs: !gone,
            listeners: !gone && !left && status.holds,
            accepting: !gone && !left && status.polls,
            retired: !gone && left,
        }
    };
    let at = |side: usize| if side == OLD { Owner::Old } else { Owner::New };
    let offered = |to: usize| {
        if to == OLD {
            Owner::OfferedToOld
        } else {
            Owner::OfferedToNew
        }
    };
    let polled = (0..2).find(|side| world.processes[*side].copies.get(&CONNECTION) == Some(&true));
    // An offer that was made when the other had hung up already is none.
    let arrives = |giver: usize| {
        let to = &world.processes[1 - giver];
        to.copies.contains_key(&CONNECTION)
            || to
                .inbox
                .iter()
                .any(|message| matches!(message, Message::Frame(Frame::Offer { .. })))
    };
    let token = world
        .tokens
        .iter()
        .map(|(giver, _)| *giver)
        .find(|giver| arrives(*giver));
    let owner = world.owner.get(&CONNECTION).copied().unwrap_or(OLD);
    let connections = match (polled, token) {
        (Some(side), _) => vec![at(side)],
        (None, Some(giver)) if is_gone(world, giver) => vec![at(1 - giver), Owner::Gone],
        (None, Some(giver)) => vec![offered(1 - giver)],
        (None, None) if is_gone(world, owner) || world.cut.contains(&CONNECTION) => vec![Owner::Gone],
        (None, None) => vec![at(owner)],
    };
    let show = |connection| AgentsSeen {
        old: one(OLD),
        new: one(NEW),
        connection,
    };
    connections.into_iter().map(show).collect()
}

/// Follows every path of the machines; how many states there are, or which step is none of the agents there.
fn refines(first: World) -> Result<usize, String> {
    let mut agents = Abstract::default();
    let begin = agents.number(Agents::beside_each_other());
    // Sets of states there, by number, and where a step leads from one of them.
    let mut sets = vec![BTreeSet::from([begin])];
    let mut leads: Map<(usize, [bool; 2], Vec<AgentsSeen>), usize> = Map::default();
    let mut todo = VecDeque::from([(first.clone(), 0, 0)]);
    let mut done: Map<(World, usize), ()> = Map::default();
    let mut came_from: Vec<(usize, Option<Event>)> = vec![(0, None)];
    done.insert((first, 0), ());
    while let Some((world, stands_for, place)) = todo.pop_front() {
        for event in world.events(&ALL) {
            let mut next = world.clone();
            next.step(&event, &ALL);
            let died = [OLD, NEW].map(|side| is_gone(&next, side) && !is_gone(&world, side));
            let shows = seen(&next);
            let set = *leads
                .entry((stands_for, died, shows))
                .or_insert_with_key(|(_, died, shows)| {
                    let mut from = sets[stands_for].clone();
                    for (side, which) in [(OLD, Which::Old), (NEW, Which::New)] {
                        if died[side] {
                            from = agents.deaths(&from, which);
                        }
                    }
                    let reached = shows.iter().flat_map(|to| agents.after(&from, *to)).collect();
                    let known = sets.iter().position(|set| *set == reached);
                    known.unwrap_or_else(|| {
                        sets.push(reached);
                        sets.len() - 1
                    })
                });
            if sets[set].is_empty() {
                let (before, shows) = (seen(&world), seen(&next));
                let mut path = vec![event];
                let mut at = place;
                while let (from, Some(event)) = &came_from[at] {
                    path.insert(0, event.clone());
                    at = *from;
                }
                return Err(format!("{before:?} to {shows:?} after {path:?}"));
            }
            if done.insert((next.clone(), set), ()).is_none() {
                came_from.push((place, Some(event)));
                todo.push_back((next, set, came_from.len() - 1));
            }
        }
    }
    Ok(done.len())
}

#[test]
fn the_machines_do_what_the_agents_do_that_controllers_are_explored_with() {
    let without_clocks = World {
        whole: false,
        ..world(1, 1, 0, 1)
    };
    for first in [without_clocks, world(1, 0, 0, 1)] {
        match refines(first) {
            Ok(states) => {
                println!("{states} states");
                assert!(states > 500, "only {states} states: the world stands still");
            }
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
#[ignore = "minutes"]
fn with_clocks_that_run_apart_too() {
    for first in [
        world(1, 1, 0, 1),
        World {
            whole: false,
            ..world(1, 0, 0, 2)
        },
    ] {
        match refines(first) {
            Ok(states) => println!("{states} states"),
            Err(why) => panic!("{why}"),
        }
    }
}
