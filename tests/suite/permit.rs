//! From the word to stop to the last effect: with journal, metrics and rules down, within a second.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Case, HOUR_MS, MINUTE_MS, Stage, app_of, person};
use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::batching::Side;
use unattended::health::{History, Interval, Member, MetricSource, SourceError};
use unattended::upgrade::{
    Clock, DriverError, Group, Journal, JournalError, MemoryJournal, Position, Snapshot, Wanted,
};
use unattended::{CommandError, FilePermit, Outcome, Permit, PermitError, RunError};
use unattended_simulated::{SimClock, Simulated, World};

/// From freeze to no new effect, at the most.
const MOST_MS: u64 = 1_000;

/// What a part of the outside world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Works,
    Fails,
    Hangs,
    /// Answers no sooner than so long after it was asked.
    Late(u64),
}

/// A part that can be broken at any time.
struct Part {
    how: Mutex<How>,
    clock: SimClock,
}

impl Part {
    fn new(clock: SimClock) -> Arc<Self> {
        Arc::new(Self {
            how: Mutex::new(How::Works),
            clock,
        })
    }

    fn is(&self, how: How) {
        *self.how.lock() = how;
    }

    /// Whether it fails, sooner or later.
    async fn fails(&self) -> bool {
        let how = *self.how.lock();
        match how {
            How::Works => false,
            How::Fails => true,
            How::Hangs => std::future::pending().await,
            How::Late(ms) => {
                self.clock.sleep_until(self.clock.now() + ms).await;
                false
            }
        }
    }
}

struct FrailJournal(MemoryJournal, Arc<Part>);

#[async_trait]
impl Journal for FrailJournal {
    async fn append(&self, group: &Group) -> Result<Position, JournalError> {
        if self.1.fails().await {
            return Err(JournalError::Io("no space left".to_owned()));
        }
        self.0.append(group).await
    }

    async fn read(&self, from: Position, max_groups: usize) -> Result<Vec<(Position, Group)>, JournalError> {
        self.0.read(from, max_groups).await
    }

    async fn compact(&self, before: Position, snapshot: &Group) -> Result<(), JournalError> {
        self.0.compact(before, snapshot).await
    }

    async fn snapshot(&self) -> Result<Option<Snapshot>, JournalError> {
        self.0.snapshot().await
    }

    async fn end(&self) -> Result<Position, JournalError> {
        self.0.end().await
    }
}

struct FrailMetrics(Arc<Simulated>, Arc<Part>);

impl FrailMetrics {
    async fn works(&self) -> Result<(), SourceError> {
        if self.1.fails().await {
            let reason = "the database is away".to_owned();
            return Err(SourceError::Unavailable { reason });
        }
        Ok(())
    }
}

#[async_trait]
impl MetricSource for FrailMetrics {
    async fn follow(&self, members: &[Member]) -> Result<(), SourceError> {
        self.works().await?;
        self.0.follow(members).await
    }

    async fn history(&self) -> Result<Vec<History>, SourceError> {
        self.works().await?;
        self.0.history().await
    }

    async fn read(&self, index: u64, end_ms: u64) -> Result<Interval, SourceError> {
        self.works().await?;
        self.0.read(index, end_ms).await
    }
}

/// A permit that says one thing until it says another.
struct Switch(Mutex<Result<bool, PermitError>>);

impl Permit for Switch {
    fn may_act(&self) -> Result<bool, PermitError> {
        self.0.lock().clone()
    }
}

/// How somebody stops the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Not at all: what would have happened.
    Not,
    Freeze,
    Forbidden,
    Unreadable,
}

const STOPS: [Stop; 3] = [Stop::Freeze, Stop::Forbidden, Stop::Unreadable];

/// A change in a world that can be broken.
struct Bench {
    stage: Stage,
    journal: Arc<Part>,
    metrics: Arc<Part>,
    permit: Arc<Switch>,
}

/// The rules cannot tell for one application: what they need nobody supplies.
const RULES_DOWN: &str = "version: 1
pack: down
owner: ops
scope: all
facts: {quota: number}
rules:
  - {id: quota, kind: condition, select: {app: app-0}, if: {fact: quota, below: 1}, then: hold, unknown: hold, reason: quota is spent}
";

