//! Every way through both tables, over a small alphabet of looks and answers.
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::*;
use crate::hash::Fixed;
use crate::{Counts, EffectOutcome};

const OLD: &str = "old";
const NEW: &str = "new";

/// Budgets of a few looks, so that the space stays small and every deadline is reached.
fn small() -> Timing {
    Timing {
        preflight_ms: 2,
        close_ms: 2,
        drain_ms: 2,
        replace_ms: 2,
        recreate_ms: 2,
        verify_ms: 3,
        open_ms: 2,
        cold_probation_ms: 2,
        warm_probation_ms: 2,
        probation_looks: 2,
        good_looks: 2,
        max_tries: 1,
        backoff_ms: 1,
        max_recoveries: 1,
        ..Timing::default()
    }
}

fn plan(mode: Mode) -> Plan {
    Plan {
        mode,
        from: OLD.into(),
        to: NEW.into(),
        fence: true,
        prefetch: true,
        salt: 7,
    }
}

fn look(phase: Phase, version: Option<&str>) -> Observation {
    Observation {
        phase,
        version: version.map(Version::from),
        instance: (phase == Phase::Running).then_some(InstanceId(1)),
        ready: phase == Phase::Running,
        self_check: if phase == Phase::Running {
            SelfCheck::Passed
        } else {
            SelfCheck::Unreported
        },
        ingress: Ingress::Open,
        active: Some(0),
        pair: None,
        config: None,
    }
}

fn looks() -> Vec<Observation> {
    let mut looks = vec![look(Phase::Stopped, None), look(Phase::Starting, Some(NEW))];
    looks.push(look(Phase::Starting, None));
    looks.push(look(Phase::Crashing, None));
    for version in [OLD, NEW] {
        looks.push(look(Phase::Crashing, Some(version)));
        looks.push(look(Phase::Running, Some(version)));
        looks.push(Observation {
            instance: Some(InstanceId(2)),
            ..look(Phase::Running, Some(version))
        });
        looks.push(Observation {
            ready: false,
            self_check: SelfCheck::Unreported,
            ..look(Phase::Running, Some(version))
        });
        looks.push(Observation {
            ready: false,
            self_check: SelfCheck::Failed { check: "disk".into() },
            ..look(Phase::Running, Some(version))
        });
    }
    looks.push(look(Phase::Running, None));
    looks.push(look(Phase::Running, Some("other")));
    let mut all = Vec::new();
    for seen in looks {
        for ingress in [Ingress::Open, Ingress::Closed] {
            all.push(Observation {
                ingress,
                ..seen.clone()
            });
        }
        if is_good(&seen) && seen.instance == Some(InstanceId(1)) {
            all.push(Observation {
                ingress: Ingress::Unknown,
                ..seen.clone()
            });
            all.push(Observation {
                ingress: Ingress::Closed,
                active: Some(3),
                ..seen
            });
        }
    }
    all.push(look(Phase::Gone, None));
    all
}

fn answers() -> Vec<EffectOutcome> {
    vec![
        EffectOutcome::Applied,
        EffectOutcome::AlreadyApplied,
        EffectOutcome::Stale,
        EffectOutcome::Retry { after_ms: 1 },
        EffectOutcome::Failed { reason: "no".into() },
        EffectOutcome::Unknown { reason: "lost".into() },
        EffectOutcome::Unsupported,
    ]
}

/// What the tests know of the way so far, besides the machine.
#[derive(Clone, PartialEq, Eq)]
struct Node {
    machine: Machine,
    now: u64,
    /// When the next look is due.
    due: u64,
    /// Consecutive good looks at one instance of one version, counted by the test itself.
    row: Option<(Version, InstanceId, u8)>,
    /// A closing was sent and may have been done.
    closing: bool,
    /// A replacement was sent and may have been done.
    replaced: bool,
}

