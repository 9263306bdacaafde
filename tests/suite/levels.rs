//! What each level may do by itself, and that a person's word holds.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, OLD, START_WALL_MS, Stage, person};
use parking_lot::Mutex;
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, MemoryJournal, Platform, TargetId};
use unattended::{Actor, CommandError, Grant, Handle, Level, Outcome, QuestionKind, Settings, StartError};
use unattended_simulated::{SimClock, Simulated};

/// A release that is bad everywhere.
const BAD: &str = "errors=x10";

#[test]
fn at_l4_bad_evidence_rolls_back_alone() {
    let ended = Case::calm(8, 30).release(BAD).level(Level::L4).run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert_eq!(ended.summary.human_actions, 0);
    assert!(ended.notices.is_empty(), "{:?}", ended.notices);
    assert!(
        ended.codes().contains(&"rollback.began"),
        "nothing was touched, so nothing was shown"
    );
}

#[test]
fn at_l3_bad_evidence_asks_once_and_starts_nothing_more() {
    let stage = Case::calm(8, 30).release(BAD).level(Level::L3).stage();
    stage.pager.watch(&stage.platform);
    let pager = Arc::clone(&stage.pager);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert_eq!(ended.summary.human_actions, 0);

    assert_eq!(ended.notices.len(), 1, "{:?}", ended.notices);
    let question = ended.notices[0].question.as_ref().unwrap();
    assert_eq!(question.kind, QuestionKind::RollBack);
    assert_eq!(
        question.by_ms - question.asked_ms,
        Case::calm(1, 1).settings.person_patience_ms
    );

    let asked_at = pager.effects_at_first().unwrap();
    let touched: Vec<&str> = ended.effects[..asked_at]
        .iter()
        .map(|effect| effect.target.as_str())
        .collect();
    assert!(!touched.is_empty(), "the evidence came from nowhere");
    for effect in &ended.effects[asked_at..] {
        // Attempts under way come to their end; nobody new is touched, and nobody is brought back.
        assert!(
            touched.contains(&effect.target.as_str()),
            "begun after the question: {effect:?}"
        );
        assert_ne!(
            effect.version.as_deref(),
            Some(OLD),
            "brought back by itself: {effect:?}"
        );
    }
    let census = ended.sim.census();
    assert!(
        census.on_new_verified > 0,
        "what runs the new version keeps it: {census:?}"
    );
    assert!(!ended.codes().contains(&"rollback.began"));
}

#[test]
fn without_patience_a_question_ends_the_run_and_a_person_takes_it_up_again() {
    let mut case = Case::calm(8, 30).release(BAD).level(Level::L3);
    case.settings.person_patience_ms = 0;
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());

    let first = case.stage_over(journal.clone()).run();
    assert_eq!(first.outcome, Outcome::Waiting);
    assert_eq!(first.notices.len(), 1);
    assert!(
        first.summary.next.what.contains("person"),
        "{}",
        first.summary.next.what
    );
    let exposed = first.sim.census().on_new_verified;
    assert!(exposed > 0);
    drop(first);

    // Nobody said anything yet: it asks again, and still does nothing.
    let second = case.stage_over(journal.clone()).run();
    assert_eq!(second.outcome, Outcome::Waiting);
    // The clock of the second world begins anew, which is told first.
    let codes: Vec<&str> = second.notices.iter().map(|notice| notice.code.as_str()).collect();
    assert_eq!(codes, ["clock.behind", "person.asked"]);
    assert!(
        second
            .effects
            .iter()
            .all(|effect| effect.version.as_deref() != Some(OLD)),
        "{:?}",
        second.effects
    );
    drop(second);

    let stage = case.stage_over(journal);
    stage.handle.roll_back(person(), "the errors are ours").unwrap();
    let third = stage.run();
    assert_eq!(third.outcome, Outcome::RolledBack);
    third.all_on_old();
    assert_eq!(third.summary.human_actions, 1);
    assert!(
        third.notices.iter().all(|notice| notice.code == "clock.behind"),
        "{:?}",
        third.notices
    );
}

