//! One bad node: it is isolated, restarted, replaced, and the release, which is good, completes.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use parking_lot::Mutex;
use unattended::selfheal::HealError;
use unattended::upgrade::{Clock, FleetChange, MemoryJournal, TargetId};
use unattended::{Happened, Level, Outcome, Permit, PermitError, replay};
use unattended_simulated::World;

use crate::crash::{Death, done_by, kill_everywhere};
use crate::support::{Can, Case, Ended, Given, HOUR_MS, MINUTE_MS, Stage, app_of, person};

/// A good release over a fleet in which one target, which is not among the last to be reached, stands on a bad machine.
fn one_bad_node() -> (Case, String) {
    one_bad_node_of(4, 20)
}

fn one_bad_node_of(apps: usize, each: usize) -> (Case, String) {
    let mut case = Case::calm(apps, each);
    case.heals = Some(Can::ALL);
    case.world = World {
        bad_node_share: 1.0 / case.targets.len() as f64,
        bad_node_error_factor: 60.0,
        ..case.world
    };
    let found = (1..500).find_map(|seed| {
        let tried = Case { seed, ..case.clone() };
        let bad = tried.simulated().bad_nodes();
        let [only] = bad.as_slice() else { return None };
        let plan = tried.plan();
        let place = tried.fleet().index_of(only.as_str())?;
        (plan.batch_of(place) == 1).then(|| (seed, only.to_string()))
    });
    let (seed, bad) = found.unwrap();
    (Case { seed, ..case }, bad)
}

fn acts(given: &[Given]) -> Vec<&str> {
    given.iter().map(|one| one.act).collect()
}

#[test]
fn the_bad_node_is_isolated_and_the_good_release_completes() {
    let (mut case, bad) = one_bad_node();
    // A restart is the end of it.
    case.world.bad_node_restart_cures = 1.0;
    let ended = case.run();
    assert_eq!(ended.outcome, Outcome::Completed, "{:?}", ended.codes());
    ended.all_on_new();
    assert_eq!(acts(&ended.healed), ["isolate", "restart"]);
    assert!(ended.healed.iter().all(|one| one.target == bad && one.done == Ok(())));
    // The lease was over before it was named again, and the next thing was done.
    assert!(ended.healed[1].at_ms >= ended.healed[0].at_ms + case.settings.isolation_ms);
    let codes = ended.codes();
    let at = |code: &str| codes.iter().position(|known| *known == code);
    assert!(at("node.bad") < at("heal.isolate") && at("heal.isolate") < at("heal.restart"));
    assert!(ended.notices.is_empty(), "{:?}", ended.notices);
    assert!(ended.summary.isolated.is_empty() && ended.sim.isolated().is_empty());
    // The same without anybody who heals: it was bad before, which says nothing of the release.
    case.heals = None;
    let alone = case.run();
    assert_eq!((alone.outcome, alone.summary.rolled_back), (Outcome::Completed, 0));
    assert!(alone.healed.is_empty() && alone.notices.iter().all(|notice| notice.code != "person.asked"));
}

/// One machine in twenty has fifty times the errors, on either version, and nobody heals.
#[test]
fn many_bad_machines_say_nothing_of_a_good_release_and_hide_no_bad_one() {
    for seed in 1..=4 {
        let mut case = Case::calm(6, 50);
        (case.seed, case.world.bad_node_share) = (seed, 0.05);
        let good = case.run();
        assert_eq!(good.outcome, Outcome::Completed, "{seed}: {:?}", good.codes());
        assert!(good.summary.rolled_back == 0 && good.summary.human_actions == 0);
        assert!(!good.codes().contains(&"person.asked"), "{seed}: {:?}", good.codes());
        let bad = case.release("errors=x5").run();
        assert_eq!(bad.outcome, Outcome::RolledBack, "{seed}: {:?}", bad.codes());
    }
}

