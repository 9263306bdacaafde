//! What an answer is to: what was asked, as long as it is so. What has passed is asked no more, and who comes later is asked about by itself.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::batching::{Ramp, pct};
use unattended::defense::{Answer, Ask, Check, CheckError, Code, Outcome as Seen};
use unattended::upgrade::{Clock, MemoryJournal};
use unattended::{Level, Outcome, QuestionKind};

use crate::domains::region_of;
use crate::support::{Case, HOUR_MS, MINUTE_MS, START_WALL_MS, Stage, person};

/// Two teams want to be asked, and the application of the second is frozen in the first two hours.
pub(crate) const TWO_TEAMS: &str = "version: 1
pack: shop
owner: platform
scope: all
rules:
  - {id: new-hands, kind: person, select: {app: app-0}, owner: team-pay, step: batch, reason: nobody knows them}
  - {id: bank, kind: person, select: {app: app-1}, owner: team-bank, step: batch, reason: the bank must be asked}
freezes:
  - {id: morning, select: {app: app-1}, from: 2026-11-23T07:00, until: 2026-11-23T10:00, zone: UTC, owner: team-bank, reason: opening}
";

/// The orders to an application so far.
fn orders(stage: &Stage, app: &str) -> usize {
    let effects = stage.platform.effects().into_iter();
    effects
        .filter(|effect| crate::support::app_of(&effect.target) == app)
        .count()
}

pub(crate) fn until(stage: &mut Stage, at_ms: u64) -> Option<Outcome> {
    let clock = stage.sim.clock();
    stage.drive(clock.sleep_until(at_ms)).unwrap().map(Result::unwrap)
}

#[test]
fn a_yes_lets_go_the_lanes_that_were_asked_about_and_no_other_team_s() {
    let mut case = Case::calm(6, 20);
    case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(30), pct(100)]).unwrap());
    case.rules = TWO_TEAMS.to_owned();
    let mut stage = case.stage();
    until(&mut stage, HOUR_MS);
    let first = stage.handle.question().unwrap();
    assert!(first.text.starts_with("app-0 needs a person's word"), "{}", first.text);
    stage
        .handle
        .answering(first.id)
        .approve(person(), "pay says yes")
        .unwrap();
    until(&mut stage, 3 * HOUR_MS + 30 * MINUTE_MS);
    assert!(orders(&stage, "app-0") > 0);
    assert_eq!(orders(&stage, "app-1"), 0);
    let second = stage.handle.question().unwrap();
    assert!(
        second.id > first.id && second.text.contains("shop/bank of team-bank"),
        "{}",
        second.text
    );
}

#[test]
fn what_evidence_answers_meanwhile_is_asked_no_more() {
    let mut case = Case::calm(6, 20);
    case.world.requests_per_s_median = 1.0;
    case.settings.patience_ms = HOUR_MS;
    let mut stage = case.stage();
    let mut asked = false;
    for at in 1..40 * 6 {
        let ended = until(&mut stage, at * 10 * MINUTE_MS);
        let (all, open) = (stage.handle.progress().unwrap(), stage.handle.question());
        asked |= open.is_some();
        assert!(
            open.is_none() || all.exposed < all.targets,
            "everything is there, and {open:?}"
        );
        if ended.is_some() {
            assert_eq!(ended, Some(Outcome::Completed));
            break;
        }
    }
    assert!(asked, "evidence was late once");
    assert_eq!(stage.handle.summary().unwrap().human_actions, 0);
}

/// Holds everything between two times of the run.
#[derive(Debug)]
struct Holds(i64, i64);

#[async_trait]
impl Check for Holds {
    async fn judge(&self, ask: &Ask<'_>) -> Result<Seen, CheckError> {
        let holds = (self.0..self.1).contains(&(ask.now_ms - START_WALL_MS));
        let why = || Answer::hold(Code::Own("capacity.low".to_owned()), None);
        Ok(Seen::against(1, if holds { vec![why()] } else { Vec::new() }))
    }
}

