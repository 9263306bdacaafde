//! A queue whose own journal cannot be written: what is under way goes on, nothing begins, people know, and nothing is written twice.

use std::sync::Arc;

use unattended::queue::QueueRunError;
use unattended::upgrade::{Clock, Group, Journal, JournalError, Stream};
use unattended::{CommandError, NoticeStage, Severity};

use super::driving::case;
use super::li;
use super::site::{Site, until_empty};
use crate::support::{HOUR_MS, MINUTE_MS};
use crate::unwritten::{Frail, How};

#[test]
fn changes_go_on_while_the_queue_s_journal_is_out_of_order_and_others_begin_when_it_is_not() {
    for how in [How::Refuses, How::KeepsAndRefuses, How::Hangs] {
        let site = Site::new();
        let mesh = site.add("mesh", case(&[0, 1]));
        let dns = site.add("dns", case(&[4, 5]));
        let frail = Frail::new(site.clock.clone(), how, 10 * MINUTE_MS, 40 * MINUTE_MS);
        let driven = site.queue(frail.clone());
        driven.handle.submit(mesh).unwrap();
        let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
        let ended = driven.beside(async move {
            early.clock.sleep_until(11 * MINUTE_MS).await;
            handle.submit(dns).unwrap();
            early.clock.sleep_until(30 * MINUTE_MS).await;
            // It is heard before the journal answers: nobody is told again.
            handle.acknowledge("journal.failed").unwrap();
            until_empty(&early, &handle, |_| ()).await;
        });
        assert!(ended.is_ok(), "{how:?}: {ended:?}");
        for id in ["mesh", "dns"] {
            let (_, on_new, all) = site.census(id);
            assert_eq!(on_new, all, "{how:?}: {id}");
        }
        // What was kept is there, and what follows from it may: the end of the journal tells.
        let is_there = how == How::KeepsAndRefuses;
        assert!(is_there || site.span("dns").0 >= 50 * MINUTE_MS, "{how:?}");
        // What goes on is not held up, nor begun a second time.
        let disturbed = site.disturbed.lock().clone();
        let meanwhile = disturbed
            .iter()
            .filter(|(at_ms, change, ..)| change == "mesh" && (10 * MINUTE_MS..50 * MINUTE_MS).contains(at_ms));
        assert!(meanwhile.count() > 0, "{how:?}: {disturbed:?}");
        assert_eq!(site.opened.lock()["mesh"], 1, "{how:?}");
        let said: Vec<_> = (site.pager.all().into_iter())
            .filter(|notice| notice.code == "journal.failed")
            .collect();
        assert!(said.iter().all(|notice| notice.severity == Severity::Critical));
        let stages: Vec<NoticeStage> = said.into_iter().map(|notice| notice.stage).collect();
        let mut wanted = vec![NoticeStage::Raised, NoticeStage::Resolved];
        if !is_there {
            wanted.insert(1, NoticeStage::Reminded { times: 2 });
        }
        assert_eq!(stages, wanted, "{how:?}");
        // The same once more, from its journal: it has every input once.
        let again = site.queue(frail);
        let handle = again.handle.clone();
        let ended = again.beside(async move {
            let left = handle.summary();
            assert!(left.is_none_or(|summary| summary.changes.is_empty()));
        });
        assert!(ended.is_ok(), "{how:?}: {ended:?}");
    }
}

#[test]
fn a_queue_that_another_one_has_taken_up_lets_what_is_under_way_end_and_says_so() {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0, 1]));
    let frail = Frail::new(site.clock.clone(), How::Refuses, u64::MAX / 2, 0);
    let driven = site.queue(frail.clone());
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        early.clock.sleep_until(10 * MINUTE_MS).await;
        let mut other = Group::new();
        other.push(Stream(9), 1, b"another one was here");
        frail.inner.append(&other).await.unwrap();
        handle.prioritise("mesh", 1, li(), "it is dear").unwrap();
        handle.withdraw("mesh", li(), "a slip").unwrap();
        let dns = early.add("dns", case(&[4]));
        handle.submit(dns).unwrap();
        early.clock.sleep_until(12 * MINUTE_MS).await;
        let refused = handle.resume("mesh", li(), "now");
        assert_eq!(refused, Err(CommandError::Ended));
        early.clock.sleep_until(12 * HOUR_MS).await;
    });
    let is_not_at_end = |error: &QueueRunError| matches!(error, QueueRunError::Append(JournalError::NotAtEnd { .. }));
    assert!(ended.as_ref().is_err_and(is_not_at_end), "{ended:?}");
    let (_, on_new, all) = site.census("mesh");
    assert_eq!(on_new, all);
    let (on_old, _, all) = site.census("dns");
    assert_eq!(on_old, all, "it never began");
    let told = site.pager.all();
    let failed = told.iter().find(|notice| notice.code == "run.failed").unwrap();
    assert_eq!(failed.severity, Severity::Critical);
}
