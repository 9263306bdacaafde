//! Any sequence of what callers, operators, networks and crashes do to a driver.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::{Kill, TestDriver, World, job};
use futures::FutureExt;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use unattended_upgrade::*;

const TARGETS: usize = 6;
const IN_ALL: usize = 4;
const IN_A_GROUP: usize = 2;

/// What anybody may do.
#[derive(Clone, Debug)]
enum Deed {
    Submit {
        target: usize,
        version: usize,
        mode: Mode,
    },
    Supersede {
        target: usize,
        version: usize,
        mode: Mode,
    },
    Cancel(usize),
    Pause(bool),
    Turns(u8),
    Kill,
    Compact,
    Blind(bool),
    Refuse(bool),
    /// Of the journal: what is appended is there, and the driver is told that it failed.
    LoseAnswers(bool),
    Permit(bool),
    Restart(usize),
    /// Of the second slot.
    RestartBeside(usize),
    /// Somebody else puts a version of his own there.
    Foreign(usize),
    Answers(usize),
}

/// What goes wrong while it does, until it is taken back.
#[derive(Clone, Debug, Default)]
struct Weather {
    blind: bool,
    refusing: bool,
    losing: bool,
    forbidden: bool,
}

struct Story;

impl ReferenceStateMachine for Story {
    type State = Weather;
    type Transition = Deed;

    fn init_state() -> BoxedStrategy<Weather> {
        Just(Weather::default()).boxed()
    }

    fn transitions(weather: &Weather) -> BoxedStrategy<Deed> {
        let what = || {
            (
                0..TARGETS,
                0usize..4,
                (0..Mode::ALL.len()).prop_map(|mode| Mode::ALL[mode]),
            )
        };
        let Weather {
            blind,
            refusing,
            losing,
            forbidden,
        } = weather.clone();
        prop_oneof![
            6 => what().prop_map(|(target, version, mode)| Deed::Submit { target, version, mode }),
            2 => what().prop_map(|(target, version, mode)| Deed::Supersede { target, version, mode }),
            1 => (0..TARGETS).prop_map(Deed::Cancel),
            1 => any::<bool>().prop_map(Deed::Pause),
            9 => (1u8..6).prop_map(Deed::Turns),
            2 => Just(Deed::Kill),
            1 => Just(Deed::Compact),
            1 => Just(Deed::Blind(!blind)),
            1 => Just(Deed::Refuse(!refusing)),
            1 => Just(Deed::LoseAnswers(!losing)),
            1 => Just(Deed::Permit(forbidden)),
            1 => (0..TARGETS).prop_map(Deed::Restart),
            1 => (0..TARGETS).prop_map(Deed::RestartBeside),
            1 => (0..TARGETS).prop_map(Deed::Foreign),
            2 => (0usize..7).prop_map(Deed::Answers),
        ]
        .boxed()
    }

    fn apply(mut weather: Weather, deed: &Deed) -> Weather {
        match deed {
            Deed::Blind(blind) => weather.blind = *blind,
            Deed::Refuse(refusing) => weather.refusing = *refusing,
            Deed::LoseAnswers(losing) => weather.losing = *losing,
            Deed::Permit(may) => weather.forbidden = !*may,
            _ => {}
        }
        weather
    }
}

/// A driver in its world, and what it was told and said.
struct Telling {
    world: Arc<World>,
    driver: Option<TestDriver>,
    targets: Vec<TargetId>,
    may: bool,
    /// The last turn could not append, so the next may tell of ends that are older than it.
    held_up: bool,
    /// Numbers that were given and have neither receipt nor been dropped, by target.
    open: BTreeMap<AttemptId, TargetId>,
    ended: BTreeSet<AttemptId>,
    /// Targets that were left to a person, and have been closed since.
    asked: BTreeSet<TargetId>,
}

fn config() -> DriverConfig {
    DriverConfig::new().max_in_flight(IN_ALL).max_per_group(IN_A_GROUP)
}

impl Telling {
    fn driver(&mut self) -> &mut TestDriver {
        self.driver.as_mut().unwrap()
    }

    fn note_end(&mut self, attempt: AttemptId) {
        assert!(self.ended.insert(attempt), "{attempt:?} ended twice");
        self.open.remove(&attempt);
    }