/// Whoever is out counts as out, from before the order until after its end.
#[test]
fn what_is_believed_of_leases_is_so() {
    let (case, bad) = one_bad_node();
    let stage = case.stage();
    let (sim, handle, clock) = (Arc::clone(&stage.sim), stage.handle.clone(), stage.sim.clock());
    let seen = Arc::new(Mutex::new((0, 0)));
    let kept = Arc::clone(&seen);
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + 7_000).await;
            let Some(summary) = handle.summary() else { continue };
            let out = !sim.isolated().is_empty();
            let believed = summary
                .isolated
                .iter()
                .any(|one| one.target == bad && one.why == "bad node");
            assert!(
                believed || !out,
                "{bad} is out at {}, and {:?}",
                clock.now(),
                summary.isolated
            );
            let mut seen = kept.lock();
            seen.0 += u64::from(out);
            seen.1 += u64::from(believed && !out);
        }
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    let (out, longer) = *seen.lock();
    // A quarter of an hour, and hardly longer than it is so: until somebody looks.
    assert!((120..=135).contains(&out) && longer < 12, "{out} {longer}");
}

#[test]
fn what_does_not_help_is_followed_by_more_and_at_last_by_a_person() {
    let (mut case, bad) = one_bad_node();
    let ended = case.run();
    assert_eq!(acts(&ended.healed), ["isolate", "restart", "replace"]);
    assert_eq!(ended.outcome, Outcome::Completed);
    // What the platform cannot do is passed over.
    let can = |isolate, restart, replace| Can {
        isolate,
        readmit: true,
        restart,
        replace,
    };
    for (can, expected) in [
        (can(true, false, true), vec!["isolate", "restart", "replace"]),
        (can(false, true, false), vec!["isolate", "restart", "replace"]),
        (can(false, false, true), vec!["isolate", "restart", "replace"]),
        (can(true, false, false), vec!["isolate", "restart", "replace"]),
        (Can::NOTHING, vec!["isolate", "restart", "replace"]),
    ] {
        case.heals = Some(can);
        let ended = case.run();
        assert_eq!(acts(&ended.healed), expected, "{can:?}");
        let refused: Vec<&str> = ended
            .healed
            .iter()
            .filter(|one| one.done == Err(HealError::Unsupported))
            .map(|one| one.act)
            .collect();
        let able = [
            ("isolate", can.isolate),
            ("restart", can.restart),
            ("replace", can.replace),
        ];
        assert!(
            able.iter().all(|(act, able)| refused.contains(act) != *able),
            "{refused:?}"
        );
        let told = ended.notices.iter().find(|notice| notice.code == "node.bad");
        assert_eq!(told.is_some(), !can.replace, "{can:?}: {:?}", ended.notices);
        assert!(told.is_none_or(|told| told.text.contains(&bad)), "{told:?}");
        // Where nothing helps, a person is told of the node; it was as bad before, so the release goes on.
        assert_eq!(ended.outcome, Outcome::Completed, "{can:?}");
    }
}

/// Runs until `code` has been decided, and for a while more.
fn run_past(stage: &mut Stage, code: &str, more_ms: u64) {
    let (clock, handle) = (stage.sim.clock(), stage.handle.clone());
    let other = async {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            let summary = handle.summary();
            if summary.is_some_and(|summary| summary.decisions.iter().any(|decision| decision.code == code)) {
                break;
            }
        }
        clock.sleep_until(clock.now() + more_ms).await;
    };
    let ended = stage.drive(other).unwrap();
    assert!(ended.is_none() || more_ms > 0, "it ended before {code}: {ended:?}");
}

