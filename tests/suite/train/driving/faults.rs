//! Sources, pagers, journals and permits that fail.

use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use unattended::train::{Order, TrainParts, TrainRunError};
use unattended::upgrade::{Group, Journal};
use unattended::{Permit, PermitError};

use super::{INPUT, STREAM, Seen, World, came, parts, run, seen};

/// A call may take half an hour.
fn impatient(seen: &Arc<Seen>) -> TrainParts<Seen, Seen> {
    let mut parts = parts(seen);
    parts.call_ms = 1_800_000;
    parts
}

fn arrived(world: &Arc<World>, parts: impl Fn(&Arc<Seen>) -> TrainParts<Seen, Seen>) -> Vec<String> {
    let seen = seen(world, None);
    let (ended, summary) = run(&seen, parts(&seen));
    ended.unwrap().unwrap();
    came(&summary)
        .into_iter()
        .filter(|came| came.3)
        .map(|came| came.0)
        .collect()
}

#[test]
fn a_pager_that_hangs_keeps_nothing_from_going_on() {
    let world = Arc::new(World {
        pager_hangs: true,
        ..World::default()
    });
    assert_eq!(arrived(&world, impatient), ["mesh-2.0.9", "mesh-2.2.0"]);
    assert!(world.notices.lock().is_empty());
    // All that is to be said in a turn takes one call, not one each: half an hour beside the hour of each turn.
    let inputs = world.inputs();
    let ticks = inputs
        .iter()
        .filter(|input| matches!(input, unattended::train::Input::Tick(_)))
        .count();
    assert!(ticks >= 40, "{ticks} turns in 60 hours");
}

#[test]
fn a_source_that_hangs_is_told_and_keeps_nothing_from_the_others() {
    let world = Arc::new(World {
        ci_hangs: 3..10,
        ..World::default()
    });
    assert_eq!(arrived(&world, impatient), ["mesh-2.0.9", "mesh-2.2.0"]);
    let notices = world.notices.lock();
    let silent: Vec<&String> = notices.iter().filter(|told| told.starts_with("train.silent")).collect();
    assert_eq!(
        silent,
        ["train.silent raised", "train.silent reminded", "train.silent resolved"]
    );
}

#[test]
fn ci_hears_once_where_the_cause_must_be() {
    let world = Arc::new(World {
        bad: true,
        ..World::default()
    });
    assert!(arrived(&world, parts).is_empty());
    let asked = world.asked.lock();
    let suspects: Vec<&String> = asked.iter().filter(|call| call.starts_with("suspects")).collect();
    // The hotfix has the second commit upon what production runs, the nightly both.
    assert_eq!(
        suspects,
        ["suspects of mesh-2.0.9: c2", "suspects of mesh-2.2.0: c1, c2"]
    );
}

/// A pager that takes its time hears of one matter in the order in which it went.
#[test]
fn what_is_over_is_never_said_before_it_came_up() {
    let world = Arc::new(World {
        script: Mutex::new(vec![(5, Order::StopTheLine { take_back: false }), (5, Order::Resume)]),
        pager_is_slow: true,
        ..World::default()
    });
    let seen = seen(&world, None);
    let (handle, drive) = unattended::train::drive(super::train(unattended::Level::L5), parts(&seen));
    *seen.handle.lock() = Some(handle);
    futures::executor::block_on(drive).unwrap();
    let notices = world.notices.lock();
    let stopped: Vec<&String> = notices
        .iter()
        .filter(|told| told.starts_with("train.stopped"))
        .collect();
    assert_eq!(stopped, ["train.stopped raised", "train.stopped resolved"]);
}

/// Nothing is done that a journal does not have; the next run goes on from what it has.
#[test]
fn a_journal_that_is_full_ends_the_driving_and_people_hear_of_it() {
    let whole = Arc::new(World::default());
    let wanted = arrived(&whole, parts);
    for hours in 1..super::HOURS {
        let world = Arc::new(World::default());
        *world.full_at_hours.lock() = Some(hours);
        let first = seen(&world, None);
        let (ended, _) = run(&first, parts(&first));
        assert!(matches!(ended, Some(Err(TrainRunError::Append(_)))), "{ended:?}");
        assert_eq!(world.notices.lock().last().unwrap(), "train.failed raised");
        let pulses = world.pulses.lock();
        assert!(
            pulses.iter().all(|(_, within)| *within > 0),
            "no pulse says that all is well"
        );
        drop(pulses);
        *world.full_at_hours.lock() = None;
        assert_eq!(arrived(&world, parts), wanted, "full at {hours}");
        assert!(world.notices.lock().contains(&"train.failed resolved".to_owned()));
        assert!(world.begun.lock().values().all(|times| *times == 1));
    }
}

#[test]
fn signs_of_life_say_when_the_next_one_comes_and_which_is_the_last() {
    let world = Arc::new(World {
        script: Mutex::new(vec![(50, Order::StopTheLine { take_back: false })]),
        ..World::default()
    });
    arrived(&world, impatient);
    let pulses = world.pulses.lock();
    // One at the beginning and then each hour, as often as it turns: two pulses, a turn, and four calls later an alarm goes off.
    let (last, before) = pulses.split_last().unwrap();
    assert_eq!(before.len(), usize::try_from(super::HOURS).unwrap(), "{pulses:?}");
    assert!(
        before
            .iter()
            .all(|(_, within)| *within == 2 * 60_000 + 3_600_000 + 4 * 1_800_000)
    );
    assert_eq!(last, &("stopped".to_owned(), 0));
    assert!(
        before.iter().take(50).all(|(state, _)| state == "running"),
        "{before:?}"
    );
}

