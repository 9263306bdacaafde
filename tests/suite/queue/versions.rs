//! An emergency that brings another version than the change whose scope it needs.

use std::sync::Arc;

use unattended::queue::Emergency;
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{QuestionKind, Summary};

use super::driving::case;
use super::li;
use super::site::{Site, until};
use crate::support::{HOUR_MS, OLD};

/// The fix after so many hours, where it came when some targets ran what the other change brings.
fn fix_after(hours: u64, is_taken_back: bool) -> (Summary, Option<QuestionKind>) {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0, 1]));
    let fix = site.add_between("fix", "mesh", (OLD, "mesh-3"));
    let mut burns = Emergency::new("INC-42");
    if !is_taken_back {
        burns = burns.ending_others();
    }
    let fix = fix.emergency(burns);
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let mut seen = None;
    let ended = driven.beside(async {
        until(&early, &handle, "mesh", |handle| {
            handle.progress().is_some_and(|progress| progress.exposed > 5)
        })
        .await;
        handle.submit(fix).unwrap();
        if is_taken_back {
            handle.change("mesh").unwrap().roll_back(li(), "INC-42").unwrap();
        }
        until(&early, &handle, "fix", |fix| fix.progress().is_some()).await;
        early.clock.sleep_until(early.clock.now() + hours * HOUR_MS).await;
        let fix = handle.change("fix").unwrap();
        seen = Some((fix.summary().unwrap(), fix.question().map(|question| question.kind)));
    });
    ended.unwrap();
    seen.unwrap()
}

/// They run neither what it comes from nor what it brings, are tried, and count as unavailable: here they are all that may be.
#[test]
fn an_emergency_does_not_touch_who_runs_the_version_of_the_change_that_it_ended() {
    let (fix, asked) = fix_after(13, false);
    assert_eq!(fix.exposure.exposed, 0, "{:?}", fix.state);
    assert_eq!(asked, Some(QuestionKind::LeaveDebt));
    let foreign = |text: &str| text.contains("somebody else changed what the target runs");
    let foreign = fix.debts.iter().filter(|debt| foreign(&debt.reason)).count();
    assert_eq!(foreign, 6, "{:?}", fix.debts);
    let shut = |text: &str| text.contains("use up the whole allowance");
    assert_eq!(fix.debts.iter().filter(|debt| shut(&debt.reason)).count(), 18);
}

#[test]
fn an_emergency_reaches_everybody_where_the_other_change_is_taken_back_first() {
    let (fix, asked) = fix_after(1, true);
    assert!(fix.decisions.iter().any(|decision| decision.code == "rehearsal.passed"));
    assert!(fix.exposure.exposed > 0);
    assert_eq!((asked, fix.debts.len()), (None, 0));
}
