//! Freezes, aborts and permits: a word to stop holds at once, whatever else happens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::births::tell_again;
use crate::support::{Act, Case, HOUR_MS, MINUTE_MS, NEW, OLD, dump, person};
use parking_lot::Mutex;
use unattended::batching::Side;
use unattended::upgrade::{Clock, MemoryJournal, Wanted};
use unattended::{Actor, CommandError, Outcome, Permit, PermitError, Severity};

#[test]
fn an_abort_leaves_a_freeze_in_force() {
    let mut stage = Case::calm(4, 10).stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(25_000)).unwrap().is_none());
    assert!(stage.handle.progress().unwrap().in_flight > 0);
    stage.handle.freeze(person(), "something is odd").unwrap();
    let done = stage.platform.effects();
    assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    stage.handle.abort(person(), "it is").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert_eq!(ended.effects, done);
}

#[test]
fn a_freeze_that_nobody_lifts_ends_the_run() {
    // Between two attempts, and amid one.
    for after_ms in [5 * MINUTE_MS, 25_000] {
        let stage = Case::calm(4, 10).stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            clock.sleep_until(after_ms).await;
            handle.freeze(person(), "and went on leave").unwrap();
        });
        assert_eq!(ended.outcome, Outcome::Frozen);
        let patience = Case::calm(1, 1).settings.person_patience_ms;
        assert!(
            (patience..patience + HOUR_MS).contains(&ended.summary.elapsed_ms),
            "{}",
            ended.summary.elapsed_ms
        );
    }
}

#[test]
fn a_freeze_takes_hold_in_the_middle_of_a_turn_and_resume_goes_on() {
    // At several orders: the freeze comes while an order of the same turn is on its way.
    for at in [0, 1, 5, 24, 60] {
        let stage = Case::calm(4, 10).stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let frozen = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicU64::new(0));
        let mut seen = 0;
        let (door, flag, count) = (stage.handle.clone(), Arc::clone(&frozen), Arc::clone(&late));
        stage.platform.before_each(move |_| {
            if flag.load(Ordering::SeqCst) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            if seen == at {
                door.freeze(person(), "looks odd").unwrap();
                flag.store(true, Ordering::SeqCst);
            }
            seen += 1;
        });
        let watched = Arc::clone(&frozen);
        let state = Arc::new(Mutex::new(String::new()));
        let noted = Arc::clone(&state);
        let ended = stage.run_beside(async move {
            while !watched.load(Ordering::SeqCst) {
                clock.sleep_until(clock.now() + MINUTE_MS).await;
            }
            clock.sleep_until(clock.now() + 5 * HOUR_MS).await;
            *noted.lock() = handle.summary().unwrap().state;
            watched.store(false, Ordering::SeqCst);
            handle.resume(person(), "it was nothing").unwrap();
        });
        assert_eq!(*state.lock(), "frozen");
        assert_eq!(late.load(Ordering::SeqCst), 0, "orders after a freeze at order {at}");
        assert_eq!(ended.outcome, Outcome::Completed);
        ended.all_on_new();
        assert_eq!(ended.summary.human_actions, 2);
        assert!(ended.summary.elapsed_ms > 5 * HOUR_MS);
    }
}

#[test]
fn a_freeze_holds_whatever_was_said_before_it_and_is_still_unread() {
    let stage = Case::calm(4, 10).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let platform = Arc::clone(&stage.platform);
    let mut stage = stage;
    let ended = stage.drive(async {
        clock.sleep_until(45_000).await;
        assert!(!platform.effects().is_empty());
        // Two people at once: the careful one comes last.
        handle.resume(person(), "all is well").unwrap();
        handle.freeze(person(), "it is not").unwrap();
        let before = platform.effects().len();
        clock.sleep_until(2 * HOUR_MS).await;
        assert_eq!(platform.effects()[before..], [], "after the freeze");
    });
    assert!(ended.unwrap().is_none());
    assert_eq!(stage.handle.progress().unwrap().state, "frozen");
}

