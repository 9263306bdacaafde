//! A journal played again decides the same, and says where it does not.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, app_of, person};
use async_trait::async_trait;
use unattended::defense::Guard;
use unattended::upgrade::{Clock, Group, Journal, JournalError, MemoryJournal, Position, Snapshot};
use unattended::{Outcome, Replay, RunError, replay};

fn play(journal: &dyn Journal) -> Replay {
    futures::executor::block_on(replay(journal, None)).unwrap()
}

/// Every afternoon one stack may not be touched.
const RULES: &str = "version: 1\npack: day\nowner: ops\nscope: all\nwindows:\n  \
                     - {id: noon, kind: protected, select: {stack: [stack-1]}, weekly: {days: daily, from: \"09:00\", for: 5h}, zone: UTC, reason: business}\n";

#[test]
fn the_same_is_decided_again() {
    for (release, rules, outcome) in [
        ("good", "", Outcome::Completed),
        ("good", RULES, Outcome::Completed),
        ("errors=x10", "", Outcome::RolledBack),
        ("crash", RULES, Outcome::RolledBack),
    ] {
        let mut case = Case::calm(6, 20).release(release);
        case.rules = rules.to_owned();
        // Each target lives for half a day, and others are born.
        case.world.deaths_per_target_day = 2.0;
        let ended = case.run();
        assert_eq!(ended.outcome, outcome);
        let played = play(&*ended.journal);
        assert_eq!(played.first_difference, None, "{release}");
        assert_eq!(
            (&played.digest, played.outcome),
            (&played.journal_digest, Some(outcome))
        );
        // Not only that decisions match: all of them are there, and where the change stood is the same to the last number.
        assert!(played.decisions >= ended.summary.decisions.len() as u64 && played.starts > 0);
        assert_eq!(
            serde_json::to_string(&played.summary).unwrap(),
            serde_json::to_string(&ended.summary).unwrap()
        );
    }
}

#[test]
fn a_journal_of_several_runs_is_played_as_it_was_written() {
    // Killed in the middle, then nobody answers, then somebody does: each run with a patience of its own.
    let mut case = Case::calm(8, 30).release("errors=x10").level(unattended::Level::L3);
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(4 * MINUTE_MS)).unwrap().is_none());
    drop(first);
    case.settings.person_patience_ms = 0;
    assert_eq!(case.stage_over(journal.clone()).run().outcome, Outcome::Waiting);
    assert_eq!(play(&*journal).first_difference, None);
    case.settings.person_patience_ms = 5 * HOUR_MS;
    let stage = case.stage_over(journal.clone());
    stage.handle.roll_back(person(), "they are ours").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    let played = play(&*journal);
    assert_eq!(
        (played.first_difference, played.outcome),
        (None, Some(Outcome::RolledBack))
    );
}

/// A journal in which one text stands in the place of another of the same length.
struct Forged {
    inner: Arc<dyn Journal>,
    text: &'static [u8],
    instead: &'static [u8],
}

#[async_trait]
impl Journal for Forged {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        self.inner.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        let forge = |(at, group): (Position, Group)| {
            let mut forged = Group::new();
            for record in group.records() {
                let mut bytes = record.bytes.to_vec();
                while let Some(at) = bytes.windows(self.text.len()).position(|window| window == self.text) {
                    bytes[at..at + self.text.len()].copy_from_slice(self.instead);
                }
                forged.push(record.stream, record.kind, &bytes);
            }
            (at, forged)
        };
        Ok(self
            .inner
            .read(from, max_groups)
            .await?
            .into_iter()
            .map(forge)
            .collect())
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.inner.snapshot().await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.inner.compact(before, snapshot).await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.inner.end().await
    }
}

#[test]
fn the_first_decision_that_differs_is_named() {
    let ended = Case::calm(6, 20).release("errors=x10").run();
    let forged = Forged {
        inner: Arc::clone(&ended.journal),
        text: b"newest first",
        instead: b"oldest first",
    };
    let played = play(&forged);
    let difference = played.first_difference.unwrap();
    assert!(difference.journal.contains("oldest first"), "{difference:?}");
    assert!(difference.now.contains("rollback.began") && difference.now.contains("newest first"));
    let began = ended
        .summary
        .decisions
        .iter()
        .find(|d| d.code == "rollback.began")
        .unwrap();
    assert_eq!(difference.at_ms, began.at_ms);
    // A fleet that was another one has another plan, and that is said before anything is played.
    let elsewhere = Forged {
        text: b"app-0-3",
        instead: b"app-0-x",
        ..forged
    };
    let error = futures::executor::block_on(replay(&elsewhere, None)).unwrap_err();
    assert!(error.to_string().contains("plan cannot be made again"), "{error}");
}

