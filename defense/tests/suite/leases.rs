//! Leases, explored exhaustively: every way in which three holders, their crashes and the end of leases can interleave.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use unattended_defense::{Fence, Lease, Leases, Scope, Taken, app};

/// What one holder is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    /// It has asked for so many keys, in its first or second try.
    Taking(usize, bool),
    /// It has all, with this fence, and may act at any time from now on, however late.
    Armed(u64),
    Done,
    Crashed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    leases: Leases,
    holders: Vec<At>,
    now: i64,
    /// What is acted upon: one fence for each application and zone.
    fences: Vec<Fence>,
    /// The largest fence that each of them has seen, kept apart from the code under test.
    seen: Vec<u64>,
}

const PARTS: [(&str, &str); 6] = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"), ("c", "2")];
const NAMES: [&str; 3] = ["x", "y", "z"];
/// A lease lasts one tick.
const TTL: i64 = 1;

fn scopes() -> Vec<Scope> {
    vec![
        app("a"),
        app("b").label("app", "c"),
        app("a").label("app", "b"),
        app("a").label("zone", "1"),
        app("a").label("zone", "2"),
        Scope::new().label("zone", "1"),
    ]
}

/// Whether two of the scopes above may share a target; written down by hand.
fn overlap(i: usize, j: usize) -> bool {
    !matches!((i.min(j), i.max(j)), (0, 1) | (1, 3 | 4) | (3, 4) | (4, 5))
}

/// The parts a scope acts upon.
fn touches(scope: &Scope) -> Vec<usize> {
    let has = |key: &str, value: &str| scope.values(key).next().is_none() || scope.values(key).any(|v| v == value);
    (0..PARTS.len())
        .filter(|at| has("app", PARTS[*at].0) && has("zone", PARTS[*at].1))
        .collect()
}

struct World {
    scopes: Vec<Scope>,
    chosen: Vec<usize>,
    ticks: i64,
}

impl World {
    fn scope(&self, n: usize) -> &Scope {
        &self.scopes[self.chosen[n]]
    }

    /// No two holders of overlapping scopes.
    fn check(&self, state: &State) {
        let holds = |n: &usize| state.leases.holds(NAMES[*n], self.scope(*n), state.now);
        let holding: Vec<usize> = (0..self.chosen.len()).filter(holds).collect();
        for (at, i) in holding.iter().enumerate() {
            for j in &holding[..at] {
                assert!(!overlap(self.chosen[*i], self.chosen[*j]), "{state:?}");
            }
        }
    }

    /// Everything that can happen next; and whether some live holder can go on without waiting for time.
    fn next(&self, state: &State) -> (Vec<State>, bool) {
        let mut all = Vec::new();
        let mut moves = false;
        for (n, &name) in NAMES.iter().enumerate().take(self.chosen.len()) {
            let scope = self.scope(n);
            let keys = Leases::keys(scope);
            let until = state.now + TTL;
            match &state.holders[n] {
                At::Taking(at, again) if *at < keys.len() => {
                    let mut after = state.clone();
                    if let Taken::Given(_) = after.leases.take(&keys[*at], name, scope, state.now, until) {
                        after.holders[n] = At::Taking(at + 1, *again);
                        moves = true;
                        all.push(after);
                    }
                }
                At::Taking(_, again) => {
                    // Its first keys may have ended meanwhile, so it asks for all of them at once before it acts.
                    let mut after = state.clone();
                    match after.leases.take_all(name, scope, state.now, until) {
                        Ok(fence) => after.holders[n] = At::Armed(fence),
                        Err(_) => {
                            after.leases.release(name);
                            after.holders[n] = if *again { At::Done } else { At::Taking(0, true) };
                        }
                    }
                    moves = true;
                    all.push(after);
                }
                At::Armed(fence) => {
                    let mut after = state.clone();
                    let holds = state.leases.holds(name, scope, state.now);
                    for at in touches(scope) {
                        let passed = after.fences[at].pass(*fence);
                        // Who holds its lease is never refused; who comes after a later one always is.
                        assert!(passed || !holds, "{state:?}");
                        assert_eq!(passed, *fence >= after.seen[at], "{state:?}");
                        after.seen[at] = after.seen[at].max(*fence);
                    }
                    after.leases.release(name);
                    after.holders[n] = At::Done;
                    moves = true;
                    all.push(after);
                }
                At::Done | At::Crashed => continue,
            }
            if !state.holders.contains(&At::Crashed) {
                let mut crashed = state.clone();
                crashed.holders[n] = At::Crashed;
                all.push(crashed);
            }
        }
        if state.now < self.ticks {
            let mut later = state.clone();
            later.now += 1;
            all.push(later);
        }
        (all, moves)
    }
}