#[test]
fn a_freeze_finds_room_where_nothing_else_does() {
    let bot = |id: &str| Actor::program(id, "cron");
    // Who freezes it behind a full queue, in order, and whether the first alone may lift that.
    for (by, may) in [
        (vec![person()], false),
        (vec![bot("a")], true),
        (vec![bot("a"), bot("a"), bot("a")], true),
        (vec![bot("a"), bot("b")], false),
        (vec![bot("a"), bot("b"), bot("c"), person()], false),
        (vec![bot("a"), person()], false),
        (vec![person(), bot("a")], false),
    ] {
        let mut stage = Case::calm(4, 10).stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        assert!(stage.drive(clock.sleep_until(25_000)).unwrap().is_none());
        let done = stage.platform.effects().len();
        assert!(done > 0);
        // A program gone wild, and nobody reads.
        let wild = std::iter::repeat_with(|| handle.pin(bot("wild"), "nobody", "again"));
        let taken = wild.take_while(Result::is_ok).count();
        assert_eq!(handle.pause(person(), "stop"), Err(CommandError::TooMany));
        for who in &by {
            handle.freeze(who.clone(), "stop all of it").unwrap();
        }
        for _ in 0..100 {
            handle.freeze(by[0].clone(), "stop all of it").unwrap();
        }
        assert!(stage.drive(clock.sleep_until(2 * HOUR_MS)).unwrap().is_none());
        assert_eq!(stage.platform.effects().len(), done, "after a freeze by {by:?}");
        assert_eq!(handle.progress().unwrap().state, "frozen");
        let orders = dump(&*stage.journal).iter().filter(|line| line.kind == "order").count();
        assert!((taken + 1..=taken + 3).contains(&orders), "{orders} beside {taken}");
        assert_eq!(
            handle.resume(by[0].clone(), "well").is_ok(),
            may || by[0] == person(),
            "{by:?}"
        );
    }
}

#[test]
fn a_freeze_before_the_run_is_first_driven_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case::calm(4, 10);
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    // Left lying in the middle of its first attempts.
    let mut first = case.stage_over(journal.clone());
    let clock = first.sim.clock();
    assert!(first.drive(clock.sleep_until(15_000)).unwrap().is_none());
    assert!(first.handle.progress().unwrap().in_flight > 0);
    drop(first);

    let mut second = case.stage_over(journal);
    second.handle.freeze(person(), "not before I have looked").unwrap();
    let clock = second.sim.clock();
    assert!(second.drive(clock.sleep_until(2 * HOUR_MS)).unwrap().is_none());
    assert_eq!(second.platform.effects(), []);
    assert_eq!(second.handle.progress().unwrap().state, "frozen");
}

#[test]
fn a_freeze_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut case = Case::calm(4, 10);
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let mut first = case.stage_over(journal.clone());
    let (handle, clock) = (first.handle.clone(), first.sim.clock());
    let stopped = first.drive(async {
        clock.sleep_until(25_000).await;
        handle.freeze(person(), "looks odd").unwrap();
        clock.sleep_until(MINUTE_MS).await;
    });
    assert!(stopped.unwrap().is_none());
    drop(first);

    let mut second = case.stage_over(journal);
    let clock = second.sim.clock();
    assert!(second.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
    assert_eq!(second.platform.effects(), []);
    second.handle.resume(person(), "go on").unwrap();
    let ended = second.run();
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
}

#[test]
fn an_abort_begins_nothing_more_and_leaves_nobody_half_done() {
    for at in 0..120 {
        let stage = Case::calm(4, 10).stage();
        let door = stage.handle.clone();
        let mut seen = 0;
        stage.platform.before_each(move |_| {
            if seen == at {
                door.abort(person(), "another release comes").unwrap();
            }
            seen += 1;
        });
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Aborted);
        assert_eq!(ended.summary.human_actions, 1);
        assert!(!ended.codes().contains(&"rollback.began"));
        let dump = ended.dump();
        let read = dump.iter().position(|line| line.kind == "order").unwrap();
        let begun: Vec<_> = dump[read..].iter().filter(|line| line.kind == "begun").collect();
        assert!(
            begun.is_empty(),
            "begun after the abort was read, at order {at}: {begun:?}"
        );
        assert_eq!(dump.last().unwrap().kind, "end");
        // Everybody serves, on one version or the other.
        let census = ended.sim.census();
        assert_eq!(census.on_neither, 0, "{census:?}");
        assert_eq!(ended.summary.exposure.exposed, census.on_new_verified);
        assert_eq!((ended.summary.exposure.in_flight, ended.summary.closed), (0, 0));
    }
}

#[test]
fn after_the_end_every_command_is_refused() {
    let ended = Case::calm(4, 10).run();
    let handle = &ended.handle;
    assert_eq!(handle.freeze(person(), "late"), Err(CommandError::Ended));
    assert_eq!(handle.resume(person(), "late"), Err(CommandError::Ended));
    assert_eq!(handle.roll_back(person(), "late"), Err(CommandError::Ended));
    assert_eq!(handle.abort(person(), "late"), Err(CommandError::Ended));
    assert_eq!(ended.outcome, Outcome::Completed);
}

