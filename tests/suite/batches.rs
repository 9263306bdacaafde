//! At L2 a person confirms each batch: by one question, about the batch that it names.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::upgrade::Clock;
use unattended::{CommandError, Level, Outcome, QuestionKind};

use crate::support::{Case, HOUR_MS, MINUTE_MS, app_of, person};

#[test]
fn at_l2_a_person_confirms_each_batch() {
    let stage = Case::calm(4, 10).level(Level::L2).stage();
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let ended = stage.run_beside(async move {
        let mut answered = 0;
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if pager.notices().len() > answered {
                // What is open is finished, and nothing more is begun, however long it takes.
                clock.sleep_until(clock.now() + 5 * HOUR_MS).await;
                answered = pager.notices().len();
                noted.lock().push(handle.progress().unwrap().exposed);
                handle.approve(person(), "go").unwrap();
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let kinds: Vec<QuestionKind> = ended
        .notices
        .iter()
        .map(|n| n.question.as_ref().unwrap().kind)
        .collect();
    assert!(kinds.iter().all(|kind| *kind == QuestionKind::NextBatch), "{kinds:?}");
    let batches = ended.summary.batches.len() as u64;
    assert_eq!(
        ended.summary.human_actions, batches,
        "a word for each batch, and no more"
    );
    let cumulative: Vec<u64> = std::iter::once(0)
        .chain(ended.summary.batches.iter().map(|batch| batch.cumulative))
        .take(seen.lock().len())
        .collect();
    assert_eq!(*seen.lock(), cumulative, "something grew without a word");

    // Nobody confirms: nothing is touched, and the run says that it waits.
    let mut case = Case::calm(4, 10).level(Level::L2);
    case.settings.person_patience_ms = 0;
    let ended = case.run();
    assert_eq!((ended.outcome, ended.effects.len()), (Outcome::Waiting, 0));
    assert_eq!(ended.outcome.exit_code(), 3);
}

/// A case with a batch that is one application's alone, before one of several; its number and the application.
fn batch_of_one_application() -> Option<(Case, u16, String)> {
    let shapes = [(4, 6), (5, 8), (3, 10)];
    for (seed, (apps, each)) in (0..400).flat_map(|seed| shapes.map(|shape| (seed, shape))) {
        let mut case = Case::calm(apps, each).level(Level::L2);
        case.seed = seed;
        let (plan, fleet) = (case.plan(), case.fleet());
        let apps = |batch: u16| -> BTreeSet<String> {
            let targets = plan.targets(batch).iter();
            targets.map(|&target| app_of(fleet.id(target)).to_owned()).collect()
        };
        for batch in 1..plan.batch_count().saturating_sub(1) {
            let of = apps(batch);
            if of.len() == 1 && apps(batch + 1).len() > 1 {
                let app = of.into_iter().next().unwrap();
                return Some((case, batch, app));
            }
        }
    }
    None
}

#[test]
fn at_l2_a_yes_opens_the_batch_that_was_named_and_no_other() {
    let (case, batch, app) = batch_of_one_application().expect("some seed has such a batch");
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let driven = stage.drive(async {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            let Some(question) = handle.question() else { continue };
            if !question.text.contains(&format!("open batch {batch}?")) {
                handle.answering(question.id).approve(person(), "go").unwrap();
                continue;
            }
            // What was asked for is left out: the next is a question of its own, and a late yes is none to it.
            handle.skip(person(), app.clone(), "not this one").unwrap();
            clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
            let late = handle.answering(question.id).approve(person(), "yes, that batch");
            assert!(matches!(late, Err(CommandError::OtherQuestion { .. })), "{late:?}");
            let next = handle.question().unwrap();
            assert!(
                next.text.contains(&format!("open batch {}?", batch + 1)),
                "{}",
                next.text
            );
            break;
        }
    });
    assert!(driven.unwrap().is_none());
}

/// A question that comes and goes cannot be answered, and each coming is a page.
#[test]
fn at_l2_each_batch_is_asked_about_once_however_long_the_answer_takes() {
    // Of applications of one target, and of few with little traffic: what they wait for comes at its own time.
    for (apps, each) in [(40, 1), (30, 5), (100, 10)] {
        let mut case = Case::calm(apps, each).level(Level::L2);
        case.world.quiet_app_share = 0.3;
        case.world.requests_sigma = 1.5;
        let stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            loop {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
                let Some(question) = handle.question() else { continue };
                clock.sleep_until(clock.now() + 25 * MINUTE_MS).await;
                let answered = handle.answering(question.id).approve(person(), "go");
                assert!(answered.is_ok(), "it is still open: {answered:?}");
            }
        });
        assert_eq!(ended.outcome, Outcome::Completed, "{apps} of {each}");
        let asked = ended.notices.iter().filter(|notice| notice.question.is_some());
        assert_eq!(asked.count() as u64, ended.summary.human_actions, "{apps} of {each}");
    }
}