/// Only what tells most nodes apart: equality looks at all of it.
impl std::hash::Hash for Node {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let machine = &self.machine;
        let small = [
            machine.step.number(),
            machine.tries,
            machine.contested,
            machine.good_looks,
            u8::from(machine.touched),
            u8::from(machine.closed),
            u8::from(machine.seen_new),
            u8::from(machine.was_healthy),
            u8::from(self.closing),
            u8::from(self.replaced),
            u8::from(machine.recalled.is_some()),
        ];
        state.write(&small);
        let clock = machine.deadline_ms ^ machine.quiet_since_ms << 8 ^ self.due << 16;
        state.write(&clock.to_le_bytes()[..4]);
        std::mem::discriminant(&machine.order).hash(state);
        machine.drain_until_ms.hash(state);
        machine.went_back.hash(state);
        self.row
            .as_ref()
            .map(|(_, instance, row)| (*instance, *row))
            .hash(state);
    }
}

impl Node {
    /// The same for machines that differ only in when they live and in what decides nothing.
    fn key(&self) -> Self {
        let mut key = self.clone();
        let now = self.now;
        let machine = &mut key.machine;
        machine.deadline_ms = machine.deadline_ms.saturating_sub(now);
        machine.drain_until_ms = machine.drain_until_ms.map(|at| at.saturating_sub(now));
        let quiet = now.saturating_sub(machine.quiet_since_ms).min(9);
        machine.quiet_since_ms = if machine.step == Step::Probation { quiet } else { 0 };
        machine.tally = Tally::default();
        // It names orders and decides nothing.
        machine.ordinal = 0;
        key.now = 0;
        key.due = self.due.saturating_sub(now).min(4);
        key
    }

    fn starts(mode: Mode, timing: &Arc<Timing>) -> Vec<Self> {
        let mut machines = vec![Machine::new(plan(mode), Arc::clone(timing))];
        let forward = [
            Step::Prefetching,
            Step::Closing,
            Step::Replacing,
            Step::Opening,
            Step::Reclosing,
            Step::Restoring,
            Step::Reopening,
        ];
        for last in forward.map(Some).into_iter().chain([None]) {
            for was_healthy in [false, true] {
                let back = last >= Some(Step::Reclosing);
                for recoveries_of_step in [1, 2] {
                    let remembered = Remembered {
                        last,
                        went_back: back.then_some(Reason::Crashed),
                        touched: last >= Some(Step::Replacing),
                        closed_at_ms: (mode == Mode::Warm && last >= Some(Step::Closing)).then_some(0),
                        out_since_ms: None,
                        was_healthy,
                        recoveries_of_step,
                        left_ms: None,
                        intended_ms: 0,
                        intended: 0,
                        counts: Counts::default(),
                    };
                    let warm_only = matches!(
                        last,
                        Some(Step::Closing | Step::Opening | Step::Reclosing | Step::Reopening)
                    );
                    if mode == Mode::Warm || !warm_only {
                        machines.push(Machine::recover(plan(mode), Arc::clone(timing), remembered));
                    }
                }
            }
        }
        machines
            .into_iter()
            .map(|machine| Self {
                closing: machine.closed,
                replaced: machine.touched,
                machine,
                now: 100,
                due: 100,
                row: None,
            })
            .collect()
    }

    fn count(&mut self, seen: &Observation) {
        let good = seen.phase == Phase::Running && seen.ready && seen.self_check == SelfCheck::Passed;
        self.row = match (&seen.version, seen.instance) {
            (Some(version), Some(instance)) if good => {
                let row = match &self.row {
                    Some((v, i, row)) if v == version && *i == instance => row.saturating_add(1).min(2),
                    _ => 1,
                };
                Some((version.clone(), instance, row))
            }
            _ => None,
        };
    }

