//! Metrics that stop coming: nothing grows on what was seen before, no time passes for a rest, and people are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{NoticeStage, Outcome};
use unattended_simulated::{Simulated, World};

use crate::support::{Case, HOUR_MS, MINUTE_MS, Stage};

/// Metrics of a database that can be switched off.
struct Database {
    sim: Arc<Simulated>,
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl MetricSource for Database {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.sim.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.sim.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        if self.is_away.load(Ordering::Relaxed) {
            let reason = "the database is away".to_owned();
            return Err(SourceError::Unavailable { reason });
        }
        self.sim.read(index, end_ms).await
    }
}

fn staged(case: &Case) -> (Stage, Arc<AtomicBool>) {
    let sim = case.simulated();
    let is_away = Arc::new(AtomicBool::new(false));
    let database = Database {
        sim: Arc::clone(&sim),
        is_away: Arc::clone(&is_away),
    };
    (
        case.stage_with(sim, Arc::new(MemoryJournal::new()), database, |pager| pager),
        is_away,
    )
}

/// Births and deaths, which have lanes looked at without metrics.
fn churning(mut case: Case) -> Case {
    case.world = World {
        deaths_per_target_day: 4.0,
        ..case.world
    };
    case
}

/// What was said of it, in the order in which it was said.
fn said(stage: &Stage) -> Vec<NoticeStage> {
    let all = stage.pager.all().into_iter();
    let of_it = all.filter(|notice| notice.code == "metrics.silent");
    of_it.map(|notice| notice.stage).collect()
}

#[test]
fn a_lane_whose_window_opens_does_not_grow_without_metrics() {
    let mut case = churning(Case::calm(6, 20));
    case.rules = "version: 1\npack: day\nowner: ops\nscope: {app: app-1}\nwindows:\n  \
        - {id: day, kind: protected, weekly: {days: daily, from: \"06:00\", for: 14h}, zone: UTC, reason: business}\n"
        .to_owned();
    let (mut stage, is_away) = staged(&case);
    let clock = stage.sim.clock();
    let driven = stage.drive(async {
        clock.sleep_until(8 * HOUR_MS).await;
        is_away.store(true, Ordering::Relaxed);
        clock.sleep_until(30 * HOUR_MS).await;
    });
    assert!(driven.unwrap().is_none(), "it is not called done");
    let late = stage.platform.effects().into_iter();
    let late: Vec<_> = late
        .filter(|effect| effect.disturbs() && effect.at_ms > 8 * HOUR_MS + 15 * MINUTE_MS)
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert_eq!(said(&stage)[0], NoticeStage::Raised);
    // When they come again it goes on to its end.
    is_away.store(false, Ordering::Relaxed);
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    let told = ended.pager.all();
    let last = told.iter().rev().find(|notice| notice.code == "metrics.silent");
    assert_eq!(last.unwrap().stage, NoticeStage::Resolved);
}

#[test]
fn what_was_reached_last_is_not_called_done_unseen() {
    // From when the last are reached to within their rest.
    let case = Case::calm(6, 20);
    let rest_ms = case.settings.warm_up_ms + case.settings.bake_ms;
    for after_ms in [0, rest_ms / 2, rest_ms - 2 * MINUTE_MS] {
        let (mut stage, is_away) = staged(&case);
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let driven = stage.drive(async {
            while handle
                .progress()
                .is_none_or(|progress| progress.exposed < progress.targets)
            {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            clock.sleep_until(clock.now() + after_ms).await;
            is_away.store(true, Ordering::Relaxed);
            clock.sleep_until(clock.now() + 10 * HOUR_MS).await;
        });
        assert!(driven.unwrap().is_none(), "{after_ms}");
        is_away.store(false, Ordering::Relaxed);
        assert_eq!(stage.run().outcome, Outcome::Completed, "{after_ms}");
    }
}

/// Where traffic is too little to show safety, time without any is no silence of the class.
#[test]
fn no_class_becomes_silent_by_an_outage_of_metrics() {
    let mut case = Case::calm(4, 40);
    case.world = World {
        requests_per_s_median: 0.5,
        ..case.world
    };
    let (mut stage, is_away) = staged(&case);
    let clock = stage.sim.clock();
    let driven = stage.drive(async {
        clock.sleep_until(60 * MINUTE_MS).await;
        is_away.store(true, Ordering::Relaxed);
        clock.sleep_until(20 * HOUR_MS).await;
    });
    assert!(driven.unwrap().is_none());
    let summary = stage.handle.summary().unwrap();
    let steps: Vec<_> = (summary.decisions.iter())
        .filter(|one| one.code.starts_with("class.") && one.at_ms > 75 * MINUTE_MS)
        .collect();
    assert!(steps.is_empty(), "{steps:?}");
}