#[test]
fn other_rules_are_asked_and_change_nothing() {
    let case = Case::calm(6, 20);
    let ended = case.run();
    let other = Guard::from_yaml("other.yaml", RULES).unwrap();
    let played = futures::executor::block_on(replay(&*ended.journal, Some(other))).unwrap();
    assert_eq!(played.first_difference, None);
    assert_eq!(played.outcome, Some(Outcome::Completed));
    assert!(!played.what_if.is_empty());
    let mut started = 0;
    for what in &played.what_if {
        // Stack-1 has the applications of odd number; it is eight o'clock at the beginning.
        let number: usize = what.lane.strip_prefix("app-").unwrap().parse().unwrap();
        assert_eq!(number % 2, 1, "{what:?}");
        // Ten minutes forward and ten back have to fit before nine.
        assert!(
            (40 * MINUTE_MS..6 * HOUR_MS).contains(&(what.from_ms % (24 * HOUR_MS))),
            "{what:?}"
        );
        assert_eq!((what.then.as_str(), what.back), ("may start", false));
        assert!(what.with_these.contains("business"), "{what:?}");
        assert!(what.until_ms.is_some_and(|until| until >= what.from_ms));
        started += what.started;
    }
    let odd = |target: &str| app_of(target).ends_with(['1', '3', '5']);
    let within = |at_ms: u64| (40 * MINUTE_MS..7 * HOUR_MS).contains(&(at_ms % (24 * HOUR_MS)));
    let touched = ended
        .effects
        .iter()
        .filter(|effect| effect.act == Act::Replace && odd(&effect.target) && within(effect.at_ms));
    assert!(started > 0 && started <= touched.count() as u64, "{started}");

    // The other way round: what was held would have started; what is the same is not told.
    let mut held = Case::calm(6, 20);
    held.rules = RULES.to_owned();
    let ended = held.run();
    let none = futures::executor::block_on(replay(&*ended.journal, Some(Guard::empty()))).unwrap();
    assert!(
        none.what_if
            .iter()
            .any(|what| what.then.contains("business") && what.with_these == "may start")
    );
    let same = Guard::from_yaml("pack.yaml", RULES).unwrap();
    let same = futures::executor::block_on(replay(&*ended.journal, Some(same))).unwrap();
    assert_eq!(same.what_if, []);
}

#[test]
fn what_is_no_change_is_refused() {
    let error = futures::executor::block_on(replay(&MemoryJournal::new(), None)).unwrap_err();
    assert!(error.to_string().contains("no change in it"), "{error}");
    let ended = Case::calm(2, 5).run();
    let unknown = "version: 1\npack: p\nowner: ops\nscope: {planet: mars}\nwindows:\n  \
                   - {id: w, kind: protected, weekly: {days: daily, from: \"09:00\", for: 1h}, zone: UTC, reason: r}\n";
    let guard = Guard::from_yaml("p.yaml", unknown).unwrap();
    let error = futures::executor::block_on(replay(&*ended.journal, Some(guard))).unwrap_err();
    assert!(matches!(error, RunError::Rules(_)), "{error}");
}

#[test]
fn the_same_rules_are_no_difference_whatever_people_said_and_what_differs_ends_with_the_change() {
    let rules = |rest: &str| format!("version: 1\npack: shop\nowner: platform\nscope: all\n{rest}");
    let asks = rules(
        "rules:\n  - {id: new-hands, kind: person, select: {app: app-0}, owner: team-pay, step: batch, reason: nobody knows them}\n",
    );
    let forbids = rules(
        "windows:\n  - {id: day, kind: protected, weekly: {days: daily, from: \"09:00\", for: 12h}, zone: UTC, rollback: forbidden, reason: business}\n",
    );
    for (text, release) in [(&asks, "good"), (&forbids, "errors=x10")] {
        let mut case = Case::calm(6, 20).release(release);
        case.rules.clone_from(text);
        let stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            loop {
                clock.sleep_until(clock.now() + HOUR_MS).await;
                if handle.question().is_some() {
                    handle.approve(person(), "go on").unwrap();
                }
            }
        });
        assert!(
            ended.summary.human_actions > 0 || release != "good",
            "somebody was asked"
        );
        let same = Guard::from_yaml("pack.yaml", text).unwrap();
        let same = futures::executor::block_on(replay(&*ended.journal, Some(same))).unwrap();
        assert_eq!(same.what_if, [], "{release}");
        let none = futures::executor::block_on(replay(&*ended.journal, Some(Guard::empty()))).unwrap();
        assert!(!none.what_if.is_empty() || release != "good", "{release}");
        let open = none.what_if.iter().filter(|what| what.until_ms.is_none());
        assert_eq!(open.count(), 0, "{:?}", none.what_if);
    }
}

#[test]
fn the_same_rules_are_no_difference_where_a_window_comes_near_what_a_person_let_go() {
    // Somebody has to say yes to each batch, and in each hour there is a time in which nothing starts.
    let mut text = String::from(
        "version: 1\npack: shop\nowner: platform\nscope: all\nrules:\n  - {id: ask, kind: person, reason: ask}\nwindows:\n",
    );
    for hour in 8..20 {
        text.push_str(&format!(
            "  - {{id: pause-{hour}, kind: protected, weekly: {{days: daily, from: \"{hour:02}:30\", for: 10m}}, zone: UTC, reason: pause}}\n"
        ));
    }
    for seed in 1..6 {
        let mut case = Case::calm(6, 20).release("good");
        case.rules.clone_from(&text);
        case.seed = seed;
        let stage = case.stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            loop {
                clock.sleep_until(clock.now() + 7 * MINUTE_MS).await;
                if handle.question().is_some() {
                    handle.approve(person(), "go on").unwrap();
                }
            }
        });
        let same = Guard::from_yaml("pack.yaml", &text).unwrap();
        let same = futures::executor::block_on(replay(&*ended.journal, Some(same))).unwrap();
        assert_eq!(same.what_if, [], "seed {seed}");
    }
}
