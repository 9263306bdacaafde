//! Every order of a small alphabet of inputs, with repetitions, and a kill after each of them.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use unattended::train::{ChangeEnd, ChangeKey, Command, Input, Order, Site, Stage, Train};
use unattended::{ActorKind, Level, Outcome};

use super::{HOUR_MS, at, built, ci, ended, facts, line, order, train};

/// What the tests themselves have seen, from which they judge the machine.
#[derive(Clone, Default, Hash)]
struct Seen {
    /// Versions that were on the whole canary fleet, and those of which good facts came after that.
    canary: BTreeSet<String>,
    shown: BTreeSet<String>,
    /// Versions of which something contradicts itself.
    doubtful: BTreeSet<String>,
    /// Versions that a person said are never to go on.
    skipped: BTreeSet<String>,
    starts: BTreeSet<String>,
}

#[derive(Clone)]
struct Node {
    train: Train,
    path: Vec<Input>,
    seen: Seen,
}

/// As many as it takes from the first beginnings to bring a nightly, or a hotfix, to production.
const DEPTH: usize = 5;
/// A kill and a long silence are tried after one new state in so many.
const TRIED: u64 = 4;

/// Everything that may come next. Much of it is early, late or twice.
fn alphabet(train: &Train) -> Vec<Input> {
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
    for change in train.running() {
        for outcome in [Outcome::Completed, Outcome::RolledBack] {
            inputs.push(end_of(train, &change.change, outcome, 10));
        }
    }
    for (_, version) in train.soaking() {
        for budget in [Some(0.5), Some(-0.5), None] {
            inputs.push(facts(train, version, budget));
        }
    }
    inputs
}

/// What people and the world say beside that, and what the driver reports.
fn words(train: &Train) -> Vec<Input> {
    let nightly = || "mesh-2.1.0".to_owned();
    let incident = |open: bool| {
        let (line, id, at_unix_ms) = (line(), "fire".to_owned(), train.now_unix_ms());
        if open {
            Input::Incident { line, id, at_unix_ms }
        } else {
            Input::Restored { line, id, at_unix_ms }
        }
    };
    let mut inputs = vec![
        order(Order::StopTheLine { take_back: false }),
        order(Order::StopTheLine { take_back: true }),
        order(Order::Resume),
        order(Order::Skip { version: nightly() }),
        order(Order::Choose { version: nightly() }),
        order(Order::Demote { level: Level::L2 }),
        order(Order::Grant {
            level: Level::L5,
            until_unix_ms: train.now_unix_ms() + 9_000 * HOUR_MS,
        }),
        incident(true),
        incident(false),
    ];
    for (number, command) in train.due() {
        if matches!(command, Command::Start(_)) {
            inputs.push(Input::Done(number));
        }
    }
    for change in train.running() {
        inputs.push(end_of(train, &change.change, Outcome::RolledBack, 0));
        inputs.push(end_of(train, &change.change, Outcome::RolledBackPartially, 5));
    }
    inputs
}

fn end_of(train: &Train, change: &ChangeKey, outcome: Outcome, exposed: u64) -> Input {
    let end = ChangeEnd {
        outcome,
        at_unix_ms: train.now_unix_ms(),
        exposed,
        human_actions: 0,
        why: "seen".to_owned(),
    };
    let change = change.clone();
    Input::Ended { change, end }
}

