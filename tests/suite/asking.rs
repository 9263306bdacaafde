//! Whom the autopilot asks, how often, and what happens where an answer can change nothing.

use std::sync::Arc;

use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, Stage, person};
use unattended::upgrade::{Clock, MemoryJournal, TargetId};
use unattended::{Level, Outcome, QuestionKind};

/// Runs it with somebody who says yes to every question a few minutes after it was asked.
fn with_yes(stage: Stage) -> Ended {
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    stage.run_beside(async move {
        let mut answered = 0;
        loop {
            clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
            let asked = pager
                .notices()
                .iter()
                .filter(|notice| notice.question.is_some())
                .count();
            if asked > answered {
                answered = asked;
                // The question may have been withdrawn meanwhile.
                let _ = handle.approve(person(), "yes");
            }
        }
    })
}

/// An answer that changes nothing is not asked for: the question that comes is the one whose answer ends the matter.
#[test]
fn lost_telemetry_does_not_ask_the_same_again_and_again() {
    let mut case = Case::calm(4, 10);
    case.world.telemetry_loss = 0.6;
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let ended = with_yes(case.stage_over(journal.clone()));
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let kinds: Vec<QuestionKind> = ended
        .notices
        .iter()
        .filter_map(|n| Some(n.question.as_ref()?.kind))
        .collect();
    assert!(kinds.len() <= 3, "{kinds:?}");
    assert!(kinds.contains(&QuestionKind::Stalled), "{kinds:?}");
    assert_eq!(ended.summary.human_actions, kinds.len() as u64);
    assert!(!ended.summary.debts.is_empty());
    // What the journal tells is what happened, the questions and their answers included.
    let (debts, actions) = (ended.summary.debts.clone(), ended.summary.human_actions);
    drop(ended);
    let again = case.stage_over(journal).run();
    assert_eq!(again.outcome, Outcome::CompletedWithDebt);
    assert!(again.summary.debts == debts);
    assert_eq!(again.summary.human_actions, actions);
}

/// What the platform never shows ends the run, with nobody asked what nobody can answer.
#[test]
fn a_platform_that_cannot_be_seen_ends_the_run_as_waiting() {
    let mut case = Case::calm(2, 4);
    case.world.fault_observe = 1.0;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(ended.notices.len(), 1, "{:?}", ended.notices);
    assert_eq!(ended.notices[0].code, "attempts.unseen");
}

/// One that never answers is as one that refuses, whether it falls silent at once or when all is done but the last look.
#[test]
fn a_silent_platform_ends_the_run_as_waiting() {
    let case = Case::calm(2, 4);
    let stage = case.stage();
    stage.platform.silent_where(|_| true);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(ended.notices.len(), 1, "{:?}", ended.notices);
    assert_eq!(ended.notices[0].code, "attempts.unseen");
    assert_eq!(ended.effects, []);
    // A later run takes it up.
    let ended = case.stage_in(ended.sim, ended.journal).run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();

    let stage = case.stage();
    let handle = stage.handle.clone();
    let done = move || {
        handle
            .progress()
            .is_some_and(|p| p.exposed == p.targets && p.in_flight == 0)
    };
    stage.platform.silent_where(move |_| done());
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(ended.notices.len(), 1, "{:?}", ended.notices);
}

/// One target that cannot be seen holds up nobody else, and is owed at the end.
#[test]
fn a_target_out_of_sight_becomes_debt() {
    let stage = Case::calm(4, 10).stage();
    let dead = TargetId::from("app-1-3");
    let asked = dead.clone();
    stage.platform.silent_where(move |targets| targets.contains(&asked));
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", ended.notices);
    assert_eq!(ended.summary.debts.len(), 1, "{:?}", ended.summary.debts);
    let debt = &ended.summary.debts[0];
    assert!(debt.reason.contains("out of sight"), "{debt:?}");
    assert!(!debt.reason.contains("not healthy"), "{debt:?}");
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, census.targets - 1);
}

