//! What goes beyond a budget waits for a person, at every level.

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, START_WALL_MS, person};
use unattended::upgrade::Clock;
use unattended::{Actor, Budget, NoticeStage, Outcome, QuestionKind};

#[test]
fn who_is_gone_counts_against_no_rollback() {
    // Each target lives for half a day, so that more have run the new version by and by than there are.
    let mut case = Case::calm(6, 20);
    case.world.deaths_per_target_day = 2.0;
    case.settings.bake_ms = 12 * HOUR_MS;
    let mut stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let stood = stage.drive(async {
        while handle.progress().is_none_or(|now| now.exposed * 10 < now.targets * 9) {
            clock.sleep_until(clock.now() + 10 * MINUTE_MS).await;
        }
        clock.sleep_until(clock.now() + 6 * HOUR_MS).await;
        handle.roll_back(Actor::program("bot", "cron"), "orders fail").unwrap();
    });
    assert!(stood.unwrap().is_none());
    let ended = stage.run();
    let summary = &ended.summary;
    assert!(
        summary.exposed_at_stop.unwrap() > summary.exposure.targets,
        "too few have gone"
    );
    assert_eq!((ended.outcome, summary.human_actions), (Outcome::RolledBack, 0));
}

#[test]
fn what_goes_beyond_a_budget_waits_for_a_person() {
    let bad = || Case::calm(8, 30).release("errors=x10");
    type Spend = fn(&mut Budget);
    let budgets: [(&str, Spend, &str); 3] = [
        ("per day", |budget| budget.rollbacks_per_day = 0, "0 rollbacks"),
        ("by size", |budget| budget.rollback_share_ppm = 1, "and 1 may"),
        ("by age", |budget| budget.longest_ms = 2 * MINUTE_MS, "older"),
    ];
    for (name, spend, word) in budgets {
        let mut case = bad();
        // Not the grant is to run out, which is as long as the budget where the author gives it.
        case.granted = Some(START_WALL_MS + 1_000 * HOUR_MS as i64);
        spend(&mut case.settings.budget);
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Waiting, "{name}");
        assert!(ended.sim.census().on_new_verified > 0, "{name}");
        let question = ended.notices.last().unwrap().question.clone().unwrap();
        assert!(question.text.contains(word), "{name}: {}", question.text);
    }
    // Those of other changes count.
    let mut case = bad();
    case.settings.budget.rollbacks_per_day = 2;
    case.rollbacks_before = 2;
    assert_eq!(case.run().outcome, Outcome::Waiting);
    case.rollbacks_before = 1;
    assert_eq!(case.run().outcome, Outcome::RolledBack);
}

#[test]
fn the_way_forward_has_a_budget_for_each_day_and_one_for_all() {
    // Ten a day: it goes on by itself when the day has passed, and never faster.
    let mut case = Case::calm(4, 10);
    case.settings.budget.starts_per_day = Some(10);
    let ended = case.run();
    assert_eq!((ended.outcome, ended.summary.human_actions), (Outcome::Completed, 0));
    let starts: Vec<u64> = (ended.effects.iter())
        .filter(|effect| effect.act == Act::Replace)
        .map(|effect| effect.at_ms)
        .collect();
    for (at, start) in starts.iter().enumerate().skip(10) {
        assert!(
            start - starts[at - 10] >= 24 * HOUR_MS - 2 * MINUTE_MS,
            "{at}: {starts:?}"
        );
    }
    let kinds: Vec<_> = ended
        .notices
        .iter()
        .map(|n| n.question.as_ref().unwrap().kind)
        .collect();
    assert!(
        !kinds.is_empty() && kinds.iter().all(|kind| *kind == QuestionKind::BeyondBudget),
        "{kinds:?}"
    );

    // A quarter of all, and the rest at a person's word.
    let mut case = Case::calm(4, 10);
    case.settings.budget.exposure_share_ppm = 250_000;
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        clock.sleep_until(20 * HOUR_MS).await;
        assert_eq!(handle.progress().unwrap().exposed, 10);
        handle.approve(person(), "all of it").unwrap();
    });
    assert_eq!((ended.outcome, ended.summary.human_actions), (Outcome::Completed, 1));
    ended.all_on_new();
}

/// A day slides, and lets a few go each hour: that answers no question, and asks none anew.
#[test]
fn a_budget_of_the_day_is_asked_about_once() {
    let mut case = Case::calm(8, 30);
    case.settings.budget.starts_per_day = Some(40);
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    let driven = stage.drive(async { clock.sleep_until(60 * HOUR_MS).await });
    assert!(driven.unwrap().is_none());
    let all = stage.pager.all();
    let raised = all.iter().filter(|notice| {
        let kind = notice.question.as_ref().map(|question| question.kind);
        notice.stage == NoticeStage::Raised && kind == Some(QuestionKind::BeyondBudget)
    });
    assert_eq!(raised.count(), 1);
    assert!(stage.handle.progress().unwrap().exposed > 40, "it goes on by the days");
}
