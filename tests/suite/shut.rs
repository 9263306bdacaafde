//! What is not seen lets nothing grow: people are asked, and their answer ends it.

use unattended::upgrade::Clock;
use unattended::{Outcome, QuestionKind, replay};

use crate::support::{Case, HOUR_MS, person};

#[test]
fn lost_telemetry_that_stays_is_asked_about_though_newborns_have_their_attempts() {
    let mut case = Case::calm(4, 50);
    case.world.telemetry_loss = 0.3;
    // Somebody dies every few minutes.
    case.world.deaths_per_target_day = 2.0;
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + HOUR_MS).await;
            for question in handle.questions() {
                assert!(
                    matches!(question.kind, QuestionKind::Stalled | QuestionKind::LeaveDebt),
                    "{question:?}"
                );
                handle.answering(question.id).approve(person(), "leave them").unwrap();
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    // Once about what does not grow, and once about what is left.
    assert_eq!(ended.summary.human_actions, 2);
    assert!(
        ended.summary.elapsed_ms < 6 * 24 * HOUR_MS,
        "{}",
        ended.summary.elapsed_ms
    );
    let born = ended
        .summary
        .debts
        .iter()
        .filter(|debt| debt.reason.contains("a rest that was left"));
    assert!(born.count() > 0);
    let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}