#[test]
fn what_runs_is_taken_up_by_the_next_run() {
    // Somebody says something while it runs, which the journal does not take.
    let word = Order::Demote {
        level: unattended::Level::L5,
    };
    let world = Arc::new(World {
        script: Mutex::new(vec![(5, word)]),
        ..World::default()
    });
    *world.full_at_hours.lock() = Some(5);
    let first = seen(&world, None);
    run(&first, parts(&first)).0.unwrap().unwrap_err();
    let running: Vec<String> = world.begun.lock().keys().map(ToString::to_string).collect();
    world.asked.lock().clear();
    *world.full_at_hours.lock() = None;
    arrived(&world, parts);
    let asked = world.asked.lock();
    let last = running.last().unwrap();
    assert_eq!(asked.first(), Some(&format!("start {last}")), "{running:?}");
}

struct Until(Arc<World>, i64);

impl Permit for Until {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(self.0.hours() < self.1)
    }
}

#[test]
fn nothing_is_taken_back_without_the_permit() {
    let taken = |permitted_until: i64| {
        let world = Arc::new(World {
            script: Mutex::new(vec![(14, Order::StopTheLine { take_back: true })]),
            ..World::default()
        });
        let seen = seen(&world, None);
        let mut parts = parts(&seen);
        parts.permit = Arc::new(Until(Arc::clone(&world), permitted_until));
        run(&seen, parts).0.unwrap().unwrap();
        let asked = world.asked.lock();
        asked.iter().any(|call| call.starts_with("take back"))
    };
    assert!(taken(super::HOURS) && !taken(14));
}

/// Others may share the journal, and compact it.
#[test]
fn a_snapshot_is_read_before_what_follows_it() {
    let whole = Arc::new(World::default());
    let wanted = arrived(&whole, parts);
    let world = Arc::new(World::default());
    *world.full_at_hours.lock() = Some(30);
    let first = seen(&world, None);
    run(&first, parts(&first)).0.unwrap().unwrap_err();
    let groups = world.journal.read(0, usize::MAX).now_or_never();
    let groups = groups.unwrap().unwrap();
    let (half, _) = groups[groups.len() / 2];
    let mut snapshot = Group::new();
    for (_, group) in groups.iter().take_while(|(at, _)| *at < half) {
        for record in group.records() {
            snapshot.push(record.stream, record.kind, record.bytes);
        }
    }
    let compacted = world.journal.compact(half, &snapshot).now_or_never();
    compacted.unwrap().unwrap();
    *world.full_at_hours.lock() = None;
    assert_eq!(arrived(&world, parts), wanted);
    assert!(world.begun.lock().values().all(|times| *times == 1));
}

#[test]
fn records_of_a_later_version_are_not_passed_over() {
    for (kind, bytes) in [(9, Vec::new()), (INPUT, vec![250, 1])] {
        let world = Arc::new(World::default());
        let mut group = Group::new();
        group.push(STREAM, kind, &bytes);
        world.journal.append(&group).now_or_never().unwrap().unwrap();
        let seen = seen(&world, None);
        let (handle, drive) = unattended::train::drive(super::train(unattended::Level::L5), parts(&seen));
        let error = futures::executor::block_on(drive).unwrap_err();
        assert!(matches!(error, TrainRunError::Journal(_)), "{error}");
        assert!(handle.summary().is_none() && world.begun.lock().is_empty());
    }
}

/// What must not go on is ended before anything else is done, and a word goes before what has not been done yet.
#[test]
fn what_is_taken_back_goes_before_what_begins_and_words_before_both() {
    // At hour 14 somebody wants everything back, and something else built, in one breath.
    let world = Arc::new(World {
        script: Mutex::new(vec![
            (14, Order::StopTheLine { take_back: true }),
            (14, Order::Resume),
            (
                14,
                Order::Hotfix {
                    commit: "c1".to_owned(),
                },
            ),
        ]),
        ..World::default()
    });
    arrived(&world, parts);
    let asked = world.asked.lock();
    let taken = asked.iter().position(|call| call.starts_with("take back")).unwrap();
    let built = asked.iter().position(|call| call == "build 1").unwrap();
    assert!(taken < built, "{asked:?}");
}

/// Somebody stops the line while the first of several effects is under way: the others do not begin.
#[test]
fn a_word_in_the_middle_of_a_turn_is_heard_before_the_next_effect() {
    let commit = "c1".to_owned();
    let world = Arc::new(World {
        script: Mutex::new(vec![(12, Order::Hotfix { commit })]),
        stops_at_build_from: Some(12),
        ..World::default()
    });
    let seen = seen(&world, None);
    let (ended, _) = run(&seen, parts(&seen));
    ended.unwrap().unwrap();
    let asked = world.asked.lock();
    // One hotfix was built before; of the nightly and another hotfix, due in one turn, the first is.
    let builds = asked.iter().filter(|call| call.starts_with("build"));
    assert_eq!(builds.count(), 2, "{asked:?}");
}

/// A word in the middle of a turn, the turns being an hour apart.
#[test]
fn what_somebody_says_while_something_is_done_is_done_before_anything_is_waited_for() {
    let commit = "c1".to_owned();
    let world = Arc::new(World {
        script: Mutex::new(vec![(14, Order::Hotfix { commit })]),
        stops_at_build_from: Some(14),
        wants_back: true,
        ..World::default()
    });
    arrived(&world, parts);
    assert_eq!(world.taken_back.lock().first(), Some(&14));
}