    /// Carries out a command on the test's side, and checks it. `None` at the end.
    fn command(&mut self, command: Command, before: &Self, seen: Option<&Observation>) -> Option<Terminal> {
        if let Some(reason) = before.machine.went_back() {
            assert_eq!(self.machine.went_back(), Some(reason), "turning back is for good");
        }
        let warm = self.machine.plan().mode == Mode::Warm;
        if self.machine.step == Step::Probation && before.machine.step != Step::Probation && warm {
            let seen = seen.expect("decided at a look");
            assert_eq!(seen.ingress, Ingress::Open, "on probation without traffic");
        }
        match command {
            Command::Look { at_ms } => {
                assert!(at_ms >= self.now, "a look in the past");
                self.due = at_ms;
                None
            }
            Command::Effect {
                effect, step, ordinal, ..
            } => {
                assert_eq!(step, self.machine.step());
                // Under its key it would be known already, and not be done.
                let is_new = ordinal != before.machine.ordinal;
                assert!(
                    is_new || before.machine.order != Order::Taken,
                    "{effect:?} was taken, and is ordered again under the same key"
                );
                let back = self.machine.went_back().is_some();
                if back {
                    assert!(step >= Step::Reclosing, "{effect:?} of {step} after turning back");
                }
                match effect {
                    Effect::Replace(which) | Effect::ReplaceInPlace(which) => {
                        assert_eq!(which == Which::Old, back);
                        let in_place = matches!(effect, Effect::ReplaceInPlace(_));
                        assert_eq!(in_place, self.machine.plan().mode == Mode::Warm);
                        if in_place && !back && before.machine.step != Step::Replacing {
                            let seen = seen.expect("decided at a look");
                            assert_ne!(seen.ingress, Ingress::Open, "replaced under traffic");
                            assert!(
                                self.closing,
                                "replaced behind somebody else's closing, without a reopen-by"
                            );
                        }
                    }
                    Effect::Prefetch => assert!(!back),
                    // S10. A later repetition of the order is not looked at again.
                    Effect::Open if !matches!(before.machine.step, Step::Opening | Step::Reopening) => {
                        let wanted = Version::from(if back { OLD } else { NEW });
                        let (version, _, row) = self.row.as_ref().expect("opened onto nothing good");
                        let needed = if before.machine.step == Step::Probation { 1 } else { 2 };
                        assert!(
                            *version == wanted && *row >= needed,
                            "opened onto {version} after {row} good looks"
                        );
                    }
                    Effect::Open | Effect::Close { .. } | Effect::Fence => {}
                    other => panic!("{other:?} is of another mode"),
                }
                None
            }
            Command::Finish(terminal) => {
                self.check_end(&terminal, seen);
                Some(terminal)
            }
        }
    }

    fn check_end(&self, terminal: &Terminal, seen: Option<&Observation>) {
        let warm = self.machine.plan().mode == Mode::Warm;
        let good = |version: &str| {
            let seen = seen.expect("decided at a look");
            assert!(is_good(seen), "{terminal:?} on {seen:?}");
            assert_eq!(seen.version, Some(version.into()));
            assert!(!warm || seen.ingress == Ingress::Open, "{terminal:?} on {seen:?}");
        };
        match terminal {
            Terminal::Done => {
                good(NEW);
                assert_eq!(self.machine.went_back(), None);
            }
            Terminal::RolledBack { reason } => {
                good(OLD);
                assert_eq!(self.machine.went_back(), Some(reason));
            }
            Terminal::Rejected { .. } => {
                assert!(!self.closing && !self.replaced, "{terminal:?} after touching");
            }
            Terminal::NeedsPerson { serving, ingress, .. } => {
                let seen = seen.expect("a person is told what is seen, not what is remembered");
                assert_eq!(*ingress, seen.ingress);
                assert_eq!(*serving, self.machine.serving(seen));
            }
            // Told by the one who took over, or by a look at somebody else's version.
            Terminal::Superseded => {
                let open = seen.is_none_or(|seen| seen.ingress == Ingress::Open);
                assert!(!self.closing || open, "left closed in silence");
            }
            Terminal::Gone => {}
        }
    }
}

struct Explored {
    nodes: usize,
    ends: BTreeMap<&'static str, u32>,
}

