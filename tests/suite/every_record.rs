//! A kill behind every single record of a whole change, over a fleet small enough to try them all: a good release, one that is
//! taken back, and one that a person decides. The run after it decides the same, and does nothing twice.
//!
//! A journal keeps a group whole or not at all; here groups are cut inside as well, which is the harder case.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{Act, Case, Effect, Ended, MINUTE_MS, Stage, dump, person};
use async_trait::async_trait;
use futures::channel::oneshot;
use parking_lot::Mutex;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};
use unattended::{Handle, Level, Outcome};

/// A journal that takes so many records and then no answer comes any more: the process is killed at that.
struct Cut {
    inner: Arc<MemoryJournal>,
    records: Position,
    killed: Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl Journal for Cut {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        let end = self.inner.end().await?;
        if end + Position::from(group.len()) <= self.records {
            return self.inner.append(group).await;
        }
        let mut cut = Group::new();
        let room = usize::try_from(self.records - end).unwrap();
        for record in group.records().take(room) {
            cut.push(record.stream, record.kind, record.bytes);
        }
        self.inner.append(&cut).await?;
        let killed = self.killed.lock().take();
        if let Some(killed) = killed {
            killed.send(()).unwrap();
        }
        std::future::pending().await
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

/// Somebody who says yes at the next look, every five minutes, whoever asks it.
async fn somebody(handle: Handle, clock: impl Clock) {
    loop {
        clock.sleep_until(clock.now() + 5 * MINUTE_MS).await;
        if handle.summary().is_some_and(|summary| summary.ask.is_some()) {
            handle.approve(person(), "they are ours").unwrap();
        }
    }
}

/// What is decided: every code with its text, in order. How many requests were counted is left out: after a kill the world draws
/// other ones.
fn decided(ended: &Ended) -> Vec<String> {
    let decisions = ended.summary.decisions.iter();
    let texts = decisions.map(|one| {
        let text = one.text.split(": safety evidence").next().unwrap();
        format!("{} {text}", one.code)
    });
    let mut texts: Vec<String> = texts.collect();
    // Classes that may grow at one tick or at the next are no other decisions.
    texts.sort();
    texts
}

/// How often each target was replaced by what, in all lives.
fn replaced(effects: &[Effect]) -> BTreeMap<(String, String), usize> {
    let mut times = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.act == Act::Replace) {
        let version = effect.version.clone().unwrap();
        *times.entry((effect.target.clone(), version)).or_default() += 1;
    }
    times
}

fn run(stage: Stage) -> Ended {
    let somebody = somebody(stage.handle.clone(), stage.sim.clock());
    stage.run_beside(somebody)
}

/// Kills behind each record; how many there are.
fn at_every_record(case: &Case, outcome: Outcome) -> usize {
    let undisturbed = run(case.stage());
    assert_eq!(undisturbed.outcome, outcome);
    let wanted = decided(&undisturbed);
    let once = replaced(&undisturbed.effects);
    let records = dump(&*undisturbed.journal).len();
    for at in 0..records {
        let told = format!("killed behind {at} of {records} records");
        let sim = case.simulated();
        let journal = Arc::new(MemoryJournal::new());
        let (killed, was_killed) = oneshot::channel();
        let mortal = Cut {
            inner: journal.clone(),
            records: at as Position,
            killed: Mutex::new(Some(killed)),
        };
        let mut first = case.stage_in(sim.clone(), Arc::new(mortal));
        let answers = somebody(first.handle.clone(), sim.clock());
        let ended = first
            .drive(async {
                futures::pin_mut!(was_killed, answers);
                let _ = futures::future::select(was_killed, answers).await;
            })
            .unwrap();
        assert!(ended.is_none(), "{told}: {ended:?}");
        assert_eq!(dump(&*journal).len(), at, "{told}");
        let before = first.platform.effects();
        drop(first);

        let second = run(case.stage_in(sim, journal));
        assert_eq!(second.outcome, outcome, "{told}");
        match outcome {
            Outcome::Completed => second.all_on_new(),
            _ => second.all_on_old(),
        }
        assert_eq!(decided(&second), wanted, "{told}");
        let both = replaced(&[before, second.effects.clone()].concat());
        assert_eq!(both, once, "{told}: replaced too often, or not often enough");
        assert_eq!(
            second.summary.human_actions, undisturbed.summary.human_actions,
            "{told}"
        );
    }
    records
}

fn small() -> Case {
    let mut case = Case::calm(2, 3);
    case.settings.soak_ms = 8 * MINUTE_MS;
    case.settings.bake_ms = 3 * MINUTE_MS;
    case
}

#[test]
fn a_kill_behind_any_record_of_a_good_change_changes_no_decision() {
    assert!(at_every_record(&small(), Outcome::Completed) > 100);
}

#[test]
fn a_kill_behind_any_record_of_a_bad_change_changes_no_decision() {
    assert!(at_every_record(&Case::calm(2, 6).release("errors=x10"), Outcome::RolledBack) > 100);
}

#[test]
fn a_kill_behind_any_record_of_a_change_that_a_person_decides_changes_no_decision() {
    let case = Case::calm(2, 6).release("errors=x10").level(Level::L3);
    assert!(at_every_record(&case, Outcome::RolledBack) > 100);
}
