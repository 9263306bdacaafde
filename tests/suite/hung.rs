//! Targets at which looks hang from a moment on: each is owed alone, in time, and keeps no change from its end.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use unattended::upgrade::Clock;
use unattended::{Level, NoticeStage, Outcome};

use crate::levels::{StageParts, work};
use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, OLD, Stage, person};

/// Those at which looks hang from now on.
type Hung = Arc<Mutex<BTreeSet<String>>>;

fn staged(case: &Case) -> (Stage, Hung) {
    let stage = case.stage();
    let hung = Hung::default();
    let switch = Arc::clone(&hung);
    stage.platform.silent_where(move |targets| {
        let hung = switch.lock();
        targets.iter().any(|target| hung.contains(target.as_str()))
    });
    (stage, hung)
}

/// Runs it, and has looks at these hang as soon as all run the new version.
fn hung_when_all_are_new(case: &Case, names: &[&str]) -> (Option<Outcome>, Stage) {
    let (mut stage, hung) = staged(case);
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let driven = stage.drive(async {
        while handle
            .progress()
            .is_none_or(|progress| progress.exposed < progress.targets)
        {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        hung.lock().extend(names.iter().map(|&name| name.to_owned()));
        clock.sleep_until(clock.now() + 10 * 24 * HOUR_MS).await;
    });
    (driven.unwrap().map(Result::unwrap), stage)
}

fn owed(stage: &Stage) -> Vec<String> {
    let debts = stage.handle.summary().unwrap().debts.into_iter();
    debts.map(|debt| debt.target).collect()
}

#[test]
fn targets_that_hang_at_the_last_look_are_owed_and_nobody_else_is() {
    for names in [&["app-1-7"][..], &["app-0-3", "app-1-7", "app-3-19"]] {
        let case = Case::calm(4, 20);
        let (outcome, stage) = hung_when_all_are_new(&case, names);
        assert_eq!(outcome, Some(Outcome::CompletedWithDebt), "{names:?}");
        assert_eq!(owed(&stage), names);
        let summary = stage.handle.summary().unwrap();
        assert!(summary.debts[0].reason.contains("no look at it"), "{:?}", summary.debts);
        // They are given the time that whatever is blocked has, and people know meanwhile.
        let patience_ms = case.settings.blocked_patience_ms;
        assert!(summary.elapsed_ms > patience_ms && summary.elapsed_ms < patience_ms + 6 * HOUR_MS);
        let all = stage.pager.all().into_iter();
        let said: Vec<_> = all.filter(|notice| notice.code == "targets.unseen").collect();
        assert!(said[0].text.contains(names[0]), "{}", said[0].text);
        assert_eq!(said.last().unwrap().stage, NoticeStage::Resolved);
        // It is decided so again.
        let played = futures::executor::block_on(unattended::replay(&*stage.journal, None)).unwrap();
        assert_eq!(played.first_difference, None);
    }
}

#[test]
fn a_target_that_hangs_for_a_while_is_not_owed() {
    let (mut stage, hung) = staged(&Case::calm(4, 20));
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let driven = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 80) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        hung.lock().insert("app-1-7".to_owned());
        clock.sleep_until(clock.now() + 4 * HOUR_MS).await;
        hung.lock().clear();
        clock.sleep_until(clock.now() + 2 * HOUR_MS).await;
    });
    assert_eq!(driven.unwrap().map(Result::unwrap), Some(Outcome::Completed));
}

/// A change that a person takes back while `app-3` comes back late, and looks at the first that is back hang if `hangs`; at everybody then
/// if `all`.
fn taken_back(hangs: bool, all: bool) -> (Option<Outcome>, Stage) {
    let (mut stage, hung) = staged(&Case::calm(4, 20));
    let is_late = Arc::new(Mutex::new(true));
    let late = Arc::clone(&is_late);
    stage
        .platform
        .old_not_ready_where(move |target| *late.lock() && target.as_str().starts_with("app-3-"));
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let driven = stage.drive(async {
        while handle.progress().is_none_or(|progress| progress.exposed < 30) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        handle.roll_back(person(), "it is slow").unwrap();
        let first = loop {
            clock.sleep_until(clock.now() + 30_000).await;
            assert!(clock.now() < 24 * HOUR_MS, "nobody goes back");
            let long_ago_ms = clock.now() - 5 * MINUTE_MS;
            let back = platform.effects().into_iter().find(|effect| {
                let is_back = effect.act == Act::Replace && effect.version.as_deref() == Some(OLD);
                is_back && effect.at_ms < long_ago_ms
            });
            if let Some(back) = back {
                break back.target;
            }
        };
        assert!(!first.starts_with("app-3-"));
        if hangs {
            hung.lock().insert(first);
        }
        *is_late.lock() = false;
        if all {
            while handle.progress().is_some_and(|progress| progress.in_flight > 0) {
                clock.sleep_until(clock.now() + 10).await;
            }
            let names = platform.effects().into_iter().map(|effect| effect.target);
            hung.lock().extend(names);
            let of_apps = (0..4).flat_map(|app| (0..20).map(move |at| format!("app-{app}-{at}")));
            hung.lock().extend(of_apps);
        }
        clock.sleep_until(25 * 24 * HOUR_MS).await;
    });
    (driven.unwrap().map(Result::unwrap), stage)
}

#[test]
fn a_rollback_ends_whoever_hangs_at_its_last_look() {
    assert_eq!(taken_back(false, false).0, Some(Outcome::RolledBack));
    let (outcome, stage) = taken_back(true, false);
    assert_eq!(outcome, Some(Outcome::RolledBackPartially));
    assert_eq!(owed(&stage).len(), 1);
}

#[test]
fn a_rollback_whose_platform_is_gone_for_good_ends_as_waiting() {
    let (outcome, stage) = taken_back(true, true);
    assert_eq!(outcome, Some(Outcome::Waiting));
    let summary = stage.handle.summary().unwrap();
    let codes: Vec<&str> = summary.decisions.iter().map(|one| one.code.as_str()).collect();
    assert!(codes.contains(&"attempts.unseen"), "{codes:?}");
}

/// Said to be done by hand, and looked at in vain: that is no fault of the release.
#[test]
fn what_is_done_by_hand_and_hangs_is_owed_and_speaks_against_nobody() {
    let case = Case::calm(4, 10).level(Level::L0);
    let (stage, hung) = staged(&case);
    hung.lock().extend(["app-0-3".to_owned(), "app-2-5".to_owned()]);
    let parts = StageParts::of(&stage);
    let ended = stage.run_beside(async move { work(&parts, true).await });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", ended.codes());
    let owed: BTreeSet<&str> = ended.summary.debts.iter().map(|debt| debt.target.as_str()).collect();
    assert_eq!(owed, BTreeSet::from(["app-0-3", "app-2-5"]));
    assert!(!ended.codes().contains(&"step.unverified"), "{:?}", ended.codes());
}
