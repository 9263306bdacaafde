//! Changes whose runs refuse them, before anything was done and after.

use std::sync::Arc;

use unattended::CommandError;
use unattended::queue::State;
use unattended::upgrade::{Clock, MemoryJournal};

use super::driving::case;
use super::site::{Site, until_empty};
use crate::support::{HOUR_MS, MINUTE_MS};

#[test]
fn a_change_that_its_run_refuses_before_it_did_anything_leaves_the_queue_and_its_scope() {
    let site = Site::new();
    let mesh = site.add("mesh", case(&[0]));
    let (dns, log) = (site.add("dns", case(&[4, 5])), site.add("log", case(&[5])));
    site.takes_journal_of("dns", "mesh");
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    driven.handle.submit(mesh).unwrap();
    let (handle, early) = (driven.handle.clone(), Arc::clone(&site));
    let ended = driven.beside(async move {
        until_empty(&early, &handle, |_| ()).await;
        handle.submit(dns).unwrap();
        handle.submit(log).unwrap();
        until_empty(&early, &handle, |_| ()).await;
        assert!(early.clock.now() < 24 * HOUR_MS);
    });
    ended.unwrap();
    assert_eq!(site.opened.lock()["dns"], 1, "it would be refused each time");
    let (_, on_new, all) = site.census("log");
    assert_eq!(on_new, all);
    let told = site.pager.all();
    let codes = |id: &str| -> Vec<String> {
        let of_it = told.iter().filter(|notice| notice.change == id);
        of_it.map(|notice| notice.code.clone()).collect()
    };
    let of_dns = codes("dns");
    assert!(of_dns.contains(&"queue.refused".to_owned()), "{of_dns:?}");
    assert!(!of_dns.contains(&"queue.stopped".to_owned()), "{of_dns:?}");
}

/// It may have been half-way: the queue that takes it up does not know.
#[test]
fn a_change_that_is_refused_when_it_is_taken_up_keeps_its_scope() {
    let site = Site::new();
    let (dns, other) = (site.add("dns", case(&[4, 5])), site.add("other", case(&[0])));
    let journal = Arc::new(MemoryJournal::new());
    let first = site.queue(journal.clone());
    first.handle.submit(other).unwrap();
    first.handle.submit(dns).unwrap();
    assert!(first.run_for(20 * MINUTE_MS).is_none());
    site.takes_journal_of("dns", "other");
    let second = site.queue(journal);
    let (handle, clock) = (second.handle.clone(), site.clock.clone());
    let ended = second.beside(async move {
        clock.sleep_until(clock.now() + HOUR_MS).await;
        let dns = handle.standing("dns").unwrap();
        assert!(
            matches!(dns.state, State::Stopped { .. } | State::UnderWay { .. }),
            "{dns:?}"
        );
    });
    ended.unwrap();
    assert!(site.opened.lock()["dns"] > 3, "it is tried again");
}

#[test]
fn what_somebody_says_they_know_is_bounded_and_refused_once_nobody_drives() {
    let site = Site::new();
    let driven = site.queue(Arc::new(MemoryJournal::new()));
    let handle = driven.handle.clone();
    let taken = (0..2_000).take_while(|at| handle.acknowledge(format!("queue.waits/{at}")).is_ok());
    assert_eq!(taken.count(), 1_000);
    assert_eq!(handle.acknowledge("queue.waits/mesh"), Err(CommandError::TooMany));
    let heard = handle.clone();
    let clock = site.clock.clone();
    let ended = driven.beside(async move {
        clock.sleep_until(MINUTE_MS).await;
        assert_eq!(heard.acknowledge("queue.waits/mesh"), Ok(()));
    });
    ended.unwrap();
    assert_eq!(handle.acknowledge("queue.waits/mesh"), Err(CommandError::Ended));
}
