//! Two controllers of one change, over one platform and one journal: the one that came first is fenced, says so, and does
//! nothing any more; the other one brings everybody home.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{Case, HOUR_MS, MINUTE_MS, Stage, bytes};
use futures::FutureExt;
use unattended::batching::Side;
use unattended::upgrade::{Clock, EffectOutcome, MemoryJournal};
use unattended::{CommandError, Outcome, RunError};

/// Drives the first until `from_ms`, then both; how either ended.
fn both(one: &mut Stage, two: &mut Stage, first_goes_first: bool) -> [Result<Outcome, RunError>; 2] {
    let clock = one.sim.clock();
    let limit = clock.now() + 30 * 24 * HOUR_MS;
    let executor = one.sim.executor();
    let (one, two) = (&mut one.run, &mut two.run);
    let ends = async {
        if first_goes_first {
            let (one, two) = futures::join!(one, two);
            [one, two]
        } else {
            let (two, one) = futures::join!(two, one);
            [one, two]
        }
    };
    let ended = executor.run(async {
        futures::select_biased! {
            ended = ends.fuse() => ended,
            () = clock.sleep_until(limit).fuse() => panic!("one of the two does not end"),
        }
    });
    ended.unwrap()
}

/// What both controllers' keys say: no key was used by both.
fn keys(stage: &Stage) -> BTreeSet<String> {
    stage
        .platform
        .effects()
        .into_iter()
        .filter_map(|effect| effect.key)
        .collect()
}

fn one_goes_on(case: &Case, at_ms: u64, first_goes_first: bool, outcome: Outcome) {
    let told = format!("after {at_ms} ms, the first first: {first_goes_first}");
    let journal = Arc::new(MemoryJournal::new());
    let sim = case.simulated();
    let mut one = case.stage_in(Arc::clone(&sim), journal.clone());
    let clock = sim.clock();
    assert!(
        one.drive(async { clock.sleep_until(at_ms).await }).unwrap().is_none(),
        "{told}"
    );
    let mut two = case.stage_in(Arc::clone(&sim), journal.clone());
    let [first, second] = both(&mut one, &mut two, first_goes_first);

    // Whoever wrote last goes on; the other one has left nothing in its journal.
    let (loser, error, winner) = match (first, second) {
        (Err(error), Ok(ended)) => (&one, error, (two_of(&two), ended)),
        (Ok(ended), Err(error)) => (&two, error, (two_of(&one), ended)),
        other => panic!("{told}: {other:?}"),
    };
    assert!(matches!(error, RunError::OtherController { .. }), "{told}: {error}");
    assert!(
        error
            .to_string()
            .contains("another controller has taken this change up"),
        "{error}"
    );
    assert_eq!(winner.1, outcome, "{told}");
    let (summary, ours) = winner.0;
    assert_eq!(
        (summary.closed, summary.lost, summary.exposure.in_flight),
        (0, 0, 0),
        "{told}"
    );
    assert!(keys(loser).is_disjoint(&ours), "{told}: two controllers gave one order");
    let census = sim.census();
    let home = if outcome == Outcome::Completed {
        census.on_new_verified
    } else {
        census.on_old_verified
    };
    assert_eq!(home, census.targets, "{told}: {census:?}");

    // The one that lost takes no word any more, and lets nobody be born on the new version.
    assert_eq!(
        loser.handle.freeze(crate::support::person(), "looks odd"),
        Err(CommandError::Ended),
        "{told}"
    );
    assert_eq!(loser.handle.version_for("app-0-0", "app-0", &[]), Side::Old, "{told}");
    let failed = loser
        .pager
        .all()
        .into_iter()
        .any(|notice| notice.code == "run.failed" && !is_resolved(&notice));
    assert!(!failed, "{told}: people were called for a change that goes on");

    // A third one reads what both have written, and only says how it ended.
    let before = bytes(&*journal);
    let third = case.stage_in(sim, journal.clone()).run();
    assert_eq!((third.outcome, third.effects.len()), (outcome, 0), "{told}");
    assert!(before == bytes(&*journal), "{told}");
}

fn is_resolved(notice: &unattended::Notice) -> bool {
    notice.stage == unattended::NoticeStage::Resolved
}

fn two_of(stage: &Stage) -> (unattended::Summary, BTreeSet<String>) {
    (stage.handle.summary().unwrap(), keys(stage))
}

#[test]
fn of_two_controllers_of_a_good_change_one_is_fenced_whenever_the_second_comes() {
    let case = Case::calm(4, 10);
    for at_min in [1, 7, 16, 31, 47, 64] {
        for first_goes_first in [true, false] {
            one_goes_on(&case, at_min * MINUTE_MS + 1, first_goes_first, Outcome::Completed);
        }
    }
}

#[test]
fn of_two_controllers_of_a_bad_change_one_is_fenced_and_the_other_takes_it_back() {
    let case = Case::calm(4, 12).release("errors=x10");
    for at_min in [2, 3, 4, 5] {
        one_goes_on(&case, at_min * MINUTE_MS + 1, true, Outcome::RolledBack);
    }
}

/// The first has sent an order, and stands still while it is on its way: a machine that is paused. The second takes the change up
/// and ends it. Then the order arrives.
#[test]
fn an_order_of_the_first_that_arrives_after_the_second_began_is_refused_by_the_platform() {
    let case = Case::calm(4, 10);
    let journal = Arc::new(MemoryJournal::new());
    let sim = case.simulated();
    let mut one = case.stage_in(Arc::clone(&sim), journal.clone());
    let (arrives, underway) = futures::channel::oneshot::channel::<()>();
    let (sent, was_sent) = futures::channel::oneshot::channel::<()>();
    let mut sent = Some(sent);
    one.platform.next_arrives_after(async move {
        let _ = underway.await;
    });
    one.platform.before_each(move |effect| {
        if effect.act == crate::support::Act::Replace
            && let Some(sent) = sent.take()
        {
            sent.send(()).unwrap();
        }
    });
    assert!(one.drive(async { was_sent.await.unwrap() }).unwrap().is_none());
    assert_eq!(one.platform.arrived(), None);

    let mut two = case.stage_in(Arc::clone(&sim), journal.clone());
    assert!(matches!(
        two.drive(std::future::pending()).unwrap(),
        Some(Ok(Outcome::Completed))
    ));
    let after = sim.census();
    assert_eq!(after.on_new_verified, after.targets, "{after:?}");

    arrives.send(()).unwrap();
    let ended = one.drive(std::future::pending()).unwrap();
    assert!(
        matches!(ended, Some(Err(RunError::OtherController { .. }))),
        "{ended:?}"
    );
    let (target, answer) = one.platform.arrived().unwrap();
    assert_eq!(answer, EffectOutcome::Stale, "{target}");
    assert_eq!(sim.census(), after);
}
