//! What was decided and could not be sent is decided anew once it can: its window may have closed meanwhile.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use unattended::upgrade::{Clock, DriverConfig, MemoryJournal};
use unattended::{Outcome, Permit, PermitError, QuestionKind};

use crate::support::{Act, Case, Effect, HOUR_MS, MINUTE_MS, person};

/// Nobody touches anything from half past eight, which is half an hour after the beginning, until eight in the evening.
const FREEZE: &str = "version: 1
pack: house
owner: cto
scope: all
freezes:
  - {id: fz, from: 2026-11-23T08:30, until: 2026-11-23T20:00, zone: UTC, owner: cto, reason: audit, rollback: forbidden}
";
const CLOSED: Range<u64> = 30 * MINUTE_MS..12 * HOUR_MS;

/// Lets effects out, or does not.
#[derive(Debug)]
struct Switch(AtomicBool);

impl Permit for Switch {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(self.0.load(Ordering::Acquire))
    }
}

fn case() -> (Case, Arc<Switch>) {
    let mut case = Case::calm(4, 20);
    FREEZE.clone_into(&mut case.rules);
    let switch = Arc::new(Switch(AtomicBool::new(true)));
    case.permit = switch.clone();
    (case, switch)
}

/// No attempt began to disturb its target in the freeze, and some did after it. Who is half-way is not left so.
#[track_caller]
fn assert_kept(effects: &[Effect]) {
    assert_closed(effects, CLOSED);
}

#[track_caller]
fn assert_closed(effects: &[Effect], closed: Range<u64>) {
    let mut begun: BTreeMap<&str, u64> = BTreeMap::new();
    let disturbs = effects
        .iter()
        .filter(|effect| matches!(effect.act, Act::Replace | Act::Close));
    for effect in disturbs {
        let attempt = effect.key.as_deref().and_then(|key| key.split('/').next()).unwrap();
        begun.entry(attempt).or_insert(effect.at_ms);
    }
    let within: Vec<_> = begun.iter().filter(|(_, at)| closed.contains(at)).collect();
    assert!(within.is_empty(), "{within:?}");
    assert!(begun.values().any(|at| *at >= closed.end));
}

#[test]
fn what_the_permit_withheld_is_not_sent_into_a_freeze() {
    for until_ms in [40 * MINUTE_MS, 3 * HOUR_MS] {
        let (case, switch) = case();
        switch.0.store(false, Ordering::Release);
        let stage = case.stage();
        let clock = stage.sim.clock();
        let ended = stage.run_beside(async move {
            clock.sleep_until(until_ms).await;
            switch.0.store(true, Ordering::Release);
        });
        assert_eq!(ended.outcome, Outcome::Completed, "until {until_ms}");
        ended.all_on_new();
        assert_kept(&ended.effects);
    }
}

#[test]
fn what_a_person_froze_is_not_sent_into_a_freeze_of_the_rules() {
    let (case, _) = case();
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        // The first are decided, and have sent nothing that disturbs.
        clock.sleep_until(500).await;
        handle.freeze(person(), "looks odd").unwrap();
        clock.sleep_until(2 * HOUR_MS).await;
        handle.resume(person(), "it was nothing").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert_kept(&ended.effects);
}

#[test]
fn what_nobody_was_there_to_send_is_decided_anew_by_the_run_that_takes_it_up() {
    let (mut case, switch) = case();
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    switch.0.store(false, Ordering::Release);
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(10 * MINUTE_MS)).unwrap().is_none());
    assert_eq!(first.platform.effects(), []);
    let sim = Arc::clone(&first.sim);
    drop(first);
    sim.executor().run(clock.sleep_until(HOUR_MS)).unwrap();
    switch.0.store(true, Ordering::Release);
    let ended = case.stage_in(sim, journal).run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    assert_kept(&ended.effects);
}

#[test]
fn who_was_out_of_sight_does_not_start_in_a_freeze_when_it_is_seen_again() {
    for domains in [&[][..], &["zone"]] {
        let (mut case, _) = case();
        case.world.cut_after_min = 0.0;
        case.world.cut_min = 55.0;
        case.settings.domains = domains.iter().map(|&key| key.to_owned()).collect();
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{domains:?}");
        ended.all_on_new();
        assert_kept(&ended.effects);
    }
}