/// Explores everything that can happen, and answers with how many states there are.
fn explore(chosen: Vec<usize>, ticks: i64) -> usize {
    // A state is remembered by its hash: two different ones of the same are a matter of one in many millions.
    let hash = |state: &State| {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    let start = State {
        leases: Leases::new(),
        holders: vec![At::Taking(0, false); chosen.len()],
        now: 0,
        fences: vec![Fence::default(); PARTS.len()],
        seen: vec![0; PARTS.len()],
    };
    let world = World {
        scopes: scopes(),
        chosen,
        ticks,
    };
    let mut known = BTreeSet::from([hash(&start)]);
    let mut todo = vec![start];
    while let Some(state) = todo.pop() {
        world.check(&state);
        let (next, moves) = world.next(&state);
        let waits = state
            .holders
            .iter()
            .any(|at| matches!(at, At::Taking(..) | At::Armed(_)));
        let crashed = state.holders.contains(&At::Crashed);
        // While nobody has crashed, somebody can always go on; after a crash, leases end.
        assert!(moves || !waits || crashed, "a deadlock: {state:?}");
        for state in next {
            if known.insert(hash(&state)) {
                todo.push(state);
            }
        }
    }
    known.len()
}

#[test]
fn no_two_holders_of_overlapping_scopes_no_deadlock_and_no_act_behind_a_later_fence() {
    let all = scopes().len();
    let mut explored = 0;
    for i in 0..all {
        for j in i..all {
            explored += explore(vec![i, j], 2);
        }
    }
    // Three at once, where rings of waiting could close: along the applications, and with one that names none.
    for three in [[0, 1, 2], [1, 2, 5], [2, 2, 1]] {
        explored += explore(three.to_vec(), 0);
    }
    assert!(explored > 20_000, "{explored}");
}

#[test]
fn what_a_crashed_holder_has_ends_by_itself() {
    let mut leases = Leases::new();
    let first = leases.take_all("x", &app("a"), 0, 10).expect("free");
    let held = leases.take_all("y", &app("a"), 9, 19).expect_err("held");
    assert!(format!("{held:?}").contains("until: Some(10)"), "{held:?}");
    let second = leases.take_all("y", &app("a"), 10, 20).expect("ended");
    assert!(second > first);
    assert!(!leases.holds("x", &app("a"), 10) && leases.holds("y", &app("a"), 10));
    // Renewed in time it keeps its fence, and nobody gets between.
    assert_eq!(leases.take_all("y", &app("a"), 19, 40).expect("its own"), second);
    assert!(leases.take_all("x", &app("a"), 30, 40).is_err());
    leases.release("y");
    assert!(leases.take_all("x", &app("a"), 30, 40).expect("free") > second);
    let names: Vec<&Lease> = leases.in_force(30).collect();
    assert!(names.iter().all(|lease| lease.holder == "x") && names.len() == 2);
    assert_eq!(leases.in_force(40).count(), 0);
    let json = serde_json::to_string(&leases).expect("plain data");
    assert_eq!(serde_json::from_str::<Leases>(&json).expect("its own text"), leases);
}

#[test]
fn keys_are_sorted_and_scopes_that_overlap_share_one() {
    assert_eq!(Leases::keys(&app("b").label("app", "a")), ["", "a", "b"]);
    let scopes = scopes();
    for (i, first) in scopes.iter().enumerate() {
        for (j, second) in scopes.iter().enumerate() {
            let mut leases = Leases::new();
            leases.take_all("x", first, 0, 10).expect("free");
            assert_eq!(leases.take_all("y", second, 0, 10).is_err(), overlap(i, j), "{i} {j}");
        }
    }
}

#[test]
fn who_asks_for_another_scope_has_that_one_alone_and_a_new_fence() {
    let zone = |zone: &str| app("a").label("zone", zone);
    let mut leases = Leases::new();
    let first = leases.take_all("one", &zone("1"), 0, 100).expect("free");
    assert!(
        leases.take_all("two", &zone("2"), 0, 100).is_ok(),
        "it shares no target"
    );
    // The other zone is somebody else's, though the holder has a lease at the same key.
    assert!(leases.take_all("one", &zone("2"), 1, 100).is_err());
    assert!(!leases.holds("one", &zone("2"), 1));
    assert!(leases.holds("one", &zone("1"), 1));
    assert_eq!(
        leases.take_all("one", &zone("1"), 1, 100),
        Ok(first),
        "what was refused cost nothing"
    );
    leases.release("two");
    let second = leases.take_all("one", &zone("2"), 2, 100).expect("free again");
    assert!(second > first);
    assert!(leases.holds("one", &zone("2"), 2) && !leases.holds("one", &zone("1"), 2));
    assert!(leases.take_all("two", &zone("1"), 3, 100).expect("given up") > second);
}
