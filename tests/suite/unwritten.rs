//! A journal that cannot be written for a while: nothing is done meanwhile, nothing is written twice, and the change goes on.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot, Wanted};
use unattended::{NoticeStage, Outcome};
use unattended_simulated::SimClock;

use crate::support::{Case, Ended, HOUR_MS, MINUTE_MS, NEW, OLD, START_WALL_MS, Stage, person};

/// What an append does while the journal is out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Refuses,
    /// It is there, and nobody hears of it but an error.
    KeepsAndRefuses,
    /// It answers when the journal is in order again.
    Hangs,
}

pub(crate) struct Frail {
    pub(crate) inner: MemoryJournal,
    clock: SimClock,
    how: How,
    from_ms: u64,
    until_ms: u64,
    tried: AtomicUsize,
    open: AtomicUsize,
}

impl Frail {
    /// Out of order from a moment on, for so long.
    pub(crate) fn new(clock: SimClock, how: How, from_ms: u64, for_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryJournal::new(),
            clock,
            how,
            from_ms,
            until_ms: from_ms + for_ms,
            tried: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        })
    }

    fn is_out(&self) -> bool {
        (self.from_ms..self.until_ms).contains(&self.clock.now())
    }
}

#[async_trait]
impl Journal for Frail {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let beside = self.open.fetch_add(1, Ordering::Relaxed);
        assert_eq!(beside, 0, "an append beside one that has not answered");
        let is_out = self.is_out();
        self.tried.fetch_add(usize::from(is_out), Ordering::Relaxed);
        let answer = match self.how {
            How::Refuses if is_out => Err(JournalError::Io("no space left".to_owned())),
            How::KeepsAndRefuses if is_out => {
                self.inner.append(group).await?;
                Err(JournalError::Io("no space left".to_owned()))
            }
            How::Hangs if is_out => {
                self.clock.sleep_until(self.until_ms).await;
                self.inner.append(group).await
            }
            _ => self.inner.append(group).await,
        };
        self.open.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.inner.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

/// A change whose journal is out of order for half an hour from a moment on.
fn staged(case: &Case, how: How, from_ms: u64) -> (Stage, Arc<Frail>) {
    let sim = case.simulated();
    let metrics = Arc::clone(&sim);
    let frail = Frail::new(sim.clock(), how, from_ms, 30 * MINUTE_MS);
    (case.stage_with(sim, frail.clone(), metrics, |pager| pager), frail)
}

fn ended(case: &Case, how: How, from_ms: u64) -> (Ended, Arc<Frail>) {
    let (stage, frail) = staged(case, how, from_ms);
    (stage.run(), frail)
}

/// Nothing stands there twice, nothing is missing, and it is what happened.
#[track_caller]
fn is_whole(ended: &Ended, told: &str) {
    let dump = ended.dump();
    assert!(
        dump.iter().map(|line| line.seq).eq((0..dump.len() as u64).map(Some)),
        "{told}"
    );
    let ticks = dump.iter().filter(|line| line.kind == "tick").count();
    assert!(ticks > 0, "{told}");
    assert_eq!(dump.iter().filter(|line| line.kind == "begin").count(), 1, "{told}");
    assert_eq!(dump.last().unwrap().kind, "end", "{told}");
    let played = futures::executor::block_on(unattended::replay(&*ended.journal, None)).unwrap();
    assert_eq!(played.first_difference, None, "{told}");
}

#[test]
fn nothing_is_done_while_the_journal_is_out_of_order_and_then_the_change_goes_on() {
    let mut case = Case::calm(4, 10);
    case.mode = Wanted::Warm;
    for how in [How::Refuses, How::Hangs] {
        for from_ms in [0, 10_500, 20_000, 70_000, 20 * MINUTE_MS] {
            let told = format!("{how:?} from {from_ms} ms on");
            let (ended, frail) = ended(&case, how, from_ms);
            assert_eq!(ended.outcome, Outcome::Completed, "{told}");
            ended.all_on_new();
            let out = frail.from_ms + 1..frail.until_ms;
            let meanwhile = ended.effects.iter().filter(|effect| out.contains(&effect.at_ms));
            assert_eq!(meanwhile.count(), 0, "{told}");
            let tried = frail.tried.load(Ordering::Relaxed);
            match how {
                How::Hangs => assert_eq!(tried, 1, "{told}: it is not made again"),
                _ => assert!(tried > 100, "{told}: it is tried again: {tried}"),
            }
            is_whole(&ended, &told);
            let all = ended.pager.all().into_iter();
            let said: Vec<_> = all.filter(|notice| notice.code == "journal.failed").collect();
            let stages: Vec<&NoticeStage> = said.iter().map(|notice| &notice.stage).collect();
            let [first, again @ .., last] = &stages[..] else {
                panic!("{told}: {stages:?}");
            };
            assert_eq!(
                (*first, *last),
                (&NoticeStage::Raised, &NoticeStage::Resolved),
                "{told}"
            );
            let is_reminder = |stage: &&NoticeStage| matches!(stage, NoticeStage::Reminded { .. });
            assert!(again.len() < 3 && again.iter().all(is_reminder), "{told}: {stages:?}");
            let word = if how == How::Hangs {
                "has not answered"
            } else {
                "no space left"
            };
            assert!(said[0].text.contains(word), "{told}: {}", said[0].text);
        }
    }
}

#[test]
fn what_a_failed_append_has_kept_is_not_written_again() {
    for from_ms in [0, 20_000, 20 * MINUTE_MS] {
        let told = format!("from {from_ms} ms on");
        let (ended, frail) = ended(&Case::calm(4, 10), How::KeepsAndRefuses, from_ms);
        assert_eq!(ended.outcome, Outcome::Completed, "{told}");
        assert!(frail.tried.load(Ordering::Relaxed) > 10, "{told}");
        is_whole(&ended, &told);
    }
}

/// The way back waits for the journal as the way forward does, and then is gone.
#[test]
fn a_rollback_goes_on_when_the_journal_is_written_again() {
    let case = Case::calm(4, 12).release("errors=x10");
    let calm = case.run();
    let back = |ended: &Ended| {
        let first = ended
            .effects
            .iter()
            .find(|effect| effect.version.as_deref() == Some(OLD));
        first.map(|effect| effect.at_ms)
    };
    let from_ms = back(&calm).unwrap() - 1_000;
    let (ended, frail) = ended(&case, How::Refuses, from_ms);
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert!(back(&ended).unwrap() >= frail.until_ms);
    assert!(ended.summary.elapsed_ms < calm.summary.elapsed_ms + HOUR_MS);
    is_whole(&ended, "bad");
}

/// Begun while nobody knew that the journal would fail, heard of again half an hour later: what has sent nothing is decided anew.
#[test]
fn what_was_decided_before_the_journal_was_away_does_not_start_against_a_later_word() {
    let mut case = Case::calm(4, 10);
    case.mode = Wanted::Warm;
    let calm = case.run();
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for effect in &calm.effects {
        first.entry(effect.target.as_str()).or_insert(effect.at_ms);
    }
    let starts: BTreeSet<u64> = first.values().copied().collect();
    assert!(starts.len() > 4, "{starts:?}");
    for from_ms in starts.into_iter().take(6).map(|start| start.saturating_sub(200)) {
        for aborts in [true, false] {
            let told = format!("from {from_ms} ms on, aborts: {aborts}");
            let (stage, frail) = staged(&case, How::Refuses, from_ms);
            let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
            let before: BTreeSet<String> = {
                let until = calm.effects.iter().take_while(|effect| effect.at_ms < from_ms);
                until.map(|effect| effect.target.clone()).collect()
            };
            let platform = Arc::clone(&stage.platform);
            let seen = Arc::new(Mutex::new(0));
            let noted = Arc::clone(&seen);
            let until_ms = frail.until_ms;
            let ended = stage.run_beside(async move {
                clock.sleep_until(from_ms + 20 * MINUTE_MS).await;
                if aborts {
                    handle.abort(person(), "not in the afternoon").unwrap();
                } else {
                    handle.pause(person(), "not in the afternoon").unwrap();
                    clock.sleep_until(until_ms + HOUR_MS).await;
                    *noted.lock() = platform.effects().len();
                    handle.resume(person(), "now").unwrap();
                }
            });
            let effects = match aborts {
                true => &ended.effects[..],
                false => &ended.effects[..*seen.lock()],
            };
            let begun: Vec<_> = effects
                .iter()
                .filter(|effect| !before.contains(&effect.target))
                .collect();
            assert!(begun.is_empty(), "{told}: {begun:?}");
            if aborts {
                assert_eq!(ended.outcome, Outcome::Aborted, "{told}");
            } else {
                assert_eq!(ended.outcome, Outcome::Completed, "{told}");
                ended.all_on_new();
            }
            assert!(ended.summary.debts.is_empty() || aborts, "{told}");
            is_whole(&ended, &told);
        }
    }
}

/// All that was said of the journal, with the minute.
fn said_of_journal(ended: &Ended) -> Vec<(u64, NoticeStage)> {
    let all = ended.pager.all().into_iter();
    let of_journal = all.filter(|notice| notice.code == "journal.failed");
    let minute = |notice: &unattended::Notice| u64::try_from(notice.at_unix_ms - START_WALL_MS).unwrap() / MINUTE_MS;
    of_journal
        .map(|notice| (minute(&notice), notice.stage.clone()))
        .collect()
}

#[test]
fn people_are_told_of_a_journal_that_stays_away_until_somebody_says_that_they_know() {
    let mut case = Case::calm(4, 10);
    case.settings.telling.escalate_to = Some("duty manager".to_owned());
    for how in [How::Refuses, How::Hangs] {
        for known in [false, true] {
            let told = format!("{how:?}, known: {known}");
            let sim = case.simulated();
            let metrics = Arc::clone(&sim);
            let frail = Frail::new(sim.clock(), how, 20 * MINUTE_MS, 12 * HOUR_MS);
            let stage = case.stage_with(sim, frail, metrics, |pager| pager);
            let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
            let ended = stage.run_beside(async move {
                clock.sleep_until(HOUR_MS).await;
                let open = || handle.notices().into_iter().map(|notice| notice.code);
                assert_eq!(open().filter(|code| code == "journal.failed").count(), 1, "{known}");
                if known {
                    let key = format!("{NEW}/journal.failed");
                    handle.acknowledge(person(), key, "the disk is on its way").unwrap();
                }
                clock.sleep_until(13 * HOUR_MS).await;
                assert_eq!(open().filter(|code| code == "journal.failed").count(), 0, "{known}");
            });
            assert_eq!(ended.outcome, Outcome::Completed, "{told}");
            let said = said_of_journal(&ended);
            // An idle half hour may wait for its write.
            assert!(
                (20..45).contains(&said[0].0) && said[0].1 == NoticeStage::Raised,
                "{told}: {said:?}"
            );
            assert_eq!(said.last().unwrap().1, NoticeStage::Resolved, "{told}");
            let escalated = said
                .iter()
                .filter(|(_, stage)| matches!(stage, NoticeStage::Escalated { to: Some(_) }));
            assert_eq!(escalated.count(), usize::from(!known), "{told}: {said:?}");
            // Every quarter of an hour for twelve hours.
            let times = if known { 3..=3 } else { 44..=50 };
            assert!(times.contains(&said.len()), "{told}: {said:?}");
        }
    }
}
