//! Every order of a small alphabet of inputs, with repetitions, and a kill after each of them.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use unattended::train::{Command, Input, Order, Site, Train};
use unattended::{Level, Outcome};

use super::{HOUR_MS, at, built, ci, ended, facts, order, train};

/// What the tests themselves have seen, from which they judge the machine.
#[derive(Clone, Default, Hash)]
struct Seen {
    /// Versions that were on the whole canary fleet, and those of which good facts came after that.
    canary: BTreeSet<String>,
    shown: BTreeSet<String>,
    /// Versions of which something contradicts itself.
    doubtful: BTreeSet<String>,
    starts: BTreeSet<String>,
}

#[derive(Clone)]
struct Node {
    train: Train,
    path: Vec<Input>,
    seen: Seen,
}

/// As many as it takes from there to bring a nightly, or a hotfix, to production.
const DEPTH: usize = 5;
/// A kill and a long silence are tried after one new state in so many.
const TRIED: u64 = 4;

/// Everything that may come next. Much of it is early, late or twice.
fn alphabet(train: &Train, level: Level) -> Vec<Input> {
    let now_ms = train.now_unix_ms();
    let mut inputs = vec![
        Input::Tick(now_ms + 12 * HOUR_MS),
        ci(2, true),
        ci(1, false),
        built("mesh-2.1.0", "a", 1, None),
        built("mesh-2.1.0", "b", 1, None),
        built("mesh-2.0.2", "h", 2, Some(0)),
        order(Order::Hotfix {
            commit: "c2".to_owned(),
        }),
        ended(train, Site::Canary, "mesh-2.1.0", 0, Outcome::Completed),
    ];
    if level < Level::L5 {
        inputs.push(order(Order::Approve));
    }
    for change in train.running() {
        for outcome in [Outcome::Completed, Outcome::RolledBack] {
            inputs.push(ended(train, change.site, &change.version, 0, outcome));
        }
    }
    for (_, version) in train.soaking() {
        for budget in [Some(0.5), Some(-0.5), None] {
            inputs.push(facts(train, version, budget));
        }
    }
    inputs
}

impl Node {
    fn step(&self, input: Input) -> Self {
        let mut next = self.clone();
        match &input {
            Input::Ended { change, end } if end.outcome == Outcome::Completed => {
                let running = self.train.running().find(|order| order.change == *change);
                if let Some(order) = running.filter(|order| order.site == Site::Canary) {
                    next.seen.canary.insert(order.version.clone());
                }
            }
            Input::Facts { version, facts, .. } => {
                let known =
                    facts.error_budget_left.is_some_and(|left| left >= 0.0) && facts.drills_passed == Some(true);
                if known && self.seen.canary.contains(version) {
                    next.seen.shown.insert(version.clone());
                }
            }
            _ => {}
        }
        let refused = next.train.apply(&input).is_err();
        match &input {
            Input::Built { artefact, .. } if refused && artefact.digest == "b" && self.knows(&artefact.version) => {
                next.seen.doubtful.insert(artefact.version.clone());
            }
            Input::Ci { .. } if refused => {
                next.seen.doubtful.insert("mesh-2.1.0".to_owned());
            }
            _ => {}
        }
        next.path.push(input);
        next
    }

    fn knows(&self, version: &str) -> bool {
        let summary = self.train.summary();
        summary.lines[0]
            .releases
            .iter()
            .any(|release| release.version == version)
    }

    /// What must be so after each step.
    fn check(&mut self, before: &Seen) {
        let mut now = BTreeSet::new();
        for (_, command) in self.train.due() {
            let Command::Start(order) = command else { continue };
            assert!(
                now.insert(order.change.0.clone()),
                "{} starts twice: {:?}",
                order.change,
                self.path
            );
            if self.seen.starts.contains(&order.change.0) {
                continue;
            }
            if order.site == Site::Production {
                let version = &order.version;
                assert!(
                    self.seen.canary.contains(version),
                    "{version} skips the canary fleet: {:?}",
                    self.path
                );
                assert!(
                    self.seen.shown.contains(version),
                    "{version} has shown nothing: {:?}",
                    self.path
                );
                assert!(
                    !before.doubtful.contains(version),
                    "{version} is doubtful: {:?}",
                    self.path
                );
            }
        }
        self.seen.starts.extend(now);
        assert!(self.train.running().count() <= 2);
    }