#[test]
fn below_l4_a_person_is_told_and_nothing_is_done() {
    let (case, bad) = one_bad_node();
    let mut stage = case.level(Level::L3).stage();
    run_past(&mut stage, "node.bad", HOUR_MS);
    assert_eq!(stage.ward.given(), []);
    let decided = stage.handle.summary().unwrap().decisions;
    for code in ["node.bad", "heal.left"] {
        assert_eq!(decided.iter().filter(|one| one.code == code).count(), 1, "{code}");
    }
    let told = stage.pager.notices();
    let told = told.iter().find(|notice| notice.code == "node.bad").unwrap();
    for word in [
        bad.as_str(),
        "at L3 a person decides",
        "at L4 it would be isolated for 15 min",
    ] {
        assert!(told.text.contains(word), "{word}: {}", told.text);
    }
    // A higher level is a word.
    let until = crate::support::START_WALL_MS + 48 * 3_600_000;
    let grant = unattended::Grant::new(Level::L4, person(), until).unwrap();
    stage.handle.grant(grant, "go on").unwrap();
    run_past(&mut stage, "heal.isolate", MINUTE_MS);
    assert_eq!(acts(&stage.ward.given())[..1], ["isolate"]);
}

#[test]
fn beyond_the_budget_a_person_is_told() {
    let (mut case, bad) = one_bad_node();
    for most in [0, 1] {
        case.settings.budget.heals_per_day = most;
        let ended = case.run();
        let times: Vec<u64> = ended.healed.iter().map(|one| one.at_ms).collect();
        assert_eq!(times.is_empty(), most == 0);
        assert!(times.windows(2).all(|two| two[1] >= two[0] + 24 * HOUR_MS), "{times:?}");
        let told = ended.notices.iter().find(|notice| notice.code == "node.bad").unwrap();
        assert!(
            told.text.contains(&bad) && told.text.contains("within a day"),
            "{}",
            told.text
        );
        assert!(ended.codes().contains(&"heal.left"));
    }
}

#[test]
fn a_freeze_stops_healing_and_leases_run_out() {
    let (case, _) = one_bad_node();
    let mut stage = case.stage();
    run_past(&mut stage, "heal.isolate", 0);
    assert_eq!(acts(&stage.ward.given()), ["isolate"]);
    assert_eq!(stage.sim.isolated().len(), 1);
    stage.handle.freeze(person(), "looks odd").unwrap();
    let clock = stage.sim.clock();
    assert!(
        stage
            .drive(clock.sleep_until(clock.now() + 12 * HOUR_MS))
            .unwrap()
            .is_none()
    );
    assert_eq!(acts(&stage.ward.given()), ["isolate"], "nothing else was ordered");
    assert!(stage.sim.isolated().is_empty());
    assert!(stage.handle.summary().unwrap().isolated.is_empty());
    stage.handle.resume(person(), "fine").unwrap();
    let ended = stage.run();
    assert_eq!(acts(&ended.healed), ["isolate", "restart", "replace"]);
}

#[test]
fn orders_that_a_later_run_has_nobody_for_are_given_up() {
    // Killed between the order and its answer; then somebody starts the run again without whoever heals.
    let (mut case, _) = one_bad_node();
    let dir = tempfile::tempdir().unwrap();
    case.log = Some(dir.path().join("world"));
    let journal = Arc::new(MemoryJournal::new());
    let mut stage = case.stage_over(journal.clone());
    run_past(&mut stage, "heal.isolate", 0);
    drop(stage);
    let lines = crate::support::dump(&*journal);
    let last = lines.iter().rposition(|line| line.kind == "heal").unwrap();
    // The answer is lost with the process.
    let cut = cut_behind(&journal, last);
    case.heals = None;
    let mut second = case.stage_over(cut.clone());
    let clock = second.sim.clock();
    let stood = second.drive(clock.sleep_until(6 * HOUR_MS));
    assert!(stood.is_ok());
    let summary = second.handle.summary().unwrap();
    let given_up = summary
        .decisions
        .iter()
        .find(|decision| decision.code == "heal.given_up")
        .unwrap();
    assert!(given_up.text.starts_with("1 orders"), "{}", given_up.text);
    // It may be out, and counts as out no longer than it would be.
    assert!(summary.isolated.is_empty(), "{:?}", summary.isolated);
    assert_eq!(second.ward.given(), []);
    let played = futures::executor::block_on(replay(&*cut, None)).unwrap();
    assert_eq!(played.first_difference, None);
}