impl Bench {
    fn new(release: &'static str, rules: &str) -> Self {
        let mut case = Case::calm(4, 20).release(release);
        case.mode = Wanted::Warm;
        case.rules = rules.to_owned();
        let permit = Arc::new(Switch(Mutex::new(Ok(true))));
        case.permit = permit.clone();
        let sim = case.simulated();
        let (journal, metrics) = (Part::new(sim.clock()), Part::new(sim.clock()));
        let source = FrailMetrics(Arc::clone(&sim), Arc::clone(&metrics));
        let kept = Arc::new(FrailJournal(MemoryJournal::new(), Arc::clone(&journal)));
        Self {
            stage: case.stage_with(sim, kept, source, |pager| pager),
            journal,
            metrics,
            permit,
        }
    }

    fn stop(&self, stop: Stop) {
        match stop {
            Stop::Not => {}
            Stop::Freeze => self.stage.handle.freeze(person(), "looks odd").unwrap(),
            Stop::Forbidden => *self.permit.0.lock() = Ok(false),
            Stop::Unreadable => *self.permit.0.lock() = Err(PermitError("the file server is away".to_owned())),
        }
    }

    /// Effects up to a time, and how the run ended, if it did.
    fn run_until(&mut self, at_ms: u64) -> Option<Result<Outcome, RunError>> {
        let clock = self.stage.sim.clock();
        self.stage.drive(clock.sleep_until(at_ms)).unwrap()
    }
}

/// The effects after a word to stop at `at_ms`, with parts that break at the same moment: those within a second, and those after.
fn after(release: &'static str, at_ms: u64, stop: Stop, journal: How, metrics: How) -> (usize, usize) {
    let mut bench = Bench::new(release, RULES_DOWN);
    assert!(bench.run_until(at_ms).is_none(), "it runs until then");
    let before = bench.stage.platform.effects().len();
    assert!(before > 0, "and does something");
    bench.journal.is(journal);
    bench.metrics.is(metrics);
    bench.stop(stop);
    match bench.run_until(at_ms + 2 * HOUR_MS) {
        None => {}
        Some(Err(RunError::Append(_) | RunError::Driver(DriverError::Journal(_)))) if journal != How::Works => {}
        Some(Ok(_)) if stop == Stop::Not => {}
        other => panic!("{stop:?}, journal {journal:?}, metrics {metrics:?}: {other:?}"),
    }
    let effects = bench.stage.platform.effects().split_off(before);
    let passed: Vec<_> = (effects.iter())
        .filter(|effect| app_of(&effect.target) == "app-0")
        .collect();
    assert!(passed.is_empty(), "rules that cannot tell let {passed:?} pass");
    let late = effects.iter().filter(|effect| effect.at_ms > at_ms + MOST_MS).count();
    (effects.len() - late, late)
}

/// Between the steps of the first attempts, in their middle, and between two batches.
const MOMENTS_MS: [u64; 5] = [10_500, 15_000, 20_000, 45_000, 70_000];

#[test]
fn nothing_is_begun_a_second_after_the_word_whatever_is_down() {
    for at_ms in MOMENTS_MS {
        for journal in [How::Works, How::Fails, How::Hangs, How::Late(20_000)] {
            for metrics in [How::Works, How::Fails, How::Hangs] {
                for stop in STOPS {
                    let (soon, late) = after("good", at_ms, stop, journal, metrics);
                    let what = format!("{stop:?} at {at_ms} ms, journal {journal:?}, metrics {metrics:?}");
                    assert_eq!((soon, late), (0, 0), "{what}: effects within a second, and later");
                }
            }
        }
    }
    // Without the word effects go on, as far as the journal takes their intents, late or not.
    for at_ms in &MOMENTS_MS[..4] {
        for (journal, goes_on) in [(How::Works, true), (How::Late(20_000), true), (How::Fails, false)] {
            for metrics in [How::Fails, How::Hangs] {
                let (_, late) = after("good", *at_ms, Stop::Not, journal, metrics);
                assert_eq!(
                    late > 0,
                    goes_on,
                    "at {at_ms} ms, journal {journal:?}, metrics {metrics:?}"
                );
            }
        }
    }
}

/// The way back is stopped as the way forward is.
#[test]
fn a_rollback_is_stopped_as_well() {
    let began_ms = {
        let mut bench = Bench::new("errors=x20", RULES_DOWN);
        let handle = bench.stage.handle.clone();
        let mut at_ms = MINUTE_MS;
        while handle
            .progress()
            .is_none_or(|progress| progress.state != "rolling back")
        {
            at_ms += 10_000;
            assert!(
                bench.run_until(at_ms).is_none() && at_ms < 6 * HOUR_MS,
                "it never rolls back"
            );
        }
        at_ms
    };
    for stop in STOPS {
        let late = after("errors=x20", began_ms, stop, How::Late(20_000), How::Hangs);
        assert_eq!(late, (0, 0), "{stop:?} at {began_ms} ms");
    }
    let (_, late) = after("errors=x20", began_ms, Stop::Not, How::Late(20_000), How::Hangs);
    assert!(late > 0, "nothing was left to go back: the test stops nothing");
}