impl Node {
    fn after(beginning: Vec<Input>, level: Level) -> Self {
        let root = Self {
            train: train(level),
            path: Vec::new(),
            seen: Seen::default(),
        };
        beginning.into_iter().fold(root, |node, input| {
            let mut next = node.step(input);
            next.check(&node.seen);
            next
        })
    }

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
            Input::Order {
                order: Order::Skip { version },
                ..
            } if self.knows(version) => {
                next.seen.skipped.insert(version.clone());
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
        let summary = self.train.summary();
        let line = &summary.lines[0];
        for (_, command) in self.train.due() {
            let Command::Start(order) = command else { continue };
            assert!(line.stopped.is_none(), "a stopped line begins: {:?}", self.path);
            let least = match (order.site, order.author.kind) {
                (Site::Production, ActorKind::Person) => Level::L0,
                (Site::Canary, _) => Level::L4,
                (Site::Production, _) => Level::L5,
            };
            assert!(
                line.level >= least,
                "{} begins at {}: {:?}",
                order.change,
                line.level,
                self.path
            );
            let release = line.releases.iter().find(|release| release.version == order.version);
            let moves = release.is_some_and(|release| match order.site {
                Site::Canary => release.stage == Stage::OnCanary,
                Site::Production => release.stage == Stage::OnProduction,
            });
            assert!(moves, "{} begins and must not: {:?}", order.change, self.path);
            assert!(
                !self.seen.skipped.contains(&order.version),
                "{} was skipped: {:?}",
                order.version,
                self.path
            );
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
        // Whatever ends by itself is told.
        for release in &line.releases {
            if let Stage::Expired { .. } | Stage::Barred { .. } = release.stage {
                let told = self.train.due().any(
                    |(_, command)| matches!(command, Command::Tell { text, .. } if text.contains(&release.version)),
                );
                assert!(told, "{} ends in silence: {:?}", release.version, self.path);
            }
        }
        // An incident is open exactly if the last that was said of it is that it burns: all of these are said in order.
        let fire = self.path.iter().rev().find_map(|input| match input {
            Input::Incident { .. } => Some(true),
            Input::Restored { .. } => Some(false),
            _ => None,
        });
        let same_moment = self
            .path
            .iter()
            .rev()
            .take_while(|input| !matches!(input, Input::Tick(_)));
        if same_moment
            .filter(|input| matches!(input, Input::Incident { .. }))
            .count()
            == 0
        {
            assert_eq!(!line.incidents.is_empty(), fire == Some(true), "{:?}", self.path);
        }
    }

    /// A kill: what the journal has is all there is beside a new machine.
    fn killed(&self, new: &Train) -> Train {
        let mut again = new.clone();
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
    // Both lanes get through from here, whatever comes in between.
    let hotfix = [
        ci(2, true),
        order(Order::Hotfix {
            commit: "c2".to_owned(),
        }),
    ];
    for beginning in [ordered.to_vec(), [ordered, hotfix].concat()] {
        states += from(Node::after(beginning, level), &alphabet, DEPTH, level, &mut reached);
    }
    (states, reached)
}

/// From each place on the way of a nightly and of a hotfix beside it, with what people and the world say.
fn explore_words(level: Level, depth: usize, hotfix_alone: bool) -> usize {
    let end = |site, version, completed| {
        let outcome = if completed {
            Outcome::Completed
        } else {
            Outcome::RolledBack
        };
        ended(&train(level), site, version, 0, outcome)
    };
    let nightly = "mesh-2.1.0";
    let choose = |version: &str| {
        let version = version.to_owned();
        order(Order::Choose { version })
    };
    let seen = |hours: i64, version: &str| {
        let mut later = train(level);
        let _ = later.apply(&at(hours));
        facts(&later, version, Some(0.5))
    };
    let way = [
        ci(1, true),
        at(12),
        built(nightly, "a", 1, None),
        end(Site::Canary, nightly, true),
        at(18),
        seen(18, nightly),
        at(28),
        choose(nightly),
    ];
    let hotfix = [
        ci(2, true),
        order(Order::Hotfix {
            commit: "c2".to_owned(),
        }),
        built("mesh-2.0.2", "h", 2, Some(0)),
    ];
    // A qualified hotfix, while the nightly is on its way to production.
    let urgent = [end(Site::Canary, "mesh-2.0.2", true), at(34), seen(34, "mesh-2.0.2")];
    let mut beginnings = Vec::new();
    for length in 2..=way.len() {
        let (begun, _) = way.split_at(length);
        if !hotfix_alone {
            beginnings.push(begun.to_vec());
        }
        beginnings.push([begun, &hotfix[..]].concat());
    }
    beginnings.push([&way[..], &hotfix[..], &urgent[..]].concat());
    let everything = |train: &Train| [alphabet(train), words(train)].concat();
    let roots = beginnings.into_iter().map(|beginning| Node::after(beginning, level));
    roots
        .map(|root| from(root, &everything, depth, level, &mut BTreeSet::new()))
        .sum()
}

fn from(
    root: Node,
    alphabet: &dyn Fn(&Train) -> Vec<Input>,
    depth: usize,
    level: Level,
    reached: &mut BTreeSet<String>,
) -> usize {
    // Its configuration is checked once: that takes longer than all that is done with it here.
    let new = train(level);
    let mut known = BTreeSet::new();
    let mut front = vec![root];
    for _ in 0..depth {
        let mut next = Vec::new();
        for node in &front {
            for input in alphabet(&node.train) {
                let mut step = node.step(input);
                step.check(&node.seen);
                reached.extend(step.seen.starts.iter().cloned());
                let digest = step.digest();
                if !known.insert(digest) {
                    continue;
                }
                if digest.is_multiple_of(TRIED) {
                    let again = step.killed(&new);
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
fn nor_does_a_person_or_the_world_at_any_level() {
    let states = explore_words(Level::L5, 3, true) + explore_words(Level::L4, 2, false);
    assert!(states > 10_000, "{states} states");
}
