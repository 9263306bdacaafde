//! A change begins behind the record that says so, and not beside it.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::queue::Input;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Record, Snapshot, Stream};
use unattended_simulated::SimClock;

use super::driving::case;
use super::site::Site;
use crate::support::HOUR_MS;

/// The queue's inputs in a journal.
const INPUTS: (Stream, u8) = (Stream(4), 2);

/// What becomes of the append that says that a change begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Written,
    Refused,
    Hangs,
    /// It answers after an hour.
    Late,
}

/// Has a fate for the record that one change begins, and writes all others.
struct Gate {
    journal: Arc<MemoryJournal>,
    clock: SimClock,
    change: &'static str,
    fate: Fate,
    /// When that record was durable, each time.
    durable: Arc<Mutex<Vec<u64>>>,
}

impl Gate {
    fn begins(&self, group: &Group) -> bool {
        group.records().any(|Record { stream, kind, bytes }| {
            let input = || postcard::from_bytes::<(i64, Input)>(bytes).unwrap().1;
            (stream, kind) == INPUTS && matches!(input(), Input::Began { change } if change == self.change)
        })
    }
}

#[async_trait]
impl Journal for Gate {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if !self.begins(group) {
            return self.journal.append(group).await;
        }
        match self.fate {
            Fate::Written => {}
            Fate::Refused => return Err(JournalError::Io("the disk is full".to_owned())),
            Fate::Hangs => std::future::pending().await,
            Fate::Late => self.clock.sleep_until(self.clock.now() + HOUR_MS).await,
        }
        let position = self.journal.append(group).await?;
        self.durable.lock().push(self.clock.now());
        Ok(position)
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

/// When each effect of a change was.
fn effects(site: &Site, id: &str) -> Vec<u64> {
    let disturbed = site.disturbed.lock();
    let of_change = disturbed.iter().filter(|(_, change, ..)| change == id);
    of_change.map(|(at_ms, ..)| *at_ms).collect()
}

#[test]
fn no_effect_of_a_change_comes_before_the_durable_record_that_it_begins() {
    for fate in [Fate::Refused, Fate::Hangs, Fate::Late] {
        let site = Site::new();
        let tickets = [("first", &[4][..]), ("mesh", &[0, 1])].map(|(id, apps)| site.add(id, case(apps)));
        let journal = Arc::new(MemoryJournal::new());
        let durable: Arc<Mutex<Vec<u64>>> = Arc::default();
        let queue = |fate| {
            let gate = Gate {
                journal: Arc::clone(&journal),
                clock: site.clock.clone(),
                change: "mesh",
                fate,
                durable: Arc::clone(&durable),
            };
            let driven = site.queue(Arc::new(gate));
            for ticket in &tickets {
                driven.handle.submit(ticket.clone()).unwrap();
            }
            driven
        };
        let ended = queue(fate).run_for(12 * HOUR_MS);
        assert!(ended.is_none(), "{fate:?}: {ended:?}");
        // Whoever has begun goes on beside a write that takes its time, or is refused.
        let (_, on_new, all) = site.census("first");
        assert_eq!(on_new, all, "{fate:?}");
        if fate != Fate::Late {
            assert!(effects(&site, "mesh").is_empty(), "{fate:?}");
            assert!(
                site.opened.lock()["mesh"] == 1,
                "{fate:?}: it was put together, and not begun"
            );
        }
        queue(Fate::Written).finish();
        let effects = effects(&site, "mesh");
        let durable = durable.lock().clone();
        assert_eq!(durable.len(), 1, "{fate:?}: it begins once");
        assert!(
            effects.iter().all(|at_ms| *at_ms >= durable[0]),
            "{fate:?}: {durable:?} {effects:?}"
        );
        let (_, on_new, all) = site.census("mesh");
        assert_eq!(on_new, all, "{fate:?}");
        // The rehearsal touches one target three times, and every other is touched once.
        assert_eq!(effects.len() as u64, all + 2, "{fate:?}");
    }
}
