//! Metrics that cannot be used: other times than were asked for, and counts that cannot be.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use unattended::health::{Counts, History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Notice, NoticeStage, Outcome};
use unattended_simulated::Simulated;

use crate::support::{Case, Ended, HOUR_MS, Stage, person};

/// What is made of an interval.
type Spoil = fn(&mut Interval) -> Result<(), SourceError>;

/// Spoils some intervals.
struct Spoiled {
    sim: Arc<Simulated>,
    which: Range<u64>,
    spoil: Spoil,
}

#[async_trait]
impl MetricSource for Spoiled {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.sim.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.sim.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        let mut interval = self.sim.read(index, end_ms).await?;
        if self.which.contains(&index) {
            (self.spoil)(&mut interval)?;
        }
        Ok(interval)
    }
}

fn stage(case: &Case, which: Range<u64>, spoil: Spoil) -> Stage {
    let sim = case.simulated();
    let metrics = Spoiled {
        sim: Arc::clone(&sim),
        which,
        spoil,
    };
    case.stage_with(sim, Arc::new(MemoryJournal::new()), metrics, |pager| pager)
}

fn refusals(all: Vec<Notice>) -> Vec<Notice> {
    all.into_iter()
        .filter(|notice| notice.code == "metrics.refused")
        .collect()
}

#[track_caller]
fn said_once(all: Vec<Notice>, word: &str) {
    let said = refusals(all);
    let stages: Vec<&NoticeStage> = said.iter().map(|notice| &notice.stage).collect();
    assert_eq!(stages, [&NoticeStage::Raised, &NoticeStage::Resolved]);
    assert!(said[0].text.contains(word), "{}", said[0].text);
}

#[track_caller]
fn plays_again(ended: &Ended) {
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

const DAY_MS: u64 = 24 * HOUR_MS;

/// Ways to say when it was, beside the truth, and what people are told of it.
const TIMES: [(Spoil, &str); 4] = [
    (
        |interval| {
            interval.end_ms += DAY_MS;
            Ok(())
        },
        "asked for interval 120 that ended at",
    ),
    (
        |interval| {
            interval.end_ms = 0;
            Ok(())
        },
        "ended at 0 ms",
    ),
    (
        |interval| {
            interval.index = u64::MAX;
            Ok(())
        },
        "answered interval 18446744073709551615",
    ),
    (
        |interval| {
            interval.index += 1;
            Ok(())
        },
        "answered interval 121",
    ),
];

#[test]
fn an_interval_of_another_time_moves_no_clock() {
    let mut case = Case::calm(4, 20);
    case.settings.soak_ms = DAY_MS;
    // In the middle of the soak.
    let exposed_at_four = |stage: &mut Stage| {
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(4 * HOUR_MS)).unwrap().is_none());
        stage.handle.progress().unwrap().exposed
    };
    let calm = exposed_at_four(&mut case.stage());
    for (spoil, word) in TIMES {
        let mut stage = stage(&case, 120..125, spoil);
        assert_eq!(exposed_at_four(&mut stage), calm, "{word}: the soak was cut short");
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{word}");
        said_once(ended.pager.all(), word);
        plays_again(&ended);
    }
}

/// One row that cannot be.
fn more_bad_than_all(interval: &mut Interval) -> Result<(), SourceError> {
    if let Some(row) = interval.rows.first_mut() {
        row.canary = Counts {
            bad: row.canary.total + 1,
            total: row.canary.total,
        };
    }
    Ok(())
}

fn malformed(_: &mut Interval) -> Result<(), SourceError> {
    let reason = "a counter is no number".to_owned();
    Err(SourceError::Malformed { reason })
}

const UNUSABLE: [(Spoil, &str); 2] = [
    (more_bad_than_all, "is not possible"),
    (malformed, "a counter is no number"),
];

#[test]
fn an_interval_that_cannot_be_used_is_lost_and_the_change_goes_on() {
    let case = Case::calm(4, 20);
    for (spoil, word) in UNUSABLE {
        for which in [20..21, 5..60] {
            let ended = stage(&case, which.clone(), spoil).run();
            assert_eq!(ended.outcome, Outcome::Completed, "{word} {which:?}");
            ended.all_on_new();
            said_once(ended.pager.all(), word);
            plays_again(&ended);
        }
    }
}

/// A release may spoil what would speak against it: it holds, and a person takes it back.
#[test]
fn metrics_that_stay_spoiled_hold_the_change_and_it_can_be_taken_back() {
    for (spoil, word) in UNUSABLE {
        let mut stage = stage(&Case::calm(4, 20), 3..u64::MAX, spoil);
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let exposed = || handle.progress().unwrap().exposed;
        assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
        let then = exposed();
        assert!(then > 0);
        assert!(stage.drive(clock.sleep_until(12 * HOUR_MS)).unwrap().is_none());
        assert_eq!(exposed(), then, "{word}: it grew without data");
        let told = refusals(stage.pager.all());
        let stages: Vec<&str> = told.iter().map(|notice| notice.stage.as_str()).collect();
        assert_eq!(stages, ["raised", "reminded", "reminded"], "{word}: every four hours");
        assert!(told[0].text.contains(word), "{}", told[0].text);
        handle.roll_back(person(), "nobody can tell").unwrap();
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::RolledBack, "{word}");
        ended.all_on_old();
    }
}
