//! What is not seen lets nothing grow: people are asked, and their answer ends it.

use std::sync::Arc;

use unattended::health::{History, Interval, Member, MetricSource, PlannedSplit, SourceError};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Level, Outcome, QuestionKind, replay};

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
    // The patience is counted from when it grew last.
    let steps = ["class.safe", "lane.opened"];
    let mut decisions = ended.summary.decisions.iter().rev();
    let grew_ms = decisions.find(|decision| steps.contains(&decision.code.as_str()));
    let since_ms = ended.summary.elapsed_ms - grew_ms.map_or(0, |decision| decision.at_ms);
    assert!((72 * HOUR_MS..76 * HOUR_MS).contains(&since_ms), "{since_ms}");
    let born = ended
        .summary
        .debts
        .iter()
        .filter(|debt| debt.reason.contains("a rest that was left"));
    assert!(born.count() > 0);
    let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

/// A source whose traffic is not divided as it says it plans: a check blocks, and goes on blocking.
struct Skewed(Arc<unattended_simulated::Simulated>);

#[async_trait::async_trait]
impl MetricSource for Skewed {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        MetricSource::follow(&self.0, members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        MetricSource::history(&self.0).await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let mut interval = MetricSource::read(&self.0, index, end_ms).await?;
        let strata = interval.rows.iter().filter(|row| row.canary.total > 0);
        if let Some(stratum) = strata.map(|row| row.stratum).min().filter(|_| index >= 20) {
            interval.splits.push(PlannedSplit {
                stratum,
                canary: 50,
                control: 50,
            });
        }
        Ok(interval)
    }
}

/// Where the level lets a change go on by itself once a check is over, and it never is, somebody is asked all the same.
#[test]
fn a_check_that_blocks_for_good_is_asked_about_though_newborns_have_their_attempts() {
    for deaths in [0.0, 2.0] {
        let mut case = Case::calm(4, 50);
        case.world.deaths_per_target_day = deaths;
        let sim = case.simulated();
        let skewed = Skewed(Arc::clone(&sim));
        let mut stage = case.stage_with(sim, Arc::new(MemoryJournal::new()), skewed, |pager| pager);
        let clock = stage.sim.clock();
        let driven = stage.drive(clock.sleep_until(76 * HOUR_MS));
        assert!(driven.unwrap().is_none(), "{deaths}");
        let open = stage.handle.question();
        let open = open.unwrap_or_else(|| panic!("with {deaths} deaths a day nobody is asked"));
        assert_eq!(open.kind, QuestionKind::Stalled);
        assert!(open.text.contains("is not divided as planned"), "{}", open.text);
    }
}

/// However long nobody may start, evidence that nobody could show is not late.
#[test]
fn a_freeze_of_weeks_leaves_nobody_behind_once_it_is_over() {
    let mut case = Case::calm(6, 20);
    case.settings.budget.longest_ms = 100 * 24 * HOUR_MS;
    case.rules = "version: 1\npack: p\nowner: o\nscope: all\nfreezes:\n  \
         - {id: f, from: 2026-11-23, until: 2026-12-16, zone: UTC, owner: o, reason: long}\n"
        .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert!(ended.summary.elapsed_ms > 22 * 24 * HOUR_MS);
    assert_eq!(ended.summary.human_actions, 0);
    let asked = ended
        .summary
        .decisions
        .iter()
        .find(|decision| decision.code == "person.asked");
    assert!(asked.is_none(), "{asked:?}");
}

/// A rule denies the release to one application for good, all others have it, and each newborn is offered to somebody: what is to become
/// of the one is asked all the same.
#[test]
fn what_a_rule_denies_is_asked_about_though_newborns_are_offered() {
    let mut case = Case::calm(4, 30).level(Level::L1);
    case.world.deaths_per_target_day = 2.0;
    case.rules = "version: 1\npack: p\nowner: o\nscope: all\nrules:\n  \
         - {id: never, kind: condition, if: {label: app, is: app-2}, then: deny, reason: it is retired soon}\n"
        .to_owned();
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + 5 * 60_000).await;
            for step in handle.offers() {
                let _ = handle.step(person(), step.target, "go");
            }
            for open in handle.questions() {
                if open.kind != QuestionKind::Steps {
                    let _ = handle.answering(open.id).approve(person(), "leave it");
                }
            }
        }
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let asked = (ended.summary.decisions.iter())
        .find(|decision| decision.code == "person.asked" && decision.text.contains("p/never"));
    assert!(asked.is_some_and(|asked| asked.text.contains("app-2")), "{asked:?}");
    assert!(
        ended.summary.elapsed_ms < 8 * 24 * HOUR_MS,
        "{}",
        ended.summary.elapsed_ms
    );
}