/// Visits everything reachable, checks every step, and that nothing goes round in circles unless it is withheld.
fn explore(mode: Mode) -> Explored {
    let timing = Arc::new(small());
    let (looks, answers) = (looks(), answers());
    let mut ids: HashMap<Node, usize, Fixed> = HashMap::default();
    let mut edges: Vec<Vec<usize>> = Vec::new();
    let mut ends = BTreeMap::new();
    let mut todo = VecDeque::new();
    for mut node in Node::starts(mode, &timing) {
        let before = node.clone();
        let command = node.machine.begin(node.now);
        assert_eq!(node.command(command, &before, None), None);
        todo.push_back(node);
    }
    for node in &todo {
        let id = ids.len();
        ids.entry(node.key()).or_insert(id);
    }
    edges.resize(ids.len(), Vec::new());
    while let Some(node) = todo.pop_front() {
        let id = ids[&node.key()];
        let visit = |mut next: Node, event: Event<'_>, counts: bool, edges: &mut Vec<Vec<usize>>| {
            let seen = match event {
                Event::Observed { seen, .. } => Some(seen),
                _ => None,
            };
            let command = next.machine.next(event);
            if let Some(terminal) = next.command(command, &node, seen) {
                let end = match terminal {
                    Terminal::Done => "done",
                    Terminal::RolledBack { .. } => "rolled_back",
                    Terminal::Rejected { .. } => "rejected",
                    Terminal::NeedsPerson { .. } => "needs_person",
                    Terminal::Gone => "gone",
                    Terminal::Superseded => "superseded",
                };
                return (Some(end), None);
            }
            let fresh = ids.len();
            let key = next.key();
            let to = *ids.entry(key).or_insert(fresh);
            if to == fresh {
                edges.push(Vec::new());
            }
            if counts {
                edges[id].push(to);
            }
            (None, (to == fresh).then_some(next))
        };
        let mut visit = visit;
        let mut results = Vec::new();
        if node.machine.order == Order::Sent {
            for outcome in &answers {
                let mut next = node.clone();
                if !matches!(
                    outcome,
                    EffectOutcome::Stale
                        | EffectOutcome::Retry { .. }
                        | EffectOutcome::Failed { .. }
                        | EffectOutcome::Unsupported
                ) {
                    next.closing |= matches!(next.machine.step, Step::Closing | Step::Reclosing);
                    next.replaced |= matches!(next.machine.step, Step::Replacing | Step::Restoring);
                }
                let now_ms = next.now;
                results.push(visit(next, Event::Outcome { now_ms, outcome }, true, &mut edges));
            }
            let now_ms = node.now;
            results.push(visit(node.clone(), Event::Withheld { now_ms }, false, &mut edges));
        } else {
            for seen in &looks {
                for late in [0, 50] {
                    let mut next = node.clone();
                    next.now = next.due + late;
                    next.count(seen);
                    let now_ms = next.now;
                    results.push(visit(
                        next,
                        Event::Observed {
                            asked_ms: now_ms,
                            now_ms,
                            seen,
                        },
                        true,
                        &mut edges,
                    ));
                }
            }
        }
        for (end, next) in results {
            if let Some(end) = end {
                *ends.entry(end).or_insert(0) += 1;
            }
            todo.extend(next);
        }
        assert!(ids.len() < 2_000_000, "the space has grown out of hand");
    }
    assert_acyclic(&edges);
    Explored { nodes: ids.len(), ends }
}

/// Every path is finite. As each state that is no end goes on at every event, each path so has an end.
fn assert_acyclic(edges: &[Vec<usize>]) {
    let mut incoming = vec![0u32; edges.len()];
    for to in edges.iter().flatten() {
        incoming[*to] += 1;
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|node| incoming[*node] == 0).collect();
    let mut sorted = 0;
    while let Some(node) = free.pop() {
        sorted += 1;
        for to in &edges[node] {
            incoming[*to] -= 1;
            if incoming[*to] == 0 {
                free.push(*to);
            }
        }
    }
    assert_eq!(sorted, edges.len(), "some attempt can go round for ever");
}

#[test]
fn cold_holds_everywhere() {
    let explored = explore(Mode::Cold);
    eprintln!("{} {:?}", explored.nodes, explored.ends);
    assert!(explored.nodes > 300, "{} states", explored.nodes);
    assert_eq!(explored.ends.len(), 6, "{:?}", explored.ends);
}

#[test]
fn warm_holds_everywhere() {
    let explored = explore(Mode::Warm);
    eprintln!("{} {:?}", explored.nodes, explored.ends);
    assert!(explored.nodes > 2_000, "{} states", explored.nodes);
    assert_eq!(explored.ends.len(), 6, "{:?}", explored.ends);
}