#[test]
fn what_moves_again_is_not_left_behind_by_a_late_word() {
    let mut case = Case::calm(6, 20);
    case.settings.patience_ms = HOUR_MS;
    let minute = i64::try_from(MINUTE_MS).unwrap();
    case.check = Some(Arc::new(Holds(30 * minute, 360 * minute)));
    let mut stage = case.stage();
    until(&mut stage, 5 * HOUR_MS);
    let stalled = stage.handle.question().unwrap();
    assert_eq!(stalled.kind, QuestionKind::Stalled);
    until(&mut stage, 6 * HOUR_MS + 40 * MINUTE_MS);
    assert!(stage.handle.questions().iter().all(|open| open.id != stalled.id));
    // There is nothing any more to say yes to.
    let _ = stage.handle.answering(stalled.id).approve(person(), "leave it");
    assert_eq!(until(&mut stage, 60 * HOUR_MS), Some(Outcome::Completed));
    assert_eq!(stage.handle.summary().unwrap().debts, []);
}

/// Four of the first thirty crash, once each.
fn crash_early() -> Case {
    let mut case = Case::calm(10, 30).level(Level::L3);
    case.policy = case.policy.ramp(Ramp::steps([pct(10), pct(100)]).unwrap());
    let plan = case.plan();
    for &target in plan.targets(0).iter().step_by(7).take(4) {
        let labels = &mut case.targets[target.0 as usize].labels;
        labels.push(("host".to_owned(), "odd".to_owned()));
    }
    case.settings.tries = 1;
    case.release("crash@host=odd")
}

#[test]
fn fast_crashes_are_not_most_of_the_starts_while_the_others_come_up() {
    let ended = crash_early().level(Level::L4).run();
    assert!(!ended.codes().contains(&"stop.gate"), "{:?}", ended.codes());
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    assert_eq!(ended.summary.debts.len(), 4);
}

#[test]
fn one_odd_host_of_many_is_owed_and_takes_nobody_back() {
    let mut case = Case::calm(20, 100);
    let plan = case.plan();
    let late = plan.targets(plan.batch_count() - 2);
    let odd = late[late.len() / 2].0 as usize;
    case.targets[odd].labels.push(("host".to_owned(), "odd".to_owned()));
    let odd = case.targets[odd].id.clone();
    let ended = case.release("crash@host=odd").run();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt, "{:?}", ended.codes());
    let owed: Vec<&str> = ended.summary.debts.iter().map(|debt| debt.target.as_str()).collect();
    assert_eq!(owed, [odd.as_str()]);
}

#[test]
fn a_stop_that_nobody_answered_is_asked_again() {
    let mut case = Case::calm(8, 30).release("errors=x20").level(Level::L3);
    case.settings.person_patience_ms = HOUR_MS;
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let first = case.stage_over(Arc::<MemoryJournal>::clone(&journal)).run();
    assert_eq!(first.outcome, Outcome::Waiting);
    drop(first);
    let mut second = case.stage_over(journal);
    until(&mut second, 2 * HOUR_MS);
    let asked = second.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::RollBack, "{}", asked.text);
    second
        .handle
        .answering(asked.id)
        .approve(person(), "it is slow")
        .unwrap();
    assert_eq!(until(&mut second, 12 * HOUR_MS), Some(Outcome::RolledBack));
}

#[test]
fn a_region_that_goes_dark_in_its_first_exposure_keeps_its_turn_for_a_while() {
    for (dark_ms, waits) in [(HOUR_MS, true), (12 * HOUR_MS, false)] {
        let stage = crate::domains::case().stage();
        let dark: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let (first, switch) = (Arc::new(Mutex::new(None)), Arc::clone(&dark));
        stage.platform.silent_where(move |targets| {
            let dark = *switch.lock();
            targets.iter().any(|target| Some(region_of(target.as_str())) == dark)
        });
        let seen = Arc::clone(&first);
        stage.platform.before_each(move |effect| {
            if effect.disturbs() {
                seen.lock().get_or_insert(region_of(&effect.target));
            }
        });
        let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
        let ended = stage.run_beside(async move {
            // Some of it have come up, and have shown nothing.
            while handle.progress().is_none_or(|progress| progress.exposed == 0) {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
            }
            *dark.lock() = *first.lock();
            clock.sleep_until(clock.now() + dark_ms).await;
            *dark.lock() = None;
        });
        let whole = [Outcome::CompletedWithDebt, Outcome::Completed][usize::from(waits)];
        assert_eq!(ended.outcome, whole);
        let named = |code: &str| {
            let of_code = ended.summary.decisions.iter().filter(move |one| one.code == code);
            of_code.map(|one| one.at_ms).collect::<Vec<_>>()
        };
        let (firsts, shown) = (named("region.first"), named("region.shown"));
        assert_eq!(
            firsts[1] >= shown[0],
            waits,
            "dark for {dark_ms}: begun at {firsts:?}, shown at {shown:?}"
        );
        // As long as for whatever is blocked.
        assert!(firsts[1] < dark_ms.min(7 * HOUR_MS) + 2 * HOUR_MS, "{firsts:?}");
    }
}