    fn note_asked(&mut self, receipt: &Receipt) {
        if matches!(receipt.terminal, Terminal::NeedsPerson { .. }) {
            self.asked.insert(receipt.target.clone());
        }
    }

    fn turn(&mut self) -> Option<u64> {
        let may = self.may;
        let result = self
            .driver()
            .turn(&mut |_| may)
            .now_or_never()
            .expect("nothing waits here");
        let Ok(turn) = result else {
            // The journal refuses, or seems to: nothing was sent, and it goes on when that is over.
            assert!(self.world.journal.is_ill());
            self.held_up = true;
            return Some(self.world.clock.now() + 1_000);
        };
        let held_up = std::mem::take(&mut self.held_up);
        for receipt in turn.finished {
            self.note_end(receipt.attempt);
            let slot = self.world.slot(&receipt.target);
            let runs = if receipt.mode == Mode::Config {
                &slot.config
            } else {
                &slot.running
            };
            match &receipt.terminal {
                Terminal::Done => assert!(held_up || *runs == receipt.to, "{receipt:?} {slot:?}"),
                Terminal::RolledBack { .. } => assert!(held_up || *runs == receipt.from, "{receipt:?} {slot:?}"),
                _ => {}
            }
            let rests = matches!(receipt.terminal, Terminal::Done | Terminal::RolledBack { .. });
            assert!(
                held_up || receipt.mode != Mode::Hot || !rests || slot.pair.is_single(),
                "{receipt:?} {slot:?}"
            );
            self.note_asked(&receipt);
            let knows = self.asked.contains(&receipt.target);
            assert!(knows || !slot.closed, "left closed in silence: {receipt:?}");
        }
        self.asked.retain(|target| self.world.slot(target).closed);
        for job in turn.dropped {
            // Its number may be given again after a kill: it was never begun.
            assert!(self.open.remove(&job.attempt).is_some(), "{job:?} was told twice");
            assert!(!self.ended.contains(&job.attempt));
        }
        turn.next_due_ms
    }

    fn job(&self, target: usize, version: usize, mode: Mode) -> Job {
        let to = ["new", "newer", "bad", "newest"][version];
        let slot = self.world.slot(&self.targets[target]);
        let from = if mode == Mode::Config {
            slot.config
        } else {
            slot.running
        };
        let job = job(&self.targets[target], to, mode).from(from);
        if target.is_multiple_of(2) {
            job.group("even")
        } else {
            job
        }
    }

    fn kill(&mut self) {
        self.driver = None;
        let mut driver = self.world.driver_with(config());
        let ended = driver.recover().now_or_never().unwrap().unwrap();
        // What ended without our being told. A snapshot does not tell: then the number is simply not taken up again.
        for receipt in ended {
            self.note_asked(&receipt);
            if self.open.contains_key(&receipt.attempt) {
                self.note_end(receipt.attempt);
            }
        }
        // Jobs without a durable begin are forgotten, as their caller would submit them anew.
        self.open.clear();
        self.driver = Some(driver);
    }
}

impl StateMachineTest for Telling {
    type SystemUnderTest = Self;
    type Reference = Story;