/// The way back is asked about like the way there.
#[test]
fn nor_does_anybody_go_back_in_a_freeze_that_was_to_go_before() {
    let (case, switch) = case();
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let switched = Arc::clone(&switch);
    let ended = stage.run_beside(async move {
        clock.sleep_until(8 * MINUTE_MS).await;
        assert!(
            handle
                .progress()
                .is_some_and(|progress| progress.exposed > 0 && progress.in_flight == 0)
        );
        // The way back is decided, and nothing of it is sent.
        switched.0.store(false, Ordering::Release);
        handle.roll_back(person(), "it smells").unwrap();
        clock.sleep_until(9 * MINUTE_MS).await;
        assert!(
            handle
                .progress()
                .is_some_and(|progress| progress.goes_back && progress.in_flight > 0)
        );
        clock.sleep_until(HOUR_MS).await;
        switched.0.store(true, Ordering::Release);
        clock.sleep_until(2 * HOUR_MS).await;
        let asked = handle.question().map(|question| question.kind);
        assert_eq!(asked, Some(QuestionKind::RollBackNow));
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    assert_kept(&ended.effects);
}

/// A way back that was not tried has not failed.
#[test]
fn a_rehearsal_that_was_called_off_is_gone_on_with() {
    let mut passed = 0;
    for at_ms in (0..8).map(|n| n * 45_000) {
        let (mut case, switch) = case();
        case.rules.clear();
        case.settings.rehearse_way_back = true;
        // A single try: were it one, the change would stop.
        case.settings.tries = 1;
        let stage = case.stage();
        let clock = stage.sim.clock();
        let ended = stage.run_beside(async move {
            clock.sleep_until(at_ms).await;
            switch.0.store(false, Ordering::Release);
            clock.sleep_until(at_ms + HOUR_MS).await;
            switch.0.store(true, Ordering::Release);
        });
        assert_eq!(ended.outcome, Outcome::Completed, "at {at_ms}");
        ended.all_on_new();
        passed += ended.codes().iter().filter(|&&code| code == "rehearsal.passed").count();
        assert!(
            !ended.codes().contains(&"pace.slower"),
            "who was called off has not failed"
        );
    }
    assert_eq!(passed, 8);
}

#[test]
fn what_was_called_off_takes_nothing_of_the_budget_of_the_day() {
    let (mut case, switch) = case();
    case.rules.clear();
    case.settings.budget.starts_per_day = Some(10);
    switch.0.store(false, Ordering::Release);
    let stage = case.stage();
    let clock = stage.sim.clock();
    let ended = stage.run_beside(async move {
        clock.sleep_until(40 * MINUTE_MS).await;
        switch.0.store(true, Ordering::Release);
    });
    let replaced = ended.effects.iter().filter(|effect| effect.act == Act::Replace);
    assert_eq!(replaced.filter(|effect| effect.at_ms < 24 * HOUR_MS).count(), 10);
}

/// A permit that lets one of three calls pass, as one that counts them does.
#[derive(Debug, Default)]
struct Rated(AtomicU64);

impl Permit for Rated {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(self.0.fetch_add(1, Ordering::AcqRel).is_multiple_of(3))
    }
}

#[test]
fn a_permit_that_lets_few_pass_slows_and_ends_nothing() {
    let (mut case, _) = case();
    case.rules.clear();
    case.permit = Arc::new(Rated::default());
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let of = |act| ended.effects.iter().filter(|effect| effect.act == act).count();
    assert!(
        of(Act::Replace) < 100 && of(Act::Fence) < 200,
        "{} {}",
        of(Act::Replace),
        of(Act::Fence)
    );
}

/// Who takes it up does not take what was decided before for decided now.
#[test]
fn who_was_out_of_sight_while_nobody_was_there_does_not_start_in_a_freeze() {
    for back_min in [20, 45, 52] {
        let (mut case, _) = case();
        case.world.cut_after_min = 0.0;
        case.world.cut_min = 55.0;
        let dir = tempfile::tempdir().unwrap();
        case.log = Some(dir.path().join("world"));
        let journal = Arc::new(MemoryJournal::new());
        let mut first = case.stage_over(journal.clone());
        let clock = first.sim.clock();
        assert!(first.drive(clock.sleep_until(5 * MINUTE_MS)).unwrap().is_none());
        let sim = Arc::clone(&first.sim);
        drop(first);
        sim.executor().run(clock.sleep_until(back_min * MINUTE_MS)).unwrap();
        let ended = case.stage_in(sim, journal).run();
        assert_eq!(ended.outcome, Outcome::Completed, "back after {back_min} min");
        ended.all_on_new();
        assert_kept(&ended.effects);
    }
}

/// What waits for its turn in the driver keeps no word for ever either.
#[test]
fn what_waited_in_the_driver_does_not_start_in_a_freeze() {
    for most in [1, 2] {
        for off in [false, true] {
            let (mut case, switch) = case();
            case.rules = FREEZE.replace("08:30", "11:00");
            case.targets = crate::support::targets(4, 60);
            case.settings.soak_ms = 0;
            case.settings.bake_ms = MINUTE_MS;
            case.driver = Some(DriverConfig::new().max_in_flight(most).poll_ms(10_000));
            let stage = case.stage();
            let clock = stage.sim.clock();
            let ended = stage.run_beside(async move {
                if off {
                    clock.sleep_until(3 * HOUR_MS - 12 * MINUTE_MS).await;
                    switch.0.store(false, Ordering::Release);
                    clock.sleep_until(3 * HOUR_MS + 2 * MINUTE_MS).await;
                    switch.0.store(true, Ordering::Release);
                }
            });
            assert_eq!(ended.outcome, Outcome::Completed, "{most} at once, {off}");
            ended.all_on_new();
            assert_closed(&ended.effects, 3 * HOUR_MS..12 * HOUR_MS);
        }
    }
}