/// The word comes from inside an effect, and the journal dies with it: not even the rest of the turn is sent.
#[test]
fn the_rest_of_a_turn_is_not_sent() {
    for at in [0, 3, 17, 40] {
        for journal in [How::Works, How::Hangs, How::Fails, How::Late(20_000)] {
            let mut bench = Bench::new("good", "");
            let (door, part) = (bench.stage.handle.clone(), Arc::clone(&bench.journal));
            let mut seen = 0;
            bench.stage.platform.before_each(move |_| {
                if seen == at {
                    part.is(journal);
                    door.freeze(person(), "looks odd").unwrap();
                }
                seen += 1;
            });
            let _ = bench.run_until(12 * HOUR_MS);
            let effects = bench.stage.platform.effects();
            assert_eq!(effects.len(), at + 1, "journal {journal:?}");
        }
    }
}

/// A file outlives the process: whoever is started again reads the same word.
#[test]
fn a_file_stops_a_run_and_the_one_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("permit");
    let mut case = Case::calm(4, 10);
    case.log = Some(dir.path().join("world"));
    case.permit = Arc::new(FilePermit::new(&path));
    std::fs::write(&path, "go").unwrap();
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(15_000)).unwrap().is_none());
    let done = first.platform.effects();
    assert!(!done.is_empty());
    std::fs::write(&path, "stop").unwrap();
    assert!(first.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    assert_eq!(first.platform.effects(), done);
    drop(first);

    let mut second = case.stage_over(journal);
    let clock = second.sim.clock();
    assert!(second.drive(clock.sleep_until(3 * HOUR_MS)).unwrap().is_none());
    assert_eq!(second.platform.effects(), []);
    std::fs::write(&path, "go").unwrap();
    let ended = second.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

/// How many of two hundred births would begin on the new version.
fn new_births(stage: &Stage) -> usize {
    let labels = [("zone", "zone-0"), ("stack", "stack-0")];
    let born = |n: &u32| stage.handle.version_for(&format!("app-0-b{n}"), "app-0", &labels) == Side::New;
    (0..200).filter(born).count()
}

/// A change that has exposed some of its targets and bakes: births are divided between the versions, and no effect is due.
fn baking() -> (Bench, u64) {
    let mut bench = Bench::new("good", "");
    let mut at_ms = 0;
    while (bench.stage.handle.progress()).is_none_or(|progress| progress.exposed < 50 || progress.in_flight > 0) {
        at_ms += 1_000;
        assert!(
            bench.run_until(at_ms).is_none() && at_ms < 12 * HOUR_MS,
            "it never bakes"
        );
    }
    // A little behind the end of an interval, so that the next one is far.
    at_ms = (at_ms / MINUTE_MS + 1) * MINUTE_MS + 2_000;
    assert!(bench.run_until(at_ms).is_none());
    assert!(new_births(&bench.stage) > 0, "births take part");
    (bench, at_ms)
}

/// A birth needs no effect of ours, so what stops effects would not stop it: it is asked apart.
#[test]
fn births_stop_with_the_effects() {
    for stop in STOPS {
        for metrics in [How::Works, How::Hangs] {
            let (mut bench, at_ms) = baking();
            bench.metrics.is(metrics);
            // Metrics that hang are waited for by then.
            let at_ms = if metrics == How::Hangs {
                at_ms + MINUTE_MS
            } else {
                at_ms
            };
            assert!(bench.run_until(at_ms).is_none());
            assert!(new_births(&bench.stage) > 0);
            bench.stop(stop);
            let what = format!("{stop:?}, metrics {metrics:?}");
            if stop == Stop::Freeze {
                assert_eq!(new_births(&bench.stage), 0, "{what}: at once");
            }
            assert!(bench.run_until(at_ms + MOST_MS).is_none());
            assert_eq!(new_births(&bench.stage), 0, "{what}: within a second");
            // People hear of it though no effect was due.
            assert!(bench.run_until(at_ms + 2 * MINUTE_MS).is_none());
            let told = bench
                .stage
                .pager
                .notices()
                .iter()
                .any(|notice| notice.code == "permit.withheld");
            assert_eq!(told, stop != Stop::Freeze, "{what}");
        }
    }
}

/// Who looks at the report of a change that the permit holds up reads that, while it runs and after it has ended.
#[test]
fn a_report_names_the_permit_that_holds_the_change_up() {
    let mut bench = Bench::new("good", "");
    bench.stop(Stop::Unreadable);
    let told = |bench: &Bench| {
        let summary = bench.stage.handle.summary().unwrap();
        let text = unattended::report::text(&summary, 200);
        assert!(
            text.contains("the permit lets no effect be sent: have it say yes"),
            "{text}"
        );
        assert!(
            !text.contains("Nothing for you to do") && !text.contains("no question is recorded"),
            "{text}"
        );
        (summary.outcome, summary.next.blocked_by.unwrap(), summary.next.what)
    };
    assert!(bench.run_until(10 * MINUTE_MS).is_none());
    let (outcome, by, _) = told(&bench);
    assert!(outcome.is_none() && by.contains("the permit"), "{by}");
    let ended = bench.run_until(200 * 60 * MINUTE_MS);
    assert!(matches!(ended, Some(Ok(Outcome::Waiting))), "{ended:?}");
    let (outcome, by, what) = told(&bench);
    assert_eq!(outcome, Some(Outcome::Waiting));
    assert!(
        by.contains("the permit") && what.contains("the permit says yes again"),
        "{by} {what}"
    );
}

/// When the permit lets births go on, they do: its last word is no older than a second.
#[test]
fn births_go_on_with_the_permit() {
    let (mut bench, at_ms) = baking();
    bench.stop(Stop::Forbidden);
    assert!(bench.run_until(at_ms + MINUTE_MS).is_none());
    assert_eq!(new_births(&bench.stage), 0);
    *bench.permit.0.lock() = Ok(true);
    assert!(bench.run_until(at_ms + 2 * MINUTE_MS + MOST_MS).is_none());
    assert!(new_births(&bench.stage) > 0);
}

/// Nobody watches what births would add where nothing can be written down, or nobody drives the change.
#[test]
fn births_are_old_while_the_journal_is_away_and_behind_a_run_that_was_dropped() {
    for how in [How::Fails, How::Hangs] {
        let (mut bench, at_ms) = baking();
        bench.journal.is(how);
        assert!(bench.run_until(at_ms + 10 * MINUTE_MS).is_none());
        assert_eq!(new_births(&bench.stage), 0, "{how:?}");
        if how == How::Fails {
            bench.journal.is(How::Works);
            assert!(bench.run_until(at_ms + 12 * MINUTE_MS).is_none());
            assert!(new_births(&bench.stage) > 0, "it is back");
        }
    }

    let (mut bench, _) = baking();
    bench.stage.run = Box::pin(std::future::pending());
    assert_eq!(new_births(&bench.stage), 0, "it was dropped");
    let late = bench.stage.handle.pause(person(), "is anybody there?");
    assert_eq!(late, Err(CommandError::Ended));
}

/// What has completed needs no permit: everybody runs the new version, and so do those who are born.
#[test]
fn births_behind_a_completed_change_are_new_whatever_the_permit_says() {
    let mut bench = Bench::new("good", "");
    let ended = bench.run_until(24 * HOUR_MS);
    assert!(matches!(ended, Some(Ok(Outcome::Completed))), "{ended:?}");
    bench.stage.run = Box::pin(std::future::pending());
    *bench.permit.0.lock() = Ok(false);
    assert_eq!(new_births(&bench.stage), 200);
}

/// Attempts that may send nothing never end, and births and deaths are no progress: the run waits as long as for a person, and no longer.
#[test]
fn a_permit_that_is_never_given_again_ends_the_run_as_waiting() {
    let mut case = Case::calm(4, 40);
    case.mode = Wanted::Warm;
    case.world = World {
        deaths_per_target_day: 6.0,
        ..case.world
    };
    let gate = Arc::new(Gate(AtomicBool::new(true)));
    case.permit = gate.clone();
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        while handle
            .progress()
            .is_none_or(|now| now.exposed < 30 || now.in_flight == 0)
        {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        gate.0.store(false, Ordering::SeqCst);
    });
    assert_eq!(ended.outcome, Outcome::Waiting);
    let patience_ms = case.settings.person_patience_ms;
    assert!(
        ended.summary.elapsed_ms < patience_ms + 12 * HOUR_MS,
        "{}",
        ended.summary.elapsed_ms
    );
    let last = ended
        .summary
        .decisions
        .iter()
        .rev()
        .find(|one| one.code == "permit.withheld");
    assert!(last.is_some(), "{:?}", ended.codes().last());
}

/// A permit that can be switched.
struct Gate(AtomicBool);

impl Permit for Gate {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}