    fn init_test(_: &Weather) -> Self {
        let world = World::new(Kill::at([]), World::able().with_slots().with_hand_over().with_config());
        let targets = (0..TARGETS).map(|n| world.add(&format!("t{n}"))).collect();
        let driver = Some(world.driver_with(config()));
        Self {
            world,
            driver,
            targets,
            may: true,
            held_up: false,
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    fn apply(mut sut: Self, _: &Weather, deed: Deed) -> Self {
        match deed {
            Deed::Submit { target, version, mode } => {
                let job = sut.job(target, version, mode);
                let busy = sut.driver().is_busy(&job.target);
                let same = job.from == job.to;
                match sut.driver().submit(job.clone()) {
                    Ok(id) => {
                        assert!(!busy && !same);
                        assert_eq!(sut.open.insert(id, job.target), None, "a number is given once");
                    }
                    Err(SubmitError::Busy { .. }) => assert!(busy),
                    Err(error) => assert!(same, "{error}"),
                }
            }
            Deed::Supersede { target, version, mode } => {
                let job = sut.job(target, version, mode);
                if let Ok(id) = sut.driver().supersede(job.clone(), "a newer change") {
                    sut.open.insert(id, job.target);
                }
            }
            Deed::Cancel(target) => {
                let target = sut.targets[target].clone();
                let busy = sut.driver().is_busy(&target);
                assert_eq!(sut.driver().cancel(&target, "li") == Cancelled::Nothing, !busy);
            }
            Deed::Pause(true) => sut.driver().pause(None),
            Deed::Pause(false) => sut.driver().unpause(None),
            Deed::Turns(turns) => {
                for _ in 0..turns {
                    if let Some(due) = sut.turn() {
                        sut.world.clock.set(due.max(sut.world.clock.now()));
                    }
                }
            }
            Deed::Kill => sut.kill(),
            Deed::Compact => {
                sut.world.note_intents();
                // Ends of which the driver has not been told that they are in the journal are taken from there first.
                let ended = sut.world.driver_with(config()).recover().now_or_never();
                for receipt in ended.unwrap().unwrap() {
                    sut.note_asked(&receipt);
                }
                compact(sut.world.journal.as_ref()).now_or_never().unwrap().unwrap();
            }
            Deed::Blind(blind) => sut.world.state.lock().blind = blind,
            Deed::Refuse(refuse) => *sut.world.journal.refuse.lock() = refuse,
            Deed::LoseAnswers(lose) => *sut.world.journal.lose_answers.lock() = lose,
            Deed::Permit(may) => sut.may = may,
            Deed::Restart(target) => {
                let target = sut.targets[target].clone();
                sut.world.change(&target, |slot| {
                    slot.instance += 1;
                    slot.pair.restart(false);
                });
            }
            Deed::RestartBeside(target) => {
                let target = sut.targets[target].clone();
                sut.world.change(&target, |slot| slot.pair.restart(true));
            }
            Deed::Foreign(target) => {
                let target = sut.targets[target].clone();
                sut.world.change(&target, |slot| {
                    slot.instance += 1;
                    slot.running = "foreign".into();
                    slot.config = "foreign".into();
                });
            }
            Deed::Answers(which) => {
                let unknown = EffectOutcome::Unknown { reason: "lost".into() };
                let later = EffectOutcome::Retry { after_ms: 2_000 };
                let mut state = sut.world.state.lock();
                state.answers.clear();
                match which {
                    0 => drop(state.answers.insert("close", unknown)),
                    1 => drop(state.answers.insert("swap", later)),
                    2 => drop(state.answers.insert("prefetch", unknown)),
                    3 => drop(state.answers.insert("replace", later)),
                    4 => drop(state.answers.insert("hand over", unknown)),
                    5 => drop(state.answers.insert("config", later)),
                    _ => {}
                }
            }
        }
        sut
    }

    fn check_invariants(sut: &Self, _: &Weather) {
        let driver = sut.driver.as_ref().unwrap();
        assert!(driver.in_flight() <= IN_ALL);
        let even = sut.world.under_way("even");
        assert!(even <= IN_A_GROUP, "{even} of the group at once");
        for target in &sut.targets {
            let shut = sut.world.slot(target).closed && !sut.asked.contains(target);
            // Whoever is closed has an attempt, or a person was asked, or will be as soon as the journal works again.
            let untold = sut.world.journal.is_ill();
            assert!(!shut || untold || driver.is_busy(target), "{target} is left closed");
        }
    }

    fn teardown(mut sut: Self, _: Weather) {
        sut.world.state.lock().blind = false;
        sut.world.state.lock().answers.clear();
        *sut.world.journal.refuse.lock() = false;
        *sut.world.journal.lose_answers.lock() = false;
        sut.may = true;
        sut.driver().unpause(None);
        for round in 0.. {
            assert!(round < 3_000, "it does not end: {:?}", sut.driver);
            match sut.turn() {
                Some(due) => sut.world.clock.set(due.max(sut.world.clock.now())),
                None => break,
            }
        }
        sut.turn();
        assert_eq!(sut.driver().outstanding(), 0);
        assert!(sut.open.is_empty(), "no end was told of {:?}", sut.open);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_deeds_ends_well(sequential 1..60 => Telling);
}