/// Two packs with a change window each day, of which one begins when the other has ended.
#[test]
fn windows_that_never_meet_are_no_reason_to_wait_for_ever_in_silence() {
    let window = |id: &str, from: &str| {
        format!(
            "version: 1\npack: {id}\nowner: {id}\nscope: {{app: app-0}}\nwindows:\n  \
             - {{id: {id}, kind: change, weekly: {{days: daily, from: \"{from}\", for: 3h}}, zone: UTC, reason: quiet}}\n"
        )
    };
    let mut case = Case::calm(3, 10);
    case.rules = format!("{}---\n{}", window("early", "08:00"), window("late", "12:00"));
    let mut stage = case.stage();
    // What the others have to do takes some days, and the patience three more.
    until(&mut stage, 5 * 24 * HOUR_MS);
    let asked = stage.handle.question().unwrap();
    assert_eq!(asked.kind, QuestionKind::Stalled, "{}", asked.text);
    let held = stage.handle.summary().unwrap().holds;
    // Of those that stand now nobody knows an end.
    let now_ms = stage.sim.clock().now();
    let known = held
        .iter()
        .filter(|hold| hold.until_ms.is_some_and(|until| until > now_ms));
    assert_eq!(known.count(), 0, "{held:?}");
    let told = stage.handle.notices();
    assert!(told.iter().any(|notice| notice.code == "lane.closed"), "{told:?}");
    stage
        .handle
        .answering(asked.id)
        .approve(person(), "leave them")
        .unwrap();
    let ended = until(&mut stage, 7 * 24 * HOUR_MS);
    assert_eq!(ended, Some(Outcome::CompletedWithDebt));
}

/// A rule about how many are in a batch is told how many are.
#[test]
fn rules_are_told_how_many_would_start() {
    let mut case = Case::calm(3, 40);
    case.rules = "version: 1
pack: size
owner: ops
scope: all
rules:
  - {id: small, kind: condition, if: {fact: counts.batch, above: 2}, then: {allow_limited: 2}, owner: ops, reason: small steps}
  - {id: big, kind: condition, if: {fact: counts.scope, above: 1000}, then: needs_person, owner: ops, reason: too many}
"
    .to_owned();
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert_eq!(ended.summary.human_actions, 0);
}

/// At L4 one application is far ahead; from L2 on each batch of the others takes a word all the same.
#[test]
fn who_comes_to_l2_opens_nothing_more_without_a_word_however_far_one_lane_is() {
    let mut case = Case::calm(6, 60);
    case.policy = case
        .policy
        .ramp(Ramp::steps([pct(2), pct(5), pct(20), pct(50), pct(100)]).unwrap());
    for after_ms in [30 * MINUTE_MS, 2 * HOUR_MS, 3 * HOUR_MS, 4 * HOUR_MS] {
        let mut stage = case.stage();
        if until(&mut stage, after_ms).is_some() {
            continue;
        }
        stage.handle.demote(person(), Level::L2, "hands on").unwrap();
        until(&mut stage, after_ms + HOUR_MS);
        let opened = |stage: &Stage| {
            let all = stage.handle.summary().unwrap().decisions;
            all.iter()
                .filter(|one| one.code == "lane.opened")
                .map(|one| one.at_ms)
                .max()
        };
        let before = opened(&stage);
        until(&mut stage, after_ms + 48 * HOUR_MS);
        assert_eq!(opened(&stage), before, "after {} min", after_ms / MINUTE_MS);
        assert!(before <= Some(after_ms + MINUTE_MS), "{before:?}");
        assert!(stage.handle.question().is_some());
    }
}