#[test]
fn at_l3_the_answer_yes_rolls_back() {
    let stage = Case::calm(8, 30).release(BAD).level(Level::L3).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let pager = Arc::clone(&stage.pager);
    let ended = stage.run_beside(async move {
        while pager.notices().is_empty() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        clock.sleep_until(clock.now() + HOUR_MS).await;
        handle.approve(person(), "yes").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert_eq!(ended.notices.len(), 1);
    assert_eq!(ended.summary.human_actions, 1);
}

#[test]
fn at_l3_a_person_may_go_on_over_the_evidence() {
    let stage = Case::calm(8, 30).release(BAD).level(Level::L3).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let pager = Arc::clone(&stage.pager);
    let mut stage = stage;
    let at_stop = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&at_stop);
    let left = stage.drive(async move {
        while pager.notices().is_empty() {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        *seen.lock() = handle.summary().unwrap().exposed_at_stop;
        handle.resume(person(), "the old one is worse").unwrap();
        clock.sleep_until(clock.now() + 12 * HOUR_MS).await;
    });
    // It goes on growing until twice as many show the same, and nobody takes it back.
    assert!(!matches!(left, Ok(Some(Ok(Outcome::RolledBack)))), "{left:?}");
    let summary = stage.handle.summary().unwrap();
    assert!(
        !summary
            .decisions
            .iter()
            .any(|decision| decision.code == "rollback.began")
    );
    let stopped_at = at_stop.lock().unwrap();
    let again = summary.exposed_at_stop.unwrap();
    assert!(again >= 2 * stopped_at, "{again} of {stopped_at}");
    let stops = summary.decisions.iter().filter(|one| one.code == "stop.evidence");
    assert_eq!((stops.count(), summary.human_actions), (2, 1));
    assert_eq!(stage.handle.question().unwrap().kind, QuestionKind::RollBack);
    assert!(summary.exposure.exposed < 240);
}

/// Who says each time that it is to go on is heard, and each time with twice as many to answer for, or half of those that were left.
#[test]
fn a_person_who_goes_on_each_time_is_asked_at_each_doubling() {
    let stage = Case::calm(8, 30).release(BAD).level(Level::L3).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if handle
                .question()
                .is_some_and(|open| open.kind == QuestionKind::RollBack)
            {
                seen.lock().push(handle.summary().unwrap().exposed_at_stop.unwrap());
                handle.resume(person(), "the old one is worse").unwrap();
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let asked = asked.lock();
    assert!(asked.len() >= 3, "{asked:?}");
    let enough = |before: u64| (2 * before).min(before + (240 - before).div_ceil(2));
    assert!(asked.windows(2).all(|two| two[1] >= enough(two[0])), "{asked:?}");
    assert!(
        asked.iter().any(|&asked| asked > 120),
        "above half of the fleet as well: {asked:?}"
    );
}

#[test]
fn a_person_may_take_a_good_release_back() {
    let stage = Case::calm(4, 10).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 15) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        handle.roll_back(person(), "marketing said so").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert!(ended.summary.rolled_back >= 15, "{}", ended.summary.rolled_back);
    assert!(ended.summary.exposed_at_stop.unwrap() >= 15);
}

/// Takes every step that is offered, as a person who follows the plan would; at L0 with the own hands.
pub(crate) async fn work(stage: &StageParts, by_hand: bool) {
    loop {
        stage.clock.sleep_until(stage.clock.now() + MINUTE_MS).await;
        for offer in stage.handle.offers() {
            assert_eq!(offer.by_hand, by_hand);
            if by_hand {
                stage
                    .hands
                    .lock()
                    .push((offer.target.clone(), offer.version.to_string()));
                let key = EffectKey {
                    attempt: AttemptId(1_000_000),
                    generation: Generation(1),
                    step: 0,
                    ordinal: 0,
                };
                stage
                    .sim
                    .replace(&TargetId::from(offer.target.as_str()), &offer.version, &key)
                    .await;
            }
            stage.handle.step(person(), offer.target, "next").unwrap();
        }
    }
}

/// What a person at work needs of a stage.
pub(crate) struct StageParts {
    sim: Arc<Simulated>,
    handle: Handle,
    clock: SimClock,
    pub(crate) hands: Arc<Mutex<Vec<(String, String)>>>,
}

impl StageParts {
    pub(crate) fn of(stage: &Stage) -> Self {
        Self {
            sim: Arc::clone(&stage.sim),
            handle: stage.handle.clone(),
            clock: stage.sim.clock(),
            hands: Arc::default(),
        }
    }
}

#[test]
fn at_l0_nothing_is_sent_and_what_is_done_by_hand_is_looked_at() {
    for (release, wanted) in [("good", Outcome::Completed), ("crash", Outcome::Waiting)] {
        let stage = Case::calm(4, 10).release(release).level(Level::L0).stage();
        let parts = StageParts::of(&stage);
        let hands = Arc::clone(&parts.hands);
        let ended = stage.run_beside(async move { work(&parts, true).await });
        assert_eq!(ended.outcome, wanted, "{release}: {:?}", ended.codes());
        assert_eq!(ended.effects, [], "{release}: something was sent");
        let hands = hands.lock();
        if release == "good" {
            ended.all_on_new();
            assert_eq!((ended.summary.human_actions, hands.len()), (40, 40));
            assert_eq!(ended.summary.receipt.attempts, 0, "it upgraded somebody itself");
        } else {
            // Nobody who was said to be done is believed to be.
            assert_eq!(ended.summary.exposure.exposed, 0);
            assert!(ended.codes().contains(&"step.unverified"), "{:?}", ended.codes());
            assert!(hands.len() < 40, "{}", hands.len());
        }
    }
}

#[test]
fn at_l0_who_cannot_be_brought_back_by_hand_is_given_up_and_owed() {
    let stage = Case::calm(4, 10).release("one-way").level(Level::L0).stage();
    let parts = StageParts::of(&stage);
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        let decide = async move {
            while handle.progress().is_none_or(|progress| progress.exposed < 5) {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
            }
            handle.roll_back(person(), "marketing said so").unwrap();
            std::future::pending::<()>().await;
        };
        futures::join!(work(&parts, true), decide);
    });
    assert_eq!(ended.outcome, Outcome::RolledBackPartially);
    let (debts, tries) = (ended.summary.debts.len(), Settings::default().tries);
    assert!(debts >= 5, "{debts}");
    let unverified = ended.codes().iter().filter(|code| **code == "step.unverified").count();
    assert_eq!(
        unverified,
        debts * usize::from(tries),
        "hands get as many tries as attempts do"
    );
}

