//! An instance is believed where it says so itself, at the port that takes its traffic.
use std::sync::Arc;

use crate::mouths::Mouths;
use crate::support::{Kill, World, job};
use unattended_upgrade::*;

const MODES: [Mode; 4] = [Mode::Cold, Mode::Warm, Mode::Hot, Mode::Config];

fn upgraded(mode: Mode, mouths: Mouths) -> (Receipt, Arc<World>) {
    let able = World::able().with_slots().with_hand_over().with_config().with_probe();
    let world = World::new(Kill::at([]), able);
    let target = world.add("a");
    world.state.lock().mouths = mouths;
    let mut driver = world.driver();
    driver.submit(job(&target, "new", mode)).unwrap();
    (world.run(&mut driver).remove(0), world)
}

/// In a hot upgrade the old and the new one answer in turns as long as both accept.
#[test]
fn who_answers_is_believed() {
    for mode in MODES {
        let (receipt, world) = upgraded(mode, Mouths::InTurns);
        assert_eq!(receipt.terminal, Terminal::Done, "{mode}");
        assert!(world.state.lock().probes > 0, "{mode}");
    }
}

#[test]
fn who_never_answers_is_not_believed() {
    for mode in MODES {
        let (receipt, _) = upgraded(mode, Mouths::Silent);
        assert_ne!(receipt.terminal, Terminal::Done, "{mode}");
    }
    // Before it is alone: connections are still where they were, or come back.
    let (receipt, world) = upgraded(Mode::Hot, Mouths::SilentFor("new"));
    let reason = Reason::TimedOut { step: Step::Migrating };
    assert_eq!(receipt.terminal, Terminal::RolledBack { reason });
    let commits = |sent: &str| sent == "hand over commit";
    assert!(!world.state.lock().sent.iter().any(|(_, sent, _)| commits(sent)));
}

/// A look says that all is well with it.
#[test]
fn who_says_that_it_is_ill_is_not_believed() {
    for mode in [Mode::Cold, Mode::Warm, Mode::Hot] {
        let (receipt, _) = upgraded(mode, Mouths::Ill("new"));
        let reason = Reason::SelfCheckFailed {
            check: "upstream".into(),
        };
        assert_eq!(receipt.terminal, Terminal::RolledBack { reason }, "{mode}");
    }
    let (receipt, world) = upgraded(Mode::Hot, Mouths::Ill("new"));
    assert_eq!(
        receipt.went_back,
        Some(Reason::SelfCheckFailed {
            check: "upstream".into()
        })
    );
    // Both accepted when it was asked: nothing had been taken from the old one.
    let quiesced = |sent: &str| sent == "hand over quiesce";
    assert!(!world.state.lock().sent.iter().any(|(_, sent, _)| quiesced(sent)));
}
