//! A change keeps the decisions that it began with, whatever build takes it up; where a build decides otherwise, it says so.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, person};
use unattended::upgrade::{Clock, Group, Journal, MemoryJournal, Stream};
use unattended::{Actor, CommandError, DECISIONS, Level, Outcome, RunError, replay};

/// By version: the journal of a run of each, from the time when it was the newest.
const JOURNALS: [&str; 8] = [
    include_str!("../fixtures/decisions-1.txt"),
    include_str!("../fixtures/decisions-2.txt"),
    include_str!("../fixtures/decisions-3.txt"),
    include_str!("../fixtures/decisions-4.txt"),
    include_str!("../fixtures/decisions-5.txt"),
    include_str!("../fixtures/decisions-6.txt"),
    include_str!("../fixtures/decisions-7.txt"),
    include_str!("../fixtures/decisions-8.txt"),
];

fn groups(text: &str) -> Vec<Group> {
    let bytes = |line: &str| {
        let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(byte).collect()
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| Group::from_bytes(bytes(line)).unwrap()).collect()
}

fn journal_of(groups: impl IntoIterator<Item = Group>) -> Arc<MemoryJournal> {
    let journal = Arc::new(MemoryJournal::new());
    for group in groups {
        futures::executor::block_on(journal.append(&group)).unwrap();
    }
    journal
}

/// The change of the fixtures. Nobody had been reached when their process died.
fn case() -> Case {
    Case::calm(2, 10).level(Level::L2)
}

#[test]
fn a_change_of_each_version_is_decided_as_it_was_and_goes_on_so() {
    for (version, text) in (1..).zip(JOURNALS) {
        let journal = journal_of(groups(text));
        let played = futures::executor::block_on(replay(&*journal, None)).unwrap();
        assert_eq!((played.first_difference, played.decided_by), (None, version));
        assert!(played.decisions > 0);

        let stage = case().stage_over(journal.clone());
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            loop {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
                if handle.question().is_some() {
                    // In the first version anybody could.
                    let first = version == 1;
                    let actor = if first { Actor::program("bot", "cron") } else { person() };
                    let _ = handle.approve(actor, "go");
                }
            }
        });
        assert_eq!(ended.outcome, Outcome::Completed, "version {version}");
        ended.all_on_new();
        assert!(!ended.codes().contains(&"decisions.differ"), "{:?}", ended.codes());
        let played = futures::executor::block_on(replay(&*journal, None)).unwrap();
        assert_eq!((played.first_difference, played.decided_by), (None, version));
    }
}

#[test]
fn a_change_that_begins_now_goes_by_the_newest_version() {
    let ended = Case::calm(2, 10).run();
    let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
    assert_eq!((played.first_difference, played.decided_by), (None, DECISIONS));
    // Each version that there was has its fixture.
    assert_eq!(JOURNALS.len() + 1, usize::from(DECISIONS));
}

/// The same group, with something done to each record of the autopilot.
fn altered(group: &Group, alter: &mut impl FnMut(u8, &mut Vec<u8>)) -> Group {
    let mut altered = Group::new();
    for record in group.records() {
        let mut bytes = record.bytes.to_vec();
        if record.stream == Stream::AUTOPILOT {
            alter(record.kind, &mut bytes);
        }
        altered.push(record.stream, record.kind, &bytes);
    }
    altered
}

/// The journal of a run that was killed after a while, with something done to each record of the autopilot.
fn killed(mut alter: impl FnMut(u8, &mut Vec<u8>)) -> Arc<MemoryJournal> {
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = case().stage_over(journal.clone());
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let stopped = stage.drive(async {
        clock.sleep_until(5 * MINUTE_MS).await;
        handle.pause(person(), "lunch").unwrap();
        clock.sleep_until(6 * MINUTE_MS).await;
    });
    assert!(stopped.unwrap().is_none());
    let groups = futures::executor::block_on(journal.read(0, usize::MAX)).unwrap();
    journal_of(groups.iter().map(|(_, group)| altered(group, &mut alter)))
}

#[test]
fn decisions_of_a_later_version_are_refused() {
    // The version stands before the rest of the first record.
    let journal = killed(|kind, bytes| {
        if kind == 25 {
            assert_eq!(u16::from(bytes[0]), DECISIONS);
            bytes[0] += 1;
        }
    });
    let before = crate::support::bytes(&*journal);
    let error = futures::executor::block_on(replay(&*journal, None)).unwrap_err();
    assert!(matches!(error, RunError::LaterDecisions { journal } if journal == DECISIONS + 1));
    let mut stage = case().stage_over(journal.clone());
    let error = stage.drive(std::future::pending()).unwrap().unwrap().unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, RunError::LaterDecisions { .. }) && text.contains("the build that began it"),
        "{text}"
    );
    assert_eq!(stage.platform.effects(), []);
    assert!(crate::support::bytes(&*journal) == before, "nothing was written");
}

#[test]
fn a_run_that_takes_up_what_it_would_have_decided_otherwise_says_so() {
    // One word of what was decided is another, as if another build had decided it.
    let mut forged = 0;
    let journal = killed(|kind, bytes| {
        if kind == 10
            && let Some(at) = bytes.windows(5).position(|word| word == b"pause")
        {
            bytes[at] = b'c';
            forged += 1;
        }
    });
    assert_eq!(forged, 1);
    let mut second = case().stage_over(journal.clone());
    let clock = second.sim.clock();
    assert!(second.drive(clock.sleep_until(10 * MINUTE_MS)).unwrap().is_none());
    let summary = second.handle.summary().unwrap();
    let said = summary
        .decisions
        .iter()
        .filter(|decision| decision.code == "decisions.differ");
    assert_eq!(said.count(), 1);
    assert!(
        second
            .pager
            .notices()
            .iter()
            .any(|notice| notice.code == "decisions.differ")
    );
    drop(second);
    // It is said once, and what was decided since is the same again.
    let mut third = case().stage_over(journal.clone());
    assert!(
        third
            .drive(clock_of(&third).sleep_until(20 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    let summary = third.handle.summary().unwrap();
    let said = summary
        .decisions
        .iter()
        .filter(|decision| decision.code == "decisions.differ");
    assert_eq!(said.count(), 1);
    let played = futures::executor::block_on(replay(&*journal, None)).unwrap();
    assert!(played.first_difference.unwrap().journal.contains("cause"));
}

fn clock_of(stage: &crate::support::Stage) -> impl Clock + use<> {
    stage.sim.clock()
}

#[test]
fn what_was_not_refused_in_the_first_version_is_refused_now() {
    let mut stage = case().stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let stopped = stage.drive(async {
        clock.sleep_until(HOUR_MS).await;
        let said = handle.approve(Actor::program("bot", "cron"), "go");
        assert!(matches!(said, Err(CommandError::NeedsPerson { .. })), "{said:?}");
        clock.sleep_until(2 * HOUR_MS).await;
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(stage.platform.effects(), []);
}
