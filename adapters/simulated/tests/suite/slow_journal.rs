//! Journals that answer late, or never.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::sync::Arc;

use super::silence::{CALL_MS, MODES, name, settings, world};
use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use unattended_simulated::{SimClock, Simulated};
use unattended_upgrade::*;

/// A journal that answers late, or never.
struct Slow {
    inner: MemoryJournal,
    clock: SimClock,
    call: &'static str,
    /// The call of this number is the slow one.
    number: u32,
    calls: Mutex<u32>,
    /// Whether it does what it was asked before it is slow, and when it answers.
    done_first: bool,
    answers_at_ms: u64,
}

impl Slow {
    fn is_slow(&self, call: &str) -> bool {
        let mut calls = self.calls.lock();
        *calls += u32::from(call == self.call);
        call == self.call && *calls == self.number
    }
}

#[async_trait]
impl Journal for Slow {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if !self.is_slow("append") {
            return self.inner.append(group).await;
        }
        if self.done_first {
            let place = self.inner.append(group).await;
            self.clock.sleep_until(self.answers_at_ms).await;
            return place;
        }
        self.clock.sleep_until(self.answers_at_ms).await;
        self.inner.append(group).await
    }
    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        if self.is_slow("read") {
            self.clock.sleep_until(self.answers_at_ms).await;
        }
        self.inner.read(from, max_groups).await
    }
    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }
    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        if self.is_slow("snapshot") {
            self.clock.sleep_until(self.answers_at_ms).await;
        }
        self.inner.snapshot().await
    }
    async fn end(&self) -> Result<Position, JournalError> {
        if self.is_slow("end") {
            self.clock.sleep_until(self.answers_at_ms).await;
        }
        self.inner.end().await
    }
}

fn slow(call: &'static str, number: u32, done_first: bool, answers_at_ms: u64) -> (Arc<Simulated>, Arc<Slow>) {
    let sim = world();
    let slow = Slow {
        inner: MemoryJournal::new(),
        clock: sim.clock(),
        call,
        number,
        calls: Mutex::default(),
        done_first,
        answers_at_ms,
    };
    (sim, Arc::new(slow))
}

/// The records and the receipts of a run with this journal, and how often it was said to be silent.
fn journaled(call: &'static str, number: u32, done_first: bool) -> (Vec<Group>, Vec<Receipt>, u32) {
    let (sim, journal) = slow(call, number, done_first, 95_000);
    let clock = sim.clock();
    let mut driver = Driver::new(sim.clone(), journal.clone(), Arc::new(clock.clone()), settings()).unwrap();
    for (at, mode) in (0..8).zip(MODES.into_iter().cycle()) {
        driver.submit(Job::new(name(at), "old", "new", mode)).unwrap();
    }
    let mut asked = 0;
    let told = sim.executor().run(async {
        let (mut receipts, mut silent) = (Vec::new(), 0);
        let mut owed = false;
        loop {
            let before = asked;
            match driver
                .turn(&mut |_| {
                    asked += 1;
                    true
                })
                .await
            {
                Ok(turn) => {
                    let late = std::mem::take(&mut owed);
                    assert!(turn.appended || !late, "appended late and not told");
                    receipts.extend(turn.finished);
                    if driver.outstanding() == 0 {
                        return Ok((receipts, silent));
                    }
                    driver.attend(None).await;
                }
                Err(DriverError::Journal(JournalError::Silent { call_ms: CALL_MS })) => {
                    assert_eq!(asked, before, "sent without a journal");
                    silent += 1;
                    owed = true;
                }
                Err(error) => return Err(error),
            }
        }
    });
    let (receipts, silent) = told.unwrap().unwrap();
    let groups = journal.inner.read(0, usize::MAX).now_or_never().unwrap().unwrap();
    (groups.into_iter().map(|(_, group)| group).collect(), receipts, silent)
}

#[test]
fn a_journal_that_hangs_is_named_and_waited_for_and_nothing_is_written_twice() {
    let (calm, receipts, silent) = journaled("", 0, false);
    assert!(receipts.iter().all(|receipt| receipt.terminal == Terminal::Done));
    assert_eq!((receipts.len(), silent), (8, 0));
    let records = |groups: &[Group]| groups.iter().map(Group::len).sum::<u32>();
    for (call, number) in [("end", 1), ("append", 1), ("append", 2), ("append", 3)] {
        for done_first in [false, true] {
            let (groups, receipts, silent) = journaled(call, number, done_first);
            assert!(
                receipts.iter().all(|receipt| receipt.terminal == Terminal::Done),
                "{call}: {receipts:?}"
            );
            assert_eq!(receipts.len(), 8, "{call} {number}");
            // What is only read is asked anew.
            let times = if call == "end" { 1..=1 } else { 2..=3 };
            assert!(times.contains(&silent), "{call} {number}: {silent}");
            assert_eq!(records(&groups), records(&calm), "{call} {number} {done_first}");
        }
    }
}

#[test]
fn a_journal_that_cannot_be_read_in_time_is_not_recovered_from() {
    for call in ["snapshot", "read"] {
        let (sim, journal) = slow(call, 1, false, u64::MAX);
        let clock = Arc::new(sim.clock());
        let mut driver = Driver::new(sim.clone(), journal, clock, settings()).unwrap();
        let recovered = sim.executor().run(driver.recover()).unwrap();
        let silent = JournalError::Silent { call_ms: CALL_MS };
        assert_eq!(recovered, Err(DriverError::Journal(silent)), "{call}");
    }
}