#[test]
fn at_l1_each_target_needs_a_word_and_back_as_well() {
    let stage = Case::calm(4, 10).level(Level::L1).stage();
    let parts = StageParts::of(&stage);
    let ended = stage.run_beside(async move { work(&parts, false).await });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert_eq!(ended.summary.human_actions, 40);
    assert_eq!(ended.summary.receipt.attempts, 40);

    let stage = Case::calm(8, 30).release(BAD).level(Level::L1).stage();
    let parts = StageParts::of(&stage);
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let ended = stage.run_beside(async move {
        let decide = async move {
            loop {
                clock.sleep_until(clock.now() + HOUR_MS).await;
                let mut asks = pager.notices().into_iter().filter_map(|notice| notice.question);
                if asks
                    .next_back()
                    .is_some_and(|question| question.kind == QuestionKind::RollBack)
                {
                    handle.approve(person(), "yes").unwrap();
                    return;
                }
            }
        };
        futures::join!(work(&parts, false), decide);
    });
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:?}", ended.codes());
    ended.all_on_old();
    let (attempts, touched) = (ended.summary.receipt.attempts, ended.summary.exposed_at_stop.unwrap());
    // Each there and each back, and the decision between.
    assert!(touched > 0 && ended.summary.human_actions > 2 * touched, "{touched}");
    assert!(ended.summary.human_actions > attempts, "{attempts}");
}