/// The groups up to the one with this record, as if the process had died behind it.
fn cut_behind(journal: &MemoryJournal, record: usize) -> Arc<MemoryJournal> {
    let groups = futures::executor::block_on(unattended::upgrade::Journal::read(journal, 0, usize::MAX)).unwrap();
    let cut = Arc::new(MemoryJournal::new());
    for (_, group) in groups
        .iter()
        .take_while(|(position, _)| usize::try_from(*position).unwrap() <= record)
    {
        futures::executor::block_on(unattended::upgrade::Journal::append(&*cut, group)).unwrap();
    }
    cut
}

#[test]
fn without_a_place_within_the_caps_it_waits() {
    let (case, bad) = one_bad_node();
    let named = case.run().healed[0].at_ms;
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(named - 1)).unwrap().is_none());
    // Nobody else is begun, so nobody looks how these are.
    stage.handle.pause(person(), "a look").unwrap();
    // A quarter of its application is ill already.
    let others: Vec<TargetId> = case
        .targets
        .iter()
        .filter(|target| target.app == app_of(&bad) && target.id != bad)
        .take(5)
        .map(|target| TargetId::from(target.id.as_str()))
        .collect();
    let news = |news: fn(TargetId) -> FleetChange| others.iter().cloned().map(news).collect::<Vec<_>>();
    stage
        .platform
        .tell_first(news(|target| FleetChange::BecameUnhealthy { target }));
    assert!(
        stage
            .drive(clock.sleep_until(named + 30 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    assert_eq!(stage.ward.given(), []);
    let decided = stage.handle.summary().unwrap().decisions;
    assert_eq!(decided.iter().filter(|one| one.code == "heal.waits").count(), 1);
    stage
        .platform
        .tell_first(news(|target| FleetChange::BecameHealthy { target }).into_iter().take(1));
    assert!(
        stage
            .drive(clock.sleep_until(named + 35 * MINUTE_MS))
            .unwrap()
            .is_none()
    );
    assert_eq!(acts(&stage.ward.given()), ["isolate"]);
    // It takes the place that has become free, until its lease ends.
    let busy = || stage.handle.summary().unwrap().isolated.len();
    assert_eq!(busy(), 1);
}

/// A permit that a test gives and takes.
struct Gate(AtomicBool);

impl Permit for Gate {
    fn may_act(&self) -> Result<bool, PermitError> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[test]
fn the_permit_is_read_before_each_order() {
    let (mut case, _) = one_bad_node();
    let undisturbed = case.run();
    let named = undisturbed.healed[0].at_ms;
    let gate = Arc::new(Gate(AtomicBool::new(true)));
    case.permit = gate.clone();
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(named - 1)).unwrap().is_none());
    gate.0.store(false, Ordering::SeqCst);
    assert!(stage.drive(clock.sleep_until(named + 5 * MINUTE_MS)).unwrap().is_none());
    assert_eq!(stage.ward.given(), []);
    assert!(
        stage
            .handle
            .summary()
            .unwrap()
            .decisions
            .iter()
            .any(|one| one.code == "heal.isolate")
    );
    assert!(
        stage
            .pager
            .notices()
            .iter()
            .any(|notice| notice.code == "permit.withheld")
    );
    gate.0.store(true, Ordering::SeqCst);
    let ended = stage.run();
    assert_eq!(acts(&ended.healed), ["isolate", "restart", "replace"]);
}

#[test]
fn an_order_comes_again_as_it_was_until_it_is_known_to_be_done() {
    let (mut case, _) = one_bad_node();
    let faults = [
        World {
            fault_lost: 0.5,
            ..case.world.clone()
        },
        World {
            fault_unreported: 0.5,
            ..case.world.clone()
        },
        World {
            fault_twice: 1.0,
            ..case.world.clone()
        },
        World {
            fault_late: 0.5,
            ..case.world.clone()
        },
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut again = 0;
    for (number, world) in faults.into_iter().enumerate() {
        case.world = world;
        case.settings.tries = 12;
        case.log = Some(dir.path().join(number.to_string()));
        let ended = case.run();
        assert_eq!(ended.outcome, Outcome::Completed, "{number}");
        let ids: Vec<(u64, &str)> = ended.healed.iter().map(|one| (one.id, one.act)).collect();
        let mut orders = ids.clone();
        orders.dedup();
        assert_eq!(orders, [(1, "isolate"), (2, "restart"), (3, "replace")], "{number}");
        again += ids.len() - orders.len();
        assert_eq!(
            heals_in(case.log.as_deref().unwrap()).len(),
            3,
            "{number}: each was done once"
        );
    }
    assert!(again > 0);
}

/// What was done about targets, by the world's log: (target, effect, order).
fn heals_in(log: &Path) -> Vec<(String, String, String)> {
    done_by(log, "heal")
}

#[test]
fn a_kill_at_any_record_continues_to_the_same_and_repeats_nothing() {
    let (case, bad) = one_bad_node_of(3, 16);
    let mut kill = 0_u32;
    let ways: &[&[Death]] = &[&[Death::SilenceBefore], &[Death::SilenceAfter]];
    let kills = kill_everywhere(&case, Outcome::Completed, 1, ways, |told, log, ended| {
        let heals = heals_in(log);
        let effects: Vec<&str> = heals.iter().map(|(_, effect, _)| effect.as_str()).collect();
        assert_eq!(effects, ["isolate", "restart", "renew"], "{told}");
        assert!(heals.iter().all(|(target, _, _)| *target == bad), "{told}");
        let orders: BTreeSet<&String> = heals.iter().map(|(_, _, order)| order).collect();
        assert_eq!(orders.len(), 3, "{told}: {orders:?}");
        let codes = ended.codes().into_iter();
        let heal: Vec<&str> = codes.filter(|code| code.starts_with("heal.")).collect();
        assert_eq!(heal, ["heal.isolate", "heal.restart", "heal.replace"], "{told}");
        // Playing a journal again takes as long as the run did: one in five, now of the one way to die and now of the other.
        kill += 1;
        if kill.is_multiple_of(5) {
            let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
            assert_eq!(played.first_difference, None, "{told}");
        }
    });
    assert!(kills >= 60, "{kills}");
}

#[test]
fn orders_stand_in_the_journal_before_they_are_given_and_outcomes_after() {
    let (case, bad) = one_bad_node();
    let stage = case.stage();
    let journal = Arc::clone(&stage.journal);
    let mut events = stage.handle.events();
    stage.ward.after_each(move |given| {
        let text = format!("heal/{}/{}: {} {}", given.term, given.id, given.act, given.target);
        let lines = crate::support::dump(&*journal);
        let intended = lines
            .iter()
            .any(|line| line.kind == "heal" && line.result.as_deref() == Some(&text));
        assert!(intended, "{text}");
        let known = format!("order {}: done", given.id);
        assert!(!lines.iter().any(|line| line.result.as_deref() == Some(&known)));
    });
    let told: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let kept = Arc::clone(&told);
    let ended = stage.run_beside(async move {
        while let Some(event) = events.next().await {
            if let Happened::Effect {
                target,
                act,
                key: Some(key),
                ..
            } = event.what
                && key.starts_with("heal/")
            {
                kept.lock().push((target, act));
            }
        }
    });
    assert_eq!(ended.healed.len(), 3);
    let lines = ended.dump();
    assert_eq!(lines.iter().filter(|line| line.kind == "healed").count(), 3);
    assert_eq!(lines.iter().filter(|line| line.kind == "healer").count(), 1);
    let expected = ["isolate", "restart", "replace"].map(|act| (bad.clone(), act.to_owned()));
    assert_eq!(*told.lock(), expected);
    let played = futures::executor::block_on(replay(&*ended.journal, None)).unwrap();
    assert_eq!(
        (played.first_difference, &played.digest),
        (None, &played.journal_digest)
    );
    assert_eq!(
        serde_json::to_string(&played.summary).unwrap(),
        serde_json::to_string(&ended.summary).unwrap()
    );
}

/// A node that is bad from the second batch on, and how a run without rules deals with it.
fn one_that_is_restarted() -> (Case, Ended) {
    let mut case = Case::calm(4, 20);
    case.heals = Some(Can::ALL);
    case.world.bad_node_share = 1.0 / 80.0;
    case.world.bad_node_error_factor = 60.0;
    let seed = (1..500).find(|&seed| {
        let tried = Case { seed, ..case.clone() };
        let bad = tried.simulated().bad_nodes();
        bad.len() == 1 && tried.plan().batch_of(tried.fleet().index_of(bad[0].as_str()).unwrap()) == 1
    });
    case.seed = seed.unwrap();
    let first = case.run();
    let acts = acts(&first.healed);
    assert!(acts.contains(&"restart"), "{acts:?}");
    (case, first)
}

/// Nobody touches anything between these minutes of the change.
fn freeze(begins: u64, ends: u64) -> String {
    format!(
        "version: 1\npack: sale\nowner: shop\nscope: all\nfreezes:\n  - {{id: sale, from: \"2026-11-23T{:02}:{:02}\", \
         until: \"2026-11-23T{:02}:{:02}\", zone: UTC, owner: cto, reason: nothing is touched}}\n",
        8 + begins / 60,
        begins % 60,
        8 + ends / 60,
        ends % 60
    )
}

/// To start a node anew disturbs its application: in a freeze it is kept out of traffic instead, as long as that lasts.
#[test]
fn nothing_is_restarted_or_replaced_in_a_freeze() {
    let (mut case, first) = one_that_is_restarted();
    let begins = first.healed[0].at_ms / MINUTE_MS + 14;
    let ends = begins + 20;
    case.rules = freeze(begins, ends);
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    drop(stage.drive(clock.sleep_until(20 * HOUR_MS)));
    let given = stage.ward.given();
    let within = |at_ms: u64| (begins * MINUTE_MS..ends * MINUTE_MS).contains(&at_ms);
    let frozen: Vec<&str> = (given.iter())
        .filter(|one| within(one.at_ms))
        .map(|one| one.act)
        .collect();
    assert!(frozen.contains(&"isolate"), "{frozen:?}");
    assert!(
        !frozen.contains(&"restart") && !frozen.contains(&"replace"),
        "{frozen:?}"
    );
    // What was next is done when it is over.
    assert!(
        given
            .iter()
            .any(|one| one.at_ms >= ends * MINUTE_MS && one.act == "restart")
    );
}

/// Ordered before a freeze, and withheld until it has begun: what is to be started anew waits for its end.
#[test]
fn a_restart_that_the_permit_withheld_is_not_sent_into_a_freeze() {
    let (mut case, first) = one_that_is_restarted();
    let restart = first.healed.iter().find(|one| one.act == "restart").unwrap();
    let (at_ms, at) = (restart.at_ms, restart.at_ms / MINUTE_MS);
    let (begins, ends) = (at + 25, at + 85);
    case.rules = freeze(begins, ends);
    let gate = Arc::new(Gate(AtomicBool::new(true)));
    case.permit = gate.clone();
    let mut stage = case.stage();
    let clock = stage.sim.clock();
    assert!(stage.drive(clock.sleep_until(at_ms - 1)).unwrap().is_none());
    gate.0.store(false, Ordering::SeqCst);
    let ordered = stage.drive(clock.sleep_until((begins + 5) * MINUTE_MS)).unwrap();
    assert!(ordered.is_none());
    let decided = stage.handle.summary().unwrap().decisions;
    assert!(decided.iter().any(|one| one.code == "heal.restart"), "it was ordered");
    gate.0.store(true, Ordering::SeqCst);
    drop(stage.drive(clock.sleep_until(20 * HOUR_MS)));
    let given = stage.ward.given();
    let restarts: Vec<u64> = given
        .iter()
        .filter(|one| one.act == "restart")
        .map(|one| one.at_ms)
        .collect();
    assert!(
        restarts.first().is_some_and(|&at| at >= ends * MINUTE_MS),
        "{restarts:?}"
    );
}
