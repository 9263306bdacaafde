//! A kill at every group of the journal of a whole change: nothing acted upon is lost, nothing is done twice, and the
//! next run brings everybody home.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Act, Case, Effect, Ended, NEW, OLD};
use async_trait::async_trait;
use serde_json::Value;
use unattended::Outcome;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};
use unattended_simulated::World;

/// How a process dies at an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// The medium fails before the group is there, and the process is killed while it tries again.
    ErrorBefore,
    /// The group is there, and the process learns nothing of it but an error.
    ErrorAfter,
    /// The process is killed while it waits, and the group is not there.
    SilenceBefore,
    /// The process is killed while it waits, and the group is there.
    SilenceAfter,
}

/// A journal that dies at one append, and refuses everything from then on.
pub(crate) struct Mortal {
    inner: Arc<MemoryJournal>,
    appended: AtomicUsize,
    at: usize,
    death: Death,
    died: AtomicBool,
}

impl Mortal {
    fn new(inner: &Arc<MemoryJournal>, at: usize, death: Death) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            appended: AtomicUsize::new(0),
            at,
            death,
            died: AtomicBool::new(false),
        })
    }

    fn has_died(&self) -> bool {
        self.died.load(Ordering::SeqCst)
    }

    fn alive(&self) -> Result<(), JournalError> {
        if self.has_died() {
            return Err(JournalError::Io("no space left".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for Mortal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.alive()?;
        let number = self.appended.fetch_add(1, Ordering::SeqCst);
        if number < self.at {
            return self.inner.append(group).await;
        }
        self.died.store(true, Ordering::SeqCst);
        if matches!(self.death, Death::ErrorAfter | Death::SilenceAfter) {
            self.inner.append(group).await?;
        }
        match self.death {
            Death::ErrorBefore | Death::ErrorAfter => Err(JournalError::Io("no space left".to_owned())),
            Death::SilenceBefore | Death::SilenceAfter => std::future::pending().await,
        }
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
        self.alive()?;
        self.inner.end().await
    }
}

/// Groups that an undisturbed run appends.
pub(crate) fn groups_of(case: &Case) -> usize {
    let undisturbed = Case {
        log: None,
        ..case.clone()
    }
    .run();
    futures::executor::block_on(undisturbed.journal.read(0, usize::MAX))
        .unwrap()
        .len()
}

/// For so long a journal is dead before the process is: longer than it is waited for.
const WHILE_MS: u64 = 40_000;

/// Runs until the journal dies at group `at`. Whether it came to that.
pub(crate) fn run_until_death(case: &Case, journal: &Arc<MemoryJournal>, at: usize, death: Death) -> bool {
    let mortal = Mortal::new(journal, at, death);
    let mut stage = case.stage_over(mortal.clone());
    let platform = Arc::clone(&stage.platform);
    let clock = stage.sim.clock();
    let ended = stage.drive(async {
        while !mortal.has_died() {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        // It tries again for a while, or waits, and does nothing else.
        let given = platform.effects().len();
        clock.sleep_until(clock.now() + WHILE_MS).await;
        assert_eq!(platform.effects().len(), given, "{death:?} at group {at}");
    });
    match ended.unwrap() {
        Some(Ok(_)) => return false,
        None => {}
        Some(Err(error)) => panic!("{death:?} at group {at}: {error}"),
    }
    // Every order had its intent in the journal first.
    let intended: BTreeSet<String> = crate::support::dump(&**journal)
        .into_iter()
        .filter_map(|line| line.key)
        .collect();
    for effect in platform.effects() {
        if let Some(key) = &effect.key {
            assert!(
                intended.contains(key),
                "{death:?} at group {at}: {effect:?} without a durable intent"
            );
        }
    }
    true
}

/// What was done to the world, by its log: (target, effect, key), in order. Fences carry no key and may be repeated.
fn done(log: &Path) -> Vec<(String, String, String)> {
    done_by(log, "key")
}

/// The same, of what is known there by another field than the key.
pub(crate) fn done_by(log: &Path, known_by: &str) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(log).unwrap();
    let entries = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .filter_map(|entry| {
            let text = |field: &str| entry[field].as_str().map(ToOwned::to_owned);
            Some((text("target")?, text("effect")?, text(known_by)?))
        })
        .collect()
}

#[track_caller]
fn nothing_twice(log: &Path, told: &str) {
    let mut seen = BTreeSet::new();
    for entry in done(log) {
        assert!(
            seen.insert(entry.clone()),
            "{told}: {entry:?} stands twice in the world's log"
        );
    }
    assert!(!seen.is_empty(), "{told}: the world's log is empty");
}

/// The last run: it must end well, whatever happened before.
#[track_caller]
fn goes_home(case: &Case, journal: &Arc<MemoryJournal>, outcome: Outcome, told: &str) -> Ended {
    let ended = case.stage_over(journal.clone()).run();
    assert_eq!(ended.outcome, outcome, "{told}");
    let census = ended.sim.census();
    let home = match outcome {
        Outcome::Completed => census.on_new_verified,
        _ => census.on_old_verified,
    };
    assert_eq!(home, census.targets, "{told}: {census:?}");
    assert_eq!(
        (
            ended.summary.exposure.in_flight,
            ended.summary.closed,
            ended.summary.lost
        ),
        (0, 0, 0),
        "{told}"
    );
    nothing_twice(case.log.as_deref().unwrap(), told);
    // The journal is whole: positions without holes, and it ends with the end.
    let dump = ended.dump();
    assert!(
        dump.iter().map(|line| line.seq).eq((0..dump.len() as u64).map(Some)),
        "{told}"
    );
    assert_eq!(dump.last().unwrap().kind, "end", "{told}");
    ended
}

/// All ways to die: two at one group, and the other two at the next.
const IN_TURNS: &[&[Death]] = &[
    &[Death::ErrorBefore, Death::SilenceAfter],
    &[Death::ErrorAfter, Death::SilenceBefore],
];

/// Kills at every `stride`th group, in the first of these ways, at the next in the second, and so on in a circle. `look` is told of
/// each, with the world's log and the run after it. How many kills there were.
pub(crate) fn kill_everywhere(
    case: &Case,
    outcome: Outcome,
    stride: usize,
    ways: &[&[Death]],
    mut look: impl FnMut(&str, &Path, &Ended),
) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for (at, ways) in (0..groups_of(case)).step_by(stride).zip(ways.iter().cycle()) {
        for &death in *ways {
            let log = dir.path().join(format!("{at}-{death:?}"));
            let case = Case {
                log: Some(log.clone()),
                ..case.clone()
            };
            let told = format!("{death:?} at group {at}");
            let journal = Arc::new(MemoryJournal::new());
            assert!(
                run_until_death(&case, &journal, at, death),
                "{told}: it never came to that"
            );
            look(&told, &log, &goes_home(&case, &journal, outcome, &told));
            kills += 1;
        }
    }
    kills
}

#[test]
fn a_kill_at_any_group_of_a_good_change_loses_and_repeats_nothing() {
    // In a calm world with a good release one replacement each is enough, whenever and however the process dies: what the dead
    // one had ordered is seen in the world, not ordered again.
    let kills = kill_everywhere(
        &Case::calm(4, 10),
        Outcome::Completed,
        1,
        IN_TURNS,
        |told, log, ended| {
            let mut replaced = BTreeSet::new();
            for (target, effect, key) in done(log) {
                assert!(
                    !effect.starts_with("replace") || replaced.insert(target.clone()),
                    "{told}: {target} again by {key}"
                );
            }
            let back = |effect: &Effect| effect.act == Act::Replace && effect.version.as_deref() == Some(OLD);
            assert!(
                !ended.effects.iter().any(back),
                "{told}: somebody was brought back from {NEW}"
            );
        },
    );
    assert!(kills >= 300, "{kills}");
}

#[test]
fn a_kill_at_any_group_of_a_bad_change_loses_and_repeats_nothing() {
    let case = Case::calm(4, 12).release("errors=x10");
    let kills = kill_everywhere(&case, Outcome::RolledBack, 1, IN_TURNS, |_, _, _| {});
    assert!(kills >= 40, "{kills}");
}

/// A world in which targets come and go, and orders are lost, late and delivered twice.
fn lively() -> Case {
    let mut case = Case::calm(4, 10);
    case.world = World {
        fault_lost: 0.02,
        fault_unreported: 0.02,
        fault_twice: 0.05,
        fault_late: 0.02,
        fault_observe: 0.02,
        deaths_per_target_day: 4.0,
        restarts_per_target_day: 4.0,
        ..case.world
    };
    case
}

#[test]
fn a_kill_on_a_bad_day_loses_and_repeats_nothing() {
    let kills = kill_everywhere(&lively(), Outcome::Completed, 5, IN_TURNS, |_, _, _| {});
    assert!(kills >= 60, "{kills}");
}

#[test]
fn many_kills_of_one_change_lose_and_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let groups = groups_of(&Case::calm(4, 10));
    for step in [7, 12, 25] {
        let case = Case {
            log: Some(dir.path().join(format!("every-{step}"))),
            ..Case::calm(4, 10)
        };
        let journal = Arc::new(MemoryJournal::new());
        let mut lives = 1;
        // Each life appends `step` groups and dies at the next; taking attempts over takes a group, too.
        while run_until_death(&case, &journal, step, Death::SilenceAfter) {
            lives += 1;
            assert!(lives < 4 * groups, "it does not come on from life to life");
        }
        assert!(lives > groups / (2 * (step + 1)), "{lives} lives over {groups} groups");
        goes_home_already(&case, &journal, &format!("{lives} lives of {step} groups"));
    }
}

/// The change has ended in its last life: another run only says so.
#[track_caller]
fn goes_home_already(case: &Case, journal: &Arc<MemoryJournal>, told: &str) {
    let ended = case.stage_over(journal.clone()).run();
    assert_eq!(ended.outcome, Outcome::Completed, "{told}");
    assert_eq!(ended.effects, [], "{told}");
    let census = ended.sim.census();
    assert_eq!(census.on_new_verified, census.targets, "{told}: {census:?}");
    nothing_twice(case.log.as_deref().unwrap(), told);
}