/// A fault that shows when the window, which grants no rollbacks, has just closed.
fn held_rollback() -> Case {
    let mut case = Case::calm(6, 20).release("late=3h:errors=x20");
    case.rules = "version: 1
pack: shop
owner: shop
scope: all
windows:
  - id: lunch
    kind: protected
    weekly: {days: [mon], from: \"10:30\", for: 20h}
    zone: UTC
    owner: shop-desk
    reason: people eat
"
    .to_owned();
    case
}

#[test]
fn a_rollback_that_rules_hold_is_told_at_once_and_goes_at_a_persons_word() {
    let asked = |ended: &Ended| {
        let notice = ended.notices.iter().find_map(|notice| notice.question.clone());
        let question = notice.unwrap_or_else(|| panic!("nobody was asked: {:?}", ended.codes()));
        assert_eq!(question.kind, QuestionKind::RollBackNow);
        assert!(
            question.text.contains("lunch") && question.text.contains("people eat"),
            "{}",
            question.text
        );
        question.asked_ms
    };
    let stopped = |ended: &Ended| {
        let stop = ended
            .summary
            .decisions
            .iter()
            .find(|decision| decision.code == "rollback.began")
            .unwrap();
        stop.at_ms
    };
    // Nobody answers: it goes when the rule lets it.
    let silent = held_rollback().run();
    assert_eq!(silent.outcome, Outcome::RolledBack);
    silent.all_on_old();
    assert!(
        silent.summary.elapsed_ms > 22 * HOUR_MS,
        "{}",
        silent.summary.elapsed_ms
    );
    assert!(asked(&silent) >= stopped(&silent) && asked(&silent) <= stopped(&silent) + MINUTE_MS);

    let answered = with_yes(held_rollback().stage());
    assert_eq!(answered.outcome, Outcome::RolledBack);
    answered.all_on_old();
    assert_eq!(answered.summary.human_actions, 1);
    assert!(
        answered.summary.elapsed_ms < stopped(&answered) + HOUR_MS,
        "{}",
        answered.summary.elapsed_ms
    );
    assert!(answered.summary.debts.is_empty());
}

/// A target that its own failed attempt left without service is lost, however often it is tried again.
#[test]
fn what_an_attempt_left_without_service_is_counted_as_lost() {
    let mut case = Case::calm(3, 20);
    // Slower than any deadline, both ways.
    case.world.in_place_s_median = 3_600.0;
    case.mode = unattended::upgrade::Wanted::Warm;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::RolledBackPartially);
    let census = ended.sim.census();
    assert!(ended.summary.lost > 0, "{census:?}");
    for debt in &ended.summary.debts {
        assert!(!debt.reason.contains("succeeded"), "{}", debt.reason);
    }
}

/// A freeze of all, of one application, of the way back, for longer than any patience: when it ends the change goes on.
#[test]
fn what_rules_held_for_days_goes_on_when_they_let_it() {
    let freeze = |scope: &str| {
        format!(
            "version: 1
pack: sale
owner: shop
scope: {scope}
freezes:
  - {{id: sale, from: 2026-11-23T08:30, until: 2026-11-29T08:00, zone: UTC, owner: cto, reason: sale}}
"
        )
    };
    for (scope, release, outcome) in [
        ("all", "good", Outcome::Completed),
        ("{app: app-1}", "good", Outcome::Completed),
        ("all", "late=2h:errors=x20", Outcome::RolledBack),
    ] {
        let mut case = Case::calm(4, 20).release(release);
        case.rules = freeze(scope);
        let ended = case.run();
        assert_eq!(ended.outcome, outcome, "{scope} {release}: {:?}", ended.codes());
        assert!(ended.summary.elapsed_ms > 5 * 24 * HOUR_MS);
    }
}