/// A permit that says one thing until a time, and then another.
struct Gate {
    says: Mutex<Result<bool, PermitError>>,
    asked: AtomicU64,
}

impl Permit for Gate {
    fn may_act(&self) -> Result<bool, PermitError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.says.lock().clone()
    }
}

#[test]
fn without_a_readable_permit_nothing_is_done() {
    for no in [Ok(false), Err(PermitError("the file server is away".to_owned()))] {
        let gate = Arc::new(Gate {
            says: Mutex::new(no),
            asked: AtomicU64::new(0),
        });
        let mut case = Case::calm(4, 10);
        case.permit = gate.clone();
        let mut stage = case.stage();
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(HOUR_MS)).unwrap().is_none());
        assert_eq!(stage.platform.effects(), []);
        assert!(gate.asked.load(Ordering::SeqCst) > 0, "nobody asked");

        // Withdrawn later, in the middle: nothing more from the next order on.
        *gate.says.lock() = Ok(true);
        let clock = stage.sim.clock();
        assert!(stage.drive(clock.sleep_until(clock.now() + 15_000)).unwrap().is_none());
        let done = stage.platform.effects();
        assert!(!done.is_empty() && done.iter().all(|effect| effect.version.as_deref() != Some(OLD)));
        *gate.says.lock() = Ok(false);
        assert!(stage.drive(clock.sleep_until(clock.now() + HOUR_MS)).unwrap().is_none());
        assert_eq!(stage.platform.effects(), done);

        *gate.says.lock() = Ok(true);
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed);
        ended.all_on_new();
        assert!(
            ended
                .effects
                .iter()
                .any(|effect| effect.act == Act::Replace && effect.version.as_deref() == Some(NEW))
        );
    }
}

#[test]
fn an_abort_ends_even_where_nothing_is_permitted() {
    let gate = Arc::new(Gate {
        says: Mutex::new(Ok(true)),
        asked: AtomicU64::new(0),
    });
    let mut case = Case::calm(4, 10);
    case.permit = gate.clone();
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(25_000)).unwrap().is_none());
    assert!(stage.handle.progress().unwrap().in_flight > 0);
    *gate.says.lock() = Ok(false);
    let done = stage.platform.effects();
    stage.handle.abort(person(), "another release comes").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert_eq!(ended.effects, done);
}

/// What could not come to its end is told and owed: nobody else looks after it once the change has ended.
#[test]
fn an_abort_owes_those_whose_attempts_do_not_end() {
    let gate = Arc::new(Gate {
        says: Mutex::new(Ok(true)),
        asked: AtomicU64::new(0),
    });
    let mut case = Case::calm(4, 20);
    case.mode = Wanted::Warm;
    case.permit = gate.clone();
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = case.stage_over(journal.clone());
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(15_000)).unwrap().is_none());
    *gate.says.lock() = Ok(false);
    stage.handle.abort(person(), "another release comes").unwrap();
    let ended = stage.run();
    assert_eq!(ended.outcome, Outcome::Aborted);
    let in_flight = ended.summary.exposure.in_flight;
    assert!(in_flight > 0);
    assert_eq!(ended.summary.debts.len() as u64, in_flight, "{:?}", ended.summary.debts);
    for debt in &ended.summary.debts {
        assert!(
            debt.reason.contains("aborted while it was on its way to mesh-2"),
            "{}",
            debt.reason
        );
    }
    let told = ended
        .pager
        .all()
        .into_iter()
        .rfind(|notice| notice.code == "change.ended");
    let told = told.unwrap();
    let words = format!("attempts on {in_flight} are under way and have not ended, {in_flight} are owed");
    assert!(told.text.ends_with(&words), "{}", told.text);
    assert_eq!(told.severity, Severity::Warning);
    let debts = ended.summary.debts.clone();
    drop(ended);
    let again = case.stage_over(journal).run();
    assert_eq!((again.outcome, again.summary.debts), (Outcome::Aborted, debts));
}

