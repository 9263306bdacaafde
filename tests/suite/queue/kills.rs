//! A kill at every write of the queue, before and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};

use super::driving::case;
use super::site::Site;
use crate::support::MINUTE_MS;

/// Lets so many appends pass; the next never answers, having written or not.
struct Fuse {
    journal: Arc<MemoryJournal>,
    appends: AtomicU32,
    at: Option<(u32, bool)>,
}

#[async_trait]
impl Journal for Fuse {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let number = self.appends.fetch_add(1, Ordering::SeqCst);
        match self.at {
            Some((at, written)) if at <= number => {
                if written && at == number {
                    self.journal.append(group).await?;
                }
                std::future::pending().await
            }
            _ => self.journal.append(group).await,
        }
    }

    async fn read(&self, from: Position, most: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.journal.read(from, most).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.journal.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.journal.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.journal.end().await
    }
}

/// Two changes that meet and one that does not, with a kill at a write; how many writes there were, and who began, in order.
fn play(at: Option<(u32, bool)>) -> (u32, Vec<String>) {
    let site = Site::new();
    let tickets = [("a", &[0, 1][..]), ("b", &[1]), ("c", &[4])].map(|(id, apps)| site.add(id, case(apps)));
    let journal = Arc::new(MemoryJournal::new());
    let fuse = |at| {
        Arc::new(Fuse {
            journal: Arc::clone(&journal),
            appends: AtomicU32::new(0),
            at,
        })
    };
    let submit = |driven: &super::site::Driven| {
        for ticket in &tickets {
            driven.handle.submit(ticket.clone()).unwrap();
        }
    };
    let first = fuse(at);
    let driven = site.queue(Arc::clone(&first) as _);
    submit(&driven);
    driven.finish_or_hang();
    let mut begun: Vec<String> = Vec::new();
    if at.is_some() {
        // Whoever submitted them says it again: some were not durable. Those that are known are refused.
        let driven = site.queue(fuse(None));
        submit(&driven);
        let handle = driven.handle.clone();
        driven.finish();
        assert!(handle.summary().unwrap().changes.is_empty());
        let decisions = handle.summary().unwrap().decisions;
        begun.extend(
            decisions
                .into_iter()
                .filter(|one| one.code == "queue.began")
                .map(|one| one.text),
        );
    }
    assert!(site.span("a").1 < site.span("b").0, "{at:?}");
    for id in ["a", "b", "c"] {
        let (_, on_new, all) = site.census(id);
        assert_eq!(on_new, all, "{id} after a kill at {at:?}");
        // The rehearsal touches one target three times, and every other is touched once.
        let touched = site
            .disturbed
            .lock()
            .iter()
            .filter(|(_, change, ..)| change == id)
            .count() as u64;
        assert_eq!(touched, all + 2, "{id} after a kill at {at:?}");
    }
    (first.appends.load(Ordering::SeqCst), begun)
}

#[test]
fn a_kill_at_any_write_loses_no_change_and_begins_none_twice() {
    let (writes, _) = play(None);
    assert!((5..20).contains(&writes), "{writes}");
    for at in 0..writes {
        for written in [false, true] {
            let (_, begun) = play(Some((at, written)));
            assert_eq!(begun.len(), 3, "a kill at {at} ({written}): {begun:?}");
        }
    }
}

#[test]
fn a_journal_that_hangs_keeps_nobody_who_leaves() {
    // The first write, and that a change begins.
    for at in [0, 1] {
        let site = Site::new();
        let ticket = site.add("a", case(&[0]));
        let driven = site.queue(Arc::new(Fuse {
            journal: Arc::default(),
            appends: AtomicU32::new(0),
            at: Some((at, false)),
        }));
        driven.handle.submit(ticket).unwrap();
        let clock = site.clock.clone();
        let ended = driven.beside(async move { clock.sleep_until(10 * MINUTE_MS).await });
        ended.unwrap();
        // Twice as long as a call may take.
        assert_eq!(site.clock.now(), 12 * MINUTE_MS, "write {at}");
        assert!(site.disturbed.lock().is_empty());
    }
}