#[test]
fn a_step_that_is_not_offered_is_not_taken() {
    for (level, count) in [(Level::L1, 0), (Level::L4, 40)] {
        let mut stage = Case::calm(4, 10).level(level).stage();
        stage.handle.step(person(), "app-0-0", "this one first").unwrap();
        stage.handle.step(person(), "nobody", "and this").unwrap();
        let clock = stage.sim.clock();
        let _ = stage.drive(clock.sleep_until(48 * HOUR_MS)).unwrap();
        let summary = stage.handle.summary().unwrap();
        let refused = summary
            .decisions
            .iter()
            .filter(|decision| decision.code == "step.refused")
            .count();
        assert_eq!((refused, summary.exposure.exposed), (2, count), "{level}");
    }
}

#[test]
fn at_l2_bad_evidence_asks_and_never_goes_back_by_itself() {
    let stage = Case::calm(8, 30).release(BAD).level(Level::L2).stage();
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let ended = stage.run_beside(async move {
        let mut answered = 0;
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            let notices = pager.notices();
            let batch = notices.last().and_then(|notice| notice.question.as_ref());
            if notices.len() > answered && batch.is_some_and(|question| question.kind == QuestionKind::NextBatch) {
                answered = notices.len();
                handle.approve(person(), "go").unwrap();
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::Waiting);
    let last = ended.notices.last().unwrap().question.as_ref().unwrap().kind;
    assert_eq!(last, QuestionKind::RollBack);
    assert!(
        ended
            .effects
            .iter()
            .all(|effect| effect.version.as_deref() != Some(OLD))
    );
}

#[test]
fn below_l5_a_person_decides_what_a_program_chose() {
    let mut case = Case::calm(4, 10).level(Level::L4);
    case.author = Actor::program("train", "nightly 812");
    case.granted = Some(START_WALL_MS + 400 * HOUR_MS as i64);
    let stage = case.stage();
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let ended = stage.run_beside(async move {
        clock.sleep_until(20 * HOUR_MS).await;
        assert_eq!(platform.effects(), [], "begun without a person");
        handle.approve(person(), "take it").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    assert_eq!(ended.notices[0].question.as_ref().unwrap().kind, QuestionKind::Begin);
    assert_eq!(ended.summary.human_actions, 1);

    let mut case = case.level(Level::L5);
    case.granted = Some(START_WALL_MS + 400 * HOUR_MS as i64);
    let ended = case.run();
    assert_eq!((ended.outcome, ended.summary.human_actions), (Outcome::Completed, 0));
    assert_eq!(ended.notices, []);
    assert!(ended.codes().contains(&"change.began"));
}

#[test]
fn at_l5_it_begins_when_the_first_batch_can_show_every_class() {
    // One of the two stacks may not be touched before the evening; it is eight in the morning.
    let mut case = Case::calm(4, 10).level(Level::L5);
    case.rules = "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
                  - {id: day, kind: protected, select: {stack: [stack-1]}, weekly: {days: daily, from: \"06:00\", for: 12h}, zone: UTC, reason: business}\n"
        .to_owned();
    let first_ms = |case: &Case| case.run().effects[0].at_ms;
    assert!(
        (10 * HOUR_MS..11 * HOUR_MS).contains(&first_ms(&case)),
        "{}",
        first_ms(&case)
    );
    let at_l4 = case.clone().level(Level::L4);
    assert!(first_ms(&at_l4) < HOUR_MS, "{}", first_ms(&at_l4));
    // It is no reason to wait for ever.
    case.settings.patience_ms = 2 * HOUR_MS;
    assert!(
        (2 * HOUR_MS..3 * HOUR_MS).contains(&first_ms(&case)),
        "{}",
        first_ms(&case)
    );
}

#[test]
fn a_program_for_an_author_answers_for_no_level() {
    let mut case = Case::calm(2, 10).level(Level::L4);
    case.author = Actor::program("train", "nightly");
    for (level, refused) in [(Level::L2, false), (Level::L3, true), (Level::L5, true)] {
        let error = case.clone().level(level).try_start().err();
        assert_eq!(
            matches!(error, Some(StartError::NotGranted { .. })),
            refused,
            "{level}: {error:?}"
        );
    }
}

#[test]
fn a_grant_runs_out_and_can_be_given_anew() {
    let mut case = Case::calm(4, 10).level(Level::L4);
    case.granted = Some(START_WALL_MS + HOUR_MS as i64);
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        clock.sleep_until(30 * HOUR_MS).await;
        let summary = handle.summary().unwrap();
        assert_eq!(summary.level, Level::L2);
        assert!(summary.ask.is_some_and(|ask| ask.question.contains("batch")));
        // A program cannot, a past moment is no end, and a person can.
        let until = |hours: u64| START_WALL_MS + (hours * HOUR_MS) as i64;
        assert!(Grant::new(Level::L4, Actor::program("cron", "night"), until(90)).is_err());
        let late = handle.grant(Grant::new(Level::L4, person(), until(29)).unwrap(), "late");
        assert!(
            matches!(late, Err(CommandError::NoLevel { level: Level::L4, .. })),
            "{late:?}"
        );
        clock.sleep_until(31 * HOUR_MS).await;
        assert_eq!(handle.summary().unwrap().level, Level::L2);
        handle
            .grant(Grant::new(Level::L4, person(), until(300)).unwrap(), "go")
            .unwrap();
        clock.sleep_until(32 * HOUR_MS).await;
        assert_eq!(handle.summary().unwrap().level, Level::L4);
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let codes = ended.codes();
    for code in ["level.expired", "level.refused", "level.changed"] {
        assert!(codes.contains(&code), "no {code} in {codes:?}");
    }
    assert!(ended.notices.iter().any(|notice| notice.code == "level.expired"));
}

#[test]
fn a_demotion_holds_from_the_next_decision_on() {
    // The moment before the evidence would have rolled it back.
    let undisturbed = Case::calm(8, 30).release(BAD).run();
    let stop = undisturbed
        .summary
        .decisions
        .iter()
        .find(|d| d.code == "stop.evidence")
        .unwrap()
        .at_ms;
    let stage = Case::calm(8, 30).release(BAD).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        clock.sleep_until(stop - 1).await;
        // Anybody may, a program too; it gives nothing back.
        handle
            .demote(
                Actor::program("watch", "precision"),
                Level::L3,
                "two false stops this week",
            )
            .unwrap();
        let given = handle.demote(Actor::program("watch", "precision"), Level::L5, "all is well");
        assert!(given.unwrap_err().to_string().contains("a program grants no level"));
    });
    assert_eq!(ended.outcome, Outcome::Waiting);
    assert!(!ended.codes().contains(&"rollback.began"));
    assert!(ended.codes().contains(&"level.refused"));
    assert_eq!((ended.summary.level, ended.summary.human_actions), (Level::L3, 0));
}

#[test]
fn without_a_fence_two_is_the_highest_and_it_is_said() {
    let mut case = Case::calm(2, 10).level(Level::L2);
    case.fence = false;
    let stage = case.stage();
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let ended = stage.run_beside(async move {
        let until = START_WALL_MS + 100 * HOUR_MS as i64;
        let refused = handle.grant(Grant::new(Level::L4, person(), until).unwrap(), "hurry");
        assert!(refused.unwrap_err().to_string().contains("the platform cannot fence"));
        let mut answered = 0;
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if pager.notices().len() > answered {
                answered = pager.notices().len();
                handle.approve(person(), "go").unwrap();
            }
        }
    });
    assert_eq!((ended.outcome, ended.summary.level), (Outcome::Completed, Level::L2));
    assert_eq!(ended.codes()[0], "platform.unfenced");
    assert!(ended.codes().contains(&"level.refused"));
    let error = case.level(Level::L3).try_start().err();
    assert!(
        matches!(error, Some(StartError::NoFence { level: Level::L3 })),
        "{error:?}"
    );
}
