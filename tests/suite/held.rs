//! What rules hold does not begin, however long ago it was let go: who waits for a region, on the way there and back, and what is offered.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use unattended::upgrade::{Clock, TargetId};
use unattended::{Grant, Level, Outcome, QuestionKind};

use crate::domains::region_of;
use crate::support::{Act, Case, Effect, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, Stage, person};

/// No change in these hours of each day; it is eight in the morning when a change begins.
fn protected(from: &str, hours: u32, rollback: &str) -> String {
    format!(
        "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
         - {{id: day, kind: protected, weekly: {{days: daily, from: \"{from}\", for: {hours}h}}, zone: UTC, rollback: {rollback}, reason: business}}\n"
    )
}

/// The first order to a version at each target that fell into this time.
fn begun(effects: &[Effect], version: &str, within: &Range<u64>) -> Vec<(u64, String)> {
    let mut seen = BTreeSet::new();
    let orders = effects
        .iter()
        .filter(|effect| effect.act == Act::Replace && effect.version.as_deref() == Some(version));
    let firsts = orders.filter(|effect| seen.insert(effect.target.clone()));
    firsts
        .filter(|effect| within.contains(&effect.at_ms))
        .map(|effect| (effect.at_ms / 1_000, effect.target.clone()))
        .collect()
}

#[test]
fn who_waits_for_the_turn_of_its_region_does_not_begin_in_protected_hours() {
    for from in [25_u64, 30, 35, 40] {
        let mut case = crate::domains::case();
        case.rules = protected(&format!("08:{from}"), 6, "allowed");
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Completed, "from 08:{from}");
        ended.all_on_new();
        let window = from * MINUTE_MS..from * MINUTE_MS + 6 * HOUR_MS;
        assert_eq!(begun(&ended.effects, NEW, &window), [], "protected from 08:{from}");
        let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}

/// Cuts a region off when somebody of it has been reached, and takes the change back.
fn taken_back_while_a_region_is_dark(rollback: &str, answer: bool) -> (Stage, Vec<QuestionKind>) {
    let mut case = crate::domains::case();
    case.rules = protected("12:00", 6, rollback);
    let mut stage = case.stage();
    let silent = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&silent);
    stage.platform.silent_where(move |targets: &[TargetId]| {
        switch.load(Ordering::Relaxed) && targets.iter().any(|target| region_of(target.as_str()) == "asia")
    });
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let mut asked = Vec::new();
    let driven = stage.drive(async {
        let reached = || {
            let mut effects = platform.effects().into_iter();
            effects.any(|effect| effect.version.as_deref() == Some(NEW) && region_of(&effect.target) == "asia")
        };
        while !reached() || handle.progress().is_some_and(|progress| progress.in_flight > 0) {
            clock.sleep_until(clock.now() + 10_000).await;
        }
        assert!(clock.now() < 3 * HOUR_MS, "too late for what follows");
        silent.store(true, Ordering::Relaxed);
        clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
        handle.roll_back(person(), "it is slow").unwrap();
        clock.sleep_until(5 * HOUR_MS).await;
        silent.store(false, Ordering::Relaxed);
        clock.sleep_until(6 * HOUR_MS).await;
        asked.extend(handle.questions().into_iter().map(|question| question.kind));
        if answer {
            handle.approve(person(), "it does harm").unwrap();
        }
        clock.sleep_until(11 * HOUR_MS).await;
    });
    assert_eq!(driven.unwrap().unwrap().unwrap(), Outcome::RolledBack, "{rollback}");
    (stage, asked)
}

#[test]
fn who_waits_for_its_region_on_the_way_back_goes_when_rollbacks_are_let_go_or_a_person_says_so() {
    let (window, hours) = (4 * HOUR_MS..10 * HOUR_MS, 10 * HOUR_MS..11 * HOUR_MS);
    let (stage, asked) = taken_back_while_a_region_is_dark("forbidden", false);
    assert_eq!(asked, [QuestionKind::RollBackNow]);
    assert_eq!(begun(&stage.platform.effects(), OLD, &window), []);
    assert!(
        !begun(&stage.platform.effects(), OLD, &hours).is_empty(),
        "nobody waited"
    );

    let (stage, asked) = taken_back_while_a_region_is_dark("forbidden", true);
    assert_eq!(asked, [QuestionKind::RollBackNow]);
    let late = begun(&stage.platform.effects(), OLD, &(4 * HOUR_MS..10 * HOUR_MS));
    assert!(
        !late.is_empty() && late.iter().all(|(at_s, _)| at_s * 1_000 >= 6 * HOUR_MS),
        "{late:?}"
    );

    let (stage, asked) = taken_back_while_a_region_is_dark("allowed", false);
    assert_eq!(asked, []);
    let late = begun(&stage.platform.effects(), OLD, &(5 * HOUR_MS..6 * HOUR_MS));
    assert!(!late.is_empty(), "it goes as soon as it can be reached");
}

#[test]
fn an_offer_ends_with_the_hours_that_let_it_and_comes_again_with_the_next() {
    for level in [Level::L0, Level::L1] {
        let mut case = Case::calm(4, 20).level(level);
        case.rules = protected("09:00", 6, "allowed");
        let mut stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let driven = stage.drive(async {
            clock.sleep_until(10 * MINUTE_MS).await;
            let offered = handle.offers();
            assert!(!offered.is_empty(), "{level}");
            clock.sleep_until(2 * HOUR_MS).await;
            assert_eq!(handle.offers(), [], "{level}");
            handle.step(person(), offered[0].target.clone(), "this one").unwrap();
            clock.sleep_until(2 * HOUR_MS + 30 * MINUTE_MS).await;
            let refused = |code: &str| code == "step.refused";
            let decisions = handle.summary().unwrap().decisions;
            assert!(decisions.iter().any(|one| refused(&one.code)), "{level}");
            clock.sleep_until(7 * HOUR_MS + 5 * MINUTE_MS).await;
            assert!(!handle.offers().is_empty(), "{level}: the hours are over");
        });
        assert!(driven.unwrap().is_none(), "{level}");
        assert_eq!(begun(&stage.platform.effects(), NEW, &(0..u64::MAX)), [], "{level}");
    }
}

/// Between two looks at the rules a word comes for what was offered at the first: the rules are asked again at the word.
#[test]
fn a_word_at_the_first_second_of_protected_hours_starts_nothing() {
    let mut case = Case::calm(4, 20).level(Level::L1);
    case.rules = protected("09:00", 6, "allowed");
    for early_ms in [0, 1_000, 5_000, 20_000, 59_000] {
        let mut stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let driven = stage.drive(async {
            clock.sleep_until(10 * MINUTE_MS).await;
            let offered = handle.offers();
            clock.sleep_until(HOUR_MS + early_ms).await;
            for offer in offered {
                handle.step(person(), offer.target, "this one").unwrap();
            }
            clock.sleep_until(3 * HOUR_MS).await;
        });
        assert!(driven.unwrap().is_none());
        assert_eq!(
            begun(&stage.platform.effects(), NEW, &(0..u64::MAX)),
            [],
            "after {early_ms} ms"
        );
    }
}

/// Who need not be asked any more starts what was offered, and not what rules hold by then.
#[test]
fn a_higher_level_starts_nothing_of_what_was_offered_before_protected_hours() {
    let mut case = Case::calm(4, 20).level(Level::L1);
    case.rules = protected("09:00", 6, "allowed");
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let driven = stage.drive(async {
        clock.sleep_until(10 * MINUTE_MS).await;
        assert!(!handle.offers().is_empty());
        clock.sleep_until(HOUR_MS + 1_000).await;
        let until = START_WALL_MS + 20 * 24 * 3_600_000;
        let grant = Grant::new(Level::L3, person(), until).unwrap();
        handle.grant(grant, "it is routine").unwrap();
        clock.sleep_until(8 * HOUR_MS).await;
    });
    assert!(driven.unwrap().is_none());
    let effects = stage.platform.effects();
    assert_eq!(begun(&effects, NEW, &(0..7 * HOUR_MS)), []);
    assert!(!begun(&effects, NEW, &(7 * HOUR_MS..8 * HOUR_MS)).is_empty());
}

/// What was said to be done while everything went on is not begun once somebody has paused it.
#[test]
fn a_step_that_was_said_before_a_pause_begins_after_it() {
    let mut stage = Case::calm(4, 20).level(Level::L1).stage();
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let driven = stage.drive(async {
        clock.sleep_until(10 * MINUTE_MS).await;
        let offer = handle.offers().remove(0);
        handle.step(person(), offer.target, "this one").unwrap();
        handle.pause(person(), "a look").unwrap();
        clock.sleep_until(30 * MINUTE_MS).await;
        assert_eq!(begun(&platform.effects(), NEW, &(0..u64::MAX)), []);
        handle.resume(person(), "go on").unwrap();
        clock.sleep_until(40 * MINUTE_MS).await;
    });
    assert!(driven.unwrap().is_none());
    assert_eq!(begun(&stage.platform.effects(), NEW, &(0..u64::MAX)).len(), 1);
}
