//! What goes on around a change: checks, and other people's changes and incidents.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::defense::{Answer, Ask, Check, CheckError, Code, Incident, Known, Other, Outcome as Seen, Scope};
use unattended::upgrade::{Clock, MemoryJournal, Wanted};
use unattended::{Around, ChangeFeed, FeedError, Outcome};
use unattended_simulated::Simulated;

use crate::support::{Act, Case, Ended, HOUR_MS, MINUTE_MS, START_WALL_MS};

const fn minutes(from: u64, until: u64) -> Range<u64> {
    from * MINUTE_MS..until * MINUTE_MS
}

/// A check that stands against going, or has no answer, at certain times.
#[derive(Debug, Default)]
struct Capacity {
    full: Range<u64>,
    broken: Range<u64>,
    /// It never answers then.
    hangs: Range<u64>,
    apps: Mutex<Vec<usize>>,
}

#[async_trait]
impl Check for Capacity {
    async fn judge(&self, ask: &Ask<'_>) -> Result<Seen, CheckError> {
        self.apps.lock().push(ask.values("app").count());
        let now_ms = u64::try_from(ask.now_ms - START_WALL_MS).unwrap();
        if self.broken.contains(&now_ms) {
            return Err(CheckError::Failed("nobody answers".to_owned()));
        }
        if self.hangs.contains(&now_ms) {
            std::future::pending::<()>().await;
        }
        let against = self.full.contains(&now_ms);
        let hold = || Answer::hold(Code::Own("capacity.low".to_owned()), None);
        Ok(Seen::against(1, if against { vec![hold()] } else { Vec::new() }))
    }
}

/// When each target was touched first.
fn firsts(ended: &Ended) -> BTreeMap<&str, u64> {
    let mut firsts = BTreeMap::new();
    for effect in ended.effects.iter().filter(|effect| effect.disturbs()) {
        firsts.entry(effect.target.as_str()).or_insert(effect.at_ms);
    }
    firsts
}

/// Nobody new is touched while something is held, and before and after that somebody is.
#[track_caller]
fn held(firsts: &BTreeMap<&str, u64>, whose: impl Fn(&str) -> bool, held: Range<u64>) {
    let times: Vec<u64> = firsts
        .iter()
        .filter(|(target, _)| whose(target))
        .map(|(_, at)| *at)
        .collect();
    let within = times.iter().filter(|at| held.contains(at)).count();
    assert_eq!(within, 0, "of {} touched, within {held:?}: {times:?}", times.len());
    assert!(
        times.iter().any(|at| *at < held.start),
        "nobody before {held:?}: {times:?}"
    );
    assert!(
        times.iter().any(|at| *at >= held.end),
        "nobody after {held:?}: {times:?}"
    );
}

fn case() -> Case {
    Case::calm(4, 24)
}

#[test]
fn what_a_check_stands_against_waits_and_goes_on_by_itself() {
    let check = Arc::new(Capacity {
        full: minutes(20, 300),
        ..Capacity::default()
    });
    let mut case = case();
    case.check = Some(Arc::clone(&check) as Arc<dyn Check>);
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    // A look each interval, and starts that were decided before it.
    held(&firsts(&ended), |_| true, minutes(22, 300));
    assert!(
        check.apps.lock().iter().all(|apps| *apps == 4),
        "it is asked about the whole change"
    );
    let changed: Vec<&str> = ended
        .summary
        .decisions
        .iter()
        .filter(|decision| decision.code == "checks.changed")
        .map(|decision| decision.text.as_str())
        .collect();
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert!(
        changed[0].contains("check/capacity (a rollback must find room)"),
        "{changed:?}"
    );
    assert!(ended.summary.holds.iter().any(|hold| hold.owner == "team-capacity"));
    assert_eq!(ended.summary.human_actions, 0);
}

#[test]
fn a_check_without_an_answer_is_no_pass() {
    let check = Capacity {
        broken: minutes(20, 200),
        ..Capacity::default()
    };
    let mut case = case();
    case.check = Some(Arc::new(check));
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    held(&firsts(&ended), |_| true, minutes(22, 200));
}

#[test]
fn attempts_go_on_while_a_check_is_waited_for() {
    // The check has five seconds, from the end of the first minute on. Attempts look every ten seconds: some find then that their target
    // is ready, and its way in is opened at once, and not when the check's time is over.
    let opened_at_once = |takes_s: u32, hangs: Range<u64>| {
        let mut case = case();
        case.mode = Wanted::Warm;
        case.world.in_place_s_median = f64::from(takes_s);
        case.check = Some(Arc::new(Capacity {
            hangs,
            ..Capacity::default()
        }));
        let mut stage = case.stage();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(2 * MINUTE_MS)).unwrap().is_none());
        let effects = stage.platform.effects();
        effects
            .iter()
            .any(|effect| effect.act == Act::Open && (60_000..64_999).contains(&effect.at_ms))
    };
    let takes_s = (1..30).find(|&takes_s| opened_at_once(takes_s, 0..0)).unwrap();
    assert!(opened_at_once(takes_s, minutes(1, 2)));
}