/// Of a way back and an end amid the way, the way back is the safer; when the change has ended there is none any more.
#[test]
fn a_persons_way_back_takes_the_place_of_an_abort_that_has_not_ended_the_change() {
    for takes_back in [true, false] {
        let stage = Case::calm(8, 30).stage();
        let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
        let ended = stage.run_beside(async move {
            while handle.progress().is_none_or(|p| p.exposed < 30 || p.in_flight == 0) {
                clock.sleep_until(clock.now() + 1_000).await;
            }
            handle.abort(person(), "stop here").unwrap();
            clock.sleep_until(clock.now() + 1_000).await;
            // A program's word is a reason to stop, and this has been stopped.
            let said = handle.roll_back(Actor::program("bot", "cron"), "orders fail");
            assert!(matches!(said, Err(CommandError::NeedsPerson { .. })), "{said:?}");
            if takes_back {
                handle.roll_back(person(), "no: take it back").unwrap();
            }
        });
        if takes_back {
            assert_eq!(ended.outcome, Outcome::RolledBack);
            ended.all_on_old();
        } else {
            assert_eq!(ended.outcome, Outcome::Aborted);
            assert!(ended.summary.exposure.exposed > 0 && ended.summary.debts.is_empty());
        }
        let late = ended.handle.roll_back(person(), "now take it back");
        assert_eq!(late, Err(CommandError::Ended));
    }
}

/// When each target was touched first.
fn firsts(effects: &[crate::support::Effect]) -> Vec<(String, u64)> {
    let mut firsts: Vec<(String, u64)> = Vec::new();
    for effect in effects.iter().filter(|effect| effect.disturbs()) {
        if firsts.iter().all(|(target, _)| *target != effect.target) {
            firsts.push((effect.target.clone(), effect.at_ms));
        }
    }
    firsts
}

#[test]
fn a_pause_lets_what_is_under_way_end_and_begins_nothing() {
    let stage = Case::calm(4, 10).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let state = Arc::new(Mutex::new((String::new(), 0)));
    let noted = Arc::clone(&state);
    let ended = stage.run_beside(async move {
        clock.sleep_until(25_000).await;
        assert!(handle.progress().unwrap().in_flight > 0);
        handle.pause(person(), "lunch").unwrap();
        clock.sleep_until(5 * HOUR_MS).await;
        let summary = handle.summary().unwrap();
        *noted.lock() = (summary.state, handle.progress().unwrap().in_flight);
        handle.resume(person(), "back").unwrap();
    });
    assert_eq!(*state.lock(), ("paused".to_owned(), 0), "what was under way has ended");
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let firsts = firsts(&ended.effects);
    let paused = firsts
        .iter()
        .filter(|(_, at)| (26_000..5 * HOUR_MS).contains(at))
        .count();
    assert_eq!(paused, 0, "{firsts:?}");
    assert!(ended.notices.iter().any(|notice| notice.code == "change.paused"));
}

#[test]
fn a_pause_holds_no_rollback() {
    let stage = Case::calm(4, 24).release("errors=x20").stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        clock.sleep_until(MINUTE_MS).await;
        handle.pause(person(), "lunch").unwrap();
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

#[test]
fn an_application_and_a_target_that_are_left_out_stay_as_they_are_and_are_owed() {
    let stage = Case::calm(4, 24).stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let sim = Arc::clone(&stage.sim);
    let ended = stage.run_beside(async move {
        clock.sleep_until(2 * MINUTE_MS).await;
        handle.skip(person(), "app-1", "a sale").unwrap();
        handle.pin(person(), "app-2-23", "a profiler runs there").unwrap();
        handle.pin(person(), "nobody", "a typo").unwrap();
        handle.skip(person(), "nowhere", "a typo").unwrap();
        clock.sleep_until(4 * MINUTE_MS).await;
        assert_eq!(
            handle.version_for("app-1-new", "app-1", &[("zone", "zone-0"), ("stack", "stack-1")]),
            Side::Old
        );
        drop(sim);
    });
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let reached = firsts(&ended.effects);
    let late = reached
        .iter()
        .filter(|(target, at)| target.starts_with("app-1-") && *at > 3 * MINUTE_MS)
        .count();
    assert_eq!(late, 0, "{reached:?}");
    assert!(reached.iter().all(|(target, _)| target != "app-2-23"));
    let early = reached
        .iter()
        .filter(|(target, _)| target.starts_with("app-1-"))
        .count();
    // All others were reached, and whoever was not is owed with the word of who said so.
    assert_eq!(reached.len(), 4 * 24 - (24 - early) - 1);
    assert_eq!(ended.summary.debts.len(), 24 - early + 1, "{:?}", ended.summary.debts);
    assert!(
        ended
            .summary
            .debts
            .iter()
            .all(|debt| debt.reason.starts_with("li (INC-42) left it out: "))
    );
    let refused = ended.codes().iter().filter(|code| **code == "command.refused").count();
    assert_eq!(refused, 2);
    assert_eq!(ended.handle.version_for("app-1-late", "app-1", &[]), Side::Old);
}

#[test]
fn a_command_may_come_as_text_and_says_who_gave_it() {
    let mut stage = Case::calm(2, 10).stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(25_000)).unwrap().is_none());
    let text = r#"{"command": "freeze", "actor": {"id": "wang", "kind": "person", "via": "chat"}, "reason": "odd"}"#;
    stage.handle.give(serde_json::from_str(text).unwrap()).unwrap();
    assert!(stage.drive(clock.sleep_until(MINUTE_MS)).unwrap().is_none());
    let summary = stage.handle.summary().unwrap();
    assert_eq!(summary.state, "frozen");
    assert!(
        summary
            .decisions
            .iter()
            .any(|decision| decision.text == "wang (chat) says freeze: odd")
    );
    let typo = r#"{"command": "freeze", "actor": {"id": "wang", "kind": "person", "via": "chat"}, "reson": "odd"}"#;
    assert!(serde_json::from_str::<unattended::Order>(typo).is_err());
}

