//! What a change may leave behind by itself, and what is no part of what it is asked for.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use unattended::batching::pct;
use unattended::upgrade::Clock;
use unattended::{Outcome, QuestionKind};
use unattended_simulated::InitialState;

use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, person};

/// What was asked, and a change that is told to go on where anything is.
fn with_leave(case: &Case, never_ready: usize) -> (Ended, Vec<QuestionKind>) {
    let stage = case.stage();
    // Spread over applications, so that nobody's allowance is used up by them.
    let step = case.targets.len() / never_ready.max(1);
    let sick: BTreeSet<String> = (case.targets.iter().step_by(step).take(never_ready))
        .map(|target| target.id.clone())
        .collect();
    stage
        .platform
        .never_ready_where(move |target| sick.contains(target.as_str()));
    let (handle, clock, pager) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.pager));
    let ended = stage.run_beside(async move {
        while pager.notices().iter().all(|notice| notice.question.is_none()) {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
        }
        handle.approve(person(), "leave them").unwrap();
    });
    let asked = ended.notices.iter().filter_map(|notice| notice.question.as_ref());
    let asked = asked.map(|question| question.kind).collect();
    (ended, asked)
}

#[test]
fn more_than_the_limit_of_failed_targets_is_a_persons_word() {
    for (failed, asks) in [(3, false), (4, true)] {
        let mut case = Case::calm(8, 30);
        // 2.4 of 240, and a part of a target is one.
        case.settings.debt_limit_ppm = 10_000;
        let (ended, asked) = with_leave(&case, failed);
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{failed}");
        assert_eq!(ended.summary.debts.len(), failed);
        let expected = if asks {
            vec![QuestionKind::LeaveDebt]
        } else {
            Vec::new()
        };
        assert_eq!(asked, expected, "{failed}");
    }
}

#[test]
fn a_change_that_reaches_less_than_half_has_not_been_done_however_well_excused() {
    for (gone, asks) in [(19, false), (21, true)] {
        let mut case = Case::calm(4, 10);
        case.policy = case.policy.per_app(pct(100)).total_in_flight(pct(100));
        for target in case.targets.iter_mut().take(gone) {
            target.state = InitialState::Pending;
        }
        let (ended, asked) = with_leave(&case, 0);
        assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{gone}");
        assert_eq!(ended.summary.debts.len(), gone, "{:?}", ended.summary.debts);
        let expected = if asks {
            vec![QuestionKind::LeaveDebt]
        } else {
            Vec::new()
        };
        assert_eq!(asked, expected, "{gone}");
    }
}

#[test]
fn a_rollback_answers_for_what_the_change_touched_and_for_nobody_else() {
    let mut case = Case::calm(4, 30).release("errors=x20");
    // Nothing ever runs there, whoever asks.
    let plan = case.plan();
    let last = plan.targets(plan.batch_count() - 1)[0];
    case.targets[last.0 as usize].state = InitialState::Pending;
    let name = case.targets[last.0 as usize].id.clone();
    let ended = case.run();
    assert!(
        ended.effects.iter().all(|effect| effect.target != name),
        "it is touched"
    );
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:?}", ended.summary.debts);
    let took_ms = ended.summary.decisions.last().unwrap().at_ms;
    assert!(took_ms < 2 * HOUR_MS, "nobody was waited for: {took_ms}");
}
