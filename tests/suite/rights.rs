//! Who may say what: programs stop, hold and narrow; people answer, by name, and the question that they have seen.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, OLD, Stage, person};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Actor, CommandError, Handle, Level, Outcome, QuestionKind, replay};

/// Errors that are found after minutes.
const BAD: &str = "errors=x10";

fn bot() -> Actor {
    Actor::program("bot", "cron")
}

#[track_caller]
fn needs_person(said: Result<(), CommandError>, word: &str) {
    let error = said.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CommandError::NeedsPerson { .. }), "{text}");
    assert!(
        text.contains("bot (cron)") && text.contains(word) && text.contains("`Actor::person`"),
        "{text}"
    );
}

/// Runs until this time.
#[track_caller]
fn until(stage: &mut Stage, at_ms: u64) {
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(at_ms)).unwrap().is_none());
}

/// How often something was refused, as decisions have it.
fn refusals(handle: &Handle) -> u64 {
    let summary = handle.summary().unwrap();
    let refused = summary
        .decisions
        .iter()
        .filter(|decision| decision.code.ends_with(".refused"));
    refused.map(|decision| decision.count).sum()
}

#[test]
fn a_program_answers_no_question_and_takes_no_step() {
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = Case::calm(4, 10).level(Level::L2).stage_over(journal.clone());
    until(&mut stage, HOUR_MS);
    let question = stage.handle.question().unwrap();
    assert_eq!((question.kind, question.id), (QuestionKind::NextBatch, 1));
    needs_person(stage.handle.approve(bot(), "go"), "to answer a question");
    needs_person(stage.handle.answering(1).approve(bot(), "go"), "to answer a question");
    needs_person(stage.handle.resume(bot(), "go"), "to go on");
    until(&mut stage, 2 * HOUR_MS);
    assert_eq!(stage.platform.effects(), []);
    assert_eq!((refusals(&stage.handle), stage.handle.question()), (3, Some(question)));
    assert_eq!(stage.handle.summary().unwrap().human_actions, 0);
    let played = futures::executor::block_on(replay(&*journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
    // Somebody without a name is nobody who could be asked.
    let nameless = stage.handle.approve(Actor::person(" ", ""), "go").unwrap_err();
    assert!(matches!(nameless, CommandError::Nameless { .. }), "{nameless}");
    stage.handle.approve(person(), "go").unwrap();
    until(&mut stage, 3 * HOUR_MS);
    assert!(!stage.platform.effects().is_empty());

    let mut stage = Case::calm(4, 10).level(Level::L1).stage();
    until(&mut stage, HOUR_MS);
    let offer = stage.handle.offers().remove(0);
    needs_person(stage.handle.step(bot(), offer.target.clone(), "next"), "to take a step");
    until(&mut stage, 2 * HOUR_MS);
    assert_eq!(stage.platform.effects(), []);
    stage.handle.step(person(), offer.target, "next").unwrap();
    until(&mut stage, 3 * HOUR_MS);
    assert!(!stage.platform.effects().is_empty());
}

#[test]
fn what_is_refused_when_it_is_read_has_no_effect_either() {
    // Before the run has begun nobody can say whether it may be said.
    let mut stage = Case::calm(4, 10).level(Level::L2).stage();
    stage.handle.approve(bot(), "go").unwrap();
    until(&mut stage, HOUR_MS);
    assert_eq!((stage.platform.effects(), refusals(&stage.handle)), (Vec::new(), 1));
}

#[test]
fn a_program_lifts_only_what_it_alone_has_stopped() {
    let other = || Actor::program("other", "cron");
    type Stop = fn(&Handle, Actor) -> Result<(), CommandError>;
    let stops: [Stop; 2] = [
        |handle, who| handle.freeze(who, "odd"),
        |handle, who| handle.pause(who, "odd"),
    ];
    for stop in stops {
        // Who stops it, in order, and whether the program may let it go on.
        for (by, may) in [
            (vec![bot()], true),
            (vec![bot(), bot()], true),
            (vec![other()], false),
            (vec![bot(), other()], false),
            (vec![bot(), other(), bot()], false),
            (vec![person()], false),
            (vec![bot(), person()], false),
            (vec![person(), bot()], false),
        ] {
            let mut stage = Case::calm(4, 10).stage();
            until(&mut stage, 25_000);
            for who in &by {
                stop(&stage.handle, who.clone()).unwrap();
            }
            until(&mut stage, HOUR_MS);
            let said = stage.handle.resume(bot(), "it was nothing");
            assert_eq!(said.is_ok(), may, "{by:?}");
            until(&mut stage, 2 * HOUR_MS);
            let stands = ["frozen", "paused"].contains(&stage.handle.progress().unwrap().state);
            assert_eq!(stands, !may, "{by:?}");
            if !may {
                stage.handle.resume(person(), "looked at it").unwrap();
            }
            assert_eq!(stage.run().outcome, Outcome::Completed, "{by:?}");
        }
    }
}

#[test]
fn a_program_may_ask_for_the_way_back_and_the_level_decides() {
    let asked = |level: Level, rollbacks_before: u32| {
        let mut case = Case::calm(4, 24).level(level);
        case.rollbacks_before = rollbacks_before;
        let mut stage = case.stage();
        until(&mut stage, 10 * MINUTE_MS);
        assert!(stage.handle.progress().unwrap().exposed > 0);
        stage.handle.roll_back(bot(), "orders fail").unwrap();
        stage
    };
    let ended = asked(Level::L4, 0).run();
    assert_eq!((ended.outcome, ended.summary.human_actions), (Outcome::RolledBack, 0));
    ended.all_on_old();
    // Below, and beyond the budget, a person is asked, and nothing more goes forward.
    for (level, before) in [(Level::L3, 0), (Level::L4, 4)] {
        let mut stage = asked(level, before);
        until(&mut stage, 20 * MINUTE_MS);
        let question = stage.handle.question().unwrap();
        assert_eq!(question.kind, QuestionKind::RollBack);
        assert!(
            question.text.contains("bot (cron) asked for it: orders fail"),
            "{}",
            question.text
        );
        let done = stage.platform.effects().len();
        until(&mut stage, 10 * HOUR_MS);
        assert_eq!(stage.platform.effects().len(), done, "{level}");
        // To say it again is no answer.
        stage.handle.roll_back(bot(), "they still do").unwrap();
        until(&mut stage, 11 * HOUR_MS);
        assert_eq!(stage.handle.question().as_ref(), Some(&question));
        // A person may say that it was nothing.
        let (handle, seen) = (stage.handle.clone(), question.id);
        handle
            .answering(seen)
            .resume(person(), "orders were down for all")
            .unwrap();
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{level}");
        assert!(
            ended
                .effects
                .iter()
                .all(|effect| effect.version.as_deref() != Some(OLD))
        );
    }
    // Over a person's freeze it waits for that person.
    let mut stage = Case::calm(4, 24).stage();
    until(&mut stage, 10 * MINUTE_MS);
    stage.handle.freeze(person(), "let me look").unwrap();
    stage.handle.roll_back(bot(), "orders fail").unwrap();
    let done = stage.platform.effects();
    until(&mut stage, 5 * HOUR_MS);
    assert_eq!(stage.platform.effects(), done);
    stage.handle.resume(person(), "go").unwrap();
    assert_eq!(stage.run().outcome, Outcome::RolledBack);
}

#[test]
fn a_program_aborts_nothing_that_has_been_stopped() {
    let mut stage = Case::calm(8, 30).release(BAD).level(Level::L3).stage();
    until(&mut stage, 2 * HOUR_MS);
    assert_eq!(stage.handle.question().unwrap().kind, QuestionKind::RollBack);
    needs_person(stage.handle.abort(bot(), "out of time"), "has been stopped");
    stage.handle.roll_back(person(), "they are ours").unwrap();
    until(&mut stage, 2 * HOUR_MS + MINUTE_MS);
    needs_person(stage.handle.abort(bot(), "out of time"), "has been stopped");
    assert_eq!(stage.run().outcome, Outcome::RolledBack);
    // What goes well it may end.
    let mut stage = Case::calm(4, 10).stage();
    until(&mut stage, 25_000);
    stage.handle.abort(bot(), "another comes").unwrap();
    assert_eq!(stage.run().outcome, Outcome::Aborted);
}

#[test]
fn an_answer_to_a_question_that_is_not_open_any_more_is_refused() {
    // At L2 the release shows itself to be bad while somebody reads the question for a batch.
    let mut stage = Case::calm(8, 30).release(BAD).level(Level::L2).stage();
    let handle = stage.handle.clone();
    let clock = stage.sim.clock();
    let (mut seen, mut last) = (None, 0);
    let found = stage.drive(async {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            let Some(question) = handle.question() else { continue };
            assert!(question.id >= last, "numbers grow");
            last = question.id;
            match question.kind {
                QuestionKind::RollBack => break,
                QuestionKind::NextBatch if seen != Some(question.id) => {
                    seen = Some(question.id);
                    handle.answering(question.id).approve(person(), "go").unwrap();
                }
                _ => {}
            }
        }
    });
    assert!(found.unwrap().is_none());
    let (late, open) = (seen.unwrap(), handle.question().unwrap());
    assert!(open.id > late);
    let notice = handle.notices().into_iter().find_map(|notice| notice.question).unwrap();
    assert_eq!(
        (notice.id, handle.summary().unwrap().ask.unwrap().id),
        (open.id, open.id)
    );
    // Whatever of these is meant for the batch does not fall on the evidence.
    let answers = [
        handle.answering(late).approve(person(), "go"),
        handle.answering(late).resume(person(), "go"),
        handle.answering(late).roll_back(person(), "no"),
        handle.answering(late).abort(person(), "no"),
        handle.answering(open.id + 1).approve(person(), "go"),
    ];
    for said in answers {
        let error = said.unwrap_err();
        assert!(matches!(&error, CommandError::OtherQuestion { open: Some((id, _)), .. } if *id == open.id));
        assert!(
            error.to_string().contains(&format!("question {} is", open.id)),
            "{error}"
        );
    }
    let now_ms = clock.now();
    until(&mut stage, now_ms + HOUR_MS);
    assert_eq!((refusals(&handle), handle.question().as_ref()), (5, Some(&open)));
    // To stop is never too late, whatever was read.
    handle.answering(late).freeze(person(), "odd").unwrap();
    until(&mut stage, now_ms + HOUR_MS + MINUTE_MS);
    assert_eq!(handle.progress().unwrap().state, "frozen");
    handle.answering(open.id).resume(person(), "well").unwrap();
    handle.answering(open.id).approve(person(), "back with it").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

#[test]
fn an_answer_that_comes_as_text_may_name_its_question() {
    let mut stage = Case::calm(4, 10).level(Level::L2).stage();
    until(&mut stage, HOUR_MS);
    let order = |question: &str| {
        let text = format!(
            r#"{{"command": "approve", "actor": {{"id": "wang", "kind": "person", "via": "chat"}}, "reason": "go"{question}}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let late = stage.handle.give(order(r#", "question": 7"#)).unwrap_err();
    assert!(
        late.to_string().starts_with("question 7 is not open; question 1 is"),
        "{late}"
    );
    stage.handle.give(order(r#", "question": 1"#)).unwrap();
    until(&mut stage, 2 * HOUR_MS);
    let none = stage.handle.give(order(r#", "question": 1"#)).unwrap_err();
    assert!(
        none.to_string().starts_with("question 1 is not open; question 2 is"),
        "{none}"
    );
    assert_eq!(refusals(&stage.handle), 1, "the other is not read yet");
}