    /// A kill: what the journal has is all there is.
    fn killed(&self, level: Level) -> Train {
        let mut again = train(level);
        for input in &self.path {
            let _ = again.apply(input);
        }
        again
    }

    /// Time goes by, and nothing else comes: whatever waits ends, is taken back, or has somebody who was asked.
    fn left_alone(&self) {
        let mut train = self.train.clone();
        for hours in [24, 48, 100, 1_200] {
            let now_ms = train.now_unix_ms();
            let _ = train.apply(&Input::Tick(now_ms + hours * HOUR_MS));
        }
        let summary = train.summary();
        let line = &summary.lines[0];
        for order in train.running() {
            let back = train
                .due()
                .any(|(_, command)| matches!(command, Command::TakeBack { change, .. } if *change == order.change));
            assert!(
                back && line.stopped.is_some(),
                "{} runs for ever: {:?}",
                order.change,
                self.path
            );
        }
        for release in &line.releases {
            let waits = release.stage.is_live() && !train.running().any(|order| order.version == release.version);
            assert!(
                !waits || line.stopped.is_some(),
                "{} waits for ever: {:?}",
                release.version,
                self.path
            );
        }
        for (_, command) in train.due() {
            if let Command::Build(order) = command {
                // Whoever builds may never answer; that has been told.
                let told = train
                    .due()
                    .any(|(_, c)| matches!(c, Command::Tell { code, .. } if code == "train.build_late"));
                let came = line.releases.iter().any(|release| release.head == order.head);
                assert!(
                    told || came,
                    "the build of {} is waited for for ever: {:?}",
                    order.head,
                    self.path
                );
            }
        }
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.train).hash(&mut hasher);
        self.seen.hash(&mut hasher);
        hasher.finish()
    }
}

/// From where the nightly of commit 1 was ordered, and from where a hotfix was, too.
fn explore(level: Level) -> (usize, BTreeSet<String>) {
    let mut states = 0;
    let mut reached = BTreeSet::new();
    let ordered = [ci(1, true), at(12)];
    let hotfix = [
        ci(2, true),
        order(Order::Hotfix {
            commit: "c2".to_owned(),
        }),
    ];
    for beginning in [ordered.to_vec(), [ordered, hotfix].concat()] {
        let mut root = Node {
            train: train(level),
            path: Vec::new(),
            seen: Seen::default(),
        };
        for input in beginning {
            root = root.step(input);
        }
        states += from(root, level, &mut reached);
    }
    (states, reached)
}

fn from(root: Node, level: Level, reached: &mut BTreeSet<String>) -> usize {
    let mut known = BTreeSet::new();
    let mut front = vec![root];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for node in &front {
            for input in alphabet(&node.train, level) {
                let mut step = node.step(input);
                step.check(&node.seen);
                reached.extend(step.seen.starts.iter().cloned());
                let digest = step.digest();
                if !known.insert(digest) {
                    continue;
                }
                if digest.is_multiple_of(TRIED) {
                    let again = step.killed(level);
                    assert_eq!(
                        format!("{again:?}"),
                        format!("{:?}", step.train),
                        "a kill forgets: {:?}",
                        step.path
                    );
                    step.left_alone();
                }
                next.push(step);
            }
        }
        front = next;
    }
    known.len()
}

#[test]
fn no_order_of_inputs_brings_an_unqualified_release_to_production() {
    let (states, reached) = explore(Level::L5);
    // It is no proof where nothing happens: both lanes got through to production.
    for key in ["mesh/production/mesh-2.1.0/0", "mesh/production/mesh-2.0.2/0"] {
        assert!(reached.contains(key), "{reached:?}");
    }
    assert!(states > 1_000, "{states} states");
}

#[test]
fn nor_does_a_person_at_l4() {
    let (_, reached) = explore(Level::L4);
    assert!(reached.contains("mesh/production/mesh-2.0.2/0"), "{reached:?}");
}