#[test]
fn no_check_holds_what_goes_back() {
    let check = Capacity {
        full: minutes(6, 100_000),
        ..Capacity::default()
    };
    let mut case = case().release("errors=x20");
    case.check = Some(Arc::new(check));
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert!(!firsts(&ended).is_empty());
}

/// Tells what is so at a time, and is silent at others.
struct Feed {
    sim: Mutex<Option<Arc<Simulated>>>,
    silent: Range<u64>,
    burns: Range<u64>,
    rival: Range<u64>,
}

impl Feed {
    fn new() -> Self {
        Self {
            sim: Mutex::default(),
            silent: 0..0,
            burns: 0..0,
            rival: 0..0,
        }
    }
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn around(&self) -> Result<Around, FeedError> {
        let now_ms = self.sim.lock().as_ref().map_or(0, |sim| sim.clock().now());
        if self.silent.contains(&now_ms) {
            return Err(FeedError("not there".to_owned()));
        }
        let wall_ms = START_WALL_MS + i64::try_from(now_ms).unwrap();
        let mut around = Around::default();
        let incident = Incident {
            id: "INC-7".to_owned(),
            scope: Scope::app("app-2"),
            severity: 1,
        };
        let open = if self.burns.contains(&now_ms) {
            vec![incident]
        } else {
            Vec::new()
        };
        around.facts.incidents = Some(Known::at(wall_ms, open));
        let rival = Other::new("config-push", Scope::app("app-2"), START_WALL_MS);
        around.others = Some(if self.rival.contains(&now_ms) {
            vec![rival]
        } else {
            Vec::new()
        });
        Ok(around)
    }
}

const RULES: &str = "
version: 1
pack: house
owner: sre
scope: all
rules:
  - {id: burning, kind: incidents, reason: one fire at a time}
";

fn with_feed(feed: Feed, rules: &str) -> Ended {
    let feed = Arc::new(feed);
    let mut case = case();
    rules.clone_into(&mut case.rules);
    case.feed = Some(Arc::clone(&feed) as Arc<dyn ChangeFeed>);
    let stage = case.stage();
    *feed.sim.lock() = Some(Arc::clone(&stage.sim));
    stage.run()
}

#[test]
fn an_incident_of_others_holds_the_application_that_burns_and_no_other() {
    let burns = minutes(20, 300);
    let ended = with_feed(Feed { burns, ..Feed::new() }, RULES);
    assert_eq!(ended.outcome, Outcome::Completed);
    let firsts = firsts(&ended);
    held(&firsts, |target| target.starts_with("app-2-"), minutes(22, 300));
    let others = firsts.iter().filter(|(target, _)| !target.starts_with("app-2-"));
    assert!(
        others.clone().any(|(_, at)| minutes(22, 300).contains(at)),
        "{firsts:?}"
    );
    let hold = ended
        .summary
        .holds
        .iter()
        .find(|hold| hold.by == "house/burning")
        .unwrap();
    assert_eq!((hold.lane.as_str(), hold.owner.as_str()), ("app-2", "sre"));
}

#[test]
fn another_change_of_the_same_targets_is_waited_for() {
    let rival = minutes(20, 300);
    let ended = with_feed(Feed { rival, ..Feed::new() }, RULES);
    assert_eq!(ended.outcome, Outcome::Completed);
    held(&firsts(&ended), |target| target.starts_with("app-2-"), minutes(22, 300));
}

#[test]
fn a_silent_feed_holds_everything_after_five_minutes_until_it_speaks_again() {
    let silent = minutes(20, 300);
    let ended = with_feed(Feed { silent, ..Feed::new() }, "");
    assert_eq!(ended.outcome, Outcome::Completed);
    held(&firsts(&ended), |_| true, minutes(27, 300));
}

#[test]
fn what_was_seen_around_is_replayed_and_a_run_without_eyes_does_not_go_on_believing() {
    let journal = Arc::new(MemoryJournal::new());
    let mut case = case();
    case.check = Some(Arc::new(Capacity {
        full: minutes(20, 100_000),
        ..Capacity::default()
    }));
    let sim = case.simulated();
    let mut first = case.stage_in(Arc::clone(&sim), Arc::clone(&journal) as _);
    let clock = sim.clock();
    let stood = async { clock.sleep_until(3 * HOUR_MS).await };
    assert!(first.drive(stood).unwrap().is_none());
    let before = first.handle.summary().unwrap();
    assert!(before.holds.iter().any(|hold| hold.by == "check/capacity"));
    drop(first);
    case.check = None;
    let ended = case.stage_in(sim, Arc::clone(&journal) as _).run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let replayed = futures::executor::block_on(unattended::replay(&*journal, None)).unwrap();
    assert_eq!(replayed.first_difference, None);
}