/// What is to be left must not wait behind a question of less weight.
#[test]
fn the_question_whether_to_roll_back_comes_before_every_other() {
    let mut case = Case::calm(6, 20).release("errors=x10").level(Level::L3);
    // One application wants a person.
    case.rules = "version: 1
pack: ask
owner: shop
scope: {app: app-0}
rules:
  - {id: ask, kind: person, owner: cto, step: batch, reason: ask first}
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    let kinds: Vec<QuestionKind> = ended
        .notices
        .iter()
        .filter_map(|n| Some(n.question.as_ref()?.kind))
        .collect();
    assert_eq!(kinds, [QuestionKind::RuleWantsPerson, QuestionKind::RollBack]);
    assert!(ended.summary.ask.unwrap().question.contains("Roll back?"));
}

/// A kill may come between the question and its way to a person.
#[test]
fn a_question_that_was_open_at_a_kill_is_asked_again() {
    let mut case = Case::calm(8, 30).release("errors=x10").level(Level::L3);
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let (clock, pager) = (first.sim.clock(), Arc::clone(&first.pager));
    let left = first.drive(async move {
        while pager.notices().is_empty() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
    });
    assert!(matches!(left, Ok(None)), "{left:?}");
    drop(first);

    let second = with_yes(case.stage_over(journal));
    assert_eq!(second.outcome, Outcome::RolledBack);
    // The clock of the second world begins anew, which is told first.
    let codes: Vec<&str> = second.notices.iter().map(|notice| notice.code.as_str()).collect();
    assert_eq!(codes, ["clock.behind", "person.asked"]);
    assert_eq!(second.summary.human_actions, 1);
}

/// What was overruled is the refusal that was seen: a gate that refuses on and on is asked about again.
#[test]
fn going_on_over_a_gate_is_no_leave_for_all_it_will_refuse() {
    let stage = Case::calm(8, 30).release("crash").level(Level::L3).stage();
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let ended = stage.run_beside(async move {
        let asked = |times: usize| {
            let (clock, pager) = (clock.clone(), Arc::clone(&pager));
            async move {
                while pager.notices().len() < times {
                    clock.sleep_until(clock.now() + MINUTE_MS).await;
                }
            }
        };
        asked(1).await;
        handle.resume(person(), "one bad node").unwrap();
        asked(2).await;
        handle.approve(person(), "no, it is the release").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    for notice in &ended.notices {
        assert_eq!(notice.question.as_ref().unwrap().kind, QuestionKind::RollBack);
        assert!(notice.text.contains("its gate failed"), "{}", notice.text);
    }
    assert_eq!((ended.notices.len(), ended.summary.human_actions), (2, 2));
}

/// What was seen and overruled stops nothing twice.
#[test]
fn going_on_over_a_gate_is_leave_for_as_much_again() {
    let case = Case::calm(8, 30).release("crash@zone=zone-2").level(Level::L3);
    let mut stage = case.stage();
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let left = stage.drive(async move {
        for times in 1..=3 {
            while pager.notices().len() < times {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
            }
            handle.resume(person(), "these are bad nodes").unwrap();
            clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
        }
    });
    assert!(matches!(left, Ok(None)), "{left:?}");
    let stops: Vec<u64> = (stage.handle.summary().unwrap().decisions.iter())
        .filter(|decision| decision.code == "stop.gate")
        .map(|decision| {
            let (_, after) = decision.text.split_once("failed on ").unwrap();
            after.split(' ').next().unwrap().parse().unwrap()
        })
        .collect();
    assert!(stops.len() >= 3, "{stops:?}");
    assert!(stops.windows(2).all(|two| two[1] > 2 * two[0]), "{stops:?}");
}

/// Restarts that do far more than is expected of them, for either version, are evidence that no waiting takes back: only the next
/// restarts can say more.
#[test]
fn nobody_waits_for_what_only_fresh_instances_could_show() {
    for seed in 1..=12 {
        let mut case = Case::calm(8, 20);
        case.seed = seed;
        (case.world.transient_factor_low, case.world.transient_factor_high) = (25.0, 25.0);
        (case.world.transient_s_low, case.world.transient_s_high) = (100.0, 100.0);
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::RolledBack, "{seed}: {:?}", ended.codes());
        assert!(!ended.codes().contains(&"person.asked"), "{seed}: {:?}", ended.codes());
    }
}