/// Whoever pauses all changes does not want the one that goes back to stay half-way.
#[test]
fn a_pause_holds_no_way_back() {
    let mut case = Case::calm(2, 120);
    case.settings.person_patience_ms = 20 * MINUTE_MS;
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 150) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        handle
            .pause(Actor::program("incidents", "INC"), "everything waits")
            .unwrap();
        handle.roll_back(person(), "bad").unwrap();
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        let refused = handle.pause(Actor::program("incidents", "INC"), "everything waits");
        assert!(matches!(refused, Err(CommandError::GoesBack)), "{refused:?}");
    });
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
}

/// Somebody who looks at a pod does not want it to be another one when it has started anew.
#[test]
fn a_pin_is_of_the_name() {
    let case = Case::calm(4, 20);
    let stage = case.stage();
    let (handle, clock, platform) = (stage.handle.clone(), stage.sim.clock(), Arc::clone(&stage.platform));
    let (all, tell) = (case.targets.clone(), tell_again(&stage, &case));
    let pinned = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&pinned);
    let ended = stage.run_beside(async move {
        while handle.progress().is_none_or(|progress| progress.exposed < 10) {
            clock.sleep_until(clock.now() + 1_000).await;
        }
        let touched: BTreeSet<String> = platform.effects().into_iter().map(|effect| effect.target).collect();
        let target = all.iter().find(|target| !touched.contains(&target.id)).unwrap();
        noted.lock().clone_from(&target.id);
        handle
            .pin(person(), target.id.clone(), "a debugger is attached")
            .unwrap();
        clock.sleep_until(clock.now() + 2 * MINUTE_MS).await;
        let labels: Vec<(&str, &str)> = target.labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(handle.version_for(&target.id, &target.app, &labels), Side::Old);
        tell(&BTreeSet::from([target.id.clone()]));
    });
    let name = pinned.lock().clone();
    assert_eq!(ended.outcome, Outcome::CompletedWithDebt);
    let owed: Vec<&str> = ended.summary.debts.iter().map(|debt| debt.target.as_str()).collect();
    assert_eq!(owed, [&name]);
    assert!(ended.effects.iter().all(|effect| effect.target != name));
}

/// While the platform is asked for news, or looked at, a turn of the run stands; it may be the one that ends the change.
#[test]
fn whatever_was_answered_is_read_and_written_down_however_near_the_end() {
    for looks in [false, true] {
        let stage = Case::calm(2, 12).stage();
        let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
        let taken: Arc<AtomicU64> = Arc::default();
        let count = Arc::clone(&taken);
        let say = move || {
            let said = handle.acknowledge(person(), "mesh-2/no.such", "I am here");
            count.fetch_add(u64::from(said.is_ok()), Ordering::SeqCst);
        };
        if looks {
            let first = AtomicBool::new(true);
            let progress = stage.handle.clone();
            // The last comparison with the world, once.
            stage.platform.silent_where(move |targets| {
                let all_there = |progress: unattended::Progress| progress.exposed == progress.targets;
                if targets.len() == 24
                    && progress.progress().is_some_and(all_there)
                    && first.swap(false, Ordering::SeqCst)
                {
                    say();
                }
                false
            });
        } else {
            let say = Arc::new(say);
            stage.platform.news_come_after(move || {
                let (clock, say) = (clock.clone(), Arc::clone(&say));
                async move {
                    clock.sleep_until(clock.now() + 500).await;
                    say();
                }
            });
        }
        let ended = stage.run();
        assert_eq!(ended.outcome, Outcome::Completed);
        let read = ended.codes().iter().filter(|&&code| code == "notice.known").count();
        let taken = taken.load(Ordering::SeqCst);
        assert_eq!(read as u64, taken, "looks: {looks}");
        assert!(taken > 0);
    }
}
